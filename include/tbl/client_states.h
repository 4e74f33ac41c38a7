/*
 * CLIENT_STATE(NAME, "console text", reads, next)
 *   reads  are bytes of the client wanted?
 *   next   the states that may follow, TO(NAME) | ...; CLOSED may always
 */
CLIENT_STATE(STARTUP, "login", true, TO(HANDSHAKE) | TO(AUTH) | TO(GREETING) | TO(CONSOLE) | TO(IDLE) | TO(CANCEL))
CLIENT_STATE(HANDSHAKE, "login", false, TO(STARTUP))
CLIENT_STATE(AUTH, "login", true, TO(GREETING) | TO(CONSOLE) | TO(IDLE))
CLIENT_STATE(GREETING, "login", false, TO(IDLE))
CLIENT_STATE(IDLE, "idle", true, TO(WAITING) | TO(PREPARING) | TO(ACTIVE))
CLIENT_STATE(WAITING, "waiting", false, TO(IDLE) | TO(PREPARING) | TO(ACTIVE))
CLIENT_STATE(PREPARING, "active", false, TO(IDLE) | TO(ACTIVE))
CLIENT_STATE(ACTIVE, "active", true, TO(IDLE) | TO(PREPARING))
CLIENT_STATE(CONSOLE, "active", true, TO(CONSOLE_WAIT))
CLIENT_STATE(CONSOLE_WAIT, "active", false, TO(CONSOLE))
CLIENT_STATE(CANCEL, "active_cancel_req", false, 0)
CLIENT_STATE(CLOSED, "closed", false, 0)
