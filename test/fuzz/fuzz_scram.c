/*
 * SCRAM, both sides, and the texts that go with it. The first byte says what the
 * rest is: the messages of a peer, with a newline between them, or a secret, a
 * password or base64.
 */
#include <string.h>

#include "auth/base64.h"
#include "auth/saslprep.h"
#include "auth/scram.h"
#include "base/mem.h"
#include "fuzz/fuzz.h"

/* RFC 7677, 3 */
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SECRET                                                                                      \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:" \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define CLIENT_FIRST "n,,n=user,r=" CLIENT_NONCE
#define CLIENT_FINAL "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

enum { SERVER, SERVER_TLS, SERVER_PLUS, CLIENT, CLIENT_TLS, TEXT_SECRET, TEXT_PASSWORD, TEXT_BASE64, KINDS };

struct input {
	const char *p;
	size_t n;
};

/* The next message, in memory of its own, so that reading beyond its end is seen. */
static struct input next(struct input *all)
{
	const char *end = memchr(all->p, '\n', all->n);
	size_t n = end != NULL ? (size_t)(end - all->p) : all->n;
	struct input m = {.p = memcpy(xmalloc(MEM_MISC, n + 1), all->p, n), .n = n};

	all->p += n;
	all->n -= n;
	if (all->n > 0) {
		all->p++;
		all->n--;
	}
	return m;
}

static void done_with(struct input *m)
{
	xfree(MEM_MISC, (void *)(uintptr_t)m->p);
}

static const struct scram_binding *binding(bool tls)
{
	static const struct scram_binding bound = {.data = "0123456789abcdef0123456789abcdef", .len = 32}, unbound;

	return tls ? &bound : &unbound;
}

static struct scram_server *new_server(bool tls)
{
	struct scram_verifier v;
	struct scram_server *s;

	FUZZ_CHECK(secret_parse_scram(SECRET, &v));
	s = scram_server_new(&v, binding(tls));
	scram_server_fix_nonce(s, SERVER_NONCE);
	return s;
}

static void run_server(struct input all, bool tls, bool plus)
{
	struct scram_server *s = new_server(tls);
	enum scram_result r;
	const char *out;
	size_t len;

	for (int i = 0; i < 3; i++) {
		struct input m = next(&all);

		r = i == 0 ? scram_server_start(s, plus ? SCRAM_PLUS_NAME : SCRAM_NAME, m.p, m.n, &out, &len)
			   : scram_server_next(s, m.p, m.n, &out, &len);
		FUZZ_CHECK(strlen(out) == len);
		FUZZ_CHECK(r == SCRAM_OK ? strncmp(out, i == 0 ? "r=" : "v=", 2) == 0 : len == 0);
		FUZZ_CHECK(r == SCRAM_OK || strlen(scram_server_error(s)) > 0);
		FUZZ_CHECK(scram_server_is_done(s) == (r == SCRAM_OK && i == 1));
		done_with(&m);
	}
	scram_server_free(&s);
}

/* Keys of a login in place of a password: PBKDF2 would take most of the time. */
static void fill_cache(struct scram_cache *cache)
{
	struct scram_server *s = new_server(false);
	const char *out;
	size_t len;

	FUZZ_CHECK(scram_server_start(s, SCRAM_NAME, CLIENT_FIRST, strlen(CLIENT_FIRST), &out, &len) == SCRAM_OK);
	FUZZ_CHECK(scram_server_next(s, CLIENT_FINAL, strlen(CLIENT_FINAL), &out, &len) == SCRAM_OK);
	scram_server_keep_keys(s, SECRET, cache);
	scram_server_free(&s);
}

