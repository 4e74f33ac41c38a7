/*
 * The tables of the console: exactly PgBouncer's columns, every value in both
 * formats, and the contents that no dialogue can spell out. A world of the
 * dialogues stands below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/command.h"
#include "admin/control.h"
#include "admin/result.h"
#include "admin/show.h"
#include "base/timer.h"
#include "conf/config.h"
#include "conn/conn.h"
#include "dialog/dialog.h"
#include "net/buf.h"
#include "pool/registry.h"
#include "proto/wire.h"

/* ---- columns ---- */

#define CONNS                                                                                                    \
	"type s,user s,database s,replication s,state s,addr s,port i,local_addr s,local_port i,connect_time s," \
	"request_time s,wait i,wait_us i,close_needed i,ptr s,link s,remote_pid i,tls s,application_name s,"     \
	"prepared_statements i,id i"
#define SOCKETS CONNS ",recv_pos i,pkt_pos i,pkt_remain i,send_pos i,send_remain i,pkt_avail i,send_avail i"

static const struct {
	const char *name, *columns; /* s text, i int4, q int8, N numeric */
} tables[] = {
	{"STATS", "database s,total_server_assignment_count N,total_xact_count N,total_query_count N,total_received N,"
		  "total_sent N,total_xact_time N,total_query_time N,total_wait_time N,total_client_parse_count N,"
		  "total_server_parse_count N,total_bind_count N,total_client_login_count N,"
		  "avg_server_assignment_count N,avg_xact_count N,avg_query_count N,avg_recv N,avg_sent N,"
		  "avg_xact_time N,avg_query_time N,avg_wait_time N,avg_client_parse_count N,avg_server_parse_count N,"
		  "avg_bind_count N,avg_client_login_count N"},
	{"STATS_TOTALS", "database s,server_assignment_count N,xact_count N,query_count N,bytes_received N,"
			 "bytes_sent N,xact_time N,query_time N,wait_time N,client_parse_count N,"
			 "server_parse_count N,bind_count N,client_login_count N"},
	{"STATS_AVERAGES", "database s,server_assignment_count N,xact_count N,query_count N,bytes_received N,"
			   "bytes_sent N,xact_time N,query_time N,wait_time N,avg_client_parse_count N,"
			   "avg_server_parse_count N,avg_bind_count N,avg_client_login_count N"},
	{"TOTALS", "name s,value N"},
	{"SERVERS", CONNS},
	{"CLIENTS", CONNS},
	{"SOCKETS", SOCKETS},
	{"ACTIVE_SOCKETS", SOCKETS},
	{"POOLS", "database s,user s,cl_active i,cl_waiting i,cl_active_cancel_req i,cl_waiting_cancel_req i,"
		  "sv_active i,sv_active_cancel i,sv_being_canceled i,sv_idle i,sv_used i,sv_tested i,sv_login i,"
		  "maxwait i,maxwait_us i,pool_mode s,load_balance_hosts s,held i"},
	{"DATABASES", "name s,host s,port i,database s,force_user s,pool_size i,min_pool_size i,reserve_pool_size i,"
		      "server_lifetime i,pool_mode s,load_balance_hosts s,max_connections i,current_connections i,"
		      "max_client_connections i,current_client_connections i,paused i,disabled i,held i"},
	{"USERS", "name s,pool_size s,reserve_pool_size s,pool_mode s,max_user_connections i,current_connections i,"
		  "max_user_client_connections i,current_client_connections i"},
	{"LISTS", "list s,items i"},
	{"PEERS", "peer_id i,host s,port i,pool_size i"},
	{"HOSTS",
		"host s,port i,databases s,role s,state s,timeline q,lsn s,lag_bytes q,lag_seconds q,generation q,last_change s,"
		"last_probe_us q,last_error s"},
	{"FAILOVERS", "time s,database s,from s,to s,timeline q,trigger s,detect_ms q,held q,replayed q,failed q,"
		      "resumed_ms q"},
	{"PEER_POOLS", "peer_id i,cl_active_cancel_req i,cl_waiting_cancel_req i,sv_active_cancel i,sv_login i"},
	{"PINS", "database s,user s,client s,server s,reason s,since s,statement s,pinned i,max_pinned i,total_pins q,"
		 "total_refused q"},
	{"CONFIG", "key s,value s,default s,changeable s"},
	{"MEM", "name s,size i,used i,free i,memtotal q"},
	{"PREPARED", "name s,query s,parameter_types s,clients i,servers i,uses q,shared s"},
	{"STATE", "key s,value s"},
	{"VERSION", "version s"},
};
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

