/*
 * client_orphan.c: a client whose transaction was lost with its server. Until
 * it ends the transaction it is answered as PostgreSQL does in an aborted block
 * (manual, 55.2.3, and what was seen of it), without a server: there may be none to be had. It
 * is a deferred transaction that has failed, for those texts that end it and go on:
 * they take a server, where it is made to be that.
 *
 * Who was in no request when the server was lost has heard nothing of it. Then
 * the first answer that PostgreSQL would not give is the error that tells.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conn/client_priv.h"
#include "conn/relay.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/sqlscan.h"
#include "proto/wire.h"

/* What is no longer is held whole; nothing that ends a transaction is. */
enum { ORPHAN_HELD = WIRE_HEAD_MAX };

struct orphan {
	struct stmt_map *portals; /* those that end the transaction; others there cannot be */
	struct vars *before;	  /* what it was told before its transaction, and is to be told again; NULL: it was */
	bool told;		  /* it has had the error */
	char detail[];		  /* what the server said of its end */
};

bool client_orphan_begin(struct client *cl, const char *text, bool told, struct vars **vars)
{
	size_t n = strlen(text) + 1;
	struct orphan *o = try_realloc(MEM_CLIENT, NULL, sizeof(*o) + n);

	if (!o || !client_defer_plain(cl)) {
		xfree(MEM_CLIENT, o);
		vars_unref(vars);
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return false;
	}
	*o = (struct orphan){.told = told, .before = *vars};
	*vars = NULL;
	memcpy(o->detail, text, n);
	cl->orphan = o;
	cl->orphaned = true;
	cl->aborted = told;
	return true;
}

const char *client_orphan_detail(const struct client *cl)
{
	return cl->orphan->detail;
}

