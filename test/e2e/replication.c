/*
 * replication: PostgreSQL's own programs for physical and logical replication
 * through the pooler, in transaction mode with a small pool; and protocol 3.2
 * with the newest libpq and the newest server.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "lib/e2e.h"

#define ARGS(...)                 \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

/* One that replicates, with the user repl, who proves himself to the pooler and the pooler to it. */
static struct pg *source(void)
{
	static struct pg *p;

	if (p)
		return p;
	p = pg_start(&(struct pg_options){
		.hba = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
		       "host replication repl 127.0.0.1/32 scram-sha-256\n",
		.conf = "wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10\n"});
	pg_add_user(p, "repl", "scram-sha-256");
	pg_value(p, "alter role repl superuser replication");
	return p;
}

static struct bouncer *start(const char *settings)
{
	char *auth = e2e_text("\"repl\" \"%s\"\n\"app_scram\" \"%s\"\n\"admin\" \"%s\"\n", e2e_password("repl"),
		e2e_password("app_scram"), e2e_password("admin"));

	return bouncer_start(&(struct bouncer_options){
		.databases = e2e_text(
			"postgres = host=127.0.0.1 port=%d\nreplication = host=127.0.0.1 port=%d dbname=postgres",
			pg_port(source()), pg_port(source())),
		.settings = e2e_text("default_pool_size = 2\n%s", settings),
		.auth = auth});
}

/* A connection string for programs. */
static char *dsn(struct bouncer *b, const char *more)
{
	return e2e_text("%s user=repl password='%s' %s", bouncer_dsn(b), e2e_password("repl"), more);
}

static char *out_dir(const char *name)
{
	char *path = e2e_text("%s/%s", e2e_dir(), name);

	e2e_command(ARGS("mkdir", path));
	return path;
}

/* Ends as it should, by an interrupt. */
static void interrupt(pid_t pid)
{
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(e2e_wait(pid, 30000), 0);
}

static bool senders(int n)
{
	return atoi(pg_value(source(), "select count(*) from pg_stat_replication")) == n;
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > 0;
}

/* ---- physical --------------------------------------------------------------------------- */

static void receivewal(void **state)
{
	struct bouncer *b = start("");
	PGconn *c = db_connect("%s dbname=postgres user=app_scram", bouncer_dsn(b));
	char *dir = out_dir("wal"), *log = e2e_text("%s/receivewal.log", e2e_dir());
	const char *program = pg_program(source(), "pg_receivewal");
	char *segment;
	pid_t pid;

	(void)state;
	e2e_command(ARGS(program, "-d", dsn(b, ""), "-S", "physical", "--create-slot"));
	pid = e2e_spawn(ARGS(program, "-d", dsn(b, "application_name=receiver"), "-D", dir, "-S", "physical", "-n"),
		NULL, log, SIGINT);
	/* The one that made the slot may not be gone yet. */
	WAIT_UNTIL(strcmp(pg_value(source(),
				  "select coalesce(string_agg(application_name, ','), '') from pg_stat_replication"),
			   "receiver") == 0);
	/* PostgreSQL knows of it before its login is over here. */
	WAIT_UNTIL(strcmp(bouncer_value(b, "CLIENTS", "user", "repl", "replication"), "physical") == 0);
	assert_string_equal(bouncer_value(b, "CLIENTS", "user", "app_scram", "replication"), "none");
	assert_string_equal(bouncer_value(b, "SERVERS", "user", "repl", "replication"), "physical");
	/* Others work meanwhile, and segments come. */
	segment = pg_value(source(), "select pg_walfile_name(pg_current_wal_insert_lsn())");
	for (int i = 0; i < 3; i++) {
		db_value(c, "create table wal%d as select generate_series(1, 10000) x", i);
		pg_value(source(), "select pg_switch_wal()");
	}
	WAIT_UNTIL(exists(e2e_text("%s/%s", dir, segment)));
	WAIT_UNTIL(strcmp(pg_value(source(),
				  "select flush_lsn >= pg_current_wal_flush_lsn() - 100 from pg_stat_replication"),
			   "t") == 0);
	interrupt(pid);
	WAIT_UNTIL(senders(0));
	WAIT_UNTIL(bouncer_logged(b, "closing because: the client that had it alone has left"));
	e2e_command(ARGS(program, "-d", dsn(b, ""), "-S", "physical", "--drop-slot"));
	assert_string_equal(pg_value(source(), "select count(*) from pg_replication_slots"), "0");
}

