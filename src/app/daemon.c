/*
 * daemon: what the process does with the system around it at its start and its
 * end. Called by main. It knows the configuration, and nothing of connections.
 */
#include "app/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/authfile.h"
#include "conf/config.h"
#include "net/addr.h"
#include "net/tls.h"

bool daemon_become_user(const char *name)
{
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL) {
		log_msg(LL_FATAL, "user %s does not exist", name);
		return false;
	}
	if (getuid() == pw->pw_uid && geteuid() == pw->pw_uid)
		return true;
	if (geteuid() != 0) {
		log_msg(LL_FATAL, "cannot become user %s: not started as root", name);
		return false;
	}
	if (initgroups(name, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
		log_msg(LL_FATAL, "cannot become user %s: %s", name, strerror(errno));
		return false;
	}
	if (pw->pw_uid != 0 && setuid(0) == 0) {
		log_msg(LL_FATAL, "user %s can become root again", name);
		return false;
	}
	return true;
}

/* ---- descriptors ---- */

/* For listeners, the log, cancel requests, name lookups and whoever is being refused. */
enum { DESCRIPTORS_OWN = 64 };
static const int64_t descriptors_max = INT64_C(1) << 30;

static int64_t servers_of(const struct config *c, const struct config_database *d)
{
	int64_t pool = param_effective(PARAM_default_pool_size, NULL, &d->over, &c->set);
	int64_t limit = param_effective(PARAM_max_db_connections, NULL, &d->over, &c->set);
	int64_t users = d->user == NULL && c->auth->users.count > 0 ? (int64_t)c->auth->users.count : 1;
	int64_t n;

	/* Without a limit no more than one for each client makes sense. */
	if (pool == 0)
		pool = c->set.max_client_conn;
	pool += param_effective(PARAM_reserve_pool_size, NULL, &d->over, &c->set);
	n = pool > descriptors_max / users ? descriptors_max : pool * users;
	return limit > 0 && limit < n ? limit : n;
}

int64_t daemon_descriptors(const struct config *c)
{
	int64_t n = c->set.max_client_conn + DESCRIPTORS_OWN;

	for (struct hnode *i = htab_next(&c->databases, NULL); i != NULL; i = htab_next(&c->databases, i))
		n += servers_of(c, container_of(i, struct config_database, by_name));
	if (c->fallback != NULL)
		n += servers_of(c, c->fallback);
	return n < descriptors_max ? n : descriptors_max;
}

void daemon_raise_limit(int64_t descriptors)
{
	struct rlimit limit;
	rlim_t want = (rlim_t)descriptors, had;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= want)
		return;
	had = limit.rlim_max;
	/* root may raise the hard limit too. */
	limit.rlim_cur = want;
	if (limit.rlim_max < want)
		limit.rlim_max = want;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return;
	limit.rlim_max = had;
	limit.rlim_cur = had < want ? had : want;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < want)
		log_msg(LL_WARNING,
			"max_client_conn and the pools can need %lld descriptors, but the limit is %llu: raise it "
			"(ulimit -n, LimitNOFILE=) or lower the settings",
			(long long)descriptors, (unsigned long long)limit.rlim_cur);
}

int daemon_clients_below(const struct config *c)
{
	/* Who is being refused needs some as well: half of our own are theirs. */
	int64_t kept = daemon_descriptors(c) - c->set.max_client_conn - DESCRIPTORS_OWN / 2, n = INT_MAX;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX)
		n = (int64_t)limit.rlim_cur;
	return (int)(n - (kept < n / 2 ? kept : n / 2));
}

/* ---- warnings ---- */

static bool is_loopback(const char *word)
{
	struct addr a;

	if (addr_parse(word, 0, &a))
		return addr_is_loopback(&a);
	return strcmp(word, "localhost") == 0;
}

/* Of listen_addr; NULL: all are loopback. *len is its length. */
static const char *first_open_address(const char *list, size_t *len)
{
	char word[256];

	for (const char *p = list; *p != '\0'; p += *len) {
		p += strspn(p, ", \t");
		*len = strcspn(p, ", \t");
		if (*len == 0)
			continue;
		snprintf(word, sizeof word, "%.*s", (int)*len, p);
		if (!is_loopback(word))
			return p;
	}
	return NULL;
}

static void warn_about_auth(const struct config *c)
{
	size_t len = 0;
	const char *open = first_open_address(c->set.listen_addr, &len);

	if (open == NULL)
		return;
	if (c->set.auth_type != AUTH_TRUST && c->set.auth_type != AUTH_ANY && c->set.auth_type != AUTH_PLAIN)
		return;
	log_msg(LL_WARNING, "auth_type=%s while listening on %.*s, which is not a loopback address: %s",
		param_word(PARAM_auth_type, c->set.auth_type), (int)len, open,
		c->set.auth_type == AUTH_PLAIN ? "passwords can be read on the way" : "anybody can log in");
}

