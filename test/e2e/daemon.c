/*
 * daemon: the life of the process: its command line, signals, files, sockets,
 * what it tells the service manager and the log.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lib/e2e.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- in few words ---- */

static PGconn *client(struct bouncer *b)
{
	return db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
}

static const char *ini_of(struct bouncer *b)
{
	return e2e_text("%s/psbouncer.ini", bouncer_dir(b));
}

static const char *in_folder(struct bouncer *b, const char *name)
{
	return e2e_text("%s/%s", bouncer_dir(b), name);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* Ends with a status and what it has printed by then. */
static const char *ends_with(int status, const struct bouncer_options *o)
{
	struct bouncer_options with = *o;
	struct bouncer *b;

	with.may_fail = true;
	b = bouncer_start(&with);
	assert_int_equal(bouncer_wait_exit(b), status);
	return bouncer_log(b);
}

/* Its files and a port, and the program copied; nothing runs. */
static struct bouncer *only_files(const struct bouncer_options *o)
{
	struct bouncer_options with = *o;
	struct bouncer *b;

	with.may_fail = true;
	with.args = ARGS("-V");
	b = bouncer_start(&with);
	assert_int_equal(bouncer_wait_exit(b), 0);
	return b;
}

static const char *program(void)
{
	const char *path = e2e_text("%s/psbouncer", e2e_dir());

	if (!exists(path))
		only_files(&(struct bouncer_options){.databases = "app = port=1"});
	return path;
}

/* A script of the shell, run by the user of the poolers; ends with status, and prints what is returned. */
static const char *script(int status, const char *text)
{
	static unsigned number;
	const char *log = e2e_text("%s/script-%u", e2e_dir(), ++number);
	int got = e2e_wait(e2e_spawn(ARGS("bash", "-c", text), NULL, log, SIGKILL), 60000);
	const char *out = e2e_read(log);

	if (!WIFEXITED(got) || WEXITSTATUS(got) != status)
		fail_msg("%s: ended with %x:\n%s", text, (unsigned)got, out);
	return out;
}

static void contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void contains_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" is in:\n%s", part, text);
}

static size_t count_of(const char *text, const char *part)
{
	size_t n = 0;

	while ((text = strstr(text, part))) {
		n++;
		text += strlen(part);
	}
	return n;
}

static bool matches(const char *line, const char *pattern)
{
	regex_t re;
	bool ok;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE), 0);
	ok = regexec(&re, line, 0, NULL, 0) == 0;
	regfree(&re);
	return ok;
}

static const char any_server[] = "app = host=127.0.0.1 port=1 dbname=postgres";

/* ---- the command line ---- */

static void version_and_help(void **state)
{
	const char *out = script(0, e2e_text("%s -V", program())), *first;
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.databases = any_server});

	(void)state;
	assert_true(matches(out, "^PgBouncer 1\\.25\\.2 compatible \\(psbouncer [0-9]+\\.[0-9]+\\.[0-9]+\\)$"));
	assert_true(matches(out, "^libevent [0-9]"));
	assert_true(matches(out, "^tls: OpenSSL [0-9]"));
	first = e2e_text("%.*s", (int)strcspn(out, "\n"), out);
	assert_string_equal(bouncer_value(b, "VERSION", NULL, NULL, "version"), first);
	assert_string_equal(script(0, e2e_text("%s --version nothing.ini", program())), out);
	out = script(0, e2e_text("%s -h", program()));
	contains(out, "--daemon");
	contains(out, "--make-secret");
	assert_string_equal(script(0, e2e_text("%s --help 2>/dev/null", program())), out);
}

static void bad_arguments(void **state)
{
	(void)state;
	contains(script(1, program()), "a configuration file is wanted");
	script(1, e2e_text("%s a.ini b.ini", program()));
	contains(script(1, e2e_text("%s --frob", program())), "--help");
	script(1, e2e_text("%s -u", program()));
	contains(script(1, e2e_text("%s -x frob", program())), "-x wants");
	contains(script(1, e2e_text("%s -R x.ini", program())), "-R");
	contains(script(1, e2e_text("%s /nowhere/at/all.ini", program())), "/nowhere/at/all.ini");
	contains(script(1, e2e_text("%s -t /nowhere/at/all.ini", program())), "/nowhere/at/all.ini");
	contains(ends_with(1, &(struct bouncer_options){.databases = any_server, .args = ARGS("-u", "no_such_user")}),
		"user no_such_user does not exist");
	contains(ends_with(1, &(struct bouncer_options){.databases = any_server, .args = ARGS("-u", "root")}),
		"cannot become user root: not started as root");
	contains(ends_with(1, &(struct bouncer_options){.databases = any_server, .args = ARGS("-d")}),
		"-d needs pidfile");
}

static void a_good_file_is_checked(void **state)
{
	struct bouncer *b = only_files(&(struct bouncer_options){
		.databases = any_server, .settings = "logfile = {dir}/new.log\nquery_timeout = 3"});
	const char *out = script(0, e2e_text("%s -t %s", program(), ini_of(b)));

	(void)state;
	assert_string_equal(out, e2e_text("%s: no errors\n", ini_of(b)));
	assert_string_equal(script(0, e2e_text("%s -q -t %s", program(), ini_of(b))), "");
	/* Nothing is made by it. */
	assert_false(exists(in_folder(b, "new.log")));
	assert_false(exists(e2e_text("%s/.s.PGSQL.%d", bouncer_dir(b), bouncer_port(b))));
	out = script(0, e2e_text("%s -v -t %s", program(), ini_of(b)));
	assert_true(matches(out, "query_timeout.*psbouncer\\.ini:[0-9]+"));
	assert_true(matches(out, "query_wait_timeout.*default"));
	contains_not(out, "pw of");
}

