/*
 * load: the loop of the load generator, its connections, logins, and the
 * comparison of replies. What clients ask for stands in load_requests.c and
 * load_wrecks.c, the messages in load_messages.c.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "lib/load_priv.h"

struct load {
	struct load_options o;
	uint64_t random;
	bool draining;
	struct load_client *clients;
	struct pollfd *polls; /* two a client: its own and its cancel request's */
	unsigned n, next_id;
	uint64_t *done; /* of each kind: requests first, then wrecks */
	uint64_t cancels_hit;
	char failure[1024];
};

/* As the server spells them. */
static const char *const zones[] = {"UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney"};
static const char *const styles[] = {"ISO, MDY", "ISO, DMY", "German, DMY", "SQL, YMD", "Postgres, MDY"};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t load_random(struct load *l, uint64_t below)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return (l->random >> 11) % below;
}

const char *load_tag(struct load_client *c)
{
	snprintf(c->tag, sizeof(c->tag), "tag-%u-%u-%08x", c->id, ++c->serial,
		(unsigned)load_random(c->load, 1u << 31));
	return c->tag;
}

const unsigned char *load_any_key(struct load *l)
{
	unsigned from = (unsigned)load_random(l, l->n);

	for (unsigned i = 0; i < l->n; i++) {
		const struct load_client *c = &l->clients[(from + i) % l->n];

		if (c->state == LS_BUSY || c->state == LS_PAUSE)
			return c->key;
	}
	return NULL;
}

static void __attribute__((format(printf, 2, 3))) fail(struct load_client *c, const char *fmt, ...)
{
	struct load *l = c->load;
	size_t n;
	va_list ap;

	if (l->failure[0])
		return;
	n = (size_t)snprintf(l->failure, sizeof(l->failure),
		"seed %llu, client %u (%s, database %s, %s) step %u, tag %s: ", (unsigned long long)l->o.seed, c->id,
		c->name, c->database, c->kind ? c->kind->name : "login", c->step, c->tag);
	va_start(ap, fmt);
	vsnprintf(l->failure + n, sizeof(l->failure) - n, fmt, ap);
	va_end(ap);
}

/* ---- connections ---- */

static int connect_to(int port)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void leave(struct load_client *c)
{
	struct load *l = c->load;
	int pause = c->wrecker ? l->o.wreck_pause_ms : l->o.pause_ms;

	if (c->fd >= 0)
		close(c->fd);
	if (c->cancel_fd >= 0)
		close(c->cancel_fd);
	c->fd = c->cancel_fd = -1;
	c->cancel_due = 0;
	c->state = LS_AWAY;
	c->kind = NULL;
	c->out.n = c->in.n = c->expected.n = c->kept.n = c->sent = 0;
	c->want = c->n_wants = 0;
	c->due = now_ms() + 1 + (int64_t)load_random(l, (uint64_t)pause);
}

static void vanish(struct load_client *c, bool reset)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	if (c->sent < c->out.n && send(c->fd, c->out.p + c->sent, c->out.n - c->sent, MSG_NOSIGNAL) < 0 &&
		errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
		fail(c, "send: %s", strerror(errno));
	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	leave(c);
}

static void arrive(struct load_client *c)
{
	struct load *l = c->load;
	const char *const *d = l->o.databases;
	size_t n = 0;

	while (d[n])
		n++;
	c->fd = connect_to(l->o.port);
	if (c->fd < 0) {
		fail(c, "connect: %s", strerror(errno));
		return;
	}
	c->id = ++l->next_id;
	c->serial = 0;
	c->step = 0;
	c->left = 5 + (unsigned)load_random(l, 100);
	c->user = l->o.user;
	c->password = l->o.password;
	c->database = d[load_random(l, n)];
	c->zone = zones[load_random(l, sizeof(zones) / sizeof(*zones))];
	c->style = styles[load_random(l, sizeof(styles) / sizeof(*styles))];
	c->next_zone = NULL;
	c->next_name[0] = '\0';
	snprintf(c->name, sizeof(c->name), "load %u", c->id);
	c->due = now_ms() + l->o.patience_ms;
	c->kind = c->wrecker ? &load_wrecks[load_random(l, load_n_wrecks)] : NULL;
	if (c->kind && c->kind->place == LOAD_RAW) {
		c->state = LS_BUSY;
		return;
	}
	load_startup(c, c->user, c->database);
	c->state = LS_LOGIN;
}

