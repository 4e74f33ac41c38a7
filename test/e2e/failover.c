/*
 * failover: a primary and its standbys behind entries with target_session_attrs:
 * who goes where, what waits while there is no primary, and where it runs then.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/e2e.h"

/* A cluster of a primary and a standby, and a pooler in front of it. */
struct cluster {
	struct pg *primary, *standby;
	struct bouncer *b;
};

static struct bouncer *start(struct pg *a, struct pg *b, const char *settings)
{
	char *hosts = e2e_text("host=127.0.0.1,127.0.0.1 port=%d,%d dbname=postgres", pg_port(a), pg_port(b));

	return bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = %s target_session_attrs=read-write\n"
				      "ro = %s target_session_attrs=standby\n"
				      "prefer = %s target_session_attrs=prefer-standby\n"
				      "any = %s\n"
				      "one = host=127.0.0.1 port=%d dbname=postgres target_session_attrs=primary",
			hosts, hosts, hosts, hosts, pg_port(a)),
		.settings =
			e2e_text("auth_type = trust\ndefault_pool_size = 3\nmonitor_user = app_scram\n%s", settings),
	});
}

static struct cluster cluster_start(const char *settings)
{
	struct cluster c = {.primary = pg_start(NULL)};

	c.standby = pg_start_standby(c.primary);
	pg_value(c.primary, "create table t (id int primary key, v text)");
	pg_value(c.primary, "grant all on t to public");
	c.b = start(c.primary, c.standby, settings);
	WAIT_UNTIL(bouncer_logged(c.b,
		"LOG primary: ")); /* what waits shorter than the first probe takes is not meant */
	return c;
}

static void cluster_end(struct cluster *c)
{
	pg_stop(c->standby);
	pg_stop(c->primary);
}

static PGconn *client(struct bouncer *b, const char *database)
{
	return db_connect("%s dbname=%s user=app_scram", bouncer_dsn(b), database);
}

/* Of the host with that port in SHOW HOSTS. */
static bool host_is(struct cluster *c, struct pg *p, const char *column, const char *value)
{
	return strcmp(bouncer_value(c->b, "HOSTS", "port", e2e_text("%d", pg_port(p)), column), value) == 0;
}

static bool goes_to(PGconn *c, struct pg *p)
{
	return atoi(db_value(c, "select inet_server_port()")) == pg_port(p);
}

static long waiting(struct bouncer *b, const char *database)
{
	return bouncer_number(b, "POOLS", "database", database, "cl_waiting");
}

/* By another console, since the first one waits. */
static long waiting_now(struct bouncer *b, const char *database)
{
	PGconn *c = db_connect("%s dbname=pgbouncer user=admin", bouncer_dsn(b));
	PGresult *r = PQexec(c, "show pools");
	long n = 0;

	for (int i = 0; i < PQntuples(r); i++)
		if (strcmp(PQgetvalue(r, i, PQfnumber(r, "database")), database) == 0)
			n += atol(PQgetvalue(r, i, PQfnumber(r, "cl_waiting")));
	PQclear(r);
	db_close(c);
	return n;
}

