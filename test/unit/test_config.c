/*
 * config: what a file may say and what comes of it, every fault with its file
 * and line, the traps that inih would fall into, includes, what must fit
 * together, SET, RELOAD, and what is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/authfile.h"
#include "conf/config.h"
#include "net/buf.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/test_config.XXXXXX";

static unsigned warnings;
static char last_warning[1024];

static void on_log(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level != LL_WARNING)
		return;
	warnings++;
	snprintf(last_warning, sizeof last_warning, "%s", line);
}

static void assert_warned(const char *text)
{
	if (strstr(last_warning, text) == NULL)
		fail_msg("\"%s\" is not in the warning \"%s\"", text, last_warning);
	last_warning[0] = '\0';
}

static int forget_warnings(void **state)
{
	(void)state;
	warnings = 0;
	last_warning[0] = '\0';
	return 0;
}

static struct config *parse_n(const char *text, size_t n, struct errs *errs)
{
	*errs = (struct errs){0};
	return config_parse("main", text, n, errs);
}

/* Of a text without a fault. */
static struct config *parse(const char *text)
{
	struct errs errs;
	struct config *c = parse_n(text, strlen(text), &errs);

	if (c == NULL)
		fail_msg("%s\n%s:%d: %s", text, errs.v[0].file, errs.v[0].line, errs.v[0].text);
	assert_int_equal(errs.total, 0);
	return c;
}

/* The faults of a text, "FILE:LINE: TEXT", each with a newline. */
static const char *faults(const char *text, size_t n)
{
	static char all[20000];
	struct errs errs;
	struct config *c = parse_n(text, n, &errs);
	size_t used = 0;
	char one[1200];

	all[0] = '\0';
	assert_true((c == NULL) == (errs.total > 0));
	for (size_t i = 0; i < errs.n && used < sizeof all; i++)
		used += (size_t)snprintf(all + used, sizeof all - used, "%s\n", errs_format(&errs, i, one, sizeof one));
	config_unref(&c);
	errs_free(&errs);
	return all;
}

static const char *path(const char *name)
{
	static char buf[32][200];
	static unsigned i;

	i = (i + 1) % ROWS(buf);
	snprintf(buf[i], sizeof buf[i], "%s/%s", dir, name);
	return buf[i];
}

/* A file whose text has DIR in it for the folder of the test. */
static const char *write_file(const char *name, const char *text)
{
	FILE *f = fopen(path(name), "w");

	assert_non_null(f);
	for (; *text != '\0'; text++) {
		if (strncmp(text, "DIR", 3) == 0) {
			fputs(dir, f);
			text += 2;
		} else {
			fputc(*text, f);
		}
	}
	fclose(f);
	return path(name);
}

/* ---- settings ---- */

static void test_nothing(void **state)
{
	struct config *c = parse(""), *again = config_ref(c);
	struct settings s;

	(void)state;
	settings_init(&s);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		if (i != PARAM_conffile)
			assert_true(param_equal(&param_table[i], &c->set, &s));
		assert_string_equal(c->origin[i].what, "default");
	}
	assert_string_equal(c->set.conffile, "main");
	assert_string_equal(c->path, "main");
	assert_int_equal(c->databases.count, 0);
	assert_null(c->fallback);
	assert_non_null(c->auth);
	settings_free(&s);
	config_unref(&again);
	assert_null(again);
	config_unref(&c);
	config_unref(&c);
}

/* Each text gives pool_mode transaction and max_client_conn 7. */
static void test_shapes(void **state)
{
	static const char *const texts[] = {
		"[pgbouncer]\npool_mode=transaction\nmax_client_conn=7\n",
		"[psbouncer]\npool_mode=transaction\nmax_client_conn=7",
		"[PgBouncer]\nPOOL_MODE = Transaction\nMax_Client_Conn =7\n",
		"  [pgbouncer]  \n  pool_mode \t= transaction  \n\t\tmax_client_conn=\t7 \t\n",
		"[pgbouncer]\r\npool_mode = transaction\r\nmax_client_conn = 7\r\n",
		"\xef\xbb\xbf[pgbouncer]\npool_mode=transaction\nmax_client_conn=7\n",
		"; a comment\n# another\n\n[pgbouncer] ; of it\n  ; indented\npool_mode=transaction\n;max_client_conn=8\n"
		"max_client_conn=7\n",
		"[pgbouncer]#x\n'pool_mode'=transaction\n\"max_client_conn\" = 7\n",
		"[pgbouncer]\npool_mode=session\nmax_client_conn=8\npool_mode=transaction\nmax_client_conn=7\n",
		"[databases]\n[users]\n[pgbouncer]\npool_mode=transaction\n[users]\n[databases]\n"
		"[pgbouncer]\npool_mode=transaction\nmax_client_conn=7",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(texts); i++) {
		struct config *c = parse(texts[i]);

		assert_int_equal(c->set.pool_mode, POOL_TRANSACTION);
		assert_int_equal(c->set.max_client_conn, 7);
		config_unref(&c);
	}
}

/* Values keep what inih would cut or join: comments, quotes, separators. */
static void test_traps(void **state)
{
	static const char *const values[] = {
		"select 1 ; -- not a comment",
		"a # b",
		"a = b : c",
		"'quoted' \"too\"",
		"[not a section]",
		"%41",
		";",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(values); i++) {
		char text[300];
		struct config *c;

		snprintf(text, sizeof text, "[pgbouncer]\nserver_check_query =  %s \n  \tpkt_buf = 100\n", values[i]);
		c = parse(text);
		assert_string_equal(c->set.server_check_query, values[i]);
		assert_int_equal(c->set.pkt_buf, 100);
		config_unref(&c);
	}
}

/* A line of n bytes in all, and one behind it to see that lines are still counted. */
static const char *long_line(size_t n, char *text)
{
	size_t head = (size_t)sprintf(text, "[pgbouncer]\nserver_check_query=");

	memset(text + head, 'x', n - strlen("server_check_query="));
	strcpy(text + 12 + n, "\n?\n");
	return text;
}

