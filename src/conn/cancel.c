/*
 * cancel.c: see conn/cancel.h. A request of ours is a connection of its own
 * that dials, writes one packet and waits for the end of file.
 */
#include "conn/cancel.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

#include "auth/secret.h"
#include "base/mem.h"
#include "conn/client.h"
#include "conn/dial.h"
#include "conn/relay.h"
#include "conn/server.h"
#include "net/tls.h"
#include "pool/endpoint.h"
#include "proto/msgw.h"

struct cancel {
	struct conn c;
	struct dial dial;
	struct endpoint *endpoint; /* held */
	struct server *target;	   /* NULL: it closed meanwhile */
	struct client *by;	   /* NULL: nobody waits for it */
	bool sent;		   /* the packet went out: until the end of file it may still strike */
	uint8_t key[260];
	uint16_t key_len;
};

static struct cancel *conn_cancel(struct conn *c)
{
	return (struct cancel *)(void *)c;
}

static const struct cancel *conn_cancel_const(const struct conn *c)
{
	return (const struct cancel *)(const void *)c;
}

/* ---- keys of clients --------------------------------------------------------- */

static uint64_t cancel_hash(const uint8_t *key)
{
	return hash_bytes(key, CANCEL_KEY);
}

static bool cancel_key_equal(const struct hnode *n, const void *key)
{
	return !CRYPTO_memcmp(container_of(n, struct client, by_key)->key, key, CANCEL_KEY);
}

/* The layout leaves room for peers: the top bit of byte 0 is clear, bytes 1 and 2 name the peer, the low bits of byte 7 count hops. */
void cancel_key_give(struct client *cl)
{
	struct pooler *p = cl->c.pooler;

	do {
		secret_random(cl->key, sizeof(cl->key));
		cl->key[0] &= 0x7f;
		cl->key[1] = cl->key[2] = 0;
		cl->key[7] |= 3;
	} while (htab_find(&p->keys, cancel_hash(cl->key), cancel_key_equal, cl->key));
	htab_insert(&p->keys, &cl->by_key, cancel_hash(cl->key));
	cl->has_key = true;
}

void cancel_key_drop(struct client *cl)
{
	if (cl->has_key)
		htab_remove(&cl->c.pooler->keys, &cl->by_key);
	cl->has_key = false;
}

struct client *cancel_key_find(struct pooler *p, const void *key, size_t n)
{
	struct hnode *node;

	if (n != CANCEL_KEY)
		return NULL;
	node = htab_find(&p->keys, cancel_hash(key), cancel_key_equal, key);
	return node ? container_of(node, struct client, by_key) : NULL;
}

/* ---- requests of ours ----------------------------------------------------------- */

static void cancel_dialled(struct conn *c, bool ok, const char *why)
{
	struct cancel *x = conn_cancel(c);

	if (!ok) {
		conn_log(c, LL_WARNING, "cancel request failed: %s", why);
		conn_close(c, CLOSE_CANCEL_DONE, why);
		return;
	}
	x->sent = true;
	msgw_cancel_request(relay_out(c), x->key, x->key_len);
	conn_settle(c);
}

static size_t cancel_raw(struct conn *c, const char *p, size_t n, size_t *need)
{
	struct cancel *x = conn_cancel(c);

	return x->sent ? n : dial_raw(&x->dial, p, n, need); /* what a server says to a cancel request is of no use */
}

static void cancel_gone(struct conn *c, bool broken)
{
	struct cancel *x = conn_cancel(c);

	(void)broken;
	if (x->sent) {
		x->sent = false; /* landed */
		conn_close(c, CLOSE_CANCEL_DONE, NULL);
	} else {
		dial_event(&x->dial, STREAM_HANGUP);
	}
}

static void cancel_event(struct conn *c, enum stream_event what)
{
	struct cancel *x = conn_cancel(c);

	if (!x->sent)
		dial_event(&x->dial, what);
}

static int64_t cancel_due(const struct conn *c)
{
	int64_t limit = c->pooler->registry.config->set.server_connect_timeout;

	return limit ? c->connected_us + limit : 0;
}

