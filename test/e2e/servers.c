/*
 * servers: how long server connections live, how they are checked before use,
 * what happens when a server cannot be had, and lists of hosts.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/e2e.h"

#define AT "host=127.0.0.1 port={pg} dbname=postgres"

static struct bouncer *start(const char *databases, const char *settings)
{
	return bouncer_start(&(struct bouncer_options){.databases = databases,
		.settings = e2e_text("auth_type = trust\ndefault_pool_size = 1\n%s", settings)});
}

static PGconn *client(struct bouncer *b, const char *database)
{
	return db_connect("%s dbname=%s user=app_scram", bouncer_dsn(b), database);
}

static char *pid_of(PGconn *c)
{
	return db_value(c, "select pg_backend_pid()");
}

static bool another_server(PGconn *c, const char *than)
{
	return strcmp(pid_of(c), than) != 0;
}

static void set(struct bouncer *b, const char *name, const char *value)
{
	bouncer_command(b, e2e_text("set %s = %s", name, value));
}

/* A socket that listens and never says a word. */
static int mute_port(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	return ntohs(sin.sin_port);
}

/* ---- life --------------------------------------------------------------------------- */

static void server_lifetime(void **state)
{
	struct bouncer *b =
		start("app = " AT "\nshort = " AT " server_lifetime=1\nonce = " AT " server_lifetime=0", "");
	PGconn *c = client(b, "app"), *often = client(b, "once"), *brief = client(b, "short");
	char *pid = pid_of(c), *other;

	(void)state;
	/* 0: used once. */
	other = pid_of(often);
	for (int i = 0; i < 3; i++) {
		assert_true(another_server(often, other));
		other = pid_of(often);
	}
	/* It is not taken away from a client. */
	db_value(brief, "begin");
	other = pid_of(brief);
	db_value(brief, "select pg_sleep(1.2)");
	assert_string_equal(pid_of(brief), other);
	db_value(brief, "commit");
	WAIT_UNTIL(another_server(brief, other));
	WAIT_UNTIL(bouncer_logged(b, "closing because: server lifetime over"));
	assert_string_equal(pid_of(c), pid);
	set(b, "server_lifetime", "0.2");
	WAIT_UNTIL(another_server(c, pid));
}

static void server_idle_timeout(void **state)
{
	struct bouncer *b = start(NULL, "");
	PGconn *c = client(b, "app");
	char *pid = pid_of(c);

	(void)state;
	set(b, "server_idle_timeout", "0.2");
	WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "used_servers", "items") == 0);
	WAIT_UNTIL(bouncer_logged(b, "closing because: server idle timeout"));
	assert_true(another_server(c, pid));
	/* Not while a client has it. */
	db_value(c, "begin");
	pid = pid_of(c);
	db_value(c, "select pg_sleep(0.5)");
	assert_string_equal(pid_of(c), pid);
}

static void server_check_query(void **state)
{
	struct bouncer *b;
	PGconn *c;
	char *pid, *checked = pg_value(pg_shared(), "create table checks (n int); grant all on checks to public");

	(void)state;
	b = start(NULL, "server_check_query = insert into checks values (1)\nserver_check_delay = 0");
	c = client(b, "app");
	pid = pid_of(c);
	for (int i = 0; i < 3; i++)
		assert_string_equal(pid_of(c), pid);
	checked = pg_value(pg_shared(), "select count(*) from checks");
	assert_in_range(atoi(checked), 3, 4);
	/* Used a moment ago. */
	set(b, "server_check_delay", "1000");
	pid_of(c);
	assert_string_equal(pg_value(pg_shared(), "select count(*) from checks"), checked);
	/* One that fails costs the connection, not the client. */
	set(b, "server_check_delay", "0");
	set(b, "server_check_query", "'select 1 / 0'");
	pid = pid_of(c);
	assert_true(another_server(c, pid));
	WAIT_UNTIL(bouncer_logged(b, "check query failed"));
	set(b, "server_check_query", "''");
	pid = pid_of(c);
	assert_string_equal(pid_of(c), pid);
	pg_value(pg_shared(), "drop table checks");
}

