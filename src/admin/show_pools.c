/*
 * show_pools: SHOW DATABASES, POOLS, USERS and LISTS. The console is a database
 * and a pool in them, as it is with PgBouncer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/control.h"
#include "base/mem.h"
#include "base/timer.h"
#include "conf/authfile.h"
#include "conf/config.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "conn/server.h"
#include "net/buf.h"
#include "net/resolve.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "show_priv.h"

/* ---- SHOW DATABASES ---- */

struct database_row {
	const struct control *control;
	const struct database *db; /* NULL: the console */
	const char *hosts;	   /* NULL: the unix socket */
};

static const struct settings *settings_of(const struct control *c)
{
	return &c->pooler->registry.config->set;
}

static void get_db_name(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_text(c, show_database_name(r->db));
}

static void get_db_host(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_text(c, r->hosts);
}

static void get_db_port(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	if (r->db == NULL)
		cell_number(c, settings_of(r->control)->listen_port);
	else if (r->db->conf != NULL && r->db->conf->n_hosts > 0)
		cell_number(c, r->db->conf->hosts[0].port);
}

static void get_db_database(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	if (r->db == NULL)
		cell_text(c, "pgbouncer");
	else if (r->db->conf != NULL && r->db->conf->dbname != NULL)
		cell_text(c, r->db->conf->dbname);
	else
		cell_text(c, r->db->name);
}

static void get_db_force_user(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	if (r->db == NULL)
		cell_text(c, "pgbouncer");
	else if (r->db->conf != NULL)
		cell_text(c, r->db->conf->user);
}

static int64_t db_setting(const struct database_row *r, enum param_id id)
{
	const struct config_database *conf = r->db != NULL ? r->db->conf : NULL;

	return param_effective(id, NULL, conf != NULL ? &conf->over : NULL, settings_of(r->control));
}

enum { CONSOLE_POOL_SIZE = 2 };

/* arg: the setting. Of the console nothing is limited. */
static void get_db_setting(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;
	int64_t n = 0;

	if (r->db != NULL)
		n = db_setting(r, (enum param_id)arg);
	else if (arg == PARAM_default_pool_size)
		n = CONSOLE_POOL_SIZE;
	if (param_table[arg].type == PT_TIME)
		n /= USEC;
	cell_number(c, n);
}

static void get_db_pool_mode(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	if (r->db == NULL)
		cell_text(c, param_word(PARAM_pool_mode, POOL_STATEMENT));
	else if (r->db->conf != NULL && override_has(&r->db->conf->over, PARAM_pool_mode))
		cell_text(c, param_word(PARAM_pool_mode, (int)db_setting(r, PARAM_pool_mode)));
}

static const char *balance_of(const struct database *d)
{
	return d != NULL && d->n_hosts > 1 ? "round-robin" : NULL;
}

static void get_db_balance(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_text(c, balance_of(r->db));
}

static void get_db_servers(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_number(c, r->db != NULL ? r->db->servers : 0);
}

static void get_db_clients(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_number(c, r->db != NULL ? r->db->clients : r->control->consoles);
}

static void get_db_paused(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_number(c, r->db != NULL && (r->db->paused || r->db->killed));
}

static void get_db_disabled(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_number(c, r->db != NULL && r->db->disabled);
}

static const struct column database_columns[] = {
	{"name", COLUMN_TEXT, get_db_name, 0},
	{"host", COLUMN_TEXT, get_db_host, 0},
	{"port", COLUMN_INT4, get_db_port, 0},
	{"database", COLUMN_TEXT, get_db_database, 0},
	{"force_user", COLUMN_TEXT, get_db_force_user, 0},
	{"pool_size", COLUMN_INT4, get_db_setting, PARAM_default_pool_size},
	{"min_pool_size", COLUMN_INT4, get_db_setting, PARAM_min_pool_size},
	{"reserve_pool_size", COLUMN_INT4, get_db_setting, PARAM_reserve_pool_size},
	{"server_lifetime", COLUMN_INT4, get_db_setting, PARAM_server_lifetime},
	{"pool_mode", COLUMN_TEXT, get_db_pool_mode, 0},
	{"load_balance_hosts", COLUMN_TEXT, get_db_balance, 0},
	{"max_connections", COLUMN_INT4, get_db_setting, PARAM_max_db_connections},
	{"current_connections", COLUMN_INT4, get_db_servers, 0},
	{"max_client_connections", COLUMN_INT4, get_db_setting, PARAM_max_db_client_connections},
	{"current_client_connections", COLUMN_INT4, get_db_clients, 0},
	{"paused", COLUMN_INT4, get_db_paused, 0},
	{"disabled", COLUMN_INT4, get_db_disabled, 0},
};

