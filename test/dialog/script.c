/*
 * script: reads files of dialogues and runs them, a step a line. The language
 * is in README; here is a table of its verbs, each with its function. A step
 * that fails says what was to come and what came.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/scram.h"
#include "base/err.h"
#include "base/timer.h"
#include "conf/config.h"
#include "conn/cancel.h"
#include "conn/client.h"
#include "conn/pooler.h"
#include "conn/server.h"
#include "dialog/dialog.h"
#include "pool/pool.h"
#include "pool/registry.h"

struct verb;

struct step {
	int line;
	const struct verb *verb;
	char *end; /* name, of the verbs that have one */
	struct token *v;
	size_t n;
	struct phrase *phrases;
	size_t n_phrases;
	struct recipe recipe; /* reload: and what was made of it */
	struct config *config;
};

struct verb {
	const char *name;
	enum verb_end {
		VERB_PLAIN, /* no end */
		VERB_END,   /* one that is there */
		VERB_NEW    /* it makes one */
	} has;
	bool (*run)(struct step *s, struct world *w, struct end *e);
};

/* ---- what was said and heard ---- */

static bool is_backend(const struct step *s)
{
	bool server = (s->end[0] == 's' || s->end[0] == 'c') && s->end[1] >= '0' && s->end[1] <= '9';

	return (strcmp(s->verb->name, ">") == 0) == server;
}

static bool step_mismatch(struct step *s, struct world *w, struct end *e, const struct phrase *f)
{
	struct bytes b = {0};
	bool backend = e->kind == END_CLIENT;

	bytes_printf(&b, "%s was to receive\n        ", e->name);
	phrase_print(&b, f);
	bytes_printf(&b, "\n    but has\n");
	messages_print(&b, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos, backend, e->kind != END_CLIENT && e->rx_pos == 0);
	if (e->stream == NULL)
		bytes_printf(&b, "    and is closed by the pooler\n");
	world_fail(w, "%s", b.p);
	bytes_free(&b);
	(void)s;
	return false;
}

static bool run_send(struct step *s, struct world *w, struct end *e)
{
	struct bytes b = {0};
	size_t *bounds = calloc(s->n_phrases + 1, sizeof(*bounds));
	bool ok = bounds != NULL;

	for (size_t i = 0; ok && i < s->n_phrases; i++) {
		ok = phrase_build(&s->phrases[i], e, &b);
		bounds[i] = b.n;
	}
	if (ok && e->eof) {
		world_fail(w, "%s has closed already", e->name);
		ok = false;
	}
	if (ok)
		world_send(e, b.p, b.n, bounds, s->n_phrases);
	free(bounds);
	bytes_free(&b);
	return ok;
}

/* A peer that takes its bytes slowly may lose the last words of a connection that is closed. */
static bool lost_the_rest(const struct world *w, const struct end *e)
{
	return w->way.blocks && e->stream == NULL;
}

static bool run_expect(struct step *s, struct world *w, struct end *e)
{
	for (size_t i = 0; i < s->n_phrases; i++) {
		size_t used = 0;
		enum match r = phrase_match(&s->phrases[i], e, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos, &used);

		if (r == MATCH_MORE && lost_the_rest(w, e)) {
			e->rx_pos = e->rx.n;
			return true;
		}
		if (r != MATCH_YES)
			return step_mismatch(s, w, e, &s->phrases[i]);
		e->rx_pos += used;
	}
	return true;
}

/* A connection that psbouncer closes may say goodbye to its server; where it must, the script says so. */
static bool has_goodbye(const struct end *e)
{
	size_t n = e->rx.n - e->rx_pos;

	return e->kind == END_SERVER && e->stream == NULL && (n == 5 || (n < 5 && e->w->way.blocks)) &&
	       memcmp(e->rx.p + e->rx_pos, "X\0\0\0\4", n) == 0;
}

