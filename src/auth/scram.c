/*
 * scram: what both sides of SCRAM need (attributes, nonces, HMAC), and the cache
 * of keys. The exchanges are in scram_server.c and scram_client.c.
 */
/*
 * The functions of SHA-256 itself: HMAC() and SHA256() fetch the algorithm anew
 * and allocate a dozen times at each call, which was a third of a login.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "scram_priv.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/mem.h"

/* ---- the cache ---------------------------------------------------------------- */

void scram_tag(const char *secret, uint8_t tag[SCRAM_KEY])
{
	scram_hash(secret, strlen(secret), tag);
}

static void free_keys(struct scram_keys **list)
{
	while (*list != NULL) {
		struct scram_keys *k = *list;

		*list = k->next;
		mem_wipe(k, sizeof *k);
		xfree(MEM_USER, k);
	}
}

void scram_cache_clear(struct scram_cache *c)
{
	mem_wipe(c->verifier, sizeof *c->verifier);
	xfree(MEM_USER, c->verifier);
	free_keys(&c->keys);
	mem_wipe(c, sizeof *c);
}

const struct scram_keys *scram_cache_find(const struct scram_cache *c, const uint8_t tag[SCRAM_KEY],
	const uint8_t *salt, size_t salt_len, uint32_t iterations)
{
	for (const struct scram_keys *k = c->keys; k != NULL; k = k->next) {
		if (memcmp(k->tag, tag, SCRAM_KEY) != 0)
			continue;
		if (salt == NULL || (k->iterations == iterations && k->salt_len == salt_len &&
					    memcmp(k->salt, salt, salt_len) == 0))
			return k;
	}
	return NULL;
}

void scram_cache_put(struct scram_cache *c, const struct scram_keys *k)
{
	struct scram_keys *copy, **p = &c->keys;
	unsigned n = 1;

	if (scram_cache_find(c, k->tag, k->salt, k->salt_len, k->iterations) != NULL)
		return;
	copy = xmalloc(MEM_USER, sizeof *copy);
	*copy = *k;
	copy->next = c->keys;
	c->keys = copy;
	while (*p != NULL && n++ <= SCRAM_CACHE_KEYS)
		p = &(*p)->next;
	free_keys(p);
}

bool scram_cache_can_log_in(const struct scram_cache *c, const char *secret)
{
	uint8_t tag[SCRAM_KEY];

	switch (secret_kind_of(secret)) {
	case SECRET_PLAIN: return true;
	case SECRET_SCRAM: scram_tag(secret, tag); return scram_cache_find(c, tag, NULL, 0, 0) != NULL;
	case SECRET_NONE:
	case SECRET_MD5: break;
	}
	return false;
}

static bool make_verifier(const char *secret, struct scram_cache *c, struct scram_verifier *v)
{
	uint8_t tag[SCRAM_KEY], salt[SCRAM_SALT];

	scram_tag(secret, tag);
	if (c != NULL && c->verifier != NULL && memcmp(c->verifier_tag, tag, sizeof tag) == 0) {
		*v = *c->verifier;
		return true;
	}
	secret_random(salt, sizeof salt);
	if (!secret_derive(secret, salt, sizeof salt, SCRAM_ITERATIONS, v, NULL))
		return false;
	if (c != NULL) {
		if (c->verifier == NULL)
			c->verifier = xmalloc(MEM_USER, sizeof *c->verifier);
		*c->verifier = *v;
		memcpy(c->verifier_tag, tag, sizeof tag);
	}
	return true;
}

bool scram_verifier_of(const char *secret, struct scram_cache *cache, struct scram_verifier *v)
{
	switch (secret_kind_of(secret)) {
	case SECRET_PLAIN: return make_verifier(secret, cache, v);
	case SECRET_SCRAM: return secret_parse_scram(secret, v);
	case SECRET_NONE:
	case SECRET_MD5: break;
	}
	return false;
}

void scram_mock_verifier(const uint8_t mock_key[SCRAM_KEY], const char *user, struct scram_verifier *v)
{
	uint8_t hash[SCRAM_KEY];

	*v = (struct scram_verifier){.iterations = SCRAM_ITERATIONS, .salt_len = SCRAM_SALT, .mock = true};
	/* HMAC, so that the salts of names tell nothing of the key. */
	scram_hmac(mock_key, user, strlen(user), hash);
	memcpy(v->salt, hash, SCRAM_SALT);
}

