/*
 * promise_load: clients that insert rows by requests of many kinds, write down
 * what they were told of each, and look whether each reply is their own: a
 * row's number is given to one request alone, and comes back with its reply.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "promise.h"

/* TARDY_US: a watchdog that slept so much longer than it asked for saw the machine busy. */
enum { WATCHDOG_US = 5000, TARDY_US = 20000, PIPELINED = 2 };

struct worker {
	struct load *load;
	PGconn *conn;
	int number;
	uint64_t random;
};

long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static unsigned chance(struct worker *w, unsigned below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (unsigned)((w->random >> 11) % below);
}

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* ---- replies ---- */

static void is_not_own(struct load *l, const char *sql, const char *came)
{
	if (!atomic_fetch_add(&l->not_own, 1))
		snprintf(l->foreign, sizeof(l->foreign), "%s: %s", sql, came);
}

static void is_other(struct load *l, const char *sql, const char *came)
{
	if (!atomic_fetch_add(&l->others, 1))
		snprintf(l->other, sizeof(l->other), "%s: %s", sql, came);
}

/*
 * The SQLSTATE if it failed, NULL: it went well. expected: the value that comes
 * back, or the command's tag. Takes the result.
 */
static const char *reply(struct load *l, PGresult *r, const char *sql, const char *expected, char state[6])
{
	ExecStatusType status = PQresultStatus(r);
	const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE), *came = NULL;

	if (status == PGRES_COMMAND_OK)
		came = PQcmdStatus(r);
	else if (status == PGRES_TUPLES_OK)
		came = PQntuples(r) == 1 ? PQgetvalue(r, 0, 0) : "not one row";
	if (came && strcmp(came, expected) != 0)
		is_not_own(l, sql, came);
	snprintf(state, 6, "%s", code ? code : "");
	if (!came && strcmp(state, "08006") != 0 && strcmp(state, "08007") != 0)
		is_other(l, sql, r ? PQresultErrorMessage(r) : "no reply");
	PQclear(r);
	return came ? NULL : state;
}

static const char *run(struct worker *w, const char *sql, const char *expected, char state[6])
{
	return reply(w->load, PQexec(w->conn, sql), sql, expected, state);
}

static enum fate fate_of(struct load *l, const char *state)
{
	if (!state)
		return ACKNOWLEDGED;
	if (!strcmp(state, "08007")) {
		l->errors_08007++;
		return UNKNOWN;
	}
	if (!strcmp(state, "08006")) {
		l->errors_08006++;
		return REFUSED;
	}
	return UNKNOWN;
}

/* ---- requests ---- */

static const char insert[] = "insert into rows values ($1) returning id";

static int new_row(struct load *l, char text[12])
{
	int id = l->next++;

	snprintf(text, 12, "%d", id);
	return id;
}

static enum fate is_told(struct load *l, int id, const char *state)
{
	enum fate fate = fate_of(l, state);

	l->fates[id] = (char)fate;
	return fate;
}

static enum fate insert_simple(struct worker *w)
{
	char sql[100], state[6], text[12];
	int id = new_row(w->load, text);

	snprintf(sql, sizeof(sql), "insert into rows values (%s) returning id", text);
	return is_told(w->load, id, run(w, sql, text, state));
}

static enum fate insert_extended(struct worker *w)
{
	char state[6], text[12];
	int id = new_row(w->load, text);
	const char *values[] = {text};
	PGresult *r = PQexecParams(w->conn, insert, 1, NULL, values, NULL, NULL, 0);

	return is_told(w->load, id, reply(w->load, r, insert, text, state));
}

static enum fate insert_prepared(struct worker *w)
{
	char state[6], text[12];
	int id = new_row(w->load, text);
	const char *values[] = {text};
	PGresult *r = PQexecPrepared(w->conn, "insertion", 1, values, NULL, NULL, 0);

	return is_told(w->load, id, reply(w->load, r, "insertion", text, state));
}

/* Whatever is lost before COMMIT was sent is surely not there. */
static enum fate insert_three(struct worker *w)
{
	struct load *l = w->load;
	int id[3];
	const char *failed;
	char sql[100], state[6], text[12];
	enum fate fate;

	failed = run(w, "begin", "BEGIN", state);
	for (int i = 0; i < 3; i++) {
		id[i] = new_row(l, text);
		snprintf(sql, sizeof(sql), "insert into rows values (%s) returning id", text);
		if (!failed)
			failed = run(w, sql, text, state);
	}
	if (failed && !strcmp(failed, "08007"))
		is_other(l, sql, "08007 before COMMIT");
	if (!failed)
		failed = run(w, "commit", "COMMIT", state);
	fate = fate_of(l, failed);
	for (int i = 0; i < 3; i++)
		l->fates[id[i]] = (char)fate;
	if (PQtransactionStatus(w->conn) == PQTRANS_INTRANS || PQtransactionStatus(w->conn) == PQTRANS_INERROR)
		run(w, "rollback", "ROLLBACK", state);
	return fate;
}

