/*
 * chaos_priv: what the files of chaos share.
 */
#ifndef TEST_DIALOG_CHAOS_PRIV_H
#define TEST_DIALOG_CHAOS_PRIV_H

#include "dialog/dialog.h"
#include "dialog/model.h"

enum { PLAYERS = 6, HOSTS = 512, SERIALS = 8192, STEPS = 400 };

struct player {
	struct end *e; /* NULL: not connected */
	struct model want;
	size_t want_pos; /* of want.out, compared */
	bool logged_in;
	struct bytes todo; /* said, but not sent yet */
	size_t todo_pos;
	bool barrier; /* says nothing until all is answered */
	bool sleeps;  /* what it waits for ends by a cancel */
	char sleep_sql[64];
	bool asked;		  /* a cancel was sent for it */
	bool finished;		  /* has said its last */
	int serials[SERIALS / 8]; /* of its Queries that a session of its own has run */
	size_t n_serials;
	unsigned char *may; /* the chaos's */
	/*
	 * It has lost its server: what its model says is not what it must get any more. What it has said is still answered, with
	 * as many ReadyForQuery as there are Syncs at least, and Queries at most, and no two errors in a request.
	 */
	bool loose;
	unsigned ready, least, most; /* ReadyForQuery: that it has had, and must and may have */
	bool failed, copies;	     /* an error came since the last one; what it says has a COPY in it */
	char status;		     /* of the last one */
};

struct host {
	struct end *e;
	struct model m;
	size_t sent; /* of m.out */
	bool dying;
};

struct chaos {
	struct world w;
	uint64_t seed;
	struct player players[PLAYERS];
	struct host hosts[HOSTS];
	size_t n_hosts;
	int serial;
	unsigned char ran[SERIALS]; /* how often */
	unsigned char may[SERIALS]; /* how often clients have asked for it */
	bool must[SERIALS];
	bool named[SERIALS];	      /* of a prepared statement with a name, which may be run again */
	unsigned char owner[SERIALS]; /* which player has said it, from 1 */
	bool session, deaths;
	bool names;	    /* prepared statements may have one: there are none left from others */
	bool refuses_names; /* max_prepared_statements is 0 */
	unsigned died;
	bool trace;
};

/* Less than n. */
unsigned pick(struct chaos *c, unsigned n);
/* -v */
void say(struct chaos *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_bytes(struct chaos *c, const struct end *e, const char *verb, const char *p, size_t n);
/* The number of "word #number"; 0: it has none. */
int serial_of(const char *sql);

/* Those that answer whether something was done; all: as much as there is. */
void hosts_meet(struct chaos *c);
bool host_lives(const struct host *h);
bool host_hears(struct chaos *c, struct host *h);
bool host_answers(struct chaos *c, struct host *h, bool all);
void host_dies(struct chaos *c, struct host *h);
bool cancels_go_on(struct chaos *c, bool all);

void player_connects(struct chaos *c, struct player *p);
void player_asks(struct chaos *c, struct player *p);
bool player_sends(struct chaos *c, struct player *p, bool all);
void player_cancels(struct chaos *c, struct player *p);
void player_leaves(struct chaos *c, struct player *p);
/* Ends the batch and the transaction that it may be in: others wait for its server. */
bool player_finishes(struct chaos *c, struct player *p);
void player_compares(struct chaos *c, struct player *p);
void player_differs(struct chaos *c, const struct player *p);
void player_forget(struct player *p);

#endif
