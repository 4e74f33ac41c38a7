/*
 * show_prepared: SHOW PREPARED. A row is a statement that some client has a name
 * for or some server has prepared; what is kept for another reason, as an
 * unnamed one is, is not shown.
 */
#include <stdio.h>
#include <string.h>

#include "admin/control.h"
#include "conn/conn.h"
#include "net/buf.h"
#include "pool/registry.h"
#include "pool/stmt.h"
#include "proto/wire.h"
#include "show_priv.h"

enum { QUERY_SHOWN = 1000 }; /* bytes of a text; "..." stands for the rest */

struct prepared_row {
	const struct stmt *stmt;
	const char *query; /* cut */
	const char *types;
};

static void get_name(struct cell *c, const void *row, unsigned arg)
{
	const struct prepared_row *r = row;

	(void)arg;
	cell_text(c, r->stmt->name);
}

static void get_query(struct cell *c, const void *row, unsigned arg)
{
	const struct prepared_row *r = row;

	(void)arg;
	cell_text(c, r->query);
}

static void get_types(struct cell *c, const void *row, unsigned arg)
{
	const struct prepared_row *r = row;

	(void)arg;
	cell_text(c, r->types);
}

static void get_clients(struct cell *c, const void *row, unsigned arg)
{
	const struct prepared_row *r = row;

	(void)arg;
	cell_number(c, (int64_t)r->stmt->clients);
}

static void get_servers(struct cell *c, const void *row, unsigned arg)
{
	const struct prepared_row *r = row;

	(void)arg;
	cell_number(c, (int64_t)r->stmt->servers);
}

static void get_uses(struct cell *c, const void *row, unsigned arg)
{
	const struct prepared_row *r = row;

	(void)arg;
	cell_number(c, (int64_t)r->stmt->uses);
}

static void get_shared(struct cell *c, const void *row, unsigned arg)
{
	const struct prepared_row *r = row;

	(void)arg;
	cell_text(c, r->stmt->shared ? "yes" : "no");
}

static const struct column prepared_columns[] = {
	{"name", COLUMN_TEXT, get_name, 0},
	{"query", COLUMN_TEXT, get_query, 0},
	{"parameter_types", COLUMN_TEXT, get_types, 0},
	{"clients", COLUMN_INT4, get_clients, 0},
	{"servers", COLUMN_INT4, get_servers, 0},
	{"uses", COLUMN_INT8, get_uses, 0},
	{"shared", COLUMN_TEXT, get_shared, 0},
};

/* How much of a text that is too long is shown: no character of UTF-8 is cut; all that may be, if it is none of UTF-8. */
static size_t query_cut(const char *text)
{
	size_t n = QUERY_SHOWN;

	while (n > QUERY_SHOWN - 4 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n > QUERY_SHOWN - 4 ? n : QUERY_SHOWN;
}

static void prepared_row(const struct show *s, const struct stmt *st)
{
	struct msgr body = msgr_init(st->body, st->len);
	struct prepared_row row = {.stmt = st, .query = msgr_cstr(&body)};
	char cut[QUERY_SHOWN + sizeof "..."];
	struct buf types = {0};
	uint16_t n = msgr_u16(&body);

	for (uint16_t i = 0; i < n && !body.failed; i++)
		buf_printf(&types, "%s%u", i > 0 ? " " : "", (unsigned)msgr_u32(&body));
	row.types = buf_text(&types);
	if (strlen(row.query) > QUERY_SHOWN) {
		snprintf(cut, sizeof cut, "%.*s...", (int)query_cut(row.query), row.query);
		row.query = cut;
	}
	show_row(s, &row);
	buf_free(&types);
}

static void rows_prepared(const struct show *s)
{
	const struct stmt_table *t = s->control->pooler->registry.stmts;

	for (const struct stmt *st = NULL; (st = stmt_next(t, st)) != NULL;)
		if (st->clients > 0 || st->servers > 0)
			prepared_row(s, st);
}

const struct show_table show_prepared = {prepared_columns, LENGTH(prepared_columns), rows_prepared};
