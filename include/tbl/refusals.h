/*
 * Requests that the pooler refuses itself, in the middle of a batch or alone.
 * REFUSAL(NAME, code, text, hint)
 */
REFUSAL(NAMED_STATEMENT, "0A000", "named prepared statements are not supported in this pool mode",
	"Set max_prepared_statements, or use pool_mode=session or unnamed statements.")
