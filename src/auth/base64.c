/*
 * base64: see the header. Pure functions.
 */
#include "auth/base64.h"

#include <stdbool.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *in, size_t n, char *out)
{
	while (n > 0) {
		size_t part = n < 3 ? n : 3;
		uint32_t v = (uint32_t)in[0] << 16;

		if (part > 1)
			v |= (uint32_t)in[1] << 8;
		if (part > 2)
			v |= in[2];
		out[0] = digits[v >> 18];
		out[1] = digits[v >> 12 & 63];
		out[2] = part > 1 ? digits[v >> 6 & 63] : '=';
		out[3] = part > 2 ? digits[v & 63] : '=';
		in += part;
		n -= part;
		out += 4;
	}
	*out = '\0';
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four: the number of bytes it holds, 0 when it is wrong. */
static size_t decode_group(const char *in, bool last, uint8_t out[3])
{
	size_t chars = last && in[3] == '=' ? (in[2] == '=' ? 2 : 3) : 4;
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		int d = i < chars ? value_of(in[i]) : 0;

		if (d < 0)
			return 0;
		v = v << 6 | (uint32_t)d;
	}
	/* What the padding cuts off must be zero, or two texts would mean the same. */
	if ((chars == 2 && v & 0xffff) || (chars == 3 && v & 0xff))
		return 0;
	out[0] = (uint8_t)(v >> 16);
	out[1] = (uint8_t)(v >> 8);
	out[2] = (uint8_t)v;
	return chars - 1;
}

ssize_t base64_decode(const char *in, size_t n, uint8_t *out, size_t max)
{
	size_t len = 0;

	if (n % 4 != 0)
		return -1;
	for (size_t at = 0; at < n; at += 4) {
		uint8_t group[3];
		size_t got = decode_group(in + at, at + 4 == n, group);

		if (got == 0 || len + got > max)
			return -1;
		for (size_t i = 0; i < got; i++)
			out[len++] = group[i];
	}
	return (ssize_t)len;
}
