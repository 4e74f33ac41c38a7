/*
 * load_messages: the bytes that clients of the load send, and those that they
 * want back.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/load_priv.h"

void load_put(struct load_bytes *b, const void *p, size_t n)
{
	if (b->n + n > b->size) {
		b->size = 2 * (b->n + n) + 256;
		b->p = realloc(b->p, b->size);
		if (!b->p)
			abort();
	}
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

void load_put_text(struct load_bytes *b, const char *s)
{
	load_put(b, s, strlen(s) + 1);
}

void load_put16(struct load_bytes *b, unsigned v)
{
	uint16_t word = htons((uint16_t)v);

	load_put(b, &word, 2);
}

void load_put32(struct load_bytes *b, uint32_t v)
{
	v = htonl(v);
	load_put(b, &v, 4);
}

size_t load_begin(struct load_bytes *b, char type)
{
	size_t at;

	if (type)
		load_put(b, &type, 1);
	at = b->n;
	load_put32(b, 0);
	return at;
}

void load_end(struct load_bytes *b, size_t at)
{
	uint32_t word = htonl((uint32_t)(b->n - at));

	memcpy(b->p + at, &word, 4);
}

void load_query(struct load_client *c, const char *fmt, ...)
{
	size_t at = load_begin(&c->out, 'Q');
	char sql[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(sql, sizeof(sql), fmt, ap);
	va_end(ap);
	assert(n >= 0 && (size_t)n < sizeof(sql));
	load_put_text(&c->out, sql);
	load_end(&c->out, at);
}

void load_batch(struct load_client *c, const char *sql, unsigned rows, const char *parameter)
{
	struct load_bytes *b = &c->out;
	size_t at = load_begin(b, 'P');

	load_put_text(b, "");
	load_put_text(b, sql);
	load_put16(b, 0);
	load_end(b, at);
	at = load_begin(b, 'B');
	load_put_text(b, "");
	load_put_text(b, "");
	load_put16(b, 0);
	load_put16(b, parameter ? 1 : 0);
	if (parameter) {
		load_put32(b, (uint32_t)strlen(parameter));
		load_put(b, parameter, strlen(parameter));
	}
	load_put16(b, 0);
	load_end(b, at);
	at = load_begin(b, 'D');
	load_put(b, "P", 1);
	load_put_text(b, "");
	load_end(b, at);
	at = load_begin(b, 'E');
	load_put_text(b, "");
	load_put32(b, rows);
	load_end(b, at);
}

void load_bare(struct load_client *c, char type)
{
	load_end(&c->out, load_begin(&c->out, type));
}

void load_startup(struct load_client *c, const char *user, const char *database)
{
	const char *const pairs[] = {"user", user, "database", database, "application_name", c->name, "TimeZone",
		c->zone, "DateStyle", c->style, "client_encoding", "UTF8"};
	size_t at = load_begin(&c->out, 0);

	load_put32(&c->out, 0x30000);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		load_put_text(&c->out, pairs[i]);
	load_put_text(&c->out, "");
	load_end(&c->out, at);
}

/* ---- what must come back ---- */

static struct load_want *add(struct load_client *c, char type, enum load_how how)
{
	struct load_want *w = &c->wants[c->n_wants++];

	assert(c->n_wants <= LOAD_WANTS);
	*w = (struct load_want){.type = type, .how = how, .at = c->expected.n};
	return w;
}

void load_want_how(struct load_client *c, char type, enum load_how how)
{
	add(c, type, how);
}

void load_want_any(struct load_client *c, const char *types)
{
	for (; *types; types++)
		add(c, *types, WANT_ANY);
}

void load_want(struct load_client *c, char type, const void *p, size_t n)
{
	struct load_want *w = add(c, type, WANT_EXACT);

	w->n = n;
	load_put(&c->expected, p, n);
}

void load_want_text(struct load_client *c, char type, const char *s)
{
	load_want(c, type, s, strlen(s) + 1);
}

void load_want_row(struct load_client *c, enum load_how how, const char *first, ...)
{
	struct load_want *w = add(c, 'D', how);
	unsigned columns = 0;
	uint16_t word;
	va_list ap;

	load_put16(&c->expected, 0);
	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *)) {
		load_put32(&c->expected, (uint32_t)strlen(s));
		load_put(&c->expected, s, strlen(s));
		columns++;
	}
	va_end(ap);
	word = htons((uint16_t)columns);
	memcpy(c->expected.p + w->at, &word, 2);
	w->n = c->expected.n - w->at;
}

static void add_error(struct load_client *c, enum load_how how, const char *code, const char *part)
{
	struct load_want *w = add(c, 'E', how);

	load_put_text(&c->expected, code);
	load_put_text(&c->expected, part);
	w->n = c->expected.n - w->at;
}

void load_want_error(struct load_client *c, const char *code, const char *part)
{
	add_error(c, WANT_ERROR, code, part);
}

void load_want_close(struct load_client *c, const char *code)
{
	add_error(c, WANT_CLOSE, code, "");
}

void load_want_ready(struct load_client *c, char status)
{
	load_want(c, 'Z', &status, 1);
}

void load_want_value(struct load_client *c, const char *value)
{
	load_want_any(c, "T");
	load_want_row(c, WANT_EXACT, value, NULL);
	load_want_text(c, 'C', "SELECT 1");
}
