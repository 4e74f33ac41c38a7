/*
 * diff_corpus: the sequences of the differential test, read from their text.
 * corpus/README has the words.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e/differential.h"

const char *const target_names[TARGETS] = {"direct", "session", "transaction", "statement"};

struct reading {
	const char *file;
	int line;
	struct sequence **v;
	size_t *n;
	size_t first;	    /* of this file */
	bool in[TARGETS];   /* what a sequence begins with */
	const char *text;   /* of the line */
	struct token *word; /* its words */
	size_t n_words;
	bool failed;
};

static void reading_fail(struct reading *r, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", r->file, r->line, what);
	r->failed = true;
}

static bool word_is(const struct reading *r, size_t i, const char *s)
{
	return i < r->n_words && !r->word[i].quoted && strcmp(r->word[i].s, s) == 0;
}

static enum target word_target(struct reading *r, size_t i)
{
	for (size_t t = SESSION; t < TARGETS; t++)
		if (word_is(r, i, target_names[t]))
			return (enum target)t;
	reading_fail(r, "session, transaction or statement is wanted");
	return SESSION;
}

static unsigned word_number(struct reading *r, size_t i)
{
	char *end;
	long v = i < r->n_words ? strtol(r->word[i].s, &end, 10) : 0;

	if (v <= 0 || *end != '\0')
		reading_fail(r, "a number is wanted");
	return (unsigned)v;
}

/* The sequence that is being read. */
static struct sequence *current(struct reading *r)
{
	return *r->n > r->first ? &(*r->v)[*r->n - 1] : NULL;
}

static void begin_sequence(struct reading *r)
{
	struct sequence *s;

	*r->v = realloc(*r->v, (*r->n + 1) * sizeof(**r->v));
	if (!*r->v)
		abort();
	s = &(*r->v)[(*r->n)++];
	*s = (struct sequence){.file = strdup(r->file), .line = r->line};
	s->name = strdup(r->n_words == 2 ? r->word[1].s : "");
	memcpy(s->in, r->in, sizeof(s->in));
	if (r->n_words != 2)
		reading_fail(r, "a sequence has a name");
	for (size_t i = r->first; i + 1 < *r->n; i++)
		if (strcmp((*r->v)[i].name, s->name) == 0)
			reading_fail(r, "this name was there before");
}

/* only MODE...: of a sequence, or of all that follow when it stands in front of the first one. */
static void read_only(struct reading *r)
{
	bool *in = current(r) ? current(r)->in : r->in;

	for (size_t t = SESSION; t < TARGETS; t++)
		in[t] = false;
	for (size_t i = 1; i < r->n_words; i++)
		in[word_target(r, i)] = true;
}

/* known MODE... "why" */
static void read_known(struct reading *r)
{
	struct sequence *s = current(r);

	if (!s || r->n_words < 3 || !r->word[r->n_words - 1].quoted)
		reading_fail(r, "known MODE... \"why\", in a sequence");
	else
		for (size_t i = 1; i + 1 < r->n_words; i++)
			s->known[word_target(r, i)] = true;
}

/* instead a MESSAGE | ..., or instead a nothing */
static void read_instead(struct reading *r)
{
	struct sequence *s = current(r);
	unsigned k = word_is(r, 1, "b");
	char why[256];

	if (!s || r->n_words < 3 || (k == 0 && !word_is(r, 1, "a")) || s->n_instead[k] > 0)
		reading_fail(r, "instead a MESSAGE | ..., in a sequence");
	else if (word_is(r, 2, "nothing"))
		s->nothing[k] = true;
	else if (!phrases_parse(r->word + 2, r->n_words - 2, true, &s->instead[k], &s->n_instead[k], why, sizeof(why)))
		reading_fail(r, why);
}

static void read_messages(struct reading *r, struct action *a, size_t from)
{
	char why[256];

	if (!phrases_parse(r->word + from, r->n_words - from, false, &a->phrases, &a->n_phrases, why, sizeof(why)))
		reading_fail(r, why);
}

