/*
 * server_stmt.c: what a server has of the prepared statements of its clients,
 * and how it comes to have what it lacks: a Parse in front of the request that
 * needs it, in the same write. What is noted when a message is sent is undone
 * when the server fails or skips it (PostgreSQL manual, 55.2.3).
 */
#include <string.h>
#include <strings.h>

#include "conn/link.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/wire.h"

struct vars *server_stmt_settings(struct conn *c)
{
	struct server *s = conn_server(c);

	if (s->settings_of != s->vars) {
		vars_unref(&s->settings_of);
		vars_unref(&s->settings);
		s->settings_of = vars_ref(s->vars);
		s->settings = vars_ref(s->vars);
		vars_put(&s->settings, "application_name", NULL);
		vars_put(&s->settings, "role", NULL);
		for (size_t i = vars_count(s->vars); i-- > 0;)
			if (strchr(vars_name(s->vars, i), '.')) /* a custom one: no literal depends on it */
				vars_put(&s->settings, vars_name(s->vars, i), NULL);
	}
	return s->settings;
}

bool server_stmt_sure(const struct conn *c)
{
	const struct server *s = (const struct server *)(const void *)c;

	return !s->unsure && !s->hidden;
}

bool server_stmt_renew(struct conn *c, struct stmt_name *n)
{
	struct stmt *old = n->stmt;
	struct stmt *st =
		stmt_get(c->pooler->registry.stmts, server_stmt_settings(c), old->body, old->len, old->shared);

	if (st)
		stmt_name_renew(n, st);
	return st;
}

bool server_stmt_has(struct conn *c, struct stmt *st)
{
	return stmt_cache_use(&conn_server(c)->prepared, st);
}

static void server_parse(struct server *s, const char *name, const struct stmt *st)
{
	struct buf *out = relay_out(&s->c);

	msgw_head(out, MSG_PARSE, (uint32_t)(strlen(name) + 1 + st->len));
	msgw_cstr(out, name);
	buf_append(out, st->body, st->len);
	s->slot.pool->db->stats.now.server_parses++;
}

/* action: of the batch that it is in, the client's or one of its own. */
static void server_take(struct server *s, struct stmt *st, enum request_action action)
{
	msgw_close(relay_out(&s->c), 'S', st->name);
	server_push(s, &(struct request){.kind = REQ_CLOSE, .action = (uint8_t)action, .stmt = stmt_ref(st)});
}

void server_stmt_take(struct conn *c, struct stmt *st)
{
	server_take(conn_server(c), st, ACT_FRONT);
}

enum { BEGINS_KEPT = 4 };
/* A client gets no more answers of ours ahead of the server's than this: nothing else would stop it. */
enum { ANSWERS_MAX = 4096 };
/* Nor do more requests of a client lie in the system's buffers: what is known of each is kept until it is answered. */
enum { REQUESTS_MAX = 16384 };

/* Is there nothing outstanding but what is our own, as parameters and a BEGIN in front? */
static bool server_runs_ours(const struct server *s)
{
	for (uint32_t i = 0; i < s->ring.n; i++) {
		const struct request *q = ring_get(&s->ring, i);

		if (q->action != ACT_SWALLOW && !q->begins)
			return false;
	}
	return s->ring.n && !s->ring.skipping && !s->ring.copying;
}

/* Not behind requests of the client's: one of them may be a COPY, in which a Close ends the session. */
static void server_make_room(struct server *s, enum request_action action)
{
	int64_t limit = server_settings(s)->max_prepared_statements;
	struct stmt *st;

	if (!ring_is_idle(&s->ring) && !server_runs_ours(s))
		return;
	/* Without statements of clients there are still BEGINs. */
	while ((st = stmt_cache_oldest(&s->prepared, (size_t)(limit > 0 ? limit : BEGINS_KEPT) - 1)))
		server_take(s, st, action);
}

void server_stmt_make_room(struct conn *c)
{
	server_make_room(conn_server(c), ACT_FRONT);
}

/*
 * A statement of SQL within a batch: by a prepared statement and a portal of that name, which are closed again. What an attempt
 * that failed has left is closed first. makes (may be NULL): what the server has by it.
 */
