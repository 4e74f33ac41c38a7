/*
 * connstr: splits "key=value key='it''s'" into pairs. Called by config for the
 * entries of [databases] and [users]. Which keys there are it does not know, and
 * no value ever stands in its error texts: one may be a password.
 */
#include "conf/connstr.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

static bool is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static const char *skip_space(const char *s)
{
	while (is_space(*s))
		s++;
	return s;
}

static struct connstr_pair *add_pair(struct connstr *c, const char *key, size_t len)
{
	struct connstr_pair *p;

	/* Room doubles: it is full whenever n is a power of two. */
	if ((c->n & (c->n - 1)) == 0)
		c->v = xrealloc(MEM_CONFIG, c->v, (c->n == 0 ? 1 : c->n * 2) * sizeof(*c->v));
	p = &c->v[c->n++];
	p->key = xstrndup(MEM_CONFIG, key, len);
	p->value = NULL;
	return p;
}

/* Takes the value in quotes at s, a quote inside it doubled. Returns what follows it, or NULL and the error. */
static const char *take_quoted(const char *s, struct connstr_pair *p, const char **error)
{
	size_t n = 0;

	p->value = xmalloc(MEM_CONFIG, strlen(s));
	for (s++; *s != '\0' && (*s != '\'' || s[1] == '\''); s++) {
		if (*s == '\'')
			s++;
		p->value[n++] = *s;
	}
	p->value[n] = '\0';
	if (*s == '\0')
		*error = "a value whose quote is not closed";
	else if (s[1] != '\0' && !is_space(s[1]))
		*error = "a quoted value without a space behind it";
	return *error == NULL ? s + 1 : NULL;
}

static const char *take_value(const char *s, struct connstr_pair *p, const char **error)
{
	const char *start = s;

	if (*s == '\'') {
		s = take_quoted(s, p, error);
	} else {
		while (*s != '\0' && !is_space(*s))
			s++;
		p->value = xstrndup(MEM_CONFIG, start, (size_t)(s - start));
	}
	if (*error == NULL && p->value[0] == '\0')
		*error = "an empty value";
	return s;
}

const char *connstr_parse(const char *text, struct connstr *out, size_t *at)
{
	const char *s = skip_space(text), *error = NULL;

	memset(out, 0, sizeof(*out));
	*at = 0;
	while (error == NULL && *s != '\0') {
		const char *key = s;
		size_t len;

		*at = (size_t)(key - text);
		while (is_key_char(*s))
			s++;
		len = (size_t)(s - key);
		s = skip_space(s);
		if (len == 0)
			return "a key was expected";
		if (*s != '=')
			return "a key without '=' and a value (a value with spaces needs single quotes)";
		s = take_value(skip_space(s + 1), add_pair(out, key, len), &error);
		if (error == NULL)
			s = skip_space(s);
	}
	return error;
}

void connstr_free(struct connstr *c)
{
	for (size_t i = 0; i < c->n; i++) {
		xfree(MEM_CONFIG, c->v[i].key);
		xfree_secret(MEM_CONFIG, c->v[i].value);
	}
	xfree(MEM_CONFIG, c->v);
	memset(c, 0, sizeof(*c));
}
