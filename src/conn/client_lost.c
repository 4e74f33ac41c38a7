/*
 * client_lost.c: the server is lost under a client (server_lost). What was sent
 * and not answered gets one error each, which says whether it can have been
 * committed, and the ReadyForQuery that belongs to it; then the client goes on.
 * Of a transaction that was open client_orphan.c has the rest. Clients whose
 * session lived on the server are closed. And the client gives up a server that is
 * no primary any more, with its request in hand (failover_replay).
 */
#include <stdio.h>

#include "conf/config.h"
#include "conn/client_priv.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "conn/ring.h"
#include "pool/topology.h"
#include "pool/vars.h"
#include "proto/msgw.h"

enum { LOST_KEEP, LOST_CLOSE };

/* Requests of the client's up to a ReadyForQuery, as far as they are in the ring. */
struct group {
	bool any;		/* there are requests in it ... */
	bool batch;		/* ... of the client's, of the extended protocol */
	bool work;		/* there are some of the client's that an error is due for */
	bool ready;		/* the client is to have a ReadyForQuery */
	bool waits;		/* they are a COPY, and no end of its data was sent */
	enum request_ends ends; /* what they do to the transaction that they are in */
};

/* A server that is lost under a client that stays. */
struct loss {
	struct client *cl;
	const struct link_lost *l;
	struct vars *back; /* what the client was told before, and is told again; NULL: it was */
	bool first;	   /* the request in front was not dealt with yet */
	bool told;	   /* the client has had an error: it knows that its transaction failed */
};

bool client_keeps(const struct conn *c)
{
	const struct client *cl = (const struct client *)(const void *)c;
	const struct overrides *user = cl->user && cl->user->conf ? &cl->user->conf->over : NULL;
	const struct overrides *db = cl->db && cl->db->conf ? &cl->db->conf->over : NULL;

	return c->state != CS_GREETING &&
	       param_effective(PARAM_server_lost, user, db, client_settings(cl)) == LOST_KEEP;
}

/* The others are ends that an operator or a lack of memory has made, of the client too. */
static bool is_loss(enum close_why why)
{
	return why == CLOSE_SERVER_SAID || why == CLOSE_SERVER_CRASHED || why == CLOSE_SERVER_PROTOCOL ||
	       why == CLOSE_SERVER_PARAMETERS || why == CLOSE_SERVER_MOVED;
}

/* ---- what is outstanding ------------------------------------------------------------------ */

/* Behind a ROLLBACK what runs is in no transaction any more: it is committed by itself. */
static void group_add(struct group *g, const struct request *q)
{
	bool runs = q->kind == REQ_QUERY || q->kind == REQ_EXECUTE;

	if (g->ends == ENDS_BY_ROLLBACK && runs)
		g->ends = ENDS_BY_COMMIT;
	else if (q->ends > g->ends)
		g->ends = (enum request_ends)q->ends;
	g->work = g->work || q->action != ACT_SWALLOW;
	g->any = true;
	g->batch = g->batch || (q->action != ACT_SWALLOW && q->action != ACT_FRONT);
}

/*
 * Those from the i-th on; returns where the next ones begin. An error skips to the Sync, Queries too, unless there is but what
 * the pooler has put in front of the Query.
 */
static uint32_t group_read(struct group *g, const struct ring *r, uint32_t i)
{
	for (; i < r->n; i++) {
		const struct request *q = ring_get(r, i);

		if (q->kind == REQ_COPY_END)
			continue;
		if (q->kind == REQ_SYNC) {
			g->ready = q->action == ACT_FORWARD;
			/* What stood before it was answered; only ReadyForQuery acknowledges it. */
			g->work = g->work || (g->ready && !g->any && !q->bare);
			return i + 1;
		}
		if (q->kind == REQ_QUERY && !g->batch) {
			group_add(g, q);
			g->ready = g->work;
			g->waits = q->copies && !q->has_end;
			return i + 1;
		}
		group_add(g, q);
	}
	return i;
}

