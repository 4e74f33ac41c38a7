/*
 * client_admit.c: a client that has shown who it is comes in: the choice of its
 * database and pool, its places under the limits, its parameters, the welcome;
 * and into the console. It waits here for a server whose parameters it is told,
 * or for one of its own.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "conn/cancel.h"
#include "conn/client_login_priv.h"
#include "conn/console_ops.h"
#include "conn/relay.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/sqlscan.h"

/* ---- the pool, the database, the welcome --------------------------------------------- */

/* Its values of the startup packet go to startup; the first one that is not to be had is told. */
struct login_params {
	struct client *cl;
	char bad[128]; /* startup_options() keeps its names for the call only */
};

static bool login_is_tracked(const struct client *cl, const char *name)
{
	static const char *const always[] = {
		"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"};

	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
		if (!strcasecmp(always[i], name))
			return true;
	if (config_list_has_parameter(client_settings(cl)->track_extra_parameters, name))
		return true;
	return vars_get(cl->db->greeting, name) && var_kind(name) != VAR_FIXED;
}

/* Is what servers do not report its own all the same? In session mode too, where it is set when the session begins. */
static bool login_tracks(const struct client *cl)
{
	const struct overrides *user = cl->user->conf ? &cl->user->conf->over : NULL;
	const struct overrides *db = cl->db->conf ? &cl->db->conf->over : NULL;

	return param_effective(PARAM_session_state, user, db, client_settings(cl)) == STATE_TRACK;
}

/* One that a SET can be made of, and is not to be dropped. */
static bool login_may_set(const struct settings *set, const char *name)
{
	return name[0] && strlen(name) < SQL_PARAM && var_kind(name) != VAR_FIXED &&
	       strcasecmp(name, "extra_float_digits") != 0 &&
	       !config_list_has_parameter(set->ignore_startup_parameters, name);
}

static bool login_set_param(const char *name, const char *value, void *arg)
{
	struct login_params *p = arg;
	const struct settings *set = client_settings(p->cl);

	if (login_is_tracked(p->cl, name) || (login_tracks(p->cl) && login_may_set(set, name))) {
		vars_put(&p->cl->startup, name, value);
		return true;
	}
	if (!strcasecmp(name, "extra_float_digits") || config_list_has_parameter(set->ignore_startup_parameters, name))
		return true;
	snprintf(p->bad, sizeof(p->bad), "%s", name);
	return false;
}

static bool login_read_params(struct client *cl)
{
	const struct settings *set = client_settings(cl);
	struct login_params p = {.cl = cl};
	const char *name, *value, *fault;
	char text[300];
	size_t at = cl->login->params_at;

	while (startup_next(&cl->login->st, &at, &name, &value)) {
		if (client_login_own(cl->login, name))
			continue;
		if (!strcmp(name, "options")) {
			if (config_list_has(set->ignore_startup_parameters, "options"))
				continue;
			fault = startup_options(value, login_set_param, &p);
			if (!fault)
				continue;
			if (p.bad[0])
				snprintf(text, sizeof(text), "unsupported startup parameter in options: %s", p.bad);
			conn_close(&cl->c, CLOSE_STARTUP_OPTIONS, p.bad[0] ? text : fault);
			return false;
		}
		if (!login_set_param(name, value, &p)) {
			snprintf(text, sizeof(text), "unsupported startup parameter: %s", name);
			conn_close(&cl->c, CLOSE_STARTUP_PARAMETER, text);
			return false;
		}
	}
	return true;
}

static void *login_copy(const void *p, size_t n)
{
	return memcpy(xmalloc(MEM_DATABASE, n), p, n);
}

/* What came of the last packet of the database holds for one with the same parameters (struct usual). */
static bool login_take_params(struct client *cl)
{
	struct usual *u = &cl->db->usual;
	const char *params = cl->login->packet + cl->login->params_at;
	size_t n = cl->login->st.params_len - cl->login->params_at;
	bool tracks = login_tracks(cl);

	if (u->greeting == cl->db->greeting && u->tracks == tracks && u->params_len == n &&
		!memcmp(u->params, params, n)) {
		vars_unref(&cl->startup);
		cl->startup = vars_ref(u->startup);
		return true;
	}
	if (!login_read_params(cl))
		return false;
	vars_unref(&u->greeting);
	u->greeting = vars_ref(cl->db->greeting);
	u->tracks = tracks;
	xfree(MEM_DATABASE, u->params);
	u->params = login_copy(params, n);
	u->params_len = n;
	vars_unref(&u->startup);
	u->startup = vars_ref(cl->startup);
	return true;
}

