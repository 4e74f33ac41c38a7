/*
 * console: a client of the virtual database. Simple and extended protocol over
 * the commands; at most so many named statements and portals a client.
 */
#ifndef PSBOUNCER_ADMIN_CONSOLE_H
#define PSBOUNCER_ADMIN_CONSOLE_H

struct console_ops;

/* For pooler.console; pooler.console_ctx is the struct control. */
extern const struct console_ops console_ops;

enum { CONSOLE_STATEMENTS = 32, CONSOLE_PORTALS = 8, CONSOLE_NAME = 256 };

#endif
