/*
 * client_priv: what the files of the client unit share.
 */
#ifndef PSBOUNCER_CONN_CLIENT_PRIV_H
#define PSBOUNCER_CONN_CLIENT_PRIV_H

#include <stddef.h>

#include "conn/client.h"
#include "conn/refusal.h"
#include "conn/ring.h"

struct link_lost;
struct msg;
struct overrides;
struct request;
struct settings;
struct stmt;
struct buf;
struct stmt_edits;
struct stmt_name;
struct vars;

static inline const struct settings *client_settings(const struct client *cl)
{
	return &cl->c.pooler->registry.config->set;
}
/* It has said something that no server is needed for, or that was refused: its idle time begins anew. */
void client_answered(struct client *cl);

/*
 * It has said its last, or nothing that can be read: V_STOP: it is still to have answers to what it said before, and will say
 * it once more; V_CLOSED: it was closed.
 */
enum verdict client_end(struct client *cl, enum close_why why, const char *text);
/* It waits, or has waited, for a host, and has left meanwhile: nothing more is done for it. */
bool client_gave_up(const struct client *cl);

/* client_time.c: conn_ops.due and conn_ops.deadline. */
int64_t client_due(const struct conn *c);
void client_deadline(struct conn *c);
/* The limits of time that hold for it, of its user, its database or all. */
void client_set_limits(struct client *cl, const struct overrides *user, const struct overrides *db);

/* client_login.c */
bool client_login_fresh(struct conn *c);
size_t client_login_raw(struct conn *c, const char *p, size_t n, size_t *need);
void client_login_free(struct client *cl);
const char *client_login_user(const struct client *cl);
const char *client_login_database(const struct client *cl);

/* client_auth.c: what it answers. */
enum verdict client_auth_message(struct client *cl, const struct msg *m);

/* client_admit.c. The greeting that it waited for is there. */
void client_admit_greeted(struct client *cl);
/* RELOAD may have given its database another user: then it is in that pool from here on. True: it is in another one now. */
bool client_admit_pool(struct client *cl);
/* A server of its own: what that is to be told, and that it is there (now: its parameters). */
void client_admit_startup(const struct conn *c, struct buf *out);
void client_admit_opened(struct conn *c, struct vars *now);

/* client_query.c */
enum verdict client_query_message(struct client *cl, const struct msg *m, uint32_t *arg);
/* A message in which a name has no end: the server says what it thinks of it. */
enum verdict client_query_malformed(struct client *cl, const struct msg *m);
bool client_standard_strings(const struct client *cl);
/* Instead of its message the client gets an error of ours, in its turn, and its batch fails. */
enum verdict client_refuse_message(struct client *cl, const struct msg *m, enum refusal why) __attribute__((cold));
/* The text in a Query or behind the name in a Parse, as far as it is in memory. */
struct text {
	const char *p;
	size_t n;
	bool whole;
};
struct text client_parse_text(const struct msg *m);
/* How running it ends the transaction that it is in. */
enum request_ends client_text_ends(const struct client *cl, struct text t);
/* The worst of what it EXECUTEs does. */
enum request_ends client_edits_end(const struct client *cl, const struct stmt_edits *edits);
/* What it was told becomes visible, whose reference is taken over: it is told what differs of those in reported (NULL: all). */
void client_tell_vars(struct client *cl, struct vars **visible, const struct vars *reported);
/* Is this message refused? REFUSE_COUNT: no. */
enum refusal client_refusal(const struct client *cl, const struct msg *m);
/* Of a Parse: what running it may do is noted with its name, since an Execute names a portal. */
void client_note_text(struct client *cl, const struct msg *m, struct text t, bool quiet);
/* It changes nothing of transactions, names or the session: no more need be known of it. */
bool client_text_is_quiet(struct text t);

/* client_link.c: linked to server: the request may go, or the parameters come first. */
void client_link(struct client *cl, struct conn *server);
/* It has no server any more. */
void client_unlink(struct client *cl);
extern const struct link_client_ops client_link_ops;

/* client_defer.c: transactions that no server has begun yet. */
/* A Query that needs no server: a BEGIN that is deferred, an empty one or an end behind it. True: it was answered. */
bool client_defer_query(struct client *cl, const struct msg *m);
/*
 * The same of a batch that begins with m (of any type; m is just being looked at). V_DROP: it was answered, what is left of it
 * is dropped. V_MORE: that is seen when more of it is there. V_FORWARD: it needs a server.
 */
