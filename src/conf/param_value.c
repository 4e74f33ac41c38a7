/*
 * param_value: what a row's value is: reading it from text, printing, comparing
 * and copying it, and the values that databases and users have of their own.
 */
#include "conf/param.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/timer.h"

/* ---- fields ---- */

/* The row's field. What a const struct settings * gives is only read. */
static void *field(const struct param *p, const struct settings *s)
{
	return (char *)(uintptr_t)s + p->offset;
}

static const char *field_str(const struct param *p, const struct settings *s)
{
	assert(p->type == PT_STR);
	return *(char **)field(p, s);
}

static void field_set_str(const struct param *p, struct settings *s, const char *text)
{
	char **f = field(p, s), *old = *f;

	assert(p->type == PT_STR);
	*f = text == NULL ? NULL : xstrdup(MEM_CONFIG, text);
	xfree(MEM_CONFIG, old);
}

static int64_t field_get(const struct param *p, const struct settings *s)
{
	assert(p->type != PT_STR);
	if (p->type == PT_BOOL)
		return *(bool *)field(p, s);
	if (p->type == PT_ENUM)
		return *(int *)field(p, s);
	return *(int64_t *)field(p, s);
}

static void field_set(const struct param *p, struct settings *s, int64_t v)
{
	assert(p->type != PT_STR);
	if (p->type == PT_BOOL)
		*(bool *)field(p, s) = v != 0;
	else if (p->type == PT_ENUM)
		*(int *)field(p, s) = (int)v;
	else
		*(int64_t *)field(p, s) = v;
}

/* ---- words ---- */

const char *param_word(enum param_id id, int value)
{
	const char *w = param_table[id].words;

	assert(w != NULL);
	for (int i = 0; *w != '\0' && i < value; i++)
		w += strlen(w) + 1;
	return value < 0 ? "" : w;
}

/* The place of text among the words, or -1. */
static int word_index(const char *words, const char *text)
{
	int i = 0;

	for (const char *w = words; *w != '\0'; w += strlen(w) + 1, i++)
		if (strcasecmp(w, text) == 0)
			return i;
	return -1;
}

/* "must be one of a, b, c" */
static void why_words(const char *words, char *why, size_t size)
{
	size_t n = (size_t)snprintf(why, size, "must be one of");

	for (const char *w = words; *w != '\0' && n < size; w += strlen(w) + 1)
		n += (size_t)snprintf(why + n, size - n, "%s %s", w == words ? "" : ",", w);
}

/* ---- reading ---- */

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit time_units[] = {
	{"us", 1},
	{"ms", 1000},
	{"s", USEC},
	{"min", 60 * USEC},
	{"h", 3600 * USEC},
	{"d", 86400 * USEC},
	{NULL, 0},
};

static const struct unit size_units[] = {
	{"B", 1},
	{"kB", 1024},
	{"MB", 1024 * 1024},
	{"GB", 1024 * 1024 * 1024},
	{NULL, 0},
};

