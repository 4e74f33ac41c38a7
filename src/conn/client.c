/*
 * client.c: see conn/client.h. States, the end, refusals, cancel. What it has to do
 * with its pool and its server stands in client_link.c.
 */
#include "conn/client.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conn/cancel.h"
#include "conn/client_priv.h"
#include "conn/console_ops.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/wire.h"

#define TO(name) (UINT32_C(1) << CS_##name)
const char *const client_state_text[CS_COUNT] = {
#define CLIENT_STATE(name, text, reads, next) [CS_##name] = text,
#include "tbl/client_states.h"
#undef CLIENT_STATE
};
const uint32_t client_state_next[CS_COUNT] = {
#define CLIENT_STATE(name, text, reads, next) [CS_##name] = next,
#include "tbl/client_states.h"
#undef CLIENT_STATE
};
static const uint8_t client_state_reads[CS_COUNT] = {
#define CLIENT_STATE(name, text, reads, next) [CS_##name] = READS_##reads,
#include "tbl/client_states.h"
#undef CLIENT_STATE
};
static const char *const client_state_names[CS_COUNT] = {
#define CLIENT_STATE(name, text, reads, next) [CS_##name] = #name,
#include "tbl/client_states.h"
#undef CLIENT_STATE
};

/* Between requests and in them, with no time limit: what is read and when it is looked at stay as they are. */
static bool client_stays_settled(const struct client *cl, enum client_state to)
{
	const struct client_limits *l = &cl->limits;
	uint8_t from = cl->c.state;

	return (from == CS_IDLE || from == CS_ACTIVE) && (to == CS_IDLE || to == CS_ACTIVE) &&
	       !(l->idle_ms | l->xact_idle_ms | l->xact_ms | l->query_ms);
}

void client_goto(struct client *cl, enum client_state to)
{
	bool settled = client_stays_settled(cl, to);

	assert(to == CS_CLOSED || (client_state_next[cl->c.state] & (UINT32_C(1) << to)));
	if (log_wants(LL_NOISE))
		conn_log(&cl->c, LL_NOISE, "%s -> %s", client_state_names[cl->c.state], client_state_names[to]);
	cl->c.state = (uint8_t)to;
	if (settled)
		conn_stays_interested(&cl->c);
	else if (to != CS_CLOSED)
		conn_settle(&cl->c);
}

/* ---- what the relay asks -------------------------------------------------------- */

static enum conn_reads client_reads(const struct conn *c)
{
	return (enum conn_reads)client_state_reads[c->state];
}

/* Are there answers that it has not had? */
static bool client_is_owed(struct client *cl, bool all)
{
	struct conn *c = &cl->c, *s = c->peer;

	if (s && s->ops->serves->owes(s, all))
		return true;
	if (buf_len(&c->out) && !c->mute)
		relay_flush(c);
	if (c->blocked && !conn_is_closed(c))
		c->holds = HOLDS_FOR_ANSWERS;
	return c->blocked;
}

enum verdict client_end(struct client *cl, enum close_why why, const char *text)
{
	if (client_is_owed(cl, why != CLOSE_TERMINATE))
		return V_STOP;
	conn_close(&cl->c, why, text);
	return V_CLOSED;
}

static enum verdict client_malformed(struct conn *c, const struct msg *m, bool framed, const char *text)
{
	struct client *cl = conn_client(c);

	if (framed && (c->state == CS_IDLE || c->state == CS_ACTIVE))
		return client_query_malformed(cl, m);
	return client_end(cl, CLOSE_PROTOCOL, text);
}

static enum verdict client_message(struct conn *c, const struct msg *m, uint32_t *arg)
{
	struct client *cl = conn_client(c);
	struct pooler *p = c->pooler;

	if (m->type == MSG_TERMINATE)
		return client_end(cl, CLOSE_TERMINATE, NULL);
	if (c->state == CS_CONSOLE)
		return p->console->message(cl, m, arg, p->console_ctx);
	if (c->state == CS_AUTH)
		return client_auth_message(cl, m);
	return client_query_message(cl, m, arg);
}

static void client_gone(struct conn *c, bool broken)
{
	struct client *cl = conn_client(c);

	if (c->state == CS_STARTUP && !cl->login && !buf_len(&c->in))
		conn_close(c, CLOSE_PROBE, NULL);
	else if (broken)
		conn_close(c, CLOSE_CLIENT_BROKEN, NULL);
	else
		conn_close(c, CLOSE_CLIENT_GONE, NULL);
}

