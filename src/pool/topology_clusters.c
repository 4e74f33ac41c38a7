/*
 * topology_clusters: which entries' hosts are of one cluster, made anew with each
 * configuration; what was known of a cluster goes with its hosts. Called by the
 * registry. What is seen of them, and what follows, stands in topology.c.
 */
#include <string.h>

#include "base/mem.h"
#include "pool/endpoint.h"
#include "pool/pool.h"
#include "pool/registry.h"

#include "topology_priv.h"

static void timer_fired(struct timer *t, void *ctx)
{
	(void)ctx;
	topology_decide(container_of(t, struct cluster, timer));
}

static void cluster_add(struct cluster *c, struct endpoint *ep)
{
	c->members = xrealloc(MEM_DATABASE, c->members, (c->n + 1) * sizeof(struct endpoint *));
	c->members[c->n++] = endpoint_ref(ep);
	ep->cluster = c;
	ep->seen.who = ep;
}

static void cluster_free(struct cluster *c)
{
	struct registry *r = c->registry;

	for (size_t i = 0; i < c->n; i++) {
		if (c->members[i]->cluster == c)
			c->members[i]->cluster = NULL;
		endpoint_put(&r->endpoints, &c->members[i]);
	}
	timer_cancel(r->timers, &c->timer);
	timer_cancel(r->timers, &c->switching.timer);
	TAILQ_REMOVE(&r->clusters, c, all);
	xfree(MEM_DATABASE, c->members);
	xfree(MEM_DATABASE, c);
}

static struct cluster *cluster_new(struct registry *r)
{
	struct cluster *c = xcalloc(MEM_DATABASE, 1, sizeof *c);

	c->registry = r;
	c->made_us = clock_us();
	c->timer.fire = timer_fired;
	TAILQ_INSERT_TAIL(&r->clusters, c, all);
	return c;
}

/* What is known, and under way, of a cluster whose hosts are in another one from now on. */
static void inherit(struct cluster *c, struct cluster *o)
{
	c->memory = o->memory;
	c->now = o->now;
	c->suspect_us = o->suspect_us;
	c->made_us = o->made_us;
	c->samples = o->samples;
	c->failed = o->failed;
	c->replayed = o->replayed;
	c->event = o->event;
	o->event = NULL;
	memcpy(c->trigger, o->trigger, sizeof c->trigger);
	switchover_move(c, o);
}

/* Of two clusters that become one the higher timeline is not gone back from. */
static bool knows_more(const struct cluster *a, const struct cluster *b)
{
	if (a->memory.timeline != b->memory.timeline)
		return a->memory.timeline > b->memory.timeline;
	return b->memory.primary == NULL && b->now.say == CLUSTER_WAIT && a->now.say != CLUSTER_WAIT;
}

static void cluster_merge(struct cluster *into, struct cluster *from)
{
	if (knows_more(from, into))
		inherit(into, from);
	for (size_t i = 0; i < from->n; i++)
		cluster_add(into, from->members[i]);
	cluster_free(from);
}

/* The hosts of an entry are of one cluster, and of one with every entry that names one of them. */
static void join(struct database *d, const struct cluster_list *old)
{
	struct cluster *c = NULL, *o;

	for (size_t i = 0; i < d->n_hosts; i++) {
		TAILQ_FOREACH (o, old, all)
			if (o == d->hosts[i]->cluster)
				break;
		if (o == NULL && d->hosts[i]->cluster != NULL) { /* of a new one */
			o = d->hosts[i]->cluster;
			if (c == NULL)
				c = o;
			else if (c != o)
				cluster_merge(c, o);
			continue;
		}
		if (c == NULL)
			c = cluster_new(d->registry);
		if (o != NULL && knows_more(o, c))
			inherit(c, o);
		cluster_add(c, d->hosts[i]);
	}
}

/* Its primary may have gone from the file: who is the next one is to be seen. The timeline is remembered. */
static void forget_gone(struct cluster *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->members[i] == c->memory.primary)
			return;
	c->memory.primary = c->memory.named = NULL;
	c->now = (struct cluster_decision){.say = CLUSTER_WAIT};
	c->made_us = clock_us();
}

static enum target_attrs target_of(const struct database *d)
{
	static const enum target_attrs of_word[] = {
		TARGET_ANY, TARGET_PRIMARY, TARGET_PRIMARY, TARGET_STANDBY, TARGET_STANDBY, TARGET_PREFER_STANDBY};

	if (d->conf == NULL)
		return TARGET_ANY;
	return of_word[param_effective(PARAM_target_session_attrs, NULL, &d->conf->over, &d->registry->config->set)];
}

static void configure_replicas(struct database *d)
{
	const struct settings *set = &d->registry->config->set;
	const struct overrides *over = d->conf != NULL ? &d->conf->over : NULL;

	d->max_lag = param_effective(PARAM_max_replica_lag, NULL, over, set);
	d->same_zone = set->zone[0] != '\0' && param_effective(PARAM_prefer_same_zone, NULL, over, set);
}

void topology_add(struct database *d)
{
	struct cluster *c = d->n_hosts > 0 ? d->hosts[0]->cluster : NULL;

	d->target = target_of(d);
	configure_replicas(d);
	if (d->target == TARGET_ANY)
		return;
	for (size_t i = 0; i < d->n_hosts; i++)
		if (c == NULL || d->hosts[i]->cluster != c) {
			topology_configure(d->registry);
			return;
		}
	d->cluster = c;
	if (c == NULL)
		return;
	c->wants_lag = c->wants_lag || d->max_lag != 0;
	topology_refit_database(d);
}

void topology_configure(struct registry *r)
{
	struct cluster_list old;
	struct cluster *c;
	bool had = false;

	TAILQ_INIT(&old);
	TAILQ_CONCAT(&old, &r->clusters, all);
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n)) {
		struct database *d = container_of(n, struct database, by_name);

		d->cluster = NULL;
		d->target = target_of(d);
		configure_replicas(d);
		if (d->target != TARGET_ANY && d->n_hosts > 0)
			join(d, &old);
	}
	TAILQ_FOREACH (c, &r->clusters, all)
		forget_gone(c);
	/* Merging may have freed one: who points where is known at the end. */
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n)) {
		struct database *d = container_of(n, struct database, by_name);

		if (d->target == TARGET_ANY || d->n_hosts == 0)
			continue;
		d->cluster = d->hosts[0]->cluster;
		d->cluster->wants_lag = d->cluster->wants_lag || d->max_lag != 0;
	}
	while ((c = TAILQ_FIRST(&old)) != NULL) {
		had = true;
		TAILQ_REMOVE(&old, c, all);
		TAILQ_INSERT_TAIL(&r->clusters, c, all);
		cluster_free(c);
	}
	if (had || !TAILQ_EMPTY(&r->clusters))
		r->ops->watch(r->ctx);
	TAILQ_FOREACH (c, &r->clusters, all) {
		timer_set(r->timers, &c->timer, c->made_us + r->config->set.topology_check_timeout);
		topology_decide(c);
	}
	r->busy++; /* clients that have left are closed, and databases may go with them */
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n)) {
		struct database *d = container_of(n, struct database, by_name);

		if (d->cluster == NULL && d->held)
			topology_refit_database(d);
	}
	r->busy--;
}

void topology_free(struct registry *r)
{
	while (!TAILQ_EMPTY(&r->clusters))
		cluster_free(TAILQ_FIRST(&r->clusters));
	xfree(MEM_DATABASE, r->failovers.v);
}
