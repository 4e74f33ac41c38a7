/*
 * server_login.c: choosing a host, and the login at a PostgreSQL server
 * (manual, 55.2.1). Called by server.c; what happens after the first
 * ReadyForQuery is not its business.
 */
#include <stdio.h>
#include <string.h>

#include "auth/scram.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "conf/authfile.h"
#include "conf/file.h"
#include "conn/link.h"
#include "conn/ownq.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "net/tls.h"
#include "pool/topology.h"
#include "pool/endpoint.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/wire.h"

enum { PASSWORD_FILE_MAX = 65536 };

/* Codes of a PasswordMessage's askers (55.7, Authentication*). */
enum auth_request {
	AUTH_REQ_OK = 0,
	AUTH_REQ_CLEARTEXT = 3,
	AUTH_REQ_MD5 = 5,
	AUTH_REQ_SASL = 10,
	AUTH_REQ_SASL_CONTINUE = 11,
	AUTH_REQ_SASL_FINAL = 12
};

/* The first line of a file, for secrets that are rotated; NULL when it cannot be read. */
static char *password_from_file(const char *path)
{
	char *text, *password, why[256];
	size_t n;

	if (!file_read(path, PASSWORD_FILE_MAX, &text, &n, why, sizeof(why))) {
		log_msg(LL_WARNING, "cannot read password_file \"%s\": %s", path, why);
		return NULL;
	}
	password = xstrndup(MEM_LOGIN, text, strcspn(text, "\r\n"));
	file_release(&text, n);
	return password;
}

static const struct config_database *server_entry(const struct server *s)
{
	return s->slot.pool ? s->slot.pool->db->conf : NULL;
}

static const char *server_user(const struct server *s)
{
	return s->solo ? s->solo->user : s->slot.pool->user->name;
}

static const char *server_dbname(const struct server *s)
{
	const struct config_database *conf = server_entry(s);

	return s->solo ? s->solo->dbname : conf && conf->dbname ? conf->dbname : s->slot.pool->db->name;
}

/* What this server login proves itself with: of the entry, else of the user list. */
static char *server_secret(const struct server *s)
{
	const struct config_database *conf = server_entry(s);
	const struct auth_entry *e;

	if (s->solo && s->solo->password_file)
		return password_from_file(s->solo->password_file);
	if (s->solo)
		return s->solo->secret ? xstrdup(MEM_LOGIN, s->solo->secret) : NULL;
	if (conf && conf->password_file)
		return password_from_file(conf->password_file);
	if (conf && conf->user && conf->password)
		return xstrdup(MEM_LOGIN, conf->password);
	e = config_auth_find(s->c.pooler->registry.config, server_user(s));
	return e && e->secret[0] ? xstrdup(MEM_LOGIN, e->secret) : NULL;
}

bool server_negotiates_directly(const struct server *s)
{
	const struct config_database *conf = server_entry(s);

	return param_effective(PARAM_server_tls_sslnegotiation, NULL, conf ? &conf->over : NULL, server_settings(s)) ==
	       SSLNEG_DIRECT;
}

static void server_startup_pair(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	msgw_cstr(out, name);
	msgw_cstr(out, value);
}

/*
 * PostgreSQL 11 and later takes a request for 3.2 and says what it speaks itself if that is less, which costs no round trip;
 * what is older, or is no PostgreSQL, may reject it, and is asked for 3.0 from then on. Options of the protocol (_pq_.) are
 * never asked for.
 */
static void server_send_startup(struct server *s)
{
	const struct config_database *conf = server_entry(s);
	struct buf *out = relay_out(&s->c);
	uint32_t mark;

	s->c.minor = s->endpoint->old ? 0 : WIRE_MINOR;
	mark = msgw_startup_begin(out, s->c.minor);
	server_startup_pair(out, "user", server_user(s));
	server_startup_pair(out, "database", server_dbname(s));
	if (conf) {
		server_startup_pair(out, "client_encoding", conf->client_encoding);
		server_startup_pair(out, "DateStyle", conf->datestyle);
		server_startup_pair(out, "TimeZone", conf->timezone);
		server_startup_pair(out, "application_name", conf->application_name);
	}
	for (const char *const *v = s->solo ? s->solo->startup : NULL; v && *v; v += 2)
		server_startup_pair(out, v[0], v[1]);
	if (s->slot.own) /* the last value of a name counts */
		s->c.peer->ops->asks->startup(s->c.peer, out);
	msgw_startup_end(out, mark);
}