static void all_errors_of_a_bad_file_are_told(void **state)
{
	struct bouncer *b = only_files(&(struct bouncer_options){.ini = "[databases]\n"
									"app = host=127.0.0.1 frob=1\n"
									"pgbouncer = host=127.0.0.1\n"
									"[pgbouncer]\n"
									"query_timeuot = 1\n"
									"pool_mode = best\n"
									"what is this\n"
									"listen_port = 70000\n"
									"[nonsense]\n"
									"[users]\n"
									"someone = pool_size=many\n"});
	static const int lines[] = {2, 3, 5, 6, 7, 8, 9, 11};
	const char *out = script(1, e2e_text("%s -t %s", program(), ini_of(b)));

	(void)state;
	for (size_t i = 0; i < LENGTH(lines); i++)
		assert_true(matches(out, e2e_text("^%s:%d: .", ini_of(b), lines[i])));
	contains(out, "query_timeout"); /* what was probably meant */
	/* The same faults end the program at its start. */
	out = script(1, e2e_text("%s %s", program(), ini_of(b)));
	for (size_t i = 0; i < LENGTH(lines); i++)
		contains(out, e2e_text("ERROR %s:%d: ", ini_of(b), lines[i]));
	contains(out, "FATAL ");
}

static void faults_of_other_files_are_told_too(void **state)
{
	struct bouncer *b = only_files(&(struct bouncer_options){
		.databases = any_server, .auth = "\"a\" \"b\"\n; a remark\nno quotes here\n"});
	const char *out = script(1, e2e_text("%s -t %s", program(), ini_of(b)));

	(void)state;
	contains(out, e2e_text("%s/users.txt:3: ", bouncer_dir(b)));
	b = only_files(&(struct bouncer_options){.databases = any_server,
		.settings = "client_tls_sslmode = require\nclient_tls_key_file = {dir}/none.key\n"
			    "client_tls_cert_file = {dir}/none.crt"});
	out = script(1, e2e_text("%s -t %s", program(), ini_of(b)));
	contains(out, "client_tls_key_file cannot be read: No such file or directory");
	contains(out, "client_tls_cert_file cannot be read: No such file or directory");
	b = only_files(&(struct bouncer_options){.databases = any_server, .settings = "auth_file = {dir}/nobody.txt"});
	contains(script(1, e2e_text("%s -t %s", program(), ini_of(b))), "nobody.txt");
	b = only_files(&(struct bouncer_options){.databases = any_server, .settings = "logfile = /nowhere/at/all.log"});
	contains(script(1, e2e_text("%s -t %s", program(), ini_of(b))),
		"logfile cannot be written: No such file or directory");
	contains(script(1, e2e_text("%s %s", program(), ini_of(b))),
		"logfile cannot be written: No such file or directory");
	b = only_files(&(struct bouncer_options){.databases = "%include {dir}/more.ini"});
	script(0, e2e_text("printf 'app = host=h\\nother = pool_size=x\\n' >%s/more.ini", bouncer_dir(b)));
	contains(script(1, e2e_text("%s -t %s", program(), ini_of(b))), e2e_text("%s/more.ini:2: ", bouncer_dir(b)));
}

static void secrets_are_made(void **state)
{
	const char *user = "app_scram", *line, *crooked;
	struct bouncer *b;

	(void)state;
	line = script(0, e2e_text("printf '%%s\\n' 'a new password' | %s --make-secret %s", program(), user));
	assert_true(matches(line,
		"^\"app_scram\" \"SCRAM-SHA-256\\$4096:[A-Za-z0-9+/=]+\\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+\"$"));
	/* Another salt each time. */
	assert_string_not_equal(line,
		script(0, e2e_text("printf '%%s\\n' 'a new password' | %s --make-secret=%s", program(), user)));
	crooked = script(0, e2e_text("printf 'x' | %s --make-secret 'a\"b'", program()));
	contains(crooked, "\"a\"\"b\" \"SCRAM-SHA-256$");
	script(1, e2e_text("%s --make-secret %s", program(), user));
	contains(script(1, e2e_text("echo | %s --make-secret %s", program(), user)), "empty password");
	contains(script(1, e2e_text("echo x | %s --make-secret ''", program())), "user name");
	b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host={pgdir} port={pg} dbname=postgres", .auth = e2e_text("%s%s", line, crooked)});
	assert_string_equal(db_value(db_connect("%s dbname=app user=app_scram password='a new password'",
					     bouncer_dsn(b)),
				    "select current_user"),
		"app_scram");
	assert_string_equal(db_refused("%s dbname=app user=app_scram", bouncer_dsn(b)), "28P01");
	assert_string_equal(db_refused("%s dbname=nowhere user='a\"b' password=x", bouncer_dsn(b)), "3D000");
}

/* ---- in the background ---- */

/*
 * Ends the process that a pidfile names when this program ends, however it does: who goes into the background is nobody's
 * child.
 */
static pid_t guard(const char *pidfile)
{
	const char *text = e2e_text("trap 'test -s %s && kill -QUIT $(cat %s); kill $!; exit 0' TERM; sleep 600 & wait",
		pidfile, pidfile);

	return e2e_spawn(ARGS("bash", "-c", text), NULL, "/dev/null", SIGTERM);
}

static void end_guard(pid_t pid)
{
	kill(pid, SIGTERM);
	e2e_wait(pid, 10000);
}

