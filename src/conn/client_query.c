/*
 * client_query.c: what each message of a client means once it is logged in:
 * whether a server is needed for it, and what is to be expected for it.
 */
#include <string.h>
#include <strings.h>

#include "conn/client_priv.h"
#include "conn/link.h"
#include "conn/refusal.h"
#include "conn/relay.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/sqlscan.h"
#include "proto/wire.h"

/* A message of a batch that may have to be run again is held whole if it is no longer than this. */
enum { RECORD_HELD = 4096, REPLAY_HELD = 16384 - WIRE_HEADER };

/*
 * A text is held whole for what it changes in its session if it is no longer than this. A longer one may change anything: the
 * server is reset behind it.
 */
enum { TEXT_HELD = 1024 * 1024 };

/* A text that begins or ends a transaction is hardly longer. */
enum { TX_TEXT_MAX = 128 };

enum { MALFORMED = 0 }; /* in place of a message's type */

/* The first message of a request starts the clocks. */
static void client_begin(struct client *cl)
{
	if (cl->query_us)
		return;
	cl->query_us = clock_us();
	if (!cl->xact_us)
		cl->xact_us = cl->query_us;
	cl->c.request_us = cl->query_us;
	if (cl->limits.query_ms || cl->limits.xact_ms)
		conn_settle(&cl->c);
}

/* V_FORWARD: there is a server now and its parameters are right. V_STOP: there will be. */
static enum verdict client_want_server(struct client *cl)
{
	struct slot *slot;

	cl->query_us = clock_us();
	if (!cl->begin)
		cl->xact_us = cl->query_us;
	cl->c.request_us = cl->query_us;
	if (client_admit_pool(cl))
		client_configure(cl);
	cl->ask.wanted = cl->told; /* the set that its last server had */
	cl->ask.since_us = 0;
	slot = pool_ask(&cl->ask, ASK_SERVER);
	if (!slot) {
		cl->notified = false;
		client_goto(cl, CS_WAITING);
		return V_STOP;
	}
	client_link(cl, slot->owner);
	return cl->c.state == CS_ACTIVE ? V_FORWARD : V_STOP;
}

/* Session mode: RESET brought back the server's value of something that the client's startup packet had set. */
static bool client_must_settle(struct client *cl, struct conn *s)
{
	if (!cl->unsettled || cl->query_us || cl->status != 'I' || s->ops->serves->is_busy(s))
		return false;
	if (s->ops->serves->prepare(s, cl->own)) {
		cl->unsettled = false;
		return false;
	}
	cl->ask.since_us = 0; /* it has waited for nothing */
	client_goto(cl, CS_PREPARING);
	return true;
}

/* ---- what the text of a statement says ------------------------------------------------ */

bool client_standard_strings(const struct client *cl)
{
	const char *v = vars_get(cl->told, "standard_conforming_strings");

	return !v || strcasecmp(v, "off") != 0;
}

static struct text client_query_text(const struct msg *m)
{
	const char *nul = memchr(m->payload, 0, m->have);

	return (struct text){m->payload, nul ? (size_t)(nul - m->payload) : m->have, nul || m->have == m->len};
}

struct text client_parse_text(const struct msg *m)
{
	size_t name = strlen(m->payload) + 1; /* its NUL is in memory: tbl/messages.h */
	struct msg rest = {
		.payload = m->payload + name, .have = m->have - (uint32_t)name, .len = m->len - (uint32_t)name};

	return client_query_text(&rest);
}

static bool text_is_harmless(struct text t)
{
	return t.whole && sqlscan_is_harmless(t.p, t.n);
}

bool client_text_is_quiet(struct text t)
{
	return t.whole && sqlscan_is_quiet(t.p, t.n);
}

static bool client_may_commit(const struct client *cl, struct text t)
{
	return !text_is_harmless(t) && sqlscan_may_commit(t.p, t.n, t.whole, client_standard_strings(cl));
}

