/*
 * client_defer.c: a transaction that has begun for the client and not yet on a
 * server (defer_begin). BEGIN is answered here, as a Query or as a batch of its
 * own, and so is what ends the transaction when nothing was done in it; whatever
 * else comes takes a server,
 * where the BEGIN goes in front of it. A transaction may fail before it has a
 * server: then one is taken and put into that state.
 */
#include <string.h>

#include "conn/client_priv.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "pool/stmt.h"
#include "proto/msgw.h"
#include "proto/sqlscan.h"
#include "proto/wire.h"

/* A longer BEGIN goes to the server, and so does a longer batch: what waits for its end is little. */
enum { BEGIN_MAX = 250, BATCH_MAX = 512 };

static void client_count_answer(struct client *cl)
{
	cl->db->stats.now.queries++;
	cl->idle_us = clock_us();
	if (cl->limits.xact_idle_ms || cl->limits.xact_ms || cl->limits.idle_ms)
		conn_settle(&cl->c);
}

/* A server that says it is a standby is not used. */
static bool client_has_no_standby(const struct client *cl)
{
	return cl->db->cluster && cl->db->target == TARGET_PRIMARY;
}

/* What the text does, if no server is needed for that; SQL_TX_NONE: one is. */
static struct sql_tx client_tx(const struct client *cl, const char *text, size_t n)
{
	struct sql_tx tx = sqlscan_tx(text, n <= BEGIN_MAX ? n : 0, true);
	bool here = tx.ascii;

	if (tx.kind == SQL_TX_BEGIN || tx.kind == SQL_TX_START)
		/* Comments may be others each time, and would push statements of more use from the servers. */
		here = here && !cl->begin && cl->defers && (tx.standby || client_has_no_standby(cl)) &&
		       !memchr(text, '-', n) && !memchr(text, '/', n);
	else if (tx.kind == SQL_TX_COMMIT || tx.kind == SQL_TX_ROLLBACK)
		here = here && cl->begin && !(tx.chain && cl->aborted);
	else
		here = false;
	return here ? tx : (struct sql_tx){.kind = SQL_TX_NONE};
}

/* A statement of this text and no parameters. NULL: memory is out. */
static struct stmt *client_stmt(const struct client *cl, const char *text, size_t n, bool shared)
{
	struct registry *r = &cl->c.pooler->registry;
	char body[BEGIN_MAX + 3];

	memcpy(body, text, n);
	memset(body + n, 0, 3); /* its end, and no parameters */
	return stmt_get(r->stmts, r->no_vars, body, n + 3, shared);
}

/* portal: it was the unnamed portal that ran it, and that stays. Returns the tag. NULL: memory is out. */
static const char *client_begins(struct client *cl, struct sql_tx tx, const char *text, size_t n, bool portal)
{
	cl->begin = client_stmt(cl, text, n, true);
	if (!cl->begin)
		return NULL;
	cl->portal = portal;
	cl->status = 'T';
	cl->xact_us = clock_us();
	return tx.kind == SQL_TX_BEGIN ? "BEGIN" : "START TRANSACTION";
}

static const char *client_ends(struct client *cl, struct sql_tx tx)
{
	struct counters *stats = &cl->db->stats.now;
	bool commits = tx.kind == SQL_TX_COMMIT && !cl->aborted;

	stats->xacts++;
	stats->xact_us += (uint64_t)(clock_us() - cl->xact_us);
	cl->portal = false;
	if (tx.chain) { /* the next one has the same characteristics */
		cl->xact_us = clock_us();
	} else {
		cl->status = 'I';
		cl->xact_us = 0;
		cl->aborted = false;
		stmt_unref(&cl->begin);
	}
	return commits ? "COMMIT" : "ROLLBACK";
}

static const char *client_does(struct client *cl, struct sql_tx tx, const char *text, size_t n, bool portal)
{
	return cl->begin ? client_ends(cl, tx) : client_begins(cl, tx, text, n, portal);
}

/* ---- by a Query ------------------------------------------------------------------------ */

bool client_defer_query(struct client *cl, const struct msg *m)
{
	const char *tag = NULL;
	struct sql_tx tx;
	bool empty;
	size_t n;

	if ((!cl->defers && !cl->begin) || m->have < m->len || m->len > BEGIN_MAX ||
		(!cl->begin && !sqlscan_may_be_tx(m->payload, m->len)))
		return false;
	n = strnlen(m->payload, m->len);
	if (n + 1 != m->len)
		return false;
	empty = cl->begin && sqlscan_is_empty(m->payload, n, true);
	if (!empty) {
		tx = client_tx(cl, m->payload, n);
		tag = tx.kind == SQL_TX_NONE ? NULL : client_does(cl, tx, m->payload, n, false);
		if (!tag)
			return false;
		msgw_command_complete(relay_out(&cl->c), tag);
	} else {
		msgw_empty(relay_out(&cl->c), MSG_EMPTY_QUERY);
	}
	stmt_unref(&cl->c.unnamed); /* any Query ends it */
	msgw_ready(relay_out(&cl->c), cl->status);
	client_count_answer(cl);
	return true;
}