/* Is there something in the ring, from the i-th on, that commits what came before it? */
static bool ring_commits(const struct ring *r, uint32_t i)
{
	for (; i < r->n; i++)
		if (ring_get(r, i)->ends == ENDS_BY_COMMIT)
			return true;
	return false;
}

/* ---- what the client is told ---------------------------------------------------------------- */

static void loss_error(struct loss *x, bool maybe)
{
	struct client *cl = x->cl;
	struct msgw_error e = {.severity = "ERROR", .detail = x->l->text};

	e.code = maybe ? "08007" : "08006";
	e.message = maybe ? "server connection lost: it may have been committed"
			  : "server connection lost: nothing of it was or will be committed";
	if (client_settings(cl)->log_pooler_errors)
		conn_log(&cl->c, LL_WARNING, "pooler error: %s (%s)", e.message, x->l->text);
	msgw_error(relay_out(&cl->c), &e);
	topology_failed(cl->db);
	x->told = true;
}

static void loss_tell_back(struct loss *x)
{
	if (x->back)
		client_tell_vars(x->cl, &x->back, NULL);
}

/*
 * next: where in the ring the requests behind it begin. Outside of a block each request is a transaction of its own; within
 * one nothing is committed but by what ends it, here or behind it.
 */
static void loss_answer(struct loss *x, const struct group *g, uint32_t next)
{
	const struct ring *r = x->l->ring;
	struct client *cl = x->cl;
	bool had_error = x->first && x->l->errored;
	bool waits = g->waits || (x->first && r->copying && !(r->n && ring_get(r, 0)->has_end));
	bool maybe;

	if (!g->work && !g->ready)
		return;
	/* A COPY that waits for the rest of its data has not come to its end; what ran in front of it may have: VACUUM. */
	if (cl->status == 'I')
		maybe = !waits || (x->first && r->ran) || g->ends != ENDS_NOTHING;
	else
		maybe = g->ends == ENDS_BY_COMMIT || (g->ends == ENDS_NOTHING && ring_commits(r, next));
	if (cl->status != 'I')
		cl->status = g->ends == ENDS_NOTHING ? 'E' : 'I';
	x->first = false;
	x->told = x->told || had_error;
	if (g->work && !had_error)
		loss_error(x, maybe);
	if (g->work || had_error)
		loss_tell_back(x);
	if (g->ready)
		msgw_ready(relay_out(&cl->c), cl->status);
	else
		cl->skipping = true;
}

static void loss_answer_all(struct loss *x)
{
	const struct ring *r = x->l->ring;
	uint32_t at = 0;

	while (at < r->n) {
		struct group g = {.ends = x->first && r->ended ? ENDS_BY_COMMIT : ENDS_NOTHING};

		at = group_read(&g, r, at);
		loss_answer(x, &g, at);
	}
	/* All of a batch is answered so far, and it has no Sync yet. */
	if (!r->n && (r->open || r->skipping)) {
		struct group g = {.work = true, .ends = r->ended ? ENDS_BY_COMMIT : ENDS_NOTHING};

		loss_answer(x, &g, 0);
	}
}

/* What the client was told last, with the server's reports since its transaction began taken back. */
static struct vars *client_vars_before(const struct client *cl, const struct link_lost *l)
{
	struct vars *back = vars_ref(cl->told), *before = vars_overlay(l->given, cl->own);
	const char *name, *from, *to;
	size_t i = 0, j = 0;

	while (vars_diff(cl->told, before, &i, &j, &name, &from, &to))
		if (to && vars_get(l->at_login, name))
			vars_put(&back, name, to);
	vars_unref(&before);
	return back;
}

/* ---- the client stays, or not --------------------------------------------------------------- */