static void server_run(struct server *s, const struct buf *sql, struct stmt *makes, enum request_action action)
{
	static const char name[] = "psbouncer_sql";
	static const uint8_t kinds[] = {REQ_CLOSE, REQ_PARSE, REQ_BIND, REQ_EXECUTE, REQ_CLOSE, REQ_CLOSE};
	struct buf *out = relay_out(&s->c);
	uint32_t mark;

	msgw_close(out, 'S', name);
	mark = msgw_begin(out, MSG_PARSE);
	msgw_cstr(out, name);
	buf_append(out, buf_head(sql), buf_len(sql));
	msgw_u8(out, 0);
	msgw_u16(out, 0);
	msgw_end(out, mark);
	msgw_bind_text(out, name, name, NULL, 0);
	msgw_execute(out, name);
	msgw_close(out, 'P', name);
	msgw_close(out, 'S', name);
	out->failed = out->failed || buf_failed(sql);
	for (size_t i = 0; i < sizeof(kinds); i++)
		server_push(s, &(struct request){.kind = kinds[i],
				       .action = (uint8_t)action,
				       .stmt = makes && kinds[i] == REQ_EXECUTE ? stmt_ref(makes) : NULL});
}

/* What SQL has prepared is prepared by SQL. */
static void server_prepare_sql(struct server *s, struct stmt *st, enum request_action action)
{
	static const char verb[] = "PREPARE";
	struct buf sql = {0};

	buf_printf(&sql, "%s %s%s", verb, st->name, st->body + strlen(verb));
	server_run(s, &sql, st, action);
	buf_free(&sql);
	s->slot.pool->db->stats.now.server_parses++;
}

/* Literals are read under these when a statement is parsed, once for all. */
static bool is_of_literals(const char *name)
{
	static const char *const names[] = {"array_nulls", "backslash_quote", "client_encoding", "DateStyle",
		"IntervalStyle", "lc_monetary", "standard_conforming_strings", "TimeZone", "transform_null_equals",
		"xmloption"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcasecmp(names[i], name))
			return true;
	return false;
}

/*
 * Within the transaction: what fails takes it back. In a block a SET would take the place of a SET LOCAL of the client's and
 * stay; a SET LOCAL goes with the block, whichever of the two the client's was.
 */
static void server_set_literals(struct server *s, struct vars *from, struct vars *to, enum request_action action)
{
	const char *name, *before, *after;
	bool local = s->status == 'T';
	size_t i = 0, j = 0;

	if (!vars_count(from) || !vars_count(to)) /* of a statement without literals of its client's */
		return;
	if (!server_stmt_sure(&s->c)) /* what the client has set meanwhile would be taken back */
		return;
	while (from != to && s->status != 'E' && vars_diff(from, to, &i, &j, &name, &before, &after)) {
		struct buf sql = {0};

		if (!is_of_literals(name))
			continue;
		if (after)
			var_set_sql(&sql, name, after, local);
		else
			var_reset_sql(&sql, name, local);
		server_run(s, &sql, NULL, action);
		buf_free(&sql);
	}
}

/* It is parsed under the settings that its client had at its Parse. */
static void server_prepare(struct server *s, struct stmt *st, enum request_action action)
{
	struct vars *now = server_stmt_settings(&s->c);

	server_make_room(s, action);
	server_set_literals(s, now, st->settings, action);
	if (stmt_is_sql(st)) {
		server_prepare_sql(s, st, action);
	} else {
		server_parse(s, st->name, st);
		server_push(s, &(struct request){.kind = REQ_PARSE, .action = (uint8_t)action, .stmt = stmt_ref(st)});
	}
	server_set_literals(s, st->settings, now, action);
}

void server_stmt_put(struct conn *c, struct stmt *st)
{
	server_prepare(conn_server(c), st, ACT_FRONT);
}

static void server_sync(struct server *s, struct request q)
{
	q.kind = REQ_SYNC;
	msgw_sync(relay_out(&s->c));
	server_push(s, &q);
}

/*
 * Whether it works is seen by what follows. In a batch that the client has open there is no Sync of ours, which would end the
 * transaction of that: what fails is the client's then, and skipped up to its own Sync.
 */
