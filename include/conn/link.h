/*
 * link: what a client and its server say to each other. Neither unit knows the
 * other one: they meet in struct conn's peer and in these two tables, which
 * hang at conn_ops.
 */
#ifndef PSBOUNCER_CONN_LINK_H
#define PSBOUNCER_CONN_LINK_H

#include <stdbool.h>

#include "conn/conn.h"
#include "conn/refusal.h"
#include "conn/ring.h"
#include "conn/session.h"

struct buf;
struct msg;
struct stmt;
struct stmt_edits;
struct vars;

/* What a client asks of the server that it is linked to. */
struct link_server_ops {
	/*
	 * The client's own parameters become the server's. True: that is so, or goes in front of the next request. False: the
	 * client must wait for prepared().
	 */
	bool (*prepare)(struct conn *s, struct vars *own);
	/* A message is forwarded, or answered by the pooler itself, that *q is to be expected for; q's references are its own. */
	void (*expect)(struct conn *s, const struct request *q);
	/*
	 * A transaction begins, by the statement st, in front of the client's next message; portal: the unnamed portal that ran
	 * it is open then; aborted: it has failed already. The first request behind it goes with it, up to its ReadyForQuery.
	 */
	void (*begin)(struct conn *s, struct stmt *st, bool portal, bool aborted);
	/*
	 * May a message of this type go to it now? V_DROP: it has said an error and skips to a Sync, what comes before that is
	 * nothing to it. V_STOP: it must wait, for a BEGIN in front or because too many are outstanding; conn.holds is set.
	 */
	enum verdict (*takes)(struct conn *s, uint8_t type);
	/*
	 * m is the client's next message: it is kept as long as its batch may have to be run again; heal: here; replay: on another
	 * server. unrecord: it was not sent yet, and will be offered once more.
	 */
	void (*record)(struct conn *s, const struct msg *m, bool heal, bool replay);
	void (*unrecord)(struct conn *s, const struct msg *m);
	/* A Flush goes to the server. */
	void (*flushed)(struct conn *s);
	/*
	 * The client says no more. Are there answers that it is still to have? Then conn.holds is set until they have come. all:
	 * those too that no Sync and no Flush has asked for; else of these only an error, as PostgreSQL has it.
	 */
	bool (*owes)(struct conn *s, bool all);
	/*
	 * Prepared statements. settings: what literals are read under, no new reference; sure: and that is known, no SET of the
	 * batch may have changed it. has: is st prepared there (then it was used just now)? put, take: in front of the client's
	 * next message it is prepared, or closed. put_unnamed: the server's unnamed statement is the client's before that
	 * message. may_answer: what the server would say to a Parse of a statement that it has is certain. must_wait: something
	 * outstanding may change what the message means, conn.holds is set until it is answered. make_room: the client's next
	 * message prepares one more, what is too much is closed in front of it.
	 */
	struct vars *(*settings)(struct conn *s);
	bool (*sure)(const struct conn *s);
	bool (*has)(struct conn *s, struct stmt *st);
	void (*put)(struct conn *s, struct stmt *st);
	void (*take)(struct conn *s, struct stmt *st);
	/* The same in a batch of its own, for a Query. */
	void (*put_now)(struct conn *s, struct stmt *st);
	void (*take_now)(struct conn *s, struct stmt *st);
	void (*make_room_now)(struct conn *s);
	void (*put_unnamed)(struct conn *s);
	bool (*may_answer)(const struct conn *s);
	bool (*must_wait)(struct conn *s, bool unnamed);
	void (*make_room)(struct conn *s);
	/*
	 * The text runs with the client's next message: what it changes in the session is noted; resets: only that it does.
	 * Then, as with pin, the server may stay the client's beyond its transaction; REFUSE_COUNT: it may go. hides: whether
	 * literals are read otherwise from here on, and no ReadyForQuery will tell, so that it is not sure().
	 */
	void (*hides)(struct conn *s, const struct session_text *t);
	enum refusal (*note)(struct conn *s, const struct session_text *t, bool resets);
	enum refusal (*pin)(struct conn *s, enum pin pin, const char *head, size_t n);
	void (*unpin)(struct conn *s, enum pin pin); /* with the end of the transaction */
	/*
	 * Portals of statements with edits. bind: the portal of that name is one, of st, from here on; NULL: of another statement.
	 * False: memory is out. bound: its edits, no new reference; NULL: it is none of these.
	 */
	bool (*bind)(struct conn *s, const char *portal, struct stmt *st);
	struct stmt_edits *(*bound)(const struct conn *s, const char *portal);
	/* In place of a refused message: one that fails the batch on the server. */
	void (*refuse)(struct conn *s, enum refusal why, bool simple);
	/*
	 * The client's name n, of a statement that is stale, gets a new one of the same text. refuse_stale: a server that lacks a
	 * stale one refuses it, as one that has it does. True: the names are right; false: memory is out.
	 */
	bool (*renew)(struct conn *s, struct stmt_name *n);
	void (*refuse_stale)(struct conn *s, struct stmt_name *n);
	/* Is a request outstanding, or a batch open? */
	bool (*is_busy)(const struct conn *s);
	/* Has what runs cancelled; by is closed when the request has landed. */
	void (*cancel)(struct conn *s, struct conn *by);
	/* The client is gone, the link too. cancel: what runs is of no use to anybody. */
	void (*left)(struct conn *s, bool cancel);
	/* A cancel request has landed, or will never. lost: it was sent and nobody knows. */
	void (*cancelled)(struct conn *s, bool lost);
};

