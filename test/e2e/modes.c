/*
 * modes: what a client sees of the wire in every pool mode: the simple and the
 * extended protocol, pipelines, COPY in both directions, notices, errors,
 * cancel requests, function calls and portals.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include "e2e/modes.h"

static void expect_tuple(PGconn *c, const char *value)
{
	PGresult *r = db_result(c);

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("instead of %s: %s", value, PQresultErrorMessage(r));
	assert_string_equal(PQgetvalue(r, 0, 0), value);
}

static void expect_status(PGconn *c, ExecStatusType status)
{
	PGresult *r = db_result(c);

	if (!r || PQresultStatus(r) != status)
		fail_msg("instead of %s: %s %s", PQresStatus(status), r ? PQresStatus(PQresultStatus(r)) : "nothing",
			r ? PQresultErrorMessage(r) : "");
}

static void expect_error(PGconn *c, const char *code)
{
	PGresult *r = db_result(c);

	assert_non_null(r);
	assert_string_equal(code_of(r), code);
}

static void expect_end(PGconn *c)
{
	assert_null(db_result(c));
}

/* ---- the simple protocol -------------------------------------------------------- */

static void simple(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	PGresult *r = db_keep(PQexec(c, "select n as one, 'row ' || n as two from generate_series(1, 3) n"));

	assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
	assert_int_equal(PQntuples(r), 3);
	assert_string_equal(PQfname(r, 1), "two");
	assert_string_equal(PQgetvalue(r, 2, 1), "row 3");
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, ""))), PGRES_EMPTY_QUERY);
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, " ; -- nothing"))), PGRES_EMPTY_QUERY);
	assert_string_equal(db_error(c, "select 1 / 0"), "22012");
	assert_string_equal(db_error_text(c), "division by zero");
	assert_string_equal(db_error(c, "selec 1"), "42601");
	is_alive(c);
	if (!has_blocks(mode))
		return;
	db_value(c, "begin");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_INTRANS);
	assert_string_equal(db_error(c, "select 1 / 0"), "22012");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_INERROR);
	assert_string_equal(db_error(c, "select 1"), "25P02");
	r = db_keep(PQexec(c, "commit"));
	assert_string_equal(PQcmdStatus(r), "ROLLBACK");
	is_alive(c);
}
IN_EACH_MODE(simple)

static void several_statements(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	const char *table = e2e_text("several_%s", mode);

	assert_true(PQsendQuery(c, e2e_text("create table %s (n int); insert into %s values (1); select 'second';"
					    " select 'third'",
					   table, table)));
	expect_status(c, PGRES_COMMAND_OK);
	expect_status(c, PGRES_COMMAND_OK);
	expect_tuple(c, "second");
	expect_tuple(c, "third");
	expect_end(c);
	assert_true(PQsendQuery(c, e2e_text("insert into %s values (2); select 1 / 0; select 'never'", table)));
	expect_status(c, PGRES_COMMAND_OK);
	expect_error(c, "22012");
	expect_end(c);
	assert_string_equal(db_value(c, "select count(*) from %s", table), "1");
	/* A block of its own inside one query. */
	assert_true(PQsendQuery(c, e2e_text("begin; insert into %s values (3); rollback; select 'over'", table)));
	for (int i = 0; i < 3; i++)
		expect_status(c, PGRES_COMMAND_OK);
	expect_tuple(c, "over");
	expect_end(c);
	assert_string_equal(db_value(c, "select count(*) from %s", table), "1");
	db_value(c, "drop table %s", table);
}
IN_EACH_MODE(several_statements)

/* ---- the extended protocol ------------------------------------------------------ */

