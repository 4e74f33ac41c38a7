/*
 * topology: the clusters that entries with target_session_attrs name, and which
 * of their hosts fit an entry now. Facts about endpoints come from the monitors
 * (struct endpoint.seen); cluster.h decides; what follows for pools is done here:
 * connections to what does not fit any more are not used again, and where
 * nothing fits the database is held: its asks wait.
 *
 * Entries that share a host are of one cluster.
 */
#ifndef PSBOUNCER_POOL_TOPOLOGY_H
#define PSBOUNCER_POOL_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/timer.h"
#include "pool/cluster.h"
#include "pool/switchover.h"

struct database;
struct endpoint;
struct registry;

struct cluster {
	TAILQ_ENTRY(cluster) all;
	struct registry *registry;
	struct endpoint **members; /* held */
	size_t n;
	struct cluster_memory memory;
	struct cluster_decision now;
	int64_t made_us;
	int64_t suspect_us; /* since when something may be wrong; 0: nothing is */
	struct switchover switching;
	struct timer timer; /* a first decision is due, whoever has not answered */
};

TAILQ_HEAD(cluster_list, cluster);

/* The clusters of the databases that run, anew; what was known of a cluster that has kept a host is kept. */
void topology_configure(struct registry *r);
void topology_free(struct registry *r);

/*
 * A probe has ended, and this is what it saw (who and probed are filled in here): decides, and does what follows. Nothing for
 * an endpoint of no cluster.
 */
void topology_seen(struct endpoint *ep, const struct sight *now);
/* Its monitor cannot log in, or can again. What connections of clients say of its role is witnessed then. */
void topology_blind(struct endpoint *ep, bool blind);
/* A connection to it says that it is a standby, or that it is not. */
void topology_witness(struct endpoint *ep, bool standby);
/*
 * It may be another one than is believed: its cluster is probed (pool_ops.probe). Never holds, closes or moves anything.
 * What was refuted a moment ago is not raised again. why: for the log.
 */
void topology_suspect(struct endpoint *ep, const char *why);

/* Something else than what is seen has changed: what fits is looked at anew. */
void topology_refit(struct cluster *c);

/* PROMOTE: ep is to be the primary as soon as it is seen to be one; force: whatever its timeline and system identifier. */
void topology_promote(struct endpoint *ep, bool force);

/* May connections of d be opened to ep, and used? Where no target_session_attrs is set: yes. */
bool topology_fits(const struct database *d, const struct endpoint *ep);
/* A bit for each host of d (of the first 64) that does not. */
uint64_t topology_unfit(const struct database *d);

/* As SHOW has them. */
const char *topology_role(const struct endpoint *ep);
const char *topology_state(const struct endpoint *ep);

#endif