static void test_columns(void **state)
{
	static const char letters[] = {
		[COLUMN_TEXT] = 's', [COLUMN_INT4] = 'i', [COLUMN_INT8] = 'q', [COLUMN_NUMERIC] = 'N'};

	(void)state;
	for (int i = 0; i < TABLES; i++) {
		const struct show_table *t = show_find(tables[i].name);
		char text[2000] = "";

		assert_non_null(t);
		for (size_t k = 0; k < t->n; k++)
			sprintf(text + strlen(text), "%s%s %c", k > 0 ? "," : "", t->columns[k].name,
				letters[t->columns[k].type]);
		assert_string_equal(text, tables[i].columns);
	}
	/* All but HELP, which has none, are above. */
	assert_int_equal(show_count, TABLES + 1);
	assert_int_equal(show_find("help")->n, 0);
	assert_null(show_find("fds"));
	assert_null(show_find(""));
}

/* ---- rows ---- */

struct rows {
	struct buf b;
	size_t n;     /* rows */
	size_t width; /* values a row */
};

/* What a command writes. */
static struct rows run(struct world *w, const char *text, uint16_t format)
{
	struct rows r = {.n = 0};
	struct result result = {.out = &r.b, .formats = &format, .n_formats = 1};
	struct command_call call = {.control = w->above, .result = &result, .is_admin = true};
	struct command c;
	char why[COMMAND_WHY];

	assert_true(command_parse(text, &c, why));
	(void)command_columns(&c, &r.width);
	assert_int_equal(command_run(&c, &call), COMMAND_OVER);
	command_free(&c);
	assert_false(buf_failed(&r.b));
	r.n = result.rows;
	return r;
}

/* The value of a column of a row as a text of its own (xfree'd by nobody: static); "(null)". *len its length. */
static const char *value(struct rows *r, size_t row, size_t column, size_t *len)
{
	static char text[4][4096];
	static unsigned turn;
	const char *p = buf_head(&r->b), *end = p + buf_len(&r->b);
	struct msg m;
	size_t need;

	turn = (turn + 1) % 4;
	for (size_t i = 0; p < end; p += WIRE_HEADER + m.len) {
		assert_int_equal(wire_scan(WIRE_SERVER, p, (size_t)(end - p), &m, &need), WIRE_OK);
		if (m.type != MSG_DATA_ROW || i++ < row)
			continue;
		struct msgr reader = msgr_init(m.payload, m.len);

		assert_int_equal(msgr_u16(&reader), r->width);
		for (size_t k = 0;; k++) {
			uint32_t n = msgr_u32(&reader);
			const char *bytes = n != UINT32_MAX ? msgr_bytes(&reader, n) : NULL;

			assert_false(reader.failed);
			if (k < column)
				continue;
			if (n == UINT32_MAX)
				return "(null)";
			assert_true(n < sizeof(text[0]));
			memcpy(text[turn], bytes, n);
			text[turn][n] = '\0';
			if (len != NULL)
				*len = n;
			return text[turn];
		}
	}
	fail_msg("no row %zu", row);
	return NULL;
}

/* The value of the column with this name. */
static const char *named(struct rows *r, const char *table, size_t row, const char *name)
{
	const struct show_table *t = show_find(table);

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return value(r, row, i, NULL);
	fail_msg("no column %s", name);
	return NULL;
}

