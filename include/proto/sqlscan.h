/*
 * sqlscan: PostgreSQL's lexical rules and nothing of its grammar (manual, 4.1):
 * nested comments, quotes, E'' and dollar quotes, standard_conforming_strings,
 * ';'. It gives the class of each statement from its first words. All
 * knowledge of SQL's words stands here and in tbl/statements.h.
 *
 * A text that the server would not parse gets some answer, never a fault: the
 * server runs nothing of it. A text is taken as if it were in an encoding
 * whose bytes over 127 stand apart from ASCII, as UTF-8's do.
 */
#ifndef PSBOUNCER_PROTO_SQLSCAN_H
#define PSBOUNCER_PROTO_SQLSCAN_H

#include <stdbool.h>
#include <stddef.h>

/* Classes, from tbl/statements.h: STMT_BEGIN, STMT_COMMIT, ..., STMT_OTHER. */
enum stmt_class {
	STMT_OTHER,
#define STATEMENT(name, words, ends_transaction, sets, change) STMT_##name,
#define SPELLING(name, words)
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
	STMT_CLASSES
};

struct sqlscan {
	const char *p, *end;
	bool whole;    /* the text ends where memory ends */
	bool standard; /* standard_conforming_strings */
	bool open;     /* a quote or comment was met that nothing closes: to the server a syntax error */
};

enum sqlscan_result {
	SQLSCAN_STATEMENT, /* one that is not empty */
	SQLSCAN_END,	   /* no more */
	SQLSCAN_UNKNOWN	   /* the text goes on beyond what is in memory, in a way that matters */
};

/*
 * One statement: its class, where its first word begins and its last one ends
 * (without the ';'; at UNKNOWN: where memory ends). A statement with a vertical
 * tab outside of quotes and comments is white space to some servers and a
 * syntax error to others: its class is STMT_OTHER.
 */
struct sql_stmt {
	enum stmt_class class;
	const char *text;
	size_t len;
	bool to_default; /* SET ... TO DEFAULT, SET ... = DEFAULT */
	bool whole;	 /* it ends at a ';' or at the text's end, not where memory ends */
	bool standard;
};

/* n bytes of a query's text; whole: that is all of it. A NUL ends it, and then it is whole. */
struct sqlscan sqlscan_init(const char *text, size_t n, bool whole, bool standard);
/*
 * The next statement that is not empty. After UNKNOWN or END it stays so. With UNKNOWN st->class is set if the first
 * words and what follows them are in memory, else it is STMT_OTHER. With END *st is an empty statement.
 */
enum sqlscan_result sqlscan_next(struct sqlscan *s, struct sql_stmt *st);

/*
 * A cheap look at a whole text, which needs no more of the lexical rules: true when it is one statement whose first letter
 * says that sqlscan_may_commit() would be false.
 */
bool sqlscan_is_harmless(const char *text, size_t n);

/*
 * Could running this text commit something by a statement that ends a
 * transaction (COMMIT, END, PREPARE TRANSACTION, COMMIT / ROLLBACK PREPARED)? True
 * also when it cannot be told.
 */
bool sqlscan_may_commit(const char *text, size_t n, bool whole, bool standard);

/*
 * The shape of a text that is one statement that begins or ends a transaction, or goes back in it, exactly as the
 * server's grammar has it, with blanks, comments and empty statements around it. SQL_TX_NONE: anything else, and what
 * is not whole or has a vertical tab.
 */
enum sql_tx_kind {
	SQL_TX_NONE,
	SQL_TX_BEGIN,	    /* BEGIN [WORK|TRANSACTION] [modes] */
	SQL_TX_START,	    /* START TRANSACTION [modes] */
	SQL_TX_COMMIT,	    /* COMMIT or END [WORK|TRANSACTION] [AND [NO] CHAIN] */
	SQL_TX_ROLLBACK,    /* ROLLBACK or ABORT, likewise */
	SQL_TX_ROLLBACK_TO, /* ROLLBACK [WORK|TRANSACTION] TO [SAVEPOINT] x; x may be reserved: a syntax error */
	SQL_TX_PREPARE	    /* PREPARE TRANSACTION and a literal in plain quotes without a backslash */
};

struct sql_tx {
	enum sql_tx_kind kind;
	bool modes;   /* BEGIN, START: there are some ... */
	bool standby; /* ... and none is READ WRITE or SERIALIZABLE, which a standby refuses; true without any */
	bool chain;   /* COMMIT, ROLLBACK: AND CHAIN */
	bool ascii;   /* no byte over 127 stands in a comment or name: then the text is right in every encoding */
};

/* A text that is none is told at its first word, a SELECT by its first two letters. */
struct sql_tx sqlscan_tx(const char *text, size_t n, bool whole);

/* A cheap look: false if its first letters say that it is none. */
bool sqlscan_may_be_tx(const char *text, size_t n);

/* Nothing but blanks, comments and ';'? Not with a byte over 127, which might be wrong in the text's encoding. */
bool sqlscan_is_empty(const char *text, size_t n, bool whole);

/*
 * A cheap look: is all of it one statement whose first word is SELECT, INSERT, UPDATE, DELETE, WITH or VALUES? Then
 * none that names a prepared statement.
 */
bool sqlscan_is_plain(const char *text, size_t n);

