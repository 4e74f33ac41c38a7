/*
 * test_ring: what a server still owes, over the shapes that batches, errors and
 * copies take; what is counted of it, what an error undoes, and that no reference
 * to a statement or a name is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "conn/ring.h"
#include "pool/stmt.h"
#include "pool/vars.h"

/* A script: P B D E C S Q push that request; c pushes the end of a copy; '1' pops the front, which must be of the kind that
 * follows ("1P"); '!' is an error, the kind that it answers follows; 'G' a CopyInResponse; 'K' the copy's good end. What is
 * left in the ring is written behind '='; idle or not: '.' or '~'. */
static char kind_letter(uint8_t kind)
{
	return "QPBDECSc"[kind];
}

static enum request_kind letter_kind(char c)
{
	switch (c) {
	case 'Q': return REQ_QUERY;
	case 'P': return REQ_PARSE;
	case 'B': return REQ_BIND;
	case 'D': return REQ_DESCRIBE;
	case 'E': return REQ_EXECUTE;
	case 'C': return REQ_CLOSE;
	case 'S': return REQ_SYNC;
	default: assert_int_equal(c, 'c'); return REQ_COPY_END;
	}
}

static const char *play_one(struct ring *r, const char *p)
{
	struct request q;

	switch (*p) {
	case '1':
		assert_non_null(ring_front(r));
		assert_int_equal(kind_letter(ring_front(r)->kind), p[1]);
		ring_pop(r);
		return p + 2;
	case '!':
		q = ring_error(r, NULL, NULL);
		assert_int_equal(kind_letter(q.kind), p[1]);
		return p + 2;
	case 'G': ring_copy_in(r); return p + 1;
	case 'K': ring_copy_done(r); return p + 1;
	default: ring_push(r, &(struct request){.kind = (uint8_t)letter_kind(*p)}); return p + 1;
	}
}

static void play(const char *script)
{
	struct ring r = {0};
	const char *p = script;
	size_t n = 0;

	while (*p != '=')
		p = play_one(&r, p);
	for (p++; *p != '.' && *p != '~'; p++, n++) {
		if (n >= r.n)
			fail_msg("%s: only %u left", script, r.n);
		if (kind_letter(r.v[(r.head + n) & (r.cap - 1)].kind) != *p)
			fail_msg("%s: %c is missing at %zu", script, *p, n);
	}
	if (r.n != n || ring_is_idle(&r) != (*p == '.'))
		fail_msg("%s: %u left, idle %d", script, r.n, ring_is_idle(&r));
	ring_free(&r);
}

static void test_scripts(void **state)
{
	static const char *const scripts[] = {
		"=.", "Q=Q~", "Q1Q=.", "QQ1Q=Q~", "PBDES=PBDES~", "PBDES1P1B1D1E1S=.",
		"PBE1P1B1E=~",					/* no Sync was sent: the batch is open */
		"PBE1P1B1EQ=Q~",				/* a Query ends it */
		"PBE1P1B1EQ1Q=.", "PBES!P=S~",			/* an error skips to the Sync that was sent */
		"PBES!P1S=.", "PBESPBES1P!B=SPBES~", "PBE!P=~", /* or to one that is yet to come */
		"PBE!PBEQ=~",					/* all before it is skipped, a Query too */
		"PBE!PBEQS=S~", "PBE!PBEQS1S=.", "S!S1S=.",	/* the error of a commit at Sync */
		"Q!Q1Q=.", "QPBES!Q=QPBES~",			/* a Query's own error skips nothing */
		"c=.",						/* the end of no copy */
		"QcQ1Q=Q~",					/* a late one, behind a Query that was no COPY */
		"QcQ1Q1Q=.", "Qc1Q=.", "QG=Q~",			/* COPY: the server reads data */
		"QGS=Q~",					/* Sync is ignored meanwhile */
		"QGc1QS=S~", "QGcK1Q=.", "QcGK1Q=.",		/* the data was sent before the answer came */
		"QG!Q1Q=.",					/* the copy fails */
		"PBES1P1BG=E~", /* extended COPY: the Sync that was sent with it is ignored */
		"PBES1P1BGcK1E=~", "PBES1P1BGcSK1E=S~", "PBES1P1BGcSK1E1S=.",
		"PBES1P1BG!E=~",					    /* fails: to the next Sync */
		"PBES1P1BG!EcS=S~", "PBESSSc1P1BG=E~", "PBEcS1P1BGK1E1S=.", /* all of it in one write */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++)
		play(scripts[i]);
}

