/*
 * pool_run: the service of the pools that are marked, once a turn of the loop.
 * What is spent is closed (pool_tidy.c), then asks are granted, slots tested,
 * connections opened, in the order of the asks' numbers where pools share a
 * limit. Called by the loop through pools_run() alone.
 *
 * Every up-call may change lists, so nothing is kept over one but the pools
 * themselves: none is freed while registry.busy.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pool_priv.h"

/* A pool that the service marks again is served again at once, but not forever. */
enum { ROUNDS = 8 };

static const int64_t test_patience_us = USEC; /* a test that takes longer is not waited for */
static const int64_t stalled_pause_us = USEC; /* after a launch that did nothing */
static const uint64_t no_number = UINT64_MAX; /* of no ask */

static const struct pool_ops *ops_of(const struct pool *p)
{
	return p->db->registry->ops;
}

/* ---- asks that need no slot ---- */

static void greet(struct pool *p)
{
	uint64_t last = p->db->registry->asked; /* those that ask again in an up-call wait for the next round */
	struct ask *a;

	while (p->db->greeting != NULL && (a = TAILQ_FIRST(&p->greets)) != NULL && a->number <= last) {
		ask_dequeue(a);
		ops_of(p)->grant(a, NULL, p->db->registry->ctx);
	}
}

static void fail(struct pool *p, struct ask *a)
{
	ask_dequeue(a);
	ops_of(p)->fail(a, p->db->registry->ctx);
}

/* An answer to the login that waiting mends nothing of: the password is wrong, there is no such database. */
static bool is_refusal(const char *code)
{
	return strncmp(code, "28", 2) == 0 || strncmp(code, "3D", 2) == 0;
}

/* Nothing to wait for: no connection, and the last try to open one failed a moment ago. */
static void give_up(struct pool *p, int64_t now)
{
	uint64_t last = p->db->registry->asked;
	struct ask *a;

	if (p->db->cluster != NULL && (p->db->held || !is_refusal(p->failure.code)))
		return;
	if (!pool_is_failing(p, now) || p->servers > p->owned || pool_is_paused(p))
		return;
	while ((a = TAILQ_FIRST(&p->greets)) != NULL && a->number <= last)
		fail(p, a);
	while ((a = TAILQ_FIRST(&p->owns)) != NULL && a->number <= last)
		fail(p, a);
	while ((a = TAILQ_FIRST(&p->asks)) != NULL && a->number <= last)
		fail(p, a);
}

/* ---- asks that wait for a slot ---- */

/* Slots under test that will soon be idle. */
static unsigned tests_running(const struct pool *p, int64_t now)
{
	const struct slot *s;
	unsigned n = 0;

	TAILQ_FOREACH_REVERSE (s, &p->slots[SLOT_TESTED], slot_list, link) {
		if (now - s->since_us >= test_patience_us)
			break;
		n++;
	}
	return n;
}

/* When the next of them will have taken too long; 0: there is none. */
static int64_t tests_end_at(const struct pool *p, int64_t now)
{
	const struct slot *s;

	TAILQ_FOREACH (s, &p->slots[SLOT_TESTED], link)
		if (now - s->since_us < test_patience_us)
			return s->since_us + test_patience_us;
	return 0;
}

/* The first ask that no connection on its way will serve. */
static const struct ask *first_uncovered(const struct pool *p, int64_t now)
{
	unsigned covered = p->n[SLOT_SETUP] + tests_running(p, now);
	const struct ask *a;

	if (p->waiting == 0 && p->db->greeting == NULL && p->db->setup == 0)
		return TAILQ_FIRST(&p->greets);
	if (p->waiting <= covered)
		return NULL;
	for (a = TAILQ_FIRST(&p->asks); covered > 0; covered--)
		a = TAILQ_NEXT(a, link);
	return a;
}

/* a: the first that waits. */
static bool reserve_is_due(const struct pool *p, const struct ask *a, int64_t now)
{
	return a != NULL && p->servers < pool_size_max(p) && now - a->since_us >= p->reserve_timeout_us;
}

static bool may_log_in(const struct pool *p, int64_t now)
{
	return p->db->conf != NULL && !p->db->held && !pool_is_paused(p) && !pool_is_failing(p, now) &&
	       now >= p->stalled_us && p->n[SLOT_SETUP] < p->ramp;
}