static void run_client(struct input all, bool tls)
{
	struct scram_cache cache = {.verifier = NULL};
	struct input list = next(&all), first = next(&all), final = next(&all);
	struct scram_client *c;
	const char *mechanism, *out;
	size_t len;
	enum scram_result r;

	fill_cache(&cache);
	c = scram_client_new(SECRET, &cache, binding(tls));
	scram_client_fix_nonce(c, "user", CLIENT_NONCE);
	r = scram_client_start(c, list.p, list.n, &mechanism, &out, &len);
	if (r == SCRAM_OK) {
		FUZZ_CHECK(strlen(out) == len && len > 0);
		r = scram_client_next(c, first.p, first.n, &out, &len);
		FUZZ_CHECK(strlen(out) == len && (len > 0) == (r == SCRAM_OK));
	}
	if (r == SCRAM_OK)
		r = scram_client_final(c, final.p, final.n);
	FUZZ_CHECK(scram_client_is_done(c) == (r == SCRAM_OK));
	FUZZ_CHECK(r == SCRAM_OK || strlen(scram_client_error(c)) > 0);
	scram_client_free(&c);
	scram_cache_clear(&cache);
	done_with(&list);
	done_with(&first);
	done_with(&final);
}

static void run_secret(const char *text)
{
	struct scram_verifier v, again;
	char line[SECRET_SCRAM_MAX], response[SECRET_MD5_LEN + 1];
	enum secret_kind kind = secret_kind_of(text);
	static const uint8_t salt[4] = "salt";

	FUZZ_CHECK((kind == SECRET_NONE) == (*text == '\0'));
	if (kind == SECRET_SCRAM) {
		FUZZ_CHECK(secret_parse_scram(text, &v));
		secret_format_scram(&v, line);
		FUZZ_CHECK(secret_parse_scram(line, &again) && memcmp(&v, &again, sizeof v) == 0);
	}
	FUZZ_CHECK(secret_md5_response(text, "user", salt, response) == (kind == SECRET_PLAIN || kind == SECRET_MD5));
	if (kind == SECRET_PLAIN)
		FUZZ_CHECK(secret_md5_check(text, "user", salt, response) && secret_check_password(text, "user", text));
}

static void run_password(const char *text)
{
	char *once = saslprep(text), *twice = saslprep(once);

	FUZZ_CHECK(strcmp(once, twice) == 0);
	xfree(MEM_LOGIN, once);
	xfree(MEM_LOGIN, twice);
}

static void run_base64(struct input text)
{
	uint8_t *bytes = xmalloc(MEM_MISC, text.n + 1);
	char *back = xmalloc(MEM_MISC, BASE64_LEN(text.n) + 1);
	ssize_t n = base64_decode(text.p, text.n, bytes, text.n);

	if (n >= 0) {
		base64_encode(bytes, (size_t)n, back);
		FUZZ_CHECK(strlen(back) == text.n && memcmp(back, text.p, text.n) == 0);
	}
	base64_encode((const uint8_t *)text.p, text.n, back);
	FUZZ_CHECK(base64_decode(back, strlen(back), bytes, text.n) == (ssize_t)text.n);
	FUZZ_CHECK(text.n == 0 || memcmp(bytes, text.p, text.n) == 0);
	xfree(MEM_MISC, bytes);
	xfree(MEM_MISC, back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input all;
	char *text;

	if (size == 0)
		return 0;
	all = (struct input){.p = (const char *)data + 1, .n = size - 1};
	text = xstrndup(MEM_MISC, all.p, all.n);
	switch (data[0] % KINDS) {
	case SERVER: run_server(all, false, false); break;
	case SERVER_TLS: run_server(all, true, false); break;
	case SERVER_PLUS: run_server(all, true, true); break;
	case CLIENT: run_client(all, false); break;
	case CLIENT_TLS: run_client(all, true); break;
	case TEXT_SECRET: run_secret(text); break;
	case TEXT_PASSWORD: run_password(text); break;
	default: run_base64(all); break;
	}
	xfree(MEM_MISC, text);
	FUZZ_CHECK(mem_usage_get(MEM_LOGIN).objects == 0 && mem_usage_get(MEM_USER).objects == 0);
	return 0;
}