/* Up to the end of a request, which alone acknowledges: an error may come after the row. Never a second one. */
static enum fate end_of_request(struct worker *w, int id, const char *text)
{
	const char *failed = NULL;
	char state[6];
	bool replied = false;
	PGresult *r;

	for (int nothing = 0; nothing < 3;) {
		r = PQgetResult(w->conn);
		if (!r) {
			nothing++;
			continue;
		}
		if (PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
			PQclear(r);
			if (!replied)
				is_other(w->load, "pipeline", "no reply");
			return is_told(w->load, id, failed);
		}
		if (failed)
			is_other(w->load, "pipeline", "one more reply after an error");
		failed = reply(w->load, r, "pipeline", text, state);
		replied = true;
	}
	is_other(w->load, "pipeline", "no end of a request");
	return UNKNOWN;
}

/* Two requests at once; each has its own reply. */
static enum fate insert_pipelined(struct worker *w)
{
	char texts[PIPELINED][12];
	enum fate fate = ACKNOWLEDGED;
	int ids[PIPELINED];

	PQenterPipelineMode(w->conn);
	for (int i = 0; i < PIPELINED; i++) {
		const char *values[] = {texts[i]};

		ids[i] = new_row(w->load, texts[i]);
		PQsendQueryParams(w->conn, insert, 1, NULL, values, NULL, NULL, 0);
		PQpipelineSync(w->conn);
	}
	for (int i = 0; i < PIPELINED; i++) {
		enum fate this = end_of_request(w, ids[i], texts[i]);

		if (this != ACKNOWLEDGED)
			fate = this;
	}
	PQexitPipelineMode(w->conn);
	return fate;
}

static enum fate insert_by_copy(struct worker *w)
{
	static const char copy[] = "copy rows from stdin";
	char state[6], line[12], text[12];
	int id = new_row(w->load, text), n = snprintf(line, sizeof(line), "%s\n", text);
	PGresult *r = PQexec(w->conn, copy);

	if (PQresultStatus(r) == PGRES_COPY_IN) {
		PQclear(r);
		PQputCopyData(w->conn, line, n);
		PQputCopyEnd(w->conn, NULL);
		r = PQgetResult(w->conn);
	}
	is_told(w->load, id, reply(w->load, r, copy, "COPY 1", state));
	while ((r = PQgetResult(w->conn))) {
		is_other(w->load, copy, "one more result");
		PQclear(r);
	}
	return (enum fate)w->load->fates[id];
}

/* Nothing but a value that comes back, or an error that has it. Its number becomes no row. */
static enum fate ask(struct worker *w, bool fails)
{
	char sql[100], state[6], text[12], tag[24];
	const char *code;
	PGresult *r;

	new_row(w->load, text);
	snprintf(tag, sizeof(tag), "tag %s.", text);
	snprintf(sql, sizeof(sql), fails ? "select '%s'::int" : "select '%s'", tag);
	r = PQexec(w->conn, sql);
	code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	if (!fails || !code || strcmp(code, "22P02") != 0)
		return fate_of(w->load, reply(w->load, r, sql, tag, state));
	if (!strstr(PQresultErrorMessage(r), tag))
		is_not_own(w->load, sql, PQresultErrorMessage(r));
	PQclear(r);
	return ACKNOWLEDGED;
}

static enum fate request(struct worker *w)
{
	if (!w->load->all_kinds) {
		if (w->number & 1)
			return insert_three(w);
		return w->number & 2 ? insert_simple(w) : insert_extended(w);
	}
	switch (chance(w, 10)) {
	case 0: return insert_simple(w);
	case 1: return insert_extended(w);
	case 2: return insert_prepared(w);
	case 3: return insert_pipelined(w);
	case 4: return insert_by_copy(w);
	case 5: return ask(w, false);
	case 6: return ask(w, true);
	default: return insert_three(w);
	}
}

/* ---- clients ---- */

static void raise_to(atomic_long *most, long value)
{
	for (long is = *most; value > is && !atomic_compare_exchange_weak(most, &is, value);)
		;
}

/* What was asked later than the server took writes again did not wait for it. */
static void waited(struct load *l, long from)
{
	long server = l->server_us;

	if (!server || l->no_end || from < l->event_us + server)
		raise_to(&l->worst_us, now_us() - from);
}