static struct config *config, *watched; /* watched: with a host whose role counts */

static struct end *connect_as(struct world *w, const char *name, const char *user, const char *database)
{
	struct end *e = world_connect(w, name, false);
	struct bytes b = {0};
	char text[200];
	int n = snprintf(text, sizeof(text), "user%c%s%cdatabase%c%s%capplication_name%cshow test%c", 0, user, 0, 0,
		database, 0, 0, 0);

	bytes_u32(&b, (uint32_t)(8 + n + 1));
	bytes_u32(&b, 3 << 16);
	bytes_add(&b, text, (size_t)n);
	bytes_u8(&b, 0);
	world_send(e, b.p, b.n, NULL, 0);
	bytes_free(&b);
	return e;
}

static void query(struct end *e, const char *sql)
{
	struct bytes b = {0};

	bytes_u8(&b, 'Q');
	bytes_u32(&b, (uint32_t)(4 + strlen(sql) + 1));
	bytes_str(&b, sql);
	world_send(e, b.p, b.n, NULL, 0);
	bytes_free(&b);
}

/* A Parse of a text and n type oids, from 23 on. Its batch stays open: behind a Sync the next one would wait. */
static void prepare(struct end *e, const char *name, const char *sql, uint16_t n)
{
	struct bytes b = {0};

	bytes_u8(&b, 'P');
	bytes_u32(&b, (uint32_t)(4 + strlen(name) + 1 + strlen(sql) + 1 + 2 + 4 * n));
	bytes_str(&b, name);
	bytes_str(&b, sql);
	bytes_u16(&b, n);
	for (uint32_t i = 0; i < n; i++)
		bytes_u32(&b, 23 + i);
	world_send(e, b.p, b.n, NULL, 0);
	bytes_free(&b);
}

static struct world *begin_with(struct config *c)
{
	static const struct way whole = {.name = "whole", .cut = -1};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	world_begin(w, c, &whole);
	return w;
}

static struct world *begin(void)
{
	return begin_with(config);
}

static void end(struct world *w)
{
	bool ok = world_end(w);

	if (!ok)
		print_message("%s\n", w->failure.p);
	assert_true(ok);
	world_free(w);
	free(w);
}

/* Every table in both formats, while there is one of everything; each value is as long as its type says. */
static void test_formats(void **state)
{
	struct world *w = begin_with(watched);
	struct failovers *f = &w->pooler.registry.failovers;

	(void)state;
	connect_as(w, "a", "adm", "pgbouncer");
	query(connect_as(w, "b", "u", "d"), "listen x");
	prepare(connect_as(w, "c", "u", "d"), "st", "select $1", 1);
	f->v = xcalloc(MEM_DATABASE, FAILOVERS, sizeof(*f->v));
	f->v[f->last++] = (struct failover){.databases = "w", .resumed_us = -1};
	for (int i = 0; i < TABLES; i++) {
		char command[64];
		const struct show_table *t = show_find(tables[i].name);
		struct rows text, binary;

		snprintf(command, sizeof(command), "show %s", tables[i].name);
		text = run(w, command, 0);
		binary = run(w, command, 1);
		assert_true(text.n > 0);
		assert_int_equal(text.n, binary.n);
		for (size_t row = 0; row < text.n; row++)
			for (size_t k = 0; k < t->n; k++) {
				size_t len = 0;
				const char *shown = value(&text, row, k, NULL), *bytes = value(&binary, row, k, &len);
				enum column_type type = t->columns[k].type;

				if (strcmp(shown, "(null)") == 0)
					assert_string_equal(bytes, "(null)");
				else if (type == COLUMN_TEXT)
					assert_string_equal(bytes, shown);
				else if (type == COLUMN_NUMERIC)
					assert_true(len >= 8 && len % 2 == 0);
				else
					assert_int_equal(len, type == COLUMN_INT4 ? 4 : 8);
			}
		buf_free(&text.b);
		buf_free(&binary.b);
	}
	end(w);
}

