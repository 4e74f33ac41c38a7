/*
 * console_priv: the session of a console, and what the two files of the unit
 * ask of each other.
 */
#ifndef PSBOUNCER_ADMIN_CONSOLE_PRIV_H
#define PSBOUNCER_ADMIN_CONSOLE_PRIV_H

#include <stdbool.h>
#include <sys/queue.h>

#include "admin/command.h"
#include "admin/control.h"

struct buf;
struct client;
struct msg;
struct portal;
struct prepared;
struct result;

struct console_session {
	struct client *client;
	struct control *control;
	TAILQ_HEAD(, prepared) statements;
	TAILQ_HEAD(, portal) portals;
	unsigned n_named; /* of the statements */
	unsigned n_portals;
	bool skipping; /* after an error: everything up to Sync is dropped */
	/* A command that waits: its tag, and whether ReadyForQuery follows. */
	struct control_wait wait;
	const char *tag;
	bool simple;
};

struct buf *console_out(struct console_session *s);

/* An error; everything up to Sync is skipped. logged is what the log gets of it. */
void console_fail_as(struct console_session *s, const char *code, const char *text, const char *logged);
void console_fail(struct console_session *s, const char *code, const char *text);
void console_fail_malformed(struct console_session *s, const char *message);

/* Runs it. The client, and with it the session, may be gone afterwards: the caller asks conn_is_closed(). */
enum command_outcome console_run(struct console_session *s, const struct command *c, struct result *r);
/* It has to wait: nothing more of the client is read until it is over. simple: ReadyForQuery follows then. */
void console_wait(struct console_session *s, const struct command *c, bool simple);

/* The messages of the extended protocol. */
void console_on_parse(struct console_session *s, const struct msg *m);
void console_on_bind(struct console_session *s, const struct msg *m);
void console_on_describe(struct console_session *s, const struct msg *m);
void console_on_execute(struct console_session *s, const struct msg *m); /* s may be gone afterwards */
void console_on_close(struct console_session *s, const struct msg *m);
void console_on_sync(struct console_session *s);
/* A Query came: the portals and the unnamed statement end. */
void console_end_unnamed(struct console_session *s);
/* All statements and portals go. */
void console_forget(struct console_session *s);

#endif
