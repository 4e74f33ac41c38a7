/*
 * libpq.c: libpq through transaction mode: named statements in pipelines,
 * errors inside of them, Flush instead of Sync, single rows, COPY, cursors,
 * cancel. Several clients take turns within each step, so that each has another
 * server all the time.
 */
#include <stdlib.h>

#include "drivers/libpq.h"
#include "lib/e2e.h"

enum { CLIENTS = 5 };

struct user {
	PGconn *conn;
	const char *tag;
};

static void check(PGconn *c, bool right, const char *what)
{
	if (!right)
		fail_msg("%s: %s", what, PQerrorMessage(c));
}

/* The next result: its status, and its first value when there is one. */
static PGresult *expect(PGconn *c, ExecStatusType status, const char *value)
{
	PGresult *r = db_result(c);

	if (PQresultStatus(r) != status || (value && strcmp(PQgetvalue(r, 0, 0), value) != 0))
		fail_msg("%s \"%s\" instead of %s \"%s\": %s", PQresStatus(PQresultStatus(r)),
			PQntuples(r) ? PQgetvalue(r, 0, 0) : "", PQresStatus(status), value ? value : "",
			PQresultErrorMessage(r));
	return r;
}

static void end(PGconn *c)
{
	PGresult *r = db_result(c);

	if (r)
		fail_msg("one more result: %s %s", PQresStatus(PQresultStatus(r)), PQresultErrorMessage(r));
}

static void error(PGconn *c, const char *code)
{
	assert_string_equal(PQresultErrorField(expect(c, PGRES_FATAL_ERROR, NULL), PG_DIAG_SQLSTATE), code);
}

static void sync_done(PGconn *c)
{
	expect(c, PGRES_PIPELINE_SYNC, NULL);
}

static void send_prepare(PGconn *c, const char *name, const char *sql)
{
	check(c, PQsendPrepare(c, name, sql, 0, NULL), "PQsendPrepare");
}

static void send_prepared(PGconn *c, const char *name, const char *value)
{
	check(c, PQsendQueryPrepared(c, name, 1, &value, NULL, NULL, 0), "PQsendQueryPrepared");
}

static void send_params(PGconn *c, const char *sql, const char *value)
{
	check(c, PQsendQueryParams(c, sql, value ? 1 : 0, NULL, &value, NULL, NULL, 0), "PQsendQueryParams");
}

/* ---- steps ---- */

static void prepare(struct user *u)
{
	PGconn *c = u->conn;

	check(c, PQenterPipelineMode(c), "PQenterPipelineMode");
	send_prepare(c, "both", "select $1::text || 'x'");
	send_prepare(c, "own", e2e_text("select $1::text || '%s'", u->tag));
	check(c, PQpipelineSync(c), "PQpipelineSync");
	expect(c, PGRES_COMMAND_OK, NULL);
	end(c);
	expect(c, PGRES_COMMAND_OK, NULL);
	end(c);
	sync_done(c);
}

static void many(struct user *u)
{
	PGconn *c = u->conn;

	for (int i = 0; i < 40; i++) {
		send_prepared(c, i % 2 ? "both" : "own", e2e_text("%d", i));
		send_params(c, "select $1::text", u->tag);
		if (i % 10 == 9)
			check(c, PQpipelineSync(c), "PQpipelineSync");
	}
	for (int i = 0; i < 40; i++) {
		expect(c, PGRES_TUPLES_OK, e2e_text("%d%s", i, i % 2 ? "x" : u->tag));
		end(c);
		expect(c, PGRES_TUPLES_OK, u->tag);
		end(c);
		if (i % 10 == 9)
			sync_done(c);
	}
}

