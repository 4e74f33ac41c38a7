/*
 * htab: an intrusive hash table. The object embeds a struct hnode; the table
 * owns only its slots and doubles when it is full. Hashes are keyed with a
 * random seed, since names and keys come from peers.
 */
#ifndef PSBOUNCER_BASE_HTAB_H
#define PSBOUNCER_BASE_HTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hnode {
	struct hnode *next;
	uint64_t hash;
};

/* Zero-initialise; htab_free() when done (objects stay the caller's). */
struct htab {
	struct hnode **slots;
	size_t size; /* power of two, 0 before the first insert */
	size_t count;
};

/* Is this node the one that has the key? */
typedef bool htab_eq(const struct hnode *n, const void *key);

uint64_t hash_keyed(uint64_t k0, uint64_t k1, const void *p, size_t n); /* SipHash-2-4 under a given key */
uint64_t hash_bytes(const void *p, size_t n);				/* SipHash-2-4 under the process's seed */
uint64_t hash_str(const char *s);
uint64_t hash_mix(uint64_t a, uint64_t b);

struct hnode *htab_find(const struct htab *h, uint64_t hash, htab_eq *eq, const void *key);
/* n must be in no table. Equal keys are not looked for. */
void htab_insert(struct htab *h, struct hnode *n, uint64_t hash);
/* n must be in h. */
void htab_remove(struct htab *h, struct hnode *n);
void htab_free(struct htab *h);
/* Walks all nodes in no order: start with NULL; the current one may be removed when the next is fetched first. */
struct hnode *htab_next(const struct htab *h, const struct hnode *n);

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
