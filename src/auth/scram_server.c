/*
 * scram_server: the server's side of SCRAM (RFC 5802, 5 and 7; PostgreSQL's
 * auth-scram.c as the model of what clients are used to): a client logs in to
 * us. Begun and fed by the client's login; it decides right or wrong and knows
 * nothing of users.
 */
#include "scram_priv.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/mem.h"

enum scram_server_state { AWAIT_MECHANISM, AWAIT_FIRST, AWAIT_FINAL, DONE, FAILED };

struct scram_server {
	enum scram_server_state state;
	bool plus;
	struct scram_verifier v;
	struct scram_binding b;
	char *fixed_nonce;  /* tests */
	char *gs2_header;   /* as the client sent it */
	char *client_first; /* bare */
	char *nonce;	    /* of both */
	char *server_first;
	char *server_final;
	uint8_t client_key[SCRAM_KEY];
	const char *error;
};

struct scram_server *scram_server_new(const struct scram_verifier *v, const struct scram_binding *b)
{
	struct scram_server *s = xcalloc(MEM_LOGIN, 1, sizeof *s);

	assert(b->len <= sizeof b->data);
	s->v = *v;
	s->b = *b;
	return s;
}

void scram_server_free(struct scram_server **sp)
{
	struct scram_server *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	xfree(MEM_LOGIN, s->fixed_nonce);
	xfree(MEM_LOGIN, s->gs2_header);
	xfree(MEM_LOGIN, s->client_first);
	xfree(MEM_LOGIN, s->nonce);
	xfree(MEM_LOGIN, s->server_first);
	xfree(MEM_LOGIN, s->server_final);
	mem_wipe(s, sizeof *s);
	xfree(MEM_LOGIN, s);
}

void scram_server_fix_nonce(struct scram_server *s, const char *nonce)
{
	s->fixed_nonce = xstrdup(MEM_LOGIN, nonce);
}

bool scram_server_is_done(const struct scram_server *s)
{
	return s->state == DONE;
}

const char *scram_server_error(const struct scram_server *s)
{
	return s->error;
}

static enum scram_result refuse(struct scram_server *s, enum scram_result r, const char *error)
{
	s->state = FAILED;
	s->error = error;
	return r;
}

static enum scram_result malformed(struct scram_server *s, const char *error)
{
	return refuse(s, SCRAM_MALFORMED, error);
}

/* ---- client-first-message ------------------------------------------------------ */

/* The channel binding flag at *p, which moves behind it; the reason when it is not acceptable. */
static const char *parse_flag(const struct scram_server *s, char **p)
{
	static const char type[] = "p=" SCRAM_BINDING_TYPE;
	char flag = **p;

	if (flag == 'n' || flag == 'y') {
		if (s->plus)
			return "client chose SCRAM-SHA-256-PLUS but sends no channel binding data";
		if (flag == 'y' && s->b.len != 0)
			return "client supports SCRAM channel binding but thinks that the server does not";
		++*p;
		return NULL;
	}
	if (flag != 'p')
		return "malformed SCRAM message: unexpected channel binding flag";
	if (!s->plus)
		return "client chose SCRAM-SHA-256 but sends channel binding data";
	if (strncmp(*p, type, sizeof type - 1) != 0 || (*p)[sizeof type - 1] != ',')
		return "unsupported SCRAM channel binding type";
	*p += sizeof type - 1;
	return NULL;
}

/* The GS2 header, up to its second comma. */
static const char *parse_gs2_header(const struct scram_server *s, char **p)
{
	const char *error = parse_flag(s, p);

	if (error != NULL)
		return error;
	if (*(*p)++ != ',')
		return "malformed SCRAM message: a comma is expected after the channel binding flag";
	if (**p == 'a')
		return "client uses a SCRAM authorization identity, which is not supported";
	if (*(*p)++ != ',')
		return "malformed SCRAM message: a comma is expected after the authorization identity";
	return NULL;
}

