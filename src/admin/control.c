/*
 * control: owns what the running program was told to do with itself: which
 * databases are held back, who waits for that, whether it ends. Called by the
 * commands of the console, by the signals, and once a turn by the loop. It
 * speaks no protocol.
 *
 * A database that is paused or disabled is held, so that it does not go, with
 * its flags, while nobody uses it.
 */
#include "admin/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "conf/config.h"
#include "conn/client.h"
#include "conn/conn.h"
#include "conn/listener.h"
#include "conn/pooler.h"
#include "conn/server.h"
#include "pool/pool.h"
#include "pool/registry.h"

#include "control_priv.h"

static bool refuse(char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Always false. */
static bool refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONTROL_WHY, fmt, ap);
	va_end(ap);
	return false;
}

void control_tell(struct control *c, enum control_event what)
{
	if (c->notify != NULL)
		c->notify(what, c->notify_ctx);
}

void control_init(struct control *c, struct pooler *p, const char *path)
{
	*c = (struct control){.pooler = p, .path = path};
	TAILQ_INIT(&c->waits);
	stats_init(&c->stats, clock_us());
}

/* ---- databases and their flags ---- */

/* The database of a command, held until database_drop(); *d is NULL for no name, which means all. */
static bool find(struct control *c, const char *verb, const char *name, struct database **d, char *why)
{
	*d = NULL;
	if (name == NULL)
		return true;
	if (strcmp(name, "pgbouncer") == 0 || strcmp(name, "psbouncer") == 0)
		return refuse(why, "cannot %s admin db: %s", verb, name);
	*d = registry_database(&c->pooler->registry, name);
	if (*d == NULL)
		return refuse(why, "no such database: %.150s", name);
	database_hold(*d);
	return true;
}

static void release(struct database *d)
{
	if (d != NULL)
		database_drop(d);
}

static void set_paused(struct control *c, struct database *d, bool paused, bool killed)
{
	bool was_held;

	if (d == NULL) {
		c->pooler->registry.paused = paused;
		return;
	}
	was_held = d->paused || d->disabled;
	d->paused = paused;
	d->killed = killed;
	if (paused && !was_held)
		database_hold(d);
	else if (was_held && !paused && !d->disabled)
		database_drop(d);
}

static void set_disabled(struct database *d, bool disabled)
{
	bool was_held = d->paused || d->disabled;

	d->disabled = disabled;
	if (disabled && !was_held)
		database_hold(d);
	else if (was_held && !disabled && !d->paused)
		database_drop(d);
}

static void clear_flags(struct database *d)
{
	bool was_held = d->paused || d->disabled;

	d->paused = d->killed = d->disabled = false;
	if (was_held)
		database_drop(d);
}

void control_let_go(struct control *c, bool all)
{
	const struct htab *h = &c->pooler->registry.databases;
	struct hnode *n, *next;

	for (n = htab_next(h, NULL); n != NULL; n = next) {
		struct database *d = container_of(n, struct database, by_name);

		next = htab_next(h, n);
		if (all || d->conf == NULL)
			clear_flags(d);
	}
}

/* ---- pools ---- */

static bool concerns(const struct pool *p, const struct database *d)
{
	return d == NULL || p->db == d;
}

static bool is_paused(const struct control *c, const struct database *d)
{
	return d != NULL ? d->paused : c->pooler->registry.paused;
}

/* Around a walk that closes connections: nothing that is walked over is freed before its end. */
static void walk_begin(struct control *c)
{
	c->pooler->registry.busy++;
}

static void walk_end(struct control *c)
{
	c->pooler->registry.busy--;
	registry_sweep(&c->pooler->registry);
}

/* Servers that nobody uses go at once, those that are still logging in among them; the others as soon as they are free. */
static void close_unused(struct control *c, const struct database *d, enum pool_close why)
{
	struct pool *p;

	walk_begin(c);
	TAILQ_FOREACH (p, &c->pooler->registry.pools, all) {
		if (!concerns(p, d))
			continue;
		pool_close_idle(p, why);
		pool_mark(p);
	}
	walk_end(c);
}

