/*
 * server_record.c: the client's messages of the request that is under way, as
 * they came, for as long as it may have to be run again: on this server, with a
 * statement prepared anew (server_heal.c), or on another one, when this one turns
 * out to be a standby (server_replay.c).
 */
#include <assert.h>

#include "conn/conn.h"
#include "conn/server_priv.h"
#include "proto/wire.h"

enum { HEAL_MAX = 65536 };

void server_record_end(struct server *s)
{
	if (s->recording || s->replay != REPLAY_NONE || s->batch.data)
		buf_free(&s->batch);
	s->recording = s->healed = false;
	s->replay = REPLAY_NONE;
}

/* The one reason to keep it is gone, the other one may be there. */
static void server_record_spare(struct server *s)
{
	if (!s->recording && s->replay == REPLAY_NONE)
		buf_free(&s->batch);
}

void server_record_heard(struct server *s)
{
	s->replay = REPLAY_NONE;
	server_record_spare(s);
}

/* Is nothing of a client's outstanding? Its application_name may be set in front, where no other answer can be meant. */
static bool server_has_only_ours(const struct server *s)
{
	const struct request *front = ring_front(&s->ring);

	return s->ring.n == 1 && front->kind == REQ_QUERY && front->action == ACT_SWALLOW && !s->ring.open;
}

/* Not what is sent before an earlier batch is answered: that would come before it. */
static bool server_heal_takes(const struct server *s, const struct msg *m)
{
	return m->type != MSG_COPY_DATA && m->type != MSG_COPY_DONE && m->type != MSG_COPY_FAIL && !s->ring.syncs &&
	       !s->ring.queries && m->have == m->len && buf_len(&s->batch) + m->len <= HEAL_MAX;
}

/*
 * Another request behind one that is not answered yet makes two of them; a Query in a batch has no ReadyForQuery of its own when
 * that has failed.
 */
static bool server_replay_takes(const struct server *s, const struct msg *m)
{
	return ((m->type == MSG_QUERY && !s->ring.open) || m->type == MSG_PARSE || m->type == MSG_BIND ||
		       m->type == MSG_DESCRIBE || m->type == MSG_EXECUTE || m->type == MSG_CLOSE ||
		       m->type == MSG_SYNC) &&
	       s->replay == REPLAY_OPEN && m->have == m->len && buf_len(&s->batch) + WIRE_HEADER + m->len <= REPLAY_MAX;
}

/* Outside of a block only. */
void server_record(struct conn *c, const struct msg *m, bool heal, bool replay)
{
	struct server *s = conn_server(c);
	bool idle = ring_is_idle(&s->ring);

	if (idle || server_has_only_ours(s)) {
		buf_free(&s->batch);
		s->recording = heal && idle && s->status == 'I';
		s->replay = replay && s->status == 'I' && !s->slot.retired && !s->healed ? REPLAY_OPEN : REPLAY_NONE;
		s->replied = false;
	}
	if (s->recording && !server_heal_takes(s, m)) {
		s->recording = s->healed = false;
		server_record_spare(s);
	}
	if (s->replay != REPLAY_NONE && !(replay && server_replay_takes(s, m)))
		server_record_heard(s);
	if (s->recording || s->replay != REPLAY_NONE)
		buf_append(&s->batch, m->payload - WIRE_HEADER, (size_t)WIRE_HEADER + m->len);
	if (s->replay != REPLAY_NONE && (m->type == MSG_QUERY || m->type == MSG_SYNC))
		s->replay = REPLAY_WHOLE;
}

void server_unrecord(struct conn *c, const struct msg *m)
{
	struct server *s = conn_server(c);
	uint32_t n = WIRE_HEADER + m->len;

	server_record_heard(s); /* it waits: not all of it goes at once, to a server that has nothing else to do */
	if (!s->recording || buf_failed(&s->batch))
		return;
	assert(buf_len(&s->batch) >= n);
	s->batch.end -= n;
	if (!buf_len(&s->batch))
		buf_free(&s->batch);
}

/* A Flush has no answer: it goes with what it stood behind. */
void server_record_trim(struct server *s)
{
	struct msg m;
	size_t need;

	if (s->replay != REPLAY_NONE)
		server_record_heard(s);
	while (s->recording && wire_scan(WIRE_CLIENT, buf_head(&s->batch), buf_len(&s->batch), &m, &need) == WIRE_OK) {
		buf_consume(&s->batch, (size_t)WIRE_HEADER + m.len);
		if (m.type != MSG_FLUSH)
			return;
	}
}
