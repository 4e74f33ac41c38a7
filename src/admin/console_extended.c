/*
 * console_extended: prepared statements and portals of a console. Each command
 * is a transaction of its own: portals end at Sync.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "admin/console.h"
#include "admin/result.h"
#include "base/mem.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "console_priv.h"
#include "net/buf.h"
#include "proto/msgw.h"
#include "proto/wire.h"

/* A prepared statement; portals keep it alive. */
struct prepared {
	TAILQ_ENTRY(prepared) link;
	unsigned refs;
	char *name; /* "": the unnamed one */
	struct command command;
};

struct portal {
	TAILQ_ENTRY(portal) link;
	char *name;
	struct prepared *prepared;
	uint16_t *formats; /* of the columns */
	size_t n_formats;
	struct buf rows; /* made, and not asked for yet */
	bool ran;
};

/* Names that a client chose, cut. */
static void fail_named(struct console_session *s, const char *code, const char *head, const char *name,
	const char *tail)
{
	char text[200];

	snprintf(text, sizeof text, "%s\"%.100s\"%s", head, name, tail);
	console_fail(s, code, text);
}

/* ---- statements and portals ---- */

static void prepared_unref(struct prepared *p)
{
	if (--p->refs > 0)
		return;
	command_free(&p->command);
	xfree(MEM_CLIENT, p->name);
	xfree(MEM_CLIENT, p);
}

static struct prepared *prepared_find(const struct console_session *s, const char *name)
{
	struct prepared *p;

	TAILQ_FOREACH (p, &s->statements, link)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static void prepared_drop(struct console_session *s, struct prepared *p)
{
	if (p == NULL)
		return;
	TAILQ_REMOVE(&s->statements, p, link);
	s->n_named -= p->name[0] != '\0';
	prepared_unref(p);
}

static struct portal *portal_find(const struct console_session *s, const char *name)
{
	struct portal *p;

