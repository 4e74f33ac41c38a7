/*
 * test_lib: the end-to-end library itself, without psbouncer: servers,
 * certificates, a standby, ports and children do what e2e.h says.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include "lib/e2e.h"

static void users_log_in(void **state)
{
	static const char *const names[] = {"app_trust", "app_plain", "app_md5", "app_scram"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		PGconn *c =
			db_connect("host=127.0.0.1 port=%d dbname=postgres user=%s", pg_port(pg_shared()), names[i]);

		assert_string_equal(db_value(c, "select current_user"), names[i]);
	}
}

static void a_wrong_password_is_refused(void **state)
{
	PGconn *c;

	(void)state;
	c = db_try("host=127.0.0.1 port=%d dbname=postgres user=app_scram password=no", pg_port(pg_shared()));
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
}

static void a_certificate_logs_in(void **state)
{
	const char *dsn = e2e_text("host=localhost port=%d dbname=postgres sslrootcert=%s/ca.crt sslmode=verify-full",
		pg_port(pg_shared()), tls_dir());
	PGconn *c;

	(void)state;
	c = db_connect("%s user=app_cert sslcert=%s/app_cert.crt sslkey=%s/app_cert.key", dsn, tls_dir(), tls_dir());
	assert_string_equal(db_value(c, "select current_user"), "app_cert");
	assert_string_equal(db_value(c, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"), "t");
	c = db_try("%s user=app_cert sslcert=none", dsn);
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
}

static void an_expired_certificate_is_made(void **state)
{
	const char *crt = tls_issue("old", "old", NULL, -1, false);

	(void)state;
	assert_non_null(strstr(e2e_command((const char *[]){
				       "sh", "-c", e2e_text("openssl x509 -checkend 0 -in %s || true", crt), NULL}),
		"will expire"));
}

static void a_standby_streams(void **state)
{
	struct pg *primary = pg_start(NULL), *standby = pg_start_standby(primary);

	(void)state;
	assert_string_equal(pg_value(standby, "select pg_is_in_recovery()"), "t");
	pg_value(primary, "create table t as select 42 as n");
	WAIT_UNTIL(strcmp(pg_value(standby, "select count(*) from pg_class where relname = 't'"), "1") == 0);
	pg_crash(primary);
	pg_promote(standby);
	assert_string_equal(pg_value(standby, "select n from t"), "42");
	pg_restart(primary);
	assert_string_equal(pg_value(primary, "select n from t"), "42");
	pg_stop(standby);
	pg_stop(primary);
}

static void ports_differ(void **state)
{
	int a = e2e_port(), b = e2e_port();

	(void)state;
	assert_int_not_equal(a, b);
	assert_int_equal(raw_connect(a, NULL), -1);
}

static void bytes_are_messages(void **state)
{
	int fd = raw_connect(pg_port(pg_shared()), NULL);
	char *payload, type;
	size_t n;

	(void)state;
	assert_true(raw_startup(fd, "user", "app_trust", "database", "nowhere", NULL));
	type = raw_read(fd, &payload, &n);
	assert_int_equal(type, 'R');
	type = raw_read(fd, &payload, &n);
	assert_int_equal(type, 'E');
	assert_string_equal(raw_field(payload, n, 'C'), "3D000");
	assert_true(raw_closed(fd, 0));
}

static void errors_have_a_code(void **state)
{
	PGconn *c = db_connect("host=127.0.0.1 port=%d dbname=postgres user=app_trust", pg_port(pg_shared()));

	(void)state;
	assert_string_equal(db_error(c, "select 1/0"), "22012");
	assert_string_equal(db_error_text(c), "division by zero");
	assert_string_equal(db_value_ext(c, "select 'x'"), "x");
}

static void children_end(void **state)
{
	const char *log = e2e_text("%s/sleeper", e2e_dir());
	pid_t pid = e2e_spawn((const char *[]){"sleep", "1000", NULL}, NULL, log, SIGTERM);
	int status;

	(void)state;
	assert_false(e2e_ended(pid, &status));
	kill(pid, SIGTERM);
	status = e2e_wait(pid, 10000);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(users_log_in),
		e2e_test(a_wrong_password_is_refused),
		e2e_test(a_certificate_logs_in),
		e2e_test(an_expired_certificate_is_made),
		e2e_test(a_standby_streams),
		e2e_test(ports_differ),
		e2e_test(bytes_are_messages),
		e2e_test(errors_have_a_code),
		e2e_test(children_end),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
