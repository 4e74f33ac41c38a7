/*
 * mem: owns the allocator's counters and the free lists of I/O blocks. Called
 * by everybody. It does not log: the log stands on it.
 *
 * The counters are plain numbers: only the thread of the loop may allocate here.
 */
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A recycled block hides its use after the return: with AddressSanitizer every block goes back to the heap at once. */
#if defined(__SANITIZE_ADDRESS__)
#define BLOCKS_RECYCLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCKS_RECYCLED 0
#endif
#endif
#ifndef BLOCKS_RECYCLED
#define BLOCKS_RECYCLED 1
#endif

enum { BLOCK_CLASSES = 5, BLOCK_LARGEST = 65536, BLOCK_SPARE_MAX = 1024 * 1024 };

static const size_t block_size[BLOCK_CLASSES] = {256, 1024, 4096, 16384, BLOCK_LARGEST};

/* A spare block holds its own link. */
struct spare {
	struct spare *next;
};

static struct spare *spare_list[BLOCK_CLASSES];
static size_t spare_count[BLOCK_CLASSES];

static size_t used_objects[MEM_TAGS];
static size_t used_bytes[MEM_TAGS];

static const char *const tag_name[MEM_TAGS] = {
	[MEM_MISC] = "misc",
	[MEM_CONFIG] = "config",
	[MEM_DATABASE] = "database",
	[MEM_USER] = "user",
	[MEM_POOL] = "pool",
	[MEM_CLIENT] = "client",
	[MEM_LOGIN] = "login",
	[MEM_SERVER] = "server",
	[MEM_RING] = "ring",
	[MEM_VARS] = "vars",
	[MEM_STMT] = "stmt",
	[MEM_IO] = "io",
	[MEM_TLS] = "tls",
	[MEM_TIMER] = "timer",
	[MEM_TABLE] = "table",
};

static void count_up(enum mem_tag tag, size_t bytes)
{
	used_objects[tag]++;
	used_bytes[tag] += bytes;
}

static void count_down(enum mem_tag tag, size_t bytes)
{
	/* A pointer freed under another tag than its own shows here. */
	assert(used_objects[tag] > 0 && used_bytes[tag] >= bytes);
	used_objects[tag]--;
	used_bytes[tag] -= bytes;
}

static void out_of_memory(void) __attribute__((noreturn));

static void out_of_memory(void)
{
	static const char text[] = "psbouncer: out of memory\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);

	(void)ignored;
	abort();
}

void *xmalloc(enum mem_tag tag, size_t size)
{
	void *p = malloc(size > 0 ? size : 1);

	if (p == NULL)
		out_of_memory();
	count_up(tag, malloc_usable_size(p));
	return p;
}

void *xcalloc(enum mem_tag tag, size_t n, size_t size)
{
	size_t all;
	void *p;

	if (__builtin_mul_overflow(n, size, &all))
		out_of_memory();
	/* Not calloc(): glibc's takes nothing from what the thread has freed last, and so each free() goes the long way too. */
	p = xmalloc(tag, all);
	return memset(p, 0, all);
}

void *try_realloc(enum mem_tag tag, void *p, size_t size)
{
	size_t before = p != NULL ? malloc_usable_size(p) : 0;
	void *q = realloc(p, size > 0 ? size : 1);

	if (q == NULL)
		return NULL;
	if (p == NULL)
		used_objects[tag]++;
	assert(used_objects[tag] > 0 && used_bytes[tag] >= before);
	used_bytes[tag] += malloc_usable_size(q) - before;
	return q;
}

void *xrealloc(enum mem_tag tag, void *p, size_t size)
{
	void *q = try_realloc(tag, p, size);

	if (q == NULL)
		out_of_memory();
	return q;
}

char *xstrdup(enum mem_tag tag, const char *s)
{
	return xstrndup(tag, s, strlen(s));
}

char *xstrndup(enum mem_tag tag, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = xmalloc(tag, len + 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *xasprintf(enum mem_tag tag, const char *fmt, ...)
{
	char part[512]; /* most texts are formatted once */
	va_list ap;
	int len;
	char *text;

	va_start(ap, fmt);
	len = vsnprintf(part, sizeof part, fmt, ap);
	va_end(ap);
	assert(len >= 0);
	text = xmalloc(tag, (size_t)len + 1);
	if ((size_t)len < sizeof part)
		memcpy(text, part, (size_t)len + 1);
	/* It may have been a secret. */
	mem_wipe(part, (size_t)len < sizeof part ? (size_t)len : sizeof part);
	if ((size_t)len < sizeof part)
		return text;
	va_start(ap, fmt);
	vsnprintf(text, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return text;
}

void xfree(enum mem_tag tag, void *p)
{
	if (p == NULL)
		return;
	count_down(tag, malloc_usable_size(p));
	free(p);
}

void mem_wipe(void *p, size_t n)
{
	if (p != NULL && n > 0)
		explicit_bzero(p, n);
}

void xfree_secret(enum mem_tag tag, char *s)
{
	if (s == NULL)
		return;
	mem_wipe(s, strlen(s));
	xfree(tag, s);
}

/* The smallest class that holds want; BLOCK_CLASSES when none does. */
static int block_class(size_t want)
{
	int c = 0;

	while (c < BLOCK_CLASSES && block_size[c] < want)
		c++;
	return c;
}

static void *block_from_heap(size_t size)
{
	void *block = malloc(size);

	if (block != NULL)
		count_up(MEM_IO, size);
	return block;
}

void *mem_block_get(size_t want, size_t *cap)
{
	int c = block_class(want);
	struct spare *s;

	if (c == BLOCK_CLASSES) {
		if (want > SIZE_MAX - BLOCK_LARGEST)
			return NULL;
		*cap = (want + BLOCK_LARGEST - 1) / BLOCK_LARGEST * BLOCK_LARGEST;
		return block_from_heap(*cap);
	}
	*cap = block_size[c];
	s = spare_list[c];
	if (s == NULL)
		return block_from_heap(*cap);
	spare_list[c] = s->next;
	spare_count[c]--;
	count_up(MEM_IO, *cap);
	return s;
}

void mem_block_put(void *block, size_t cap)
{
	int c = block_class(cap);
	struct spare *s = block;

	if (block == NULL)
		return;
	assert(c == BLOCK_CLASSES ? cap % BLOCK_LARGEST == 0 : cap == block_size[c]);
	count_down(MEM_IO, cap);
	if (!BLOCKS_RECYCLED || c == BLOCK_CLASSES || (spare_count[c] + 1) * cap > BLOCK_SPARE_MAX) {
		free(block);
		return;
	}
	s->next = spare_list[c];
	spare_list[c] = s;
	spare_count[c]++;
}

void mem_block_trim(void)
{
	for (int c = 0; c < BLOCK_CLASSES; c++) {
		while (spare_list[c] != NULL) {
			struct spare *s = spare_list[c];

			spare_list[c] = s->next;
			free(s);
		}
		spare_count[c] = 0;
	}
}

static size_t spare_bytes(void)
{
	size_t n = 0;

	for (int c = 0; c < BLOCK_CLASSES; c++)
		n += spare_count[c] * block_size[c];
	return n;
}

struct mem_usage mem_usage_get(enum mem_tag tag)
{
	struct mem_usage u = {
		.name = tag_name[tag],
		.objects = used_objects[tag],
		.bytes = used_bytes[tag],
		.spare = tag == MEM_IO ? spare_bytes() : 0,
	};

	return u;
}
