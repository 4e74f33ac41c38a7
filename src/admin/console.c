/*
 * console: the session of a client on the virtual database, from the welcome to
 * its end. The conn floor hands its messages over (console_ops.h); what the
 * texts mean is command's, what they do is control's.
 *
 * Each command is a transaction of its own: portals end at Sync.
 */
#include "admin/console.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "admin/command.h"
#include "admin/control.h"
#include "admin/result.h"
#include "admin/show.h"
#include "base/mem.h"
#include "conf/config.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "conn/console_ops.h"
#include "conn/relay.h"
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

struct console_session {
	struct client *client;
	struct control *control;
	TAILQ_HEAD(, prepared) statements;
	TAILQ_HEAD(, portal) portals;
	unsigned n_named; /* of the statements */
	unsigned n_portals;
	bool skipping; /* after an error: everything up to Sync is dropped */
	/* A command that waits: its tag, and whether ReadyForQuery follows. */
	struct control_wait wait;
	const char *tag;
	bool simple;
};

static struct buf *out_of(struct console_session *s)
{
	return relay_out(&s->client->c);
}

static void log_error(struct console_session *s, const char *text)
{
	if (s->client->c.pooler->registry.config->set.log_pooler_errors)
		conn_log(&s->client->c, LL_WARNING, "pooler error: %s", text);
}

static void send_error(struct console_session *s, const char *code, const char *text)
{
	msgw_error(out_of(s), &(struct msgw_error){.severity = "ERROR", .code = code, .message = text});
}

/* An error in the extended protocol; logged is what the log gets of it. */
static void fail_as(struct console_session *s, const char *code, const char *text, const char *logged)
{
	log_error(s, logged);
	send_error(s, code, text);
	s->skipping = true;
}

static void fail(struct console_session *s, const char *code, const char *text)
{
	fail_as(s, code, text, text);
}

static void fail_malformed(struct console_session *s, const char *message)
{
	char text[64];

	snprintf(text, sizeof text, "malformed %s message", message);
	fail(s, "08P01", text);
}

/* Names that a client chose, cut. */
static void fail_named(
	struct console_session *s, const char *code, const char *head, const char *name, const char *tail)
{
	char text[200];

	snprintf(text, sizeof text, "%s\"%.100s\"%s", head, name, tail);
	fail(s, code, text);
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

/* ---- running a command ---- */

/* A command has to wait: nothing more of the client is read until it is over. */
static void begin_wait(struct console_session *s, const struct command *c, bool simple)
{
	s->tag = command_tag(c);
	s->simple = simple;
	client_goto(s->client, CS_CONSOLE_WAIT);
}

static void end_wait(struct console_session *s, const char *code, const char *error)
{
	client_goto(s->client, CS_CONSOLE);
	if (error != NULL) {
		log_error(s, error);
		send_error(s, code, error);
		s->skipping = !s->simple;
	} else {
		msgw_command_complete(out_of(s), s->tag);
	}
	if (s->simple)
		msgw_ready(out_of(s), 'I');
	relay_resume(&s->client->c);
}

static void wait_over(struct control_wait *w, const char *error)
{
	end_wait(container_of(w, struct console_session, wait), "08P01", error);
}

/* The client, and with it the session, may be gone afterwards: the caller asks conn_is_closed(). */
static enum command_outcome run(struct console_session *s, const struct command *c, struct result *r)
{
	struct client *cl = s->client;
	const struct command_call call = {
		.control = s->control, .result = r, .wait = &s->wait, .is_admin = cl->is_admin};
	enum command_outcome outcome;

