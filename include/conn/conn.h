/*
 * conn: what a client's and a server's connection share, and the pooler that
 * all of them belong to. Closing, telling the log, deadlines, the turn.
 */
#ifndef PSBOUNCER_CONN_CONN_H
#define PSBOUNCER_CONN_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "auth/secret.h"
#include "base/htab.h"
#include "base/log.h"
#include "base/timer.h"
#include "net/addr.h"
#include "net/buf.h"
#include "net/loop.h"
#include "net/stream.h"
#include "pool/registry.h"

struct client;
struct conn;
struct console_ops;
struct link_client_ops;
struct link_server_ops;
struct listener;
struct msg;
struct peer;
struct relay_scan;
struct resolver;
struct server;
struct stmt;
struct tls_ctx;

/* The first two have the numbers of enum wire_side. */
enum conn_side { SIDE_CLIENT, SIDE_SERVER, SIDE_CANCEL };

enum close_why {
	CLOSE_NONE,
#define CLOSE(name, severity, code, text, hint) CLOSE_##name,
#include "tbl/close_why.h"
#undef CLOSE
	CLOSE_COUNT
};

struct close_row {
	const char *name, *severity, *code, *text, *hint;
};
extern const struct close_row close_rows[CLOSE_COUNT];

/* What a handler says of a message (relay.h has the rules). */
enum verdict {
	V_FORWARD, /* to the peer, as it is */
	V_ALIKE,   /* V_FORWARD; the messages of this type that follow at once are alike and need not be asked for */
	V_LAST,	   /* V_FORWARD; when it is written, conn_ops.done() is called */
	V_DROP,	   /* not forwarded */
	V_HEAD,	   /* *arg payload bytes are replaced by what the handler put into relay_out() */
	V_MORE,	   /* ask again when *arg payload bytes are in memory; more than it has: of the messages behind it */
	V_STOP,	   /* not now: ask again at relay_resume() */
	V_CLOSED   /* this connection was closed, or its state takes no more messages of this read */
};

/* What a connection's state wants of its peer's bytes. */
enum conn_reads {
	READS_NOTHING,
	READS_BYTES, /* they have no message form yet: conn_ops.raw() */
	READS_MESSAGES
};

/* What a message of a client waits for, although its state reads; nothing is read until then. */
enum conn_holds {
	HOLDS_NOTHING,
	HOLDS_FOR_BEGIN,   /* for the BEGIN that was put in front */
	HOLDS_FOR_NAMES,   /* for requests that may change what names of statements mean */
	HOLDS_FOR_UNNAMED, /* the same of the unnamed statement */
	HOLDS_FOR_ROOM,	   /* for answers, since so many are outstanding */
	HOLDS_FOR_ANSWERS  /* it is the last one: for what is still to be said to those before */
};

/* The startup parameter replication: such a client has a server connection of its own, which was logged in with it. */
enum conn_replication { REPLICATION_NONE, REPLICATION_LOGICAL, REPLICATION_PHYSICAL };

enum { CONN_HIGH = 65536 }; /* with more than this to write, no more is made */

/* What the two sides fill in for the relay. */
struct conn_ops {
	/* What the one side says to the other, link.h: a server has serves, a client asks. */
	const struct link_server_ops *serves;
	const struct link_client_ops *asks;
	/* A message that begins at its header, as much of it as tbl/messages.h promises. */
	enum verdict (*message)(struct conn *c, const struct msg *m, uint32_t *arg);
	/*
	 * One that wire_scan() does not take: only its type, its length and nothing of what the length promises can be relied
	 * on. framed: it has its place in the protocol, a name in it has no end. text: what is wrong.
	 */
	enum verdict (*malformed)(struct conn *c, const struct msg *m, bool framed, const char *text);
	/* Bytes that have no message form yet. Returns what was consumed; sets *need (bytes from p on) when it wants more. */
	size_t (*raw)(struct conn *c, const char *p, size_t n, size_t *need);
	/* The message of a V_LAST is on its way. */
	void (*done)(struct conn *c);
	/* All that was read is judged; what is put into relay_out() now goes in the same write. May be NULL. */
	void (*scanned)(struct conn *c);
	/* Nothing more will come: end of file (error 0) or a broken connection. */
	void (*gone)(struct conn *c, bool broken);
	/* Stream events other than bytes: connected, secured, failed. */
	void (*event)(struct conn *c, enum stream_event what);
	/* The absolute time at which deadline() must be called, 0: none. A pure function of the connection. */
	int64_t (*due)(const struct conn *c);
	/* due() has passed. */
	void (*deadline)(struct conn *c);
	/* What its state reads. A pure function of the connection, looked at by conn_settle(). */
	enum conn_reads (*reads)(const struct conn *c);
	/* Before its first byte is read; false: leave it in the socket (a TLS handshake has begun, or there is none yet). May be
	 * NULL. */
	bool (*fresh)(struct conn *c);
	/* It has closed while its state does not read; c->in holds what it said last, c->eof is set. */
	void (*hangup)(struct conn *c);
	/* It stood on the resume list, before its bytes are looked at. May be NULL. */
	void (*resumed)(struct conn *c);
	/* conn_close(): leave every list and link; the last words go into out. c->why is set, the stream still open. */
	void (*closing)(struct conn *c, const char *text);
	/* End of the turn: free what is left, c itself included. */
	void (*reap)(struct conn *c);
	/* For the log: both never NULL. */
	void (*names)(const struct conn *c, const char **database, const char **user);
};

