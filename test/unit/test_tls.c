/*
 * TLS under streams. Two streams of ours over a socketpair, or one of ours and
 * a bare OpenSSL connection that can do what ours never would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "lib/certs.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"

/* ---- what OpenSSL holds, while somebody counts ------------------------------ */

static bool counting;
static size_t counted;

static void *count_malloc(size_t n, const char *f, int l)
{
	void *p = malloc(n);

	(void)f, (void)l;
	counted += counting ? malloc_usable_size(p) + 8 : 0;
	return p;
}

static void count_free(void *p, const char *f, int l)
{
	(void)f, (void)l;
	counted -= counting && p != NULL ? malloc_usable_size(p) + 8 : 0;
	free(p);
}

static void *count_realloc(void *old, size_t n, const char *f, int l)
{
	void *p;

	(void)f, (void)l;
	counted -= counting && old != NULL ? malloc_usable_size(old) + 8 : 0;
	p = realloc(old, n);
	counted += counting ? malloc_usable_size(p) + 8 : 0;
	return p;
}

/* ---- a stream and what it was told ------------------------------------------ */

static char *folder;
static struct loop loop;
static unsigned open_ends;

enum { DATA = 1 << 20 };

struct end {
	struct stream s;
	unsigned connected, secured, failed, hangup, readable;
	bool over;	  /* a read said EOF or BROKEN */
	ssize_t last;	  /* result of the last read or write that was not a number */
	size_t chunk;	  /* bytes asked for in one read; 0: many */
	bool one_at_once; /* one read a call */
	char *in;	  /* what came, DATA bytes of room */
	size_t in_len;
	const char *out; /* what is still to be sent */
	size_t out_len;
	size_t piece; /* length of the pieces it is offered in; 0: as one */
	unsigned sends;
};

static void send_some(struct end *e)
{
	while (e->out_len > 0) {
		struct iovec v[64];
		int n = 0;
		size_t at = 0;
		ssize_t put;

		do {
			size_t len = e->out_len - at;

			if (e->piece != 0 && n < 63 && len > e->piece)
				len = e->piece;
			v[n++] = (struct iovec){.iov_base = (char *)(uintptr_t)e->out + at, .iov_len = len};
			at += len;
		} while (at < e->out_len);
		put = stream_writev(&e->s, v, n);
		if (put < 0) {
			e->last = put;
			break;
		}
		e->sends++;
		e->out += put;
		e->out_len -= (size_t)put;
	}
	stream_want(&e->s, !e->over, e->out_len > 0);
}

static void take_some(struct end *e)
{
	ssize_t got;

	e->readable++;
	do {
		size_t room = e->chunk != 0 ? e->chunk : LOOP_SCRATCH;

		assert_true(e->in_len + room <= DATA);
		got = stream_read(&e->s, e->in + e->in_len, room);
		if (got > 0)
			e->in_len += (size_t)got;
	} while (got > 0 && !e->one_at_once);
	if (got < 0)
		e->last = got;
	if (got == STREAM_EOF || got == STREAM_BROKEN) {
		e->over = true;
		stream_want(&e->s, false, false);
	}
}

static void on_stream(struct stream *s, enum stream_event what, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, &e->s);
	switch (what) {
	case STREAM_CONNECTED: e->connected++; break;
	case STREAM_SECURED:
		e->secured++;
		stream_want(s, true, e->out_len > 0);
		break;
	case STREAM_READABLE: take_some(e); break;
	case STREAM_WRITABLE: send_some(e); break;
	case STREAM_HANGUP: e->hangup++; break;
	case STREAM_FAILED: e->failed++; break;
	}
}

static void end_open(struct end *e, int fd)
{
	*e = (struct end){.in = malloc(DATA)};
	stream_init(&e->s, &loop, fd, on_stream, e);
	open_ends++;
}

static void end_close(struct end *e)
{
	stream_close(&e->s);
	open_ends--;
	free(e->in);
	e->in = NULL;
}

static const char *error_of(const struct end *e)
{
	static char buf[2][256];
	static unsigned turn;

	return stream_error(&e->s, buf[turn++ % 2], sizeof buf[0]);
}

/* Some turns of the loop, without waiting: all that is connected here is in this process. */
static void run(unsigned turns)
{
	while (turns-- > 0)
		loop_poll(&loop, false);
}

static void make_pair(int fd[2], int buffer)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	for (int i = 0; buffer != 0 && i < 2; i++)
		assert_int_equal(setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer), 0);
}

/* ---- contexts --------------------------------------------------------------- */

static const char *file(const char *name)
{
	static char buf[8][512];
	static unsigned turn;
	char *p = buf[turn++ % 8];

	snprintf(p, sizeof buf[0], "%s/%s", folder, name);
	return p;
}

static struct tls_ctx *context(bool accepting, struct tls_options o, const char *own, const char *ca)
{
	struct errs errs = {0};
	char text[512], key[64], cert[64];
	struct tls_ctx *c;

	if (own != NULL) {
		snprintf(key, sizeof key, "%s.key", own);
		snprintf(cert, sizeof cert, "%s.crt", own);
		o.key_file = file(key);
		o.cert_file = file(cert);
	}
	if (ca != NULL)
		o.ca_file = file(ca);
	c = tls_ctx_new(&o, accepting, "test", &errs);
	if (c == NULL)
		fail_msg("%s", errs_format(&errs, 0, text, sizeof text));
	return c;
}

static struct tls_ctx *acceptor(enum tls_mode mode, const char *own, const char *ca)
{
	return context(true, (struct tls_options){.mode = mode}, own, ca);
}

static struct tls_ctx *connector(enum tls_mode mode, const char *own, const char *ca)
{
	return context(false, (struct tls_options){.mode = mode}, own, ca);
}

/* Both ends of a handshake; the contexts stay the caller's. */
static void connect_both(struct end *a, struct end *b, struct tls_ctx *ac, struct tls_ctx *bc, const char *host,
	int buffer)
{
	int fd[2];

	make_pair(fd, buffer);
	end_open(a, fd[0]);
	end_open(b, fd[1]);
	assert_true(tls_accept(&a->s, ac, false));
	assert_true(tls_connect(&b->s, bc, host, false, NULL));
	assert_int_equal(a->secured + a->failed + b->secured + b->failed, 0);
	run(20);
}

static void open_secure(struct end *a, struct end *b, int buffer)
{
	struct tls_ctx *ac = acceptor(TLS_REQUIRE, "server", NULL), *bc = connector(TLS_REQUIRE, NULL, NULL);

	connect_both(a, b, ac, bc, "db.example", buffer);
	assert_int_equal(a->secured, 1);
	assert_int_equal(b->secured, 1);
	tls_ctx_unref(&ac);
	tls_ctx_unref(&bc);
}

/* ---- a bare peer ------------------------------------------------------------ */

static SSL_CTX *raw_context(bool server, const char *own)
{
	SSL_CTX *c = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	char name[64];

	assert_non_null(c);
	if (own != NULL) {
		snprintf(name, sizeof name, "%s.crt", own);
		assert_int_equal(SSL_CTX_use_certificate_chain_file(c, file(name)), 1);
		snprintf(name, sizeof name, "%s.key", own);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(c, file(name), SSL_FILETYPE_PEM), 1);
	}
	return c;
}

struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
	bool done;
	int error; /* reason of a handshake that failed */
};

/* Takes ctx over. */
static void raw_open(struct raw *r, SSL_CTX *ctx, int fd)
{
	*r = (struct raw){.ctx = ctx, .ssl = SSL_new(ctx), .fd = fd};
	SSL_set_fd(r->ssl, fd);
}