	TAILQ_FOREACH (p, &s->portals, link)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static void portal_drop(struct console_session *s, struct portal *p)
{
	if (p == NULL)
		return;
	TAILQ_REMOVE(&s->portals, p, link);
	s->n_portals--;
	prepared_unref(p->prepared);
	buf_free(&p->rows);
	xfree(MEM_CLIENT, p->formats);
	xfree(MEM_CLIENT, p->name);
	xfree(MEM_CLIENT, p);
}

static void drop_portals(struct console_session *s)
{
	while (!TAILQ_EMPTY(&s->portals))
		portal_drop(s, TAILQ_FIRST(&s->portals));
}

void console_end_unnamed(struct console_session *s)
{
	drop_portals(s);
	prepared_drop(s, prepared_find(s, ""));
}

void console_forget(struct console_session *s)
{
	drop_portals(s);
	while (!TAILQ_EMPTY(&s->statements))
		prepared_drop(s, TAILQ_FIRST(&s->statements));
}

/* ---- the messages ---- */

void console_on_parse(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *name = msgr_cstr(&r), *text = msgr_cstr(&r);
	uint16_t types = msgr_u16(&r);
	struct command c;
	struct prepared *p;
	char why[COMMAND_WHY];

	(void)msgr_bytes(&r, 4 * (size_t)types);
	if (!msgr_end(&r)) {
		console_fail_malformed(s, "Parse");
		return;
	}
	if (name[0] == '\0')
		prepared_drop(s, prepared_find(s, ""));
	if (types > 0)
		console_fail(s, "08P01", "commands of the console take no parameters");
	else if (strlen(name) >= CONSOLE_NAME)
		console_fail(s, "08P01", "the name of the prepared statement is too long for the console");
	else if (prepared_find(s, name) != NULL)
		fail_named(s, "42P05", "prepared statement ", name, " already exists");
	else if (name[0] != '\0' && s->n_named >= CONSOLE_STATEMENTS)
		console_fail(s, "08P01", "too many prepared statements on the console");
	else if (!command_parse(text, &c, why))
		console_fail_as(s, "08P01", why, "invalid command");
	else {
		p = xcalloc(MEM_CLIENT, 1, sizeof *p);
		*p = (struct prepared){.refs = 1, .name = xstrdup(MEM_CLIENT, name), .command = c};
		TAILQ_INSERT_TAIL(&s->statements, p, link);
		s->n_named += name[0] != '\0';
		msgw_empty(console_out(s), MSG_PARSE_COMPLETE);
	}
}

/* Do the format codes of a Bind fit the rows of the command? */
static bool formats_fit(struct console_session *s, const struct command *c, const uint16_t *formats, size_t n)
{
	size_t columns;
	char text[100];

	(void)command_columns(c, &columns);
	if (columns > 0 && n > 1 && n != columns) {
		snprintf(text, sizeof text, "bind message has %zu result formats but query has %zu columns", n,
			columns);
		console_fail(s, "08P01", text);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (formats[i] <= 1)
			continue;
		snprintf(text, sizeof text, "unsupported format code: %u", formats[i]);
		console_fail(s, "08P01", text);
		return false;
	}
	return true;
}

/* Reads a count and so many 16-bit words; *n is the count. xfree(MEM_CLIENT, ...). */
static uint16_t *take_words(struct msgr *r, size_t *n)
{
	uint16_t *v;

	*n = msgr_u16(r);
	if (msgr_left(r) < 2 * *n) {
		r->failed = true;
		*n = 0;
	}
	v = xcalloc(MEM_CLIENT, *n, sizeof *v);
	for (size_t i = 0; i < *n; i++)
		v[i] = msgr_u16(r);
	return v;
}

static void make_portal(struct console_session *s, const char *name, struct prepared *prepared, uint16_t **formats,
	size_t n_formats)
{
	struct portal *p = xcalloc(MEM_CLIENT, 1, sizeof *p);

	*p = (struct portal){
		.name = xstrdup(MEM_CLIENT, name), .prepared = prepared, .formats = *formats, .n_formats = n_formats};
	*formats = NULL;
	prepared->refs++;
	TAILQ_INSERT_TAIL(&s->portals, p, link);
	s->n_portals++;
	msgw_empty(console_out(s), MSG_BIND_COMPLETE);
}

void console_on_bind(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *name = msgr_cstr(&r), *statement = msgr_cstr(&r);
	struct prepared *prepared = prepared_find(s, statement);
	size_t n = 0;
	uint16_t *formats, params;

	xfree(MEM_CLIENT, take_words(&r, &n));
	params = msgr_u16(&r);
	if (!r.failed && params > 0) {
		console_fail(s, "08P01", "commands of the console take no parameters");
		return;
	}
	formats = take_words(&r, &n);
	if (name[0] == '\0')
		portal_drop(s, portal_find(s, ""));
	if (!msgr_end(&r))
		console_fail_malformed(s, "Bind");
	else if (prepared == NULL)
		fail_named(s, "26000", "prepared statement ", statement, " does not exist");
	else if (portal_find(s, name) != NULL)
		fail_named(s, "42P03", "cursor ", name, " already exists");
	else if (strlen(name) >= CONSOLE_NAME || s->n_portals >= CONSOLE_PORTALS)
		console_fail(s, "08P01", "too many portals on the console");
	else if (formats_fit(s, &prepared->command, formats, n))
		make_portal(s, name, prepared, &formats, n);
	xfree(MEM_CLIENT, formats);
}

static void describe(struct console_session *s, const struct command *c, const uint16_t *formats, size_t n_formats)
{
	const struct result r = {.out = console_out(s), .formats = formats, .n_formats = n_formats};
	size_t n;
	const struct column *columns = command_columns(c, &n);

	if (columns != NULL)
		result_describe(&r, columns, n);
	else
		msgw_empty(r.out, MSG_NO_DATA);
}

void console_on_describe(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	uint8_t what = msgr_u8(&r);
	const char *name = msgr_cstr(&r);
	const struct prepared *p = prepared_find(s, name);
	const struct portal *portal = portal_find(s, name);

	if (!msgr_end(&r) || (what != 'S' && what != 'P')) {
		console_fail_malformed(s, "Describe");
	} else if (what == 'S' && p == NULL) {
		fail_named(s, "26000", "prepared statement ", name, " does not exist");
	} else if (what == 'P' && portal == NULL) {
		fail_named(s, "34000", "portal ", name, " does not exist");
	} else if (what == 'S') {
		msgw_parameter_description(console_out(s), NULL, 0);
		describe(s, &p->command, NULL, 0);
	} else {
		describe(s, &portal->prepared->command, portal->formats, portal->n_formats);
	}
}

/* Up to max rows of those that wait in the portal go out; what comes behind the last one only if there were fewer. */
static void send_rows(struct console_session *s, struct portal *p, uint32_t max)
{
	struct buf *out = console_out(s);
	uint32_t sent = 0;
	struct msg m;
	size_t need;

	while (buf_len(&p->rows) > 0) {
		/* Our own messages, all of them whole. */
		if (wire_scan(WIRE_SERVER, buf_head(&p->rows), buf_len(&p->rows), &m, &need) != WIRE_OK)
			assert(false);
		if (sent == max && m.type != MSG_ERROR_RESPONSE) {
			msgw_empty(out, MSG_PORTAL_SUSPENDED);
			return;
		}
		sent += m.type == MSG_DATA_ROW;
		s->skipping = m.type == MSG_ERROR_RESPONSE;
		buf_append(out, buf_head(&p->rows), WIRE_HEADER + m.len);
		buf_consume(&p->rows, WIRE_HEADER + m.len);
	}
}

/* A portal that has run before: what is left of its rows, or that there is nothing left. */
static void go_on(struct console_session *s, struct portal *p, uint32_t max)
{
	size_t n;

	if (buf_len(&p->rows) > 0)
		send_rows(s, p, max > 0 ? max : UINT32_MAX);
	else if (command_columns(&p->prepared->command, &n) != NULL)
		msgw_command_complete(console_out(s), command_tag(&p->prepared->command));
	else
		fail_named(s, "55000", "portal ", p->name, " cannot be run");
}

static enum command_outcome execute(struct console_session *s, struct portal *p, uint32_t max)
{
	struct client *cl = s->client;
	struct prepared *prepared = p->prepared;
	size_t n;
	bool in_parts = max > 0 && command_columns(&prepared->command, &n) != NULL;
	struct result r = {
		.out = in_parts ? &p->rows : console_out(s), .formats = p->formats, .n_formats = p->n_formats};
	enum command_outcome outcome;

