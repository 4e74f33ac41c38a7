/*
 * diff_player: one connection of the differential test. It follows requests
 * and answers just so far that it knows whether there is more to come: then a
 * wait needs no number, and nothing is read that belongs to the next step.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "e2e/differential.h"
#include "lib/e2e.h"

/* ---- what is due ---- */

static char asked_head(const struct player *p)
{
	return p->asked_at < p->asked.n ? p->asked.p[p->asked_at] : '\0';
}

/* The loop of COPY reads on: all is dropped but what ends it. Then the request whose COPY it is stands at the head again. */
static void follow_copy(struct player *p)
{
	while (p->copying && p->copy_at < p->asked.n) {
		char type = p->asked.p[p->copy_at];

		if (p->copy_at > p->asked_at)
			p->asked.p[p->copy_at] = ' ';
		p->copy_at++;
		if (type == 'c' || type == 'f')
			p->copying = false;
	}
}

/* Takes away what no answer comes to. */
static void follow(struct player *p)
{
	follow_copy(p);
	if (p->copying)
		return;
	for (; p->asked_at < p->asked.n; p->asked_at++) {
		char type = asked_head(p);

		if (type == 'X')
			p->ends = true;
		if (type == 'S')
			p->skipping = false;
		if (!strchr(" dcfH", type) && !p->skipping)
			return;
	}
	bytes_free(&p->asked);
	p->asked_at = 0;
}

/* Has all come that will come without a further message? */
static bool nothing_due(struct player *p)
{
	follow(p);
	if (p->closed)
		return true;
	if (p->ends)
		return false;
	if (p->copying)
		return true;
	for (size_t i = p->asked_at; i < p->asked.n; i++)
		if (strchr("SQFH", p->asked.p[i]))
			return false;
	return true;
}

static void answered(struct player *p)
{
	p->asked_at++;
}

static void on_ready(struct player *p, char status)
{
	p->n_ready++;
	p->status = status;
	if (status != 'I')
		p->block = true;
	p->skipping = p->copying = false;
	while (p->asked_at < p->asked.n && !strchr("SQF", asked_head(p)))
		answered(p);
	answered(p);
	follow(p);
}

static bool is_fatal(const char *payload, size_t n)
{
	for (const char *s = payload; s < payload + n && *s; s += strlen(s) + 1)
		if (*s == 'V')
			return strcmp(s + 1, "FATAL") == 0 || strcmp(s + 1, "PANIC") == 0;
	return false;
}

static void on_error(struct player *p, const char *payload, size_t n)
{
	if (is_fatal(payload, n))
		p->ends = true;
	p->copying = false;
	if (asked_head(p) && !strchr("SQF", asked_head(p)))
		p->skipping = true;
	follow(p);
}

static void on_message(struct player *p, char *m, size_t n)
{
	char head, *payload = m + 5;

	follow(p);
	head = asked_head(p);
	switch (m[0]) {
	case 'Z': on_ready(p, *payload); return;
	case 'E': on_error(p, payload, n - 5); return;
	case 'G':
		p->copying = true;
		p->copy_at = p->asked_at + 1;
		return;
	case 'A': memset(payload, 0, 4); return;
	case '1':
	case '2':
	case '3':
		if (head == (m[0] == '1' ? 'P' : m[0] == '2' ? 'B' : 'C'))
			answered(p);
		break;
	case 'n':
	case 'T':
		if (head == 'D')
			answered(p);
		break;
	case 'C':
		if (strncmp(payload, "BEGIN", 5) == 0 || strncmp(payload, "START TRANSACTION", 17) == 0)
			p->block = true;
		if (head == 'E')
			answered(p);
		break;
	case 'I':
	case 's':
		if (head == 'E')
			answered(p);
		break;
	default: return;
	}
	follow(p);
}

/* ---- bytes ---- */

static uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void look(struct player *p)
{
	while (p->rx.n - p->at >= 5) {
		size_t n = 1 + (size_t)get_u32(p->rx.p + p->at + 1);

		if (n < 5 || p->rx.n - p->at < n)
			return;
		on_message(p, p->rx.p + p->at, n);
		p->at += n;
	}
}

static void receive(struct player *p)
{
	char part[65536];
	ssize_t r = recv(p->fd, part, sizeof(part), MSG_DONTWAIT);

	if (r > 0) {
		bytes_add(&p->rx, part, (size_t)r);
		look(p);
	} else if (r == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
		p->closed = true;
	}
}

