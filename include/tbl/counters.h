/*
 * What is counted for each database, in the order of SHOW STATS. A row gives
 * total_NAME, avg_NAME and the lines of SHOW TOTALS.
 * COUNTER(field, "stats name", "average's name", "totals name", per)
 *   per  SECOND: the average is a rate a second; XACT, QUERY: divided by their number
 */
COUNTER(assignments, "server_assignment_count", "server_assignment_count", "server_assignment_count", SECOND)
COUNTER(xacts, "xact_count", "xact_count", "xact_count", SECOND)
COUNTER(queries, "query_count", "query_count", "query_count", SECOND)
COUNTER(received, "received", "recv", "client_bytes", SECOND)
COUNTER(sent, "sent", "sent", "server_bytes", SECOND)
COUNTER(xact_us, "xact_time", "xact_time", "xact_time", XACT)
COUNTER(query_us, "query_time", "query_time", "query_time", QUERY)
COUNTER(wait_us, "wait_time", "wait_time", "wait_time", SECOND)
COUNTER(client_parses, "client_parse_count", "client_parse_count", "ps_client_parse_count", SECOND)
COUNTER(server_parses, "server_parse_count", "server_parse_count", "ps_server_parse_count", SECOND)
COUNTER(binds, "bind_count", "bind_count", "ps_bind_count", SECOND)
COUNTER(logins, "client_login_count", "client_login_count", "client_login_count", SECOND)
