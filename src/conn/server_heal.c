/*
 * server_heal.c: "cached plan must not change result type" (0A000) is nothing
 * that a client can have caused: others prepared the statement that it shares,
 * before a table was altered. As long as the client has heard nothing of its
 * batch, and is told in it what the result is, its name gets a new statement and
 * the batch is run again, from the record that server_record.c keeps.
 */
#include <string.h>

#include "conn/conn.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "proto/msgw.h"
#include "proto/wire.h"

/* Is the client told anew what the result is? Else it may count on what it was told before. */
static bool server_batch_describes(const struct server *s)
{
	const char *p = buf_head(&s->batch);
	size_t n = buf_len(&s->batch), need;
	struct msg m;

	while (n && wire_scan(WIRE_CLIENT, p, n, &m, &need) == WIRE_OK) {
		if (m.type == MSG_DESCRIBE)
			return true;
		p += WIRE_HEADER + m.len;
		n -= WIRE_HEADER + m.len;
	}
	return false;
}

static bool server_may_heal(const struct server *s, const struct request *front)
{
	const struct conn *cl = s->c.peer;

	return s->recording && !s->replied && !s->healed && !s->ring.queries && cl && !cl->left &&
	       !relay_is_scanned(cl) && !buf_failed(&s->batch) && !front->name->stmt->edits &&
	       server_batch_describes(s);
}

/* Is it the error of a statement whose result has changed? */
static bool server_says_stale(const struct request *front, const struct msg *m)
{
	struct error_fields f;

	if (!front || !front->name || !front->name->stmt)
		return false;
	wire_error_fields(m, &f);
	if (front->action == ACT_REFUSE)
		return front->why == REFUSE_STALE && !strcmp(f.code, "26000");
	return !strcmp(f.code, "0A000") && !strcmp(f.routine, "RevalidateCachedQuery") && !f.context[0];
}

bool server_heals(struct server *s, const struct msg *m)
{
	struct request *front = ring_front(&s->ring), *sync;
	struct stmt_name *n;

	if (!server_says_stale(front, m))
		return false;
	stmt_retire(front->name->stmt);
	if (!server_may_heal(s, front))
		return false;
	n = stmt_name_ref(front->name);
	ring_error(&s->ring, server_stmt_undo, s);
	(void)server_stmt_renew(&s->c, n); /* with no memory for it the error comes again, and is the client's */
	stmt_name_unref(&n);
	sync = ring_front(&s->ring);
	if (sync) {
		sync->action = ACT_SWALLOW;
	} else {
		msgw_sync(relay_out(&s->c));
		server_push(s, &(struct request){.kind = REQ_SYNC, .action = ACT_SWALLOW});
	}
	s->recording = false;
	s->replay = REPLAY_NONE;
	s->healed = true;
	relay_unread(s->c.peer, &s->batch);
	return true;
}
