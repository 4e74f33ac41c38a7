/*
 * stream: owns a descriptor and what libevent watches of it. Clients, servers
 * and cancel requests are its owners; TLS (net/tls) lies between it and the
 * socket through stream_ops. It knows no protocol, no buffer and no deadline.
 */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/loop.h"

/* sendmsg() takes no more pieces at once (IOV_MAX). */
enum { PIECES_MAX = 1024 };

/* ---- the ready list ------------------------------------------------------------ */

static void ready_add(struct stream *s)
{
	if (s->on_ready)
		return;
	TAILQ_INSERT_TAIL(&s->loop->ready, s, ready);
	s->on_ready = 1;
}

static void ready_remove(struct stream *s)
{
	if (s->on_ready == 1)
		TAILQ_REMOVE(&s->loop->ready, s, ready);
	else if (s->on_ready == 2)
		TAILQ_REMOVE(&s->loop->turn, s, ready);
	s->on_ready = 0;
}

/* No event of the socket announces what lies above it already. */
static void ready_if_pending(struct stream *s)
{
	if (s->phase == STREAM_P_OPEN && s->want_read && s->ops->pending != NULL && s->ops->pending(s))
		ready_add(s);
}

void stream_again(struct stream *s)
{
	if (s->phase != STREAM_P_CLOSED)
		ready_add(s);
}

/* ---- what is watched ----------------------------------------------------------- */

static __attribute__((noinline)) short interest_amid(const struct stream *s)
{
	short mask = 0;

	switch ((enum stream_phase)s->phase) {
	case STREAM_P_CONNECTING: return EV_WRITE;
	case STREAM_P_HANDSHAKING: return s->tls_read_wants_write ? EV_WRITE : EV_READ;
	case STREAM_P_OPEN: break;
	case STREAM_P_CLOSED:
	case STREAM_P_FAILED: return 0;
	}
	if (s->want_read)
		mask |= s->tls_read_wants_write ? EV_WRITE : EV_READ;
	if (s->want_write)
		mask |= s->tls_write_wants_read ? EV_READ : EV_WRITE;
	return mask;
}

/* What the phase and the wants ask for, nothing kept from before. */
static inline short interest(const struct stream *s)
{
	/* Called twice an event, nearly always for one of these. */
	if (s->phase == STREAM_P_OPEN && !s->tls_read_wants_write && !s->tls_write_wants_read)
		return (short)((s->want_read ? EV_READ : 0) | (s->want_write ? EV_WRITE : 0));
	return interest_amid(s);
}

static bool watchable(const struct stream *s)
{
	return s->fd >= 0 && s->loop->base != NULL;
}

static void on_event(evutil_socket_t fd, short what, void *arg);

static void arm(struct stream *s, short mask)
{
	if (mask == s->armed || !watchable(s))
		return;
	if (s->armed != 0)
		event_del(&s->ev);
	s->armed = mask;
	if (mask == 0)
		return;
	event_assign(&s->ev, s->loop->base, s->fd, (short)(mask | EV_PERSIST), on_event, s);
	event_add(&s->ev, NULL);
}

/* Nobody would read the end of the stream: have it told. */
static void watch_peer(struct stream *s)
{
	struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = s};

	if (s->peer_gone)
		ready_add(s); /* it was told while it did not matter */
	else if (!s->peer_watched)
		s->peer_watched = epoll_ctl(s->loop->hangup_fd, EPOLL_CTL_ADD, s->fd, &e) == 0;
}

static void update(struct stream *s, short need)
{
	if (!watchable(s))
		return;
	/* What is armed and not needed stays until it is called in vain (on_event), reading even beyond a change. */
	if (need & ~s->armed)
		arm(s, need | (s->armed & EV_READ));
	if (s->phase == STREAM_P_OPEN && !s->want_read && !s->hangup && !(s->armed & EV_READ))
		watch_peer(s);
}

void stream_update(struct stream *s)
{
	update(s, interest(s));
}

/* ---- what an event means ------------------------------------------------------- */

static void fail(struct stream *s)
{
	s->phase = STREAM_P_FAILED;
	arm(s, 0);
	s->cb(s, STREAM_FAILED, s->arg);
}

static void finish_connect(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error != 0) {
		s->error = error;
		fail(s);
		return;
	}
	s->phase = STREAM_P_OPEN;
	s->cb(s, STREAM_CONNECTED, s->arg);
}

static void go_on_handshake(struct stream *s)
{
	int result = s->ops->handshake(s);

	if (result == STREAM_AGAIN) {
		s->ops->update(s);
		return;
	}
	s->tls_read_wants_write = s->tls_write_wants_read = 0;
	if (result != 0) {
		fail(s);
		return;
	}
	s->phase = STREAM_P_OPEN;
	s->cb(s, STREAM_SECURED, s->arg);
	ready_if_pending(s);
}

