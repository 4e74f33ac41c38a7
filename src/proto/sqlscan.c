/*
 * sqlscan: a text of SQL as tokens, by the rules of the server's scan.l, and
 * from these the statements in it and their classes. Called for the text of a
 * Query or Parse. It builds nothing and remembers nothing but its place.
 *
 * Where servers differ (junk after numbers, hexadecimal numbers) the older rule
 * is taken: the newer ones only turn such texts into syntax errors.
 */
#include "proto/sqlscan.h"

#include <string.h>

#include "sqlscan_priv.h"

/* ---- tokens ---- */

static inline bool is_newline(char c)
{
	return c == '\n' || c == '\r';
}

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool starts_word(char c)
{
	return (sql_upper(c) >= 'A' && sql_upper(c) <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static inline bool goes_on_in_word(char c)
{
	return starts_word(c) || is_digit(c) || c == '$';
}

/* Every skip_ function returns the place behind what it skips, end when that lies beyond; NULL: it is not closed. */

static const char *skip_line(const char *p, const char *end)
{
	while (p < end && !is_newline(*p))
		p++;
	return p;
}

/* p is behind the first of "/" "*". */
static const char *skip_block_comment(const char *p, const char *end)
{
	size_t depth = 1;

	while (end - p >= 2) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (p[0] == '*' && p[1] == '/') {
			p += 2;
			if (--depth == 0)
				return p;
		} else {
			p++;
		}
	}
	return NULL;
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p != NULL && p < end) {
		if (sql_is_space(*p))
			p++;
		else if (end - p >= 2 && p[0] == '-' && p[1] == '-')
			p = skip_line(p, end);
		else if (end - p >= 2 && p[0] == '/' && p[1] == '*')
			p = skip_block_comment(p + 2, end);
		else
			break;
	}
	return p;
}

/* Two literals with nothing but white space with a newline between them are one: behind the second's quote, or NULL. */
static const char *continue_string(const char *p, const char *end)
{
	bool newline = false;

	while (p < end) {
		if (sql_is_space(*p))
			newline |= is_newline(*p++);
		else if (end - p >= 2 && p[0] == '-' && p[1] == '-')
			p = skip_line(p, end);
		else
			break;
	}
	return p < end && *p == '\'' && newline ? p + 1 : NULL;
}

/* p is behind the first quote. What continues an E'' string is one too. */
static const char *skip_string(const char *p, const char *end, bool backslashes)
{
	while (p < end) {
		if (*p == '\\' && backslashes) {
			p += end - p >= 2 ? 2 : 1;
			continue;
		}
		if (*p++ != '\'')
			continue;
		if (p < end && *p == '\'') {
			p++;
			continue;
		}
		const char *more = continue_string(p, end);

		if (more == NULL)
			return p;
		p = more;
	}
	return NULL;
}

/* p is behind the first double quote. */
static const char *skip_quoted_name(const char *p, const char *end)
{
	while ((p = memchr(p, '"', (size_t)(end - p))) != NULL) {
		if (++p == end || *p != '"')
			return p;
		p++;
	}
	return NULL;
}

/* p is at a '$' that no word holds: a parameter, a dollar quote, or nothing that a server knows. */
static const char *skip_dollar(const char *p, const char *end, enum token_kind *kind)
{
	const char *tag = p + 1, *close;

	if (tag < end && starts_word(*tag))
		while (tag < end && goes_on_in_word(*tag) && *tag != '$')
			tag++;
	if (tag == end || *tag != '$')
		return tag == end ? end : p + 1;
	tag++;
	*kind = TOK_STRING;
	close = memmem(tag, (size_t)(end - tag), p, (size_t)(tag - p));
	return close != NULL ? close + (tag - p) : NULL;
}

/* A number's exponent must not be taken for a word. */
static const char *skip_number(const char *p, const char *end)
{
	while (p < end && (is_digit(*p) || *p == '.'))
		p++;
	if (p < end && sql_upper(*p) == 'E') {
		const char *e = p + 1;

		if (e < end && (*e == '+' || *e == '-'))
			e++;
		if (e < end && is_digit(*e))
			for (p = e; p < end && is_digit(*p);)
				p++;
	}
	return p;
}

