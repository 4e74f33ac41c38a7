/*
 * volume: much of it: large values and queries, many rows, a reader that does
 * not read, and many clients on few servers in every pool mode.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include "e2e/modes.h"

/* ---- large ones ---------------------------------------------------------------------- */

/* What the process has held at most, in kB. */
static long peak_memory(struct bouncer *b)
{
	const char *status = e2e_read(e2e_text("/proc/%d/status", (int)bouncer_pid(b)));
	const char *line = strstr(status, "VmHWM:");

	return line ? strtol(line + strlen("VmHWM:"), NULL, 10) : 0;
}

/* Megabytes; `make check-long` has more of them. */
static size_t large(size_t usual)
{
	const char *more = getenv("PSB_TEST_LARGE_MB");

	return (more && *more ? (size_t)atoi(more) : usual) << 20;
}

/* A value of 64 MB there and back: of its Bind the head is held, the rest streams, as its row does. */
static void large_values(void **state)
{
	struct bouncer *b = start("transaction", 2);
	PGconn *c = client(b);
	const size_t size = large(64);
	long before = peak_memory(b);
	char *value = malloc(size);
	const char *values[] = {value};
	const Oid types[] = {17};
	const int lengths[] = {(int)size}, formats[] = {1};
	PGresult *r;

	(void)state;
	assert_non_null(value);
	for (size_t i = 0; i < size; i++)
		value[i] = (char)(i * 2654435761U >> 24);
	r = PQexecParams(c, "select $1", 1, types, values, lengths, formats, 1);
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s", PQresultErrorMessage(r));
	assert_int_equal(PQgetlength(r, 0, 0), size);
	assert_true(memcmp(PQgetvalue(r, 0, 0), value, size) == 0);
	PQclear(r);
	free(value);
	is_alive(c);
	if (!e2e_sanitized())
		assert_in_range(peak_memory(b) - before, 0, 4096);
}

/* A text of 10 MB, in both protocols. */
static void large_queries(const char *mode)
{
	struct bouncer *b = start(mode, 2);
	PGconn *c = client(b);
	const size_t size = large(10);
	long before = peak_memory(b);
	char *sql = malloc(size + 64);
	size_t n = (size_t)snprintf(sql, 64, "select length('");

	assert_non_null(sql);
	memset(sql + n, 'x', size);
	strcpy(sql + n + size, "')");
	for (int i = 0; i < 2; i++) {
		PGresult *r = i ? PQexecParams(c, sql, 0, NULL, NULL, NULL, NULL, 0) : PQexec(c, sql);

		assert_string_equal(PQgetvalue(r, 0, 0), e2e_text("%zu", size));
		PQclear(r);
	}
	free(sql);
	is_alive(c);
	if (!e2e_sanitized())
		assert_in_range(peak_memory(b) - before, 0, 4096);
}
IN_EACH_MODE(large_queries)

/* ---- by bytes: what no library sends --------------------------------------------------- */

static int raw_client(struct bouncer *b)
{
	int fd = raw_connect(bouncer_port(b), NULL);
	char *payload;
	size_t n;

	assert_true(raw_startup(fd, "user", "app_scram", "database", "app", NULL));
	while (raw_read(fd, &payload, &n) != 'Z')
		;
	return fd;
}

/* The next answer is this error, and with a Sync all is well again. */
static void expect_error(int fd, const char *code, const char *text)
{
	char *payload, type;
	size_t n;

	while ((type = raw_read(fd, &payload, &n)) != 'E')
		assert_true(type == '1');
	assert_string_equal(raw_field(payload, n, 'C'), code);
	assert_string_equal(raw_field(payload, n, 'M'), text);
	assert_int_equal(raw_read(fd, &payload, &n), 'Z');
	assert_true(raw_message(fd, 'Q', "select 1", sizeof("select 1")));
	while ((type = raw_read(fd, &payload, &n)) != 'Z')
		assert_true(type != 'E' && type != 0);
}

/* A name that has no end: nothing of it is kept, and others are served meanwhile. */
static void a_name_without_end(void **state)
{
	static char chunk[1 << 16];
	struct bouncer *b = start("transaction", 1);
	PGconn *other = client(b);
	size_t size = large(32);
	uint32_t word = htonl((uint32_t)size + 4);
	long before = peak_memory(b);
	int fd = raw_client(b);

	(void)state;
	memset(chunk, 'n', sizeof(chunk));
	assert_true(raw_send(fd, "P", 1) && raw_send(fd, &word, 4));
	for (size_t sent = 0; sent < size; sent += sizeof(chunk)) {
		assert_true(raw_send(fd, chunk, sizeof(chunk)));
		if (sent == size / 2)
			is_alive(other);
	}
	assert_true(raw_message(fd, 'S', "", 0));
	expect_error(fd, "54000", "a name in the message is too long");
	is_alive(other);
	if (!e2e_sanitized())
		assert_in_range(peak_memory(b) - before, 0, 4096);
}