/* One wait for the socket; false when the time is over. */
static bool turn(struct player *p, short events, int64_t end, short *got)
{
	struct pollfd f = {.fd = p->fd, .events = events};
	int64_t left = end - e2e_now_ms();
	int r = poll(&f, 1, left > 0 ? (int)left : 0);

	*got = f.revents;
	if (r == 0)
		p->late = true;
	if (r > 0 && f.revents & (POLLIN | POLLHUP | POLLERR))
		receive(p);
	return r != 0;
}

/* Sends it while it takes what comes: both directions may be full. */
static bool put(struct player *p, const char *s, size_t n)
{
	int64_t end = e2e_now_ms() + p->patience_ms;
	short got;

	p->sent_at = p->at;
	p->n_ready = 0;
	while (n > 0 && !p->closed) {
		ssize_t w = send(p->fd, s, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (w > 0) {
			s += w;
			n -= (size_t)w;
		} else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
			/* The peer has gone; what it said before is still to be read. */
			return true;
		} else if (!turn(p, POLLIN | POLLOUT, end, &got)) {
			return false;
		}
	}
	return true;
}

static bool has_come(const struct player *p, unsigned char type)
{
	for (size_t at = p->sent_at; at < p->at; at += 1 + get_u32(p->rx.p + at + 1))
		if ((unsigned char)p->rx.p[at] == type)
			return true;
	return false;
}

static bool wait_over(struct player *p, const struct action *a)
{
	if (p->closed)
		return true;
	switch (a->verb) {
	case DIFF_PUT: return true;
	case DIFF_SEND:
	case DIFF_WAIT: return nothing_due(p);
	case DIFF_READY: return p->n_ready >= a->count;
	case DIFF_UNTIL: return has_come(p, a->type);
	case DIFF_CLOSED: break;
	}
	return false;
}

static bool wait_for(struct player *p, const struct action *a)
{
	int64_t end = e2e_now_ms() + p->patience_ms;
	short got;

	while (!wait_over(p, a))
		if (!turn(p, POLLIN, end, &got))
			return false;
	return true;
}

static bool play_phrases(struct player *p, const struct action *a)
{
	struct bytes once = {0}, all = {0};
	bool ok = true;

	for (size_t i = 0; i < a->n_phrases; i++)
		ok = phrase_build(&a->phrases[i], NULL, &once) && ok;
	for (unsigned k = 0; k < a->times; k++) {
		bytes_add(&all, once.p, once.n);
		for (size_t i = 0; i < a->n_phrases; i++)
			if (a->phrases[i].kind == PHRASE_MESSAGE)
				bytes_u8(&p->asked, a->phrases[i].type);
	}
	ok = ok && put(p, all.p, all.n);
	bytes_free(&once);
	bytes_free(&all);
	return ok;
}

bool player_act(struct player *p, const struct action *a)
{
	if (a->n_phrases > 0 && !play_phrases(p, a))
		return false;
	if (!wait_for(p, a))
		return false;
	if (a->verb == DIFF_READY) {
		bytes_free(&p->asked);
		p->asked_at = 0;
		p->copying = p->skipping = false;
	}
	return true;
}

bool player_query(struct player *p, const char *sql)
{
	struct phrase f = {.kind = PHRASE_MESSAGE, .type = 'Q'};
	struct action a = {.verb = DIFF_SEND, .times = 1, .phrases = &f, .n_phrases = 1};
	bool ok;

	bytes_str(&f.payload, sql);
	ok = player_act(p, &a);
	bytes_free(&f.payload);
	return ok && !p->closed && p->n_ready > 0;
}

/* ---- begin and end ---- */

static void forget(struct player *p)
{
	bytes_free(&p->rx);
	bytes_free(&p->asked);
	p->at = p->sent_at = p->asked_at = 0;
	p->copying = p->skipping = p->ends = p->late = p->block = false;
}

bool player_begin(struct player *p)
{
	static const struct action ready = {.verb = DIFF_READY, .count = 1};
	int on = 1;

	forget(p);
	if (p->fd >= 0 && !p->closed)
		return true;
	player_end(p);
	p->fd = raw_connect(p->port, NULL);
	if (p->fd < 0)
		return false;
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	p->closed = false;
	p->had = true;
	p->n_ready = 0;
	if (!raw_startup(p->fd, "user", "app_trust", "database", p->database, "client_encoding", "UTF8", NULL) ||
		!player_act(p, &ready) || p->closed)
		return false;
	forget(p);
	return true;
}

void player_end(struct player *p)
{
	if (p->fd >= 0)
		raw_close(p->fd);
	p->fd = -1;
	forget(p);
}
