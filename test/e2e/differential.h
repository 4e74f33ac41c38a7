/*
 * differential: the same messages to PostgreSQL itself and through psbouncer,
 * and the same answers wanted. corpus/README has the language of the sequences;
 * the messages in it are those of test/dialog.
 *
 * diff_corpus.c   sequences from texts
 * diff_grammar.c  sequences by chance, as texts
 * diff_player.c   one connection that plays them: what it sends, how long it waits
 * differential.c  the tables, the runs, the comparison, what is printed
 */
#ifndef PSBOUNCER_TEST_DIFFERENTIAL_H
#define PSBOUNCER_TEST_DIFFERENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dialog/dialog.h"

/* ---- sequences ---- */

/* Where a sequence is run. The first is what the others are compared with. */
enum target { DIRECT, SESSION, TRANSACTION, STATEMENT, TARGETS };
extern const char *const target_names[TARGETS];

enum verb {
	DIFF_SEND,  /* and wait until all that is due has come */
	DIFF_PUT,   /* send only */
	DIFF_WAIT,  /* until all that is due has come */
	DIFF_READY, /* until `count` ReadyForQuery have come since the last send; then nothing is due */
	DIFF_UNTIL, /* until a message of `type` has come since the last send */
	DIFF_CLOSED /* until the end of the connection */
};

#define CLIENTS 2

struct action {
	enum verb verb;
	unsigned who; /* which client */
	unsigned count;
	unsigned char type;
	unsigned times; /* the phrases are sent so often, in one piece */
	struct phrase *phrases;
	size_t n_phrases;
	char *text; /* the line */
	int line;
};

struct sequence {
	char *file, *name;
	int line;
	bool in[TARGETS];    /* is it run there? */
	bool known[TARGETS]; /* is it known to differ there? */
	/* What a client is sent where it differs, from the first message that does; n_instead 0 of all: not said. */
	struct phrase *instead[CLIENTS];
	size_t n_instead[CLIENTS];
	bool nothing[CLIENTS]; /* it is sent nothing from there on */
	struct action *actions;
	size_t n_actions;
};

/* Appends the sequences of a text; file is for messages. False: errors were printed. */
bool corpus_parse(const char *file, const char *text, struct sequence **v, size_t *n);
/* The same of a file. */
bool corpus_read(const char *path, struct sequence **v, size_t *n);
void corpus_free(struct sequence *v, size_t n);

/* A sequence of its own for each seed, in the words of the corpus. */
void grammar_write(struct bytes *out, uint64_t seed);

/* ---- one connection ---- */

struct player {
	int fd;	  /* -1: none */
	bool had; /* there was one */
	int port;
	const char *database;
	struct bytes rx;     /* what has come since player_begin(); process ids are taken out */
	size_t at;	     /* looked at up to here */
	size_t sent_at;	     /* where rx stood when something was sent last */
	bool closed;	     /* by the other side */
	bool late;	     /* it did not come in time */
	char status;	     /* of the last ReadyForQuery */
	bool block;	     /* a transaction block was seen */
	struct bytes asked;  /* types of the messages that were sent and may have an answer to come */
	size_t asked_at;     /* the first of them */
	size_t copy_at;	     /* in a COPY IN: the first that its loop has not read */
	bool copying;	     /* the server reads a COPY */
	bool skipping;	     /* after an error, up to the next Sync */
	bool ends;	     /* a FATAL error or a Terminate: only the end is to come */
	unsigned n_ready;    /* ReadyForQuery since the last send */
	int64_t patience_ms; /* for one wait */
};

/* Logs in unless it is connected, and forgets what it was sent. False: no way in. */
bool player_begin(struct player *p);
/* Does what a line says. False: late, or the connection has ended where it should not have. */
bool player_act(struct player *p, const struct action *a);
/* A simple query, and its whole answer. */
bool player_query(struct player *p, const char *sql);
void player_end(struct player *p);

#endif
