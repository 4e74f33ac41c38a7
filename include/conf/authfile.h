/*
 * authfile: the user list. Lines of "user" "secret"; anything after is ignored,
 * ';' starts a comment line, "" is a quote inside quotes.
 */
#ifndef PSBOUNCER_CONF_AUTHFILE_H
#define PSBOUNCER_CONF_AUTHFILE_H

#include <stddef.h>

#include "base/htab.h"

struct errs;

struct auth_entry {
	struct hnode by_name;
	char *name;   /* less than 128 bytes */
	char *secret; /* plain, md5..., SCRAM-SHA-256$...; less than 65531 bytes; may be "" */
	int line;
};

struct auth_file {
	struct htab users;
};

/* A broken line is a fault (entry in errs, NULL). path NULL or "": an empty list. */
struct auth_file *auth_file_load(const char *path, struct errs *errs) __attribute__((warn_unused_result));
/* The same from memory: name is used in errors. */
struct auth_file *auth_file_parse(const char *name, const char *text, size_t n, struct errs *errs)
	__attribute__((warn_unused_result));
struct auth_file *auth_file_copy(const struct auth_file *f);
const struct auth_entry *auth_file_find(const struct auth_file *f, const char *user);
void auth_file_free(struct auth_file *f); /* wipes the secrets; NULL is fine */

#endif
