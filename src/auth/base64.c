/*
 * base64: see the header. Pure functions.
 */
#include "auth/base64.h"

#include <stdbool.h>
#include <string.h>

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

/* 0 for what is no digit, else its value + 1. */
/* clang-format off */
static const uint8_t value_of[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8, ['I'] = 9, ['J'] = 10,
	['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19,
	['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26,
	['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
	['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44,
	['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52,
	['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61,
	['9'] = 62, ['+'] = 63, ['/'] = 64,
};
/* clang-format on */

/* Four digits; false when one is none. */
static inline bool decode_whole(const char *in, uint8_t out[3])
{
	const uint8_t *p = (const uint8_t *)in;
	uint32_t a = value_of[p[0]], b = value_of[p[1]], c = value_of[p[2]], d = value_of[p[3]], v;

	if (!a || !b || !c || !d)
		return false;
	v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
	out[0] = (uint8_t)(v >> 16);
	out[1] = (uint8_t)(v >> 8);
	out[2] = (uint8_t)v;
	return true;
}

/* The last four characters: the number of bytes they hold, 0 when they are wrong. */
static size_t decode_last(const char *in, uint8_t out[3])
{
	size_t chars = in[3] != '=' ? 4 : in[2] != '=' ? 3 : 2;
	char whole[4] = {in[0], in[1], chars > 2 ? in[2] : 'A', chars > 3 ? in[3] : 'A'};

	if (!decode_whole(whole, out))
		return 0;
	/* What the padding cuts off must be zero, or two texts would mean the same. */
	for (size_t i = chars - 1; i < 3; i++)
		if (out[i] != 0)
			return 0;
	return chars - 1;
}

ssize_t base64_decode(const char *in, size_t n, uint8_t *out, size_t max)
{
	uint8_t group[3];
	size_t len = 0, got;

	if (n % 4 != 0)
		return -1;
	if (n == 0)
		return 0;
	for (; n > 4; n -= 4, in += 4, len += 3)
		if (max - len < 3 || !decode_whole(in, out + len))
			return -1;
	got = decode_last(in, group);
	if (got == 0 || got > max - len)
		return -1;
	memcpy(out + len, group, got);
	return (ssize_t)(len + got);
}
