/*
 * reload: the configuration changes while clients are at work: what changed
 * comes into force, all of it or nothing, and nobody is dropped who need not be.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/e2e.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- load ---- */

/*
 * Threads that ask for a tag of their own each time and look at what they get. The library of the tests is not for
 * several threads: they know nothing but libpq and their own part of this.
 */
struct load {
	pthread_t thread;
	unsigned number;
	char conninfo[1024];
	atomic_ulong done;
	char error[512]; /* the first thing that went wrong; read after the end */
};

#define LOAD_MAX 16

static struct load loads[LOAD_MAX];
static size_t n_loads;
static atomic_bool load_over;

/* Does the result hold the tag? */
static bool load_check(struct load *l, PGconn *c, PGresult *r, const char *tag)
{
	bool ok = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 0), tag) == 0;

	if (!ok)
		snprintf(l->error, sizeof l->error, "after %lu: %s%s", atomic_load(&l->done), PQresultErrorMessage(r),
			PQerrorMessage(c));
	PQclear(r);
	return ok;
}

static bool load_command(struct load *l, PGconn *c, const char *sql)
{
	PGresult *r = PQexec(c, sql);
	bool ok = PQresultStatus(r) == PGRES_COMMAND_OK;

	if (!ok)
		snprintf(l->error, sizeof l->error, "after %lu: %s: %s", atomic_load(&l->done), sql,
			PQresultErrorMessage(r));
	PQclear(r);
	return ok;
}

/* A simple query, one of the extended protocol, a transaction. */
static bool load_once(struct load *l, PGconn *c)
{
	unsigned long n = atomic_load(&l->done);
	char tag[64], sql[128];
	const char *value = tag;

	snprintf(tag, sizeof tag, "%u-%lu", l->number, n);
	snprintf(sql, sizeof sql, "select '%s'", tag);
	switch (n % 3) {
	case 0: return load_check(l, c, PQexec(c, sql), tag);
	case 1: return load_check(l, c, PQexecParams(c, "select $1::text", 1, NULL, &value, NULL, NULL, 0), tag);
	default:
		return load_command(l, c, "begin") && load_check(l, c, PQexec(c, sql), tag) &&
		       load_command(l, c, "commit");
	}
}

static void *load_run(void *arg)
{
	struct load *l = arg;
	PGconn *c = PQconnectdb(l->conninfo);

	if (PQstatus(c) != CONNECTION_OK)
		snprintf(l->error, sizeof l->error, "%s", PQerrorMessage(c));
	else
		while (!atomic_load(&load_over) && load_once(l, c))
			atomic_fetch_add(&l->done, 1);
	PQfinish(c);
	return NULL;
}

static void load_join(void)
{
	atomic_store(&load_over, true);
	for (size_t i = 0; i < n_loads; i++)
		pthread_join(loads[i].thread, NULL);
	n_loads = 0;
	atomic_store(&load_over, false);
}

/* n more of them. */
static void load_start(size_t n, const char *conninfo)
{
	for (size_t i = 0; i < n && n_loads < LOAD_MAX; i++) {
		struct load *l = &loads[n_loads];

		memset(l->error, 0, sizeof l->error);
		l->number = (unsigned)n_loads;
		atomic_store(&l->done, 0);
		snprintf(l->conninfo, sizeof l->conninfo, "%s connect_timeout=30", conninfo);
		assert_int_equal(pthread_create(&l->thread, NULL, load_run, l), 0);
		n_loads++;
	}
}

static void load_tell(void)
{
	for (size_t i = 0; i < n_loads; i++)
		if (loads[i].error[0])
			fail_msg("client %zu: %s", i, loads[i].error);
}

/* Has each of them been answered n times more since marks were taken? */
static unsigned long marks[LOAD_MAX];

static void load_mark(void)
{
	for (size_t i = 0; i < n_loads; i++)
		marks[i] = atomic_load(&loads[i].done);
}

static bool load_has_gone_on(unsigned long n)
{
	load_tell();
	for (size_t i = 0; i < n_loads; i++)
		if (atomic_load(&loads[i].done) < marks[i] + n)
			return false;
	return true;
}

static void load_goes_on(void)
{
	load_mark();
	WAIT_UNTIL(load_has_gone_on(9));
}

/* The end: no client has met with an error. */
static void load_end(void)
{
	size_t n = n_loads;

	load_goes_on();
	load_join();
	for (size_t i = 0; i < n; i++)
		if (loads[i].error[0])
			fail_msg("client %zu: %s", i, loads[i].error);
}

