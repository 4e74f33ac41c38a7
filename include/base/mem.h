/*
 * mem: the allocator. Small allocations of our own end the program when they
 * fail; sizes that a peer controls go through try_realloc() or the blocks,
 * which may fail. Everything is counted by tag for SHOW MEM.
 */
#ifndef PSBOUNCER_BASE_MEM_H
#define PSBOUNCER_BASE_MEM_H

#include <stddef.h>

enum mem_tag {
	MEM_MISC,
	MEM_CONFIG,
	MEM_DATABASE,
	MEM_USER,
	MEM_POOL,
	MEM_CLIENT,
	MEM_LOGIN,
	MEM_SERVER,
	MEM_RING,
	MEM_VARS,
	MEM_STMT,
	MEM_IO,
	MEM_TLS,
	MEM_TIMER,
	MEM_TABLE,
	MEM_TAGS /* how many there are */
};

struct mem_usage {
	const char *name;
	size_t objects; /* in use now */
	size_t bytes;	/* in use now, as the C library rounded them */
	size_t spare;	/* bytes kept in free lists (MEM_IO only) */
};

/* Fatal when memory is out. xrealloc(tag, NULL, n) allocates. A size of 0 gives a pointer that can be freed. */
void *xmalloc(enum mem_tag tag, size_t size) __attribute__((malloc, warn_unused_result));
void *xcalloc(enum mem_tag tag, size_t n, size_t size) __attribute__((malloc, warn_unused_result));
void *xrealloc(enum mem_tag tag, void *p, size_t size) __attribute__((warn_unused_result));
char *xstrdup(enum mem_tag tag, const char *s) __attribute__((malloc, warn_unused_result));
char *xstrndup(enum mem_tag tag, const char *s, size_t n) __attribute__((malloc, warn_unused_result));
char *xasprintf(enum mem_tag tag, const char *fmt, ...) __attribute__((format(printf, 2, 3), warn_unused_result));

/* As realloc(): NULL when memory is out, the old block then stays. */
void *try_realloc(enum mem_tag tag, void *p, size_t size) __attribute__((warn_unused_result));

/* Frees p (may be NULL), which was allocated under the same tag. */
void xfree(enum mem_tag tag, void *p);

/* Overwrites n bytes of p (may be NULL) with zeros in a way that no compiler drops. */
void mem_wipe(void *p, size_t n);

/* mem_wipe() over the string s, then xfree(). NULL is fine. */
void xfree_secret(enum mem_tag tag, char *s);

/*
 * I/O blocks: size classes 256, 1024, 4096, 16384 and 65536 bytes from free
 * lists; a larger block comes from the heap, rounded up to 64 KB. *cap is set to
 * the real size. NULL when memory is out. Counted under MEM_IO. A free list
 * keeps at most 1 MB a class; what is more goes back to the heap.
 */
void *mem_block_get(size_t want, size_t *cap) __attribute__((warn_unused_result));
void mem_block_put(void *block, size_t cap);
/* Gives the spare blocks back to the heap (at the end, so that leak checkers see the truth). */
void mem_block_trim(void);

struct mem_usage mem_usage_get(enum mem_tag tag);

#endif