static void client_survives(struct client *cl, const struct link_lost *l)
{
	struct loss x = {.cl = cl, .l = l, .first = true, .told = cl->status == 'E'};

	client_goto(cl, CS_IDLE);
	cl->reset_seen = cl->second_try = cl->c.replayed = false;
	if (!cl->begin) { /* else nothing of its transaction was sent yet */
		x.back = client_vars_before(cl, l);
		loss_answer_all(&x);
		if (l->errored && x.first) { /* it has had its error, and nothing but what is ours is outstanding */
			cl->status = cl->status == 'I' ? 'I' : 'E';
			cl->skipping = x.told = true;
		}
		if (cl->status != 'I' && !client_orphan_begin(cl, l->text, x.told, &x.back))
			return;
		vars_unref(&x.back);
	}
	client_answered(cl);
	conn_settle(&cl->c); /* the time limits of what it is now */
	relay_resume(&cl->c);
}

/* Its session was the server's. */
static void client_loses_session(struct client *cl, const struct link_lost *l)
{
	struct vars *none = NULL;

	if (client_orphan_begin(cl, l->text, true, &none))
		conn_close(&cl->c, CLOSE_SERVER_LOST, NULL);
}

static void client_goes(struct client *cl, const struct link_lost *l)
{
	if (l->told)
		conn_close(&cl->c, CLOSE_SERVER_SAID, NULL);
	else if (close_rows[l->why].severity)
		conn_close(&cl->c, l->why, l->text);
	else
		conn_close(&cl->c, CLOSE_SERVER_CRASHED, NULL);
}

/* Nothing of its request was sent: it asks for another one, once, since its own parameters may be the cause. */
static void client_tries_again(struct client *cl, const struct link_lost *l)
{
	char text[400];

	client_goto(cl, CS_IDLE);
	if (!cl->second_try) {
		cl->second_try = true;
		client_answered(cl);
		relay_resume(&cl->c);
	} else {
		cl->second_try = false;
		snprintf(text, sizeof(text), "server connection lost while the client's parameters were set: %s",
			l->text);
		client_refuse_pending(cl, "08006", text, NULL);
	}
}

bool client_has_session(const struct client *cl)
{
	return (ask_mode(&cl->ask) == POOL_SESSION || cl->pinned) && cl->unsettled;
}

void client_lost(struct conn *c, const struct link_lost *l)
{
	struct client *cl = conn_client(c);
	bool keeps = client_keeps(c) && !l->told && is_loss(l->why);
	bool settling = c->state == CS_SETTLING, session = ask_mode(&cl->ask) == POOL_SESSION;
	char text[400];

	cl->ask.pool->linked--;
	if (c->state == CS_GREETING && !l->told) {
		snprintf(text, sizeof(text), "server login failed: %s", l->text);
		conn_close(c, CLOSE_SERVER_LOGIN_FAILED, text);
	} else if (c->state == CS_PREPARING && !l->told && (keeps || !cl->second_try) && !client_has_session(cl)) {
		client_tries_again(cl, l);
	} else if (!keeps || !relay_at_boundary(c)) {
		client_goes(cl, l);
	} else if (session || cl->pinned || c->replication || l->unread || settling) {
		client_loses_session(cl, l);
	} else {
		client_survives(cl, l);
	}
}

/* ---- it is a standby, which has refused a request that nothing has come of ------------------- */

bool client_may_replay(const struct conn *c)
{
	const struct client *cl = (const struct client *)(const void *)c;

	return c->replays && !c->replayed && cl->status == 'I' && !cl->pinned && c->state == CS_ACTIVE && !cl->begin &&
	       !cl->skipping && c->pooler->shutdown == RUNNING;
}

/*
 * It waits as if it had not been sent yet. What the server that is left behind has set is as it was, since nothing of the
 * request has run.
 */
void client_replay(struct conn *c, struct buf *first)
{
	struct client *cl = conn_client(c);

	client_unlink(cl);
	client_answered(cl);
	cl->c.replayed = true;
	topology_replayed(cl->db);
	relay_unread(c, first);
}
