/*
 * chaos: random sessions over a world, against what a session of its own would
 * have said to each client.
 *
 *     chaos [-v] [-n RUNS] [-s SEED]
 *
 * Clients send requests of many shapes in random pieces, pipeline, cancel, change
 * their time zone, leave in every way and come again; servers (model.h) answer
 * late and in pieces, some die; pools are paused and replaced. Each client must
 * get the answers of a PostgreSQL session that it has alone, message for message;
 * no statement may run twice; what stood before a Terminate must run; and nothing
 * may be left at the end. A failure names the seed: -v -s SEED shows the run.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/timer.h"
#include "conf/config.h"
#include "conn/conn.h"
#include "dialog/dialog.h"
#include "dialog/model.h"
#include "pool/pool.h"
#include "pool/registry.h"

enum { PLAYERS = 6, HOSTS = 512, SERIALS = 8192, STEPS = 400 };

struct player {
	struct end *e; /* NULL: not connected */
	struct model want;
	size_t want_pos; /* of want.out, compared */
	bool logged_in;
	struct bytes todo; /* said, but not sent yet */
	size_t todo_pos;
	bool barrier; /* says nothing until all is answered */
	bool sleeps;  /* what it waits for ends by a cancel */
	char sleep_sql[64];
	bool asked;		  /* a cancel was sent for it */
	bool finished;		  /* has said its last */
	int serials[SERIALS / 8]; /* of its Queries that a session of its own has run */
	size_t n_serials;
};

struct host {
	struct end *e;
	struct model m;
	size_t sent; /* of m.out */
	bool dying;
};

struct chaos {
	struct world w;
	uint64_t seed;
	struct player players[PLAYERS];
	struct host hosts[HOSTS];
	size_t n_hosts;
	int serial;
	unsigned char ran[SERIALS]; /* how often */
	bool must[SERIALS];
	bool session, deaths;
	unsigned died;
	bool trace;
};

static volatile uint64_t now_seed;

static unsigned pick(struct chaos *c, unsigned n)
{
	c->seed ^= c->seed << 13;
	c->seed ^= c->seed >> 7;
	c->seed ^= c->seed << 17;
	return (unsigned)((c->seed >> 11) % n);
}

