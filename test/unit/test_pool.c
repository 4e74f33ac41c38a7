/*
 * pool: the policy with fake connections and a held clock. Scripts say what
 * clients and servers do and what the pool is expected to do about it; then
 * random histories over several configurations, with what must always hold
 * looked at after every step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/timer.h"
#include "conf/config.h"
#include "pool/endpoint.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "pool/vars.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

enum { MAX_SERVERS = 40000, MAX_CLIENTS = 64 };

struct fake_server {
	struct slot slot;
	struct vars *vars;
	int number;
	bool open;
};

struct fake_client {
	struct ask ask;
	struct fake_server *server;
	struct vars *vars;
	struct database *db;
	struct user *user;
	bool greeted, failed;
};

struct rig {
	struct registry r;
	struct timers timers;
	struct fake_server *servers[MAX_SERVERS + 1]; /* by number, from 1 */
	int n_servers;
	struct fake_client clients[MAX_CLIENTS]; /* c0, c1 ... */
	char log[65536];
	size_t len;
	bool launch_fails, launch_idles; /* at once, from inside launch; or launch does nothing */
	struct {
		const struct pool *pool;
		uint64_t number;
	} granted[MAX_CLIENTS * 4]; /* in the pools_run() that runs */
	int n_granted;
};

static void note(struct rig *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct rig *g, const char *fmt, ...)
{
	va_list ap;

	if (g->len > sizeof g->log - 64)
		return;
	if (g->len > 0)
		g->log[g->len++] = ' ';
	va_start(ap, fmt);
	g->len += (size_t)vsnprintf(g->log + g->len, 32, fmt, ap);
	va_end(ap);
}

/* ---- configurations ---- */

static struct config *config_of(const char *text)
{
	char path[] = "/tmp/psb-pool-XXXXXX", buf[300];
	int fd = mkstemp(path);
	struct errs errs = {0};
	struct config *c;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	c = config_load(path, &errs);
	unlink(path);
	for (size_t i = 0; i < errs.n; i++)
		print_message("# %s\n", errs_format(&errs, i, buf, sizeof buf));
	errs_free(&errs);
	assert_non_null(c);
	return c;
}

/* ---- the fake side of pool_ops ---- */

static int client_number(const struct rig *g, const struct ask *a)
{
	return (int)(container_of(a, struct fake_client, ask) - g->clients);
}

static struct fake_server *server_of(struct slot *s)
{
	return container_of(s, struct fake_server, slot);
}

static void server_close(struct fake_server *s)
{
	pool_slot_remove(&s->slot);
	vars_unref(&s->vars);
	s->open = false;
}

static void op_launch(struct pool *p, bool reserve, struct ask *own, void *ctx)
{
	struct rig *g = ctx;
	struct fake_server *s;

	if (g->launch_idles) {
		note(g, "L-");
		return;
	}
	assert_true(g->n_servers < MAX_SERVERS);
	s = calloc(1, sizeof *s);
	g->servers[++g->n_servers] = s;
	s->number = g->n_servers;
	s->open = true;
	s->vars = vars_empty(g->r.vars);
	note(g, "L%d%s", s->number, reserve ? "r" : "");
	if (own != NULL) {
		assert_true(own->kind == ASK_OWN && !own->queued);
		container_of(own, struct fake_client, ask)->server = s;
		note(g, "c%d:%d", client_number(g, own), s->number);
	}
	pool_slot_add(p, &s->slot, p->db->n_hosts > 0 ? p->db->hosts[0] : NULL, reserve);
	s->slot.vars = s->vars;
	if (own != NULL)
		pool_slot_own(&s->slot);
	if (g->launch_fails) {
		pool_login_failed(p, "57P03", "at once");
		server_close(s);
	}
}

static void op_grant(struct ask *a, struct slot *s, void *ctx)
{
	struct rig *g = ctx;
	struct fake_client *c = container_of(a, struct fake_client, ask);
	const struct ask *b;

	assert_false(a->queued);
	if (s == NULL) {
		assert_int_equal(a->kind, ASK_GREETING);
		c->greeted = true;
		note(g, "c%d:-", client_number(g, a));
		return;
	}
	assert_int_equal(a->kind, ASK_SERVER);
	assert_int_equal(s->state, SLOT_BUSY);
	assert_ptr_equal(s->pool, a->pool);
	assert_null(c->server);
	/* First come, first served. */
	TAILQ_FOREACH (b, &a->pool->asks, link)
		assert_true(b->number > a->number);
	c->server = server_of(s);
	note(g, "c%d:%d", client_number(g, a), c->server->number);
	if (g->n_granted < (int)ROWS(g->granted)) {
		g->granted[g->n_granted].pool = a->pool;
		g->granted[g->n_granted++].number = a->number;
	}
}

static void op_test(struct slot *s, void *ctx)
{
	assert_int_equal(s->state, SLOT_TESTED);
	note(ctx, "T%d", server_of(s)->number);
}

static void op_close(struct slot *s, enum pool_close why, void *ctx)
{
	static const char letters[] = "relispk";

	assert_true(s->state == SLOT_IDLE || s->state == SLOT_SETUP);
	note(ctx, "X%d%c", server_of(s)->number, letters[why]);
	server_close(server_of(s));
}

static void op_fail(struct ask *a, void *ctx)
{
	struct rig *g = ctx;

	assert_false(a->queued);
	assert_int_equal(a->pool->servers, a->pool->owned);
	assert_non_null(a->pool->failure.text);
	container_of(a, struct fake_client, ask)->failed = true;
	note(g, "c%d!", client_number(g, a));
}

static void op_gone(struct database *d, void *ctx)
{
	note(ctx, "D:%s", d->name);
}

static const struct pool_ops ops = {op_launch, op_grant, op_test, op_close, op_fail, op_gone, NULL, NULL, NULL};

