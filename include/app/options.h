/*
 * options: the command line, and what it asks for that needs no running
 * program: version, help, printed tables, a secret.
 */
#ifndef PSBOUNCER_APP_OPTIONS_H
#define PSBOUNCER_APP_OPTIONS_H

#include <stdbool.h>

struct options {
	const char *path; /* the configuration file */
	const char *user; /* -u, or NULL */
	bool daemon, quiet, test;
	int verbose;
};

enum options_result {
	OPTIONS_RUN,  /* o is filled */
	OPTIONS_DONE, /* answered on standard output: exit 0 */
	OPTIONS_BAD   /* said so on standard error: exit 1 */
};

enum options_result options_parse(int argc, char **argv, struct options *o) __attribute__((warn_unused_result));

#endif
