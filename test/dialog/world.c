/*
 * world: a pooler whose connections end in memory. Owns the ends, the clock of
 * a run and the bookkeeping of what moved. It knows of the protocol only what a
 * server's login needs; what is said stands in the scripts.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/timer.h"
#include "conf/config.h"
#include "conn/cancel.h"
#include "conn/client.h"
#include "conn/pooler.h"
#include "conn/server.h"
#include "dialog/dialog.h"
#include "net/resolve.h"
#include "net/stream.h"
#include "pool/pool.h"
#include "pool/registry.h"

enum {
	SPINS = 200,	    /* turns that move nothing before we say that it never rests */
	MAX_TURNS = 2000000 /* turns of one settling */
};

#define START_US (1000 * USEC)

/* ---- the ops below the pooler's streams ---- */

static size_t end_available(const struct end *e)
{
	return e->tx_avail - e->tx_pos;
}

static ssize_t mem_read(struct stream *s, void *p, size_t n)
{
	struct end *e = s->under;
	size_t limit = e->w->way.read;

	if (e->reset) {
		s->error = ECONNRESET;
		return STREAM_BROKEN;
	}
	if (end_available(e) == 0)
		return e->eof ? STREAM_EOF : STREAM_AGAIN;
	if (n > end_available(e))
		n = end_available(e);
	if (limit != 0 && n > limit)
		n = limit;
	memcpy(p, e->tx.p + e->tx_pos, n);
	e->tx_pos += n;
	e->w->moved += n;
	return (ssize_t)n;
}

static ssize_t mem_writev(struct stream *s, const struct iovec *v, int n)
{
	struct end *e = s->under;
	size_t limit = e->w->way.write, took = 0, total = 0;

	if (e->reset) {
		s->error = EPIPE;
		return STREAM_BROKEN;
	}
	if (e->stalled || e->full)
		return STREAM_AGAIN;
	for (int i = 0; i < n; i++) {
		size_t k = v[i].iov_len;

		total += k;
		if (limit != 0 && k > limit - took)
			k = limit - took;
		bytes_add(&e->rx, v[i].iov_base, k);
		took += k;
	}
	assert(total > 0);
	e->full = took < total && e->w->way.blocks;
	e->w->moved += took;
	return (ssize_t)took;
}

static bool mem_pending(const struct stream *s)
{
	const struct end *e = s->under;

	return end_available(e) > 0;
}

static bool mem_left(const struct stream *s)
{
	const struct end *e = s->under;

	return e->eof || e->reset;
}

static void mem_update(struct stream *s)
{
	(void)s; /* world_turn() looks at the wants */
}

static void mem_close(struct stream *s)
{
	struct end *e = s->under;

	e->stream = NULL;
	e->connecting = false;
	e->w->moved++;
}

static const char *mem_error(const struct stream *s, char *buf, size_t size)
{
	(void)buf, (void)size;
	return s->error == 0 ? "closed" : NULL;
}

static const struct stream_ops mem_ops = {
	.name = "memory",
	.read = mem_read,
	.writev = mem_writev,
	.pending = mem_pending,
	.left = mem_left,
	.update = mem_update,
	.close = mem_close,
	.error = mem_error,
};

/* ---- ends ---- */

static struct end *end_new(struct world *w, enum end_kind kind)
{
	struct end *e = calloc(1, sizeof(*e));

	if (e == NULL)
		abort();
	e->w = w;
	e->kind = kind;
	/* Places to look at, however little is there. */
	bytes_add(&e->tx, "", 0);
	bytes_add(&e->rx, "", 0);
	e->index = kind == END_CLIENT ? w->n_clients++ : w->n_hosts++;
	TAILQ_INSERT_TAIL(&w->ends, e, all);
	return e;
}

static void end_free(struct end *e)
{
	TAILQ_REMOVE(&e->w->ends, e, all);
	bytes_free(&e->tx);
	bytes_free(&e->rx);
	bytes_free(&e->startup);
	free(e);
}

