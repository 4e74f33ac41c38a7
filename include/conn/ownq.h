/*
 * ownq: a query of our own on a server connection, between clients: check,
 * reset, connect_query, parameters, rollback. The one way to ask a server
 * something.
 */
#ifndef PSBOUNCER_CONN_OWNQ_H
#define PSBOUNCER_CONN_OWNQ_H

#include <stddef.h>
#include <stdint.h>

#include "conn/conn.h"

struct ownq_result {
	bool ok;	  /* no ErrorResponse came */
	char status;	  /* of ReadyForQuery */
	char code[6];	  /* of the first error */
	const char *text; /* of the first error, "" if none; valid during the callback */
};

/* Values of a row as texts, NULL for null; valid during the call. */
typedef void ownq_row(struct server *s, const char *const *values, size_t n, void *arg);
/* At ReadyForQuery; the query is over, another one may be begun. Not called when the connection closes. */
typedef void ownq_done(struct server *s, const struct ownq_result *r, void *arg);

struct ownq_call {
	const char *before;	   /* a simple query in front of it in the same round trip; may be NULL */
	const char *sql;	   /* NULL: nothing but a Sync */
	const char *const *params; /* texts; NULL: a simple query */
	size_t n_params;
	ownq_row *row; /* may be NULL */
	ownq_done *done;
	void *arg;
	int64_t timeout_us;  /* 0: none */
	enum close_why late; /* with which the server is closed when it takes longer */
};

/*
 * Sends it. The caller has put the server into a state that runs own queries (SETUP, PREPARE, TEST, CLEAN); sql and
 * params are copied into the connection's out.
 */
void ownq_start(struct server *s, const struct ownq_call *q);
/* From the server's message handler, in those states. */
enum verdict ownq_message(struct server *s, const struct msg *m, uint32_t *arg);
/* Forgets it without a callback (the connection closes). */
void ownq_free(struct server *s);
/* Absolute time by which it must be over, 0: none. */
int64_t ownq_due(const struct server *s);
enum close_why ownq_late(const struct server *s);

#endif
