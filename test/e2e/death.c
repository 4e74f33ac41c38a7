/*
 * death: servers and clients that end, vanish, hang or talk nonsense at each
 * stage of their lives: it costs them alone, and what it costs is said.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/e2e.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(text) (text), sizeof(text) - 1

/* ---- in few words ---- */

static struct bouncer *start(const char *settings)
{
	return bouncer_start(&(struct bouncer_options){.settings = settings});
}

/* In front of another server than the shared one. */
static struct bouncer *start_for(struct pg *p, const char *settings)
{
	return bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres", pg_port(p)),
		.settings = settings});
}

static PGconn *client(struct bouncer *b)
{
	return db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
}

static void ask(PGconn *c, const char *sql)
{
	if (!PQsendQuery(c, sql))
		fail_msg("%s: %s", sql, PQerrorMessage(c));
}

/* The one error of what was asked. */
static void fails_with(PGconn *c, const char *code, const char *text)
{
	PGresult *r = db_result(c);

	while (r && PQresultStatus(r) != PGRES_FATAL_ERROR)
		r = db_result(c);
	assert_non_null(r);
	if (!PQresultErrorField(r, PG_DIAG_SQLSTATE))
		fail_msg("no SQLSTATE: %s", PQresultErrorMessage(r));
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), code);
	if (text)
		assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), text);
	while (db_result(c))
		;
}

/* What was asked works; the first value of it. */
static const char *value_of(PGconn *c)
{
	PGresult *r = db_result(c);

	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail_msg("%s", PQresultErrorMessage(r));
	assert_null(db_result(c));
	return PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "";
}

static const char *pid_of(PGconn *c)
{
	return db_value(c, "select pg_backend_pid()");
}

/* The end of a client without a Terminate. */
static void vanish(PGconn *c)
{
	shutdown(PQsocket(c), SHUT_RDWR);
	db_close(c);
}

static long list(struct bouncer *b, const char *name)
{
	return bouncer_number(b, "LISTS", "list", name, "items");
}

static long pool(struct bouncer *b, const char *column)
{
	return bouncer_number(b, "POOLS", "database", "app", column);
}

static void hold_lock(struct pg *p)
{
	pg_value(p, "select pg_advisory_lock(1)");
}

static void release_lock(struct pg *p)
{
	pg_value(p, "select pg_advisory_unlock(1)");
}

static const char on_lock[] = "select pg_advisory_xact_lock(1)";

static void wait_until_on_lock(struct pg *p)
{
	WAIT_UNTIL(atoi(pg_value(p, "select count(*) from pg_locks where locktype = 'advisory' and not granted")) > 0);
}

static bool backend_is(struct pg *p, const char *pid, const char *state)
{
	return strcmp(pg_value(p, "select state from pg_stat_activity where pid = %s", pid), state) == 0;
}

static void terminate_backend(struct pg *p, const char *pid)
{
	assert_string_equal(pg_value(p, "select pg_terminate_backend(%s)", pid), "t");
}

/* ---- servers that end ---- */

static const char terminated[] = "terminating connection due to administrator command";
static const char maybe_committed[] = "server connection lost: it may have been committed";
static const char not_committed[] = "server connection lost: nothing of it was or will be committed";

static void an_idle_server_is_replaced(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = client(b);
	const char *pid = pid_of(c);

	(void)state;
	for (int i = 0; i < 5; i++) {
		terminate_backend(pg_shared(), pid);
		WAIT_UNTIL(list(b, "used_servers") == 0);
		assert_string_not_equal(pid_of(c), pid);
		pid = pid_of(c);
	}
	WAIT_UNTIL(bouncer_logged(b, e2e_text("closing because: %s", terminated)));
}

static void a_server_that_ends_in_a_query(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = client(b), *other = client(b);
	const char *pid = pid_of(c);

	(void)state;
	hold_lock(pg_shared());
	ask(c, on_lock);
	wait_until_on_lock(pg_shared());
	terminate_backend(pg_shared(), pid);
	fails_with(c, "08007", maybe_committed);
	release_lock(pg_shared());
	assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
	assert_string_not_equal(pid_of(c), pid);
	db_value(other, "select 1");
	WAIT_UNTIL(pool(b, "cl_active") == 2);
}

/* server_lost = close: the server's own words, and the end of the connection. */
static void a_server_that_takes_its_client_along(void **state)
{
	struct bouncer *b = start("server_lost = close");
	PGconn *c = client(b), *other = client(b);
	const char *pid = pid_of(c);

	(void)state;
	hold_lock(pg_shared());
	ask(c, on_lock);
	wait_until_on_lock(pg_shared());
	terminate_backend(pg_shared(), pid);
	fails_with(c, "57P01", terminated);
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
	release_lock(pg_shared());
	db_value(other, "select 1");
	WAIT_UNTIL(pool(b, "cl_active") == 1);
}

/* What a client has heard of its transaction is what PostgreSQL has made of it. */
static void a_server_that_ends_while_a_transaction_is_idle(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = client(b);

	(void)state;
	pg_value(pg_shared(), "set client_min_messages = warning; drop table if exists orphaned; create table "
			      "orphaned (n int); grant all on orphaned to public");
	for (int i = 0; i < 3; i++) {
		static const char *const ends[] = {"rollback", "commit", "select 1"};

		db_value(c, "begin");
		db_value(c, "insert into orphaned values (1)");
		terminate_backend(pg_shared(), pid_of(c));
		WAIT_UNTIL(list(b, "used_servers") == 0);
		if (i == 0)
			db_value(c, "%s", ends[i]);
		else
			assert_string_equal(db_error(c, ends[i]), "08006");
		assert_int_equal(PQtransactionStatus(c), i == 2 ? PQTRANS_INERROR : PQTRANS_IDLE);
	}
	assert_string_equal(db_error(c, "select 1"), "25P02");
	/* This one needs a server. */
	assert_string_equal(db_value(c, "rollback; select count(*) from orphaned"), "0");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
}

static void a_server_that_ends_in_a_transaction(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = client(b), *other = client(b);

	(void)state;
	db_value(c, "begin");
	terminate_backend(pg_shared(), pid_of(c));
	WAIT_UNTIL(list(b, "used_servers") == 0);
	assert_string_equal(db_error(c, "select 1"), "08006");
	assert_string_equal(db_error_text(c), not_committed);
	assert_int_equal(PQtransactionStatus(c), PQTRANS_INERROR);
	assert_string_equal(db_error(c, "select 1"), "25P02");
	db_value(c, "commit");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
	db_value(c, "select 1");
	db_value(other, "select 1");
}