static void extended(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	static const char blob[] = {0, 1, 2, '\\', 0, (char)255};
	const uint32_t sent = htonl(42);
	uint32_t got;
	const char *values[] = {"7", NULL, blob, (const char *)&sent};
	const Oid types[] = {23, 25, 17, 23};
	const int lengths[] = {0, 0, sizeof(blob), sizeof(sent)}, formats[] = {0, 0, 1, 1};
	PGresult *r = db_keep(PQexecParams(c, "select $1 + 1, $2, $3, $4", 4, types, values, lengths, formats, 1));

	assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
	memcpy(&got, PQgetvalue(r, 0, 0), sizeof(got));
	assert_int_equal(ntohl(got), 8);
	assert_true(PQgetisnull(r, 0, 1));
	assert_int_equal(PQgetlength(r, 0, 2), sizeof(blob));
	assert_memory_equal(PQgetvalue(r, 0, 2), blob, sizeof(blob));
	assert_memory_equal(PQgetvalue(r, 0, 3), &sent, sizeof(sent));
	r = db_keep(PQexecParams(c, "", 0, NULL, NULL, NULL, NULL, 0));
	assert_int_equal(PQresultStatus(r), PGRES_EMPTY_QUERY);
	values[0] = "no number";
	r = db_keep(PQexecParams(c, "select $1::int", 1, NULL, values, NULL, NULL, 0));
	assert_string_equal(code_of(r), "22P02");
	r = db_keep(PQexecParams(c, "select $1::int, $2", 1, NULL, values, NULL, NULL, 0));
	assert_string_equal(code_of(r), "08P01");
	is_alive(c);
	for (int i = 0; i < 100; i++) {
		const char *tag = e2e_text("%s %d", mode, i);

		r = db_keep(PQexecParams(c, "select $1::text", 1, NULL, &tag, NULL, NULL, 0));
		assert_string_equal(PQgetvalue(r, 0, 0), tag);
	}
}
IN_EACH_MODE(extended)

/* ---- pipelines ------------------------------------------------------------------- */

static void send_tag(PGconn *c, const char *sql, int tag)
{
	const char *value = e2e_text("%d", tag);

	assert_true(PQsendQueryParams(c, sql, 1, NULL, &value, NULL, NULL, 0));
}

static void pipelined(const char *mode)
{
	PGconn *c = client(start(mode, 2));

	assert_true(PQenterPipelineMode(c));
	for (int batch = 0; batch < 10; batch++) {
		for (int i = 0; i < 20; i++)
			send_tag(c, "select $1::int", batch * 20 + i);
		assert_true(PQpipelineSync(c));
	}
	for (int batch = 0; batch < 10; batch++) {
		for (int i = 0; i < 20; i++) {
			expect_tuple(c, e2e_text("%d", batch * 20 + i));
			expect_end(c);
		}
		expect_status(c, PGRES_PIPELINE_SYNC);
	}
	/* Results before the Sync, at a Flush. */
	send_tag(c, "select $1::int", 1);
	assert_true(PQsendFlushRequest(c));
	assert_int_equal(PQflush(c), 0);
	expect_tuple(c, "1");
	expect_end(c);
	send_tag(c, "select $1::int", 2);
	assert_true(PQpipelineSync(c));
	expect_tuple(c, "2");
	expect_end(c);
	expect_status(c, PGRES_PIPELINE_SYNC);
	assert_true(PQexitPipelineMode(c));
	is_alive(c);
}
IN_EACH_MODE(pipelined)

/* What stands behind an error up to the Sync is skipped, what stands before it is undone, the next batch runs. */
static void errors_in_pipelines(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	const char *table = e2e_text("pipeline_%s", mode), *insert = e2e_text("insert into %s values ($1::int)", table);

	db_value(c, "create table %s (n int)", table);
	assert_true(PQenterPipelineMode(c));
	send_tag(c, insert, 1);
	send_tag(c, "select 1 / ($1::int - 5)", 5);
	send_tag(c, insert, 2);
	assert_true(PQpipelineSync(c));
	send_tag(c, insert, 3);
	send_tag(c, "select 1 from no_such_table where $1 = 1", 1);
	assert_true(PQpipelineSync(c));
	send_tag(c, insert, 4);
	assert_true(PQpipelineSync(c));
	expect_status(c, PGRES_COMMAND_OK);
	expect_end(c);
	expect_error(c, "22012");
	expect_end(c);
	expect_status(c, PGRES_PIPELINE_ABORTED);
	expect_end(c);
	expect_status(c, PGRES_PIPELINE_SYNC);
	expect_status(c, PGRES_COMMAND_OK);
	expect_end(c);
	expect_error(c, "42P01");
	expect_end(c);
	expect_status(c, PGRES_PIPELINE_SYNC);
	expect_status(c, PGRES_COMMAND_OK);
	expect_end(c);
	expect_status(c, PGRES_PIPELINE_SYNC);
	assert_true(PQexitPipelineMode(c));
	assert_string_equal(db_value(c, "select string_agg(n::text, ',') from %s", table), "4");
	db_value(c, "drop table %s", table);
}
IN_EACH_MODE(errors_in_pipelines)

