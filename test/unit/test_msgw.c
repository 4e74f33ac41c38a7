/*
 * msgw: the bytes of each message, that wire takes them for what they are,
 * and that a buffer which moves or fails underneath does no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/buf.h"
#include "proto/msgw.h"
#include "proto/wire.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(s) s, sizeof(s) - 1

static const struct msgw_error plain_error = {.severity = "FATAL", .code = "08P01", .message = "no"};
static const struct msgw_error full_error = {
	.severity = "ERROR", .code = "53300", .message = "m", .detail = "d", .hint = "h"};
static const char *const strings[] = {"ab", "c", NULL, ""};
static const uint32_t oids[] = {25, 0xfffffffe};
static const struct msgw_column columns[] = {{"a", 25, -1}, {"", 23, 4}};

static void error(struct buf *b)
{
	msgw_error(b, &plain_error);
}

static void notice(struct buf *b)
{
	msgw_notice(b, &full_error);
}

static void auth_md5(struct buf *b)
{
	static const uint8_t salt[4] = {1, 0, 255, 4};

	msgw_auth_md5(b, salt);
}

static void auth_sasl(struct buf *b)
{
	msgw_auth_sasl(b, strings, 2);
}

static void auth_sasl_continue(struct buf *b)
{
	msgw_auth_sasl_continue(b, "r=\0x", 4);
}

static void auth_sasl_final(struct buf *b)
{
	msgw_auth_sasl_final(b, "v=", 2);
}

static void parameter_status(struct buf *b)
{
	msgw_parameter_status(b, "TimeZone", "UTC");
}

static void backend_key(struct buf *b)
{
	msgw_backend_key(b, "pid\0\0key", 8);
}

static void negotiate(struct buf *b)
{
	msgw_negotiate_version(b, 2, strings, 2);
}

static void negotiate_nothing(struct buf *b)
{
	msgw_negotiate_version(b, 0, NULL, 0);
}

static void ready(struct buf *b)
{
	msgw_ready(b, 'T');
}

static void command_complete(struct buf *b)
{
	msgw_command_complete(b, "SELECT 1");
}

static void parse_complete(struct buf *b)
{
	msgw_empty(b, MSG_PARSE_COMPLETE);
}

static void row_description(struct buf *b)
{
	msgw_row_description(b, columns, 2);
}

static void no_columns(struct buf *b)
{
	msgw_row_description(b, NULL, 0);
}

static void parameter_description(struct buf *b)
{
	msgw_parameter_description(b, oids, 2);
}

static void data_row(struct buf *b)
{
	msgw_data_row(b, strings, 4);
}

static void own_message(struct buf *b)
{
	uint32_t mark = msgw_begin(b, 'd');

	msgw_u8(b, 0xff);
	msgw_u16(b, 0xfffe);
	msgw_u32(b, 0xfffefdfc);
	msgw_cstr(b, "x");
	msgw_end(b, mark);
}

static void startup(struct buf *b)
{
	uint32_t mark = msgw_startup_begin(b, 2);

	msgw_cstr(b, strings[0]);
	msgw_cstr(b, strings[1]);
	msgw_startup_end(b, mark);
}

static void startup_bare(struct buf *b)
{
	msgw_startup_end(b, msgw_startup_begin(b, 0));
}

static void cancel(struct buf *b)
{
	msgw_cancel_request(b, "pid\0key\0more", 12);
}

static void password(struct buf *b)
{
	msgw_password(b, "secret");
}

static void sasl_initial(struct buf *b)
{
	msgw_sasl_initial(b, "SCRAM", "n,,", 3);
}

static void sasl_response(struct buf *b)
{
	msgw_sasl_response(b, "c=\0", 3);
}

static void query(struct buf *b)
{
	msgw_query(b, "SELECT 1");
}

static void parse(struct buf *b)
{
	msgw_parse(b, "s", "SELECT $1");
}

static void bind_text(struct buf *b)
{
	msgw_bind_text(b, "p", "s", strings, 4);
}

static void bind_nothing(struct buf *b)
{
	msgw_bind_text(b, "", "", NULL, 0);
}

static void describe(struct buf *b)
{
	msgw_describe(b, 'P', "x");
}

static void execute(struct buf *b)
{
	msgw_execute(b, "");
}

static void close_statement(struct buf *b)
{
	msgw_close(b, 'S', "st");
}

static void close_portal(struct buf *b)
{
	msgw_close(b, 'P', "");
}

/* What is behind it comes from elsewhere. */
static void head(struct buf *b)
{
	msgw_head(b, MSG_PARSE, 6);
	msgw_cstr(b, "s");
	buf_append(b, "x\0\0", 4);
}

