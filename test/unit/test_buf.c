/*
 * buf: its three positions against a plain array under random operations, its
 * block's life, and failure that sticks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/buf.h"

static void assert_no_block(const struct buf *b)
{
	assert_null(b->data);
	assert_int_equal(b->cap, 0);
	assert_int_equal(b->pos, 0);
	assert_int_equal(b->end, 0);
}

static void assert_content(const struct buf *b, const void *p, size_t n)
{
	assert_int_equal(buf_len(b), n);
	if (n > 0)
		assert_memory_equal(buf_head(b), p, n);
}

/* Each block in use belongs to a buffer: none is left behind when the tests are done. */
static int no_blocks(void **state)
{
	(void)state;
	return mem_usage_get(MEM_IO).objects == 0 ? 0 : -1;
}

static void test_empty(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_null(buf_head(&b));
	assert_int_equal(buf_len(&b), 0);
	buf_append(&b, NULL, 0);
	buf_append(&b, "", 0);
	buf_puts(&b, "");
	buf_printf(&b, "%s", "");
	buf_consume(&b, 0);
	assert_no_block(&b);
	buf_free(&b);
	buf_wipe(&b);
	assert_false(buf_failed(&b));
}

static void test_positions(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_append(&b, "0123456789", 10);
	assert_content(&b, "0123456789", 10);
	buf_consume(&b, 3);
	assert_content(&b, "3456789", 7);
	buf_consume(&b, 3);
	assert_int_equal(b.pos, 6);
	assert_content(&b, "6789", 4);
	assert_non_null(buf_reserve(&b, 5000));
	assert_content(&b, "6789", 4);
	buf_consume(&b, 4);
	assert_no_block(&b);
}

static void test_room(void **state)
{
	struct buf b = {0};
	char *p, fill[256] = {0};

	(void)state;
	p = buf_reserve(&b, 10);
	assert_non_null(p);
	assert_ptr_equal(p, b.data);
	assert_int_equal(b.cap, 256);
	assert_int_equal(buf_len(&b), 0);
	assert_ptr_equal(buf_reserve(&b, 256), p);
	buf_append(&b, fill, 256);
	assert_int_equal(b.cap, 256);

	/* A little freed in front is not worth moving all the rest for. */
	buf_consume(&b, 10);
	assert_non_null(buf_reserve(&b, 5));
	assert_int_equal(b.cap, 1024);
	buf_free(&b);

	/* Much freed in front: moved, not grown. */
	buf_append(&b, fill, 256);
	buf_consume(&b, 200);
	assert_non_null(buf_reserve(&b, 150));
	assert_int_equal(b.cap, 256);
	assert_int_equal(b.pos, 0);
	assert_int_equal(b.end, 56);
	assert_non_null(buf_reserve(&b, 201));
	assert_int_equal(b.cap, 1024);
	buf_free(&b);
}

/* Up to the last byte of a block, and one more. */
static void test_extend(void **state)
{
	struct buf b = {0};
	char want[257];

	(void)state;
	memset(want, 'x', sizeof want);
	memset(buf_extend(&b, 250), 'x', 250);
	memset(buf_extend(&b, 6), 'x', 6);
	assert_int_equal(b.cap, 256);
	assert_content(&b, want, 256);
	memset(buf_extend(&b, 1), 'x', 1);
	assert_int_equal(b.cap, 1024);
	assert_content(&b, want, 257);
	buf_free(&b);
}

enum { MODEL = 1 << 18 };

static void test_random(void **state)
{
	static char model[MODEL];
	static char chunk[3000];
	size_t head = MODEL / 2, tail = MODEL / 2; /* model's positions */
	struct buf b = {0};

	(void)state;
	srandom(3);
	for (int step = 0; step < 30000; step++) {
		size_t n = (size_t)random() % (random() % 20 == 0 ? sizeof chunk : 40);

		for (size_t i = 0; i < n; i++)
			chunk[i] = (char)random();
		switch (random() % 6) {
		case 0:
		case 1:
		case 2:
			if (tail + n > MODEL)
				break;
			buf_append(&b, chunk, n);
			memcpy(model + tail, chunk, n);
			tail += n;
			break;
		default:
			n *= 2;
			if (n > tail - head || step % 500 == 0)
				n = tail - head;
			buf_consume(&b, n);
			head += n;
			break;
		}
		assert_content(&b, model + head, tail - head);
		if (head == tail)
			head = tail = MODEL / 2;
		assert_in_range(b.pos, 0, b.end);
		assert_in_range(b.end, b.pos, b.cap);
	}
	buf_free(&b);
}

