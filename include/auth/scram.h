/*
 * scram: SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677, 5929; PostgreSQL
 * manual, 55.3), both sides. Bytes in, bytes out: it knows no connection and no
 * message frame. A struct scram_server or scram_client lives as long as one
 * login and is wiped when it is freed.
 */
#ifndef PSBOUNCER_AUTH_SCRAM_H
#define PSBOUNCER_AUTH_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/secret.h"

enum {
	SCRAM_MESSAGE_MAX = 4096, /* longest message that is taken */
	SCRAM_NONCE_MAX = 1024	  /* longest nonce, both halves */
};

#define SCRAM_NAME "SCRAM-SHA-256"
#define SCRAM_PLUS_NAME "SCRAM-SHA-256-PLUS"

/* HMAC-SHA-256, without an allocation; key and out have 32 bytes. */
void scram_hmac(const uint8_t *key, const void *data, size_t n, uint8_t *out);

enum scram_result {
	SCRAM_OK,
	SCRAM_MALFORMED, /* the peer breaks the protocol */
	SCRAM_REFUSED,	 /* well-formed, but the password (or the server's proof) is wrong */
	SCRAM_FAILED	 /* we cannot: OpenSSL failed, or the keys do not fit */
};

/* What the connection below has to bind to. */
struct scram_binding {
	uint8_t data[64]; /* tls-server-end-point: tls_server_end_point() */
	size_t len;	  /* 0: none, PLUS is neither offered nor chosen */
};

/*
 * What of a user's secret is worth keeping, so that PBKDF2 runs once: the
 * verifier that was made of a plain secret (for clients), and keys by salt (for
 * servers): derived from a plain secret, or taken from a client that logged in
 * against a SCRAM secret. All is bound to the secret: with another one it counts
 * for nothing. Zero-initialise; scram_cache_clear() wipes it.
 */
struct scram_keys;
struct scram_cache {
	struct scram_verifier *verifier;
	uint8_t verifier_tag[SCRAM_KEY]; /* of the secret it belongs to */
	struct scram_keys *keys;	 /* newest first, a few */
};
void scram_cache_clear(struct scram_cache *c);
/* Can a server that asks for SCRAM be answered with this secret? Plain: always; SCRAM: once a client has logged in. */
bool scram_cache_can_log_in(const struct scram_cache *c, const char *secret);

/* ---- the server's side: clients log in to us -------------------------------- */

struct scram_server;

/*
 * The verifier of a user's secret (plain or SCRAM; cache may be NULL). False: an
 * md5 or empty secret or NULL, and the caller goes on with scram_mock_verifier().
 * A plain secret takes PBKDF2's time unless the cache has it.
 */
bool scram_verifier_of(const char *secret, struct scram_cache *cache, struct scram_verifier *v)
	__attribute__((warn_unused_result));
/*
 * For a user who does not exist: looks like any other (the salt is always the
 * same for a name under one mock_key, which is random and lives as long as the
 * process) and never matches.
 */
void scram_mock_verifier(const uint8_t mock_key[SCRAM_KEY], const char *user, struct scram_verifier *v);

/* v and b are copied. What to offer: SCRAM_PLUS_NAME when b->len, then SCRAM_NAME. */
struct scram_server *scram_server_new(const struct scram_verifier *v, const struct scram_binding *b)
	__attribute__((warn_unused_result));
void scram_server_free(struct scram_server **s); /* NULL inside is fine */

/*
 * SASLInitialResponse: mechanism and client-first-message (in NULL: none was
 * sent, then *out is empty and the client's first comes with scram_server_next()).
 * On SCRAM_OK *out is what to send in AuthenticationSASLContinue; it is valid
 * until the next call.
 */
enum scram_result scram_server_start(struct scram_server *s, const char *mechanism, const void *in, size_t len,
	const char **out, size_t *out_len) __attribute__((warn_unused_result));
/*
 * SASLResponse. On SCRAM_OK: when scram_server_is_done() *out goes into
 * AuthenticationSASLFinal and the client is who he says; otherwise into
 * AuthenticationSASLContinue.
 */
enum scram_result scram_server_next(struct scram_server *s, const void *in, size_t len, const char **out,
	size_t *out_len) __attribute__((warn_unused_result));
bool scram_server_is_done(const struct scram_server *s);
/* Why the last call was not SCRAM_OK. */
const char *scram_server_error(const struct scram_server *s);
/* After success: keeps the client's keys for logins to servers, when secret is a SCRAM secret (else does nothing). */
void scram_server_keep_keys(const struct scram_server *s, const char *secret, struct scram_cache *cache);

/* ---- the client's side: we log in to servers -------------------------------- */

struct scram_client;

/*
 * secret: plain, or a SCRAM secret whose keys the cache has (NULL is returned
 * otherwise, as for md5 and empty ones). cache may be NULL for a plain one; it
 * must outlive the struct.
 */
struct scram_client *scram_client_new(const char *secret, struct scram_cache *cache, const struct scram_binding *b)
	__attribute__((warn_unused_result));
void scram_client_free(struct scram_client **c); /* NULL inside is fine */

/*
 * AuthenticationSASL: the list of mechanisms as it came (each with its NUL, an
 * empty one ends it). On SCRAM_OK *mechanism and *out make SASLInitialResponse.
 */
enum scram_result scram_client_start(struct scram_client *c, const void *mechanisms, size_t len, const char **mechanism,
	const char **out, size_t *out_len) __attribute__((warn_unused_result));
/* AuthenticationSASLContinue: *out goes into SASLResponse. Takes PBKDF2's time unless the cache knows the salt. */
enum scram_result scram_client_next(struct scram_client *c, const void *in, size_t len, const char **out,
	size_t *out_len) __attribute__((warn_unused_result));
/* AuthenticationSASLFinal: SCRAM_OK when the server knows the password as well. */
enum scram_result scram_client_final(struct scram_client *c, const void *in, size_t len)
	__attribute__((warn_unused_result));
/* AuthenticationOk may be believed only now. */
bool scram_client_is_done(const struct scram_client *c);
const char *scram_client_error(const struct scram_client *c);

/* Tests and fuzzing: nonces (and a user name, which PostgreSQL does not look at) instead of random ones, before start. */
void scram_server_fix_nonce(struct scram_server *s, const char *nonce);
void scram_client_fix_nonce(struct scram_client *c, const char *user, const char *nonce);

#endif
