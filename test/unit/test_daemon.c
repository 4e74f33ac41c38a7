/*
 * The process among others: descriptors that are needed, warnings, the pidfile,
 * what is told to a service manager.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/daemon.h"
#include "app/notify.h"
#include "base/err.h"
#include "base/log.h"
#include "conf/config.h"

static char dir[] = "/tmp/test-daemon-XXXXXX";
static char said[8192];

static void capture(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%d %s\n", (int)level, line);
}

static const char *path_of(const char *name)
{
	static char path[4][200];
	static unsigned turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
	return path[turn];
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path_of(name), mode), 0);
}

static struct config *load(const char *settings, const char *databases, mode_t mode)
{
	struct errs errs = {0};
	struct config *c;
	char text[2000], line[300];

	snprintf(text, sizeof(text), "[pgbouncer]\n%s\n[databases]\n%s\n", settings, databases);
	write_file("psbouncer.ini", text, mode);
	c = config_load(path_of("psbouncer.ini"), &errs);
	if (c == NULL)
		fail_msg("%s", errs_format(&errs, 0, line, sizeof(line)));
	errs_free(&errs);
	return c;
}

/* ---- descriptors ---- */

static void test_descriptors(void **state)
{
	static const struct {
		const char *settings, *databases;
		int64_t n;
	} cases[] = {
		{"max_client_conn = 1000", "", 1064},
		{"max_client_conn = 1000", "a = host=h user=u", 1064 + 20},
		{"max_client_conn = 1000\nreserve_pool_size = 5", "a = host=h user=u\nb = host=h user=u pool_size=7",
			1064 + 25 + 12},
		{"max_client_conn = 1000", "a = host=h user=u\n* = host=h user=u pool_size=3", 1064 + 23},
		/* One pool for each of the three users of the list. */
		{"max_client_conn = 1000\nauth_file = @", "a = host=h", 1064 + 60},
		{"max_client_conn = 1000\nauth_file = @\nmax_db_connections = 30", "a = host=h", 1064 + 30},
		/* No limit: no more than there are clients. */
		{"max_client_conn = 1000\ndefault_pool_size = 0", "a = host=h user=u", 2064},
		{"max_client_conn = 2147483647\ndefault_pool_size = 2147483647", "a = host=h user=u", INT64_C(1) << 30},
	};

	(void)state;
	write_file("users", "\"a\" \"x\"\n\"b\" \"x\"\n\"c\" \"x\"\n", 0600);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char settings[500];
		const char *at = strchr(cases[i].settings, '@');
		struct config *c;

		if (at != NULL)
			snprintf(settings, sizeof(settings), "%.*s%s%s", (int)(at - cases[i].settings),
				cases[i].settings, path_of("users"), at + 1);
		else
			snprintf(settings, sizeof(settings), "%s", cases[i].settings);
		c = load(settings, cases[i].databases, 0600);
		assert_int_equal(daemon_descriptors(c), cases[i].n);
		config_unref(&c);
	}
}

/* What clients leave to servers, at most half of what there is. */
static void test_clients_below(void **state)
{
	struct config *c = load("max_client_conn = 100\ndefault_pool_size = 30", "a = host=h user=u", 0600);
	struct rlimit before, limit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 194; /* daemon_descriptors(c) */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(daemon_clients_below(c), 100 + 32);
	limit.rlim_cur = 100;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(daemon_clients_below(c), 50);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	config_unref(&c);
}