/* A test that failed has left its threads. */
static int load_teardown(void **state)
{
	int result = e2e_teardown(state);

	load_join();
	return result;
}

/* clang-format off */
#define reload_test(f) {#f, e2e_run, NULL, load_teardown, &(struct e2e_case){f}}
/* clang-format on */

/* ---- in few words ---- */

static const char *login_of(struct bouncer *b, const char *database, const char *user)
{
	return e2e_text("%s dbname=%s user=%s password='%s'", bouncer_dsn(b), database, user, e2e_password(user));
}

static PGconn *client(struct bouncer *b)
{
	return db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
}

static void reload(struct bouncer *b, const struct bouncer_options *o)
{
	bouncer_rewrite(b, o);
	bouncer_command(b, "RELOAD");
}

/* Must fail; its DETAIL. */
static const char *reload_fails(struct bouncer *b, const struct bouncer_options *o)
{
	PGresult *r;

	bouncer_rewrite(b, o);
	r = db_keep(PQexec(bouncer_console(b), "RELOAD"));
	assert_int_equal(PQresultStatus(r), PGRES_FATAL_ERROR);
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "F0000");
	assert_non_null(PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL));
	return PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL);
}

static long pool(struct bouncer *b, const char *database, const char *column)
{
	return bouncer_number(b, "POOLS", "database", database, column);
}

static long servers(struct bouncer *b)
{
	return bouncer_number(b, "LISTS", "list", "used_servers", "items");
}

static void told(PGconn *c, const char *code, const char *text)
{
	assert_string_equal(db_error(c, "select 1"), code);
	assert_string_equal(db_error_text(c), text);
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
}

/* ---- nothing changes ---- */

static void the_same_file_again(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *xact = client(b);
	const char *pid;

	(void)state;
	db_value(xact, "begin");
	pid = db_value(xact, "select pg_backend_pid()");
	load_start(6, login_of(b, "app", "app_scram"));
	load_start(2, login_of(b, "app", "app_plain"));
	load_goes_on();
	for (int i = 0; i < 50; i++)
		bouncer_command(b, "RELOAD");
	load_goes_on();
	for (int i = 0; i < 10; i++)
		bouncer_signal(b, SIGHUP);
	load_end();
	/* Not even servers are replaced. */
	db_value(xact, "commit");
	assert_false(bouncer_logged(b, "connection is to be replaced"));
	assert_string_equal(pg_value(pg_shared(), "select count(*) from pg_stat_activity where pid = %s", pid), "1");
	db_value(xact, "select 1");
}

/* ---- sizes, limits, modes ---- */

static void the_size_of_a_pool(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "default_pool_size = 1"});
	PGconn *held[4];

	(void)state;
	load_start(6, login_of(b, "app", "app_scram"));
	load_goes_on();
	assert_int_equal(servers(b), 1);
	reload(b, &(struct bouncer_options){.settings = "default_pool_size = 5"});
	for (size_t i = 0; i < LENGTH(held); i++) {
		held[i] = client(b);
		db_value(held[i], "begin");
	}
	assert_int_equal(pool(b, "app", "sv_active") + pool(b, "app", "sv_idle") >= 4, 1);
	load_goes_on();
	/* It shrinks as its transactions end. */
	reload(b, &(struct bouncer_options){.settings = "default_pool_size = 2"});
	for (size_t i = 0; i < LENGTH(held); i++) {
		db_value(held[i], "select 1");
		db_value(held[i], "commit");
	}
	WAIT_UNTIL(servers(b) <= 2);
	load_end();
	/* Of one database, of one user. */
	reload(b, &(struct bouncer_options){.databases = "app = host=127.0.0.1 port={pg} dbname=postgres pool_size=1",
			  .settings = "default_pool_size = 9"});
	WAIT_UNTIL(servers(b) <= 1);
	assert_int_equal(bouncer_number(b, "DATABASES", "name", "app", "pool_size"), 1);
	db_value(held[0], "begin");
	assert_int_equal(PQsendQuery(held[1], "select 'second'"), 1);
	WAIT_UNTIL(pool(b, "app", "cl_waiting") == 1);
	/* Who waits is served by what the reload allows. */
	reload(b, &(struct bouncer_options){.users = "app_scram = pool_size=2"});
	assert_string_equal(PQgetvalue(db_result(held[1]), 0, 0), "second");
	assert_null(db_result(held[1]));
	db_value(held[0], "commit");
}

