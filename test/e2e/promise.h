/*
 * promise: what its two files share: the load of clients that runs while the
 * primary changes (promise_load.c), and what is done to it and held against what
 * the clients were told (promise.c).
 */
#ifndef PSBOUNCER_TEST_PROMISE_H
#define PSBOUNCER_TEST_PROMISE_H

#include <pthread.h>
#include <stdatomic.h>
#include "lib/e2e.h"

enum { CLIENTS = 50, POOL = 10, ROWS_MAX = 50000000 };

/* What became of a row, as far as its client was told. */
enum fate { NEVER, ACKNOWLEDGED, UNKNOWN, REFUSED };

struct load {
	struct pg *primary, *standby;
	struct proxy *to_primary, *to_standby; /* between the pooler and these; NULL: nothing is */
	struct bouncer *b;
	const char *peer; /* the other program */
	char dsn[300];
	uint64_t seed;
	long think_us; /* what a client does between requests: not all that the machine can do, what counts is the event */
	bool all_kinds; /* of requests, else single statements and short transactions */
	int decided;	/* rows from here on were sent after the pooler had decided for the new primary */
	atomic_bool stop;
	atomic_int next, lost, errors_08006, errors_08007, others, not_own, done;
	atomic_int served[CLIENTS]; /* how often */
	atomic_long worst_us, late_us;
	atomic_char fates[ROWS_MAX];
	char other[200]; /* the first error that is neither */
	char foreign[200];
	pthread_t threads[CLIENTS], watchdog;
	/* The probe: past the pooler. */
	char probed[200];	 /* a server's dsn */
	long event_us, found_us; /* found_us: what the pooler took to find it out, where that is waited for */
	atomic_long logins_us;	 /* of as many logins as the pool has servers */
	atomic_long server_us;	 /* from the event until it took a write; 0: it has not yet */
	atomic_bool no_end;	 /* of the waits that count: not only those that began before that */
	atomic_bool probe_stop;
	pthread_t probe;
};

long now_us(void);
/* Starts all of them, and the watchdog. */
void clients_start(struct load *l);
void clients_stop(struct load *l);
/* What lasts since here is measured from here on. */
void event_begins(struct load *l);
/* Asks a server itself until it takes a write. It must not take one yet, or again already. */
void probe_start(struct load *l, struct pg *p);
void probe_end(struct load *l);

#endif
