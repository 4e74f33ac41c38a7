/*
 * cluster: which host of a cluster is the primary. One pure function decides,
 * from what was last seen of every endpoint and from what was decided before:
 * no sockets, no clock, nothing of its own. What it is told are facts: an
 * answer, or that there was none; suspicion is not a fact and changes nothing.
 *
 * The primary is the writable endpoint on the highest timeline (PostgreSQL
 * manual, 26.3.5: each promotion begins a new one). Positions in the WAL decide
 * nothing. It never goes back to a lower timeline, and never to another system
 * identifier, unless an operator says so.
 */
#ifndef PSBOUNCER_POOL_CLUSTER_H
#define PSBOUNCER_POOL_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sight_role { SIGHT_UNKNOWN, SIGHT_STANDBY, SIGHT_WRITABLE };

/* What was last seen of an endpoint. */
struct sight {
	const void *who; /* identity; never looked into */
	bool probed;	 /* a first probe has ended, well or not */
	bool answers;	 /* the last one was answered: what follows is true. Else it is what was true before */
	bool leaving;	 /* it was not, since it lets nobody in: who is there already may be served to the end */
	enum sight_role role;
	uint32_t timeline;  /* WRITABLE: 0 while it is not known */
	uint64_t system_id; /* 0: not known */
	int64_t started_us; /* when its postmaster started, by its own clock; 0: not known */
};

/*
 * When an operator forced another one, these were writable above it: fenced as long as they are on that timeline, by that name
 * or as that very process.
 */
enum { CLUSTER_DISOWNED = 16 };

/* What was decided before; zero at first. */
struct cluster_memory {
	const void *primary; /* the last one, NULL: none yet */
	uint32_t timeline;   /* the highest that a primary had */
	uint64_t system_id;  /* of the cluster */
	int64_t started_us;  /* of the last one, as in its sight */
	/* By the operator (PROMOTE): which of several writable ones on the highest timeline counts. */
	const void *named;
	bool forced; /* FORCE: it counts whatever its timeline and system identifier */
	struct sight disowned[CLUSTER_DISOWNED];
	unsigned n_disowned;
};

enum cluster_say {
	CLUSTER_WAIT,  /* too early to tell: not every endpoint has been probed */
	CLUSTER_SERVE, /* the primary is there */
	CLUSTER_HOLD   /* there is none */
};

enum cluster_hold {
	HOLD_NONE_WRITABLE, /* none that answers is writable */
	HOLD_TWO_WRITABLE,  /* several on the highest timeline, and none of them is the present primary or named */
	HOLD_FENCED	    /* what is writable is on a lower timeline or of another cluster */
};

struct cluster_decision {
	enum cluster_say say;
	const void *primary; /* SERVE */
	bool moved; /* SERVE: it is another server than before, or one on another timeline; not another name of the same one */
	enum cluster_hold why; /* HOLD */
};

/* Are these one server, under two addresses or at two times? */
bool sight_is_same_server(const struct sight *a, const struct sight *b);

/* What is to be said of an endpoint by itself. */
enum sight_state {
	SIGHT_UP,
	SIGHT_DOWN,    /* does not answer */
	SIGHT_FENCED,  /* writable on a lower timeline: it gets no query */
	SIGHT_FOREIGN, /* of another system identifier: nor does this one */
	SIGHT_TWIN     /* another endpoint is the same server, and counts for it */
};

/* The state of the i-th of n. */
enum sight_state cluster_sight_state(const struct cluster_memory *m, const struct sight *seen, size_t n, size_t i);

/*
 * Decides, and remembers it in *m. complete: every endpoint was probed, or there was time enough for it; before that
 * nothing is decided for the first time.
 */
struct cluster_decision cluster_decide(struct cluster_memory *m, const struct sight *seen, size_t n, bool complete);

#endif
