/*
 * registry: owns the running databases and users, and through them the pools.
 * The conn floor finds and holds them at login, the console walks them, RELOAD
 * and SET swap the configuration here. Who gets which server is pool.c's.
 */
#include "pool/registry.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/timer.h"
#include "conf/authfile.h"
#include "pool/pool.h"
#include "pool/stmt.h"
#include "pool/vars.h"

/* Where the socket of a server without a host is when unix_socket_dir is empty. */
static const char socket_dir[] = "/tmp";

static bool database_eq(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct database, by_name)->name, key) == 0;
}

static bool user_eq(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct user, by_name)->name, key) == 0;
}

/* ---- users ---- */

static void user_configure(struct user *u)
{
	struct config *old = u->config;

	u->config = config_ref(u->registry->config);
	u->conf = config_user_find(u->config, u->name);
	u->auth = config_auth_find(u->config, u->name);
	config_unref(&old);
}

struct user *registry_user_find(struct registry *r, const char *name)
{
	struct hnode *n = htab_find(&r->users, hash_str(name), user_eq, name);

	return n != NULL ? container_of(n, struct user, by_name) : NULL;
}

struct user *registry_user(struct registry *r, const char *name)
{
	struct user *u = registry_user_find(r, name);

	if (u != NULL)
		return u;
	u = xcalloc(MEM_USER, 1, sizeof *u);
	u->registry = r;
	u->name = xstrdup(MEM_USER, name);
	TAILQ_INIT(&u->pools);
	htab_insert(&r->users, &u->by_name, hash_str(name));
	user_configure(u);
	return u;
}

static bool user_is_needed(const struct user *u)
{
	const struct pool *p;

	if (u->holds > 0 || u->conf != NULL || u->auth != NULL)
		return true;
	TAILQ_FOREACH (p, &u->pools, of_user)
		if (!pool_is_empty(p))
			return true;
	return false;
}

static void user_free(struct user *u)
{
	while (!TAILQ_EMPTY(&u->pools))
		pool_free(TAILQ_FIRST(&u->pools));
	assert(u->servers == 0 && u->clients == 0);
	if (u->is_loose)
		TAILQ_REMOVE(&u->registry->loose_users, u, loose);
	htab_remove(&u->registry->users, &u->by_name);
	scram_cache_clear(&u->scram);
	config_unref(&u->config);
	xfree(MEM_USER, u->name);
	xfree(MEM_USER, u);
}

void user_hold(struct user *u)
{
	u->holds++;
}

static void user_loosen(struct user *u)
{
	if (u->is_loose)
		return;
	u->is_loose = true;
	TAILQ_INSERT_TAIL(&u->registry->loose_users, u, loose);
}

/* One thing less needs it: it goes, at once or when nobody walks. No other object goes with it but its pools. */
static void user_settle(struct user *u)
{
	if (u->registry->busy > 0)
		user_loosen(u);
	else if (!user_is_needed(u))
		user_free(u);
}

void user_drop(struct user *u)
{
	assert(u->holds > 0);
	u->holds--;
	user_settle(u);
}

/* ---- databases ---- */

static void hosts_free(struct database *d)
{
	for (size_t i = 0; i < d->n_hosts; i++)
		endpoint_put(&d->registry->endpoints, &d->hosts[i]);
	xfree(MEM_DATABASE, d->hosts);
	d->hosts = NULL;
	d->n_hosts = 0;
}

static void hosts_make(struct database *d)
{
	const struct config_database *conf = d->conf;
	const char *local = d->config->set.unix_socket_dir;

	if (local[0] == '\0')
		local = socket_dir;
	d->hosts = xcalloc(MEM_DATABASE, conf->n_hosts, sizeof *d->hosts);
	d->n_hosts = conf->n_hosts;
	for (size_t i = 0; i < conf->n_hosts; i++) {
		const char *host = conf->hosts[i].host;

		if (host[0] == '\0')
			host = local;
		d->hosts[i] = endpoint_get(&d->registry->endpoints, host, conf->hosts[i].port);
	}
}

static void usual_forget(struct usual *u)
{
	vars_unref(&u->greeting);
	vars_unref(&u->startup);
	vars_unref(&u->told);
	xfree(MEM_DATABASE, u->params);
	xfree(MEM_DATABASE, u->words);
	*u = (struct usual){0};
}

static void force_user(struct database *d)
{
	struct user *old = d->forced;

	d->forced = NULL;
	if (d->conf != NULL && d->conf->user != NULL) {
		d->forced = registry_user(d->registry, d->conf->user);
		user_hold(d->forced);
	}
	if (old != NULL)
		user_drop(old);
}

/*
 * Takes what the configuration in force says of d. True when it is gone from it now. Servers that were made for
 * something else are retired.
 */
