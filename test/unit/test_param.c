/*
 * param: every row of the table (its default goes through its own parser, is
 * printed as it stands there and read again), what each type takes and refuses,
 * overrides and which of them counts, and the nearest name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/mem.h"
#include "conf/param.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the table ---- */

static void test_every_row(void **state)
{
	struct settings s;

	(void)state;
	settings_init(&s);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		const struct param *p = &param_table[i];
		char buf[PARAM_TEXT], why[256];

		assert_ptr_equal(param_find(p->name), p);
		assert_true(p->scope & PS_GLOBAL);
		assert_string_equal(param_print(p, &s, buf, sizeof buf), p->def);
		assert_true(param_parse(p, p->def, &s, why, sizeof why));
		assert_string_equal(param_print(p, &s, buf, sizeof buf), p->def);
		assert_true((p->words != NULL) == (p->type == PT_ENUM));
		assert_true(p->min <= p->max);
		assert_true(p->type == PT_STR || p->type == PT_ENUM || p->min < p->max);
		assert_true(strlen(p->help) > 10 && p->help[strlen(p->help) - 1] == '.');
		assert_true(p->help[0] != '.' && p->help[0] != '\'' && strchr(p->help, '\\') == NULL);
	}
	settings_free(&s);
}

/* Rows of a group stand together, and the name of none comes twice. */
static void test_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < PARAM_COUNT; i++)
		for (size_t k = i + 1; k < PARAM_COUNT; k++) {
			assert_int_not_equal(strcasecmp(param_table[i].name, param_table[k].name), 0);
			if (strcmp(param_table[i].group, param_table[k].group) == 0)
				assert_string_equal(param_table[k - 1].group, param_table[k].group);
		}
}

static void test_defaults(void **state)
{
	struct settings s;

	(void)state;
	settings_init(&s);
	assert_int_equal(s.listen_port, 6432);
	assert_int_equal(s.pool_mode, POOL_SESSION);
	assert_int_equal(s.auth_type, AUTH_MD5);
	assert_int_equal(s.max_client_conn, 100);
	assert_int_equal(s.query_wait_timeout, INT64_C(120000000));
	assert_int_equal(s.unix_socket_mode, 0777);
	assert_int_equal(s.server_tls_sslmode, 2);
	assert_int_equal(s.server_tls_sslnegotiation, SSLNEG_POSTGRES);
	assert_true(s.cancel_on_client_disconnect);
	assert_string_equal(s.server_check_query, "<empty>");
	assert_string_equal(s.server_reset_query, "DISCARD ALL");
	assert_string_equal(s.unix_socket_dir, "/tmp");
	assert_string_equal(s.auth_file, "");
	settings_free(&s);
}

