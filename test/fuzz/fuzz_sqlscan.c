/*
 * The statements of a text. The first byte's lowest bit is
 * standard_conforming_strings, the second byte says in which 256th of the text
 * memory ends, the rest is the text.
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "proto/sqlscan.h"

static bool ends_transaction(enum stmt_class class)
{
	static const bool ends[STMT_CLASSES] = {
#define STATEMENT(name, words, ends, sets, change) [STMT_##name] = (ends),
#define SPELLING(name, words)
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
	};

	return ends[class];
}

static void check_statement(const struct sqlscan *s, const struct sql_stmt *st, const char *from)
{
	FUZZ_CHECK(st->text >= from && st->len > 0 && st->text + st->len <= s->p && s->p <= s->end);
	FUZZ_CHECK(st->class < STMT_CLASSES);
}

/* The whole text; whether a statement in it ends a transaction. */
static bool scan_whole(const char *p, size_t n, bool standard)
{
	struct sqlscan s = sqlscan_init(p, n, true, standard);
	const char *from = p;
	bool ends = false;
	struct sql_stmt st;

	for (;;) {
		enum sqlscan_result r = sqlscan_next(&s, &st);

		FUZZ_CHECK(r != SQLSCAN_UNKNOWN);
		if (r == SQLSCAN_END)
			return ends;
		check_statement(&s, &st, from);
		from = st.text + st.len;
		ends = ends || ends_transaction(st.class);
	}
}

/* A part of the text tells the same as the whole, as far as it goes. */
static void scan_part(const char *p, size_t n, size_t part, bool standard)
{
	char *copy = malloc(part > 0 ? part : 1);
	struct sqlscan s, all = sqlscan_init(p, n, true, standard);
	struct sql_stmt st, all_st;
	enum sqlscan_result r;

	if (copy == NULL)
		abort();
	memcpy(copy, p, part);
	s = sqlscan_init(copy, part, false, standard);
	while ((r = sqlscan_next(&s, &st)) == SQLSCAN_STATEMENT) {
		FUZZ_CHECK(sqlscan_next(&all, &all_st) == SQLSCAN_STATEMENT);
		FUZZ_CHECK(st.text - copy == all_st.text - p && st.len == all_st.len);
		FUZZ_CHECK(st.class == all_st.class && st.to_default == all_st.to_default);
	}
	/* Of what is cut the class may be told, unless there is a vertical tab to come. */
	if (r == SQLSCAN_UNKNOWN && st.class != STMT_OTHER) {
		FUZZ_CHECK(sqlscan_next(&all, &all_st) == SQLSCAN_STATEMENT);
		FUZZ_CHECK(all_st.class == st.class || memchr(all_st.text, '\v', all_st.len) != NULL);
	}
	/* Without its end a text is at an end only by a NUL. */
	FUZZ_CHECK(r == SQLSCAN_UNKNOWN || (part > 0 && memchr(copy, 0, part) != NULL));
	FUZZ_CHECK(sqlscan_next(&s, &st) == r);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data + 2;
	size_t n, part;
	bool standard, ends, may;

	if (size < 2)
		return 0;
	n = size - 2;
	standard = (data[0] & 1) != 0;
	part = n * data[1] / 255;
	ends = scan_whole(p, n, standard);
	may = sqlscan_may_commit(p, n, true, standard);
	FUZZ_CHECK(may || !ends);
	FUZZ_CHECK(!may || ends || (n > 0 && memchr(p, '\v', n) != NULL));
	FUZZ_CHECK(sqlscan_may_commit(p, n, false, standard) || (n > 0 && memchr(p, 0, n) != NULL && !may));
	scan_part(p, n, part, standard);
	return 0;
}
