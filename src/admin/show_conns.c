/*
 * show_conns: SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS. A row is a
 * struct conn.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "admin/control.h"
#include "base/timer.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "conn/server.h"
#include "net/tls.h"
#include "pool/pool.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "show_priv.h"

static const struct client *as_client(const struct conn *c)
{
	return c->side == SIDE_CLIENT ? (const struct client *)(const void *)c : NULL;
}

static const struct server *as_server(const struct conn *c)
{
	return c->side == SIDE_SERVER ? (const struct server *)(const void *)c : NULL;
}

/* ---- states ---- */

/* Every client that stands in a queue waits, also the one that has not been greeted yet. */
static const char *client_state(const struct client *cl, bool socket)
{
	if (cl->ask.queued)
		return "waiting";
	if (socket && cl->c.state == CS_IDLE)
		return "active";
	return client_state_text[cl->c.state];
}

static const char *server_state(const struct server *s, bool socket)
{
	const struct slot *slot = &s->slot;

	if (!s->logged_in)
		return socket ? "login" : "new";
	if (slot->state == SLOT_IDLE && show_slot_is_used(slot))
		return "used";
	return server_state_text[s->c.state];
}

static bool is_active(const struct conn *c)
{
	const struct server *s = as_server(c);

	if (buf_len(&c->in) > 0 || buf_len(&c->out) > 0 || c->left > 0)
		return true;
	return s != NULL ? s->c.state != SS_IDLE : c->state != CS_IDLE;
}

/* ---- getters ---- */

static void get_type(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;

	(void)arg;
	cell_text(c, conn->side == SIDE_CLIENT ? "C" : "S");
}

static void get_user(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;
	const char *db, *user;

	(void)arg;
	conn->ops->names(conn, &db, &user);
	cell_text(c, user);
}

static void get_database(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;
	const char *db, *user;

	(void)arg;
	conn->ops->names(conn, &db, &user);
	cell_text(c, db);
}

static void get_replication(struct cell *c, const void *row, unsigned arg)
{
	static const char *const words[] = {
		[REPLICATION_NONE] = "none", [REPLICATION_LOGICAL] = "logical", [REPLICATION_PHYSICAL] = "physical"};
	const struct conn *conn = row;

	(void)arg;
	cell_text(c, words[conn->replication]);
}

/* arg: with the prefix that sockets have. */
static void get_state(struct cell *c, const void *row, unsigned arg)
{
	const struct client *cl = as_client(row);
	const char *text = cl != NULL ? client_state(cl, arg != 0) : server_state(as_server(row), arg != 0);

	if (arg == 0) {
		cell_text(c, text);
		return;
	}
	snprintf(c->scratch, sizeof c->scratch, "%s_%s", cl != NULL ? "cl" : "sv", text);
	cell_text(c, c->scratch);
}

enum { END_REMOTE, END_LOCAL };

static struct addr end_of(const struct conn *c, unsigned arg)
{
	return arg == END_REMOTE ? c->remote : conn_local(c);
}

static void get_addr(struct cell *c, const void *row, unsigned arg)
{
	struct addr a = end_of(row, arg);

	static_assert(CELL_SCRATCH >= ADDR_TEXT, "a cell holds an address");
	cell_text(c, addr_host(&a, c->scratch));
}

static void get_port(struct cell *c, const void *row, unsigned arg)
{
	cell_number(c, end_of(row, arg).port);
}

static void get_connect_time(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;

	(void)arg;
	cell_time(c, conn->connected_us);
}

static void get_request_time(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;

	(void)arg;
	cell_time(c, conn->request_us != 0 ? conn->request_us : conn->connected_us);
}

enum { PART_SECONDS, PART_REST };

static void get_wait(struct cell *c, const void *row, unsigned arg)
{
	const struct client *cl = as_client(row);
	int64_t us = cl != NULL && cl->ask.queued ? clock_us() - cl->ask.since_us : 0;

	cell_number(c, arg == PART_SECONDS ? us / USEC : us % USEC);
}

static void get_close_needed(struct cell *c, const void *row, unsigned arg)
{
	const struct server *s = as_server(row);

	(void)arg;
	cell_number(c, s != NULL && s->slot.retired);
}

static void get_ptr(struct cell *c, const void *row, unsigned arg)
{
	(void)arg;
	cell_pointer(c, row);
}

static void get_link(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;

	(void)arg;
	cell_pointer(c, conn->peer);
}

/* Of a server the backend's process id; of a client on a unix socket its own. */
static void get_remote_pid(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;
	const struct server *s = as_server(row);

	(void)arg;
	if (s != NULL)
		cell_number(c, s->pid);
	else
		cell_number(c, conn->remote.family == AF_UNIX ? conn->remote.u.local.pid : 0);
}

static void get_tls(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;

	(void)arg;
	cell_text(c, tls_describe(&conn->stream, c->scratch, sizeof c->scratch));
}

static void get_application_name(struct cell *c, const void *row, unsigned arg)
{
	const struct client *cl = as_client(row);
	const struct server *s = as_server(row);
	const char *name = NULL;

	(void)arg;
	if (cl != NULL)
		name = client_application_name(cl);
	else if (s->vars != NULL)
		name = vars_get(s->vars, "application_name");
	cell_text(c, name != NULL ? name : "");
}