void server_stmt_put_now(struct conn *c, struct stmt *st)
{
	struct server *s = conn_server(c);

	if (s->ring.unsynced) {
		server_stmt_put(c, st);
		return;
	}
	server_prepare(s, st, ACT_SWALLOW);
	server_sync(s, (struct request){.action = ACT_SWALLOW});
}

void server_stmt_take_now(struct conn *c, struct stmt *st)
{
	struct server *s = conn_server(c);
	bool unsynced = s->ring.unsynced;

	server_take(s, st, unsynced ? ACT_FRONT : ACT_SWALLOW);
	if (!unsynced)
		server_sync(s, (struct request){.action = ACT_SWALLOW});
}

void server_stmt_make_room_now(struct conn *c)
{
	struct server *s = conn_server(c);
	bool unsynced = s->ring.unsynced;
	uint32_t before = s->ring.n;

	server_make_room(s, unsynced ? ACT_FRONT : ACT_SWALLOW);
	if (s->ring.n > before && !unsynced)
		server_sync(s, (struct request){.action = ACT_SWALLOW});
}

/* st: with UNNAMED_KNOWN. */
static void server_unnamed(struct server *s, enum server_unnamed what, struct stmt *st)
{
	struct stmt *before = s->c.unnamed;

	s->unnamed = (uint8_t)what;
	if (s->c.peer)
		s->c.peer->unnamed_batch = s->c.peer->batch;
	s->c.unnamed = st ? stmt_ref(st) : NULL;
	if (st)
		s->c.unnamed_parse = s->c.peer->unnamed_parse;
	stmt_unref(&before);
}

void server_stmt_put_unnamed(struct conn *c)
{
	struct server *s = conn_server(c);
	struct stmt *st = c->peer->unnamed;
	struct vars *now;

	if (s->unnamed == UNNAMED_CLIENTS ||
		(st ? c->unnamed == st && c->unnamed_parse == c->peer->unnamed_parse : s->unnamed == UNNAMED_NONE))
		return;
	if (st) {
		now = server_stmt_settings(c);
		server_set_literals(s, now, st->settings, ACT_FRONT);
		server_parse(s, "", st);
		server_push(s, &(struct request){.kind = REQ_PARSE, .action = ACT_FRONT});
		server_set_literals(s, st->settings, now, ACT_FRONT);
		server_unnamed(s, UNNAMED_KNOWN, st);
	} else {
		msgw_close(relay_out(c), 'S', "");
		server_push(s, &(struct request){.kind = REQ_CLOSE, .action = ACT_FRONT});
		server_unnamed(s, UNNAMED_NONE, NULL);
	}
}

/* What the server would say is certain: nothing that is outstanding can leave an aborted transaction behind. */
bool server_stmt_may_answer(const struct conn *c)
{
	const struct server *s = (const struct server *)(const void *)c;

	return (s->status == 'I' || s->status == 'T') && !s->ring.syncs && !s->ring.queries;
}

/* Did a batch that is not answered yet change it? An error may undo that; within the batch that is sent it skips all. */
static bool server_is_uncertain(const struct server *s, uint32_t changed)
{
	uint32_t batch = s->c.peer->batch;

	return changed != batch && batch - changed <= s->ring.syncs;
}

static bool server_keeps_waiting(const struct server *s)
{
	const struct conn *cl = s->c.peer;

	if (s->ring.copying) /* whatever comes but its data ends the session: there is nothing to wait for */
		return false;
	switch ((enum conn_holds)cl->holds) {
	case HOLDS_NOTHING: return false;
	case HOLDS_FOR_BEGIN: return s->ring.begins;
	case HOLDS_FOR_NAMES:
		return s->ring.altering || s->ring.answers >= ANSWERS_MAX || server_is_uncertain(s, cl->names_batch);
	case HOLDS_FOR_UNNAMED: return server_is_uncertain(s, cl->unnamed_batch);
	case HOLDS_FOR_ROOM: return s->ring.n > REQUESTS_MAX / 2;
	case HOLDS_FOR_ANSWERS: return s->ring.copying ? s->c.left : s->ring.syncs || s->ring.queries;
	}
	return false;
}

