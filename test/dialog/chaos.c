/*
 * chaos: random sessions over a world, against what a session of its own would
 * have said to each client.
 *
 *     chaos [-v] [-n RUNS] [-s SEED]
 *
 * Clients send requests of many shapes in random pieces, pipeline, cancel, change
 * their time zone, leave in every way and come again; servers (model.h) answer
 * late and in pieces, some die; pools are paused and replaced. Each client must
 * get the answers of a PostgreSQL session that it has alone, message for message;
 * no statement may run twice; what stood before a Terminate must run; and nothing
 * may be left at the end. A failure names the seed: -v -s SEED shows the run.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/config.h"
#include "dialog/chaos_priv.h"
#include "pool/pool.h"
#include "pool/registry.h"

static volatile uint64_t now_seed;

unsigned pick(struct chaos *c, unsigned n)
{
	c->seed ^= c->seed << 13;
	c->seed ^= c->seed >> 7;
	c->seed ^= c->seed << 17;
	return (unsigned)((c->seed >> 11) % n);
}

void say(struct chaos *c, const char *fmt, ...)
{
	va_list ap;

	if (!c->trace)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void say_bytes(struct chaos *c, const struct end *e, const char *verb, const char *p, size_t n)
{
	struct bytes b = {0};

	if (!c->trace)
		return;
	bytes_print(&b, p, n);
	say(c, "%s %s %s", e->name, verb, b.p);
	bytes_free(&b);
}

/* ---- a run ---- */

static void act_on_player(struct chaos *c, struct player *p)
{
	unsigned r = pick(c, 20);

	if (p->e == NULL) {
		player_connects(c, p);
	} else if (r == 0) {
		player_leaves(c, p);
	} else if (p->sleeps && r < 10) {
		player_cancels(c, p);
	} else if (r == 1) {
		p->e->stalled = !p->e->stalled;
		world_settle(&c->w);
	} else if (r < 8 && p->logged_in && !p->barrier) {
		player_asks(c, p);
	} else {
		player_sends(c, p, false);
	}
}

static void act_on_host(struct chaos *c, struct host *h)
{
	unsigned r = pick(c, 40);

	if (r == 0 && c->deaths) {
		host_dies(c, h);
	} else if (r == 1) {
		h->e->stalled = !h->e->stalled;
		world_settle(&c->w);
	} else if (r < 4 && h->m.work == MODEL_NAPS) {
		model_wake(&h->m, false);
	} else if (r < 20) {
		host_hears(c, h);
	} else {
		host_answers(c, h, false);
	}
}

static void act_on_world(struct chaos *c)
{
	struct registry *r = &c->w.pooler.registry;
	struct pool *p;

	switch (pick(c, 12)) {
	case 0:
		say(c, "reconnect");
		TAILQ_FOREACH (p, &r->pools, all)
			pool_retire(p);
		break;
	case 1:
		r->paused = !r->paused;
		say(c, r->paused ? "pause" : "resume");
		break;
	case 2:
	case 3: world_clock(&c->w, (int64_t)pick(c, 3000) * 1000); break;
	default: cancels_go_on(c, false); return;
	}
	TAILQ_FOREACH (p, &r->pools, all)
		pool_mark(p);
	world_settle(&c->w);
}

static void step(struct chaos *c)
{
	unsigned r = pick(c, 10);

	hosts_meet(c);
	if (r < 5)
		act_on_player(c, &c->players[pick(c, PLAYERS)]);
	else if (r < 9 && c->n_hosts > 0)
		act_on_host(c, &c->hosts[c->n_hosts - 1 - pick(c, c->n_hosts < 8 ? (unsigned)c->n_hosts : 8)]);
	else
		act_on_world(c);
	hosts_meet(c);
	for (size_t i = 0; i < PLAYERS && !c->w.failed; i++)
		player_compares(c, &c->players[i]);
}

/* Everybody does all that is to be done, until nobody has anything left. */
static void come_to_rest(struct chaos *c)
{
	struct end *e;
	bool busy = true;

	c->w.pooler.registry.paused = false;
	c->w.way.blocks = false;
	TAILQ_FOREACH (e, &c->w.ends, all)
		e->stalled = false;
	for (int i = 0; i < 2000 && busy && !c->w.failed; i++) {
		struct pool *p;

		busy = false;
		TAILQ_FOREACH (p, &c->w.pooler.registry.pools, all)
			pool_mark(p);
		world_settle(&c->w);
		hosts_meet(c);
		for (size_t k = 0; k < c->n_hosts; k++) {
			struct host *h = &c->hosts[k];

			busy = host_hears(c, h) || busy;
			/* A cancel for a client that left may have been there before its query: that sleeps on. */
			if (h->m.work == MODEL_NAPS || (h->m.work == MODEL_SLEEPS && i > 1000)) {
				model_wake(&h->m, false);
				busy = true;
			}
			busy = host_answers(c, h, true) || h->m.work != MODEL_READY || busy;
		}
		busy = cancels_go_on(c, true) || busy;
		for (size_t k = 0; k < PLAYERS && !c->w.failed; k++) {
			struct player *q = &c->players[k];

			busy = player_finishes(c, q) || busy;
			busy = player_sends(c, q, true) || busy;
			player_compares(c, q);
			if (q->e != NULL && q->sleeps) {
				player_cancels(c, q);
				busy = true;
			}
		}
	}
}

