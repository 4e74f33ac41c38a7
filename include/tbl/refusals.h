/*
 * Requests that the pooler refuses itself, in the middle of a batch or alone.
 * REFUSAL(NAME, code, text, hint, routine)
 *   routine  field R, by which drivers tell errors apart; NULL: psbouncer
 */
REFUSAL(NAMED_STATEMENT, "0A000", "named prepared statements are not supported in this pool mode",
	"Set max_prepared_statements, or use pool_mode=session or unnamed statements.", NULL)
REFUSAL(TOO_LARGE, "54000", "message is larger than max_packet_size", "max_packet_size is the limit.", NULL)
REFUSAL(NAME_TOO_LONG, "54000", "a name in the message is too long",
	"The names of a statement and its portal may have 10000 bytes.", NULL)
REFUSAL(PINNED, "53400", "too many pinned server connections (max_pinned)",
	"SHOW PINS tells who keeps them. Raise max_pinned, or use pool_mode=session.", NULL)
REFUSAL(SIMPLE_QUERY, "0A000", "simple queries are not allowed (disable_pqexec)",
	"Use the extended protocol, as PQexecParams does.", NULL)
REFUSAL(STALE, "0A000", "cached plan must not change result type", NULL, "RevalidateCachedQuery")