static void test_long_lines(void **state)
{
	char *text = malloc(200000);
	struct errs errs;
	struct config *c;

	(void)state;
	assert_non_null(text);
	for (size_t n = 150; n < 65000; n = n < 1000 ? n + 1 : n * 2) {
		long_line(n, text);
		*strchr(text, '?') = ';';
		c = parse(text);
		assert_int_equal(strlen(c->set.server_check_query), n - 19);
		config_unref(&c);
	}
	long_line(65000, text);
	*strchr(text, '?') = ';';
	c = parse(text);
	assert_int_equal(strlen(c->set.server_check_query), 65000 - 19);
	config_unref(&c);
	for (size_t n = 65001; n < 150000; n += 40000) {
		long_line(n, text);
		assert_null(parse_n(text, strlen(text), &errs));
		assert_int_equal(errs.total, 2);
		assert_int_equal(errs.v[0].line, 2);
		assert_string_equal(errs.v[0].text, "a line of more than 65000 bytes");
		assert_int_equal(errs.v[1].line, 3);
		errs_free(&errs);
	}
	free(text);
}

/* The header gives every setting its default again, but not those whose default is no value. */
static void test_header_resets(void **state)
{
	struct config *c = parse("[pgbouncer]\nlisten_port=1\nverbose=2\nuser=x\nclient_tls13_ciphers=y\n"
				 "server_tls13_ciphers=z\nauth_file=\n[databases]\n[psbouncer]\npool_mode=statement\n");

	(void)state;
	assert_int_equal(c->set.listen_port, 6432);
	assert_string_equal(c->origin[PARAM_listen_port].what, "default");
	assert_null(c->origin[PARAM_listen_port].file);
	assert_int_equal(c->set.pool_mode, POOL_STATEMENT);
	assert_int_equal(c->origin[PARAM_pool_mode].line, 10);
	assert_string_equal(c->origin[PARAM_pool_mode].file, "main");
	assert_int_equal(c->set.verbose, 2);
	assert_string_equal(c->set.user, "x");
	assert_string_equal(c->set.client_tls13_ciphers, "y");
	assert_string_equal(c->set.server_tls13_ciphers, "z");
	assert_int_equal(warnings, 1);
	assert_warned("main:9: the section of the settings again");
	config_unref(&c);
}

/* ---- faults ---- */

#define EIGHT "h,h,h,h,h,h,h,h,"

