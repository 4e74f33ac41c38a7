/*
 * stream and loop: what is watched when, what is told and how often, over real
 * sockets of this machine; the ready list and the handshake over other ops.
 *
 * What the owner was told stands in a string, a letter each: Connected Secured
 * Readable Writable Hangup Failed.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/stream.h"

#define RW (EV_READ | EV_WRITE)

struct end {
	struct stream s;
	int peer;	/* the other end's descriptor */
	char told[200]; /* letters */
	size_t n;
	void (*act)(struct end *e, enum stream_event what); /* NULL: reads what it is told of */
	struct end *other;
	char in[64];
	ssize_t got; /* result of the last read */
	bool inside; /* a call that must tell nothing is under way */
};

static struct loop loop;
static unsigned open_ends; /* a test that fails leaves some */

static void on_stream(struct stream *s, enum stream_event what, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, &e->s);
	assert_false(e->inside);
	assert_true(e->n < sizeof e->told - 1);
	e->told[e->n++] = "CSRWHF"[what];
	if (e->act != NULL)
		e->act(e, what);
	else if (what == STREAM_READABLE)
		e->got = stream_read(s, e->in, sizeof e->in);
}

/* What was told since the last time. */
static const char *told(struct end *e)
{
	static char text[200];

	memcpy(text, e->told, sizeof text);
	memset(e->told, 0, sizeof e->told);
	e->n = 0;
	return text;
}

static void turns(int n)
{
	for (int i = 0; i < n; i++)
		loop_poll(&loop, false);
}

/* No event of any kind is called any more: nothing spins. */
static void assert_quiet(void)
{
	turns(1); /* what was armed and is not needed is called in vain once */
	for (int i = 0; i < 5; i++) {
		loop_poll(&loop, false);
		assert_int_equal(loop.callbacks, 0);
	}
}

/* ---- pairs ---- */

enum kind { TCP, UNIX };

static int listener(struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	socklen_t len;

	assert_true(fd >= 0);
	assert_true(addr_parse("127.0.0.1", 0, at));
	len = addr_to_sockaddr(at, &ss);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	*at = addr_from_sockaddr((struct sockaddr *)&ss, len);
	return fd;
}

static void tcp_pair(int fd[2])
{
	struct addr at;
	struct sockaddr_storage ss;
	int l = listener(&at);
	socklen_t len = addr_to_sockaddr(&at, &ss);

	fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd[1], (struct sockaddr *)&ss, len), 0);
	fd[0] = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd[0] >= 0);
	close(l);
}

static void begin(struct end *e, enum kind kind)
{
	int fd[2];

	*e = (struct end){0};
	if (kind == TCP) {
		tcp_pair(fd);
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
		assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
	}
	e->peer = fd[1];
	open_ends++;
	stream_init(&e->s, &loop, fd[0], on_stream, e);
}

static void end(struct end *e)
{
	stream_close(&e->s);
	assert_false(stream_is_open(&e->s));
	stream_close(&e->s); /* again is nothing */
	open_ends--;
	if (e->peer >= 0)
		close(e->peer);
	e->peer = -1;
}

static void peer_sends(struct end *e, const char *text)
{
	assert_int_equal(write(e->peer, text, strlen(text)), strlen(text));
}