enum verdict client_defer_batch(struct client *cl, const struct msg *m, uint32_t *arg);
void client_defer_send(struct client *cl); /* there is a server now: the BEGIN goes there */
/* begin is a plain BEGIN. False: memory is out. */
bool client_defer_plain(struct client *cl);
/* An error of ours without a server: a deferred transaction is aborted by it. The status to tell. */
char client_defer_fail(struct client *cl);

/* client_lost.c: the server is lost, the link has ended. */
bool client_keeps(const struct conn *c);
/* Its parameters are set again on the server that it has had all along, with all that it left there. */
bool client_has_session(const struct client *cl);
void client_lost(struct conn *c, const struct link_lost *l);
/* link_client_ops. */
bool client_may_replay(const struct conn *c);
void client_replay(struct conn *c, struct buf *first);

/*
 * client_orphan.c: a transaction that was lost with its server, until the client ends it: an aborted one. text: what the
 * server said of its end; told: the client knows that the transaction has failed; vars: its parameters as they were before it, a
 * reference that is taken over. False: memory is out, the client was closed.
 */
bool client_orphan_begin(struct client *cl, const char *text, bool told, struct vars **vars);
/*
 * V_DROP: it was answered; V_MORE: more of it is needed. V_FORWARD: a server is needed for it, where the transaction is to be
 * made an aborted one first. V_CLOSED.
 */
enum verdict client_orphan_message(struct client *cl, const struct msg *m, enum refusal why, bool sound, uint32_t *arg);
const char *client_orphan_detail(const struct client *cl);
void client_orphan_end(struct client *cl); /* nothing is to be remembered of it any more */

/*
 * client_session.c: what changes its session. A text goes to the server, or a statement will run, or those that a text
 * EXECUTEs; REFUSE_COUNT: it may.
 */
enum refusal client_session_note(struct client *cl, const char *text, size_t n, bool whole);
/* An unnamed statement that is too large to be kept is parsed: its server stays with it. */
enum refusal client_session_large(struct client *cl, const char *text, size_t n);
enum refusal client_session_edits(struct client *cl, const struct stmt_edits *edits);
enum refusal client_session_run(struct client *cl, struct stmt *st);

/* client_stmt.c: messages about prepared statements, where the server changes. */
bool client_changes_servers(const struct client *cl);
enum verdict client_stmt_parse(struct client *cl, const struct msg *m, bool quiet, uint32_t *arg);
/*
 * The server that lacks what n stands for is about to get it. While it is not sure what it reads literals under others must
 * not be given that one: then it is the client's alone from here on. False: memory is out.
 */
bool client_stmt_own(struct client *cl, struct stmt_name *n) __attribute__((warn_unused_result));
void client_stmt_sure(struct conn *c, struct vars *settings);
enum verdict client_stmt_bind(struct client *cl, const struct msg *m, uint32_t *arg);
enum verdict client_stmt_describe(struct client *cl, const struct msg *m, uint32_t *arg);
enum verdict client_stmt_close(struct client *cl, const struct msg *m, uint32_t *arg);
void client_stmt_forget(struct client *cl, const char *name); /* Close, without a server */

/* client_sql.c: names of prepared statements in SQL. */
/* Are there any, by the look of it? harmless: sqlscan_is_harmless(). */
bool client_sql_may_name(const struct client *cl, struct text t, bool harmless);
/*
 * Of such a text, in m: *edits (a reference, NULL: nothing is to be changed) are the names that are put in; what the server
 * lacks of them is prepared in front. V_FORWARD; V_MORE, V_STOP: not yet; V_CLOSED.
 */
enum verdict client_sql_read(struct client *cl, const struct msg *m, struct text t, struct stmt_edits **edits,
	uint32_t *arg);
/* The text with its edits, and its NUL. */
void client_sql_write(const struct client *cl, struct buf *out, struct text t, const struct stmt_edits *edits);
/* The Parse m with its edits, which become the statement's. NULL: memory is out. */
struct stmt *client_sql_stmt(struct client *cl, const struct msg *m, struct stmt_edits *edits);
/*
 * A statement with edits is about to be bound to the portal, or described (NULL), the one that *n stands for; NULL: the unnamed one. Its name comes to mean what it
 * means now (*n may be another one then), and the server to have that. V_FORWARD, V_STOP, V_CLOSED.
 */
enum verdict client_sql_bind(struct client *cl, const char *portal, struct stmt_name **n);
void client_sql_made(struct conn *c, const struct stmt_name *n);
void client_sql_dropped(struct conn *c, const struct stmt_name *n);

#endif