static void raw_step(struct raw *r)
{
	int rc;

	if (r->done || r->error != 0)
		return;
	ERR_clear_error();
	rc = SSL_do_handshake(r->ssl);
	if (rc == 1)
		r->done = true;
	else if (SSL_get_error(r->ssl, rc) == SSL_ERROR_SSL)
		r->error = ERR_GET_REASON(ERR_peek_error());
	ERR_clear_error();
}

static void raw_close(struct raw *r)
{
	SSL_free(r->ssl);
	SSL_CTX_free(r->ctx);
	if (r->fd >= 0)
		close(r->fd);
}

static void handshake(struct raw *r)
{
	for (int i = 0; i < 10; i++) {
		raw_step(r);
		run(2);
	}
}

/* Ours accepts, the bare one connects. */
static void raw_client(struct raw *r, struct end *e, struct tls_ctx *c, bool direct, SSL_CTX *ctx)
{
	int fd[2];

	make_pair(fd, 0);
	end_open(e, fd[0]);
	raw_open(r, ctx, fd[1]);
	SSL_set_connect_state(r->ssl);
	assert_true(tls_accept(&e->s, c, direct));
}

/* Ours connects, the bare one accepts. */
static void raw_server(struct raw *r, struct end *e, struct tls_ctx *c, const char *host, bool direct, const char *key,
	SSL_CTX *ctx)
{
	int fd[2];

	make_pair(fd, 0);
	end_open(e, fd[0]);
	raw_open(r, ctx, fd[1]);
	SSL_set_accept_state(r->ssl);
	assert_true(tls_connect(&e->s, c, host, direct, key));
}

/* ---- handshakes and verification -------------------------------------------- */

