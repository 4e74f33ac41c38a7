/*
 * vars: sets of session parameters. A set is immutable, sorted by name,
 * counted by reference and interned: equal sets are one object, so "does this
 * server stand where this client left off" is one comparison of pointers, and
 * ten thousand clients with the same settings cost one set.
 *
 * Names compare without regard to case (PostgreSQL manual, 20.1); the spelling
 * of the first who used a name is kept, but DateStyle, IntervalStyle and TimeZone
 * are always spelled as the server reports them.
 *
 * client_encoding is the first of a set, since it says what the bytes of the
 * others mean; then the order is that of the names.
 */
#ifndef PSBOUNCER_POOL_VARS_H
#define PSBOUNCER_POOL_VARS_H

#include <stdbool.h>
#include <stddef.h>

struct vars;
struct vars_table;

struct vars_table *vars_table_new(void);
void vars_table_free(struct vars_table *t); /* asserts that no set is left but the empty one */

/* The empty set; a reference of the caller's. */
struct vars *vars_empty(struct vars_table *t);
struct vars *vars_ref(struct vars *v);
void vars_unref(struct vars **v); /* NULL inside is fine; sets it to NULL */

/*
 * *v becomes the set in which name has value (NULL: in which it is missing). The
 * reference in *v is eaten, one to the new set is put there; *v may be unchanged.
 */
void vars_put(struct vars **v, const char *name, const char *value);
/*
 * base with over's values in place of its own; a new reference. The last answer is remembered in over as long as
 * somebody holds over: asking again costs nothing.
 */
struct vars *vars_overlay(struct vars *base, struct vars *over) __attribute__((warn_unused_result));

const char *vars_get(const struct vars *v, const char *name); /* NULL: not in it */
size_t vars_count(const struct vars *v);
const char *vars_name(const struct vars *v, size_t i);
const char *vars_value(const struct vars *v, size_t i);

/*
 * Walks what differs: start with *i = *j = 0. Gives each name that has another value in b than in a (a_value or b_value
 * NULL: missing there); false at the end.
 */
bool vars_diff(const struct vars *a, const struct vars *b, size_t *i, size_t *j, const char **name,
	const char **a_value, const char **b_value);

/* What may be done with a parameter. */
enum var_kind {
	VAR_SCALAR, /* SET name = E'...' */
	VAR_LIST,   /* each element on its own: search_path, temp_tablespaces, *_preload_libraries */
	/*
	 * Nothing: the server alone decides (in_hot_standby, is_superuser, server_version, server_encoding, integer_datetimes),
	 * or it is no longer so after the transaction (transaction_isolation and its like), or cannot be read (seed).
	 */
	VAR_FIXED
};
enum var_kind var_kind(const char *name);

struct buf;
/*
 * Appends "SET name = value;", or "SET SESSION AUTHORIZATION value;", quoted so that any value comes back whole,
 * whatever standard_conforming_strings and client_encoding are. A list that PostgreSQL could not split is one element.
 * Not for VAR_FIXED. local: "SET LOCAL ...", up to the end of the transaction, where what was set before it holds again.
 */
void var_set_sql(struct buf *b, const char *name, const char *value, bool local);
/* Appends "RESET name;", or "SET LOCAL name TO DEFAULT;": what it was after the server connection's login. */
void var_reset_sql(struct buf *b, const char *name, bool local);
/* Appends the text as a literal of SQL, whatever standard_conforming_strings is. */
void vars_put_literal(struct buf *b, const char *text);

#endif
