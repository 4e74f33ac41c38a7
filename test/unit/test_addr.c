/*
 * addr: text forms both ways, socket addresses both ways, what is equal and
 * what is local.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "net/addr.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

static void test_parse(void **state)
{
	static const struct {
		const char *in;
		const char *host, *text; /* NULL: not an address */
		bool loopback;
	} rows[] = {
		{"10.0.0.1", "10.0.0.1", "10.0.0.1:6432", false},
		{"0.0.0.0", "0.0.0.0", "0.0.0.0:6432", false},
		{"255.255.255.255", "255.255.255.255", "255.255.255.255:6432", false},
		{"127.0.0.1", "127.0.0.1", "127.0.0.1:6432", true},
		{"127.255.0.9", "127.255.0.9", "127.255.0.9:6432", true},
		{"128.0.0.1", "128.0.0.1", "128.0.0.1:6432", false},
		{"::1", "::1", "[::1]:6432", true},
		{"[::1]", "::1", "[::1]:6432", true},
		{"::", "::", "[::]:6432", false},
		{"2001:DB8:0:0::5", "2001:db8::5", "[2001:db8::5]:6432", false},
		{"[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2:3:4:5:6", "[2001:db8:1:2:3:4:5:6]:6432", false},
		{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:6432", false},
		{"::ffff:10.1.2.3", "10.1.2.3", "10.1.2.3:6432", false},
		{"::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1:6432", true},
		{"fe80::1%lo", "fe80::1%lo", "[fe80::1%lo]:6432", false},
		{"[fe80::1%1]", "fe80::1%lo", "[fe80::1%lo]:6432", false},
		{"fe80::1%99999", "fe80::1%99999", "[fe80::1%99999]:6432", false},
		{"", NULL, NULL, false},
		{"[]", NULL, NULL, false},
		{"localhost", NULL, NULL, false},
		{"[10.0.0.1]", NULL, NULL, false},
		{"10.0.0", NULL, NULL, false},
		{"10.0.0.256", NULL, NULL, false},
		{"10.0.0.1 ", NULL, NULL, false},
		{"10.0.0.1:5", NULL, NULL, false},
		{"::1]", NULL, NULL, false},
		{"[::1", NULL, NULL, false},
		{"[::1]:5", NULL, NULL, false},
		{"1::2::3", NULL, NULL, false},
		{"fe80::1%", NULL, NULL, false},
		{"fe80::1%0", NULL, NULL, false},
		{"fe80::1%1x", NULL, NULL, false},
		{"fe80::1%none-such-if", NULL, NULL, false},
		{"10.0.0.1%lo", NULL, NULL, false},
		{"0000000000000000000000000000000000000000000000000000000000000000000000000001::", NULL, NULL, false},
	};

	(void)state;
	assert_int_equal(if_nametoindex("lo"), 1);
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr a = {.port = 77};
		char buf[ADDR_TEXT];

		assert_int_equal(addr_parse(rows[i].in, 6432, &a), rows[i].host != NULL);
		if (rows[i].host == NULL) {
			assert_int_equal(a.port, 77); /* untouched */
			continue;
		}
		assert_string_equal(addr_host(&a, buf), rows[i].host);
		assert_string_equal(addr_text(&a, buf), rows[i].text);
		assert_int_equal(addr_is_loopback(&a), rows[i].loopback);
	}
}

static void test_other_families(void **state)
{
	struct addr a = {.family = AF_UNIX, .port = 6432, .u.local = {.pid = 4711, .uid = 5}};
	char buf[ADDR_TEXT];

	(void)state;
	assert_string_equal(addr_host(&a, buf), "unix");
	assert_string_equal(addr_text(&a, buf), "unix(4711):6432");
	assert_true(addr_is_loopback(&a));
	a = (struct addr){.family = AF_UNSPEC};
	assert_string_equal(addr_host(&a, buf), "?");
	assert_string_equal(addr_text(&a, buf), "?");
	assert_false(addr_is_loopback(&a));
}

/* The longest of all: a zone name of 15 bytes, five digits of port. */
static void test_longest(void **state)
{
	struct addr a;
	char buf[ADDR_TEXT];

	(void)state;
	assert_true(addr_parse("fe80:1111:2222:3333:4444:5555:6666:7777%4294967295", 65535, &a));
	assert_string_equal(addr_text(&a, buf), "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535");
}

/* There and back is the same address. */
static void test_sockaddr(void **state)
{
	static const char *const rows[] = {"10.0.0.1", "127.0.0.1", "::1", "2001:db8::7", "fe80::9%lo"};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct sockaddr_storage ss;
		struct addr a, b;
		socklen_t len;

		memset(&ss, 0xff, sizeof ss);
		assert_true(addr_parse(rows[i], 5432, &a));
		len = addr_to_sockaddr(&a, &ss);
		assert_int_equal(len, a.family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		b = addr_from_sockaddr((struct sockaddr *)&ss, len);
		assert_true(addr_equal(&a, &b));
		assert_int_equal(b.port, 5432);

		/* Cut short it is nothing. */
		b = addr_from_sockaddr((struct sockaddr *)&ss, len - 1);
		assert_int_equal(b.family, AF_UNSPEC);
	}
}

static void test_from_other_sockaddr(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(99)};
	struct sockaddr other = {.sa_family = AF_APPLETALK};
	struct addr a;
	char buf[ADDR_TEXT];

	(void)state;
	a = addr_from_sockaddr((struct sockaddr *)&un, sizeof(sa_family_t)); /* as accept() gives it */
	assert_int_equal(a.family, AF_UNIX);
	assert_int_equal(a.u.local.pid, 0);
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &mapped.sin6_addr), 1);
	a = addr_from_sockaddr((struct sockaddr *)&mapped, sizeof mapped);
	assert_int_equal(a.family, AF_INET);
	assert_string_equal(addr_text(&a, buf), "192.0.2.1:99");
	assert_int_equal(addr_from_sockaddr(&other, sizeof other).family, AF_UNSPEC);
	assert_int_equal(addr_from_sockaddr(&other, 0).family, AF_UNSPEC);
}

static void test_equal(void **state)
{
	static const struct {
		const char *a, *b;
		uint16_t port_a, port_b;
		bool equal;
	} rows[] = {
		{"10.0.0.1", "10.0.0.1", 1, 1, true},
		{"10.0.0.1", "10.0.0.1", 1, 2, false},
		{"10.0.0.1", "10.0.0.2", 1, 1, false},
		{"10.0.0.1", "::ffff:10.0.0.1", 1, 1, true},
		{"::1", "[0:0::1]", 1, 1, true},
		{"::1", "::2", 1, 1, false},
		{"127.0.0.1", "::1", 1, 1, false},
		{"fe80::1%1", "fe80::1%2", 1, 1, false},
	};
	struct addr u = {.family = AF_UNIX, .u.local = {.pid = 1}}, v = u;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr a, b;

		assert_true(addr_parse(rows[i].a, rows[i].port_a, &a));
		assert_true(addr_parse(rows[i].b, rows[i].port_b, &b));
		assert_int_equal(addr_equal(&a, &b), rows[i].equal);
	}
	assert_true(addr_equal(&u, &v));
	v.u.local.pid = 2;
	assert_false(addr_equal(&u, &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_other_families),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_from_other_sockaddr),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