/* p is at a letter: a word, or the letter belongs to the quote behind it. */
static const char *skip_word(const char *p, const char *end, bool standard, enum token_kind *kind)
{
	char c = sql_upper(*p), next = end - p >= 2 ? p[1] : '\0';

	*kind = TOK_STRING;
	if (next == '\'' && c == 'E')
		return skip_string(p + 2, end, true);
	if (next == '\'' && (c == 'B' || c == 'X'))
		return skip_string(p + 2, end, false);
	if (next == '\'' && c == 'N')
		return skip_string(p + 2, end, !standard);
	if (next == '&' && c == 'U' && end - p >= 3) {
		if (p[2] == '\'')
			return skip_string(p + 3, end, false);
		*kind = TOK_QUOTED;
		if (p[2] == '"')
			return skip_quoted_name(p + 3, end);
	}
	*kind = TOK_WORD;
	while (p < end && goes_on_in_word(*p))
		p++;
	return p;
}

struct token sqlscan_token(struct sqlscan *s)
{
	const char *p = skip_blanks(s->p, s->end), *end = s->end;
	struct token t = {.kind = TOK_OTHER, .text = p};

	if (p == NULL || p == end) {
		s->open = s->open || p == NULL;
		s->p = end;
		t.text = end;
		t.kind = s->whole ? TOK_END : TOK_CUT;
		return t;
	}
	switch (*p) {
	case ';': t.kind = TOK_SEMI; break;
	case '(': t.kind = TOK_OPEN; break;
	case ')': t.kind = TOK_CLOSE; break;
	case '.': t.kind = TOK_DOT; break;
	case ',': t.kind = TOK_COMMA; break;
	case '\v': t.kind = TOK_VTAB; break;
	default: break;
	}
	if (t.kind != TOK_OTHER) {
		s->p = p + 1;
		t.len = 1;
		return t;
	}
	if (starts_word(*p)) {
		p = skip_word(p, end, s->standard, &t.kind);
	} else if (*p == '\'') {
		t.kind = TOK_STRING;
		p = skip_string(p + 1, end, !s->standard);
	} else if (*p == '"') {
		t.kind = TOK_QUOTED;
		p = skip_quoted_name(p + 1, end);
	} else if (*p == '$') {
		p = skip_dollar(p, end, &t.kind);
	} else if (is_digit(*p)) {
		p = skip_number(p, end);
	} else {
		p++;
	}
	if (p == NULL) {
		s->open = true;
		p = end;
	}
	s->p = p;
	t.len = (size_t)(p - t.text);
	if (p == end && !s->whole)
		t.kind = TOK_CUT;
	return t;
}

bool sqlscan_token_is(const struct token *t, const char *word, size_t len)
{
	if (t->kind != TOK_WORD || t->len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (sql_upper(t->text[i]) != word[i])
			return false;
	return true;
}

void sqlscan_read(struct sql_reader *r)
{
	r->t = sqlscan_token(&r->s);
}

bool sqlscan_accept(struct sql_reader *r, const char *word, size_t len)
{
	if (!sqlscan_token_is(&r->t, word, len))
		return false;
	sqlscan_read(r);
	return true;
}

/* ---- classes ---- */

struct spelling {
	enum stmt_class class;
	char words[40]; /* here and not elsewhere: all of them are looked at for each statement */
};

static const struct spelling spellings[] = {
#define STATEMENT(name, words, ends_transaction, sets, change) {STMT_##name, words},
#define SPELLING(name, words) {STMT_##name, words},
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
};

static const bool ends_transaction[STMT_CLASSES] = {
#define STATEMENT(name, words, ends, sets, change) [STMT_##name] = (ends),
#define SPELLING(name, words)
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
};

static const bool class_sets[STMT_CLASSES] = {
#define STATEMENT(name, words, ends, sets, change) [STMT_##name] = (sets),
#define SPELLING(name, words)
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
};

enum { MAX_WORDS = 4 };

/* Behind the first word of the spelling if *t is that word, else NULL. */
static const char *match_word(const char *words, const struct token *t)
{
	size_t i;

	for (i = 0; i < t->len; i++)
		if (words[i] != sql_upper(t->text[i]))
			return NULL;
	return words[i] == ' ' || words[i] == '\0' ? words + i : NULL;
}

/* How many of the n words the spelling begins with; *all: it has no more than these. */
static size_t match_spelling(const char *words, const struct token *t, size_t n, bool *all)
{
	size_t i = 0;

	*all = false;
	while (i < n && !*all) {
		words = match_word(words, &t[i]);
		if (words == NULL)
			break;
		i++;
		*all = *words++ == '\0';
	}
	return i;
}

/* Does any spelling begin with all n words? */
static bool words_fit(const struct token *t, size_t n)
{
	char first = sql_upper(t[0].text[0]);
	bool all;

	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
		if (spellings[i].words[0] == first && match_spelling(spellings[i].words, t, n, &all) == n)
			return true;
	return false;
}

/* The class of the longest spelling that stands at the beginning of the n words. */
static enum stmt_class words_class(const struct token *t, size_t n)
{
	enum stmt_class class = STMT_OTHER;
	size_t longest = 0, k;
	bool all;

	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		k = match_spelling(spellings[i].words, t, n, &all);
		if (all && k > longest) {
			longest = k;
			class = spellings[i].class;
		}
	}
	return class;
}