/* ---- by a batch of its own -------------------------------------------------------------- */

/* [Parse] Bind [Describe] Execute [Close] Sync of one statement, read ahead: nothing is done before all of it is seen. */
struct batch {
	struct msg parse; /* with .len, if there is one */
	const char *name; /* of the statement, NULL: not known yet */
	const char *text; /* of len bytes */
	size_t len;
	struct sql_tx tx;
	bool portal; /* the unnamed one is open, with this statement */
	bool executed;
	bool closed; /* the statement */
	unsigned n;
	uint8_t answers[BATCH_MAX / WIRE_HEADER]; /* types of messages, one or more for each of the client's */
};

static void batch_answers(struct batch *b, uint8_t type)
{
	b->answers[b->n++] = type;
}

/* Is the statement that it is about one that no server is needed for? body: what follows the name in its Parse. */
static bool batch_takes(struct batch *b, const struct client *cl, const char *name, const char *body, size_t len)
{
	b->name = name;
	b->text = body;
	b->len = strnlen(body, len);
	if (len != b->len + 3 || body[len - 2] || body[len - 1]) /* parameters, or malformed */
		return false;
	b->tx = client_tx(cl, body, b->len);
	return b->tx.kind != SQL_TX_NONE;
}

/* A message about the statement of that name: the one that was parsed in the batch, or that the client has. */
static bool batch_is_of(struct batch *b, const struct client *cl, const char *name)
{
	const struct stmt_name *n = *name && cl->named_tx && !b->name ? stmt_map_find(cl->names, name) : NULL;
	const struct stmt *st = *name ? (n ? n->stmt : NULL) : cl->c.unnamed;

	if (b->name)
		return !strcmp(b->name, name) && !b->closed;
	return st && batch_takes(b, cl, name, st->body, st->len);
}

static bool batch_parse(struct batch *b, const struct client *cl, const struct msg *m)
{
	size_t name = strnlen(m->payload, m->len) + 1;

	if (b->n || name >= m->len || (*m->payload && stmt_map_find(cl->names, m->payload)))
		return false;
	b->parse = *m;
	batch_answers(b, MSG_PARSE_COMPLETE);
	return batch_takes(b, cl, m->payload, m->payload + name, m->len - name);
}

static bool batch_bind(struct batch *b, const struct client *cl, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *portal = msgr_cstr(&r), *name = msgr_cstr(&r);
	uint16_t formats = msgr_u16(&r), values, results;

	(void)msgr_bytes(&r, 2 * (size_t)formats);
	values = msgr_u16(&r);
	results = msgr_u16(&r);
	(void)msgr_bytes(&r, 2 * (size_t)results);
	if (!msgr_end(&r) || formats > 1 || values || *portal || b->portal || b->executed || !batch_is_of(b, cl, name))
		return false;
	b->portal = true;
	batch_answers(b, MSG_BIND_COMPLETE);
	return true;
}

static bool batch_describe(struct batch *b, const struct client *cl, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	char what = (char)msgr_u8(&r);
	const char *name = msgr_cstr(&r);

	if (!msgr_end(&r) || b->executed ||
		(what == 'P' ? *name || !b->portal : what != 'S' || !batch_is_of(b, cl, name)))
		return false;
	if (what == 'S')
		batch_answers(b, MSG_PARAMETER_DESCRIPTION);
	batch_answers(b, MSG_NO_DATA);
	return true;
}

static bool batch_execute(struct batch *b, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *portal = msgr_cstr(&r);

	(void)msgr_u32(&r); /* no rows, no limit of them */
	if (!msgr_end(&r) || *portal || !b->portal || b->executed)
		return false;
	b->executed = true;
	batch_answers(b, MSG_COMMAND_COMPLETE);
	return true;
}

static bool batch_close(struct batch *b, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	char what = (char)msgr_u8(&r);
	const char *name = msgr_cstr(&r);

	if (!msgr_end(&r) || !b->executed || (what != 'P' && (what != 'S' || strcmp(name, b->name) != 0)))
		return false;
	if (what == 'S')
		b->closed = true;
	else if (!*name)
		b->portal = false;
	batch_answers(b, MSG_CLOSE_COMPLETE);
	return true;
}