/* The enums of param.h and the words of their rows are in one order. */
static void test_words(void **state)
{
	static const struct {
		enum param_id id;
		int value;
		const char *word;
	} rows[] = {
		{PARAM_pool_mode, POOL_SESSION, "session"},
		{PARAM_pool_mode, POOL_TRANSACTION, "transaction"},
		{PARAM_pool_mode, POOL_STATEMENT, "statement"},
		{PARAM_pool_mode, 3, ""},
		{PARAM_pool_mode, 4, ""},
		{PARAM_pool_mode, -1, ""},
		{PARAM_auth_type, AUTH_ANY, "any"},
		{PARAM_auth_type, AUTH_TRUST, "trust"},
		{PARAM_auth_type, AUTH_PLAIN, "plain"},
		{PARAM_auth_type, AUTH_MD5, "md5"},
		{PARAM_auth_type, AUTH_CERT, "cert"},
		{PARAM_auth_type, AUTH_SCRAM, "scram-sha-256"},
		{PARAM_server_tls_sslnegotiation, SSLNEG_DIRECT, "direct"},
		{PARAM_client_tls_sslmode, 0, "disable"},
		{PARAM_client_tls_sslmode, 5, "verify-full"},
		{PARAM_syslog_facility, 11, "local7"},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_string_equal(param_word(rows[i].id, rows[i].value), rows[i].word);
}

/* ---- values ---- */

/* printed: what SHOW CONFIG has of it; NULL: it is refused. */
static const struct value {
	enum param_id id;
	const char *text, *printed;
} values[] = {
	{PARAM_log_stats, "0", "0"},
	{PARAM_log_stats, "off", "0"},
	{PARAM_log_stats, "No", "0"},
	{PARAM_log_stats, "false", "0"},
	{PARAM_syslog, "1", "1"},
	{PARAM_syslog, "ON", "1"},
	{PARAM_syslog, "yes", "1"},
	{PARAM_syslog, "true", "1"},
	{PARAM_syslog, "2", NULL},
	{PARAM_syslog, "", NULL},
	{PARAM_syslog, "o", NULL},
	{PARAM_syslog, "truely", NULL},

	{PARAM_listen_port, "1", "1"},
	{PARAM_listen_port, "65535", "65535"},
	{PARAM_listen_port, "0x10", "16"},
	{PARAM_listen_port, "010", "8"},
	{PARAM_listen_port, "+7", "7"},
	{PARAM_listen_port, "0", NULL},
	{PARAM_listen_port, "65536", NULL},
	{PARAM_listen_port, "-1", NULL},
	{PARAM_listen_port, "", NULL},
	{PARAM_listen_port, "5432x", NULL},
	{PARAM_listen_port, "5432 ", NULL},
	{PARAM_listen_port, "09", NULL},
	{PARAM_listen_port, "1.5", NULL},
	{PARAM_listen_port, "99999999999999999999", NULL},
	{PARAM_max_client_conn, "2147483647", "2147483647"},
	{PARAM_max_client_conn, "2147483648", NULL},

	{PARAM_server_lifetime, "15", "15"},
	{PARAM_server_lifetime, "0", "0"},
	{PARAM_server_lifetime, "0.5", "0.5"},
	{PARAM_server_lifetime, ".25", "0.25"},
	{PARAM_server_lifetime, "1.000001", "1.000001"},
	{PARAM_server_lifetime, "1e3", "1000"},
	{PARAM_server_lifetime, "1000000", "1000000"},
	{PARAM_server_lifetime, "500ms", "0.5"},
	{PARAM_server_lifetime, "5s", "5"},
	{PARAM_server_lifetime, "5 s", "5"},
	{PARAM_server_lifetime, "2min", "120"},
	{PARAM_server_lifetime, "1h", "3600"},
	{PARAM_server_lifetime, "1.5H", "5400"},
	{PARAM_server_lifetime, "2d", "172800"},
	{PARAM_server_lifetime, "7us", "0.000007"},
	{PARAM_server_lifetime, "3155760000", "3155760000"},
	{PARAM_server_lifetime, "3155760001", NULL},
	{PARAM_server_lifetime, "1e300", NULL},
	{PARAM_server_lifetime, "0.1us", NULL}, /* would become 0, which is something else */
	{PARAM_server_lifetime, "-1", NULL},
	{PARAM_server_lifetime, "", NULL},
	{PARAM_server_lifetime, "s", NULL},
	{PARAM_server_lifetime, ".", NULL},
	{PARAM_server_lifetime, "5m", NULL},
	{PARAM_server_lifetime, "5 sec", NULL},
	{PARAM_server_lifetime, "0x10", NULL},
	{PARAM_server_lifetime, "inf", NULL},
	{PARAM_server_lifetime, "nan", NULL},
	{PARAM_server_lifetime, "1 2", NULL},
	{PARAM_stats_period, "1", "1"},
	{PARAM_stats_period, "0", NULL},
	{PARAM_stats_period, "999ms", NULL},

	{PARAM_tcp_user_timeout, "1500", "1500"},
	{PARAM_tcp_user_timeout, "2s", "2000"},
	{PARAM_tcp_user_timeout, "1us", "1"},
	{PARAM_tcp_user_timeout, "-5", NULL},
	{PARAM_tcp_user_timeout, "2147483648", NULL},

	{PARAM_pkt_buf, "4096", "4096"},
	{PARAM_pkt_buf, "75", "75"},
	{PARAM_pkt_buf, "4kB", "4096"},
	{PARAM_pkt_buf, "4 KB", "4096"},
	{PARAM_pkt_buf, "1MB", "1048576"},
	{PARAM_pkt_buf, "1GB", "1073741824"},
	{PARAM_pkt_buf, "100B", "100"},
	{PARAM_pkt_buf, "2GB", NULL},
	{PARAM_pkt_buf, "9223372036854775807GB", NULL},
	{PARAM_pkt_buf, "15", NULL},
	{PARAM_pkt_buf, "4k", NULL},
	{PARAM_pkt_buf, "1.5kB", NULL},
	{PARAM_pkt_buf, "-4kB", NULL},

	{PARAM_unix_socket_mode, "0", "0000"},
	{PARAM_unix_socket_mode, "0777", "0777"},
	{PARAM_unix_socket_mode, "0600", "0600"},
	{PARAM_unix_socket_mode, "07777", "7777"},
	{PARAM_unix_socket_mode, "777", NULL}, /* decimal for PgBouncer, hardly meant so */
	{PARAM_unix_socket_mode, "0x1ff", NULL},
	{PARAM_unix_socket_mode, "0800", NULL},
	{PARAM_unix_socket_mode, "010000", NULL},
	{PARAM_unix_socket_mode, "", NULL},

	{PARAM_pool_mode, "transaction", "transaction"},
	{PARAM_pool_mode, "STATEMENT", "statement"},
	{PARAM_pool_mode, "trans", NULL},
	{PARAM_pool_mode, "", NULL},
	{PARAM_auth_type, "scram-sha-256", "scram-sha-256"},
	{PARAM_auth_type, "hba", NULL},
	{PARAM_syslog_facility, "local3", "local3"},
	{PARAM_syslog_facility, "local9", NULL},

	{PARAM_server_check_query, "", ""},
	{PARAM_server_check_query, "select 1 -- ;", "select 1 -- ;"},
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(values); i++) {
		const struct value *v = &values[i];
		const struct param *p = &param_table[v->id];
		struct settings s, before;
		char buf[PARAM_TEXT], why[256] = "";
		bool ok;

		settings_init(&s);
		settings_copy(&before, &s);
		ok = param_parse(p, v->text, &s, why, sizeof why);
		if (ok != (v->printed != NULL))
			fail_msg("%s = \"%s\" was %s", p->name, v->text, ok ? "taken" : "refused");
		if (ok) {
			const char *printed = param_print(p, &s, buf, sizeof buf);

			if (strcmp(printed, v->printed) != 0)
				fail_msg("%s = \"%s\" is printed as %s", p->name, v->text, printed);
		} else {
			assert_true(param_equal(p, &s, &before));
			assert_int_equal(strncmp(why, "must be ", 8), 0);
		}
		settings_free(&before);
		settings_free(&s);
	}
}