/* A file of /proc, whose size is told as 0. */
static const char *read_proc(pid_t pid, const char *name)
{
	char text[4096];
	FILE *f = fopen(e2e_text("/proc/%d/%s", (int)pid, name), "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = '\0';
	return e2e_text("%s", text);
}

static bool process_lives(pid_t pid)
{
	const char *text = read_proc(pid, "status");

	return *text && !strstr(text, "State:\tZ");
}

static void in_the_background(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.args = ARGS("-d"), .settings = "pidfile = {dir}/pid\nlogfile = {dir}/file.log", .may_fail = true});
	const char *pidfile = in_folder(b, "pid"), *log;
	pid_t guards = guard(pidfile), starter = bouncer_pid(b), pid;
	char target[64] = "";
	PGconn *c;

	(void)state;
	/* Whoever started it goes on when it listens. */
	assert_int_equal(bouncer_wait_exit(b), 0);
	pid = atoi(e2e_read(pidfile));
	assert_true(pid > 1 && pid != starter);
	assert_true(process_lives(pid));
	assert_int_equal(getsid(pid), pid);
	assert_true(readlink(e2e_text("/proc/%d/fd/2", (int)pid), target, sizeof target - 1) > 0);
	assert_string_equal(target, "/dev/null");
	c = client(b);
	assert_string_equal(db_value(c, "select 'served'"), "served");
	db_close(c);
	log = e2e_read(in_folder(b, "file.log"));
	assert_true(matches(log, e2e_text("\\[%d\\] LOG process up: ", (int)pid)));
	contains(log, "login attempt");
	contains_not(bouncer_log(b), "login attempt");
	assert_int_equal(kill(pid, SIGTERM), 0);
	WAIT_UNTIL(!process_lives(pid));
	assert_false(exists(pidfile));
	end_guard(guards);
}

static void a_start_in_the_background_that_fails(void **state)
{
	struct bouncer *first =
		bouncer_start(&(struct bouncer_options){.databases = any_server, .settings = "unix_socket_dir ="});
	const char *out = ends_with(1,
		&(struct bouncer_options){.args = ARGS("-d"),
			.databases = any_server,
			.settings = e2e_text("pidfile = {dir}/pid\nlisten_port = %d", bouncer_port(first))});

	(void)state;
	contains(out, "cannot listen on 127.0.0.1");
	contains(out, "FATAL cannot start");
}

static void refused_as_root(void **state)
{
	struct bouncer *b;
	const char *pidfile, *status, *uid;
	pid_t pid, guards;
	int end;

	(void)state;
	if (geteuid() != 0)
		skip();
	b = only_files(&(struct bouncer_options){.databases = any_server, .settings = "logfile = {dir}/file.log"});
	pid = fork();
	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stderr);
		execl(program(), program(), ini_of(b), (char *)NULL);
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &end, 0), pid);
	assert_true(WIFEXITED(end) && WEXITSTATUS(end) == 1);
	assert_false(exists(in_folder(b, "file.log")));
	/* With user= it becomes that one before it makes anything. */
	b = only_files(&(struct bouncer_options){
		.settings = "user = {user}\npidfile = {dir}/pid\nlogfile = {dir}/file.log"});
	pidfile = in_folder(b, "pid");
	guards = guard(pidfile);
	pid = fork();
	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stderr);
		execl(program(), program(), "-d", ini_of(b), (char *)NULL);
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &end, 0), pid);
	assert_true(WIFEXITED(end) && WEXITSTATUS(end) == 0);
	pid = atoi(e2e_read(pidfile));
	status = read_proc(pid, "status");
	uid = script(0, "id -u");
	uid = e2e_text("%.*s", (int)strcspn(uid, "\n"), uid);
	contains(status, e2e_text("Uid:\t%s\t%s\t%s\t%s\n", uid, uid, uid, uid));
	db_value(client(b), "select 1");
	end_guard(guards);
	WAIT_UNTIL(!process_lives(pid));
}

static void a_second_one_is_refused(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "pidfile = {dir}/pid"});
	const char *out = script(1, e2e_text("%s %s", program(), ini_of(b)));
	const char *other;

	(void)state;
	contains(out, "unix socket is in use, cannot continue");
	/* Where the socket does not tell, the pidfile does. */
	other = e2e_text("[databases]\n%s\n[pgbouncer]\npidfile = %s/pid\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"
			 "unix_socket_dir =\n",
		any_server, bouncer_dir(b), e2e_port());
	out = script(1, e2e_text("%s %s", program(), e2e_file("second.ini", 0644, other)));
	assert_true(matches(out, e2e_text("pidfile .* is held by .* %d$", (int)bouncer_pid(b))));
	assert_int_equal(atoi(e2e_read(in_folder(b, "pid"))), bouncer_pid(b));
	db_value(client(b), "select 1");
}

static void what_a_dead_one_left_is_taken_over(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "pidfile = {dir}/pid"});
	const char *socket = e2e_text("%s/.s.PGSQL.%d", bouncer_dir(b), bouncer_port(b)),
		   *pidfile = in_folder(b, "pid");
	const char *log = in_folder(b, "second.log");
	pid_t pid, dead = bouncer_pid(b);

	(void)state;
	bouncer_signal(b, SIGKILL);
	assert_int_equal(bouncer_wait_exit(b), -SIGKILL);
	assert_true(exists(socket));
	assert_int_equal(atoi(e2e_read(pidfile)), dead);
	pid = e2e_spawn(ARGS(program(), ini_of(b)), NULL, log, SIGQUIT);
	WAIT_UNTIL(strstr(e2e_read(log), "process up"));
	contains(e2e_read(log), e2e_text("was left behind by process %d", (int)dead));
	assert_int_equal(atoi(e2e_read(pidfile)), pid);
	db_value(client(b), "select 1");
	kill(pid, SIGQUIT);
	assert_int_equal(e2e_wait(pid, 30000), 0);
	assert_false(exists(pidfile));
	assert_false(exists(socket));
}

/* ---- signals ---- */

