/*
 * refusal.c: see conn/refusal.h.
 */
#include "conn/refusal.h"

#include "proto/msgw.h"

const struct refusal_row refusal_rows[REFUSE_COUNT] = {
#define REFUSAL(name, code, text, hint, routine) [REFUSE_##name] = {code, text, hint, routine},
#include "tbl/refusals.h"
#undef REFUSAL
};

void refusal_write(struct buf *out, enum refusal why)
{
	const struct refusal_row *r = &refusal_rows[why];
	struct msgw_error e = {
		.severity = "ERROR", .code = r->code, .message = r->text, .hint = r->hint, .routine = r->routine};

	msgw_error(out, &e);
}
