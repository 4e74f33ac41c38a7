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
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/e2e.h"

enum { CLIENTS = 50, POOL = 10, ROWS_MAX = 50000000 };

/* What became of a row. */
enum fate { NEVER, ACKNOWLEDGED, UNKNOWN, REFUSED };

struct load {
	struct pg *primary, *standby;
	struct proxy *to_primary, *to_standby; /* between the pooler and these; NULL: nothing is */
	struct bouncer *b;
	const char *peer; /* the other program */
	char dsn[300];
	atomic_bool stop;
	atomic_int next, lost, errors_08006, errors_08007, others, done, transactions_failed;
	atomic_long worst_us;
	atomic_char fates[ROWS_MAX];
	char other[200]; /* the first error that is neither */
	pthread_t threads[CLIENTS];
};

struct worker {
	struct load *load;
	int number;
};

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

/* The state that the first error gives; NULL: it went well. */
static const char *run(struct load *l, PGconn *c, const char *sql, char state[6])
{
	PGresult *r = PQexec(c, sql);
	ExecStatusType status = PQresultStatus(r);
	const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

	snprintf(state, 6, "%s", code ? code : "");
	if (!ok && strcmp(state, "08006") != 0 && strcmp(state, "08007") != 0 && strcmp(state, "25P02") != 0) {
		if (!atomic_fetch_add(&l->others, 1))
			snprintf(l->other, sizeof(l->other), "%s: %s", sql, PQresultErrorMessage(r));
	}
	PQclear(r);
	return ok ? NULL : state;
}

static enum fate fate_of(struct load *l, const char *state)
{
	if (!state)
		return ACKNOWLEDGED;
	if (!strcmp(state, "08007")) {
		l->errors_08007++;
		return UNKNOWN;
	}
	if (!strcmp(state, "08006")) {
		l->errors_08006++;
		return REFUSED;
	}
	return UNKNOWN;
}

static enum fate insert_one(struct load *l, PGconn *c)
{
	int id = l->next++;
	enum fate fate;
	char sql[100], state[6];

	snprintf(sql, sizeof(sql), "insert into rows values (%d)", id);
	fate = fate_of(l, run(l, c, sql, state));
	l->fates[id] = (char)fate;
	return fate;
}

static enum fate insert_three(struct load *l, PGconn *c)
{
	int id[3];
	const char *failed;
	char sql[100], state[6];
	enum fate fate;

	failed = run(l, c, "begin", state);
	for (int i = 0; i < 3; i++) {
		id[i] = l->next++;
		snprintf(sql, sizeof(sql), "insert into rows values (%d)", id[i]);
		if (!failed)
			failed = run(l, c, sql, state);
	}
	if (!failed)
		failed = run(l, c, "commit", state);
	fate = fate_of(l, failed);
	l->transactions_failed += failed != NULL;
	for (int i = 0; i < 3; i++)
		l->fates[id[i]] = (char)fate;
	if (PQtransactionStatus(c) == PQTRANS_INTRANS || PQtransactionStatus(c) == PQTRANS_INERROR)
		run(l, c, "rollback", state);
	return fate;
}

/* How long a client was without a success, from where it first asked. */
static void waited(struct load *l, long took)
{
	for (long worst = l->worst_us; took > worst && !atomic_compare_exchange_weak(&l->worst_us, &worst, took);)
		;
}

/* Of a pooler that disconnects its clients they come again. */
static bool is_lost(struct load *l, PGconn *c)
{
	if (!l->lost++ && !l->other[0])
		snprintf(l->other, sizeof(l->other), "lost: %s", PQerrorMessage(c));
	while (l->peer && !l->stop && PQstatus(c) != CONNECTION_OK)
		PQreset(c);
	return !l->peer;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	PGconn *c = PQconnectdb(l->dsn);
	long from = now_us();
	enum fate fate;

	while (!l->stop && l->next < ROWS_MAX - 4 * CLIENTS) {
		fate = w->number & 1 ? insert_three(l, c) : insert_one(l, c);
		if (PQstatus(c) != CONNECTION_OK && is_lost(l, c))
			break;
		if (fate == ACKNOWLEDGED) {
			waited(l, now_us() - from);
			l->done++;
		}
		/* Not as fast as can be: what counts is the event. */
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
		if (fate == ACKNOWLEDGED)
			from = now_us();
	}
	if (!l->stop && PQstatus(c) == CONNECTION_OK)
		fprintf(stderr, "no room for more than %d rows\n", ROWS_MAX);
	PQfinish(c);
	free(w);
	return NULL;
}

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

