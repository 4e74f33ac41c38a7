/*
 * Every setting, a row each; conf/param.h says what the columns mean. From here
 * come struct settings, the parser, SHOW CONFIG, SET, the manual page and the
 * sample file. The order is theirs: rows of a group stand together.
 *
 * PARAM(name, TYPE, SCOPE, WHEN, min, max, default, words, group, help)
 */

/* ---- General ---- */
PARAM(logfile, STR, G, RELOAD, 0, 0, "", NULL, "General",
      "Log file. It is kept open, and opened again at RELOAD and SIGHUP. Empty: no file. Messages also go to "
      "standard error unless -q or -d was given.")
PARAM(pidfile, STR, G, RESTART, 0, 0, "", NULL, "General",
      "File that the process id is written to. Needed for -d.")
PARAM(listen_addr, STR, G, RESTART, 0, 0, "", NULL, "General",
      "Addresses or names to listen on for TCP connections, separated by commas. An asterisk listens on all "
      "addresses. Empty: unix socket only.")
PARAM(listen_port, INT, G, RESTART, 1, 65535, "6432", NULL, "General",
      "TCP port to listen on, and the number in the name of the unix socket.")
PARAM(unix_socket_dir, STR, G, RESTART, 0, 0, "/tmp", NULL, "General",
      "Folder of the unix socket, and where the socket of a server without a host is looked for. A name that starts "
      "with @ is in the abstract namespace. Empty: no unix socket.")
PARAM(unix_socket_mode, MODE, G, RESTART, 0, 07777, "0777", NULL, "General",
      "File mode of the unix socket, in octal with a leading 0.")
PARAM(unix_socket_group, STR, G, RESTART, 0, 0, "", NULL, "General",
      "Group of the unix socket. Empty: the group of the process.")
PARAM(user, STR, G, RESTART, 0, 0, "", NULL, "General",
      "User to become after the start, when started as root. Needed then.")
PARAM(conffile, STR, G, RELOAD, 0, 0, "", NULL, "General",
      "Configuration file that the next RELOAD reads. Empty: the file of the command line.")
PARAM(stats_period, TIME, G, RELOAD, 1000000, PARAM_MAX_TIME, "60", NULL, "General",
      "Period over which the averages of SHOW STATS are taken, and between two lines of log_stats.")
PARAM(ignore_startup_parameters, STR, G, RELOAD, 0, 0, "", NULL, "General",
      "Startup parameters of clients that are dropped instead of refused, separated by commas. The word options "
      "stands for the whole options parameter. extra_float_digits is always accepted.")
PARAM(track_extra_parameters, STR, G, RESTART, 0, 0, "IntervalStyle", NULL, "General",
      "Parameters that are kept for each client besides client_encoding, DateStyle, TimeZone, "
      "standard_conforming_strings and application_name, separated by commas. Only parameters that the server "
      "reports by itself can be kept.")
PARAM(peer_id, INT, G, RELOAD, 0, 16383, "0", NULL, "General",
      "Number of this process in a group that [peers] lists. A cancel request that reaches another process of the group, as "
      "behind a load balancer, is passed on to the one whose client it names. 0: this process is in no group.")
PARAM(disable_pqexec, BOOL, G, RESTART, 0, 1, "0", NULL, "General",
      "Refuse queries of the simple protocol, in which one text may hold several statements.")
PARAM(application_name_add_host, BOOL, G, RELOAD, 0, 1, "0", NULL, "General",
      "Append the address and port of the client to the application_name that it sets at its start.")

/* ---- Pools and limits ---- */
PARAM(pool_mode, ENUM, GDU, RELOAD, 0, 0, "session", "session\0transaction\0statement\0", "Pools and limits",
      "When a server connection can be given to another client: session, when the client leaves; transaction, at the "
      "end of each transaction; statement, after each query, and transaction blocks are refused.")
