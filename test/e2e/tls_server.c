/*
 * tls_server: TLS between psbouncer and servers: every sslmode with servers of
 * every kind, certificates on both sides, changes by RELOAD, direct negotiation.
 */
#include <stdio.h>
#include <stdlib.h>
#include "lib/e2e.h"

/* Servers besides the shared one, which has TLS and a certificate for localhost and 127.0.0.1. */
static struct pg *plain;   /* without TLS */
static struct pg *strange; /* TLS only, with a certificate for elsewhere.example */

static void start_servers(void)
{
	static const char only_tls[] = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";

	if (plain)
		return;
	tls_issue("elsewhere", "elsewhere.example", "DNS:elsewhere.example", 3, false);
	plain = pg_start(NULL);
	strange = pg_start(&(struct pg_options){.tls = true,
		.hba = only_tls,
		.conf = e2e_text("ssl_cert_file = '%s/elsewhere.crt'\nssl_key_file = '%s/elsewhere.key'\n", tls_dir(),
			tls_dir())});
}

static const char *entry(const char *name, const char *host, const struct pg *p, const char *more)
{
	return e2e_text("%s = host=%s port=%d dbname=postgres %s\n", name, host, pg_port(p), more);
}

static struct bouncer *start(const char *databases, const char *settings)
{
	return bouncer_start(&(struct bouncer_options){.databases = databases,
		.settings = e2e_text("auth_type = trust\nserver_login_retry = 0\n%s", settings)});
}

static char *uses_tls(PGconn *c)
{
	return db_value(c, "select ssl from pg_stat_ssl where pid = pg_backend_pid()");
}

/* 's' TLS, 'p' plain, '-' refused; the reason is in db_error_text(). */
static char outcome(struct bouncer *b, const char *database)
{
	const char *dsn = e2e_text("%s dbname=%s user=app_scram", bouncer_dsn(b), database);
	PGconn *c = db_try("%s", dsn);
	char result;

	if (PQstatus(c) != CONNECTION_OK) {
		/* Its own code where it was the server that said no. */
		const char *code = db_refused("%s", dsn);

		assert_string_equal(code, strstr(db_error_text(c), "no pg_hba.conf entry") ? "28000" : "57P03");
		assert_int_equal(strncmp(db_error_text(c), "server login has been failing, cached error: ", 45), 0);
		db_close(c);
		return '-';
	}
	result = uses_tls(c)[0] == 't' ? 's' : 'p';
	assert_int_equal(bouncer_value(b, "SERVERS", "database", database, "tls")[0] == 'T', result == 's');
	db_close(c);
	return result;
}

/* ---- modes ------------------------------------------------------------------------------ */

static const struct {
	const char *mode, *ca;
	/* the shared server and the strange one, each as localhost and as 127.0.0.1, and the one without TLS */
	const char *expected;
} mode_cases[] = {
	{"disable", "", "pp--p"},
	{"allow", "", "ppssp"},
	{"prefer", "", "ssssp"},
	{"require", "", "ssss-"},
	{"require", "server_tls_ca_file = {tls}/other-ca.crt", "ssss-"},
	{"verify-ca", "server_tls_ca_file = {tls}/ca.crt", "ssss-"},
	{"verify-ca", "server_tls_ca_file = {tls}/other-ca.crt", "-----"},
	{"verify-full", "server_tls_ca_file = {tls}/ca.crt", "ss---"},
	{"verify-full", "server_tls_ca_file = {tls}/other-ca.crt", "-----"},
};

static void every_mode(void **state)
{
	static const char *const names[] = {"name", "address", "strange", "strange_address", "plain"};
	const char *databases;

	(void)state;
	start_servers();
	databases = e2e_text("%s%s%s%s%s", entry("name", "localhost", pg_shared(), ""),
		entry("address", "127.0.0.1", pg_shared(), ""), entry("strange", "localhost", strange, ""),
		entry("strange_address", "127.0.0.1", strange, ""), entry("plain", "localhost", plain, ""));
	for (size_t i = 0; i < sizeof(mode_cases) / sizeof(*mode_cases); i++) {
		struct bouncer *b =
			start(databases, e2e_text("server_tls_sslmode = %s\n%s", mode_cases[i].mode, mode_cases[i].ca));
		char got[6] = "";

		for (size_t k = 0; k < 5; k++)
			got[k] = outcome(b, names[k]);
		if (strcmp(got, mode_cases[i].expected) != 0)
			fail_msg("server_tls_sslmode=%s %s: %s", mode_cases[i].mode, mode_cases[i].ca, got);
		bouncer_stop(b);
	}
}