/* ---- cancel requests ---- */

void load_cancel(struct load_client *c, const unsigned char *key, unsigned ms)
{
	memcpy(c->cancel_key, key, sizeof(c->cancel_key));
	c->cancel_due = now_ms() + ms + 1;
}

static void send_cancel(struct load_client *c)
{
	static const unsigned char head[8] = {0, 0, 0, 16, 4, 210, 22, 46};
	unsigned char packet[16];

	c->cancel_due = 0;
	memcpy(packet, head, 8);
	memcpy(packet + 8, c->cancel_key, 8);
	c->cancel_fd = connect_to(c->load->o.port);
	if (c->cancel_fd < 0 || send(c->cancel_fd, packet, 16, MSG_NOSIGNAL) != 16)
		fail(c, "cancel request: %s", strerror(errno));
}

/* Only then does the client go on: a later query of its own must not be hit. */
static void end_cancel(struct load_client *c)
{
	char byte;
	ssize_t r = recv(c->cancel_fd, &byte, 1, 0);

	if (r < 0 && errno == EAGAIN)
		return;
	if (r > 0)
		fail(c, "a cancel request was answered with 0x%02x", (unsigned char)byte);
	close(c->cancel_fd);
	c->cancel_fd = -1;
}

/* ---- what comes ---- */

static const char *field(const char *p, size_t n, char which)
{
	for (const char *at = p; at < p + n && *at; at += strlen(at) + 1)
		if (*at == which)
			return at + 1;
	return "";
}

static void parameter_came(struct load_client *c, const char *p, size_t n)
{
	const char *value = p + strlen(p) + 1;
	const char *mine = NULL, *next = NULL;

	if (n < 2 || p[n - 1] != '\0' || value >= p + n) {
		fail(c, "a broken ParameterStatus");
		return;
	}
	if (strcmp(p, "TimeZone") == 0) {
		mine = c->zone;
		next = c->next_zone;
	} else if (strcmp(p, "DateStyle") == 0) {
		mine = c->style;
	} else if (strcmp(p, "application_name") == 0) {
		mine = c->name;
		next = c->next_name;
	}
	if (mine && strcmp(value, mine) != 0 && !(next && strcmp(value, next) == 0))
		fail(c, "%s is reported to be \"%s\" instead of \"%s\"", p, value, mine);
}