static void the_mode_of_a_pool(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "default_pool_size = 10"});

	(void)state;
	load_start(6, login_of(b, "app", "app_scram"));
	for (int i = 0; i < 6; i++) {
		reload(b, &(struct bouncer_options){.settings = e2e_text("default_pool_size = 10\npool_mode = %s",
							    i % 2 ? "transaction" : "session")});
		load_goes_on();
		assert_string_equal(bouncer_value(b, "POOLS", "database", "app", "pool_mode"),
			i % 2 ? "transaction" : "session");
	}
	load_end();
}

static void limits_of_clients(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "max_client_conn = 20"});
	PGconn *c[4];

	(void)state;
	for (size_t i = 0; i < LENGTH(c); i++)
		c[i] = client(b);
	reload(b, &(struct bouncer_options){.settings = "max_client_conn = 2"});
	/* Who is in stays in. */
	for (size_t i = 0; i < LENGTH(c); i++)
		db_value(c[i], "select 1");
	assert_string_equal(db_refused("%s dbname=app user=app_scram", bouncer_dsn(b)), "53300");
	db_close(c[3]);
	db_close(c[2]);
	db_close(c[1]);
	WAIT_UNTIL(pool(b, "app", "cl_active") == 1);
	db_value(client(b), "select 1");
	reload(b, &(struct bouncer_options){.settings = "max_client_conn = 20"});
	db_value(client(b), "select 1");
}

static void limits_of_time_hold_for_who_is_there(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *xact = client(b), *idle = client(b);

	(void)state;
	db_value(xact, "begin");
	reload(b, &(struct bouncer_options){.settings = "idle_transaction_timeout = 0.1"});
	WAIT_UNTIL(pool(b, "app", "cl_active") == 1);
	told(xact, "25P03", "idle transaction timeout");
	WAIT_UNTIL(pool(b, "app", "sv_idle") == 1); /* rolled back */
	db_value(idle, "select 1");
	reload(b, &(struct bouncer_options){.settings = "client_idle_timeout = 0.1"});
	WAIT_UNTIL(pool(b, "app", "cl_active") == 0);
	told(idle, "57P05", "client_idle_timeout");
	assert_int_equal(servers(b), 1);
}

/* ---- servers ---- */

static const char *port_of(PGconn *c)
{
	return db_value(c, "select setting from pg_settings where name = 'port'");
}

static void another_server(void **state)
{
	struct pg *second = pg_start(NULL);
	const char *there = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres", pg_port(second));
	const char *old = e2e_text("%d", pg_port(pg_shared())), *new = e2e_text("%d", pg_port(second));
	struct bouncer *b = bouncer_start(NULL);
	PGconn *idle = client(b), *xact = client(b);

	(void)state;
	load_start(6, login_of(b, "app", "app_scram"));
	assert_string_equal(port_of(idle), old);
	db_value(xact, "begin");
	assert_string_equal(port_of(xact), old);
	reload(b, &(struct bouncer_options){.databases = there});
	/* A transaction ends where it has begun. */
	assert_string_equal(port_of(xact), old);
	assert_string_equal(bouncer_value(b, "SERVERS", "port", old, "close_needed"), "1");
	assert_string_equal(port_of(idle), new);
	load_goes_on();
	db_value(xact, "commit");
	assert_string_equal(port_of(xact), new);
	WAIT_UNTIL(strcmp(bouncer_value(b, "SERVERS", "port", old, "type"), "") == 0);
	bouncer_command(b, "WAIT_CLOSE");
	assert_string_equal(bouncer_value(b, "DATABASES", "name", "app", "port"), new);
	/* And back, many times. */
	for (int i = 0; i < 10; i++)
		reload(b, &(struct bouncer_options){.databases = i % 2 ? there : NULL});
	reload(b, &(struct bouncer_options){.databases = NULL});
	WAIT_UNTIL(strcmp(bouncer_value(b, "SERVERS", "port", new, "type"), "") == 0);
	assert_string_equal(port_of(idle), old);
	load_end();
	pg_stop(second);
}

static void another_database_of_the_server(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b);

	(void)state;
	assert_string_equal(db_value(c, "select current_database()"), "postgres");
	reload(b, &(struct bouncer_options){.databases = "app = host=127.0.0.1 port={pg} dbname=template1"});
	assert_string_equal(db_value(c, "select current_database()"), "template1");
	reload(b, &(struct bouncer_options){
			  .databases = "app = host=127.0.0.1 port={pg} dbname=template1 connect_query='set "
				       "statement_timeout = 12345'"});
	assert_string_equal(db_value(c, "show statement_timeout"), "12345ms");
}