static void roles(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *app = client(c.b, "app"), *ro = client(c.b, "ro"), *prefer = client(c.b, "prefer");

	(void)state;
	assert_true(goes_to(app, c.primary));
	assert_true(goes_to(ro, c.standby));
	assert_true(goes_to(prefer, c.standby));
	assert_true(goes_to(client(c.b, "one"), c.primary));
	assert_true(host_is(&c, c.primary, "role", "primary"));
	assert_true(host_is(&c, c.primary, "timeline", "1"));
	assert_true(host_is(&c, c.standby, "role", "standby"));
	assert_true(host_is(&c, c.standby, "state", "up"));
	/* Positions are read now, and a standby that has replayed all lags by nothing. */
	db_value(app, "insert into t values (1, 'x')");
	WAIT_UNTIL(host_is(&c, c.standby, "lag_bytes", "0"));
	/* The monitors are in no table of clients' connections. */
	assert_string_equal(bouncer_value(c.b, "SERVERS", "application_name", "psbouncer monitor", "database"), "");
	assert_string_equal(
		pg_value(c.primary,
			"select count(*) from pg_stat_activity where application_name = 'psbouncer monitor'"),
		"1");
	/* Without a standby prefer-standby goes to the primary, and standby waits. */
	pg_crash(c.standby);
	WAIT_UNTIL(host_is(&c, c.standby, "state", "down"));
	assert_true(goes_to(prefer, c.primary));
	assert_true(PQsendQuery(ro, "select pg_is_in_recovery()"));
	WAIT_UNTIL(waiting(c.b, "ro") == 1);
	pg_restart(c.standby);
	assert_string_equal(PQgetvalue(db_result(ro), 0, 0), "t");
	assert_null(db_result(ro));
	WAIT_UNTIL(goes_to(prefer, c.standby));
	assert_true(goes_to(app, c.primary));
	cluster_end(&c);
}

/* Waits until the standby has replayed all that was committed: replication is asynchronous here. */
static void caught_up(struct cluster *c)
{
	char *lsn = pg_value(c->primary, "select pg_current_wal_lsn()");

	WAIT_UNTIL(strcmp(pg_value(c->standby, "select pg_last_wal_replay_lsn() >= '%s'", lsn), "t") == 0);
}

/* The primary dies; what waits runs on the standby that is promoted. Nobody that had nothing under way notices. */
static void promotion(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *idle = client(c.b, "app"), *waits = client(c.b, "app"), *deferred = client(c.b, "app"), *fresh;

	(void)state;
	db_value(idle, "insert into t values (1, 'before')");
	caught_up(&c);
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	assert_string_equal(bouncer_value(c.b, "DATABASES", "name", "app", "held"), "1");
	assert_string_equal(bouncer_value(c.b, "DATABASES", "name", "ro", "held"), "0");
	assert_true(PQsendQuery(waits, "insert into t values (2, 'held') returning id"));
	WAIT_UNTIL(waiting(c.b, "app") == 1);
	fresh = client(c.b, "app");
	assert_true(PQsendQueryParams(fresh, "insert into t values ($1, 'new') returning id", 1, NULL,
		(const char *const[]){"3"}, NULL, NULL, 0));
	WAIT_UNTIL(waiting(c.b, "app") == 2);
	assert_true(PQsendQuery(deferred, "begin; insert into t values (4, 'block'); commit"));
	WAIT_UNTIL(waiting(c.b, "app") == 3);
	pg_promote(c.standby);
	assert_string_equal(PQgetvalue(db_result(waits), 0, 0), "2");
	assert_string_equal(PQgetvalue(db_result(fresh), 0, 0), "3");
	while (db_result(deferred))
		;
	assert_string_equal(db_value(idle, "select string_agg(id::text, ',' order by id) from t"), "1,2,3,4");
	assert_true(goes_to(idle, c.standby));
	assert_true(host_is(&c, c.standby, "role", "primary"));
	assert_true(host_is(&c, c.standby, "timeline", "2"));
	assert_string_equal(bouncer_value(c.b, "FAILOVERS", "timeline", "2", "to"),
		e2e_text("127.0.0.1:%d", pg_port(c.standby)));
	assert_string_equal(bouncer_value(c.b, "FAILOVERS", "timeline", "2", "from"),
		e2e_text("127.0.0.1:%d", pg_port(c.primary)));
	assert_string_equal(bouncer_value(c.b, "FAILOVERS", "timeline", "2", "held"), "3");
	/* The old one comes back and takes writes: it gets none. */
	pg_restart(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "fenced"));
	assert_true(goes_to(idle, c.standby));
	assert_true(bouncer_logged(c.b, "is fenced"));
	assert_string_equal(pg_value(c.primary, "select count(*) from t"), "1");
	cluster_end(&c);
}

