/*
 * monitor.c: see conn/monitor.h. A monitor has two places for connections: one
 * is asked, in the other one a new login shows from time to time that the server
 * still lets anybody in; then that takes the other one's place.
 */
#include "conn/monitor.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "auth/scram.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/authfile.h"
#include "conn/conn.h"
#include "conn/ownq.h"
#include "conn/server.h"
#include "pool/endpoint.h"
#include "pool/registry.h"
#include "pool/vars.h"

/* A login that shows that the server lets us in, besides the connection that there is. */
static const int64_t login_interval_us = 10 * USEC;
/* After a look at SHOW HOSTS positions are read for so long. */
static const int64_t curious_us = 60 * USEC;

struct monitor {
	TAILQ_ENTRY(monitor) all;
	struct pooler *pooler;
	struct endpoint *endpoint; /* held */
	struct timer timer;	   /* when there is something to do */
	struct solo place[2];
	unsigned at;				      /* which of them is asked */
	char *user, *dbname, *secret, *password_file; /* user NULL: there is nobody to ask as */
	struct scram_cache scram;
	int64_t login_us;   /* when the last login began */
	int64_t asked_us;   /* when the question that is not answered yet was asked; 0: there is none */
	struct sight found; /* by the query that runs */
	char lsn[24];
	bool again;	  /* more was to be known while a question was under way: it is asked once more */
	bool odd;	  /* its row makes no sense */
	unsigned useless; /* questions in turn that were not answered, or not so that it was of use */
	bool complained;  /* the log says already that it cannot log in */
};

/*
 * Its condition is always true. It keeps the server from ending a connection that is asked seldom; no startup option can, since
 * servers before 14 do not know that parameter.
 */
static const char role_query[] =
	"SELECT pg_is_in_recovery(), "
	"CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END, "
	"CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, "
	"(SELECT system_identifier FROM pg_control_system()), "
	"(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint "
	"WHERE coalesce(CASE WHEN current_setting('idle_session_timeout', true) <> '0' "
	"THEN set_config('idle_session_timeout', '0', false) END, '0') = '0'";

static const char *const startup[] = {"application_name", "psbouncer monitor", "options",
	"-c default_transaction_isolation=read\\ committed -c search_path=pg_catalog", NULL};

static const struct settings *monitor_settings(const struct monitor *m)
{
	return &m->pooler->registry.config->set;
}

static struct solo *asked_place(struct monitor *m)
{
	return &m->place[m->at];
}

static bool is_urgent(const struct monitor *m)
{
	const struct cluster *c = m->endpoint->cluster;

	return c && (c->suspect_us || c->now.say == CLUSTER_HOLD);
}

static void monitor_rearm(struct monitor *m)
{
	const struct settings *set = monitor_settings(m);
	int64_t wait = is_urgent(m) ? set->topology_fast_interval : set->topology_check_interval;

	timer_set(&m->pooler->loop.timers, &m->timer, clock_us() + wait);
}

/* It has answered. */
static void monitor_rest(struct monitor *m)
{
	if (m->again)
		timer_set(&m->pooler->loop.timers, &m->timer, clock_us());
	else
		monitor_rearm(m);
}

/* ---- what it says ------------------------------------------------------------------- */

static void monitor_answered(struct monitor *m)
{
	m->endpoint->probe_us = clock_us() - m->asked_us;
	m->endpoint->sure_us = m->asked_us;
	m->endpoint->error[0] = '\0';
	m->asked_us = 0;
	m->useless = 0;
}

/* No answer, or none that is of use: what was true before is not known to be true now. */
static void monitor_lost(struct monitor *m, const char *text, bool leaving)
{
	struct sight s = m->endpoint->seen;

	m->endpoint->sure_us = clock_us();
	s.answers = false;
	s.leaving = leaving;
	snprintf(m->endpoint->error, sizeof(m->endpoint->error), "%s", text);
	topology_seen(m->endpoint, &s, NULL, 0);
}

