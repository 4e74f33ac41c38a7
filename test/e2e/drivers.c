/*
 * drivers: programs that people use, through transaction mode as it comes out
 * of the box: prepared statements shared, BEGIN deferred, few servers for
 * everybody. Each of test/drivers is a program of its own that ends with 0 when
 * all of it was right; one whose driver is not installed is skipped.
 */
#include <stdlib.h>
#include <sys/wait.h>

#include "drivers/libpq.h"
#include "lib/e2e.h"

static struct bouncer *start(unsigned servers)
{
	return bouncer_start(&(struct bouncer_options){.databases = "app = host=127.0.0.1 port={pg} dbname=postgres",
		.settings = e2e_text("auth_type = trust\ndefer_begin = 1\ndefault_pool_size = %u", servers)});
}

/* As the unprivileged user, who cannot read the tree. Gives its exit status; its words are in *log. */
static int run(const char *command, const char **log)
{
	static unsigned commands;
	const char *file = e2e_text("%s/output-%u", e2e_dir(), ++commands);
	pid_t pid = e2e_spawn((const char *[]){"sh", "-c", command, NULL},
		(const char *[]){"PGSSLMODE=disable", "PGPASSWORD=x", NULL}, file, SIGTERM);
	int status = e2e_wait(pid, 100000);

	*log = e2e_read(file);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static const char *script(const char *name)
{
	const char *source = getenv("top_srcdir");

	return e2e_file(name, 0644, e2e_read(e2e_text("%s/test/drivers/%s", source ? source : ".", name)));
}

/* probe: ends with 0 where the driver is installed. */
static void drive(const char *probe, const char *command)
{
	const char *log;

	if (run(probe, &log) != 0) {
		print_message("# not installed: %s\n", probe);
		skip();
	}
	if (run(command, &log) != 0)
		fail_msg("%s\n%s", command, log);
}

static void psycopg3(void **state)
{
	struct bouncer *b = start(2);

	(void)state;
	drive("/usr/bin/python3 -c 'import psycopg'", e2e_text("/usr/bin/python3 '%s' '%s dbname=app user=app_scram'",
							      script("psycopg3.py"), bouncer_dsn(b)));
}

static void asyncpg(void **state)
{
	struct bouncer *b = start(2);

	(void)state;
	drive("/usr/bin/python3 -c 'import asyncpg'",
		e2e_text("/usr/bin/python3 '%s' 'postgresql://app_scram@127.0.0.1:%d/app?sslmode=disable'",
			script("asyncpg_.py"), bouncer_port(b)));
}

static void dbd_pg(void **state)
{
	struct bouncer *b = start(2);

	(void)state;
	drive("perl -MDBD::Pg -e 1",
		e2e_text("perl '%s' 127.0.0.1 %d app_scram x app", script("dbd_pg.pl"), bouncer_port(b)));
}

/* Packages of npm, in the folder that PSB_TEST_NODE_PATH names (./run-tests fetches them). */
static void node(const char *package, const char *name)
{
	const char *path = getenv("PSB_TEST_NODE_PATH");
	const char *at = e2e_text("NODE_PATH='%s' node", path ? path : "");

	drive(e2e_text("%s -e 'require(\"%s\")'", at, package),
		e2e_text("%s '%s' 'postgresql://app_scram:x@127.0.0.1:%d/app?sslmode=disable'", at, script(name),
			bouncer_port(start(2))));
}

static void node_pg(void **state)
{
	(void)state;
	node("pg", "node_pg.js");
}

static void postgres_js(void **state)
{
	(void)state;
	node("postgres", "postgres_js.js");
}

/* java compiles the source by itself. */
static void pgjdbc(void **state)
{
	static const char jar[] = "/usr/share/java/postgresql.jar";

	(void)state;
	drive(e2e_text("javac -version && test -e %s", jar),
		e2e_text("java -XX:TieredStopAtLevel=1 -cp %s '%s' '127.0.0.1:%d/app?user=app_scram&password=x'", jar,
			script("Pgjdbc.java"), bouncer_port(start(2))));
}

static void libpq(void **state)
{
	(void)state;
	libpq_drive(e2e_text("%s dbname=app user=app_scram", bouncer_dsn(start(2))));
}

/* Every protocol of pgbench, and its pipelines. */
static void pgbench(void **state)
{
	static const char *const modes[] = {"simple", "extended", "prepared"};
	static const char pipeline[] = "\\startpipeline\nselect 1;\nselect :client_id + 1;\nselect 2;\n\\endpipeline\n";
	/* A server for each client: pgbench waits for the answer to a Parse, and lets all its other transactions stand. */
	struct bouncer *b = start(8);
	const char *file = e2e_file("pipeline.sql", 0644, pipeline), *log;
	const char *at = e2e_text("'%s' '%s dbname=app user=app_scram' -n -c 8 -t 50",
		pg_program(pg_shared(), "pgbench"), bouncer_dsn(b));

	(void)state;
	e2e_command((const char *[]){
		pg_program(pg_shared(), "pgbench"), pg_dsn(pg_shared()), "-q", "-i", "-s", "1", NULL});
	pg_value(pg_shared(), "grant all on all tables in schema public to public");
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		const char *commands[] = {e2e_text("%s -M %s", at, modes[i]), e2e_text("%s -M %s -S", at, modes[i]),
			i == 0 ? NULL : e2e_text("%s -M %s -f '%s'", at, modes[i], file)};

		for (size_t k = 0; k < 3; k++)
			if (commands[k] && (run(commands[k], &log) != 0 || strstr(log, "error:") ||
						   !strstr(log, "actually processed: 400/400")))
				fail_msg("%s\n%s", commands[k], log);
	}
	assert_string_equal(pg_value(pg_shared(), "select count(*) = 1200 from pgbench_history"), "t");
	assert_string_equal(pg_value(pg_shared(), "select sum(abalance) = (select sum(delta) from pgbench_history)"
						  " from pgbench_accounts"),
		"t");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(pgbench),
		e2e_test(libpq),
		e2e_test(psycopg3),
		e2e_test(asyncpg),
		e2e_test(dbd_pg),
		e2e_test(node_pg),
		e2e_test(postgres_js),
		e2e_test(pgjdbc),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