static bool end_has_all(struct world *w, struct end *e)
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
	size_t used = 0;
	bool ok;

	e = world_connect(w, s->end, false);
	phrase_build(&hello, e, &b);
	world_send(e, b.p, b.n, NULL, 0);
	bytes_free(&b);
	ok = phrase_match(&welcome, e, e->rx.p, e->rx.n, &used) == MATCH_YES;
	if (!ok)
		return step_mismatch(s, w, e, &welcome);
	e->rx_pos = used;
	return true;
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
	(void)s, (void)w;
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

/* ---- SCRAM, with the auth floor on the other side ---- */

/* The next message that e has, of this type, with this many bytes of payload in front of the data; NULL: there is none. */
static const char *scram_message(struct world *w, struct end *e, char type, size_t skip, size_t *n)
{
	const unsigned char *p = (const unsigned char *)e->rx.p + e->rx_pos;
	size_t have = e->rx.n - e->rx_pos, size;

	if (have < 5 || p[0] != type) {
		world_fail(w, "%s was to receive a SASL message %c", e->name, type);
		return NULL;
	}
	size = 1 + ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]);
	if (have < size || size < 5 + skip) {
		world_fail(w, "%s was to receive a whole SASL message %c", e->name, type);
		return NULL;
	}
	e->rx_pos += size;
	*n = size - 5 - skip;
	return (const char *)p + 5 + skip;
}

static void scram_send(struct end *e, char type, const void *head, size_t head_len, const char *data, size_t n)
{
	struct bytes b = {0};

	bytes_u8(&b, (unsigned char)type);
	bytes_u32(&b, (uint32_t)(4 + head_len + n));
	bytes_add(&b, head, head_len);
	bytes_add(&b, data, n);
	world_send(e, b.p, b.n, &b.n, 1);
	bytes_free(&b);
}

static bool scram_as_client(struct step *s, struct world *w, struct end *e, struct scram_client *c)
{
	bool wrong = s->n > 1 && strcmp(s->v[1].s, "wrong") == 0;
	const char *in, *mechanism, *out;
	struct bytes head = {0};
	size_t n, k;

	in = scram_message(w, e, 'R', 4, &n);
	if (in == NULL || scram_client_start(c, in, n, &mechanism, &out, &k) != SCRAM_OK)
		return false;
	bytes_str(&head, mechanism);
	bytes_u32(&head, (uint32_t)k);
	scram_send(e, 'p', head.p, head.n, out, k);
	bytes_free(&head);
	in = scram_message(w, e, 'R', 4, &n);
	if (in == NULL || scram_client_next(c, in, n, &out, &k) != SCRAM_OK)
		return false;
	if (wrong) {
		/* Another proof of the same length. */
		char proof[4096];

		if (k >= sizeof(proof) || k < 8)
			return false;
		memcpy(proof, out, k);
		proof[k - 5] = proof[k - 5] == 'A' ? 'B' : 'A';
		scram_send(e, 'p', "", 0, proof, k);
		return true;
	}
	scram_send(e, 'p', "", 0, out, k);
	in = scram_message(w, e, 'R', 4, &n);
	return in != NULL && scram_client_final(c, in, n) == SCRAM_OK && scram_client_is_done(c);
}

static bool scram_as_server(struct world *w, struct end *e, struct scram_server *c)
{
	static const char list[] = "\0\0\0\12SCRAM-SHA-256\0";
	const char *in, *out;
	size_t n, k;

	scram_send(e, 'R', list, sizeof(list), "", 0);
	in = scram_message(w, e, 'p', sizeof(SCRAM_NAME) + 4, &n);
	if (in == NULL || scram_server_start(c, SCRAM_NAME, in, n, &out, &k) != SCRAM_OK)
		return false;
	scram_send(e, 'R', "\0\0\0\13", 4, out, k);
	in = scram_message(w, e, 'p', 0, &n);
	if (in == NULL || scram_server_next(c, in, n, &out, &k) != SCRAM_OK || !scram_server_is_done(c))
		return false;
	scram_send(e, 'R', "\0\0\0\14", 4, out, k);
	return true;
}