/* As many parameters as there can be, each of a length that is none: the server says what it thinks of it. */
static void parameters_of_no_length(void **state)
{
	enum { PARAMETERS = 65535 };
	static const char text[] = "\0select 1";
	struct bouncer *b = start("transaction", 1);
	PGconn *other = client(b);
	char *parse = malloc(sizeof(text) + 2 + PARAMETERS * 4), *bind = malloc(6 + PARAMETERS * 4 + 2), *p;
	int fd = raw_client(b);

	(void)state;
	assert_true(parse && bind);
	memcpy(parse, text, sizeof(text));
	p = parse + sizeof(text);
	memset(p, 0xff, 2);
	for (int i = 0; i < PARAMETERS; i++)
		memcpy(p + 2 + i * 4, "\0\0\0\27", 4);
	memcpy(bind, "\0\0\0\0\377\377", 6);
	for (int i = 0; i < PARAMETERS; i++)
		memcpy(bind + 6 + i * 4, "\377\377\377\376", 4);
	memset(bind + 6 + PARAMETERS * 4, 0, 2);
	assert_true(raw_message(fd, 'P', parse, sizeof(text) + 2 + PARAMETERS * 4));
	assert_true(raw_message(fd, 'B', bind, 6 + PARAMETERS * 4 + 2));
	assert_true(raw_message(fd, 'E', "\0\0\0\0\0", 5) && raw_message(fd, 'S', "", 0));
	expect_error(fd, "08P01", "insufficient data left in message");
	free(parse);
	free(bind);
	is_alive(other);
}

/* 256 MB of COPY out to a reader that pauses, and in again: they stream, psbouncer holds next to nothing of them. */
static void large_copies(void **state)
{
	struct bouncer *b = start("transaction", 2);
	PGconn *c = client(b);
	char *row = malloc((1 << 20) + 1), *got;
	long before;
	int rows = 0, n;

	(void)state;
	assert_non_null(row);
	db_value(c, "create unlogged table large_copies (t text)");
	before = peak_memory(b);
	assert_int_equal(PQresultStatus(db_keep(PQexec(c,
				 "copy (select repeat('c', 1048575) from generate_series(1, 256))"
				 " to stdout"))),
		PGRES_COPY_OUT);
	for (; (n = PQgetCopyData(c, &got, 0)) > 0; PQfreemem(got)) {
		assert_int_equal(n, 1 << 20);
		if (rows++ % 64 == 0)
			e2e_pause();
	}
	assert_int_equal(rows, 256);
	assert_int_equal(PQresultStatus(db_result(c)), PGRES_COMMAND_OK);
	assert_null(db_result(c));
	memset(row, 'd', 1 << 20);
	row[(1 << 20) - 1] = '\n';
	assert_int_equal(PQresultStatus(db_keep(PQexec(c, "copy large_copies from stdin"))), PGRES_COPY_IN);
	for (rows = 0; rows < 64; rows++)
		assert_int_equal(PQputCopyData(c, row, 1 << 20), 1);
	assert_int_equal(PQputCopyEnd(c, NULL), 1);
	assert_string_equal(PQcmdTuples(db_result(c)), "64");
	assert_null(db_result(c));
	free(row);
	assert_string_equal(db_value(c, "select sum(length(t)) from large_copies"), "67108800");
	db_value(c, "drop table large_copies");
	if (!e2e_sanitized())
		assert_in_range(peak_memory(b) - before, 0, 4096);
}

/* How the requests of a pipeline go. */
struct pipeline {
	bool syncs; /* each with a Sync of its own; else there is one behind all */
	bool named; /* of a statement that was prepared in front; else each is parsed */
};

static void pipeline_send(PGconn *c, const struct pipeline *p, const char *value)
{
	if (p->named)
		assert_true(PQsendQueryPrepared(c, "pipeline", 1, &value, NULL, NULL, 0));
	else
		assert_true(PQsendQueryParams(c, "select $1::text || repeat('x', 100)", 1, NULL, &value, NULL, NULL,
			0));
	if (p->syncs)
		assert_true(PQpipelineSync(c));
}

/* What has been made is written; when nothing more goes, answers are kept by libpq. */
static void pipeline_flush(PGconn *c)
{
	for (int left = 1; left != 0;) {
		struct pollfd p = {.fd = PQsocket(c), .events = POLLIN | POLLOUT};

		left = PQflush(c);
		assert_true(left >= 0);
		if (left)
			assert_true(poll(&p, 1, 30000) > 0);
		assert_true(PQconsumeInput(c));
	}
}