/* What has run inside a batch is not told before its Sync, which may have been lost in a COPY, unless it is asked for. */
static void server_hurry(struct server *s)
{
	if (!s->ring.open || !s->ring.unflushed)
		return;
	msgw_empty(relay_out(&s->c), MSG_FLUSH);
	s->ring.unflushed = 0;
}

bool server_stmt_must_wait(struct conn *c, bool unnamed)
{
	struct server *s = conn_server(c);
	struct conn *cl = c->peer;

	if (s->ring.copying)
		return false;
	if (!server_is_uncertain(s, unnamed ? cl->unnamed_batch : cl->names_batch) &&
		(unnamed || (!s->ring.altering && s->ring.answers < ANSWERS_MAX)))
		return false;
	server_hurry(s);
	cl->holds = unnamed ? HOLDS_FOR_UNNAMED : HOLDS_FOR_NAMES;
	return true;
}

/* The transaction that is open fails, and what follows is skipped. */
static void server_abort(struct server *s)
{
	msgw_describe(relay_out(&s->c), 'S', s->c.pooler->refused_name);
	server_push(s, &(struct request){.kind = REQ_DESCRIBE, .action = ACT_SWALLOW});
}

void server_begin(struct conn *c, struct stmt *st, bool portal, bool aborted)
{
	struct server *s = conn_server(c);
	struct request q = {.action = aborted ? ACT_SWALLOW : ACT_FRONT, .begins = true};

	s->begin_taken = false;
	if (!server_stmt_has(c, st)) {
		server_make_room(s, (enum request_action)q.action);
		server_parse(s, st->name, st);
		q.kind = REQ_PARSE;
		q.stmt = stmt_ref(st);
		server_push(s, &q);
		q.stmt = NULL;
	}
	msgw_bind_text(relay_out(c), "", st->name, NULL, 0);
	msgw_execute(relay_out(c), "");
	q.kind = REQ_BIND;
	server_push(s, &q);
	q.kind = REQ_EXECUTE;
	server_push(s, &q);
	if (!portal) {
		msgw_close(relay_out(c), 'P', ""); /* as if there had been none */
		q.kind = REQ_CLOSE;
		server_push(s, &q);
	}
	if (!aborted)
		return;
	/* The client's request goes when it is certain that the transaction is there, and failed: server_on_ready(). */
	server_abort(s);
	server_sync(s, (struct request){.action = ACT_SWALLOW, .begins = true});
	s->begin_taken = true;
}

enum verdict server_takes(struct conn *c, uint8_t type)
{
	struct server *s = conn_server(c);

	if (s->ring.skipping && type != MSG_SYNC)
		return V_DROP;
	if (s->ring.begins && s->begin_taken) {
		c->peer->holds = HOLDS_FOR_BEGIN;
		return V_STOP;
	}
	if (s->ring.n < REQUESTS_MAX || s->ring.copying)
		return V_FORWARD;
	server_hurry(s);
	c->peer->holds = HOLDS_FOR_ROOM;
	return V_STOP;
}

/*
 * A BEGIN that was put in front has failed (a cancel request hit it): the server has skipped the client's request, which
 * has the error now. For the client a transaction is open, and it has failed: so it is made to be, before the request ends.
 */
void server_begin_failed(struct server *s, bool by_query)
{
	struct request *sync = ring_front(&s->ring);
	bool ends = sync || by_query;

	if (sync)
		sync->action = ACT_SWALLOW;
	else
		server_sync(s, (struct request){.action = ACT_SWALLOW});
	msgw_query(relay_out(&s->c), "BEGIN");
	server_push(s, &(struct request){.kind = REQ_QUERY, .action = ACT_SWALLOW, .unnamed = true});
	server_abort(s);
	if (ends)
		server_sync(s, (struct request){.action = ACT_FORWARD});
}

void server_stmt_go_on(struct server *s)
{
	struct conn *cl = s->c.peer;

	if (!cl || !cl->holds)
		return;
	if (server_keeps_waiting(s)) {
		if (cl->holds != HOLDS_FOR_ANSWERS)
			server_hurry(s);
		return;
	}
	cl->holds = HOLDS_NOTHING;
	relay_resume(cl);
}

