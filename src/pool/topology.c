/*
 * topology.c: see pool/topology.h. From what is seen to what follows: who the primary
 * is, what is held, what is closed. It asks nobody anything: monitors do. The clusters
 * themselves are made in topology_clusters.c, which hosts fit is in topology_fit.c.
 */
#include "pool/topology.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "pool/endpoint.h"
#include "pool/pool.h"
#include "pool/registry.h"

#include "topology_priv.h"

/* ---- what is seen ---- */

/* As cluster.h wants it: the caller's to free. */
static struct sight *sights(const struct cluster *c)
{
	struct sight *v = xcalloc(MEM_DATABASE, c->n, sizeof *v);

	for (size_t i = 0; i < c->n; i++)
		v[i] = c->members[i]->seen;
	return v;
}

const char *topology_role(const struct endpoint *ep)
{
	const struct cluster *c = ep->cluster;

	if (c == NULL || ep->seen.role == SIGHT_UNKNOWN)
		return "unknown";
	if (c->now.say == CLUSTER_SERVE && topology_is_at_primary(c, ep))
		return "primary";
	return ep->seen.role == SIGHT_STANDBY ? "standby" : "writable";
}

const char *topology_state(const struct endpoint *ep)
{
	switch (ep->state) {
	case SIGHT_DOWN: return ep->blind ? "blind" : ep->seen.probed ? "down" : "unknown";
	case SIGHT_FENCED:
	case SIGHT_FOREIGN: return "fenced";
	case SIGHT_TWIN:
	case SIGHT_UP: break;
	}
	return ep->cluster != NULL && ep->cluster->suspect_us != 0 ? "suspect" : "up";
}

/* ---- what follows ---- */

/*
 * Nothing more is to be sent to one that another primary has replaced: what it acknowledges now is lost. And a standby that
 * does not answer holds up who reads from it. A primary that does not answer may only be busy.
 */
static bool is_cut(const struct database *d, const struct slot *s)
{
	const struct cluster *c = d->cluster;
	const struct endpoint *ep = s->endpoint, *primary = c->now.primary;

	if (c->now.say == CLUSTER_SERVE && !topology_is_at_primary(c, ep) &&
		topology_first_name(ep)->seen.role != SIGHT_STANDBY)
		return true;
	if (c->now.say == CLUSTER_SERVE && s->generation < ep->replaced &&
		!sight_is_same_server(&ep->past, &primary->seen))
		return true;
	return ep->seen.role == SIGHT_STANDBY && ep->state == SIGHT_DOWN && !ep->seen.leaving && !ep->blind;
}

static void refit_pool(struct pool *p)
{
	const struct registry *r = p->db->registry;
	struct slot *s, *next;

	for (int i = 0; i < SLOT_STATES; i++)
		for (s = TAILQ_FIRST(&p->slots[i]); s != NULL; s = next) {
			bool spent = s->endpoint != NULL &&
				     (s->generation != s->endpoint->generation || !topology_fits(p->db, s->endpoint));

			next = TAILQ_NEXT(s, link);
			if (!spent)
				continue;
			if (!s->retired) /* those that take its place come slowly: the others are not alone */
				p->ramp = 1;
			pool_slot_retire(s);
			if (is_cut(p->db, s) || i == SLOT_IDLE || i == SLOT_SETUP)
				r->ops->close(s, POOL_CLOSE_MOVED, r->ctx);
		}
	pool_mark(p);
}

void topology_refit_database(struct database *d)
{
	bool held = d->cluster != NULL && !topology_has_fit(d);
	struct pool *p;

	TAILQ_FOREACH (p, &d->pools, of_db)
		if (d->cluster != NULL)
			refit_pool(p);
	if (held == d->held)
		return;
	d->held = held;
	d->held_us = clock_us();
	if (held && d->cluster->now.say == CLUSTER_HOLD)
		log_msg(LL_WARNING, "%s: no %s is there, queries wait", d->name,
			d->target == TARGET_PRIMARY ? "primary" : "replica");
	else if (!held)
		log_msg(LL_LOG, "%s: queries run", d->name);
	d->registry->ops->held(d, d->registry->ctx);
	database_mark(d);
}

/* Handlers below close connections, whose clients may go, and with them databases: none is freed meanwhile. */
void topology_refit(struct cluster *c)
{
	struct registry *r = c->registry;

	r->busy++;
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n)) {
		struct database *d = container_of(n, struct database, by_name);

		if (d->cluster == c)
			topology_refit_database(d);
	}
	r->busy--;
}

static bool is_complete(const struct cluster *c)
{
	if (clock_us() - c->made_us >= c->registry->config->set.topology_check_timeout)
		return true;
	for (size_t i = 0; i < c->n; i++)
		if (!c->members[i]->seen.probed && !c->members[i]->blind)
			return false;
	return true;
}