static const struct fault {
	const char *text, *faults;
} bad[] = {
	{"pool_mode=session\n", "main:1: a setting before the first [section]\n"},
	{"[pgbouncer]\n\nfoo\n[pgbouncer]\nbar baz\n",
		"main:3: neither a comment, [section], %include FILE nor NAME = value "
		"(a name with other characters than letters, digits and _ . - * needs quotes)\n"
		"main:5: neither a comment, [section], %include FILE nor NAME = value "
		"(a name with other characters than letters, digits and _ . - * needs quotes)\n"},
	{"[pgbouncer]\npool_mode : session\n",
		"main:2: neither a comment, [section], %include FILE nor NAME = value "
		"(a name with other characters than letters, digits and _ . - * needs quotes)\n"},
	{"[pgbouncer]\n= session\n", "main:2: neither a comment, [section], %include FILE nor NAME = value "
				     "(a name with other characters than letters, digits and _ . - * needs quotes)\n"},
	{"[pgbouncer]\n%includefoo\n",
		"main:2: neither a comment, [section], %include FILE nor NAME = value "
		"(a name with other characters than letters, digits and _ . - * needs quotes)\n"},
	{"[databases]\n\"a = host=b\n", "main:2: a name whose quote is not closed\n"},
	{"[databases]\n'a''\n", "main:2: a name whose quote is not closed\n"},
	{"[databases]\n\"\" = host=b\n", "main:2: an empty name\n"},
	{"[database]\nx\n", "main:1: unknown section [database]; the nearest known one is [databases]\n"
			    "main:2: neither a comment, [section], %include FILE nor NAME = value "
			    "(a name with other characters than letters, digits and _ . - * needs quotes)\n"},
	{"[nonsense thing]\na=b\n[pgbouncer]\nlisten_port=x\n",
		"main:1: unknown section [nonsense thing]; the nearest known one is [users]\nmain:4: listen_port must be a whole number from 1 to 65535\n"},
	{"[ databases ]\n", "main:1: unknown section [ databases ]; the nearest known one is [databases]\n"},
	{"[]\n", "main:1: unknown section []; the nearest known one is [users]\n"},
	{"[databases\n", "main:1: a section without ']'\n"},
	{"[databases] x\n", "main:1: text behind the section's ']'\n"},
	{"[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
		"main:1: the name of the section is too long\n"},
	{"[pgbouncer]\npool_mdoe=session\nlisten_port=\nfoo=1\npool_size=5\nautodb_idle_timeout=100\n",
		"main:2: unknown setting \"pool_mdoe\"; the nearest known one is \"pool_mode\"\n"
		"main:3: listen_port must be a whole number from 1 to 65535\n"
		"main:4: unknown setting \"foo\"; the nearest known one is \"zone\"\n"
		"main:5: unknown setting \"pool_size\"; the nearest known one is \"default_pool_size\"\n"
		"main:6: unknown setting \"autodb_idle_timeout\"; the nearest known one is \"server_idle_timeout\"\n"},
	{"[databases]\na = host=h x\n",
		"main:2: database \"a\": a key without '=' and a value (a value with spaces needs single quotes) "
		"(at character 8 of its value)\n"},
	{"[databases]\na = user=\n", "main:2: database \"a\": an empty value (at character 1 of its value)\n"},
	{"[databases]\na = hots=h prot=1 default_pool_size=3 zzzzzz=1\n",
		"main:2: database \"a\": unknown key \"hots\"; the nearest known one is \"host\"\n"
		"main:2: database \"a\": unknown key \"prot\"; the nearest known one is \"port\"\n"
		"main:2: database \"a\": unknown key \"default_pool_size\"; the nearest known one is \"pool_size\"\n"
		"main:2: database \"a\": unknown key \"zzzzzz\"; the nearest known one is \"host\"\n"},
	{"[databases]\na = load_balance_hosts=disable auth_user=b\n",
		"main:2: database \"a\": unknown key \"load_balance_hosts\"; the nearest known one is \"host_zones\"\n"
		"main:2: database \"a\": unknown key \"auth_user\"; the nearest known one is \"user\"\n"},
	/* What may be the rest of a password is not named. */
	{"[databases]\na = user=u password=half secret\n",
		"main:2: database \"a\": a key without '=' and a value (a value with spaces needs single quotes) "
		"(at character 22 of its value)\n"},
	{"[databases]\na = user=u password=half of=it\n",
		"main:2: database \"a\": unknown key behind password (a password with spaces needs single quotes)\n"},
	{"[databases]\na = pool_size=1x pool_mode=foo server_lifetime=-1\n",
		"main:2: database \"a\": pool_size must be a whole number from 0 to 2147483647\n"
		"main:2: database \"a\": pool_mode must be one of session, transaction, statement\n"
		"main:2: database \"a\": server_lifetime must be a time from 0 s to 3155760000 s: seconds, or a number "
		"with us, ms, s, min, h or d\n"},
	{"[databases]\na = port=0\nb = port=65536\nc = port=1x\nd = host=h,k port=1,\n",
		"main:2: database \"a\": port must be a number from 1 to 65535\n"
		"main:3: database \"b\": port must be a number from 1 to 65535\n"
		"main:4: database \"c\": port must be a number from 1 to 65535\n"
		"main:5: database \"d\": port must be a number from 1 to 65535\n"},
	{"[databases]\na = host=h,k port=1,2,3\nb = port=1,2\n",
		"main:2: database \"a\": port must be one number or as many as there are hosts\n"
		"main:3: database \"b\": port must be one number or as many as there are hosts\n"},
	{"[databases]\na = host=h,i host_zones=x\nb = max_replica_lag=far\nc = target_session_attrs=master\n",
		"main:2: database \"a\": host_zones must be as many as there are hosts\n"
		"main:3: database \"b\": max_replica_lag must be bytes, or a number with B, kB, MB, GB, us, ms, s, min, h or d\n"
		"main:4: database \"c\": target_session_attrs must be one of any, read-write, primary, read-only, standby, "
		"prefer-standby\n"},
	{"[databases]\na = host=" EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT
	 "h\nb = host=" EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT "h,h,h,h,h,h,h,h\n",
		"main:2: database \"a\": more than 64 hosts\n"},
	{"[databases]\na = host=,b\nb = host='a, ,b'\nc = host=a,\n",
		"main:2: database \"a\": an empty name in host\n"
		"main:3: database \"b\": an empty name in host\n"
		"main:4: database \"c\": an empty name in host\n"},
	{"[databases]\n"
	 "a = host=/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
		"main:2: database \"a\": a name in host is too long\n"},
	{"[databases]\npgbouncer = host=a\nPSBouncer = host=b\n",
		"main:2: database \"pgbouncer\": this name is the console's\n"
		"main:3: database \"PSBouncer\": this name is the console's\n"},
	{"[databases]\na = user=b password=c password_file=d\nb = password_file=e\n",
		"main:2: database \"a\": password and password_file cannot both be set\n"
		"main:3: database \"b\": password_file needs user\n"},
	{"[users]\nbob = host=a\nann = pool_mode=x query_timeout=1y\nzoe = user_connections=1\n",
		"main:2: user \"bob\": unknown key \"host\"; the nearest known one is \"pool_size\"\n"
		"main:3: user \"ann\": pool_mode must be one of session, transaction, statement\n"
		"main:3: user \"ann\": query_timeout must be a time from 0 s to 3155760000 s: seconds, or a number with "
		"us, ms, s, min, h or d\n"
		"main:4: user \"zoe\": unknown key \"user_connections\"; the nearest known one is "
		"\"max_user_connections\"\n"},
	{"[peers]\n0 = host=a\n16384 = host=a\nx = host=a\n1 = port=5\n2 = host=a,b\n3 = host=a port=70000\n4 = host=a user=b\n"
	 "5 = host=a pool_size=x\n6 = host='a\n",
		"main:2: peer \"0\": the name of a peer is its peer_id, a number from 1 to 16383\n"
		"main:3: peer \"16384\": the name of a peer is its peer_id, a number from 1 to 16383\n"
		"main:4: peer \"x\": the name of a peer is its peer_id, a number from 1 to 16383\n"
		"main:5: peer \"1\": host is missing\n"
		"main:6: peer \"2\": host is one name or address\n"
		"main:7: peer \"3\": port must be a number from 1 to 65535\n"
		"main:8: peer \"4\": unknown key \"user\"; there are host, port and pool_size\n"
		"main:9: peer \"5\": pool_size must be a whole number from 0 to 2147483647\n"
		"main:10: peer \"6\": a value whose quote is not closed\n"},
	{"[pgbouncer]\n%include /nonexistent/file\n",
		"main:2: %include: /nonexistent/file cannot be read: No such file or directory\n"},
	{"[pgbouncer]\n%include /\n", "main:2: %include: / cannot be read: it is a directory\n"},
	/* What must fit together. */
	{"[pgbouncer]\nauth_type=any\n[databases]\na = host=x user=u\nb = host=x\n* = host=y\n",
		"main:5: database \"b\": auth_type any needs user in every database\n"
		"main:6: database \"*\": auth_type any needs user in every database\n"},
	{"[pgbouncer]\nauth_type=cert\n", "main:2: auth_type cert needs client_tls_sslmode verify-ca or verify-full\n"},
	{"[pgbouncer]\nclient_tls_sslmode=require\n",
		"main:2: client_tls_sslmode needs client_tls_key_file and client_tls_cert_file\n"},
	{"[pgbouncer]\nclient_tls_sslmode=verify-full\nclient_tls_key_file=/dev/null\nclient_tls_cert_file=/dev/null\n",
		"main:2: client_tls_sslmode needs client_tls_ca_file\n"},
	{"[pgbouncer]\nclient_tls_sslmode=prefer\nclient_tls_key_file=/dev/null\n",
		"main:3: client_tls_key_file needs client_tls_cert_file too\n"},
	{"[pgbouncer]\nclient_tls_sslmode=allow\nclient_tls_cert_file=/nonexistent/a\n",
		"main:3: client_tls_cert_file needs client_tls_key_file too\n"
		"main:3: client_tls_cert_file cannot be read: No such file or directory\n"},
	{"[pgbouncer]\nserver_tls_cert_file=/dev/null\nserver_tls_ca_file=/\n",
		"main:2: server_tls_cert_file needs server_tls_key_file too\n"
		"main:3: server_tls_ca_file cannot be read: it is a directory\n"},
	{"[databases]\na = user=u password_file=/nonexistent/file\n",
		"main:2: database \"a\": password_file cannot be read: No such file or directory\n"},
	{"[pgbouncer]\nserver_tls_key_file=/dev/null\n",
		"main:2: server_tls_key_file needs server_tls_cert_file too\n"},
	{"[pgbouncer]\nserver_tls_sslnegotiation=direct\n",
		"main:2: server_tls_sslnegotiation direct needs server_tls_sslmode require or stronger\n"},
	{"[databases]\na = server_tls_sslnegotiation=direct\n",
		"main:2: database \"a\": server_tls_sslnegotiation direct needs server_tls_sslmode require or stronger\n"},
	{"[pgbouncer]\nlogfile=/nonexistent/log\n", "main:2: logfile cannot be written: No such file or directory\n"},
	{"[pgbouncer]\nauth_file=/nonexistent/users\n",
		"/nonexistent/users: cannot be read: No such file or directory\n"},
};