static void test_verification(void **state)
{
	/* error: how the connecting end fails; a_error: the accepting one; NULL: it does not. */
	static const struct {
		enum tls_mode a_mode;
		const char *a_own, *a_ca;
		enum tls_mode b_mode;
		const char *b_own, *b_ca, *host;
		const char *error, *a_error;
		bool a_verified;
		const char *cn; /* of b's certificate, as a sees it */
	} rows[] = {
		/* the connecting side's modes */
		{TLS_REQUIRE, "server", NULL, TLS_PREFER, NULL, NULL, "other.example", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_REQUIRE, NULL, "ca2.crt", "db.example", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_REQUIRE, NULL, "ca.crt", "db.example", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_CA, NULL, "ca.crt", "other.example", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_CA, NULL, "ca2.crt", "db.example",
			"certificate verify failed: unable to get local issuer certificate", "alert unknown ca", false,
			NULL},
		{TLS_REQUIRE, "self", NULL, TLS_VERIFY_CA, NULL, "ca.crt", "db.example",
			"certificate verify failed: self-signed certificate", "alert unknown ca", false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "db.example", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "DB.Example", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "a.pool.example", NULL, NULL, false,
			NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "a.b.pool.example",
			"certificate verify failed: hostname mismatch", "alert bad certificate", false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "part1.x.example",
			"certificate verify failed: hostname mismatch", "alert bad certificate", false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "127.0.0.1", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "::1", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "127.0.0.2",
			"certificate verify failed: IP address mismatch", "alert bad certificate", false, NULL},
		{TLS_REQUIRE, "server", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "::2",
			"certificate verify failed: IP address mismatch", "alert bad certificate", false, NULL},
		/* the common name counts only without a subjectAltName of its kind */
		{TLS_REQUIRE, "cnonly", NULL, TLS_VERIFY_FULL, NULL, "ca.crt", "cn.example", NULL, NULL, false, NULL},
		/* the accepting side's: without an authority nobody is asked */
		{TLS_PREFER, "server", NULL, TLS_PREFER, "alice", NULL, "db.example", NULL, NULL, false, NULL},
		/* with one a certificate is looked at, and counts if it is good */
		{TLS_ALLOW, "server", "ca.crt", TLS_PREFER, NULL, NULL, "db.example", NULL, NULL, false, NULL},
		{TLS_PREFER, "server", "ca.crt", TLS_PREFER, "alice", NULL, "db.example", NULL, NULL, true, "alice"},
		{TLS_REQUIRE, "server", "ca.crt", TLS_PREFER, "alice", NULL, "db.example", NULL, NULL, true, "alice"},
		{TLS_REQUIRE, "server", "ca.crt", TLS_PREFER, "self", NULL, "db.example", NULL, NULL, false, NULL},
		{TLS_REQUIRE, "server", "ca2.crt", TLS_PREFER, "alice", NULL, "db.example", NULL, NULL, false, NULL},
		/* and these insist on a good one */
		{TLS_VERIFY_CA, "server", "ca.crt", TLS_PREFER, "alice", NULL, "db.example", NULL, NULL, true, "alice"},
		{TLS_VERIFY_FULL, "server", "ca.crt", TLS_PREFER, "alice", NULL, "db.example", NULL, NULL, true,
			"alice"},
		{TLS_VERIFY_FULL, "server", "ca.crt", TLS_PREFER, "nul", NULL, "db.example", NULL, NULL, true, NULL},
		{TLS_VERIFY_FULL, "server", "ca.crt", TLS_PREFER, "nocn", NULL, "db.example", NULL, NULL, true, NULL},
		{TLS_VERIFY_CA, "server", "ca.crt", TLS_PREFER, NULL, NULL, "db.example", "alert certificate required",
			"peer did not return a certificate", false, NULL},
		{TLS_VERIFY_FULL, "server", "ca.crt", TLS_PREFER, "self", NULL, "db.example", "alert unknown ca",
			"certificate verify failed: self-signed certificate", false, NULL},
		{TLS_VERIFY_CA, "server", "ca2.crt", TLS_PREFER, "alice", NULL, "db.example", "alert unknown ca",
			"certificate verify failed: unable to get local issuer certificate", false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct tls_ctx *ac = acceptor(rows[i].a_mode, rows[i].a_own, rows[i].a_ca);
		struct tls_ctx *bc = connector(rows[i].b_mode, rows[i].b_own, rows[i].b_ca);
		struct end a, b;
		char text[64];

		connect_both(&a, &b, ac, bc, rows[i].host, 0);
		/* Under TLS 1.3 the accepting end's verdict comes when the connecting one is through already. */
		if (rows[i].error == NULL ? b.secured != 1 || b.failed || b.over : !b.failed && !b.over)
			fail_msg("row %zu: connecting end: secured %u, failed %u, over %d: %s", i, b.secured, b.failed,
				b.over, error_of(&b));
		if (rows[i].error != NULL && strstr(error_of(&b), rows[i].error) == NULL)
			fail_msg("row %zu: \"%s\" without \"%s\"", i, error_of(&b), rows[i].error);
		if (a.failed != (rows[i].a_error != NULL) ||
			(rows[i].a_error && strstr(error_of(&a), rows[i].a_error) == NULL))
			fail_msg("row %zu: accepting end: failed %u: %s", i, a.failed, error_of(&a));
		if (tls_peer_verified(&a.s) != rows[i].a_verified)
			fail_msg("row %zu: verified %d", i, !rows[i].a_verified);
		if (tls_peer_cn(&a.s, text, sizeof text) != (rows[i].cn != NULL))
			fail_msg("row %zu: common name", i);
		if (rows[i].cn != NULL)
			assert_string_equal(text, rows[i].cn);
		if (rows[i].error == NULL)
			assert_int_equal(tls_peer_verified(&b.s), rows[i].b_mode >= TLS_VERIFY_CA);
		end_close(&a);
		end_close(&b);
		tls_ctx_unref(&ac);
		tls_ctx_unref(&bc);
	}
}

static void test_describe(void **state)
{
	struct tls_ctx *bc =
		context(false, (struct tls_options){.mode = TLS_PREFER, .protocols = "tlsv1.2"}, NULL, NULL);
	struct tls_ctx *ac = acceptor(TLS_REQUIRE, "server", NULL);
	struct end a, b;
	char text[64], small[4];
	int fd[2];

	(void)state;
	make_pair(fd, 0);
	end_open(&a, fd[0]);
	assert_false(stream_is_tls(&a.s));
	assert_string_equal(tls_describe(&a.s, text, sizeof text), "");
	assert_false(tls_peer_cn(&a.s, text, sizeof text));
	assert_int_equal(tls_server_end_point(&a.s, (uint8_t[64]){0}), 0);
	end_close(&a);
	close(fd[1]);

	open_secure(&a, &b, 0);
	assert_true(stream_is_tls(&a.s));
	assert_string_equal(tls_describe(&a.s, text, sizeof text), "TLSv1.3/TLS_AES_256_GCM_SHA384");
	assert_string_equal(tls_describe(&b.s, small, sizeof small), "TLS");
	end_close(&a);
	assert_string_equal(tls_describe(&a.s, text, sizeof text), "");
	end_close(&b);

	connect_both(&a, &b, ac, bc, "db.example", 0);
	assert_string_equal(tls_describe(&a.s, text, sizeof text), "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384");
	end_close(&a);
	end_close(&b);
	tls_ctx_unref(&ac);
	tls_ctx_unref(&bc);
}

static void test_protocols(void **state)
{
	static const struct {
		struct tls_options a, b;
		bool works;
	} rows[] = {
		{{.protocols = "tlsv1.3"}, {.protocols = "tlsv1.2"}, false},
		{{.protocols = "tlsv1.2"}, {.protocols = "tlsv1.3"}, false},
		{{.protocols = "tlsv1.2"}, {.protocols = "all"}, true},
		{{.protocols = "tlsv1.1", .ciphers = "ALL:@SECLEVEL=0"}, {.protocols = "secure"}, false},
		{{.protocols = "tlsv1.1", .ciphers = "ALL:@SECLEVEL=0"},
			{.protocols = "all", .ciphers = "ALL:@SECLEVEL=0"}, true},
		{{.protocols = "tlsv1.0,tlsv1.2", .ciphers = "ALL:@SECLEVEL=0"},
			{.protocols = "tlsv1.1", .ciphers = "ALL:@SECLEVEL=0"}, false},
		{{.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"}, {.protocols = "tlsv1.2", .ciphers = "AES256"}, false},
		{{.ciphers13 = "TLS_AES_128_GCM_SHA256"}, {.protocols = "tlsv1.3"}, true},
		{{.ciphers13 = "TLS_AES_128_GCM_SHA256"},
			{.protocols = "tlsv1.3", .ciphers13 = "TLS_CHACHA20_POLY1305_SHA256"}, false},
		/* without ECDHE an EC key has no key exchange left but in TLS 1.3 */
		{{.ecdhcurve = "none"}, {.protocols = "tlsv1.2"}, false},
		{{.ecdhcurve = "none"}, {.protocols = "tlsv1.3"}, true},
		{{.ecdhcurve = "secp384r1"}, {.protocols = "secure"}, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct tls_options ao = rows[i].a, bo = rows[i].b;
		struct tls_ctx *ac, *bc;
		struct end a, b;

		ao.mode = TLS_REQUIRE;
		bo.mode = TLS_PREFER;
		ac = context(true, ao, "server", NULL);
		bc = context(false, bo, NULL, NULL);
		connect_both(&a, &b, ac, bc, "db.example", 0);
		if (rows[i].works ? a.secured != 1 || b.secured != 1 : a.failed != 1 || b.failed != 1)
			fail_msg("row %zu: %s; %s", i, error_of(&a), error_of(&b));
		end_close(&a);
		end_close(&b);
		tls_ctx_unref(&ac);
		tls_ctx_unref(&bc);
	}
}

static void test_channel_binding(void **state)
{
	static const struct {
		const char *own, *digest;
	} rows[] = {{"server", "SHA256"}, {"server384", "SHA384"}, {"serversha1", "SHA256"}, {"serverrsa", "SHA512"},
		{"servered", NULL}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct tls_options old = {.mode = TLS_REQUIRE, .ciphers = "ALL:@SECLEVEL=0"};
		struct tls_ctx *ac = context(true, old, rows[i].own, NULL), *bc = context(false, old, NULL, NULL);
		struct end a, b;
		uint8_t ours[64], theirs[64], expected[64];
		unsigned len = 0;

		connect_both(&a, &b, ac, bc, "db.example", 0);
		assert_int_equal(b.secured, 1);
		if (rows[i].digest != NULL) {
			FILE *f = fopen(certs_path(folder, rows[i].own, "crt"), "r");
			X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);

			X509_digest(cert, EVP_get_digestbyname(rows[i].digest), expected, &len);
			X509_free(cert);
			fclose(f);
		}
		assert_int_equal(tls_server_end_point(&a.s, ours), len);
		assert_int_equal(tls_server_end_point(&b.s, theirs), len);
		assert_memory_equal(ours, expected, len);
		assert_memory_equal(theirs, expected, len);
		end_close(&a);
		end_close(&b);
		tls_ctx_unref(&ac);
		tls_ctx_unref(&bc);
	}
}

static int on_servername(SSL *ssl, int *alert, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	snprintf(arg, 64, "%s", name != NULL ? name : "none");
	return SSL_TLSEXT_ERR_OK;
}

static void test_sni(void **state)
{
	static const char *const rows[][2] = {
		{"db.example", "db.example"}, {"127.0.0.1", "none"}, {"::1", "none"}, {"localhost", "localhost"}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct tls_ctx *c = connector(TLS_PREFER, NULL, NULL);
		SSL_CTX *raw = raw_context(true, "server");
		char seen[64] = "";
		struct end e;
		struct raw r;

		SSL_CTX_set_tlsext_servername_callback(raw, on_servername);
		SSL_CTX_set_tlsext_servername_arg(raw, seen);
		raw_server(&r, &e, c, rows[i][0], false, NULL, raw);
		handshake(&r);
		assert_int_equal(e.secured, 1);
		assert_string_equal(seen, rows[i][1]);
		end_close(&e);
		raw_close(&r);
		tls_ctx_unref(&c);
	}
}

static void test_impossible_name(void **state)
{
	struct tls_ctx *c = connector(TLS_PREFER, NULL, NULL);
	char host[400];
	struct end e;
	int fd[2];

	(void)state;
	memset(host, 'a', sizeof host - 1);
	host[sizeof host - 1] = '\0';
	make_pair(fd, 0);
	end_open(&e, fd[0]);
	assert_true(tls_connect(&e.s, c, host, false, "key"));
	assert_int_equal(e.failed, 0);
	run(2);
	assert_int_equal(e.failed, 1);
	assert_true(strlen(error_of(&e)) > 0);
	end_close(&e);
	close(fd[1]);
	tls_ctx_unref(&c);
}

/* ---- what goes wrong before it begins --------------------------------------- */

static void test_bytes_in_the_clear(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL), *bc = connector(TLS_PREFER, NULL, NULL);
	struct end e;
	struct raw r;
	char byte;
	int fd[2];

	(void)state;
	make_pair(fd, 0);
	end_open(&e, fd[0]);
	assert_int_equal(write(fd[1], "\0\0\0\x08", 4), 4);
	assert_false(tls_accept(&e.s, c, false));
	/* Nothing has changed. */
	assert_false(stream_is_tls(&e.s));
	assert_true(stream_is_open(&e.s));
	assert_int_equal(stream_read(&e.s, &byte, 1), 1);
	end_close(&e);
	close(fd[1]);

	/* Whatever a server says first is. */
	make_pair(fd, 0);
	end_open(&e, fd[0]);
	assert_int_equal(write(fd[1], "\x16", 1), 1);
	assert_false(tls_connect(&e.s, bc, "db.example", false, "key"));
	assert_false(stream_is_tls(&e.s));
	assert_int_equal(stream_read(&e.s, &byte, 1), 1);
	end_close(&e);
	close(fd[1]);
	tls_ctx_unref(&bc);

	/* A ClientHello that is there already is none of them. */
	make_pair(fd, 0);
	end_open(&e, fd[0]);
	raw_open(&r, raw_context(false, NULL), fd[1]);
	SSL_set_connect_state(r.ssl);
	raw_step(&r);
	assert_true(stream_has_unread(&e.s));
	assert_true(tls_accept(&e.s, c, false));
	handshake(&r);
	assert_int_equal(e.secured, 1);
	end_close(&e);
	raw_close(&r);
	tls_ctx_unref(&c);
}

static void test_not_tls_at_all(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *error;
	} rows[] = {
		{"\x16\x03\x01\x00\x05hello", 10, "unexpected message"},
		{"GET / HTTP/1.0\r\n\r\n", 18, "http request"},
		{"\0\0\0\x08\x04\xd2\x16\x2f", 8, "wrong version number"},
		{"", 0, "connection closed during the TLS handshake"},
		{"\x16\x03\x01", 3, "connection closed during the TLS handshake"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
		struct end e;
		int fd[2];

		make_pair(fd, 0);
		end_open(&e, fd[0]);
		assert_true(tls_accept(&e.s, c, true));
		assert_int_equal(write(fd[1], rows[i].bytes, rows[i].n), rows[i].n);
		shutdown(fd[1], SHUT_WR);
		run(5);
		assert_int_equal(e.failed, 1);
		if (strstr(error_of(&e), rows[i].error) == NULL)
			fail_msg("row %zu: \"%s\" without \"%s\"", i, error_of(&e), rows[i].error);
		end_close(&e);
		close(fd[1]);
		tls_ctx_unref(&c);
	}
}

/* A connection that breaks under the handshake says what the system says. */
static void test_reset_in_handshake(void **state)
{
	struct tls_ctx *c = connector(TLS_PREFER, NULL, NULL);
	struct end e;
	int fd[2];

	(void)state;
	make_pair(fd, 0);
	end_open(&e, fd[0]);
	close(fd[1]);
	signal(SIGPIPE, SIG_DFL);
	assert_true(tls_connect(&e.s, c, "db.example", false, NULL));
	run(5);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(e.failed, 1);
	assert_string_equal(error_of(&e), strerror(EPIPE));
	end_close(&e);
	tls_ctx_unref(&c);
}

static void test_cut_handshake(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	struct end e;
	struct raw r;

	(void)state;
	raw_client(&r, &e, c, false, raw_context(false, NULL));
	raw_step(&r);
	run(2);
	/* Closed by us in the middle of it: no event, no crash, nothing lost. */
	end_close(&e);
	run(2);
	assert_int_equal(e.secured + e.failed, 0);
	raw_close(&r);
	tls_ctx_unref(&c);
}

/* ---- direct negotiation ----------------------------------------------------- */

static void test_alpn_accepting(void **state)
{
	static const struct {
		const char *offer; /* as on the wire */
		bool direct, works;
	} rows[] = {
		{NULL, false, true},
		{NULL, true, false},
		{"\012postgresql", false, true},
		{"\012postgresql", true, true},
		{"\002h2\012postgresql", true, true},
		{"\002h2", true, false},
		{"\002h2", false, false},
		{"\012postgresqX", true, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
		SSL_CTX *raw = raw_context(false, NULL);
		const unsigned char *chosen;
		unsigned len;
		struct end e;
		struct raw r;

		if (rows[i].offer != NULL)
			SSL_CTX_set_alpn_protos(raw, (const unsigned char *)rows[i].offer,
				(unsigned)strlen(rows[i].offer));
		raw_client(&r, &e, c, rows[i].direct, raw);
		handshake(&r);
		SSL_get0_alpn_selected(r.ssl, &chosen, &len);
		if (rows[i].works) {
			assert_int_equal(e.secured, 1);
			assert_true(r.done);
			assert_int_equal(len, rows[i].offer != NULL ? 10 : 0);
		} else {
			assert_int_equal(e.failed, 1);
			assert_int_equal(r.error, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
			assert_string_equal(error_of(&e), "no agreement on the ALPN protocol \"postgresql\"");
		}
		end_close(&e);
		raw_close(&r);
		tls_ctx_unref(&c);
	}
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
	unsigned inlen, void *arg)
{
	const char *name = arg;

	(void)ssl;
	if (inlen != 11 || memcmp(in, "\012postgresql", 11) != 0)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = (const unsigned char *)name;
	*outlen = (unsigned char)strlen(name);
	return SSL_TLSEXT_ERR_OK;
}

static void test_alpn_connecting(void **state)
{
	static const struct {
		const char *choose; /* NULL: a server that does not know ALPN */
		bool direct;
		const char *error; /* NULL: it works */
	} rows[] = {
		{NULL, false, NULL},
		{NULL, true, "no agreement on the ALPN protocol \"postgresql\""},
		{"postgresql", false, NULL},
		{"postgresql", true, NULL},
		/* what was not offered OpenSSL itself does not take */
		{"http/1.1", true, "bad extension"},
		{"http/1.1", false, "bad extension"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct tls_ctx *c = connector(TLS_REQUIRE, NULL, NULL);
		SSL_CTX *raw = raw_context(true, "server");
		struct end e;
		struct raw r;

		if (rows[i].choose != NULL)
			SSL_CTX_set_alpn_select_cb(raw, choose_alpn, (void *)(uintptr_t)rows[i].choose);
		raw_server(&r, &e, c, "db.example", rows[i].direct, NULL, raw);
		handshake(&r);
		if (rows[i].error == NULL) {
			assert_int_equal(e.secured, 1);
		} else {
			assert_int_equal(e.failed, 1);
			assert_string_equal(error_of(&e), rows[i].error);
		}
		end_close(&e);
		raw_close(&r);
		tls_ctx_unref(&c);
	}
}

/* ---- bytes ------------------------------------------------------------------ */

static char *pattern(size_t n, unsigned seed)
{
	char *p = malloc(n + 1);

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = (char)(seed >> 16);
	}
	return p;
}

static void test_sizes_and_pieces(void **state)
{
	static const size_t sizes[] = {1, 5, 1000, 16383, 16384, 16385, 40000, 300000};
	static const size_t pieces[] = {0, 1, 7, 1000, 16384, 20000};
	static const int buffers[] = {0, 4608};

	(void)state;
	for (size_t i = 0; i < 8 * 6 * 2; i++) {
		size_t n = sizes[i % 8];
		char *one = pattern(n, (unsigned)i), *two = pattern(n, (unsigned)i + 1000);
		struct end a, b;

		open_secure(&a, &b, buffers[i / 48]);
		a.out = one;
		b.out = two;
		a.out_len = b.out_len = n;
		a.piece = pieces[i / 8 % 6];
		b.piece = pieces[5 - i / 8 % 6];
		send_some(&a);
		send_some(&b);
		for (int t = 0; t < 2000 && (a.in_len < n || b.in_len < n); t++)
			loop_poll(&loop, false);
		assert_int_equal(a.in_len, n);
		assert_int_equal(b.in_len, n);
		assert_memory_equal(a.in, two, n);
		assert_memory_equal(b.in, one, n);
		end_close(&a);
		end_close(&b);
		free(one);
		free(two);
	}
}

static void test_nothing_to_write(void **state)
{
	struct iovec v[2] = {{.iov_base = NULL, .iov_len = 0}, {.iov_base = NULL, .iov_len = 0}};
	struct end a, b;

	(void)state;
	open_secure(&a, &b, 0);
	assert_int_equal(stream_writev(&a.s, v, 1), 0);
	assert_int_equal(stream_writev(&a.s, v, 2), 0);
	end_close(&a);
	end_close(&b);
}

/* After a write that waits the same bytes come again, and more may stand behind them. */
static void test_blocked_write(void **state)
{
	size_t n = 100000, done = 0;
	char *data = pattern(n, 1);
	struct end a, b;
	struct iovec v[2];
	ssize_t put;
	uint32_t held;

	(void)state;
	open_secure(&a, &b, 4608);
	stream_want(&b.s, false, false);
	/* It counts nothing that did not go out whole. */
	do {
		v[0] = (struct iovec){.iov_base = data + done, .iov_len = 3000};
		put = stream_writev(&a.s, v, 1);
		done += put > 0 ? (size_t)put : 0;
	} while (put > 0);
	assert_int_equal(put, STREAM_AGAIN);
	held = a.s.tls_retry_len;
	assert_int_equal(held, 3000);
	/* From another place, in other pieces, with more behind: and still blocked. */
	v[0] = (struct iovec){.iov_base = data + done, .iov_len = 1000};
	v[1] = (struct iovec){.iov_base = data + done + 1000, .iov_len = 2500};
	assert_int_equal(stream_writev(&a.s, v, 2), STREAM_AGAIN);
	assert_true(a.s.tls_retry_len >= held);
	a.out = data + done;
	a.out_len = n - done;
	a.piece = 1234;
	stream_want(&a.s, true, true);
	stream_want(&b.s, true, false);
	for (int t = 0; t < 2000 && b.in_len < n; t++)
		loop_poll(&loop, false);
	assert_int_equal(b.in_len, n);
	assert_memory_equal(b.in, data, n);
	assert_int_equal(a.s.tls_retry_len, 0);
	end_close(&a);
	end_close(&b);
	free(data);
}

/* While a write waits, reading goes on. */
static void test_read_while_write_blocked(void **state)
{
	char *data = pattern(200000, 2);
	struct end a, b;

	(void)state;
	open_secure(&a, &b, 4608);
	stream_want(&b.s, false, false);
	a.out = data;
	a.out_len = 200000;
	send_some(&a);
	assert_true(a.s.tls_retry_len > 0);
	assert_int_equal(stream_writev(&b.s, &(struct iovec){.iov_base = data, .iov_len = 500}, 1), 500);
	run(5);
	assert_int_equal(a.in_len, 500);
	assert_memory_equal(a.in, data, 500);
	end_close(&a);
	end_close(&b);
	free(data);
}

/* What OpenSSL holds already is told without an event of the socket. */
static void test_pending(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	struct end e;
	struct raw r;
	char text[1000];
	size_t some;

	(void)state;
	memset(text, 'x', sizeof text);
	raw_client(&r, &e, c, false, raw_context(false, NULL));
	handshake(&r);
	e.chunk = 7;
	e.one_at_once = true;
	/* Three records, read from the socket at once. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(SSL_write(r.ssl, text, 100), 100);
	run(60);
	assert_int_equal(e.in_len, 300);
	assert_true(e.readable >= 43);
	assert_true(TAILQ_EMPTY(&loop.ready));

	/* Not wanted, it waits; wanted again, it is told. */
	stream_want(&e.s, false, false);
	assert_int_equal(SSL_write(r.ssl, text, 21), 21);
	run(5);
	assert_int_equal(e.in_len, 300);
	stream_want(&e.s, true, false);
	loop_poll(&loop, false);
	stream_want(&e.s, false, false);
	some = e.in_len;
	assert_true(some > 300 && some < 321);
	run(5);
	assert_int_equal(e.in_len, some);
	assert_true(stream_has_unread(&e.s));
	stream_want(&e.s, true, false);
	run(5);
	assert_int_equal(e.in_len, 321);
	end_close(&e);
	raw_close(&r);
	tls_ctx_unref(&c);
}

/* Moves n bytes (all when 0) that one descriptor has to the other. */
static size_t pump(int from, int to, size_t n)
{
	static char buf[65536];
	ssize_t got = read(from, buf, n != 0 ? n : sizeof buf);

	if (got <= 0)
		return 0;
	assert_int_equal(write(to, buf, (size_t)got), got);
	return (size_t)got;
}

/* Part of a record is no reason to spin, and the end of it is no reason to forget what came before. */
static void test_record_in_parts(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	struct end e;
	struct raw r;
	int ours[2], theirs[2];

	(void)state;
	make_pair(ours, 0);
	make_pair(theirs, 0);
	end_open(&e, ours[0]);
	raw_open(&r, raw_context(false, NULL), theirs[0]);
	SSL_set_connect_state(r.ssl);
	assert_true(tls_accept(&e.s, c, false));
	for (int i = 0; i < 10; i++) {
		raw_step(&r);
		pump(theirs[1], ours[1], 0);
		run(2);
		pump(ours[1], theirs[1], 0);
	}
	assert_int_equal(e.secured, 1);
	assert_int_equal(SSL_write(r.ssl, "hello", 5), 5);
	assert_int_equal(SSL_write(r.ssl, "world", 5), 5);
	/* The first record and 6 bytes of the second. */
	assert_int_equal(pump(theirs[1], ours[1], 5 + 5 + 1 + 16 + 6), 33);
	run(1);
	assert_int_equal(e.in_len, 5);
	e.readable = 0;
	run(5);
	assert_int_equal(e.readable, 0);
	assert_true(TAILQ_EMPTY(&loop.ready));
	pump(theirs[1], ours[1], 0);
	run(2);
	assert_int_equal(e.in_len, 10);
	/* Together with close_notify: the bytes first, then the end, which no event tells. */
	assert_int_equal(SSL_write(r.ssl, "again", 5), 5);
	SSL_shutdown(r.ssl);
	pump(theirs[1], ours[1], 0);
	e.one_at_once = true;
	run(5);
	assert_int_equal(e.in_len, 15);
	assert_memory_equal(e.in, "helloworldagain", 15);
	assert_int_equal(e.last, STREAM_EOF);
	end_close(&e);
	raw_close(&r);
	close(ours[1]);
	close(theirs[1]);
	tls_ctx_unref(&c);
}

static int big_ticket(SSL *ssl, void *arg)
{
	static char data[2000];

	(void)arg;
	return SSL_SESSION_set1_ticket_appdata(SSL_get0_session(ssl), data, sizeof data);
}

/* A ticket that has come in part: OpenSSL must read the rest of it before it writes. */
static void test_write_wants_read(void **state)
{
	struct tls_ctx *c = connector(TLS_PREFER, NULL, NULL);
	SSL_CTX *raw = raw_context(true, "server");
	struct iovec v = {.iov_base = (void *)(uintptr_t) "query", .iov_len = 5};
	struct end e;
	struct raw r;
	int ours[2], theirs[2];
	char text[16];

	(void)state;
	SSL_CTX_set_session_ticket_cb(raw, big_ticket, NULL, NULL);
	SSL_CTX_set_num_tickets(raw, 1);
	SSL_CTX_set_max_send_fragment(raw, 512);
	make_pair(ours, 0);
	make_pair(theirs, 0);
	end_open(&e, ours[0]);
	raw_open(&r, raw, theirs[0]);
	SSL_set_accept_state(r.ssl);
	assert_true(tls_connect(&e.s, c, "db.example", false, NULL));
	for (int i = 0; i < 10 && e.secured == 0; i++) {
		pump(ours[1], theirs[1], 0);
		raw_step(&r);
		pump(theirs[1], ours[1], 0);
		run(2);
	}
	assert_int_equal(e.secured, 1);
	pump(ours[1], theirs[1], 0);
	raw_step(&r);
	assert_true(r.done);
	assert_int_equal(SSL_write(r.ssl, "answer", 6), 6);
	/* One record of the ticket. */
	assert_int_equal(pump(theirs[1], ours[1], 512 + 5 + 1 + 16), 534);
	run(3);
	assert_int_equal(e.in_len, 0);
	assert_int_equal(e.secured, 1);
	assert_int_equal(stream_writev(&e.s, &v, 1), STREAM_AGAIN);
	assert_int_equal(e.s.tls_write_wants_read, 1);
	assert_int_equal(e.s.tls_retry_len, 5);
	/* It waits for the socket to be readable, not for room that is there. */
	e.out = "query";
	e.out_len = 5;
	stream_want(&e.s, false, true);
	e.sends = 0;
	run(3);
	assert_int_equal(e.sends, 0);
	/* What the write finds behind the ticket is read without another event. */
	pump(theirs[1], ours[1], 0);
	run(5);
	assert_int_equal(e.sends, 1);
	assert_int_equal(e.s.tls_write_wants_read, 0);
	assert_int_equal(e.s.tls_retry_len, 0);
	assert_int_equal(e.in_len, 6);
	assert_memory_equal(e.in, "answer", 6);
	pump(ours[1], theirs[1], 0);
	assert_int_equal(SSL_read(r.ssl, text, sizeof text), 5);
	end_close(&e);
	raw_close(&r);
	close(ours[1]);
	close(theirs[1]);
	tls_ctx_unref(&c);
}

/* A handshake that finds no room goes on when there is some. */
static void test_handshake_wants_write(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "long", NULL);
	struct end e;
	struct raw r;
	int fd[2];

	(void)state;
	make_pair(fd, 4608);
	end_open(&e, fd[0]);
	raw_open(&r, raw_context(false, NULL), fd[1]);
	SSL_set_connect_state(r.ssl);
	assert_true(tls_accept(&e.s, c, false));
	raw_step(&r);
	run(3);
	assert_int_equal(e.s.tls_read_wants_write, 1);
	assert_int_equal(e.s.armed & EV_WRITE, EV_WRITE);
	for (int i = 0; i < 40; i++) {
		raw_step(&r);
		run(2);
	}
	assert_int_equal(e.secured, 1);
	assert_int_equal(e.s.tls_read_wants_write, 0);
	assert_true(r.done);
	end_close(&e);
	raw_close(&r);
	tls_ctx_unref(&c);
}

static void test_key_update(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	struct end e;
	struct raw r;
	char text[16];

	(void)state;
	raw_client(&r, &e, c, false, raw_context(false, NULL));
	handshake(&r);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(r.ssl, "ping", 4), 4);
		run(3);
		assert_int_equal(e.in_len, 4 * (i + 1));
		assert_int_equal(stream_writev(&e.s, &(struct iovec){.iov_base = text, .iov_len = 4}, 1), 4);
		assert_int_equal(SSL_read(r.ssl, text, sizeof text), 4);
	}
	end_close(&e);
	raw_close(&r);
	tls_ctx_unref(&c);
}

static void test_no_renegotiation(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	SSL_CTX *raw = raw_context(false, NULL);
	struct end e;
	struct raw r;

	(void)state;
	SSL_CTX_set_max_proto_version(raw, TLS1_2_VERSION);
	raw_client(&r, &e, c, false, raw);
	handshake(&r);
	assert_int_equal(e.secured, 1);
	assert_int_equal(SSL_renegotiate(r.ssl), 1);
	r.done = false;
	handshake(&r);
	/* A warning goes back, and it stays undone. */
	assert_false(r.done);
	assert_int_equal(e.secured, 1);
	end_close(&e);
	raw_close(&r);
	tls_ctx_unref(&c);
}

/* ---- the end ---------------------------------------------------------------- */

static void test_close_notify(void **state)
{
	char *data = pattern(200000, 3);

	(void)state;
	for (int blocked = 0; blocked < 2; blocked++) {
		struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
		struct end e;
		struct raw r;
		char text[4096];
		int rc, buffer = 4608;

		raw_client(&r, &e, c, false, raw_context(false, NULL));
		handshake(&r);
		if (blocked) {
			assert_int_equal(setsockopt(e.s.fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer), 0);
			e.out = data;
			e.out_len = 200000;
			send_some(&e);
			assert_true(e.s.tls_retry_len > 0);
		}
		end_close(&e);
		do {
			ERR_clear_error();
			rc = SSL_read(r.ssl, text, sizeof text);
		} while (rc > 0);
		/* Behind half a record it cannot go. */
		assert_int_equal(SSL_get_error(r.ssl, rc), blocked ? SSL_ERROR_SSL : SSL_ERROR_ZERO_RETURN);
		if (blocked)
			assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_UNEXPECTED_EOF_WHILE_READING);
		raw_close(&r);
		tls_ctx_unref(&c);
	}
	free(data);
}

