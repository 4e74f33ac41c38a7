/*
 * timer: the heap against a plain array under random operations, and what may
 * happen to other timers while one fires. The clock is held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/timer.h"

enum { TIMERS = 300 };

struct world {
	struct timers heap;
	struct timer t[TIMERS];
	int64_t model[TIMERS]; /* what the array says, 0: not set */
	int64_t last_us;       /* deadline of the one that fired last */
	unsigned fired;
};

static struct world w;

static void world_reset(void (*fire)(struct timer *t, void *ctx))
{
	timers_free(&w.heap);
	memset(&w, 0, sizeof w);
	for (int i = 0; i < TIMERS; i++)
		w.t[i].fire = fire;
}

static int world_end(void **state)
{
	(void)state;
	timers_free(&w.heap);
	clock_hold(-1);
	return mem_usage_get(MEM_TIMER).objects == 0 ? 0 : -1;
}

static void fire_against_model(struct timer *t, void *ctx)
{
	int64_t *model = &w.model[t - w.t];

	assert_ptr_equal(ctx, &w);
	assert_true(*model == t->at_us);
	assert_true(*model != 0 && *model <= clock_us());
	assert_true(*model >= w.last_us);
	assert_int_equal(t->place, 0);
	w.last_us = *model;
	*model = 0;
	w.fired++;
}

static int64_t model_next(void)
{
	int64_t least = 0;

	for (int i = 0; i < TIMERS; i++)
		if (w.model[i] != 0 && (least == 0 || w.model[i] < least))
			least = w.model[i];
	return least;
}

static void random_step(int64_t now)
{
	int i = (int)(random() % TIMERS);
	int64_t at = now + random() % 1000 - 100;

	switch (random() % 8) {
	case 0:
		timer_cancel(&w.heap, &w.t[i]);
		w.model[i] = 0;
		break;
	case 1:
		timer_set(&w.heap, &w.t[i], 0);
		w.model[i] = 0;
		break;
	case 2:
	case 3:
		timer_no_later(&w.heap, &w.t[i], at);
		if (w.model[i] == 0 || w.model[i] > at)
			w.model[i] = at;
		break;
	case 4: timer_no_later(&w.heap, &w.t[i], 0); break;
	default:
		timer_set(&w.heap, &w.t[i], at);
		w.model[i] = at;
		break;
	}
}

static void test_random(void **state)
{
	int64_t now = 1000000;
	unsigned total = 0;

	(void)state;
	world_reset(fire_against_model);
	srandom(7);
	clock_hold(now);
	for (int step = 0; step < 50000; step++) {
		random_step(now);
		assert_true(timers_next(&w.heap) == model_next());
		if (step % 50 == 0) {
			now += random() % 200;
			clock_hold(now);
			w.last_us = 0;
			timers_run(&w.heap, &w);
			assert_true(model_next() == 0 || model_next() > now);
		}
	}
	for (int i = 0; i < TIMERS; i++) {
		assert_true((w.t[i].place != 0) == (w.model[i] != 0));
		total += w.model[i] != 0;
	}
	assert_int_equal(w.heap.n, total);
	assert_true(w.fired > 1000);
}

static void fire_again_at_once(struct timer *t, void *ctx)
{
	(void)ctx;
	w.fired++;
	timer_set(&w.heap, t, clock_us());
}

/* One that is set again to a due time waits for the next call, or a turn would never end. */
static void test_set_again(void **state)
{
	(void)state;
	world_reset(fire_again_at_once);
	clock_hold(5000);
	timer_set(&w.heap, &w.t[0], 4000);
	timer_set(&w.heap, &w.t[1], 5000);
	timer_set(&w.heap, &w.t[2], 5001);
	timers_run(&w.heap, NULL);
	assert_int_equal(w.fired, 2);
	timers_run(&w.heap, NULL);
	assert_int_equal(w.fired, 4);
	clock_hold(5001);
	timers_run(&w.heap, NULL);
	assert_int_equal(w.fired, 7);
}

static void fire_meddling(struct timer *t, void *ctx)
{
	(void)ctx;
	w.fired++;
	w.model[t - w.t]++;
	if (t != &w.t[0])
		return;
	timer_cancel(&w.heap, &w.t[1]);			   /* due as well: not any more */
	timer_set(&w.heap, &w.t[2], clock_us() + 10);	   /* due as well: later */
	timer_no_later(&w.heap, &w.t[3], clock_us() + 10); /* due as well: stays so */
	timer_set(&w.heap, &w.t[4], clock_us());	   /* due as well: in the next call */
	timer_set(&w.heap, &w.t[6], clock_us() - 1);	   /* new: in the next call */
}

static void assert_fired(const char *pattern)
{
	for (int i = 0; pattern[i] != '\0'; i++)
		assert_int_equal(w.model[i], pattern[i] - '0');
}

static void test_meddling(void **state)
{
	(void)state;
	world_reset(fire_meddling);
	clock_hold(1000);
	for (int i = 0; i < 6; i++)
		timer_set(&w.heap, &w.t[i], 100 + i);
	timers_run(&w.heap, NULL);
	assert_fired("1001010");
	assert_int_equal(w.t[1].place, 0);
	assert_true(timers_next(&w.heap) == 999);
	timers_run(&w.heap, NULL);
	assert_fired("1001111");
	clock_hold(1010);
	timers_run(&w.heap, NULL);
	assert_fired("1011111");
	assert_true(timers_next(&w.heap) == 0);
}

static void test_no_later(void **state)
{
	(void)state;
	world_reset(fire_meddling);
	clock_hold(1000);
	timer_no_later(&w.heap, &w.t[1], 0);
	assert_int_equal(w.t[1].place, 0);
	timer_no_later(&w.heap, &w.t[1], 3000);
	assert_true(timers_next(&w.heap) == 3000);
	timer_no_later(&w.heap, &w.t[1], 4000);
	assert_true(timers_next(&w.heap) == 3000);
	timer_no_later(&w.heap, &w.t[1], 2000);
	assert_true(timers_next(&w.heap) == 2000);
	timer_set(&w.heap, &w.t[1], 4000);
	assert_true(timers_next(&w.heap) == 4000);
	timers_free(&w.heap);
	assert_int_equal(w.t[1].place, 0);
}

static void test_clock(void **state)
{
	int64_t a, wall;

	(void)state;
	clock_hold(42);
	assert_true(clock_us() == 42);
	clock_update();
	assert_true(clock_us() == 42);
	assert_true(clock_wall_us() == INT64_C(946684800) * USEC + 42);
	clock_hold(-1);
	a = clock_us();
	assert_true(a > 42);
	wall = clock_wall_us();
	assert_true(wall > INT64_C(1600000000) * USEC);
	assert_true(clock_us() == a); /* cached */
	while (clock_us() == a)
		clock_update();
	assert_true(clock_us() > a);
	assert_true(clock_wall_us() - wall == clock_us() - a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_set_again),
		cmocka_unit_test(test_meddling),
		cmocka_unit_test(test_no_later),
		cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, NULL, world_end);
}
