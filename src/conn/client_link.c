/*
 * client_link.c: what a client is told by its pool, and by the server that it is
 * linked to: that it has one, what its session is by now, that its request is over.
 */
#include <string.h>

#include "conn/client_priv.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"

void client_link(struct client *cl, struct conn *server)
{
	struct counters *n = &cl->db->stats.now;

	conn_link(&cl->c, server);
	cl->ask.pool->linked++;
	n->assignments++;
	if (cl->ask.since_us)
		n->wait_us += (uint64_t)(clock_us() - cl->ask.since_us);
	server->request_us = clock_us();
	client_goto(cl, server->ops->serves->prepare(server, cl->own) ? CS_ACTIVE : CS_PREPARING);
}

bool client_granted(struct client *cl, struct conn *server)
{
	if (client_gave_up(cl)) {
		conn_close(&cl->c, CLOSE_CLIENT_GONE, NULL);
		return false;
	}
	/* The time in the queue, in PAUSE and without a host has limits of its own. A BEGIN was answered before. */
	if (cl->query_us) {
		cl->query_us = clock_us();
		if (!cl->begin)
			cl->xact_us = cl->query_us;
	}
	client_link(cl, server);
	relay_resume(&cl->c);
	return true;
}

/* The pool is in the middle of its rounds: what may close the client is done when they are over. */
void client_greeted(struct client *cl)
{
	relay_resume(&cl->c);
}

struct conn *client_opening(struct client *cl)
{
	cl->ask.pool->linked++;
	return &cl->c;
}

void client_ask_failed(struct client *cl)
{
	cl->refused = true;
	relay_resume(&cl->c);
}

void client_unlink(struct client *cl)
{
	cl->pinned = false;
	conn_unlink(&cl->c);
	cl->ask.pool->linked--;
	client_goto(cl, CS_IDLE);
}

static void client_done(struct conn *c)
{
	client_unlink(conn_client(c));
	c->replayed = false;
}

/* What the server made of the values that were set is what the client has from now on: utc is UTC. */
static void client_take_spelling(struct client *cl, const struct vars *now)
{
	struct vars *before = vars_ref(cl->own);

	for (size_t i = 0; i < vars_count(before); i++) {
		const char *value = vars_get(now, vars_name(before, i));

		if (value && strcmp(value, vars_value(before, i)) != 0)
			vars_put(&cl->own, vars_name(before, i), value);
	}
	vars_unref(&before);
}

static void client_prepared(struct conn *c, bool ok, const char *code, const char *text, struct vars *now)
{
	struct client *cl = conn_client(c);
	struct conn *s = c->peer;

	cl->second_try = false;
	if (ok && client_gave_up(cl)) {
		conn_close(c, CLOSE_CLIENT_GONE, NULL);
		return;
	}
	if (ok) {
		cl->unsettled = false;
		client_take_spelling(cl, now);
		client_goto(cl, CS_ACTIVE);
		relay_resume(c);
		return;
	}
	if (client_has_session(cl)) { /* it must not go on with another server as if nothing had happened */
		conn_close(s, CLOSE_SERVER_PARAMETERS, text);
		return;
	}
	client_unlink(cl);
	if (code) {
		client_refuse_pending(cl, code, text, NULL);
	} else { /* it is not the client's fault: it asks for another one, and this one is no more */
		client_answered(cl);
		relay_resume(c);
	}
	conn_close(s, CLOSE_SERVER_PARAMETERS, text);
}

static void client_told(struct conn *c, const char *name, const char *value)
{
	vars_put(&conn_client(c)->told, name, value);
}

/* RESET and DISCARD ALL take a client's parameters back to its startup packet, the latter its statements as well. */
static void client_completed(struct conn *c, const char *tag)
{
	if (tag[0] != 'R' && tag[0] != 'D')
		return;
	if (!strcmp(tag, "RESET") || !strcmp(tag, "DISCARD ALL"))
		conn_client(c)->reset_seen = true;
	if (!strcmp(tag, "DISCARD ALL") || !strcmp(tag, "DEALLOCATE ALL"))
		stmt_map_clear(conn_client(c)->names, UINT64_MAX);
}

void client_tell_vars(struct client *cl, struct vars **visible, const struct vars *reported)
{
	const char *name, *from, *to;
	size_t i = 0, j = 0;

	while (vars_diff(cl->told, *visible, &i, &j, &name, &from, &to))
		if (to && (!reported || vars_get(reported, name)))
			msgw_parameter_status(relay_out(&cl->c), name, to);
	vars_unref(&cl->told);
	cl->told = *visible;
	*visible = NULL;
}

/* What the server reported becomes the client's own, and what the client was not told of it is told. */
static void client_note_vars(struct client *cl, const struct link_ready *r)
{
	struct vars *visible;
	const char *name, *from, *to;
	size_t i = 0, j = 0;

	while (vars_diff(r->given, r->now, &i, &j, &name, &from, &to)) {
		const char *login = vars_get(r->at_login, name);

		if (var_kind(name) == VAR_FIXED)
			continue;
		if (!to || (cl->reset_seen && login && !strcmp(login, to)))
			to = vars_get(cl->startup, name);
		vars_put(&cl->own, name, to);
	}
	cl->reset_seen = false;
	visible = vars_overlay(r->now, cl->own);
	cl->unsettled = visible != r->now;
	client_tell_vars(cl, &visible, r->at_login);
}

static void client_count(struct client *cl, const struct link_ready *r)
{
	struct counters *n = &cl->db->stats.now;
	int64_t now = clock_us();

	n->queries++;
	if (cl->query_us)
		n->query_us += (uint64_t)(now - cl->query_us);
	cl->query_us = r->more ? now : 0;
	if (r->status != 'I')
		return;
	n->xacts++;
	if (cl->xact_us)
		n->xact_us += (uint64_t)(now - cl->xact_us);
	cl->xact_us = r->more ? now : 0;
}

static enum verdict client_ready(struct conn *c, const struct link_ready *r)
{
	struct client *cl = conn_client(c);
	enum pool_mode mode = ask_mode(&cl->ask);

	cl->status = r->status;
	cl->idle_us = clock_us();
	client_count(cl, r);
	if (r->status != 'I') {
		if (mode == POOL_STATEMENT) {
			conn_close(c, CLOSE_STATEMENT_MODE, NULL);
			return V_CLOSED;
		}
		if (cl->limits.xact_idle_ms || cl->limits.xact_ms)
			conn_settle(c);
		return V_FORWARD;
	}
	if (r->now != r->given || r->now != cl->told || cl->reset_seen)
		client_note_vars(cl, r);
	cl->pinned = r->pinned;
	if (!r->more && !r->pinned && mode != POOL_SESSION)
		return V_LAST;
	if (cl->limits.idle_ms)
		conn_settle(c);
	return V_FORWARD;
}

static void client_settling(struct conn *c)
{
	client_goto(conn_client(c), CS_SETTLING);
}

static void client_settled(struct conn *c, const struct link_ready *r)
{
	client_note_vars(conn_client(c), r);
	relay_resume(c);
}

const struct link_client_ops client_link_ops = {
	.settling = client_settling,
	.settled = client_settled,
	.prepared = client_prepared,
	.told = client_told,
	.completed = client_completed,
	.made = client_sql_made,
	.dropped = client_sql_dropped,
	.sure = client_stmt_sure,
	.ready = client_ready,
	.done = client_done,
	.startup = client_admit_startup,
	.opened = client_admit_opened,
	.may_replay = client_may_replay,
	.replay = client_replay,
	.keeps = client_keeps,
	.lost = client_lost,
};
