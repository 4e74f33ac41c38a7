/*
 * console: the virtual database as administrators and their tools see it: the
 * tables with their columns and types, the commands, who may use them.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/e2e.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Of pg_type. */
enum { OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25, OID_NUMERIC = 1700 };

/* ---- in few words ---- */

static struct bouncer *start(const char *settings)
{
	return bouncer_start(&(struct bouncer_options){.settings = settings});
}

static PGconn *client(struct bouncer *b)
{
	return db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
}

static PGconn *admin(struct bouncer *b)
{
	return db_connect("%s dbname=pgbouncer user=admin", bouncer_dsn(b));
}

/* A connection over the unix socket. */
static const char *local_dsn(struct bouncer *b)
{
	return e2e_text("host=%s port=%d", bouncer_dir(b), bouncer_port(b));
}

static void send_query(PGconn *c, const char *sql)
{
	if (!PQsendQuery(c, sql))
		fail_msg("%s: %s", sql, PQerrorMessage(c));
}

/* The answer to what was sent is one result, and it is not an error. */
static PGresult *answered(PGconn *c)
{
	PGresult *r = db_result(c);

	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail_msg("%s", PQresultErrorMessage(r));
	assert_null(db_result(c));
	return r;
}

static void answered_with_tag(PGconn *c, const char *tag)
{
	assert_string_equal(PQcmdStatus(answered(c)), tag);
}

/* Nothing has come although the pooler has answered somebody else since. */
static void not_answered(struct bouncer *b, PGconn *c)
{
	bouncer_command(b, "SHOW VERSION");
	assert_true(PQconsumeInput(c));
	assert_true(PQisBusy(c));
}

static void fails(PGconn *c, const char *sql, const char *code, const char *text)
{
	assert_string_equal(db_error(c, sql), code);
	assert_string_equal(db_error_text(c), text);
}

static const char *tag_of(PGconn *c, const char *sql)
{
	PGresult *r = db_keep(PQexec(c, sql));

	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQresultErrorMessage(r));
	return PQcmdStatus(r);
}

static bool is_paused(struct bouncer *b, const char *db)
{
	return bouncer_number(b, "DATABASES", "name", db, "paused") == 1;
}

/* A lock of a connection past the pooler: who asks for it waits until it is given back. */
static void hold_lock(void)
{
	pg_value(pg_shared(), "select pg_advisory_lock(1)");
}

static void release_lock(void)
{
	pg_value(pg_shared(), "select pg_advisory_unlock(1)");
}

static const char wait_for_lock[] = "select pg_advisory_xact_lock(1)";

static void wait_until_waiting_for_lock(void)
{
	WAIT_UNTIL(atoi(pg_value(pg_shared(),
			   "select count(*) from pg_locks where locktype = 'advisory' and not granted")) > 0);
}

/* ---- the tables ---- */

struct table {
	const char *name;
	const char *columns; /* with a letter in front of each: s text, i int4, q int8, N numeric */
};

#define CONN_COLUMNS                                                                                             \
	"s:type s:user s:database s:replication s:state s:addr i:port s:local_addr i:local_port s:connect_time " \
	"s:request_time i:wait i:wait_us i:close_needed s:ptr s:link i:remote_pid s:tls s:application_name "     \
	"i:prepared_statements i:id"
#define SOCKET_COLUMNS \
	CONN_COLUMNS " i:recv_pos i:pkt_pos i:pkt_remain i:send_pos i:send_remain i:pkt_avail i:send_avail"

static const struct table tables[] = {
	{"STATS",
		"s:database N:total_server_assignment_count N:total_xact_count N:total_query_count N:total_received "
		"N:total_sent N:total_xact_time N:total_query_time N:total_wait_time N:total_client_parse_count "
		"N:total_server_parse_count N:total_bind_count N:total_client_login_count N:avg_server_assignment_count "
		"N:avg_xact_count N:avg_query_count N:avg_recv N:avg_sent N:avg_xact_time N:avg_query_time N:avg_wait_time "
		"N:avg_client_parse_count N:avg_server_parse_count N:avg_bind_count N:avg_client_login_count"},
	{"STATS_TOTALS",
		"s:database N:server_assignment_count N:xact_count N:query_count N:bytes_received N:bytes_sent N:xact_time "
		"N:query_time N:wait_time N:client_parse_count N:server_parse_count N:bind_count N:client_login_count"},
	{"STATS_AVERAGES",
		"s:database N:server_assignment_count N:xact_count N:query_count N:bytes_received N:bytes_sent N:xact_time "
		"N:query_time N:wait_time N:avg_client_parse_count N:avg_server_parse_count N:avg_bind_count "
		"N:avg_client_login_count"},
	{"TOTALS", "s:name N:value"},
	{"SERVERS", CONN_COLUMNS},
	{"CLIENTS", CONN_COLUMNS},
	{"SOCKETS", SOCKET_COLUMNS},
	{"ACTIVE_SOCKETS", SOCKET_COLUMNS},
	{"POOLS",
		"s:database s:user i:cl_active i:cl_waiting i:cl_active_cancel_req i:cl_waiting_cancel_req i:sv_active "
		"i:sv_active_cancel i:sv_being_canceled i:sv_idle i:sv_used i:sv_tested i:sv_login i:maxwait i:maxwait_us "
		"s:pool_mode s:load_balance_hosts i:held"},
	{"DATABASES", "s:name s:host i:port s:database s:force_user i:pool_size i:min_pool_size i:reserve_pool_size "
		      "i:server_lifetime s:pool_mode s:load_balance_hosts i:max_connections i:current_connections "
		      "i:max_client_connections i:current_client_connections i:paused i:disabled i:held"},
	{"USERS", "s:name s:pool_size s:reserve_pool_size s:pool_mode i:max_user_connections i:current_connections "
		  "i:max_user_client_connections i:current_client_connections"},
	{"LISTS", "s:list i:items"},
	{"CONFIG", "s:key s:value s:default s:changeable"},
	{"MEM", "s:name i:size i:used i:free q:memtotal"},
	{"PREPARED", "s:name s:query s:parameter_types i:clients i:servers q:uses s:shared"},
	{"STATE", "s:key s:value"},
	{"VERSION", "s:version"},
};

/* A client with a prepared statement: with it no table is empty. */
static PGconn *client_with_statement(struct bouncer *b, const char *sql)
{
	PGconn *c = client(b);

	assert_int_equal(PQresultStatus(db_keep(PQprepare(c, "st", sql, 0, NULL))), PGRES_COMMAND_OK);
	return c;
}

