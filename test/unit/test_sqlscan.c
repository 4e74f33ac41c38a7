/*
 * sqlscan: the statements that each text holds, with their classes. Every text
 * is also cut at each byte: what is found in a part must be what is found in
 * the whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "proto/sqlscan.h"

static const char *const class_names[STMT_CLASSES] = {
	[STMT_OTHER] = "OTHER",
#define STATEMENT(name, words, ends_transaction, sets, change) [STMT_##name] = #name,
#define SPELLING(name, words)
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
};

/* A copy without a byte behind it, so that the sanitizers see what reads too far. */
static char *exact(const char *s, size_t n)
{
	char *p = malloc(n > 0 ? n : 1);

	assert_non_null(p);
	memcpy(p, s, n);
	return p;
}

/* The statements as "CLASS[text] CLASS=DEFAULT[text]"; what came after them, with its class in *rest. */
static enum sqlscan_result describe(const char *text, size_t n, bool whole, bool standard, char *out, size_t size,
	enum stmt_class *rest)
{
	char *copy = exact(text, n);
	struct sqlscan s = sqlscan_init(copy, n, whole, standard);
	enum sqlscan_result r;
	struct sql_stmt st;
	size_t at = 0;

	out[0] = '\0';
	while ((r = sqlscan_next(&s, &st)) == SQLSCAN_STATEMENT) {
		at += (size_t)snprintf(out + at, size - at, "%s%s%s[%.*s]", at > 0 ? " " : "", class_names[st.class],
			st.to_default ? "=DEFAULT" : "", (int)st.len, st.text);
		assert_true(at < size);
	}
	*rest = st.class;
	/* It stays so. */
	assert_int_equal(sqlscan_next(&s, &st), r);
	assert_int_equal(sqlscan_next(&s, &st), r);
	free(copy);
	return r;
}

/* ---- classes ---- */

static const struct {
	const char *text;
	enum stmt_class class;
} classes[] = {
	{"BEGIN", STMT_BEGIN},
	{"begin work isolation level serializable", STMT_BEGIN},
	{"Begin Transaction", STMT_BEGIN},
	{"BEGINNING", STMT_OTHER},
	{"BEGIN_", STMT_OTHER},
	{"BEGIN$", STMT_OTHER},
	{"BEGIN1", STMT_OTHER},
	{"BEGI", STMT_OTHER},
	{"\"begin\"", STMT_OTHER},
	{"start transaction read only", STMT_START_TRANSACTION},
	{"START/* a /* b */ c */TRANSACTION", STMT_START_TRANSACTION},
	{"START --x\nTRANSACTION", STMT_START_TRANSACTION},
	{"START --x TRANSACTION", STMT_OTHER},
	{"START", STMT_OTHER},
	{"START \"TRANSACTION\"", STMT_OTHER},
	{"START TRANSACTIONS", STMT_OTHER},
	{"COMMIT", STMT_COMMIT},
	{"commit and chain", STMT_COMMIT},
	{"cOmMiT work", STMT_COMMIT},
	{"END", STMT_COMMIT},
	{"end transaction", STMT_COMMIT},
	{"COMMIT PREPARED 'x'", STMT_COMMIT_PREPARED},
	{"commit\tprepared'x'", STMT_COMMIT_PREPARED},
	{"COMMIT/**/PREPARED/**/'x'", STMT_COMMIT_PREPARED},
	{"COMMIT \"PREPARED\"", STMT_COMMIT},
	{"END PREPARED 'x'", STMT_COMMIT},
	{"ROLLBACK", STMT_ROLLBACK},
	{"ROLLBACK WORK", STMT_ROLLBACK},
	{"ROLLBACK TRANSACTION AND NO CHAIN", STMT_ROLLBACK},
	{"ABORT", STMT_ROLLBACK},
	{"abort work", STMT_ROLLBACK},
	{"ROLLBACK TO a", STMT_ROLLBACK_TO},
	{"rollback to savepoint a", STMT_ROLLBACK_TO},
	{"ROLLBACK WORK TO a", STMT_ROLLBACK_TO},
	{"ROLLBACK TRANSACTION TO SAVEPOINT a", STMT_ROLLBACK_TO},
	{"ROLLBACK PREPARED 'x'", STMT_ROLLBACK_PREPARED},
	{"PREPARE TRANSACTION 'x'", STMT_PREPARE_TRANSACTION},
	{"PREPARE \"transaction\" AS SELECT 1", STMT_PREPARE},
	{"PREPARE p (int) AS SELECT $1", STMT_PREPARE},
	{"SAVEPOINT a", STMT_SAVEPOINT},
	{"RELEASE a", STMT_RELEASE},
	{"RELEASE SAVEPOINT a", STMT_RELEASE},
	{"SET x = 1", STMT_SET},
	{"SET SESSION x = 1", STMT_SET},
	{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", STMT_SET},
	{"SET TIME ZONE 'UTC'", STMT_SET},
	{"SET LOCAL x = 1", STMT_SET_LOCAL},
	{"SET LOCAL ROLE x", STMT_SET_LOCAL},
	{"set/*x*/local x = 1", STMT_SET_LOCAL},
	{"SET TRANSACTION READ ONLY", STMT_SET_LOCAL},
	{"SET CONSTRAINTS ALL DEFERRED", STMT_SET_LOCAL},
	{"SET local.tenant = '1'", STMT_SET},
	{"SET local . tenant = '1'", STMT_SET},
	{"SET session.tenant = '1'", STMT_SET},
	{"SET role.x = '1'", STMT_SET},
	{"SET \"local\".x = '1'", STMT_SET},
	{"SET localx = '1'", STMT_SET},
	{"SET ROLE none", STMT_SET_ROLE},
	{"SET role TO x", STMT_SET_ROLE},
	{"SET SESSION ROLE x", STMT_SET_ROLE},
	{"SET SESSION AUTHORIZATION x", STMT_SET_SESSION_AUTHORIZATION},
	{"SET SESSION SESSION AUTHORIZATION x", STMT_SET_SESSION_AUTHORIZATION},
	{"SET SESSION SESSION.x = 1", STMT_SET},
	{"SETTING", STMT_OTHER},
	{"RESET ALL", STMT_RESET_ALL},
	{"RESET x", STMT_RESET},
	{"RESET all.x", STMT_RESET},
	{"DISCARD PLANS", STMT_DISCARD},
	{"DISCARD TEMPORARY", STMT_DISCARD_TEMP},
	{"CLOSE ALL", STMT_CLOSE_ALL},
	{"CLOSE a", STMT_OTHER},
	{"MOVE 1 IN c", STMT_FETCH},
	{"DO $$x$$", STMT_DO},
	{"CALL p()", STMT_CALL},
	{"LOAD 'x'", STMT_LOAD},
	{"EXPLAIN (ANALYZE) SELECT 1", STMT_EXPLAIN},
	{"CREATE UNLOGGED TABLE x (a int)", STMT_CREATE_TABLE},
	{"CREATE TEMP SEQUENCE x", STMT_CREATE_TEMP},
	{"CREATE LOCAL TEMPORARY TABLE x (a int)", STMT_CREATE_TEMP},
	{"CREATE OR REPLACE TEMP RECURSIVE VIEW v AS SELECT 1", STMT_CREATE_TEMP},
	{"RESET SESSION AUTHORIZATION", STMT_RESET},
	{"DISCARD ALL", STMT_DISCARD_ALL},
	{"LISTEN x", STMT_LISTEN},
	{"UNLISTEN *", STMT_UNLISTEN},
	{"EXECUTE p (1)", STMT_EXECUTE},
	{"DEALLOCATE ALL", STMT_DEALLOCATE},
	{"DECLARE c CURSOR WITH HOLD FOR SELECT 1", STMT_DECLARE},
	{"CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1", STMT_CREATE_ROUTINE},
	{"create or replace function f() returns int as 'x'", STMT_CREATE_ROUTINE},
	{"CREATE PROCEDURE f() AS 'x'", STMT_CREATE_ROUTINE},
	{"CREATE OR REPLACE PROCEDURE f() AS 'x'", STMT_CREATE_ROUTINE},
	{"CREATE OR REPLACE VIEW v AS SELECT 1", STMT_OTHER},
	{"CREATE TABLE t (a int)", STMT_CREATE_TABLE},
	{"SELECT 1", STMT_OTHER},
	{"(SELECT 1)", STMT_OTHER},
	{"SHOW x", STMT_OTHER},
	{"1", STMT_OTHER},
	{"'COMMIT'", STMT_OTHER},
	{"x COMMIT", STMT_OTHER},
	{"/* COMMIT */ SELECT 1", STMT_OTHER},
	{"-- COMMIT\nSELECT 1", STMT_OTHER},
	{"-- SELECT\rCOMMIT", STMT_COMMIT},
	{"/* SELECT */COMMIT", STMT_COMMIT},
	{" \t\r\n\fCOMMIT", STMT_COMMIT},
	{"\303\244COMMIT", STMT_OTHER},
	/* A vertical tab is white space to some servers only. */
	{"\vCOMMIT", STMT_OTHER},
	{"BEGIN\v", STMT_OTHER},
	{"BEGIN ISOLATION\vLEVEL SERIALIZABLE", STMT_OTHER},
	{"SET a = '\v'", STMT_SET},
	{"SET/*\v*/a = 1", STMT_SET},
};

static void test_classes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		struct sqlscan s = sqlscan_init(classes[i].text, strlen(classes[i].text), true, true);
		struct sql_stmt st;

		assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_STATEMENT);
		if (st.class != classes[i].class)
			fail_msg("%s: %s", classes[i].text, class_names[st.class]);
		assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_END);
	}
}