static void test_connections(void **state)
{
	struct world *w = begin();
	struct rows r;
	char link[64];

	(void)state;
	connect_as(w, "a", "adm", "pgbouncer");
	query(connect_as(w, "b", "u", "d"), "select 1");
	query(connect_as(w, "c", "v", "d"), "select 1");
	w->manual = true;
	query(connect_as(w, "e", "u", "d"), "select 1"); /* its server does not answer the login */
	world_connect(w, "f", false);			 /* says nothing */
	clock_hold(clock_us() + 1500000);

	r = run(w, "show clients", 0);
	assert_int_equal(r.n, 4);
	assert_string_equal(named(&r, "CLIENTS", 0, "database"), "pgbouncer");
	assert_string_equal(named(&r, "CLIENTS", 0, "user"), "adm");
	assert_string_equal(named(&r, "CLIENTS", 0, "state"), "active");
	assert_string_equal(named(&r, "CLIENTS", 0, "id"), "1");
	assert_string_equal(named(&r, "CLIENTS", 1, "type"), "C");
	assert_string_equal(named(&r, "CLIENTS", 1, "database"), "d");
	assert_string_equal(named(&r, "CLIENTS", 1, "user"), "u");
	assert_string_equal(named(&r, "CLIENTS", 1, "replication"), "none");
	assert_string_equal(named(&r, "CLIENTS", 1, "state"), "active");
	assert_string_equal(named(&r, "CLIENTS", 1, "addr"), "127.0.0.1");
	assert_string_equal(named(&r, "CLIENTS", 1, "port"), "40001");
	assert_string_equal(named(&r, "CLIENTS", 1, "application_name"), "show test");
	assert_string_equal(named(&r, "CLIENTS", 1, "wait"), "0");
	assert_string_equal(named(&r, "CLIENTS", 1, "connect_time"), "2000-01-01 00:16:40 UTC");
	assert_string_equal(named(&r, "CLIENTS", 3, "state"), "waiting");
	assert_string_equal(named(&r, "CLIENTS", 3, "wait"), "1");
	assert_string_equal(named(&r, "CLIENTS", 3, "wait_us"), "500000");
	assert_string_equal(named(&r, "CLIENTS", 3, "link"), "");
	snprintf(link, sizeof(link), "%s", named(&r, "CLIENTS", 1, "link"));
	buf_free(&r.b);

	r = run(w, "show servers", 0);
	assert_int_equal(r.n, 3);
	assert_string_equal(named(&r, "SERVERS", 0, "ptr"), link);
	assert_string_equal(named(&r, "SERVERS", 0, "type"), "S");
	assert_string_equal(named(&r, "SERVERS", 0, "state"), "active");
	assert_string_equal(named(&r, "SERVERS", 0, "user"), "u");
	assert_string_equal(named(&r, "SERVERS", 0, "database"), "d");
	assert_string_equal(named(&r, "SERVERS", 0, "remote_pid"), "4097");
	assert_string_equal(named(&r, "SERVERS", 0, "close_needed"), "0");
	assert_string_equal(named(&r, "SERVERS", 2, "state"), "new");
	buf_free(&r.b);

	/* Sockets have all, those that say nothing too. */
	r = run(w, "show sockets", 0);
	assert_int_equal(r.n, 8);
	assert_string_equal(named(&r, "SOCKETS", 1, "state"), "cl_active");
	assert_string_equal(named(&r, "SOCKETS", 3, "state"), "cl_waiting");
	assert_string_equal(named(&r, "SOCKETS", 4, "state"), "cl_login");
	assert_string_equal(named(&r, "SOCKETS", 4, "user"), "(nouser)");
	assert_string_equal(named(&r, "SOCKETS", 4, "database"), "(nodb)");
	assert_string_equal(named(&r, "SOCKETS", 5, "state"), "sv_active");
	assert_string_equal(named(&r, "SOCKETS", 7, "state"), "sv_login");
	/* The request that waits. */
	assert_string_equal(named(&r, "SOCKETS", 3, "pkt_avail"), "14");
	buf_free(&r.b);

	r = run(w, "reconnect", 0);
	buf_free(&r.b);
	r = run(w, "show servers", 0);
	assert_string_equal(named(&r, "SERVERS", 0, "close_needed"), "1");
	buf_free(&r.b);
	end(w);
}