static char *columns_of(const PGresult *r)
{
	char *text = e2e_text("%s", "");

	for (int i = 0; i < PQnfields(r); i++) {
		Oid type = PQftype(r, i);
		char letter = type == OID_TEXT ? 's' : type == OID_INT4 ? 'i' : type == OID_INT8 ? 'q' : '?';

		if (type == OID_NUMERIC)
			letter = 'N';
		text = e2e_text("%s%s%c:%s", text, i > 0 ? " " : "", letter, PQfname(r, i));
	}
	return text;
}

static void the_columns_of_every_table(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b);

	(void)state;
	client_with_statement(b, "select 1");
	for (size_t i = 0; i < LENGTH(tables); i++) {
		PGresult *r = db_keep(PQexec(c, e2e_text("SHOW %s", tables[i].name)));

		assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
		assert_string_equal(columns_of(r), tables[i].columns);
		assert_string_equal(PQcmdStatus(r), "SHOW");
		/* Whatever else is at work, the console that asks is. */
		if (PQntuples(r) == 0)
			fail_msg("SHOW %s has no row", tables[i].name);
		for (int column = 0; column < PQnfields(r); column++)
			assert_int_equal(PQfformat(r, column), 0);
	}
}

static void the_same_in_the_extended_protocol(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b);

	(void)state;
	client_with_statement(b, "select 1");
	for (size_t i = 0; i < LENGTH(tables); i++) {
		const char *sql = e2e_text("show %s", tables[i].name), *name = e2e_text("s%zu", i);
		PGresult *r = db_keep(PQexecParams(c, sql, 0, NULL, NULL, NULL, NULL, 0));

		assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
		assert_string_equal(columns_of(r), tables[i].columns);
		assert_true(PQntuples(r) > 0);
		r = db_keep(PQprepare(c, name, sql, 0, NULL));
		assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
		r = db_keep(PQdescribePrepared(c, name));
		assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
		assert_int_equal(PQnparams(r), 0);
		assert_string_equal(columns_of(r), tables[i].columns);
		for (int round = 0; round < 2; round++) {
			r = db_keep(PQexecPrepared(c, name, 0, NULL, NULL, NULL, 0));
			assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
			assert_string_equal(columns_of(r), tables[i].columns);
			assert_true(PQntuples(r) > 0);
		}
	}
}

/* Four bytes in network order. */
static int32_t int4_of(const char *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof n);
	return (int32_t)ntohl(n);
}

/* What each value of a numeric in binary begins with: digits, weight, sign, scale (numeric.c, numeric_send). */
static long numeric_of(const char *p)
{
	uint16_t head[4], digit;
	long n = 0;

	memcpy(head, p, sizeof head);
	assert_int_equal(head[2], 0);
	assert_int_equal(head[3], 0);
	for (int i = 0; i <= (int16_t)ntohs(head[1]); i++) {
		digit = 0;
		if (i < ntohs(head[0]))
			memcpy(&digit, p + 8 + 2 * i, 2);
		n = n * 10000 + ntohs(digit);
	}
	return n;
}

static void values_in_binary(void **state)
{
	struct bouncer *b = start("max_client_conn = 70000");
	PGconn *c = admin(b), *app = client(b);
	PGresult *r;
	int column;

	(void)state;
	for (int i = 0; i < 12345; i += 1234)
		db_value(app, "select repeat('x', 10000)");
	/* The end of a query is counted before its client hears of it. */
	r = db_keep(PQexecParams(c, "show databases", 0, NULL, NULL, NULL, NULL, 1));
	column = PQfnumber(r, "port");
	assert_string_equal(PQgetvalue(r, 0, 0), "app");
	assert_int_equal(PQfformat(r, column), 1);
	assert_int_equal(PQgetlength(r, 0, column), 4);
	assert_int_equal(int4_of(PQgetvalue(r, 0, column)), pg_port(pg_shared()));
	r = db_keep(PQexecParams(c, "show stats_totals", 0, NULL, NULL, NULL, NULL, 1));
	column = PQfnumber(r, "bytes_sent");
	assert_string_equal(PQgetvalue(r, 0, 0), "app");
	assert_int_equal(numeric_of(PQgetvalue(r, 0, column)),
		bouncer_number(b, "STATS_TOTALS", "database", "app", "bytes_sent"));
	assert_true(numeric_of(PQgetvalue(r, 0, column)) > 110000);
}

static void databases_and_users(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases =
			"app = host=127.0.0.1 port={pg} dbname=postgres pool_size=7 min_pool_size=1 reserve_pool_size=2 "
			"pool_mode=session server_lifetime=77 max_db_connections=9 max_db_client_connections=11\n"
			"forced = host=127.0.0.1,localhost port={pg} dbname=template1 user=app_trust\n",
		.users =
			"app_scram = pool_size=5 pool_mode=statement max_user_connections=3 max_user_client_connections=4\n",
		.settings = "pool_mode = transaction\nmin_pool_size = 0"});
	PGconn *c = client(b);
	PGresult *r;

	(void)state;
	db_value(c, "select 1");
	r = bouncer_show(b, "SHOW DATABASES");
	assert_int_equal(PQntuples(r), 3);
	assert_string_equal(PQgetvalue(r, 0, 0), "app");
	assert_string_equal(PQgetvalue(r, 1, 0), "forced");
	assert_string_equal(PQgetvalue(r, 2, 0), "pgbouncer");
#define DATABASE(name, column) bouncer_value(b, "DATABASES", "name", name, column)
	assert_string_equal(DATABASE("app", "host"), "127.0.0.1");
	assert_string_equal(DATABASE("app", "database"), "postgres");
	assert_string_equal(DATABASE("app", "force_user"), "");
	assert_string_equal(DATABASE("app", "pool_size"), "7");
	assert_string_equal(DATABASE("app", "min_pool_size"), "1");
	assert_string_equal(DATABASE("app", "reserve_pool_size"), "2");
	assert_string_equal(DATABASE("app", "server_lifetime"), "77");
	assert_string_equal(DATABASE("app", "pool_mode"), "session");
	assert_string_equal(DATABASE("app", "max_connections"), "9");
	assert_string_equal(DATABASE("app", "current_connections"), "1");
	assert_string_equal(DATABASE("app", "max_client_connections"), "11");
	assert_string_equal(DATABASE("app", "current_client_connections"), "1");
	assert_string_equal(DATABASE("forced", "host"), "127.0.0.1,localhost");
	assert_string_equal(DATABASE("forced", "database"), "template1");
	assert_string_equal(DATABASE("forced", "force_user"), "app_trust");
	assert_string_equal(DATABASE("forced", "pool_size"), "20");
	assert_string_equal(DATABASE("forced", "pool_mode"), "");
	assert_string_equal(DATABASE("pgbouncer", "pool_mode"), "statement");