static void test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(bad); i++) {
		const char *got = faults(bad[i].text, strlen(bad[i].text));

		if (strcmp(got, bad[i].faults) != 0)
			fail_msg("%s--- gives\n%s--- and not\n%s", bad[i].text, got, bad[i].faults);
	}
}

static void test_nul_bytes(void **state)
{
	static const char text[] = "[pgbouncer]\npool_mode=session\0x\n;a\0b\n[users]\0\nlisten_port=1";

	(void)state;
	assert_string_equal(faults(text, sizeof text - 1), "main:2: a NUL byte in this line\n"
							   "main:3: a NUL byte in this line\n"
							   "main:4: a NUL byte in this line\n");
	assert_string_equal(faults("\0", 1), "main:1: a NUL byte in this line\n");
}

static void test_locate(void **state)
{
	struct config *c = parse("[pgbouncer]\n\nserver_tls_ciphers = nonsense\n");
	struct errs errs = {0};
	char line[200];

	(void)state;
	errs_add(&errs, NULL, 0, "server_tls_ciphers: of before");
	errs_add(&errs, NULL, 0, "server_tls_ciphers: no usable cipher");
	errs_add(&errs, "file", 7, "server_tls_ciphers: elsewhere");
	errs_add(&errs, NULL, 0, "server_tls_protocols: not set");
	errs_add(&errs, NULL, 0, "no name");
	config_locate(c, &errs, 1);
	assert_string_equal(errs_format(&errs, 0, line, sizeof line), "server_tls_ciphers: of before");
	assert_string_equal(errs_format(&errs, 1, line, sizeof line), "main:3: server_tls_ciphers: no usable cipher");
	assert_string_equal(errs_format(&errs, 2, line, sizeof line), "file:7: server_tls_ciphers: elsewhere");
	assert_string_equal(errs_format(&errs, 3, line, sizeof line), "server_tls_protocols: not set");
	assert_string_equal(errs_format(&errs, 4, line, sizeof line), "no name");
	errs_free(&errs);
	config_unref(&c);
}

static void test_missing_file(void **state)
{
	struct errs errs = {0};

	(void)state;
	assert_null(config_load("/nonexistent/file", &errs));
	assert_int_equal(errs.total, 1);
	assert_string_equal(errs.v[0].file, "/nonexistent/file");
	assert_string_equal(errs.v[0].text, "cannot be read: No such file or directory");
	errs_free(&errs);
}

/* ---- databases and users ---- */

static void test_database(void **state)
{
	struct config *c = parse("[databases]\n"
				 "plain =\n"
				 "full = host=h port=1 dbname=d user=u password='p''w' connect_query='select 1; --' "
				 "client_encoding=UTF8 datestyle=ISO timezone=UTC application_name='my app'\n"
				 "file = host=/run user=u password_file=/dev/null\n");
	const struct config_database *d = config_database_find(c, "plain");

	(void)state;
	assert_string_equal(d->name, "plain");
	assert_null(d->dbname);
	assert_int_equal(d->n_hosts, 1);
	assert_string_equal(d->hosts[0].host, "");
	assert_int_equal(d->hosts[0].port, 5432);
	assert_null(d->user);
	assert_null(d->over.set);
	assert_string_equal(d->file, "main");
	assert_int_equal(d->line, 2);
	d = config_database_find(c, "full");
	assert_string_equal(d->dbname, "d");
	assert_string_equal(d->hosts[0].host, "h");
	assert_int_equal(d->hosts[0].port, 1);
	assert_string_equal(d->user, "u");
	assert_string_equal(d->password, "p'w");
	assert_string_equal(d->connect_query, "select 1; --");
	assert_string_equal(d->client_encoding, "UTF8");
	assert_string_equal(d->datestyle, "ISO");
	assert_string_equal(d->timezone, "UTC");
	assert_string_equal(d->application_name, "my app");
	d = config_database_find(c, "file");
	assert_string_equal(d->password_file, "/dev/null");
	assert_null(d->password);
	assert_null(config_database_find(c, "other"));
	assert_null(config_database_find(c, "PLAIN"));
	config_unref(&c);
}

static void test_hosts(void **state)
{
	static const struct {
		const char *value, *hosts; /* host:port, each with a space behind it */
	} rows[] = {
		{"host=a", "a:5432 "},
		{"host=a,b", "a:5432 b:5432 "},
		{"host=a,b port=6", "a:6 b:6 "},
		{"host=a,b port=6,7", "a:6 b:7 "},
		{"host='a , b' port='6 ,7 '", "a:6 b:7 "},
		{"host=/run,@x,::1,[::1],10.0.0.1 port=65535",
			"/run:65535 @x:65535 ::1:65535 [::1]:65535 10.0.0.1:65535 "},
		{"host=a host=b port=1 port=2", "b:2 "},
		{"port=1", ":1 "},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char text[200], got[200] = "";
		const struct config_database *d;
		struct config *c;
		size_t n = 0;

		snprintf(text, sizeof text, "[databases]\nx = %s\n", rows[i].value);
		c = parse(text);
		d = config_database_find(c, "x");
		for (size_t k = 0; k < d->n_hosts; k++)
			n += (size_t)snprintf(got + n, sizeof got - n, "%s:%u ", d->hosts[k].host, d->hosts[k].port);
		assert_string_equal(got, rows[i].hosts);
		config_unref(&c);
	}
}

