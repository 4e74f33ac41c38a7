/*
 * htab: the hash against published values, the table against a plain array
 * under random insertions and removals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/htab.h"
#include "base/mem.h"

/* SipHash-2-4 of the bytes 0, 1, 2 ... under the key 0, 1, ... 15 (Aumasson and Bernstein, appendix A, and their vectors.h). */
static void test_siphash(void **state)
{
	static const struct {
		size_t n;
		uint64_t hash;
	} rows[] = {
		{0, UINT64_C(0x726fdb47dd0e0e31)},
		{1, UINT64_C(0x74f839c593dc67fd)},
		{7, UINT64_C(0xab0200f58b01d137)},
		{8, UINT64_C(0x93f5f5799a932462)},
		{15, UINT64_C(0xa129ca6149be45e5)},
	};
	unsigned char bytes[64];

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_true(hash_keyed(UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908), bytes, rows[i].n) ==
			    rows[i].hash);
}

static void test_hashes(void **state)
{
	(void)state;
	assert_true(hash_bytes("abc", 3) == hash_str("abc"));
	assert_true(hash_bytes("abc", 3) != hash_bytes("abc", 2));
	assert_true(hash_mix(1, 2) == hash_mix(1, 2));
	assert_true(hash_mix(1, 2) != hash_mix(2, 1));
	assert_true(hash_mix(0, 0) != hash_mix(0, 1));
}

/* Neighbouring numbers must not fall into the same slots. */
static void test_mix_spreads(void **state)
{
	unsigned slots[256] = {0};

	(void)state;
	for (uint64_t i = 0; i < 256 * 64; i++)
		slots[hash_mix(i, i << 32) & 255]++;
	for (int i = 0; i < 256; i++)
		assert_in_range(slots[i], 20, 140); /* 64 is the mean, 8 the deviation */
}

struct item {
	int key;
	bool in;
	struct hnode node;
};

static bool item_eq(const struct hnode *n, const void *key)
{
	return container_of(n, struct item, node)->key == *(const int *)key;
}

static void test_empty(void **state)
{
	struct htab h = {0};
	int key = 1;

	(void)state;
	assert_null(htab_find(&h, 1, item_eq, &key));
	assert_null(htab_next(&h, NULL));
	htab_free(&h);
}

enum { ITEMS = 500 };

static uint64_t item_hash(int key, bool collide)
{
	return collide ? (uint64_t)(key % 3) : hash_mix((uint64_t)key, 0);
}

static void check_all(const struct htab *h, struct item *items, bool collide)
{
	size_t in = 0, walked = 0;

	for (int k = 0; k < ITEMS; k++) {
		struct hnode *n = htab_find(h, item_hash(k, collide), item_eq, &k);

		assert_ptr_equal(n, items[k].in ? &items[k].node : NULL);
		in += items[k].in;
	}
	assert_int_equal(h->count, in);
	for (struct hnode *n = htab_next(h, NULL); n != NULL; n = htab_next(h, n)) {
		assert_true(container_of(n, struct item, node)->in);
		walked++;
	}
	assert_int_equal(walked, in);
}

static void random_operations(bool collide)
{
	static struct item items[ITEMS];
	struct htab h = {0};

	memset(items, 0, sizeof items);
	srandom(1);
	for (int step = 0; step < 20000; step++) {
		int k = (int)(random() % ITEMS);

		items[k].key = k;
		if (items[k].in)
			htab_remove(&h, &items[k].node);
		else
			htab_insert(&h, &items[k].node, item_hash(k, collide));
		items[k].in = !items[k].in;
		if (step % 997 == 0)
			check_all(&h, items, collide);
	}
	check_all(&h, items, collide);
	assert_true((h.size & (h.size - 1)) == 0);
	assert_in_range(h.size, ITEMS / 4, ITEMS * 4);
	htab_free(&h);
	assert_int_equal(mem_usage_get(MEM_TABLE).objects, 0);
}

static void test_random(void **state)
{
	(void)state;
	random_operations(false);
}

/* Only three hashes: everything hangs on chains, equal hashes are told apart by the key. */
static void test_collisions(void **state)
{
	(void)state;
	random_operations(true);
}

static void test_remove_while_walking(void **state)
{
	static struct item items[ITEMS];
	struct htab h = {0};
	struct hnode *next;
	int seen = 0;

	(void)state;
	for (int k = 0; k < ITEMS; k++) {
		items[k].key = k;
		htab_insert(&h, &items[k].node, hash_mix((uint64_t)k, 0));
	}
	for (struct hnode *n = htab_next(&h, NULL); n != NULL; n = next) {
		next = htab_next(&h, n);
		seen++;
		if (container_of(n, struct item, node)->key % 2 == 0)
			htab_remove(&h, n);
	}
	assert_int_equal(seen, ITEMS);
	assert_int_equal(h.count, ITEMS / 2);
	for (int k = 0; k < ITEMS; k++)
		assert_true((htab_find(&h, hash_mix((uint64_t)k, 0), item_eq, &k) != NULL) == (k % 2 != 0));
	htab_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash),
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_mix_spreads),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_collisions),
		cmocka_unit_test(test_remove_while_walking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