/*
 * The class of the statement whose first token is *t. *t becomes the first
 * token behind the words that were looked at, *last the last of those words
 * (it stays as it is when there was none).
 */
static enum stmt_class read_class(struct sqlscan *s, struct token *t, struct token *last)
{
	struct token words[MAX_WORDS];
	size_t n = 0;

	while (t->kind == TOK_WORD && n < MAX_WORDS) {
		words[n] = *t;
		if (!words_fit(words, n + 1))
			break;
		n++;
		*last = *t;
		*t = sqlscan_token(s);
	}
	/* "SET local.id = 1" is about a name of two parts, not SET LOCAL. */
	if (t->kind == TOK_DOT && n > 0)
		n--;
	/* Another word could follow, or a dot. */
	if (t->kind == TOK_CUT || n == 0)
		return STMT_OTHER;
	return words_class(words, n);
}

static bool is_set(enum stmt_class class)
{
	return class == STMT_SET || class == STMT_SET_LOCAL || class == STMT_SET_ROLE ||
	       class == STMT_SET_SESSION_AUTHORIZATION;
}

/* ---- statements ---- */

/*
 * What keeps a ';' from ending a statement: parentheses (CREATE RULE ... DO
 * (a; b)) and the body of a routine, BEGIN ATOMIC a; b; END. In a body CASE has
 * an END too; END and CASE are reserved, so elsewhere they are keywords unless
 * they name a column: behind AS or a dot.
 */
struct nesting {
	size_t parens, body;
	struct token last;
};

static void nesting_step(struct nesting *in, const struct token *t, enum stmt_class class)
{
	if (t->kind == TOK_OPEN)
		in->parens++;
	else if (t->kind == TOK_CLOSE && in->parens > 0)
		in->parens--;
	else if (t->kind == TOK_WORD && class == STMT_CREATE_ROUTINE && in->parens == 0 && in->last.kind != TOK_DOT &&
		 !TOKEN_IS(&in->last, "AS")) {
		if (TOKEN_IS(t, "ATOMIC") && TOKEN_IS(&in->last, "BEGIN"))
			in->body++;
		else if (in->body > 0 && TOKEN_IS(t, "CASE"))
			in->body++;
		else if (in->body > 0 && TOKEN_IS(t, "END"))
			in->body--;
	}
	in->last = *t;
}

/* sqlscan_next(), and whether a vertical tab stood in what was looked at. */
static enum sqlscan_result scan_statement(struct sqlscan *s, struct sql_stmt *st, bool *vtab)
{
	struct nesting in = {.last = {.kind = TOK_SEMI}};
	struct token t;

	*vtab = false;
	do
		t = sqlscan_token(s);
	while (t.kind == TOK_SEMI);
	*st = (struct sql_stmt){.class = STMT_OTHER, .text = t.text, .whole = true, .standard = s->standard};
	if (t.kind == TOK_END)
		return SQLSCAN_END;
	/* The words of the class hold nothing that nests. */
	st->class = read_class(s, &t, &in.last);
	if (in.last.text != NULL)
		st->len = (size_t)(in.last.text + in.last.len - st->text);
	for (; t.kind != TOK_END && t.kind != TOK_CUT; t = sqlscan_token(s)) {
		if (t.kind == TOK_SEMI && in.parens == 0 && in.body == 0)
			break;
		if (t.kind == TOK_VTAB)
			*vtab = true;
		nesting_step(&in, &t, st->class);
		st->len = (size_t)(t.text + t.len - st->text);
	}
	if (*vtab)
		st->class = STMT_OTHER;
	if (t.kind == TOK_CUT) {
		s->p = s->end;
		st->len = (size_t)(s->end - st->text);
		st->whole = false;
		return SQLSCAN_UNKNOWN;
	}
	st->to_default = is_set(st->class) && TOKEN_IS(&in.last, "DEFAULT");
	return SQLSCAN_STATEMENT;
}

