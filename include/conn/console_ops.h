/*
 * console_ops: what the conn floor asks of the console above it. A client that
 * logged in to the virtual database is handed over in CS_CONSOLE; from there on
 * its messages are the console's.
 */
#ifndef PSBOUNCER_CONN_CONSOLE_OPS_H
#define PSBOUNCER_CONN_CONSOLE_OPS_H

#include "conn/conn.h"

struct console_ops {
	/* After AuthenticationOk was put into the client's out: add the welcome up to ReadyForQuery, make client->console. */
	void (*open)(struct client *cl, void *ctx);
	/* A message in CS_CONSOLE, whole up to CONSOLE_LIMIT bytes. May put the client to CS_CONSOLE_WAIT (a command that waits): then
	 * nothing is read until it is back in CS_CONSOLE (client_goto() and relay_resume()). */
	enum verdict (*message)(struct client *cl, const struct msg *m, uint32_t *arg, void *ctx);
	/* A cancel request for a client in CS_CONSOLE_WAIT. */
	void (*cancel)(struct client *cl, void *ctx);
	/* The client is closing: frees client->console. */
	void (*close)(struct client *cl, void *ctx);
};

enum { CONSOLE_LIMIT = 65536 };

#endif
