/*
 * listener.c: see conn/listener.h.
 */
#include "conn/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "conn/client.h"
#include "conn/conn.h"

enum { ACCEPT_MOST = 64, ACCEPT_PROBE = 16, FIRST_INHERITED = 3 };

struct listener {
	struct event ev;
	struct pooler *pooler;
	TAILQ_ENTRY(listener) link;
	int fd;
	int batch; /* how many accept() is asked for at the next event */
	int full;  /* events in a row at which all of these were there */
	struct addr addr;
	char *path; /* of a socket file to be removed at the end, or NULL */
};

/* ---- accepting ------------------------------------------------------------------- */

static void listener_pause(struct pooler *p, const char *why)
{
	struct listener *l;

	log_repeated(&p->said, LL_WARNING, "%s: no new clients for a second", why);
	TAILQ_FOREACH (l, &p->listeners, link)
		event_del(&l->ev);
	timer_set(&p->loop.timers, &p->accept_again, clock_us() + USEC);
}

/* The rest is for servers: clients that have not even logged in must not keep them from coming. */
static bool listener_may_take(const struct pooler *p, int fd)
{
	return !p->clients_below || fd - (int)p->n_servers < p->clients_below;
}

/* A new descriptor has the lowest number that is free. */
static bool listener_has_room(const struct pooler *p)
{
	int fd = fcntl(TAILQ_FIRST(&p->listeners)->fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0 && listener_may_take(p, fd);
}

static void listener_go_on(struct timer *t, void *ctx)
{
	struct pooler *p = container_of(t, struct pooler, accept_again);
	struct listener *l;

	(void)ctx;
	if (TAILQ_EMPTY(&p->listeners))
		return;
	if (!listener_has_room(p)) {
		timer_set(&p->loop.timers, &p->accept_again, clock_us() + USEC);
		return;
	}
	TAILQ_FOREACH (l, &p->listeners, link)
		event_add(&l->ev, NULL);
}

/* Accepted sockets inherit what is set here. */
static void listener_tune(const struct pooler *p, int fd)
{
	const struct settings *s = &p->registry.config->set;
	struct stream_tuning t = {
		.keepalive = s->tcp_keepalive,
		.keepcnt = (int)s->tcp_keepcnt,
		.keepidle_s = (int)s->tcp_keepidle,
		.keepintvl_s = (int)s->tcp_keepintvl,
		.user_timeout_ms = (int)s->tcp_user_timeout,
		.socket_buffer = (int)s->tcp_socket_buffer,
	};

	int seconds = (int)s->tcp_defer_accept;

	stream_tune_socket(fd, &t);
	if (seconds)
		setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
}

/* What another configuration has set, as a new socket has it. That its buffers grow by themselves does not come back. */
static void listener_untune(int fd)
{
	static const struct {
		int level, name;
	} options[] = {{SOL_SOCKET, SO_KEEPALIVE}, {IPPROTO_TCP, TCP_KEEPCNT}, {IPPROTO_TCP, TCP_KEEPIDLE},
		{IPPROTO_TCP, TCP_KEEPINTVL}, {IPPROTO_TCP, TCP_USER_TIMEOUT}, {IPPROTO_TCP, TCP_DEFER_ACCEPT}};
	int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), value;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		socklen_t n = sizeof(value);

		if (!getsockopt(fresh, options[i].level, options[i].name, &value, &n))
			setsockopt(fd, options[i].level, options[i].name, &value, n);
	}
	if (fresh >= 0)
		close(fresh);
}

void listener_configure(struct pooler *p)
{
	struct listener *l;

	TAILQ_FOREACH (l, &p->listeners, link) {
		listener_untune(l->fd);
		listener_tune(p, l->fd);
	}
}

static struct addr listener_peer(const struct listener *l, int fd, const struct sockaddr_storage *ss, socklen_t len)
{
	struct addr a = addr_from_sockaddr((const struct sockaddr *)ss, len);
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (l->addr.family != AF_UNIX)
		return a;
	a = (struct addr){.family = AF_UNIX, .port = l->addr.port, .u.local = {.uid = UINT32_MAX}};
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n)) {
		a.u.local.pid = cred.pid;
		a.u.local.uid = cred.uid;
	}
	return a;
}

/*
 * The event comes again for as long as somebody waits. So accept() need not be asked until it says that there is nobody:
 * an event is good for one client. That more wait is tried now and then, and found out in a crowd: behind events at which
 * all that were asked for were there, the next one is for twice as many.
 */