/* The next message. False: the batch needs a server. */
static bool batch_goes_on(struct batch *b, const struct client *cl, const struct msg *m)
{
	if (client_refusal(cl, m) != REFUSE_COUNT || b->n + 2 > sizeof(b->answers))
		return false;
	switch (m->type) {
	case MSG_PARSE: return batch_parse(b, cl, m);
	case MSG_BIND: return batch_bind(b, cl, m);
	case MSG_DESCRIBE: return batch_describe(b, cl, m);
	case MSG_EXECUTE: return batch_execute(b, m);
	case MSG_CLOSE: return batch_close(b, m);
	case MSG_SYNC: return b->executed && !m->len;
	default: return false;
	}
}

/* V_DROP: a whole batch was read. V_MORE, V_FORWARD: as client_defer_batch(). */
static enum verdict batch_read(struct batch *b, const struct client *cl, uint32_t *arg)
{
	struct msg m = {0};
	size_t n, need, at = 0;
	const char *p = relay_ahead(&cl->c, &n);

	while (m.type != MSG_SYNC) {
		enum wire_result r = wire_scan(WIRE_CLIENT, p + at, n - at, &m, &need);

		if (r == WIRE_OK && m.have < m.len) {
			r = WIRE_MORE;
			need = (size_t)WIRE_HEADER + m.len;
		}
		if (r == WIRE_MORE && at + need <= BATCH_MAX) {
			*arg = (uint32_t)(at + need - WIRE_HEADER);
			return V_MORE;
		}
		if (r != WIRE_OK || !batch_goes_on(b, cl, &m))
			return V_FORWARD;
		at += (size_t)WIRE_HEADER + m.len;
	}
	return V_DROP;
}

/* What was parsed is the client's, as if a server had it. False: memory is out. */
static bool client_keep_parsed(struct client *cl, const struct batch *b)
{
	struct stmt *st = client_stmt(cl, b->text, b->len, *b->name);

	if (!st || (*b->name && !stmt_map_add(&cl->names, b->name, st))) {
		stmt_unref(&st);
		return false;
	}
	if (*b->name) {
		stmt_unref(&st);
	} else {
		stmt_unref(&cl->c.unnamed);
		cl->c.unnamed = st;
		cl->c.unnamed_parse++;
	}
	cl->db->stats.now.client_parses++;
	client_note_text(cl, &b->parse, client_parse_text(&b->parse), false);
	return true;
}

static void client_answer_batch(struct client *cl, const struct batch *b, const char *tag)
{
	struct buf *out = relay_out(&cl->c);

	for (unsigned i = 0; i < b->n; i++)
		if (b->answers[i] == MSG_COMMAND_COMPLETE)
			msgw_command_complete(out, tag);
		else if (b->answers[i] == MSG_PARAMETER_DESCRIPTION)
			msgw_parameter_description(out, NULL, 0);
		else
			msgw_empty(out, b->answers[i]);
	cl->db->stats.now.binds++;
	client_count_answer(cl);
	cl->skipping = true; /* up to the Sync, which is answered */
}

/* A cheap look at its first message. */
static bool may_be_batch(const struct client *cl, const struct msg *m)
{
	size_t first = m->type == MSG_DESCRIBE ? 1 : strlen(m->payload) + 1;
	const struct stmt *st = cl->c.unnamed;

	if (m->type == MSG_PARSE)
		return m->have < m->len || sqlscan_may_be_tx(m->payload + first, m->len - first);
	return m->payload[first] ? cl->named_tx : st && sqlscan_may_be_tx(st->body, st->len);
}

enum verdict client_defer_batch(struct client *cl, const struct msg *m, uint32_t *arg)
{
	struct batch b;
	enum verdict v;
	const char *tag;

	if ((!cl->defers && !cl->begin) || m->len > BATCH_MAX || !client_changes_servers(cl) || !may_be_batch(cl, m))
		return V_FORWARD;
	b = (struct batch){.name = NULL};
	v = batch_read(&b, cl, arg);
	if (v != V_DROP)
		return v;
	tag = client_does(cl, b.tx, b.text, b.len, b.portal);
	if (!tag || (b.parse.len && !client_keep_parsed(cl, &b))) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	client_answer_batch(cl, &b, tag);
	if (b.closed)
		client_stmt_forget(cl, b.name);
	return V_DROP;
}

/* ---- when there is a server ---------------------------------------------------------------- */

void client_defer_send(struct client *cl)
{
	struct conn *s = cl->c.peer;

	s->ops->serves->begin(s, cl->begin, cl->portal, cl->aborted);
	if (cl->orphaned)
		client_orphan_end(cl);
	stmt_unref(&cl->begin);
	cl->aborted = cl->portal = false;
}

bool client_defer_plain(struct client *cl)
{
	struct stmt *st = client_stmt(cl, "BEGIN", strlen("BEGIN"), true);

	stmt_unref(&cl->begin);
	cl->begin = st;
	cl->aborted = cl->portal = false;
	return st;
}

char client_defer_fail(struct client *cl)
{
	if (cl->begin) {
		cl->aborted = true;
		cl->status = 'E';
	}
	return cl->status;
}