/* ---- commands ---- */

bool control_pause(struct control *c, const char *name, char *why)
{
	struct database *d;

	if (!find(c, "pause", name, &d, why))
		return false;
	if (is_paused(c, d)) {
		release(d);
		return refuse(why, "already suspended/paused");
	}
	set_paused(c, d, true, false);
	close_unused(c, d, POOL_CLOSE_PAUSED);
	release(d);
	return true;
}

/* ---- switchover ---- */

/* Each cluster that the command is about; d NULL: all. False when fn was not true for one of them. */
static bool each_cluster(struct control *c, const struct database *d, bool (*fn)(struct cluster *, char *), char *why)
{
	struct cluster *i;
	bool ok = true;

	TAILQ_FOREACH (i, &c->pooler->registry.clusters, all)
		if (d == NULL || d->cluster == i)
			ok = fn(i, why) && ok;
	return ok;
}

static bool may_switch(struct cluster *i, char *why)
{
	return switchover_may_begin(i, why, CONTROL_WHY);
}

static bool begin_switch(struct cluster *i, char *why)
{
	(void)why;
	switchover_begin(i);
	return true;
}

static bool end_switch(struct cluster *i, char *why)
{
	(void)why;
	switchover_end(i);
	return true;
}

/* True: none is under way. */
static bool is_not_switching(struct cluster *i, char *why)
{
	(void)why;
	return i->switching.step == SWITCH_NONE;
}

bool control_switchover(struct control *c, const char *name, char *why)
{
	struct database *d;
	bool ok;

	if (!find(c, "switch", name, &d, why))
		return false;
	if (TAILQ_EMPTY(&c->pooler->registry.clusters) || (d != NULL && d->cluster == NULL)) {
		release(d);
		return refuse(why, "no target_session_attrs: its primary is not known");
	}
	walk_begin(c);
	ok = each_cluster(c, d, may_switch, why);
	if (ok)
		(void)each_cluster(c, d, begin_switch, why);
	walk_end(c);
	release(d);
	return ok;
}

static void resume(struct control *c, struct database *d)
{
	if (d != NULL)
		database_mark(d);
	else
		registry_mark(&c->pooler->registry);
	set_paused(c, d, false, false);
}

bool control_resume(struct control *c, const char *name, char *why)
{
	struct database *d;

	if (c->pooler->shutdown != RUNNING)
		return refuse(why, "pooler is shutting down");
	if (!find(c, "resume", name, &d, why))
		return false;
	if (!each_cluster(c, d, is_not_switching, why)) {
		(void)each_cluster(c, d, end_switch, why);
		if (!is_paused(c, d)) {
			release(d);
			return true;
		}
	}
	if (!is_paused(c, d)) {
		release(d);
		return name == NULL ? refuse(why, "pooler is not paused/suspended")
				    : refuse(why, "database %.150s is not paused", name);
	}
	resume(c, d);
	release(d);
	return true;
}

static void close_clients(struct control *c, const struct database *d, enum close_why why)
{
	struct conn *i, *next;

	for (i = TAILQ_FIRST(&c->pooler->clients); i != NULL; i = next) {
		const struct client *cl = conn_client(i);

		next = TAILQ_NEXT(i, all);
		if (cl->db != NULL && (d == NULL || cl->db == d))
			conn_close(i, why, NULL);
	}
}

static void close_consoles(struct control *c)
{
	struct conn *i, *next;

	for (i = TAILQ_FIRST(&c->pooler->clients); i != NULL; i = next) {
		next = TAILQ_NEXT(i, all);
		if (conn_client(i)->console != NULL)
			conn_close(i, CLOSE_EXIT, NULL);
	}
}

static void close_servers(struct control *c, const struct database *d, enum close_why why)
{
	struct conn *i, *next;

	for (i = TAILQ_FIRST(&c->pooler->servers); i != NULL; i = next) {
		const struct pool *p = conn_server(i)->slot.pool;

		next = TAILQ_NEXT(i, all);
		if (p != NULL && concerns(p, d))
			conn_close(i, why, NULL);
	}
}

