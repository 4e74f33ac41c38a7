/*
 * client_stmt.c: prepared statements of a client whose servers change: what a
 * name in its Parse, Bind, Describe or Close stands for (PostgreSQL manual,
 * 55.2.3). On servers each statement has a name of the pooler's own, so that
 * clients share one; the server's unit prepares it where it is missing. In
 * session mode the names are the server's business and nothing here is used.
 */
#include <endian.h>
#include <string.h>

#include "conn/client_priv.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/sqlscan.h"
#include "proto/wire.h"

/* An unnamed statement whose Parse is longer is not kept: it lives as long as its server is the client's. */
enum { UNNAMED_KEPT = 1024 * 1024 };

bool client_changes_servers(const struct client *cl)
{
	return ask_mode(&cl->ask) != POOL_SESSION;
}

static enum verdict client_out_of_memory(struct client *cl)
{
	conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
	return V_CLOSED;
}

/* The message with another name in place of the one that begins at payload byte `at`. */
static enum verdict client_rename(struct conn *s, const struct msg *m, size_t at, const char *to, uint32_t *arg)
{
	size_t old = strlen(m->payload + at) + 1;

	msgw_head(relay_out(s), m->type, m->len - (uint32_t)old + (uint32_t)strlen(to) + 1);
	buf_append(relay_out(s), m->payload, at);
	msgw_cstr(relay_out(s), to);
	*arg = (uint32_t)(at + old);
	return V_HEAD;
}

/*
 * A name that stands for nothing, or a message with a fault: the server says so, about a statement that cannot exist. The name
 * stays behind what makes it one, since the server has a word to say of its bytes too.
 */
static enum verdict client_to_nothing(struct client *cl, struct request q, const struct msg *m, size_t at,
	uint32_t *arg)
{
	struct conn *s = cl->c.peer;
	const char *mark = s->pooler->refused_name;

	q.name = stmt_name_unknown(m->payload + at);
	if (!q.name)
		return client_out_of_memory(cl);
	s->ops->serves->expect(s, &q);
	msgw_head(relay_out(s), m->type, m->len + (uint32_t)strlen(mark));
	buf_append(relay_out(s), m->payload, at);
	buf_puts(relay_out(s), mark);
	*arg = (uint32_t)at;
	return V_HEAD;
}

/* ---- Parse --------------------------------------------------------------------------- */

/* Text, NUL, count, that many type oids: what a stmt's body must be. */
static bool body_is_sound(const char *body, size_t len)
{
	const char *nul = memchr(body, 0, len);
	size_t rest = nul ? len - (size_t)(nul + 1 - body) : 0;
	uint16_t n;

	if (rest < sizeof(n))
		return false;
	memcpy(&n, nul + 1, sizeof(n));
	return rest == sizeof(n) + (size_t)be16toh(n) * 4;
}

static bool same_body(const struct stmt *st, const char *body, size_t len)
{
	return st && st->len == len && !memcmp(st->body, body, len);
}

/* A Parse of SQL with names: what is kept of it has the server's name too. */
static enum verdict client_send_parse(struct conn *s, const char *name, const struct stmt *st)
{
	msgw_head(relay_out(s), MSG_PARSE, (uint32_t)(strlen(name) + 1 + st->len));
	msgw_cstr(relay_out(s), name);
	buf_append(relay_out(s), st->body, st->len);
	return V_DROP;
}

static enum verdict client_parse_edited(struct client *cl, const struct msg *m, struct stmt_edits *edits)
{
	struct conn *s = cl->c.peer;
	struct request q = {.kind = REQ_PARSE, .unnamed = true, .stmt = cl->c.unnamed};

	cl->c.unnamed = client_sql_stmt(cl, m, edits);
	if (!cl->c.unnamed) {
		cl->c.unnamed = q.stmt;
		return client_out_of_memory(cl);
	}
	q.edits = stmt_edits_ref(cl->c.unnamed->edits);
	s->ops->serves->expect(s, &q);
	return client_send_parse(s, "", cl->c.unnamed);
}

/* It always goes to the server; what it was is kept, so that another server can be given it. */
static enum verdict client_parse_unnamed(struct client *cl, const struct msg *m)
{
	struct conn *s = cl->c.peer;
	struct registry *r = &cl->c.pooler->registry;
	const char *body = m->payload + 1;
	struct request q = {.kind = REQ_PARSE, .action = ACT_FORWARD, .unnamed = true, .stmt = cl->c.unnamed};
	enum refusal why;

