/*
 * What keeps a server connection with the client that made it there, since no
 * other server has it and the next client must not.
 *
 * PIN(NAME, "shown", transactional)
 *   transactional  a rollback undoes it
 */
PIN(LISTEN, "LISTEN", true)
PIN(TEMP, "temporary object", true)
PIN(HOLD, "cursor WITH HOLD", true)
PIN(LOCK, "advisory lock", false)
PIN(LOAD, "LOAD", false)
PIN(STATEMENT, "large unnamed statement", false)
