/*
 * topology: which hosts fit which entries, as facts come in, and what becomes of
 * the connections to those that do not. Who decides is test_cluster's.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "conf/config.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "pool/switchover.h"
#include "pool/topology.h"

#define HEAD "[pgbouncer]\nauth_type=trust\n[databases]\n"
#define ABC "host=a,b,c port=5432 user=u "
#define RW "target_session_attrs=read-write "

struct rig {
	struct registry r;
	struct timers timers;
	int watched, probed, closed, held;
};

static void op_launch(struct pool *p, bool reserve, struct ask *own, void *ctx)
{
	struct slot *s = calloc(1, sizeof *s);
	uint64_t tried = topology_unfit(p->db);
	struct endpoint *ep = endpoint_choose(p->db->hosts, p->db->n_hosts, &p->db->turn, &tried, 0, false);

	(void)own;
	(void)ctx;
	assert_non_null(ep); /* nothing is launched where nothing fits */
	pool_slot_add(p, s, ep, reserve);
}

static void op_grant(struct ask *a, struct slot *s, void *ctx)
{
	(void)a;
	(void)s;
	(void)ctx;
}

static void op_test(struct slot *s, void *ctx)
{
	(void)s;
	(void)ctx;
	fail();
}

static void op_close(struct slot *s, enum pool_close why, void *ctx)
{
	struct rig *g = ctx;

	g->closed += why == POOL_CLOSE_MOVED;
	pool_slot_remove(s);
	free(s);
}

static void op_fail(struct ask *a, void *ctx)
{
	(void)a;
	(void)ctx;
	fail();
}

static void op_gone(struct database *d, void *ctx)
{
	(void)d;
	(void)ctx;
}

static void op_watch(void *ctx)
{
	((struct rig *)ctx)->watched++;
}

static void op_probe(struct cluster *c, bool logins, void *ctx)
{
	(void)logins;
	assert_true(c->n > 0);
	((struct rig *)ctx)->probed++;
}

static void op_held(struct database *d, void *ctx)
{
	((struct rig *)ctx)->held += d->held ? 1 : -1;
}

static const struct pool_ops ops = {
	op_launch, op_grant, op_test, op_close, op_fail, op_gone, op_watch, op_probe, op_held};

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static void configure(struct rig *g, const char *text, bool first)
{
	struct errs errs = {0};
	struct config *c = config_parse("test.ini", text, strlen(text), &errs);

	assert_non_null(c);
	if (first)
		registry_init(&g->r, &g->timers, c, &ops, g);
	registry_configure(&g->r, c);
	config_unref(&c);
	errs_free(&errs);
}

static void rig_start(struct rig *g, const char *text)
{
	*g = (struct rig){.watched = 0};
	clock_hold(1000 * USEC);
	log_capture(quiet, NULL);
	configure(g, text, true);
}

static void pass(struct rig *g, int64_t us)
{
	clock_hold(clock_us() + us);
	timers_run(&g->timers, NULL);
	pools_run(&g->r);
}

static void rig_end(struct rig *g)
{
	struct pool *p;

	TAILQ_FOREACH (p, &g->r.pools, all)
		for (int i = 0; i < SLOT_STATES; i++)
			while (!TAILQ_EMPTY(&p->slots[i]))
				op_close(TAILQ_FIRST(&p->slots[i]), POOL_CLOSE_IDLE, g);
	registry_free(&g->r);
	timers_free(&g->timers);
	log_capture(NULL, NULL);
	clock_hold(-1);
}

static struct database *db(struct rig *g, const char *name)
{
	struct database *d = registry_database_find(&g->r, name);

	assert_non_null(d);
	return d;
}

static struct endpoint *host(struct rig *g, const char *name)
{
	struct endpoint *ep = endpoint_get(&g->r.endpoints, name, 5432), *same = ep;

	assert_true(ep->refs > 1);
	endpoint_put(&g->r.endpoints, &ep);
	return same;
}

static void seen(struct rig *g, const char *name, enum sight_role role, uint32_t timeline)
{
	struct sight s = {.answers = role != SIGHT_UNKNOWN,
		.role = role,
		.timeline = timeline,
		.system_id = 7,
		.started_us = *name};

	if (!s.answers) { /* what was true before stays */
		s = host(g, name)->seen;
		s.answers = false;
	}
	topology_seen(host(g, name), &s, NULL, 0);
	pools_run(&g->r);
}

/* Which of a, b, c fit. */
static const char *fit(struct rig *g, const char *name)
{
	static char out[4];
	size_t n = 0;

	for (size_t i = 0; i < db(g, name)->n_hosts; i++)
		if (topology_fits(db(g, name), db(g, name)->hosts[i]))
			out[n++] = db(g, name)->hosts[i]->host[0];
	out[n] = '\0';
	assert_int_equal(db(g, name)->cluster && !n, db(g, name)->held);
	return out;
}

static struct pool *pool(struct rig *g, const char *name)
{
	return pool_get(&g->r, db(g, name), registry_user(&g->r, "u"));
}

/* n connections to where it goes now: one of them BUSY, the others idle. */
static void connect_some(struct rig *g, const char *name, int n)
{
	struct pool *p = pool(g, name);
	struct slot *s;

	for (int i = 0; i < n; i++)
		op_launch(p, false, NULL, g);
	while ((s = TAILQ_FIRST(&p->slots[SLOT_SETUP])))
		pool_slot_login_done(s);
	pool_slot_busy(TAILQ_FIRST(&p->slots[SLOT_IDLE]));
}

