/*
 * registry: what runs and how long, what a new configuration does to it, and
 * the limits. Who gets which server is test_pool's.
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
#include "pool/pool.h"
#include "pool/registry.h"
#include "pool/vars.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

struct rig {
	struct registry r;
	struct timers timers;
	struct ask client; /* of the database that is gone: leaves it */
	char gone[200];
	int closed;
};

static char *file_of(const char *text)
{
	char *path = strdup("/tmp/psb-registry-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return path;
}

static struct config *config_of(const char *text)
{
	char *path = file_of(text), buf[300];
	struct errs errs = {0};
	struct config *c = config_load(path, &errs);

	unlink(path);
	free(path);
	for (size_t i = 0; i < errs.n; i++)
		print_message("# %s\n", errs_format(&errs, i, buf, sizeof buf));
	errs_free(&errs);
	assert_non_null(c);
	return c;
}

static void op_launch(struct pool *p, bool reserve, struct ask *own, void *ctx)
{
	(void)own;
	(void)p;
	(void)reserve;
	(void)ctx;
}

static void op_grant(struct ask *a, struct slot *s, void *ctx)
{
	(void)a;
	(void)s;
	(void)ctx;
	fail();
}

static void op_test(struct slot *s, void *ctx)
{
	(void)s;
	(void)ctx;
	fail();
}

static void op_close(struct slot *s, enum pool_close why, void *ctx)
{
	(void)why;
	((struct rig *)ctx)->closed++;
	pool_slot_remove(s);
}

static void op_fail(struct ask *a, void *ctx)
{
	(void)a;
	(void)ctx;
	fail();
}

static void op_gone(struct database *d, void *ctx)
{
	struct rig *g = ctx;

	assert_null(d->conf);
	snprintf(g->gone + strlen(g->gone), sizeof g->gone - strlen(g->gone), "%s ", d->name);
	if (g->client.pool != NULL && g->client.pool->db == d) {
		pool_leave(&g->client);
		database_drop(d); /* the hold of the client */
	}
}

static const struct pool_ops ops = {op_launch, op_grant, op_test, op_close, op_fail, op_gone, NULL, NULL, NULL};

static struct rig *rig_new(const char *text)
{
	struct rig *g = calloc(1, sizeof *g);
	struct config *c = config_of(text);

	clock_hold(1000 * USEC);
	registry_init(&g->r, &g->timers, c, &ops, g);
	assert_int_equal(c->refs > 1, true);
	config_unref(&c);
	return g;
}

static void rig_free(struct rig *g)
{
	registry_free(&g->r);
	timers_free(&g->timers);
	free(g);
	for (int tag = 0; tag < MEM_TAGS; tag++)
		assert_int_equal(mem_usage_get((enum mem_tag)tag).objects, 0);
}

static void reload(struct rig *g, const char *text)
{
	struct config *c = config_of(text);

	g->gone[0] = '\0';
	registry_configure(&g->r, c);
	assert_ptr_equal(g->r.config, c);
	config_unref(&c);
	pools_run(&g->r);
}

#define HEAD "[pgbouncer]\nauth_type=trust\n[databases]\n"

static void test_databases(void **state)
{
	struct rig *g = rig_new(HEAD "a = host=h1\nb = host=h1,h2 port=1,2\nlocal =\n");
	struct database *a = registry_database(&g->r, "a"), *b = registry_database_find(&g->r, "b");

	(void)state;
	assert_int_equal(g->r.databases.count, 3);
	assert_non_null(a);
	assert_non_null(b);
	assert_ptr_equal(registry_database(&g->r, "a"), a);
	assert_null(registry_database(&g->r, "A"));
	assert_null(registry_database(&g->r, "other"));
	assert_null(registry_database_find(&g->r, "other"));
	assert_int_equal(a->n_hosts, 1);
	assert_int_equal(a->hosts[0]->port, 5432);
	assert_int_equal(b->n_hosts, 2);
	assert_string_equal(b->hosts[1]->host, "h2");
	assert_int_equal(b->hosts[1]->port, 2);
	assert_string_equal(registry_database(&g->r, "local")->hosts[0]->host, "/tmp");
	/* Of the file: it stays without holds. */
	database_hold(a);
	database_drop(a);
	assert_ptr_equal(registry_database_find(&g->r, "a"), a);
	rig_free(g);
}

static void test_socket_folder(void **state)
{
	static const struct {
		const char *set, *host;
	} rows[] = {{"/run/pg", "/run/pg"}, {"@pg", "@pg"}, {"", "/tmp"}};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char text[200];
		struct rig *g;

		snprintf(text, sizeof text, "[pgbouncer]\nunix_socket_dir=%s\n[databases]\na=\n", rows[i].set);
		g = rig_new(text);
		assert_string_equal(registry_database(&g->r, "a")->hosts[0]->host, rows[i].host);
		rig_free(g);
	}
}