static void test_ends(void **state)
{
	enum { NOTIFY, JUST_CLOSE, RESET, BAD_RECORD, PLAIN_ALERT, KINDS };

	(void)state;
	for (int kind = 0; kind < KINDS; kind++) {
		struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
		struct end e;
		struct raw r;
		struct iovec v = {.iov_base = (void *)(uintptr_t) "x", .iov_len = 1};
		ssize_t expected = kind == NOTIFY || kind == JUST_CLOSE ? STREAM_EOF : STREAM_BROKEN;

		raw_client(&r, &e, c, false, raw_context(false, NULL));
		handshake(&r);
		run(2);
		while (SSL_read(r.ssl, &(char[64]){0}, 64) > 0)
			;
		ERR_clear_error();
		if (kind == NOTIFY)
			SSL_shutdown(r.ssl);
		if (kind == RESET) /* something unread on a unix socket makes it one */
			assert_int_equal(stream_writev(&e.s, &v, 1), 1);
		if (kind == BAD_RECORD)
			assert_int_equal(send(r.fd,
						 "\x17\x03\x03\x00\x20"
						 "0123456789abcdef0123456789abcdef",
						 37, 0),
				37);
		if (kind == JUST_CLOSE || kind == RESET) {
			close(r.fd);
			r.fd = -1;
		}
		if (kind == PLAIN_ALERT)
			assert_int_equal(send(r.fd, "\x15\x03\x03\x00\x02\x02\x28", 7, 0), 7);
		run(3);
		assert_true(e.over);
		assert_int_equal(e.last, expected);
		/* It stays so. */
		assert_int_equal(stream_read(&e.s, e.in, 1), expected);
		if (kind != NOTIFY)
			assert_int_equal(stream_writev(&e.s, &v, 1), STREAM_BROKEN);
		if (kind == RESET)
			assert_string_equal(error_of(&e), strerror(ECONNRESET));
		if (kind == BAD_RECORD)
			assert_string_equal(error_of(&e), "decryption failed or bad record mac");
		end_close(&e);
		raw_close(&r);
		tls_ctx_unref(&c);
	}
}

