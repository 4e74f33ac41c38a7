/*
 * stats: owns the table of counters and the arithmetic of averages. The
 * connections count into struct stats, the registry ends the periods, the
 * console prints. It does not know what is counted.
 */
#include "pool/stats.h"

#include <assert.h>
#include <stddef.h>

#include "base/timer.h"

/* What an average is taken over. */
enum per { PER_SECOND, PER_XACT, PER_QUERY };

static const enum per counter_per[] = {
#define COUNTER(field, name, avg, total, per) PER_##per,
#include "tbl/counters.h"
#undef COUNTER
};

const struct counter_row counter_rows[] = {
#define COUNTER(field, name, avg, total, per) {name, avg, total, offsetof(struct counters, field)},
#include "tbl/counters.h"
#undef COUNTER
};

const unsigned counter_count = sizeof counter_rows / sizeof counter_rows[0];

static uint64_t *field(struct counters *c, unsigned row)
{
	return (uint64_t *)(void *)((char *)c + counter_rows[row].offset);
}

uint64_t counter_get(const struct counters *c, unsigned row)
{
	assert(row < counter_count);
	return *(const uint64_t *)(const void *)((const char *)c + counter_rows[row].offset);
}

void counters_add(struct counters *to, const struct counters *c)
{
	for (unsigned i = 0; i < counter_count; i++)
		*field(to, i) += counter_get(c, i);
}

void stats_init(struct stats *s, int64_t now_us)
{
	*s = (struct stats){.newer_us = now_us};
}

void stats_tick(struct stats *s, int64_t now_us)
{
	s->old = s->newer;
	s->old_us = s->newer_us;
	s->newer = s->now;
	s->newer_us = now_us;
}

static uint64_t a_second(uint64_t n, uint64_t us)
{
	/* The product does not fit for some hundred terabytes in a period; then the small error of the division does. */
	if (n > UINT64_MAX / (uint64_t)USEC)
		return us < (uint64_t)USEC ? n : n / (us / (uint64_t)USEC);
	return n * (uint64_t)USEC / us;
}

struct counters stats_average(const struct stats *s)
{
	struct counters avg = {0};
	uint64_t xacts = s->newer.xacts - s->old.xacts;
	uint64_t queries = s->newer.queries - s->old.queries;

	if (s->old_us == 0 || s->newer_us <= s->old_us)
		return avg;
	for (unsigned i = 0; i < counter_count; i++) {
		uint64_t n = counter_get(&s->newer, i) - counter_get(&s->old, i);

		switch (counter_per[i]) {
		case PER_SECOND: *field(&avg, i) = a_second(n, (uint64_t)(s->newer_us - s->old_us)); break;
		case PER_XACT: *field(&avg, i) = xacts > 0 ? n / xacts : 0; break;
		case PER_QUERY: *field(&avg, i) = queries > 0 ? n / queries : 0; break;
		}
	}
	return avg;
}