/* It is promoted beside a primary that runs on: that gets nothing more from then on. */
static void two_primaries(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *app = client(c.b, "app");
	char *pid;

	(void)state;
	pid = db_value(app, "select pg_backend_pid()");
	pg_promote(c.standby);
	WAIT_UNTIL(host_is(&c, c.standby, "role", "primary"));
	assert_true(goes_to(app, c.standby));
	WAIT_UNTIL(strcmp(pg_value(c.primary, "select count(*) from pg_stat_activity where pid = %s", pid), "0") == 0);
	assert_true(host_is(&c, c.primary, "state", "fenced"));
	cluster_end(&c);
}

static void restart(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *app = client(c.b, "app"), *one = client(c.b, "one");

	(void)state;
	db_value(app, "select 1");
	db_value(one, "select 1");
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	assert_true(PQsendQuery(app, "select inet_server_port()"));
	assert_true(PQsendQuery(one, "select 1"));
	WAIT_UNTIL(waiting(c.b, "app") == 1 && waiting(c.b, "one") == 1);
	pg_restart(c.primary);
	assert_int_equal(atoi(PQgetvalue(db_result(app), 0, 0)), pg_port(c.primary));
	assert_string_equal(PQgetvalue(db_result(one), 0, 0), "1");
	cluster_end(&c);
}

static void silence(void **state)
{
	struct cluster c = cluster_start("topology_check_interval = 0.2\ntopology_check_timeout = 0.5\n");
	PGconn *app = client(c.b, "app");

	(void)state;
	db_value(app, "insert into t values (1, 'x')");
	caught_up(&c);
	pg_signal(c.primary, SIGSTOP);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	assert_true(PQsendQuery(app, "insert into t values (2, 'y') returning id"));
	WAIT_UNTIL(waiting(c.b, "app") == 1);
	pg_promote(c.standby);
	assert_string_equal(PQgetvalue(db_result(app), 0, 0), "2");
	assert_null(db_result(app));
	assert_true(goes_to(app, c.standby));
	pg_signal(c.primary, SIGCONT);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "fenced"));
	assert_string_equal(db_value(app, "select count(*) from t"), "2");
	cluster_end(&c);
}

/* Nobody comes. */
static void hold_ends(void **state)
{
	struct cluster c = cluster_start("defer_begin = 1\n");
	PGconn *app = client(c.b, "app"), *block = client(c.b, "app"), *ro = client(c.b, "ro");

	(void)state;
	db_value(app, "select 1");
	db_value(ro, "select 1");
	db_value(block, "begin");
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	bouncer_command(c.b, "set failover_wait_timeout = 0.3");
	bouncer_command(c.b, "set query_wait_timeout = 0.1"); /* which is not what ends it */
	assert_string_equal(db_error(app, "select 1"), "08006");
	assert_string_equal(db_error_text(app), "no primary available for database app");
	assert_int_equal(PQtransactionStatus(app), PQTRANS_IDLE);
	assert_string_equal(db_error(app, "select 1"), "08006");
	assert_string_equal(db_error(block, "select 1"), "08006");
	assert_int_equal(PQtransactionStatus(block), PQTRANS_INERROR);
	db_value(block, "rollback");
	assert_int_equal(PQtransactionStatus(block), PQTRANS_IDLE);
	db_value(ro, "select 1");
	pg_crash(c.standby);
	WAIT_UNTIL(host_is(&c, c.standby, "state", "down"));
	assert_string_equal(db_error(ro, "select 1"), "08006");
	assert_string_equal(db_error_text(ro), "no replica available for database ro");
	bouncer_command(c.b, "set query_wait_timeout = 120");
	bouncer_command(c.b, "set failover_wait_timeout = 120");
	pg_restart(c.primary);
	assert_true(goes_to(app, c.primary));
	assert_true(goes_to(block, c.primary));
	cluster_end(&c);
}