/* Every spelling of the table is told, alone, in lower case, and not with another letter behind it. */
static void check_spelling(enum stmt_class class, const char *words)
{
	char text[80];
	struct sqlscan s;
	struct sql_stmt st;
	int n = snprintf(text, sizeof(text), "%s", words);

	for (int i = 0; i < n; i++)
		text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
	s = sqlscan_init(text, (size_t)n, true, true);
	assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_STATEMENT);
	assert_int_equal(st.class, class);
	snprintf(text, sizeof(text), "%sX", words);
	s = sqlscan_init(text, strlen(text), true, true);
	assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_STATEMENT);
	assert_int_not_equal(st.class, class);
}

static void test_spellings(void **state)
{
	(void)state;
#define STATEMENT(name, words, ends_transaction, sets, change) check_spelling(STMT_##name, words);
#define SPELLING(name, words) check_spelling(STMT_##name, words);
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
}

/* ---- statements ---- */

#define BODY "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC "

static const struct {
	const char *text, *want;
	bool nonstandard; /* standard_conforming_strings is off */
} texts[] = {
	/* empty ones */
	{"", "", false},
	{" ;; \n ; ", "", false},
	{"-- nothing", "", false},
	{"/* nothing */ ; -- at all", "", false},
	{"/* nothing ; COMMIT", "", false},
	/* where a statement begins and ends */
	{"  COMMIT  ", "COMMIT[COMMIT]", false},
	{"COMMIT/* x */;", "COMMIT[COMMIT]", false},
	{"/* y */ SELECT 1 -- x\n;COMMIT", "OTHER[SELECT 1] COMMIT[COMMIT]", false},
	{"a;b;;c;", "OTHER[a] OTHER[b] OTHER[c]", false},
	{"SELECT (1) ; SELECT 'x'", "OTHER[SELECT (1)] OTHER[SELECT 'x']", false},
	{"ROLLBACK WORK ; SELECT 1", "ROLLBACK[ROLLBACK WORK] OTHER[SELECT 1]", false},
	{"SET local /* x */ ;", "SET_LOCAL[SET local]", false},
	{"SET local /* x */ .", "SET[SET local /* x */ .]", false},
	/* comments */
	{"a /* ; /* ; */ ; */ b", "OTHER[a /* ; /* ; */ ; */ b]", false},
	{"a /*/ ; */ b; c", "OTHER[a /*/ ; */ b] OTHER[c]", false},
	{"a /**/; c", "OTHER[a] OTHER[c]", false},
	{"a /***/; c", "OTHER[a] OTHER[c]", false},
	{"a //* ; */ b; c", "OTHER[a //* ; */ b] OTHER[c]", false},
	{"a /* -- */; c", "OTHER[a] OTHER[c]", false},
	{"a -- /* \n; c", "OTHER[a] OTHER[c]", false},
	{"a -- ; \r; c", "OTHER[a] OTHER[c]", false},
	{"a --- ; \n b", "OTHER[a --- ; \n b]", false},
	{"a +-- ; \n b", "OTHER[a +-- ; \n b]", false},
	{"a - - ; b", "OTHER[a - -] OTHER[b]", false},
	{"a */ ; b", "OTHER[a */] OTHER[b]", false},
	/* strings */
	{"a ';' b; c", "OTHER[a ';' b] OTHER[c]", false},
	{"a ''';' b; c", "OTHER[a ''';' b] OTHER[c]", false},
	{"a '\\'; c", "OTHER[a '\\'] OTHER[c]", false},
	{"a '\\'; c'; d", "OTHER[a '\\'; c'] OTHER[d]", true},
	{"a '\\\\'; c", "OTHER[a '\\\\'] OTHER[c]", true},
	{"a 'x\\''';' ; c", "OTHER[a 'x\\''';'] OTHER[c]", true},
	{"a '/*'; c --*/", "OTHER[a '/*'] OTHER[c]", false},
	{"a '--'; c", "OTHER[a '--'] OTHER[c]", false},
	{"a '$$'; c $$", "OTHER[a '$$'] OTHER[c $$]", false},
	{"a E'\\'; c'; d", "OTHER[a E'\\'; c'] OTHER[d]", false},
	{"a e'\\'; c'; d", "OTHER[a e'\\'; c'] OTHER[d]", false},
	{"a e'\\\\'; c", "OTHER[a e'\\\\'] OTHER[c]", false},
	{"a e'x'';'; c", "OTHER[a e'x'';'] OTHER[c]", false},
	{"a fe'\\'; c", "OTHER[a fe'\\'] OTHER[c]", false},
	{"a E '\\'; c", "OTHER[a E '\\'] OTHER[c]", false},
	{"a _e'\\'; c", "OTHER[a _e'\\'] OTHER[c]", false},
	{"a 1e'\\'; c'; d", "OTHER[a 1e'\\'; c'] OTHER[d]", false},
	{"a N'\\'; c", "OTHER[a N'\\'] OTHER[c]", false},
	{"a N'\\'; c'; d", "OTHER[a N'\\'; c'] OTHER[d]", true},
	{"a B'\\'; c", "OTHER[a B'\\'] OTHER[c]", true},
	{"a X'\\'; c", "OTHER[a X'\\'] OTHER[c]", true},
	{"a U&'\\'; c", "OTHER[a U&'\\'] OTHER[c]", false},
	{"a u&'\\'; c", "OTHER[a u&'\\'] OTHER[c]", true},
	{"a u & '\\'; c'; d", "OTHER[a u & '\\'; c'] OTHER[d]", true},
	{"a 'x; c", "OTHER[a 'x; c]", false},
	{"a E'x\\", "OTHER[a E'x\\]", false},
	{"a 'x;\\", "OTHER[a 'x;\\]", true},
	/* strings that go on behind a newline keep their kind */
	{"a E'x'\n'\\'; c'; d", "OTHER[a E'x'\n'\\'; c'] OTHER[d]", false},
	{"a E'x' \t --y\n --z\n \f'\\'; c'; d", "OTHER[a E'x' \t --y\n --z\n \f'\\'; c'] OTHER[d]", false},
	{"a E'x'\r'y'\r'\\'; c'; d", "OTHER[a E'x'\r'y'\r'\\'; c'] OTHER[d]", false},
	{"a E'x' '\\'; c", "OTHER[a E'x' '\\'] OTHER[c]", false},
	{"a E'x' /* y */\n '\\'; c", "OTHER[a E'x' /* y */\n '\\'] OTHER[c]", false},
	{"a E'x'\n; c", "OTHER[a E'x'] OTHER[c]", false},
	{"a E'x'\nE'\\'; c'; d", "OTHER[a E'x'\nE'\\'; c'] OTHER[d]", false},
	{"a 'x'\nE'\\'; c'; d", "OTHER[a 'x'\nE'\\'; c'] OTHER[d]", false},
	{"a U&'x'\n'\\'; c", "OTHER[a U&'x'\n'\\'] OTHER[c]", true},
	{"a B'1'\n'\\'; c", "OTHER[a B'1'\n'\\'] OTHER[c]", true},
	/* names */
	{"a \";\" b; c", "OTHER[a \";\" b] OTHER[c]", false},
	{"a \"\"\";\" b; c", "OTHER[a \"\"\";\" b] OTHER[c]", false},
	{"a \"\\\"; c", "OTHER[a \"\\\"] OTHER[c]", true},
	{"a U&\"\\\"; c", "OTHER[a U&\"\\\"] OTHER[c]", false},
	{"a U&\";\" b; c", "OTHER[a U&\";\" b] OTHER[c]", false},
	{"a \"'\"; c '", "OTHER[a \"'\"] OTHER[c ']", false},
	{"a \"; c", "OTHER[a \"; c]", false},
	/* dollar quotes */
	{"a $$;$$; c", "OTHER[a $$;$$] OTHER[c]", false},
	{"a $x$; $$ $y$ $x;x$ $x$; c", "OTHER[a $x$; $$ $y$ $x;x$ $x$] OTHER[c]", false},
	{"a $x$ $xx$ ; $x$; c", "OTHER[a $x$ $xx$ ; $x$] OTHER[c]", false},
	{"a $x$;$y$x$; c", "OTHER[a $x$;$y$x$] OTHER[c]", false},
	{"a $x$;$y$xx$; c", "OTHER[a $x$;$y$xx$; c]", false},
	{"a $X$;$x$;$X$; c", "OTHER[a $X$;$x$;$X$] OTHER[c]", false},
	{"a $_1\303\244$;$_1\303\244$; c", "OTHER[a $_1\303\244$;$_1\303\244$] OTHER[c]", false},
	{"a $1$;$1$; c", "OTHER[a $1$] OTHER[$1$] OTHER[c]", false},
	{"a $1; c", "OTHER[a $1] OTHER[c]", false},
	{"a $1$$;$$; c", "OTHER[a $1$$;$$] OTHER[c]", false},
	{"a$$; c$$", "OTHER[a$$] OTHER[c$$]", false},
	{"a$x$; c$x$", "OTHER[a$x$] OTHER[c$x$]", false},
	{"a 1$x$;$x$; c", "OTHER[a 1$x$;$x$] OTHER[c]", false},
	{"a 1x$$; c$$", "OTHER[a 1x$$] OTHER[c$$]", false},
	{"a 1e5$$;$$; c", "OTHER[a 1e5$$;$$] OTHER[c]", false},
	{"a 1.5e-5$$;$$; c", "OTHER[a 1.5e-5$$;$$] OTHER[c]", false},
	{"a 1e+$$;$$; c", "OTHER[a 1e+$$;$$] OTHER[c]", false},
	{"a $; c", "OTHER[a $] OTHER[c]", false},
	{"a $x; c", "OTHER[a $x] OTHER[c]", false},
	{"a $x y$; c", "OTHER[a $x y$] OTHER[c]", false},
	{"a $$'$$; c", "OTHER[a $$'$$] OTHER[c]", false},
	{"a $$; c", "OTHER[a $$; c]", false},
	{"DO $$BEGIN COMMIT; END$$; COMMIT", "DO[DO $$BEGIN COMMIT; END$$] COMMIT[COMMIT]", false},
	/* parentheses */
	{"CREATE RULE r AS ON INSERT TO t DO (a; b); c", "OTHER[CREATE RULE r AS ON INSERT TO t DO (a; b)] OTHER[c]",
		false},
	{"a ((;) ; ) ; c", "OTHER[a ((;) ; )] OTHER[c]", false},
	{"a ) ; c", "OTHER[a )] OTHER[c]", false},
	{"a '(' ; c", "OTHER[a '('] OTHER[c]", false},
	{"a (; c", "OTHER[a (; c]", false},
	/* bodies of routines */
	{BODY "a; b; END; COMMIT", "CREATE_ROUTINE[" BODY "a; b; END] COMMIT[COMMIT]", false},
	{BODY "a; COMMIT; END", "CREATE_ROUTINE[" BODY "a; COMMIT; END]", false},
	{"create or replace procedure f() begin/**/atomic a; end; commit",
		"CREATE_ROUTINE[create or replace procedure f() begin/**/atomic a; end] COMMIT[commit]", false},
	{BODY "SELECT CASE WHEN a THEN b END; END; COMMIT",
		"CREATE_ROUTINE[" BODY "SELECT CASE WHEN a THEN b END; END] COMMIT[COMMIT]", false},
	{BODY "SELECT CASE a WHEN CASE b END THEN c END; END; COMMIT",
		"CREATE_ROUTINE[" BODY "SELECT CASE a WHEN CASE b END THEN c END; END] COMMIT[COMMIT]", false},
	{BODY "SELECT (CASE a END); END; COMMIT", "CREATE_ROUTINE[" BODY "SELECT (CASE a END); END] COMMIT[COMMIT]",
		false},
	{BODY "SELECT 1 AS end, 2 AS case, t.end; b; END; COMMIT",
		"CREATE_ROUTINE[" BODY "SELECT 1 AS end, 2 AS case, t.end; b; END] COMMIT[COMMIT]", false},
	{BODY "SELECT 'END', \"END\"; b; END; COMMIT",
		"CREATE_ROUTINE[" BODY "SELECT 'END', \"END\"; b; END] COMMIT[COMMIT]", false},
	{BODY "a; b;", "CREATE_ROUTINE[" BODY "a; b;]", false},
	{"CREATE FUNCTION begin() RETURNS case AS 'x'; COMMIT",
		"CREATE_ROUTINE[CREATE FUNCTION begin() RETURNS case AS 'x'] COMMIT[COMMIT]", false},
	{"CREATE FUNCTION f(a int DEFAULT CASE b END) AS 'x'; END",
		"CREATE_ROUTINE[CREATE FUNCTION f(a int DEFAULT CASE b END) AS 'x'] COMMIT[END]", false},
	{"CREATE FUNCTION f(begin atomic) AS 'x'; END",
		"CREATE_ROUTINE[CREATE FUNCTION f(begin atomic) AS 'x'] COMMIT[END]", false},
	{"BEGIN ATOMIC; a; END", "BEGIN[BEGIN ATOMIC] OTHER[a] COMMIT[END]", false},
	{"CREATE VIEW v AS SELECT begin atomic FROM t; COMMIT",
		"OTHER[CREATE VIEW v AS SELECT begin atomic FROM t] COMMIT[COMMIT]", false},
	/* SET to the default */
	{"SET x TO DEFAULT", "SET=DEFAULT[SET x TO DEFAULT]", false},
	{"SET x = default;", "SET=DEFAULT[SET x = default]", false},
	{"SET LOCAL x=DEFAULT -- y", "SET_LOCAL=DEFAULT[SET LOCAL x=DEFAULT]", false},
	{"SET TIME ZONE DEFAULT", "SET=DEFAULT[SET TIME ZONE DEFAULT]", false},
	{"SET SESSION AUTHORIZATION DEFAULT", "SET_SESSION_AUTHORIZATION=DEFAULT[SET SESSION AUTHORIZATION DEFAULT]",
		false},
	{"SET x TO 'DEFAULT'", "SET[SET x TO 'DEFAULT']", false},
	{"SET x TO \"default\"", "SET[SET x TO \"default\"]", false},
	{"SET x TO DEFAULT, y", "SET[SET x TO DEFAULT, y]", false},
	{"SET x TO DEFAULTS", "SET[SET x TO DEFAULTS]", false},
	{"INSERT INTO t VALUES (1) DEFAULT", "OTHER[INSERT INTO t VALUES (1) DEFAULT]", false},
};