static void tls_to_the_servers(void **state)
{
	static const char is_tls[] = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "server_tls_sslmode = disable"});
	PGconn *c = client(b);
	const char *detail;

	(void)state;
	load_start(4, login_of(b, "app", "app_scram"));
	assert_string_equal(db_value(c, is_tls), "f");
	reload(b,
		&(struct bouncer_options){
			.settings =
				"server_tls_sslmode = verify-full\nserver_tls_ca_file = {tls}/ca.crt\nquery_timeout = 100"});
	assert_string_equal(db_value(c, is_tls), "t");
	load_goes_on();
	/* A file that cannot be read is no reason to go on without. */
	detail = reload_fails(b,
		&(struct bouncer_options){
			.settings =
				"server_tls_sslmode = verify-full\nserver_tls_ca_file = {dir}/none\nquery_timeout = 99"});
	assert_non_null(strstr(detail, "server_tls_ca_file"));
	assert_int_equal(bouncer_number(b, "CONFIG", "key", "query_timeout", "value"), 100);
	assert_string_equal(db_value(c, is_tls), "t");
	load_end();
}

/* The server agrees to TLS in the moment in which nobody wants it any more. */
static void tls_that_is_switched_off_in_between(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof sin;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server, c;
	struct timeval limit = {.tv_sec = 30};
	struct bouncer_options o;
	struct bouncer *b;
	PGconn *console;
	char request[8];

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&sin, sizeof sin), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	o = (struct bouncer_options){
		.databases = e2e_text("late = host=127.0.0.1 port=%d\napp = host=127.0.0.1 port={pg} dbname=postgres",
			ntohs(sin.sin_port)),
		.settings = "auth_type = trust\nserver_tls_sslmode = require"};
	b = bouncer_start(&o);
	c = raw_connect(bouncer_port(b), NULL);
	raw_startup(c, "user", "app_scram", "database", "late", NULL);
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(server >= 0);
	setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	assert_int_equal(recv(server, request, sizeof request, MSG_WAITALL), 8);
	assert_memory_equal(request, "\0\0\0\10\x04\xd2\x16\x2f", 8);
	o.settings = "auth_type = trust\nserver_tls_sslmode = disable";
	bouncer_rewrite(b, &o);
	/* It finds both when it goes on, in one turn of its loop. */
	console = bouncer_console(b);
	bouncer_signal(b, SIGSTOP);
	assert_int_equal(PQsendQuery(console, "RELOAD"), 1);
	assert_int_equal(PQflush(console), 0);
	assert_int_equal(send(server, "S", 1, MSG_NOSIGNAL), 1);
	bouncer_signal(b, SIGCONT);
	assert_int_equal(PQresultStatus(db_result(console)), PGRES_COMMAND_OK);
	assert_null(db_result(console));
	/* As it was begun, or not at all: another one takes its place. */
	if (recv(server, request, 1, 0) == 1)
		assert_int_equal(request[0], 0x16);
	close(server);
	close(listener);
	db_value(client(b), "select 1");
}

/* ---- users and certificates ---- */

static void the_user_list(void **state)
{
	const char *databases = "app = host=127.0.0.1 port={pg} dbname=postgres user=app_trust";
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.databases = databases,
		.auth = "\"admin\" \"pw of admin!\"\n\"app_scram\" \"pw of app_scram!\"\n\"gone\" \"x\"\n"});
	PGconn *old = client(b), *gone = db_connect("%s dbname=app user=gone password=x", bouncer_dsn(b));

	(void)state;
	assert_string_equal(db_refused("%s dbname=app user=new password=y", bouncer_dsn(b)), "28P01");
	load_start(4, login_of(b, "app", "app_scram"));
	load_goes_on();
	reload(b, &(struct bouncer_options){.databases = databases,
			  .auth = "\"admin\" \"pw of admin!\"\n\"app_scram\" \"another one\"\n\"new\" \"y\"\n"});
	/* Who is in stays in. */
	db_value(old, "select 1");
	db_value(gone, "select 1");
	load_end();
	assert_string_equal(db_refused("%s dbname=app user=app_scram", bouncer_dsn(b)), "28P01");
	assert_string_equal(db_refused("%s dbname=app user=gone password=x", bouncer_dsn(b)), "28P01");
	db_value(db_connect("%s dbname=app user=app_scram password='another one'", bouncer_dsn(b)), "select 1");
	db_value(db_connect("%s dbname=app user=new password=y", bouncer_dsn(b)), "select 1");
	/* A list that is broken changes nothing, neither itself nor the rest. */
	reload_fails(b, &(struct bouncer_options){.databases = databases, .auth = "\"new\" \"z\"\n\"new\n"});
	db_value(db_connect("%s dbname=app user=new password=y", bouncer_dsn(b)), "select 1");
	/* Who may what on the console. */
	assert_string_equal(db_refused("%s dbname=pgbouncer user=new password=y", bouncer_dsn(b)), "28000");
	reload(b, &(struct bouncer_options){.databases = databases,
			  .settings = "admin_users = admin, new",
			  .auth = "\"admin\" \"pw of admin!\"\n\"new\" \"y\"\n"});
	db_value(db_connect("%s dbname=pgbouncer user=new password=y", bouncer_dsn(b)), "pause");
}