/* The stream is open: from here on it is our protocol. */
static void server_dialled(struct conn *c, bool ok, const char *why)
{
	struct server *s = conn_server(c);

	if (!ok) {
		server_login_failed(s, "", why, !s->login->dial.ours);
		return;
	}
	s->login->secret = server_secret(s);
	server_goto(s, SS_LOGIN);
	server_send_startup(s);
}

/* Where the role of a host counts its connections go to the server whose role is known. */
static struct dial_way server_way(const struct server *s)
{
	struct dial_way way = {
		.direct = server_negotiates_directly(s), .secure = s->login->secure, .until_us = server_login_due(s)};

	if (s->solo) {
		way.to = s->solo->stay;
		way.alert = true;
	} else if (s->slot.pool->db->cluster) {
		way.to = &s->endpoint->address;
		way.only = way.alert = true;
	}
	return way;
}

static void server_dial(struct server *s, struct endpoint *e)
{
	struct endpoints *all = &s->c.pooler->registry.endpoints;
	struct dial_way way;

	s->endpoint = endpoint_get(all, e->host, e->port);
	if (s->slot.pool)
		pool_slot_endpoint(&s->slot, s->endpoint);
	way = server_way(s);
	dial_start(&s->login->dial, &s->c, s->endpoint, &way, server_dialled);
}

/* What fits has changed since it was asked for, as a standby that falls behind. */
static void server_finds_no_host(struct server *s)
{
	static const char text[] = "no host of the list is what is asked for";

	s->login->told = true;
	if (!s->slot.own)
		pool_login_failed(s->slot.pool, "", text);
	conn_close(&s->c, CLOSE_SERVER_CONNECT, text);
}

/* again: this host once more, secure: with TLS; NULL: the next one of the list. */
static void server_login_start(struct server *s, uint64_t tried, struct endpoint *again, bool secure)
{
	struct database *db = s->slot.pool ? s->slot.pool->db : NULL;

	s->login = xcalloc(MEM_LOGIN, 1, sizeof(*s->login));
	s->login->tried = tried | (db ? topology_unfit(db) : 0);
	s->login->secure = secure;
	if (!again)
		again = endpoint_choose(db->hosts, db->n_hosts, &db->turn, &s->login->tried,
			s->slot.pool->login_retry_us, db->target != TARGET_ANY);
	if (!again) {
		server_finds_no_host(s);
		return;
	}
	server_dial(s, again);
}

void server_login_begin(struct server *s)
{
	server_login_start(s, 0, s->solo ? s->solo->endpoint : NULL, false);
}

void server_login_free(struct server *s)
{
	struct server_login *l = s->login;

	if (!l)
		return;
	dial_stop(&l->dial);
	xfree_secret(MEM_LOGIN, l->secret);
	scram_client_free(&l->scram);
	xfree(MEM_LOGIN, l);
	s->login = NULL;
}

static bool server_has_more_hosts(const struct server *s)
{
	const struct database *db = s->slot.pool ? s->slot.pool->db : NULL;
	uint64_t all = !db ? 0 : db->n_hosts >= 64 ? UINT64_MAX : (UINT64_C(1) << db->n_hosts) - 1;

	return db && db->conf && (s->login->tried & all) != all;
}

/* Another server takes the place of this one: at the same host again, or the next of the list. Its client goes with it. */
static void server_login_again(struct server *s, struct endpoint *again, bool secure)
{
	struct conn *own = s->slot.own ? s->c.peer : NULL;

	if (own)
		conn_unlink(&s->c);
	server_login_start(s->solo ? server_make_solo(s->c.pooler, s->solo)
				   : server_make(s->slot.pool, s->slot.reserve, own),
		s->login->tried, again, secure);
	s->solo = NULL; /* it has another one now */
}

/* Not in the clear? Then with TLS (libpq's sslmode=allow). */
static bool server_should_secure(const struct server *s, const char *code)
{
	return !s->login->secure && s->c.state == SS_LOGIN && !strcmp(code, "28000") && !stream_is_tls(&s->c.stream) &&
	       server_settings(s)->server_tls_sslmode == TLS_ALLOW && s->c.pooler->server_tls &&
	       !endpoint_is_local(s->endpoint);
}

/* Its first word is that it does not understand? Then in the oldest version of the protocol. */
static bool server_is_old(const struct server *s, const char *code)
{
	return s->c.minor && s->login->error && !s->login->heard && (!strcmp(code, "0A000") || !strcmp(code, "08P01"));
}

/* The client whose own server does not come to be hears the server's own words. */
static void server_pass_error(struct server *s)
{
	const struct msg *m = s->login->error;
	struct buf *out = relay_out(s->c.peer);

	msgw_head(out, MSG_ERROR_RESPONSE, m->len);
	buf_append(out, m->payload, m->len);
}