enum request_ends client_text_ends(const struct client *cl, struct text t)
{
	enum request_ends ends = ENDS_NOTHING;
	enum sqlscan_result r;
	struct sqlscan scan;
	struct sql_stmt st;

	if (text_is_harmless(t) && !sqlscan_may_be_tx(t.p, t.n)) /* ABORT commits nothing, and ends it */
		return ENDS_NOTHING;
	/* A vertical tab is white space to some servers. */
	if (client_may_commit(cl, t) || memchr(t.p, '\v', t.n))
		return ENDS_BY_COMMIT;
	scan = sqlscan_init(t.p, t.n, t.whole, client_standard_strings(cl));
	while ((r = sqlscan_next(&scan, &st)) == SQLSCAN_STATEMENT) {
		if (ends == ENDS_BY_ROLLBACK) /* this one is in no transaction any more, and committed by itself */
			return ENDS_BY_COMMIT;
		if (st.class == STMT_ROLLBACK)
			ends = ENDS_BY_ROLLBACK;
	}
	return r == SQLSCAN_UNKNOWN ? ENDS_BY_COMMIT : ends;
}

/* May it change what the names of prepared statements mean, or what literals are read under? */
static bool client_alters(const struct client *cl, struct text t)
{
	bool standard = client_standard_strings(cl);
	struct sqlscan scan;
	struct sql_stmt st;
	enum sqlscan_result r;

	if (sqlscan_may_set(t.p, t.n, t.whole, standard))
		return true;
	if (t.whole && sqlscan_is_plain(t.p, t.n))
		return false;
	scan = sqlscan_init(t.p, t.n, t.whole, standard);
	while ((r = sqlscan_next(&scan, &st)) == SQLSCAN_STATEMENT)
		if (st.class == STMT_DEALLOCATE || st.class == STMT_PREPARE)
			return true;
	return r == SQLSCAN_UNKNOWN;
}

/* SET x TO DEFAULT is a RESET whose tag is SET. A text that does not begin with SET is not looked at any further. */
static bool client_sets_default(const struct client *cl, struct text t)
{
	struct sqlscan scan;
	struct sql_stmt st;

	while (t.n && strchr(" \t\r\n", *t.p))
		t.p++, t.n--;
	if (t.n < 3 || strncasecmp(t.p, "set", 3) != 0)
		return false;
	scan = sqlscan_init(t.p, t.n, t.whole, client_standard_strings(cl));
	while (sqlscan_next(&scan, &st) == SQLSCAN_STATEMENT)
		if (st.to_default)
			return true;
	return false;
}

/* ---- messages -------------------------------------------------------------------------- */

/* Its own Sync, or the rest of a batch that was refused. V_FORWARD: no more is skipped. */
static enum verdict client_skip(struct client *cl, const struct msg *m)
{
	if (m->type == MSG_SYNC) {
		cl->skipping = false;
		if (m->len)
			return V_FORWARD;
		client_answered(cl);
		msgw_ready(relay_out(&cl->c), cl->status);
	}
	return V_DROP;
}

/* What needs no server when there is none: in the order of the answers nothing is outstanding. */
static enum verdict client_alone(struct client *cl, const struct msg *m, uint32_t *arg)
{
	enum verdict v;

	client_answered(cl);
	if (m->len && (m->type == MSG_SYNC || m->type == MSG_FLUSH))
		return client_want_server(cl); /* malformed: the server says so */
	switch (m->type) {
	case MSG_SYNC: msgw_ready(relay_out(&cl->c), cl->status); return V_DROP;
	case MSG_QUERY: return client_defer_query(cl, m) ? V_DROP : client_want_server(cl);
	case MSG_PARSE:
	case MSG_BIND:
	case MSG_DESCRIBE: v = client_defer_batch(cl, m, arg); return v == V_FORWARD ? client_want_server(cl) : v;
	case MSG_CLOSE:
		if (m->len != strlen(m->payload + 1) + 2 || !strchr("SP", m->payload[0]) || !m->payload[0])
			return client_want_server(cl);
		if (m->payload[0] == 'S')
			client_stmt_forget(cl, m->payload + 1);
		else if (!m->payload[1])
			cl->portal = false;
		msgw_empty(relay_out(&cl->c), MSG_CLOSE_COMPLETE);
		return V_DROP;
	case MSG_FLUSH:
	case MSG_COPY_DATA:
	case MSG_COPY_DONE:
	case MSG_COPY_FAIL: return V_DROP;
	default: return client_want_server(cl);
	}
}