static struct load *load_start(bool proxied)
{
	struct load *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->peer = getenv("PSB_TEST_PEER");
	l->primary = pg_start(&(struct pg_options){.conf = "wal_retrieve_retry_interval = 100ms\n"});
	pg_value(l->primary, "create table rows (id int)");
	pg_value(l->primary, "grant all on rows to public");
	l->standby = pg_start_standby(l->primary);
	set_synchronous(l->primary);
	if (proxied) {
		l->to_primary = proxy_start(pg_port(l->primary));
		l->to_standby = proxy_start(pg_port(l->standby));
	}
	load_configure(l, true);
	snprintf(l->dsn, sizeof(l->dsn), "%s dbname=app user=app_scram", bouncer_dsn(l->b));
	for (int i = 0; i < CLIENTS; i++) {
		struct worker *w = malloc(sizeof(*w));

		assert_non_null(w);
		*w = (struct worker){l, i};
		assert_int_equal(pthread_create(&l->threads[i], NULL, work, w), 0);
	}
	WAIT_UNTIL(l->done > 20 * CLIENTS);
	l->worst_us = 0;
	return l;
}

/* Work has gone on for a while since then. */
static bool has_done_more(struct load *l, int since)
{
	return l->done + (l->peer ? 0 : l->lost * 1000) > since + 10 * CLIENTS;
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

/*
 * last: the primary at the end. took_ms: from the event to its being able to
 * take writes; within slack_ms more everybody has had a success (what is
 * promised, and a good deal on top for a machine that is busy).
 */
static void load_end(struct load *l, const char *what, struct pg *last, long took_ms, int errors_max, long slack_ms)
{
	int since = l->done, acknowledged = 0, missing = 0, twice;
	PGresult *r;
	PGconn *c;

	WAIT_UNTIL(has_done_more(l, since));
	l->stop = true;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(l->threads[i], NULL);
	c = db_connect("%s", pg_dsn(last));
	r = db_keep(PQexec(c, "select id, count(*) from rows group by id order by id"));
	twice = 0;
	for (int i = 0; i < PQntuples(r); i++) {
		int id = atoi(PQgetvalue(r, i, 0));

		twice += atoi(PQgetvalue(r, i, 1)) > 1;
		if (l->fates[id] == REFUSED && !l->peer)
			fail_msg("row %d was said to be refused (08006), and is there", id);
		if (l->fates[id] == ACKNOWLEDGED) {
			l->fates[id] = NEVER;
			acknowledged++;
		}
	}
	for (int id = 0; id < l->next; id++)
		missing += l->fates[id] == ACKNOWLEDGED;
	print_message(
		"# %-34s %3d 08007, %3d 08006, %d others, %d clients lost, %d missing, %d twice of %d; worst wait %ld ms, "
		"the server itself %ld ms\n",
		what, (int)l->errors_08007, (int)l->errors_08006, (int)l->others, (int)l->lost, missing, twice,
		acknowledged, (long)l->worst_us / 1000, took_ms);
	if (l->other[0])
		print_message("# %s\n", l->other);
	if (!l->peer) {
		assert_int_equal(l->lost, 0);
		assert_int_equal(l->others, 0);
		assert_int_equal(missing, 0);
		assert_int_equal(twice, 0);
		assert_in_range(l->errors_08007, 0, errors_max);
		assert_in_range(l->errors_08006, 0, errors_max);
		assert_in_range(l->worst_us / 1000, 0, took_ms + slack_ms);
	} else { /* its signals are others */
		bouncer_signal(l->b, SIGTERM);
		bouncer_wait_exit(l->b);
	}
	bouncer_stop(l->b);
	pg_signal(l->primary, SIGCONT);
	pg_stop(l->primary);
	pg_stop(l->standby);
	free(l);
}

/* A new primary asks no standby for its word. Returns what it took since then. */
static long promote(struct load *l, long from_ms)
{
	long took;

	pg_promote(l->standby);
	took = e2e_now_ms() - from_ms;
	operator_moves(l, l->standby);
	return took;
}

enum { BUSY_MS = 5000, FOUND_OUT_MS = 2000, LOGIN_PROBED_MS = 12000 };

static void planned(void **state)
{
	struct load *l = load_start(false);
	long from;

	(void)state;
	bouncer_command(l->b, l->peer ? "pause app" : "switchover");
	from = e2e_now_ms();
	pg_shutdown(l->primary);
	load_end(l, l->peer ? "PAUSE, stop, promote" : "SWITCHOVER, stop, promote", l->standby, promote(l, from), 0,
		BUSY_MS);
}

static void fast_stop(void **state)
{
	struct load *l = load_start(false);
	long from = e2e_now_ms();

	(void)state;
	operator_holds(l);
	pg_shutdown(l->primary);
	load_end(l, "fast stop, promote", l->standby, promote(l, from), POOL, BUSY_MS);
}

static void kill_all(void **state)
{
	struct load *l = load_start(false);
	long from = e2e_now_ms();

	(void)state;
	pg_kill(l->primary);
	operator_holds(l);
	load_end(l, "kill -9 of all processes, promote", l->standby, promote(l, from), POOL, BUSY_MS);
}

static void stop_all(void **state)
{
	struct load *l = load_start(false);
	long from = e2e_now_ms();

	(void)state;
	pg_signal(l->primary, SIGSTOP);
	operator_holds(l);
	if (l->peer) /* or who is inside waits for ever */
		pg_kill(l->primary);
	load_end(l, "SIGSTOP of all processes, promote", l->standby, promote(l, from), POOL, FOUND_OUT_MS + BUSY_MS);
}

/* Its connections go on, and nobody gets another one. */
static void stop_postmaster(void **state)
{
	struct load *l = load_start(false);
	long from = e2e_now_ms();

	(void)state;
	kill(pg_pid(l->primary), SIGSTOP);
	operator_holds(l);
	if (l->peer)
		pg_kill(l->primary);
	load_end(l, "SIGSTOP of the postmaster, promote", l->standby, promote(l, from), POOL,
		LOGIN_PROBED_MS + BUSY_MS);
}

static void restart_in_place(void **state)
{
	struct load *l = load_start(false);
	long from = e2e_now_ms(), took;

	(void)state;
	operator_holds(l);
	pg_restart(l->primary);
	took = e2e_now_ms() - from;
	operator_moves(l, l->primary);
	load_end(l, "restart of the primary in place", l->primary, took, POOL, BUSY_MS);
}

/* What the old primary gets after its return: nothing. */
static void old_one_returns(void **state)
{
	struct load *l = load_start(false);
	long from = e2e_now_ms(), took;
	char *rows;
	int since;

	(void)state;
	operator_holds(l);
	pg_shutdown(l->primary);
	took = promote(l, from);
	pg_restart(l->primary);
	rows = pg_value(l->primary, "select count(*) from rows");
	since = l->done;
	WAIT_UNTIL(has_done_more(l, since));
	assert_string_equal(pg_value(l->primary, "select count(*) from rows"), rows);
	load_end(l, "the old primary comes back", l->standby, took, POOL, BUSY_MS);
}

/* ---- one after the other, by chance ------------------------------------------------------- */

static unsigned pick(uint64_t *seed, unsigned n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned)((*seed >> 11) % n);
}