/* ---- what must hold after every pools_run() ---- */

static void check_pool(const struct rig *g, const struct pool *p, bool shrunk)
{
	unsigned n[SLOT_STATES] = {0}, reserved = 0, retiring = 0, owned = 0, waiting = 0, tests = 0;
	int64_t now = clock_us();
	const struct slot *s, *last = NULL;
	const struct ask *a;
	uint64_t number = 0;

	for (int i = 0; i < SLOT_STATES; i++) {
		TAILQ_FOREACH (s, &p->slots[i], link) {
			assert_int_equal(s->state, i);
			assert_ptr_equal(s->pool, p);
			n[i]++;
			reserved += s->reserve;
			retiring += s->retired;
			owned += s->own;
			assert_true(!s->own || i == SLOT_BUSY);
			tests += i == SLOT_TESTED && now - s->since_us < USEC;
		}
		assert_int_equal(p->n[i], n[i]);
	}
	assert_int_equal(p->servers, n[SLOT_SETUP] + n[SLOT_IDLE] + n[SLOT_TESTED] + n[SLOT_BUSY]);
	assert_int_equal(p->reserved, reserved);
	assert_int_equal(p->retiring, retiring);
	assert_int_equal(p->owned, owned);
	TAILQ_FOREACH (a, &p->asks, link) {
		assert_true(a->queued && a->number > number && a->kind == ASK_SERVER);
		number = a->number;
		waiting++;
	}
	assert_int_equal(p->waiting, waiting);
	if (!shrunk && p->size > 0)
		assert_true(p->servers <= p->size + p->reserve_size);
	if (p->db->greeting != NULL)
		assert_true(TAILQ_EMPTY(&p->greets));
	assert_true(p->ramp >= 1 && p->ramp <= 64 && n[SLOT_SETUP] <= 64);
	if (pool_is_paused(p))
		assert_int_equal(n[SLOT_IDLE] + n[SLOT_SETUP], 0);
	TAILQ_FOREACH (s, &p->slots[SLOT_IDLE], link) {
		assert_false(s->retired || s->expired || s->generation != s->endpoint->generation);
		assert_true(last == NULL || s->since_us <= last->since_us);
		last = s;
		/* Nobody waits beside a slot that could be had; it may have to be tested first. */
		if (p->waiting > 0)
			assert_true(tests >= p->waiting);
	}
	(void)g;
}

/* Would the pool open one more connection for its first ask if the shared limits let it? That ask, or NULL. */
static const struct ask *blocked_ask(const struct pool *p)
{
	unsigned covered = p->n[SLOT_SETUP] + p->n[SLOT_TESTED];
	const struct ask *a = TAILQ_FIRST(&p->asks);
	int64_t now = clock_us();

	if (pool_is_paused(p) || p->db->conf == NULL || p->n[SLOT_SETUP] >= p->ramp || now < p->stalled_us)
		return NULL;
	if (p->failure.at_us != 0 && now - p->failure.at_us < p->login_retry_us)
		return NULL;
	if (p->size > 0 && p->servers >= p->size)
		return NULL;
	for (; a != NULL && covered > 0; covered--)
		a = TAILQ_NEXT(a, link);
	return a;
}

static void check_limits(const struct rig *g, bool shrunk)
{
	struct pool *p, *q;

	TAILQ_FOREACH (p, &g->r.pools, all) {
		int64_t db = pool_limit_value(&g->r, LIMIT_DB_SERVERS, p->db);
		int64_t user = pool_limit_value(&g->r, LIMIT_USER_SERVERS, p->user);
		bool db_full = db > 0 && p->db->servers >= db, user_full = user > 0 && p->user->servers >= user;
		const struct ask *a = blocked_ask(p);
		unsigned servers = 0, setup = 0, of_user = 0;

		TAILQ_FOREACH (q, &p->db->pools, of_db) {
			servers += q->servers;
			setup += q->n[SLOT_SETUP];
		}
		TAILQ_FOREACH (q, &p->user->pools, of_user)
			of_user += q->servers;
		assert_int_equal(p->db->servers, servers);
		assert_int_equal(p->db->setup, setup);
		assert_int_equal(p->user->servers, of_user);
		if (!shrunk) {
			assert_true(db == 0 || servers <= db);
			assert_true(user == 0 || of_user <= user);
		}
		if (a == NULL)
			continue;
		/* It waits for a reason, and no idle connection of another pool stands in its way. */
		if (p->n[SLOT_TESTED] == 0)
			assert_true(db_full || user_full);
		if (db_full && !user_full)
			TAILQ_FOREACH (q, &p->db->pools, of_db)
				assert_int_equal(q->n[SLOT_IDLE], 0);
		if (user_full && !db_full)
			TAILQ_FOREACH (q, &p->user->pools, of_user)
				assert_int_equal(q->n[SLOT_IDLE], 0);
		/* Nobody younger who counts in the same limit has been served instead. */
		for (int i = 0; i < g->n_granted; i++) {
			if (g->granted[i].pool == p)
				continue;
			if (db_full && !user_full && g->granted[i].pool->db == p->db)
				assert_true(g->granted[i].number < a->number);
			if (user_full && !db_full && g->granted[i].pool->user == p->user)
				assert_true(g->granted[i].number < a->number);
		}
	}
}

static void run(struct rig *g, bool shrunk)
{
	const struct pool *p;

	g->n_granted = 0;
	for (int i = 0; pools_are_due(&g->r); i++) {
		assert_true(i < 100);
		pools_run(&g->r);
	}
	TAILQ_FOREACH (p, &g->r.pools, all)
		check_pool(g, p, shrunk);
	check_limits(g, shrunk);
}

/* ---- what clients and servers do ---- */