/* What stands in front of an error is taken back with it, what stands behind is skipped, the next batch runs. */
static void errors(struct user *u)
{
	PGconn *c = u->conn;

	send_params(c, "insert into libpq_test values ($1)", u->tag);
	send_prepared(c, "nobody has this", "1");
	send_prepared(c, "own", "1");
	send_prepare(c, "skipped", "select 1");
	check(c, PQpipelineSync(c), "PQpipelineSync");
	send_prepared(c, "own", "2");
	send_prepare(c, "own", "select 'taken'");
	check(c, PQpipelineSync(c), "PQpipelineSync");
	send_prepared(c, "skipped", "1");
	check(c, PQpipelineSync(c), "PQpipelineSync");
	send_params(c, "select count(*) from libpq_test where v = $1", u->tag);
	check(c, PQpipelineSync(c), "PQpipelineSync");

	expect(c, PGRES_COMMAND_OK, NULL);
	end(c);
	error(c, "26000");
	end(c);
	for (int i = 0; i < 2; i++) {
		expect(c, PGRES_PIPELINE_ABORTED, NULL);
		end(c);
	}
	sync_done(c);
	expect(c, PGRES_TUPLES_OK, e2e_text("2%s", u->tag));
	end(c);
	error(c, "42P05");
	end(c);
	sync_done(c);
	error(c, "26000");
	end(c);
	sync_done(c);
	expect(c, PGRES_TUPLES_OK, "0");
	end(c);
	sync_done(c);
}

/* Answers come before the Sync; the batch, and so the server, stays open over several turns of the clients. */
static void flush(struct user *u)
{
	PGconn *c = u->conn;

	send_params(c, "insert into libpq_test values ($1)", u->tag);
	check(c, PQsendFlushRequest(c) && PQflush(c) == 0, "PQsendFlushRequest");
	expect(c, PGRES_COMMAND_OK, NULL);
	end(c);
	send_prepared(c, "own", "f");
	check(c, PQsendFlushRequest(c) && PQflush(c) == 0, "PQsendFlushRequest");
	expect(c, PGRES_TUPLES_OK, e2e_text("f%s", u->tag));
	end(c);
	send_params(c, "select 1 / $1::int", "0");
	check(c, PQpipelineSync(c), "PQpipelineSync");
	error(c, "22012");
	end(c);
	sync_done(c);
	send_params(c, "select count(*) from libpq_test where v = $1", u->tag);
	check(c, PQpipelineSync(c), "PQpipelineSync");
	expect(c, PGRES_TUPLES_OK, "0");
	end(c);
	sync_done(c);
}

static void transaction(struct user *u)
{
	PGconn *c = u->conn;

	for (int i = 0; i < 2; i++) {
		send_params(c, "begin", NULL);
		send_params(c, "insert into libpq_test values ($1)", u->tag);
		send_params(c, i ? "rollback" : "commit", NULL);
		check(c, PQpipelineSync(c), "PQpipelineSync");
	}
	send_params(c, "delete from libpq_test where v = $1 returning v", u->tag);
	check(c, PQpipelineSync(c), "PQpipelineSync");
	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < 3; k++) {
			expect(c, PGRES_COMMAND_OK, NULL);
			end(c);
		}
		sync_done(c);
	}
	assert_int_equal(PQntuples(expect(c, PGRES_TUPLES_OK, u->tag)), 1);
	end(c);
	sync_done(c);
}

static void single_rows(struct user *u)
{
	PGconn *c = u->conn;

	send_params(c, "select $1::text || g from generate_series(1, 50) g", u->tag);
	send_prepared(c, "own", "s");
	check(c, PQpipelineSync(c), "PQpipelineSync");
	for (int i = 1; i <= 50; i++) {
		if (i == 1)
			check(c, PQsetSingleRowMode(c), "PQsetSingleRowMode");
		expect(c, PGRES_SINGLE_TUPLE, e2e_text("%s%d", u->tag, i));
	}
	expect(c, PGRES_TUPLES_OK, NULL);
	end(c);
	expect(c, PGRES_TUPLES_OK, e2e_text("s%s", u->tag));
	end(c);
	sync_done(c);
	check(c, PQexitPipelineMode(c), "PQexitPipelineMode");
}