/* Of "name NUL value NUL ..." the last value of a name; NULL: there is none. */
static const char *pairs_get(const struct bytes *b, const char *name)
{
	const char *p = b->p, *end = p != NULL ? p + b->n : NULL, *found = NULL;

	while (p < end && *p != '\0') {
		const char *value = p + strlen(p) + 1;

		if (value >= end)
			break;
		if (strcasecmp(p, name) == 0)
			found = value;
		p = value + strlen(value) + 1;
	}
	return found;
}

/* Any name has an address; which ones a script says. */
static size_t look_up(const char *name, struct addr *addrs, void *arg)
{
	const struct world *w = arg;
	const char *list = pairs_get(&w->names, name);
	size_t n = 0;

	list = list != NULL ? list : "192.0.2.1";
	while (*list != '\0' && n < RESOLVE_MAX_ADDRS) {
		char text[ADDR_TEXT];
		size_t len = strcspn(list, ",");

		snprintf(text, sizeof(text), "%.*s", (int)len, list);
		if (addr_parse(text, 0, &addrs[n]))
			n++;
		list += len + (list[len] == ',');
	}
	return n;
}

/* pooler.connect_hook */
static bool hook_connect(struct stream *s, const char *host, const struct addr *to, stream_cb *cb, void *arg, void *ctx)
{
	struct world *w = ctx;
	struct end *e;
	bool applies;

	if (w->policy == CONNECT_EXHAUSTED) {
		errno = EMFILE;
		return false;
	}
	e = end_new(w, END_UNKNOWN);
	addr_host(to, e->addr);
	applies =
		w->policy_host[0] == '\0' || strcmp(w->policy_host, host) == 0 || strcmp(w->policy_host, e->addr) == 0;
	e->cb = cb;
	e->arg = arg;
	e->stream = s;
	e->connecting = true;
	e->refused = applies && w->policy == CONNECT_REFUSE;
	e->hangs = applies && w->policy == CONNECT_HANG;
	stream_init_ops(s, &w->pooler.loop, &mem_ops, e, cb, arg);
	w->moved++;
	return true;
}

struct end *world_connect(struct world *w, const char *name, bool local)
{
	struct end *e = end_new(w, END_CLIENT);
	struct addr remote = {.family = AF_INET, .port = (uint16_t)(40000 + e->index)};
	struct client *cl;

	world_record(w, FUZZ_CONNECT, 0, NULL, 0);
	snprintf(e->name, sizeof(e->name), "%s", name);
	remote.u.v4.s_addr = htonl(INADDR_LOOPBACK);
	if (local)
		remote = (struct addr){.family = AF_UNIX, .port = 6432};
	cl = client_new_ops(&w->pooler, &mem_ops, e, &remote);
	/* A client may be closed before this returns, but its stream is its own until the end of the turn. */
	e->stream = conn_is_closed(&cl->c) ? NULL : &cl->c.stream;
	world_settle(w);
	return e;
}

bool world_cancel(struct world *w, const char *name, struct end *of)
{
	struct bytes b = {0}, *record = w->record;
	struct end *e;
	char which = (char)of->index;

	if (of->key_len == 0) {
		world_fail(w, "%s has no key", of->name);
		return false;
	}
	world_record(w, FUZZ_SWITCH, FUZZ_CANCEL, &which, 1);
	w->record = NULL;
	e = world_connect(w, name, false);
	bytes_u32(&b, (uint32_t)(8 + of->key_len));
	bytes_u32(&b, 80877102);
	bytes_add(&b, of->key, of->key_len);
	world_send(e, b.p, b.n, &b.n, 1);
	w->record = record;
	bytes_free(&b);
	return true;
}

struct end *world_end_by_name(struct world *w, const char *name)
{
	struct end *e;

	TAILQ_FOREACH_REVERSE (e, &w->ends, end_list, all)
		if (strcmp(e->name, name) == 0)
			return e;
	return NULL;
}

void world_record(struct world *w, enum fuzz_op op, unsigned which, const char *p, size_t n)
{
	if (w->record == NULL)
		return;
	bytes_u8(w->record, op | (which & 31) << 3);
	if (op == FUZZ_CLIENT_SEND || op == FUZZ_SERVER_SEND) {
		n = n < 65535 ? n : 65535;
		bytes_u8(w->record, n & 0xff);
		bytes_u8(w->record, n >> 8);
	}
	bytes_add(w->record, p, n);
}

