/*
 * pool_priv: what the life of a pool (pool.c) and its service (pool_run.c, pool_tidy.c) share.
 */
#ifndef PSBOUNCER_POOL_POOL_PRIV_H
#define PSBOUNCER_POOL_POOL_PRIV_H

#include "pool/endpoint.h"
#include "pool/pool.h"
#include "pool/registry.h"

enum {
	PREFERENCE = 8, /* so many idle slots are looked at for the ask's parameters */
	RAMP_MAX = 64	/* logins in flight of one pool */
};

/* A slot that was just checked is fresh for so long, even where server_check_delay is shorter. */
static const int64_t checked_us = USEC;

/* Out of its list and into another one. */
void slot_move(struct slot *s, enum slot_state to);
/* From IDLE to its user. */
void slot_take(struct slot *s);
/* An idle slot that may be granted now, best one whose parameters are wanted. NULL: the first is not such. */
struct slot *pool_pick(const struct pool *p, const struct vars *wanted);
void ask_dequeue(struct ask *a);
/* Through ops->close(). */
void slot_close(struct slot *s, enum pool_close why);
void slot_close_spent(struct slot *s);
/* Closes what is to go. */
void pool_tidy(struct pool *p, int64_t now);
/* When the longest idle slot is to be closed because there are more than the pool should have; 0: there are not. */
int64_t pool_surplus_at(struct pool *p, const struct slot *oldest, int64_t now);
/* When it is to be closed for server_idle_timeout; 0: it is not. */
int64_t pool_idle_end_at(const struct pool *p, const struct slot *oldest);
/* How many connections min_pool_size wants the pool to have. */
int64_t pool_least(const struct pool *p);

/* Must it be closed when it is free? */
static inline bool slot_is_spent(const struct slot *s)
{
	return s->retired || s->expired || (s->endpoint != NULL && s->generation != s->endpoint->generation);
}

/* Must it be checked before it is granted? */
static inline bool slot_is_stale(const struct pool *p, const struct slot *s, int64_t now)
{
	int64_t idle = now - s->since_us;

	if (!p->check || (s->checked && idle < checked_us))
		return false;
	return p->check_delay_us == 0 || idle > p->check_delay_us;
}

static inline bool pool_is_failing(const struct pool *p, int64_t now)
{
	return p->failure.at_us != 0 && now - p->failure.at_us < p->login_retry_us;
}

/* How many connections it may have with its reserve; 0: no limit. */
static inline int64_t pool_size_max(const struct pool *p)
{
	return p->size > 0 && p->reserve_timeout_us > 0 ? p->size + p->reserve_size : p->size;
}

#endif