/* Syncs that went into a copy which then failed may or may not be answered: the ring remembers that it cannot know. */
static void test_in_copy(void **state)
{
	struct ring r = {0};

	(void)state;
	for (const char *p = "PBES1P1BG"; *p;)
		p = play_one(&r, p);
	assert_int_equal(r.in_copy, 1);
	ring_error(&r, NULL, NULL);
	assert_int_equal(r.in_copy, 1);
	ring_copy_done(&r);
	assert_int_equal(r.in_copy, 0);
	ring_free(&r);
}

static void test_may_commit(void **state)
{
	struct ring r = {0};

	(void)state;
	ring_push(&r, &(struct request){.kind = REQ_QUERY});
	assert_false(ring_may_commit(&r));
	ring_push(&r, &(struct request){.kind = REQ_QUERY, .may_commit = true});
	ring_push(&r, &(struct request){.kind = REQ_QUERY});
	assert_true(ring_may_commit(&r));
	ring_pop(&r);
	assert_true(ring_may_commit(&r));
	ring_pop(&r);
	assert_false(ring_may_commit(&r));
	ring_free(&r);
}

/* Wraps and grows with its order kept. */
static void test_grow(void **state)
{
	struct ring r = {0};
	unsigned in = 0, out = 0;

	(void)state;
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < round; i++, in++)
			ring_push(&r, &(struct request){.kind = REQ_QUERY, .why = (uint8_t)in});
		for (int i = 0; i < round / 2; i++, out++) {
			assert_int_equal(ring_front(&r)->why, (uint8_t)out);
			ring_pop(&r);
		}
		assert_int_equal(r.n, in - out);
	}
	ring_free(&r);
}

/* ---- counts -------------------------------------------------------------------------- */

/*
 * A script as above, where a letter in front of a request says what it is: 'a' the pooler answers it, '~' it alters, '^' it
 * begins a transaction.
 */
static const char *push_marked(struct ring *r, const char *p)
{
	struct request q = {.kind = REQ_SYNC};

	for (; strchr("a~^", *p); p++) {
		if (*p == 'a')
			q.action = ACT_ANSWER;
		else if (*p == '~')
			q.alters = true;
		else
			q.begins = true;
	}
	q.kind = (uint8_t)letter_kind(*p);
	ring_push(r, &q);
	return p + 1;
}