/* Copies a certificate and its key to where the pooler looks for them. */
static void install(const char *name)
{
	e2e_file("live.crt", 0644, e2e_read(e2e_text("%s/%s.crt", tls_dir(), name)));
	e2e_file("live.key", 0600, e2e_read(e2e_text("%s/%s.key", tls_dir(), name)));
}

static void certificates(void **state)
{
	const struct bouncer_options o = {
		.settings = e2e_text("client_tls_sslmode = require\nclient_tls_cert_file = %s/live.crt\n"
				     "client_tls_key_file = %s/live.key",
			e2e_dir(), e2e_dir())};
	const char *ours, *others, *detail;
	struct bouncer *b;
	PGconn *c;

	(void)state;
	tls_issue("first", "localhost", "DNS:localhost", 3, false);
	tls_issue("second", "localhost", "DNS:localhost", 3, true);
	install("first");
	b = bouncer_start(&o);
	ours = e2e_text(
		"host=localhost port=%d dbname=app user=app_scram password='%s' sslmode=verify-full sslrootcert=%s/ca.crt",
		bouncer_port(b), e2e_password("app_scram"), tls_dir());
	others = e2e_text(
		"host=localhost port=%d dbname=app user=app_scram sslmode=verify-full sslrootcert=%s/other-ca.crt",
		bouncer_port(b), tls_dir());
	c = db_connect("%s", ours);
	load_start(4, ours);
	load_goes_on();
	assert_int_equal(PQstatus(db_try("%s", others)), CONNECTION_BAD);
	install("second");
	bouncer_command(b, "RELOAD");
	assert_int_equal(PQstatus(db_try("%s", ours)), CONNECTION_BAD);
	db_value(db_connect("%s", others), "select 1");
	/* The certificate that it was greeted with is a session's own. */
	db_value(c, "select 1");
	load_goes_on();
	/* A key of another certificate, a broken file. */
	e2e_file("live.key", 0600, e2e_read(e2e_text("%s/first.key", tls_dir())));
	detail = reload_fails(b, &o);
	assert_non_null(strstr(detail, "live."));
	assert_non_null(strstr(detail, ".ini:"));
	assert_non_null(strstr(detail, ": client_tls_key_file: "));
	e2e_file("live.crt", 0644, "-----BEGIN CERTIFICATE-----\nnonsense\n");
	reload_fails(b, &o);
	db_value(db_connect("%s", others), "select 1");
	install("first");
	bouncer_command(b, "RELOAD");
	db_value(db_connect("%s", ours), "select 1");
	load_end();
}

/* ---- databases come and go ---- */

