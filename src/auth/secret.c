/*
 * secret: see the header. Called by logins on both sides and by --make-secret.
 * It keeps nothing; what it copies it wipes.
 */
#include "auth/secret.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "auth/base64.h"
#include "auth/saslprep.h"
#include "base/log.h"
#include "base/mem.h"

static const char scram_prefix[] = "SCRAM-SHA-256$";

static bool is_md5(const char *secret)
{
	return strncmp(secret, "md5", 3) == 0 && strlen(secret) == SECRET_MD5_LEN &&
	       strspn(secret + 3, "0123456789abcdef") == 32;
}

enum secret_kind secret_kind_of(const char *secret)
{
	struct scram_verifier v;
	bool scram;

	if (secret == NULL || *secret == '\0')
		return SECRET_NONE;
	if (is_md5(secret))
		return SECRET_MD5;
	scram = secret_parse_scram(secret, &v);
	mem_wipe(&v, sizeof v);
	return scram ? SECRET_SCRAM : SECRET_PLAIN;
}

/* Decimal digits and nothing else, up to SCRAM_ITERATIONS_MAX; 0 when it is not. */
static uint32_t parse_iterations(const char *p, size_t n)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return 0;
		v = v * 10 + (uint32_t)(p[i] - '0');
		if (v > SCRAM_ITERATIONS_MAX)
			return 0;
	}
	return v;
}

bool secret_parse_scram(const char *secret, struct scram_verifier *v)
{
	const char *iterations, *salt, *stored, *server;
	ssize_t n;

	if (strncmp(secret, scram_prefix, sizeof scram_prefix - 1) != 0)
		return false;
	iterations = secret + sizeof scram_prefix - 1;
	salt = strchr(iterations, ':');
	stored = salt != NULL ? strchr(salt, '$') : NULL;
	server = stored != NULL ? strchr(stored, ':') : NULL;
	if (server == NULL)
		return false;
	*v = (struct scram_verifier){.iterations = parse_iterations(iterations, (size_t)(salt - iterations))};
	salt++;
	n = base64_decode(salt, (size_t)(stored - salt), v->salt, sizeof v->salt);
	if (v->iterations == 0 || n <= 0)
		return false;
	v->salt_len = (uint8_t)n;
	stored++;
	if (base64_decode(stored, (size_t)(server - stored), v->stored_key, SCRAM_KEY) != SCRAM_KEY)
		return false;
	server++;
	return base64_decode(server, strlen(server), v->server_key, SCRAM_KEY) == SCRAM_KEY;
}

void secret_format_scram(const struct scram_verifier *v, char out[SECRET_SCRAM_MAX])
{
	char salt[BASE64_LEN(SCRAM_SALT_MAX) + 1], stored[BASE64_LEN(SCRAM_KEY) + 1], server[BASE64_LEN(SCRAM_KEY) + 1];

	base64_encode(v->salt, v->salt_len, salt);
	base64_encode(v->stored_key, SCRAM_KEY, stored);
	base64_encode(v->server_key, SCRAM_KEY, server);
	snprintf(out, SECRET_SCRAM_MAX, "%s%u:%s$%s:%s", scram_prefix, (unsigned)v->iterations, salt, stored, server);
	mem_wipe(stored, sizeof stored);
	mem_wipe(server, sizeof server);
}

/* RFC 5802, 3: SaltedPassword, and from it ClientKey, StoredKey and ServerKey. */
bool secret_derive(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
	struct scram_verifier *v, uint8_t client_key[SCRAM_KEY])
{
	char *prepared = saslprep(password);
	uint8_t salted[SCRAM_KEY], key[SCRAM_KEY];
	struct scram_verifier made = {.iterations = iterations, .salt_len = (uint8_t)salt_len};
	bool ok;

	memcpy(made.salt, salt, salt_len);
	ok = PKCS5_PBKDF2_HMAC(prepared, (int)strlen(prepared), salt, (int)salt_len, (int)iterations, EVP_sha256(),
		     SCRAM_KEY, salted) == 1 &&
	     HMAC(EVP_sha256(), salted, SCRAM_KEY, (const uint8_t *)"Client Key", 10, key, NULL) != NULL &&
	     HMAC(EVP_sha256(), salted, SCRAM_KEY, (const uint8_t *)"Server Key", 10, made.server_key, NULL) != NULL &&
	     SHA256(key, SCRAM_KEY, made.stored_key) != NULL;
	if (ok) {
		*v = made;
		if (client_key != NULL)
			memcpy(client_key, key, SCRAM_KEY);
	}
	ERR_clear_error();
	mem_wipe(salted, sizeof salted);
	mem_wipe(key, sizeof key);
	mem_wipe(&made, sizeof made);
	xfree_secret(MEM_LOGIN, prepared);
	return ok;
}

