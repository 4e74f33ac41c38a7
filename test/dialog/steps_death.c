/*
 * steps_death: the step `dies`. A server is asked for something, sends the first
 * bytes of its answer, perhaps what it has to say of its end, and is gone. The
 * script has the whole answer, and what its client is to be told at each of its
 * places; dialogues.c cuts it at every byte. What must be true wherever it was
 * cut stands here: the client has whole messages only, then what it is to be
 * told; it goes on, or it is closed; others are served; nothing stays linked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog/script_priv.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "proto/wire.h"

struct loss {
	struct world *w;
	struct end *server;
	struct end *client;    /* of the mark in force */
	const struct token *v; /* what it is to be told: pairs of an SQLSTATE and a status, or "again" */
	size_t n;	       /* words that are left there */
	char back[200];	       /* a ParameterStatus that goes in front of the ReadyForQuery of the first one, or "" */
	bool hidden;	       /* what comes is not for the client */
	bool errored;	       /* it has had an error that is not followed by a ReadyForQuery yet */
	bool copies;	       /* it may have copy data under way */
	char status;	       /* what the client was told last of its transaction; 0: nothing yet */
	const struct phrase *torn; /* the message that was cut ... */
	const char *piece;	   /* ... and what was sent of it */
	size_t piece_len;
	char detail[200]; /* what is said of the server's end */
	bool silent;	  /* nothing comes behind the last byte of the answer */
};

void death_words(enum death how, struct bytes *out, const char **name)
{
	static const struct {
		const char *severity, *code, *text, *name;
	} words[] = {
		[DEATH_FATAL] = {"FATAL", "57P01", "terminating connection due to administrator command",
			"FATAL 57P01: terminating connection due to administrator command"},
		[DEATH_WARNING] = {"WARNING", "57P01", "terminating connection due to immediate shutdown command",
			"WARNING 57P01: terminating connection due to immediate shutdown command"},
		[DEATH_CRASH_ELSEWHERE] = {"WARNING", "57P02",
			"terminating connection because of crash of another server process",
			"WARNING 57P02: terminating connection because of crash of another server process"},
	};
	struct bytes b = {0};

	*name = "server conn crashed?";
	if (how < DEATH_FATAL)
		return;
	*name = words[how].name;
	for (int i = 0; i < 2; i++) {
		bytes_u8(&b, "SV"[i]);
		bytes_str(&b, words[how].severity);
	}
	bytes_u8(&b, 'C');
	bytes_str(&b, words[how].code);
	bytes_u8(&b, 'M');
	bytes_str(&b, words[how].text);
	bytes_u8(&b, 0);
	bytes_u8(out, how == DEATH_FATAL ? 'E' : 'N');
	bytes_u32(out, (uint32_t)(4 + b.n));
	bytes_add(out, b.p, b.n);
	bytes_free(&b);
}

/* ---- ends say and hear what is written as in a script ---- */

static bool written(struct end *e, bool says, const char *text)
{
	bool backend = (e->kind == END_SERVER) == says, ok;
	struct phrase *f = NULL;
	struct token *v;
	const char *why;
	char buf[200] = "";
	size_t n, n_f = 0;

	ok = tokens_split(text, &v, &n, &why) && phrases_parse(v, n, backend, &f, &n_f, buf, sizeof(buf));
	if (!ok)
		world_fail(e->w, "%s: %s", text, buf);
	ok = ok && (says ? end_says(e, f, n_f) : end_hears(e, f, n_f)) && !e->w->failed;
	phrases_free(f, n_f);
	tokens_free(v, n);
	return ok;
}

static bool __attribute__((format(printf, 2, 3))) says(struct end *e, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return written(e, true, text);
}

static bool __attribute__((format(printf, 2, 3))) hears(struct end *e, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return written(e, false, text);
}

static bool is_closed(struct end *e)
{
	if (!end_has_all(e->w, e))
		return false;
	if (e->stream != NULL)
		world_fail(e->w, "%s was to be closed by the pooler, but is open", e->name);
	return e->stream == NULL;
}

/* ---- how it dies ---- */

static size_t answer_build(struct step *s, struct end *e, struct bytes *b, size_t *bounds)
{
	for (size_t i = 0; i < s->n_phrases; i++) {
		if (s->phrases[i].kind != PHRASE_MARK && !phrase_build(&s->phrases[i], e, b))
			break;
		bounds[i] = b->n;
	}
	return b->n;
}

/* Every byte of an answer; within a long message those at its ends, and around where it may not be held any more. */
static void note_places(struct world *w, const size_t *bounds, size_t n, size_t all)
{
	enum { NEAR = 40 };
	size_t begin = 0;

	if (w->places != NULL)
		abort(); /* one step of a dialogue */
	w->places = calloc(all + 1, sizeof(*w->places));
	if (w->places == NULL)
		abort();
	for (size_t i = 0; i < n; i++) {
		for (size_t k = begin; k < bounds[i]; k++) {
			size_t payload = k - begin - WIRE_HEADER;

			if (k - begin < NEAR || bounds[i] - k < NEAR || (payload + 2) % WIRE_WHOLE < 4)
				w->places[w->n_places++] = (struct place){.lacks = all - k, .boundary = k == begin};
		}
		begin = bounds[i];
	}
	w->places[w->n_places++] = (struct place){.boundary = true};
}