static void a_database_is_added_and_removed(void **state)
{
	const char *one = "app = host=127.0.0.1 port={pg} dbname=postgres";
	const char *two = "app = host=127.0.0.1 port={pg} dbname=postgres\n"
			  "more = host=127.0.0.1 port={pg} dbname=postgres pool_size=2";
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.databases = one});
	PGconn *idle, *xact, *query, *waits;
	PGresult *r;

	(void)state;
	load_start(6, login_of(b, "app", "app_scram"));
	assert_string_equal(db_refused("%s dbname=more user=app_scram", bouncer_dsn(b)), "3D000");
	assert_string_equal(db_error_text(NULL), "no such database: more");
	for (int i = 0; i < 3; i++) {
		reload(b, &(struct bouncer_options){.databases = two});
		idle = db_connect("%s dbname=more user=app_scram", bouncer_dsn(b));
		xact = db_connect("%s dbname=more user=app_scram", bouncer_dsn(b));
		query = db_connect("%s dbname=more user=app_scram", bouncer_dsn(b));
		waits = db_connect("%s dbname=more user=app_scram", bouncer_dsn(b));
		db_value(idle, "select 1");
		db_value(xact, "begin");
		pg_value(pg_shared(), "select pg_advisory_lock(1)");
		assert_int_equal(PQsendQuery(query, "select pg_advisory_xact_lock(1)"), 1);
		WAIT_UNTIL(atoi(pg_value(pg_shared(),
				   "select count(*) from pg_locks where locktype = 'advisory' and not granted")) > 0);
		assert_int_equal(PQsendQuery(waits, "select 1"), 1);
		WAIT_UNTIL(pool(b, "more", "cl_waiting") == 1);
		load_goes_on();
		reload(b, &(struct bouncer_options){.databases = one});
		told(idle, "57P01", "database removed");
		told(xact, "57P01", "database removed");
		r = db_result(query);
		assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57P01");
		assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "database removed");
		r = db_result(waits);
		assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57P01");
		assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "database removed");
		/* Nothing of it stays: its query is cancelled, its servers go. */
		WAIT_UNTIL(strcmp(pg_value(pg_shared(),
					  "select count(*) from pg_locks where locktype = 'advisory' and not granted"),
				   "0") == 0);
		pg_value(pg_shared(), "select pg_advisory_unlock(1)");
		WAIT_UNTIL(strcmp(bouncer_value(b, "SERVERS", "database", "more", "type"), "") == 0);
		WAIT_UNTIL(strcmp(bouncer_value(b, "POOLS", "database", "more", "user"), "") == 0);
		assert_string_equal(bouncer_value(b, "DATABASES", "name", "more", "name"), "");
		assert_string_equal(db_refused("%s dbname=more user=app_scram", bouncer_dsn(b)), "3D000");
		load_goes_on();
	}
	load_end();
}

static void a_database_that_the_fallback_takes_over(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host=127.0.0.1 port={pg} dbname=postgres\npostgres = host=127.0.0.1 port={pg}"});
	PGconn *app = client(b), *same = db_connect("%s dbname=postgres user=app_scram", bouncer_dsn(b));

	(void)state;
	db_value(app, "select 1");
	db_value(same, "select 1");
	/* The entry of its own is gone, and there is one that fits all. */
	reload(b, &(struct bouncer_options){
			  .databases = "app = host=127.0.0.1 port={pg} dbname=postgres\n* = host=127.0.0.1 port={pg}"});
	db_value(app, "select 1");
	assert_string_equal(db_value(db_connect("%s dbname=postgres user=app_scram", bouncer_dsn(b)),
				    "select current_database()"),
		"postgres");
	assert_string_equal(db_value(db_connect("%s dbname=template1 user=app_scram", bouncer_dsn(b)),
				    "select current_database()"),
		"template1");
}

static void what_was_paused_stays_so(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b);

	(void)state;
	bouncer_command(b, "PAUSE app");
	bouncer_command(b, "RELOAD");
	assert_int_equal(bouncer_number(b, "DATABASES", "name", "app", "paused"), 1);
	assert_int_equal(PQsendQuery(c, "select 'served'"), 1);
	WAIT_UNTIL(pool(b, "app", "cl_waiting") == 1);
	bouncer_command(b, "RELOAD");
	assert_int_equal(pool(b, "app", "cl_waiting"), 1);
	bouncer_command(b, "RESUME app");
	assert_string_equal(PQgetvalue(db_result(c), 0, 0), "served");
	assert_null(db_result(c));
	bouncer_command(b, "DISABLE app");
	bouncer_command(b, "RELOAD");
	assert_string_equal(db_refused("%s dbname=app user=app_scram", bouncer_dsn(b)), "57P03");
	/* One that goes and comes again is a new one. */
	reload(b, &(struct bouncer_options){.databases = "other = host=127.0.0.1 port={pg} dbname=postgres"});
	told(c, "57P01", "database removed");
	reload(b, &(struct bouncer_options){.databases = NULL});
	db_value(client(b), "select 1");
}

/* ---- all or nothing ---- */

