/*
 * err: the three forms of an error's text, and how many are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

static void test_format(void **state)
{
	struct errs e = {0};
	char file[] = "a.ini", buf[200];

	(void)state;
	errs_add(&e, file, 12, "bad %s \"%d\"", "value", 5);
	errs_add(&e, file, 0, "cannot be read");
	errs_add(&e, NULL, 0, "syntax");
	memset(file, 'x', sizeof file - 1); /* the list has its own copy */
	assert_int_equal(e.n, 3);
	assert_int_equal(e.total, 3);
	assert_string_equal(errs_format(&e, 0, buf, sizeof buf), "a.ini:12: bad value \"5\"");
	assert_string_equal(errs_format(&e, 1, buf, sizeof buf), "a.ini: cannot be read");
	assert_string_equal(errs_format(&e, 2, buf, sizeof buf), "syntax");
	assert_string_equal(errs_format(&e, 0, buf, 8), "a.ini:1");
	errs_free(&e);
	assert_int_equal(e.n, 0);
	assert_int_equal(mem_usage_get(MEM_CONFIG).objects, 0);
}

static void test_limit(void **state)
{
	struct errs e = {0};
	char buf[100];

	(void)state;
	for (int i = 0; i < 150; i++)
		errs_add(&e, "f", i + 1, "number %d", i);
	assert_int_equal(e.n, 100);
	assert_int_equal(e.total, 150);
	assert_string_equal(errs_format(&e, 99, buf, sizeof buf), "f:100: number 99");
	errs_free(&e);
	assert_int_equal(e.total, 0);
	assert_int_equal(mem_usage_get(MEM_CONFIG).objects, 0);
}

static void test_long(void **state)
{
	struct errs e = {0};
	char text[3000];

	(void)state;
	memset(text, 'y', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	errs_add(&e, NULL, 0, "%s", text);
	assert_in_range(strlen(e.v[0].text), 500, sizeof text);
	errs_free(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
