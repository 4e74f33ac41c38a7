/*
 * server_reply.c: what a server's messages mean once it is logged in: for its
 * client, for the ring of requests, for the transaction's status. Called by the
 * relay through server.c's ops.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "conn/link.h"
#include "conn/ownq.h"
#include "conn/refusal.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "conn/session.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/wire.h"

static __attribute__((cold)) enum verdict server_nonsense(struct server *s, const char *text)
{
	conn_close(&s->c, CLOSE_SERVER_PROTOCOL, text);
	return V_CLOSED;
}

/* A message of its place: on to the client, or to nobody. */
static enum verdict server_pass(struct server *s, const struct request *q)
{
	if (!s->c.peer || (q && (q->action == ACT_SWALLOW || q->action == ACT_FRONT)))
		return V_DROP;
	if (q && q->kind != REQ_PARSE)
		s->replied = true;
	if (s->replay != REPLAY_NONE)
		server_record_heard(s);
	return V_FORWARD;
}

/* name and value stay valid as long as the message is in memory; both NULL when it is malformed (the server is closed then). */
void server_set_var(struct server *s, const struct msg *m, const char **name, const char **value)
{
	struct msgr r = msgr_of(m);

	*name = msgr_cstr(&r);
	*value = msgr_cstr(&r);
	if (!msgr_end(&r)) {
		*name = *value = NULL;
		conn_close(&s->c, CLOSE_SERVER_PROTOCOL, "malformed ParameterStatus");
		return;
	}
	server_put_var(s, *name, *value);
}

static __attribute__((cold)) enum verdict server_on_var(struct server *s, const struct msg *m)
{
	struct conn *cl = s->c.peer;
	const struct request *front = ring_front(&s->ring);
	const char *name, *value;

	if (front && front->action == ACT_FRONT && front->kind == REQ_EXECUTE)
		return V_DROP; /* SETs around a Parse of ours: the second takes back the first */
	server_set_var(s, m, &name, &value);
	if (!name || conn_is_closed(&s->c))
		return V_CLOSED;
	if (!cl || server_pass(s, ring_front(&s->ring)) == V_DROP)
		return V_DROP;
	cl->ops->asks->told(cl, name, value);
	return V_FORWARD;
}

/* A message that belongs to a request under way: rows, copies, descriptions. */
static enum verdict server_on_part(struct server *s, bool query_only)
{
	struct request *q = ring_front(&s->ring);

	if (!q || (q->kind != REQ_QUERY && (query_only || q->kind != REQ_EXECUTE)))
		return server_nonsense(s, "a reply that no request asked for");
	return server_pass(s, q);
}

/* Rows and copy data: the request that they belong to stays in front. */
static enum verdict server_on_data(struct server *s)
{
	enum verdict v = server_on_part(s, false);

	return v == V_FORWARD ? V_ALIKE : v;
}

/* A message that ends a request of this kind of the extended protocol. */
static enum verdict server_on_end(struct server *s, enum request_kind kind)
{
	struct request *q = ring_front(&s->ring);
	enum verdict v;

	if (!q || q->kind != kind || q->action == ACT_REFUSE)
		return server_nonsense(s, "a reply that no request asked for");
	if (q->name && kind == REQ_PARSE && !q->made) /* its name now stands for another text */
		return server_nonsense(s, "a prepared statement was dropped without the pooler's knowledge");
	v = server_pass(s, q);
	if (kind == REQ_PARSE && v == V_FORWARD)
		server_record_trim(s);
	ring_pop(&s->ring);
	return v;
}

static enum verdict server_on_row_description(struct server *s)
{
	struct request *q = ring_front(&s->ring);

	return q && q->kind == REQ_DESCRIBE ? server_on_end(s, REQ_DESCRIBE) : server_on_part(s, false);
}

static enum verdict server_on_parameters(struct server *s)
{
	struct request *q = ring_front(&s->ring);

	if (!q || q->kind != REQ_DESCRIBE || q->action == ACT_REFUSE)
		return server_nonsense(s, "a ParameterDescription that no request asked for");
	return server_pass(s, q);
}