static const char *skip_space(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/* The factor of the unit that is all of s, bare when s is empty, else 0. */
static int64_t unit_factor(const struct unit *units, const char *s, int64_t bare)
{
	s = skip_space(s);
	if (*s == '\0')
		return bare;
	for (; units->name != NULL; units++)
		if (strcasecmp(units->name, s) == 0)
			return units->factor;
	return 0;
}

/* A whole number as strtoll() has it with base 0, and what follows it. */
static bool read_whole(const char *s, int64_t *v, const char **end)
{
	char *e;

	if (!isdigit((unsigned char)*s) && *s != '-' && *s != '+')
		return false;
	errno = 0;
	*v = strtoll(s, &e, 0);
	*end = e;
	return e != s && errno == 0;
}

/* "1500", "1.5s", "2 min" in microseconds; what is more than nothing never becomes nothing, which would mean "off". */
static bool read_time(const char *s, int64_t bare, int64_t *v)
{
	char *end;
	double number, us;
	int64_t factor;

	if (!isdigit((unsigned char)s[0]) && !(s[0] == '.' && isdigit((unsigned char)s[1])))
		return false;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		return false;
	number = strtod(s, &end);
	factor = unit_factor(time_units, end, bare);
	us = number * (double)factor;
	if (factor == 0 || us >= 9e15 || (number > 0 && us < 0.5))
		return false;
	*v = (int64_t)(us + 0.5);
	return true;
}

static bool read_size(const char *s, int64_t *v)
{
	const char *end;
	int64_t number, factor;

	if (!read_whole(s, &number, &end))
		return false;
	factor = unit_factor(size_units, end, 1);
	if (factor == 0 || number < 0 || number > INT64_MAX / factor)
		return false;
	*v = number * factor;
	return true;
}

/* Bytes, or a time, which is negative then. */
static bool read_lag(const char *s, int64_t *v)
{
	if (read_size(s, v))
		return true;
	if (!read_time(s, 0, v))
		return false;
	*v = -*v;
	return true;
}

static bool read_bool(const char *s, int64_t *v)
{
	static const char words[] = "0\0off\0no\0false\0"
				    "1\0on\0yes\0true\0";
	int i = word_index(words, s);

	*v = i >= 4;
	return i >= 0;
}

/* Octal, with the 0 that says so: a mode of 777 without it would be read as decimal by PgBouncer. */
static bool read_mode(const char *s, int64_t *v)
{
	const char *end;

	return s[0] == '0' && strspn(s, "01234567") == strlen(s) && read_whole(s, v, &end);
}

static bool read_number(const struct param *p, const char *text, int64_t *v)
{
	const char *end;

	switch (p->type) {
	case PT_BOOL: return read_bool(text, v);
	case PT_INT: return read_whole(text, v, &end) && *end == '\0';
	case PT_TIME: return read_time(text, USEC, v);
	case PT_MSEC:
		if (!read_time(text, 1000, v))
			return false;
		*v = (*v + 999) / 1000;
		return true;
	case PT_SIZE: return read_size(text, v);
	case PT_LAG: return read_lag(text, v);
	case PT_MODE: return read_mode(text, v);
	case PT_ENUM: *v = word_index(p->words, text); return *v >= 0;
	case PT_STR: break;
	}
	return false;
}

static void why_range(const struct param *p, const char *what, const char *hint, char *why, size_t size)
{
	bool time = p->type == PT_TIME;
	int64_t unit = time ? USEC : 1;
	const char *s = time ? " s" : "";

	snprintf(why, size, "must be %s from %" PRId64 "%s to %" PRId64 "%s%s", what, p->min / unit, s, p->max / unit,
		s, hint);
}

static void why_not(const struct param *p, char *why, size_t size)
{
	switch (p->type) {
	case PT_BOOL: snprintf(why, size, "must be 0 or 1 (or off, on, no, yes, false, true)"); return;
	case PT_INT: why_range(p, "a whole number", "", why, size); return;
	case PT_TIME: why_range(p, "a time", ": seconds, or a number with us, ms, s, min, h or d", why, size); return;
	case PT_MSEC:
		why_range(p, "a time in milliseconds", ", or a number with us, ms, s, min, h or d", why, size);
		return;
	case PT_SIZE: why_range(p, "a size", ": bytes, or a number with B, kB, MB or GB", why, size); return;
	case PT_LAG:
		snprintf(why, size, "must be bytes, or a number with B, kB, MB, GB, us, ms, s, min, h or d");
		return;
	case PT_MODE:
		snprintf(why, size, "must be a file mode in octal with a leading 0, at most 0%" PRIo64, p->max);
		return;
	case PT_ENUM: why_words(p->words, why, size); return;
	case PT_STR: return;
	}
}

bool param_parse(const struct param *p, const char *text, struct settings *s, char *why, size_t why_size)
{
	int64_t v = 0;

	if (p->type == PT_STR) {
		field_set_str(p, s, text);
		return true;
	}
	if (!read_number(p, text, &v) || (p->min != p->max && (v < p->min || v > p->max))) {
		why_not(p, why, why_size);
		return false;
	}
	field_set(p, s, v);
	return true;
}

/* ---- printing, comparing, copying ---- */

/* Microseconds as seconds: "15", "0.5", "0.000001". */
static void print_seconds(int64_t us, char *buf, size_t size)
{
	char text[PARAM_TEXT];
	size_t n = (size_t)snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64, us / USEC, us % USEC);

	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	snprintf(buf, size, "%.*s", (int)n, text);
}

