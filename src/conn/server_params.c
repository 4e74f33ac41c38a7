/*
 * server_params.c: a server's parameters become those of the client that it was
 * given to, before its request is sent.
 */
#include <string.h>
#include <strings.h>

#include "conn/link.h"
#include "conn/ownq.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "pool/vars.h"
#include "proto/msgw.h"

/* Has it something that others have SET, and that its client does not want? Who that was may have had rights to set it. */
static bool params_has_leftovers(const struct server *s)
{
	for (size_t i = 0; i < vars_count(s->vars); i++)
		if (!vars_get(s->at_login, vars_name(s->vars, i)) && !vars_get(s->wanted, vars_name(s->vars, i)))
			return true;
	return false;
}

static void params_set(struct server *s, const struct ownq_result *r, void *arg)
{
	struct conn *cl = s->c.peer;
	bool ok = r->ok && r->status == 'I', others = !ok && params_has_leftovers(s);

	(void)arg;
	if (ok)
		server_take_unreported(s, s->wanted);
	vars_unref(&s->wanted);
	server_note_vars(s);
	if (!ok) /* some of it may have been set */
		s->dirty = true;
	if (!cl) { /* it left meanwhile; what was set is known */
		server_release(s);
		return;
	}
	if (ok)
		server_goto(s, SS_ACTIVE);
	cl->ops->asks->prepared(cl, ok,
		others	? NULL
		: r->ok ? "25P02"
			: r->code,
		r->ok ? "the parameters left a transaction open" : r->text, s->vars);
}

/* The texts that turn a server's parameters into others. */
struct params_sql {
	struct buf
		first; /* back to the rights of the login, since the others may need them; client_encoding: a Query is read in one */
	struct buf sql; /* the others, and last who the session is */
	unsigned n;
	bool only_name; /* application_name alone differs */
};

static bool is_identity(const char *name)
{
	return !strcasecmp(name, "session_authorization") || !strcasecmp(name, "role");
}

static bool differs(const char *a, const char *b)
{
	return (a || b) && (!a || !b || strcmp(a, b) != 0);
}

/* SET SESSION AUTHORIZATION takes the role back. */
static void params_identity(const struct server *s, const struct vars *wanted, struct params_sql *p)
{
	const char *login = vars_get(s->at_login, "session_authorization"), *role = vars_get(wanted, "role");
	const char *to = vars_get(wanted, "session_authorization");

	if (vars_get(s->vars, "role"))
		buf_puts(&p->first, "RESET ROLE;");
	if (differs(vars_get(s->vars, "session_authorization"), login))
		buf_puts(&p->first, "RESET SESSION AUTHORIZATION;");
	if (to && differs(to, login))
		var_set_sql(&p->sql, "session_authorization", to, false);
	if (role)
		var_set_sql(&p->sql, "role", role, false);
}

static void params_diff(const struct server *s, const struct vars *wanted, struct params_sql *p)
{
	const char *name, *from, *to;
	size_t i = 0, j = 0;

	p->only_name = true;
	while (vars_diff(s->vars, wanted, &i, &j, &name, &from, &to)) {
		struct buf *sql = strcasecmp(name, "client_encoding") ? &p->sql : &p->first;

		if (var_kind(name) == VAR_FIXED)
			continue;
		p->only_name = p->only_name && !strcasecmp(name, "application_name");
		p->n++;
		if (!is_identity(name) && to)
			var_set_sql(sql, name, to, false);
		else if (!is_identity(name))
			var_reset_sql(sql, name, false);
	}
	if (!p->only_name)
		params_identity(s, wanted, p);
}

static void params_all(struct server *s, struct params_sql *p, struct vars *wanted)
{
	struct ownq_call q = {.done = params_set,
		.late = CLOSE_SERVER_PARAMETERS,
		.timeout_us = server_settings(s)->server_connect_timeout};
	bool two = buf_len(&p->first) && buf_len(&p->sql);

	q.before = two ? buf_text(&p->first) : NULL;
	q.sql = buf_text(buf_len(&p->sql) ? &p->sql : &p->first);
	vars_unref(&s->wanted);
	s->wanted = vars_ref(wanted);
	server_goto(s, SS_PREPARE);
	ownq_start(s, &q);
}

/* True: nothing is to be waited for. */
static bool params_differing(struct server *s, struct vars *wanted)
{
	struct params_sql p = {0};

	params_diff(s, wanted, &p);
	if (p.n && !p.only_name) {
		params_all(s, &p, wanted);
	} else if (p.n) {
		/* This one cannot fail in a way that matters: it goes in front of the request without a round trip. */
		msgw_query(relay_out(&s->c), buf_text(&p.sql));
		server_push(s, &(struct request){.kind = REQ_QUERY, .action = ACT_SWALLOW, .unnamed = true});
	}
	buf_free(&p.first);
	buf_free(&p.sql);
	return !p.n || p.only_name;
}

bool server_params_prepare(struct conn *c, struct vars *own)
{
	struct server *s = conn_server(c);
	struct vars *wanted = vars_overlay(s->at_login, own);
	bool ready;

	server_note_vars(s);
	ready = s->vars == wanted || params_differing(s, wanted);
	vars_unref(&wanted);
	if (ready && s->c.state != SS_ACTIVE)
		server_goto(s, SS_ACTIVE);
	return ready;
}
