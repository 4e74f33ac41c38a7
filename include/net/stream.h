/*
 * stream: one descriptor, plain or TLS. Reads, writes, connects, and tells its
 * owner what happened with a handful of events. Nothing of libevent or OpenSSL
 * shows above this floor. It knows no protocol and owns no buffer.
 *
 * What the loop watches is derived from what the owner wants in one function
 * (stream_update) and lazily: a stream that is not wanted to be read keeps its
 * read event until one really arrives; only then the loop stops to watch for
 * bytes, and watches whether the peer goes away instead (loop->hangup_fd).
 */
#ifndef PSBOUNCER_NET_STREAM_H
#define PSBOUNCER_NET_STREAM_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

struct addr;
struct loop;
struct stream;

enum stream_event {
	STREAM_CONNECTED, /* the connect() that was begun has succeeded */
	STREAM_SECURED,	  /* the TLS handshake that was begun is done */
	STREAM_READABLE,  /* wanted, and there is something (or an end of file) to read */
	STREAM_WRITABLE,  /* wanted, and there is room */
	STREAM_HANGUP,	  /* reading is not wanted, and the peer has closed: told once */
	STREAM_FAILED	  /* connect or handshake failed: stream_error() says why */
};

typedef void stream_cb(struct stream *s, enum stream_event what, void *arg);

/* Results of reads and writes that are not a number of bytes. */
enum { STREAM_AGAIN = -1, STREAM_EOF = -2, STREAM_BROKEN = -3 };

/* The floor below a stream: a socket, TLS over a socket, or a test's memory. */
struct stream_ops {
	const char *name;
	ssize_t (*read)(struct stream *s, void *p, size_t n);
	ssize_t (*writev)(struct stream *s, const struct iovec *v, int n);
	/* May be NULL. Bytes that no event will announce (inside OpenSSL, or in a test's memory). */
	bool (*pending)(const struct stream *s);
	/* NULL where there is a socket that says it: has the peer closed? */
	bool (*left)(const struct stream *s);
	/* Watch what want_read / want_write say. */
	void (*update)(struct stream *s);
	/* Releases what the ops keep and the descriptor (a socket: stream_close_socket()). */
	void (*close)(struct stream *s);
	/* TLS only, in the phase STREAM_P_HANDSHAKING: goes on with it. 0: done; STREAM_AGAIN; STREAM_BROKEN. */
	int (*handshake)(struct stream *s);
	/* May be NULL. Text of the last failure; NULL when stream->error (errno) says it all. */
	const char *(*error)(const struct stream *s, char *buf, size_t size);
};

enum stream_phase { STREAM_P_CLOSED, STREAM_P_CONNECTING, STREAM_P_HANDSHAKING, STREAM_P_OPEN, STREAM_P_FAILED };

/* Embedded. The fields are the stream's own; owners use the functions. */
struct stream {
	struct event ev;
	struct loop *loop;
	const struct stream_ops *ops;
	void *under; /* SSL, or a test's memory */
	stream_cb *cb;
	void *arg;
	TAILQ_ENTRY(stream) ready;
	int fd;			/* -1: none */
	int error;		/* errno of the last failure */
	uint32_t tls_retry_len; /* bytes that the next TLS write must offer again at least */
	short armed;		/* EV_READ and EV_WRITE as libevent has them now */
	unsigned phase : 3;	/* enum stream_phase */
	unsigned want_read : 1;
	unsigned want_write : 1;
	unsigned on_ready : 2;	   /* 1: stands on loop->ready, 2: on loop->turn */
	unsigned peer_watched : 1; /* it is in loop->hangup_fd */
	unsigned peer_gone : 1;	   /* the peer has closed, at least its direction */
	unsigned hangup : 1;	   /* STREAM_HANGUP was told */
	unsigned tls_read_wants_write : 1;
	unsigned tls_write_wants_read : 1;
};

/*
 * An accepted descriptor (non-blocking, close-on-exec; the stream owns it from
 * here on). Nothing is wanted at first.
 */
void stream_init(struct stream *s, struct loop *l, int fd, stream_cb *cb, void *arg);
/* As stream_init() over other ops (tests); no descriptor. */
void stream_init_ops(struct stream *s, struct loop *l, const struct stream_ops *ops, void *under, stream_cb *cb,
	void *arg);

