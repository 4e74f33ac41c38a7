/*
 * state: session state that servers do not report, in transaction mode: it is
 * the client's own whatever server it gets, and nobody else's; what cannot be
 * carried keeps its server.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e/modes.h"

/* Two clients on one server: whatever one leaves there the other would meet. */
static struct bouncer *start_one(const char *more)
{
	return start_and("transaction", 1, more);
}

static void parameters_are_the_clients(void **state)
{
	struct bouncer *b = start_one("");
	PGconn *a = client(b), *c = client(b);
	const char *usual = db_value(c, "show work_mem"), *pid = db_value(a, "select pg_backend_pid()");

	(void)state;
	db_value(a, "set work_mem to '5MB'");
	db_value(a, "set app.tenant to 'o''neill\\'");
	db_value(a, "set enable_seqscan = off");
	assert_string_equal(db_value(c, "show work_mem"), usual);
	assert_string_equal(db_value(c, "show enable_seqscan"), "on");
	assert_string_equal(db_value(c, "select coalesce(current_setting('app.tenant', true), '')"), "");
	db_value(c, "set app.tenant to 'other'");
	assert_string_equal(db_value(a, "show work_mem"), "5MB");
	assert_string_equal(db_value(a, "show enable_seqscan"), "off");
	assert_string_equal(db_value(a, "show app.tenant"), "o'neill\\");
	assert_string_equal(db_value_ext(a, "show app.tenant"), "o'neill\\");
	assert_string_equal(db_value(c, "show app.tenant"), "other");
	db_value_ext(a, "reset work_mem");
	assert_string_equal(db_value(a, "show work_mem"), usual);
	assert_string_equal(db_value(c, "select 1"), "1");
	assert_string_equal(db_value(a, "show work_mem"), usual);
	db_value(a, "discard all");
	assert_string_equal(db_value(a, "show enable_seqscan"), "on");
	assert_string_equal(db_value(c, "show app.tenant"), "other");
	assert_string_equal(db_value(a, "show enable_seqscan"), "on");
	assert_string_equal(db_value(a, "select pg_backend_pid()"), pid);
}

static void transactions_decide(void **state)
{
	struct bouncer *b = start_one("");
	PGconn *a = client(b), *c = client(b);

	(void)state;
	db_value(a, "set statement_timeout = '7s'");
	db_value(a, "begin");
	db_value(a, "set statement_timeout = '9s'; set app.x = '1'");
	db_value(a, "rollback");
	db_value(c, "select 1");
	assert_string_equal(db_value(a, "show statement_timeout"), "7s");
	db_value(a,
		"begin; set statement_timeout = '9s'; savepoint s; set statement_timeout = '11s'; rollback to s; commit");
	db_value(c, "select 1");
	assert_string_equal(db_value(a, "show statement_timeout"), "9s");
	db_value(a, "begin; reset statement_timeout; rollback");
	db_value(c, "select 1");
	assert_string_equal(db_value(a, "show statement_timeout"), "9s");
	db_value(a, "begin; set local statement_timeout = '1s'; select set_config('work_mem', '2MB', true); commit");
	db_value(c, "select 1");
	assert_string_equal(db_value(a, "show statement_timeout"), "9s");
	db_value(a, "select set_config('statement_timeout', '3s', false)");
	db_value(c, "select 1");
	assert_string_equal(db_value(a, "show statement_timeout"), "3s");
	/* SQL's prepared statements change it when they are executed. */
	db_value(a, "prepare longer as select set_config('statement_timeout', '5s', false)");
	assert_string_equal(db_value(a, "show statement_timeout"), "3s");
	db_value(a, "execute longer");
	assert_string_equal(db_value(c, "show statement_timeout"), "0");
	assert_string_equal(db_value(a, "show statement_timeout"), "5s");
	/* A name that the text does not tell. */
	db_value(a, "select set_config(n, '4s', false) from (values ('statement_timeout')) v(n)");
	assert_string_equal(db_value(c, "show statement_timeout"), "0");
	assert_string_equal(db_value(a, "show statement_timeout"), "4s");
	/* An error behind it, in the same implicit transaction. */
	assert_string_equal(db_error(a, "set statement_timeout = '1h'; select 1/0"), "22012");
	assert_string_equal(db_value(a, "show statement_timeout"), "4s");
}