#undef DATABASE
#define USER(column) bouncer_value(b, "USERS", "name", "app_scram", column)
	assert_string_equal(USER("pool_size"), "        5");
	assert_string_equal(USER("reserve_pool_size"), "");
	assert_string_equal(USER("pool_mode"), "statement");
	assert_string_equal(USER("max_user_connections"), "3");
	assert_string_equal(USER("current_connections"), "1");
	assert_string_equal(USER("max_user_client_connections"), "4");
	assert_string_equal(USER("current_client_connections"), "1");
#undef USER
	assert_string_equal(bouncer_value(b, "USERS", "name", "app_plain", "pool_size"), "");
}

static void clients_and_servers_at_work(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *one = db_connect("%s dbname=app user=app_scram application_name=one", bouncer_dsn(b));
	PGconn *two = db_connect("%s dbname=app user=app_scram application_name=two", bouncer_dsn(b));
	PGconn *three = db_connect("%s dbname=app user=app_scram application_name=three", bouncer_dsn(b));
	const char *server;

	(void)state;
#define CLIENT(name, column) bouncer_value(b, "CLIENTS", "application_name", name, column)
#define POOL(column) bouncer_number(b, "POOLS", "database", "app", column)
	db_value(one, "begin");
	send_query(two, "select 2");
	WAIT_UNTIL(POOL("cl_waiting") == 1);
	assert_int_equal(POOL("cl_active"), 2);
	assert_int_equal(POOL("sv_active"), 1);
	assert_int_equal(POOL("sv_idle"), 0);
	assert_string_equal(bouncer_value(b, "POOLS", "database", "app", "user"), "app_scram");
	assert_string_equal(bouncer_value(b, "POOLS", "database", "app", "pool_mode"), "transaction");
	WAIT_UNTIL(POOL("maxwait_us") > 0);
	assert_string_equal(CLIENT("one", "state"), "active");
	assert_string_equal(CLIENT("two", "state"), "waiting");
	assert_string_equal(CLIENT("three", "state"), "idle");
	assert_string_equal(CLIENT("one", "type"), "C");
	assert_string_equal(CLIENT("one", "user"), "app_scram");
	assert_string_equal(CLIENT("one", "database"), "app");
	assert_string_equal(CLIENT("one", "replication"), "none");
	assert_string_equal(CLIENT("one", "addr"), "127.0.0.1");
	assert_string_equal(CLIENT("one", "local_port"), e2e_text("%d", bouncer_port(b)));
	assert_string_equal(CLIENT("one", "tls"), "");
	/* A client and its server know each other. */
	server = CLIENT("one", "link");
	assert_string_equal(bouncer_value(b, "SERVERS", "ptr", server, "link"), CLIENT("one", "ptr"));
	assert_string_equal(bouncer_value(b, "SERVERS", "ptr", server, "state"), "active");
	assert_string_equal(bouncer_value(b, "SERVERS", "ptr", server, "port"), e2e_text("%d", pg_port(pg_shared())));
	assert_string_equal(bouncer_value(b, "SERVERS", "ptr", server, "remote_pid"),
		db_value(one, "select pg_backend_pid()"));
	assert_non_null(strstr(bouncer_value(b, "SERVERS", "ptr", server, "tls"), "TLSv1.3"));
	assert_string_equal(CLIENT("two", "link"), "");
	/* Who asks is in it, on the unix socket with its process id. */
	assert_string_equal(bouncer_value(b, "CLIENTS", "database", "pgbouncer", "user"), "admin");
	assert_string_equal(bouncer_value(b, "CLIENTS", "database", "pgbouncer", "addr"), "unix");
	assert_int_equal(bouncer_number(b, "CLIENTS", "database", "pgbouncer", "remote_pid"), getpid());
	assert_string_equal(bouncer_value(b, "SOCKETS", "application_name", "two", "state"), "cl_waiting");
	assert_string_equal(bouncer_value(b, "SOCKETS", "application_name", "three", "state"), "cl_active");
	assert_string_equal(bouncer_value(b, "SOCKETS", "type", "S", "state"), "sv_active");
	assert_string_equal(bouncer_value(b, "ACTIVE_SOCKETS", "application_name", "three", "state"), "");
	assert_string_equal(bouncer_value(b, "ACTIVE_SOCKETS", "application_name", "two", "state"), "cl_waiting");
	db_value(one, "commit");
	answered(two);
	WAIT_UNTIL(POOL("sv_idle") == 1 && POOL("cl_waiting") == 0 && POOL("cl_active") == 3);
	assert_string_equal(bouncer_value(b, "SERVERS", "database", "app", "state"), "idle");
	assert_string_equal(bouncer_value(b, "SERVERS", "database", "app", "link"), "");
	db_close(three);
	WAIT_UNTIL(POOL("cl_active") == 2);
#undef CLIENT
#undef POOL
}

static void lists_and_counters(void **state)
{
	static const char *const lists[] = {"databases", "users", "peers", "pools", "peer_pools", "free_clients",
		"used_clients", "login_clients", "free_servers", "used_servers", "dns_names", "dns_zones",
		"dns_queries", "dns_pending"};
	static const char *const totals[] = {"server_assignment_count", "xact_count", "query_count", "client_bytes",
		"server_bytes", "xact_time", "query_time", "wait_time", "ps_client_parse_count",
		"ps_server_parse_count", "ps_bind_count", "client_login_count"};
	struct bouncer *b = start(NULL);
	PGconn *c = client(b);
	PGresult *r = bouncer_show(b, "SHOW LISTS");

	(void)state;
	assert_int_equal(PQntuples(r), LENGTH(lists));
	for (size_t i = 0; i < LENGTH(lists); i++)
		assert_string_equal(PQgetvalue(r, (int)i, 0), lists[i]);
#define LIST(name) bouncer_number(b, "LISTS", "list", name, "items")
	assert_int_equal(LIST("databases"), 2);
	assert_int_equal(LIST("pools"), 2);
	assert_int_equal(LIST("users"), 7);
	assert_int_equal(LIST("used_clients"), 2);
	assert_int_equal(LIST("login_clients"), 0);
	assert_int_equal(LIST("used_servers"), 1);
#undef LIST
	r = bouncer_show(b, "SHOW TOTALS");
	assert_int_equal(PQntuples(r), 2 * LENGTH(totals));
	for (size_t i = 0; i < LENGTH(totals); i++) {
		assert_string_equal(PQgetvalue(r, (int)i, 0), e2e_text("total_%s", totals[i]));
		assert_string_equal(PQgetvalue(r, (int)(i + LENGTH(totals)), 0), e2e_text("avg_%s", totals[i]));
	}
	db_value(c, "select 1; select 2");
	db_value(c, "begin");
	db_value(c, "select 3");
	db_value(c, "commit");
#define STAT(column) bouncer_number(b, "STATS_TOTALS", "database", "app", column)
	assert_int_equal(STAT("query_count"), 4);
	assert_int_equal(STAT("xact_count"), 2);
	assert_int_equal(STAT("server_assignment_count"), 2);
	assert_int_equal(STAT("client_login_count"), 1);
	assert_true(STAT("bytes_received") > 0);
	assert_true(STAT("bytes_sent") > 0);
	assert_true(STAT("query_time") <= STAT("xact_time"));
#undef STAT
	assert_int_equal(bouncer_number(b, "STATS", "database", "app", "total_query_count"), 4);
	assert_true(bouncer_number(b, "STATS", "database", "pgbouncer", "total_query_count") > 4);
	assert_true(bouncer_number(b, "TOTALS", "name", "total_query_count", "value") > 8);
}

