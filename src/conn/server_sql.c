/*
 * server_sql.c: client_sql.c's other half: what texts whose names are the
 * server's have done there: what SQL's PREPARE and DEALLOCATE have made and
 * dropped, what a portal runs, and that errors speak of the client's names.
 */
#include <ctype.h>
#include <string.h>

#include "conn/link.h"
#include "conn/relay.h"
#include "conn/server_priv.h"
#include "pool/stmt.h"
#include "pool/vars.h"
#include "proto/msgw.h"
#include "proto/wire.h"

bool server_sql_bind(struct conn *c, const char *portal, struct stmt *st)
{
	struct server *s = conn_server(c);
	struct stmt_name *n = stmt_map_find(s->portals, portal);

	if (n)
		stmt_map_fail(n);
	return !st || stmt_map_add(&s->portals, portal, st);
}

struct stmt_edits *server_sql_bound(const struct conn *c, const char *portal)
{
	const struct server *s = (const struct server *)(const void *)c;
	const struct stmt_name *n = stmt_map_find(s->portals, portal);

	return n ? n->stmt->edits : NULL;
}

/*
 * Literals in what SQL has prepared were read under the settings of that moment. Of statements behind others in a Query those
 * are known at its end.
 */
static void server_made_under_now(struct server *s, struct stmt *st)
{
	struct vars *before = st->settings;

	if (st->shared)
		return;
	st->settings = vars_ref(server_stmt_settings(&s->c));
	vars_unref(&before);
}

void server_sql_ended(struct server *s, const struct request *q)
{
	for (uint32_t i = 0; i < q->edits->n; i++)
		if (q->edits->v[i].what == EDIT_MAKES && q->edits->v[i].statement)
			server_made_under_now(s, q->edits->v[i].name->stmt);
	s->statement = 0;
}

static void server_ran_edit(struct server *s, const struct stmt_edit *e, const char *tag)
{
	struct conn *cl = s->c.peer;
	const struct stmt *st = e->name->stmt;

	if (e->what == EDIT_USES && st && st->edits) { /* what it EXECUTEs makes or drops a name itself */
		if (st->edits->v[0].what != EDIT_USES)
			server_ran_edit(s, &st->edits->v[0], tag);
	} else if (e->what == EDIT_USES && st && !strcmp(tag, "PREPARE")) { /* its name now stands for another text */
		conn_close(&s->c, CLOSE_SERVER_PROTOCOL,
			"a prepared statement was dropped without the pooler's knowledge");
	} else if (e->what == EDIT_MAKES && !strcmp(tag, "PREPARE")) {
		if (!stmt_cache_use(&s->prepared, e->name->stmt))
			stmt_cache_add(&s->prepared, e->name->stmt);
		server_made_under_now(s, e->name->stmt);
		if (cl)
			cl->ops->asks->made(cl, e->name);
	} else if (e->what == EDIT_DROPS && e->name->stmt && !strcmp(tag, "DEALLOCATE")) {
		stmt_cache_remove(&s->prepared, e->name->stmt);
		if (cl)
			cl->ops->asks->dropped(cl, e->name);
	}
}

void server_sql_ran(struct server *s, const struct request *q, const char *tag)
{
	struct stmt_edits *edits = stmt_edits_ref(q->edits);
	bool query = q->kind == REQ_QUERY;

	for (uint32_t i = 0; i < edits->n && !conn_is_closed(&s->c); i++)
		if (!query || edits->v[i].statement == s->statement)
			server_ran_edit(s, &edits->v[i], tag);
	if (query)
		s->statement++;
	stmt_edits_unref(&edits);
}

static bool speaks_of(const char *message, const struct stmt *st)
{
	const char *at = strstr(message, st->name);

	return at && !isdigit((unsigned char)at[strlen(st->name)]);
}

static struct msgw_edit server_edit_back(const struct server *s, const struct stmt_edit *e)
{
	return (struct msgw_edit){
		.from = e->name->stmt ? e->name->stmt->name : s->c.pooler->refused_name,
		.to = e->name->name,
		.at = e->at,
		.was = e->was,
		.is = e->is,
	};
}

void server_sql_error(struct server *s, const struct msg *m, const struct stmt_edits *e)
{
	struct msgw_edit v[2 * STMT_EDITS_MAX];
	struct error_fields f;
	uint32_t n = e->n;
	struct stmt *st;

	wire_error_fields(m, &f);
	for (uint32_t i = 0; i < e->n; i++) {
		v[i] = server_edit_back(s, &e->v[i]);
		st = e->v[i].name->stmt;
		if (st && !strcmp(f.code, "26000") && speaks_of(f.message, st))
			stmt_cache_remove(&s->prepared, st); /* somebody closed it behind our back */
		if (st && st->edits) {			     /* what it EXECUTEs is one itself, and not of this text */
			v[n] = server_edit_back(s, &st->edits->v[0]);
			v[n++].at = UINT32_MAX;
		}
	}
	msgw_error_edited(relay_out(s->c.peer), m, v, n);
}
