/*
 * peer: the other processes of a group ([peers]). A cancel request for a client
 * of another process is passed on to that one, whose number its key has
 * (conn/cancel.h): at most so many at once as its pool_size allows, the others
 * wait, at most cancel_wait_timeout.
 */
#ifndef PSBOUNCER_CONN_PEER_H
#define PSBOUNCER_CONN_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct conn;
struct endpoint;
struct pooler;

struct peer {
	TAILQ_ENTRY(peer) link; /* in pooler->peers, by id */
	unsigned id;
	struct endpoint *endpoint; /* held */
	int64_t size;
	bool gone; /* from the configuration: it goes with its last request */
	unsigned active, waiting;
};

/* [peers] of the configuration in force. */
void peers_configure(struct pooler *p);
void peers_free(struct pooler *p); /* no request is left */
/*
 * Passes on a cancel request whose key is nobody's here; by, which brought it, is closed when it has landed. False: it is for no
 * peer, or has been passed on too often.
 */
bool peer_cancel(struct pooler *p, const uint8_t *key, size_t n, struct conn *by);

#endif