static void test_start(void **state)
{
	struct rig g;

	(void)state;
	rig_start(&g, HEAD "rw=" ABC RW "\nro=" ABC "target_session_attrs=standby\nany=" ABC "\nprefer=" ABC
			   "target_session_attrs=prefer-standby\n");
	assert_int_equal(g.watched, 1);
	assert_string_equal(fit(&g, "any"), "abc");
	assert_string_equal(fit(&g, "rw"), "");
	seen(&g, "b", SIGHT_WRITABLE, 3);
	assert_string_equal(fit(&g, "rw"), ""); /* not before all are known */
	assert_string_equal(fit(&g, "ro"), "");
	seen(&g, "a", SIGHT_STANDBY, 0);
	assert_string_equal(fit(&g, "ro"), "a");
	pass(&g, USEC); /* c takes too long */
	assert_string_equal(fit(&g, "rw"), "b");
	assert_string_equal(fit(&g, "prefer"), "a");
	seen(&g, "c", SIGHT_STANDBY, 0);
	assert_string_equal(fit(&g, "ro"), "ac");
	assert_int_equal(g.held, 0);
	/* Standbys go one by one. */
	seen(&g, "a", SIGHT_UNKNOWN, 0);
	assert_string_equal(fit(&g, "prefer"), "c");
	seen(&g, "c", SIGHT_UNKNOWN, 0);
	assert_string_equal(fit(&g, "prefer"), "b");
	assert_string_equal(fit(&g, "ro"), "");
	assert_int_equal(g.held, 1);
	seen(&g, "a", SIGHT_STANDBY, 0);
	assert_string_equal(fit(&g, "ro"), "a");
	assert_string_equal(fit(&g, "prefer"), "a");
	rig_end(&g);
}

static void start_with_primary(struct rig *g, const char *text)
{
	rig_start(g, text);
	seen(g, "a", SIGHT_WRITABLE, 1);
	seen(g, "b", SIGHT_STANDBY, 0);
	seen(g, "c", SIGHT_STANDBY, 0);
	assert_string_equal(fit(g, "rw"), "a");
}

/* The primary is lost: what is idle there goes, what is busy may come to its end, and nothing is opened. */
static void test_lost(void **state)
{
	struct rig g;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\n");
	connect_some(&g, "rw", 3);
	seen(&g, "a", SIGHT_UNKNOWN, 0);
	assert_string_equal(fit(&g, "rw"), "");
	assert_int_equal(g.closed, 2);
	assert_int_equal(pool(&g, "rw")->n[SLOT_BUSY], 1);
	assert_true(TAILQ_FIRST(&pool(&g, "rw")->slots[SLOT_BUSY])->retired);
	/* It comes back: what was busy is retired for good. */
	seen(&g, "a", SIGHT_WRITABLE, 1);
	assert_string_equal(fit(&g, "rw"), "a");
	assert_true(TAILQ_FIRST(&pool(&g, "rw")->slots[SLOT_BUSY])->retired);
	assert_int_equal(g.held, 0);
	rig_end(&g);
}

/* Another one is promoted, beside it or in its place: nothing more goes to the old one. */
static void test_moved(void **state)
{
	struct rig g;

	(void)state;
	for (int beside = 0; beside < 2; beside++) {
		start_with_primary(&g, HEAD "rw=" ABC RW "\nro=" ABC "target_session_attrs=standby\n");
		connect_some(&g, "rw", 3);
		connect_some(&g, "ro", 2);
		if (!beside)
			seen(&g, "a", SIGHT_UNKNOWN, 0);
		seen(&g, "b", SIGHT_WRITABLE, 2);
		assert_string_equal(fit(&g, "rw"), "b");
		assert_string_equal(fit(&g, "ro"), "c");
		assert_int_equal(pool(&g, "rw")->servers, 0);
		/* The old one is back, and fenced. */
		seen(&g, "a", SIGHT_WRITABLE, 1);
		assert_string_equal(fit(&g, "rw"), "b");
		assert_string_equal(topology_state(host(&g, "a")), "fenced");
		assert_string_equal(topology_role(host(&g, "b")), "primary");
		topology_promote(host(&g, "a"), false);
		assert_string_equal(fit(&g, "rw"), "b");
		topology_promote(host(&g, "a"), true);
		assert_string_equal(fit(&g, "rw"), "a");
		rig_end(&g);
	}
}

/* The new primary comes under the old one's name: a switchover is over, and the change is remembered. */
static void test_promoted_behind_name(void **state)
{
	struct rig g;
	struct cluster *c;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\n");
	connect_some(&g, "rw", 3);
	c = host(&g, "a")->cluster;
	switchover_begin(c);
	assert_int_not_equal(c->switching.step, SWITCH_NONE);
	assert_string_equal(fit(&g, "rw"), "");
	seen(&g, "a", SIGHT_WRITABLE, 2);
	assert_int_equal(c->switching.step, SWITCH_NONE);
	assert_string_equal(fit(&g, "rw"), "a");
	assert_int_equal(g.r.failovers.last, 1);
	assert_string_equal(g.r.failovers.v[0].from, g.r.failovers.v[0].to);
	rig_end(&g);
}

static void test_suspicion(void **state)
{
	struct rig g;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\n");
	connect_some(&g, "rw", 2);
	topology_suspect(host(&g, "a"), "test");
	topology_suspect(host(&g, "b"), "test");
	assert_int_equal(g.probed, 1);
	assert_string_equal(topology_state(host(&g, "a")), "suspect");
	assert_string_equal(fit(&g, "rw"), "a");
	assert_int_equal(g.closed, 0);
	/* Answers of all refute it, and for a while it is not raised again. */
	pass(&g, 1000);
	seen(&g, "a", SIGHT_WRITABLE, 1);
	seen(&g, "b", SIGHT_STANDBY, 0);
	assert_string_equal(topology_state(host(&g, "a")), "suspect");
	seen(&g, "c", SIGHT_UNKNOWN, 0);
	assert_string_equal(topology_state(host(&g, "a")), "up");
	topology_suspect(host(&g, "a"), "test");
	assert_int_equal(g.probed, 1);
	pass(&g, USEC);
	topology_suspect(host(&g, "a"), "test");
	assert_int_equal(g.probed, 2);
	rig_end(&g);
}

static const struct failover *last_failover(const struct rig *g)
{
	return &g->r.failovers.v[(g->r.failovers.last - 1) % FAILOVERS];
}

