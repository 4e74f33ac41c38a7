/*
 * load: a load generator for tests. Hundreds of clients on sockets of their
 * own, in one thread: each sends requests of many kinds with a tag that nobody
 * else has, and compares every message of the replies with what must come.
 * Beside them wreckers: clients that vanish, cancel, or send nonsense. It knows
 * the protocol, but neither libpq nor psbouncer, and does not fail a test by
 * itself: the sums tell.
 */
#ifndef PSBOUNCER_TEST_LOAD_H
#define PSBOUNCER_TEST_LOAD_H

#include <stddef.h>
#include <stdint.h>

struct load;

struct load_options {
	int port;		      /* on 127.0.0.1 */
	const char *user, *password;  /* logs in by trust, password or md5 */
	const char *const *databases; /* NULL at the end; the clients are spread over them */
	unsigned clients, wreckers;
	int pause_ms, wreck_pause_ms; /* the longest of the random pauses between requests, and between wrecks */
	int patience_ms;	      /* an answer that takes longer is a failure */
	uint64_t seed;
};

/* The tables that the clients use, to be made by the tests before. */
extern const char load_schema[];

/* The clients connect as load_run() comes to them. */
struct load *load_start(const struct load_options *o);
/* Runs for so long, or until the first failure. */
void load_run(struct load *l, int ms);
/* Starts nothing new: what is under way ends, then all say goodbye. */
void load_drain(struct load *l);
/* Closes whatever is left. */
void load_free(struct load *l);

/* The first failure with all that is known of it, NULL: there was none. */
const char *load_failure(const struct load *l);
/* How many requests and wrecks of kind i ended as they must; its name. NULL: there are no more. */
const char *load_kind(const struct load *l, size_t i, uint64_t *done);
/* Of the cancel requests to own queries: how many hit. */
uint64_t load_cancels_hit(const struct load *l);

#endif
