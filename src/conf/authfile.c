/*
 * authfile: reads the user list into a table by name. Called by config at load
 * and RELOAD. What kind of secret a secret is stands in auth/secret; no secret
 * ever stands in an error text here.
 */
#include "conf/authfile.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/file.h"

#define FILE_LIMIT ((size_t)64 << 20)
#define NAME_LIMIT 127
#define SECRET_LIMIT 65530

/* The line that is being read: what is left of it, and where it stands. */
struct line {
	const char *s, *end;
	const char *file;
	int number;
};

static bool has_name(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, const struct auth_entry, by_name)->name, key) == 0;
}

static void skip_space(struct line *l)
{
	while (l->s < l->end && (*l->s == ' ' || *l->s == '\t' || *l->s == '\r' || *l->s == '\f' || *l->s == '\v'))
		l->s++;
}

/* Passes a quoted text and returns how long it is with its doubled quotes made single; -1 and the error when it is none. */
static long skip_quoted(struct line *l, const char **error)
{
	long n = 0;

	skip_space(l);
	if (l->s == l->end || *l->s != '"') {
		*error = "neither \"user\" \"secret\" nor a comment";
		return -1;
	}
	for (l->s++; l->s < l->end; l->s++, n++) {
		if (*l->s != '"')
			continue;
		if (l->s + 1 == l->end || l->s[1] != '"') {
			l->s++;
			return n;
		}
		l->s++;
	}
	*error = "no closing quote";
	return -1;
}

/* The text between the quotes at l, or NULL and the error. */
static char *take_quoted(struct line *l, long max, const char *too_long, const char **error)
{
	const char *s;
	long n;
	char *out;

	skip_space(l);
	s = l->s + 1;
	n = skip_quoted(l, error);
	if (n > max)
		*error = too_long;
	if (*error != NULL)
		return NULL;
	out = xmalloc(MEM_CONFIG, (size_t)n + 1);
	for (long i = 0; i < n; i++) {
		out[i] = *s;
		s += *s == '"' ? 2 : 1;
	}
	out[n] = '\0';
	return out;
}

static void entry_free(struct auth_entry *e)
{
	xfree(MEM_CONFIG, e->name);
	xfree_secret(MEM_CONFIG, e->secret);
	xfree(MEM_CONFIG, e);
}

/* Puts e in. An earlier entry of that name goes: as with PgBouncer, the last one counts. */
static void entry_add(struct auth_file *f, struct auth_entry *e, const char *file)
{
	uint64_t hash = hash_str(e->name);
	struct hnode *n = htab_find(&f->users, hash, has_name, e->name);

	if (n != NULL) {
		log_msg(LL_WARNING, "%s:%d: user \"%s\" was in this file before; this entry counts", file, e->line,
			e->name);
		htab_remove(&f->users, n);
		entry_free(container_of(n, struct auth_entry, by_name));
	}
	htab_insert(&f->users, &e->by_name, hash);
}

static void take_line(struct auth_file *f, struct line *l, struct errs *errs)
{
	const char *error = NULL;
	struct auth_entry *e;

	skip_space(l);
	if (l->s == l->end || *l->s == ';')
		return;
	e = xcalloc(MEM_CONFIG, 1, sizeof(*e));
	e->line = l->number;
	if (memchr(l->s, '\0', (size_t)(l->end - l->s)) != NULL)
		error = "a NUL byte in this line";
	if (error == NULL)
		e->name = take_quoted(l, NAME_LIMIT, "the user name is longer than 127 bytes", &error);
	if (error == NULL && e->name[0] == '\0')
		error = "the user name is empty";
	if (error == NULL)
		e->secret = take_quoted(l, SECRET_LIMIT, "the secret is longer than 65530 bytes", &error);
	if (error == NULL) {
		entry_add(f, e, l->file);
	} else {
		errs_add(errs, l->file, l->number, "%s", error);
		entry_free(e);
	}
}

struct auth_file *auth_file_parse(const char *name, const char *text, size_t n, struct errs *errs)
{
	struct auth_file *f = xcalloc(MEM_CONFIG, 1, sizeof(*f));
	struct line l = {.file = name};
	const char *end = text + n;
	size_t before = errs->total;

	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
		text += 3;
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));

		l.s = text;
		l.end = stop == NULL ? end : stop;
		l.number++;
		text = stop == NULL ? end : stop + 1;
		take_line(f, &l, errs);
	}
	if (errs->total != before) {
		auth_file_free(f);
		return NULL;
	}
	return f;
}

struct auth_file *auth_file_load(const char *path, struct errs *errs)
{
	struct auth_file *f;
	char *text, why[256];
	size_t n;

	if (path == NULL || path[0] == '\0')
		return xcalloc(MEM_CONFIG, 1, sizeof(*f));
	if (!file_read(path, FILE_LIMIT, &text, &n, why, sizeof(why))) {
		errs_add(errs, path, 0, "cannot be read: %s", why);
		return NULL;
	}
	f = auth_file_parse(path, text, n, errs);
	file_release(&text, n);
	return f;
}

struct auth_file *auth_file_copy(const struct auth_file *f)
{
	struct auth_file *to = xcalloc(MEM_CONFIG, 1, sizeof(*to));

	for (struct hnode *n = htab_next(&f->users, NULL); n != NULL; n = htab_next(&f->users, n)) {
		const struct auth_entry *from = container_of(n, struct auth_entry, by_name);
		struct auth_entry *e = xcalloc(MEM_CONFIG, 1, sizeof(*e));

		e->name = xstrdup(MEM_CONFIG, from->name);
		e->secret = xstrdup(MEM_CONFIG, from->secret);
		e->line = from->line;
		htab_insert(&to->users, &e->by_name, n->hash);
	}
	return to;
}

const struct auth_entry *auth_file_find(const struct auth_file *f, const char *user)
{
	struct hnode *n = htab_find(&f->users, hash_str(user), has_name, user);

	return n == NULL ? NULL : container_of(n, struct auth_entry, by_name);
}

void auth_file_free(struct auth_file *f)
{
	struct hnode *n, *next;

	if (f == NULL)
		return;
	for (n = htab_next(&f->users, NULL); n != NULL; n = next) {
		next = htab_next(&f->users, n);
		htab_remove(&f->users, n);
		entry_free(container_of(n, struct auth_entry, by_name));
	}
	htab_free(&f->users);
	xfree(MEM_CONFIG, f);
}