static void client_enter(struct rig *g, int i, const char *db, const char *user)
{
	struct fake_client *c = &g->clients[i];

	assert_null(c->db);
	*c = (struct fake_client){.vars = vars_empty(g->r.vars)};
	c->db = registry_database(&g->r, db);
	c->user = registry_user(&g->r, user);
	assert_non_null(c->db);
	database_hold(c->db);
	user_hold(c->user);
	c->ask.wanted = c->vars;
	pool_enter(pool_get(&g->r, c->db, c->user), &c->ask);
}

/* What was its own is nobody else's. */
static void give_back(struct fake_server *s)
{
	if (s->slot.own)
		server_close(s);
	else
		pool_slot_idle(&s->slot);
}

static void client_leave(struct fake_client *c)
{
	pool_leave(&c->ask);
	if (c->server != NULL && c->server->open)
		give_back(c->server);
	c->server = NULL;
	vars_unref(&c->vars);
	database_drop(c->db);
	user_drop(c->user);
	c->db = NULL;
}

static void client_ask(struct rig *g, int i, enum ask_kind kind)
{
	struct fake_client *c = &g->clients[i];
	struct slot *s = pool_ask(&c->ask, kind);

	c->failed = c->greeted = false;
	if (s == NULL) {
		assert_true(c->ask.queued);
		return;
	}
	assert_false(c->ask.queued);
	assert_int_equal(s->state, SLOT_BUSY);
	c->server = server_of(s);
	note(g, "c%d=%d", i, c->server->number);
}

static void client_release(struct rig *g, int i)
{
	struct fake_client *c = &g->clients[i];

	assert_non_null(c->server);
	give_back(c->server);
	c->server = NULL;
}

static void server_ready(struct rig *g, struct fake_server *s)
{
	struct database *d = s->slot.pool->db;

	if (d->greeting == NULL)
		d->greeting = vars_empty(g->r.vars);
	pool_slot_login_done(&s->slot);
}

static void server_fails(struct fake_server *s)
{
	pool_login_failed(s->slot.pool, "28P01", "no");
	server_close(s);
}

/* A server goes away whatever it does. */
static void server_dies(struct rig *g, struct fake_server *s)
{
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (g->clients[i].server == s)
			g->clients[i].server = NULL;
	server_close(s);
}

static void set_vars(struct rig *g, struct vars **v, const char *value)
{
	vars_unref(v);
	*v = vars_empty(g->r.vars);
	vars_put(v, "application_name", value);
}

static struct rig *rig_new(const char *text)
{
	struct rig *g = calloc(1, sizeof *g);
	struct config *c = config_of(text);

	clock_hold(1000 * USEC);
	registry_init(&g->r, &g->timers, c, &ops, g);
	config_unref(&c);
	run(g, false);
	return g;
}

static void rig_free(struct rig *g)
{
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (g->clients[i].db != NULL)
			client_leave(&g->clients[i]);
	for (int i = 1; i <= g->n_servers; i++) {
		if (g->servers[i]->open)
			server_close(g->servers[i]);
		free(g->servers[i]);
	}
	registry_free(&g->r);
	assert_int_equal(timers_next(&g->timers), 0);
	timers_free(&g->timers);
	free(g);
	assert_int_equal(mem_usage_get(MEM_POOL).objects, 0);
	assert_int_equal(mem_usage_get(MEM_DATABASE).objects, 0);
	assert_int_equal(mem_usage_get(MEM_USER).objects, 0);
	assert_int_equal(mem_usage_get(MEM_VARS).objects, 0);
}

/* ---- scripts ---- */

/*
 * A line is words of what happens, "|", and what the pool is to do about it. The
 * next pools_run() comes at "|".
 *
 *   c1@db/user   client 1 enters the pool      ~c1  leaves
 *   c1?          asks for a server             c1??  asks for a greeting, c1?! for one of its own
 *   c1.          gives its server back         c1-  withdraws its ask
 *   c1"x         has application_name x        s1"x  server 1 has
 *   s1+          server 1 has logged in        s1!  it could not
 *   s1.          its test is over              s1x  it is gone
 *   s1r          it is retired                 s1g  its endpoint has a new generation
 *   t12.5        it is 12.5 s later; the timers that are due have fired
 *   pause resume kill revive reconnect         of all
 *   fails idles works                          what a launch does at once
 *   reload       to the second configuration
 *
 *   L1           server 1 is launched, L1r from the reserve, L-: in vain
 *   c1:1         granted, c1=1 at once, c1:- greeted, c1! failed
 *   T1 X1e       tested; closed, with the first letter of why
 */
struct script {
	const char *name, *config, *reload;
	const char *lines[40];
};

static void later(struct rig *g, double seconds)
{
	clock_hold(clock_us() + (int64_t)(seconds * 1e6));
	timers_run(&g->timers, NULL);
}

static void do_client(struct rig *g, int i, const char *what)
{
	char name[64], *slash;

	switch (what[0]) {
	case '@':
		snprintf(name, sizeof name, "%s", what + 1);
		slash = strchr(name, '/');
		*slash = '\0';
		client_enter(g, i, name, slash + 1);
		break;
	case '?': client_ask(g, i, what[1] == '?' ? ASK_GREETING : what[1] == '!' ? ASK_OWN : ASK_SERVER); break;
	case '.': client_release(g, i); break;
	case '-': pool_withdraw(&g->clients[i].ask); break;
	case '"':
		set_vars(g, &g->clients[i].vars, what + 1);
		g->clients[i].ask.wanted = g->clients[i].vars;
		break;
	default: fail_msg("%s?", what);
	}
}

static void do_server(struct rig *g, struct fake_server *s, const char *what)
{
	assert_true(s != NULL && s->open);
	switch (what[0]) {
	case '+': server_ready(g, s); break;
	case '!': server_fails(s); break;
	case '.': pool_slot_idle(&s->slot); break;
	case 'x': server_dies(g, s); break;
	case 'r': pool_slot_retire(&s->slot); break;
	case 'g':
		s->slot.endpoint->generation++;
		pool_mark(s->slot.pool);
		break;
	case '"':
		set_vars(g, &s->vars, what + 1);
		s->slot.vars = s->vars;
		break;
	default: fail_msg("%s?", what);
	}
}