/* The rest; the nonce stays in the message. */
static const char *parse_client_first_bare(char *p, const char **nonce)
{
	const char *error;

	if (*p == 'm')
		return "client requires an unsupported SCRAM extension";
	/* The name is that of the startup packet; PostgreSQL does not look at this one either. */
	if (scram_attribute(&p, 'n') == NULL)
		return "malformed SCRAM message: the user name is missing";
	*nonce = scram_attribute(&p, 'r');
	if (*nonce == NULL)
		return "malformed SCRAM message: the client's nonce is missing";
	/* Room for our half is left. */
	if (!scram_nonce_is_valid(*nonce) || strlen(*nonce) > SCRAM_NONCE_MAX / 2)
		return "malformed SCRAM message: the client's nonce is not printable, empty or too long";
	return scram_skip_extensions(&p, &error) ? NULL : error;
}

static enum scram_result take_client_first(struct scram_server *s, char *message)
{
	char *p = message, salt[BASE64_LEN(SCRAM_SALT_MAX) + 1], *ours;
	const char *error = parse_gs2_header(s, &p), *theirs;

	if (error != NULL)
		return malformed(s, error);
	s->gs2_header = xstrndup(MEM_LOGIN, message, (size_t)(p - message));
	s->client_first = xstrdup(MEM_LOGIN, p);
	error = parse_client_first_bare(p, &theirs);
	if (error != NULL)
		return malformed(s, error);
	ours = scram_new_nonce(s->fixed_nonce);
	s->nonce = xasprintf(MEM_LOGIN, "%s%s", theirs, ours);
	xfree(MEM_LOGIN, ours);
	base64_encode(s->v.salt, s->v.salt_len, salt);
	s->server_first = xasprintf(MEM_LOGIN, "r=%s,s=%s,i=%u", s->nonce, salt, (unsigned)s->v.iterations);
	s->state = AWAIT_FINAL;
	return SCRAM_OK;
}

/* ---- client-final-message ------------------------------------------------------ */

struct client_final {
	const char *binding, *nonce;
	size_t without_proof; /* length of the message before ",p=" */
	uint8_t proof[SCRAM_KEY];
};

static const char *parse_client_final(char *message, struct client_final *f)
{
	char *p = message, *proof;
	const char *error;

	f->binding = scram_attribute(&p, 'c');
	if (f->binding == NULL)
		return "malformed SCRAM message: the channel binding is missing";
	f->nonce = scram_attribute(&p, 'r');
	if (f->nonce == NULL)
		return "malformed SCRAM message: the nonce is missing";
	while (p != NULL && *p != 'p') {
		char *one = p, *next = strchr(p, ',');

		if (next != NULL)
			*next++ = '\0';
		if (!scram_skip_extensions(&one, &error))
			return error;
		p = next;
	}
	f->without_proof = p != NULL ? (size_t)(p - message) - 1 : 0;
	proof = scram_attribute(&p, 'p');
	if (proof == NULL)
		return "malformed SCRAM message: the proof is missing";
	if (p != NULL)
		return "malformed SCRAM message: the proof is not its last attribute";
	if (base64_decode(proof, strlen(proof), f->proof, SCRAM_KEY) != SCRAM_KEY)
		return "malformed SCRAM message: the proof is not base64 of 32 bytes";
	return NULL;
}

/* Is the proof right? Then the client's key is known, and our own signature is ready. */
static enum scram_result check_proof(struct scram_server *s, const char *auth_message, const uint8_t *proof)
{
	uint8_t signature[SCRAM_KEY], stored[SCRAM_KEY];
	char text[BASE64_LEN(SCRAM_KEY) + 1];

	scram_hmac(s->v.stored_key, auth_message, strlen(auth_message), signature);
	scram_xor(proof, signature, s->client_key);
	scram_hash(s->client_key, SCRAM_KEY, stored);
	/* A mock user runs through all of it. */
	if ((CRYPTO_memcmp(stored, s->v.stored_key, SCRAM_KEY) != 0) | s->v.mock)
		return refuse(s, SCRAM_REFUSED, "password is wrong");
	scram_hmac(s->v.server_key, auth_message, strlen(auth_message), signature);
	base64_encode(signature, SCRAM_KEY, text);
	s->server_final = xasprintf(MEM_LOGIN, "v=%s", text);
	s->state = DONE;
	return SCRAM_OK;
}

