/*
 * client_sql.c: SQL's PREPARE, EXECUTE and DEALLOCATE of a client whose servers
 * change (track_sql_prepare). Their names are the client's, in one name space
 * with those of the protocol, so the server's name is put in place of each; what
 * the server lacks is prepared there before. What a statement has done to the
 * names is noted when it has come to its end: server_sql.c. Followed is a
 * Query, and the unnamed statement of the extended protocol if it is one
 * statement; not a text in which a name cannot be read, which is too long, or
 * which has too many names.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "conn/client_priv.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/sqlscan.h"
#include "proto/wire.h"

/* A text is held whole for its names if it is no longer than this. */
enum { SQL_HELD = 1024 * 1024 };

static struct sqlscan client_scan(const struct client *cl, struct text t)
{
	return sqlscan_init(t.p, t.n, t.whole, client_standard_strings(cl));
}

/*
 * Do its first letters say that it is none of DEALLOCATE, PREPARE, EXECUTE, EXPLAIN, CREATE? Of a text that is not whole the
 * first statement counts. harmless: sqlscan_is_harmless().
 */
static bool is_another(struct text t, bool harmless)
{
	const char *p = t.p, *end = t.p + t.n, *semi;
	char a, b;

	while (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r')))
		p++;
	if (end - p < 4)
		return true;
	a = (char)(*p | 0x20);
	b = (char)(p[1] | 0x20);
	if ((a == 'd' && b == 'e' && (p[2] | 0x20) == 'a') ||
		(!harmless && ((a == 'e' && b == 'x') || ((a == 'p' || a == 'c') && b == 'r'))))
		return false;
	if (harmless)
		return true;
	semi = t.whole ? memchr(p, ';', (size_t)(end - p)) : NULL;
	return (!semi || semi == end - 1) && a >= 'a' && a <= 'z';
}

bool client_sql_may_name(const struct client *cl, struct text t, bool harmless)
{
	struct sqlscan scan;
	struct sql_name name;
	struct sql_stmt st;
	enum sqlscan_result r;

	if ((!cl->tracks_sql && !cl->names) || is_another(t, harmless) || sqlscan_is_plain(t.p, t.n))
		return false;
	scan = client_scan(cl, t);
	do {
		r = sqlscan_next(&scan, &st);
		if (r != SQLSCAN_END && sqlscan_prepared(&st, &name) != SQL_PREPARED_NONE)
			return true;
	} while (r == SQLSCAN_STATEMENT);
	return false;
}

/* ---- what the names of a text stand for --------------------------------------------------- */

/* A text is read from its beginning to its end, and names mean what its statements so far have made of them. */
struct reading {
	struct client *cl;
	struct text t;
	struct stmt_edits *edits;
	uint32_t statement;
	uint32_t cleared; /* edits before that are of no meaning any more, by DEALLOCATE ALL */
	bool all_cleared;
	const char *counted; /* characters up to here are `at`, with what is put in so far */
	uint32_t at, byte;   /* ... and bytes up to there */
	bool kept; /* the edits are to be a statement's: nothing may be found that has some, or they would hold each other */
	bool failed; /* memory is out */
};

static uint32_t client_count_chars(const struct client *cl, const char *p, const char *end)
{
	const char *encoding = vars_get(cl->told, "client_encoding");
	uint32_t n = (uint32_t)(end - p);

	if (encoding && !strcasecmp(encoding, "UTF8"))
		for (; p < end; p++)
			n -= ((unsigned char)*p & 0xc0) == 0x80;
	return n;
}

/* What the client has under that name; kept: struct reading. */
static struct stmt_name *client_sql_find(const struct client *cl, const char *name, bool kept)
{
	struct stmt_name *n = stmt_map_find(cl->names, name);

	return n && kept && n->stmt->edits ? NULL : n;
}

static struct stmt_edit *reading_find(const struct reading *r, const char *name, struct stmt_name **found)
{
	uint32_t i = r->edits ? r->edits->n : 0;

	*found = NULL;
	while (i-- > r->cleared) {
		struct stmt_edit *e = &r->edits->v[i];

		if (e->what == EDIT_USES || strcmp(e->name->name, name) != 0)
			continue;
		if (e->what == EDIT_MAKES)
			*found = e->name;
		return e;
	}
	if (!r->all_cleared)
		*found = client_sql_find(r->cl, name, r->kept);
	return NULL;
}

/* PREPARE of a name that is free: what it will stand for. */
static struct stmt_name *reading_make(struct reading *r, const struct sql_stmt *st, const struct sql_name *name,
	bool shared)
{
	struct client *cl = r->cl;
	struct conn *s = cl->c.peer;
	const char *rest = name->text + name->len;
	struct stmt_name *n = NULL;
	struct buf body = {0};
	struct stmt *made;

	buf_puts(&body, "PREPARE");
	buf_append(&body, rest, (size_t)(st->text + st->len - rest));
	buf_append(&body, "", 1);
	if (buf_failed(&body))
		return NULL;
	shared = shared && s->ops->serves->sure(s) &&
		 !sqlscan_has_now(rest, (size_t)(st->text + st->len - rest), true, client_standard_strings(cl));
	made = stmt_get(cl->c.pooler->registry.stmts, s->ops->serves->settings(s), buf_head(&body), buf_len(&body),
		shared);
	buf_free(&body);
	if (made) {
		made->unsure = !s->ops->serves->sure(s);
		n = stmt_name_pending(name->name, made);
	}
	stmt_unref(&made);
	return n;
}

static void reading_place(struct reading *r, struct stmt_edit *e, const struct sql_name *name)
{
	e->at = r->at + client_count_chars(r->cl, r->counted, name->text);
	e->was = client_count_chars(r->cl, name->text, name->text + name->len);
	e->is = (uint32_t)(e->name->stmt ? strlen(e->name->stmt->name) : strlen(r->cl->c.pooler->refused_name) + 2);
	e->byte = r->byte + (uint32_t)(name->text - r->counted);
	r->counted = name->text + name->len;
	r->at = e->at + e->is;
	r->byte = e->byte + e->is;
}

static bool client_sql_is_stale(const struct client *cl, const struct stmt *st);
static bool client_sql_renew(struct client *cl, struct stmt_name **n);

static void reading_name(struct reading *r, enum sql_prepared kind, const struct sql_stmt *st,
	const struct sql_name *name, bool shared)
{
	struct stmt_name *found;
	struct stmt_edit *by = reading_find(r, name->name, &found), *e;
	bool pending = by && found;

	if (found && !by && found->stmt->edits && client_sql_is_stale(r->cl, found->stmt) &&
		!client_sql_renew(r->cl, &found)) {
		r->failed = true;
		return;
	}
	if (!r->cl->tracks_sql && (kind != SQL_PREPARED_DEALLOCATE || !found))
		return;
	if (found && !by && kind != SQL_PREPARED_DEALLOCATE && !client_stmt_own(r->cl, found)) {
		r->failed = true;
		return;
	}
	e = stmt_edits_add(&r->edits);
	if (!e) {
		r->failed = true;
		return;
	}
	e->statement = r->statement;
	e->pending = pending;
	e->what = kind == SQL_PREPARED_DEALLOCATE ? EDIT_DROPS : EDIT_USES;
	if (found) {
		e->name = stmt_name_ref(found);
	} else if (kind == SQL_PREPARED_PREPARE) {
		e->what = EDIT_MAKES;
		e->name = reading_make(r, st, name, shared);
	} else {
		e->name = stmt_name_unknown(name->name);
	}
	if (e->name)
		reading_place(r, e, name);
	else
		r->failed = true;
}

static void reading_all(struct reading *r)
{
	struct sqlscan scan = client_scan(r->cl, r->t), behind;
	struct sql_stmt st, other;
	struct sql_name name;

	for (; sqlscan_next(&scan, &st) == SQLSCAN_STATEMENT && !r->failed; r->statement++) {
		enum sql_prepared kind = sqlscan_prepared(&st, &name);

		behind = scan;
		switch (kind) {
		case SQL_PREPARED_NONE:
		case SQL_PREPARED_UNKNOWN: break;
		case SQL_PREPARED_DEALLOCATE_ALL:
			r->cleared = r->edits ? r->edits->n : 0;
			r->all_cleared = true;
			break;
		case SQL_PREPARED_PREPARE:
		case SQL_PREPARED_EXECUTE:
		case SQL_PREPARED_DEALLOCATE:
			if (r->edits && r->edits->n == STMT_EDITS_MAX) { /* such a text is not followed */
				stmt_edits_unref(&r->edits);
				return;
			}
			/*
			 * Shared is what one Query prepares: behind others it is parsed under the settings that they leave,
			 * and of a Parse it is not certain that we see it done.
			 */
			reading_name(r, kind, &st, &name,
				!r->kept && !r->statement && sqlscan_next(&behind, &other) == SQLSCAN_END);
			break;
		}
	}
	if (r->failed)
		stmt_edits_unref(&r->edits);
}

/* What the text makes, the server is not to have. */
static void client_sql_clear(const struct link_server_ops *ops, struct conn *s, struct stmt *st, bool now)
{
	bool there = ops->has(s, st);

	if (now)
		there ? ops->take_now(s, st) : ops->make_room_now(s);
	else
		there ? ops->take(s, st) : ops->make_room(s);
}

/* The server comes to have, or not to have, what the text is about. now: in a batch of its own. */
static void client_sql_put(struct client *cl, const struct stmt_edit *e, bool now)
{
	struct conn *s = cl->c.peer;
	const struct link_server_ops *ops = s->ops->serves;
	struct stmt *st = e->name->stmt;

	if (!st || e->pending)
		return;
	if (e->what == EDIT_MAKES) {
		client_sql_clear(ops, s, st, now);
		return;
	}
	st->uses += e->what == EDIT_USES;
	if (st->edits && st->edits->v[0].what != EDIT_MAKES) /* an EXECUTE of an EXECUTE: no deeper than that */
		client_sql_put(cl, &st->edits->v[0], now);
	if (ops->has(s, st))
		return;
	if (now)
		ops->put_now(s, st);
	else
		ops->put(s, st);
}

enum verdict client_sql_read(struct client *cl, const struct msg *m, struct text t, struct stmt_edits **edits,
	uint32_t *arg)
{
	struct conn *s = cl->c.peer;
	struct reading r = {.cl = cl, .t = t, .counted = t.p, .kept = m->type == MSG_PARSE};

	if (m->have < m->len && m->len <= SQL_HELD) {
		*arg = m->len;
		return V_MORE;
	}
	if (m->have < m->len)
		return V_FORWARD;
	if (s->ops->serves->must_wait(s, false))
		return V_STOP;
	reading_all(&r);
	if (r.failed) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	*edits = r.edits;
	for (uint32_t i = 0; r.edits && i < r.edits->n; i++)
		client_sql_put(cl, &r.edits->v[i], m->type == MSG_QUERY);
	return V_FORWARD;
}

/* rest: what follows the text in its Parse, under these settings. The edits become the statement's. NULL: memory is out. */
static struct stmt *client_sql_made_of(struct client *cl, struct text t, const char *rest, size_t n,
	struct stmt_edits *edits, struct vars *settings)
{
	struct registry *r = &cl->c.pooler->registry;
	struct stmt *st = NULL;
	struct buf body = {0};

	client_sql_write(cl, &body, t, edits);
	buf_append(&body, rest, n);
	if (!buf_failed(&body))
		st = stmt_get(r->stmts, settings, buf_head(&body), buf_len(&body), false);
	buf_free(&body);
	if (st)
		st->edits = edits;
	else
		stmt_edits_unref(&edits);
	return st;
}

struct stmt *client_sql_stmt(struct client *cl, const struct msg *m, struct stmt_edits *edits)
{
	struct text t = client_parse_text(m);
	const char *rest = t.p + t.n + 1;

	return client_sql_made_of(cl, t, rest, (size_t)(m->payload + m->len - rest), edits,
		cl->c.peer->ops->serves->settings(cl->c.peer));
}

void client_sql_write(const struct client *cl, struct buf *out, struct text t, const struct stmt_edits *edits)
{
	struct sqlscan scan = client_scan(cl, t);
	const char *from = t.p;
	struct sql_name name;
	struct sql_stmt st;

	for (uint32_t i = 0, n = 0; i < edits->n && sqlscan_next(&scan, &st) == SQLSCAN_STATEMENT; n++) {
		if (n != edits->v[i].statement)
			continue;
		(void)sqlscan_prepared(&st, &name);
		buf_append(out, from, (size_t)(name.text - from));
		if (edits->v[i].name->stmt)
			buf_puts(out, edits->v[i].name->stmt->name);
		else
			buf_printf(out, "\"%s\"", cl->c.pooler->refused_name);
		from = name.text + name.len;
		i++;
	}
	buf_append(out, from, (size_t)(t.p + t.n - from));
	buf_append(out, "", 1);
}

/* ---- as a statement of the protocol ---------------------------------------------------------- */

/* The text of st as the client wrote it, but for how it wrote the name. */
static void put_original(struct buf *out, const struct stmt *st)
{
	const struct stmt_edit *e = &st->edits->v[0];

	buf_append(out, st->body, e->byte);
	buf_append(out, "\"", 1);
	for (const char *p = e->name->name; *p; p++)
		buf_append(out, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
	buf_append(out, "\"", 1);
	buf_append(out, st->body + e->byte + e->is, strlen(st->body) - e->byte - e->is);
}

/* What its name stands for has changed since it was parsed: st with the one of now, a new reference. NULL: memory is out. */
static struct stmt *client_sql_again(struct client *cl, const struct stmt *st)
{
	size_t rest = strlen(st->body) + 1;
	struct buf original = {0};
	struct stmt *again = NULL;
	struct reading r = {.cl = cl, .kept = true};

	put_original(&original, st);
	if (!buf_failed(&original)) {
		r.t = (struct text){buf_head(&original), buf_len(&original), true};
		r.counted = r.t.p;
		reading_all(&r);
	}
	if (r.edits) {
		r.edits->v[0].was = st->edits->v[0].was;
		again = client_sql_made_of(cl, r.t, st->body + rest, st->len - rest, r.edits, st->settings);
	}
	buf_free(&original);
	return again;
}

/* Is what the name in a statement with edits stands for another one than when it was parsed? */
static bool client_sql_is_stale(const struct client *cl, const struct stmt *st)
{
	const struct stmt_edit *e = &st->edits->v[0];
	const struct stmt_name *now = client_sql_find(cl, e->name->name, true);
	const struct stmt *is = now ? now->stmt : NULL;

	if (e->what == EDIT_MAKES)
		return false;
	/* A name that has got another statement in its place is the same; then the text is not. */
	return is != e->name->stmt ||
	       (is && (strlen(is->name) != e->is || strncmp(st->body + e->byte, is->name, e->is) != 0));
}

/* A name gets another object: requests under way speak of what it was. */
static bool client_sql_renew(struct client *cl, struct stmt_name **n)
{
	struct stmt *again = client_sql_again(cl, *n ? (*n)->stmt : cl->c.unnamed);
	struct stmt_name *before = *n;

	if (!again)
		return false;
	if (!before) {
		stmt_unref(&cl->c.unnamed);
		cl->c.unnamed = again;
		cl->c.unnamed_parse++;
		return true;
	}
	(void)stmt_name_ref(before);
	stmt_map_fail(before);
	*n = stmt_map_add(&cl->names, before->name, again);
	stmt_name_unref(&before);
	stmt_unref(&again);
	return *n;
}

enum verdict client_sql_bind(struct client *cl, const char *portal, struct stmt_name **n)
{
	struct conn *s = cl->c.peer;
	struct stmt *st = *n ? (*n)->stmt : cl->c.unnamed;
	struct stmt_edit e;

	if (s->ops->serves->must_wait(s, false))
		return V_STOP;
	if (st->edits->v[0].what == EDIT_USES && !client_stmt_own(cl, st->edits->v[0].name)) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	if (client_sql_is_stale(cl, st) && !client_sql_renew(cl, n)) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	st = *n ? (*n)->stmt : cl->c.unnamed;
	e = st->edits->v[0];
	if (e.what == EDIT_MAKES && stmt_map_find(cl->names, e.name->name))
		e.what = EDIT_USES; /* it is to be there, as the name is, for the error */
	client_sql_put(cl, &e, false);
	if (!portal)
		return V_FORWARD;
	cl->edited = true;
	if (!s->ops->serves->bind(s, portal, st)) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	return V_FORWARD;
}

/* ---- when it is done ------------------------------------------------------------------------ */

void client_sql_made(struct conn *c, const struct stmt_name *n)
{
	struct client *cl = conn_client(c);

	if (!stmt_map_find(cl->names, n->name) && !stmt_map_add(&cl->names, n->name, n->stmt))
		conn_close(c, CLOSE_NO_MEMORY, NULL);
}

void client_sql_dropped(struct conn *c, const struct stmt_name *n)
{
	struct stmt_name *now = stmt_map_find(conn_client(c)->names, n->name);

	if (now && now->stmt == n->stmt)
		stmt_map_fail(now);
}
