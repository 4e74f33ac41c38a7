/*
 * show: finds tables and runs them. The tables themselves stand in show_*.c.
 */
#include "admin/show.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/control.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "show_priv.h"

const struct show_name show_names[] = {
#define SHOW(ident, name, help) {name, help, &show_##ident},
#define COMMAND(ident, word, rights, args, syntax, help)
#include "tbl/commands.h"
#undef COMMAND
#undef SHOW
};
const size_t show_count = LENGTH(show_names);

const struct show_table *show_find(const char *name)
{
	for (size_t i = 0; i < show_count; i++)
		if (strcasecmp(show_names[i].name, name) == 0)
			return show_names[i].table;
	return NULL;
}

void show_run(const struct show_table *t, struct control *c, struct result *r)
{
	const struct show s = {.table = t, .control = c, .result = r};

	if (t->n > 0)
		result_begin(r, t->columns, t->n);
	t->rows(&s);
}

void show_row(const struct show *s, const void *row)
{
	result_row(s->result, s->table->columns, s->table->n, row);
}

const char *show_database_name(const struct database *d)
{
	return d != NULL ? d->name : "pgbouncer";
}

static int compare_databases(const void *a, const void *b)
{
	const struct database *const *x = a, *const *y = b;

	return strcmp(show_database_name(*x), show_database_name(*y));
}

const struct database **show_sorted_databases(const struct control *c, size_t *n)
{
	const struct htab *h = &c->pooler->registry.databases;
	const struct database **v = xcalloc(MEM_MISC, h->count + 1, sizeof *v);

	*n = 0;
	for (struct hnode *i = htab_next(h, NULL); i != NULL; i = htab_next(h, i))
		v[(*n)++] = container_of(i, struct database, by_name);
	v[(*n)++] = NULL;
	qsort(v, *n, sizeof *v, compare_databases);
	return v;
}

size_t show_count_pools(const struct control *c)
{
	const struct pool *p;
	size_t n = 1;

	TAILQ_FOREACH (p, &c->pooler->registry.pools, all)
		n++;
	return n;
}

const char *show_balance(const struct database *d)
{
	return d != NULL && d->n_hosts > 1 ? "round-robin" : NULL;
}

bool show_slot_is_used(const struct slot *s)
{
	const struct pool *p = s->pool;

	return p != NULL && p->check && clock_us() - s->since_us > p->check_delay_us;
}

bool show_is_logged_in(const struct client *cl)
{
	return cl->c.state != CS_STARTUP && cl->c.state != CS_HANDSHAKE && cl->c.state != CS_AUTH;
}

const char *show_version_text(void)
{
	return "PgBouncer 1.25.2 compatible (psbouncer " PACKAGE_VERSION ")";
}

const char *show_server_version(void)
{
	return "1.25.2/psbouncer";
}
