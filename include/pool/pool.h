/*
 * pool: who gets which server connection, and when one is opened or closed.
 * Policy only: it knows slots and asks, no sockets; what must be done to a
 * connection goes through pool_ops.
 *
 * First come, first served, over all pools: an ask that waits at the limit of
 * its database or user is served in the order of its number, whatever pool it
 * is in. Grants of waiting asks happen in pools_run() only, which the loop calls
 * once a turn, never inside a handler.
 *
 * A client may ask for a connection of its own (replication): one is opened for
 * it, counts as any other, and is never given to anybody else.
 */
#ifndef PSBOUNCER_POOL_POOL_H
#define PSBOUNCER_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/htab.h"
#include "base/timer.h"
#include "conf/param.h"

struct cluster;
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

/* Why the pool closes a connection; the conn floor has a row of tbl/close_why.h for each. */
enum pool_close {
	POOL_CLOSE_RETIRED,  /* RECONNECT, a changed configuration, an endpoint of a new generation */
	POOL_CLOSE_EVICTED,  /* an older ask of another pool stands at a limit that this connection counts in */
	POOL_CLOSE_LIFETIME, /* server_lifetime */
	POOL_CLOSE_IDLE,     /* server_idle_timeout */
	POOL_CLOSE_SURPLUS,  /* beyond pool_size and nobody waits, or beyond a limit that was lowered */
	POOL_CLOSE_PAUSED,   /* PAUSE */
	POOL_CLOSE_KILLED,   /* KILL, or the database is gone from the configuration */
	POOL_CLOSE_MOVED     /* its host does not fit any more (target_session_attrs) */
};

/* All that a pool knows of a server connection; embedded in it. The pool alone writes it, but for vars. */
struct slot {
	void *owner;		   /* struct conn, for those who are granted it */
	struct pool *pool;	   /* NULL: in no pool */
	struct endpoint *endpoint; /* held; NULL while none is chosen */
	uint32_t generation;	   /* of the endpoint when it was opened */
	enum slot_state state;
	TAILQ_ENTRY(slot) link;
	int64_t since_us; /* when it got into its state */
	int64_t opened_us;
	const struct vars *vars; /* its parameters now, for the choice only */
	bool reserve;		 /* opened from the reserve */
	bool own;		 /* opened for one client, which has it from the first: never idle */
	bool retired;		 /* not to be used again: closes as soon as it is free (close_needed) */
	bool expired;		 /* the same, since its lifetime is over; not shown as close_needed */
	bool checked;		 /* was at work for itself right before it became idle */
};

enum ask_kind {
	ASK_SERVER,   /* a server connection for a request */
	ASK_GREETING, /* only that a server login of the database has succeeded once */
	ASK_OWN	      /* that a connection of its own is opened */
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
	char code[6]; /* the server's own SQLSTATE, "" when it sent none */
	char *text;
	int64_t at_us; /* 0: the last attempt did not fail */
};

TAILQ_HEAD(slot_list, slot);
TAILQ_HEAD(ask_list, ask);

struct pool {
	struct hnode by_key; /* in registry.pool_index */
	struct database *db;
	struct user *user;
	TAILQ_ENTRY(pool) all;	   /* in registry.pools */
	TAILQ_ENTRY(pool) of_db;   /* in database.pools */
	TAILQ_ENTRY(pool) of_user; /* in user.pools */
	TAILQ_ENTRY(pool) marked;  /* in registry.dirty, if it is dirty */
	TAILQ_ENTRY(pool) turn;	   /* in the list of the pools_run() that runs */
	bool dirty;
	bool done;			     /* has nothing more to do in that pools_run() */
	struct slot_list slots[SLOT_STATES]; /* IDLE: the last used first; the others: the oldest first */
	unsigned n[SLOT_STATES];
	unsigned servers;	     /* all of them: what LIMIT_POOL counts */
	unsigned reserved;	     /* of them from the reserve */
	unsigned retiring;	     /* of them retired */
	unsigned owned;		     /* of them for one client alone */
	struct ask_list asks;	     /* ASK_SERVER, by number */
	struct ask_list greets;	     /* ASK_GREETING, by number */
	struct ask_list owns;	     /* ASK_OWN, by number */
	unsigned waiting;	     /* how many in asks */
	unsigned clients;	     /* that have chosen this pool, waiting or not */
	unsigned linked;	     /* clients that have a server now; counted by the conn floor, not looked at here */
	unsigned pinned;	     /* servers that a client keeps beyond its transaction; counted there too ... */
	uint64_t pins, pins_refused; /* ... how often that began since the start, and how often it was refused */
	unsigned ramp;		     /* logins allowed in flight: 1, 2, 4 ... */
	struct pool_failure failure;
	int64_t stalled_us;  /* a launch did nothing: not again before this */
	int64_t lifetime_at; /* when lifetimes are looked at next; 0: no slot */
	struct timer timer;  /* the earliest of retry, reserve, lifetime, idle timeout ... */
	/* Effective settings, computed at each configuration. */
	enum pool_mode mode;
	int64_t size, min_size, reserve_size, reserve_timeout_us, login_retry_us, check_delay_us, lifetime_us,
		idle_timeout_us, query_wait_us, max_pinned;
	bool check;   /* server_check_query is set */
	bool limited; /* max_db_connections or max_user_connections applies */
	bool shrink;  /* one of them was lowered below what is open */
	/* What clients brought that a server login can use (password: MEM_POOL). Wiped at the end. */
	struct {
		char *password;
		uint8_t client_key[32], server_key[32];
		bool has_keys;
	} credential;
};

/*
 * Up-calls; ctx is the registry's. They may call every pool_* function but
 * pools_run(), registry_configure() and registry_free(); what they change is
 * seen when they return, or in the next pools_run().
 */