static void md5_hex(const void *a, size_t an, const void *b, size_t bn, char out[33])
{
	unsigned char all[256], digest[16];

	assert(an + bn <= sizeof(all));
	memcpy(all, a, an);
	memcpy(all + an, b, bn);
	if (EVP_Digest(all, an + bn, digest, NULL, EVP_md5(), NULL) != 1)
		abort();
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void authenticate(struct load_client *c, const char *p, size_t n)
{
	char hex[33], secret[36];
	size_t at;
	uint32_t kind;

	memcpy(&kind, p, n < 4 ? n : 4);
	kind = ntohl(kind);
	if (kind == 0)
		return;
	if (kind == 5 && n == 8) {
		md5_hex(c->password, strlen(c->password), c->user, strlen(c->user), hex);
		md5_hex(hex, 32, p + 4, 4, hex);
		snprintf(secret, sizeof(secret), "md5%s", hex);
	} else if (kind != 3) {
		fail(c, "authentication of kind %u", kind);
		return;
	}
	at = load_begin(&c->out, 'p');
	load_put_text(&c->out, kind == 5 ? secret : c->password);
	load_end(&c->out, at);
}

static void login_message(struct load_client *c, char type, const char *p, size_t n)
{
	switch (type) {
	case 'R': authenticate(c, p, n); break;
	case 'S': parameter_came(c, p, n); break;
	case 'K':
		if (n != 8)
			fail(c, "a key of %zu bytes", n);
		else
			memcpy(c->key, p, 8);
		break;
	case 'N': break;
	case 'Z':
		c->state = c->wrecker ? LS_BUSY : LS_PAUSE;
		c->due = now_ms() + (c->wrecker ? c->load->o.patience_ms
						: (int64_t)load_random(c->load, (uint64_t)c->load->o.pause_ms));
		break;
	case 'E': fail(c, "login: %s %s", field(p, n, 'C'), field(p, n, 'M')); break;
	default: fail(c, "a message of type %c in a login", type);
	}
}

/* The error that an own cancel request may bring instead of a result: the rest up to ReadyForQuery does not come. */
static bool cancelled_instead(struct load_client *c, const struct load_want *w, char type, const char *p, size_t n)
{
	if (w->how != WANT_MAYBE || type != 'E' || strcmp(field(p, n, 'C'), "57014") != 0)
		return false;
	c->load->cancels_hit++;
	while (c->want < c->n_wants && c->wants[c->want].type != 'Z')
		c->want++;
	return true;
}

static bool satisfies(struct load_client *c, const struct load_want *w, const char *p, size_t n)
{
	const char *expected = c->expected.p != NULL ? c->expected.p + w->at : "";

	switch (w->how) {
	case WANT_ANY: return true;
	case WANT_EXACT: return n == w->n && memcmp(p, expected, n) == 0;
	case WANT_MAYBE: return w->n == 0 || (n == w->n && memcmp(p, expected, n) == 0);
	case WANT_ERROR:
	case WANT_CLOSE:
		return strcmp(field(p, n, 'C'), expected) == 0 &&
		       strstr(field(p, n, 'M'), expected + strlen(expected) + 1);
	case WANT_KEEP:
		c->kept.n = 0;
		load_put(&c->kept, p, n);
		return true;
	case WANT_KEPT: return n == c->kept.n && memcmp(p, c->kept.p, n) == 0;
	}
	return false;
}

/* Payloads in a failure: what can be read of them. */
static void show(char out[256], const char *p, size_t n)
{
	size_t k = n < 250 ? n : 250;

	for (size_t i = 0; i < k; i++)
		out[i] = p[i] >= ' ' && p[i] < 127 ? p[i] : '.';
	out[k] = '\0';
}

static void message_came(struct load_client *c, char type, const char *p, size_t n)
{
	const struct load_want *w = &c->wants[c->want];
	char got[256], wanted[256];

	if (c->state == LS_LOGIN) {
		login_message(c, type, p, n);
		return;
	}
	if (type == 'S') {
		parameter_came(c, p, n);
		return;
	}
	if (c->want == c->n_wants) {
		if (c->state == LS_LEAVING || type == 'N')
			return;
		show(got, p, n);
		fail(c, "%c comes although nothing was asked: %s", type, got);
		return;
	}
	if ((type == 'N' || c->state == LS_LEAVING) && type != w->type)
		return;
	if (cancelled_instead(c, w, type, p, n))
		return;
	if (type != w->type || !satisfies(c, w, p, n)) {
		show(got, p, n);
		show(wanted, w->n ? c->expected.p + w->at : "", w->n);
		fail(c, "%c of %zu bytes comes: \"%s\" instead of %c of %zu: \"%s\"", type, n, got, w->type, w->n,
			wanted);
		return;
	}
	c->want++;
}

static void gone(struct load_client *c, const char *how)
{
	if (c->state != LS_LEAVING)
		fail(c, "%s", how);
	else if (c->want < c->n_wants)
		fail(c, "the connection closes without the error %s", c->expected.p + c->wants[c->want].at);
	else
		c->load->done[load_n_requests + (size_t)(c->kind - load_wrecks)]++;
	leave(c);
}

/* Whole messages at the front of what has come. */
static void take_messages(struct load_client *c)
{
	size_t at = 0;
	uint32_t n;

	/* Nobody looks at it, and it may be the one byte that answers a request for TLS. */
	if (c->state == LS_LEAVING && c->want == c->n_wants) {
		c->in.n = 0;
		return;
	}
	while (c->in.n - at >= 5 && !c->load->failure[0]) {
		/* A wrecker goes with more in its ears than it wanted to hear. */
		if (c->wrecker && c->state == LS_BUSY && c->want == c->n_wants && c->n_wants > 0)
			break;
		memcpy(&n, c->in.p + at + 1, 4);
		n = ntohl(n);
		if (n < 4 || n > 1 << 26) {
			fail(c, "a message of %u bytes", n);
			return;
		}
		if (c->in.n - at < 1 + (size_t)n)
			break;
		message_came(c, c->in.p[at], c->in.p + at + 5, n - 4);
		at += 1 + (size_t)n;
	}
	memmove(c->in.p, c->in.p + at, c->in.n - at);
	c->in.n -= at;
}

static void receive(struct load_client *c)
{
	static char part[65536];
	ssize_t r = recv(c->fd, part, sizeof(part), 0);

	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r <= 0) {
		gone(c, r == 0 ? "the peer closes the connection" : strerror(errno));
		return;
	}
	load_put(&c->in, part, (size_t)r);
	take_messages(c);
}