static void hup_reloads(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "query_timeout = 5"});
	PGconn *c = client(b);

	(void)state;
	bouncer_rewrite(b, &(struct bouncer_options){.settings = "query_timeout = 6"});
	bouncer_signal(b, SIGHUP);
	WAIT_UNTIL(bouncer_number(b, "CONFIG", "key", "query_timeout", "value") == 6);
	WAIT_UNTIL(bouncer_logged(b, "LOG SIGHUP: reloading"));
	bouncer_rewrite(b, &(struct bouncer_options){.settings = "query_timeout = 7\nfrob = 1"});
	bouncer_signal(b, SIGHUP);
	WAIT_UNTIL(bouncer_logged(b, "RELOAD failed"));
	WAIT_UNTIL(bouncer_logged(b, "psbouncer.ini:"));
	assert_int_equal(bouncer_number(b, "CONFIG", "key", "query_timeout", "value"), 6);
	db_value(c, "select 1");
}

static void usr1_pauses_and_usr2_resumes(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b);

	(void)state;
	db_value(c, "begin");
	bouncer_signal(b, SIGUSR1);
	WAIT_UNTIL(strcmp(bouncer_value(b, "STATE", "key", "paused", "value"), "yes") == 0);
	db_value(c, "commit");
	WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "used_servers", "items") == 0);
	PQsendQuery(c, "select 'later'");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	bouncer_signal(b, SIGUSR1); /* it is already */
	WAIT_UNTIL(bouncer_logged(b, "WARNING already suspended/paused"));
	bouncer_signal(b, SIGUSR2);
	assert_string_equal(PQgetvalue(db_result(c), 0, 0), "later");
	assert_null(db_result(c));
	bouncer_signal(b, SIGUSR2);
	WAIT_UNTIL(bouncer_logged(b, "WARNING pooler is not paused/suspended"));
	db_value(c, "select 1");
}

static void quit_ends_at_once(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b);

	(void)state;
	db_value(c, "begin");
	bouncer_signal(b, SIGQUIT);
	assert_int_equal(bouncer_wait_exit(b), 0);
	assert_string_equal(db_error(c, "select 1"), "57P01");
	WAIT_UNTIL(bouncer_logged(b, "SIGQUIT: shutting down at once"));
}

static void term_waits_for_clients(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b);

	(void)state;
	bouncer_signal(b, SIGTERM);
	WAIT_UNTIL(raw_connect(bouncer_port(b), NULL) < 0);
	db_value(c, "begin");
	db_value(c, "commit");
	assert_true(bouncer_running(b));
	bouncer_signal(b, SIGUSR1); /* of no effect on the end */
	bouncer_signal(b, SIGUSR2);
	WAIT_UNTIL(bouncer_logged(b, "SIGUSR2"));
	db_close(c);
	assert_int_equal(bouncer_wait_exit(b), 0);
}

static void int_waits_for_servers(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b), *idle = client(b);

	(void)state;
	db_value(c, "begin");
	bouncer_signal(b, SIGINT);
	WAIT_UNTIL(raw_connect(bouncer_port(b), NULL) < 0);
	db_value(c, "select 1");
	assert_string_equal(db_error(idle, "select 1"), "57P01");
	assert_string_equal(db_error_text(idle), "server shutting down");
	assert_true(bouncer_running(b));
	db_value(c, "commit");
	assert_int_equal(bouncer_wait_exit(b), 0);
}

static void int_does_not_wait_for_monitors(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres target_session_attrs=read-write",
			pg_port(pg_shared())),
		.settings = "monitor_user = app_scram",
	});
	PGconn *c = client(b);

	(void)state;
	db_value(c, "begin");
	bouncer_signal(b, SIGINT);
	WAIT_UNTIL(raw_connect(bouncer_port(b), NULL) < 0);
	assert_true(bouncer_running(b));
	db_value(c, "commit");
	assert_int_equal(bouncer_wait_exit(b), 0);
}

static void the_second_signal_is_meant(void **state)
{
	static const int first[] = {SIGTERM, SIGINT, SIGTERM, SIGINT}, second[] = {SIGTERM, SIGINT, SIGINT, SIGQUIT};

	(void)state;
	for (size_t i = 0; i < LENGTH(first); i++) {
		struct bouncer *b = bouncer_start(NULL);
		PGconn *c = client(b);

		db_value(c, "begin");
		bouncer_signal(b, first[i]);
		WAIT_UNTIL(raw_connect(bouncer_port(b), NULL) < 0);
		db_value(c, "select 1");
		bouncer_signal(b, second[i]);
		assert_int_equal(bouncer_wait_exit(b), 0);
		assert_string_equal(db_error(c, "select 1"), "57P01");
		assert_string_equal(db_error_text(c), "pooler is shutting down");
	}
}

/* ---- the log ---- */

static void the_log_file_is_opened_again(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "logfile = {dir}/file.log"});
	const char *file = in_folder(b, "file.log"), *old = in_folder(b, "file.log.1");
	size_t n;

	(void)state;
	db_value(client(b), "select 1");
	contains(e2e_read(file), "process up");
	/* Standard error has the same lines. */
	assert_string_equal(e2e_read(file), bouncer_log(b));
	assert_int_equal(rename(file, old), 0);
	n = count_of(e2e_read(old), "login attempt");
	client(b);
	WAIT_UNTIL(count_of(e2e_read(old), "login attempt") == n + 1);
	assert_false(exists(file));
	bouncer_signal(b, SIGHUP);
	WAIT_UNTIL(exists(file) && strstr(e2e_read(file), "configuration reloaded"));
	n = count_of(e2e_read(old), "login attempt");
	client(b);
	WAIT_UNTIL(strstr(e2e_read(file), "login attempt"));
	assert_int_equal(count_of(e2e_read(old), "login attempt"), n);
	/* Also when the configuration is broken. */
	assert_int_equal(rename(file, old), 0);
	bouncer_rewrite(b, &(struct bouncer_options){.settings = "frob = 1"});
	bouncer_signal(b, SIGHUP);
	WAIT_UNTIL(exists(file));
}

static void quiet_is_quiet(void **state)
{
	struct bouncer *b =
		bouncer_start(&(struct bouncer_options){.args = ARGS("-q"), .settings = "logfile = {dir}/file.log"});

	(void)state;
	db_value(client(b), "select 1");
	contains(e2e_read(in_folder(b, "file.log")), "login attempt");
	assert_string_equal(bouncer_log(b), "");
}