/* side -1: a packet without a type */
static const struct {
	void (*write)(struct buf *b);
	int side;
	const char *want;
	size_t n;
} messages[] = {
	{error, WIRE_SERVER, BYTES("E\0\0\0\x29SFATAL\0VFATAL\0C08P01\0Mno\0Rpsbouncer\0\0")},
	{notice, WIRE_SERVER, BYTES("N\0\0\0\x2eSERROR\0VERROR\0C53300\0Mm\0Dd\0Hh\0Rpsbouncer\0\0")},
	{msgw_auth_ok, WIRE_SERVER, BYTES("R\0\0\0\x08\0\0\0\0")},
	{msgw_auth_cleartext, WIRE_SERVER, BYTES("R\0\0\0\x08\0\0\0\3")},
	{auth_md5, WIRE_SERVER, BYTES("R\0\0\0\x0c\0\0\0\5\1\0\xff\4")},
	{auth_sasl, WIRE_SERVER,
		BYTES("R\0\0\0\x0e\0\0\0\x0a"
		      "ab\0c\0\0")},
	{auth_sasl_continue, WIRE_SERVER, BYTES("R\0\0\0\x0c\0\0\0\x0br=\0x")},
	{auth_sasl_final, WIRE_SERVER, BYTES("R\0\0\0\x0a\0\0\0\x0cv=")},
	{parameter_status, WIRE_SERVER, BYTES("S\0\0\0\x11TimeZone\0UTC\0")},
	{backend_key, WIRE_SERVER, BYTES("K\0\0\0\x0cpid\0\0key")},
	{negotiate, WIRE_SERVER, BYTES("v\0\0\0\x11\0\3\0\2\0\0\0\2ab\0c\0")},
	{negotiate_nothing, WIRE_SERVER, BYTES("v\0\0\0\x0c\0\3\0\0\0\0\0\0")},
	{ready, WIRE_SERVER, BYTES("Z\0\0\0\5T")},
	{command_complete, WIRE_SERVER, BYTES("C\0\0\0\x0dSELECT 1\0")},
	{parse_complete, WIRE_SERVER, BYTES("1\0\0\0\4")},
	{row_description, WIRE_SERVER,
		BYTES("T\0\0\0\x2d\0\2"
		      "a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
		      "\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0")},
	{no_columns, WIRE_SERVER, BYTES("T\0\0\0\6\0\0")},
	{parameter_description, WIRE_SERVER, BYTES("t\0\0\0\x0e\0\2\0\0\0\x19\xff\xff\xff\xfe")},
	{data_row, WIRE_SERVER, BYTES("D\0\0\0\x19\0\4\0\0\0\2ab\0\0\0\1c\xff\xff\xff\xff\0\0\0\0")},
	{own_message, WIRE_SERVER, BYTES("d\0\0\0\x0d\xff\xff\xfe\xff\xfe\xfd\xfcx\0")},
	{msgw_ssl_request, -1, BYTES("\0\0\0\x08\x04\xd2\x16\x2f")},
	{startup, -1,
		BYTES("\0\0\0\x0e\0\3\0\2"
		      "ab\0c\0\0")},
	{startup_bare, -1, BYTES("\0\0\0\x09\0\3\0\0\0")},
	{cancel, -1, BYTES("\0\0\0\x14\x04\xd2\x16\x2epid\0key\0more")},
	{password, WIRE_CLIENT, BYTES("p\0\0\0\x0bsecret\0")},
	{sasl_initial, WIRE_CLIENT, BYTES("p\0\0\0\x11SCRAM\0\0\0\0\3n,,")},
	{sasl_response, WIRE_CLIENT, BYTES("p\0\0\0\7c=\0")},
	{query, WIRE_CLIENT, BYTES("Q\0\0\0\x0dSELECT 1\0")},
	{parse, WIRE_CLIENT, BYTES("P\0\0\0\x12s\0SELECT $1\0\0\0")},
	{bind_text, WIRE_CLIENT, BYTES("B\0\0\0\x21p\0s\0\0\0\0\4\0\0\0\2ab\0\0\0\1c\xff\xff\xff\xff\0\0\0\0\0\0")},
	{bind_nothing, WIRE_CLIENT, BYTES("B\0\0\0\x0c\0\0\0\0\0\0\0\0")},
	{describe, WIRE_CLIENT, BYTES("D\0\0\0\7Px\0")},
	{execute, WIRE_CLIENT, BYTES("E\0\0\0\x09\0\0\0\0\0")},
	{close_statement, WIRE_CLIENT, BYTES("C\0\0\0\x08Sst\0")},
	{close_portal, WIRE_CLIENT, BYTES("C\0\0\0\6P\0")},
	{head, WIRE_CLIENT, BYTES("P\0\0\0\x0as\0x\0\0\0")},
	{msgw_sync, WIRE_CLIENT, BYTES("S\0\0\0\4")},
	{msgw_terminate, WIRE_CLIENT, BYTES("X\0\0\0\4")},
};

