/*
 * stmt: who shares a statement, what happens to names whose Parse or Close did
 * not happen, the order in which a server's statements go; maps and caches
 * against plain models; nothing is left over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/timer.h"
#include "pool/stmt.h"
#include "pool/vars.h"

/* Sizes that cannot be had are asked for on purpose. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

struct world {
	struct vars_table *vt;
	struct vars *v;
	struct stmt_table *t;
	size_t slots; /* objects of MEM_TABLE before */
};

static struct world world_new(void)
{
	struct world w = {.slots = mem_usage_get(MEM_TABLE).objects};

	w.vt = vars_table_new();
	w.t = stmt_table_new();
	w.v = vars_empty(w.vt);
	vars_put(&w.v, "DateStyle", "ISO, MDY");
	return w;
}

/* Asserts that nothing is left. */
static void world_free(struct world *w)
{
	stmt_table_free(w->t);
	vars_unref(&w->v);
	vars_table_free(w->vt);
	assert_int_equal(mem_usage_get(MEM_STMT).objects, 0);
	assert_int_equal(mem_usage_get(MEM_VARS).objects, 0);
	assert_int_equal(mem_usage_get(MEM_TABLE).objects, w->slots);
}

static struct stmt *get(struct world *w, const char *text)
{
	struct stmt *s = stmt_get(w->t, w->v, text, strlen(text) + 1, true);

	assert_non_null(s);
	return s;
}

static unsigned seed_random(void)
{
	const char *given = getenv("TEST_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_us();

	print_message("# TEST_SEED=%u\n", seed);
	srand(seed);
	return seed;
}

/* ---- statements ---- */

static void test_shared(void **state)
{
	static const struct {
		const char *body;
		size_t len;
		bool other_settings, shared, same; /* as the first */
	} rows[] = {
		{"SELECT 1\0\0\1\0\0\0\27", 15, false, true, true},
		{"SELECT 1\0\0\1\0\0\0\27", 15, false, true, true},
		{"SELECT 1\0\0\1\0\0\0\27", 15, true, true, false},
		{"SELECT 1\0\0\1\0\0\0\27", 15, false, false, false},
		{"SELECT 1\0\0\1\0\0\0\31", 15, false, true, false},
		{"SELECT 2\0\0\1\0\0\0\27", 15, false, true, false},
		{"SELECT 1\0\0\0", 11, false, true, false},
		{"SELECT 1\0\0\1", 11, false, true, false},
		{"", 0, false, true, false},
	};
	struct world w = world_new();
	struct vars *other = vars_empty(w.vt);
	struct stmt *s[sizeof rows / sizeof *rows];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		s[i] = stmt_get(w.t, rows[i].other_settings ? other : w.v, rows[i].body, rows[i].len, rows[i].shared);
		assert_non_null(s[i]);
		if ((s[i] == s[0]) != rows[i].same)
			fail_msg("row %zu", i);
		assert_int_equal(s[i]->len, rows[i].len);
		assert_memory_equal(s[i]->body, rows[i].body, rows[i].len);
		assert_ptr_equal(s[i]->settings, rows[i].other_settings ? other : w.v);
		assert_int_equal(s[i]->shared, rows[i].shared);
	}
	assert_int_equal(stmt_table_count(w.t), 8);
	/* The statement holds its settings. */
	vars_unref(&other);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		stmt_unref(&s[i]);
	assert_null(s[0]);
	stmt_unref(&s[0]);
	assert_int_equal(stmt_table_count(w.t), 0);
	world_free(&w);
}

/* A stale one is nobody's any more who comes, and names go over to another. */
static void test_stale(void **state)
{
	struct world w = world_new();
	struct stmt *old = stmt_get(w.t, w.v, "a", 2, true), *fresh;
	struct stmt_map *m = NULL;
	struct stmt_name *n = stmt_map_add(&m, "x", old);

	(void)state;
	stmt_retire(old);
	stmt_retire(old);
	fresh = stmt_get(w.t, w.v, "a", 2, true);
	assert_ptr_not_equal(old, fresh);
	assert_true(old->stale && !fresh->stale);
	assert_int_equal(old->clients, 1);
	stmt_name_renew(n, stmt_ref(fresh));
	assert_int_equal(old->clients, 0);
	assert_int_equal(fresh->clients, 1);
	assert_ptr_equal(stmt_map_find(m, "x")->stmt, fresh);
	stmt_unref(&old);
	stmt_map_remove(n);
	assert_int_equal(fresh->clients, 0);
	stmt_map_free(&m);
	stmt_unref(&fresh);
	world_free(&w);
}