static const char line_form[] = "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} UTC \\[[0-9]+\\] "
				"(FATAL|ERROR|WARNING|LOG|DEBUG|NOISE) .+$";

static void the_form_of_the_log(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b);
	const char *log, *end;

	(void)state;
	db_value(c, "select 1");
	db_close(c);
	WAIT_UNTIL(bouncer_logged(b, "closing because: client close request (age=0 s)"));
	bouncer_show(b, "SHOW VERSION");
	db_refused("%s dbname=app user=app_scram password=no", bouncer_dsn(b));
	log = bouncer_log(b);
	for (const char *line = log; (end = strchr(line, '\n')); line = end + 1)
		if (!matches(e2e_text("%.*s", (int)(end - line), line), line_form))
			fail_msg("a line of another form: %.*s", (int)(end - line), line);
	assert_true(matches(log,
		e2e_text("\\[%d\\] LOG listening on 127\\.0\\.0\\.1:%d$", (int)bouncer_pid(b), bouncer_port(b))));
	assert_true(matches(log,
		" LOG C-0x[0-9a-f]+: app/app_scram@127\\.0\\.0\\.1:[0-9]+ login attempt: db=app user=app_scram "
		"tls=no$"));
	assert_true(matches(log,
		e2e_text(" LOG S-0x[0-9a-f]+: app/app_scram@127\\.0\\.0\\.1:%d new connection to server "
			 "\\(from 127\\.0\\.0\\.1:[0-9]+\\)$",
			pg_port(pg_shared()))));
	assert_true(matches(log, e2e_text(" LOG C-0x[0-9a-f]+: pgbouncer/admin@unix\\(%d\\):%d login attempt: ",
					 (int)getpid(), bouncer_port(b))));
	assert_true(matches(log,
		" LOG C-0x[0-9a-f]+: .* closing because: SASL authentication failed \\(age=[0-9]+ s\\)$"));
	assert_true(matches(log, " WARNING C-0x[0-9a-f]+: .* pooler error: SASL authentication failed$"));
	contains_not(log, " DEBUG ");
}

static void what_is_logged_can_be_chosen(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.settings =
			"log_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 0\nlog_stats = 0\nstats_period = 1"});
	PGconn *c = client(b);

	(void)state;
	db_value(c, "select 1");
	db_close(c);
	db_refused("%s dbname=app user=app_scram password=no", bouncer_dsn(b));
	WAIT_UNTIL(bouncer_number(b, "STATS_AVERAGES", "database", "pgbouncer", "query_count") > 0);
	contains_not(bouncer_log(b), "login attempt");
	contains_not(bouncer_log(b), "closing because");
	contains_not(bouncer_log(b), "new connection");
	contains_not(bouncer_log(b), "pooler error");
	contains_not(bouncer_log(b), "stats:");
}

static void no_secret_is_logged(void **state)
{
	static const char *const secrets[] = {"pw of ", "sesame", "hush", "tops3cret", "SCRAM-SHA-256$", "qwertz"};
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases =
			"app = host=127.0.0.1 port={pg} dbname=postgres connect_query='select ''hush'''\n"
			"forced = host=127.0.0.1 port={pg} dbname=postgres user=app_md5 password='pw of app_md5!'\n"
			"wrong = host=127.0.0.1 port={pg} dbname=postgres user=app_md5 password=sesame",
		.settings = "auth_type = plain\nserver_reset_query = select 'hush'\nserver_reset_query_always = 1",
		.args = ARGS("-v", "-v", "-v")});
	const char *log, *value[] = {"qwertz"};
	PGconn *c = db_connect("%s dbname=app user=app_scram application_name=qwertz", bouncer_dsn(b));

	(void)state;
	db_value(c, "select 'tops3cret'");
	db_error(c, "select 'tops3cret'::int");
	db_error(c, "sel tops3cret");
	PQclear(PQexecParams(c, "select $1::text || 'tops3cret'", 1, NULL, value, NULL, NULL, 0));
	PQclear(PQprepare(c, "tops3cret", "select 1", 0, NULL));
	db_value(c, "set application_name = 'tops3cret'");
	db_value(c, "begin; set local search_path = tops3cret; commit");
	db_value(db_connect("%s dbname=forced user=app_scram", bouncer_dsn(b)), "select 'tops3cret'");
	db_refused("%s dbname=app user=app_scram password=sesame", bouncer_dsn(b));
	assert_string_equal(db_refused("%s dbname=wrong user=app_scram", bouncer_dsn(b)), "28P01");
	bouncer_command(b, "SET server_reset_query = 'tops3cret'");
	db_error(bouncer_console(b), "create user x password 'tops3cret'");
	db_error(bouncer_console(b), "set frob = 'tops3cret'");
	bouncer_rewrite(b, &(struct bouncer_options){.databases = "app = host=127.0.0.1 password=sesame frob=tops3cret",
				   .auth = "\"a\" sesame\n"});
	db_error(bouncer_console(b), "reload");
	db_close(c);
	WAIT_UNTIL(bouncer_logged(b, "client close request"));
	log = bouncer_log(b);
	contains(log, " NOISE ");
	for (size_t i = 0; i < LENGTH(secrets); i++)
		contains_not(log, secrets[i]);
}