/*
 * Begins a connection; STREAM_CONNECTED or STREAM_FAILED follow, never from
 * inside the call. Returns false (errno) when not even that was possible.
 * stream_connect_unix takes a path, "@name" for the abstract name space.
 */
bool stream_connect(struct stream *s, struct loop *l, const struct addr *to, stream_cb *cb, void *arg)
	__attribute__((warn_unused_result));
bool stream_connect_unix(struct stream *s, struct loop *l, const char *path, stream_cb *cb, void *arg)
	__attribute__((warn_unused_result));

/* Socket options, in their units; 0 leaves the system's own. They do nothing to a unix socket. */
struct stream_tuning {
	int keepalive, keepcnt, keepidle_s, keepintvl_s, user_timeout_ms, socket_buffer;
};
void stream_tune(struct stream *s, const struct stream_tuning *t);
/* The same, and TCP_NODELAY, for a listening socket: those that it accepts inherit them. */
void stream_tune_socket(int fd, const struct stream_tuning *t);

/* What the owner wants to be told of. */
void stream_change_wants(struct stream *s, bool read, bool write); /* for stream_want() alone */
static inline void stream_want(struct stream *s, bool read, bool write)
{
	/* A stream that nothing is watched of may be wanted for nothing but its peer's end. */
	if (s->want_read != read || s->want_write != write || s->armed == 0)
		stream_change_wants(s, read, write);
}

/*
 * Up to n bytes into p: the number, STREAM_AGAIN, STREAM_EOF or STREAM_BROKEN.
 * A number below n means (plain) that the socket was empty.
 */
ssize_t stream_read(struct stream *s, void *p, size_t n) __attribute__((warn_unused_result));
/*
 * Writes from the pieces: the number of bytes taken (TLS: at most 16 KB), or
 * STREAM_AGAIN, or STREAM_BROKEN. After STREAM_AGAIN on TLS the next call must
 * offer the same bytes first: nothing may be put in front of them.
 */
ssize_t stream_writev(struct stream *s, const struct iovec *v, int n) __attribute__((warn_unused_result));

/* Has STREAM_READABLE told again in this or the next turn without an event of the socket (more than a turn's share was there). */
void stream_again(struct stream *s);

/* An errno: the system has no descriptor or no memory for another socket, whoever it was to lead to. */
bool stream_is_out_of(int error);

/* Text of the last failure, in buf or static. */
const char *stream_error(const struct stream *s, char *buf, size_t size);

/* Connected, and no handshake is under way: it can be read and written. */
static inline bool stream_is_open(const struct stream *s)
{
	return s->phase == STREAM_P_OPEN;
}
/* ops->name is "tls". */
bool stream_is_tls(const struct stream *s);
/* Is there something unread in the socket or in OpenSSL? (Before a handshake there must not be.) */
bool stream_has_unread(const struct stream *s);
/* Has the peer closed, or is the connection broken, whatever is still to be read, and before an event has told of it? */
bool stream_has_left(const struct stream *s);

/*
 * The first unread byte of a socket without reading it; STREAM_AGAIN: there is none yet; STREAM_EOF: none will come, it is
 * broken, or it is no plain socket, and a read says what is to be known.
 */
int stream_peek(const struct stream *s);
/* The address of our own end; false when there is no socket. */
bool stream_local(const struct stream *s, struct addr *out);

/* event_del() first, then close(); TLS sends close_notify when it may. The stream can be initialised again. */
void stream_close(struct stream *s);

/*
 * For ops (the socket's, TLS's, a test's): run what an event means for the
 * stream's phase. readable/writable/closed as the poller said; none of them may
 * be trusted: a READABLE or WRITABLE that finds STREAM_AGAIN is normal.
 */
void stream_dispatch(struct stream *s, bool readable, bool writable, bool closed);
/* For ops: the interest of a socket, derived from the phase, the wants and the tls_ bits. */
void stream_update(struct stream *s);
/* For the loop: the stream's turn on the ready list has come. */
void stream_run_ready(struct stream *s);
/* For the loop: hangup_fd has told of it, which it does once. */
void stream_hung_up(struct stream *s);
/* For ops over a socket: event_del() first, then close(); fd is -1 after it. */
void stream_close_socket(struct stream *s);

#endif