/* Two connections at once, which is all that the pool has. */
static void basebackup(void **state)
{
	struct bouncer *b = start("");
	char *dir = e2e_text("%s/backup", e2e_dir());
	PGconn *c = db_connect("%s dbname=postgres user=repl", bouncer_dsn(b));

	(void)state;
	db_value(c, "select 1");
	e2e_command(ARGS(pg_program(source(), "pg_basebackup"), "-d", dsn(b, ""), "-D", dir, "-X", "stream", "-c",
		"fast"));
	e2e_command(ARGS(pg_program(source(), "pg_verifybackup"), dir));
	db_value(c, "select 1");
	e2e_command(ARGS("rm", "-r", dir));
}

static bool received_by(struct pg *standby, const char *table)
{
	return strcmp(pg_value(standby, "select count(*) from pg_class where relname = '%s'", table), "1") == 0;
}

static void standby(void **state)
{
	struct bouncer *b = start("");
	struct pg *s = pg_start_standby(source());

	(void)state;
	pg_value(s, "alter system set primary_conninfo = $q$%s$q$", dsn(b, "application_name=standby1"));
	pg_value(s, "select pg_reload_conf()");
	WAIT_UNTIL(strcmp(bouncer_value(b, "SERVERS", "replication", "physical", "application_name"), "standby1") == 0);
	pg_value(source(), "create table through_the_pooler (n int)");
	WAIT_UNTIL(received_by(s, "through_the_pooler"));
	/* The pooler goes and comes: so does the stream. */
	bouncer_command(b, "kill replication");
	bouncer_command(b, "resume replication");
	pg_value(source(), "create table once_more (n int)");
	WAIT_UNTIL(received_by(s, "once_more"));
	pg_stop(s);
	pg_value(source(), "drop table through_the_pooler, once_more");
}

/* ---- logical ----------------------------------------------------------------------------- */

static void recvlogical(void **state)
{
	struct bouncer *b = start("");
	PGconn *c = db_connect("%s dbname=postgres user=app_scram", bouncer_dsn(b));
	char *file = e2e_text("%s/changes", out_dir("logical")), *log = e2e_text("%s/recvlogical.log", e2e_dir());
	const char *program = pg_program(source(), "pg_recvlogical");
	pid_t pid;

	(void)state;
	e2e_command(ARGS(program, "-d", dsn(b, "dbname=postgres"), "-S", "logical", "--create-slot", "-P",
		"test_decoding"));
	pid = e2e_spawn(ARGS(program, "-d", dsn(b, "dbname=postgres"), "-S", "logical", "--start", "-f", file, "-s",
				"1"),
		NULL, log, SIGINT);
	WAIT_UNTIL(senders(1));
	/* PostgreSQL knows of it before its login is over here. */
	WAIT_UNTIL(strcmp(bouncer_value(b, "CLIENTS", "user", "repl", "replication"), "logical") == 0);
	db_value(c, "create table changed (n int)");
	db_value(c, "insert into changed values (4711)");
	WAIT_UNTIL(strstr(e2e_read(file), "table public.changed: INSERT: n[integer]:4711") != NULL);
	/* query_timeout is none of its business. */
	bouncer_command(b, "set query_timeout = 0.2");
	assert_string_equal(db_error(c, "select pg_sleep(60)"), "57014");
	bouncer_command(b, "set query_timeout = 0");
	c = db_connect("%s dbname=postgres user=app_scram", bouncer_dsn(b));
	db_value(c, "insert into changed values (4712)");
	WAIT_UNTIL(strstr(e2e_read(file), "4712") != NULL);
	interrupt(pid);
	WAIT_UNTIL(senders(0));
	e2e_command(ARGS(program, "-d", dsn(b, "dbname=postgres"), "-S", "logical", "--drop-slot"));
	db_value(c, "drop table changed");
}