static void a_probe_is_not_logged(void **state)
{
	static const char *const levels[] = {NULL, "-v", NULL, "-v"};

	(void)state;
	for (size_t i = 0; i < LENGTH(levels); i++) {
		struct linger reset = {.l_onoff = i >= 2};
		struct bouncer *b = bouncer_start(&(struct bouncer_options){
			.args = levels[i] ? ARGS(levels[i]) : NULL, .settings = "tcp_defer_accept = 0"});
		struct sockaddr_in sin;
		socklen_t len = sizeof sin;
		int fd = raw_connect(bouncer_port(b), NULL);
		const char *from;

		assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
		from = e2e_text("@127.0.0.1:%d ", ntohs(sin.sin_port));
		WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "login_clients", "items") > 0);
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
		raw_close(fd);
		WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "login_clients", "items") == 0);
		if (levels[i])
			assert_true(matches(bouncer_log(b), e2e_text(" DEBUG .*%sconnection closed before its "
								     "first byte",
								    from)));
		else
			contains_not(bouncer_log(b), from);
		/* Half a packet is another matter. */
		fd = raw_connect(bouncer_port(b), NULL);
		raw_send(fd, "\0\0", 2);
		raw_close(fd);
		WAIT_UNTIL(bouncer_logged(b, "LOG C-") && bouncer_logged(b, "client unexpected eof"));
	}
}

static void a_failure_that_repeats_is_one_line(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host=127.0.0.1 port=1 dbname=postgres", .settings = "server_login_retry = 0"});

	(void)state;
	for (int i = 0; i < 10; i++)
		db_refused("%s dbname=app user=app_scram", bouncer_dsn(b));
	assert_int_equal(count_of(bouncer_log(b), "server login failed:"), 1);
}

/* ---- warnings ---- */

static void warnings_at_the_start(void **state)
{
	struct bouncer *b;
	const char *log, *key;

	(void)state;
	b = bouncer_start(&(struct bouncer_options){
		.databases = any_server, .settings = "auth_type = trust\nlisten_addr = *"});
	log = bouncer_log(b);
	assert_int_equal(count_of(log, "WARNING auth_type=trust"), 1);
	b = bouncer_start(&(struct bouncer_options){
		.databases = any_server, .settings = "auth_type = plain\nlisten_addr = 0.0.0.0"});
	contains(bouncer_log(b), "passwords can be read");
	b = bouncer_start(&(struct bouncer_options){.databases = any_server, .settings = "auth_type = trust"});
	contains_not(bouncer_log(b), "WARNING");
	key = e2e_text("%s/open.key", e2e_dir());
	tls_issue("open", "localhost", NULL, 3, false);
	e2e_file("open.key", 0644, e2e_read(e2e_text("%s/open.key", tls_dir())));
	b = bouncer_start(&(struct bouncer_options){.databases = any_server,
		.settings = e2e_text(
			"client_tls_sslmode = allow\nclient_tls_key_file = %s\nclient_tls_cert_file = {tls}/open.crt\n"
			"auth_file = %s",
			key, e2e_file("open-users", 0644, "\"a\" \"b\"\n"))});
	log = bouncer_log(b);
	assert_true(matches(log, "WARNING client_tls_key_file .*/open\\.key is open to every user"));
	assert_true(matches(log, "WARNING auth_file .*/open-users is open to every user"));
	b = bouncer_start(&(struct bouncer_options){
		.databases = any_server, .settings = "max_client_conn = 5000", .nofile = 200});
	assert_true(matches(bouncer_log(b),
		"WARNING max_client_conn and the pools can need 5[0-9]+ descriptors, but the limit "
		"is 200"));
}

/* ---- sockets ---- */

static bool has_ipv6(void)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&sin6, sizeof sin6) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static void listens_on_ipv6(void **state)
{
	struct bouncer *b;

	(void)state;
	if (!has_ipv6())
		skip();
	b = bouncer_start(&(struct bouncer_options){.settings = "listen_addr = ::1, 127.0.0.1"});
	db_value(db_connect("host=::1 port=%d dbname=app user=app_scram application_name=six", bouncer_port(b)),
		"select 1");
	db_value(client(b), "select 1");
	assert_true(matches(bouncer_log(b), "@\\[::1\\]:[0-9]+ login attempt"));
	assert_true(matches(bouncer_log(b), e2e_text("listening on \\[::1\\]:%d$", bouncer_port(b))));
	b = bouncer_start(&(struct bouncer_options){.settings = "listen_addr = *"});
	db_value(db_connect("host=::1 port=%d dbname=app user=app_scram", bouncer_port(b)), "select 1");
	assert_string_equal(bouncer_value(b, "CLIENTS", "database", "app", "addr"), "::1");
}

static void listens_on_all_and_on_names(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "listen_addr = *"});
	const char *out;

	(void)state;
	db_value(db_connect("host=127.0.0.1 port=%d dbname=app user=app_scram", bouncer_port(b)), "select 1");
	db_value(db_connect("host=127.0.0.2 port=%d dbname=app user=app_scram", bouncer_port(b)), "select 1");
	b = bouncer_start(&(struct bouncer_options){.settings = "listen_addr = localhost"});
	db_value(client(b), "select 1");
	assert_string_equal(bouncer_value(b, "CONFIG", "key", "listen_addr", "value"), "localhost");
	out = ends_with(1,
		&(struct bouncer_options){.databases = any_server, .settings = "listen_addr = no.such.name.invalid"});
	contains(out, "cannot resolve \"no.such.name.invalid\"");
	out = ends_with(1,
		&(struct bouncer_options){.databases = any_server, .settings = "listen_addr =\nunix_socket_dir ="});
	contains(out, "nowhere to listen");
}

