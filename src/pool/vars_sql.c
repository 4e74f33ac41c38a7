/*
 * vars_sql: the text of a SET for any parameter and value, so that the value
 * comes back whole. Knows which parameters are lists (GUC_LIST_QUOTE in
 * PostgreSQL) and which cannot be set. Owns nothing.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/buf.h"
#include "pool/vars.h"

/* How the server splits a list: as names of SQL, or as names of files (no folding, blanks inside). */
enum split { SPLIT_NAMES, SPLIT_FILES };

static const struct {
	const char *name;
	enum split split;
} lists[] = {
	{"search_path", SPLIT_NAMES},
	{"temp_tablespaces", SPLIT_NAMES},
	{"local_preload_libraries", SPLIT_FILES},
	{"session_preload_libraries", SPLIT_FILES},
	{"shared_preload_libraries", SPLIT_FILES},
};

static const char *const fixed[] = {"in_hot_standby", "integer_datetimes", "is_superuser", "seed", "server_encoding",
	"server_version", "transaction_deferrable", "transaction_isolation", "transaction_read_only"};

/* The parameters without '_' in their names that clients are known to set, as the server spells them. */
static const char *const plain[] = {"DateStyle", "IntervalStyle", "TimeZone", "role"};

enum { LISTS = sizeof lists / sizeof lists[0], FIXED = sizeof fixed / sizeof fixed[0] };
enum { PLAIN = sizeof plain / sizeof plain[0] };

/* LISTS when it is none. */
static size_t list_index(const char *name)
{
	size_t i = 0;

	while (i < LISTS && strcasecmp(name, lists[i].name) != 0)
		i++;
	return i;
}

enum var_kind var_kind(const char *name)
{
	for (size_t i = 0; i < FIXED; i++)
		if (strcasecmp(name, fixed[i]) == 0)
			return VAR_FIXED;
	return list_index(name) < LISTS ? VAR_LIST : VAR_SCALAR;
}

/* ---- names ---- */

/*
 * Can it stand without quotes? Letters, digits and '_' alone, and not a key word: of those that a SET cannot take
 * none holds a '_' and is a parameter too, so a name without '_' is quoted unless it is well known.
 */
static bool is_plain(const char *name)
{
	if (name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] != '\0')
		return false;
	if (strchr("0123456789", name[0]) != NULL) /* also for "" */
		return false;
	for (size_t i = 0; i < PLAIN; i++)
		if (strcasecmp(name, plain[i]) == 0)
			return true;
	return strchr(name, '_') != NULL;
}

static void put_doubled(struct buf *b, const char *s, size_t n, const char *chars)
{
	for (size_t i = 0; i < n; i++) {
		if (strchr(chars, s[i]) != NULL)
			buf_append(b, &s[i], 1);
		buf_append(b, &s[i], 1);
	}
}

/* a.b is two identifiers. */
static void put_name(struct buf *b, const char *name)
{
	if (is_plain(name)) {
		buf_puts(b, name);
		return;
	}
	for (;;) {
		size_t n = strcspn(name, ".");

		buf_puts(b, "\"");
		put_doubled(b, name, n, "\"");
		buf_puts(b, "\"");
		if (name[n] == '\0')
			return;
		buf_puts(b, ".");
		name += n + 1;
	}
}

/* ---- values ---- */

static bool contains(const char *s, size_t n, const char *word)
{
	return memmem(s, n, word, strlen(word)) != NULL;
}

/*
 * In SJIS, BIG5, GBK and their like the second byte of a character may be that of a backslash, and doubling it would
 * break the character and open the string. Between dollar quotes nothing is doubled.
 */
static bool is_ambiguous(const char *s, size_t n)
{
	if (memchr(s, '\\', n) == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] > 127)
			return true;
	return false;
}

