/*
 * SCRAM: RFC 7677's example on both sides, both sides against each other, and
 * every way in which a message can be wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/scram.h"
#include "base/mem.h"

/* RFC 7677, 3: user "user", password "pencil". */
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define NONCE CLIENT_NONCE SERVER_NONCE
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define CLIENT_FIRST "n,,n=user,r=" CLIENT_NONCE
#define SERVER_FIRST "r=" NONCE ",s=" SALT ",i=4096"
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define CLIENT_FINAL "c=biws,r=" NONCE ",p=" PROOF
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
#define PENCIL                                                                      \
	"SCRAM-SHA-256$4096:" SALT "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:" \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static const char offer[] = "SCRAM-SHA-256\0";
static const char offer_plus[] = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0";
static const struct scram_binding unbound;
static const struct scram_binding bound = {.data = "0123456789abcdef0123456789abcdef", .len = 32};

static struct scram_server *rfc_server(const struct scram_binding *b)
{
	struct scram_verifier v;
	struct scram_server *s;

	assert_true(secret_parse_scram(PENCIL, &v));
	s = scram_server_new(&v, b);
	scram_server_fix_nonce(s, SERVER_NONCE);
	return s;
}

static struct scram_client *rfc_client(const struct scram_binding *b)
{
	struct scram_client *c = scram_client_new("pencil", NULL, b);

	assert_non_null(c);
	scram_client_fix_nonce(c, "user", CLIENT_NONCE);
	return c;
}

static void expect_text(const char *out, size_t len, const char *expected)
{
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(out, expected, len);
}

static void test_rfc7677_server(void **state)
{
	struct scram_server *s = rfc_server(&unbound);
	const char *out;
	size_t len;

	(void)state;
	assert_int_equal(scram_server_start(s, SCRAM_NAME, CLIENT_FIRST, strlen(CLIENT_FIRST), &out, &len), SCRAM_OK);
	expect_text(out, len, SERVER_FIRST);
	assert_false(scram_server_is_done(s));
	assert_int_equal(scram_server_next(s, CLIENT_FINAL, strlen(CLIENT_FINAL), &out, &len), SCRAM_OK);
	expect_text(out, len, SERVER_FINAL);
	assert_true(scram_server_is_done(s));
	/* Nothing more is expected. */
	assert_int_equal(scram_server_next(s, CLIENT_FINAL, strlen(CLIENT_FINAL), &out, &len), SCRAM_MALFORMED);
	assert_false(scram_server_is_done(s));
	scram_server_free(&s);
	assert_null(s);
	scram_server_free(&s);
}

static void test_rfc7677_client(void **state)
{
	struct scram_client *c = rfc_client(&unbound);
	const char *mechanism, *out;
	size_t len;

	(void)state;
	assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
	assert_string_equal(mechanism, "SCRAM-SHA-256");
	expect_text(out, len, CLIENT_FIRST);
	assert_int_equal(scram_client_next(c, SERVER_FIRST, strlen(SERVER_FIRST), &out, &len), SCRAM_OK);
	expect_text(out, len, CLIENT_FINAL);
	assert_false(scram_client_is_done(c));
	assert_int_equal(scram_client_final(c, SERVER_FINAL, strlen(SERVER_FINAL)), SCRAM_OK);
	assert_true(scram_client_is_done(c));
	assert_int_equal(scram_client_final(c, SERVER_FINAL, strlen(SERVER_FINAL)), SCRAM_MALFORMED);
	assert_false(scram_client_is_done(c));
	scram_client_free(&c);
	assert_null(c);
	scram_client_free(&c);
}

/* Some clients name the mechanism first and send nothing with it. */
static void test_no_initial_response(void **state)
{
	struct scram_server *s = rfc_server(&unbound);
	const char *out;
	size_t len;

	(void)state;
	assert_int_equal(scram_server_start(s, SCRAM_NAME, NULL, 0, &out, &len), SCRAM_OK);
	expect_text(out, len, "");
	assert_false(scram_server_is_done(s));
	assert_int_equal(scram_server_next(s, CLIENT_FIRST, strlen(CLIENT_FIRST), &out, &len), SCRAM_OK);
	expect_text(out, len, SERVER_FIRST);
	assert_int_equal(scram_server_next(s, CLIENT_FINAL, strlen(CLIENT_FINAL), &out, &len), SCRAM_OK);
	assert_true(scram_server_is_done(s));
	scram_server_free(&s);
}

/* A whole login of one side at the other; where it ended. */
struct login {
	enum scram_result client, server;
	char mechanism[32];
	bool done;
};

static struct login log_in(struct scram_client *c, struct scram_server *s, bool plus_offered)
{
	struct login l = {.client = SCRAM_OK, .server = SCRAM_OK};
	const char *mechanism, *out;
	size_t len;
	bool final = false;