static void test_names(void **state)
{
	static const struct {
		const char *line, *name;
	} rows[] = {
		{"a.b-c_D9 = host=x", "a.b-c_D9"},
		{"\"my db\" = host=x", "my db"},
		{"'my db' = host=x", "my db"},
		{"\"my:db\"=host=x", "my:db"},
		{"\"a = b\" = host=x", "a = b"},
		{"\"a \"\"b\"\" 'c'\" = host=x", "a \"b\" 'c'"},
		{"'a ''b'' \"c\"' = host=x", "a 'b' \"c\""},
		{"\";x\" = host=x", ";x"},
		{"\"#x\" = host=x", "#x"},
		{"\"[x]\" = host=x", "[x]"},
		{"\"%include x\" = host=x", "%include x"},
		{"\"%41%\" = host=x", "%41%"},
		{"\" a \" = host=x", " a "},
		{"\"\xc3\xa9\xff\" = host=x", "\xc3\xa9\xff"},
		{"  \"tab\there\"  =  host=x  ", "tab\there"},
		{"\"0123456789012345678901234567890123456789012345678901234567890123456789;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;"
		 "012345678901234567890123456\" = host=x",
			"0123456789012345678901234567890123456789012345678901234567890123456789;;;;;;;;;;;;;;;;;;;;;;;;"
			";;;;;;012345678901234567890123456"},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char text[400];
		const struct config_database *d;
		struct config *c;

		snprintf(text, sizeof text, "[databases]\n%s\n", rows[i].line);
		c = parse(text);
		assert_int_equal(c->databases.count, 1);
		d = config_database_find(c, rows[i].name);
		if (d == NULL)
			fail_msg("%s is not found as %s", rows[i].line, rows[i].name);
		assert_string_equal(d->name, rows[i].name);
		assert_string_equal(d->hosts[0].host, "x");
		config_unref(&c);
	}
}

static void test_name_lengths(void **state)
{
	(void)state;
	for (size_t n = 120; n < 140; n++) {
		for (int quoted = 0; quoted < 2; quoted++) {
			char text[400];
			struct errs errs;
			struct config *c;

			memset(text, 'n', sizeof text);
			sprintf(text, "[databases]\n");
			text[12] = quoted ? '"' : 'n';
			sprintf(text + 12 + n + (quoted ? 1 : 0), "%s=\n", quoted ? "\"" : "");
			if (quoted)
				memset(text + 13, ' ', n);
			else
				memset(text + 12, 'n', n);
			c = parse_n(text, strlen(text), &errs);
			assert_true((c != NULL) == (n <= 127));
			if (c == NULL)
				assert_string_equal(errs.v[0].text, "a name of more than 127 bytes");
			config_unref(&c);
			errs_free(&errs);
		}
	}
}

static void test_fallback(void **state)
{
	struct config *c = parse("[databases]\na = host=x\n* = host=y pool_size=3\n");

	(void)state;
	assert_string_equal(config_database_find(c, "a")->name, "a");
	assert_ptr_equal(config_database_find(c, "b"), c->fallback);
	assert_ptr_equal(config_database_find(c, "*"), c->fallback);
	assert_int_equal(param_effective(PARAM_default_pool_size, NULL, &c->fallback->over, &c->set), 3);
	assert_null(config_database_find(c, "pgbouncer"));
	assert_null(config_database_find(c, "psbouncer"));
	config_unref(&c);
}

static void test_twice(void **state)
{
	struct config *c = parse("[databases]\na = host=x\na = host=y\n* = host=x\n* = host=z\n"
				 "[users]\nu = pool_size=1\nu = pool_size=2\n");

	(void)state;
	assert_string_equal(config_database_find(c, "a")->hosts[0].host, "y");
	assert_string_equal(c->fallback->hosts[0].host, "z");
	assert_int_equal(config_user_find(c, "u")->over.set->default_pool_size, 2);
	assert_int_equal(warnings, 3);
	assert_warned("main:8: user \"u\" stood in main:7 before; this entry counts");
	config_unref(&c);
}

static void test_overrides(void **state)
{
	struct config *c =
		parse("[pgbouncer]\npool_mode=transaction\n"
		      "[databases]\nd = pool_size=1 reserve_pool=2 query_wait_timeout=3 server_lifetime=2min\n"
		      "[users]\nu = pool_size=10 pool_mode=session query_timeout=500ms\n\"a b\" =\n");
	const struct config_database *d = config_database_find(c, "d");
	const struct config_user *u = config_user_find(c, "u");

	(void)state;
	assert_int_equal(param_effective(PARAM_default_pool_size, &u->over, &d->over, &c->set), 10);
	assert_int_equal(param_effective(PARAM_default_pool_size, NULL, &d->over, &c->set), 1);
	assert_int_equal(param_effective(PARAM_reserve_pool_size, &u->over, &d->over, &c->set), 2);
	assert_int_equal(param_effective(PARAM_query_wait_timeout, &u->over, &d->over, &c->set), 3000000);
	assert_int_equal(param_effective(PARAM_server_lifetime, NULL, &d->over, &c->set), 120000000);
	assert_int_equal(param_effective(PARAM_pool_mode, &u->over, &d->over, &c->set), POOL_SESSION);
	assert_int_equal(param_effective(PARAM_pool_mode, NULL, &d->over, &c->set), POOL_TRANSACTION);
	assert_int_equal(param_effective(PARAM_query_timeout, &u->over, &d->over, &c->set), 500000);
	assert_non_null(config_user_find(c, "a b"));
	assert_null(config_user_find(c, "U"));
	config_unref(&c);
}

static void test_warnings(void **state)
{
	struct config *c = parse("[databases]\na = host=x password=secret\n");

	(void)state;
	assert_int_equal(warnings, 1);
	assert_warned("main:2: database \"a\": password without user is not used");
	config_unref(&c);
	c = parse("[databases]\na = port=1\n[pgbouncer]\nunix_socket_dir=\n");
	assert_int_equal(warnings, 2);
	assert_warned("main:2: database \"a\" has no host, and unix_socket_dir is empty");
	config_unref(&c);
}

static void test_differs(void **state)
{
	static const struct {
		const char *a, *b;
		bool differs;
	} rows[] = {
		{"host=a", "host=a", false},
		{"host=a", "host=b", true},
		{"host=a,b", "host=b,a", true},
		{"host=a", "host=a,a", true},
		{"host=a", "host=a port=5432", false},
		{"host=a", "host=a port=1", true},
		{"host=a", "host=a dbname=x", true},
		{"dbname=y", "dbname=x", true},
		{"user=y", "user=x", true},
		{"user=y password=a", "user=y password=b", false},
		{"connect_query=a", "connect_query=b", true},
		{"application_name=a", "", true},
		{"", "timezone=a", true},
		{"", "datestyle=a", true},
		{"client_encoding=b", "client_encoding=a", true},
		{"pool_size=1 pool_mode=session", "server_lifetime=1", false},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char text[300];
		struct config *c;

		snprintf(text, sizeof text, "[databases]\na = %s\nb = %s\n", rows[i].a, rows[i].b);
		c = parse(text);
		if (config_database_differs(config_database_find(c, "a"), config_database_find(c, "b")) !=
			rows[i].differs)
			fail_msg("\"%s\" and \"%s\"", rows[i].a, rows[i].b);
		config_unref(&c);
	}
}

