/*
 * param: the typed engine over tbl/params.h. One row of that table is one
 * setting; the structs, the parser, SHOW CONFIG, SET, the manual page and the
 * sample file come from it.
 *
 * A row: PARAM(name, TYPE, SCOPE, WHEN, min, max, default, words, group, help)
 *   TYPE    BOOL INT TIME MSEC SIZE MODE STR ENUM (config.h says what they hold)
 *   SCOPE   G, GD (database may override), GU, GDU
 *   WHEN    RELOAD or RESTART
 *   min max of numbers; in the type's unit (TIME: microseconds)
 *   default a text that goes through the row's own parser at start
 *   words   of an ENUM: "session|transaction|statement"; else NULL
 *   group   heading in the manual and the sample
 *   help    one or two sentences, roff-safe
 */
#ifndef PSBOUNCER_CONF_PARAM_H
#define PSBOUNCER_CONF_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARAM_CTYPE_BOOL bool
#define PARAM_CTYPE_INT int64_t
#define PARAM_CTYPE_TIME int64_t
#define PARAM_CTYPE_MSEC int64_t
#define PARAM_CTYPE_SIZE int64_t
#define PARAM_CTYPE_MODE int64_t
#define PARAM_CTYPE_STR char *
#define PARAM_CTYPE_ENUM int

/* The values, a field a row. Strings are owned and never NULL. */
struct settings {
#define PARAM(name, type, scope, when, min, max, def, words, group, help) PARAM_CTYPE_##type name;
#include "tbl/params.h"
#undef PARAM
};

enum param_id {
#define PARAM(name, type, scope, when, min, max, def, words, group, help) PARAM_##name,
#include "tbl/params.h"
#undef PARAM
	PARAM_COUNT
};

/* Values that a database or a user has of its own; those whose bit is not set are to be ignored. */
struct overrides {
	uint64_t has[(PARAM_COUNT + 63) / 64];
	struct settings *set; /* NULL when there is none */
};

enum param_type { PT_BOOL, PT_INT, PT_TIME, PT_MSEC, PT_SIZE, PT_MODE, PT_STR, PT_ENUM };
enum param_scope { PS_GLOBAL = 1, PS_DATABASE = 2, PS_USER = 4 };

struct param {
	const char *name;
	enum param_type type;
	unsigned scope; /* PS_* bits */
	bool restart;	/* cannot change without a restart */
	int64_t min, max;
	const char *def;
	const char *words;
	const char *group;
	const char *help;
	size_t offset; /* in struct settings */
};

/* Index: enum param_id. The row of a name (case-insensitive), or NULL; the nearest known name for an unknown one, or NULL when none is near. */
extern const struct param param_table[PARAM_COUNT];
const struct param *param_find(const char *name);
const char *param_nearest(const char *name, unsigned scope);

/*
 * Parses text into the row's field of *s. false and a reason in why (which
 * includes the allowed range or words) when it does not fit; *s then is as it
 * was. Numbers: 0x and 0 prefixes; times: seconds as a decimal number or with
 * us ms s min h d; sizes: bytes or kB MB GB; booleans: 0 1 on off yes no true
 * false. bare_seconds of databases and users are whole seconds or take a unit.
 */
bool param_parse(const struct param *p, const char *text, struct settings *s, char *why, size_t why_size) __attribute__((warn_unused_result));
/* The value as SHOW CONFIG prints it (times as seconds) into buf; returns buf. */
const char *param_print(const struct param *p, const struct settings *s, char *buf, size_t size);
bool param_equal(const struct param *p, const struct settings *a, const struct settings *b);

void settings_init(struct settings *s); /* every default, through its parser */
void settings_copy(struct settings *to, const struct settings *from); /* to is uninitialised */
void settings_free(struct settings *s);

bool override_has(const struct overrides *o, enum param_id id);
bool override_parse(struct overrides *o, const struct param *p, const char *text, char *why, size_t why_size) __attribute__((warn_unused_result));
void overrides_copy(struct overrides *to, const struct overrides *from);
void overrides_free(struct overrides *o);

/*
 * Effective values: the user's, else the database's, else the global one; any of
 * the three may be NULL but the last. One function a type, by row.
 */
int64_t param_effective(enum param_id id, const struct overrides *user, const struct overrides *db, const struct settings *global);

/* Words of the ENUM rows, in the order of their words. */
enum pool_mode { POOL_SESSION, POOL_TRANSACTION, POOL_STATEMENT };
enum auth_type { AUTH_ANY, AUTH_TRUST, AUTH_PLAIN, AUTH_MD5, AUTH_CERT, AUTH_SCRAM };
enum sslnegotiation { SSLNEG_POSTGRES, SSLNEG_DIRECT };
/* client_tls_sslmode and server_tls_sslmode: enum tls_mode of net/tls.h has the same order. */
const char *param_word(enum param_id id, int value);

#endif
