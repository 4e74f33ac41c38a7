/*
 * wire: the scan of messages for every row of the table, at every cut; the
 * reader; the packets that open a connection; `options`; fields of errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/wire.h"

#define ROWS(a) (sizeof(a) / sizeof((a)[0]))

/* A copy without a byte behind it, so that the sanitizers see what reads too far. */
static char *exact(const void *s, size_t n)
{
	char *p = malloc(n > 0 ? n : 1);

	assert_non_null(p);
	memcpy(p, s, n);
	return p;
}

static void put_u32(char *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		p[i] = (char)v;
}

/* ---- messages ---- */

enum { EMPTY, NONE, FIRST, CSTR, TAGGED, ALL };

static const struct {
	enum wire_side side;
	char type;
	int need;
	uint32_t n, min, max;
	const char *text;
} messages[] = {
#define F WIRE_CLIENT
#define B WIRE_SERVER
#define MESSAGE(side, type, name, need, n, min, max, text) {side, type, need, n, min, max, text},
#include "tbl/messages.h"
#undef MESSAGE
#undef F
#undef B
};

static enum wire_result scan(enum wire_side side, const char *p, size_t n, struct msg *m, size_t *need)
{
	char *copy = exact(p, n);
	enum wire_result r;

	*need = 0;
	r = wire_scan(side, copy, n, m, need);
	if (n > 0)
		assert_int_equal(m->type, (uint8_t)p[0]);
	if (r == WIRE_MORE)
		assert_true(*need > n);
	if (r == WIRE_OK) {
		assert_ptr_equal(m->payload, copy + WIRE_HEADER);
		assert_true(m->have <= m->len && m->have <= n - WIRE_HEADER);
		assert_true(m->have == m->len || m->have == n - WIRE_HEADER);
		m->payload = p + WIRE_HEADER;
	}
	free(copy);
	return r;
}

static void test_types(void **state)
{
	bool known[2][256] = {{false}};
	struct msg m;
	size_t need;

	(void)state;
	for (size_t i = 0; i < ROWS(messages); i++) {
		assert_false(known[messages[i].side][(uint8_t)messages[i].type]);
		known[messages[i].side][(uint8_t)messages[i].type] = true;
		assert_string_equal(wire_name(messages[i].side, (uint8_t)messages[i].type), messages[i].text);
	}
	for (int side = WIRE_CLIENT; side <= WIRE_SERVER; side++)
		for (int type = 0; type < 256; type++) {
			char c = (char)type;

			assert_int_equal(scan((enum wire_side)side, &c, 1, &m, &need),
				known[side][type] ? WIRE_MORE : WIRE_BAD_TYPE);
			if (known[side][type])
				assert_int_equal(need, WIRE_HEADER);
			else
				assert_string_equal(wire_name((enum wire_side)side, (uint8_t)type), "?");
		}
	assert_int_equal(wire_scan(WIRE_CLIENT, NULL, 0, &m, &need), WIRE_MORE);
	assert_int_equal(need, WIRE_HEADER);
	assert_string_equal(wire_name(WIRE_SERVER, MSG_READY_FOR_QUERY), "ReadyForQuery");
	assert_string_equal(wire_name(WIRE_CLIENT, MSG_COPY_DATA), "CopyData");
}

static void test_lengths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(messages); i++) {
		uint32_t max = messages[i].max != 0		 ? messages[i].max
			       : messages[i].side == WIRE_CLIENT ? 0x3ffffffa
								 : 0x3fffffff;
		const struct {
			uint32_t word;
			bool bad;
		} words[] = {
			{0, true},
			{3, true},
			{messages[i].min + 3, messages[i].min > 0},
			{messages[i].min + 4, false},
			{messages[i].need == EMPTY ? 4 : max + 4, false},
			{messages[i].need == EMPTY ? 5 : max + 5, true},
			{0x7fffffff, true},
			{0x80000004, true},
			{0xffffffff, true},
		};

		for (size_t j = 0; j < ROWS(words); j++) {
			char head[WIRE_HEADER] = {messages[i].type};
			enum wire_result r;
			struct msg m;
			size_t need;

			if (words[j].word == 3 + messages[i].min && !words[j].bad)
				continue; /* the 3 above */
			put_u32(head + 1, words[j].word);
			r = scan(messages[i].side, head, sizeof(head), &m, &need);
			if ((r == WIRE_BAD_LENGTH) != words[j].bad)
				fail_msg("%s with %u: %d", messages[i].text, words[j].word, (int)r);
			assert_int_equal(m.len, words[j].word < 4 ? 0 : words[j].word - 4);
			/* The length is looked at as soon as it is there, and not before. */
			for (size_t n = 1; n < WIRE_HEADER; n++) {
				assert_int_equal(scan(messages[i].side, head, n, &m, &need), WIRE_MORE);
				assert_int_equal(need, WIRE_HEADER);
			}
		}
	}
}

