/*
 * session: which texts touch and pin, what transactions undo, what is asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "conn/session.h"
#include "net/buf.h"
#include "pool/vars.h"

static struct session_text text_of(const char *sql)
{
	return (struct session_text){.p = sql, .n = strlen(sql), .whole = true, .standard = true};
}

static void note(struct session **s, const char *sql)
{
	struct session_text t = text_of(sql);

	session_note(s, &t, false);
}

static const char *const pin_words[PINS] = {
#define PIN(name, shown, transactional) [PIN_##name] = #name " ",
#include "tbl/pins.h"
#undef PIN
};

static const char *pins_of(const struct session *s)
{
	static char text[200];

	text[0] = '\0';
	for (unsigned i = 0; i < PINS; i++)
		if (session_pins(s) & (1u << i))
			strcat(text, pin_words[i]);
	return text;
}

/* What comes back, a word each: a tag with '_' for blanks, "!" an error, "I" ReadyForQuery, "+" with more behind it. */
static void answer(struct session *s, const char *words)
{
	char copy[200], *save = NULL;

	snprintf(copy, sizeof copy, "%s", words);
	for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		for (char *p = w; *p != '\0'; p++)
			if (*p == '_')
				*p = ' ';
		if (!strcmp(w, "!"))
			session_failed(s);
		else if (!strcmp(w, "I") || !strcmp(w, "+"))
			session_ready(s, *w == '+');
		else
			session_completed(s, w);
	}
}

static void test_pins(void **state)
{
	static const struct {
		const char *sql, *answers, *held;
	} rows[] = {
		{"listen x", "LISTEN I", "LISTEN "},
		{"listen x", "! I", ""},
		{"listen x; rollback", "LISTEN ROLLBACK I", ""},
		{"listen x; commit; rollback", "LISTEN COMMIT ROLLBACK I", "LISTEN "},
		{"listen x; savepoint s; rollback to s; commit", "LISTEN SAVEPOINT ROLLBACK COMMIT I", "LISTEN "},
		{"listen x; unlisten *", "LISTEN UNLISTEN I", ""},
		{"unlisten *; listen x", "UNLISTEN LISTEN I", "LISTEN "},
		{"listen x; unlisten x", "LISTEN UNLISTEN I", "LISTEN "},
		{"listen x; savepoint s; unlisten *; rollback to s; commit",
			"LISTEN SAVEPOINT UNLISTEN ROLLBACK COMMIT I", "LISTEN "},
		{"prepare p as select pg_advisory_lock(1)", "PREPARE I", ""},
		{"create temp table t(a int)", "CREATE_TABLE I", "TEMP "},
		{"create temp table t(a int) on commit drop", "CREATE_TABLE I", ""},
		{"create temp table t(a int); discard temp", "CREATE_TABLE DISCARD_TEMP I", ""},
		{"declare c cursor with hold for select 1", "DECLARE_CURSOR I", "HOLD "},
		{"declare c cursor for select 1", "DECLARE_CURSOR I", ""},
		{"declare c cursor with hold for select 1; close all", "DECLARE_CURSOR CLOSE_CURSOR_ALL I", ""},
		{"select pg_advisory_lock(1)", "SELECT_1 ! I", "LOCK "},
		{"select pg_advisory_xact_lock(1)", "SELECT_1 I", ""},
		{"select pg_advisory_lock(1), pg_advisory_unlock_all()", "SELECT_1 I", ""},
		{"load 'x'", "LOAD I", "LOAD "},
		{"load 'x'; listen y; create temp table t(a int)", "LOAD LISTEN CREATE_TABLE ! I", "LOAD "},
		{"listen x", "SELECT_1 ! + LISTEN I", "LISTEN "}, /* the error was of an earlier request */
		{"set work_mem to 1", "SET I", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct session *s = NULL;

		note(&s, rows[i].sql);
		answer(s, rows[i].answers);
		if (strcmp(pins_of(s), rows[i].held) != 0)
			fail_msg("%s: %s: \"%s\"", rows[i].sql, rows[i].answers, pins_of(s));
		session_free(&s);
	}
}

static void test_discard_all_ends_all_pins(void **state)
{
	struct session *s = NULL;

	(void)state;
	note(&s, "load 'x'; listen y; create temp table t(a int); select pg_advisory_lock(1)");
	answer(s, "LOAD LISTEN CREATE_TABLE SELECT_1 I");
	assert_string_equal(pins_of(s), "LISTEN TEMP LOCK LOAD ");
	assert_string_equal(session_head(s), "load 'x'; listen y; create temp table t(a int); select pg_advis");
	note(&s, "begin; discard all");
	answer(s, "BEGIN ! I");
	assert_string_equal(pins_of(s), "LISTEN TEMP LOCK LOAD ");
	note(&s, "discard all");
	answer(s, "DISCARD_ALL I");
	assert_string_equal(pins_of(s), "");
	session_free(&s);
}

static void test_added(void **state)
{
	struct session *s = NULL;
	struct session_text listen = text_of("listen x"), load = text_of("load 'x'; listen y"),
			    none = text_of("select 1");

	(void)state;
	assert_int_equal(session_pins_added(s, &listen), 1u << PIN_LISTEN);
	assert_int_equal(session_pins_added(s, &none), 0);
	note(&s, "listen x");
	assert_int_equal(session_pins_added(s, &listen), 0);
	assert_int_equal(session_pins_added(s, &load), 1u << PIN_LOAD);
	session_free(&s);
	session_pin(&s, PIN_STATEMENT, "large", 5);
	answer(s, "I");
	assert_string_equal(pins_of(s), "STATEMENT ");
	assert_string_equal(session_head(s), "large");
	session_unpin(s, PIN_STATEMENT);
	answer(s, "I");
	assert_string_equal(pins_of(s), "");
	session_free(&s);
}

/* The names that are asked for, each with a '?' if it may have been taken back. */
static const char *asked(const struct session *s, const struct vars *now, const struct vars *reported)
{
	static char text[4000];
	struct buf sql = {0};
	const char *p;

	text[0] = '\0';
	if (!session_read_sql(s, now, reported, &sql))
		return text;
	for (p = buf_text(&sql); (p = strstr(p, "SELECT E'")) != NULL;) {
		const char *end = strchr(p += 9, '\'');

		strncat(text, p, (size_t)(end - p));
		p = strstr(end, ", true), ");
		strcat(text, strncmp(p, ", true), false", 14) ? "? " : " ");
	}
	if (strstr(buf_text(&sql), "'session'"))
		strcat(text, "*");
	buf_free(&sql);
	return text;
}

static void test_names(void **state)
{
	static const struct {
		const char *sql, *answers, *asked;
	} rows[] = {
		{"set work_mem to 1", "SET I", "work_mem "},
		{"SET SESSION \"Work_Mem\" = 1", "SET I", "work_mem "},
		{"set local work_mem to 1", "SET I", ""},
		{"set timezone to 'utc'", "SET I", ""}, /* is reported */
		{"set transaction_isolation to serializable; set seed to 0", "SET SET I", ""},
		{"reset work_mem", "RESET I", "work_mem? "},
		{"set work_mem to default", "SET I", "work_mem? "},
		{"reset work_mem; set work_mem to 1", "RESET SET I", "work_mem "},
		{"set work_mem to 1; reset work_mem", "SET RESET I", "work_mem? "},
		{"set app.x to 1; set app.y to 2", "SET SET I", "app.x app.y "},
		{"select set_config('app.x', '1', false)", "SELECT_1 I", "app.x "},
		{"select set_config(n, '1', false) from t", "SELECT_1 I", "statement_timeout? jit? *"},
		{"set role x", "SET I", "role "},
		{"set session authorization x", "SET I", "role? "},
		{"reset role", "RESET I", "role? "},
		{"reset all", "RESET I", "jit? "},
		{"set work_mem to 1; discard all", "SET DISCARD_ALL I", "work_mem? jit? "},
		{"select 1", "SELECT_1 I", ""},
		{"set work_mem to 1", "! I", ""},
		{"set work_mem to 1; rollback", "SET ROLLBACK I", ""},
		{"set work_mem to 1; commit; set jit to on; rollback", "SET COMMIT SET ROLLBACK I", "work_mem jit "},
	};
	struct vars_table *t = vars_table_new();
	struct vars *now = vars_empty(t), *reported = vars_empty(t);

	(void)state;
	vars_put(&reported, "TimeZone", "UTC");
	vars_put(&reported, "session_authorization", "u");
	vars_put(&now, "TimeZone", "UTC");
	vars_put(&now, "jit", "off");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct session *s = NULL;
		const char *names = "";

		note(&s, rows[i].sql);
		answer(s, rows[i].answers);
		if (session_must_read(s))
			names = asked(s, now, reported);
		if (strcmp(names, rows[i].asked) != 0)
			fail_msg("%s: \"%s\"", rows[i].sql, names);
		session_free(&s);
	}
	vars_unref(&now);
	vars_unref(&reported);
	vars_table_free(t);
}

