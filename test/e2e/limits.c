/*
 * limits: how many clients and servers there may be, of each kind of limit:
 * who waits, who is refused with what words, who makes room for whom, and that
 * nobody starves.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include "lib/e2e.h"

#define AT "host=127.0.0.1 port={pg} dbname=postgres"

static struct bouncer *start(const char *databases, const char *users, const char *settings)
{
	return bouncer_start(&(struct bouncer_options){
		.databases = databases, .users = users, .settings = e2e_text("auth_type = trust\n%s", settings)});
}

static PGconn *client(struct bouncer *b, const char *database, const char *user)
{
	return db_connect("%s dbname=%s user=%s", bouncer_dsn(b), database, user);
}

static void is_refused(struct bouncer *b, const char *rest, const char *limit)
{
	assert_string_equal(db_refused("%s %s", bouncer_dsn(b), rest), "53300");
	assert_string_equal(db_error_text(NULL), e2e_text("no more connections allowed (%s)", limit));
}

/* A client whose transaction is asked for but not had yet. */
static PGconn *waiting(struct bouncer *b, const char *database, const char *user)
{
	PGconn *c = client(b, database, user);

	assert_true(PQsendQuery(c, "begin"));
	return c;
}

static bool has_begun(PGconn *c)
{
	if (!PQconsumeInput(c))
		fail_msg("%s", PQerrorMessage(c));
	return !PQisBusy(c) && PQtransactionStatus(c) != PQTRANS_IDLE;
}

static void begins(PGconn *c)
{
	assert_int_equal(PQresultStatus(db_result(c)), PGRES_COMMAND_OK);
	assert_null(db_result(c));
	assert_int_equal(PQtransactionStatus(c), PQTRANS_INTRANS);
}

static long pools(struct bouncer *b, const char *user, const char *column)
{
	return bouncer_number(b, "POOLS", "user", user, column);
}

/* ---- servers -------------------------------------------------------------------------- */

static void pool_size(void **state)
{
	struct bouncer *b =
		start("app = " AT "\nsmall = " AT " pool_size=1", "app_plain = pool_size=3", "default_pool_size = 2");
	PGconn *c[4];

	(void)state;
	for (int i = 0; i < 2; i++)
		begins(c[i] = waiting(b, "app", "app_scram"));
	for (int i = 2; i < 4; i++)
		c[i] = waiting(b, "app", "app_scram");
	WAIT_UNTIL(pools(b, "app_scram", "cl_waiting") == 2);
	assert_int_equal(pools(b, "app_scram", "sv_active"), 2);
	assert_int_equal(pools(b, "app_scram", "cl_active"), 2);
	assert_false(has_begun(c[2]) || has_begun(c[3]));
	/* First come, first served. */
	db_value(c[1], "commit");
	begins(c[2]);
	assert_false(has_begun(c[3]));
	db_value(c[0], "commit");
	begins(c[3]);
	/* The entry of a database, and the user's above it. */
	begins(waiting(b, "small", "app_scram"));
	c[0] = waiting(b, "small", "app_scram");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "small", "cl_waiting") == 1);
	for (int i = 1; i < 4; i++)
		begins(waiting(b, "small", "app_plain"));
	waiting(b, "small", "app_plain");
	WAIT_UNTIL(pools(b, "app_plain", "cl_waiting") == 1);
	assert_int_equal(pools(b, "app_plain", "sv_active"), 3);
}

static void no_limit(void **state)
{
	struct bouncer *b = start(NULL, NULL, "default_pool_size = 0");

	(void)state;
	for (int i = 0; i < 30; i++)
		begins(waiting(b, "app", "app_scram"));
	assert_int_equal(pools(b, "app_scram", "sv_active"), 30);
}