static enum refusal client_refusal_by_size(const struct client *cl, const struct msg *m)
{
	return (int64_t)m->len + WIRE_HEADER > client_settings(cl)->max_packet_size ? REFUSE_TOO_LARGE : REFUSE_COUNT;
}

enum refusal client_refusal(const struct client *cl, const struct msg *m)
{
	const struct settings *set = client_settings(cl);

	if (client_refusal_by_size(cl, m) != REFUSE_COUNT)
		return REFUSE_TOO_LARGE;
	if (m->type == MSG_QUERY && set->disable_pqexec)
		return REFUSE_SIMPLE_QUERY;
	if (m->type == MSG_PARSE && m->payload[0] && set->max_prepared_statements == 0 && client_changes_servers(cl))
		return REFUSE_NAMED_STATEMENT;
	return REFUSE_COUNT;
}

enum verdict client_refuse_message(struct client *cl, const struct msg *m, enum refusal why)
{
	const struct refusal_row *r = &refusal_rows[why];
	bool simple = m->type == MSG_QUERY || m->type == MSG_FUNCTION_CALL;
	struct conn *s = cl->c.peer;

	if (m->type == MSG_COPY_DATA) { /* nothing but the end of the connection would end a COPY for sure */
		conn_close(&cl->c, CLOSE_PROTOCOL, r->text);
		return V_CLOSED;
	}
	if (s)
		s->ops->serves->refuse(s, why, simple);
	else
		client_refuse(cl, r->code, r->text, r->hint, simple);
	return V_DROP;
}

static void client_push(struct conn *s, enum request_kind kind)
{
	s->ops->serves->expect(s, &(struct request){.kind = (uint8_t)kind});
}

/* A Query with the server's names in place of the client's. */
static enum verdict client_send_edited(struct client *cl, struct conn *s, const struct msg *m, struct text t,
	struct stmt_edits *edits)
{
	uint32_t mark = msgw_begin(relay_out(s), m->type);

	client_sql_write(cl, &s->out, t, edits);
	msgw_end(&s->out, mark);
	stmt_edits_unref(&edits);
	return V_DROP;
}

/* Nothing but the begin or end of a transaction, or back in it? Then there is no more to know of it. */
static enum sql_tx_kind client_note_tx(struct text t, struct request *q)
{
	enum sql_tx_kind kind = SQL_TX_NONE;

	if (t.whole && t.n < TX_TEXT_MAX)
		kind = sqlscan_tx(t.p, t.n, true).kind;
	q->may_commit = kind == SQL_TX_COMMIT || kind == SQL_TX_PREPARE;
	q->ends = q->may_commit ? ENDS_BY_COMMIT : kind == SQL_TX_ROLLBACK ? ENDS_BY_ROLLBACK : ENDS_NOTHING;
	q->alters = kind != SQL_TX_NONE && kind != SQL_TX_BEGIN && kind != SQL_TX_START;
	return kind;
}

static enum verdict client_on_query(struct client *cl, struct conn *s, const struct msg *m, uint32_t *arg)
{
	bool ends = m->have == m->len && m->len && !m->payload[m->len - 1];
	bool quiet = ends && sqlscan_is_quiet(m->payload, m->len - 1);
	struct text t = quiet ? (struct text){m->payload, m->len - 1, true} : client_query_text(m);
	bool sound = !t.whole || t.n + 1 == m->len; /* else it is not run */
	struct request q = {.kind = REQ_QUERY, .unnamed = sound};
	struct stmt_edits *edits = NULL;
	enum refusal why;

