/*
 * chaos_player: the clients of chaos: what they say, how they come and go, and
 * whether they got what a session of their own would have said.
 */
#include <stdio.h>
#include <string.h>

#include "dialog/chaos_priv.h"

static void player_ran(const char *sql, void *arg)
{
	struct player *p = arg;
	int n = serial_of(sql);

	p->may[n]++;
	/* Its client leaves, it is cancelled, and a Close behind it is skipped: what follows finds its name once more. */
	if (strncmp(sql, "nap ", 4) == 0 && !p->want.by_query)
		p->may[n] = 100;
	if (n > 0 && p->want.by_query && p->n_serials < SERIALS / 8)
		p->serials[p->n_serials++] = n;
}

static bool player_waits(const struct player *p)
{
	return p->want_pos < p->want.out.n || p->todo_pos < p->todo.n;
}

void player_forget(struct player *p)
{
	model_free(&p->want);
	bytes_free(&p->todo);
	memset(p, 0, sizeof(*p));
}

void player_connects(struct chaos *c, struct player *p)
{
	static const char *const zones[] = {"UTC", "Asia/Tokyo", "Europe/Berlin", "America/Lima"};
	const char *zone = zones[pick(c, 4)];
	struct bytes b = {0}, hello = {0};
	char name[32];

	snprintf(name, sizeof(name), "p%d", (int)(p - c->players));
	p->e = world_connect(&c->w, name, false);
	model_init(&p->want, zone);
	p->want.refuses_names = c->refuses_names;
	p->want.ran = player_ran;
	p->may = c->may;
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

/* Of SQL's PREPARE, EXECUTE and DEALLOCATE. What is prepared has no number: it may be prepared more than once. */
static void sql_name(struct chaos *c, char *sql, size_t size)
{
	char name = (char)('a' + pick(c, 4));
	unsigned r = pick(c, 5);

	if (r < 2)
		snprintf(sql, size, "prepare %c as select p%u", name, pick(c, 3));
	else
		snprintf(sql, size, "%s %c", r < 4 ? "execute" : "deallocate", name);
}

static bool is_sql_name(const char *sql)
{
	return strncmp(sql, "prepare", 7) == 0 || strncmp(sql, "execute", 7) == 0 ||
	       (strncmp(sql, "deallocate", 10) == 0 && strcmp(sql, "deallocate all") != 0);
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
	else if (r == 8)
		snprintf(sql, size, "deallocate all");
	else if (r < 12 && c->names && !c->refuses_names)
		sql_name(c, sql, size);
	else if (c->serial + 1 >= SERIALS)
		snprintf(sql, size, "%s", "");
	else
		snprintf(sql, size, "%s #%d", words[pick(c, 9)], ++c->serial);
	if (c->serial > 0 && serial_of(sql) == c->serial)
		c->owner[c->serial] = (unsigned char)(1 + (p - c->players));
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

static void about(struct bytes *b, char type, char what, const char *name)
{
	struct bytes m = {0};

	bytes_u8(&m, (unsigned char)what);
	bytes_str(&m, name);
	message(b, type, m.p, m.n);
	bytes_free(&m);
}

/* Parse, Bind, Describe, Execute of one statement; with a name it may be one of before, or of nothing. */
static void extended(struct chaos *c, struct bytes *b, const char *sql, bool named)
{
	static const char *const names[] = {"a", "b", "c", "d"};
	struct bytes m = {0};
	const char *name = named ? names[pick(c, 4)] : "";
	bool again = named && pick(c, 2), copies = strncmp(sql, "copy", 4) == 0 || strncmp(sql, "execute", 7) == 0;

	if (named && pick(c, 6) == 0)
		about(b, 'C', 'S', names[pick(c, 4)]);
	if (named)
		c->named[serial_of(sql)] = true;
	if (!again) {
		bytes_str(&m, name);
		bytes_str(&m, sql);
		bytes_u16(&m, 0);
		message(b, 'P', m.p, m.n);
		m.n = 0;
	}
	if (pick(c, 4) == 0)
		about(b, 'D', 'S', name);
	bytes_str(&m, "");
	bytes_str(&m, name);
	bytes_add(&m, "\0\0\0\0\0\0", 6);
	message(b, 'B', m.p, m.n);
	if (pick(c, 3) == 0)
		message(b, 'D', "P", 2);
	message(b, 'E', "\0\0\0\0", 5);
	/* Not behind a COPY, which it may be: that ends with its data. */
	if (named && !again && !copies && pick(c, 3) == 0)
		about(b, 'C', 'S', name);
	if (!again && !copies && pick(c, 6) == 0)
		about(b, 'C', 'P', "");
	bytes_free(&m);
}

static size_t message_size(const char *p, size_t n)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t size;

	if (n < 5)
		return 0;
	size = 1 + ((size_t)u[1] << 24 | (size_t)u[2] << 16 | (size_t)u[3] << 8 | u[4]);
	return n < size ? 0 : size;
}

/* A Sync into a COPY is not answered, if there is that COPY. */
static void player_counts(struct player *p, const struct bytes *b)
{
	size_t n;

	for (size_t at = 0; (n = message_size(b->p + at, b->n - at)) > 0; at += n) {
		char type = b->p[at];

		p->most += type == 'Q' || type == 'S';
		p->least += type == 'S' && !p->want.copying;
		p->copies = p->copies || ((type == 'Q' || type == 'P') && memmem(b->p + at, n, "copy", 4) != NULL);
	}
}

/* What it says is what its model hears; late it is sent. */
static void player_says(struct chaos *c, struct player *p, const struct bytes *b)
{
	player_counts(p, b);
	model_feed(&p->want, b->p, b->n);
	while (p->want.work != MODEL_READY)
		model_wake(&p->want, p->want.work == MODEL_SLEEPS);
	bytes_add(&p->todo, b->p, b->n);
	if (!p->loose && (p->want.broken || p->want.dead))
		world_fail(&c->w, "a client says what its model does not know");
}

void player_asks(struct chaos *c, struct player *p)
{
	struct bytes b = {0};
	char sql[100];
	unsigned r = pick(c, 12);

	if (r == 0 && !player_waits(p) && p->want.status != 'E' && c->serial + 1 < SERIALS) {
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
			extended(c, &b, sql, c->names && pick(c, 3) == 0 && !is_sql_name(sql));
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

bool player_sends(struct chaos *c, struct player *p, bool all)
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
void player_cancels(struct chaos *c, struct player *p)
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

void player_leaves(struct chaos *c, struct player *p)
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

bool player_finishes(struct chaos *c, struct player *p)
{
	struct bytes b = {0};
	bool ends = p->e != NULL && p->logged_in && !p->sleeps && !p->finished;

	if (!ends)
		return false;
	p->finished = true;
	if (p->loose && p->copies) /* it may be in a COPY; if not, this is nothing */
		message(&b, 'f', "the end", 8);
	message(&b, 'S', "", 0);
	if (p->want.status != 'I' || p->loose)
		message(&b, 'Q', "rollback", 9);
	player_says(c, p, &b);
	bytes_free(&b);
	return true;
}

/* ---- what a client must have got ---- */

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

void player_differs(struct chaos *c, const struct player *p)
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

/* Is it a row of somebody else? */
static bool is_others(const struct chaos *c, const struct player *p, const char *row, size_t n)
{
	char text[64] = "- ";
	int serial;

	if (n < 12 || row[11] != '#')
		return false;
	snprintf(text + 2, sizeof(text) - 2, "%.*s", (int)(n - 11), row + 11);
	serial = serial_of(text);
	return serial > 0 && c->owner[serial] != 1 + (p - c->players);
}

static void player_hears_loosely(struct chaos *c, struct player *p)
{
	struct end *e = p->e;
	size_t n;

	while ((n = message_size(e->rx.p + e->rx_pos, e->rx.n - e->rx_pos)) > 0) {
		const char *m = e->rx.p + e->rx_pos;
		bool second = m[0] == 'E' && p->failed;

		p->failed = m[0] == 'E' || (p->failed && m[0] != 'Z');
		if (m[0] == 'Z') {
			p->ready++;
			p->status = m[5];
		}
		if (p->ready > p->most || (m[0] == 'D' && is_others(c, p, m, n)) || (second && e->stream != NULL)) {
			player_differs(c, p);
			return;
		}
		e->rx_pos += n;
	}
	if (e->stream == NULL)
		player_forget(p);
}

/* It hears that its server is lost, or by the status that its transaction is. */
static bool is_of_loss(const struct chaos *c, const char *got, size_t n, const char *want, size_t k)
{
	if (c->died == 0 || n == 0)
		return false;
	if (got[0] == 'E')
		return strncmp(error_code(got, n), "0800", 4) == 0 && got[6] == 'E' && got[7] == 'R';
	return got[0] == 'Z' && k > 0 && want[0] == 'Z';
}

void player_compares(struct chaos *c, struct player *p)
{
	struct end *e = p->e;

	if (e == NULL || !player_logs_in(p))
		return;
	if (p->loose) {
		player_hears_loosely(c, p);
		return;
	}
	for (;;) {
		const char *got = e->rx.p + e->rx_pos, *want = p->want.out.p + p->want_pos;
		size_t n = message_size(got, e->rx.n - e->rx_pos);
		size_t k = message_size(want, p->want.out.n - p->want_pos);

		if (n > 0 && got[0] == 'S') {
			e->rx_pos += n;
		} else if (k > 0 && want[0] == 'S') {
			p->want_pos += k;
		} else if (n > 0 && k > 0 && alike(got, n, want, k)) {
			p->ready += got[0] == 'Z';
			p->failed = got[0] == 'E' || (p->failed && got[0] != 'Z');
			e->rx_pos += n;
			p->want_pos += k;
		} else if (is_of_loss(c, got, n, want, k)) {
			say(c, "%s has lost its server, and stays", e->name);
			p->loose = p->barrier = true;
			p->sleeps = false;
			player_hears_loosely(c, p);
			return;
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
