/*
 * soak: everything at once for a while: pgbench in all its protocols over TLS
 * and not, hundreds of clients whose every answer is checked, and clients that
 * vanish, cancel and send nonsense, on few servers. Afterwards nothing was
 * mixed up or lost, every counter is where it was, and nothing has leaked.
 *
 * SOAK_SECONDS changes how long, SOAK_SEED the course of the load.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lib/e2e.h"
#include "lib/load.h"

static const char databases[] = "load = host={pgdir} port={pg} dbname=postgres pool_size=8\n"
				"small = host=127.0.0.1 port={pg} dbname=postgres pool_size=2\n"
				"bench = host=127.0.0.1 port={pg} dbname=postgres pool_size=4\n"
				"session = host=127.0.0.1 port={pg} dbname=postgres pool_mode=session pool_size=6";

/* Idle servers go soon, so that there are logins all the time and none is left in the end. */
static const char settings[] = "auth_type = md5\n"
			       "max_client_conn = 1000\n"
			       "server_idle_timeout = 2\n"
			       "server_lifetime = 10\n"
			       "log_connections = 0\n"
			       "log_disconnections = 0\n"
			       "client_tls_sslmode = allow\n"
			       "client_tls_key_file = {tls}/server.key\n"
			       "client_tls_cert_file = {tls}/server.crt";

enum { MAX_ROWS = 32 };

/* A table of the console: names and numbers. */
struct numbers {
	size_t n;
	char name[MAX_ROWS][32];
	long value[MAX_ROWS];
};

static long number_of(const char *env, long otherwise)
{
	const char *s = getenv(env);

	return s && *s ? strtol(s, NULL, 10) : otherwise;
}

static struct numbers numbers(struct bouncer *b, const char *table, const char *key, const char *column)
{
	PGresult *r = bouncer_show(b, e2e_text("SHOW %s", table));
	struct numbers t = {.n = (size_t)PQntuples(r)};

	assert_true(t.n <= MAX_ROWS);
	for (size_t i = 0; i < t.n; i++) {
		snprintf(t.name[i], sizeof(t.name[i]), "%s", PQgetvalue(r, (int)i, PQfnumber(r, key)));
		t.value[i] = strtol(PQgetvalue(r, (int)i, PQfnumber(r, column)), NULL, 10);
	}
	return t;
}

static struct numbers lists(struct bouncer *b)
{
	return numbers(b, "LISTS", "list", "items");
}

/* What differs, "" when nothing does. */
static const char *difference(const struct numbers *was, const struct numbers *is)
{
	const char *text = e2e_text("%s", "");

	assert_int_equal(was->n, is->n);
	for (size_t i = 0; i < was->n; i++)
		if (was->value[i] != is->value[i])
			text = e2e_text("%s %s was %ld and is %ld;", text, was->name[i], was->value[i], is->value[i]);
	return text;
}

static long list(struct bouncer *b, const char *name)
{
	return bouncer_number(b, "LISTS", "list", name, "items");
}

/* The console is the only client, no server is left. */
static bool is_quiet(struct bouncer *b)
{
	return list(b, "used_clients") == 1 && list(b, "login_clients") == 0 && list(b, "free_servers") == 0 &&
	       list(b, "used_servers") == 0;
}

static bool pools_are_quiet(struct bouncer *b)
{
	static const char *const columns[] = {"cl_active", "cl_waiting", "cl_active_cancel_req",
		"cl_waiting_cancel_req", "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used",
		"sv_tested", "sv_login", "maxwait"};
	PGresult *r = bouncer_show(b, "SHOW POOLS");

	for (int i = 0; i < PQntuples(r); i++)
		for (size_t k = 0; k < sizeof(columns) / sizeof(*columns); k++)
			if (strcmp(PQgetvalue(r, i, 0), "pgbouncer") != 0 &&
				atoi(PQgetvalue(r, i, PQfnumber(r, columns[k]))) != 0)
				return false;
	return true;
}

/* Descriptors of the process. */
static size_t descriptors(struct bouncer *b)
{
	DIR *d = opendir(e2e_text("/proc/%d/fd", (int)bouncer_pid(b)));
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static long resident_kb(struct bouncer *b)
{
	FILE *f = fopen(e2e_text("/proc/%d/status", (int)bouncer_pid(b)), "r");
	char line[256];
	long kb = 0;

	assert_non_null(f);
	while (kb == 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, "VmRSS:", 6) == 0)
			kb = strtol(line + 6, NULL, 10);
	fclose(f);
	return kb;
}

/* ---- pgbench ---- */

struct bench {
	const char *name, *database, *user, *args;
	pid_t pid;
	const char *log;
};

static struct bench benches[] = {
	{"simple", "bench", "app_md5", "-M simple -c 8 -R 40", 0, NULL},
	{"extended", "bench sslmode=require", "app_scram", "-M extended -c 8 -R 40", 0, NULL},
	{"prepared", "session sslmode=require", "app_scram", "-M prepared -c 4 -R 40", 0, NULL},
	{"connections", "bench sslmode=require", "app_scram", "-M simple -C -c 2 -R 10", 0, NULL},
};
enum { BENCHES = sizeof(benches) / sizeof(*benches) };

static void start_bench(struct bouncer *b, struct bench *p, long seconds)
{
	const char *command = e2e_text("exec '%s' '%s dbname=%s user=%s' -n %s -T %ld",
		pg_program(pg_shared(), "pgbench"), bouncer_dsn(b), p->database, p->user, p->args, seconds);

	if (strstr(p->database, "sslmode") == NULL)
		command = e2e_text("PGSSLMODE=disable %s", command);
	p->log = e2e_text("%s/pgbench-%s", e2e_dir(), p->name);
	p->pid = e2e_spawn((const char *[]){"sh", "-c", command, NULL},
		(const char *[]){e2e_text("PGPASSWORD=%s", e2e_password(p->user)), NULL}, p->log, SIGTERM);
}

