/*
 * bytes: see dialog.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog/dialog.h"

void bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (b->n + n + 1 > b->cap) {
		b->cap = (b->n + n + 1) * 2;
		b->p = realloc(b->p, b->cap);
		if (b->p == NULL)
			abort();
	}
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void bytes_u8(struct bytes *b, unsigned v)
{
	char c = (char)v;

	bytes_add(b, &c, 1);
}

void bytes_u16(struct bytes *b, unsigned v)
{
	bytes_u8(b, v >> 8);
	bytes_u8(b, v & 0xff);
}

void bytes_u32(struct bytes *b, uint32_t v)
{
	bytes_u16(b, v >> 16);
	bytes_u16(b, v & 0xffff);
}

void bytes_str(struct bytes *b, const char *s)
{
	bytes_add(b, s, strlen(s) + 1);
}

void bytes_free(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){0};
}

void bytes_printf(struct bytes *out, const char *fmt, ...)
{
	char buf[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n > 0)
		bytes_add(out, buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

void bytes_print(struct bytes *out, const char *p, size_t n)
{
	size_t i;

	bytes_add(out, "\"", 1);
	for (i = 0; i < n && i < 300; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c == '"' || c == '\\')
			bytes_printf(out, "\\%c", c);
		else if (c == '\n')
			bytes_add(out, "\\n", 2);
		else if (c < 0x20 || c > 0x7e)
			bytes_printf(out, "\\x%02x", c);
		else
			bytes_add(out, &p[i], 1);
	}
	bytes_add(out, "\"", 1);
	if (i < n)
		bytes_printf(out, "... (%zu bytes)", n);
}