	if (!t.whole && cl->session_state != STATE_IGNORE && m->len <= TEXT_HELD) {
		*arg = m->len;
		return V_MORE;
	}
	if (!quiet && sound && client_sql_may_name(cl, t, text_is_harmless(t))) {
		enum verdict v = client_sql_read(cl, m, t, &edits, arg);

		if (v != V_FORWARD)
			return v;
	}
	if (cl->begin) { /* behind what was prepared just now, in a batch of its own */
		enum verdict v;

		client_defer_send(cl);
		v = s->ops->serves->takes(s, m->type);
		if (v != V_FORWARD) {
			stmt_edits_unref(&edits);
			return v;
		}
	}
	if (!quiet && sound && !edits)
		quiet = client_note_tx(t, &q) != SQL_TX_NONE;
	if (!quiet && sound) {
		why = client_session_note(cl, t.p, t.n, t.whole);
		if (why == REFUSE_COUNT && edits)
			why = client_session_edits(cl, edits);
		if (why != REFUSE_COUNT) {
			stmt_edits_unref(&edits);
			return client_refuse_message(cl, m, why);
		}
		q.may_commit = client_may_commit(cl, t);
		q.ends = client_text_ends(cl, t) & 3;
		if (edits && q.ends == ENDS_NOTHING)
			q.ends = client_edits_end(cl, edits) & 3;
		q.may_commit = q.may_commit || q.ends == ENDS_BY_COMMIT;
		q.alters = edits || client_alters(cl, t);
		q.copies = t.whole && sqlscan_is_copy_in(t.p, t.n, client_standard_strings(cl));
		cl->reset_seen = cl->reset_seen || client_sets_default(cl, t);
	}
	if (!sound) {
		s->ops->serves->expect(s, &q);
		return V_FORWARD;
	}
	if (cl->pinned)
		s->ops->serves->unpin(s, PIN_STATEMENT);
	q.stmt = cl->c.unnamed;
	cl->c.unnamed = NULL; /* any Query ends it */
	if (edits)
		q.edits = stmt_edits_ref(edits);
	s->ops->serves->expect(s, &q);
	return edits ? client_send_edited(cl, s, m, t, edits) : V_FORWARD;
}

/* Functions of large objects, which libpq calls so: they change nothing of the session (pg_proc.dat). */
static bool is_large_object(uint32_t function)
{
	static const uint16_t known[] = {
		715, 764, 765, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i] == function)
			return true;
	return false;
}

/* What any other function does is not known. */
static __attribute__((cold)) enum verdict client_on_function(struct client *cl, struct conn *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	enum refusal why = is_large_object(msgr_u32(&r)) ? REFUSE_COUNT : client_session_note(cl, "", 0, false);

	if (why != REFUSE_COUNT)
		return client_refuse_message(cl, m, why);
	client_push(s, REQ_QUERY);
	return V_FORWARD;
}

/* What running it may do is noted with its name, since an Execute names a portal. */
void client_note_text(struct client *cl, const struct msg *m, struct text t, bool quiet)
{
	struct request q = {.kind = REQ_EXECUTE};
	bool is_tx;

	if (quiet) {
		if (m->payload[0])
			return;
		cl->unnamed_commits = cl->unnamed_alters = false;
		if (cl->c.unnamed)
			cl->c.unnamed->changes = STMT_UNCHANGING;
		return;
	}
	is_tx = client_note_tx(t, &q) != SQL_TX_NONE;
	if (!is_tx) {
		q.may_commit = client_may_commit(cl, t);
		q.alters = client_alters(cl, t);
		cl->reset_seen = cl->reset_seen || client_sets_default(cl, t);
	}
	if (!m->payload[0]) {
		cl->unnamed_commits = q.may_commit;
		cl->unnamed_alters = q.alters;
	} else {
		cl->named_commits = cl->named_commits || q.may_commit;
		cl->named_alters = cl->named_alters || q.alters;
		cl->named_tx = cl->named_tx || is_tx || sqlscan_tx(t.p, t.n, t.whole).kind != SQL_TX_NONE;
	}
}

