/*
 * sqlscan_copy: texts that are one COPY whose data the client sends. Called to say
 * that nothing of it is committed before their end has come, so it is told of no
 * other: the rules of the grammar (gram.y: CopyStmt) stand here.
 */
#include "proto/sqlscan.h"

#include "sqlscan_priv.h"

static bool read_identifier(struct sql_reader *r)
{
	if (r->t.kind != TOK_WORD && r->t.kind != TOK_QUOTED)
		return false;
	sqlscan_read(r);
	return true;
}

static bool read_table(struct sql_reader *r)
{
	while (read_identifier(r)) {
		if (r->t.kind != TOK_DOT)
			return true;
		sqlscan_read(r);
	}
	return false;
}

static bool read_columns(struct sql_reader *r)
{
	do {
		sqlscan_read(r);
		if (!read_identifier(r))
			return false;
	} while (r->t.kind == TOK_COMMA);
	if (r->t.kind != TOK_CLOSE)
		return false;
	sqlscan_read(r);
	return true;
}

bool sqlscan_is_copy_in(const char *text, size_t n, bool standard)
{
	struct sql_reader r = {.s = sqlscan_init(text, n, true, standard)};
	struct sql_stmt st;

	sqlscan_read(&r);
	if (!ACCEPT(&r, "COPY"))
		return false;
	(void)ACCEPT(&r, "BINARY");
	if (!read_table(&r) || (r.t.kind == TOK_OPEN && !read_columns(&r)))
		return false;
	return ACCEPT(&r, "FROM") && ACCEPT(&r, "STDIN") && sqlscan_is_one(text, n, standard, &st);
}
