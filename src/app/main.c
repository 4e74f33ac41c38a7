/*
 * main: the program from its first line to its last: start, the loop, signals,
 * the end. Owns struct app, in which everything else is.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/console.h"
#include "admin/control.h"
#include "admin/show.h"
#include "app/crash.h"
#include "app/daemon.h"
#include "app/notify.h"
#include "app/options.h"
#include "base/err.h"
#include "base/log.h"
#include "base/timer.h"
#include "conf/config.h"
#include "conn/listener.h"
#include "conn/pooler.h"
#include "net/buf.h"
#include "net/tls.h"

static const int signal_numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2};
enum { SIGNALS = sizeof signal_numbers / sizeof signal_numbers[0] };

struct app {
	struct options options;
	struct config *config; /* as it was read at the start; from then on the registry has its own */
	struct pooler pooler;
	struct control control;
	struct pidfile pidfile;
	struct timer stats;
	struct event *signals[SIGNALS];
	int ready;     /* of daemon_fork(), -1: in the foreground */
	int inherited; /* listening descriptors */
};

/* ---- signals ---- */

static void stop(struct control *c, const char *name, enum control_stop how)
{
	static const char *const words[] = {
		[STOP_NOW] = "at once",
		[STOP_WAIT_FOR_SERVERS] = "when the servers have come free",
		[STOP_WAIT_FOR_CLIENTS] = "when the clients have gone",
	};

	/* The second one is meant. */
	if (c->pooler->shutdown != RUNNING)
		how = STOP_NOW;
	log_msg(LL_LOG, "%s: shutting down %s", name, words[how]);
	(void)control_stop(c, how);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct control *c = arg;
	struct errs errs = {0};
	char why[CONTROL_WHY];

	(void)what;
	loop_callback(&c->pooler->loop); /* for the clock: what begins here has deadlines */
	switch ((int)number) {
	case SIGHUP:
		log_msg(LL_LOG, "SIGHUP: reloading");
		(void)!control_reload(c, &errs);
		errs_free(&errs);
		break;
	case SIGINT: stop(c, "SIGINT", STOP_WAIT_FOR_SERVERS); break;
	case SIGTERM: stop(c, "SIGTERM", STOP_WAIT_FOR_CLIENTS); break;
	case SIGQUIT: stop(c, "SIGQUIT", STOP_NOW); break;
	case SIGUSR1:
		log_msg(LL_LOG, "SIGUSR1: pausing all");
		if (!control_pause(c, NULL, why))
			log_msg(LL_WARNING, "%s", why);
		break;
	case SIGUSR2:
		log_msg(LL_LOG, "SIGUSR2: resuming all");
		if (!control_resume(c, NULL, why))
			log_msg(LL_WARNING, "%s", why);
		break;
	}
}

static bool watch_signals(struct app *a)
{
	for (int i = 0; i < SIGNALS; i++) {
		a->signals[i] = evsignal_new(a->pooler.loop.base, signal_numbers[i], on_signal, &a->control);
		if (a->signals[i] == NULL || event_add(a->signals[i], NULL) != 0) {
			log_msg(LL_FATAL, "cannot watch signal %d", signal_numbers[i]);
			return false;
		}
	}
	return true;
}

static void unwatch_signals(struct app *a)
{
	for (int i = 0; i < SIGNALS; i++)
		if (a->signals[i] != NULL)
			event_free(a->signals[i]);
}

