/*
 * pool: owns the pools, and the membership of slots and asks in them. The conn
 * floor asks, withdraws and tells what became of its connections; here only
 * lists and counters change, and a pool that has something to do is marked.
 * What there is to do is done in pool_run.c, but for the grant of an idle
 * slot to an ask that finds nobody waiting.
 */
#include "pool/pool.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pool_priv.h"

/* server_login_retry is no shorter than this, so that a refusing server does not keep the loop busy. */
static const int64_t retry_min_us = USEC / 10;

struct pool_key {
	const struct database *db;
	const struct user *user;
};

/* ---- life of a pool ---- */

static uint64_t key_hash(const struct database *d, const struct user *u)
{
	return hash_mix((uint64_t)(uintptr_t)d, (uint64_t)(uintptr_t)u);
}

static bool key_eq(const struct hnode *n, const void *key)
{
	const struct pool *p = container_of(n, struct pool, by_key);
	const struct pool_key *k = key;

	return p->db == k->db && p->user == k->user;
}

static void timer_fired(struct timer *t, void *ctx)
{
	(void)ctx;
	pool_mark(container_of(t, struct pool, timer));
}

struct pool *pool_get(struct registry *r, struct database *d, struct user *u)
{
	struct pool_key key = {d, u};
	struct hnode *n = htab_find(&r->pool_index, key_hash(d, u), key_eq, &key);
	struct pool *p;

	if (n != NULL)
		return container_of(n, struct pool, by_key);
	p = xcalloc(MEM_POOL, 1, sizeof *p);
	p->db = d;
	p->user = u;
	p->ramp = 1;
	p->timer.fire = timer_fired;
	for (int i = 0; i < SLOT_STATES; i++)
		TAILQ_INIT(&p->slots[i]);
	TAILQ_INIT(&p->asks);
	TAILQ_INIT(&p->greets);
	TAILQ_INIT(&p->owns);
	htab_insert(&r->pool_index, &p->by_key, key_hash(d, u));
	TAILQ_INSERT_TAIL(&r->pools, p, all);
	TAILQ_INSERT_TAIL(&d->pools, p, of_db);
	TAILQ_INSERT_TAIL(&u->pools, p, of_user);
	pool_configure(p);
	return p;
}

bool pool_is_empty(const struct pool *p)
{
	return p->servers == 0 && p->clients == 0 && !pool_has_asks(p);
}

bool pool_has_asks(const struct pool *p)
{
	return p->waiting > 0 || !TAILQ_EMPTY(&p->greets) || !TAILQ_EMPTY(&p->owns);
}

static void failure_forget(struct pool *p)
{
	xfree(MEM_POOL, p->failure.text);
	p->failure = (struct pool_failure){0};
}

void pool_free(struct pool *p)
{
	struct registry *r = p->db->registry;

	assert(pool_is_empty(p) && p->reserved == 0 && p->retiring == 0 && p->owned == 0);
	if (p->dirty)
		TAILQ_REMOVE(&r->dirty, p, marked);
	timer_cancel(r->timers, &p->timer);
	htab_remove(&r->pool_index, &p->by_key);
	TAILQ_REMOVE(&r->pools, p, all);
	TAILQ_REMOVE(&p->db->pools, p, of_db);
	TAILQ_REMOVE(&p->user->pools, p, of_user);
	failure_forget(p);
	xfree_secret(MEM_POOL, p->credential.password);
	mem_wipe(&p->credential, sizeof p->credential);
	xfree(MEM_POOL, p);
}

void pool_configure(struct pool *p)
{
	const struct registry *r = p->db->registry;
	const struct settings *set = &r->config->set;
	const struct overrides *db = p->db->conf != NULL ? &p->db->conf->over : NULL;
	const struct overrides *user = p->user->conf != NULL ? &p->user->conf->over : NULL;

	p->mode = (enum pool_mode)param_effective(PARAM_pool_mode, user, db, set);
	p->size = param_effective(PARAM_default_pool_size, user, db, set);
	p->min_size = param_effective(PARAM_min_pool_size, user, db, set);
	p->max_pinned = param_effective(PARAM_max_pinned, user, db, set);
	if (p->max_pinned == 0)
		p->max_pinned = p->size > 3 ? p->size / 2 : 1;
	p->reserve_size = param_effective(PARAM_reserve_pool_size, user, db, set);
	p->reserve_timeout_us = param_effective(PARAM_reserve_pool_timeout, user, db, set);
	p->login_retry_us = param_effective(PARAM_server_login_retry, user, db, set);
	if (param_effective(PARAM_target_session_attrs, NULL, db, set) !=
		0) /* another host may be there at any moment */
		p->login_retry_us = set->topology_fast_interval;
	if (p->login_retry_us < retry_min_us)
		p->login_retry_us = retry_min_us;
	p->check_delay_us = param_effective(PARAM_server_check_delay, user, db, set);
	p->check = set->server_check_query[0] != '\0';
	p->lifetime_us = param_effective(PARAM_server_lifetime, user, db, set);
	p->lifetime_at = p->servers > 0 ? clock_us() : 0;
	p->idle_timeout_us = param_effective(PARAM_server_idle_timeout, user, db, set);
	p->query_wait_us = param_effective(PARAM_query_wait_timeout, user, db, set);
	p->limited = pool_limit_value(r, LIMIT_DB_SERVERS, p->db) > 0 ||
		     pool_limit_value(r, LIMIT_USER_SERVERS, p->user) > 0;
	p->shrink = pool_limit_over(r, LIMIT_DB_SERVERS, p->db) || pool_limit_over(r, LIMIT_USER_SERVERS, p->user);
	pool_mark(p);
}