/* What is run again counts for the change of the primary that it is a part of, before its decision and behind it. */
static void test_replayed(void **state)
{
	struct rig g;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\n");
	topology_suspect(host(&g, "a"), "test");
	topology_replayed(db(&g, "rw"));
	topology_replayed(db(&g, "rw"));
	assert_false(topology_is_standby(host(&g, "a")));
	seen(&g, "a", SIGHT_STANDBY, 0);
	assert_true(topology_is_standby(host(&g, "a")));
	seen(&g, "b", SIGHT_WRITABLE, 2);
	assert_string_equal(fit(&g, "rw"), "b");
	assert_int_equal(last_failover(&g)->replayed, 2);
	topology_replayed(db(&g, "rw"));
	assert_int_equal(last_failover(&g)->replayed, 3);
	/* A suspicion that was groundless takes its own with it. */
	pass(&g, 2 * USEC);
	topology_resumed(db(&g, "rw"));
	topology_suspect(host(&g, "b"), "test");
	topology_replayed(db(&g, "rw"));
	pass(&g, 1000);
	seen(&g, "a", SIGHT_STANDBY, 0);
	seen(&g, "b", SIGHT_WRITABLE, 2);
	seen(&g, "c", SIGHT_STANDBY, 0);
	seen(&g, "b", SIGHT_STANDBY, 0);
	seen(&g, "a", SIGHT_WRITABLE, 3);
	assert_int_equal(last_failover(&g)->timeline, 3);
	assert_int_equal(last_failover(&g)->replayed, 0);
	rig_end(&g);
}

/* a and b are one server, the primary. */
static void test_two_names(void **state)
{
	struct rig g;
	struct sight s;
	struct cluster *c;

	(void)state;
	rig_start(&g, HEAD "rw=host=a,c port=5432 user=u " RW
			   "\nother=host=b,c port=5432 user=u pool_mode=transaction " RW "\nboth=" ABC RW "\n");
	seen(&g, "b", SIGHT_UNKNOWN, 0); /* a is its name then: of two that come at once either may be */
	seen(&g, "c", SIGHT_STANDBY, 0);
	seen(&g, "a", SIGHT_WRITABLE, 1);
	s = host(&g, "a")->seen;
	topology_seen(host(&g, "b"), &s, NULL, 0);
	assert_string_equal(fit(&g, "rw"), "a");
	assert_string_equal(fit(&g, "other"), "b");
	assert_string_equal(fit(&g, "both"), "a"); /* its other name is for those who have no better one */
	assert_string_equal(topology_role(host(&g, "b")), "primary");
	connect_some(&g, "other", 2);
	c = host(&g, "b")->cluster;
	assert_int_equal(switchover_open(c), 1);
	/* A look that is late by one name cuts nobody. */
	seen(&g, "b", SIGHT_UNKNOWN, 0);
	assert_string_equal(fit(&g, "other"), "");
	assert_int_equal(pool(&g, "other")->n[SLOT_BUSY], 1);
	assert_int_equal(switchover_open(c), 1);
	topology_seen(host(&g, "b"), &s, NULL, 0);
	assert_string_equal(fit(&g, "other"), "b");
	/* Beside another one that takes writes either name is that of the primary. */
	seen(&g, "c", SIGHT_WRITABLE, 1);
	topology_promote(host(&g, "b"), false);
	assert_string_equal(fit(&g, "rw"), "a");
	assert_null(c->memory.named);
	rig_end(&g);
}

/* b and c are one server, a standby: which name comes first is not said, and no entry is without it. */
static void test_standby_two_names(void **state)
{
	struct rig g;
	struct sight s;

	(void)state;
	rig_start(&g, HEAD "all=" ABC RW "\nb=host=b port=5432 user=u target_session_attrs=standby"
			   "\nc=host=c port=5432 user=u target_session_attrs=standby"
			   "\nboth=" ABC "target_session_attrs=standby\n");
	seen(&g, "a", SIGHT_WRITABLE, 1);
	seen(&g, "b", SIGHT_STANDBY, 0);
	s = host(&g, "b")->seen;
	topology_seen(host(&g, "c"), &s, NULL, 0);
	assert_string_equal(fit(&g, "b"), "b");
	assert_string_equal(fit(&g, "c"), "c");
	assert_int_equal(strlen(fit(&g, "both")), 1); /* its share is that of one server */
	/* What holds of the server holds of each name: it is of another cluster, then it is the primary. */
	s.system_id = 8;
	topology_seen(host(&g, "b"), &s, NULL, 0);
	topology_seen(host(&g, "c"), &s, NULL, 0);
	assert_string_equal(fit(&g, "b"), "");
	assert_string_equal(fit(&g, "c"), "");
	assert_string_equal(fit(&g, "both"), "");
	s.system_id = 7;
	topology_seen(host(&g, "c"), &s, NULL, 0);
	s.role = SIGHT_WRITABLE;
	s.timeline = 2;
	topology_seen(host(&g, "b"), &s, NULL, 0);
	assert_string_equal(fit(&g, "all"), "b");
	assert_string_equal(fit(&g, "b"), "");
	assert_string_equal(fit(&g, "c"), "");
	/* One that has left the cluster has no other name. */
	configure(&g, HEAD "all=host=a,b port=5432 user=u " RW "\nc=host=c port=5432 user=u\n", false);
	assert_false(topology_is_standby(host(&g, "c")));
	rig_end(&g);
}

/* Of three names that do not all count one is enough; the one that counts may change, and no connection with it. */
static void test_three_names(void **state)
{
	struct rig g;
	struct sight s;
	uint32_t closed;

	(void)state;
	rig_start(&g, HEAD "all=" ABC RW "\nr=host=b,c port=5432 user=u target_session_attrs=standby"
			   "\none=host=c port=5432 user=u target_session_attrs=standby\n");
	seen(&g, "b", SIGHT_STANDBY, 0);
	s = host(&g, "b")->seen;
	topology_seen(host(&g, "a"), &s, NULL, 0);
	topology_seen(host(&g, "c"), &s, NULL, 0);
	assert_int_equal(strlen(fit(&g, "r")), 1);
	assert_string_equal(fit(&g, "one"), "c");
	connect_some(&g, "one", 3);
	closed = g.closed;
	for (int i = 0; i < 2; i++) {
		seen(&g, "a", SIGHT_UNKNOWN, 0);
		seen(&g, "b", SIGHT_UNKNOWN, 0);
		assert_string_equal(fit(&g, "one"), "c");
		topology_seen(host(&g, "b"), &s, NULL, 0);
		topology_seen(host(&g, "a"), &s, NULL, 0);
		assert_string_equal(fit(&g, "one"), "c");
	}
	assert_int_equal(g.closed, closed);
	rig_end(&g);
}