/* The number of the ask that a connection is to be opened for, if the shared limits let it; no_number: for none. */
static uint64_t launch_number(const struct pool *p, int64_t now)
{
	const struct ask *a = first_uncovered(p, now);

	if (a == NULL || !may_log_in(p, now))
		return no_number;
	if (!pool_limit_room(p->db->registry, LIMIT_POOL, p) && !reserve_is_due(p, TAILQ_FIRST(&p->asks), now))
		return no_number;
	return a->number;
}

/* The ask for a connection of its own whose turn it is: it is the oldest, and one may be opened. NULL: there is none. */
static struct ask *own_in_turn(const struct pool *p, int64_t now)
{
	struct ask *own = TAILQ_FIRST(&p->owns);
	const struct ask *a = TAILQ_FIRST(&p->asks);

	if (own == NULL || (a != NULL && a->number < own->number) || !may_log_in(p, now))
		return NULL;
	return own;
}

/* Within the pool's size there is room for it, or an idle connection that makes some. */
static bool has_room_for_own(const struct pool *p, const struct ask *own, int64_t now)
{
	return pool_limit_room(p->db->registry, LIMIT_POOL, p) || reserve_is_due(p, own, now) || p->n[SLOT_IDLE] > 0;
}

/* Is there something in IDLE for the first ask, as it is or after a test? */
static bool has_idle_for_ask(const struct pool *p, int64_t now)
{
	const struct slot *s = TAILQ_FIRST(&p->slots[SLOT_IDLE]);

	if (s == NULL || p->waiting == 0 || pool_is_paused(p))
		return false;
	return !slot_is_stale(p, s, now) || tests_running(p, now) < p->waiting;
}

/* The number of the ask that the next step would serve. */
static uint64_t step_number(const struct pool *p, int64_t now)
{
	const struct ask *own = own_in_turn(p, now);

	if (own != NULL)
		return has_room_for_own(p, own, now) ? own->number : no_number;
	return has_idle_for_ask(p, now) ? TAILQ_FIRST(&p->asks)->number : launch_number(p, now);
}

/* own: the ask that it is for, or NULL. */
static void launch(struct pool *p, struct ask *own, int64_t now)
{
	struct registry *r = p->db->registry;
	unsigned before = p->servers;

	if (own != NULL)
		ask_dequeue(own);
	r->ops->launch(p, !pool_limit_room(r, LIMIT_POOL, p), own, r->ctx);
	if (p->servers <= before && !pool_is_failing(p, now))
		p->stalled_us = now + stalled_pause_us;
}

static void serve_idle(struct pool *p, int64_t now)
{
	struct registry *r = p->db->registry;
	struct ask *a = TAILQ_FIRST(&p->asks);
	struct slot *s = TAILQ_FIRST(&p->slots[SLOT_IDLE]);

	if (slot_is_spent(s)) {
		slot_close_spent(s);
	} else if (slot_is_stale(p, s, now)) {
		slot_move(s, SLOT_TESTED);
		r->ops->test(s, r->ctx);
	} else {
		s = pool_pick(p, a->wanted);
		ask_dequeue(a);
		slot_take(s);
		r->ops->grant(a, s, r->ctx);
	}
}

/* ---- shared limits ---- */

/* Of slot a and the longest idle one of p the longer idle. */
static struct slot *longer_idle(struct slot *a, const struct pool *p)
{
	struct slot *b = TAILQ_LAST(&p->slots[SLOT_IDLE], slot_list);

	return b != NULL && (a == NULL || b->since_us < a->since_us) ? b : a;
}

static struct slot *victim_of_database(const struct pool *p, bool own)
{
	struct slot *s = NULL;
	const struct pool *q;

	TAILQ_FOREACH (q, &p->db->pools, of_db)
		if (q != p || own)
			s = longer_idle(s, q);
	return s;
}

static struct slot *victim_of_user(const struct pool *p, bool own)
{
	struct slot *s = NULL;
	const struct pool *q;

	TAILQ_FOREACH (q, &p->user->pools, of_user)
		if (q != p || own)
			s = longer_idle(s, q);
	return s;
}

