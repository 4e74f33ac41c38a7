/*
 * server_priv: what the files of the server unit share.
 */
#ifndef PSBOUNCER_CONN_SERVER_PRIV_H
#define PSBOUNCER_CONN_SERVER_PRIV_H

#include "conn/dial.h"
#include "conn/link.h"
#include "conn/server.h"
#include "conn/session.h"

struct error_fields;
struct msg;
struct scram_client;
struct settings;

enum { ERROR_WHOLE = 65536 }; /* an error that is to be changed or kept is held if it is no longer than this */

/* While a server connects and logs in. */
struct server_login {
	struct dial dial;
	uint64_t tried;		 /* hosts of the list that this attempt has tried, a bit each */
	bool secure;		 /* sslmode allow: the second try at the same host, with TLS */
	bool heard;		 /* it has said something */
	const struct msg *error; /* what it fails with, while that is looked at */
	char *secret;		 /* of the user, or NULL */
	struct scram_client *scram;
	bool admitted; /* AuthenticationOk has come */
	unsigned rows; /* it was asked what it is, and has said so many ... */
	bool answered; /* ... which are one that says it */
	bool standby;  /* it is one */
	bool told;     /* the pool knows that it failed */
};

const struct settings *server_settings(const struct server *s);
void server_note_vars(struct server *s);

/* server.c */
/* Without a login under way. own: the client that it is for alone and is linked to, or NULL. */
struct server *server_make(struct pool *p, bool reserve, struct conn *own);
struct server *server_make_solo(struct pooler *p, struct solo *solo);

/* What the linked client is told at a ReadyForQuery. */
struct link_ready server_link_ready(const struct server *s);

/* server_release.c: link_server_ops. */
void server_cancel(struct conn *c, struct conn *by);
void server_left(struct conn *c, bool cancel);
void server_cancelled(struct conn *c, bool lost);
/* Ends what a client that has gone has left open: a COPY FROM STDIN, a batch without its Sync. */
void server_end_batch(struct server *s);

/* server_params.c: link_server_ops.prepare. */
bool server_params_prepare(struct conn *c, struct vars *own);

/* server_session.c */
void server_session_hides(struct conn *c, const struct session_text *t);
/* All that the client has set is known: what was parsed meanwhile is told so. */
void server_session_known(struct server *s);
enum refusal server_session_note(struct conn *c, const struct session_text *t, bool resets);
enum refusal server_session_pin(struct conn *c, enum pin pin, const char *head, size_t n);
void server_session_unpin(struct conn *c, enum pin pin);
void server_session_ready(struct server *s, bool more); /* ReadyForQuery, idle, for its client */
/*
 * It is to be released, its client still linked. True: values are asked for first, asks->settled() and asks->done() follow,
 * then it is released.
 */
bool server_session_settle(struct server *s);
void server_session_left(struct server *s); /* its client has gone, or the connection closes */
/* A parameter of its own has this value now; NULL: none of its own. */
void server_put_var(struct server *s, const char *name, const char *value);
/* What it does not report is as it was after its login. */
void server_forget_unreported(struct server *s);
/* The parameters in set have been set: what it does not report is known from there. */
void server_take_unreported(struct server *s, struct vars *set);

/* server_stmt.c */
struct vars *server_stmt_settings(struct conn *c);
bool server_stmt_sure(const struct conn *c);
bool server_stmt_renew(struct conn *c, struct stmt_name *n);
bool server_stmt_has(struct conn *c, struct stmt *st);
void server_stmt_put(struct conn *c, struct stmt *st);
void server_stmt_take(struct conn *c, struct stmt *st);
void server_stmt_put_unnamed(struct conn *c);
bool server_stmt_may_answer(const struct conn *c);
bool server_stmt_must_wait(struct conn *c, bool unnamed);
void server_stmt_go_on(struct server *s); /* what waited, if it need not wait any longer */
void server_stmt_put_now(struct conn *c, struct stmt *st);
void server_stmt_take_now(struct conn *c, struct stmt *st);
void server_stmt_make_room_now(struct conn *c);
void server_stmt_make_room(struct conn *c);

/* server_sql.c */
bool server_sql_bind(struct conn *c, const char *portal, struct stmt *st);
struct stmt_edits *server_sql_bound(const struct conn *c, const char *portal);
/* A statement of a request that is edited has come to a good end: what it has prepared or deallocated. */
void server_sql_ran(struct server *s, const struct request *q, const char *tag);
/* An error or notice for such a request, which is whole in memory, goes to the client. */
void server_sql_error(struct server *s, const struct msg *m, const struct stmt_edits *e);
/* The Query, which is edited, is over. */
void server_sql_ended(struct server *s, const struct request *q);

/* server_record.c: what may have to be run again; for another server no more than this. */
enum { REPLAY_MAX = 16384 };
void server_record(struct conn *c, const struct msg *m, bool heal, bool replay);
void server_unrecord(struct conn *c, const struct msg *m);
void server_record_end(struct server *s);
/* The oldest message of the record is answered. */
void server_record_trim(struct server *s);
/* The client has heard, or will hear, something of it: no other server may run it any more. */
void server_record_heard(struct server *s);

/*
 * server_heal.c: a batch that failed because a table has changed is run again. Is this error one that running the batch again
 * mends? Then that is done, and the client hears nothing of it.
 */
bool server_heals(struct server *s, const struct msg *m);

/*
 * server_replay.c: a request that a standby has refused is run again elsewhere. Does f say that nothing is written here, to
 * a client that has not asked for that?
 */
bool server_refuses_writes(const struct server *s, const struct error_fields *f);
/*
 * m is a message for the client whose request is REPLAY_WHOLE. V_FORWARD: it is to be dealt with as ever; V_MORE: when more is
 * there; V_CLOSED: the client has its request again, and the server is closed.
 */
enum verdict server_replays(struct server *s, const struct msg *m, uint32_t *arg);

/* A transaction that was deferred; when its BEGIN fails: by_query: the request behind it was a Query. */
void server_begin(struct conn *c, struct stmt *st, bool portal, bool aborted);
enum verdict server_takes(struct conn *c, uint8_t type);
void server_begin_failed(struct server *s, bool by_query);
/* A message was sent: what the server has by it. */
void server_stmt_sent(struct server *s, const struct request *q);
/* Its client goes. */
void server_stmt_parted(struct server *s);
/* The requests in front that the server was not asked are answered. */
void server_stmt_answer(struct server *s);
void server_stmt_free(struct server *s);

/* server_login.c */
void server_login_begin(struct server *s);
/* When a login, from dialling to its setup, must have come to its end; 0: it has no limit. */
int64_t server_login_due(const struct server *s);
bool server_negotiates_directly(const struct server *s);
void server_login_free(struct server *s);
enum verdict server_login_message(struct server *s, const struct msg *m, uint32_t *arg);
/*
 * The login came to nothing: another host is tried when other_host is set and there is one left, else the pool is told. s
 * is closed either way.
 */
void server_login_failed(struct server *s, const char *code, const char *text, bool other_host);

/* server_reply.c */
enum verdict server_message(struct conn *c, const struct msg *m, uint32_t *arg);
void server_done(struct conn *c);
/* Has it announced its end by a notice, which is held? The words. */
bool server_announced(const struct server *s, char *buf, size_t size);
void server_set_var(struct server *s, const struct msg *m, const char **name, const char **value);

#endif
