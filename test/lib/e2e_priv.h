/*
 * e2e_priv: what the files of e2e share.
 */
#ifndef PSBOUNCER_TEST_E2E_PRIV_H
#define PSBOUNCER_TEST_E2E_PRIV_H

#include "lib/e2e.h"

/* As e2e_spawn(), with a limit of descriptors (0: as it is) and a folder to work in (NULL: the program's). */
pid_t e2e_spawn_in(const char *const argv[], const char *const env[], const char *log, int signal, unsigned nofile,
	const char *folder);
/* A folder below the program's, owned by the unprivileged user; the path is the caller's to free. */
char *e2e_make_folder(const char *name, mode_t mode);
void e2e_own(const char *path);
void e2e_remove_tree(const char *path);
/* A path outlives the test: an allocation that is freed at the end of the program, or never. */
char *e2e_keep(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Writes a file with a mode, owned by the unprivileged user. */
void e2e_write(const char *path, mode_t mode, const char *content);
/* Prints the last lines of a file to standard error; async-signal-safe. */
void e2e_print_tail(const char *title, const char *path);

/* Called at the end of each test by e2e_teardown(). */
void db_teardown(void);
void raw_teardown(void);
void proxy_teardown(void);
/* False when a pooler did not end as it must. */
bool bouncer_teardown(void);
/* The logs of all poolers of this test; async-signal-safe. */
void bouncer_print_logs(void);

#endif
