/*
 * Configuration files: either errors, each with its line, or a configuration in
 * which all is as its readers may expect; no memory stays.
 */
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/config.h"
#include "fuzz/fuzz.h"
#include "net/buf.h"

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

/* What is printed of a value is read as the same value. */
static void check_settings(const struct config *c)
{
	struct settings s;

	settings_copy(&s, &c->set);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		const struct param *p = &param_table[i];
		char text[PARAM_TEXT], why[256];

		FUZZ_CHECK(param_parse(p, param_print(p, &c->set, text, sizeof text), &s, why, sizeof why));
		FUZZ_CHECK(param_equal(p, &s, &c->set));
		FUZZ_CHECK((strcmp(c->origin[i].what, "file") == 0) == (c->origin[i].file != NULL));
	}
	settings_free(&s);
}

static void check_database(const struct config *c, const struct config_database *d)
{
	FUZZ_CHECK(d->n_hosts >= 1 && d->line > 0);
	for (size_t i = 0; i < d->n_hosts; i++) {
		FUZZ_CHECK(d->hosts[i].port > 0);
		FUZZ_CHECK(d->hosts[i].host[0] != '\0' || d->n_hosts == 1);
	}
	FUZZ_CHECK(config_database_find(c, d->name) == d);
	FUZZ_CHECK(!config_database_differs(d, d));
	FUZZ_CHECK(d->name[0] != '\0' && strlen(d->name) <= 127);
	FUZZ_CHECK(d->password == NULL || d->password_file == NULL);
}

static void check_config(struct config *c)
{
	struct errs errs = {0};
	struct buf out = {0};
	struct config *other;

	check_settings(c);
	for (struct hnode *n = htab_next(&c->databases, NULL); n != NULL; n = htab_next(&c->databases, n))
		check_database(c, container_of(n, struct config_database, by_name));
	if (c->fallback != NULL)
		check_database(c, c->fallback);
	config_print_origins(c, &out);
	buf_free(&out);
	other = config_with(c, "verbose", "1", &errs);
	FUZZ_CHECK(other != NULL && errs.total == 0);
	config_keep_fixed(c, other);
	FUZZ_CHECK(other->databases.count == c->databases.count && other->users.count == c->users.count);
	config_unref(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct errs errs = {0};
	struct config *c;

	log_capture(quiet, NULL);
	c = config_parse("main", (const char *)data, size, &errs);
	FUZZ_CHECK((c == NULL) == (errs.total > 0));
	for (size_t i = 0; i < errs.n; i++)
		FUZZ_CHECK(errs.v[i].file != NULL && errs.v[i].text[0] != '\0');
	if (c != NULL)
		check_config(c);
	config_unref(&c);
	errs_free(&errs);
	mem_block_trim();
	FUZZ_CHECK(mem_usage_get(MEM_CONFIG).objects == 0 && mem_usage_get(MEM_TABLE).objects == 0);
	return 0;
}
