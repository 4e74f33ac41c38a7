/*
 * mem: what is counted by tag, the size classes of I/O blocks and what their
 * free lists keep.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

/* Sizes that cannot be had are asked for on purpose. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void assert_usage(enum mem_tag tag, size_t objects, size_t least, size_t most)
{
	struct mem_usage u = mem_usage_get(tag);

	assert_int_equal(u.objects, objects);
	assert_in_range(u.bytes, least, most);
}

static void test_names(void **state)
{
	(void)state;
	for (int i = 0; i < MEM_TAGS; i++) {
		assert_non_null(mem_usage_get((enum mem_tag)i).name);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(mem_usage_get((enum mem_tag)i).name,
				mem_usage_get((enum mem_tag)j).name);
	}
	assert_string_equal(mem_usage_get(MEM_TIMER).name, "timer");
}

static void test_counts(void **state)
{
	char *a, *b;

	(void)state;
	assert_usage(MEM_POOL, 0, 0, 0);
	a = xmalloc(MEM_POOL, 1000);
	assert_usage(MEM_POOL, 1, 1000, 1100);
	b = xcalloc(MEM_POOL, 30, 100);
	for (size_t i = 0; i < 3000; i++)
		assert_int_equal(b[i], 0);
	assert_usage(MEM_POOL, 2, 4000, 4200);
	a = xrealloc(MEM_POOL, a, 5000);
	assert_usage(MEM_POOL, 2, 8000, 8200);
	a = xrealloc(MEM_POOL, a, 10);
	assert_usage(MEM_POOL, 2, 3010, 3300);
	assert_usage(MEM_USER, 0, 0, 0);
	xfree(MEM_POOL, a);
	xfree(MEM_POOL, b);
	xfree(MEM_POOL, NULL);
	assert_usage(MEM_POOL, 0, 0, 0);
}

static void test_size_zero(void **state)
{
	void *p[3];

	(void)state;
	p[0] = xmalloc(MEM_MISC, 0);
	p[1] = xcalloc(MEM_MISC, 0, 8);
	p[2] = xrealloc(MEM_MISC, NULL, 0);
	for (size_t i = 0; i < 3; i++) {
		assert_non_null(p[i]);
		p[i] = xrealloc(MEM_MISC, p[i], 0);
		assert_non_null(p[i]);
	}
	assert_usage(MEM_MISC, 3, 3, 300);
	for (size_t i = 0; i < 3; i++)
		xfree(MEM_MISC, p[i]);
	assert_usage(MEM_MISC, 0, 0, 0);
}

static void test_strings(void **state)
{
	const char raw[4] = {'a', 'b', 'c', 'd'};
	char *s = xstrdup(MEM_VARS, "value");

	(void)state;
	assert_string_equal(s, "value");
	xfree_secret(MEM_VARS, s);
	s = xstrndup(MEM_VARS, raw, sizeof raw);
	assert_string_equal(s, "abcd");
	xfree(MEM_VARS, s);
	s = xstrndup(MEM_VARS, "ab\0cd", 5);
	assert_string_equal(s, "ab");
	xfree(MEM_VARS, s);
	s = xasprintf(MEM_VARS, "%s-%0100d", "x", 7);
	assert_int_equal(strlen(s), 102);
	assert_int_equal(s[101], '7');
	xfree(MEM_VARS, s);
	for (size_t n = 509; n <= 515; n++) { /* about the size up to which a text is formatted once */
		s = xasprintf(MEM_VARS, "%0*d", (int)n, 7);
		assert_int_equal(strlen(s), n);
		assert_int_equal(s[n - 1], '7');
		xfree(MEM_VARS, s);
	}
	xfree_secret(MEM_VARS, NULL);
	assert_usage(MEM_VARS, 0, 0, 0);
}

static void test_wipe(void **state)
{
	char secret[] = "secret";

	(void)state;
	mem_wipe(secret, 3);
	assert_memory_equal(secret, "\0\0\0ret", 7);
	mem_wipe(NULL, 0);
}

static void test_try_realloc(void **state)
{
	volatile size_t huge = SIZE_MAX / 4;
	char *p = try_realloc(MEM_SERVER, NULL, 100);

	(void)state;
	assert_non_null(p);
	strcpy(p, "stays");
	assert_null(try_realloc(MEM_SERVER, p, huge));
	assert_string_equal(p, "stays");
	assert_usage(MEM_SERVER, 1, 100, 200);
	xfree(MEM_SERVER, p);
}