static void a_server_that_ends_in_a_copy(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *in = client(b), *out = client(b);
	PGresult *r;
	char row[1001], *text = NULL;

	(void)state;
	memset(row, 'x', 999);
	row[999] = '\n';
	row[1000] = '\0';
	pg_value(pg_shared(),
		"set client_min_messages = warning; drop table if exists ended; create table ended (t text); grant all on ended to public");
	db_value(in, "begin");
	pid_of(in);
	r = db_keep(PQexec(in, "copy ended from stdin"));
	assert_int_equal(PQresultStatus(r), PGRES_COPY_IN);
	assert_int_equal(PQputCopyData(in, row, 1000), 1);
	assert_int_equal(PQflush(in), 0);
	terminate_backend(pg_shared(),
		pg_value(pg_shared(), "select pid from pg_stat_activity where query like 'copy ended%%'"));
	WAIT_UNTIL(list(b, "used_servers") == 0);
	for (int i = 0; i < 1000 && PQputCopyData(in, row, 1000) == 1 && PQflush(in) == 0; i++)
		;
	PQputCopyEnd(in, NULL);
	r = db_result(in);
	assert_int_equal(PQresultStatus(r), PGRES_FATAL_ERROR);
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "08006");
	while (db_result(in))
		;
	assert_int_equal(PQtransactionStatus(in), PQTRANS_INERROR);
	db_value(in, "rollback");
	ask(out, "copy (select repeat('x', 1000) from generate_series(1, 200000)) to stdout");
	r = db_result(out);
	assert_int_equal(PQresultStatus(r), PGRES_COPY_OUT);
	assert_true(PQgetCopyData(out, &text, 0) > 0);
	PQfreemem(text);
	terminate_backend(pg_shared(),
		pg_value(pg_shared(), "select pid from pg_stat_activity where state = 'active' and "
				      "query like 'copy (select repeat%%'"));
	while (PQgetCopyData(out, &text, 0) > 0)
		PQfreemem(text);
	assert_int_equal(PQresultStatus(db_result(out)), PGRES_FATAL_ERROR);
	while (db_result(out))
		;
	/* In the middle of a row, as a rule: then there is no place for an error. */
	if (PQstatus(out) == CONNECTION_OK)
		db_value(out, "select 1");
	db_value(client(b), "select 1");
	assert_int_equal(atoi(pg_value(pg_shared(), "select count(*) from ended")), 0);
}

/* All at once: the whole server ends, in both ways, and comes back. */
static void a_server_that_is_stopped_and_comes_back(void **state)
{
	struct pg *p = pg_start(NULL);
	struct bouncer *b = start_for(p, "server_login_retry = 0.1");
	PGconn *idle = client(b), *xact = client(b), *query = client(b), *fresh;

	(void)state;
	for (int immediate = 0; immediate < 2; immediate++) {
		db_value(xact, "begin");
		db_value(xact, "create temporary table t (n int)");
		hold_lock(p);
		ask(query, on_lock);
		wait_until_on_lock(p);
		if (immediate)
			pg_crash(p);
		else
			pg_restart(p);
		/* The immediate end is told by a warning and an end of file (postgres.c, quickdie). */
		fails_with(query, "08007", maybe_committed);
		assert_string_equal(db_error(xact, "select 1"), "08006");
		if (immediate) {
			WAIT_UNTIL(list(b, "used_servers") == 0);
			assert_string_equal(db_error(idle, "select 1"), "57P03");
			assert_non_null(strstr(db_error_text(idle), "server login has been failing, cached error: "));
			assert_non_null(strstr(db_error_text(idle), "(server_login_retry)"));
			idle = client(b); /* what to greet it with is known */
			pg_restart(p);
		}
		/* It is tried again, and the same client is served. */
		WAIT_UNTIL((fresh = db_try("%s dbname=app user=app_scram", bouncer_dsn(b)),
			PQresultStatus(db_keep(PQexec(fresh, "select 1"))) == PGRES_TUPLES_OK));
		assert_string_equal(db_value(idle, "select 'same'"), "same");
		query = client(b);
		xact = client(b);
	}
	pg_stop(p);
}

static void a_backend_that_is_killed_takes_the_others_with_it(void **state)
{
	struct pg *p = pg_start(NULL);
	struct bouncer *b = start_for(p, "server_login_retry = 0.1");
	PGconn *victim = client(b), *query = client(b), *idle = client(b), *fresh;
	const char *pid;

	(void)state;
	db_value(victim, "begin");
	pid = pid_of(victim);
	hold_lock(p);
	ask(query, on_lock);
	wait_until_on_lock(p);
	assert_int_equal(kill(atoi(pid), SIGKILL), 0);
	fails_with(query, "08007", maybe_committed);
	assert_string_equal(db_error(victim, "select 1"), "08006");
	assert_string_equal(db_error_text(victim), not_committed);
	WAIT_UNTIL((fresh = db_try("%s dbname=app user=app_scram", bouncer_dsn(b)),
		PQresultStatus(db_keep(PQexec(fresh, "select 1"))) == PGRES_TUPLES_OK));
	if (PQstatus(idle) == CONNECTION_OK)
		db_value(idle, "select 1");
	pg_stop(p);
}

static void a_server_that_is_not_there(void **state)
{
	int port = e2e_port();
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres\n"
				      "local = host=/nowhere/at/all port=5432\n"
				      "name = host=no.such.name.invalid\n"
				      "nodb = host=127.0.0.1 port={pg} dbname=nowhere",
			port)});

	(void)state;
	assert_string_equal(db_refused("%s dbname=app user=app_scram", bouncer_dsn(b)), "57P03");
	assert_string_equal(db_error_text(NULL),
		e2e_text("server login has been failing, cached error: connect to 127.0.0.1:%d: Connection refused "
			 "(server_login_retry)",
			port));
	assert_string_equal(db_refused("%s dbname=local user=app_scram", bouncer_dsn(b)), "57P03");
	assert_non_null(strstr(db_error_text(NULL), "No such file or directory"));
	assert_string_equal(db_refused("%s dbname=name user=app_scram", bouncer_dsn(b)), "57P03");
	assert_non_null(strstr(db_error_text(NULL), "cannot resolve \"no.such.name.invalid\""));
	/* The server's own code, when it has sent one. */
	assert_string_equal(db_refused("%s dbname=nodb user=app_scram", bouncer_dsn(b)), "3D000");
	assert_non_null(strstr(db_error_text(NULL), "database \"nowhere\" does not exist"));
}

/* ---- clients that leave ---- */

static void a_client_that_leaves_the_queue(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *c = client(b), *waits = client(b), *next = client(b);

	(void)state;
	db_value(c, "begin");
	ask(waits, "create table never_made (n int)");
	WAIT_UNTIL(pool(b, "cl_waiting") == 1);
	ask(next, "select 'next'");
	WAIT_UNTIL(pool(b, "cl_waiting") == 2);
	vanish(waits);
	WAIT_UNTIL(pool(b, "cl_waiting") == 1);
	db_value(c, "commit");
	assert_string_equal(value_of(next), "next");
	assert_string_equal(db_value(next, "select to_regclass('never_made')"), "");
}

static void a_client_that_leaves_its_query(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *c = client(b), *next = client(b);
	const char *pid = pid_of(c);

	(void)state;
	hold_lock(pg_shared());
	ask(c, on_lock);
	wait_until_on_lock(pg_shared());
	vanish(c);
	/* It is cancelled, and the same server serves on. */
	WAIT_UNTIL(backend_is(pg_shared(), pid, "idle"));
	assert_string_equal(pid_of(next), pid);
	release_lock(pg_shared());
	assert_int_equal(list(b, "used_servers"), 1);
}

static void a_client_that_leaves_its_transaction(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *c = client(b), *next = client(b);
	const char *pid = pid_of(c);

	(void)state;
	db_value(c, "begin");
	db_value(c, "create table never_made (n int)");
	vanish(c);
	assert_string_equal(pid_of(next), pid);
	assert_string_equal(db_value(next, "select to_regclass('never_made')"), "");
	/* The polite end is no different. */
	c = client(b);
	db_value(c, "begin");
	db_value(c, "create table never_made (n int)");
	db_close(c);
	assert_string_equal(pid_of(next), pid);
	assert_string_equal(db_value(next, "select to_regclass('never_made')"), "");
}

