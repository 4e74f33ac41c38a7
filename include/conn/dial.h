/*
 * dial: from an endpoint to an open stream, with TLS where the settings ask for
 * it. Names are resolved off the loop, every address of a name is tried, and one
 * that is silent leaves time for the others. The one way to a server, for pooled
 * connections and for cancel requests.
 */
#ifndef PSBOUNCER_CONN_DIAL_H
#define PSBOUNCER_CONN_DIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "conn/conn.h"
#include "net/resolve.h"

struct config;
struct endpoint;
struct tls_ctx;

enum dial_phase { DIAL_RESOLVE, DIAL_CONNECT, DIAL_TLS_ASK, DIAL_HANDSHAKE, DIAL_DONE, DIAL_FAILED };

/* ok: the stream is open and as secure as the settings want it. Otherwise why is a text; the stream is closed. */
typedef void dial_done(struct conn *c, bool ok, const char *why);

/* Embedded in what its owner keeps while it connects. Zero-initialise. */
struct dial {
	struct conn *c;
	struct endpoint *endpoint; /* the owner holds it */
	dial_done *done;
	struct resolve_query *query;
	struct addr addrs[RESOLVE_MAX_ADDRS];
	size_t n, next;
	int64_t until_us; /* dial_way.until_us */
	int64_t due_us;	  /* when the address that is tried must have accepted; 0: it has all the time there is */
	enum dial_phase phase;
	struct addr stay;    /* dial_way.to, where it is not alone */
	bool known;	     /* nothing has to be looked up */
	bool direct;	     /* server_tls_sslnegotiation = direct */
	bool alert;	     /* dial_way.alert */
	bool ours;	     /* the last failure was for want of something of our own: it says nothing of the host */
	struct tls_ctx *tls; /* held, since a reload may replace it; NULL: this attempt does without TLS */
	char why[256];	     /* of the last failure */
};

/* How to get there. */
struct dial_way {
	const struct addr *to; /* NULL (or of a unix socket): whatever addresses the host's name has */
	bool only;   /* to alone; else first, where the name still has it, and where the name cannot be looked up */
	bool direct; /* server_tls_sslnegotiation = direct */
	bool secure; /* TLS even where sslmode is allow */
	bool alert;  /* the host's silence is to be noticed soon */
	int64_t until_us; /* when the owner gives it up; 0: never */
};

/* done never runs inside the call. */
void dial_start(struct dial *d, struct conn *c, struct endpoint *e, const struct dial_way *way, dial_done *done);
/* What the settings make of a socket. alert: those that nobody has set are such that silence of an idle one ends it within about 10 s. */
struct stream_tuning dial_tuning(const struct config *c, bool alert);
/* The conn's event, raw bytes and interest are the dial's until it is done. */
void dial_event(struct dial *d, enum stream_event what);
size_t dial_raw(struct dial *d, const char *p, size_t n, size_t *need);
bool dial_reads(const struct dial *d);
/* Until when the address that is tried must accept, or 0. When it has passed dial_late() goes on with the next one. */
int64_t dial_due(const struct dial *d);
void dial_late(struct dial *d);
/* Forgets it without a callback. */
void dial_stop(struct dial *d);

#endif