static void roles_are_the_clients(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host=127.0.0.1 port={pg} dbname=postgres user=postgres",
		.settings = "auth_type = trust\ndefault_pool_size = 1"});
	PGconn *a, *c;

	(void)state;
	pg_value(pg_shared(), "drop role if exists state_role");
	pg_value(pg_shared(), "create role state_role");
	a = client(b);
	c = client(b);
	db_value(a, "set role state_role");
	assert_string_equal(db_value(c, "select current_user"), "postgres");
	db_value(c, "set log_statement to 'none'"); /* which state_role may not */
	assert_string_equal(db_value(a, "select current_user"), "state_role");
	assert_string_equal(db_error(a, "set log_statement to 'all'"), "42501");
	assert_string_equal(db_value(c, "select current_user"), "postgres");
	assert_string_equal(db_value(a, "select current_user"), "state_role");
	db_value(a, "reset role");
	assert_string_equal(db_value(c, "select current_user"), "postgres");
	assert_string_equal(db_value(a, "select current_user"), "postgres");
	db_value(a, "set session authorization state_role");
	assert_string_equal(db_value(c, "select session_user"), "postgres");
	assert_string_equal(db_value(a, "select session_user"), "state_role");
	db_value(a, "set session authorization default");
	/* What the role may not see is read all the same. */
	db_value(a, "set session_preload_libraries = ''; set app.x = 'mine'; set role state_role");
	assert_string_equal(db_value(c, "select current_user"), "postgres");
	assert_string_equal(db_value(a, "select current_user || ' ' || current_setting('app.x')"), "state_role mine");
	assert_string_equal(db_error(a, "set \"a\xff.b\" to 1"), "22021");
	assert_string_equal(db_value(c, "select current_user"), "postgres");
	assert_string_equal(db_value(a, "select current_user || ' ' || current_setting('app.x')"), "state_role mine");
	db_value(a, "reset role");
	assert_string_equal(db_value(a, "select session_user"), "postgres");
	pg_value(pg_shared(), "drop role state_role");
}

static void startup_values(void **state)
{
	struct bouncer *b = start_one("");
	PGconn *a =
		db_connect("%s dbname=app user=app_scram options='-c statement_timeout=5s -c app.x=y'", bouncer_dsn(b));
	PGconn *c = client(b);

	(void)state;
	assert_string_equal(db_value(c, "show statement_timeout"), "0");
	assert_string_equal(db_value(a, "show statement_timeout"), "5s");
	db_value(a, "set statement_timeout = 0");
	assert_string_equal(db_value(c, "show statement_timeout"), "0");
	assert_string_equal(db_value(a, "show statement_timeout"), "0");
	db_value(a, "reset all");
	assert_string_equal(db_value(a, "show statement_timeout"), "5s");
	assert_string_equal(db_value(a, "show app.x"), "y");
	a = db_connect("%s dbname=app user=app_scram options='-c no_such_parameter=5s'", bouncer_dsn(b));
	assert_string_equal(db_error(a, "select 1"), "42704");
	assert_string_equal(db_value(c, "select 1"), "1");
}

static void in_session_mode_too(void **state)
{
	struct bouncer *b = start("session", 1);
	PGconn *a = db_connect("%s dbname=app user=app_scram options='-c statement_timeout=5s'", bouncer_dsn(b));

	(void)state;
	assert_string_equal(db_value(a, "show statement_timeout"), "5s");
	db_value(a, "discard all");
	assert_string_equal(db_value(a, "show statement_timeout"), "5s");
	db_close(a);
	a = client(b);
	assert_string_equal(db_value(a, "show statement_timeout"), "0");
}