struct sqlscan sqlscan_init(const char *text, size_t n, bool whole, bool standard)
{
	struct sqlscan s = {.p = text != NULL ? text : "", .whole = whole, .standard = standard};
	const char *nul = n > 0 ? memchr(text, 0, n) : NULL;

	s.end = s.p;
	if (nul != NULL) {
		s.end = nul;
		s.whole = true;
	} else if (n > 0) {
		s.end = text + n;
	}
	return s;
}

struct sqlscan sqlscan_of(const struct sql_stmt *st)
{
	return (struct sqlscan){.p = st->text, .end = st->text + st->len, .whole = st->whole, .standard = st->standard};
}

enum sqlscan_result sqlscan_next(struct sqlscan *s, struct sql_stmt *st)
{
	bool vtab;

	return scan_statement(s, st, &vtab);
}

bool sqlscan_is_one(const char *text, size_t n, bool standard, struct sql_stmt *st)
{
	struct sqlscan s = sqlscan_init(text, n, true, standard);
	struct sql_stmt more;

	return n > 0 && s.end == text + n && memchr(text, '\v', n) == NULL &&
	       sqlscan_next(&s, st) == SQLSCAN_STATEMENT && sqlscan_next(&s, &more) == SQLSCAN_END && !s.open;
}

/* One statement: no ';' at all, or only blanks behind the first one. */
static bool is_single(const struct sqlscan *s)
{
	const char *p = s->p < s->end ? memchr(s->p, ';', (size_t)(s->end - s->p)) : NULL;

	if (p == NULL)
		return true;
	for (p++; p < s->end && sql_is_space(*p);)
		p++;
	return p == s->end;
}

bool sqlscan_is_harmless(const char *text, size_t n)
{
	const char *p = text, *end = text + n;

	while (p < end && sql_is_space(*p))
		p++;
	/* COMMIT, END, PREPARE, ROLLBACK; a letter, since a comment or a parenthesis says nothing yet. */
	if (p == end || !((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')) || strchr("cepr", *p | 0x20) != NULL)
		return false;
	p = memchr(p, ';', (size_t)(end - p));
	if (p == NULL)
		return true;
	for (p++; p < end && sql_is_space(*p);)
		p++;
	return p == end;
}

bool sqlscan_may_commit(const char *text, size_t n, bool whole, bool standard)
{
	struct sqlscan s = sqlscan_init(text, n, whole, standard);
	enum sqlscan_result r;
	struct sql_stmt st;
	bool vtab;

	/* Any statement may follow. */
	if (!s.whole)
		return true;
	if (is_single(&s)) {
		struct token t = sqlscan_token(&s), last;
		enum stmt_class class = read_class(&s, &t, &last);

		return ends_transaction[class] || t.kind == TOK_VTAB;
	}
	while ((r = scan_statement(&s, &st, &vtab)) == SQLSCAN_STATEMENT)
		if (ends_transaction[st.class] || vtab)
			return true;
	return r == SQLSCAN_UNKNOWN;
}

bool sqlscan_may_set(const char *text, size_t n, bool whole, bool standard)
{
	struct sqlscan s = sqlscan_init(text, n, whole, standard);
	enum sqlscan_result r;
	struct sql_stmt st;
	bool vtab;

	if (!s.whole || (sqlscan_look(s.p, s.end) & LOOK_SETS) != 0)
		return true;
	if (sqlscan_is_plain(s.p, (size_t)(s.end - s.p)))
		return false;
	while ((r = scan_statement(&s, &st, &vtab)) == SQLSCAN_STATEMENT)
		if (class_sets[st.class] || vtab)
			return true;
	return r == SQLSCAN_UNKNOWN;
}