/* Is the last whole message of what it sent a Terminate? Then its requests before that are to be run. */
static bool client_said_goodbye(const struct client *cl)
{
	const struct conn *c = &cl->c;
	size_t at = c->left, n = buf_len(&c->in), need;
	struct msg m;

	while (at + WIRE_HEADER <= n) {
		enum wire_result r = wire_scan(WIRE_CLIENT, buf_head(&c->in) + at, n - at, &m, &need);

		if (r != WIRE_OK && r != WIRE_BAD_HEAD)
			return false;
		if (m.type == MSG_TERMINATE)
			return true;
		at += (size_t)WIRE_HEADER + m.len;
	}
	return false;
}

/* It waits for its welcome, and has asked for nothing that would be run after it. */
static bool client_wants_nothing(const struct client *cl)
{
	const struct buf *in = &cl->c.in;

	return cl->c.state == CS_GREETING && (!buf_len(in) || *buf_head(in) == MSG_TERMINATE);
}

/*
 * Has what it asks for waited for a host, and is not sent yet? When it is gone that is not done later, by a host that was not
 * there for it.
 */
static bool client_is_held(const struct client *cl)
{
	bool unsent = cl->c.state == CS_WAITING || cl->c.state == CS_PREPARING || cl->c.state == CS_GREETING;

	return unsent && cl->ask.since_us && (cl->db->held || cl->ask.since_us < cl->db->held_us);
}

/* An event may be on its way that tells of its end. */
bool client_gave_up(const struct client *cl)
{
	return client_is_held(cl) && (cl->c.eof || stream_has_left(&cl->c.stream));
}

static void client_hangup(struct conn *c)
{
	struct client *cl = conn_client(c);

	if (client_is_held(cl) || client_wants_nothing(cl) || !client_said_goodbye(cl))
		conn_close(c, CLOSE_CLIENT_GONE, NULL);
	else
		relay_resume(c);
}

void client_held(struct client *cl)
{
	if (cl->c.eof && client_is_held(cl))
		conn_close(&cl->c, CLOSE_CLIENT_GONE, NULL);
	else if (cl->c.state == CS_WAITING || cl->c.state == CS_GREETING)
		conn_settle(&cl->c);
}

static void client_event(struct conn *c, enum stream_event what)
{
	char why[200], text[240];

	if (what == STREAM_SECURED) {
		client_goto(conn_client(c), CS_STARTUP);
	} else if (what == STREAM_FAILED) {
		snprintf(text, sizeof(text), "%s: %s", close_rows[CLOSE_TLS_FAILED].text,
			stream_error(&c->stream, why, sizeof(why)));
		conn_close(c, CLOSE_TLS_FAILED, text);
	}
}

static void client_names(const struct conn *c, const char **db, const char **user)
{
	const struct client *cl = (const struct client *)(const void *)c;

	*db = client_database_name(cl);
	*user = client_user_name(cl);
}

const char *client_user_name(const struct client *cl)
{
	return cl->user ? cl->user->name : cl->login ? client_login_user(cl) : "(nouser)";
}

const char *client_database_name(const struct client *cl)
{
	if (cl->console)
		return "pgbouncer";
	return cl->db ? cl->db->name : cl->login ? client_login_database(cl) : "(nodb)";
}

const char *client_application_name(const struct client *cl)
{
	const char *name = cl->own ? vars_get(cl->own, "application_name") : NULL;

	return name ? name : "";
}

/* ---- the end ---------------------------------------------------------------------- */

/* The SQLSTATE of a failing server is passed on. */
static const char *client_close_code(const struct client *cl)
{
	const struct pool *p = cl->ask.pool;

	if (cl->refused && p && p->failure.code[0])
		return p->failure.code;
	return close_rows[cl->c.why].code;
}

static void client_last_words(struct client *cl, const char *text)
{
	const struct close_row *row = &close_rows[cl->c.why];
	struct msgw_error e = {
		.severity = row->severity, .code = client_close_code(cl), .message = text, .hint = row->hint};

	if (cl->c.why == CLOSE_SERVER_LOST && cl->orphaned)
		e.detail = client_orphan_detail(cl);
	if (!row->severity || cl->c.state == CS_HANDSHAKE || cl->c.state == CS_CANCEL || !relay_at_boundary(&cl->c))
		return;
	if (client_settings(cl)->log_pooler_errors)
		conn_log(&cl->c, LL_WARNING, "pooler error: %s", text);
	msgw_error(relay_out(&cl->c), &e);
}

static void client_log_end(struct client *cl, const char *text)
{
	long age = (long)((clock_us() - cl->c.connected_us) / USEC);

	if (cl->c.why == CLOSE_PROBE)
		conn_log(&cl->c, LL_DEBUG, "%s", text);
	else if (client_settings(cl)->log_disconnections)
		conn_log(&cl->c, LL_LOG, "closing because: %s (age=%ld s)", text, age);
}