/* A limit that is raised while clients wait serves them; one that is lowered takes back what is too much. */
static void limits_change(void **state)
{
	struct bouncer *b = start(NULL, NULL, "default_pool_size = 1");
	PGconn *c[5];

	(void)state;
	begins(c[0] = waiting(b, "app", "app_scram"));
	for (int i = 1; i < 5; i++)
		c[i] = waiting(b, "app", "app_scram");
	WAIT_UNTIL(pools(b, "app_scram", "cl_waiting") == 4);
	bouncer_command(b, "set default_pool_size = 5");
	for (int i = 1; i < 5; i++)
		begins(c[i]);
	bouncer_command(b, "set default_pool_size = 2");
	for (int i = 0; i < 5; i++)
		db_value(c[i], "commit");
	WAIT_UNTIL(pools(b, "app_scram", "sv_idle") == 2);
	begins(waiting(b, "app", "app_scram"));
}

static void min_pool_size(void **state)
{
	struct bouncer *b =
		start("app = " AT "\nforced = " AT " user=app_trust min_pool_size=2", NULL, "min_pool_size = 3");
	PGconn *c;

	(void)state;
	/* Of a forced user at once, else when there is a client. */
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "forced", "sv_idle") == 2);
	assert_int_equal(bouncer_number(b, "LISTS", "list", "used_servers", "items"), 2);
	c = client(b, "app", "app_scram");
	WAIT_UNTIL(pools(b, "app_scram", "sv_idle") == 3);
	db_value(c, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_scram' and "
		    "pid <> pg_backend_pid()");
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select count(*) from pg_stat_activity where usename = 'app_scram'"),
			   "3") == 0);
	WAIT_UNTIL(pools(b, "app_scram", "sv_idle") == 3);
}

static void reserve_pool(void **state)
{
	struct bouncer *b = start("app = " AT "\nnone = " AT " reserve_pool_size=0\nother = " AT " reserve_pool=2",
		NULL, "default_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = 1000");
	PGconn *a, *c, *third;

	(void)state;
	begins(a = waiting(b, "app", "app_scram"));
	c = waiting(b, "app", "app_scram");
	WAIT_UNTIL(pools(b, "app_scram", "cl_waiting") == 1);
	assert_int_equal(pools(b, "app_scram", "sv_login"), 0);
	bouncer_command(b, "set reserve_pool_timeout = 0.2");
	begins(c);
	assert_int_equal(pools(b, "app_scram", "sv_active"), 2);
	third = waiting(b, "app", "app_scram");
	WAIT_UNTIL(pools(b, "app_scram", "cl_waiting") == 1);
	begins(waiting(b, "other", "app_plain"));
	begins(waiting(b, "other", "app_plain"));
	begins(waiting(b, "other", "app_plain"));
	assert_false(has_begun(third));
	begins(waiting(b, "none", "app_md5"));
	third = waiting(b, "none", "app_md5");
	bouncer_command(b, "set query_wait_timeout = 0.5");
	assert_string_equal(PQresultErrorField(db_result(third), PG_DIAG_SQLSTATE), "57P03");
	/* 0 as a time is never. */
	bouncer_command(b, "set reserve_pool_timeout = 0");
	bouncer_command(b, "set query_wait_timeout = 120");
	db_value(a, "commit");
	db_value(c, "commit");
	bouncer_command(b, "reconnect");
	WAIT_UNTIL(pools(b, "app_scram", "sv_idle") + pools(b, "app_scram", "sv_active") == 0);
	begins(waiting(b, "app", "app_scram"));
	bouncer_command(b, "set query_wait_timeout = 0.4");
	assert_string_equal(PQresultErrorField(db_result(waiting(b, "app", "app_scram")), PG_DIAG_SQLSTATE), "57P03");
}

/* Two users of one database that may have one server in all take turns, and an idle one makes room. */
static void max_db_connections(void **state)
{
	struct bouncer *b = start("app = " AT " max_db_connections=1\nfree = " AT, NULL, "max_db_connections = 2");
	PGconn *a = client(b, "app", "app_scram"), *c = client(b, "app", "app_plain"), *d;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_string_equal(db_value(a, "select current_user"), "app_scram");
		assert_string_equal(db_value(c, "select current_user"), "app_plain");
		assert_int_equal(bouncer_number(b, "DATABASES", "name", "app", "current_connections"), 1);
	}
	WAIT_UNTIL(bouncer_logged(b, "closing because: evicted for another pool"));
	db_value(a, "begin");
	assert_true(PQsendQuery(c, "begin"));
	WAIT_UNTIL(pools(b, "app_plain", "cl_waiting") == 1);
	/* The limit of others is their own. */
	begins(waiting(b, "free", "app_scram"));
	begins(waiting(b, "free", "app_plain"));
	d = waiting(b, "free", "app_md5");
	WAIT_UNTIL(pools(b, "app_md5", "cl_waiting") == 1);
	assert_false(has_begun(c));
	db_value(a, "commit");
	begins(c);
	assert_false(has_begun(d));
}

