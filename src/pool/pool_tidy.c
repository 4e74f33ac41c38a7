/*
 * pool_tidy: what goes: connections that are retired, too old, idle for too
 * long, more than the pool should have, or paused. pools_run() calls it for a
 * pool that is marked, before anything is granted; KILL closes through it.
 */
#include <assert.h>

#include "pool_priv.h"

/* At most one of so many slots is closed for its lifetime in a look, so that those of one age do not all go at once. */
enum { LIFETIME_SHARE = 8 };

static const int64_t lifetime_pause_us = USEC; /* between two such looks */
static const int64_t surplus_us = 3 * USEC;    /* idle for so long, a slot beyond pool_size is closed */

void slot_close(struct slot *s, enum pool_close why)
{
	struct registry *r = s->pool->db->registry;

	r->ops->close(s, why, r->ctx);
	assert(s->pool == NULL); /* the contract of close */
}

void slot_close_spent(struct slot *s)
{
	slot_close(s, s->expired ? POOL_CLOSE_LIFETIME : POOL_CLOSE_RETIRED);
}

void pool_close_idle(struct pool *p, enum pool_close why)
{
	struct slot *s;

	while ((s = TAILQ_FIRST(&p->slots[SLOT_SETUP])) != NULL)
		slot_close(s, why);
	while ((s = TAILQ_FIRST(&p->slots[SLOT_IDLE])) != NULL)
		slot_close(s, why);
}

/* Marks slots whose lifetime is over as expired, a few at a time, whatever they do now. */
static void expire(struct pool *p, int64_t now)
{
	unsigned quota = p->servers / LIFETIME_SHARE + 1;
	int64_t next = 0;
	struct slot *s;

	if (p->lifetime_us == 0 || p->lifetime_at == 0 || now < p->lifetime_at)
		return;
	for (int i = 0; i < SLOT_STATES; i++)
		TAILQ_FOREACH_REVERSE (s, &p->slots[i], slot_list, link) { /* of the idle the longest idle first */
			int64_t end = s->opened_us + p->lifetime_us;

			if (slot_is_spent(s))
				continue;
			if (end <= now && quota > 0 && i != SLOT_SETUP) {
				s->expired = true;
				quota--;
				continue;
			}
			if (end <= now)
				end = now + lifetime_pause_us;
			if (next == 0 || end < next)
				next = end;
		}
	p->lifetime_at = next != 0 ? next : now + p->lifetime_us;
}

static void close_spent(struct pool *p)
{
	struct slot *s, *next;

	for (s = TAILQ_FIRST(&p->slots[SLOT_SETUP]); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (slot_is_spent(s))
			slot_close_spent(s);
	}
	for (s = TAILQ_FIRST(&p->slots[SLOT_IDLE]); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (slot_is_spent(s))
			slot_close_spent(s);
	}
}

static bool is_shrinking(struct pool *p)
{
	const struct registry *r = p->db->registry;

	if (p->shrink)
		p->shrink =
			pool_limit_over(r, LIMIT_DB_SERVERS, p->db) || pool_limit_over(r, LIMIT_USER_SERVERS, p->user);
	return p->shrink;
}

/* When the longest idle slot is to be closed because there are more than the pool should have; 0: there are not. */
int64_t pool_surplus_at(struct pool *p, const struct slot *oldest, int64_t now)
{
	if (p->size > 0 && p->servers > pool_size_max(p))
		return now;
	if (is_shrinking(p))
		return now;
	if (p->size > 0 && p->servers > p->size && p->waiting == 0)
		return oldest->since_us + surplus_us;
	return 0;
}

/* How many connections min_pool_size wants the pool to have. */
int64_t pool_least(const struct pool *p)
{
	if (p->db->conf == NULL || (p->clients == 0 && p->user != p->db->forced))
		return 0;
	return p->size > 0 && p->min_size > p->size ? p->size : p->min_size;
}

int64_t pool_idle_end_at(const struct pool *p, const struct slot *oldest)
{
	return p->idle_timeout_us > 0 && p->servers > pool_least(p) ? oldest->since_us + p->idle_timeout_us : 0;
}

static void close_unneeded(struct pool *p, int64_t now)
{
	struct slot *s;

	while ((s = TAILQ_LAST(&p->slots[SLOT_IDLE], slot_list)) != NULL) {
		int64_t surplus = pool_surplus_at(p, s, now), idle = pool_idle_end_at(p, s);

		if (surplus != 0 && surplus <= now)
			slot_close(s, POOL_CLOSE_SURPLUS);
		else if (idle != 0 && idle <= now)
			slot_close(s, POOL_CLOSE_IDLE);
		else
			return;
	}
}

void pool_tidy(struct pool *p, int64_t now)
{
	if (p->db->conf == NULL || p->db->killed) {
		pool_close_idle(p, POOL_CLOSE_KILLED);
		return;
	}
	if (pool_is_paused(p)) {
		pool_close_idle(p, POOL_CLOSE_PAUSED);
		return;
	}
	expire(p, now);
	close_spent(p);
	close_unneeded(p, now);
}