/* ---- sessions and reloads ---------------------------------------------------- */

/* One connection of ours to the bare server; was it resumed? */
static bool resumes(struct tls_ctx *c, SSL_CTX *server, const char *host, const char *key)
{
	struct end e;
	struct raw r;
	bool reused;

	SSL_CTX_up_ref(server);
	raw_server(&r, &e, c, host, false, key, server);
	handshake(&r);
	assert_int_equal(e.secured, 1);
	/* Under TLS 1.3 the ticket is read with the first bytes. */
	assert_int_equal(SSL_write(r.ssl, "x", 1), 1);
	run(3);
	assert_int_equal(e.in_len, 1);
	reused = SSL_session_reused(r.ssl);
	end_close(&e);
	raw_close(&r);
	return reused;
}

/* A connection of ours that nobody answers. */
static void fails(struct tls_ctx *c, const char *host, const char *key)
{
	struct end e;
	int fd[2];

	make_pair(fd, 0);
	end_open(&e, fd[0]);
	assert_true(tls_connect(&e.s, c, host, false, key));
	close(fd[1]);
	run(3);
	assert_int_equal(e.failed, 1);
	end_close(&e);
}

static void test_resume_connecting(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct tls_ctx *c = connector(TLS_VERIFY_FULL, NULL, "ca.crt"),
			       *other = connector(TLS_PREFER, NULL, NULL);
		SSL_CTX *server = raw_context(true, "server"), *new_server = raw_context(true, "server");
		char key[32];

		SSL_CTX_set_max_proto_version(server, versions[i]);
		SSL_CTX_set_max_proto_version(new_server, versions[i]);
		assert_false(resumes(c, server, "db.example", "db.example:5432"));
		assert_true(resumes(c, server, "db.example", "db.example:5432"));
		assert_true(resumes(c, server, "db.example", "db.example:5432"));
		/* not for another port, another name, another context, nor without a key */
		assert_false(resumes(c, server, "db.example", "db.example:5433"));
		assert_false(resumes(c, server, "a.pool.example", "db.example:5432"));
		assert_false(resumes(other, server, "db.example", "db.example:5432"));
		assert_false(resumes(c, server, "db.example", NULL));
		assert_false(resumes(c, server, "db.example", ""));
		/* a server with other ticket keys just begins anew */
		assert_false(resumes(c, new_server, "db.example", "db.example:5432"));
		assert_true(resumes(c, new_server, "db.example", "db.example:5432"));
		/* what is kept is bounded: the least used goes */
		assert_true(resumes(c, server, "db.example", "db.example:5433"));
		for (int n = 0; n < 64; n++) {
			snprintf(key, sizeof key, "k%d", n);
			assert_false(resumes(c, server, "db.example", key));
		}
		assert_false(resumes(c, server, "db.example", "db.example:5433"));
		assert_true(resumes(c, server, "db.example", "k63"));
		/* after a failure the session is not tried again */
		assert_true(resumes(c, server, "db.example", "k62"));
		fails(c, "db.example", "k62");
		assert_false(resumes(c, server, "db.example", "k62"));
		tls_ctx_unref(&c);
		tls_ctx_unref(&other);
		SSL_CTX_free(server);
		SSL_CTX_free(new_server);
	}
}