static void print_lag_time(int64_t us, char *buf, size_t size)
{
	char text[PARAM_TEXT];

	print_seconds(us, text, sizeof(text));
	snprintf(buf, size, "%.30ss", text);
}

const char *param_print(const struct param *p, const struct settings *s, char *buf, size_t size)
{
	if (p->type == PT_STR)
		return field_str(p, s);
	if (p->type == PT_ENUM)
		return param_word((enum param_id)(p - param_table), (int)field_get(p, s));
	if (p->type == PT_TIME)
		print_seconds(field_get(p, s), buf, size);
	else if (p->type == PT_LAG && field_get(p, s) < 0)
		print_lag_time(-field_get(p, s), buf, size);
	else if (p->type == PT_MODE)
		snprintf(buf, size, "%04" PRIo64, field_get(p, s));
	else
		snprintf(buf, size, "%" PRId64, field_get(p, s));
	return buf;
}

bool param_equal(const struct param *p, const struct settings *a, const struct settings *b)
{
	if (p->type == PT_STR)
		return strcmp(field_str(p, a), field_str(p, b)) == 0;
	return field_get(p, a) == field_get(p, b);
}

void param_assign(const struct param *p, struct settings *to, const struct settings *from)
{
	if (p->type == PT_STR)
		field_set_str(p, to, field_str(p, from));
	else
		field_set(p, to, field_get(p, from));
}

void settings_init(struct settings *s)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		char why[256];
		bool ok = param_parse(&param_table[i], param_table[i].def, s, why, sizeof(why));

		assert(ok);
	}
}

void settings_copy(struct settings *to, const struct settings *from)
{
	memset(to, 0, sizeof(*to));
	for (size_t i = 0; i < PARAM_COUNT; i++)
		param_assign(&param_table[i], to, from);
}

void settings_free(struct settings *s)
{
	for (size_t i = 0; i < PARAM_COUNT; i++)
		if (param_table[i].type == PT_STR)
			field_set_str(&param_table[i], s, NULL);
}

/* ---- overrides ---- */

bool override_has(const struct overrides *o, enum param_id id)
{
	return (o->has[id / 64] >> (id % 64)) & 1;
}

bool override_parse(struct overrides *o, const struct param *p, const char *text, char *why, size_t why_size)
{
	size_t id = (size_t)(p - param_table);

	if (o->set == NULL)
		o->set = xcalloc(MEM_CONFIG, 1, sizeof(*o->set));
	if (!param_parse(p, text, o->set, why, why_size))
		return false;
	o->has[id / 64] |= UINT64_C(1) << (id % 64);
	return true;
}

void overrides_copy(struct overrides *to, const struct overrides *from)
{
	*to = *from;
	if (from->set == NULL)
		return;
	to->set = xmalloc(MEM_CONFIG, sizeof(*to->set));
	settings_copy(to->set, from->set);
}

void overrides_free(struct overrides *o)
{
	if (o->set != NULL)
		settings_free(o->set);
	xfree(MEM_CONFIG, o->set);
	memset(o, 0, sizeof(*o));
}

int64_t param_effective(enum param_id id, const struct overrides *user, const struct overrides *db,
	const struct settings *global)
{
	const struct param *p = &param_table[id];

	if (user != NULL && override_has(user, id))
		return field_get(p, user->set);
	if (db != NULL && override_has(db, id))
		return field_get(p, db->set);
	return field_get(p, global);
}
