/*
 * test_ring: what a server still owes, over the shapes that batches, errors and
 * copies take.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/ring.h"

/* A script: P B D E C S Q push that request; c pushes the end of a copy; '1' pops the front, which must be of the kind that
 * follows ("1P"); '!' is an error, the kind that it answers follows; 'G' a CopyInResponse; 'K' the copy's good end. What is
 * left in the ring is written behind '='; idle or not: '.' or '~'. */
static char kind_letter(uint8_t kind)
{
	return "QPBDECSc"[kind];
}

static enum request_kind letter_kind(char c)
{
	switch (c) {
	case 'Q': return REQ_QUERY;
	case 'P': return REQ_PARSE;
	case 'B': return REQ_BIND;
	case 'D': return REQ_DESCRIBE;
	case 'E': return REQ_EXECUTE;
	case 'C': return REQ_CLOSE;
	case 'S': return REQ_SYNC;
	default: assert_int_equal(c, 'c'); return REQ_COPY_END;
	}
}

static const char *play_one(struct ring *r, const char *p)
{
	struct request q;

	switch (*p) {
	case '1':
		assert_non_null(ring_front(r));
		assert_int_equal(kind_letter(ring_front(r)->kind), p[1]);
		ring_pop(r);
		return p + 2;
	case '!':
		q = ring_error(r, NULL, NULL);
		assert_int_equal(kind_letter(q.kind), p[1]);
		return p + 2;
	case 'G': ring_copy_in(r); return p + 1;
	case 'K': ring_copy_done(r); return p + 1;
	default: ring_push(r, (struct request){.kind = (uint8_t)letter_kind(*p)}); return p + 1;
	}
}

static void play(const char *script)
{
	struct ring r = {0};
	const char *p = script;
	size_t n = 0;

	while (*p != '=')
		p = play_one(&r, p);
	for (p++; *p != '.' && *p != '~'; p++, n++) {
		if (n >= r.n)
			fail_msg("%s: only %u left", script, r.n);
		if (kind_letter(r.v[(r.head + n) & (r.cap - 1)].kind) != *p)
			fail_msg("%s: %c is missing at %zu", script, *p, n);
	}
	if (r.n != n || ring_is_idle(&r) != (*p == '.'))
		fail_msg("%s: %u left, idle %d", script, r.n, ring_is_idle(&r));
	ring_free(&r);
}

static void test_scripts(void **state)
{
	static const char *const scripts[] = {
		"=.", "Q=Q~", "Q1Q=.", "QQ1Q=Q~", "PBDES=PBDES~", "PBDES1P1B1D1E1S=.",
		"PBE1P1B1E=~",					/* no Sync was sent: the batch is open */
		"PBE1P1B1EQ=Q~",				/* a Query ends it */
		"PBE1P1B1EQ1Q=.", "PBES!P=S~",			/* an error skips to the Sync that was sent */
		"PBES!P1S=.", "PBESPBES1P!B=SPBES~", "PBE!P=~", /* or to one that is yet to come */
		"PBE!PBEQ=~",					/* all before it is skipped, a Query too */
		"PBE!PBEQS=S~", "PBE!PBEQS1S=.", "S!S1S=.",	/* the error of a commit at Sync */
		"Q!Q1Q=.", "QPBES!Q=QPBES~",			/* a Query's own error skips nothing */
		"c=.",						/* the end of no copy */
		"QcQ1Q=Q~",					/* a late one, behind a Query that was no COPY */
		"QcQ1Q1Q=.", "Qc1Q=.", "QG=Q~",			/* COPY: the server reads data */
		"QGS=Q~",					/* Sync is ignored meanwhile */
		"QGc1QS=S~", "QGcK1Q=.", "QcGK1Q=.",		/* the data was sent before the answer came */
		"QG!Q1Q=.",					/* the copy fails */
		"PBES1P1BG=E~", /* extended COPY: the Sync that was sent with it is ignored */
		"PBES1P1BGcK1E=~", "PBES1P1BGcSK1E=S~", "PBES1P1BGcSK1E1S=.",
		"PBES1P1BG!E=~",					    /* fails: to the next Sync */
		"PBES1P1BG!EcS=S~", "PBESSSc1P1BG=E~", "PBEcS1P1BGK1E1S=.", /* all of it in one write */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++)
		play(scripts[i]);
}

/* Syncs that went into a copy which then failed may or may not be answered: the ring remembers that it cannot know. */
static void test_in_copy(void **state)
{
	struct ring r = {0};

	(void)state;
	for (const char *p = "PBES1P1BG"; *p;)
		p = play_one(&r, p);
	assert_int_equal(r.in_copy, 1);
	ring_error(&r, NULL, NULL);
	assert_int_equal(r.in_copy, 1);
	ring_copy_done(&r);
	assert_int_equal(r.in_copy, 0);
	ring_free(&r);
}

static void test_may_commit(void **state)
{
	struct ring r = {0};

	(void)state;
	ring_push(&r, (struct request){.kind = REQ_QUERY});
	assert_false(ring_may_commit(&r));
	ring_push(&r, (struct request){.kind = REQ_QUERY, .may_commit = true});
	ring_push(&r, (struct request){.kind = REQ_QUERY});
	assert_true(ring_may_commit(&r));
	ring_pop(&r);
	assert_true(ring_may_commit(&r));
	ring_pop(&r);
	assert_false(ring_may_commit(&r));
	ring_free(&r);
}

/* Wraps and grows with its order kept. */
static void test_grow(void **state)
{
	struct ring r = {0};
	unsigned in = 0, out = 0;

	(void)state;
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < round; i++, in++)
			ring_push(&r, (struct request){.kind = REQ_QUERY, .why = (uint8_t)in});
		for (int i = 0; i < round / 2; i++, out++) {
			assert_int_equal(ring_front(&r)->why, (uint8_t)out);
			ring_pop(&r);
		}
		assert_int_equal(r.n, in - out);
	}
	ring_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_in_copy),
		cmocka_unit_test(test_may_commit),
		cmocka_unit_test(test_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
