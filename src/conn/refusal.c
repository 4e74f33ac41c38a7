/*
 * refusal.c: see conn/refusal.h.
 */
#include "conn/refusal.h"

#include "proto/msgw.h"

const struct refusal_row refusal_rows[REFUSE_COUNT] = {
#define REFUSAL(name, code, text, hint) [REFUSE_##name] = {code, text, hint},
#include "tbl/refusals.h"
#undef REFUSAL
};

void refusal_write(struct buf *out, enum refusal why)
{
	const struct refusal_row *r = &refusal_rows[why];
	struct msgw_error e = {.severity = "ERROR", .code = r->code, .message = r->text, .hint = r->hint};

	msgw_error(out, &e);
}