void server_stmt_sent(struct server *s, const struct request *q)
{
	struct conn *cl = s->c.peer;

	if (cl && !q->unnamed && (q->stmt || q->kind == REQ_CLOSE || q->made))
		cl->names_batch = cl->batch;
	if (q->unnamed) {
		if (q->kind != REQ_PARSE)
			server_unnamed(s, UNNAMED_NONE, NULL);
		else if (cl && cl->unnamed)
			server_unnamed(s, UNNAMED_KNOWN, cl->unnamed);
		else
			server_unnamed(s, UNNAMED_CLIENTS, NULL);
	} else if (q->stmt) {
		if (q->kind == REQ_PARSE || q->kind == REQ_EXECUTE)
			stmt_cache_add(&s->prepared, q->stmt);
		else
			stmt_cache_remove(&s->prepared, q->stmt);
	}
}

void server_stmt_parted(struct server *s)
{
	stmt_map_clear(s->portals, UINT64_MAX);
	if (s->unnamed == UNNAMED_CLIENTS)
		s->unnamed = UNNAMED_OTHER;
}

void server_stmt_answer(struct server *s)
{
	struct request *q;

	while ((q = ring_front(&s->ring)) && q->action == ACT_ANSWER) {
		uint8_t type = q->kind == REQ_PARSE ? MSG_PARSE_COMPLETE : MSG_CLOSE_COMPLETE;

		if (s->c.peer) /* who may close while room is made for it: then the ring is another one */
			msgw_empty(relay_out(s->c.peer), type);
		server_record_trim(s);
		ring_pop(&s->ring);
	}
}

/* Whatever it was that the server has, it is not known. */
static void server_forget_unnamed(struct server *s, bool failed, const struct request *later)
{
	if (!later)
		server_unnamed(s, failed ? UNNAMED_NONE : UNNAMED_OTHER, NULL);
}

/* The unnamed statement is what it was before a message that the server skipped; for a later message that is what was before. */
static void server_undo_unnamed(struct server *s, const struct request *q, bool failed, struct request *later)
{
	struct conn *cl = s->c.peer;
	struct stmt **before = later ? &later->stmt : cl ? &cl->unnamed : NULL, *st = failed ? NULL : q->stmt;

	server_forget_unnamed(s, failed, later);
	if (!before)
		return;
	stmt_unref(before);
	*before = st ? stmt_ref(st) : NULL;
}

void server_stmt_undo(const struct request *q, bool failed, struct request *later, void *arg)
{
	struct server *s = arg;

	if (q->unnamed) {
		server_undo_unnamed(s, q, failed, later);
	} else if (q->kind == REQ_PARSE) {
		if (q->made)
			stmt_map_fail(q->name);
		if (q->stmt)
			stmt_cache_remove(&s->prepared, q->stmt);
		else if (q->action == ACT_FRONT)
			server_forget_unnamed(s, false, later);
	} else if (q->kind == REQ_EXECUTE && q->stmt) {
		stmt_cache_remove(&s->prepared, q->stmt);
	} else if (q->kind == REQ_CLOSE) {
		if (q->name)
			stmt_map_restore(q->name);
		if (q->stmt && !stmt_cache_use(&s->prepared, q->stmt))
			stmt_cache_add(&s->prepared, q->stmt);
		else if (!q->stmt && q->action == ACT_FRONT)
			server_forget_unnamed(s, false, later);
	}
}

void server_note_tag(struct server *s, const char *tag)
{
	bool discard = tag[0] == 'D' && !strcmp(tag, "DISCARD ALL");

	if (discard || (tag[0] == 'D' && !strcmp(tag, "DEALLOCATE ALL")))
		stmt_cache_clear(&s->prepared);
	if (discard)
		server_forget_unreported(s);
}

void server_stmt_free(struct server *s)
{
	stmt_cache_clear(&s->prepared);
	stmt_unref(&s->c.unnamed);
	stmt_map_free(&s->portals);
	vars_unref(&s->settings_of);
	vars_unref(&s->settings);
}
