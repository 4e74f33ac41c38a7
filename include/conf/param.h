/*
 * param: the typed engine over tbl/params.h. One row of that table is one
 * setting; the structs, the parser, SHOW CONFIG, SET, the manual page and the
 * sample file come from it.
 *
 * A row: PARAM(name, TYPE, SCOPE, WHEN, min, max, default, words, group, help)
 *   TYPE    BOOL INT TIME MSEC SIZE LAG MODE STR ENUM (config.h says what they hold)
 *   SCOPE   G, GD (database may override), GU, GDU
 *   WHEN    RELOAD or RESTART
 *   min max of numbers; in the type's unit (TIME: microseconds); else 0
 *   default a text that goes through the row's own parser at start
 *   words   of an ENUM, a NUL behind each: "session\0transaction\0statement\0"; else NULL
 *   group   heading in the manual and the sample
 *   help    one or two sentences, roff-safe
 */
#ifndef PSBOUNCER_CONF_PARAM_H
#define PSBOUNCER_CONF_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The largest values that numbers and times (100 years) may have. */
#define PARAM_MAX_INT INT64_C(2147483647)
#define PARAM_MAX_TIME (INT64_C(3155760000) * 1000000)

#define PARAM_CTYPE_BOOL bool
#define PARAM_CTYPE_INT int64_t
#define PARAM_CTYPE_TIME int64_t
#define PARAM_CTYPE_MSEC int64_t
#define PARAM_CTYPE_SIZE int64_t
#define PARAM_CTYPE_LAG int64_t /* bytes; negative: microseconds */
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

enum param_type { PT_BOOL, PT_INT, PT_TIME, PT_MSEC, PT_SIZE, PT_LAG, PT_MODE, PT_STR, PT_ENUM };
enum param_scope { PS_GLOBAL = 1, PS_DATABASE = 2, PS_USER = 4 };

struct param {
	const char *name;
	enum param_type type;
	unsigned scope; /* PS_* bits */
	bool restart;	/* cannot change without a restart */
	int64_t min, max;
	const char *def;
	const char *words; /* one behind the other, an empty one at the end */
	const char *group;
	const char *help;
	size_t offset; /* in struct settings */
};

/* Index: enum param_id. */
extern const struct param param_table[PARAM_COUNT];

/* The row of a global setting (case-insensitive), or NULL. */
const struct param *param_find(const char *name);
/*
 * The same for an entry of [databases] (PS_DATABASE) or [users] (PS_USER): only
 * what may be overridden there, under the name that it has there (pool_size is
 * default_pool_size, reserve_pool is reserve_pool_size).
 */
const struct param *param_find_in(const char *name, unsigned scope);
/* The name of a row in that scope: "pool_size" for default_pool_size in PS_DATABASE and PS_USER. */
const char *param_name_in(const struct param *p, unsigned scope);
/* The known name of that scope that is nearest to an unknown one, or NULL when none is near. */
const char *param_nearest(const char *name, unsigned scope);
/* The same with n more words that are known there too. Scope 0: these alone. */
const char *param_nearest_with(const char *name, unsigned scope, const char *const *words, size_t n);

/*
 * Parses text into the row's field of *s. false and a reason in why (which
 * includes the allowed range or words, never the text) when it does not fit; *s
 * then is as it was. Numbers: 0x and 0 prefixes; times: seconds as a decimal
 * number, or a number with us ms s min h d; sizes: bytes or kB MB GB; booleans:
 * 0 1 on off yes no true false; modes: octal with a leading 0.
 */
bool param_parse(const struct param *p, const char *text, struct settings *s, char *why, size_t why_size)
	__attribute__((warn_unused_result));
/* Room for every value that is not a string. */
#define PARAM_TEXT 32
/* The value as SHOW CONFIG prints it (times as seconds): in buf, or the string itself. */
const char *param_print(const struct param *p, const struct settings *s, char *buf, size_t size);
bool param_equal(const struct param *p, const struct settings *a, const struct settings *b);
/* Gives *to the value that *from has. */
void param_assign(const struct param *p, struct settings *to, const struct settings *from);

void settings_init(struct settings *s);				      /* every default, through its parser */
void settings_copy(struct settings *to, const struct settings *from); /* to is uninitialised */
void settings_free(struct settings *s);				      /* NULL fields are fine */

/* A zeroed struct overrides has nothing set. */
bool override_has(const struct overrides *o, enum param_id id);
/* As param_parse(); p comes from param_find_in(). */
bool override_parse(struct overrides *o, const struct param *p, const char *text, char *why, size_t why_size)
	__attribute__((warn_unused_result));
void overrides_copy(struct overrides *to, const struct overrides *from); /* to is uninitialised */
void overrides_free(struct overrides *o);

/*
 * Effective values: the user's, else the database's, else the global one; any of
 * the three may be NULL but the last. For every row that is not a string.
 */
int64_t param_effective(enum param_id id, const struct overrides *user, const struct overrides *db,
	const struct settings *global);

/* Words of the ENUM rows, in the order of their words. */
enum pool_mode { POOL_SESSION, POOL_TRANSACTION, POOL_STATEMENT };
enum session_state { STATE_TRACK, STATE_RESET, STATE_WARN, STATE_IGNORE };
enum auth_type { AUTH_ANY, AUTH_TRUST, AUTH_PLAIN, AUTH_MD5, AUTH_CERT, AUTH_SCRAM };
enum sslnegotiation { SSLNEG_POSTGRES, SSLNEG_DIRECT };
/* client_tls_sslmode and server_tls_sslmode: enum tls_mode of net/tls.h has the same order. */
/* The word of a value of an ENUM row; the text stays for good. "" when there is no such word. */
const char *param_word(enum param_id id, int value);

#endif