/* The primary by another name is the primary: it ends no SWITCHOVER, and nothing runs on it by that. */
static void test_switchover_other_name(void **state)
{
	struct rig g;
	struct sight s;
	struct cluster *c;

	(void)state;
	rig_start(&g, HEAD "rw=" ABC "pool_mode=transaction " RW "\n");
	seen(&g, "b", SIGHT_UNKNOWN, 0);
	seen(&g, "c", SIGHT_STANDBY, 0);
	seen(&g, "a", SIGHT_WRITABLE, 1);
	s = host(&g, "a")->seen;
	topology_seen(host(&g, "b"), &s, NULL, 0);
	assert_string_equal(fit(&g, "rw"), "a");
	connect_some(&g, "rw", 2);
	c = host(&g, "a")->cluster;
	switchover_begin(c);
	assert_int_equal(c->switching.step, SWITCH_DRAINING);
	seen(&g, "a", SIGHT_UNKNOWN, 0);
	assert_ptr_equal(c->now.primary, host(&g, "b"));
	assert_int_equal(c->switching.step, SWITCH_DRAINING);
	assert_int_equal(switchover_open(c), 1);
	assert_string_equal(fit(&g, "rw"), "");
	assert_int_equal(g.r.failovers.last, 0);
	/* Promoted is who is on another timeline. */
	seen(&g, "c", SIGHT_WRITABLE, 2);
	assert_int_equal(c->switching.step, SWITCH_NONE);
	assert_string_equal(fit(&g, "rw"), "c");
	assert_int_equal(g.r.failovers.last, 1);
	rig_end(&g);
}

/* By a name whose look is old it still is a standby: what it was given as the primary is cut off all the same. */
static void test_cut_by_other_name(void **state)
{
	struct rig g;
	struct sight s;
	unsigned closed;

	(void)state;
	rig_start(&g, HEAD "all=" ABC RW "\nrw=host=b,c port=5432 user=u " RW "\n");
	seen(&g, "b", SIGHT_STANDBY, 0);
	seen(&g, "c", SIGHT_STANDBY, 0);
	s = host(&g, "b")->seen;
	s.role = SIGHT_WRITABLE;
	s.timeline = 2;
	topology_seen(host(&g, "a"), &s, NULL, 0);
	assert_string_equal(fit(&g, "rw"), "b");
	connect_some(&g, "rw", 1);
	closed = g.closed;
	seen(&g, "c", SIGHT_WRITABLE, 3);
	assert_string_equal(fit(&g, "rw"), "c");
	assert_int_equal(g.closed, closed + 1);
	rig_end(&g);
}

/* While it is not known where the primary is nobody knows what is open there. */
static void test_switchover_late_look(void **state)
{
	struct rig g;
	struct cluster *c;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC "pool_mode=transaction " RW "\n");
	connect_some(&g, "rw", 2);
	c = host(&g, "a")->cluster;
	switchover_begin(c);
	seen(&g, "a", SIGHT_UNKNOWN, 0);
	assert_int_not_equal(c->now.say, CLUSTER_SERVE);
	for (int i = 0; i < 10; i++)
		pass(&g, USEC / 50);
	assert_int_equal(c->switching.step, SWITCH_DRAINING);
	seen(&g, "a", SIGHT_WRITABLE, 1);
	pass(&g, USEC / 50);
	assert_int_equal(c->switching.step, SWITCH_DRAINING);
	op_close(TAILQ_FIRST(&pool(&g, "rw")->slots[SLOT_BUSY]), POOL_CLOSE_MOVED, &g);
	pass(&g, USEC / 50);
	assert_int_equal(c->switching.step, SWITCH_CATCHING_UP);
	switchover_end(c);
	/* It has its time, too. */
	connect_some(&g, "rw", 1);
	switchover_begin(c);
	seen(&g, "a", SIGHT_UNKNOWN, 0);
	pass(&g, c->registry->config->set.failover_drain_timeout);
	assert_int_equal(c->switching.step, SWITCH_NONE);
	assert_string_equal(c->switching.why, "no primary is known");
	rig_end(&g);
}

/* PROMOTE of who is the primary already changes nothing, and is no reason of what happens later. */
static void test_promote_trigger(void **state)
{
	struct rig g;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\n");
	connect_some(&g, "rw", 2);
	assert_true(topology_promote(host(&g, "a"), false));
	assert_string_equal(fit(&g, "rw"), "a");
	assert_int_equal(g.r.failovers.last, 0);
	assert_int_equal(g.closed, 0);
	seen(&g, "b", SIGHT_WRITABLE, 2);
	assert_string_equal(fit(&g, "rw"), "b");
	assert_string_equal(last_failover(&g)->trigger, "seen by a probe");
	/* What was suspected keeps its reason. */
	pass(&g, 2 * USEC);
	topology_suspect(host(&g, "b"), "a test");
	topology_promote(host(&g, "b"), true);
	seen(&g, "c", SIGHT_WRITABLE, 3);
	assert_string_equal(last_failover(&g)->trigger, "a test");
	/* And where it is the reason it is told. */
	assert_true(topology_promote(host(&g, "b"), true));
	assert_string_equal(fit(&g, "rw"), "b");
	assert_string_equal(last_failover(&g)->trigger, "PROMOTE");
	/* One of which not all is known cannot be it. */
	seen(&g, "a", SIGHT_WRITABLE, 0);
	assert_false(topology_promote(host(&g, "a"), true));
	assert_string_equal(fit(&g, "rw"), "b");
	rig_end(&g);
}

