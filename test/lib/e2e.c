/*
 * e2e: the program's folder, its children and the reaper that ends them,
 * texts of a test, waiting. Knows nothing of PostgreSQL.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "lib/e2e_priv.h"

#define MAX_CHILDREN 256
#define TEST_SECONDS 120

struct child {
	pid_t pid;
	int signal; /* what the reaper sends first */
	bool gone;  /* the reaper need not look at it */
};

struct text {
	struct text *next;
	char s[];
};

extern char **environ;

static char dir[256];
static char user[64];
static uid_t user_uid;
static gid_t user_gid;
static int reaper_pipe = -1;
static pid_t reaper;
static struct child own[MAX_CHILDREN]; /* children of this process that it has not waited for */
static size_t n_own;
static struct text *texts;
static bool test_failed;

static void die(const char *what)
{
	fprintf(stderr, "e2e: %s: %s\n", what, strerror(errno));
	exit(99);
}

/* ---- the reaper ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void e2e_remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Is the process there, and not just a zombie that nobody waits for? */
static bool process_lives(pid_t pid)
{
	char path[64], line[256], *state;
	ssize_t n;
	int fd;

	if (kill(pid, 0) != 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	line[n > 0 ? n : 0] = '\0';
	state = strrchr(line, ')');
	return state && state[1] && state[2] != 'Z' && state[2] != 'X';
}

static void end_process(pid_t pid, int sig)
{
	if (!process_lives(pid))
		return;
	kill(pid, sig);
	for (int64_t end = e2e_now_ms() + 5000; process_lives(pid); e2e_pause())
		if (e2e_now_ms() > end) {
			kill(pid, SIGKILL);
			return;
		}
}

/* Reads what was started and what has ended until the program is gone, whatever ended it. */
static void run_reaper(int fd)
{
	struct child children[MAX_CHILDREN], c;
	size_t n = 0;

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGALRM, SIG_IGN);
	while (read(fd, &c, sizeof(c)) == (ssize_t)sizeof(c)) {
		if (!c.gone && n < MAX_CHILDREN) {
			children[n++] = c;
			continue;
		}
		for (size_t i = 0; i < n; i++)
			if (children[i].pid == c.pid)
				children[i--] = children[--n];
	}
	while (n-- > 0)
		end_process(children[n].pid, children[n].signal);
	if (chdir("/") == 0)
		e2e_remove_tree(dir);
	_exit(0);
}

static void tell_reaper(pid_t pid, int sig, bool gone)
{
	struct child c = {.pid = pid, .signal = sig, .gone = gone};

	if (write(reaper_pipe, &c, sizeof(c)) != (ssize_t)sizeof(c))
		die("write to the reaper");
}

static void start_reaper(void)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		die("pipe");
	reaper = fork();
	if (reaper < 0)
		die("fork");
	if (reaper == 0) {
		close(fds[1]);
		run_reaper(fds[0]);
	}
	close(fds[0]);
	reaper_pipe = fds[1];
}

/* The orderly end: children are ended and waited for here, so that no zombie is left to a lazy init. */
static void finish(void)
{
	int status;

	if (reaper_pipe < 0)
		return;
	while (n_own > 0) {
		struct child *c = &own[n_own - 1];

		end_process(c->pid, c->signal);
		while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
			;
		tell_reaper(c->pid, 0, true);
		n_own--;
	}
	close(reaper_pipe);
	reaper_pipe = -1;
	while (waitpid(reaper, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- start and end ---- */

static void find_user(void)
{
	struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : getpwuid(geteuid());

	if (!pw && geteuid() == 0)
		pw = getpwnam("nobody");
	if (!pw)
		die("no user to run as");
	snprintf(user, sizeof(user), "%s", pw->pw_name);
	user_uid = pw->pw_uid;
	user_gid = pw->pw_gid;
}

/* What libpq and PostgreSQL would take from the person who runs the tests. */
static void clean_environment(void)
{
	char name[128];

again:
	for (char **e = environ; *e; e++) {
		if (strncmp(*e, "PG", 2) != 0 || !strchr(*e, '='))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
		unsetenv(name);
		goto again;
	}
	setenv("HOME", dir, 1);
	setenv("LC_ALL", "C", 1);
	setenv("TZ", "UTC", 1);
}

static void on_alarm(int sig)
{
	static const char text[] = "e2e: a test lasts too long\n";

	(void)sig;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(98);
	bouncer_print_logs();
	_exit(98);
}

void e2e_init(void)
{
	const char *tmp = getenv("TMPDIR");

	assert(reaper_pipe < 0);
	find_user();
	/* Paths of unix sockets are short. */
	snprintf(dir, sizeof(dir), "%s/psb-e2e-XXXXXX", tmp && *tmp == '/' && strlen(tmp) < 50 ? tmp : "/tmp");
	if (!mkdtemp(dir) || chmod(dir, 0755) != 0)
		die(dir);
	e2e_own(dir);
	clean_environment();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, on_alarm);
	start_reaper();
	atexit(finish);
}

void e2e_run(void **state)
{
	const struct e2e_case *c = *state;

	test_failed = true;
	alarm(TEST_SECONDS * (e2e_sanitized() ? 2 : 1));
	c->run(state);
	test_failed = false;
}

int e2e_teardown(void **state)
{
	bool ok;

	(void)state;
	if (test_failed)
		bouncer_print_logs();
	raw_teardown();
	proxy_teardown();
	db_teardown();
	ok = bouncer_teardown();
	alarm(0);
	while (texts) {
		struct text *t = texts;

		texts = t->next;
		free(t);
	}
	return ok ? 0 : -1;
}

bool e2e_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	return true;
#else
	return false;
#endif
#else
	return false;
#endif
}

const char *e2e_dir(void)
{
	return dir;
}

const char *e2e_user(void)
{
	return user;
}

/* ---- texts and files ---- */

char *e2e_text(const char *fmt, ...)
{
	struct text *t;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	t = malloc(sizeof(*t) + (size_t)n + 1);
	if (!t)
		die("malloc");
	va_start(ap, fmt);
	vsnprintf(t->s, (size_t)n + 1, fmt, ap);
	va_end(ap);
	t->next = texts;
	texts = t;
	return t->s;
}

char *e2e_keep(const char *fmt, ...)
{
	char *s;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		die("malloc");
	va_end(ap);
	return s;
}

void e2e_own(const char *path)
{
	if (geteuid() == 0 && chown(path, user_uid, user_gid) != 0)
		die(path);
}

void e2e_write(const char *path, mode_t mode, const char *content)
{
	size_t n = strlen(content);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, content, n) != (ssize_t)n || fchmod(fd, mode) != 0)
		die(path);
	close(fd);
	e2e_own(path);
}

