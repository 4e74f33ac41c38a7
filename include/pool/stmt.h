/*
 * stmt: prepared statements: which ones there are, what a client calls them,
 * and which a server connection has. Bookkeeping only: no message is made or
 * sent here (PostgreSQL manual, 55.2.3).
 *
 * Three things:
 *   struct stmt        a statement itself, in a table (one a registry), counted
 *                      by reference. Clients that parse the same under the same
 *                      settings share one.
 *   struct stmt_map    a client's names for statements
 *   struct stmt_cache  the statements that one server connection has prepared,
 *                      by when they were used last
 *
 * All that is done for each message costs O(1), apart from a hash over a body
 * or name; iteration and clearing cost what there is to visit.
 */
#ifndef PSBOUNCER_POOL_STMT_H
#define PSBOUNCER_POOL_STMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/htab.h"

struct vars;
struct stmt_table;

struct stmt_edits;

/* ---- statements ---- */

enum { STMT_NAME = 32 };

/* May running it change its session? */
enum stmt_changes { STMT_NOT_LOOKED_AT, STMT_UNCHANGING, STMT_CHANGING };

struct stmt {
	uint64_t number;       /* from 1 on, never used again */
	struct vars *settings; /* under which it is parsed; a reference of the statement's */
	uint64_t clients;      /* for SHOW: names that clients have for it ... */
	uint64_t servers;      /* ... caches that hold it ... */
	uint64_t uses;	       /* ... and what stmt's users count here, this unit does not */
	uint8_t changes;       /* enum stmt_changes, theirs too */
	uint8_t ends;	       /* and theirs: how running it ends a transaction; 0: it was not looked at */
	bool shared;
	bool unsure; /* and theirs, not shared: its settings are told by the next ReadyForQuery */
	bool stale; /* a server has said that its result is not what it was: whoever parses the same gets another one */
	char name[STMT_NAME];	  /* on servers: "psbouncer_" and the number */
	size_t len;		  /* of the body */
	struct stmt_edits *edits; /* names of SQL's in its text; a reference or NULL */

	/* this unit's */
	uint32_t refs;
	struct stmt_table *table;
	struct hnode node; /* in the table, if shared */
	TAILQ_ENTRY(stmt) all;
	/*
	 * What follows the name in a Parse: the text with its NUL, int16 count, that many int32 type oids. Or a
	 * PREPARE of SQL's without its name, "PREPARE (types) AS ...", with its NUL and nothing else: stmt_is_sql().
	 */
	char body[];
};
bool stmt_is_sql(const struct stmt *s);

struct stmt_table *stmt_table_new(void);
void stmt_table_free(struct stmt_table *t); /* asserts that no statement is left; NULL is fine */
size_t stmt_table_count(const struct stmt_table *t);

/*
 * A reference to the statement with this body, of which a copy is made. shared: the one that has the same bytes and
 * the same settings (the same set: sets are interned), if there is one that was asked for as shared; else a new one.
 * Its settings get a reference of their own. NULL: memory is out.
 */
struct stmt *stmt_get(struct stmt_table *t, struct vars *settings, const void *body, size_t len, bool shared)
	__attribute__((warn_unused_result));
struct stmt *stmt_ref(struct stmt *s);
void stmt_unref(struct stmt **s); /* NULL inside is fine; sets it to NULL. The last one frees it. */

/* It is stale from here on. */
void stmt_retire(struct stmt *s);

/* All of them in the order of their numbers: start with NULL. s must still be there. */
struct stmt *stmt_next(const struct stmt_table *t, const struct stmt *s);

/* ---- a client's names ---- */

/*
 * A name is added when its Parse goes out and taken out when its Close does, before the server has answered. So it can
 * turn out that neither happened: the server skips what follows an error to the Sync. Therefore names that requests
 * under way speak of live on while these hold references, and three operations say what did not happen:
 *   stmt_map_fail()     the Parse that made this name failed or was skipped: it never was
 *   stmt_map_restore()  the Close of this name was skipped: it is there again
 *   stmt_map_clear()    a DEALLOCATE ALL or DISCARD ALL was done: what was added before it is gone
 * They may come in the order of the requests or in the opposite one: the outcome is the same.
 */
enum { STMT_NAME_COMPARED = 63 };

struct stmt_map;

struct stmt_name {
	struct stmt *stmt; /* a reference of the name's; NULL: stmt_name_unknown() */

	/* this unit's */
	struct stmt_map *map; /* NULL: gone for good */
	uint64_t serial;
	uint32_t refs; /* the map's included */
	bool present;  /* can be found */
	struct hnode node;
	TAILQ_ENTRY(stmt_name) all;
	char name[];
};