/* Connections of clients are all that is known: one is tried after the other, and what they say counts. */
static void test_blind(void **state)
{
	struct rig g;

	(void)state;
	rig_start(&g, HEAD "rw=" ABC RW "\nro=" ABC "target_session_attrs=standby\n");
	topology_blind(host(&g, "a"), true);
	topology_blind(host(&g, "b"), true);
	topology_blind(host(&g, "c"), true);
	assert_string_equal(fit(&g, "rw"), "abc");
	topology_witness(host(&g, "a"), true);
	assert_string_equal(fit(&g, "rw"), "bc");
	assert_string_equal(fit(&g, "ro"), "a");
	topology_witness(host(&g, "b"), false);
	topology_witness(host(&g, "c"), true);
	assert_string_equal(fit(&g, "rw"), "b");
	assert_string_equal(topology_state(host(&g, "a")), "blind");
	/* One can be asked again. */
	topology_blind(host(&g, "a"), false);
	seen(&g, "a", SIGHT_WRITABLE, 4);
	assert_string_equal(fit(&g, "rw"), "a");
	/* What contradicts the monitor is suspicious, and no more. */
	g.probed = 0;
	topology_witness(host(&g, "a"), true);
	assert_int_equal(g.probed, 1);
	assert_string_equal(fit(&g, "rw"), "a");
	rig_end(&g);
}

/* Entries that share a host are of one cluster, hosts come and go, and what is known stays. */
static void test_reload(void **state)
{
	static const char both[] = HEAD "x=host=a,b port=5432 user=u " RW "\ny=host=c port=5432 user=u " RW "\n";
	struct rig g;

	(void)state;
	rig_start(&g, both);
	assert_ptr_not_equal(db(&g, "x")->cluster, db(&g, "y")->cluster);
	seen(&g, "a", SIGHT_WRITABLE, 5);
	seen(&g, "b", SIGHT_STANDBY, 0);
	assert_string_equal(fit(&g, "x"), "a");
	configure(&g,
		HEAD "x=host=a,b port=5432 user=u " RW "\ny=host=c port=5432 user=u " RW
		     "\nz=host=b,c port=5432 user=u " RW "\n",
		false);
	assert_ptr_equal(db(&g, "x")->cluster, db(&g, "y")->cluster);
	assert_ptr_equal(db(&g, "x")->cluster, db(&g, "z")->cluster);
	assert_int_equal(db(&g, "x")->cluster->n, 3);
	assert_string_equal(fit(&g, "x"), "a");
	assert_string_equal(fit(&g, "z"), "");
	/* The primary leaves the file: an older timeline is not gone back to. */
	configure(&g, HEAD "x=host=b,c port=5432 user=u " RW "\n", false);
	seen(&g, "c", SIGHT_WRITABLE, 4);
	pass(&g, USEC);
	assert_string_equal(fit(&g, "x"), "");
	seen(&g, "c", SIGHT_WRITABLE, 6);
	assert_string_equal(fit(&g, "x"), "c");
	/* Nothing is watched any more. */
	configure(&g, HEAD "x=host=b,c port=5432 user=u\n", false);
	assert_string_equal(fit(&g, "x"), "bc");
	assert_true(TAILQ_EMPTY(&g.r.clusters));
	assert_int_equal(g.watched, 4);
	rig_end(&g);
}

/* Clusters that become one by a new entry: what is known of either is kept, whatever the order of the entries. */
static void test_merge(void **state)
{
	static const char *const names[] = {"c", "e", "k", "zz", "m1", "q7"};
	char text[400];
	struct rig g;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		rig_start(&g, HEAD "d=host=a,b port=5432 user=u " RW "\n");
		seen(&g, "a", SIGHT_WRITABLE, 3);
		seen(&g, "b", SIGHT_WRITABLE, 2);
		assert_string_equal(fit(&g, "d"), "a");
		seen(&g, "a", SIGHT_UNKNOWN, 0);
		assert_string_equal(fit(&g, "d"), "");
		snprintf(text, sizeof(text),
			HEAD "d=host=a,b port=5432 user=u " RW "\n%s=host=c port=5432 user=u " RW
			     "\nn%s=host=c,a port=5432 user=u " RW "\n",
			names[i], names[i]);
		configure(&g, text, false);
		pass(&g, 2 * USEC);
		assert_string_equal(fit(&g, "d"), "");
		assert_string_equal(topology_state(host(&g, "b")), "fenced");
		rig_end(&g);
	}
}

/* The monitor of name is at 10.0.0.N, where it is told that; started: by which the server is known. */
static void seen_at(struct rig *g, const char *name, int n, enum sight_role role, uint32_t timeline, int64_t started)
{
	struct sight s = {.answers = true, .role = role, .timeline = timeline, .system_id = 7, .started_us = started};
	struct addr at;
	char text[32];

	snprintf(text, sizeof text, "10.0.0.%d", n);
	assert_true(addr_parse(text, 5432, &at));
	topology_seen(host(g, name), &s, &at, INT64_MAX);
	pools_run(&g->r);
}

static void named(struct rig *g, const char *name, int n)
{
	struct addr a[2];
	char text[32];

	snprintf(text, sizeof text, "10.0.0.%d", n);
	assert_true(addr_parse("10.0.0.99", 0, &a[0]) && addr_parse(text, 0, &a[1]));
	topology_named(host(g, name), a, 2);
}

/* A name is another server's from now on. */
static void test_address(void **state)
{
	struct rig g;

	(void)state;
	rig_start(&g, HEAD "rw=" ABC RW "\n");
	named(&g, "a", 1); /* where it is is not known yet */
	assert_int_equal(g.probed, 0);
	seen_at(&g, "a", 1, SIGHT_WRITABLE, 1, 'a');
	seen_at(&g, "b", 2, SIGHT_STANDBY, 0, 'b');
	seen_at(&g, "c", 3, SIGHT_STANDBY, 0, 'c');
	connect_some(&g, "rw", 3);
	named(&g, "a", 1);
	assert_int_equal(g.probed, 0);
	named(&g, "a", 4);
	assert_int_equal(g.probed, 1);
	assert_int_equal(g.closed, 0);
	/* The same server: only what is idle goes. */
	seen_at(&g, "a", 4, SIGHT_WRITABLE, 1, 'a');
	assert_int_equal(g.closed, 2);
	assert_int_equal(pool(&g, "rw")->n[SLOT_BUSY], 1);
	connect_some(&g, "rw", 2);
	/* Another one, but the old one is not gone: the name of c leads to it. */
	seen_at(&g, "c", 4, SIGHT_WRITABLE, 1, 'a');
	assert_string_equal(topology_state(host(&g, "c")), "suspect");
	seen_at(&g, "a", 5, SIGHT_STANDBY, 0, 'd');
	assert_string_equal(fit(&g, "rw"), "c");
	assert_int_equal(pool(&g, "rw")->n[SLOT_BUSY], 2);
	/* It is gone: all that is open to it is cut off, as soon as there is a primary. */
	connect_some(&g, "rw", 1);
	seen_at(&g, "c", 6, SIGHT_WRITABLE, 0, 'e');
	assert_string_equal(fit(&g, "rw"), "");
	assert_int_equal(pool(&g, "rw")->n[SLOT_BUSY], 3);
	seen_at(&g, "c", 6, SIGHT_WRITABLE, 2, 'e');
	assert_string_equal(fit(&g, "rw"), "c");
	assert_int_equal(pool(&g, "rw")->n[SLOT_BUSY], 0); /* by whichever name */
	rig_end(&g);
}