void server_login_failed(struct server *s, const char *code, const char *text, bool other_host)
{
	struct pool *p = s->slot.pool;
	struct server_login *l = s->login;
	enum close_why why = s->c.state == SS_DIAL ? CLOSE_SERVER_CONNECT : CLOSE_SERVER_LOGIN;
	bool secure = l && server_should_secure(s, code), old = l && server_is_old(s, code);
	bool away = !strcmp(code, "57P03"), ours = l && s->c.state == SS_DIAL && l->dial.ours;
	char kept[300];

	if (conn_is_closed(&s->c))
		return;
	snprintf(kept, sizeof(kept), "%s", text);
	if (s->solo)
		snprintf(s->solo->code, sizeof(s->solo->code), "%s", code);
	if (s->solo)
		s->solo->ours = ours;
	s->ours = ours;
	if (!secure && !old) {
		if (!ours)
			endpoint_failed(s->endpoint);
		log_repeated(&s->c.pooler->said, LL_WARNING, "server login failed: %s/%s at %s:%u: %s%s%s",
			server_dbname(s), server_user(s), s->endpoint->host[0] ? s->endpoint->host : "unix_socket_dir",
			s->endpoint->port, kept, code[0] ? ", SQLSTATE " : "", code);
	}
	s->endpoint->old = s->endpoint->old || old;
	if (secure || old) {
		server_login_again(s, s->endpoint, secure || l->secure);
	} else if (l && other_host && server_has_more_hosts(s)) {
		server_login_again(s, NULL, false);
	} else if (p && !s->slot.own) {
		pool_login_failed(p, code, kept);
	} else if (s->slot.own && l && l->error && l->error->have == l->error->len) {
		server_pass_error(s);
		why = CLOSE_SERVER_SAID;
	}
	if (l)
		l->told = true;
	conn_close(&s->c, why, kept);
	if (away && p)
		topology_turned_away(s->endpoint, kept);
}

/* ---- authentication ------------------------------------------------------- */

static void server_no_secret(struct server *s, const char *method)
{
	char text[160];

	snprintf(text, sizeof(text), "the server asks for %s authentication, and there is no secret that can do it",
		method);
	server_login_failed(s, "28P01", text, false);
}

static void server_auth_cleartext(struct server *s)
{
	if (secret_kind_of(s->login->secret) != SECRET_PLAIN)
		server_no_secret(s, "password");
	else
		msgw_password(relay_out(&s->c), s->login->secret);
}

static void server_auth_md5(struct server *s, struct msgr *r)
{
	const char *salt = msgr_bytes(r, 4);
	char answer[SECRET_MD5_LEN + 1];

	if (!salt || !msgr_end(r))
		server_login_failed(s, "", "malformed AuthenticationMD5Password", true);
	else if (!s->login->secret ||
		 !secret_md5_response(s->login->secret, server_user(s), (const uint8_t *)salt, answer))
		server_no_secret(s, "md5");
	else
		msgw_password(relay_out(&s->c), answer);
}

static void server_auth_sasl(struct server *s, struct msgr *r)
{
	struct scram_binding b = {.len = 0};
	struct server_login *l = s->login;
	const char *mechanism, *out;
	size_t len = msgr_left(r), out_len;
	const char *list = msgr_bytes(r, len);

	if (l->scram) { /* each of them could have us derive keys anew */
		server_login_failed(s, "", "a second SASL exchange", true);
		return;
	}
	b.len = tls_server_end_point(&s->c.stream, b.data);
	l->scram = l->secret ? scram_client_new(l->secret, s->solo ? s->solo->scram : &s->slot.pool->user->scram, &b)
			     : NULL;
	if (!l->scram)
		server_no_secret(s, "SCRAM");
	else if (scram_client_start(l->scram, list, len, &mechanism, &out, &out_len) != SCRAM_OK)
		server_login_failed(s, "28P01", scram_client_error(l->scram), true);
	else
		msgw_sasl_initial(relay_out(&s->c), mechanism, out, out_len);
}

static void server_auth_sasl_next(struct server *s, struct msgr *r, bool final)
{
	struct scram_client *scram = s->login->scram;
	size_t len = msgr_left(r), out_len;
	const char *in = msgr_bytes(r, len), *out;

	if (!scram) {
		server_login_failed(s, "", "a SASL message that nothing asked for", true);
	} else if (final) {
		if (scram_client_final(scram, in, len) != SCRAM_OK)
			server_login_failed(s, "28P01", scram_client_error(scram), true);
	} else if (scram_client_next(scram, in, len, &out, &out_len) != SCRAM_OK) {
		server_login_failed(s, "28P01", scram_client_error(scram), true);
	} else {
		msgw_sasl_response(relay_out(&s->c), out, out_len);
	}
}

