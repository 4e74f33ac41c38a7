/*
 * saslprep: see the header for what it does and where it ends. Called by the
 * derivation of SCRAM keys only.
 */
#include "auth/saslprep.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "saslprep_priv.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define IN(table, c) in_ranges(table, COUNT(table), c)

static bool in_ranges(const struct range *r, size_t n, uint32_t c)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c > r[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n && c >= r[low].first;
}

/* The code point at *p, which moves on; UINT32_MAX when it is not UTF-8. */
static uint32_t next_code_point(const char **p)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	const unsigned char *s = (const unsigned char *)*p;
	uint32_t c = *s++;
	unsigned more;

	if (c >= 0x80 && (c < 0xc2 || c > 0xf4))
		return UINT32_MAX;
	more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	if (more > 0)
		c &= 0x3fu >> more;
	for (unsigned i = 0; i < more; i++, s++) {
		if ((*s & 0xc0) != 0x80)
			return UINT32_MAX;
		c = c << 6 | (*s & 0x3f);
	}
	if (c < least[more] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return UINT32_MAX;
	*p = (const char *)s;
	return c;
}

static char *put_code_point(char *p, uint32_t c)
{
	if (c < 0x80) {
		*p++ = (char)c;
		return p;
	}
	if (c < 0x800) {
		*p++ = (char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		*p++ = (char)(0xe0 | c >> 12);
		*p++ = (char)(0x80 | (c >> 6 & 0x3f));
	} else {
		*p++ = (char)(0xf0 | c >> 18);
		*p++ = (char)(0x80 | (c >> 12 & 0x3f));
		*p++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*p++ = (char)(0x80 | (c & 0x3f));
	return p;
}

/* What one mapped code point becomes under NFKC. */
static char *put_normalised(char *p, uint32_t c)
{
	for (size_t i = 0; i < COUNT(decompositions); i++) {
		const struct decomposition *d = &decompositions[i];

		if (d->from != c)
			continue;
		for (size_t k = 0; k < COUNT(d->to) && d->to[k] != 0; k++)
			p = put_code_point(p, d->to[k]);
		return p;
	}
	return put_code_point(p, c);
}

/* Mapping and normalisation into out; false: it is not UTF-8, or nothing is left. */
static bool map(const char *in, char *out)
{
	char *p = out;

	while (*in != '\0') {
		uint32_t c = next_code_point(&in);

		if (c == UINT32_MAX)
			return false;
		if (IN(spaces, c))
			*p++ = ' ';
		else if (!IN(nothings, c))
			p = put_normalised(p, c);
	}
	*p = '\0';
	return p != out;
}

/* The output may hold nothing prohibited, and scripts of both directions only as RFC 3454, 6 allows. */
static bool allowed(const char *text)
{
	bool right = false, left = false, first_right = false, last_right = false;

	for (const char *p = text; *p != '\0';) {
		bool first = p == text;
		uint32_t c = next_code_point(&p);

		if (IN(prohibited, c))
			return false;
		last_right = IN(right_to_left, c);
		right |= last_right;
		first_right |= first && last_right;
		left |= IN(left_to_right, c);
	}
	return !right || (!left && first_right && last_right);
}

static bool is_ascii(const char *s)
{
	while (*s != '\0')
		if ((unsigned char)*s++ >= 0x80)
			return false;
	return true;
}

char *saslprep(const char *password)
{
	char *out;

	if (is_ascii(password))
		return xstrdup(MEM_LOGIN, password);
	/* The longest growth is that of two bytes to five (a fraction). */
	out = xmalloc(MEM_LOGIN, strlen(password) * 3 + 1);
	if (map(password, out) && allowed(out))
		return out;
	mem_wipe(out, strlen(password) * 3 + 1);
	xfree(MEM_LOGIN, out);
	return xstrdup(MEM_LOGIN, password);
}
