/*
 * pooler.c: see conn/pooler.h. It joins what the units of this floor made: the
 * pool's up-calls go to clients and servers here.
 */
#include "conn/pooler.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auth/secret.h"
#include "base/err.h"
#include "base/mem.h"
#include "conn/client.h"
#include "conn/listener.h"
#include "conn/monitor.h"
#include "conn/peer.h"
#include "conn/relay.h"
#include "conn/server.h"
#include "net/resolve.h"
#include "net/tls.h"

enum { RESOLVE_TTL_US = 15 * 1000000 };

/* ---- the pool's up-calls --------------------------------------------------------- */

static struct client *ask_client(struct ask *a)
{
	return container_of(a, struct client, ask);
}

static void pooler_launch(struct pool *p, bool reserve, struct ask *own, void *ctx)
{
	(void)ctx;
	server_launch(p, reserve, own ? client_opening(ask_client(own)) : NULL);
}

static void pooler_grant(struct ask *a, struct slot *s, void *ctx)
{
	(void)ctx;
	if (!s)
		client_greeted(ask_client(a));
	else if (!client_granted(ask_client(a), s->owner))
		pool_slot_idle(s);
}

static void pooler_test(struct slot *s, void *ctx)
{
	(void)ctx;
	server_test(slot_server(s));
}

static void pooler_close(struct slot *s, enum pool_close why, void *ctx)
{
	static const enum close_why map[] = {
		[POOL_CLOSE_RETIRED] = CLOSE_SERVER_RETIRED,
		[POOL_CLOSE_EVICTED] = CLOSE_SERVER_EVICTED,
		[POOL_CLOSE_LIFETIME] = CLOSE_SERVER_LIFETIME,
		[POOL_CLOSE_IDLE] = CLOSE_SERVER_IDLE,
		[POOL_CLOSE_PAUSED] = CLOSE_SERVER_PAUSED,
		[POOL_CLOSE_SURPLUS] = CLOSE_SERVER_SURPLUS,
		[POOL_CLOSE_MOVED] = CLOSE_SERVER_MOVED,
		[POOL_CLOSE_KILLED] = CLOSE_DATABASE_REMOVED,
	};

	(void)ctx;
	conn_close(&slot_server(s)->c, map[why], NULL);
}

static void pooler_fail(struct ask *a, void *ctx)
{
	(void)ctx;
	client_ask_failed(ask_client(a));
}

/* The entry is gone from the file: its clients too. */
static void pooler_database_gone(struct database *d, void *ctx)
{
	struct pooler *p = ctx;
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&p->clients); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (conn_client(c)->db == d)
			conn_close(c, CLOSE_DATABASE_REMOVED, NULL);
	}
}

static void pooler_watch(void *ctx)
{
	monitors_configure(ctx);
}

static void pooler_probe(struct cluster *c, bool logins, void *ctx)
{
	monitors_probe(ctx, c, logins);
}

static void pooler_held(struct database *d, void *ctx)
{
	struct pooler *p = ctx;
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&p->clients); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (conn_client(c)->db == d)
			client_held(conn_client(c));
	}
}

static const struct pool_ops pooler_pool_ops = {
	.launch = pooler_launch,
	.grant = pooler_grant,
	.test = pooler_test,
	.close = pooler_close,
	.fail = pooler_fail,
	.watch = pooler_watch,
	.probe = pooler_probe,
	.held = pooler_held,
	.database_gone = pooler_database_gone,
};

/* ---- beginning and end -------------------------------------------------------------- */

void pooler_init(struct pooler *p, struct config *c, bool with_events)
{
	uint64_t nonce;

	memset(p, 0, sizeof(*p));
	loop_init(&p->loop, with_events);
	TAILQ_INIT(&p->clients);
	TAILQ_INIT(&p->servers);
	TAILQ_INIT(&p->cancels);
	TAILQ_INIT(&p->peers);
	TAILQ_INIT(&p->monitors);
	TAILQ_INIT(&p->resume);
	TAILQ_INIT(&p->flush);
	TAILQ_INIT(&p->closed);
	TAILQ_INIT(&p->listeners);
	secret_random(p->mock_key, sizeof(p->mock_key));
	secret_random(p->key_secret, sizeof(p->key_secret));
	secret_random(&nonce, sizeof(nonce));
	snprintf(p->refused_name, sizeof(p->refused_name), "psbouncer %016" PRIx64 ".", nonce);
	p->resolver = resolver_new(&p->loop, RESOLVE_TTL_US);
	registry_init(&p->registry, &p->loop.timers, c, &pooler_pool_ops, p);
}

static void pooler_reap(struct pooler *p)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&p->closed))) {
		TAILQ_REMOVE(&p->closed, c, todo);
		c->ops->reap(c);
	}
}

static void pooler_close_list(struct conn_list *list)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(list)))
		conn_close(c, CLOSE_EXIT, NULL);
}

