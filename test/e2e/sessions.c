/*
 * sessions: what a client may rely on between its requests, by pool mode:
 * prepared statements, session state and its end, transactions, parameters,
 * notifications, and what becomes of the work of a client that leaves.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include "e2e/modes.h"

static struct bouncer *start_with(const char *settings)
{
	return bouncer_start(&(struct bouncer_options){
		.settings = e2e_text("auth_type = trust\ndefault_pool_size = 1\n%s", settings)});
}

/* The next result of a pipeline is this error, told by psbouncer itself. */
static void expect_refusal(const PGresult *r, const char *code)
{
	assert_string_equal(code_of(r), code);
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SEVERITY), "ERROR");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SOURCE_FUNCTION), "psbouncer");
	assert_non_null(PQresultErrorField(r, PG_DIAG_MESSAGE_HINT));
}

static PGresult *prepare(PGconn *c, const char *name, const char *sql)
{
	return db_keep(PQprepare(c, name, sql, 0, NULL));
}

static char *execute(PGconn *c, const char *name, const char *value)
{
	PGresult *r = db_keep(PQexecPrepared(c, name, 1, &value, NULL, NULL, 0));

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", name, PQresultErrorMessage(r));
	return PQgetvalue(r, 0, 0);
}

/* ---- prepared statements -------------------------------------------------------------- */

static void named_statements_in_session_mode(void **state)
{
	struct bouncer *b = start("session", 3);
	PGconn *c = client(b), *other = client(b);
	const char *value = "1";
	PGresult *r;

	(void)state;
	assert_int_equal(PQresultStatus(prepare(c, "plus", "select $1::int + 1")), PGRES_COMMAND_OK);
	assert_int_equal(PQresultStatus(prepare(other, "plus", "select $1::int + 1000")), PGRES_COMMAND_OK);
	assert_int_equal(PQresultStatus(prepare(c, "word", "select 'word ' || $1::text")), PGRES_COMMAND_OK);
	for (int i = 0; i < 20; i++) {
		assert_string_equal(execute(c, "plus", "1"), "2");
		assert_string_equal(execute(other, "plus", "1"), "1001");
		assert_string_equal(execute(c, "word", "x"), "word x");
	}
	r = db_keep(PQdescribePrepared(c, "plus"));
	assert_int_equal(PQnparams(r), 1);
	assert_int_equal(PQparamtype(r, 0), 23);
	assert_string_equal(code_of(prepare(c, "plus", "select 3")), "42P05");
	assert_string_equal(execute(c, "plus", "4"), "5");
	assert_string_equal(db_value(c, "execute plus(7)"), "8");
	db_value(c, "deallocate plus");
	r = db_keep(PQexecPrepared(c, "plus", 1, &value, NULL, NULL, 0));
	assert_string_equal(code_of(r), "26000");
	assert_string_equal(execute(c, "word", "y"), "word y");
	is_alive(c);
}

/* Literals are folded when a statement is parsed: on each server under the settings of its Parse. */
static void statements_keep_their_settings(void **state)
{
	struct bouncer *b = start("transaction", 2);
	PGconn *c = client(b), *holder = client(b);
	PGresult *r;

	(void)state;
	assert_int_equal(PQresultStatus(prepare(c, "st", "select '01/02/2020'::date")), PGRES_COMMAND_OK);
	db_value(c, "set datestyle to 'ISO, DMY'");
	for (int i = 0; i < 2; i++) {
		db_value(holder, "begin");
		for (int k = 0; k < 2; k++) {
			r = db_keep(PQexecPrepared(c, "st", 0, NULL, NULL, NULL, 0));
			assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
			assert_string_equal(PQgetvalue(r, 0, 0), "2020-01-02");
			assert_string_equal(db_value(c, "select '01/02/2020'::date"), "2020-02-01");
		}
		if (i == 0) { /* the other server */
			db_value(holder, "commit");
			db_value(c, "begin");
			db_value(holder, "begin");
			db_value(c, "commit");
			db_value(holder, "commit");
		}
	}
}