struct pool_ops {
	/*
	 * Open a server connection: puts its slot in with pool_slot_add(). If it cannot, pool_login_failed() says so. own: the
	 * ASK_OWN that it is for, out of the queue now (pool_slot_own() follows, and what becomes of the login is the client's
	 * business alone), or NULL.
	 */
	void (*launch)(struct pool *p, bool reserve, struct ask *own, void *ctx);
	/* A waiting ask got its slot (SLOT_BUSY now), or its greeting (slot NULL). */
	void (*grant)(struct ask *a, struct slot *s, void *ctx);
	/* Idle for longer than server_check_delay: check it (SLOT_TESTED now); pool_slot_idle() or removal follows. */
	void (*test)(struct slot *s, void *ctx);
	/* Close this connection, which is idle or in setup, or of a server that is no longer to be used. pool_slot_remove() is called from inside. */
	void (*close)(struct slot *s, enum pool_close why, void *ctx);
	/* The pool has no connection and its last login failed (pool->failure): the ask, out of the queue now, is given up. */
	void (*fail)(struct ask *a, void *ctx);
	/* The configuration no longer has this database. */
	void (*database_gone)(struct database *d, void *ctx);
	/* The clusters are others than before: their members are to be watched. */
	void (*watch)(void *ctx);
	/*
	 * Every member of the cluster is probed at once, and often until it is seen what is true. logins: also by a new login:
	 * a server that is about to stop still answers, and lets nobody in; and an address may lead to another one.
	 */
	void (*probe)(struct cluster *c, bool logins, void *ctx);
	/* The database is held from now on, or no longer. */
	void (*held)(struct database *d, void *ctx);
};

/* Finds or makes. It goes when it has no slot, no ask, no client and its database or user goes. */
struct pool *pool_get(struct registry *r, struct database *d, struct user *u);
bool pool_is_empty(const struct pool *p);	/* no slot, no ask, no client */
void pool_free(struct pool *p);			/* for the registry; it is empty */
void pool_configure(struct pool *p);		/* effective values anew */
void pool_enter(struct pool *p, struct ask *a); /* a client has chosen this pool */
void pool_leave(struct ask *a);			/* and is gone; its ask is withdrawn. Nothing when it is in no pool */

/*
 * Asks for a server. At once when one is idle, fresh and nobody waits: the slot
 * is SLOT_BUSY. Else NULL and queued: grant or fail follow in a later
 * pools_run(); pool_withdraw() takes it back. ASK_GREETING and ASK_OWN are always queued; launch follows for the latter.
 */
struct slot *pool_ask(struct ask *a, enum ask_kind kind) __attribute__((warn_unused_result));
void pool_withdraw(struct ask *a); /* does nothing when it is not queued */
/* Since when the longest waiting client of the pool waits; 0: nobody does. */
int64_t pool_waits_since_us(const struct pool *p);
/* Does anybody wait for anything? */
bool pool_has_asks(const struct pool *p);
/* The pool mode that holds for who asks: a connection of its own is a session. */
static inline enum pool_mode ask_mode(const struct ask *a)
{
	return a->kind == ASK_OWN ? POOL_SESSION : a->pool->mode;
}
static inline enum pool_mode slot_mode(const struct slot *s)
{
	return s->own ? POOL_SESSION : s->pool->mode;
}
/* Does PAUSE or KILL keep its clients waiting? */
bool pool_is_paused(const struct pool *p);

/* Life of a slot. Each but remove wants it in the pool. */
/* SLOT_SETUP; takes the limits. The endpoint (a reference is taken) may be NULL until a host is chosen. */
void pool_slot_add(struct pool *p, struct slot *s, struct endpoint *e, bool reserve);
/* SLOT_SETUP, just added: it is one client's own, SLOT_BUSY until its end. */
void pool_slot_own(struct slot *s);
/* Before it is logged in: another host is tried. */
void pool_slot_endpoint(struct slot *s, struct endpoint *e);
/* Ready for the first time: idle; the ramp grows; the failure is forgotten. database.greeting is set before. */
void pool_slot_login_done(struct slot *s);
/* BUSY or TESTED and clean: to the front of the idle. What may not be used again is closed in the next pools_run(). */
void pool_slot_idle(struct slot *s);
/* By hand: IDLE or TESTED to SLOT_BUSY, IDLE or BUSY to SLOT_TESTED. */
void pool_slot_busy(struct slot *s);
void pool_slot_tested(struct slot *s);
/* This one is not used again. */
void pool_slot_retire(struct slot *s);
/* Its connection closes; the limits are given back. Nothing when it is in no pool. */
void pool_slot_remove(struct slot *s);
/*
 * A login failed (every host was tried): halves the ramp, keeps code and text for server_login_retry. Call before
 * pool_slot_remove().
 */
void pool_login_failed(struct pool *p, const char *code, const char *text);

void pool_mark(struct pool *p); /* look at it in the next pools_run() */
/* RECONNECT and changes of the configuration: no slot of today is used again. */
void pool_retire(struct pool *p);
/* Closes what is idle or in setup, at once (KILL). A paused pool does so by itself in the next pools_run(). */
void pool_close_idle(struct pool *p, enum pool_close why);

/*
 * Serves the dirty pools: closes retired and surplus slots, grants in the order of numbers, tests, launches in the
 * ramp, evicts idle slots of other pools where a limit stands in the way of an ask, keeps min_pool_size. Not from
 * inside an up-call.
 */
void pools_run(struct registry *r);
/* Has pools_run() something to do? Then the loop must not sleep. */
bool pools_are_due(const struct registry *r);

#endif