static void prepared_statements(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *one = client_with_statement(b, "select $1::int + $2::int8");
	static const char *const values[] = {"1", "2"};
	PGresult *r;

	(void)state;
	client_with_statement(b, "select $1::int + $2::int8");
	r = db_keep(PQexecPrepared(one, "st", 2, values, NULL, NULL, 0));
	assert_string_equal(PQgetvalue(r, 0, 0), "3");
	r = bouncer_show(b, "SHOW PREPARED");
	assert_int_equal(PQntuples(r), 1);
	assert_string_equal(PQgetvalue(r, 0, PQfnumber(r, "query")), "select $1::int + $2::int8");
	assert_string_equal(PQgetvalue(r, 0, PQfnumber(r, "clients")), "2");
	assert_string_equal(PQgetvalue(r, 0, PQfnumber(r, "servers")), "1");
	assert_string_equal(PQgetvalue(r, 0, PQfnumber(r, "uses")), "1");
	assert_string_equal(PQgetvalue(r, 0, PQfnumber(r, "shared")), "yes");
	/* The server calls it what the table does. */
	assert_string_equal(db_value(one, "select name from pg_prepared_statements"),
		PQgetvalue(r, 0, PQfnumber(r, "name")));
	assert_int_equal(bouncer_number(b, "SERVERS", "state", "idle", "prepared_statements"), 1);
	assert_int_equal(bouncer_number(b, "CLIENTS", "database", "app", "prepared_statements"), 1);
}

static void averages_are_of_a_period(void **state)
{
	struct bouncer *b = start("stats_period = 1");
	PGconn *c = client(b);

	(void)state;
	WAIT_UNTIL((db_value(c, "select 1"),
		bouncer_number(b, "STATS_AVERAGES", "database", "app", "query_count") > 0));
	WAIT_UNTIL(bouncer_logged(b, "LOG stats: "));
}

static void config_is_sorted_and_says_what_can_be_changed(void **state)
{
	struct bouncer *b = start("query_timeout = 1min\nmax_client_conn = 0x20");
	PGresult *r = bouncer_show(b, "SHOW CONFIG");

	(void)state;
	for (int i = 1; i < PQntuples(r); i++)
		assert_true(strcmp(PQgetvalue(r, i - 1, 0), PQgetvalue(r, i, 0)) < 0);
#define CONFIG(key, column) bouncer_value(b, "CONFIG", "key", key, column)
	assert_string_equal(CONFIG("query_timeout", "value"), "60");
	assert_string_equal(CONFIG("query_timeout", "default"), "0");
	assert_string_equal(CONFIG("query_timeout", "changeable"), "yes");
	assert_string_equal(CONFIG("max_client_conn", "value"), "32");
	assert_string_equal(CONFIG("listen_port", "value"), e2e_text("%d", bouncer_port(b)));
	assert_string_equal(CONFIG("listen_port", "default"), "6432");
	assert_string_equal(CONFIG("listen_port", "changeable"), "no");
	assert_string_equal(CONFIG("conffile", "value"), e2e_text("%s/psbouncer.ini", bouncer_dir(b)));
	assert_string_equal(CONFIG("pool_mode", "default"), "session");
#undef CONFIG
	assert_null(strstr(bouncer_value(b, "CONFIG", "key", "auth_file", "value"), "pw of"));
}

static char notice[4096];

static void keep_notice(void *arg, const PGresult *r)
{
	(void)arg;
	snprintf(notice, sizeof notice, "%s|%s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
		PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL) ? PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL) : "");
}

static void help_is_a_notice(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b);

	(void)state;
	PQsetNoticeReceiver(c, keep_notice, NULL);
	notice[0] = '\0';
	assert_string_equal(tag_of(c, "show help"), "SHOW");
	assert_non_null(strstr(notice, "Console usage|"));
	for (size_t i = 0; i < LENGTH(tables); i++)
		if (!strstr(notice, tables[i].name))
			fail_msg("%s is not in the help", tables[i].name);
	assert_non_null(strstr(notice, "KILL_CLIENT id"));
	assert_non_null(strstr(notice, "SHUTDOWN"));
}

static void what_a_tool_looks_at_first(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b);
	PGresult *r;

	(void)state;
	assert_string_equal(PQparameterStatus(c, "server_version"), "1.25.2/psbouncer");
	assert_string_equal(PQparameterStatus(c, "client_encoding"), "UTF8");
	assert_string_equal(PQparameterStatus(c, "server_encoding"), "UTF8");
	assert_string_equal(PQparameterStatus(c, "DateStyle"), "ISO");
	assert_string_equal(PQparameterStatus(c, "TimeZone"), "GMT");
	assert_string_equal(PQparameterStatus(c, "standard_conforming_strings"), "on");
	assert_string_equal(PQparameterStatus(c, "is_superuser"), "on");
	assert_true(strncmp(db_value(c, "show version"), "PgBouncer 1.25.2 compatible (psbouncer ", 39) == 0);
	assert_string_equal(db_value(c, "SELECT version;"), db_value(c, " Show\n VERSION ; "));
	assert_string_equal(bouncer_value(b, "STATE", "key", "active", "value"), "yes");
	assert_string_equal(bouncer_value(b, "STATE", "key", "paused", "value"), "no");
	assert_string_equal(bouncer_value(b, "STATE", "key", "suspended", "value"), "no");
	assert_string_equal(db_value(c, "show client_encoding"), "UTF-8");
	assert_string_equal(db_value_ext(c, "show default_transaction_isolation"), "read committed");
	assert_string_equal(db_value(c, "show standard_conforming_strings"), "on");
	assert_string_equal(db_value(c, "show datestyle"), "ISO");
	assert_string_equal(db_value(c, "show timezone"), "GMT");
	PQsetNoticeReceiver(c, keep_notice, NULL);
	notice[0] = '\0';
	assert_string_equal(tag_of(c, "set client_encoding to 'latin1'"), "SET");
	assert_string_equal(notice, "SET ignored|");
	r = db_keep(PQexec(c, ""));
	assert_int_equal(PQresultStatus(r), PGRES_EMPTY_QUERY);
	/* The other name of the same database. */
	assert_string_equal(db_value(db_connect("%s dbname=psbouncer user=stats", bouncer_dsn(b)), "show version"),
		db_value(c, "show version"));
}