static void test_printf(void **state)
{
	struct buf b = {0};
	char expect[2000];

	(void)state;
	buf_printf(&b, "%d-%s", 42, "x");
	assert_string_equal(buf_text(&b), "42-x");
	buf_puts(&b, "|");
	buf_printf(&b, "%0250d", 1); /* fills the block, but for the NUL that printf adds */
	assert_int_equal(buf_len(&b), 255);
	buf_printf(&b, "%c", 'y'); /* the last byte: no room for printf's NUL */
	assert_int_equal(buf_len(&b), 256);
	buf_printf(&b, "%0300d", 2);
	snprintf(expect, sizeof expect, "42-x|%0250dy%0300d", 1, 2);
	assert_string_equal(buf_text(&b), expect);
	assert_int_equal(buf_len(&b), strlen(expect));
	buf_consume(&b, 3);
	assert_string_equal(buf_text(&b), expect + 3);
	buf_free(&b);
	assert_string_equal(buf_text(&b), "");
	buf_free(&b);
}

static void test_failure_sticks(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_puts(&b, "before");
	assert_null(buf_reserve(&b, (size_t)1 << 30));
	assert_true(buf_failed(&b));
	assert_content(&b, "before", 6);
	buf_puts(&b, "x");
	buf_append(&b, "x", 1);
	buf_printf(&b, "x");
	assert_null(buf_reserve(&b, 1));
	assert_null(buf_extend(&b, 1));
	assert_content(&b, "before", 6);
	assert_string_equal(buf_text(&b), "");
	buf_consume(&b, 6);
	assert_true(buf_failed(&b)); /* until it is freed */
	buf_free(&b);
	assert_false(buf_failed(&b));
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_true(buf_failed(&b));
	buf_wipe(&b);
	assert_no_block(&b);
	assert_false(buf_failed(&b));
}

/* A long content that grows little by little is not copied for each 64 KB of it. */
static void test_growth(void **state)
{
	static char chunk[10000];
	struct buf b = {0};
	unsigned blocks = 0;
	const char *last = NULL;
	size_t cap = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		memset(chunk, i, sizeof chunk);
		buf_append(&b, chunk, sizeof chunk);
		if (b.cap != cap || b.data != last)
			blocks++;
		cap = b.cap;
		last = b.data;
	}
	assert_int_equal(buf_len(&b), 10000000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(b.data[i * 10000 + 9999], (char)i);
	assert_in_range(blocks, 5, 25);
	buf_free(&b);
}

/* A password that came in two parts stays in no block. */
static void test_wiped(void **state)
{
	struct buf b = {0};
	char *block;
	size_t cap;

	(void)state;
	mem_block_put(mem_block_get(256, &cap), 256);
	if (mem_usage_get(MEM_IO).spare == 0)
		skip(); /* AddressSanitizer: blocks are not kept, so nothing can be looked at */
	mem_block_trim();
	buf_puts(&b, "secret-one-secret-one-secret-one");
	block = b.data;
	assert_non_null(buf_reserve(&b, 500));
	assert_ptr_not_equal(b.data, block);
	assert_ptr_equal(mem_block_get(256, &cap), block);
	assert_null(memmem(block, 256, "ret-one", 7));
	mem_block_put(block, 256);
	block = b.data;
	buf_wipe(&b);
	assert_ptr_equal(mem_block_get(1024, &cap), block);
	assert_null(memmem(block, 1024, "ret-one", 7));
	mem_block_put(block, 1024);
	mem_block_trim();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_extend),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_printf),
		cmocka_unit_test(test_failure_sticks),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, no_blocks);
}
