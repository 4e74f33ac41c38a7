/*
 * log: the format of a line in each sink, reopening, levels, what is replaced
 * and cut in a line, and the rate limit under a held clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/timer.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/test_log.XXXXXX";

static const char *path(const char *name)
{
	static char buf[64][100]; /* some are kept for the length of a test */
	static unsigned i;

	i = (i + 1) % ROWS(buf);
	snprintf(buf[i], sizeof buf[i], "%s/%s", dir, name);
	return buf[i];
}

static const char *slurp(const char *name)
{
	static char text[20000];
	FILE *f = fopen(name, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t re;
	int rc;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	rc = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	if (rc != 0)
		fail_msg("\"%s\" does not match \"%s\"", text, pattern);
}

/* stderr into a file while a test writes lines. */
static int saved_stderr = -1;

static void divert_stderr(const char *file)
{
	int fd = open(file, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	assert_true(fd >= 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void restore_stderr(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
}

static int make_dir(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int drop_dir(void **state)
{
	static const char *const names[] = {"err", "log", "log.1"};

	(void)state;
	log_close();
	for (size_t i = 0; i < ROWS(names); i++)
		unlink(path(names[i]));
	return rmdir(dir);
}

/* ---- sinks ---- */

#define STAMP "^[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3} "

/* What stands in for syslog(3) of the C library; with _FORTIFY_SOURCE it has another name. */
void openlog(const char *ident, int options, int facility);
void closelog(void);
void syslog(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void __syslog_chk(int priority, int flag, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* <syslog.h> itself would declare them inline. */
enum { LOG_CRIT = 2, LOG_ERR, LOG_WARNING, LOG_INFO = 6, LOG_DAEMON = 3 << 3, LOG_LOCAL3 = 19 << 3 };

static struct {
	const char *ident; /* as openlog() keeps it: the pointer */
	int facility, priority;
	unsigned opened, closed, lines;
	char text[100];
} logged;

void openlog(const char *ident, int options, int facility)
{
	(void)options;
	logged.ident = ident;
	logged.facility = facility;
	logged.opened++;
}

void closelog(void)
{
	logged.closed++;
}

static __attribute__((format(printf, 2, 0))) void take_line(int priority, const char *fmt, va_list ap)
{
	logged.lines++;
	logged.priority = priority;
	vsnprintf(logged.text, sizeof logged.text, fmt, ap);
}

void syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	take_line(priority, fmt, ap);
	va_end(ap);
}

void __syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	take_line(priority, fmt, ap);
	va_end(ap);
}

static void minute_in_zone(char *buf, size_t size)
{
	time_t t = time(NULL) + 3 * 3600;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, size, "%Y-%m-%d %H:%M:", &tm);
}

/* Before log_setup(): level LOG, stderr. The time is local. */
static void test_before_setup(void **state)
{
	char pattern[200], before[40], after[40];

	(void)state;
	divert_stderr(path("err"));
	log_msg(LL_DEBUG, "not this");
	minute_in_zone(before, sizeof before);
	log_msg(LL_LOG, "hello %d", 1);
	minute_in_zone(after, sizeof after);
	restore_stderr();
	assert_true(strncmp(slurp(path("err")), before, strlen(before)) == 0 ||
		    strncmp(slurp(path("err")), after, strlen(after)) == 0);
	snprintf(pattern, sizeof pattern, STAMP "XYZ \\[%d\\] LOG hello 1\n$", getpid());
	assert_matches(slurp(path("err")), pattern);
}

static void test_file(void **state)
{
	struct log_options o = {.file = path("log")};

	(void)state;
	divert_stderr(path("err"));
	assert_true(log_setup(&o));
	log_msg(LL_ERROR, "one");
	assert_int_equal(log_crash_fd() == STDERR_FILENO, 0);
	restore_stderr();
	assert_matches(slurp(path("log")), STAMP "[^\n]*ERROR one\n$");
	assert_matches(slurp(path("err")), STAMP "[^\n]*ERROR one\n$");

	/* Moved away by a log rotation: the same name again is a new file; the old one gets nothing any more. */
	o.quiet = true;
	rename(path("log"), path("log.1"));
	divert_stderr(path("err"));
	log_msg(LL_LOG, "two");
	assert_true(log_setup(&o));
	log_msg(LL_LOG, "three");
	restore_stderr();
	assert_matches(slurp(path("log.1")), "ERROR one\n[^\n]*LOG two\n$");
	assert_matches(slurp(path("log")), STAMP "[^\n]*LOG three\n$");
	assert_null(strstr(slurp(path("err")), "three")); /* -q */

	/* Appended to, and kept when the new one cannot be opened. */
	assert_true(log_setup(&o));
	log_msg(LL_LOG, "four");
	o.file = path("none/log");
	assert_false(log_setup(&o));
	assert_int_equal(errno, ENOENT);
	log_msg(LL_LOG, "five");
	assert_matches(slurp(path("log")), "three\n[^\n]*four\n[^\n]*five\n$");
}

static void test_syslog(void **state)
{
	static const struct {
		enum log_level level;
		int priority;
	} rows[] = {{LL_FATAL, LOG_CRIT}, {LL_ERROR, LOG_ERR}, {LL_WARNING, LOG_WARNING}, {LL_LOG, LOG_INFO}};
	char ident[] = "pool";

	(void)state;
	assert_true(log_setup(&(struct log_options){
		.quiet = true, .syslog = true, .syslog_ident = ident, .syslog_facility = "LOCAL3"}));
	memset(ident, 'x', sizeof ident - 1);
	assert_string_equal(logged.ident, "pool");
	assert_int_equal(logged.facility, LOG_LOCAL3);
	for (size_t i = 0; i < ROWS(rows); i++) {
		log_msg(rows[i].level, "line %zu of 100%%", i);
		assert_int_equal(logged.lines, i + 1);
		assert_int_equal(logged.priority, rows[i].priority);
		assert_string_equal(logged.text + strlen("line 0"), " of 100%");
	}
	log_msg(LL_DEBUG, "not this");
	assert_int_equal(logged.lines, ROWS(rows));

	/* Other options: it is opened anew under them. */
	assert_true(log_setup(&(struct log_options){.quiet = true, .syslog = true}));
	assert_string_equal(logged.ident, "psbouncer");
	assert_int_equal(logged.facility, LOG_DAEMON);
	assert_int_equal(logged.opened, 2);
	assert_int_equal(logged.closed, 1);
	assert_true(log_setup(&(struct log_options){.quiet = true}));
	log_msg(LL_ERROR, "not this");
	assert_int_equal(logged.lines, ROWS(rows));
	assert_int_equal(logged.closed, 2);
	assert_int_equal(logged.opened, 2);
}

static void test_detach(void **state)
{
	struct log_options o = {.file = NULL};

	(void)state;
	assert_true(log_setup(&o));
	assert_int_equal(log_crash_fd(), STDERR_FILENO);
	divert_stderr(path("err"));
	setenv("JOURNAL_STREAM", "1:2", 1); /* somebody else's */
	assert_true(log_setup(&o));
	log_msg(LL_LOG, "plain");
	restore_stderr();
	unsetenv("JOURNAL_STREAM");
	assert_matches(slurp(path("err")), STAMP "[^\n]*LOG plain\n$");
}

/* The journal adds the time itself and wants a priority. */
static void test_journal(void **state)
{
	struct log_options o = {.file = NULL};
	struct stat st;
	char text[100];

	(void)state;
	divert_stderr(path("err"));
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
	assert_true(log_setup(&o));
	log_msg(LL_ERROR, "e");
	log_msg(LL_WARNING, "w");
	log_msg(LL_LOG, "l");
	unsetenv("JOURNAL_STREAM");
	assert_true(log_setup(&o));
	restore_stderr();
	assert_string_equal(slurp(path("err")), "<3>e\n<4>w\n<6>l\n");
}

static void test_detached_for_good(void **state)
{
	struct log_options o = {.file = path("log")};

	(void)state;
	log_detach();
	divert_stderr(path("err"));
	assert_true(log_setup(&o)); /* a reload does not bring stderr back */
	log_msg(LL_LOG, "file only");
	restore_stderr();
	assert_string_equal(slurp(path("err")), "");
	assert_matches(slurp(path("log")), "file only\n$");
}

static void test_can_open(void **state)
{
	const struct {
		const char *name;
		bool can;
	} rows[] = {
		{NULL, true},
		{"", true},
		{path("log"), true},
		{path("new"), true},
		{path("none/log"), false},
		{path(""), false},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(log_can_open(rows[i].name), rows[i].can);
	assert_int_equal(access(path("new"), F_OK), -1); /* a check makes no file */
	assert_false(log_can_open(dir));
	assert_true(log_can_open("a_name_without_a_folder"));
}

/* ---- lines ---- */

static char captured[9000];
static enum log_level captured_level;
static unsigned captured_lines;

static void capture(enum log_level level, const char *line, void *arg)
{
	assert_ptr_equal(arg, captured);
	snprintf(captured, sizeof captured, "%s", line);
	captured_level = level;
	captured_lines++;
}

static void vmsg(const char *prefix, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void vmsg(const char *prefix, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vmsg(LL_LOG, prefix, fmt, ap);
	va_end(ap);
}

static void test_levels(void **state)
{
	(void)state;
	for (int verbose = 0; verbose < 4; verbose++) {
		struct log_options o = {.quiet = true, .verbose = verbose};
		int most = verbose == 0 ? LL_LOG : verbose == 1 ? LL_DEBUG : LL_NOISE;

		assert_true(log_setup(&o));
		for (int level = LL_FATAL; level <= LL_NOISE; level++) {
			captured_lines = 0;
			log_msg((enum log_level)level, "x");
			assert_int_equal(log_wants((enum log_level)level), level <= most);
			assert_int_equal(captured_lines, level <= most);
			if (level <= most)
				assert_int_equal(captured_level, level);
		}
	}
}

static void test_lines(void **state)
{
	static const struct {
		const char *prefix, *text, *line;
	} rows[] = {
		{NULL, "plain", "plain"},
		{"C-0x1: db/user@10.0.0.1:5 ", "hello", "C-0x1: db/user@10.0.0.1:5 hello"},
		{NULL, "a\nLOG forged\r\x1b[2J\x7f\t", "a?LOG forged??[2J??"},
		{"db\n/x ", "y", "db?/x y"},
		{NULL, "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{NULL, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		errno = EXDEV;
		vmsg(rows[i].prefix, "%s", rows[i].text);
		assert_string_equal(captured, rows[i].line);
		assert_int_equal(errno, EXDEV);
	}
	errno = ENOENT;
	vmsg("p: ", "%m");
	assert_string_equal(captured, "p: No such file or directory");
}

static void test_long_lines(void **state)
{
	char text[8000], *umlauts = text + 1;

	(void)state;
	for (size_t shift = 0; shift < 2; shift++) {
		text[0] = 'x';
		for (size_t i = 0; i + 2 < sizeof text - 1; i += 2)
			memcpy(umlauts + i, "\xc3\xbc", 2);
		text[sizeof text - 2] = '\0';
		vmsg(shift ? "p " : "", "%s", text);
		assert_in_range(strlen(captured), 4000, 4096);
		assert_string_equal(captured + strlen(captured) - 5, "\xc3\xbc...");
	}
	text[4095] = '\0';
	log_msg(LL_LOG, "%s", text);
	assert_string_equal(captured, text);
	/* A prefix without an end leaves room for the text. */
	memset(text, 'p', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	vmsg(text, "the text");
	assert_non_null(strstr(captured, "ppthe text"));
}

static void test_repeated(void **state)
{
	static struct log_repeat r;

	(void)state;
	clock_hold(100 * USEC);
	captured_lines = 0;
	log_repeated(&r, LL_WARNING, "server %s refused", "a");
	assert_string_equal(captured, "server a refused");
	for (int i = 1; i <= 9; i++) {
		clock_hold((100 + i) * USEC);
		log_repeated(&r, LL_WARNING, "server %s refused", "a");
	}
	assert_int_equal(captured_lines, 1);
	clock_hold(112 * USEC);
	log_repeated(&r, LL_WARNING, "server %s refused", "a");
	assert_int_equal(captured_lines, 2);
	assert_string_equal(captured, "server a refused (10 times in 12 s)");

	/* Another text comes at once, and in turn with it the first is still known. */
	for (int i = 0; i < 3; i++) {
		log_repeated(&r, LL_WARNING, "server %s refused", "a");
		assert_int_equal(captured_lines, i == 0 ? 2 : 3);
		log_repeated(&r, LL_WARNING, "server %s refused", "b");
		assert_int_equal(captured_lines, 3);
	}
	assert_string_equal(captured, "server b refused");

	clock_hold(122 * USEC);
	log_repeated(&r, LL_WARNING, "server %s refused", "b");
	assert_string_equal(captured, "server b refused (3 times in 10 s)");
	assert_int_equal(captured_lines, 4);

	/* Seldom enough: every one, without a count. */
	clock_hold(132 * USEC);
	log_repeated(&r, LL_WARNING, "server %s refused", "b");
	assert_string_equal(captured, "server b refused");
	assert_int_equal(captured_lines, 5);

	/* What is not wanted leaves the state alone. */
	log_repeated(&r, LL_NOISE, "noise");
	log_repeated(&r, LL_WARNING, "server %s refused", "b");
	assert_int_equal(captured_lines, 5);
	clock_hold(-1);
}

static int begin_capture(void **state)
{
	struct log_options o = {.quiet = true};

	(void)state;
	log_capture(capture, captured);
	return log_setup(&o) ? 0 : -1;
}

static int end_capture(void **state)
{
	(void)state;
	log_capture(NULL, NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_setup),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_syslog),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_can_open),
		cmocka_unit_test_setup_teardown(test_levels, begin_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_lines, begin_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_long_lines, begin_capture, end_capture),
		cmocka_unit_test_setup_teardown(test_repeated, begin_capture, end_capture),
		cmocka_unit_test(test_detached_for_good),
	};

	setenv("TZ", "XYZ-3", 1); /* three hours ahead of UTC */
	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
