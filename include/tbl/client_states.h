/*
 * CLIENT_STATE(NAME, "console text", reads, "next states")
 *   reads  are bytes of the client wanted?
 *   next   the states that may follow; CLOSED may always
 */
CLIENT_STATE(STARTUP, "login", true, "HANDSHAKE AUTH GREETING CONSOLE IDLE CANCEL")
CLIENT_STATE(HANDSHAKE, "login", false, "STARTUP")
CLIENT_STATE(AUTH, "login", true, "GREETING CONSOLE IDLE")
CLIENT_STATE(GREETING, "login", false, "IDLE")
CLIENT_STATE(IDLE, "idle", true, "WAITING PREPARING ACTIVE")
CLIENT_STATE(WAITING, "waiting", false, "IDLE PREPARING ACTIVE")
CLIENT_STATE(PREPARING, "active", false, "ACTIVE IDLE")
CLIENT_STATE(ACTIVE, "active", true, "IDLE")
CLIENT_STATE(CONSOLE, "active", true, "CONSOLE_WAIT")
CLIENT_STATE(CONSOLE_WAIT, "active", false, "CONSOLE")
CLIENT_STATE(CANCEL, "active_cancel_req", false, "")
CLIENT_STATE(CLOSED, "closed", false, "")
