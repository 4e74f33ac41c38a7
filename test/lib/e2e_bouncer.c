/*
 * e2e_bouncer: psbouncer processes of a test, their files and their console.
 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lib/e2e_priv.h"

#define MAX_BOUNCERS 16

struct bouncer {
	char *folder, *ini, *log, *dsn;
	int port;
	pid_t pid; /* 0: has ended, and the test knows it */
	bool tcp;  /* listens on 127.0.0.1 */
	PGconn *console;
};

static struct bouncer *all[MAX_BOUNCERS]; /* of this test */
static size_t n_all;

/* ---- its files ---- */

/* A copy that the unprivileged user can run, whatever the rights of the tree. */
static const char *binary(void)
{
	static char *path;
	const char *built = getenv("PSBOUNCER"), *top = getenv("top_builddir");

	if (!path) {
		path = e2e_keep("%s/psbouncer", e2e_dir());
		e2e_write(path, 0755, "");
		if (!built)
			built = e2e_text("%s/psbouncer", top ? top : ".");
		/* By the tests' own user: the other may not be able to read the tree. */
		if (system(e2e_text("cp '%s' '%s' && chmod 0755 '%s'", built, path, path)) != 0)
			fail_msg("cannot copy %s", built);
	}
	return path;
}

/* Replaces {pg} and so on. Asks for the shared server only when its place is wanted. */
static char *expand(const struct bouncer *b, const char *text)
{
	char *out = e2e_text("%s", ""), *value;
	const char *open;

	while ((open = strchr(text, '{'))) {
		size_t n = strcspn(open, "}");

		value = NULL;
		if (strncmp(open, "{pg}", 4) == 0)
			value = e2e_text("%d", pg_port(pg_shared()));
		else if (strncmp(open, "{pgdir}", 7) == 0)
			value = e2e_text("%s", pg_socket_dir(pg_shared()));
		else if (strncmp(open, "{port}", 6) == 0)
			value = e2e_text("%d", b->port);
		else if (strncmp(open, "{dir}", 5) == 0)
			value = e2e_text("%s", b->folder);
		else if (strncmp(open, "{tls}", 5) == 0)
			value = e2e_text("%s", tls_dir());
		else if (strncmp(open, "{user}", 6) == 0)
			value = e2e_text("%s", e2e_user());
		if (!value) {
			out = e2e_text("%s%.*s", out, (int)(open + 1 - text), text);
			text = open + 1;
			continue;
		}
		out = e2e_text("%s%.*s%s", out, (int)(open - text), text, value);
		text = open + n + 1;
	}
	return e2e_text("%s%s", out, text);
}

/* Does a line of text set this name? Its value goes to *value then. */
static bool names(const char *text, const char *name, const char **value)
{
	size_t n = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += strspn(line, " \t\n");
		if (strncmp(line, name, n) != 0)
			continue;
		*value = line + n + strspn(line + n, " \t");
		if (**value == '=') {
			*value += 1 + strspn(*value + 1, " \t");
			return true;
		}
	}
	return false;
}

static char *settings_text(const struct bouncer_options *o)
{
	static const char *const defaults[][2] = {{"listen_addr", "127.0.0.1"}, {"listen_port", "{port}"},
		{"unix_socket_dir", "{dir}"}, {"auth_type", "scram-sha-256"}, {"auth_file", "{dir}/users.txt"},
		{"admin_users", "admin"}, {"stats_users", "stats"}, {"pool_mode", "transaction"},
		{"defer_begin", "0"}}; /* a begin is how most tests take a server */
	const char *given = o->settings ? o->settings : "", *value;
	char *text = e2e_text("%s", "[pgbouncer]\n");

	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
		if (!names(given, defaults[i][0], &value))
			text = e2e_text("%s%s = %s\n", text, defaults[i][0], defaults[i][1]);
	return e2e_text("%s%s\n", text, given);
}