static void listens_on_a_unix_socket(void **state)
{
	const char *groups = script(0, "id -Gn"), *group;
	struct bouncer *b;
	struct stat st;
	struct group *g;

	(void)state;
	/* The last of the groups that its user has. */
	groups = e2e_text("%.*s", (int)strcspn(groups, "\n"), groups);
	group = strrchr(groups, ' ') ? strrchr(groups, ' ') + 1 : groups;
	b = bouncer_start(&(struct bouncer_options){
		.settings = e2e_text("listen_addr =\nunix_socket_mode = 0750\nunix_socket_group = %s", group)});
	assert_int_equal(stat(e2e_text("%s/.s.PGSQL.%d", bouncer_dir(b), bouncer_port(b)), &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0750);
	g = getgrnam(group);
	assert_non_null(g);
	assert_int_equal(st.st_gid, g->gr_gid);
	assert_int_equal(raw_connect(bouncer_port(b), NULL), -1);
	contains(script(0, e2e_text("PGPASSWORD='%s' psql -XAt -h %s -p %d -U app_scram -d app -c \"select 'served'\"",
				   e2e_password("app_scram"), bouncer_dir(b), bouncer_port(b))),
		"served");
	b = bouncer_start(&(struct bouncer_options){.settings = "unix_socket_dir ="});
	db_value(client(b), "select 1");
	contains(ends_with(1, &(struct bouncer_options){.databases = any_server,
				      .settings = "unix_socket_group = no_such_group_here"}),
		"no_such_group_here");
	contains(ends_with(1, &(struct bouncer_options){.databases = any_server,
				      .settings = "unix_socket_dir = /nowhere/at/all"}),
		"/nowhere/at/all");
	/* One without a name in the file system. */
	b = bouncer_start(&(struct bouncer_options){
		.settings = e2e_text("unix_socket_dir = @psb-%d-%s", (int)getpid(), strrchr(e2e_dir(), '-'))});
	db_value(db_connect("host=@psb-%d-%s port=%d dbname=app user=app_scram", (int)getpid(), strrchr(e2e_dir(), '-'),
			 bouncer_port(b)),
		"select 1");
}

/* ---- the service manager ---- */

static int notify_socket(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 30};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	return fd;
}

/* The next datagram that begins so; others of another kind may come before it only when they are a STATUS. */
static const char *notified(int fd, const char *begin)
{
	char text[2048];
	ssize_t n;

	for (;;) {
		n = recv(fd, text, sizeof text - 1, 0);
		if (n < 0)
			fail_msg("not notified of %s", begin);
		text[n > 0 ? n : 0] = '\0';
		if (strncmp(text, begin, strlen(begin)) == 0)
			return e2e_text("%s", text);
		if (strncmp(text, "STATUS=", 7) != 0)
			fail_msg("notified of \"%s\" instead of %s", text, begin);
	}
}

static void the_service_manager_is_told(void **state)
{
	const char *path = e2e_text("%s/notify", e2e_dir()), *text;
	int fd = notify_socket(path);
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.databases = any_server,
		.settings = "stats_period = 1",
		.env = ARGS(e2e_text("NOTIFY_SOCKET=%s", path))});
	long long reloaded, now;

	(void)state;
	contains(notified(fd, "READY=1"), e2e_text("MAINPID=%d", (int)bouncer_pid(b)));
	contains(notified(fd, "STATUS=stats: "), " xacts/s");
	bouncer_signal(b, SIGHUP);
	text = notified(fd, "RELOADING=1\nMONOTONIC_USEC=");
	reloaded = atoll(strrchr(text, '=') + 1);
	now = (long long)e2e_now_ms() * 1000;
	assert_true(reloaded <= now + 1000 && reloaded > now - 60000000);
	notified(fd, "READY=1");
	/* Told also of a reload that fails: it is over. */
	bouncer_rewrite(b, &(struct bouncer_options){.settings = "frob = 1"});
	assert_string_equal(db_error(bouncer_console(b), "reload"), "F0000");
	notified(fd, "RELOADING=1");
	notified(fd, "READY=1");
	bouncer_signal(b, SIGTERM);
	notified(fd, "STOPPING=1");
	assert_int_equal(bouncer_wait_exit(b), 0);
	close(fd);
}

static void listening_sockets_are_handed_over(void **state)
{
	struct bouncer *b = only_files(&(struct bouncer_options){.settings = "listen_addr = 127.0.0.1"});
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const char *log = in_folder(b, "handed.log");
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM, 0), status; /* inherited */
	pid_t pid;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	pid = e2e_spawn(ARGS("bash", "-c",
				e2e_text("exec 3<&%d; %s LISTEN_FDS=1 LISTEN_PID=$$ exec %s %s", fd,
					fd == 3 ? "" : e2e_text("exec %d<&-;", fd), program(), ini_of(b))),
		NULL, log, SIGQUIT);
	close(fd);
	WAIT_UNTIL(strstr(e2e_read(log), "process up") || e2e_ended(pid, &status));
	db_value(db_connect("host=127.0.0.1 port=%d dbname=app user=app_scram", ntohs(sin.sin_port)), "select 1");
	/* They take the place of its own. */
	contains(e2e_read(log), "WARNING listen_addr is not used: sockets were handed over (LISTEN_FDS)");
	assert_int_equal(raw_connect(bouncer_port(b), NULL), -1);
	assert_false(exists(e2e_text("%s/.s.PGSQL.%d", bouncer_dir(b), bouncer_port(b))));
	kill(pid, SIGQUIT);
	assert_int_equal(e2e_wait(pid, 30000), 0);
}

/* ---- limits, faults ---- */

static int count_descriptors(pid_t pid)
{
	return atoi(e2e_command(ARGS("bash", "-c", e2e_text("ls /proc/%d/fd | wc -l", (int)pid))));
}

