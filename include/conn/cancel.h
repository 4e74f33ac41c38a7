/*
 * cancel: cancel requests. Keys of clients, and the short connections that
 * carry a request of ours to a server (PostgreSQL manual, 55.2.8). A request has
 * landed when the server closes that connection; only then its target may be used
 * for somebody else.
 */
#ifndef PSBOUNCER_CONN_CANCEL_H
#define PSBOUNCER_CONN_CANCEL_H

#include <stddef.h>
#include <stdint.h>

struct client;
struct pooler;
struct server;

/* Gives the client a key that no other has, and keeps it findable until cancel_key_drop(). */
void cancel_key_give(struct client *cl);
void cancel_key_drop(struct client *cl);
/* The client of a key of n bytes, or NULL. Compares in constant time. */
struct client *cancel_key_find(struct pooler *p, const void *key, size_t n);

/* Asks the server to cancel what runs. s->cancels counts it until server_cancel_landed(). by (may be NULL) is the client whose
 * connection brought the request: it is closed when the request has landed. */
void cancel_send(struct server *s, struct client *by);
/* The server or the requesting client is closing. */
void cancel_forget_server(struct server *s);
void cancel_forget_client(struct client *cl);
/* Under way, for SHOW POOLS: those to servers of this pool. */
struct pool;
unsigned cancel_count(const struct pooler *p, const struct pool *pool);

#endif