/* After each callback the stream may be closed, or a new connection may have begun on it. */
static void dispatch_open(struct stream *s, bool readable, bool writable, bool closed)
{
	bool can_read = s->tls_read_wants_write ? writable : readable;
	bool can_write = s->tls_write_wants_read ? readable : writable;

	if (closed)
		s->peer_gone = 1;
	if (s->want_read && (can_read || closed))
		s->cb(s, STREAM_READABLE, s->arg);
	if (s->phase == STREAM_P_OPEN && s->want_write && can_write)
		s->cb(s, STREAM_WRITABLE, s->arg);
	if (s->phase == STREAM_P_OPEN && s->peer_gone && !s->want_read && !s->hangup) {
		s->hangup = 1;
		s->cb(s, STREAM_HANGUP, s->arg);
	}
	ready_if_pending(s);
}

void stream_dispatch(struct stream *s, bool readable, bool writable, bool closed)
{
	switch ((enum stream_phase)s->phase) {
	case STREAM_P_CONNECTING: finish_connect(s); break;
	case STREAM_P_HANDSHAKING: go_on_handshake(s); break;
	case STREAM_P_OPEN: dispatch_open(s, readable, writable, closed); break;
	case STREAM_P_CLOSED:
	case STREAM_P_FAILED: break;
	}
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;
	short before = interest(s), after;

	(void)fd;
	loop_callback(s->loop);
	stream_dispatch(s, what & EV_READ, what & EV_WRITE, false);
	after = interest(s);
	/* Not when it was wanted until a moment ago: it may be again before anything happens. */
	if (what & ~before & ~after & (EV_READ | EV_WRITE))
		arm(s, after);
	update(s, after);
}

void stream_run_ready(struct stream *s)
{
	bool open = s->phase == STREAM_P_OPEN;

	ready_remove(s);
	stream_dispatch(s, true, !open, false);
	stream_update(s);
}

void stream_hung_up(struct stream *s)
{
	s->peer_gone = 1;
	/* When reading is wanted, the end of the stream is read. */
	if (s->phase == STREAM_P_OPEN)
		dispatch_open(s, false, false, false);
	stream_update(s);
}

/* ---- the socket ---------------------------------------------------------------- */

static ssize_t result_of(struct stream *s, ssize_t n)
{
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return STREAM_AGAIN;
	s->error = errno;
	return STREAM_BROKEN;
}

static ssize_t socket_read(struct stream *s, void *p, size_t n)
{
	ssize_t got;

	do
		got = recv(s->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	return got == 0 && n > 0 ? STREAM_EOF : result_of(s, got);
}

/* Joins what is short: sendmsg() costs more than send() and a copy of this many bytes. */
static __attribute__((noinline)) ssize_t send_pieces(int fd, const struct iovec *v, int n)
{
	struct msghdr m = {.msg_iovlen = n < PIECES_MAX ? (size_t)n : PIECES_MAX};
	char joined[1024];
	size_t len = 0;
	int i = 0;

	for (; i < n && v[i].iov_len <= sizeof joined - len; i++) {
		memcpy(joined + len, v[i].iov_base, v[i].iov_len);
		len += v[i].iov_len;
	}
	if (i == n)
		return send(fd, joined, len, MSG_NOSIGNAL);
	m.msg_iov = (struct iovec *)(uintptr_t)v;
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static ssize_t socket_writev(struct stream *s, const struct iovec *v, int n)
{
	ssize_t sent;

	do /* one piece is the common case, and send() the cheaper call */
		sent = n == 1 ? send(s->fd, v[0].iov_base, v[0].iov_len, MSG_NOSIGNAL) : send_pieces(s->fd, v, n);
	while (sent < 0 && errno == EINTR);
	return result_of(s, sent);
}

void stream_close_socket(struct stream *s)
{
	if (s->armed != 0)
		event_del(&s->ev);
	s->armed = 0;
	/* close() would do it as well, unless another process has the descriptor, too. */
	if (s->peer_watched)
		epoll_ctl(s->loop->hangup_fd, EPOLL_CTL_DEL, s->fd, NULL);
	s->peer_watched = 0;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static const struct stream_ops socket_ops = {
	.name = "socket",
	.read = socket_read,
	.writev = socket_writev,
	.update = stream_update,
	.close = stream_close_socket,
};

/* ---- beginning and end --------------------------------------------------------- */

static void set_option(int fd, int level, int name, int value)
{
	/* A system that does not know the option works without it. */
	(void)setsockopt(fd, level, name, &value, sizeof value);
}

void stream_init_ops(struct stream *s, struct loop *l, const struct stream_ops *ops, void *under, stream_cb *cb,
	void *arg)
{
	*s = (struct stream){
		.loop = l,
		.ops = ops,
		.under = under,
		.cb = cb,
		.arg = arg,
		.fd = -1,
		.phase = STREAM_P_OPEN,
	};
}

void stream_init(struct stream *s, struct loop *l, int fd, stream_cb *cb, void *arg)
{
	stream_init_ops(s, l, &socket_ops, NULL, cb, arg);
	s->fd = fd;
}

static bool begin_connect(struct stream *s, struct loop *l, const struct sockaddr *sa, socklen_t len, stream_cb *cb,
	void *arg)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result, saved;

	if (fd < 0)
		return false;
	if (sa->sa_family != AF_UNIX)
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	result = connect(fd, sa, len);
	if (result != 0 && errno != EINPROGRESS && errno != EINTR) {
		saved = errno;
		close(fd);
		errno = saved;
		return false;
	}
	stream_init_ops(s, l, &socket_ops, NULL, cb, arg);
	s->fd = fd;
	s->phase = STREAM_P_CONNECTING;
	if (result == 0)
		ready_add(s);
	else
		stream_update(s);
	return true;
}

bool stream_connect(struct stream *s, struct loop *l, const struct addr *to, stream_cb *cb, void *arg)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(to, &ss);

	return begin_connect(s, l, (struct sockaddr *)&ss, len, cb, arg);
}

bool stream_connect_unix(struct stream *s, struct loop *l, const char *path, stream_cb *cb, void *arg)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t n = strlen(path);

	if (n >= sizeof un.sun_path) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(un.sun_path, path, n);
	n += offsetof(struct sockaddr_un, sun_path);
	if (path[0] == '@')
		un.sun_path[0] = '\0'; /* abstract: the length counts, not a NUL */
	else
		n++;
	return begin_connect(s, l, (struct sockaddr *)&un, (socklen_t)n, cb, arg);
}