static void do_all(struct rig *g, const char *what, const char *reload)
{
	struct pool *p;

	if (strcmp(what, "reload") == 0) {
		struct config *c = config_of(reload);

		registry_configure(&g->r, c);
		config_unref(&c);
		return;
	}
	g->launch_fails = strcmp(what, "fails") == 0;
	g->launch_idles = strcmp(what, "idles") == 0;
	if (strcmp(what, "pause") == 0 || strcmp(what, "resume") == 0) {
		g->r.paused = what[0] == 'p';
		registry_mark(&g->r);
	} else if (strcmp(what, "reconnect") == 0) {
		TAILQ_FOREACH (p, &g->r.pools, all)
			pool_retire(p);
	} else if (strcmp(what, "kill") == 0 || strcmp(what, "revive") == 0) {
		TAILQ_FOREACH (p, &g->r.pools, all) {
			p->db->killed = what[0] == 'k';
			database_mark(p->db);
		}
	} else if (!g->launch_fails && !g->launch_idles && strcmp(what, "works") != 0) {
		fail_msg("%s?", what);
	}
}

static void do_word(struct rig *g, const char *word, const char *reload)
{
	char *end;
	long i;

	switch (word[0] != '\0' && word[1] >= '0' && word[1] <= '9' ? word[0] : word[0] == '~' ? '~' : 0) {
	case 'c':
		i = strtol(word + 1, &end, 10);
		do_client(g, (int)i, end);
		break;
	case 's':
		i = strtol(word + 1, &end, 10);
		do_server(g, g->servers[i], end);
		break;
	case 't': later(g, strtod(word + 1, NULL)); break;
	case '~': client_leave(&g->clients[strtol(word + 2, NULL, 10)]); break;
	default: do_all(g, word, reload);
	}
}

static void do_line(struct rig *g, const struct script *s, const char *line)
{
	char copy[256], *bar, *save;

	snprintf(copy, sizeof copy, "%s", line);
	bar = strchr(copy, '|');
	assert_non_null(bar);
	*bar = '\0';
	g->len = 0;
	g->log[0] = '\0';
	for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
		do_word(g, w, s->reload);
	run(g, s->reload != NULL);
	bar += 1 + strspn(bar + 1, " ");
	if (strcmp(bar, g->log) != 0)
		fail_msg("%s: \"%s\": got \"%s\"", s->name, line, g->log);
}

#define DB "[databases]\na = host=h1\nb = host=h1\nf = host=h2 user=joe\n[pgbouncer]\nauth_type=trust\n"

