/*
 * show_misc: SHOW CONFIG, MEM, STATE, VERSION and HELP.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "admin/control.h"
#include "base/mem.h"
#include "conf/config.h"
#include "conn/conn.h"
#include "net/buf.h"
#include "show_priv.h"

/* ---- SHOW CONFIG ---- */

struct config_row {
	const struct param *param;
	const struct settings *set, *def;
	const char *path;
};

static void get_key(struct cell *c, const void *row, unsigned arg)
{
	const struct config_row *r = row;

	(void)arg;
	cell_text(c, r->param->name);
}

static void get_value(struct cell *c, const void *row, unsigned arg)
{
	const struct config_row *r = row;

	(void)arg;
	static_assert(CELL_SCRATCH >= PARAM_TEXT, "a cell holds a value");
	if (r->param == &param_table[PARAM_conffile] && r->set->conffile[0] == '\0')
		cell_text(c, r->path);
	else
		cell_text(c, param_print(r->param, r->set, c->scratch, sizeof c->scratch));
}

static void get_default(struct cell *c, const void *row, unsigned arg)
{
	const struct config_row *r = row;

	(void)arg;
	cell_text(c, param_print(r->param, r->def, c->scratch, sizeof c->scratch));
}

static void get_changeable(struct cell *c, const void *row, unsigned arg)
{
	const struct config_row *r = row;

	(void)arg;
	cell_text(c, r->param->restart ? "no" : "yes");
}

static const struct column config_columns[] = {
	{"key", COLUMN_TEXT, get_key, 0},
	{"value", COLUMN_TEXT, get_value, 0},
	{"default", COLUMN_TEXT, get_default, 0},
	{"changeable", COLUMN_TEXT, get_changeable, 0},
};

static int compare_params(const void *a, const void *b)
{
	const struct param *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void rows_config(const struct show *s)
{
	const struct param *sorted[PARAM_COUNT];
	struct settings def;

	for (size_t i = 0; i < PARAM_COUNT; i++)
		sorted[i] = &param_table[i];
	qsort(sorted, PARAM_COUNT, sizeof sorted[0], compare_params);
	settings_init(&def);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		const struct config_row row = {.param = sorted[i],
			.set = &s->control->pooler->registry.config->set,
			.def = &def,
			.path = s->control->path};

		show_row(s, &row);
	}
	settings_free(&def);
}

const struct show_table show_config = {config_columns, LENGTH(config_columns), rows_config};

/* ---- SHOW MEM ---- */

static void get_mem_name(struct cell *c, const void *row, unsigned arg)
{
	const struct mem_usage *m = row;

	(void)arg;
	cell_text(c, m->name);
}

static size_t mem_size(const struct mem_usage *m)
{
	return m->objects > 0 ? m->bytes / m->objects : 0;
}

enum { MEM_COLUMN_SIZE, MEM_COLUMN_USED, MEM_COLUMN_FREE, MEM_COLUMN_TOTAL };

/* There are no objects of one size: it is the mean, and what is free is told in such objects. */
static void get_mem_number(struct cell *c, const void *row, unsigned arg)
{
	const struct mem_usage *m = row;
	size_t n = 0;

	switch (arg) {
	case MEM_COLUMN_SIZE: n = mem_size(m); break;
	case MEM_COLUMN_USED: n = m->objects; break;
	case MEM_COLUMN_FREE: n = mem_size(m) > 0 ? m->spare / mem_size(m) : 0; break;
	case MEM_COLUMN_TOTAL: n = m->bytes + m->spare; break;
	}
	cell_number(c, (int64_t)n);
}

/* The total does not fit PgBouncer's int4 on large machines. */
static const struct column mem_columns[] = {
	{"name", COLUMN_TEXT, get_mem_name, 0},
	{"size", COLUMN_INT4, get_mem_number, MEM_COLUMN_SIZE},
	{"used", COLUMN_INT4, get_mem_number, MEM_COLUMN_USED},
	{"free", COLUMN_INT4, get_mem_number, MEM_COLUMN_FREE},
	{"memtotal", COLUMN_INT8, get_mem_number, MEM_COLUMN_TOTAL},
};

static void rows_mem(const struct show *s)
{
	for (int i = 0; i < MEM_TAGS; i++) {
		const struct mem_usage m = mem_usage_get((enum mem_tag)i);

		show_row(s, &m);
	}
}

const struct show_table show_mem = {mem_columns, LENGTH(mem_columns), rows_mem};

/* ---- SHOW STATE ---- */

struct state_row {
	const char *key;
	bool value;
};

static void get_state_key(struct cell *c, const void *row, unsigned arg)
{
	const struct state_row *r = row;

	(void)arg;
	cell_text(c, r->key);
}

static void get_state_value(struct cell *c, const void *row, unsigned arg)
{
	const struct state_row *r = row;

	(void)arg;
	cell_text(c, r->value ? "yes" : "no");
}

static const struct column state_columns[] = {
	{"key", COLUMN_TEXT, get_state_key, 0},
	{"value", COLUMN_TEXT, get_state_value, 0},
};

static void rows_state(const struct show *s)
{
	bool paused = s->control->pooler->registry.paused;
	const struct state_row rows[] = {{"active", !paused}, {"paused", paused}, {"suspended", false}};

	for (size_t i = 0; i < LENGTH(rows); i++)
		show_row(s, &rows[i]);
}

const struct show_table show_state = {state_columns, LENGTH(state_columns), rows_state};

/* ---- SHOW VERSION ---- */

static void get_version(struct cell *c, const void *row, unsigned arg)
{
	(void)row;
	(void)arg;
	cell_text(c, show_version_text());
}

static const struct column version_columns[] = {{"version", COLUMN_TEXT, get_version, 0}};

static void rows_version(const struct show *s)
{
	show_row(s, NULL);
}

const struct show_table show_version = {version_columns, LENGTH(version_columns), rows_version};

/* ---- SHOW HELP ---- */

enum { HELP_WIDTH = 68 };

/* The names of the tables, in lines of "\tSHOW A|B|C". */
static void help_tables(struct buf *b)
{
	size_t width = 0;

	for (size_t i = 0; i < show_count; i++) {
		size_t n = strlen(show_names[i].name) + 1;

		if (i == 0 || width + n > HELP_WIDTH) {
			buf_puts(b, "\n\tSHOW ");
			width = sizeof "SHOW " - 1;
		} else {
			buf_puts(b, "|");
		}
		buf_puts(b, show_names[i].name);
		width += n;
	}
}

static void help_command(struct buf *b, const char *word, const char *syntax)
{
	if (strcmp(word, "SHOW") == 0)
		return;
	buf_printf(b, "\n\t%s%s%s", word, syntax[0] != '\0' ? " " : "", syntax);
}

static void rows_help(const struct show *s)
{
	struct buf b = {0};

	help_tables(&b);
#define SHOW(ident, name, help)
#define COMMAND(ident, word, rights, args, syntax, help) help_command(&b, word, syntax);
#include "tbl/commands.h"
#undef COMMAND
#undef SHOW
	result_notice(s->result, "Console usage", buf_text(&b));
	buf_free(&b);
}

const struct show_table show_help = {NULL, 0, rows_help};
