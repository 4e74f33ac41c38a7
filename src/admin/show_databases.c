/*
 * show_databases: SHOW DATABASES. The console is one of them, as with PgBouncer.
 */
#include <string.h>

#include "admin/control.h"
#include "base/mem.h"
#include "base/timer.h"
#include "conf/config.h"
#include "conn/conn.h"
#include "net/buf.h"
#include "pool/registry.h"
#include "show_priv.h"

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

static void get_db_balance(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_text(c, show_balance(r->db));
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

static void get_db_held(struct cell *c, const void *row, unsigned arg)
{
	const struct database_row *r = row;

	(void)arg;
	cell_number(c, r->db != NULL && r->db->held);
}

static const struct column database_columns[] = {
	{"name", COLUMN_TEXT, get_db_name, 0}, {"host", COLUMN_TEXT, get_db_host, 0},
	{"port", COLUMN_INT4, get_db_port, 0}, {"database", COLUMN_TEXT, get_db_database, 0},
	{"force_user", COLUMN_TEXT, get_db_force_user, 0},
	{"pool_size", COLUMN_INT4, get_db_setting, PARAM_default_pool_size},
	{"min_pool_size", COLUMN_INT4, get_db_setting, PARAM_min_pool_size},
	{"reserve_pool_size", COLUMN_INT4, get_db_setting, PARAM_reserve_pool_size},
	{"server_lifetime", COLUMN_INT4, get_db_setting, PARAM_server_lifetime},
	{"pool_mode", COLUMN_TEXT, get_db_pool_mode, 0}, {"load_balance_hosts", COLUMN_TEXT, get_db_balance, 0},
	{"max_connections", COLUMN_INT4, get_db_setting, PARAM_max_db_connections},
	{"current_connections", COLUMN_INT4, get_db_servers, 0},
	{"max_client_connections", COLUMN_INT4, get_db_setting, PARAM_max_db_client_connections},
	{"current_client_connections", COLUMN_INT4, get_db_clients, 0}, {"paused", COLUMN_INT4, get_db_paused, 0},
	{"disabled", COLUMN_INT4, get_db_disabled, 0}, {"held", COLUMN_INT4, get_db_held, 0}, /* PgBouncer has none */
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