/* scram SECRET [wrong]: a whole exchange from this end */
static bool run_scram(struct step *s, struct world *w, struct end *e)
{
	static const struct scram_binding none;
	struct scram_verifier v;
	bool ok = false;

	if (s->n > 0 && e->kind == END_CLIENT) {
		struct scram_client *c = scram_client_new(s->v[0].s, NULL, &none);

		ok = c != NULL && scram_as_client(s, w, e, c);
		if (!ok && c != NULL)
			world_fail(w, "%s: %s", e->name, scram_client_error(c));
		scram_client_free(&c);
	} else if (s->n > 0 && scram_verifier_of(s->v[0].s, NULL, &v)) {
		struct scram_server *c = scram_server_new(&v, &none);

		ok = scram_as_server(w, e, c);
		if (!ok)
			world_fail(w, "%s: %s", e->name, scram_server_error(c));
		scram_server_free(&c);
	}
	return ok;
}

/* ---- the world ---- */

/* "5s", "300ms", "2min", a number of seconds: microseconds. */
static int64_t span(const char *text)
{
	char *unit;
	double v = strtod(text + (*text == '+'), &unit);

	if (strcmp(unit, "ms") == 0)
		return (int64_t)(v * 1e3);
	if (strcmp(unit, "us") == 0)
		return (int64_t)v;
	return (int64_t)(v * (strcmp(unit, "min") == 0 ? 60e6 : strcmp(unit, "h") == 0 ? 3600e6 : 1e6));
}

static bool run_clock(struct step *s, struct world *w, struct end *e)
{
	(void)e;
	if (s->n < 1)
		return false;
	world_clock(w, span(s->v[0].s));
	return true;
}

/* server login auto|manual; server params name=value...; server connect accept|refuse|hang [HOST] */
static bool run_server(struct step *s, struct world *w, struct end *e)
{
	static const char *const policies[] = {"accept", "refuse", "hang"};
	const char *what = s->n > 0 ? s->v[0].s : "", *how = s->n > 1 ? s->v[1].s : "";

	(void)e;
	if (strcmp(what, "login") == 0) {
		w->manual = strcmp(how, "manual") == 0;
		world_record(w, FUZZ_SWITCH, w->manual ? FUZZ_MANUAL : FUZZ_AUTO, NULL, 0);
		return true;
	}
	if (strcmp(what, "connect") == 0) {
		for (int i = 0; i < 3; i++)
			if (strcmp(how, policies[i]) == 0) {
				w->policy = (enum connect_policy)i;
				snprintf(w->policy_host, sizeof(w->policy_host), "%s", s->n > 2 ? s->v[2].s : "");
				world_record(w, FUZZ_SWITCH, FUZZ_ACCEPT + (unsigned)i, NULL, 0);
				return true;
			}
	}
	if (strcmp(what, "params") == 0) {
		bytes_free(&w->params);
		for (size_t i = 1; i < s->n; i++) {
			char *eq = memchr(s->v[i].s, '=', s->v[i].n);

			if (eq == NULL)
				return false;
			bytes_add(&w->params, s->v[i].s, (size_t)(eq - s->v[i].s));
			bytes_u8(&w->params, 0);
			bytes_str(&w->params, eq + 1);
		}
		return true;
	}
	world_fail(w, "server: login, params or connect");
	return false;
}

static struct pool *pool_named(struct world *w, const char *name)
{
	struct pool *p;
	char text[256];

	TAILQ_FOREACH (p, &w->pooler.registry.pools, all) {
		snprintf(text, sizeof(text), "%s/%s", p->db->name, p->user->name);
		if (strcmp(text, name) == 0)
			return p;
	}
	return NULL;
}

