/*
 * Contexts of TLS: what each setting takes, and what is said when it does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "lib/certs.h"
#include "net/tls.h"

static char *folder;

static const char *file(const char *name)
{
	static char buf[8][512];
	static unsigned turn;
	char *p = buf[turn++ % 8];

	if (name == NULL || *name == '/' || *name == '\0')
		return name;
	snprintf(p, sizeof buf[0], "%s/%s", folder, name);
	return p;
}

/* error NULL: a context comes of it. Otherwise a part of the only error's text. */
struct row {
	bool accepting;
	struct tls_options o;
	const char *error;
};

#define OWN .key_file = "server.key", .cert_file = "server.crt"

static const struct row rows[] = {
	{true, {.mode = TLS_REQUIRE, OWN}, NULL},
	{true, {.mode = TLS_PREFER, OWN, .ca_file = "ca.crt"}, NULL},
	{true, {.mode = TLS_VERIFY_FULL, OWN, .ca_file = "ca.crt"}, NULL},
	{true, {.mode = TLS_REQUIRE}, "x_tls_sslmode needs x_tls_key_file and x_tls_cert_file"},
	{true, {.mode = TLS_REQUIRE, .key_file = "", .cert_file = ""}, "needs x_tls_key_file"},
	{true, {.mode = TLS_DISABLE}, NULL},
	{true, {.mode = TLS_REQUIRE, .key_file = "server.key"},
		"x_tls_key_file and x_tls_cert_file must be set together"},
	{false, {.mode = TLS_REQUIRE, .cert_file = "server.crt"}, "must be set together"},
	{true, {.mode = TLS_VERIFY_CA, OWN}, "x_tls_sslmode needs x_tls_ca_file"},
	{false, {.mode = TLS_PREFER}, NULL},
	{false, {.mode = TLS_VERIFY_FULL}, NULL},
	{false, {.mode = TLS_VERIFY_FULL, .ca_file = "ca.crt", OWN}, NULL},

	{true, {.mode = TLS_REQUIRE, .key_file = "server.key", .cert_file = "none.crt"},
		"x_tls_cert_file: cannot open \"%s/none.crt\": No such file or directory"},
	{true, {.mode = TLS_REQUIRE, .key_file = "none.key", .cert_file = "server.crt"},
		"x_tls_key_file: cannot open \"%s/none.key\": No such file"},
	{false, {.mode = TLS_VERIFY_CA, .ca_file = "none.crt"},
		"x_tls_ca_file: cannot open \"%s/none.crt\": No such file"},
	{true, {.mode = TLS_REQUIRE, .key_file = "server.key", .cert_file = "garbage"},
		"x_tls_cert_file: no usable certificate in \"%s/garbage\": "},
	{true, {.mode = TLS_REQUIRE, .key_file = "garbage", .cert_file = "server.crt"},
		"x_tls_key_file: no usable key in \"%s/garbage\" (it must not have a passphrase): "},
	{true, {.mode = TLS_REQUIRE, .key_file = "locked.key", .cert_file = "server.crt"},
		"x_tls_key_file: no usable key in \"%s/locked.key\" (it must not have a passphrase): "},
	{true, {.mode = TLS_REQUIRE, .key_file = "ca.key", .cert_file = "server.crt"},
		"x_tls_key_file: the key in \"%s/ca.key\" does not fit the certificate in \""},
	{true, {.mode = TLS_REQUIRE, .key_file = "rsa.key", .cert_file = "server.crt"}, "does not fit the certificate"},
	{false, {.mode = TLS_VERIFY_CA, .ca_file = "garbage"},
		"x_tls_ca_file: no usable certificate in \"%s/garbage\": "},
	{false, {.mode = TLS_PREFER, .ca_file = "none.crt"}, "cannot open"},

	{true, {.mode = TLS_REQUIRE, OWN, .protocols = "secure"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .protocols = "ALL"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .protocols = "tlsv1.0,tlsv1.1, TLSv1.2 ,tlsv1.3"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .protocols = "tlsv1.3"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .protocols = "legacy"}, "x_tls_protocols: unknown protocol \"legacy\""},
	{true, {.mode = TLS_REQUIRE, OWN, .protocols = "tlsv1.2,tlsv1.4"}, "unknown protocol \"tlsv1.4\""},
	{true, {.mode = TLS_REQUIRE, OWN, .protocols = "tlsv1"}, "unknown protocol \"tlsv1\""},
	{true, {.mode = TLS_REQUIRE, OWN, .protocols = ","}, "x_tls_protocols: the list is empty"},

	{true, {.mode = TLS_REQUIRE, OWN, .ciphers = "default"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers = "Secure"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers = "fast"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers = "normal"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers = "all"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers = "HIGH:!aNULL"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers = "nonsense"}, "x_tls_ciphers: no usable cipher in \"nonsense\": "},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers13 = "TLS_AES_128_GCM_SHA256"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ciphers13 = "nonsense"},
		"x_tls13_ciphers: no usable cipher in \"nonsense\": "},

	{true, {.mode = TLS_REQUIRE, OWN, .ecdhcurve = "auto"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ecdhcurve = "none"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ecdhcurve = "prime256v1"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ecdhcurve = "P-384"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .ecdhcurve = "curly"}, "x_tls_ecdhcurve: unknown curve \"curly\""},
	{true, {.mode = TLS_REQUIRE, OWN, .dheparams = "auto"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .dheparams = "none"}, NULL},
	{true, {.mode = TLS_REQUIRE, OWN, .dheparams = "legacy"}, "x_tls_dheparams: unknown word \"legacy\""},
};

