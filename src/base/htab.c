/*
 * htab: owns the slots of a table and the seed of the process's hashes. The
 * objects are the callers'. It keeps no order and knows no keys.
 */
#include "base/htab.h"

#include <assert.h>
#include <endian.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { HTAB_FIRST = 16 };

static uint64_t seed[2];

static void seed_make(void)
{
	struct timespec ts;

	if (getrandom(seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
		/* No entropy yet (early boot) or an old kernel: better than a constant, and the program can start. */
		clock_gettime(CLOCK_MONOTONIC, &ts);
		seed[0] = (uint64_t)ts.tv_nsec * UINT64_C(0x9e3779b97f4a7c15);
		seed[1] = (uint64_t)ts.tv_sec ^ (uint64_t)(uintptr_t)&ts ^ ((uint64_t)getpid() << 32);
	}
	seed[0] |= 1; /* not 0: 0 means not made yet */
}

static inline uint64_t rotl(uint64_t x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

static inline uint64_t load_word(const unsigned char *p)
{
	uint64_t m;

	memcpy(&m, p, sizeof m);
	return le64toh(m);
}

/* The n < 8 bytes of a last word, the first of them the lowest. */
static inline uint64_t load_rest(const unsigned char *p, size_t n)
{
	uint64_t m = 0;

	while (n-- > 0)
		m = m << 8 | p[n];
	return m;
}

uint64_t hash_keyed(uint64_t k0, uint64_t k1, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	struct sip s = {
		.v0 = k0 ^ UINT64_C(0x736f6d6570736575),
		.v1 = k1 ^ UINT64_C(0x646f72616e646f6d),
		.v2 = k0 ^ UINT64_C(0x6c7967656e657261),
		.v3 = k1 ^ UINT64_C(0x7465646279746573),
	};
	size_t left = n;

	for (; left >= 8; left -= 8, p += 8)
		sip_word(&s, load_word(p));
	sip_word(&s, load_rest(p, left) | (uint64_t)n << 56);
	s.v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t hash_bytes(const void *p, size_t n)
{
	if (seed[0] == 0)
		seed_make();
	return hash_keyed(seed[0], seed[1], p, n);
}

uint64_t hash_str(const char *s)
{
	return hash_bytes(s, strlen(s));
}

uint64_t hash_mix(uint64_t a, uint64_t b)
{
	uint64_t x;

	if (seed[0] == 0)
		seed_make();
	x = (a ^ seed[0]) * UINT64_C(0x9e3779b97f4a7c15);
	x = (rotl(x, 29) ^ b ^ seed[1]) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 32)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 29);
}

static inline struct hnode **slot_of(const struct htab *h, uint64_t hash)
{
	return &h->slots[hash & (h->size - 1)];
}

struct hnode *htab_find(const struct htab *h, uint64_t hash, htab_eq *eq, const void *key)
{
	if (h->count == 0)
		return NULL;
	for (struct hnode *n = *slot_of(h, hash); n != NULL; n = n->next)
		if (n->hash == hash && eq(n, key))
			return n;
	return NULL;
}

static void grow(struct htab *h)
{
	struct htab bigger = {.size = h->size > 0 ? h->size * 2 : HTAB_FIRST};

	bigger.slots = xcalloc(MEM_TABLE, bigger.size, sizeof(struct hnode *));
	for (size_t i = 0; i < h->size; i++) {
		struct hnode *next;

		for (struct hnode *n = h->slots[i]; n != NULL; n = next) {
			next = n->next;
			htab_insert(&bigger, n, n->hash);
		}
	}
	xfree(MEM_TABLE, h->slots);
	*h = bigger;
}

void htab_insert(struct htab *h, struct hnode *n, uint64_t hash)
{
	struct hnode **slot;

	if (h->count >= h->size)
		grow(h);
	slot = slot_of(h, hash);
	n->hash = hash;
	n->next = *slot;
	*slot = n;
	h->count++;
}

void htab_remove(struct htab *h, struct hnode *n)
{
	struct hnode **at;

	assert(h->count > 0);
	for (at = slot_of(h, n->hash); *at != n; at = &(*at)->next)
		assert(*at != NULL);
	*at = n->next;
	n->next = NULL;
	h->count--;
}

void htab_free(struct htab *h)
{
	xfree(MEM_TABLE, h->slots);
	*h = (struct htab){0};
}

struct hnode *htab_next(const struct htab *h, const struct hnode *n)
{
	size_t i = 0;

	if (n != NULL) {
		if (n->next != NULL)
			return n->next;
		i = (n->hash & (h->size - 1)) + 1;
	}
	for (; i < h->size; i++)
		if (h->slots[i] != NULL)
			return h->slots[i];
	return NULL;
}
