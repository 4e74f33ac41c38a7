/*
 * e2e: what a test against a real PostgreSQL needs. A program that links it
 * gets a temporary folder of mode 0755, throwaway servers (initdb, own ports,
 * TLS, users of every kind, streaming standbys), psbouncer started over a
 * given ini text, and libpq in few words. Any number of such programs run side
 * by side. As root, PostgreSQL and psbouncer run as the user postgres (else
 * nobody), from copies in that folder, since the tree may not be readable.
 *
 * Everything is torn down, also when a test fails, crashes or is killed: a
 * reaper process that outlives the program ends each child by its pid and
 * removes the folder.
 *
 * A program:
 *
 *	static void one_row(void **state)
 *	{
 *		struct bouncer *b = bouncer_start(&(struct bouncer_options){.databases = "app = port={pg} dbname=postgres"});
 *		PGconn *c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
 *
 *		assert_string_equal(db_value(c, "select 1"), "1");
 *	}
 *
 *	int main(void)
 *	{
 *		const struct CMUnitTest tests[] = {e2e_test(one_row)};
 *
 *		e2e_init();
 *		return cmocka_run_group_tests(tests, NULL, NULL);
 *	}
 *
 * What fails calls fail_msg(). Texts that are returned live until the end of
 * the test. Nothing here sleeps: WAIT_UNTIL() polls a condition.
 */
#ifndef PSBOUNCER_TEST_E2E_H
#define PSBOUNCER_TEST_E2E_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <libpq-fe.h>
#include <cmocka.h>

/* ---- the program, its folder, its children ---- */

/* First thing in main(): the folder, the reaper, the signals. */
void e2e_init(void);

/*
 * A case of a cmocka table. After it the connections and poolers that the test
 * left are closed and stopped (shared servers stay), and if it failed the end
 * of each pooler's log is printed. A test that lasts longer than 120 s ends the
 * program with the logs.
 */
struct e2e_case {
	void (*run)(void **state);
};
void e2e_run(void **state);
int e2e_teardown(void **state);
/* clang-format off */
#define e2e_test(f) {#f, e2e_run, NULL, e2e_teardown, &(struct e2e_case){f}}
/* clang-format on */

/* The temporary folder; the unprivileged user that children run as. */
const char *e2e_dir(void);
const char *e2e_user(void);

/* printf into memory that lives until the end of the test. */
char *e2e_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A file below the folder (name without '/'), owned by the unprivileged user; returns its path. */
const char *e2e_file(const char *name, mode_t mode, const char *content);
/* A whole file, "" when there is none. */
char *e2e_read(const char *path);
/* A TCP port on 127.0.0.1 that nobody else gets while this program lives. */
int e2e_port(void);
/* Are these sanitizer builds? Then times mean nothing. */
bool e2e_sanitized(void);

/*
 * Starts argv as the unprivileged user; standard output and error go to the
 * file log. The reaper ends it with `signal`, and 5 s later with SIGKILL.
 * env: further "NAME=value" strings, or NULL.
 */
pid_t e2e_spawn(const char *const argv[], const char *const env[], const char *log, int signal);
/* Waits for a child of e2e_spawn(); gives its wait status. Fails when it has not ended in time. */
int e2e_wait(pid_t pid, int timeout_ms);
/* Has it ended? Then its wait status is in *status, and the pid is no more. */
bool e2e_ended(pid_t pid, int *status);
/* Starts argv and waits 60 s at most; fails with its output unless it ends with 0. Returns its output. */
const char *e2e_command(const char *const argv[]);

