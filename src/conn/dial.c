/*
 * dial.c: see conn/dial.h. Its owner hands it the stream's events until it is
 * done; a failed address is followed by the next one at once.
 */
#include "conn/dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "conn/relay.h"
#include "net/tls.h"
#include "pool/endpoint.h"
#include "pool/topology.h"
#include "proto/msgw.h"

/* An address behind which there are others is not waited for any longer: a second SYN has gone out by then. */
static const int64_t address_patience_us = 3 * USEC;

static void dial_next(struct dial *d);

static void dial_finish(struct dial *d, bool ok)
{
	if (!ok && stream_is_open(&d->c->stream))
		stream_close(&d->c->stream);
	tls_ctx_unref(&d->tls);
	d->phase = ok ? DIAL_DONE : DIAL_FAILED;
	d->done(d->c, ok, ok ? NULL : d->why);
}

static const char *dial_folder(const struct dial *d)
{
	return d->endpoint->host[0] ? d->endpoint->host : d->c->pooler->registry.config->set.unix_socket_dir;
}

static void dial_say(struct dial *d, const char *what, const char *why)
{
	char text[ADDR_TEXT];

	if (endpoint_is_local(d->endpoint))
		snprintf(d->why, sizeof(d->why), "%s to %s/.s.PGSQL.%u: %s", what, dial_folder(d), d->endpoint->port,
			why);
	else
		snprintf(d->why, sizeof(d->why), "%s to %s: %s", what, addr_text(&d->c->remote, text), why);
}

/* This address is no good: the next one, or the end. */
static void dial_failed(struct dial *d, const char *what, const char *why)
{
	d->ours = false;
	dial_say(d, what, why);
	stream_close(&d->c->stream);
	buf_free(&d->c->out);
	buf_free(&d->c->in);
	d->c->need = 0;
	d->c->blocked = false;
	dial_next(d);
}

/*
 * The first check of an idle connection comes after 5 s, and with the fifth that is not answered it is over. Not
 * tcp_user_timeout: it also ends a connection whose peer is there and only does not read for a while.
 */
static void tuning_alert(const struct config *c, struct stream_tuning *t)
{
	const struct {
		enum param_id id;
		int *field, value;
	} all[] = {{PARAM_tcp_keepidle, &t->keepidle_s, 5}, {PARAM_tcp_keepintvl, &t->keepintvl_s, 1},
		{PARAM_tcp_keepcnt, &t->keepcnt, 5}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!config_is_set(c, all[i].id))
			*all[i].field = all[i].value;
}

struct stream_tuning dial_tuning(const struct config *c, bool alert)
{
	const struct settings *set = &c->set;
	struct stream_tuning t = {
		.keepalive = set->tcp_keepalive,
		.keepcnt = (int)set->tcp_keepcnt,
		.keepidle_s = (int)set->tcp_keepidle,
		.keepintvl_s = (int)set->tcp_keepintvl,
		.user_timeout_ms = (int)set->tcp_user_timeout,
		.socket_buffer = (int)set->tcp_socket_buffer,
	};

	if (alert)
		tuning_alert(c, &t);
	return t;
}

static bool dial_connect_local(struct dial *d)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int n = snprintf(path, sizeof(path), "%s/.s.PGSQL.%u", dial_folder(d), d->endpoint->port);

	if (n < 0 || (size_t)n >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	return stream_connect_unix(&d->c->stream, &d->c->pooler->loop, path, conn_event, d->c);
}

static bool dial_connect(struct dial *d)
{
	struct pooler *p = d->c->pooler;

	d->c->remote = endpoint_is_local(d->endpoint) ? (struct addr){.family = AF_UNIX} : d->addrs[d->next];
	d->c->remote.port = d->endpoint->port;
	d->next++;
	if (p->connect_hook)
		return p->connect_hook(&d->c->stream, d->endpoint->host, &d->c->remote, conn_event, d->c,
			p->connect_ctx);
	if (endpoint_is_local(d->endpoint))
		return dial_connect_local(d);
	return stream_connect(&d->c->stream, &p->loop, &d->c->remote, conn_event, d->c);
}

/* When this address is silent for too long: those behind it are to have as much. Not where it is to stay, which comes first. */
static int64_t dial_share(const struct dial *d, size_t left)
{
	int64_t now = clock_us(), share = address_patience_us;

	if (left <= 1)
		return 0;
	if (d->until_us && (d->until_us - now) / (int64_t)left < share)
		share = (d->until_us - now) / (int64_t)left;
	return now + share;
}

static void dial_next(struct dial *d)
{
	size_t n = d->n ? d->n : 1;

	while (d->next < n) {
		d->phase = DIAL_CONNECT;
		d->due_us = d->next == 0 && d->stay.family != AF_UNSPEC ? 0 : dial_share(d, n - d->next);
		if (dial_connect(d)) {
			conn_settle(d->c);
			return;
		}
		d->ours = stream_is_out_of(errno);
		dial_say(d, "connect", strerror(errno));
		if (d->ours)
			break;
	}
	dial_finish(d, false);
}