/*
 * Is there room for one more connection of p within the limits it shares? Idle slots of other pools make room if they
 * must: those that an older ask has a right to are not idle any more, since it had its turn. Nothing is closed in vain.
 * own: nor are those of p of any use to whoever it is for.
 */
static bool make_room(struct pool *p, bool own)
{
	const struct registry *r = p->db->registry;

	for (;;) {
		bool db = !pool_limit_room(r, LIMIT_DB_SERVERS, p->db);
		bool user = !pool_limit_room(r, LIMIT_USER_SERVERS, p->user);
		/* Where an older ask starves in this round there is nothing to be had. */
		struct slot *of_db = db && !p->db->starved ? victim_of_database(p, own) : NULL;
		struct slot *of_user = user && !p->user->starved ? victim_of_user(p, own) : NULL;

		if ((db && of_db == NULL) || (user && of_user == NULL)) {
			p->db->starved = p->db->starved || (db && of_db == NULL);
			p->user->starved = p->user->starved || (user && of_user == NULL);
			return false;
		}
		if (!db && !user)
			return true;
		if (of_db != NULL)
			slot_close(of_db, POOL_CLOSE_EVICTED);
		if (of_user != NULL && of_user != of_db)
			slot_close(of_user, POOL_CLOSE_EVICTED);
	}
}

static bool serve_own(struct pool *p, struct ask *own, int64_t now)
{
	struct slot *s;

	if (!has_room_for_own(p, own, now) || !make_room(p, true))
		return false;
	if (!pool_limit_room(p->db->registry, LIMIT_POOL, p) && !reserve_is_due(p, own, now)) {
		s = TAILQ_LAST(&p->slots[SLOT_IDLE], slot_list);
		if (s == NULL) /* that one went for a shared limit, and the pool is still too large */
			return false;
		slot_close(s, POOL_CLOSE_EVICTED);
	}
	launch(p, own, now);
	return true;
}

/* One grant, test or launch. False when there is none. */
static bool step(struct pool *p, int64_t now)
{
	struct ask *own = own_in_turn(p, now);

	if (own != NULL && serve_own(p, own, now))
		return true;
	if (has_idle_for_ask(p, now)) {
		serve_idle(p, now);
		return true;
	}
	if (launch_number(p, now) == no_number || !make_room(p, false))
		return false;
	launch(p, NULL, now);
	return true;
}

/* Asks that stand at a limit are looked at together with every pool that shares it, so that the oldest comes first. */
static void wake_starved(struct registry *r)
{
	struct pool *p, *q;

	TAILQ_FOREACH (p, &r->dirty, marked) {
		if (p->db->starved) {
			p->db->starved = false;
			TAILQ_FOREACH (q, &p->db->pools, of_db)
				if (pool_has_asks(q))
					pool_mark(q);
		}
		if (p->user->starved) {
			p->user->starved = false;
			TAILQ_FOREACH (q, &p->user->pools, of_user)
				if (pool_has_asks(q))
					pool_mark(q);
		}
	}
}

static int younger_first(const void *a, const void *b)
{
	const struct pool_turn *x = a, *y = b;

	return (x->number < y->number) - (x->number > y->number);
}

static struct pool_turn *order_room(struct registry *r, size_t n)
{
	if (n > r->order_cap) {
		r->order_cap = n * 2;
		r->order = xrealloc(MEM_POOL, r->order, r->order_cap * sizeof *r->order);
	}
	return r->order;
}

/* The last of the n entries to its place, the others are in order. */
static void order_settle(struct pool_turn *order, size_t n)
{
	struct pool_turn t = order[n - 1];
	size_t i = n - 1;

	for (; i > 0 && order[i - 1].number < t.number; i--)
		order[i] = order[i - 1];
	order[i] = t;
}

/*
 * The pools that share limits, the oldest ask first. What a pool would serve next is known when it is put in order; it
 * is asked again before its step, since steps of others may have taken it away.
 */
