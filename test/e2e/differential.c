/*
 * differential: sequences of protocol messages, sent to PostgreSQL itself and
 * through psbouncer in each pool mode. What the client receives must be the
 * same, byte for byte; only process ids may differ, and the login, which is not
 * looked at. The sequences stand in files of corpus/, others are made by chance.
 *
 *	differential [-v] [-a] [-s SEED] [-n RUNS] [PART]
 *
 * -v names each sequence, -a prints what PostgreSQL answers, -s and -n (or PSB_TEST_SEED and PSB_TEST_RUNS) say
 * which are made by chance, PART is a part of the names of those to be run.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "e2e/differential.h"
#include "lib/e2e.h"

#define DEFAULT_SEED 20240
#define DEFAULT_RUNS 100
#define MAX_LATE 3     /* after so many waits in vain the rest is not run */
#define MAX_PRINTED 12 /* differences that are printed whole */

static bool verbose, answers;
static uint64_t seed = DEFAULT_SEED;
static unsigned runs = DEFAULT_RUNS;
static const char *part = "";

/* What the clients of one run of a sequence were sent. */
struct recording {
	struct bytes rx[CLIENTS];
	bool closed[CLIENTS];
	bool block;    /* there was a transaction block */
	bool complete; /* nothing came late */
	size_t last;   /* the action that it came to */
	size_t *mark;  /* where the rx of its client stood after each action */
};

/* Where sequences are played, and how it went. */
struct stage {
	struct pg *pg;
	struct bouncer *bouncer;
	struct player players[TARGETS][CLIENTS];
	unsigned n_played[TARGETS], n_failed, n_late, n_sequences;
};

/* ---- the state of the database ---- */

static const char tables[] =
	"create schema scratch;"
	"grant all on schema scratch to public;"
	"create table t (id int primary key, v text);"
	"create table u (n int, v text);"
	"create table parent (id int primary key);"
	"create table child (id int, parent int references parent deferrable initially deferred);"
	"grant all on t, u, parent, child to public;"
	"create role other; grant other to app_trust;"
	"create function restore() returns text language plpgsql set client_min_messages = warning as $$"
	"  begin"
	"    if exists (select from pg_depend where refclassid = 'pg_namespace'::regclass"
	"        and refobjid = 'scratch'::regnamespace) then"
	"      drop schema scratch cascade; create schema scratch; grant all on schema scratch to public;"
	"    end if;"
	/* A TRUNCATE costs milliseconds, and most sequences leave t as it is. Its plans may not depend on its history. */
	"    lock t, u, parent, child in access exclusive mode;"
	"    delete from u;"
	"    delete from child;"
	"    if (select array_agg(id order by id) from parent) is distinct from array[1, 2] then"
	"      truncate parent, child; insert into parent values (1), (2);"
	"    end if;"
	"    if (select string_agg(id || v, ',' order by id) from t) is distinct from"
	"        (select string_agg(n || 'row ' || n, ',' order by n) from generate_series(1, 10) n) then"
	"      truncate t; insert into t select n, 'row ' || n from generate_series(1, 10) n;"
	"    end if;"
	"    return (select gid from pg_prepared_xacts limit 1);"
	"  end $$";

static void restore(struct pg *pg)
{
	const char *gid;

	/* First: a prepared transaction has its locks. */
	while ((gid = pg_value(pg, "select gid from pg_prepared_xacts"))[0])
		pg_value(pg, "rollback prepared '%s'", gid);
	pg_value(pg, "select restore()");
}

/* ---- one run ---- */

static unsigned clients_of(const struct sequence *s)
{
	unsigned n = 1;

	for (size_t i = 0; i < s->n_actions; i++)
		if (s->actions[i].who >= n)
			n = s->actions[i].who + 1;
	return n;
}

/* Brings a connection into the state of a new one, or gives it up. */
static void tidy(struct player *p, bool complete)
{
	if (complete && !p->closed && (p->status == 'I' || player_query(p, "rollback")) && p->status == 'I' &&
		player_query(p, "discard all") && p->status == 'I')
		return;
	player_end(p);
}

static bool is_empty(struct bouncer *b, const char *database)
{
	static const char *const columns[] = {"cl_active", "cl_waiting", "sv_active", "sv_being_canceled"};

	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++)
		if (bouncer_number(b, "POOLS", "database", database, columns[i]) > 0)
			return false;
	return true;
}

/* Behind a client that has gone psbouncer may still run what it asked for: the next sequence must not see that. */
static void settle(struct stage *st, enum target t)
{
	bool gone = false;

	for (unsigned k = 0; k < CLIENTS; k++)
		gone = gone || (st->players[t][k].fd < 0 && st->players[t][k].had);
	if (!gone)
		return;
	for (unsigned k = 0; k < CLIENTS; k++) {
		player_end(&st->players[t][k]);
		st->players[t][k].had = false;
	}
	if (t != DIRECT)
		WAIT_UNTIL(is_empty(st->bouncer, target_names[t]));
}

