/*
 * vars: equal sets are one object, put and overlay against a plain model,
 * what differs, nothing is left over, and the text of a SET.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/timer.h"
#include "net/buf.h"
#include "pool/vars.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

static struct vars *make(struct vars_table *t, const char *const *pairs)
{
	struct vars *v = vars_empty(t);

	for (; pairs[0] != NULL; pairs += 2)
		vars_put(&v, pairs[0], pairs[1]);
	return v;
}

#define SET(t, ...) make(t, (const char *const[]){__VA_ARGS__, NULL})

static void test_interned(void **state)
{
	struct vars_table *t = vars_table_new();
	struct vars *a = SET(t, "a", "1", "B", "2", "client_encoding", "UTF8");
	struct vars *b = SET(t, "CLIENT_ENCODING", "UTF8", "b", "2", "A", "x", "A", "1", "gone", "1", "gone", NULL);
	struct vars *c = SET(t, "a", "1", "b", "2", "client_encoding", "utf8");
	struct vars *before = a;

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_int_equal(vars_count(a), 3);
	assert_string_equal(vars_name(a, 0), "client_encoding");
	assert_string_equal(vars_name(a, 1), "a");
	assert_string_equal(vars_name(a, 2), "B"); /* the first spelling */
	assert_string_equal(vars_value(a, 2), "2");
	assert_string_equal(vars_get(b, "b"), "2");
	assert_null(vars_get(a, "gone"));
	vars_put(&a, "b", "2");
	vars_put(&a, "never", NULL);
	assert_ptr_equal(a, before);
	vars_put(&c, "Client_Encoding", "UTF8");
	assert_ptr_equal(a, c);
	vars_unref(&a);
	assert_null(a);
	vars_unref(&a);
	vars_unref(&b);
	vars_unref(&c);
	vars_table_free(t);
	assert_int_equal(mem_usage_get(MEM_VARS).objects, 0);
}

static void test_spelling(void **state)
{
	struct vars_table *t = vars_table_new();
	struct vars *v = SET(t, "datestyle", "ISO", "TIMEZONE", "UTC", "intervalStyle", "iso_8601");

	(void)state;
	assert_string_equal(vars_name(v, 0), "DateStyle");
	assert_string_equal(vars_name(v, 1), "IntervalStyle");
	assert_string_equal(vars_name(v, 2), "TimeZone");
	vars_unref(&v);
	vars_table_free(t);
}

static void test_empty(void **state)
{
	struct vars_table *t = vars_table_new();
	struct vars *e = vars_empty(t), *v = SET(t, "a", "");

	(void)state;
	assert_int_equal(vars_count(e), 0);
	assert_string_equal(vars_get(v, "a"), "");
	vars_put(&v, "A", NULL);
	assert_ptr_equal(e, v);
	vars_unref(&e);
	vars_unref(&v);
	vars_table_free(t);
}

static void test_overlay(void **state)
{
	struct vars_table *t = vars_table_new();
	struct vars *base = SET(t, "a", "1", "b", "2", "c", "3"), *over = SET(t, "B", "x", "d", "4");
	struct vars *want = SET(t, "a", "1", "b", "x", "c", "3", "d", "4"), *e = vars_empty(t);
	struct vars *r = vars_overlay(base, over), *again;
	size_t objects;

	(void)state;
	assert_ptr_equal(r, want);
	/* Remembered although nobody holds the result: no new object. */
	vars_unref(&r);
	vars_unref(&want);
	objects = mem_usage_get(MEM_VARS).objects;
	again = vars_overlay(base, over);
	assert_int_equal(mem_usage_get(MEM_VARS).objects, objects);
	assert_int_equal(vars_count(again), 4);
	vars_unref(&again);
	/* Nothing to lay over, nothing below, the same twice. */
	r = vars_overlay(base, e);
	assert_ptr_equal(r, base);
	vars_unref(&r);
	r = vars_overlay(e, over);
	assert_ptr_equal(r, over);
	vars_unref(&r);
	r = vars_overlay(base, base);
	assert_ptr_equal(r, base);
	vars_unref(&r);
	vars_unref(&e);
	vars_unref(&base);
	vars_unref(&over);
	vars_table_free(t);
}