void stream_tune(struct stream *s, const struct stream_tuning *t)
{
	stream_tune_socket(s->fd, t);
}

void stream_tune_socket(int fd, const struct stream_tuning *t)
{
	int domain = AF_UNIX;
	socklen_t len = sizeof domain;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain == AF_UNIX)
		return;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (t->keepalive)
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (t->keepalive && t->keepcnt > 0)
		set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, t->keepcnt);
	if (t->keepalive && t->keepidle_s > 0)
		set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, t->keepidle_s);
	if (t->keepalive && t->keepintvl_s > 0)
		set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, t->keepintvl_s);
	if (t->user_timeout_ms > 0)
		set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, t->user_timeout_ms);
	if (t->socket_buffer > 0) {
		set_option(fd, SOL_SOCKET, SO_SNDBUF, t->socket_buffer);
		set_option(fd, SOL_SOCKET, SO_RCVBUF, t->socket_buffer);
	}
}

void stream_close(struct stream *s)
{
	if (s->phase == STREAM_P_CLOSED)
		return;
	ready_remove(s);
	arm(s, 0);
	s->ops->close(s);
	s->phase = STREAM_P_CLOSED;
	s->want_read = s->want_write = 0;
}

/* ---- what owners call ---------------------------------------------------------- */

void stream_change_wants(struct stream *s, bool read, bool write)
{
	if (s->phase == STREAM_P_CLOSED)
		return;
	s->want_read = read;
	s->want_write = write;
	s->ops->update(s);
	ready_if_pending(s);
}

ssize_t stream_read(struct stream *s, void *p, size_t n)
{
	assert(s->phase == STREAM_P_OPEN);
	return s->ops->read(s, p, n);
}

ssize_t stream_writev(struct stream *s, const struct iovec *v, int n)
{
	assert(s->phase == STREAM_P_OPEN);
	return s->ops->writev(s, v, n);
}

bool stream_is_out_of(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

const char *stream_error(const struct stream *s, char *buf, size_t size)
{
	const char *text = s->ops->error != NULL ? s->ops->error(s, buf, size) : NULL;

	if (text != NULL)
		return text;
	return s->error != 0 ? strerror_r(s->error, buf, size) : "connection closed";
}

bool stream_is_tls(const struct stream *s)
{
	return strcmp(s->ops->name, "tls") == 0;
}

bool stream_has_unread(const struct stream *s)
{
	int n = 0;

	if (s->ops->pending != NULL && s->ops->pending(s))
		return true;
	return s->fd >= 0 && ioctl(s->fd, FIONREAD, &n) == 0 && n > 0;
}

bool stream_has_left(const struct stream *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLRDHUP};

	if (s->ops->left != NULL)
		return s->ops->left(s);
	return poll(&p, 1, 0) == 1 && p.revents != 0;
}

int stream_peek(const struct stream *s)
{
	unsigned char byte;
	ssize_t n;

	if (s->fd < 0 || stream_is_tls(s))
		return STREAM_EOF;
	n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n == 1)
		return byte;
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? STREAM_AGAIN : STREAM_EOF;
}

bool stream_local(const struct stream *s, struct addr *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (s->phase == STREAM_P_CLOSED || s->fd < 0 || getsockname(s->fd, (struct sockaddr *)&ss, &len) < 0)
		return false;
	*out = addr_from_sockaddr((const struct sockaddr *)&ss, len);
	return true;
}
