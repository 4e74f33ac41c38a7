/*
 * resolve: names to addresses off the loop (libevent's evdns: /etc/hosts and
 * the name servers of resolv.conf), kept for a fixed time whatever the record's
 * TTL says. A name that fails is kept as failed for the same time. Name servers
 * that do not answer take nothing away: what was known before stays (RFC 8767),
 * and is told without waiting for them for longer than 0.3 s.
 */
#ifndef PSBOUNCER_NET_RESOLVE_H
#define PSBOUNCER_NET_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

struct addr;
struct loop;
struct resolver;
struct resolve_query;

enum { RESOLVE_MAX_ADDRS = 16 };

/* addrs (ports 0) are valid during the call only; n == 0: error says why. */
typedef void resolve_cb(const struct addr *addrs, size_t n, const char *error, void *arg);

struct resolver *resolver_new(struct loop *l, int64_t ttl_us);
/* Other files than /etc/hosts and /etc/resolv.conf (kept as pointers). Changes of either are seen at the next lookup. */
void resolver_set_files(struct resolver *r, const char *hosts, const char *resolv_conf);
/*
 * For tests over memory: names are looked up by this, in place of libevent's client. At most RESOLVE_MAX_ADDRS into addrs
 * (ports 0); returns how many.
 */
typedef size_t resolve_source(const char *name, struct addr *addrs, void *arg);
void resolver_set_source(struct resolver *r, resolve_source *source, void *arg);
/* Open queries are dropped without a callback. Outside of callbacks only: libevent's loop is run to end its lookups. */
void resolver_free(struct resolver *r);

/*
 * Looks name up. The callback never runs inside this call: an answer from the
 * cache, and a numeric address, comes in the next turn. Queries for one name
 * share one lookup.
 */
struct resolve_query *resolve(struct resolver *r, const char *name, resolve_cb *cb, void *arg);
/* No callback for this one any more. Only for a query whose callback has not run yet. */
void resolve_cancel(struct resolve_query *q);
/* For SHOW LISTS: names kept, lookups under way. */
void resolver_count(const struct resolver *r, size_t *names, size_t *pending);

#endif