static void test_idle(void **state)
{
	struct world *w = begin();
	struct rows r;

	(void)state;
	connect_as(w, "b", "u", "d");
	r = run(w, "show clients", 0);
	assert_string_equal(named(&r, "CLIENTS", 0, "state"), "idle");
	buf_free(&r.b);
	r = run(w, "show sockets", 0);
	assert_string_equal(named(&r, "SOCKETS", 0, "state"), "cl_active");
	assert_string_equal(named(&r, "SOCKETS", 1, "state"), "sv_idle");
	buf_free(&r.b);
	r = run(w, "show active_sockets", 0);
	assert_int_equal(r.n, 0);
	buf_free(&r.b);
	clock_hold(clock_us() + 31 * USEC);
	r = run(w, "show servers", 0);
	assert_string_equal(named(&r, "SERVERS", 0, "state"), "used");
	buf_free(&r.b);
	end(w);
}

static void test_stats(void **state)
{
	struct world *w = begin();
	struct control *c = w->above;
	struct database *d;
	struct rows r;

	(void)state;
	d = registry_database(&w->pooler.registry, "d");
	clock_hold(clock_us() + 10 * USEC);
	stats_tick(&c->stats, clock_us());
	registry_stats_tick(&w->pooler.registry);
	d->stats.now = (struct counters){.assignments = 10,
		.xacts = 20,
		.queries = 40,
		.received = 1000,
		.sent = 5000,
		.xact_us = 4000,
		.query_us = 8000,
		.wait_us = 600,
		.client_parses = 7,
		.server_parses = 8,
		.binds = 9,
		.logins = 30};
	c->stats.now = (struct counters){.xacts = 10, .received = 100};
	clock_hold(clock_us() + 10 * USEC);
	stats_tick(&c->stats, clock_us());
	registry_stats_tick(&w->pooler.registry);

	r = run(w, "show stats", 0);
	assert_int_equal(r.n, 2);
	assert_string_equal(named(&r, "STATS", 0, "database"), "d");
	assert_string_equal(named(&r, "STATS", 0, "total_received"), "1000");
	assert_string_equal(named(&r, "STATS", 0, "total_sent"), "5000");
	assert_string_equal(named(&r, "STATS", 0, "total_bind_count"), "9");
	assert_string_equal(named(&r, "STATS", 0, "avg_recv"), "100");
	assert_string_equal(named(&r, "STATS", 0, "avg_xact_count"), "2");
	assert_string_equal(named(&r, "STATS", 0, "avg_xact_time"), "200");
	assert_string_equal(named(&r, "STATS", 0, "avg_client_login_count"), "3");
	assert_string_equal(named(&r, "STATS", 1, "database"), "pgbouncer");
	buf_free(&r.b);

	r = run(w, "show stats_averages", 0);
	assert_string_equal(named(&r, "STATS_AVERAGES", 0, "bytes_received"), "100");
	assert_string_equal(named(&r, "STATS_AVERAGES", 0, "query_time"), "200");
	buf_free(&r.b);

	r = run(w, "show totals", 0);
	assert_int_equal(r.n, 24);
	assert_string_equal(value(&r, 3, 0, NULL), "total_client_bytes");
	assert_string_equal(value(&r, 3, 1, NULL), "1100");
	assert_string_equal(value(&r, 8, 0, NULL), "total_ps_client_parse_count");
	assert_string_equal(value(&r, 12 + 1, 0, NULL), "avg_xact_count");
	assert_string_equal(value(&r, 12 + 1, 1, NULL), "3");
	buf_free(&r.b);
	end(w);
}