static void max_user_connections(void **state)
{
	struct bouncer *b =
		start("one = " AT "\ntwo = " AT, "app_scram = max_user_connections=1", "max_user_connections = 2");
	PGconn *a = client(b, "one", "app_scram"), *c = client(b, "two", "app_scram");

	(void)state;
	for (int i = 0; i < 3; i++) {
		db_value(a, "select 1");
		db_value(c, "select 1");
		assert_int_equal(bouncer_number(b, "USERS", "name", "app_scram", "current_connections"), 1);
	}
	db_value(a, "begin");
	assert_true(PQsendQuery(c, "begin"));
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "two", "cl_waiting") == 1);
	begins(waiting(b, "one", "app_plain"));
	begins(waiting(b, "two", "app_plain"));
	assert_false(has_begun(c));
	db_value(a, "commit");
	begins(c);
}

/* ---- clients --------------------------------------------------------------------------- */

static void max_client_conn(void **state)
{
	struct bouncer *b = start(NULL, NULL, "max_client_conn = 3");
	PGconn *c[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		c[i] = client(b, "app", "app_scram");
	is_refused(b, "dbname=app user=app_scram", "max_client_conn");
	is_refused(b, "dbname=nowhere user=nobody", "max_client_conn");
	/* The console is open all the same. */
	db_value(db_connect("%s dbname=pgbouncer user=admin", bouncer_dsn(b)), "show pools");
	db_value(db_connect("%s dbname=pgbouncer user=stats", bouncer_dsn(b)), "show pools");
	assert_string_equal(db_value(c[2], "select 1"), "1");
	db_close(c[0]);
	WAIT_UNTIL(PQstatus(c[0] = db_try("%s dbname=app user=app_scram", bouncer_dsn(b))) == CONNECTION_OK);
	is_refused(b, "dbname=app user=app_scram", "max_client_conn");
	bouncer_command(b, "set max_client_conn = 4");
	client(b, "app", "app_scram");
}

static bool comes_in(struct bouncer *b, const char *database, const char *user)
{
	return PQstatus(db_try("%s dbname=%s user=%s", bouncer_dsn(b), database, user)) == CONNECTION_OK;
}

static void max_db_client_connections(void **state)
{
	struct bouncer *b = start("app = " AT " max_db_client_connections=2\nfree = " AT, NULL,
		"max_db_client_connections = 1\nadmin_users = admin, app_trust");
	PGconn *c;

	(void)state;
	client(b, "app", "app_scram");
	c = client(b, "app", "app_plain");
	is_refused(b, "dbname=app user=app_scram", "max_db_client_connections");
	client(b, "free", "app_scram");
	is_refused(b, "dbname=free user=app_plain", "max_db_client_connections");
	/* Administrators are let in, and counted. */
	client(b, "app", "app_trust");
	assert_int_equal(bouncer_number(b, "DATABASES", "name", "app", "current_client_connections"), 3);
	db_close(c);
	WAIT_UNTIL(bouncer_number(b, "DATABASES", "name", "app", "current_client_connections") == 2);
	is_refused(b, "dbname=app user=app_scram", "max_db_client_connections");
	bouncer_command(b, "set max_db_client_connections = 2");
	assert_true(comes_in(b, "free", "app_plain"));
}

static void max_user_client_connections(void **state)
{
	struct bouncer *b = start("one = " AT "\ntwo = " AT, "app_scram = max_user_client_connections=2\n",
		"max_user_client_connections = 1\nadmin_users = admin, app_trust");
	PGconn *c;

	(void)state;
	client(b, "one", "app_scram");
	c = client(b, "two", "app_scram");
	is_refused(b, "dbname=one user=app_scram", "max_user_client_connections");
	is_refused(b, "dbname=two user=app_scram", "max_user_client_connections");
	client(b, "one", "app_plain");
	is_refused(b, "dbname=one user=app_plain", "max_user_client_connections");
	for (int i = 0; i < 3; i++)
		client(b, "one", "app_trust");
	assert_int_equal(bouncer_number(b, "USERS", "name", "app_scram", "current_client_connections"), 2);
	db_close(c);
	WAIT_UNTIL(comes_in(b, "one", "app_scram"));
}

/* None of these limits tells anything to who has no password. */
static void limits_are_told_behind_the_password(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "max_user_client_connections = 1"});

	(void)state;
	client(b, "app", "app_scram");
	assert_string_equal(db_refused("%s dbname=app user=app_scram password=wrong", bouncer_dsn(b)), "28P01");
	is_refused(b, "dbname=app user=app_scram", "max_user_client_connections");
}

