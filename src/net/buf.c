/*
 * buf: owns the block of a buffer while there are bytes in it. Called by
 * everybody who holds bytes or makes messages. It knows nothing of what they
 * mean.
 */
#include "net/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { BUF_LIMIT = 1024 * 1024 * 1024, BUF_LARGE = 65536 };

static void to_front(struct buf *b)
{
	uint32_t len = buf_len(b);

	memmove(b->data, b->data + b->pos, len);
	b->pos = 0;
	b->end = len;
}

static bool grow(struct buf *b, size_t need)
{
	uint32_t len = buf_len(b);
	size_t want = need, cap;
	char *bigger;

	/* Past the size classes by halves, so that a long message is not copied once for each 64 KB of it. */
	if (b->cap >= BUF_LARGE && want < b->cap + (size_t)b->cap / 2)
		want = b->cap + (size_t)b->cap / 2;
	else if (want <= b->cap)
		want = (size_t)b->cap + 1;
	bigger = need <= BUF_LIMIT ? mem_block_get(want, &cap) : NULL;
	if (bigger == NULL) {
		b->failed = true;
		return false;
	}
	if (len > 0)
		memcpy(bigger, b->data + b->pos, len);
	/* The old block goes to somebody else: what it holds may be part of a password. */
	mem_wipe(b->data, b->end);
	mem_block_put(b->data, b->cap);
	b->data = bigger;
	b->cap = (uint32_t)cap;
	b->pos = 0;
	b->end = len;
	return true;
}

char *buf_make_room(struct buf *b, size_t n)
{
	uint32_t len = buf_len(b);

	if (b->failed)
		return NULL;
	if (b->data != NULL && n <= b->cap - b->end)
		return b->data + b->end;
	/* Moving is worth it when it frees at least half of what it copies; else each byte added could move all of them. */
	if (b->data != NULL && n <= b->cap - len && b->pos >= len / 2) {
		to_front(b);
		return b->data + b->end;
	}
	if (n > BUF_LIMIT) {
		b->failed = true;
		return NULL;
	}
	return grow(b, len + n) ? b->data + b->end : NULL;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
	char *to;

	if (n == 0)
		return;
	to = buf_extend(b, n);
	if (to != NULL)
		memcpy(to, p, n);
}

void buf_puts(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	size_t room = b->data != NULL ? b->cap - b->end : 0;
	int len;
	char *to;

	if (b->failed)
		return;
	va_start(ap, fmt);
	len = vsnprintf(room > 0 ? b->data + b->end : NULL, room, fmt, ap);
	va_end(ap);
	assert(len >= 0);
	if (len == 0)
		return;
	if ((size_t)len >= room) {
		to = buf_reserve(b, (size_t)len + 1);
		if (to == NULL)
			return;
		va_start(ap, fmt);
		vsnprintf(to, (size_t)len + 1, fmt, ap);
		va_end(ap);
	}
	b->end += (uint32_t)len;
}

static void give_back(struct buf *b)
{
	mem_block_put(b->data, b->cap);
	b->data = NULL;
	b->cap = b->pos = b->end = 0;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->pos += (uint32_t)n;
	if (b->pos == b->end)
		give_back(b);
}

void buf_free(struct buf *b)
{
	give_back(b);
	b->failed = false;
}

void buf_wipe(struct buf *b)
{
	mem_wipe(b->data, b->cap);
	buf_free(b);
}

const char *buf_text(struct buf *b)
{
	char *nul = buf_reserve(b, 1);

	if (nul == NULL)
		return "";
	*nul = '\0';
	return buf_head(b);
}