static void what_is_no_command(void **state)
{
	static const char *const texts[] = {"frob", "show", "show nothing", "show fds", "pause a b", "set", "set x",
		"select 1", "show version; show version", "begin"};
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b);
	PGresult *r;
	char *long_text = e2e_text("show %s", e2e_text("%5000s", ""));

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++) {
		fails(c, texts[i], "08P01", e2e_text("invalid command '%s', use SHOW HELP;", texts[i]));
		r = db_keep(PQexecParams(c, texts[i], 0, NULL, NULL, NULL, NULL, 0));
		assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "08P01");
		assert_string_equal(PQresultErrorField(r, PG_DIAG_SEVERITY), "ERROR");
	}
	memset(long_text + 5, 'x', 5000);
	assert_string_equal(db_error(c, long_text), "08P01");
	fails(c, "pause nowhere", "08P01", "no such database: nowhere");
	fails(c, "resume nowhere", "08P01", "no such database: nowhere");
	fails(c, "kill nowhere", "08P01", "no such database: nowhere");
	fails(c, "reconnect nowhere", "08P01", "no such database: nowhere");
	fails(c, "wait_close nowhere", "08P01", "no such database: nowhere");
	fails(c, "disable nowhere", "08P01", "no such database: nowhere");
	fails(c, "enable nowhere", "08P01", "no such database: nowhere");
	fails(c, "disable", "08P01", "a database is required");
	fails(c, "kill_client", "08P01", "a client id is required");
	fails(c, "kill_client x", "08P01", "invalid client pointer supplied");
	fails(c, "kill_client 999999", "08P01", "client not found");
	fails(c, "shutdown later", "08P01", "invalid argument of SHUTDOWN, use WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS");
	fails(c, "pause pgbouncer", "08P01", "cannot pause admin db: pgbouncer");
	/* Errors of the program's own say so. */
	r = db_keep(PQexec(c, "frob"));
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SOURCE_FUNCTION), "psbouncer");
	r = db_keep(PQexecParams(c, "show version", 1, NULL, (const char *const[]){"x"}, NULL, NULL, 0));
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "08P01");
	r = db_keep(PQexecPrepared(c, "nothing", 0, NULL, NULL, NULL, 0));
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "26000");
	/* Texts that somebody typed in the wrong place may hold a password. */
	assert_false(bouncer_logged(b, "frob"));
	WAIT_UNTIL(bouncer_logged(b, "pooler error: invalid command"));
	assert_string_equal(db_value(c, "show datestyle"), "ISO");
}

static void a_command_that_comes_in_pieces(void **state)
{
	static const char text[] = "SHOW VERSION";
	struct bouncer *b = start("auth_type = trust");
	int fd = raw_connect(bouncer_port(b), NULL);
	char *payload, type, message[5 + sizeof text] = {'Q', 0, 0, 0, 4 + sizeof text};
	size_t n;

	(void)state;
	memcpy(message + 5, text, sizeof text);
	assert_true(raw_startup(fd, "user", "admin", "database", "pgbouncer", NULL));
	do
		type = raw_read(fd, &payload, &n);
	while (type != 'Z');
	for (size_t i = 0; i < sizeof message; i++) {
		assert_true(raw_send(fd, message + i, 1));
		if (i == 3 || i == 9)
			bouncer_command(b, "SHOW VERSION"); /* it has been looked at until here */
	}
	assert_int_equal(raw_read(fd, &payload, &n), 'T');
	assert_int_equal(raw_read(fd, &payload, &n), 'D');
	assert_int_equal(raw_read(fd, &payload, &n), 'C');
	assert_int_equal(raw_read(fd, &payload, &n), 'Z');
	assert_true(raw_message(fd, 'X', "", 0));
	assert_true(raw_closed(fd, 0));
}

/* ---- who may ---- */

static void rights(void **state)
{
	static const char *const forbidden[] = {"pause", "resume", "reload", "kill", "kill app", "kill_client 1",
		"disable app", "enable app", "reconnect", "wait_close", "set query_timeout = 1", "shutdown",
		"shutdown wait_for_clients"};
	struct bouncer *b = start(NULL);
	PGconn *c = db_connect("%s dbname=pgbouncer user=stats", bouncer_dsn(b));

	(void)state;
	client_with_statement(b, "select 1");
	for (size_t i = 0; i < LENGTH(tables); i++)
		assert_int_equal(PQresultStatus(db_keep(PQexec(c, e2e_text("show %s", tables[i].name)))),
			PGRES_TUPLES_OK);
	for (size_t i = 0; i < LENGTH(forbidden); i++)
		fails(c, forbidden[i], "08P01", "admin access needed");
	assert_true(bouncer_running(b));
	assert_string_equal(db_refused("%s dbname=pgbouncer user=app_scram", bouncer_dsn(b)), "28000");
	assert_string_equal(db_error_text(NULL), "not allowed");
	/* Nothing is told before the password was right. */
	assert_string_equal(db_refused("%s dbname=pgbouncer user=admin password=no", bouncer_dsn(b)), "28P01");
	assert_string_equal(db_refused("%s dbname=pgbouncer user=app_scram password=no", bouncer_dsn(b)), "28P01");
	assert_string_equal(db_refused("%s dbname=pgbouncer user=nobody_there password=no", bouncer_dsn(b)), "28P01");
	/* Anybody may not call himself pgbouncer. */
	assert_string_equal(db_refused("%s dbname=pgbouncer user=pgbouncer password=x", bouncer_dsn(b)), "28P01");
}

static void the_user_that_the_program_runs_as(void **state)
{
	struct bouncer *b = start("admin_users =\nstats_users =");
	const char *dsn = e2e_text("%s dbname=pgbouncer user=pgbouncer", local_dsn(b));

	(void)state;
	/* A command of the library runs as the same user as the pooler does. */
	assert_non_null(strstr(e2e_command((const char *[]){"psql", "-XAtw", "-d", dsn, "-c", "show version", NULL}),
		"PgBouncer 1.25.2"));
	assert_non_null(strstr(e2e_command((const char *[]){
				       "psql", "-XAtw", "-d", dsn, "-c", "pause", "-c", "resume", NULL}),
		"RESUME"));
	/* Only on the socket. */
	assert_string_equal(db_refused("%s dbname=pgbouncer user=pgbouncer password=x", bouncer_dsn(b)), "28P01");
	if (geteuid() == 0) /* another user */
		assert_string_equal(db_refused("%s password=x", dsn), "28P01");
}

