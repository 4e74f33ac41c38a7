/*
 * endpoint: who shares one, its life, and the choice of a host.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/timer.h"
#include "pool/endpoint.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

static void test_shared(void **state)
{
	static const struct {
		const char *a;
		uint16_t a_port;
		const char *b;
		uint16_t b_port;
		bool same, local;
	} rows[] = {
		{"db1", 5432, "db1", 5432, true, false},
		{"db1", 5432, "DB1", 5432, true, false},
		{"db1", 5432, "db1", 5433, false, false},
		{"db1", 5432, "db2", 5432, false, false},
		{"10.0.0.1", 5432, "10.0.0.1", 5432, true, false},
		{"/run/pg", 5432, "/run/pg", 5432, true, true},
		{"/run/pg", 5432, "/run/PG", 5432, false, true},
		{"@pg", 5432, "@pg", 5432, true, true},
		{"@pg", 5432, "@Pg", 5432, false, true},
		{"pg", 5432, "@pg", 5432, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct endpoints e = {0};
		struct endpoint *a = endpoint_get(&e, rows[i].a, rows[i].a_port);
		struct endpoint *b = endpoint_get(&e, rows[i].b, rows[i].b_port);

		assert_int_equal(a == b, rows[i].same);
		assert_int_equal(a->refs, rows[i].same ? 2 : 1);
		assert_string_equal(a->host, rows[i].a);
		assert_int_equal(a->port, rows[i].a_port);
		assert_int_equal(endpoint_is_local(a), rows[i].local);
		endpoint_put(&e, &a);
		assert_null(a);
		endpoint_put(&e, &a); /* NULL inside is fine */
		assert_int_equal(e.by_name.count, 1);
		endpoint_put(&e, &b);
		endpoints_free(&e);
	}
	assert_int_equal(mem_usage_get(MEM_DATABASE).objects, 0);
}

/* As many here as there, the first one in turn at a tie; one that has failed comes last however empty it is. */
static void test_fewest(void **state)
{
	static const unsigned has[][3] = {{2, 1, 1}, {2, 2, 1}, {2, 2, 2}, {0, 2, 2}, {2, 2, 0}};
	static const unsigned chosen[] = {1, 2, 0, 0, 1};
	struct endpoints e = {0};
	struct endpoint *host[3];
	unsigned turn = 0;

	(void)state;
	clock_hold(1000 * USEC);
	for (unsigned i = 0; i < 3; i++)
		host[i] = endpoint_get(&e, (const char *const[]){"a", "b", "c"}[i], 5432);
	for (size_t row = 0; row < ROWS(has); row++) {
		uint64_t tried = 0;

		for (unsigned i = 0; i < 3; i++)
			host[i]->connections = has[row][i];
		if (row == 4)
			endpoint_failed(host[2]);
		assert_ptr_equal(endpoint_choose(host, 3, &turn, &tried, USEC, true), host[chosen[row]]);
	}
	for (unsigned i = 0; i < 3; i++) {
		host[i]->connections = 0;
		endpoint_put(&e, &host[i]);
	}
	endpoints_free(&e);
	clock_hold(-1);
}

static void test_names(void **state)
{
	static const struct {
		const char *host;
		bool is;
	} rows[] = {{"db1", true}, {"10.0.0.1.example", true}, {"10.0.0.1", false}, {"::1", false},
		{"[fe80::1]", false}, {"/run/pg", false}, {"@pg", false}};
	struct endpoints e = {0};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct endpoint *ep = endpoint_get(&e, rows[i].host, 5432);

		assert_int_equal(endpoint_is_name(ep), rows[i].is);
		endpoint_put(&e, &ep);
	}
	endpoints_free(&e);
}

