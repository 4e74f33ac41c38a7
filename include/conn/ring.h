/*
 * ring: the requests that a server was sent and has not answered. Replies pop
 * it (PostgreSQL manual, 55.2.3 and 55.2.4). What is to become of an answer
 * stands with its request.
 */
#ifndef PSBOUNCER_CONN_RING_H
#define PSBOUNCER_CONN_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum request_kind {
	REQ_QUERY, /* Query or FunctionCall: over at ReadyForQuery */
	REQ_PARSE,
	REQ_BIND,
	REQ_DESCRIBE,
	REQ_EXECUTE,
	REQ_CLOSE,
	REQ_SYNC,    /* over at ReadyForQuery */
	REQ_COPY_END /* CopyDone or CopyFail: has no answer of its own */
};

enum request_action {
	ACT_FORWARD, /* the answer goes to the client */
	ACT_SWALLOW, /* nobody sees the answer */
	ACT_REFUSE   /* the error that answers it is replaced by the refusal `why` */
};

struct request {
	uint8_t kind, action;
	uint8_t why;	 /* ACT_REFUSE: which refusal */
	bool may_commit; /* ends a transaction: never cancelled when its client leaves */
};

/* Zero-initialise; ring_free(). */
struct ring {
	struct request *v;
	uint32_t head, n, cap; /* cap is a power of two */
	bool skipping;	       /* an error was answered: all is skipped up to a Sync that is yet to be sent */
	bool open;	       /* something of the extended protocol was sent since the last Sync */
	bool copying;	       /* the server reads copy data: no CopyDone or CopyFail was sent yet */
	uint32_t in_copy; /* Syncs that were sent into a COPY: ignored by the server, or not, when the COPY failed */
};

/* A message is sent. While the server skips to a Sync, what it will skip is not recorded. */
void ring_push(struct ring *r, struct request q);
/* The oldest that is not answered, NULL: none. Never a COPY_END. */
static inline struct request *ring_front(const struct ring *r)
{
	return r->n ? &r->v[r->head] : NULL;
}
void ring_pop(struct ring *r);
/* An ErrorResponse came: what the server skips is dropped. Returns the request that it answers, by value; kind REQ_SYNC with
 * nothing recorded when there was none. */
struct request ring_error(struct ring *r);
/* A CopyInResponse came: Syncs up to the end of the copy are not answered. */
void ring_copy_in(struct ring *r);
/* The copy has come to a good end (CommandComplete). */
void ring_copy_done(struct ring *r);
/* Nothing is outstanding and no batch is open? */
static inline bool ring_is_idle(const struct ring *r)
{
	return !r->n && !r->open && !r->skipping && !r->copying;
}
/* Would a cancel now hit something that may commit? */
bool ring_may_commit(const struct ring *r);
void ring_free(struct ring *r);

#endif