static void with_auth_type_any_everybody_may_look(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host=127.0.0.1 port={pg} dbname=postgres user=app_trust",
		.settings = "auth_type = any"});
	PGconn *c = db_connect("%s dbname=pgbouncer user=somebody", bouncer_dsn(b));

	(void)state;
	assert_string_equal(db_value(c, "show datestyle"), "ISO");
	fails(c, "pause", "08P01", "admin access needed");
	assert_string_equal(tag_of(db_connect("%s dbname=pgbouncer user=admin", bouncer_dsn(b)), "pause"), "PAUSE");
	assert_string_equal(bouncer_value(b, "STATE", "key", "paused", "value"), "yes");
}

static void limits_do_not_hold_for_it(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases = "app = host=127.0.0.1 port={pg} dbname=postgres user=app_trust",
		.settings = "max_client_conn = 2\nmax_db_client_connections = 1\nmax_user_client_connections = 1"});
	PGconn *c = client(b);

	(void)state;
	assert_string_equal(db_refused("%s dbname=app user=app_trust", bouncer_dsn(b)), "53300");
	assert_string_equal(db_error_text(NULL), "no more connections allowed (max_db_client_connections)");
	/* Administrators only know the limit of all clients. */
	db_value(db_connect("%s dbname=app user=admin", bouncer_dsn(b)), "select 1");
	assert_string_equal(db_refused("%s dbname=app user=admin", bouncer_dsn(b)), "53300");
	assert_string_equal(db_error_text(NULL), "no more connections allowed (max_client_conn)");
	for (int i = 0; i < 5; i++)
		assert_string_equal(db_value(admin(b), "show datestyle"), "ISO");
	assert_string_equal(db_value(db_connect("%s dbname=pgbouncer user=stats", bouncer_dsn(b)), "show datestyle"),
		"ISO");
	db_value(c, "select 1");
}

/* ---- pause ---- */

static void a_pause_waits_and_holds_back(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b), *running = client(b), *late = client(b);

	(void)state;
	hold_lock();
	send_query(running, wait_for_lock);
	wait_until_waiting_for_lock();
	send_query(c, "pause");
	WAIT_UNTIL(strcmp(bouncer_value(b, "STATE", "key", "paused", "value"), "yes") == 0);
	not_answered(b, c);
	/* A login goes on, a query waits. */
	send_query(late, "select 'late'");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	fails(bouncer_console(b), "pause", "08P01", "already suspended/paused");
	client(b);
	release_lock();
	answered(running);
	answered_with_tag(c, "PAUSE");
	WAIT_UNTIL(bouncer_number(b, "LISTS", "list", "used_servers", "items") == 0);
	not_answered(b, late);
	bouncer_command(b, "RESUME");
	assert_string_equal(PQgetvalue(answered(late), 0, 0), "late");
	db_value(running, "select 1");
	fails(c, "resume", "08P01", "pooler is not paused/suspended");
}

static void a_transaction_ends_before_a_pause(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b), *app = client(b);

	(void)state;
	db_value(app, "begin");
	send_query(c, "pause app");
	WAIT_UNTIL(is_paused(b, "app"));
	/* It has its server until it is over. */
	db_value(app, "create temporary table t (n int) on commit drop");
	db_value(app, "insert into t values (1)");
	not_answered(b, c);
	db_value(app, "commit");
	answered_with_tag(c, "PAUSE");
	assert_string_equal(tag_of(c, "resume app"), "RESUME");
	assert_false(is_paused(b, "app"));
	fails(c, "resume app", "08P01", "database app is not paused");
}

static void a_pause_of_one_database_leaves_the_other(void **state)
{
	struct bouncer *b = bouncer_start(&(struct bouncer_options){
		.databases =
			"app = host=127.0.0.1 port={pg} dbname=postgres\nother = host=127.0.0.1 port={pg} dbname=postgres"});
	PGconn *app = client(b), *other = db_connect("%s dbname=other user=app_scram", bouncer_dsn(b));

	(void)state;
	db_value(app, "select 1");
	db_value(other, "select 1");
	bouncer_command(b, "PAUSE app");
	send_query(app, "select 'app'");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	assert_string_equal(db_value(other, "select 'other'"), "other");
	assert_true(is_paused(b, "app"));
	assert_false(is_paused(b, "other"));
	assert_int_equal(bouncer_number(b, "DATABASES", "name", "app", "current_connections"), 0);
	bouncer_command(b, "RESUME app");
	assert_string_equal(PQgetvalue(answered(app), 0, 0), "app");
}

static void a_cancelled_pause_resumes(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b), *app = client(b), *late = client(b);
	PGcancel *cancel = PQgetCancel(c);
	PGresult *r;
	char why[256];

	(void)state;
	db_value(app, "begin");
	send_query(c, "pause");
	WAIT_UNTIL(strcmp(bouncer_value(b, "STATE", "key", "paused", "value"), "yes") == 0);
	send_query(late, "select 'late'");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	if (!PQcancel(cancel, why, sizeof why))
		fail_msg("%s", why);
	PQfreeCancel(cancel);
	r = db_result(c);
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "canceling statement due to user request");
	assert_null(db_result(c));
	assert_string_equal(PQgetvalue(answered(late), 0, 0), "late");
	assert_string_equal(bouncer_value(b, "STATE", "key", "paused", "value"), "no");
	db_value(app, "commit");
	assert_string_equal(db_value(c, "show datestyle"), "ISO");
}

static void a_console_that_goes_leaves_the_pause(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b), *app = client(b);

	(void)state;
	db_value(app, "begin");
	send_query(c, "pause");
	WAIT_UNTIL(strcmp(bouncer_value(b, "STATE", "key", "paused", "value"), "yes") == 0);
	shutdown(PQsocket(c), SHUT_RDWR); /* without a Terminate */
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "pgbouncer", "cl_active") == 1);
	assert_string_equal(bouncer_value(b, "STATE", "key", "paused", "value"), "yes");
	/* What another one resumes ends the wait of the first. */
	db_value(app, "commit");
	c = admin(b);
	bouncer_command(b, "RESUME");
	db_value(app, "begin");
	send_query(c, "pause");
	WAIT_UNTIL(strcmp(bouncer_value(b, "STATE", "key", "paused", "value"), "yes") == 0);
	bouncer_command(b, "RESUME");
	assert_string_equal(PQresultErrorField(db_result(c), PG_DIAG_SQLSTATE), "08P01");
	assert_null(db_result(c));
	db_value(app, "commit");
}

