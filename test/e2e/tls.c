/*
 * tls: TLS between clients and psbouncer: who gets it, who must have it, client
 * certificates, channel binding, direct negotiation, certificates that are
 * replaced, and what must not be done to a handshake.
 */
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "lib/e2e.h"

#define FILES \
	"client_tls_key_file = {tls}/server.key\nclient_tls_cert_file = {tls}/server.crt\nclient_tls_ca_file = {tls}/ca.crt\n"

static const char *const modes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
enum { MODES = sizeof(modes) / sizeof(*modes) };

static struct bouncer *start(const char *mode, const char *settings)
{
	return bouncer_start(&(struct bouncer_options){
		.settings = e2e_text("client_tls_sslmode = %s\n" FILES "%s", mode, settings)});
}

/* By a name that the certificate has. */
static const char *dsn_of(struct bouncer *b)
{
	return e2e_text("host=localhost hostaddr=127.0.0.1 port=%d dbname=app sslrootcert=%s/ca.crt", bouncer_port(b),
		tls_dir());
}

/* NAME.crt and NAME.key as a client certificate. */
static const char *with_certificate(const char *name)
{
	return e2e_text("sslcert=%s/%s.crt sslkey=%s/%s.key", tls_dir(), name, tls_dir(), name);
}

/* ---- modes -------------------------------------------------------------------------- */

/* 'p' plain, 's' TLS, '-' refused */
static char outcome(struct bouncer *b, const char *rest)
{
	PGconn *c = db_try("%s user=app_scram %s", dsn_of(b), rest);
	char result = '-';

	if (PQstatus(c) == CONNECTION_OK) {
		assert_string_equal(db_value(c, "select 1"), "1");
		result = PQsslInUse(c) ? 's' : 'p';
		assert_int_equal(bouncer_value(b, "CLIENTS", "database", "app", "tls")[0] == 'T', result == 's');
	}
	db_close(c);
	return result;
}

static void every_mode_with_every_mode(void **state)
{
	static const char *const expected[MODES] = {"ppp---", "ppssss", "ppssss", "-sssss", "------", "------"};

	(void)state;
	tls_issue("client", "somebody", NULL, 3, false);
	for (size_t i = 0; i < MODES; i++) {
		struct bouncer *b = start(modes[i], "");
		char got[MODES + 1] = "";

		for (size_t k = 0; k < MODES; k++)
			got[k] = outcome(b, e2e_text("sslcert=none sslmode=%s", modes[k]));
		if (strcmp(got, expected[i]) != 0)
			fail_msg("client_tls_sslmode=%s without a certificate: %s", modes[i], got);
		for (size_t k = 0; k < MODES; k++)
			got[k] = outcome(b, e2e_text("%s sslmode=%s", with_certificate("client"), modes[k]));
		if (strcmp(got, i >= 4 ? expected[3] : expected[i]) != 0)
			fail_msg("client_tls_sslmode=%s with a certificate: %s", modes[i], got);
		bouncer_stop(b);
	}
}

static void what_is_refused_is_told_why(void **state)
{
	struct bouncer *b = start("require", "");
	PGconn *c;

	(void)state;
	assert_string_equal(db_refused("%s user=app_scram sslmode=disable", dsn_of(b)), "28000");
	assert_string_equal(db_error_text(NULL), "SSL connection is required");
	c = db_try("%s user=app_scram sslmode=disable", dsn_of(b));
	assert_non_null(strstr(PQerrorMessage(c), "HINT:  Use sslmode=require or stronger."));
	c = db_connect("%s user=app_scram sslmode=verify-full", dsn_of(b));
	WAIT_UNTIL(bouncer_logged(b, e2e_text("login attempt: db=app user=app_scram tls=%s/%s",
					     PQsslAttribute(c, "protocol"), PQsslAttribute(c, "cipher"))));
	/* Never on a unix socket, where it is not needed either. */
	c = db_connect("host=%s port=%d dbname=app user=app_scram sslmode=prefer", bouncer_dir(b), bouncer_port(b));
	assert_false(PQsslInUse(c));
}

