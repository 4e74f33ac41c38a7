/*
 * endpoint: owns the hosts that databases name, one object a host and port. The
 * registry and the slots of pools hold references. It opens no connection and
 * looks no name up: what happened to an attempt is told to it.
 */
#include "pool/endpoint.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/timer.h"

struct endpoint_key {
	const char *host;
	uint16_t port;
};

static bool is_path(const char *host)
{
	return host[0] == '/' || host[0] == '@';
}

/* Names of hosts have no case, names of files have. */
static uint64_t key_hash(const char *host, uint16_t port)
{
	uint64_t h = port;

	if (is_path(host))
		return hash_mix(h, hash_str(host));
	for (const char *p = host; *p != '\0'; p++)
		h = hash_mix(h, (uint64_t)tolower((unsigned char)*p));
	return h;
}

static bool key_eq(const struct hnode *n, const void *key)
{
	const struct endpoint *ep = container_of(n, struct endpoint, by_name);
	const struct endpoint_key *k = key;

	if (ep->port != k->port)
		return false;
	return is_path(k->host) ? strcmp(ep->host, k->host) == 0 : strcasecmp(ep->host, k->host) == 0;
}

struct endpoint *endpoint_get(struct endpoints *e, const char *host, uint16_t port)
{
	struct endpoint_key key = {host, port};
	uint64_t hash = key_hash(host, port);
	struct hnode *n = htab_find(&e->by_name, hash, key_eq, &key);
	struct endpoint *ep;

	if (n != NULL)
		return endpoint_ref(container_of(n, struct endpoint, by_name));
	ep = xcalloc(MEM_DATABASE, 1, sizeof *ep);
	ep->refs = 1;
	ep->host = xstrdup(MEM_DATABASE, host);
	ep->port = port;
	htab_insert(&e->by_name, &ep->by_name, hash);
	return ep;
}

struct endpoint *endpoint_ref(struct endpoint *ep)
{
	assert(ep->refs > 0);
	ep->refs++;
	return ep;
}

void endpoint_put(struct endpoints *e, struct endpoint **epp)
{
	struct endpoint *ep = *epp;

	if (ep == NULL)
		return;
	*epp = NULL;
	assert(ep->refs > 0);
	if (--ep->refs > 0)
		return;
	assert(ep->connections == 0);
	htab_remove(&e->by_name, &ep->by_name);
	xfree(MEM_DATABASE, ep->host);
	xfree(MEM_DATABASE, ep);
}

void endpoints_free(struct endpoints *e)
{
	assert(e->by_name.count == 0);
	htab_free(&e->by_name);
}

bool endpoint_is_local(const struct endpoint *ep)
{
	return is_path(ep->host);
}

bool endpoint_is_name(const struct endpoint *ep)
{
	struct addr a;

	return !is_path(ep->host) && !addr_parse(ep->host, ep->port, &a);
}

/* "0/3000060": two hexadecimal numbers, the upper and the lower half (PostgreSQL manual, 8.20). */
bool lsn_read(const char *text, uint64_t *lsn)
{
	static const char digits[] = "0123456789ABCDEFabcdef";
	size_t high = strspn(text, digits), low;

	if (high < 1 || high > 8 || text[high] != '/')
		return false;
	low = strspn(text + high + 1, digits);
	if (low < 1 || low > 8 || text[high + 1 + low] != '\0')
		return false;
	*lsn = (uint64_t)strtoul(text, NULL, 16) << 32 | strtoul(text + high + 1, NULL, 16);
	return true;
}

bool endpoint_lsn(const struct endpoint *ep, uint64_t *lsn)
{
	return lsn_read(ep->lsn, lsn);
}

void endpoint_failed(struct endpoint *ep)
{
	ep->failed_us = clock_us();
}

void endpoint_worked(struct endpoint *ep)
{
	ep->failed_us = 0;
}

static bool has_failed(const struct endpoint *ep, int64_t retry_us)
{
	return ep->failed_us != 0 && clock_us() - ep->failed_us < retry_us;
}

/* Is a to be chosen before b, which comes earlier in turn? */
static bool is_better(const struct endpoint *a, const struct endpoint *b, int64_t retry_us, bool fewest)
{
	if (has_failed(a, retry_us) != has_failed(b, retry_us))
		return has_failed(b, retry_us);
	return fewest && !a->failed_us && !b->failed_us && a->connections < b->connections;
}

struct endpoint *endpoint_choose(struct endpoint *const *hosts, size_t n, unsigned *turn, uint64_t *tried,
	int64_t retry_us, bool fewest)
{
	size_t best = n;

	assert(n <= 64);
	for (size_t k = 0; k < n; k++) {
		size_t i = (*turn + k) % n;

		if (*tried & UINT64_C(1) << i)
			continue;
		if (best == n || is_better(hosts[i], hosts[best], retry_us, fewest))
			best = i;
	}
	if (best == n)
		return NULL;
	*tried |= UINT64_C(1) << best;
	*turn = (unsigned)((best + 1) % n);
	return hosts[best];
}