/* One that is not shared is nobody's, neither before nor behind a shared one with the same text. */
static void test_not_shared(void **state)
{
	struct world w = world_new();
	struct stmt *a = stmt_get(w.t, w.v, "x", 2, false), *b = stmt_get(w.t, w.v, "x", 2, false);
	struct stmt *c = get(&w, "x"), *d = get(&w, "x"), *e = stmt_get(w.t, w.v, "x", 2, false);

	(void)state;
	assert_ptr_not_equal(a, b);
	assert_ptr_not_equal(c, a);
	assert_ptr_not_equal(c, b);
	assert_ptr_equal(c, d);
	assert_ptr_not_equal(e, c);
	stmt_unref(&a);
	stmt_unref(&b);
	stmt_unref(&c);
	c = get(&w, "x");
	assert_ptr_equal(c, d);
	stmt_unref(&c);
	stmt_unref(&d);
	stmt_unref(&e);
	world_free(&w);
}

static void test_numbers(void **state)
{
	struct world w = world_new();
	struct stmt *s[4] = {get(&w, "a"), get(&w, "b"), get(&w, "c"), get(&w, "d")};
	const struct stmt *at;

	(void)state;
	assert_string_equal(s[0]->name, "psbouncer_1");
	/* Numbers are not used again. */
	stmt_unref(&s[1]);
	s[1] = get(&w, "b");
	assert_int_equal(s[1]->number, 5);
	at = stmt_next(w.t, NULL);
	assert_int_equal(at->number, 1);
	at = stmt_next(w.t, at);
	assert_int_equal(at->number, 3);
	at = stmt_next(w.t, at);
	assert_int_equal(at->number, 4);
	at = stmt_next(w.t, at);
	assert_int_equal(at->number, 5);
	assert_null(stmt_next(w.t, at));
	for (int i = 0; i < 4; i++)
		stmt_unref(&s[i]);
	assert_null(stmt_next(w.t, NULL));
	world_free(&w);
}

/* A size that no memory has is no fault. */
static void test_no_memory(void **state)
{
	struct world w = world_new();
	struct stmt *s = stmt_get(w.t, w.v, "", SIZE_MAX - 8, false);

	(void)state;
	assert_null(s);
	s = stmt_get(w.t, w.v, "", SIZE_MAX / 4, false);
	assert_null(s);
	assert_int_equal(stmt_table_count(w.t), 0);
	world_free(&w);
}

/* ---- names ---- */

static void test_names(void **state)
{
	struct world w = world_new();
	struct stmt *a = get(&w, "a"), *b = get(&w, "b");
	struct stmt_map *m = NULL;
	struct stmt_name *n, *hold;

	(void)state;
	/* An empty map is NULL. */
	assert_null(stmt_map_find(m, "x"));
	assert_int_equal(stmt_map_count(m), 0);
	assert_int_equal(stmt_map_mark(m), 0);
	assert_null(stmt_map_next(m, NULL));
	stmt_map_clear(m, UINT64_MAX);
	stmt_map_free(&m);
	n = stmt_map_add(&m, "x", a);
	assert_ptr_equal(stmt_map_find(m, "x"), n);
	assert_null(stmt_map_find(m, "X"));
	assert_null(stmt_map_find(m, ""));
	assert_int_equal(a->clients, 1);
	/* Two names for one statement. */
	assert_ptr_equal(stmt_map_add(&m, "", a)->stmt, a);
	assert_int_equal(a->clients, 2);
	assert_int_equal(stmt_map_count(m), 2);
	/* Taken out it lives on with its holder, and another may have the name. */
	hold = stmt_name_ref(n);
	stmt_map_remove(n);
	assert_null(stmt_map_find(m, "x"));
	assert_int_equal(a->clients, 1);
	assert_string_equal(hold->name, "x");
	assert_ptr_equal(hold->stmt, a);
	assert_ptr_equal(stmt_map_add(&m, "x", b)->stmt, b);
	stmt_name_unref(&hold);
	assert_null(hold);
	stmt_name_unref(&hold);
	assert_ptr_equal(stmt_map_find(m, "x")->stmt, b);
	/* Without one it is freed at once; the statement stays with its other holders. */
	stmt_map_remove(stmt_map_find(m, "x"));
	assert_int_equal(b->clients, 0);
	stmt_unref(&a);
	stmt_unref(&b);
	assert_int_equal(stmt_table_count(w.t), 1);
	stmt_map_free(&m);
	assert_null(m);
	world_free(&w);
}