/* A query that is held is cancelled, or its client leaves: it never runs. */
static void taken_back(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *app = client(c.b, "app"), *leaves = client(c.b, "app");
	PGcancel *cancel;
	char why[200];

	(void)state;
	db_value(app, "select 1");
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	assert_true(PQsendQuery(app, "insert into t values (1, 'cancelled')"));
	assert_true(PQsendQuery(leaves, "insert into t values (2, 'left')"));
	WAIT_UNTIL(waiting(c.b, "app") == 2);
	cancel = PQgetCancel(app);
	assert_true(PQcancel(cancel, why, sizeof(why)));
	PQfreeCancel(cancel);
	assert_string_equal(PQresultErrorField(db_result(app), PG_DIAG_SQLSTATE), "57014");
	db_close(leaves);
	WAIT_UNTIL(waiting(c.b, "app") == 0);
	pg_restart(c.primary);
	while (db_result(app))
		;
	assert_string_equal(db_value(app, "select count(*) from t"), "0");
	cluster_end(&c);
}

/* What an operator says must be borne out by what is seen. */
static void promote_command(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *console = bouncer_console(c.b), *app = client(c.b, "app");
	int old = pg_port(c.primary), new = pg_port(c.standby);

	(void)state;
	WAIT_UNTIL(host_is(&c, c.standby, "role", "standby"));
	db_error(console, "promote nowhere");
	assert_string_equal(db_error_text(console), "no entry with target_session_attrs names this host");
	db_error(console, "promote 127.0.0.1");
	assert_string_equal(db_error_text(console), "several hosts have this name: give the port too");
	db_error(console, e2e_text("promote 127.0.0.1:%d", new));
	assert_string_equal(db_error_text(console), "it is a standby");
	db_error(console, e2e_text("promote 127.0.0.1:%d now", old));
	assert_string_equal(db_error_text(console), "invalid argument of PROMOTE, use FORCE");
	bouncer_command(c.b, e2e_text("promote 127.0.0.1:%d", old));
	assert_true(goes_to(app, c.primary));
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	db_error(console, e2e_text("promote 127.0.0.1:%d", old));
	assert_string_equal(db_error_text(console), "it does not answer");
	/* Who is told at once needs no interval to find it out. */
	pg_promote(c.standby);
	bouncer_command(c.b, e2e_text("promote 127.0.0.1:%d", new));
	assert_true(host_is(&c, c.standby, "role", "primary"));
	assert_true(goes_to(app, c.standby));
	pg_restart(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "fenced"));
	db_error(console, e2e_text("promote 127.0.0.1:%d", old));
	assert_string_equal(db_error_text(console), "it is on an older timeline, which only FORCE takes");
	assert_true(goes_to(app, c.standby));
	bouncer_command(c.b, e2e_text("promote 127.0.0.1:%d force", old));
	assert_true(goes_to(app, c.primary));
	assert_true(host_is(&c, c.standby, "state", "fenced"));
	cluster_end(&c);
}

static void keep_notice(void *arg, const char *text)
{
	snprintf(arg, 200, "%s", text);
}