static void pipeline_take(PGconn *c, const struct pipeline *p, int requests)
{
	for (int got = 0; got < requests; got++) {
		PGresult *r = PQgetResult(c);

		if (PQresultStatus(r) != PGRES_TUPLES_OK)
			fail_msg("%d: %s", got, PQresultErrorMessage(r));
		assert_int_equal(atoi(PQgetvalue(r, 0, 0)), got);
		PQclear(r);
		assert_null(PQgetResult(c));
		if (!p->syncs)
			continue;
		r = PQgetResult(c);
		assert_int_equal(PQresultStatus(r), PGRES_PIPELINE_SYNC);
		PQclear(r);
	}
	if (!p->syncs)
		assert_int_equal(PQresultStatus(db_result(c)), PGRES_PIPELINE_SYNC);
}

/* 100,000 requests of a client that reads answers only when it cannot send any more. The seconds that they take. */
static double pipeline_run(PGconn *c, const struct pipeline *p)
{
	enum { REQUESTS_IN_ALL = 100000 };
	struct timespec from, to;

	if (p->named)
		PQclear(PQprepare(c, "pipeline", "select $1::text || repeat('x', 100)", 0, NULL));
	assert_int_equal(PQsetnonblocking(c, 1), 0);
	assert_true(PQenterPipelineMode(c));
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int sent = 0; sent < REQUESTS_IN_ALL; sent++) {
		char value[16];

		snprintf(value, sizeof(value), "%d", sent);
		pipeline_send(c, p, value);
	}
	if (!p->syncs)
		assert_true(PQpipelineSync(c));
	pipeline_flush(c);
	pipeline_take(c, p, REQUESTS_IN_ALL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static void long_pipelines(void **state)
{
	struct bouncer *b = start("transaction", 2);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct pipeline p = {.syncs = i & 1, .named = i & 2};
		PGconn *direct = db_connect("host=127.0.0.1 port=%d dbname=postgres user=app_trust",
			       pg_port(pg_shared())),
		       *c = client(b);
		double straight = pipeline_run(direct, &p), through = pipeline_run(c, &p);

		print_message("# 100,000 %s requests, %s: %.2f s, straight to PostgreSQL %.2f s\n",
			p.named ? "prepared" : "parsed", p.syncs ? "a Sync each" : "one Sync", through, straight);
		/* Generous: a cost that is quadratic would be a matter of minutes. */
		if (through > 4 * straight + 5)
			fail_msg("%.2f s, straight to PostgreSQL %.2f s", through, straight);
		db_close(direct);
		db_close(c);
	}
}

static void many_rows(const char *mode)
{
	PGconn *c = client(start(mode, 2));
	PGresult *r;
	int rows = 0;

	assert_true(PQsendQuery(c, "select n, repeat('y', n % 100) from generate_series(1, 200000) n"));
	assert_true(PQsetSingleRowMode(c));
	while ((r = PQgetResult(c))) {
		if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
			rows++;
			assert_int_equal(atoi(PQgetvalue(r, 0, 0)), rows);
			assert_int_equal(PQgetlength(r, 0, 1), rows % 100);
		} else {
			assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
		}
		PQclear(r);
	}
	assert_int_equal(rows, 200000);
	is_alive(c);
}
IN_EACH_MODE(many_rows)

/* A client that reads nothing while rows come holds back its server, and nobody else. */
static void a_slow_reader(void **state)
{
	struct bouncer *b = start("transaction", 2);
	PGconn *slow = client(b), *other = client(b);
	PGresult *r;
	int rows = 0;

	(void)state;
	assert_true(PQsendQuery(slow, "select repeat('z', 10000) from generate_series(1, 10000)"));
	assert_true(PQsetSingleRowMode(slow));
	WAIT_UNTIL(strcmp(pg_value(pg_shared(),
				  "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'"),
			   "1") == 0);
	for (int i = 0; i < 100; i++)
		is_alive(other);
	while ((r = PQgetResult(slow))) {
		rows += PQresultStatus(r) == PGRES_SINGLE_TUPLE;
		PQclear(r);
	}
	assert_int_equal(rows, 10000);
}

/*
 * A client writes a pipeline and reads no answer, as far as it goes: then it stands, its server too, and nobody else. What
 * psbouncer holds of it is a few buffers; once it reads, all of its answers are there.
 */