static void test_automatic(void **state)
{
	struct rig *g = rig_new(HEAD "a = host=h1\n* = host=h2\n");
	struct database *d = registry_database(&g->r, "made");
	struct user *u = registry_user(&g->r, "u");
	struct ask client = {0};
	struct slot slot = {0};

	(void)state;
	assert_int_equal(g->r.databases.count, 2); /* "*" is no database */
	assert_true(d->automatic);
	assert_false(registry_database(&g->r, "a")->automatic);
	assert_ptr_equal(d->hosts[0], registry_database(&g->r, "again")->hosts[0]);
	database_hold(registry_database(&g->r, "again"));
	database_drop(registry_database(&g->r, "again"));
	assert_null(registry_database_find(&g->r, "again"));

	/* It lives as long as its last connection, and so does a user of nobody's file. */
	database_hold(d);
	user_hold(u);
	pool_enter(pool_get(&g->r, d, u), &client);
	pool_slot_add(client.pool, &slot, d->hosts[0], false);
	pool_leave(&client);
	database_drop(d);
	user_drop(u);
	pools_run(&g->r);
	assert_ptr_equal(registry_database_find(&g->r, "made"), d);
	assert_ptr_equal(registry_user_find(&g->r, "u"), u);
	pool_slot_remove(&slot);
	assert_ptr_equal(registry_database_find(&g->r, "made"), d); /* not at once: the caller may look at it */
	assert_true(pools_are_due(&g->r));
	pools_run(&g->r);
	assert_null(registry_database_find(&g->r, "made"));
	assert_null(registry_user_find(&g->r, "u"));
	assert_int_equal(g->r.pool_index.count, 0);
	rig_free(g);
}

static void test_users(void **state)
{
	char *file = file_of("\"known\" \"secret\"\n"), text[300];
	struct rig *g;
	struct user *u;

	(void)state;
	snprintf(text, sizeof text,
		"[pgbouncer]\nauth_file=%s\n[users]\nlisted = pool_size=3\n[databases]\na = user=forced\n", file);
	g = rig_new(text);
	assert_non_null(registry_user_find(&g->r, "forced"));
	assert_null(registry_user_find(&g->r, "known")); /* those of the file cost nothing until they come */
	static const char *const names[] = {"known", "listed", "forced", "nobody"};
	for (size_t i = 0; i < ROWS(names); i++) {
		u = registry_user(&g->r, names[i]);
		assert_ptr_equal(registry_user(&g->r, names[i]), u);
		assert_int_equal(u->conf != NULL, strcmp(names[i], "listed") == 0);
		user_hold(u);
		user_hold(u);
		user_drop(u);
		assert_ptr_equal(registry_user_find(&g->r, names[i]), u);
		user_drop(u);
		assert_int_equal(registry_user_find(&g->r, names[i]) != NULL, strcmp(names[i], "nobody") != 0);
	}
	/* A new configuration that knows none of them. */
	reload(g, "[pgbouncer]\n[databases]\na = user=other\n");
	assert_int_equal(g->r.users.count, 1);
	assert_non_null(registry_user_find(&g->r, "other"));
	rig_free(g);
	unlink(file);
	free(file);
}