	s->control->stats.now.xacts++;
	s->control->stats.now.queries++;
	cl->c.request_us = clock_us();
	outcome = command_run(c, &call);
	if (!conn_is_closed(&cl->c) && r->failed)
		log_error(s, r->error);
	return outcome;
}

/* ---- simple protocol ---- */

static void answer_query(struct console_session *s, const struct command *c)
{
	struct client *cl = s->client;
	struct result r = {.out = out_of(s), .describe = true};
	enum command_outcome outcome;

	if (command_is_empty(c)) {
		msgw_empty(r.out, MSG_EMPTY_QUERY);
		msgw_ready(r.out, 'I');
		return;
	}
	outcome = run(s, c, &r);
	if (conn_is_closed(&cl->c))
		return;
	if (outcome == COMMAND_WAITS)
		begin_wait(s, c, true);
	else if (outcome == COMMAND_OVER)
		msgw_ready(r.out, 'I');
}

static void on_query(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *text = msgr_cstr(&r);
	struct command c;
	char why[COMMAND_WHY];

	drop_portals(s);
	prepared_drop(s, prepared_find(s, ""));
	if (!msgr_end(&r)) {
		fail_malformed(s, "Query");
	} else if (!command_parse(text, &c, why)) {
		fail_as(s, "08P01", why, "invalid command");
	} else {
		answer_query(s, &c); /* s may be gone */
		command_free(&c);
		return;
	}
	s->skipping = false;
	msgw_ready(out_of(s), 'I');
}

/* ---- extended protocol ---- */

static void on_parse(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *name = msgr_cstr(&r), *text = msgr_cstr(&r);
	uint16_t types = msgr_u16(&r);
	struct command c;
	struct prepared *p;
	char why[COMMAND_WHY];

	(void)msgr_bytes(&r, 4 * (size_t)types);
	if (!msgr_end(&r)) {
		fail_malformed(s, "Parse");
		return;
	}
	if (name[0] == '\0')
		prepared_drop(s, prepared_find(s, ""));
	if (types > 0)
		fail(s, "08P01", "commands of the console take no parameters");
	else if (strlen(name) >= CONSOLE_NAME)
		fail(s, "08P01", "the name of the prepared statement is too long for the console");
	else if (prepared_find(s, name) != NULL)
		fail_named(s, "42P05", "prepared statement ", name, " already exists");
	else if (name[0] != '\0' && s->n_named >= CONSOLE_STATEMENTS)
		fail(s, "08P01", "too many prepared statements on the console");
	else if (!command_parse(text, &c, why))
		fail_as(s, "08P01", why, "invalid command");
	else {
		p = xcalloc(MEM_CLIENT, 1, sizeof *p);
		*p = (struct prepared){.refs = 1, .name = xstrdup(MEM_CLIENT, name), .command = c};
		TAILQ_INSERT_TAIL(&s->statements, p, link);
		s->n_named += name[0] != '\0';
		msgw_empty(out_of(s), MSG_PARSE_COMPLETE);
	}
}

/* Do the format codes of a Bind fit the rows of the command? */
static bool formats_fit(struct console_session *s, const struct command *c, const uint16_t *formats, size_t n)
{
	size_t columns;
	char text[100];

	(void)command_columns(c, &columns);
	if (columns > 0 && n > 1 && n != columns) {
		snprintf(text, sizeof text, "bind message has %zu result formats but query has %zu columns", n, columns);
		fail(s, "08P01", text);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (formats[i] <= 1)
			continue;
		snprintf(text, sizeof text, "unsupported format code: %u", formats[i]);
		fail(s, "08P01", text);
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

	*p = (struct portal){.name = xstrdup(MEM_CLIENT, name),
		.prepared = prepared,
		.formats = *formats,
		.n_formats = n_formats};
	*formats = NULL;
	prepared->refs++;
	TAILQ_INSERT_TAIL(&s->portals, p, link);
	s->n_portals++;
	msgw_empty(out_of(s), MSG_BIND_COMPLETE);
}

static void on_bind(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *name = msgr_cstr(&r), *statement = msgr_cstr(&r);
	struct prepared *prepared = prepared_find(s, statement);
	size_t n = 0;
	uint16_t *formats, params;

	xfree(MEM_CLIENT, take_words(&r, &n));
	params = msgr_u16(&r);
	if (!r.failed && params > 0) {
		fail(s, "08P01", "commands of the console take no parameters");
		return;
	}
	formats = take_words(&r, &n);
	if (name[0] == '\0')
		portal_drop(s, portal_find(s, ""));
	if (!msgr_end(&r))
		fail_malformed(s, "Bind");
	else if (prepared == NULL)
		fail_named(s, "26000", "prepared statement ", statement, " does not exist");
	else if (portal_find(s, name) != NULL)
		fail_named(s, "42P03", "cursor ", name, " already exists");
	else if (strlen(name) >= CONSOLE_NAME || s->n_portals >= CONSOLE_PORTALS)
		fail(s, "08P01", "too many portals on the console");
	else if (formats_fit(s, &prepared->command, formats, n))
		make_portal(s, name, prepared, &formats, n);
	xfree(MEM_CLIENT, formats);
}

static void describe(struct console_session *s, const struct command *c, const uint16_t *formats, size_t n_formats)
{
	const struct result r = {.out = out_of(s), .formats = formats, .n_formats = n_formats};
	size_t n;
	const struct column *columns = command_columns(c, &n);

	if (columns != NULL)
		result_describe(&r, columns, n);
	else
		msgw_empty(r.out, MSG_NO_DATA);
}

static void on_describe(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	uint8_t what = msgr_u8(&r);
	const char *name = msgr_cstr(&r);
	const struct prepared *p = prepared_find(s, name);
	const struct portal *portal = portal_find(s, name);

	if (!msgr_end(&r) || (what != 'S' && what != 'P')) {
		fail_malformed(s, "Describe");
	} else if (what == 'S' && p == NULL) {
		fail_named(s, "26000", "prepared statement ", name, " does not exist");
	} else if (what == 'P' && portal == NULL) {
		fail_named(s, "34000", "portal ", name, " does not exist");
	} else if (what == 'S') {
		msgw_parameter_description(out_of(s), NULL, 0);
		describe(s, &p->command, NULL, 0);
	} else {
		describe(s, &portal->prepared->command, portal->formats, portal->n_formats);
	}
}

/* Up to max rows of those that wait in the portal go out; what comes behind the last one only if there were fewer. */
static void send_rows(struct console_session *s, struct portal *p, uint32_t max)
{
	struct buf *out = out_of(s);
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
		msgw_command_complete(out_of(s), command_tag(&p->prepared->command));
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
		.out = in_parts ? &p->rows : out_of(s), .formats = p->formats, .n_formats = p->n_formats};
	enum command_outcome outcome;

	p->ran = true;
	prepared->refs++; /* a command may end its own client */
	outcome = run(s, &prepared->command, &r);
	if (!conn_is_closed(&cl->c)) {
		s->skipping = r.failed;
		if (in_parts)
			send_rows(s, p, max);
		if (outcome == COMMAND_WAITS)
			begin_wait(s, &prepared->command, false);
	}
	prepared_unref(prepared);
	return outcome;
}

static void on_execute(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *name = msgr_cstr(&r);
	uint32_t max = msgr_u32(&r);
	struct portal *p = portal_find(s, name);

	if (!msgr_end(&r))
		fail_malformed(s, "Execute");
	else if (p == NULL)
		fail_named(s, "34000", "portal ", name, " does not exist");
	else if (command_is_empty(&p->prepared->command))
		msgw_empty(out_of(s), MSG_EMPTY_QUERY);
	else if (p->ran)
		go_on(s, p, max <= INT32_MAX ? max : 0);
	else
		(void)execute(s, p, max <= INT32_MAX ? max : 0);
}

static void on_close(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	uint8_t what = msgr_u8(&r);
	const char *name = msgr_cstr(&r);

	if (!msgr_end(&r) || (what != 'S' && what != 'P')) {
		fail_malformed(s, "Close");
		return;
	}
	if (what == 'S')
		prepared_drop(s, prepared_find(s, name));
	else
		portal_drop(s, portal_find(s, name));
	msgw_empty(out_of(s), MSG_CLOSE_COMPLETE);
}

static void on_sync(struct console_session *s)
{
	drop_portals(s);
	s->skipping = false;
	msgw_ready(out_of(s), 'I');
}

/* ---- the messages ---- */

/* A request whose answer ends with ReadyForQuery, but for Sync. */
static bool is_simple(uint8_t type)
{
	return type == MSG_QUERY || type == MSG_FUNCTION_CALL;
}

static void refuse(struct console_session *s, const struct msg *m, const char *text)
{
	fail(s, "08P01", text);
	if (!is_simple(m->type))
		return;
	s->skipping = false;
	msgw_ready(out_of(s), 'I');
}

/* s may be gone afterwards. */
static void dispatch(struct console_session *s, const struct msg *m)
{
	switch (m->type) {
	case MSG_QUERY: on_query(s, m); break;
	case MSG_PARSE: on_parse(s, m); break;
	case MSG_BIND: on_bind(s, m); break;
	case MSG_DESCRIBE: on_describe(s, m); break;
	case MSG_EXECUTE: on_execute(s, m); break;
	case MSG_CLOSE: on_close(s, m); break;
	case MSG_SYNC: on_sync(s); break;
	case MSG_FUNCTION_CALL: refuse(s, m, "function calls are not supported on the console"); break;
	case MSG_FLUSH: break; /* everything is on its way anyhow */
	case MSG_COPY_DATA:
	case MSG_COPY_DONE:
	case MSG_COPY_FAIL: break; /* outside of a COPY they are ignored, as PostgreSQL does */
	default: conn_close(&s->client->c, CLOSE_PROTOCOL, "unexpected message on the console"); break;
	}
}

static enum verdict console_message(struct client *cl, const struct msg *m, uint32_t *arg, void *ctx)
{
	struct console_session *s = cl->console;

