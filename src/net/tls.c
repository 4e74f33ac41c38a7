/*
 * tls: the TLS floor below a stream: handshakes in both roles, reads, writes,
 * the close, and what a connection can tell of its peer. OpenSSL reads and
 * writes the stream's socket through a BIO of ours. It decides nothing about
 * the PostgreSQL protocol; contexts are made in tls_ctx.c.
 */
#include "tls_priv.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/stream.h"

/* The first byte of a record of the handshake. */
enum { TLS_HANDSHAKE = 0x16 };

enum tls_why { WHY_OPENSSL, WHY_EOF, WHY_NO_ALPN };

/* A stream's `under`. An idle client pays for it, so it is small. */
struct tls_conn {
	SSL *ssl;
	struct tls_ctx *ctx;
	uint32_t code; /* OpenSSL's first error of the call that failed, 0: none */
	int8_t over;   /* STREAM_EOF or STREAM_BROKEN: what every read answers from now on */
	uint8_t why;   /* enum tls_why, when over is STREAM_BROKEN */
	unsigned direct : 1;
	unsigned eof : 1;     /* the socket has ended */
	unsigned pending : 1; /* something that no event of the socket will announce */
	char session_key[];   /* connecting only; "" keeps no session */
};

static const struct stream_ops tls_ops;

/* ---- the BIO ---------------------------------------------------------------- */

static int bio_read(BIO *b, char *p, int n)
{
	struct stream *s = BIO_get_data(b);
	struct tls_conn *c = s->under;
	ssize_t got = recv(s->fd, p, (size_t)n, 0);

	BIO_clear_retry_flags(b);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(b);
	else if (got < 0)
		s->error = errno;
	else if (got == 0)
		c->eof = 1;
	return (int)got;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct stream *s = BIO_get_data(b);
	ssize_t put = send(s->fd, p, (size_t)n, MSG_NOSIGNAL);

	BIO_clear_retry_flags(b);
	if (put < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(b);
	else if (put < 0)
		s->error = errno;
	return (int)put;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	const struct stream *s = BIO_get_data(b);

	(void)num, (void)ptr;
	if (cmd == BIO_CTRL_FLUSH)
		return 1;
	if (cmd == BIO_CTRL_EOF)
		return ((const struct tls_conn *)s->under)->eof;
	return 0;
}

static int bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

BIO_METHOD *tls_bio_new(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "stream");

	if (m) {
		BIO_meth_set_create(m, bio_create);
		BIO_meth_set_read(m, bio_read);
		BIO_meth_set_write(m, bio_write);
		BIO_meth_set_ctrl(m, bio_ctrl);
	}
	return m;
}

/* The connection that OpenSSL asks about in a callback. */
static struct tls_conn *conn_of(SSL *ssl)
{
	struct stream *s = BIO_get_data(SSL_get_rbio(ssl));

	return s->under;
}

/* ---- callbacks -------------------------------------------------------------- */

/* Direct negotiation without any ALPN is refused here: the ALPN callback is not even asked then. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_conn *c = conn_of(ssl);
	const unsigned char *ext;
	size_t len;

	(void)arg;
	if (!c->direct ||
		SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &ext, &len))
		return SSL_CLIENT_HELLO_SUCCESS;
	c->why = WHY_NO_ALPN;
	*alert = SSL_AD_NO_APPLICATION_PROTOCOL;
	return SSL_CLIENT_HELLO_ERROR;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in, unsigned inlen,
	void *arg)
{
	unsigned char *chosen;

	(void)arg;
	if (SSL_select_next_proto(&chosen, outlen, (const unsigned char *)TLS_ALPN, TLS_ALPN_LEN, in, inlen) ==
		OPENSSL_NPN_NEGOTIATED) {
		*out = chosen;
		return SSL_TLSEXT_ERR_OK;
	}
	conn_of(ssl)->why = WHY_NO_ALPN;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_conn *c = conn_of(ssl);

	if (!c->session_key[0])
		return 0;
	tls_session_keep(c->ctx, c->session_key, session);
	return 1;
}

void tls_install_callbacks(struct tls_ctx *c)
{
	if (c->accepting) {
		SSL_CTX_set_client_hello_cb(c->ssl, on_client_hello, NULL);
		SSL_CTX_set_alpn_select_cb(c->ssl, on_alpn, NULL);
	} else {
		SSL_CTX_sess_set_new_cb(c->ssl, on_new_session);
	}
}

/* ---- results of OpenSSL's calls --------------------------------------------- */

