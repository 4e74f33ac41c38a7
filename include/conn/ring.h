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
	ACT_FRONT,   /* put in front of the client's request: a good answer is swallowed, an error is the client's */
	ACT_REFUSE,  /* the error that answers it is replaced by the refusal `why` */
	ACT_ANSWER   /* the server was not asked: the pooler answers (PARSE, CLOSE) when its turn has come */
};

/* Does it end the transaction that it is in? What is worse has the higher number. */
enum request_ends {
	ENDS_NOTHING,
	ENDS_BY_ROLLBACK, /* for certain, and nothing runs behind it */
	ENDS_BY_COMMIT	  /* something of it may be committed before ReadyForQuery; also when it cannot be told */
};

struct stmt;
struct stmt_edits;
struct stmt_name;

struct request {
	uint8_t kind, action;
	uint8_t why;	     /* ACT_REFUSE: which refusal */
	bool may_commit : 1; /* ends a transaction: never cancelled when its client leaves */
	bool alters : 1; /* may change what names mean or how literals are read: messages of statements wait for its end */
	bool begins : 1;  /* of a BEGIN that was put in front */
	bool unnamed : 1; /* QUERY, and PARSE, CLOSE of the unnamed statement: stmt is the client's that was before */
	bool made : 1;	  /* PARSE: name was made for it */
	bool bare : 1;	  /* SYNC: of a batch without anything in it */
	uint8_t ends : 2; /* QUERY, EXECUTE: enum request_ends */
	bool copies : 1;  /* QUERY: nothing but a COPY FROM STDIN */
	bool has_end : 1; /* an end of copy data was sent behind it, which may be its own */
	/* References of the request's, given back when it is over. */
	struct stmt_name *name;	  /* what the client calls the statement, NULL: not renamed */
	struct stmt *stmt;	  /* PARSE, EXECUTE, CLOSE: the statement that the server gets or loses by it */
	struct stmt_edits *edits; /* QUERY, PARSE, EXECUTE: in its text these names of SQL's are the server's */
};

/* Zero-initialise; ring_free(). */
struct ring {
	struct request *v;
	uint32_t head, n, cap; /* cap is a power of two */
	uint32_t answers;      /* of them ACT_ANSWER */
	uint32_t
		unflushed; /* so many requests of the extended protocol were sent since the last Flush, Sync or Query */
	uint32_t syncs;	   /* of them SYNC ... */
	uint32_t queries;  /* ... and QUERY, which end with a ReadyForQuery */
	uint32_t altering; /* of them that alter ... */
	uint32_t begins;   /* ... and that begin a transaction */
	bool skipping;	   /* an error was answered: all is skipped up to a Sync that is yet to be sent */
	bool open;	   /* something of the extended protocol was sent since the last Sync or Query */
	bool unsynced; /* no Sync was sent behind something of it, which is not answered: its error skips up to one, Queries too */
	bool copying;	  /* the server reads copy data: no CopyDone or CopyFail was sent yet */
	bool ran;	  /* an EXECUTE has completed, and its batch goes on ... */
	bool ended;	  /* ... one that ended a transaction */
	uint32_t in_copy; /* Syncs that were sent into a COPY: ignored by the server, or not, when the COPY failed */
};

/* A message is sent; q's references are the ring's from here on. While the server skips to a Sync, what it will skip is not
 * recorded. */
void ring_push(struct ring *r, const struct request *q);
/* The oldest that is not answered, NULL: none. Never a COPY_END. */
static inline struct request *ring_front(const struct ring *r)
{
	return r->n ? &r->v[r->head] : NULL;
}
void ring_pop(struct ring *r);
/* The i-th of them, from the oldest on; i < r->n. */
const struct request *ring_get(const struct ring *r, uint32_t i);
/*
 * Called for a request that an error answered (failed) or made the server skip. later: the first one behind the Sync that is
 * about the unnamed statement, NULL: none.
 */
typedef void ring_undo(const struct request *q, bool failed, struct request *later, void *arg);
/*
 * An ErrorResponse came: what the server skips is dropped, the last one first and the one that failed last; undo (may be NULL)
 * is told of each. Returns the request that it answers, by value and without its references; kind REQ_SYNC with nothing
 * recorded when there was none.
 */
struct request ring_error(struct ring *r, ring_undo *undo, void *arg);
/*
 * Would an error of the request in front make the server skip a Query, behind which no Sync was sent? *last: nothing was sent
 * behind that Query either.
 */
bool ring_skips_query(const struct ring *r, bool *last);
/* The server is lost: undo is told of all that is outstanding, as if each batch had failed. They stay in the ring. */
void ring_fail(struct ring *r, ring_undo *undo, void *arg);
/* A CopyInResponse or CopyBothResponse came: Syncs up to the end of the copy are not answered. */
void ring_copy_in(struct ring *r);
/* The copy has come to a good end (CommandComplete). */
void ring_copy_done(struct ring *r);
/* Good answers that the server has not been asked to send yet are for nobody. */
void ring_hush(struct ring *r);
/* Nothing is outstanding and no batch is open? */
static inline bool ring_is_idle(const struct ring *r)
{
	return !r->n && !r->open && !r->skipping && !r->copying;
}
/*
 * Is all that is outstanding one request of the client's that runs one statement: a Query, or a batch up to its Sync with one
 * Bind, no Parse behind it, and one Execute? None of it ends a transaction, by its text.
 */
bool ring_runs_one(const struct ring *r);
/* Would a cancel now hit something that may commit? */
bool ring_may_commit(const struct ring *r);
void ring_free(struct ring *r);

#endif