/* A text that is not in memory to its end may hold a SET, which its tag tells. */
static void test_blind(void **state)
{
	struct session *s = NULL;
	struct session_text t = text_of("insert into t values ('");

	(void)state;
	t.whole = false;
	session_note(&s, &t, false);
	answer(s, "INSERT_0_1 I");
	assert_false(session_must_read(s));
	session_note(&s, &t, false);
	answer(s, "INSERT_0_1 SET I");
	assert_true(session_must_read(s) && session_has_unknown(s));
	session_free(&s);
}

static void test_many_names(void **state)
{
	struct session *s = NULL;
	char sql[40];

	(void)state;
	for (int i = 0; i < 512; i++) {
		snprintf(sql, sizeof sql, "set a.b%d to 1; set a.b%d to 2", i, i);
		note(&s, sql);
	}
	assert_false(session_has_unknown(s));
	note(&s, "set a.b512 to 1");
	assert_true(session_has_unknown(s));
	session_free(&s);
}

static void test_resets(void **state)
{
	struct session *s = NULL;
	struct session_text set = text_of("set work_mem to 1"), local = text_of("set local work_mem to 1");

	(void)state;
	session_note(&s, &local, true);
	assert_null(s);
	session_note(&s, &set, true);
	answer(s, "SET I");
	assert_true(session_must_reset(s));
	assert_false(session_must_read(s));
	session_free(&s);
	note(&s, "set work_mem to 1");
	assert_false(session_must_reset(s));
	session_free(&s);
	assert_false(session_must_reset(NULL) || session_must_read(NULL) || session_pins(NULL));
}

static void test_values(void **state)
{
	(void)state;
	assert_string_equal(session_value("work_mem", "4MB", "f"), "4MB");
	assert_null(session_value("work_mem", "4MB", "t"));
	assert_null(session_value("app.x", NULL, "f"));
	assert_string_equal(session_value("app.x", "", "f"), "");
	assert_null(session_value("app.x", "", NULL));
	assert_null(session_value("role", "none", NULL));
	assert_string_equal(session_value("role", "none", "f"), "none");
	assert_string_equal(session_value("role", "bob", NULL), "bob");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pins),
		cmocka_unit_test(test_discard_all_ends_all_pins),
		cmocka_unit_test(test_added),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_blind),
		cmocka_unit_test(test_many_names),
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