static void listeners(void **state)
{
	struct bouncer *b = start_and("transaction", 2, "");
	PGconn *a = client(b), *c = client(b), *other = client(b);
	PGnotify *n = NULL;

	(void)state;
	db_value(a, "listen news");
	for (int i = 0; i < 10; i++)
		db_value(other, "select 1");
	db_value(c, "notify news, 'hello'");
	WAIT_UNTIL(PQconsumeInput(a) && (n = PQnotifies(a)));
	assert_string_equal(n->extra, "hello");
	PQfreemem(n);
	assert_null(PQnotifies(other));
	assert_int_equal(bouncer_number(b, "POOLS", "database", "app", "sv_active"), 1);
	/* Only one of two may be kept. */
	assert_string_equal(db_error(other, "listen other"), "53400");
	assert_string_equal(db_error(other, "create temp table t as select 1"), "53400");
	db_value(a, "unlisten *");
	db_value(other, "listen other");
	db_close(other);
	db_value(a, "listen again");
	assert_string_equal(db_value(a, "select string_agg(c, ' ') from pg_listening_channels() c"), "again");
}

static void temporary_tables_and_locks(void **state)
{
	struct bouncer *b = start_and("transaction", 2, "max_pinned = 2");
	PGconn *a = client(b), *c = client(b);

	(void)state;
	db_value(a, "create temp table mine as select 5 as n");
	for (int i = 0; i < 4; i++) {
		assert_string_equal(db_value(a, "select n from mine"), "5");
		assert_string_equal(db_error(c, "select n from mine"), "42P01");
	}
	db_value(a, "begin; savepoint s; discard temp; rollback to s; commit");
	assert_string_equal(db_error(c, "select n from mine"), "42P01");
	assert_string_equal(db_value(a, "select n from mine"), "5");
	db_value(a, "discard temp");
	assert_string_equal(db_error(a, "select n from mine"), "42P01");
	db_value(a, "begin; declare k cursor with hold for select generate_series(1, 9); commit");
	assert_string_equal(db_value(a, "fetch 1 from k"), "1");
	db_value(c, "select 1");
	assert_string_equal(db_value(a, "fetch 1 from k"), "2");
	db_value(a, "close all");
	db_value(a, "select pg_advisory_lock(4711)");
	assert_string_equal(db_value(c, "select pg_try_advisory_lock(4711)"), "f");
	db_close(a);
	WAIT_UNTIL(strcmp(db_value(c, "select pg_try_advisory_lock(4711)"), "t") == 0);
}

/* A statement that is too large to be kept has its server to itself until the next one. */
static void a_large_unnamed_statement(void **state)
{
	struct bouncer *b = start_and("transaction", 2, "");
	PGconn *a = client(b), *c = client(b);
	size_t size = 2 * 1024 * 1024;
	char *sql = malloc(size + 1);

	(void)state;
	memset(sql, ' ', size);
	memcpy(sql, "select 'large'", 14);
	sql[size] = '\0';
	assert_int_equal(PQresultStatus(db_keep(PQprepare(a, "", sql, 0, NULL))), PGRES_COMMAND_OK);
	free(sql);
	for (int i = 0; i < 3; i++) {
		PGresult *r;

		assert_string_equal(db_value_ext(c, "select 'small'"), "small");
		r = db_keep(PQexecPrepared(a, "", 0, NULL, NULL, NULL, 0));
		assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
		assert_string_equal(PQgetvalue(r, 0, 0), "large");
	}
	assert_int_equal(bouncer_number(b, "POOLS", "database", "app", "sv_active"), 1);
	db_value(a, "select 1");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "sv_active") == 0);
}

static void reset_and_ignore(void **state)
{
	struct bouncer *b = start_one("session_state = reset");
	PGconn *a = client(b), *c;
	const char *pid = db_value(a, "select pg_backend_pid()");

	(void)state;
	db_value(a, "set statement_timeout = '7s'");
	assert_string_equal(db_value(a, "show statement_timeout"), "0");
	db_value(a, "create temp table t as select 1");
	assert_string_equal(db_error(a, "select * from t"), "42P01");
	assert_string_equal(db_value(a, "select pg_backend_pid()"), pid);
	b = start_one("session_state = ignore");
	a = client(b);
	c = client(b);
	db_value(a, "set statement_timeout = '7s'");
	assert_string_equal(db_value(c, "show statement_timeout"), "7s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(parameters_are_the_clients),
		e2e_test(transactions_decide),
		e2e_test(roles_are_the_clients),
		e2e_test(startup_values),
		e2e_test(in_session_mode_too),
		e2e_test(listeners),
		e2e_test(temporary_tables_and_locks),
		e2e_test(a_large_unnamed_statement),
		e2e_test(reset_and_ignore),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
