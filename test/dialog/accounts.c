/*
 * accounts: what must be left of a world when all its ends have gone (nothing),
 * and how its connections stand, for failures that need more than what was said.
 */
#include "conn/client.h"
#include "conn/server.h"
#include "dialog/dialog.h"
#include "pool/pool.h"
#include "pool/registry.h"

static void describe_conn(struct bytes *out, const struct conn *c)
{
	const struct end *e = c->stream.under, *to = c->peer != NULL ? c->peer->stream.under : NULL;

	bytes_printf(out, "    %s: state %u, in %u, out %u, left %u%s%s%s%s%s%s", e != NULL ? e->name : "?", c->state,
		buf_len(&c->in), buf_len(&c->out), c->left, c->skip ? ", skips" : "", c->blocked ? ", blocked" : "",
		c->eof ? ", eof" : "", c->torn ? ", torn" : "", to != NULL ? ", with " : "",
		to != NULL ? to->name : "");
}

/* Every connection of the pooler as it stands, for failures that need more than what was said. */
void world_describe(struct world *w, struct bytes *out)
{
	struct conn *c;
	struct pool *p;

	TAILQ_FOREACH (c, &w->pooler.clients, all) {
		describe_conn(out, c);
		bytes_printf(out, ", %s\n", client_state_text[c->state]);
	}
	TAILQ_FOREACH (c, &w->pooler.servers, all) {
		const struct server *s = conn_server(c);

		describe_conn(out, c);
		bytes_printf(out, ", %s, status %c, requests %u%s%s%s, cancels %u%s\n", server_state_text[c->state],
			s->status != 0 ? s->status : '-', s->ring.n, s->ring.skipping ? ", skipping" : "",
			s->ring.open ? ", open" : "", s->ring.copying ? ", copying" : "", s->cancels,
			s->dirty ? ", dirty" : "");
	}
	TAILQ_FOREACH (p, &w->pooler.registry.pools, all)
		bytes_printf(out, "    %s/%s: login %u, idle %u, tested %u, busy %u, waiting %u, linked %u, ramp %u\n",
			p->db->name, p->user->name, p->n[SLOT_SETUP], p->n[SLOT_IDLE], p->n[SLOT_TESTED],
			p->n[SLOT_BUSY], p->waiting, p->linked, p->ramp);
}

/* A number that must be 0 when all have gone. */
static void must_be_zero(struct world *w, const char *what, const char *of, size_t n)
{
	if (n != 0)
		world_fail(w, "after all ends have gone, %s%s%s is %zu", what, of[0] != '\0' ? " of " : "", of, n);
}

static void check_pools(struct world *w)
{
	static const char *const slots[SLOT_STATES] = {"login slots", "idle slots", "tested slots", "busy slots"};
	struct registry *r = &w->pooler.registry;
	const struct hnode *h;
	struct pool *p;

	TAILQ_FOREACH (p, &r->pools, all) {
		for (int i = 0; i < SLOT_STATES; i++) {
			must_be_zero(w, slots[i], p->db->name, p->n[i]);
			must_be_zero(w, "the list of slots", p->db->name, !TAILQ_EMPTY(&p->slots[i]));
		}
		must_be_zero(w, "waiting", p->db->name, p->waiting);
		must_be_zero(w, "the list of asks", p->db->name, !TAILQ_EMPTY(&p->asks));
		must_be_zero(w, "linked", p->db->name, p->linked);
		must_be_zero(w, "clients", p->db->name, p->clients);
		must_be_zero(w, "reserved", p->db->name, p->reserved);
	}
	for (h = htab_next(&r->databases, NULL); h != NULL; h = htab_next(&r->databases, h)) {
		const struct database *d = container_of(h, const struct database, by_name);

		must_be_zero(w, "servers of database", d->name, d->servers);
		must_be_zero(w, "clients of database", d->name, d->clients);
	}
	for (h = htab_next(&r->users, NULL); h != NULL; h = htab_next(&r->users, h)) {
		const struct user *u = container_of(h, const struct user, by_name);

		must_be_zero(w, "servers of user", u->name, u->servers);
		must_be_zero(w, "clients of user", u->name, u->clients);
	}
}

void world_check_accounts(struct world *w)
{
	static const enum mem_tag tags[] = {MEM_CLIENT, MEM_LOGIN, MEM_SERVER, MEM_RING, MEM_IO};
	struct pooler *p = &w->pooler;

	must_be_zero(w, "clients", "", p->n_clients);
	must_be_zero(w, "the list of clients", "", !TAILQ_EMPTY(&p->clients));
	must_be_zero(w, "servers", "", p->n_servers);
	must_be_zero(w, "the list of servers", "", !TAILQ_EMPTY(&p->servers));
	must_be_zero(w, "logins", "", p->n_logins);
	must_be_zero(w, "cancel keys", "", p->keys.count);
	must_be_zero(w, "the list of cancels", "", !TAILQ_EMPTY(&p->cancels));
	must_be_zero(w, "clients that count", "", p->registry.clients);
	check_pools(w);
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		struct mem_usage u = mem_usage_get(tags[i]);

		must_be_zero(w, "memory objects", u.name, u.objects - w->idle[tags[i]].objects);
	}
}
