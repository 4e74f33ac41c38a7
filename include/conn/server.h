/*
 * server: a connection to a PostgreSQL server from connect to close. server.c
 * has its states, connecting, release and reuse; server_login.c TLS, startup
 * and authentication; server_reply.c what each message means.
 */
#ifndef PSBOUNCER_CONN_SERVER_H
#define PSBOUNCER_CONN_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "conn/conn.h"
#include "conn/ring.h"
#include "pool/pool.h"
#include "pool/stmt.h"

struct ownq;
struct resolve_query;
struct scram_cache;
struct server_login;

enum server_state {
#define SERVER_STATE(name, text, reads, next) SS_##name,
#include "tbl/server_states.h"
#undef SERVER_STATE
	SS_COUNT
};

/* What its unnamed prepared statement is. */
enum server_unnamed {
	UNNAMED_NONE,	 /* there is none */
	UNNAMED_KNOWN,	 /* conn.unnamed */
	UNNAMED_CLIENTS, /* what the linked client made last, of which nothing is kept */
	UNNAMED_OTHER	 /* somebody's */
};

/*
 * A connection that is in no pool: who logs in, and where. It stays the owner's, who gives it up by conn_close() only; after
 * closed() it is looked at no more.
 */
struct solo {
	const char *user, *dbname;
	const char *secret;	   /* as in auth_file, or NULL */
	const char *password_file; /* NULL: none; else read at each login, in place of secret */
	struct scram_cache *scram;
	struct endpoint *endpoint;
	const struct addr
		*stay; /* connects there first, as long as the endpoint's name has it; NULL: wherever the name leads */
	const char *const *startup;			     /* names and values besides, in turn, NULL at the end */
	int64_t timeout_us;				     /* within which it must be logged in; 0: none */
	void *owner;					     /* whose it is */
	void (*opened)(struct server *s, struct solo *solo); /* it is logged in, and idle */
	/* Also when it could not be opened; NULL: nobody wants to know. */
	void (*closed)(struct server *s, struct solo *solo, const char *text);
	/* The server unit's: */
	struct server *server; /* the connection that there is, or is being opened; NULL: none */
	char code[6];	       /* why the login failed, as the server said; "" */
	bool ours;	       /* ... or that it was for want of something of our own, which says nothing of the host */
};

/* Is there a record of the request under way, for the case that another server must run it? */
enum server_replay {
	REPLAY_NONE,
	REPLAY_OPEN, /* as far as it was sent */
	REPLAY_WHOLE /* all of it was sent */
};

struct server {
	struct conn c;
	struct slot slot;
	struct solo *solo;	    /* it is in no pool; else NULL */
	struct endpoint *endpoint;  /* held */
	struct server_login *login; /* while it logs in */
	struct ownq *ownq;	    /* a query of our own that runs */
	struct ring ring;	    /* what was sent and is not answered */
	struct vars *at_login;	    /* its parameters after its own login */
	struct vars *vars;	    /* its parameters now */
	struct vars *given;	    /* its parameters when its client's were last taken note of */
	struct vars *wanted;	    /* PREPARE: what they are to become */
	struct session *session;    /* what its client has changed that it does not report; NULL: nothing */
	struct vars *settings;	    /* vars without what no literal depends on ... */
	struct vars *settings_of;   /* ... when it was this set */
	struct stmt_cache prepared; /* clients' statements that it has */
	struct stmt_map *portals;   /* its client's, of statements with edits */
	struct buf batch;	    /* the client's messages that are not answered, while they may be run again */
	int64_t drain_due_us;	    /* DRAIN: when a cancelled request must have ended; 0: never */
	unsigned cancels;	    /* cancel requests under way to it */
	uint32_t pid;		    /* of the backend */
	uint8_t key[260];	    /* pid and secret, as BackendKeyData had them */
	uint16_t key_len;
	uint32_t statement; /* of a Query with edits, from 0: which one runs */
	uint8_t unnamed;    /* enum server_unnamed */
	char status;	    /* of the last ReadyForQuery: I T E; 0 before the first */
	char fatal_code[6]; /* an ErrorResponse FATAL came: its end is near */
	bool dirty : 1;	    /* must not be used again */
	bool reset_due : 1; /* server_reset_query before it is idle */
	bool unclean : 1;   /* server_reset_query alone makes it fit for another client */
	bool settles : 1;   /* its client's values are to be asked for as soon as no cancel request is under way */
	bool pinned : 1;    /* its client keeps it; counted in its pool */
	bool logged_in : 1; /* the pool counts on it */
	bool mixed : 1; /* a Query has gone into a batch outside of a transaction block, which ends that of the batch */
	bool begin_taken : 1; /* a request went behind the BEGIN in the ring, and the next one waits */
	bool recording : 1;   /* batch holds all of them, for this server */
	uint8_t replay : 2;   /* enum server_replay: what batch is for another one */
	bool replied : 1;     /* the client has had an answer to the batch, other than to a Parse */
	bool errored : 1;     /* the client has had an error for the request in front */
	bool ours : 1;	      /* it could not be opened for want of something of our own */
	bool healed : 1;      /* the batch is being run again */
	bool unsure : 1;      /* what may change how literals are read was sent, and no ReadyForQuery has come since */
	bool hidden : 1;      /* the same of what no ReadyForQuery tells: to the end of the transaction */
};

extern const char *const server_state_text[SS_COUNT];
extern const uint32_t server_state_next[SS_COUNT]; /* a bit for each state that may follow */

/*
 * Begins a connection for the pool; its slot is in the pool from here on. own: the client that it is for alone, or NULL. They
 * are linked from here on, it is logged in with what the client asks for, and closed when the client leaves.
 */
struct server *server_launch(struct pool *p, bool reserve, struct conn *own);
/* The same in no pool. */
struct server *server_launch_solo(struct pooler *p, struct solo *solo);
void server_goto(struct server *s, enum server_state to);

/* Something is sent that this is to be expected for; q's references are the ring's from here on. */
void server_push(struct server *s, const struct request *q);
/* It was not done after all (arg is the server): what the server has, and what its client's names stand for, is as before. */
ring_undo server_stmt_undo;
/* A statement has completed: those that drop all prepared statements drop them. */
void server_note_tag(struct server *s, const char *tag);

static inline struct server *slot_server(struct slot *s)
{
	return container_of(s, struct server, slot);
}
static inline struct server *conn_server(struct conn *c)
{
	return (struct server *)(void *)c;
}

/* May its next user be anybody: transaction idle, nothing outstanding, nothing buffered, no COPY, no cancel under way? */
bool server_is_clean(const struct server *s);
/* Clean: resets it if that is due, then back to the pool. */
void server_release(struct server *s);
/* The slot has been idle for long: check it. */
void server_test(struct server *s);
#endif