/* Of a pooler that disconnects its clients they come again. */
static bool is_lost(struct load *l, PGconn *c)
{
	if (!l->lost++ && !l->other[0])
		snprintf(l->other, sizeof(l->other), "lost: %s", PQerrorMessage(c));
	while (l->peer && !l->stop && PQstatus(c) != CONNECTION_OK)
		PQreset(c);
	return !l->peer;
}

static void prepare(struct worker *w)
{
	PGresult *r = PQprepare(w->conn, "insertion", insert, 0, NULL);

	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		is_other(w->load, "prepare", PQerrorMessage(w->conn));
	PQclear(r);
}

/* How long a client is without a success counts from where it first asked. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	enum fate fate;
	long from;

	w->conn = PQconnectdb(l->dsn);
	if (l->all_kinds)
		prepare(w);
	from = now_us();
	while (!l->stop && l->next < ROWS_MAX - 4 * CLIENTS) {
		fate = request(w);
		if (PQstatus(w->conn) != CONNECTION_OK && is_lost(l, w->conn))
			break;
		if (fate == ACKNOWLEDGED) {
			waited(l, from);
			l->done++;
			l->served[w->number]++;
		}
		sleep_us(l->think_us);
		if (fate == ACKNOWLEDGED)
			from = now_us();
	}
	if (!l->stop && PQstatus(w->conn) == CONNECTION_OK)
		fprintf(stderr, "no room for more than %d rows\n", ROWS_MAX);
	PQfinish(w->conn);
	free(w);
	return NULL;
}

/* How late the machine is at the very least: the sum of the times that nobody could have answered in. */
static void *watch(void *arg)
{
	struct load *l = arg;

	while (!l->stop) {
		long from = now_us(), late;

		sleep_us(WATCHDOG_US);
		late = now_us() - from - WATCHDOG_US;
		if (late > TARDY_US)
			l->late_us += late;
	}
	return NULL;
}

static void start(pthread_t *thread, void *(*function)(void *), void *arg)
{
	assert_int_equal(pthread_create(thread, NULL, function, arg), 0);
}

void clients_start(struct load *l)
{
	start(&l->watchdog, watch, l);
	for (int i = 0; i < CLIENTS; i++) {
		struct worker *w = malloc(sizeof(*w));

		assert_non_null(w);
		*w = (struct worker){.load = l, .number = i, .random = l->seed * CLIENTS + (uint64_t)i + 1};
		start(&l->threads[i], work, w);
	}
}

void clients_stop(struct load *l)
{
	l->stop = true;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(l->threads[i], NULL);
	pthread_join(l->watchdog, NULL);
}

/* ---- the server itself ---- */

void event_begins(struct load *l)
{
	l->worst_us = 0;
	l->late_us = 0;
	l->server_us = 0;
	l->logins_us = 0;
	l->found_us = 0;
	l->event_us = now_us();
}

static bool takes_a_write(PGconn *c)
{
	PGresult *r = PQexec(c, "insert into probes values (1)");
	bool ok = PQresultStatus(r) == PGRES_COMMAND_OK;

	PQclear(r);
	return ok;
}

/* What a pool's logins cost on this machine now, and a write by each, one after the other. */
static void log_in_as_often(struct load *l)
{
	long from = now_us();

	for (int i = 0; i < POOL; i++) {
		PGconn *c = PQconnectdb(l->probed);

		if (!takes_a_write(c))
			is_other(l, "a login past the pooler", PQerrorMessage(c));
		PQfinish(c);
	}
	l->logins_us = now_us() - from;
}

static void *ask_itself(void *arg)
{
	struct load *l = arg;
	PGconn *c = NULL;

	while (!l->probe_stop && !l->server_us) {
		if (PQstatus(c) != CONNECTION_OK) {
			PQfinish(c);
			c = PQconnectdb(l->probed);
		}
		if (PQstatus(c) == CONNECTION_OK && takes_a_write(c))
			l->server_us = now_us() - l->event_us;
		else
			sleep_us(2000);
	}
	PQfinish(c);
	if (l->server_us)
		log_in_as_often(l);
	return NULL;
}

void probe_start(struct load *l, struct pg *p)
{
	snprintf(l->probed, sizeof(l->probed), "host=127.0.0.1 port=%d dbname=postgres user=app_scram password='%s'",
		pg_port(p), e2e_password("app_scram"));
	l->probe_stop = false;
	start(&l->probe, ask_itself, l);
}

void probe_end(struct load *l)
{
	WAIT_UNTIL(l->server_us);
	l->probe_stop = true;
	pthread_join(l->probe, NULL);
}