enum { LONG_NAME = 9999 };

/* Of a name 63 bytes count, of its text all. */
static void test_long_names(void **state)
{
	struct world w = world_new();
	struct stmt *s = get(&w, "a");
	struct stmt_map *m = NULL;
	char name[LONG_NAME + 1], other[LONG_NAME + 1];

	(void)state;
	memset(name, 'x', LONG_NAME);
	name[LONG_NAME] = '\0';
	assert_string_equal(stmt_map_add(&m, name, s)->name, name);
	memcpy(other, name, sizeof other);
	other[63] = 'y';
	assert_non_null(stmt_map_find(m, other));
	other[63] = '\0';
	assert_non_null(stmt_map_find(m, other));
	other[62] = 'y';
	assert_null(stmt_map_find(m, other));
	other[62] = '\0';
	assert_null(stmt_map_find(m, other));
	stmt_unref(&s);
	stmt_map_free(&m);
	world_free(&w);
}

/* A name of nothing: only to speak of. It is in no map, and fail and restore leave it alone. */
static void test_unknown(void **state)
{
	struct world w = world_new();
	struct stmt *s = get(&w, "0");
	struct stmt_map *m = NULL;
	struct stmt_name *n = stmt_name_unknown("x"), *empty = stmt_name_unknown(""), *hold;
	char name[LONG_NAME + 1];

	(void)state;
	assert_string_equal(n->name, "x");
	assert_null(n->stmt);
	assert_string_equal(empty->name, "");
	stmt_name_unref(&empty);
	assert_null(empty);
	assert_ptr_not_equal(stmt_map_add(&m, "x", s), n);
	hold = stmt_name_ref(n);
	stmt_name_unref(&n);
	stmt_map_restore(hold);
	stmt_map_fail(hold);
	assert_string_equal(hold->name, "x");
	assert_int_equal(stmt_map_count(m), 1);
	assert_ptr_equal(stmt_map_find(m, "x")->stmt, s);
	assert_int_equal(s->clients, 1);
	stmt_map_free(&m);
	stmt_name_unref(&hold);
	memset(name, 'x', LONG_NAME);
	name[LONG_NAME] = '\0';
	n = stmt_name_unknown(name);
	assert_string_equal(n->name, name);
	stmt_name_unref(&n);
	stmt_unref(&s);
	world_free(&w);
}

/* Edits of a text, some of them of names that are not there yet. */
static void test_edits(void **state)
{
	struct world w = world_new();
	struct stmt *s = get(&w, "0");
	struct stmt_name *n = stmt_name_pending("p", s);
	struct stmt_edits *e = NULL, *hold;

	(void)state;
	assert_ptr_equal(n->stmt, s);
	assert_int_equal(s->clients, 0);
	for (uint32_t i = 0; i < 20; i++) {
		struct stmt_edit *one = stmt_edits_add(&e);

		assert_int_equal(e->n, i + 1);
		assert_null(one->name);
		one->name = i == 7 ? stmt_name_unknown("none") : stmt_name_ref(n);
		one->at = i;
	}
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(e->v[i].at, i);
	stmt_name_unref(&n);
	hold = stmt_edits_ref(e);
	stmt_edits_unref(&e);
	assert_null(e);
	stmt_edits_unref(&e);
	/* They go with their statement. */
	s->edits = hold;
	stmt_name_unref(&hold->v[0].name);
	for (uint32_t i = 1; i < 20; i++)
		stmt_name_unref(&hold->v[i].name);
	stmt_unref(&s);
	assert_int_equal(stmt_table_count(w.t), 0);
	world_free(&w);
}

