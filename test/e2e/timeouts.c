/*
 * timeouts: how long clients and queries may last, each with the words that the
 * client is told, and what becomes of the server behind them.
 */
#include <stdio.h>
#include <stdlib.h>
#include "lib/e2e.h"

#define AT "host=127.0.0.1 port={pg} dbname=postgres"

static struct bouncer *start(const char *databases, const char *users, const char *settings)
{
	return bouncer_start(&(struct bouncer_options){.databases = databases,
		.users = users,
		.settings = e2e_text("auth_type = trust\ndefault_pool_size = 1\n%s", settings)});
}

static PGconn *client(struct bouncer *b, const char *database, const char *user)
{
	return db_connect("%s dbname=%s user=%s", bouncer_dsn(b), database, user);
}

/* A client that reads bytes, since libpq looks at nothing while it is idle. */
static int raw_client(struct bouncer *b, const char *user)
{
	int fd = raw_connect(bouncer_port(b), NULL);
	char *payload, type;
	size_t n;

	assert_true(raw_startup(fd, "user", user, "database", "app", NULL));
	do
		type = raw_read(fd, &payload, &n);
	while (type != 'Z' && type != 0 && type != 'E');
	assert_int_equal(type, 'Z');
	return fd;
}

static void send_query(int fd, const char *sql)
{
	assert_true(raw_message(fd, 'Q', sql, strlen(sql) + 1));
}

/* The query's answer, up to its ReadyForQuery. */
static void take_answer(int fd)
{
	char *payload, type;
	size_t n;

	do {
		type = raw_read(fd, &payload, &n);
		if (type == 'E' || type == 0)
			fail_msg("%s", type ? raw_field(payload, n, 'M') : "closed");
	} while (type != 'Z');
}

/* The next thing it is told is this, and that was the last. */
static void ends_with(int fd, const char *code, const char *text)
{
	char *payload;
	size_t n;

	assert_int_equal(raw_read(fd, &payload, &n), 'E');
	assert_string_equal(raw_field(payload, n, 'S'), "FATAL");
	assert_string_equal(raw_field(payload, n, 'C'), code);
	assert_string_equal(raw_field(payload, n, 'M'), text);
	assert_string_equal(raw_field(payload, n, 'R'), "psbouncer");
	assert_true(raw_closed(fd, 0));
}

/* How many sessions of the user are on the server in this state. */
static bool there_are(const char *n, const char *user, const char *state)
{
	return strcmp(pg_value(pg_shared(),
			      "select count(*) from pg_stat_activity where usename = '%s' and state like '%s'", user,
			      state),
		       n) == 0;
}

static void sleeps(const char *user)
{
	WAIT_UNTIL(strcmp(pg_value(pg_shared(),
				  "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and "
				  "usename = '%s'",
				  user),
			   "1") == 0);
}

/*
 * A limit is set when the case has come to the state that it is about: the way there takes as long as it takes.
 */
static void set(struct bouncer *b, const char *name, const char *value)
{
	bouncer_command(b, e2e_text("set %s = %s", name, value));
}

/* ---- waiting for a server ------------------------------------------------------------------ */

static bool begins(PGconn *c)
{
	if (PQresultStatus(db_keep(PQexec(c, "begin"))) == PGRES_COMMAND_OK)
		return true;
	PQreset(c);
	return false;
}

static void query_wait_timeout(void **state)
{
	struct bouncer *b =
		start("app = " AT "\nslow = " AT " query_wait_timeout=1000", "app_plain = query_wait_timeout=1", "");
	PGconn *holder = client(b, "app", "app_scram"), *c = client(b, "app", "app_scram"), *slow;
	PGresult *r;

	(void)state;
	db_value(holder, "begin");
	set(b, "query_wait_timeout", "0.2");
	assert_true(PQsendQuery(c, "select 1"));
	r = db_result(c);
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57P03");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SEVERITY), "FATAL");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "query_wait_timeout");
	assert_non_null(strstr(PQresultErrorField(r, PG_DIAG_MESSAGE_HINT), "pool_size"));
	WAIT_UNTIL(bouncer_logged(b, "closing because: query_wait_timeout (age="));
	/* Nothing has become of who had the server. */
	db_value(holder, "select 1");
	/* The entry of a database, and the user's above it: one has come and gone while the other waits. */
	holder = client(b, "slow", "app_scram");
	db_value(holder, "begin");
	slow = client(b, "slow", "app_scram");
	assert_true(PQsendQuery(slow, "select 'had'"));
	c = client(b, "slow", "app_plain");
	WAIT_UNTIL(begins(c));
	assert_string_equal(db_error(client(b, "slow", "app_plain"), "select 1"), "57P03");
	assert_true(PQconsumeInput(slow));
	assert_true(PQisBusy(slow));
	db_value(holder, "commit");
	assert_string_equal(PQgetvalue(db_result(slow), 0, 0), "had");
}

