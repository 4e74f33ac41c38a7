/*
 * session: what a client has changed in its server's session that the server
 * does not report: parameters whose values must be asked for, and pins, which
 * keep the server with the client (tbl/pins.h). Bookkeeping only: it reads the
 * names from the statements' texts, never a value, and sends nothing.
 *
 * A session is told of each text when it is sent and of the tags, errors and
 * ReadyForQuery that come back. What a rollback undoes is known by then. NULL is
 * a session in which nothing was changed, everywhere.
 */
#ifndef PSBOUNCER_CONN_SESSION_H
#define PSBOUNCER_CONN_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct session;
struct vars;

enum pin {
#define PIN(name, shown, transactional) PIN_##name,
#include "tbl/pins.h"
#undef PIN
	PINS
};

enum { SESSION_HEAD = 64 };

/*
 * A text of one or more statements, as much of it as is in memory, with a NUL behind it if that is all; standard:
 * standard_conforming_strings; executes: what a PREPARE in it prepares is run, else it is of no effect yet.
 */
struct session_text {
	const char *p;
	size_t n;
	bool whole, standard, executes;
};

/* Might it change anything? A cheap look: true also when it cannot be told. */
bool session_may_change(const struct session_text *t);
/* Which pins running it adds to those of s: a bit of each enum pin. */
unsigned session_pins_added(const struct session *s, const struct session_text *t);
/*
 * It is sent. resets: nothing is kept in this session, only that it was changed. The session is made when there is
 * something to note; then it belongs to the caller.
 */
void session_note(struct session **s, const struct session_text *t, bool resets);
/* A pin that no text tells of begins, or ends unless the transaction is rolled back; head: what is shown of it. */
void session_pin(struct session **s, enum pin pin, const char *head, size_t n);
void session_unpin(struct session *s, enum pin pin);
/* A request of the client's came to its end: by a CommandComplete, or by an error. */
void session_completed(struct session *s, const char *tag);
void session_failed(struct session *s);
/* ReadyForQuery, idle. more: others of the client's requests are not answered yet. */
void session_ready(struct session *s, bool more);

/* The pins that hold it now, a bit each. With resets only a statement does. */
unsigned session_pins(const struct session *s);
const char *session_head(const struct session
		*s); /* the statement that made the first of them, cut to SESSION_HEAD bytes */
int64_t session_pinned_us(const struct session *s); /* and when */
/* Is there a change that its server would bring to its next client? resets only. */
bool session_must_reset(const struct session *s);
/* Are values to be asked for? */
bool session_must_read(const struct session *s);
/* Has a transaction that is over set some of them? */
bool session_is_unread(const struct session *s);
/* What could not be named may stay on the server when the values are read. */
bool session_has_unknown(const struct session *s);
/*
 * The query that asks for them: rows of name, value, and whether the value is that of RESET (null: see
 * session_value()). now: what is known of the server's parameters; reported: those that it reports by itself, which
 * are not asked for. False: there is nothing to ask for.
 */
bool session_read_sql(const struct session *s, const struct vars *now, const struct vars *reported, struct buf *sql);
/* A row's value; NULL: the session has no value of its own any more. */
const char *session_value(const char *name, const char *value, const char *is_reset);
void session_free(struct session **s); /* sets it to NULL */

#endif