static enum verdict server_on_complete(struct server *s, const struct msg *m)
{
	struct request *q = ring_front(&s->ring);

	if (!q || (q->kind != REQ_QUERY && q->kind != REQ_EXECUTE))
		return server_nonsense(s, "a CommandComplete that no request asked for");
	if (m->type == MSG_COMMAND_COMPLETE) {
		server_note_tag(s, m->payload);
		if (q->edits) {
			server_sql_ran(s, q, m->payload);
			if (conn_is_closed(&s->c))
				return V_CLOSED;
			/* A client that was closed by it may have made the ring another one. */
			q = ring_front(&s->ring);
		}
		if (s->session && q->action == ACT_FORWARD)
			session_completed(s->session, m->payload);
		if (s->c.peer && q->action != ACT_SWALLOW)
			s->c.peer->ops->asks->completed(s->c.peer, m->payload);
		ring_copy_done(&s->ring);
	}
	return q->kind == REQ_EXECUTE ? server_on_end(s, REQ_EXECUTE) : server_pass(s, q);
}

/* Copy data is to come from the client: CopyInResponse, or CopyBothResponse where both sides send it (55.4). */
static __attribute__((cold)) enum verdict server_on_copy_in(struct server *s)
{
	enum verdict v = server_on_part(s, false);

	if (v != V_CLOSED)
		ring_copy_in(&s->ring);
	if (v == V_DROP && s->slot.own) { /* its client has left: the stream that begins here would have no end */
		server_release(s);
		return V_CLOSED;
	}
	/* Its client has left: nobody sends the data that it waits for, nor a Sync in place of one that the copy made void. */
	if (v == V_DROP && s->c.state == SS_DRAIN)
		server_end_batch(s);
	return v;
}

/* An error that speaks of a statement calls it what the client calls it. */
static enum verdict server_rename_error(struct server *s, const struct msg *m, const struct stmt_name *n,
	const char *code)
{
	if (n->stmt)
		msgw_error_renamed(relay_out(s->c.peer), m, n->stmt->name, n->name);
	else
		msgw_error_renamed(relay_out(s->c.peer), m, s->c.pooler->refused_name, "");
	if (!strcmp(code, "26000") && n->stmt)
		stmt_cache_remove(&s->prepared, n->stmt); /* somebody closed it behind our back */
	return V_DROP;
}

/* An error or notice about a text whose names are the server's speaks of the client's. */
static enum verdict server_on_edited(struct server *s, const struct msg *m, const struct request *q)
{
	server_sql_error(s, m, q->edits);
	return V_DROP;
}

/* How its last words are shown: "FATAL 57P01: terminating connection ...". */
static void server_words(const struct error_fields *f, char *buf, size_t size)
{
	snprintf(buf, size, "%s %s: %s", f->severity, f->code, f->message);
}

/*
 * A FATAL error is the last that it says. What that means for its client is for the client to say, if it stays. Of what the
 * client has done to the protocol it is told, and goes.
 */
static bool server_ends(struct server *s, const struct error_fields *f)
{
	struct conn *cl = s->c.peer;
	char text[400];

	if (!cl || !strcmp(f->code, "08P01") || !cl->ops->asks->keeps(cl))
		return false;
	server_words(f, text, sizeof(text));
	conn_close(&s->c, CLOSE_SERVER_SAID, text);
	return true;
}

static bool announces_end(const struct error_fields *f)
{
	return !strcmp(f->severity, "WARNING") && (!strcmp(f->code, "57P01") || !strcmp(f->code, "57P02"));
}

/* Any user can raise such a warning. It is of the server's end when nothing comes behind it, so that is waited for. */
static bool server_holds_notice(struct server *s, const struct msg *m, uint32_t *arg)
{
	struct conn *cl = s->c.peer;
	struct error_fields f;
	size_t n;

	if (!cl || m->len > ERROR_WHOLE)
		return false;
	wire_error_fields(m, &f);
	if (!announces_end(&f) || !cl->ops->asks->keeps(cl))
		return false;
	(void)relay_ahead(&s->c, &n);
	*arg = m->len + 1;
	return n <= (size_t)WIRE_HEADER + m->len;
}

