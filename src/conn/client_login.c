/*
 * client_login.c: from the first byte of a client to its ReadyForQuery: TLS,
 * the startup packet, authentication, the choice of database and pool, the
 * welcome (PostgreSQL manual, 55.2.1). Nothing about a user or a database is
 * told before a password was right.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "auth/scram.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "conf/authfile.h"
#include "conn/cancel.h"
#include "conn/client_priv.h"
#include "conn/console_ops.h"
#include "conn/peer.h"
#include "conn/relay.h"
#include "net/tls.h"
#include "pool/vars.h"
#include "proto/sqlscan.h"
#include "proto/msgw.h"
#include "proto/wire.h"

enum method { METHOD_NONE, METHOD_PLAIN, METHOD_MD5, METHOD_SCRAM };

/* While a client logs in; its secrets are wiped with it. */
struct login {
	struct startup st;				    /* its params are packet */
	const char *user, *database, *replication, *option; /* the last value of each in it, or NULL */
	size_t options;					    /* how many of its names are options of the protocol */
	size_t params_at;				    /* where in it the session's parameters begin */
	enum method method;
	uint8_t salt[4];
	struct scram_server *scram;
	bool asked_tls, asked_gss;
	bool sasl_begun;  /* SASLInitialResponse has come */
	bool console;	  /* the virtual database */
	struct user *who; /* held; NULL: a name that nobody knows, which must not take up room before it is let in */
	char packet[];	  /* the startup packet's parameters */
};

static enum verdict login_over(struct client *cl)
{
	return conn_is_closed(&cl->c) ? V_CLOSED : V_DROP;
}

/* n: room for a packet, or 0. */
static struct login *login_get(struct client *cl, size_t n)
{
	if (!cl->login) {
		cl->login = xcalloc(MEM_LOGIN, 1, sizeof(*cl->login) + n);
		cl->c.pooler->n_logins++;
	} else if (n) { /* it began with a request for TLS */
		cl->login = xrealloc(MEM_LOGIN, cl->login, sizeof(*cl->login) + n);
	}
	return cl->login;
}

void client_login_free(struct client *cl)
{
	struct login *l = cl->login;

	if (!l)
		return;
	scram_server_free(&l->scram);
	if (l->who)
		user_drop(l->who);
	mem_wipe(l, sizeof(*l));
	xfree(MEM_LOGIN, l);
	cl->login = NULL;
	cl->c.pooler->n_logins--;
}

const char *client_login_user(const struct client *cl)
{
	return cl->login->user ? cl->login->user : "(nouser)";
}

const char *client_login_database(const struct client *cl)
{
	return cl->login->database ? cl->login->database : "(nodb)";
}

/* Where the value of a name goes that the login itself wants; NULL: it is a parameter of the session. */
static const char **login_own(struct login *l, const char *name)
{
	if (!strcmp(name, "user"))
		return &l->user;
	if (!strcmp(name, "database"))
		return &l->database;
	if (!strcmp(name, "replication"))
		return &l->replication;
	return strncmp(name, "_pq_.", 5) ? NULL : &l->option;
}

/* ---- TLS ------------------------------------------------------------------------- */

static bool login_offers_tls(const struct client *cl)
{
	return cl->c.pooler->client_tls && cl->c.remote.family != AF_UNIX && !stream_is_tls(&cl->c.stream);
}

static void login_start_tls(struct client *cl, bool direct)
{
	client_goto(cl, CS_HANDSHAKE);
	if (!tls_accept(&cl->c.stream, cl->c.pooler->client_tls, direct))
		conn_close(&cl->c, CLOSE_CLEAR_BEFORE_TLS, NULL);
}

/* Direct negotiation: the first byte is a TLS record's (0x16), and stays in the socket for the handshake. */
bool client_login_fresh(struct conn *c)
{
	struct client *cl = conn_client(c);
	int first = login_offers_tls(cl) ? stream_peek(&c->stream) : STREAM_EOF;

	if (first == 0x16) {
		c->fresh = false;
		login_start_tls(cl, true);
	}
	return first != 0x16 && first != STREAM_AGAIN;
}

