/*
 * connstr: what splits into which pairs, and what is refused where.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "conf/connstr.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

static const struct good {
	const char *text;
	const char *pairs[9]; /* key, value, ..., NULL */
} goods[] = {
	{"", {NULL}},
	{" \t ", {NULL}},
	{"host=a", {"host", "a"}},
	{"  host=a  ", {"host", "a"}},
	{"host=a port=5\tdbname=x", {"host", "a", "port", "5", "dbname", "x"}},
	{"host = 127.0.0.1 port= 5 dbname =x", {"host", "127.0.0.1", "port", "5", "dbname", "x"}},
	{"password='it''s'", {"password", "it's"}},
	{"password=''''", {"password", "'"}},
	{"password=' '", {"password", " "}},
	{"q='select ''a'', 1; -- x' user=b", {"q", "select 'a', 1; -- x", "user", "b"}},
	{"password=it's", {"password", "it's"}},
	{"password=a'b'c", {"password", "a'b'c"}},
	{"password=\\'", {"password", "\\'"}},
	{"password=a=b", {"password", "a=b"}},
	{"host=a,b,c", {"host", "a,b,c"}},
	{"host=a host=b", {"host", "a", "host", "b"}},
	{"a_1=\xc3\xa9", {"a_1", "\xc3\xa9"}},
	{"a=1 b=2 c=3 d=4", {"a", "1", "b", "2", "c", "3", "d", "4"}},
	{"host=\na", {"host", "a"}},
};

static const struct bad {
	const char *text;
	size_t at;
	const char *why;
} bads[] = {
	{"host", 0, "a key without '=' and a value (a value with spaces needs single quotes)"},
	{"host=a x", 7, "a key without '=' and a value (a value with spaces needs single quotes)"},
	{"host=a b c=d", 7, "a key without '=' and a value (a value with spaces needs single quotes)"},
	{"host=", 0, "an empty value"},
	{"host=a user= ", 7, "an empty value"},
	{"host=a user='' x=y", 7, "an empty value"},
	{"=a", 0, "a key was expected"},
	{"host=a =b", 7, "a key was expected"},
	{"ho-st=a", 0, "a key without '=' and a value (a value with spaces needs single quotes)"},
	{"'host'=a", 0, "a key was expected"},
	{"; x", 0, "a key was expected"},
	{"password='a", 0, "a value whose quote is not closed"},
	{"password='", 0, "a value whose quote is not closed"},
	{"password='a''", 0, "a value whose quote is not closed"},
	{"a=b password='c'd", 4, "a quoted value without a space behind it"},
	{"host='h'port=5", 0, "a quoted value without a space behind it"},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(goods); i++) {
		const struct good *g = &goods[i];
		struct connstr c;
		size_t at, n = 0;
		const char *error = connstr_parse(g->text, &c, &at);

		if (error != NULL)
			fail_msg("\"%s\": %s", g->text, error);
		while (g->pairs[2 * n] != NULL)
			n++;
		assert_int_equal(c.n, n);
		for (size_t k = 0; k < n; k++) {
			assert_string_equal(c.v[k].key, g->pairs[2 * k]);
			assert_string_equal(c.v[k].value, g->pairs[2 * k + 1]);
		}
		connstr_free(&c);
		assert_int_equal(c.n, 0);
	}
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(bads); i++) {
		struct connstr c;
		size_t at = 1000;
		const char *error = connstr_parse(bads[i].text, &c, &at);

		if (error == NULL)
			fail_msg("\"%s\" was taken", bads[i].text);
		assert_string_equal(error, bads[i].why);
		assert_int_equal(at, bads[i].at);
		connstr_free(&c);
	}
}

/* A value as long as a line can be, and many pairs. */
static void test_large(void **state)
{
	enum { LONG = 64000, PAIRS = 1000 };
	char *text = malloc(LONG + 8), *many = malloc(PAIRS * 4 + 1);
	struct connstr c;
	size_t at;

	(void)state;
	assert_non_null(text);
	assert_non_null(many);
	memcpy(text, "key='", 5);
	memset(text + 5, 'x', LONG);
	memcpy(text + 5 + LONG, "'", 2);
	assert_null(connstr_parse(text, &c, &at));
	assert_int_equal(c.n, 1);
	assert_int_equal(strlen(c.v[0].value), LONG);
	connstr_free(&c);
	for (size_t i = 0; i < PAIRS; i++)
		memcpy(many + 4 * i, "a=b ", 5);
	assert_null(connstr_parse(many, &c, &at));
	assert_int_equal(c.n, PAIRS);
	assert_string_equal(c.v[PAIRS - 1].value, "b");
	connstr_free(&c);
	free(text);
	free(many);
}

static int nothing_left(void **state)
{
	(void)state;
	return mem_usage_get(MEM_CONFIG).objects == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests_name("connstr", tests, NULL, nothing_left);
}