/* ---- messages ----------------------------------------------------------------- */

char *scram_take(const void *in, size_t len, const char **error)
{
	if (len == 0)
		*error = "malformed SCRAM message: it is empty";
	else if (len > SCRAM_MESSAGE_MAX)
		*error = "malformed SCRAM message: it is too long";
	else if (memchr(in, '\0', len) != NULL)
		*error = "malformed SCRAM message: it holds a zero byte";
	else
		return xstrndup(MEM_LOGIN, in, len);
	return NULL;
}

char *scram_attribute(char **p, char name)
{
	char *value, *end;

	if (*p == NULL || (*p)[0] != name || (*p)[1] != '=')
		return NULL;
	value = *p + 2;
	end = strchr(value, ',');
	if (end != NULL)
		*end++ = '\0';
	*p = end;
	return value;
}

bool scram_skip_extensions(char **p, const char **error)
{
	while (*p != NULL) {
		char name = **p;

		if (name == 'm') {
			*error = "SCRAM extension that must be known is not";
			return false;
		}
		if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z')) ||
			scram_attribute(p, name) == NULL) {
			*error = "malformed SCRAM message: an attribute is expected after a comma";
			return false;
		}
	}
	return true;
}

bool scram_nonce_is_valid(const char *nonce)
{
	size_t n = 0;

	for (; nonce[n] != '\0'; n++)
		if (nonce[n] < 0x21 || nonce[n] > 0x7e || nonce[n] == ',')
			return false;
	return n > 0 && n <= SCRAM_NONCE_MAX;
}

char *scram_new_nonce(const char *fixed)
{
	uint8_t raw[SCRAM_NONCE_BYTES];
	char text[BASE64_LEN(SCRAM_NONCE_BYTES) + 1];

	if (fixed != NULL)
		return xstrdup(MEM_LOGIN, fixed);
	secret_random(raw, sizeof raw);
	base64_encode(raw, sizeof raw, text);
	return xstrdup(MEM_LOGIN, text);
}

/* ---- arithmetic --------------------------------------------------------------- */

void scram_hash(const void *in, size_t n, uint8_t out[SCRAM_KEY])
{
	SHA256_CTX sha;

	SHA256_Init(&sha);
	SHA256_Update(&sha, in, n);
	SHA256_Final(out, &sha);
	OPENSSL_cleanse(&sha, sizeof sha);
}

/* RFC 2104, of a key that is shorter than a block. */
static void hash_padded(const uint8_t *key, uint8_t pad, const void *in, size_t n, uint8_t out[SCRAM_KEY])
{
	uint8_t block[SHA256_CBLOCK];
	SHA256_CTX sha;

	memset(block, pad, sizeof block);
	for (size_t i = 0; i < SCRAM_KEY; i++)
		block[i] ^= key[i];
	SHA256_Init(&sha);
	SHA256_Update(&sha, block, sizeof block);
	SHA256_Update(&sha, in, n);
	SHA256_Final(out, &sha);
	OPENSSL_cleanse(block, sizeof block);
	OPENSSL_cleanse(&sha, sizeof sha);
}

void scram_hmac(const uint8_t *key, const void *data, size_t n, uint8_t *out)
{
	uint8_t inner[SCRAM_KEY];

	hash_padded(key, 0x36, data, n, inner);
	hash_padded(key, 0x5c, inner, sizeof inner, out);
	OPENSSL_cleanse(inner, sizeof inner);
}

void scram_xor(const uint8_t *a, const uint8_t *b, uint8_t *out)
{
	for (size_t i = 0; i < SCRAM_KEY; i++)
		out[i] = a[i] ^ b[i];
}

void scram_binding_text(const char *gs2_header, const struct scram_binding *b, char out[SCRAM_BINDING_TEXT])
{
	uint8_t raw[SCRAM_BINDING_TEXT];
	size_t n = strlen(gs2_header);

	assert(BASE64_LEN(n + b->len) < SCRAM_BINDING_TEXT);
	memcpy(raw, gs2_header, n);
	if (gs2_header[0] == 'p') {
		memcpy(raw + n, b->data, b->len);
		n += b->len;
	}
	base64_encode(raw, n, out);
}
