/*
 * Every message of protocol 3 (PostgreSQL manual, 55.7), who sends it, and what
 * must be in memory before its handler is asked. A type that is not here is an
 * error on that connection.
 *
 * MESSAGE(side, type, NAME, need, n, min, max, "Text")
 *   side  F: clients send it, B: servers send it
 *   need  EMPTY       only the header: it has no payload
 *         NONE        only the header
 *         FIRST n     the first n bytes of the payload, or all of it if shorter
 *         CSTR n      up to and with the n-th NUL, within the first WIRE_HEAD_MAX bytes
 *         TAGGED n    as CSTR, after one leading byte
 *         ALL n       the whole payload, which is at most n bytes long
 *   min max  bounds of the payload's length; max 0: none but the protocol's (1 GB). A client's are the server's own: what is
 *            beyond them ends the connection there too, what is wrong within them is an error of the server's
 *   Text  as the manual calls it
 */
MESSAGE(F, 'Q', QUERY, FIRST, 512, 0, 0, "Query")
MESSAGE(F, 'P', PARSE, CSTR, 1, 0, 0, "Parse")
MESSAGE(F, 'B', BIND, CSTR, 2, 0, 0, "Bind")
MESSAGE(F, 'D', DESCRIBE, TAGGED, 1, 0, 9996, "Describe")
MESSAGE(F, 'E', EXECUTE, CSTR, 1, 0, 9996, "Execute")
MESSAGE(F, 'C', CLOSE, TAGGED, 1, 0, 9996, "Close")
MESSAGE(F, 'S', SYNC, NONE, 0, 0, 9996, "Sync")
MESSAGE(F, 'H', FLUSH, NONE, 0, 0, 9996, "Flush")
MESSAGE(F, 'F', FUNCTION_CALL, FIRST, 4, 0, 0, "FunctionCall")
MESSAGE(F, 'd', COPY_DATA, NONE, 0, 0, 0, "CopyData")
MESSAGE(F, 'c', COPY_DONE, NONE, 0, 0, 9996, "CopyDone")
MESSAGE(F, 'f', COPY_FAIL, NONE, 0, 0, 9996, "CopyFail")
MESSAGE(F, 'X', TERMINATE, NONE, 0, 0, 9996, "Terminate")
MESSAGE(F, 'p', PASSWORD, ALL, 66000, 0, 66000, "PasswordMessage")

/*
 * What a server says is forwarded whole or not at all as far as WIRE_WHOLE goes: a server that is lost within such a message
 * leaves a client to which something can be said.
 */
MESSAGE(B, 'R', AUTHENTICATION, ALL, 65536, 4, 65536, "Authentication")
MESSAGE(B, 'K', BACKEND_KEY_DATA, ALL, 260, 8, 260, "BackendKeyData")
MESSAGE(B, 'S', PARAMETER_STATUS, ALL, 65536, 2, 65536, "ParameterStatus")
MESSAGE(B, 'v', NEGOTIATE_PROTOCOL_VERSION, ALL, 65536, 8, 65536, "NegotiateProtocolVersion")
MESSAGE(B, 'Z', READY_FOR_QUERY, FIRST, 1, 1, 1, "ReadyForQuery")
MESSAGE(B, 'E', ERROR_RESPONSE, FIRST, WIRE_WHOLE, 1, 0, "ErrorResponse")
MESSAGE(B, 'N', NOTICE_RESPONSE, FIRST, WIRE_WHOLE, 1, 0, "NoticeResponse")
MESSAGE(B, 'C', COMMAND_COMPLETE, CSTR, 1, 1, 0, "CommandComplete")
MESSAGE(B, '1', PARSE_COMPLETE, EMPTY, 0, 0, 0, "ParseComplete")
MESSAGE(B, '2', BIND_COMPLETE, EMPTY, 0, 0, 0, "BindComplete")
MESSAGE(B, '3', CLOSE_COMPLETE, EMPTY, 0, 0, 0, "CloseComplete")
MESSAGE(B, 'n', NO_DATA, EMPTY, 0, 0, 0, "NoData")
MESSAGE(B, 't', PARAMETER_DESCRIPTION, FIRST, WIRE_WHOLE, 2, 0, "ParameterDescription")
MESSAGE(B, 'T', ROW_DESCRIPTION, FIRST, WIRE_WHOLE, 2, 0, "RowDescription")
MESSAGE(B, 'D', DATA_ROW, FIRST, WIRE_WHOLE, 2, 0, "DataRow")
MESSAGE(B, 'I', EMPTY_QUERY, EMPTY, 0, 0, 0, "EmptyQueryResponse")
MESSAGE(B, 's', PORTAL_SUSPENDED, EMPTY, 0, 0, 0, "PortalSuspended")
MESSAGE(B, 'A', NOTIFICATION, FIRST, WIRE_WHOLE, 6, 0, "NotificationResponse")
MESSAGE(B, 'V', FUNCTION_CALL_RESPONSE, FIRST, WIRE_WHOLE, 4, 0, "FunctionCallResponse")
MESSAGE(B, 'G', COPY_IN, FIRST, WIRE_WHOLE, 3, 0, "CopyInResponse")
MESSAGE(B, 'H', COPY_OUT, FIRST, WIRE_WHOLE, 3, 0, "CopyOutResponse")
MESSAGE(B, 'W', COPY_BOTH, FIRST, WIRE_WHOLE, 3, 0, "CopyBothResponse")
MESSAGE(B, 'd', COPY_DATA_B, FIRST, WIRE_WHOLE, 0, 0, "CopyData")
MESSAGE(B, 'c', COPY_DONE_B, EMPTY, 0, 0, 0, "CopyDone")