static void a_fault_changes_nothing(void **state)
{
	/* Each has good changes around one fault. */
	static const struct {
		struct bouncer_options o;
		const char *detail;
	} cases[] = {
		{{.settings = "query_timeout = 77\nfrob = 1\nmax_client_conn = 1"}, "frob"},
		{{.settings = "query_timeout = 77\nmax_client_conn = none"}, "max_client_conn"},
		{{.settings = "query_timeout = 77\npool_mode = best"}, "pool_mode"},
		{{.settings = "query_timeout = 77\nthis is no line"}, "psbouncer.ini:"},
		{{.settings = "query_timeout = 77\n%include /nowhere/at/all.ini"}, "/nowhere/at/all.ini"},
		{{.settings = "query_timeout = 77\nauth_file = /nowhere/at/all.txt"}, "/nowhere/at/all.txt: "},
		{{.settings = "query_timeout = 77\nlogfile = /nowhere/at/all.log"}, "logfile"},
		{{.settings = "query_timeout = 77\nclient_tls_sslmode = require"}, "client_tls"},
		{{.settings = "query_timeout = 77\nserver_tls_ca_file = /nowhere/at/all.crt\nserver_tls_sslmode = verify-ca"},
			"server_tls_ca_file"},
		{{.databases = "other = host=127.0.0.1 port={pg} dbname=postgres frob=1",
			 .settings = "query_timeout = 77"},
			"frob"},
		{{.databases = "other = host=127.0.0.1 port=none", .settings = "query_timeout = 77"}, "port"},
		{{.databases = "other = host=127.0.0.1\npgbouncer = host=127.0.0.1", .settings = "query_timeout = 77"},
			"pgbouncer"},
		{{.users = "app_scram = pool_size=-1", .settings = "query_timeout = 77"}, "pool_size"},
		{{.auth = "\"app_scram\" \"other\"\nbroken\n", .settings = "query_timeout = 77"}, "users.txt:2: "},
		{{.ini = "[databases]\napp = host=127.0.0.1\n[nothing]\na = b\n"}, "psbouncer.ini:3: "},
	};
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "query_timeout = 50"});
	PGconn *c = client(b);
	const char *pid = db_value(c, "select pg_backend_pid()");

	(void)state;
	load_start(4, login_of(b, "app", "app_plain"));
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const char *detail = reload_fails(b, &cases[i].o);

		if (!strstr(detail, cases[i].detail))
			fail_msg("\"%s\" is not in: %s", cases[i].detail, detail);
		assert_int_equal(bouncer_number(b, "CONFIG", "key", "query_timeout", "value"), 50);
		assert_string_equal(bouncer_value(b, "DATABASES", "name", "other", "name"), "");
		assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
		db_value(client(b), "select 1");
	}
	load_end();
	assert_false(bouncer_logged(b, "configuration reloaded"));
	reload(b, &(struct bouncer_options){.settings = "query_timeout = 77"});
	assert_int_equal(bouncer_number(b, "CONFIG", "key", "query_timeout", "value"), 77);
}

static void what_needs_a_restart_stays(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c = client(b);

	(void)state;
	reload(b,
		&(struct bouncer_options){
			.settings =
				"listen_port = 1234\nlisten_addr = 127.0.0.2\nunix_socket_dir = /nowhere\nquery_timeout = 7"});
	assert_int_equal(bouncer_number(b, "CONFIG", "key", "query_timeout", "value"), 7);
	assert_int_equal(bouncer_number(b, "CONFIG", "key", "listen_port", "value"), bouncer_port(b));
	assert_string_equal(bouncer_value(b, "CONFIG", "key", "listen_addr", "value"), "127.0.0.1");
	db_value(c, "select 1");
	db_value(client(b), "select 1");
}

/* Of what was accepted on port: 0 none, 1 for what is not acknowledged yet, 2 whether its peer is still there. */
static unsigned timer_of(int fd, int port)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof sin;
	const char *ends, *line;
	unsigned timer;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	ends = e2e_text(":%04X 0100007F:%04X ", port, ntohs(sin.sin_port));
	line = strstr(e2e_read("/proc/net/tcp"), ends);
	assert_non_null(line);
	assert_int_equal(sscanf(line + strlen(ends), "%*x %*x:%*x %x", &timer), 1);
	return timer;
}

/* Who comes from then on is as the new file has it, by the same listening sockets. */
static void listening_sockets_are_tuned_anew(void **state)
{
	struct bouncer *b = bouncer_start(NULL);
	PGconn *c;

	(void)state;
	c = client(b);
	WAIT_UNTIL(timer_of(PQsocket(c), bouncer_port(b)) == 2);
	reload(b, &(struct bouncer_options){.settings = "tcp_keepalive = 0\ntcp_defer_accept = 0"});
	c = client(b);
	WAIT_UNTIL(timer_of(PQsocket(c), bouncer_port(b)) == 0);
	/* It is there without having said a word. */
	raw_connect(bouncer_port(b), NULL);
	WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "login_clients", "items") > 0);
	reload(b, &(struct bouncer_options){.settings = "tcp_keepalive = 1"});
	c = client(b);
	WAIT_UNTIL(timer_of(PQsocket(c), bouncer_port(b)) == 2);
}

