/*
 * tags: two clients never see each other's rows, parameters, notices or
 * statements. Many clients share few servers in transaction mode, each with a
 * tag, a schema, a role and settings of its own, and do everything at once:
 * queries, statements of equal texts and names, pipelines, COPY, cursors,
 * transactions, notices, errors, cancels, and going away in the middle. Every
 * answer must have its own tag, or be what its own settings make of it.
 *
 * TAGS_SECONDS changes how long (10), TAGS_SEED what each client does.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/e2e.h"

enum { CLIENTS = 40, SERVERS = 5, STYLES = 4, ZONES = 4, TEXTS = 8, TEXT = 512 };

/* As the server spells them. */
static const char *const styles[STYLES] = {"ISO, MDY", "ISO, DMY", "German, DMY", "SQL, MDY"};
static const char *const zones[ZONES] = {"UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"};
/* What a literal is depends on the settings when it is parsed, and what is printed on those when it is printed. */
#define DATES "select '01/02/2020'::date::text || ' ' || '2020-07-01 12:00'::timestamptz::text"
static char dates[STYLES][ZONES][TEXT];

struct client {
	unsigned id, serial;
	char tag[32];
	PGconn *conn;
	PGresult *result; /* the last one */
	uint64_t random;
	unsigned style, zone;
	char application_name[64];
	bool has_role;
	char notice[TEXT]; /* that must come, "" when none may */
	unsigned notices;
	char bad_notice[TEXT];
	const char *doing;
	char texts[TEXTS][TEXT];
	unsigned next_text;
	char fresh[64];
	jmp_buf failed;
	pthread_t thread;
};

static struct client clients[CLIENTS];
static char dsn[TEXT];
static unsigned long seed;
static atomic_bool stop;
static pthread_mutex_t failure_lock = PTHREAD_MUTEX_INITIALIZER;
static char failure[2048];

static void __attribute__((format(printf, 2, 3), noreturn)) wrong(struct client *c, const char *fmt, ...)
{
	size_t n;
	va_list ap;

	pthread_mutex_lock(&failure_lock);
	if (!failure[0]) {
		n = (size_t)snprintf(failure, sizeof(failure), "TAGS_SEED=%lu, %s, serial %u, %s: ", seed, c->tag,
			c->serial, c->doing);
		va_start(ap, fmt);
		vsnprintf(failure + n, sizeof(failure) - n, fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&failure_lock);
	atomic_store(&stop, true);
	longjmp(c->failed, 1);
}

static unsigned chance(struct client *c, unsigned below)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (unsigned)((c->random >> 11) % below);
}

static const char *__attribute__((format(printf, 2, 3))) text(struct client *c, const char *fmt, ...)
{
	char *s = c->texts[c->next_text++ % TEXTS];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s, TEXT, fmt, ap);
	va_end(ap);
	return s;
}

/* The tag and a number that was not there before. It stays until the next one. */
static const char *fresh(struct client *c)
{
	snprintf(c->fresh, sizeof(c->fresh), "%s.%u", c->tag, ++c->serial);
	return c->fresh;
}

/* ---- what comes ---- */

static void take(struct client *c, PGresult *r)
{
	PQclear(c->result);
	c->result = r;
	if (c->bad_notice[0])
		wrong(c, "a notice that is not this client's: %s", c->bad_notice);
}

static void on_notice(void *arg, const PGresult *r)
{
	struct client *c = arg;
	const char *what = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	c->notices++;
	if (!what || !c->notice[0] || strcmp(what, c->notice) != 0)
		snprintf(c->bad_notice, sizeof(c->bad_notice), "\"%.400s\"", what ? what : "");
}

static void is(struct client *c, ExecStatusType status)
{
	if (PQresultStatus(c->result) != status)
		wrong(c, "%s instead of %s: %s", PQresStatus(PQresultStatus(c->result)), PQresStatus(status),
			c->result ? PQresultErrorMessage(c->result) : PQerrorMessage(c->conn));
}

static void is_value(struct client *c, const char *value)
{
	is(c, PGRES_TUPLES_OK);
	if (PQntuples(c->result) != 1 || strcmp(PQgetvalue(c->result, 0, 0), value) != 0)
		wrong(c, "%d rows, \"%s\" instead of \"%s\"", PQntuples(c->result),
			PQntuples(c->result) ? PQgetvalue(c->result, 0, 0) : "", value);
}

