/*
 * load_priv: what the files of load share. A client does one kind of thing at a
 * time; a kind is a function that is called once for each step: it puts
 * messages into `out`, says with load_want_*() what must come back, and is
 * called for the next step when all of that has come. LOAD_DONE ends it.
 */
#ifndef PSBOUNCER_TEST_LOAD_PRIV_H
#define PSBOUNCER_TEST_LOAD_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/load.h"

enum load_next {
	LOAD_GO,     /* send this, wait for what is wanted, then the next step */
	LOAD_DONE,   /* the request is over */
	LOAD_VANISH, /* send what there is without waiting, then close */
	LOAD_RESET,  /* the same with a RST */
	LOAD_LEAVE,  /* send it; the peer must close the connection */
};

/* What is known to a client of its peer's login. */
enum load_place {
	LOAD_RAW,    /* nothing was sent yet */
	LOAD_INSIDE, /* logged in */
};

struct load_client;

struct load_kind {
	const char *name;
	enum load_next (*step)(struct load_client *c, unsigned step);
	enum load_place place; /* where a wrecker begins */
};

extern const struct load_kind load_requests[], load_wrecks[];
extern const size_t load_n_requests, load_n_wrecks;

struct load_bytes {
	char *p;
	size_t n, size;
};

enum load_how {
	WANT_ANY,   /* of this type */
	WANT_EXACT, /* with this payload */
	WANT_ERROR, /* SQLSTATE and a part of the text */
	WANT_KEEP,  /* any payload, which is kept */
	WANT_KEPT,  /* the payload that was kept */
	WANT_MAYBE, /* the payload (none: any); instead of it the query may be cancelled */
	WANT_CLOSE, /* an error with this SQLSTATE before the peer closes */
};

struct load_want {
	char type;
	enum load_how how;
	size_t at, n; /* payload in `expected` */
};

enum { LOAD_WANTS = 96 };

enum load_state {
	LS_AWAY, /* no connection; comes back when due */
	LS_LOGIN,
	LS_PAUSE, /* logged in; next request when due */
	LS_BUSY,
	LS_LEAVING, /* waits for the peer's close */
};

struct load_client {
	struct load *load;
	const struct load_kind *kind;
	unsigned id, step, left; /* left: requests until it goes away */
	enum load_state state;
	bool wrecker;
	int fd;
	int64_t due; /* ms: the next thing to do, or the end of patience */
	struct load_bytes out, in, expected, kept;
	size_t sent;
	struct load_want wants[LOAD_WANTS];
	unsigned want, n_wants;
	unsigned serial, amount; /* amount: of rows and so on, a kind's own */
	char tag[48];
	const char *database, *user, *password;
	/* Its session: the parameters' values, and those that a SET under way will give. */
	char name[32], next_name[32];
	const char *zone, *style, *next_zone;
	unsigned char key[8];
	int cancel_fd; /* -1: none */
	int64_t cancel_due;
	unsigned char cancel_key[8];
};

uint64_t load_random(struct load *l, uint64_t below);
/* A new tag for the client. */
const char *load_tag(struct load_client *c);
/* The key of some client that is logged in, NULL: none is. */
const unsigned char *load_any_key(struct load *l);

/* ---- messages to send ---- */

void load_put(struct load_bytes *b, const void *p, size_t n);
void load_put_text(struct load_bytes *b, const char *s); /* with its NUL */
void load_put16(struct load_bytes *b, unsigned v);
void load_put32(struct load_bytes *b, uint32_t v);
/* Begins a message (type 0: none, a startup packet) and gives what load_end() takes. */
size_t load_begin(struct load_bytes *b, char type);
void load_end(struct load_bytes *b, size_t at);
void load_query(struct load_client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Parse, Bind with one text parameter or none (NULL), Describe of the portal, Execute of so many rows (0: all). */
void load_batch(struct load_client *c, const char *sql, unsigned rows, const char *parameter);
void load_bare(struct load_client *c, char type); /* a message without payload */
void load_startup(struct load_client *c, const char *user, const char *database);

/* ---- what must come back ---- */

void load_want_any(struct load_client *c, const char *types); /* one message of each of these types */
void load_want(struct load_client *c, char type, const void *p, size_t n);
void load_want_how(struct load_client *c, char type, enum load_how how);
void load_want_text(struct load_client *c, char type, const char *s); /* s and its NUL */
/* A DataRow of texts, NULL at the end. */
void load_want_row(struct load_client *c, enum load_how how, const char *first, ...) __attribute__((sentinel));
void load_want_error(struct load_client *c, const char *code, const char *part);
/* With LOAD_LEAVE: the error that the peer gives before it closes. */
void load_want_close(struct load_client *c, const char *code);
void load_want_ready(struct load_client *c, char status);
/* T, one row of one text, its CommandComplete. */
void load_want_value(struct load_client *c, const char *value);

/* Sends a cancel request with this key in so many ms; the client goes on when it is done. */
void load_cancel(struct load_client *c, const unsigned char *key, unsigned ms);

#endif
