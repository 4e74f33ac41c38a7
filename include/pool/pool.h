/*
 * pool: who gets which server connection, and when one is opened or closed.
 * Policy only: it knows slots and asks, no sockets; what must be done to a
 * connection goes through pool_ops.
 *
 * First come, first served, over all pools: an ask that waits at the limit of
 * its database or user is served in the order of its number, whatever pool it
 * is in. Grants of waiting asks happen in pools_run() only, which the loop calls
 * once a turn, never inside a handler.
 */
#ifndef PSBOUNCER_POOL_POOL_H
#define PSBOUNCER_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/timer.h"
#include "conf/param.h"

struct buf;
struct database;
struct endpoint;
struct registry;
struct user;
struct vars;

enum slot_state {
	SLOT_SETUP,  /* connecting or logging in */
	SLOT_IDLE,   /* may be granted */
	SLOT_TESTED, /* being checked, reset or otherwise at work for itself */
	SLOT_BUSY    /* a client has it, or a client that left must be cleaned up after */
};
enum { SLOT_STATES = 4 };

/* All that a pool knows of a server connection; embedded in it. */
struct slot {
	struct pool *pool;
	struct endpoint *endpoint;
	uint32_t generation;  /* of the endpoint when it was opened */
	enum slot_state state;
	TAILQ_ENTRY(slot) link;
	int64_t since_us;     /* when it got into its state */
	int64_t opened_us;
	const struct vars *vars; /* its parameters now, for the choice only */
	bool reserve;	      /* counts against the reserve */
	bool retired;	      /* not to be used again: closes as soon as it is free (close_needed) */
};

enum ask_kind {
	ASK_SERVER,  /* a server connection for a request */
	ASK_GREETING /* only that a server login of the database has succeeded once */
};

/* All that a pool knows of a client; embedded in it. */
struct ask {
	struct pool *pool;
	enum ask_kind kind;
	bool queued;
	uint64_t number;
	int64_t since_us; /* when it was queued */
	TAILQ_ENTRY(ask) link;
	const struct vars *wanted; /* a slot with just these is preferred; may be NULL */
};

/* Why a server cannot be had. Texts are owned by the pool. */
struct pool_failure {
	char code[6];	/* the server's own SQLSTATE, "" when it sent none */
	char *text;
	int64_t at_us;	/* 0: the last attempt did not fail */
};

TAILQ_HEAD(slot_list, slot);
TAILQ_HEAD(ask_list, ask);

struct pool {
	struct database *db;
	struct user *user;
	TAILQ_ENTRY(pool) all;	  /* in registry.pools */
	TAILQ_ENTRY(pool) of_db;  /* in database.pools */
	TAILQ_ENTRY(pool) marked; /* in registry.dirty */
	bool dirty;
	struct slot_list slots[SLOT_STATES]; /* IDLE: the last used first */
	unsigned n[SLOT_STATES];
	unsigned reserved;	  /* of them from the reserve */
	struct ask_list asks;	  /* by number */
	unsigned waiting;	  /* ASK_SERVER in asks */
	unsigned clients;	  /* that have chosen this pool, waiting or not */
	unsigned linked;	  /* clients that have a server now */
	unsigned ramp;		  /* logins allowed in flight: 1, 2, 4 ... */
	struct pool_failure failure;
	struct timer timer;	  /* retry, reserve, min_pool_size */
	/* Effective settings, computed at each configuration. */
	enum pool_mode mode;
	int64_t size, min_size, reserve_size, reserve_timeout_us, login_retry_us, check_delay_us, lifetime_us, idle_timeout_us, query_wait_us;
	struct { char *password; uint8_t client_key[32], server_key[32]; bool has_keys; } credential; /* what clients brought that a server login can use; wiped at the end */
};

/* Up-calls; ctx is the registry's. None may call back into pool_* but where it says so. */
struct pool_ops {
	/* Open a server connection: puts its slot in with pool_slot_add(). */
	void (*launch)(struct pool *p, bool reserve, void *ctx);
	/* A waiting ask got its slot (SLOT_BUSY now), or its greeting (slot NULL). */
	void (*grant)(struct ask *a, struct slot *s, void *ctx);
	/* The slot has been idle for longer than server_check_delay: check it (SLOT_TESTED now); pool_slot_idle() or removal follows. */
	void (*test)(struct slot *s, void *ctx);
	/* Close this idle slot: why is a row of tbl/close_why.h. pool_slot_remove() is called from inside. */
	void (*close)(struct slot *s, int why, void *ctx);
	/* The ask cannot be served: the pool has no connection and its last login failed (pool->failure). It is out of the queue. */
	void (*fail)(struct ask *a, void *ctx);
	/* The configuration no longer has this database. */
	void (*database_gone)(struct database *d, void *ctx);
};

/* Finds or makes. It goes when it has no slot, no ask, no client and its database or user goes. */
struct pool *pool_get(struct registry *r, struct database *d, struct user *u);
void pool_configure(struct pool *p); /* effective values anew */
void pool_enter(struct pool *p, struct ask *a); /* a client has chosen this pool */
void pool_leave(struct ask *a);			/* and is gone; not queued any more */

/*
 * Asks for a server. At once when one is idle, fresh and nobody waits: the slot
 * is SLOT_BUSY. Else NULL and queued: grant or fail follow in a later
 * pools_run(); pool_withdraw() takes it back.
 */
struct slot *pool_ask(struct ask *a, enum ask_kind kind) __attribute__((warn_unused_result));
void pool_withdraw(struct ask *a); /* does nothing when it is not queued */

/* Life of a slot. Each but remove wants it in the pool. */
void pool_slot_add(struct pool *p, struct slot *s, struct endpoint *e, bool reserve); /* SLOT_SETUP; takes the limits */
void pool_slot_login_done(struct slot *s);	/* ready for the first time: idle; the ramp grows; the failure is forgotten */
void pool_slot_idle(struct slot *s);		/* BUSY or TESTED and clean: to the front of the idle; retired ones are closed in the next pools_run() */
void pool_slot_busy(struct slot *s);		/* to SLOT_BUSY / SLOT_TESTED by hand */
void pool_slot_tested(struct slot *s);
void pool_slot_remove(struct slot *s);		/* its connection closes; the limits are given back */
/* A login failed (every host was tried): halves the ramp, keeps the text for server_login_retry. Call before pool_slot_remove(). */
void pool_login_failed(struct pool *p, const char *code, const char *text);

void pool_mark(struct pool *p);			/* look at it in the next pools_run() */
/* RECONNECT and changes of the configuration: no slot of today is used again. */
void pool_retire(struct pool *p);
/* Closes what is idle, at once: PAUSE, KILL. */
void pool_close_idle(struct pool *p, int why);

/* Serves the dirty pools: closes retired and surplus slots, grants in the order of numbers, tests, launches in the ramp, evicts
 * idle slots of other pools where a limit stands in the way of an ask, keeps min_pool_size. */
void pools_run(struct registry *r);

#endif