/* A server that hangs is not waited for: the client gets another one. */
static void a_server_that_hangs(void **state)
{
	struct bouncer *b = start("app = " AT " pool_size=2", "server_check_delay = 0\nserver_connect_timeout = 4");
	PGconn *c = client(b, "app");
	char *pid = pid_of(c), *other;

	(void)state;
	/* Not while it holds something that others need. */
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select wait_event from pg_stat_activity where pid = %s", pid),
			   "ClientRead") == 0);
	assert_int_equal(kill(atoi(pid), SIGSTOP), 0);
	other = pid_of(c);
	assert_string_not_equal(other, pid);
	/* It has that long to answer. */
	WAIT_UNTIL(bouncer_logged(b,
		"closing because: check query failed: no answer in time (server_connect_timeout)"));
	kill(atoi(pid), SIGCONT);
	assert_string_equal(pid_of(c), other);
}

/* ---- servers that cannot be had ------------------------------------------------------------- */

static void refused(struct bouncer *b, const char *database, const char *code, const char *part)
{
	assert_string_equal(db_refused("%s dbname=%s user=app_scram", bouncer_dsn(b), database), code);
	if (!strstr(db_error_text(NULL), part))
		fail_msg("no \"%s\" in: %s", part, db_error_text(NULL));
	assert_int_equal(strncmp(db_error_text(NULL), "server login has been failing, cached error: ", 45), 0);
	assert_non_null(strstr(db_error_text(NULL), " (server_login_retry)"));
}

static void server_connect_timeout(void **state)
{
	struct bouncer *b = start(e2e_text("mute = host=127.0.0.1 port=%d\napp = " AT, mute_port()),
		"server_connect_timeout = 0.3\nserver_tls_sslmode = disable");

	(void)state;
	refused(b, "mute", "57P03", "connect timeout (server_connect_timeout)");
	WAIT_UNTIL(bouncer_logged(b, "closing because: connect timeout (server_connect_timeout)"));
	bouncer_stop(b);
	/* The same where it waits for the answer to its SSLRequest. */
	b = start(e2e_text("mute = host=127.0.0.1 port=%d", mute_port()), "server_connect_timeout = 0.3");
	refused(b, "mute", "57P03", "connect timeout (server_connect_timeout)");
}

static bool works(PGconn *c)
{
	if (PQresultStatus(db_keep(PQexec(c, "select 1"))) == PGRES_TUPLES_OK)
		return true;
	PQreset(c);
	return false;
}

/* Within the pause after a failure the error is told at once, also when the server is back; then it is tried again. */
static void server_login_retry(void **state)
{
	struct pg *p = pg_start(NULL);
	struct bouncer *b = start(e2e_text("app = host=127.0.0.1 port=%d dbname=postgres", pg_port(p)),
		"server_login_retry = 1000");
	PGconn *c = client(b, "app"), *held;

	(void)state;
	db_value(c, "select 1");
	held = client(b, "app");
	pg_crash(p);
	WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "used_servers", "items") == 0);
	assert_string_equal(db_error(c, "select 1"), "57P03");
	assert_non_null(strstr(db_error_text(c), "Connection refused"));
	pg_restart(p);
	c = client(b, "app");
	assert_string_equal(db_error(c, "select 1"), "57P03");
	assert_non_null(strstr(db_error_text(c), "cached error: "));
	/* Who asked for nothing meanwhile is still there. */
	set(b, "server_login_retry", "0");
	c = client(b, "app");
	WAIT_UNTIL(works(c));
	assert_string_equal(db_value(held, "select 1"), "1");
	pg_stop(p);
}

/* Clients that wait when the server goes away, and comes back before their patience is at its end. */
static void servers_that_come_back(void **state)
{
	struct pg *p = pg_start(NULL);
	struct bouncer *b =
		start(e2e_text("app = host=127.0.0.1 port=%d dbname=postgres", pg_port(p)), "server_login_retry = 0");
	PGconn *c = client(b, "app");

	(void)state;
	for (int i = 0; i < 3; i++) {
		db_value(c, "select 1");
		pg_restart(p);
		WAIT_UNTIL(works(c));
	}
	pg_stop(p);
}