/* Polls until expr is true; fails after 30 s (60 under sanitizers), naming it. */
#define WAIT_UNTIL(expr)                                                             \
	do {                                                                         \
		int64_t e2e_end_ = e2e_now_ms() + (e2e_sanitized() ? 60000 : 30000); \
		while (!(expr)) {                                                    \
			if (e2e_now_ms() > e2e_end_)                                 \
				fail_msg("waited too long for: %s", #expr);          \
			e2e_pause();                                                 \
		}                                                                    \
	} while (0)
int64_t e2e_now_ms(void); /* monotonic */
void e2e_pause(void);	  /* one poll interval, 5 ms; for WAIT_UNTIL() and loops that look at a condition */

/* ---- certificates ---- */

/*
 * The folder of {tls}: ca.crt, server.crt and server.key (CN localhost, SAN
 * localhost and 127.0.0.1) of that CA, other-ca.crt of another. Made at the
 * first call.
 */
const char *tls_dir(void);
/*
 * NAME.crt and NAME.key signed by our CA (or the other one). cn: its common
 * name; san: as openssl writes it, "DNS:x,IP:y", or NULL; days may be -1:
 * already expired. Returns the path of NAME.crt.
 */
const char *tls_issue(const char *name, const char *cn, const char *san, int days, bool other_ca);

/* ---- PostgreSQL ---- */

struct pg; /* a server; lives until pg_stop() or the end of the program */

struct pg_options {
	bool tls;	     /* ssl=on with server.crt, client certificates of our CA are taken */
	const char *hba;     /* the whole of pg_hba.conf; NULL: see pg_shared() */
	const char *conf;    /* further lines of postgresql.conf */
	const char *version; /* "18": the newest PostgreSQL for the tests, see pg_has(); NULL: the installed one */
};

/*
 * The server that all tests of a program share, with TLS. Superuser postgres
 * (trust). The users app_trust, app_plain, app_md5, app_scram, app_cert exist,
 * each let in from 127.0.0.1 by the method of its name (plain: password, and
 * its secret is SCRAM), with the password e2e_password(user). app_cert comes
 * with TLS and its certificate, tls_issue("app_cert", "app_cert", ...).
 * Everybody is trusted on the unix socket. All may create in the database
 * postgres. psbouncer's default auth_file holds them with plain passwords.
 */
struct pg *pg_shared(void);
const char *e2e_password(const char *user);
/* Is PostgreSQL "18" there (PSB_TEST_PG18BIN names its bin folder)? */
bool pg_has(const char *version);

/* Another one, with the same users and hba. NULL: the defaults. */
struct pg *pg_start(const struct pg_options *o);
/* A streaming standby by pg_basebackup, hot; returns when it streams. */
struct pg *pg_start_standby(struct pg *primary);
/* Stops it and removes its folder (teardown does it too at the end of the program). */
void pg_stop(struct pg *p);
/* SIGQUIT: connections break without a word. pg_restart() brings it back on the same port. */
void pg_crash(struct pg *p);
/* A fast stop; pg_restart() brings it back. */
void pg_shutdown(struct pg *p);
/* It lets nobody in any more, and ends when all have left; pg_await_end() waits for that. */
void pg_smart_stop(struct pg *p);
void pg_await_end(struct pg *p);
/* kill -9 of all its processes at once. */
void pg_kill(struct pg *p);
/* SIGSTOP or SIGCONT to all its processes. */
void pg_signal(struct pg *p, int sig);
void pg_restart(struct pg *p);
void pg_promote(struct pg *p);

int pg_port(const struct pg *p);
const char *pg_socket_dir(const struct pg *p);
const char *pg_log(const struct pg *p);
pid_t pg_pid(const struct pg *p);
/* The path of a program of its PostgreSQL, as pgbench. */
const char *pg_program(const struct pg *p, const char *name);
/* As the superuser, in the database postgres: the first value of the last result, "" when there is none. */
char *pg_value(struct pg *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Makes a user with the password e2e_password(name), stored as "md5" or "scram-sha-256"; returns its rolpassword. */
char *pg_add_user(struct pg *p, const char *name, const char *encryption);
/* A connection past psbouncer: "host=... port=... dbname=postgres user=postgres". */
const char *pg_dsn(const struct pg *p);

/* ---- a network that can fail ---- */

struct proxy; /* copies bytes between its port and a server's on 127.0.0.1; lives until proxy_stop() or the end of the test */

enum proxy_mode {
	PROXY_PASSES,
	PROXY_SLOW, /* each step takes 20 ms */
	PROXY_CUT,  /* nothing goes through and nobody is told; who connects is not answered */
};

struct proxy *proxy_start(int port);
int proxy_port(const struct proxy *x);
void proxy_set(struct proxy *x, enum proxy_mode mode);
/* Who connects from now on comes to that port; the connections that there are stay where they are. */
void proxy_move(struct proxy *x, int port);
/* Resets the connections that there are. */
void proxy_reset(struct proxy *x);
void proxy_stop(struct proxy *x);

/* ---- psbouncer ---- */

struct bouncer; /* one process; stopped by bouncer_stop() or at the end of the test */

/*
 * The texts are lines of the ini file. In all of them {pg} is the shared
 * server's port, {pgdir} its socket folder, {port} the port of this pooler,
 * {dir} its folder (also its unix_socket_dir), {tls} the folder of
 * certificates, {user} the unprivileged user.
 *
 * [pgbouncer] gets listen_addr=127.0.0.1, listen_port, unix_socket_dir,
 * defer_begin=0, auth_type=scram-sha-256, auth_file, admin_users=admin, stats_users=stats,
 * pool_mode=transaction, as far as `settings` does not name them.
 */
struct bouncer_options {
	const char *databases; /* NULL: app = host=127.0.0.1 port={pg} dbname=postgres */
	const char *settings;
	const char *users;	 /* lines of [users] */
	const char *ini;	 /* the whole file instead of the three above */
	const char *auth;	 /* content of {dir}/users.txt; NULL: the users of pg_shared(), admin and stats */
	const char *program;	 /* another pooler that takes the same files; NULL: psbouncer */
	const char *const *args; /* further arguments, before the file */
	const char *const *env;	 /* further "NAME=value" */
	unsigned nofile;	 /* soft and hard RLIMIT_NOFILE, 0: as it is */
	bool may_fail;		 /* do not wait for it to listen: bouncer_wait_exit() follows */
};

/* Starts it and waits until it listens. o may be NULL. */
struct bouncer *bouncer_start(const struct bouncer_options *o);
/* Writes its files anew; then bouncer_signal(b, SIGHUP) or RELOAD. */
void bouncer_rewrite(struct bouncer *b, const struct bouncer_options *o);
/* SIGQUIT; it must end with 0 and without a word of a sanitizer. */
void bouncer_stop(struct bouncer *b);
void bouncer_signal(struct bouncer *b, int sig);
bool bouncer_running(struct bouncer *b);
/* Waits until it has ended of itself; gives the exit status, -N when signal N killed it. */
int bouncer_wait_exit(struct bouncer *b);

int bouncer_port(const struct bouncer *b);
pid_t bouncer_pid(const struct bouncer *b);
const char *bouncer_dir(const struct bouncer *b);
/* "host=127.0.0.1 port=N": more is appended by the test. */
const char *bouncer_dsn(const struct bouncer *b);
/* All that it has logged (its standard error). */
char *bouncer_log(struct bouncer *b);
bool bouncer_logged(struct bouncer *b, const char *text);

/* The console as admin, one connection kept for the test. bouncer_command() fails on an error. */
PGconn *bouncer_console(struct bouncer *b);
PGresult *bouncer_show(struct bouncer *b, const char *command);
void bouncer_command(struct bouncer *b, const char *command);
/*
 * The value of column `want` in the first row of SHOW table where column `key`
 * is `value` (key NULL: the first row); "" when there is no such row. For LISTS:
 * bouncer_value(b, "LISTS", "list", "used_servers", "items").
 */
char *bouncer_value(struct bouncer *b, const char *table, const char *key, const char *value, const char *want);
/* The same as a number, -1 when there is no such row. */
long bouncer_number(struct bouncer *b, const char *table, const char *key, const char *value, const char *want);

/* ---- libpq ---- */

/* Connects (connect_timeout 30, and the password of the user= in it); fails unless it works. Closed after the test. */
PGconn *db_connect(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, but the connection may be bad: PQerrorMessage() tells. */
PGconn *db_try(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Must not get in: its SQLSTATE, "-" when it was told none; db_error_text() has the text. */
const char *db_refused(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Closes one before the end of the test. */
void db_close(PGconn *c);
/* Runs it (simple protocol); fails on an error. The first value of the last result, "" when there is none. */
char *db_value(PGconn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same through Parse, Bind, Execute without parameters. */
char *db_value_ext(PGconn *c, const char *sql);
/* Must fail (or a statement of it): the SQLSTATE of the first error, "-" when the connection broke without one. */
const char *db_error(PGconn *c, const char *sql);
/* The primary text of the last error, as db_error() or db_refused() saw it. */
const char *db_error_text(PGconn *c);
/* The next result of an asynchronous command, after a wait of at most 30 s; cleared after the test. NULL: none left. */
PGresult *db_result(PGconn *c);
/* Marks a result to be cleared after the test. */
PGresult *db_keep(PGresult *r);

/* ---- bytes ---- */

/* A TCP connection to 127.0.0.1:port, or to a unix socket when path is not NULL; closed after the test. */
int raw_connect(int port, const char *path);
/* All n bytes. False when the peer has closed. */
bool raw_send(int fd, const void *p, size_t n);
/* A startup packet of protocol 3.0: pairs name, value, ..., NULL. */
bool raw_startup(int fd, const char *first, ...) __attribute__((sentinel));
/* A message: type and payload. */
bool raw_message(int fd, char type, const void *payload, size_t n);
/* The next message within 30 s: its type, or 0 when the peer has closed; the payload (NUL added) in *payload. */
char raw_read(int fd, char **payload, size_t *n);
/* Field `which` of an ErrorResponse's payload, "" when it has none. */
const char *raw_field(const char *payload, size_t n, char which);
/* Within 30 s: does the peer close without sending more than n bytes? */
bool raw_closed(int fd, size_t n);
void raw_close(int fd);

#endif