/* A certificate that has expired since is looked at again by those who look. */
static void test_no_resumption_beyond_expiry(void **state)
{
	struct tls_ctx *c = connector(TLS_REQUIRE, NULL, NULL);
	SSL_CTX *server = raw_context(true, "expired"), *good = raw_context(true, "server");

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_false(resumes(c, server, "db.example", "db.example:5432"));
	assert_false(resumes(c, good, "db.example", "db.example:5432"));
	assert_true(resumes(c, good, "db.example", "db.example:5432"));
	tls_ctx_unref(&c);
	SSL_CTX_free(server);
	SSL_CTX_free(good);
}

static SSL_SESSION *newest;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(newest);
	newest = session;
	return 1;
}

/* One connection of the bare client to ours, with the session of the last one. */
static bool client_resumes(struct tls_ctx *c, SSL_CTX *client, bool *verified)
{
	struct end e;
	struct raw r;
	bool reused;
	char text[16];

	SSL_CTX_up_ref(client);
	raw_client(&r, &e, c, false, client);
	if (newest != NULL)
		SSL_set_session(r.ssl, newest);
	handshake(&r);
	assert_int_equal(e.secured, 1);
	assert_int_equal(stream_writev(&e.s, &(struct iovec){.iov_base = text, .iov_len = 4}, 1), 4);
	assert_int_equal(SSL_read(r.ssl, text, sizeof text), 4);
	reused = SSL_session_reused(r.ssl);
	*verified = tls_peer_verified(&e.s) && tls_peer_cn(&e.s, text, sizeof text) && strcmp(text, "alice") == 0;
	end_close(&e);
	/* Without it OpenSSL takes the session for a bad one. */
	SSL_shutdown(r.ssl);
	raw_close(&r);
	return reused;
}