static void note(void *arg, const PGresult *r)
{
	int *n = arg;

	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
		"No server connection available in postgres backend, client being queued");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SEVERITY), "NOTICE");
	++*n;
}

/* A NOTICE once a wait, and not before the login is over. */
static void query_wait_notify(void **state)
{
	struct bouncer *b = start(NULL, NULL, "query_wait_notify = 0.1");
	PGconn *holder = client(b, "app", "app_scram"), *c = client(b, "app", "app_scram");
	int noted = 0;

	(void)state;
	PQsetNoticeReceiver(c, note, &noted);
	for (int i = 1; i <= 2; i++) {
		db_value(holder, "begin");
		assert_true(PQsendQuery(c, "select 'had'"));
		WAIT_UNTIL(PQconsumeInput(c) && PQisBusy(c) && noted == i);
		db_value(holder, "commit");
		assert_string_equal(PQgetvalue(db_result(c), 0, 0), "had");
		assert_null(db_result(c));
		assert_int_equal(noted, i);
	}
	db_value(c, "select 1");
	assert_int_equal(noted, 2);
}

/* ---- clients ---------------------------------------------------------------------------------- */

static void client_login_timeout(void **state)
{
	struct bouncer *b =
		bouncer_start(&(struct bouncer_options){.settings = "tcp_defer_accept = 0\nauth_type = plain"});
	PGconn *c = client(b, "app", "app_scram");
	int silent = raw_connect(bouncer_port(b), NULL), half = raw_connect(bouncer_port(b), NULL),
	    started = raw_connect(bouncer_port(b), NULL);
	char *payload;
	size_t n;

	(void)state;
	assert_true(raw_send(half, "\0\0\0\100\0\3", 6));
	assert_true(raw_startup(started, "user", "app_scram", "database", "app", NULL));
	assert_int_equal(raw_read(started, &payload, &n), 'R');
	/* The console's own login is subject to it too. */
	bouncer_console(b);
	set(b, "client_login_timeout", "0.3");
	ends_with(silent, "57014", "client_login_timeout");
	ends_with(half, "57014", "client_login_timeout");
	ends_with(started, "57014", "client_login_timeout");
	assert_string_equal(db_value(c, "select 1"), "1");
	assert_int_equal(bouncer_number(b, "LISTS", "list", "login_clients", "items"), 0);
}

static void client_idle_timeout(void **state)
{
	struct bouncer *b = start(NULL, "app_plain = client_idle_timeout=1000", "");
	int fresh = raw_client(b, "app_scram"), used = raw_client(b, "app_scram"), busy = raw_client(b, "app_trust"),
	    other = raw_client(b, "app_plain");

	(void)state;
	send_query(used, "select 1");
	take_answer(used);
	/* Inside of a transaction it is another limit. */
	send_query(busy, "begin");
	take_answer(busy);
	set(b, "client_idle_timeout", "0.3");
	ends_with(fresh, "57P05", "client_idle_timeout");
	ends_with(used, "57P05", "client_idle_timeout");
	send_query(busy, "commit");
	take_answer(busy);
	ends_with(busy, "57P05", "client_idle_timeout");
	send_query(other, "select 1");
	take_answer(other);
}

/* In session mode a client that has its server is idle all the same, between its transactions. */
static void client_idle_timeout_in_session_mode(void **state)
{
	struct bouncer *b = start(NULL, NULL, "pool_mode = session");
	int fd = raw_client(b, "app_scram");

	(void)state;
	send_query(fd, "select pg_sleep(0.8)");
	set(b, "client_idle_timeout", "0.2");
	take_answer(fd);
	ends_with(fd, "57P05", "client_idle_timeout");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "sv_idle") == 1);
}

