/*
 * show_peers: SHOW PEERS and PEER_POOLS. A row is a struct peer.
 */
#include "admin/control.h"
#include "conn/conn.h"
#include "conn/peer.h"
#include "pool/endpoint.h"
#include "show_priv.h"

enum { PEER_ID, PEER_PORT, PEER_SIZE, PEER_ACTIVE, PEER_WAITING, PEER_LOGIN };

static void get_number(struct cell *c, const void *row, unsigned arg)
{
	const struct peer *p = row;
	const int64_t numbers[] = {p->id, p->endpoint->port, p->size, p->active, p->waiting, 0};

	cell_number(c, numbers[arg]);
}

static void get_host(struct cell *c, const void *row, unsigned arg)
{
	const struct peer *p = row;

	(void)arg;
	cell_text(c, p->endpoint->host);
}

static const struct column peers_columns[] = {
	{"peer_id", COLUMN_INT4, get_number, PEER_ID},
	{"host", COLUMN_TEXT, get_host, 0},
	{"port", COLUMN_INT4, get_number, PEER_PORT},
	{"pool_size", COLUMN_INT4, get_number, PEER_SIZE},
};

/* A request is no login, and one connection to the peer. */
static const struct column peer_pools_columns[] = {
	{"peer_id", COLUMN_INT4, get_number, PEER_ID},
	{"cl_active_cancel_req", COLUMN_INT4, get_number, PEER_ACTIVE},
	{"cl_waiting_cancel_req", COLUMN_INT4, get_number, PEER_WAITING},
	{"sv_active_cancel", COLUMN_INT4, get_number, PEER_ACTIVE},
	{"sv_login", COLUMN_INT4, get_number, PEER_LOGIN},
};

static void rows_peers(const struct show *s)
{
	const struct peer *p;

	TAILQ_FOREACH (p, &s->control->pooler->peers, link)
		if (!p->gone)
			show_row(s, p);
}

const struct show_table show_peers = {peers_columns, LENGTH(peers_columns), rows_peers};
const struct show_table show_peer_pools = {peer_pools_columns, LENGTH(peer_pools_columns), rows_peers};
