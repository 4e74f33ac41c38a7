/*
 * command: the commands of the console, the rows of tbl/commands.h: parsing a
 * text, telling what rows it will give, running it.
 */
#ifndef PSBOUNCER_ADMIN_COMMAND_H
#define PSBOUNCER_ADMIN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct column;
struct command_row;
struct control;
struct control_wait;
struct result;
struct show_table;

/* A text that was understood. Zero-initialise; command_free() when done. */
struct command {
	const struct command_row *row;	/* NULL: the text was empty */
	const struct show_table *table; /* SHOW of a table */
	const struct column *parameter; /* SHOW or SET of something that only drivers ask for */
	char *arg, *value;		/* NULL: none was given */
};

/* Room for every error text of command_parse(). */
enum { COMMAND_WHY = 300 };

/*
 * One command with an optional ';', comments and blanks as in SQL. False when it is none: why (COMMAND_WHY bytes) is for
 * whoever sent it and holds a part of its text, so it is not to be logged.
 */
bool command_parse(const char *text, struct command *c, char *why) __attribute__((warn_unused_result));
void command_free(struct command *c);
/* The columns of the rows that it will give, *n of them; NULL: it gives none. */
const struct column *command_columns(const struct command *c, size_t *n);
bool command_is_empty(const struct command *c);

enum command_outcome {
	COMMAND_OVER,  /* the result is complete: rows and tag, or an error */
	COMMAND_WAITS, /* wait is queued; command_tag() is due when it is over */
	COMMAND_EXIT   /* the program ends: nothing is answered */
};

struct command_call {
	struct control *control;
	struct result *result;
	struct control_wait *wait; /* of the caller, over is set */
	bool is_admin;
};

/* c is not empty. */
enum command_outcome command_run(const struct command *c, const struct command_call *call);
/* The tag of a command that had to wait. */
const char *command_tag(const struct command *c);

/* The console's part of the manual page, roff. */
void command_print_manual(struct buf *out);

#endif
