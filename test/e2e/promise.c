/*
 * promise: what clients feel when the primary changes. A load of single
 * statements and of short transactions runs while it does; what each client was
 * told is held against what stands on the last primary: no row that was
 * acknowledged may be missing, none may be there twice, nobody may be
 * disconnected, and the errors are the two that say whether to repeat.
 *
 * With PSB_TEST_PEER=pgbouncer it is that program instead, with an operator who
 * does for it what can be done, and nothing is asserted: `make failover-report`
 * shows both.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "promise.h"

/*
 * What is promised: ADDED_MS (SWITCHOVER_MS: when it was planned) after a server
 * takes writes every client has had a success, and a server that is dead, hangs,
 * or of which the postmaster hangs was found out within the others.
 */
enum { SWITCHOVER_MS = 200, ADDED_MS = 300, DEAD_MS = 1000, HANGS_MS = 2000, NO_LOGIN_MS = 12000 };

/*
 * What is allowed on top of it to a machine with two processors on which other
 * tests run: BUSY_MS, with sanitizers SANITIZED_MS. If that was not enough, and
 * the machine was late by LATE_MS (what a watchdog thread overslept, and what ten
 * logins past the pooler took at the same time), the case is run once more; then
 * its lateness is allowed, too.
 */
enum { BUSY_MS = 250, SANITIZED_MS = 2500, LATE_MS = 250 };

static int port_of(struct pg *p, struct proxy *x)
{
	return x ? proxy_port(x) : pg_port(p);
}

/* The other program knows the one server that is the primary. */
static char *peer_file(int port)
{
	return e2e_text("[databases]\napp = host=127.0.0.1 port=%d dbname=postgres\n[pgbouncer]\n"
			"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {dir}\nauth_type = trust\n"
			"auth_file = {dir}/users.txt\nadmin_users = admin\npool_mode = transaction\n"
			"default_pool_size = %d\nlog_connections = 0\nlog_disconnections = 0\n",
		port, POOL);
}

/* first: it is started; else its file is another one from here on. */
static void load_configure(struct load *l, bool first)
{
	struct bouncer_options o = {
		.databases = e2e_text(
			"app = host=127.0.0.1,127.0.0.1 port=%d,%d dbname=postgres target_session_attrs=read-write",
			port_of(l->primary, l->to_primary), port_of(l->standby, l->to_standby)),
		.settings = e2e_text(
			"auth_type = trust\ndefault_pool_size = %d\nmonitor_user = app_scram\ndefer_begin = 1\n"
			"log_connections = 0\nlog_disconnections = 0\n",
			POOL),
		.program = l->peer,
		.ini = l->peer ? peer_file(pg_port(l->primary)) : NULL,
	};

	if (first) {
		l->b = bouncer_start(&o);
	} else {
		bouncer_rewrite(l->b, &o);
		bouncer_command(l->b, "reload");
	}
}

/*
 * What is acknowledged from here on is on the standby. The checkpointer is who
 * makes commits wait for it, and reads the file anew before its next checkpoint.
 */
static void set_synchronous(struct pg *p)
{
	pg_value(p, "alter system set synchronous_standby_names = '*'");
	pg_value(p, "select pg_reload_conf()");
	WAIT_UNTIL(strcmp(pg_value(p, "select sync_state from pg_stat_replication"), "sync") == 0);
	pg_value(p, "checkpoint");
}

static struct load *load_start(bool proxied, uint64_t seed)
{
	struct load *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->peer = getenv("PSB_TEST_PEER");
	l->primary = pg_start(&(struct pg_options){.conf = "wal_retrieve_retry_interval = 100ms\n"});
	pg_value(l->primary, "create table rows (id int)");
	pg_value(l->primary, "create table probes (id int)");
	pg_value(l->primary, "grant all on rows, probes to public");
	l->standby = pg_start_standby(l->primary);
	set_synchronous(l->primary);
	if (proxied) {
		l->to_primary = proxy_start(pg_port(l->primary));
		l->to_standby = proxy_start(pg_port(l->standby));
	}
	load_configure(l, true);
	snprintf(l->dsn, sizeof(l->dsn), "%s dbname=app user=app_scram", bouncer_dsn(l->b));
	l->seed = seed;
	l->all_kinds = proxied;
	l->think_us = proxied ? 2000 : 20000;
	clients_start(l);
	WAIT_UNTIL(l->done > 20 * CLIENTS);
	return l;
}