static void test_why(void **state)
{
	static const struct {
		enum param_id id;
		const char *why;
	} rows[] = {
		{PARAM_listen_port, "must be a whole number from 1 to 65535"},
		{PARAM_pool_mode, "must be one of session, transaction, statement"},
		{PARAM_log_stats, "must be 0 or 1 (or off, on, no, yes, false, true)"},
		{PARAM_unix_socket_mode, "must be a file mode in octal with a leading 0, at most 07777"},
		{PARAM_stats_period,
			"must be a time from 1 s to 3155760000 s: seconds, or a number with us, ms, s, min, h or d"},
		{PARAM_pkt_buf, "must be a size from 16 to 2147483647: bytes, or a number with B, kB, MB or GB"},
	};
	struct settings s;

	(void)state;
	settings_init(&s);
	for (size_t i = 0; i < ROWS(rows); i++) {
		char why[256], small[12];

		assert_false(param_parse(&param_table[rows[i].id], "?", &s, why, sizeof why));
		assert_string_equal(why, rows[i].why);
		assert_false(param_parse(&param_table[rows[i].id], "?", &s, small, sizeof small));
		assert_int_equal(strlen(small), sizeof small - 1);
	}
	settings_free(&s);
}

static void test_copies(void **state)
{
	struct settings a, b;
	char why[256];

	(void)state;
	settings_init(&a);
	assert_true(param_parse(&param_table[PARAM_logfile], "/a", &a, why, sizeof why));
	assert_true(param_parse(&param_table[PARAM_verbose], "2", &a, why, sizeof why));
	settings_copy(&b, &a);
	for (size_t i = 0; i < PARAM_COUNT; i++)
		assert_true(param_equal(&param_table[i], &a, &b));
	assert_true(param_parse(&param_table[PARAM_logfile], "/b", &b, why, sizeof why));
	assert_string_equal(a.logfile, "/a");
	assert_false(param_equal(&param_table[PARAM_logfile], &a, &b));
	param_assign(&param_table[PARAM_logfile], &a, &b);
	assert_string_equal(a.logfile, "/b");
	assert_true(param_parse(&param_table[PARAM_logfile], a.logfile, &a, why, sizeof why)); /* its own text */
	assert_string_equal(a.logfile, "/b");
	settings_free(&a);
	settings_free(&b);
}