static void all_must_be_answered(struct chaos *c)
{
	for (size_t i = 0; i < PLAYERS && !c->w.failed; i++) {
		struct player *p = &c->players[i];

		if (p->e != NULL && p->loose && !p->copies && (p->ready < p->least || p->status != 'I'))
			player_differs(c, p);
		if (p->e != NULL && !p->loose && (!p->logged_in || p->want_pos < p->want.out.n))
			player_differs(c, p);
		for (size_t k = 0; p->e != NULL && k < p->n_serials; k++)
			c->must[p->serials[k]] = true;
	}
}

static bool chaos_run(struct chaos *c, struct config *config, uint64_t seed)
{
	struct way way = {.name = "chaos", .cut = -1};
	bool ok;

	c->seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	now_seed = seed;
	if (pick(c, 2))
		way.read = 1 + pick(c, 50);
	if (pick(c, 2)) {
		way.write = 1 + pick(c, 50);
		way.blocks = pick(c, 2);
	}
	world_begin(&c->w, config, &way);
	c->w.trace = c->trace;
	for (int i = 0; i < STEPS && !c->w.failed; i++)
		step(c);
	come_to_rest(c);
	all_must_be_answered(c);
	for (size_t i = 0; i < PLAYERS; i++)
		if (c->players[i].e != NULL) {
			world_eof(c->players[i].e);
			player_forget(&c->players[i]);
		}
	come_to_rest(c);
	for (int i = 1; i <= c->serial && c->died == 0; i++)
		if (c->must[i] && c->ran[i] == 0)
			world_fail(&c->w, "statement #%d was said and did not run", i);
	ok = world_end(&c->w);
	if (!ok)
		printf("# seed %llu: %s\n", (unsigned long long)seed, c->w.failure.p);
	world_free(&c->w);
	for (size_t i = 0; i < c->n_hosts; i++)
		model_free(&c->hosts[i].m);
	for (size_t i = 0; i < PLAYERS; i++)
		player_forget(&c->players[i]);
	return ok;
}

static void on_abort(int sig)
{
	char text[100];
	int n = snprintf(text, sizeof(text), "# died with seed %llu\n", (unsigned long long)now_seed);

	if (n > 0 && write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(1);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* One kind of world: the low bits of a seed. */
enum { KINDS = 8, REFUSING = 4 };

static struct config *kind_config(unsigned kind, const char *dir)
{
	struct recipe r = {0};
	struct config *c;

	bytes_printf(&r.set, "pool_mode = %s\ndefault_pool_size = %d\n", kind & 1 ? "session" : "transaction",
		kind & 1   ? PLAYERS
		: kind & 2 ? 3
			   : 1);
	bytes_printf(&r.set, "server_reset_query = %s\n", kind & 1 && kind & 2 ? "" : "DISCARD ALL");
	bytes_printf(&r.set, "server_reset_query_always = %d\n", kind == 6);
	bytes_printf(&r.set, "max_prepared_statements = %d\n", kind == REFUSING ? 0 : 3);
	bytes_printf(&r.set, "defer_begin = %d\n", kind != 2);
	if (kind == 2)
		bytes_printf(&r.set, "min_pool_size = 2\nreserve_pool_size = 1\nreserve_pool_timeout = 1\n");
	bytes_printf(&r.set, "query_wait_timeout = 0\nquery_wait_notify = 0\nserver_connect_timeout = 100000\n"
			     "client_login_timeout = 0\nserver_login_retry = 1\nserver_check_delay = 5\n"
			     "server_lifetime = 40\nserver_idle_timeout = 20\n");
	c = recipe_load(&r, dir, "chaos");
	recipe_free(&r);
	return c;
}

int main(int argc, char **argv)
{
	static const char *const names[KINDS] = {"transaction mode, one server", "session mode",
		"transaction mode, three servers", "session mode without a reset",
		"transaction mode, one server, which dies", "session mode, servers die",
		"transaction mode, three servers, which die", "session mode without a reset, servers die"};
	unsigned long runs = 150, only = 0;
	char dir[] = "/tmp/chaos-XXXXXX";
	bool trace = false, one = false;
	int o, failed = 0;

	while ((o = getopt(argc, argv, "vn:s:")) != -1) {
		if (o == '?')
			return 2;
		trace = trace || o == 'v';
		if (o == 'n')
			runs = strtoul(optarg, NULL, 0);
		if (o == 's') {
			only = strtoul(optarg, NULL, 0);
			one = true;
		}
	}
	signal(SIGABRT, on_abort);
	if (mkdtemp(dir) == NULL)
		return 1;
	for (unsigned kind = 0; kind < KINDS; kind++) {
		struct config *config = kind_config(kind, dir);
		bool ok = config != NULL;

		for (unsigned long i = 0; i < (one ? 1 : runs) && ok; i++) {
			uint64_t seed = one ? only : i * KINDS + kind;
			struct chaos *c;

			if (seed % KINDS != kind)
				continue;
			c = calloc(1, sizeof(*c));
			if (c == NULL)
				return 1;
			c->trace = trace;
			c->session = kind & 1;
			c->names = !(kind & 1) || !(kind & 2);
			c->refuses_names = kind == REFUSING;
			c->deaths = kind >= 4;
			ok = chaos_run(c, config, seed);
			free(c);
		}
		printf("%sok %u - %s\n", ok ? "" : "not ", kind + 1, names[kind]);
		fflush(stdout);
		failed += !ok;
		config_unref(&config);
	}
	rmdir(dir);
	printf("1..%d\n", KINDS);
	return failed > 0;
}