/* As long as nobody is known to be there connections go where the name leads, and are not kept. */
static void test_address_unknown(void **state)
{
	struct rig g;

	(void)state;
	rig_start(&g, HEAD "rw=host=a,10.0.0.9 port=5432 user=u " RW "\n");
	topology_blind(host(&g, "a"), true);
	seen_at(&g, "10.0.0.9", 9, SIGHT_STANDBY, 0, 'b');
	assert_int_equal(host(&g, "10.0.0.9")->address.family, AF_UNSPEC); /* no name */
	connect_some(&g, "rw", 3);
	topology_blind(host(&g, "a"), false);
	seen_at(&g, "a", 1, SIGHT_WRITABLE, 1, 'a');
	assert_int_equal(host(&g, "a")->address.family, AF_INET);
	assert_int_equal(g.closed, 2);
	assert_int_equal(pool(&g, "rw")->n[SLOT_BUSY], 1);
	topology_blind(host(&g, "a"), true);
	assert_int_equal(host(&g, "a")->address.family, AF_UNSPEC);
	rig_end(&g);
}

static void stands_at(struct rig *g, const char *name, const char *lsn)
{
	struct endpoint *ep = host(g, name);
	struct sight same = ep->seen;

	snprintf(ep->lsn, sizeof(ep->lsn), "%s", lsn);
	ep->lsn_us = clock_us();
	topology_seen(ep, &same, NULL, 0);
	pools_run(&g->r);
}

/* A standby that is too far behind is left out until it no longer is. */
static void test_lag(void **state)
{
	struct rig g;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\nbytes=" ABC "target_session_attrs=standby max_replica_lag=100B\n"
				    "age=" ABC "target_session_attrs=prefer-standby max_replica_lag=2s\n");
	assert_string_equal(fit(&g, "bytes"), "bc"); /* nothing is known of positions */
	stands_at(&g, "a", "1/1000");
	stands_at(&g, "b", "1/1000");
	stands_at(&g, "c", "1/F9C");
	assert_string_equal(fit(&g, "bytes"), "bc");
	stands_at(&g, "c", "1/F9B");
	assert_string_equal(fit(&g, "bytes"), "b");
	assert_string_equal(fit(&g, "age"), "bc");
	pass(&g, 2 * USEC);
	stands_at(&g, "c", "1/FFF");
	assert_string_equal(fit(&g, "bytes"), "bc");
	assert_string_equal(fit(&g, "age"), "bc");
	pass(&g, 1);
	stands_at(&g, "c", "1/FFF"); /* what it has not replayed is over two seconds old */
	assert_string_equal(fit(&g, "age"), "b");
	stands_at(&g, "a", "2/0");
	stands_at(&g, "b", "1/FFF");
	assert_string_equal(fit(&g, "age"), "a");
	assert_string_equal(fit(&g, "bytes"), "");
	stands_at(&g, "b", "1/1000"); /* it has replayed the old one, and the new one is new */
	assert_string_equal(fit(&g, "age"), "b");
	stands_at(&g, "c", "2/0");
	assert_string_equal(fit(&g, "age"), "bc");
	assert_string_equal(fit(&g, "bytes"), "c");
	rig_end(&g);
}

/* However long it has stood still, its age is told; also where no entry has a limit. */
static void test_long_lag(void **state)
{
	struct rig g;
	int64_t bytes, age;
	char at[32];

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\n");
	stands_at(&g, "b", "1/0");
	for (unsigned i = 1; i <= 5000; i++) {
		snprintf(at, sizeof at, "1/%X", i);
		stands_at(&g, "a", at);
		pass(&g, USEC);
	}
	assert_true(topology_lag(host(&g, "b"), &bytes, &age)); /* it was asked before all of that */
	assert_int_equal(age, 0);
	stands_at(&g, "b", "1/0");
	assert_true(topology_lag(host(&g, "b"), &bytes, &age));
	assert_int_equal(bytes, 5000);
	assert_int_equal(age, 5000 * USEC);
	for (unsigned i = 4990; i > 1; i = i * 3 / 4) { /* within a tenth of what it is */
		snprintf(at, sizeof at, "1/%X", i);
		stands_at(&g, "b", at);
		assert_true(topology_lag(host(&g, "b"), &bytes, &age));
		assert_in_range(age, (5000 - i) * USEC * 9 / 10 - USEC, (5000 - i) * USEC);
	}
	rig_end(&g);
}

/* Those of the own zone come first. */
static void test_zones(void **state)
{
	struct rig g;

	(void)state;
	start_with_primary(&g, "[pgbouncer]\nauth_type=trust\nzone=here\n[databases]\nrw=" ABC RW "\nnear=" ABC
			       "target_session_attrs=standby host_zones=here,there,here prefer_same_zone=1\n"
			       "far=" ABC "target_session_attrs=prefer-standby host_zones=here,there,here\n");
	assert_string_equal(fit(&g, "near"), "c");
	assert_string_equal(fit(&g, "far"), "bc");
	seen(&g, "c", SIGHT_UNKNOWN, 0);
	assert_string_equal(fit(&g, "near"), "b");
	seen(&g, "c", SIGHT_STANDBY, 0);
	assert_string_equal(fit(&g, "near"), "c");
	assert_string_equal(fit(&g, "rw"), "a");
	rig_end(&g);
}

