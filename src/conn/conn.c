/*
 * conn.c: see conn/conn.h. It knows neither clients nor servers: what differs
 * goes through conn_ops.
 */
#include "conn/conn.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conn/relay.h"
#include "pool/stats.h"

const struct close_row close_rows[CLOSE_COUNT] = {
	[CLOSE_NONE] = {"NONE", NULL, "", "", NULL},
#define CLOSE(name, severity, code, text, hint) [CLOSE_##name] = {#name, severity, code, text, hint},
#include "tbl/close_why.h"
#undef CLOSE
};

const char *conn_prefix(const struct conn *c, char *buf, size_t size)
{
	const char *db = "(nodb)", *user = "(nouser)";
	char text[ADDR_TEXT];

	c->ops->names(c, &db, &user);
	snprintf(buf, size, "%c-%p: %s/%s@%s ", "CSX"[c->side], (const void *)c, db, user, addr_text(&c->remote, text));
	return buf;
}

void conn_log(const struct conn *c, enum log_level level, const char *fmt, ...)
{
	char prefix[400];
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	log_vmsg(level, conn_prefix(c, prefix, sizeof(prefix)), fmt, ap);
	va_end(ap);
}

struct addr conn_local(const struct conn *c)
{
	struct addr a = {.family = AF_UNSPEC};

	if (c->remote.family == AF_UNIX)
		a = (struct addr){.family = AF_UNIX, .port = c->remote.port};
	else
		stream_local(&c->stream, &a);
	return a;
}

/* An entry of the heap is a promise to look no later than the truth: one that comes too early looks again. */
static void conn_timer(struct timer *t, void *ctx)
{
	struct conn *c = container_of(t, struct conn, timer);
	int64_t due;

	(void)ctx;
	if (conn_is_closed(c))
		return;
	due = c->ops->due(c);
	if (due && due <= clock_us()) {
		c->ops->deadline(c);
		if (conn_is_closed(c))
			return;
		due = c->ops->due(c);
	}
	timer_no_later(&c->pooler->loop.timers, t, due);
}

static struct conn_list *conn_list_of(struct conn *c)
{
	struct pooler *p = c->pooler;

	return c->side == SIDE_CLIENT ? &p->clients : c->side == SIDE_SERVER ? &p->servers : &p->cancels;
}

static unsigned *conn_count_of(struct conn *c)
{
	struct pooler *p = c->pooler;

	return c->side == SIDE_CLIENT ? &p->n_clients : c->side == SIDE_SERVER ? &p->n_servers : &p->n_cancels;
}

void conn_init(struct conn *c, struct pooler *p, enum conn_side side, const struct conn_ops *ops)
{
	/* The top 8 bits are the number of the worker process. */
	c->id = ++p->last_id;
	c->pooler = p;
	c->side = (uint8_t)side;
	c->ops = ops;
	c->timer.fire = conn_timer;
	c->connected_us = clock_us();
	c->fresh = true;
	TAILQ_INSERT_TAIL(conn_list_of(c), c, all);
	++*conn_count_of(c);
}

void conn_settle(struct conn *c)
{
	c->reads = (uint8_t)c->ops->reads(c);
	conn_interest(c);
	timer_no_later(&c->pooler->loop.timers, &c->timer, c->ops->due(c));
}

void conn_link(struct conn *a, struct conn *b)
{
	assert(!a->peer && !b->peer);
	a->peer = b;
	b->peer = a;
}

/* A message of src that dst has the head of will never be whole; what is still to come of it is dropped. */
static void conn_cut(struct conn *src, struct conn *dst)
{
	if (!src->left || src->skip)
		return;
	src->skip = true;
	dst->torn = true;
}

void conn_unlink(struct conn *c)
{
	struct conn *peer = c->peer;

	if (!peer)
		return;
	relay_end_run(c);
	conn_cut(c, peer);
	conn_cut(peer, c);
	c->peer = NULL;
	peer->peer = NULL;
	c->holds = peer->holds = HOLDS_NOTHING;
	/* What one of them has read may have waited for room at the other one. */
	if (buf_len(&c->in) || c->eof)
		relay_resume(c);
	if (buf_len(&peer->in) || peer->eof)
		relay_resume(peer);
}

/* What was still to be written is, or never will be: it says its last word once more. */
static void conn_written(struct conn *c)
{
	if (c->holds == HOLDS_FOR_ANSWERS)
		c->holds = HOLDS_NOTHING;
}