	if (cl->pinned)
		s->ops->serves->unpin(s, PIN_STATEMENT);
	if (m->have < m->len) {
		why = client_session_large(cl, body, m->have - 1);
		if (why != REFUSE_COUNT) {
			cl->c.unnamed = q.stmt;
			return client_refuse_message(cl, m, why);
		}
		cl->c.unnamed = NULL;
	} else if (!body_is_sound(body, m->len - 1)) {
		cl->c.unnamed = NULL;
	} else if (s->ops->serves->sure(s) && same_body(cl->c.unnamed, body, m->len - 1) &&
		   cl->c.unnamed->settings == s->ops->serves->settings(s)) {
		stmt_ref(cl->c.unnamed);
	} else {
		cl->c.unnamed = stmt_get(r->stmts, s->ops->serves->settings(s), body, m->len - 1, false);
		if (!cl->c.unnamed) {
			cl->c.unnamed = q.stmt;
			return client_out_of_memory(cl);
		}
		cl->c.unnamed->unsure = !s->ops->serves->sure(s);
	}
	s->ops->serves->expect(s, &q);
	return V_FORWARD;
}

static void stmt_is_sure(struct stmt *st, struct vars *settings)
{
	if (!st || !st->unsure)
		return;
	vars_unref(&st->settings);
	st->settings = vars_ref(settings);
	st->unsure = false;
}

void client_stmt_sure(struct conn *c, struct vars *settings)
{
	struct client *cl = conn_client(c);

	stmt_is_sure(c->unnamed, settings);
	for (struct stmt_name *n = stmt_map_next(cl->names, NULL); n; n = stmt_map_next(cl->names, n))
		stmt_is_sure(n->stmt, settings);
}

bool client_stmt_own(struct client *cl, struct stmt_name *n)
{
	struct conn *s = cl->c.peer;
	struct stmt *old = n->stmt, *own;

	if (!old || !old->shared || s->ops->serves->sure(s) || s->ops->serves->has(s, old))
		return true;
	own = stmt_get(cl->c.pooler->registry.stmts, old->settings, old->body, old->len, false);
	if (own)
		stmt_name_renew(n, own);
	return own;
}

/* The server that lacks what n stands for gets it. False: memory is out. */
static bool client_put(struct client *cl, struct stmt_name *n)
{
	struct conn *s = cl->c.peer;

	if (!client_stmt_own(cl, n))
		return false;
	s->ops->serves->put(s, n->stmt);
	return true;
}

/* A name in use: PostgreSQL says so itself, of the statement that the name stands for. */
static enum verdict client_parse_taken(struct client *cl, struct stmt_name *n, const struct msg *m, uint32_t *arg)
{
	struct conn *s = cl->c.peer;

	if (!s->ops->serves->has(s, n->stmt) && !client_put(cl, n))
		return client_out_of_memory(cl);
	s->ops->serves->expect(s, &(struct request){.kind = REQ_PARSE, .name = stmt_name_ref(n)});
	return client_rename(s, m, 0, n->stmt->name, arg);
}

static enum verdict client_parse_new(struct client *cl, const struct msg *m, struct stmt_edits *edits, uint32_t *arg)
{
	struct conn *s = cl->c.peer;
	size_t at = strlen(m->payload) + 1;
	const char *body = m->payload + at;
	bool sure = s->ops->serves->sure(s),
	     shared = sure && !sqlscan_has_now(body, strlen(body), true, client_standard_strings(cl));
	struct stmt *st =
		edits ? client_sql_stmt(cl, m, edits)
		      : stmt_get(cl->c.pooler->registry.stmts, s->ops->serves->settings(s), body, m->len - at, shared);
	struct stmt_name *n = st ? stmt_map_add(&cl->names, m->payload, st) : NULL;
	struct request q = {.kind = REQ_PARSE, .made = true};

	if (!n) {
		stmt_unref(&st);
		return client_out_of_memory(cl);
	}
	st->unsure = !sure;
	q.name = stmt_name_ref(n);
	if (s->ops->serves->has(s, st)) {
		if (s->ops->serves->may_answer(s)) {
			stmt_unref(&st);
			q.action = ACT_ANSWER;
			s->ops->serves->expect(s, &q);
			return V_DROP;
		}
		s->ops->serves->take(s, st);
	}
	s->ops->serves->make_room(s);
	cl->db->stats.now.server_parses++;
	q.stmt = st;
	if (edits)
		q.edits = stmt_edits_ref(edits);
	s->ops->serves->expect(s, &q);
	return edits ? client_send_parse(s, st->name, st) : client_rename(s, m, 0, st->name, arg);
}