bool control_kill(struct control *c, const char *name, char *why)
{
	struct database *d;

	if (!find(c, "kill", name, &d, why))
		return false;
	set_paused(c, d, true, true);
	walk_begin(c);
	close_clients(c, d, CLOSE_DATABASE_REMOVED);
	close_servers(c, d, CLOSE_DATABASE_REMOVED);
	walk_end(c);
	release(d);
	return true;
}

bool control_reconnect(struct control *c, const char *name, char *why)
{
	struct database *d;
	struct pool *p;

	if (!find(c, "reconnect", name, &d, why))
		return false;
	TAILQ_FOREACH (p, &c->pooler->registry.pools, all)
		if (concerns(p, d))
			pool_retire(p);
	release(d);
	return true;
}

bool control_disable(struct control *c, const char *name, bool disable, char *why)
{
	struct database *d;

	if (name == NULL)
		return refuse(why, "a database is required");
	if (!find(c, disable ? "disable" : "enable", name, &d, why))
		return false;
	set_disabled(d, disable);
	release(d);
	return true;
}

bool control_kill_client(struct control *c, uint64_t id, char *why)
{
	struct conn *i;

	TAILQ_FOREACH (i, &c->pooler->clients, all) {
		if (i->id != id)
			continue;
		conn_close(i, CLOSE_KILLED, NULL);
		return true;
	}
	return refuse(why, "client not found");
}

/* ---- waiting ---- */

/* Every switchover that it is about has come to an end, or to a standby. */
static bool is_switched(const struct control *c, struct control_wait *w, const char **error)
{
	const struct cluster *i;

	w->notice[0] = '\0';
	TAILQ_FOREACH (i, &c->pooler->registry.clusters, all) {
		if (w->db != NULL && w->db->cluster != i)
			continue;
		if (i->switching.step == SWITCH_DRAINING || i->switching.step == SWITCH_CATCHING_UP)
			return false;
		if (i->switching.why[0] != '\0')
			*error = i->switching.why;
		else if (i->switching.ready[0] == '\0')
			*error = "given up";
		else
			snprintf(w->notice, sizeof w->notice, "%s may be promoted", i->switching.ready);
	}
	return true;
}

static bool is_reached(const struct control *c, const struct control_wait *w)
{
	const struct htab *h = &c->pooler->registry.databases;

	for (struct hnode *n = htab_next(h, NULL); n != NULL; n = htab_next(h, n)) {
		const struct database *d = container_of(n, struct database, by_name);

		if (w->db != NULL && w->db != d)
			continue;
		if (w->goal == GOAL_PAUSED ? database_active(d) > 0 : database_retiring(d) > 0)
			return false;
	}
	return true;
}

void control_begin_wait(struct control *c, struct control_wait *w)
{
	TAILQ_INSERT_TAIL(&c->waits, w, link);
	w->waits = true;
	w->notice[0] = '\0';
}

enum control_answer control_wait(struct control *c, struct control_wait *w, const char *name, char *why)
{
	const char *verb = w->goal == GOAL_PAUSED ? "pause" : w->goal == GOAL_SWITCHED ? "switch" : "wait_close";

	if (!find(c, verb, name, &w->db, why))
		return CONTROL_UNKNOWN;
	if (w->goal != GOAL_SWITCHED && is_reached(c, w)) {
		release(w->db);
		w->db = NULL;
		return CONTROL_REACHED;
	}
	control_begin_wait(c, w);
	return CONTROL_WAITS;
}

void control_unwait(struct control *c, struct control_wait *w)
{
	if (!w->waits)
		return;
	TAILQ_REMOVE(&c->waits, w, link);
	w->waits = false;
	release(w->db);
	w->db = NULL;
	endpoint_put(&c->pooler->registry.endpoints, &w->endpoint);
}

void control_cancel(struct control *c, struct control_wait *w)
{
	if (w->waits && w->goal == GOAL_PAUSED && c->pooler->shutdown == RUNNING)
		resume(c, w->db);
	if (w->waits && w->goal == GOAL_SWITCHED)
		(void)each_cluster(c, w->db, end_switch, NULL);
	control_unwait(c, w);
}