bool secret_make_scram(const char *password, uint32_t iterations, char out[SECRET_SCRAM_MAX])
{
	uint8_t salt[SCRAM_SALT];
	struct scram_verifier v;

	secret_random(salt, sizeof salt);
	if (!secret_derive(password, salt, sizeof salt, iterations, &v, NULL))
		return false;
	secret_format_scram(&v, out);
	mem_wipe(&v, sizeof v);
	return true;
}

/* "md5" and the digits of MD5(a || b), and a NUL. */
static bool md5_text(const void *a, size_t a_len, const void *b, size_t b_len, char out[SECRET_MD5_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t md[EVP_MAX_MD_SIZE];
	bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 && EVP_DigestUpdate(ctx, a, a_len) == 1 &&
		  EVP_DigestUpdate(ctx, b, b_len) == 1 && EVP_DigestFinal_ex(ctx, md, NULL) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	if (!ok)
		return false;
	memcpy(out, "md5", 3);
	for (size_t i = 0; i < 16; i++) {
		out[3 + 2 * i] = digits[md[i] >> 4];
		out[4 + 2 * i] = digits[md[i] & 15];
	}
	out[SECRET_MD5_LEN] = '\0';
	return true;
}

bool secret_md5_response(const char *secret, const char *user, const uint8_t salt[4], char out[SECRET_MD5_LEN + 1])
{
	char stored[SECRET_MD5_LEN + 1];
	enum secret_kind kind = secret_kind_of(secret);
	bool ok = kind == SECRET_MD5;

	if (kind == SECRET_MD5)
		memcpy(stored, secret, sizeof stored);
	else if (kind == SECRET_PLAIN)
		ok = md5_text(secret, strlen(secret), user, strlen(user), stored);
	ok = ok && md5_text(stored + 3, 32, salt, 4, out);
	mem_wipe(stored, sizeof stored);
	return ok;
}

/* In a time that depends on the lengths only. */
static bool same(const char *a, const char *b)
{
	size_t n = strlen(a);

	return strlen(b) == n && CRYPTO_memcmp(a, b, n) == 0;
}

bool secret_md5_check(const char *secret, const char *user, const uint8_t salt[4], const char *response)
{
	char expected[SECRET_MD5_LEN + 1];
	bool ok = secret_md5_response(secret, user, salt, expected) && same(expected, response);

	mem_wipe(expected, sizeof expected);
	return ok;
}

static bool check_scram(const char *secret, const char *password)
{
	struct scram_verifier v, made;
	bool ok = secret_parse_scram(secret, &v) &&
		  secret_derive(password, v.salt, v.salt_len, v.iterations, &made, NULL) &&
		  CRYPTO_memcmp(v.stored_key, made.stored_key, SCRAM_KEY) == 0;

	mem_wipe(&v, sizeof v);
	mem_wipe(&made, sizeof made);
	return ok;
}

bool secret_check_password(const char *secret, const char *user, const char *password)
{
	char hash[SECRET_MD5_LEN + 1];
	bool ok = false;

	switch (secret_kind_of(secret)) {
	case SECRET_NONE: break;
	case SECRET_PLAIN: ok = same(secret, password); break;
	case SECRET_SCRAM: ok = check_scram(secret, password); break;
	case SECRET_MD5:
		ok = md5_text(password, strlen(password), user, strlen(user), hash) && same(secret, hash);
		mem_wipe(hash, sizeof hash);
		break;
	}
	return ok;
}

void secret_random(void *p, size_t n)
{
	uint8_t *at = p;

	while (n) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno != EINTR) {
			log_msg(LL_FATAL, "the system has no random numbers: %s", strerror(errno));
			exit(1);
		}
		at += got > 0 ? got : 0;
		n -= got > 0 ? (size_t)got : 0;
	}
}

void secret_random_from(struct secret_store *s, void *p, size_t n)
{
	assert(n <= sizeof s->bytes);
	if (s->left < n) {
		secret_random(s->bytes, sizeof s->bytes);
		s->left = sizeof s->bytes;
	}
	s->left -= n;
	memcpy(p, s->bytes + s->left, n);
	mem_wipe(s->bytes + s->left, n);
}