static void copy(struct user *u)
{
	PGconn *c = u->conn;
	const char *line = e2e_text("%s\n", u->tag);
	char *got;
	int n = 0;

	check(c, PQsendQuery(c, "copy libpq_test from stdin"), "PQsendQuery");
	expect(c, PGRES_COPY_IN, NULL);
	for (int i = 0; i < 200; i++)
		check(c, PQputCopyData(c, line, (int)strlen(line)) == 1, "PQputCopyData");
	check(c, PQputCopyEnd(c, NULL) == 1, "PQputCopyEnd");
	assert_string_equal(PQcmdTuples(expect(c, PGRES_COMMAND_OK, NULL)), "200");
	end(c);

	check(c, PQsendQuery(c, "copy libpq_test from stdin"), "PQsendQuery");
	expect(c, PGRES_COPY_IN, NULL);
	check(c, PQputCopyData(c, line, (int)strlen(line)) == 1, "PQputCopyData");
	check(c, PQputCopyEnd(c, "no more") == 1, "PQputCopyEnd");
	error(c, "57014");
	end(c);

	send_params(c, e2e_text("copy (select v from libpq_test where v = '%s') to stdout", u->tag), NULL);
	expect(c, PGRES_COPY_OUT, NULL);
	for (; PQgetCopyData(c, &got, 0) > 0; n++) {
		assert_string_equal(got, line);
		PQfreemem(got);
	}
	assert_int_equal(n, 200);
	expect(c, PGRES_COMMAND_OK, NULL);
	end(c);
	db_value(c, "delete from libpq_test where v = '%s'", u->tag);
}

static void cursor(struct user *u)
{
	PGconn *c = u->conn;

	db_value(c, "begin");
	db_value(c, "declare c cursor for select '%s' || g from generate_series(1, 30) g", u->tag);
	for (int i = 1; i <= 30; i++)
		assert_string_equal(db_value(c, "fetch c"), e2e_text("%s%d", u->tag, i));
	assert_string_equal(db_error(c, "select 1 / 0"), "22012");
	assert_string_equal(db_error(c, "fetch c"), "25P02");
	db_value(c, "rollback");
	assert_string_equal(db_error(c, "fetch c"), "34000");
}

static void cancel(struct user *u, PGconn *other)
{
	PGcancel *k = PQgetCancel(u->conn);
	char why[256];

	send_params(u->conn, e2e_text("select pg_sleep($1), '%s sleeps'", u->tag), "60");
	WAIT_UNTIL(atoi(db_value(other,
			   "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
			   " and query like '%%%s sleeps%%'",
			   u->tag)) == 1);
	check(u->conn, PQcancel(k, why, sizeof(why)), why);
	PQfreeCancel(k);
	error(u->conn, "57014");
	end(u->conn);
	assert_string_equal(db_value(u->conn, "select '%s'", u->tag), u->tag);
}

static void listen(struct user *u, PGconn *other)
{
	PGnotify *n;

	db_value(u->conn, "listen libpq_news");
	db_value(other, "notify libpq_news, '%s'", u->tag);
	WAIT_UNTIL(PQconsumeInput(u->conn) && (n = PQnotifies(u->conn)));
	assert_string_equal(n->extra, u->tag);
	PQfreemem(n);
	db_value(u->conn, "unlisten *");
}

void libpq_drive(const char *dsn)
{
	static void (*const steps[])(struct user * u) = {
		prepare, many, errors, many, flush, transaction, many, single_rows, copy, cursor};
	struct user users[CLIENTS];

	for (size_t i = 0; i < CLIENTS; i++)
		users[i] = (struct user){db_connect("%s", dsn), e2e_text("t%zu", i)};
	db_value(users[0].conn, "create table libpq_test (v text)");
	for (size_t k = 0; k < sizeof(steps) / sizeof(*steps); k++)
		for (size_t i = 0; i < CLIENTS; i++)
			steps[k](&users[i]);
	cancel(&users[0], users[1].conn);
	listen(&users[0], users[1].conn);
	listen(&users[2], users[0].conn);
	assert_string_equal(db_value(users[0].conn, "select count(*) from libpq_test"), "0");
	db_value(users[0].conn, "drop table libpq_test");
}