static void say_hold(enum cluster_hold why)
{
	static const char *const texts[] = {
		[HOLD_NONE_WRITABLE] = "no host that answers takes writes",
		[HOLD_TWO_WRITABLE] = "several hosts take writes on the same timeline: PROMOTE says which one counts",
		[HOLD_FENCED] = "what takes writes is on an older timeline, or of another cluster",
	};

	log_msg(LL_WARNING, "no primary: %s", texts[why]);
}

static void say(const struct cluster_decision *was, const struct cluster_decision *now)
{
	const struct endpoint *ep = now->primary;

	if (now->say == CLUSTER_SERVE && (was->say != CLUSTER_SERVE || now->moved))
		log_msg(LL_LOG, "primary: %s:%u, timeline %u", ep->host, ep->port, ep->seen.timeline);
	else if (now->say == CLUSTER_HOLD && (was->say != CLUSTER_HOLD || was->why != now->why))
		say_hold(now->why);
}

/* What an endpoint is by itself, and what it was: connections from before it was lost or demoted are not used again. */
static void settle_members(struct cluster *c, const struct sight *seen)
{
	for (size_t i = 0; i < c->n; i++) {
		struct endpoint *ep = c->members[i];
		enum sight_state state = cluster_sight_state(&c->memory, seen, c->n, i);

		if (state == ep->state)
			continue;
		if (state == SIGHT_FENCED || state == SIGHT_FOREIGN)
			log_msg(LL_WARNING, "%s:%u is fenced: it takes writes %s, and gets no query", ep->host,
				ep->port, state == SIGHT_FENCED ? "on an older timeline" : "and is of another cluster");
		if (ep->state == SIGHT_UP && state != SIGHT_TWIN) /* by another name it is up */
			ep->generation++;
		ep->state = state;
		ep->changed_us = clock_us();
	}
}

/* ---- what is remembered of it --------------------------------------------------------------- */

/*
 * One makes room: the one that leaves the smallest gap, for its age. The oldest one stays, a standby may be that far behind,
 * and the newest.
 */
static void drop_sample(struct lag_samples *s)
{
	size_t least = 1;
	double smallest = 0;

	for (size_t i = 1; i + 1 < s->n; i++) {
		double gap = (double)(s->v[i + 1].at_us - s->v[i - 1].at_us) / (double)(clock_us() - s->v[i].at_us + 1);

		if (i == 1 || gap < smallest) {
			least = i;
			smallest = gap;
		}
	}
	s->n--;
	memmove(&s->v[least], &s->v[least + 1], (s->n - least) * sizeof s->v[0]);
}

/* Of a new primary there are none of the old one. */
static void take_sample(struct cluster *c, const struct endpoint *ep)
{
	struct lag_samples *s = &c->samples;
	uint64_t lsn;

	if (c->now.say != CLUSTER_SERVE || c->now.primary != ep || !endpoint_lsn(ep, &lsn))
		return;
	if (s->n > 0 && s->v[s->n - 1].lsn == lsn)
		return;
	if (s->n == LAG_SAMPLES)
		drop_sample(s);
	s->v[s->n].at_us = clock_us();
	s->v[s->n++].lsn = lsn;
}

static unsigned count_waiting(const struct cluster *c)
{
	const struct pool *p;
	unsigned n = 0;

	TAILQ_FOREACH (p, &c->registry->pools, all)
		if (p->db->cluster == c && p->db->target == TARGET_PRIMARY)
			n += p->waiting;
	return n;
}

static void name_databases(const struct cluster *c, char *out, size_t size)
{
	const struct htab *h = &c->registry->databases;
	size_t len = 0;

	out[0] = '\0';
	for (struct hnode *n = htab_next(h, NULL); n != NULL; n = htab_next(h, n)) {
		const struct database *d = container_of(n, struct database, by_name);

		if (d->cluster == c && d->target == TARGET_PRIMARY && len + strlen(d->name) + 2 < size)
			len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? "," : "", d->name);
	}
}

static void name_host(const struct endpoint *ep, char *out, size_t size)
{
	snprintf(out, size, "%s:%u", ep->host, ep->port);
}