static void die(struct loss *x, const char *answer, size_t n, const size_t *bounds, size_t n_bounds)
{
	const struct way *way = &x->w->way;
	struct bytes b = {0};
	const char *name;

	bytes_add(&b, answer, n);
	death_words(way->death, &b, &name);
	b.n -= way->mumbles;
	x->silent = b.n == n;
	snprintf(x->detail, sizeof(x->detail), "%s", way->mumbles > 0 ? "server conn crashed?" : name);
	while (n_bounds > 0 && bounds[n_bounds - 1] > n)
		n_bounds--;
	x->server->eof = way->at_once;
	world_send(x->server, b.p, b.n, bounds, n_bounds);
	if (way->death == DEATH_RESET)
		world_reset(x->server);
	else
		world_eof(x->server);
	bytes_free(&b);
}

/* ---- what the client is to have of it ---- */

static bool loss_mark(struct loss *x, const struct phrase *f)
{
	size_t n = f->n_args;

	if (f->type != 'l') {
		x->hidden = f->type == 'h';
		return true;
	}
	x->client = n > 0 ? world_end_by_name(x->w, f->arg[0].s) : NULL;
	if (x->client == NULL)
		world_fail(x->w, "lost: no such client");
	x->back[0] = '\0';
	if (n > 1 && strchr(f->arg[n - 1].s, '=') != NULL) {
		const char *pair = f->arg[--n].s;
		size_t k = strcspn(pair, "=");

		snprintf(x->back, sizeof(x->back), "| S %.*s \"%s\"", (int)k, pair, pair + k + 1);
	}
	x->v = f->arg + 1;
	x->n = n > 0 ? n - 1 : 0;
	return x->client != NULL;
}

/* One that closes the client is due as long as it has the server: of a session, always. */
static bool loss_closes(const struct loss *x)
{
	return x->n > 0 && (strcmp(x->v[0].s, "57P01") == 0 || (strcmp(x->v[0].s, "08P01") == 0 && x->n == 1));
}

/* Users can raise what a server says of its end. Nothing comes behind this one: so it is that. */
static bool loss_announced(struct loss *x, const struct phrase *f)
{
	struct msg m = {.type = f->type, .payload = f->payload.p, .len = (uint32_t)f->payload.n};
	struct error_fields e;

	if (f->type != 'N')
		return false;
	m.have = m.len;
	wire_error_fields(&m, &e);
	if (strcmp(e.severity, "WARNING") != 0 || (strcmp(e.code, "57P01") != 0 && strcmp(e.code, "57P02") != 0))
		return false;
	snprintf(x->detail, sizeof(x->detail), "%s %s: %s", e.severity, e.code, e.message);
	return true;
}

/* The server has said this, whole. */
static bool loss_said(struct loss *x, const struct phrase *f)
{
	if (x->hidden)
		return true;
	x->errored = x->errored || f->type == 'E';
	x->copies = x->copies || f->type == 'G';
	if (f->type == 'Z') {
		x->status = f->payload.p[0];
		x->errored = false;
		if (x->n >= 2 && !loss_closes(x)) {
			x->v += 2;
			x->n -= 2;
		} else if (x->status == 'I' && x->n > 0 && strcmp(x->v[0].s, "08P01") == 0) {
			x->n = 0;
		}
	}
	return end_hears(x->client, f, 1);
}

/* Of what was sent the client has what is for it, message for message. */
static bool loss_read(struct loss *x, struct step *s, const struct bytes *b, const size_t *bounds, size_t sent)
{
	size_t begin = 0;

	for (size_t i = 0; i < s->n_phrases; begin = bounds[i++]) {
		const struct phrase *f = &s->phrases[i];

		if (bounds[i] > sent) {
			x->torn = sent > begin && !x->hidden ? f : NULL;
			x->piece = b->p + begin;
			x->piece_len = sent - begin;
			return true;
		}
		if (f->kind != PHRASE_MARK && bounds[i] == sent && x->silent && loss_announced(x, f))
			return true;
		if (!(f->kind == PHRASE_MARK ? loss_mark(x, f) : loss_said(x, f)))
			return false;
	}
	return true;
}

/* Has the client had the beginning of the message that was cut? Only of a long one; nothing can be said to it then. */
static bool loss_is_torn(const struct loss *x)
{
	return x->torn != NULL && x->torn->payload.n > WIRE_WHOLE && x->piece_len >= WIRE_HEADER + WIRE_WHOLE;
}

static bool loss_torn(struct loss *x)
{
	struct phrase piece = {.kind = PHRASE_RAW, .payload = {.p = (char *)(uintptr_t)x->piece, .n = x->piece_len}};

	return end_hears(x->client, &piece, 1) && is_closed(x->client);
}