static void test_list_has(void **state)
{
	static const struct {
		const char *list, *name;
		bool has;
	} rows[] = {
		{"", "a", false},
		{"", "", false},
		{"a", "a", true},
		{"a", "A", false},
		{"a,b", "b", true},
		{"a, b ,c", "b", true},
		{" a\t,b", "a", true},
		{"ab,c", "a", false},
		{"a", "ab", false},
		{",,a,", "a", true},
		{",,", "", false},
		{"a b,c", "a b", true},
		{"a b,c", "a", false},
		{"a,b", "a,b", false},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		if (config_list_has(rows[i].list, rows[i].name) != rows[i].has)
			fail_msg("\"%s\" in \"%s\"", rows[i].name, rows[i].list);
}

/* ---- includes ---- */

static void test_include(void **state)
{
	struct errs errs = {0};
	struct config *c;

	(void)state;
	write_file("main.ini", "[pgbouncer]\nlisten_port=1\n  %include \t DIR/a.ini  \npool_mode=statement\n"
			       "[databases]\n%include DIR/dbs.ini\nlast = host=z\n");
	write_file("a.ini",
		"\xef\xbb\xbflisten_port=2\nmax_client_conn=3\n[users]\nu = pool_size=1\n[psbouncer]\nverbose=1");
	write_file("dbs.ini", "first = host=x\r\n%include DIR/more.ini\r\nthird = host=y\r\n");
	write_file("more.ini", "");
	c = config_load(path("main.ini"), &errs);
	assert_non_null(c);
	assert_int_equal(c->set.listen_port, 6432); /* the header in a.ini */
	assert_int_equal(c->set.verbose, 1);
	assert_int_equal(c->set.pool_mode, POOL_STATEMENT);
	assert_string_equal(c->origin[PARAM_verbose].file, path("a.ini"));
	assert_int_equal(c->origin[PARAM_verbose].line, 6);
	assert_string_equal(c->origin[PARAM_pool_mode].file, path("main.ini"));
	assert_int_equal(c->origin[PARAM_pool_mode].line, 4);
	assert_int_equal(c->databases.count, 3);
	assert_string_equal(config_database_find(c, "third")->file, path("dbs.ini"));
	assert_int_equal(config_database_find(c, "third")->line, 3);
	assert_int_equal(config_database_find(c, "last")->line, 7);
	assert_non_null(config_user_find(c, "u"));
	config_unref(&c);
}

static void test_include_faults(void **state)
{
	struct errs errs = {0};
	char name[20], text[60];

	(void)state;
	write_file("main.ini", "[pgbouncer]\n%include DIR/b.ini\nx=1\n%include DIR/none.ini\n");
	write_file("b.ini", "\nverbose=x\n%include DIR/main.ini\n%include DIR/b.ini\n");
	assert_null(config_load(path("main.ini"), &errs));
	assert_int_equal(errs.total, 5);
	assert_string_equal(errs.v[0].text, "verbose must be a whole number from 0 to 2147483647");
	assert_string_equal(errs.v[0].file, path("b.ini"));
	assert_int_equal(errs.v[0].line, 2);
	assert_string_equal(errs.v[1].text, "%include of a file that is being read already");
	assert_int_equal(errs.v[1].line, 3);
	assert_int_equal(errs.v[2].line, 4);
	assert_string_equal(errs.v[3].text, "unknown setting \"x\"; the nearest known one is \"user\"");
	assert_string_equal(errs.v[3].file, path("main.ini"));
	assert_int_equal(errs.v[3].line, 3);
	assert_int_equal(errs.v[4].line, 4);
	errs_free(&errs);

	/* Ten deep is allowed, eleven are not. */
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof name, "n%d.ini", i);
		snprintf(text, sizeof text, "[pgbouncer]\n%%include DIR/n%d.ini\n", i + 1);
		write_file(name, i == 11 ? "" : text);
	}
	assert_null(config_load(path("n0.ini"), &errs));
	assert_int_equal(errs.total, 1);
	assert_string_equal(errs.v[0].file, path("n10.ini"));
	assert_string_equal(errs.v[0].text, "%include is nested more than 10 deep");
	errs_free(&errs);
	write_file("n10.ini", "[pgbouncer]\nverbose=3\n");
	{
		struct config *c = config_load(path("n0.ini"), &errs);

		assert_non_null(c);
		assert_int_equal(c->set.verbose, 3);
		config_unref(&c);
	}
}

/* Files that include the next one many times each do not make it read for ever. */
static void test_include_bomb(void **state)
{
	struct errs errs = {0};

	(void)state;
	for (int i = 0; i < 10; i++) {
		char name[20], text[1000] = "[users]\n", one[40];

		snprintf(name, sizeof name, "n%d.ini", i);
		snprintf(one, sizeof one, "%%include DIR/n%d.ini\n", i + 1);
		for (int k = 0; k < 10; k++)
			strcat(text, one);
		write_file(name, text);
	}
	write_file("n10.ini", "");
	assert_null(config_load(path("n0.ini"), &errs));
	assert_string_equal(errs.v[0].text, "more than 1000 included files");
	errs_free(&errs);
}

/* ---- the user list ---- */

