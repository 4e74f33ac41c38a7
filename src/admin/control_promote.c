/*
 * control_promote: an operator says which host is the primary. What is known of
 * it must bear that out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/control.h"
#include "conn/conn.h"
#include "pool/endpoint.h"
#include "pool/topology.h"

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
		snprintf(why, CONTROL_WHY, "no entry with target_session_attrs names this host");
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
	return NULL;
}

bool control_promote(struct control *c, const char *host, bool force, char *why)
{
	struct endpoint *ep = find(&c->pooler->registry, host, why);
	const char *no = ep != NULL ? objection(ep, force) : NULL;

	if (ep == NULL)
		return false;
	if (no != NULL) {
		topology_suspect(ep, "PROMOTE names it"); /* which has it probed: what is known may be old */
		snprintf(why, CONTROL_WHY, "%s", no);
		return false;
	}
	topology_promote(ep, force);
	return true;
}