static void say(struct chaos *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct chaos *c, const char *fmt, ...)
{
	va_list ap;

	if (!c->trace)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void say_bytes(struct chaos *c, const struct end *e, const char *verb, const char *p, size_t n)
{
	struct bytes b = {0};

	if (!c->trace)
		return;
	bytes_print(&b, p, n);
	say(c, "%s %s %s", e->name, verb, b.p);
	bytes_free(&b);
}

/* ---- which statements ran ---- */

static int serial_of(const char *sql)
{
	const char *blank = strchr(sql, ' ');
	int n = blank != NULL && blank[1] == '#' ? atoi(blank + 2) : 0;

	return n > 0 && n < SERIALS ? n : 0;
}

static void host_ran(const char *sql, void *arg)
{
	struct chaos *c = arg;
	int n = serial_of(sql);

	if (n > 0 && c->ran[n]++ > 0)
		world_fail(&c->w, "\"%s\" has run twice", sql);
}

static void player_ran(const char *sql, void *arg)
{
	struct player *p = arg;
	int n = serial_of(sql);

	if (n > 0 && p->want.by_query && p->n_serials < SERIALS / 8)
		p->serials[p->n_serials++] = n;
}

/* ---- servers ---- */

static struct host *host_of(struct chaos *c, const struct end *e)
{
	for (size_t i = 0; i < c->n_hosts; i++)
		if (c->hosts[i].e == e)
			return &c->hosts[i];
	return NULL;
}

/* Servers that the pooler has connected to since. */
static void hosts_meet(struct chaos *c)
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

static bool host_lives(const struct host *h)
{
	return h->e->stream != NULL && !h->e->eof;
}

static bool host_hears(struct chaos *c, struct host *h)
{
	struct end *e = h->e;

	if (e->rx.n == e->rx_pos || h->e->eof)
		return false;
	say_bytes(c, e, "hears", e->rx.p + e->rx_pos, e->rx.n - e->rx_pos);
	model_feed(&h->m, e->rx.p + e->rx_pos, e->rx.n - e->rx_pos);
	e->rx_pos = e->rx.n;
	if (h->m.broken)
		world_fail(&c->w, "%s was sent what it does not know", e->name);
	return true;
}

static bool host_answers(struct chaos *c, struct host *h, bool all)
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

static void host_dies(struct chaos *c, struct host *h)
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

static bool cancels_go_on(struct chaos *c, bool all)
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

/* ---- clients ---- */

static bool player_waits(const struct player *p)
{
	return p->want_pos < p->want.out.n || p->todo_pos < p->todo.n;
}

static void player_forget(struct player *p)
{
	model_free(&p->want);
	bytes_free(&p->todo);
	memset(p, 0, sizeof(*p));
}

static void player_connects(struct chaos *c, struct player *p)
{
	static const char *const zones[] = {"UTC", "Asia/Tokyo", "Europe/Berlin", "America/Lima"};
	const char *zone = zones[pick(c, 4)];
	struct bytes b = {0}, hello = {0};
	char name[32];

	snprintf(name, sizeof(name), "p%d", (int)(p - c->players));
	p->e = world_connect(&c->w, name, false);
	model_init(&p->want, zone);
	p->want.refuses_names = !c->session;
	p->want.ran = player_ran;
	p->want.arg = p;
	bytes_add(&b, "user\0u\0database\0d", 18);
	if (strcmp(zone, "UTC") != 0 || pick(c, 2)) {
		bytes_str(&b, "TimeZone");
		bytes_str(&b, zone);
	}
	if (pick(c, 3) == 0) {
		bytes_str(&b, "application_name");
		bytes_str(&b, name);
	}
	bytes_u32(&hello, (uint32_t)(8 + b.n + 1));
	bytes_u32(&hello, 3 << 16);
	bytes_add(&hello, b.p, b.n);
	bytes_u8(&hello, 0);
	say(c, "%s connects, %s", name, zone);
	world_send(p->e, hello.p, hello.n, NULL, 0);
	bytes_free(&b);
	bytes_free(&hello);
}

static void message(struct bytes *b, char type, const char *p, size_t n)
{
	bytes_u8(b, (unsigned char)type);
	bytes_u32(b, (uint32_t)(4 + n));
	bytes_add(b, p, n);
}

/* A statement with a number of its own, in the client's state. */
static void statement(struct chaos *c, struct player *p, char *sql, size_t size)
{
	/* Not the server's own: nobody could tell then what a RESET was for, since it changes nothing. */
	static const char *const zones[] = {"Asia/Tokyo", "Europe/Berlin", "Asia/Kabul"};
	static const char *const words[] = {
		"select", "select", "select", "select", "fail", "copyin", "copyhalf", "copyout", "nap"};
	bool in_xact = p->want.status != 'I';
	unsigned r = pick(c, 20);

	if (in_xact && r < 6)
		snprintf(sql, size, "%s", pick(c, 3) ? "commit" : "rollback");
	else if (!in_xact && r < 4)
		snprintf(sql, size, "begin");
	else if (r < 8)
		snprintf(sql, size, "set timezone to '%s'", zones[pick(c, 3)]);
	else if (c->serial + 1 >= SERIALS)
		snprintf(sql, size, "%s", "");
	else
		snprintf(sql, size, "%s #%d", words[pick(c, 9)], ++c->serial);
}

/* The data of a COPY that the model waits for, and its end. */
static void end_of_copy(struct chaos *c, struct bytes *b)
{
	for (unsigned i = pick(c, 3); i > 0; i--)
		message(b, 'd', "data\n", 5);
	if (pick(c, 4))
		message(b, 'c', "", 0);
	else
		message(b, 'f', "why", 4);
}

/* Parse, Bind, Describe, Execute of one statement. */
static void extended(struct chaos *c, struct bytes *b, const char *sql, bool named)
{
	struct bytes m = {0};
	const char *name = named ? pick(c, 2) ? "a" : "b" : "";

	bytes_str(&m, name);
	bytes_str(&m, sql);
	bytes_u16(&m, 0);
	message(b, 'P', m.p, m.n);
	m.n = 0;
	if (pick(c, 4) == 0) {
		bytes_u8(&m, 'S');
		bytes_str(&m, name);
		message(b, 'D', m.p, m.n);
		m.n = 0;
	}
	bytes_str(&m, "");
	bytes_str(&m, name);
	bytes_add(&m, "\0\0\0\0\0\0", 6);
	message(b, 'B', m.p, m.n);
	if (pick(c, 3) == 0)
		message(b, 'D', "P", 2);
	message(b, 'E', "\0\0\0\0", 5);
	if (named && strncmp(sql, "copy", 4) != 0 && pick(c, 2)) {
		m.n = 0;
		bytes_u8(&m, 'S');
		bytes_str(&m, name);
		message(b, 'C', m.p, m.n);
	}
	bytes_free(&m);
}

/* What it says is what its model hears; late it is sent. */
static void player_says(struct chaos *c, struct player *p, const struct bytes *b)
{
	model_feed(&p->want, b->p, b->n);
	while (p->want.work != MODEL_READY)
		model_wake(&p->want, p->want.work == MODEL_SLEEPS);
	bytes_add(&p->todo, b->p, b->n);
	if (p->want.broken)
		world_fail(&c->w, "a client says what its model does not know");
}

static void player_asks(struct chaos *c, struct player *p)
{
	struct bytes b = {0};
	char sql[100];
	unsigned r = pick(c, 12);

	if (r == 0 && !player_waits(p) && c->serial + 1 < SERIALS) {
		snprintf(p->sleep_sql, sizeof(p->sleep_sql), "sleep %s-%d", p->e->name, ++c->serial);
		memcpy(sql, p->sleep_sql, sizeof(p->sleep_sql));
		p->asked = false;
		message(&b, 'Q', sql, strlen(sql) + 1);
		p->barrier = p->sleeps = true;
	} else if (r == 1 && !player_waits(p) && p->want.status == 'I') {
		snprintf(sql, sizeof(sql), "reset timezone");
		message(&b, 'Q', sql, strlen(sql) + 1);
		p->barrier = true;
	} else if (r == 2) {
		snprintf(sql, sizeof(sql), "Sync");
		message(&b, 'S', "", 0);
	} else {
		statement(c, p, sql, sizeof(sql));
		if (pick(c, 2))
			message(&b, 'Q', sql, strlen(sql) + 1);
		else
			extended(c, &b, sql, pick(c, 10) == 0);
	}
	say(c, "%s says %s", p->e->name, sql);
	player_says(c, p, &b);
	b.n = 0;
	if (p->want.copying) {
		if (!p->want.copy_query && pick(c, 2))
			message(&b, 'S', "", 0); /* the early Sync of libpq */
		end_of_copy(c, &b);
		player_says(c, p, &b);
		b.n = 0;
	}
	/* A batch is ended soon: nothing but its own requests may come before. */
	if (p->todo.n > 0 && (p->want.skipping || p->want.implicit || pick(c, 2))) {
		message(&b, pick(c, 8) ? 'S' : 'H', "", 0);
		if (b.p[0] == 'H')
			message(&b, 'S', "", 0);
		player_says(c, p, &b);
	}
	bytes_free(&b);
}

static bool player_sends(struct chaos *c, struct player *p, bool all)
{
	size_t n = p->todo.n - p->todo_pos;

	if (n == 0 || p->e == NULL || p->e->stream == NULL)
		return false;
	if (!all && pick(c, 2))
		n = 1 + pick(c, (unsigned)n);
	say_bytes(c, p->e, "sends", p->todo.p + p->todo_pos, n);
	p->todo_pos += n;
	world_send(p->e, p->todo.p + p->todo_pos - n, n, NULL, 0);
	return true;
}

/* Does a server sleep for it? */
static bool player_is_asleep(const struct chaos *c, const struct player *p)
{
	for (size_t i = 0; i < c->n_hosts; i++)
		if (c->hosts[i].m.work == MODEL_SLEEPS && strcmp(c->hosts[i].m.work_sql, p->sleep_sql) == 0)
			return true;
	return false;
}

/* Once, and again when the first was too early; never such that it could hit what the client says next. */
static void player_cancels(struct chaos *c, struct player *p)
{
	struct end *e;

	if (!p->sleeps || p->todo_pos < p->todo.n || (p->asked && !player_is_asleep(c, p)))
		return;
	e = world_end_by_name(&c->w, "k");
	if (e != NULL && e->stream != NULL)
		return;
	p->asked = true;
	say(c, "%s is cancelled", p->e->name);
	world_cancel(&c->w, "k", p->e);
}

static void player_leaves(struct chaos *c, struct player *p)
{
	unsigned how = pick(c, 4);
	bool goodbye = how < 2 && !p->sleeps;
	struct bytes b = {0};

	if (!p->logged_in)
		goodbye = false;
	if (goodbye) {
		message(&b, 'X', "", 0);
		bytes_add(&p->todo, b.p, b.n);
		player_sends(c, p, true);
		for (size_t i = 0; i < p->n_serials; i++)
			c->must[p->serials[i]] = true;
		bytes_free(&b);
	}
	say(c, "%s leaves %s", p->e->name, goodbye ? "with Terminate" : how % 2 ? "by a reset" : "");
	if (how % 2 && !goodbye)
		world_reset(p->e);
	else if (!goodbye || pick(c, 2))
		world_eof(p->e);
	player_forget(p);
}

/* ---- what a client must have got ---- */

static size_t message_size(const char *p, size_t n)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t size;

	if (n < 5)
		return 0;
	size = 1 + ((size_t)u[1] << 24 | (size_t)u[2] << 16 | (size_t)u[3] << 8 | u[4]);
	return n < size ? 0 : size;
}

