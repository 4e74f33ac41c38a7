/*
 * control_promote: an operator says which host is the primary. A probe of it must
 * bear that out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/control.h"
#include "conn/conn.h"
#include "pool/endpoint.h"
#include "pool/topology.h"

static const char unknown[] = "no entry with target_session_attrs names this host";

/* "name:port", "[::1]:port" or a name alone, which must be the only one of that name. */
static bool is_named(const struct endpoint *ep, const char *host)
{
	const char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
	size_t n = strlen(ep->host);
	char *end;

	if (host[0] == '[' && bracket != NULL && (size_t)(bracket - host - 1) == n &&
		strncasecmp(host + 1, ep->host, n) == 0)
		return bracket[1] == '\0' ||
		       (bracket[1] == ':' && strtoul(bracket + 2, &end, 10) == ep->port && *end == '\0');
	if (strcasecmp(host, ep->host) == 0)
		return true;
	return colon != NULL && (size_t)(colon - host) == n && strncasecmp(host, ep->host, n) == 0 &&
	       strtoul(colon + 1, &end, 10) == ep->port && *end == '\0' && end > colon + 1;
}

static struct endpoint *find(const struct registry *r, const char *host, char *why)
{
	struct endpoint *found = NULL;
	const struct cluster *c;

	TAILQ_FOREACH (c, &r->clusters, all)
		for (size_t i = 0; i < c->n; i++) {
			if (!is_named(c->members[i], host))
				continue;
			if (found != NULL) {
				snprintf(why, CONTROL_WHY, "several hosts have this name: give the port too");
				return NULL;
			}
			found = c->members[i];
		}
	if (found == NULL)
		snprintf(why, CONTROL_WHY, "%s", unknown);
	return found;
}

static const char *objection(const struct endpoint *ep, bool force)
{
	if (ep->blind)
		return "the monitor cannot log in to it: see SHOW HOSTS";
	if (!ep->seen.answers)
		return "it does not answer";
	if (ep->seen.role == SIGHT_STANDBY)
		return "it is a standby";
	if (ep->state == SIGHT_FENCED && !force)
		return "it is on an older timeline, which only FORCE takes";
	if (ep->state == SIGHT_FOREIGN && !force)
		return "it has another system identifier, which only FORCE takes";
	if (ep->state == SIGHT_TWIN && !topology_is_at_primary(ep->cluster, ep))
		return "another host of the list is the same server: name that one";
	return NULL;
}

/*
 * What was asked before the command tells nothing: the host may have been promoted since. After a start the others are heard
 * first.
 */
static bool is_looked_at(const struct control_wait *w)
{
	const struct endpoint *ep = w->endpoint;

	return ep->cluster == NULL || ep->blind || (ep->sure_us >= w->since_us && ep->cluster->now.say != CLUSTER_WAIT);
}

/* Why it is not the primary; NULL: it is. */
static const char *promote(struct endpoint *ep, bool force)
{
	const char *why = ep->cluster == NULL ? unknown : objection(ep, force);

	if (why != NULL || topology_promote(ep, force))
		return why;
	why = objection(ep, force);
	return why != NULL ? why : "it cannot be the primary as it was seen: see SHOW HOSTS";
}

bool control_is_promoted(struct control_wait *w, const char **error)
{
	if (!is_looked_at(w))
		return false;
	*error = promote(w->endpoint, w->force);
	return true;
}

enum control_answer control_promote(struct control *c, struct control_wait *w, const char *host, bool force, char *why)
{
	struct endpoint *ep = find(&c->pooler->registry, host, why);
	const char *error = NULL;

	if (ep == NULL)
		return CONTROL_UNKNOWN;
	w->goal = GOAL_PROMOTED;
	w->endpoint = endpoint_ref(ep);
	w->force = force;
	w->since_us = clock_us();
	topology_probe(ep->cluster);
	if (!control_is_promoted(w, &error)) {
		control_begin_wait(c, w);
		return CONTROL_WAITS;
	}
	endpoint_put(&c->pooler->registry.endpoints, &w->endpoint);
	if (error == NULL)
		return CONTROL_REACHED;
	snprintf(why, CONTROL_WHY, "%s", error);
	return CONTROL_UNKNOWN;
}
