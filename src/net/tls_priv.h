/*
 * What tls.c (connections) and tls_ctx.c (contexts) share.
 */
#ifndef PSBOUNCER_NET_TLS_PRIV_H
#define PSBOUNCER_NET_TLS_PRIV_H

#include <openssl/ssl.h>

#include "net/tls.h"

/* Sessions kept for resumption in one connecting context: servers are few. */
enum { TLS_SESSIONS = 64 };

struct tls_session {
	char *key;
	SSL_SESSION *session;
	uint64_t used; /* counts up; the least goes first */
};

struct tls_ctx {
	unsigned refs;
	bool accepting;
	enum tls_mode mode;
	SSL_CTX *ssl;
	BIO_METHOD *bio;
	struct tls_session *sessions; /* TLS_SESSIONS of them when connecting, NULL when accepting */
	uint64_t session_clock;
};

/* "postgresql" as ALPN writes it: its length, then the name. */
#define TLS_ALPN "\012postgresql"
enum { TLS_ALPN_LEN = 11 };

/* tls.c: what a context needs of the connections' code. NULL when memory is out. */
BIO_METHOD *tls_bio_new(void);
void tls_install_callbacks(struct tls_ctx *c);

/* tls_ctx.c: the session kept under key, NULL if there is none (no reference is handed over). */
SSL_SESSION *tls_session_find(struct tls_ctx *c, const char *key);
/* Takes the reference over. */
void tls_session_keep(struct tls_ctx *c, const char *key, SSL_SESSION *session);
void tls_session_drop(struct tls_ctx *c, const char *key);

#endif