static void a_transaction_over_batches(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	static const char *const steps[] = {"begin", "select pg_backend_pid()", "select pg_backend_pid()", "commit"};
	char *pid = NULL;

	assert_true(PQenterPipelineMode(c));
	for (size_t i = 0; i < 4; i++) {
		assert_true(PQsendQueryParams(c, steps[i], 0, NULL, NULL, NULL, NULL, 0));
		assert_true(PQpipelineSync(c));
	}
	for (size_t i = 0; i < 4; i++) {
		PGresult *r = db_result(c);

		if (i == 1)
			pid = PQgetvalue(r, 0, 0);
		else if (i == 2)
			assert_string_equal(PQgetvalue(r, 0, 0), pid);
		else
			assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
		expect_end(c);
		expect_status(c, PGRES_PIPELINE_SYNC);
	}
	assert_true(PQexitPipelineMode(c));
	is_alive(c);
}

static void transactions_over_batches(void **state)
{
	(void)state;
	a_transaction_over_batches("session");
	a_transaction_over_batches("transaction");
}

/* ---- COPY -------------------------------------------------------------------------- */

enum { COPY_ROWS = 20000 };

static void put_rows(PGconn *c, int from, int to)
{
	for (int i = from; i <= to; i++) {
		char row[64];
		int n = snprintf(row, sizeof(row), "%d\trow number %d\n", i, i);

		assert_int_equal(PQputCopyData(c, row, n), 1);
	}
}

static void copy_in(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	const char *table = e2e_text("copy_in_%s", mode), *copy = e2e_text("copy %s from stdin", table);

	db_value(c, "create table %s (id int primary key, t text)", table);
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, copy))), PGRES_COPY_IN);
	put_rows(c, 1, COPY_ROWS);
	assert_int_equal(PQputCopyEnd(c, NULL), 1);
	assert_string_equal(PQcmdTuples(db_result(c)), e2e_text("%d", COPY_ROWS));
	expect_end(c);
	assert_string_equal(db_value(c, "select count(*) || ' ' || sum(id) from %s where t = 'row number ' || id",
				    table),
		e2e_text("%d %d", COPY_ROWS, COPY_ROWS / 2 * (COPY_ROWS + 1)));
	/* The client gives up. */
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, copy))), PGRES_COPY_IN);
	put_rows(c, COPY_ROWS + 1, COPY_ROWS + 10);
	assert_int_equal(PQputCopyEnd(c, "had enough"), 1);
	expect_error(c, "57014");
	expect_end(c);
	/* The server does, while the client still sends. */
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, copy))), PGRES_COPY_IN);
	put_rows(c, 1, COPY_ROWS);
	PQputCopyEnd(c, NULL);
	expect_error(c, "23505");
	expect_end(c);
	/* The extended protocol. */
	assert_int_equal(PQresultStatus(db_keep(PQexecParams(c, copy, 0, NULL, NULL, NULL, NULL, 0))), PGRES_COPY_IN);
	put_rows(c, COPY_ROWS + 1, COPY_ROWS + 5);
	assert_int_equal(PQputCopyEnd(c, NULL), 1);
	assert_string_equal(PQcmdTuples(db_result(c)), "5");
	expect_end(c);
	assert_string_equal(db_value(c, "select count(*) from %s", table), e2e_text("%d", COPY_ROWS + 5));
	db_value(c, "drop table %s", table);
	is_alive(c);
}
IN_EACH_MODE(copy_in)

static int copied_rows(PGconn *c, size_t *bytes)
{
	int rows = 0, n;
	char *row;

	while ((n = PQgetCopyData(c, &row, 0)) > 0) {
		rows++;
		*bytes += (size_t)n;
		PQfreemem(row);
	}
	assert_int_equal(n, -1);
	return rows;
}

