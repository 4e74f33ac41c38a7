/*
 * Secrets: their kinds, MD5, and passwords in the clear against all of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "auth/secret.h"
#include "base/mem.h"

/* Of the password "pencil" with RFC 7677's salt. */
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define STORED "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
#define SERVER "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define PENCIL "SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER
/* md5("secret" || "alice") */
#define ALICE "md54a0a68b43b6cd5cf266fa02f196e2371"

static void test_kinds(void **state)
{
	static const struct {
		const char *secret;
		enum secret_kind kind;
	} rows[] = {
		{NULL, SECRET_NONE},
		{"", SECRET_NONE},
		{"x", SECRET_PLAIN},
		{"md5", SECRET_PLAIN},
		{"md50123456789abcdef0123456789abcdef", SECRET_MD5},
		{"md50123456789ABCDEF0123456789abcdef", SECRET_PLAIN},
		{"md50123456789abcdef0123456789abcde", SECRET_PLAIN},
		{"md50123456789abcdef0123456789abcdef0", SECRET_PLAIN},
		{"md50123456789abcdef0123456789abcdeg", SECRET_PLAIN},
		{"md50123456789abcdef0123456789abcdef ", SECRET_PLAIN},
		{PENCIL, SECRET_SCRAM},
		{"SCRAM-SHA-256$1:" SALT "$" STORED ":" SERVER, SECRET_SCRAM},
		{"SCRAM-SHA-256$1000000:" SALT "$" STORED ":" SERVER, SECRET_SCRAM},
		{"SCRAM-SHA-256$4096:AA==$" STORED ":" SERVER, SECRET_SCRAM},
		{"SCRAM-SHA-256$0:" SALT "$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$1000001:" SALT "$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$99999999999999999999:" SALT "$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$:" SALT "$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$-1:" SALT "$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$4096 :" SALT "$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:W22Z$" STORED ":", SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:W22*$" STORED ":" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:" SALT "$" STORED, SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:" SALT "$W22Z:" SERVER, SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER "=", SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER " ", SECRET_PLAIN},
		{"SCRAM-SHA-256$4096:" SALT, SECRET_PLAIN},
		{"SCRAM-SHA-256$4096", SECRET_PLAIN},
		{"SCRAM-SHA-256$", SECRET_PLAIN},
		{"SCRAM-SHA-1$4096:" SALT "$" STORED ":" SERVER, SECRET_PLAIN},
		/* a salt of 65 bytes */
		{"SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=$" STORED
		 ":" SERVER,
			SECRET_PLAIN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (secret_kind_of(rows[i].secret) != rows[i].kind)
			fail_msg("row %zu: \"%s\" is of kind %d", i, rows[i].secret, secret_kind_of(rows[i].secret));
}

static void test_parse_and_format(void **state)
{
	struct scram_verifier v, derived;
	char text[SECRET_SCRAM_MAX];
	uint8_t client_key[SCRAM_KEY];

	(void)state;
	assert_true(secret_parse_scram(PENCIL, &v));
	assert_int_equal(v.iterations, 4096);
	assert_int_equal(v.salt_len, 16);
	assert_false(v.mock);
	secret_format_scram(&v, text);
	assert_string_equal(text, PENCIL);
	/* What RFC 5802 derives is what PostgreSQL stored. */
	assert_true(secret_derive("pencil", v.salt, v.salt_len, 4096, &derived, client_key));
	assert_memory_equal(derived.stored_key, v.stored_key, SCRAM_KEY);
	assert_memory_equal(derived.server_key, v.server_key, SCRAM_KEY);

	/* The longest line has room. */
	v.iterations = SCRAM_ITERATIONS_MAX;
	v.salt_len = SCRAM_SALT_MAX;
	secret_format_scram(&v, text);
	assert_true(strlen(text) + 1 < SECRET_SCRAM_MAX);
	assert_true(secret_parse_scram(text, &derived));
	assert_int_equal(derived.salt_len, SCRAM_SALT_MAX);
}

static void test_make(void **state)
{
	char one[SECRET_SCRAM_MAX], two[SECRET_SCRAM_MAX];

	(void)state;
	assert_true(secret_make_scram("s3cr\xc3\xa9t", 5000, one));
	assert_true(secret_make_scram("s3cr\xc3\xa9t", 5000, two));
	assert_string_not_equal(one, two);
	assert_int_equal(strncmp(one, "SCRAM-SHA-256$5000:", 19), 0);
	assert_int_equal(secret_kind_of(one), SECRET_SCRAM);
	assert_true(secret_check_password(one, "u", "s3cr\xc3\xa9t"));
	assert_false(secret_check_password(one, "u", "s3cret"));
	assert_int_equal(mem_usage_get(MEM_LOGIN).objects, 0);
}

static void test_md5(void **state)
{
	static const uint8_t salt[4] = {0, 0xff, 0x20, 0x0a};
	char plain[SECRET_MD5_LEN + 1], hashed[SECRET_MD5_LEN + 1];

	(void)state;
	/* A plain secret and its hash answer alike. */
	assert_true(secret_md5_response("secret", "alice", salt, plain));
	assert_true(secret_md5_response(ALICE, "alice", salt, hashed));
	assert_string_equal(plain, hashed);
	assert_string_equal(plain, "md577471937f5dc7089cd0205eee7a51486");
	/* The hash has the name in it already. */
	assert_true(secret_md5_response(ALICE, "bob", salt, hashed));
	assert_string_equal(plain, hashed);
	assert_true(secret_md5_response("secret", "bob", salt, hashed));
	assert_string_not_equal(plain, hashed);

	assert_true(secret_md5_check("secret", "alice", salt, plain));
	assert_true(secret_md5_check(ALICE, "alice", salt, plain));
	assert_false(secret_md5_check("secret", "bob", salt, plain));
	assert_false(secret_md5_check("Secret", "alice", salt, plain));
	assert_false(secret_md5_check("secret", "alice", (const uint8_t[]){0, 0, 0, 0}, plain));
	assert_false(secret_md5_check("secret", "alice", salt, ""));
	assert_false(secret_md5_check("secret", "alice", salt, "md5"));
	assert_false(secret_md5_check("secret", "alice", salt, ALICE));
	plain[34] ^= 1;
	assert_false(secret_md5_check("secret", "alice", salt, plain));

	assert_false(secret_md5_response("", "alice", salt, hashed));
	assert_false(secret_md5_response(NULL, "alice", salt, hashed));
	assert_false(secret_md5_response(PENCIL, "alice", salt, hashed));
	assert_false(secret_md5_check("", "alice", salt, ""));
	assert_false(secret_md5_check(PENCIL, "alice", salt, plain));
}

static void test_passwords_in_the_clear(void **state)
{
	static const struct {
		const char *secret, *user, *password;
		bool fits;
	} rows[] = {
		{"secret", "alice", "secret", true},
		{"secret", "bob", "secret", true},
		{"secret", "alice", "Secret", false},
		{"secret", "alice", "secret ", false},
		{"secret", "alice", "", false},
		{"", "alice", "", false},
		{NULL, "alice", "", false},
		{ALICE, "alice", "secret", true},
		{ALICE, "bob", "secret", false},
		{ALICE, "alice", "Secret", false},
		{ALICE, "alice", ALICE, false},
		{PENCIL, "alice", "pencil", true},
		{PENCIL, "alice", "pencils", false},
		{PENCIL, "alice", PENCIL, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (secret_check_password(rows[i].secret, rows[i].user, rows[i].password) != rows[i].fits)
			fail_msg("row %zu", i);
}

static void test_random(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0};

	(void)state;
	secret_random(a, sizeof a);
	secret_random(b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
}

/* No piece comes twice, also not over the end of the store, and none is left in it. */
static void test_random_store(void **state)
{
	static const uint8_t none[13];
	struct secret_store s = {.left = 0};
	uint8_t all[200][13];

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		secret_random_from(&s, all[i], sizeof all[i]);
		assert_memory_equal(s.bytes + s.left, none, sizeof none);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(all[i], all[j], sizeof all[i]);
		for (size_t j = 0; j + sizeof all[i] <= sizeof s.bytes; j++)
			assert_memory_not_equal(s.bytes + j, all[i], sizeof all[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_md5),
		cmocka_unit_test(test_passwords_in_the_clear),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_random_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