/* Two clients of one name for two texts, and of one text under two names, on servers that they take in turn. */
static void named_statements_are_shared(void **state)
{
	struct bouncer *b = start("transaction", 2);
	PGconn *a = client(b), *c = client(b), *holder = client(b);

	(void)state;
	assert_int_equal(PQresultStatus(prepare(a, "st", "select $1::int + 1")), PGRES_COMMAND_OK);
	assert_int_equal(PQresultStatus(prepare(c, "st", "select $1::int + 2")), PGRES_COMMAND_OK);
	assert_int_equal(PQresultStatus(prepare(c, "same", "select $1::int + 1")), PGRES_COMMAND_OK);
	db_value(holder, "begin");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(execute(a, "st", "1"), "2");
		assert_string_equal(execute(c, "st", "1"), "3");
		assert_string_equal(execute(c, "same", "1"), "2");
	}
	db_value(holder, "commit");
	/* The other server has none of them yet. */
	db_value(a, "begin");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(execute(a, "st", "1"), "2");
		assert_string_equal(execute(c, "st", "1"), "3");
		assert_string_equal(execute(c, "same", "1"), "2");
	}
	db_value(a, "commit");
	assert_string_equal(PQresultErrorField(prepare(a, "st", "select 5"), PG_DIAG_MESSAGE_PRIMARY),
		"prepared statement \"st\" already exists");
	assert_string_equal(PQresultErrorField(db_keep(PQexecPrepared(a, "none", 0, NULL, NULL, NULL, 0)),
				    PG_DIAG_MESSAGE_PRIMARY),
		"prepared statement \"none\" does not exist");
	db_value(a, "deallocate all");
	assert_string_equal(code_of(db_keep(PQexecPrepared(a, "st", 0, NULL, NULL, NULL, 0))), "26000");
	assert_string_equal(execute(c, "st", "1"), "3");
	assert_string_equal(execute(c, "same", "1"), "2");
}

/* PREPARE and EXECUTE by psql, whose servers others take from it meanwhile. */
static void prepare_and_execute_by_psql(void **state)
{
	struct bouncer *b = start("transaction", 2);
	PGconn *holder = client(b);
	const char *dsn = e2e_text("%s dbname=app user=app_scram", bouncer_dsn(b)), *out;

	(void)state;
	db_value(holder, "begin; prepare mine as select 'of the holder'");
	out = e2e_command((const char *[]){"psql", "-XAtwq", "-d", dsn, "-c", "prepare mine (int) as select $1 + 1",
		"-c", "execute mine (1)", "-c", "begin; execute mine (2); rollback", "-c", "execute mine (3)", "-c",
		"select name from pg_prepared_statements where name not like 'psbouncer%'", "-c", "deallocate mine",
		NULL});
	assert_string_equal(out, "2\n3\n4\n");
	db_value(holder, "rollback");
	assert_string_equal(db_value(holder, "execute mine"), "of the holder");
}

/* SQL and the protocol have one name space; which server it is does not matter. */
static void sql_and_protocol_share_names(void **state)
{
	struct bouncer *b = start("transaction", 2);
	PGconn *c = client(b), *holder = client(b);

	(void)state;
	db_value(c, "prepare s (int) as select $1 + 1");
	assert_int_equal(PQresultStatus(prepare(c, "p", "select $1::int + 2")), PGRES_COMMAND_OK);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(execute(c, "s", "1"), "2");
		assert_string_equal(db_value(c, "execute p (1)"), "3");
		assert_string_equal(db_value(c, "execute s (1)"), "2");
		assert_string_equal(code_of(prepare(c, "s", "select 1")), "42P05");
		assert_string_equal(db_error(c, "prepare p as select 1"), "42P05");
		if (i == 0)
			db_value(holder, "begin"); /* takes the server that has them */
		db_value(holder, "select 1");
	}
	db_value(holder, "rollback");
	db_value(c, "deallocate p");
	assert_string_equal(db_error(c, "execute p (1)"), "26000");
	is_alive(c);
}

static void sql_is_passed_through_when_off(void **state)
{
	struct bouncer *b = start_and("transaction", 1, "track_sql_prepare = 0");
	PGconn *c = client(b), *other = client(b);

	(void)state;
	db_value(c, "prepare s as select 'of c'");
	assert_string_equal(db_value(other, "execute s"), "of c");
	assert_string_equal(db_value(other, "select name from pg_prepared_statements"), "s");
}

/* Switched off, they are refused where the next request may run on another server, and nothing is lost by it. */
static void named_statements_are_refused(const char *mode)
{
	PGconn *c = client(start_and(mode, 2, "max_prepared_statements = 0"));
	PGresult *r = prepare(c, "plus", "select $1::int + 1");

	expect_refusal(r, "0A000");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
		"named prepared statements are not supported in this pool mode");
	is_alive(c);
	db_value_ext(c, "select 1");
	expect_refusal(prepare(c, "plus", "select $1::int + 1"), "0A000");
	assert_string_equal(db_error(c, "execute plus(1)"), "26000");
	is_alive(c);
}