/* There is room again: what waited for it goes on. */
static void conn_writable(struct conn *c)
{
	c->blocked = false;
	relay_flush(c);
	if (conn_is_closed(c) || c->blocked)
		return;
	conn_written(c);
	conn_interest(c);
	relay_resume(c);
	if (c->peer)
		relay_resume(c->peer);
}

/*
 * The peer has closed while nothing of it is read. What it said last is fetched, as far as it is not too much: its last
 * word may be a Terminate, which is to be taken in its order.
 */
static bool conn_hung_up(struct conn *c)
{
	ssize_t n = 1;

	while (n > 0 && buf_len(&c->in) <= CONN_HIGH) {
		char *room = buf_reserve(&c->in, 4096);

		if (!room) {
			conn_close(c, CLOSE_NO_MEMORY, NULL);
			return true;
		}
		n = stream_read(&c->stream, room, 4096);
		if (n > 0)
			c->in.end += (uint32_t)n;
	}
	if (!buf_len(&c->in))
		buf_free(&c->in);
	if (n == STREAM_EOF || n == STREAM_BROKEN) {
		c->eof = true;
		c->ops->hangup(c);
	}
	return n != STREAM_AGAIN;
}

/*
 * What a server said last is still to be read, and whoever writes to it, its client's message in hand, cannot do with its end
 * just now: that comes when the connection's turn has come.
 */
static void conn_server_unwritable(struct conn *c)
{
	c->mute = true;
	c->blocked = false;
	buf_free(&c->out);
	if (!c->eof)
		(void)conn_hung_up(c);
	c->eof = true;
	relay_resume(c);
}

/*
 * A client that says goodbye and closes without reading its answers makes writes fail, while what it said last is still to be
 * read: its requests up to the Terminate are run all the same, for nobody to hear of.
 */
void conn_write_failed(struct conn *c)
{
	if (c->side == SIDE_SERVER && c->peer && c->reads == READS_MESSAGES && !relay_is_scanned(c)) {
		conn_server_unwritable(c);
		return;
	}
	if (c->side != SIDE_CLIENT || relay_is_scanned(c)) {
		c->ops->gone(c, true);
		return;
	}
	c->mute = true;
	c->blocked = false;
	conn_written(c);
	buf_free(&c->out);
	if (!c->eof && !conn_hung_up(c))
		c->ops->gone(c, true);
	relay_resume(c); /* more than was fetched may be there: this much goes first */
}

void conn_event(struct stream *s, enum stream_event what, void *arg)
{
	struct conn *c = arg;

	(void)s;
	if (conn_is_closed(c))
		return;
	switch (what) {
	case STREAM_READABLE:
		if (c->fresh && c->ops->fresh && !c->ops->fresh(c))
			return;
		c->fresh = false;
		relay_read(c);
		return;
	case STREAM_WRITABLE: conn_writable(c); return;
	case STREAM_HANGUP: (void)conn_hung_up(c); return;
	case STREAM_CONNECTED:
	case STREAM_SECURED:
	case STREAM_FAILED: c->ops->event(c, what); return;
	}
}

/* What is still unread when a socket is closed makes the kernel send a reset, which can overtake our last words. */
static void conn_discard_input(struct conn *c)
{
	struct pooler *p = c->pooler;

	if (p->scan)
		return; /* the scratch is in use */
	for (int i = 0; i < 4 && stream_is_open(&c->stream); i++)
		if (stream_read(&c->stream, p->loop.scratch, LOOP_SCRATCH) <= 0)
			return;
}

void conn_close(struct conn *c, enum close_why why, const char *detail)
{
	const struct close_row *row = &close_rows[why];
	struct pooler *p = c->pooler;
	const char *text = detail ? detail : row->text;
	char kept[512];

	assert(why != CLOSE_NONE);
	if (conn_is_closed(c))
		return;
	if (detail) { /* it may lead into something that goes with the connection */
		snprintf(kept, sizeof(kept), "%s", detail);
		text = kept;
	}
	c->why = (uint8_t)why;
	p->closed_by[why]++;
	c->ops->closing(c, text);
	if (row->severity)
		conn_discard_input(c);
	assert(!c->peer);
	timer_cancel(&p->loop.timers, &c->timer);
	if (c->resuming)
		TAILQ_REMOVE(&p->resume, c, todo);
	if (c->flushing)
		TAILQ_REMOVE(&p->flush, c, flush);
	c->resuming = c->flushing = false;
	stream_close(&c->stream);
	TAILQ_REMOVE(conn_list_of(c), c, all);
	--*conn_count_of(c);
	TAILQ_INSERT_TAIL(&p->closed, c, todo);
}