/* ---- what is waited for ---- */

/* Everybody has asked and had a success since then, and there was work for a while. */
static bool all_served(struct load *l, const int *served, int done)
{
	if (l->peer)
		return l->done > done + 10 * CLIENTS;
	if (l->lost) /* it fails soon */
		return true;
	for (int i = 0; i < CLIENTS; i++)
		if (l->served[i] < served[i] + 2)
			return false;
	return l->done > done + 10 * CLIENTS;
}

static void goes_on(struct load *l)
{
	int served[CLIENTS], done = l->done;

	for (int i = 0; i < CLIENTS; i++)
		served[i] = l->served[i];
	WAIT_UNTIL(all_served(l, served, done));
}

static bool host_is(struct load *l, int port, const char *column, const char *value)
{
	return strcmp(bouncer_value(l->b, "HOSTS", "port", e2e_text("%d", port), column), value) == 0;
}

/* The pooler has seen that the standby is the primary. What is sent from here on must not get to the old one. */
static void await_decision(struct load *l)
{
	if (l->peer)
		return;
	WAIT_UNTIL(host_is(l, port_of(l->standby, l->to_standby), "role", "primary"));
	l->decided = l->next;
}

static long allowed_ms(void)
{
	return e2e_sanitized() ? SANITIZED_MS : BUSY_MS;
}

/* Since event_begins(). */
static long late_ms(struct load *l)
{
	return (l->late_us + l->logins_us) / 1000;
}

/* ---- the operator of the other program: holds what it can, and tells where the primary is now ---- */

static void operator_holds(struct load *l)
{
	/* Not waited for: what runs on a dead server ends when that is known to be dead. */
	if (l->peer)
		assert_true(PQsendQuery(bouncer_console(l->b), "PAUSE app"));
}

static void operator_moves(struct load *l, struct pg *primary)
{
	PGconn *c;

	if (!l->peer)
		return;
	bouncer_rewrite(l->b, &(struct bouncer_options){.ini = peer_file(pg_port(primary))});
	c = db_connect("%s dbname=pgbouncer user=admin", bouncer_dsn(l->b));
	db_value(c, "RELOAD");
	db_value(c, "RESUME app");
	db_close(c);
}

/* ---- what the clients were told, and what is there ---- */

/* How many there are of each row from `from` to `end`; to be freed. */
static unsigned char *rows_of(struct pg *p, int from, int end)
{
	unsigned char *rows = calloc((size_t)end + 1, 1);
	PGconn *c = db_connect("%s", pg_dsn(p));
	PGresult *r = PQexec(c,
		e2e_text("select id, count(*) from rows where id between %d and %d group by id", from, end - 1));

	assert_non_null(rows);
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("rows: %s", PQerrorMessage(c));
	for (int i = 0; i < PQntuples(r); i++) {
		int id = atoi(PQgetvalue(r, i, 0)), n = atoi(PQgetvalue(r, i, 1));

		rows[id] = (unsigned char)(n < 255 ? n : 255);
	}
	PQclear(r);
	db_close(c);
	return rows;
}

static const char *const told[] = {
	"nothing", "that it is there", "that it may be there (08007)", "that it is not there (08006)"};

/* On the last primary. */
static void check_rows(struct load *l, const unsigned char *rows, int *acknowledged, int *missing, int *twice)
{
	*acknowledged = *missing = *twice = 0;
	for (int id = 0; id < l->next; id++) {
		enum fate fate = (enum fate)l->fates[id];

		*twice += rows[id] > 1;
		*acknowledged += fate == ACKNOWLEDGED;
		*missing += fate == ACKNOWLEDGED && !rows[id];
		if (rows[id] && (fate == REFUSED || fate == NEVER) && !l->peer)
			fail_msg("row %d is there, and its client was told %s", id, told[fate]);
	}
}