/* ---- fairness ----------------------------------------------------------------------------- */

enum { POOLS = 6, EACH = 3, ENOUGH = 40 };

struct worker {
	PGconn *c;
	int pool;
};

/* Answers what has come; returns how many requests were answered. */
static int work(struct worker *w)
{
	int n = 0;
	PGresult *r;

	if (!PQconsumeInput(w->c))
		fail_msg("%s", PQerrorMessage(w->c));
	while (!PQisBusy(w->c)) {
		r = PQgetResult(w->c);
		if (!r) {
			assert_true(PQsendQuery(w->c, "select 1"));
			break;
		}
		assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
		n++;
		PQclear(r);
	}
	return n;
}

/* Many pools at the limit of their database: each gets its share, whatever its name is. */
static void nobody_starves(void **state)
{
	struct bouncer *b;
	struct worker all[POOLS * EACH];
	struct pollfd fds[POOLS * EACH];
	const char *auth = "\"admin\" \"x\"\n";
	int done[POOLS] = {0}, most = 0, least;

	(void)state;
	for (int i = 0; i < POOLS; i++) {
		pg_value(pg_shared(), "create role fair_%d login password 'fair'", i);
		auth = e2e_text("%s\"fair_%d\" \"fair\"\n", auth, i);
	}
	b = bouncer_start(&(struct bouncer_options){.databases = "app = host={pgdir} port={pg} dbname=postgres",
		.settings = "auth_type = trust\nmax_db_connections = 2",
		.auth = auth});
	for (int i = 0; i < POOLS * EACH; i++) {
		all[i] = (struct worker){client(b, "app", e2e_text("fair_%d", i % POOLS)), i % POOLS};
		assert_true(PQsendQuery(all[i].c, "select 1"));
	}
	while (most < ENOUGH) {
		for (int i = 0; i < POOLS * EACH; i++)
			fds[i] = (struct pollfd){.fd = PQsocket(all[i].c), .events = POLLIN};
		assert_true(poll(fds, POOLS * EACH, 30000) > 0);
		for (int i = 0; i < POOLS * EACH; i++)
			if (fds[i].revents) {
				int *n = &done[all[i].pool];

				*n += work(&all[i]);
				most = *n > most ? *n : most;
			}
	}
	least = most;
	for (int i = 0; i < POOLS; i++)
		least = done[i] < least ? done[i] : least;
	if (least < most / 3)
		fail_msg("one pool was served %d times, another %d", least, most);
	assert_in_range(bouncer_number(b, "DATABASES", "name", "app", "current_connections"), 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(pool_size),
		e2e_test(no_limit),
		e2e_test(limits_change),
		e2e_test(min_pool_size),
		e2e_test(reserve_pool),
		e2e_test(max_db_connections),
		e2e_test(max_user_connections),
		e2e_test(max_client_conn),
		e2e_test(max_db_client_connections),
		e2e_test(max_user_client_connections),
		e2e_test(limits_are_told_behind_the_password),
		e2e_test(nobody_starves),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