PARAM(max_client_conn, INT, G, RELOAD, 0, PARAM_MAX_INT, "100", NULL, "Pools and limits",
      "How many client connections there may be in all.")
PARAM(default_pool_size, INT, GDU, RELOAD, 0, PARAM_MAX_INT, "20", NULL, "Pools and limits",
      "How many server connections a pool, that is a pair of user and database, may have. 0: no limit. Entries of "
      "[databases] and [users] set it as pool_size.")
PARAM(min_pool_size, INT, GD, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Pools and limits",
      "How many server connections a pool is kept at. It counts for pools of a forced user and for pools that have "
      "clients.")
PARAM(reserve_pool_size, INT, GDU, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Pools and limits",
      "How many more server connections a pool may have for clients that have waited for reserve_pool_timeout. 0: "
      "none.")
PARAM(reserve_pool_timeout, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "5", NULL, "Pools and limits",
      "How long a client waits before the reserve of its pool is used. 0: the reserve is not used.")
PARAM(max_db_connections, INT, GD, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Pools and limits",
      "How many server connections a database may have over all its users. 0: no limit.")
PARAM(max_db_client_connections, INT, GD, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Pools and limits",
      "How many client connections a database may have over all its users. 0: no limit.")
PARAM(max_user_connections, INT, GU, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Pools and limits",
      "How many server connections a user may have over all databases. 0: no limit.")
PARAM(max_user_client_connections, INT, GU, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Pools and limits",
      "How many client connections a user may have over all databases. 0: no limit.")
PARAM(cancel_wait_timeout, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "10", NULL, "Pools and limits",
      "How long a cancel request for a client of a peer waits while as many are under way to that peer as its pool_size "
      "allows. Then it is dropped. 0: as long as it takes.")
PARAM(cancel_on_client_disconnect, BOOL, GD, RELOAD, 0, 1, "1", NULL, "Pools and limits",
      "Cancel the query of a client that goes away without saying so, roll its transaction back and keep the server "
      "connection. 0: the server connection is closed and the query left to the server.")

/* ---- Authentication ---- */
PARAM(auth_type, ENUM, G, RELOAD, 0, 0, "md5", "any\0trust\0plain\0md5\0cert\0scram-sha-256\0", "Authentication",
      "How clients log in. scram-sha-256: SCRAM; md5: SCRAM for users with a SCRAM secret, else an MD5 challenge; "
      "plain: the password in the clear; cert: a client certificate whose common name is the user; trust: no "
      "password, but the user must be in auth_file; any: no password and any name, every database needs a forced "
      "user.")
PARAM(auth_file, STR, G, RELOAD, 0, 0, "", NULL, "Authentication",
      "File with the names and secrets of the users.")

/* ---- Log ---- */
PARAM(syslog, BOOL, G, RELOAD, 0, 1, "0", NULL, "Log", "Send messages to syslog as well.")
PARAM(syslog_ident, STR, G, RELOAD, 0, 0, "pgbouncer", NULL, "Log", "Name under which messages go to syslog.")
PARAM(syslog_facility, ENUM, G, RELOAD, 0, 0, "daemon",
      "auth\0authpriv\0daemon\0user\0local0\0local1\0local2\0local3\0local4\0local5\0local6\0local7\0", "Log",
      "Facility under which messages go to syslog.")
PARAM(log_connections, BOOL, G, RELOAD, 0, 1, "1", NULL, "Log", "Log logins and new server connections.")
PARAM(log_disconnections, BOOL, G, RELOAD, 0, 1, "1", NULL, "Log", "Log the end of connections with the reason.")
PARAM(log_pooler_errors, BOOL, G, RELOAD, 0, 1, "1", NULL, "Log", "Log the errors that are sent to clients.")
PARAM(log_stats, BOOL, G, RELOAD, 0, 1, "1", NULL, "Log", "Log one line of statistics each stats_period.")
PARAM(verbose, INT, G, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Log",
      "How much is logged: 1 adds DEBUG, 2 and more add NOISE. The same as -v so many times.")