/* Plays the actions, and at the end a query of each client: all that came before it has been read then. */
static bool play_all(struct player *p, const struct sequence *s, unsigned n_clients, struct recording *r)
{
	for (unsigned k = 0; k < n_clients; k++)
		if (!player_begin(&p[k]))
			return false;
	for (r->last = 0; r->last < s->n_actions; r->last++) {
		struct player *who = &p[s->actions[r->last].who];

		if (!player_act(who, &s->actions[r->last]))
			return false;
		r->mark[r->last] = who->rx.n;
	}
	for (unsigned k = 0; k < n_clients; k++)
		if (!p[k].closed && !player_query(&p[k], "select 'the end'") && p[k].late)
			return false;
	return true;
}

static void play(struct stage *st, enum target t, const struct sequence *s, struct recording *r)
{
	struct player *p = st->players[t];
	unsigned n = clients_of(s);

	*r = (struct recording){.mark = calloc(s->n_actions + 1, sizeof(*r->mark))};
	if (!r->mark)
		abort();
	restore(st->pg);
	r->complete = play_all(p, s, n, r);
	for (unsigned k = 0; k < n; k++) {
		bytes_add(&r->rx[k], p[k].rx.p, p[k].rx.n);
		r->closed[k] = p[k].closed;
		r->block = r->block || p[k].block;
		if (!r->complete && r->last < s->n_actions && s->actions[r->last].who == k)
			r->mark[r->last] = p[k].rx.n;
	}
	for (unsigned k = 0; k < n; k++)
		tidy(&p[k], r->complete);
	settle(st, t);
	st->n_played[t]++;
	st->n_late += !r->complete;
}

static void recording_free(struct recording *r)
{
	for (unsigned k = 0; k < CLIENTS; k++)
		bytes_free(&r->rx[k]);
	free(r->mark);
}

/* ---- comparing, printing ---- */

/* Was client k sent the same? */
static bool same_to(const struct recording *a, const struct recording *b, unsigned k)
{
	const struct bytes *x = &a->rx[k], *y = &b->rx[k];

	return x->n == y->n && a->closed[k] == b->closed[k] && (x->n == 0 || memcmp(x->p, y->p, x->n) == 0);
}

static bool same(const struct recording *a, const struct recording *b)
{
	for (unsigned k = 0; k < CLIENTS; k++)
		if (!same_to(a, b, k))
			return false;
	return a->complete && b->complete;
}

static size_t first_difference(const struct bytes *a, const struct bytes *b)
{
	size_t i = 0;

	while (i < a->n && i < b->n && a->p[i] == b->p[i])
		i++;
	return i;
}

static size_t message_size(const struct bytes *b, size_t i)
{
	const unsigned char *u = (const unsigned char *)b->p + i;

	return 1 + ((size_t)u[1] << 24 | (size_t)u[2] << 16 | (size_t)u[3] << 8 | u[4]);
}

/* Where the message begins that holds the byte `at`. */
static size_t message_at(const struct bytes *b, size_t at)
{
	size_t i = 0;

	while (i + 5 <= b->n && i + message_size(b, i) <= at)
		i += message_size(b, i);
	return i;
}

/* The messages around the byte `at`: from three before it to three behind it. */
static void window(const struct bytes *b, size_t at, size_t *from, size_t *to)
{
	size_t starts[4] = {0}, n = 0, i = 0;

	for (unsigned behind = 0; i + 5 <= b->n && behind < 4;) {
		if (i <= at)
			starts[n++ % 4] = i;
		i += message_size(b, i);
		behind += i > at;
	}
	*from = n < 4 ? 0 : starts[n % 4];
	*to = i < b->n ? i : b->n;
}

static void print_answer(const char *whose, const struct bytes *rx, size_t at, bool closed, bool complete)
{
	struct bytes out = {0};
	size_t from, to;

	window(rx, at, &from, &to);
	messages_print(&out, rx->p + from, to - from, true, false);
	printf("    %s:\n%s%s%s", whose, from > 0 ? "        ...\n" : "", out.p, to < rx->n ? "        ...\n" : "");
	if (closed)
		printf("        closed\n");
	if (!complete)
		printf("        (waited in vain for more)\n");
	bytes_free(&out);
}

/* The step in whose answer to client k the byte `at` came; n_actions: the query at the end. */
static size_t step_of(const struct sequence *s, const struct recording *r, unsigned k, size_t at)
{
	size_t i = 0;

	while (i < s->n_actions && i <= r->last && (s->actions[i].who != k || r->mark[i] <= at))
		i++;
	return i;
}