static void transmit(struct load_client *c)
{
	ssize_t r = send(c->fd, c->out.p + c->sent, c->out.n - c->sent, MSG_NOSIGNAL);

	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r < 0) {
		/* What the peer said before it closed is still to be read. */
		if (c->state != LS_LEAVING)
			fail(c, "send: %s", strerror(errno));
		c->sent = c->out.n;
		return;
	}
	c->sent += (size_t)r;
	if (c->sent == c->out.n)
		c->sent = c->out.n = 0;
}

/* ---- what goes ---- */

static void say_goodbye(struct load_client *c)
{
	load_bare(c, 'X');
	vanish(c, false);
}

static void begin_request(struct load_client *c)
{
	if (c->left-- == 0 || c->load->draining) {
		say_goodbye(c);
		return;
	}
	c->kind = &load_requests[load_random(c->load, load_n_requests)];
	c->step = 0;
	c->state = LS_BUSY;
}

static void end_request(struct load_client *c)
{
	struct load *l = c->load;

	if (c->wrecker) {
		l->done[load_n_requests + (size_t)(c->kind - load_wrecks)]++;
		say_goodbye(c);
		return;
	}
	l->done[c->kind - load_requests]++;
	c->state = LS_PAUSE;
	c->due = now_ms() + (int64_t)load_random(l, (uint64_t)l->o.pause_ms);
}

/* All that the last step asked for has come: the next. */
static void next_step(struct load_client *c)
{
	enum load_next next;

	c->want = c->n_wants = 0;
	c->expected.n = 0;
	c->due = now_ms() + c->load->o.patience_ms;
	next = c->kind->step(c, c->step++);
	switch (next) {
	case LOAD_GO: break;
	case LOAD_DONE: end_request(c); break;
	case LOAD_VANISH:
	case LOAD_RESET:
		c->load->done[load_n_requests + (size_t)(c->kind - load_wrecks)]++;
		vanish(c, next == LOAD_RESET);
		break;
	case LOAD_LEAVE: c->state = LS_LEAVING; break;
	}
}

