/*
 * e2e_pg: throwaway PostgreSQL servers. Each has a folder of its own below the
 * program's, with its data, its socket and its log.
 */
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lib/e2e_priv.h"

struct pg {
	char *folder, *data, *log, *dsn;
	const char *bindir;
	int port;
	pid_t pid; /* 0: not running */
	PGconn *admin;
};

static const char default_hba[] = "local all all trust\n"
				  "local replication all trust\n"
				  "hostssl all app_cert 127.0.0.1/32 cert\n"
				  "host all app_trust 127.0.0.1/32 trust\n"
				  "host all app_plain 127.0.0.1/32 password\n"
				  "host all app_scram 127.0.0.1/32 scram-sha-256\n"
				  "host all postgres 127.0.0.1/32 trust\n"
				  "host replication postgres 127.0.0.1/32 trust\n"
				  "host all all 127.0.0.1/32 md5\n"; /* takes md5 and SCRAM secrets */

/* Nothing is durable; the shared memory is in files of the data folder, so that nothing stays behind. */
static const char base_conf[] = "listen_addresses = '127.0.0.1'\n"
				"fsync = off\n"
				"full_page_writes = off\n"
				"autovacuum = off\n"
				"max_connections = 200\n"
				"shared_buffers = 32MB\n"
				"dynamic_shared_memory_type = mmap\n"
				"max_wal_senders = 4\n"
				"max_prepared_transactions = 4\n"
				"password_encryption = 'scram-sha-256'\n"
				"logging_collector = off\n";

/* ---- where PostgreSQL is ---- */

static bool has_initdb(const char *bindir)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/initdb", bindir);
	return access(path, X_OK) == 0;
}

static const char *installed_bindir(void)
{
	static char found[256];
	const char *env = getenv("PSB_TEST_PGBIN");
	glob_t g;
	FILE *p;

	if (found[0])
		return found;
	if (env) {
		snprintf(found, sizeof(found), "%s", env);
		return found;
	}
	p = popen("pg_config --bindir 2>/dev/null", "r");
	if (p) {
		if (fgets(found, sizeof(found), p))
			found[strcspn(found, "\n")] = '\0';
		pclose(p);
	}
	if (found[0] && has_initdb(found))
		return found;
	found[0] = '\0';
	if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &g) == 0) {
		int best = -1;

		for (size_t i = 0; i < g.gl_pathc; i++) {
			int version = atoi(g.gl_pathv[i] + strlen("/usr/lib/postgresql/"));

			if (version > best && has_initdb(g.gl_pathv[i])) {
				best = version;
				snprintf(found, sizeof(found), "%s", g.gl_pathv[i]);
			}
		}
		globfree(&g);
	}
	if (!found[0])
		fail_msg(
			"PostgreSQL's initdb is not found: install the Debian package postgresql or set PSB_TEST_PGBIN");
	return found;
}

static const char *newest_bindir(const char *version)
{
	const char *env = getenv("PSB_TEST_PG18BIN");

	if (strcmp(version, "18") != 0 || !env || !*env || !has_initdb(env))
		return NULL;
	return env;
}

bool pg_has(const char *version)
{
	return newest_bindir(version) != NULL;
}

const char *pg_program(const struct pg *p, const char *name)
{
	return e2e_text("%s/%s", p->bindir, name);
}

/* ---- start and stop ---- */

static void append(const char *path, const char *text)
{
	FILE *f = fopen(path, "a");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		fail_msg("cannot write %s", path);
}

static struct pg *make(const char *bindir)
{
	static unsigned number;
	struct pg *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	p->bindir = bindir;
	p->port = e2e_port();
	p->folder = e2e_make_folder(e2e_text("pg%u", ++number), 0755);
	p->data = e2e_keep("%s/data", p->folder);
	p->log = e2e_keep("%s/log", p->folder);
	p->dsn = e2e_keep("host=127.0.0.1 port=%d dbname=postgres user=postgres", p->port);
	return p;
}

static bool connect_admin(struct pg *p)
{
	if (p->admin)
		PQfinish(p->admin);
	p->admin = PQconnectdb(e2e_text("host=%s port=%d dbname=postgres user=postgres connect_timeout=10", p->folder,
		p->port));
	return PQstatus(p->admin) == CONNECTION_OK;
}

