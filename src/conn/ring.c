/*
 * ring.c: see conn/ring.h. Pure bookkeeping: no sockets, no messages.
 */
#include "conn/ring.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "pool/stmt.h"

static struct request *ring_at(const struct ring *r, uint32_t i)
{
	return &r->v[(r->head + i) & (r->cap - 1)];
}

static __attribute__((cold)) void ring_grow(struct ring *r)
{
	uint32_t cap = r->cap ? r->cap * 2 : 16;
	struct request *v = xmalloc(MEM_RING, cap * sizeof(*v));

	for (uint32_t i = 0; i < r->n; i++)
		v[i] = *ring_at(r, i);
	xfree(MEM_RING, r->v);
	r->v = v;
	r->head = 0;
	r->cap = cap;
}

static bool request_is_ready(const struct request *q)
{
	return q->kind == REQ_QUERY || q->kind == REQ_SYNC;
}

static inline void ring_count(struct ring *r, const struct request *q, uint32_t by)
{
	if (q->kind == REQ_SYNC)
		r->syncs += by;
	else if (q->kind == REQ_QUERY)
		r->queries += by;
	if (q->action == ACT_ANSWER)
		r->answers += by;
	if (q->alters)
		r->altering += by;
	if (q->begins)
		r->begins += by;
}

static __attribute__((noinline)) void request_release(struct request q)
{
	stmt_name_unref(&q.name);
	stmt_unref(&q.stmt);
	stmt_edits_unref(&q.edits);
}

static struct request *ring_record(struct ring *r, const struct request *q)
{
	struct request *new;

	if (r->n == r->cap)
		ring_grow(r);
	new = ring_at(r, r->n++);
	*new = *q;
	ring_count(r, q, 1);
	return new;
}

/* The oldest, which is gone for good. */
static inline void ring_drop_front(struct ring *r)
{
	struct request *q = ring_at(r, 0);

	ring_count(r, q, UINT32_MAX);
	if (q->name || q->stmt || q->edits)
		request_release(*q);
	r->head = (r->head + 1) & (r->cap - 1);
	r->n--;
}

/* Whose end it is the server knows: one that has failed by then does not read it. Those that have one stand in front. */
static __attribute__((cold)) void ring_note_copy_end(struct ring *r)
{
	for (uint32_t i = r->n; i > 0 && !ring_at(r, i - 1)->has_end; i--)
		ring_at(r, i - 1)->has_end = true;
}

/* While the server reads copy data it ignores Sync and Flush; CopyDone and CopyFail end that (55.2.6). */
static __attribute__((cold)) bool ring_push_in_copy(struct ring *r, const struct request *q)
{
	if (q->kind == REQ_SYNC) {
		r->in_copy++;
		return true;
	}
	if (q->kind == REQ_COPY_END) {
		r->copying = false;
		return true;
	}
	return false;
}

void ring_push(struct ring *r, const struct request *q)
{
	struct request *new;

	if (q->kind == REQ_COPY_END)
		ring_note_copy_end(r);
	if (r->copying && ring_push_in_copy(r, q))
		return;
	if (r->skipping && q->kind != REQ_SYNC) {
		request_release(*q);
		return;
	}
	if (q->kind == REQ_COPY_END && !r->n)
		return; /* there is no COPY that it could end: the server drops it */
	new = ring_record(r, q);
	switch ((enum request_kind)q->kind) {
	case REQ_SYNC:
		new->bare = !r->open;
		r->skipping = false;
		r->open = false;
		r->unsynced = false;
		r->unflushed = 0;
		break;
	case REQ_QUERY:
		r->unsynced = r->unsynced && r->n > 1;
		r->unflushed = 0;
		r->open = false; /* a Query ends the implicit transaction of what came before it */
		break;
	case REQ_COPY_END: break;
	case REQ_PARSE:
	case REQ_BIND:
	case REQ_DESCRIBE:
	case REQ_EXECUTE:
	case REQ_CLOSE:
		r->open = true;
		r->unsynced = true;
		r->unflushed++;
		break;
	}
}

/* An end of copy that no COPY waited for has no answer: it never stays in front. */
void ring_pop(struct ring *r)
{
	const struct request *q;

	assert(r->n);
	q = ring_at(r, 0);
	r->ran = q->kind == REQ_EXECUTE || (r->ran && !request_is_ready(q));
	r->ended = (r->ended || q->ends) && r->ran;
	do
		ring_drop_front(r);
	while (r->n && ring_at(r, 0)->kind == REQ_COPY_END);
}

const struct request *ring_get(const struct ring *r, uint32_t i)
{
	return ring_at(r, i);
}

static struct request *ring_first_unnamed(const struct ring *r, uint32_t i)
{
	for (; i < r->n; i++)
		if (ring_at(r, i)->unnamed)
			return ring_at(r, i);
	return NULL;
}