/* Of server_lost = close the server's own words go by. */
static bool loss_fatal(struct loss *x)
{
	const struct way *way = &x->w->way;
	struct end *a = x->client;
	bool own = strcmp(x->v[0].s, "08P01") == 0 && way->death >= DEATH_FATAL && !way->mumbles, ok;

	if (own && way->death == DEATH_FATAL)
		ok = hears(a, "E *");
	else
		ok = (!own || hears(a, "N *")) && hears(a, "psb FATAL %s ?", x->v[0].s);
	return ok && is_closed(a);
}

/* Each request that was not answered has its error and its ReadyForQuery. */
static bool loss_told(struct loss *x)
{
	for (; x->n >= 2; x->n -= 2, x->v += 2) {
		x->status = x->v[1].s[0];
		if (!x->errored && !hears(x->client, "psb ERROR %s ? D \"%s\"", x->v[0].s, x->detail))
			return false;
		if (!hears(x->client, "%s%sZ %c", x->back[0] != '\0' ? x->back + 2 : "",
			    x->back[0] != '\0' ? " | " : "", x->status))
			return false;
		x->errored = false;
		x->back[0] = '\0';
	}
	return end_has_all(x->w, x->client);
}

/* ---- how life goes on ---- */

static bool nothing_is_linked(struct world *w)
{
	struct pool *p;

	TAILQ_FOREACH (p, &w->pooler.registry.pools, all)
		if (p->n[SLOT_BUSY] > 0 || p->linked > 0 || p->waiting > 0)
			world_fail(w, "pool %s/%s: %u servers at work, %u clients linked, %u waiting", p->db->name,
				p->user->name, p->n[SLOT_BUSY], p->linked, p->waiting);
	return !w->failed;
}

static bool is_served(struct end *a)
{
	struct end *e;

	if (!says(a, "Q \"select 'next'\""))
		return false;
	TAILQ_FOREACH_REVERSE (e, &a->w->ends, end_list, all)
		if (e->kind == END_SERVER && e->stream != NULL && e->rx.n > e->rx_pos)
			break;
	if (e == NULL) {
		world_fail(a->w, "no server was asked for %s", a->name);
		return false;
	}
	return hears(e, "Q \"select 'next'\"") && end_has_all(a->w, e) &&
	       says(e, "T x | D \"1\" | C \"SELECT 1\" | Z I") && hears(a, "T x | D \"1\" | C \"SELECT 1\" | Z I") &&
	       end_has_all(a->w, a);
}

/* It ends what is left of its transaction, and asks for something else. */
static bool client_goes_on(struct loss *x)
{
	struct end *a = x->client;

	if (x->copies && !(says(a, "d \"late\" | c") && end_has_all(x->w, a)))
		return false;
	if (x->status == 'T') {
		if (!says(a, "Q select") || !hears(a, "psb ERROR 08006 ? D \"%s\" %s | Z E", x->detail, x->back))
			return false;
	} else if (x->status == 'E') {
		if (!says(a, "Q select") || !hears(a, "psb ERROR 25P02 ? | Z E"))
			return false;
	}
	if (x->status != 'I' && !(says(a, "Q rollback") && hears(a, "C ROLLBACK | Z I")))
		return false;
	return end_has_all(x->w, a) && is_served(a) && nothing_is_linked(x->w);
}

static bool another_is_served(struct world *w)
{
	struct end *e = world_connect(w, "another", false);

	return says(e, "startup user=u database=d") && hears(e, "welcome") && is_served(e);
}

/* What became of its client, and of others. The steps that follow are for where its request is run again. */
static bool loss_judge(struct loss *x)
{
	bool ok;

	if (x->client == NULL) {
		world_fail(x->w, "an answer begins with what losing it means");
		return false;
	}
	x->w->over = true;
	if (loss_is_torn(x))
		ok = loss_torn(x);
	else if (loss_closes(x))
		ok = loss_fatal(x);
	else if (x->n == 1)
		return end_has_all(x->w, x->client) && !(x->w->over = false);
	else
		ok = loss_told(x) && nothing_is_linked(x->w) && client_goes_on(x);
	return ok && nothing_is_linked(x->w) && another_is_served(x->w);
}

/* dies lost CLIENT ... | MESSAGES | ...: the answer, in which `lost` says what losing the rest of it means. */
bool run_dies(struct step *s, struct world *w, struct end *e)
{
	size_t *bounds = calloc(s->n_phrases, sizeof(*bounds)), all, sent;
	struct loss x = {.w = w, .server = e};
	struct bytes b = {0};
	bool ok;

	if (bounds == NULL)
		abort();
	all = answer_build(s, e, &b, bounds);
	sent = all - w->way.lacks;
	note_places(w, bounds, s->n_phrases, all);
	die(&x, b.p, sent, bounds, s->n_phrases);
	ok = !w->failed && is_closed(e) && loss_read(&x, s, &b, bounds, sent) && loss_judge(&x);
	free(bounds);
	bytes_free(&b);
	return ok;
}