/* How many bytes of a message must be in memory; payload of len bytes with NULs at every third. */
static size_t expected_need(size_t row, uint32_t len)
{
	switch (messages[row].need) {
	case FIRST: return len < messages[row].n ? len : messages[row].n;
	case CSTR: return (size_t)3 * messages[row].n;
	case TAGGED: return (size_t)3 * messages[row].n;
	case ALL: return len;
	default: return 0;
	}
}

static void test_needs(void **state)
{
	static const uint32_t lengths[] = {0, 1, 6, 9, 511, 512, 513, 600};
	char text[WIRE_HEADER + 600 + 7];

	(void)state;
	for (size_t row = 0; row < ROWS(messages); row++)
		for (size_t i = 0; i < ROWS(lengths); i++) {
			uint32_t len = lengths[i], max = messages[row].need == EMPTY ? 0 : messages[row].max;
			size_t want;

			if (len < messages[row].min || (len > max && (max > 0 || messages[row].need == EMPTY)))
				continue;
			want = expected_need(row, len);
			if (want > len)
				continue;
			memset(text, 'x', sizeof(text));
			text[0] = messages[row].type;
			put_u32(text + 1, len + 4);
			for (uint32_t at = 2; at < len; at += 3)
				text[WIRE_HEADER + at] = '\0';
			for (size_t n = WIRE_HEADER; n <= sizeof(text); n++) {
				struct msg m;
				size_t need;
				enum wire_result r = scan(messages[row].side, text, n, &m, &need);

				if (r != (n >= WIRE_HEADER + want ? WIRE_OK : WIRE_MORE))
					fail_msg("%s of %u with %zu: %d", messages[row].text, len, n, (int)r);
				if (r == WIRE_MORE)
					assert_true(need <= WIRE_HEADER + want);
				assert_int_equal(m.len, len);
			}
		}
}

/* A head that asks again and again for what it needs ends, whatever the bytes are. */
static enum wire_result scan_to_the_end(enum wire_side side, const char *p, size_t n, struct msg *m, size_t *had)
{
	enum wire_result r;
	size_t need = 1;

	do {
		*had = need;
		assert_true(*had <= n);
		r = scan(side, p, *had, m, &need);
	} while (r == WIRE_MORE);
	return r;
}