/* The one byte that answers an SSLRequest or a GSSENCRequest. It goes out now: TLS may follow on the same socket. */
static void login_answer_byte(struct client *cl, char answer)
{
	buf_append(relay_out(&cl->c), &answer, 1);
	relay_flush(&cl->c);
}

static void login_on_ssl_request(struct client *cl, size_t behind)
{
	struct login *l = login_get(cl, 0);

	if (l->asked_tls || stream_is_tls(&cl->c.stream)) {
		conn_close(&cl->c, CLOSE_STARTUP, "a second SSLRequest");
		return;
	}
	l->asked_tls = true;
	if (!login_offers_tls(cl)) {
		login_answer_byte(cl, 'N');
		return;
	}
	if (behind) { /* what came in the clear behind the request was not sent by who will speak inside */
		conn_close(&cl->c, CLOSE_CLEAR_BEFORE_TLS, NULL);
		return;
	}
	login_answer_byte(cl, 'S');
	if (conn_is_closed(&cl->c))
		return;
	if (buf_len(&cl->c.out))
		conn_close(&cl->c, CLOSE_TLS_FAILED, "no room for one byte");
	else
		login_start_tls(cl, false);
}

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
		if (login_own(cl->login, name))
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

static size_t login_key_length(const struct client *cl)
{
	return cl->c.minor >= LONG_KEY_MINOR ? CANCEL_KEY_LONG : CANCEL_KEY;
}