/* Planned: nobody sees an error, what is open comes to its end first, and the standby that is named has all of it. */
static void switchover(void **state)
{
	struct cluster c = cluster_start("defer_begin = 1\n");
	PGconn *console = bouncer_console(c.b), *open = client(c.b, "app"), *held = client(c.b, "app"),
	       *block = client(c.b, "app");
	char notice[200] = "";

	(void)state;
	db_value(open, "begin");
	db_value(open, "insert into t values (1, 'open')");
	assert_true(PQsendQuery(console, "switchover app"));
	WAIT_UNTIL(bouncer_logged(c.b, "switchover: new transactions wait"));
	assert_true(PQsendQuery(held, "insert into t values (2, 'held') returning inet_server_port()"));
	WAIT_UNTIL(waiting_now(c.b, "app") == 1);
	db_value(block, "begin");
	assert_true(PQsendQuery(block, "insert into t values (3, 'deferred')"));
	WAIT_UNTIL(waiting_now(c.b, "app") == 2);
	PQsetNoticeProcessor(console, keep_notice, notice);
	db_value(open, "commit");
	assert_int_equal(PQresultStatus(db_result(console)), PGRES_COMMAND_OK);
	assert_null(db_result(console));
	assert_string_equal(notice, e2e_text("NOTICE:  127.0.0.1:%d may be promoted\n", pg_port(c.standby)));
	assert_string_equal(pg_value(c.standby, "select count(*) from t"), "1");
	pg_promote(c.standby);
	assert_int_equal(atoi(PQgetvalue(db_result(held), 0, 0)), pg_port(c.standby));
	assert_int_equal(PQresultStatus(db_result(block)), PGRES_COMMAND_OK);
	assert_null(db_result(block));
	db_value(block, "commit");
	assert_string_equal(db_value(open, "select string_agg(id::text, ',' order by id) from t"), "1,2,3");
	assert_true(goes_to(open, c.standby));
	cluster_end(&c);
}

/* What comes to nothing: the old primary goes on. */
static void switchover_given_up(void **state)
{
	struct cluster c = cluster_start("failover_drain_timeout = 0.3\n");
	PGconn *console = bouncer_console(c.b), *open = client(c.b, "app"), *held = client(c.b, "app"), *other;

	(void)state;
	assert_string_equal(db_error(console, "switchover any"), "08P01");
	assert_string_equal(db_error_text(console), "no target_session_attrs: its primary is not known");
	db_value(open, "begin");
	db_value(open, "select 1");
	assert_true(PQsendQuery(held, "select 5"));
	while (db_result(held))
		;
	assert_string_equal(db_error(console, "switchover"), "08P01");
	assert_string_equal(db_error_text(console), "1 transactions are still open");
	assert_string_equal(db_value(held, "select 6"), "6");
	db_value(open, "commit");
	/* RESUME ends it. */
	bouncer_command(c.b, "set failover_drain_timeout = 30");
	bouncer_command(c.b, "switchover app");
	assert_true(PQsendQuery(held, "select inet_server_port()"));
	WAIT_UNTIL(waiting(c.b, "app") == 1);
	bouncer_command(c.b, "resume app");
	assert_int_equal(atoi(PQgetvalue(db_result(held), 0, 0)), pg_port(c.primary));
	assert_null(db_result(held));
	/* Nobody is promoted. */
	bouncer_command(c.b, "set failover_wait_timeout = 3");
	db_value(open, "begin");
	db_value(open, "select 1");
	other = db_connect("%s dbname=pgbouncer user=admin", bouncer_dsn(c.b));
	assert_true(PQsendQuery(other, "switchover"));
	WAIT_UNTIL(bouncer_number(c.b, "DATABASES", "name", "app", "held") == 1);
	assert_true(PQsendQuery(held, "select inet_server_port()"));
	WAIT_UNTIL(waiting(c.b, "app") == 1);
	for (int64_t since = e2e_now_ms(); e2e_now_ms() < since + 1500;) /* half of it is over before it counts */
		e2e_pause();
	db_value(open, "commit");
	while (db_result(other))
		;
	assert_int_equal(atoi(PQgetvalue(db_result(held), 0, 0)), pg_port(c.primary));
	assert_null(db_result(held));
	WAIT_UNTIL(bouncer_logged(c.b, "switchover: nobody was promoted; queries run on the old primary"));
	bouncer_command(c.b, "set failover_wait_timeout = 120");
	bouncer_command(c.b, "set failover_drain_timeout = 0.3");
	assert_true(goes_to(held, c.primary));
	/* There is no standby that could be. */
	pg_crash(c.standby);
	WAIT_UNTIL(host_is(&c, c.standby, "state", "down"));
	assert_string_equal(db_error(console, "switchover"), "08P01");
	assert_string_equal(db_error_text(console), "no standby has replayed all of it");
	assert_true(goes_to(held, c.primary));
	cluster_end(&c);
}

