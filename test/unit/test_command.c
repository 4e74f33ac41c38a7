/*
 * The parser of the console's commands: tables of texts, and the manual that
 * comes from the same rows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/command.h"
#include "admin/result.h"
#include "base/mem.h"
#include "net/buf.h"

/* Texts that are a command, with its word and arguments; word NULL: an empty text. */
static const struct {
	const char *text, *word, *arg, *value;
} good[] = {
	{"", NULL, NULL, NULL},
	{"  \t\r\n\f\v", NULL, NULL, NULL},
	{";", NULL, NULL, NULL},
	{"; ; ;", NULL, NULL, NULL},
	{"-- a comment", NULL, NULL, NULL},
	{"-- a comment\n;", NULL, NULL, NULL},
	{"/* a /* b */ c */", NULL, NULL, NULL},
	{"/* no end", NULL, NULL, NULL},
	{"/*", NULL, NULL, NULL},
	{"/*/", NULL, NULL, NULL},
	{"show version", "SHOW", "version", NULL},
	{"SELECT Version;", "SHOW", "Version", NULL},
	{"show /**/ stats --", "SHOW", "stats", NULL},
	{"Reload", "RELOAD", NULL, NULL},
	{"reload ; ;", "RELOAD", NULL, NULL},
	{"pause", "PAUSE", NULL, NULL},
	{"pause db-1.x", "PAUSE", "db-1.x", NULL},
	{"pause a--b/*c", "PAUSE", "a--b/*c", NULL}, /* comments begin where a word could */
	{"pause \"my db\"", "PAUSE", "my db", NULL},
	{"pause \"a\"\"b;\" ;", "PAUSE", "a\"b;", NULL},
	{"pause\"x\"", "PAUSE", "x", NULL},
	{"pause \"\"", "PAUSE", "", NULL},
	{"pause \xc3\xa4", "PAUSE", "\xc3\xa4", NULL},
	{"resume d;", "RESUME", "d", NULL},
	{"disable d", "DISABLE", "d", NULL},
	{"disable", "DISABLE", NULL, NULL},
	{"enable d", "ENABLE", "d", NULL},
	{"reconnect", "RECONNECT", NULL, NULL},
	{"wait_close d", "WAIT_CLOSE", "d", NULL},
	{"kill", "KILL", NULL, NULL},
	{"kill_client 12", "KILL_CLIENT", "12", NULL},
	{"shutdown wait_for_servers", "SHUTDOWN", "wait_for_servers", NULL},
	{"set a=b", "SET", "a", "b"},
	{"set a = b;", "SET", "a", "b"},
	{"set a to b", "SET", "a", "b"},
	{"SET a TO 'b c;'", "SET", "a", "b c;"},
	{"set a=''", "SET", "a", ""},
	{"set a='it''s'", "SET", "a", "it's"},
	{"set a=x=y", "SET", "a", "x=y"},
	{"set a=-5.5s", "SET", "a", "-5.5s"},
	{"set client_encoding = 'UTF8'", "SET", "client_encoding", "UTF8"},
};

static const char *const bad[] = {
	"frob",
	"show",
	"show nothing",
	"show \"version\"",
	"show 'version'",
	"show version version",
	"show version; show version",
	"showversion",
	"select 1",
	"pause a b",
	"pause \"a",
	"pause 'a'",
	"pause a=b",
	"reload now",
	"set",
	"set a",
	"set a b",
	"set a =",
	"set a = ;",
	"set a = b c",
	"set a = 'b",
	"set a = \"b\"",
	"set a to",
	"set to b",
	"set = b",
	"'",
	"\"",
	"=",
	"\"show\" version",
	"*/",
	"begin",
	"show version /* x */ y",
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct command c;
		char why[COMMAND_WHY] = "";

		if (!command_parse(good[i].text, &c, why))
			fail_msg("%s: %s", good[i].text, why);
		assert_int_equal(command_is_empty(&c), good[i].word == NULL);
		if (good[i].word != NULL)
			assert_string_equal(command_tag(&c), good[i].word);
		assert_string_equal(c.arg != NULL ? c.arg : "(none)", good[i].arg != NULL ? good[i].arg : "(none)");
		assert_string_equal(c.value != NULL ? c.value : "(none)",
			good[i].value != NULL ? good[i].value : "(none)");
		command_free(&c);
		assert_int_equal(mem_usage_get(MEM_MISC).objects, 0);
	}
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct command c;
		char why[COMMAND_WHY] = "", expected[COMMAND_WHY];

		if (command_parse(bad[i], &c, why))
			fail_msg("%s is taken for a command", bad[i]);
		snprintf(expected, sizeof(expected), "invalid command '%s', use SHOW HELP;", bad[i]);
		assert_string_equal(why, expected);
		assert_int_equal(mem_usage_get(MEM_MISC).objects, 0);
	}
}

/* The error is cut, and not inside a character. */
static void test_long(void **state)
{
	char text[2000], why[COMMAND_WHY];
	struct command c;

	(void)state;
	for (size_t from = 0; from < 4; from++) {
		memset(text, 'x', from);
		for (size_t i = from; i + 2 < sizeof(text); i += 2)
			memcpy(text + i, "\xc3\xa4", 3);
		assert_false(command_parse(text, &c, why));
		assert_true(strlen(why) < COMMAND_WHY);
		assert_non_null(strstr(why, "\xc3\xa4', use SHOW HELP;"));
	}
}

static void test_columns(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {{"", 0}, {"pause", 0}, {"show help", 0}, {"show version", 1}, {"show totals", 2},
		{"show config", 4}, {"show timezone", 1}, {"set timezone=x", 0}, {"set a=b", 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct command c;
		char why[COMMAND_WHY];
		size_t n = 99;

		assert_true(command_parse(cases[i].text, &c, why));
		assert_int_equal(command_columns(&c, &n) != NULL, cases[i].n > 0);
		assert_int_equal(n, cases[i].n);
		command_free(&c);
	}
}

/* Each row is in the manual once, no line is too long, and none begins with what roff would take for a request. */
static void test_manual(void **state)
{
	static const char *const items[] = {
#define SHOW(ident, name, help) "\n.B SHOW " name " " help "\n",
#define COMMAND(ident, word, rights, args, syntax, help)
#include "tbl/commands.h"
#undef SHOW
#undef COMMAND
	};
	struct buf b = {0};
	char *text;
	size_t requests = 0;

	(void)state;
	command_print_manual(&b);
	text = strdup(buf_text(&b));
	assert_non_null(text);
	for (const char *p = text; p != NULL; p = strchr(p + 1, '\n'))
		assert_true(strcspn(p + 1, "\n") <= 80);
	/* What was filled goes back into one line. */
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\n' && p[1] != '.' && p[1] != '\0')
			*p = ' ';
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		assert_non_null(strstr(text, items[i]));
	assert_non_null(strstr(text, "\n.B PAUSE [db] "));
	assert_null(strstr(text, "\n'"));
	for (const char *p = text; (p = strstr(p, "\n.")) != NULL; p++)
		requests +=
			strncmp(p, "\n.TP\n", 5) != 0 && strncmp(p, "\n.B ", 4) != 0 && strncmp(p, "\n.SS ", 5) != 0;
	assert_int_equal(requests, 0);
	free(text);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