/* Compares "name=number" with what value() says of it; -1 from there: no such name. */
static bool check_numbers(struct step *s, size_t from, struct world *w, int64_t (*value)(const char *name, void *of),
	void *of)
{
	bool ok = true;
	struct bytes b = {0};

	for (size_t i = from; i < s->n; i++) {
		char name[64];
		char *eq = strchr(s->v[i].s, '=');
		int64_t want, is;

		if (eq == NULL) {
			world_fail(w, "name=number is wanted, not %s", s->v[i].s);
			return false;
		}
		snprintf(name, sizeof(name), "%.*s", (int)(eq - s->v[i].s), s->v[i].s);
		want = strtoll(eq + 1, NULL, 0);
		is = value(name, of);
		if (is != want) {
			bytes_printf(&b, " %s is %lld and was to be %lld;", name, (long long)is, (long long)want);
			ok = false;
		}
	}
	if (!ok)
		world_fail(w, "%s:%s", s->v[0].s, b.p);
	bytes_free(&b);
	return ok;
}

static int64_t pool_number(const char *name, void *of)
{
	const struct pool *p = of;
	const struct {
		const char *name;
		unsigned v;
	} of_pool[] = {{"sv_login", p->n[SLOT_SETUP]}, {"sv_idle", p->n[SLOT_IDLE]}, {"sv_tested", p->n[SLOT_TESTED]},
		{"sv_active", p->n[SLOT_BUSY]}, {"cl_waiting", p->waiting}, {"cl_active", p->linked},
		{"clients", p->clients}, {"reserved", p->reserved}, {"ramp", p->ramp}};

	for (size_t i = 0; i < sizeof(of_pool) / sizeof(of_pool[0]); i++)
		if (strcmp(of_pool[i].name, name) == 0)
			return of_pool[i].v;
	return -1;
}

/* pool DB/USER name=number... */
static bool run_pool(struct step *s, struct world *w, struct end *e)
{
	struct pool *p = s->n > 0 ? pool_named(w, s->v[0].s) : NULL;

	(void)e;
	if (p == NULL) {
		world_fail(w, "there is no pool %s", s->n > 0 ? s->v[0].s : "");
		return false;
	}
	return check_numbers(s, 1, w, pool_number, p);
}

static int64_t world_number(const char *name, void *of)
{
	struct world *w = of;
	int64_t cancels = 0;
	struct end *e;

	TAILQ_FOREACH (e, &w->ends, all)
		cancels += e->kind == END_CANCEL && e->stream != NULL;
	if (strcmp(name, "clients") == 0)
		return w->pooler.n_clients;
	if (strcmp(name, "servers") == 0)
		return w->pooler.n_servers;
	if (strcmp(name, "logins") == 0)
		return w->pooler.n_logins;
	if (strcmp(name, "keys") == 0)
		return (int64_t)w->pooler.keys.count;
	if (strcmp(name, "cancels") == 0)
		return cancels;
	if (strcmp(name, "max_client_conn") == 0)
		return w->pooler.registry.clients;
	return -1;
}

/* counters name=number... */
static bool run_counters(struct step *s, struct world *w, struct end *e)
{
	(void)e;
	return check_numbers(s, 0, w, world_number, w);
}

static int64_t stats_number(const char *name, void *of)
{
	const struct counters *c = of;
	const struct {
		const char *name;
		uint64_t v;
	} all[] = {
#define COUNTER(field, stats_name, avg, total, per) {#field, c->field},
#include "tbl/counters.h"
#undef COUNTER
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].name, name) == 0)
			return (int64_t)all[i].v;
	return -1;
}

/* stats DB name=number... */
static bool run_stats(struct step *s, struct world *w, struct end *e)
{
	struct database *d = s->n > 0 ? registry_database_find(&w->pooler.registry, s->v[0].s) : NULL;

	(void)e;
	if (d == NULL) {
		world_fail(w, "no such database runs");
		return false;
	}
	return check_numbers(s, 1, w, stats_number, &d->stats.now);
}

static void mark_all(struct world *w)
{
	struct pool *p;

	TAILQ_FOREACH (p, &w->pooler.registry.pools, all)
		pool_mark(p);
	world_settle(w);
}

/* pause | resume | reconnect: what the console's commands do to the pools */
static bool run_pause(struct step *s, struct world *w, struct end *e)
{
	struct registry *r = &w->pooler.registry;
	struct pool *p;

	(void)e;
	if (strcmp(s->verb->name, "reconnect") == 0) {
		TAILQ_FOREACH (p, &r->pools, all)
			pool_retire(p);
	} else {
		r->paused = strcmp(s->verb->name, "pause") == 0;
		if (r->paused)
			TAILQ_FOREACH (p, &r->pools, all)
				pool_close_idle(p, POOL_CLOSE_PAUSED);
	}
	mark_all(w);
	return true;
}