static void put_dollar_quoted(struct buf *b, const char *s, size_t n)
{
	char tag[32] = "$v";

	/* The opening without its last '$' must not occur: the value's end may be the tag's begin. */
	for (unsigned i = 1; contains(s, n, tag); i++)
		snprintf(tag, sizeof tag, "$v%u", i);
	buf_printf(b, "%s$", tag);
	buf_append(b, s, n);
	buf_printf(b, "%s$", tag);
}

static void put_literal(struct buf *b, const char *s, size_t n)
{
	if (is_ambiguous(s, n)) {
		put_dollar_quoted(b, s, n);
		return;
	}
	buf_puts(b, "E'");
	put_doubled(b, s, n, "'\\");
	buf_puts(b, "'");
}

/* ---- lists ---- */

static bool is_blank(char c)
{
	return c != '\0' && strchr(" \t\n\r\f\v", c) != NULL;
}

static const char *skip_blanks(const char *p)
{
	while (is_blank(*p))
		p++;
	return p;
}

/* An element in double quotes, undoubled to *out; p is behind the opening one. Returns the place behind it, or NULL. */
static const char *quoted_element(const char *p, struct buf *out)
{
	for (;; p++) {
		if (*p == '\0')
			return NULL;
		if (*p == '"' && *++p != '"')
			return p;
		buf_append(out, p, 1);
	}
}

/* An element without quotes; NULL if it is empty. */
static const char *bare_element(const char *p, enum split split, struct buf *out)
{
	const char *end = p + strcspn(p, ",");

	if (split == SPLIT_NAMES) {
		size_t n = strcspn(p, " \t\n\r\f\v");

		if (n < (size_t)(end - p))
			end = p + n;
	} else {
		while (end > p && is_blank(end[-1]))
			end--;
	}
	if (end == p)
		return NULL;
	for (; p < end; p++) {
		char c = split == SPLIT_NAMES && *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;

		buf_append(out, &c, 1);
	}
	return end;
}

/* As PostgreSQL's SplitIdentifierString() and SplitDirectoriesString() do it: false when they would refuse the value. */
static bool put_elements(struct buf *b, const char *value, enum split split)
{
	const char *p = skip_blanks(value);

	if (*p == '\0') {
		buf_puts(b, "''");
		return true;
	}
	for (;;) {
		struct buf element = {0};
		const char *text;

		p = *p == '"' ? quoted_element(p + 1, &element) : bare_element(p, split, &element);
		text = buf_text(&element);
		b->failed = b->failed || buf_failed(&element);
		if (p != NULL)
			put_literal(b, text, strlen(text));
		buf_free(&element);
		if (p == NULL)
			return false;
		p = skip_blanks(p);
		if (*p != ',')
			break;
		buf_puts(b, ", ");
		p = skip_blanks(p + 1);
	}
	return *p == '\0';
}

void var_set_sql(struct buf *b, const char *name, const char *value, bool local)
{
	size_t list = list_index(name);
	struct buf elements = {0};

	if (strcasecmp(name, "session_authorization") == 0) { /* has a statement of its own */
		buf_puts(b, local ? "SET LOCAL SESSION AUTHORIZATION " : "SET SESSION AUTHORIZATION ");
	} else {
		buf_puts(b, local ? "SET LOCAL " : "SET ");
		put_name(b, name);
		buf_puts(b, " = ");
	}
	if (list < LISTS && put_elements(&elements, value, lists[list].split))
		buf_puts(b, buf_text(&elements));
	else
		put_literal(b, value, strlen(value)); /* also what is no list, for the server to judge */
	b->failed = b->failed || buf_failed(&elements);
	buf_puts(b, ";");
	buf_free(&elements);
}

void var_reset_sql(struct buf *b, const char *name, bool local)
{
	buf_puts(b, local ? "SET LOCAL " : "RESET ");
	put_name(b, name);
	buf_puts(b, local ? " TO DEFAULT;" : ";");
}

void vars_put_literal(struct buf *b, const char *text)
{
	put_literal(b, text, strlen(text));
}