/* Each failure has its reason in words. */
static void failures_are_told(void **state)
{
	static const struct {
		const char *settings, *database, *part;
	} cases[] = {
		{"server_tls_sslmode = require", "plain", "the server does not offer TLS"},
		{"server_tls_sslmode = verify-full\nserver_tls_ca_file = {tls}/ca.crt", "strange", "hostname mismatch"},
		{"server_tls_sslmode = verify-ca\nserver_tls_ca_file = {tls}/other-ca.crt", "strange",
			"certificate verify failed"},
		{"server_tls_sslmode = require\nserver_tls_protocols = tlsv1.1", "strange", "protocol"},
	};

	(void)state;
	start_servers();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct bouncer *b = start(e2e_text("%s%s", entry("strange", "localhost", strange, ""),
						  entry("plain", "localhost", plain, "")),
			cases[i].settings);

		assert_int_equal(outcome(b, cases[i].database), '-');
		if (!strstr(db_error_text(NULL), cases[i].part))
			fail_msg("no \"%s\" in: %s", cases[i].part, db_error_text(NULL));
		bouncer_stop(b);
	}
}

/* No TLS on a unix socket, whatever the mode. */
static void unix_sockets(void **state)
{
	struct bouncer *b = start("app = host={pgdir} port={pg} dbname=postgres",
		"server_tls_sslmode = verify-full\nserver_tls_ca_file = {tls}/ca.crt");

	(void)state;
	assert_string_equal(uses_tls(db_connect("%s dbname=app user=app_scram", bouncer_dsn(b))), "f");
}

/* ---- certificates of ours, versions --------------------------------------------------------- */

static void our_certificate(void **state)
{
	struct bouncer *b;
	PGconn *c;

	(void)state;
	pg_shared();
	b = start(NULL, "server_tls_sslmode = require\nserver_tls_cert_file = {tls}/app_cert.crt\n"
			"server_tls_key_file = {tls}/app_cert.key");
	c = db_connect("%s dbname=app user=app_cert", bouncer_dsn(b));
	assert_string_equal(db_value(c, "select current_user"), "app_cert");
	assert_string_equal(db_value(c, "select client_dn from pg_stat_ssl where pid = pg_backend_pid()"),
		"/CN=app_cert");
	/* It opens its own door only. */
	c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
	assert_string_equal(db_value(c, "select current_user"), "app_scram");
	bouncer_stop(b);
	b = start(NULL, "server_tls_sslmode = require");
	assert_string_equal(db_refused("%s dbname=app user=app_cert", bouncer_dsn(b)), "28000");
	assert_non_null(strstr(db_error_text(NULL), "connection requires a valid client certificate"));
}

static void versions_and_ciphers(void **state)
{
	struct bouncer *b = start(NULL, "server_tls_sslmode = require\nserver_tls_protocols = tlsv1.2\n"
					"server_tls_ciphers = ECDHE-ECDSA-AES128-GCM-SHA256");
	static const char sql[] = "select version || ' ' || cipher from pg_stat_ssl where pid = pg_backend_pid()";
	PGconn *c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));

	(void)state;
	assert_string_equal(db_value(c, sql), "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256");
	bouncer_stop(b);
	b = start(NULL, "server_tls_sslmode = require\nserver_tls13_ciphers = TLS_AES_128_GCM_SHA256");
	c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
	assert_string_equal(db_value(c, sql), "TLSv1.3 TLS_AES_128_GCM_SHA256");
}