static void named_statements_are_refused_when_off(void **state)
{
	(void)state;
	named_statements_are_refused("transaction");
	named_statements_are_refused("statement");
}

static void send_insert(PGconn *c, const char *table)
{
	assert_true(PQsendQueryParams(c, e2e_text("insert into %s values (1)", table), 0, NULL, NULL, NULL, NULL, 0));
}

static void pipeline_result(PGconn *c, ExecStatusType status)
{
	PGresult *r = db_result(c);

	if (PQresultStatus(r) != status)
		fail_msg("%s: %s", PQresStatus(PQresultStatus(r)), PQresultErrorMessage(r));
	if (status != PGRES_PIPELINE_SYNC)
		assert_null(db_result(c));
}

/* The server must not run the rest of the batch, and must undo what came before. */
static void a_refusal_fails_its_batch(void **state)
{
	PGconn *c = client(start_and("transaction", 2, "max_prepared_statements = 0"));

	(void)state;
	db_value(c, "create table refused (n int)");
	assert_true(PQenterPipelineMode(c));
	send_insert(c, "refused");
	assert_true(PQsendPrepare(c, "name", "select 1", 0, NULL));
	send_insert(c, "refused");
	assert_true(PQpipelineSync(c));
	pipeline_result(c, PGRES_COMMAND_OK);
	expect_refusal(db_result(c), "0A000");
	assert_null(db_result(c));
	pipeline_result(c, PGRES_PIPELINE_ABORTED);
	pipeline_result(c, PGRES_PIPELINE_SYNC);
	/* As the first of its batch it is answered without a server. */
	assert_true(PQsendPrepare(c, "name", "select 1", 0, NULL));
	send_insert(c, "refused");
	assert_true(PQpipelineSync(c));
	expect_refusal(db_result(c), "0A000");
	assert_null(db_result(c));
	pipeline_result(c, PGRES_PIPELINE_ABORTED);
	pipeline_result(c, PGRES_PIPELINE_SYNC);
	assert_true(PQexitPipelineMode(c));
	assert_string_equal(db_value(c, "select count(*) from refused"), "0");
	/* A block is aborted by it as by any error, and savepoints live on. */
	db_value(c, "begin; insert into refused values (1); savepoint s");
	expect_refusal(prepare(c, "name", "select 1"), "0A000");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_INERROR);
	assert_string_equal(db_error(c, "select 1"), "25P02");
	db_value(c, "rollback to s");
	db_value(c, "commit");
	assert_string_equal(db_value(c, "select count(*) from refused"), "1");
	db_value(c, "drop table refused");
}

/* ---- session state ------------------------------------------------------------------------ */

static void touch_session(PGconn *c)
{
	db_value(c, "set work_mem = '77MB'");
	db_value(c, "create temp table mine as select 5 as n");
	db_value(c, "prepare mine as select 6");
	db_value(c, "select pg_advisory_lock(4711)");
	db_value(c, "declare held cursor with hold for select 7");
	db_value(c, "listen mine");
}

static void session_state_is_kept(void **state)
{
	struct bouncer *b = start("session", 1);
	PGconn *c = client(b);
	const char *pid = db_value(c, "select pg_backend_pid()");

	(void)state;
	touch_session(c);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
		assert_string_equal(db_value(c, "show work_mem"), "77MB");
		assert_string_equal(db_value(c, "select n from mine"), "5");
		assert_string_equal(db_value(c, "execute mine"), "6");
	}
	assert_string_equal(db_value(c, "fetch held"), "7");
	db_close(c);
	/* server_reset_query has made it a new session on the same connection. */
	c = client(b);
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	assert_string_equal(db_value(c, "show work_mem"), "4MB");
	assert_string_equal(db_error(c, "select n from mine"), "42P01");
	assert_string_equal(db_error(c, "execute mine"), "26000");
	assert_string_equal(db_value(c, "select count(*) from pg_locks where locktype = 'advisory' and pid = %s", pid),
		"0");
	assert_string_equal(db_value(c, "select count(*) from pg_cursors"), "0");
	assert_string_equal(db_value(c, "select count(*) from pg_listening_channels()"), "0");
}

