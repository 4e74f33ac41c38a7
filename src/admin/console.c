/*
 * console: the session of a client on the virtual database, from the welcome to
 * its end. The conn floor hands its messages over (console_ops.h); what the
 * texts mean is command's, what they do is control's. The extended protocol is
 * in console_extended.c.
 */
#include "admin/console.h"

#include <stdio.h>

#include "admin/result.h"
#include "admin/show.h"
#include "base/mem.h"
#include "conf/config.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "conn/console_ops.h"
#include "conn/relay.h"
#include "console_priv.h"
#include "net/buf.h"
#include "proto/msgw.h"
#include "proto/wire.h"

struct buf *console_out(struct console_session *s)
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
	msgw_error(console_out(s), &(struct msgw_error){.severity = "ERROR", .code = code, .message = text});
}

void console_fail_as(struct console_session *s, const char *code, const char *text, const char *logged)
{
	log_error(s, logged);
	send_error(s, code, text);
	s->skipping = true;
}

void console_fail(struct console_session *s, const char *code, const char *text)
{
	console_fail_as(s, code, text, text);
}

void console_fail_malformed(struct console_session *s, const char *message)
{
	char text[64];

	snprintf(text, sizeof text, "malformed %s message", message);
	console_fail(s, "08P01", text);
}

/* ---- running a command ---- */

void console_wait(struct console_session *s, const struct command *c, bool simple)
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
		msgw_command_complete(console_out(s), s->tag);
	}
	if (s->simple)
		msgw_ready(console_out(s), 'I');
	relay_resume(&s->client->c);
}

static void wait_over(struct control_wait *w, const char *error)
{
	struct console_session *s = container_of(w, struct console_session, wait);
	const struct msgw_error e = {.severity = "NOTICE", .code = "00000", .message = w->notice};

	if (error == NULL && w->notice[0] != '\0')
		msgw_notice(console_out(s), &e);
	end_wait(container_of(w, struct console_session, wait), "08P01", error);
}

enum command_outcome console_run(struct console_session *s, const struct command *c, struct result *r)
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
	struct result r = {.out = console_out(s), .describe = true};
	enum command_outcome outcome;

	if (command_is_empty(c)) {
		msgw_empty(r.out, MSG_EMPTY_QUERY);
		msgw_ready(r.out, 'I');
		return;
	}
	outcome = console_run(s, c, &r);
	if (conn_is_closed(&cl->c))
		return;
	if (outcome == COMMAND_WAITS)
		console_wait(s, c, true);
	else if (outcome == COMMAND_OVER)
		msgw_ready(r.out, 'I');
}

static void on_query(struct console_session *s, const struct msg *m)
{
	struct msgr r = msgr_of(m);
	const char *text = msgr_cstr(&r);
	struct command c;
	char why[COMMAND_WHY];

	console_end_unnamed(s);
	if (!msgr_end(&r)) {
		console_fail_malformed(s, "Query");
	} else if (!command_parse(text, &c, why)) {
		console_fail_as(s, "08P01", why, "invalid command");
	} else {
		answer_query(s, &c); /* s may be gone */
		command_free(&c);
		return;
	}
	s->skipping = false;
	msgw_ready(console_out(s), 'I');
}

/* ---- the messages ---- */

/* A request whose answer ends with ReadyForQuery, but for Sync. */
static bool is_simple(uint8_t type)
{
	return type == MSG_QUERY || type == MSG_FUNCTION_CALL;
}

static void refuse(struct console_session *s, const struct msg *m, const char *text)
{
	console_fail(s, "08P01", text);
	if (!is_simple(m->type))
		return;
	s->skipping = false;
	msgw_ready(console_out(s), 'I');
}

/* s may be gone afterwards. */
static void dispatch(struct console_session *s, const struct msg *m)
{
	switch (m->type) {
	case MSG_QUERY: on_query(s, m); break;
	case MSG_PARSE: console_on_parse(s, m); break;
	case MSG_BIND: console_on_bind(s, m); break;
	case MSG_DESCRIBE: console_on_describe(s, m); break;
	case MSG_EXECUTE: console_on_execute(s, m); break;
	case MSG_CLOSE: console_on_close(s, m); break;
	case MSG_SYNC: console_on_sync(s); break;
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
	client_tell_key(cl, out);
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
	console_forget(s);
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