static bool database_configure(struct database *d)
{
	struct config *c = config_ref(d->registry->config), *old = d->config;
	const struct config_database *conf = config_database_find(c, d->name), *was = d->conf;
	struct pool *p;

	d->config = c;
	d->conf = conf;
	d->automatic = conf != NULL && conf == c->fallback;
	if (conf == NULL || was == NULL || config_database_differs(was, conf)) {
		struct endpoint **hosts = d->hosts;
		size_t n = d->n_hosts;

		d->hosts = NULL;
		d->n_hosts = 0;
		if (conf != NULL)
			hosts_make(d);
		/* The old ones go last, so that a host of both keeps what is known of it. */
		for (size_t i = 0; i < n; i++)
			endpoint_put(&d->registry->endpoints, &hosts[i]);
		xfree(MEM_DATABASE, hosts);
		TAILQ_FOREACH (p, &d->pools, of_db)
			pool_retire(p);
		vars_unref(&d->greeting); /* the next server may say another one */
	}
	usual_forget(&d->usual);
	force_user(d);
	config_unref(&old);
	return was != NULL && conf == NULL;
}

/* A pool that min_pool_size keeps filled without clients exists as long as its database. */
static void fill_forced(struct database *d)
{
	if (d->forced != NULL)
		pool_get(d->registry, d, d->forced);
}

struct database *registry_database_find(struct registry *r, const char *name)
{
	struct hnode *n = htab_find(&r->databases, hash_str(name), database_eq, name);

	return n != NULL ? container_of(n, struct database, by_name) : NULL;
}

struct database *registry_database(struct registry *r, const char *name)
{
	struct database *d = registry_database_find(r, name);

	if (d != NULL)
		return d->conf != NULL ? d : NULL;
	if (config_database_find(r->config, name) == NULL)
		return NULL;
	d = xcalloc(MEM_DATABASE, 1, sizeof *d);
	d->registry = r;
	d->name = xstrdup(MEM_DATABASE, name);
	TAILQ_INIT(&d->pools);
	stats_init(&d->stats, clock_us());
	htab_insert(&r->databases, &d->by_name, hash_str(name));
	database_configure(d);
	fill_forced(d);
	if (r->configured)
		topology_add(d);
	return d;
}

static bool database_is_needed(const struct database *d)
{
	const struct pool *p;

	if (d->holds > 0 || (d->conf != NULL && !d->automatic))
		return true;
	TAILQ_FOREACH (p, &d->pools, of_db)
		if (!pool_is_empty(p))
			return true;
	return false;
}

static void database_free(struct database *d)
{
	while (!TAILQ_EMPTY(&d->pools)) {
		struct pool *p = TAILQ_FIRST(&d->pools);
		struct user *u = p->user;

		pool_free(p);
		user_settle(u);
	}
	assert(d->servers == 0 && d->clients == 0);
	if (d->is_loose)
		TAILQ_REMOVE(&d->registry->loose_databases, d, loose);
	htab_remove(&d->registry->databases, &d->by_name);
	d->conf = NULL;
	force_user(d);
	hosts_free(d);
	vars_unref(&d->greeting);
	usual_forget(&d->usual);
	config_unref(&d->config);
	xfree(MEM_DATABASE, d->name);
	xfree(MEM_DATABASE, d);
}

void database_hold(struct database *d)
{
	d->holds++;
}

static void database_loosen(struct database *d)
{
	if (d->is_loose)
		return;
	d->is_loose = true;
	TAILQ_INSERT_TAIL(&d->registry->loose_databases, d, loose);
}

void database_drop(struct database *d)
{
	assert(d->holds > 0);
	d->holds--;
	if (d->registry->busy > 0)
		database_loosen(d);
	else if (!database_is_needed(d))
		database_free(d);
}

unsigned database_active(const struct database *d)
{
	const struct pool *p;
	unsigned n = 0;

	TAILQ_FOREACH (p, &d->pools, of_db)
		n += p->n[SLOT_BUSY] + p->n[SLOT_TESTED];
	return n;
}

unsigned database_retiring(const struct database *d)
{
	const struct pool *p;
	unsigned n = 0;

	TAILQ_FOREACH (p, &d->pools, of_db)
		n += p->retiring;
	return n;
}

void database_mark(struct database *d)
{
	struct pool *p;

	TAILQ_FOREACH (p, &d->pools, of_db)
		pool_mark(p);
}

void registry_mark(struct registry *r)
{
	struct pool *p;

	TAILQ_FOREACH (p, &r->pools, all)
		pool_mark(p);
}

/* ---- all of it ---- */

void registry_loosen(struct database *d, struct user *u)
{
	database_loosen(d);
	user_loosen(u);
}