static void copy_out(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	size_t bytes = 0;

	assert_int_equal(PQresultStatus(db_keep(PQexec(c, "copy (select repeat('x', 99) from generate_series(1, 20000))"
							  " to stdout"))),
		PGRES_COPY_OUT);
	assert_int_equal(copied_rows(c, &bytes), 20000);
	assert_int_equal(bytes, 20000 * 100);
	assert_string_equal(PQcmdTuples(db_result(c)), "20000");
	expect_end(c);
	/* An error behind some rows. */
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, "copy (select 1 / (n - 1000) from generate_series(1, 2000) n)"
							  " to stdout"))),
		PGRES_COPY_OUT);
	for (char *row; PQgetCopyData(c, &row, 0) > 0; PQfreemem(row))
		;
	expect_error(c, "22012");
	expect_end(c);
	/* Binary, extended, and what comes behind it in the same query. */
	assert_int_equal(PQresultStatus(db_keep(PQexecParams(c, "copy (select 1) to stdout (format binary)", 0, NULL,
				 NULL, NULL, NULL, 0))),
		PGRES_COPY_OUT);
	assert_true(copied_rows(c, &bytes) > 0);
	expect_status(c, PGRES_COMMAND_OK);
	expect_end(c);
	assert_true(PQsendQuery(c, "copy (select 1) to stdout; select 'behind'"));
	expect_status(c, PGRES_COPY_OUT);
	assert_int_equal(copied_rows(c, &bytes), 1);
	expect_status(c, PGRES_COMMAND_OK);
	expect_tuple(c, "behind");
	expect_end(c);
	is_alive(c);
}
IN_EACH_MODE(copy_out)

/* ---- notices, cancel, function calls ------------------------------------------------ */