static const char *error_code(const char *p, size_t n)
{
	const char *at = p + 5, *end = p + n;

	while (at < end && *at != '\0') {
		if (*at == 'C')
			return at + 1;
		at += strlen(at) + 1;
	}
	return "";
}

static bool alike(const char *a, size_t n, const char *b, size_t k)
{
	if (a[0] == 'E' && b[0] == 'E')
		return strcmp(error_code(a, n), error_code(b, k)) == 0;
	return n == k && memcmp(a, b, n) == 0;
}

static void player_differs(struct chaos *c, const struct player *p)
{
	struct bytes b = {0};

	bytes_printf(&b, "%s (%s) was to get\n", p->e->name, p->e->stream != NULL ? "open" : "closed");
	messages_print(&b, p->want.out.p + p->want_pos, p->want.out.n - p->want_pos, true, false);
	bytes_printf(&b, "    but has\n");
	messages_print(&b, p->e->rx.p + p->e->rx_pos, p->e->rx.n - p->e->rx_pos, true, false);
	world_describe(&c->w, &b);
	for (size_t i = 0; i < c->n_hosts; i++)
		if (host_lives(&c->hosts[i]))
			bytes_printf(&b, "    %s: in %zu, out %zu, unheard %zu, work %d%s%s, %c\n", c->hosts[i].e->name,
				c->hosts[i].m.in.n, c->hosts[i].m.out.n - c->hosts[i].sent,
				c->hosts[i].e->rx.n - c->hosts[i].e->rx_pos, c->hosts[i].m.work,
				c->hosts[i].m.copying ? ", copying" : "", c->hosts[i].m.skipping ? ", skipping" : "",
				c->hosts[i].m.status);
	world_fail(&c->w, "%s", b.p);
	bytes_free(&b);
}

