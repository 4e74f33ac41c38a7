/*
 * server_release.c: a server that its client has left: what is under way ends or is
 * cancelled, what the next one must not see goes, then it is back in its pool; and
 * the test of one that has been there for long.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "conn/cancel.h"
#include "conn/link.h"
#include "conn/ownq.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "proto/msgw.h"
#include "proto/wire.h"

bool server_is_clean(const struct server *s)
{
	const struct conn *c = &s->c;

	return s->status == 'I' && ring_is_idle(&s->ring) && !s->ring.in_copy && !s->dirty && !s->fatal_code[0] &&
	       !c->left && !relay_holds(c) && !buf_len(&c->out) && !c->eof && !c->torn;
}

/* With what the server said about it. */
static void close_failed(struct server *s, enum close_why why, const struct ownq_result *r)
{
	char text[300];

	snprintf(text, sizeof(text), "%s: %s", close_rows[why].text, r->text);
	conn_close(&s->c, why, !r->ok && r->text[0] ? text : NULL);
}

/* What the next user must not see goes first: an open transaction, session state. Then back to the pool. */
static void cleaned(struct server *s, const struct ownq_result *r, void *arg)
{
	(void)arg;
	if (!r->ok) {
		close_failed(s, CLOSE_SERVER_RESET, r);
		return;
	}
	server_release(s);
}

static void was_reset(struct server *s, const struct ownq_result *r, void *arg)
{
	if (r->ok && s->unclean)
		server_forget_unreported(s);
	s->unclean = s->unclean && !r->ok;
	cleaned(s, r, arg);
}

static void clean(struct server *s, const char *sql, ownq_done *done)
{
	struct ownq_call q = {.sql = sql,
		.done = done,
		.timeout_us = server_settings(s)->server_connect_timeout,
		.late = CLOSE_SERVER_RESET};

	if (s->c.state != SS_CLEAN)
		server_goto(s, SS_CLEAN);
	ownq_start(s, &q);
}

void server_release(struct server *s)
{
	const struct settings *set = server_settings(s);

	assert(!s->c.peer && !s->ownq);
	server_stmt_parted(s);
	server_record_end(s);
	s->hidden = false;
	if (s->cancels && !s->dirty) { /* a cancel that is still on its way must not hit the next user */
		s->drain_due_us = 0;
		if (s->c.state != SS_DRAIN)
			server_goto(s, SS_DRAIN);
		return;
	}
	if ((s->status == 'T' || s->status == 'E') && ring_is_idle(&s->ring) && !s->dirty) {
		clean(s, "ROLLBACK", cleaned);
		return;
	}
	if (!server_is_clean(s)) {
		conn_close(&s->c,
			s->fatal_code[0] ? CLOSE_SERVER_SAID
			: s->slot.own	 ? CLOSE_SERVER_OWN
					 : CLOSE_SERVER_DIRTY,
			NULL);
		return;
	}
	if (s->mixed) {
		/* PostgreSQL 18 answers the next extended request with XX000; any Query mends it (seen on 18.4). */
		s->mixed = false;
		clean(s, "", cleaned);
		return;
	}
	if (s->reset_due) {
		s->reset_due = false;
		if (set->server_reset_query[0]) {
			clean(s, set->server_reset_query, was_reset);
			return;
		}
	}
	if (s->unclean) {
		conn_close(&s->c, CLOSE_SERVER_DIRTY,
			"its session's state is unknown, and server_reset_query is empty");
		return;
	}
	server_goto(s, SS_IDLE);
	pool_slot_idle(&s->slot);
}

static void tested(struct server *s, const struct ownq_result *r, void *arg)
{
	(void)arg;
	if (!r->ok || r->status != 'I') {
		close_failed(s, CLOSE_SERVER_CHECK, r);
		return;
	}
	server_goto(s, SS_IDLE);
	pool_slot_idle(&s->slot);
}