/* ---- Console ---- */
PARAM(admin_users, STR, G, RELOAD, 0, 0, "", NULL, "Console",
      "Users that may log in to the console and use every command, separated by commas.")
PARAM(stats_users, STR, G, RELOAD, 0, 0, "", NULL, "Console",
      "Users that may log in to the console and use the SHOW commands, separated by commas.")

/* ---- Server connections ---- */
PARAM(server_reset_query, STR, G, RELOAD, 0, 0, "DISCARD ALL", NULL, "Server connections",
      "Query that is sent to a server connection when its client has left it, in session mode. Empty: none.")
PARAM(server_reset_query_always, BOOL, G, RELOAD, 0, 1, "0", NULL, "Server connections",
      "Send server_reset_query in all pool modes.")
PARAM(defer_begin, BOOL, GDU, RELOAD, 0, 1, "1", NULL, "Server connections",
      "Answer BEGIN at once in transaction mode and send it to a server together with the next statement: a transaction "
      "takes a server connection one round trip later, and one that does nothing takes none. now() is then the time of "
      "that next statement. A BEGIN together with other statements in one text or batch is not deferred; one with READ "
      "WRITE or SERIALIZABLE, which a standby refuses, only where target_session_attrs asks for the primary.")
PARAM(session_state, ENUM, GDU, RELOAD, 0, 0, "track", "track\0reset\0warn\0ignore\0", "Server connections",
      "What becomes of session state that servers do not report, in transaction and statement mode: SET, SET ROLE, "
      "set_config(), LISTEN, temporary tables, cursors WITH HOLD, advisory locks of the session, LOAD. track: parameters "
      "are the client's own and go with it from server to server; for the others the client keeps its server "
      "(max_pinned). reset: the server runs server_reset_query before its next client. warn: a notice to the client "
      "and a line in the log, once a client. ignore: nothing.")
PARAM(max_pinned, INT, GD, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Server connections",
      "How many server connections of a pool clients may keep beyond their transactions (session_state). The statement "
      "that would need one more is refused. 0: half of the pool size, but at least 1.")
PARAM(max_prepared_statements, INT, G, RELOAD, 0, PARAM_MAX_INT, "200", NULL, "Server connections",
      "How many prepared statements of clients a server connection keeps, in transaction and statement mode; the least "
      "recently used is closed when there are more. Clients share a statement of the same text. 0: a prepared "
      "statement with a name is refused in these modes.")
PARAM(track_sql_prepare, BOOL, GDU, RELOAD, 0, 1, "1", NULL, "Server connections",
      "Let SQL's PREPARE, EXECUTE and DEALLOCATE follow the client from server to server in transaction and statement "
      "mode, with one name space for them and the statements of the protocol. 0: they are passed through as they are, but "
      "for DEALLOCATE of a statement of the protocol. Nothing is followed where max_prepared_statements is 0.")
PARAM(server_lost, ENUM, GDU, RELOAD, 0, 0, "keep", "keep\0close\0", "Server connections",
      "What becomes of a client whose server connection is lost under it: by a crash, a restart, pg_terminate_backend, a "
      "time limit of the server. keep: it stays; what it has asked for fails with 08006 (nothing of it was or will be "
      "committed) or 08007 (it may have been), and a transaction that was open is answered as an aborted one until it is "
      "ended. Clients whose session lived on that server (session mode, a pin, replication) are disconnected with 57P01 all "
      "the same. close: the client is told what the server said and disconnected.")
PARAM(server_check_query, STR, G, RELOAD, 0, 0, "<empty>", NULL, "Server connections",
      "Query by which an idle server connection is checked before it is used. The word <empty> stands for an empty "
      "query, which is the cheapest check. Empty: no check.")
PARAM(server_check_delay, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "30", NULL, "Server connections",
      "A server connection that was idle for less than this is not checked. 0: always check.")