static void test_config(void **state)
{
	struct world *w = begin();
	struct rows r = run(w, "show config", 0);
	size_t n = 0;

	(void)state;
	assert_int_equal(r.n, PARAM_COUNT);
	for (size_t i = 0; i + 1 < r.n; i++)
		assert_true(strcmp(value(&r, i, 0, NULL), value(&r, i + 1, 0, NULL)) < 0);
	for (size_t i = 0; i < r.n; i++) {
		const char *key = value(&r, i, 0, NULL);

		if (strcmp(key, "listen_port") == 0) {
			assert_string_equal(value(&r, i, 1, NULL), "6432");
			assert_string_equal(value(&r, i, 3, NULL), "no");
			n++;
		} else if (strcmp(key, "pool_mode") == 0) {
			assert_string_equal(value(&r, i, 1, NULL), "transaction");
			assert_string_equal(value(&r, i, 2, NULL), "session");
			assert_string_equal(value(&r, i, 3, NULL), "yes");
			n++;
		} else if (strcmp(key, "server_lifetime") == 0) {
			assert_string_equal(value(&r, i, 1, NULL), "3600");
			n++;
		}
	}
	assert_int_equal(n, 3);
	buf_free(&r.b);
	end(w);
}

static void test_prepared(void **state)
{
	static const char hook[] = "\xc3\xa4"; /* a character of two bytes */
	struct world *w = begin();
	struct end *e;
	struct rows r;
	char text[3][1200];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 3; i++)
		text[i][1001] = '\0';
	text[0][1000] = '\0';		 /* fits */
	memcpy(text[1] + 999, hook, 3);	 /* is cut in front of the character */
	memset(text[2] + 900, 0x80, 60); /* is no UTF-8, and is cut as it comes */
	memset(text[2] + 960, 0x80, 41);
	e = connect_as(w, "b", "u", "d");
	for (int i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "s%d", i);
		prepare(e, name, text[i], (uint16_t)(i == 1 ? 3 : 0));
	}
	prepare(e, "now", "select 'now'::date", 0);
	prepare(e, "", "select 'of nobody'", 0);

	r = run(w, "show prepared", 0);
	assert_int_equal(r.n, 4);
	assert_string_equal(named(&r, "PREPARED", 0, "name"), "psbouncer_1");
	assert_string_equal(named(&r, "PREPARED", 0, "query"), text[0]);
	assert_string_equal(named(&r, "PREPARED", 0, "parameter_types"), "");
	assert_string_equal(named(&r, "PREPARED", 0, "clients"), "1");
	assert_string_equal(named(&r, "PREPARED", 0, "servers"), "1");
	assert_string_equal(named(&r, "PREPARED", 0, "uses"), "0");
	assert_string_equal(named(&r, "PREPARED", 0, "shared"), "yes");
	strcpy(text[1] + 999, "...");
	assert_string_equal(named(&r, "PREPARED", 1, "query"), text[1]);
	assert_string_equal(named(&r, "PREPARED", 1, "parameter_types"), "23 24 25");
	strcpy(text[2] + 1000, "...");
	assert_string_equal(named(&r, "PREPARED", 2, "query"), text[2]);
	assert_string_equal(named(&r, "PREPARED", 3, "shared"), "no");
	buf_free(&r.b);

	r = run(w, "show sockets", 0);
	assert_string_equal(named(&r, "SOCKETS", 0, "prepared_statements"), "4");
	assert_string_equal(named(&r, "SOCKETS", 1, "prepared_statements"), "4");
	buf_free(&r.b);
	end(w);
}

/* ---- the writer ---- */

struct number_row {
	int64_t n;
};