static void is_error(struct client *c, const char *code, const char *part)
{
	const char *state = PQresultErrorField(c->result, PG_DIAG_SQLSTATE);

	if (PQresultStatus(c->result) != PGRES_FATAL_ERROR || !state || strcmp(state, code) != 0 ||
		!strstr(PQresultErrorMessage(c->result), part))
		wrong(c, "%s \"%s\" instead of the error %s \"%s\"", PQresStatus(PQresultStatus(c->result)),
			PQresultErrorMessage(c->result), code, part);
}

static void query(struct client *c, const char *sql)
{
	take(c, PQexec(c->conn, sql));
}

static void command(struct client *c, const char *sql)
{
	query(c, sql);
	is(c, PGRES_COMMAND_OK);
}

static void value(struct client *c, const char *sql, const char *expected)
{
	query(c, sql);
	is_value(c, expected);
}

static void next(struct client *c)
{
	take(c, PQgetResult(c->conn));
}

static void no_more(struct client *c)
{
	next(c);
	if (c->result)
		wrong(c, "one more result: %s %s", PQresStatus(PQresultStatus(c->result)),
			PQresultErrorMessage(c->result));
}

static void sent(struct client *c, int ok)
{
	if (!ok)
		wrong(c, "sending: %s", PQerrorMessage(c->conn));
}

/* ---- a session ---- */

static void statement(struct client *c, const char *name, const char *sql)
{
	take(c, PQprepare(c->conn, name, sql, 0, NULL));
	is(c, PGRES_COMMAND_OK);
}

/* What a client is: what it sets, and what it prepares under names that all of them use. */
static void settle(struct client *c)
{
	c->style = chance(c, STYLES);
	c->zone = chance(c, ZONES);
	command(c, text(c, "set datestyle = '%s'", styles[c->style]));
	command(c, text(c, "set timezone = '%s'", zones[c->zone]));
	command(c, text(c, "set search_path = \"%s\", public", c->tag));
	if ((c->has_role = chance(c, 2)))
		command(c, text(c, "set role \"role %s\"", c->tag));
	statement(c, "same", "select tag || $1::text from mine");
	statement(c, "own", text(c, "select '%s' || $1::text", c->tag));
	statement(c, "dates", DATES);
	command(c, text(c, "prepare \"by SQL\"(text) as select '%s' || tag || $1 from mine", c->tag));
}

static void name_from_start(struct client *c)
{
	snprintf(c->application_name, sizeof(c->application_name), "start of %s", c->tag);
}

static void arrive(struct client *c)
{
	name_from_start(c);
	c->conn = PQconnectdb(text(c, "%s application_name='%s'", dsn, c->application_name));
	if (PQstatus(c->conn) != CONNECTION_OK)
		wrong(c, "login: %s", PQerrorMessage(c->conn));
	PQsetNoticeReceiver(c->conn, on_notice, c);
	settle(c);
}

static void leave(struct client *c)
{
	PQfinish(c->conn);
	c->conn = NULL;
}

/* ---- what they do ---- */

static void simple(struct client *c)
{
	const char *x = fresh(c);

	value(c, "select tag from mine", c->tag);
	value(c, text(c, "select 'first'; select '%s'", x), x);
	value(c, DATES, dates[c->style][c->zone]);
	query(c, "");
	is(c, PGRES_EMPTY_QUERY);
}

static void settings(struct client *c)
{
	static const char *const reported[] = {"DateStyle", "TimeZone", "application_name"};
	const char *mine[] = {styles[c->style], zones[c->zone], c->application_name};

	value(c,
		"select current_setting('DateStyle') || '|' || current_setting('TimeZone') || '|' ||"
		" current_setting('application_name') || '|' || current_schema() || '|' || current_user",
		text(c, "%s|%s|%s|%s|%s%s", mine[0], mine[1], mine[2], c->tag, c->has_role ? "role " : "app_scram",
			c->has_role ? c->tag : ""));
	for (size_t i = 0; i < 3; i++) {
		const char *told = PQparameterStatus(c->conn, reported[i]);

		if (!told || strcmp(told, mine[i]) != 0)
			wrong(c, "%s is told to be \"%s\" instead of \"%s\"", reported[i], told ? told : "", mine[i]);
	}
}