/* Gives back all that it holds of the pools: its request, its places under the limits, its database and user. */
static void client_leave_registry(struct client *cl)
{
	struct registry *r = &cl->c.pooler->registry;

	if (cl->ask.pool) {
		pool_withdraw(&cl->ask);
		pool_leave(&cl->ask);
		cl->ask.pool = NULL;
	}
	if (cl->counted_db)
		pool_limit_give(r, LIMIT_DB_CLIENTS, cl->db);
	if (cl->counted_user)
		pool_limit_give(r, LIMIT_USER_CLIENTS, cl->user);
	if (cl->counted)
		pool_limit_give(r, LIMIT_CLIENTS, NULL);
	cl->counted = cl->counted_db = cl->counted_user = false;
	cl->c.stats = NULL;
	if (cl->db)
		database_drop(cl->db);
	if (cl->user)
		user_drop(cl->user);
	cl->db = NULL;
	cl->user = NULL;
}

/* What is under way for one that went away is its own to say; for one that is thrown out it is always cancelled. */
static bool client_wants_cancel(const struct client *cl)
{
	const struct config_database *conf = cl->db ? cl->db->conf : NULL;

	if (cl->c.why != CLOSE_CLIENT_GONE && cl->c.why != CLOSE_CLIENT_BROKEN)
		return cl->c.why != CLOSE_TERMINATE;
	return param_effective(PARAM_cancel_on_client_disconnect, NULL, conf ? &conf->over : NULL, client_settings(cl));
}

static void client_closing(struct conn *c, const char *text)
{
	struct client *cl = conn_client(c);
	struct conn *s = c->peer;
	bool cancel = client_wants_cancel(cl);

	client_log_end(cl, text);
	client_last_words(cl, text);
	relay_last_words(c);
	if (s) {
		cl->ask.pool->linked--;
		conn_unlink(c);
	}
	if (cl->console) {
		c->pooler->console->close(cl, c->pooler->console_ctx);
		cl->console = NULL;
	}
	cancel_forget(c);
	cancel_key_drop(c->pooler, &cl->key);
	if (cl->orphaned)
		client_orphan_end(cl);
	client_login_free(cl);
	client_goto(cl, CS_CLOSED);
	client_leave_registry(cl);
	if (s && !cancel && c->why != CLOSE_TERMINATE && s->ops->serves->is_busy(s))
		conn_close(s, CLOSE_SERVER_DIRTY, NULL); /* cancel_on_client_disconnect = 0 */
	else if (s)
		s->ops->serves->left(s, cancel);
}

static void client_reap(struct conn *c)
{
	struct client *cl = conn_client(c);

	buf_wipe(&c->in);
	buf_free(&c->out);
	vars_unref(&cl->startup);
	vars_unref(&cl->own);
	vars_unref(&cl->told);
	stmt_map_free(&cl->names);
	stmt_unref(&c->unnamed);
	stmt_unref(&cl->begin);
	xfree(MEM_CLIENT, cl);
}

static void client_resumed(struct conn *c)
{
	struct client *cl = conn_client(c);
	char text[400];

	if (c->state == CS_GREETING && client_gave_up(cl)) {
		conn_close(c, CLOSE_CLIENT_GONE, NULL);
		return;
	}
	if (c->state == CS_GREETING && cl->ask.kind == ASK_GREETING && !cl->ask.queued && !cl->refused)
		client_admit_greeted(cl);
	if (!cl->refused)
		return;
	snprintf(text, sizeof(text), "server login has been failing, cached error: %s (server_login_retry)",
		cl->ask.pool->failure.text ? cl->ask.pool->failure.text : "connect failed");
	conn_close(c, CLOSE_SERVER_LOGIN_FAILED, text);
}

static const struct conn_ops client_ops;

static struct client *client_make(struct pooler *p, const struct addr *remote)
{
	struct client *cl = xcalloc(MEM_CLIENT, 1, sizeof(*cl));

	conn_init(&cl->c, p, SIDE_CLIENT, &client_ops);
	cl->c.remote = *remote;
	cl->c.state = CS_STARTUP;
	cl->status = 'I';
	return cl;
}

struct client *client_new(struct pooler *p, int fd, const struct addr *remote)
{
	struct client *cl = client_make(p, remote);

	stream_init(&cl->c.stream, &p->loop, fd, conn_event, &cl->c);
	conn_settle(&cl->c);
	return cl;
}

struct client *client_new_ops(struct pooler *p, const struct stream_ops *ops, void *under, const struct addr *remote)
{
	struct client *cl = client_make(p, remote);

	stream_init_ops(&cl->c.stream, &p->loop, ops, under, conn_event, &cl->c);
	conn_settle(&cl->c);
	return cl;
}