/* Everything up to the first ReadyForQuery. */
static bool player_logs_in(struct player *p)
{
	struct end *e = p->e;
	size_t size;

	while (!p->logged_in && (size = message_size(e->rx.p + e->rx_pos, e->rx.n - e->rx_pos)) > 0) {
		const char *m = e->rx.p + e->rx_pos;

		if (m[0] == 'K' && size == 13) {
			memcpy(e->key, m + 5, 8);
			e->key_len = 8;
		}
		p->logged_in = m[0] == 'Z';
		e->rx_pos += size;
	}
	return p->logged_in;
}

/* A connection that was lost with its server: allowed when one has died. */
static void player_lost(struct chaos *c, struct player *p)
{
	size_t n = p->e->rx.n - p->e->rx_pos, size = message_size(p->e->rx.p + p->e->rx_pos, n);
	const char *m = p->e->rx.p + p->e->rx_pos;

	if (c->died == 0) {
		player_differs(c, p);
		return;
	}
	if (size > 0 && m[0] == 'E')
		say(c, "%s has lost its server: %s", p->e->name, error_code(m, size));
	player_forget(p);
}

static void player_compares(struct chaos *c, struct player *p)
{
	struct end *e = p->e;

	if (e == NULL || !player_logs_in(p))
		return;
	for (;;) {
		const char *got = e->rx.p + e->rx_pos, *want = p->want.out.p + p->want_pos;
		size_t n = message_size(got, e->rx.n - e->rx_pos);
		size_t k = message_size(want, p->want.out.n - p->want_pos);

		if (n > 0 && got[0] == 'S') {
			e->rx_pos += n;
		} else if (k > 0 && want[0] == 'S') {
			p->want_pos += k;
		} else if (n > 0 && k > 0 && alike(got, n, want, k)) {
			e->rx_pos += n;
			p->want_pos += k;
		} else if (e->stream == NULL) {
			player_lost(c, p);
			return;
		} else if (n > 0) {
			player_differs(c, p);
			return;
		} else {
			break;
		}
	}
	if (p->want_pos == p->want.out.n && p->todo_pos == p->todo.n)
		p->barrier = p->sleeps = false;
}

