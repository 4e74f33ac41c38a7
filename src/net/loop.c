/*
 * loop: owns the libevent base, the wakeup event and the scratch buffers. The
 * program's main loop drives it; streams and the resolver hang on it. What a
 * turn does besides (grants, flushes, closing) is not its business.
 */
#include "net/loop.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/stream.h"

/*
 * NOLOCK: one thread. USE_CHANGELIST: changes of one turn become one epoll_ctl.
 * NO_CACHE_TIME: libevent then reads its clock only when it has a timer of its
 * own, which is while names are looked up. Our deadlines are base/timer's, and
 * what wakes us for them is a descriptor: a libevent timer would have the clock
 * read twice a turn.
 */
static struct event_base *new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config != NULL &&
		event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST |
						      EVENT_BASE_FLAG_NO_CACHE_TIME) == 0)
		base = event_base_new_with_config(config);
	if (config != NULL)
		event_config_free(config);
	return base;
}

/* What libevent and its DNS client have to say. */
static void on_libevent_log(int severity, const char *text)
{
	switch (severity) {
	case EVENT_LOG_ERR: log_msg(LL_ERROR, "libevent: %s", text); break;
	case EVENT_LOG_WARN: log_msg(LL_WARNING, "libevent: %s", text); break;
	case EVENT_LOG_MSG: log_msg(LL_DEBUG, "libevent: %s", text); break;
	default: log_msg(LL_NOISE, "libevent: %s", text); break;
	}
}

static void on_wakeup(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t times;

	(void)what;
	loop_callback(l);
	if (read(fd, &times, sizeof times) == (ssize_t)sizeof times)
		l->wakeup_at_us = 0;
}

/*
 * libevent's EV_CLOSED will not do for "tell me when the peer is gone and of
 * nothing else": after a reset epoll reports EPOLLERR, which libevent hands only
 * to those who wait for EV_READ or EV_WRITE; nobody is called, and the loop
 * spins. With EV_ET against that, its changelist forgets to take the flag off
 * again. So there is an epoll of our own behind one event. A stream stays in it
 * once it was there; EPOLLONESHOT makes it silent after its one report.
 */
static void on_hangups(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct epoll_event e;

	(void)what;
	/* One at a time: each may close others, which are then not in the set any more. */
	for (int i = 0; i < LOOP_CALLBACKS && epoll_wait(fd, &e, 1, 0) == 1; i++) {
		loop_callback(l);
		stream_hung_up(e.data.ptr);
	}
}

static bool begin_events(struct loop *l)
{
	event_set_log_callback(on_libevent_log);
	l->base = new_base();
	l->hangup_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wakeup_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->base == NULL || l->hangup_fd < 0 || l->wakeup_fd < 0)
		return false;
	l->wakeup_event = event_new(l->base, l->wakeup_fd, EV_READ | EV_PERSIST, on_wakeup, l);
	l->hangup_event = event_new(l->base, l->hangup_fd, EV_READ | EV_PERSIST, on_hangups, l);
	return l->wakeup_event != NULL && l->hangup_event != NULL && event_add(l->wakeup_event, NULL) == 0 &&
	       event_add(l->hangup_event, NULL) == 0;
}

void loop_init(struct loop *l, bool with_events)
{
	*l = (struct loop){0};
	TAILQ_INIT(&l->ready);
	TAILQ_INIT(&l->turn);
	l->scratch = xmalloc(MEM_IO, LOOP_SCRATCH);
	l->tls_scratch = xmalloc(MEM_IO, LOOP_TLS_SCRATCH);
	l->hangup_fd = l->wakeup_fd = -1;
	if (with_events && !begin_events(l)) {
		log_msg(LL_FATAL, "no event loop: %m");
		exit(1);
	}
}

void loop_free(struct loop *l)
{
	if (l->wakeup_event != NULL)
		event_free(l->wakeup_event);
	if (l->wakeup_fd >= 0)
		close(l->wakeup_fd);
	if (l->hangup_event != NULL)
		event_free(l->hangup_event);
	if (l->hangup_fd >= 0)
		close(l->hangup_fd);
	if (l->base != NULL)
		event_base_free(l->base);
	timers_free(&l->timers);
	/* Everybody's passwords went through it. */
	mem_wipe(l->scratch, LOOP_SCRATCH);
	mem_wipe(l->tls_scratch, LOOP_TLS_SCRATCH);
	xfree(MEM_IO, l->scratch);
	xfree(MEM_IO, l->tls_scratch);
	*l = (struct loop){0};
}

void loop_callback(struct loop *l)
{
	if (l->callbacks++ == 0)
		clock_update();
	/*
	 * With EVLOOP_ONCE libevent goes on for as long as something is active, and
	 * polls anew in between; a break leaves the rest active for the next turn.
	 */
	if (l->callbacks == LOOP_CALLBACKS)
		event_base_loopbreak(l->base);
}

static void run_ready(struct loop *l)
{
	struct stream *s;

	/* What gets ready from here on is for the next turn. */
	TAILQ_CONCAT(&l->turn, &l->ready, ready);
	TAILQ_FOREACH (s, &l->turn, ready)
		s->on_ready = 2;
	while ((s = TAILQ_FIRST(&l->turn)) != NULL)
		stream_run_ready(s);
}

/* Only when the earliest deadline is earlier than what is armed; one that went away wakes us in vain once. */
static void arm_wakeup(struct loop *l)
{
	int64_t next = timers_next(&l->timers), wait_us;
	struct itimerspec in = {0};

	if (l->base == NULL || next == 0 || (l->wakeup_at_us != 0 && l->wakeup_at_us <= next))
		return;
	wait_us = next > clock_us() ? next - clock_us() : 1; /* 0 would mean never */
	in.it_value = (struct timespec){.tv_sec = wait_us / USEC, .tv_nsec = wait_us % USEC * 1000};
	if (timerfd_settime(l->wakeup_fd, 0, &in, NULL) == 0)
		l->wakeup_at_us = next;
}

void loop_poll(struct loop *l, bool may_wait)
{
	int flags = EVLOOP_ONCE;

	if (!may_wait || !TAILQ_EMPTY(&l->ready))
		flags |= EVLOOP_NONBLOCK;
	else
		arm_wakeup(l); /* for what was set between two turns */
	l->callbacks = 0;
	if (l->base != NULL)
		event_base_loop(l->base, flags);
	if (l->callbacks == 0)
		clock_update();
	if (!TAILQ_EMPTY(&l->ready))
		run_ready(l);
}

void loop_run_timers(struct loop *l, void *ctx)
{
	if (timers_next(&l->timers) != 0 && timers_next(&l->timers) <= clock_us())
		timers_run(&l->timers, ctx);
	arm_wakeup(l);
}
