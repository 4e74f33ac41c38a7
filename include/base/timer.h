/*
 * timer: the cached clock and an intrusive heap of deadlines.
 *
 * Time is int64_t microseconds of CLOCK_MONOTONIC, read once a turn of the
 * loop; tests set it. 0 as a deadline means none.
 */
#ifndef PSBOUNCER_BASE_TIMER_H
#define PSBOUNCER_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define USEC INT64_C(1000000)

extern int64_t clock_cached_us; /* for clock_us() alone; 0: not read yet */
void clock_update(void);	/* reads the clock; does nothing while a test holds it */
/* The cached time. */
static inline int64_t clock_us(void)
{
	if (clock_cached_us == 0)
		clock_update();
	return clock_cached_us;
}
void clock_hold(int64_t us); /* tests: from now on clock_us() is this; negative: lets it run again */
/* The cached time as microseconds since 1970; a held clock's 0 is 2000-01-01 00:00:00 UTC. */
int64_t clock_wall_us(void);

/* Embedded in its owner. Zero-initialise and set fire. */
struct timer {
	int64_t at_us;
	uint32_t place; /* 0: not set; else where it stands, timer.c's own */
	uint8_t kind;	/* the owner's use */
	void (*fire)(struct timer *t, void *ctx);
};

/* Zero-initialise; timers_free() when done. */
struct timers {
	struct timer **heap;
	uint32_t n, cap;
	struct timer **due; /* taken out by timers_run(), not fired yet */
	uint32_t due_n, due_cap;
};

/* Puts t at at_us, wherever it was; 0 takes it out. */
void timer_set(struct timers *h, struct timer *t, int64_t at_us);
/* A promise to look no later than at_us: moves t only when it is not in the heap or stands later. 0: nothing to do. */
static inline void timer_no_later(struct timers *h, struct timer *t, int64_t at_us)
{
	if (at_us != 0 && (t->place == 0 || t->at_us > at_us))
		timer_set(h, t, at_us);
}
void timer_cancel(struct timers *h, struct timer *t);
/* Earliest deadline, 0 when there is none. */
static inline int64_t timers_next(const struct timers *h)
{
	return h->n > 0 ? h->heap[0]->at_us : 0;
}
/* Takes out and fires all that are due at clock_us(), earliest first; one that is set again to a due time waits for the next call. */
void timers_run(struct timers *h, void *ctx);
void timers_free(struct timers *h);

#endif