static void change(struct client *c)
{
	unsigned style = chance(c, STYLES);

	/* What is taken back, or holds for a transaction alone. */
	command(c, "begin");
	command(c, text(c, "set %s datestyle = '%s'", chance(c, 2) ? "local" : "", styles[style]));
	value(c, DATES, dates[style][c->zone]);
	take(c, PQexecPrepared(c->conn, "dates", 0, NULL, NULL, NULL, 0));
	if (PQresultStatus(c->result) != PGRES_TUPLES_OK)
		is(c, PGRES_TUPLES_OK);
	command(c, "rollback");
	value(c, DATES, dates[c->style][c->zone]);

	c->style = style;
	c->zone = chance(c, ZONES);
	snprintf(c->application_name, sizeof(c->application_name), "%s", fresh(c));
	command(c, text(c, "set application_name = '%s'", c->application_name));
	command(c,
		text(c, "begin; set datestyle = '%s'; set timezone = '%s'; commit", styles[c->style], zones[c->zone]));
	/* session_state = track (the default): without it search_path and roles would not follow their clients. */
	command(c, c->has_role ? "reset role" : text(c, "set role \"role %s\"", c->tag));
	c->has_role = !c->has_role;
	/* Parsed before: its literals are what they were then. So it is parsed anew. */
	command(c, "deallocate dates");
	statement(c, "dates", DATES);
	settings(c);
}

static void discard(struct client *c)
{
	const char *x = "x";

	command(c, "discard all");
	take(c, PQexecPrepared(c->conn, "own", 1, &x, NULL, NULL, 0));
	is_error(c, "26000", "\"own\"");
	name_from_start(c);
	settle(c);
	settings(c);
}

static void named(struct client *c)
{
	const char *x = fresh(c);

	take(c, PQexecPrepared(c->conn, "same", 1, &x, NULL, NULL, 0));
	is_value(c, text(c, "%s%s", c->tag, x));
	take(c, PQexecPrepared(c->conn, "own", 1, &x, NULL, NULL, 0));
	is_value(c, text(c, "%s%s", c->tag, x));
	take(c, PQexecPrepared(c->conn, "dates", 0, NULL, NULL, NULL, 0));
	is_value(c, dates[c->style][c->zone]);
	value(c, text(c, "execute \"by SQL\"('%s')", x), text(c, "%s%s%s", c->tag, c->tag, x));
	take(c, PQprepare(c->conn, "own", "select 'taken'", 0, NULL));
	is_error(c, "42P05", "\"own\"");
}

static void unnamed(struct client *c)
{
	const char *x = fresh(c);

	take(c, PQexecParams(c->conn, "select tag || $1::text from mine", 1, NULL, &x, NULL, NULL, 0));
	is_value(c, text(c, "%s%s", c->tag, x));
	take(c, PQexecParams(c->conn, DATES, 0, NULL, NULL, NULL, NULL, 0));
	is_value(c, dates[c->style][c->zone]);
	/* It stays over batches. */
	statement(c, "", text(c, "select '%s' || $1::text", c->tag));
	for (int i = 0; i < 3; i++) {
		take(c, PQexecPrepared(c->conn, "", 1, &x, NULL, NULL, 0));
		is_value(c, text(c, "%s%s", c->tag, x));
	}
}

static void pipeline(struct client *c)
{
	unsigned n = 1 + chance(c, 12), bad = chance(c, 2 * n);
	const char *x = fresh(c);

	sent(c, PQenterPipelineMode(c->conn));
	for (unsigned i = 0; i < n; i++) {
		sent(c, PQsendQueryPrepared(c->conn, i % 2 ? "own" : "same", 1, &x, NULL, NULL, 0));
		if (i == bad)
			sent(c, PQsendQueryParams(c->conn, "select $1::int", 1, NULL, &x, NULL, NULL, 0));
		sent(c, PQsendQueryParams(c->conn, "select tag from mine", 0, NULL, NULL, NULL, NULL, 0));
	}
	sent(c, PQpipelineSync(c->conn));
	sent(c, PQsendQueryPrepared(c->conn, "dates", 0, NULL, NULL, NULL, 0));
	sent(c, PQpipelineSync(c->conn));
	for (unsigned i = 0; i < n; i++) {
		next(c);
		if (i > bad)
			is(c, PGRES_PIPELINE_ABORTED);
		else
			is_value(c, text(c, "%s%s", c->tag, x));
		no_more(c);
		if (i == bad) {
			next(c);
			is_error(c, "22P02", x);
			no_more(c);
		}
		next(c);
		if (i >= bad)
			is(c, PGRES_PIPELINE_ABORTED);
		else
			is_value(c, c->tag);
		no_more(c);
	}
	next(c);
	is(c, PGRES_PIPELINE_SYNC);
	next(c);
	is_value(c, dates[c->style][c->zone]);
	no_more(c);
	next(c);
	is(c, PGRES_PIPELINE_SYNC);
	sent(c, PQexitPipelineMode(c->conn));
}

