/*
 * client: a client's connection from accept to close. client.c has its states
 * and the link to a server; client_login.c TLS and startup, client_auth.c
 * authentication, client_admit.c the limits and the welcome; client_query.c what
 * each message means.
 */
#ifndef PSBOUNCER_CONN_CLIENT_H
#define PSBOUNCER_CONN_CLIENT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "conn/cancel.h"
#include "conn/conn.h"
#include "pool/pool.h"

struct console_session;
struct login;
struct msg;
struct orphan;
struct ownq_result;
struct stmt_map;

enum client_state {
#define CLIENT_STATE(name, text, reads, next) CS_##name,
#include "tbl/client_states.h"
#undef CLIENT_STATE
	CS_COUNT
};

/*
 * Times that apply to this client, 0: none. From its user, database and the global settings. In milliseconds, since there
 * are many clients: what is longer than 49 days counts as that.
 */
struct client_limits {
	uint32_t idle_ms, xact_idle_ms, xact_ms, query_ms, wait_ms;
};

struct client {
	struct conn c;
	struct ask ask;
	struct database *db; /* held; NULL before the login, and on the console */
	struct user *user;   /* held; the name it logged in as */
	union {
		struct login *login;   /* while it logs in */
		struct orphan *orphan; /* while it is orphaned */
	};
	struct console_session *console;
	struct vars *startup;	/* what it asked for in its startup packet */
	struct vars *own;	/* startup and what it set since */
	struct vars *told;	/* every value it was told last */
	struct stmt_map *names; /* its prepared statements, where servers change; else the server has them */
	struct stmt *begin; /* its transaction has begun, and no server has been sent this; else NULL. A reference */
	struct client_limits limits;
	char status;			       /* of the last ReadyForQuery it was sent */
	bool skipping : 1;		       /* after an error of ours: everything up to Sync is dropped */
	bool notified : 1;		       /* query_wait_notify was sent for this wait */
	bool is_admin : 1;		       /* of the console */
	bool counted : 1;		       /* towards max_client_conn */
	bool counted_db : 1, counted_user : 1; /* towards the limits of its database and user */
	bool refused : 1;		       /* no server can be had: it is closed when the pool's round is over */
	bool reset_seen : 1;		       /* RESET, DISCARD ALL or SET ... TO DEFAULT in this transaction */
	bool unnamed_commits : 1;	       /* its unnamed statement may end a transaction */
	bool named_commits : 1;		       /* some named one may */
	bool named_tx : 1;		       /* some named one is nothing but the begin or end of a transaction */
	bool unnamed_alters : 1;   /* its unnamed statement may change what names mean or how literals are read */
	bool named_alters : 1;	   /* some named one may */
	bool portal : 1;	   /* begin was executed by the unnamed portal, which is still open */
	bool defers : 1;	   /* defer_begin applies to it */
	bool tracks_sql : 1;	   /* track_sql_prepare does, and its servers change */
	bool edited : 1;	   /* a portal of its may be one of a statement with edits */
	bool aborted : 1;	   /* its deferred transaction has failed */
	bool pinned : 1;	   /* its server stays with it beyond its transaction */
	uint8_t session_state : 2; /* enum session_state, where it applies: IGNORE in session mode */
	bool second_try : 1;	   /* a server was lost while this request's parameters were set */
	bool orphaned : 1;	   /* its transaction was lost with its server: begin is a BEGIN in place of it */
	bool unsettled : 1;	   /* session mode: its parameters are to be set again before its next request */
	int64_t query_us;	   /* when its request began, 0: none */
	int64_t xact_us;	   /* when its transaction began, 0: none */
	int64_t idle_us;	   /* since when it has sent nothing */
	struct cancel_key key;
};

static_assert(sizeof(struct client) <= 640, "an idle client is to stay small");

extern const char *const client_state_text[CS_COUNT];
extern const uint32_t client_state_next[CS_COUNT]; /* a bit for each state that may follow */

/* A connection that was accepted: the client owns fd from here on. */
struct client *client_new(struct pooler *p, int fd, const struct addr *remote);
/* The same over other stream ops (dialog tests). */
struct client *client_new_ops(struct pooler *p, const struct stream_ops *ops, void *under, const struct addr *remote);

void client_goto(struct client *cl, enum client_state to);
void client_configure(struct client *cl);		   /* limits anew */
const char *client_user_name(const struct client *cl);	   /* "(nouser)" before it is known */
const char *client_database_name(const struct client *cl); /* "(nodb)" before it is known */
const char *client_application_name(const struct client *cl);
static inline struct client *conn_client(struct conn *c)
{
	return (struct client *)(void *)c;
}

/* Its cancel key, as its version of the protocol has it. */
void client_tell_key(const struct client *cl, struct buf *out);

/*
 * What the pool answers to its ask: a server (false: it has left, is closed, and has done nothing with the server), a greeting,
 * a server of its own to be opened, or that there is none to be had.
 */
bool client_granted(struct client *cl, struct conn *server);
void client_greeted(struct client *cl);
struct conn *client_opening(struct client *cl); /* returns what the server is to be linked to */
void client_ask_failed(struct client *cl);

/* Its database is held, or no longer is: it waits by another clock from now on, and is not waited for if it has left. */
void client_held(struct client *cl);

/* A cancel request that names this client, brought by another connection, which is closed when the request has landed. */
void client_cancel(struct client *cl, struct client *by);

/* Answers alone, with no server in hand: ERROR, and everything up to Sync is skipped (simple: ReadyForQuery at once). */
void client_refuse(struct client *cl, const char *code, const char *text, const char *hint, bool simple);
/* The same for the request that waits in c->in. */
void client_refuse_pending(struct client *cl, const char *code, const char *text, const char *hint);

#endif
