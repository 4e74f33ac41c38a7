/*
 * server.c: see conn/server.h. States, connecting, the end. What the server says
 * during its login stands in server_login.c, its client's parameters in
 * server_params.c, what it replies to requests in server_reply.c, how it gets from
 * one client to the next in server_release.c.
 */
#include "conn/server.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conn/cancel.h"
#include "conn/link.h"
#include "conn/ownq.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "pool/topology.h"
#include "pool/endpoint.h"
#include "pool/vars.h"
#include "proto/msgw.h"

#define TO(name) (UINT32_C(1) << SS_##name)
const char *const server_state_text[SS_COUNT] = {
#define SERVER_STATE(name, text, reads, next) [SS_##name] = text,
#include "tbl/server_states.h"
#undef SERVER_STATE
};
const uint32_t server_state_next[SS_COUNT] = {
#define SERVER_STATE(name, text, reads, next) [SS_##name] = next,
#include "tbl/server_states.h"
#undef SERVER_STATE
};
static const uint8_t server_state_reads[SS_COUNT] = {
#define SERVER_STATE(name, text, reads, next) [SS_##name] = READS_##reads,
#include "tbl/server_states.h"
#undef SERVER_STATE
};

static const char *server_state_name(enum server_state state)
{
	static const char *const names[SS_COUNT] = {
#define SERVER_STATE(name, text, reads, next) [SS_##name] = #name,
#include "tbl/server_states.h"
#undef SERVER_STATE
	};

	return names[state];
}

const struct settings *server_settings(const struct server *s)
{
	return &s->c.pooler->registry.config->set;
}

/* What changed so far is no change of the client's that comes next. */
void server_note_vars(struct server *s)
{
	if (s->given == s->vars)
		return;
	vars_unref(&s->given);
	s->given = vars_ref(s->vars);
}

/* Between requests and in them: what is read stays as it is, and there is no deadline. */
static bool server_stays_settled(const struct server *s, enum server_state to)
{
	uint8_t from = s->c.state;

	return (from == SS_IDLE || from == SS_ACTIVE) && (to == SS_IDLE || to == SS_ACTIVE);
}

void server_goto(struct server *s, enum server_state to)
{
	bool settled = server_stays_settled(s, to);

	assert(to == SS_CLOSED || (server_state_next[s->c.state] & (UINT32_C(1) << to)));
	if (log_wants(LL_NOISE))
		conn_log(&s->c, LL_NOISE, "%s -> %s", server_state_name((enum server_state)s->c.state),
			server_state_name(to));
	s->c.state = (uint8_t)to;
	if (settled)
		conn_stays_interested(&s->c);
	else if (to != SS_CLOSED)
		conn_settle(&s->c);
}

void server_push(struct server *s, const struct request *q)
{
	if (q->kind == REQ_QUERY && s->ring.open && s->status == 'I' && !s->ring.begins)
		s->mixed = true;
	if (q->unnamed || q->stmt || q->name)
		server_stmt_sent(s, q);
	else if (q->kind == REQ_SYNC && q->action == ACT_FORWARD && s->c.peer)
		s->c.peer->batch++;
	if (s->ring.begins && (q->kind == REQ_QUERY || q->kind == REQ_SYNC))
		s->begin_taken = true;
	ring_push(&s->ring, q);
}

static int64_t server_patience(const struct server *s)
{
	return s->solo ? s->solo->timeout_us : server_settings(s)->server_connect_timeout;
}

int64_t server_login_due(const struct server *s)
{
	return server_patience(s) ? s->c.connected_us + server_patience(s) : 0;
}

static int64_t server_dial_due(const struct server *s)
{
	int64_t all = server_login_due(s), address = dial_due(&s->login->dial);

	return address && (!all || address < all) ? address : all;
}

/* The deadline, a pure function of the state: the login's end, or that of a query of our own, or of a cancelled one. */
static int64_t server_due(const struct conn *c)
{
	const struct server *s = (const struct server *)(const void *)c;

	switch ((enum server_state)c->state) {
	case SS_DIAL: return server_dial_due(s);
	case SS_LOGIN:
	case SS_SETUP: return server_login_due(s);
	case SS_TEST:
	case SS_PREPARE:
	case SS_CLEAN: return ownq_due(s);
	case SS_DRAIN: return s->drain_due_us;
	case SS_IDLE:
	case SS_ACTIVE:
	case SS_CLOSED:
	case SS_COUNT: return 0;
	}
	return 0;
}