static bool has_rows(struct pg *p, const char *n)
{
	return strcmp(pg_value(p, "select count(*) from replicated"), n) == 0;
}

/* A subscription asks with options, copies its tables within a transaction and then streams. */
static void subscription(void **state)
{
	struct bouncer *b = start("");
	struct pg *other = pg_start(NULL);

	(void)state;
	pg_value(source(),
		"create table replicated (n int primary key); insert into replicated select generate_series(1, 1000); "
		"create publication pub for table replicated");
	pg_value(other, "create table replicated (n int primary key)");
	pg_value(other, "create subscription sub connection $q$%s$q$ publication pub", dsn(b, "dbname=postgres"));
	WAIT_UNTIL(has_rows(other, "1000"));
	pg_value(source(), "insert into replicated select generate_series(1001, 1100)");
	WAIT_UNTIL(has_rows(other, "1100"));
	assert_string_equal(bouncer_value(b, "SERVERS", "replication", "logical", "state"), "active");
	pg_value(other, "drop subscription sub");
	assert_string_equal(pg_value(source(), "select count(*) from pg_replication_slots"), "0");
	pg_value(source(), "drop publication pub; drop table replicated");
	pg_stop(other);
}

/* ---- by hand ------------------------------------------------------------------------------- */

/* SQL and replication commands by the simple protocol; who is not allowed to hears the server's own words. */
static void commands(void **state)
{
	struct bouncer *b = start("max_db_connections = 3");
	PGconn *c =
		db_connect("%s dbname=postgres user=repl replication=database options='-c geqo=off'", bouncer_dsn(b));
	PGconn *other = db_connect("%s dbname=postgres user=repl", bouncer_dsn(b)), *second;
	char *pid = db_value(c, "select pg_backend_pid()");

	(void)state;
	assert_string_equal(db_value(c, "show geqo"), "off");
	assert_string_equal(db_value(other, "show geqo"), "on");
	assert_string_equal(db_value(c, "select backend_type from pg_stat_activity where pid = pg_backend_pid()"),
		"walsender");
	db_value(c, "set search_path to nowhere");
	db_value(c, "create temporary table tt (n int)");
	assert_string_equal(db_value(c, "IDENTIFY_SYSTEM"),
		db_value(c, "select system_identifier from pg_control_system()"));
	assert_string_equal(db_value(c, "show search_path"), "nowhere");
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	assert_string_equal(db_error(c, "START_REPLICATION SLOT none LOGICAL 0/0"), "42704");
	assert_string_equal(db_value(c, "select count(*) from tt"), "0");
	/* The second is the pool's last. */
	second = db_connect("%s dbname=postgres user=repl replication=database", bouncer_dsn(b));
	assert_string_not_equal(db_value(second, "select pg_backend_pid()"), pid);
	assert_true(PQsendQuery(other, "select pg_backend_pid()"));
	WAIT_UNTIL(bouncer_number(b, "POOLS", "user", "repl", "cl_waiting") == 1);
	db_close(c);
	assert_string_not_equal(PQgetvalue(db_result(other), 0, 0), pid);
	assert_null(db_result(other));
	WAIT_UNTIL(strcmp(pg_value(source(), "select count(*) from pg_stat_activity where pid = %s", pid), "0") == 0);
	assert_string_equal(db_refused("%s dbname=postgres user=app_scram replication=database", bouncer_dsn(b)),
		"42501");
	assert_string_equal(db_refused("%s dbname=postgres user=repl replication=maybe", bouncer_dsn(b)), "22023");
	assert_string_equal(db_refused("%s dbname=nowhere user=repl replication=true", bouncer_dsn(b)), "3D000");
}