static const struct {
	enum wire_side side;
	char type;
	uint32_t len;
	int nul[3]; /* where there are NULs, ends with -1 */
	enum wire_result want;
	size_t had; /* bytes of the payload that it took to tell */
} heads[] = {
	{WIRE_CLIENT, 'P', 9, {4, 6, -1}, WIRE_OK, 5},
	{WIRE_CLIENT, 'P', 9, {0, 8, -1}, WIRE_OK, 1},
	{WIRE_CLIENT, 'P', 9, {8, -1}, WIRE_OK, 9},
	{WIRE_CLIENT, 'P', 9, {-1}, WIRE_BAD_HEAD, 9},
	{WIRE_CLIENT, 'P', 20000, {9999, -1}, WIRE_OK, 10000},
	{WIRE_CLIENT, 'P', 20000, {10000, -1}, WIRE_BAD_HEAD, 10000},
	{WIRE_CLIENT, 'P', 0x3ffffffa, {10000, -1}, WIRE_BAD_HEAD, 10000},
	{WIRE_CLIENT, 'B', 12, {0, 1, -1}, WIRE_OK, 2},
	{WIRE_CLIENT, 'B', 12, {3, 11, -1}, WIRE_OK, 12},
	{WIRE_CLIENT, 'B', 12, {11, -1}, WIRE_BAD_HEAD, 12},
	{WIRE_CLIENT, 'B', 20000, {100, 9999, -1}, WIRE_OK, 10000},
	{WIRE_CLIENT, 'B', 20000, {9999, 10000, -1}, WIRE_BAD_HEAD, 10000},
	{WIRE_CLIENT, 'E', 5, {0, -1}, WIRE_OK, 1},
	{WIRE_CLIENT, 'E', 5, {-1}, WIRE_BAD_HEAD, 5},
	{WIRE_CLIENT, 'D', 2, {1, -1}, WIRE_OK, 2},
	{WIRE_CLIENT, 'D', 2, {0, -1}, WIRE_BAD_HEAD, 2},
	{WIRE_CLIENT, 'D', 6, {0, 5, -1}, WIRE_OK, 6},
	{WIRE_CLIENT, 'C', 6, {-1}, WIRE_BAD_HEAD, 6},
	{WIRE_CLIENT, 'C', 9000, {8999, -1}, WIRE_OK, 9000},
	{WIRE_CLIENT, 'C', 9000, {-1}, WIRE_BAD_HEAD, 9000},
	{WIRE_CLIENT, 'D', 0, {-1}, WIRE_BAD_HEAD, 0},
	{WIRE_SERVER, 'C', 9, {8, -1}, WIRE_OK, 9},
	{WIRE_SERVER, 'C', 1, {0, -1}, WIRE_OK, 1},
	{WIRE_SERVER, 'C', 1, {-1}, WIRE_BAD_HEAD, 1},
	{WIRE_SERVER, 'C', 9, {9, -1}, WIRE_BAD_HEAD, 9},
};

static void test_heads(void **state)
{
	enum { SIZE = WIRE_HEADER + 12000 };
	char *text = malloc(SIZE);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < ROWS(heads); i++) {
		struct msg m;
		size_t had;

		memset(text, 'x', SIZE);
		text[0] = heads[i].type;
		put_u32(text + 1, heads[i].len + 4);
		for (size_t k = 0; heads[i].nul[k] >= 0; k++)
			text[WIRE_HEADER + heads[i].nul[k]] = '\0';
		if (scan_to_the_end(heads[i].side, text, SIZE, &m, &had) != heads[i].want)
			fail_msg("row %zu", i);
		assert_int_equal(had, WIRE_HEADER + heads[i].had);
		assert_int_equal(m.len, heads[i].len);
	}
	free(text);
}

/* ---- the reader ---- */

static void test_reader(void **state)
{
	static const char bytes[] = "\x01\x80\x02\xff\xfe\xfd\xfc"
				    "abc\0"
				    "de";
	char *copy = exact(bytes, sizeof(bytes) - 1);
	struct msg m = {.type = 'x', .len = 1000, .payload = copy, .have = sizeof(bytes) - 1};
	struct msgr r = msgr_of(&m), cut;

	(void)state;
	assert_int_equal(msgr_left(&r), 13);
	assert_int_equal(msgr_u8(&r), 1);
	assert_int_equal(msgr_u16(&r), 0x8002);
	assert_int_equal(msgr_u32(&r), 0xfffefdfc);
	assert_string_equal(msgr_cstr(&r), "abc");
	assert_int_equal(msgr_left(&r), 2);
	assert_false(msgr_end(&r));
	cut = r;
	assert_memory_equal(msgr_bytes(&r, 2), "de", 2);
	assert_true(msgr_end(&r));
	assert_non_null(msgr_bytes(&r, 0));
	assert_true(msgr_end(&r));
	assert_int_equal(msgr_u8(&r), 0);
	assert_false(msgr_end(&r));
	/* A string without its end. */
	assert_string_equal(msgr_cstr(&cut), "");
	assert_true(cut.failed);
	assert_false(msgr_end(&cut));
	assert_int_equal(msgr_left(&cut), 0);
	free(copy);
}