static void test_auth_file(void **state)
{
	struct errs errs = {0};
	struct config *c, *d;

	(void)state;
	write_file("users", "\"a\" \"one\"\n");
	write_file("users2", "\"b\" \"two\"\n");
	write_file("broken", "\"b\" \"two\"\n\nb two\n");
	write_file("main.ini", "[pgbouncer]\nauth_file = DIR/users\n");
	c = config_load(path("main.ini"), &errs);
	assert_non_null(c);
	assert_string_equal(config_auth_find(c, "a")->secret, "one");
	assert_null(config_auth_find(c, "b"));

	/* It is copied, not read again, when something else is set. */
	write_file("users", "\"a\" \"other\"\n");
	d = config_with(c, "verbose", "1", &errs);
	assert_non_null(d);
	assert_string_equal(config_auth_find(d, "a")->secret, "one");
	config_unref(&d);
	d = config_with(c, "auth_file", path("users2"), &errs);
	assert_non_null(d);
	assert_null(config_auth_find(d, "a"));
	assert_string_equal(config_auth_find(d, "b")->secret, "two");
	config_unref(&d);
	d = config_with(c, "auth_file", "", &errs);
	assert_non_null(d);
	assert_null(config_auth_find(d, "a"));
	config_unref(&d);
	assert_null(config_with(c, "auth_file", path("broken"), &errs));
	assert_int_equal(errs.total, 1);
	assert_string_equal(errs.v[0].file, path("broken"));
	assert_int_equal(errs.v[0].line, 3);
	errs_free(&errs);
	assert_string_equal(config_auth_find(c, "a")->secret, "one");

	write_file("main.ini", "[pgbouncer]\nfoo=1\nauth_file = DIR/broken\n");
	assert_null(config_load(path("main.ini"), &errs));
	assert_int_equal(errs.total, 2);
	errs_free(&errs);
	config_unref(&c);
}

/* ---- SET ---- */

static void test_with(void **state)
{
	static const struct {
		const char *name, *value, *error;
	} rows[] = {
		{"pool_mode", "nope", "pool_mode must be one of session, transaction, statement"},
		{"poolmode", "session", "unknown setting \"poolmode\"; the nearest known one is \"pool_mode\""},
		{"zzz", "1", "unknown setting \"zzz\"; the nearest known one is \"zone\""},
		{"listen_port", "1", "listen_port cannot change without a restart"},
		{"auth_type", "any", "database \"d\": auth_type any needs user in every database"},
		{"client_tls_sslmode", "require",
			"client_tls_sslmode needs client_tls_key_file and client_tls_cert_file"},
		{"logfile", "/nonexistent/x", "logfile cannot be written: No such file or directory"},
	};
	struct config *c =
		parse("[pgbouncer]\nmax_client_conn=5\n[databases]\nd = host=x port=1 pool_size=2\n* = host=y\n"
		      "[users]\nu = pool_size=3\n");
	struct errs errs = {0};
	struct config *d = config_with(c, "POOL_MODE", "Transaction", &errs);

	(void)state;
	assert_non_null(d);
	assert_int_equal(d->set.pool_mode, POOL_TRANSACTION);
	assert_int_equal(c->set.pool_mode, POOL_SESSION);
	assert_string_equal(d->origin[PARAM_pool_mode].what, "console");
	assert_int_equal(d->set.max_client_conn, 5);
	assert_int_equal(d->origin[PARAM_max_client_conn].line, 2);
	assert_false(config_database_differs(config_database_find(d, "d"), config_database_find(c, "d")));
	assert_int_equal(config_database_find(d, "d")->over.set->default_pool_size, 2);
	assert_int_equal(config_database_find(d, "d")->line, 4);
	assert_string_equal(d->fallback->hosts[0].host, "y");
	assert_int_equal(config_user_find(d, "u")->over.set->default_pool_size, 3);
	config_unref(&d);
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_null(config_with(c, rows[i].name, rows[i].value, &errs));
		assert_true(errs.total >= 1);
		assert_string_equal(errs.v[0].text, rows[i].error);
		errs_free(&errs);
	}
	assert_int_equal(warnings, 0);
	config_unref(&c);
}

/* ---- RELOAD ---- */

static void test_keep_fixed(void **state)
{
	struct config *old = parse("[pgbouncer]\nlisten_port=1\nlisten_addr=a\npool_mode=session\n");
	struct config *fresh = parse("[pgbouncer]\n\nlisten_port=2\nlisten_addr=a\npool_mode=statement\n");

	(void)state;
	config_keep_fixed(old, fresh);
	assert_int_equal(fresh->set.listen_port, 1);
	assert_int_equal(fresh->origin[PARAM_listen_port].line, 2);
	assert_int_equal(fresh->set.pool_mode, POOL_STATEMENT);
	assert_int_equal(warnings, 1);
	assert_warned("listen_port cannot change without a restart: it stays \"1\"");
	config_unref(&old);
	config_unref(&fresh);
}

static struct config *reload(struct config *old)
{
	struct errs errs = {0};
	struct config *c = config_reload(old, &errs);

	assert_non_null(c);
	config_unref(&old);
	return c;
}

static struct config *set(struct config *old, const char *name, const char *value)
{
	struct errs errs = {0};
	struct config *c = config_with(old, name, value, &errs);

	assert_non_null(c);
	config_unref(&old);
	return c;
}

static void test_reload(void **state)
{
	struct errs errs = {0};
	struct config *c;

	(void)state;
	write_file("users", "\"a\" \"one\"\n");
	write_file("main.ini", "[pgbouncer]\nlisten_port=1\nauth_file=DIR/users\nmax_client_conn=7\n");
	c = config_load(path("main.ini"), &errs);
	assert_non_null(c);
	c = set(set(c, "max_client_conn", "8"), "verbose", "2");
	write_file("users", "\"a\" \"two\"\n");
	write_file("main.ini", "[pgbouncer]\nlisten_port=2\n");
	c = reload(c);
	assert_int_equal(c->set.listen_port, 1);       /* needs a restart */
	assert_int_equal(c->set.max_client_conn, 100); /* SET is undone */
	assert_int_equal(c->set.verbose, 2);	       /* but its default is no value */
	assert_string_equal(c->origin[PARAM_verbose].what, "console");
	assert_string_equal(c->set.auth_file, path("users"));
	assert_string_equal(config_auth_find(c, "a")->secret, "two");
	write_file("main.ini", "[pgbouncer]\nverbose=0\nauth_file=\n");
	c = reload(c);
	assert_int_equal(c->set.verbose, 0);
	assert_null(config_auth_find(c, "a"));

	write_file("main.ini", "[pgbouncer]\nverbose=1\nfoo=1\n");
	assert_null(config_reload(c, &errs));
	assert_int_equal(errs.total, 1);
	assert_int_equal(c->set.verbose, 0);
	errs_free(&errs);
	config_unref(&c);
}