static void note(void *arg, const PGresult *r)
{
	char *seen = arg;

	strcat(seen, code_of(r));
	strcat(seen, " ");
	strcat(seen, PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
	strcat(seen, ";");
}

static void notices(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	char seen[512] = "";

	PQsetNoticeReceiver(c, note, seen);
	db_value(c, "do $$ begin raise notice 'one'; raise warning 'two'; raise info 'three'; end $$");
	assert_string_equal(seen, "00000 one;01000 two;00000 three;");
	seen[0] = '\0';
	db_value_ext(c, "drop table if exists no_such_table");
	assert_string_equal(seen, "00000 table \"no_such_table\" does not exist, skipping;");
	seen[0] = '\0';
	assert_string_equal(
		db_error(c, "do $$ begin raise notice 'before'; raise exception 'x' using errcode = 'PS001'; end $$"),
		"PS001");
	assert_string_equal(seen, "00000 before;");
}
IN_EACH_MODE(notices)

static void cancelled(const char *mode)
{
	struct bouncer *b = start(mode, 2);
	PGconn *c = client(b);
	char why[256];
	PGcancel *cancel = PQgetCancel(c);

	/* Of an idle client nothing happens. */
	assert_true(PQcancel(cancel, why, sizeof(why)));
	is_alive(c);
	assert_true(PQsendQuery(c, e2e_text("select 'cancelled in %s', pg_sleep(1000)", mode)));
	WAIT_UNTIL(strcmp(pg_value(pg_shared(),
				  "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like "
				  "'select ''cancelled in %s%%'",
				  mode),
			   "1") == 0);
	assert_true(PQcancel(cancel, why, sizeof(why)));
	expect_error(c, "57014");
	expect_end(c);
	PQfreeCancel(cancel);
	is_alive(c);
}
IN_EACH_MODE(cancelled)

static void function_calls(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	const PQArgBlock args[] = {{4, 1, {.integer = 40}}, {4, 1, {.integer = 2}}};
	int result = 0, length = 0;
	PGresult *r;
	Oid int4pl = (Oid)atoi(db_value(c, "select 'int4pl'::regproc::oid"));

	r = db_keep(PQfn(c, (int)int4pl, &result, &length, 1, args, 2));
	assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
	assert_int_equal(result, 42);
	r = db_keep(PQfn(c, 1, &result, &length, 1, args, 2));
	assert_string_equal(code_of(r), "42883");
	is_alive(c);
}
IN_EACH_MODE(function_calls)

/* ---- bytes: portals ------------------------------------------------------------------ */

struct bytes {
	char b[512];
	size_t n;
};

static void put(struct bytes *to, const void *p, size_t n)
{
	assert_true(to->n + n <= sizeof(to->b));
	memcpy(to->b + to->n, p, n);
	to->n += n;
}

static void put_text(struct bytes *to, const char *s)
{
	put(to, s, strlen(s) + 1);
}

static void put_zeros(struct bytes *to, size_t n)
{
	put(to, (char[8]){0}, n);
}

static void send_parse(int fd, const char *name, const char *sql)
{
	struct bytes m = {.n = 0};

	put_text(&m, name);
	put_text(&m, sql);
	put_zeros(&m, 2);
	assert_true(raw_message(fd, 'P', m.b, m.n));
}

static void send_bind(int fd, const char *portal, const char *name)
{
	struct bytes m = {.n = 0};

	put_text(&m, portal);
	put_text(&m, name);
	put_zeros(&m, 6);
	assert_true(raw_message(fd, 'B', m.b, m.n));
}

static void send_execute(int fd, const char *portal, uint32_t rows)
{
	struct bytes m = {.n = 0};
	uint32_t word = htonl(rows);

	put_text(&m, portal);
	put(&m, &word, 4);
	assert_true(raw_message(fd, 'E', m.b, m.n));
}

/* The next messages have these types. */
static void expect_types(int fd, const char *types)
{
	char got[128] = "", *payload;
	size_t n, len;

	for (n = 0; types[n] && n < sizeof(got) - 1; n++) {
		got[n] = raw_read(fd, &payload, &len);
		if (!got[n])
			break;
	}
	assert_string_equal(got, types);
}

static int raw_client(struct bouncer *b)
{
	int fd = raw_connect(bouncer_port(b), NULL);
	char *payload, type;
	size_t n;

	assert_true(raw_startup(fd, "user", "app_scram", "database", "app", NULL));
	do {
		type = raw_read(fd, &payload, &n);
		if (type == 0 || type == 'E')
			fail_msg("no login: %s", type ? raw_field(payload, n, 'M') : "closed");
	} while (type != 'Z');
	return fd;
}

/* Rows by fours, in one batch; and over batches inside a transaction. */
static void portals(const char *mode)
{
	int fd = raw_client(start(mode, 2));

	send_parse(fd, "", "select generate_series(1, 10)");
	send_bind(fd, "p", "");
	for (int i = 0; i < 3; i++)
		send_execute(fd, "p", 4);
	assert_true(raw_message(fd, 'C', "Pp", 3));
	assert_true(raw_message(fd, 'S', "", 0));
	expect_types(fd, "12DDDDsDDDDsDDC3Z");
	if (!has_blocks(mode))
		return;
	assert_true(raw_message(fd, 'Q', "begin", 6));
	expect_types(fd, "CZ");
	send_parse(fd, "", "select generate_series(1, 5)");
	send_bind(fd, "p", "");
	assert_true(raw_message(fd, 'D', "Pp", 3));
	send_execute(fd, "p", 2);
	assert_true(raw_message(fd, 'S', "", 0));
	expect_types(fd, "12TDDsZ");
	send_execute(fd, "p", 0);
	assert_true(raw_message(fd, 'S', "", 0));
	expect_types(fd, "DDDCZ");
	assert_true(raw_message(fd, 'Q', "commit", 7));
	expect_types(fd, "CZ");
	send_execute(fd, "p", 0); /* it went with the transaction */
	assert_true(raw_message(fd, 'S', "", 0));
	expect_types(fd, "EZ");
}
IN_EACH_MODE(portals)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_each_mode(simple),
		in_each_mode(several_statements),
		in_each_mode(extended),
		in_each_mode(pipelined),
		in_each_mode(errors_in_pipelines),
		e2e_test(transactions_over_batches),
		in_each_mode(copy_in),
		in_each_mode(copy_out),
		in_each_mode(notices),
		in_each_mode(cancelled),
		in_each_mode(function_calls),
		in_each_mode(portals),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