static const struct script scripts[] = {
	{"one at a time, then the one that is idle", DB, NULL,
		{"c1@a/u c1? | L1", "s1+ | c1:1", "c1. |", "c1? c1. c1? | c1=1 c1=1", "c2@a/u c2? | L2", "c1. | c2:1",
			"s2+ |", "c1? | c1=2", "c1. c2. |", "c3@a/u c1? c2? c3? | c1=1 c2=2 L3", "c1. | c3:1"}},
	{"the last used comes first", DB, NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1 L2", "s2+ | c2:2", "c1. t1 c2. |", "c1? | c1=2",
			"c2? | c2=1"}},
	{"the ramp: 1 2 4, halved when a login fails", DB, NULL,
		{"c1@a/u c2@a/u c3@a/u c4@a/u c5@a/u c6@a/u c7@a/u c8@a/u c9@a/u |",
			"c1? c2? c3? c4? c5? c6? c7? c8? c9? | L1", "s1+ | c1:1 L2 L3", "s2+ | c2:2 L4 L5 L6", "s4! |",
			"s3+ | c3:3 L7 L8", "s5! s6! s7! |", "s8! |", "t14.9 |", "t0.2 | L9", "s9+ | c4:9 L10 L11"}},
	{"no more logins than asks", DB, NULL,
		{"c1@a/u c2@a/u c3@a/u c1? | L1", "s1+ | c1:1", "c2? c3? | L2 L3", "c3- |", "s3+ | c2:3", "s2+ |",
			"c3? | c3=2"}},
	{
		"pool_size",
		DB "default_pool_size=2\n",
		NULL,
		{"c1@a/u c2@a/u c3@a/u c4@a/u c1? c2? c3? c4? | L1", "s1+ | c1:1 L2", "s2+ | c2:2", "c2. | c3:2",
			"s1x | L3", "s3+ | c4:3", "c3. c4. |"},
	},
	{"pool_size of the database, of the user; 0 is no limit",
		"[databases]\na = host=h pool_size=1\nb = host=h\n[users]\nv = pool_size=0\n"
		"[pgbouncer]\nauth_type=trust\ndefault_pool_size=2\n",
		NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1", "c3@b/u c4@b/u c5@b/u c3? c4? c5? | L2", "s2+ | c3:2 L3",
			"s3+ | c4:3", "c6@a/v c7@a/v c8@a/v c6? c7? c8? | L4", "s4+ | c6:4 L5 L6",
			"s5+ s6+ | c7:6 c8:5"}},
	{"the reserve", DB "default_pool_size=1\nreserve_pool_size=2\nreserve_pool_timeout=5\n", NULL,
		{"c1@a/u c2@a/u c3@a/u c4@a/u c1? c2? c3? c4? | L1", "s1+ | c1:1", "t4.9 |", "t0.2 | L2r L3r",
			"s2+ s3+ | c2:3 c3:2", "t20 |", "c2. | c4:3", "c1. c3. |", "t2.9 |", "t0.2 | X1s X2s", "c4. |",
			"c1? | c1=3"}},
	{"no reserve with reserve_pool_timeout 0",
		DB "default_pool_size=1\nreserve_pool_size=2\nreserve_pool_timeout=0\n", NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1", "t500 |", "c1. | c2:1"}},
	{"parameters: the match among the first eight", DB "default_pool_size=20\n", NULL,
		{"c1@a/u c2@a/u c3@a/u c1? c2? c3? | L1", "s1+ | c1:1 L2 L3", "s2+ s3+ | c2:3 c3:2",
			"s1\"one s2\"two s3\"three |", "c1. c2. c3. |", "c1\"one c1? | c1=1",
			"c1. c2\"three c2? | c2=3", "c2. c3\"none c3? | c3=3", "c3. c1? c2? | c1=1 c2=3",
			"c1. c2. | "}},
	{"the check query", DB "server_check_delay=30\n", NULL,
		{"c1@a/u c2@a/u c1? | L1", "s1+ | c1:1", "c1. t29.9 c1? | c1=1", "c1. t30.1 c1? | T1", "s1. | c1:1",
			"c1. t40 c1? | T1", "s1x | L2", "s2+ | c1:2", "c1. t40 c1? | T2", "c2? | L3", "s2. | c1:2",
			"c1. | c2:2"}},
	{"no more tests than asks", DB, NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1 L2", "s2+ | c2:2", "c1. c2. |", "t31 c1? | T2", "s2. | c1:2",
			"c2? | T1", "c1. | c2:2", "s1. |"}},
	{"a test that hangs is not waited for", DB, NULL,
		{"c1@a/u c1? | L1", "s1+ | c1:1", "c1. t31 c1? | T1", "t0.9 |", "t0.2 | L2", "s2+ | c1:2"}},
	{"server_check_delay 0: always", DB "server_check_delay=0\n", NULL,
		{"c1@a/u c1? | L1", "s1+ | c1:1", "c1. c1? | T1", "s1. | c1:1", "c1. |", "t5 c1? | T1", "c1- s1. |",
			"c1? | c1=1"}},
	{"no check query", DB "server_check_delay=0\nserver_check_query=\n", NULL,
		{"c1@a/u c1? | L1", "s1+ | c1:1", "c1. t500 c1? | c1=1"}},
	{"the login fails and nobody is there", DB, NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1! | c1! c2!", "t5 c1? | c1!", "t9.9 c1? | c1!", "t0.2 c1? | L2",
			"s2! | c1!", "t15 c1? | L3", "s3+ | c1:3"}},
	{"the login fails but somebody is there", DB, NULL,
		{"c1@a/u c2@a/u c1? | L1", "s1+ | c1:1", "c2? | L2", "s2! |", "t14.9 |", "t0.2 | L3", "s3! |",
			"c1. | c2:1"}},
	{"the last one goes while logins fail", DB, NULL,
		{"c1@a/u c2@a/u c1? | L1", "s1+ | c1:1", "c2? | L2", "s2! |", "s1x | c2!"}},
	{"a launch that fails at once, and one that does nothing", DB, NULL,
		{"fails c1@a/u c1? | L1 c1!", "idles t15 c1? | L-", "t0.9 |", "t0.2 | L-", "works t1.1 | L2",
			"s2+ | c1:2"}},
	{"server_login_retry 0 is a short pause", DB "server_login_retry=0\n", NULL,
		{"fails c1@a/u c1? | L1 c1!", "c1? | c1!", "t0.2 c1? | L2 c1!", "works t0.2 c1? | L3", "s3+ | c1:3"}},
	{"a greeting", DB, NULL,
		{"c1@a/u c2@a/v c1?? c2?? | L1", "s1+ | c1:- c2:-", "c3@b/u c3?? | L2", "s2! | c3!", "c1?? | c1:-",
			"c2? | L3"}},
	{"a greeting waits for the login of another pool, then tries itself", DB, NULL,
		{"c1@a/u c1? | L1", "c2@a/v c2?? |", "s1! | c1! L2", "s2+ | c2:-"}},
	{"one of its own: opened although another is idle, and never given to anybody else", DB, NULL,
		{"c1@a/u c2@a/u c1? | L1", "s1+ | c1:1", "c1. |", "c2?! | L2 c2:2", "c1? | c1=1", "~c2 |", "c1. |"}},
	{"one of its own counts, and an idle one makes room for it", DB "default_pool_size=2\n", NULL,
		{"c1@a/u c2@a/u c3@a/u c4@a/u c1? c2? | L1", "s1+ | c1:1 L2", "s2+ | c2:2", "c1. t1 c2. |",
			"c3?! | X1e L3 c3:3", "c4?! | X2e L4 c4:4", "c1? |", "~c3 | L5", "s5+ | c1:5"}},
	{"first come, first served: one of its own among asks", DB "default_pool_size=1\n", NULL,
		{"c1@a/u c2@a/u c3@a/u c4@a/u c1? | L1", "s1+ | c1:1", "c2? c3?! c4? |", "c1. | c2:1",
			"c2. | X1e L2 c3:2", "c2? |", "~c3 | L3", "s3+ | c4:3", "c4. | c2:3", "c2- c4?! c4- |"}},
	{"one of its own and the reserve", DB "default_pool_size=1\nreserve_pool_size=1\nreserve_pool_timeout=5\n",
		NULL, {"c1@a/u c2@a/u c1? | L1", "s1+ | c1:1", "c2?! |", "t4.9 |", "t0.2 | L2r c2:2", "~c2 |"}},
	{"one of its own while logins fail: who needs none does not wait for it", DB, NULL,
		{"c1@a/u c2@a/u c3@a/u c1? | L1", "s1+ | c1:1", "c2? | L2", "s2! |", "c3?! |", "c1. | c2:1",
			"c2. c1? | c1:1", "t15 | L3 c3:3", "c2? | L4", "s4! |", "s1x | c2!", "c1? | c1!", "s3x |"}},
	{"one of its own at the limit of the database: its own pool makes room too", DB "max_db_connections=1\n", NULL,
		{"c1@a/u c2@a/u c1? | L1", "s1+ | c1:1", "c1. |", "c2?! | X1e L2 c2:2", "c1? |", "~c2 | L3",
			"s3+ | c1:3"}},
	{"PAUSE: nobody gets one of its own, and who has it is waited for", DB, NULL,
		{"c1@a/u c2@a/u c1?! | L1 c1:1", "pause c2?! |", "s1x |", "resume | L2 c2:2"}},
	{"a greeting in front of an ask", DB, NULL, {"c1@a/u c2@a/u c1?? c2? | L1", "s1+ | c1:- c2:1"}},
	{"PAUSE and RESUME", DB, NULL,
		{"c1@a/u c2@a/u c3@a/u c1? c2? | L1", "s1+ | c1:1 L2", "s2+ | c2:2", "c2. |", "pause | X2p", "c3? |",
			"c1. | X1p", "t100 |", "resume | L3", "c1? | L4", "pause | X3p X4p", "resume | L5 L6",
			"s5+ | c3:5"}},
	{"PAUSE: at once, and a login that failed is not told", DB, NULL,
		{"c1@a/u c1? | L1", "s1+ | c1:1", "c1. |", "pause c1? | X1p", "resume | L2", "s2! pause |",
			"t20 resume | L3", "s3+ | c1:3"}},
	{"nobody overtakes within a turn", DB "default_pool_size=1\n", NULL,
		{"c1@a/u c2@a/u c3@a/u c1? | L1", "s1+ | c1:1", "c2? |", "c1. c3? | c2:1", "c2. c1? | c3:1"}},
	{"KILL", DB, NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1 L2", "kill | X2k", "c1. | X1k", "revive | L3",
			"s3+ | c2:3"}},
	{"RECONNECT", DB, NULL,
		{"c1@a/u c2@a/u c3@a/u c1? c2? c3? | L1", "s1+ | c1:1 L2 L3", "s2+ | c2:2", "c2. | c3:2", "c3. |",
			"reconnect | X3r X2r", "c2? | L4", "s4+ | c2:4", "c1. | X1r"}},
	{"one that is retired while somebody waits", DB "default_pool_size=1\n", NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1", "s1r |", "c1. | X1r L2", "s2+ | c2:2"}},
	{"an endpoint of a new generation", DB, NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1 L2", "s2+ | c2:2", "c2. |", "s1g | X2r", "c1. | X1r",
			"c1? | L3", "s3+ | c1:3"}},
	{"server_idle_timeout", DB "server_idle_timeout=60\n", NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1 L2", "s2+ | c2:2", "c1. t20 c2. |", "t39.9 |", "t0.2 | X1i",
			"t19.8 |", "t0.2 | X2i"}},
	{"server_idle_timeout starts anew with each use", DB "server_idle_timeout=60\n", NULL,
		{"c1@a/u c1? | L1", "s1+ | c1:1", "t50 c1. |", "t25 c1? c1. | c1=1", "t50 |", "t9.9 |", "t0.2 | X1i"}},
	{"server_lifetime: a few at a time, not while they are used", DB "server_lifetime=100\nserver_idle_timeout=0\n",
		NULL,
		{"c1@a/u c2@a/u c3@a/u c1? c2? c3? | L1", "s1+ | c1:1 L2 L3", "s2+ s3+ | c2:3 c3:2", "c2. c3. |",
			"t99.9 |", "t0.2 | X3l", "t1.1 | X2l", "t1.1 |", "c1. | X1l"}},
	{"server_lifetime 0: one use", DB "server_lifetime=0\n", NULL,
		{"c1@a/u c2@a/u c1? c2? | L1", "s1+ | c1:1 L2", "c2- s2+ |", "c1. | X1l", "c1? | c1=2", "c2? | L3",
			"c1. | X2l"}},
	{"min_pool_size of a pool with clients",
		"[users]\nu = pool_size=9\n[databases]\na = host=h min_pool_size=3\n[pgbouncer]\nauth_type=trust\nserver_idle_timeout=60\n",
		NULL,
		{"c1@a/u | L1", "s1+ | L2 L3", "s2+ s3+ |", "t200 |", "s1x | L4", "s4+ |", "~c1 | X2i X3i",
			"t60.1 | X4i", "c1@a/u | L5 L6 L7"}},
	{"min_pool_size of a forced user", DB "min_pool_size=2\nserver_idle_timeout=60\n", NULL,
		{"s1+ | L2", "s2+ |", "t500 |", "s1! |", "t15.1 | L3", "s3+ |", "c1@f/joe c1? | c1=3"}},
	{"max_db_connections: the oldest first, whatever its pool", DB "max_db_connections=2\n", NULL,
		{"c1@a/u c2@a/v c3@a/w c4@a/u c1? c2? c3? c4? | L1 L2", "s1+ s2+ | c1:1 c2:2", "c1. | X1e L3", "c1? |",
			"s3+ | c3:3", "c2. | X2e L4", "s4+ | c4:4", "c4. | c1:4"}},
	{"max_db_connections: an idle one of another pool makes room", DB "max_db_connections=3\n", NULL,
		{"c1@a/u c2@a/v c3@a/w c4@a/x c1? c2? c3? | L1 L2 L3", "s1+ s2+ s3+ | c1:1 c2:2 c3:3",
			"c2. t1 c1. t1 c3. |", "c4? | X2e L4", "s4+ | c4:4", "c2? | X1e L5"}},
	{"max_db_connections counts a database, not its neighbours", DB "max_db_connections=1\n", NULL,
		{"c1@a/u c2@b/u c1? c2? | L1 L2", "s1+ s2+ | c1:1 c2:2"}},
	{"max_user_connections over databases", DB "max_user_connections=2\n", NULL,
		{"c1@a/u c2@b/u c3@f/u c4@a/v c1? c2? c3? c4? | L1 L2 L3", "s1+ s2+ s3+ | c1:1 c2:2 c4:3",
			"c2. | X2e L4", "s4+ | c3:4"}},
	{"both limits at once: one of each is evicted, or none", DB "max_db_connections=2\nmax_user_connections=2\n",
		NULL,
		{"c1@a/u c2@a/v c3@b/u c4@b/v c1? c2? c3? c4? | L1 L2 L3 L4", "s1+ s2+ s3+ s4+ | c1:1 c2:2 c3:3 c4:4",
			"c5@a/w c6@f/u c5? |", "c1. | X1e L5", "s5+ | c5:5", "c6? | L6"}},
	{"a new ask does not overtake one at the limit", DB "max_db_connections=1\n", NULL,
		{"c1@a/u c2@a/v c1? | L1", "s1+ | c1:1", "c2? |", "c1. c1? | X1e L2", "s2+ | c2:2", "c2. | X2e L3",
			"s3+ | c1:3"}},
	{"nor one at the limit of its user", DB "max_user_connections=1\n", NULL,
		{"c1@a/u c2@b/u c1? | L1", "s1+ | c1:1", "c2? |", "c1. c1? | X1e L2", "s2+ | c2:2", "c2. | X2e L3",
			"s3+ | c1:3"}},
	{"one at the limit is served when a busy one of another pool dies", DB "max_db_connections=1\n", NULL,
		{"c1@a/u c2@a/v c1? | L1", "s1+ | c1:1", "c2? |", "s1x | L2", "s2+ | c2:2"}},
	{"an ask at the limit that is withdrawn blocks nobody", DB "max_db_connections=1\n", NULL,
		{"c1@a/u c2@a/v c1? | L1", "s1+ | c1:1", "c2? |", "c2- c1. c1? | c1:1", "c1. c1? | c1=1"}},
	{"one whose own limit is in the way does not hold up the others",
		"[databases]\na = host=h\nb = host=h\n[users]\nu = max_user_connections=1\n"
		"[pgbouncer]\nauth_type=trust\nmax_db_connections=2\n",
		NULL,
		{"c1@b/u c2@a/v c3@a/w c4@a/u c5@a/x c1? c2? c3? | L1 L2 L3", "s1+ s2+ s3+ | c1:1 c2:2 c3:3", "c3. |",
			"c4? |", "c5? | X3e L4", "s4+ | c5:4", "c1. c2. | X2e X1e L5"}},
	{"a smaller pool_size closes what is too much", DB, DB "default_pool_size=1\n",
		{"c1@a/u c2@a/u c3@a/u c1? c2? c3? | L1", "s1+ | c1:1 L2 L3", "s2+ s3+ | c2:3 c3:2", "c1. |",
			"reload | X1s", "c1? |", "c2. | X3s", "c3. | c1:2"}},
	{"a lower max_db_connections closes what is too much", DB, DB "max_db_connections=1\n",
		{"c1@a/u c2@a/v c1? c2? | L1 L2", "s1+ s2+ | c1:1 c2:2", "reload |", "c1. | X1s", "c2. |",
			"c1? | X2e L3"}},
	{"a shorter server_lifetime", DB, DB "server_lifetime=10\n",
		{"c1@a/u c1? | L1", "s1+ | c1:1", "c1. t20 |", "reload | X1l"}},
	{"another host: none of the old is used again", DB,
		"[databases]\na = host=h9\nf = host=h2 user=joe\n[pgbouncer]\nauth_type=trust\n",
		{"c1@a/u c2@a/u c3@b/u c1? c2? c3? | L1 L2", "s1+ s2+ | c1:1 L3 c3:2", "s3+ | c2:3", "c2. |",
			"reload | D:b X3r", "c1. | X1r", "c3. | X2k", "c1? | L4"}},
	{"other TLS settings: none of the old is used again", DB, DB "server_tls_sslmode=disable\n",
		{"c1@a/u c1? | L1", "s1+ | c1:1", "c1. |", "reload | X1r"}},
	{"the same again: all stays", DB, DB, {"c1@a/u c1? | L1", "s1+ | c1:1", "c1. |", "reload |", "c1? | c1=1"}},
};