static void versions_and_ciphers(void **state)
{
	struct bouncer *b = start("require",
		"client_tls_protocols = tlsv1.2\nclient_tls_ciphers = ECDHE-ECDSA-AES256-GCM-SHA384\n");
	PGconn *c = db_connect("%s user=app_scram sslmode=require", dsn_of(b));

	(void)state;
	assert_string_equal(PQsslAttribute(c, "protocol"), "TLSv1.2");
	assert_string_equal(PQsslAttribute(c, "cipher"), "ECDHE-ECDSA-AES256-GCM-SHA384");
	c = db_try("%s user=app_scram sslmode=require ssl_min_protocol_version=TLSv1.3", dsn_of(b));
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
	WAIT_UNTIL(bouncer_logged(b, "closing because: TLS handshake failed: unsupported protocol"));
	bouncer_stop(b);
	b = start("require", "client_tls_protocols = tlsv1.3\nclient_tls13_ciphers = TLS_CHACHA20_POLY1305_SHA256\n");
	c = db_connect("%s user=app_scram sslmode=require", dsn_of(b));
	assert_string_equal(PQsslAttribute(c, "protocol"), "TLSv1.3");
	assert_string_equal(PQsslAttribute(c, "cipher"), "TLS_CHACHA20_POLY1305_SHA256");
	c = db_try("%s user=app_scram sslmode=require ssl_max_protocol_version=TLSv1.2", dsn_of(b));
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
}

/* ---- certificates of clients, channel binding ------------------------------------------- */

static void login_by_certificate(void **state)
{
	struct bouncer *b;
	const char *dsn;
	PGconn *c;

	(void)state;
	pg_shared(); /* the certificate of app_cert */
	tls_issue("app_trust", "app_trust", NULL, 3, false);
	tls_issue("ghost", "ghost", NULL, 3, false);
	tls_issue("expired", "app_trust", NULL, -1, false);
	tls_issue("foreign", "app_trust", NULL, 3, true);
	b = start("verify-full", "auth_type = cert");
	dsn = e2e_text("%s sslmode=verify-full password=''", dsn_of(b));
	c = db_connect("%s user=app_trust %s", dsn, with_certificate("app_trust"));
	assert_string_equal(db_value(c, "select current_user"), "app_trust");
	assert_string_equal(db_refused("%s user=app_trust %s", dsn, with_certificate("app_cert")), "28000");
	assert_string_equal(db_error_text(NULL), "certificate authentication failed");
	assert_string_equal(db_refused("%s user=APP_TRUST %s", dsn, with_certificate("app_trust")), "28000");
	assert_string_equal(db_refused("%s user=ghost %s", dsn, with_certificate("ghost")), "28000");
	assert_string_equal(db_error_text(NULL), "no such user");
	assert_string_equal(db_refused("%s user=app_trust %s", dsn, with_certificate("expired")), "-");
	assert_string_equal(db_refused("%s user=app_trust %s", dsn, with_certificate("foreign")), "-");
	assert_string_equal(db_refused("%s user=app_trust sslcert=none", dsn), "-");
	/* On the unix socket there is none to be had. */
	assert_string_equal(db_refused("host=%s port=%d dbname=app user=app_trust", bouncer_dir(b), bouncer_port(b)),
		"28000");
	assert_string_equal(db_error_text(NULL), "TLS client certificate required");
	assert_string_equal(db_value(c, "select 1"), "1");
}

/* With a plain secret and with a SCRAM secret. */
static void channel_binding(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const char *secret =
			i ? pg_value(pg_shared(), "select rolpassword from pg_authid where rolname = 'app_scram'")
			  : e2e_password("app_scram");
		struct bouncer *b =
			bouncer_start(&(struct bouncer_options){.settings = "client_tls_sslmode = allow\n" FILES,
				.auth = e2e_text("\"app_scram\" \"%s\"", secret)});
		const char *dsn = e2e_text("%s user=app_scram", dsn_of(b));
		PGconn *c;

		c = db_connect("%s sslmode=require channel_binding=require", dsn);
		assert_string_equal(db_value(c, "select current_user"), "app_scram");
		db_connect("%s sslmode=require channel_binding=require ssl_max_protocol_version=TLSv1.2", dsn);
		db_connect("%s sslmode=require channel_binding=prefer", dsn);
		db_connect("%s sslmode=require channel_binding=disable", dsn);
		db_connect("%s sslmode=disable channel_binding=prefer", dsn);
		assert_string_equal(db_refused("%s sslmode=disable channel_binding=require", dsn), "-");
		assert_string_equal(db_refused("%s sslmode=require channel_binding=require password=wrong", dsn),
			"28P01");
		bouncer_stop(b);
	}
}

