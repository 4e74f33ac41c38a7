/*
 * show_pools: SHOW POOLS. The console has one, as with PgBouncer.
 */
#include <stdlib.h>
#include <string.h>

#include "admin/control.h"
#include "base/mem.h"
#include "base/timer.h"
#include "conf/param.h"
#include "conn/conn.h"
#include "conn/server.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "show_priv.h"

enum pool_number {
	N_CL_ACTIVE,
	N_CL_WAITING,
	N_CANCEL_REQ,
	N_CANCEL_WAITING,
	N_SV_ACTIVE,
	N_SV_CANCEL,
	N_SV_CANCELED,
	N_SV_IDLE,
	N_SV_USED,
	N_SV_TESTED,
	N_SV_LOGIN,
	N_MAXWAIT,
	N_MAXWAIT_US,
	N_COUNT
};

struct pool_row {
	const struct pool *pool; /* NULL: the console */
	int64_t n[N_COUNT];
};

static const char *pool_database_name(const struct pool *p)
{
	return show_database_name(p != NULL ? p->db : NULL);
}

static void get_pool_database(struct cell *c, const void *row, unsigned arg)
{
	const struct pool_row *r = row;

	(void)arg;
	cell_text(c, pool_database_name(r->pool));
}

static void get_pool_user(struct cell *c, const void *row, unsigned arg)
{
	const struct pool_row *r = row;

	(void)arg;
	cell_text(c, r->pool != NULL ? r->pool->user->name : "pgbouncer");
}

static void get_pool_number(struct cell *c, const void *row, unsigned arg)
{
	const struct pool_row *r = row;

	cell_number(c, r->n[arg]);
}

static void get_pool_mode(struct cell *c, const void *row, unsigned arg)
{
	const struct pool_row *r = row;

	(void)arg;
	cell_text(c, param_word(PARAM_pool_mode, r->pool != NULL ? (int)r->pool->mode : POOL_STATEMENT));
}

static void get_pool_balance(struct cell *c, const void *row, unsigned arg)
{
	const struct pool_row *r = row;

	(void)arg;
	cell_text(c, show_balance(r->pool != NULL ? r->pool->db : NULL));
}

static void get_pool_held(struct cell *c, const void *row, unsigned arg)
{
	const struct pool_row *r = row;

	(void)arg;
	cell_number(c, r->pool != NULL && r->pool->db->held);
}

static const struct column pool_columns[] = {
	{"database", COLUMN_TEXT, get_pool_database, 0}, {"user", COLUMN_TEXT, get_pool_user, 0},
	{"cl_active", COLUMN_INT4, get_pool_number, N_CL_ACTIVE},
	{"cl_waiting", COLUMN_INT4, get_pool_number, N_CL_WAITING},
	{"cl_active_cancel_req", COLUMN_INT4, get_pool_number, N_CANCEL_REQ},
	{"cl_waiting_cancel_req", COLUMN_INT4, get_pool_number, N_CANCEL_WAITING},
	{"sv_active", COLUMN_INT4, get_pool_number, N_SV_ACTIVE},
	{"sv_active_cancel", COLUMN_INT4, get_pool_number, N_SV_CANCEL},
	{"sv_being_canceled", COLUMN_INT4, get_pool_number, N_SV_CANCELED},
	{"sv_idle", COLUMN_INT4, get_pool_number, N_SV_IDLE}, {"sv_used", COLUMN_INT4, get_pool_number, N_SV_USED},
	{"sv_tested", COLUMN_INT4, get_pool_number, N_SV_TESTED},
	{"sv_login", COLUMN_INT4, get_pool_number, N_SV_LOGIN}, {"maxwait", COLUMN_INT4, get_pool_number, N_MAXWAIT},
	{"maxwait_us", COLUMN_INT4, get_pool_number, N_MAXWAIT_US}, {"pool_mode", COLUMN_TEXT, get_pool_mode, 0},
	{"load_balance_hosts", COLUMN_TEXT, get_pool_balance, 0},
	{"held", COLUMN_INT4, get_pool_held, 0}, /* PgBouncer has none */
};

static int64_t count_asks(const struct pool *p)
{
	const struct ask *a;
	int64_t n = p->waiting;

	TAILQ_FOREACH (a, &p->greets, link)
		n++;
	TAILQ_FOREACH (a, &p->owns, link)
		n++;
	return n;
}

/* Cancel requests under way; most are brought by a client each, those that clients who left have caused are few. */
static unsigned count_cancels(const struct pool *p)
{
	struct slot *s;
	unsigned n = 0;

	for (int i = 0; i < SLOT_STATES; i++)
		TAILQ_FOREACH (s, &p->slots[i], link)
			n += slot_server(s)->cancels;
	return n;
}

static void count_servers(struct pool_row *r)
{
	const struct pool *p = r->pool;
	struct slot *s;

	TAILQ_FOREACH (s, &p->slots[SLOT_BUSY], link)
		if (slot_server(s)->c.state == SS_DRAIN)
			r->n[N_SV_CANCELED]++;
	TAILQ_FOREACH (s, &p->slots[SLOT_IDLE], link)
		if (show_slot_is_used(s))
			r->n[N_SV_USED]++;
	r->n[N_SV_ACTIVE] = p->n[SLOT_BUSY] - r->n[N_SV_CANCELED];
	r->n[N_SV_IDLE] = p->n[SLOT_IDLE] - r->n[N_SV_USED];
	r->n[N_SV_TESTED] = p->n[SLOT_TESTED];
	r->n[N_SV_LOGIN] = p->n[SLOT_SETUP];
	r->n[N_SV_CANCEL] = r->n[N_CANCEL_REQ] = count_cancels(p);
}

static void count_clients(struct pool_row *r)
{
	const struct pool *p = r->pool;
	int64_t since_us = pool_waits_since_us(p);
	int64_t waited_us = since_us != 0 ? clock_us() - since_us : 0;

	r->n[N_CL_WAITING] = count_asks(p);
	r->n[N_CL_ACTIVE] = p->clients - r->n[N_CL_WAITING];
	r->n[N_MAXWAIT] = waited_us / USEC;
	r->n[N_MAXWAIT_US] = waited_us % USEC;
}

static void row_pool(const struct show *s, const struct pool *p)
{
	struct pool_row r = {.pool = p};

	if (p != NULL) {
		count_clients(&r);
		count_servers(&r);
	} else {
		r.n[N_CL_ACTIVE] = s->control->consoles;
	}
	show_row(s, &r);
}

static int compare_pools(const void *a, const void *b)
{
	const struct pool *const *x = a, *const *y = b;
	int by_db = strcmp(pool_database_name(*x), pool_database_name(*y));

	if (by_db != 0)
		return by_db;
	/* The console has one pool. */
	return *x != NULL && *y != NULL ? strcmp((*x)->user->name, (*y)->user->name) : 0;
}

static void rows_pools(const struct show *s)
{
	const struct pool **v = xcalloc(MEM_MISC, show_count_pools(s->control), sizeof *v), *p;
	size_t n = 0;

	v[n++] = NULL;
	TAILQ_FOREACH (p, &s->control->pooler->registry.pools, all)
		v[n++] = p;
	qsort(v, n, sizeof *v, compare_pools);
	for (size_t i = 0; i < n; i++)
		row_pool(s, v[i]);
	xfree(MEM_MISC, v);
}

const struct show_table show_pools = {pool_columns, LENGTH(pool_columns), rows_pools};
