/*
 * The console's commands and tables, a row each. From here come the parser,
 * the rights, SHOW HELP and the console's part of the manual page.
 *
 * SHOW(ident, "NAME", "help")
 *   ident  the table is show_<ident>
 *   help   what its rows are; roff-safe
 *
 * COMMAND(ident, "WORD", RIGHTS, ARGS, "syntax", "help")
 *   ident   the function is run_<ident>()
 *   RIGHTS  STATS: anybody who is let in; ADMIN: admin_users
 *   ARGS    NONE, DB (a name), MAYBE_DB, ID, HOST (a name with a port, and a word), MAYBE_WORD, TABLE (a name of SHOW), ASSIGN (name = value)
 *   syntax  of the arguments
 */
SHOW(help, "HELP", "The commands, as a notice.")
SHOW(config, "CONFIG", "All settings with their values and defaults, and whether they can be changed without a restart.")
SHOW(databases, "DATABASES", "The databases with their host, their limits and whether they are paused or disabled.")
SHOW(pools, "POOLS", "The pools, which are pairs of database and user: their clients and servers by state, and for how "
	"long the first client in the queue has waited.")
SHOW(clients, "CLIENTS", "Client connections that have logged in.")
SHOW(servers, "SERVERS", "Server connections.")
SHOW(users, "USERS", "The users with their limits.")
SHOW(version, "VERSION", "The version.")
SHOW(sockets, "SOCKETS", "All connections with the state of their buffers.")
SHOW(active_sockets, "ACTIVE_SOCKETS", "The same for connections that are at work.")
SHOW(lists, "LISTS", "How many there are of everything.")
SHOW(mem, "MEM", "Memory by use.")
SHOW(prepared, "PREPARED", "Prepared statements of clients in transaction and statement mode: the name that each has on "
	"servers, and how many clients and servers have it.")
SHOW(peers, "PEERS", "The other processes of the group, which cancel requests for their clients are passed on to.")
SHOW(peer_pools, "PEER_POOLS", "The same with the cancel requests that are under way to them or wait.")
SHOW(pins, "PINS", "Server connections that clients keep beyond their transactions, why and since when; and for each pool how "
	"many there were and how many were refused (max_pinned).")
SHOW(hosts, "HOSTS", "The hosts of entries with target_session_attrs: their role, whether they are up, suspect, down or "
	"fenced, and what the monitor saw last. For a minute after it positions in the WAL are read with each probe.")
SHOW(failovers, "FAILOVERS", "The last hundred changes of a primary, and returns: from which host to which, what was noticed first, how long "
	"it took until that was decided and from there to the first server connection, how many clients waited, how many requests "
	"were run again (failover_replay), and how many were told an error.")
SHOW(state, "STATE", "Whether all is paused.")
SHOW(stats, "STATS", "Counters of each database since the start, and averages a second of the last stats_period. Times "
	"are microseconds.")
SHOW(stats_totals, "STATS_TOTALS", "The counters alone.")
SHOW(stats_averages, "STATS_AVERAGES", "The averages alone.")
SHOW(totals, "TOTALS", "Counters and averages over all databases.")

COMMAND(show, "SHOW", STATS, TABLE, "name", "Shows a table. SELECT is the same word.")
COMMAND(set, "SET", ADMIN, ASSIGN, "name = value",
	"Gives a setting another value until the next RELOAD. TO may stand for the equals sign; a value with blanks stands in "
	"single quotes.")
COMMAND(reload, "RELOAD", ADMIN, NONE, "",
	"Reads the configuration file and the files that it names again. If there is a fault in one of them nothing changes. "
	"The log file is opened again in any case.")
COMMAND(pause, "PAUSE", ADMIN, MAYBE_DB, "[db]",
	"Gives no server to clients any more, of one database or of all, waits until the ones that are in use have come "
	"free, and closes them. It answers when that is done. Cancelling the command resumes.")
COMMAND(resume, "RESUME", ADMIN, MAYBE_DB, "[db]", "Undoes PAUSE or KILL.")
COMMAND(disable, "DISABLE", ADMIN, DB, "db", "Refuses new clients of a database.")
COMMAND(enable, "ENABLE", ADMIN, DB, "db", "Allows them again.")
COMMAND(reconnect, "RECONNECT", ADMIN, MAYBE_DB, "[db]",
	"Closes each server connection as soon as it is free; new ones take their place when they are needed.")
COMMAND(wait_close, "WAIT_CLOSE", ADMIN, MAYBE_DB, "[db]",
	"Answers when the server connections that RECONNECT or a RELOAD has marked are closed.")
COMMAND(kill, "KILL", ADMIN, MAYBE_DB, "[db]",
	"Closes all clients and servers, of one database or of all, at once. New clients wait for RESUME.")
COMMAND(kill_client, "KILL_CLIENT", ADMIN, ID, "id", "Closes the client with this id of SHOW CLIENTS.")
COMMAND(promote, "PROMOTE", ADMIN, HOST, "host[:port] [FORCE]",
	"Says that a host, which must take writes, is the primary now, and answers when a probe has borne that out. It decides "
	"between several that take writes on the same timeline. FORCE takes one on an older timeline, or of another cluster.")
COMMAND(switchover, "SWITCHOVER", ADMIN, MAYBE_DB, "[db]",
	"Has new transactions wait, of the cluster of a database or of all, until those that are open are over and a standby has "
	"replayed what they have written; then it answers, and a notice names the standby, which is to be promoted now. "
	"Queries run again on the new primary. RESUME gives it up; so it is when nobody is promoted within "
	"failover_wait_timeout.")
COMMAND(shutdown, "SHUTDOWN", ADMIN, MAYBE_WORD, "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]",
	"Ends the program at once; or when all servers have come free, while nobody gets one any more; or when all clients "
	"have gone, while no new ones are let in. The unix socket stays open for the console while it waits.")