void server_test(struct server *s)
{
	const struct settings *set = server_settings(s);
	const char *sql = set->server_check_query;
	struct ownq_call q = {.done = tested, .timeout_us = set->server_connect_timeout, .late = CLOSE_SERVER_CHECK};

	q.sql = strcmp(sql, "<empty>") ? sql : "";
	server_goto(s, SS_TEST);
	ownq_start(s, &q);
}

/* Would a cancel hit something that may commit? Of a torn message the server never gets the rest: it is not run. */
static bool may_commit(const struct server *s)
{
	struct ring whole = s->ring;

	if (s->c.torn && whole.n)
		whole.n--;
	return ring_may_commit(&whole);
}

void server_end_batch(struct server *s)
{
	if (s->ring.copying) {
		struct buf *out = relay_out(&s->c);
		uint32_t mark = msgw_begin(out, MSG_COPY_FAIL);

		msgw_cstr(out, "the client has left");
		msgw_end(out, mark);
		server_push(s, &(struct request){.kind = REQ_COPY_END});
	}
	if (s->ring.open || s->ring.skipping) {
		/* A Sync alone would commit what PostgreSQL rolls back when a client leaves without one. */
		if (s->ring.open && !s->ring.skipping) {
			msgw_describe(relay_out(&s->c), 'S', s->c.pooler->refused_name);
			server_push(s, &(struct request){.kind = REQ_DESCRIBE, .action = ACT_SWALLOW});
		}
		msgw_sync(relay_out(&s->c));
		server_push(s, &(struct request){.kind = REQ_SYNC, .action = ACT_SWALLOW});
	}
}

/* What is cancelled is not run again. */
void server_cancel(struct conn *c, struct conn *by)
{
	struct server *s = conn_server(c);
	struct cancel_target t = {
		.endpoint = s->endpoint,
		.addr = &c->remote,
		.direct = server_negotiates_directly(s),
		.secure = stream_is_tls(&c->stream),
		.key = s->key,
		.key_len = s->key_len,
	};

	if (s->replay != REPLAY_NONE)
		server_record_heard(s);
	if (!s->key_len) { /* it told none in its login: it cannot be cancelled */
		if (by)
			conn_close(by, CLOSE_CANCEL_DONE, NULL);
		return;
	}
	s->cancels++;
	cancel_send(c->pooler, &t, c, by);
}

void server_left(struct conn *c, bool cancel)
{
	struct server *s = conn_server(c);
	bool session = s->slot.pool->mode == POOL_SESSION;
	const struct settings *set = server_settings(s);

	assert(!s->c.peer);
	/* What may commit, or only waits for more of its batch, is not to be cancelled. */
	cancel = cancel && s->ring.n && !may_commit(s);
	s->reset_due = s->reset_due || session || set->server_reset_query_always;
	s->settles = false;
	if (s->session)
		server_session_left(s);
	if (s->c.state == SS_PREPARE) {
		server_goto(s, SS_CLEAN); /* the query of our own ends first */
		return;
	}
	if (s->slot.own &&
		(s->login || s->ring.copying)) { /* nothing that anybody waits for, or a stream without an end */
		server_release(s);
		return;
	}
	if (c->torn) {
		if (cancel)
			server_cancel(c, NULL);
		conn_close(&s->c, CLOSE_SERVER_DIRTY, NULL);
		return;
	}
	server_end_batch(s);
	if (ring_is_idle(&s->ring)) {
		server_release(s);
		return;
	}
	s->drain_due_us = cancel && set->server_connect_timeout ? clock_us() + set->server_connect_timeout : 0;
	server_goto(s, SS_DRAIN);
	if (cancel)
		server_cancel(c, NULL);
}

void server_cancelled(struct conn *c, bool lost)
{
	struct server *s = conn_server(c);

	assert(s->cancels);
	s->cancels--;
	s->dirty = s->dirty || lost; /* it may still strike: whoever has the connection now has it to the end */
	if (c->state == SS_DRAIN && ring_is_idle(&s->ring))
		server_release(s);
	else if (s->settles && !s->cancels)
		server_done(c);
}