/* ---- a run ---- */

static void act_on_player(struct chaos *c, struct player *p)
{
	unsigned r = pick(c, 20);

	if (p->e == NULL) {
		player_connects(c, p);
	} else if (r == 0) {
		player_leaves(c, p);
	} else if (p->sleeps && r < 10) {
		player_cancels(c, p);
	} else if (r == 1) {
		p->e->stalled = !p->e->stalled;
		world_settle(&c->w);
	} else if (r < 8 && p->logged_in && !p->barrier) {
		player_asks(c, p);
	} else {
		player_sends(c, p, false);
	}
}

static void act_on_host(struct chaos *c, struct host *h)
{
	unsigned r = pick(c, 40);

	if (r == 0 && c->deaths) {
		host_dies(c, h);
	} else if (r == 1) {
		h->e->stalled = !h->e->stalled;
		world_settle(&c->w);
	} else if (r < 4 && h->m.work == MODEL_NAPS) {
		model_wake(&h->m, false);
	} else if (r < 20) {
		host_hears(c, h);
	} else {
		host_answers(c, h, false);
	}
}

static void act_on_world(struct chaos *c)
{
	struct registry *r = &c->w.pooler.registry;
	struct pool *p;

	switch (pick(c, 12)) {
	case 0:
		say(c, "reconnect");
		TAILQ_FOREACH (p, &r->pools, all)
			pool_retire(p);
		break;
	case 1:
		r->paused = !r->paused;
		say(c, r->paused ? "pause" : "resume");
		break;
	case 2:
	case 3: world_clock(&c->w, (int64_t)pick(c, 3000) * 1000); break;
	default: cancels_go_on(c, false); return;
	}
	TAILQ_FOREACH (p, &r->pools, all)
		pool_mark(p);
	world_settle(&c->w);
}

