/*
 * config_read: hands a configuration file to inih, line by line, with nothing in
 * it that inih would misread. Called by config at load. It knows sections and
 * the shape of a line; what NAME = value means stands in config_entry.c.
 *
 * inih cuts long lines and long section names, takes ':' for '=', splits inside
 * quotes and tells only the first bad line. So each line is looked at here
 * first: what is no comment, [section], %include or NAME = value is an error
 * with file and line; a name goes to inih percent-encoded and comes back
 * decoded; lines are counted here, and includes are expanded here.
 */
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/file.h"

#include "config_priv.h"

#define LINE_LIMIT 65000
#define LINE_ROOM (LINE_LIMIT + 3 * CONFIG_NAME_LIMIT + 16)
#define INCLUDE_DEPTH 10
#define INCLUDE_FILES 1000

/* A file that is being read; the one that included it stands above. */
struct source {
	struct source *up;
	char *path, *text;
	size_t n, at;
	int line;
};

struct reader {
	struct loader *l;
	struct source *top;
	unsigned depth; /* of top; the main file is 0 */
	unsigned files;
	char *out; /* the line that inih is being given, with its newline */
	size_t out_n, out_at;
};

static const struct section {
	const char *name;
	enum config_section id;
} sections[] = {
	{"pgbouncer", SECTION_SETTINGS},
	{"psbouncer", SECTION_SETTINGS},
	{"databases", SECTION_DATABASES},
	{"users", SECTION_USERS},
	{"peers", SECTION_PEERS},
};

#define N_SECTIONS (sizeof(sections) / sizeof(sections[0]))

static void complain(struct reader *r, const char *text)
{
	errs_add(r->l->errs, r->l->file, r->l->line, "%s", text);
}

/* ---- files ---- */

static void push(struct reader *r, char *path, char *text, size_t n)
{
	struct source *s = xcalloc(MEM_CONFIG, 1, sizeof(*s));

	s->path = path;
	s->text = text;
	s->n = n;
	s->at = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a byte order mark */
	s->up = r->top;
	r->top = s;
}

static void pop(struct reader *r)
{
	struct source *s = r->top;

	r->top = s->up;
	if (r->depth > 0)
		r->depth--;
	file_release(&s->text, s->n);
	xfree(MEM_CONFIG, s->path);
	xfree(MEM_CONFIG, s);
}

static bool is_open(const struct reader *r, const char *path)
{
	for (const struct source *s = r->top; s != NULL; s = s->up)
		if (strcmp(s->path, path) == 0)
			return true;
	return false;
}

static void include(struct reader *r, const char *path)
{
	char *text, why[256];
	size_t n;

	if (is_open(r, path))
		complain(r, "%include of a file that is being read already");
	else if (r->depth >= INCLUDE_DEPTH)
		complain(r, "%include is nested more than 10 deep");
	else if (r->files >= INCLUDE_FILES)
		complain(r, "more than 1000 included files");
	else if (!file_read(path, CONFIG_FILE_LIMIT, &text, &n, why, sizeof(why)))
		errs_add(r->l->errs, r->l->file, r->l->line, "%%include: %s cannot be read: %s", path, why);
	else {
		r->depth++;
		r->files++;
		push(r, xstrdup(MEM_CONFIG, path), text, n);
	}
}

/* ---- lines ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Characters of a name that needs no quotes. */
static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.-*", c) != NULL);
}

static void skip_space(const char **s)
{
	while (is_space(**s))
		(*s)++;
}

static void out_char(struct reader *r, char c)
{
	r->out[r->out_n++] = c;
}

/* A character of a name as inih is to see it. */
static void out_encoded(struct reader *r, char c)
{
	if (is_name_char(c))
		out_char(r, c);
	else
		r->out_n += (size_t)sprintf(r->out + r->out_n, "%%%02X", (unsigned char)c);
}