static void on_control(enum control_event what, void *ctx)
{
	struct app *a = ctx;
	struct timespec ts;

	switch (what) {
	case CONTROL_RELOADING:
		clock_gettime(CLOCK_MONOTONIC, &ts);
		notify_send("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)ts.tv_sec * USEC + ts.tv_nsec / 1000);
		break;
	case CONTROL_READY: notify_send("READY=1"); break;
	case CONTROL_CHANGED:
		daemon_raise_limit(daemon_descriptors(a->pooler.registry.config));
		a->pooler.clients_below = daemon_clients_below(a->pooler.registry.config);
		break;
	case CONTROL_STOPPING: notify_send("STOPPING=1"); break;
	}
}

/* ---- statistics ---- */

static int64_t next_stats(const struct app *a)
{
	return clock_us() + a->pooler.registry.config->set.stats_period;
}

static void on_stats(struct timer *t, void *ctx)
{
	struct app *a = container_of(t, struct app, stats);
	struct stats sum;
	struct counters c;
	char text[512];

	(void)ctx;
	registry_stats_tick(&a->pooler.registry);
	stats_tick(&a->control.stats, clock_us());
	sum = control_stats(&a->control);
	c = stats_average(&sum);
	snprintf(text, sizeof text,
		"stats: %llu xacts/s, %llu queries/s, %llu client parses/s, %llu server parses/s, %llu binds/s, "
		"in %llu B/s, out %llu B/s, xact %llu us, query %llu us, wait %llu us",
		(unsigned long long)c.xacts, (unsigned long long)c.queries, (unsigned long long)c.client_parses,
		(unsigned long long)c.server_parses, (unsigned long long)c.binds, (unsigned long long)c.received,
		(unsigned long long)c.sent, (unsigned long long)c.xact_us, (unsigned long long)c.query_us,
		(unsigned long long)c.wait_us);
	if (a->pooler.registry.config->set.log_stats)
		log_msg(LL_LOG, "%s", text);
	notify_send("STATUS=%s", text);
	timer_set(&a->pooler.loop.timers, t, next_stats(a));
}

/* ---- configuration ---- */

static void say_errors(const struct errs *errs, enum log_level level)
{
	char line[1024];

	for (size_t i = 0; i < errs->n; i++)
		log_msg(level, "%s", errs_format(errs, i, line, sizeof line));
	if (errs->total > errs->n)
		log_msg(level, "and %zu more", errs->total - errs->n);
}

static bool load(struct app *a)
{
	struct errs errs = {0};
	struct config *c = config_load(a->options.path, &errs);

	if (c == NULL) {
		say_errors(&errs, LL_ERROR);
		log_msg(LL_FATAL, "cannot load the configuration file %s", a->options.path);
	}
	errs_free(&errs);
	config_unref(&a->config);
	a->config = c;
	return c != NULL;
}

/* Also what is only read when it comes into force: keys, certificates, the log. */
static bool test_whole(struct config *c, struct errs *errs)
{
	struct pooler p;
	bool ok;

	pooler_init(&p, c, false);
	ok = pooler_configure(&p, c, errs);
	pooler_free(&p);
	if (!log_can_open(c->set.logfile)) {
		errs_add(errs, NULL, 0, "logfile %s: %s", c->set.logfile, strerror(errno));
		ok = false;
	}
	return ok;
}

/* -t */
static int test_config(const struct options *o)
{
	struct errs errs = {0};
	struct config *c = config_load(o->path, &errs);
	bool ok = c != NULL && test_whole(c, &errs);
	struct buf out = {0};
	char line[1024];

	for (size_t i = 0; i < errs.n; i++)
		fprintf(stderr, "%s\n", errs_format(&errs, i, line, sizeof line));
	if (errs.total > errs.n)
		fprintf(stderr, "and %zu more\n", errs.total - errs.n);
	if (c != NULL && o->verbose > 0) {
		config_print_origins(c, &out);
		fwrite(buf_head(&out), 1, buf_len(&out), stdout);
		buf_free(&out);
	}
	if (ok && !o->quiet)
		printf("%s: no errors\n", o->path);
	errs_free(&errs);
	config_unref(&c);
	return ok ? 0 : 1;
}

/* ---- start ---- */

/* The files are read again as the user who will read them at RELOAD: what he may not read is found out now. */
static bool choose_user(struct app *a)
{
	const char *user = a->options.user != NULL ? a->options.user : a->config->set.user;
	bool was_root = geteuid() == 0;

	if (user[0] == '\0') {
		if (!was_root)
			return true;
		log_msg(LL_FATAL, "psbouncer should not run as root: set user= or give -u");
		return false;
	}
	if (!daemon_become_user(user))
		return false;
	if (geteuid() == 0) {
		log_msg(LL_FATAL, "psbouncer should not run as root: user is %s", user);
		return false;
	}
	return !was_root || load(a);
}

static bool prepare(struct app *a)
{
	if (!load(a))
		return false;
	daemon_raise_limit(daemon_descriptors(a->config));
	if (!choose_user(a))
		return false;
	if (a->options.daemon && a->config->set.pidfile[0] == '\0') {
		log_msg(LL_FATAL, "-d needs pidfile in the configuration");
		return false;
	}
	if (a->inherited == 0 && listener_is_taken(a->config)) {
		log_msg(LL_FATAL, "unix socket is in use, cannot continue");
		return false;
	}
	if (a->options.daemon) {
		a->ready = daemon_fork();
		if (a->ready < 0)
			return false;
	}
	return true;
}

static bool open_all(struct app *a)
{
	struct errs errs = {0};
	/* Signals first: whoever can connect may believe that it has started, and must not kill it with one. */
	bool ok = watch_signals(a) && pooler_configure(&a->pooler, a->config, &errs) &&
		  listener_open_all(&a->pooler, a->inherited, &errs);

	say_errors(&errs, LL_ERROR);
	errs_free(&errs);
	if (!ok)
		log_msg(LL_FATAL, "cannot start");
	return ok;
}

static void say_ready(struct app *a)
{
	daemon_warn(a->config);
	log_msg(LL_LOG, "process up: %s, libevent %s, tls: %s", show_version_text(), event_get_version(),
		tls_library());
	if (a->ready >= 0)
		daemon_ready(a->ready);
	a->ready = -1;
	notify_send("READY=1\nMAINPID=%ld", (long)getpid());
}

static void run(struct app *a)
{
	timer_set(&a->pooler.loop.timers, &a->stats, next_stats(a));
	while (!control_done(&a->control)) {
		pooler_turn(&a->pooler);
		control_turn(&a->control);
	}
}

/* Everything from the log on; false: the start failed, and why is said. */
static bool serve(struct app *a)
{
	bool ok;

	clock_update();
	control_init(&a->control, &a->pooler, a->options.path);
	a->control.quiet = a->options.quiet;
	a->control.verbose = a->options.verbose;
	a->control.notify = on_control;
	a->control.notify_ctx = a;
	if (!control_open_log(&a->control, a->config)) {
		log_msg(LL_FATAL, "logfile %s: %s", a->config->set.logfile, strerror(errno));
		return false;
	}
	if (!pidfile_take(&a->pidfile, a->config->set.pidfile))
		return false;
	pooler_init(&a->pooler, a->config, true);
	a->pooler.clients_below = daemon_clients_below(a->config);
	a->pooler.console = &console_ops;
	a->pooler.console_ctx = &a->control;
	a->stats.fire = on_stats;
	ok = open_all(a);
	if (ok) {
		say_ready(a);
		run(a);
		log_msg(LL_LOG, "shutting down");
	}
	unwatch_signals(a);
	timer_cancel(&a->pooler.loop.timers, &a->stats);
	control_free(&a->control);
	pooler_free(&a->pooler);
	pidfile_remove(&a->pidfile);
	return ok;
}

int main(int argc, char **argv)
{
	struct app a = {.ready = -1};
	bool ok;

	switch (options_parse(argc, argv, &a.options)) {
	case OPTIONS_DONE: return 0;
	case OPTIONS_BAD: return 1;
	case OPTIONS_RUN: break;
	}
	tzset();
	signal(SIGPIPE, SIG_IGN);
	if (a.options.test)
		return test_config(&a.options);
	crash_install();
	a.inherited = notify_inherited();
	ok = prepare(&a) && serve(&a);
	config_unref(&a.config);
	log_close();
	return ok ? 0 : 1;
}
