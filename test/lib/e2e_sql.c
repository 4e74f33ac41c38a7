/*
 * e2e_sql: libpq in few words, and connections that speak bytes. All of a
 * test's connections and results are remembered and closed after it.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/e2e_priv.h"

#define MAX_CONNECTIONS 4096
#define WAIT_MS 30000

static PGconn *connections[MAX_CONNECTIONS];
static size_t n_connections;
static PGresult **results;
static size_t n_results, results_size;
static int sockets[MAX_CONNECTIONS];
static size_t n_sockets;
static char last_error[1024];

/* ---- libpq ---- */

static void quiet(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/* conninfo with the password of its user, unless it has one. */
static const char *with_password(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	const char *user = NULL;
	bool has = false;

	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (strcmp(o->keyword, "user") == 0 && o->val)
			user = e2e_text("%s", o->val);
		if ((strcmp(o->keyword, "password") == 0 || strcmp(o->keyword, "passfile") == 0) && o->val)
			has = true;
	}
	PQconninfoFree(options);
	if (!user || has)
		return conninfo;
	return e2e_text("%s password='%s'", conninfo, e2e_password(user));
}

static PGconn *connect_to(const char *conninfo)
{
	PGconn *c = PQconnectdb(e2e_text("connect_timeout=30 %s", with_password(conninfo)));

	if (!c || n_connections == MAX_CONNECTIONS)
		abort();
	PQsetNoticeProcessor(c, quiet, NULL);
	connections[n_connections++] = c;
	return c;
}

static char *__attribute__((format(printf, 1, 0))) vtext(const char *fmt, va_list ap)
{
	char *s, *kept;

	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	kept = e2e_text("%s", s);
	free(s);
	return kept;
}

PGconn *db_try(const char *fmt, ...)
{
	va_list ap;
	char *conninfo;

	va_start(ap, fmt);
	conninfo = vtext(fmt, ap);
	va_end(ap);
	return connect_to(conninfo);
}

PGconn *db_connect(const char *fmt, ...)
{
	va_list ap;
	char *conninfo;
	PGconn *c;

	va_start(ap, fmt);
	conninfo = vtext(fmt, ap);
	va_end(ap);
	c = connect_to(conninfo);
	if (PQstatus(c) != CONNECTION_OK)
		fail_msg("%s: %s", conninfo, PQerrorMessage(c));
	return c;
}

static bool poll_connection(PGconn *c)
{
	int64_t end = e2e_now_ms() + WAIT_MS;
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;

	while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
		struct pollfd p = {.fd = PQsocket(c), .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};

		if (poll(&p, 1, (int)(end - e2e_now_ms() > 0 ? end - e2e_now_ms() : 0)) == 0)
			fail_msg("no answer to a login within %d ms", WAIT_MS);
		next = PQconnectPoll(c);
	}
	return next == PGRES_POLLING_OK;
}

/* Its verbose message begins with "FATAL:  28P01: text". */
const char *db_refused(const char *fmt, ...)
{
	const char *at, *code = "-";
	va_list ap;
	char *conninfo;
	PGconn *c;

	va_start(ap, fmt);
	conninfo = vtext(fmt, ap);
	va_end(ap);
	c = PQconnectStart(with_password(conninfo));
	if (!c || n_connections == MAX_CONNECTIONS)
		abort();
	connections[n_connections++] = c;
	PQsetErrorVerbosity(c, PQERRORS_VERBOSE);
	if (PQstatus(c) != CONNECTION_BAD && poll_connection(c))
		fail_msg("%s: should have been refused", conninfo);
	at = strstr(PQerrorMessage(c), "FATAL:  ");
	if (at && at[8 + 5] == ':') {
		at += strlen("FATAL:  ");
		code = e2e_text("%.5s", at);
		at += strlen("28P01: ");
		snprintf(last_error, sizeof(last_error), "%.*s", (int)strcspn(at, "\n"), at);
	} else {
		snprintf(last_error, sizeof(last_error), "%s", PQerrorMessage(c));
	}
	db_close(c);
	return code;
}

void db_close(PGconn *c)
{
	for (size_t i = 0; i < n_connections; i++)
		if (connections[i] == c) {
			connections[i] = connections[--n_connections];
			PQfinish(c);
			return;
		}
	fail_msg("not a connection of this test");
}

PGresult *db_keep(PGresult *r)
{
	if (!r)
		return NULL;
	if (n_results == results_size) {
		results_size = results_size ? results_size * 2 : 64;
		results = realloc(results, results_size * sizeof(PGresult *));
		if (!results)
			abort();
	}
	return results[n_results++] = r;
}

static char *first_value(const PGresult *r)
{
	return e2e_text("%s", PQntuples(r) > 0 && PQnfields(r) > 0 ? PQgetvalue(r, 0, 0) : "");
}

static bool succeeded(const PGresult *r)
{
	ExecStatusType s = PQresultStatus(r);

	return s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK || s == PGRES_EMPTY_QUERY;
}

char *db_value(PGconn *c, const char *fmt, ...)
{
	va_list ap;
	char *sql, *value;
	PGresult *r;

	va_start(ap, fmt);
	sql = vtext(fmt, ap);
	va_end(ap);
	r = PQexec(c, sql);
	if (!succeeded(r))
		fail_msg("%s: %s", sql, PQerrorMessage(c));
	value = first_value(r);
	PQclear(r);
	return value;
}