/* What SQL has prepared is told from what the protocol has. */
static void test_sql(void **state)
{
	struct world w = world_new();
	struct stmt *sql = stmt_get(w.t, w.v, "PREPARE as select 1", 20, true);
	struct stmt *other = stmt_get(w.t, w.v, "select 1\0\0", 11, true);

	(void)state;
	assert_true(stmt_is_sql(sql));
	assert_false(stmt_is_sql(other));
	stmt_unref(&sql);
	stmt_unref(&other);
	world_free(&w);
}

/* What did not happen, in either order of the requests [Close a][Parse a][Close a][Parse a]. */
static void test_undo(void **state)
{
	(void)state;
	for (int backwards = 0; backwards < 2; backwards++) {
		struct world w = world_new();
		struct stmt *s = get(&w, "0");
		struct stmt_map *m = NULL;
		struct stmt_name *e[3];

		e[0] = stmt_name_ref(stmt_map_add(&m, "a", s));
		stmt_map_remove(e[0]);
		e[1] = stmt_name_ref(stmt_map_add(&m, "a", s));
		stmt_map_remove(e[1]);
		e[2] = stmt_name_ref(stmt_map_add(&m, "a", s));
		for (int i = 0; i < 4; i++) {
			switch (backwards ? 3 - i : i) {
			case 0: stmt_map_restore(e[0]); break;
			case 1: stmt_map_fail(e[1]); break;
			case 2: stmt_map_restore(e[1]); break;
			case 3: stmt_map_fail(e[2]); break;
			}
		}
		assert_ptr_equal(stmt_map_find(m, "a"), e[0]);
		assert_int_equal(stmt_map_count(m), 1);
		assert_int_equal(s->clients, 1);
		/* Once more changes nothing. */
		stmt_map_restore(e[0]);
		stmt_map_restore(e[2]);
		stmt_map_fail(e[2]);
		assert_ptr_equal(stmt_map_find(m, "a"), e[0]);
		assert_int_equal(s->clients, 1);
		stmt_map_fail(e[0]);
		assert_null(stmt_map_find(m, "a"));
		for (int i = 0; i < 3; i++)
			stmt_name_unref(&e[i]);
		stmt_unref(&s);
		stmt_map_free(&m);
		world_free(&w);
	}
}

/* A clear takes what was added before its mark, and nothing of that comes back. */
static void test_clear(void **state)
{
	struct world w = world_new();
	struct stmt *s = get(&w, "0");
	struct stmt_map *m = NULL;
	struct stmt_name *closed, *kept;
	uint64_t mark;

	(void)state;
	stmt_map_add(&m, "a", s);
	closed = stmt_name_ref(stmt_map_add(&m, "b", s));
	kept = stmt_name_ref(stmt_map_add(&m, "c", s));
	mark = stmt_map_mark(m);
	/* Behind the DEALLOCATE ALL, which is still under way: a Close and a Parse. */
	stmt_map_remove(closed);
	stmt_map_add(&m, "b", s);
	stmt_map_clear(m, mark);
	assert_int_equal(stmt_map_count(m), 1);
	assert_null(stmt_map_find(m, "a"));
	assert_null(stmt_map_find(m, "c"));
	stmt_map_restore(closed);
	stmt_map_restore(kept);
	assert_int_equal(stmt_map_count(m), 1);
	assert_ptr_not_equal(stmt_map_find(m, "b"), closed);
	assert_int_equal(s->clients, 1);
	stmt_map_clear(m, mark);
	assert_int_equal(stmt_map_count(m), 1);
	stmt_map_clear(m, UINT64_MAX);
	assert_int_equal(stmt_map_count(m), 0);
	/* The map goes before those who hold its names. */
	stmt_name_unref(&closed);
	stmt_name_unref(&kept);
	kept = stmt_name_ref(stmt_map_add(&m, "d", s));
	stmt_map_remove(kept);
	closed = stmt_name_ref(stmt_map_add(&m, "e", s));
	stmt_map_free(&m);
	stmt_map_restore(closed);
	assert_int_equal(s->clients, 0);
	assert_string_equal(closed->name, "e");
	stmt_name_unref(&closed);
	stmt_name_unref(&kept);
	stmt_unref(&s);
	world_free(&w);
}