/* After a failure everything is zero, even what would have fitted. */
static void test_reader_sticks(void **state)
{
	struct msgr r;

	(void)state;
	r = msgr_init("\1\2\3", 3);
	assert_int_equal(msgr_u32(&r), 0);
	assert_int_equal(msgr_u8(&r), 0);
	assert_int_equal(msgr_u16(&r), 0);
	assert_string_equal(msgr_cstr(&r), "");
	assert_null(msgr_bytes(&r, 0));
	assert_false(msgr_end(&r));
	r = msgr_init("\1", 1);
	assert_int_equal(msgr_u16(&r), 0);
	assert_int_equal(msgr_left(&r), 0);
	r = msgr_init("abc", 3);
	assert_null(msgr_bytes(&r, SIZE_MAX));
	assert_false(msgr_end(&r));
	r = msgr_init(NULL, 0);
	assert_true(msgr_end(&r));
	assert_string_equal(msgr_cstr(&r), "");
	assert_false(msgr_end(&r));
}

/* ---- the packets that open a connection ---- */

#define V3_0 "\0\3\0\0"
#define LAYOUT "invalid startup packet layout: "

static const struct {
	const char *after_length; /* code and payload */
	size_t n;		  /* of these */
	enum startup_kind kind;
	const char *why, *code;
} packets[] = {
#define PACKET(s) s, sizeof(s) - 1
	{PACKET("\x04\xd2\x16\x2f"), STARTUP_SSL, NULL, NULL},
	{PACKET("\x04\xd2\x16\x2fx"), STARTUP_BAD, "invalid length of SSLRequest packet", "08P01"},
	{PACKET("\x04\xd2\x16\x30"), STARTUP_GSS, NULL, NULL},
	{PACKET("\x04\xd2\x16\x30\0"), STARTUP_BAD, "invalid length of GSSENCRequest packet", "08P01"},
	{PACKET("\x04\xd2\x16\x2e"
		"pidpkey"),
		STARTUP_BAD, "invalid length of cancel request packet", "08P01"},
	{PACKET("\x04\xd2\x16\x2e"
		"pid.key."),
		STARTUP_CANCEL, NULL, NULL},
	{PACKET("\x04\xd2\x16\x2e"
		"pid.a key of any other length"),
		STARTUP_CANCEL, NULL, NULL},
	{PACKET("\x04\xd2\x16\x31"), STARTUP_BAD, "unsupported frontend protocol: server supports 3.0 to 3.2", "0A000"},
	{PACKET("\0\2\0\0"), STARTUP_BAD, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2", "0A000"},
	{PACKET("\0\1\0\0"), STARTUP_BAD, "unsupported frontend protocol 1.0: server supports 3.0 to 3.2", "0A000"},
	{PACKET("\0\2\0\1"), STARTUP_BAD, "unsupported frontend protocol: server supports 3.0 to 3.2", "0A000"},
	{PACKET("\0\4\0\0"), STARTUP_BAD, "unsupported frontend protocol: server supports 3.0 to 3.2", "0A000"},
	{PACKET("\0\0\0\0"), STARTUP_BAD, "unsupported frontend protocol: server supports 3.0 to 3.2", "0A000"},
	{PACKET("\0\3\0\0user\0me\0\0"), STARTUP_HELLO, NULL, NULL},
	{PACKET("\0\3\0\2user\0me\0_pq_.x\0\0\0"), STARTUP_HELLO, NULL, NULL},
	{PACKET("\0\3\x27\x0fuser\0me\0\0"), STARTUP_HELLO, NULL, NULL},
	{PACKET("\0\3\0\0\0"), STARTUP_HELLO, NULL, NULL},
	{PACKET(V3_0), STARTUP_BAD, LAYOUT "expected terminator as last byte", "08P01"},
	{PACKET("\0\3\0\0user"), STARTUP_BAD, LAYOUT "expected terminator as last byte", "08P01"},
	{PACKET("\0\3\0\0user\0"), STARTUP_BAD, LAYOUT "parameter without a value", "08P01"},
	{PACKET("\0\3\0\0a\0b\0user\0"), STARTUP_BAD, LAYOUT "parameter without a value", "08P01"},
	{PACKET("\0\3\0\0user\0me\0"), STARTUP_BAD, LAYOUT "expected terminator as last byte", "08P01"},
	{PACKET("\0\3\0\0user\0\0"), STARTUP_BAD, LAYOUT "expected terminator as last byte", "08P01"},
	{PACKET("\0\3\0\0user\0\0\0"), STARTUP_HELLO, NULL, NULL},
	{PACKET("\0\3\0\0user\0me\0\0\0"), STARTUP_BAD, LAYOUT "bytes after the terminator", "08P01"},
	{PACKET("\0\3\0\0\0a\0b\0\0"), STARTUP_BAD, LAYOUT "bytes after the terminator", "08P01"},
	{PACKET("\0\3\0\0\0x"), STARTUP_BAD, LAYOUT "expected terminator as last byte", "08P01"},
#undef PACKET
};

static enum startup_kind startup(const char *p, size_t n, struct startup *s, size_t *need)
{
	char *copy = exact(p, n);
	enum startup_kind kind;
	const char *name, *value;
	size_t at = 0;

	*need = 0;
	kind = wire_startup(copy, n, s, need);
	assert_int_equal(kind == STARTUP_BAD, s->why != NULL && s->code != NULL);
	if (kind == STARTUP_MORE)
		assert_true(*need > n);
	if (kind == STARTUP_HELLO) {
		while (startup_next(s, &at, &name, &value))
			;
		assert_int_equal(at, s->params_len);
		s->params = p + (s->params - copy);
	}
	if (kind == STARTUP_CANCEL)
		s->key = p + (s->key - copy);
	free(copy);
	return kind;
}

static void test_startup(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(packets); i++) {
		char text[100];
		size_t size = 4 + packets[i].n, need;
		struct startup s;

		put_u32(text, (uint32_t)size);
		memcpy(text + 4, packets[i].after_length, packets[i].n);
		memset(text + size, 'x', sizeof(text) - size);
		/* What follows the packet changes nothing. */
		for (size_t n = size; n < size + 5; n++) {
			if (startup(text, n, &s, &need) != packets[i].kind)
				fail_msg("row %zu", i);
			assert_int_equal(s.size, size);
			if (packets[i].why != NULL) {
				assert_string_equal(s.why, packets[i].why);
				assert_string_equal(s.code, packets[i].code);
			}
		}
		/* A part says what is wrong, or asks for no more than there will be. */
		for (size_t n = 0; n < size; n++) {
			enum startup_kind kind = startup(text, n, &s, &need);

			assert_true(kind == STARTUP_MORE || (kind == STARTUP_BAD && packets[i].kind == STARTUP_BAD));
			if (kind == STARTUP_MORE)
				assert_true(need <= size);
		}
	}
}