static void test_scripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(scripts); i++) {
		struct rig *g = rig_new(scripts[i].config);

		print_message("# %s\n", scripts[i].name);
		for (const char *const *line = scripts[i].lines; *line != NULL; line++)
			do_line(g, &scripts[i], *line);
		rig_free(g);
	}
}

/* ---- random histories ---- */

static const struct {
	const char *text;
	bool fails; /* logins fail now and then */
} models[] = {
	{DB, true},
	{DB "default_pool_size=2\nreserve_pool_size=2\nreserve_pool_timeout=1\n", true},
	{DB "default_pool_size=0\nserver_lifetime=5\nserver_idle_timeout=3\n", false},
	{DB "max_db_connections=3\n", true},
	{DB "max_user_connections=3\nserver_check_delay=0\n", true},
	{DB "max_db_connections=3\nmax_user_connections=2\nserver_login_retry=1\n", true},
	{DB "max_db_connections=4\ndefault_pool_size=2\nreserve_pool_size=1\nmin_pool_size=1\n", true},
	{DB "server_lifetime=0\nmax_db_connections=5\nserver_login_retry=0\n", true},
	{DB "min_pool_size=3\nserver_lifetime=10\nserver_check_delay=1\n", true},
	{DB "max_user_connections=2\nmin_pool_size=2\ndefault_pool_size=1\n", false},
};