static void test_conffile(void **state)
{
	struct errs errs = {0};
	struct config *c;

	(void)state;
	write_file("main.ini", "[pgbouncer]\nverbose=1\n");
	write_file("a.ini", "[pgbouncer]\nverbose=5\n");
	write_file("b.ini", "[pgbouncer]\nverbose=6\nconffile=DIR/main.ini\n");
	c = config_load(path("main.ini"), &errs);
	assert_non_null(c);
	assert_string_equal(c->set.conffile, path("main.ini"));
	c = set(c, "conffile", path("a.ini"));
	assert_int_equal(c->set.verbose, 1);
	c = reload(c);
	assert_int_equal(c->set.verbose, 5);
	assert_string_equal(c->set.conffile, path("a.ini"));
	c = reload(set(c, "conffile", path("b.ini")));
	assert_int_equal(c->set.verbose, 6);
	assert_string_equal(c->path, path("main.ini"));
	c = reload(c);
	assert_int_equal(c->set.verbose, 1);
	config_unref(&c);
}

/* ---- what is printed ---- */

static void test_sample(void **state)
{
	struct buf out = {0};
	struct settings s;
	struct config *c;
	struct errs errs;

	(void)state;
	config_print_sample(&out);
	assert_false(buf_failed(&out));
	c = parse_n(buf_head(&out), buf_len(&out), &errs);
	if (c == NULL)
		fail_msg("line %d of the sample: %s", errs.v[0].line, errs.v[0].text);
	assert_int_equal(warnings, 0);
	settings_init(&s);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		char line[100];

		snprintf(line, sizeof line, "\n;%s =", param_table[i].name);
		if (i == PARAM_conffile || c->origin[i].file == NULL) {
			assert_true(i == PARAM_conffile || param_equal(&param_table[i], &c->set, &s));
			assert_non_null(strstr(buf_text(&out), line));
		}
	}
	assert_int_equal(c->set.auth_type, AUTH_SCRAM);
	assert_int_equal(c->set.pool_mode, POOL_TRANSACTION);
	assert_string_equal(c->set.listen_addr, "localhost");
	assert_int_equal(c->set.client_tls_sslmode, 2);
	assert_int_equal(c->databases.count, 1);
	settings_free(&s);
	config_unref(&c);
	buf_free(&out);
}

/* The same with every comment of one ';' taken away: the examples are right, too, but for files that are not there. */
static void test_sample_examples(void **state)
{
	struct buf out = {0}, all = {0};
	struct config *c;
	struct errs errs;

	(void)state;
	config_print_sample(&out);
	for (char *line = strtok(buf_head(&out), "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (strstr(line, "/etc/") != NULL || strstr(line, "/var/log/") != NULL)
			continue;
		buf_puts(&all, line[0] == ';' && line[1] != ';' ? line + 1 : line);
		buf_puts(&all, "\n");
	}
	c = parse_n(buf_head(&all), buf_len(&all), &errs);
	if (c == NULL)
		fail_msg("%s", errs.v[0].text);
	assert_int_equal(c->databases.count, 4);
	assert_string_equal(config_database_find(c, "app")->password, "it's secret");
	assert_string_equal(config_database_find(c, "my db")->hosts[0].host, "/var/run/postgresql");
	assert_non_null(c->fallback);
	assert_int_equal(c->users.count, 1);
	for (size_t i = 0; i < PARAM_COUNT; i++)
		assert_true(c->origin[i].file != NULL || strstr(param_table[i].name, "file") != NULL);
	config_unref(&c);
	buf_free(&out);
	buf_free(&all);
}

/* Every setting has its paragraph, and no line begins with what troff takes for a request. */
static void test_manual(void **state)
{
	struct buf out = {0};
	const char *text;

	(void)state;
	config_print_manual(&out);
	text = buf_text(&out);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		char head[100];

		snprintf(head, sizeof head, ".TP\n\\fB%s\\fP = ", param_table[i].name);
		assert_non_null(strstr(text, head));
	}
	assert_non_null(strstr(text, "Also in entries of [databases] and [users], as pool_size.\n"));
	assert_non_null(strstr(text, "scram\\-sha\\-256"));
	for (const char *p = text; p != NULL && *p != '\0'; p = strchr(p, '\n'), p = p == NULL ? NULL : p + 1) {
		assert_int_not_equal(*p, '\'');
		if (*p == '.' && strncmp(p, ".TP\n", 4) != 0 && strncmp(p, ".br\n", 4) != 0)
			assert_int_equal(strncmp(p, ".SS ", 4), 0);
	}
	buf_free(&out);
}

static void test_origins(void **state)
{
	struct config *c = parse("[pgbouncer]\n\nquery_timeout=500ms\n");
	struct buf out = {0};

	(void)state;
	c = set(c, "verbose", "1");
	config_print_origins(c, &out);
	assert_non_null(strstr(buf_text(&out), "query_timeout = 0.5  ; main:3\n"));
	assert_non_null(strstr(buf_text(&out), "verbose = 1  ; console\n"));
	assert_non_null(strstr(buf_text(&out), "listen_port = 6432  ; default\n"));
	buf_free(&out);
	config_unref(&c);
}

/* ---- */

static int begin(void **state)
{
	(void)state;
	log_capture(on_log, NULL);
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int end(void **state)
{
	static const char *const names[] = {
		"main.ini", "a.ini", "b.ini", "dbs.ini", "more.ini", "users", "users2", "broken"};
	char name[20];

	(void)state;
	log_capture(NULL, NULL);
	for (size_t i = 0; i < ROWS(names); i++)
		unlink(path(names[i]));
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof name, "n%d.ini", i);
		unlink(path(name));
	}
	if (rmdir(dir) != 0)
		return -1;
	return mem_usage_get(MEM_CONFIG).objects == 0 && mem_usage_get(MEM_TABLE).objects == 0 ? 0 : -1;
}

#define TEST(fn) cmocka_unit_test_setup(fn, forget_warnings)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_shapes),
		TEST(test_traps),
		TEST(test_long_lines),
		TEST(test_header_resets),
		TEST(test_faults),
		TEST(test_nul_bytes),
		TEST(test_locate),
		TEST(test_missing_file),
		TEST(test_database),
		TEST(test_hosts),
		TEST(test_names),
		TEST(test_name_lengths),
		TEST(test_fallback),
		TEST(test_twice),
		TEST(test_overrides),
		TEST(test_warnings),
		TEST(test_differs),
		TEST(test_list_has),
		TEST(test_include),
		TEST(test_include_faults),
		TEST(test_include_bomb),
		TEST(test_auth_file),
		TEST(test_with),
		TEST(test_keep_fixed),
		TEST(test_reload),
		TEST(test_conffile),
		TEST(test_sample),
		TEST(test_sample_examples),
		TEST(test_manual),
		TEST(test_origins),
	};

	return cmocka_run_group_tests_name("config", tests, begin, end);
}