static void test_texts(void **state)
{
	enum stmt_class rest;
	char got[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(describe(texts[i].text, strlen(texts[i].text), true, !texts[i].nonstandard, got,
					 sizeof(got), &rest),
			SQLSCAN_END);
		if (strcmp(got, texts[i].want) != 0)
			fail_msg("%s\ngot:  %s\nwant: %s", texts[i].text, got, texts[i].want);
	}
}

/* A part never tells something else than the whole: it says less, and then "unknown". */
static void test_cut_anywhere(void **state)
{
	char whole[1000], part[1000];
	enum stmt_class rest;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t n = strlen(texts[i].text);

		describe(texts[i].text, n, true, !texts[i].nonstandard, whole, sizeof(whole), &rest);
		for (size_t cut = 0; cut <= n; cut++) {
			assert_int_equal(describe(texts[i].text, cut, false, !texts[i].nonstandard, part, sizeof(part),
						 &rest),
				SQLSCAN_UNKNOWN);
			/* The class of the statement that is cut is not told, or is the right one. */
			if (rest != STMT_OTHER) {
				strcat(part, part[0] != '\0' ? " " : "");
				strcat(part, class_names[rest]);
			}
			if (strncmp(whole, part, strlen(part)) != 0)
				fail_msg("%.*s\ngot:  %s\nwhole: %s", (int)cut, texts[i].text, part, whole);
		}
	}
}

static const struct {
	const char *text;
	enum stmt_class class; /* of the statement that memory cuts */
} cuts[] = {
	{"", STMT_OTHER},
	{"COM", STMT_OTHER},
	{"COMMIT", STMT_OTHER},
	{"COMMIT ", STMT_OTHER},
	{"COMMIT PREP", STMT_OTHER},
	{"COMMIT PREPARED '", STMT_OTHER},
	{"COMMIT PREPARED 'x' ", STMT_COMMIT_PREPARED},
	{"COMMIT AND ", STMT_COMMIT},
	{"COMMIT;", STMT_OTHER},
	{"SET LOCAL ", STMT_OTHER},
	{"SET LOCAL x ", STMT_SET_LOCAL},
	{"SET x = 'abc", STMT_SET},
	{"SET search_path ", STMT_SET},
	{"SET search_pa", STMT_OTHER},
	{"DECLARE c CURSOR FOR SELECT", STMT_DECLARE},
	{"DECLARE c CURSOR\v FOR SELECT", STMT_OTHER},
	{"SELECT 1; BEGIN READ ONLY, ", STMT_BEGIN},
};

static void test_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct sqlscan s = sqlscan_init(cuts[i].text, strlen(cuts[i].text), false, true);
		enum sqlscan_result r;
		struct sql_stmt st;

		while ((r = sqlscan_next(&s, &st)) == SQLSCAN_STATEMENT)
			;
		assert_int_equal(r, SQLSCAN_UNKNOWN);
		if (st.class != cuts[i].class)
			fail_msg("%s: %s", cuts[i].text, class_names[st.class]);
		assert_ptr_equal(st.text + st.len, cuts[i].text + strlen(cuts[i].text));
	}
}

/* A NUL ends the text, which then is whole, as the text of a message is. */
static void test_nul(void **state)
{
	enum stmt_class rest;
	char got[200];

	(void)state;
	assert_int_equal(describe("SELECT 1\0;COMMIT", 16, false, true, got, sizeof(got), &rest), SQLSCAN_END);
	assert_string_equal(got, "OTHER[SELECT 1]");
	assert_int_equal(describe("COMMIT\0", 7, false, true, got, sizeof(got), &rest), SQLSCAN_END);
	assert_string_equal(got, "COMMIT[COMMIT]");
	assert_false(sqlscan_may_commit("SELECT 1\0;COMMIT", 16, false, true));
	assert_true(sqlscan_may_commit("SELECT 1;COMMIT\0", 16, false, true));
}

/* ---- may_commit ---- */

static const struct {
	const char *text;
	bool may, may_nonstandard;
} commits[] = {
	{"", false, false},
	{";", false, false},
	{"SELECT 1", false, false},
	{"SELECT 1;", false, false},
	{"SELECT 1; \n", false, false},
	{"SELECT 1; SELECT 2", false, false},
	{"COMMIT", true, true},
	{"COMMIT; ", true, true},
	{"end", true, true},
	{" /* x */ Commit and chain", true, true},
	{"PREPARE TRANSACTION 'x'", true, true},
	{"PREPARE x AS SELECT 1", false, false},
	{"COMMIT PREPARED 'x'", true, true},
	{"ROLLBACK PREPARED 'x'", true, true},
	{"ROLLBACK", false, false},
	{"ROLLBACK TO a", false, false},
	{"BEGIN", false, false},
	{"INSERT INTO t VALUES (1); COMMIT", true, true},
	{"BEGIN; INSERT INTO t VALUES (1); END;", true, true},
	{"SELECT ';COMMIT;'", false, false},
	{"SELECT '\\'; COMMIT; --'", true, false},
	{"SELECT E'\\'; COMMIT; --'", false, false},
	{"SELECT E'x'\n'\\'; COMMIT; --'", false, false},
	{"SELECT $$; COMMIT; $$", false, false},
	{"SELECT /* ; COMMIT; */ 1; ", false, false},
	{"SELECT 1; -- COMMIT", false, false},
	{"SELECT 1; COMM", false, false},
	{BODY "a; END;", false, false},
	{BODY "a; END; END", true, true},
	{"\vCOMMIT", true, true},
	{"ROLLBACK\vPREPARED 'x'", true, true},
	{"SELECT 1;\vCOMMIT", true, true},
	{"SELECT 1\v; SELECT 1", true, true}, /* cannot be told */
	{"SELECT '\v'; SELECT 1", false, false},
	{";COMMIT", true, true},
	{"SELECT 1; \v", true, true},
};