/*
 * What a call that did not succeed means: STREAM_AGAIN (*wants_write says for
 * what), STREAM_EOF or STREAM_BROKEN; the latter two are kept in c->over, since
 * OpenSSL must not be called again after them.
 */
static int failed(struct stream *s, int rc, bool *wants_write)
{
	struct tls_conn *c = s->under;
	int kind = SSL_get_error(c->ssl, rc);
	unsigned long code;

	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
		*wants_write = kind == SSL_ERROR_WANT_WRITE;
		return STREAM_AGAIN;
	}
	code = ERR_peek_error();
	ERR_clear_error();
	c->over = STREAM_BROKEN;
	if (kind == SSL_ERROR_ZERO_RETURN || c->eof) {
		/* An end without close_notify is an end as well: PostgreSQL's peers often just close. */
		c->over = STREAM_EOF;
		c->why = WHY_EOF;
	} else if (kind == SSL_ERROR_SSL) {
		c->code = (uint32_t)code;
	} else if (!s->error) {
		s->error = EIO;
	}
	return c->over;
}

static const char *tls_error(const struct stream *s, char *buf, size_t size)
{
	const struct tls_conn *c = s->under;
	const char *reason;
	long verify;

	if (!c)
		return NULL;
	if (c->why == WHY_EOF)
		return "connection closed during the TLS handshake";
	if (c->why == WHY_NO_ALPN)
		return "no agreement on the ALPN protocol \"postgresql\"";
	if (!c->code)
		return NULL;
	reason = ERR_SYSTEM_ERROR(c->code) ? NULL : ERR_reason_error_string(c->code);
	if (!reason)
		return "TLS failed";
	verify = SSL_get_verify_result(c->ssl);
	if (ERR_GET_REASON(c->code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK)
		snprintf(buf, size, "%s: %s", reason, X509_verify_cert_error_string(verify));
	else
		snprintf(buf, size, "%s", reason);
	return buf;
}

/* ---- stream_ops ------------------------------------------------------------- */

/* A handshake may end well and still leave us without the protocol that was asked for. */
static bool alpn_is_right(const struct tls_conn *c)
{
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(c->ssl, &name, &len);
	if (!len)
		return !c->direct;
	return len == TLS_ALPN_LEN - 1 && !memcmp(name, &TLS_ALPN[1], len);
}

static int handshake_step(struct stream *s)
{
	struct tls_conn *c = s->under;
	bool wants_write = false;
	int rc;

	if (c->over)
		return STREAM_BROKEN;
	ERR_clear_error();
	rc = SSL_do_handshake(c->ssl);
	if (rc == 1 && alpn_is_right(c)) {
		s->tls_read_wants_write = 0;
		c->pending = SSL_has_pending(c->ssl) == 1;
		return 0;
	}
	if (rc == 1) {
		c->why = WHY_NO_ALPN;
		c->over = STREAM_BROKEN;
	} else if (failed(s, rc, &wants_write) == STREAM_AGAIN) {
		s->tls_read_wants_write = wants_write;
		return STREAM_AGAIN;
	}
	if (c->session_key[0])
		tls_session_drop(c->ctx, c->session_key); /* it may be what the server did not like */
	return STREAM_BROKEN;
}

static void set_read_wants_write(struct stream *s, bool on)
{
	if (s->tls_read_wants_write == on)
		return;
	s->tls_read_wants_write = on;
	stream_update(s);
}

static ssize_t tls_read(struct stream *s, void *p, size_t n)
{
	struct tls_conn *c = s->under;
	bool wants_write = false;
	size_t got = 0, one;
	int rc, r = 0;

	if (c->over)
		return c->over;
	do {
		ERR_clear_error();
		rc = SSL_read_ex(c->ssl, (char *)p + got, n - got, &one);
		if (rc == 1)
			got += one;
		else
			r = failed(s, rc, &wants_write);
	} while (rc == 1 && got < n && SSL_has_pending(c->ssl));

	/* A part of a record does not count: the rest of it comes with an event. An end after some bytes does: it is
	 * told by the next read. */
	c->pending = rc == 1 ? SSL_has_pending(c->ssl) == 1 : r != STREAM_AGAIN && got;
	set_read_wants_write(s, wants_write);
	return got ? (ssize_t)got : r;
}

/* Up to one record's worth of the pieces as one piece. */
static const void *gather(char *scratch, const struct iovec *v, int n, size_t *len)
{
	*len = 0;
	if (n == 1 || v[0].iov_len >= LOOP_TLS_SCRATCH) {
		*len = v[0].iov_len < LOOP_TLS_SCRATCH ? v[0].iov_len : LOOP_TLS_SCRATCH;
		return v[0].iov_base;
	}
	for (int i = 0; i < n && *len < LOOP_TLS_SCRATCH; i++) {
		size_t room = LOOP_TLS_SCRATCH - *len, part = v[i].iov_len < room ? v[i].iov_len : room;

		if (part)
			memcpy(scratch + *len, v[i].iov_base, part);
		*len += part;
	}
	return scratch;
}

/* What a write waits for has changed. Reading may have become possible as well: bytes came in on the way. */
static void set_write_wants_read(struct stream *s, bool on)
{
	struct tls_conn *c = s->under;

	if (s->tls_write_wants_read == on)
		return;
	s->tls_write_wants_read = on;
	c->pending |= SSL_has_pending(c->ssl) == 1;
	stream_update(s);
	if (c->pending && s->want_read)
		stream_again(s);
}

static ssize_t tls_writev(struct stream *s, const struct iovec *v, int n)
{
	struct tls_conn *c = s->under;
	bool wants_write = true;
	size_t len, put;
	const void *p;
	int rc, r;

	if (c->over)
		return STREAM_BROKEN;
	p = gather(s->loop->tls_scratch, v, n, &len);
	if (!len)
		return 0;
	assert(len >= s->tls_retry_len);
	ERR_clear_error();
	rc = SSL_write_ex(c->ssl, p, len, &put);
	if (rc == 1) {
		s->tls_retry_len = 0;
		set_write_wants_read(s, false);
		return (ssize_t)put;
	}
	r = failed(s, rc, &wants_write);
	if (r != STREAM_AGAIN)
		return STREAM_BROKEN;
	s->tls_retry_len = (uint32_t)len;
	set_write_wants_read(s, !wants_write);
	return STREAM_AGAIN;
}

static bool tls_pending(const struct stream *s)
{
	const struct tls_conn *c = s->under;

	return c->pending;
}

static void tls_close(struct stream *s)
{
	struct tls_conn *c = s->under;

	/* After close_notify of the peer ours is due as well; after a failure, or when nobody is there, none is. */
	if (c->over != STREAM_BROKEN && !c->eof && s->phase == STREAM_P_OPEN) {
		/* Behind half a record close_notify cannot go; the session stays good all the same. */
		ERR_clear_error();
		if (s->tls_retry_len)
			SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		else
			SSL_shutdown(c->ssl);
		ERR_clear_error();
	}
	SSL_free(c->ssl);
	tls_ctx_unref(&c->ctx);
	xfree(MEM_TLS, c);
	s->under = NULL;
	s->tls_retry_len = 0;
	s->tls_read_wants_write = s->tls_write_wants_read = 0;
	stream_close_socket(s);
}

static const struct stream_ops tls_ops = {
	.name = "tls",
	.read = tls_read,
	.writev = tls_writev,
	.pending = tls_pending,
	.update = stream_update,
	.close = tls_close,
	.handshake = handshake_step,
	.error = tls_error,
};

/* ---- beginning -------------------------------------------------------------- */

/* NULL when memory is out: then nothing has changed. */
static struct tls_conn *begin(struct stream *s, struct tls_ctx *ctx, bool direct, const char *session_key)
{
	SSL *ssl = SSL_new(ctx->ssl);
	BIO *bio = BIO_new(ctx->bio);
	size_t key_len = session_key ? strlen(session_key) : 0;
	struct tls_conn *c;

	assert(s->phase == STREAM_P_OPEN && s->fd >= 0 && s->ops != &tls_ops);
	if (!ssl || !bio) {
		SSL_free(ssl);
		BIO_free(bio);
		ERR_clear_error();
		return NULL;
	}
	c = xcalloc(MEM_TLS, 1, sizeof(*c) + key_len + 1);
	c->ssl = ssl;
	c->ctx = tls_ctx_ref(ctx);
	c->direct = direct;
	if (key_len)
		memcpy(c->session_key, session_key, key_len);
	BIO_set_data(bio, s);
	SSL_set_bio(ssl, bio, bio);
	s->under = c;
	s->ops = &tls_ops;
	s->phase = STREAM_P_HANDSHAKING;
	s->tls_retry_len = 0;
	s->tls_read_wants_write = s->tls_write_wants_read = 0;
	return c;
}

bool tls_accept(struct stream *s, struct tls_ctx *ctx, bool direct)
{
	struct tls_conn *c;
	int first = direct ? -1 : stream_peek(s);

	assert(ctx->accepting);
	/*
	 * Bytes in the clear must not wait here. A ClientHello may: a fast peer has
	 * read our answer already. It is told by its first byte, and whatever else
	 * begins so goes to OpenSSL and to nobody else.
	 */
	if (first >= 0 && first != TLS_HANDSHAKE)
		return false;
	c = begin(s, ctx, direct, NULL);
	if (!c)
		return false;
	SSL_set_accept_state(c->ssl);
	stream_update(s);
	return true;
}

/* SNI, and the name that the certificate must have. */
static bool set_peer_name(SSL *ssl, const struct tls_ctx *ctx, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	struct addr a;

	if (!addr_parse(host, 0, &a)) {
		if (SSL_set_tlsext_host_name(ssl, host) != 1)
			return false;
		if (ctx->mode < TLS_VERIFY_FULL)
			return true;
		X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
	}
	if (ctx->mode < TLS_VERIFY_FULL)
		return true;
	if (a.family == AF_INET)
		return X509_VERIFY_PARAM_set1_ip(param, (const unsigned char *)&a.u.v4, 4) == 1;
	return X509_VERIFY_PARAM_set1_ip(param, (const unsigned char *)&a.u.v6, 16) == 1;
}

bool tls_connect(struct stream *s, struct tls_ctx *ctx, const char *host, bool direct, const char *session_key)
{
	struct tls_conn *c;
	SSL_SESSION *session;
	bool named;
	char *key;

	assert(!ctx->accepting);
	/* A server speaks after the ClientHello and not before. */
	if (stream_peek(s) >= 0)
		return false;
	/* A session was verified for the name it was made with, so the name is part of its key. */
	key = session_key && *session_key ? xasprintf(MEM_TLS, "%s/%s", host, session_key) : NULL;
	c = begin(s, ctx, direct, key);
	xfree(MEM_TLS, key);
	if (!c)
		return false;
	SSL_set_connect_state(c->ssl);
	named = set_peer_name(c->ssl, ctx, host);
	session = c->session_key[0] ? tls_session_find(ctx, c->session_key) : NULL;
	if (session)
		SSL_set_session(c->ssl, session);
	if (!named) {
		/* A name that OpenSSL cannot even take (too long): as any failure, it is told in the next turn. */
		c->code = (uint32_t)ERR_peek_error();
		c->over = STREAM_BROKEN;
		ERR_clear_error();
	}
	/* The first flight goes out now; what went wrong already is told in the next turn. */
	if (handshake_step(s) == STREAM_AGAIN)
		stream_update(s);
	else
		stream_again(s);
	return true;
}

/* ---- asking ----------------------------------------------------------------- */

static SSL *ssl_of(const struct stream *s)
{
	const struct tls_conn *c = s->ops == &tls_ops ? s->under : NULL; /* NULL as well when it was closed */

	return c ? c->ssl : NULL;
}

const char *tls_describe(const struct stream *s, char *buf, size_t size)
{
	const SSL *ssl = ssl_of(s);

	if (ssl)
		snprintf(buf, size, "%s/%s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
	else
		snprintf(buf, size, "%s", "");
	return buf;
}

bool tls_peer_verified(const struct stream *s)
{
	const SSL *ssl = ssl_of(s);

	return ssl && SSL_get0_peer_certificate(ssl) && (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) &&
	       SSL_get_verify_result(ssl) == X509_V_OK;
}

bool tls_peer_cn(const struct stream *s, char *buf, size_t size)
{
	const X509_NAME *subject;
	unsigned char *text;
	int at, len;
	bool ok;

	if (!tls_peer_verified(s))
		return false;
	subject = X509_get_subject_name(SSL_get0_peer_certificate(ssl_of(s)));
	at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (at < 0)
		return false;
	len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len < 0) {
		ERR_clear_error();
		return false;
	}
	ok = len > 0 && (size_t)len < size && !memchr(text, 0, (size_t)len);
	if (ok) {
		memcpy(buf, text, (size_t)len);
		buf[len] = 0;
	}
	OPENSSL_free(text);
	return ok;
}

size_t tls_server_end_point(const struct stream *s, uint8_t out[64])
{
	SSL *ssl = ssl_of(s);
	X509 *cert;
	const EVP_MD *md;
	unsigned len = 0;
	int digest;

	if (!ssl)
		return 0;
	cert = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
	/* A signature without a digest of its own (Ed25519) has no such binding: the RFC leaves it undefined. */
	if (!cert || X509_get_signature_info(cert, &digest, NULL, NULL, NULL) != 1 || digest == NID_undef)
		return 0;
	md = digest == NID_md5 || digest == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(digest);
	if (!md || EVP_MD_get_size(md) > 64 || X509_digest(cert, md, out, &len) != 1)
		len = 0;
	ERR_clear_error();
	return len;
}