static void step(struct chaos *c)
{
	unsigned r = pick(c, 10);

	hosts_meet(c);
	if (r < 5)
		act_on_player(c, &c->players[pick(c, PLAYERS)]);
	else if (r < 9 && c->n_hosts > 0)
		act_on_host(c, &c->hosts[c->n_hosts - 1 - pick(c, c->n_hosts < 8 ? (unsigned)c->n_hosts : 8)]);
	else
		act_on_world(c);
	hosts_meet(c);
	for (size_t i = 0; i < PLAYERS && !c->w.failed; i++)
		player_compares(c, &c->players[i]);
}

/* Ends the batch and the transaction that a client may be in: others wait for its server. */
static bool player_finishes(struct chaos *c, struct player *p)
{
	struct bytes b = {0};
	bool ends = p->e != NULL && p->logged_in && !p->sleeps && !p->finished;

	if (!ends)
		return false;
	p->finished = true;
	message(&b, 'S', "", 0);
	if (p->want.status != 'I')
		message(&b, 'Q', "rollback", 9);
	player_says(c, p, &b);
	bytes_free(&b);
	return true;
}

/* Everybody does all that is to be done, until nobody has anything left. */
static void come_to_rest(struct chaos *c)
{
	struct end *e;
	bool busy = true;

	c->w.pooler.registry.paused = false;
	c->w.way.blocks = false;
	TAILQ_FOREACH (e, &c->w.ends, all)
		e->stalled = false;
	for (int i = 0; i < 2000 && busy && !c->w.failed; i++) {
		struct pool *p;

		busy = false;
		TAILQ_FOREACH (p, &c->w.pooler.registry.pools, all)
			pool_mark(p);
		world_settle(&c->w);
		hosts_meet(c);
		for (size_t k = 0; k < c->n_hosts; k++) {
			struct host *h = &c->hosts[k];

			busy = host_hears(c, h) || busy;
			/* A cancel for a client that left may have been there before its query: that sleeps on. */
			if (h->m.work == MODEL_NAPS || (h->m.work == MODEL_SLEEPS && i > 1000)) {
				model_wake(&h->m, false);
				busy = true;
			}
			busy = host_answers(c, h, true) || h->m.work != MODEL_READY || busy;
		}
		busy = cancels_go_on(c, true) || busy;
		for (size_t k = 0; k < PLAYERS && !c->w.failed; k++) {
			struct player *q = &c->players[k];

			busy = player_finishes(c, q) || busy;
			busy = player_sends(c, q, true) || busy;
			player_compares(c, q);
			if (q->e != NULL && q->sleeps) {
				player_cancels(c, q);
				busy = true;
			}
		}
	}
}

static void all_must_be_answered(struct chaos *c)
{
	for (size_t i = 0; i < PLAYERS && !c->w.failed; i++) {
		struct player *p = &c->players[i];

		if (p->e != NULL && (!p->logged_in || p->want_pos < p->want.out.n))
			player_differs(c, p);
		for (size_t k = 0; p->e != NULL && k < p->n_serials; k++)
			c->must[p->serials[k]] = true;
	}
}