/*
 * The same, and none of the words is in it by which sqlscan_may_set() or sqlscan_may_change() could be true either, and no
 * NUL: the text is n bytes long.
 */
bool sqlscan_is_quiet(const char *text, size_t n);
/* Does it run what may end transactions itself: CALL, DO? */
bool sqlscan_calls(const struct sql_stmt *st);

/*
 * Might running this text give parameters of the session other values, reported ones or not, within the transaction or
 * beyond: by a statement (column sets of tbl/statements.h), set_config() or an UPDATE of pg_settings? True also when it
 * cannot be told. What a function does inside cannot be seen. A plain text costs a few memchr().
 */
bool sqlscan_may_set(const char *text, size_t n, bool whole, bool standard);

/*
 * Does it hold a literal in which one of the words now, today, tomorrow, yesterday stands, which the server may turn
 * into a time when it parses? True also when it cannot be told. A text without literals costs two memchr().
 */
bool sqlscan_has_now(const char *text, size_t n, bool whole, bool standard);

/*
 * SQL that names a prepared statement: PREPARE, EXECUTE, DEALLOCATE; EXPLAIN and CREATE TABLE ... AS with an
 * EXECUTE in them are SQL_PREPARED_EXECUTE too. UNKNOWN: it is or may be one, but its name cannot be read: it is cut
 * off by the end of memory, has escapes (U&""), or is none.
 */
enum sql_prepared {
	SQL_PREPARED_NONE,
	SQL_PREPARED_PREPARE,
	SQL_PREPARED_EXECUTE,
	SQL_PREPARED_DEALLOCATE,
	SQL_PREPARED_DEALLOCATE_ALL,
	SQL_PREPARED_UNKNOWN
};

enum { SQL_NAME = 64 };

struct sql_name {
	const char *text; /* in the scanned text, as written, with its quotes */
	size_t len;
	char name[SQL_NAME]; /* as the server takes it: folded or without quotes, at most 63 bytes, cut as UTF-8 is */
};

/* Of a statement that sqlscan_next() gave, at UNKNOWN too. *n counts for PREPARE, EXECUTE, DEALLOCATE only. */
enum sql_prepared sqlscan_prepared(const struct sql_stmt *st, struct sql_name *n);

/*
 * When does a server in recovery refuse a text of n bytes as one that writes (25006)? It is told by the first word of the one
 * statement in it.
 */
enum sql_refused {
	SQL_REFUSED_LATE, /* something of it may have run by then; also what is not one statement, or cannot be told */
	SQL_REFUSED_SOON, /* before anything of it has run, if it was a Query and no description of rows came first */
	SQL_REFUSED_FIRST /* before anything of it has run: INSERT, UPDATE, DELETE, MERGE */
};
enum sql_refused sqlscan_refused(const char *text, size_t n, bool standard);

/* Is a text of n bytes one COPY ... FROM STDIN (55.2.6)? False also when it cannot be told. */
bool sqlscan_is_copy_in(const char *text, size_t n, bool standard);

/* What a statement changes in its session beyond its transaction, or may change if it is committed. */
enum sql_change {
	SQL_CHANGE_NONE,	 /* never told */
	SQL_CHANGE_PARAM,	 /* SET (not LOCAL), RESET, set_config() (true too), UPDATE of pg_settings */
	SQL_CHANGE_RESET_ALL,	 /* RESET ALL */
	SQL_CHANGE_DISCARD_ALL,	 /* DISCARD ALL */
	SQL_CHANGE_DISCARD_TEMP, /* DISCARD TEMP */
	SQL_CHANGE_LISTEN,	 /* LISTEN */
	SQL_CHANGE_UNLISTEN_ALL, /* UNLISTEN * */
	SQL_CHANGE_TEMP,	 /* CREATE TEMP ... without ON COMMIT DROP, SELECT INTO TEMP, CREATE ... pg_temp.x */
	SQL_CHANGE_HOLD,	 /* DECLARE ... WITH HOLD */
	SQL_CHANGE_CLOSE_ALL,	 /* CLOSE ALL */
	SQL_CHANGE_LOCK,	 /* pg_[try_]advisory_lock[_shared]() */
	SQL_CHANGE_UNLOCK_ALL,	 /* pg_advisory_unlock_all() */
	SQL_CHANGE_LOAD,	 /* LOAD */
	SQL_CHANGE_HIDDEN,	 /* runs what is not in the text: DO, CALL, EXECUTE, FETCH, MOVE */
	SQL_CHANGE_UNKNOWN	 /* cannot be told: memory ends, a vertical tab, a function's name with escapes */
};

enum { SQL_PARAM = 128 };

/* param: in lower case, for SQL_CHANGE_PARAM; "": it cannot be read, or is longer than SQL_PARAM - 1. Else "". */
typedef void sql_change_fn(void *arg, enum sql_change what, const char *param);

/* Tells all changes of a statement that sqlscan_next() gave (at UNKNOWN too), in their order in the text. */
void sqlscan_changes(const struct sql_stmt *st, sql_change_fn *fn, void *arg);

/* A cheap look: false if no statement of the text would be told of. A plain text costs a few memchr(). */
bool sqlscan_may_change(const char *text, size_t n, bool whole);

#endif