/* The names of SQL's in its text, if it is one statement. */
static enum verdict client_parse_sql(struct client *cl, const struct msg *m, struct stmt_edits **edits, uint32_t *arg)
{
	struct text t = client_parse_text(m);
	enum verdict v;

	if (m->have < m->len || !client_sql_may_name(cl, t, sqlscan_is_harmless(t.p, t.n)) ||
		!body_is_sound(t.p, (size_t)(m->payload + m->len - t.p)))
		return V_FORWARD;
	v = client_sql_read(cl, m, t, edits, arg);
	if (v == V_FORWARD && *edits && (*edits)->n > 1)
		stmt_edits_unref(edits);
	return v;
}

enum verdict client_stmt_parse(struct client *cl, const struct msg *m, bool quiet, uint32_t *arg)
{
	struct conn *s = cl->c.peer;
	struct stmt_edits *edits = NULL;
	struct stmt_name *n;
	enum verdict v;
	size_t at;

	if (m->have < m->len && (m->payload[0] || m->len <= UNNAMED_KEPT)) {
		*arg = m->len;
		return V_MORE;
	}
	if (m->payload[0] && s->ops->serves->must_wait(s, false))
		return V_STOP;
	v = quiet ? V_FORWARD : client_parse_sql(cl, m, &edits, arg);
	if (v != V_FORWARD)
		return v;
	if (!m->payload[0]) {
		cl->c.unnamed_parse++; /* what it is depends on when and under which settings it is parsed */
		cl->db->stats.now.client_parses++;
		cl->db->stats.now.server_parses++;
		return edits ? client_parse_edited(cl, m, edits) : client_parse_unnamed(cl, m);
	}
	cl->db->stats.now.client_parses++;
	at = strlen(m->payload) + 1;
	if (!body_is_sound(m->payload + at, m->len - at))
		return client_to_nothing(cl, (struct request){.kind = REQ_PARSE}, m, 0, arg);
	n = stmt_map_find(cl->names, m->payload);
	if (!n)
		return client_parse_new(cl, m, edits, arg);
	stmt_edits_unref(&edits);
	return client_parse_taken(cl, n, m, arg);
}

/* ---- Bind, Describe, Close ------------------------------------------------------------- */

/* A Bind of what is, or is not, SQL with names. */
static enum verdict client_bind_edited(struct client *cl, const char *portal, struct stmt_name **n, bool named)
{
	struct conn *s = cl->c.peer;
	const struct stmt *st = *n ? (*n)->stmt : named ? NULL : cl->c.unnamed;

	if (st && st->edits)
		return client_sql_bind(cl, portal, n);
	if (cl->edited)
		(void)s->ops->serves->bind(s, portal, NULL);
	return V_FORWARD;
}

/* What it EXECUTEs is to be there, since its result is what that returns. */
static enum verdict client_describe_edited(struct client *cl, struct stmt_name **n, bool named)
{
	const struct stmt *st = *n ? (*n)->stmt : named ? NULL : cl->c.unnamed;

	return st && st->edits && st->edits->v[0].what == EDIT_USES ? client_sql_bind(cl, NULL, n) : V_FORWARD;
}

/* What its own text does to its transaction. */
static enum request_ends client_stmt_ends(const struct client *cl, struct stmt *st)
{
	if (!st->ends) {
		struct text t = {st->body, strlen(st->body), true};

		st->ends = (uint8_t)(1 + (stmt_is_sql(st) ? ENDS_NOTHING : client_text_ends(cl, t)));
	}
	return (enum request_ends)(st->ends - 1);
}

/* SQL's EXECUTE runs what the protocol has parsed, too, a COMMIT for instance. */
enum request_ends client_edits_end(const struct client *cl, const struct stmt_edits *edits)
{
	enum request_ends worst = ENDS_NOTHING;

	for (uint32_t i = 0; i < edits->n; i++) {
		struct stmt *st = edits->v[i].what == EDIT_USES ? edits->v[i].name->stmt : NULL;
		const struct stmt_edit *e = st && st->edits ? &st->edits->v[0] : NULL;
		enum request_ends ends = st ? client_stmt_ends(cl, st) : ENDS_NOTHING;

		if (e && e->what == EDIT_USES && e->name->stmt && client_stmt_ends(cl, e->name->stmt) > ends)
			ends = client_stmt_ends(cl, e->name->stmt); /* an EXECUTE of an EXECUTE: no deeper than that */
		if (ends > worst)
			worst = ends;
	}
	return worst;
}

