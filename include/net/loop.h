/*
 * loop: the one event loop. Owns the libevent base, the scratch buffers that
 * every read and TLS write goes through, the list of streams that must be
 * looked at again without an event, and the heap of deadlines.
 *
 * A turn (loop_turn) is: wait for events and run at most 64 of their callbacks;
 * the ready list; then the caller's own steps (grants, flushes); due timers.
 */
#ifndef PSBOUNCER_NET_LOOP_H
#define PSBOUNCER_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/timer.h"

struct event_base;
struct event;
struct stream;

enum { LOOP_SCRATCH = 32768, LOOP_TLS_SCRATCH = 16384, LOOP_CALLBACKS = 64 };

TAILQ_HEAD(stream_list, stream);

struct loop {
	struct event_base *base; /* NULL in dialog tests: no descriptor is ever watched */
	int wakeup_fd;		 /* a timer: readable at the earliest deadline, or earlier */
	struct event *wakeup_event;
	int64_t wakeup_at_us; /* when; 0: never */
	int hangup_fd;	      /* an epoll of our own: streams that are not read, to be told when their peer is gone */
	struct event *hangup_event; /* hangup_fd has news */
	struct timers timers;
	struct stream_list ready;
	struct stream_list turn; /* those of the ready list that are being run now */
	unsigned callbacks;	 /* run in this turn */
	char *scratch;		 /* LOOP_SCRATCH bytes, contents valid within one callback only */
	char *tls_scratch;	 /* LOOP_TLS_SCRATCH bytes */
};

/* with_events false: no libevent base (dialog tests, fuzzing). Ends the program if libevent gives no base. */
void loop_init(struct loop *l, bool with_events);
void loop_free(struct loop *l);

/*
 * One turn without the caller's steps: waits (not at all when the ready list
 * holds something or may_wait is false), updates the clock, runs callbacks,
 * then the streams that stood on the ready list at the start of this step.
 */
void loop_poll(struct loop *l, bool may_wait);
/*
 * Every callback of an event of the base calls this first (a stream's does): it
 * updates the clock in the first one of a turn and ends the turn after the last.
 */
void loop_callback(struct loop *l);
/* The last step of a turn: fires due timers (ctx goes to each) and arms the wakeup for the next one. */
void loop_run_timers(struct loop *l, void *ctx);

#endif
