/*
 * param: the rows of tbl/params.h as a table, and finding one by its name. What
 * a row's value is, how it is read and printed, stands in param_value.c.
 *
 * Used by config, by SHOW CONFIG and SET of the console. Knows no file.
 */
#include "conf/param.h"

#include <string.h>
#include <strings.h>

#define SCOPE_G PS_GLOBAL
#define SCOPE_GD (PS_GLOBAL | PS_DATABASE)
#define SCOPE_GU (PS_GLOBAL | PS_USER)
#define SCOPE_GDU (PS_GLOBAL | PS_DATABASE | PS_USER)
#define AT_RELOAD false
#define AT_RESTART true

const struct param param_table[PARAM_COUNT] = {
#define PARAM(name, type, scope, when, min, max, def, words, group, help)               \
	{#name, PT_##type, SCOPE_##scope, AT_##when, min, max, def, words, group, help, \
		offsetof(struct settings, name)},
#include "tbl/params.h"
#undef PARAM
};

/* Names that a row has in entries of [databases] and [users]. */
static const struct alias {
	const char *name;
	enum param_id id;
	unsigned scope;
	bool instead; /* the row's own name is not known there */
} aliases[] = {
	{"pool_size", PARAM_default_pool_size, PS_DATABASE | PS_USER, true},
	{"reserve_pool", PARAM_reserve_pool_size, PS_DATABASE, false},
};

#define N_ALIASES (sizeof(aliases) / sizeof(aliases[0]))

const struct param *param_find(const char *name)
{
	return param_find_in(name, PS_GLOBAL);
}

const struct param *param_find_in(const char *name, unsigned scope)
{
	for (size_t i = 0; i < N_ALIASES; i++)
		if ((aliases[i].scope & scope) && strcasecmp(aliases[i].name, name) == 0)
			return &param_table[aliases[i].id];
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		const struct param *p = &param_table[i];

		if ((p->scope & scope) && strcasecmp(p->name, name) == 0)
			return strcasecmp(param_name_in(p, scope), name) == 0 ? p : NULL;
	}
	return NULL;
}

const char *param_name_in(const struct param *p, unsigned scope)
{
	for (size_t i = 0; i < N_ALIASES; i++)
		if (aliases[i].instead && (aliases[i].scope & scope) && p == &param_table[aliases[i].id])
			return aliases[i].name;
	return p->name;
}

/* ---- the nearest name ---- */

#define NEAR_MAX 64 /* longer words are not compared */

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* How many letters must be put in, taken out or changed to make b of a (Levenshtein). Both are at most NEAR_MAX long. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), row[NEAR_MAX + 1];

	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t change = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));

			diagonal = row[j];
			row[j] = min3(change, row[j] + 1, row[j - 1] + 1);
		}
	}
	return row[lb];
}

struct nearest {
	const char *name, *best;
	size_t distance; /* of best; a word must be nearer */
};

static void nearest_try(struct nearest *n, const char *word)
{
	size_t d;

	if (strlen(word) > NEAR_MAX)
		return;
	d = edit_distance(n->name, word);
	if (d < n->distance) {
		n->distance = d;
		n->best = word;
	}
}

/* A name that is known, only not in this scope: what it is called here, else NULL. */
static const char *name_elsewhere(const char *name, unsigned scope)
{
	const struct param *p = param_find_in(name, PS_GLOBAL | PS_DATABASE | PS_USER);

	if (p == NULL)
		p = param_find(name);
	if (p == NULL || (p->scope & scope) == 0)
		return NULL;
	return param_name_in(p, scope);
}

const char *param_nearest(const char *name, unsigned scope)
{
	return param_nearest_with(name, scope, NULL, 0);
}

const char *param_nearest_with(const char *name, unsigned scope, const char *const *words, size_t n)
{
	size_t len = strlen(name);
	struct nearest best = {.name = name, .best = NULL, .distance = SIZE_MAX};
	const char *here = name_elsewhere(name, scope);

	if (here != NULL)
		return here;
	if (len > NEAR_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++)
		nearest_try(&best, words[i]);
	for (size_t i = 0; i < PARAM_COUNT; i++)
		if (param_table[i].scope & scope)
			nearest_try(&best, param_name_in(&param_table[i], scope));
	return best.best;
}
