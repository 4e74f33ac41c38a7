/*
 * refusal.c: see conn/refusal.h.
 */
#include "conn/refusal.h"

#include "conn/relay.h"
#include "conn/server.h"
#include "proto/msgw.h"

/* No client can have made it: names of clients are never passed on with this prefix in transaction mode. */
#define IMPOSSIBLE_NAME "psbouncer: refused"

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

void refusal_send(struct server *s, enum refusal why)
{
	msgw_describe(relay_out(&s->c), 'S', IMPOSSIBLE_NAME);
	ring_push(&s->ring, (struct request){.kind = REQ_DESCRIBE, .action = ACT_REFUSE, .why = (uint8_t)why});
}
