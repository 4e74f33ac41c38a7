/*
 * sqlscan_look: cheap looks at a text's bytes, and a look into its literals.
 * Called for most texts, so what most texts are must cost little more than a
 * few memchr().
 */
#include "proto/sqlscan.h"

#include <stdint.h>
#include <string.h>

#include "sqlscan_priv.h"

/* word: in upper case. Does it stand at p? */
static bool is_at(const char *p, const char *end, const char *word, size_t len)
{
	if ((size_t)(end - p) < len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (sql_upper(p[i]) != word[i])
			return false;
	return true;
}

/* Does it end before p? */
static bool is_before(const char *text, const char *p, const char *word, size_t len)
{
	return (size_t)(p - text) >= len && is_at(p - len, p, word, len);
}

#define IS_AT(p, end, word) is_at(p, end, word, sizeof(word) - 1)
#define IS_BEFORE(text, p, word) is_before(text, p, word, sizeof(word) - 1)

static const char *find(const char *p, const char *end, char c)
{
	return p < end ? memchr(p, c, (size_t)(end - p)) : NULL;
}

/* ---- sixteen bytes at a time ---- */

typedef uint8_t bytes __attribute__((vector_size(16)));

/* Three bytes that each of the words has in it begin here, whatever its letters' case: 0xff. */
static inline __attribute__((always_inline)) bytes rare_three(bytes at, bytes next, bytes third)
{
	bytes low = at | 0x20, hit;

	third |= 0x20;
	/* se[t_c]onfig, p[g_s]ettings, advisor[y_l]ock, advisor[y_u]nlock */
	hit = ((low == 't') & (third == 'c')) | ((low == 'g') & (third == 's')) |
	      ((low == 'y') & ((third == 'l') | (third == 'u')));
	hit &= next == '_';
	hit |= (low == 'e') & ((next | 0x20) == 'm') & (third == 'p'); /* t[emp] */
	return hit | ((at == '&') & (next == '"'));
}

static inline __attribute__((always_inline)) bytes load(const char *p)
{
	bytes v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline bool is_any(bytes v)
{
	uint64_t half[2];

	memcpy(half, &v, sizeof half);
	return (half[0] | half[1]) != 0;
}

/* So many are looked at together. */
enum { AHEAD = sizeof(bytes) + 2 };

/* Where any of the first sixteen bytes at p begins what is looked for; ends: a ';' or NUL from the third on, too. */
static inline __attribute__((always_inline)) bytes hits(const char *p, bool ends)
{
	bytes third = load(p + 2), hit = rare_three(load(p), load(p + 1), third);

	return ends ? hit | (third == ';') | (third == 0) : hit;
}

static inline __attribute__((always_inline)) bool may_have(const char *p, const char *end, bool ends)
{
	bytes hit = {0};
	char few[AHEAD];

	if (end - p < AHEAD) {
		memset(few, ' ', AHEAD);
		memcpy(few, p, (size_t)(end - p));
		p = few;
		end = few + AHEAD;
	}
	for (; end - p > AHEAD; p += sizeof(bytes))
		hit |= hits(p, ends);
	/* The last ones, some of them for the second time. */
	return is_any(hit | hits(end - AHEAD, ends));
}

/* False: none of the words that sqlscan_look() looks for is there. */
static bool may_have_word(const char *p, const char *end)
{
	return may_have(p, end, false);
}

/* Nor, behind the first two bytes, a ';' nor a NUL: it is one statement to its end. */
static bool may_have_word_or_end(const char *p, const char *end)
{
	return may_have(p, end, true);
}

/* ---- words anywhere ---- */

unsigned sqlscan_look(const char *text, const char *end)
{
	unsigned found = 0;
	const char *p;

	if (!may_have_word(text, end))
		return 0;
	for (p = text; (p = find(p, end, '_')) != NULL; p++) {
		if ((IS_BEFORE(text, p, "SET") && IS_AT(p + 1, end, "CONFIG")) ||
			(IS_BEFORE(text, p, "PG") && IS_AT(p + 1, end, "SETTINGS")))
			found |= LOOK_SETS;
		else if (IS_BEFORE(text, p, "ADVISORY") && (IS_AT(p + 1, end, "LOCK") || IS_AT(p + 1, end, "UNLOCK")))
			found |= LOOK_LOCKS;
	}
	/* Escapes in such a name hide any other name. */
	for (p = text; (p = find(p, end, '&')) != NULL; p++)
		if (p + 1 < end && p[1] == '"')
			found |= LOOK_SETS | LOOK_LOCKS | LOOK_TEMP;
	for (p = text; (p = find(p, end, 'p')) != NULL; p++)
		if (IS_BEFORE(text, p, "TEM"))
			found |= LOOK_TEMP;
	for (p = text; (p = find(p, end, 'P')) != NULL; p++)
		if (IS_BEFORE(text, p, "TEM"))
			found |= LOOK_TEMP;
	return found;
}

/* The first six of the eight bytes at p, letters in upper case. */
static inline uint64_t six_letters(const char *p)
{
	static const unsigned char mask[8] = {0xdf, 0xdf, 0xdf, 0xdf, 0xdf, 0xdf};
	uint64_t v, m;

	memcpy(&v, p, sizeof(v));
	memcpy(&m, mask, sizeof(m));
	return v & m;
}

static bool is_plain_word(const char *p, const char *end)
{
	char short_text[8] = "";
	uint64_t word;

	if (end - p < 8) {
		memcpy(short_text, p, (size_t)(end - p));
		p = short_text;
		end = p + sizeof(short_text);
	}
	word = six_letters(p);
	return word == six_letters("SELECT\0") || word == six_letters("INSERT\0") || word == six_letters("UPDATE\0") ||
	       word == six_letters("DELETE\0") || word == six_letters("VALUES\0") || IS_AT(p, end, "WITH");
}

bool sqlscan_is_plain(const char *text, size_t n)
{
	const char *p = text, *end = text + n;

	while (p < end && sql_is_space(*p))
		p++;
	if (!is_plain_word(p, end))
		return false;
	p = find(p, end, ';');
	if (p == NULL)
		return true;
	for (p++; p < end && sql_is_space(*p);)
		p++;
	return p == end;
}

bool sqlscan_is_quiet(const char *text, size_t n)
{
	const char *p = text, *end = text + n;

	while (p < end && sql_is_space(*p))
		p++;
	if (!is_plain_word(p, end))
		return false;
	while (end > p && (sql_is_space(end[-1]) || end[-1] == ';'))
		end--;
	return !may_have_word_or_end(p, end);
}

/* ---- times in literals ---- */

static bool is_letter(char c)
{
	return sql_upper(c) >= 'A' && sql_upper(c) <= 'Z';
}

/* Is one of the words in there, by itself? The server takes letters together and parts them at all else. */
static bool has_now_word(const char *p, const char *end)
{
	static const char words[][12] = {"NOW", "TODAY", "TOMORROW", "YESTERDAY"};

	while (p < end) {
		const char *from = p;

		while (p < end && is_letter(*p))
			p++;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if ((size_t)(p - from) == strlen(words[i]) && is_at(from, p, words[i], strlen(words[i])))
				return true;
		if (p == from)
			p++;
	}
	return false;
}

/* The inside of a literal from its first quote on, and what continues it. */
static bool quoted_has_now(const char *p, const char *end, bool backslashes)
{
	const char *from = ++p;

	while (p < end) {
		if (*p == '\\' && backslashes) {
			/* What stands for a letter may make one of the words, what stands for all else parts words. */
			if (has_now_word(from, p) || end - p < 2 || memchr("bfnrt\\'\"", p[1], 8) == NULL)
				return true;
			p += 2;
			from = p;
		} else if (*p == '\'') {
			if (has_now_word(from, p))
				return true;
			if (end - p < 2)
				return false;
			/* Behind its last quote: another literal continues it, perhaps amid a word. */
			if (p[1] != '\'')
				return true;
			p += 2;
			from = p;
		} else {
			p++;
		}
	}
	return has_now_word(from, end);
}

static bool literal_has_now(const struct token *t, bool standard)
{
	const char *end = t->text + t->len;

	switch (sql_upper(*t->text)) {
	case '$': return has_now_word(t->text, end);
	case 'U': return true; /* any character may be the one that escapes */
	case 'B':
	case 'X': return false;
	case 'E': return quoted_has_now(t->text + 1, end, true);
	case 'N': return quoted_has_now(t->text + 1, end, !standard);
	default: return quoted_has_now(t->text, end, !standard);
	}
}

/* A dollar quote begins with a '$' that no digit follows. */
static bool may_have_literal(const char *text, const char *end)
{
	if (find(text, end, '\'') != NULL)
		return true;
	for (const char *p = text; (p = find(p, end, '$')) != NULL; p++)
		if (p + 1 < end && !(p[1] >= '0' && p[1] <= '9'))
			return true;
	return false;
}

bool sqlscan_has_now(const char *text, size_t n, bool whole, bool standard)
{
	struct sqlscan s = sqlscan_init(text, n, whole, standard);
	struct token t;

	if (!s.whole)
		return true;
	if (!may_have_literal(s.p, s.end))
		return false;
	do {
		t = sqlscan_token(&s);
		if (t.kind == TOK_STRING && literal_has_now(&t, standard))
			return true;
	} while (t.kind != TOK_END);
	return false;
}