/*
 * Rows that are on the old primary alone: their clients were told that this may
 * be so, and none was sent after the decision. What was sent there waits for a
 * standby, and is seen when it need not wait.
 */
static void check_old_one(struct load *l, struct pg *old, struct pg *last, int from)
{
	unsigned char *on_old, *on_last;
	int end;

	pg_value(old, "alter system set synchronous_standby_names = ''");
	pg_value(old, "select pg_reload_conf()");
	WAIT_UNTIL(strcmp(pg_value(old, "select count(*) from pg_stat_activity where usename = 'app_scram' and "
					"application_name <> 'psbouncer monitor'"),
			   "0") == 0);
	end = l->next;
	on_old = rows_of(old, from, end);
	on_last = rows_of(last, from, end);
	for (int id = from; id < end; id++) {
		enum fate fate = (enum fate)l->fates[id];

		if (!on_old[id] || on_last[id])
			continue;
		if (fate != UNKNOWN)
			fail_msg("row %d is on the old primary alone, and its client was told %s", id, told[fate]);
		if (id >= l->decided)
			fail_msg("row %d was sent to the old primary after the decision (row %d)", id, l->decided);
	}
	free(on_old);
	free(on_last);
}

/* As it was, and it takes writes. */
static void comes_back(struct pg *old)
{
	pg_signal(old, SIGCONT);
	if (!pg_pid(old))
		pg_restart(old);
}

static void load_free(struct load *l)
{
	pg_signal(l->primary, SIGCONT);
	pg_stop(l->primary);
	pg_stop(l->standby);
	free(l);
}

/* last: the primary at the end. errors_max: of both kinds. */
static void load_end(struct load *l, const char *what, struct pg *last, int errors_max)
{
	int acknowledged, missing, twice;
	unsigned char *rows;

	clients_stop(l);
	rows = rows_of(last, 0, l->next);
	check_rows(l, rows, &acknowledged, &missing, &twice);
	free(rows);
	print_message(
		"# %-34s %3d 08007, %3d 08006, %d others, %d clients lost, %d missing, %d twice of %d; worst wait %ld ms, "
		"the server itself %ld ms\n",
		what, (int)l->errors_08007, (int)l->errors_08006, (int)l->others, (int)l->lost, missing, twice,
		acknowledged, (long)l->worst_us / 1000, (long)l->server_us / 1000);
	if (l->other[0])
		print_message("# %s\n", l->other);
	if (l->foreign[0])
		print_message("# not its own: %s\n", l->foreign);
	if (l->peer) { /* its signals are others */
		bouncer_signal(l->b, SIGTERM);
		bouncer_wait_exit(l->b);
		bouncer_stop(l->b);
		return;
	}
	assert_int_equal(l->lost, 0);
	assert_int_equal(l->others, 0);
	assert_int_equal(l->not_own, 0);
	assert_int_equal(missing, 0);
	assert_int_equal(twice, 0);
	assert_in_range(l->errors_08007 + l->errors_08006, 0, errors_max);
	bouncer_stop(l->b);
}

/* ---- the cases ---- */

/* A new primary asks no standby for its word. */
static void promote(struct load *l)
{
	probe_start(l, l->standby);
	pg_promote(l->standby);
	operator_moves(l, l->standby);
	await_decision(l);
}

/* The pooler finds out by itself that the primary is gone; then it is promoted. */
static void promote_when_found_out(struct load *l)
{
	long from = now_us();

	if (!l->peer) {
		WAIT_UNTIL(host_is(l, pg_port(l->primary), "state", "down"));
		l->found_us = now_us() - from;
		print_message("# found out after %ld ms\n", l->found_us / 1000);
	}
	l->event_us = now_us();
	promote(l);
}

struct promise {
	const char *text, *text_of_peer;
	/* From the event to the promotion, or the return of the primary. */
	void (*event)(struct load *l);
	long found_ms, added_ms;
	int errors_max;
	bool in_place;	  /* the primary is the same one at the end */
	bool nobody_asks; /* while it is found out: work goes on until then */
};