static void server_auth(struct server *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	uint32_t code = msgr_u32(&r);
	char text[80];

	switch (code) {
	case AUTH_REQ_OK:
		if (s->login->scram && !scram_client_is_done(s->login->scram))
			server_login_failed(s, "28P01", "the server did not prove that it knows the password", true);
		else
			s->login->admitted = true;
		return;
	case AUTH_REQ_CLEARTEXT: server_auth_cleartext(s); return;
	case AUTH_REQ_MD5: server_auth_md5(s, &r); return;
	case AUTH_REQ_SASL: server_auth_sasl(s, &r); return;
	case AUTH_REQ_SASL_CONTINUE:
	case AUTH_REQ_SASL_FINAL: server_auth_sasl_next(s, &r, code == AUTH_REQ_SASL_FINAL); return;
	default:
		snprintf(text, sizeof(text), "the server asks for authentication method %u, which is not supported",
			code);
		server_login_failed(s, "28000", text, true);
	}
}

/* ---- after authentication -------------------------------------------------- */

static void server_logged_in(struct server *s)
{
	struct pool *p = s->slot.pool;
	struct addr local = conn_local(&s->c);
	char text[ADDR_TEXT];

	endpoint_worked(s->endpoint);
	server_login_free(s);
	s->logged_in = true;
	vars_unref(&s->at_login);
	s->at_login = vars_ref(s->vars);
	vars_unref(&s->given);
	s->given = vars_ref(s->vars);
	if (server_settings(s)->log_connections)
		conn_log(&s->c, s->solo ? LL_DEBUG : LL_LOG, "new connection to server (from %s)",
			addr_text(&local, text));
	if (s->solo) {
		server_goto(s, SS_IDLE);
		s->solo->opened(s, s->solo);
		return;
	}
	if (s->slot.own) {
		server_goto(s, SS_ACTIVE);
		s->c.peer->ops->asks->opened(s->c.peer, s->vars);
		return;
	}
	vars_unref(&p->db->greeting);
	p->db->greeting = vars_ref(s->vars);
	snprintf(p->db->server_version, sizeof(p->db->server_version), "%s",
		vars_get(s->vars, "server_version") ? vars_get(s->vars, "server_version") : "");
	server_goto(s, SS_IDLE);
	pool_slot_login_done(&s->slot);
}

static void server_connect_query_done(struct server *s, const struct ownq_result *r, void *arg)
{
	char text[300];

	(void)arg;
	if (r->ok && r->status == 'I') {
		server_logged_in(s);
		return;
	}
	snprintf(text, sizeof(text), "connect_query failed: %s", r->ok ? "it left a transaction open" : r->text);
	server_login_failed(s, r->code, text, false);
}

/* ---- its role: what it says of itself counts, whatever is believed of its host ---------------------------- */

/* False: it is closed, another host may do. */
static bool server_takes_role(struct server *s, bool standby)
{
	topology_witness(s->endpoint, standby);
	if (conn_is_closed(&s->c)) /* what it says may have changed what fits */
		return false;
	if (standby && s->slot.pool->db->target == TARGET_PRIMARY) {
		server_login_failed(s, "", "it is a standby, and the primary is asked for", true);
		return false;
	}
	if (!topology_fits(s->slot.pool->db, s->endpoint)) { /* what is known has changed since the host was chosen */
		server_login_failed(s, "", "its host is not what is asked for any more", true);
		return false;
	}
	return true;
}

static void server_connect_query(struct server *s)
{
	const struct config_database *conf = server_entry(s);
	struct ownq_call q = {.done = server_connect_query_done, .late = CLOSE_SERVER_LOGIN};

	if (!conf || !conf->connect_query || s->slot.own) { /* a walsender may know no SQL */
		server_logged_in(s);
		return;
	}
	q.sql = conf->connect_query;
	if (s->c.state != SS_SETUP)
		server_goto(s, SS_SETUP);
	ownq_start(s, &q);
}

static void server_role_row(struct server *s, const char *const *values, size_t n, void *arg)
{
	struct server_login *l = s->login;

	(void)arg;
	l->answered = !l->rows++ && n == 1 && values[0] && (!strcmp(values[0], "t") || !strcmp(values[0], "f"));
	l->standby = l->answered && values[0][0] == 't';
}

