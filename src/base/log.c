/*
 * log: owns the sinks and the level of the process's log. Called by everybody
 * above. A line is one write() to each sink, so that lines of several processes
 * on one file do not mix; nothing is buffered. It does not know secrets from
 * other text: that is the callers' duty.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/htab.h"
#include "base/timer.h"

/* A line's text at most, and what stands in front of it. */
enum { LOG_TEXT = 4096, LOG_HEAD = 96 };

#define REPEAT_US (10 * USEC)

static struct {
	int fd; /* of the log file, -1: none */
	bool quiet;
	bool detached;
	bool to_syslog;
	bool journal; /* stderr is the journal: it wants a priority and adds the time itself */
	char ident[64];
	char tail[48]; /* zone and pid as they stand in a line; "": not known */
	void (*capture)(enum log_level level, const char *line, void *arg);
	void *capture_arg;
} sinks = {.fd = -1};

enum log_level log_limit = LL_LOG;

static const char *const level_name[] = {"FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"};
static const int level_priority[] = {LOG_CRIT, LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG};

static int facility_value(const char *name)
{
	static const struct {
		const char *name;
		int value;
	} table[] = {
		{"auth", LOG_AUTH},
		{"authpriv", LOG_AUTHPRIV},
		{"daemon", LOG_DAEMON},
		{"user", LOG_USER},
		{"local0", LOG_LOCAL0},
		{"local1", LOG_LOCAL1},
		{"local2", LOG_LOCAL2},
		{"local3", LOG_LOCAL3},
		{"local4", LOG_LOCAL4},
		{"local5", LOG_LOCAL5},
		{"local6", LOG_LOCAL6},
		{"local7", LOG_LOCAL7},
	};

	for (size_t i = 0; name != NULL && i < sizeof table / sizeof table[0]; i++)
		if (strcasecmp(name, table[i].name) == 0)
			return table[i].value;
	return LOG_DAEMON;
}

/* systemd names the descriptor it gave us as "DEVICE:INODE". */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (text == NULL || sscanf(text, "%llu:%llu", &device, &inode) != 2 || fstat(STDERR_FILENO, &st) != 0)
		return false;
	return st.st_dev == device && st.st_ino == inode;
}

static int open_file(const char *name, int create)
{
	return open(name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | create, 0644);
}

static void close_file(void)
{
	if (sinks.fd >= 0)
		close(sinks.fd);
	sinks.fd = -1;
}

static void setup_syslog(const struct log_options *o)
{
	if (sinks.to_syslog)
		closelog();
	sinks.to_syslog = o->syslog;
	if (!o->syslog)
		return;
	/* openlog() keeps the pointer. */
	snprintf(sinks.ident, sizeof sinks.ident, "%s", o->syslog_ident != NULL ? o->syslog_ident : "psbouncer");
	openlog(sinks.ident, LOG_PID | LOG_NDELAY, facility_value(o->syslog_facility));
}

bool log_setup(const struct log_options *o)
{
	int fd = -1;

	if (o->file != NULL && o->file[0] != '\0') {
		fd = open_file(o->file, O_CREAT);
		if (fd < 0)
			return false;
	}
	close_file();
	sinks.fd = fd;
	sinks.quiet = o->quiet;
	log_limit = o->verbose <= 0 ? LL_LOG : o->verbose == 1 ? LL_DEBUG : LL_NOISE;
	sinks.journal = stderr_is_journal();
	setup_syslog(o);
	return true;
}

bool log_can_open(const char *file)
{
	char dir[4096];
	const char *slash;
	int fd;

	if (file == NULL || file[0] == '\0')
		return true;
	/* Not to be created by a mere check, and a FIFO without a reader must not hold us up. */
	fd = open_file(file, O_NONBLOCK);
	if (fd >= 0) {
		close(fd);
		return true;
	}
	if (errno != ENOENT)
		return false;
	slash = strrchr(file, '/');
	if (slash == NULL)
		return faccessat(AT_FDCWD, ".", W_OK | X_OK, AT_EACCESS) == 0;
	if (slash[1] == '\0' || (size_t)(slash - file) + 2 > sizeof dir) {
		errno = slash[1] == '\0' ? EISDIR : ENAMETOOLONG;
		return false;
	}
	memcpy(dir, file, (size_t)(slash - file) + 1);
	dir[slash - file + 1] = '\0';
	return faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0;
}

void log_detach(void)
{
	sinks.detached = true;
}

void log_close(void)
{
	close_file();
	if (sinks.to_syslog)
		closelog();
	sinks.to_syslog = false;
}

/* In a child: it has another pid. */
static void forget_tail(void)
{
	sinks.tail[0] = '\0';
}

/*
 * "2024-05-01 12:00:00.123 CEST [4711] LOG " into buf; returns its length. What
 * is the same for a second and a process is kept: with many logins a second
 * there are many lines.
 */
