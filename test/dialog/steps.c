/*
 * steps: what the verbs of a script do: what ends send and must have received,
 * how they come and go. The table of all verbs stands at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog/script_priv.h"

/* ---- what was said and heard ---- */

bool step_is_backend(const struct step *s)
{
	bool server = (s->end[0] == 's' || s->end[0] == 'c') && s->end[1] >= '0' && s->end[1] <= '9';

	return (strcmp(s->verb->name, "<") != 0) == server;
}

static bool end_mismatch(struct end *e, const struct phrase *f)
{
	struct bytes b = {0};
	bool backend = e->kind == END_CLIENT;

	bytes_printf(&b, "%s was to receive\n        ", e->name);
	phrase_print(&b, f);
	bytes_printf(&b, "\n    but has\n");
	messages_print(&b, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos, backend, e->kind != END_CLIENT && e->rx_pos == 0);
	if (e->stream == NULL)
		bytes_printf(&b, "    and is closed by the pooler\n");
	world_fail(e->w, "%s", b.p);
	bytes_free(&b);
	return false;
}

bool end_says(struct end *e, const struct phrase *v, size_t n)
{
	struct bytes b = {0};
	size_t *bounds = calloc(n + 1, sizeof(*bounds));
	bool ok = bounds != NULL;

	for (size_t i = 0; ok && i < n; i++) {
		ok = phrase_build(&v[i], e, &b);
		bounds[i] = b.n;
	}
	if (ok && e->eof) {
		world_fail(e->w, "%s has closed already", e->name);
		ok = false;
	}
	if (ok)
		world_send(e, b.p, b.n, bounds, n);
	free(bounds);
	bytes_free(&b);
	return ok;
}

static bool run_send(struct step *s, struct world *w, struct end *e)
{
	(void)w;
	return end_says(e, s->phrases, s->n_phrases);
}

/* A peer that takes its bytes slowly may lose the last words of a connection that is closed. */
static bool lost_the_rest(const struct world *w, const struct end *e)
{
	return w->way.blocks && e->stream == NULL;
}

bool end_hears(struct end *e, const struct phrase *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t used = 0;
		enum match r = phrase_match(&v[i], e, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos, &used);

		if (r == MATCH_MORE && lost_the_rest(e->w, e)) {
			e->rx_pos = e->rx.n;
			return true;
		}
		if (r != MATCH_YES)
			return end_mismatch(e, &v[i]);
		e->rx_pos += used;
	}
	return true;
}

static bool run_expect(struct step *s, struct world *w, struct end *e)
{
	(void)w;
	return end_hears(e, s->phrases, s->n_phrases);
}

/* A connection that psbouncer closes may say goodbye to its server; where it must, the script says so. */
static bool has_goodbye(const struct end *e)
{
	size_t n = e->rx.n - e->rx_pos;

	return e->kind == END_SERVER && e->stream == NULL && (n == 5 || (n < 5 && e->w->way.blocks)) &&
	       memcmp(e->rx.p + e->rx_pos, "X\0\0\0\4", n) == 0;
}

bool end_has_all(struct world *w, struct end *e)
{
	struct bytes b = {0};

	if (e->rx.n == e->rx_pos || has_goodbye(e))
		return true;
	bytes_printf(&b, "%s was to receive nothing more, but has\n", e->name[0] != '\0' ? e->name : "a server");
	messages_print(&b, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos, e->kind == END_CLIENT,
		e->kind != END_CLIENT && e->rx_pos == 0);
	world_fail(w, "%s", b.p);
	bytes_free(&b);
	return false;
}

static bool run_nothing(struct step *s, struct world *w, struct end *e)
{
	(void)s;
	return end_has_all(w, e);
}

static bool run_closed(struct step *s, struct world *w, struct end *e)
{
	(void)s;
	if (!end_has_all(w, e))
		return false;
	if (e->stream != NULL)
		world_fail(w, "%s was to be closed by the pooler, but is open", e->name);
	return e->stream == NULL;
}

static bool run_alive(struct step *s, struct world *w, struct end *e)
{
	(void)s;
	if (e->stream == NULL)
		world_fail(w, "%s was to be open, but is closed by the pooler", e->name);
	return e->stream != NULL;
}

/* ---- ends ---- */

static bool run_open(struct step *s, struct world *w, struct end *e)
{
	(void)e;
	world_connect(w, s->end, s->n > 0 && strcmp(s->v[0].s, "unix") == 0);
	return true;
}

/* connect [name=value]...: a StartupMessage, and all up to the first ReadyForQuery */
static bool run_connect(struct step *s, struct world *w, struct end *e)
{
	struct phrase hello = {.kind = PHRASE_STARTUP, .arg = s->v, .n_args = s->n};
	struct phrase welcome = {.kind = PHRASE_WELCOME};
	struct bytes b = {0};

	e = world_connect(w, s->end, false);
	phrase_build(&hello, e, &b);
	world_send(e, b.p, b.n, NULL, 0);
	bytes_free(&b);
	return end_hears(e, &welcome, 1);
}