/* ---- protocol 3.2 --------------------------------------------------------------------------- */

/* psql with the newest server's libpq, and no less than 3.2. */
static pid_t newest_psql(const char *where, const char *sql, const char *log)
{
	const char *lib = e2e_text("LD_LIBRARY_PATH=%s/../lib", getenv("PSB_TEST_PG18BIN"));
	const char *const env[] = {lib, NULL};

	return e2e_spawn(ARGS(pg_program(source(), "psql"), "-XAt", "-c", sql,
				 e2e_text("%s min_protocol_version=3.2 max_protocol_version=3.2", where)),
		env, log, SIGINT);
}

static bool sleeps(struct pg *p)
{
	return strcmp(pg_value(p, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"), "1") == 0;
}

static void newest_libpq(void **state)
{
	struct bouncer *b = start("");
	char *log = e2e_text("%s/psql.log", e2e_dir());
	pid_t pid;

	(void)state;
	if (!pg_has("18")) {
		print_message("# no libpq 18: PSB_TEST_PG18BIN does not name the bin folder beside it\n");
		skip();
	}
	/* The server itself, PostgreSQL 15, does not speak it. */
	assert_int_not_equal(e2e_wait(newest_psql(e2e_text("host=%s port=%d dbname=postgres user=repl",
							  pg_socket_dir(source()), pg_port(source())),
					      "select 1", log),
				     30000),
		0);
	assert_int_equal(e2e_wait(newest_psql(dsn(b, "dbname=postgres"), "select 'seen'", log), 30000), 0);
	assert_non_null(strstr(e2e_read(log), "seen"));
	/* Its cancel request has the long key. */
	pid = newest_psql(dsn(b, "dbname=postgres"), "select pg_sleep(1000)", log);
	WAIT_UNTIL(sleeps(source()));
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(WEXITSTATUS(e2e_wait(pid, 30000)), 1);
	assert_non_null(strstr(e2e_read(log), "canceling statement due to user request"));
}

/* The newest server speaks 3.2 with us; who comes with less, and who comes with as much, cancels all the same. */
static void newest_server(void **state)
{
	struct pg *p;
	struct bouncer *b;
	char why[256], *log = e2e_text("%s/psql.log", e2e_dir());
	PGcancel *cancel;
	PGconn *c;
	pid_t pid;

	(void)state;
	if (!pg_has("18")) {
		print_message("# no PostgreSQL 18: PSB_TEST_PG18BIN does not name its bin folder\n");
		skip();
	}
	p = pg_start(&(struct pg_options){.version = "18"});
	b = bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres", pg_port(p))});
	c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
	cancel = PQgetCancel(c);
	assert_true(PQsendQuery(c, "select pg_sleep(1000)"));
	WAIT_UNTIL(sleeps(p));
	assert_true(PQcancel(cancel, why, sizeof(why)));
	assert_string_equal(PQresultErrorField(db_result(c), PG_DIAG_SQLSTATE), "57014");
	assert_null(db_result(c));
	PQfreeCancel(cancel);
	pid = newest_psql(e2e_text("%s dbname=app user=app_scram password='%s'", bouncer_dsn(b),
				  e2e_password("app_scram")),
		"select pg_sleep(1000)", log);
	WAIT_UNTIL(sleeps(p));
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(WEXITSTATUS(e2e_wait(pid, 30000)), 1);
	assert_non_null(strstr(e2e_read(log), "canceling statement due to user request"));
	pg_stop(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(receivewal),
		e2e_test(basebackup),
		e2e_test(standby),
		e2e_test(recvlogical),
		e2e_test(subscription),
		e2e_test(commands),
		e2e_test(newest_libpq),
		e2e_test(newest_server),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