static void test_counts(void **state)
{
	static const struct {
		const char *script;
		uint32_t answers, syncs, queries, altering, begins;
	} cases[] = {
		{"", 0, 0, 0, 0, 0},
		{"QQSPBS", 0, 2, 2, 0, 0},
		{"QQS1Q", 0, 1, 1, 0, 0},
		{"QQS1Q1Q1S", 0, 0, 0, 0, 0},
		{"aPaCaPB", 3, 0, 0, 0, 0},
		{"aPaCaPB1P1C", 1, 0, 0, 0, 0},
		{"~Q~QQ", 0, 0, 3, 2, 0},
		{"~Q~QQ1Q1Q", 0, 0, 1, 0, 0},
		{"^P^B^E^CQ", 0, 0, 1, 0, 4},
		{"^P^B^E^CQ1P1B1E", 0, 0, 1, 0, 1},
		{"~aP^~aC", 2, 0, 0, 2, 1},
		/* An error takes along what the server skips, and nothing behind the Sync. */
		{"^B^E^CPaP~ES!B", 0, 1, 0, 0, 0},
		{"PaP~ESPaP~ES!P", 1, 2, 0, 1, 0},
		{"PaP~ESPaP~ES!P1S", 1, 1, 0, 1, 0},
		{"^B^E^C~Q!B", 0, 0, 0, 0, 0}, /* a Query that came before any Sync */
		/* What is sent while the server skips counts for nothing, up to the Sync. */
		{"P!PaP~Q^B", 0, 0, 0, 0, 0},
		{"P!P~QS~Q", 0, 1, 1, 1, 0},
		/* The error of a Query, or of a Sync's commit, leaves it to its ReadyForQuery. */
		{"~Q~Q!Q", 0, 0, 2, 2, 0},
		{"~Q~Q!Q1Q", 0, 0, 1, 1, 0},
		{"SQ!S", 0, 1, 1, 0, 0},
		/* COPY: the Syncs into it are no requests any more, those behind its end are. */
		{"QG", 0, 0, 1, 0, 0},
		{"QGSS", 0, 0, 1, 0, 0},
		{"QGSScS", 0, 1, 1, 0, 0},
		{"PB~ESScS1P1BG", 0, 1, 0, 1, 0},
		{"PB~ESS1P1BG!E", 0, 0, 0, 0, 0},
		{"PBESaP~Q1P1BG", 1, 0, 1, 1, 0},
		{"QcGK1Q", 0, 0, 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ring r = {0};

		for (const char *p = cases[i].script; *p;)
			p = strchr("1!GK", *p) ? play_one(&r, p) : push_marked(&r, p);
		if (r.answers != cases[i].answers || r.syncs != cases[i].syncs || r.queries != cases[i].queries ||
			r.altering != cases[i].altering || r.begins != cases[i].begins)
			fail_msg("%s: %u answers, %u syncs, %u queries, %u altering, %u begins", cases[i].script,
				r.answers, r.syncs, r.queries, r.altering, r.begins);
		while (r.n)
			ring_pop(&r);
		if (r.answers || r.syncs || r.queries || r.altering || r.begins)
			fail_msg("%s: counts are left", cases[i].script);
		ring_free(&r);
	}
}

/* ---- what an error undoes, and references ----------------------------------------------- */

struct world {
	struct vars_table *vt;
	struct vars *v;
	struct stmt_table *t;
	struct stmt *st;
	struct stmt_map *names;
};

static struct world world_new(void)
{
	struct world w = {.vt = vars_table_new(), .t = stmt_table_new()};

	w.v = vars_empty(w.vt);
	w.st = stmt_get(w.t, w.v, "select 1\0\0", 11, true);
	assert_non_null(w.st);
	return w;
}

/* Asserts that nothing holds a statement or a name any more. */
static void world_free(struct world *w)
{
	stmt_map_free(&w->names);
	assert_int_equal(w->st->refs, 1);
	stmt_unref(&w->st);
	assert_int_equal(stmt_table_count(w->t), 0);
	stmt_table_free(w->t);
	vars_unref(&w->v);
	vars_table_free(w->vt);
	assert_int_equal(mem_usage_get(MEM_STMT).objects, 0);
}

/* A request with references of its own; `why` tells them apart. */
static void push_held(struct ring *r, struct world *w, enum request_kind kind, uint8_t why)
{
	ring_push(r,
		&(struct request){
			.kind = (uint8_t)kind, .why = why, .name = stmt_name_unknown("x"), .stmt = stmt_ref(w->st)});
}

struct undone {
	const struct stmt *st;
	uint8_t why[16];
	size_t n, failed;
	uint8_t later;
};

static void note_undo(const struct request *q, bool failed, struct request *later, void *arg)
{
	struct undone *u = arg;

	assert_true(u->n < sizeof(u->why));
	/* What it holds is still there. */
	assert_ptr_equal(q->stmt, u->st);
	assert_true(u->st->refs > 1);
	assert_string_equal(q->name->name, "x");
	u->why[u->n++] = q->why;
	u->later = later ? later->why : 0;
	if (failed)
		u->failed = u->n;
}

static void test_undo(void **state)
{
	static const struct {
		const char *script; /* all requests with references; no '!' */
		const char *order;  /* by number, from 1 on */
		char answers;	    /* the kind */
		uint32_t left;
	} cases[] = {
		{"PBES", "321", 'P', 1},     /* the last first, the one that failed last */
		{"PBESPBES", "321", 'P', 5}, /* not beyond its Sync */
		{"PBES1P", "32", 'B', 1},    /* not what was answered */
		{"PBE", "321", 'P', 0},	     /* the Sync is yet to come */
		{"PCPQP", "54321", 'P', 0},  /* a Query in between is skipped as well */
		{"PBcES", "4321", 'P', 1},   /* an end of copy too: undo sees that it has nothing to do */
		{"Q", "", 'Q', 1},
		{"QPS", "", 'Q', 3}, /* these skip nothing */
		{"S", "", 'S', 1},
		{"", "", 'S', 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int told = 0; told < 2; told++) {
			struct world w = world_new();
			struct undone u = {.st = w.st};
			struct ring r = {0};
			uint8_t number = 1;
			struct request q;

			for (const char *p = cases[i].script; *p;)
				if (*p == '1')
					p = play_one(&r, p);
				else
					push_held(&r, &w, letter_kind(*p++), number++);
			q = ring_error(&r, told ? note_undo : NULL, &u);
			assert_int_equal(kind_letter(q.kind), cases[i].answers);
			assert_null(q.name);
			assert_null(q.stmt);
			assert_int_equal(r.n, cases[i].left);
			assert_int_equal(w.st->refs, 1 + r.n);
			if (told) {
				assert_int_equal(u.n, strlen(cases[i].order));
				assert_int_equal(u.failed, u.n);
				for (size_t k = 0; k < u.n; k++)
					assert_int_equal(u.why[k], cases[i].order[k] - '0');
			}
			ring_free(&r);
			world_free(&w);
		}
}

/* Undo is told of the first request behind the Sync that is about the unnamed statement, of none before it. */
static void test_later(void **state)
{
	static const struct {
		const char *kinds; /* 'u' in front: of the unnamed statement */
		uint8_t later;	   /* by number, 0: none */
	} cases[] = {
		{"PS", 0},
		{"uPBS", 0},
		{"uPBSuP", 4},
		{"PSPCuCuPS", 5},
		{"PSuQuP", 3},
		{"uPuQ", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct world w = world_new();
		struct undone u = {.st = w.st};
		struct ring r = {0};
		uint8_t number = 1;

		for (const char *p = cases[i].kinds; *p; p++) {
			bool unnamed = *p == 'u';

			p += unnamed;
			ring_push(&r, &(struct request){.kind = (uint8_t)letter_kind(*p),
					      .why = number++,
					      .unnamed = unnamed,
					      .name = stmt_name_unknown("x"),
					      .stmt = stmt_ref(w.st)});
		}
		ring_error(&r, note_undo, &u);
		assert_int_equal(u.later, cases[i].later);
		ring_free(&r);
		world_free(&w);
	}
}

/* A request's references are given back wherever it ends. */
static void test_references(void **state)
{
	struct world w = world_new();
	struct ring r = {0};

	(void)state;
	/* Popped, alone and along with an end of copy behind it; through growth. */
	for (int i = 0; i < 100; i++)
		push_held(&r, &w, i % 2 ? REQ_COPY_END : REQ_PARSE, 0);
	assert_int_equal(w.st->refs, 101);
	for (uint32_t left = 98; r.n; left -= 2) {
		ring_pop(&r);
		assert_int_equal(r.n, left);
		assert_int_equal(w.st->refs, 1 + left);
	}
	/* Not recorded, since the server skips. */
	push_held(&r, &w, REQ_PARSE, 0);
	ring_error(&r, NULL, NULL);
	push_held(&r, &w, REQ_PARSE, 0);
	push_held(&r, &w, REQ_QUERY, 0);
	assert_int_equal(r.n, 0);
	assert_int_equal(w.st->refs, 1);
	/* With the ring. */
	push_held(&r, &w, REQ_SYNC, 0);
	push_held(&r, &w, REQ_CLOSE, 0);
	assert_int_equal(w.st->refs, 3);
	ring_free(&r);
	assert_int_equal(w.st->refs, 1);
	/* One of the two alone. */
	ring_push(&r, &(struct request){.kind = REQ_BIND, .name = stmt_name_unknown("y")});
	ring_push(&r, &(struct request){.kind = REQ_PARSE, .stmt = stmt_ref(w.st)});
	ring_pop(&r);
	assert_int_equal(mem_usage_get(MEM_STMT).objects, 2); /* table and statement */
	ring_pop(&r);
	ring_free(&r);
	world_free(&w);
}

/* The undo of names: [Close x][Parse x][Parse y] that are skipped leave x what it was. */
static void undo_names(const struct request *q, bool failed, struct request *later, void *arg)
{
	(void)failed;
	(void)later;
	(void)arg;
	if (!q->name)
		return;
	if (q->kind == REQ_PARSE)
		stmt_map_fail(q->name);
	else
		stmt_map_restore(q->name);
}

static void test_names(void **state)
{
	struct world w = world_new();
	struct stmt_name *x = stmt_map_add(&w.names, "x", w.st), *n;
	struct ring r = {0};

	(void)state;
	ring_push(&r, &(struct request){.kind = REQ_BIND});
	ring_push(&r, &(struct request){.kind = REQ_CLOSE, .name = stmt_name_ref(x)});
	stmt_map_remove(x);
	for (int i = 0; i < 2; i++) {
		n = stmt_map_add(&w.names, i ? "y" : "x", w.st);
		ring_push(&r,
			&(struct request){
				.kind = REQ_PARSE, .made = true, .name = stmt_name_ref(n), .stmt = stmt_ref(w.st)});
	}
	ring_push(&r, &(struct request){.kind = REQ_SYNC});
	assert_int_equal(stmt_map_count(w.names), 2);
	ring_error(&r, undo_names, NULL);
	assert_int_equal(stmt_map_count(w.names), 1);
	assert_ptr_equal(stmt_map_find(w.names, "x"), x);
	ring_pop(&r);
	assert_true(ring_is_idle(&r));
	ring_free(&r);
	world_free(&w);
}

static void count_undo(const struct request *q, bool failed, struct request *later, void *arg)
{
	char *at = (char *)arg + strlen(arg);

	(void)later;
	*at = kind_letter(q->kind);
	at[1] = failed ? '!' : '\0';
	at[2] = '\0';
}

/* The server is lost: each batch is undone as if it had failed, the last of it first, and the ring is as it was. */
static void test_fail(void **state)
{
	struct ring r = {0};
	char undone[40] = "";

	(void)state;
	for (const char *p = "QQPBESSCE"; *p; p++)
		ring_push(&r, &(struct request){.kind = (uint8_t)letter_kind(*p)});
	ring_fail(&r, count_undo, undone);
	assert_string_equal(undone, "EBP!EC!");
	assert_int_equal(r.n, 9);
	assert_int_equal(ring_get(&r, 0)->kind, REQ_QUERY);
	assert_int_equal(ring_get(&r, 8)->kind, REQ_EXECUTE);
	assert_false(ring_get(&r, 5)->bare);
	assert_true(ring_get(&r, 6)->bare);
	ring_free(&r);
	ring_fail(&r, count_undo, undone); /* an empty one */
}

/* What is known of the part of a batch that is answered. */
static void test_answered(void **state)
{
	struct ring r = {0};

	(void)state;
	ring_push(&r, &(struct request){.kind = REQ_BIND});
	ring_push(&r, &(struct request){.kind = REQ_EXECUTE});
	ring_push(&r, &(struct request){.kind = REQ_EXECUTE, .ends = ENDS_BY_COMMIT});
	ring_push(&r, &(struct request){.kind = REQ_CLOSE});
	ring_push(&r, &(struct request){.kind = REQ_SYNC});
	ring_push(&r, &(struct request){.kind = REQ_QUERY, .ends = ENDS_BY_COMMIT});
	ring_pop(&r);
	assert_false(r.ran);
	ring_pop(&r);
	assert_true(r.ran && !r.ended);
	ring_pop(&r);
	ring_pop(&r);
	assert_true(r.ran && r.ended);
	ring_pop(&r);
	assert_false(r.ran || r.ended);
	ring_pop(&r);
	assert_false(r.ran || r.ended);
	ring_free(&r);
}

/* Requests as in a script. One that is answered by the pooler is in lower case, an Execute that ends a transaction is 'X'. */
static bool runs_one(const char *script)
{
	struct ring r = {0};
	bool one;

	for (const char *p = script; *p; p++) {
		bool answer = *p == 'p' || *p == 'k';
		char kind = *p == 'k' ? 'C' : *p == 'p' ? 'P' : *p == 'X' ? 'E' : *p;

		ring_push(&r, &(struct request){.kind = (uint8_t)letter_kind(kind),
				      .action = answer ? ACT_ANSWER : ACT_FORWARD,
				      .ends = *p == 'X' ? ENDS_BY_COMMIT : ENDS_NOTHING});
	}
	one = ring_runs_one(&r);
	ring_free(&r);
	return one;
}

static void test_runs_one(void **state)
{
	static const char *const one[] = {"Q", "BES", "PBES", "PDBDES", "DPBES", "PBECCS", "PBECkS"};
	static const char *const other[] = {"", "QQ", "QS", "QBES", "BE", "PBE", "PBESS", "PBESQ", "PBESBES", "PBEBES",
		"PBEES", "PPBES", "PBBES", "PBS", "PES", "ES", "S", "CPBES", "pBES", "PBEPS", "PBEDS", "PBXS", "PDS",
		"PBQES", "BPES", "PBPES"};
	struct ring r = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++)
		if (!runs_one(one[i]))
			fail_msg("%s", one[i]);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		if (runs_one(other[i]))
			fail_msg("%s", other[i]);
	for (int action = ACT_FORWARD; action <= ACT_ANSWER; action++) {
		ring_push(&r, &(struct request){.kind = REQ_QUERY, .action = (uint8_t)action});
		assert_int_equal(ring_runs_one(&r), action == ACT_FORWARD);
		ring_free(&r);
	}
	ring_push(&r, &(struct request){.kind = REQ_QUERY});
	ring_copy_in(&r);
	assert_false(ring_runs_one(&r));
	ring_free(&r);
	ring_push(&r, &(struct request){.kind = REQ_QUERY, .ends = ENDS_BY_ROLLBACK});
	assert_false(ring_runs_one(&r));
	ring_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_in_copy),
		cmocka_unit_test(test_may_commit),
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_later),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_fail),
		cmocka_unit_test(test_answered),
		cmocka_unit_test(test_runs_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