static void the_reset_query_is_what_is_set(void **state)
{
	struct bouncer *b = start_with("pool_mode = session\nserver_reset_query = discard temp; set work_mem = '33MB'");
	PGconn *c = client(b);
	const char *pid = db_value(c, "select pg_backend_pid()");

	(void)state;
	touch_session(c);
	db_close(c);
	c = client(b);
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	assert_string_equal(db_value(c, "show work_mem"), "33MB");
	assert_string_equal(db_error(c, "select n from mine"), "42P01");
	assert_string_equal(db_value(c, "execute mine"), "6");
	bouncer_command(b, "set server_reset_query = ''");
	db_value(c, "set work_mem = '44MB'");
	db_close(c);
	c = client(b);
	assert_string_equal(db_value(c, "show work_mem"), "44MB");
	/* One that fails costs the connection. */
	bouncer_command(b, "set server_reset_query = 'nonsense'");
	db_close(c);
	c = client(b);
	assert_string_not_equal(db_value(c, "select pg_backend_pid()"), pid);
	WAIT_UNTIL(bouncer_logged(b, "reset query failed"));
}

static void the_reset_query_runs_always(void **state)
{
	struct bouncer *b = start_with("pool_mode = transaction\nsession_state = ignore");
	PGconn *c = client(b);
	const char *pid = db_value(c, "select pg_backend_pid()");

	(void)state;
	db_value(c, "create temp table kept as select 1 as n");
	assert_string_equal(db_value(c, "select n from kept"), "1");
	bouncer_command(b, "set server_reset_query_always = 1");
	db_value(c, "create temp table gone as select 1 as n");
	assert_string_equal(db_error(c, "select n from gone"), "42P01");
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
}

/* ---- transactions ------------------------------------------------------------------------- */

static void statement_mode_has_no_blocks(void **state)
{
	static const char *const begins[] = {
		"begin", "start transaction isolation level serializable", "select 1; begin", "begin; select 1 / 0"};
	struct bouncer *b = start("statement", 2);
	PGconn *c;
	PGresult *r;

	(void)state;
	for (size_t i = 0; i < sizeof(begins) / sizeof(*begins); i++) {
		c = client(b);
		if (i < 2) {
			assert_string_equal(db_error(c, begins[i]), "0A000");
			assert_string_equal(db_error_text(c),
				"transaction blocks not allowed in statement pooling mode");
		} else {
			PQclear(PQexec(c, begins[i]));
		}
		assert_int_equal(PQstatus(c), CONNECTION_BAD);
	}
	c = client(b);
	r = db_keep(PQexecParams(c, "begin", 0, NULL, NULL, NULL, NULL, 0));
	assert_int_not_equal(PQresultStatus(r), PGRES_COMMAND_OK);
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
	/* None of them left anything behind. */
	is_alive(client(b));
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select count(*) from pg_stat_activity where usename = 'app_scram' and "
						"state like 'idle in transaction%%'"),
			   "0") == 0);
}

static void a_transaction_has_its_server(void **state)
{
	struct bouncer *b = start("transaction", 1);
	PGconn *a = client(b), *c = client(b);
	const char *pid;

	(void)state;
	db_value(a, "begin");
	pid = db_value(a, "select pg_backend_pid()");
	assert_true(PQsendQuery(c, "select pg_backend_pid()"));
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	for (int i = 0; i < 5; i++)
		assert_string_equal(db_value(a, "select pg_backend_pid()"), pid);
	assert_true(PQconsumeInput(c));
	assert_true(PQisBusy(c));
	db_value(a, "commit");
	assert_string_equal(PQgetvalue(db_result(c), 0, 0), pid);
	assert_null(db_result(c));
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "sv_idle") == 1);
	assert_string_equal(db_value(a, "select pg_backend_pid()"), pid);
}

/* A cancel request of a client that waits takes it out of the queue, and it stays. */
static void a_waiting_client_is_cancelled(void **state)
{
	struct bouncer *b = start("transaction", 1);
	PGconn *holder = client(b), *c = client(b);
	PGcancel *cancel = PQgetCancel(c);
	char why[256];

	(void)state;
	db_value(holder, "begin");
	for (int i = 0; i < 2; i++) {
		PGresult *r;

		if (i)
			assert_true(PQsendQueryParams(c, "select 1", 0, NULL, NULL, NULL, NULL, 0));
		else
			assert_true(PQsendQuery(c, "select 1"));
		WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
		assert_true(PQcancel(cancel, why, sizeof(why)));
		r = db_result(c);
		assert_string_equal(code_of(r), "57014");
		assert_string_equal(PQresultErrorField(r, PG_DIAG_SEVERITY), "ERROR");
		assert_null(db_result(c));
		assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
		assert_int_equal(bouncer_number(b, "POOLS", "database", "app", "cl_waiting"), 0);
	}
	PQfreeCancel(cancel);
	db_value(holder, "commit");
	is_alive(c);
}

