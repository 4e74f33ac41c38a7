/*
 * show_stats: SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS, from
 * tbl/counters.h. The console counts as a database.
 */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "admin/control.h"
#include "base/mem.h"
#include "conn/conn.h"
#include "pool/registry.h"
#include "pool/stats.h"
#include "show_priv.h"

struct stats_row {
	const char *database;
	struct counters total, average;
};

static uint64_t field(const struct counters *c, unsigned offset)
{
	uint64_t n;

	memcpy(&n, (const char *)c + offset, sizeof n);
	return n;
}

static void get_database(struct cell *c, const void *row, unsigned arg)
{
	const struct stats_row *s = row;

	(void)arg;
	cell_text(c, s->database);
}

/* arg: where the counter stands in struct counters. */
static void get_total(struct cell *c, const void *row, unsigned arg)
{
	const struct stats_row *s = row;

	cell_number(c, (int64_t)field(&s->total, arg));
}

static void get_average(struct cell *c, const void *row, unsigned arg)
{
	const struct stats_row *s = row;

	cell_number(c, (int64_t)field(&s->average, arg));
}

#define TOTAL(name, member)                                                        \
	{                                                                          \
		name, COLUMN_NUMERIC, get_total, offsetof(struct counters, member) \
	}
#define AVERAGE(name, member)                                                        \
	{                                                                            \
		name, COLUMN_NUMERIC, get_average, offsetof(struct counters, member) \
	}

static const struct column stats_columns[] = {
	{"database", COLUMN_TEXT, get_database, 0},
#define COUNTER(member, name, avg, total, per) TOTAL("total_" name, member),
#include "tbl/counters.h"
#undef COUNTER
#define COUNTER(member, name, avg, total, per) AVERAGE("avg_" avg, member),
#include "tbl/counters.h"
#undef COUNTER
};

/* The names of these two are PgBouncer's own and follow no rule. */
static const struct column total_columns[] = {
	{"database", COLUMN_TEXT, get_database, 0},
	TOTAL("server_assignment_count", assignments),
	TOTAL("xact_count", xacts),
	TOTAL("query_count", queries),
	TOTAL("bytes_received", received),
	TOTAL("bytes_sent", sent),
	TOTAL("xact_time", xact_us),
	TOTAL("query_time", query_us),
	TOTAL("wait_time", wait_us),
	TOTAL("client_parse_count", client_parses),
	TOTAL("server_parse_count", server_parses),
	TOTAL("bind_count", binds),
	TOTAL("client_login_count", logins),
};

static const struct column average_columns[] = {
	{"database", COLUMN_TEXT, get_database, 0},
	AVERAGE("server_assignment_count", assignments),
	AVERAGE("xact_count", xacts),
	AVERAGE("query_count", queries),
	AVERAGE("bytes_received", received),
	AVERAGE("bytes_sent", sent),
	AVERAGE("xact_time", xact_us),
	AVERAGE("query_time", query_us),
	AVERAGE("wait_time", wait_us),
	AVERAGE("avg_client_parse_count", client_parses),
	AVERAGE("avg_server_parse_count", server_parses),
	AVERAGE("avg_bind_count", binds),
	AVERAGE("avg_client_login_count", logins),
};

static_assert(LENGTH(stats_columns) == 2 * LENGTH(total_columns) - 1, "a counter is in all tables");
static_assert(LENGTH(total_columns) == LENGTH(average_columns), "a counter is in all tables");

static void rows_stats(const struct show *s)
{
	size_t n;
	const struct database **v = show_sorted_databases(s->control, &n);

	for (size_t i = 0; i < n; i++) {
		const struct stats *stats = v[i] != NULL ? &v[i]->stats : &s->control->stats;
		const struct stats_row row = {
			.database = show_database_name(v[i]), .total = stats->now, .average = stats_average(stats)};

		show_row(s, &row);
	}
	xfree(MEM_MISC, v);
}

const struct show_table show_stats = {stats_columns, LENGTH(stats_columns), rows_stats};
const struct show_table show_stats_totals = {total_columns, LENGTH(total_columns), rows_stats};
const struct show_table show_stats_averages = {average_columns, LENGTH(average_columns), rows_stats};

/* ---- SHOW TOTALS ---- */

struct totals_row {
	const char *prefix, *name;
	uint64_t value;
};

static void get_name(struct cell *c, const void *row, unsigned arg)
{
	const struct totals_row *t = row;

	(void)arg;
	snprintf(c->scratch, sizeof c->scratch, "%s%s", t->prefix, t->name);
	cell_text(c, c->scratch);
}

static void get_value(struct cell *c, const void *row, unsigned arg)
{
	const struct totals_row *t = row;

	(void)arg;
	cell_number(c, (int64_t)t->value);
}

static const struct column totals_columns[] = {
	{"name", COLUMN_TEXT, get_name, 0},
	{"value", COLUMN_NUMERIC, get_value, 0},
};

static void rows_counters(const struct show *s, const char *prefix, const struct counters *c)
{
	for (unsigned i = 0; i < counter_count; i++) {
		const struct totals_row row = {
			.prefix = prefix, .name = counter_rows[i].total_name, .value = counter_get(c, i)};

		show_row(s, &row);
	}
}

static void rows_totals(const struct show *s)
{
	const struct stats sum = control_stats(s->control);
	const struct counters average = stats_average(&sum);

	rows_counters(s, "total_", &sum.now);
	rows_counters(s, "avg_", &average);
}

const struct show_table show_totals = {totals_columns, LENGTH(totals_columns), rows_totals};