static void check_bytes(size_t row, const char *got, size_t n)
{
	if (n != messages[row].n)
		fail_msg("row %zu: %zu bytes, not %zu", row, n, messages[row].n);
	for (size_t i = 0; i < n; i++)
		if (got[i] != messages[row].want[i])
			fail_msg("row %zu, byte %zu: %02x, not %02x", row, i, got[i] & 0xff,
				messages[row].want[i] & 0xff);
}

static void test_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(messages); i++) {
		struct buf b = {0};

		messages[i].write(&b);
		assert_false(buf_failed(&b));
		check_bytes(i, buf_head(&b), buf_len(&b));
		buf_free(&b);
	}
}

static void test_wire_agrees(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(messages); i++) {
		struct startup s;
		struct msg m;
		size_t need;

		if (messages[i].side < 0) {
			assert_in_range(wire_startup(messages[i].want, messages[i].n, &s, &need), STARTUP_SSL,
				STARTUP_HELLO);
			assert_int_equal(s.size, messages[i].n);
			continue;
		}
		assert_int_equal(wire_scan((enum wire_side)messages[i].side, messages[i].want, messages[i].n, &m,
					 &need),
			WIRE_OK);
		assert_int_equal(m.len + WIRE_HEADER, messages[i].n);
		assert_int_equal(m.have, m.len);
	}
}

/* Behind other bytes, in a buffer whose front was eaten and that must move and grow to take each message. */
static void test_moving(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(messages); i++)
		for (size_t before = 200; before < 260; before++) {
			struct buf b = {0};

			for (size_t k = 0; k < before; k++)
				buf_append(&b, "x", 1);
			buf_consume(&b, before - 3);
			messages[i].write(&b);
			messages[i].write(&b);
			assert_false(buf_failed(&b));
			assert_memory_equal(buf_head(&b), "xxx", 3);
			assert_int_equal(buf_len(&b), 3 + 2 * messages[i].n);
			check_bytes(i, buf_head(&b) + 3, messages[i].n);
			check_bytes(i, buf_head(&b) + 3 + messages[i].n, messages[i].n);
			buf_free(&b);
		}
}