/* What servers do not report is not told either. */
static void login_tell(struct vars *told, struct vars *reported, struct buf *out)
{
	msgw_auth_ok(out);
	for (size_t i = 0; i < vars_count(told); i++)
		if (vars_get(reported, vars_name(told, i)))
			msgw_parameter_status(out, vars_name(told, i), vars_value(told, i));
}

/* The first words of the welcome: that it is let in, and its parameters. */
static void login_admit(struct client *cl, struct buf *out)
{
	struct usual *u = &cl->db->usual;
	uint32_t mark = buf_len(out);

	if (u->told == cl->told) {
		buf_append(out, u->words, u->words_len);
		return;
	}
	login_tell(cl->told, cl->db->greeting, out);
	if (buf_failed(out))
		return;
	vars_unref(&u->told);
	u->told = vars_ref(cl->told);
	xfree(MEM_DATABASE, u->words);
	u->words_len = buf_len(out) - mark;
	u->words = login_copy(buf_head(out) + mark, u->words_len);
}

static void login_add_host(struct client *cl)
{
	const char *name;
	char text[200], addr[ADDR_TEXT];

	if (!client_settings(cl)->application_name_add_host)
		return;
	name = vars_get(cl->startup, "application_name");
	snprintf(text, sizeof(text), "%.100s%s%s", name ? name : "", name && *name ? " - " : "",
		addr_text(&cl->c.remote, addr));
	vars_put(&cl->startup, "application_name", text);
}

size_t client_key_length(const struct client *cl)
{
	return cl->c.minor >= LONG_KEY_MINOR ? CANCEL_KEY_LONG : CANCEL_KEY;
}

void client_tell_key(const struct client *cl, struct buf *out)
{
	size_t n = client_key_length(cl);
	uint8_t key[CANCEL_KEY_LONG];

	if (n == CANCEL_KEY_LONG)
		cancel_key_lengthen(cl->c.pooler, &cl->key, key);
	msgw_backend_key(out, n == CANCEL_KEY_LONG ? key : cl->key.key, n);
}

/* The last words of the welcome. */
static void login_let_in(struct client *cl, struct buf *out, enum client_state to)
{
	cancel_key_give(cl->c.pooler, &cl->key);
	client_tell_key(cl, out);
	msgw_ready(out, 'I');
	cl->idle_us = clock_us();
	cl->db->stats.now.logins++;
	client_login_free(cl);
	client_goto(cl, to);
}

/* Its parameters are looked at only now: which of them can be had is known from a server's login. */
static void client_admit_welcome(struct client *cl)
{
	struct buf *out = relay_out(&cl->c);

	if (!login_take_params(cl))
		return;
	login_add_host(cl);
	cl->own = vars_ref(cl->startup);
	cl->told = vars_overlay(cl->db->greeting, cl->own);
	login_admit(cl, out);
	login_let_in(cl, out, CS_IDLE);
}

/* A RELOAD may have forgotten the greeting since. */
void client_admit_greeted(struct client *cl)
{
	if (cl->db->greeting)
		client_admit_welcome(cl);
	else if (pool_ask(&cl->ask, ASK_GREETING))
		assert(!"a greeting is no slot");
}

/* ---- a server of its own -------------------------------------------------------------- */

void client_admit_startup(const struct conn *c, struct buf *out)
{
	const struct client *cl = (const struct client *)(const void *)c;
	const struct settings *set = client_settings(cl);
	const char *name, *value;
	size_t at = 0;

	msgw_cstr(out, "replication");
	msgw_cstr(out, cl->login->replication);
	while (startup_next(&cl->login->st, &at, &name, &value)) {
		if (client_login_own(cl->login, name) ||
			config_list_has_parameter(set->ignore_startup_parameters, name))
			continue;
		msgw_cstr(out, name);
		msgw_cstr(out, value);
	}
}

/* It is told what its own server said. No host is added to application_name: synchronous standbys are known by it. */
void client_admit_opened(struct conn *c, struct vars *now)
{
	struct client *cl = conn_client(c);
	struct buf *out = relay_out(c);
	const char *name = vars_get(now, "application_name");

	if (name)
		vars_put(&cl->startup, "application_name", name);
	cl->own = vars_ref(cl->startup);
	cl->told = vars_ref(now);
	login_tell(now, now, out);
	login_let_in(cl, out, CS_ACTIVE);
	relay_resume(c);
}

/* ---- who may come in, and where to ------------------------------------------------------ */