static void print_text(const struct sequence *s)
{
	printf("    sequence \"%s\"\n", s->name);
	for (size_t i = 0; i < s->n_actions; i++)
		printf("    %.400s\n", s->actions[i].text);
}

static void print_difference(const struct sequence *s, enum target t, const struct recording *direct,
	const struct recording *other)
{
	printf("%s:%d: \"%s\", pool mode %s:\n", s->file, s->line, s->name, target_names[t]);
	print_text(s);
	for (unsigned k = 0; k < CLIENTS; k++) {
		const struct bytes *a = &direct->rx[k], *b = &other->rx[k];
		size_t at = first_difference(a, b), step;

		if (same_to(direct, other, k))
			continue;
		step = step_of(s, direct, k, at);
		printf("  client %c, byte %zu, step %.200s\n", "ab"[k], at,
			step < s -> n_actions ? s -> actions[step].text : "behind the last one");
		print_answer("PostgreSQL", a, at, direct->closed[k], direct->complete);
		print_answer("psbouncer", b, at, other->closed[k], other->complete);
	}
	if (!other->complete)
		printf("  waited in vain in step %s\n",
			other->last < s->n_actions ? s->actions[other->last].text : "behind the last one");
	fflush(stdout);
}

static void print_answers(const struct sequence *s, const struct recording *direct)
{
	print_text(s);
	for (unsigned k = 0; k < CLIENTS; k++) {
		struct bytes out = {0};

		messages_print(&out, direct->rx[k].p, direct->rx[k].n, true, false);
		printf("  client %c:\n%s%s", "ab"[k], out.p, direct->closed[k] ? "        closed\n" : "");
		bytes_free(&out);
	}
	fflush(stdout);
}

/* From the first message that differs on, is it what the sequence says? */
static bool is_instead(const struct sequence *s, unsigned k, const struct bytes *a, const struct bytes *b)
{
	size_t at = message_at(b, first_difference(a, b)), used;

	if (s->nothing[k])
		return at == b->n;
	for (size_t i = 0; i < s->n_instead[k]; i++) {
		if (phrase_match(&s->instead[k][i], NULL, b->p + at, b->n - at, &used) != MATCH_YES)
			return false;
		at += used;
	}
	return true;
}

/* Does it differ as the sequence says? */
static bool differs_as_known(const struct sequence *s, const struct recording *direct, const struct recording *r)
{
	bool said = false;

	for (unsigned k = 0; k < CLIENTS; k++)
		said = said || s->nothing[k] || s->n_instead[k] > 0;
	for (unsigned k = 0; said && k < CLIENTS; k++)
		if (same_to(direct, r, k) == (s->nothing[k] || s->n_instead[k] > 0) ||
			!is_instead(s, k, &direct->rx[k], &r->rx[k]))
			return false;
	return r->complete;
}

static void compare(struct stage *st, const struct sequence *s, enum target t, const struct recording *direct)
{
	struct recording r;
	bool alike;

	play(st, t, s, &r);
	alike = same(direct, &r);
	if (s->known[t] && alike) {
		printf("%s:%d: \"%s\", pool mode %s: no longer differs: take its known away\n", s->file, s->line,
			s->name, target_names[t]);
		st->n_failed++;
	} else if (s->known[t] ? !differs_as_known(s, direct, &r) : !alike) {
		if (st->n_failed++ < MAX_PRINTED)
			print_difference(s, t, direct, &r);
	}
	recording_free(&r);
}

static void run_sequence(struct stage *st, const struct sequence *s)
{
	struct recording direct;

	if (verbose) {
		printf("# %s \"%s\"\n", s->file, s->name);
		fflush(stdout);
	}
	st->n_sequences++;
	play(st, DIRECT, s, &direct);
	if (answers)
		print_answers(s, &direct);
	if (!direct.complete) {
		print_difference(s, DIRECT, &direct, &direct);
		st->n_failed++;
	}
	for (size_t t = SESSION; direct.complete && t < TARGETS && st->n_late < MAX_LATE; t++)
		if (s->in[t] && (t != STATEMENT || !direct.block))
			compare(st, s, (enum target)t, &direct);
	recording_free(&direct);
}

/* ---- the stage ---- */

static struct pg *server(bool newest)
{
	static struct pg *made[2];

	if (!newest && !made[0]) {
		made[0] = pg_shared();
		pg_value(made[0], "%s", tables);
	}
	if (newest && !made[1]) {
		made[1] = pg_start(&(struct pg_options){.version = "18"});
		pg_value(made[1], "%s", tables);
	}
	return made[newest];
}

