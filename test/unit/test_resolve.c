/*
 * resolve: addresses, a hosts file, and a name server of the test's own on this
 * machine: what is asked how often, what is kept how long, and what happens to
 * queries that are given up. The clock is held; libevent's own is not.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/resolve.h"

enum { TTL_S = 15 };

static char dir[] = "/tmp/test_resolve.XXXXXX";
static char hosts[100], resolv_conf[100];

static struct loop loop;
static struct resolver *resolver;

/* ---- a name server ---- */

static struct {
	int fd;
	uint16_t port;
	struct event *ev;
	unsigned asked; /* questions for an address of either family */
	char last[256];
	enum { WELL, SILENT, FAILING, EMPTY } is;
} server;

enum { TYPE_A = 1, TYPE_AAAA = 28 };

/* What it knows. Nothing is answered for a name that begins with "silent"; a name that is not here does not exist. */
static const struct {
	const char *name;
	int a, aaaa; /* how many of each */
} zone[] = {
	{"one.test", 1, 0},
	{"both.test", 2, 1},
	{"six.test", 0, 1},
	{"empty.test", 0, 0},
	{"many.test", 20, 0},
};

static size_t put_answers(unsigned char *p, int type, int n)
{
	static const unsigned char six[15] = {0x20, 0x01, 0x0d, 0xb8};
	size_t len = type == TYPE_A ? 4 : 16;
	unsigned char *at = p;

	for (int i = 1; i <= n; i++) {
		/* The name of the question (12), type, class IN, an hour, length, address. */
		const unsigned char head[] = {
			0xc0, 12, 0, (unsigned char)type, 0, 1, 0, 0, 14, 16, 0, (unsigned char)len};

		memcpy(at, head, sizeof head);
		at += sizeof head;
		if (type == TYPE_A)
			memcpy(at, (unsigned char[]){192, 0, 2}, 3);
		else
			memcpy(at, six, sizeof six);
		at[len - 1] = (unsigned char)i;
		at += len;
	}
	return (size_t)(at - p);
}

/* The name of the question at p as text; returns what is behind it. */
static const unsigned char *get_name(const unsigned char *p, char *text)
{
	char *at = text;

	while (*p != 0) {
		memcpy(at, p + 1, *p);
		at += *p;
		*at++ = '.';
		p += *p + 1;
	}
	at[at > text ? -1 : 0] = '\0';
	return p + 1;
}

static void on_question(evutil_socket_t fd, short what, void *arg)
{
	unsigned char packet[1024];
	struct sockaddr_storage from;
	socklen_t from_len = sizeof from;
	ssize_t got = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from, &from_len);
	const unsigned char *rest;
	int type, n = -1;
	size_t len;

	(void)what;
	(void)arg;
	assert_true(got > 12);
	rest = get_name(packet + 12, server.last);
	type = rest[1];
	len = (size_t)(rest + 4 - packet);
	server.asked++;
	if (server.is == SILENT || strncasecmp(server.last, "silent", 6) == 0)
		return;
	for (size_t i = 0; i < sizeof zone / sizeof zone[0]; i++)
		if (server.is == WELL && strcasecmp(server.last, zone[i].name) == 0)
			n = type == TYPE_A ? zone[i].a : zone[i].aaaa;
	packet[2] |= 0x80;								/* a reply */
	packet[3] = server.is == FAILING ? 0x82 : (unsigned char)(n < 0 ? 0x83 : 0x80); /* no such name, or well */
	packet[7] = (unsigned char)(n < 0 ? 0 : n);					/* answers */
	memset(packet + 8, 0, 4);
	if (n > 0)
		len += put_answers(packet + len, type, n);
	assert_true(sendto(fd, packet, len, 0, (struct sockaddr *)&from, from_len) == (ssize_t)len);
}

static void server_start(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;

	memset(&server, 0, sizeof server);
	server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(server.fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(server.fd, (struct sockaddr *)&in, &len), 0);
	server.ev = event_new(loop.base, server.fd, EV_READ | EV_PERSIST, on_question, NULL);
	event_add(server.ev, NULL);
	server.port = ntohs(in.sin_port);
}

