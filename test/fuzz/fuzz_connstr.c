/*
 * key=value lists: what was read, written with every value in quotes, is read
 * again as the same; an error points into the text.
 */
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "conf/connstr.h"
#include "fuzz/fuzz.h"
#include "net/buf.h"

static void write_quoted(struct buf *b, const struct connstr *c)
{
	for (size_t i = 0; i < c->n; i++) {
		buf_printf(b, "%s = '", c->v[i].key);
		for (const char *p = c->v[i].value; *p != '\0'; p++)
			buf_append(b, *p == '\'' ? "''" : p, *p == '\'' ? 2 : 1);
		buf_puts(b, "' ");
	}
}

static void read_again(const struct connstr *c)
{
	struct buf b = {0};
	struct connstr again;
	size_t at;

	write_quoted(&b, c);
	FUZZ_CHECK(connstr_parse(buf_text(&b), &again, &at) == NULL);
	FUZZ_CHECK(again.n == c->n);
	for (size_t i = 0; i < c->n; i++) {
		FUZZ_CHECK(c->v[i].key[0] != '\0' && c->v[i].value[0] != '\0');
		FUZZ_CHECK(strcmp(again.v[i].key, c->v[i].key) == 0);
		FUZZ_CHECK(strcmp(again.v[i].value, c->v[i].value) == 0);
	}
	connstr_free(&again);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct connstr c;
	const char *error;
	size_t at;

	if (text == NULL)
		abort();
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	error = connstr_parse(text, &c, &at);
	if (error == NULL)
		read_again(&c);
	else
		FUZZ_CHECK(error[0] != '\0' && at < strlen(text));
	connstr_free(&c);
	FUZZ_CHECK(c.n == 0 && mem_usage_get(MEM_CONFIG).objects == 0);
	free(text);
	return 0;
}