/* Session mode: what is unnamed is the server's business, and nothing is known of it here. */
static void client_expect_unfollowed_parse(struct client *cl, struct conn *s, bool unnamed)
{
	struct request q = {.kind = REQ_PARSE, .unnamed = unnamed, .stmt = unnamed ? cl->c.unnamed : NULL};

	if (unnamed)
		cl->c.unnamed = NULL;
	s->ops->serves->expect(s, &q);
}

static enum verdict client_on_parse(struct client *cl, struct conn *s, const struct msg *m, uint32_t *arg)
{
	struct text t = client_parse_text(m);
	bool quiet = client_text_is_quiet(t);
	enum verdict v = V_FORWARD;

	if (client_changes_servers(cl)) {
		v = client_stmt_parse(cl, m, quiet, arg);
	} else {
		cl->db->stats.now.client_parses++;
		cl->db->stats.now.server_parses++;
		client_expect_unfollowed_parse(cl, s, !m->payload[0]);
	}
	if (v != V_MORE && v != V_STOP && v != V_CLOSED)
		client_note_text(cl, m, t, quiet);
	return v;
}

static enum verdict client_on_bind(struct client *cl, struct conn *s, const struct msg *m, uint32_t *arg)
{
	if (m->payload[0]) { /* a portal with a name lives on when the next statement is parsed */
		cl->named_commits = cl->named_commits || cl->unnamed_commits;
		cl->named_alters = cl->named_alters || cl->unnamed_alters;
	} else { /* the other until the next Bind */
		cl->c.portal_commits = cl->unnamed_commits;
		cl->c.portal_alters = cl->unnamed_alters;
	}
	if (client_changes_servers(cl))
		return client_stmt_bind(cl, m, arg);
	cl->db->stats.now.binds++;
	client_push(s, REQ_BIND);
	return V_FORWARD;
}

/* Describe and Close, of a statement or a portal. */
static enum verdict client_on_about(struct client *cl, struct conn *s, const struct msg *m, uint32_t *arg)
{
	bool describe = m->type == MSG_DESCRIBE;

	if (m->payload[0] == 'S' && client_changes_servers(cl))
		return describe ? client_stmt_describe(cl, m, arg) : client_stmt_close(cl, m, arg);
	if (cl->edited && !describe && m->payload[0] == 'P')
		(void)s->ops->serves->bind(s, m->payload + 1, NULL);
	client_push(s, describe ? REQ_DESCRIBE : REQ_CLOSE);
	return V_FORWARD;
}

static void client_on_execute(struct client *cl, struct conn *s, const struct msg *m)
{
	struct stmt_edits *edits = cl->edited ? s->ops->serves->bound(s, m->payload) : NULL;

	s->ops->serves->expect(s,
		&(struct request){.kind = REQ_EXECUTE,
			.may_commit = cl->c.portal_commits || cl->unnamed_commits || cl->named_commits,
			.alters = edits || cl->c.portal_alters || cl->unnamed_alters || cl->named_alters,
			.ends = m->payload[0] ? cl->c.named_ends : cl->c.portal_ends,
			.edits = edits ? stmt_edits_ref(edits) : NULL});
}

/* A message that nothing but an error can come of. */
static void client_expect_error(struct conn *s)
{
	client_push(s, REQ_DESCRIBE);
}

/* It has no answer, but an error when it has a payload. */
static void client_on_flush(struct conn *s, const struct msg *m)
{
	if (m->len)
		client_expect_error(s);
	else
		s->ops->serves->flushed(s);
}

/* Is it of a batch that may fail for no fault of the client's, by a statement that it shares? */
static bool client_may_heal(const struct client *cl, const struct msg *m)
{
	return m->type != MSG_QUERY && (cl->names || (m->type == MSG_PARSE && m->have && m->payload[0])) &&
	       client_changes_servers(cl);
}

