/*
 * authfile: what a user list may hold, what is refused on which line, that a
 * broken list gives nothing, and the limits of what file_read() takes.
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
#include "conf/file.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/test_authfile.XXXXXX";
static unsigned warnings;
static char last_line[512];

static void on_log(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	warnings += level == LL_WARNING;
	snprintf(last_line, sizeof last_line, "%s", line);
}

static struct auth_file *parse(const char *text, struct errs *errs)
{
	*errs = (struct errs){0};
	return auth_file_parse("list", text, strlen(text), errs);
}

/* ---- lines that are taken ---- */

static void test_good(void **state)
{
	static const struct {
		const char *text, *name, *secret;
		int line;
	} rows[] = {
		{"\"a\" \"b\"\n", "a", "b", 1},
		{"\"a\" \"b\"", "a", "b", 1},
		{"  \t\"a\"\t\"b\"\n", "a", "b", 1},
		{"\"a\"\"b\" \"c\"\"\"\"d\"", "a\"b", "c\"\"d", 1},
		{"\"\"\"\" \"\"", "\"", "", 1},
		{"\"a\" \"b\" \"md5 of old times\" rest ; of it \"\n", "a", "b", 1},
		{"\"a\" \"b\"\r\n\"c\" \"d\"\r\n", "c", "d", 2},
		{"; comment \"x\n\n  ; another\n \t \n\"a\" \"b\"\n", "a", "b", 5},
		{"\xef\xbb\xbf\"a\" \"b\"\n", "a", "b", 1},
		{"\"a\"\"b\" \"c\"", "a\"b", "c", 1},
		{"\"my user\" \"SCRAM-SHA-256$4096:c2FsdA==$x:y\"", "my user", "SCRAM-SHA-256$4096:c2FsdA==$x:y", 1},
		{"\"\xc3\xa9\" \"\xff;#\\'\"", "\xc3\xa9", "\xff;#\\'", 1},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct errs errs;
		struct auth_file *f = parse(rows[i].text, &errs);
		const struct auth_entry *e;

		if (f == NULL)
			fail_msg("%s: %s", rows[i].text, errs.v[0].text);
		e = auth_file_find(f, rows[i].name);
		assert_non_null(e);
		assert_string_equal(e->name, rows[i].name);
		assert_string_equal(e->secret, rows[i].secret);
		assert_int_equal(e->line, rows[i].line);
		assert_null(auth_file_find(f, "nobody"));
		auth_file_free(f);
		assert_int_equal(errs.total, 0);
	}
	auth_file_free(NULL);
}

static void test_empty(void **state)
{
	static const char *const texts[] = {"", "\n", ";\n", "; x", "\xef\xbb\xbf", "\r\n\r\n"};
	struct errs errs = {0};
	struct auth_file *f;

	(void)state;
	for (size_t i = 0; i < ROWS(texts); i++) {
		f = parse(texts[i], &errs);
		assert_non_null(f);
		assert_int_equal(f->users.count, 0);
		auth_file_free(f);
	}
	f = auth_file_load(NULL, &errs);
	assert_non_null(f);
	auth_file_free(f);
	f = auth_file_load("", &errs);
	assert_non_null(f);
	assert_null(auth_file_find(f, "a"));
	auth_file_free(f);
	assert_int_equal(errs.total, 0);
}

static void test_twice(void **state)
{
	struct errs errs;
	struct auth_file *f;

	(void)state;
	warnings = 0;
	log_capture(on_log, NULL);
	f = parse("\"a\" \"first\"\n\"b\" \"x\"\n\"a\" \"second\"\n", &errs);
	log_capture(NULL, NULL);
	assert_non_null(f);
	assert_int_equal(f->users.count, 2);
	assert_string_equal(auth_file_find(f, "a")->secret, "second");
	assert_int_equal(warnings, 1);
	assert_non_null(strstr(last_line, "list:3: user \"a\""));
	assert_null(strstr(last_line, "second"));
	auth_file_free(f);
}

static void test_copy(void **state)
{
	enum { USERS = 5000 };
	struct errs errs;
	struct auth_file *f, *copy;
	char *text = malloc(USERS * 40), name[32];
	size_t n = 0;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < USERS; i++)
		n += (size_t)sprintf(text + n, "\"user%d\" \"secret %d\"\n", i, i * 7);
	f = parse(text, &errs);
	assert_non_null(f);
	copy = auth_file_copy(f);
	auth_file_free(f);
	assert_int_equal(copy->users.count, USERS);
	for (int i = 0; i < USERS; i++) {
		const struct auth_entry *e;

		sprintf(name, "user%d", i);
		e = auth_file_find(copy, name);
		assert_non_null(e);
		assert_int_equal(atoi(e->secret + 7), i * 7);
		assert_int_equal(e->line, i + 1);
	}
	auth_file_free(copy);
	free(text);
}

/* ---- lines that are refused ---- */

static void test_bad(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *why;
	} rows[] = {
		{"a b\n", 1, "neither \"user\" \"secret\" nor a comment"},
		{"# not a comment here\n", 1, "neither \"user\" \"secret\" nor a comment"},
		{"\"a\"\n", 1, "neither \"user\" \"secret\" nor a comment"},
		{"\"a\" b\n", 1, "neither \"user\" \"secret\" nor a comment"},
		{"'a' 'b'\n", 1, "neither \"user\" \"secret\" nor a comment"},
		{"\"a\" \"b\"\n\"c\n\" \"d\"\n", 2, "no closing quote"},
		{"\"a\" \"b", 1, "no closing quote"},
		{"\"a\" \"b\"\"", 1, "no closing quote"},
		{"\"", 1, "no closing quote"},
		{"\"a", 1, "no closing quote"},
		{"\"\" \"b\"", 1, "the user name is empty"},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct errs errs;

		if (parse(rows[i].text, &errs) != NULL)
			fail_msg("%s was taken", rows[i].text);
		assert_true(errs.total >= 1);
		assert_string_equal(errs.v[0].file, "list");
		assert_int_equal(errs.v[0].line, rows[i].line);
		assert_string_equal(errs.v[0].text, rows[i].why);
		errs_free(&errs);
	}
}

