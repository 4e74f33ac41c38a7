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

static bool class_sets(enum stmt_class class)
{
	static const bool sets_by_class[STMT_CLASSES] = {
#define STATEMENT(name, words, ends, sets, change) [STMT_##name] = (sets),
#define SPELLING(name, words)
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
	};

	return sets_by_class[class];
}

/* A name is a part of its statement, and folded it is no longer than it was. */
static void check_prepared(const struct sql_stmt *st)
{
	struct sql_name n;
	enum sql_prepared kind = sqlscan_prepared(st, &n);

	FUZZ_CHECK(kind <= SQL_PREPARED_UNKNOWN);
	if (kind != SQL_PREPARED_PREPARE && kind != SQL_PREPARED_EXECUTE && kind != SQL_PREPARED_DEALLOCATE)
		return;
	FUZZ_CHECK(n.text > st->text && n.len > 0 && n.text + n.len <= st->text + st->len);
	FUZZ_CHECK(memchr(n.name, 0, sizeof(n.name)) != NULL && strlen(n.name) <= n.len);
	FUZZ_CHECK(n.name[0] != '\0');
}

static void count_change(void *arg, enum sql_change what, const char *param)
{
	size_t *count = arg;

	FUZZ_CHECK(what > SQL_CHANGE_NONE && what <= SQL_CHANGE_UNKNOWN);
	FUZZ_CHECK(strlen(param) < SQL_PARAM && (what == SQL_CHANGE_PARAM || param[0] == '\0'));
	++*count;
}

/* What the statements say must be what the looks at the whole text say. */
static void check_looks(const char *p, size_t n, bool whole, bool standard)
{
	struct sqlscan s = sqlscan_init(p, n, whole, standard);
	struct sql_tx tx = sqlscan_tx(p, n, whole);
	bool may_set = sqlscan_may_set(p, n, whole, standard), may_change = sqlscan_may_change(p, n, whole);
	bool empty = sqlscan_is_empty(p, n, whole), plain = sqlscan_is_plain(p, n);
	enum stmt_class class = STMT_OTHER;
	size_t statements = 0, changes = 0;
	enum sqlscan_result r;
	struct sql_stmt st;

	while ((r = sqlscan_next(&s, &st)) != SQLSCAN_END) {
		struct sql_name name;

		statements++;
		class = st.class;
		FUZZ_CHECK(may_set || !class_sets(class));
		check_prepared(&st);
		FUZZ_CHECK(!plain || !st.whole || sqlscan_prepared(&st, &name) == SQL_PREPARED_NONE);
		sqlscan_changes(&st, count_change, &changes);
		FUZZ_CHECK(changes == 0 || may_change);
		if (r == SQLSCAN_UNKNOWN)
			break;
	}
	FUZZ_CHECK(r != SQLSCAN_UNKNOWN || (may_set && sqlscan_has_now(p, n, whole, standard) && changes > 0));
	FUZZ_CHECK(!empty || (statements == 0 && r == SQLSCAN_END));
	FUZZ_CHECK(statements > 0 || !may_set || r == SQLSCAN_UNKNOWN || memchr(p, '_', n) != NULL ||
		   memchr(p, '&', n) != NULL);
	(void)sqlscan_has_now(p, n, whole, standard);
	/* What may be run again is one statement that changes nothing of its session. */
	FUZZ_CHECK(!whole || sqlscan_refused(p, n, standard) == SQL_REFUSED_LATE ||
		   (statements == 1 && r == SQLSCAN_END && tx.kind == SQL_TX_NONE));
	FUZZ_CHECK(!whole || !sqlscan_is_copy_in(p, n, standard) ||
		   (statements == 1 && r == SQLSCAN_END && class == STMT_OTHER && tx.kind == SQL_TX_NONE));
	if (tx.kind == SQL_TX_NONE)
		return;
	FUZZ_CHECK(statements == 1 && r == SQLSCAN_END && changes == 0 && !empty && !plain);
	switch (tx.kind) {
	case SQL_TX_BEGIN: FUZZ_CHECK(class == STMT_BEGIN); break;
	case SQL_TX_START: FUZZ_CHECK(class == STMT_START_TRANSACTION); break;
	case SQL_TX_COMMIT: FUZZ_CHECK(class == STMT_COMMIT); break;
	case SQL_TX_ROLLBACK: FUZZ_CHECK(class == STMT_ROLLBACK); break;
	case SQL_TX_ROLLBACK_TO: FUZZ_CHECK(class == STMT_ROLLBACK_TO); break;
	case SQL_TX_PREPARE: FUZZ_CHECK(class == STMT_PREPARE_TRANSACTION); break;
	case SQL_TX_NONE: break;
	}
	FUZZ_CHECK(!tx.modes || tx.kind == SQL_TX_BEGIN || tx.kind == SQL_TX_START);
	FUZZ_CHECK(!tx.chain || tx.kind == SQL_TX_COMMIT || tx.kind == SQL_TX_ROLLBACK);
}

/* What a part tells of a name the whole tells too. */
static void check_prepared_parts(const char *p, size_t n, size_t part, bool standard)
{
	struct sqlscan s = sqlscan_init(p, part, false, standard), all = sqlscan_init(p, n, true, standard);
	struct sql_stmt st, all_st;
	struct sql_name name, all_name;
	enum sqlscan_result r;

	if (n > 0 && memchr(p, '\v', n) != NULL)
		return; /* takes the class away that told */
	do {
		enum sql_prepared kind, all_kind;

		r = sqlscan_next(&s, &st);
		if (r == SQLSCAN_END || (kind = sqlscan_prepared(&st, &name)) == SQL_PREPARED_UNKNOWN)
			return;
		FUZZ_CHECK(sqlscan_next(&all, &all_st) == SQLSCAN_STATEMENT);
		all_kind = sqlscan_prepared(&all_st, &all_name);
		FUZZ_CHECK(kind == all_kind && name.text == all_name.text && name.len == all_name.len);
		FUZZ_CHECK(strcmp(name.name, all_name.name) == 0);
	} while (r == SQLSCAN_STATEMENT);
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
	check_looks(p, n, true, standard);
	check_looks(p, part, false, standard);
	check_prepared_parts(p, n, part, standard);
	return 0;
}