static void look_at_waits(struct control *c)
{
	struct control_wait *w, *next;

	for (w = TAILQ_FIRST(&c->waits); w != NULL; w = next) {
		const char *error = NULL;
		bool over;

		next = TAILQ_NEXT(w, link);
		if (w->goal == GOAL_SWITCHED) {
			over = is_switched(c, w, &error);
		} else if (w->goal == GOAL_PROMOTED) {
			over = control_is_promoted(w, &error);
		} else {
			if (w->goal == GOAL_PAUSED && !is_paused(c, w->db))
				error = "resumed before it was paused";
			over = error != NULL || is_reached(c, w);
		}
		if (!over)
			continue;
		control_unwait(c, w);
		w->over(w, error);
	}
}

void control_free(struct control *c)
{
	walk_begin(c);
	close_clients(c, NULL, CLOSE_SHUTTING_DOWN);
	close_consoles(c);
	walk_end(c);
	while (!TAILQ_EMPTY(&c->waits))
		control_unwait(c, TAILQ_FIRST(&c->waits));
	control_let_go(c, true);
}

/* ---- statistics ---- */

struct stats control_stats(const struct control *c)
{
	const struct htab *h = &c->pooler->registry.databases;
	struct stats sum = c->stats;

	for (struct hnode *n = htab_next(h, NULL); n != NULL; n = htab_next(h, n)) {
		const struct stats *s = &container_of(n, struct database, by_name)->stats;

		counters_add(&sum.now, &s->now);
		counters_add(&sum.old, &s->old);
		counters_add(&sum.newer, &s->newer);
	}
	return sum;
}

/* ---- the end ---- */

bool control_has_clients(const struct control *c)
{
	struct conn *i;

	TAILQ_FOREACH (i, &c->pooler->clients, all)
		if (conn_client(i)->db != NULL)
			return true;
	return false;
}

bool control_has_servers(const struct control *c)
{
	struct conn *i;

	TAILQ_FOREACH (i, &c->pooler->servers, all)
		if (conn_server(i)->solo == NULL)
			return true;
	return false;
}

static void close_asks(struct ask_list *asks)
{
	struct ask *a, *next;

	for (a = TAILQ_FIRST(asks); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		conn_close(&container_of(a, struct client, ask)->c, CLOSE_SERVER_SHUTDOWN, NULL);
	}
}

/* Nobody will be served any more: who waits is told so. */
static void close_waiting(struct control *c)
{
	struct pool *p;

	walk_begin(c);
	TAILQ_FOREACH (p, &c->pooler->registry.pools, all) {
		close_asks(&p->asks);
		close_asks(&p->greets);
		close_asks(&p->owns);
	}
	walk_end(c);
}

static void stop_when_over(struct control *c)
{
	if (c->pooler->shutdown == SHUTDOWN_WAIT_SERVERS) {
		close_waiting(c);
		c->done = c->done || !control_has_servers(c);
	} else if (!control_has_clients(c)) {
		c->done = true;
	}
}

bool control_stop(struct control *c, enum control_stop how)
{
	struct pooler *p = c->pooler;

	if (how == STOP_NOW) {
		control_tell(c, CONTROL_STOPPING);
		c->done = true;
		return true;
	}
	if (p->shutdown != RUNNING)
		return false;
	control_tell(c, CONTROL_STOPPING);
	listener_close_tcp(p);
	if (how == STOP_WAIT_FOR_SERVERS) {
		p->shutdown = SHUTDOWN_WAIT_SERVERS;
		p->registry.paused = true;
		close_unused(c, NULL, POOL_CLOSE_PAUSED);
	} else {
		p->shutdown = SHUTDOWN_WAIT_CLIENTS;
	}
	return true;
}

void control_turn(struct control *c)
{
	if (c->pooler->shutdown != RUNNING)
		stop_when_over(c);
	if (!TAILQ_EMPTY(&c->waits))
		look_at_waits(c);
}
