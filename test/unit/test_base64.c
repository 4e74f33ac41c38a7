/*
 * Base64, strictly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "auth/base64.h"

static void test_rfc4648(void **state)
{
	static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
		{"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
		{"\xff\xfe\xfd\xfb\xef\xbe", "//79++++"}};
	char text[32];
	uint8_t bytes[32];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = strlen(rows[i][0]);

		base64_encode((const uint8_t *)rows[i][0], n, text);
		assert_string_equal(text, rows[i][1]);
		assert_int_equal(strlen(text), BASE64_LEN(n));
		assert_int_equal(base64_decode(text, strlen(text), bytes, sizeof bytes), n);
		assert_memory_equal(bytes, rows[i][0], n);
	}
}

static void test_all_lengths(void **state)
{
	uint8_t in[100] = {0}, back[100];
	char text[BASE64_LEN(100) + 1];

	(void)state;
	for (size_t n = 0; n <= sizeof in; n++) {
		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)(i * 37 + n * 11);
		base64_encode(in, n, text);
		assert_int_equal(strlen(text), BASE64_LEN(n));
		assert_int_equal(base64_decode(text, strlen(text), back, n), n);
		assert_memory_equal(in, back, n);
		/* One byte of room too few. */
		if (n > 0)
			assert_int_equal(base64_decode(text, strlen(text), back, n - 1), -1);
	}
}

static void test_rejected(void **state)
{
	static const char *const rows[] = {"Z", "Zg", "Zg=", "Zm9vZ", "Zg==Zg==", "=", "====", "Z===", "=g==", "Zg=a",
		"Z=g=", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm-v", "Zm_v", "Zm9v====", " Zg=", "Zm8=Zm9v"};
	uint8_t bytes[32];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (base64_decode(rows[i], strlen(rows[i]), bytes, sizeof bytes) != -1)
			fail_msg("\"%s\" was taken", rows[i]);
	/* A zero byte is no digit either. */
	assert_int_equal(base64_decode("Zm\0v", 4, bytes, sizeof bytes), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc4648),
		cmocka_unit_test(test_all_lengths),
		cmocka_unit_test(test_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
