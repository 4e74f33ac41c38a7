/*
 * client_time: until when a client may be as it is, and what becomes of it
 * then: each state has its limits of time.
 */
#include <stdio.h>

#include "conn/client_priv.h"
#include "conn/relay.h"
#include "proto/msgw.h"

/* Is it inside a transaction and has sent nothing that is not answered? */
static bool client_is_idle_in_xact(const struct client *cl)
{
	return (cl->c.state == CS_ACTIVE || cl->begin) && !cl->query_us && (cl->status == 'T' || cl->status == 'E');
}

static int64_t sooner(int64_t a, int64_t since_us, uint32_t ms)
{
	int64_t b = ms ? since_us + (int64_t)ms * 1000 : 0;

	return !a || (b && b < a) ? b : a;
}

static uint32_t limit_ms(int64_t us)
{
	int64_t ms = (us + 999) / 1000;

	return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

void client_set_limits(struct client *cl, const struct overrides *user, const struct overrides *db)
{
	const struct settings *set = client_settings(cl);

	cl->limits.idle_ms = limit_ms(param_effective(PARAM_client_idle_timeout, user, db, set));
	cl->limits.xact_idle_ms = limit_ms(param_effective(PARAM_idle_transaction_timeout, user, db, set));
	/* A stream of replication is one query without an end. */
	if (!cl->c.replication) {
		cl->limits.xact_ms = limit_ms(param_effective(PARAM_transaction_timeout, user, db, set));
		cl->limits.query_ms = limit_ms(param_effective(PARAM_query_timeout, user, db, set));
	}
	cl->limits.wait_ms = limit_ms(param_effective(PARAM_query_wait_timeout, user, db, set));
}

/* While no host fits a time of its own counts (failover_wait_timeout), and then the usual one from its beginning. */
static uint32_t client_wait_limit(const struct client *cl, int64_t *since_us)
{
	const struct database *d = cl->db;

	*since_us = cl->ask.since_us > d->held_us ? cl->ask.since_us : d->held_us;
	if (!d->held)
		return cl->limits.wait_ms;
	return limit_ms(param_effective(PARAM_failover_wait_timeout, NULL, d->conf ? &d->conf->over : NULL,
		client_settings(cl)));
}

/* The same until a server has told what a client is greeted with. */
static uint32_t client_greeting_limit(const struct client *cl, int64_t *since_us)
{
	uint32_t limit = client_wait_limit(cl, since_us);

	if (*since_us < cl->c.connected_us)
		*since_us = cl->c.connected_us;
	return limit;
}

static int64_t client_greeting_due(const struct client *cl)
{
	int64_t since, due = sooner(0, cl->c.connected_us, limit_ms(client_settings(cl)->client_login_timeout));
	uint32_t limit = client_greeting_limit(cl, &since);

	return cl->db->held ? sooner(due, since, limit) : due;
}

static int64_t client_wait_due(const struct client *cl)
{
	uint32_t notify = cl->notified ? 0 : limit_ms(client_settings(cl)->query_wait_notify);
	int64_t since, due;
	uint32_t limit = client_wait_limit(cl, &since);

	due = sooner(sooner(0, since, limit), cl->ask.since_us, notify);

	return cl->begin ? sooner(due, cl->xact_us, cl->limits.xact_ms) : due;
}

/* In session mode a client that has its server is idle between its transactions all the same. */
static int64_t client_active_due(const struct client *cl)
{
	int64_t due = 0;

	if (cl->xact_us)
		due = sooner(due, cl->xact_us, cl->limits.xact_ms);
	if (cl->query_us)
		return sooner(due, cl->query_us, cl->limits.query_ms);
	if (client_is_idle_in_xact(cl))
		return sooner(due, cl->idle_us, cl->limits.xact_idle_ms);
	return sooner(due, cl->idle_us, cl->limits.idle_ms);
}

int64_t client_due(const struct conn *c)
{
	const struct client *cl = (const struct client *)(const void *)c;

	switch ((enum client_state)c->state) {
	case CS_STARTUP:
	case CS_HANDSHAKE:
	case CS_AUTH: return sooner(0, c->connected_us, limit_ms(client_settings(cl)->client_login_timeout));
	case CS_GREETING: return client_greeting_due(cl);
	case CS_WAITING: return client_wait_due(cl);
	case CS_IDLE:
	case CS_PREPARING:
	case CS_ACTIVE: return client_active_due(cl);
	case CS_CANCEL: return c->connected_us + 60 * USEC;
	case CS_SETTLING: /* the query of ours has a time of its own */
	case CS_CONSOLE:
	case CS_CONSOLE_WAIT:
	case CS_CLOSED:
	case CS_COUNT: return 0;
	}
	return 0;
}

static bool passed(int64_t since_us, uint32_t ms)
{
	return ms && since_us && since_us + (int64_t)ms * 1000 <= clock_us();
}

static void client_say_no_host(const struct client *cl, char *text, size_t size)
{
	snprintf(text, size, "no %s available for database %s",
		cl->db->target == TARGET_PRIMARY ? "primary" : "replica", cl->db->name);
}

static void client_greeting_deadline(struct client *cl)
{
	char text[200];
	int64_t since;
	uint32_t limit = client_greeting_limit(cl, &since);

	if (!cl->db->held || !passed(since, limit)) {
		conn_close(&cl->c, CLOSE_LOGIN_TIMEOUT, NULL);
		return;
	}
	client_say_no_host(cl, text, sizeof(text));
	conn_close(&cl->c, CLOSE_NO_HOST, text);
}

/* Nobody has come to take its request: that gets an error, and the client goes on. */
static void client_hold_over(struct client *cl)
{
	struct vars *none = NULL;
	char text[200];

	client_say_no_host(cl, text, sizeof(text));
	pool_withdraw(&cl->ask);
	client_goto(cl, CS_IDLE);
	client_refuse_pending(cl, "08006", text, "Nothing of the request was done: try it again.");
	if (cl->begin && !cl->orphaned) /* its transaction has failed, and needs no server any more */
		(void)client_orphan_begin(cl, text, true, &none);
}

static void client_wait_deadline(struct client *cl)
{
	struct msgw_error e = {.severity = "NOTICE",
		.code = "00000",
		.message = "No server connection available in postgres backend, client being queued"};
	int64_t since;
	uint32_t limit = client_wait_limit(cl, &since);

	if (passed(since, limit) && cl->db->held) {
		client_hold_over(cl);
	} else if (passed(since, limit)) {
		conn_close(&cl->c, CLOSE_WAIT_TIMEOUT, NULL);
	} else if (cl->begin && passed(cl->xact_us, cl->limits.xact_ms)) {
		conn_close(&cl->c, CLOSE_XACT_TIMEOUT, NULL);
	} else {
		cl->notified = true;
		msgw_notice(relay_out(&cl->c), &e);
	}
}

static void client_active_deadline(struct client *cl)
{
	if (cl->query_us && passed(cl->query_us, cl->limits.query_ms))
		conn_close(&cl->c, CLOSE_QUERY_TIMEOUT, NULL);
	else if (passed(cl->xact_us, cl->limits.xact_ms))
		conn_close(&cl->c, CLOSE_XACT_TIMEOUT, NULL);
	else if (client_is_idle_in_xact(cl))
		conn_close(&cl->c, CLOSE_IDLE_XACT_TIMEOUT, NULL);
	else
		conn_close(&cl->c, CLOSE_IDLE_TIMEOUT, NULL);
}

void client_deadline(struct conn *c)
{
	struct client *cl = conn_client(c);

	switch ((enum client_state)c->state) {
	case CS_STARTUP:
	case CS_HANDSHAKE:
	case CS_AUTH: conn_close(c, CLOSE_LOGIN_TIMEOUT, NULL); return;
	case CS_GREETING: client_greeting_deadline(cl); return;
	case CS_WAITING: client_wait_deadline(cl); return;
	case CS_IDLE:
	case CS_PREPARING:
	case CS_ACTIVE: client_active_deadline(cl); return;
	case CS_CANCEL: conn_close(c, CLOSE_CANCEL_DONE, NULL); return;
	case CS_SETTLING:
	case CS_CONSOLE:
	case CS_CONSOLE_WAIT:
	case CS_CLOSED:
	case CS_COUNT: return;
	}
}