/* Memories that name each other and themselves do not keep sets alive. */
static void test_no_rings(void **state)
{
	struct vars_table *t = vars_table_new();
	struct vars *small = SET(t, "a", "1"), *large = SET(t, "a", "2", "b", "3"), *other = SET(t, "b", "9", "c", "1");
	struct vars *r;

	(void)state;
	r = vars_overlay(small, large); /* is large itself */
	assert_ptr_equal(r, large);
	vars_unref(&r);
	r = vars_overlay(large, small);
	vars_unref(&r);
	r = vars_overlay(large, other);
	vars_unref(&r);
	r = vars_overlay(other, large);
	vars_unref(&r);
	r = vars_overlay(other, small);
	vars_unref(&large);
	/* What somebody else's memory kept comes back to life whole. */
	large = SET(t, "a", "2", "b", "3");
	assert_string_equal(vars_get(large, "b"), "3");
	vars_unref(&small);
	vars_unref(&r);
	vars_unref(&large);
	vars_unref(&other);
	vars_table_free(t);
	assert_int_equal(mem_usage_get(MEM_VARS).objects, 0);
}

static void test_diff(void **state)
{
	static const struct {
		const char *const a[9], *const b[9];
		const char *out;
	} rows[] = {
		{{NULL}, {NULL}, ""},
		{{"a", "1"}, {"a", "1"}, ""},
		{{"a", "1"}, {"a", "2"}, "a:1>2 "},
		{{"a", "1"}, {NULL}, "a:1>- "},
		{{NULL}, {"a", "1"}, "a:->1 "},
		{{"a", "1", "c", "3"}, {"b", "2", "c", "3"}, "a:1>- b:->2 "},
		{{"a", "1", "b", "2", "c", "3"}, {"A", "1", "B", "x", "d", "4"}, "b:2>x c:3>- d:->4 "},
		{{"application_name", "x", "client_encoding", "UTF8"}, {"client_encoding", "LATIN1", "z", ""},
			"client_encoding:UTF8>LATIN1 application_name:x>- z:-> "},
	};
	struct vars_table *t = vars_table_new();

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct vars *a = make(t, rows[i].a), *b = make(t, rows[i].b);
		size_t x = 0, y = 0;
		const char *name, *from, *to;
		struct buf out = {0};

		while (vars_diff(a, b, &x, &y, &name, &from, &to))
			buf_printf(&out, "%s:%s>%s ", name, from != NULL ? from : "-", to != NULL ? to : "-");
		assert_string_equal(buf_text(&out), rows[i].out);
		buf_free(&out);
		vars_unref(&a);
		vars_unref(&b);
	}
	vars_table_free(t);
}

/* ---- against a model ---- */

enum { NAMES = 12, VALUES = 4, HELD = 24 };

static const char *const names[NAMES] = {"a", "B", "client_encoding", "DateStyle", "e.f", "search_path", "TimeZone",
	"x1", "x2", "x3", "x4", "application_name"};
static const char *const values[VALUES] = {"", "1", "two", "a longer value that is not like the others"};

struct model {
	int value[NAMES]; /* -1: not in it */
};