/* In a child, since a limit that was lowered cannot be raised again by everybody. */
static void test_limit(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		struct rlimit limit = {.rlim_cur = 50, .rlim_max = 100};
		int failed = 0;

		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(99);
		said[0] = '\0';
		failed |= setrlimit(RLIMIT_NOFILE, &limit) != 0;
		daemon_raise_limit(40); /* there is room */
		getrlimit(RLIMIT_NOFILE, &limit);
		failed |= (limit.rlim_cur != 50) << 1;
		daemon_raise_limit(80);
		getrlimit(RLIMIT_NOFILE, &limit);
		failed |= (limit.rlim_cur != 80) << 2;
		failed |= (said[0] != '\0') << 3;
		daemon_raise_limit(300);
		getrlimit(RLIMIT_NOFILE, &limit);
		failed |= (limit.rlim_cur != 100) << 4;
		failed |= (strstr(said, "300") == NULL || strstr(said, "100") == NULL) << 5;
		_exit(failed);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- warnings ---- */

static const char *warnings(const char *settings, const char *databases, mode_t mode)
{
	struct config *c = load(settings, databases, mode);

	said[0] = '\0';
	daemon_warn(c);
	config_unref(&c);
	return said;
}

static void test_warnings(void **state)
{
	char settings[500];

	(void)state;
	assert_string_equal(warnings("auth_type = trust", "", 0600), "");
	assert_string_equal(warnings("auth_type = trust\nlisten_addr = 127.0.0.1, ::1,localhost", "", 0600), "");
	assert_string_equal(warnings("auth_type = md5\nlisten_addr = *", "", 0644), "");
	assert_string_equal(warnings("auth_type = scram-sha-256\nlisten_addr = 0.0.0.0", "", 0600), "");
	assert_non_null(strstr(warnings("auth_type = trust\nlisten_addr = *", "", 0600), "auth_type=trust"));
	assert_non_null(strstr(warnings("auth_type = any\nlisten_addr = 127.0.0.1,10.0.0.1", "", 0600), "10.0.0.1,"));
	assert_non_null(strstr(warnings("auth_type = plain\nlisten_addr = ::", "", 0600), "can be read on the way"));

	write_file("users", "\"a\" \"x\"\n", 0640);
	snprintf(settings, sizeof(settings), "auth_file = %s", path_of("users"));
	assert_string_equal(warnings(settings, "", 0600), "");
	assert_int_equal(chmod(path_of("users"), 0644), 0);
	assert_non_null(strstr(warnings(settings, "", 0600), "auth_file"));

	/* A password in the configuration file itself. */
	assert_string_equal(warnings("", "a = host=h user=u password=secret", 0640), "");
	assert_non_null(strstr(warnings("", "a = host=h user=u password=secret", 0644), "psbouncer.ini"));
	assert_null(strstr(said, "secret"));
}

/* ---- pidfile ---- */

static long pid_of(const char *path)
{
	FILE *f = fopen(path, "r");
	long pid = -1;

	if (f != NULL) {
		if (fscanf(f, "%ld", &pid) != 1)
			pid = -2;
		fclose(f);
	}
	return pid;
}

static void test_pidfile(void **state)
{
	const char *path = path_of("pid");
	struct pidfile a, b;

	(void)state;
	said[0] = '\0';
	assert_true(pidfile_take(&a, ""));
	pidfile_remove(&a);

	assert_true(pidfile_take(&a, path));
	assert_int_equal(pid_of(path), getpid());
	/* While it is held nobody else gets it. */
	assert_false(pidfile_take(&b, path));
	assert_non_null(strstr(said, "held by a running psbouncer"));
	assert_int_equal(pid_of(path), getpid());
	pidfile_remove(&a);
	assert_int_equal(pid_of(path), -1);
	pidfile_remove(&a); /* once more does nothing */

	/* Left behind: by nobody, by a process that is no pooler, by rubbish. */
	static const char *const left[] = {
		"999999999\n", "1\n", "rubbish", "", "-5\n", "99999999999999999999999999999999999\n"};

	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		write_file("pid", left[i], 0644);
		assert_true(pidfile_take(&a, path));
		assert_int_equal(pid_of(path), getpid());
		pidfile_remove(&a);
	}

	assert_false(pidfile_take(&a, path_of("no/such/folder")));
	pidfile_remove(&a);
}

/* A process that is called like a pooler and lives holds it, even without a lock. */
static void test_pidfile_of_another(void **state)
{
	const char *path = path_of("pid");
	char text[32], comm[64] = "";
	int ready[2];
	struct pidfile a;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		FILE *f = fopen("/proc/self/comm", "w");

		if (f != NULL) {
			fputs("pgbouncer", f);
			fclose(f);
		}
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], comm, 1), 1);
	snprintf(text, sizeof(text), "%ld\n", (long)child);
	write_file("pid", text, 0644);
	said[0] = '\0';
	assert_false(pidfile_take(&a, path));
	assert_non_null(strstr(said, "which is running"));
	assert_int_equal(pid_of(path), child);
	/* Dead, and nobody has waited for it. */
	kill(child, SIGKILL);
	for (siginfo_t info = {0}; info.si_pid == 0;)
		assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_true(pidfile_take(&a, path));
	pidfile_remove(&a);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(ready[0]);
	close(ready[1]);
}

/* ---- service manager ---- */

static void test_notify(void **state)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[200], name[100];
	ssize_t n;

	(void)state;
	assert_true(fd >= 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path_of("notify"));
	assert_int_equal(bind(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	setenv("NOTIFY_SOCKET", to.sun_path, 1);
	notify_send("READY=1\nMAINPID=%d", 7);
	n = recv(fd, text, sizeof(text), 0);
	assert_int_equal(n, 17);
	assert_memory_equal(text, "READY=1\nMAINPID=7", 17);
	close(fd);
	/* Nobody listens, or it is no address: nothing happens. */
	notify_send("READY=1");
	setenv("NOTIFY_SOCKET", "relative", 1);
	notify_send("READY=1");

	/* The abstract name space. */
	snprintf(name, sizeof(name), "@test-daemon-%ld", (long)getpid());
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	memset(to.sun_path, 0, sizeof(to.sun_path));
	memcpy(to.sun_path + 1, name + 1, strlen(name) - 1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&to,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
		0);
	setenv("NOTIFY_SOCKET", name, 1);
	notify_send("STOPPING=1");
	assert_int_equal(recv(fd, text, sizeof(text), 0), 10);
	close(fd);
	unsetenv("NOTIFY_SOCKET");
	notify_send("READY=1");
}

static void test_inherited(void **state)
{
	char pid[32];

	(void)state;
	assert_int_equal(notify_inherited(), 0);
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	setenv("LISTEN_FDNAMES", "a:b", 1);
	assert_int_equal(notify_inherited(), 2);
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_FDNAMES"));
	assert_int_equal(notify_inherited(), 0);
	/* For another process, or nonsense. */
	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "2", 1);
	assert_int_equal(notify_inherited(), 0);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2x", 1);
	assert_int_equal(notify_inherited(), 0);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "-3", 1);
	assert_int_equal(notify_inherited(), 0);
}

static int begin(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	log_capture(capture, NULL);
	return 0;
}

static int end(void **state)
{
	static const char *const names[] = {"psbouncer.ini", "users", "pid", "notify"};

	(void)state;
	log_capture(NULL, NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_clients_below),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_pidfile),
		cmocka_unit_test(test_pidfile_of_another),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_inherited),
	};

	return cmocka_run_group_tests_name("daemon", tests, begin, end);
}