static bool chaos_run(struct chaos *c, struct config *config, uint64_t seed)
{
	struct way way = {.name = "chaos", .cut = -1};
	bool ok;

	c->seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	now_seed = seed;
	if (pick(c, 2))
		way.read = 1 + pick(c, 50);
	if (pick(c, 2)) {
		way.write = 1 + pick(c, 50);
		way.blocks = pick(c, 2);
	}
	world_begin(&c->w, config, &way);
	c->w.trace = c->trace;
	for (int i = 0; i < STEPS && !c->w.failed; i++)
		step(c);
	come_to_rest(c);
	all_must_be_answered(c);
	for (size_t i = 0; i < PLAYERS; i++)
		if (c->players[i].e != NULL) {
			world_eof(c->players[i].e);
			player_forget(&c->players[i]);
		}
	come_to_rest(c);
	for (int i = 1; i <= c->serial && c->died == 0; i++)
		if (c->must[i] && c->ran[i] == 0)
			world_fail(&c->w, "statement #%d was said and did not run", i);
	ok = world_end(&c->w);
	if (!ok)
		printf("# seed %llu: %s\n", (unsigned long long)seed, c->w.failure.p);
	world_free(&c->w);
	for (size_t i = 0; i < c->n_hosts; i++)
		model_free(&c->hosts[i].m);
	for (size_t i = 0; i < PLAYERS; i++)
		player_forget(&c->players[i]);
	return ok;
}

static void on_abort(int sig)
{
	char text[100];
	int n = snprintf(text, sizeof(text), "# died with seed %llu\n", (unsigned long long)now_seed);

	if (n > 0 && write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(1);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* One kind of world: the low bits of a seed. */
enum { KINDS = 8 };

static struct config *kind_config(unsigned kind, const char *dir)
{
	struct recipe r = {0};
	struct config *c;

	bytes_printf(&r.set, "pool_mode = %s\ndefault_pool_size = %d\n", kind & 1 ? "session" : "transaction",
		kind & 1   ? PLAYERS
		: kind & 2 ? 3
			   : 1);
	bytes_printf(&r.set, "server_reset_query = %s\n", kind & 1 && kind & 2 ? "" : "DISCARD ALL");
	bytes_printf(&r.set, "server_reset_query_always = %d\n", kind == 6);
	if (kind == 2)
		bytes_printf(&r.set, "min_pool_size = 2\nreserve_pool_size = 1\nreserve_pool_timeout = 1\n");
	bytes_printf(&r.set, "query_wait_timeout = 0\nquery_wait_notify = 0\nserver_connect_timeout = 100000\n"
			     "client_login_timeout = 0\nserver_login_retry = 1\nserver_check_delay = 5\n"
			     "server_lifetime = 40\nserver_idle_timeout = 20\n");
	c = recipe_load(&r, dir, "chaos");
	recipe_free(&r);
	return c;
}

int main(int argc, char **argv)
{
	static const char *const names[KINDS] = {"transaction mode, one server", "session mode",
		"transaction mode, three servers", "session mode without a reset",
		"transaction mode, one server, which dies", "session mode, servers die",
		"transaction mode, three servers, which die", "session mode without a reset, servers die"};
	unsigned long runs = 150, only = 0;
	char dir[] = "/tmp/chaos-XXXXXX";
	bool trace = false, one = false;
	int o, failed = 0;

	while ((o = getopt(argc, argv, "vn:s:")) != -1) {
		if (o == '?')
			return 2;
		trace = trace || o == 'v';
		if (o == 'n')
			runs = strtoul(optarg, NULL, 0);
		if (o == 's') {
			only = strtoul(optarg, NULL, 0);
			one = true;
		}
	}
	signal(SIGABRT, on_abort);
	if (mkdtemp(dir) == NULL)
		return 1;
	for (unsigned kind = 0; kind < KINDS; kind++) {
		struct config *config = kind_config(kind, dir);
		bool ok = config != NULL;

		for (unsigned long i = 0; i < runs && ok; i++) {
			uint64_t seed = i * KINDS + kind;
			struct chaos *c;

			if (one && seed != only)
				continue;
			c = calloc(1, sizeof(*c));
			if (c == NULL)
				return 1;
			c->trace = trace;
			c->session = kind & 1;
			c->deaths = kind >= 4;
			ok = chaos_run(c, config, seed);
			free(c);
		}
		printf("%sok %u - %s\n", ok ? "" : "not ", kind + 1, names[kind]);
		fflush(stdout);
		failed += !ok;
		config_unref(&config);
	}
	rmdir(dir);
	printf("1..%d\n", KINDS);
	return failed > 0;
}
