/*
 * daemon: a process among others: its user, its limits, its background, its
 * pidfile. Failures are logged as FATAL where the function returns false.
 */
#ifndef PSBOUNCER_APP_DAEMON_H
#define PSBOUNCER_APP_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

struct config;

/* Becomes the user with all his groups, for good. */
bool daemon_become_user(const char *name) __attribute__((warn_unused_result));

/* How many descriptors max_client_conn and the pools of the configuration need. */
int64_t daemon_descriptors(const struct config *c);
/* Raises RLIMIT_NOFILE to so many; a warning with the numbers when the system does not allow it. */
void daemon_raise_limit(int64_t descriptors);
/* So many of the descriptors may be clients' and our own: the others are kept for the pools' servers. */
int daemon_clients_below(const struct config *c);

/* Warnings about what is open to others: auth_type on an address that is not loopback, files with keys and secrets. */
void daemon_warn(const struct config *c);

/*
 * Into the background: the parent waits until daemon_ready(), then exits with 0;
 * if the child ends before that, with 1. Returns in the child; -1 when it fails.
 */
int daemon_fork(void) __attribute__((warn_unused_result));
/* The start is over: standard streams go to /dev/null, the parent exits. ready is daemon_fork()'s. */
void daemon_ready(int ready);

/* Held open and locked as long as the program lives. */
struct pidfile {
	int fd;
	const char *path;
};
/* False when another one lives (or it cannot be written). path stays the caller's; empty: no pidfile. */
bool pidfile_take(struct pidfile *p, const char *path) __attribute__((warn_unused_result));
void pidfile_remove(struct pidfile *p);

#endif
