/*
 * client_login.c: from the first byte of a client to the end of its startup
 * packet: TLS, requests to cancel, versions and options of the protocol, what can
 * be refused before anybody was asked for a password (PostgreSQL manual, 55.2.1).
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "auth/scram.h"
#include "base/mem.h"
#include "conn/cancel.h"
#include "conn/client_login_priv.h"
#include "conn/peer.h"
#include "conn/relay.h"
#include "net/tls.h"
#include "proto/msgw.h"

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

const char **client_login_own(struct login *l, const char *name)
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
		if (client_login_own(l, name) == &l->option)
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
			 config_list_has(set->stats_users, cl->login->user) || client_auth_is_owner(cl)))
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
		own = client_login_own(l, name);
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
	client_auth_begin(cl);
}

static void login_on_cancel(struct client *cl, const struct startup *st)
{
	struct cancel_key *key = cancel_key_find(cl->c.pooler, st->key, st->key_len);
	struct client *of = NULL;

	client_login_free(cl);
	client_goto(cl, CS_CANCEL);
	if (key)
		of = container_of(key, struct client, key);
	if (of && st->key_len == client_key_length(of))
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
