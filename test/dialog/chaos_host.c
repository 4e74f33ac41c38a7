/*
 * chaos_host: the servers of chaos, and the cancel requests that reach them.
 */
#include <stdlib.h>
#include <string.h>

#include "dialog/chaos_priv.h"

int serial_of(const char *sql)
{
	const char *blank = strchr(sql, ' ');
	int n = blank != NULL && blank[1] == '#' ? atoi(blank + 2) : 0;

	return n > 0 && n < SERIALS ? n : 0;
}

static void host_ran(const char *sql, void *arg)
{
	struct chaos *c = arg;
	int n = serial_of(sql);

	/* Whose server was lost may be in no transaction where its model is in a failed one. */
	if (n > 0 && ++c->ran[n] > c->may[n] && (c->died == 0 || (c->ran[n] > 1 && !c->named[n])))
		world_fail(&c->w, "\"%s\" has run more often than it was asked for", sql);
}

static struct host *host_of(struct chaos *c, const struct end *e)
{
	for (size_t i = 0; i < c->n_hosts; i++)
		if (c->hosts[i].e == e)
			return &c->hosts[i];
	return NULL;
}

/* Servers that the pooler has connected to since. */
void hosts_meet(struct chaos *c)
{
	struct end *e;

	TAILQ_FOREACH (e, &c->w.ends, all) {
		if (e->kind != END_SERVER || host_of(c, e) != NULL || c->n_hosts == HOSTS)
			continue;
		c->hosts[c->n_hosts].e = e;
		model_init(&c->hosts[c->n_hosts].m, "UTC");
		c->hosts[c->n_hosts].m.ran = host_ran;
		c->hosts[c->n_hosts].m.arg = c;
		c->n_hosts++;
	}
}

bool host_lives(const struct host *h)
{
	return h->e->stream != NULL && !h->e->eof;
}

bool host_hears(struct chaos *c, struct host *h)
{
	struct end *e = h->e;

	if (e->rx.n == e->rx_pos || h->e->eof)
		return false;
	say_bytes(c, e, "hears", e->rx.p + e->rx_pos, e->rx.n - e->rx_pos);
	model_feed(&h->m, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos);
	e->rx_pos = e->rx.n;
	if (h->m.dead && host_lives(h)) {
		say(c, "%s ends", e->name);
		world_eof(e);
	}
	if (h->m.broken)
		world_fail(&c->w, "%s was sent what it does not know", e->name);
	return true;
}

bool host_answers(struct chaos *c, struct host *h, bool all)
{
	size_t n = h->m.out.n - h->sent;

	if (n == 0 || !host_lives(h))
		return false;
	if (!all)
		n = 1 + pick(c, n > 40 && pick(c, 2) ? 40 : (unsigned)n);
	if (n > h->m.out.n - h->sent)
		n = h->m.out.n - h->sent;
	say_bytes(c, h->e, "answers", h->m.out.p + h->sent, n);
	h->sent += n;
	world_send(h->e, h->m.out.p + h->sent - n, n, NULL, 0);
	return true;
}

void host_dies(struct chaos *c, struct host *h)
{
	static const char last[] = "E\0\0\0\51SFATAL\0VFATAL\0C57P01\0Mterminating\0\0";

	if (!host_lives(h))
		return;
	c->died++;
	say(c, "%s dies", h->e->name);
	if (h->sent == h->m.out.n && pick(c, 2))
		world_send(h->e, last, sizeof(last) - 1, NULL, 0);
	if (pick(c, 2))
		world_eof(h->e);
	else
		world_reset(h->e);
	h->e->eof = true;
}

/* ---- cancel requests: they arrive, hit what runs, and are closed later ---- */

bool cancels_go_on(struct chaos *c, bool all)
{
	struct end *e;
	bool busy = false;

	TAILQ_FOREACH (e, &c->w.ends, all) {
		if (e->kind != END_CANCEL || e->eof || e->stream == NULL || e->rx.n < 16 || (!all && pick(c, 3)))
			continue;
		if (e->rx_pos == 0) {
			e->rx_pos = e->rx.n;
			for (size_t i = 0; i < c->n_hosts; i++)
				if (host_lives(&c->hosts[i]) && memcmp(c->hosts[i].e->key, e->rx.p + 8, 8) == 0) {
					say(c, "%s hits %s", e->name, c->hosts[i].e->name);
					model_wake(&c->hosts[i].m, true);
				}
		} else {
			say(c, "%s lands", e->name);
			world_eof(e);
		}
		busy = true;
		if (!all)
			break;
	}
	return busy;
}