/* First in struct client and struct server. */
struct conn {
	struct stream stream;
	struct pooler *pooler;
	const struct conn_ops *ops;
	struct conn *peer;	 /* the linked client or server */
	struct stmt *unnamed;	 /* a client's unnamed prepared statement, or that which a server has; a reference */
	struct counters *stats;	 /* where its bytes are counted, or NULL (clients) */
	TAILQ_ENTRY(conn) all;	 /* pooler->clients or ->servers */
	TAILQ_ENTRY(conn) todo;	 /* pooler->resume or ->closed */
	TAILQ_ENTRY(conn) flush; /* pooler->flush */
	struct buf in;		 /* read and not yet looked at */
	struct buf out;		 /* to be written before anything else */
	struct timer timer;
	uint64_t id;
	int64_t connected_us, request_us;
	struct addr remote;
	/* A client's batches, up to their Syncs, by number: the one that it sends, and the last ones that changed what ... */
	uint32_t batch;
	uint32_t names_batch;	/* ... names stand for or the server has prepared */
	uint32_t unnamed_parse; /* which Parse of the client's made conn.unnamed what it is; a server's: which it has */
	uint32_t unnamed_batch; /* ... the unnamed statement is */
	uint32_t left;		/* bytes of the current message that have not come yet */
	uint32_t need;		/* bytes in `in` before it is worth a look */
	uint8_t side, state;
	uint8_t why;			 /* enum close_why; 0 while it is open */
	uint8_t reads;			 /* enum conn_reads, of the state */
	bool skip : 1;			 /* the bytes that are left are dropped */
	bool blocked : 1;		 /* a write was short: nothing more until it is writable */
	bool resuming : 1, flushing : 1; /* stands on the list */
	uint8_t holds : 3;		 /* enum conn_holds */
	bool eof : 1;			 /* the peer has closed; `in` holds what it said last */
	bool mute : 1;			 /* writes to it fail: what is for it is dropped */
	bool torn : 1;			 /* out ends inside a message whose rest will not come */
	bool fresh : 1;			 /* nothing was read yet */
	uint8_t replication : 2;	 /* enum conn_replication */
	uint8_t minor : 2;		 /* it speaks protocol 3.minor */
	bool portal_commits : 1;	 /* a client's unnamed portal may end a transaction ... */
	uint8_t portal_ends : 2;	 /* enum request_ends: what a client's unnamed portal runs ... */
	uint8_t named_ends : 2;		 /* ... and the worst of what any with a name may run */
	bool portal_alters : 1;		 /* ... or change what names mean or how literals are read */
	bool replays : 1;		 /* failover_replay applies to this client ... */
	bool replayed : 1;		 /* ... whose request is run again already */
	bool writable : 1; /* a server that has said (in_hot_standby) that it is no standby, and cannot become one */
};

TAILQ_HEAD(conn_list, conn);

/* Is the program on its way out? */
enum shutdown { RUNNING, SHUTDOWN_WAIT_CLIENTS, SHUTDOWN_WAIT_SERVERS };