/* ---- a map against a model ---- */

enum { NAMES = 40, HELD = 64 };

static void test_map_model(void **state)
{
	struct world w = world_new();
	struct stmt *s[3] = {get(&w, "0"), get(&w, "1"), get(&w, "2")};
	struct stmt_map *m = NULL;
	struct stmt_name *present[NAMES] = {0}, *held[HELD] = {0};
	bool dead[HELD] = {0};
	int held_name[HELD] = {0};
	char name[16];

	(void)state;
	seed_random();
	for (int step = 0; step < 50000; step++) {
		int i = rand() % NAMES, h = rand() % HELD;
		size_t count = 0, walked = 0;

		snprintf(name, sizeof name, "n%d", i);
		switch (rand() % 8) {
		case 0:
		case 1:
		case 2: /* add, and hold it */
			if (present[i] != NULL)
				break;
			present[i] = stmt_map_add(&m, name, s[rand() % 3]);
			stmt_name_unref(&held[h]);
			held[h] = stmt_name_ref(present[i]);
			held_name[h] = i;
			dead[h] = false;
			break;
		case 3:
		case 4: /* remove */
			if (present[i] == NULL)
				break;
			stmt_map_remove(present[i]);
			present[i] = NULL;
			break;
		case 5: /* fail one that is held */
			if (held[h] == NULL)
				break;
			if (present[held_name[h]] == held[h])
				present[held_name[h]] = NULL;
			stmt_map_fail(held[h]);
			for (int k = 0; k < HELD; k++)
				dead[k] = dead[k] || held[k] == held[h];
			break;
		case 6: /* restore one */
			if (held[h] == NULL)
				break;
			if (!dead[h])
				present[held_name[h]] = held[h];
			stmt_map_restore(held[h]);
			break;
		case 7: /* clear up to a mark, now and then */
			if (rand() % 50 == 0) {
				uint64_t mark = stmt_map_mark(m) - (uint64_t)(rand() % 30);

				if (mark > stmt_map_mark(m))
					break;
				for (int k = 0; k < NAMES; k++)
					if (present[k] != NULL && present[k]->serial <= mark)
						present[k] = NULL;
				for (int k = 0; k < HELD; k++)
					dead[k] = dead[k] || (held[k] != NULL && held[k]->serial <= mark);
				stmt_map_clear(m, mark);
			}
			break;
		}
		for (int k = 0; k < NAMES; k++) {
			snprintf(name, sizeof name, "n%d", k);
			count += present[k] != NULL;
			assert_ptr_equal(stmt_map_find(m, name), present[k]);
		}
		assert_int_equal(stmt_map_count(m), count);
		for (struct stmt_name *n = NULL; (n = stmt_map_next(m, n)) != NULL;)
			walked++;
		assert_int_equal(walked, count);
		assert_int_equal(s[0]->clients + s[1]->clients + s[2]->clients, count);
	}
	stmt_map_free(&m);
	for (int h = 0; h < HELD; h++)
		stmt_name_unref(&held[h]);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(s[i]->clients, 0);
		stmt_unref(&s[i]);
	}
	world_free(&w);
}

/* ---- what a server has ---- */