static void row_database(const struct show *s, const struct database *d)
{
	const struct config_database *conf = d != NULL ? d->conf : NULL;
	struct database_row row = {.control = s->control, .db = d};
	struct buf hosts = {0};

	for (size_t i = 0; conf != NULL && i < conf->n_hosts; i++) {
		if (i > 0)
			buf_puts(&hosts, ",");
		buf_puts(&hosts, conf->hosts[i].host);
	}
	if (buf_len(&hosts) > 0)
		row.hosts = buf_text(&hosts);
	show_row(s, &row);
	buf_free(&hosts);
}

static void rows_databases(const struct show *s)
{
	size_t n;
	const struct database **v = show_sorted_databases(s->control, &n);

	for (size_t i = 0; i < n; i++)
		row_database(s, v[i]);
	xfree(MEM_MISC, v);
}

const struct show_table show_databases = {database_columns, LENGTH(database_columns), rows_databases};

/* ---- SHOW POOLS ---- */

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
	cell_text(c, balance_of(r->pool != NULL ? r->pool->db : NULL));
}

static const struct column pool_columns[] = {
	{"database", COLUMN_TEXT, get_pool_database, 0},
	{"user", COLUMN_TEXT, get_pool_user, 0},
	{"cl_active", COLUMN_INT4, get_pool_number, N_CL_ACTIVE},
	{"cl_waiting", COLUMN_INT4, get_pool_number, N_CL_WAITING},
	{"cl_active_cancel_req", COLUMN_INT4, get_pool_number, N_CANCEL_REQ},
	{"cl_waiting_cancel_req", COLUMN_INT4, get_pool_number, N_CANCEL_WAITING},
	{"sv_active", COLUMN_INT4, get_pool_number, N_SV_ACTIVE},
	{"sv_active_cancel", COLUMN_INT4, get_pool_number, N_SV_CANCEL},
	{"sv_being_canceled", COLUMN_INT4, get_pool_number, N_SV_CANCELED},
	{"sv_idle", COLUMN_INT4, get_pool_number, N_SV_IDLE},
	{"sv_used", COLUMN_INT4, get_pool_number, N_SV_USED},
	{"sv_tested", COLUMN_INT4, get_pool_number, N_SV_TESTED},
	{"sv_login", COLUMN_INT4, get_pool_number, N_SV_LOGIN},
	{"maxwait", COLUMN_INT4, get_pool_number, N_MAXWAIT},
	{"maxwait_us", COLUMN_INT4, get_pool_number, N_MAXWAIT_US},
	{"pool_mode", COLUMN_TEXT, get_pool_mode, 0},
	{"load_balance_hosts", COLUMN_TEXT, get_pool_balance, 0},
};