/* ---- names ---- */

static void test_names(void **state)
{
	static const struct {
		const char *name;
		unsigned scope;
		const char *row;
	} rows[] = {
		{"POOL_mode", PS_GLOBAL, "pool_mode"},
		{"pool_size", PS_GLOBAL, NULL},
		{"pool_size", PS_DATABASE, "default_pool_size"},
		{"Pool_Size", PS_USER, "default_pool_size"},
		{"default_pool_size", PS_DATABASE, NULL},
		{"default_pool_size", PS_USER, NULL},
		{"default_pool_size", PS_GLOBAL, "default_pool_size"},
		{"reserve_pool", PS_DATABASE, "reserve_pool_size"},
		{"reserve_pool_size", PS_DATABASE, "reserve_pool_size"},
		{"reserve_pool", PS_USER, NULL},
		{"reserve_pool_size", PS_USER, "reserve_pool_size"},
		{"reserve_pool", PS_GLOBAL, NULL},
		{"listen_port", PS_DATABASE, NULL},
		{"query_timeout", PS_USER, "query_timeout"},
		{"query_timeout", PS_DATABASE, NULL},
		{"server_lifetime", PS_USER, NULL},
		{"", PS_GLOBAL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		const struct param *p = param_find_in(rows[i].name, rows[i].scope);

		if (rows[i].row == NULL && p != NULL)
			fail_msg("%s was found as %s", rows[i].name, p->name);
		if (rows[i].row != NULL) {
			assert_non_null(p);
			assert_string_equal(p->name, rows[i].row);
		}
	}
	assert_string_equal(param_name_in(&param_table[PARAM_default_pool_size], PS_USER), "pool_size");
	assert_string_equal(param_name_in(&param_table[PARAM_default_pool_size], PS_GLOBAL), "default_pool_size");
	assert_string_equal(param_name_in(&param_table[PARAM_reserve_pool_size], PS_DATABASE), "reserve_pool_size");
}

/* What may be set where, as PgBouncer has it and a few of our own. */
static void test_scopes(void **state)
{
	static const char *const in_database[] = {"pool_size", "min_pool_size", "reserve_pool_size", "pool_mode",
		"query_wait_timeout", "max_db_connections", "max_db_client_connections", "server_lifetime",
		"server_tls_sslnegotiation", "cancel_on_client_disconnect", "defer_begin", "track_sql_prepare",
		"session_state", "max_pinned", "target_session_attrs", "failover_wait_timeout", "failover_replay",
		"server_lost", "max_replica_lag", "prefer_same_zone"};
	static const char *const in_user[] = {"pool_size", "reserve_pool_size", "pool_mode", "max_user_connections",
		"query_timeout", "query_wait_timeout", "idle_transaction_timeout", "transaction_timeout",
		"client_idle_timeout", "max_user_client_connections", "defer_begin", "track_sql_prepare",
		"session_state", "server_lost"};
	size_t n_database = 0, n_user = 0;

	(void)state;
	for (size_t i = 0; i < ROWS(in_database); i++)
		assert_non_null(param_find_in(in_database[i], PS_DATABASE));
	for (size_t i = 0; i < ROWS(in_user); i++)
		assert_non_null(param_find_in(in_user[i], PS_USER));
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		n_database += (param_table[i].scope & PS_DATABASE) != 0;
		n_user += (param_table[i].scope & PS_USER) != 0;
	}
	assert_int_equal(n_database, ROWS(in_database));
	assert_int_equal(n_user, ROWS(in_user));
}

/* NR in PgBouncer. */
static void test_restart(void **state)
{
	static const enum param_id fixed[] = {PARAM_listen_addr, PARAM_listen_backlog, PARAM_listen_port, PARAM_pidfile,
		PARAM_pkt_buf, PARAM_disable_pqexec, PARAM_track_extra_parameters, PARAM_unix_socket_dir,
		PARAM_unix_socket_group, PARAM_unix_socket_mode, PARAM_user};
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ROWS(fixed); i++)
		assert_true(param_table[fixed[i]].restart);
	for (size_t i = 0; i < PARAM_COUNT; i++)
		n += param_table[i].restart;
	assert_int_equal(n, ROWS(fixed));
}

