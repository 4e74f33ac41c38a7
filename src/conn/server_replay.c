/*
 * server_replay.c: a request that a server has refused as one that writes, since
 * it is a standby by now, although it was the primary as far as was known. Where
 * it is certain that nothing of it has taken effect, its client gets it back, as
 * if it had not been sent, and waits for another server; this one is closed.
 *
 * Nothing is done before the server's ReadyForQuery is there, since what it has
 * become it says just before that. Until then the messages stay where they are:
 * what it says to a request that fails comes in one read as a rule.
 */
#include <string.h>
#include <strings.h>

#include "conn/conn.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "pool/endpoint.h"
#include "pool/topology.h"
#include "pool/vars.h"
#include "proto/sqlscan.h"
#include "proto/wire.h"

/* More than this of a server's is not waited for. */
enum { AHEAD_MAX = 16384 };

bool server_refuses_writes(const struct server *s, const struct error_fields *f)
{
	const char *asked = vars_get(s->vars, "default_transaction_read_only");

	return !strcmp(f->code, "25006") &&
	       (!strcmp(f->routine, "PreventCommandIfReadOnly") ||
		       !strcmp(f->routine, "PreventCommandDuringRecovery")) &&
	       !f->context[0] && (!asked || strcmp(asked, "on") != 0);
}

/* ---- what the server says ------------------------------------------------------------------ */

/* An answer that fails, as far as it was read ahead. */
struct failing {
	struct error_fields error; /* with a code when it has come */
	const char *hot_standby;   /* what the server is, if it has said so behind the error; else NULL */
	char status;		   /* of its ReadyForQuery, the last message of it; 0: not yet */
};

/* May a message of that type be next? */
static bool failing_takes(const struct failing *a, uint8_t type)
{
	if (a->error.code && a->error.code[0])
		return type == MSG_PARAMETER_STATUS || type == MSG_READY_FOR_QUERY;
	return type == MSG_PARSE_COMPLETE || type == MSG_BIND_COMPLETE || type == MSG_NO_DATA ||
	       type == MSG_PARAMETER_DESCRIPTION || type == MSG_ERROR_RESPONSE;
}

/* The next one, whole. False: this is no answer that matters here. */
static bool failing_read(struct failing *a, const struct server *s, const struct msg *m)
{
	struct msgr r;

	switch (m->type) {
	case MSG_ERROR_RESPONSE:
		wire_error_fields(m, &a->error);
		return !strcmp(a->error.severity, "ERROR") && !a->error.translated &&
		       server_refuses_writes(s, &a->error);
	case MSG_PARAMETER_STATUS:
		r = msgr_of(m);
		if (strcmp(msgr_cstr(&r), "in_hot_standby") != 0)
			return false;
		a->hot_standby = msgr_cstr(&r);
		return msgr_end(&r);
	case MSG_READY_FOR_QUERY: a->status = m->payload[0]; return a->status == 'I';
	default: return true;
	}
}

/* V_DROP: all of such an answer is there. V_MORE: it may be one. V_FORWARD: it is none. */
static enum verdict failing_look(struct failing *a, const struct server *s, uint32_t *arg)
{
	size_t n, at = 0, need;
	const char *p = relay_ahead(&s->c, &n);
	struct msg m;

	while (!a->status) {
		enum wire_result r;

		if (at < n && !failing_takes(a, (uint8_t)p[at]))
			return V_FORWARD;
		r = wire_scan(WIRE_SERVER, p + at, n - at, &m, &need);
		if (r == WIRE_OK && m.have < m.len) {
			r = WIRE_MORE;
			need = (size_t)WIRE_HEADER + m.len;
		}
		if (r == WIRE_MORE && at + need <= AHEAD_MAX) {
			*arg = (uint32_t)(at + need - WIRE_HEADER);
			return V_MORE;
		}
		if (r != WIRE_OK || !failing_read(a, s, &m))
			return V_FORWARD;
		at += (size_t)WIRE_HEADER + m.len;
	}
	return V_DROP;
}

/* From PostgreSQL 14 on it says so itself. What was true when it logged in is not what it is now. */
static bool server_is_standby(const struct server *s, const struct failing *a)
{
	const char *says = a->hot_standby ? a->hot_standby : vars_get(s->vars, "in_hot_standby");

	return says ? !strcmp(says, "on") : topology_is_standby(s->endpoint);
}

/* ---- what it was asked --------------------------------------------------------------------- */

/* The request as it was recorded. */
struct recorded {
	uint32_t n;			 /* of messages */
	const char *portal, *name, *ran; /* of its Bind, and of its Execute; NULL: there was none */
	struct msg query;		 /* with .type: it is a Query */
};

