/*
 * What the two sides of scram (scram_server.c, scram_client.c) and the cache
 * (scram.c) share.
 */
#ifndef PSBOUNCER_AUTH_SCRAM_PRIV_H
#define PSBOUNCER_AUTH_SCRAM_PRIV_H

#include "auth/base64.h"
#include "auth/scram.h"

#define SCRAM_BINDING_TYPE "tls-server-end-point"

enum {
	SCRAM_CACHE_KEYS = 8, /* salts kept for a user: as many servers with passwords of their own */
	SCRAM_NONCE_BYTES = 18,
	/* "c=" of the longest GS2 header and binding data */
	SCRAM_BINDING_TEXT = BASE64_LEN(sizeof "p=" SCRAM_BINDING_TYPE ",," + 64) + 1
};

/* Keys of one secret under one salt. */
struct scram_keys {
	struct scram_keys *next;
	uint8_t tag[SCRAM_KEY]; /* of the secret */
	uint32_t iterations;
	uint8_t salt_len;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t client_key[SCRAM_KEY];
	uint8_t server_key[SCRAM_KEY];
};

/* A secret's name in the cache. */
void scram_tag(const char *secret, uint8_t tag[SCRAM_KEY]);
/* NULL: none. salt NULL: any of the secret. */
const struct scram_keys *scram_cache_find(const struct scram_cache *c, const uint8_t tag[SCRAM_KEY],
	const uint8_t *salt, size_t salt_len, uint32_t iterations);
/* Copies *k in front; the oldest ones go. */
void scram_cache_put(struct scram_cache *c, const struct scram_keys *k);

/* A message as a string (MEM_LOGIN), NULL and *error when it is empty, too long or holds a NUL. */
char *scram_take(const void *in, size_t len, const char **error);
/*
 * The attribute that must come next in the message at *p: its value, which ends
 * at the next comma (overwritten by a NUL) or the end; *p moves behind it and is
 * NULL after the last one. NULL when there is none of that name.
 */
char *scram_attribute(char **p, char name);
/* Any attributes that may follow: the extensions that nobody has to know. False: malformed, or one that is a must. */
bool scram_skip_extensions(char **p, const char **error);
bool scram_nonce_is_valid(const char *nonce);
/* A fresh one (MEM_LOGIN), or a copy of fixed. */
char *scram_new_nonce(const char *fixed);

/* SHA-256. */
void scram_hash(const void *in, size_t n, uint8_t out[SCRAM_KEY]);
void scram_xor(const uint8_t *a, const uint8_t *b, uint8_t *out);
/* What "c=" must hold for this header and, if it is bound, this data. */
void scram_binding_text(const char *gs2_header, const struct scram_binding *b, char out[SCRAM_BINDING_TEXT]);

#endif