void client_orphan_end(struct client *cl)
{
	stmt_map_free(&cl->orphan->portals);
	vars_unref(&cl->orphan->before);
	xfree(MEM_CLIENT, cl->orphan);
	cl->orphan = NULL;
	cl->orphaned = false;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void orphan_answered(struct client *cl)
{
	cl->db->stats.now.queries++;
	client_answered(cl);
	if (cl->limits.xact_idle_ms || cl->limits.xact_ms || cl->limits.idle_ms)
		conn_settle(&cl->c);
}

static enum verdict orphan_ready(struct client *cl)
{
	struct orphan *o = cl->orphaned ? cl->orphan : NULL;

	if (o && o->before)
		client_tell_vars(cl, &o->before, NULL);
	msgw_ready(relay_out(&cl->c), cl->status);
	orphan_answered(cl);
	return V_DROP;
}

static enum verdict orphan_empty(struct client *cl, uint8_t type)
{
	msgw_empty(relay_out(&cl->c), type);
	return V_DROP;
}

/* The error, and up to a Sync nothing more is heard; simple: it is the whole answer. */
static enum verdict orphan_error(struct client *cl, const struct msgw_error *e, bool simple)
{
	struct orphan *o = cl->orphan;

	if (client_settings(cl)->log_pooler_errors && strcmp(e->code, "25P02") != 0)
		conn_log(&cl->c, LL_WARNING, "pooler error: %s", e->message);
	msgw_error(relay_out(&cl->c), e);
	if (o->before)
		client_tell_vars(cl, &o->before, NULL);
	o->told = cl->aborted = true;
	cl->status = 'E';
	if (simple)
		return orphan_ready(cl);
	cl->skipping = true;
	client_answered(cl);
	return V_DROP;
}

/* The one error that tells of the loss, as long as it was not told. */
static enum verdict orphan_fails(struct client *cl, const char *code, const char *text, bool simple)
{
	struct msgw_error e = {.severity = "ERROR", .code = code, .message = text};

	if (!cl->orphan->told) {
		e.code = "08006";
		e.message = "server connection lost: nothing of it was or will be committed";
		e.detail = cl->orphan->detail;
	}
	return orphan_error(cl, &e, simple);
}

static enum verdict orphan_aborted(struct client *cl, bool simple)
{
	return orphan_fails(cl, "25P02",
		"current transaction is aborted, commands ignored until end of transaction block", simple);
}

static enum verdict orphan_fails_of(struct client *cl, const char *code, const char *what, const char *name,
	const char *how)
{
	char text[160];

	snprintf(text, sizeof(text), "%s \"%.63s\" %s", what, name, how);
	return orphan_fails(cl, code, text, false);
}

static enum verdict orphan_no_statement(struct client *cl, const char *name)
{
	if (!*name)
		return orphan_fails(cl, "26000", "unnamed prepared statement does not exist", false);
	return orphan_fails_of(cl, "26000", "prepared statement", name, "does not exist");
}

static enum verdict orphan_malformed(struct client *cl, bool simple)
{
	return orphan_fails(cl, "08P01", "invalid message format", simple);
}

/* ---- the end of the transaction ---------------------------------------------------------------- */

static void orphan_is_over(struct client *cl)
{
	struct counters *n = &cl->db->stats.now;
	struct orphan *o = cl->orphan;

	n->xacts++;
	n->xact_us += (uint64_t)(clock_us() - cl->xact_us);
	if (o->before)
		client_tell_vars(cl, &o->before, NULL);
	client_orphan_end(cl);
	stmt_unref(&cl->begin);
	cl->aborted = false;
	cl->status = 'I';
	cl->xact_us = 0;
}

/* The next transaction has none of the characteristics of this one: it had failed. */
static enum verdict orphan_chains(struct client *cl)
{
	orphan_is_over(cl);
	if (!client_defer_plain(cl)) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	cl->status = 'T';
	cl->xact_us = clock_us();
	return V_DROP;
}

/* A statement that ends the transaction, or goes back in it, is run. */
static enum verdict orphan_runs(struct client *cl, struct sql_tx tx, bool simple)
{
	bool told = cl->orphan->told, chain = tx.chain;
	enum verdict v = V_DROP;

	if (tx.kind == SQL_TX_ROLLBACK_TO)
		return orphan_fails(cl, "08006", "server connection lost, savepoint is gone", simple);
	if (!told && tx.kind == SQL_TX_ROLLBACK && chain)
		return orphan_aborted(cl, simple); /* its characteristics would go on, and they are lost */
	if (!told && tx.kind != SQL_TX_ROLLBACK) {
		v = orphan_aborted(cl, false);
		orphan_is_over(cl);
		cl->skipping = !simple;
	} else {
		msgw_command_complete(relay_out(&cl->c), "ROLLBACK");
		if (chain)
			v = orphan_chains(cl);
		else
			orphan_is_over(cl);
	}
	return simple && v == V_DROP ? orphan_ready(cl) : v;
}

static bool ends_transaction(struct sql_tx tx)
{
	return tx.kind == SQL_TX_COMMIT || tx.kind == SQL_TX_ROLLBACK || tx.kind == SQL_TX_PREPARE ||
	       tx.kind == SQL_TX_ROLLBACK_TO;
}

/* ---- Query ---------------------------------------------------------------------------------------- */

/* What is its first statement, as far as the text is there? */
static enum stmt_class first_class(const struct client *cl, struct text t)
{
	struct sqlscan scan = sqlscan_init(t.p, t.n, t.whole, client_standard_strings(cl));
	struct sql_stmt st;

	(void)sqlscan_next(&scan, &st);
	return st.class;
}

static void orphan_drop_portal(struct client *cl, const char *portal)
{
	struct stmt_name *n = stmt_map_find(cl->orphan->portals, portal);

	if (n)
		stmt_map_fail(n);
}

static enum verdict orphan_query(struct client *cl, const struct msg *m, uint32_t *arg)
{
	size_t n = strnlen(m->payload, m->have);
	struct text t = {m->payload, n, n < m->have};
	enum stmt_class class;
	struct sql_tx tx;

	if (m->have < m->len && m->len <= ORPHAN_HELD) {
		*arg = m->len;
		return V_MORE;
	}
	stmt_unref(&cl->c.unnamed); /* any Query ends it, */
	orphan_drop_portal(cl, ""); /* and its portal */
	if (m->have == m->len && n + 1 != m->len)
		return orphan_malformed(cl, true);
	tx = sqlscan_tx(t.p, t.n, t.whole);
	if (ends_transaction(tx))
		return orphan_runs(cl, tx, true);
	if (!cl->orphan->told)
		return orphan_aborted(cl, true);
	if (sqlscan_is_empty(t.p, t.n, t.whole)) {
		(void)orphan_empty(cl, MSG_EMPTY_QUERY);
		return orphan_ready(cl);
	}
	class = first_class(cl, t);
	if (class == STMT_COMMIT || class == STMT_ROLLBACK || class == STMT_PREPARE_TRANSACTION)
		return V_FORWARD; /* what stands behind it runs */
	if (class == STMT_ROLLBACK_TO)
		return orphan_runs(cl, (struct sql_tx){.kind = SQL_TX_ROLLBACK_TO}, true);
	return orphan_aborted(cl, true);
}

/* ---- the extended protocol -------------------------------------------------------------------------- */

/* What running it does to the transaction; SQL_TX_NONE too for one with parameters. */
static struct sql_tx stmt_tx(const struct stmt *st)
{
	struct sql_tx none = {.kind = SQL_TX_NONE}, tx;
	size_t n = strlen(st->body);

	if (stmt_is_sql(st) || st->len != n + 3 || st->body[n + 1] || st->body[n + 2])
		return none;
	tx = sqlscan_tx(st->body, n, true);
	return ends_transaction(tx) ? tx : none;
}

static struct stmt *orphan_stmt(const struct client *cl, const char *name)
{
	const struct stmt_name *n = *name ? stmt_map_find(cl->names, name) : NULL;

	return *name ? (n ? n->stmt : NULL) : cl->c.unnamed;
}

static enum verdict orphan_keeps(struct client *cl, const char *name, const char *body, size_t len)
{
	struct registry *r = &cl->c.pooler->registry;
	struct stmt *st = stmt_get(r->stmts, r->no_vars, body, len, *name);

	if (!st || (*name && !stmt_map_add(&cl->names, name, st))) {
		stmt_unref(&st);
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	if (*name) {
		stmt_unref(&st);
	} else {
		cl->c.unnamed = st;
		cl->c.unnamed_parse++;
	}
	return orphan_empty(cl, MSG_PARSE_COMPLETE);
}

static enum verdict orphan_parse(struct client *cl, const struct msg *m, uint32_t *arg)
{
	const char *name = m->payload, *text = name + strlen(name) + 1;
	size_t rest = m->len - (size_t)(text - name), n;

	if (m->have < m->len && m->len <= ORPHAN_HELD) {
		*arg = m->len;
		return V_MORE;
	}
	cl->db->stats.now.client_parses++;
	if (!*name)
		stmt_unref(&cl->c.unnamed);
	if (m->have < m->len)
		return orphan_aborted(cl, false);
	n = strnlen(text, rest);
	if (rest < n + 3)
		return orphan_malformed(cl, false);
	if (rest != n + 3 || text[n + 1] || text[n + 2] ||
		!(sqlscan_is_empty(text, n, true) || ends_transaction(sqlscan_tx(text, n, true))))
		return orphan_aborted(cl, false);
	if (*name && stmt_map_find(cl->names, name))
		return orphan_fails_of(cl, "42P05", "prepared statement", name, "already exists");
	client_note_text(cl, m, (struct text){text, n, true}, false);
	return orphan_keeps(cl, name, text, rest);
}

/* How many values it has; false: it is malformed. */
static bool bind_values(const struct msg *m, uint16_t *values)
{
	struct msgr r = msgr_of(m);
	uint16_t formats;

	(void)msgr_cstr(&r);
	(void)msgr_cstr(&r);
	formats = msgr_u16(&r);
	(void)msgr_bytes(&r, 2 * (size_t)formats);
	*values = msgr_u16(&r);
	for (unsigned i = 0; i < *values && !r.failed; i++) {
		uint32_t n = msgr_u32(&r);

		if (n != UINT32_MAX)
			(void)msgr_bytes(&r, n);
	}
	(void)msgr_bytes(&r, 2 * (size_t)msgr_u16(&r));
	return msgr_end(&r);
}

static enum verdict orphan_bind(struct client *cl, const struct msg *m, uint32_t *arg)
{
	const char *portal = m->payload, *name = portal + strlen(portal) + 1;
	struct stmt *st = orphan_stmt(cl, name);
	uint16_t values = 0;
	char text[200];

	if (m->have < m->len && m->len <= ORPHAN_HELD) {
		*arg = m->len;
		return V_MORE;
	}
	cl->db->stats.now.binds++;
	if (!st)
		return orphan_no_statement(cl, name);
	if (stmt_tx(st).kind == SQL_TX_NONE || m->have < m->len)
		return orphan_aborted(cl, false);
	if (!bind_values(m, &values))
		return orphan_malformed(cl, false);
	if (values) {
		snprintf(text, sizeof(text),
			"bind message supplies %u parameters, but prepared statement \"%.63s\" requires 0", values,
			name);
		return orphan_fails(cl, "08P01", text, false);
	}
	if (!*portal)
		orphan_drop_portal(cl, portal);
	else if (stmt_map_find(cl->orphan->portals, portal))
		return orphan_fails_of(cl, "42P03", "cursor", portal, "already exists");
	if (!stmt_map_add(&cl->orphan->portals, portal, st)) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	return orphan_empty(cl, MSG_BIND_COMPLETE);
}

static enum verdict orphan_describe(struct client *cl, char what, const char *name)
{
	struct stmt *st = what == 'S' ? orphan_stmt(cl, name) : NULL;

	if (what == 'S' && !st)
		return orphan_no_statement(cl, name);
	if (what == 'S' && stmt_tx(st).kind == SQL_TX_NONE)
		return orphan_aborted(cl, false);
	if (what == 'P' && !stmt_map_find(cl->orphan->portals, name))
		return orphan_fails_of(cl, "34000", "portal", name, "does not exist");
	if (what == 'S')
		msgw_parameter_description(relay_out(&cl->c), NULL, 0);
	return orphan_empty(cl, MSG_NO_DATA);
}

static enum verdict orphan_execute(struct client *cl, const struct msg *m)
{
	struct stmt_name *n = stmt_map_find(cl->orphan->portals, m->payload);
	struct sql_tx tx;

	if (m->len != strlen(m->payload) + 1 + 4)
		return orphan_malformed(cl, false);
	if (!n)
		return orphan_fails_of(cl, "34000", "portal", m->payload, "does not exist");
	tx = stmt_tx(n->stmt);
	stmt_map_fail(n);
	return orphan_runs(cl, tx, false);
}

static enum verdict orphan_close(struct client *cl, char what, const char *name)
{
	if (what == 'S')
		client_stmt_forget(cl, name);
	else
		orphan_drop_portal(cl, name);
	return orphan_empty(cl, MSG_CLOSE_COMPLETE);
}

static enum verdict orphan_about(struct client *cl, const struct msg *m)
{
	char what = m->payload[0];
	const char *name = m->payload + 1;

	if ((what != 'S' && what != 'P') || m->len != strlen(name) + 2)
		return orphan_malformed(cl, false);
	return m->type == MSG_DESCRIBE ? orphan_describe(cl, what, name) : orphan_close(cl, what, name);
}

static enum verdict orphan_sync(struct client *cl)
{
	cl->status = 'E';
	return orphan_ready(cl);
}

enum verdict client_orphan_message(struct client *cl, const struct msg *m, enum refusal why, bool sound, uint32_t *arg)
{
	bool simple = m->type == MSG_QUERY || m->type == MSG_FUNCTION_CALL;

	if (m->type == MSG_COPY_DATA || m->type == MSG_COPY_DONE || m->type == MSG_COPY_FAIL)
		return V_DROP;
	if (why != REFUSE_COUNT)
		return orphan_fails(cl, refusal_rows[why].code, refusal_rows[why].text, simple);
	if (!sound || ((m->type == MSG_SYNC || m->type == MSG_FLUSH) && m->len))
		return orphan_malformed(cl, simple);
	switch (m->type) {
	case MSG_QUERY: return orphan_query(cl, m, arg);
	case MSG_PARSE: return orphan_parse(cl, m, arg);
	case MSG_BIND: return orphan_bind(cl, m, arg);
	case MSG_DESCRIBE:
	case MSG_CLOSE: return orphan_about(cl, m);
	case MSG_EXECUTE: return orphan_execute(cl, m);
	case MSG_SYNC: return orphan_sync(cl);
	case MSG_FLUSH: return V_DROP;
	default: return orphan_aborted(cl, simple);
	}
}