bool server_announced(const struct server *s, char *buf, size_t size)
{
	const struct buf *in = &s->c.in;
	struct error_fields f;
	struct msg m;
	size_t need;

	if (s->c.state != SS_ACTIVE || s->c.left || !buf_len(in) ||
		wire_scan(WIRE_SERVER, buf_head(in), buf_len(in), &m, &need) != WIRE_OK ||
		m.type != MSG_NOTICE_RESPONSE || m.have < m.len)
		return false;
	wire_error_fields(&m, &f);
	server_words(&f, buf, size);
	return announces_end(&f);
}

static __attribute__((cold)) enum verdict server_on_notice(struct server *s, const struct msg *m, uint32_t *arg)
{
	const struct request *q = ring_front(&s->ring);
	enum verdict v;

	if (server_holds_notice(s, m, arg))
		return V_MORE;
	v = server_pass(s, q);
	if (v == V_DROP || !q || !q->edits || m->len > ERROR_WHOLE)
		return v;
	if (m->have < m->len) {
		*arg = m->len;
		return V_MORE;
	}
	return server_on_edited(s, m, q);
}

/*
 * What was put in front of a Query failed, within a batch that the client has open: the error is the Query's, and the server
 * skips the Query up to a Sync that nobody may send. So it gets one, whose ReadyForQuery is the Query's. What was sent behind
 * the Query has been skipped too, and is not to be had any more: then the client is closed.
 */
static void server_ends_query(struct server *s, bool last)
{
	if (!last) {
		conn_close(s->c.peer, CLOSE_SERVER_CRASHED, NULL);
		return;
	}
	msgw_sync(relay_out(&s->c));
	server_push(s, &(struct request){.kind = REQ_SYNC, .action = ACT_FORWARD});
}

static __attribute__((cold)) enum verdict server_on_error(struct server *s, const struct msg *m, uint32_t *arg)
{
	struct request *front = ring_front(&s->ring), q;
	enum verdict v = V_FORWARD;
	struct error_fields f;
	bool fatal, skips, last = false, by_query = s->ring.queries;

	if (front && (front->name || front->edits) && m->have < m->len && m->len <= ERROR_WHOLE) {
		*arg = m->len;
		return V_MORE;
	}
	if (server_heals(s, m))
		return V_DROP;
	wire_error_fields(m, &f);
	if (strlen(f.code) != 5)
		return server_nonsense(s, "an error without an SQLSTATE");
	if (s->slot.pool && topology_is_primary(s->endpoint) && server_refuses_writes(s, &f))
		topology_suspect(s->endpoint, "it takes no writes");
	if (s->replay != REPLAY_NONE)
		server_record_heard(s);
	fatal = !strcmp(f.severity, "FATAL") || !strcmp(f.severity, "PANIC");
	if (fatal && server_ends(s, &f))
		return V_CLOSED;
	if (!fatal && !ring_front(&s->ring))
		return server_nonsense(s, "an error that no request asked for");
	if (s->ring.in_copy)
		s->dirty = true; /* whether those Syncs are answered cannot be known, whatever completes after this */
	/* Before the client is told: it may close by that, and the ring is another one then. */
	skips = front && front->action == ACT_FRONT && !front->begins && ring_skips_query(&s->ring, &last);
	if (front && front->edits && s->c.peer && m->have == m->len)
		v = server_on_edited(s, m, front);
	else if (front && front->name && front->action != ACT_REFUSE && s->c.peer && m->have == m->len)
		v = server_rename_error(s, m, front->name, f.code);
	q = ring_error(&s->ring, server_stmt_undo, s);
	if (skips && !fatal && s->c.peer)
		server_ends_query(s, last);
	if (conn_is_closed(&s->c))
		return V_CLOSED;
	if (q.action != ACT_SWALLOW) {
		session_failed(s->session);
		s->errored = true;
	}
	s->mixed = false; /* the transaction that was open is not any more */
	/* Even a Query is skipped that came before any Sync, and nobody is left to send one. */
	if (s->c.state == SS_DRAIN && s->ring.skipping)
		server_end_batch(s);
	/* A walsender does not look for the statement: it takes nothing of the extended protocol. */
	if (q.action == ACT_REFUSE && s->c.peer && (!strcmp(f.code, "26000") || (s->slot.own && !fatal))) {
		refusal_write(relay_out(s->c.peer), (enum refusal)q.why);
		return V_DROP;
	}
	if (q.action == ACT_SWALLOW) {
		if (fatal || q.kind == REQ_QUERY)
			s->dirty = true; /* what we put in front did not work: nobody may rely on this connection */
		if (!strcmp(f.code, "57014") && (s->c.peer || s->drain_due_us))
			s->c.ops->serves->cancel(&s->c, NULL); /* it was meant for what comes behind */
		return V_DROP; /* the client was told nothing: of a FATAL one it gets the close's own words */
	}
	if (fatal)
		memcpy(s->fatal_code, f.code, sizeof(s->fatal_code));
	else if (q.begins && s->c.peer)
		server_begin_failed(s, by_query);
	return v == V_FORWARD && s->c.peer ? V_FORWARD : V_DROP;
}