/* Where a server stands when it says ReadyForQuery. */
struct link_ready {
	char status;	       /* I T E */
	bool more;	       /* other requests are outstanding */
	bool pinned;	       /* it stays with this client */
	struct vars *given;    /* its parameters when the last transaction began */
	struct vars *now;      /* and now */
	struct vars *at_login; /* and after its own login */
};

/* What a server leaves behind that is lost under its client. */
struct link_lost {
	enum close_why why;
	const char *text;	 /* its last words, or the reason if it has said none */
	const struct ring *ring; /* what is not answered */
	struct vars *given;	 /* its parameters when the transaction began */
	struct vars *at_login;	 /* and after its own login */
	bool told;		 /* it has announced its end to the client itself */
	bool errored;		 /* the client has had the error of the request in front */
	bool unread;		 /* what the client has set there for good was not asked for yet */
};

/* What a server tells the client that it is linked to. */
struct link_client_ops {
	/* The parameters are set (now), or could not be: then the server is to be closed. code NULL: for what others have left there. */
	void (*prepared)(struct conn *c, bool ok, const char *code, const char *text, struct vars *now);
	/* A ParameterStatus passes. */
	void (*told)(struct conn *c, const char *name, const char *value);
	/* A CommandComplete passes. */
	void (*completed)(struct conn *c, const char *tag);
	/* SQL has prepared what n stands for, or deallocated it. */
	void (*made)(struct conn *c, const struct stmt_name *n);
	void (*dropped)(struct conn *c, const struct stmt_name *n);
	/* It is known what literals of statements that were parsed while it was not sure are read under. */
	void (*sure)(struct conn *c, struct vars *settings);
	/* A ReadyForQuery is about to pass: V_FORWARD; V_LAST: and then the server is free; V_CLOSED: the client was closed. */
	enum verdict (*ready)(struct conn *c, const struct link_ready *r);
	/*
	 * After V_LAST, instead of done: values that its server does not report are asked for; it waits. settled: they are
	 * known, and done follows.
	 */
	void (*settling)(struct conn *c);
	void (*settled)(struct conn *c, const struct link_ready *r);
	/* After V_LAST: the link ends. */
	void (*done)(struct conn *c);
	/* A server of its own: appends the names and values that it is to be logged in with, besides user and database. */
	void (*startup)(const struct conn *c, struct buf *out);
	/* A server of its own has let it in and is idle. */
	void (*opened)(struct conn *c, struct vars *now);
	/*
	 * May its request be run again by another server, once nothing of it has taken effect here? replay: that is done; first is
	 * the request, and the link is gone.
	 */
	bool (*may_replay)(const struct conn *c);
	void (*replay)(struct conn *c, struct buf *first);
	/* Would the client stay if its server were lost now? Then it is not to be told what the server says of its end. */
	bool (*keeps)(const struct conn *c);
	/* The server is lost, the link is gone. */
	void (*lost)(struct conn *c, const struct link_lost *l);
};

#endif
