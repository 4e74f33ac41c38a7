/*
 * client_defer.c: a transaction that has begun for the client and not yet on a
 * server (defer_begin). BEGIN is answered here, and so is what ends the
 * transaction when nothing was done in it; whatever else comes takes a server,
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

/* A longer BEGIN goes to the server. */
enum { BEGIN_MAX = 250 };

static void client_tell(struct client *cl, const char *tag)
{
	struct counters *n = &cl->db->stats.now;

	if (tag)
		msgw_command_complete(relay_out(&cl->c), tag);
	else
		msgw_empty(relay_out(&cl->c), MSG_EMPTY_QUERY);
	msgw_ready(relay_out(&cl->c), cl->status);
	n->queries++;
	cl->idle_us = clock_us();
	if (cl->limits.xact_idle_ms || cl->limits.xact_ms || cl->limits.idle_ms)
		conn_settle(&cl->c);
}

/*
 * Keeps the BEGIN as what it will be on a server: a prepared statement of no parameters, in place of the client's unnamed
 * one, which any Query ends. False: memory is out.
 */
static bool client_keep_begin(struct client *cl, const char *text, size_t n)
{
	struct registry *r = &cl->c.pooler->registry;
	char body[BEGIN_MAX + 3] = "";

	memcpy(body, text, n);
	stmt_unref(&cl->c.unnamed);
	cl->c.unnamed = stmt_get(r->stmts, r->no_vars, body, n + 3, true);
	cl->deferred = cl->c.unnamed;
	return cl->deferred;
}

static bool client_defers(struct client *cl, const char *text, size_t n)
{
	struct sql_tx tx = sqlscan_tx(text, n, true, true);

	if ((tx.kind != SQL_TX_BEGIN && tx.kind != SQL_TX_START) || !tx.standby || !tx.ascii)
		return false;
	/* Comments may be others each time, and would push statements of more use from the servers. */
	if (memchr(text, '-', n) || memchr(text, '/', n) || !client_keep_begin(cl, text, n))
		return false;
	cl->status = 'T';
	cl->xact_us = clock_us();
	client_tell(cl, tx.kind == SQL_TX_BEGIN ? "BEGIN" : "START TRANSACTION");
	return true;
}

static bool client_ends_deferred(struct client *cl, const char *text, size_t n)
{
	struct sql_tx tx = sqlscan_tx(text, n, true, true);
	struct counters *stats = &cl->db->stats.now;
	bool commits = tx.kind == SQL_TX_COMMIT && !cl->aborted;

	if ((tx.kind != SQL_TX_COMMIT && tx.kind != SQL_TX_ROLLBACK) || !tx.ascii || (tx.chain && cl->aborted))
		return false;
	stats->xacts++;
	stats->xact_us += (uint64_t)(clock_us() - cl->xact_us);
	if (tx.chain) { /* the next one has the same characteristics */
		cl->xact_us = clock_us();
	} else {
		cl->status = 'I';
		cl->xact_us = 0;
		cl->aborted = cl->deferred = false;
		stmt_unref(&cl->c.unnamed);
	}
	client_tell(cl, commits ? "COMMIT" : "ROLLBACK");
	return true;
}

bool client_defer_query(struct client *cl, const struct msg *m)
{
	size_t n = m->have < m->len || m->len > BEGIN_MAX ? 0 : strnlen(m->payload, m->len);

	if ((!cl->defers && !cl->deferred) || n + 1 != m->len)
		return false;
	if (!cl->deferred)
		return client_defers(cl, m->payload, n);
	if (!sqlscan_is_empty(m->payload, n, true))
		return client_ends_deferred(cl, m->payload, n);
	client_tell(cl, NULL);
	return true;
}

void client_defer_send(struct client *cl)
{
	struct conn *s = cl->c.peer;

	s->ops->serves->begin(s, cl->c.unnamed, cl->aborted);
	stmt_unref(&cl->c.unnamed);
	cl->aborted = cl->deferred = false;
}

char client_defer_fail(struct client *cl)
{
	if (cl->deferred) {
		cl->aborted = true;
		cl->status = 'E';
	}
	return cl->status;
}
