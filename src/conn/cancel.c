/*
 * cancel.c: see conn/cancel.h. A request of ours is a connection of its own
 * that dials, writes one packet and waits for the end of file.
 */
#include "conn/cancel.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

#include "auth/scram.h"
#include "base/mem.h"
#include "conn/dial.h"
#include "conn/link.h"
#include "conn/relay.h"
#include "pool/endpoint.h"
#include "proto/msgw.h"

struct cancel {
	struct conn c;
	struct dial dial;
	struct endpoint *endpoint; /* held */
	struct conn *target;	   /* NULL: it closed meanwhile */
	struct conn *by;	   /* NULL: nobody waits for it */
	bool waits;		   /* it is not to be sent yet */
	void (*done)(struct conn *c, bool waited, void *arg);
	void *arg;
	bool sent; /* the packet went out: until the end of file it may still strike */
	uint8_t key[260];
	size_t key_len;
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
	return !CRYPTO_memcmp(container_of(n, struct cancel_key, node)->key, key, CANCEL_KEY);
}

/*
 * The top bit of byte 0 is clear, bytes 1 and 2 name the process (peer_id), the low bits of byte 7 count the hops that are
 * left. A key is kept with all of them left.
 */
enum { CANCEL_HOPS = 3 };

unsigned cancel_key_peer(const uint8_t *key, size_t n)
{
	return n >= CANCEL_KEY ? key[1] | (unsigned)key[2] << 8 : 0;
}

unsigned cancel_key_hops(const uint8_t *key, size_t n)
{
	return n >= CANCEL_KEY ? key[7] & CANCEL_HOPS : 0;
}

void cancel_key_give(struct pooler *p, struct cancel_key *k)
{
	uint64_t hash;

	do {
		secret_random_from(&p->random, k->key, sizeof(k->key));
		k->key[0] &= 0x7f;
		k->key[1] = (uint8_t)p->registry.config->set.peer_id;
		k->key[2] = (uint8_t)(p->registry.config->set.peer_id >> 8);
		k->key[7] |= CANCEL_HOPS;
		hash = cancel_hash(k->key);
	} while (htab_find(&p->keys, hash, cancel_key_equal, k->key));
	htab_insert(&p->keys, &k->node, hash);
}

void cancel_key_drop(struct pooler *p, struct cancel_key *k)
{
	if (!k->key[7])
		return;
	htab_remove(&p->keys, &k->node);
	mem_wipe(k->key, sizeof(k->key));
}

void cancel_key_lengthen(const struct pooler *p, const struct cancel_key *k, uint8_t out[CANCEL_KEY_LONG])
{
	uint8_t more[32];

	scram_hmac(p->key_secret, k->key, sizeof(k->key), more);
	memcpy(out, k->key, sizeof(k->key));
	memcpy(out + CANCEL_KEY, more, CANCEL_KEY_LONG - CANCEL_KEY);
}

struct cancel_key *cancel_key_find(struct pooler *p, const void *key, size_t n)
{
	uint8_t given[CANCEL_KEY_LONG], whole[CANCEL_KEY_LONG];
	struct hnode *node;
	struct cancel_key *k;

	if (n != CANCEL_KEY && n != CANCEL_KEY_LONG)
		return NULL;
	memcpy(given, key, n);
	given[7] |= CANCEL_HOPS;
	node = htab_find(&p->keys, cancel_hash(given), cancel_key_equal, given);
	if (!node)
		return NULL;
	k = container_of(node, struct cancel_key, node);
	if (n == CANCEL_KEY)
		return k;
	cancel_key_lengthen(p, k, whole);
	return CRYPTO_memcmp(whole, given, n) ? NULL : k;
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
	const struct settings *set = &c->pooler->registry.config->set;
	const struct cancel *x = conn_cancel_const(c);
	int64_t limit = x->waits ? set->cancel_wait_timeout : set->server_connect_timeout;

	return limit ? c->request_us + limit : 0;
}

static void cancel_deadline(struct conn *c)
{
	const char *limit = conn_cancel(c)->waits ? "cancel_wait_timeout" : "server_connect_timeout";

	conn_log(c, LL_WARNING, "cancel request failed: timeout (%s)", limit);
	conn_close(c, CLOSE_CANCEL_DONE, "timeout");
}

static enum conn_reads cancel_reads(const struct conn *c)
{
	const struct cancel *x = conn_cancel_const(c);

	if (x->waits)
		return READS_NOTHING;
	return x->sent || dial_reads(&x->dial) ? READS_BYTES : READS_NOTHING;
}

static void cancel_hangup(struct conn *c)
{
	cancel_gone(c, false);
}

static void cancel_closing(struct conn *c, const char *text)
{
	struct cancel *x = conn_cancel(c);
	struct conn *target = x->target, *by = x->by;

	conn_log(c, LL_DEBUG, "closing because: %s", text);
	dial_stop(&x->dial);
	if (x->done)
		x->done(c, x->waits, x->arg);
	x->done = NULL;
	x->target = x->by = NULL;
	if (target)
		target->ops->serves->cancelled(target, x->sent);
	if (by)
		conn_close(by, CLOSE_CANCEL_DONE, NULL);
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
	.hangup = cancel_hangup,
	.closing = cancel_closing,
	.reap = cancel_reap,
	.names = cancel_names,
};

static void cancel_dial(struct cancel *x, const struct cancel_target *t)
{
	struct dial_way way = {.to = t->addr, .only = true, .direct = t->direct, .secure = t->secure};

	x->c.request_us = clock_us();
	dial_start(&x->dial, &x->c, x->endpoint, &way, cancel_dialled);
}

void cancel_send(struct pooler *p, const struct cancel_target *t, struct conn *server, struct conn *by)
{
	struct cancel *x = xcalloc(MEM_SERVER, 1, sizeof(*x));

	assert(t->key_len <= sizeof(x->key));
	conn_init(&x->c, p, SIDE_CANCEL, &cancel_ops);
	x->c.fresh = false;
	x->target = server;
	x->by = by;
	x->done = t->done;
	x->arg = t->arg;
	x->waits = t->waits;
	memcpy(x->key, t->key, t->key_len);
	x->key_len = t->key_len;
	if (t->hop)
		x->key[7]--;
	x->endpoint = endpoint_get(&p->registry.endpoints, t->endpoint->host, t->endpoint->port);
	x->c.request_us = clock_us();
	if (x->waits)
		conn_settle(&x->c);
	else
		cancel_dial(x, t);
}

bool cancel_go(struct pooler *p, const void *arg)
{
	struct conn *c;

	TAILQ_FOREACH (c, &p->cancels, all) {
		struct cancel *x = conn_cancel(c);

		if (!x->waits || x->arg != arg || conn_is_closed(c))
			continue;
		x->waits = false;
		cancel_dial(x, &(struct cancel_target){0});
		return true;
	}
	return false;
}

void cancel_forget(struct conn *gone)
{
	struct conn *c;

	TAILQ_FOREACH (c, &gone->pooler->cancels, all) {
		struct cancel *x = conn_cancel(c);

		if (x->target == gone)
			x->target = NULL;
		if (x->by == gone)
			x->by = NULL;
	}
}