/* Runs fn in a child without its stderr; tells whether it ended by SIGABRT. */
static bool aborts(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void free_under_wrong_tag(void)
{
	xfree(MEM_USER, xmalloc(MEM_POOL, 10));
}

static void free_under_right_tag(void)
{
	xfree(MEM_POOL, xmalloc(MEM_POOL, 10));
}

static void ask_for_too_much(void)
{
	volatile size_t huge = SIZE_MAX / 4;

	xfree(MEM_POOL, xmalloc(MEM_POOL, huge));
}

static void put_with_wrong_size(void)
{
	size_t cap;
	void *p = mem_block_get(256, &cap);

	mem_block_put(p, cap + 1);
}

static void test_aborts(void **state)
{
	(void)state;
	assert_false(aborts(free_under_right_tag));
	assert_true(aborts(free_under_wrong_tag));
	assert_true(aborts(ask_for_too_much));
	assert_true(aborts(put_with_wrong_size));
}

/* ---- blocks ---- */

static void test_classes(void **state)
{
	static const struct {
		size_t want, cap;
	} rows[] = {
		{0, 256},
		{1, 256},
		{256, 256},
		{257, 1024},
		{1024, 1024},
		{1025, 4096},
		{4096, 4096},
		{4097, 16384},
		{16384, 16384},
		{16385, 65536},
		{65536, 65536},
		{65537, 131072},
		{131072, 131072},
		{131073, 196608},
		{1000000, 1048576},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		size_t cap = 0;
		char *p = mem_block_get(rows[i].want, &cap);

		assert_non_null(p);
		assert_int_equal(cap, rows[i].cap);
		memset(p, 0x55, cap);
		mem_block_put(p, cap);
	}
	mem_block_put(NULL, 0);
	mem_block_trim();
	assert_usage(MEM_IO, 0, 0, 0);
}

static void test_no_memory(void **state)
{
	size_t cap;

	(void)state;
	assert_null(mem_block_get(SIZE_MAX, &cap));
	assert_null(mem_block_get(SIZE_MAX / 4, &cap));
	assert_usage(MEM_IO, 0, 0, 0);
}

static bool recycles(void)
{
	size_t cap;
	bool yes;

	mem_block_put(mem_block_get(1, &cap), 256);
	yes = mem_usage_get(MEM_IO).spare > 0;
	mem_block_trim();
	return yes;
}

static void test_recycled(void **state)
{
	size_t cap;
	void *a, *b;

	(void)state;
	if (!recycles())
		skip(); /* with AddressSanitizer every block goes back to the heap */
	a = mem_block_get(1000, &cap);
	assert_usage(MEM_IO, 1, 1024, 1100);
	mem_block_put(a, cap);
	assert_usage(MEM_IO, 0, 0, 0);
	assert_in_range(mem_usage_get(MEM_IO).spare, 1024, 1100);
	b = mem_block_get(1, &cap); /* another class has none */
	assert_ptr_not_equal(a, b);
	mem_block_put(b, cap);
	b = mem_block_get(1024, &cap);
	assert_ptr_equal(a, b);
	assert_usage(MEM_IO, 1, 1024, 1100);
	mem_block_put(b, cap);
	mem_block_trim();
	assert_int_equal(mem_usage_get(MEM_IO).spare, 0);
}

static void test_spare_limit(void **state)
{
	enum { N = 2000 };
	static void *blocks[N];
	size_t cap, spare;

	(void)state;
	if (!recycles())
		skip();
	for (int i = 0; i < N; i++)
		blocks[i] = mem_block_get(1024, &cap);
	for (int i = 0; i < N; i++)
		mem_block_put(blocks[i], 1024);
	spare = mem_usage_get(MEM_IO).spare;
	assert_in_range(spare, 1024 * 1024, 1024 * 1100);

	/* The limit is one class's own. */
	mem_block_put(mem_block_get(256, &cap), 256);
	assert_true(mem_usage_get(MEM_IO).spare >= spare + 256);
	/* What is larger than the largest class is never kept. */
	spare = mem_usage_get(MEM_IO).spare;
	mem_block_put(mem_block_get(65537, &cap), 131072);
	assert_int_equal(mem_usage_get(MEM_IO).spare, spare);
	mem_block_trim();
	assert_int_equal(mem_usage_get(MEM_IO).spare, 0);
	assert_usage(MEM_IO, 0, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_size_zero),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_try_realloc),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_recycled),
		cmocka_unit_test(test_spare_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