/* What took longer than promised and allowed, NULL: nothing. late: what else is allowed. */
static const char *excess(struct load *l, const struct promise *p, long late)
{
	long found_most = p->found_ms + allowed_ms() + late;
	long most = (p->nobody_asks ? 0 : p->found_ms) + l->server_us / 1000 + p->added_ms + allowed_ms() + late;

	if (l->peer)
		return NULL;
	if (l->found_us / 1000 > found_most)
		return e2e_text("it was found out after %ld ms instead of %ld", l->found_us / 1000, found_most);
	if (l->worst_us / 1000 > most)
		return e2e_text("a client waited %ld ms instead of %ld", l->worst_us / 1000, most);
	return NULL;
}

/* False: it took too long, as did everything on this machine. */
static bool is_kept(const struct promise *p, bool again)
{
	struct load *l = load_start(false, 1);
	struct pg *last = p->in_place ? l->primary : l->standby;
	const char *what;
	long late;

	event_begins(l);
	p->event(l);
	probe_end(l);
	goes_on(l);
	late = late_ms(l);
	what = excess(l, p, again ? late : 0);
	if (what)
		fputs(bouncer_log(l->b), stderr);
	load_end(l, l->peer && p->text_of_peer ? p->text_of_peer : p->text, last, p->errors_max);
	if (!l->peer && !p->in_place) {
		comes_back(l->primary);
		check_old_one(l, l->primary, last, 0);
	}
	load_free(l);
	if (!what)
		return true;
	if (again || late < LATE_MS)
		fail_msg("%s; the machine was late by %ld ms", what, late);
	print_message("# %s; the machine was late by %ld ms: once more\n", what, late);
	return false;
}

static void hold(const struct promise *p)
{
	if (!is_kept(p, false))
		is_kept(p, true);
}

static void planned_event(struct load *l)
{
	bouncer_command(l->b, l->peer ? "pause app" : "switchover");
	l->event_us = now_us(); /* what it takes to hold them is none of the server's */
	pg_shutdown(l->primary);
	promote(l);
}

static void planned(void **state)
{
	(void)state;
	hold(&(struct promise){
		"SWITCHOVER, stop, promote", "PAUSE, stop, promote", planned_event, .added_ms = SWITCHOVER_MS});
}

static void fast_stop_event(struct load *l)
{
	operator_holds(l);
	pg_shutdown(l->primary);
	promote(l);
}

static void fast_stop(void **state)
{
	(void)state;
	hold(&(struct promise){"fast stop, promote", NULL, fast_stop_event, .added_ms = ADDED_MS, .errors_max = POOL});
}

static void kill_all_event(struct load *l)
{
	pg_kill(l->primary);
	operator_holds(l);
	promote(l);
}

static void kill_all(void **state)
{
	(void)state;
	hold(&(struct promise){"kill -9 of all processes, promote", NULL, kill_all_event, .found_ms = DEAD_MS,
		.added_ms = ADDED_MS, .errors_max = POOL});
}

static void stop_all_event(struct load *l)
{
	pg_signal(l->primary, SIGSTOP);
	operator_holds(l);
	if (l->peer) /* or who is inside waits for ever */
		pg_kill(l->primary);
	promote_when_found_out(l);
}

static void stop_all(void **state)
{
	(void)state;
	hold(&(struct promise){"SIGSTOP of all processes, promote", NULL, stop_all_event, .found_ms = HANGS_MS,
		.added_ms = ADDED_MS, .errors_max = POOL});
}

/* Its connections go on, and nobody gets another one. */
static void stop_postmaster_event(struct load *l)
{
	kill(pg_pid(l->primary), SIGSTOP);
	operator_holds(l);
	if (l->peer)
		pg_kill(l->primary);
	promote_when_found_out(l);
}