static void test_may_commit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(commits) / sizeof(commits[0]); i++) {
		size_t n = strlen(commits[i].text);

		if (sqlscan_may_commit(commits[i].text, n, true, true) != commits[i].may)
			fail_msg("%s: not %d", commits[i].text, commits[i].may);
		if (sqlscan_may_commit(commits[i].text, n, true, false) != commits[i].may_nonstandard)
			fail_msg("%s: nonstandard: not %d", commits[i].text, commits[i].may_nonstandard);
		/* What is not in memory may be anything. */
		assert_true(sqlscan_may_commit(commits[i].text, n, false, true));
	}
	assert_false(sqlscan_may_commit(NULL, 0, true, true));
}

/* Unclosed comments a hundred thousand deep cost neither stack nor time. */
static void test_deep(void **state)
{
	enum { N = 200000 };
	char *text = malloc(2 * N);
	struct sqlscan s;
	struct sql_stmt st;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < 2 * N; i += 2)
		memcpy(text + i, "/*", 2);
	s = sqlscan_init(text, 2 * N, true, true);
	assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_END);
	memset(text, '(', 2 * N);
	s = sqlscan_init(text, 2 * N, true, true);
	assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_STATEMENT);
	assert_int_equal(st.len, 2 * N);
	free(text);
}

