/*
 * cancel: cancel requests. The keys by which they name a client, and the short
 * connections that carry a request of ours to a server (PostgreSQL manual,
 * 55.2.8). A request has landed when the server closes that connection; only then
 * its target may be used for somebody else.
 */
#ifndef PSBOUNCER_CONN_CANCEL_H
#define PSBOUNCER_CONN_CANCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/htab.h"

struct addr;
struct conn;
struct endpoint;
struct pooler;

enum { CANCEL_KEY = 8 };

/* Process id and secret as a client was told them; embedded in it. Zero-initialise: key[7] is 0 as long as none was given. */
struct cancel_key {
	struct hnode node;
	uint8_t key[CANCEL_KEY];
};

/* Makes a key that no other has, and keeps it findable until cancel_key_drop(). */
void cancel_key_give(struct pooler *p, struct cancel_key *k);
void cancel_key_drop(struct pooler *p, struct cancel_key *k); /* nothing when none was given */
/* The one with this key of n bytes, or NULL. Compares in constant time. */
struct cancel_key *cancel_key_find(struct pooler *p, const void *key, size_t n);

/* Which backend, and how to get there. */
struct cancel_target {
	struct endpoint *endpoint;
	const struct addr *addr; /* of the connection to be cancelled */
	bool direct, secure;	 /* as it was dialled */
	const uint8_t *key;	 /* BackendKeyData as it came */
	size_t key_len;
};

/*
 * Sends a request. server is told by link_server_ops.cancelled() how it ended; by (may be NULL), the connection that brought the
 * request, is closed then.
 */
void cancel_send(struct conn *server, const struct cancel_target *t, struct conn *by);
/* The connection is closing: requests to it or from it have nobody to tell. */
void cancel_forget(struct conn *c);

#endif