static const char *any_case(const char *name)
{
	static char buf[64];

	snprintf(buf, sizeof buf, "%s", name);
	for (char *p = buf; *p != '\0'; p++)
		if (rand() % 3 == 0 && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')))
			*p ^= 0x20;
	return buf;
}

static void check_model(const struct vars *v, const struct model *m)
{
	size_t n = 0;

	for (int i = 0; i < NAMES; i++) {
		const char *got = vars_get(v, any_case(names[i]));

		n += m->value[i] >= 0;
		if (m->value[i] < 0)
			assert_null(got);
		else
			assert_string_equal(got, values[m->value[i]]);
	}
	assert_int_equal(vars_count(v), n);
}

static void test_model(void **state)
{
	struct vars_table *t = vars_table_new();
	struct vars *held[HELD];
	struct model model[HELD];
	const char *given = getenv("TEST_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_us();

	(void)state;
	print_message("# TEST_SEED=%u\n", seed);
	srand(seed);
	for (int i = 0; i < HELD; i++) {
		held[i] = vars_empty(t);
		memset(&model[i], -1, sizeof model[i]);
	}
	for (int step = 0; step < 20000; step++) {
		int i = rand() % HELD, j = rand() % HELD, k = rand() % HELD, name = rand() % NAMES;

		switch (rand() % 4) {
		case 0:
		case 1: {
			int value = rand() % (VALUES + 1) - 1;

			vars_put(&held[i], any_case(names[name]), value >= 0 ? values[value] : NULL);
			model[i].value[name] = value;
			break;
		}
		case 2: {
			struct vars *r = vars_overlay(held[j], held[k]);
			struct model m = model[j];

			for (int x = 0; x < NAMES; x++)
				if (model[k].value[x] >= 0)
					m.value[x] = model[k].value[x];
			vars_unref(&held[i]);
			held[i] = r;
			model[i] = m;
			break;
		}
		case 3:
			vars_unref(&held[i]);
			held[i] = vars_empty(t);
			memset(&model[i], -1, sizeof model[i]);
			break;
		}
		check_model(held[i], &model[i]);
		assert_int_equal(held[j] == held[k], memcmp(&model[j], &model[k], sizeof model[j]) == 0);
	}
	for (int i = 0; i < HELD; i++) {
		check_model(held[i], &model[i]);
		vars_unref(&held[i]);
	}
	vars_table_free(t);
	assert_int_equal(mem_usage_get(MEM_VARS).objects, 0);
}

static void test_large(void **state)
{
	struct vars_table *t = vars_table_new();
	struct vars *v = vars_empty(t), *w;
	char *value = malloc(65536), name[200];
	size_t bytes;

	(void)state;
	memset(value, 'x', 65535);
	value[65535] = '\0';
	vars_put(&v, "big", value);
	assert_string_equal(vars_get(v, "big"), value);
	/* The value is in memory once, however many sets have it. */
	bytes = mem_usage_get(MEM_VARS).bytes;
	w = vars_ref(v);
	vars_put(&w, "other", value);
	assert_true(mem_usage_get(MEM_VARS).bytes < bytes + 4096);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "a_name_that_is_longer_than_a_block_of_the_hash_%0100d", i);
		vars_put(&w, name, "1");
	}
	assert_int_equal(vars_count(w), 102);
	name[0] = 'A';
	assert_string_equal(vars_get(w, name), "1");
	vars_unref(&v);
	vars_unref(&w);
	vars_table_free(t);
	free(value);
}

/* ---- SQL ---- */

