/*
 * client_auth.c: a client shows who it is (auth_type; PostgreSQL manual, 55.2.1 and
 * 55.3). Nothing about a user or a database is told before a password was right.
 */
#include <string.h>
#include <unistd.h>

#include "auth/scram.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "conf/authfile.h"
#include "conn/client_login_priv.h"
#include "conn/relay.h"
#include "net/tls.h"
#include "proto/msgw.h"

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
		client_admit(cl);
}

bool client_auth_is_owner(const struct client *cl)
{
	return cl->login->console && cl->c.remote.family == AF_UNIX && cl->c.remote.u.local.uid == geteuid() &&
	       (!strcmp(cl->login->user, "pgbouncer") || !strcmp(cl->login->user, "psbouncer"));
}

static void login_log(struct client *cl)
{
	char tls[100];

	if (!client_settings(cl)->log_connections)
		return;
	tls_describe(&cl->c.stream, tls, sizeof(tls));
	conn_log(&cl->c, LL_LOG, "login attempt: db=%s user=%s tls=%s", cl->login->database, cl->login->user,
		tls[0] ? tls : "no");
}

void client_auth_begin(struct client *cl)
{
	struct login *l = cl->login;

	login_find_user(cl);
	login_log(cl);
	if (client_auth_is_owner(cl)) {
		cl->is_admin = true;
		client_admit(cl);
		return;
	}
	switch ((enum auth_type)client_settings(cl)->auth_type) {
	case AUTH_ANY: client_admit(cl); return;
	case AUTH_TRUST:
		if (login_secret(cl))
			client_admit(cl);
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
		client_admit(cl);
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
		client_admit(cl);
	}
}

enum verdict client_auth_message(struct client *cl, const struct msg *m)
{
	if (m->type != MSG_PASSWORD) {
		conn_close(&cl->c, CLOSE_PROTOCOL, "expected a password message");
		return V_CLOSED;
	}
	if (cl->login->method == METHOD_SCRAM)
		login_on_sasl(cl, m);
	else
		login_on_password(cl, m);
	return conn_is_closed(&cl->c) ? V_CLOSED : V_DROP;
}