static void copy(struct client *c)
{
	unsigned n = 1 + chance(c, 200), rows = 0;
	char line[TEXT], *got;

	snprintf(line, sizeof(line), "%s\n", fresh(c));
	command(c, "begin");
	query(c, "copy tags_rows from stdin");
	is(c, PGRES_COPY_IN);
	for (unsigned i = 0; i < n; i++)
		sent(c, PQputCopyData(c->conn, line, (int)strlen(line)) == 1);
	sent(c, PQputCopyEnd(c->conn, NULL) == 1);
	next(c);
	is(c, PGRES_COMMAND_OK);
	no_more(c);
	query(c, text(c, "copy (select tag from tags_rows where tag like '%s.%%') to stdout", c->tag));
	is(c, PGRES_COPY_OUT);
	while (PQgetCopyData(c->conn, &got, 0) > 0) {
		bool same = strcmp(got, line) == 0;

		PQfreemem(got);
		if (!same)
			wrong(c, "a row of COPY that is not this client's");
		rows++;
	}
	next(c);
	is(c, PGRES_COMMAND_OK);
	no_more(c);
	if (rows != n)
		wrong(c, "%u rows of COPY instead of %u", rows, n);
	command(c, "rollback");
	/* One that fails on this side. */
	query(c, "copy tags_rows from stdin");
	is(c, PGRES_COPY_IN);
	sent(c, PQputCopyData(c->conn, line, (int)strlen(line)) == 1);
	sent(c, PQputCopyEnd(c->conn, line) == 1);
	next(c);
	is_error(c, "57014", c->tag);
	no_more(c);
}

static void notice(struct client *c)
{
	const char *x = fresh(c);

	snprintf(c->notice, sizeof(c->notice), "%s", x);
	c->notices = 0;
	if (chance(c, 2)) {
		query(c, text(c, "select public.tags_say('%s')", x));
	} else {
		take(c, PQexecParams(c->conn, "select public.tags_say($1)", 1, NULL, &x, NULL, NULL, 0));
	}
	is_value(c, x);
	if (c->notices != 1)
		wrong(c, "%u notices instead of one", c->notices);
	c->notice[0] = '\0';
}

static void error(struct client *c)
{
	const char *x = fresh(c);

	query(c, text(c, "do $$ begin raise exception '%s'; end $$", x));
	is_error(c, "P0001", x);
	take(c, PQexecParams(c->conn, "select $1::int", 1, NULL, &x, NULL, NULL, 0));
	is_error(c, "22P02", x);
	query(c, text(c, "select \"%s\"", x));
	is_error(c, "42703", x);
}

static void savepoints(struct client *c)
{
	const char *x = fresh(c);

	command(c, "begin");
	if (chance(c, 4) == 0) { /* one that does nothing */
		command(c, "commit");
		return;
	}
	if (chance(c, 2))
		take(c, PQexecParams(c->conn, "insert into tags_rows values ($1)", 1, NULL, &x, NULL, NULL, 0));
	else
		query(c, text(c, "insert into tags_rows values ('%s')", x));
	is(c, PGRES_COMMAND_OK);
	command(c, "savepoint a");
	command(c, text(c, "insert into tags_rows values ('%s')", x));
	query(c, text(c, "select \"%s\"", x));
	is_error(c, "42703", x);
	query(c, "select 1");
	is_error(c, "25P02", "");
	command(c, "rollback to a");
	value(c, text(c, "select string_agg(tag, ',') from tags_rows where tag like '%s.%%'", c->tag), x);
	if (chance(c, 2)) {
		command(c, "commit");
		/* Others' rows are there too: each takes away its own. */
		value(c, text(c, "delete from tags_rows where tag = '%s' returning tag", x), x);
		return;
	}
	command(c, "rollback");
}

