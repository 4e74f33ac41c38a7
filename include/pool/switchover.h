/*
 * switchover: the planned change of a primary: see pool/switchover.c for its
 * steps. While one is under way nothing fits an entry that wants the primary
 * (pool/topology.h).
 */
#ifndef PSBOUNCER_POOL_SWITCHOVER_H
#define PSBOUNCER_POOL_SWITCHOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/timer.h"

struct cluster;

enum switch_step {
	SWITCH_NONE,
	SWITCH_DRAINING,    /* transactions on the primary are still open */
	SWITCH_CATCHING_UP, /* no standby has replayed all of it yet */
	SWITCH_READY	    /* one has, and may be promoted */
};

/* Of a cluster; zero at first. */
struct switchover {
	enum switch_step step;
	int64_t step_us; /* when it began */
	uint64_t lsn;	 /* CATCHING_UP: of the primary when nothing was open any more; 0: not read yet */
	struct timer timer;
	char ready[280]; /* READY: host and port of the standby */
	char why[80];	 /* why the last one came to nothing; "": it did not */
};

/* False: it cannot be begun, and why says so. */
bool switchover_may_begin(const struct cluster *c, char *why, size_t size);
void switchover_begin(struct cluster *c);
/* The primary has moved, or the operator wants none any more. Nothing when none is under way. */
void switchover_end(struct cluster *c);
/* It goes on in another cluster, which has none, by the same hosts. */
void switchover_move(struct cluster *to, struct cluster *from);
/* A probe has ended: positions may be new. */
void switchover_seen(struct cluster *c);
/* How many transactions are open on the primary. */
unsigned switchover_open(const struct cluster *c);

#endif