/* was: the primary before, or NULL. */
static void remember(struct cluster *c, const struct endpoint *was)
{
	struct failovers *f = &c->registry->failovers;
	struct failover *e;

	if (f->v == NULL)
		f->v = xcalloc(MEM_DATABASE, FAILOVERS, sizeof *f->v);
	e = &f->v[f->last++ % FAILOVERS];
	for (struct cluster *o = TAILQ_FIRST(&c->registry->clusters); o != NULL; o = TAILQ_NEXT(o, all))
		if (o->event == e) /* it is so old that its place is taken */
			o->event = NULL;
	*e = (struct failover){.decided_us = clock_us(),
		.timeline = c->memory.timeline,
		.held = count_waiting(c),
		.replayed = c->replayed,
		.failed = c->failed,
		.resumed_us = -1};
	e->detect_us = c->suspect_us != 0 ? clock_us() - c->suspect_us : 0;
	name_databases(c, e->databases, sizeof e->databases);
	if (was != NULL)
		name_host(was, e->from, sizeof e->from);
	name_host(c->now.primary, e->to, sizeof e->to);
	snprintf(e->trigger, sizeof e->trigger, "%s", c->trigger[0] != '\0' ? c->trigger : "seen by a probe");
	c->event = e;
	c->failed = c->replayed = 0;
	c->trigger[0] = '\0';
}

void topology_resumed(struct database *d)
{
	struct cluster *c = d->cluster;

	if (c == NULL || c->event == NULL || d->target != TARGET_PRIMARY)
		return;
	c->event->resumed_us = clock_us() - c->event->decided_us;
	c->event = NULL;
}

void topology_failed(struct database *d)
{
	if (d->cluster == NULL)
		return;
	if (d->cluster->event != NULL)
		d->cluster->event->failed++;
	else
		d->cluster->failed++;
}

void topology_replayed(struct database *d)
{
	if (d->cluster == NULL)
		return;
	if (d->cluster->event != NULL)
		d->cluster->event->replayed++;
	else
		d->cluster->replayed++;
}

void topology_decide(struct cluster *c)
{
	struct cluster_decision was = c->now;
	const struct endpoint *before = was.say == CLUSTER_SERVE ? was.primary : c->memory.primary;
	struct sight *seen = sights(c);

	c->now = cluster_decide(&c->memory, seen, c->n, is_complete(c));
	settle_members(c, seen);
	xfree(MEM_DATABASE, seen);
	say(&was, &c->now);
	if (c->now.say == CLUSTER_SERVE && before != NULL && (was.say != CLUSTER_SERVE || c->now.moved))
		remember(c, before);
	if (c->now.say == CLUSTER_SERVE && c->now.moved) {
		c->samples.n = 0;
		name_host(c->now.primary, c->switching.ready,
			sizeof c->switching.ready); /* who promoted it was quick */
		c->suspect_us = 0;
		c->trigger[0] = '\0';
		switchover_end(c);
	}
	topology_refit(c);
	if (c->now.say == CLUSTER_HOLD && was.say != CLUSTER_HOLD)
		c->registry->ops->probe(c, true, c->registry->ctx); /* who takes its place is to be seen soon */
}

/* Is all that was suspected looked at? As long as there is no primary all is suspect. */
static void refute(struct cluster *c)
{
	if (c->suspect_us == 0 || c->now.say != CLUSTER_SERVE)
		return;
	for (size_t i = 0; i < c->n; i++)
		if (c->members[i]->seen_us <= c->suspect_us && !c->members[i]->blind)
			return;
	c->suspect_us = 0;
	c->trigger[0] = '\0';
	c->failed = c->replayed = 0;
	for (size_t i = 0; i < c->n; i++)
		c->members[i]->refuted_us = clock_us();
}

static bool same_sight(const struct sight *a, const struct sight *b)
{
	return a->probed && a->answers == b->answers && a->leaving == b->leaving && a->role == b->role &&
	       a->timeline == b->timeline && a->system_id == b->system_id && a->started_us == b->started_us;
}

/* Those that were opened since then are of the new generation: they came to the same server as who saw it. */
static void adopt(struct endpoint *ep, int64_t since_us)
{
	struct pool *p;
	struct slot *s;

	TAILQ_FOREACH (p, &ep->cluster->registry->pools, all)
		for (int i = 0; i < SLOT_STATES; i++)
			TAILQ_FOREACH (s, &p->slots[i], link)
				if (s->endpoint == ep && s->opened_us >= since_us)
					s->generation = ep->generation;
}

/* Was it a primary, and what is there now is not that one restarted? Then what goes on there is not to be. */
static bool is_replaced(const struct endpoint *ep, const struct sight *now, bool moved)
{
	bool restarted = !moved && now->role == SIGHT_WRITABLE && now->timeline == ep->seen.timeline &&
			 now->system_id == ep->seen.system_id;

	return ep->seen.role == SIGHT_WRITABLE && ep->state != SIGHT_FENCED && ep->state != SIGHT_FOREIGN && !restarted;
}

/*
 * True: another server is there than before, or it is elsewhere; an address too can lead to another one (a virtual address, a
 * balancer). Before its address was known any connection went wherever the name led. One replica is as good as another.
 */