/* disable | enable DB */
static bool run_disable(struct step *s, struct world *w, struct end *e)
{
	struct database *d = s->n > 0 ? registry_database(&w->pooler.registry, s->v[0].s) : NULL;

	(void)e;
	if (d == NULL)
		return false;
	d->disabled = strcmp(s->verb->name, "disable") == 0;
	return true;
}

static bool run_shutdown(struct step *s, struct world *w, struct end *e)
{
	bool servers = s->n > 0 && strcmp(s->v[0].s, "servers") == 0;

	(void)e;
	w->pooler.shutdown = servers ? SHUTDOWN_WAIT_SERVERS : SHUTDOWN_WAIT_CLIENTS;
	world_settle(w);
	return true;
}

/* reload, with lines of a configuration up to end */
static bool run_reload(struct step *s, struct world *w, struct end *e)
{
	struct errs errs = {0};
	bool ok = pooler_configure(&w->pooler, s->config, &errs);

	(void)e;
	if (!ok)
		world_fail(w, "reload: %s", errs.n > 0 ? errs.v[0].text : "?");
	errs_free(&errs);
	world_settle(w);
	return ok;
}

/* log "text": a line that was logged has it; nolog: none has */
static bool run_log(struct step *s, struct world *w, struct end *e)
{
	bool want = strcmp(s->verb->name, "log") == 0, is;

	(void)e;
	if (s->n < 1)
		return false;
	is = w->log.p != NULL && strstr(w->log.p, s->v[0].s) != NULL;
	if (is != want)
		world_fail(w, "the log %s \"%s\":\n%s", want ? "does not have" : "has", s->v[0].s,
			w->log.p != NULL ? w->log.p : "");
	return is == want;
}

static const struct verb verbs[] = {
	{">", VERB_END, run_send},
	{"<", VERB_END, run_expect},
	{"nothing", VERB_END, run_nothing},
	{"closed", VERB_END, run_closed},
	{"alive", VERB_END, run_alive},
	{"open", VERB_NEW, run_open},
	{"connect", VERB_NEW, run_connect},
	{"cancel", VERB_NEW, run_cancel},
	{"eof", VERB_END, run_eof},
	{"reset", VERB_END, run_reset},
	{"stall", VERB_END, run_stall},
	{"take", VERB_END, run_stall},
	{"login", VERB_END, run_login},
	{"key", VERB_END, run_key},
	{"scram", VERB_END, run_scram},
	{"clock", VERB_PLAIN, run_clock},
	{"server", VERB_PLAIN, run_server},
	{"pool", VERB_PLAIN, run_pool},
	{"counters", VERB_PLAIN, run_counters},
	{"stats", VERB_PLAIN, run_stats},
	{"pause", VERB_PLAIN, run_pause},
	{"resume", VERB_PLAIN, run_pause},
	{"reconnect", VERB_PLAIN, run_pause},
	{"disable", VERB_PLAIN, run_disable},
	{"enable", VERB_PLAIN, run_disable},
	{"shutdown", VERB_PLAIN, run_shutdown},
	{"reload", VERB_PLAIN, run_reload},
	{"log", VERB_PLAIN, run_log},
	{"nolog", VERB_PLAIN, run_log},
};

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

static const struct verb *verb_find(const char *name, bool plain)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, name) == 0 && (verbs[i].has == VERB_PLAIN) == plain)
			return &verbs[i];
	return NULL;
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
	if ((s->verb->run == run_send || s->verb->run == run_expect) &&
		!phrases_parse(s->v, s->n, is_backend(s), &s->phrases, &s->n_phrases, why, sizeof(why)))
		reader_fail(r, why);
	if (s->verb->run == run_reload)
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

		if (s->verb->run != run_reload)
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