static void a_client_that_leaves_a_copy(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *c = client(b), *next = client(b);
	const char *pid = pid_of(c);
	char *text = NULL;

	(void)state;
	pg_value(pg_shared(),
		"set client_min_messages = warning; drop table if exists copied; create table copied (t text); grant all on copied to public");
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, "copy copied from stdin"))), PGRES_COPY_IN);
	assert_int_equal(PQputCopyData(c, "row\n", 4), 1);
	assert_int_equal(PQflush(c), 0);
	vanish(c);
	assert_string_equal(pid_of(next), pid);
	assert_string_equal(db_value(next, "select count(*) from copied"), "0");
	c = client(b);
	ask(c, "copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout");
	assert_int_equal(PQresultStatus(db_result(c)), PGRES_COPY_OUT);
	assert_true(PQgetCopyData(c, &text, 0) > 0);
	PQfreemem(text);
	vanish(c);
	assert_string_equal(pid_of(next), pid);
}

/* Its commit waits for a lock: a trigger that runs at the end of the transaction asks for it. */
static void make_slow_commit(void)
{
	pg_value(pg_shared(),
		"set client_min_messages = warning; drop table if exists slow; create table slow (n int); grant all on slow to public; "
		"create or replace function slow_down() returns trigger language plpgsql as "
		"$$ begin perform pg_advisory_xact_lock(1); return null; end $$; "
		"create constraint trigger slow_down after insert on slow deferrable initially deferred "
		"for each row execute function slow_down()");
}

static void a_commit_is_not_cancelled(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *c = client(b), *next = client(b);
	const char *pid = pid_of(c);

	(void)state;
	make_slow_commit();
	hold_lock(pg_shared());
	db_value(c, "begin");
	db_value(c, "insert into slow values (1)");
	ask(c, "commit");
	wait_until_on_lock(pg_shared());
	vanish(c);
	WAIT_UNTIL(list(b, "used_clients") == 2);
	ask(next, "select count(*) from slow");
	WAIT_UNTIL(pool(b, "cl_waiting") == 1);
	assert_true(backend_is(pg_shared(), pid, "active"));
	release_lock(pg_shared());
	assert_string_equal(value_of(next), "1");
	assert_string_equal(pid_of(next), pid);
}

static void what_stands_before_a_terminate_is_done(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *next = client(b);
	int fd;
	char *payload, type;
	size_t n;

	(void)state;
	bouncer_command(b, "SET auth_type = trust");
	make_slow_commit();
	hold_lock(pg_shared());
	for (int polite = 1; polite >= 0; polite--) {
		fd = raw_connect(bouncer_port(b), NULL);
		raw_startup(fd, "user", "app_scram", "database", "app", NULL);
		do
			type = raw_read(fd, &payload, &n);
		while (type != 'Z');
		raw_message(fd, 'Q', "insert into slow values (2)", 28);
		if (polite)
			raw_message(fd, 'X', "", 0);
		wait_until_on_lock(pg_shared());
		raw_close(fd);
		/* The Terminate waits for what stands before it. */
		if (!polite)
			WAIT_UNTIL(list(b, "used_clients") == 2);
		if (polite)
			release_lock(pg_shared());
		/* The end of file alone is no Terminate: that one is cancelled. */
		assert_string_equal(db_value(next, "select count(*) from slow"), "1");
		if (polite)
			hold_lock(pg_shared());
	}
	release_lock(pg_shared());
}

static char *put_message(char *to, char type, const void *payload, size_t n)
{
	uint32_t len = htonl((uint32_t)n + 4);

	*to = type;
	memcpy(to + 1, &len, sizeof(len));
	memcpy(to + 5, payload, n);
	return to + 5 + n;
}

static void until_ready(int fd)
{
	char *payload, type;
	size_t n;

	do
		type = raw_read(fd, &payload, &n);
	while (type && type != 'Z');
	assert_int_equal(type, 'Z');
}

/* So much is prepared in front of the first of it, on another server, that the rest has to wait; by then the client has closed. */
static void what_waits_for_room_before_a_terminate_is_done(void **state)
{
	enum { STATEMENTS = 120 };
	struct bouncer *b = start("default_pool_size = 2\nauth_type = trust");
	static char text[2000], all[STATEMENTS * 100];
	char *to = all;
	int fd;

	(void)state;
	pg_value(pg_shared(),
		"set client_min_messages = warning; drop table if exists kept; create table kept (n int); grant all on kept to public");
	fd = raw_connect(bouncer_port(b), NULL);
	raw_startup(fd, "user", "app_scram", "database", "app", NULL);
	until_ready(fd);
	for (int i = 0; i < STATEMENTS; i++) {
		int n = snprintf(text, sizeof(text), "s%d%cselect %d -- %01000d", i, 0, i, 0);

		memset(text + n + 1, 0, 2);
		raw_message(fd, 'P', text, (size_t)n + 3);
		to = put_message(to, 'B', text, (size_t)snprintf(text, sizeof(text), "%cs%d", 0, i) + 7);
		memset(to - 6, 0, 6);
		to = put_message(to, 'E', "\0\0\0\0", 5);
	}
	raw_message(fd, 'S', "", 0);
	until_ready(fd);
	db_value(client(b), "begin; select 1"); /* that one has them all */
	to = put_message(to, 'S', "", 0);
	to = put_message(to, 'Q', "insert into kept values (1)", 28);
	to = put_message(to, 'X', "", 0);
	bouncer_signal(b, SIGSTOP);
	raw_send(fd, all, (size_t)(to - all));
	shutdown(fd, SHUT_WR);
	bouncer_signal(b, SIGCONT);
	WAIT_UNTIL(list(b, "used_clients") == 2);
	assert_string_equal(pg_value(pg_shared(), "select count(*) from kept"), "1");
}

static void a_cancel_on_leaving_can_be_switched_off(void **state)
{
	struct bouncer *b = start("cancel_on_client_disconnect = 0");
	PGconn *c = client(b), *next = client(b);
	const char *pid = pid_of(c);

	(void)state;
	pg_value(pg_shared(),
		"set client_min_messages = warning; drop table if exists kept; create table kept (n int); grant all on kept to public");
	hold_lock(pg_shared());
	ask(c, "insert into kept select 1 from (select pg_advisory_xact_lock(1)) l");
	wait_until_on_lock(pg_shared());
	vanish(c);
	/* Nobody waits for it, and it is not used again. */
	WAIT_UNTIL(list(b, "used_servers") == 0);
	assert_string_not_equal(pid_of(next), pid);
	assert_true(backend_is(pg_shared(), pid, "active"));
	release_lock(pg_shared());
	WAIT_UNTIL(strcmp(db_value(next, "select count(*) from kept"), "1") == 0);
}

/* ---- cancel requests ---- */

static void cancel(PGconn *c)
{
	PGcancel *cancel = PQgetCancel(c);
	char why[256];

	assert_non_null(cancel);
	if (!PQcancel(cancel, why, sizeof why))
		fail_msg("%s", why);
	PQfreeCancel(cancel);
}

