/*
 * relay: bytes between a client and its server. It reads, finds the messages,
 * asks the side's handler what is to become of each, and writes what is to be
 * forwarded in one piece, straight from where it was read.
 *
 * Order on the wire has one rule: what stands in dst->out goes first. What a
 * short write leaves behind is moved there; while it holds more than
 * CONN_HIGH bytes, or dst is blocked, src is not read.
 */
#ifndef PSBOUNCER_CONN_RELAY_H
#define PSBOUNCER_CONN_RELAY_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct conn;

/* Reads what there is (at most RELAY_TURN bytes, then the back of the ready list) and works on it. */
void relay_read(struct conn *c);
/* Works on what c->in holds, without reading. */
void relay_work(struct conn *c);
/* Has relay_work() called for c in this turn: its state now takes messages, or its peer has room again. */
void relay_resume(struct conn *c);

/* As if what is in first had not been read yet (it is empty afterwards), before what waits in c->in: it is worked on again. */
void relay_unread(struct conn *c, struct buf *first);

/*
 * The buffer for messages of our own to dst. When the connection whose message is just being handled has an open run of
 * forwarded bytes for dst, that is closed first, so that the order is kept. What is put in is written at the end of the
 * scan or of the turn.
 */
struct buf *relay_out(struct conn *dst);
/* The link of c is about to end, maybe by a message in the middle of a read: what was forwarded before it stays forwarded. */
void relay_end_run(struct conn *c);
/* Are its bytes being looked at just now? Then c->in must stay where it is. */
bool relay_is_scanned(const struct conn *c);
/* While its handler is asked of a message: what is there of that and of what was read behind it. */
const char *relay_ahead(const struct conn *c, size_t *n);
/* May a message of our own be put behind what dst was sent: no part of a forwarded message is still to come? */
bool relay_at_boundary(const struct conn *dst);

/* Does c->in hold what nobody looks at now? The scan that runs goes on with the rest of its own by itself. */
bool relay_holds(const struct conn *c);

/* As relay_flush() for a connection that is closing: what does not go now is lost. */
void relay_last_words(struct conn *dst);
/* Writes dst->out as far as the socket takes it. */
void relay_flush(struct conn *dst);

#endif