static void idle_transaction_timeout(void **state)
{
	struct bouncer *b = start(NULL, "app_plain = idle_transaction_timeout=1000", "");
	PGconn *c = client(b, "app", "app_scram");
	const char *pid = db_value(c, "select pg_backend_pid()");
	int fd = raw_client(b, "app_scram"), other = raw_client(b, "app_plain");
	char *payload;
	size_t n;

	(void)state;
	send_query(other, "begin");
	take_answer(other);
	send_query(fd, "begin");
	take_answer(fd);
	/* A query that runs is not idle. */
	send_query(fd, "select pg_sleep(0.8)");
	set(b, "idle_transaction_timeout", "0.3");
	take_answer(fd);
	ends_with(fd, "25P03", "idle transaction timeout");
	/* Its server is rolled back and used again. */
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
	/* An aborted one counts as well. */
	set(b, "idle_transaction_timeout", "0");
	fd = raw_client(b, "app_scram");
	send_query(fd, "begin");
	take_answer(fd);
	send_query(fd, "select 1 / 0");
	assert_int_equal(raw_read(fd, &payload, &n), 'E');
	assert_int_equal(raw_read(fd, &payload, &n), 'Z');
	set(b, "idle_transaction_timeout", "0.3");
	ends_with(fd, "25P03", "idle transaction timeout");
	WAIT_UNTIL(there_are("0", "app_scram", "idle in transaction%"));
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	send_query(other, "commit");
	take_answer(other);
}

static void transaction_timeout(void **state)
{
	struct bouncer *b = start(NULL, "app_plain = transaction_timeout=1000", "");
	PGconn *c = client(b, "app", "app_scram");
	const char *pid = db_value(c, "select pg_backend_pid()");
	int fd = raw_client(b, "app_scram"), other = raw_client(b, "app_plain");

	(void)state;
	send_query(other, "begin");
	take_answer(other);
	send_query(fd, "begin");
	take_answer(fd);
	send_query(fd, "select 1");
	take_answer(fd);
	set(b, "transaction_timeout", "0.3");
	ends_with(fd, "25P04", "transaction timeout");
	/* In the middle of a query, which is cancelled. */
	set(b, "transaction_timeout", "0");
	fd = raw_client(b, "app_scram");
	send_query(fd, "select pg_sleep(1000)");
	sleeps("app_scram");
	set(b, "transaction_timeout", "0.3");
	ends_with(fd, "25P04", "transaction timeout");
	set(b, "transaction_timeout", "0");
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	send_query(other, "commit");
	take_answer(other);
}

static void query_timeout(void **state)
{
	struct bouncer *b = start(NULL, "app_plain = query_timeout=1000", "");
	PGconn *c = client(b, "app", "app_scram"), *other = client(b, "app", "app_plain");
	const char *pid = db_value(c, "select pg_backend_pid()");
	PGresult *r;

	(void)state;
	assert_true(PQsendQuery(other, "select 'slept', pg_sleep(1)"));
	assert_true(PQsendQuery(c, "select pg_sleep(1000)"));
	sleeps("app_scram");
	set(b, "query_timeout", "0.3");
	r = db_result(c);
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "query timeout");
	WAIT_UNTIL(there_are("0", "app_scram", "active"));
	/* In the middle of a result, between two rows of it. */
	c = client(b, "app", "app_scram");
	r = db_keep(PQexec(c, "select repeat('x', 1000), pg_sleep(0.01) from generate_series(1, 100000)"));
	assert_int_equal(PQresultStatus(r), PGRES_FATAL_ERROR);
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
	WAIT_UNTIL(there_are("0", "app_scram", "active"));
	set(b, "query_timeout", "0");
	assert_string_equal(db_value(client(b, "app", "app_scram"), "select pg_backend_pid()"), pid);
	assert_string_equal(PQgetvalue(db_result(other), 0, 0), "slept");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(query_wait_timeout),
		e2e_test(query_wait_notify),
		e2e_test(client_login_timeout),
		e2e_test(client_idle_timeout),
		e2e_test(client_idle_timeout_in_session_mode),
		e2e_test(idle_transaction_timeout),
		e2e_test(transaction_timeout),
		e2e_test(query_timeout),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