static void serve_in_order(struct registry *r, struct pool_list *turn, int64_t now)
{
	struct pool_turn *order;
	struct pool *p;
	size_t n = 0, budget = RAMP_MAX;

	TAILQ_FOREACH (p, turn, turn) {
		uint64_t number = p->limited ? step_number(p, now) : no_number;

		if (number == no_number)
			continue;
		order = order_room(r, n + 1);
		order[n++] = (struct pool_turn){number, p};
		budget += p->waiting + p->servers + 1;
	}
	if (n == 0)
		return;
	order = r->order;
	qsort(order, n, sizeof *order, younger_first);
	while (n > 0) {
		struct pool_turn *t = &order[n - 1];
		uint64_t number = step_number(t->pool, now);

		if (budget-- == 0)
			break;
		if (number <= t->number)
			number = step(t->pool, now) ? step_number(t->pool, now) : no_number;
		if (number == no_number) {
			n--;
			continue;
		}
		t->number = number;
		order_settle(order, n);
	}
	while (n > 0)
		pool_mark(order[--n].pool);
}

static void serve(struct pool *p, int64_t now)
{
	/* A client whose grant ends at once may ask again: that goes into the next turn. */
	unsigned budget = p->waiting + p->servers + RAMP_MAX;

	while (budget > 0 && step(p, now))
		budget--;
	if (budget == 0)
		pool_mark(p);
}

/* ---- min_pool_size, and when to look again ---- */

static void fill(struct pool *p, int64_t now)
{
	const struct registry *r = p->db->registry;

	while (p->servers < pool_least(p) && may_log_in(p, now) && pool_limit_room(r, LIMIT_DB_SERVERS, p->db) &&
		pool_limit_room(r, LIMIT_USER_SERVERS, p->user))
		launch(p, NULL, now);
}

static void sooner(int64_t *at, int64_t t, int64_t now)
{
	if (t > now && (*at == 0 || t < *at))
		*at = t;
}

/*
 * The timer stands at or before the next moment at which something is to be done without anybody saying so. While there
 * are slots it is always set where they can age, so that a slot that becomes idle needs no change of it.
 */
static void arm(struct pool *p, int64_t now)
{
	const struct slot *s = TAILQ_LAST(&p->slots[SLOT_IDLE], slot_list);
	bool may_grow = p->servers >= p->size && p->servers < pool_size_max(p);
	int64_t at = 0;

	if (pool_has_asks(p) || p->servers < pool_least(p)) {
		if (p->failure.at_us != 0)
			sooner(&at, p->failure.at_us + p->login_retry_us, now);
		sooner(&at, p->stalled_us, now);
	}
	if (p->waiting > 0) {
		if (may_grow)
			sooner(&at, TAILQ_FIRST(&p->asks)->since_us + p->reserve_timeout_us, now);
		sooner(&at, tests_end_at(p, now), now);
	}
	if (!TAILQ_EMPTY(&p->owns) && may_grow)
		sooner(&at, TAILQ_FIRST(&p->owns)->since_us + p->reserve_timeout_us, now);
	if (p->servers > 0 && p->idle_timeout_us > 0) {
		sooner(&at, now + p->idle_timeout_us, now);
		if (s != NULL)
			sooner(&at, pool_idle_end_at(p, s), now);
	}
	if (p->servers > 0 && p->lifetime_us > 0)
		sooner(&at, p->lifetime_at, now);
	if (s != NULL)
		sooner(&at, pool_surplus_at(p, s, now), now);
	timer_no_later(p->db->registry->timers, &p->timer, at);
}

/* ---- a turn ---- */

static void run_round(struct registry *r)
{
	struct pool_list turn = TAILQ_HEAD_INITIALIZER(turn);
	int64_t now = clock_us();
	struct pool *p;

	wake_starved(r);
	while ((p = TAILQ_FIRST(&r->dirty)) != NULL) {
		TAILQ_REMOVE(&r->dirty, p, marked);
		p->dirty = false;
		TAILQ_INSERT_TAIL(&turn, p, turn);
	}
	TAILQ_FOREACH (p, &turn, turn) {
		pool_tidy(p, now);
		greet(p);
		give_up(p, now);
	}
	TAILQ_FOREACH (p, &turn, turn)
		if (!p->limited)
			serve(p, now);
	serve_in_order(r, &turn, now);
	TAILQ_FOREACH (p, &turn, turn) {
		fill(p, now);
		arm(p, now);
	}
}

void pools_run(struct registry *r)
{
	assert(r->busy == 0);
	r->busy++;
	for (int i = 0; i < ROUNDS && !TAILQ_EMPTY(&r->dirty); i++)
		run_round(r);
	r->busy--;
	registry_sweep(r);
}