/* user beats database beats global */
static void each_may_have_its_mode(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host=127.0.0.1 port={pg} dbname=postgres\n"
			     "ses = host=127.0.0.1 port={pg} dbname=postgres pool_mode=session\n",
		.users = "app_plain = pool_mode=statement\n",
		.settings = "auth_type = trust\ndefault_pool_size = 1"});
	PGconn *c = db_connect("%s dbname=ses user=app_scram", bouncer_dsn(b));

	(void)state;
	assert_int_equal(PQresultStatus(prepare(c, "name", "select 1")), PGRES_COMMAND_OK);
	c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
	db_value(c, "begin; commit");
	c = db_connect("%s dbname=ses user=app_plain", bouncer_dsn(b));
	assert_string_equal(db_error(c, "begin"), "0A000");
	assert_string_equal(bouncer_value(b, "POOLS", "user", "app_plain", "pool_mode"), "statement");
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* Two clients take turns on one server, and each finds what it has set. */
static void parameters_follow_their_client(void **state)
{
	struct bouncer *b = start("transaction", 1);
	PGconn *a = db_connect("%s dbname=app user=app_scram application_name=anna", bouncer_dsn(b));
	PGconn *c = db_connect("%s dbname=app user=app_scram application_name=carl options='-c timezone=Asia/Tokyo'",
		bouncer_dsn(b));
	const char *pid = db_value(a, "select pg_backend_pid()");

	(void)state;
	db_value(a, "set timezone to 'europe/berlin'");
	db_value(a, "set datestyle to 'german'");
	db_value(c, "set client_encoding to 'latin1'");
	db_value(c, "set intervalstyle to 'iso_8601'");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(db_value(a, "show timezone"), "Europe/Berlin");
		assert_string_equal(db_value(c, "show timezone"), "Asia/Tokyo");
		assert_string_equal(db_value(a, "select date '2024-12-31'"), "31.12.2024");
		assert_string_equal(db_value(c, "select date '2024-12-31'"), "2024-12-31");
		assert_string_equal(db_value_ext(a, "show application_name"), "anna");
		assert_string_equal(db_value_ext(c, "show application_name"), "carl");
		assert_string_equal(db_value_ext(a, "select '1 day'::interval"), "1 day");
		assert_string_equal(db_value_ext(c, "select '1 day'::interval"), "P1D");
		assert_string_equal(db_value(a, "select chr(233)"), "\303\251");
		assert_string_equal(db_value(c, "select chr(233)"), "\351");
		assert_string_equal(db_value(a, "select pg_backend_pid()"), pid);
		assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	}
	assert_string_equal(PQparameterStatus(a, "TimeZone"), "Europe/Berlin");
	assert_string_equal(PQparameterStatus(c, "client_encoding"), "LATIN1");
}

static void parameters_keep_to_transactions(void **state)
{
	struct bouncer *b = start("transaction", 1);
	PGconn *a = client(b), *c = client(b);
	const char *zone = db_value(a, "show timezone");

	(void)state;
	db_value(a, "begin; set timezone to 'Asia/Tokyo'; rollback");
	assert_string_equal(db_value(a, "show timezone"), zone);
	db_value(a, "begin; set local timezone to 'Asia/Tokyo'; commit");
	assert_string_equal(db_value(a, "show timezone"), zone);
	db_value(a, "begin; set timezone to 'Asia/Tokyo'; commit");
	assert_string_equal(db_value(c, "show timezone"), zone);
	assert_string_equal(db_value(a, "show timezone"), "Asia/Tokyo");
	assert_string_equal(db_error(a, "set timezone to 'nowhere'"), "22023");
	assert_string_equal(db_value(a, "show timezone"), "Asia/Tokyo");
	db_value(a, "reset timezone");
	assert_string_equal(db_value(a, "show timezone"), zone);
	/* What the startup packet had is what RESET brings back. */
	a = db_connect("%s dbname=app user=app_scram options='-c timezone=Asia/Tokyo'", bouncer_dsn(b));
	db_value(a, "set timezone to 'Europe/Berlin'");
	assert_string_equal(db_value(a, "show timezone"), "Europe/Berlin");
	db_value(a, "reset timezone");
	assert_string_equal(PQparameterStatus(a, "TimeZone"), "Asia/Tokyo");
	assert_string_equal(db_value(c, "show timezone"), zone);
	assert_string_equal(db_value(a, "show timezone"), "Asia/Tokyo");
	db_value(a, "set timezone to 'Europe/Berlin'");
	db_value(a, "discard all");
	assert_string_equal(db_value(a, "show timezone"), "Asia/Tokyo");
}