static void advance(struct load_client *c, int64_t now)
{
	if (c->cancel_due && now >= c->cancel_due)
		send_cancel(c);
	if (c->state == LS_AWAY && now >= c->due && !c->load->draining)
		arrive(c);
	if (c->state == LS_PAUSE && (now >= c->due || c->load->draining))
		begin_request(c);
	if (c->state == LS_BUSY && c->want == c->n_wants && !c->cancel_due && c->cancel_fd < 0)
		next_step(c);
	if (c->state != LS_AWAY && c->state != LS_PAUSE && now >= c->due)
		fail(c, "no answer within %d ms (%u messages are missing, the first of type %c)",
			c->load->o.patience_ms, c->n_wants - c->want,
			c->want < c->n_wants ? c->wants[c->want].type : '-');
	if (c->fd >= 0 && c->sent < c->out.n)
		transmit(c);
}

static void turn(struct load *l)
{
	int64_t now = now_ms();

	for (unsigned i = 0; i < l->n; i++) {
		struct load_client *c = &l->clients[i];

		advance(c, now);
		l->polls[2 * i] = (struct pollfd){
			.fd = c->fd, .events = (short)(POLLIN | (c->fd >= 0 && c->sent < c->out.n ? POLLOUT : 0))};
		l->polls[2 * i + 1] = (struct pollfd){.fd = c->cancel_fd, .events = POLLIN};
	}
	/* Pauses are counted in milliseconds: there is no nearest one to look for. */
	if (poll(l->polls, 2 * l->n, 4) <= 0)
		return;
	for (unsigned i = 0; i < l->n; i++) {
		struct load_client *c = &l->clients[i];

		if (l->polls[2 * i + 1].revents)
			end_cancel(c);
		if (l->polls[2 * i].revents & (POLLIN | POLLHUP | POLLERR))
			receive(c);
	}
}

/* ---- the whole ---- */

struct load *load_start(const struct load_options *o)
{
	struct load *l = calloc(1, sizeof(*l));
	int64_t now = now_ms();

	if (!l)
		abort();
	l->o = *o;
	l->random = o->seed * 2654435769u + 1;
	l->n = o->clients + o->wreckers;
	l->clients = calloc(l->n, sizeof(*l->clients));
	l->polls = calloc(l->n, 2 * sizeof(*l->polls));
	l->done = calloc(load_n_requests + load_n_wrecks, sizeof(*l->done));
	if (!l->clients || !l->polls || !l->done)
		abort();
	for (unsigned i = 0; i < l->n; i++)
		l->clients[i] = (struct load_client){.load = l,
			.wrecker = i >= o->clients,
			.fd = -1,
			.cancel_fd = -1,
			.due = now + (int64_t)load_random(l, 1000)};
	return l;
}

void load_run(struct load *l, int ms)
{
	int64_t end = now_ms() + ms;

	while (now_ms() < end && !l->failure[0])
		turn(l);
}

static bool any_left(const struct load *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->clients[i].state != LS_AWAY)
			return true;
	return false;
}

void load_drain(struct load *l)
{
	l->draining = true;
	while (any_left(l) && !l->failure[0])
		turn(l);
	l->draining = false;
}

void load_free(struct load *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct load_client *c = &l->clients[i];

		if (c->fd >= 0)
			close(c->fd);
		if (c->cancel_fd >= 0)
			close(c->cancel_fd);
		free(c->out.p);
		free(c->in.p);
		free(c->expected.p);
		free(c->kept.p);
	}
	free(l->clients);
	free(l->polls);
	free(l->done);
	free(l);
}

const char *load_failure(const struct load *l)
{
	return l->failure[0] ? l->failure : NULL;
}

const char *load_kind(const struct load *l, size_t i, uint64_t *done)
{
	if (i >= load_n_requests + load_n_wrecks)
		return NULL;
	*done = l->done[i];
	return i < load_n_requests ? load_requests[i].name : load_wrecks[i - load_n_requests].name;
}

uint64_t load_cancels_hit(const struct load *l)
{
	return l->cancels_hit;
}