	p->ran = true;
	prepared->refs++; /* a command may end its own client */
	outcome = console_run(s, &prepared->command, &r);
	if (!conn_is_closed(&cl->c)) {
		s->skipping = r.failed;
		if (in_parts)
			send_rows(s, p, max);
		if (outcome == COMMAND_WAITS)
			console_wait(s, &prepared->command, false);
	}
	prepared_unref(prepared);
	return outcome;
}

void console_on_execute(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *name = msgr_cstr(&r);
	uint32_t max = msgr_u32(&r);
	struct portal *p = portal_find(s, name);

	if (!msgr_end(&r))
		console_fail_malformed(s, "Execute");
	else if (p == NULL)
		fail_named(s, "34000", "portal ", name, " does not exist");
	else if (command_is_empty(&p->prepared->command))
		msgw_empty(console_out(s), MSG_EMPTY_QUERY);
	else if (p->ran)
		go_on(s, p, max <= INT32_MAX ? max : 0);
	else
		(void)execute(s, p, max <= INT32_MAX ? max : 0);
}

void console_on_close(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	uint8_t what = msgr_u8(&r);
	const char *name = msgr_cstr(&r);

	if (!msgr_end(&r) || (what != 'S' && what != 'P')) {
		console_fail_malformed(s, "Close");
		return;
	}
	if (what == 'S')
		prepared_drop(s, prepared_find(s, name));
	else
		portal_drop(s, portal_find(s, name));
	msgw_empty(console_out(s), MSG_CLOSE_COMPLETE);
}

void console_on_sync(struct console_session *s)
{
	drop_portals(s);
	s->skipping = false;
	msgw_ready(console_out(s), 'I');
}