static void test_startup_lengths(void **state)
{
	static const struct {
		uint32_t size;
		enum startup_kind kind;
	} sizes[] = {
		{0, STARTUP_BAD},
		{4, STARTUP_BAD},
		{7, STARTUP_BAD},
		{8, STARTUP_MORE},
		{STARTUP_MAX, STARTUP_MORE},
		{STARTUP_MAX + 1, STARTUP_BAD},
		{0x47455420, STARTUP_BAD}, /* "GET " */
		{0xffffffff, STARTUP_BAD},
	};
	char text[300];
	struct startup s;
	size_t need;

	(void)state;
	for (size_t i = 0; i < ROWS(sizes); i++) {
		put_u32(text, sizes[i].size);
		assert_int_equal(startup(text, 4, &s, &need), sizes[i].kind);
		if (sizes[i].kind == STARTUP_BAD)
			assert_string_equal(s.why, "invalid length of startup packet");
	}
	/* A cancel's secret has 4 to 256 bytes. */
	memset(text, 'k', sizeof(text));
	memcpy(text + 4, "\x04\xd2\x16\x2e", 4);
	for (uint32_t size = 8; size < 280; size++) {
		enum startup_kind want = size >= 16 && size <= 268 ? STARTUP_CANCEL : STARTUP_BAD;

		put_u32(text, size);
		assert_int_equal(startup(text, size, &s, &need), want);
		if (want == STARTUP_CANCEL) {
			assert_ptr_equal(s.key, text + 8);
			assert_int_equal(s.key_len, size - 8);
			assert_int_equal(startup(text, size - 1, &s, &need), STARTUP_MORE);
			assert_int_equal(need, size);
		}
	}
	/* An unknown protocol is refused before the rest comes. */
	put_u32(text, 200);
	memcpy(text + 4, "\0\2\0\0", 4);
	assert_int_equal(startup(text, 8, &s, &need), STARTUP_BAD);
	memcpy(text + 4, "\0\3\0\0", 4);
	assert_int_equal(startup(text, 8, &s, &need), STARTUP_MORE);
	assert_int_equal(need, 200);
}