/* pg_ctl stop -m smart: what is open comes to its end, then the server does; new requests run on the one that is promoted. */
static void smart_stop(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *idle = client(c.b, "app"), *open = client(c.b, "app"), *held = client(c.b, "app");

	(void)state;
	db_value(idle, "select 1");
	db_value(open, "begin");
	db_value(open, "insert into t values (1, 'open')");
	pg_smart_stop(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	assert_true(PQsendQuery(held, "insert into t values (2, 'held') returning inet_server_port()"));
	WAIT_UNTIL(waiting(c.b, "app") == 1);
	db_value(open, "insert into t values (3, 'open')");
	db_value(open, "commit");
	pg_await_end(c.primary);
	pg_promote(c.standby);
	assert_int_equal(atoi(PQgetvalue(db_result(held), 0, 0)), pg_port(c.standby));
	assert_null(db_result(held));
	assert_string_equal(db_value(idle, "select string_agg(id::text, ',' order by id) from t"), "1,2,3");
	cluster_end(&c);
}

/* One address, behind which another server takes over while the old one lives on: nothing more goes to that. */
static void virtual_address(void **state)
{
	struct cluster c = {.primary = pg_start(NULL)};
	struct proxy *address = proxy_start(pg_port(c.primary));
	PGconn *idle, *open;
	char *pid;

	(void)state;
	c.standby = pg_start_standby(c.primary);
	pg_value(c.primary, "create table t (id int primary key)");
	pg_value(c.primary, "grant all on t to public");
	c.b = bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres target_session_attrs=read-write",
			proxy_port(address)),
		.settings = "auth_type = trust\nmonitor_user = app_scram\n",
	});
	WAIT_UNTIL(bouncer_logged(c.b, "LOG primary: "));
	idle = client(c.b, "app");
	open = client(c.b, "app");
	pid = db_value(idle, "select pg_backend_pid()");
	caught_up(&c);
	db_value(open, "begin");
	db_value(open, "insert into t values (1)");
	proxy_move(address, pg_port(c.standby));
	pg_promote(c.standby);
	WAIT_UNTIL(bouncer_logged(c.b, "timeline 2"));
	assert_true(goes_to(idle, c.standby));
	assert_string_equal(db_error(open, "commit"), "08006");
	assert_string_equal(db_value(open, "insert into t values (2) returning id"), "2");
	WAIT_UNTIL(strcmp(pg_value(c.primary, "select count(*) from pg_stat_activity where pid = %s", pid), "0") == 0);
	assert_string_equal(pg_value(c.primary, "select count(*) from t"), "0");
	assert_string_equal(bouncer_value(c.b, "FAILOVERS", "timeline", "2", "to"),
		e2e_text("127.0.0.1:%d", proxy_port(address)));
	cluster_end(&c);
}

/* A standby of the standby: it serves those who read, before the one that it follows is promoted and after. */
static void cascade(void **state)
{
	struct cluster c = {.primary = pg_start(&(struct pg_options){.conf = "full_page_writes = on\n"})};
	struct pg *last;
	char *hosts;
	PGconn *app, *ro;

	(void)state;
	c.standby = pg_start_standby(c.primary);
	last = pg_start_standby(c.standby);
	pg_value(c.primary, "create table t (id int primary key)");
	pg_value(c.primary, "grant all on t to public");
	hosts = e2e_text("host=127.0.0.1,127.0.0.1,127.0.0.1 port=%d,%d,%d dbname=postgres", pg_port(c.primary),
		pg_port(c.standby), pg_port(last));
	c.b = bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = %s target_session_attrs=read-write\nro = %s target_session_attrs=standby",
			hosts, hosts),
		.settings = "auth_type = trust\nmonitor_user = app_scram\n",
	});
	app = client(c.b, "app");
	ro = client(c.b, "ro");
	WAIT_UNTIL(host_is(&c, last, "role", "standby") && host_is(&c, c.standby, "role", "standby"));
	assert_true(goes_to(app, c.primary));
	/* Of two connections each has one. */
	db_value(ro, "begin");
	assert_int_not_equal(goes_to(ro, last), goes_to(client(c.b, "ro"), last));
	db_value(ro, "commit");
	db_value(app, "insert into t values (1)");
	WAIT_UNTIL(strcmp(pg_value(last, "select count(*) from t"), "1") == 0);
	WAIT_UNTIL(host_is(&c, last, "lag_bytes", "0"));
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	pg_promote(c.standby);
	assert_string_equal(db_value(app, "insert into t values (2) returning id"), "2");
	assert_true(goes_to(app, c.standby));
	WAIT_UNTIL(host_is(&c, c.standby, "role", "primary"));
	assert_true(goes_to(ro, last));
	WAIT_UNTIL(strcmp(db_value(ro, "select count(*) from t"), "2") == 0);
	assert_true(host_is(&c, last, "state", "up"));
	pg_stop(last);
	cluster_end(&c);
}