static void a_query_is_cancelled(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = client(b), *sleeper = client(b);
	const char *pid = pid_of(c);

	(void)state;
	hold_lock(pg_shared());
	ask(c, on_lock);
	wait_until_on_lock(pg_shared());
	cancel(sleeper); /* idle: of no effect on anybody */
	cancel(c);
	fails_with(c, "57014", "canceling statement due to user request");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
	assert_string_equal(pid_of(c), pid);
	/* In a transaction. */
	db_value(c, "begin");
	ask(c, on_lock);
	wait_until_on_lock(pg_shared());
	cancel(c);
	fails_with(c, "57014", NULL);
	assert_int_equal(PQtransactionStatus(c), PQTRANS_INERROR);
	db_value(c, "rollback");
	release_lock(pg_shared());
	db_value(sleeper, "select 1");
}

static void a_query_that_waits_is_cancelled(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *c = client(b), *waits = client(b), *next = client(b);

	(void)state;
	db_value(c, "begin");
	ask(waits, "create table never_made (n int)");
	WAIT_UNTIL(pool(b, "cl_waiting") == 1);
	ask(next, "select 'next'");
	WAIT_UNTIL(pool(b, "cl_waiting") == 2);
	cancel(waits);
	fails_with(waits, "57014", NULL);
	assert_int_equal(PQstatus(waits), CONNECTION_OK);
	assert_int_equal(PQtransactionStatus(waits), PQTRANS_IDLE);
	assert_int_equal(pool(b, "cl_waiting"), 1);
	db_value(c, "commit");
	assert_string_equal(value_of(next), "next");
	assert_string_equal(db_value(waits, "select to_regclass('never_made')"), "");
}

static void a_cancel_hits_nobody_else(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *a = client(b), *others[2] = {client(b), client(b)};
	int hits = 0;

	(void)state;
	hold_lock(pg_shared());
	for (int i = 0; i < 150; i++) {
		bool on_time = i % 3 == 0;
		PGresult *r;

		/* Of a length that the cancel comes surely in it, probably in it, or behind it. */
		ask(a, on_time ? on_lock : i % 3 == 1 ? "select count(*) from generate_series(1, 20000)" : "select 1");
		for (size_t k = 0; k < LENGTH(others); k++)
			ask(others[k], e2e_text("select %d + count(*) from generate_series(1, 3000)", i));
		if (on_time)
			wait_until_on_lock(pg_shared());
		cancel(a);
		for (size_t k = 0; k < LENGTH(others); k++)
			assert_int_equal(atoi(value_of(others[k])), i + 3000);
		r = db_result(a);
		if (PQresultStatus(r) == PGRES_FATAL_ERROR) {
			assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014");
			hits++;
		} else {
			assert_false(on_time);
		}
		assert_null(db_result(a));
	}
	release_lock(pg_shared());
	assert_true(hits >= 50);
	assert_int_equal(list(b, "used_servers"), 1);
	/* With a key of nobody, of every length: the process id and 4 to 256 bytes, and some that are none. */
	for (uint32_t n = 0; n <= 270; n++) {
		uint32_t head[] = {htonl(8 + n), htonl(80877102)};
		char key[270] = "\1\2\3\4\5\6\7\10";
		int fd = raw_connect(bouncer_port(b), NULL);

		raw_send(fd, head, sizeof head);
		raw_send(fd, key, n);
		assert_true(raw_closed(fd, n < 8 || n > 260 ? 200 : 0));
		raw_close(fd);
	}
	db_value(a, "select 1");
}

/* A client by bytes, since libpq tells nobody its key: a CancelRequest for it in packet. */
static int client_with_key(int port, char packet[16])
{
	int fd = raw_connect(port, NULL);
	char *payload, type;
	size_t n;

	memcpy(packet, "\0\0\0\20\x04\xd2\x16\x2e", 8);
	assert_true(raw_startup(fd, "user", "app_scram", "database", "app", NULL));
	while ((type = raw_read(fd, &payload, &n)) != 'Z') {
		assert_true(type != 0 && type != 'E');
		if (type == 'K') {
			assert_int_equal(n, 8);
			memcpy(packet + 8, payload, 8);
		}
	}
	return fd;
}

static void send_text(int fd, const char *sql)
{
	assert_true(raw_message(fd, 'Q', sql, strlen(sql) + 1));
}

/* The SQLSTATE of its error, else the value of its row; up to ReadyForQuery. */
static char *answer_of(int fd)
{
	char *payload, *answer = e2e_text("nothing"), type;
	size_t n;

	while ((type = raw_read(fd, &payload, &n)) != 'Z') {
		assert_true(type != 0);
		if (type == 'E')
			answer = e2e_text("%s", raw_field(payload, n, 'C'));
		else if (type == 'D')
			answer = e2e_text("%.*s", (int)(n - 6), payload + 6);
	}
	return answer;
}

enum { VICTIMS = 50, BYSTANDERS = 30 };

/*
 * PostgreSQL forgets a cancel request that comes before it has begun the query,
 * and a client that waited may get its server at that very moment: such a one
 * asks again. Returns how often.
 */
static int ends_cancelled(struct bouncer *b, int fd, const char packet[16])
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = 0;

	for (; poll(&p, 1, 2000) == 0; n++) {
		int by = raw_connect(bouncer_port(b), NULL);

		assert_true(raw_send(by, packet, 16));
		assert_true(raw_closed(by, 0));
		raw_close(by);
	}
	assert_string_equal(answer_of(fd), "57014");
	return n;
}

/*
 * A hundred cancel requests at once: each of fifty clients, which run or wait, by way of its own process and by way of its
 * peer. Nobody else's query is hit, and each of the fifty by no more than one.
 */
static void a_hundred_cancels_hit_nobody_else(void **state)
{
	static char packets[VICTIMS][16];
	struct bouncer *b = start("auth_type = trust\ndefault_pool_size = 5\npeer_id = 258");
	struct bouncer *peer = bouncer_start(&(struct bouncer_options){
		.settings = "auth_type = trust\npeer_id = 2\ndefault_pool_size = 100",
		.users = e2e_text("\n[peers]\n258 = host=127.0.0.1 port=%d", bouncer_port(b))});
	int victim[VICTIMS], bystander[BYSTANDERS], by[2 * VICTIMS], again = 0;

	(void)state;
	for (int i = 0; i < VICTIMS; i++)
		victim[i] = client_with_key(bouncer_port(b), packets[i]);
	for (int i = 0; i < BYSTANDERS; i++)
		bystander[i] = client_with_key(bouncer_port(b), (char[16]){0});
	hold_lock(pg_shared());
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < VICTIMS; i++)
			send_text(victim[i], on_lock);
		WAIT_UNTIL(pool(b, "sv_active") == 5 && pool(b, "cl_waiting") == VICTIMS - 5);
		for (int i = 0; i < BYSTANDERS; i++)
			send_text(bystander[i],
				e2e_text("select %d + count(*) from generate_series(1, 3000)", i * 10000));
		for (int i = 0; i < 2 * VICTIMS; i++)
			by[i] = raw_connect(bouncer_port(i % 2 ? peer : b), NULL);
		for (int i = 0; i < 2 * VICTIMS; i++)
			assert_true(raw_send(by[i], packets[i / 2], 16));
		for (int i = 0; i < VICTIMS; i++)
			again += ends_cancelled(b, victim[i], packets[i]);
		for (int i = 0; i < BYSTANDERS; i++)
			assert_int_equal(atoi(answer_of(bystander[i])), i * 10000 + 3000);
		for (int i = 0; i < 2 * VICTIMS; i++) {
			assert_true(raw_closed(by[i], 0));
			raw_close(by[i]);
		}
		/* The second request of a pair has hit nothing that came later. */
		for (int i = 0; i < VICTIMS; i++)
			send_text(victim[i], e2e_text("select %d", i));
		for (int i = 0; i < VICTIMS; i++)
			assert_int_equal(atoi(answer_of(victim[i])), i);
	}
	assert_in_range(again, 0, VICTIMS / 10);
	release_lock(pg_shared());
}