static void test_settings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *r = &rows[i];
		struct tls_options o = r->o;
		struct errs errs = {0};
		struct tls_ctx *c;
		char text[1024], expected[1024];

		o.key_file = file(o.key_file);
		o.cert_file = file(o.cert_file);
		o.ca_file = file(o.ca_file);
		c = tls_ctx_new(&o, r->accepting, "x_tls", &errs);
		if (r->error == NULL && c == NULL)
			fail_msg("row %zu: %s", i, errs_format(&errs, 0, text, sizeof text));
		if (r->error != NULL) {
			const char *mark = strstr(r->error, "%s");

			if (mark != NULL)
				snprintf(expected, sizeof expected, "%.*s%s%s", (int)(mark - r->error), r->error,
					folder, mark + 2);
			else
				snprintf(expected, sizeof expected, "%s", r->error);
			if (c != NULL || errs.total != 1)
				fail_msg("row %zu: %zu errors for \"%s\"", i, errs.total, expected);
			errs_format(&errs, 0, text, sizeof text);
			if (strstr(text, expected) == NULL)
				fail_msg("row %zu: \"%s\" without \"%s\"", i, text, expected);
		}
		errs_free(&errs);
		tls_ctx_unref(&c);
		assert_null(c);
	}
	assert_int_equal(mem_usage_get(MEM_TLS).objects, 0);
}

/* -t prints all that is wrong, not the first of it. */
static void test_all_errors_at_once(void **state)
{
	struct tls_options o = {.mode = TLS_VERIFY_CA,
		.protocols = "x",
		.ciphers = "x",
		.ciphers13 = "x",
		.ecdhcurve = "x",
		.dheparams = "x",
		.key_file = "/nowhere/a",
		.cert_file = "/nowhere/b",
		.ca_file = "/nowhere/c"};
	struct errs errs = {0};

	(void)state;
	assert_null(tls_ctx_new(&o, true, "client_tls", &errs));
	assert_int_equal(errs.total, 7);
	errs_free(&errs);
}

static void test_references(void **state)
{
	struct tls_options o = {.mode = TLS_PREFER};
	struct errs errs = {0};
	struct tls_ctx *a = tls_ctx_new(&o, false, "server_tls", &errs), *b = tls_ctx_ref(a), *none = NULL;

	(void)state;
	assert_ptr_equal(a, b);
	tls_ctx_unref(&a);
	assert_null(a);
	assert_true(mem_usage_get(MEM_TLS).objects > 0);
	tls_ctx_unref(&b);
	assert_int_equal(mem_usage_get(MEM_TLS).objects, 0);
	tls_ctx_unref(&none);
	assert_null(tls_ctx_ref(NULL));
}

static void test_key_file_is_open(void **state)
{
	const char *key = file("server.key");

	(void)state;
	assert_int_equal(chmod(key, 0640), 0);
	assert_false(tls_key_file_is_open(key));
	assert_int_equal(chmod(key, 0604), 0);
	assert_true(tls_key_file_is_open(key));
	assert_int_equal(chmod(key, 0600), 0);
	assert_false(tls_key_file_is_open(key));
	assert_false(tls_key_file_is_open(file("none.key")));
	assert_false(tls_key_file_is_open(NULL));
	assert_false(tls_key_file_is_open(""));
}

static void test_library(void **state)
{
	(void)state;
	assert_int_equal(strncmp(tls_library(), "OpenSSL ", 8), 0);
}

static void write_locked_key(void)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	FILE *f = fopen(file("locked.key"), "w");
	char word[] = "word";

	assert_true(PEM_write_PrivateKey(f, key, EVP_aes_256_cbc(), (unsigned char *)word, 4, NULL, NULL) == 1);
	fclose(f);
	EVP_PKEY_free(key);
}

static int setup(void **state)
{
	FILE *f;

	(void)state;
	folder = certs_folder();
	certs_make(folder, &(struct cert){.name = "ca", .cn = "ca"});
	certs_make(folder, &(struct cert){.name = "rsa", .cn = "rsa", .key = "RSA"});
	certs_make(folder, &(struct cert){.name = "server", .cn = "db.example", .issuer = "ca"});
	write_locked_key();
	f = fopen(file("garbage"), "w");
	fputs("nothing of the kind\n", f);
	fclose(f);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	certs_remove(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_all_errors_at_once),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_key_file_is_open),
		cmocka_unit_test(test_library),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