/* The first eight digits of a WAL file's name are its timeline (pg_walfile_name). False: it is no such name. */
static bool read_timeline(const char *name, uint32_t *timeline)
{
	char digits[9] = "";

	if (!name || strlen(name) != 24 || strspn(name, "0123456789ABCDEF") != 24)
		return false;
	memcpy(digits, name, 8);
	*timeline = (uint32_t)strtoul(digits, NULL, 16);
	return *timeline;
}

/* As PostgreSQL has it: a system identifier that is too high for a bigint is told as a negative one. */
static bool read_bigint(const char *text, int64_t *value)
{
	char *end;

	if (!text || !isdigit((unsigned char)text[text[0] == '-']))
		return false;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return !*end && !errno;
}

static void role_row(struct server *s, const char *const *v, size_t n, void *arg)
{
	struct monitor *m = arg;
	struct sight *f = &m->found;
	uint64_t lsn;
	int64_t id;

	(void)s;
	m->odd = m->odd || n != 5 || f->answers || !v[0] || (strcmp(v[0], "t") && strcmp(v[0], "f")) ||
		 !read_bigint(v[3], &id) || !id || !read_bigint(v[4], &f->started_us);
	if (m->odd)
		return;
	f->answers = true;
	f->role = v[0][0] == 't' ? SIGHT_STANDBY : SIGHT_WRITABLE;
	f->system_id = (uint64_t)id;
	if (f->role == SIGHT_WRITABLE)
		m->odd = !read_timeline(v[1], &f->timeline) || !v[2];
	if (v[2] && !lsn_read(v[2], &lsn)) /* a standby may have replayed nothing yet */
		m->odd = true;
	snprintf(m->lsn, sizeof(m->lsn), "%s", v[2] ? v[2] : "");
}

static void monitor_idle(struct server *s)
{
	if (!conn_is_closed(&s->c) && s->c.state == SS_TEST)
		server_goto(s, SS_IDLE);
}

/*
 * Since when a connection to there comes to the server that has answered on s. A connection that has answered before
 * is led to another server only by a pooler on the way, which may have done so to any other one.
 */
static int64_t same_server_since(const struct monitor *m, const struct server *s)
{
	return m->endpoint->sure_us > s->c.connected_us ? clock_us() : s->c.connected_us;
}

static void role_done(struct server *s, const struct ownq_result *r, void *arg)
{
	struct monitor *m = arg;
	int64_t since_us = same_server_since(m, s);

	monitor_idle(s);
	if (!r->ok || m->odd || !m->found.answers) {
		m->useless++;
		if (m->endpoint->seen.answers || !m->endpoint->seen.probed) /* else it counts as down, and is no news */
			topology_suspect(m->endpoint, r->ok ? "its answer makes no sense" : r->text);
		conn_close(&s->c, CLOSE_MONITOR, r->ok ? "an answer that makes no sense" : r->text);
		return;
	}
	monitor_answered(m);
	memcpy(m->endpoint->lsn, m->lsn, sizeof(m->endpoint->lsn));
	m->endpoint->lsn_us = clock_us();
	topology_seen(m->endpoint, &m->found, &s->c.remote, since_us);
	topology_blind(m->endpoint, false); /* not before it is known: who is served meanwhile is not held */
	monitor_rest(m);
}

static void monitor_ask(struct monitor *m, struct server *s, const char *sql, ownq_done *done)
{
	struct ownq_call q = {
		.sql = sql,
		.row = role_row,
		.done = done,
		.arg = m,
		.timeout_us = monitor_settings(m)->topology_check_timeout,
		.late = CLOSE_MONITOR_LATE,
	};

	m->found = (struct sight){.answers = false};
	m->odd = false;
	m->again = false;
	m->asked_us = clock_us();
	server_goto(s, SS_TEST);
	ownq_start(s, &q);
}

static void ask_role(struct monitor *m, struct server *s)
{
	monitor_ask(m, s, role_query, role_done);
}