static void test_cache(void **state)
{
	struct world w = world_new();
	struct stmt *a = get(&w, "a"), *b = get(&w, "b"), *c = get(&w, "c");
	struct stmt_cache cache;

	(void)state;
	stmt_cache_init(&cache);
	assert_false(stmt_cache_use(&cache, a));
	assert_false(stmt_cache_remove(&cache, a));
	assert_null(stmt_cache_oldest(&cache, 0));
	stmt_cache_add(&cache, a);
	stmt_cache_add(&cache, b);
	stmt_cache_add(&cache, c);
	assert_int_equal(stmt_cache_count(&cache), 3);
	assert_int_equal(a->servers, 1);
	assert_null(stmt_cache_oldest(&cache, 3));
	assert_ptr_equal(stmt_cache_oldest(&cache, 2), a);
	assert_true(stmt_cache_use(&cache, a));
	assert_ptr_equal(stmt_cache_oldest(&cache, 2), b);
	assert_true(stmt_cache_remove(&cache, b));
	assert_false(stmt_cache_use(&cache, b));
	assert_int_equal(b->servers, 0);
	assert_null(stmt_cache_oldest(&cache, 2));
	assert_ptr_equal(stmt_cache_oldest(&cache, 0), c);
	/* The cache's reference may be the last one. */
	stmt_unref(&b);
	stmt_unref(&c);
	assert_int_equal(stmt_table_count(w.t), 2);
	c = stmt_cache_oldest(&cache, 0);
	assert_true(stmt_cache_remove(&cache, c));
	assert_int_equal(stmt_table_count(w.t), 1);
	stmt_cache_clear(&cache);
	assert_int_equal(stmt_cache_count(&cache), 0);
	assert_int_equal(a->servers, 0);
	stmt_cache_add(&cache, a);
	assert_true(stmt_cache_use(&cache, a));
	stmt_cache_clear(&cache);
	stmt_unref(&a);
	world_free(&w);
}

enum { STMTS = 30 };

static void test_cache_model(void **state)
{
	struct world w = world_new();
	struct stmt *s[STMTS];
	struct stmt_cache cache;
	int used[STMTS] = {0}; /* when, 0: not there */
	char text[16];

	(void)state;
	seed_random();
	stmt_cache_init(&cache);
	for (int i = 0; i < STMTS; i++) {
		snprintf(text, sizeof text, "s%d", i);
		s[i] = get(&w, text);
	}
	for (int step = 1; step < 50000; step++) {
		int i = rand() % STMTS, oldest = -1;
		size_t count = 0;

		switch (rand() % 4) {
		case 0:
			assert_int_equal(stmt_cache_remove(&cache, s[i]), used[i] > 0);
			used[i] = 0;
			break;
		default:
			assert_int_equal(stmt_cache_use(&cache, s[i]), used[i] > 0);
			if (used[i] == 0)
				stmt_cache_add(&cache, s[i]);
			used[i] = step;
			break;
		}
		if (rand() % 5000 == 0) {
			stmt_cache_clear(&cache);
			memset(used, 0, sizeof used);
		}
		for (int k = 0; k < STMTS; k++) {
			count += used[k] > 0;
			assert_int_equal(s[k]->servers, used[k] > 0);
			if (used[k] > 0 && (oldest < 0 || used[k] < used[oldest]))
				oldest = k;
		}
		assert_int_equal(stmt_cache_count(&cache), count);
		assert_ptr_equal(stmt_cache_oldest(&cache, 0), oldest >= 0 ? s[oldest] : NULL);
		assert_null(stmt_cache_oldest(&cache, count));
	}
	stmt_cache_clear(&cache);
	for (int i = 0; i < STMTS; i++)
		stmt_unref(&s[i]);
	world_free(&w);
}

/* Many of everything: what costs the square of it would not end. */
static void test_many(void **state)
{
	enum { N = 200000 };
	struct world w = world_new();
	struct stmt_map *m = NULL;
	struct stmt_cache cache;
	char text[24];

	(void)state;
	stmt_cache_init(&cache);
	for (int i = 0; i < N; i++) {
		struct stmt *s;

		snprintf(text, sizeof text, "s%d", i);
		s = get(&w, text);
		stmt_map_add(&m, text, s);
		stmt_cache_add(&cache, s);
		stmt_unref(&s);
		stmt_map_clear(m, 0);
	}
	for (int i = 0; i < N / 2; i++) {
		struct stmt *s;

		snprintf(text, sizeof text, "s%d", i);
		s = get(&w, text);
		assert_ptr_equal(stmt_map_find(m, text)->stmt, s);
		assert_true(stmt_cache_remove(&cache, s));
		stmt_unref(&s);
	}
	assert_int_equal(stmt_table_count(w.t), N);
	stmt_map_free(&m);
	assert_int_equal(stmt_table_count(w.t), N / 2);
	stmt_cache_clear(&cache);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_not_shared),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_edits),
		cmocka_unit_test(test_sql),
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_clear),
		cmocka_unit_test(test_map_model),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_model),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
