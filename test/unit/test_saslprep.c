/*
 * SASLprep of passwords: the examples of RFC 4013, and what PostgreSQL makes of
 * the odd ones. The expected texts are those of Python's stringprep and
 * unicodedata.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "auth/saslprep.h"
#include "base/mem.h"

static const struct {
	const char *in, *out; /* out NULL: as it is */
} rows[] = {
	{"", NULL},
	{"pencil", NULL},
	{"with space and \t tab \x01\x7f", NULL},
	/* RFC 4013, 3 */
	{"I\xc2\xadX", "IX"},
	{"user", NULL},
	{"\xc2\xaa", "a"},
	{"\xe2\x85\xa8", NULL}, /* IX as one character: beyond what is normalised here */
	/* mapped to a space, to nothing */
	{"a\xc2\xa0z", "a z"},
	{"a\xe3\x80\x80z", "a z"},
	{"a\xe2\x80\x8bz", "a z"},
	{"a\xef\xbb\xbfz\xc3\xa9", "az\xc3\xa9"},
	{"a\xe2\x81\xa0z", "az"},
	/* nothing left: raw */
	{"\xc2\xad", NULL},
	{"\xc2\xad\xef\xb8\x8f", NULL},
	/* normalised */
	{"stra\xc3\x9f"
	 "e\xc3\xa9\xc3\xbc",
		NULL},
	{"m\xc2\xb2", "m2"},
	{"\xc2\xbc l", "1\xe2\x81\x84"
		       "4 l"},
	{"\xc2\xb5m", "\xce\xbcm"},
	{"\xc2\xa8", " \xcc\x88"},
	{"\xc5\xbf", "s"},
	{"\xc7\x84", "D\xc5\xbd"},
	{"\xcb\x9d", " \xcc\x8b"},
	/* taken as they are */
	{"\xd0\xbf\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c", NULL},
	{"\xe5\xaf\x86\xe7\xa0\x81", NULL},
	{"\xf0\x9f\x98\x80", NULL},
	/* prohibited: raw, with what would have been mapped */
	{"a\xc2\xa0\x01", NULL},
	{"\xc2\xb2\x7f", NULL},
	{"\xc2\xb2\xc2\x80", NULL},
	{"\xc2\xb2\xee\x80\x80", NULL},
	{"\xc2\xb2\xef\xbf\xbe", NULL},
	{"\xc2\xb2\xe2\x80\xae", NULL},
	{"\xc2\xb2\xf3\xa0\x80\x81", NULL},
	/* unassigned in Unicode 3.2: raw */
	{"\xc2\xb2\xf0\x9f\x98\x80", NULL},
	{"\xc2\xb2\xc8\xa1", NULL},
	/* both directions: raw, unless it is right to left as a whole */
	{"\xd7\x90\xc2\xadz", NULL},
	{"\xd7\x90\xc2\xad\x31", NULL},
	{"\xd7\x90\xc2\xad\x31\xd7\x91", "\xd7\x90\x31\xd7\x91"},
	{"\x31\xd7\x90\xc2\xad", NULL},
	/* not UTF-8: raw */
	{"\xff", NULL},
	{"\xc2", NULL},
	{"\xc2\xa0\xc0\x80", NULL},
	{"\xc2\xa0\xc1\xbf", NULL},
	{"\xc2\xa0\xe0\x9f\xbf", NULL},
	{"\xc2\xa0\xe0\x80\xaf", NULL},
	{"\xc2\xa0\xf0\x80\x80\xaf", NULL},
	{"\xc2\xa0\xed\xa0\x80", NULL},
	{"\xc2\xa0\xf0\x8f\xbf\xbf", NULL},
	{"\xc2\xa0\xf4\x90\x80\x80", NULL},
	{"\xc2\xa0\xf5\x80\x80\x80", NULL},
	{"\xc2\xa0\xe2\x82", NULL},
	{"\xc2\xa0\xe2\x82z", NULL},
	{"\xc2\xa0\x80", NULL},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *expected = rows[i].out != NULL ? rows[i].out : rows[i].in;
		char *out = saslprep(rows[i].in);

		if (strcmp(out, expected) != 0)
			fail_msg("row %zu: \"%s\", not \"%s\"", i, out, expected);
		xfree_secret(MEM_LOGIN, out);
	}
	assert_int_equal(mem_usage_get(MEM_LOGIN).objects, 0);
}

/* The longest growth. */
static void test_long(void **state)
{
	char in[2 * 500 + 1], *out;

	(void)state;
	for (size_t i = 0; i < 500; i++)
		memcpy(in + 2 * i, "\xc2\xbe", 2);
	in[1000] = '\0';
	out = saslprep(in);
	assert_int_equal(strlen(out), 500 * 5);
	xfree_secret(MEM_LOGIN, out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
