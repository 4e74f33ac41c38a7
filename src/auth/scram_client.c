/*
 * scram_client: the client's side of SCRAM (RFC 5802, 5 and 7): we log in to a
 * server, with a password or with the keys of a client who has logged in to us.
 * Begun and fed by the server's login.
 */
#include "scram_priv.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum scram_client_state { AWAIT_MECHANISMS, AWAIT_FIRST, AWAIT_FINAL, DONE, FAILED };

struct scram_client {
	enum scram_client_state state;
	char *password;		   /* NULL: the cache has the keys, and they are all there is */
	struct scram_cache *cache; /* the user's, NULL: none */
	uint8_t tag[SCRAM_KEY];
	struct scram_binding b;
	struct scram_keys keys; /* in use */
	const char *gs2_header;
	char *user, *nonce; /* ours */
	char *first;	    /* with the GS2 header */
	char *final;
	char *auth_message;
	char error[160];
};

struct scram_client *scram_client_new(const char *secret, struct scram_cache *cache, const struct scram_binding *b)
{
	static const struct scram_cache none;
	struct scram_client *c;

	assert(b->len <= sizeof b->data);
	if (!scram_cache_can_log_in(cache != NULL ? cache : &none, secret))
		return NULL;
	c = xcalloc(MEM_LOGIN, 1, sizeof *c);
	c->cache = cache;
	c->b = *b;
	scram_tag(secret, c->tag);
	if (secret_kind_of(secret) == SECRET_PLAIN)
		c->password = xstrdup(MEM_LOGIN, secret);
	return c;
}

void scram_client_free(struct scram_client **cp)
{
	struct scram_client *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	xfree_secret(MEM_LOGIN, c->password);
	xfree(MEM_LOGIN, c->user);
	xfree(MEM_LOGIN, c->nonce);
	xfree(MEM_LOGIN, c->first);
	xfree_secret(MEM_LOGIN, c->final);
	xfree(MEM_LOGIN, c->auth_message);
	mem_wipe(c, sizeof *c);
	xfree(MEM_LOGIN, c);
}

void scram_client_fix_nonce(struct scram_client *c, const char *user, const char *nonce)
{
	c->user = xstrdup(MEM_LOGIN, user);
	c->nonce = xstrdup(MEM_LOGIN, nonce);
}

bool scram_client_is_done(const struct scram_client *c)
{
	return c->state == DONE;
}

const char *scram_client_error(const struct scram_client *c)
{
	return c->error;
}

static enum scram_result refuse(struct scram_client *c, enum scram_result r, const char *error)
{
	c->state = FAILED;
	snprintf(c->error, sizeof c->error, "%s", error);
	return r;
}

static enum scram_result malformed(struct scram_client *c, const char *error)
{
	return refuse(c, SCRAM_MALFORMED, error);
}

/* ---- client-first-message ------------------------------------------------------ */

/* What the server offers; false: the list has no end. */
static bool read_mechanisms(const char *list, size_t len, bool *scram, bool *plus)
{
	while (len > 0 && *list != '\0') {
		const char *end = memchr(list, '\0', len);

		if (end == NULL)
			return false;
		*scram |= strcmp(list, SCRAM_NAME) == 0;
		*plus |= strcmp(list, SCRAM_PLUS_NAME) == 0;
		len -= (size_t)(end + 1 - list);
		list = end + 1;
	}
	return len > 0;
}

enum scram_result scram_client_start(struct scram_client *c, const void *mechanisms, size_t len, const char **mechanism,
	const char **out, size_t *out_len)
{
	bool scram = false, plus = false;

	assert(c->state == AWAIT_MECHANISMS);
	*mechanism = *out = "";
	*out_len = 0;
	if (!read_mechanisms(mechanisms, len, &scram, &plus))
		return malformed(c, "malformed list of SASL mechanisms");
	if (c->b.len == 0)
		plus = false;
	if (!scram && !plus)
		return refuse(c, SCRAM_FAILED, "server offers no SASL mechanism that we know (SCRAM-SHA-256)");
	c->gs2_header = plus ? "p=" SCRAM_BINDING_TYPE ",," : c->b.len != 0 ? "y,," : "n,,";
	if (c->nonce == NULL)
		c->nonce = scram_new_nonce(NULL);
	/* No name, as libpq: the server takes that of the startup packet. */
	c->first = xasprintf(MEM_LOGIN, "%sn=%s,r=%s", c->gs2_header, c->user != NULL ? c->user : "", c->nonce);
	c->state = AWAIT_FIRST;
	*mechanism = plus ? SCRAM_PLUS_NAME : SCRAM_NAME;
	*out = c->first;
	*out_len = strlen(c->first);
	return SCRAM_OK;
}