/* ---- hosts ------------------------------------------------------------------------------------- */

static void a_dead_host_in_a_list(void **state)
{
	struct bouncer *b =
		start(e2e_text("app = host=127.0.0.1,127.0.0.1,localhost port=%d,{pg},%d dbname=postgres pool_size=9",
			      e2e_port(), e2e_port()),
			"");
	PGconn *c[9];

	(void)state;
	for (int i = 0; i < 9; i++) {
		c[i] = client(b, "app");
		db_value(c[i], "begin");
	}
	for (int i = 0; i < 9; i++)
		db_value(c[i], "commit");
	/* One line of the log for the same failure again and again. */
	WAIT_UNTIL(bouncer_logged(b, "Connection refused"));
	assert_string_equal(bouncer_value(b, "DATABASES", "name", "app", "host"), "127.0.0.1,127.0.0.1,localhost");
}

/* One that takes connections and says nothing costs server_connect_timeout once, not each time. */
static void a_mute_host_in_a_list(void **state)
{
	struct bouncer *b =
		start(e2e_text("app = host=127.0.0.1,127.0.0.1 port=%d,{pg} dbname=postgres pool_size=9", mute_port()),
			"server_connect_timeout = 3");
	PGconn *c[9];

	(void)state;
	for (int i = 0; i < 9; i++) {
		c[i] = client(b, "app");
		db_value(c[i], "begin");
	}
	WAIT_UNTIL(bouncer_logged(b, "connect timeout (server_connect_timeout)"));
	for (int i = 0; i < 9; i++)
		db_value(c[i], "commit");
}

static void hosts_take_turns(void **state)
{
	struct pg *second = pg_start(NULL);
	struct bouncer *b = start(e2e_text("app = host=127.0.0.1,127.0.0.1 port={pg},%d dbname=postgres pool_size=8",
					  pg_port(second)),
		"");
	const char *port = e2e_text("%d", pg_port(second));
	int here = 0;

	(void)state;
	for (int i = 0; i < 8; i++) {
		PGconn *c = client(b, "app");

		db_value(c, "begin");
		here += strcmp(db_value(c, "show port"), port) != 0;
	}
	assert_int_equal(here, 4);
	pg_stop(second);
}

static void names_are_resolved(void **state)
{
	struct bouncer *b = start("app = host=localhost port={pg} dbname=postgres\n"
				  "both = host=no-such-host.invalid,localhost port={pg} dbname=postgres\n"
				  "none = host=no-such-host.invalid port={pg} dbname=postgres",
		"server_connect_timeout = 3");

	(void)state;
	assert_string_equal(db_value(client(b, "app"), "select 1"), "1");
	assert_string_equal(bouncer_value(b, "SERVERS", "database", "app", "addr"), "127.0.0.1");
	assert_string_equal(db_value(client(b, "both"), "select 1"), "1");
	refused(b, "none", "57P03", ""); /* no such name, or no name server that says so */
}

/* Databases without an entry of their own. */
static void the_fallback_entry(void **state)
{
	struct bouncer *b = start("* = host=127.0.0.1 port={pg}\napp = " AT, "");

	(void)state;
	assert_string_equal(db_value(client(b, "app"), "select current_database()"), "postgres");
	assert_string_equal(db_value(client(b, "template1"), "select current_database()"), "template1");
	refused(b, "nowhere", "3D000", "database \"nowhere\" does not exist");
	assert_string_equal(bouncer_value(b, "DATABASES", "name", "template1", "database"), "template1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(server_lifetime),
		e2e_test(server_idle_timeout),
		e2e_test(server_check_query),
		e2e_test(a_server_that_hangs),
		e2e_test(server_connect_timeout),
		e2e_test(server_login_retry),
		e2e_test(servers_that_come_back),
		e2e_test(a_dead_host_in_a_list),
		e2e_test(a_mute_host_in_a_list),
		e2e_test(hosts_take_turns),
		e2e_test(names_are_resolved),
		e2e_test(the_fallback_entry),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