/* ---- servers that talk nonsense ---- */

/* A listening socket in place of a server. */
static int fake_listen(int *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*port = ntohs(sin.sin_port);
	return fd;
}

/* The next connection of the pooler, with its startup packet read. */
static int fake_accept(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	struct timeval limit = {.tv_sec = 30};
	uint32_t size;
	char packet[1024];
	int fd;

	if (poll(&p, 1, 30000) != 1)
		fail_msg("no server connection was made");
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	assert_int_equal(recv(fd, &size, 4, MSG_WAITALL), 4);
	size = ntohl(size);
	assert_true(size > 8 && size <= sizeof packet);
	assert_int_equal(recv(fd, packet, size - 4, MSG_WAITALL), size - 4);
	return fd;
}

static void fake_login(int fd)
{
	raw_message(fd, 'R', BYTES("\0\0\0\0"));
	raw_message(fd, 'S', BYTES("server_version\00015.0\0"));
	raw_message(fd, 'S', BYTES("client_encoding\0UTF8\0"));
	raw_message(fd, 'K', BYTES("\0\0\0\1\0\0\0\2"));
	raw_message(fd, 'Z', BYTES("I"));
}

/* Databases app, app0, app1, ...: a pool whose server has failed takes its time, another one tries at once. */
static struct bouncer *start_fake(int *listener, const char *more)
{
	char *databases = e2e_text("%s", "");
	int port;

	*listener = fake_listen(&port);
	for (int i = 0; i < 20; i++)
		databases = e2e_text("%sapp%d = host=127.0.0.1 port=%d dbname=postgres\n", databases, i, port);
	return bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("%sapp = host=127.0.0.1 port=%d dbname=postgres\n"
				      "real = host=127.0.0.1 port={pg} dbname=postgres",
			databases, port),
		.users = "app_plain = query_timeout=30",
		.settings = e2e_text("auth_type = trust\nserver_tls_sslmode = disable\n%s", more)});
}

static int raw_client_of(struct bouncer *b, const char *database)
{
	int fd = raw_connect(bouncer_port(b), NULL);

	assert_true(fd >= 0);
	assert_true(raw_startup(fd, "user", "app_scram", "database", database, NULL));
	return fd;
}

static int raw_client(struct bouncer *b)
{
	return raw_client_of(b, "app");
}

/* A client whose query the server has just got. */
static int raw_query(struct bouncer *b, int listener, int *server)
{
	int fd = raw_client(b);
	char *payload;
	size_t n;

	/* Only the first one is greeted by a server's words. */
	assert_true(raw_message(fd, 'Q', "select 1", 9));
	*server = fake_accept(listener);
	fake_login(*server);
	assert_int_equal(raw_read(*server, &payload, &n), 'Q');
	return fd;
}

/* Reads up to a message of this type, which must come. */
static char *read_to(int fd, char wanted, size_t *n)
{
	char *payload = NULL, type;

	do {
		type = raw_read(fd, &payload, n);
		if (type == 0)
			fail_msg("closed before a message '%c' came", wanted);
	} while (type != wanted);
	return payload;
}

static void in_text(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

static void nonsense_instead_of_a_login(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *code, *text; /* that the client is told */
	} cases[] = {
		{BYTES("E\0\0\0\14Mno code\0\0"), "57P03", "cached error: "},
		{BYTES("E\0\0\0\5\0"), "57P03", "cached error: "},
		{BYTES("E\0\0\0\43SFATAL\0C53300\0Msorry, too many\0\0"), "53300", "cached error: sorry, too many ("},
		{BYTES("D\0\0\0\6\0\0"), "57P03", "unexpected DataRow during the login"},
		{BYTES("y\0\0\0\4"), "57P03", "invalid backend message type 121"},
		{BYTES("R\0\0\0\3"), "57P03", "invalid length"},
		{BYTES("R\0\0\0\10\0\0\0\143"), "28000", "authentication method 99, which is not supported"},
		{BYTES("R\0\0\0\10\0\0\0\5"), "57P03", "AuthenticationMD5Password"},
		{BYTES("R\0\0\0\14\0\0\0\13r=x,"), "57P03", "a SASL message that nothing asked for"},
		{BYTES("R\0\0\0\27\0\0\0\12SCRAM-SHA-512\0\0"), "28P01", "cached error: "},
		{BYTES("S\0\0\0\10a\0b\0"), "57P03", "ParameterStatus before AuthenticationOk"},
		{BYTES("Z\0\0\0\5I"), "57P03", "ReadyForQuery before AuthenticationOk"},
		{BYTES("R\0\0\0\10\0\0\0\0Z\0\0\0\5T"), "57P03", "the server is not idle after the login"},
		{BYTES("R\0\0\0\10\0\0\0\0S\0\0\0\6a\0"), "57P03", "ParameterStatus"},
		{BYTES("R\0\0\0\10\0\0\0\0R\377\377\377\377"), "57P03", "invalid length"},
		{BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), "57P03", "cached error: "},
		{BYTES(""), "57P03", "cached error: "},
	};
	int listener, server, c;
	struct bouncer *b = start_fake(&listener, "");
	PGconn *real = db_connect("%s dbname=real user=app_scram", bouncer_dsn(b));
	char *payload;
	size_t n;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		c = raw_client_of(b, e2e_text("app%zu", i));
		server = fake_accept(listener);
		assert_true(raw_send(server, cases[i].bytes, cases[i].n));
		if (cases[i].n == 0)
			shutdown(server, SHUT_WR);
		payload = read_to(c, 'E', &n);
		in_text(raw_field(payload, n, 'M'), "server login has been failing, cached error: ");
		in_text(raw_field(payload, n, 'M'), cases[i].text);
		assert_string_equal(raw_field(payload, n, 'C'), cases[i].code);
		assert_string_equal(raw_field(payload, n, 'S'), "FATAL");
		assert_true(raw_closed(c, 0));
		assert_true(raw_closed(server, 4096));
		close(server);
		raw_close(c);
		db_value(real, "select 1");
	}
	close(listener);
	WAIT_UNTIL(list(b, "used_clients") == 2 && list(b, "used_servers") == 1);
}

/* A SASL exchange up to the server's first message, which begins with the nonce of the client. */
static const char *fake_nonce(int server)
{
	char *payload, *at;
	size_t n;

	assert_true(raw_message(server, 'R', BYTES("\0\0\0\12SCRAM-SHA-256\0\0")));
	assert_int_equal(raw_read(server, &payload, &n), 'p');
	at = memmem(payload, n, ",r=", 3);
	assert_non_null(at);
	return at + 3;
}

