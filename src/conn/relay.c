/*
 * relay.c: see conn/relay.h. The hot path of the program: one read, one scan,
 * one write. It asks the sides' handlers through conn_ops and knows nothing of
 * what a message means.
 */
#include "conn/relay.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "conn/conn.h"
#include "proto/wire.h"

enum { RELAY_SMALL = 8192, RELAY_CLOSE_RUN = 1024, RELAY_TURN = 65536 };

/*
 * The bytes that are being looked at, in the loop's scratch or in c->in:
 * [pos, scan) is the open run, to be forwarded in one piece; [scan, end) is still to be looked at.
 */
struct relay_scan {
	struct conn *src;
	const char *base;
	size_t pos, scan, end;
};

/* Writes dst->out and then the run; what the socket does not take stands in dst->out afterwards. */
static void relay_send(struct conn *dst, const char *run, size_t n)
{
	if (dst->mute) {
		buf_free(&dst->out);
		return;
	}
	while (!dst->blocked && !conn_is_closed(dst)) {
		uint32_t before = buf_len(&dst->out);
		struct iovec v[2] = {{before ? buf_head(&dst->out) : NULL, before}, {(char *)(uintptr_t)run, n}};
		ssize_t sent;

		if (!before && !n)
			return;
		sent = before ? stream_writev(&dst->stream, v, n ? 2 : 1) : stream_writev(&dst->stream, v + 1, 1);
		if (sent == STREAM_BROKEN || sent == STREAM_EOF) {
			conn_write_failed(dst);
			return;
		}
		if (sent < 0) {
			dst->blocked = true;
			break;
		}
		if (dst->stats)
			dst->stats->sent += (uint64_t)sent;
		if (before)
			buf_consume(&dst->out, (size_t)sent < before ? (size_t)sent : before);
		if ((size_t)sent > before) {
			run += (size_t)sent - before;
			n -= (size_t)sent - before;
		}
	}
	if (conn_is_closed(dst))
		return;
	buf_append(&dst->out, run, n);
	if (buf_failed(&dst->out)) {
		conn_close(dst, CLOSE_NO_MEMORY, NULL);
		return;
	}
	conn_interest(dst);
	if (dst->peer)
		conn_interest(dst->peer);
}

void relay_flush(struct conn *dst)
{
	bool too_much = buf_len(&dst->out) > CONN_HIGH;

	if (buf_failed(&dst->out)) {
		conn_close(dst, CLOSE_NO_MEMORY, NULL);
		return;
	}
	relay_send(dst, NULL, 0);
	if (conn_is_closed(dst) || dst->blocked)
		return;
	if (too_much) { /* who was not to be read meanwhile is read again */
		conn_interest(dst);
		if (dst->peer)
			conn_interest(dst->peer);
	}
	/* What had come already stopped while this was too much: no event tells that it may go on. */
	if (buf_len(&dst->in))
		relay_resume(dst);
	if (dst->peer && (buf_len(&dst->peer->in) || dst->peer->eof))
		relay_resume(dst->peer);
}

bool relay_is_scanned(const struct conn *c)
{
	return c->pooler->scan && c->pooler->scan->src == c;
}

const char *relay_ahead(const struct conn *c, size_t *n)
{
	const struct relay_scan *w = c->pooler->scan;

	assert(relay_is_scanned(c));
	*n = w->end - w->scan;
	return w->base + w->scan;
}

void relay_last_words(struct conn *dst)
{
	if (dst->mute)
		return;
	while (buf_len(&dst->out) && !buf_failed(&dst->out) && stream_is_open(&dst->stream)) {
		struct iovec v = {buf_head(&dst->out), buf_len(&dst->out)};
		ssize_t sent = stream_writev(&dst->stream, &v, 1);

		if (sent <= 0)
			return;
		buf_consume(&dst->out, (size_t)sent);
	}
}

/* One that is closing writes its last words itself. */
static void relay_flush_later(struct conn *dst)
{
	if (dst->flushing || conn_is_closed(dst))
		return;
	dst->flushing = true;
	TAILQ_INSERT_TAIL(&dst->pooler->flush, dst, flush);
}

/* The open run goes out by itself: a long one straight to the socket, a short one behind dst->out. */
static void relay_close_run(struct relay_scan *w)
{
	struct conn *dst = w->src->peer;
	size_t n = w->scan - w->pos;
	const char *run = w->base + w->pos;

	w->pos = w->scan;
	if (!n || !dst)
		return;
	if (n > RELAY_CLOSE_RUN && !conn_is_closed(dst)) {
		relay_send(dst, run, n);
	} else {
		buf_append(&dst->out, run, n);
		relay_flush_later(dst);
	}
}

struct buf *relay_out(struct conn *dst)
{
	struct pooler *p = dst->pooler;

	if (p->scan && p->scan->src->peer == dst)
		relay_close_run(p->scan);
	relay_flush_later(dst);
	return &dst->out;
}

void relay_end_run(struct conn *c)
{
	struct relay_scan *w = c->pooler->scan;
	struct conn *dst = w ? w->src->peer : NULL;

	if (!dst || (w->src != c && dst != c) || w->scan == w->pos || conn_is_closed(dst))
		return;
	buf_append(&dst->out, w->base + w->pos, w->scan - w->pos);
	w->pos = w->scan;
	relay_out(dst);
}