static void test_kind(void **state)
{
	static const struct {
		const char *name;
		enum var_kind kind;
	} rows[] = {
		{"DateStyle", VAR_SCALAR},
		{"application_name", VAR_SCALAR},
		{"app.tenant", VAR_SCALAR},
		{"search_path", VAR_LIST},
		{"Search_Path", VAR_LIST},
		{"temp_tablespaces", VAR_LIST},
		{"local_preload_libraries", VAR_LIST},
		{"session_preload_libraries", VAR_LIST},
		{"in_hot_standby", VAR_FIXED},
		{"IS_SUPERUSER", VAR_FIXED},
		{"server_version", VAR_FIXED},
		{"server_encoding", VAR_FIXED},
		{"integer_datetimes", VAR_FIXED},
		{"session_authorization", VAR_SCALAR},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(var_kind(rows[i].name), rows[i].kind);
}

static void test_sql(void **state)
{
	static const struct {
		const char *name, *value, *sql;
	} rows[] = {
		{"application_name", "psql", "SET application_name = E'psql';"},
		{"application_name", "", "SET application_name = E'';"},
		{"application_name", "it's", "SET application_name = E'it''s';"},
		{"application_name", "a\\b'\\", "SET application_name = E'a\\\\b''\\\\';"},
		{"application_name", "two\nlines", "SET application_name = E'two\nlines';"},
		{"application_name", "\xc3\xa9", "SET application_name = E'\xc3\xa9';"},
		{"application_name", "'; DROP TABLE t; --", "SET application_name = E'''; DROP TABLE t; --';"},
		{"DateStyle", "ISO, MDY", "SET DateStyle = E'ISO, MDY';"},
		{"TimeZone", "<-03>+03", "SET TimeZone = E'<-03>+03';"},
		{"session_authorization", "o'neil", "SET SESSION AUTHORIZATION E'o''neil';"},
		/* 0x5c as the second byte of a character. */
		{"application_name", "\x83\x5c'; DROP", "SET application_name = $v$\x83\x5c'; DROP$v$;"},
		{"application_name", "\xc3\xa9\\$v$", "SET application_name = $v1$\xc3\xa9\\$v$$v1$;"},
		{"application_name", "\xc3\xa9\\$v$v1", "SET application_name = $v2$\xc3\xa9\\$v$v1$v2$;"},
		{"application_name", "\xc3\xa9\\$", "SET application_name = $v$\xc3\xa9\\$$v$;"},
		/* Names. */
		{"app.tenant_id", "7", "SET \"app\".\"tenant_id\" = E'7';"},
		{"app.user.Name", "7", "SET \"app\".\"user\".\"Name\" = E'7';"},
		{"a\"b.c", "7", "SET \"a\"\"b\".\"c\" = E'7';"},
		{"a b", "7", "SET \"a b\" = E'7';"},
		{"geqo", "on", "SET \"geqo\" = E'on';"},
		{"role", "none", "SET role = E'none';"},
		{"session", "7", "SET \"session\" = E'7';"},
		{"1_a", "7", "SET \"1_a\" = E'7';"},
		{"x_y; DROP", "7", "SET \"x_y; DROP\" = E'7';"},
		{"", "7", "SET \"\" = E'7';"},
		{".", "7", "SET \"\".\"\" = E'7';"},
		/* Lists. */
		{"search_path", "\"$user\", public", "SET search_path = E'$user', E'public';"},
		{"search_path", "public", "SET search_path = E'public';"},
		{"search_path", "a,b ,  c", "SET search_path = E'a', E'b', E'c';"},
		{"search_path", "", "SET search_path = '';"},
		{"search_path", "  ", "SET search_path = '';"},
		{"search_path", "\"\"", "SET search_path = E'';"},
		{"search_path", "Foo, \"Foo\"", "SET search_path = E'foo', E'Foo';"},
		{"search_path", "\"a, b\", \"it's \"\"x\"\"\"", "SET search_path = E'a, b', E'it''s \"x\"';"},
		{"search_path", "\"a\\b\"", "SET search_path = E'a\\\\b';"},
		{"SEARCH_PATH", "\t a \n,\n\"b\"\t", "SET SEARCH_PATH = E'a', E'b';"},
		{"temp_tablespaces", "ts1, \"Ts 2\"", "SET temp_tablespaces = E'ts1', E'Ts 2';"},
		{"session_preload_libraries", "Lib/A b.so , \"c,d\"",
			"SET session_preload_libraries = E'Lib/A b.so', E'c,d';"},
		/* What PostgreSQL would not split either is one text. */
		{"search_path", "a,,b", "SET search_path = E'a,,b';"},
		{"search_path", "a,", "SET search_path = E'a,';"},
		{"search_path", ",", "SET search_path = E',';"},
		{"search_path", "a b", "SET search_path = E'a b';"},
		{"search_path", "\"a", "SET search_path = E'\"a';"},
		{"search_path", "\"a\"b", "SET search_path = E'\"a\"b';"},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf b = {0};

		buf_puts(&b, "-");
		var_set_sql(&b, rows[i].name, rows[i].value, false);
		assert_string_equal(buf_text(&b) + 1, rows[i].sql);
		buf_free(&b);
		var_set_sql(&b, rows[i].name, rows[i].value, true);
		assert_string_equal(strncmp(buf_text(&b), "SET LOCAL ", 10) == 0 ? buf_text(&b) + 10 : "",
			rows[i].sql + 4);
		buf_free(&b);
	}
}

static void test_reset_sql(void **state)
{
	struct buf b = {0};

	(void)state;
	var_reset_sql(&b, "DateStyle", false);
	var_reset_sql(&b, "DateStyle", true);
	assert_string_equal(buf_text(&b), "RESET DateStyle;SET LOCAL DateStyle TO DEFAULT;");
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interned),
		cmocka_unit_test(test_spelling),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_no_rings),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_kind),
		cmocka_unit_test(test_sql),
		cmocka_unit_test(test_reset_sql),
	};

	return cmocka_run_group_tests_name("vars", tests, NULL, NULL);
}
