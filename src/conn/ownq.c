/*
 * ownq.c: see conn/ownq.h. It answers what a server says to our own query; the
 * server unit calls it in the states that run one.
 */
#include "conn/ownq.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conn/relay.h"
#include "conn/server.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/wire.h"

enum { OWNQ_ROW_MAX = 16 * 1024 * 1024, OWNQ_COLUMNS = 64 };

struct ownq {
	ownq_row *row;
	ownq_done *done;
	void *arg;
	int64_t due_us;
	enum close_why late;
	bool failed;
	char code[6];
	char text[256];
};

static void ownq_send_simple(struct server *s, const char *sql)
{
	msgw_query(relay_out(&s->c), sql);
	server_push(s, &(struct request){.kind = REQ_QUERY, .action = ACT_SWALLOW, .unnamed = true});
}

static void ownq_send(struct server *s, const struct ownq_call *q)
{
	struct buf *out = relay_out(&s->c);

	if (q->before)
		ownq_send_simple(s, q->before);
	if (!q->sql) {
		msgw_sync(out);
		server_push(s, &(struct request){.kind = REQ_SYNC, .action = ACT_SWALLOW});
		return;
	}
	if (!q->params) {
		ownq_send_simple(s, q->sql);
		return;
	}
	msgw_parse(out, "", q->sql);
	msgw_bind_text(out, "", "", q->params, q->n_params);
	msgw_execute(out, "");
	msgw_sync(out);
	for (int kind = REQ_PARSE; kind <= REQ_SYNC; kind++)
		if (kind != REQ_DESCRIBE && kind != REQ_CLOSE)
			server_push(s,
				&(struct request){
					.kind = (uint8_t)kind, .action = ACT_SWALLOW, .unnamed = kind == REQ_PARSE});
}

void ownq_start(struct server *s, const struct ownq_call *q)
{
	struct ownq *o = xcalloc(MEM_SERVER, 1, sizeof(*o));

	assert(!s->ownq && ring_is_idle(&s->ring));
	o->row = q->row;
	o->done = q->done;
	o->arg = q->arg;
	o->late = q->late;
	o->due_us = q->timeout_us ? clock_us() + q->timeout_us : 0;
	s->ownq = o;
	ownq_send(s, q);
	conn_settle(&s->c);
}

/* The first error counts. */
static void ownq_fail(struct ownq *o, const char *code, const char *text)
{
	if (o->failed)
		return;
	o->failed = true;
	snprintf(o->code, sizeof(o->code), "%s", code);
	snprintf(o->text, sizeof(o->text), "%s", text);
}

static enum verdict ownq_on_row(struct server *s, const struct msg *m, uint32_t *arg)
{
	const char *values[OWNQ_COLUMNS];
	char *copy, *at;
	struct msgr r;
	unsigned n;

	if (!s->ownq->row)
		return V_DROP;
	if (m->len > OWNQ_ROW_MAX) { /* what it says is not known then */
		ownq_fail(s->ownq, "54000", "a row is too long");
		return V_DROP;
	}
	if (m->have < m->len) {
		*arg = m->len;
		return V_MORE;
	}
	r = msgr_of(m);
	n = msgr_u16(&r);
	if (n > OWNQ_COLUMNS) {
		ownq_fail(s->ownq, "54000", "a row has too many columns");
		return V_DROP;
	}
	at = copy = xmalloc(MEM_SERVER, m->len + n + 1);
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = msgr_u32(&r);
		const char *v = len == UINT32_MAX ? NULL : msgr_bytes(&r, len);

		values[i] = v ? at : NULL;
		if (v) {
			memcpy(at, v, len);
			at += len;
			*at++ = '\0';
		}
	}
	if (msgr_end(&r))
		s->ownq->row(s, values, n, s->ownq->arg);
	else
		ownq_fail(s->ownq, "08P01", "a row that cannot be read");
	xfree(MEM_SERVER, copy);
	return V_DROP;
}

static void ownq_on_error(struct server *s, const struct msg *m)
{
	struct error_fields f;
	struct ownq *o = s->ownq;

	wire_error_fields(m, &f);
	ring_error(&s->ring, server_stmt_undo, s);
	ownq_fail(o, f.code, f.message);
}

/* The query is over. Its struct goes before the callback, which may begin another. */
static enum verdict ownq_on_ready(struct server *s, const struct msg *m)
{
	struct ownq *o = s->ownq;
	struct request *front = ring_front(&s->ring);
	struct ownq_result r;

	if (!front || (front->kind != REQ_QUERY && front->kind != REQ_SYNC)) {
		conn_close(&s->c, CLOSE_SERVER_PROTOCOL, "unexpected ReadyForQuery");
		return V_CLOSED;
	}
	ring_pop(&s->ring);
	s->status = m->payload[0];
	if (ring_front(&s->ring))
		return V_DROP; /* that was the one in front */
	r = (struct ownq_result){.ok = !o->failed, .status = s->status, .text = o->text};
	memcpy(r.code, o->code, sizeof(r.code));
	s->ownq = NULL;
	o->done(s, &r, o->arg);
	xfree(MEM_SERVER, o);
	return conn_is_closed(&s->c) ? V_CLOSED : V_DROP;
}

enum verdict ownq_message(struct server *s, const struct msg *m, uint32_t *arg)
{
	struct request *front = ring_front(&s->ring);

	switch (m->type) {
	case MSG_READY_FOR_QUERY: return ownq_on_ready(s, m);
	case MSG_ERROR_RESPONSE: ownq_on_error(s, m); return V_DROP;
	case MSG_DATA_ROW: return ownq_on_row(s, m, arg);
	case MSG_PARSE_COMPLETE:
	case MSG_BIND_COMPLETE:
		if (front && front->kind != REQ_QUERY && front->kind != REQ_SYNC)
			ring_pop(&s->ring);
		return V_DROP;
	case MSG_COMMAND_COMPLETE: server_note_tag(s, m->payload); __attribute__((fallthrough));
	case MSG_EMPTY_QUERY:
		if (front && front->kind == REQ_EXECUTE)
			ring_pop(&s->ring);
		return V_DROP;
	case MSG_ROW_DESCRIPTION:
	case MSG_NO_DATA: return V_DROP;
	default:
		/* COPY and whatever else no query of ours asks for. */
		conn_close(&s->c, CLOSE_SERVER_PROTOCOL, "unexpected reply to a query of the pooler's own");
		return V_CLOSED;
	}
}

void ownq_free(struct server *s)
{
	xfree(MEM_SERVER, s->ownq);
	s->ownq = NULL;
}

int64_t ownq_due(const struct server *s)
{
	return s->ownq ? s->ownq->due_us : 0;
}

enum close_why ownq_late(const struct server *s)
{
	return s->ownq->late;
}