/* original is message as it came, before it was cut into attributes. */
static enum scram_result take_client_final(struct scram_server *s, char *message, const char *original)
{
	struct client_final f;
	char expected[SCRAM_BINDING_TEXT], *auth_message;
	const char *error = parse_client_final(message, &f);
	enum scram_result r;

	if (error != NULL)
		return malformed(s, error);
	scram_binding_text(s->gs2_header, &s->b, expected);
	if (strcmp(f.binding, expected) != 0) {
		if (s->plus)
			return refuse(s, SCRAM_REFUSED, "SCRAM channel binding check failed");
		return malformed(s, "malformed SCRAM message: unexpected channel binding attribute");
	}
	if (strcmp(f.nonce, s->nonce) != 0)
		return malformed(s, "SCRAM nonce does not match");
	auth_message =
		xasprintf(MEM_LOGIN, "%s,%s,%.*s", s->client_first, s->server_first, (int)f.without_proof, original);
	r = check_proof(s, auth_message, f.proof);
	xfree(MEM_LOGIN, auth_message);
	return r;
}

/* ---- the exchange -------------------------------------------------------------- */

enum scram_result scram_server_start(struct scram_server *s, const char *mechanism, const void *in, size_t len,
	const char **out, size_t *out_len)
{
	assert(s->state == AWAIT_MECHANISM);
	*out = "";
	*out_len = 0;
	s->plus = strcmp(mechanism, SCRAM_PLUS_NAME) == 0;
	if ((!s->plus && strcmp(mechanism, SCRAM_NAME) != 0) || (s->plus && s->b.len == 0))
		return malformed(s, "client chose a SASL mechanism that was not offered");
	s->state = AWAIT_FIRST;
	return in != NULL ? scram_server_next(s, in, len, out, out_len) : SCRAM_OK;
}

enum scram_result scram_server_next(struct scram_server *s, const void *in, size_t len, const char **out,
	size_t *out_len)
{
	enum scram_server_state state = s->state;
	char *message, *original;
	enum scram_result r;

	*out = "";
	*out_len = 0;
	if (state != AWAIT_FIRST && state != AWAIT_FINAL)
		return malformed(s, "SCRAM message is not expected here");
	message = scram_take(in, len, &s->error);
	if (message == NULL)
		return malformed(s, s->error);
	original = xstrdup(MEM_LOGIN, message);
	r = state == AWAIT_FIRST ? take_client_first(s, message) : take_client_final(s, message, original);
	xfree_secret(MEM_LOGIN, original);
	mem_wipe(message, len);
	xfree(MEM_LOGIN, message);
	if (r != SCRAM_OK)
		return r;
	*out = state == AWAIT_FIRST ? s->server_first : s->server_final;
	*out_len = strlen(*out);
	return SCRAM_OK;
}

void scram_server_keep_keys(const struct scram_server *s, const char *secret, struct scram_cache *cache)
{
	struct scram_verifier v;
	struct scram_keys k = {.iterations = s->v.iterations, .salt_len = s->v.salt_len};

	/* The secret may have been changed while the client was logging in. */
	if (s->state == DONE && secret_kind_of(secret) == SECRET_SCRAM && secret_parse_scram(secret, &v) &&
		memcmp(v.stored_key, s->v.stored_key, SCRAM_KEY) == 0 && v.iterations == s->v.iterations) {
		scram_tag(secret, k.tag);
		memcpy(k.salt, s->v.salt, sizeof k.salt);
		memcpy(k.client_key, s->client_key, SCRAM_KEY);
		memcpy(k.server_key, s->v.server_key, SCRAM_KEY);
		scram_cache_put(cache, &k);
	}
	mem_wipe(&v, sizeof v);
	mem_wipe(&k, sizeof k);
}