static void stage_open(struct stage *st, bool newest)
{
	const char *databases = "";

	*st = (struct stage){.pg = server(newest)};
	for (size_t t = SESSION; t < TARGETS; t++)
		databases = e2e_text("%s%s = host=127.0.0.1 port=%d dbname=postgres pool_mode=%s pool_size=2\n",
			databases, target_names[t], pg_port(st->pg), target_names[t]);
	st->bouncer = bouncer_start(&(struct bouncer_options){
		.databases = databases, .settings = "auth_type = trust\ndefer_begin = 1"});
	for (size_t t = 0; t < TARGETS; t++)
		for (unsigned k = 0; k < CLIENTS; k++)
			st->players[t][k] = (struct player){.fd = -1,
				.port = t == DIRECT ? pg_port(st->pg) : bouncer_port(st->bouncer),
				.database = t == DIRECT ? "postgres" : target_names[t],
				.patience_ms = e2e_sanitized() ? 30000 : 10000};
}

static void stage_close(struct stage *st)
{
	for (size_t t = 0; t < TARGETS; t++)
		for (unsigned k = 0; k < CLIENTS; k++)
			player_end(&st->players[t][k]);
	print_message("# %u sequences: %u in session, %u in transaction, %u in statement mode\n", st->n_sequences,
		st->n_played[SESSION], st->n_played[TRANSACTION], st->n_played[STATEMENT]);
	if (st->n_failed > 0)
		fail_msg("%u differences", st->n_failed);
}

/* ---- the cases ---- */

static void needs(bool newest)
{
	if (!newest || pg_has("18"))
		return;
	print_message("# no PostgreSQL 18: PSB_TEST_PG18BIN does not name its bin folder\n");
	skip();
}

static void run_corpus(bool newest)
{
	const char *top = getenv("top_srcdir");
	struct sequence *v = NULL;
	struct stage st;
	size_t n = 0;
	bool ok;
	glob_t g;

	needs(newest);
	if (glob(e2e_text("%s/test/e2e/corpus/*.seq", top ? top : "."), 0, NULL, &g) != 0)
		fail_msg("no corpus: is top_srcdir set?");
	ok = true;
	for (size_t i = 0; i < g.gl_pathc; i++)
		ok = corpus_read(g.gl_pathv[i], &v, &n) && ok;
	globfree(&g);
	if (ok) {
		stage_open(&st, newest);
		for (size_t i = 0; i < n && st.n_late < MAX_LATE; i++)
			if (strstr(v[i].name, part))
				run_sequence(&st, &v[i]);
	}
	corpus_free(v, n);
	if (!ok)
		fail_msg("the corpus is not right");
	stage_close(&st);
}

static void run_grammar(bool newest)
{
	struct stage st;

	needs(newest);
	print_message("# seeds %llu to %llu\n", (unsigned long long)seed, (unsigned long long)(seed + runs - 1));
	stage_open(&st, newest);
	for (unsigned i = 0; i < runs && st.n_late < MAX_LATE; i++) {
		struct sequence *v = NULL;
		struct bytes text = {0};
		size_t n = 0;
		bool ok;

		grammar_write(&text, seed + i);
		ok = corpus_parse("by chance", text.p, &v, &n);
		for (size_t k = 0; ok && k < n; k++)
			if (strstr(v[k].name, part))
				run_sequence(&st, &v[k]);
		corpus_free(v, n);
		if (!ok)
			fail_msg("the grammar has made nonsense:\n%s", text.p);
		bytes_free(&text);
	}
	stage_close(&st);
}

static void corpus(void **state)
{
	(void)state;
	run_corpus(false);
}

static void corpus_on_the_newest_server(void **state)
{
	(void)state;
	run_corpus(true);
}

static void by_chance(void **state)
{
	(void)state;
	run_grammar(false);
}

static void by_chance_on_the_newest_server(void **state)
{
	(void)state;
	run_grammar(true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest cases[] = {
		e2e_test(corpus),
		e2e_test(by_chance),
		e2e_test(corpus_on_the_newest_server),
		e2e_test(by_chance_on_the_newest_server),
	};
	const char *env;
	int c;

	if ((env = getenv("PSB_TEST_SEED")) && *env)
		seed = strtoull(env, NULL, 10);
	if ((env = getenv("PSB_TEST_RUNS")) && *env)
		runs = (unsigned)strtoul(env, NULL, 10);
	while ((c = getopt(argc, argv, "vas:n:")) != -1) {
		switch (c) {
		case 'v': verbose = true; break;
		case 'a': answers = true; break;
		case 's': seed = strtoull(optarg, NULL, 10); break;
		case 'n': runs = (unsigned)strtoul(optarg, NULL, 10); break;
		default: fprintf(stderr, "usage: differential [-v] [-a] [-s SEED] [-n RUNS] [PART]\n"); return 2;
		}
	}
	if (optind < argc)
		part = argv[optind];
	e2e_init();
	return cmocka_run_group_tests(cases, NULL, NULL);
}