static bool take_server(struct endpoint *ep, const struct sight *now, struct addr at, int64_t since_us)
{
	char text[ADDR_TEXT];
	bool known = ep->address.family != AF_UNSPEC, moved, other;

	at.port = 0;
	moved = endpoint_is_name(ep) && !addr_equal(&ep->address, &at);
	other = ep->seen.system_id != 0 && !sight_is_same_server(&ep->seen, now) &&
		(ep->seen.role == SIGHT_WRITABLE || now->role == SIGHT_WRITABLE);
	if (!moved && !other)
		return false;
	if (ep->connections > 0)
		ep->generation++;
	if (!moved)
		adopt(ep, since_us);
	if (other && is_replaced(ep, now, moved)) {
		ep->past = ep->seen;
		ep->replaced = ep->generation;
	}
	if (moved)
		ep->address = at;
	if (moved && known)
		log_msg(LL_LOG, "%s:%u is at %s now", ep->host, ep->port, addr_host(&at, text));
	return known || ep->connections > 0;
}

void topology_named(struct endpoint *ep, const struct addr *addrs, size_t n)
{
	if (ep->address.family == AF_UNSPEC)
		return;
	for (size_t i = 0; i < n; i++)
		if (addr_equal(&addrs[i], &ep->address))
			return;
	topology_suspect(ep, "its name leads elsewhere");
}

void topology_seen(struct endpoint *ep, const struct sight *now, const struct addr *at, int64_t since_us)
{
	struct cluster *c = ep->cluster;
	bool same = same_sight(&ep->seen, now);

	if (c == NULL)
		return;
	if (at != NULL && take_server(ep, now, *at, since_us))
		same = false;
	ep->seen_us = clock_us();
	ep->seen = *now;
	ep->seen.who = ep;
	ep->seen.probed = true;
	take_sample(c, ep);
	if (!same)
		topology_decide(c);
	else if (c->wants_lag)
		topology_refit(c);
	refute(c);
	switchover_seen(c);
}

void topology_blind(struct endpoint *ep, bool blind)
{
	if (ep->blind == blind)
		return;
	ep->blind = blind;
	ep->witnessed = SIGHT_UNKNOWN;
	if (blind) /* who is there is not known: connections go where the name leads */
		ep->address = (struct addr){.family = AF_UNSPEC};
	if (ep->cluster != NULL)
		topology_decide(ep->cluster);
}

void topology_witness(struct endpoint *ep, bool standby)
{
	enum sight_role role = standby ? SIGHT_STANDBY : SIGHT_WRITABLE;

	if (ep->cluster == NULL)
		return;
	if (ep->blind && ep->witnessed != role) {
		ep->witnessed = role;
		topology_decide(ep->cluster);
	} else if (!ep->blind && ep->seen.answers && ep->seen.role != role) {
		topology_suspect(ep,
			standby ? "a connection says that it is a standby" : "a connection says that it is no standby");
	}
}

void topology_suspect(struct endpoint *ep, const char *why)
{
	struct cluster *c = ep->cluster;
	struct registry *r;

	if (c == NULL || c->suspect_us != 0)
		return;
	r = c->registry;
	if (ep->refuted_us != 0 && clock_us() - ep->refuted_us < r->config->set.topology_check_interval)
		return;
	c->suspect_us = clock_us();
	snprintf(c->trigger, sizeof c->trigger, "%.100s", why);
	log_msg(LL_WARNING, "%s:%u is suspect: %s", ep->host, ep->port, why);
	r->ops->probe(c, true, r->ctx);
}

void topology_turned_away(struct endpoint *ep, const char *why)
{
	if (ep->cluster == NULL)
		return;
	topology_suspect(ep, why);
	if (!ep->blind) /* its monitor will see the same */
		return;
	ep->generation++;
	topology_refit(ep->cluster);
}

void topology_probe(struct cluster *c)
{
	c->registry->ops->probe(c, true, c->registry->ctx);
}

bool topology_promote(struct endpoint *ep, bool force)
{
	struct cluster *c = ep->cluster;
	char before[sizeof c->trigger];

	c->memory.named = topology_is_at_primary(c, ep) ? c->now.primary : ep;
	c->memory.forced = force;
	memcpy(before, c->trigger, sizeof before);
	snprintf(c->trigger, sizeof c->trigger, "PROMOTE");
	topology_decide(c);
	if (c->memory.named != NULL) { /* it has decided nothing, and is not to be remembered for another day */
		c->memory.named = NULL;
		c->memory.forced = false;
	}
	if (c->trigger[0] != '\0') /* it has changed nothing, and is not why something will */
		memcpy(c->trigger, before, sizeof before);
	return c->now.say == CLUSTER_SERVE && topology_is_at_primary(c, ep);
}