static void deliver(struct end *e, size_t n)
{
	e->tx_avail += n;
	world_settle(e->w);
}

void world_send(struct end *e, const char *p, size_t n, const size_t *bounds, size_t n_bounds)
{
	struct world *w = e->w;
	size_t cut = 0;

	world_record(w, e->kind == END_CLIENT ? FUZZ_CLIENT_SEND : FUZZ_SERVER_SEND, e->index, p, n);
	for (size_t i = 0; i < n_bounds; i++) {
		if (w->way.cut == (int)w->n_boundaries)
			cut = bounds[i] + (size_t)w->way.cut_off;
		if (w->n_boundaries == w->cap_boundaries) {
			w->cap_boundaries = w->cap_boundaries * 2 + 64;
			w->boundaries = realloc(w->boundaries, w->cap_boundaries * sizeof(*w->boundaries));
			if (w->boundaries == NULL)
				abort();
		}
		w->boundaries[w->n_boundaries++] = (struct boundary){bounds[i], n};
	}
	bytes_add(&e->tx, p, n);
	if (cut > 0 && cut < n) {
		deliver(e, cut);
		n -= cut;
	}
	deliver(e, n);
}

void world_eof(struct end *e)
{
	world_record(e->w, e->kind == END_CLIENT ? FUZZ_CLIENT_GONE : FUZZ_SERVER_GONE, e->index, NULL, 0);
	e->eof = true;
	world_settle(e->w);
}

void world_eof_unseen(struct end *e)
{
	e->unseen = true;
	world_eof(e);
}

void world_reset(struct end *e)
{
	world_record(e->w, e->kind == END_CLIENT ? FUZZ_CLIENT_GONE : FUZZ_SERVER_GONE, e->index, NULL, 0);
	e->reset = true;
	world_settle(e->w);
}

/* ---- what servers say by themselves ---- */

static uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void reply_parameter(struct end *e, const char *name, const char *value, struct bytes *out)
{
	bytes_u8(out, 'S');
	bytes_u32(out, (uint32_t)(4 + strlen(name) + 1 + strlen(value) + 1));
	bytes_str(out, name);
	bytes_str(out, value);
	(void)e;
}

void world_login_reply(struct end *e, bool auth, struct bytes *out)
{
	static const char *const usual[][2] = {{"server_version", "15.6"}, {"server_encoding", "UTF8"},
		{"client_encoding", "UTF8"}, {"DateStyle", "ISO, MDY"}, {"TimeZone", "UTC"},
		{"IntervalStyle", "postgres"}, {"standard_conforming_strings", "on"}, {"integer_datetimes", "on"},
		{"is_superuser", "off"}, {"in_hot_standby", "off"}, {"application_name", ""}};
	struct world *w = e->w;
	const char *p = w->params.p;
	size_t i;

	if (auth) {
		bytes_u8(out, 'R');
		bytes_u32(out, 8);
		bytes_u32(out, 0);
	}
	for (i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		const char *asked = pairs_get(&e->startup, usual[i][0]);

		if (pairs_get(&w->params, usual[i][0]) == NULL)
			reply_parameter(e, usual[i][0], asked != NULL ? asked : usual[i][1], out);
	}
	while (p != NULL && p < w->params.p + w->params.n) {
		const char *value = p + strlen(p) + 1;

		if (strcmp(value, "!") != 0)
			reply_parameter(e, p, value, out);
		p = value + strlen(value) + 1;
	}
	if (e->key_len == 0) {
		static const unsigned char key[8] = {0, 0, 0x10, 0, 0x5e, 0xc2, 0xe7, 0};

		memcpy(e->key, key, 8);
		e->key[3] = e->key[7] = (unsigned char)(e->index + 1);
		e->key[2] = (unsigned char)(0x10 + (e->index >> 8));
		e->key_len = 8;
	}
	bytes_u8(out, 'K');
	bytes_u32(out, (uint32_t)(4 + e->key_len));
	bytes_add(out, e->key, e->key_len);
	bytes_u8(out, 'Z');
	bytes_u32(out, 5);
	bytes_u8(out, 'I');
}