static void server_deadline(struct conn *c)
{
	struct server *s = conn_server(c);
	char text[120];

	if (c->state == SS_DIAL && server_dial_due(s) != server_login_due(s)) {
		dial_late(&s->login->dial);
	} else if (c->state == SS_DIAL || c->state == SS_LOGIN || c->state == SS_SETUP) {
		server_login_failed(s, "", "connect timeout (server_connect_timeout)", true);
		if (!conn_is_closed(c))
			conn_close(c, CLOSE_SERVER_CONNECT_TIMEOUT, NULL);
	} else if (c->state == SS_DRAIN) {
		conn_close(c, CLOSE_SERVER_DIRTY, "did not answer a cancel request of a client that left");
	} else {
		snprintf(text, sizeof(text), "%s: no answer in time (server_connect_timeout)",
			close_rows[ownq_late(s)].text);
		conn_close(c, ownq_late(s), text);
	}
}

static enum conn_reads server_reads(const struct conn *c)
{
	const struct server *s = (const struct server *)(const void *)c;

	if (c->state == SS_DIAL && dial_reads(&s->login->dial))
		return READS_BYTES;
	return (enum conn_reads)server_state_reads[c->state];
}

static size_t server_raw(struct conn *c, const char *p, size_t n, size_t *need)
{
	return dial_raw(&conn_server(c)->login->dial, p, n, need);
}

static void server_event(struct conn *c, enum stream_event what)
{
	if (c->state == SS_DIAL)
		dial_event(&conn_server(c)->login->dial, what);
}

/* The connection is at its end. While it logs in another host may do. */
static void server_gone(struct conn *c, bool broken)
{
	struct server *s = conn_server(c);
	char buf[200], said[400];
	const char *text = broken ? stream_error(&c->stream, buf, sizeof(buf)) : "server closed the connection";

	if (c->state == SS_ACTIVE && s->replay != REPLAY_NONE && !relay_is_scanned(c)) {
		server_record_heard(s); /* an error of its that was held back is what it has said last */
		c->need = 0;
		relay_work(c);
		if (conn_is_closed(c))
			return;
	}
	if (c->state == SS_DIAL) {
		dial_event(&s->login->dial, STREAM_HANGUP);
	} else if (c->state == SS_LOGIN || c->state == SS_SETUP) {
		server_login_failed(s, "", text, true);
		if (s->slot.owner)
			topology_suspect(s->endpoint, text);
	} else if (c->state == SS_IDLE) {
		conn_close(c, CLOSE_SERVER_SAID, text);
	} else if (s->fatal_code[0]) {
		snprintf(said, sizeof(said), "%s, SQLSTATE %s", close_rows[CLOSE_SERVER_SAID].text, s->fatal_code);
		conn_close(c, CLOSE_SERVER_SAID, said);
	} else if (server_announced(s, said, sizeof(said))) {
		conn_close(c, CLOSE_SERVER_SAID, said);
	} else {
		conn_close(c, CLOSE_SERVER_CRASHED, NULL);
	}
}

/* Its client does not take what it says at the moment: c->eof keeps the end until it does. */
static void server_hangup(struct conn *c)
{
	relay_resume(c);
}

static void server_solo_ended(struct server *s, const char *text)
{
	struct solo *solo = s->solo;

	if (!solo)
		return;
	s->solo = NULL;
	solo->server = NULL;
	if (solo->closed)
		solo->closed(s, solo, text);
}

/* The end of a connection may be that of its server. */
static void server_suspect(struct server *s, const char *text)
{
	bool gone = s->c.why == CLOSE_SERVER_CRASHED || s->c.why == CLOSE_SERVER_SAID ||
		    s->c.why == CLOSE_SERVER_CONNECT || s->c.why == CLOSE_SERVER_CHECK ||
		    s->c.why == CLOSE_SERVER_CONNECT_TIMEOUT;

	if (gone && !s->ours && s->endpoint && s->slot.owner)
		topology_suspect(s->endpoint, text);
}