/* ---- ReadyForQuery ----------------------------------------------------------- */

struct link_ready server_link_ready(const struct server *s)
{
	return (struct link_ready){
		.status = s->status,
		.more = !ring_is_idle(&s->ring),
		.pinned = s->pinned,
		.given = s->given,
		.now = s->vars,
		.at_login = s->at_login,
	};
}

/* A ReadyForQuery for the linked client. */
static enum verdict server_ready_for(struct server *s, struct conn *cl)
{
	struct link_ready r;
	enum verdict v;

	server_record_end(s);
	if (s->session && s->status == 'I')
		server_session_ready(s, !ring_is_idle(&s->ring));
	r = server_link_ready(s);
	v = cl->ops->asks->ready(cl, &r);

	if (s->slot.pool && s->slot.pool->mode == POOL_SESSION)
		s->reset_due = true; /* whatever the mode is when they part */
	if (v == V_CLOSED)
		return conn_is_closed(&s->c) ? V_CLOSED : V_DROP;
	if (s->status == 'I')
		server_note_vars(s);
	return v;
}

static enum verdict server_on_ready(struct server *s, const struct msg *m)
{
	struct request *front = ring_front(&s->ring), q = {.kind = REQ_SYNC};
	struct conn *cl = s->c.peer;
	char status = m->payload[0];

	if (status != 'I' && status != 'T' && status != 'E')
		return server_nonsense(s, "a ReadyForQuery with an unknown status");
	if (front && (front->kind == REQ_QUERY || front->kind == REQ_SYNC)) {
		q = *front;
		if (q.edits)
			server_sql_ended(s, front);
		ring_pop(&s->ring);
	} else if (!s->ring.in_copy) {
		return server_nonsense(s, "a ReadyForQuery that no request asked for");
	}
	s->status = status;
	if ((s->unsure || s->hidden) && !s->ring.altering) { /* before it each change of what is reported was told */
		s->unsure = false;
		s->hidden =
			s->hidden && (status != 'I' || session_must_read(s->session) || session_must_reset(s->session));
		if (cl && !s->hidden)
			cl->ops->asks->sure(cl, server_stmt_settings(&s->c));
	}
	if (s->portals && status == 'I' && ring_is_idle(&s->ring))
		stmt_map_clear(s->portals, UINT64_MAX);
	if (q.begins &&
		status != 'E') /* a transaction that was to be there and failed is not: nothing may run without it */
		return server_nonsense(s, "a BEGIN of the pooler's own failed");
	if (q.action == ACT_SWALLOW && s->c.state == SS_ACTIVE) {
		if (status == 'I') /* within a transaction what its client has set is still to be taken note of */
			server_note_vars(s);
		return V_DROP;
	}
	s->errored = false;
	if (cl)
		return server_ready_for(s, cl);
	if (s->c.state == SS_DRAIN && ring_is_idle(&s->ring))
		server_release(s);
	return conn_is_closed(&s->c) ? V_CLOSED : V_DROP;
}