/*
 * A statement with a literal is prepared in a block, on a server that lacks it, under the settings of its Parse. What the client
 * has set there ends as it would have: SET LOCAL with the block, SET not.
 */
static void what_is_prepared_in_a_block_leaves_its_settings_alone(void **state)
{
	static const struct {
		const char *set, *end;
		bool stays;
	} rows[] = {
		{"set local timezone to 'Asia/Tokyo'", "commit", false},
		{"set timezone to 'Asia/Tokyo'", "commit", true},
		{"select set_config('timezone', 'Asia/Tokyo', true)", "commit", false},
		{"set timezone to 'Asia/Tokyo'", "rollback", false},
		{"set local timezone to 'Asia/Tokyo'; savepoint x", "release x; commit", false},
		{"savepoint x; set local timezone to 'Asia/Tokyo'", "rollback to x; commit", false},
		{"savepoint x; set timezone to 'Asia/Tokyo'", "release x; commit", true},
	};
	const char *sql = "select extract(hour from timestamptz '2020-01-01 00:00' at time zone 'UTC')::text || $1";

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct bouncer *b = start("transaction", 4);
		PGconn *a = client(b);
		const char *zone = db_value(a, "show timezone"), *pid, *hour;
		bool by_sql = i % 2, held = false;

		if (by_sql)
			db_value(a, "prepare st(text) as %s", sql);
		else
			prepare(a, "st", sql);
		pid = db_value(a, "select pg_backend_pid()");
		hour = by_sql ? db_value(a, "execute st('')") : execute(a, "st", "");
		for (int n = 0; n < 3 && !held; n++) {
			PGconn *holder = client(b);

			db_value(holder, "begin");
			held = strcmp(db_value(holder, "select pg_backend_pid()"), pid) == 0;
		}
		assert_true(held);
		db_value(a, "begin; select 1");
		db_value(a, "%s", rows[i / 2].set);
		assert_string_equal(db_value(a, "show timezone"), "Asia/Tokyo");
		assert_string_equal(by_sql ? db_value(a, "execute st('')") : execute(a, "st", ""), hour);
		assert_string_equal(db_value(a, "show timezone"), "Asia/Tokyo");
		db_value(a, "%s", rows[i / 2].end);
		assert_string_equal(db_value(a, "show timezone"), rows[i / 2].stays ? "Asia/Tokyo" : zone);
		bouncer_stop(b);
	}
}

/* Who may be somebody else is it alone: the next client on the server is who it was. */
static void session_authorization_follows_its_client(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.settings = "auth_type = trust\ndefault_pool_size = 1", .auth = "\"postgres\" \"\"\n"});
	const char *dsn = e2e_text("%s dbname=app user=postgres", bouncer_dsn(b));
	PGconn *a = db_connect("%s", dsn), *c = db_connect("%s", dsn);

	(void)state;
	db_value(a, "set session authorization app_plain");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(db_value(c, "select session_user"), "postgres");
		assert_string_equal(db_value(a, "select session_user"), "app_plain");
		assert_string_equal(PQparameterStatus(a, "is_superuser"), "off");
		assert_string_equal(PQparameterStatus(c, "is_superuser"), "on");
	}
	db_value(a, "reset session authorization");
	assert_string_equal(db_value(c, "select session_user"), "postgres");
	assert_string_equal(db_value(a, "select session_user"), "postgres");
}