void pooler_free(struct pooler *p)
{
	listener_close_all(p);
	monitors_free(p);
	pooler_close_list(&p->clients);
	pooler_close_list(&p->servers);
	pooler_close_list(&p->cancels);
	pooler_reap(p);
	peers_free(p);
	registry_free(&p->registry);
	resolver_free(p->resolver);
	tls_ctx_unref(&p->client_tls);
	tls_ctx_unref(&p->server_tls);
	htab_free(&p->keys);
	loop_free(&p->loop);
	mem_block_trim();
}

/* ---- configuration --------------------------------------------------------------------- */

/* With allow and prefer and no key there is nothing to offer; require and stronger cannot do without one. */
static bool pooler_make_client_tls(const struct settings *s, struct tls_ctx **out, struct errs *errs)
{
	struct tls_options o = {
		.mode = (enum tls_mode)s->client_tls_sslmode,
		.key_file = s->client_tls_key_file,
		.cert_file = s->client_tls_cert_file,
		.ca_file = s->client_tls_ca_file,
		.protocols = s->client_tls_protocols,
		.ciphers = s->client_tls_ciphers,
		.ciphers13 = s->client_tls13_ciphers,
		.ecdhcurve = s->client_tls_ecdhcurve,
		.dheparams = s->client_tls_dheparams,
	};

	*out = NULL;
	if (o.mode == TLS_DISABLE || (o.mode < TLS_REQUIRE && !o.key_file[0] && !o.cert_file[0]))
		return true;
	*out = tls_ctx_new(&o, true, "client_tls", errs);
	return *out != NULL;
}

static bool pooler_make_server_tls(const struct settings *s, struct tls_ctx **out, struct errs *errs)
{
	struct tls_options o = {
		.mode = (enum tls_mode)s->server_tls_sslmode,
		.key_file = s->server_tls_key_file,
		.cert_file = s->server_tls_cert_file,
		.ca_file = s->server_tls_ca_file,
		.protocols = s->server_tls_protocols,
		.ciphers = s->server_tls_ciphers,
		.ciphers13 = s->server_tls13_ciphers,
	};

	*out = NULL;
	if (o.mode == TLS_DISABLE)
		return true;
	*out = tls_ctx_new(&o, false, "server_tls", errs);
	return *out != NULL;
}

bool pooler_configure(struct pooler *p, struct config *c, struct errs *errs)
{
	struct tls_ctx *client_tls = NULL, *server_tls = NULL;
	size_t errs_before = errs->n;
	bool ok = pooler_make_client_tls(&c->set, &client_tls, errs);
	struct conn *conn;

	ok = pooler_make_server_tls(&c->set, &server_tls, errs) && ok;
	if (!ok) {
		config_locate(c, errs, errs_before);
		tls_ctx_unref(&client_tls);
		tls_ctx_unref(&server_tls);
		return false;
	}
	tls_ctx_unref(&p->client_tls);
	tls_ctx_unref(&p->server_tls);
	p->client_tls = client_tls;
	p->server_tls = server_tls;
	registry_configure(&p->registry, c);
	peers_configure(p);
	listener_configure(p);
	/* Limits of time may have become shorter for whoever they run for. */
	TAILQ_FOREACH (conn, &p->clients, all)
		if (conn_client(conn)->db)
			client_configure(conn_client(conn));
		else if (!conn_is_closed(conn))
			conn_settle(conn);
	TAILQ_FOREACH (conn, &p->servers, all)
		if (!conn_is_closed(conn))
			conn_settle(conn);
	return true;
}

/* ---- the turn ------------------------------------------------------------------------------ */

/* Only those that stand there now: what they resume waits for the next turn. */
static void pooler_run_resumed(struct pooler *p)
{
	struct conn *last = TAILQ_LAST(&p->resume, conn_list), *c;
	bool over = !last;

	while (!over && (c = TAILQ_FIRST(&p->resume))) {
		over = c == last;
		TAILQ_REMOVE(&p->resume, c, todo);
		c->resuming = false;
		if (c->ops->resumed)
			c->ops->resumed(c);
		relay_work(c);
	}
}

static void pooler_run_flushes(struct pooler *p)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&p->flush))) {
		TAILQ_REMOVE(&p->flush, c, flush);
		c->flushing = false;
		relay_flush(c);
	}
}

static bool pooler_has_work(const struct pooler *p)
{
	return !TAILQ_EMPTY(&p->resume) || !TAILQ_EMPTY(&p->flush) || !TAILQ_EMPTY(&p->closed) ||
	       !TAILQ_EMPTY(&p->registry.dirty);
}

void pooler_turn(struct pooler *p)
{
	loop_poll(&p->loop, !pooler_has_work(p));
	pools_run(&p->registry);
	pooler_run_resumed(p);
	pooler_run_flushes(p);
	loop_run_timers(&p->loop, p);
	pooler_run_flushes(p);
	pooler_reap(p);
}