/* The cheap look says yes only where the full one says no. */
static void test_harmless(void **state)
{
	static const char *const ends[] = {
#define STATEMENT(name, words, ends_transaction, sets, change) (ends_transaction) ? (words) : NULL,
#define SPELLING(name, words) words,
#include "tbl/statements.h"
#undef STATEMENT
#undef SPELLING
	};
	static const struct {
		const char *text;
		bool harmless;
	} cases[] = {
		{"select 1", true},
		{"  SELECT 1;", true},
		{"insert into t values (1) ; \n", true},
		{"select 1; commit", false},
		{"select ';'", false},
		{"-- commit\nselect 1", false},
		{"commit", false},
		{"End", false},
		{"", false},
		{"(select 1)", false},
		{"with x as (select 1) select", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (ends[i] != NULL && sqlscan_may_commit(ends[i], strlen(ends[i]), true, true))
			assert_false(sqlscan_is_harmless(ends[i], strlen(ends[i])));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (sqlscan_is_harmless(cases[i].text, strlen(cases[i].text)) != cases[i].harmless)
			fail_msg("\"%s\"", cases[i].text);
}

/* ---- transactions ---- */

static const struct {
	const char *text;
	struct sql_tx tx;
} txs[] = {
#define TX(...)                            \
	{                                  \
		__VA_ARGS__, .ascii = true \
	}
#define BEGIN_PLAIN TX(.kind = SQL_TX_BEGIN, .standby = true)
#define BEGIN_SAFE TX(.kind = SQL_TX_BEGIN, .modes = true, .standby = true)
#define BEGIN_UNSAFE TX(.kind = SQL_TX_BEGIN, .modes = true)
#define NONE                        \
	{                           \
		.kind = SQL_TX_NONE \
	}
#define COMMIT_PLAIN TX(.kind = SQL_TX_COMMIT)
#define ROLLBACK_PLAIN TX(.kind = SQL_TX_ROLLBACK)
#define ROLLBACK_TO TX(.kind = SQL_TX_ROLLBACK_TO)
	{"BEGIN", BEGIN_PLAIN},
	{"begin work", BEGIN_PLAIN},
	{"bEGIN tRANSACTION;", BEGIN_PLAIN},
	{" \t\r\n\fBEGIN ; ", BEGIN_PLAIN},
	{"BEGIN;;", BEGIN_PLAIN},
	{"BEGIN ; /* x */ ; -- y", BEGIN_PLAIN},
	{";BEGIN", BEGIN_PLAIN},
	{"-- x\nBEGIN--", BEGIN_PLAIN},
	{"/* a /* b */ c */BEGIN/**/WORK/**/", BEGIN_PLAIN},
	{"BEGIN -- \303\244", {.kind = SQL_TX_BEGIN, .standby = true}},
	{"/* \377 */ BEGIN", {.kind = SQL_TX_BEGIN, .standby = true}},
	{"BEGIN WORK WORK", NONE},
	{"BEGIN WORK TRANSACTION", NONE},
	{"BEGIN ATOMIC", NONE},
	{"BEGIN 1", NONE},
	{"BEGIN x", NONE},
	{"BEGIN 'x'", NONE},
	{"\"BEGIN\"", NONE},
	{"(BEGIN)", NONE},
	{"BEGIN()", NONE},
	{"BEGIN; SELECT 1", NONE},
	{"BEGIN; BEGIN", NONE},
	{"BEGIN; COMMIT", NONE},
	{"SELECT 1; BEGIN", NONE},
	{"BEGIN /* x", NONE},
	{"BEGIN /* /* x */", NONE},
	{"BEGIN 'x", NONE},
	{"BEGIN \v", NONE},
	{"\vBEGIN", NONE},
	{"BEGIN/*\v*/", BEGIN_PLAIN},
	{"BEGIN -- \v", BEGIN_PLAIN},
	{"BEGIN -- x\rWORK", BEGIN_PLAIN},
	{"BEGINWORK", NONE},
	{"BEGIN_", NONE},
	{"BEGIN$", NONE},
	{"BEGIN READ ONLY", BEGIN_SAFE},
	{"begin transaction read/**/only;", BEGIN_SAFE},
	{"BEGIN ISOLATION LEVEL READ COMMITTED", BEGIN_SAFE},
	{"BEGIN ISOLATION LEVEL READ UNCOMMITTED", BEGIN_SAFE},
	{"BEGIN WORK ISOLATION LEVEL REPEATABLE READ", BEGIN_SAFE},
	{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", BEGIN_SAFE},
	{"BEGIN ISOLATION LEVEL REPEATABLE READ,READ ONLY", BEGIN_SAFE},
	{"BEGIN READ ONLY, READ ONLY, READ ONLY", BEGIN_SAFE},
	{"BEGIN READ WRITE", BEGIN_UNSAFE},
	{"BEGIN READ ONLY READ WRITE", BEGIN_UNSAFE},
	{"BEGIN READ WRITE, READ ONLY", BEGIN_UNSAFE},
	{"BEGIN ISOLATION LEVEL SERIALIZABLE", BEGIN_UNSAFE},
	{"BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE", BEGIN_UNSAFE},
	{"BEGIN READ ONLY DEFERRABLE", BEGIN_SAFE},
	{"BEGIN NOT DEFERRABLE", BEGIN_SAFE},
	{"BEGIN READ ONLY NOT DEFERRABLE", BEGIN_SAFE},
	{"BEGIN , READ ONLY", NONE},
	{"BEGIN READ ONLY,", NONE},
	{"BEGIN READ ONLY,;", NONE},
	{"BEGIN READ ONLY,,READ ONLY", NONE},
	{"BEGIN READ ONLY;READ ONLY", NONE},
	{"BEGIN READ", NONE},
	{"BEGIN READ COMMITTED", NONE},
	{"BEGIN READ \"ONLY\"", NONE},
	{"BEGIN ISOLATION", NONE},
	{"BEGIN ISOLATION LEVEL", NONE},
	{"BEGIN ISOLATION LEVEL READ", NONE},
	{"BEGIN ISOLATION LEVEL READ ONLY", NONE},
	{"BEGIN ISOLATION LEVEL REPEATABLE", NONE},
	{"BEGIN ISOLATION LEVEL SNAPSHOT", NONE},
	{"BEGIN ISOLATION LEVEL 'SERIALIZABLE'", NONE},
	{"BEGIN NOT", NONE},
	{"BEGIN NOT READ ONLY", NONE},
	{"BEGIN READ ONLY x", NONE},
	{"BEGIN READ ONLY .", NONE},
	{"START TRANSACTION", TX(.kind = SQL_TX_START, .standby = true)},
	{"start /* x */ transaction;;", TX(.kind = SQL_TX_START, .standby = true)},
	{"START TRANSACTION READ ONLY", TX(.kind = SQL_TX_START, .modes = true, .standby = true)},
	{"START TRANSACTION READ WRITE", TX(.kind = SQL_TX_START, .modes = true)},
	{"START", NONE},
	{"START WORK", NONE},
	{"START TRANSACTION TRANSACTION", NONE},
	{"START TRANSACTION, READ ONLY", NONE},
	{"STAR TRANSACTION", NONE},
	{"COMMIT", COMMIT_PLAIN},
	{"end", COMMIT_PLAIN},
	{"COMMIT WORK;", COMMIT_PLAIN},
	{"END TRANSACTION", COMMIT_PLAIN},
	{"COMMIT AND NO CHAIN", COMMIT_PLAIN},
	{"/* \303\244 */COMMIT", {.kind = SQL_TX_COMMIT}},
	{"COMMIT AND CHAIN", TX(.kind = SQL_TX_COMMIT, .chain = true)},
	{"end work and chain ;", TX(.kind = SQL_TX_COMMIT, .chain = true)},
	{"COMMIT CHAIN", NONE},
	{"COMMIT AND", NONE},
	{"COMMIT AND NO", NONE},
	{"COMMIT AND CHAIN WORK", NONE},
	{"COMMIT NO CHAIN", NONE},
	{"COMMIT PREPARED 'x'", NONE},
	{"COMMIT PREPARED", NONE},
	{"COMMIT TO x", NONE},
	{"COMMIT x", NONE},
	{"COMMIT;COMMIT", NONE},
	{"END IF", NONE},
	{"ROLLBACK", ROLLBACK_PLAIN},
	{"abort", ROLLBACK_PLAIN},
	{"ROLLBACK WORK", ROLLBACK_PLAIN},
	{"ABORT TRANSACTION AND NO CHAIN;", ROLLBACK_PLAIN},
	{"ROLLBACK AND CHAIN", TX(.kind = SQL_TX_ROLLBACK, .chain = true)},
	{"ABORT AND CHAIN", TX(.kind = SQL_TX_ROLLBACK, .chain = true)},
	{"ROLLBACK PREPARED 'x'", NONE},
	{"ROLLBACK; SELECT 1", NONE},
	{"ROLLBACK x", NONE},
	{"ROLLBACK TO x", ROLLBACK_TO},
	{"rollback work to savepoint x;", ROLLBACK_TO},
	{"ROLLBACK TRANSACTION TO \"a\"\"b\"", ROLLBACK_TO},
	{"ROLLBACK TO SAVEPOINT", ROLLBACK_TO},
	{"ROLLBACK TO SAVEPOINT SAVEPOINT", ROLLBACK_TO},
	{"ROLLBACK TO SAVEPOINT \"x\"", ROLLBACK_TO},
	{"ROLLBACK TO \303\244", {.kind = SQL_TX_ROLLBACK_TO}},
	{"ROLLBACK TO", NONE},
	{"ROLLBACK TO \"\"", NONE},
	{"ROLLBACK TO \"x", NONE},
	{"ROLLBACK TO U&\"x\"", NONE},
	{"ROLLBACK TO x y", NONE},
	{"ROLLBACK TO x.y", NONE},
	{"ROLLBACK TO 'x'", NONE},
	{"ROLLBACK TO 1", NONE},
	{"ROLLBACK SAVEPOINT x", NONE},
	{"ABORT TO x", NONE},
	{"PREPARE TRANSACTION 'x'", TX(.kind = SQL_TX_PREPARE)},
	{"prepare/**/transaction'';", TX(.kind = SQL_TX_PREPARE)},
	{"PREPARE TRANSACTION", NONE},
	{"PREPARE TRANSACTION x", NONE},
	{"PREPARE TRANSACTION 'x", NONE},
	{"PREPARE TRANSACTION '", NONE},
	{"PREPARE TRANSACTION 'x''y'", NONE},
	{"PREPARE TRANSACTION 'x\\'", NONE},
	{"PREPARE TRANSACTION E'x'", NONE},
	{"PREPARE TRANSACTION $$x$$", NONE},
	{"PREPARE TRANSACTION 'x'\n'y'", NONE},
	{"PREPARE TRANSACTION 'x' 'y'", NONE},
	{"PREPARE x AS SELECT 1", NONE},
	{"SELECT 1", NONE},
	{"SAVEPOINT x", NONE},
	{"RELEASE x", NONE},
	{"SET x = 1", NONE},
	{"", NONE},
	{";", NONE},
	{"-- BEGIN", NONE},
	{"/* BEGIN */", NONE},
};

static void test_tx(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(txs) / sizeof(txs[0]); i++) {
		size_t n = strlen(txs[i].text);
		char *copy = exact(txs[i].text, n);
		struct sql_tx got = sqlscan_tx(copy, n, true);
		const struct sql_tx *want = &txs[i].tx;

		if (got.kind != want->kind || got.modes != want->modes || got.standby != want->standby ||
			got.chain != want->chain || got.ascii != want->ascii)
			fail_msg("%s: %d modes %d standby %d chain %d ascii %d", txs[i].text, got.kind, got.modes,
				got.standby, got.chain, got.ascii);
		/* Nothing is known of a text that may go on. */
		assert_int_equal(sqlscan_tx(copy, n, false).kind, SQL_TX_NONE);
		free(copy);
	}
	assert_int_equal(sqlscan_tx(NULL, 0, true).kind, SQL_TX_NONE);
	assert_int_equal(sqlscan_tx("BEGIN\0x", 7, false).kind, SQL_TX_BEGIN);
}

static void test_empty(void **state)
{
	static const struct {
		const char *text;
		bool empty;
	} rows[] = {
		{"", true},
		{" \t\r\n\f", true},
		{";", true},
		{" ; ; ", true},
		{"-- x", true},
		{"--", true},
		{"/* x */", true},
		{"/* ; */;-- ;", true},
		{"/* /* x */ */", true},
		{"/* x", false},
		{"/* /* x */", false},
		{"/", false},
		{"-", false},
		{"\v", false},
		{"-- \v", true},
		{"-- \303\244", false},
		{"x", false},
		{";x", false},
		{"''", false},
		{"\"", false},
		{"-- x\ny", false},
		{"-- x\ry", false},
		{"*/", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].text);
		char *copy = exact(rows[i].text, n);

		if (sqlscan_is_empty(copy, n, true) != rows[i].empty)
			fail_msg("\"%s\"", rows[i].text);
		assert_false(sqlscan_is_empty(copy, n, false));
		free(copy);
	}
	assert_true(sqlscan_is_empty(NULL, 0, true));
	assert_true(sqlscan_is_empty(";\0x", 3, false));
}

/* ---- what a text may do to the session ---- */

static const struct {
	const char *text;
	bool sets;
} setters[] = {
	{"", false},
	{"SELECT 1", false},
	{"  select a_b, c_d from e_f where x = '_config' ;", false},
	{"INSERT INTO t VALUES (1)", false},
	{"UPDATE t SET a = 1", false},
	{"DELETE FROM t", false},
	{"WITH x AS (SELECT 1) SELECT * FROM x", false},
	{"VALUES (1)", false},
	{"SHOW x", false},
	{"(SELECT 1)", false},
	{"SELECT 1; SELECT 2", false},
	{"SELECT ';SET x = 1'", false},
	{"SELECT 1 -- ; SET x = 1", false},
	{"SELECT 1; SET x = 1", true},
	{"SET x = 1", true},
	{"SET LOCAL x = 1", true},
	{"-- x\nSET x = 1", true},
	{"set role x", true},
	{"SET SESSION AUTHORIZATION x", true},
	{"RESET x", true},
	{"RESET ALL", true},
	{"DISCARD ALL", true},
	{"COMMIT", true},
	{"end", true},
	{"ROLLBACK", true},
	{"abort", true},
	{"ROLLBACK TO x", true},
	{"PREPARE TRANSACTION 'x'", true},
	{"BEGIN", false},
	{"START TRANSACTION READ ONLY", false},
	{"SAVEPOINT x", false},
	{"RELEASE x", false},
	{"DO $$x$$", true},
	{"CALL p()", true},
	{"EXECUTE p", true},
	{"EXPLAIN ANALYZE EXECUTE p", true},
	{"FETCH c", true},
	{"move 1 in c", true},
	{"PREPARE p AS SELECT 1", false},
	{"DEALLOCATE p", false},
	{"LISTEN x", false},
	{"CREATE INDEX ON t (a)", false},
	{"CREATE TABLE t AS EXECUTE p", true},
	{"SELECT set_config('x', '1', true)", true},
	{"SELECT pg_catalog.\"set_config\"('x', '1', true)", true},
	{"SELECT SET_Config ('x', '1', true)", true},
	{"PREPARE p AS SELECT set_config('x', '1', true)", true},
	{"SELECT set_confi", false},
	{"SELECT et_config()", false},
	{"SELECT setxconfig()", false},
	{"UPDATE pg_settings SET setting = 1", true},
	{"SELECT U&\"set\\005fconfig\"('x', '1', true)", true},
	{"SELECT \v1", false}, /* a SELECT or an error */
	{"SHOW \v1", true},
	{"SET\v x = 1", true},
};

static void test_may_set(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(setters) / sizeof(setters[0]); i++) {
		size_t n = strlen(setters[i].text);
		char *copy = exact(setters[i].text, n);

		if (sqlscan_may_set(copy, n, true, true) != setters[i].sets)
			fail_msg("%s: not %d", setters[i].text, setters[i].sets);
		assert_true(sqlscan_may_set(copy, n, false, true));
		free(copy);
	}
	assert_false(sqlscan_may_set(NULL, 0, true, true));
	assert_true(sqlscan_may_set("SELECT '\\'; SET x = 1; --'", 26, true, true));
	assert_false(sqlscan_may_set("SELECT '\\'; SET x = 1; --'", 26, true, false));
}