PARAM(server_lifetime, TIME, GD, RELOAD, 0, PARAM_MAX_TIME, "3600", NULL, "Server connections",
      "A server connection older than this is closed when no client uses it. 0: it is used once.")
PARAM(server_idle_timeout, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "600", NULL, "Server connections",
      "A server connection that was idle for longer than this is closed. 0: never.")
PARAM(server_connect_timeout, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "15", NULL, "Server connections",
      "Limit of connecting and logging in to a server. 0: none.")
PARAM(server_login_retry, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "15", NULL, "Server connections",
      "Pause after a failed connection or login to a server before the next try.")

/* ---- Failover ---- */
PARAM(target_session_attrs, ENUM, GD, RELOAD, 0, 0, "any",
      "any\0read-write\0primary\0read-only\0standby\0prefer-standby\0", "Failover",
      "Which hosts of an entry its connections go to: any; read-write or primary, the primary; read-only or standby, a "
      "standby; prefer-standby, a standby if there is one, else the primary. The role of the server alone counts. Where it is "
      "set the hosts are watched, and queries wait while none fits.")
PARAM(max_replica_lag, LAG, GD, RELOAD, -PARAM_MAX_TIME, PARAM_MAX_TIME, "0", NULL, "Failover",
      "A standby that is further behind the primary in replaying is left out until it no longer is: bytes of WAL, or a time "
      "with its unit, as 5s. 0: no limit.")
PARAM(zone, STR, G, RELOAD, 0, 0, "", NULL, "Failover",
      "Availability zone that this process is in, see prefer_same_zone.")
PARAM(prefer_same_zone, BOOL, GD, RELOAD, 0, 1, "0", NULL, "Failover",
      "Connections to standbys go to those of the own zone, to others when none of them is fit. Which zone a host is in says "
      "host_zones of the entry, a name for each host, separated by commas.")
PARAM(topology_check_interval, TIME, G, RELOAD, 10000, PARAM_MAX_TIME, "1", NULL, "Failover",
      "How often a host that is well is asked for its role.")
PARAM(topology_fast_interval, TIME, G, RELOAD, 10000, PARAM_MAX_TIME, "0.1", NULL, "Failover",
      "The same while something may be wrong.")
PARAM(topology_check_timeout, TIME, G, RELOAD, 10000, PARAM_MAX_TIME, "1", NULL, "Failover",
      "A host that does not answer within this is taken for down.")
PARAM(failover_wait_timeout, TIME, GD, RELOAD, 0, PARAM_MAX_TIME, "30", NULL, "Failover",
      "How long a query waits while no host fits. Then it gets an error, and its client stays. As long as it counts "
      "query_wait_timeout does not. 0: no limit.")
PARAM(failover_replay, BOOL, GD, RELOAD, 0, 1, "1", NULL, "Failover",
      "A statement that the primary was asked for, and that a standby has refused as one that takes no writes, is run again on "
      "the primary, once, and the client hears of that alone: a single statement outside of a transaction block, of 16 kB at "
      "most, of which nothing was answered; by the extended protocol only INSERT, UPDATE, DELETE and MERGE. 0: the client gets "
      "the error, 25006.")
PARAM(failover_drain_timeout, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "5", NULL, "Failover",
      "SWITCHOVER: how long transactions that are open may go on, and then how long a standby may take to replay what they "
      "have written. 0: no limit.")
PARAM(monitor_user, STR, G, RELOAD, 0, 0, "", NULL, "Failover",
      "User that asks hosts for their role. It needs no rights but to connect to monitor_dbname; its password is that of "
      "auth_file. Empty: the user of the entry, else the first one of admin_users that has a password.")
PARAM(monitor_dbname, STR, G, RELOAD, 0, 0, "postgres", NULL, "Failover",
      "Database that it connects to.")

/* ---- Timeouts ---- */
PARAM(client_login_timeout, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "60", NULL, "Timeouts",
      "A client that has not logged in after this is disconnected. 0: never.")