/* NEW cancel END: a connection that asks for END's query to be cancelled */
static bool run_cancel(struct step *s, struct world *w, struct end *e)
{
	struct end *of = s->n == 1 ? world_end_by_name(w, s->v[0].s) : NULL;

	(void)e;
	return of != NULL && of->kind == END_CLIENT && world_cancel(w, s->end, of);
}

static bool run_eof(struct step *s, struct world *w, struct end *e)
{
	(void)w;
	if (s->n == 1 && strcmp(s->v[0].s, "unseen") == 0)
		world_eof_unseen(e);
	else
		world_eof(e);
	return true;
}

static bool run_reset(struct step *s, struct world *w, struct end *e)
{
	(void)s, (void)w;
	world_reset(e);
	return true;
}

static bool run_stall(struct step *s, struct world *w, struct end *e)
{
	char which = (char)e->index;

	e->stalled = strcmp(s->verb->name, "stall") == 0;
	if (e->kind == END_CLIENT)
		world_record(w, FUZZ_SWITCH, e->stalled ? FUZZ_STALL : FUZZ_TAKE, &which, 1);
	world_settle(w);
	return true;
}

/* at ADDRESS: where it was connected to */
static bool run_at(struct step *s, struct world *w, struct end *e)
{
	bool is = s->n == 1 && strcmp(s->v[0].s, e->addr) == 0;

	if (!is)
		world_fail(w, "%s is at %s", e->name, e->addr);
	return is;
}

/* login [name=value]...: what follows a right password, or stands alone */
static bool run_login(struct step *s, struct world *w, struct end *e)
{
	struct bytes b = {0};

	(void)s, (void)w;
	world_login_reply(e, true, &b);
	world_send(e, b.p, b.n, NULL, 0);
	bytes_free(&b);
	return true;
}

/* key HEX...: process id and secret that it will tell */
static bool run_key(struct step *s, struct world *w, struct end *e)
{
	(void)w;
	e->key_len = 0;
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k + 1 < s->v[i].n && e->key_len < sizeof(e->key); k += 2) {
			unsigned v;

			if (sscanf(s->v[i].s + k, "%2x", &v) != 1)
				return false;
			e->key[e->key_len++] = (unsigned char)v;
		}
	return true;
}

/* ---- the verbs ---- */

static const struct verb verbs[] = {
	{">", VERB_END, TAKES_MESSAGES, run_send},
	{"<", VERB_END, TAKES_MESSAGES, run_expect},
	{"nothing", VERB_END, TAKES_WORDS, run_nothing},
	{"closed", VERB_END, TAKES_WORDS, run_closed},
	{"alive", VERB_END, TAKES_WORDS, run_alive},
	{"open", VERB_NEW, TAKES_WORDS, run_open},
	{"connect", VERB_NEW, TAKES_WORDS, run_connect},
	{"cancel", VERB_NEW, TAKES_WORDS, run_cancel},
	{"dies", VERB_END, TAKES_MESSAGES, run_dies},
	{"eof", VERB_END, TAKES_WORDS, run_eof},
	{"reset", VERB_END, TAKES_WORDS, run_reset},
	{"stall", VERB_END, TAKES_WORDS, run_stall},
	{"take", VERB_END, TAKES_WORDS, run_stall},
	{"at", VERB_END, TAKES_WORDS, run_at},
	{"login", VERB_END, TAKES_WORDS, run_login},
	{"key", VERB_END, TAKES_WORDS, run_key},
	{"scram", VERB_END, TAKES_WORDS, run_scram},
	{"clock", VERB_PLAIN, TAKES_WORDS, run_clock},
	{"server", VERB_PLAIN, TAKES_WORDS, run_server},
	{"pool", VERB_PLAIN, TAKES_WORDS, run_pool},
	{"counters", VERB_PLAIN, TAKES_WORDS, run_counters},
	{"stats", VERB_PLAIN, TAKES_WORDS, run_stats},
	{"pause", VERB_PLAIN, TAKES_WORDS, run_pause},
	{"resume", VERB_PLAIN, TAKES_WORDS, run_pause},
	{"reconnect", VERB_PLAIN, TAKES_WORDS, run_pause},
	{"disable", VERB_PLAIN, TAKES_WORDS, run_disable},
	{"enable", VERB_PLAIN, TAKES_WORDS, run_disable},
	{"shutdown", VERB_PLAIN, TAKES_WORDS, run_shutdown},
	{"reload", VERB_PLAIN, TAKES_BLOCK, run_reload},
	{"log", VERB_PLAIN, TAKES_WORDS, run_log},
	{"nolog", VERB_PLAIN, TAKES_WORDS, run_log},
};

const struct verb *verb_find(const char *name, bool plain)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, name) == 0 && (verbs[i].has == VERB_PLAIN) == plain)
			return &verbs[i];
	return NULL;
}