struct request ring_error(struct ring *r, ring_undo *undo, void *arg)
{
	struct request *front = ring_front(r), *later, q = {.kind = REQ_SYNC};
	uint32_t skipped = 0;

	r->copying = false;
	if (!front)
		return q;
	q = *front;
	q.name = NULL;
	q.stmt = NULL;
	q.edits = NULL;
	if (request_is_ready(&q))
		return q; /* its ReadyForQuery is still to come */
	while (skipped < r->n && ring_at(r, skipped)->kind != REQ_SYNC)
		skipped++;
	later = ring_first_unnamed(r, skipped);
	for (uint32_t i = skipped; undo && i > 0; i--)
		undo(ring_at(r, i - 1), i == 1, later, arg);
	while (skipped-- > 0)
		ring_drop_front(r);
	r->skipping = !r->n;
	return q;
}

bool ring_skips_query(const struct ring *r, bool *last)
{
	bool query = false;

	for (uint32_t i = 0; i < r->n && ring_at(r, i)->kind != REQ_SYNC; i++)
		if (ring_at(r, i)->kind == REQ_QUERY) {
			query = true;
			*last = i == r->n - 1;
		}
	return query && !r->syncs;
}

void ring_fail(struct ring *r, ring_undo *undo, void *arg)
{
	for (uint32_t at = 0, end; at < r->n; at = end + 1) {
		struct request *later;

		end = at;
		if (request_is_ready(ring_at(r, at)))
			continue;
		while (end < r->n && ring_at(r, end)->kind != REQ_SYNC)
			end++;
		later = ring_first_unnamed(r, end);
		for (uint32_t i = end; i > at; i--)
			undo(ring_at(r, i - 1), i == at + 1, later, arg);
	}
}

void ring_copy_in(struct ring *r)
{
	uint32_t kept = 1;
	bool ended = false, closed = false;

	/* What was sent behind the COPY up to its end: Syncs vanish, the end too. */
	for (uint32_t i = 1; i < r->n; i++) {
		struct request q = *ring_at(r, i);

		if (!ended && (q.kind == REQ_SYNC || q.kind == REQ_COPY_END)) {
			r->in_copy += q.kind == REQ_SYNC;
			ended = q.kind == REQ_COPY_END;
			ring_count(r, &q, UINT32_MAX);
			continue;
		}
		closed = closed || q.kind == REQ_SYNC || q.kind == REQ_QUERY;
		*ring_at(r, kept++) = q;
	}
	if (r->n)
		r->n = kept;
	r->copying = !ended;
	if (!closed && r->n && ring_at(r, 0)->kind == REQ_EXECUTE) {
		r->open = true; /* the Sync that seemed to end the batch did not */
		r->unsynced = true;
		r->unflushed = r->n;
	}
}

void ring_hush(struct ring *r)
{
	for (uint32_t i = r->unflushed < r->n ? r->n - r->unflushed : 0; i < r->n; i++)
		if (ring_at(r, i)->action == ACT_FORWARD)
			ring_at(r, i)->action = ACT_FRONT;
}

void ring_copy_done(struct ring *r)
{
	r->in_copy = 0;
	r->copying = false; /* its end may have been taken for another one's */
}

bool ring_may_commit(const struct ring *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (ring_at(r, i)->may_commit)
			return true;
	return false;
}

/* What is closed behind the statement is the server's last to do: it is skipped when that has failed. */
static bool request_is_of_one(const struct request *q, bool executed)
{
	if (q->kind == REQ_CLOSE)
		return executed && (q->action == ACT_FORWARD || q->action == ACT_ANSWER);
	return q->action == ACT_FORWARD && !q->edits && !q->begins && q->ends == ENDS_NOTHING &&
	       q->kind != REQ_COPY_END && q->kind != REQ_QUERY && (!executed || q->kind == REQ_SYNC);
}

bool ring_runs_one(const struct ring *r)
{
	uint32_t n[REQ_COPY_END + 1] = {0};
	const struct request *q = ring_front(r);

	if (!q || r->copying || r->skipping || r->in_copy)
		return false;
	if (q->kind == REQ_QUERY)
		return r->n == 1 && q->action == ACT_FORWARD && !q->edits && q->ends == ENDS_NOTHING;
	if (r->syncs != 1 || ring_at(r, r->n - 1)->kind != REQ_SYNC)
		return false;
	for (uint32_t i = 0; i < r->n; i++) {
		q = ring_at(r, i);
		if (!request_is_of_one(q, n[REQ_EXECUTE]) || (q->kind == REQ_PARSE && n[REQ_BIND]))
			return false;
		n[q->kind]++;
	}
	return n[REQ_PARSE] <= 1 && n[REQ_BIND] == 1 && n[REQ_EXECUTE] == 1;
}

void ring_free(struct ring *r)
{
	while (r->n)
		ring_drop_front(r);
	xfree(MEM_RING, r->v);
	memset(r, 0, sizeof(*r));
}
