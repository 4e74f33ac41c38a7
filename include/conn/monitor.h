/*
 * monitor: asks every endpoint whose role counts what it is, and tells the
 * topology (pool/topology.h). One connection an endpoint, in no pool and under no
 * limit. The steady question is a Sync, which costs the server no parsing: a
 * server of PostgreSQL 14 or later tells a change of in_hot_standby before it
 * answers. A query reads the rest at the login, and whenever that has changed.
 */
#ifndef PSBOUNCER_CONN_MONITOR_H
#define PSBOUNCER_CONN_MONITOR_H

#include <stdbool.h>

struct cluster;
struct endpoint;
struct pooler;

/* After a change of the configuration or of the clusters: who is watched, as whom, how often. */
void monitors_configure(struct pooler *p);
void monitors_free(struct pooler *p);
/* pool_ops.probe: the members of the cluster are asked now. */
void monitors_probe(struct pooler *p, struct cluster *c, bool logins);

#endif
