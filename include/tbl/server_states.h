/*
 * SERVER_STATE(NAME, "console text", reads, next), as tbl/client_states.h.
 * SETUP, TEST, PREPARE and CLEAN run queries of our own (ownq.h).
 */
SERVER_STATE(DIAL, "login", false, TO(LOGIN))
SERVER_STATE(LOGIN, "login", true, TO(SETUP) | TO(IDLE))
SERVER_STATE(SETUP, "login", true, TO(IDLE))
SERVER_STATE(IDLE, "idle", true, TO(TEST) | TO(PREPARE) | TO(ACTIVE))
SERVER_STATE(TEST, "tested", true, TO(IDLE))
SERVER_STATE(PREPARE, "active", true, TO(ACTIVE) | TO(CLEAN) | TO(IDLE))
SERVER_STATE(ACTIVE, "active", true, TO(PREPARE) | TO(DRAIN) | TO(CLEAN) | TO(IDLE))
SERVER_STATE(DRAIN, "being_canceled", true, TO(CLEAN) | TO(IDLE))
SERVER_STATE(CLEAN, "active", true, TO(DRAIN) | TO(IDLE))
SERVER_STATE(CLOSED, "closed", false, 0)