/* Undoes out_encoded() in place. */
static void decode(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		unsigned byte;

		if (*s == '%' && sscanf(s + 1, "%2X", &byte) == 1) {
			*to++ = (char)byte;
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* "[name]", perhaps with a comment behind it. */
static void take_section(struct reader *r, const char *s)
{
	size_t len = strcspn(s, "]");
	char name[64];
	const char *near, *words[N_SECTIONS];

	r->l->section = SECTION_UNKNOWN;
	if (s[len] != ']' || len >= sizeof(name)) {
		complain(r, s[len] != ']' ? "a section without ']'" : "the name of the section is too long");
		return;
	}
	memcpy(name, s, len);
	name[len] = '\0';
	s += len + 1;
	skip_space(&s);
	if (*s != '\0' && *s != ';' && *s != '#') {
		complain(r, "text behind the section's ']'");
		return;
	}
	for (size_t i = 0; i < N_SECTIONS; i++) {
		words[i] = sections[i].name;
		if (strcasecmp(name, sections[i].name) != 0)
			continue;
		r->l->section = sections[i].id;
		if (sections[i].id == SECTION_SETTINGS)
			config_settings_begin(r->l);
		r->out_n = (size_t)sprintf(r->out, "[%s]\n", sections[i].name);
		return;
	}
	near = param_nearest_with(name, 0, words, N_SECTIONS);
	errs_add(r->l->errs, r->l->file, r->l->line, "unknown section [%s]%s%s%s", name,
		near == NULL ? "" : "; the nearest known one is [", near == NULL ? "" : near, near == NULL ? "" : "]");
}

/* Puts the name at *s into out, encoded. NULL, or what is wrong with it. */
static const char *take_name(struct reader *r, const char **s)
{
	char quote = **s;
	size_t n = 0;

	if (quote != '"' && quote != '\'') {
		for (; is_name_char(**s); (*s)++)
			if (++n <= CONFIG_NAME_LIMIT)
				out_char(r, **s);
	} else {
		for ((*s)++; **s != '\0' && (**s != quote || (*s)[1] == quote); (*s)++) {
			if (**s == quote)
				(*s)++;
			if (++n <= CONFIG_NAME_LIMIT)
				out_encoded(r, **s);
		}
		if (**s == '\0')
			return "a name whose quote is not closed";
		(*s)++;
		if (n == 0)
			return "an empty name";
	}
	return n > CONFIG_NAME_LIMIT ? "a name of more than 127 bytes" : NULL;
}

/* "NAME = value", n bytes long. */
static void take_setting(struct reader *r, const char *s, size_t n)
{
	const char *end = s + n, *error;

	r->out_n = 0;
	error = take_name(r, &s);
	skip_space(&s);
	if (error == NULL && (r->out_n == 0 || *s != '='))
		error = "neither a comment, [section], %include FILE nor NAME = value "
			"(a name with other characters than letters, digits and _ . - * needs quotes)";
	if (error == NULL && r->l->section == SECTION_NONE)
		error = "a setting before the first [section]";
	if (error != NULL)
		complain(r, error);
	if (error != NULL || r->l->section == SECTION_UNKNOWN) {
		r->out_n = 0;
		return;
	}
	memcpy(r->out + r->out_n, s, (size_t)(end - s));
	r->out_n += (size_t)(end - s);
	out_char(r, '\n');
}

/* One line, trimmed and with a NUL behind it. What inih is to see of it goes to out. */
static void take_line(struct reader *r, const char *s, size_t n)
{
	r->out_n = r->out_at = 0;
	if (memchr(s, '\0', n) != NULL)
		complain(r, "a NUL byte in this line");
	else if (n > LINE_LIMIT)
		complain(r, "a line of more than 65000 bytes");
	else if (n == 0 || *s == ';' || *s == '#')
		return;
	else if (*s == '[')
		take_section(r, s + 1);
	else if (strncmp(s, "%include", 8) == 0 && is_space(s[8])) {
		s += 8;
		skip_space(&s);
		include(r, s);
	} else
		take_setting(r, s, n);
}

/* Fetches the next line of the topmost file that has one. False when all have ended. */
static bool next_line(struct reader *r)
{
	struct source *s;
	char *start, *stop, *end;

	while (r->top != NULL && r->top->at >= r->top->n)
		pop(r);
	s = r->top;
	if (s == NULL)
		return false;
	start = s->text + s->at;
	end = s->text + s->n;
	stop = memchr(start, '\n', (size_t)(end - start));
	if (stop == NULL)
		stop = end;
	s->at = (size_t)(stop - s->text) + 1;
	s->line++;
	r->l->file = s->path;
	r->l->line = s->line;
	while (start < stop && is_space(*start))
		start++;
	while (stop > start && is_space(stop[-1]))
		stop--;
	*stop = '\0';
	take_line(r, start, (size_t)(stop - start));
	return true;
}

/* As fgets(): inih asks again when its buffer was too small for the line. */
static char *give_line(char *buf, int size, void *arg)
{
	struct reader *r = arg;
	size_t n;

	while (r->out_at == r->out_n)
		if (!next_line(r))
			return NULL;
	n = r->out_n - r->out_at;
	if (n > (size_t)size - 1)
		n = (size_t)size - 1;
	memcpy(buf, r->out + r->out_at, n);
	buf[n] = '\0';
	r->out_at += n;
	return buf;
}

static int got_setting(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *r = arg;
	char plain[3 * CONFIG_NAME_LIMIT + 1];

	(void)section; /* cut at 49 bytes; l->section is whole */
	snprintf(plain, sizeof(plain), "%s", name);
	decode(plain);
	r->l->take(r->l, plain, value);
	return 1;
}

static void run(struct reader *r)
{
	int rc;

	ini_use_stack = false;
	ini_allow_realloc = true;
	ini_max_line = LINE_ROOM + 3;
	ini_allow_inline_comments = false;
	ini_allow_multiline = false;
	r->out = xmalloc(MEM_CONFIG, LINE_ROOM);
	rc = ini_parse_stream(give_line, r, got_setting, r);
	if (rc < 0)
		errs_add(r->l->errs, r->l->file, r->l->line, "out of memory");
	else if (rc > 0)
		errs_add(r->l->errs, r->l->file, 0, "the INI library refused line %d of what it was given", rc);
	while (r->top != NULL)
		pop(r);
	mem_wipe(r->out, LINE_ROOM);
	xfree(MEM_CONFIG, r->out);
}

/* ---- the self-test ---- */

#define TEST_NAME "my:db = \"x\" 'y' ;%41 \xc3\xa9"
#define TEST_QUOTED "\"my:db = \"\"x\"\" 'y' ;%41 \xc3\xa9\""
#define TEST_VALUE_LEN 60000

/* A value of every kind of trap: comments, separators, sections, quotes. */
static void test_value(char *buf)
{
	static const char traps[] = "a ;b #c = d : e [f] 'g' \"h\" %41 ";

	for (size_t i = 0; i < TEST_VALUE_LEN; i++)
		buf[i] = traps[i % (sizeof(traps) - 1)];
	buf[TEST_VALUE_LEN - 1] = '.';
	buf[TEST_VALUE_LEN] = '\0';
}

struct self_test {
	struct loader l;
	char *value;
	int good, all;
};

static void test_take(struct loader *l, const char *name, const char *value)
{
	struct self_test *t = container_of(l, struct self_test, l);

	t->all++;
	if (l->line == 2 && strcmp(name, TEST_NAME) == 0 && strcmp(value, t->value) == 0)
		t->good++;
	if (l->line == 3 && strcmp(name, "next") == 0 && strcmp(value, "") == 0)
		t->good++;
}

/* Does what we need come through the INI library whole? Another build of it may behave in another way. */
static bool self_test(void)
{
	struct errs errs = {0};
	struct self_test t = {.l = {.errs = &errs, .take = test_take}};
	struct reader r = {.l = &t.l};
	char *text;
	bool ok;

	t.value = xmalloc(MEM_CONFIG, TEST_VALUE_LEN + 1);
	test_value(t.value);
	text = xasprintf(MEM_CONFIG, "[databases]\n\t %s = %s \n  next=\n", TEST_QUOTED, t.value);
	push(&r, xstrdup(MEM_CONFIG, ""), text, strlen(text));
	run(&r);
	ok = t.good == 2 && t.all == 2 && errs.total == 0;
	xfree(MEM_CONFIG, t.value);
	errs_free(&errs);
	return ok;
}

void config_read(struct loader *l, const char *path, const char *text, size_t n)
{
	struct reader r = {.l = l};
	char *own, why[256];

	l->file = path;
	if (!self_test()) {
		errs_add(l->errs, NULL, 0,
			"the INI library (inih) does not give lines back whole: psbouncer cannot run with it");
		return;
	}
	if (text != NULL) {
		own = xmalloc(MEM_CONFIG, n + 1);
		memcpy(own, text, n);
		own[n] = '\0';
	} else if (!file_read(path, CONFIG_FILE_LIMIT, &own, &n, why, sizeof(why))) {
		errs_add(l->errs, path, 0, "cannot be read: %s", why);
		return;
	}
	push(&r, xstrdup(MEM_CONFIG, path), own, n);
	run(&r);
}