/* ---- by hand: direct negotiation, sessions ----------------------------------------------- */

struct hand {
	SSL_CTX *ctx;
	SSL *ssl;
};

/* A handshake over a connected socket. alpn: as on the wire, or NULL. False when it failed. */
static bool hand_open(struct hand *h, int fd, const char *alpn, SSL_SESSION *session)
{
	h->ctx = SSL_CTX_new(TLS_client_method());
	assert_int_equal(SSL_CTX_load_verify_locations(h->ctx, e2e_text("%s/ca.crt", tls_dir()), NULL), 1);
	SSL_CTX_set_verify(h->ctx, SSL_VERIFY_PEER, NULL);
	h->ssl = SSL_new(h->ctx);
	assert_int_equal(SSL_set_fd(h->ssl, fd), 1);
	if (alpn)
		assert_int_equal(SSL_set_alpn_protos(h->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
	if (session)
		assert_int_equal(SSL_set_session(h->ssl, session), 1);
	return SSL_connect(h->ssl) == 1;
}

/* A session that is not shut down in order is not to be resumed, OpenSSL says. */
static void hand_close(struct hand *h)
{
	SSL_shutdown(h->ssl);
	SSL_free(h->ssl);
	SSL_CTX_free(h->ctx);
}

/* Is a startup packet answered with a request for authentication? */
static bool hand_starts(struct hand *h)
{
	static const char packet[] = "\0\0\0\045\0\3\0\0user\0app_scram\0database\0app\0";
	char head[9];

	static_assert(sizeof(packet) == 045, "the length that it says");
	return SSL_write(h->ssl, packet, sizeof(packet)) == (int)sizeof(packet) && SSL_read(h->ssl, head, 9) == 9 &&
	       memcmp(head, "R\0\0\0", 4) == 0 && head[8] == 10;
}

static void direct_negotiation(void **state)
{
	static const struct {
		const char *alpn;
		bool ok;
	} cases[] = {
		{"\012postgresql", true}, {"\010http/1.1\012postgresql", true}, {"\010http/1.1", false}, {NULL, false}};
	struct bouncer *b = start("require", "");
	struct hand h;
	bool ok;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ok = hand_open(&h, raw_connect(bouncer_port(b), NULL), cases[i].alpn, NULL) && hand_starts(&h);
		if (ok != cases[i].ok)
			fail_msg("ALPN %s: %s", cases[i].alpn ? cases[i].alpn + 1 : "missing",
				ok ? "let in" : "refused");
		hand_close(&h);
	}
	WAIT_UNTIL(bouncer_logged(b, "closing because: TLS handshake failed: no agreement on the ALPN protocol"));
	bouncer_stop(b);
	/* Where TLS is not offered the byte 0x16 is the beginning of nothing. */
	b = start("disable", "");
	assert_false(hand_open(&h, raw_connect(bouncer_port(b), NULL), "\012postgresql", NULL));
	hand_close(&h);
	db_connect("%s user=app_scram", dsn_of(b));
}

/* A ticket of TLS 1.3 spares the next connection the certificates. */
static void sessions_are_resumed(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.settings = "client_tls_sslmode = require\nclient_tls_key_file = {tls}/server.key\n"
			    "client_tls_cert_file = {tls}/server.crt\n"});
	SSL_SESSION *session;
	struct hand h;

	(void)state;
	assert_true(hand_open(&h, raw_connect(bouncer_port(b), NULL), "\012postgresql", NULL) && hand_starts(&h));
	assert_false(SSL_session_reused(h.ssl));
	session = SSL_get1_session(h.ssl);
	assert_true(SSL_SESSION_is_resumable(session));
	hand_close(&h);
	assert_true(hand_open(&h, raw_connect(bouncer_port(b), NULL), "\012postgresql", session) && hand_starts(&h));
	assert_true(SSL_session_reused(h.ssl));
	hand_close(&h);
	SSL_SESSION_free(session);
}

/* ---- what stands before a handshake -------------------------------------------------------- */

static const char ssl_request[] = {0, 0, 0, 8, 4, (char)0xd2, 0x16, 0x2f};
static const char gss_request[] = {0, 0, 0, 8, 4, (char)0xd2, 0x16, 0x30};