/* Where it is to stay comes first; a name server that does not answer changes nothing. */
static void dial_stay(struct dial *d)
{
	size_t i = 0;

	while (i < d->n && !addr_equal(&d->addrs[i], &d->stay))
		i++;
	if (i < d->n)
		d->addrs[i] = d->addrs[0];
	else if (d->n)
		return;
	else
		d->n = 1;
	d->addrs[0] = d->stay;
}

static void dial_take(struct dial *d, const struct addr *addrs, size_t n, const char *error)
{
	d->n = n;
	if (n) {
		memcpy(d->addrs, addrs, n * sizeof(*addrs));
		topology_named(d->endpoint, addrs, n);
	} else {
		snprintf(d->why, sizeof(d->why), "cannot resolve \"%s\": %s", d->endpoint->host, error);
	}
	if (d->stay.family != AF_UNSPEC)
		dial_stay(d);
}

static void dial_resolved(const struct addr *addrs, size_t n, const char *error, void *arg)
{
	struct dial *d = arg;

	d->query = NULL;
	if (!d->known)
		dial_take(d, addrs, n, error);
	if (d->known || d->n)
		dial_next(d);
	else
		dial_finish(d, false);
}

void dial_start(struct dial *d, struct conn *c, struct endpoint *e, const struct dial_way *way, dial_done *done)
{
	struct pooler *p = c->pooler;
	bool knows = way->to && way->to->family != AF_UNSPEC && way->to->family != AF_UNIX && !endpoint_is_local(e);
	enum tls_mode mode = (enum tls_mode)p->registry.config->set.server_tls_sslmode;

	memset(d, 0, sizeof(*d));
	d->c = c;
	d->endpoint = e;
	d->done = done;
	d->direct = way->direct;
	d->alert = way->alert;
	d->until_us = way->until_us;
	if (!endpoint_is_local(e) && (mode >= TLS_PREFER || (way->secure && mode == TLS_ALLOW)))
		d->tls = tls_ctx_ref(p->server_tls);
	d->phase = DIAL_RESOLVE;
	if (knows && way->only) {
		d->addrs[0] = *way->to;
		d->n = 1;
	} else if (knows) {
		d->stay = *way->to;
	}
	/* What needs no lookup takes the same way with a name that answers in the next turn: done never runs inside this call. */
	d->known = d->n || endpoint_is_local(e);
	d->query = resolve(p->resolver, d->known ? "127.0.0.1" : e->host, dial_resolved, d);
	conn_settle(c);
}

static void dial_handshake(struct dial *d)
{
	char key[300];

	snprintf(key, sizeof(key), "%s:%u", d->endpoint->host, d->endpoint->port);
	d->phase = DIAL_HANDSHAKE;
	if (!tls_connect(&d->c->stream, d->tls, d->endpoint->host, d->direct, key))
		dial_failed(d, "TLS handshake", "the server sent data in the clear behind its answer");
	else
		conn_settle(d->c);
}

static void dial_connected(struct dial *d)
{
	struct stream_tuning tuning = dial_tuning(d->c->pooler->registry.config, d->alert);

	stream_tune(&d->c->stream, &tuning);
	if (!d->tls) {
		dial_finish(d, true);
	} else if (d->direct) {
		dial_handshake(d);
	} else {
		d->phase = DIAL_TLS_ASK;
		msgw_ssl_request(relay_out(d->c));
		conn_settle(d->c);
	}
}

void dial_event(struct dial *d, enum stream_event what)
{
	char text[200];

	switch (what) {
	case STREAM_CONNECTED: dial_connected(d); return;
	case STREAM_SECURED: dial_finish(d, true); return;
	case STREAM_FAILED:
		dial_failed(d, d->phase == DIAL_HANDSHAKE ? "TLS handshake" : "connect",
			stream_error(&d->c->stream, text, sizeof(text)));
		return;
	case STREAM_READABLE:
	case STREAM_WRITABLE:
	case STREAM_HANGUP: dial_failed(d, "connect", "connection closed"); return;
	}
}

/* The one byte that answers an SSLRequest (55.2.10). Anything behind it was not sent by who we will talk to. */
size_t dial_raw(struct dial *d, const char *p, size_t n, size_t *need)
{
	enum tls_mode mode = (enum tls_mode)d->c->pooler->registry.config->set.server_tls_sslmode;

	(void)need;
	if (n > 1) {
		dial_failed(d, "TLS request", "the server sent data in the clear behind its answer");
	} else if (p[0] == 'S') {
		dial_handshake(d);
	} else if (p[0] == 'N' && mode < TLS_REQUIRE) {
		dial_finish(d, true);
	} else if (p[0] == 'N') {
		dial_failed(d, "TLS request", "the server does not offer TLS, which server_tls_sslmode requires");
	} else {
		dial_failed(d, "TLS request", "the server's answer makes no sense");
	}
	return n;
}

bool dial_reads(const struct dial *d)
{
	return d->phase == DIAL_TLS_ASK;
}

int64_t dial_due(const struct dial *d)
{
	return d->phase == DIAL_CONNECT ? d->due_us : 0;
}

void dial_late(struct dial *d)
{
	dial_failed(d, "connect", strerror(ETIMEDOUT));
}

void dial_stop(struct dial *d)
{
	if (d->query)
		resolve_cancel(d->query);
	d->query = NULL;
	tls_ctx_unref(&d->tls);
}
