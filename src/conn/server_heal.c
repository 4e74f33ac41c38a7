/*
 * server_heal.c: "cached plan must not change result type" (0A000) is nothing
 * that a client can have caused: others prepared the statement that it shares,
 * before a table was altered. As long as the client has heard nothing of its
 * batch, and is told in it what the result is, its name gets a new statement and
 * the batch is run again. Its messages are kept for that, as they came, until
 * they are answered.
 */
#include <assert.h>
#include <string.h>

#include "conn/conn.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "proto/msgw.h"
#include "proto/wire.h"

enum { RECORD_MAX = 65536 };

void server_record_end(struct server *s)
{
	if (s->recording || s->batch.data)
		buf_free(&s->batch);
	s->recording = s->healed = false;
}

/* Outside of a block only, and not what is sent before an earlier batch is answered: that would come before it. */
void server_record(struct conn *c, const struct msg *m)
{
	struct server *s = conn_server(c);

	if (ring_is_idle(&s->ring)) {
		buf_free(&s->batch);
		s->recording = s->status == 'I';
		s->replied = false;
	}
	if (!s->recording)
		return;
	if (m->type == MSG_COPY_DATA || m->type == MSG_COPY_DONE || m->type == MSG_COPY_FAIL || s->ring.syncs ||
		s->ring.queries || m->have < m->len || buf_len(&s->batch) + m->len > RECORD_MAX)
		server_record_end(s);
	else
		buf_append(&s->batch, m->payload - WIRE_HEADER, (size_t)WIRE_HEADER + m->len);
}

void server_unrecord(struct conn *c, const struct msg *m)
{
	struct server *s = conn_server(c);
	uint32_t n = WIRE_HEADER + m->len;

	if (!s->recording || buf_failed(&s->batch))
		return;
	assert(buf_len(&s->batch) >= n);
	s->batch.end -= n;
	if (!buf_len(&s->batch))
		buf_free(&s->batch);
}

/* A Flush has no answer: it goes with what it stood behind. */
void server_record_trim(struct server *s)
{
	struct msg m;
	size_t need;

	while (s->recording && wire_scan(WIRE_CLIENT, buf_head(&s->batch), buf_len(&s->batch), &m, &need) == WIRE_OK) {
		buf_consume(&s->batch, (size_t)WIRE_HEADER + m.len);
		if (m.type != MSG_FLUSH)
			return;
	}
}

/* Is the client told anew what the result is? Else it may count on what it was told before. */
static bool server_batch_describes(const struct server *s)
{
	const char *p = buf_head(&s->batch);
	size_t n = buf_len(&s->batch), need;
	struct msg m;

	while (n && wire_scan(WIRE_CLIENT, p, n, &m, &need) == WIRE_OK) {
		if (m.type == MSG_DESCRIBE)
			return true;
		p += WIRE_HEADER + m.len;
		n -= WIRE_HEADER + m.len;
	}
	return false;
}

static bool server_may_heal(const struct server *s, const struct request *front)
{
	const struct conn *cl = s->c.peer;

	return s->recording && !s->replied && !s->healed && !s->ring.queries && cl && !cl->left &&
	       !relay_is_scanned(cl) && !buf_failed(&s->batch) && !front->name->stmt->edits &&
	       server_batch_describes(s);
}

/* Is it the error of a statement whose result has changed? */
static bool server_says_stale(const struct request *front, const struct msg *m)
{
	struct error_fields f;

	if (!front || !front->name || !front->name->stmt)
		return false;
	wire_error_fields(m, &f);
	if (front->action == ACT_REFUSE)
		return front->why == REFUSE_STALE && !strcmp(f.code, "26000");
	return !strcmp(f.code, "0A000") && !strcmp(f.routine, "RevalidateCachedQuery") && !f.context[0];
}

bool server_heals(struct server *s, const struct msg *m)
{
	struct request *front = ring_front(&s->ring), *sync;
	struct stmt_name *n;

	if (!server_says_stale(front, m))
		return false;
	stmt_retire(front->name->stmt);
	if (!server_may_heal(s, front))
		return false;
	n = stmt_name_ref(front->name);
	ring_error(&s->ring, server_stmt_undo, s);
	(void)server_stmt_renew(&s->c, n); /* with no memory for it the error comes again, and is the client's */
	stmt_name_unref(&n);
	sync = ring_front(&s->ring);
	if (sync) {
		sync->action = ACT_SWALLOW;
	} else {
		msgw_sync(relay_out(&s->c));
		server_push(s, (struct request){.kind = REQ_SYNC, .action = ACT_SWALLOW});
	}
	s->recording = false;
	s->healed = true;
	relay_unread(s->c.peer, &s->batch);
	return true;
}