/* A failed buffer takes everything, keeps what it had and stays failed. */
static void test_failed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(messages); i++) {
		struct buf b = {0};

		buf_append(&b, "abc", 3);
		b.failed = true;
		messages[i].write(&b);
		assert_true(buf_failed(&b));
		b.failed = false;
		assert_int_equal(buf_len(&b), 3);
		assert_memory_equal(buf_head(&b), "abc", 3);
		buf_free(&b);
		/* Without a block there is nowhere to put a length. */
		b.failed = true;
		messages[i].write(&b);
		assert_true(buf_failed(&b));
		assert_null(b.data);
	}
	/* One that fails in the middle of a message. */
	struct buf b = {0};
	uint32_t mark = msgw_begin(&b, 'd');

	b.failed = true;
	msgw_cstr(&b, "x");
	msgw_end(&b, mark);
	assert_true(buf_failed(&b));
	buf_free(&b);
}

/* What we say in an error is what wire reads out of it. */
static void test_error_fields(void **state)
{
	struct error_fields f;
	struct buf b = {0};
	struct msg m;
	size_t need;

	(void)state;
	msgw_error(&b, &full_error);
	assert_int_equal(wire_scan(WIRE_SERVER, buf_head(&b), buf_len(&b), &m, &need), WIRE_OK);
	wire_error_fields(&m, &f);
	assert_string_equal(f.severity, "ERROR");
	assert_string_equal(f.code, "53300");
	assert_string_equal(f.message, "m");
	assert_string_equal(f.detail, "d");
	assert_string_equal(f.routine, "psbouncer");
	buf_free(&b);
}

/* A name in an error: in its message, detail and hint, as often as it stands there, and nowhere else. */
static void test_error_renamed(void **state)
{
	static const struct {
		const char *from, *to;
		const char *error;
		size_t error_len;
		const char *want;
		size_t want_len;
	} cases[] = {
		{"psbouncer_1", "st",
			BYTES("E\0\0\0\x1c"
			      "SERROR\0Mno psbouncer_1\0\0"),
			BYTES("E\0\0\0\x13"
			      "SERROR\0Mno st\0\0")},
		/* Longer, and empty. */
		{"n", "name",
			BYTES("E\0\0\0\x0b"
			      "M\"n\"\0\0\0"),
			BYTES("E\0\0\0\x0d"
			      "M\"name\"\0\0")},
		{"n", "",
			BYTES("E\0\0\0\x0a"
			      "Mn.n\0\0"),
			BYTES("E\0\0\0\x08"
			      "M.\0\0")},
		/* Beginning, middle, end, and twice at once; what it becomes is not looked at again. */
		{"n", "nn",
			BYTES("E\0\0\0\x10"
			      "Mn.n.nn.n\0\0\0"),
			BYTES("E\0\0\0\x14"
			      "Mnn.nn.nnnn.nn\0\0")},
		{"aa", "b",
			BYTES("E\0\0\0\x0a"
			      "Maaa\0\0"),
			BYTES("E\0\0\0\x09"
			      "Mba\0\0")},
		/* The fields that speak to people. */
		{"n", "st",
			BYTES("E\0\0\0\x1a"
			      "Sn\0Cn\0Mn\0Dn\0Hn\0Wn\0Rn\0\0"),
			BYTES("E\0\0\0\x1d"
			      "Sn\0Cn\0Mst\0Dst\0Hst\0Wn\0Rn\0\0")},
		/* Without it, without a field, and a notice. */
		{"n", "st",
			BYTES("E\0\0\0\x0c"
			      "Mother\0\0"),
			BYTES("E\0\0\0\x0c"
			      "Mother\0\0")},
		{"n", "st",
			BYTES("E\0\0\0\x05"
			      "\0"),
			BYTES("E\0\0\0\x05"
			      "\0")},
		{"n", "st",
			BYTES("N\0\0\0\x08"
			      "Mn\0\0"),
			BYTES("N\0\0\0\x09"
			      "Mst\0\0")},
		/* Another name that begins like it. */
		{"n1", "st",
			BYTES("E\0\0\0\x0d"
			      "Mn12.n1\0\0"),
			BYTES("E\0\0\0\x0d"
			      "Mn12.st\0\0")},
		{"n.", "",
			BYTES("E\0\0\0\x0a"
			      "Mn.1\0\0"),
			BYTES("E\0\0\0\x08"
			      "M1\0\0")},
		/* Many of them. */
		{"n", "st",
			BYTES("E\0\0\0\x1a"
			      "Mnnnnnnnnnnnnnnnnnnn\0\0"),
			BYTES("E\0\0\0\x2a"
			      "Mststststststststststststststststnnn\0\0")},
		/* What a server should not send becomes whole: the end is missing. */
		{"n", "st",
			BYTES("E\0\0\0\x07"
			      "Mn\0"),
			BYTES("E\0\0\0\x09"
			      "Mst\0\0")},
	};

	(void)state;
	for (size_t i = 0; i < ROWS(cases); i++) {
		struct buf b = {0};
		struct msg m;
		size_t need;

		assert_int_equal(wire_scan(WIRE_SERVER, cases[i].error, cases[i].error_len, &m, &need), WIRE_OK);
		buf_append(&b, "front", 5);
		msgw_error_renamed(&b, &m, cases[i].from, cases[i].to);
		assert_false(buf_failed(&b));
		if (buf_len(&b) != 5 + cases[i].want_len || memcmp(buf_head(&b) + 5, cases[i].want, cases[i].want_len))
			fail_msg("case %zu: %u bytes", i, buf_len(&b));
		buf_free(&b);
		/* A buffer that has failed stays so. */
		b.failed = true;
		msgw_error_renamed(&b, &m, cases[i].from, cases[i].to);
		assert_true(buf_failed(&b));
		buf_free(&b);
	}
}