static void launch(struct pg *p)
{
	int status = 0;

	p->pid = e2e_spawn((const char *[]){pg_program(p, "postgres"), "-D", p->data, NULL}, NULL, p->log, SIGQUIT);
	WAIT_UNTIL(connect_admin(p) || e2e_ended(p->pid, &status));
	if (PQstatus(p->admin) != CONNECTION_OK) {
		p->pid = 0;
		fail_msg("PostgreSQL did not start:\n%s", e2e_read(p->log));
	}
}

static void make_users(struct pg *p)
{
	static const char *const names[] = {"app_trust", "app_plain", "app_md5", "app_scram", "app_cert"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		pg_add_user(p, names[i], strcmp(names[i], "app_md5") == 0 ? "md5" : "scram-sha-256");
	pg_value(p, "grant all on schema public to public");
}

struct pg *pg_start(const struct pg_options *o)
{
	static const struct pg_options none;
	const char *bindir;
	struct pg *p;

	if (!o)
		o = &none;
	bindir = o->version ? newest_bindir(o->version) : installed_bindir();
	if (!bindir)
		fail_msg("there is no PostgreSQL %s: ask pg_has() first", o->version);
	p = make(bindir);
	e2e_command((const char *[]){pg_program(p, "initdb"), "-D", p->data, "-A", "trust", "-U", "postgres", "-E",
		"UTF8", "--locale=C", "--no-sync", NULL});
	append(e2e_text("%s/postgresql.conf", p->data),
		e2e_text("%sport = %d\nunix_socket_directories = '%s'\n", base_conf, p->port, p->folder));
	if (o->tls)
		append(e2e_text("%s/postgresql.conf", p->data),
			e2e_text("ssl = on\nssl_ca_file = '%s/ca.crt'\nssl_cert_file = '%s/server.crt'\n"
				 "ssl_key_file = '%s/server.key'\n",
				tls_dir(), tls_dir(), tls_dir()));
	if (o->conf)
		append(e2e_text("%s/postgresql.conf", p->data), o->conf);
	e2e_write(e2e_text("%s/pg_hba.conf", p->data), 0600, o->hba ? o->hba : default_hba);
	launch(p);
	make_users(p);
	return p;
}

/* Where there is no pg_basebackup the primary is stopped for as long as its folder is copied. */
static void copy_stopped(struct pg *primary, struct pg *p)
{
	pg_shutdown(primary);
	e2e_command((const char *[]){"cp", "-a", primary->data, p->data, NULL});
	pg_restart(primary);
	e2e_write(e2e_text("%s/standby.signal", p->data), 0600, "");
	append(e2e_text("%s/postgresql.conf", p->data),
		e2e_text("primary_conninfo = 'host=%s port=%d user=postgres'\n", primary->folder, primary->port));
}

struct pg *pg_start_standby(struct pg *primary)
{
	struct pg *p = make(primary->bindir);

	if (access(pg_program(p, "pg_basebackup"), X_OK) == 0)
		e2e_command((const char *[]){pg_program(p, "pg_basebackup"), "-h", primary->folder, "-p",
			e2e_text("%d", primary->port), "-U", "postgres", "-D", p->data, "-X", "stream", "-c", "fast",
			"--no-sync", "-R", NULL});
	else
		copy_stopped(primary, p);
	append(e2e_text("%s/postgresql.conf", p->data),
		e2e_text("port = %d\nunix_socket_directories = '%s'\n", p->port, p->folder));
	launch(p);
	WAIT_UNTIL(strcmp(pg_value(p, "select status from pg_stat_wal_receiver"), "streaming") == 0);
	return p;
}

struct pg *pg_shared(void)
{
	static struct pg *shared;

	if (!shared) {
		shared = pg_start(&(struct pg_options){.tls = true});
		tls_issue("app_cert", "app_cert", NULL, 3, false);
	}
	return shared;
}

/* The pids, with blanks between. */
static char *children_of(const struct pg *p)
{
	return e2e_read(e2e_text("/proc/%d/task/%d/children", (int)p->pid, (int)p->pid));
}

/* What it waits for: the end of its log, and who of it is still there. */
static void say_why_it_stays(struct pg *p)
{
	char *list = children_of(p), *at;

	e2e_print_tail("log of PostgreSQL", p->log);
	for (long pid; (pid = strtol(list, &at, 10)) > 0; list = at)
		fprintf(stderr, "%ld %s: %s\n", pid, e2e_read(e2e_text("/proc/%ld/cmdline", pid)),
			e2e_read(e2e_text("/proc/%ld/wchan", pid)));
}

/* sig: 0 if it is on its way already. */
static void end(struct pg *p, int sig)
{
	int64_t until = e2e_now_ms() + 30000;
	int status;

	if (!p->pid)
		return;
	if (sig)
		kill(p->pid, sig);
	while (!e2e_ended(p->pid, &status)) {
		if (e2e_now_ms() > until) {
			say_why_it_stays(p);
			fail_msg("PostgreSQL has not ended within 30 s of signal %d", sig);
		}
		e2e_pause();
	}
	p->pid = 0;
}

void pg_stop(struct pg *p)
{
	PQfinish(p->admin);
	end(p, SIGINT);
	e2e_remove_tree(p->folder);
	free(p->folder);
	free(p->data);
	free(p->log);
	free(p->dsn);
	free(p);
}

void pg_crash(struct pg *p)
{
	end(p, SIGQUIT);
}

void pg_shutdown(struct pg *p)
{
	end(p, SIGINT);
}

void pg_smart_stop(struct pg *p)
{
	PQfinish(p->admin);
	p->admin = NULL;
	kill(p->pid, SIGTERM);
}

void pg_await_end(struct pg *p)
{
	end(p, 0);
}

void pg_signal(struct pg *p, int sig)
{
	char *at, *list;

	if (!p->pid)
		return;
	if (sig == SIGSTOP)
		kill(p->pid, sig);
	list = children_of(p);
	for (long pid; (pid = strtol(list, &at, 10)) > 0; list = at)
		kill((pid_t)pid, sig);
	if (sig != SIGSTOP) /* who is dead has no children, and goes on with none forgotten */
		kill(p->pid, sig);
}

void pg_kill(struct pg *p)
{
	pg_signal(p, SIGSTOP); /* none is forked meanwhile */
	pg_signal(p, SIGKILL);
	end(p, SIGKILL);
}

void pg_restart(struct pg *p)
{
	end(p, SIGINT);
	launch(p);
}

void pg_promote(struct pg *p)
{
	pg_value(p, "select pg_promote()");
	WAIT_UNTIL(strcmp(pg_value(p, "select pg_is_in_recovery()"), "f") == 0);
}

/* ---- what is asked of it ---- */

int pg_port(const struct pg *p)
{
	return p->port;
}

const char *pg_socket_dir(const struct pg *p)
{
	return p->folder;
}

const char *pg_log(const struct pg *p)
{
	return p->log;
}

pid_t pg_pid(const struct pg *p)
{
	return p->pid;
}

const char *pg_dsn(const struct pg *p)
{
	return p->dsn;
}

char *pg_value(struct pg *p, const char *fmt, ...)
{
	PGresult *r;
	char *sql, *value;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&sql, fmt, ap) < 0)
		abort();
	va_end(ap);
	r = PQexec(p->admin, sql);
	if (PQstatus(p->admin) != CONNECTION_OK && connect_admin(p)) {
		PQclear(r);
		r = PQexec(p->admin, sql);
	}
	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(p->admin));
	value = e2e_text("%s", PQntuples(r) > 0 && PQnfields(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	free(sql);
	return value;
}

char *pg_add_user(struct pg *p, const char *name, const char *encryption)
{
	pg_value(p, "set password_encryption = '%s'; create role \"%s\" login password '%s'; reset password_encryption",
		encryption, name, e2e_password(name));
	return pg_value(p, "select rolpassword from pg_authid where rolname = '%s'", name);
}

const char *e2e_password(const char *name)
{
	return e2e_text("pw of %s!", name);
}