static void warn_about_file(const char *what, const char *path)
{
	struct stat st;

	if (path != NULL && path[0] != '\0' && stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		log_msg(LL_WARNING, "%s %s is open to every user of this machine: chmod o-rwx", what, path);
}

static void warn_about_key(const char *what, const char *path)
{
	if (path[0] != '\0' && tls_key_file_is_open(path))
		log_msg(LL_WARNING, "%s %s is open to every user of this machine: chmod o-rwx", what, path);
}

/* *said is the file that was warned about last. */
static void warn_about_database(const struct config_database *d, const char **said)
{
	if (d->password != NULL && (*said == NULL || strcmp(*said, d->file) != 0)) {
		warn_about_file("the configuration file with passwords", d->file);
		*said = d->file;
	}
	warn_about_file("password_file", d->password_file);
}

void daemon_warn(const struct config *c)
{
	const char *said = NULL;

	warn_about_auth(c);
	warn_about_key("client_tls_key_file", c->set.client_tls_key_file);
	warn_about_key("server_tls_key_file", c->set.server_tls_key_file);
	warn_about_file("auth_file", c->set.auth_file);
	for (struct hnode *i = htab_next(&c->databases, NULL); i != NULL; i = htab_next(&c->databases, i))
		warn_about_database(container_of(i, struct config_database, by_name), &said);
	if (c->fallback != NULL)
		warn_about_database(c->fallback, &said);
}

/* ---- background ---- */

/* Ends as the child's start did. */
static void wait_for_child(int ready, pid_t child) __attribute__((noreturn));

static void wait_for_child(int ready, pid_t child)
{
	char byte;
	ssize_t n;
	int status;

	do
		n = read(ready, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(1);
}

int daemon_fork(void)
{
	int ready[2];
	pid_t child;

	if (pipe2(ready, O_CLOEXEC) != 0) {
		log_msg(LL_FATAL, "pipe: %s", strerror(errno));
		return -1;
	}
	child = fork();
	if (child < 0) {
		log_msg(LL_FATAL, "fork: %s", strerror(errno));
		close(ready[0]);
		close(ready[1]);
		return -1;
	}
	if (child > 0) {
		close(ready[1]);
		wait_for_child(ready[0], child);
	}
	close(ready[0]);
	setsid();
	return ready[1];
}

void daemon_ready(int ready)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	ssize_t ignored;

	log_detach();
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	ignored = write(ready, "", 1);
	(void)ignored;
	close(ready);
}

/* ---- pidfile ---- */

/* The process id that the file holds, 0: none. */
static pid_t pid_in(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	long pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	pid = strtol(text, NULL, 10);
	return pid > 0 ? (pid_t)pid : 0;
}

/*
 * Is it a process, not one that is dead and was not waited for, with a pooler's name? Process ids are used again, and in a
 * container they are always the same few.
 */
static bool is_pooler(pid_t pid)
{
	char path[64], text[256] = "";
	const char *name_end;
	FILE *f;

	if (pid <= 0 || pid == getpid() || (kill(pid, 0) != 0 && errno != EPERM))
		return false;
	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return errno != ENOENT;
	if (fgets(text, sizeof text, f) == NULL)
		text[0] = '\0';
	fclose(f);
	/* "4711 (psbouncer) S ..." */
	name_end = strrchr(text, ')');
	return name_end != NULL && strstr(text, "bouncer") != NULL && name_end[1] == ' ' && name_end[2] != 'Z' &&
	       name_end[2] != 'X';
}

/* Opens and locks it; -1: failed, and said why. The file that is locked is the one that the path names. */
static int open_locked(const char *path)
{
	struct stat opened, named;
	int fd;

	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
		if (fd < 0) {
			log_msg(LL_FATAL, "pidfile %s: %s", path, strerror(errno));
			return -1;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			log_msg(LL_FATAL, "pidfile %s is held by a running psbouncer, process %ld", path,
				(long)pid_in(fd));
			close(fd);
			return -1;
		}
		if (fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
			opened.st_dev == named.st_dev)
			return fd;
		close(fd); /* it was removed in between */
	}
}

bool pidfile_take(struct pidfile *p, const char *path)
{
	char text[32];
	pid_t pid;
	int len;

	*p = (struct pidfile){.fd = -1, .path = path};
	if (path[0] == '\0')
		return true;
	p->fd = open_locked(path);
	if (p->fd < 0)
		return false;
	pid = pid_in(p->fd);
	if (is_pooler(pid)) {
		log_msg(LL_FATAL, "pidfile %s names process %ld, which is running", path, (long)pid);
		close(p->fd);
		p->fd = -1;
		return false;
	}
	if (pid > 0 && pid != getpid())
		log_msg(LL_LOG, "pidfile %s was left behind by process %ld, taking it over", path, (long)pid);
	len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	if (ftruncate(p->fd, 0) == 0 && pwrite(p->fd, text, (size_t)len, 0) == len)
		return true;
	log_msg(LL_FATAL, "pidfile %s: %s", path, strerror(errno));
	pidfile_remove(p);
	return false;
}

void pidfile_remove(struct pidfile *p)
{
	if (p->fd < 0)
		return;
	/* Before the lock goes: afterwards it may be another one's. */
	(void)unlink(p->path);
	close(p->fd);
	p->fd = -1;
}