/* prepare s (int) as ...; execute "long name" (1): the names become psbouncer_1 and psbouncer_12. */
static void test_error_edited(void **state)
{
	static const struct msgw_edit edits[] = {
		{.from = "psbouncer_1", .to = "s", .at = 8, .was = 1, .is = 11},
		{.from = "psbouncer_12", .to = "long name", .at = 40, .was = 11, .is = 12},
	};
	static const struct {
		const char *from, *to;
	} positions[] = {{"1", "1"}, {"8", "8"}, {"9", "9"}, {"12", "9"}, {"19", "9"}, {"20", "10"}, {"40", "30"},
		{"41", "31"}, {"50", "31"}, {"53", "42"}, {"54", "43"}, {"0", "0"}, {"-5", "-5"}, {"x", "x"},
		{"99999999999999999999", "99999999999999999999"}, {"-9223372036854775808", "-9223372036854775808"}};

	(void)state;
	for (size_t i = 0; i < ROWS(positions); i++) {
		struct buf in = {0}, out = {0}, want = {0};
		struct msg m;
		size_t need;
		uint32_t mark = msgw_begin(&in, 'E');

		buf_printf(&in, "Ma psbouncer_12, psbouncer_1 psbouncer_12%cP%s%c", 0, positions[i].from, 0);
		msgw_u8(&in, 0);
		msgw_end(&in, mark);
		mark = msgw_begin(&want, 'E');
		buf_printf(&want, "Ma long name, s long name%cP%s%c", 0, positions[i].to, 0);
		msgw_u8(&want, 0);
		msgw_end(&want, mark);
		assert_int_equal(wire_scan(WIRE_SERVER, buf_head(&in), buf_len(&in), &m, &need), WIRE_OK);
		msgw_error_edited(&out, &m, edits, ROWS(edits));
		if (buf_len(&out) != buf_len(&want) || memcmp(buf_head(&out), buf_head(&want), buf_len(&out)) != 0)
			fail_msg("position %s", positions[i].from);
		buf_free(&in);
		buf_free(&out);
		buf_free(&want);
	}
}

static int trim(void **state)
{
	(void)state;
	mem_block_trim();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_wire_agrees),
		cmocka_unit_test(test_moving),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_error_fields),
		cmocka_unit_test(test_error_renamed),
		cmocka_unit_test(test_error_edited),
	};

	return cmocka_run_group_tests(tests, NULL, trim);
}