/* ---- servers and clients are replaced, closed, refused ---- */

static void reconnect_and_wait_close(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b), *idle = client(b), *busy = client(b);
	const char *pid;

	(void)state;
	pid = db_value(idle, "select pg_backend_pid()");
	assert_string_equal(tag_of(c, "reconnect"), "RECONNECT");
	assert_string_equal(tag_of(c, "wait_close"), "WAIT_CLOSE");
	assert_string_not_equal(db_value(idle, "select pg_backend_pid()"), pid);
	db_value(busy, "begin");
	pid = db_value(busy, "select pg_backend_pid()");
	assert_string_equal(tag_of(c, "reconnect app"), "RECONNECT");
	assert_int_equal(bouncer_number(b, "SERVERS", "remote_pid", pid, "close_needed"), 1);
	send_query(c, "wait_close app");
	not_answered(b, c);
	assert_string_equal(db_value(busy, "select pg_backend_pid()"), pid);
	db_value(busy, "commit");
	answered_with_tag(c, "WAIT_CLOSE");
	assert_string_not_equal(db_value(busy, "select pg_backend_pid()"), pid);
	WAIT_UNTIL(bouncer_logged(b, "closing because: connection is to be replaced"));
}

static void kill_and_resume(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *idle = client(b), *busy = client(b), *waits;
	const char *pid;

	(void)state;
	db_value(busy, "begin");
	pid = db_value(busy, "select pg_backend_pid()");
	bouncer_command(b, "KILL app");
	fails(idle, "select 1", "57P01", "database removed");
	fails(busy, "select 1", "57P01", "database removed");
	assert_int_equal(PQstatus(idle), CONNECTION_BAD);
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select count(*) from pg_stat_activity where pid = %s", pid), "0") ==
		   0);
	assert_true(is_paused(b, "app"));
	waits = client(b);
	send_query(waits, "select 'served'");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	bouncer_command(b, "RESUME app");
	assert_string_equal(PQgetvalue(answered(waits), 0, 0), "served");
	bouncer_command(b, "KILL");
	fails(waits, "select 1", "57P01", "database removed");
	assert_string_equal(bouncer_value(b, "STATE", "key", "paused", "value"), "yes");
	bouncer_command(b, "RESUME");
	db_value(client(b), "select 1");
}

static void kill_client(void **state)
{
	struct bouncer *b = start("admin_users = admin, stats");
	PGconn *c = db_connect("%s dbname=pgbouncer user=stats", bouncer_dsn(b)), *stays = client(b);
	PGconn *goes = db_connect("%s dbname=app user=app_scram application_name=goes", bouncer_dsn(b));
	const char *id = bouncer_value(b, "CLIENTS", "application_name", "goes", "id"), *pid;

	(void)state;
	db_value(stays, "select 1");
	db_value(goes, "begin");
	pid = db_value(goes, "select pg_backend_pid()");
	assert_string_equal(tag_of(c, e2e_text("kill_client %s", id)), "KILL_CLIENT");
	fails(goes, "select 1", "57P01", "admin forced disconnect");
	fails(c, e2e_text("kill_client %s", id), "08P01", "client not found");
	/* Its transaction is rolled back and the server serves on. */
	WAIT_UNTIL(strcmp(pg_value(pg_shared(), "select state from pg_stat_activity where pid = %s", pid), "idle") ==
		   0);
	db_value(stays, "select 1");
	/* It may be the console's own. */
	id = bouncer_value(b, "CLIENTS", "user", "stats", "id");
	fails(c, e2e_text("kill_client %s", id), "57P01", "admin forced disconnect");
	db_value(stays, "select 1");
}

static void disable_and_enable(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *inside = client(b);

	(void)state;
	bouncer_command(b, "DISABLE app");
	assert_int_equal(bouncer_number(b, "DATABASES", "name", "app", "disabled"), 1);
	assert_string_equal(db_refused("%s dbname=app user=app_scram", bouncer_dsn(b)), "57P03");
	assert_string_equal(db_error_text(NULL), "database \"app\" is disabled");
	assert_string_equal(db_refused("%s dbname=app user=app_scram password=no", bouncer_dsn(b)), "28P01");
	db_value(inside, "select 1");
	bouncer_command(b, "ENABLE app");
	db_value(client(b), "select 1");
	assert_int_equal(bouncer_number(b, "DATABASES", "name", "app", "disabled"), 0);
}

/* ---- settings ---- */

static void set_until_reload(void **state)
{
	struct bouncer *b = start("default_pool_size = 1\nquery_wait_timeout = 100");
	PGconn *c = admin(b), *one = client(b), *two = client(b);
	PGresult *r;

	(void)state;
#define VALUE(key) bouncer_value(b, "CONFIG", "key", key, "value")
	db_value(one, "begin");
	send_query(two, "select 'two'");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	/* It is in force at once, for who waits already. */
	assert_string_equal(tag_of(c, "SET default_pool_size = 2"), "SET default_pool_size=2");
	assert_string_equal(PQgetvalue(answered(two), 0, 0), "two");
	assert_string_equal(VALUE("default_pool_size"), "2");
	assert_string_equal(tag_of(c, "set Server_Reset_Query to 'select ''x'''"), "SET Server_Reset_Query=select 'x'");
	assert_string_equal(VALUE("server_reset_query"), "select 'x'");
	db_value(one, "commit");
	r = db_keep(PQexec(c, "set listen_port = 1"));
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "SET failed");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "08P01");
	assert_non_null(strstr(PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL), "restart"));
	r = db_keep(PQexec(c, "set query_timeout = many"));
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "SET failed");
	assert_non_null(strstr(PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL), "query_timeout"));
	fails(c, "set pool_mode = best", "08P01", "SET failed");
	fails(c, "set auth_file = /nowhere/at/all", "08P01", "SET failed");
	fails(c, "set client_tls_sslmode = require", "08P01", "SET failed");
	r = db_keep(PQexec(c, "set query_timeouts = 1"));
	assert_non_null(strstr(PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL), "query_timeout"));
	assert_string_equal(VALUE("query_timeout"), "0");
	assert_string_equal(VALUE("listen_port"), e2e_text("%d", bouncer_port(b)));
	assert_string_equal(VALUE("client_tls_sslmode"), "disable");
	/* The file counts again after a reload. */
	assert_string_equal(tag_of(c, "reload"), "RELOAD");
	assert_string_equal(VALUE("default_pool_size"), "1");
	assert_string_equal(VALUE("server_reset_query"), "DISCARD ALL");
	db_value(one, "select 1");
#undef VALUE
}

