/*
 * peer.c: see conn/peer.h. Called for cancel requests that come in; the
 * requests themselves are cancel's.
 */
#include "conn/peer.h"

#include <string.h>

#include "base/mem.h"
#include "conn/cancel.h"
#include "conn/conn.h"
#include "pool/endpoint.h"

static struct peer *peer_find(struct pooler *p, unsigned id)
{
	struct peer *peer;

	TAILQ_FOREACH (peer, &p->peers, link)
		if (peer->id == id && !peer->gone)
			return peer;
	return NULL;
}

static void peer_free(struct pooler *p, struct peer *peer)
{
	TAILQ_REMOVE(&p->peers, peer, link);
	endpoint_put(&p->registry.endpoints, &peer->endpoint);
	xfree(MEM_POOL, peer);
}

static void peer_add(struct pooler *p, const struct config_peer *conf)
{
	const struct settings *set = &p->registry.config->set;
	struct peer *peer = peer_find(p, conf->id);
	struct endpoint *endpoint = endpoint_get(&p->registry.endpoints, conf->host.host, conf->host.port);

	if (!peer) {
		peer = xcalloc(MEM_POOL, 1, sizeof(*peer));
		peer->id = conf->id;
		TAILQ_INSERT_TAIL(&p->peers, peer, link);
	}
	endpoint_put(&p->registry.endpoints, &peer->endpoint);
	peer->endpoint = endpoint;
	peer->size = conf->pool_size ? conf->pool_size : set->default_pool_size;
}

static bool peer_may_send(const struct peer *peer)
{
	return !peer->size || peer->active < peer->size;
}

/* As many of those that wait as may go now. */
static void peer_go_on(struct pooler *p, struct peer *peer)
{
	while (peer->waiting && peer_may_send(peer) && cancel_go(p, peer)) {
		peer->waiting--;
		peer->active++;
	}
}

static bool is_listed(const struct config *c, unsigned id)
{
	for (size_t i = 0; i < c->n_peers; i++)
		if (c->peers[i].id == id)
			return true;
	return false;
}

void peers_configure(struct pooler *p)
{
	const struct config *c = p->registry.config;
	struct peer *next;

	for (struct peer *peer = TAILQ_FIRST(&p->peers); peer; peer = next) {
		next = TAILQ_NEXT(peer, link);
		peer->gone = peer->gone || !is_listed(c, peer->id);
		if (peer->gone && !peer->active && !peer->waiting)
			peer_free(p, peer);
	}
	for (size_t i = 0; i < c->n_peers; i++)
		peer_add(p, &c->peers[i]);
	for (struct peer *peer = TAILQ_FIRST(&p->peers); peer; peer = TAILQ_NEXT(peer, link))
		peer_go_on(p, peer);
}

void peers_free(struct pooler *p)
{
	while (!TAILQ_EMPTY(&p->peers))
		peer_free(p, TAILQ_FIRST(&p->peers));
}

static void peer_sent(struct conn *c, bool waited, void *arg)
{
	struct peer *peer = arg;

	if (waited)
		peer->waiting--;
	else
		peer->active--;
	peer_go_on(c->pooler, peer);
	if (peer->gone && !peer->active && !peer->waiting)
		peer_free(c->pooler, peer);
}

/* Anybody can send cancel requests: more than this do not wait for one peer. */
enum { WAITING_MAX = 1000 };

bool peer_cancel(struct pooler *p, const uint8_t *key, size_t n, struct conn *by)
{
	unsigned id = cancel_key_peer(key, n);
	struct peer *peer = id && id != p->registry.config->set.peer_id ? peer_find(p, id) : NULL;
	struct cancel_target t = {.key = key, .key_len = n, .hop = true, .done = peer_sent, .arg = peer};

	if (!peer || !cancel_key_hops(key, n))
		return false;
	t.endpoint = peer->endpoint;
	t.waits = !peer_may_send(peer);
	if (t.waits && peer->waiting >= WAITING_MAX)
		return false;
	if (t.waits)
		peer->waiting++;
	else
		peer->active++;
	cancel_send(p, &t, NULL, by);
	return true;
}