void registry_sweep(struct registry *r)
{
	struct database *d;
	struct user *u;

	if (r->busy > 0)
		return;
	r->busy++; /* freeing a database drops its user */
	while ((d = TAILQ_FIRST(&r->loose_databases)) != NULL) {
		TAILQ_REMOVE(&r->loose_databases, d, loose);
		d->is_loose = false;
		if (!database_is_needed(d))
			database_free(d);
	}
	while ((u = TAILQ_FIRST(&r->loose_users)) != NULL) {
		TAILQ_REMOVE(&r->loose_users, u, loose);
		u->is_loose = false;
		if (!user_is_needed(u))
			user_free(u);
	}
	r->busy--;
}

/* After a change of the configuration. */
static void loosen_all(struct registry *r)
{
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n))
		database_loosen(container_of(n, struct database, by_name));
	for (struct hnode *n = htab_next(&r->users, NULL); n != NULL; n = htab_next(&r->users, n))
		user_loosen(container_of(n, struct user, by_name));
}

/* The databases of the file, those that do not run yet. */
static void make_databases(struct registry *r)
{
	for (struct hnode *n = htab_next(&r->config->databases, NULL); n != NULL;
		n = htab_next(&r->config->databases, n))
		(void)registry_database(r, container_of(n, struct config_database, by_name)->name);
}

void registry_init(struct registry *r, struct timers *t, struct config *c, const struct pool_ops *ops, void *ctx)
{
	*r = (struct registry){.config = config_ref(c), .timers = t, .vars = vars_table_new(), .ops = ops, .ctx = ctx};
	r->no_vars = vars_empty(r->vars);
	r->stmts = stmt_table_new();
	TAILQ_INIT(&r->pools);
	TAILQ_INIT(&r->dirty);
	TAILQ_INIT(&r->clusters);
	TAILQ_INIT(&r->loose_databases);
	TAILQ_INIT(&r->loose_users);
	make_databases(r);
}

void registry_free(struct registry *r)
{
	struct hnode *n;

	assert(r->busy == 0);
	r->busy++;
	while ((n = htab_next(&r->databases, NULL)) != NULL) {
		assert(container_of(n, struct database, by_name)->holds == 0);
		database_free(container_of(n, struct database, by_name));
	}
	while ((n = htab_next(&r->users, NULL)) != NULL) {
		assert(container_of(n, struct user, by_name)->holds == 0);
		user_free(container_of(n, struct user, by_name));
	}
	topology_free(r);
	assert(TAILQ_EMPTY(&r->pools) && r->pool_index.count == 0 && TAILQ_EMPTY(&r->dirty));
	htab_free(&r->databases);
	htab_free(&r->users);
	htab_free(&r->pool_index);
	xfree(MEM_POOL, r->order);
	endpoints_free(&r->endpoints);
	stmt_table_free(r->stmts);
	vars_unref(&r->no_vars);
	vars_table_free(r->vars);
	config_unref(&r->config);
}

static bool server_tls_differs(const struct settings *a, const struct settings *b)
{
	static const char prefix[] = "server_tls_";

	for (size_t i = 0; i < PARAM_COUNT; i++) {
		const struct param *p = &param_table[i];

		if (strncmp(p->name, prefix, sizeof prefix - 1) == 0 && !param_equal(p, a, b))
			return true;
	}
	return false;
}

/* All databases that run, configured anew; those that are gone from the file into gone, held. Returns how many. */
static size_t configure_databases(struct registry *r, struct database **gone)
{
	size_t n_gone = 0;

	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n)) {
		struct database *d = container_of(n, struct database, by_name);

		if (database_configure(d)) {
			database_hold(d);
			gone[n_gone++] = d;
		}
	}
	return n_gone;
}

void registry_configure(struct registry *r, struct config *c)
{
	struct config *old = r->config;
	bool retire = server_tls_differs(&old->set, &c->set);
	struct database **gone = xcalloc(MEM_DATABASE, r->databases.count, sizeof(struct database *));
	struct pool *p;
	size_t n_gone;

	r->busy++;
	r->configured = false;
	r->config = config_ref(c);
	for (struct hnode *n = htab_next(&r->users, NULL); n != NULL; n = htab_next(&r->users, n))
		user_configure(container_of(n, struct user, by_name));
	n_gone = configure_databases(r, gone);
	TAILQ_FOREACH (p, &r->pools, all) {
		pool_configure(p);
		if (retire)
			pool_retire(p);
	}
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n))
		fill_forced(container_of(n, struct database, by_name));
	make_databases(r);
	/* Last, since these calls may close anything. */
	for (size_t i = 0; i < n_gone; i++) {
		r->ops->database_gone(gone[i], r->ctx);
		database_drop(gone[i]);
	}
	r->busy--;
	xfree(MEM_DATABASE, gone);
	config_unref(&old);
	loosen_all(r);
	registry_sweep(r);
	r->configured = true;
	topology_configure(r);
}

void registry_stats_tick(struct registry *r)
{
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n))
		stats_tick(&container_of(n, struct database, by_name)->stats, clock_us());
}