static void answers(int fd, const char *request, char expected)
{
	char c = 0;

	assert_true(raw_send(fd, request, 8));
	assert_int_equal(read(fd, &c, 1), 1);
	assert_int_equal(c, expected);
}

static void requests_are_answered(void **state)
{
	struct bouncer *b = start("prefer", "");
	int fd = raw_connect(bouncer_port(b), NULL);
	struct hand h;
	char *payload;
	size_t n;

	(void)state;
	answers(fd, gss_request, 'N');
	answers(fd, ssl_request, 'S');
	assert_true(hand_open(&h, fd, NULL, NULL) && hand_starts(&h));
	hand_close(&h);
	fd = raw_connect(bouncer_port(b), NULL);
	answers(fd, gss_request, 'N');
	assert_true(raw_startup(fd, "user", "app_scram", "database", "app", NULL));
	assert_int_equal(raw_read(fd, &payload, &n), 'R');
	/* Twice is once too often. */
	fd = raw_connect(bouncer_port(b), NULL);
	answers(fd, gss_request, 'N');
	assert_true(raw_send(fd, gss_request, 8));
	assert_int_equal(raw_read(fd, &payload, &n), 'E');
	assert_string_equal(raw_field(payload, n, 'C'), "08P01");
	assert_true(raw_closed(fd, 0));
	/* On a unix socket, and where there is no TLS. */
	answers(raw_connect(0, e2e_text("%s/.s.PGSQL.%d", bouncer_dir(b), bouncer_port(b))), ssl_request, 'N');
	bouncer_stop(b);
	b = start("disable", "");
	answers(raw_connect(bouncer_port(b), NULL), ssl_request, 'N');
}

static void bytes_before_the_handshake(void **state)
{
	struct bouncer *b = start("prefer", "");
	const char *both = e2e_text("%*s", 8 + 40, "");
	int fd = raw_connect(bouncer_port(b), NULL);
	char c;

	(void)state;
	/* Somebody in the middle has put a startup packet behind the request. */
	memcpy((char *)both, ssl_request, 8);
	memcpy((char *)both + 8, "\0\0\0\050\0\3\0\0user\0app_scram\0database\0app\0\0\0\0", 40);
	assert_true(raw_send(fd, both, 48));
	assert_true(raw_closed(fd, 1));
	WAIT_UNTIL(bouncer_logged(b, "unencrypted data before the TLS handshake"));
	/* No handshake at all. */
	fd = raw_connect(bouncer_port(b), NULL);
	answers(fd, ssl_request, 'S');
	assert_true(raw_send(fd, both + 8, 40));
	assert_true(raw_closed(fd, 100));
	/* One that is cut off. */
	fd = raw_connect(bouncer_port(b), NULL);
	answers(fd, ssl_request, 'S');
	assert_true(raw_send(fd, "\026\3\1\2\0\1\0", 7));
	raw_close(fd);
	/* A second request inside of TLS. */
	fd = raw_connect(bouncer_port(b), NULL);
	answers(fd, ssl_request, 'S');
	{
		struct hand h;

		assert_true(hand_open(&h, fd, NULL, NULL));
		assert_int_equal(SSL_write(h.ssl, ssl_request, 8), 8);
		assert_int_equal(SSL_read(h.ssl, &c, 1), 1);
		assert_int_equal(c, 'E');
		hand_close(&h);
	}
	assert_int_equal(outcome(b, "sslmode=require"), 's');
	WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "login_clients", "items") == 0);
}

/* ---- certificates that are replaced ----------------------------------------------------------- */

static char *certificate_name(PGconn *c)
{
	SSL *ssl = PQsslStruct(c, "OpenSSL");
	X509 *x = SSL_get1_peer_certificate(ssl);
	char name[100] = "";

	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name, sizeof(name));
	X509_free(x);
	return e2e_text("%s", name);
}

static void replace(const char *file, const char *by)
{
	e2e_file(file, 0600, e2e_read(e2e_text("%s/%s", tls_dir(), by)));
}