bool relay_at_boundary(const struct conn *dst)
{
	return !dst->torn && !(dst->peer && dst->peer->left && !dst->peer->skip);
}

bool relay_holds(const struct conn *c)
{
	const struct relay_scan *w = c->pooler->scan;

	return buf_len(&c->in) && !(w && w->src == c);
}

/* A message that has no place in the protocol: the words depend on who sent it. */
static __attribute__((cold)) enum verdict relay_bad(struct conn *c, enum wire_result r, const struct msg *m)
{
	char text[120];

	if (r == WIRE_BAD_TYPE)
		snprintf(text, sizeof(text), "invalid %s message type %d",
			c->side == SIDE_CLIENT ? "frontend" : "backend", m->type);
	else
		snprintf(text, sizeof(text), "invalid %s in message %s",
			r == WIRE_BAD_LENGTH ? "length" : "name or tag", wire_name((enum wire_side)c->side, m->type));
	return c->ops->malformed(c, m, r == WIRE_BAD_HEAD, text);
}

/* size bytes of the window belong to the message that was just judged; what is not there yet is left to come. */
static void relay_take(struct relay_scan *w, size_t size, bool skip)
{
	size_t here = w->end - w->scan;

	if (size > here) {
		w->src->left = (uint32_t)(size - here);
		w->src->skip = skip;
		size = here;
	}
	w->scan += size;
	if (skip)
		w->pos = w->scan;
}

/* Rows and copy data come in thousands: those that follow one that was judged need no judge of their own. */
static void relay_take_alike(struct relay_scan *w, uint8_t type)
{
	while (!w->src->left && w->end - w->scan >= WIRE_HEADER && (uint8_t)w->base[w->scan] == type) {
		uint32_t len;

		memcpy(&len, w->base + w->scan + 1, sizeof(len));
		len = be32toh(len);
		if (len < 6 || len > WIRE_MAX_CLIENT || w->end - w->scan <= len)
			return; /* at the edge of what may be, or not whole: wire_scan() says */
		relay_take(w, (size_t)len + 1, false);
	}
}

/* The rest of a message whose head was judged in an earlier read. */
static void relay_rest(struct relay_scan *w)
{
	struct conn *c = w->src;
	size_t n = w->end - w->scan < c->left ? w->end - w->scan : c->left;

	w->scan += n;
	c->left -= (uint32_t)n;
	if (c->skip)
		w->pos = w->scan;
}

/* Judges the message at w->scan. false: the scan ends here. */
static bool relay_message(struct relay_scan *w)
{
	struct conn *c = w->src;
	struct msg m;
	size_t need = 0, size;
	uint32_t arg = 0;
	const char *p = w->base + w->scan;
	enum wire_result r = WIRE_OK;

	if (!wire_is_whole((enum wire_side)c->side, p, w->end - w->scan, &m)) {
		r = wire_scan((enum wire_side)c->side, p, w->end - w->scan, &m, &need);
		if (r == WIRE_MORE) {
			c->need = (uint32_t)need;
			return false;
		}
	}
	size = (size_t)WIRE_HEADER + m.len;
	switch (r == WIRE_OK ? c->ops->message(c, &m, &arg) : relay_bad(c, r, &m)) {
	case V_FORWARD: relay_take(w, size, !c->peer); return true;
	case V_ALIKE:
		relay_take(w, size, !c->peer);
		if (c->peer)
			relay_take_alike(w, m.type);
		return true;
	case V_LAST:
		relay_take(w, size, !c->peer);
		assert(!c->left);
		if (c->peer)
			relay_send(c->peer, w->base + w->pos, w->scan - w->pos);
		w->pos = w->scan;
		if (c->peer)
			c->ops->done(c);
		return true;
	case V_DROP:
		relay_close_run(w);
		relay_take(w, size, true);
		return true;
	case V_HEAD:
		assert(arg <= m.have && w->pos == w->scan);
		w->scan += WIRE_HEADER + arg;
		w->pos = w->scan;
		relay_take(w, size - WIRE_HEADER - arg, !c->peer);
		return true;
	case V_MORE:
		assert((size_t)WIRE_HEADER + arg > w->end - w->scan);
		c->need = WIRE_HEADER + arg;
		return false;
	case V_STOP:
	case V_CLOSED: return false;
	}
	return false;
}

/* Bytes that have no message form yet. false: the scan ends here. */
static bool relay_raw(struct relay_scan *w)
{
	size_t need = 0, n = w->src->ops->raw(w->src, w->base + w->scan, w->end - w->scan, &need);

	w->scan += n;
	w->pos = w->scan;
	if (!n)
		w->src->need = (uint32_t)need;
	return n > 0;
}