void pool_mark(struct pool *p)
{
	if (p->dirty)
		return;
	p->dirty = true;
	TAILQ_INSERT_TAIL(&p->db->registry->dirty, p, marked);
}

bool pools_are_due(const struct registry *r)
{
	return !TAILQ_EMPTY(&r->dirty);
}

bool pool_is_paused(const struct pool *p)
{
	return p->db->paused || p->db->killed || p->db->registry->paused;
}

/* ---- asks ---- */

void pool_enter(struct pool *p, struct ask *a)
{
	assert(a->pool == NULL && !a->queued);
	a->pool = p;
	p->clients++;
	if (p->servers < p->min_size)
		pool_mark(p);
}

void pool_leave(struct ask *a)
{
	struct pool *p = a->pool;

	if (p == NULL)
		return;
	pool_withdraw(a);
	assert(p->clients > 0);
	p->clients--;
	a->pool = NULL;
	if (p->clients == 0)
		pool_mark(p); /* min_pool_size may hold for it no more */
	if (pool_is_empty(p))
		registry_loosen(p->db, p->user);
}

static struct ask_list *ask_list_of(const struct ask *a)
{
	struct pool *p = a->pool;

	return a->kind == ASK_SERVER ? &p->asks : a->kind == ASK_OWN ? &p->owns : &p->greets;
}

static void ask_queue(struct ask *a)
{
	struct pool *p = a->pool;

	a->queued = true;
	a->number = ++p->db->registry->asked;
	a->since_us = clock_us();
	TAILQ_INSERT_TAIL(ask_list_of(a), a, link);
	p->waiting += a->kind == ASK_SERVER;
	pool_mark(p);
}

void ask_dequeue(struct ask *a)
{
	struct pool *p = a->pool;

	assert(a->queued);
	a->queued = false;
	TAILQ_REMOVE(ask_list_of(a), a, link);
	p->waiting -= a->kind == ASK_SERVER;
}

void pool_withdraw(struct ask *a)
{
	if (a->queued)
		ask_dequeue(a);
}

struct slot *pool_pick(const struct pool *p, const struct vars *wanted)
{
	int64_t now = clock_us();
	struct slot *first = TAILQ_FIRST(&p->slots[SLOT_IDLE]), *s = first;

	for (int i = 0; s != NULL && i < PREFERENCE; i++, s = TAILQ_NEXT(s, link)) {
		if (slot_is_spent(s) || slot_is_stale(p, s, now))
			return s == first ? NULL : first;
		if (wanted == NULL || s->vars == wanted)
			return s;
	}
	return first;
}

struct slot *pool_ask(struct ask *a, enum ask_kind kind)
{
	struct pool *p = a->pool;
	struct slot *s;

	assert(p != NULL && !a->queued);
	a->kind = kind;
	if (kind == ASK_SERVER && p->waiting == 0 && TAILQ_EMPTY(&p->owns) && !pool_is_paused(p) && !p->db->starved &&
		!p->user->starved) {
		s = pool_pick(p, a->wanted);
		if (s != NULL) {
			slot_take(s);
			return s;
		}
	}
	ask_queue(a);
	return NULL;
}

int64_t pool_waits_since_us(const struct pool *p)
{
	const struct ask *firsts[] = {TAILQ_FIRST(&p->asks), TAILQ_FIRST(&p->greets), TAILQ_FIRST(&p->owns)}, *a = NULL;

	for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
		if (firsts[i] != NULL && (a == NULL || firsts[i]->number < a->number))
			a = firsts[i];
	return a != NULL ? a->since_us : 0;
}

/* ---- slots ---- */

void slot_move(struct slot *s, enum slot_state to)
{
	struct pool *p = s->pool;

	TAILQ_REMOVE(&p->slots[s->state], s, link);
	p->n[s->state]--;
	s->state = to;
	s->since_us = clock_us();
	p->n[to]++;
	if (to == SLOT_IDLE)
		TAILQ_INSERT_HEAD(&p->slots[to], s, link);
	else
		TAILQ_INSERT_TAIL(&p->slots[to], s, link);
}

void slot_take(struct slot *s)
{
	s->checked = false;
	s->expired = s->expired || s->pool->lifetime_us == 0; /* one use */
	slot_move(s, SLOT_BUSY);
}

static void endpoint_set(struct slot *s, struct endpoint *e)
{
	if (e != NULL)
		endpoint_ref(e)->connections++;
	if (s->endpoint != NULL) {
		s->endpoint->connections--;
		endpoint_put(&s->pool->db->registry->endpoints, &s->endpoint);
	}
	s->endpoint = e;
	s->generation = e != NULL ? e->generation : 0;
}