enum { MODEL_STEPS = 20000 };

static struct fake_server *any_server(const struct rig *g, enum slot_state state)
{
	struct slot *found = NULL, *s;
	const struct pool *p;
	int seen = 0;

	TAILQ_FOREACH (p, &g->r.pools, all)
		TAILQ_FOREACH (s, &p->slots[state], link)
			if (rand() % ++seen == 0)
				found = s;
	return found != NULL ? server_of(found) : NULL;
}

static void model_client(struct rig *g)
{
	static const char *const dbs[] = {"a", "a", "b", "f"}, *const users[] = {"u", "u", "v", "w"};
	static const char *const names[] = {"one", "two", "three"};
	int i = rand() % 24;
	struct fake_client *c = &g->clients[i];

	if (c->db == NULL) {
		client_enter(g, i, dbs[rand() % ROWS(dbs)], users[rand() % ROWS(users)]);
	} else if (rand() % 20 == 0) {
		client_leave(c);
	} else if (c->server != NULL) {
		if (rand() % 4 == 0 && !c->server->slot.own) { /* something is cleaned up first */
			pool_slot_tested(&c->server->slot);
			c->server = NULL;
		} else {
			client_release(g, i);
		}
	} else if (c->ask.queued) {
		if (rand() % 10 == 0)
			pool_withdraw(&c->ask);
	} else {
		set_vars(g, &c->vars, names[rand() % ROWS(names)]);
		c->ask.wanted = c->vars;
		client_ask(g, i, rand() % 8 == 0 ? ASK_GREETING : rand() % 8 == 0 ? ASK_OWN : ASK_SERVER);
		if (c->server != NULL) {
			vars_unref(&c->server->vars);
			c->server->slot.vars = c->server->vars = vars_ref(c->vars);
		}
	}
}