static int64_t count_asks(const struct pool *p)
{
	const struct ask *a;
	int64_t n = p->waiting;

	TAILQ_FOREACH (a, &p->greets, link)
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

/* The console's among them. */
static size_t count_pools(const struct control *c)
{
	const struct pool *p;
	size_t n = 1;

	TAILQ_FOREACH (p, &c->pooler->registry.pools, all)
		n++;
	return n;
}

static void rows_pools(const struct show *s)
{
	const struct pool **v = xcalloc(MEM_MISC, count_pools(s->control), sizeof *v), *p;
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

/* ---- SHOW USERS ---- */

struct user_row {
	const char *name;
	const struct config_user *conf; /* NULL: not in [users] */
	const struct user *user;	/* NULL: does not run */
	const struct settings *set;
};

static void get_user_name(struct cell *c, const void *row, unsigned arg)
{
	const struct user_row *r = row;

	(void)arg;
	cell_text(c, r->name);
}

static const struct overrides *over_of(const struct user_row *r)
{
	return r->conf != NULL ? &r->conf->over : NULL;
}

/* arg: the setting; a text as PgBouncer has it. */
static void get_user_size(struct cell *c, const void *row, unsigned arg)
{
	const struct user_row *r = row;
	enum param_id id = (enum param_id)arg;

	c->scratch[0] = '\0';
	if (r->conf != NULL && override_has(&r->conf->over, id))
		snprintf(c->scratch, sizeof c->scratch, "%9lld",
			(long long)param_effective(id, over_of(r), NULL, r->set));
	cell_text(c, c->scratch);
}

static void get_user_mode(struct cell *c, const void *row, unsigned arg)
{
	const struct user_row *r = row;

	(void)arg;
	if (r->conf != NULL && override_has(&r->conf->over, PARAM_pool_mode))
		cell_text(c, param_word(PARAM_pool_mode,
				     (int)param_effective(PARAM_pool_mode, over_of(r), NULL, r->set)));
}

/* arg: the setting. */
static void get_user_limit(struct cell *c, const void *row, unsigned arg)
{
	const struct user_row *r = row;

	cell_number(c, param_effective((enum param_id)arg, over_of(r), NULL, r->set));
}

static void get_user_servers(struct cell *c, const void *row, unsigned arg)
{
	const struct user_row *r = row;

	(void)arg;
	cell_number(c, r->user != NULL ? r->user->servers : 0);
}

static void get_user_clients(struct cell *c, const void *row, unsigned arg)
{
	const struct user_row *r = row;

	(void)arg;
	cell_number(c, r->user != NULL ? r->user->clients : 0);
}

static const struct column user_columns[] = {
	{"name", COLUMN_TEXT, get_user_name, 0},
	{"pool_size", COLUMN_TEXT, get_user_size, PARAM_default_pool_size},
	{"reserve_pool_size", COLUMN_TEXT, get_user_size, PARAM_reserve_pool_size},
	{"pool_mode", COLUMN_TEXT, get_user_mode, 0},
	{"max_user_connections", COLUMN_INT4, get_user_limit, PARAM_max_user_connections},
	{"current_connections", COLUMN_INT4, get_user_servers, 0},
	{"max_user_client_connections", COLUMN_INT4, get_user_limit, PARAM_max_user_client_connections},
	{"current_client_connections", COLUMN_INT4, get_user_clients, 0},
};

static int compare_names(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* The names of all users that are known from anywhere, sorted, each once; xfree(MEM_MISC, ...). */
static const char **user_names(const struct control *c, size_t *n)
{
	const struct config *conf = c->pooler->registry.config;
	const struct htab *listed = &conf->auth->users, *named = &conf->users, *running = &c->pooler->registry.users;
	const char **v = xcalloc(MEM_MISC, listed->count + named->count + running->count, sizeof *v);
	size_t all = 0;

	for (struct hnode *i = htab_next(listed, NULL); i != NULL; i = htab_next(listed, i))
		v[all++] = container_of(i, struct auth_entry, by_name)->name;
	for (struct hnode *i = htab_next(named, NULL); i != NULL; i = htab_next(named, i))
		v[all++] = container_of(i, struct config_user, by_name)->name;
	for (struct hnode *i = htab_next(running, NULL); i != NULL; i = htab_next(running, i))
		v[all++] = container_of(i, struct user, by_name)->name;
	qsort(v, all, sizeof *v, compare_names);
	*n = 0;
	for (size_t i = 0; i < all; i++)
		if (*n == 0 || strcmp(v[*n - 1], v[i]) != 0)
			v[(*n)++] = v[i];
	return v;
}

size_t show_count_users(const struct control *c)
{
	size_t n;

	xfree(MEM_MISC, user_names(c, &n));
	return n;
}

static void rows_users(const struct show *s)
{
	struct registry *r = &s->control->pooler->registry;
	const char **v;
	size_t n;

	v = user_names(s->control, &n);
	for (size_t i = 0; i < n; i++) {
		const struct user_row row = {.name = v[i],
			.conf = config_user_find(r->config, v[i]),
			.user = registry_user_find(r, v[i]),
			.set = &r->config->set};

		show_row(s, &row);
	}
	xfree(MEM_MISC, v);
}

const struct show_table show_users = {user_columns, LENGTH(user_columns), rows_users};

/* ---- SHOW LISTS ---- */

struct list_row {
	const char *name;
	size_t items;
};

static void get_list_name(struct cell *c, const void *row, unsigned arg)
{
	const struct list_row *r = row;

	(void)arg;
	cell_text(c, r->name);
}

static void get_list_items(struct cell *c, const void *row, unsigned arg)
{
	const struct list_row *r = row;

	(void)arg;
	cell_number(c, (int64_t)r->items);
}

static const struct column list_columns[] = {
	{"list", COLUMN_TEXT, get_list_name, 0},
	{"items", COLUMN_INT4, get_list_items, 0},
};

static size_t count_logins(const struct pooler *p)
{
	struct conn *c;
	size_t n = 0;

	TAILQ_FOREACH (c, &p->clients, all)
		if (!show_is_logged_in(conn_client(c)))
			n++;
	return n;
}

static void rows_lists(const struct show *s)
{
	const struct pooler *p = s->control->pooler;
	size_t names = 0, pending = 0;

	if (p->resolver != NULL)
		resolver_count(p->resolver, &names, &pending);
	const struct list_row rows[] = {
		{"databases", p->registry.databases.count + 1},
		{"users", show_count_users(s->control)},
		{"peers", 0},
		{"pools", count_pools(s->control)},
		{"peer_pools", 0},
		{"free_clients", 0},
		{"used_clients", p->n_clients},
		{"login_clients", count_logins(p)},
		{"free_servers", 0},
		{"used_servers", p->n_servers},
		{"dns_names", names},
		{"dns_zones", 0},
		{"dns_queries", pending},
		{"dns_pending", pending},
	};

	for (size_t i = 0; i < LENGTH(rows); i++)
		show_row(s, &rows[i]);
}

const struct show_table show_lists = {list_columns, LENGTH(list_columns), rows_lists};