/* ---- server-first-message ------------------------------------------------------ */

struct server_first {
	const char *nonce;
	uint32_t iterations;
	size_t salt_len;
	uint8_t salt[SCRAM_SALT_MAX];
};

static const char *parse_nonce(const struct scram_client *c, const char *nonce)
{
	size_t ours = strlen(c->nonce);

	if (nonce == NULL)
		return "malformed SCRAM message: the server's nonce is missing";
	if (!scram_nonce_is_valid(nonce))
		return "malformed SCRAM message: the server's nonce is not printable, empty or too long";
	if (strncmp(nonce, c->nonce, ours) != 0)
		return "SCRAM nonce does not begin with ours";
	return nonce[ours] != '\0' ? NULL : "server has added nothing to our SCRAM nonce";
}

static const char *parse_salt(const char *text, struct server_first *f)
{
	ssize_t n;

	if (text == NULL)
		return "malformed SCRAM message: the salt is missing";
	if (*text == '\0' || strlen(text) > BASE64_LEN(SCRAM_SALT_MAX))
		return "malformed SCRAM message: the salt is empty or too long";
	n = base64_decode(text, strlen(text), f->salt, sizeof f->salt);
	if (n <= 0)
		return "malformed SCRAM message: the salt is not base64";
	f->salt_len = (size_t)n;
	return NULL;
}

static const char *parse_iterations(const char *text, struct server_first *f)
{
	if (text == NULL)
		return "malformed SCRAM message: the iteration count is missing";
	if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || text[strspn(text, "0")] == '\0')
		return "malformed SCRAM message: the iteration count is not a number above zero";
	for (f->iterations = 0; *text != '\0'; text++) {
		f->iterations = f->iterations * 10 + (uint32_t)(*text - '0');
		/* It would hold up every connection that we have. */
		if (f->iterations > SCRAM_ITERATIONS_MAX)
			return "server wants more than 1000000 SCRAM iterations";
	}
	return NULL;
}

static const char *parse_server_first(const struct scram_client *c, char *p, struct server_first *f)
{
	const char *error;

	if (*p == 'm')
		return "server requires an unsupported SCRAM extension";
	f->nonce = scram_attribute(&p, 'r');
	error = parse_nonce(c, f->nonce);
	if (error == NULL)
		error = parse_salt(scram_attribute(&p, 's'), f);
	if (error == NULL)
		error = parse_iterations(scram_attribute(&p, 'i'), f);
	if (error != NULL)
		return error;
	return scram_skip_extensions(&p, &error) ? NULL : error;
}

/* The keys for this salt: kept ones, or derived and kept. */
static enum scram_result find_keys(struct scram_client *c, const struct server_first *f)
{
	const struct scram_keys *known =
		c->cache != NULL ? scram_cache_find(c->cache, c->tag, f->salt, f->salt_len, f->iterations) : NULL;
	struct scram_verifier v;

	if (known != NULL) {
		c->keys = *known;
		return SCRAM_OK;
	}
	if (c->password == NULL)
		return refuse(c, SCRAM_FAILED, "server holds another SCRAM secret for the user than auth_file does");
	if (!secret_derive(c->password, f->salt, f->salt_len, f->iterations, &v, c->keys.client_key))
		return refuse(c, SCRAM_FAILED, "OpenSSL cannot derive SCRAM keys");
	memcpy(c->keys.tag, c->tag, SCRAM_KEY);
	memcpy(c->keys.salt, v.salt, sizeof v.salt);
	memcpy(c->keys.server_key, v.server_key, SCRAM_KEY);
	c->keys.iterations = v.iterations;
	c->keys.salt_len = v.salt_len;
	mem_wipe(&v, sizeof v);
	if (c->cache != NULL)
		scram_cache_put(c->cache, &c->keys);
	return SCRAM_OK;
}