static const struct {
	const char *text;
	bool now, now_nonstandard;
} nows[] = {
	{"", false, false},
	{"SELECT now()", false, false},
	{"SELECT $1, $2 WHERE now", false, false},
	{"SELECT 'now'", true, true},
	{"SELECT ' NOW '::timestamp", true, true},
	{"SELECT timestamp 'Today'", true, true},
	{"SELECT 'tomorrow'", true, true},
	{"SELECT 'YESTERDAY'", true, true},
	{"SELECT 'tomorrow 12:00'", true, true},
	{"SELECT '12:00 today'", true, true},
	{"SELECT 'today,12'", true, true},
	{"SELECT 'known'", false, false},
	{"SELECT 'nowhere'", false, false},
	{"SELECT 'no'", false, false},
	{"SELECT 'todays'", false, false},
	{"SELECT ''", false, false},
	{"SELECT '''now'''", true, true},
	{"SELECT 'no''w'", false, false},
	{"SELECT 'no'\n'w'", true, true},
	{"SELECT 'x' \n 'y'", true, true}, /* not told */
	{"SELECT 'no' 'w'", false, false},
	{"SELECT E'now'", true, true},
	{"SELECT e' now\\n'", true, true},
	{"SELECT E'\\tnow'", true, true},
	{"SELECT E'\\tno\\nw'", false, false},
	{"SELECT E'\\\\now'", true, true},
	{"SELECT E'x\\'y'", false, false},
	{"SELECT E'\\x6eow'", true, true},
	{"SELECT E'\\156ow'", true, true},
	{"SELECT E'no\\w'", true, true},
	{"SELECT E'\\", true, true},
	{"SELECT '\\tnow'", false, true},
	{"SELECT '\\x6eow'", false, true},
	{"SELECT N'now'", true, true},
	{"SELECT U&'x'", true, true},
	{"SELECT u&'\\006eow'", true, true},
	{"SELECT B'1', X'0f'", false, false},
	{"SELECT $$now$$", true, true},
	{"SELECT $x$ Today $x$", true, true},
	{"SELECT $x$ x $x$", false, false},
	{"SELECT $now$ x $now$", true, true}, /* its tag; no matter */
	{"SELECT \"now\"", false, false},
	{"SELECT 1 -- 'now'", false, false},
	{"SELECT 1 /* 'now' */", false, false},
	{"SELECT 'a' /* 'now' */", false, false},
	{"SELECT 'now", true, true},
	{"SELECT 'x", false, false},
	{"SELECT '", false, false},
	{"SELECT 1; SELECT 'now'", true, true},
	{"SELECT '\303\244now'", true, true},
};

static void test_has_now(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(nows) / sizeof(nows[0]); i++) {
		size_t n = strlen(nows[i].text);
		char *copy = exact(nows[i].text, n);

		if (sqlscan_has_now(copy, n, true, true) != nows[i].now)
			fail_msg("%s: not %d", nows[i].text, nows[i].now);
		if (sqlscan_has_now(copy, n, true, false) != nows[i].now_nonstandard)
			fail_msg("%s: nonstandard: not %d", nows[i].text, nows[i].now_nonstandard);
		assert_true(sqlscan_has_now(copy, n, false, true));
		free(copy);
	}
	assert_false(sqlscan_has_now(NULL, 0, true, true));
}

/* ---- prepared statements ---- */

#define X62 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	const char *text;
	enum sql_prepared kind;
	const char *as_written, *name;
} prepared[] = {
	{"SELECT 1", SQL_PREPARED_NONE, NULL, NULL},
	{"PREPARE p AS SELECT 1", SQL_PREPARED_PREPARE, "p", "p"},
	{"prepare /* x */ Abc_1$(int, text) as select 1", SQL_PREPARED_PREPARE, "Abc_1$", "abc_1$"},
	{"PREPARE\"p\"AS SELECT 1", SQL_PREPARED_PREPARE, "\"p\"", "p"},
	{"PREPARE \"P\"\" q\"\"\" AS SELECT 1", SQL_PREPARED_PREPARE, "\"P\"\" q\"\"\"", "P\" q\""},
	{"PREPARE \"\"\"\" AS SELECT 1", SQL_PREPARED_PREPARE, "\"\"\"\"", "\""},
	{"PREPARE \303\204B AS SELECT 1", SQL_PREPARED_PREPARE, "\303\204B", "\303\204b"},
	{"PREPARE " X62 "ab AS SELECT 1", SQL_PREPARED_PREPARE, X62 "ab", X62 "a"},
	{"PREPARE " X62 "a AS SELECT 1", SQL_PREPARED_PREPARE, X62 "a", X62 "a"},
	{"PREPARE " X62 "\303\244 AS SELECT 1", SQL_PREPARED_PREPARE, X62 "\303\244", X62},
	{"PREPARE x" X62 "\303\244 AS SELECT 1", SQL_PREPARED_PREPARE, "x" X62 "\303\244", "x" X62},
	{"PREPARE " X62 "\203\203 AS SELECT 1", SQL_PREPARED_PREPARE, X62 "\203\203", X62 "\203"},
	{"PREPARE x" X62 "\360\237\230\200 AS SELECT 1", SQL_PREPARED_PREPARE, "x" X62 "\360\237\230\200", "x" X62},
	{"PREPARE \"" X62 "\"\"b\" AS SELECT 1", SQL_PREPARED_PREPARE, "\"" X62 "\"\"b\"", X62 "\""},
	{"PREPARE \"\" AS SELECT 1", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"PREPARE \"p", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"PREPARE U&\"p\" AS SELECT 1", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"PREPARE 'p' AS SELECT 1", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"PREPARE", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"PREPARE TRANSACTION 'x'", SQL_PREPARED_NONE, NULL, NULL},
	{"PREPARE TRANSACTION AS SELECT 1", SQL_PREPARED_PREPARE, "TRANSACTION", "transaction"},
	{"PREPARE \"transaction\" AS SELECT 1", SQL_PREPARED_PREPARE, "\"transaction\"", "transaction"},
	{"EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"execute P(1, $$x$$)", SQL_PREPARED_EXECUTE, "P", "p"},
	{"EXECUTE -- x\n \"p\" ;", SQL_PREPARED_EXECUTE, "\"p\"", "p"},
	{"EXECUTE 1", SQL_PREPARED_UNKNOWN, NULL, NULL},
	/* Reserved words are no names unless they are quoted. */
	{"PREPARE as SELECT 1", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"PREPARE Select AS SELECT 1", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"PREPARE \"select\" AS SELECT 1", SQL_PREPARED_PREPARE, "\"select\"", "select"},
	{"EXECUTE table", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"EXECUTE tables", SQL_PREPARED_EXECUTE, "tables", "tables"},
	{"DEALLOCATE verbose", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"EXECUTE", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"DEALLOCATE p", SQL_PREPARED_DEALLOCATE, "p", "p"},
	{"DEALLOCATE PREPARE P", SQL_PREPARED_DEALLOCATE, "P", "p"},
	{"DEALLOCATE prepare", SQL_PREPARED_DEALLOCATE, "prepare", "prepare"},
	{"DEALLOCATE PREPARE PREPARE", SQL_PREPARED_DEALLOCATE, "PREPARE", "prepare"},
	{"DEALLOCATE PREPARE -- x", SQL_PREPARED_DEALLOCATE, "PREPARE", "prepare"},
	{"DEALLOCATE ALL", SQL_PREPARED_DEALLOCATE_ALL, NULL, NULL},
	{"deallocate prepare all;", SQL_PREPARED_DEALLOCATE_ALL, NULL, NULL},
	{"DEALLOCATE \"all\"", SQL_PREPARED_DEALLOCATE, "\"all\"", "all"},
	{"DEALLOCATE allx", SQL_PREPARED_DEALLOCATE, "allx", "allx"},
	{"DEALLOCATE", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"DEALLOCATE PREPARE 'x'", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"EXPLAIN EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"EXPLAIN ANALYZE EXECUTE p(1)", SQL_PREPARED_EXECUTE, "p", "p"},
	{"EXPLAIN analyse verbose EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"EXPLAIN VERBOSE EXECUTE \"p\"", SQL_PREPARED_EXECUTE, "\"p\"", "p"},
	{"EXPLAIN (ANALYZE, FORMAT json) EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"EXPLAIN ((x)) EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"EXPLAIN (SELECT 1)", SQL_PREPARED_NONE, NULL, NULL},
	{"EXPLAIN (ANALYZE", SQL_PREPARED_NONE, NULL, NULL},
	{"EXPLAIN SELECT 1 AS EXECUTE", SQL_PREPARED_NONE, NULL, NULL},
	{"EXPLAIN", SQL_PREPARED_NONE, NULL, NULL},
	{"EXPLAIN CREATE TABLE t AS EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"CREATE TABLE t AS EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"CREATE TEMP TABLE t AS EXECUTE P (1) WITH NO DATA", SQL_PREPARED_EXECUTE, "P", "p"},
	{"CREATE TABLE IF NOT EXISTS s.t (a, b) WITH (x = 1) AS/**/EXECUTE p", SQL_PREPARED_EXECUTE, "p", "p"},
	{"CREATE UNLOGGED TABLE \"as\" AS EXECUTE \"p\"", SQL_PREPARED_EXECUTE, "\"p\"", "p"},
	{"CREATE TABLE t (a int GENERATED ALWAYS AS (1) STORED)", SQL_PREPARED_NONE, NULL, NULL},
	{"CREATE TABLE t AS SELECT 1 AS EXECUTE FROM x", SQL_PREPARED_NONE, NULL, NULL},
	{"CREATE TABLE t AS SELECT 1", SQL_PREPARED_NONE, NULL, NULL},
	{"CREATE TABLE t AS", SQL_PREPARED_NONE, NULL, NULL},
	{"CREATE FUNCTION f() RETURNS int AS execute p", SQL_PREPARED_NONE, NULL, NULL},
	{"SELECT 1 AS EXECUTE", SQL_PREPARED_NONE, NULL, NULL},
	{"\vEXECUTE p", SQL_PREPARED_UNKNOWN, NULL, NULL},
	{"EXECUTE \v p", SQL_PREPARED_UNKNOWN, NULL, NULL},
};

static void test_prepared(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(prepared) / sizeof(prepared[0]); i++) {
		size_t n = strlen(prepared[i].text);
		char *copy = exact(prepared[i].text, n);
		struct sqlscan s = sqlscan_init(copy, n, true, true);
		enum sql_prepared kind;
		struct sql_name name;
		struct sql_stmt st;

		assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_STATEMENT);
		kind = sqlscan_prepared(&st, &name);
		if (kind != prepared[i].kind)
			fail_msg("%s: %d", prepared[i].text, kind);
		if (prepared[i].name != NULL) {
			assert_string_equal(name.name, prepared[i].name);
			assert_int_equal(name.len, strlen(prepared[i].as_written));
			assert_memory_equal(name.text, prepared[i].as_written, name.len);
		}
		if (prepared[i].kind == SQL_PREPARED_NONE)
			assert_false(strncasecmp(prepared[i].text, "EXECUTE", 7) == 0);
		else
			assert_false(sqlscan_is_plain(copy, n));
		free(copy);
	}
}