PARAM(query_wait_notify, TIME, G, RELOAD, 0, PARAM_MAX_TIME, "5", NULL, "Timeouts",
      "A client that has waited this long for a server connection is told so by a NOTICE. 0: never.")
PARAM(query_wait_timeout, TIME, GDU, RELOAD, 0, PARAM_MAX_TIME, "120", NULL, "Timeouts",
      "A client that has waited this long for a server connection is disconnected. 0: never.")
PARAM(query_timeout, TIME, GU, RELOAD, 0, PARAM_MAX_TIME, "0", NULL, "Timeouts",
      "A query that runs longer is cancelled and its client disconnected. 0: no limit.")
PARAM(client_idle_timeout, TIME, GU, RELOAD, 0, PARAM_MAX_TIME, "0", NULL, "Timeouts",
      "A client that is idle for longer, outside of a transaction, is disconnected. 0: no limit.")
PARAM(idle_transaction_timeout, TIME, GU, RELOAD, 0, PARAM_MAX_TIME, "0", NULL, "Timeouts",
      "A client that is idle for longer inside a transaction is disconnected. 0: no limit.")
PARAM(transaction_timeout, TIME, GU, RELOAD, 0, PARAM_MAX_TIME, "0", NULL, "Timeouts",
      "A client whose transaction lasts longer is disconnected. 0: no limit.")

/* ---- TLS ---- */
PARAM(client_tls_sslmode, ENUM, G, RELOAD, 0, 0, "disable", "disable\0allow\0prefer\0require\0verify-ca\0verify-full\0", "TLS",
      "TLS with clients. disable: none; allow and prefer: clients that ask for it get it, and without "
      "client_tls_key_file and client_tls_cert_file TLS is not offered; require: clients must use it; verify-ca and "
      "verify-full: they must also show a certificate that client_tls_ca_file vouches for. Never used on unix "
      "sockets.")
PARAM(client_tls_key_file, STR, G, RELOAD, 0, 0, "", NULL, "TLS", "Private key for clients.")
PARAM(client_tls_cert_file, STR, G, RELOAD, 0, 0, "", NULL, "TLS",
      "Certificate for clients, with the chain behind it.")
PARAM(client_tls_ca_file, STR, G, RELOAD, 0, 0, "", NULL, "TLS",
      "Certificate authorities that the certificates of clients are checked with. With it clients get no session "
      "tickets, which would bring a certificate that has expired since.")
PARAM(client_tls_protocols, STR, G, RELOAD, 0, 0, "secure", NULL, "TLS",
      "TLS versions for clients: tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3 separated by commas, all, or secure, which is "
      "1.2 and 1.3.")
PARAM(client_tls_ciphers, STR, G, RELOAD, 0, 0, "default", NULL, "TLS",
      "Ciphers for clients up to TLS 1.2, as OpenSSL writes them. The words default, secure, fast and normal stand "
      "for the default of OpenSSL, all for all of them.")
PARAM(client_tls13_ciphers, STR, G, RELOAD, 0, 0, "", NULL, "TLS",
      "Cipher suites of TLS 1.3 for clients, separated by colons. Empty: the default of OpenSSL.")
PARAM(client_tls_ecdhcurve, STR, G, RELOAD, 0, 0, "auto", NULL, "TLS",
      "Curve for the key exchange with clients: auto, none or the name of a curve.")
PARAM(client_tls_dheparams, STR, G, RELOAD, 0, 0, "auto", NULL, "TLS",
      "Key exchange by DHE with clients: auto or none.")
PARAM(server_tls_sslmode, ENUM, G, RELOAD, 0, 0, "prefer", "disable\0allow\0prefer\0require\0verify-ca\0verify-full\0", "TLS",
      "TLS with servers. disable: none; allow: only if the server refuses to do without; prefer: if the server can; "
      "require: always; verify-ca: and the certificate of the server is checked with server_tls_ca_file; "
      "verify-full: and its name must be the host. Never used on unix sockets.")
