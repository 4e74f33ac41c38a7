/*
 * tls: contexts, modes, verification, and the TLS floor below a stream. All of
 * OpenSSL that the loop sees stands here (auth/ uses libcrypto for itself).
 */
#ifndef PSBOUNCER_NET_TLS_H
#define PSBOUNCER_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct errs;
struct stream;
struct tls_ctx;

/* libpq's sslmode words, in rising order. */
enum tls_mode { TLS_DISABLE, TLS_ALLOW, TLS_PREFER, TLS_REQUIRE, TLS_VERIFY_CA, TLS_VERIFY_FULL };

/* As the settings have them; empty or NULL: not set. Files are read once, in tls_ctx_new(). */
struct tls_options {
	enum tls_mode mode;
	const char *key_file, *cert_file, *ca_file;
	const char *protocols; /* secure, all, tlsv1.0 ... tlsv1.3, comma separated */
	const char *ciphers;   /* TLS 1.2 and older; default, secure, fast, normal: OpenSSL's; all */
	const char *ciphers13;
	const char *ecdhcurve; /* client side only: auto, none, a curve */
	const char *dheparams; /* client side only: auto, none */
};

/*
 * A context for many connections, counted by reference. accepting: we are the
 * TLS server (clients), with session tickets and ALPN "postgresql". Otherwise we
 * are the TLS client (PostgreSQL servers). NULL and entries in errs when a file
 * cannot be read, key and certificate do not fit, or a word is unknown; `where`
 * names the setting's prefix in the texts ("client_tls", "server_tls").
 */
struct tls_ctx *tls_ctx_new(const struct tls_options *o, bool accepting, const char *where, struct errs *errs)
	__attribute__((warn_unused_result));
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c); /* NULL is fine */
void tls_ctx_unref(struct tls_ctx **c);		/* NULL inside is fine; connections in use keep it alive */
/* True when the key file can be read by others than its owner and group. */
bool tls_key_file_is_open(const char *file);

/*
 * Puts TLS over an open plain stream and begins the handshake; STREAM_SECURED or
 * STREAM_FAILED follow, never from inside the call.
 *
 * Accepting: false, and nothing changed, when bytes in the clear are still
 * unread and direct is not set (PostgreSQL manual, 55.2.10: bytes before the
 * handshake are an attack), or when memory is out. A ClientHello is no such
 * byte: a fast client has sent it when we have hardly answered. direct: the
 * first bytes are the ClientHello and stay unread in the socket, and ALPN must be
 * agreed. What the owner has read already he checks himself.
 *
 * Client certificates are asked for when there is a ca_file. From verify-ca on
 * one that is good is a must; below, none and a bad one are let in and only
 * tls_peer_verified() differs.
 */
bool tls_accept(struct stream *s, struct tls_ctx *c, bool direct) __attribute__((warn_unused_result));
/*
 * host: for SNI (names only, never addresses) and, under verify-full, the
 * certificate's name (address: its IP entries). direct: ALPN "postgresql" must be
 * agreed. session_key: sessions are kept and resumed under this text (host:port);
 * NULL or "": not at all. False, and nothing changed, when the server has sent
 * something already (in the clear), or when memory is out. The first flight is
 * sent inside the call.
 */
bool tls_connect(struct stream *s, struct tls_ctx *c, const char *host, bool direct, const char *session_key)
	__attribute__((warn_unused_result));

/* "TLSv1.3/TLS_AES_256_GCM_SHA384" into buf, "" for a plain stream. */
const char *tls_describe(const struct stream *s, char *buf, size_t size);
/* Common name of the peer's verified certificate into buf; false when there is none, or it holds a NUL. */
bool tls_peer_cn(const struct stream *s, char *buf, size_t size);
/* Did the peer show a certificate that was verified? */
bool tls_peer_verified(const struct stream *s);
/*
 * Channel binding data tls-server-end-point (RFC 5929, 4): our certificate's hash
 * when accepting, the peer's when connecting. Returns its length, 0 when there is none.
 */
size_t tls_server_end_point(const struct stream *s, uint8_t out[64]);

/* "OpenSSL 3.0.x ..." for --version. */
const char *tls_library(void);

#endif