/* Each statement of a text in turn; of a text that goes on what is in memory. */
static void test_prepared_texts(void **state)
{
	static const char many[] = "PREPARE a AS SELECT ';'; EXECUTE a; SELECT 1; DEALLOCATE A";
	static const struct {
		const char *text;
		enum sql_prepared kind;
	} parts[] = {
		{"EXECUTE p", SQL_PREPARED_UNKNOWN},
		{"EXECUTE p ", SQL_PREPARED_EXECUTE},
		{"EXECUTE p (", SQL_PREPARED_EXECUTE},
		{"EXECUTE ", SQL_PREPARED_UNKNOWN},
		{"EXECUT", SQL_PREPARED_UNKNOWN},
		{"PREPARE p AS SELECT", SQL_PREPARED_PREPARE},
		{"PREPARE TRANSACTION ", SQL_PREPARED_UNKNOWN},
		{"CREATE TABLE t", SQL_PREPARED_UNKNOWN},
		{"EXPLAIN (ANALYZE", SQL_PREPARED_UNKNOWN},
		{"DEALLOCATE PREPARE ", SQL_PREPARED_UNKNOWN},
		{"SELECT ", SQL_PREPARED_NONE},
	};
	struct sqlscan s = sqlscan_init(many, strlen(many), true, true);
	struct sql_name name;
	struct sql_stmt st;

	(void)state;
	sqlscan_next(&s, &st);
	assert_int_equal(sqlscan_prepared(&st, &name), SQL_PREPARED_PREPARE);
	assert_ptr_equal(name.text, many + 8);
	sqlscan_next(&s, &st);
	assert_int_equal(sqlscan_prepared(&st, &name), SQL_PREPARED_EXECUTE);
	assert_ptr_equal(name.text, strstr(many, "EXECUTE") + 8);
	sqlscan_next(&s, &st);
	assert_int_equal(sqlscan_prepared(&st, &name), SQL_PREPARED_NONE);
	sqlscan_next(&s, &st);
	assert_int_equal(sqlscan_prepared(&st, &name), SQL_PREPARED_DEALLOCATE);
	assert_string_equal(name.name, "a");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		s = sqlscan_init(parts[i].text, strlen(parts[i].text), false, true);
		assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_UNKNOWN);
		if (sqlscan_prepared(&st, &name) != parts[i].kind)
			fail_msg("%s", parts[i].text);
	}
}

/* ---- changes of the session ---- */

static const struct {
	const char *text, *want;
} changes[] = {
	{"SELECT 1", ""},
	{"SET x = 1", "param:x "},
	{"set SESSION DateStyle to 'ISO'", "param:datestyle "},
	{"SET App.Tenant_Id = '1'", "param:app.tenant_id "},
	{"SET \"App\" . \"X\"\"\" = 1", "param:app.x\" "},
	{"SET SESSION session.x = 1", "param:session.x "},
	{"SET session.x = 1", "param:session.x "},
	{"SET local.x = 1", "param:local.x "},
	{"SET a.b.c TO DEFAULT", "param:a.b.c "},
	{"SET U&\"x\" = 1", "param: "},
	{"SET", "param: "},
	{"SET x.", "param: "},
	{"SET " X62 X62 "." X62 " = 1", "param:" X62 "x." X62 " "},
	{"SET " X62 "." X62 "." X62 " = 1", "param: "},
	{"SET LOCAL x = 1", ""},
	{"SET LOCAL temp.x = 1", ""},
	{"SET TRANSACTION READ ONLY", ""},
	{"SET CONSTRAINTS ALL DEFERRED", ""},
	{"SET TIME ZONE 'UTC'", "param:timezone "},
	{"SET SESSION TIME ZONE LOCAL", "param:timezone "},
	{"SET time.x = 1", "param:time.x "},
	{"SET timezone = 'UTC'", "param:timezone "},
	{"SET NAMES 'UTF8'", "param:client_encoding "},
	{"SET NAMES", "param:client_encoding "},
	{"SET SCHEMA 'x'", "param:search_path "},
	{"SET XML OPTION DOCUMENT", "param:xmloption "},
	{"SET ROLE x", "param:role "},
	{"SET SESSION ROLE none", "param:role "},
	{"SET role = x", "param:role "},
	{"SET SESSION AUTHORIZATION x", "param:session_authorization "},
	{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "param:default_transaction_read_only "},
	{"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE",
		"param:default_transaction_isolation param:default_transaction_read_only "
		"param:default_transaction_deferrable "},
	{"RESET x", "param:x "},
	{"RESET App.x", "param:app.x "},
	{"RESET ROLE", "param:role "},
	{"RESET TIME ZONE", "param:timezone "},
	{"RESET SESSION AUTHORIZATION", "param:session_authorization "},
	{"RESET TRANSACTION ISOLATION LEVEL", ""},
	{"RESET ALL", "reset_all "},
	{"RESET all.x", "param:all.x "},
	{"RESET", "param: "},
	{"DISCARD ALL", "discard_all "},
	{"DISCARD TEMP", "discard_temp "},
	{"DISCARD TEMPORARY", "discard_temp "},
	{"DISCARD PLANS", ""},
	{"LISTEN x", "listen "},
	{"UNLISTEN *", "unlisten_all "},
	{"UNLISTEN x", ""},
	{"UNLISTEN \"*\"", ""},
	{"LOAD 'x'", "load "},
	{"CLOSE ALL", "close_all "},
	{"CLOSE x", ""},
	{"CREATE TEMP TABLE x (a int)", "temp "},
	{"create local temporary table x (a int)", "temp "},
	{"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "temp "},
	{"CREATE TEMP SEQUENCE s", "temp "},
	{"CREATE TEMP TABLE x AS EXECUTE p", "temp "},
	{"CREATE TEMP TABLE x (a int) ON COMMIT DROP", ""},
	{"CREATE TEMP TABLE x ON /* c */ commit drop AS SELECT pg_advisory_lock(1)", "lock "},
	{"CREATE TEMP TABLE x (a int) ON COMMIT DELETE ROWS", "temp "},
	{"CREATE TEMP TABLE x (\"on commit drop\" text default 'ON COMMIT DROP')", "temp "},
	{"CREATE TABLE temp (a int)", ""},
	{"CREATE TABLE x (temp int)", ""},
	{"CREATE TABLE pg_temp.x (a int)", "temp "},
	{"CREATE FUNCTION pg_temp.f() RETURNS int AS 'x'", "temp "},
	{"SELECT * FROM pg_temp.x", ""},
	{"SELECT 1 INTO TEMP x", "temp "},
	{"SELECT 1 INTO TEMPORARY TABLE x", "temp "},
	{"SELECT 1 INTO LOCAL TEMP x", "temp "},
	{"WITH a AS (SELECT 1) SELECT * INTO TEMP x FROM a", "temp "},
	{"SELECT 1 INTO pg_temp.x", "temp "},
	{"SELECT 1 INTO x", ""},
	{"SELECT temp FROM x", ""},
	{"INSERT INTO temp VALUES (1)", ""},
	{"MERGE INTO temp USING x ON true WHEN MATCHED THEN DELETE", ""},
	{"SELECT 'INTO TEMP'", ""},
	{"EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1", "temp "},
	{"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "hold "},
	{"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", ""},
	{"DECLARE c CURSOR FOR WITH hold AS (SELECT 1) SELECT 1", ""},
	{"DECLARE c CURSOR FOR SELECT 1", ""},
	{"SELECT pg_advisory_lock(1)", "lock "},
	{"SELECT pg_catalog.pg_try_advisory_lock (1, 2)", "lock "},
	{"SELECT PG_ADVISORY_LOCK_SHARED(1)", "lock "},
	{"SELECT \"pg_try_advisory_lock_shared\"(1)", "lock "},
	{"SELECT \"PG_advisory_lock\"(1)", ""},
	{"SELECT pg_advisory_xact_lock(1)", ""},
	{"SELECT pg_advisory_unlock(1)", ""},
	{"SELECT pg_advisory_unlock_all()", "unlock_all "},
	{"SELECT pg_advisory_lock FROM t", ""},
	{"SELECT 'pg_advisory_lock(1)'", ""},
	{"SELECT pg_advisory_lock(1), pg_advisory_lock(2)", "lock lock "},
	{"SELECT set_config('x', '1', false)", "param:x "},
	{"SELECT pg_catalog.set_config ( 'App.X' , $1, true)", "param:app.x "},
	{"SELECT set_config('a', set_config('b', '1', false), false)", "param:a param:b "},
	{"SELECT set_config('a', '1', false), set_config($1, '1', false)", "param:a param: "},
	{"SELECT set_config('a' || 'b', '1', false)", "param: "},
	{"SELECT set_config(set_config('a', '1', false), '1', false)", "param: param:a "},
	{"SELECT set_config(E'a', '1', false)", "param: "},
	{"SELECT set_config('a''b', '1', false)", "param: "},
	{"SELECT set_config('', '1', false)", "param: "},
	{"SELECT set_config(setting_name => 'x')", "param: "},
	{"SELECT set_config()", "param: "},
	{"SELECT U&\"set\\005fconfig\"('x')", "unknown "},
	{"SELECT U&\"x\"", ""},
	{"SELECT set_config", ""},
	{"UPDATE pg_settings SET setting = 1 WHERE name = 'x'", "param: "},
	{"UPDATE pg_catalog.pg_settings SET setting = 1", "param: "},
	{"SELECT * FROM pg_settings", ""},
	{"DO $$x$$", "hidden "},
	{"CALL p()", "hidden "},
	{"EXECUTE p", "hidden "},
	{"EXPLAIN ANALYZE EXECUTE p", "hidden "},
	{"CREATE TABLE x AS EXECUTE p", "hidden "},
	{"FETCH c", "hidden "},
	{"EXPLAIN SELECT 1", ""},
	{"LISTEN\v x", "unknown "},
	{"SELECT \v 1", ""},
	{"SHOW '\v'", ""},
	{"SELECT 1; SET x = 1; LISTEN y", "param:x listen "},
};

static void note_change(void *arg, enum sql_change what, const char *param)
{
	static const char *const names[] = {
		[SQL_CHANGE_PARAM] = "param",
		[SQL_CHANGE_RESET_ALL] = "reset_all",
		[SQL_CHANGE_DISCARD_ALL] = "discard_all",
		[SQL_CHANGE_DISCARD_TEMP] = "discard_temp",
		[SQL_CHANGE_LISTEN] = "listen",
		[SQL_CHANGE_UNLISTEN_ALL] = "unlisten_all",
		[SQL_CHANGE_TEMP] = "temp",
		[SQL_CHANGE_HOLD] = "hold",
		[SQL_CHANGE_CLOSE_ALL] = "close_all",
		[SQL_CHANGE_LOCK] = "lock",
		[SQL_CHANGE_UNLOCK_ALL] = "unlock_all",
		[SQL_CHANGE_LOAD] = "load",
		[SQL_CHANGE_HIDDEN] = "hidden",
		[SQL_CHANGE_UNKNOWN] = "unknown",
	};
	char *out = arg;
	size_t len = strlen(out);

	snprintf(out + len, 400 - len, "%s%s%s ", names[what], what == SQL_CHANGE_PARAM ? ":" : "", param);
}

static void test_changes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		size_t n = strlen(changes[i].text);
		char *copy = exact(changes[i].text, n), got[400] = "";
		struct sqlscan s = sqlscan_init(copy, n, true, true);
		struct sql_stmt st;

		while (sqlscan_next(&s, &st) == SQLSCAN_STATEMENT)
			sqlscan_changes(&st, note_change, got);
		if (strcmp(got, changes[i].want) != 0)
			fail_msg("%s: %s", changes[i].text, got);
		if (got[0] != '\0')
			assert_true(sqlscan_may_change(copy, n, true));
		assert_true(sqlscan_may_change(copy, n, false));
		free(copy);
	}
	assert_false(sqlscan_may_change("select a_b from pages where x = 'now'", 37, true));
}

