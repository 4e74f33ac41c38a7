/*
 * pooler: what makes the connections a program: start, configuration, the
 * turn of the loop, the end. struct pooler itself stands in conn.h.
 */
#ifndef PSBOUNCER_CONN_POOLER_H
#define PSBOUNCER_CONN_POOLER_H

#include <stdbool.h>

#include "conn/conn.h"

struct config;
struct errs;

/* with_events false: dialog tests. Takes a reference to c. TLS contexts are made by pooler_configure(). */
void pooler_init(struct pooler *p, struct config *c, bool with_events);
void pooler_free(struct pooler *p); /* closes what is left */

/*
 * Makes what a configuration needs (TLS contexts); false and entries in errs when it cannot, nothing is changed then.
 * Otherwise the configuration is in force (a reference is taken), for the start and for RELOAD alike.
 */
bool pooler_configure(struct pooler *p, struct config *c, struct errs *errs) __attribute__((warn_unused_result));

/* One turn of the loop: events, grants, what was resumed, flushes, deadlines, the dead. */
void pooler_turn(struct pooler *p);

#endif