static void server_closing(struct conn *c, const char *text)
{
	struct server *s = conn_server(c);
	struct conn *cl = c->peer;
	const struct settings *set = server_settings(s);
	long age = (long)((clock_us() - c->connected_us) / USEC);
	struct link_lost lost = {
		.why = (enum close_why)c->why,
		.text = text,
		.ring = &s->ring,
		.given = s->given,
		.at_login = s->at_login,
		.told = c->why == CLOSE_SERVER_SAID && (s->login || s->fatal_code[0]),
		.errored = s->errored,
		.unread = session_is_unread(s->session),
	};

	if (set->log_disconnections)
		conn_log(c, s->solo ? LL_DEBUG : LL_LOG, "closing because: %s (age=%ld s)", text, age);
	if (c->state != SS_DIAL && stream_is_open(&c->stream) && c->why != CLOSE_SERVER_SAID && relay_at_boundary(c)) {
		msgw_terminate(&c->out);
		relay_last_words(c);
	}
	if (s->login && !s->login->told && c->why == CLOSE_SERVER_PROTOCOL) {
		/* Its messages could not even be read: no less a failed login, of which the pool must know. */
		endpoint_failed(s->endpoint);
		if (!s->slot.own && s->slot.pool)
			pool_login_failed(s->slot.pool, "", text);
	}
	server_login_free(s);
	if (s->ownq)
		ownq_free(s);
	server_session_left(s);
	cancel_forget(c);
	if (cl)
		ring_fail(&s->ring, server_stmt_undo, s);
	conn_unlink(c);
	server_goto(s, SS_CLOSED);
	pool_slot_remove(&s->slot);
	server_solo_ended(s, text);
	server_suspect(s, text);
	if (cl)
		cl->ops->asks->lost(cl, &lost);
}

static void server_conn_reap(struct conn *c)
{
	struct server *s = conn_server(c);

	buf_free(&c->in);
	buf_free(&c->out);
	ring_free(&s->ring);
	vars_unref(&s->at_login);
	vars_unref(&s->vars);
	vars_unref(&s->given);
	vars_unref(&s->wanted);
	server_stmt_free(s);
	buf_free(&s->batch);
	endpoint_put(&c->pooler->registry.endpoints, &s->endpoint);
	mem_wipe(s->key, sizeof(s->key));
	xfree(MEM_SERVER, s);
}

static void server_names(const struct conn *c, const char **db, const char **user)
{
	const struct server *s = (const struct server *)(const void *)c;

	if (s->solo) {
		*db = s->solo->dbname;
		*user = s->solo->user;
	} else if (s->slot.pool) {
		*db = s->slot.pool->db->name;
		*user = s->slot.pool->user->name;
	}
}

static const struct conn_ops server_ops;

static struct server *server_new(struct pooler *pooler)
{
	struct vars_table *vars = pooler->registry.vars;
	struct server *s = xcalloc(MEM_SERVER, 1, sizeof(*s));

	conn_init(&s->c, pooler, SIDE_SERVER, &server_ops);
	s->c.fresh = false;
	s->at_login = vars_empty(vars);
	s->vars = vars_empty(vars);
	s->given = vars_empty(vars);
	stmt_cache_init(&s->prepared);
	s->c.state = SS_DIAL;
	return s;
}

struct server *server_make(struct pool *p, bool reserve, struct conn *own)
{
	struct server *s = server_new(p->db->registry->ctx);

	pool_slot_add(p, &s->slot, NULL, reserve);
	s->slot.owner = &s->c;
	if (own) {
		pool_slot_own(&s->slot);
		s->dirty = true;
		s->c.replication = own->replication;
		conn_link(own, &s->c);
	}
	return s;
}

struct server *server_launch(struct pool *p, bool reserve, struct conn *own)
{
	struct server *s = server_make(p, reserve, own);

	server_login_begin(s);
	return s;
}

struct server *server_make_solo(struct pooler *p, struct solo *solo)
{
	struct server *s = server_new(p);

	s->solo = solo;
	solo->server = s;
	solo->code[0] = '\0';
	return s;
}

