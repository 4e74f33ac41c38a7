/*
 * switchover: a primary is drained, so that a standby can take its place without
 * a transaction lost. New transactions wait; when those that are open are over,
 * the position of the primary's WAL is read, and when a standby has replayed it,
 * that is the one to promote. Who promotes is another's business.
 *
 * A part of topology: what is seen comes from there, and a primary that has moved
 * ends it.
 */
#include "pool/switchover.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "pool/endpoint.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "pool/topology.h"

/* How often it is looked whether transactions are still open. */
static const int64_t drain_pause_us = USEC / 100;

static void step_to(struct cluster *c, enum switch_step step)
{
	c->switching.step = step;
	c->switching.step_us = clock_us();
}

static bool is_of(const struct database *d, const struct cluster *c)
{
	return d->cluster == c && d->target != TARGET_ANY;
}

unsigned switchover_open(const struct cluster *c)
{
	const struct registry *r = c->registry;
	const struct pool *p;
	const struct slot *s;
	unsigned n = 0, open;

	/* Whose session is the server's has it whether a transaction is open or not, and goes with it. */
	TAILQ_FOREACH (p, &r->pools, all) {
		if (!is_of(p->db, c) || p->mode == POOL_SESSION)
			continue;
		open = 0;
		for (int i = SLOT_TESTED; i <= SLOT_BUSY; i++)
			TAILQ_FOREACH (s, &p->slots[i], link)
				if (s->endpoint != NULL && topology_is_at_primary(c, s->endpoint) && !s->own)
					open++;
		n += open > p->pinned ? open - p->pinned : 0;
	}
	return n;
}

/* From here on it is for the operator: who waits has all of failover_wait_timeout. */
static void restart_hold(struct cluster *c)
{
	struct registry *r = c->registry;

	r->busy++; /* none is freed meanwhile */
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n)) {
		struct database *d = container_of(n, struct database, by_name);

		if (!is_of(d, c) || !d->held)
			continue;
		d->held_us = clock_us();
		r->ops->held(d, r->ctx);
	}
	r->busy--;
}

static int64_t patience(const struct cluster *c)
{
	return c->registry->config->set.failover_drain_timeout;
}

static bool is_late(const struct cluster *c, int64_t limit_us)
{
	return limit_us != 0 && clock_us() - c->switching.step_us >= limit_us;
}

static void give_up(struct cluster *c)
{
	log_msg(LL_WARNING, "switchover: %s; queries run on the old primary", c->switching.why);
	switchover_end(c);
}

/* Positions that were read since this step began. */
static bool is_fresh(const struct cluster *c, const struct endpoint *ep)
{
	return ep->seen.answers && ep->lsn_us > c->switching.step_us;
}

/* What is open there is not known while it is not known where the primary is. */
static void look_at_drain(struct cluster *c)
{
	bool known = c->now.say == CLUSTER_SERVE;
	unsigned open = switchover_open(c);

	if ((open > 0 || !known) && is_late(c, patience(c))) {
		if (known)
			snprintf(c->switching.why, sizeof c->switching.why, "%u transactions are still open", open);
		else
			snprintf(c->switching.why, sizeof c->switching.why, "no primary is known");
		give_up(c);
	} else if (open == 0 && known) {
		c->switching.lsn = 0;
		step_to(c, SWITCH_CATCHING_UP);
	}
}

static void look_at_standbys(struct cluster *c)
{
	const struct endpoint *primary = c->now.primary;
	uint64_t lsn;

	if (c->switching.lsn == 0 && c->now.say == CLUSTER_SERVE && is_fresh(c, primary))
		(void)endpoint_lsn(primary, &c->switching.lsn);
	for (size_t i = 0; c->switching.lsn != 0 && i < c->n; i++) {
		struct endpoint *ep = c->members[i];

		if (ep == primary || ep->state != SIGHT_UP || ep->seen.role != SIGHT_STANDBY || !is_fresh(c, ep) ||
			!endpoint_lsn(ep, &lsn) || lsn < c->switching.lsn)
			continue;
		snprintf(c->switching.ready, sizeof c->switching.ready, "%s:%u", ep->host, ep->port);
		log_msg(LL_LOG, "switchover: %s has all of it and may be promoted", c->switching.ready);
		step_to(c, SWITCH_READY);
		restart_hold(c);
		return;
	}
	if (is_late(c, patience(c))) {
		snprintf(c->switching.why, sizeof c->switching.why, "no standby has replayed all of it");
		give_up(c);
	}
}

static void look(struct cluster *c)
{
	int64_t wait = c->registry->config->set.failover_wait_timeout;

	switch (c->switching.step) {
	case SWITCH_DRAINING: look_at_drain(c); break;
	case SWITCH_CATCHING_UP: look_at_standbys(c); break;
	case SWITCH_READY:
		if (is_late(c, wait - wait / 10)) { /* before those who wait are told that there is nobody */
			snprintf(c->switching.why, sizeof c->switching.why, "nobody was promoted");
			give_up(c);
		}
		break;
	case SWITCH_NONE: break;
	}
}

/* Positions are what is asked for when nothing is open any more. */
static void keep_asking(struct cluster *c)
{
	struct registry *r = c->registry;

	if (c->switching.step == SWITCH_DRAINING) {
		timer_set(r->timers, &c->switching.timer, clock_us() + drain_pause_us);
		return;
	}

	for (size_t i = 0; i < c->n; i++)
		c->members[i]->asked_us = clock_us();
	r->ops->probe(c, false, r->ctx);
	timer_set(r->timers, &c->switching.timer, clock_us() + r->config->set.topology_fast_interval);
}

static void go_on(struct cluster *c)
{
	look(c);
	if (c->switching.step != SWITCH_NONE)
		keep_asking(c);
}

static void timer_fired(struct timer *t, void *ctx)
{
	(void)ctx;
	go_on(container_of(t, struct cluster, switching.timer));
}

void switchover_seen(struct cluster *c)
{
	if (c->switching.step == SWITCH_CATCHING_UP)
		look(c);
}

void switchover_move(struct cluster *to, struct cluster *from)
{
	struct registry *r = from->registry;

	if (from->switching.step == SWITCH_NONE)
		return;
	timer_cancel(r->timers, &from->switching.timer);
	to->switching = from->switching;
	to->switching.timer = (struct timer){.fire = timer_fired};
	timer_set(r->timers, &to->switching.timer, clock_us());
	from->switching.step = SWITCH_NONE;
}

bool switchover_may_begin(const struct cluster *c, char *why, size_t size)
{
	if (c->now.say != CLUSTER_SERVE) {
		snprintf(why, size, "there is no primary");
		return false;
	}
	if (c->switching.step != SWITCH_NONE) {
		snprintf(why, size, "a switchover is under way");
		return false;
	}
	return true;
}

void switchover_begin(struct cluster *c)
{
	log_msg(LL_LOG, "switchover: new transactions wait");
	c->switching.timer.fire = timer_fired;
	c->switching.why[0] = c->switching.ready[0] = '\0';
	step_to(c, SWITCH_DRAINING);
	topology_refit(c);
	go_on(c);
}

void switchover_end(struct cluster *c)
{
	if (c->switching.step == SWITCH_NONE)
		return;
	step_to(c, SWITCH_NONE);
	timer_cancel(c->registry->timers, &c->switching.timer);
	topology_refit(c);
}