char *db_value_ext(PGconn *c, const char *sql)
{
	PGresult *r = PQexecParams(c, sql, 0, NULL, NULL, NULL, NULL, 0);
	char *value;

	if (!succeeded(r))
		fail_msg("%s: %s", sql, PQerrorMessage(c));
	value = first_value(r);
	PQclear(r);
	return value;
}

PGresult *db_result(PGconn *c)
{
	struct pollfd p = {.fd = PQsocket(c), .events = POLLIN};
	int64_t end = e2e_now_ms() + WAIT_MS;

	while (PQisBusy(c)) {
		if (poll(&p, 1, (int)(end - e2e_now_ms() > 0 ? end - e2e_now_ms() : 0)) == 0)
			fail_msg("no result within %d ms", WAIT_MS);
		if (!PQconsumeInput(c))
			break;
	}
	return db_keep(PQgetResult(c));
}

/* The first error counts: behind a FATAL libpq makes another one of the connection's end. */
const char *db_error(PGconn *c, const char *sql)
{
	const char *code = NULL, *field;
	PGresult *r;

	if (!PQsendQuery(c, sql))
		fail_msg("%s: %s", sql, PQerrorMessage(c));
	while ((r = db_result(c))) {
		if (!code && PQresultStatus(r) == PGRES_FATAL_ERROR) {
			field = PQresultErrorField(r, PG_DIAG_SQLSTATE);
			code = e2e_text("%s", field ? field : "-");
			field = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
			snprintf(last_error, sizeof(last_error), "%s", field ? field : PQresultErrorMessage(r));
		}
	}
	if (!code)
		fail_msg("%s: should have failed", sql);
	return code;
}

const char *db_error_text(PGconn *c)
{
	(void)c;
	return last_error;
}

void db_teardown(void)
{
	while (n_results > 0)
		PQclear(results[--n_results]);
	free(results);
	results = NULL;
	results_size = 0;
	while (n_connections > 0)
		PQfinish(connections[--n_connections]);
}

/* ---- bytes ---- */

int raw_connect(int port, const char *path)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = WAIT_MS / 1000};
	int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || n_sockets == MAX_CONNECTIONS)
		abort();
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (path)
		snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (connect(fd, path ? (struct sockaddr *)&sun : (struct sockaddr *)&sin, path ? sizeof(sun) : sizeof(sin)) !=
		0) {
		close(fd);
		return -1;
	}
	/* As libpq does: what waits to be sent is lost when a socket is closed with an answer unread. */
	if (!path)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	sockets[n_sockets++] = fd;
	return fd;
}

void raw_close(int fd)
{
	for (size_t i = 0; i < n_sockets; i++)
		if (sockets[i] == fd) {
			sockets[i] = sockets[--n_sockets];
			close(fd);
			return;
		}
	fail_msg("not a socket of this test");
}

void raw_teardown(void)
{
	while (n_sockets > 0)
		close(sockets[--n_sockets]);
}

bool raw_send(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t w = send(fd, at, n, MSG_NOSIGNAL);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			fail_msg("the peer took nothing for %d ms", WAIT_MS);
		if (w <= 0)
			return false;
		at += w;
		n -= (size_t)w;
	}
	return true;
}

static void put_length(char *at, size_t n)
{
	uint32_t word = htonl((uint32_t)n);

	memcpy(at, &word, 4);
}

bool raw_startup(int fd, const char *first, ...)
{
	char packet[4096];
	size_t n = 8;
	va_list ap;

	put_length(packet + 4, 0x30000);
	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *))
		n += (size_t)snprintf(packet + n, sizeof(packet) - n, "%s", s) + 1;
	va_end(ap);
	packet[n++] = '\0';
	put_length(packet, n);
	return raw_send(fd, packet, n);
}

bool raw_message(int fd, char type, const void *payload, size_t n)
{
	char head[5] = {type};

	put_length(head + 1, n + 4);
	return raw_send(fd, head, 5) && raw_send(fd, payload, n);
}

/* Reads n bytes; false at the end of the file. */
static bool receive(int fd, void *p, size_t n)
{
	char *at = p;

	while (n > 0) {
		ssize_t r = recv(fd, at, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			fail_msg("the peer sent nothing for %d ms", WAIT_MS);
		if (r <= 0)
			return false;
		at += r;
		n -= (size_t)r;
	}
	return true;
}

char raw_read(int fd, char **payload, size_t *n)
{
	char head[5];
	uint32_t word;

	if (!receive(fd, head, 5))
		return 0;
	memcpy(&word, head + 1, 4);
	*n = ntohl(word) - 4;
	if (*n > 1 << 28)
		fail_msg("a message of %zu bytes", *n);
	*payload = e2e_text("%*s", (int)*n, "");
	if (!receive(fd, *payload, *n))
		return 0;
	return head[0];
}

const char *raw_field(const char *payload, size_t n, char which)
{
	for (const char *at = payload; at < payload + n && *at; at += strlen(at) + 1)
		if (*at == which)
			return e2e_text("%s", at + 1);
	return "";
}

bool raw_closed(int fd, size_t n)
{
	char part[4096];
	size_t got = 0;

	for (;;) {
		ssize_t r = recv(fd, part, sizeof(part), 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return false;
		if (r <= 0)
			return true;
		got += (size_t)r;
		if (got > n)
			return false;
	}
}