/* Everything that the connections share; one a process, in struct app. */
struct pooler {
	struct loop loop;
	struct registry registry;
	struct resolver *resolver;
	struct tls_ctx *client_tls; /* NULL: not offered */
	struct tls_ctx *server_tls; /* NULL: server_tls_sslmode is disable */
	struct conn_list clients, servers, cancels;
	unsigned n_clients, n_servers, n_cancels, n_logins;
	TAILQ_HEAD(, peer) peers; /* the other processes of its group */
	TAILQ_HEAD(, monitor) monitors;
	struct conn_list resume, flush, closed;
	struct relay_scan *scan; /* what is being looked at, relay.c */
	struct htab keys;	 /* struct cancel_key.node */
	TAILQ_HEAD(, listener) listeners;
	struct timer accept_again; /* back-off when no descriptor is left for clients */
	int clients_below; /* when so many are in use, besides the servers', no other client comes in; 0: no such limit */
	struct log_repeat said; /* lines of the log that may come again and again */
	const struct console_ops *console;
	void *console_ctx;
	/*
	 * NULL but in dialog tests: opens s (of a server or of a cancel request) to a host at an address (AF_UNIX: a unix
	 * socket), in place of stream_connect(). It calls stream_init_ops() with cb and arg and returns true: cb is told STREAM_CONNECTED or
	 * STREAM_FAILED in a later turn. Or it returns false with errno set, as stream_connect() does.
	 */
	bool (*connect_hook)(struct stream *s, const char *host, const struct addr *to, stream_cb *cb, void *arg,
		void *ctx);
	void *connect_ctx;
	uint64_t last_id;
	enum shutdown shutdown;
	struct secret_store random; /* for cancel keys and salts */
	uint8_t mock_key[32];	    /* for logins of users who do not exist */
	uint8_t key_secret[32];	    /* what long cancel keys are made with */
	char refused_name[28]; /* of a prepared statement that nobody has made, nor can guess: link_server_ops.refuse */
	/* Statistics of the whole process. */
	uint64_t closed_by[CLOSE_COUNT];
};

/* For the owners (client.c, server.c). */
void conn_init(struct conn *c, struct pooler *p, enum conn_side side, const struct conn_ops *ops);
/* The stream callback of every connection. arg is the conn. */
stream_cb conn_event;
/* After a change of state: interest and deadline anew. */
void conn_settle(struct conn *c);
/* For the relay: bytes could not be written, and never will be. */
void conn_write_failed(struct conn *c) __attribute__((cold));
/* Two connections become peers, or stop being so. The bytes of a message that was cut off are dropped from now on. */
void conn_link(struct conn *a, struct conn *b);
void conn_unlink(struct conn *c);

/*
 * Closes c: the first reason wins, the memory goes at the end of the turn. detail (may be NULL) takes the place of the
 * row's text, for the log and the peer alike. Safe at any depth; a closed one may be closed again.
 */
void conn_close(struct conn *c, enum close_why why, const char *detail) __attribute__((cold));
static inline bool conn_is_closed(const struct conn *c)
{
	return c->why != CLOSE_NONE;
}

/*
 * Are bytes of c wanted: by its state, and is there room where they go? A client that does not read its answers asks for
 * no more; a server that does not read may have an answer to tell before it does.
 */
static inline bool conn_wants_work(const struct conn *c)
{
	const struct conn *dst = c->peer;

	return c->reads != READS_NOTHING && !c->holds && !conn_is_closed(c) &&
	       (c->side == SIDE_SERVER || buf_len(&c->out) <= CONN_HIGH) &&
	       (!dst || (!dst->blocked && buf_len(&dst->out) <= CONN_HIGH));
}
/* The same, and is there something to read? */
static inline bool conn_wants_read(const struct conn *c)
{
	return !c->eof && conn_wants_work(c);
}
/* Says what c wants of its stream now. */
static inline void conn_interest(struct conn *c)
{
	if (!conn_is_closed(c) && stream_is_open(&c->stream))
		stream_want(&c->stream, conn_wants_read(c), c->blocked);
}

/* The same where its state still reads: one that is wanted for reading is told when it is not only by the next event. */
static inline void conn_stays_interested(struct conn *c)
{
	if (!c->stream.want_read)
		conn_interest(c);
}

/* Our own end of it; asked of the system, since hardly anybody wants to know. */
struct addr conn_local(const struct conn *c);
/* A log line with the connection's prefix: "C-0x7f...: db/user@host:port ". */
void conn_log(const struct conn *c, enum log_level level, const char *fmt, ...)
	__attribute__((cold, format(printf, 3, 4)));
/* The prefix alone. */
const char *conn_prefix(const struct conn *c, char *buf, size_t size);

#endif