/* What it does to its transaction to run the portal that st is bound to. NULL: there is none, or nothing is known of it. */
static void client_note_portal(struct client *cl, const char *portal, struct stmt *st, bool named)
{
	enum request_ends ends = st ? client_stmt_ends(cl, st) : named ? ENDS_NOTHING : ENDS_BY_COMMIT;

	if (st && st->edits && ends == ENDS_NOTHING)
		ends = client_edits_end(cl, st->edits);
	if (!*portal)
		cl->c.portal_ends = ends & 3;
	else if (ends > cl->c.named_ends)
		cl->c.named_ends = ends & 3;
}

/* A message about the statement whose name begins at payload byte `at`. */
static enum verdict client_about(struct client *cl, enum request_kind kind, const struct msg *m, size_t at,
	uint32_t *arg)
{
	struct conn *s = cl->c.peer;
	struct request q = {.kind = (uint8_t)kind};
	struct stmt_name *n;
	enum refusal why;
	enum verdict v;

	if (s->ops->serves->must_wait(s, !m->payload[at]))
		return V_STOP;
	n = m->payload[at] ? stmt_map_find(cl->names, m->payload + at) : NULL;
	v = kind == REQ_BIND ? client_bind_edited(cl, m->payload, &n, m->payload[at])
			     : client_describe_edited(cl, &n, m->payload[at]);
	if (v != V_FORWARD)
		return v;
	if (kind == REQ_BIND)
		client_note_portal(cl, m->payload, m->payload[at] ? (n ? n->stmt : NULL) : cl->c.unnamed,
			m->payload[at]);
	if (!m->payload[at]) {
		why = kind == REQ_BIND ? client_session_run(cl, cl->c.unnamed) : REFUSE_COUNT;
		if (why != REFUSE_COUNT)
			return client_refuse_message(cl, m, why);
		s->ops->serves->put_unnamed(s);
		s->ops->serves->expect(s, &q);
		return V_FORWARD;
	}
	if (!n)
		return client_to_nothing(cl, q, m, at, arg);
	why = kind == REQ_BIND ? client_session_run(cl, n->stmt) : REFUSE_COUNT;
	if (why != REFUSE_COUNT)
		return client_refuse_message(cl, m, why);
	if (!s->ops->serves->has(s, n->stmt)) {
		if (n->stmt->stale && kind == REQ_BIND) { /* the client may count on what it was told of its result */
			s->ops->serves->refuse_stale(s, n);
			return V_DROP;
		}
		if (n->stmt->stale && !s->ops->serves->renew(s, n))
			return client_out_of_memory(cl);
		if (!s->ops->serves->has(s, n->stmt) && !client_put(cl, n))
			return client_out_of_memory(cl);
	}
	n->stmt->uses++;
	q.name = stmt_name_ref(n);
	s->ops->serves->expect(s, &q);
	return client_rename(s, m, at, n->stmt->name, arg);
}

enum verdict client_stmt_bind(struct client *cl, const struct msg *m, uint32_t *arg)
{
	enum verdict v = client_about(cl, REQ_BIND, m, strlen(m->payload) + 1, arg);

	if (v != V_STOP && v != V_CLOSED)
		cl->db->stats.now.binds++;
	return v;
}

enum verdict client_stmt_describe(struct client *cl, const struct msg *m, uint32_t *arg)
{
	return client_about(cl, REQ_DESCRIBE, m, 1, arg);
}

void client_stmt_forget(struct client *cl, const char *name)
{
	struct stmt_name *n = stmt_map_find(cl->names, name);

	if (!*name)
		stmt_unref(&cl->c.unnamed);
	else if (n)
		stmt_map_remove(n);
}

/* A shared statement stays on its servers: only the client's name for it goes. */
enum verdict client_stmt_close(struct client *cl, const struct msg *m, uint32_t *arg)
{
	struct conn *s = cl->c.peer;
	const char *name = m->payload + 1;
	struct request q = {.kind = REQ_CLOSE};
	struct stmt_name *n;

	if (!*name) {
		q.unnamed = true;
		q.stmt = cl->c.unnamed;
		cl->c.unnamed = NULL;
		s->ops->serves->expect(s, &q);
		return V_FORWARD;
	}
	if (m->len != strlen(name) + 2)
		return client_to_nothing(cl, q, m, 1, arg);
	if (s->ops->serves->must_wait(s, false))
		return V_STOP;
	n = stmt_map_find(cl->names, name);
	q.action = ACT_ANSWER;
	if (n) {
		q.name = stmt_name_ref(n);
		stmt_map_remove(n);
	}
	s->ops->serves->expect(s, &q);
	return V_DROP;
}