PARAM(server_tls_ca_file, STR, G, RELOAD, 0, 0, "", NULL, "TLS",
      "Certificate authorities that the certificates of servers are checked with.")
PARAM(server_tls_key_file, STR, G, RELOAD, 0, 0, "", NULL, "TLS",
      "Private key that goes with server_tls_cert_file.")
PARAM(server_tls_cert_file, STR, G, RELOAD, 0, 0, "", NULL, "TLS",
      "Certificate to show to servers that ask for one.")
PARAM(server_tls_protocols, STR, G, RELOAD, 0, 0, "secure", NULL, "TLS",
      "TLS versions for servers, as in client_tls_protocols.")
PARAM(server_tls_ciphers, STR, G, RELOAD, 0, 0, "default", NULL, "TLS",
      "Ciphers for servers up to TLS 1.2, as in client_tls_ciphers.")
PARAM(server_tls13_ciphers, STR, G, RELOAD, 0, 0, "", NULL, "TLS",
      "Cipher suites of TLS 1.3 for servers, as in client_tls13_ciphers.")
PARAM(server_tls_sslnegotiation, ENUM, GD, RELOAD, 0, 0, "postgres", "postgres\0direct\0", "TLS",
      "How TLS with a server begins. postgres: the server is asked first; direct: at once, which saves a round trip "
      "and needs PostgreSQL 17 and a server_tls_sslmode of require or stronger.")

/* ---- Network ---- */
PARAM(pkt_buf, SIZE, G, RESTART, 16, PARAM_MAX_INT, "4096", NULL, "Network",
      "Below 4096 it is the most that one read takes, which is of use in tests alone. Above, it changes nothing: "
      "buffers have the size that is needed.")
PARAM(max_packet_size, SIZE, G, RELOAD, 1024, PARAM_MAX_INT, "2147483647", NULL, "Network",
      "A message of a client that is longer is refused with an error, and what it belongs to is not run.")
PARAM(listen_backlog, INT, G, RESTART, 1, PARAM_MAX_INT, "128", NULL, "Network",
      "How many connections the system keeps waiting until they are accepted.")
PARAM(sbuf_loopcnt, INT, G, RELOAD, 0, PARAM_MAX_INT, "5", NULL, "Network",
      "How many reads of a connection are handled before others have their turn, which comes after 64 kB in any case. "
      "0: reads are not counted.")
PARAM(tcp_defer_accept, INT, G, RELOAD, 0, PARAM_MAX_INT, "1", NULL, "Network",
      "Seconds for which the system keeps a connection back until its first bytes arrive. 0: it is accepted at once.")
PARAM(tcp_socket_buffer, SIZE, G, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Network",
      "Size of the socket buffers of the system. 0: what the system chooses.")
PARAM(tcp_keepalive, BOOL, G, RELOAD, 0, 1, "1", NULL, "Network",
      "Let the system check whether the peers of idle TCP connections are still there.")
PARAM(tcp_keepcnt, INT, G, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Network",
      "How many such checks must fail before a connection is given up. 0: what the system chooses. Not set, connections to "
      "servers of entries with target_session_attrs have 5.")
PARAM(tcp_keepidle, INT, G, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Network",
      "Seconds that a connection is idle before the first such check. 0: what the system chooses. Not set, connections to "
      "servers of entries with target_session_attrs have 5.")
PARAM(tcp_keepintvl, INT, G, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Network",
      "Seconds between two such checks. 0: what the system chooses. Not set, connections to servers of entries with "
      "target_session_attrs have 1.")
PARAM(tcp_user_timeout, MSEC, G, RELOAD, 0, PARAM_MAX_INT, "0", NULL, "Network",
      "Milliseconds that sent bytes may stay unacknowledged before a connection is given up. 0: what the system "
      "chooses. A server that does not read for so long is given up, too, though it is there.")