/* All nodes restart, the standby first: nobody is the primary meanwhile. */
static void all_restart(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *app = client(c.b, "app"), *ro = client(c.b, "ro");

	(void)state;
	db_value(app, "insert into t values (1, 'before')");
	db_value(ro, "select 1");
	caught_up(&c);
	pg_crash(c.standby);
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down") && host_is(&c, c.standby, "state", "down"));
	assert_true(PQsendQuery(app, "insert into t values (2, 'held') returning inet_server_port()"));
	assert_true(PQsendQuery(ro, "select inet_server_port()"));
	WAIT_UNTIL(waiting(c.b, "app") == 1 && waiting(c.b, "ro") == 1);
	pg_restart(c.standby);
	assert_int_equal(atoi(PQgetvalue(db_result(ro), 0, 0)), pg_port(c.standby));
	assert_int_equal(waiting(c.b, "app"), 1);
	pg_restart(c.primary);
	assert_int_equal(atoi(PQgetvalue(db_result(app), 0, 0)), pg_port(c.primary));
	assert_null(db_result(app));
	assert_string_equal(db_value(app, "select count(*) from t"), "2");
	assert_true(host_is(&c, c.primary, "timeline", "1"));
	cluster_end(&c);
}

static void entry_of(struct cluster *c, const char *hosts, const char *ports)
{
	bouncer_rewrite(c->b,
		&(struct bouncer_options){
			.databases = e2e_text("app = host=%s port=%s dbname=postgres target_session_attrs=read-write",
				hosts, ports),
			.settings = "auth_type = trust\nmonitor_user = app_scram",
		});
	bouncer_command(c->b, "reload");
}

/* A node comes and one goes by RELOAD while a query is held: it is held on, and runs on the one that came. */
static void reload_in_failover(void **state)
{
	struct cluster c = {.primary = pg_start(NULL)};
	PGconn *app;
	char *old, *new;

	(void)state;
	c.standby = pg_start_standby(c.primary);
	old = e2e_text("%d", pg_port(c.primary));
	new = e2e_text("%d", pg_port(c.standby));
	c.b = bouncer_start(&(struct bouncer_options){
		.databases =
			e2e_text("app = host=127.0.0.1 port=%s dbname=postgres target_session_attrs=read-write", old),
		.settings = "auth_type = trust\nmonitor_user = app_scram\n",
	});
	app = client(c.b, "app");
	assert_true(goes_to(app, c.primary));
	pg_crash(c.primary);
	WAIT_UNTIL(host_is(&c, c.primary, "state", "down"));
	assert_true(PQsendQuery(app, "select inet_server_port()"));
	WAIT_UNTIL(waiting(c.b, "app") == 1);
	entry_of(&c, "127.0.0.1,127.0.0.1", e2e_text("%s,%s", old, new));
	WAIT_UNTIL(host_is(&c, c.standby, "role", "standby"));
	assert_int_equal(waiting(c.b, "app"), 1);
	entry_of(&c, "127.0.0.1", new);
	assert_true(host_is(&c, c.primary, "role", ""));
	assert_int_equal(waiting(c.b, "app"), 1);
	pg_promote(c.standby);
	assert_int_equal(atoi(PQgetvalue(db_result(app), 0, 0)), pg_port(c.standby));
	assert_null(db_result(app));
	cluster_end(&c);
}