static char *default_users(void)
{
	static const char *const users[] = {
		"app_trust", "app_plain", "app_md5", "app_scram", "app_cert", "admin", "stats"};
	char *text = e2e_text("%s", "");

	for (size_t i = 0; i < sizeof(users) / sizeof(*users); i++)
		text = e2e_text("%s\"%s\" \"%s\"\n", text, users[i], e2e_password(users[i]));
	return text;
}

void bouncer_rewrite(struct bouncer *b, const struct bouncer_options *o)
{
	const char *ini = o->ini, *value;

	if (!ini)
		ini = e2e_text("[databases]\n%s\n%s%s\n%s",
			o->databases ? o->databases : "app = host=127.0.0.1 port={pg} dbname=postgres",
			o->users ? "[users]\n" : "", o->users ? o->users : "", settings_text(o));
	b->tcp = !names(ini, "listen_addr", &value) || (*value != '\n' && *value != '\0');
	e2e_write(b->ini, 0600, expand(b, ini));
	e2e_write(e2e_text("%s/users.txt", b->folder), 0600, o->auth ? expand(b, o->auth) : default_users());
}

/* ---- life ---- */

/* A quiet or detached one says nothing on standard error: only its port tells. */
static bool is_silent(const struct bouncer_options *o)
{
	for (const char *const *a = o->args; a && *a; a++)
		if (strcmp(*a, "-q") == 0 || strcmp(*a, "--quiet") == 0 || strcmp(*a, "-d") == 0)
			return true;
	return false;
}

/* It says so once the signals are watched and all sockets are open. */
static bool is_up(struct bouncer *b, const struct bouncer_options *o)
{
	int fd;

	if (!is_silent(o))
		return bouncer_logged(b, "process up: ");
	fd = raw_connect(b->port, b->tcp ? NULL : e2e_text("%s/.s.PGSQL.%d", b->folder, b->port));
	if (fd < 0)
		return false;
	raw_close(fd);
	return true;
}

static void launch(struct bouncer *b, const struct bouncer_options *o)
{
	const char *argv[32], *env[16];
	size_t n = 0, m = 0;

	argv[n++] = o->program ? o->program : binary();
	for (const char *const *a = o->args; a && *a && n < 30; a++)
		argv[n++] = expand(b, *a);
	argv[n++] = b->ini;
	argv[n] = NULL;
	for (const char *const *e = o->env; e && *e && m < 15; e++)
		env[m++] = expand(b, *e);
	env[m] = NULL;
	b->pid = e2e_spawn_in(argv, env, b->log, SIGKILL, o->nofile, b->folder);
}

struct bouncer *bouncer_start(const struct bouncer_options *o)
{
	static const struct bouncer_options none;
	static unsigned number;
	struct bouncer *b = calloc(1, sizeof(*b));

	if (!b || n_all == MAX_BOUNCERS)
		abort();
	if (!o)
		o = &none;
	b->port = e2e_port();
	b->folder = e2e_make_folder(e2e_text("b%u", ++number), 0755);
	b->ini = e2e_keep("%s/psbouncer.ini", b->folder);
	b->log = e2e_keep("%s/log", b->folder);
	b->dsn = e2e_keep("host=127.0.0.1 port=%d", b->port);
	all[n_all++] = b;
	bouncer_rewrite(b, o);
	launch(b, o);
	if (!o->may_fail) {
		WAIT_UNTIL(is_up(b, o) || !bouncer_running(b));
		if (!bouncer_running(b))
			fail_msg("psbouncer did not start:\n%s", bouncer_log(b));
	}
	return b;
}