/* Works through the window; what was not consumed begins at w->pos afterwards. */
static void relay_run(struct relay_scan *w)
{
	struct conn *c = w->src;
	struct pooler *p = c->pooler;
	struct relay_scan *outer = p->scan;

	p->scan = w;
	c->need = 0;
	while (w->scan < w->end && !conn_is_closed(c)) {
		if (c->left)
			relay_rest(w);
		else if (!conn_wants_work(c))
			break;
		else if (c->reads == READS_BYTES ? !relay_raw(w) : !relay_message(w))
			break;
	}
	if (c->ops->scanned && !conn_is_closed(c))
		c->ops->scanned(c);
	if (c->peer && w->scan > w->pos)
		relay_send(c->peer, w->base + w->pos, w->scan - w->pos);
	w->pos = w->scan;
	p->scan = outer;
}

void relay_work(struct conn *c)
{
	struct relay_scan w = {.src = c, .base = c->in.data, .pos = c->in.pos, .scan = c->in.pos, .end = c->in.end};
	uint32_t before = buf_len(&c->in);

	if (conn_is_closed(c))
		return;
	if (buf_len(&c->in) && buf_len(&c->in) >= c->need) {
		relay_run(&w);
		if (!conn_is_closed(c))
			buf_consume(&c->in, w.pos - c->in.pos);
	}
	if (conn_is_closed(c))
		return;
	if (c->eof && conn_wants_work(c)) {
		/* All that could be done with its last bytes is done, unless there was no room for more until just now. */
		if (buf_len(&c->in) < before && buf_len(&c->in) && buf_len(&c->in) >= c->need)
			relay_resume(c);
		else
			c->ops->gone(c, false);
		return;
	}
	conn_interest(c);
}

void relay_resume(struct conn *c)
{
	if (c->resuming || conn_is_closed(c))
		return;
	c->resuming = true;
	TAILQ_INSERT_TAIL(&c->pooler->resume, c, todo);
}

void relay_unread(struct conn *c, struct buf *first)
{
	struct buf after = c->in;

	assert(!relay_is_scanned(c) && !c->left);
	c->in = *first;
	*first = (struct buf){0};
	if (buf_len(&after))
		buf_append(&c->in, buf_head(&after), buf_len(&after));
	buf_free(&after);
	c->need = 0;
	if (buf_failed(&c->in))
		conn_close(c, CLOSE_NO_MEMORY, NULL);
	relay_resume(c);
}

/* Into c->in, for a message that is to be held whole and does not fit the scratch. */
static ssize_t relay_read_held(struct conn *c)
{
	uint32_t held = buf_len(&c->in);
	size_t want = c->need > held + 4096 ? c->need - held : 4096;
	char *room = buf_reserve(&c->in, want);
	ssize_t n;

	if (!room) {
		conn_close(c, CLOSE_NO_MEMORY, NULL);
		return STREAM_AGAIN;
	}
	n = stream_read(&c->stream, room, want);
	if (n > 0) {
		c->in.end += (uint32_t)n;
		relay_work(c);
	}
	return n;
}

/* Into the loop's scratch, behind the few bytes that were left of the last read. */
static ssize_t relay_read_scratch(struct conn *c, size_t *room)
{
	struct pooler *p = c->pooler;
	char *scratch = p->loop.scratch;
	uint32_t held = buf_len(&c->in);
	int64_t cap = p->registry.config->set.pkt_buf;
	struct relay_scan w = {.src = c, .base = scratch};
	ssize_t n;

	*room = LOOP_SCRATCH - held;
	if (cap < 4096 && (size_t)cap < *room)
		*room = (size_t)cap;
	n = stream_read(&c->stream, scratch + held, *room);
	if (n <= 0)
		return n;
	if (held) {
		memcpy(scratch, buf_head(&c->in), held);
		buf_consume(&c->in, held);
	}
	w.end = held + (size_t)n;
	if (w.end < c->need)
		buf_append(&c->in, scratch, w.end);
	else {
		relay_run(&w);
		if (w.pos < w.end && !conn_is_closed(c))
			buf_append(&c->in, scratch + w.pos, w.end - w.pos);
	}
	if (!conn_is_closed(c) && buf_failed(&c->in))
		conn_close(c, CLOSE_NO_MEMORY, NULL);
	return n;
}

void relay_read(struct conn *c)
{
	int64_t reads = c->pooler->registry.config->set.sbuf_loopcnt;
	size_t total = 0, room;
	ssize_t n;

	while (conn_wants_read(c)) {
		if (buf_len(&c->in) > RELAY_SMALL || c->need > LOOP_SCRATCH) {
			room = 0;
			n = relay_read_held(c);
		} else {
			n = relay_read_scratch(c, &room);
		}
		if (n == STREAM_AGAIN || conn_is_closed(c))
			return;
		if (n < 0 && buf_len(&c->in) && c->resuming) { /* what was read before has its turn first */
			c->eof = true;
			conn_interest(c);
			return;
		}
		if (n < 0) {
			c->ops->gone(c, n == STREAM_BROKEN);
			return;
		}
		total += (size_t)n;
		if (c->stats)
			c->stats->received += (uint64_t)n;
		if ((size_t)n < room)
			return; /* the socket is empty: the next event will tell */
		if (total >= RELAY_TURN || --reads == 0) {
			stream_again(&c->stream);
			return;
		}
	}
	conn_interest(c);
}
