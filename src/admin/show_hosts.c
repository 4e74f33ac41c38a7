/*
 * show_hosts: SHOW HOSTS, the endpoints whose role counts. A row is a struct
 * endpoint. Who looks has positions read for a while, not only roles. And SHOW
 * FAILOVERS, whose rows are struct failover, the newest first.
 */
#include "admin/control.h"
#include "base/timer.h"
#include "conn/conn.h"
#include "pool/endpoint.h"
#include "pool/topology.h"
#include "show_priv.h"

static void get_host(struct cell *c, const void *row, unsigned arg)
{
	const struct endpoint *ep = row;

	(void)arg;
	cell_text(c, ep->host);
}

enum { HOST_PORT, HOST_TIMELINE, HOST_GENERATION, HOST_PROBE };

static void get_number(struct cell *c, const void *row, unsigned arg)
{
	const struct endpoint *ep = row;
	const int64_t numbers[] = {ep->port, ep->seen.timeline, ep->generation, ep->probe_us};

	cell_number(c, numbers[arg]);
}

/* The databases that name it, in any order. */
static void get_databases(struct cell *c, const void *row, unsigned arg)
{
	const struct endpoint *ep = row;
	const struct registry *r = ep->cluster->registry;
	struct buf names = {0};

	(void)arg;
	for (struct hnode *n = htab_next(&r->databases, NULL); n != NULL; n = htab_next(&r->databases, n)) {
		const struct database *d = container_of(n, struct database, by_name);

		for (size_t i = 0; d->cluster != NULL && i < d->n_hosts; i++)
			if (d->hosts[i] == ep) {
				buf_printf(&names, "%s%s", buf_len(&names) > 0 ? "," : "", d->name);
				break;
			}
	}
	cell_copy(c, buf_len(&names) > 0 ? buf_text(&names) : "");
	buf_free(&names);
}

static void get_role(struct cell *c, const void *row, unsigned arg)
{
	(void)arg;
	cell_text(c, topology_role(row));
}

static void get_state(struct cell *c, const void *row, unsigned arg)
{
	(void)arg;
	cell_text(c, topology_state(row));
}

static void get_lsn(struct cell *c, const void *row, unsigned arg)
{
	const struct endpoint *ep = row;

	(void)arg;
	cell_text(c, ep->lsn);
}

static void get_error(struct cell *c, const void *row, unsigned arg)
{
	const struct endpoint *ep = row;

	(void)arg;
	cell_text(c, ep->error);
}

/* Bytes, or seconds; a null where it is not known. */
static void get_lag(struct cell *c, const void *row, unsigned arg)
{
	int64_t bytes, age_us;

	if (topology_lag(row, &bytes, &age_us))
		cell_number(c, arg ? age_us / USEC : bytes);
}

static void get_changed(struct cell *c, const void *row, unsigned arg)
{
	const struct endpoint *ep = row;

	(void)arg;
	if (ep->changed_us != 0)
		cell_time(c, ep->changed_us);
}

static const struct column hosts_columns[] = {
	{"host", COLUMN_TEXT, get_host, 0},
	{"port", COLUMN_INT4, get_number, HOST_PORT},
	{"databases", COLUMN_TEXT, get_databases, 0},
	{"role", COLUMN_TEXT, get_role, 0},
	{"state", COLUMN_TEXT, get_state, 0},
	{"timeline", COLUMN_INT8, get_number, HOST_TIMELINE},
	{"lsn", COLUMN_TEXT, get_lsn, 0},
	{"lag_bytes", COLUMN_INT8, get_lag, 0},
	{"lag_seconds", COLUMN_INT8, get_lag, 1},
	{"generation", COLUMN_INT8, get_number, HOST_GENERATION},
	{"last_change", COLUMN_TEXT, get_changed, 0},
	{"last_probe_us", COLUMN_INT8, get_number, HOST_PROBE},
	{"last_error", COLUMN_TEXT, get_error, 0},
};

static void rows_hosts(const struct show *s)
{
	const struct cluster *c;

	TAILQ_FOREACH (c, &s->control->pooler->registry.clusters, all)
		for (size_t i = 0; i < c->n; i++) {
			c->members[i]->asked_us = clock_us();
			show_row(s, c->members[i]);
		}
}

const struct show_table show_hosts = {hosts_columns, LENGTH(hosts_columns), rows_hosts};

static void get_decided(struct cell *c, const void *row, unsigned arg)
{
	(void)arg;
	cell_time(c, ((const struct failover *)row)->decided_us);
}

static void get_words(struct cell *c, const void *row, unsigned arg)
{
	const struct failover *f = row;
	const char *const words[] = {f->databases, f->from, f->to, f->trigger};

	cell_text(c, words[arg]);
}

enum { FAILOVER_TIMELINE, FAILOVER_DETECT, FAILOVER_HELD, FAILOVER_REPLAYED, FAILOVER_FAILED, FAILOVER_RESUMED };

static void get_count(struct cell *c, const void *row, unsigned arg)
{
	const struct failover *f = row;
	const int64_t numbers[] = {f->timeline, f->detect_us / 1000, f->held, (int64_t)f->replayed, (int64_t)f->failed,
		f->resumed_us / 1000};

	if (arg != FAILOVER_RESUMED || f->resumed_us >= 0)
		cell_number(c, numbers[arg]);
}

static const struct column failovers_columns[] = {
	{"time", COLUMN_TEXT, get_decided, 0},
	{"database", COLUMN_TEXT, get_words, 0},
	{"from", COLUMN_TEXT, get_words, 1},
	{"to", COLUMN_TEXT, get_words, 2},
	{"timeline", COLUMN_INT8, get_count, FAILOVER_TIMELINE},
	{"trigger", COLUMN_TEXT, get_words, 3},
	{"detect_ms", COLUMN_INT8, get_count, FAILOVER_DETECT},
	{"held", COLUMN_INT8, get_count, FAILOVER_HELD},
	{"replayed", COLUMN_INT8, get_count, FAILOVER_REPLAYED},
	{"failed", COLUMN_INT8, get_count, FAILOVER_FAILED},
	{"resumed_ms", COLUMN_INT8, get_count, FAILOVER_RESUMED},
};

static void rows_failovers(const struct show *s)
{
	const struct failovers *f = &s->control->pooler->registry.failovers;

	for (uint64_t i = 1; i <= f->last && i <= FAILOVERS; i++)
		show_row(s, &f->v[(f->last - i) % FAILOVERS]);
}

const struct show_table show_failovers = {failovers_columns, LENGTH(failovers_columns), rows_failovers};