static void get_n(struct cell *c, const void *row, unsigned arg)
{
	const struct number_row *r = row;

	(void)arg;
	cell_number(c, r->n);
}

/* PostgreSQL's numeric_send() of the same numbers. */
static void test_numeric(void **state)
{
	static const struct {
		int64_t n;
		const char *bytes;
		size_t len;
	} cases[] = {
		{0, "\0\0\0\0\0\0\0\0", 8},
		{1, "\0\1\0\0\0\0\0\0\0\1", 10},
		{9999, "\0\1\0\0\0\0\0\0\x27\x0f", 10},
		{10000, "\0\1\0\1\0\0\0\0\0\1", 10},
		{10001, "\0\2\0\1\0\0\0\0\0\1\0\1", 12},
		{100000000, "\0\1\0\2\0\0\0\0\0\1", 10},
		{100000001, "\0\3\0\2\0\0\0\0\0\1\0\0\0\1", 14},
		{-12345, "\0\2\0\1\x40\0\0\0\0\1\x09\x29", 12},
		{INT64_MAX, "\0\5\0\4\0\0\0\0\3\x9a\x0d\x2c\x01\x70\x15\x65\x16\xaf", 18},
	};
	static const struct column column = {"n", COLUMN_NUMERIC, get_n, 0};
	static const uint16_t binary = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rows r = {.width = 1};
		struct result result = {.out = &r.b, .formats = &binary, .n_formats = 1};
		struct number_row row = {cases[i].n};
		size_t len = 0;
		const char *got;

		result_row(&result, &column, 1, &row);
		got = value(&r, 0, 0, &len);
		assert_int_equal(len, cases[i].len);
		assert_memory_equal(got, cases[i].bytes, len);
		buf_free(&r.b);
	}
}

/* What does not fit int4 is an error in binary form, and a text otherwise. */
static void test_out_of_range(void **state)
{
	static const struct column columns[] = {{"a", COLUMN_INT8, get_n, 0}, {"b", COLUMN_INT4, get_n, 0}};
	static const uint16_t binary = 1;
	struct number_row row = {INT64_C(1) << 40};
	struct rows r = {.width = 2};
	struct result text = {.out = &r.b}, bytes = {.out = &r.b, .formats = &binary, .n_formats = 1};
	struct msg m;
	size_t need;

	(void)state;
	result_row(&text, columns, 2, &row);
	assert_string_equal(value(&r, 0, 1, NULL), "1099511627776");
	buf_free(&r.b);
	result_row(&bytes, columns, 2, &row);
	result_row(&bytes, columns, 2, &row);
	result_done(&bytes, "SHOW");
	assert_true(bytes.failed);
	assert_int_equal(wire_scan(WIRE_SERVER, buf_head(&r.b), buf_len(&r.b), &m, &need), WIRE_OK);
	assert_int_equal(m.type, MSG_ERROR_RESPONSE);
	assert_int_equal(buf_len(&r.b), WIRE_HEADER + m.len); /* nothing before it and nothing behind it */
	buf_free(&r.b);
}

static int load(void **state)
{
	struct recipe r = {0};
	char dir[] = "/tmp/test-show-XXXXXX";

	(void)state;
	setenv("TZ", "UTC", 1);
	if (mkdtemp(dir) == NULL)
		return -1;
	bytes_printf(&r.set, "admin_users = adm\n");
	bytes_printf(&r.users, "[peers]\n2 = host=p2\n");
	config = recipe_load(&r, dir, "test_show");
	bytes_printf(&r.databases, "d = host=h port=5432\nw = host=h2 target_session_attrs=primary\n");
	watched = recipe_load(&r, dir, "test_show");
	recipe_free(&r);
	rmdir(dir);
	return config != NULL && watched != NULL ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	config_unref(&config);
	config_unref(&watched);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_prepared),
		cmocka_unit_test(test_numeric),
		cmocka_unit_test(test_out_of_range),
	};

	return cmocka_run_group_tests_name("show", tests, load, unload);
}