/* A RELOAD that changes TLS replaces the servers as they come free; one that does not leaves them. */
static void reloads(void **state)
{
	const struct bouncer_options strict = {
		.settings = "auth_type = trust\nserver_tls_sslmode = verify-full\nserver_tls_ca_file = {tls}/ca.crt",
		.databases = "app = host=localhost port={pg} dbname=postgres"};
	struct bouncer *b = start("app = host=localhost port={pg} dbname=postgres", "server_tls_sslmode = disable");
	PGconn *c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b)), *busy;
	const char *pid = db_value(c, "select pg_backend_pid()"), *other;

	(void)state;
	assert_string_equal(uses_tls(c), "f");
	bouncer_command(b, "reload");
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	busy = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
	db_value(busy, "begin");
	other = db_value(busy, "select pg_backend_pid()");
	bouncer_rewrite(b, &strict);
	bouncer_command(b, "reload");
	assert_string_equal(uses_tls(c), "t");
	assert_string_equal(uses_tls(busy), "f");
	assert_string_equal(db_value(busy, "select pg_backend_pid()"), other);
	db_value(busy, "commit");
	assert_string_equal(uses_tls(busy), "t");
	pid = db_value(c, "select pg_backend_pid()");
	bouncer_command(b, "reload");
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
}

/* ---- PostgreSQL 18, direct negotiation ---------------------------------------------------------- */

static struct pg *newest(void)
{
	static struct pg *p;

	if (!pg_has("18")) {
		print_message("# no PostgreSQL 18: PSB_TEST_PG18BIN does not name its bin folder\n");
		skip();
	}
	if (!p)
		p = pg_start(&(struct pg_options){.tls = true, .version = "18"});
	return p;
}

static void direct_negotiation(void **state)
{
	static const char settings[] = "server_tls_sslmode = verify-full\nserver_tls_ca_file = {tls}/ca.crt\n"
				       "server_tls_sslnegotiation = direct";
	struct pg *p = newest();
	struct bouncer *b =
		start(e2e_text("%s%s%s", entry("app", "localhost", p, ""), entry("old", "localhost", pg_shared(), ""),
			      entry("asks", "localhost", p, "server_tls_sslnegotiation=postgres")),
			settings);
	char why[256];
	PGcancel *cancel;
	PGconn *c;

	(void)state;
	assert_int_equal(outcome(b, "app"), 's');
	assert_int_equal(outcome(b, "asks"), 's');
	/* One that does not know it takes it for an odd startup packet. */
	assert_int_equal(outcome(b, "old"), '-');
	assert_true(bouncer_running(b));
	/* Cancel requests go the same way. */
	c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
	cancel = PQgetCancel(c);
	assert_true(PQsendQuery(c, "select pg_sleep(1000)"));
	WAIT_UNTIL(strcmp(pg_value(p, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"), "1") == 0);
	assert_true(PQcancel(cancel, why, sizeof(why)));
	assert_string_equal(PQresultErrorField(db_result(c), PG_DIAG_SQLSTATE), "57014");
	assert_null(db_result(c));
	PQfreeCancel(cancel);
}

/* The newest server says more than the oldest: parameters, authentication, messages. */
static void the_newest_server(void **state)
{
	static const char *const users[] = {"app_trust", "app_plain", "app_md5", "app_scram"};
	struct pg *p = newest();
	struct bouncer *b = start(entry("app", "localhost", p, ""), "default_pool_size = 1");
	PGconn *a, *c;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		c = db_connect("%s dbname=app user=%s", bouncer_dsn(b), users[i]);
		assert_string_equal(db_value_ext(c, "select current_user"), users[i]);
		assert_int_equal(PQserverVersion(c) / 10000, 18);
	}
	/* It reports search_path: two clients keep their own on one server. */
	a = db_connect("%s dbname=app user=app_scram options='-c search_path=pg_catalog'", bouncer_dsn(b));
	db_value(c, "set search_path to \"a b\", public");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(db_value(a, "show search_path"), "pg_catalog");
		assert_string_equal(db_value(c, "show search_path"), "\"a b\", public");
	}
	assert_string_equal(PQparameterStatus(c, "search_path"), "\"a b\", public");
	assert_string_equal(db_error(c, "select 1 / 0"), "22012");
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, "copy (select 1) to stdout"))), PGRES_COPY_OUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(every_mode),
		e2e_test(failures_are_told),
		e2e_test(unix_sockets),
		e2e_test(our_certificate),
		e2e_test(versions_and_ciphers),
		e2e_test(reloads),
		e2e_test(direct_negotiation),
		e2e_test(the_newest_server),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
