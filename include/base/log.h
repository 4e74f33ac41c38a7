/*
 * log: levels, sinks (stderr, file, syslog, the journal) and rate limits. The
 * line format is PgBouncer's: "YYYY-MM-DD HH:MM:SS.mmm TZ [pid] LEVEL text".
 * Never logs a password, a query's text or a secret: that is the callers' duty,
 * at every level.
 */
#ifndef PSBOUNCER_BASE_LOG_H
#define PSBOUNCER_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LL_FATAL, LL_ERROR, LL_WARNING, LL_LOG, LL_DEBUG, LL_NOISE };

struct log_options {
	const char *file; /* NULL or "": none */
	bool quiet;	  /* -q: nothing to stderr */
	bool syslog;
	const char *syslog_ident;
	const char *syslog_facility;
	int verbose; /* 0 LOG, 1 DEBUG, 2 and more NOISE */
};

/*
 * Takes the options (copied) and opens the sinks; called again at reload: the
 * file is reopened even if its name stays. Returns false and keeps the old
 * sinks when the file cannot be opened (errno says why). Before the first call
 * everything goes to stderr at level LOG.
 */
bool log_setup(const struct log_options *o) __attribute__((warn_unused_result));
/* True for a file name that log_setup() would be able to open for appending. */
bool log_can_open(const char *file);
/* Stops writing to stderr (after daemon()). */
void log_detach(void);
void log_close(void);

extern enum log_level log_limit; /* for log_wants() alone */
static inline bool log_wants(enum log_level level)
{
	return level <= log_limit;
}
/* One line: control characters become '?', so that no name can forge a line; cut at 4 KB; errno stays as it was. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((cold, format(printf, 2, 3)));
/* As log_msg(); prefix (NULL: none) stands in front of the text as it is, e.g. "C-0x55d0: db/user@10.0.0.1:5000 ". */
void log_vmsg(enum log_level level, const char *prefix, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/*
 * The same line again and again (a server that refuses): at most one in 10 s,
 * the next one then ends with " (N times in S s)". Zero-initialise the state,
 * which remembers many lines; one of another text is written at once.
 */
enum { LOG_REPEAT_LINES = 256 };
struct log_repeat {
	struct log_repeat_line {
		uint64_t hash;
		int64_t since_us;
		unsigned held;
	} lines[LOG_REPEAT_LINES];
};
void log_repeated(struct log_repeat *r, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Tests: every line goes to fn instead (NULL: back to the sinks). */
void log_capture(void (*fn)(enum log_level level, const char *line, void *arg), void *arg);

/* Descriptor for an async-signal-safe crash report: the log file, else stderr. */
int log_crash_fd(void);

#endif