static void stop_postmaster(void **state)
{
	(void)state;
	hold(&(struct promise){"SIGSTOP of the postmaster, promote", NULL, stop_postmaster_event,
		.found_ms = NO_LOGIN_MS, .added_ms = ADDED_MS, .errors_max = POOL, .nobody_asks = true});
}

static void restart_event(struct load *l)
{
	operator_holds(l);
	pg_shutdown(l->primary);
	probe_start(l, l->primary);
	pg_restart(l->primary);
	operator_moves(l, l->primary);
}

static void restart_in_place(void **state)
{
	(void)state;
	hold(&(struct promise){"restart of the primary in place", NULL, restart_event, .added_ms = ADDED_MS,
		.errors_max = POOL, .in_place = true});
}

/* It would take every write at once: nobody has to agree. */
static void returns_alone(struct pg *old)
{
	comes_back(old);
	pg_value(old, "alter system set synchronous_standby_names = ''");
	pg_value(old, "select pg_reload_conf()");
}

/* What the old primary gets after its return: nothing, and nobody waits for it. */
static void old_one_returns_event(struct load *l)
{
	operator_holds(l);
	pg_shutdown(l->primary);
	promote(l);
	probe_end(l);
	goes_on(l);
	event_begins(l);
	l->no_end = true;
	probe_start(l, l->standby);
	returns_alone(l->primary);
	if (!l->peer)
		WAIT_UNTIL(host_is(l, pg_port(l->primary), "state", "fenced"));
	goes_on(l);
}

static void old_one_returns(void **state)
{
	(void)state;
	hold(&(struct promise){"the old primary comes back", NULL, old_one_returns_event, .errors_max = POOL});
}

/* ---- one after the other, by chance ------------------------------------------------------- */

static unsigned pick(uint64_t *seed, unsigned n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned)((*seed >> 11) % n);
}

static void new_standby(struct load *l)
{
	l->primary = l->standby;
	l->standby = pg_start_standby(l->primary);
	set_synchronous(l->primary);
}

/* The standby has become the primary: it gets a new standby, and the file names these two. The old one is gone. */
static void is_replaced(struct load *l, int from)
{
	struct pg *old = l->primary;
	struct proxy *to_old = l->to_primary;

	pg_kill(old); /* what hangs has to go, too */
	new_standby(l);
	l->to_primary = l->to_standby;
	l->to_standby = proxy_start(pg_port(l->standby));
	load_configure(l, false);
	proxy_stop(to_old);
	comes_back(old); /* where nobody finds it */
	check_old_one(l, old, l->primary, from);
	pg_stop(old);
}

/* The old primary goes on as it was, is not used, and becomes a standby where it is. */
static void is_rebuilt(struct load *l, int from)
{
	struct pg *old = l->primary;
	struct proxy *to_old = l->to_primary;

	returns_alone(old);
	proxy_set(to_old, PROXY_PASSES);
	WAIT_UNTIL(host_is(l, proxy_port(to_old), "state", "fenced"));
	goes_on(l);
	check_old_one(l, old, l->standby, from);
	pg_kill(old);
	new_standby(l);
	proxy_move(to_old, pg_port(l->standby));
	l->to_primary = l->to_standby;
	l->to_standby = to_old;
	WAIT_UNTIL(host_is(l, proxy_port(to_old), "role", "standby"));
	WAIT_UNTIL(host_is(l, proxy_port(to_old), "state", "up"));
	pg_stop(old);
}

static void for_ms(int64_t ms)
{
	for (int64_t until = e2e_now_ms() + ms; e2e_now_ms() < until;)
		e2e_pause();
}

static void ends(struct load *l)
{
	pg_kill(l->primary);
}

static void stops(struct load *l)
{
	pg_shutdown(l->primary);
}

static void hangs(struct load *l)
{
	pg_signal(l->primary, SIGSTOP);
}

static void is_cut_off(struct load *l)
{
	proxy_set(l->to_primary, PROXY_CUT);
}

static void stays(struct load *l)
{
	(void)l;
}

static void restarts(struct load *l)
{
	pg_restart(l->primary);
}

static void pauses(struct load *l)
{
	pg_signal(l->primary, SIGSTOP);
	for_ms(300);
	pg_signal(l->primary, SIGCONT);
}

