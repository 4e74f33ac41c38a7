/*
 * Every message of protocol 3 (PostgreSQL manual, 55.7), who sends it, and what
 * must be in memory before its handler is asked. A type that is not here is an
 * error on that connection.
 *
 * MESSAGE(side, type, NAME, need, n, min, max)
 *   side  F: clients send it, B: servers send it
 *   need  NONE        only the header
 *         FIRST n     the first n bytes of the payload, or all of it if shorter
 *         CSTR n      up to and with the n-th NUL, within the first 8 KB
 *         TAGGED n    as CSTR, after one leading byte
 *         ALL n       the whole payload, which is at most n bytes long
 *   min max  bounds of the payload's length; max 0: none but the protocol's (1 GB)
 */
MESSAGE(F, 'Q', QUERY, FIRST, 512, 1, 0)
MESSAGE(F, 'P', PARSE, CSTR, 1, 4, 0)
MESSAGE(F, 'B', BIND, CSTR, 2, 8, 0)
MESSAGE(F, 'D', DESCRIBE, TAGGED, 1, 2, 0)
MESSAGE(F, 'E', EXECUTE, CSTR, 1, 5, 0)
MESSAGE(F, 'C', CLOSE, TAGGED, 1, 2, 0)
MESSAGE(F, 'S', SYNC, NONE, 0, 0, 0)
MESSAGE(F, 'H', FLUSH, NONE, 0, 0, 0)
MESSAGE(F, 'F', FUNCTION_CALL, NONE, 0, 10, 0)
MESSAGE(F, 'd', COPY_DATA, NONE, 0, 0, 0)
MESSAGE(F, 'c', COPY_DONE, NONE, 0, 0, 0)
MESSAGE(F, 'f', COPY_FAIL, NONE, 0, 1, 0)
MESSAGE(F, 'X', TERMINATE, NONE, 0, 0, 0)
MESSAGE(F, 'p', PASSWORD, ALL, 66000, 0, 66000)

MESSAGE(B, 'R', AUTHENTICATION, ALL, 65536, 4, 65536)
MESSAGE(B, 'K', BACKEND_KEY_DATA, ALL, 260, 8, 260)
MESSAGE(B, 'S', PARAMETER_STATUS, ALL, 65536, 2, 65536)
MESSAGE(B, 'v', NEGOTIATE_PROTOCOL_VERSION, ALL, 65536, 8, 65536)
MESSAGE(B, 'Z', READY_FOR_QUERY, FIRST, 1, 1, 1)
MESSAGE(B, 'E', ERROR_RESPONSE, FIRST, 512, 1, 0)
MESSAGE(B, 'N', NOTICE_RESPONSE, FIRST, 512, 1, 0)
MESSAGE(B, 'C', COMMAND_COMPLETE, CSTR, 1, 1, 0)
MESSAGE(B, '1', PARSE_COMPLETE, NONE, 0, 0, 0)
MESSAGE(B, '2', BIND_COMPLETE, NONE, 0, 0, 0)
MESSAGE(B, '3', CLOSE_COMPLETE, NONE, 0, 0, 0)
MESSAGE(B, 'n', NO_DATA, NONE, 0, 0, 0)
MESSAGE(B, 't', PARAMETER_DESCRIPTION, NONE, 0, 2, 0)
MESSAGE(B, 'T', ROW_DESCRIPTION, NONE, 0, 2, 0)
MESSAGE(B, 'D', DATA_ROW, NONE, 0, 2, 0)
MESSAGE(B, 'I', EMPTY_QUERY, NONE, 0, 0, 0)
MESSAGE(B, 's', PORTAL_SUSPENDED, NONE, 0, 0, 0)
MESSAGE(B, 'A', NOTIFICATION, NONE, 0, 6, 0)
MESSAGE(B, 'V', FUNCTION_CALL_RESPONSE, NONE, 0, 4, 0)
MESSAGE(B, 'G', COPY_IN, NONE, 0, 3, 0)
MESSAGE(B, 'H', COPY_OUT, NONE, 0, 3, 0)
MESSAGE(B, 'W', COPY_BOTH, NONE, 0, 3, 0)
MESSAGE(B, 'd', COPY_DATA_B, NONE, 0, 0, 0)
MESSAGE(B, 'c', COPY_DONE_B, NONE, 0, 0, 0)