static void model_server(struct rig *g, bool fails)
{
	struct fake_server *s = any_server(g, rand() % 3 > 0 ? SLOT_SETUP : SLOT_TESTED);

	if (s == NULL)
		return;
	if (s->slot.state == SLOT_SETUP) {
		if (fails && rand() % 6 == 0)
			server_fails(s);
		else
			server_ready(g, s);
	} else if (rand() % 10 == 0) {
		server_dies(g, s);
	} else {
		pool_slot_idle(&s->slot);
	}
}

static void model_accident(struct rig *g)
{
	struct fake_server *s = any_server(g, (enum slot_state)(rand() % SLOT_STATES));

	if (g->r.paused && rand() % 2) {
		g->r.paused = false;
		registry_mark(&g->r);
	}
	switch (rand() % 8) {
	case 0:
		if (s != NULL)
			server_dies(g, s);
		break;
	case 1:
		if (s != NULL)
			pool_slot_retire(&s->slot);
		break;
	case 2:
		if (s != NULL) {
			s->slot.endpoint->generation++;
			registry_mark(&g->r);
		}
		break;
	case 3:
		g->r.paused = !g->r.paused && rand() % 2 == 0;
		registry_mark(&g->r);
		break;
	case 4:
		if (s != NULL)
			pool_retire(s->slot.pool);
		break;
	case 5: later(g, 40); break;
	default: later(g, 1.5);
	}
}

static bool anybody_waits(const struct rig *g)
{
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (g->clients[i].ask.queued)
			return true;
	return false;
}

/* Nobody asks any more and every server is well: all who wait are served, moved by the timers and the servers alone. */
static void model_settle(struct rig *g)
{
	int rounds = 0;

	g->r.paused = false;
	registry_mark(&g->r);
	run(g, false);
	while (anybody_waits(g)) {
		int64_t next = timers_next(&g->timers);

		for (int i = 1; i <= g->n_servers; i++) {
			struct fake_server *s = g->servers[i];

			if (s->open && s->slot.state == SLOT_SETUP)
				server_ready(g, s);
			else if (s->open && s->slot.state == SLOT_TESTED)
				pool_slot_idle(&s->slot);
		}
		for (int i = 0; i < MAX_CLIENTS; i++)
			if (g->clients[i].server != NULL)
				client_release(g, i);
		run(g, false);
		assert_true(rounds++ < 1000);
		if (!anybody_waits(g))
			break;
		if (next > clock_us())
			clock_hold(next);
		timers_run(&g->timers, NULL);
		run(g, false);
	}
}

/* Everybody leaves: the timers alone close what min_pool_size does not keep. */
static void model_end(struct rig *g)
{
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (g->clients[i].db != NULL)
			client_leave(&g->clients[i]);
	run(g, false);
	for (int k = 0; k < 2000; k++) {
		struct fake_server *s = any_server(g, SLOT_SETUP);
		const struct pool *p;
		bool left = false;

		if (s != NULL)
			server_ready(g, s);
		while ((s = any_server(g, SLOT_TESTED)) != NULL)
			pool_slot_idle(&s->slot);
		TAILQ_FOREACH (p, &g->r.pools, all)
			left = left || p->servers > (p->user == p->db->forced ? p->min_size : 0);
		if (!left)
			return;
		run(g, false);
		if (timers_next(&g->timers) > clock_us())
			clock_hold(timers_next(&g->timers));
		timers_run(&g->timers, NULL);
		run(g, false);
	}
	fail_msg("servers are left that nobody needs");
}

static void test_histories(void **state)
{
	const char *given = getenv("TEST_SEED");
	unsigned seed;

	(void)state;
	clock_hold(-1);
	seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_us();
	print_message("# TEST_SEED=%u\n", seed);
	srand(seed);
	for (size_t m = 0; m < ROWS(models); m++) {
		struct rig *g = rig_new(models[m].text);

		for (int i = 0; i < MODEL_STEPS; i++) {
			g->len = 0;
			switch (rand() % 40) {
			case 0: model_accident(g); break;
			case 1: later(g, rand() % 1000 / 1000.0); break;
			default:
				if (rand() % 2)
					model_client(g);
				else
					model_server(g, models[m].fails);
			}
			if (rand() % 3 > 0)
				run(g, false);
		}
		model_settle(g);
		model_end(g);
		rig_free(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