static void a_login_that_lasts(void **state)
{
	int listener, server, c;
	struct bouncer *b = start_fake(&listener, "");
	char *big = e2e_text("%*s", 70000, ""), *payload, *first;
	size_t n;

	(void)state;
	memset(big, 'a', 70000);
	for (int i = 0; i < 6; i++) {
		c = raw_client_of(b, e2e_text("app%d", i));
		server = fake_accept(listener);
		first = e2e_text("\1\1\1\013r=%s", fake_nonce(server));
		switch (i) {
		case 0: first = e2e_text("%s%.60000s,s=c2FsdA==,i=4096", first, big); break; /* 60 kB of nonce */
		case 1:
			first = e2e_text("%s%s,s=c2FsdA==,i=4096", first, big);
			break; /* more than a message may have */
		case 2: first = e2e_text("%sx,s=c2FsdA==,i=2147483647", first); break; /* hours of work */
		case 3: first = e2e_text("%sx,s=c2FsdA==,i=0", first); break;
		case 4:
			first = e2e_text("%s", "\1\1\1\013r=another,s=c2FsdA==,i=4096");
			break; /* not begun with ours */
		case 5: first = e2e_text("%sx,s=c2FsdA==,i=1", first); break;
		}
		n = strlen(first);
		memset(first, 0, 3);
		(void)raw_message(server, 'R', first, n);
		if (i == 5) { /* goes on as if the password were right, without a proof */
			assert_int_equal(raw_read(server, &payload, &n), 'p');
			fake_login(server);
		}
		payload = read_to(c, 'E', &n);
		in_text(raw_field(payload, n, 'M'), "server login has been failing, cached error: ");
		if (i == 5)
			in_text(raw_field(payload, n, 'M'), "did not prove that it knows the password");
		assert_true(strlen(raw_field(payload, n, 'M')) < 500);
		close(server);
		raw_close(c);
	}
	close(listener);
	WAIT_UNTIL(list(b, "used_clients") == 1 && list(b, "used_servers") == 0);
}

static void silence_during_the_login(void **state)
{
	static const char *const halves[] = {"", "R\0\0\0\10\0", "E\0\0\1"};
	static const size_t lengths[] = {0, 6, 4};

	(void)state;
	for (size_t i = 0; i < LENGTH(halves); i++) {
		int listener, server, c;
		struct bouncer *b = start_fake(&listener, "server_connect_timeout = 0.2");
		char *payload;
		size_t n;

		c = raw_client(b);
		server = fake_accept(listener);
		raw_send(server, halves[i], lengths[i]);
		payload = read_to(c, 'E', &n);
		in_text(raw_field(payload, n, 'M'), "connect timeout (server_connect_timeout)");
		assert_string_equal(raw_field(payload, n, 'C'), "57P03");
		assert_true(raw_closed(server, 4096));
		close(server);
		close(listener);
	}
}

static void nonsense_instead_of_an_answer(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *text;
	} cases[] = {
		{BYTES("E\0\0\0\22Mno code here\0\0"), "an error without an SQLSTATE"},
		{BYTES("y\0\0\0\4"), "invalid backend message type 121"},
		{BYTES("D\0\0\0\2"), "invalid length in message DataRow"},
		{BYTES("D\377\377\377\377"), "invalid length in message DataRow"},
		{BYTES("Z\0\0\0\5X"), "a ReadyForQuery with an unknown status"},
		{BYTES("R\0\0\0\10\0\0\0\0"), "a message that has no place after the login"},
		{BYTES("2\0\0\0\4"), "a reply that no request asked for"},
		{BYTES("S\0\0\0\10abcd"), "malformed ParameterStatus"},
		{BYTES("C\0\0\0\7abc"), "invalid name or tag in message CommandComplete"},
		{BYTES(""), "server conn crashed?"},
	};
	int listener, server, c;
	struct bouncer *b = start_fake(&listener, "server_lost = close");
	PGconn *real = db_connect("%s dbname=real user=app_scram", bouncer_dsn(b));
	char *payload;
	size_t n;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		c = raw_query(b, listener, &server);
		read_to(c, 'Z', &n);
		assert_true(raw_send(server, cases[i].bytes, cases[i].n));
		if (cases[i].n == 0)
			shutdown(server, SHUT_WR);
		payload = read_to(c, 'E', &n);
		assert_string_equal(raw_field(payload, n, 'M'), cases[i].text);
		assert_string_equal(raw_field(payload, n, 'C'), "08P01");
		assert_string_equal(raw_field(payload, n, 'S'), "FATAL");
		assert_string_equal(raw_field(payload, n, 'R'), "psbouncer");
		assert_true(raw_closed(c, 0));
		assert_true(raw_closed(server, 4096));
		close(server);
		raw_close(c);
		db_value(real, "select 1");
	}
	close(listener);
}

static void a_word_that_nobody_asked_for(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{BYTES("D\0\0\0\6\0\0")},
		{BYTES("Z\0\0\0\5I")},
		{BYTES("C\0\0\0\15SELECT 1\0")},
		{BYTES("y\0\0\0\4")},
		{BYTES("D\377\377\377\377")},
		{BYTES("E\0\0\0\22Mno code here\0\0")},
	};
	int listener, server, c;
	struct bouncer *b = start_fake(&listener, "");
	char *payload;
	size_t n;

	(void)state;
	c = raw_client(b);
	server = fake_accept(listener);
	fake_login(server);
	read_to(c, 'Z', &n);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		/* While it is idle: no client hears of it, and it is used no more. */
		assert_true(raw_send(server, cases[i].bytes, cases[i].n));
		assert_true(raw_closed(server, 4096));
		close(server);
		raw_message(c, 'Q', "select 1", 9);
		server = fake_accept(listener);
		fake_login(server);
		assert_int_equal(raw_read(server, &payload, &n), 'Q');
		raw_message(server, 'C', BYTES("SELECT 0\0"));
		raw_message(server, 'Z', BYTES("I"));
		assert_int_equal(raw_read(c, &payload, &n), 'C');
		assert_int_equal(raw_read(c, &payload, &n), 'Z');
		WAIT_UNTIL(pool(b, "sv_idle") == 1);
	}
	close(server);
	close(listener);
}

static void half_an_answer_and_silence(void **state)
{
	int listener, server, request = -1, c;
	struct bouncer *b = start_fake(&listener, "query_timeout = 0.2\nserver_connect_timeout = 2");
	PGconn *real = db_connect("%s dbname=real user=app_plain", bouncer_dsn(b));
	char *payload, row[4501] = "D\0\0\023\210"; /* of 5000 bytes: one that is not held until it is whole */
	size_t n;

	(void)state;
	for (int half = 0; half < 2; half++) {
		c = raw_query(b, listener, &server);
		read_to(c, 'Z', &n);
		if (half) {
			raw_send(server, row, sizeof(row));
			assert_true(raw_closed(c, sizeof(row))); /* nothing can be said inside a message */
		} else {
			payload = read_to(c, 'E', &n);
			assert_string_equal(raw_field(payload, n, 'M'), "query timeout");
			assert_string_equal(raw_field(payload, n, 'C'), "57014");
			request = fake_accept(listener); /* a cancel request, which is not answered either */
		}
		assert_true(raw_closed(server, 4096));
		close(server);
		raw_close(c);
		db_value(real, "select 1");
	}
	close(request);
	close(listener);
	WAIT_UNTIL(list(b, "used_clients") == 2);
}