static void listener_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	struct pooler *p = l->pooler;
	bool deferred = l->addr.family != AF_UNIX && p->registry.config->set.tcp_defer_accept;
	struct client *cl;
	char text[200];

	(void)what;
	loop_callback(&p->loop);
	for (int left = l->batch; left > 0; left--) {
		struct sockaddr_storage ss;
		struct addr remote;
		socklen_t len = sizeof(ss);
		int new = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (new < 0 && stream_is_out_of(errno)) {
			snprintf(text, sizeof(text), "accept() failed: %s", strerror(errno));
			listener_pause(p, text);
		}
		if (new < 0) {
			l->batch = 1;
			l->full = 0;
			return;
		}
		remote = listener_peer(l, new, &ss, len);
		cl = client_new(p, new, &remote);
		if (deferred) /* its first bytes are there: no need to wait for an event */
			stream_again(&cl->c.stream);
		if (!listener_may_take(p, new)) {
			listener_pause(p, "the descriptors that are left are for servers");
			l->batch = 1;
			l->full = 0;
			return;
		}
	}
	if (++l->full >= ACCEPT_PROBE && l->batch < ACCEPT_MOST)
		l->batch *= 2;
}

/* ---- opening ------------------------------------------------------------------------ */

static void listener_add(struct pooler *p, int fd, const struct addr *a, const char *path)
{
	struct listener *l = xcalloc(MEM_MISC, 1, sizeof(*l));
	char text[ADDR_TEXT];

	l->pooler = p;
	l->fd = fd;
	l->batch = 1;
	l->addr = *a;
	l->path = path ? xstrdup(MEM_MISC, path) : NULL;
	listener_tune(p, fd);
	event_assign(&l->ev, p->loop.base, fd, EV_READ | EV_PERSIST, listener_accept, l);
	event_add(&l->ev, NULL);
	p->accept_again.fire = listener_go_on;
	TAILQ_INSERT_TAIL(&p->listeners, l, link);
	log_msg(LL_LOG, "listening on %s", path ? path : addr_text(a, text));
}

static int listener_socket(int family, const struct sockaddr *sa, socklen_t len, const struct settings *set)
{
	int on = 1, fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (!bind(fd, sa, len) && !listen(fd, (int)set->listen_backlog))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static bool listener_open_tcp(struct pooler *p, const char *host, struct errs *errs)
{
	const struct settings *set = &p->registry.config->set;
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM}, *list, *ai;
	bool any = !strcmp(host, "*"), opened = false;
	char port[8], text[ADDR_TEXT];
	int rc;

	if (any)
		hints.ai_flags = AI_PASSIVE;
	snprintf(port, sizeof(port), "%d", (int)set->listen_port);
	rc = getaddrinfo(any ? NULL : host, port, &hints, &list);
	if (rc) {
		errs_add(errs, NULL, 0, "listen_addr: cannot resolve \"%s\": %s", host, gai_strerror(rc));
		return false;
	}
	for (ai = list; ai; ai = ai->ai_next) {
		struct addr a = addr_from_sockaddr(ai->ai_addr, ai->ai_addrlen);
		int fd = listener_socket(ai->ai_family, ai->ai_addr, ai->ai_addrlen, set);

		if (fd >= 0) {
			listener_add(p, fd, &a, NULL);
			opened = true;
		} else if (errno != EAFNOSUPPORT && !(any && ai->ai_family == AF_INET6 && errno == EADDRNOTAVAIL)) {
			errs_add(errs, NULL, 0, "cannot listen on %s: %s", addr_text(&a, text), strerror(errno));
		}
	}
	freeaddrinfo(list);
	if (!opened && !errs->total)
		errs_add(errs, NULL, 0, "listen_addr: no address of \"%s\" can be listened on", host);
	return opened;
}

static size_t listener_unix_name(const struct settings *set, struct sockaddr_un *un)
{
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path, sizeof(un->sun_path), "%s/.s.PGSQL.%d", set->unix_socket_dir, (int)set->listen_port);
	if (n < 0 || (size_t)n >= sizeof(un->sun_path))
		return 0;
	if (un->sun_path[0] == '@')
		un->sun_path[0] = '\0';
	return offsetof(struct sockaddr_un, sun_path) + (size_t)n + (un->sun_path[0] ? 1 : 0);
}

/* The file's mode and group. They say who may connect, so a failure is one of the start. */
static bool listener_set_rights(const struct settings *set, const char *path, struct errs *errs)
{
	struct group *g = NULL;
	char *end;
	gid_t gid = (gid_t)-1;

	if (chmod(path, (mode_t)set->unix_socket_mode) < 0) {
		errs_add(errs, NULL, 0, "cannot set the mode of \"%s\": %s", path, strerror(errno));
		return false;
	}
	if (!set->unix_socket_group[0])
		return true;
	g = getgrnam(set->unix_socket_group);
	if (g)
		gid = g->gr_gid;
	else
		gid = (gid_t)strtoul(set->unix_socket_group, &end, 10);
	if ((!g && *end) || chown(path, (uid_t)-1, gid) < 0) {
		errs_add(errs, NULL, 0, "cannot give \"%s\" to unix_socket_group \"%s\"", path, set->unix_socket_group);
		return false;
	}
	return true;
}