/* A database that "*" makes is of the cluster that its hosts are of. */
static void test_automatic(void **state)
{
	struct rig g;

	(void)state;
	start_with_primary(&g, HEAD "rw=" ABC RW "\n* = " ABC RW "\n");
	assert_non_null(registry_database(&g.r, "other"));
	database_hold(db(&g, "other"));
	assert_string_equal(fit(&g, "other"), "a");
	assert_ptr_equal(db(&g, "other")->cluster, db(&g, "rw")->cluster);
	database_drop(db(&g, "other"));
	rig_end(&g);
}

/* ---- histories: what must hold whatever happens, is suspected, is seen, and however the clock goes ---- */

enum { RUNS = 1000, EVENTS = 60, NAMES = 3, TRACE = EVENTS * 64 };
enum pace { STANDS, CREEPS, LEAPS, PACES };

#define must(what)                                                                                                    \
	do {                                                                                                          \
		if (!(what))                                                                                          \
			fail_msg("PSB_TEST_SEED=%" PRIu64 ", pace %d, event %d: not so: %s", h->number, (int)h->pace, \
				h->event, #what);                                                                     \
	} while (0)

/* The truth. What is seen of it lags behind. */
struct node {
	bool up, writable;
	uint32_t timeline;
	int64_t started_us;
};

struct history {
	struct rig g;
	struct node node[NAMES];
	uint64_t number, seed, clock_seed; /* the events are the same whatever the clock does */
	enum pace pace;
	int event;
	uint32_t timeline; /* the highest that there was */
	char trace[TRACE];
	size_t traced;
};

static const char *const names[NAMES] = {"a", "b", "c"};

static unsigned draw(uint64_t *seed, unsigned n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned)((*seed >> 8) % n);
}

static struct cluster *the_cluster(struct history *h)
{
	return db(&h->g, "rw")->cluster;
}

static void time_goes(struct history *h)
{
	static const int64_t leaps_us[] = {0, 1, 1000, USEC, 3600 * USEC, 86400 * 365 * USEC};

	if (h->pace == CREEPS)
		pass(&h->g, 1 + draw(&h->clock_seed, 100000));
	else if (h->pace == LEAPS)
		pass(&h->g, leaps_us[draw(&h->clock_seed, 6)]);
}

static void happens(struct history *h)
{
	struct node *n = &h->node[draw(&h->seed, NAMES)], *other = &h->node[draw(&h->seed, NAMES)];

	switch (draw(&h->seed, 7)) {
	case 0: n->up = false; return;
	case 1:
	case 2: /* comes back as what it was, on whatever timeline that is */
		if (!n->up)
			n->started_us++;
		n->up = true;
		return;
	case 3: n->writable = false; return;
	case 4: /* it is alone, or the other one is promoted at once, to the same timeline */
		if (n->writable || other->writable)
			return;
		other->writable = true;
		other->timeline = h->timeline + 1;
		__attribute__((fallthrough));
	default:
		if (n->writable)
			return;
		n->writable = true;
		n->timeline = ++h->timeline;
	}
}

static void look(struct history *h, int i)
{
	const struct node *n = &h->node[i];
	struct sight s = host(&h->g, names[i])->seen;

	s.answers = n->up;
	if (n->up) {
		s.role = n->writable ? SIGHT_WRITABLE : SIGHT_STANDBY;
		s.timeline = n->writable ? n->timeline : 0;
		s.system_id = 7;
		s.started_us = n->started_us * NAMES + i + 1;
	}
	topology_seen(host(&h->g, names[i]), &s, NULL, 0);
}

/* A connection from before its host was lost or demoted, or to where nothing is to go, is never used. */
static void check_slots(struct history *h)
{
	struct pool *p;
	struct slot *s;

	TAILQ_FOREACH (p, &h->g.r.pools, all)
		for (int i = 0; i < SLOT_STATES; i++)
			TAILQ_FOREACH (s, &p->slots[i], link) {
				bool good =
					s->generation == s->endpoint->generation && topology_fits(p->db, s->endpoint);

				must(good || s->retired);
				must(good || i == SLOT_BUSY);
			}
}

/* Who fits what, and how often connections had to be replaced. */
static void take_down(struct history *h, char *out, size_t size)
{
	size_t n = 0;

	n += (size_t)snprintf(out, size, "%s/", fit(&h->g, "rw"));
	n += (size_t)snprintf(out + n, size - n, "%s/", fit(&h->g, "ro"));
	n += (size_t)snprintf(out + n, size - n, "%s", fit(&h->g, "prefer"));
	for (int i = 0; i < NAMES; i++)
		n += (size_t)snprintf(out + n, size - n, ",%u", (unsigned)host(&h->g, names[i])->generation);
	snprintf(out + n, size - n, ";");
}

/* It only ever makes somebody look. */
static void is_suspected(struct history *h)
{
	struct cluster *c = the_cluster(h);
	struct endpoint *ep = host(&h->g, names[draw(&h->seed, NAMES)]);
	struct cluster_decision now = c->now;
	struct cluster_memory memory = c->memory;
	int closed = h->g.closed, held = h->g.held, probed = h->g.probed;
	bool was = c->suspect_us != 0;
	char before[64], after[64];

	take_down(h, before, sizeof before);
	switch (draw(&h->seed, 4)) {
	case 0: topology_suspect(ep, "a test"); break;
	case 1: topology_turned_away(ep, "a test"); break;
	case 2: topology_witness(ep, true); break;
	default: topology_witness(ep, false);
	}
	pools_run(&h->g.r);
	take_down(h, after, sizeof after);
	must(strcmp(before, after) == 0);
	must(h->g.closed == closed && h->g.held == held);
	must(c->now.say == now.say && c->now.primary == now.primary);
	must(memcmp(&c->memory, &memory, sizeof memory) == 0);
	must((h->g.probed > probed) == (!was && c->suspect_us != 0));
}