/* client-final-message; server_first is the message as it came. */
static enum scram_result make_final(struct scram_client *c, const char *nonce, const char *server_first)
{
	uint8_t stored[SCRAM_KEY], signature[SCRAM_KEY], proof[SCRAM_KEY];
	char binding[SCRAM_BINDING_TEXT], text[BASE64_LEN(SCRAM_KEY) + 1];

	scram_binding_text(c->gs2_header, &c->b, binding);
	c->auth_message =
		xasprintf(MEM_LOGIN, "%s,%s,c=%s,r=%s", c->first + strlen(c->gs2_header), server_first, binding, nonce);
	scram_hash(c->keys.client_key, SCRAM_KEY, stored);
	scram_hmac(stored, c->auth_message, strlen(c->auth_message), signature);
	scram_xor(c->keys.client_key, signature, proof);
	base64_encode(proof, SCRAM_KEY, text);
	c->final = xasprintf(MEM_LOGIN, "c=%s,r=%s,p=%s", binding, nonce, text);
	c->state = AWAIT_FINAL;
	return SCRAM_OK;
}

enum scram_result scram_client_next(struct scram_client *c, const void *in, size_t len, const char **out,
	size_t *out_len)
{
	struct server_first f;
	const char *error;
	char *message, *original;
	enum scram_result r;

	*out = "";
	*out_len = 0;
	if (c->state != AWAIT_FIRST)
		return malformed(c, "SCRAM message is not expected here");
	message = scram_take(in, len, &error);
	if (message == NULL)
		return malformed(c, error);
	original = xstrdup(MEM_LOGIN, message);
	error = parse_server_first(c, message, &f);
	r = error != NULL ? malformed(c, error) : find_keys(c, &f);
	if (r == SCRAM_OK)
		r = make_final(c, f.nonce, original);
	xfree(MEM_LOGIN, message);
	xfree(MEM_LOGIN, original);
	if (r == SCRAM_OK) {
		*out = c->final;
		*out_len = strlen(c->final);
	}
	return r;
}

/* ---- server-final-message ------------------------------------------------------ */

/* The server's own word for what is wrong, if it is fit to be printed. */
static enum scram_result refused_by_server(struct scram_client *c, const char *word)
{
	size_t n = strlen(word);

	if (n == 0 || n > 60 || strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != n)
		return refuse(c, SCRAM_REFUSED, "server refuses the SCRAM exchange");
	refuse(c, SCRAM_REFUSED, "");
	snprintf(c->error, sizeof c->error, "server refuses the SCRAM exchange: %s", word);
	return SCRAM_REFUSED;
}

static enum scram_result take_server_final(struct scram_client *c, char *p)
{
	uint8_t signature[SCRAM_KEY], expected[SCRAM_KEY];
	const char *error = scram_attribute(&p, 'e'), *text;

	if (error != NULL)
		return refused_by_server(c, error);
	text = scram_attribute(&p, 'v');
	if (text == NULL)
		return malformed(c, "malformed SCRAM message: the server's signature is missing");
	if (!scram_skip_extensions(&p, &error))
		return malformed(c, error);
	if (base64_decode(text, strlen(text), signature, SCRAM_KEY) != SCRAM_KEY)
		return malformed(c, "malformed SCRAM message: the server's signature is not base64 of 32 bytes");
	scram_hmac(c->keys.server_key, c->auth_message, strlen(c->auth_message), expected);
	if (CRYPTO_memcmp(signature, expected, SCRAM_KEY) != 0)
		return refuse(c, SCRAM_REFUSED, "server's SCRAM signature is wrong: it does not know the password");
	c->state = DONE;
	return SCRAM_OK;
}

enum scram_result scram_client_final(struct scram_client *c, const void *in, size_t len)
{
	const char *error;
	char *message;
	enum scram_result r;

	if (c->state != AWAIT_FINAL)
		return malformed(c, "SCRAM message is not expected here");
	message = scram_take(in, len, &error);
	if (message == NULL)
		return malformed(c, error);
	r = take_server_final(c, message);
	xfree(MEM_LOGIN, message);
	return r;
}