static bool recorded_read(struct recorded *q, const struct buf *batch)
{
	const char *p = buf_head(batch);
	size_t n = buf_len(batch), need;
	struct msg m;

	while (n) {
		if (wire_scan(WIRE_CLIENT, p, n, &m, &need) != WIRE_OK || m.have < m.len)
			return false;
		if (m.type == MSG_QUERY) {
			q->query = m;
		} else if (m.type == MSG_BIND) {
			q->portal = m.payload;
			q->name = m.payload + strlen(m.payload) + 1;
		} else if (m.type == MSG_EXECUTE) {
			q->ran = m.payload;
		}
		q->n++;
		p += WIRE_HEADER + m.len;
		n -= WIRE_HEADER + m.len;
	}
	return true;
}

/* The statement that a batch of that shape runs. NULL: nothing is known of it. */
static const struct stmt *server_bound(const struct server *s, const struct recorded *q)
{
	const struct stmt *st = *q->name ? NULL : s->c.peer->unnamed;

	for (uint32_t i = 0; *q->name && i < s->ring.n; i++) {
		const struct request *r = ring_get(&s->ring, i);

		if (r->kind == REQ_BIND && r->name)
			st = r->name->stmt;
	}
	return st && !st->edits && !stmt_is_sql(st) ? st : NULL;
}

/* Has nothing of it taken effect when it is refused? */
static bool server_may_run_twice(const struct server *s)
{
	const char *v = vars_get(s->vars, "standard_conforming_strings");
	bool standard = !v || strcasecmp(v, "off") != 0;
	struct recorded q = {0};
	const struct stmt *st;

	if (buf_failed(&s->batch) || !ring_runs_one(&s->ring) || !recorded_read(&q, &s->batch) || q.n != s->ring.n)
		return false;
	if (q.query.type)
		return q.query.len && !q.query.payload[q.query.len - 1] &&
		       sqlscan_refused(q.query.payload, q.query.len - 1, standard) != SQL_REFUSED_LATE;
	if (!q.portal || !q.ran || strcmp(q.portal, q.ran) != 0)
		return false;
	st = server_bound(s, &q);
	return st && sqlscan_refused(st->body, strlen(st->body), standard) == SQL_REFUSED_FIRST;
}

/* Nor is there anything of its client's that stays here, or that is under way. */
static bool server_may_replay(const struct server *s)
{
	const struct database *d = s->slot.pool->db;
	const struct conn *cl = s->c.peer;

	return d->cluster && d->target == TARGET_PRIMARY && s->status == 'I' && !s->session && !s->pinned &&
	       !s->slot.own && !s->healed && !s->fatal_code[0] && !cl->left && !cl->eof && !cl->mute && !cl->holds &&
	       !relay_is_scanned(cl) && cl->ops->asks->may_replay(cl) && server_may_run_twice(s);
}

/* ---- it goes elsewhere --------------------------------------------------------------------- */

/* Not even what was answered has been: the client has not heard of it. */
static void server_unrun(const struct request *q, bool failed, struct request *later, void *arg)
{
	(void)failed;
	server_stmt_undo(q, false, later, arg);
}

static enum verdict server_give_back(struct server *s, bool says)
{
	struct conn *cl = s->c.peer;
	struct endpoint *ep = s->endpoint;

	(void)ring_error(&s->ring, server_unrun, s);
	s->replay = REPLAY_NONE;
	s->recording = false;
	cl->ops->asks->replay(cl, &s->batch);
	conn_close(&s->c, CLOSE_SERVER_MOVED,
		"it is a standby, and the primary was asked for: its request is run again");
	if (says) /* the endpoint is still there: it is of the cluster */
		topology_witness(ep, true);
	else if (!topology_is_standby(ep))
		topology_suspect(ep, "it takes no writes");
	return V_CLOSED;
}

enum verdict server_replays(struct server *s, const struct msg *m, uint32_t *arg)
{
	const struct request *front = ring_front(&s->ring);
	struct failing a = {.status = 0};
	enum verdict v;

	if (!front || front->action != ACT_FORWARD || !s->c.peer || !failing_takes(&a, m->type))
		return V_FORWARD;
	v = failing_look(&a, s, arg);
	if (v == V_DROP && server_is_standby(s, &a) && server_may_replay(s))
		return server_give_back(s, a.hot_standby);
	if (v != V_MORE)
		server_record_heard(s);
	return v == V_MORE ? V_MORE : V_FORWARD;
}
