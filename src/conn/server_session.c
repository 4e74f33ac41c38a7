/*
 * server_session.c: what a server's clients change in its session that it does
 * not report (conn/session.h): what keeps it with its client, and the values
 * that are asked for before it is released, so that they are the client's own
 * and go along to its next server.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "conn/link.h"
#include "conn/ownq.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "conn/session.h"
#include "pool/topology.h"
#include "pool/vars.h"

/* Those of its pool that a client keeps are counted. */
static void server_count_pin(struct server *s)
{
	bool pinned = session_pins(s->session) != 0;
	struct pool *p = s->slot.pool;

	if (pinned == s->pinned)
		return;
	s->pinned = pinned;
	assert(p && (pinned || p->pinned));
	p->pinned += pinned ? 1 : -1U;
	p->pins += pinned;
}

static void server_session_end(struct server *s)
{
	session_free(&s->session);
	if (s->slot.pool)
		server_count_pin(s);
}

static bool server_may_pin(const struct server *s)
{
	const struct pool *p = s->slot.pool;

	return s->pinned || p->pinned < p->max_pinned;
}

/* Might it set a parameter that literals are read under, and that the server does not report? */
static bool sets_hidden(const struct session_text *t)
{
	static const char *const names[] = {
		"array_nulls", "backslash_quote", "lc_monetary", "transform_null_equals", "xml", "reset", "u&\""};

	if (!t->whole)
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcasestr(t->p, names[i]))
			return true;
	return false;
}

void server_session_hides(struct conn *c, const struct session_text *t)
{
	struct server *s = conn_server(c);

	s->hidden = s->hidden || sets_hidden(t);
}

void server_session_known(struct server *s)
{
	if (!s->hidden)
		return;
	s->hidden = false;
	if (s->c.peer)
		s->c.peer->ops->asks->sure(s->c.peer, server_stmt_settings(&s->c));
}

enum refusal server_session_note(struct conn *c, const struct session_text *t, bool resets)
{
	struct server *s = conn_server(c);

	if (!resets && session_pins_added(s->session, t) && !server_may_pin(s)) {
		s->slot.pool->pins_refused++;
		return REFUSE_PINNED;
	}
	session_note(&s->session, t, resets);
	server_count_pin(s);
	return REFUSE_COUNT;
}

enum refusal server_session_pin(struct conn *c, enum pin pin, const char *head, size_t n)
{
	struct server *s = conn_server(c);

	if (!server_may_pin(s)) {
		s->slot.pool->pins_refused++;
		return REFUSE_PINNED;
	}
	session_pin(&s->session, pin, head, n);
	server_count_pin(s);
	return REFUSE_COUNT;
}

void server_session_unpin(struct conn *c, enum pin pin)
{
	session_unpin(conn_server(c)->session, pin);
}

void server_session_ready(struct server *s, bool more)
{
	session_ready(s->session, more);
	server_count_pin(s);
}

void server_put_var(struct server *s, const char *name, const char *value)
{
	vars_put(&s->vars, name, value);
	s->slot.vars = s->vars;
	if (s->logged_in && s->slot.pool && value && !strcmp(name, "in_hot_standby"))
		topology_witness(s->endpoint, !strcmp(value, "on"));
}

void server_forget_unreported(struct server *s)
{
	struct vars *before = vars_ref(s->vars);

	for (size_t i = 0; i < vars_count(before); i++)
		if (!vars_get(s->at_login, vars_name(before, i)))
			server_put_var(s, vars_name(before, i), NULL);
	vars_unref(&before);
}

void server_take_unreported(struct server *s, struct vars *set)
{
	const char *name, *from, *to;
	struct vars *before = vars_ref(s->vars);
	size_t i = 0, j = 0;

	/* What it has reported since is right, in its own spelling. */
	while (vars_diff(s->given, set, &i, &j, &name, &from, &to)) {
		const char *now = vars_get(before, name);

		if (!vars_get(s->at_login, name) && (!to || now == from || (now && from && !strcmp(now, from))))
			server_put_var(s, name, to);
	}
	vars_unref(&before);
}

/* ---- the values are asked for -------------------------------------------------------------- */

static void server_read_row(struct server *s, const char *const *values, size_t n, void *arg)
{
	(void)arg;
	if (n == 3 && values[0] && !vars_get(s->at_login, values[0]))
		server_put_var(s, values[0], session_value(values[0], values[1], values[2]));
}

static void server_read_done(struct server *s, const struct ownq_result *r, void *arg)
{
	struct conn *cl = s->c.peer;
	bool ok = r->ok && r->status == 'I';
	struct link_ready ready;
	char text[300];

	(void)arg;
	if (!ok) {
		server_forget_unreported(s);
		s->reset_due = s->unclean = true;
	} else if (cl) {
		ready = server_link_ready(s);
		cl->ops->asks->settled(cl, &ready);
		server_session_known(s);
	}
	if (cl)
		cl->ops->asks->done(cl);
	if (cl && !ok) {
		snprintf(text, sizeof(text), "%s: %s", close_rows[CLOSE_SESSION_STATE].text, r->text);
		conn_close(cl, CLOSE_SESSION_STATE, text);
	}
	server_note_vars(s);
	server_release(s);
}

bool server_session_settle(struct server *s)
{
	struct ownq_call q = {.done = server_read_done,
		.row = server_read_row,
		.late = CLOSE_SERVER_PARAMETERS,
		.timeout_us = server_settings(s)->server_connect_timeout};
	struct buf sql = {0};
	bool settling = s->settles, reads;

	if (s->cancels && session_must_read(s->session)) { /* they must not hit a query of ours */
		s->settles = true;
		s->c.peer->ops->asks->settling(s->c.peer);
		return true;
	}
	s->settles = false;
	reads = session_must_read(s->session) && session_read_sql(s->session, s->vars, s->at_login, &sql);

	if (session_must_reset(s->session) || session_has_unknown(s->session))
		s->reset_due = s->unclean = true;
	server_session_end(s);
	if (reads) {
		if (!settling)
			s->c.peer->ops->asks->settling(s->c.peer);
		q.sql = buf_text(&sql);
		server_goto(s, SS_PREPARE);
		ownq_start(s, &q);
	}
	buf_free(&sql);
	return reads;
}

void server_session_left(struct server *s)
{
	if (session_must_read(s->session) || session_must_reset(s->session) || s->pinned) {
		server_forget_unreported(s);
		s->reset_due = s->unclean = true;
	}
	server_session_end(s);
}
