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

/* Of protocol 3.0, and from 3.2 on (55.2.8: a secret of 4 to 256 bytes; ours has PostgreSQL's 32), each with the process id. */
enum { CANCEL_KEY = 8, CANCEL_KEY_LONG = 36, LONG_KEY_MINOR = 2 };

/*
 * Process id and secret as a client of protocol 3.0 was told them; embedded in it. What a longer key has more follows from
 * them and from a secret of this process. Zero-initialise: key[7] is 0 as long as none was given.
 */
struct cancel_key {
	struct hnode node;
	uint8_t key[CANCEL_KEY];
};

/* Makes a key that no other has, and keeps it findable until cancel_key_drop(). */
void cancel_key_give(struct pooler *p, struct cancel_key *k);
void cancel_key_drop(struct pooler *p, struct cancel_key *k); /* nothing when none was given */
/* The key in its longer form. */
void cancel_key_lengthen(const struct pooler *p, const struct cancel_key *k, uint8_t out[CANCEL_KEY_LONG]);
/*
 * The one with this key of n bytes, or NULL. Compares in constant time. Both forms of a key find it: whether n is the form
 * that its owner was told is for the caller to look at.
 */
struct cancel_key *cancel_key_find(struct pooler *p, const void *key, size_t n);

/* The number of the process that gave this key of n bytes, 0: of none in a group. */
unsigned cancel_key_peer(const uint8_t *key, size_t n);
/* How often may a request with this key still be passed on to another process? */
unsigned cancel_key_hops(const uint8_t *key, size_t n);

/* Which backend, or which peer, and how to get there. */
struct cancel_target {
	struct endpoint *endpoint;
	const struct addr *addr; /* of the connection to be cancelled; NULL: any of the endpoint */
	bool direct, secure;	 /* as it was dialled */
	const uint8_t *key;	 /* BackendKeyData as it came */
	size_t key_len;
	bool hop;   /* one hop less is left in the key */
	bool waits; /* until cancel_go(), at most cancel_wait_timeout */
	/* When it is over, if not NULL. waited: it was never sent. */
	void (*done)(struct conn *c, bool waited, void *arg);
	void *arg;
};

/*
 * Sends a request. server (may be NULL) is told by link_server_ops.cancelled() how it ended; by (may be NULL), the connection
 * that brought the request, is closed then.
 */
void cancel_send(struct pooler *p, const struct cancel_target *t, struct conn *server, struct conn *by);
/* The oldest that waits with this arg goes. False: none does. */
bool cancel_go(struct pooler *p, const void *arg);
/* The connection is closing: requests to it or from it have nobody to tell. */
void cancel_forget(struct conn *c);

#endif