/* A fact: what it says is decided at once, and where that is a hold, all are looked at. */
static void is_seen(struct history *h, int i)
{
	struct cluster *c = the_cluster(h);
	struct cluster_memory memory = c->memory;
	enum cluster_say say = c->now.say;
	struct cluster_decision d;
	struct sight all[NAMES];
	const struct endpoint *ep = host(&h->g, names[i]);
	bool was_up = ep->state == SIGHT_UP;
	unsigned generation = (unsigned)ep->generation;
	int probed = h->g.probed;

	look(h, i);
	must((unsigned)ep->generation == generation + (was_up && ep->state != SIGHT_UP)); /* lost, or fenced */
	for (size_t j = 0; j < c->n; j++)
		all[j] = c->members[j]->seen;
	d = cluster_decide(&memory, all, c->n, true);
	must(c->now.say == d.say && (d.say != CLUSTER_SERVE || c->now.primary == d.primary));
	must(c->memory.timeline == memory.timeline && c->memory.primary == memory.primary);
	must(c->now.say != CLUSTER_HOLD || say == CLUSTER_HOLD || h->g.probed > probed);
	pools_run(&h->g.r);
}

static bool is_the_highest(const struct history *h, int i, bool *alone)
{
	*alone = true;
	if (!h->node[i].up || !h->node[i].writable)
		return false;
	for (int j = 0; j < NAMES; j++) {
		const struct node *n = &h->node[j];

		if (j == i || !n->up || !n->writable)
			continue;
		if (n->timeline > h->node[i].timeline)
			return false;
		*alone = *alone && n->timeline < h->node[i].timeline;
	}
	return true;
}

/* When each was looked at once, which takes an interval, the truth is known, nothing is suspect, and what is old is fenced. */
static void are_seen(struct history *h)
{
	struct cluster *c = the_cluster(h);
	uint32_t timeline = c->memory.timeline;

	time_goes(h);
	if (h->pace != STANDS)
		pass(&h->g, 1);
	for (int i = 0; i < NAMES; i++)
		is_seen(h, i);
	for (int i = 0; i < NAMES; i++) {
		const struct endpoint *ep = host(&h->g, names[i]);
		bool alone, highest = is_the_highest(h, i, &alone);

		if (highest && alone && h->node[i].timeline >= timeline)
			must(c->now.say == CLUSTER_SERVE && c->now.primary == ep);
		if (!highest && c->now.say == CLUSTER_SERVE)
			must(c->now.primary != ep);
		if (h->node[i].up && h->node[i].writable && h->node[i].timeline < c->memory.timeline)
			must(strcmp(topology_state(ep), "fenced") == 0);
	}
	if (h->pace != STANDS && c->now.say == CLUSTER_SERVE)
		must(c->suspect_us == 0);
}

/* At first nothing is decided before all have answered or had the time for it. */
static void begins(struct history *h)
{
	for (int i = 0; i < NAMES; i++)
		h->node[i] = (struct node){.up = true, .writable = i == 0, .timeline = 1};
	h->timeline = 1;
	for (unsigned i = draw(&h->seed, NAMES); i > 0; i--)
		look(h, (int)i);
	must(the_cluster(h)->now.say == CLUSTER_WAIT);
	pass(&h->g, USEC - 1);
	h->node[2].started_us++;
	look(h, 2);
	must(the_cluster(h)->now.say == CLUSTER_WAIT);
	pass(&h->g, h->pace == LEAPS ? 86400 * USEC : 1);
	must(the_cluster(h)->now.say == CLUSTER_HOLD);
	for (int i = 0; i < NAMES; i++)
		look(h, i);
	must(the_cluster(h)->now.say == CLUSTER_SERVE);
}

static void run(struct history *h)
{
	rig_start(&h->g,
		"[pgbouncer]\nauth_type=trust\nserver_idle_timeout=0\nserver_lifetime=0\n[databases]\nrw=" ABC RW
		"\nro=" ABC "target_session_attrs=standby\nprefer=" ABC "target_session_attrs=prefer-standby\n");
	begins(h);
	for (h->event = 0; h->event < EVENTS; h->event++) {
		time_goes(h);
		switch (draw(&h->seed, 8)) {
		case 0:
		case 1: happens(h); break;
		case 2:
		case 3: is_suspected(h); break;
		case 4: are_seen(h); break;
		case 5:
			for (int i = 0; i < 2; i++)
				if (fit(&h->g, i ? "ro" : "rw")[0] && pool(&h->g, i ? "ro" : "rw")->servers < 6)
					connect_some(&h->g, i ? "ro" : "rw", 2);
			break;
		default: is_seen(h, (int)draw(&h->seed, NAMES));
		}
		check_slots(h);
		take_down(h, h->trace + h->traced, TRACE - h->traced);
		h->traced += strlen(h->trace + h->traced);
	}
	rig_end(&h->g);
}

static void test_histories(void **state)
{
	const char *given = getenv("PSB_TEST_SEED");
	uint64_t first = given ? strtoull(given, NULL, 10) : 1;
	static struct history paces[PACES];

	(void)state;
	for (uint64_t i = first; i < first + RUNS; i++)
		for (int k = 0; k < PACES; k++) {
			struct history *h = &paces[k];

			memset(h, 0, sizeof *h);
			h->number = i;
			h->seed = h->clock_seed = i * 0x9e3779b97f4a7c15u;
			h->pace = (enum pace)k;
			run(h);
			must(strcmp(h->trace, paces[0].trace) == 0); /* the clock decides nothing */
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_promoted_behind_name),
		cmocka_unit_test(test_suspicion),
		cmocka_unit_test(test_replayed),
		cmocka_unit_test(test_two_names),
		cmocka_unit_test(test_standby_two_names),
		cmocka_unit_test(test_three_names),
		cmocka_unit_test(test_switchover_late_look),
		cmocka_unit_test(test_switchover_other_name),
		cmocka_unit_test(test_cut_by_other_name),
		cmocka_unit_test(test_promote_trigger),
		cmocka_unit_test(test_blind),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_address_unknown),
		cmocka_unit_test(test_lag),
		cmocka_unit_test(test_long_lag),
		cmocka_unit_test(test_zones),
		cmocka_unit_test(test_automatic),
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
