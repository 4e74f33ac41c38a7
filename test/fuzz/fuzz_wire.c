/*
 * The scan of messages and the reader of fields. The first byte's lowest bit
 * says who sends, the rest is what he sends.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "proto/wire.h"

/* Reads fields of kinds that the bytes themselves choose; nothing may be read beyond the end. */
static void read_fields(const struct msg *m)
{
	struct msgr r = msgr_of(m);
	size_t left = msgr_left(&r), before;

	FUZZ_CHECK(left == m->have);
	while (left > 0 && !r.failed) {
		before = left;
		switch (*r.p & 7) {
		case 0: msgr_u8(&r); break;
		case 1: msgr_u16(&r); break;
		case 2: msgr_u32(&r); break;
		case 3: FUZZ_CHECK(msgr_bytes(&r, 3) != NULL || r.failed); break;
		default: FUZZ_CHECK(strlen(msgr_cstr(&r)) < before); break;
		}
		left = msgr_left(&r);
		FUZZ_CHECK(left < before);
	}
	FUZZ_CHECK(left == 0);
	FUZZ_CHECK(msgr_end(&r) == !r.failed);
	FUZZ_CHECK(*msgr_cstr(&r) == '\0' && r.failed && msgr_u32(&r) == 0 && !msgr_end(&r));
}

static void read_error(const struct msg *m)
{
	struct error_fields f;

	wire_error_fields(m, &f);
	FUZZ_CHECK(strlen(f.severity) + strlen(f.message) + strlen(f.detail) + strlen(f.routine) <=
		   4 * (size_t)m->have);
	FUZZ_CHECK(strlen(f.code) == 0 || strlen(f.code) == 5);
}

/* One message, of which more and more comes until it can be told. Its size, or 0 when there is nothing behind it. */
static size_t scan_one(enum wire_side side, const char *p, size_t n)
{
	size_t had = 0, need = 0;
	enum wire_result r;
	struct msg m, all;
	char *copy;

	for (;;) {
		copy = malloc(had > 0 ? had : 1);
		if (copy == NULL)
			abort();
		memcpy(copy, p, had);
		r = wire_scan(side, copy, had, &m, &need);
		if (r != WIRE_MORE)
			break;
		free(copy);
		FUZZ_CHECK(need > had);
		if (need > n)
			return 0;
		had = need;
	}
	FUZZ_CHECK(wire_scan(side, p, n, &all, &need) == r && all.type == m.type && all.len == m.len);
	FUZZ_CHECK((strcmp(wire_name(side, m.type), "?") == 0) == (r == WIRE_BAD_TYPE));
	if (r == WIRE_OK) {
		FUZZ_CHECK(m.have <= m.len && m.have + WIRE_HEADER <= had);
		FUZZ_CHECK(all.have == m.len || all.have + WIRE_HEADER == n);
		read_fields(&m);
		read_error(&m);
	}
	free(copy);
	return r == WIRE_OK && all.have == m.len ? (size_t)WIRE_HEADER + m.len : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum wire_side side = size > 0 && (data[0] & 1) != 0 ? WIRE_SERVER : WIRE_CLIENT;
	const char *p = (const char *)data + 1;
	size_t n = size > 0 ? size - 1 : 0, used;

	for (; n > 0; p += used, n -= used) {
		used = scan_one(side, p, n);
		if (used == 0)
			break;
	}
	return 0;
}