/* Not e2e_ended(): the status stays for bouncer_wait_exit(). */
bool bouncer_running(struct bouncer *b)
{
	siginfo_t info = {.si_pid = 0};

	if (!b->pid)
		return false;
	return waitid(P_PID, (id_t)b->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

int bouncer_wait_exit(struct bouncer *b)
{
	int status = e2e_wait(b->pid, e2e_sanitized() ? 60000 : 30000);

	b->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void bouncer_signal(struct bouncer *b, int sig)
{
	if (kill(b->pid, sig) != 0)
		fail_msg("signal %d: %s", sig, strerror(errno));
}

static bool complains(struct bouncer *b)
{
	const char *log = bouncer_log(b);

	return strstr(log, "Sanitizer") || strstr(log, "runtime error:") || strstr(log, "Assertion");
}

static void forget(struct bouncer *b)
{
	for (size_t i = 0; i < n_all; i++)
		if (all[i] == b)
			all[i] = all[--n_all];
	free(b->folder);
	free(b->ini);
	free(b->log);
	free(b->dsn);
	free(b);
}

/* True when it went as it should. */
static bool stop(struct bouncer *b)
{
	int status = 0;
	bool early;

	if (b->console)
		PQfinish(b->console);
	b->console = NULL;
	if (b->pid) {
		early = !bouncer_running(b);
		if (!early)
			kill(b->pid, SIGQUIT);
		status = bouncer_wait_exit(b);
		if (early)
			fprintf(stderr, "psbouncer ended before it was told to, ");
		if (early || status != 0)
			fprintf(stderr, "with status %d\n", status);
		if (early || status != 0 || complains(b)) {
			e2e_print_tail("its log", b->log);
			return false;
		}
	}
	return !complains(b);
}

void bouncer_stop(struct bouncer *b)
{
	if (!stop(b))
		fail_msg("psbouncer did not end as it must");
	forget(b);
}

bool bouncer_teardown(void)
{
	bool ok = true;

	while (n_all > 0) {
		ok = stop(all[n_all - 1]) && ok;
		forget(all[n_all - 1]);
	}
	return ok;
}

void bouncer_print_logs(void)
{
	for (size_t i = 0; i < n_all; i++)
		e2e_print_tail("log of psbouncer", all[i]->log);
}

int bouncer_port(const struct bouncer *b)
{
	return b->port;
}

pid_t bouncer_pid(const struct bouncer *b)
{
	return b->pid;
}

const char *bouncer_dir(const struct bouncer *b)
{
	return b->folder;
}

const char *bouncer_dsn(const struct bouncer *b)
{
	return b->dsn;
}

char *bouncer_log(struct bouncer *b)
{
	return e2e_read(b->log);
}

bool bouncer_logged(struct bouncer *b, const char *text)
{
	return strstr(bouncer_log(b), text) != NULL;
}

/* ---- its console ---- */

PGconn *bouncer_console(struct bouncer *b)
{
	const char *path = e2e_text("%s/.s.PGSQL.%d", b->folder, b->port);

	if (b->console && PQstatus(b->console) == CONNECTION_OK)
		return b->console;
	if (b->console)
		PQfinish(b->console);
	b->console =
		PQconnectdb(e2e_text("host=%s port=%d dbname=pgbouncer user=admin password='%s' connect_timeout=30",
			access(path, F_OK) == 0 ? b->folder : "127.0.0.1", b->port, e2e_password("admin")));
	if (PQstatus(b->console) != CONNECTION_OK)
		fail_msg("console: %s", PQerrorMessage(b->console));
	return b->console;
}

PGresult *bouncer_show(struct bouncer *b, const char *command)
{
	PGresult *r = db_keep(PQexec(bouncer_console(b), command));

	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", command, PQresultErrorMessage(r));
	return r;
}

void bouncer_command(struct bouncer *b, const char *command)
{
	bouncer_show(b, command);
}

char *bouncer_value(struct bouncer *b, const char *table, const char *key, const char *value, const char *want)
{
	PGresult *r = bouncer_show(b, e2e_text("SHOW %s", table));
	int at = key ? PQfnumber(r, key) : 0, column = PQfnumber(r, want);

	if (at < 0 || column < 0)
		fail_msg("SHOW %s has no column %s", table, at < 0 ? key : want);
	for (int i = 0; i < PQntuples(r); i++)
		if (!key || strcmp(PQgetvalue(r, i, at), value) == 0)
			return e2e_text("%s", PQgetvalue(r, i, column));
	return e2e_text("%s", "");
}

long bouncer_number(struct bouncer *b, const char *table, const char *key, const char *value, const char *want)
{
	const char *text = bouncer_value(b, table, key, value, want);

	return *text ? strtol(text, NULL, 10) : -1;
}
