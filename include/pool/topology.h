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

struct addr;
struct database;
struct endpoint;
struct registry;

/* A change of the primary, or its return. */
struct failover {
	int64_t decided_us;
	char databases[64];	 /* that want a primary of the cluster, as far as there is room */
	char from[280], to[280]; /* host and port */
	uint32_t timeline;
	char trigger[120];
	int64_t detect_us;  /* from the first suspicion to the decision */
	unsigned held;	    /* clients that waited then */
	uint64_t replayed;  /* requests that a standby refused and that were run again */
	uint64_t failed;    /* requests that were told 08006 or 08007 */
	int64_t resumed_us; /* from the decision to the first server connection; -1: there was none yet */
};

/* The last ones, the newest at last - 1 modulo their number. */
enum { FAILOVERS = 100 };
struct failovers {
	struct failover *v; /* NULL: there were none */
	uint64_t last;
};

/* Where the primary's WAL stood, and when that was seen: the longer ago the fewer. */
enum { LAG_SAMPLES = 256 };
struct lag_samples {
	struct {
		int64_t at_us;
		uint64_t lsn;
	} v[LAG_SAMPLES];
	uint32_t n;
};

struct cluster {
	TAILQ_ENTRY(cluster) all;
	struct registry *registry;
	struct endpoint **members; /* held */
	size_t n;
	struct cluster_memory memory;
	struct cluster_decision now;
	int64_t made_us;
	char trigger[120];	/* why it was suspected first */
	uint64_t failed;	/* requests that were told 08006 or 08007 since the last decision ... */
	uint64_t replayed;	/* ... and that are run again */
	struct failover *event; /* the last one, as long as no server connection came behind it */
	int64_t suspect_us;	/* since when something may be wrong; 0: nothing is */
	bool wants_lag;		/* an entry has max_replica_lag: positions are read with each probe */
	struct lag_samples samples;
	struct switchover switching;
	struct timer timer; /* a first decision is due, whoever has not answered */
};

TAILQ_HEAD(cluster_list, cluster);

/* The clusters of the databases that run, anew; what was known of a cluster that has kept a host is kept. */
void topology_configure(struct registry *r);
/* The same for a database that has come to run. */
void topology_add(struct database *d);
void topology_free(struct registry *r);

/*
 * A probe has ended, and this is what it saw (who and probed are filled in here): decides, and does what follows. Nothing for
 * an endpoint of no cluster. at: the address where its role was told, if it was; NULL: it was not asked. Connections go there
 * from now on (endpoint.address), and those from before to elsewhere, or to another server, are not used again; since_us: when
 * the connection was begun that told it: who came to the same address later came to the same server.
 */
void topology_seen(struct endpoint *ep, const struct sight *now, const struct addr *at, int64_t since_us);
/* Its name was looked up, and these are its addresses. Without the one where its monitor is it is suspect. */
void topology_named(struct endpoint *ep, const struct addr *addrs, size_t n);
/* Its monitor cannot log in, or can again. What connections of clients say of its role is witnessed then. */
void topology_blind(struct endpoint *ep, bool blind);
/* A connection to it says that it is a standby, or that it is not. */
void topology_witness(struct endpoint *ep, bool standby);
/*
 * It may be another one than is believed: its cluster is probed (pool_ops.probe). Never holds, closes or moves anything.
 * What was refuted a moment ago is not raised again. why: for the log.
 */
void topology_suspect(struct endpoint *ep, const char *why);
/*
 * It has let a connection of a client's pool in no more (57P03), which may be its stop: suspect, and where there is no monitor
 * to see more, its connections are not used again, so that it can come to its end.
 */
void topology_turned_away(struct endpoint *ep, const char *why);

/* Something else than what is seen has changed: what fits is looked at anew. */
void topology_refit(struct cluster *c);

/* All its hosts are probed at once. */
void topology_probe(struct cluster *c);
/* PROMOTE: ep is to be the primary by what was seen; force: whatever its timeline and system identifier. False: it is not. */
bool topology_promote(struct endpoint *ep, bool force);

/* May connections of d be opened to ep, and used? Where no target_session_attrs is set: yes. */
bool topology_fits(const struct database *d, const struct endpoint *ep);
/* A bit for each host of d (of the first 64) that does not. */
uint64_t topology_unfit(const struct database *d);

/* A server connection for d has come to be. */
void topology_resumed(struct database *d);
/* A request of a client of d was told 08006 or 08007. */
void topology_failed(struct database *d);
/* One is run again. */
void topology_replayed(struct database *d);
/* Is it a standby, as far as is known? */
bool topology_is_standby(const struct endpoint *ep);
/* May it be given what is to be written? */
bool topology_is_primary(const struct endpoint *ep);
/* Is it the primary of its cluster c, or another name of the same server, as far as was seen last? */
bool topology_is_at_primary(const struct cluster *c, const struct endpoint *ep);

/*
 * How far a standby is behind the primary in replaying, as far as was last seen: bytes of WAL, and the age of the oldest
 * position seen of the primary that it has not replayed. False: it is not known.
 */
bool topology_lag(const struct endpoint *ep, int64_t *bytes, int64_t *age_us);

/* As SHOW has them. */
const char *topology_role(const struct endpoint *ep);
const char *topology_state(const struct endpoint *ep);

#endif