/* In a server that has in_hot_standby, 14 or later: is it what it was? */
static bool has_changed(const struct monitor *m, const struct server *s)
{
	const char *standby = vars_get(s->vars, "in_hot_standby");

	return !m->endpoint->seen.answers || !standby ||
	       (!strcmp(standby, "on")) != (m->endpoint->seen.role == SIGHT_STANDBY);
}

static void sync_done(struct server *s, const struct ownq_result *r, void *arg)
{
	struct monitor *m = arg;

	(void)r;
	monitor_idle(s);
	if (has_changed(m, s)) {
		ask_role(m, s);
		return;
	}
	monitor_answered(m);
	topology_seen(m->endpoint, &m->endpoint->seen, NULL, 0);
	monitor_rest(m);
}

/* ---- connections ------------------------------------------------------------------------- */

static struct monitor *monitor_of(struct solo *solo)
{
	return solo->owner;
}

/* Its connection, if there is one, closes, and the monitor is told nothing more of it. */
static void place_close(struct solo *solo, const char *text)
{
	if (!solo->server)
		return;
	solo->closed = NULL;
	conn_close(&solo->server->c, CLOSE_MONITOR, text);
}

static void monitor_opened(struct server *s, struct solo *solo)
{
	struct monitor *m = monitor_of(solo);
	struct solo *before = asked_place(m);

	m->complained = false;
	if (before != solo) {
		m->at = (unsigned)(solo - m->place);
		if (before->server)
			conn_close(&before->server->c, CLOSE_MONITOR, "replaced by a newer one");
	}
	ask_role(m, s);
}

/* It answers, but does not let the monitor in: nothing is known of its role, nor that it is down. */
static bool is_refusal(const char *code)
{
	return !strncmp(code, "28", 2) || !strncmp(code, "3D", 2) || !strncmp(code, "42", 2) || !strncmp(code, "53", 2);
}

/* Who refused it is another server than the one that is asked: the name has moved. */
static bool is_elsewhere(const struct monitor *m, const struct server *s)
{
	struct addr at = s->c.remote;

	at.port = 0;
	return m->endpoint->address.family != AF_UNSPEC && !addr_equal(&at, &m->endpoint->address);
}

static void monitor_refused(struct monitor *m, const struct server *s, const char *text)
{
	if (asked_place(m)->server && !is_elsewhere(m, s)) /* the one that there is still answers */
		return;
	if (!m->complained)
		log_msg(LL_WARNING, "the monitor cannot log in to %s:%u as \"%s\": %s", m->endpoint->host,
			m->endpoint->port, m->user, text);
	m->complained = true;
	monitor_lost(m, text, false);
	topology_blind(m->endpoint, true);
	place_close(asked_place(m), text);
	m->asked_us = 0;
}

static void monitor_closed(struct server *s, struct solo *solo, const char *text)
{
	struct monitor *m = monitor_of(solo);
	bool late = s->c.why == CLOSE_MONITOR_LATE, replaced = solo != asked_place(m) && asked_place(m)->server;
	/* A server that lets us in and ends at once, or answers nonsense again, is not to be asked all the time. */
	bool young = clock_us() - s->c.connected_us < monitor_settings(m)->topology_fast_interval;
	bool useless, leaving = !s->logged_in && !strcmp(solo->code, "57P03");

	if (solo == asked_place(m)) {
		if (m->asked_us && s->logged_in && s->c.why != CLOSE_MONITOR) /* those were counted */
			m->useless++;
		m->asked_us = 0;
	}
	useless = m->useless > 1 || (young && s->c.why != CLOSE_MONITOR);
	if (s->c.why == CLOSE_EXIT || (s->c.why == CLOSE_MONITOR && replaced))
		return;
	if (solo->ours) { /* what was seen last holds until the host can be looked at again */
		monitor_rearm(m);
		return;
	}
	if (!s->logged_in && is_refusal(solo->code)) {
		monitor_refused(m, s, text);
	} else if (!s->logged_in || late || useless) {
		monitor_lost(m, late ? "no answer within topology_check_timeout" : text, leaving);
		if (s->logged_in)
			topology_blind(m->endpoint, false);
		if (replaced) { /* who is not let in is not served, whatever older connections say */
			place_close(asked_place(m), text);
			m->asked_us = 0;
		}
	} else {
		m->login_us = 0;
		topology_suspect(m->endpoint, text);
		timer_set(&m->pooler->loop.timers, &m->timer, clock_us());
		return;
	}
	monitor_rearm(m);
}

