/*
 * sqlscan_tx: texts that are one transaction statement, and empty ones. Called
 * to answer in the server's place, so what is said to be of a shape must be what
 * every server takes for it: the few rules of its grammar (gram.y:
 * TransactionStmt) stand here.
 */
#include "proto/sqlscan.h"

#include <string.h>

#include "sqlscan_priv.h"

static void accept_work(struct sql_reader *r)
{
	if (!ACCEPT(r, "WORK"))
		(void)ACCEPT(r, "TRANSACTION");
}

/* One mode; false: it is none. */
static bool read_mode(struct sql_reader *r, struct sql_tx *tx)
{
	if (ACCEPT(r, "READ")) {
		if (ACCEPT(r, "ONLY"))
			return true;
		tx->standby = false;
		return ACCEPT(r, "WRITE");
	}
	if (ACCEPT(r, "ISOLATION")) {
		if (!ACCEPT(r, "LEVEL"))
			return false;
		if (ACCEPT(r, "READ"))
			return ACCEPT(r, "COMMITTED") || ACCEPT(r, "UNCOMMITTED");
		if (ACCEPT(r, "REPEATABLE"))
			return ACCEPT(r, "READ");
		tx->standby = false;
		return ACCEPT(r, "SERIALIZABLE");
	}
	(void)ACCEPT(r, "NOT");
	return ACCEPT(r, "DEFERRABLE");
}

/* Commas may stand between two modes, not in front or behind. */
static bool read_modes(struct sql_reader *r, struct sql_tx *tx)
{
	bool comma = false;

	tx->standby = true;
	while (comma || r->t.kind == TOK_WORD) {
		if (!read_mode(r, tx))
			return false;
		tx->modes = true;
		comma = r->t.kind == TOK_COMMA;
		if (comma)
			sqlscan_read(r);
	}
	return true;
}

static bool read_chain(struct sql_reader *r, struct sql_tx *tx)
{
	if (!ACCEPT(r, "AND"))
		return true;
	tx->chain = !ACCEPT(r, "NO");
	return ACCEPT(r, "CHAIN");
}

static bool read_savepoint(struct sql_reader *r)
{
	/* SAVEPOINT is a name too when none follows. */
	if (ACCEPT(r, "SAVEPOINT") && r->t.kind != TOK_WORD && r->t.kind != TOK_QUOTED)
		return true;
	/* An empty name is none; U& wants more rules than are worth having. */
	if (r->t.kind != TOK_WORD && !(r->t.kind == TOK_QUOTED && r->t.text[0] == '"' && r->t.len > 2))
		return false;
	sqlscan_read(r);
	return true;
}

static bool read_gid(struct sql_reader *r)
{
	const struct token t = r->t;

	if (t.kind != TOK_STRING || t.text[0] != '\'' || t.len < 2 || memchr(t.text, '\\', t.len) != NULL ||
		memchr(t.text + 1, '\'', t.len - 1) != t.text + t.len - 1)
		return false;
	sqlscan_read(r);
	return true;
}

static bool read_tx(struct sql_reader *r, struct sql_tx *tx)
{
	if (ACCEPT(r, "BEGIN")) {
		tx->kind = SQL_TX_BEGIN;
		accept_work(r);
		return read_modes(r, tx);
	}
	if (ACCEPT(r, "START")) {
		tx->kind = SQL_TX_START;
		return ACCEPT(r, "TRANSACTION") && read_modes(r, tx);
	}
	if (ACCEPT(r, "COMMIT") || ACCEPT(r, "END")) {
		tx->kind = SQL_TX_COMMIT;
		accept_work(r);
		return read_chain(r, tx);
	}
	if (ACCEPT(r, "ABORT")) {
		tx->kind = SQL_TX_ROLLBACK;
		accept_work(r);
		return read_chain(r, tx);
	}
	if (ACCEPT(r, "ROLLBACK")) {
		tx->kind = SQL_TX_ROLLBACK;
		accept_work(r);
		if (!ACCEPT(r, "TO"))
			return read_chain(r, tx);
		tx->kind = SQL_TX_ROLLBACK_TO;
		return read_savepoint(r);
	}
	if (ACCEPT(r, "PREPARE")) {
		tx->kind = SQL_TX_PREPARE;
		return ACCEPT(r, "TRANSACTION") && read_gid(r);
	}
	return false;
}

bool sqlscan_may_be_tx(const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end && sql_is_space(*p))
		p++;
	if (p == end)
		return false;
	switch (*p) {
	case 's':
	case 'S': return end - p >= 2 && sql_upper(p[1]) == 'T';
	case '-':
	case '/':
	case ';': return true;
	default: return *p != '\0' && strchr("BCERAP", sql_upper(*p)) != NULL;
	}
}

static bool is_ascii(const char *p, const char *end)
{
	for (; p < end; p++)
		if ((unsigned char)*p >= 0x80)
			return false;
	return true;
}

static void skip_empty(struct sql_reader *r)
{
	while (r->t.kind == TOK_SEMI)
		sqlscan_read(r);
}

static inline bool is_word(const char *text, size_t n, const char *word, size_t len)
{
	if (n != len)
		return false;
	for (size_t i = 0; i < n; i++)
		if (sql_upper(text[i]) != word[i])
			return false;
	return true;
}

#define IS_WORD(text, n, word) is_word(text, n, word, sizeof(word) - 1)

/* Most of them are one word, and a ';' perhaps. SQL_TX_NONE says nothing. */
static enum sql_tx_kind one_word(const char *text, size_t n)
{
	if (text[n - 1] == ';')
		n--;
	if (IS_WORD(text, n, "BEGIN"))
		return SQL_TX_BEGIN;
	if (IS_WORD(text, n, "COMMIT") || IS_WORD(text, n, "END"))
		return SQL_TX_COMMIT;
	return IS_WORD(text, n, "ROLLBACK") || IS_WORD(text, n, "ABORT") ? SQL_TX_ROLLBACK : SQL_TX_NONE;
}

struct sql_tx sqlscan_tx(const char *text, size_t n, bool whole)
{
	struct sql_tx tx = {.kind = SQL_TX_NONE};
	struct sql_reader r;

	if (n == 0 || !sqlscan_may_be_tx(text, n))
		return tx;
	tx.kind = whole ? one_word(text, n) : SQL_TX_NONE;
	if (tx.kind != SQL_TX_NONE) {
		tx.standby = tx.kind == SQL_TX_BEGIN;
		tx.ascii = true;
		return tx;
	}
	r.s = sqlscan_init(text, n, whole, true); /* of a text with a backslash nothing is said */
	if (!r.s.whole)
		return tx;
	sqlscan_read(&r);
	skip_empty(&r);
	if (!read_tx(&r, &tx))
		return (struct sql_tx){.kind = SQL_TX_NONE};
	skip_empty(&r);
	if (r.t.kind != TOK_END || r.s.open)
		return (struct sql_tx){.kind = SQL_TX_NONE};
	tx.ascii = is_ascii(text, r.s.end);
	return tx;
}

bool sqlscan_is_empty(const char *text, size_t n, bool whole)
{
	struct sql_reader r;

	if (n > 0 && sql_upper(*text) >= 'A' && sql_upper(*text) <= 'Z')
		return false;
	r.s = sqlscan_init(text, n, whole, true);
	if (!r.s.whole)
		return false;
	sqlscan_read(&r);
	skip_empty(&r);
	return r.t.kind == TOK_END && !r.s.open && (n == 0 || is_ascii(text, r.s.end));
}