static void test_all_errors(void **state)
{
	struct errs errs;

	(void)state;
	assert_null(parse("x\n\"a\" \"b\"\ny\n\n\"c\"\n", &errs));
	assert_int_equal(errs.total, 3);
	assert_int_equal(errs.v[0].line, 1);
	assert_int_equal(errs.v[1].line, 3);
	assert_int_equal(errs.v[2].line, 5);
	errs_free(&errs);
}

static void test_nul(void **state)
{
	static const char text[] = "\"a\" \"b\"\n\"c\0\" \"d\"\n";
	struct errs errs = {0};

	(void)state;
	assert_null(auth_file_parse("list", text, sizeof text - 1, &errs));
	assert_int_equal(errs.total, 1);
	assert_int_equal(errs.v[0].line, 2);
	assert_string_equal(errs.v[0].text, "a NUL byte in this line");
	errs_free(&errs);
}

/* One line of a name and a secret of these lengths. */
static bool takes_lengths(size_t name, size_t secret)
{
	char *text = malloc(name + secret + 6);
	struct errs errs = {0};
	struct auth_file *f;
	bool ok;

	assert_non_null(text);
	text[0] = '"';
	memset(text + 1, 'n', name);
	memcpy(text + 1 + name, "\" \"", 3);
	memset(text + 4 + name, 's', secret);
	text[4 + name + secret] = '"';
	f = auth_file_parse("list", text, name + secret + 5, &errs);
	ok = f != NULL;
	assert_int_equal(errs.total, ok ? 0 : 1);
	auth_file_free(f);
	errs_free(&errs);
	free(text);
	return ok;
}

static void test_lengths(void **state)
{
	(void)state;
	assert_true(takes_lengths(127, 0));
	assert_false(takes_lengths(128, 1));
	assert_true(takes_lengths(1, 65530));
	assert_false(takes_lengths(1, 65531));
	assert_false(takes_lengths(70000, 70000));
}

/* ---- files ---- */

static const char *path(const char *name)
{
	static char buf[128];

	snprintf(buf, sizeof buf, "%s/%s", dir, name);
	return buf;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_load(void **state)
{
	struct errs errs = {0};
	struct auth_file *f;

	(void)state;
	write_file("users", "\"a\" \"b\"\n");
	f = auth_file_load(path("users"), &errs);
	assert_non_null(f);
	assert_string_equal(auth_file_find(f, "a")->secret, "b");
	auth_file_free(f);
	assert_null(auth_file_load(path("missing"), &errs));
	assert_int_equal(errs.total, 1);
	assert_string_equal(errs.v[0].file, path("missing"));
	assert_string_equal(errs.v[0].text, "cannot be read: No such file or directory");
	errs_free(&errs);
}

static void test_file_kinds(void **state)
{
	static const struct {
		const char *path, *why;
	} rows[] = {
		{"/", "it is a directory"},
		{"/nonexistent/x", "No such file or directory"},
		{"/dev/zero", "it is longer than 5000 bytes"},
	};
	char *text, why[256];
	size_t n;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_false(file_read(rows[i].path, 5000, &text, &n, why, sizeof why));
		assert_null(text);
		assert_string_equal(why, rows[i].why);
	}
	assert_int_equal(mkfifo(path("pipe"), 0600), 0);
	assert_false(file_read(path("pipe"), 5000, &text, &n, why, sizeof why));
	assert_string_equal(why, "it is not a regular file");
	assert_false(file_can_read(path("pipe"), why, sizeof why));
	assert_true(file_can_read("/dev/null", why, sizeof why));
	assert_true(file_read("/dev/null", 0, &text, &n, why, sizeof why));
	assert_int_equal(n, 0);
	assert_string_equal(text, "");
	file_release(&text, n);
	unlink(path("pipe"));
}

/* Sizes around those of the reading. */
static void test_file_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 4094, 4095, 4096, 4097, 8192, 100000};

	(void)state;
	for (size_t i = 0; i < ROWS(sizes); i++) {
		FILE *f = fopen(path("sized"), "w");
		char *text, why[256];
		size_t n;

		assert_non_null(f);
		for (size_t k = 0; k < sizes[i]; k++)
			fputc('a' + (int)(k % 26), f);
		fclose(f);
		assert_true(file_read(path("sized"), sizes[i], &text, &n, why, sizeof why));
		assert_int_equal(n, sizes[i]);
		assert_int_equal(strlen(text), n);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(text[k], 'a' + (int)(k % 26));
		file_release(&text, n);
		assert_null(text);
		if (sizes[i] == 0)
			continue;
		assert_false(file_read(path("sized"), sizes[i] - 1, &text, &n, why, sizeof why));
		assert_null(text);
	}
	unlink(path("sized"));
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int nothing_left(void **state)
{
	(void)state;
	unlink(path("users"));
	if (rmdir(dir) != 0)
		return -1;
	return mem_usage_get(MEM_CONFIG).objects == 0 && mem_usage_get(MEM_TABLE).objects == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_all_errors),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_file_kinds),
		cmocka_unit_test(test_file_sizes),
	};

	return cmocka_run_group_tests_name("authfile", tests, make_dir, nothing_left);
}