static void monitor_login(struct monitor *m, unsigned place)
{
	struct solo *solo = &m->place[place];

	m->login_us = clock_us();
	*solo = (struct solo){
		.owner = m,
		.user = m->user,
		.dbname = m->dbname,
		.secret = m->secret,
		.password_file = m->password_file,
		.scram = &m->scram,
		.endpoint = m->endpoint,
		.stay = m->endpoint->seen.answers ? &m->endpoint->address : NULL,
		.startup = startup,
		.timeout_us = monitor_settings(m)->topology_check_timeout,
		.opened = monitor_opened,
		.closed = monitor_closed,
	};
	(void)server_launch_solo(m->pooler, solo);
}

static void monitor_fire(struct timer *t, void *ctx)
{
	struct monitor *m = container_of(t, struct monitor, timer);
	struct server *s = asked_place(m)->server;
	unsigned other = 1 - m->at;

	(void)ctx;
	monitor_rearm(m);
	if (!m->user)
		return;
	if (!s && !m->place[other].server) {
		monitor_login(m, m->at);
		return;
	}
	if (s && s->logged_in && !m->place[other].server && clock_us() - m->login_us >= login_interval_us)
		monitor_login(m, other);
	if (!s || s->c.state != SS_IDLE)
		return;
	if (has_changed(m, s) || (m->endpoint->cluster && m->endpoint->cluster->wants_lag) ||
		(m->endpoint->asked_us && clock_us() - m->endpoint->asked_us < curious_us))
		ask_role(m, s);
	else
		monitor_ask(m, s, NULL, sync_done);
}

/* ---- who is watched ------------------------------------------------------------------------ */

static const char *auth_secret(const struct config *c, const char *user)
{
	const struct auth_entry *e = config_auth_find(c, user);

	return e && e->secret[0] ? e->secret : NULL;
}

/* The user and password of an entry that names the endpoint, or the file with that. False: there is none with a user. */
static bool find_forced(struct pooler *p, const struct endpoint *ep, const char **user, const char **secret,
	const char **file)
{
	struct registry *r = &p->registry;

	for (struct hnode *n = htab_next(&r->databases, NULL); n; n = htab_next(&r->databases, n)) {
		const struct database *d = container_of(n, struct database, by_name);

		for (size_t i = 0; d->conf && d->conf->user && i < d->n_hosts; i++)
			if (d->hosts[i] == ep) {
				*user = d->conf->user;
				*secret = d->conf->password ? d->conf->password : auth_secret(r->config, *user);
				*file = d->conf->password_file;
				return true;
			}
	}
	return false;
}

/* The first of admin_users with a password; the result is the caller's. NULL: there is none. */
static char *find_admin(const struct config *c)
{
	const char *list = c->set.admin_users;

	while (*list) {
		size_t n;
		char *name;

		list += strspn(list, ", \t");
		n = strcspn(list, ", \t");
		name = xstrndup(MEM_SERVER, list, n);
		if (n && auth_secret(c, name))
			return name;
		xfree(MEM_SERVER, name);
		list += n;
	}
	return NULL;
}

static void monitor_forget_user(struct monitor *m)
{
	xfree(MEM_SERVER, m->user);
	xfree(MEM_SERVER, m->dbname);
	xfree_secret(MEM_SERVER, m->secret);
	xfree(MEM_SERVER, m->password_file);
	m->user = m->dbname = m->secret = m->password_file = NULL;
}

static bool text_differs(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) != 0 : a != b;
}