/* ---- clients that talk nonsense ---- */

static void nonsense_instead_of_a_startup(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *code, *text;
	} cases[] = {
		{BYTES("\0\0\0\0"), "08P01", "invalid length of startup packet"},
		{BYTES("\0\0\0\7\0\3\0"), "08P01", "invalid length of startup packet"},
		{BYTES("\377\377\377\377"), "08P01", "invalid length of startup packet"},
		{BYTES("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "08P01", "invalid length of startup packet"},
		{BYTES("\26\3\1\2\0\1\0"), "08P01", "invalid length of startup packet"}, /* TLS where there is none */
		{BYTES("\0\0\0\10\0\2\0\0"), "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
		{BYTES("\0\0\0\10\0\1\0\0"), "0A000", "unsupported frontend protocol 1.0: server supports 3.0 to 3.2"},
		{BYTES("\0\0\0\11\0\4\0\0\0"), "0A000", "unsupported frontend protocol: server supports 3.0 to 3.2"},
		{BYTES("\0\0\0\10\0\3\0\0"), "08P01",
			"invalid startup packet layout: expected terminator as last byte"},
		{BYTES("\0\0\0\11\0\3\0\0\0"), "08P01", "no user name specified in startup packet"},
		{BYTES("\0\0\0\20\0\3\0\0user\0\0\0\0"), "08P01",
			"invalid startup packet layout: bytes after the terminator"},
		{BYTES("\0\0\0\16\0\3\0\0user\0\0"), "08P01",
			"invalid startup packet layout: expected terminator as last byte"},
		{BYTES("\0\0\0\17\0\3\0\0user\0ab"), "08P01",
			"invalid startup packet layout: expected terminator as last byte"},
		{BYTES("\0\0\0\17\0\3\0\0user\0\0\0"), "08P01", "no user name specified in startup packet"},
		{BYTES("\0\0\0\11\x04\xd2\x16\x2f\0"), "08P01", "invalid length of SSLRequest packet"},
		{BYTES("\0\0\0\11\x04\xd2\x16\x30\0"), "08P01", "invalid length of GSSENCRequest packet"},
		{BYTES("\0\0\0\10\x04\xd2\x16\x2e"), "08P01", "invalid length of cancel request packet"},
	};
	struct bouncer *b = start(NULL);
	PGconn *inside = client(b);
	char *payload;
	size_t n;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		int fd = raw_connect(bouncer_port(b), NULL);

		assert_true(raw_send(fd, cases[i].bytes, cases[i].n));
		payload = read_to(fd, 'E', &n);
		assert_string_equal(raw_field(payload, n, 'M'), cases[i].text);
		assert_string_equal(raw_field(payload, n, 'C'), cases[i].code);
		assert_string_equal(raw_field(payload, n, 'S'), "FATAL");
		assert_true(raw_closed(fd, 0));
		raw_close(fd);
		db_value(inside, "select 1");
	}
	/* The second request of its kind. */
	for (int gss = 0; gss < 2; gss++) {
		int fd = raw_connect(bouncer_port(b), NULL);
		const char *request = gss ? "\0\0\0\10\x04\xd2\x16\x30" : "\0\0\0\10\x04\xd2\x16\x2f";
		char answer;

		raw_send(fd, request, 8);
		assert_int_equal(recv(fd, &answer, 1, 0), 1);
		assert_int_equal(answer, 'N');
		raw_send(fd, request, 8);
		payload = read_to(fd, 'E', &n);
		assert_string_equal(raw_field(payload, n, 'M'), gss ? "a second GSSENCRequest" : "a second SSLRequest");
		assert_true(raw_closed(fd, 0));
	}
	WAIT_UNTIL(list(b, "login_clients") == 0);
}

static void nonsense_instead_of_a_password(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *code, *text; /* the text may go on */
	} cases[] = {
		{BYTES("Q\0\0\0\15select 1\0"), "08P01", "expected a password message"},
		{BYTES("S\0\0\0\4"), "08P01", "expected a password message"},
		{BYTES("~\0\0\0\4"), "08P01", "invalid frontend message type 126"},
		{BYTES("p\0\0\0\3"), "08P01", "invalid length in message PasswordMessage"},
		{BYTES("p\0\2\0\0"), "08P01", "invalid length in message PasswordMessage"},
		{BYTES("p\0\0\0\4"), "08P01", "malformed SASLInitialResponse"},
		{BYTES("p\0\0\0\10abcd"), "08P01", "malformed SASLInitialResponse"},
		{BYTES("p\0\0\0\26SCRAM-SHA-256\0\0\0\0\1"), "08P01", "malformed SASLInitialResponse"},
		{BYTES("p\0\0\0\30SCRAM-SHA-256\0\0\0\0\2xx"), "08P01", ""},
		{BYTES("p\0\0\0\34SCRAM-SHA-512\0\0\0\0\6n,,n=,"), "08P01", ""},
	};
	struct bouncer *b = start(NULL);
	char *payload;
	size_t n;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		int fd = raw_client(b);

		read_to(fd, 'R', &n);
		assert_true(raw_send(fd, cases[i].bytes, cases[i].n));
		payload = read_to(fd, 'E', &n);
		assert_string_equal(raw_field(payload, n, 'C'), cases[i].code);
		in_text(raw_field(payload, n, 'M'), cases[i].text);
		assert_string_not_equal(raw_field(payload, n, 'M'), "");
		assert_true(raw_closed(fd, 0));
		raw_close(fd);
	}
	db_value(client(b), "select 1");
}

static void nonsense_instead_of_a_query(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *text;
	} cases[] = {
		{BYTES("~\0\0\0\4"), "invalid frontend message type 126"},
		{BYTES("Z\0\0\0\5I"), "invalid frontend message type 90"},
		{BYTES("\0\0\0\0\0"), "invalid frontend message type 0"},
		{BYTES("Q\0\0\0\3"), "invalid length in message Query"},
		{BYTES("Q\377\377\377\377"), "invalid length in message Query"},
		{BYTES("p\0\0\0\5x"), ""},
	};
	struct bouncer *b = start("auth_type = trust\ndefault_pool_size = 1");
	PGconn *other = client(b);
	char *payload;
	size_t n;

	(void)state;
	/* Idle, and inside a transaction. */
	for (size_t i = 0; i < 2 * LENGTH(cases); i++) {
		int fd = raw_client(b);

		read_to(fd, 'Z', &n);
		if (i % 2) {
			raw_message(fd, 'Q', "begin", 6);
			read_to(fd, 'Z', &n);
		}
		assert_true(raw_send(fd, cases[i / 2].bytes, cases[i / 2].n));
		payload = read_to(fd, 'E', &n);
		assert_string_equal(raw_field(payload, n, 'C'), "08P01");
		assert_string_equal(raw_field(payload, n, 'S'), "FATAL");
		if (cases[i / 2].text[0])
			assert_string_equal(raw_field(payload, n, 'M'), cases[i / 2].text);
		assert_true(raw_closed(fd, 0));
		raw_close(fd);
		db_value(other, "select 1");
	}
	/* Copy data outside of a copy is ignored, as PostgreSQL does. */
	{
		int fd = raw_client(b);

		read_to(fd, 'Z', &n);
		raw_message(fd, 'd', "x", 1);
		raw_message(fd, 'c', "", 0);
		raw_message(fd, 'Q', "select 1", 9);
		read_to(fd, 'Z', &n);
	}
	WAIT_UNTIL(list(b, "used_clients") == 3 && list(b, "used_servers") == 1);
}

