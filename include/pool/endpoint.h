/*
 * endpoint: hosts of servers. Entries that name the same host and port share
 * one endpoint. It knows whether its last connection attempt failed and since
 * when; its generation rises when connections that were opened before must not
 * be used again. The choice of the host for a new connection stands here.
 */
#ifndef PSBOUNCER_POOL_ENDPOINT_H
#define PSBOUNCER_POOL_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/htab.h"
#include "base/log.h"
#include "net/addr.h"
#include "pool/cluster.h"

struct cluster;

struct endpoint {
	struct hnode by_name;
	unsigned refs;
	char *host; /* name, address, "/directory", "@abstract" */
	uint16_t port;
	uint32_t generation;
	unsigned connections; /* open or being opened */
	int64_t failed_us;    /* when the last attempt failed; 0: it did not */
	bool old;	      /* it rejects every version of the protocol but 3.0 */

	/* Where its role counts (pool/topology.h): what its monitor has seen. */
	struct cluster *cluster; /* NULL: its role counts nowhere */
	struct sight seen;
	enum sight_state state;
	struct addr address;	   /* of a name (port 0): where the monitor was answered; AF_UNSPEC: it was not yet */
	struct sight past;	   /* the primary that was behind its name before another server was ... */
	uint32_t replaced;	   /* ... to which connections of older generations than this are */
	bool blind;		   /* its monitor cannot log in: connections of clients are the only witnesses ... */
	enum sight_role witnessed; /* ... and say this */
	int64_t lsn_us;		   /* when that was read */
	char lsn[24];		   /* where it writes, or has replayed to; "": not known */
	int64_t seen_us;	   /* when a probe ended last */
	int64_t changed_us;	   /* of its state */
	int64_t refuted_us;	   /* the last suspicion was groundless */
	int64_t probe_us;	   /* how long the last probe took */
	int64_t sure_us;	   /* what is seen was so then or later: when the last probe to end began */
	int64_t asked_us;	   /* an operator has asked for the state of the hosts */
	char error[120];	   /* of the last probe that failed; "": it did not */
};

struct endpoints {
	struct htab by_name;
};

/* Finds or makes; a reference of the caller's. */
struct endpoint *endpoint_get(struct endpoints *e, const char *host, uint16_t port);
struct endpoint *endpoint_ref(struct endpoint *ep);	      /* one reference more */
void endpoint_put(struct endpoints *e, struct endpoint **ep); /* NULL inside is fine; sets it to NULL */
void endpoints_free(struct endpoints *e);		      /* asserts that none is left */
bool endpoint_is_local(const struct endpoint *ep);	      /* a unix socket */
bool endpoint_is_name(const struct endpoint *ep);	      /* neither that nor an address */
/* A position as a number, from the text that PostgreSQL has for it. False: it is none. */
bool lsn_read(const char *text, uint64_t *lsn);
/* The position in lsn as a number. False: it is not known. */
bool endpoint_lsn(const struct endpoint *ep, uint64_t *lsn);
void endpoint_failed(struct endpoint *ep);
void endpoint_worked(struct endpoint *ep);

/*
 * The host for a new connection out of hosts: of those that did not fail within
 * retry_us, then of the others, the next one from *turn; fewest: the one that
 * has the fewest connections of this process, the next one of several such. tried
 * is a bit for each that this attempt has tried already: n is 64 at most. NULL when
 * all were tried.
 */
struct endpoint *endpoint_choose(struct endpoint *const *hosts, size_t n, unsigned *turn, uint64_t *tried,
	int64_t retry_us, bool fewest);

#endif
