/*
 * steps_world: verbs that have no end: the clock, how servers behave, what the
 * console does to pools, counters and the log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/timer.h"
#include "conf/config.h"
#include "conn/pooler.h"
#include "dialog/script_priv.h"
#include "pool/pool.h"
#include "pool/registry.h"

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

bool run_clock(struct step *s, struct world *w, struct end *e)
{
	(void)e;
	if (s->n < 1)
		return false;
	world_clock(w, span(s->v[0].s));
	return true;
}

/* The words from the second on are name=value, or !name: one that is left out has the value "!". */
static bool take_pairs(const struct step *s, struct bytes *out)
{
	bytes_free(out);
	for (size_t i = 1; i < s->n; i++) {
		const struct token *t = &s->v[i];
		char *eq = memchr(t->s, '=', t->n);

		if (eq == NULL && t->s[0] != '!')
			return false;
		bytes_add(out, t->s + (eq == NULL), eq != NULL ? (size_t)(eq - t->s) : t->n - 1);
		bytes_u8(out, 0);
		bytes_str(out, eq != NULL ? eq + 1 : "!");
	}
	return true;
}

/* server login auto|manual; server params|names name=value... !name...; server connect accept|refuse|hang|exhausted [HOST] */
bool run_server(struct step *s, struct world *w, struct end *e)
{
	static const char *const policies[] = {"accept", "refuse", "hang", "exhausted"};
	static const enum fuzz_switch switches[] = {FUZZ_ACCEPT, FUZZ_REFUSE, FUZZ_HANG, FUZZ_EXHAUSTED};
	const char *what = s->n > 0 ? s->v[0].s : "", *how = s->n > 1 ? s->v[1].s : "";

	(void)e;
	if (strcmp(what, "login") == 0) {
		w->manual = strcmp(how, "manual") == 0;
		world_record(w, FUZZ_SWITCH, w->manual ? FUZZ_MANUAL : FUZZ_AUTO, NULL, 0);
		return true;
	}
	if (strcmp(what, "connect") == 0) {
		for (int i = 0; i < 4; i++)
			if (strcmp(how, policies[i]) == 0) {
				w->policy = (enum connect_policy)i;
				snprintf(w->policy_host, sizeof(w->policy_host), "%s", s->n > 2 ? s->v[2].s : "");
				world_record(w, FUZZ_SWITCH, switches[i], NULL, 0);
				return true;
			}
	}
	if (strcmp(what, "params") == 0)
		return take_pairs(s, &w->params);
	if (strcmp(what, "names") == 0)
		return take_pairs(s, &w->names);
	world_fail(w, "server: login, params, names or connect");
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
bool run_pool(struct step *s, struct world *w, struct end *e)
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
bool run_counters(struct step *s, struct world *w, struct end *e)
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
bool run_stats(struct step *s, struct world *w, struct end *e)
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
bool run_pause(struct step *s, struct world *w, struct end *e)
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
bool run_disable(struct step *s, struct world *w, struct end *e)
{
	struct database *d = s->n > 0 ? registry_database(&w->pooler.registry, s->v[0].s) : NULL;

	(void)e;
	if (d == NULL)
		return false;
	d->disabled = strcmp(s->verb->name, "disable") == 0;
	return true;
}

bool run_shutdown(struct step *s, struct world *w, struct end *e)
{
	bool servers = s->n > 0 && strcmp(s->v[0].s, "servers") == 0;

	(void)e;
	w->pooler.shutdown = servers ? SHUTDOWN_WAIT_SERVERS : SHUTDOWN_WAIT_CLIENTS;
	world_settle(w);
	return true;
}

/* reload, with lines of a configuration up to end */
bool run_reload(struct step *s, struct world *w, struct end *e)
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

/* How many times is it in what was logged? */
static unsigned long count_logged(const struct world *w, const char *text)
{
	unsigned long n = 0;

	if (w->log.p != NULL && text[0] != '\0')
		for (const char *at = w->log.p; (at = strstr(at, text)) != NULL; at += strlen(text))
			n++;
	return n;
}

/* log "text" [N]: a line that was logged has it, or N have; nolog: none has */
bool run_log(struct step *s, struct world *w, struct end *e)
{
	bool want = strcmp(s->verb->name, "log") == 0, is;
	unsigned long n;

	(void)e;
	if (s->n < 1)
		return false;
	n = count_logged(w, s->v[0].s);
	is = s->n > 1 ? n == strtoul(s->v[1].s, NULL, 10) : n > 0;
	if (is != want && s->n > 1)
		world_fail(w, "the log has \"%s\" %lu times, not %s:\n%s", s->v[0].s, n, s->v[1].s,
			w->log.p != NULL ? w->log.p : "");
	else if (is != want)
		world_fail(w, "the log %s \"%s\":\n%s", want ? "does not have" : "has", s->v[0].s,
			w->log.p != NULL ? w->log.p : "");
	return is == want;
}
