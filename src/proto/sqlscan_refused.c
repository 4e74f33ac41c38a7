/*
 * sqlscan_refused: when a server in recovery refuses a text as one that writes.
 * Called to run it again elsewhere, so that nothing of it may have run by then.
 * What the server does when stands here (execMain.c: ExecCheckXactReadOnly;
 * utility.c: ClassifyUtilityCommandAsReadOnly, PreventCommandDuringRecovery).
 */
#include "proto/sqlscan.h"

#include <string.h>

#include "sqlscan_priv.h"

enum { WORD = 12 };

static const char first[][WORD] = {"INSERT", "UPDATE", "DELETE", "MERGE"};

/*
 * Not those that a standby runs, whatever they call: EXPLAIN, EXECUTE, CALL, DO, DECLARE, FETCH, COPY. A query is checked
 * before it describes its rows.
 */
static const char soon[][WORD] = {"SELECT", "WITH", "VALUES", "TABLE", "TRUNCATE", "CREATE", "ALTER", "DROP", "COMMENT",
	"GRANT", "REVOKE", "REASSIGN", "SECURITY", "IMPORT", "REINDEX", "CLUSTER", "VACUUM", "ANALYZE", "ANALYSE",
	"REFRESH", "NOTIFY"};

static bool is_among(const struct token *t, const char (*words)[WORD], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (sqlscan_token_is(t, words[i], strlen(words[i])))
			return true;
	return false;
}

enum sql_refused sqlscan_refused(const char *text, size_t n, bool standard)
{
	struct sql_stmt st;
	struct sqlscan s;
	struct token t;

	if (!sqlscan_is_one(text, n, standard, &st))
		return SQL_REFUSED_LATE;
	s = sqlscan_of(&st);
	t = sqlscan_token(&s);
	if (is_among(&t, first, sizeof first / sizeof first[0]))
		return SQL_REFUSED_FIRST;
	return is_among(&t, soon, sizeof soon / sizeof soon[0]) ? SQL_REFUSED_SOON : SQL_REFUSED_LATE;
}
