/*
 * stats: what is counted, a field a row of tbl/counters.h. Counters only rise;
 * averages are those of the last whole stats_period.
 */
#ifndef PSBOUNCER_POOL_STATS_H
#define PSBOUNCER_POOL_STATS_H

#include <stdint.h>

struct counters {
#define COUNTER(field, name, avg, total, per) uint64_t field;
#include "tbl/counters.h"
#undef COUNTER
};

/* One a database. stats_init() begins its first period. */
struct stats {
	struct counters now;   /* counted into directly */
	struct counters old;   /* at the begin of the last whole period */
	struct counters newer; /* at its end */
	int64_t old_us, newer_us;
};

void stats_init(struct stats *s, int64_t now_us);
/* A period ends: newer becomes old, now becomes newer. */
void stats_tick(struct stats *s, int64_t now_us);
/* The averages of the last whole period; zeros before the first one ended. */
struct counters stats_average(const struct stats *s);
void counters_add(struct counters *to, const struct counters *c);

/* The rows of tbl/counters.h, for tables that walk them. */
struct counter_row {
	const char *name, *avg_name, *total_name;
	unsigned offset; /* in struct counters */
};
extern const struct counter_row counter_rows[];
extern const unsigned counter_count;
uint64_t counter_get(const struct counters *c, unsigned row);

#endif
