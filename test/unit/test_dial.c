/*
 * dial: what sockets to servers are told. The way there is a matter of dialogues.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "conf/config.h"
#include "conn/dial.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

/* What nobody has set is such that silence is noticed where it matters; what is set counts everywhere. */
static void test_tuning(void **state)
{
	static const struct {
		const char *set;
		bool alert;
		struct stream_tuning t;
	} rows[] = {
		{"", false, {.keepalive = 1}},
		{"", true, {1, 5, 5, 1, 0, 0}},
		{"tcp_user_timeout=1500\n", true, {1, 5, 5, 1, 1500, 0}},
		{"tcp_user_timeout=1500\n", false, {1, 0, 0, 0, 1500, 0}},
		{"tcp_keepidle=60\ntcp_keepintvl=7\n", true, {1, 5, 60, 7, 0, 0}},
		{"tcp_keepcnt=0\ntcp_socket_buffer=4096\n", true, {1, 0, 5, 1, 0, 4096}},
		{"tcp_keepalive=0\n", true, {0, 5, 5, 1, 0, 0}},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct errs errs = {0};
		char text[200];
		struct config *c;
		struct stream_tuning t;

		snprintf(text, sizeof text, "[pgbouncer]\nauth_type=trust\n%s", rows[i].set);
		c = config_parse("test.ini", text, strlen(text), &errs);
		assert_non_null(c);
		t = dial_tuning(c, rows[i].alert);
		assert_memory_equal(&t, &rows[i].t, sizeof t);
		config_unref(&c);
		errs_free(&errs);
	}
}

/* SET is as good as the file. */
static void test_set(void **state)
{
	static const char text[] = "[pgbouncer]\nauth_type=trust\n";
	struct errs errs = {0};
	struct config *c = config_parse("test.ini", text, strlen(text), &errs), *with;

	(void)state;
	assert_non_null(c);
	with = config_with(c, "tcp_keepcnt", "0", &errs);
	assert_non_null(with);
	assert_int_equal(dial_tuning(with, true).keepcnt, 0);
	assert_int_equal(dial_tuning(c, true).keepcnt, 5);
	config_unref(&with);
	config_unref(&c);
	errs_free(&errs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tuning),
		cmocka_unit_test(test_set),
	};

	return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