	l.client = plus_offered ? scram_client_start(c, offer_plus, sizeof offer_plus, &mechanism, &out, &len)
				: scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len);
	if (l.client != SCRAM_OK)
		return l;
	snprintf(l.mechanism, sizeof l.mechanism, "%s", mechanism);
	l.server = scram_server_start(s, mechanism, out, len, &out, &len);
	while (l.client == SCRAM_OK && l.server == SCRAM_OK && !final) {
		final = scram_server_is_done(s);
		if (final)
			l.client = scram_client_final(c, out, len);
		else
			l.client = scram_client_next(c, out, len, &out, &len);
		if (l.client == SCRAM_OK && !final)
			l.server = scram_server_next(s, out, len, &out, &len);
	}
	l.done = scram_client_is_done(c) && scram_server_is_done(s);
	return l;
}

static void test_both_sides(void **state)
{
	static const struct {
		const char *secret;   /* the server's */
		const char *password; /* the client's */
		const struct scram_binding *server_b, *client_b;
		bool plus_offered;
		enum scram_result server; /* how it ends */
		const char *mechanism;
	} rows[] = {
		{PENCIL, "pencil", &unbound, &unbound, false, SCRAM_OK, "SCRAM-SHA-256"},
		{"pencil", "pencil", &unbound, &unbound, false, SCRAM_OK, "SCRAM-SHA-256"},
		{"sp\xc3\xa9\xc2\xb2", "sp\xc3\xa9\x32", &unbound, &unbound, false, SCRAM_OK, "SCRAM-SHA-256"},
		{PENCIL, "pencils", &unbound, &unbound, false, SCRAM_REFUSED, "SCRAM-SHA-256"},
		{"pencil", "Pencil", &unbound, &unbound, false, SCRAM_REFUSED, "SCRAM-SHA-256"},
		/* TLS on both ends: bound */
		{PENCIL, "pencil", &bound, &bound, true, SCRAM_OK, "SCRAM-SHA-256-PLUS"},
		{PENCIL, "pencils", &bound, &bound, true, SCRAM_REFUSED, "SCRAM-SHA-256-PLUS"},
		/* a client that cannot bind says so */
		{PENCIL, "pencil", &bound, &unbound, true, SCRAM_OK, "SCRAM-SHA-256"},
		/* a server that cannot is believed: "y" */
		{PENCIL, "pencil", &unbound, &bound, false, SCRAM_OK, "SCRAM-SHA-256"},
		/* somebody has taken PLUS out of the offer */
		{PENCIL, "pencil", &bound, &bound, false, SCRAM_MALFORMED, "SCRAM-SHA-256"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scram_verifier v;
		struct scram_server *s;
		struct scram_client *c;
		struct login l;

		assert_true(scram_verifier_of(rows[i].secret, NULL, &v));
		s = scram_server_new(&v, rows[i].server_b);
		c = scram_client_new(rows[i].password, NULL, rows[i].client_b);
		l = log_in(c, s, rows[i].plus_offered);
		if (l.client != SCRAM_OK || l.server != rows[i].server || l.done != (rows[i].server == SCRAM_OK))
			fail_msg("row %zu: client %d, server %d, done %d", i, l.client, l.server, l.done);
		assert_string_equal(l.mechanism, rows[i].mechanism);
		scram_client_free(&c);
		scram_server_free(&s);
	}
	assert_int_equal(mem_usage_get(MEM_LOGIN).objects, 0);
}

/* Two ends of different TLS connections: somebody sits in between. */
static void test_binding_mismatch(void **state)
{
	struct scram_binding other = bound;
	struct scram_server *s = rfc_server(&bound);
	struct scram_client *c;
	struct login l;

	(void)state;
	other.data[31] ^= 1;
	c = rfc_client(&other);
	l = log_in(c, s, true);
	assert_int_equal(l.server, SCRAM_REFUSED);
	assert_string_equal(scram_server_error(s), "SCRAM channel binding check failed");
	scram_client_free(&c);
	scram_server_free(&s);

	/* All the room that there is. */
	memset(other.data, 0xff, sizeof other.data);
	other.len = sizeof other.data;
	s = rfc_server(&other);
	c = rfc_client(&other);
	assert_true(log_in(c, s, true).done);
	scram_client_free(&c);
	scram_server_free(&s);
}

static void test_mock(void **state)
{
	static const uint8_t key[SCRAM_KEY] = "a key", other_key[SCRAM_KEY] = "another key";
	struct scram_verifier a, again, b, other;
	struct scram_server *s;
	struct scram_client *c;
	struct login l;

	(void)state;
	scram_mock_verifier(key, "nobody", &a);
	scram_mock_verifier(key, "nobody", &again);
	scram_mock_verifier(key, "noone", &b);
	scram_mock_verifier(other_key, "nobody", &other);
	assert_memory_equal(&a, &again, sizeof a);
	assert_int_equal(a.salt_len, 16);
	assert_int_equal(a.iterations, 4096);
	assert_memory_not_equal(a.salt, b.salt, 16);
	assert_memory_not_equal(a.salt, other.salt, 16);

	s = scram_server_new(&a, &unbound);
	c = scram_client_new("whatever", NULL, &unbound);
	l = log_in(c, s, false);
	assert_int_equal(l.server, SCRAM_REFUSED);
	assert_string_equal(scram_server_error(s), "password is wrong");
	scram_client_free(&c);
	scram_server_free(&s);

	/* Even with the right keys. */
	assert_true(secret_parse_scram(PENCIL, &a));
	a.mock = true;
	s = scram_server_new(&a, &unbound);
	c = scram_client_new("pencil", NULL, &unbound);
	assert_int_equal(log_in(c, s, false).server, SCRAM_REFUSED);
	scram_client_free(&c);
	scram_server_free(&s);
}

static void test_no_verifier(void **state)
{
	struct scram_verifier v;

	(void)state;
	assert_false(scram_verifier_of(NULL, NULL, &v));
	assert_false(scram_verifier_of("", NULL, &v));
	assert_false(scram_verifier_of("md50123456789abcdef0123456789abcdef", NULL, &v));
	assert_null(scram_client_new(NULL, NULL, &unbound));
	assert_null(scram_client_new("", NULL, &unbound));
	assert_null(scram_client_new("md50123456789abcdef0123456789abcdef", NULL, &unbound));
	assert_null(scram_client_new(PENCIL, NULL, &unbound));
}

/* ---- the cache ---------------------------------------------------------------- */

static void test_cached_verifier(void **state)
{
	struct scram_cache cache = {0};
	struct scram_verifier a, b;

	(void)state;
	assert_true(scram_verifier_of("one", &cache, &a));
	assert_true(scram_verifier_of("one", &cache, &b));
	assert_memory_equal(&a, &b, sizeof a);
	/* Another secret, another verifier; and the first one is forgotten. */
	assert_true(scram_verifier_of("two", &cache, &b));
	assert_memory_not_equal(a.salt, b.salt, 16);
	assert_true(scram_verifier_of("one", &cache, &b));
	assert_memory_not_equal(a.salt, b.salt, 16);
	scram_cache_clear(&cache);
	assert_null(cache.verifier);
	assert_int_equal(mem_usage_get(MEM_USER).objects, 0);
}

static void test_cached_keys(void **state)
{
	struct scram_cache cache = {0};
	const char *mechanism, *out;
	size_t len, objects;
	char first[256], salt[BASE64_LEN(16) + 1];
	uint8_t raw[16] = {0};

	(void)state;
	/* Twelve servers, each with a salt of its own: the last eight are kept. */
	for (int i = 0; i < 24; i++) {
		struct scram_client *c = scram_client_new("pencil", &cache, &unbound);

		raw[0] = (uint8_t)(i / 2);
		base64_encode(raw, sizeof raw, salt);
		scram_client_fix_nonce(c, "", CLIENT_NONCE);
		assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
		snprintf(first, sizeof first, "r=%s,s=%s,i=10", NONCE, salt);
		objects = mem_usage_get(MEM_USER).objects;
		assert_int_equal(scram_client_next(c, first, strlen(first), &out, &len), SCRAM_OK);
		/* The second time nothing is new. */
		if (i % 2 == 1)
			assert_int_equal(mem_usage_get(MEM_USER).objects, objects);
		scram_client_free(&c);
	}
	assert_int_equal(mem_usage_get(MEM_USER).objects, 8);
	/* Keys of another password or iteration count are not used: the proof is the right one. */
	for (int i = 0; i < 3; i++) {
		struct scram_client *c = scram_client_new(i == 0 ? "other" : "pencil", &cache, &unbound);
		const char *message = i == 1 ? "r=" NONCE ",s=" SALT ",i=10" : SERVER_FIRST;

		scram_client_fix_nonce(c, "user", CLIENT_NONCE);
		assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
		assert_int_equal(scram_client_next(c, message, strlen(message), &out, &len), SCRAM_OK);
		if (i == 2)
			expect_text(out, len, CLIENT_FINAL);
		else
			assert_memory_not_equal(out, CLIENT_FINAL, strlen(CLIENT_FINAL));
		scram_client_free(&c);
	}
	scram_cache_clear(&cache);
	assert_int_equal(mem_usage_get(MEM_USER).objects, 0);
}

/* A client's login gives the keys to log in to servers with the same secret. */
static void test_pass_through(void **state)
{
	struct scram_cache cache = {0};
	struct scram_server *s = rfc_server(&unbound);
	struct scram_client *c = rfc_client(&unbound);
	struct scram_verifier v;
	const char *mechanism, *out, *text;
	size_t len;

	(void)state;
	assert_false(scram_cache_can_log_in(&cache, PENCIL));
	assert_true(scram_cache_can_log_in(&cache, "pencil"));
	assert_false(scram_cache_can_log_in(&cache, NULL));
	/* Not before the login has succeeded, nor for another secret, nor a plain one. */
	scram_server_keep_keys(s, PENCIL, &cache);
	assert_null(cache.keys);
	assert_true(log_in(c, s, false).done);
	scram_server_keep_keys(s, "pencil", &cache);
	assert_null(cache.keys);
	scram_server_keep_keys(s, "SCRAM-SHA-256$4096:" SALT "$" PROOF ":" PROOF, &cache);
	assert_null(cache.keys);
	scram_server_keep_keys(s, PENCIL, &cache);
	assert_true(scram_cache_can_log_in(&cache, PENCIL));
	scram_server_free(&s);
	scram_client_free(&c);

	s = rfc_server(&bound);
	c = scram_client_new(PENCIL, &cache, &bound);
	assert_non_null(c);
	assert_true(log_in(c, s, true).done);
	scram_server_free(&s);
	scram_client_free(&c);

	/* A server that has made a secret of its own of the same password. */
	assert_true(scram_verifier_of("pencil", NULL, &v));
	s = scram_server_new(&v, &unbound);
	c = scram_client_new(PENCIL, &cache, &unbound);
	assert_int_equal(log_in(c, s, false).client, SCRAM_FAILED);
	text = scram_client_error(c);
	assert_string_equal(text, "server holds another SCRAM secret for the user than auth_file does");
	scram_server_free(&s);
	scram_client_free(&c);

	/* A server with the same salt that knows other keys is found out. */
	c = scram_client_new(PENCIL, &cache, &unbound);
	scram_client_fix_nonce(c, "user", CLIENT_NONCE);
	assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
	assert_int_equal(scram_client_next(c, SERVER_FIRST, strlen(SERVER_FIRST), &out, &len), SCRAM_OK);
	expect_text(out, len, CLIENT_FINAL);
	assert_int_equal(scram_client_final(c, "v=" PROOF, strlen("v=" PROOF)), SCRAM_REFUSED);
	assert_false(scram_client_is_done(c));
	scram_client_free(&c);

	scram_cache_clear(&cache);
	assert_int_equal(mem_usage_get(MEM_USER).objects, 0);
	assert_int_equal(mem_usage_get(MEM_LOGIN).objects, 0);
}

/* ---- what clients send that is wrong ------------------------------------------- */

static void test_client_first(void **state)
{
	static const struct {
		const char *mechanism, *message;
		const char *error; /* NULL: it is taken */
		bool tls;
	} rows[] = {
		{"SCRAM-SHA-256", "n,,n=,r=abc", NULL, false},
		{"SCRAM-SHA-256", "n,,n=a=2Cb=3D,r=!~", NULL, true},
		{"SCRAM-SHA-256", "y,,n=user,r=abc", NULL, false},
		{"SCRAM-SHA-256", "n,,n=user,r=abc,x=anything,Y=", NULL, false},
		{"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=user,r=abc", NULL, true},

		{"SCRAM-SHA-1", "n,,n=user,r=abc", "client chose a SASL mechanism that was not offered", true},
		{"scram-sha-256", "n,,n=user,r=abc", "client chose a SASL mechanism that was not offered", true},
		{"", "n,,n=user,r=abc", "client chose a SASL mechanism that was not offered", false},
		{"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=user,r=abc",
			"client chose a SASL mechanism that was not offered", false},
		{"SCRAM-SHA-256", "", "malformed SCRAM message: it is empty", false},
		{"SCRAM-SHA-256", "x,,n=user,r=abc", "malformed SCRAM message: unexpected channel binding flag", false},
		{"SCRAM-SHA-256", "y,,n=user,r=abc",
			"client supports SCRAM channel binding but thinks that the server does not", true},
		{"SCRAM-SHA-256-PLUS", "n,,n=user,r=abc",
			"client chose SCRAM-SHA-256-PLUS but sends no channel binding data", true},
		{"SCRAM-SHA-256-PLUS", "y,,n=user,r=abc",
			"client chose SCRAM-SHA-256-PLUS but sends no channel binding data", true},
		{"SCRAM-SHA-256", "p=tls-server-end-point,,n=user,r=abc",
			"client chose SCRAM-SHA-256 but sends channel binding data", true},
		{"SCRAM-SHA-256-PLUS", "p=tls-unique,,n=user,r=abc", "unsupported SCRAM channel binding type", true},
		{"SCRAM-SHA-256-PLUS", "p=tls-server-end-pointy,,n=user,r=abc",
			"unsupported SCRAM channel binding type", true},
		{"SCRAM-SHA-256-PLUS", "p,,n=user,r=abc", "unsupported SCRAM channel binding type", true},
		{"SCRAM-SHA-256", "n", "malformed SCRAM message: a comma is expected after the channel binding flag",
			false},
		{"SCRAM-SHA-256", "nn", "malformed SCRAM message: a comma is expected after the channel binding flag",
			false},
		{"SCRAM-SHA-256", "n,a=root,n=user,r=abc",
			"client uses a SCRAM authorization identity, which is not supported", false},
		{"SCRAM-SHA-256", "n,", "malformed SCRAM message: a comma is expected after the authorization identity",
			false},
		{"SCRAM-SHA-256", "n,x,",
			"malformed SCRAM message: a comma is expected after the authorization identity", false},
		{"SCRAM-SHA-256", "n,,", "malformed SCRAM message: the user name is missing", false},
		{"SCRAM-SHA-256", "n,,m=x,n=user,r=abc", "client requires an unsupported SCRAM extension", false},
		{"SCRAM-SHA-256", "n,,r=abc,n=user", "malformed SCRAM message: the user name is missing", false},
		{"SCRAM-SHA-256", "n,,n=user", "malformed SCRAM message: the client's nonce is missing", false},
		{"SCRAM-SHA-256", "n,,n=user,", "malformed SCRAM message: the client's nonce is missing", false},
		{"SCRAM-SHA-256", "n,,n=user,s=abc", "malformed SCRAM message: the client's nonce is missing", false},
		{"SCRAM-SHA-256", "n,,n=user,r=",
			"malformed SCRAM message: the client's nonce is not printable, empty or too long", false},
		{"SCRAM-SHA-256", "n,,n=user,r=a c",
			"malformed SCRAM message: the client's nonce is not printable, empty or too long", false},
		{"SCRAM-SHA-256", "n,,n=user,r=a\x7f",
			"malformed SCRAM message: the client's nonce is not printable, empty or too long", false},
		{"SCRAM-SHA-256", "n,,n=user,r=a\xc3\xa9",
			"malformed SCRAM message: the client's nonce is not printable, empty or too long", false},
		{"SCRAM-SHA-256", "n,,n=user,r=abc,", "malformed SCRAM message: an attribute is expected after a comma",
			false},
		{"SCRAM-SHA-256", "n,,n=user,r=abc,x",
			"malformed SCRAM message: an attribute is expected after a comma", false},
		{"SCRAM-SHA-256", "n,,n=user,r=abc,1=x",
			"malformed SCRAM message: an attribute is expected after a comma", false},
		{"SCRAM-SHA-256", "n,,n=user,r=abc,x=1,m=1", "SCRAM extension that must be known is not", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scram_server *s = rfc_server(rows[i].tls ? &bound : &unbound);
		const char *out;
		size_t len;
		enum scram_result r =
			scram_server_start(s, rows[i].mechanism, rows[i].message, strlen(rows[i].message), &out, &len);

		if (r != (rows[i].error == NULL ? SCRAM_OK : SCRAM_MALFORMED))
			fail_msg("row %zu: result %d, %s", i, r, scram_server_error(s));
		if (rows[i].error != NULL) {
			assert_string_equal(scram_server_error(s), rows[i].error);
			assert_int_equal(len, 0);
			/* And so it stays. */
			assert_int_equal(scram_server_next(s, CLIENT_FIRST, strlen(CLIENT_FIRST), &out, &len),
				SCRAM_MALFORMED);
		}
		scram_server_free(&s);
	}
	assert_int_equal(mem_usage_get(MEM_LOGIN).objects, 0);
}

static void test_client_final(void **state)
{
	static const struct {
		const char *message;
		enum scram_result result;
		const char *error;
	} rows[] = {
		{"", SCRAM_MALFORMED, "malformed SCRAM message: it is empty"},
		{"r=" NONCE ",p=" PROOF, SCRAM_MALFORMED, "malformed SCRAM message: the channel binding is missing"},
		{"c=biws", SCRAM_MALFORMED, "malformed SCRAM message: the nonce is missing"},
		{"c=biws,p=" PROOF, SCRAM_MALFORMED, "malformed SCRAM message: the nonce is missing"},
		{"c=biws,r=" NONCE, SCRAM_MALFORMED, "malformed SCRAM message: the proof is missing"},
		{"c=biws,r=" NONCE ",p", SCRAM_MALFORMED, "malformed SCRAM message: the proof is missing"},
		{"c=biws,r=" NONCE ",", SCRAM_MALFORMED,
			"malformed SCRAM message: an attribute is expected after a comma"},
		{"c=biws,r=" NONCE ",,p=" PROOF, SCRAM_MALFORMED,
			"malformed SCRAM message: an attribute is expected after a comma"},
		{"c=biws,r=" NONCE ",1=2,p=" PROOF, SCRAM_MALFORMED,
			"malformed SCRAM message: an attribute is expected after a comma"},
		{"c=biws,r=" NONCE ",m=2,p=" PROOF, SCRAM_MALFORMED, "SCRAM extension that must be known is not"},
		{"c=biws,r=" NONCE ",p=" PROOF ",x=1", SCRAM_MALFORMED,
			"malformed SCRAM message: the proof is not its last attribute"},
		{"c=biws,r=" NONCE ",p=" PROOF "=", SCRAM_MALFORMED,
			"malformed SCRAM message: the proof is not base64 of 32 bytes"},
		{"c=biws,r=" NONCE ",p=AAAA", SCRAM_MALFORMED,
			"malformed SCRAM message: the proof is not base64 of 32 bytes"},
		{"c=biws,r=" NONCE ",p=", SCRAM_MALFORMED,
			"malformed SCRAM message: the proof is not base64 of 32 bytes"},
		{"c=eSws,r=" NONCE ",p=" PROOF, SCRAM_MALFORMED,
			"malformed SCRAM message: unexpected channel binding attribute"},
		{"c=,r=" NONCE ",p=" PROOF, SCRAM_MALFORMED,
			"malformed SCRAM message: unexpected channel binding attribute"},
		{"c=biws,r=" NONCE "x,p=" PROOF, SCRAM_MALFORMED, "SCRAM nonce does not match"},
		{"c=biws,r=" CLIENT_NONCE ",p=" PROOF, SCRAM_MALFORMED, "SCRAM nonce does not match"},
		{"c=biws,r=" NONCE ",p=AHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", SCRAM_REFUSED,
			"password is wrong"},
		/* well-formed, but the proof is not over the extension */
		{"c=biws,r=" NONCE ",x=1,p=" PROOF, SCRAM_REFUSED, "password is wrong"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scram_server *s = rfc_server(&unbound);
		const char *out;
		size_t len;
		enum scram_result r;

		assert_int_equal(scram_server_start(s, SCRAM_NAME, CLIENT_FIRST, strlen(CLIENT_FIRST), &out, &len),
			SCRAM_OK);
		r = scram_server_next(s, rows[i].message, strlen(rows[i].message), &out, &len);
		if (r != rows[i].result || strcmp(scram_server_error(s), rows[i].error) != 0)
			fail_msg("row %zu: result %d: %s", i, r, scram_server_error(s));
		assert_false(scram_server_is_done(s));
		/* One try. */
		assert_int_equal(scram_server_next(s, CLIENT_FINAL, strlen(CLIENT_FINAL), &out, &len), SCRAM_MALFORMED);
		assert_false(scram_server_is_done(s));
		scram_server_free(&s);
	}
}

/* Cut anywhere it is not the same message. */
static void test_client_final_cut(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < strlen(CLIENT_FINAL); cut++) {
		struct scram_server *s = rfc_server(&unbound);
		const char *out;
		size_t len;
		enum scram_result r;

		assert_int_equal(scram_server_start(s, SCRAM_NAME, CLIENT_FIRST, strlen(CLIENT_FIRST), &out, &len),
			SCRAM_OK);
		r = scram_server_next(s, CLIENT_FINAL, cut, &out, &len);
		assert_int_equal(r, SCRAM_MALFORMED);
		scram_server_free(&s);
	}
}

/* ---- what servers send that is wrong ------------------------------------------- */

static void test_mechanism_lists(void **state)
{
	static const struct {
		const char *list;
		size_t len;
		const struct scram_binding *b;
		const char *mechanism, *flag; /* NULL: refused */
		enum scram_result result;
	} rows[] = {
#define LIST(text) text, sizeof text
		{LIST("SCRAM-SHA-256\0"), &unbound, "SCRAM-SHA-256", "n,,", SCRAM_OK},
		{LIST("SCRAM-SHA-256\0"), &bound, "SCRAM-SHA-256", "y,,", SCRAM_OK},
		{LIST("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0"), &unbound, "SCRAM-SHA-256", "n,,", SCRAM_OK},
		{LIST("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0"), &bound, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,",
			SCRAM_OK},
		{LIST("GSSAPI\0OAUTHBEARER\0SCRAM-SHA-256\0"), &unbound, "SCRAM-SHA-256", "n,,", SCRAM_OK},
		{LIST("SCRAM-SHA-256-PLUS\0"), &bound, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", SCRAM_OK},
		{LIST("SCRAM-SHA-256-PLUS\0"), &unbound, NULL, NULL, SCRAM_FAILED},
		{LIST("SCRAM-SHA-1\0"), &unbound, NULL, NULL, SCRAM_FAILED},
		{LIST(""), &unbound, NULL, NULL, SCRAM_FAILED},
		{"", 0, &unbound, NULL, NULL, SCRAM_MALFORMED},
		{"SCRAM-SHA-256", 14, &unbound, NULL, NULL, SCRAM_MALFORMED},
		{"SCRAM-SHA-256", 13, &unbound, NULL, NULL, SCRAM_MALFORMED},
		{"SCRAM-SHA-256\0SCR", 17, &unbound, NULL, NULL, SCRAM_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scram_client *c = scram_client_new("pencil", NULL, rows[i].b);
		const char *mechanism, *out;
		size_t len;
		char *list = malloc(rows[i].len + 1); /* so that reading beyond it is seen */
		enum scram_result r;

		memcpy(list, rows[i].list, rows[i].len);
		list = realloc(list, rows[i].len > 0 ? rows[i].len : 1);
		r = scram_client_start(c, list, rows[i].len, &mechanism, &out, &len);
		if (r != rows[i].result)
			fail_msg("row %zu: result %d", i, r);
		if (r == SCRAM_OK) {
			assert_string_equal(mechanism, rows[i].mechanism);
			assert_int_equal(strncmp(out, rows[i].flag, strlen(rows[i].flag)), 0);
			assert_int_equal(strncmp(out + strlen(rows[i].flag), "n=,r=", 5), 0);
			assert_int_equal(len, strlen(rows[i].flag) + 5 + 24);
		}
		free(list);
		scram_client_free(&c);
	}
}

static void test_server_first(void **state)
{
	static const struct {
		const char *message;
		const char *error; /* NULL: it is taken */
	} rows[] = {
		{SERVER_FIRST, NULL},
		{SERVER_FIRST ",x=y", NULL},
		{"r=" NONCE ",s=AA==,i=1", NULL},
		{"", "malformed SCRAM message: it is empty"},
		{"m=x," SERVER_FIRST, "server requires an unsupported SCRAM extension"},
		{"s=" SALT ",i=4096", "malformed SCRAM message: the server's nonce is missing"},
		{"e=other-error", "malformed SCRAM message: the server's nonce is missing"},
		{"r=,s=" SALT ",i=4096",
			"malformed SCRAM message: the server's nonce is not printable, empty or too long"},
		{"r=" NONCE "\x01,s=" SALT ",i=4096",
			"malformed SCRAM message: the server's nonce is not printable, empty or too long"},
		{"r=x" NONCE ",s=" SALT ",i=4096", "SCRAM nonce does not begin with ours"},
		{"r=rOpr,s=" SALT ",i=4096", "SCRAM nonce does not begin with ours"},
		{"r=" CLIENT_NONCE ",s=" SALT ",i=4096", "server has added nothing to our SCRAM nonce"},
		{"r=" NONCE, "malformed SCRAM message: the salt is missing"},
		{"r=" NONCE ",i=4096", "malformed SCRAM message: the salt is missing"},
		{"r=" NONCE ",s=,i=4096", "malformed SCRAM message: the salt is empty or too long"},
		{"r=" NONCE
		 ",s=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,i=4096",
			"malformed SCRAM message: the salt is empty or too long"},
		{"r=" NONCE ",s=W22Za,i=4096", "malformed SCRAM message: the salt is not base64"},
		{"r=" NONCE ",s=W2*Z,i=4096", "malformed SCRAM message: the salt is not base64"},
		{"r=" NONCE ",s=" SALT, "malformed SCRAM message: the iteration count is missing"},
		{"r=" NONCE ",s=" SALT ",x=4096", "malformed SCRAM message: the iteration count is missing"},
		{"r=" NONCE ",s=" SALT ",i=",
			"malformed SCRAM message: the iteration count is not a number above zero"},
		{"r=" NONCE ",s=" SALT ",i=0",
			"malformed SCRAM message: the iteration count is not a number above zero"},
		{"r=" NONCE ",s=" SALT ",i=-1",
			"malformed SCRAM message: the iteration count is not a number above zero"},
		{"r=" NONCE ",s=" SALT ",i=4096x",
			"malformed SCRAM message: the iteration count is not a number above zero"},
		{"r=" NONCE ",s=" SALT ",i= 4096",
			"malformed SCRAM message: the iteration count is not a number above zero"},
		{"r=" NONCE ",s=" SALT ",i=1000001", "server wants more than 1000000 SCRAM iterations"},
		{"r=" NONCE ",s=" SALT ",i=99999999999999999999999", "server wants more than 1000000 SCRAM iterations"},
		{"r=" NONCE ",s=" SALT ",i=4294967297", "server wants more than 1000000 SCRAM iterations"},
		{SERVER_FIRST ",", "malformed SCRAM message: an attribute is expected after a comma"},
		{SERVER_FIRST ",x", "malformed SCRAM message: an attribute is expected after a comma"},
		{SERVER_FIRST ",m=1", "SCRAM extension that must be known is not"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scram_client *c = rfc_client(&unbound);
		const char *mechanism, *out;
		size_t len;
		enum scram_result r;

		assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
		r = scram_client_next(c, rows[i].message, strlen(rows[i].message), &out, &len);
		if (r != (rows[i].error == NULL ? SCRAM_OK : SCRAM_MALFORMED))
			fail_msg("row %zu: result %d: %s", i, r, scram_client_error(c));
		if (rows[i].error != NULL) {
			assert_string_equal(scram_client_error(c), rows[i].error);
			assert_int_equal(len, 0);
			assert_int_equal(scram_client_next(c, SERVER_FIRST, strlen(SERVER_FIRST), &out, &len),
				SCRAM_MALFORMED);
		}
		scram_client_free(&c);
	}
}

static void test_server_final(void **state)
{
	static const struct {
		const char *message;
		enum scram_result result;
		const char *error;
	} rows[] = {
		{SERVER_FINAL ",x=1", SCRAM_OK, ""},
		{"", SCRAM_MALFORMED, "malformed SCRAM message: it is empty"},
		{"e=invalid-proof", SCRAM_REFUSED, "server refuses the SCRAM exchange: invalid-proof"},
		{"e=", SCRAM_REFUSED, "server refuses the SCRAM exchange"},
		{"e=bad\nthing", SCRAM_REFUSED, "server refuses the SCRAM exchange"},
		{"e=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", SCRAM_REFUSED,
			"server refuses the SCRAM exchange"},
		{"x=1", SCRAM_MALFORMED, "malformed SCRAM message: the server's signature is missing"},
		{"v", SCRAM_MALFORMED, "malformed SCRAM message: the server's signature is missing"},
		{"v=", SCRAM_MALFORMED, "malformed SCRAM message: the server's signature is not base64 of 32 bytes"},
		{"v=AAAA", SCRAM_MALFORMED,
			"malformed SCRAM message: the server's signature is not base64 of 32 bytes"},
		{SERVER_FINAL "=", SCRAM_MALFORMED,
			"malformed SCRAM message: the server's signature is not base64 of 32 bytes"},
		{SERVER_FINAL ",", SCRAM_MALFORMED, "malformed SCRAM message: an attribute is expected after a comma"},
		{"v=" PROOF, SCRAM_REFUSED, "server's SCRAM signature is wrong: it does not know the password"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scram_client *c = rfc_client(&unbound);
		const char *mechanism, *out;
		size_t len;
		enum scram_result r;

		assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
		assert_int_equal(scram_client_next(c, SERVER_FIRST, strlen(SERVER_FIRST), &out, &len), SCRAM_OK);
		r = scram_client_final(c, rows[i].message, strlen(rows[i].message));
		if (r != rows[i].result || strcmp(scram_client_error(c), rows[i].error) != 0)
			fail_msg("row %zu: result %d: %s", i, r, scram_client_error(c));
		assert_int_equal(scram_client_is_done(c), r == SCRAM_OK);
		scram_client_free(&c);
	}
}

/* A server that leaves out its half of the exchange is not believed. */
static void test_out_of_order(void **state)
{
	struct scram_client *c = rfc_client(&unbound);
	const char *mechanism, *out;
	size_t len;

	(void)state;
	assert_false(scram_client_is_done(c));
	assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
	assert_false(scram_client_is_done(c));
	assert_int_equal(scram_client_final(c, SERVER_FINAL, strlen(SERVER_FINAL)), SCRAM_MALFORMED);
	assert_string_equal(scram_client_error(c), "SCRAM message is not expected here");
	assert_int_equal(scram_client_next(c, SERVER_FIRST, strlen(SERVER_FIRST), &out, &len), SCRAM_MALFORMED);
	scram_client_free(&c);
}

/* ---- sizes --------------------------------------------------------------------- */

static void test_long_messages(void **state)
{
	static char big[70000];
	struct scram_server *s;
	struct scram_client *c;
	const char *mechanism, *out;
	size_t len;
	int n;

	(void)state;
	/* A client's nonce: half of what there may be in all. */
	for (int i = 0; i < 2; i++) {
		s = rfc_server(&unbound);
		n = snprintf(big, sizeof big, "n,,n=,r=%0*d", SCRAM_NONCE_MAX / 2 + i, 0);
		assert_int_equal(scram_server_start(s, SCRAM_NAME, big, (size_t)n, &out, &len),
			i ? SCRAM_MALFORMED : SCRAM_OK);
		scram_server_free(&s);
	}
	/* A server's */
	for (int i = 0; i < 2; i++) {
		c = rfc_client(&unbound);
		assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
		n = snprintf(big, sizeof big, "r=%s%0*d,s=%s,i=1", CLIENT_NONCE,
			SCRAM_NONCE_MAX - (int)strlen(CLIENT_NONCE) + i, 0, SALT);
		assert_int_equal(scram_client_next(c, big, (size_t)n, &out, &len), i ? SCRAM_MALFORMED : SCRAM_OK);
		scram_client_free(&c);
	}
	/* 64 KB of it */
	c = rfc_client(&unbound);
	assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
	n = snprintf(big, sizeof big, "r=%s%065536d,s=%s,i=1", CLIENT_NONCE, 0, SALT);
	assert_int_equal(scram_client_next(c, big, (size_t)n, &out, &len), SCRAM_MALFORMED);
	assert_string_equal(scram_client_error(c), "malformed SCRAM message: it is too long");
	scram_client_free(&c);
	/* a zero byte anywhere */
	s = rfc_server(&unbound);
	assert_int_equal(scram_server_start(s, SCRAM_NAME, "n,,n=user\0,r=abc", 16, &out, &len), SCRAM_MALFORMED);
	assert_string_equal(scram_server_error(s), "malformed SCRAM message: it holds a zero byte");
	scram_server_free(&s);
	assert_int_equal(mem_usage_get(MEM_LOGIN).objects, 0);
}

/* Nonces are new each time, on both sides. */
static void test_fresh_nonces(void **state)
{
	char ours[2][256], theirs[2][256];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct scram_verifier v;
		struct scram_server *s;
		struct scram_client *c = scram_client_new("pencil", NULL, &unbound);
		const char *mechanism, *out;
		size_t len;

		assert_true(secret_parse_scram(PENCIL, &v));
		s = scram_server_new(&v, &unbound);
		assert_int_equal(scram_client_start(c, offer, sizeof offer, &mechanism, &out, &len), SCRAM_OK);
		snprintf(ours[i], sizeof ours[i], "%s", out);
		assert_int_equal(scram_server_start(s, SCRAM_NAME, CLIENT_FIRST, strlen(CLIENT_FIRST), &out, &len),
			SCRAM_OK);
		snprintf(theirs[i], sizeof theirs[i], "%s", out);
		scram_client_free(&c);
		scram_server_free(&s);
	}
	assert_string_not_equal(ours[0], ours[1]);
	assert_string_not_equal(theirs[0], theirs[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc7677_server),
		cmocka_unit_test(test_rfc7677_client),
		cmocka_unit_test(test_no_initial_response),
		cmocka_unit_test(test_both_sides),
		cmocka_unit_test(test_binding_mismatch),
		cmocka_unit_test(test_mock),
		cmocka_unit_test(test_no_verifier),
		cmocka_unit_test(test_cached_verifier),
		cmocka_unit_test(test_cached_keys),
		cmocka_unit_test(test_pass_through),
		cmocka_unit_test(test_client_first),
		cmocka_unit_test(test_client_final),
		cmocka_unit_test(test_client_final_cut),
		cmocka_unit_test(test_mechanism_lists),
		cmocka_unit_test(test_server_first),
		cmocka_unit_test(test_server_final),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_long_messages),
		cmocka_unit_test(test_fresh_nonces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