	(void)ctx;
	if (s->skipping && m->type != MSG_SYNC)
		return V_DROP;
	if (m->have < m->len && m->len <= CONSOLE_LIMIT) {
		*arg = m->len;
		return V_MORE;
	}
	if (m->len > CONSOLE_LIMIT)
		refuse(s, m, "the message is too long for the console");
	else
		dispatch(s, m);
	if (conn_is_closed(&cl->c))
		return V_CLOSED;
	if (buf_failed(&cl->c.out)) {
		conn_close(&cl->c, CLOSE_NO_MEMORY, NULL);
		return V_CLOSED;
	}
	return V_DROP;
}

/* ---- begin and end ---- */

static void send_welcome(struct client *cl)
{
	static const char *const parameters[][2] = {
		{"client_encoding", "UTF8"},
		{"server_encoding", "UTF8"},
		{"DateStyle", "ISO"},
		{"TimeZone", "GMT"},
		{"standard_conforming_strings", "on"},
		{"is_superuser", "on"},
	};
	struct buf *out = relay_out(&cl->c);

	msgw_parameter_status(out, "server_version", show_server_version());
	for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
		msgw_parameter_status(out, parameters[i][0], parameters[i][1]);
	msgw_backend_key(out, cl->key.key, sizeof cl->key.key);
	msgw_ready(out, 'I');
}

static void console_open(struct client *cl, void *ctx)
{
	struct console_session *s = xcalloc(MEM_CLIENT, 1, sizeof *s);

	s->client = cl;
	s->control = ctx;
	s->wait.over = wait_over;
	TAILQ_INIT(&s->statements);
	TAILQ_INIT(&s->portals);
	cl->console = s;
	cl->c.stats = &s->control->stats.now;
	s->control->stats.now.logins++;
	s->control->consoles++;
	send_welcome(cl);
}

static void console_cancel(struct client *cl, void *ctx)
{
	struct console_session *s = cl->console;

	(void)ctx;
	if (!s->wait.waits)
		return;
	control_cancel(s->control, &s->wait);
	end_wait(s, "57014", "canceling statement due to user request");
}

static void console_close(struct client *cl, void *ctx)
{
	struct console_session *s = cl->console;

	(void)ctx;
	if (s == NULL)
		return;
	control_unwait(s->control, &s->wait);
	drop_portals(s);
	while (!TAILQ_EMPTY(&s->statements))
		prepared_drop(s, TAILQ_FIRST(&s->statements));
	s->control->consoles--;
	cl->console = NULL;
	xfree(MEM_CLIENT, s);
}

const struct console_ops console_ops = {
	.open = console_open,
	.message = console_message,
	.cancel = console_cancel,
	.close = console_close,
};