static void cancel_deadline(struct conn *c)
{
	conn_log(c, LL_WARNING, "cancel request failed: timeout (server_connect_timeout)");
	conn_close(c, CLOSE_CANCEL_DONE, "timeout");
}

static bool cancel_reads(const struct conn *c)
{
	const struct cancel *x = conn_cancel_const(c);

	return x->sent || dial_reads(&x->dial);
}

static bool cancel_is_raw(const struct conn *c)
{
	(void)c;
	return true;
}

static void cancel_hangup(struct conn *c)
{
	cancel_gone(c, false);
}

static void cancel_closing(struct conn *c, const char *text)
{
	struct cancel *x = conn_cancel(c);
	struct server *s = x->target;
	struct client *by = x->by;

	conn_log(c, LL_DEBUG, "closing because: %s", text);
	dial_stop(&x->dial);
	x->target = NULL;
	x->by = NULL;
	if (s && x->sent)
		s->dirty = true; /* it may still strike: whoever has the connection now has it to the end */
	if (s)
		server_cancel_landed(s);
	if (by)
		conn_close(&by->c, CLOSE_CANCEL_DONE, NULL);
}

static void cancel_reap(struct conn *c)
{
	struct cancel *x = conn_cancel(c);

	buf_free(&c->in);
	buf_free(&c->out);
	endpoint_put(&c->pooler->registry.endpoints, &x->endpoint);
	mem_wipe(x->key, sizeof(x->key));
	xfree(MEM_SERVER, x);
}

static void cancel_names(const struct conn *c, const char **db, const char **user)
{
	(void)c;
	*db = "(cancel)";
	*user = "(cancel)";
}

static const struct conn_ops cancel_ops = {
	.raw = cancel_raw,
	.gone = cancel_gone,
	.event = cancel_event,
	.due = cancel_due,
	.deadline = cancel_deadline,
	.reads = cancel_reads,
	.is_raw = cancel_is_raw,
	.hangup = cancel_hangup,
	.closing = cancel_closing,
	.reap = cancel_reap,
	.names = cancel_names,
};

void cancel_send(struct server *s, struct client *by)
{
	struct pooler *p = s->c.pooler;
	struct cancel *x = xcalloc(MEM_SERVER, 1, sizeof(*x));
	const struct config_database *conf = s->slot.pool->db->conf;
	bool direct = param_effective(PARAM_server_tls_sslnegotiation, NULL, conf ? &conf->over : NULL,
			      &p->registry.config->set) == SSLNEG_DIRECT;

	conn_init(&x->c, p, SIDE_CANCEL, &cancel_ops);
	x->c.fresh = false;
	x->target = s;
	x->by = by;
	s->cancels++;
	memcpy(x->key, s->key, s->key_len);
	x->key_len = s->key_len;
	x->endpoint = endpoint_get(&p->registry.endpoints, s->endpoint->host, s->endpoint->port);
	dial_start(&x->dial, &x->c, x->endpoint, &s->c.remote, direct, stream_is_tls(&s->c.stream), cancel_dialled);
}

void cancel_forget_server(struct server *s)
{
	struct conn *c;

	if (!s->cancels)
		return;
	TAILQ_FOREACH (c, &s->c.pooler->cancels, all)
		if (conn_cancel(c)->target == s)
			conn_cancel(c)->target = NULL;
	s->cancels = 0;
}

void cancel_forget_client(struct client *cl)
{
	struct conn *c;

	if (cl->c.state != CS_CANCEL)
		return;
	TAILQ_FOREACH (c, &cl->c.pooler->cancels, all)
		if (conn_cancel(c)->by == cl)
			conn_cancel(c)->by = NULL;
}

unsigned cancel_count(const struct pooler *p, const struct pool *pool)
{
	const struct conn *c;
	unsigned n = 0;

	TAILQ_FOREACH (c, &p->cancels, all) {
		const struct server *s = conn_cancel_const(c)->target;

		n += s && s->slot.pool == pool;
	}
	return n;
}