static void answer(struct end *e, const struct bytes *b)
{
	bytes_add(&e->tx, b->p, b->n);
	e->tx_avail = e->tx.n;
}

/* A connection of the pooler's: what is it, and is there a login to answer? True when something was done. */
static bool end_listen(struct end *e)
{
	enum { CANCEL = 80877102, SSL = 80877103 };
	struct world *w = e->w;
	struct bytes out = {0};
	uint32_t len, code;

	if (e->spoke || e->connecting || e->rx.n - e->rx_pos < 8)
		return false;
	len = get_u32(e->rx.p + e->rx_pos);
	code = get_u32(e->rx.p + e->rx_pos + 4);
	if (e->kind == END_UNKNOWN) {
		e->kind = code == CANCEL ? END_CANCEL : END_SERVER;
		if (code == CANCEL)
			snprintf(e->name, sizeof(e->name), "c%u", ++w->n_cancels);
		else
			snprintf(e->name, sizeof(e->name), "s%u", ++w->n_servers);
	}
	if (e->kind == END_CANCEL || w->manual) {
		e->spoke = true;
		return true;
	}
	if (e->rx.n - e->rx_pos < len)
		return false;
	e->rx_pos += len;
	if (code == SSL) {
		bytes_u8(&out, 'N');
	} else {
		bytes_add(&e->startup, e->rx.p + e->rx_pos - len + 8, len - 8);
		world_login_reply(e, true, &out);
		e->spoke = true;
	}
	answer(e, &out);
	bytes_free(&out);
	return true;
}

/* ---- turns ---- */

static void trace_read(struct end *e)
{
	struct bytes b = {0};

	if (e->w->trace && e->rx.n > 0) {
		bytes_print(&b, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos);
		fprintf(stderr, "    %s has %s%s\n", e->name, b.p, e->stream == NULL ? " and is closed" : "");
		bytes_free(&b);
	}
}

/* What a poller would report of this end. True when there was something. */
static bool end_turn(struct end *e)
{
	struct stream *s = e->stream;
	bool readable, writable, closed;

	if (s == NULL || (e->connecting && e->hangs))
		return false;
	if (e->connecting) {
		e->connecting = false;
		s->error = e->refused ? ECONNREFUSED : 0;
		e->cb(s, e->refused ? STREAM_FAILED : STREAM_CONNECTED, e->arg);
		return true;
	}
	e->full = false;
	closed = (e->eof || e->reset) && !e->unseen;
	readable = s->want_read && (end_available(e) > 0 || closed);
	writable = s->want_write && (!e->stalled || e->reset);
	closed = closed && !s->want_read && !s->hangup;
	if (!readable && !writable && !closed)
		return false;
	stream_dispatch(s, readable, writable, closed);
	return true;
}

static bool world_turn(struct world *w)
{
	struct pooler *p = &w->pooler;
	bool busy = false;
	struct end *e;

	TAILQ_FOREACH (e, &w->ends, all)
		if (end_turn(e))
			busy = true;
	pooler_turn(p);
	if (&world_above != NULL)
		world_above.turn(w);
	TAILQ_FOREACH (e, &w->ends, all)
		if (e->kind != END_CLIENT && (end_listen(e) || (e->connecting && !e->hangs)))
			busy = true;
	if (timers_next(&p->loop.timers) && timers_next(&p->loop.timers) <= clock_us())
		busy = true; /* what is to be done in the next turn */
	return busy || !TAILQ_EMPTY(&p->loop.ready) || !TAILQ_EMPTY(&p->resume) || !TAILQ_EMPTY(&p->flush) ||
	       !TAILQ_EMPTY(&p->closed) || !TAILQ_EMPTY(&p->registry.dirty);
}

void world_settle(struct world *w)
{
	unsigned spins = 0, turns = 0;
	uint64_t moved;
	bool busy;

	if (w->failed)
		return;
	do {
		moved = w->moved;
		busy = world_turn(w);
		spins = w->moved == moved ? spins + 1 : 0;
		if (spins > SPINS) {
			world_fail(w, "the pooler does not come to rest: turns that move nothing");
			return;
		}
	} while ((busy || w->moved != moved) && ++turns < MAX_TURNS);
}