void server_done(struct conn *c)
{
	struct server *s = conn_server(c);
	struct conn *cl = c->peer;

	if (s->session && server_session_settle(s))
		return;
	s->reset_due = s->reset_due || server_settings(s)->server_reset_query_always;
	server_session_known(s);
	cl->ops->asks->done(cl);
	server_release(s);
}

/* ---- dispatch ------------------------------------------------------------------ */

static enum verdict server_reply(struct server *s, const struct msg *m, uint32_t *arg)
{
	enum verdict v = s->replay == REPLAY_WHOLE ? server_replays(s, m, arg) : V_FORWARD;

	if (v != V_FORWARD)
		return v;
	switch (m->type) {
	case MSG_DATA_ROW:
	case MSG_COPY_DATA_B: return server_on_data(s);
	case MSG_COPY_DONE_B:
	case MSG_COPY_OUT: return server_on_part(s, false);
	case MSG_READY_FOR_QUERY: return server_on_ready(s, m);
	case MSG_COMMAND_COMPLETE:
	case MSG_EMPTY_QUERY: return server_on_complete(s, m);
	case MSG_PORTAL_SUSPENDED: return server_on_end(s, REQ_EXECUTE);
	case MSG_ROW_DESCRIPTION: return server_on_row_description(s);
	case MSG_PARSE_COMPLETE: return server_on_end(s, REQ_PARSE);
	case MSG_BIND_COMPLETE: return server_on_end(s, REQ_BIND);
	case MSG_CLOSE_COMPLETE: return server_on_end(s, REQ_CLOSE);
	case MSG_NO_DATA: return server_on_end(s, REQ_DESCRIBE);
	case MSG_PARAMETER_DESCRIPTION: return server_on_parameters(s);
	case MSG_FUNCTION_CALL_RESPONSE: return server_on_part(s, true);
	case MSG_COPY_BOTH:
		if (!s->slot.own)
			return server_nonsense(s, "a stream of replication that nobody can have asked for");
		__attribute__((fallthrough));
	case MSG_COPY_IN: return server_on_copy_in(s);
	case MSG_ERROR_RESPONSE: return server_on_error(s, m, arg);
	default: return server_nonsense(s, "a message that has no place after the login");
	}
}

/* While nobody uses it a server may only speak of its parameters, of notices, and of its end. */
static __attribute__((cold)) enum verdict server_idle_message(struct server *s, const struct msg *m)
{
	struct error_fields f;

	if (m->type != MSG_ERROR_RESPONSE)
		return server_nonsense(s, "a reply that no request asked for");
	wire_error_fields(m, &f);
	conn_close(&s->c, CLOSE_SERVER_SAID, f.message[0] ? f.message : NULL);
	return V_CLOSED;
}

enum verdict server_message(struct conn *c, const struct msg *m, uint32_t *arg)
{
	struct server *s = conn_server(c);

	if (c->state == SS_LOGIN)
		return server_login_message(s, m, arg);
	if (s->ring.answers)
		server_stmt_answer(s);
	switch (m->type) {
	case MSG_PARAMETER_STATUS: return server_on_var(s, m);
	case MSG_NOTIFICATION:
		/* It answers nothing: a session that listens is told whatever of our own is asked at the moment. */
		if (s->slot.pool && (slot_mode(&s->slot) == POOL_SESSION || s->pinned))
			return server_pass(s, NULL);
		__attribute__((fallthrough));
	case MSG_NOTICE_RESPONSE: return c->state == SS_ACTIVE ? server_on_notice(s, m, arg) : V_DROP;
	default: break;
	}
	switch ((enum server_state)c->state) {
	case SS_SETUP:
	case SS_TEST:
	case SS_PREPARE:
	case SS_CLEAN: return ownq_message(s, m, arg);
	case SS_IDLE: return server_idle_message(s, m);
	case SS_ACTIVE:
	case SS_DRAIN: return server_reply(s, m, arg);
	case SS_DIAL:
	case SS_LOGIN:
	case SS_CLOSED:
	case SS_COUNT: break;
	}
	return server_nonsense(s, "a message out of its time");
}
