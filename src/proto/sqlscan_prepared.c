/*
 * sqlscan_prepared: the statements of SQL that name a prepared statement, and
 * where in them the name stands. Called so that the name can be replaced by the
 * one that a server has.
 */
#include "proto/sqlscan.h"

#include <string.h>

#include "sqlscan_priv.h"

/* Where to cut so that no character of UTF-8 is, as the server does; most, if it is none of UTF-8. */
static size_t cut_place(const char *s, size_t most)
{
	size_t place = most;

	while (place > 0 && most - place < 3 && ((unsigned char)s[place] & 0xc0) == 0x80)
		place--;
	return (unsigned char)s[place] >= 0xc0 ? place : most;
}

bool sqlscan_fold(const struct token *t, char *out, size_t size)
{
	const char *p = t->text, *end = p + t->len;
	bool quoted = t->kind == TOK_QUOTED;
	size_t len = 0;

	/* With U& what follows may say that any character escapes; without its end it is none. */
	if (quoted && (*p != '"' || t->len < 3 || end[-1] != '"'))
		return false;
	for (p += quoted, end -= quoted; p < end && len < size; p++) {
		out[len++] = quoted ? *p : sql_lower(*p);
		p += quoted && *p == '"'; /* doubled */
	}
	if (len == size)
		len = cut_place(out, size - 1);
	out[len] = '\0';
	return true;
}

/* What cannot be a name without quotes (appendix C of the manual: reserved in PostgreSQL, whatever else they can be). */
static const char *const reserved[] = {"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
	"both", "case", "cast", "check", "collate", "column", "constraint", "create", "current_catalog", "current_date",
	"current_role", "current_time", "current_timestamp", "current_user", "default", "deferrable", "desc",
	"distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "from", "grant", "group",
	"having", "in", "initially", "intersect", "into", "lateral", "leading", "limit", "localtime", "localtimestamp",
	"not", "null", "offset", "on", "only", "or", "order", "placing", "primary", "references", "returning", "select",
	"session_user", "some", "symmetric", "table", "then", "to", "trailing", "true", "union", "unique", "user",
	"using", "variadic", "when", "where", "window", "with", "authorization", "binary", "collation", "concurrently",
	"cross", "current_schema", "freeze", "full", "ilike", "inner", "is", "isnull", "join", "left", "like",
	"natural", "notnull", "outer", "overlaps", "right", "similar", "tablesample", "verbose"};

static bool is_reserved(const char *name)
{
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (strcmp(name, reserved[i]) == 0)
			return true;
	return false;
}

static enum sql_prepared read_name(struct sql_reader *r, enum sql_prepared kind, struct sql_name *n)
{
	if (r->t.kind != TOK_WORD && r->t.kind != TOK_QUOTED)
		return SQL_PREPARED_UNKNOWN;
	if (!sqlscan_fold(&r->t, n->name, sizeof(n->name)))
		return SQL_PREPARED_UNKNOWN;
	if (r->t.kind == TOK_WORD && is_reserved(n->name))
		return SQL_PREPARED_UNKNOWN;
	n->text = r->t.text;
	n->len = r->t.len;
	return kind;
}

/* Behind PREPARE. TRANSACTION is a name too when no literal follows. */
static enum sql_prepared read_prepare(struct sql_reader *r, struct sql_name *n)
{
	enum sql_prepared kind = read_name(r, SQL_PREPARED_PREPARE, n);

	if (!ACCEPT(r, "TRANSACTION"))
		return kind;
	return r->t.kind == TOK_STRING ? SQL_PREPARED_NONE : r->t.kind == TOK_CUT ? SQL_PREPARED_UNKNOWN : kind;
}

/* Behind DEALLOCATE. PREPARE is a name too when nothing follows, ALL is none. */
static enum sql_prepared read_deallocate(struct sql_reader *r, struct sql_name *n)
{
	enum sql_prepared kind = read_name(r, SQL_PREPARED_DEALLOCATE, n);

	if (ACCEPT(r, "PREPARE") && r->t.kind != TOK_END)
		kind = read_name(r, SQL_PREPARED_DEALLOCATE, n);
	return TOKEN_IS(&r->t, "ALL") ? SQL_PREPARED_DEALLOCATE_ALL : kind;
}

/* Behind CREATE: ... TABLE ... AS EXECUTE name, where the first AS outside of parentheses counts. */
static enum sql_prepared read_create(struct sql_reader *r, struct sql_name *n)
{
	size_t parens = 0;

	for (; r->t.kind != TOK_END; sqlscan_read(r)) {
		if (r->t.kind == TOK_CUT)
			return SQL_PREPARED_UNKNOWN;
		if (r->t.kind == TOK_OPEN)
			parens++;
		else if (r->t.kind == TOK_CLOSE && parens > 0)
			parens--;
		else if (parens == 0 && TOKEN_IS(&r->t, "AS"))
			break;
	}
	if (!ACCEPT(r, "AS"))
		return SQL_PREPARED_NONE;
	if (r->t.kind == TOK_CUT)
		return SQL_PREPARED_UNKNOWN;
	return ACCEPT(r, "EXECUTE") ? read_name(r, SQL_PREPARED_EXECUTE, n) : SQL_PREPARED_NONE;
}

/* Behind EXPLAIN. */
static enum sql_prepared read_explain(struct sql_reader *r, struct sql_name *n)
{
	if (r->t.kind == TOK_OPEN) {
		size_t parens = 0;

		do {
			parens += r->t.kind == TOK_OPEN;
			parens -= r->t.kind == TOK_CLOSE;
			sqlscan_read(r);
		} while (parens > 0 && r->t.kind != TOK_END && r->t.kind != TOK_CUT);
	} else {
		if (!ACCEPT(r, "ANALYZE"))
			(void)ACCEPT(r, "ANALYSE");
		(void)ACCEPT(r, "VERBOSE");
	}
	if (r->t.kind == TOK_CUT)
		return SQL_PREPARED_UNKNOWN;
	if (ACCEPT(r, "EXECUTE"))
		return read_name(r, SQL_PREPARED_EXECUTE, n);
	return ACCEPT(r, "CREATE") ? read_create(r, n) : SQL_PREPARED_NONE;
}

enum sql_prepared sqlscan_prepared(const struct sql_stmt *st, struct sql_name *n)
{
	struct sql_reader r = {.s = sqlscan_of(st)};

	*n = (struct sql_name){.text = st->text};
	sqlscan_read(&r);
	if (ACCEPT(&r, "PREPARE"))
		return read_prepare(&r, n);
	if (ACCEPT(&r, "EXECUTE"))
		return read_name(&r, SQL_PREPARED_EXECUTE, n);
	if (ACCEPT(&r, "DEALLOCATE"))
		return read_deallocate(&r, n);
	if (ACCEPT(&r, "EXPLAIN"))
		return read_explain(&r, n);
	if (ACCEPT(&r, "CREATE"))
		return st->class == STMT_CREATE_ROUTINE ? SQL_PREPARED_NONE : read_create(&r, n);
	return r.t.kind == TOK_CUT || r.t.kind == TOK_VTAB ? SQL_PREPARED_UNKNOWN : SQL_PREPARED_NONE;
}