struct server *server_launch_solo(struct pooler *p, struct solo *solo)
{
	struct server *s = server_make_solo(p, solo);

	server_login_begin(s);
	return s;
}

static void server_expect(struct conn *c, const struct request *q)
{
	struct server *s = conn_server(c);

	if (q->alters)
		s->unsure = true;
	server_push(s, q);
	if (s->ring.answers)
		server_stmt_answer(s);
}

static void server_flushed(struct conn *c)
{
	conn_server(c)->ring.unflushed = 0;
}

/* While the server reads copy data nothing comes but by more of them. */
static bool server_owes(struct conn *c, bool all)
{
	struct server *s = conn_server(c);

	if (!s->ring.n || (s->ring.copying && !c->left))
		return false;
	if (!s->ring.syncs && !s->ring.queries) {
		if (!all)
			ring_hush(&s->ring);
		server_end_batch(s);
	}
	c->peer->holds = HOLDS_FOR_ANSWERS;
	return true;
}

static void server_refuse(struct conn *c, enum refusal why, bool simple)
{
	struct server *s = conn_server(c);

	msgw_describe(relay_out(c), 'S', c->pooler->refused_name);
	server_push(s, &(struct request){.kind = REQ_DESCRIBE, .action = ACT_REFUSE, .why = (uint8_t)why});
	if (!simple)
		return;
	msgw_sync(relay_out(c)); /* in place of the end of its Query */
	server_push(s, &(struct request){.kind = REQ_SYNC});
}

static void server_refuse_stale(struct conn *c, struct stmt_name *n)
{
	msgw_describe(relay_out(c), 'S', c->pooler->refused_name);
	server_push(conn_server(c),
		&(struct request){
			.kind = REQ_DESCRIBE, .action = ACT_REFUSE, .why = REFUSE_STALE, .name = stmt_name_ref(n)});
}

static bool server_is_busy(const struct conn *c)
{
	return !ring_is_idle(&((const struct server *)(const void *)c)->ring);
}

static const struct link_server_ops server_link_ops = {
	.prepare = server_params_prepare,
	.expect = server_expect,
	.begin = server_begin,
	.record = server_record,
	.unrecord = server_unrecord,
	.takes = server_takes,
	.flushed = server_flushed,
	.owes = server_owes,
	.settings = server_stmt_settings,
	.sure = server_stmt_sure,
	.has = server_stmt_has,
	.put = server_stmt_put,
	.take = server_stmt_take,
	.put_now = server_stmt_put_now,
	.take_now = server_stmt_take_now,
	.make_room_now = server_stmt_make_room_now,
	.put_unnamed = server_stmt_put_unnamed,
	.may_answer = server_stmt_may_answer,
	.must_wait = server_stmt_must_wait,
	.make_room = server_stmt_make_room,
	.note = server_session_note,
	.hides = server_session_hides,
	.pin = server_session_pin,
	.unpin = server_session_unpin,
	.bind = server_sql_bind,
	.bound = server_sql_bound,
	.refuse = server_refuse,
	.renew = server_stmt_renew,
	.refuse_stale = server_refuse_stale,
	.is_busy = server_is_busy,
	.cancel = server_cancel,
	.left = server_left,
	.cancelled = server_cancelled,
};

static enum verdict server_malformed(struct conn *c, const struct msg *m, bool framed, const char *text)
{
	(void)m;
	(void)framed;
	conn_close(c, CLOSE_SERVER_PROTOCOL, text);
	return V_CLOSED;
}

/* What waited for answers may go on. */
static void server_scanned(struct conn *c)
{
	struct server *s = conn_server(c);

	if (s->ring.answers)
		server_stmt_answer(s);
	server_stmt_go_on(s);
}

static const struct conn_ops server_ops = {
	.serves = &server_link_ops,
	.message = server_message,
	.malformed = server_malformed,
	.raw = server_raw,
	.done = server_done,
	.scanned = server_scanned,
	.gone = server_gone,
	.event = server_event,
	.due = server_due,
	.deadline = server_deadline,
	.reads = server_reads,
	.hangup = server_hangup,
	.closing = server_closing,
	.reap = server_conn_reap,
	.names = server_names,
};
