/*
 * err: errors of files and texts that a person wrote, with the place where
 * they stand. A list, because -t prints all of them at once.
 */
#ifndef PSBOUNCER_BASE_ERR_H
#define PSBOUNCER_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

struct err {
	char *file; /* NULL: no file, e.g. a console command */
	int line;   /* from 1; 0: the file as a whole */
	char *text;
};

/* Zero-initialise; errs_free() when done. Keeps the first 100, counts all. */
struct errs {
	struct err *v;
	size_t n; /* kept */
	size_t total;
};

void errs_add(struct errs *e, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* "FILE:LINE: TEXT", "FILE: TEXT" or "TEXT" of error i into buf; returns buf. */
const char *errs_format(const struct errs *e, size_t i, char *buf, size_t size);
void errs_free(struct errs *e);

#endif