/* The pool of a forced user that min_pool_size keeps filled is there from the start. */
static void test_forced(void **state)
{
	struct rig *g = rig_new(HEAD "a = host=h user=joe pool_size=7\nb = host=h\n");
	struct database *a = registry_database(&g->r, "a");

	(void)state;
	assert_int_equal(g->r.pool_index.count, 1);
	assert_ptr_equal(TAILQ_FIRST(&a->pools)->user, a->forced);
	assert_string_equal(a->forced->name, "joe");
	assert_int_equal(TAILQ_FIRST(&a->pools)->size, 7);
	assert_null(registry_database(&g->r, "b")->forced);
	reload(g, HEAD "a = host=h user=ann\nb = host=h\n");
	assert_string_equal(a->forced->name, "ann");
	assert_null(registry_user_find(&g->r, "joe")); /* with its pool */
	assert_int_equal(g->r.pool_index.count, 1);
	reload(g, HEAD "a = host=h\nb = host=h\n");
	assert_null(a->forced);
	assert_int_equal(g->r.users.count, 0);
	rig_free(g);
}

static void test_effective(void **state)
{
	struct rig *g =
		rig_new("[pgbouncer]\nauth_type=trust\nmin_pool_size=2\nreserve_pool_size=3\nserver_lifetime=10\n"
			"server_idle_timeout=20\nquery_wait_timeout=30\nserver_login_retry=0\nserver_check_delay=4\n"
			"reserve_pool_timeout=6\n"
			"[users]\nu = pool_mode=statement query_wait_timeout=5\n"
			"[databases]\na = pool_mode=transaction server_lifetime=11 pool_size=9 min_pool_size=0\nb =\n");
	struct user *u = registry_user(&g->r, "u"), *v = registry_user(&g->r, "v");
	struct pool *au = pool_get(&g->r, registry_database(&g->r, "a"), u);
	struct pool *av = pool_get(&g->r, registry_database(&g->r, "a"), v);
	struct pool *bv = pool_get(&g->r, registry_database(&g->r, "b"), v);

	(void)state;
	assert_ptr_equal(pool_get(&g->r, registry_database(&g->r, "a"), u), au);
	assert_ptr_not_equal(au, av);
	assert_int_equal(au->mode, POOL_STATEMENT);
	assert_int_equal(av->mode, POOL_TRANSACTION);
	assert_int_equal(bv->mode, POOL_SESSION);
	assert_int_equal(au->size, 9);
	assert_int_equal(bv->size, 20);
	assert_int_equal(au->min_size, 0);
	assert_int_equal(bv->min_size, 2);
	assert_int_equal(bv->reserve_size, 3);
	assert_int_equal(bv->reserve_timeout_us, 6 * USEC);
	assert_int_equal(au->lifetime_us, 11 * USEC);
	assert_int_equal(bv->lifetime_us, 10 * USEC);
	assert_int_equal(bv->idle_timeout_us, 20 * USEC);
	assert_int_equal(au->query_wait_us, 5 * USEC);
	assert_int_equal(av->query_wait_us, 30 * USEC);
	assert_int_equal(bv->check_delay_us, 4 * USEC);
	assert_true(bv->login_retry_us > 0);
	assert_true(bv->check);
	user_hold(u);
	reload(g, "[pgbouncer]\nserver_check_query=\n[databases]\na = pool_size=0\nb =\n");
	assert_int_equal(au->mode, POOL_SESSION);
	assert_int_equal(au->size, 0);
	assert_false(au->check);
	user_drop(u);
	rig_free(g);
}