static void test_resume_accepting(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	SSL_CTX *client = raw_context(false, NULL);
	bool verified;

	(void)state;
	SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(client, keep_session);
	assert_false(client_resumes(c, client, &verified));
	assert_non_null(newest);
	assert_true(client_resumes(c, client, &verified));
	assert_false(verified);
	/* After a reload the old ticket is worth nothing. */
	tls_ctx_unref(&c);
	c = acceptor(TLS_REQUIRE, "server", NULL);
	assert_false(client_resumes(c, client, &verified));
	assert_true(client_resumes(c, client, &verified));
	SSL_SESSION_free(newest);
	newest = NULL;
	SSL_CTX_free(client);
	tls_ctx_unref(&c);
}

/* A ticket would bring a certificate that was good once: it is shown and verified each time. */
static void test_no_tickets_for_certificates(void **state)
{
	static const enum tls_mode modes[] = {TLS_VERIFY_FULL, TLS_VERIFY_CA, TLS_PREFER};
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	bool verified;

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		for (size_t v = 0; v < sizeof(versions) / sizeof(versions[0]); v++) {
			struct tls_ctx *c = acceptor(modes[i], "server", "ca.crt");
			SSL_CTX *client = raw_context(false, "alice");

			SSL_CTX_set_max_proto_version(client, versions[v]);
			SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
			SSL_CTX_sess_set_new_cb(client, keep_session);
			for (int n = 0; n < 2; n++) {
				assert_false(client_resumes(c, client, &verified));
				assert_true(verified);
			}
			SSL_SESSION_free(newest);
			newest = NULL;
			SSL_CTX_free(client);
			tls_ctx_unref(&c);
		}
}