/* ---- the world around ---- */

static void write_file(const char *name, const char *text)
{
	char tmp[120];
	FILE *f;

	snprintf(tmp, sizeof tmp, "%s.new", name);
	f = fopen(tmp, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	rename(tmp, name); /* another inode: seen whatever the clock says */
}

/* How long libevent waits for the name server, in seconds. */
static void be_patient(const char *s)
{
	char text[200];

	snprintf(text, sizeof text, "nameserver 127.0.0.1:%u\noptions timeout:%s attempts:1\n", server.port, s);
	write_file(resolv_conf, text);
}

static int begin(void **state)
{
	(void)state;
	clock_hold(1000 * USEC);
	loop_init(&loop, true);
	server_start();
	be_patient("0.05");
	write_file(hosts,
		"127.0.0.1 localhost here\n::1 localhost ip6-localhost\n127.0.0.1 here\n192.0.2.77 fixed.test\n");
	resolver = resolver_new(&loop, TTL_S * USEC);
	resolver_set_files(resolver, hosts, resolv_conf);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	resolver_free(resolver);
	event_free(server.ev);
	close(server.fd);
	loop_free(&loop);
	return 0;
}

static void discard(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static int make_dir(void **state)
{
	(void)state;
	log_capture(discard, NULL); /* libevent tells when the silent one does not answer */
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(hosts, sizeof hosts, "%s/hosts", dir);
	snprintf(resolv_conf, sizeof resolv_conf, "%s/resolv.conf", dir);
	return 0;
}

static int drop_dir(void **state)
{
	(void)state;
	unlink(hosts);
	unlink(resolv_conf);
	clock_hold(-1);
	return mem_usage_get(MEM_MISC).objects == 0 && mem_usage_get(MEM_TABLE).objects == 0 ? rmdir(dir) : -1;
}

/* What a query was answered. */
struct answer {
	unsigned calls;
	size_t n;
	char text[RESOLVE_MAX_ADDRS * ADDR_TEXT]; /* addresses in brackets, or the error */
	struct answer *then;			  /* looks the same name up again */
	const char *name;
};

static bool inside; /* a call of resolve() is under way */

static void on_answer(const struct addr *addrs, size_t n, const char *error, void *arg);

static struct resolve_query *ask(const char *name, struct answer *a)
{
	struct resolve_query *q;

	a->name = name;
	inside = true;
	q = resolve(resolver, name, on_answer, a);
	inside = false;
	return q;
}

static void on_answer(const struct addr *addrs, size_t n, const char *error, void *arg)
{
	struct answer *a = arg;
	char buf[ADDR_TEXT];

	assert_false(inside);
	a->calls++;
	a->n = n;
	a->text[0] = '\0';
	if (a->then != NULL)
		ask(a->name, a->then); /* the addresses stay valid */
	assert_true((n == 0) == (error != NULL));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(addrs[i].port, 0);
		snprintf(a->text + strlen(a->text), sizeof a->text - strlen(a->text), "(%s)",
			addr_host(&addrs[i], buf));
	}
	if (n == 0)
		snprintf(a->text, sizeof a->text, "%s", error);
}

static void turn(bool may_wait)
{
	loop_poll(&loop, may_wait);
	loop_run_timers(&loop, NULL);
}

static void wait_for(const struct answer *a)
{
	while (a->calls == 0)
		turn(true);
	assert_int_equal(a->calls, 1);
}

static void assert_answer(const char *name, const char *text)
{
	struct answer a = {0};

	ask(name, &a);
	wait_for(&a);
	assert_string_equal(a.text, text);
}

static void pass_seconds(int s)
{
	clock_hold(clock_us() + s * USEC);
}

/* ---- tests ---- */

/* No name: no DNS socket is opened for it. */
static void test_numeric(void **state)
{
	struct answer a = {0};
	size_t names, pending;

	(void)state;
	ask("10.1.2.3", &a);
	turn(false);
	assert_int_equal(a.calls, 1);
	assert_string_equal(a.text, "(10.1.2.3)");
	assert_answer("::1", "(::1)");
	assert_answer("[2001:db8::5]", "(2001:db8::5)");
	resolver_count(resolver, &names, &pending);
	assert_int_equal(names, 0);
	assert_int_equal(pending, 0);
	assert_int_equal(server.asked, 0);
}

static void test_hosts(void **state)
{
	(void)state;
	assert_answer("localhost", "(127.0.0.1)(::1)");
	assert_answer("here", "(127.0.0.1)");
	assert_answer("fixed.test", "(192.0.2.77)");
	assert_int_equal(server.asked, 0);
}

/* The machine's own files: localhost needs no name server. */
static void test_system_files(void **state)
{
	struct answer a = {0};

	(void)state;
	resolver_set_files(resolver, "/etc/hosts", "/etc/resolv.conf");
	ask("localhost", &a);
	wait_for(&a);
	assert_true(strstr(a.text, "(127.0.0.1)") != NULL || strstr(a.text, "(::1)") != NULL);
	assert_int_equal(server.asked, 0);
}

static void test_no_files(void **state)
{
	(void)state;
	resolver_set_files(resolver, "/none/hosts", "/none/resolv.conf");
	assert_answer("localhost", "(127.0.0.1)(::1)");
}

static void test_names(void **state)
{
	struct answer a = {0};

	(void)state;
	assert_answer("one.test", "(192.0.2.1)");
	assert_int_equal(server.asked, 2); /* both families */
	assert_answer("both.test", "(192.0.2.1)(192.0.2.2)(2001:db8::1)");
	assert_answer("six.test", "(2001:db8::1)");
	ask("many.test", &a);
	wait_for(&a);
	assert_int_equal(a.n, RESOLVE_MAX_ADDRS);
	assert_non_null(strstr(a.text, "(192.0.2.16)"));
	assert_null(strstr(a.text, "(192.0.2.17)"));
}

static void test_failures(void **state)
{
	static const char *const names[] = {
		"no-such-name.invalid", "empty.test", "silent.test", "", ".", "a..b", "x y"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct answer a = {0};

		ask(names[i], &a);
		wait_for(&a);
		assert_int_equal(a.n, 0);
		assert_true(strlen(a.text) > 5);
	}
	assert_answer("no-such-name.invalid", "Name or service not known");
	assert_answer("silent.test", "no name server answered");
}

/* An answer is kept for the fixed time, whatever the record says, and so is a failure. */
static void test_kept(void **state)
{
	static const char *const names[] = {"one.test", "no-such-name.invalid", "fixed.test"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct answer first = {0}, second = {0};
		unsigned asked;

		ask(names[i], &first);
		wait_for(&first);
		asked = server.asked;
		pass_seconds(TTL_S - 1);
		ask(names[i], &second);
		assert_int_equal(second.calls, 0);
		turn(false);
		assert_int_equal(second.calls, 1);
		assert_string_equal(second.text, first.text);
		assert_int_equal(server.asked, asked);
		pass_seconds(1);
		second.calls = 0;
		ask(names[i], &second);
		wait_for(&second);
		assert_string_equal(second.text, first.text);
		assert_int_equal(server.asked, strcmp(names[i], "fixed.test") == 0 ? asked : asked + 2);
	}
}

/* A name server that fails says nothing of the name; one that knows it no more does. */
static void test_known_before(void **state)
{
	(void)state;
	assert_answer("one.test", "(192.0.2.1)");
	server.is = FAILING;
	pass_seconds(TTL_S);
	assert_answer("one.test", "(192.0.2.1)");
	assert_int_equal(server.asked, 4);
	assert_answer("six.test", "no name server answered");
	server.is = SILENT;
	pass_seconds(TTL_S);
	assert_answer("one.test", "(192.0.2.1)");
	server.is = EMPTY;
	pass_seconds(TTL_S);
	assert_answer("one.test", "Name or service not known");
	server.is = FAILING;
	pass_seconds(TTL_S);
	assert_answer("one.test", "no name server answered");
}

/* What is known, good or bad, is told before the name server is given up; what is not known waits. */
static void test_slow(void **state)
{
	static const char *const names[] = {"one.test", "six.test", "both.test"};
	struct answer a[3] = {0}, again = {0};
	size_t kept, pending;

	(void)state;
	assert_answer("one.test", "(192.0.2.1)");
	server.is = FAILING;
	assert_answer("six.test", "no name server answered");
	server.is = SILENT;
	be_patient("100");
	pass_seconds(TTL_S);
	for (size_t i = 0; i < 3; i++)
		ask(names[i], &a[i]);
	clock_hold(clock_us() + 299 * USEC / 1000);
	turn(false);
	assert_int_equal(a[0].calls + a[1].calls + a[2].calls, 0);
	clock_hold(clock_us() + USEC / 1000);
	turn(false);
	turn(false);
	assert_string_equal(a[0].text, "(192.0.2.1)");
	assert_string_equal(a[1].text, "no name server answered");
	assert_int_equal(a[2].calls, 0);
	ask("one.test", &again);
	turn(false);
	assert_string_equal(again.text, "(192.0.2.1)");
	resolver_count(resolver, &kept, &pending);
	assert_int_equal(pending, 3);
}

static void test_shared(void **state)
{
	struct answer a[10] = {0};
	size_t names, pending;

	(void)state;
	for (size_t i = 0; i < 10; i++)
		ask(i < 9 ? "one.test" : "both.test", &a[i]);
	resolver_count(resolver, &names, &pending);
	assert_int_equal(names, 0);
	assert_int_equal(pending, 2);
	for (size_t i = 0; i < 10; i++)
		wait_for(&a[i]);
	assert_string_equal(a[0].text, "(192.0.2.1)");
	assert_string_equal(a[8].text, "(192.0.2.1)");
	assert_int_equal(server.asked, 4);
	resolver_count(resolver, &names, &pending);
	assert_int_equal(names, 2);
	assert_int_equal(pending, 0);
}

static void test_old_names_go(void **state)
{
	size_t names, pending;

	(void)state;
	assert_answer("one.test", "(192.0.2.1)");
	assert_answer("fixed.test", "(192.0.2.77)");
	assert_answer("no-such-name.invalid", "Name or service not known");
	pass_seconds(TTL_S + 1);
	assert_answer("here", "(127.0.0.1)");
	resolver_count(resolver, &names, &pending);
	assert_int_equal(names, 3);
	/* What was found is of use when the name servers are silent. */
	server.is = SILENT;
	assert_answer("one.test", "(192.0.2.1)");
	pass_seconds(24 * 3600 + TTL_S);
	assert_answer("both.test", "no name server answered");
	resolver_count(resolver, &names, &pending);
	assert_int_equal(names, 1);
}

/* Given up while waiting, and when the answer is there but not told yet; the others are told. */
static void test_cancel(void **state)
{
	struct answer a = {0}, b = {0}, c = {0};
	struct resolve_query *q;

	(void)state;
	q = ask("one.test", &a);
	ask("one.test", &b);
	resolve_cancel(q);
	wait_for(&b);
	q = ask("one.test", &a); /* kept */
	ask("10.0.0.1", &c);
	resolve_cancel(q);
	q = ask("10.0.0.2", &a);
	resolve_cancel(q);
	wait_for(&c);
	turn(false);
	assert_int_equal(a.calls, 0);

	/* The lookup of which all are gone goes on: its answer is kept. */
	q = ask("both.test", &a);
	resolve_cancel(q);
	for (size_t names = 0, pending = 1; pending > 0;) {
		turn(true);
		resolver_count(resolver, &names, &pending);
	}
	assert_int_equal(a.calls, 0);
	assert_int_equal(server.asked, 4);
	assert_answer("both.test", "(192.0.2.1)(192.0.2.2)(2001:db8::1)");
	assert_int_equal(server.asked, 4);
}

static void test_ask_in_callback(void **state)
{
	struct answer a = {0}, b = {0};

	(void)state;
	a.then = &b;
	ask("fixed.test", &a);
	wait_for(&a);
	wait_for(&b);
	assert_string_equal(a.text, "(192.0.2.77)");
	assert_string_equal(b.text, "(192.0.2.77)");
	a = b = (struct answer){0};
	a.then = &b;
	ask("both.test", &a);
	wait_for(&a);
	assert_int_equal(b.calls, 0); /* in the next turn */
	wait_for(&b);
	assert_string_equal(a.text, b.text);
}

/* Edited files are seen without a restart. */
static void test_files_change(void **state)
{
	(void)state;
	assert_answer("fixed.test", "(192.0.2.77)");
	write_file(hosts, "192.0.2.78 fixed.test\n");
	assert_answer("fixed.test", "(192.0.2.77)"); /* kept */
	pass_seconds(TTL_S);
	assert_answer("fixed.test", "(192.0.2.78)");
}

/* The resolver goes while lookups are under way and answers wait: finish() does it, and leak checkers watch. */
static void test_free_with_open_queries(void **state)
{
	static struct answer a[4];

	(void)state;
	assert_answer("fixed.test", "(192.0.2.77)");
	ask("silent.test", &a[0]);
	ask("silent-two.test", &a[1]);
	ask("fixed.test", &a[2]);
	ask("10.0.0.1", &a[3]);
	while (server.asked < 4)
		loop_poll(&loop, true);
	finish(state);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(a[i].calls, 0);
	begin(state);
}

/* A lookup that nobody waits for, and none at all, let the loop end. */
static void test_loop_ends(void **state)
{
	(void)state;
	assert_answer("one.test", "(192.0.2.1)");
	event_del(server.ev);
	event_del(loop.hangup_event);
	event_del(loop.wakeup_event);
	assert_int_equal(event_base_loop(loop.base, EVLOOP_NONBLOCK), 1); /* no events */
}

static void test_without_events(void **state)
{
	struct loop dry;
	struct resolver *r;
	struct answer a = {0}, b = {0};

	(void)state;
	loop_init(&dry, false);
	r = resolver_new(&dry, TTL_S * USEC);
	resolve(r, "10.0.0.1", on_answer, &a);
	resolve(r, "one.test", on_answer, &b);
	assert_int_equal(a.calls + b.calls, 0);
	loop_run_timers(&dry, NULL);
	assert_string_equal(a.text, "(10.0.0.1)");
	assert_int_equal(b.calls, 1);
	assert_int_equal(b.n, 0);
	resolver_free(r);
	loop_free(&dry);
}

/* What a name is said to be; each time another address, and none at first. */
static size_t say(const char *name, struct addr *addrs, void *arg)
{
	unsigned *n = arg;
	char text[32];

	assert_string_equal(name, "one.test");
	snprintf(text, sizeof text, "192.0.2.%u", *n);
	assert_true(addr_parse(text, 0, addrs));
	return (*n)++ > 0;
}

static void test_source(void **state)
{
	static const char *const said[] = {"the name has no address", "(192.0.2.1)", "(192.0.2.2)"};
	unsigned n = 0;

	(void)state;
	resolver_set_source(resolver, say, &n);
	for (unsigned i = 0; i < 3; i++) {
		assert_answer("one.test", said[i]);
		assert_answer("one.test", said[i]);
		assert_int_equal(n, i + 1);
		pass_seconds(TTL_S);
	}
	assert_answer("10.0.0.1", "(10.0.0.1)");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_numeric),
		TEST(test_hosts),
		TEST(test_system_files),
		TEST(test_no_files),
		TEST(test_names),
		TEST(test_failures),
		TEST(test_kept),
		TEST(test_known_before),
		TEST(test_slow),
		TEST(test_shared),
		TEST(test_old_names_go),
		TEST(test_cancel),
		TEST(test_ask_in_callback),
		TEST(test_files_change),
		TEST(test_free_with_open_queries),
		TEST(test_loop_ends),
		TEST(test_without_events),
		TEST(test_source),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
