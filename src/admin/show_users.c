/*
 * show_users: SHOW USERS, and SHOW LISTS, which counts everything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/control.h"
#include "base/mem.h"
#include "conf/authfile.h"
#include "conf/config.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "net/resolve.h"
#include "pool/registry.h"
#include "show_priv.h"

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
		cell_text(c,
			param_word(PARAM_pool_mode, (int)param_effective(PARAM_pool_mode, over_of(r), NULL, r->set)));
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

static size_t count_users(const struct control *c)
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
		{"users", count_users(s->control)},
		{"peers", p->registry.config->n_peers},
		{"pools", show_count_pools(s->control)},
		{"peer_pools", p->registry.config->n_peers},
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
