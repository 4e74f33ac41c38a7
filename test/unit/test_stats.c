/*
 * stats: the rows are the fields, periods and averages, sums.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/timer.h"
#include "pool/stats.h"

static void test_rows(void **state)
{
	struct counters c = {0};
	uint64_t *fields = (uint64_t *)(void *)&c;

	(void)state;
	assert_int_equal(counter_count * sizeof(uint64_t), sizeof c);
	for (unsigned i = 0; i < counter_count; i++) {
		fields[i] = 100 + i;
		assert_int_equal(counter_get(&c, i), 100 + i);
	}
	assert_string_equal(counter_rows[0].name, "server_assignment_count");
	assert_string_equal(counter_rows[3].name, "received");
	assert_string_equal(counter_rows[3].avg_name, "recv");
	assert_string_equal(counter_rows[3].total_name, "client_bytes");
	assert_string_equal(counter_rows[counter_count - 1].name, "client_login_count");
}

static void test_add(void **state)
{
	struct counters a = {.xacts = 1, .logins = 5}, b = {.xacts = 10, .received = 7, .logins = 1};

	(void)state;
	counters_add(&a, &b);
	assert_int_equal(a.xacts, 11);
	assert_int_equal(a.received, 7);
	assert_int_equal(a.logins, 6);
	assert_int_equal(a.sent, 0);
}

static void test_averages(void **state)
{
	struct stats s;
	struct counters a;

	(void)state;
	stats_init(&s, 5 * USEC);
	s.now = (struct counters){.xacts = 40, .queries = 100, .xact_us = 8000, .query_us = 900, .received = 1000};
	a = stats_average(&s);
	assert_int_equal(a.xacts, 0); /* no period has ended */
	stats_tick(&s, 15 * USEC);
	a = stats_average(&s);
	assert_int_equal(a.xacts, 4);
	assert_int_equal(a.queries, 10);
	assert_int_equal(a.xact_us, 200); /* a transaction, not a second */
	assert_int_equal(a.query_us, 9);
	assert_int_equal(a.received, 100);

	/* What is counted now does not show before its period ends. */
	s.now.xacts += 30;
	s.now.xact_us += 60;
	s.now.wait_us += 5 * USEC;
	assert_int_equal(stats_average(&s).xacts, 4);
	stats_tick(&s, 25 * USEC);
	a = stats_average(&s);
	assert_int_equal(a.xacts, 3);
	assert_int_equal(a.xact_us, 2);
	assert_int_equal(a.wait_us, USEC / 2);
	assert_int_equal(a.queries, 0);
	assert_int_equal(a.query_us, 0); /* nothing to divide by */

	/* A period in which nothing happened, and one of no length. */
	stats_tick(&s, 35 * USEC);
	assert_int_equal(stats_average(&s).xacts, 0);
	s.now.xacts += 10;
	stats_tick(&s, 35 * USEC);
	assert_int_equal(stats_average(&s).xacts, 0);
}

static void test_large(void **state)
{
	struct stats s;
	const uint64_t much = UINT64_C(1) << 60;

	(void)state;
	stats_init(&s, USEC);
	s.now.sent = much;
	stats_tick(&s, 65 * USEC);
	assert_int_equal(stats_average(&s).sent, much / 64);
	s.now.sent = 0;
	stats_init(&s, USEC);
	s.now.sent = much;
	stats_tick(&s, USEC + 10);
	assert_int_equal(stats_average(&s).sent, much); /* no overflow, no division by zero */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_averages),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