static void test_startup_params(void **state)
{
	static const char packet[] = "\0\0\0\x2d\0\3\0\2user\0me\0a\0\0user\0you\0_pq_.x\0yes\0\0";
	static const char *const want[] = {"user", "me", "a", "", "user", "you", "_pq_.x", "yes"};
	const char *name, *value;
	struct startup s;
	size_t need, at = 0, i = 0;
	char copy[sizeof(packet)];

	(void)state;
	memcpy(copy, packet, sizeof(packet));
	put_u32(copy, sizeof(packet) - 1);
	assert_int_equal(startup(copy, sizeof(packet) - 1, &s, &need), STARTUP_HELLO);
	assert_int_equal(s.major, 3);
	assert_int_equal(s.minor, 2);
	while (startup_next(&s, &at, &name, &value)) {
		assert_true(i + 1 < ROWS(want));
		assert_string_equal(name, want[i++]);
		assert_string_equal(value, want[i++]);
	}
	assert_int_equal(i, ROWS(want));
	assert_string_equal(startup_get(&s, "user"), "you");
	assert_string_equal(startup_get(&s, "a"), "");
	assert_null(startup_get(&s, "me"));
	assert_null(startup_get(&s, ""));
}

/* ---- options ---- */

#define FAULT "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"

static const struct {
	const char *options, *want, *fault;
} options[] = {
	{"", "", NULL},
	{" \t ", "", NULL},
	{"-c a=b", "a=b;", NULL},
	{"  -c   a=b  ", "a=b;", NULL},
	{"-ca=b", "a=b;", NULL},
	{"--a=b", "a=b;", NULL},
	{"-c a=b -c c=d --e=f", "a=b;c=d;e=f;", NULL},
	{"-c\na=b\v--c=d\f\r", "a=b;c=d;", NULL},
	{"--a-b-c=d-e", "a_b_c=d-e;", NULL},
	{"-c a-b=c", "a_b=c;", NULL},
	{"-c a=", "a=;", NULL},
	{"-c a=b=c", "a=b=c;", NULL},
	{"-c a=b\\ c", "a=b c;", NULL},
	{"-c a=b\\\\c", "a=b\\c;", NULL},
	{"-c a=b\\c", "a=bc;", NULL},
	{"-c a=\\", "a=;", NULL},
	{"-c a=\\\\\\ b", "a=\\ b;", NULL},
	{"-c a=\"b c\"", "a=\"b;", FAULT},
	{"\\-c a=b", "a=b;", NULL},
	{"-c search_path=a,\\ b", "search_path=a, b;", NULL},
	{"-c", "", FAULT},
	{"-c ", "", FAULT},
	{"-c a", "", FAULT},
	{"-c =b", "", FAULT},
	{"--", "", FAULT},
	{"--a", "", FAULT},
	{"--=b", "", FAULT},
	{"-", "", FAULT},
	{"\\", "", FAULT},
	{"a=b", "", FAULT},
	{"-C a=b", "", FAULT},
	{"-d 5", "", FAULT},
	{"-W 5 -c a=b", "", FAULT},
	{"-c a=b c=d", "a=b;", FAULT},
	{"-c -c a=b", "", FAULT},
	{"-c a=b -c refuse=1 -c c=d", "a=b;", "unsupported startup parameter in options"},
};

static bool set_option(const char *name, const char *value, void *arg)
{
	char *out = arg;

	if (strcmp(name, "refuse") == 0)
		return false;
	sprintf(out + strlen(out), "%s=%s;", name, value);
	return true;
}

static void test_options(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(options); i++) {
		char got[100] = "", *copy = exact(options[i].options, strlen(options[i].options) + 1);
		const char *fault = startup_options(copy, set_option, got);

		if (strcmp(got, options[i].want) != 0)
			fail_msg("%s: %s", options[i].options, got);
		if (fault == NULL || options[i].fault == NULL)
			assert_ptr_equal(fault, options[i].fault);
		else
			assert_string_equal(fault, options[i].fault);
		free(copy);
	}
}