/* One under a limit; an administrator is let in past it. */
static bool login_take_place(struct client *cl, enum limit_kind kind, void *key, enum close_why full)
{
	struct registry *r = &cl->c.pooler->registry;

	if (pool_limit_take(r, kind, key))
		return true;
	if (!config_list_has(client_settings(cl)->admin_users, cl->login->user)) {
		conn_close(&cl->c, full, NULL);
		return false;
	}
	pool_limit_force(r, kind, key);
	return true;
}

/* The client is who it says. It may have a place of its database and its user, if there is one. */
static bool login_take_places(struct client *cl)
{
	cl->counted_db = login_take_place(cl, LIMIT_DB_CLIENTS, cl->db, CLOSE_MAX_DB_CLIENTS);
	cl->counted_user = cl->counted_db && login_take_place(cl, LIMIT_USER_CLIENTS, cl->user, CLOSE_MAX_USER_CLIENTS);
	return cl->counted_user;
}

static bool login_choose_database(struct client *cl)
{
	struct pooler *p = cl->c.pooler;
	struct database *db = registry_database(&p->registry, cl->login->database);
	char text[300];

	if (!db || !db->conf) {
		snprintf(text, sizeof(text), "no such database: %s", cl->login->database);
		conn_close(&cl->c, CLOSE_NO_SUCH_DATABASE, text);
		return false;
	}
	if (db->disabled) {
		snprintf(text, sizeof(text), "database \"%s\" is disabled", db->name);
		conn_close(&cl->c, CLOSE_DISABLED, text);
		return false;
	}
	cl->db = db;
	database_hold(db);
	return true;
}

static void login_take_user(struct client *cl)
{
	struct login *l = cl->login;

	cl->user = l->who ? l->who : registry_user(&cl->c.pooler->registry, l->user);
	user_hold(cl->user);
}

/* Whose connections it uses. */
static struct user *client_pool_user(const struct client *cl)
{
	return cl->db->forced ? cl->db->forced : cl->user;
}

bool client_admit_pool(struct client *cl)
{
	if (!cl->db->conf || cl->ask.pool->user == client_pool_user(cl))
		return false;
	pool_leave(&cl->ask);
	pool_enter(pool_get(&cl->c.pooler->registry, cl->db, client_pool_user(cl)), &cl->ask);
	return true;
}

static void login_enter(struct client *cl)
{
	struct pooler *p = cl->c.pooler;

	if (!login_choose_database(cl))
		return;
	login_take_user(cl);
	cl->startup = vars_empty(p->registry.vars);
	if (!login_take_places(cl))
		return;
	pool_enter(pool_get(&p->registry, cl->db, client_pool_user(cl)), &cl->ask);
	cl->c.stats = &cl->db->stats.now;
	if (cl->db->greeting && !cl->c.replication) {
		client_configure(cl);
		client_admit_welcome(cl);
		return;
	}
	if (pool_ask(&cl->ask, cl->c.replication ? ASK_OWN : ASK_GREETING))
		assert(!"neither takes a slot at once");
	client_configure(cl);
	client_goto(cl, CS_GREETING);
}

static void login_enter_console(struct client *cl, bool anybody)
{
	const struct settings *set = client_settings(cl);
	struct pooler *p = cl->c.pooler;
	const char *name;

	cl->is_admin = cl->is_admin || config_list_has(set->admin_users, cl->login->user);
	if (!p->console || !(cl->is_admin || anybody || config_list_has(set->stats_users, cl->login->user))) {
		conn_close(&cl->c, CLOSE_NOT_ALLOWED, NULL);
		return;
	}
	login_take_user(cl);
	cl->startup = vars_empty(p->registry.vars);
	name = startup_get(&cl->login->st, "application_name");
	if (name)
		vars_put(&cl->startup, "application_name", name);
	cl->own = vars_ref(cl->startup);
	cl->told = vars_ref(cl->startup);
	if (cl->counted) { /* an administrator can always come in */
		pool_limit_give(&p->registry, LIMIT_CLIENTS, NULL);
		cl->counted = false;
	}
	client_goto(cl, CS_CONSOLE);
	msgw_auth_ok(relay_out(&cl->c));
	cancel_key_give(cl->c.pooler, &cl->key);
	p->console->open(cl, p->console_ctx);
	client_login_free(cl);
}

void client_admit(struct client *cl)
{
	if (cl->login->console)
		login_enter_console(cl, client_settings(cl)->auth_type == AUTH_ANY);
	else
		login_enter(cl);
}