/* The standby has become the primary: it gets a new standby, and the file names these two. The old one is gone. */
static void next_pair(struct load *l)
{
	struct pg *old = l->primary;
	struct proxy *to_old = l->to_primary;

	l->primary = l->standby;
	l->to_primary = l->to_standby;
	l->standby = pg_start_standby(l->primary);
	l->to_standby = proxy_start(pg_port(l->standby));
	set_synchronous(l->primary);
	load_configure(l, false);
	proxy_stop(to_old);
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
	{"it is restarted", restarts, false},
	{"all its processes pause for 0.3 s", pauses, false},
	{"the network pauses for 0.3 s", has_a_gap, false},
	{"the network is slow for 1 s", is_slow, false},
	{"its connections are reset", is_reset, false},
	{"its backends are terminated", terminates, false},
};

static void chaos_step(struct load *l, uint64_t *seed)
{
	const struct event *e = &events[pick(seed, sizeof(events) / sizeof(*events))];

	print_message("# %s\n", e->text);
	e->run(l);
	if (!e->is_the_end)
		return;
	pg_promote(l->standby);
	pg_kill(l->primary); /* what hangs has to go, too */
	next_pair(l);
}

/* PSB_TEST_PROMISE_SECONDS (60) of it; PSB_TEST_SEED makes the same again. */
static void chaos(void **state)
{
	const char *seconds = getenv("PSB_TEST_PROMISE_SECONDS"), *env = getenv("PSB_TEST_SEED");
	int length = seconds ? atoi(seconds) : 60, n = 0;
	uint64_t seed = env ? strtoull(env, NULL, 10) : (uint64_t)now_us();
	struct load *l;
	int64_t until;

	(void)state;
	if (getenv("PSB_TEST_PEER"))
		skip(); /* its clients would not be where they were */
	l = load_start(true);
	until = e2e_now_ms() + 1000 * length;
	alarm((unsigned)length + (e2e_sanitized() ? 200 : 100));
	print_message("# seed %llu\n", (unsigned long long)seed);
	for (; e2e_now_ms() < until; n++) {
		int since = l->done;

		chaos_step(l, &seed);
		WAIT_UNTIL(has_done_more(l, since));
	}
	load_end(l, e2e_text("%d events by chance", n), l->primary, 0, n * 2 * POOL, LOGIN_PROBED_MS + BUSY_MS);
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
	return cmocka_run_group_tests(tests, NULL, NULL);
}
