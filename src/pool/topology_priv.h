/*
 * topology_priv: what the making of clusters (topology_clusters.c), what is seen of them (topology.c) and what fits
 * (topology_fit.c) share.
 */
#ifndef PSBOUNCER_POOL_TOPOLOGY_PRIV_H
#define PSBOUNCER_POOL_TOPOLOGY_PRIV_H

#include "pool/topology.h"

/* From what was seen of its members: who is the primary, and all that follows. */
void topology_decide(struct cluster *c);
/* What fits the database is looked at anew: connections go, it is held or no longer. */
void topology_refit_database(struct database *d);

/* The name by which its server counts; mostly ep. */
const struct endpoint *topology_first_name(const struct endpoint *ep);
/* Is there a host of the database's that fits? */
bool topology_has_fit(const struct database *d);

#endif
