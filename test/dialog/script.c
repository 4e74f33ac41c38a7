/*
 * script: reads files of dialogues, makes their configurations and runs them, a
 * step a line. The language is in README; what the verbs do stands in steps.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/config.h"
#include "dialog/script_priv.h"

/* ---- running ---- */

static bool step_run(struct step *s, struct world *w)
{
	struct end *e = NULL;
	bool ok;

	if (s->verb->has == VERB_END) {
		e = world_end_by_name(w, s->end);
		if (e == NULL) {
			world_fail(w, "there is no end %s", s->end);
			return false;
		}
	}
	ok = s->verb->run(s, w, e);
	if (!ok)
		world_fail(w, "this step cannot be done");
	return ok && !w->failed;
}

bool dialogue_run(struct dialogue *d, struct world *w, volatile int *line)
{
	struct end *e;

	for (size_t i = 0; i < d->n_steps; i++) {
		*line = d->steps[i].line;
		if (w->trace)
			fprintf(stderr, "%s:%d %s %s\n", d->file, *line, d->steps[i].end != NULL ? d->steps[i].end : "",
				d->steps[i].verb->name);
		if (!step_run(&d->steps[i], w))
			return false;
		if (w->over)
			return true;
	}
	TAILQ_FOREACH (e, &w->ends, all)
		if (!end_has_all(w, e))
			return false;
	return true;
}

/* ---- reading ---- */

struct reader {
	const char *file;
	FILE *f;
	int line;
	char text[65536];
	struct dialogue **v;
	size_t *n;
	bool failed;
};

static void reader_fail(struct reader *r, const char *why)
{
	fprintf(stderr, "%s:%d: %s\n", r->file, r->line, why);
	r->failed = true;
}

static bool reader_line(struct reader *r)
{
	if (fgets(r->text, sizeof(r->text), r->f) == NULL)
		return false;
	r->line++;
	return true;
}

/* Lines up to "end", into the parts of a configuration. */
static void read_block(struct reader *r, struct recipe *recipe)
{
	struct bytes *to = &recipe->set;

	while (reader_line(r)) {
		const char *s = r->text + strspn(r->text, " \t");

		if (strcmp(s, "end\n") == 0)
			return;
		if (strcmp(s, "[databases]\n") == 0)
			to = &recipe->databases;
		else if (strcmp(s, "[users]\n") == 0)
			to = &recipe->users;
		else
			bytes_add(to, s, strlen(s));
	}
	reader_fail(r, "the block has no end");
}

static void read_userlist(struct reader *r, struct bytes *to)
{
	while (reader_line(r)) {
		if (strcmp(r->text, "end\n") == 0)
			return;
		bytes_add(to, r->text, strlen(r->text));
	}
	reader_fail(r, "the user list has no end");
}

static struct dialogue *reader_dialogue(struct reader *r)
{
	return *r->n > 0 ? &(*r->v)[*r->n - 1] : NULL;
}

static void read_dialogue(struct reader *r, const struct token *v, size_t n)
{
	struct dialogue *d;

	if (n != 2) {
		reader_fail(r, "dialogue \"name\"");
		return;
	}
	*r->v = realloc(*r->v, (*r->n + 1) * sizeof(**r->v));
	if (*r->v == NULL)
		abort();
	d = &(*r->v)[(*r->n)++];
	*d = (struct dialogue){.file = strdup(r->file), .name = strdup(v[1].s), .line = r->line};
}

/* A step of d. The tokens become its own. */
static void read_step(struct reader *r, struct dialogue *d, struct token *v, size_t n)
{
	struct step *s;
	char why[200] = "";
	size_t skip = 1;

	d->steps = realloc(d->steps, (d->n_steps + 1) * sizeof(*d->steps));
	if (d->steps == NULL)
		abort();
	s = &d->steps[d->n_steps++];
	*s = (struct step){.line = r->line, .verb = verb_find(v[0].s, true)};
	if (s->verb == NULL && n > 1) {
		s->verb = verb_find(v[1].s, false);
		s->end = strdup(v[0].s);
		skip = 2;
	}
	if (s->verb == NULL) {
		reader_fail(r, "no such verb");
		tokens_free(v, n);
		d->n_steps--;
		return;
	}
	for (size_t i = 0; i < skip; i++)
		free(v[i].s);
	memmove(v, v + skip, (n - skip) * sizeof(*v));
	s->v = v;
	s->n = n - skip;
	if (s->verb->takes == TAKES_MESSAGES &&
		!phrases_parse(s->v, s->n, step_is_backend(s), &s->phrases, &s->n_phrases, why, sizeof(why)))
		reader_fail(r, why);
	if (s->verb->takes == TAKES_BLOCK)
		read_block(r, &s->recipe);
}

