/*
 * registry_limit: the one place where a counter meets its limit. Owns nothing:
 * the counters stand in what they count for.
 */
#include <assert.h>

#include "pool/pool.h"
#include "pool/registry.h"

static int64_t of_database(const struct registry *r, enum param_id id, const struct database *d)
{
	return param_effective(id, NULL, d->conf != NULL ? &d->conf->over : NULL, &r->config->set);
}

static int64_t of_user(const struct registry *r, enum param_id id, const struct user *u)
{
	return param_effective(id, u->conf != NULL ? &u->conf->over : NULL, NULL, &r->config->set);
}

int64_t pool_limit_value(const struct registry *r, enum limit_kind kind, const void *key)
{
	switch (kind) {
	case LIMIT_CLIENTS: return r->config->set.max_client_conn;
	case LIMIT_DB_CLIENTS: return of_database(r, PARAM_max_db_client_connections, key);
	case LIMIT_USER_CLIENTS: return of_user(r, PARAM_max_user_client_connections, key);
	case LIMIT_DB_SERVERS: return of_database(r, PARAM_max_db_connections, key);
	case LIMIT_USER_SERVERS: return of_user(r, PARAM_max_user_connections, key);
	case LIMIT_POOL: return ((const struct pool *)key)->size;
	}
	assert(!"a kind of limit");
	return 0;
}

static unsigned taken(const struct registry *r, enum limit_kind kind, const void *key)
{
	switch (kind) {
	case LIMIT_CLIENTS: return r->clients;
	case LIMIT_DB_CLIENTS: return ((const struct database *)key)->clients;
	case LIMIT_USER_CLIENTS: return ((const struct user *)key)->clients;
	case LIMIT_DB_SERVERS: return ((const struct database *)key)->servers;
	case LIMIT_USER_SERVERS: return ((const struct user *)key)->servers;
	case LIMIT_POOL: return ((const struct pool *)key)->servers;
	}
	assert(!"a kind of limit");
	return 0;
}

static unsigned *counter(struct registry *r, enum limit_kind kind, void *key)
{
	switch (kind) {
	case LIMIT_CLIENTS: return &r->clients;
	case LIMIT_DB_CLIENTS: return &((struct database *)key)->clients;
	case LIMIT_USER_CLIENTS: return &((struct user *)key)->clients;
	case LIMIT_DB_SERVERS: return &((struct database *)key)->servers;
	case LIMIT_USER_SERVERS: return &((struct user *)key)->servers;
	case LIMIT_POOL: return &((struct pool *)key)->servers;
	}
	assert(!"a kind of limit");
	return NULL;
}

bool pool_limit_room(const struct registry *r, enum limit_kind kind, const void *key)
{
	int64_t limit = pool_limit_value(r, kind, key);

	return limit == 0 || taken(r, kind, key) < limit;
}

bool pool_limit_over(const struct registry *r, enum limit_kind kind, const void *key)
{
	int64_t limit = pool_limit_value(r, kind, key);

	return limit != 0 && taken(r, kind, key) > limit;
}

bool pool_limit_take(struct registry *r, enum limit_kind kind, void *key)
{
	if (!pool_limit_room(r, kind, key))
		return false;
	pool_limit_force(r, kind, key);
	return true;
}

void pool_limit_force(struct registry *r, enum limit_kind kind, void *key)
{
	++*counter(r, kind, key);
}

void pool_limit_give(struct registry *r, enum limit_kind kind, void *key)
{
	unsigned *n = counter(r, kind, key);
	struct pool *p;

	assert(*n > 0);
	--*n;
	/* Who waits at the limit, in whatever pool, is to be looked at. */
	if (kind == LIMIT_DB_SERVERS && ((struct database *)key)->starved) {
		TAILQ_FOREACH (p, &((struct database *)key)->pools, of_db)
			if (pool_has_asks(p))
				pool_mark(p);
	}
	if (kind == LIMIT_USER_SERVERS && ((struct user *)key)->starved) {
		TAILQ_FOREACH (p, &((struct user *)key)->pools, of_user)
			if (pool_has_asks(p))
				pool_mark(p);
	}
}
