/*
 * diff_grammar: sequences by chance, written in the words of the corpus: what a
 * failure prints can be put there. Most of what is said makes sense, a part
 * does not. Nothing is said whose answer is not the same twice, that waits for
 * another client, or behind which it cannot be known how many answers come.
 */
#include <stdio.h>
#include <string.h>

#include "e2e/differential.h"

struct maker {
	struct bytes *out;
	uint64_t state;
	bool named;	/* statements have names */
	bool session;	/* the session has a state */
	bool two;	/* two clients: nothing that one of them could wait for */
	char who;	/* 'a' or 'b' */
	bool first;	/* of a line */
	bool has_asked; /* the batch has a message that needs a server */
	bool has_bound; /* the batch has a Bind */
};

/* ---- chance ---- */

static uint64_t next(struct maker *m)
{
	uint64_t z = m->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned below(struct maker *m, unsigned n)
{
	return (unsigned)(next(m) % n);
}

static bool percent(struct maker *m, unsigned n)
{
	return below(m, 100) < n;
}

#define COUNT(v) ((unsigned)(sizeof(v) / sizeof(*(v))))
#define ONE_OF(m, v) ((v)[below(m, COUNT(v))])

/* ---- statements ---- */

static const char *const harmless[] = {"select 1", "select id, v from t order by id", "select 1 where false",
	"select count(*), sum(n) from u", "insert into u values (1, 'x')", "insert into u values (2) returning n, v",
	"", "-- nothing", "show transaction_isolation", "show timezone", "select 'text', null, 1.5",
	"do $$ begin raise notice 'loud'; end $$", "select repeat('x', 9000)",
	"copy (select id from t order by id) to stdout", "explain (costs off) select * from u",
	"select timestamptz '2020-01-01 00:00+00'"};
static const char *const failing[] = {"select 1/0", "selec", "select * from nothing", "select 'x'::int",
	"insert into t values (1)", "do $$ begin raise exception 'mine'; end $$",
	"select 10/(5 - id) from t order by id", "release nothing", "set timezone = 'Nowhere'", "fetch nothing",
	"vacuum u; select 1"};
static const char *const control[] = {"begin", "begin", "begin", "start transaction",
	"begin isolation level serializable", "begin read only", "commit", "commit", "commit", "end", "rollback",
	"rollback", "abort", "commit and chain", "rollback and chain", "savepoint a", "savepoint a", "rollback to a",
	"rollback to a", "release a", "set transaction read only"};
static const char *const settings[] = {"set timezone = 'Asia/Tokyo'", "set timezone = 'Europe/Berlin'",
	"set local timezone = 'Asia/Tokyo'", "reset timezone", "set datestyle = 'German'",
	"set local datestyle = 'SQL, DMY'", "reset datestyle", "set application_name = 'me'", "reset application_name",
	"set intervalstyle = 'iso_8601'", "reset all", "set timezone to default",
	"select set_config('timezone', 'UTC', true)"};
/* Of one client alone: locks of rows and tables. */
static const char *const alone[] = {"update t set v = v || '!' where id < 4", "delete from t where id = 7",
	"update t set v = 'same' where id = 2 returning *", "insert into child values (1, 99)",
	"insert into child values (2, 1)", "lock u in exclusive mode",
	"declare c cursor for select id from t order by id", "fetch 2 from c", "close c", "truncate u", "vacuum u",
	"insert into t values (11, 'eleven')", "create table scratch.x (n int)", "drop table scratch.x"};
/* The names of statements, from SQL. */
static const char *const sql_names[] = {"prepare s as select 'by sql'", "prepare s (int) as select $1 + 1", "execute s",
	"execute s (1)", "execute r", "deallocate s", "deallocate r", "deallocate all", "discard all",
	"prepare r as select 'r by sql'; execute r", "explain (costs off) execute r", "execute s; deallocate s"};
/* What another server would not know. */
static const char *const session_state[] = {"set work_mem = '5MB'", "show work_mem", "reset work_mem", "listen x",
	"notify x, 'y'", "unlisten x", "declare h cursor with hold for select id from t order by id", "fetch 1 from h",
	"close h", "discard plans", "create temp table mine (n int)", "select count(*) from mine", "set role other"};

static const char *statement(struct maker *m)
{
	unsigned n = below(m, 100);

	if (n < 30)
		return ONE_OF(m, harmless);
	if (n < 42)
		return ONE_OF(m, failing);
	if (n < 68)
		return ONE_OF(m, control);
	if (n < 76)
		return ONE_OF(m, settings);
	if (n < 82 && m->named)
		return ONE_OF(m, sql_names);
	if (n < 88 && m->session)
		return ONE_OF(m, session_state);
	return m->two ? ONE_OF(m, harmless) : ONE_OF(m, alone);
}

/* Statements with parameters, and values that fit. */
static const struct {
	const char *sql, *values;
} with_parameters[] = {{"select $1::int + 1", "\"41\""}, {"select $1::text, $2::int", "\"text\" null"},
	{"insert into u values ($1, $2)", "\"5\" \"five\""}, {"insert into u values ($1) returning *", "\"6\""},
	{"select id, v from t where id <= $1 order by id", "\"6\""}, {"select n from u where n = $1", "\"1\""},
	{"select 10/$1::int", "\"0\""}, {"select $1::text", "fill 20000"},
	{"select n, repeat('x', n * 100) from generate_series(1, $1::int) n", "\"30\""}};

/* ---- messages ---- */

/* A message behind the others of its line. */
static void say(struct maker *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct maker *m, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bytes_printf(m->out, "%s%s", m->first ? "" : " | ", text);
	m->first = false;
	if (strchr("PBDEF", text[0]))
		m->has_asked = true;
	if (text[0] == 'B')
		m->has_bound = true;
}

static void line_begin(struct maker *m, bool waits)
{
	bytes_printf(m->out, "%c %s ", m->who, waits ? ">" : ">>");
	m->first = true;
}

static void line_end(struct maker *m)
{
	if (m->first)
		say(m, "S");
	bytes_printf(m->out, "\n");
}

static const char *statement_name(struct maker *m)
{
	static const char *const names[] = {"", "", "s", "r", "S"};

	return m->named ? ONE_OF(m, names) : "";
}

static const char *portal_name(struct maker *m)
{
	static const char *const names[] = {"", "", "", "p", "q", "c"};

	return ONE_OF(m, names);
}

/*
 * One that is described or executed. Not the unnamed one unless it was bound before: in an aborted block it may be the one
 * of a simple query that failed, whose statements are freed (PostgreSQL 15 crashes, 18 reads them).
 */
static const char *open_portal(struct maker *m)
{
	const char *name = portal_name(m);

	return name[0] || m->has_bound ? name : "p";
}

static void execute(struct maker *m, const char *portal)
{
	if (percent(m, 30))
		say(m, "E \"%s\" %u", portal, 1 + below(m, 4));
	else
		say(m, "E \"%s\"", portal);
}

/* Parse, Bind, Execute, and what may stand between. */
static void whole_unit(struct maker *m)
{
	const char *name = statement_name(m), *portal = percent(m, 80) ? "" : portal_name(m);
	bool takes = percent(m, 40);
	unsigned which = below(m, COUNT(with_parameters));

	if (takes)
		say(m, "P \"%s\" \"%s\"", name, with_parameters[which].sql);
	else
		say(m, "P \"%s\" \"%s\"", name, statement(m));
	if (percent(m, 20))
		say(m, "D S \"%s\"", name);
	if (percent(m, 10))
		say(m, "H");
	say(m, "B \"%s\" \"%s\"%s%s", portal, name, takes ? " " : "", takes ? with_parameters[which].values : "");
	if (percent(m, 40))
		say(m, "D P \"%s\"", portal);
	execute(m, portal);
	if (percent(m, 15))
		execute(m, portal);
	if (percent(m, 10))
		say(m, "C P \"%s\"", portal);
	if (name[0] && percent(m, 30))
		say(m, "C S \"%s\"", name);
}

static void odd_message(struct maker *m)
{
	static const char *const values[] = {"", " \"1\"", " \"x\"", " null", " \"1\" \"2\"", " \"\""};
	static const char *const of_copy[] = {"d \"1\\tx\\n\"", "c", "f \"why\""};
	const char *name = statement_name(m), *portal = portal_name(m);

	switch (below(m, 12)) {
	case 0: say(m, "P \"%s\" \"%s\"", name, statement(m)); return;
	case 1: say(m, "P \"%s\" \"%s\"", name, ONE_OF(m, with_parameters).sql); return;
	case 2:
	case 3: say(m, "B \"%s\" \"%s\"%s", portal, name, ONE_OF(m, values)); return;
	case 4: say(m, "D S \"%s\"", name); return;
	case 5: say(m, "D P \"%s\"", open_portal(m)); return;
	case 6:
	case 7: execute(m, open_portal(m)); return;
	case 8: say(m, "C P \"%s\"", portal); return;
	case 9:
		/* extended.seq has it: "the unnamed statement ends with Close in a batch of its own". */
		if (m->named || m->has_asked)
			say(m, "C S \"%s\"", name);
		return;
	case 10: say(m, "H"); return;
	default: say(m, "%s", ONE_OF(m, of_copy)); return;
	}
}

/* Two clients are on two servers, where an unnamed statement may be gone: whole units only. */
static void units(struct maker *m)
{
	for (unsigned n = 1 + below(m, 4); n > 0; n--) {
		if ((m->two && !m->named) || percent(m, 65))
			whole_unit(m);
		else
			odd_message(m);
	}
}

static void batch(struct maker *m)
{
	m->has_asked = m->has_bound = false;
	units(m);
	/* PostgreSQL 18 fails the next request of that server then, whosever it is (extended.seq). */
	if (!m->two && percent(m, 6))
		say(m, "Q \"%s\"", statement(m));
	say(m, "S");
}

/* One statement of a transaction's and nothing else, in a shape that may be answered without a server, or nearly so. */
static void own_batch(struct maker *m)
{
	const char *name = statement_name(m);

	m->has_asked = m->has_bound = false;
	if (!m->named || percent(m, 60))
		say(m, "P \"%s\" \"%s\"", name, ONE_OF(m, control));
	if (percent(m, 20))
		say(m, "D S \"%s\"", name);
	say(m, "B \"\" \"%s\"", name);
	if (percent(m, 20))
		say(m, "D P \"\"");
	if (percent(m, 5))
		say(m, "H");
	execute(m, "");
	if (percent(m, 5))
		execute(m, "");
	if (percent(m, 20))
		say(m, "C P \"%s\"", portal_name(m));
	if (percent(m, 20))
		say(m, "C S \"%s\"", name);
	say(m, "S");
}

static void query(struct maker *m)
{
	struct bytes text = {0};

	bytes_printf(&text, "%s", statement(m));
	if (percent(m, 20))
		for (unsigned n = 1 + below(m, 3); n > 0; n--)
			bytes_printf(&text, "; %s", statement(m));
	say(m, "Q \"%s\"", text.p);
	bytes_free(&text);
}

/* ---- COPY ---- */

static void copy_data(struct maker *m, bool good)
{
	for (unsigned n = below(m, 4); n > 0; n--)
		say(m, "d \"%u\\tcopied\\n\"", below(m, 100));
	if (!good && percent(m, 30))
		say(m, "d \"x\\tnot a number\\n\"");
	if (!good && percent(m, 20))
		say(m, "f \"why\"");
	else
		say(m, "c");
}

/* With a Sync inside it cannot be known which one is ignored when the data fail: then they do not. */
static void copy_in(struct maker *m)
{
	bool early = percent(m, 50);

	if (percent(m, 50)) {
		say(m, "Q \"copy u from stdin\"");
		copy_data(m, false);
		return;
	}
	say(m, "P \"\" \"copy u from stdin\" | B \"\" \"\" | E \"\"");
	if (early)
		say(m, "S");
	copy_data(m, early);
	if (percent(m, 30))
		whole_unit(m);
	say(m, "S");
}

/* ---- lines ---- */

static void exchange(struct maker *m)
{
	unsigned n = below(m, 100);

	if (n < 35)
		query(m);
	else if (n < 75)
		batch(m);
	else if (n < 85)
		own_batch(m);
	else if (n < 92)
		copy_in(m);
	else if (n < 96)
		say(m, "F 177 \"%u\" \"%s\"", below(m, 9), percent(m, 80) ? "7" : "x");
	else
		say(m, "S");
}

/* A batch in pieces, with Flush or without. */
static void pieces(struct maker *m)
{
	m->has_asked = m->has_bound = false;
	for (unsigned n = 1 + below(m, 3); n > 0; n--) {
		line_begin(m, m->two || percent(m, 70));
		units(m);
		if (percent(m, 60))
			say(m, "H");
		line_end(m);
	}
	line_begin(m, true);
	say(m, "S");
	line_end(m);
}

void grammar_write(struct bytes *out, uint64_t seed)
{
	struct maker m = {.out = out, .state = seed * 0x2545f4914f6cdd1d + 1, .who = 'a'};

	m.named = seed % 3 == 0;
	m.session = seed % 6 == 0;
	m.two = !m.session && percent(&m, 25);
	bytes_printf(out, "sequence \"seed %llu\"\n", (unsigned long long)seed);
	if (m.session)
		bytes_printf(out, "only session\n");
	for (unsigned n = 3 + below(&m, 10); n > 0; n--) {
		m.who = m.two && percent(&m, 40) ? 'b' : 'a';
		if (percent(&m, 12)) {
			pieces(&m);
			continue;
		}
		line_begin(&m, m.two || percent(&m, 85));
		for (unsigned k = percent(&m, 20) ? 2 + below(&m, 4) : 1; k > 0; k--)
			exchange(&m);
		line_end(&m);
	}
	for (m.who = 'a'; m.who <= (m.two ? 'b' : 'a'); m.who++)
		bytes_printf(out, "%c > S\n", m.who);
}
