/*
 * topology_priv: what the making of clusters (topology_clusters.c) and what is seen of them (topology.c) share.
 */
#ifndef PSBOUNCER_POOL_TOPOLOGY_PRIV_H
#define PSBOUNCER_POOL_TOPOLOGY_PRIV_H

#include "pool/topology.h"

/* From what was seen of its members: who is the primary, and all that follows. */
void topology_decide(struct cluster *c);
/* What fits the database is looked at anew: connections go, it is held or no longer. */
void topology_refit_database(struct database *d);

#endif