static void server_role_done(struct server *s, const struct ownq_result *r, void *arg)
{
	(void)arg;
	if (!r->ok)
		server_login_failed(s, r->code, r->text, true);
	else if (!s->login->answered)
		server_login_failed(s, "", "it does not say whether it is a standby", true);
	else if (server_takes_role(s, s->login->standby))
		server_connect_query(s);
}

/* PostgreSQL 13 and older does not report its role. */
static void server_ask_role(struct server *s)
{
	struct ownq_call q = {.sql = "SELECT pg_catalog.pg_is_in_recovery()",
		.row = server_role_row,
		.done = server_role_done,
		.late = CLOSE_SERVER_LOGIN};

	server_goto(s, SS_SETUP);
	ownq_start(s, &q);
}

static void server_ready(struct server *s, char status)
{
	const char *standby = vars_get(s->vars, "in_hot_standby");
	bool counts = s->slot.pool && s->slot.pool->db->cluster &&
		      (standby || !s->slot.own); /* a walsender may know no SQL */

	s->status = status;
	s->c.writable = standby && !strcmp(standby, "off");
	if (status != 'I')
		server_login_failed(s, "", "the server is not idle after the login", true);
	else if (counts && !standby)
		server_ask_role(s);
	else if (!counts || server_takes_role(s, !strcmp(standby, "on")))
		server_connect_query(s);
}

static void server_take_key(struct server *s, const struct msg *m)
{
	memcpy(s->key, m->payload, m->len);
	s->key_len = (uint16_t)m->len;
	s->pid = (uint32_t)s->key[0] << 24 | (uint32_t)s->key[1] << 16 | (uint32_t)s->key[2] << 8 | s->key[3];
}

/* Errors that another host of the list may not have: it starts, stops, or is full. */
static bool server_error_is_local(const char *code)
{
	return !strncmp(code, "57P", 3) || !strncmp(code, "53", 2) || !strncmp(code, "08", 2);
}

/* What only a server says that has let us in. */
static void server_welcome(struct server *s, const struct msg *m)
{
	const char *name, *value;
	char text[80];

	if (!s->login->admitted) {
		snprintf(text, sizeof(text), "%s before AuthenticationOk", wire_name(WIRE_SERVER, m->type));
		server_login_failed(s, "", text, true);
	} else if (m->type == MSG_PARAMETER_STATUS) {
		server_set_var(s, m, &name, &value);
	} else if (m->type == MSG_BACKEND_KEY_DATA) {
		server_take_key(s, m);
	} else {
		server_ready(s, m->payload[0]);
	}
}

/* It speaks less than it was asked for. Options it has not been asked for any. */
static void server_negotiate(struct server *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	uint32_t version = msgr_u32(&r), options = msgr_u32(&r);
	uint32_t major = version >> 16, minor = version & 0xffff;
	char text[80];

	/* The manual has it send the minor version alone, PostgreSQL sends both. */
	if (msgr_end(&r) && !options && !s->login->admitted && (major == 3 || !major) && minor <= s->c.minor) {
		s->c.minor = minor & 3;
		return;
	}
	snprintf(text, sizeof(text), "the server offers protocol %u.%u with %u unknown options", major, minor, options);
	server_login_failed(s, "", text, true);
}

static void server_login_error(struct server *s, const struct msg *m)
{
	struct error_fields f;

	wire_error_fields(m, &f);
	s->login->error = m;
	server_login_failed(s, f.code, f.message[0] ? f.message : "an error without a message",
		server_error_is_local(f.code));
}

enum verdict server_login_message(struct server *s, const struct msg *m, uint32_t *arg)
{
	char text[80];

	if (m->type == MSG_ERROR_RESPONSE && m->have < m->len && s->slot.own && m->len <= ERROR_WHOLE) {
		*arg = m->len;
		return V_MORE;
	}
	s->login->heard = s->login->heard || m->type != MSG_ERROR_RESPONSE;
	switch (m->type) {
	case MSG_AUTHENTICATION: server_auth(s, m); break;
	case MSG_PARAMETER_STATUS:
	case MSG_BACKEND_KEY_DATA:
	case MSG_READY_FOR_QUERY: server_welcome(s, m); break;
	case MSG_NEGOTIATE_PROTOCOL_VERSION: server_negotiate(s, m); break;
	case MSG_NOTICE_RESPONSE: break;
	case MSG_ERROR_RESPONSE: server_login_error(s, m); break;
	default:
		snprintf(text, sizeof(text), "unexpected %s during the login", wire_name(WIRE_SERVER, m->type));
		server_login_failed(s, "", text, true);
	}
	return conn_is_closed(&s->c) ? V_CLOSED : V_DROP;
}
