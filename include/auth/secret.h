/*
 * secret: what auth_file, a password= or auth_query holds for a user, and all
 * that can be done with it but SCRAM's messages (auth/scram). Pure functions on
 * text and bytes; comparisons take the same time whatever differs.
 *
 * An empty secret is one that no password matches.
 */
#ifndef PSBOUNCER_AUTH_SECRET_H
#define PSBOUNCER_AUTH_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum secret_kind { SECRET_NONE, SECRET_PLAIN, SECRET_MD5, SECRET_SCRAM };

enum {
	SCRAM_KEY = 32,	     /* SHA-256 */
	SCRAM_SALT_MAX = 64, /* PostgreSQL makes 16 bytes */
	SCRAM_SALT = 16,     /* what we make */
	SCRAM_ITERATIONS = 4096,
	SCRAM_ITERATIONS_MAX = 1000000, /* more would hold up the loop for a second and longer */
	SECRET_MD5_LEN = 35,		/* "md5" and 32 digits */
	SECRET_SCRAM_MAX = 256		/* a line that secret_format_scram() makes, NUL included */
};

/* What a server keeps of a SCRAM password (RFC 5802, 3). */
struct scram_verifier {
	uint32_t iterations;
	uint8_t salt_len;
	bool mock; /* of a user who does not exist: never matches */
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t stored_key[SCRAM_KEY];
	uint8_t server_key[SCRAM_KEY];
};

/* As PostgreSQL's get_password_type(): what looks like a hash but is not well-formed is a plain password. NULL is NONE. */
enum secret_kind secret_kind_of(const char *secret);

/* "SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY"; false when it is not, or beyond the limits above. */
bool secret_parse_scram(const char *secret, struct scram_verifier *v) __attribute__((warn_unused_result));
/* The same text from v, into out. */
void secret_format_scram(const struct scram_verifier *v, char out[SECRET_SCRAM_MAX]);
/*
 * A verifier of a password with this salt. Takes PBKDF2's time: some 0.3 us an
 * iteration. client_key may be NULL. False when OpenSSL fails.
 */
bool secret_derive(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
	struct scram_verifier *v, uint8_t client_key[SCRAM_KEY]) __attribute__((warn_unused_result));
/* A new secret line with a random salt. False when OpenSSL fails. */
bool secret_make_scram(const char *password, uint32_t iterations, char out[SECRET_SCRAM_MAX])
	__attribute__((warn_unused_result));

/*
 * MD5 authentication (PostgreSQL manual, 55.2.1: AuthenticationMD5Password). What
 * a client answers to the salt: "md5" + hex and a NUL into out. False for a
 * SCRAM or empty secret, or when OpenSSL has no MD5 (FIPS).
 */
bool secret_md5_response(const char *secret, const char *user, const uint8_t salt[4], char out[SECRET_MD5_LEN + 1])
	__attribute__((warn_unused_result));
/* Is it the right answer? */
bool secret_md5_check(const char *secret, const char *user, const uint8_t salt[4], const char *response)
	__attribute__((warn_unused_result));

/* Does a password that was sent in the clear fit the secret, of whatever kind? A SCRAM secret takes PBKDF2's time. */
bool secret_check_password(const char *secret, const char *user, const char *password)
	__attribute__((warn_unused_result));

/* n random bytes fit for keys. Ends the program when the system has none: nothing could be safe then. */
void secret_random(void *p, size_t n);
/* The same bytes out of a store, which asks the system for many at once. Zero-initialise. What was given is wiped from it. */
struct secret_store {
	uint8_t bytes[256];
	size_t left; /* at the front of bytes; the others were given */
};
void secret_random_from(struct secret_store *s, void *p, size_t n); /* n: at most 256 */

#endif