static void startup_parameters(void **state)
{
	struct bouncer *b = start_with("pool_mode = transaction\nignore_startup_parameters = search_path, geqo\n"
				       "track_extra_parameters = IntervalStyle, default_transaction_read_only\n"
				       "application_name_add_host = 1\nsession_state = ignore");
	const char *dsn = e2e_text("%s dbname=app user=app_scram", bouncer_dsn(b));
	PGconn *c;

	(void)state;
	assert_string_equal(db_refused("%s options='-c work_mem=5MB'", dsn), "0A000");
	assert_string_equal(db_error_text(NULL), "unsupported startup parameter in options: work_mem");
	assert_string_equal(db_refused("%s options='-x'", dsn), "0A000");
	assert_string_equal(db_error_text(NULL), "unsupported options startup parameter: only '-c config=val' and "
						 "'--config=val' are allowed");
	c = db_connect("%s application_name=me options='-c search_path=x --geqo=off --intervalstyle=iso_8601"
		       " -c extra_float_digits=1'",
		dsn);
	assert_string_equal(db_value(c, "show intervalstyle"), "iso_8601");
	assert_string_equal(db_value(c, "show search_path"), "\"$user\", public");
	assert_memory_equal(db_value(c, "show application_name"), "me - 127.0.0.1:", strlen("me - 127.0.0.1:"));
}

static void startup_parameters_by_bytes(void **state)
{
	struct bouncer *b = start_with("pool_mode = transaction\nsession_state = ignore");
	int fd = raw_connect(bouncer_port(b), NULL);
	static const char packet[] = "\0\3\0\2user\0app_scram\0database\0app\0_pq_.new\0on\0";
	uint32_t size = htonl(sizeof(packet) + 4);
	char *payload;
	size_t n;

	(void)state;
	assert_true(raw_startup(fd, "user", "app_scram", "database", "app", "work_mem", "5MB", NULL));
	assert_int_equal(raw_read(fd, &payload, &n), 'E');
	assert_string_equal(raw_field(payload, n, 'C'), "42704");
	assert_string_equal(raw_field(payload, n, 'M'), "unsupported startup parameter: work_mem");
	assert_string_equal(raw_field(payload, n, 'R'), "psbouncer");
	assert_true(raw_closed(fd, 0));
	/* A newer minor version and an option of the protocol that nobody knows. */
	fd = raw_connect(bouncer_port(b), NULL);
	assert_true(raw_send(fd, &size, 4) && raw_send(fd, packet, sizeof(packet)));
	assert_int_equal(raw_read(fd, &payload, &n), 'v');
	assert_int_equal(n, 4 + 4 + sizeof("_pq_.new"));
	assert_memory_equal(payload, "\0\3\0\2\0\0\0\1_pq_.new", n);
	assert_int_equal(raw_read(fd, &payload, &n), 'R');
}

static void parameters_of_a_database(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host=127.0.0.1 port={pg} dbname=postgres timezone=Asia/Tokyo datestyle=German "
			     "client_encoding=LATIN1 application_name='it''s me' "
			     "connect_query='set work_mem = ''55MB''; create temp table made as select 8 as n'",
		.settings = "auth_type = trust\nserver_reset_query ="});
	PGconn *c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));

	(void)state;
	assert_string_equal(db_value(c, "show timezone"), "Asia/Tokyo");
	assert_string_equal(PQparameterStatus(c, "TimeZone"), "Asia/Tokyo");
	assert_string_equal(db_value(c, "select date '2024-12-31'"), "31.12.2024");
	assert_string_equal(db_value(c, "show application_name"), "it's me");
	assert_string_equal(db_value(c, "show client_encoding"), "LATIN1");
	assert_string_equal(db_value(c, "show work_mem"), "55MB");
	assert_string_equal(db_value(c, "select n from made"), "8");
}

/* ---- notifications, clients that leave ----------------------------------------------------------- */

static void notifications(void **state)
{
	struct bouncer *b = start("session", 3);
	PGconn *a = client(b), *c = client(b);
	PGnotify *n = NULL;

	(void)state;
	db_value(a, "listen news");
	db_value(c, "notify news, 'hello'");
	/* It is idle, and is told all the same. */
	WAIT_UNTIL(PQconsumeInput(a) && (n = PQnotifies(a)));
	assert_string_equal(n->relname, "news");
	assert_string_equal(n->extra, "hello");
	PQfreemem(n);
	db_value(a, "notify news, 'myself'");
	n = PQnotifies(a);
	assert_non_null(n);
	assert_string_equal(n->extra, "myself");
	PQfreemem(n);
}

static void log_in(int fd)
{
	char *payload, type;
	size_t n;

	assert_true(raw_startup(fd, "user", "app_scram", "database", "app", NULL));
	do
		type = raw_read(fd, &payload, &n);
	while (type != 'Z' && type != 0 && type != 'E');
	assert_int_equal(type, 'Z');
}

static void send_query(int fd, const char *sql)
{
	assert_true(raw_message(fd, 'Q', sql, strlen(sql) + 1));
}