static void read_action(struct reading *r)
{
	struct sequence *s = current(r);
	size_t i = 1;
	struct action *a;

	if (!s) {
		reading_fail(r, "no sequence has begun");
		return;
	}
	s->actions = realloc(s->actions, (s->n_actions + 1) * sizeof(*s->actions));
	if (!s->actions)
		abort();
	a = &s->actions[s->n_actions++];
	*a = (struct action){.who = word_is(r, 0, "b"), .times = 1, .line = r->line, .text = strdup(r->text)};
	if (word_is(r, 1, "times")) {
		a->times = word_number(r, 2);
		i = 3;
	}
	if (word_is(r, i, ">") || word_is(r, i, ">>")) {
		a->verb = word_is(r, i, ">") ? DIFF_SEND : DIFF_PUT;
		read_messages(r, a, i + 1);
	} else if (word_is(r, i, "wait")) {
		a->verb = DIFF_WAIT;
	} else if (word_is(r, i, "closed")) {
		a->verb = DIFF_CLOSED;
	} else if (word_is(r, i, "ready")) {
		a->verb = DIFF_READY;
		a->count = word_number(r, i + 1);
	} else if (word_is(r, i, "until") && i + 1 < r->n_words && r->word[i + 1].n == 1) {
		a->verb = DIFF_UNTIL;
		a->type = (unsigned char)r->word[i + 1].s[0];
	} else {
		reading_fail(r, "an unknown verb");
	}
}

static void read_line(struct reading *r, const char *line)
{
	const char *why;

	r->text = line;
	if (!tokens_split(line, &r->word, &r->n_words, &why))
		reading_fail(r, why);
	else if (r->n_words == 0)
		;
	else if (word_is(r, 0, "sequence"))
		begin_sequence(r);
	else if (word_is(r, 0, "only"))
		read_only(r);
	else if (word_is(r, 0, "known"))
		read_known(r);
	else if (word_is(r, 0, "instead"))
		read_instead(r);
	else if (word_is(r, 0, "a") || word_is(r, 0, "b"))
		read_action(r);
	else
		reading_fail(r, "an unknown word");
	tokens_free(r->word, r->n_words);
	r->word = NULL;
	r->n_words = 0;
}

bool corpus_parse(const char *file, const char *text, struct sequence **v, size_t *n)
{
	struct reading r = {.file = file, .v = v, .n = n, .first = *n, .in = {true, true, true, true}};
	int lines = 0;

	while (*text) {
		struct bytes line = {0};

		bytes_add(&line, "", 0);
		r.line = lines + 1;
		/* A line that ends in | goes on in the next one. */
		do {
			size_t k = strcspn(text, "\n");

			bytes_add(&line, text, k);
			text += k + (text[k] == '\n');
			lines++;
		} while (*text && line.n > 0 && line.p[line.n - 1] == '|');
		read_line(&r, line.p);
		bytes_free(&line);
	}
	return !r.failed;
}

bool corpus_read(const char *path, struct sequence **v, size_t *n)
{
	const char *name = strrchr(path, '/');
	struct bytes text = {0};
	char part[4096];
	size_t k;
	bool ok;
	FILE *f = fopen(path, "r");

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	bytes_add(&text, "", 0);
	while ((k = fread(part, 1, sizeof(part), f)) > 0)
		bytes_add(&text, part, k);
	fclose(f);
	ok = corpus_parse(name ? name + 1 : path, text.p, v, n);
	bytes_free(&text);
	return ok;
}

void corpus_free(struct sequence *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < v[i].n_actions; k++) {
			phrases_free(v[i].actions[k].phrases, v[i].actions[k].n_phrases);
			free(v[i].actions[k].text);
		}
		for (size_t k = 0; k < CLIENTS; k++)
			phrases_free(v[i].instead[k], v[i].n_instead[k]);
		free(v[i].actions);
		free(v[i].file);
		free(v[i].name);
	}
	free(v);
}