static void has_a_gap(struct load *l)
{
	proxy_set(l->to_primary, PROXY_CUT);
	for_ms(300);
	proxy_set(l->to_primary, PROXY_PASSES);
}

static void is_slow(struct load *l)
{
	proxy_set(l->to_primary, PROXY_SLOW);
	for_ms(1000);
	proxy_set(l->to_primary, PROXY_PASSES);
}

static void is_reset(struct load *l)
{
	proxy_reset(l->to_primary);
}

static void terminates(struct load *l)
{
	pg_value(l->primary,
		"select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'app_scram'");
}

static const struct event {
	const char *text;
	void (*run)(struct load *l);
	bool is_the_end; /* of the primary: the standby is promoted */
} events[] = {
	{"it is killed", ends, true},
	{"it is stopped", stops, true},
	{"all its processes hang", hangs, true},
	{"it is cut off from the network", is_cut_off, true},
	{"it runs on", stays, true},
	{"it is restarted", restarts, false},
	{"all its processes pause for 0.3 s", pauses, false},
	{"the network pauses for 0.3 s", has_a_gap, false},
	{"the network is slow for 1 s", is_slow, false},
	{"its connections are reset", is_reset, false},
	{"its backends are terminated", terminates, false},
};

/* Nobody waits for longer than for what hangs. */
static void check_wait(struct load *l, const char *what)
{
	long took = l->worst_us / 1000, late = late_ms(l);
	long most = l->server_us / 1000 + HANGS_MS + ADDED_MS + allowed_ms() + late;

	if (took > most)
		fail_msg("%s: a client waited %ld ms instead of %ld; the machine was late by %ld", what, took, most,
			late);
}

/* checked: rows up to here were compared with an old primary's at the end of the one before. */
static void chaos_step(struct load *l, uint64_t *seed, int *checked)
{
	const struct event *e = &events[pick(seed, sizeof(events) / sizeof(*events))];
	bool rebuilt = pick(seed, 2);
	int from = *checked;

	print_message("# %s%s\n", e->text, !e->is_the_end ? "" : rebuilt ? ", and is rebuilt" : ", and is replaced");
	event_begins(l);
	e->run(l);
	if (e->is_the_end)
		promote(l);
	else
		probe_start(l, l->primary);
	probe_end(l);
	goes_on(l);
	check_wait(l, e->text);
	if (!e->is_the_end)
		return;
	*checked = l->decided;
	if (rebuilt)
		is_rebuilt(l, from);
	else
		is_replaced(l, from);
}

/* PSB_TEST_PROMISE_SECONDS (60) of it; PSB_TEST_SEED and PSB_TEST_ONLY=chaos make the same again. */
static void chaos(void **state)
{
	const char *seconds = getenv("PSB_TEST_PROMISE_SECONDS"), *env = getenv("PSB_TEST_SEED");
	int length = seconds ? atoi(seconds) : 60, n = 0, checked = 0;
	uint64_t seed = env ? strtoull(env, NULL, 10) : (uint64_t)now_us();
	struct load *l;
	int64_t until;

	(void)state;
	if (getenv("PSB_TEST_PEER"))
		skip(); /* its clients would not be where they were */
	print_message("# seed %llu\n", (unsigned long long)seed);
	l = load_start(true, seed);
	until = e2e_now_ms() + 1000 * length;
	alarm((unsigned)length + (e2e_sanitized() ? 200 : 100));
	for (; e2e_now_ms() < until; n++)
		chaos_step(l, &seed, &checked);
	goes_on(l);
	load_end(l, e2e_text("%d events by chance", n), l->primary, n * 2 * POOL);
	load_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(planned),
		e2e_test(fast_stop),
		e2e_test(kill_all),
		e2e_test(stop_all),
		e2e_test(stop_postmaster),
		e2e_test(restart_in_place),
		e2e_test(old_one_returns),
		e2e_test(chaos),
	};

	e2e_init();
	cmocka_set_test_filter(getenv("PSB_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