/* What it sent before its Terminate is run, although it reads nothing any more. */
static void say_goodbye(const char *mode, bool answered)
{
	struct bouncer *b = start(mode, 1);
	const char *table = e2e_text("goodbye_%s", mode);
	int fd = raw_connect(bouncer_port(b), NULL);

	pg_value(pg_shared(), "create table %s (n int); grant all on %s to public", table, table);
	log_in(fd);
	send_query(fd, e2e_text("insert into %s values (1)", table));
	if (answered) /* which makes the kernel send a reset in place of an end */
		WAIT_UNTIL(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1);
	send_query(fd, e2e_text("insert into %s select 2 from pg_sleep(0.2)", table));
	assert_true(raw_message(fd, 'X', "", 0));
	raw_close(fd);
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select coalesce(sum(n), 0) from %s", table), "3") == 0);
	is_alive(client(b));
	pg_value(pg_shared(), "drop table %s", table);
}

static void goodbye(const char *mode)
{
	say_goodbye(mode, false);
	say_goodbye(mode, true);
}
IN_EACH_MODE(goodbye)

/* The same of one that leaves while it still waits for a server. */
static void goodbye_from_the_queue(void **state)
{
	struct bouncer *b = start("transaction", 1);
	PGconn *holder = client(b);
	int fd = raw_connect(bouncer_port(b), NULL);

	(void)state;
	pg_value(pg_shared(), "create table queued (n int); grant all on queued to public");
	db_value(holder, "begin");
	log_in(fd);
	send_query(fd, "insert into queued values (1)");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	send_query(fd, "insert into queued values (2)");
	assert_true(raw_message(fd, 'X', "", 0));
	raw_close(fd);
	for (int i = 0; i < 20; i++) /* so many turns later psbouncer has heard of it */
		db_value(holder, "select 1");
	db_value(holder, "commit");
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select coalesce(sum(n), 0) from queued"), "3") == 0);
	pg_value(pg_shared(), "drop table queued");
}

/* One that goes without a word: what runs is cancelled, its transaction rolled back, the server stays. */
static void gone(const char *mode)
{
	struct bouncer *b = start(mode, 1);
	const char *table = e2e_text("gone_%s", mode), *pid;
	PGconn *c = client(b);
	int fd = raw_connect(bouncer_port(b), NULL);

	pg_value(pg_shared(), "create table %s (n int); grant all on %s to public", table, table);
	pid = db_value(c, "select pg_backend_pid()");
	db_close(c);
	log_in(fd);
	if (has_blocks(mode))
		send_query(fd, e2e_text("begin; insert into %s values (1)", table));
	send_query(fd, e2e_text("select 'gone in %s', pg_sleep(1000)", mode));
	WAIT_UNTIL(strcmp(pg_value(pg_shared(),
				  "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like "
				  "'select ''gone in %s%%'",
				  mode),
			   "1") == 0);
	raw_close(fd);
	c = client(b);
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	assert_string_equal(db_value(c, "select count(*) from %s", table), "0");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
	db_value(c, "select 1");
	pg_value(pg_shared(), "drop table %s", table);
}
IN_EACH_MODE(gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(named_statements_in_session_mode),
		e2e_test(named_statements_are_shared),
		e2e_test(statements_keep_their_settings),
		e2e_test(named_statements_are_refused_when_off),
		e2e_test(prepare_and_execute_by_psql),
		e2e_test(sql_and_protocol_share_names),
		e2e_test(sql_is_passed_through_when_off),
		e2e_test(a_refusal_fails_its_batch),
		e2e_test(session_state_is_kept),
		e2e_test(the_reset_query_is_what_is_set),
		e2e_test(the_reset_query_runs_always),
		e2e_test(statement_mode_has_no_blocks),
		e2e_test(a_transaction_has_its_server),
		e2e_test(a_waiting_client_is_cancelled),
		e2e_test(each_may_have_its_mode),
		e2e_test(parameters_follow_their_client),
		e2e_test(parameters_keep_to_transactions),
		e2e_test(what_is_prepared_in_a_block_leaves_its_settings_alone),
		e2e_test(session_authorization_follows_its_client),
		e2e_test(startup_parameters),
		e2e_test(startup_parameters_by_bytes),
		e2e_test(parameters_of_a_database),
		e2e_test(notifications),
		in_each_mode(goodbye),
		e2e_test(goodbye_from_the_queue),
		in_each_mode(gone),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