/* Everything at once, as often as it can. */
static void many_changes_under_load(void **state)
{
	struct pg *second = pg_start(NULL);
	struct bouncer *b = bouncer_start(&(struct bouncer_options){.settings = "default_pool_size = 4"});

	(void)state;
	load_start(6, login_of(b, "app", "app_scram"));
	load_start(4, login_of(b, "app", "app_plain"));
	for (int i = 0; i < 60; i++) {
		const struct bouncer_options o = {
			.databases = e2e_text("app = host=127.0.0.1 port=%d dbname=postgres%s\n%s",
				i % 4 < 2 ? pg_port(pg_shared()) : pg_port(second), i % 5 ? "" : " pool_size=1",
				i % 3 ? "extra = host=127.0.0.1 port={pg} dbname=postgres" : ""),
			.settings =
				e2e_text("default_pool_size = %d\nserver_tls_sslmode = %s\nreserve_pool_size = %d\n"
					 "server_reset_query_always = %d\nserver_lifetime = %d\nmin_pool_size = %d\n%s",
					1 + i % 4, i % 2 ? "prefer" : "disable", i % 3, i % 2, i % 7, i % 3,
					i % 10 ? "" : "frob = 1"),
		};

		bouncer_rewrite(b, &o);
		if (i % 10 == 0)
			assert_string_equal(db_error(bouncer_console(b), "RELOAD"), "F0000");
		else
			bouncer_command(b, "RELOAD");
		if (i % 6 == 0)
			bouncer_command(b, "RECONNECT");
		if (i % 6 == 3)
			load_goes_on();
	}
	load_end();
	reload(b, &(struct bouncer_options){.databases = NULL});
	bouncer_command(b, "WAIT_CLOSE");
	WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "used_clients", "items") == 1);
	pg_stop(second);
}

/* What SIGHUP begins has all of its time, however long ago the process had something to do before. */
static void a_signal_to_a_quiet_process(void **state)
{
	struct bouncer_options o = {
		.databases =
			"gone = host=127.0.0.1 port={pg} dbname=postgres\napp = host=127.0.0.1 port={pg} dbname=postgres",
		.settings = "server_connect_timeout = 2"};
	static const char running[] = "select count(*) from pg_stat_activity where state = 'active' "
				      "and query = 'select pg_sleep(600)' and clock_timestamp() - query_start > '%s'";
	struct bouncer *b = bouncer_start(&o);
	PGconn *c = db_connect("%s dbname=gone user=app_scram", bouncer_dsn(b));

	(void)state;
	assert_int_equal(PQsendQuery(c, "select pg_sleep(600)"), 1);
	assert_int_equal(PQflush(c), 0);
	/* The deadline of its login wakes it once more, within 2 s. */
	WAIT_UNTIL(atoi(pg_value(pg_shared(), running, "5 s")) == 1);
	o.databases = NULL;
	bouncer_rewrite(b, &o);
	bouncer_signal(b, SIGHUP);
	WAIT_UNTIL(atoi(pg_value(pg_shared(), running, "0 s")) == 0);
	assert_false(bouncer_logged(b, "cancel request failed"));
	assert_false(bouncer_logged(b, "did not answer a cancel request"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		reload_test(the_same_file_again),
		reload_test(the_size_of_a_pool),
		reload_test(the_mode_of_a_pool),
		reload_test(limits_of_clients),
		reload_test(limits_of_time_hold_for_who_is_there),
		reload_test(another_server),
		reload_test(another_database_of_the_server),
		reload_test(tls_to_the_servers),
		reload_test(tls_that_is_switched_off_in_between),
		reload_test(the_user_list),
		reload_test(certificates),
		reload_test(a_database_is_added_and_removed),
		reload_test(a_database_that_the_fallback_takes_over),
		reload_test(what_was_paused_stays_so),
		reload_test(a_fault_changes_nothing),
		reload_test(what_needs_a_restart_stays),
		reload_test(listening_sockets_are_tuned_anew),
		reload_test(a_signal_to_a_quiet_process),
		reload_test(many_changes_under_load),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