static void a_pipeline_that_is_not_read(void **state)
{
	static const char query[] = "Q\0\0\0\x1dselect repeat('p', 5000)";
	struct bouncer *b = start("transaction", 2);
	PGconn *other = client(b);
	long before = peak_memory(b);
	int fd = raw_client(b), queries = 0;
	size_t at = 0, n;
	char *payload, type;
	ssize_t sent;

	(void)state;
	assert_int_equal(sizeof(query), 1 + 0x1d);
	do {
		while ((sent = send(fd, query + at, sizeof(query) - at, MSG_DONTWAIT)) > 0) {
			at = (at + (size_t)sent) % sizeof(query);
			queries += !at;
		}
		assert_true(sent < 0 && errno == EAGAIN);
		is_alive(other);
	} while (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 0) > 0 ||
		 strcmp(pg_value(pg_shared(), "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'"),
			 "1") != 0);
	for (int i = 0; i < 100; i++)
		is_alive(other);
	if (!e2e_sanitized())
		assert_in_range(peak_memory(b) - before, 0, 4096);
	for (int got = 0; got < queries; got += type == 'Z') {
		type = raw_read(fd, &payload, &n);
		assert_true(type == 'T' || type == 'D' || type == 'C' || type == 'Z');
		if (type == 'D')
			assert_int_equal(n, 2 + 4 + 5000);
	}
	if (at) /* the last one was cut */
		assert_true(raw_send(fd, query + at, sizeof(query) - at));
	is_alive(other);
}

/* ---- many clients on few servers -------------------------------------------------------- */

enum { CLIENTS = 60, SERVERS = 4, REQUESTS = 40 };

struct tagged {
	PGconn *c; /* NULL: it is through */
	int sent;
	char tag[64];
};

/* The next request of client i, in one protocol or the other, with a tag that nobody else has. */
static void send_next(struct tagged *t, int i)
{
	const char *value = t->tag;

	snprintf(t->tag, sizeof(t->tag), "client %d request %d", i, t->sent);
	if (t->sent++ % 2)
		assert_true(PQsendQueryParams(t->c, "select $1::text", 1, NULL, &value, NULL, NULL, 0));
	else
		assert_true(PQsendQuery(t->c, e2e_text("select '%s'", t->tag)));
}

static void take_reply(struct tagged *t, int i)
{
	PGresult *r;

	if (!PQconsumeInput(t->c))
		fail_msg("client %d: %s", i, PQerrorMessage(t->c));
	while (!PQisBusy(t->c)) {
		r = db_keep(PQgetResult(t->c));
		if (!r)
			break;
		if (PQresultStatus(r) != PGRES_TUPLES_OK || strcmp(PQgetvalue(r, 0, 0), t->tag) != 0)
			fail_msg("client %d wants \"%s\": %s %s", i, t->tag, PQgetvalue(r, 0, 0),
				PQresultErrorMessage(r));
	}
	if (PQisBusy(t->c))
		return;
	if (t->sent < REQUESTS) {
		send_next(t, i);
	} else {
		db_close(t->c);
		t->c = NULL;
	}
}

static void many_clients(const char *mode)
{
	struct bouncer *b = start(mode, SERVERS);
	static struct tagged all[CLIENTS];
	struct pollfd fds[CLIENTS];
	int left = CLIENTS;

	for (int i = 0; i < CLIENTS; i++)
		all[i] = (struct tagged){.c = client(b)};
	for (int i = 0; i < CLIENTS; i++)
		send_next(&all[i], i);
	while (left > 0) {
		for (int i = 0; i < CLIENTS; i++)
			fds[i] = (struct pollfd){.fd = all[i].c ? PQsocket(all[i].c) : -1, .events = POLLIN};
		assert_true(poll(fds, CLIENTS, 30000) > 0);
		left = 0;
		for (int i = 0; i < CLIENTS; i++) {
			if (fds[i].revents)
				take_reply(&all[i], i);
			left += all[i].c != NULL;
		}
	}
	assert_in_range(bouncer_number(b, "LISTS", "list", "used_servers", "items"), 1, SERVERS);
	WAIT_UNTIL(bouncer_number(b, "STATS", "database", "app", "total_query_count") == CLIENTS * REQUESTS);
	assert_int_equal(bouncer_number(b, "STATS", "database", "app", "total_xact_count"), CLIENTS * REQUESTS);
}
IN_EACH_MODE(many_clients)

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(large_values),
		e2e_test(large_copies),
		e2e_test(long_pipelines),
		e2e_test(a_name_without_end),
		e2e_test(parameters_of_no_length),
		in_each_mode(large_queries),
		in_each_mode(many_rows),
		e2e_test(a_slow_reader),
		e2e_test(a_pipeline_that_is_not_read),
		in_each_mode(many_clients),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