/* Is it of a request that a standby may refuse, in the primary's place? */
static bool client_may_be_refused(const struct client *cl, const struct conn *s)
{
	return cl->c.replays && !s->writable && cl->status == 'I' && !cl->c.replayed && !cl->pinned;
}

/* Notes what is to be expected for a message that goes to the server. sound: names end where they should. */
static enum verdict client_send(struct client *cl, struct conn *s, const struct msg *m, bool sound, uint32_t *arg)
{
	enum verdict v = s->ops->serves->takes(s, m->type);
	bool heal, replay;

	if (v != V_FORWARD)
		return v;
	heal = client_may_heal(cl, m);
	replay = client_may_be_refused(cl, s);
	if (heal || replay) {
		if (sound && m->have < m->len && m->type != MSG_COPY_DATA &&
			m->len <= (replay ? REPLAY_HELD : RECORD_HELD)) {
			*arg = m->len;
			return V_MORE;
		}
		s->ops->serves->record(s, m, heal, replay);
	}
	switch (sound ? m->type : MALFORMED) {
	case MALFORMED: client_expect_error(s); break;
	case MSG_QUERY: v = client_on_query(cl, s, m, arg); break;
	case MSG_FUNCTION_CALL: v = client_on_function(cl, s, m); break;
	case MSG_PARSE: v = client_on_parse(cl, s, m, arg); break;
	case MSG_BIND: v = client_on_bind(cl, s, m, arg); break;
	case MSG_DESCRIBE:
	case MSG_CLOSE: v = client_on_about(cl, s, m, arg); break;
	case MSG_EXECUTE: client_on_execute(cl, s, m); break;
	case MSG_SYNC: client_push(s, REQ_SYNC); break;
	case MSG_COPY_DONE:
	case MSG_COPY_FAIL: client_push(s, REQ_COPY_END); break;
	case MSG_COPY_DATA: return V_ALIKE;
	default: client_on_flush(s, m); return V_FORWARD;
	}
	if ((v == V_STOP || v == V_MORE) && (heal || replay))
		s->ops->serves->unrecord(s, m);
	else if (v != V_MORE && v != V_CLOSED)
		client_begin(cl);
	return v;
}

static enum verdict client_request(struct client *cl, const struct msg *m, enum refusal why, bool sound, uint32_t *arg)
{
	struct conn *s = cl->c.peer;
	enum verdict v = V_FORWARD;

	if (cl->skipping)
		v = client_skip(cl, m);
	if (v == V_FORWARD && cl->orphaned && !s) {
		v = client_orphan_message(cl, m, why, sound, arg);
		if (v == V_FORWARD)
			v = client_want_server(cl);
		s = cl->c.peer;
	}
	if (v != V_FORWARD)
		return v;
	if (why != REFUSE_COUNT && !cl->begin)
		return client_refuse_message(cl, m, why);
	if (!s)
		v = sound ? client_alone(cl, m, arg) : client_want_server(cl);
	else if (client_must_settle(cl, s))
		v = V_STOP;
	if (v != V_FORWARD)
		return v;
	if (cl->begin && (why != REFUSE_COUNT || m->type != MSG_QUERY))
		client_defer_send(cl);
	if (why != REFUSE_COUNT)
		return client_refuse_message(cl, m, why);
	return client_send(cl, cl->c.peer, m, sound, arg);
}

enum verdict client_query_message(struct client *cl, const struct msg *m, uint32_t *arg)
{
	if (m->type == MSG_PASSWORD)
		return client_end(cl, CLOSE_PROTOCOL, "invalid frontend message type 112");
	return client_request(cl, m, client_refusal(cl, m), true, arg);
}

enum verdict client_query_malformed(struct client *cl, const struct msg *m)
{
	enum refusal why = client_refusal_by_size(cl, m);
	uint32_t arg;

	/* Of a longer message it is not known whether the name has an end. */
	if (why == REFUSE_COUNT && m->len > WIRE_HEAD_MAX)
		why = REFUSE_NAME_TOO_LONG;
	return client_request(cl, m, why, false, &arg);
}