/* Gives how many transactions it has done; none may have failed. */
static long end_bench(struct bench *p)
{
	static const char done[] = "number of transactions actually processed: ";
	int status = e2e_wait(p->pid, 120000);
	const char *log = e2e_read(p->log), *at = strstr(log, done);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !at || strstr(log, "error:") ||
		!strstr(log, "number of failed transactions: 0 "))
		fail_msg("pgbench %s ended with status %d:\n%s", p->name, status, log);
	return strtol(at + strlen(done), NULL, 10);
}

static void make_tables(void)
{
	e2e_command((const char *[]){
		pg_program(pg_shared(), "pgbench"), pg_dsn(pg_shared()), "-q", "-i", "-s", "4", NULL});
	pg_value(pg_shared(), "grant all on all tables in schema public to public");
	pg_value(pg_shared(), "%s", load_schema);
}

/* Each transaction once, whole, and no other. */
static void check_tables(long transactions)
{
	assert_string_equal(pg_value(pg_shared(), "select count(*) from pgbench_history"),
		e2e_text("%ld", transactions));
	assert_string_equal(pg_value(pg_shared(), "select (select sum(abalance) from pgbench_accounts) ="
						  " (select sum(delta) from pgbench_history)"
						  " and (select sum(bbalance) from pgbench_branches) ="
						  " (select sum(delta) from pgbench_history)"),
		"t");
	assert_string_equal(pg_value(pg_shared(), "select count(*) from load_lines"), "0");
}

/* ---- the soak ---- */

static void check_load(const struct load *l, bool all)
{
	const char *name;
	uint64_t done;

	if (load_failure(l))
		fail_msg("%s", load_failure(l));
	for (size_t i = 0; (name = load_kind(l, i, &done)); i++) {
		if (all)
			print_message("# %s: %llu\n", name, (unsigned long long)done);
		if (all && done == 0)
			fail_msg("not one %s in all the load", name);
	}
	if (all)
		print_message("# cancel requests that hit: %llu\n", (unsigned long long)load_cancels_hit(l));
	if (all && load_cancels_hit(l) == 0)
		fail_msg("not one cancel request has hit");
}

/*
 * Buffers and tables that have grown may stay as large as they are; what is
 * per connection may not. Of parameters a server keeps the sets that it was
 * given last, and a database those of its last login: some sets and their
 * values for each, whatever the number of clients that came and went.
 */
static void check_memory(const struct numbers *was, const struct numbers *is)
{
	assert_int_equal(was->n, is->n);
	for (size_t i = 0; i < was->n; i++)
		if (is->value[i] > was->value[i] + (strcmp(was->name[i], "vars") == 0 ? 64 : 3))
			fail_msg("SHOW MEM: %s had %ld objects before the load and has %ld after it", was->name[i],
				was->value[i], is->value[i]);
}

static void soak(void **state)
{
	static const char *const used[] = {"load", "small", "bench", NULL};
	long seconds = number_of("SOAK_SECONDS", 60), transactions = 0, resident;
	struct bouncer *b;
	struct load *l;
	struct numbers lists_before, lists_after, mem_before, mem_after;
	size_t fds;

	(void)state;
	alarm((unsigned)seconds + (e2e_sanitized() ? 400 : 200));
	make_tables();
	b = bouncer_start(&(struct bouncer_options){.databases = databases, .settings = settings});
	l = load_start(&(struct load_options){.port = bouncer_port(b),
		.user = "app_md5",
		.password = e2e_password("app_md5"),
		.databases = used,
		.clients = 200,
		.wreckers = 40,
		.pause_ms = 1400,
		.wreck_pause_ms = 1200,
		.patience_ms = e2e_sanitized() ? 60000 : 30000,
		.seed = (uint64_t)number_of("SOAK_SEED", (long)getpid())});

	/* A little of it first: what is made once is there then. */
	db_close(db_connect("%s dbname=session user=app_scram sslmode=require", bouncer_dsn(b)));
	db_close(db_connect("%s dbname=bench user=app_scram sslmode=require", bouncer_dsn(b)));
	load_run(l, 2000);
	load_drain(l);
	check_load(l, false);
	WAIT_UNTIL(is_quiet(b));
	lists_before = lists(b);
	mem_before = numbers(b, "MEM", "name", "used");
	resident = resident_kb(b);
	fds = descriptors(b);

	for (size_t i = 0; i < BENCHES; i++)
		start_bench(b, &benches[i], seconds);
	load_run(l, (int)seconds * 1000);
	load_drain(l);
	check_load(l, seconds >= 30);
	for (size_t i = 0; i < BENCHES; i++)
		transactions += end_bench(&benches[i]);

	WAIT_UNTIL(is_quiet(b));
	lists_after = lists(b);
	assert_string_equal(difference(&lists_before, &lists_after), "");
	WAIT_UNTIL(pools_are_quiet(b));
	mem_after = numbers(b, "MEM", "name", "used");
	check_memory(&mem_before, &mem_after);
	print_message("# resident: %ld kB before, %ld kB after\n", resident, resident_kb(b));
	if (!e2e_sanitized())
		assert_in_range(resident_kb(b), 1, resident + 8192);
	assert_int_equal(descriptors(b), fds);
	check_tables(transactions);
	load_free(l);

	/* It frees all it has: the sanitizer looks for leaks. */
	PQclear(PQexec(bouncer_console(b), "SHUTDOWN"));
	assert_int_equal(bouncer_wait_exit(b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {e2e_test(soak)};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
