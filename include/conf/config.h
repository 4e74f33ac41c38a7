/*
 * config: the file as it was read. A struct config is immutable, counted by
 * reference, and complete: RELOAD and SET build a new one and swap. What runs
 * (databases, users, pools) lives in pool/registry and is matched by name.
 *
 * Settings are the rows of tbl/params.h. Each row is a field of struct settings,
 * of the type that its word stands for:
 *
 *     BOOL bool | INT int64_t | TIME int64_t microseconds | MSEC int64_t
 *     milliseconds | SIZE int64_t bytes | MODE int64_t (octal) | STR char *
 *     (never NULL) | ENUM int (index into the row's words)
 */
#ifndef PSBOUNCER_CONF_CONFIG_H
#define PSBOUNCER_CONF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/htab.h"
#include "conf/param.h"

struct errs;
struct auth_entry;
struct auth_file;

struct config_host {
	char *host; /* name, address, "/directory", "@abstract"; "": the default unix socket directory */
	uint16_t port;
	char *zone; /* host_zones, or NULL */
};

/* One line of [databases]. */
struct config_database {
	struct hnode by_name;
	char *name;   /* "*" for the fallback */
	char *dbname; /* on the server; NULL: the name that the client asked for */
	struct config_host *hosts;
	size_t n_hosts;
	char *user;	     /* forced user, or NULL */
	char *password;	     /* of the forced user, or NULL */
	char *password_file; /* read at each connect, or NULL */
	char *connect_query; /* or NULL */
	/* Sent at server login, or NULL. */
	char *client_encoding, *datestyle, *timezone, *application_name;
	struct overrides over;
	char *file; /* where the entry stands */
	int line;
};

/* One line of [users]. */
struct config_user {
	struct hnode by_name;
	char *name;
	struct overrides over;
	char *file;
	int line;
};

/* One line of [peers]: another process of the group, which cancel requests for its clients are passed on to. */
struct config_peer {
	unsigned id; /* 1 to CONFIG_PEER_MAX */
	struct config_host host;
	int64_t pool_size; /* requests under way to it at once; 0: default_pool_size */
	char *file;
	int line;
};

enum {
	CONFIG_PEER_MAX = 16383,
	CONFIG_HOSTS = 64 /* of an entry, at most */
};

/* Where a value comes from. */
struct setting_origin {
	const char *what; /* "default", "file" or "console" */
	char *file;	  /* what is "file": where it stands */
	int line;
};

struct config {
	unsigned refs;
	char *path;			  /* the file that the next RELOAD reads: as given, or conffile */
	struct settings set;		  /* effective global values */
	struct setting_origin *origin;	  /* PARAM_COUNT of them, a row each */
	struct htab databases;		  /* struct config_database.by_name; without "*" */
	struct config_database *fallback; /* the entry "*", or NULL */
	struct htab users;		  /* struct config_user.by_name */
	struct config_peer *peers;	  /* by id */
	size_t n_peers;
	struct auth_file *auth; /* auth_file's content; an empty one when it is not set */
};

/*
 * Reads path, its includes and the files that it names. All faults go to errs;
 * NULL if there was one: nothing half-read ever leaves this function. Files are
 * read with no more than 64 MB each.
 */
struct config *config_load(const char *path, struct errs *errs) __attribute__((warn_unused_result));
/* The same of a main file that is in memory; name stands for it in errors. */
struct config *config_parse(const char *name, const char *text, size_t n, struct errs *errs)
	__attribute__((warn_unused_result));
/*
 * The same for RELOAD: reads old->path. As with PgBouncer a setting whose default
 * is no value (auth_file, conffile, user, verbose, the TLS 1.3 ciphers) keeps what
 * it had when the file does not name it; and config_keep_fixed() was done.
 */
struct config *config_reload(const struct config *old, struct errs *errs) __attribute__((warn_unused_result));
/* A copy of c in which one global setting has another value (SET, -v). NULL and entries in errs when it cannot be. */
struct config *config_with(const struct config *c, const char *name, const char *value, struct errs *errs)
	__attribute__((warn_unused_result));
struct config *config_ref(struct config *c);
void config_unref(struct config **c); /* NULL inside is fine */

/* Puts the non-reloadable settings of old into fresh; each that differs is named in a warning to the log. */
void config_keep_fixed(const struct config *old, struct config *fresh);

/* The entry for a database name: its own, else "*", else NULL. Never "pgbouncer" or "psbouncer". */
const struct config_database *config_database_find(const struct config *c, const char *name);
const struct config_user *config_user_find(const struct config *c, const char *name);
/* NULL when auth_file has no such user. */
const struct auth_entry *config_auth_find(const struct config *c, const char *user);
/* Is name a word of the comma-separated list (admin_users, stats_users)? */
bool config_list_has(const char *list, const char *name);
/* The same of server parameters, whose names have no case (ignore_startup_parameters, track_extra_parameters). */
bool config_list_has_parameter(const char *list, const char *name);

/* Errors from number `from` on that begin with the name of a setting, and have no place, get the one where it was set. */
void config_locate(const struct config *c, struct errs *errs, size_t from);

/* Has anybody set it, in the file or on the console? */
bool config_is_set(const struct config *c, enum param_id id);

/* Would a server connection made for a be wrong for b (other host, dbname, user, connect_query, ...)? */
bool config_database_differs(const struct config_database *a, const struct config_database *b);

/* Prints the sample configuration file / the roff part of psbouncer.5 / every value with where it came from. */
struct buf;
void config_print_sample(struct buf *out);
void config_print_manual(struct buf *out);
void config_print_origins(const struct config *c, struct buf *out);

#endif
