/*
 * refusal: errors of our own that answer a client's request. When the batch is
 * on its way to a server it must fail there too (the server rolls back what
 * came before): in place of the refused message goes a Describe of a statement
 * that cannot exist, and its error 26000 is replaced by ours.
 */
#ifndef PSBOUNCER_CONN_REFUSAL_H
#define PSBOUNCER_CONN_REFUSAL_H

struct buf;

enum refusal {
#define REFUSAL(name, code, text, hint, routine) REFUSE_##name,
#include "tbl/refusals.h"
#undef REFUSAL
	REFUSE_COUNT
};

struct refusal_row {
	const char *code, *text, *hint, *routine;
};
extern const struct refusal_row refusal_rows[REFUSE_COUNT];

/* The ErrorResponse. */
void refusal_write(struct buf *out, enum refusal why);

#endif
