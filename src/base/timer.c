/*
 * timer: owns the cached clock of the process and the array of a heap. The
 * timers are embedded in their owners. It waits for nothing: the loop asks
 * timers_next() and calls timers_run().
 */
#include "base/timer.h"

#include <assert.h>
#include <stddef.h>
#include <time.h>

#include "base/mem.h"

/* What a held clock calls 0: 2000-01-01 00:00:00 UTC. */
#define HELD_EPOCH_US (INT64_C(946684800) * USEC)

int64_t clock_cached_us;
static int64_t wall_offset_us;	/* wall clock minus clock_cached_us */
static int64_t wall_checked_us; /* clock_cached_us when the offset was taken */
static bool held;

static int64_t read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * USEC + ts.tv_nsec / 1000;
}

void clock_update(void)
{
	if (held)
		return;
	clock_cached_us = read_us(CLOCK_MONOTONIC);
	/* The wall clock may be set by hand; once a second is soon enough to notice. */
	if (wall_checked_us == 0 || clock_cached_us - wall_checked_us >= USEC) {
		wall_offset_us = read_us(CLOCK_REALTIME) - clock_cached_us;
		wall_checked_us = clock_cached_us;
	}
}

void clock_hold(int64_t us)
{
	if (us < 0) {
		held = false;
		wall_checked_us = 0;
		clock_update();
		return;
	}
	held = true;
	clock_cached_us = us;
	wall_offset_us = HELD_EPOCH_US;
}

int64_t clock_wall_us(void)
{
	return clock_us() + wall_offset_us;
}

/*
 * A timer that timers_run() has taken out and not fired yet stands in due[]:
 * its place then has this bit.
 */
#define PLACE_DUE UINT32_C(0x80000000)

static void heap_put(struct timers *h, uint32_t i, struct timer *t)
{
	h->heap[i] = t;
	t->place = i + 1;
}

/* Finds t its place, upwards from the free place i. */
static void sift_up(struct timers *h, uint32_t i, struct timer *t)
{
	while (i > 0) {
		uint32_t parent = (i - 1) / 2;

		if (h->heap[parent]->at_us <= t->at_us)
			break;
		heap_put(h, i, h->heap[parent]);
		i = parent;
	}
	heap_put(h, i, t);
}

/* Finds t its place, downwards from the free place i. */
static void sift_down(struct timers *h, uint32_t i, struct timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && h->heap[child + 1]->at_us < h->heap[child]->at_us)
			child++;
		if (t->at_us <= h->heap[child]->at_us)
			break;
		heap_put(h, i, h->heap[child]);
		i = child;
	}
	heap_put(h, i, t);
}

/* Puts t at the free place i or where it belongs above or below it. */
static void settle(struct timers *h, uint32_t i, struct timer *t)
{
	if (i > 0 && t->at_us < h->heap[(i - 1) / 2]->at_us)
		sift_up(h, i, t);
	else
		sift_down(h, i, t);
}

static void insert(struct timers *h, struct timer *t)
{
	if (h->n == h->cap) {
		h->cap = h->cap > 0 ? h->cap * 2 : 64;
		h->heap = xrealloc(MEM_TIMER, h->heap, h->cap * sizeof(struct timer *));
	}
	sift_up(h, h->n++, t);
}

void timer_cancel(struct timers *h, struct timer *t)
{
	uint32_t i = t->place - 1;
	struct timer *last;

	if (t->place == 0)
		return;
	if (t->place & PLACE_DUE) {
		i = (t->place & ~PLACE_DUE) - 1;
		assert(i < h->due_n && h->due[i] == t);
		h->due[i] = NULL;
		t->place = 0;
		return;
	}
	assert(i < h->n && h->heap[i] == t);
	t->place = 0;
	last = h->heap[--h->n];
	if (last != t)
		settle(h, i, last);
}

void timer_set(struct timers *h, struct timer *t, int64_t at_us)
{
	if (at_us == 0) {
		timer_cancel(h, t);
		return;
	}
	if (t->place != 0 && !(t->place & PLACE_DUE)) {
		t->at_us = at_us;
		settle(h, t->place - 1, t);
		return;
	}
	timer_cancel(h, t);
	t->at_us = at_us;
	insert(h, t);
}

/* All that are due leave the heap first, so that one which is set again while they fire is not among them. */
static void take_due(struct timers *h, int64_t now)
{
	while (h->n > 0 && h->heap[0]->at_us <= now) {
		struct timer *t = h->heap[0];

		timer_cancel(h, t);
		if (h->due_n == h->due_cap) {
			h->due_cap = h->due_cap > 0 ? h->due_cap * 2 : 64;
			h->due = xrealloc(MEM_TIMER, h->due, h->due_cap * sizeof(struct timer *));
		}
		h->due[h->due_n++] = t;
		t->place = h->due_n | PLACE_DUE;
	}
}

void timers_run(struct timers *h, void *ctx)
{
	assert(h->due_n == 0);
	take_due(h, clock_us());
	for (uint32_t i = 0; i < h->due_n; i++) {
		struct timer *t = h->due[i];

		if (t == NULL)
			continue;
		h->due[i] = NULL;
		t->place = 0;
		t->fire(t, ctx);
	}
	h->due_n = 0;
}

void timers_free(struct timers *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		h->heap[i]->place = 0;
	xfree(MEM_TIMER, h->heap);
	xfree(MEM_TIMER, h->due);
	*h = (struct timers){0};
}