const char *e2e_file(const char *name, mode_t mode, const char *content)
{
	char *path = e2e_text("%s/%s", dir, name);

	e2e_write(path, mode, content);
	return path;
}

char *e2e_make_folder(const char *name, mode_t mode)
{
	char *path = e2e_keep("%s/%s", dir, name);

	if (mkdir(path, mode) != 0 || chmod(path, mode) != 0)
		die(path);
	e2e_own(path);
	return path;
}

/* What a file of /proc has is not known before it is read. */
char *e2e_read(const char *path)
{
	size_t n = 0, size = 4096;
	struct text *t = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t r;

	if (fd < 0)
		return e2e_text("%s", "");
	do {
		size *= 2;
		t = realloc(t, sizeof(*t) + size + 1);
		if (!t)
			die("malloc");
		while (n < size && (r = read(fd, t->s + n, size - n)) > 0)
			n += (size_t)r;
	} while (n == size);
	close(fd);
	t->s[n] = '\0';
	t->next = texts;
	texts = t;
	return t->s;
}

void e2e_print_tail(const char *title, const char *path)
{
	char part[4096];
	off_t size;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	size = lseek(fd, 0, SEEK_END);
	lseek(fd, size > (off_t)sizeof(part) ? size - (off_t)sizeof(part) : 0, SEEK_SET);
	n = read(fd, part, sizeof(part));
	close(fd);
	if (write(STDERR_FILENO, title, strlen(title)) < 0 || write(STDERR_FILENO, ":\n", 2) < 0)
		return;
	while (n > 0) {
		ssize_t w = write(STDERR_FILENO, part, (size_t)n);

		if (w <= 0)
			return;
		memmove(part, part + w, (size_t)(n - w));
		n -= w;
	}
}

/*
 * The socket stays bound, not listening, as long as the program lives: the
 * kernel gives the port to nobody else who asks for a free one, and a server
 * with SO_REUSEADDR can listen on it.
 */
int e2e_port(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
		bind(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0 ||
		getsockname(fd, (struct sockaddr *)&sin, &len) != 0)
		die("no free port");
	return ntohs(sin.sin_port);
}

/* ---- children ---- */

static void become_user(void)
{
	if (geteuid() != 0)
		return;
	if (initgroups(user, user_gid) != 0 || setgid(user_gid) != 0 || setuid(user_uid) != 0)
		_exit(126);
}

pid_t e2e_spawn_in(const char *const argv[], const char *const env[], const char *log, int sig, unsigned nofile,
	const char *folder)
{
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	if (fd < 0 || in < 0)
		die(log);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		struct rlimit limit = {nofile, nofile};

		setpgid(0, 0); /* the terminal's ^C is for the program; the reaper does the rest */
		signal(SIGPIPE, SIG_DFL);
		signal(SIGALRM, SIG_DFL);
		if (nofile && setrlimit(RLIMIT_NOFILE, &limit) != 0)
			_exit(126);
		become_user();
		if (dup2(in, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || chdir(folder ? folder : dir) != 0)
			_exit(126);
		for (; env && *env; env++)
			putenv((char *)*env);
		execvp(argv[0], (char *const *)argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (n_own == MAX_CHILDREN)
		die("too many children");
	own[n_own++] = (struct child){.pid = pid, .signal = sig};
	tell_reaper(pid, sig, false);
	close(fd);
	close(in);
	return pid;
}

pid_t e2e_spawn(const char *const argv[], const char *const env[], const char *log, int sig)
{
	return e2e_spawn_in(argv, env, log, sig, 0, NULL);
}

bool e2e_ended(pid_t pid, int *status)
{
	pid_t r;

	do
		r = waitpid(pid, status, WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r != pid)
		return false;
	for (size_t i = 0; i < n_own; i++)
		if (own[i].pid == pid)
			own[i--] = own[--n_own];
	tell_reaper(pid, 0, true);
	return true;
}

int e2e_wait(pid_t pid, int timeout_ms)
{
	int64_t end = e2e_now_ms() + timeout_ms;
	int status;

	while (!e2e_ended(pid, &status)) {
		if (e2e_now_ms() > end)
			fail_msg("process %d has not ended within %d ms", (int)pid, timeout_ms);
		e2e_pause();
	}
	return status;
}

const char *e2e_command(const char *const argv[])
{
	static unsigned number;
	char *log = e2e_text("%s/command-%u", dir, ++number);
	int status;
	char *out;

	status = e2e_wait(e2e_spawn(argv, NULL, log, SIGKILL), 60000);
	out = e2e_read(log);
	unlink(log);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s ended with %s %d:\n%s", argv[0], WIFEXITED(status) ? "status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), out);
	return out;
}

/* ---- waiting ---- */

int64_t e2e_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void e2e_pause(void)
{
	poll(NULL, 0, 5);
}
