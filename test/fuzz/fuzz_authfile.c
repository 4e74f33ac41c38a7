/*
 * User lists: either an error with a line of the text or a list, whose entries
 * written again are read as the same; no memory stays.
 */
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/authfile.h"
#include "fuzz/fuzz.h"
#include "net/buf.h"

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static void put_quoted(struct buf *b, const char *s)
{
	buf_puts(b, "\"");
	for (; *s != '\0'; s++)
		buf_append(b, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
	buf_puts(b, "\" ");
}

static void read_again(const struct auth_file *f)
{
	struct auth_file *copy = auth_file_copy(f), *again;
	struct errs errs = {0};
	struct buf b = {0};
	struct hnode *n;

	for (n = htab_next(&f->users, NULL); n != NULL; n = htab_next(&f->users, n)) {
		const struct auth_entry *e = container_of(n, struct auth_entry, by_name);

		FUZZ_CHECK(e->name[0] != '\0' && strlen(e->name) < 128 && strlen(e->secret) < 65531 && e->line > 0);
		FUZZ_CHECK(strcmp(auth_file_find(copy, e->name)->secret, e->secret) == 0);
		put_quoted(&b, e->name);
		put_quoted(&b, e->secret);
		buf_puts(&b, "rest\r\n");
	}
	again = auth_file_parse("again", buf_text(&b), buf_len(&b), &errs);
	FUZZ_CHECK(again != NULL && again->users.count == f->users.count && copy->users.count == f->users.count);
	for (n = htab_next(&f->users, NULL); n != NULL; n = htab_next(&f->users, n)) {
		const struct auth_entry *e = container_of(n, struct auth_entry, by_name);

		FUZZ_CHECK(strcmp(auth_file_find(again, e->name)->secret, e->secret) == 0);
	}
	auth_file_free(again);
	auth_file_free(copy);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct errs errs = {0};
	struct auth_file *f;
	int lines = 1;

	log_capture(quiet, NULL);
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	f = auth_file_parse("list", (const char *)data, size, &errs);
	FUZZ_CHECK((f == NULL) == (errs.total > 0));
	for (size_t i = 0; i < errs.n; i++)
		FUZZ_CHECK(errs.v[i].line > 0 && errs.v[i].line <= lines && errs.v[i].text[0] != '\0');
	if (f != NULL)
		read_again(f);
	auth_file_free(f);
	errs_free(&errs);
	FUZZ_CHECK(mem_usage_get(MEM_CONFIG).objects == 0 && mem_usage_get(MEM_TABLE).objects == 0);
	return 0;
}