/* Each row is one attempt after another over hosts A B C D; "-": none is left, "|": a new attempt begins. */
static void test_choice(void **state)
{
	static const struct {
		const char *failed; /* a while ago, seconds: one digit a host, ' ' for never */
		const char *chosen;
	} rows[] = {
		{"    ", "A|B|C|D|A|B"},
		{"    ", "ABCD-|A"},
		{"1   ", "B|C|D|B|C|D"},
		{"1   ", "BCDA-|B"},
		{" 1 1", "A|C|A|C"},
		{" 1 1", "ACDB-|C"},
		{"1111", "A|B|C|D"},
		{"1111", "ABCD-"},
		{"9   ", "A|B|C|D|A"}, /* server_login_retry has passed */
		{"5   ", "A|B"},       /* just now */
		{"4   ", "B|C"},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct endpoints e = {0};
		struct endpoint *host[4];
		unsigned turn = 0;
		uint64_t tried = 0;

		for (int k = 0; k < 4; k++) {
			char name[2] = {(char)('A' + k), '\0'};

			host[k] = endpoint_get(&e, name, 1);
			if (rows[i].failed[k] != ' ') {
				clock_hold(1000 * USEC - (rows[i].failed[k] - '0') * USEC);
				endpoint_failed(host[k]);
			}
		}
		clock_hold(1000 * USEC);
		for (const char *p = rows[i].chosen; *p != '\0'; p++) {
			struct endpoint *ep;

			if (*p == '|') {
				tried = 0;
				continue;
			}
			ep = endpoint_choose(host, 4, &turn, &tried, 5 * USEC, false);
			if (*p == '-')
				assert_null(ep);
			else if (ep == NULL || ep->host[0] != *p)
				fail_msg("row %zu at %s: %s", i, p, ep != NULL ? ep->host : "none");
		}
		for (int k = 0; k < 4; k++)
			endpoint_put(&e, &host[k]);
		endpoints_free(&e);
	}
}

static void test_worked(void **state)
{
	struct endpoints e = {0};
	struct endpoint *host[2] = {endpoint_get(&e, "a", 1), endpoint_get(&e, "b", 1)};
	unsigned turn = 0;
	uint64_t tried = 0;

	(void)state;
	clock_hold(1000 * USEC);
	endpoint_failed(host[0]);
	assert_ptr_equal(endpoint_choose(host, 2, &turn, &tried, USEC, false), host[1]);
	endpoint_worked(host[0]);
	tried = 0;
	assert_ptr_equal(endpoint_choose(host, 2, &turn, &tried, USEC, false), host[0]);
	/* No host at all, and a turn that a longer list has left behind. */
	assert_null(endpoint_choose(host, 0, &turn, &tried, USEC, false));
	turn = 17;
	tried = 0;
	assert_ptr_equal(endpoint_choose(host, 1, &turn, &tried, USEC, false), host[0]);
	assert_null(endpoint_choose(host, 1, &turn, &tried, USEC, false));
	endpoint_put(&e, &host[0]);
	endpoint_put(&e, &host[1]);
	endpoints_free(&e);
}

static void test_many(void **state)
{
	struct endpoints e = {0};
	struct endpoint *host[64];
	unsigned turn = 0;
	uint64_t tried = 0;
	int n = 0;

	(void)state;
	for (int i = 0; i < 64; i++)
		host[i] = endpoint_get(&e, "h", (uint16_t)(i + 1));
	while (endpoint_choose(host, 64, &turn, &tried, USEC, false) != NULL)
		n++;
	assert_int_equal(n, 64);
	for (int i = 0; i < 64; i++)
		endpoint_put(&e, &host[i]);
	endpoints_free(&e);
}

/* Two numbers of one to eight hexadecimal digits each, and nothing else. */
static void test_lsn(void **state)
{
	static const char *const bad[] = {"", "/", "0", "0/", "/0", "0/0/0", " 0/0", "0/0 ", "0/-1", "-1/0", "+1/0",
		"0x1/0", "0/123456789", "123456789/0", "0/g", "nonsense"};
	struct endpoint ep = {.lsn = "16/B374D848"};
	uint64_t lsn;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (lsn_read(bad[i], &lsn))
			fail_msg("\"%s\" was read as a position", bad[i]);
	assert_true(lsn_read("0/0", &lsn) && lsn == 0);
	assert_true(lsn_read("ffffffff/FFFFFFFF", &lsn) && lsn == UINT64_MAX);
	assert_true(lsn_read("1/00000002", &lsn) && lsn == (UINT64_C(1) << 32) + 2);
	assert_true(endpoint_lsn(&ep, &lsn) && lsn == UINT64_C(0x16B374D848));
	ep.lsn[0] = '\0';
	assert_false(endpoint_lsn(&ep, &lsn));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_fewest),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_worked),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_lsn),
	};

	return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