static void a_bad_reload_says_where(void **state)
{
	struct bouncer *b = start("query_timeout = 5");
	PGconn *c = admin(b);
	const char *detail;
	PGresult *r;

	(void)state;
	bouncer_rewrite(b, &(struct bouncer_options){.ini = "[databases]\n"
							    "app = host=127.0.0.1 port={pg}\n"
							    "[pgbouncer]\n"
							    "query_timeout = 6\n"
							    "no_such_thing = 1\n"
							    "pool_mode = best\n"});
	r = db_keep(PQexec(c, "reload"));
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "F0000");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SEVERITY), "ERROR");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
		"RELOAD failed, see logs for additional details");
	detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL);
	assert_non_null(strstr(detail, e2e_text("%s/psbouncer.ini:5: ", bouncer_dir(b))));
	assert_non_null(strstr(detail, e2e_text("%s/psbouncer.ini:6: ", bouncer_dir(b))));
	WAIT_UNTIL(bouncer_logged(b, "psbouncer.ini:5: "));
	assert_string_equal(bouncer_value(b, "CONFIG", "key", "query_timeout", "value"), "5");
	db_value(client(b), "select 1");
	/* A broken user list is such a fault too. */
	bouncer_rewrite(b, &(struct bouncer_options){
				   .settings = "query_timeout = 6", .auth = "\"app_scram\" \"x\"\nno quotes here\n"});
	r = db_keep(PQexec(c, "reload"));
	assert_non_null(strstr(PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL),
		e2e_text("%s/users.txt:2: ", bouncer_dir(b))));
	assert_string_equal(bouncer_value(b, "CONFIG", "key", "query_timeout", "value"), "5");
	db_value(client(b), "select 1");
	bouncer_rewrite(b, &(struct bouncer_options){.settings = "query_timeout = 6"});
	assert_string_equal(tag_of(c, "RELOAD;"), "RELOAD");
	assert_string_equal(bouncer_value(b, "CONFIG", "key", "query_timeout", "value"), "6");
}

/* ---- the end ---- */

static void shutdown_at_once(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = admin(b), *app = client(b);
	const char *socket = e2e_text("%s/.s.PGSQL.%d", bouncer_dir(b), bouncer_port(b));

	(void)state;
	db_value(app, "begin");
	/* There is no answer. */
	assert_string_equal(db_error(c, "SHUTDOWN"), "-");
	assert_int_equal(PQstatus(c), CONNECTION_BAD);
	assert_int_equal(bouncer_wait_exit(b), 0);
	assert_string_equal(db_error(app, "select 1"), "57P01");
	assert_string_equal(db_error_text(app), "pooler is shutting down");
	assert_int_equal(access(socket, F_OK), -1);
}

static void shutdown_when_servers_are_free(void **state)
{
	struct bouncer *b = start("default_pool_size = 1");
	PGconn *c = db_connect("%s dbname=pgbouncer user=admin", local_dsn(b)), *app = client(b), *waits = client(b);
	PGconn *idle = client(b);
	PGresult *r;

	(void)state;
	hold_lock();
	send_query(app, wait_for_lock);
	wait_until_waiting_for_lock();
	send_query(waits, "select 1");
	WAIT_UNTIL(bouncer_number(b, "POOLS", "database", "app", "cl_waiting") == 1);
	assert_string_equal(tag_of(c, "SHUTDOWN WAIT_FOR_SERVERS"), "SHUTDOWN");
	r = db_result(waits);
	assert_string_equal(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57P01");
	assert_string_equal(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "server shutting down");
	fails(idle, "select 1", "57P01", "server shutting down");
	/* Only the console may come in, and not from afar. */
	assert_int_equal(raw_connect(bouncer_port(b), NULL), -1);
	assert_string_equal(db_refused("%s dbname=app user=app_scram", local_dsn(b)), "57P03");
	assert_string_equal(db_error_text(NULL), "pooler is shutting down");
	assert_string_equal(db_value(db_connect("%s dbname=pgbouncer user=admin", local_dsn(b)), "show datestyle"),
		"ISO");
	fails(c, "resume", "08P01", "pooler is shutting down");
	fails(c, "shutdown wait_for_servers", "08P01", "already shutting down");
	assert_true(bouncer_running(b));
	release_lock();
	answered(app);
	assert_int_equal(bouncer_wait_exit(b), 0);
}

static void shutdown_when_clients_have_gone(void **state)
{
	struct bouncer *b = start(NULL);
	PGconn *c = db_connect("%s dbname=pgbouncer user=admin", local_dsn(b)), *one = client(b), *two = client(b);

	(void)state;
	assert_string_equal(tag_of(c, "SHUTDOWN WAIT_FOR_CLIENTS"), "SHUTDOWN");
	assert_int_equal(raw_connect(bouncer_port(b), NULL), -1);
	assert_string_equal(db_refused("%s dbname=app user=app_scram", local_dsn(b)), "57P03");
	/* They are served until they go of themselves. */
	db_value(one, "begin");
	db_value(two, "select 1");
	db_close(two);
	db_value(one, "commit");
	db_value(one, "select 1");
	assert_string_equal(db_value(c, "show datestyle"), "ISO");
	db_close(one);
	assert_int_equal(bouncer_wait_exit(b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(the_columns_of_every_table),
		e2e_test(the_same_in_the_extended_protocol),
		e2e_test(values_in_binary),
		e2e_test(databases_and_users),
		e2e_test(clients_and_servers_at_work),
		e2e_test(lists_and_counters),
		e2e_test(prepared_statements),
		cmocka_unit_test(averages_are_of_a_period),
		e2e_test(config_is_sorted_and_says_what_can_be_changed),
		e2e_test(help_is_a_notice),
		e2e_test(what_a_tool_looks_at_first),
		e2e_test(what_is_no_command),
		e2e_test(a_command_that_comes_in_pieces),
		e2e_test(rights),
		e2e_test(the_user_that_the_program_runs_as),
		e2e_test(with_auth_type_any_everybody_may_look),
		e2e_test(limits_do_not_hold_for_it),
		e2e_test(a_pause_waits_and_holds_back),
		e2e_test(a_transaction_ends_before_a_pause),
		e2e_test(a_pause_of_one_database_leaves_the_other),
		e2e_test(a_cancelled_pause_resumes),
		e2e_test(a_console_that_goes_leaves_the_pause),
		e2e_test(reconnect_and_wait_close),
		e2e_test(kill_and_resume),
		e2e_test(kill_client),
		e2e_test(disable_and_enable),
		e2e_test(set_until_reload),
		e2e_test(a_bad_reload_says_where),
		e2e_test(shutdown_at_once),
		e2e_test(shutdown_when_servers_are_free),
		e2e_test(shutdown_when_clients_have_gone),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