static void peer_closes(struct end *e, bool reset)
{
	struct linger l = {.l_onoff = 1};

	if (reset)
		setsockopt(e->peer, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(e->peer);
	e->peer = -1;
}

/* Brings e to where only its peer's end is watched for: a byte is there that nobody wants. */
static void stop_reading(struct end *e)
{
	stream_want(&e->s, true, false);
	peer_sends(e, "a");
	turns(1);
	assert_string_equal(told(e), "R");
	stream_want(&e->s, false, false);
	peer_sends(e, "b");
	turns(1);
	assert_string_equal(told(e), "");
	assert_int_equal(e->s.armed, 0);
	assert_true(e->s.peer_watched);
}

/* ---- what is watched ---- */

static void test_lazy_read(void **state)
{
	struct end e;

	(void)state;
	for (enum kind kind = TCP; kind <= UNIX; kind++) {
		begin(&e, kind);
		assert_true(stream_is_open(&e.s));
		assert_false(stream_is_tls(&e.s));
		assert_int_equal(e.s.armed, 0);
		stream_want(&e.s, true, false);
		assert_int_equal(e.s.armed, EV_READ);
		turns(2);
		assert_string_equal(told(&e), "");
		peer_sends(&e, "one");
		turns(1);
		assert_string_equal(told(&e), "R");
		assert_int_equal(e.got, 3);
		assert_memory_equal(e.in, "one", 3);
		assert_int_equal(stream_read(&e.s, e.in, 10), STREAM_AGAIN);

		/* Not wanted for a while in which nothing comes: no change at all. */
		stream_want(&e.s, false, false);
		assert_int_equal(e.s.armed, EV_READ);
		turns(1);
		stream_want(&e.s, true, false);
		assert_int_equal(e.s.armed, EV_READ);

		/* Something comes: from then on only the peer's close is waited for, and nothing spins. */
		stream_want(&e.s, false, false);
		peer_sends(&e, "two");
		assert_false(e.s.peer_watched);
		turns(1);
		assert_int_equal(e.s.armed, 0);
		assert_true(e.s.peer_watched);
		assert_quiet();
		peer_sends(&e, "three");
		assert_quiet();
		assert_string_equal(told(&e), "");
		assert_true(stream_has_unread(&e.s));

		/* Wanted again: all is there. */
		stream_want(&e.s, true, false);
		assert_int_equal(e.s.armed, EV_READ);
		turns(1);
		assert_string_equal(told(&e), "R");
		assert_int_equal(e.got, 8);
		assert_memory_equal(e.in, "twothree", 8);
		assert_false(stream_has_unread(&e.s));
		end(&e);
	}
}

/* Level-triggered: what the owner leaves is told again. */
static void read_one_byte(struct end *e, enum stream_event what)
{
	if (what == STREAM_READABLE)
		e->got = stream_read(&e->s, e->in, 1);
}

static void test_level(void **state)
{
	struct end e;

	(void)state;
	begin(&e, TCP);
	e.act = read_one_byte;
	stream_want(&e.s, true, false);
	peer_sends(&e, "abc");
	turns(5);
	assert_string_equal(told(&e), "RRR");
	end(&e);
}

static void test_lazy_write(void **state)
{
	struct end e;

	(void)state;
	begin(&e, TCP);
	stream_want(&e.s, true, false);
	turns(1);
	stream_want(&e.s, true, true);
	assert_int_equal(e.s.armed, RW);
	turns(2);
	assert_string_equal(told(&e), "WW");
	stream_want(&e.s, true, false);
	assert_int_equal(e.s.armed, RW); /* until it is called in vain once */
	turns(1);
	assert_string_equal(told(&e), "");
	assert_int_equal(e.s.armed, EV_READ);
	assert_quiet();

	/* Writing instead of reading: the read event stays for now. */
	stream_want(&e.s, false, true);
	assert_int_equal(e.s.armed, RW);
	stream_want(&e.s, true, false);
	turns(1);
	assert_int_equal(e.s.armed, EV_READ);

	/* Neither is wanted after a write was. */
	stream_want(&e.s, false, true);
	turns(1);
	assert_string_equal(told(&e), "W");
	stream_want(&e.s, false, false);
	assert_quiet();
	assert_string_equal(told(&e), "");

	/* Write only: the peer's close is watched as well. */
	stop_reading(&e);
	stream_want(&e.s, false, true);
	assert_int_equal(e.s.armed, EV_WRITE);
	assert_true(e.s.peer_watched);
	turns(1);
	assert_string_equal(told(&e), "W");
	stream_want(&e.s, false, false);
	assert_quiet();
	assert_int_equal(e.s.armed, 0);
	end(&e);
}

/* ---- hangup ---- */

static const struct {
	enum kind kind;
	bool reset;
	bool watch; /* the peer is watched already; else the read event is still armed */
} hangups[] = {
	{TCP, false, false},
	{TCP, false, true},
	{TCP, true, false},
	{TCP, true, true},
	{UNIX, false, false},
	{UNIX, false, true},
};

static void test_hangup(void **state)
{
	struct end e;

	(void)state;
	for (size_t i = 0; i < sizeof hangups / sizeof hangups[0]; i++) {
		begin(&e, hangups[i].kind);
		if (hangups[i].watch) {
			stop_reading(&e);
			assert_quiet();
		} else {
			stream_want(&e.s, true, false);
			turns(1);
			stream_want(&e.s, false, false);
		}
		assert_false(stream_has_left(&e.s));
		peer_closes(&e, hangups[i].reset);
		assert_true(stream_has_left(&e.s)); /* though nothing is told yet */
		turns(10);
		assert_string_equal(told(&e), "H");
		assert_int_equal(e.s.armed, 0);
		assert_true(stream_is_open(&e.s));
		assert_quiet();

		/* Reading again finds what was left, and the end. */
		stream_want(&e.s, true, false);
		assert_int_equal(e.s.armed, EV_READ);
		turns(1);
		assert_string_equal(told(&e), "R");
		assert_true(e.got != 1 || hangups[i].watch); /* a reset may throw away what was left */
		if (e.got == 1) {
			turns(1);
			assert_string_equal(told(&e), "R");
		}
		if (hangups[i].reset) {
			char buf[100];

			assert_int_equal(e.got, STREAM_BROKEN);
			assert_string_equal(stream_error(&e.s, buf, sizeof buf), "Connection reset by peer");
		} else {
			assert_int_equal(e.got, STREAM_EOF);
		}

		/* Told once in a life. */
		stream_want(&e.s, false, false);
		assert_quiet();
		assert_string_equal(told(&e), "");
		end(&e);
	}
}

/* The peer is closed already when the owner stops to want anything, for the first time. */
static void test_hangup_at_once(void **state)
{
	struct end e;

	(void)state;
	begin(&e, TCP);
	peer_closes(&e, false);
	stream_want(&e.s, false, false);
	turns(3);
	assert_string_equal(told(&e), "H");
	assert_quiet();
	end(&e);
}

static size_t fill_socket(struct end *e)
{
	static char zeros[65536];
	struct iovec v = {.iov_base = zeros, .iov_len = sizeof zeros};
	size_t all = 0;
	ssize_t n;

	while ((n = stream_writev(&e->s, &v, 1)) > 0)
		all += (size_t)n;
	assert_int_equal(n, STREAM_AGAIN);
	return all;
}

static void peer_drains(struct end *e, size_t n)
{
	static char buf[65536];

	while (n > 0) {
		ssize_t got = read(e->peer, buf, n < sizeof buf ? n : sizeof buf);

		assert_true(got > 0);
		n -= (size_t)got;
	}
}

/* A peer that half-closes while we are write-blocked: told once; then writing goes on. */
static void test_half_close_while_blocked(void **state)
{
	struct end e;
	size_t all;

	(void)state;
	begin(&e, TCP);
	all = fill_socket(&e);
	stream_want(&e.s, false, true);
	assert_quiet();
	shutdown(e.peer, SHUT_WR);
	turns(10);
	assert_string_equal(told(&e), "H");
	assert_int_equal(e.s.armed, EV_WRITE);
	assert_quiet();
	peer_drains(&e, all);
	turns(1);
	assert_string_equal(told(&e), "W");
	end(&e);
}

static void write_when_told(struct end *e, enum stream_event what)
{
	static char zeros[100];
	struct iovec v = {.iov_base = zeros, .iov_len = sizeof zeros};

	if (what != STREAM_WRITABLE)
		return;
	e->got = stream_writev(&e->s, &v, 1);
	if (e->got == STREAM_BROKEN)
		stream_close(&e->s);
}

static void test_reset_while_blocked(void **state)
{
	struct end e;

	(void)state;
	begin(&e, TCP);
	e.act = write_when_told;
	fill_socket(&e);
	stream_want(&e.s, false, true);
	assert_quiet();
	peer_closes(&e, true);
	turns(5);
	assert_string_equal(told(&e), "W");
	assert_int_equal(e.got, STREAM_BROKEN);
	end(&e);
}

/* ---- writing ---- */

/* No SIGPIPE: its default action would end this test. */
static void test_write_to_closed(void **state)
{
	struct iovec v = {.iov_base = (char[]){"x"}, .iov_len = 1};
	struct end e;
	char buf[100];

	(void)state;
	begin(&e, UNIX);
	peer_closes(&e, false);
	assert_int_equal(stream_writev(&e.s, &v, 1), STREAM_BROKEN);
	assert_string_equal(stream_error(&e.s, buf, sizeof buf), "Broken pipe");
	end(&e);
}

enum { LOT = 4 * 1024 * 1024, PIECES = 1500 };

/* More pieces than the system takes at once, more bytes than the socket holds: all arrive, in order. */
static void test_short_writes(void **state)
{
	static unsigned char out[LOT], in[LOT];
	static struct iovec v[PIECES];
	struct end e;
	size_t sent = 0, got = 0, each = LOT / PIECES;
	bool was_short = false, was_blocked = false;
	int small = 64 * 1024;

	(void)state;
	for (size_t i = 0; i < LOT; i++)
		out[i] = (unsigned char)(i * 2654435761u >> 13);
	begin(&e, TCP);
	/* By itself the system may give the two sockets room for all of it. */
	assert_int_equal(setsockopt(e.s.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	assert_int_equal(setsockopt(e.peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	while (sent < LOT) {
		size_t at = sent, asked = 0;
		int n = 0;
		ssize_t took;

		for (; n < PIECES && at < LOT; n++) {
			v[n].iov_base = out + at;
			v[n].iov_len = at + each <= LOT ? each : LOT - at;
			at += v[n].iov_len;
			asked += v[n].iov_len;
		}
		took = stream_writev(&e.s, v, n);
		if (took == STREAM_AGAIN) {
			was_blocked = true;
			stream_want(&e.s, true, true);
			assert_quiet();
			got += (size_t)read(e.peer, in + got, LOT - got);
			while (strcmp(told(&e), "W") != 0) {
				ssize_t r = recv(e.peer, in + got, LOT - got, MSG_DONTWAIT);

				got += r > 0 ? (size_t)r : 0;
				turns(1);
			}
			stream_want(&e.s, true, false);
			turns(1);
			continue;
		}
		assert_in_range(took, 1, asked);
		was_short |= (size_t)took < asked;
		sent += (size_t)took;
	}
	while (got < LOT) {
		ssize_t r = read(e.peer, in + got, LOT - got);

		assert_true(r > 0);
		got += (size_t)r;
	}
	assert_memory_equal(in, out, LOT);
	assert_true(was_short);
	assert_true(was_blocked);
	end(&e);
}

/* ---- connecting ---- */

static bool connect_to(struct end *e, const struct addr *at)
{
	bool ok;

	*e = (struct end){.peer = -1, .inside = true};
	ok = stream_connect(&e->s, &loop, at, on_stream, e);
	e->inside = false;
	open_ends += ok;
	return ok;
}

static bool connect_to_path(struct end *e, const char *path)
{
	bool ok;

	*e = (struct end){.peer = -1, .inside = true};
	ok = stream_connect_unix(&e->s, &loop, path, on_stream, e);
	e->inside = false;
	open_ends += ok;
	return ok;
}

static int option(const struct end *e, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	assert_int_equal(getsockopt(e->s.fd, level, name, &value, &len), 0);
	return value;
}

static void test_connect(void **state)
{
	struct addr at;
	struct end e;
	int l = listener(&at);

	(void)state;
	assert_true(connect_to(&e, &at));
	assert_false(stream_is_open(&e.s));
	turns(1);
	assert_string_equal(told(&e), "C");
	assert_true(stream_is_open(&e.s));
	assert_quiet();
	assert_int_equal(option(&e, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_true(fcntl(e.s.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(e.s.fd, F_GETFD) & FD_CLOEXEC);
	e.peer = accept(l, NULL, NULL);
	stream_want(&e.s, true, false);
	assert_int_equal(e.s.armed, EV_READ);
	peer_sends(&e, "hi");
	turns(1);
	assert_string_equal(told(&e), "R");
	end(&e);
	close(l);
}

static void test_connect_refused(void **state)
{
	struct addr at;
	struct end e;
	char buf[100];
	int l = listener(&at);

	(void)state;
	close(l); /* nobody listens there now */
	assert_true(connect_to(&e, &at));
	turns(5);
	assert_string_equal(told(&e), "F");
	assert_string_equal(stream_error(&e.s, buf, sizeof buf), "Connection refused");
	assert_false(stream_is_open(&e.s));
	assert_int_equal(e.s.armed, 0);
	assert_quiet();
	stream_want(&e.s, true, true); /* a failed one is not watched, whatever is wanted */
	assert_int_equal(e.s.armed, 0);
	end(&e);
}

/* The owner closes it before it is decided. */
static void test_connect_given_up(void **state)
{
	struct addr at;
	struct end e;
	int l = listener(&at);

	(void)state;
	assert_true(connect_to(&e, &at));
	end(&e);
	turns(3);
	assert_string_equal(told(&e), "");
	close(l);
}

static void test_connect_impossible(void **state)
{
	struct addr at;
	struct end e;
	char path[200];

	(void)state;
	assert_true(addr_parse("255.255.255.255", 1, &at));
	assert_false(connect_to(&e, &at));
	assert_true(errno == EACCES || errno == ENETUNREACH || errno == EPERM);
	assert_false(connect_to_path(&e, "/none/such/socket"));
	assert_int_equal(errno, ENOENT);
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	assert_false(connect_to_path(&e, path));
	assert_int_equal(errno, ENAMETOOLONG);
	assert_true(TAILQ_EMPTY(&loop.ready));
	assert_quiet();
}

/* A unix socket is connected at once: told by the ready list. */
static void test_connect_unix(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char name[sizeof un.sun_path];
	struct end e, f;

	(void)state;
	for (int abstract = 0; abstract < 2; abstract++) {
		socklen_t len;
		int l = socket(AF_UNIX, SOCK_STREAM, 0);

		snprintf(name, sizeof name, abstract ? "@test_stream.%d" : "/tmp/test_stream.%d", getpid());
		strcpy(un.sun_path, name);
		len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + !abstract);
		if (abstract)
			un.sun_path[0] = '\0';
		assert_int_equal(bind(l, (struct sockaddr *)&un, len), 0);
		assert_int_equal(listen(l, 0), 0);
		assert_true(connect_to_path(&e, name));
		assert_string_equal(told(&e), "");
		assert_false(connect_to_path(&f, name)); /* the backlog is full */
		assert_int_equal(errno, EAGAIN);
		loop_poll(&loop, true); /* must not wait: there is something on the ready list */
		assert_string_equal(told(&e), "C");
		e.peer = accept(l, NULL, NULL);
		stream_want(&e.s, true, false);
		peer_sends(&e, "hello");
		turns(1);
		assert_string_equal(told(&e), "R");
		assert_int_equal(e.got, 5);
		end(&e);
		close(l);
		if (!abstract)
			unlink(name);
	}
}

static void test_tune(void **state)
{
	const struct stream_tuning all = {
		.keepalive = 1,
		.keepcnt = 3,
		.keepidle_s = 17,
		.keepintvl_s = 5,
		.user_timeout_ms = 4000,
		.socket_buffer = 40000,
	};
	const struct stream_tuning none = {0};
	struct end e;
	int before;

	(void)state;
	begin(&e, TCP);
	before = option(&e, SOL_SOCKET, SO_SNDBUF);
	stream_tune(&e.s, &none);
	assert_int_equal(option(&e, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(&e, SOL_SOCKET, SO_KEEPALIVE), 0);
	assert_int_equal(option(&e, SOL_SOCKET, SO_SNDBUF), before);
	stream_tune(&e.s, &all);
	assert_int_equal(option(&e, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(&e, IPPROTO_TCP, TCP_KEEPCNT), 3);
	assert_int_equal(option(&e, IPPROTO_TCP, TCP_KEEPIDLE), 17);
	assert_int_equal(option(&e, IPPROTO_TCP, TCP_KEEPINTVL), 5);
	assert_int_equal(option(&e, IPPROTO_TCP, TCP_USER_TIMEOUT), 4000);
	assert_int_equal(option(&e, SOL_SOCKET, SO_SNDBUF), 80000); /* the system doubles it */
	assert_int_equal(option(&e, SOL_SOCKET, SO_RCVBUF), 80000);
	end(&e);
	begin(&e, UNIX);
	before = option(&e, SOL_SOCKET, SO_SNDBUF);
	stream_tune(&e.s, &all);
	assert_int_equal(option(&e, SOL_SOCKET, SO_SNDBUF), before);
	end(&e);
}

/* ---- closing inside callbacks ---- */

static void close_self(struct end *e, enum stream_event what)
{
	(void)what;
	stream_close(&e->s);
}

/* The owner frees it at the end of the turn: from then on nothing may touch it. */
static void end_and_free(struct end *e)
{
	end(e);
	memset(e, 0x55, sizeof *e);
	free(e);
	turns(2);
}

static void test_close_self(void **state)
{
	struct end *e = calloc(1, sizeof *e);

	(void)state;
	begin(e, TCP);
	e->act = close_self;
	stream_want(&e->s, true, true); /* writable as well: not told any more */
	peer_sends(e, "x");
	turns(1);
	assert_string_equal(told(e), "R");
	end_and_free(e);

	e = calloc(1, sizeof *e);
	begin(e, TCP);
	e->act = close_self;
	stream_want(&e->s, false, true);
	turns(1);
	assert_string_equal(told(e), "W");
	end_and_free(e);

	e = calloc(1, sizeof *e);
	begin(e, TCP);
	e->act = close_self;
	stream_want(&e->s, false, false);
	peer_closes(e, false);
	turns(3);
	assert_string_equal(told(e), "H");
	end_and_free(e);
}

static void test_close_in_connect(void **state)
{
	struct addr at;
	int l = listener(&at);

	(void)state;
	for (int open = 1; open >= 0; open--) {
		struct end *e = calloc(1, sizeof *e);

		assert_true(connect_to(e, &at));
		e->act = close_self;
		turns(2);
		assert_string_equal(told(e), open ? "C" : "F");
		assert_int_equal(e->s.fd, -1);
		end_and_free(e);
		if (open)
			close(l);
	}
}

static void close_other(struct end *e, enum stream_event what)
{
	(void)what;
	e->got = stream_read(&e->s, e->in, sizeof e->in);
	stream_close(&e->other->s);
}

/* Both have an event in one turn; the first closes the second, whose descriptor's number is taken at once. */
static void test_close_other(void **state)
{
	struct end a, b, c;

	(void)state;
	begin(&a, TCP);
	begin(&b, TCP);
	a.other = &b;
	b.other = &a;
	a.act = b.act = close_other;
	stream_want(&a.s, true, false);
	stream_want(&b.s, true, false);
	turns(1);
	peer_sends(&a, "x");
	peer_sends(&b, "x");
	turns(1);
	assert_int_equal(a.n + b.n, 1);
	assert_int_equal(stream_is_open(&a.s) + stream_is_open(&b.s), 1);
	begin(&c, TCP);
	stream_want(&c.s, true, false);
	peer_sends(&c, "yy");
	turns(2);
	assert_string_equal(told(&c), "R");
	assert_int_equal(c.got, 2);
	assert_int_equal(a.n + b.n, 1);
	end(&a);
	end(&b);
	end(&c);
}

static struct addr next_address;

static void connect_to_next(struct end *e, enum stream_event what)
{
	if (what == STREAM_CONNECTED)
		return;
	e->act = NULL;
	stream_close(&e->s);
	assert_true(stream_connect(&e->s, &loop, &next_address, on_stream, e));
	stream_want(&e->s, true, true); /* told of only when it is connected */
}

/* The next host at once, inside the callback that tells of the first one's failure or end. */
static void test_reconnect_in_callback(void **state)
{
	struct addr at;
	struct end e;
	int l = listener(&next_address), dead = listener(&at);

	(void)state;
	close(dead);
	assert_true(connect_to(&e, &at));
	e.act = connect_to_next;
	turns(3);
	assert_true(stream_is_open(&e.s));
	assert_memory_equal(told(&e), "FCW", 3);

	e.peer = accept(l, NULL, NULL);
	e.act = connect_to_next;
	stream_want(&e.s, true, true);
	close(e.peer);
	turns(1);
	assert_string_equal(told(&e), "R");
	turns(2);
	assert_memory_equal(told(&e), "CW", 2);
	e.peer = accept(l, NULL, NULL);
	stream_want(&e.s, true, false);
	peer_sends(&e, "x");
	turns(1);
	assert_string_equal(told(&e), "R");
	end(&e);
	close(l);
}

/* ---- other ops --------------------------------------------------------------- */

/* What they answer. */
static struct {
	bool pending;
	int handshake;
	unsigned closed;
} fake;

static ssize_t fake_read(struct stream *s, void *p, size_t n)
{
	(void)s;
	(void)p;
	return n > 0 && fake.pending ? 1 : STREAM_AGAIN;
}

static ssize_t fake_writev(struct stream *s, const struct iovec *v, int n)
{
	(void)s;
	(void)v;
	(void)n;
	return STREAM_AGAIN;
}

static bool fake_pending(const struct stream *s)
{
	(void)s;
	return fake.pending;
}

static void fake_close(struct stream *s)
{
	fake.closed++;
	stream_close_socket(s);
}

static int fake_handshake(struct stream *s)
{
	(void)s;
	return fake.handshake;
}

static const char *fake_error(const struct stream *s, char *buf, size_t size)
{
	(void)s;
	snprintf(buf, size, "no certificate");
	return buf;
}

static const struct stream_ops fake_ops = {
	.name = "tls",
	.read = fake_read,
	.writev = fake_writev,
	.pending = fake_pending,
	.update = stream_update,
	.close = fake_close,
	.handshake = fake_handshake,
	.error = fake_error,
};

/* A socket with the other ops over it, as TLS lies over one. */
static void begin_fake(struct end *e)
{
	memset(&fake, 0, sizeof fake);
	begin(e, TCP);
	e->s.ops = &fake_ops;
}

static void test_tls_wants(void **state)
{
	static const struct {
		bool read, write, read_wants_write, write_wants_read;
		short armed;
	} rows[] = {
		{true, false, false, false, EV_READ},
		{true, false, true, false, EV_WRITE},
		{true, true, true, false, EV_WRITE},
		{true, true, false, true, EV_READ},
		{true, true, true, true, RW},
		{true, false, false, true, EV_READ},
		{false, true, false, true, EV_READ},
		{false, true, true, false, EV_WRITE},
	};
	struct end e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		begin_fake(&e);
		assert_true(stream_is_tls(&e.s));
		e.s.tls_read_wants_write = rows[i].read_wants_write;
		e.s.tls_write_wants_read = rows[i].write_wants_read;
		stream_want(&e.s, rows[i].read, rows[i].write);
		assert_int_equal(e.s.armed, rows[i].armed);
		end(&e);
		assert_int_equal(fake.closed, 1);
	}
}

/* A read that waits for room is told when there is room, a write that waits for bytes when they come. */
static void test_tls_crossed(void **state)
{
	struct end e;

	(void)state;
	begin_fake(&e);
	e.s.tls_read_wants_write = 1;
	stream_want(&e.s, true, false);
	turns(1);
	assert_string_equal(told(&e), "R");
	e.s.tls_read_wants_write = 0;
	e.s.tls_write_wants_read = 1;
	stream_want(&e.s, false, true);
	assert_quiet(); /* there is room, but that is not what it waits for */
	assert_string_equal(told(&e), "");
	peer_sends(&e, "x");
	turns(1);
	assert_string_equal(told(&e), "W");
	/* Wanted neither for reading nor for writing: the peer's close is noticed. */
	stream_want(&e.s, false, false);
	assert_quiet();
	told(&e);
	peer_closes(&e, true);
	turns(3);
	assert_string_equal(told(&e), "H");
	end(&e);
}

/* The peer closed its direction while a read waited for room to write; then nothing is wanted any more. */
static void test_gone_before(void **state)
{
	struct end e;

	(void)state;
	begin(&e, TCP);
	stop_reading(&e);
	fill_socket(&e);
	e.s.ops = &fake_ops;
	memset(&fake, 0, sizeof fake);
	e.s.tls_read_wants_write = 1;
	stream_want(&e.s, true, false);
	assert_int_equal(e.s.armed, EV_WRITE);
	shutdown(e.peer, SHUT_WR);
	assert_quiet();
	assert_string_equal(told(&e), "");
	stream_want(&e.s, false, false);
	assert_string_equal(told(&e), "");
	turns(1);
	assert_string_equal(told(&e), "H");
	assert_quiet();
	end(&e);
}

/* Another process has the descriptor as well: its events are none of ours after the close. */
static void test_descriptor_lives_on(void **state)
{
	struct end e;
	int copy;

	(void)state;
	for (int watch = 0; watch < 2; watch++) {
		begin(&e, TCP);
		copy = dup(e.s.fd);
		if (watch)
			stop_reading(&e);
		else
			stream_want(&e.s, true, false);
		turns(1);
		stream_close(&e.s);
		turns(1);
		peer_closes(&e, false);
		turns(1);
		assert_int_equal(loop.callbacks, 0);
		assert_quiet();
		assert_string_equal(told(&e), "");
		end(&e);
		close(copy);
	}
}

static void begin_handshake(struct end *e, int result)
{
	begin_fake(e);
	e->s.phase = STREAM_P_HANDSHAKING;
	fake.handshake = result;
	stream_update(&e->s);
	assert_false(stream_is_open(&e->s));
}

static void test_handshake(void **state)
{
	struct end e;
	char buf[100];

	(void)state;
	begin_handshake(&e, STREAM_AGAIN);
	assert_int_equal(e.s.armed, EV_READ);
	peer_sends(&e, "x");
	e.s.tls_read_wants_write = 1;
	turns(1);
	assert_true(e.s.armed & EV_WRITE);
	assert_string_equal(told(&e), "");
	fake.handshake = 0;
	turns(1);
	assert_string_equal(told(&e), "S");
	assert_true(stream_is_open(&e.s));
	assert_int_equal(e.s.tls_read_wants_write, 0);
	stream_want(&e.s, true, false);
	turns(1);
	assert_string_equal(told(&e), "R");
	end(&e);

	/* Without an event: the first step of a handshake stands on the ready list. */
	begin_handshake(&e, 0);
	fake.pending = true;
	stream_again(&e.s);
	turns(1);
	assert_string_equal(told(&e), "S");
	stream_want(&e.s, true, false); /* bytes came with the handshake */
	turns(1);
	assert_string_equal(told(&e), "R");
	end(&e);

	begin_handshake(&e, STREAM_BROKEN);
	stream_again(&e.s);
	turns(1);
	assert_string_equal(told(&e), "F");
	assert_string_equal(stream_error(&e.s, buf, sizeof buf), "no certificate");
	assert_int_equal(e.s.armed, 0);
	peer_sends(&e, "x");
	assert_quiet();
	assert_string_equal(told(&e), "");
	end(&e);
}

/* ---- the ready list ------------------------------------------------------------ */

static void memory_update(struct stream *s)
{
	(void)s;
}

static void memory_close(struct stream *s)
{
	(void)s;
	fake.closed++;
}

static const struct stream_ops memory_ops = {
	.name = "memory",
	.read = fake_read,
	.writev = fake_writev,
	.pending = fake_pending,
	.update = memory_update,
	.close = memory_close,
};

static struct loop dry; /* without libevent */

static void begin_memory(struct end *e)
{
	memset(&fake, 0, sizeof fake);
	*e = (struct end){.peer = -1};
	open_ends++;
	stream_init_ops(&e->s, &dry, &memory_ops, NULL, on_stream, e);
}

static void again(struct end *e, enum stream_event what)
{
	(void)what;
	stream_again(&e->s);
	if (e->other != NULL)
		stream_again(&e->other->s);
}

/* Only those that stand on the list at the start are run in one turn. */
static void test_ready_once_a_turn(void **state)
{
	struct end a, b;

	(void)state;
	loop_init(&dry, false);
	begin_memory(&a);
	begin_memory(&b);
	a.act = b.act = again;
	a.other = &b;
	stream_want(&a.s, true, false);
	stream_want(&b.s, true, false);
	stream_again(&a.s);
	stream_again(&a.s); /* twice is once */
	loop_poll(&dry, true);
	assert_string_equal(told(&a), "R");
	assert_string_equal(told(&b), "");
	loop_poll(&dry, true);
	assert_string_equal(told(&a), "R");
	assert_string_equal(told(&b), "R");
	stream_want(&b.s, false, false); /* on the list, but not wanted: not told, and off the list */
	a.act = b.act = NULL;
	loop_poll(&dry, true);
	assert_string_equal(told(&a), "R");
	assert_string_equal(told(&b), "");
	assert_true(TAILQ_EMPTY(&dry.ready));
	loop_poll(&dry, true);
	assert_string_equal(told(&a), "");
	end(&a);
	end(&b);
	loop_free(&dry);
}

/* Bytes above the socket are announced by no event. */
static void test_pending(void **state)
{
	struct end e;

	(void)state;
	loop_init(&dry, false);
	begin_memory(&e);
	fake.pending = true;
	stream_want(&e.s, false, true);
	loop_poll(&dry, true);
	assert_string_equal(told(&e), "");
	assert_true(stream_has_unread(&e.s));
	stream_want(&e.s, true, false);
	stream_want(&e.s, true, true);
	for (int i = 0; i < 3; i++) { /* for as long as they are there */
		loop_poll(&dry, true);
		assert_string_equal(told(&e), "R");
		assert_int_equal(e.got, 1);
	}
	fake.pending = false;
	loop_poll(&dry, true);
	told(&e);
	loop_poll(&dry, true);
	assert_string_equal(told(&e), "");
	assert_false(stream_has_unread(&e.s));
	end(&e);
	assert_int_equal(fake.closed, 1);
	loop_free(&dry);
}

static void close_the_other(struct end *e, enum stream_event what)
{
	(void)what;
	stream_close(&e->other->s);
	stream_close(&e->s);
}

static void test_close_on_ready(void **state)
{
	struct end a, b;

	(void)state;
	for (int later = 0; later < 2; later++) {
		loop_init(&dry, false);
		begin_memory(&a);
		begin_memory(&b);
		a.other = &b;
		b.other = &a;
		a.act = b.act = close_the_other;
		stream_want(&a.s, true, false);
		stream_want(&b.s, true, false);
		stream_again(later ? &b.s : &a.s); /* the first closes the second, whichever it is */
		stream_again(later ? &a.s : &b.s);
		loop_poll(&dry, true);
		assert_string_equal(told(&a), later ? "" : "R");
		assert_string_equal(told(&b), later ? "R" : "");
		assert_int_equal(fake.closed, 2);
		assert_true(TAILQ_EMPTY(&dry.ready) && TAILQ_EMPTY(&dry.turn));
		end(&a);
		end(&b);
		loop_free(&dry);
	}
}

static void test_dispatch(void **state)
{
	struct end e;

	(void)state;
	loop_init(&dry, false);
	begin_memory(&e);
	stream_dispatch(&e.s, true, true, false);
	assert_string_equal(told(&e), "");
	stream_want(&e.s, true, true);
	stream_dispatch(&e.s, true, true, false);
	assert_string_equal(told(&e), "RW");
	stream_dispatch(&e.s, false, true, false);
	assert_string_equal(told(&e), "W");
	stream_dispatch(&e.s, false, false, true); /* reading is wanted: the end is read */
	assert_string_equal(told(&e), "R");
	stream_want(&e.s, false, true);
	stream_dispatch(&e.s, true, false, true);
	stream_dispatch(&e.s, true, false, true);
	assert_string_equal(told(&e), "H");
	end(&e);
	stream_dispatch(&e.s, true, true, true);
	stream_want(&e.s, true, true);
	stream_again(&e.s);
	loop_poll(&dry, true);
	assert_string_equal(told(&e), "");
	loop_free(&dry);
}

/* ---- the loop ------------------------------------------------------------------ */

enum { MANY = LOOP_CALLBACKS + 36 };

/* A turn ends after LOOP_CALLBACKS callbacks; the rest come in the next one, none twice, none lost. */
static void test_callbacks_a_turn(void **state)
{
	static struct end e[MANY];
	unsigned first, second;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		begin(&e[i], UNIX);
		stream_want(&e[i].s, true, false);
	}
	/* libevent asks for more events at once when it got as many as it asked for: the third time it does for all. */
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++)
			peer_sends(&e[i], "x");
		turns(1);
		first = second = 0;
		for (int i = 0; i < MANY; i++)
			first += (unsigned)strlen(told(&e[i]));
		assert_in_range(first, 1, LOOP_CALLBACKS);
		turns(3);
		for (int i = 0; i < MANY; i++)
			second += (unsigned)strlen(told(&e[i]));
		assert_int_equal(first + second, MANY);
	}
	assert_int_equal(first, LOOP_CALLBACKS);
	assert_quiet();
	for (int i = 0; i < MANY; i++)
		end(&e[i]);
}

static void nothing(struct timer *t, void *ctx)
{
	(void)t;
	++*(unsigned *)ctx;
}

static void test_wakeup(void **state)
{
	struct timer t = {.fire = nothing}, u = {.fire = nothing};
	unsigned fired = 0;
	int64_t now = clock_us();

	(void)state;
	loop_run_timers(&loop, &fired);
	assert_true(loop.wakeup_at_us == 0); /* nothing to wait for */
	timer_set(&loop.timers, &t, now + 100 * USEC);
	loop_run_timers(&loop, &fired);
	assert_true(loop.wakeup_at_us == now + 100 * USEC);
	timer_set(&loop.timers, &u, now + 50 * USEC); /* earlier: armed anew */
	loop_run_timers(&loop, &fired);
	assert_true(loop.wakeup_at_us == now + 50 * USEC);
	timer_cancel(&loop.timers, &u); /* later: left alone */
	loop_run_timers(&loop, &fired);
	assert_true(loop.wakeup_at_us == now + 50 * USEC);

	/* Waiting ends when a deadline comes, without any event of a stream. */
	timer_set(&loop.timers, &u, clock_us() + 3000);
	loop_run_timers(&loop, &fired);
	while (fired == 0) {
		loop_poll(&loop, true);
		loop_run_timers(&loop, &fired);
	}
	assert_true(clock_us() >= now + 3000);
	assert_true(clock_us() < now + 40 * USEC);
	assert_int_equal(fired, 1);
	assert_true(loop.wakeup_at_us == now + 100 * USEC);
	timer_cancel(&loop.timers, &t);
}

/* The clock is read once a turn, before the first callback. */
static int64_t seen_us;

static void see_clock(struct end *e, enum stream_event what)
{
	(void)what;
	e->got = stream_read(&e->s, e->in, sizeof e->in);
	if (seen_us != 0)
		assert_true(clock_us() == seen_us);
	seen_us = clock_us();
}

static void test_clock_in_turn(void **state)
{
	struct end a, b;
	int64_t before;

	(void)state;
	begin(&a, TCP);
	begin(&b, TCP);
	a.act = b.act = see_clock;
	stream_want(&a.s, true, false);
	stream_want(&b.s, true, false);
	turns(1);
	for (before = clock_us(); clock_us() == before;)
		clock_update();
	before = clock_us();
	while (seen_us <= before) { /* it goes on by microseconds */
		seen_us = 0;
		peer_sends(&a, "x");
		peer_sends(&b, "x");
		turns(1);
		assert_true(seen_us >= before);
	}
	assert_true(clock_us() == seen_us);
	end(&a);
	end(&b);
}

static int begin_loop(void **state)
{
	(void)state;
	loop_init(&loop, true);
	return 0;
}

static int end_loop(void **state)
{
	(void)state;
	if (open_ends != 0) {
		open_ends = 0;
		return -1;
	}
	loop_free(&loop);
	return 0;
}

static int all_freed(void **state)
{
	(void)state;
	return mem_usage_get(MEM_IO).objects == 0 && mem_usage_get(MEM_TIMER).objects == 0 ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin_loop, end_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lazy_read),
		TEST(test_level),
		TEST(test_lazy_write),
		TEST(test_hangup),
		TEST(test_hangup_at_once),
		TEST(test_half_close_while_blocked),
		TEST(test_reset_while_blocked),
		TEST(test_write_to_closed),
		TEST(test_short_writes),
		TEST(test_connect),
		TEST(test_connect_refused),
		TEST(test_connect_given_up),
		TEST(test_connect_impossible),
		TEST(test_connect_unix),
		TEST(test_tune),
		TEST(test_close_self),
		TEST(test_close_in_connect),
		TEST(test_close_other),
		TEST(test_reconnect_in_callback),
		TEST(test_tls_wants),
		TEST(test_tls_crossed),
		TEST(test_gone_before),
		TEST(test_descriptor_lives_on),
		TEST(test_handshake),
		TEST(test_ready_once_a_turn),
		TEST(test_pending),
		TEST(test_close_on_ready),
		TEST(test_dispatch),
		TEST(test_callbacks_a_turn),
		TEST(test_wakeup),
		TEST(test_clock_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, all_freed);
}