/* ---- errors ---- */

static void check_fields(const char *p, size_t n, const char *severity, const char *code, const char *message,
	const char *detail, const char *routine)
{
	char *copy = exact(p, n);
	struct msg m = {.type = 'E', .len = 10000, .payload = copy, .have = (uint32_t)n};
	struct error_fields f;

	wire_error_fields(&m, &f);
	assert_string_equal(f.severity, severity);
	assert_string_equal(f.code, code);
	assert_string_equal(f.message, message);
	assert_string_equal(f.detail, detail);
	assert_string_equal(f.routine, routine);
	free(copy);
}

static void test_error_fields(void **state)
{
	static const char error[] = "SFEHLER\0VERROR\0C42P01\0Mno table\0P15\0Dbecause\0Rparse\0\0";

	(void)state;
	check_fields(error, sizeof(error) - 1, "ERROR", "42P01", "no table", "because", "parse");
	/* The order counts for nothing; an old server has no V. */
	check_fields("VERROR\0SFEHLER\0\0", 16, "ERROR", "", "", "", "");
	check_fields("SFATAL\0\0", 8, "FATAL", "", "", "", "");
	/* What is cut is missing. */
	check_fields(error, 15, "ERROR", "", "", "", "");
	check_fields(error, 14, "FEHLER", "", "", "", "");
	check_fields(error, 7, "", "", "", "", "");
	check_fields(error, 29, "ERROR", "42P01", "", "", "");
	check_fields(error, 0, "", "", "", "", "");
	/* A code has five characters. Nothing is read behind the end of the fields. */
	check_fields("C42\0Mx\0\0", 8, "", "", "x", "", "");
	check_fields("C42P011\0\0", 9, "", "", "", "", "");
	check_fields("\0Mx\0", 4, "", "", "", "", "");
	check_fields("Mx", 2, "", "", "", "", "");
	check_fields("M", 1, "", "", "", "", "");
}

static void test_translated(void **state)
{
	struct msg m = {.type = 'E', .len = 16, .payload = "VERROR\0SFEHLER\0", .have = 16};
	struct error_fields f;

	(void)state;
	wire_error_fields(&m, &f);
	assert_false(f.translated);
	m = (struct msg){.type = 'E', .len = 8, .payload = "SERROR\0\0", .have = 8};
	wire_error_fields(&m, &f);
	assert_true(f.translated);
	assert_string_equal(f.severity, "ERROR");
}

/* What wire_is_whole() takes, wire_scan() finds to be the same; most whole messages it takes. */
static void test_whole(void **state)
{
	static char bytes[64];
	unsigned taken = 0, right = 0;
	uint64_t seed = 88172645463325252u;

	(void)state;
	for (int i = 0; i < 300000; i++) {
		enum wire_side side = i & 1 ? WIRE_SERVER : WIRE_CLIENT;
		struct msg fast, slow;
		size_t n, need;
		uint32_t len;

		for (size_t k = 0; k < sizeof bytes; k++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			bytes[k] = seed % 3 == 0 ? 0 : (char)(seed >> 8);
		}
		n = 1 + (seed >> 16) % sizeof bytes;
		len = htobe32((uint32_t)((seed >> 24) % 48));
		memcpy(bytes + 1, &len, sizeof len);
		right += wire_scan(side, bytes, n, &slow, &need) == WIRE_OK && slow.have == slow.len;
		if (!wire_is_whole(side, bytes, n, &fast))
			continue;
		taken++;
		assert_int_equal(wire_scan(side, bytes, n, &slow, &need), WIRE_OK);
		assert_int_equal(fast.type, slow.type);
		assert_int_equal(fast.len, slow.len);
		assert_int_equal(fast.have, slow.have);
		assert_ptr_equal(fast.payload, slow.payload);
	}
	assert_in_range(taken, right / 2, right);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_reader_sticks),
		cmocka_unit_test(test_startup),
		cmocka_unit_test(test_startup_lengths),
		cmocka_unit_test(test_startup_params),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_error_fields),
		cmocka_unit_test(test_translated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