static void monitor_hang_up(struct monitor *m)
{
	for (unsigned i = 0; i < 2; i++)
		place_close(&m->place[i], NULL);
	m->asked_us = 0;
	m->useless = 0;
}

static void monitor_choose_user(struct monitor *m)
{
	const struct config *c = m->pooler->registry.config;
	const char *user = c->set.monitor_user, *secret = NULL, *file = NULL;
	char *admin = NULL;

	if (user[0])
		secret = auth_secret(c, user);
	else if (!find_forced(m->pooler, m->endpoint, &user, &secret, &file)) {
		user = admin = find_admin(c);
		secret = admin ? auth_secret(c, admin) : NULL;
	}
	if (text_differs(m->user, user) || text_differs(m->secret, secret) || text_differs(m->password_file, file) ||
		text_differs(m->dbname, c->set.monitor_dbname)) {
		monitor_hang_up(m);
		monitor_forget_user(m);
		m->user = user ? xstrdup(MEM_SERVER, user) : NULL;
		m->dbname = xstrdup(MEM_SERVER, c->set.monitor_dbname);
		m->secret = secret ? xstrdup(MEM_SERVER, secret) : NULL;
		m->password_file = file ? xstrdup(MEM_SERVER, file) : NULL;
		m->complained = false;
	}
	xfree(MEM_SERVER, admin);
	if (!m->user && !m->complained) {
		log_msg(LL_WARNING, "%s:%u is not watched: there is no monitor_user", m->endpoint->host,
			m->endpoint->port);
		m->complained = true;
		topology_blind(m->endpoint, true);
	}
}

static void monitor_drop(struct monitor *m)
{
	struct pooler *p = m->pooler;

	TAILQ_REMOVE(&p->monitors, m, all);
	monitor_hang_up(m);
	timer_cancel(&p->loop.timers, &m->timer);
	m->endpoint->seen = (struct sight){.answers = false};
	m->endpoint->address = (struct addr){.family = AF_UNSPEC};
	endpoint_put(&p->registry.endpoints, &m->endpoint);
	monitor_forget_user(m);
	scram_cache_clear(&m->scram);
	xfree(MEM_SERVER, m);
}

static struct monitor *monitor_find(struct pooler *p, const struct endpoint *ep)
{
	struct monitor *m;

	TAILQ_FOREACH (m, &p->monitors, all)
		if (m->endpoint == ep)
			return m;
	return NULL;
}

static void monitor_new(struct pooler *p, struct endpoint *ep)
{
	struct monitor *m = xcalloc(MEM_SERVER, 1, sizeof(*m));

	m->pooler = p;
	m->endpoint = endpoint_ref(ep);
	m->timer.fire = monitor_fire;
	TAILQ_INSERT_TAIL(&p->monitors, m, all);
}

void monitors_configure(struct pooler *p)
{
	struct monitor *m, *next;
	struct cluster *c;

	for (m = TAILQ_FIRST(&p->monitors); m; m = next) {
		next = TAILQ_NEXT(m, all);
		if (!m->endpoint->cluster)
			monitor_drop(m);
	}
	TAILQ_FOREACH (c, &p->registry.clusters, all)
		for (size_t i = 0; i < c->n; i++)
			if (!monitor_find(p, c->members[i]))
				monitor_new(p, c->members[i]);
	TAILQ_FOREACH (m, &p->monitors, all) {
		monitor_choose_user(m);
		timer_set(&p->loop.timers, &m->timer, clock_us());
	}
}

void monitors_free(struct pooler *p)
{
	while (!TAILQ_EMPTY(&p->monitors))
		monitor_drop(TAILQ_FIRST(&p->monitors));
}

void monitors_probe(struct pooler *p, struct cluster *c, bool logins)
{
	struct monitor *m;

	TAILQ_FOREACH (m, &p->monitors, all)
		if (m->endpoint->cluster == c) {
			if (logins)
				m->login_us = 0;
			if (m->asked_us)
				m->again = true;
			else
				timer_set(&p->loop.timers, &m->timer, clock_us());
		}
}
