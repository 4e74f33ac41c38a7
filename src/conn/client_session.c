/*
 * client_session.c: statements that change what servers do not report, where
 * servers change (session_state): they are noted with the server, refused, or
 * warned of.
 */
#include <string.h>

#include "conn/client_priv.h"
#include "conn/link.h"
#include "conn/refusal.h"
#include "conn/relay.h"
#include "conn/session.h"
#include "pool/stmt.h"
#include "proto/msgw.h"

static void client_warn(struct client *cl, const struct session_text *t)
{
	struct session *found = NULL;
	struct msgw_error e = {.severity = "NOTICE",
		.code = "00000",
		.message = "session state is not kept in this pool mode (session_state)"};

	session_note(&found, t, false);
	if (found) {
		cl->session_state = STATE_IGNORE; /* once a client */
		conn_log(&cl->c, LL_WARNING, "session state is not kept in this pool mode");
		if (relay_at_boundary(&cl->c))
			msgw_notice(relay_out(&cl->c), &e);
	}
	session_free(&found);
}

static enum refusal client_session_text(struct client *cl, struct session_text *t)
{
	struct conn *s = cl->c.peer;

	t->standard = client_standard_strings(cl);
	s->ops->serves->hides(s, t);
	switch ((enum session_state)cl->session_state) {
	case STATE_TRACK:
	case STATE_RESET: return s->ops->serves->note(s, t, cl->session_state == STATE_RESET);
	case STATE_WARN: client_warn(cl, t); break;
	case STATE_IGNORE: break;
	}
	return REFUSE_COUNT;
}

enum refusal client_session_note(struct client *cl, const char *text, size_t n, bool whole)
{
	struct session_text t = {.p = text, .n = n, .whole = whole};

	if (!client_changes_servers(cl) || !session_may_change(&t))
		return REFUSE_COUNT;
	return client_session_text(cl, &t);
}

enum refusal client_session_edits(struct client *cl, const struct stmt_edits *edits)
{
	enum refusal why = REFUSE_COUNT;

	for (uint32_t i = 0; i < edits->n && why == REFUSE_COUNT; i++)
		if (edits->v[i].what == EDIT_USES)
			why = client_session_run(cl, edits->v[i].name->stmt);
	return why;
}

enum refusal client_session_run(struct client *cl, struct stmt *st)
{
	enum refusal why = REFUSE_COUNT;
	struct session_text t;

	if (!st || !client_changes_servers(cl))
		return REFUSE_COUNT;
	if (st->changes != STMT_UNCHANGING) {
		t = (struct session_text){
			.p = st->body, .n = strlen(st->body), .whole = true, .executes = stmt_is_sql(st)};
		if (st->changes == STMT_NOT_LOOKED_AT)
			st->changes = session_may_change(&t) ? STMT_CHANGING : STMT_UNCHANGING;
		if (st->changes == STMT_CHANGING)
			why = client_session_text(cl, &t);
	}
	return why == REFUSE_COUNT && st->edits ? client_session_edits(cl, st->edits) : why;
}

enum refusal client_session_large(struct client *cl, const char *text, size_t n)
{
	struct conn *s = cl->c.peer;
	enum refusal why = client_session_note(cl, text, n, false);

	return why != REFUSE_COUNT ? why : s->ops->serves->pin(s, PIN_STATEMENT, text, n);
}