static void certificates_are_replaced(void **state)
{
	struct bouncer *b;
	PGconn *old, *fresh;

	(void)state;
	tls_issue("next", "the next one", "DNS:localhost", 3, false);
	replace("live.crt", "server.crt");
	replace("live.key", "server.key");
	b = bouncer_start(&(struct bouncer_options){
		.settings = e2e_text("client_tls_sslmode = require\nclient_tls_key_file = %s/live.key\n"
				     "client_tls_cert_file = %s/live.crt",
			e2e_dir(), e2e_dir())});
	old = db_connect("%s user=app_scram sslmode=verify-full", dsn_of(b));
	assert_string_equal(certificate_name(old), "localhost");
	db_value(old, "begin");
	/* Half of it: all stays as it was. */
	replace("live.crt", "next.crt");
	assert_string_equal(db_error(bouncer_console(b), "reload"), "F0000");
	assert_string_equal(db_error_text(NULL), "RELOAD failed, see logs for additional details");
	fresh = db_connect("%s user=app_scram sslmode=verify-full", dsn_of(b));
	assert_string_equal(certificate_name(fresh), "localhost");
	replace("live.key", "next.key");
	bouncer_command(b, "reload");
	fresh = db_connect("%s user=app_scram sslmode=verify-full", dsn_of(b));
	assert_string_equal(certificate_name(fresh), "the next one");
	assert_int_equal(PQtransactionStatus(old), PQTRANS_INTRANS);
	db_value(old, "commit");
	assert_string_equal(db_value(old, "select 1"), "1");
}

/* ---- sessions over TLS -------------------------------------------------------------------------- */

static void large_values(void **state)
{
	struct bouncer *b = start("require", "server_tls_sslmode = require");
	PGconn *c = db_connect("%s user=app_scram sslmode=require", dsn_of(b));
	const size_t size = 16 << 20;
	char *value = malloc(size), *row;
	const char *values[] = {value};
	const Oid types[] = {17};
	const int lengths[] = {(int)size}, formats[] = {1};
	PGresult *r;
	int rows = 0;

	(void)state;
	assert_non_null(value);
	for (size_t i = 0; i < size; i++)
		value[i] = (char)(i * 2654435761U >> 24);
	r = db_keep(PQexecParams(c, "select $1", 1, types, values, lengths, formats, 1));
	assert_int_equal(PQgetlength(r, 0, 0), size);
	assert_true(memcmp(PQgetvalue(r, 0, 0), value, size) == 0);
	free(value);
	assert_int_equal(PQresultStatus(db_keep(PQexec(c,
				 "copy (select n from generate_series(1, 100000) n) to stdout"))),
		PGRES_COPY_OUT);
	for (; PQgetCopyData(c, &row, 0) > 0; PQfreemem(row))
		assert_int_equal(atoi(row), ++rows);
	assert_int_equal(rows, 100000);
	while ((r = PQgetResult(c)))
		PQclear(r);
	assert_string_equal(db_value(c, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"), "t");
}

/* libpq 15 sends them in the clear, also where TLS is required: they are no sessions. */
static void cancel_requests(void **state)
{
	struct bouncer *b = start("require", "server_tls_sslmode = verify-full\nserver_tls_ca_file = {tls}/ca.crt");
	PGconn *c = db_connect("%s user=app_scram sslmode=require", dsn_of(b));
	PGcancel *cancel = PQgetCancel(c);
	char why[256];

	(void)state;
	assert_true(PQsendQuery(c, "select 'cancelled over TLS', pg_sleep(1000)"));
	WAIT_UNTIL(strcmp(pg_value(pg_shared(),
				  "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and "
				  "query like 'select ''cancelled over TLS%%'"),
			   "1") == 0);
	assert_true(PQcancel(cancel, why, sizeof(why)));
	assert_string_equal(PQresultErrorField(db_result(c), PG_DIAG_SQLSTATE), "57014");
	assert_null(db_result(c));
	PQfreeCancel(cancel);
	assert_string_equal(db_value(c, "select 1"), "1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(every_mode_with_every_mode),
		e2e_test(what_is_refused_is_told_why),
		e2e_test(versions_and_ciphers),
		e2e_test(login_by_certificate),
		e2e_test(channel_binding),
		e2e_test(direct_negotiation),
		e2e_test(sessions_are_resumed),
		e2e_test(requests_are_answered),
		e2e_test(bytes_before_the_handshake),
		e2e_test(certificates_are_replaced),
		e2e_test(large_values),
		e2e_test(cancel_requests),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