void world_clock(struct world *w, int64_t us)
{
	int64_t tenths = us / 100000;
	unsigned which = 1;
	char c;

	while (tenths / (int64_t)(which * which) > 255 && which < 31)
		which++;
	c = (char)(tenths / (int64_t)(which * which) > 255 ? 255 : tenths / (int64_t)(which * which));
	world_record(w, FUZZ_CLOCK, which, &c, 1);
	clock_hold(clock_us() + us);
	world_settle(w);
}

/* ---- begin and end ---- */

static void capture(enum log_level level, const char *line, void *arg)
{
	struct world *w = arg;

	(void)level;
	bytes_add(&w->log, line, strlen(line));
	bytes_add(&w->log, "\n", 1);
	if (w->trace)
		fprintf(stderr, "    log: %s\n", line);
}

void world_begin(struct world *w, struct config *c, const struct way *way)
{
	struct errs errs = {0};

	*w = (struct world){.way = *way};
	TAILQ_INIT(&w->ends);
	clock_hold(START_US);
	log_capture(capture, w);
	for (int i = 0; i < MEM_TAGS; i++)
		w->before[i] = mem_usage_get((enum mem_tag)i);
	pooler_init(&w->pooler, c, false);
	if (!pooler_configure(&w->pooler, c, &errs))
		world_fail(w, "the configuration: %s", errs.n > 0 ? errs.v[0].text : "?");
	errs_free(&errs);
	for (int i = 0; i < MEM_TAGS; i++)
		w->idle[i] = mem_usage_get((enum mem_tag)i);
	resolver_set_source(w->pooler.resolver, look_up, w);
	w->pooler.connect_hook = hook_connect;
	w->pooler.connect_ctx = w;
	if (&world_above != NULL)
		world_above.begin(w);
}

void world_fail(struct world *w, const char *fmt, ...)
{
	char buf[16384];
	va_list ap;

	if (w->failed)
		return;
	w->failed = true;
	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	bytes_printf(&w->failure, "%s", "");
	bytes_add(&w->failure, buf, strlen(buf));
}

/* Clients go, then requests of ours land, then servers go. */
static void close_all(struct world *w, bool servers)
{
	struct end *e;

	TAILQ_FOREACH (e, &w->ends, all) {
		e->stalled = e->unseen = false;
		if (e->kind == END_CLIENT || servers)
			e->eof = true;
		else if (e->kind == END_CANCEL && !e->eof)
			e->eof = true;
		e->hangs = e->hangs && !servers;
		e->refused = e->refused || servers;
	}
	w->policy = CONNECT_REFUSE;
	w->policy_host[0] = '\0';
	world_settle(w);
}

bool world_end(struct world *w)
{
	w->record = NULL;
	w->way.read = w->way.write = 0;
	w->way.cut = -1;
	if (!w->failed) {
		close_all(w, false);
		close_all(w, true);
		close_all(w, true);
		world_check_accounts(w);
	}
	if (&world_above != NULL)
		world_above.end(w);
	pooler_free(&w->pooler);
	mem_block_trim();
	for (int i = 0; i < MEM_TAGS && !w->failed; i++) {
		struct mem_usage u = mem_usage_get((enum mem_tag)i);

		if (u.objects != w->before[i].objects)
			world_fail(w, "when the pooler is freed, %s holds %zu objects, %zu before", u.name, u.objects,
				w->before[i].objects);
	}
	log_capture(NULL, NULL);
	return !w->failed;
}

void world_free(struct world *w)
{
	while (!TAILQ_EMPTY(&w->ends)) {
		trace_read(TAILQ_FIRST(&w->ends));
		end_free(TAILQ_FIRST(&w->ends));
	}
	bytes_free(&w->params);
	bytes_free(&w->names);
	bytes_free(&w->failure);
	bytes_free(&w->log);
	free(w->boundaries);
	free(w->places);
}