/*
 * A map is made by the first stmt_map_add(): NULL is an empty map everywhere. Of a name the first 63 bytes count, as
 * in PostgreSQL, whose table of prepared statements compares no more of it.
 */
struct stmt_name *stmt_map_find(const struct stmt_map *m, const char *name);
/*
 * Adds a name for s, which gets a reference of the name's. The name must not be there.
 * The result is the map's: a caller that keeps it takes a reference. NULL: memory is out, nothing has changed.
 */
struct stmt_name *stmt_map_add(struct stmt_map **m, const char *name, struct stmt *s);
/* Takes a name out that is there. Without another reference it is freed. */
void stmt_map_remove(struct stmt_name *n);
/* n stands for s from here on, whose reference is taken over. */
void stmt_name_renew(struct stmt_name *n, struct stmt *s);
/* The Parse did not happen: n is out, if it is in, and does not come back. */
void stmt_map_fail(struct stmt_name *n);
/*
 * The Close did not happen: n is in again, in place of what has the name now (which a request behind that Close must
 * have added). Nothing if it is in, or gone for good by stmt_map_fail(), stmt_map_clear() or stmt_map_free().
 */
void stmt_map_restore(struct stmt_name *n);
/* What has been added until now, for a stmt_map_clear() later. 0 for an empty map that was never used. */
uint64_t stmt_map_mark(const struct stmt_map *m);
/* All names that were added before that mark was taken are gone for good. UINT64_MAX: all there are. */
void stmt_map_clear(struct stmt_map *m, uint64_t mark);
void stmt_map_free(struct stmt_map **m); /* clears it; NULL inside is fine, sets it to NULL */
size_t stmt_map_count(const struct stmt_map *m);

/* Any order; start with NULL. */
struct stmt_name *stmt_map_next(const struct stmt_map *m, const struct stmt_name *n);

/* A name that the client has nothing for, to speak of in an error: stmt is NULL. NULL: memory is out. */
struct stmt_name *stmt_name_unknown(const char *name);
struct stmt_name *stmt_name_ref(struct stmt_name *n);
void stmt_name_unref(struct stmt_name **n); /* NULL inside is fine; sets it to NULL */
/* A name that the client will have for s when its PREPARE is done. NULL: memory is out. */
struct stmt_name *stmt_name_pending(const char *name, struct stmt *s);

/* ---- names in a text of SQL's ---- */

enum { STMT_EDITS_MAX = 256 }; /* of one text: who makes them keeps to it */

enum stmt_edit_what { EDIT_MAKES, EDIT_USES, EDIT_DROPS };

/* A place where a client's name stood, and now the server's does. */
struct stmt_edit {
	struct stmt_name *name; /* a reference of the edit's; without a stmt: unknown */
	uint32_t statement;	/* which one of the text's, from 0 */
	uint32_t at, was, is;	/* where it is in the new text, its length before and now: in characters */
	uint32_t byte;		/* where it is, in bytes */
	uint8_t what;
	bool pending; /* name is made by this text itself */
};

/* In the order of the text. Counted by reference. */
struct stmt_edits {
	uint32_t refs, n;
	struct stmt_edit v[];
};

/* One more, zeroed, in *e, which nobody else has; NULL inside: the first one. NULL: memory is out, *e is as it was. */
struct stmt_edit *stmt_edits_add(struct stmt_edits **e);
struct stmt_edits *stmt_edits_ref(struct stmt_edits *e);
void stmt_edits_unref(struct stmt_edits **e); /* NULL inside is fine; sets it to NULL */

/* ---- what a server has ---- */

struct stmt_cached;
TAILQ_HEAD(stmt_cached_list, stmt_cached);

struct stmt_cache {
	struct htab by_stmt;
	struct stmt_cached_list order; /* the least recently used first */
};

void stmt_cache_init(struct stmt_cache *c);
/* Is s there? Then it becomes the most recently used. */
bool stmt_cache_use(struct stmt_cache *c, const struct stmt *s);
/* s, which must not be there, as the most recently used; with a reference of the cache's. */
void stmt_cache_add(struct stmt_cache *c, struct stmt *s);
/* False: it is not there. Gives the reference back, which may be the last one. */
bool stmt_cache_remove(struct stmt_cache *c, struct stmt *s);
/* The least recently used, if there are more than limit; else NULL. */
struct stmt *stmt_cache_oldest(const struct stmt_cache *c, size_t limit);
/* Removes all and gives the memory back; it can be used again. */
void stmt_cache_clear(struct stmt_cache *c);
size_t stmt_cache_count(const struct stmt_cache *c);

#endif