/* Of a client its names, of a server what it has: in session mode that is the server's business and nothing is known. */
static void get_prepared(struct cell *c, const void *row, unsigned arg)
{
	const struct client *cl = as_client(row);

	(void)arg;
	cell_number(c, (int64_t)(cl != NULL ? stmt_map_count(cl->names) : stmt_cache_count(&as_server(row)->prepared)));
}

static void get_id(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;

	(void)arg;
	cell_number(c, (int64_t)conn->id);
}

enum { BUF_RECV_POS, BUF_PKT_POS, BUF_PKT_REMAIN, BUF_SEND_POS, BUF_SEND_REMAIN, BUF_PKT_AVAIL, BUF_SEND_AVAIL };

static void get_buffer(struct cell *c, const void *row, unsigned arg)
{
	const struct conn *conn = row;
	uint32_t n = 0;

	switch (arg) {
	case BUF_RECV_POS: n = conn->in.end; break;
	case BUF_PKT_POS: n = conn->in.pos; break;
	case BUF_PKT_REMAIN: n = conn->left; break;
	case BUF_SEND_POS: n = conn->out.pos; break;
	case BUF_SEND_REMAIN: n = buf_len(&conn->out); break;
	case BUF_PKT_AVAIL: n = buf_len(&conn->in); break;
	case BUF_SEND_AVAIL: n = buf_len(&conn->out); break;
	}
	cell_number(c, n);
}

/* ---- tables ---- */

/* clang-format off */
#define CONN_COLUMNS(socket) \
	{"type", COLUMN_TEXT, get_type, 0}, \
	{"user", COLUMN_TEXT, get_user, 0}, \
	{"database", COLUMN_TEXT, get_database, 0}, \
	{"replication", COLUMN_TEXT, get_replication, 0}, \
	{"state", COLUMN_TEXT, get_state, socket}, \
	{"addr", COLUMN_TEXT, get_addr, END_REMOTE}, \
	{"port", COLUMN_INT4, get_port, END_REMOTE}, \
	{"local_addr", COLUMN_TEXT, get_addr, END_LOCAL}, \
	{"local_port", COLUMN_INT4, get_port, END_LOCAL}, \
	{"connect_time", COLUMN_TEXT, get_connect_time, 0}, \
	{"request_time", COLUMN_TEXT, get_request_time, 0}, \
	{"wait", COLUMN_INT4, get_wait, PART_SECONDS}, \
	{"wait_us", COLUMN_INT4, get_wait, PART_REST}, \
	{"close_needed", COLUMN_INT4, get_close_needed, 0}, \
	{"ptr", COLUMN_TEXT, get_ptr, 0}, \
	{"link", COLUMN_TEXT, get_link, 0}, \
	{"remote_pid", COLUMN_INT4, get_remote_pid, 0}, \
	{"tls", COLUMN_TEXT, get_tls, 0}, \
	{"application_name", COLUMN_TEXT, get_application_name, 0}, \
	{"prepared_statements", COLUMN_INT4, get_prepared, 0}, \
	{"id", COLUMN_INT4, get_id, 0}
/* clang-format on */

static const struct column conn_columns[] = {CONN_COLUMNS(0)};

static const struct column socket_columns[] = {
	CONN_COLUMNS(1),
	{"recv_pos", COLUMN_INT4, get_buffer, BUF_RECV_POS},
	{"pkt_pos", COLUMN_INT4, get_buffer, BUF_PKT_POS},
	{"pkt_remain", COLUMN_INT4, get_buffer, BUF_PKT_REMAIN},
	{"send_pos", COLUMN_INT4, get_buffer, BUF_SEND_POS},
	{"send_remain", COLUMN_INT4, get_buffer, BUF_SEND_REMAIN},
	{"pkt_avail", COLUMN_INT4, get_buffer, BUF_PKT_AVAIL},
	{"send_avail", COLUMN_INT4, get_buffer, BUF_SEND_AVAIL},
};

static void rows_clients(const struct show *s)
{
	struct conn *i;

	TAILQ_FOREACH (i, &s->control->pooler->clients, all)
		if (show_is_logged_in(conn_client(i)))
			show_row(s, i);
}

static void rows_servers(const struct show *s)
{
	struct conn *i;

	TAILQ_FOREACH (i, &s->control->pooler->servers, all)
		if (!conn_server(i)->solo)
			show_row(s, i);
}

static void rows_list(const struct show *s, const struct conn_list *list, bool active_only)
{
	struct conn *i;

	TAILQ_FOREACH (i, list, all)
		if ((!active_only || is_active(i)) && (i->side != SIDE_SERVER || !conn_server(i)->solo))
			show_row(s, i);
}

static void rows_sockets(const struct show *s)
{
	rows_list(s, &s->control->pooler->clients, false);
	rows_list(s, &s->control->pooler->servers, false);
}

static void rows_active_sockets(const struct show *s)
{
	rows_list(s, &s->control->pooler->clients, true);
	rows_list(s, &s->control->pooler->servers, true);
}

const struct show_table show_clients = {conn_columns, LENGTH(conn_columns), rows_clients};
const struct show_table show_servers = {conn_columns, LENGTH(conn_columns), rows_servers};
const struct show_table show_sockets = {socket_columns, LENGTH(socket_columns), rows_sockets};
const struct show_table show_active_sockets = {socket_columns, LENGTH(socket_columns), rows_active_sockets};
