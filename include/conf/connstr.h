/*
 * connstr: key=value lists ("host=a,b port=5432 password='it''s'"), as
 * [databases] and [users] have them.
 */
#ifndef PSBOUNCER_CONF_CONNSTR_H
#define PSBOUNCER_CONF_CONNSTR_H

#include <stddef.h>

struct connstr_pair {
	char *key, *value;
};

struct connstr {
	struct connstr_pair *v;
	size_t n;
};

/*
 * Splits text. NULL on success, else a static text of what is wrong and in *at
 * the offset of the pair. A value that begins with a single quote ends with one
 * ('' is one inside it), any other ends at white space; it cannot be empty. Keys
 * may come more than once. connstr_free() either way.
 */
const char *connstr_parse(const char *text, struct connstr *out, size_t *at) __attribute__((warn_unused_result));
void connstr_free(struct connstr *c); /* wipes the values */

#endif