static void test_nearest(void **state)
{
	static const struct {
		const char *name;
		unsigned scope;
		const char *near;
	} rows[] = {
		{"listen_adress", PS_GLOBAL, "listen_addr"},
		{"poolmode", PS_GLOBAL, "pool_mode"},
		{"POOL_MODUS", PS_GLOBAL, "pool_mode"},
		{"max_client_connections", PS_GLOBAL, "max_db_client_connections"},
		{"pool_size", PS_GLOBAL, "default_pool_size"},
		{"default_pool_size", PS_DATABASE, "pool_size"},
		{"reserve_pool", PS_GLOBAL, "reserve_pool_size"},
		{"idle_transaction_timeouts", PS_USER, "idle_transaction_timeout"},
		{"auth_user", PS_GLOBAL, "auth_type"},
		{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", PS_GLOBAL, NULL},
	};
	static const char *const words[] = {"databases", "users"};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		const char *near = param_nearest(rows[i].name, rows[i].scope);

		if ((near == NULL) != (rows[i].near == NULL) || (near != NULL && strcmp(near, rows[i].near) != 0))
			fail_msg("nearest to \"%s\" is %s", rows[i].name, near == NULL ? "nothing" : near);
	}
	assert_string_equal(param_nearest_with("database", 0, words, 2), "databases");
	/* However far it is, there is always one. */
	assert_non_null(param_nearest("so_reuseport", PS_GLOBAL));
	assert_non_null(param_nearest("x", PS_USER));
	assert_non_null(param_nearest_with("pool_mode", 0, words, 2));
}

/* ---- overrides ---- */

static void set_over(struct overrides *o, unsigned scope, const char *name, const char *text)
{
	const struct param *p = param_find_in(name, scope);
	char why[256];

	assert_non_null(p);
	assert_true(override_parse(o, p, text, why, sizeof why));
}

static void test_effective(void **state)
{
	struct overrides user = {.set = NULL}, db = {.set = NULL}, copy;
	struct settings global;
	char why[256];

	(void)state;
	settings_init(&global);
	assert_int_equal(param_effective(PARAM_default_pool_size, &user, &db, &global), 20);
	assert_int_equal(param_effective(PARAM_default_pool_size, NULL, NULL, &global), 20);
	set_over(&db, PS_DATABASE, "pool_size", "5");
	assert_int_equal(param_effective(PARAM_default_pool_size, &user, &db, &global), 5);
	assert_int_equal(param_effective(PARAM_default_pool_size, NULL, &db, &global), 5);
	set_over(&user, PS_USER, "pool_size", "0");
	assert_int_equal(param_effective(PARAM_default_pool_size, &user, &db, &global), 0);
	set_over(&user, PS_USER, "pool_mode", "statement");
	assert_int_equal(param_effective(PARAM_pool_mode, &user, &db, &global), POOL_STATEMENT);
	assert_int_equal(param_effective(PARAM_pool_mode, NULL, &db, &global), POOL_SESSION);
	set_over(&db, PS_DATABASE, "cancel_on_client_disconnect", "off");
	assert_int_equal(param_effective(PARAM_cancel_on_client_disconnect, NULL, &db, &global), 0);
	set_over(&db, PS_DATABASE, "query_wait_timeout", "2min");
	assert_int_equal(param_effective(PARAM_query_wait_timeout, &user, &db, &global), 120000000);
	/* What does not fit is not set, and leaves what was. */
	assert_false(override_parse(&user, &param_table[PARAM_query_timeout], "x", why, sizeof why));
	assert_false(override_has(&user, PARAM_query_timeout));
	assert_false(override_parse(&user, &param_table[PARAM_default_pool_size], "x", why, sizeof why));
	assert_int_equal(param_effective(PARAM_default_pool_size, &user, &db, &global), 0);

	overrides_copy(&copy, &db);
	overrides_free(&db);
	assert_false(override_has(&db, PARAM_default_pool_size));
	assert_true(override_has(&copy, PARAM_default_pool_size));
	assert_int_equal(param_effective(PARAM_default_pool_size, NULL, &copy, &global), 5);
	overrides_free(&copy);
	overrides_copy(&copy, &db); /* of nothing */
	assert_null(copy.set);
	overrides_free(&user);
	settings_free(&global);
}

static int nothing_left(void **state)
{
	(void)state;
	return mem_usage_get(MEM_CONFIG).objects == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_why),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_effective),
	};

	return cmocka_run_group_tests_name("param", tests, NULL, nothing_left);
}