/* Nobody tells the role of the hosts but connections of clients. */
static void without_monitor(void **state)
{
	struct cluster c = {.primary = pg_start(NULL)};
	PGconn *app;

	(void)state;
	c.standby = pg_start_standby(c.primary);
	/* The standby comes first in the list, and nobody may log in as the monitor. */
	c.b = start(c.standby, c.primary, "monitor_user = nobody_at_all\n");
	app = client(c.b, "app");
	assert_true(goes_to(app, c.primary));
	assert_true(bouncer_logged(c.b, "the monitor cannot log in"));
	assert_true(host_is(&c, c.primary, "state", "blind"));
	cluster_end(&c);
}

/* A server that ends idle sessions sooner than the monitor asks again leaves that alone. */
static void idle_session(void **state)
{
	struct cluster c = {.primary = pg_start(&(struct pg_options){0})};

	(void)state;
	if (!*pg_value(c.primary, "select name from pg_settings where name = 'idle_session_timeout'")) {
		pg_stop(c.primary); /* older than 14 */
		skip();
	}
	pg_value(c.primary, "alter role app_scram set idle_session_timeout = 200");
	c.b = bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres target_session_attrs=read-write",
			pg_port(c.primary)),
		.settings = "auth_type = trust\nmonitor_user = app_scram\n",
	});
	WAIT_UNTIL(strcmp(pg_value(c.primary,
				  "select count(*) from pg_stat_activity where application_name = 'psbouncer monitor' "
				  "and clock_timestamp() - backend_start > '1500 ms'"),
			   "1") == 0);
	assert_false(bouncer_logged(c.b, "is suspect"));
	pg_stop(c.primary);
}

/* Who is watched follows the file; a host that goes or comes disturbs nobody. */
static void reload(void **state)
{
	struct cluster c = cluster_start("");
	PGconn *app = client(c.b, "app"), *one = client(c.b, "one");
	char *hosts = e2e_text("host=127.0.0.1 port=%d dbname=postgres", pg_port(c.primary));

	(void)state;
	assert_true(goes_to(app, c.primary));
	assert_true(goes_to(one, c.primary));
	bouncer_rewrite(c.b,
		&(struct bouncer_options){
			.databases = e2e_text("app = %s target_session_attrs=read-write\none = %s", hosts, hosts),
			.settings = "auth_type = trust\ndefault_pool_size = 3\nmonitor_user = app_scram",
		});
	bouncer_command(c.b, "reload");
	assert_true(goes_to(app, c.primary));
	assert_true(goes_to(one, c.primary));
	WAIT_UNTIL(strcmp(pg_value(c.standby,
				  "select count(*) from pg_stat_activity where application_name = 'psbouncer monitor'"),
			   "0") == 0);
	assert_string_equal(bouncer_value(c.b, "HOSTS", "port", e2e_text("%d", pg_port(c.standby)), "role"), "");
	assert_true(host_is(&c, c.primary, "role", "primary"));
	cluster_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(roles),
		e2e_test(promotion),
		e2e_test(two_primaries),
		e2e_test(restart),
		e2e_test(silence),
		e2e_test(hold_ends),
		e2e_test(taken_back),
		e2e_test(promote_command),
		e2e_test(switchover),
		e2e_test(switchover_given_up),
		e2e_test(smart_stop),
		e2e_test(virtual_address),
		e2e_test(cascade),
		e2e_test(all_restart),
		e2e_test(reload_in_failover),
		e2e_test(without_monitor),
		e2e_test(idle_session),
		e2e_test(reload),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