/* What a new configuration does to a database with one idle server: closed or kept, and is it gone? */
static void test_changes(void **state)
{
	static const char from[] = HEAD "a = host=h1 port=1 dbname=x pool_size=3\n* = host=h1 port=1\n";
	static const struct {
		const char *to;
		bool closed;
	} rows[] = {
		{from, false},
		{HEAD "a = host=h1 port=1 dbname=x pool_size=4 max_db_connections=9\n* = host=h1 port=1\n", false},
		{HEAD "a = host=h1 port=1 dbname=x password=new\n", false},
		{HEAD "a = host=h2 port=1 dbname=x pool_size=3\n", true},
		{HEAD "a = host=h1 port=2 dbname=x pool_size=3\n", true},
		{HEAD "a = host=h1,h2 port=1 dbname=x pool_size=3\n", true},
		{HEAD "a = host=h1 port=1 dbname=y pool_size=3\n", true},
		{HEAD "a = host=h1 port=1 dbname=x user=joe\n", true},
		{HEAD "a = host=h1 port=1 dbname=x connect_query='select 1'\n", true},
		{HEAD "* = host=h1 port=1 dbname=x\n", false}, /* another entry, the same place */
		{HEAD "* = host=h1 port=1\n", true},
		{"[pgbouncer]\nserver_tls_sslmode=require\n[databases]\na = host=h1 port=1 dbname=x\n", true},
		{"[pgbouncer]\nserver_tls_protocols=tlsv1.3\n[databases]\na = host=h1 port=1 dbname=x\n", true},
		{"[pgbouncer]\nclient_tls_protocols=tlsv1.3\n[databases]\na = host=h1 port=1 dbname=x\n", false},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct rig *g = rig_new(from);
		struct database *d = registry_database(&g->r, "a");
		struct slot slot = {0};

		pool_slot_add(pool_get(&g->r, d, registry_user(&g->r, "u")), &slot, d->hosts[0], false);
		pool_slot_login_done(&slot);
		pools_run(&g->r);
		assert_int_equal(database_retiring(d), 0);
		reload(g, rows[i].to);
		if (g->closed != rows[i].closed || g->gone[0] != '\0')
			fail_msg("row %zu: closed %d, gone: %s", i, g->closed, g->gone);
		if (slot.pool != NULL)
			assert_ptr_equal(registry_database(&g->r, "a"), d);
		pool_slot_remove(&slot);
		rig_free(g);
	}
}

static void test_gone(void **state)
{
	struct rig *g = rig_new(HEAD "a = host=h1\nb = host=h1\n");
	struct database *a = registry_database(&g->r, "a"), *b = registry_database(&g->r, "b");
	struct user *u = registry_user(&g->r, "u");
	struct slot slot = {0};

	(void)state;
	a->paused = true;
	database_hold(a);
	database_hold(b);
	pool_enter(pool_get(&g->r, b, u), &g->client);
	pool_slot_add(pool_get(&g->r, b, u), &slot, b->hosts[0], false);
	pool_slot_login_done(&slot);
	pool_slot_busy(&slot);

	reload(g, HEAD "b = host=h1\n");
	assert_string_equal(g->gone, "a ");
	assert_null(registry_database(&g->r, "a")); /* runs, but may not be entered */
	assert_ptr_equal(registry_database_find(&g->r, "a"), a);
	assert_int_equal(a->n_hosts, 0);
	reload(g, HEAD "b = host=h1\n");
	assert_string_equal(g->gone, ""); /* once */

	reload(g, HEAD "a = host=h3\n");
	assert_string_equal(g->gone, "b ");
	assert_null(g->client.pool); /* left in the up-call, and dropped b's last hold there */
	assert_ptr_equal(registry_database(&g->r, "a"), a);
	assert_true(a->paused);
	assert_string_equal(a->hosts[0]->host, "h3");
	assert_ptr_equal(registry_database_find(&g->r, "b"), b); /* its server is busy */
	assert_int_equal(database_active(b), 1);
	assert_int_equal(database_retiring(b), 1);
	pool_slot_idle(&slot);
	assert_int_equal(database_active(b), 0);
	pools_run(&g->r);
	assert_null(slot.pool);
	assert_null(registry_database_find(&g->r, "b"));
	assert_null(registry_user_find(&g->r, "u"));

	/* From the file to "*" and back. */
	reload(g, HEAD "* = host=h3\n");
	assert_true(a->automatic);
	assert_string_equal(g->gone, "");
	reload(g, HEAD "a = host=h3\n");
	assert_false(a->automatic);
	reload(g, HEAD "* = host=h3\n");
	database_drop(a);
	assert_null(registry_database_find(&g->r, "a"));
	rig_free(g);
}