/* What memory cuts off may change anything. */
static void test_changes_cut(void **state)
{
	static const char *const parts[] = {
		"SELECT pg_advisory_lo", "SELECT 1", "SET x", "SET x = 1", "SELECT set_config('x'", "CREATE "};

	(void)state;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct sqlscan s = sqlscan_init(parts[i], strlen(parts[i]), false, true);
		char got[400] = "";
		struct sql_stmt st;

		assert_int_equal(sqlscan_next(&s, &st), SQLSCAN_UNKNOWN);
		sqlscan_changes(&st, note_change, got);
		assert_non_null(strstr(got, "unknown"));
	}
}

/* Wherever it stands: sixteen bytes are looked at together. */
static void test_quiet(void **state)
{
	static const struct {
		const char *text;
		bool quiet;
	} rows[] = {
		{"set_config(", false}, {"SET_CONFIG(", false}, {"Pg_Settings ", false}, {"pg_advisory_lock(", false},
		{"PG_TRY_ADVISORY_LOCK(", false}, {"pg_advisory_unlock(", false}, {"INTO TEMP ", false},
		{"into pg_temp.", false}, {"U&\"x\"", false}, {"; SET x = 1", false}, {";x", false},
		{"CURRENT_TIMESTAMP", true}, {"bucket_size, log_level, day_of, \"a\" & 1", true},
		{"attempt", false}, /* sqlscan_may_change() looks closer */
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t before = 0; before < 40; before++)
			for (size_t behind = 0; behind < 40; behind++) {
				size_t n = (size_t)snprintf(text, sizeof(text), "SELECT %.*s%s%.*s", (int)before,
					"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13", rows[i].text, (int)behind,
					", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13");
				char *copy = exact(text, n);

				if (sqlscan_is_quiet(copy, n) != rows[i].quiet)
					fail_msg("%s", text);
				if (rows[i].quiet)
					assert_false(sqlscan_may_change(copy, n, true));
				free(copy);
				if (!behind) {
					text[n] = '\0';
					copy = exact(text, n + 1);
					assert_false(sqlscan_is_quiet(copy, n + 1));
					free(copy);
				}
			}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		enum sql_refused when, nonstandard;
	} rows[] = {
		{"insert into t values (1)", SQL_REFUSED_FIRST, SQL_REFUSED_FIRST},
		{" /* x */ Update t set x = ';' ; ", SQL_REFUSED_FIRST, SQL_REFUSED_FIRST},
		{"-- x\nDELETE FROM t;;", SQL_REFUSED_FIRST, SQL_REFUSED_FIRST},
		{"merge into t using u on true when matched then delete", SQL_REFUSED_FIRST, SQL_REFUSED_FIRST},
		{"insert", SQL_REFUSED_FIRST, SQL_REFUSED_FIRST},
		{"insert into t values ('\\'; x')", SQL_REFUSED_LATE, SQL_REFUSED_FIRST},
		{"insert into t values ('\\'';')", SQL_REFUSED_FIRST, SQL_REFUSED_LATE},
		{"insert into t values ('\\')", SQL_REFUSED_FIRST, SQL_REFUSED_LATE},
		{"select 1 for update", SQL_REFUSED_SOON, SQL_REFUSED_SOON},
		{"with x as (insert into t values (1)) select 1", SQL_REFUSED_SOON, SQL_REFUSED_SOON},
		{"truncate t", SQL_REFUSED_SOON, SQL_REFUSED_SOON},
		{"create table x as select 1", SQL_REFUSED_SOON, SQL_REFUSED_SOON},
		{"VACUUM;", SQL_REFUSED_SOON, SQL_REFUSED_SOON},
		{"insert into t values (1); insert into t values (2)", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"insert into t values ('1)", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"insert into t values (1) /* ", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"insert\vinto t values (1)", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"inserts into t", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"\"insert\" into t", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"(select 1 for update)", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"explain analyze insert into t values (1)", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"execute x", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"call f()", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"do $$ begin end $$", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"declare c cursor with hold for select 1", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"fetch c", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"copy t from '/x'", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"prepare x as insert into t values (1)", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"begin", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"commit", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"set x = 1", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"listen x", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{" ; ", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
		{"", SQL_REFUSED_LATE, SQL_REFUSED_LATE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].text);
		char *copy = exact(rows[i].text, n);

		if (sqlscan_refused(copy, n, true) != rows[i].when ||
			sqlscan_refused(copy, n, false) != rows[i].nonstandard)
			fail_msg("%s", rows[i].text);
		free(copy);
	}
	/* What stands behind a NUL is nothing to the server, and such a text is not whole. */
	assert_int_equal(sqlscan_refused("insert\0x", 8, true), SQL_REFUSED_LATE);
}

static void test_copy_in(void **state)
{
	static const char *const are[] = {
		"copy t from stdin",
		" /* x */ COPY s.t (a, \"b\") From Stdin with (format csv, delimiter ';') where a > 1;; ",
		"copy binary \"x;y\".z from stdin",
		"copy t(a)from stdin",
		"copy t from stdin delimiter '\\';'",
	};
	static const char *const are_not[] = {"", "copy", "copy t", "copy t from", "copy t from stdi",
		"copy t from stdinx", "copy t from 'stdin'", "copy t from \"stdin\"", "copy t from program 'stdin'",
		"copy t to stdin", "copy t to stdout", "copy (select 1 from stdin) to stdout", "copy t (from stdin",
		"copy t () from stdin", "copy t (a,) from stdin", "copy t. from stdin", "copy from stdin",
		"copy 't' from stdin", "copy t from stdin; select 1", "select 1; copy t from stdin",
		"; copy t from stdin", "copy t from stdin 'x", "copy t from stdin /*", "copy\vt from stdin",
		"copied t from stdin", "\"copy\" t from stdin", "insert into copy select 1 from stdin",
		"prepare x as copy t from stdin"};

	(void)state;
	for (size_t i = 0; i < sizeof(are) / sizeof(are[0]); i++) {
		char *copy = exact(are[i], strlen(are[i]));

		if (!sqlscan_is_copy_in(copy, strlen(are[i]), i < 4))
			fail_msg("%s", are[i]);
		free(copy);
	}
	for (size_t i = 0; i < sizeof(are_not) / sizeof(are_not[0]); i++) {
		char *copy = exact(are_not[i], strlen(are_not[i]));

		if (sqlscan_is_copy_in(copy, strlen(are_not[i]), true))
			fail_msg("%s", are_not[i]);
		free(copy);
	}
	assert_false(sqlscan_is_copy_in("copy t from stdin\0x", 19, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_harmless),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_may_commit),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_tx),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_may_set),
		cmocka_unit_test(test_has_now),
		cmocka_unit_test(test_prepared),
		cmocka_unit_test(test_prepared_texts),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_changes_cut),
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_copy_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