/* It waits in the queue of a pool that is not its any more. */
static void client_ask_anew(struct client *cl)
{
	enum ask_kind kind = cl->ask.kind;

	if (!client_admit_pool(cl))
		return;
	if (kind == ASK_SERVER) { /* by the message that it waits with */
		client_goto(cl, CS_IDLE);
		relay_resume(&cl->c);
	} else if (pool_ask(&cl->ask, kind)) {
		assert(!"neither takes a slot at once");
	}
}

void client_configure(struct client *cl)
{
	const struct overrides *user = cl->user && cl->user->conf ? &cl->user->conf->over : NULL;
	const struct overrides *db = cl->db && cl->db->conf ? &cl->db->conf->over : NULL;
	const struct settings *set = client_settings(cl);

	if (cl->ask.queued)
		client_ask_anew(cl);
	client_set_limits(cl, user, db);
	cl->session_state = STATE_IGNORE;
	if (cl->ask.pool && ask_mode(&cl->ask) != POOL_SESSION)
		cl->session_state = (uint8_t)param_effective(PARAM_session_state, user, db, set) & 3;
	cl->defers = cl->ask.pool && ask_mode(&cl->ask) == POOL_TRANSACTION &&
		     param_effective(PARAM_defer_begin, user, db, set);
	cl->tracks_sql = cl->ask.pool && ask_mode(&cl->ask) != POOL_SESSION &&
			 client_settings(cl)->max_prepared_statements > 0 &&
			 param_effective(PARAM_track_sql_prepare, user, db, set);
	cl->c.replays = cl->ask.pool && !cl->c.replication && ask_mode(&cl->ask) != POOL_SESSION && cl->db->cluster &&
			cl->db->target == TARGET_PRIMARY && param_effective(PARAM_failover_replay, NULL, db, set);
	if (!conn_is_closed(&cl->c))
		conn_settle(&cl->c);
}

static const struct conn_ops client_ops = {
	.asks = &client_link_ops,
	.message = client_message,
	.malformed = client_malformed,
	.raw = client_login_raw,
	.gone = client_gone,
	.event = client_event,
	.due = client_due,
	.deadline = client_deadline,
	.reads = client_reads,
	.fresh = client_login_fresh,
	.hangup = client_hangup,
	.resumed = client_resumed,
	.closing = client_closing,
	.reap = client_reap,
	.names = client_names,
};

/* ---- refusals and cancel ------------------------------------------------------------- */

void client_answered(struct client *cl)
{
	cl->idle_us = clock_us();
	cl->query_us = 0;
	if (!cl->begin)
		cl->xact_us = 0;
}

void client_refuse(struct client *cl, const char *code, const char *text, const char *hint, bool simple)
{
	struct msgw_error e = {.severity = "ERROR", .code = code, .message = text, .hint = hint};
	char status = client_defer_fail(cl);

	client_answered(cl);
	cl->c.replayed = false;
	if (client_settings(cl)->log_pooler_errors)
		conn_log(&cl->c, LL_WARNING, "pooler error: %s", text);
	msgw_error(relay_out(&cl->c), &e);
	if (simple)
		msgw_ready(relay_out(&cl->c), status);
	else
		cl->skipping = true;
}

/* The request that waits in c->in is answered with an error instead of being sent. */
void client_refuse_pending(struct client *cl, const char *code, const char *text, const char *hint)
{
	struct conn *c = &cl->c;
	const uint8_t *p = (const uint8_t *)buf_head(&c->in);
	bool simple;

	assert(buf_len(&c->in) >= WIRE_HEADER && !c->left);
	simple = p[0] == MSG_QUERY || p[0] == MSG_FUNCTION_CALL;
	client_refuse(cl, code, text, hint, simple);
	if (simple) {
		c->left = 1 + ((uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4]);
		c->skip = true;
	}
	c->need = 0;
	relay_resume(c);
}

void client_cancel(struct client *cl, struct client *by)
{
	struct conn *s = cl->c.peer;
	struct pooler *p = cl->c.pooler;

	if (s && cl->c.state != CS_SETTLING && s->ops->serves->is_busy(s)) {
		s->ops->serves->cancel(s, &by->c);
		return;
	}
	if (cl->c.state == CS_WAITING) {
		pool_withdraw(&cl->ask);
		client_goto(cl, CS_IDLE);
		client_refuse_pending(cl, "57014", "canceling statement due to user request", NULL);
	} else if (cl->c.state == CS_CONSOLE_WAIT) {
		p->console->cancel(cl, p->console_ctx);
	}
	conn_close(&by->c, CLOSE_CANCEL_DONE, NULL);
}