/* Nothing of a session is kept on our side: without a ticket none is resumed. */
static void test_no_session_cache(void **state)
{
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	SSL_CTX *client = raw_context(false, NULL);
	bool verified;

	(void)state;
	SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
	SSL_CTX_set_options(client, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(client, keep_session);
	for (int i = 0; i < 2; i++)
		assert_false(client_resumes(c, client, &verified));
	SSL_SESSION_free(newest);
	newest = NULL;
	SSL_CTX_free(client);
	tls_ctx_unref(&c);
}

/* A client that has several certificates is told whose are looked at. */
static void test_names_of_authorities(void **state)
{
	struct tls_ctx *c = acceptor(TLS_PREFER, "server", "ca.crt");
	const STACK_OF(X509_NAME) * names;
	struct end e;
	struct raw r;
	char text[64];

	(void)state;
	raw_client(&r, &e, c, false, raw_context(false, NULL));
	handshake(&r);
	names = SSL_get0_peer_CA_list(r.ssl);
	assert_int_equal(sk_X509_NAME_num(names), 1);
	X509_NAME_get_text_by_NID(sk_X509_NAME_value(names, 0), NID_commonName, text, sizeof text);
	assert_string_equal(text, "ca");
	end_close(&e);
	raw_close(&r);
	tls_ctx_unref(&c);
}

static void test_reload(void **state)
{
	struct tls_ctx *ac = acceptor(TLS_REQUIRE, "server", NULL), *bc = connector(TLS_PREFER, NULL, NULL);
	struct end a, b, a2, b2;
	uint8_t old[64], new[64], again[64];
	char text[] = "still here";

	(void)state;
	connect_both(&a, &b, ac, bc, "db.example", 0);
	assert_int_equal(tls_server_end_point(&b.s, old), 32);
	/* The context goes, what it made stays. */
	tls_ctx_unref(&ac);
	ac = acceptor(TLS_REQUIRE, "cnonly", NULL);
	connect_both(&a2, &b2, ac, bc, "db.example", 0);
	assert_int_equal(tls_server_end_point(&b2.s, new), 32);
	assert_memory_not_equal(old, new, 32);
	tls_ctx_unref(&ac);
	tls_ctx_unref(&bc);
	assert_int_equal(stream_writev(&a.s, &(struct iovec){.iov_base = text, .iov_len = 10}, 1), 10);
	run(3);
	assert_int_equal(b.in_len, 10);
	assert_int_equal(tls_server_end_point(&a.s, again), 32);
	assert_memory_equal(old, again, 32);
	end_close(&a);
	end_close(&b);
	end_close(&a2);
	end_close(&b2);
	assert_int_equal(mem_usage_get(MEM_TLS).objects, 0);
}

/* ---- memory ----------------------------------------------------------------- */

/* An accepted connection after its login; returns what it holds. */
static size_t open_idle(struct end *e, struct raw *r, struct tls_ctx *c)
{
	size_t ours = mem_usage_get(MEM_TLS).bytes;
	struct iovec v = {.iov_base = (void *)(uintptr_t) "answer", .iov_len = 6};
	char text[16];
	int fd[2];

	counted = 0;
	make_pair(fd, 0);
	end_open(e, fd[0]);
	raw_open(r, raw_context(false, NULL), fd[1]);
	SSL_set_connect_state(r->ssl);
	counting = true;
	assert_true(tls_accept(&e->s, c, false));
	counting = false;
	for (int i = 0; i < 6; i++) {
		raw_step(r);
		counting = true;
		run(2);
		counting = false;
	}
	assert_int_equal(e->secured, 1);
	assert_int_equal(SSL_write(r->ssl, "query", 5), 5);
	counting = true;
	run(2);
	assert_int_equal(stream_writev(&e->s, &v, 1), 6);
	counting = false;
	assert_int_equal(e->in_len, 5);
	assert_int_equal(SSL_read(r->ssl, text, sizeof text), 6);
	return counted + mem_usage_get(MEM_TLS).bytes - ours;
}

static void test_idle_client_is_small(void **state)
{
	enum { LIMIT = 14438 }; /* 14.1 KiB */
	struct tls_ctx *c = acceptor(TLS_REQUIRE, "server", NULL);
	struct end e[3];
	struct raw r[3];
	size_t bytes = 0;

	(void)state;
	/* What OpenSSL makes once and for all comes with the first one. */
	for (int i = 0; i < 3; i++)
		bytes = open_idle(&e[i], &r[i], c);
	print_message("# an idle TLS client: %zu bytes\n", bytes);
	assert_true(bytes > 4096);
	assert_true(bytes <= LIMIT);
	for (int i = 0; i < 3; i++) {
		end_close(&e[i]);
		raw_close(&r[i]);
	}
	tls_ctx_unref(&c);
}

static int setup(void **state)
{
	static char names[20000];
	size_t n = 0;

	(void)state;
	folder = certs_folder();
	certs_make(folder, &(struct cert){.name = "ca", .cn = "ca"});
	certs_make(folder, &(struct cert){.name = "ca2", .cn = "ca2"});
	certs_make(folder, &(struct cert){.name = "server",
				   .cn = "cn.example",
				   .issuer = "ca",
				   .san = "DNS:db.example,DNS:*.pool.example,DNS:part*.x.example,IP:127.0.0.1,IP:::1"});
	certs_make(folder, &(struct cert){.name = "cnonly", .cn = "cn.example", .issuer = "ca"});
	certs_make(folder, &(struct cert){.name = "self", .cn = "db.example"});
	certs_make(folder, &(struct cert){.name = "alice", .cn = "alice", .issuer = "ca"});
	certs_make(folder, &(struct cert){.name = "expired", .cn = "db.example", .issuer = "ca", .expired = true});
	certs_make(folder, &(struct cert){.name = "nul", .cn = "alice\0bob", .cn_len = 9, .issuer = "ca"});
	certs_make(folder, &(struct cert){.name = "nocn", .issuer = "ca"});
	certs_make(folder, &(struct cert){.name = "server384", .cn = "db.example", .digest = "SHA384"});
	certs_make(folder, &(struct cert){.name = "serversha1", .cn = "db.example", .digest = "SHA1"});
	certs_make(folder, &(struct cert){.name = "serverrsa", .cn = "db.example", .key = "RSA", .digest = "SHA512"});
	certs_make(folder, &(struct cert){.name = "servered", .cn = "db.example", .key = "ED25519", .digest = ""});
	while (n < sizeof names - 100)
		n += (size_t)sprintf(names + n, "%sDNS:host%zu.example", n != 0 ? "," : "", n);
	certs_make(folder, &(struct cert){.name = "long", .cn = "db.example", .san = names});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	certs_remove(folder);
	return 0;
}

/* A loop for each, so that what a failed test leaves behind does not hang the others. */
static int setup_loop(void **state)
{
	(void)state;
	open_ends = 0;
	loop_init(&loop, true);
	return 0;
}

static int teardown_loop(void **state)
{
	(void)state;
	if (open_ends == 0)
		loop_free(&loop);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_loop, teardown_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_verification),
		TEST(test_describe),
		TEST(test_protocols),
		TEST(test_channel_binding),
		TEST(test_sni),
		TEST(test_impossible_name),
		TEST(test_bytes_in_the_clear),
		TEST(test_not_tls_at_all),
		TEST(test_reset_in_handshake),
		TEST(test_cut_handshake),
		TEST(test_alpn_accepting),
		TEST(test_alpn_connecting),
		TEST(test_sizes_and_pieces),
		TEST(test_nothing_to_write),
		TEST(test_blocked_write),
		TEST(test_read_while_write_blocked),
		TEST(test_pending),
		TEST(test_record_in_parts),
		TEST(test_write_wants_read),
		TEST(test_handshake_wants_write),
		TEST(test_key_update),
		TEST(test_no_renegotiation),
		TEST(test_close_notify),
		TEST(test_ends),
		TEST(test_resume_connecting),
		TEST(test_no_resumption_beyond_expiry),
		TEST(test_resume_accepting),
		TEST(test_no_tickets_for_certificates),
		TEST(test_no_session_cache),
		TEST(test_names_of_authorities),
		TEST(test_reload),
		TEST(test_idle_client_is_small),
	};

	/* The bare peers write to sockets that are closed; ours must not need this. */
	signal(SIGPIPE, SIG_IGN);
	/* Before anything of OpenSSL allocates. */
	if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, setup, teardown);
}
