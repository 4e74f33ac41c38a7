/*
 * What the files of sqlscan share: the tokens of a text.
 */
#ifndef PSBOUNCER_PROTO_SQLSCAN_PRIV_H
#define PSBOUNCER_PROTO_SQLSCAN_PRIV_H

#include "proto/sqlscan.h"

enum token_kind {
	TOK_END,    /* of the text */
	TOK_CUT,    /* memory ends in or behind the token, the text goes on */
	TOK_WORD,   /* an identifier or key word without quotes */
	TOK_QUOTED, /* an identifier in double quotes, with U& in front or not */
	TOK_STRING, /* a literal in quotes of any kind, with its letters and with what continues it */
	TOK_SEMI,   /* ; */
	TOK_OPEN,   /* ( */
	TOK_CLOSE,  /* ) */
	TOK_DOT,    /* . */
	TOK_COMMA,  /* , */
	TOK_VTAB,   /* white space or not, as the server's version has it */
	TOK_OTHER
};

struct token {
	enum token_kind kind;
	const char *text;
	size_t len;
};

/* The next token. It sets s->open when a quote or comment has no end. */
struct token sqlscan_token(struct sqlscan *s);
/* word: in upper case. */
bool sqlscan_token_is(const struct token *t, const char *word, size_t len);
#define TOKEN_IS(t, word) sqlscan_token_is(t, word, sizeof(word) - 1)

/* One token in hand. */
struct sql_reader {
	struct sqlscan s;
	struct token t;
};
void sqlscan_read(struct sql_reader *r);
/* Goes on if the token in hand is that word. */
bool sqlscan_accept(struct sql_reader *r, const char *word, size_t len);
#define ACCEPT(r, word) sqlscan_accept(r, word, sizeof(word) - 1)

/* A scan of one statement's tokens alone. */
struct sqlscan sqlscan_of(const struct sql_stmt *st);
/* Is the whole text one statement? False also when it cannot be told; *st counts only if it is. */
bool sqlscan_is_one(const char *text, size_t n, bool standard, struct sql_stmt *st);
/*
 * A name as the server takes it: a word in lower case, a quoted one without its quotes; cut to size - 1 bytes where a
 * character of UTF-8 begins. False: it cannot be told. t is a TOK_WORD or TOK_QUOTED.
 */
bool sqlscan_fold(const struct token *t, char *out, size_t size);

/* What memchr() finds of words that matter wherever they stand. A bit that is missing is proof, a bit set is not. */
enum {
	LOOK_SETS = 1,	/* set_config, pg_settings */
	LOOK_LOCKS = 2, /* advisory_lock, advisory_unlock */
	LOOK_TEMP = 4	/* temp */
};
unsigned sqlscan_look(const char *p, const char *end);

static inline bool sql_is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

static inline char sql_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

static inline char sql_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

#endif
