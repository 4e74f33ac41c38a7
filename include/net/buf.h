/*
 * buf: bytes on their way. One type for what was read and waits, for messages
 * that we make, and for text that grows. The memory is an I/O block of
 * base/mem, given back as soon as the buffer is empty.
 *
 *     data ... pos ........ end ... cap
 *     | gone   | content    | free
 *
 * Failure (memory is out, or the limit of 1 GB is passed) is sticky: appends do
 * nothing after it and buf_failed() tells.
 */
#ifndef PSBOUNCER_NET_BUF_H
#define PSBOUNCER_NET_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise; buf_free() when done. */
struct buf {
	char *data;
	uint32_t cap, pos, end;
	bool failed;
};

static inline uint32_t buf_len(const struct buf *b)
{
	return b->end - b->pos;
}

static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}

static inline char *buf_head(const struct buf *b)
{
	return b->data != NULL ? b->data + b->pos : NULL;
}

/* For buf_reserve(): when there is no room yet. */
char *buf_make_room(struct buf *b, size_t n) __attribute__((warn_unused_result));

/* Room for n more bytes after end: moves the content to the front or to a larger block when it must. NULL on failure. */
static inline __attribute__((warn_unused_result)) char *buf_reserve(struct buf *b, size_t n)
{
	/* Not <=: so that there is a block, even for n = 0. */
	return n < b->cap - b->end && !b->failed ? b->data + b->end : buf_make_room(b, n);
}

/* n more bytes at the end, for the caller to write. NULL on failure. */
static inline __attribute__((warn_unused_result)) char *buf_extend(struct buf *b, size_t n)
{
	char *to = buf_reserve(b, n);

	if (to != NULL)
		b->end += (uint32_t)n;
	return to;
}

void buf_append(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s); /* without the NUL */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops n bytes at pos; an empty buffer gives its block back. */
void buf_consume(struct buf *b, size_t n);
/* Empties it and gives the block back; failed is cleared. */
void buf_free(struct buf *b);
/* buf_free() after overwriting what it held. */
void buf_wipe(struct buf *b);
/* The content from pos as a NUL-terminated string (the NUL is not part of it); "" when it failed. */
const char *buf_text(struct buf *b);

#endif