void client_tell_key(const struct client *cl, struct buf *out)
{
	size_t n = login_key_length(cl);
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
void client_login_welcome(struct client *cl)
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

/* ---- a server of its own -------------------------------------------------------------- */

void client_login_startup(const struct conn *c, struct buf *out)
{
	const struct client *cl = (const struct client *)(const void *)c;
	const struct settings *set = client_settings(cl);
	const char *name, *value;
	size_t at = 0;

	msgw_cstr(out, "replication");
	msgw_cstr(out, cl->login->replication);
	while (startup_next(&cl->login->st, &at, &name, &value)) {
		if (login_own(cl->login, name) || config_list_has_parameter(set->ignore_startup_parameters, name))
			continue;
		msgw_cstr(out, name);
		msgw_cstr(out, value);
	}
}

/* It is told what its own server said. No host is added to application_name: synchronous standbys are known by it. */
void client_login_opened(struct conn *c, struct vars *now)
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

static void login_log(struct client *cl)
{
	char tls[100];

	if (!client_settings(cl)->log_connections)
		return;
	tls_describe(&cl->c.stream, tls, sizeof(tls));
	conn_log(&cl->c, LL_LOG, "login attempt: db=%s user=%s tls=%s", cl->login->database, cl->login->user,
		tls[0] ? tls : "no");
}

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

static void login_enter(struct client *cl)
{
	struct pooler *p = cl->c.pooler;
	struct user *pool_user;

	if (!login_choose_database(cl))
		return;
	login_take_user(cl);
	cl->startup = vars_empty(p->registry.vars);
	if (!login_take_places(cl))
		return;
	pool_user = cl->db->conf->user ? registry_user(&p->registry, cl->db->conf->user) : cl->user;
	pool_enter(pool_get(&p->registry, cl->db, pool_user), &cl->ask);
	cl->c.stats = &cl->db->stats.now;
	if (cl->db->greeting && !cl->c.replication) {
		client_configure(cl);
		client_login_welcome(cl);
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

static void login_authenticated(struct client *cl)
{
	if (cl->login->console)
		login_enter_console(cl, client_settings(cl)->auth_type == AUTH_ANY);
	else
		login_enter(cl);
}

/* ---- authentication ---------------------------------------------------------------------- */

static void login_find_user(struct client *cl)
{
	struct registry *r = &cl->c.pooler->registry;
	struct login *l = cl->login;

	l->who = registry_user_find(r, l->user);
	if (!l->who && config_auth_find(r->config, l->user))
		l->who = registry_user(r, l->user);
	if (l->who)
		user_hold(l->who);
}

/* NULL: the user is not in auth_file. */
static const char *login_secret(const struct client *cl)
{
	const struct user *u = cl->login->who;

	return u && u->auth ? u->auth->secret : NULL;
}

static void login_failed(struct client *cl, enum close_why why, const char *reason)
{
	if (reason)
		conn_log(&cl->c, LL_DEBUG, "login refused: %s", reason);
	conn_close(&cl->c, why, NULL);
}

static void login_start_scram(struct client *cl)
{
	struct login *l = cl->login;
	struct scram_binding b = {.len = 0};
	struct scram_verifier v;
	const char *secret = login_secret(cl), *mechanisms[] = {SCRAM_PLUS_NAME, SCRAM_NAME};

	b.len = tls_server_end_point(&cl->c.stream, b.data);
	if (!secret || !scram_verifier_of(secret, &l->who->scram, &v))
		scram_mock_verifier(cl->c.pooler->mock_key, l->user, &v);
	l->method = METHOD_SCRAM;
	l->scram = scram_server_new(&v, &b);
	mem_wipe(&v, sizeof(v));
	msgw_auth_sasl(relay_out(&cl->c), mechanisms + (b.len ? 0 : 1), b.len ? 2 : 1);
}

static void login_start_md5(struct client *cl)
{
	struct login *l = cl->login;

	l->method = METHOD_MD5;
	secret_random_from(&cl->c.pooler->random, l->salt, sizeof(l->salt));
	msgw_auth_md5(relay_out(&cl->c), l->salt);
}

static void login_by_certificate(struct client *cl)
{
	char cn[256];

	if (!stream_is_tls(&cl->c.stream) || !tls_peer_verified(&cl->c.stream))
		conn_close(&cl->c, CLOSE_TLS_CERT_REQUIRED, NULL);
	else if (!tls_peer_cn(&cl->c.stream, cn, sizeof(cn)) || strcmp(cn, cl->login->user) != 0)
		login_failed(cl, CLOSE_CERT, "the certificate's common name is not the user");
	else if (!login_secret(cl))
		conn_close(&cl->c, CLOSE_NO_SUCH_USER, NULL);
	else
		login_authenticated(cl);
}

/* The own uid on the unix socket is the administrator without a password. */
static bool login_is_owner(const struct client *cl)
{
	return cl->login->console && cl->c.remote.family == AF_UNIX && cl->c.remote.u.local.uid == geteuid() &&
	       (!strcmp(cl->login->user, "pgbouncer") || !strcmp(cl->login->user, "psbouncer"));
}

static void login_authenticate(struct client *cl)
{
	struct login *l = cl->login;

	login_find_user(cl);
	login_log(cl);
	if (login_is_owner(cl)) {
		cl->is_admin = true;
		login_authenticated(cl);
		return;
	}
	switch ((enum auth_type)client_settings(cl)->auth_type) {
	case AUTH_ANY: login_authenticated(cl); return;
	case AUTH_TRUST:
		if (login_secret(cl))
			login_authenticated(cl);
		else
			conn_close(&cl->c, CLOSE_NO_SUCH_USER, NULL);
		return;
	case AUTH_CERT: login_by_certificate(cl); return;
	case AUTH_PLAIN:
		l->method = METHOD_PLAIN;
		msgw_auth_cleartext(relay_out(&cl->c));
		break;
	case AUTH_MD5:
		if (secret_kind_of(login_secret(cl)) == SECRET_SCRAM)
			login_start_scram(cl);
		else
			login_start_md5(cl);
		break;
	case AUTH_SCRAM: login_start_scram(cl); break;
	}
	client_goto(cl, CS_AUTH);
}

static void login_on_password(struct client *cl, const struct msg *m)
{
	struct login *l = cl->login;
	const char *secret = login_secret(cl), *given;
	struct msgr r = msgr_of(m);
	bool ok;

	given = msgr_cstr(&r);
	if (!msgr_end(&r)) {
		conn_close(&cl->c, CLOSE_PROTOCOL, "malformed password message");
		return;
	}
	if (l->method == METHOD_MD5)
		ok = secret && secret_md5_check(secret, l->user, l->salt, given);
	else
		ok = secret && secret_check_password(secret, l->user, given);
	if (ok)
		login_authenticated(cl);
	else
		login_failed(cl, CLOSE_PASSWORD, secret ? "wrong password" : "unknown user");
}

static void login_on_sasl(struct client *cl, const struct msg *m)
{
	struct login *l = cl->login;
	struct msgr r = msgr_of(m);
	enum scram_result result;
	const char *out, *secret = login_secret(cl);
	size_t len;

	if (!l->sasl_begun) {
		const char *mechanism = msgr_cstr(&r);
		uint32_t n = msgr_u32(&r);
		const char *first = n == UINT32_MAX ? NULL : msgr_bytes(&r, n);

		if (!msgr_end(&r)) {
			conn_close(&cl->c, CLOSE_PROTOCOL, "malformed SASLInitialResponse");
			return;
		}
		l->sasl_begun = true;
		result = scram_server_start(l->scram, mechanism, first, first ? n : 0, &out, &len);
	} else {
		result = scram_server_next(l->scram, m->payload, m->len, &out, &len);
	}
	if (result == SCRAM_MALFORMED) {
		conn_close(&cl->c, CLOSE_PROTOCOL, scram_server_error(l->scram));
	} else if (result != SCRAM_OK) {
		login_failed(cl, CLOSE_SASL, scram_server_error(l->scram));
	} else if (!scram_server_is_done(l->scram)) {
		msgw_auth_sasl_continue(relay_out(&cl->c), out, len);
	} else {
		msgw_auth_sasl_final(relay_out(&cl->c), out, len);
		if (secret)
			scram_server_keep_keys(l->scram, secret, &l->who->scram);
		login_authenticated(cl);
	}
}

enum verdict client_login_message(struct client *cl, const struct msg *m)
{
	if (m->type != MSG_PASSWORD) {
		conn_close(&cl->c, CLOSE_PROTOCOL, "expected a password message");
		return V_CLOSED;
	}
	if (cl->login->method == METHOD_SCRAM)
		login_on_sasl(cl, m);
	else
		login_on_password(cl, m);
	return login_over(cl);
}

/* ---- the startup packet -------------------------------------------------------------------- */

/* A newer minor version, or options of the protocol that we do not know: the client is told what we speak (55.2.1). */
static void login_negotiate(struct client *cl)
{
	struct login *l = cl->login;
	const char **unknown, *name, *value;
	size_t n = 0, at = 0;

	cl->c.minor = (l->st.minor < WIRE_MINOR ? l->st.minor : WIRE_MINOR) & 3;
	if (!l->options && l->st.minor <= WIRE_MINOR)
		return;
	unknown = xcalloc(MEM_LOGIN, l->options + 1, sizeof(*unknown));
	while (n < l->options && startup_next(&l->st, &at, &name, &value))
		if (login_own(l, name) == &l->option)
			unknown[n++] = name;
	msgw_negotiate_version(relay_out(&cl->c), cl->c.minor, unknown, n);
	xfree(MEM_LOGIN, unknown);
}

/* As the server reads it: a boolean, which may be shortened, or "database". */
static bool login_read_replication(struct client *cl)
{
	static const struct {
		const char *text;
		size_t least;
		enum conn_replication is;
	} words[] = {{"true", 1, REPLICATION_PHYSICAL}, {"yes", 1, REPLICATION_PHYSICAL},
		{"on", 2, REPLICATION_PHYSICAL}, {"1", 1, REPLICATION_PHYSICAL}, {"false", 1, REPLICATION_NONE},
		{"no", 1, REPLICATION_NONE}, {"off", 2, REPLICATION_NONE}, {"0", 1, REPLICATION_NONE}};
	const char *v = cl->login->replication;
	char text[200];

	cl->c.replication = v && !strcmp(v, "database") ? REPLICATION_LOGICAL : REPLICATION_NONE;
	if (!v || cl->c.replication)
		return true;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strlen(v) >= words[i].least && !strncasecmp(v, words[i].text, strlen(v))) {
			cl->c.replication = words[i].is;
			return true;
		}
	snprintf(text, sizeof(text), "%s: \"%s\"", close_rows[CLOSE_REPLICATION].text, v);
	conn_close(&cl->c, CLOSE_REPLICATION, text);
	return false;
}

static bool login_is_console(const char *database)
{
	return !strcmp(database, "pgbouncer") || !strcmp(database, "psbouncer");
}

/* What can be refused before anybody was asked for a password. */
static bool login_may_go_on(struct client *cl)
{
	struct pooler *p = cl->c.pooler;
	const struct settings *set = client_settings(cl);

	if (!cl->login->user || !cl->login->user[0])
		conn_close(&cl->c, CLOSE_NO_USER_NAME, NULL);
	else if (set->client_tls_sslmode >= TLS_REQUIRE && cl->c.remote.family != AF_UNIX &&
		 !stream_is_tls(&cl->c.stream))
		conn_close(&cl->c, CLOSE_TLS_REQUIRED, NULL);
	else if (p->shutdown != RUNNING && !cl->login->console)
		conn_close(&cl->c, CLOSE_SHUTTING_DOWN_LOGIN, NULL);
	else if (cl->login->console &&
		 (config_list_has(set->admin_users, cl->login->user) ||
			 config_list_has(set->stats_users, cl->login->user) || login_is_owner(cl)))
		return true;
	else if (!pool_limit_take(&p->registry, LIMIT_CLIENTS, NULL))
		conn_close(&cl->c, CLOSE_MAX_CLIENTS, NULL);
	else
		cl->counted = true;
	return !conn_is_closed(&cl->c);
}

static void login_read_packet(struct login *l)
{
	const char *name, *value, **own;
	size_t at = 0, here = 0;

	l->params_at = l->st.params_len;
	for (; startup_next(&l->st, &at, &name, &value); here = at) {
		own = login_own(l, name);
		l->options += own == &l->option;
		if (own)
			*own = value;
		else if (here < l->params_at)
			l->params_at = here;
	}
}

static void login_on_hello(struct client *cl, const struct startup *st)
{
	struct login *l = login_get(cl, st->params_len + 1);

	memcpy(l->packet, st->params, st->params_len);
	l->packet[st->params_len] = '\0';
	l->st = *st;
	l->st.params = l->packet;
	login_read_packet(l);
	if (!login_read_replication(cl))
		return;
	if (!l->database || !l->database[0])
		l->database = l->user;
	l->console = l->database && !cl->c.replication && login_is_console(l->database);
	if (!login_may_go_on(cl))
		return;
	login_negotiate(cl);
	login_authenticate(cl);
}

static void login_on_cancel(struct client *cl, const struct startup *st)
{
	struct cancel_key *key = cancel_key_find(cl->c.pooler, st->key, st->key_len);
	struct client *of = NULL;

	client_login_free(cl);
	client_goto(cl, CS_CANCEL);
	if (key)
		of = container_of(key, struct client, key);
	if (of && st->key_len == login_key_length(of))
		client_cancel(of, cl);
	else if (!peer_cancel(cl->c.pooler, (const uint8_t *)st->key, st->key_len, &cl->c))
		conn_close(&cl->c, CLOSE_CANCEL_UNKNOWN, NULL);
}

size_t client_login_raw(struct conn *c, const char *p, size_t n, size_t *need)
{
	struct client *cl = conn_client(c);
	struct startup st;

	switch (wire_startup(p, n, &st, need)) {
	case STARTUP_MORE: return 0;
	case STARTUP_BAD:
		conn_close(c, strcmp(st.code, "0A000") == 0 ? CLOSE_PROTOCOL_VERSION : CLOSE_STARTUP, st.why);
		return 0;
	case STARTUP_SSL: login_on_ssl_request(cl, n - st.size); return st.size;
	case STARTUP_GSS:
		if (login_get(cl, 0)->asked_gss) {
			conn_close(c, CLOSE_STARTUP, "a second GSSENCRequest");
			return 0;
		}
		cl->login->asked_gss = true;
		login_answer_byte(cl, 'N');
		return st.size;
	case STARTUP_CANCEL: login_on_cancel(cl, &st); return st.size;
	case STARTUP_HELLO: login_on_hello(cl, &st); return st.size;
	}
	return 0;
}