static size_t line_head(char buf[LOG_HEAD], enum log_level level)
{
	static time_t second;
	static char day[32];
	struct timespec ts;
	struct tm tm;
	char zone[16] = "";
	long ms;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	ms = ts.tv_nsec / 1000000;
	if (ts.tv_sec != second || sinks.tail[0] == '\0') {
		if (second == 0)
			pthread_atfork(NULL, NULL, forget_tail);
		second = ts.tv_sec;
		localtime_r(&second, &tm);
		strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S.", &tm);
		strftime(zone, sizeof zone, "%Z", &tm);
		snprintf(sinks.tail, sizeof sinks.tail, " %s [%ld] ", zone, (long)getpid());
	}
	n = strlen(strcpy(buf, day));
	buf[n++] = (char)('0' + ms / 100);
	buf[n++] = (char)('0' + ms / 10 % 10);
	buf[n++] = (char)('0' + ms % 10);
	return (size_t)(stpcpy(stpcpy(stpcpy(buf + n, sinks.tail), level_name[level]), " ") - buf);
}

static void write_line(int fd, const char *head, size_t head_len, const char *text, size_t text_len)
{
	struct iovec v[3] = {
		{.iov_base = (void *)(uintptr_t)head, .iov_len = head_len},
		{.iov_base = (void *)(uintptr_t)text, .iov_len = text_len},
		{.iov_base = (void *)(uintptr_t) "\n", .iov_len = 1},
	};
	ssize_t done;

	/* A full disk or a closed pipe must not stop the program; there is nowhere to tell it. */
	do
		done = writev(fd, v, 3);
	while (done < 0 && errno == EINTR);
}

static void emit(enum log_level level, const char *text, size_t len)
{
	char head[LOG_HEAD];
	size_t head_len;
	bool to_stderr = !sinks.quiet && !sinks.detached;

	if (sinks.capture != NULL) {
		sinks.capture(level, text, sinks.capture_arg);
		return;
	}
	if (sinks.to_syslog)
		syslog(level_priority[level], "%s", text);
	if (to_stderr && sinks.journal) {
		/* sd-daemon(3): "<N>" in front is the priority; the time and the pid it knows itself. */
		head_len = (size_t)snprintf(head, sizeof head, "<%d>", level_priority[level]);
		write_line(STDERR_FILENO, head, head_len, text, len);
		to_stderr = false;
	}
	if (sinks.fd < 0 && !to_stderr)
		return;
	head_len = line_head(head, level);
	if (sinks.fd >= 0)
		write_line(sinks.fd, head, head_len, text, len);
	if (to_stderr)
		write_line(STDERR_FILENO, head, head_len, text, len);
}

/* What vsnprintf() wanted to write against what is there: a line that was cut ends with dots, and not inside a character. */
static size_t cut(char *text, size_t size, int wanted)
{
	size_t len = wanted < 0 ? 0 : (size_t)wanted;

	if (len < size)
		return len;
	len = size - 1 - 3;
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	memcpy(text + len, "...", 4);
	return len + 3;
}

static void replace_controls(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
}

void log_vmsg(enum log_level level, const char *prefix, const char *fmt, va_list ap)
{
	char text[LOG_TEXT];
	int saved = errno, rest;
	size_t head = prefix != NULL ? strnlen(prefix, sizeof text / 2) : 0, len;

	if (!log_wants(level))
		return;
	if (head > 0)
		memcpy(text, prefix, head);
	rest = vsnprintf(text + head, sizeof text - head, fmt, ap);
	len = head + cut(text + head, sizeof text - head, rest);
	replace_controls(text, len);
	text[len] = '\0';
	emit(level, text, len);
	errno = saved;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vmsg(level, NULL, fmt, ap);
	va_end(ap);
}

void log_repeated(struct log_repeat *r, enum log_level level, const char *fmt, ...)
{
	char text[LOG_TEXT];
	struct log_repeat_line *l;
	int saved = errno;
	int64_t passed_us;
	uint64_t hash;
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);

	hash = hash_str(text) | 1; /* not 0: 0 is a state that has seen no line */
	l = &r->lines[(hash >> 32) % LOG_REPEAT_LINES];
	passed_us = clock_us() - l->since_us;
	if (hash == l->hash && passed_us < REPEAT_US) {
		l->held++;
		errno = saved;
		return;
	}
	if (hash == l->hash && l->held > 0)
		log_msg(level, "%s (%u times in %lld s)", text, l->held + 1, (long long)(passed_us / USEC));
	else
		log_msg(level, "%s", text);
	*l = (struct log_repeat_line){.hash = hash, .since_us = clock_us()};
	errno = saved;
}

void log_capture(void (*fn)(enum log_level level, const char *line, void *arg), void *arg)
{
	sinks.capture = fn;
	sinks.capture_arg = arg;
}

int log_crash_fd(void)
{
	return sinks.fd >= 0 ? sinks.fd : STDERR_FILENO;
}