static void garbage_at_every_stage(void **state)
{
	static const char *const limits[] = {"client_login_timeout", "client_idle_timeout", "query_timeout"};
	struct bouncer *b =
		start("auth_type = trust\n"
		      "log_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 0\nmax_client_conn = 1000");
	unsigned seed = 12345;
	int n_open = 0;
	PGconn *c;

	(void)state;
	for (int i = 0; i < 300; i++) {
		char junk[64];
		int fd = i % 3 ? raw_client(b) : raw_connect(bouncer_port(b), NULL);
		size_t n;

		if (i % 3 == 2)
			read_to(fd, 'Z', &n);
		for (size_t k = 0; k < sizeof junk; k++) {
			seed = seed * 1103515245 + 12345;
			junk[k] = (char)(seed >> 16);
		}
		if (i % 2 && i % 3 == 2) { /* at least a type that is one */
			junk[0] = "QPBESDHCXdcfFp"[i % 14];
			junk[1] = junk[2] = junk[3] = 0;
		}
		raw_send(fd, junk, 1 + seed % sizeof junk);
		if (i % 5)
			raw_close(fd);
		else
			n_open++;
	}
	assert_true(n_open > 10);
	/* Those that stay, stay silent: their time is over some day. */
	for (size_t i = 0; i < LENGTH(limits); i++)
		bouncer_command(b, e2e_text("set %s = 0.2", limits[i]));
	WAIT_UNTIL(list(b, "used_clients") == 1);
	assert_int_equal(list(b, "login_clients"), 0);
	for (size_t i = 0; i < LENGTH(limits); i++)
		bouncer_command(b, e2e_text("set %s = 0", limits[i]));
	c = client(b);
	db_value(c, "select 1");
}

/* ---- half-open connections, slow readers ---- */

static void who_begins_and_falls_silent(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{BYTES("\0\0")}, {BYTES("\0\0\0\50\0\3\0\0user\0")}, {BYTES("\0\0\0\32\0\3\0\0user\0app_scram\0\0\0")}};
	struct bouncer *b = start("client_login_timeout = 0.2");
	char *payload, type;
	size_t n;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		int fd = raw_connect(bouncer_port(b), NULL);

		raw_send(fd, cases[i].bytes, cases[i].n);
		do
			type = raw_read(fd, &payload, &n);
		while (type == 'R');
		assert_int_equal(type, 'E');
		assert_string_equal(raw_field(payload, n, 'C'), "57014");
		assert_string_equal(raw_field(payload, n, 'M'), "client_login_timeout");
		assert_true(raw_closed(fd, 0));
	}
}

/* In kB. */
static long memory_of(struct bouncer *b)
{
	char text[4096], *at;
	FILE *f = fopen(e2e_text("/proc/%d/status", (int)bouncer_pid(b)), "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	at = strstr(text, "VmRSS:");
	assert_non_null(at);
	return atol(at + 6);
}

static void a_client_that_does_not_read(void **state)
{
	struct bouncer *b = start("auth_type = trust");
	PGconn *other = client(b);
	static char part[1 << 16];
	size_t n, total = 0;
	long before;
	ssize_t got;
	int fd = raw_client(b);

	(void)state;
	read_to(fd, 'Z', &n);
	db_value(other, "select 1");
	before = memory_of(b);
	raw_message(fd, 'Q', "select repeat('x', 1000) from generate_series(1, 200000)", 57);
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select wait_event from pg_stat_activity where query like "
						"'select repeat%%generate_series(1, 200000)'"),
			   "ClientWrite") == 0);
	for (int i = 0; i < 100; i++)
		db_value(other, "select 1");
	if (memory_of(b) - before > (e2e_sanitized() ? 65536 : 4096))
		fail_msg("%ld kB before, %ld kB now", before, memory_of(b));
	/* Nothing of it is lost. */
	while (total < 200000l * 1011) {
		got = recv(fd, part, sizeof part, 0);
		assert_true(got > 0);
		total += (size_t)got;
	}
	raw_message(fd, 'X', "", 0);
	while ((got = recv(fd, part, sizeof part, 0)) > 0)
		total += (size_t)got;
	assert_true(total < 200000l * 1011 + 200);
	WAIT_UNTIL(list(b, "used_clients") == 2);
}

static void a_client_that_does_not_read_and_leaves(void **state)
{
	struct bouncer *b = start("auth_type = trust\ndefault_pool_size = 1");
	PGconn *other = client(b);
	const char *pid = pid_of(other);
	int fd = raw_client(b);
	size_t n;

	(void)state;
	read_to(fd, 'Z', &n);
	raw_message(fd, 'Q', "select repeat('y', 1000) from generate_series(1, 200000)", 57);
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select wait_event from pg_stat_activity where pid = %s", pid),
			   "ClientWrite") == 0);
	raw_close(fd);
	/* Noticed although nothing of it is read. */
	assert_string_equal(pid_of(other), pid);
	assert_int_equal(list(b, "used_servers"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(an_idle_server_is_replaced),
		e2e_test(a_server_that_ends_in_a_query),
		e2e_test(a_server_that_takes_its_client_along),
		e2e_test(a_server_that_ends_while_a_transaction_is_idle),
		e2e_test(a_server_that_ends_in_a_transaction),
		e2e_test(a_server_that_ends_in_a_copy),
		e2e_test(a_server_that_is_stopped_and_comes_back),
		e2e_test(a_backend_that_is_killed_takes_the_others_with_it),
		e2e_test(a_server_that_is_not_there),
		e2e_test(a_client_that_leaves_the_queue),
		e2e_test(a_client_that_leaves_its_query),
		e2e_test(a_client_that_leaves_its_transaction),
		e2e_test(a_client_that_leaves_a_copy),
		e2e_test(a_commit_is_not_cancelled),
		e2e_test(what_stands_before_a_terminate_is_done),
		e2e_test(what_waits_for_room_before_a_terminate_is_done),
		e2e_test(a_cancel_on_leaving_can_be_switched_off),
		e2e_test(a_query_is_cancelled),
		e2e_test(a_query_that_waits_is_cancelled),
		e2e_test(a_cancel_hits_nobody_else),
		e2e_test(a_hundred_cancels_hit_nobody_else),
		e2e_test(nonsense_instead_of_a_login),
		e2e_test(a_login_that_lasts),
		e2e_test(silence_during_the_login),
		e2e_test(nonsense_instead_of_an_answer),
		e2e_test(a_word_that_nobody_asked_for),
		e2e_test(half_an_answer_and_silence),
		e2e_test(nonsense_instead_of_a_startup),
		e2e_test(nonsense_instead_of_a_password),
		e2e_test(nonsense_instead_of_a_query),
		e2e_test(garbage_at_every_stage),
		e2e_test(who_begins_and_falls_silent),
		e2e_test(a_client_that_does_not_read),
		e2e_test(a_client_that_does_not_read_and_leaves),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
