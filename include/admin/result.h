/*
 * result: what a console command answers with, as messages in a buffer: a row
 * description, rows, a tag, an error, a notice. Columns are data: a name, a
 * type and a getter, so that the three cannot part.
 */
#ifndef PSBOUNCER_ADMIN_RESULT_H
#define PSBOUNCER_ADMIN_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* PostgreSQL's types that the console uses: text, int4, int8, numeric. A time is a text. */
enum column_type { COLUMN_TEXT, COLUMN_INT4, COLUMN_INT8, COLUMN_NUMERIC };

enum { CELL_SCRATCH = 64 };

/* One value of one row; a getter fills it through one of the functions below, or leaves it a null. */
struct cell {
	const char *text; /* COLUMN_TEXT; NULL: a null, unless number is set */
	int64_t number;
	bool is_number;
	char scratch[CELL_SCRATCH]; /* room for a text that the getter makes */
};

void cell_text(struct cell *c, const char *text); /* NULL: a null; must live until the row is written */
void cell_copy(struct cell *c, const char *text); /* cut to CELL_SCRATCH - 1 bytes */
void cell_number(struct cell *c, int64_t n);
/* A time of the cached clock, as local time: "2026-07-01 12:00:00 UTC". */
void cell_time(struct cell *c, int64_t clock_us);
void cell_pointer(struct cell *c, const void *p); /* "0x55d0..."; NULL: an empty text */

struct column {
	const char *name;
	enum column_type type;
	/* row is what the table's iterator hands out, arg is the column's own. */
	void (*get)(struct cell *c, const void *row, unsigned arg);
	unsigned arg;
};

/* Zero-initialise, then set out and what else applies. */
struct result {
	struct buf *out;
	bool describe;		 /* rows are preceded by their description (simple protocol) */
	const uint16_t *formats; /* of the columns: none: text; one: for all; else one each. 0 text, 1 binary */
	size_t n_formats;
	uint64_t rows;	 /* written so far */
	bool failed;	 /* an error was written */
	char error[128]; /* its text, cut, for the log */
};

/* A RowDescription. */
void result_describe(const struct result *r, const struct column *columns, size_t n);
/* The rows of a table begin: its description, if it is wanted. */
void result_begin(struct result *r, const struct column *columns, size_t n);
/* One row. A value that its type cannot hold in binary form is an error, and everything after it is dropped. */
void result_row(struct result *r, const struct column *columns, size_t n, const void *row);
/* The tag of a command that is done; nothing after an error. */
void result_done(struct result *r, const char *tag);
void result_error(struct result *r, const char *code, const char *text, const char *detail);
void result_notice(struct result *r, const char *text, const char *detail);

#endif
