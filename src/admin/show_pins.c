/*
 * show_pins: SHOW PINS. A row is a server connection that its client keeps
 * beyond its transaction. A pool that has none now, but had some or refused
 * one, has a row of its own for its counters.
 */
#include <stdio.h>
#include <string.h>

#include "admin/control.h"
#include "conn/conn.h"
#include "conn/server.h"
#include "conn/session.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "show_priv.h"

struct pins_row {
	const struct pool *pool;
	const struct server *server; /* NULL: the counters alone */
};

static void get_database(struct cell *c, const void *row, unsigned arg)
{
	(void)arg;
	cell_text(c, ((const struct pins_row *)row)->pool->db->name);
}

static void get_user(struct cell *c, const void *row, unsigned arg)
{
	(void)arg;
	cell_text(c, ((const struct pins_row *)row)->pool->user->name);
}

static void get_client(struct cell *c, const void *row, unsigned arg)
{
	const struct server *s = ((const struct pins_row *)row)->server;

	(void)arg;
	cell_pointer(c, s != NULL ? s->c.peer : NULL);
}

static void get_server(struct cell *c, const void *row, unsigned arg)
{
	(void)arg;
	cell_pointer(c, ((const struct pins_row *)row)->server);
}

static void get_reason(struct cell *c, const void *row, unsigned arg)
{
	static const char *const words[PINS] = {
#define PIN(name, shown, transactional) [PIN_##name] = shown,
#include "tbl/pins.h"
#undef PIN
	};
	const struct server *s = ((const struct pins_row *)row)->server;
	unsigned pins = s != NULL ? session_pins(s->session) : 0;
	char text[CELL_SCRATCH];
	size_t n = 0;

	(void)arg;
	text[0] = '\0';
	for (unsigned i = 0; i < PINS; i++)
		if (pins & (1u << i))
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? ", " : "", words[i]);
	cell_copy(c, text);
}

static void get_since(struct cell *c, const void *row, unsigned arg)
{
	const struct server *s = ((const struct pins_row *)row)->server;

	(void)arg;
	if (s != NULL)
		cell_time(c, session_pinned_us(s->session));
	else
		cell_text(c, NULL);
}

static void get_statement(struct cell *c, const void *row, unsigned arg)
{
	const struct server *s = ((const struct pins_row *)row)->server;

	(void)arg;
	cell_text(c, s != NULL ? session_head(s->session) : "");
}

enum { PINS_NOW, PINS_MAX, PINS_TOTAL, PINS_REFUSED };

static void get_count(struct cell *c, const void *row, unsigned arg)
{
	const struct pool *p = ((const struct pins_row *)row)->pool;
	const int64_t counts[] = {p->pinned, p->max_pinned, (int64_t)p->pins, (int64_t)p->pins_refused};

	cell_number(c, counts[arg]);
}

static const struct column pins_columns[] = {
	{"database", COLUMN_TEXT, get_database, 0},
	{"user", COLUMN_TEXT, get_user, 0},
	{"client", COLUMN_TEXT, get_client, 0},
	{"server", COLUMN_TEXT, get_server, 0},
	{"reason", COLUMN_TEXT, get_reason, 0},
	{"since", COLUMN_TEXT, get_since, 0},
	{"statement", COLUMN_TEXT, get_statement, 0},
	{"pinned", COLUMN_INT4, get_count, PINS_NOW},
	{"max_pinned", COLUMN_INT4, get_count, PINS_MAX},
	{"total_pins", COLUMN_INT8, get_count, PINS_TOTAL},
	{"total_refused", COLUMN_INT8, get_count, PINS_REFUSED},
};

static void rows_pins(const struct show *s)
{
	const struct pooler *pooler = s->control->pooler;
	const struct conn *c;
	struct pool *p;

	TAILQ_FOREACH (c, &pooler->servers, all) {
		const struct server *server = (const struct server *)(const void *)c;

		if (server->pinned)
			show_row(s, &(struct pins_row){server->slot.pool, server});
	}
	TAILQ_FOREACH (p, &pooler->registry.pools, all)
		if (p->pinned == 0 && (p->pins > 0 || p->pins_refused > 0))
			show_row(s, &(struct pins_row){p, NULL});
}

const struct show_table show_pins = {pins_columns, LENGTH(pins_columns), rows_pins};