void pool_slot_add(struct pool *p, struct slot *s, struct endpoint *e, bool reserve)
{
	struct registry *r = p->db->registry;

	assert(s->pool == NULL);
	*s = (struct slot){.pool = p, .state = SLOT_SETUP, .reserve = reserve};
	s->since_us = s->opened_us = clock_us();
	endpoint_set(s, e);
	TAILQ_INSERT_TAIL(&p->slots[SLOT_SETUP], s, link);
	p->n[SLOT_SETUP]++;
	p->db->setup++;
	p->reserved += reserve;
	if (p->servers == 0)
		p->lifetime_at = s->opened_us + p->lifetime_us;
	pool_limit_force(r, LIMIT_POOL, p);
	pool_limit_force(r, LIMIT_DB_SERVERS, p->db);
	pool_limit_force(r, LIMIT_USER_SERVERS, p->user);
	pool_mark(p);
}

void pool_slot_own(struct slot *s)
{
	assert(s->pool != NULL && s->state == SLOT_SETUP);
	s->own = true;
	s->pool->owned++;
	s->pool->db->setup--;
	slot_move(s, SLOT_BUSY);
}

void pool_slot_endpoint(struct slot *s, struct endpoint *e)
{
	assert(s->pool != NULL && (s->state == SLOT_SETUP || s->own));
	endpoint_set(s, e);
}

/* Who waits for the database's first login may have something to do. */
static void mark_greets(struct database *d)
{
	struct pool *p;

	TAILQ_FOREACH (p, &d->pools, of_db)
		if (!TAILQ_EMPTY(&p->greets))
			pool_mark(p);
}

void pool_slot_login_done(struct slot *s)
{
	struct pool *p = s->pool;

	assert(p != NULL && s->state == SLOT_SETUP);
	p->db->setup--;
	p->ramp = p->ramp < RAMP_MAX / 2 ? p->ramp * 2 : RAMP_MAX;
	failure_forget(p);
	s->checked = true;
	slot_move(s, SLOT_IDLE);
	topology_resumed(p->db);
	mark_greets(p->db);
	pool_mark(p);
}

/* Is there more to do about a slot that becomes idle than to leave it where it is? */
static bool idle_needs_look(const struct pool *p, const struct slot *s)
{
	return p->waiting > 0 || !TAILQ_EMPTY(&p->owns) || slot_is_spent(s) || p->db->starved || p->user->starved ||
	       pool_is_paused(p) || p->shrink || (p->size > 0 && p->servers > p->size);
}

void pool_slot_idle(struct slot *s)
{
	struct pool *p = s->pool;

	assert(p != NULL && !s->own && (s->state == SLOT_BUSY || s->state == SLOT_TESTED));
	s->checked = s->state == SLOT_TESTED;
	slot_move(s, SLOT_IDLE);
	if (idle_needs_look(p, s))
		pool_mark(p);
}

void pool_slot_busy(struct slot *s)
{
	assert(s->pool != NULL && (s->state == SLOT_IDLE || s->state == SLOT_TESTED));
	slot_take(s);
}

void pool_slot_tested(struct slot *s)
{
	assert(s->pool != NULL && (s->state == SLOT_IDLE || s->state == SLOT_BUSY));
	slot_move(s, SLOT_TESTED);
}

void pool_slot_retire(struct slot *s)
{
	assert(s->pool != NULL);
	if (s->retired)
		return;
	s->retired = true;
	s->pool->retiring++;
	pool_mark(s->pool);
}

void pool_slot_remove(struct slot *s)
{
	struct pool *p = s->pool;
	struct registry *r;

	if (p == NULL)
		return;
	r = p->db->registry;
	TAILQ_REMOVE(&p->slots[s->state], s, link);
	p->n[s->state]--;
	p->reserved -= s->reserve;
	p->retiring -= s->retired;
	p->owned -= s->own;
	endpoint_set(s, NULL);
	s->pool = NULL;
	if (s->state == SLOT_SETUP && --p->db->setup == 0)
		mark_greets(p->db);
	pool_limit_give(r, LIMIT_POOL, p);
	pool_limit_give(r, LIMIT_DB_SERVERS, p->db);
	pool_limit_give(r, LIMIT_USER_SERVERS, p->user);
	pool_mark(p);
	if (pool_is_empty(p))
		registry_loosen(p->db, p->user);
}

void pool_login_failed(struct pool *p, const char *code, const char *text)
{
	char *copy = xstrdup(MEM_POOL, text);

	p->ramp = p->ramp > 1 ? p->ramp / 2 : 1;
	failure_forget(p);
	snprintf(p->failure.code, sizeof p->failure.code, "%s", code);
	p->failure.text = copy;
	p->failure.at_us = clock_us();
	pool_mark(p);
}

void pool_retire(struct pool *p)
{
	struct slot *s;

	for (int i = 0; i < SLOT_STATES; i++)
		TAILQ_FOREACH (s, &p->slots[i], link)
			pool_slot_retire(s);
}