static void read_one(struct reader *r)
{
	struct dialogue *d = reader_dialogue(r);
	struct token *v;
	const char *why;
	size_t n;

	if (!tokens_split(r->text, &v, &n, &why)) {
		reader_fail(r, why);
		tokens_free(v, n);
		return;
	}
	if (n == 0) {
		free(v);
	} else if (strcmp(v[0].s, "dialogue") == 0) {
		read_dialogue(r, v, n);
		tokens_free(v, n);
	} else if (d == NULL) {
		reader_fail(r, "a file begins with dialogue \"name\"");
		tokens_free(v, n);
	} else if (strcmp(v[0].s, "config") == 0) {
		read_block(r, &d->recipe);
		tokens_free(v, n);
	} else if (strcmp(v[0].s, "userlist") == 0) {
		read_userlist(r, &d->recipe.userlist);
		tokens_free(v, n);
	} else {
		read_step(r, d, v, n);
	}
}

bool script_read(const char *file, struct dialogue **v, size_t *n)
{
	struct reader *r = calloc(1, sizeof(*r));
	bool ok;

	if (r == NULL)
		abort();
	r->file = file;
	r->v = v;
	r->n = n;
	r->f = fopen(file, "r");
	if (r->f == NULL) {
		reader_fail(r, strerror(errno));
	} else {
		while (reader_line(r))
			read_one(r);
		fclose(r->f);
	}
	ok = !r->failed;
	free(r);
	return ok;
}

/* ---- configurations ---- */

/* "name = value" as a default: unless the script has a line of that name. */
static void put_default(FILE *f, const struct bytes *set, const char *name, const char *value)
{
	const char *line = set->p;
	size_t n = strlen(name);

	while (line != NULL && *line != '\0') {
		const char *next = strchr(line, '\n');

		if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == '='))
			return;
		line = next != NULL ? next + 1 : NULL;
	}
	fprintf(f, "%s = %s\n", name, value);
}

static bool write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	bool ok = f != NULL && fputs(text, f) >= 0;

	return (f == NULL || fclose(f) == 0) && ok;
}

static const char *bytes_text(const struct bytes *b)
{
	return b->p != NULL ? b->p : "";
}

struct config *recipe_load(const struct recipe *r, const char *dir, const char *what)
{
	const char *users = r->userlist.n > 0 ? r->userlist.p : "\"u\" \"pw\"\n\"v\" \"pv\"\n\"adm\" \"pa\"\n";
	char ini[512], auth[512], text[600];
	struct errs errs = {0};
	struct config *c;
	FILE *f;

	snprintf(ini, sizeof(ini), "%s/psbouncer.ini", dir);
	snprintf(auth, sizeof(auth), "%s/userlist.txt", dir);
	f = fopen(ini, "w");
	if (f == NULL || !write_file(auth, users))
		return NULL;
	fprintf(f, "[pgbouncer]\n");
	put_default(f, &r->set, "auth_type", "trust");
	put_default(f, &r->set, "auth_file", auth);
	put_default(f, &r->set, "pool_mode", "transaction");
	put_default(f, &r->set, "defer_begin", "0"); /* a begin is how most dialogues take a server */
	put_default(f, &r->set, "server_tls_sslmode", "disable");
	put_default(f, &r->set, "unix_socket_dir", "");
	fprintf(f, "%s\n[databases]\n%s\n", bytes_text(&r->set),
		r->databases.n > 0 ? r->databases.p : "d = host=h port=5432\n");
	fprintf(f, "[users]\n%s\n", bytes_text(&r->users));
	fclose(f);
	c = config_load(ini, &errs);
	for (size_t i = 0; i < errs.n; i++)
		fprintf(stderr, "%s: %s\n", what, errs_format(&errs, i, text, sizeof(text)));
	errs_free(&errs);
	unlink(ini);
	unlink(auth);
	return c;
}

void recipe_free(struct recipe *r)
{
	bytes_free(&r->set);
	bytes_free(&r->databases);
	bytes_free(&r->users);
	bytes_free(&r->userlist);
}

bool dialogue_configure(struct dialogue *d, const char *dir)
{
	d->config = recipe_load(&d->recipe, dir, d->name);
	if (d->config == NULL)
		return false;
	for (size_t i = 0; i < d->n_steps; i++) {
		struct step *s = &d->steps[i];

		if (s->verb->takes != TAKES_BLOCK)
			continue;
		bytes_add(&s->recipe.userlist, d->recipe.userlist.p, d->recipe.userlist.n);
		s->config = recipe_load(&s->recipe, dir, d->name);
		if (s->config == NULL)
			return false;
	}
	return true;
}

void dialogue_free(struct dialogue *d)
{
	for (size_t i = 0; i < d->n_steps; i++) {
		struct step *s = &d->steps[i];

		free(s->end);
		tokens_free(s->v, s->n);
		phrases_free(s->phrases, s->n_phrases);
		recipe_free(&s->recipe);
		config_unref(&s->config);
	}
	free(d->steps);
	free(d->file);
	free(d->name);
	recipe_free(&d->recipe);
	config_unref(&d->config);
}