static void without_descriptors_clients_wait_outside(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "auth_type = trust"});
	PGconn *inside = client(b);
	int fds[20], n = LENGTH(fds), limit;
	char *payload;
	size_t len;

	(void)state;
	db_value(inside, "select 1");
	bouncer_show(b, "SHOW VERSION");
	/* By the pooler's own user, who may always lower it. */
	limit = count_descriptors(bouncer_pid(b)) + 5;
	e2e_command(ARGS("prlimit", "--pid", e2e_text("%d", (int)bouncer_pid(b)), e2e_text("--nofile=%d", limit)));
	for (int i = 0; i < n; i++) {
		fds[i] = raw_connect(bouncer_port(b), NULL);
		assert_true(fds[i] >= 0);
		assert_true(raw_startup(fds[i], "user", "app_trust", "database", "app", NULL));
	}
	WAIT_UNTIL(bouncer_logged(b, "accept() failed: Too many open files"));
	/* Who is in is served. */
	db_value(inside, "select 1");
	/* All come in as soon as there is room: each that leaves makes room for one. */
	for (int i = 0; i < n; i++) {
		char type = raw_read(fds[i], &payload, &len);

		assert_int_equal(type, 'R');
		raw_close(fds[i]);
	}
	db_value(client(b), "select 1");
	assert_true(count_of(bouncer_log(b), "accept() failed") < 5);
}

/* Connections that say next to nothing, and do not log in, must not keep servers from being opened. */
static void descriptors_are_kept_for_servers(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "auth_type = trust"});
	PGconn *inside = client(b);
	int fds[60], n = LENGTH(fds), limit;
	const char *pid = db_value(inside, "select pg_backend_pid()");

	(void)state;
	bouncer_show(b, "SHOW VERSION");
	limit = count_descriptors(bouncer_pid(b)) + 30;
	e2e_command(ARGS("prlimit", "--pid", e2e_text("%d", (int)bouncer_pid(b)), e2e_text("--nofile=%d", limit)));
	bouncer_command(b, "RELOAD");
	for (int i = 0; i < n; i++) {
		fds[i] = raw_connect(bouncer_port(b), NULL);
		assert_true(fds[i] >= 0);
		assert_true(raw_send(fds[i], "", 1));
	}
	WAIT_UNTIL(bouncer_logged(b, "the descriptors that are left are for servers: no new clients for a second"));
	assert_true(count_descriptors(bouncer_pid(b)) < limit - 5);
	pg_value(pg_shared(), "select pg_terminate_backend(%s)", pid);
	WAIT_UNTIL(atoi(pg_value(pg_shared(), "select count(*) from pg_stat_activity where pid = %s", pid)) == 0);
	db_value(inside, "select 1");
	assert_false(bouncer_logged(b, "Too many open files"));
	/* Who waits outside comes in when others have gone. */
	for (int i = 0; i < n; i++)
		raw_close(fds[i]);
	db_value(client(b), "select 1");
}

/* More of them than are accepted at one event. */
static void a_crowd_that_waits_comes_in_whole(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "auth_type = trust"});
	int fds[100], n = LENGTH(fds);
	char *payload;
	size_t len;

	(void)state;
	bouncer_signal(b, SIGSTOP);
	for (int i = 0; i < n; i++) {
		fds[i] = raw_connect(bouncer_port(b), NULL);
		assert_true(fds[i] >= 0);
		assert_true(raw_startup(fds[i], "user", "app_trust", "database", "app", NULL));
	}
	bouncer_signal(b, SIGCONT);
	for (int i = 0; i < n; i++)
		assert_int_equal(raw_read(fds[i], &payload, &len), 'R');
	for (int i = 0; i < n; i++)
		raw_close(fds[i]);
	db_value(client(b), "select 1");
}

static void a_crash_is_reported(void **state)
{
	struct bouncer *b;
	const char *log;

	(void)state;
	if (e2e_sanitized())
		skip();
	b = bouncer_start(&(struct bouncer_options){.databases = any_server, .settings = "logfile = {dir}/file.log"});
	bouncer_signal(b, SIGSEGV);
	assert_int_equal(bouncer_wait_exit(b), -SIGSEGV);
	log = e2e_read(in_folder(b, "file.log"));
	assert_true(matches(log, "^psbouncer [0-9]+\\.[0-9]+\\.[0-9]+ crashed: SIGSEGV at 0x[0-9a-f]+$"));
	assert_true(matches(log, "psbouncer\\(.*\\[0x[0-9a-f]+\\]$"));
	b = bouncer_start(&(struct bouncer_options){.databases = any_server});
	bouncer_signal(b, SIGABRT);
	assert_int_equal(bouncer_wait_exit(b), -SIGABRT);
	assert_true(matches(bouncer_log(b), "^psbouncer .* crashed: SIGABRT$"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(version_and_help),
		e2e_test(bad_arguments),
		e2e_test(a_good_file_is_checked),
		e2e_test(all_errors_of_a_bad_file_are_told),
		e2e_test(faults_of_other_files_are_told_too),
		e2e_test(secrets_are_made),
		e2e_test(in_the_background),
		e2e_test(a_start_in_the_background_that_fails),
		e2e_test(refused_as_root),
		e2e_test(a_second_one_is_refused),
		e2e_test(what_a_dead_one_left_is_taken_over),
		e2e_test(hup_reloads),
		e2e_test(usr1_pauses_and_usr2_resumes),
		e2e_test(quit_ends_at_once),
		e2e_test(term_waits_for_clients),
		e2e_test(int_waits_for_servers),
		e2e_test(int_does_not_wait_for_monitors),
		e2e_test(the_second_signal_is_meant),
		e2e_test(the_log_file_is_opened_again),
		e2e_test(quiet_is_quiet),
		e2e_test(the_form_of_the_log),
		e2e_test(what_is_logged_can_be_chosen),
		e2e_test(no_secret_is_logged),
		e2e_test(a_probe_is_not_logged),
		e2e_test(a_failure_that_repeats_is_one_line),
		e2e_test(warnings_at_the_start),
		e2e_test(listens_on_ipv6),
		e2e_test(listens_on_all_and_on_names),
		e2e_test(listens_on_a_unix_socket),
		e2e_test(the_service_manager_is_told),
		e2e_test(listening_sockets_are_handed_over),
		e2e_test(without_descriptors_clients_wait_outside),
		e2e_test(descriptors_are_kept_for_servers),
		e2e_test(a_crowd_that_waits_comes_in_whole),
		e2e_test(a_crash_is_reported),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