static void test_limits(void **state)
{
	struct rig *g =
		rig_new("[pgbouncer]\nauth_type=trust\nmax_client_conn=2\nmax_db_client_connections=1\n"
			"max_user_client_connections=3\nmax_db_connections=2\nmax_user_connections=1\n"
			"default_pool_size=4\n[users]\nv = max_user_connections=2 max_user_client_connections=0\n"
			"[databases]\na =\nb = max_db_connections=5 max_db_client_connections=6 pool_size=0\n");
	struct database *a = registry_database(&g->r, "a"), *b = registry_database(&g->r, "b");
	struct user *u = registry_user(&g->r, "u"), *v = registry_user(&g->r, "v");
	struct pool *au = pool_get(&g->r, a, u), *bv = pool_get(&g->r, b, v);
	const struct {
		enum limit_kind kind;
		void *key;
		int64_t value;
	} rows[] = {
		{LIMIT_CLIENTS, NULL, 2},
		{LIMIT_DB_CLIENTS, a, 1},
		{LIMIT_DB_CLIENTS, b, 6},
		{LIMIT_USER_CLIENTS, u, 3},
		{LIMIT_USER_CLIENTS, v, 0},
		{LIMIT_DB_SERVERS, a, 2},
		{LIMIT_DB_SERVERS, b, 5},
		{LIMIT_USER_SERVERS, u, 1},
		{LIMIT_USER_SERVERS, v, 2},
		{LIMIT_POOL, au, 4},
		{LIMIT_POOL, bv, 0},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		enum limit_kind kind = rows[i].kind;
		void *key = rows[i].key;
		int64_t limit = rows[i].value > 0 ? rows[i].value : 50;

		assert_int_equal(pool_limit_value(&g->r, kind, key), rows[i].value);
		for (int64_t n = 0; n < limit; n++) {
			assert_true(pool_limit_room(&g->r, kind, key));
			assert_true(pool_limit_take(&g->r, kind, key));
		}
		assert_int_equal(pool_limit_room(&g->r, kind, key), rows[i].value == 0);
		assert_false(pool_limit_over(&g->r, kind, key));
		if (rows[i].value > 0)
			assert_false(pool_limit_take(&g->r, kind, key));
		pool_limit_force(&g->r, kind, key);
		assert_int_equal(pool_limit_over(&g->r, kind, key), rows[i].value > 0);
		pool_limit_give(&g->r, kind, key);
		assert_int_equal(pool_limit_room(&g->r, kind, key), rows[i].value == 0);
		pool_limit_give(&g->r, kind, key);
		assert_true(pool_limit_room(&g->r, kind, key));
		for (int64_t n = 1; n < limit; n++)
			pool_limit_give(&g->r, kind, key);
	}
	assert_int_equal(g->r.clients + a->clients + b->clients + u->clients + v->clients, 0);
	assert_int_equal(a->servers + b->servers + u->servers + v->servers + au->servers + bv->servers, 0);
	rig_free(g);
}

/* Who gives back what is none of a pool's wakes the asks that wait for it. */
static void test_limit_wakes(void **state)
{
	static const struct {
		const char *text;
		enum limit_kind kind;
	} rows[] = {
		{"[pgbouncer]\nauth_type=trust\nmax_db_connections=1\n[databases]\na =\n", LIMIT_DB_SERVERS},
		{"[pgbouncer]\nauth_type=trust\nmax_user_connections=1\n[databases]\na =\n", LIMIT_USER_SERVERS},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct rig *g = rig_new(rows[i].text);
		struct database *d = registry_database(&g->r, "a");
		struct user *u = registry_user(&g->r, "u");
		void *key = rows[i].kind == LIMIT_DB_SERVERS ? (void *)d : (void *)u;

		pool_limit_force(&g->r, rows[i].kind, key);
		pool_enter(pool_get(&g->r, d, u), &g->client);
		assert_null(pool_ask(&g->client, ASK_SERVER));
		pools_run(&g->r);
		assert_false(pools_are_due(&g->r));
		pool_limit_give(&g->r, rows[i].kind, key);
		assert_true(pools_are_due(&g->r));
		pool_leave(&g->client);
		rig_free(g);
	}
}

static void test_stats(void **state)
{
	struct rig *g = rig_new(HEAD "a =\n");
	struct database *a = registry_database(&g->r, "a");

	(void)state;
	a->stats.now.xacts = 50;
	clock_hold(1010 * USEC);
	assert_int_equal(stats_average(&a->stats).xacts, 0);
	registry_stats_tick(&g->r);
	assert_int_equal(stats_average(&a->stats).xacts, 5);
	rig_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_databases),
		cmocka_unit_test(test_socket_folder),
		cmocka_unit_test(test_automatic),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_forced),
		cmocka_unit_test(test_effective),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_limit_wakes),
		cmocka_unit_test(test_stats),
	};

	return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
