/*
 * e2e_proxy: a network between psbouncer and a server that can be cut, be slow
 * and break connections. One thread a proxy, which copies bytes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "lib/e2e_priv.h"

enum { PAIRS = 256, DELAY_MS = 20 };

/* A connection to the proxy and its own to the server; -1: nobody. */
struct pair {
	int fd[2];
};

struct proxy {
	pthread_t thread;
	int listener, port, wakeup;
	atomic_int mode, to;
	atomic_bool stop, reset;
	struct pair pairs[PAIRS];
	struct proxy *next;
};

static struct proxy *all; /* of this test */

static int address_of(int fd)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	if (getsockname(fd, (struct sockaddr *)&sin, &len) != 0)
		abort();
	return ntohs(sin.sin_port);
}

/* reset: the peers see a broken connection and not its end. */
static void part(struct pair *p, bool reset)
{
	for (int i = 0; i < 2; i++) {
		if (reset && p->fd[i] >= 0)
			setsockopt(p->fd[i], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
		if (p->fd[i] >= 0)
			close(p->fd[i]);
		p->fd[i] = -1;
	}
}

static void take(struct proxy *x)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)x->to), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = accept4(x->listener, NULL, NULL, SOCK_CLOEXEC), to;

	if (fd < 0)
		return;
	to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (size_t i = 0; i < PAIRS; i++) {
		struct pair *p = &x->pairs[i];

		if (p->fd[0] >= 0)
			continue;
		*p = (struct pair){{fd, to}};
		if (connect(to, (struct sockaddr *)&sin, sizeof(sin)) != 0)
			part(p, true);
		return;
	}
	part(&(struct pair){{fd, to}}, true);
}

/* What waits at one end goes to the other. One that cannot take it is broken: it must not stop the others. */
static void copy(struct pair *p, int from)
{
	char bytes[65536];
	ssize_t n = recv(p->fd[from], bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || send(p->fd[!from], bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		part(p, n < 0);
}

static void *run(void *arg)
{
	struct proxy *x = arg;
	struct pollfd polled[2 + 2 * PAIRS];

	while (!x->stop) {
		nfds_t n = 0;
		uint64_t times;

		polled[n++] = (struct pollfd){.fd = x->wakeup, .events = POLLIN};
		if (x->mode != PROXY_CUT) {
			polled[n++] = (struct pollfd){.fd = x->listener, .events = POLLIN};
			for (size_t i = 0; i < 2 * PAIRS; i++)
				polled[n++] = (struct pollfd){.fd = x->pairs[i / 2].fd[i % 2], .events = POLLIN};
		}
		poll(polled, n, -1);
		if (polled[0].revents && read(x->wakeup, &times, sizeof(times)) < 0)
			abort();
		if (x->mode == PROXY_SLOW)
			nanosleep(&(struct timespec){.tv_nsec = DELAY_MS * 1000000L}, NULL);
		if (atomic_exchange(&x->reset, false))
			for (size_t i = 0; i < PAIRS; i++)
				part(&x->pairs[i], true);
		for (nfds_t i = 2; i < n; i++) {
			struct pair *p = &x->pairs[(i - 2) / 2];

			if (polled[i].revents && p->fd[0] >= 0 && p->fd[(i - 2) % 2] == polled[i].fd)
				copy(p, (i - 2) % 2);
		}
		if (n > 1 && polled[1].revents)
			take(x);
	}
	return NULL;
}

static void wake(struct proxy *x)
{
	if (write(x->wakeup, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		abort();
}

struct proxy *proxy_start(int to)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct proxy *x = calloc(1, sizeof(*x));

	if (!x)
		abort();
	x->to = to;
	x->wakeup = eventfd(0, EFD_CLOEXEC);
	x->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (x->wakeup < 0 || x->listener < 0 || bind(x->listener, (struct sockaddr *)&sin, sizeof(sin)) != 0 ||
		listen(x->listener, 100) != 0)
		fail_msg("a proxy: %s", strerror(errno));
	x->port = address_of(x->listener);
	for (size_t i = 0; i < PAIRS; i++)
		x->pairs[i] = (struct pair){{-1, -1}};
	if (pthread_create(&x->thread, NULL, run, x) != 0)
		abort();
	x->next = all;
	all = x;
	return x;
}

int proxy_port(const struct proxy *x)
{
	return x->port;
}

void proxy_set(struct proxy *x, enum proxy_mode mode)
{
	x->mode = mode;
	wake(x);
}

void proxy_move(struct proxy *x, int port)
{
	x->to = port;
}

void proxy_reset(struct proxy *x)
{
	x->reset = true;
	wake(x);
}

void proxy_stop(struct proxy *x)
{
	struct proxy **at = &all;

	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	x->stop = true;
	wake(x);
	pthread_join(x->thread, NULL);
	for (size_t i = 0; i < PAIRS; i++)
		part(&x->pairs[i], true);
	close(x->listener);
	close(x->wakeup);
	free(x);
}

void proxy_teardown(void)
{
	while (all)
		proxy_stop(all);
}