static void cursor(struct client *c)
{
	command(c, "begin");
	command(c, "declare c cursor for select tag || '#' || g from mine, generate_series(1, 20) g order by g");
	for (int i = 1; i <= 20; i += 3) {
		value(c, "fetch c", text(c, "%s#%d", c->tag, i));
		command(c, "move 2 in c");
	}
	command(c, chance(c, 2) ? "commit" : "rollback");
	query(c, "fetch c");
	is_error(c, "34000", "");
}

static void large(struct client *c)
{
	size_t n = strlen(c->tag);
	const char *row;

	query(c, text(c, "select repeat('%s', 20000) from generate_series(1, 3)", c->tag));
	is(c, PGRES_TUPLES_OK);
	for (int k = 0; k < 3; k++) {
		row = PQgetvalue(c->result, k, 0);
		if (PQgetlength(c->result, k, 0) != (int)n * 20000)
			wrong(c, "a row of %d bytes", PQgetlength(c->result, k, 0));
		for (size_t i = 0; i < 20000; i++)
			if (memcmp(row + i * n, c->tag, n) != 0)
				wrong(c, "at %zu of a large row: %.*s", i * n, (int)n, row + i * n);
	}
}

/* It may come before the query, while it waits for a server, during it, or after it: it never hits another. */
static void cancel(struct client *c)
{
	PGcancel *k = PQgetCancel(c->conn);
	const char *x = fresh(c);
	char why[256];
	int ok;

	sent(c, PQsendQuery(c->conn, text(c, "select '%s' from pg_sleep(%s)", x, chance(c, 2) ? "0.03" : "0")));
	ok = PQcancel(k, why, sizeof(why));
	PQfreeCancel(k);
	if (!ok)
		wrong(c, "PQcancel: %s", why);
	next(c);
	if (PQresultStatus(c->result) == PGRES_TUPLES_OK)
		is_value(c, x);
	else
		is_error(c, "57014", "");
	no_more(c);
}