static bool listener_open_unix(struct pooler *p, struct errs *errs)
{
	const struct settings *set = &p->registry.config->set;
	struct addr a = {.family = AF_UNIX, .port = (uint16_t)set->listen_port};
	struct sockaddr_un un;
	socklen_t len = (socklen_t)listener_unix_name(set, &un);
	int fd;

	if (!len) {
		errs_add(errs, NULL, 0, "unix_socket_dir: the path is too long");
		return false;
	}
	if (un.sun_path[0])
		unlink(un.sun_path);
	fd = listener_socket(AF_UNIX, (struct sockaddr *)&un, len, set);
	if (fd < 0) {
		errs_add(errs, NULL, 0, "cannot listen in unix_socket_dir \"%s\": %s", set->unix_socket_dir,
			strerror(errno));
		return false;
	}
	listener_add(p, fd, &a, un.sun_path[0] ? un.sun_path : NULL);
	return !un.sun_path[0] || listener_set_rights(set, un.sun_path, errs);
}

static bool listener_inherit(struct pooler *p, int fd, struct errs *errs)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct addr a;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
		errs_add(errs, NULL, 0, "descriptor %d, which was handed over, is no socket: %s", fd, strerror(errno));
		return false;
	}
	a = addr_from_sockaddr((struct sockaddr *)&ss, len);
	if (ss.ss_family == AF_UNIX)
		a = (struct addr){.family = AF_UNIX, .port = (uint16_t)p->registry.config->set.listen_port};
	evutil_make_socket_nonblocking(fd);
	evutil_make_socket_closeonexec(fd);
	listener_add(p, fd, &a, NULL);
	return true;
}

static void listener_warn_of_unused(const struct config *c)
{
	static const enum param_id unused[] = {PARAM_listen_addr, PARAM_unix_socket_dir};

	for (size_t i = 0; i < sizeof(unused) / sizeof(unused[0]); i++)
		if (c->origin[unused[i]].file)
			log_msg(LL_WARNING, "%s is not used: sockets were handed over (LISTEN_FDS)",
				param_table[unused[i]].name);
}

bool listener_open_all(struct pooler *p, int n_inherited, struct errs *errs)
{
	const struct settings *set = &p->registry.config->set;
	char *list, *save = NULL, *word;
	bool ok = true;

	for (int i = 0; i < n_inherited; i++)
		ok = listener_inherit(p, FIRST_INHERITED + i, errs) && ok;
	if (n_inherited) {
		listener_warn_of_unused(p->registry.config);
		return ok;
	}
	list = xstrdup(MEM_MISC, set->listen_addr);
	for (word = strtok_r(list, ", \t", &save); word; word = strtok_r(NULL, ", \t", &save))
		ok = listener_open_tcp(p, word, errs) && ok;
	xfree(MEM_MISC, list);
	if (set->unix_socket_dir[0])
		ok = listener_open_unix(p, errs) && ok;
	if (ok && TAILQ_EMPTY(&p->listeners)) {
		errs_add(errs, NULL, 0, "nowhere to listen: neither listen_addr nor unix_socket_dir is set");
		ok = false;
	}
	return ok;
}

/* ---- closing ---------------------------------------------------------------------------- */

static void listener_close(struct pooler *p, struct listener *l)
{
	TAILQ_REMOVE(&p->listeners, l, link);
	event_del(&l->ev);
	close(l->fd);
	if (l->path)
		unlink(l->path);
	xfree(MEM_MISC, l->path);
	xfree(MEM_MISC, l);
}

void listener_close_tcp(struct pooler *p)
{
	struct listener *l, *next;

	for (l = TAILQ_FIRST(&p->listeners); l; l = next) {
		next = TAILQ_NEXT(l, link);
		if (l->addr.family != AF_UNIX)
			listener_close(p, l);
	}
}

void listener_close_all(struct pooler *p)
{
	struct listener *l;

	while ((l = TAILQ_FIRST(&p->listeners)))
		listener_close(p, l);
	timer_cancel(&p->loop.timers, &p->accept_again);
}

bool listener_is_taken(const struct config *c)
{
	struct sockaddr_un un;
	socklen_t len;
	bool taken;
	int fd;

	if (!c->set.unix_socket_dir[0] || !(len = (socklen_t)listener_unix_name(&c->set, &un)))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	taken = !connect(fd, (struct sockaddr *)&un, len);
	close(fd);
	return taken;
}