/* Goes without a word: idle, in a transaction, in a query, in a COPY, in the middle of a message. */
static void vanish(struct client *c)
{
	static const char half[] = "Q\0\0\0\77select 'half of it";

	switch (chance(c, 6)) {
	case 0: break;
	case 1:
		command(c, "begin");
		command(c, text(c, "insert into tags_rows values ('%s')", fresh(c)));
		break;
	case 2: sent(c, PQsendQuery(c->conn, "select public.tags_say('gone') from pg_sleep(0.02)")); break;
	case 3:
		query(c, "copy tags_rows from stdin");
		is(c, PGRES_COPY_IN);
		sent(c, PQputCopyData(c->conn, "gone\n", 5) == 1);
		break;
	case 4:
		sent(c, PQenterPipelineMode(c->conn));
		sent(c, PQsendPrepare(c->conn, "gone", "select 'gone'", 0, NULL));
		sent(c, PQsendFlushRequest(c->conn) && PQflush(c->conn) == 0);
		break;
	default:
		if (send(PQsocket(c->conn), half, sizeof(half) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(half) - 1)
			wrong(c, "send");
	}
	shutdown(PQsocket(c->conn), SHUT_RDWR);
	leave(c);
	arrive(c);
}

static void again(struct client *c)
{
	leave(c);
	arrive(c);
}

static struct kind {
	const char *name;
	void (*run)(struct client *c);
	unsigned weight;
	atomic_ulong done;
} kinds[] = {
	{"simple", simple, 10, 0},
	{"settings", settings, 10, 0},
	{"change", change, 6, 0},
	{"discard", discard, 1, 0},
	{"named", named, 12, 0},
	{"unnamed", unnamed, 12, 0},
	{"pipeline", pipeline, 10, 0},
	{"copy", copy, 5, 0},
	{"notice", notice, 8, 0},
	{"error", error, 6, 0},
	{"savepoints", savepoints, 8, 0},
	{"cursor", cursor, 4, 0},
	{"large", large, 3, 0},
	{"cancel", cancel, 5, 0},
	{"vanish", vanish, 3, 0},
	{"again", again, 2, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

static void work(struct client *c)
{
	unsigned all = 0;

	for (size_t i = 0; i < KINDS; i++)
		all += kinds[i].weight;
	c->doing = "arrive";
	arrive(c);
	while (!atomic_load(&stop)) {
		unsigned at = chance(c, all), i = 0;

		while (at >= kinds[i].weight)
			at -= kinds[i++].weight;
		c->doing = kinds[i].name;
		kinds[i].run(c);
		atomic_fetch_add(&kinds[i].done, 1);
	}
}

static void *live(void *arg)
{
	struct client *c = arg;

	if (setjmp(c->failed) == 0)
		work(c);
	PQclear(c->result);
	c->result = NULL;
	leave(c);
	return NULL;
}

/* ---- the test ---- */

static unsigned long number(const char *env, unsigned long otherwise)
{
	const char *s = getenv(env);

	return s && *s ? strtoul(s, NULL, 10) : otherwise;
}

static void make_world(void)
{
	pg_value(pg_shared(), "create table tags_rows (tag text); grant all on tags_rows to public;"
			      "create function tags_say(t text) returns text language plpgsql as"
			      " 'begin raise notice ''%%'', t; return t; end'");
	for (unsigned i = 0; i < CLIENTS; i++)
		pg_value(pg_shared(),
			"create schema \"%s\"; grant usage on schema \"%s\" to public;"
			"create table \"%s\".mine as select '%s'::text tag; grant select on \"%s\".mine to public;"
			"create role \"role %s\"; grant \"role %s\" to app_scram",
			clients[i].tag, clients[i].tag, clients[i].tag, clients[i].tag, clients[i].tag, clients[i].tag,
			clients[i].tag);
	for (unsigned s = 0; s < STYLES; s++)
		for (unsigned z = 0; z < ZONES; z++)
			snprintf(dates[s][z], TEXT, "%s",
				pg_value(pg_shared(), "set datestyle = '%s'; set timezone = '%s'; %s", styles[s],
					zones[z], DATES));
	pg_value(pg_shared(), "reset all");
}

static void tags(void **state)
{
	unsigned long seconds = number("TAGS_SECONDS", 10);
	struct bouncer *b;
	int64_t end;

	(void)state;
	alarm((unsigned)seconds + (e2e_sanitized() ? 200 : 100));
	seed = number("TAGS_SEED", (unsigned long)getpid());
	print_message("# TAGS_SEED=%lu\n", seed);
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i].id = i;
		snprintf(clients[i].tag, sizeof(clients[i].tag), "tag-%u", 100 + i);
		clients[i].random = (seed + 1) * 0x9e3779b97f4a7c15u + (i + 1) * 0xbf58476d1ce4e5b9u;
	}
	make_world();
	b = bouncer_start(&(struct bouncer_options){.databases = "app = host=127.0.0.1 port={pg} dbname=postgres",
		.settings = e2e_text(
			"auth_type = trust\ndefer_begin = 1\ndefault_pool_size = %d\nmax_prepared_statements = 20\n"
			"query_wait_notify = 0\nlog_connections = 0\nlog_disconnections = 0\n"
			"log_pooler_errors = 0",
			SERVERS)});
	snprintf(dsn, sizeof(dsn), "%s dbname=app user=app_scram sslmode=disable connect_timeout=30", bouncer_dsn(b));
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&clients[i].thread, NULL, live, &clients[i]), 0);
	for (end = e2e_now_ms() + (int64_t)seconds * 1000; e2e_now_ms() < end && !atomic_load(&stop);)
		e2e_pause();
	atomic_store(&stop, true);
	for (unsigned i = 0; i < CLIENTS; i++)
		pthread_join(clients[i].thread, NULL);
	if (failure[0])
		fail_msg("%s", failure);
	for (size_t i = 0; i < KINDS; i++) {
		print_message("# %s: %lu\n", kinds[i].name, atomic_load(&kinds[i].done));
		if (seconds >= 10 && atomic_load(&kinds[i].done) == 0)
			fail_msg("not one %s", kinds[i].name);
	}
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "sv_active") == 0);
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_active") == 0);
	assert_in_range(bouncer_number(b, "POOLS", "database", "app", "sv_idle"), 1, SERVERS);
	assert_string_equal(pg_value(pg_shared(), "select count(*) from tags_rows"), "0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {e2e_test(tags)};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
