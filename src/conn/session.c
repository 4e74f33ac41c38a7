/*
 * session.c: see conn/session.h. Called by the server unit.
 */
#include "conn/session.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/timer.h"
#include "net/buf.h"
#include "pool/vars.h"
#include "proto/sqlscan.h"

/* With more names than this all that the server can tell of are asked for. */
enum { SESSION_NAMES = 512 };

enum { PIN_ALL = (1 << PINS) - 1, PIN_KEPT = 1 << PIN_STATEMENT };

/* Which pins there are; which of them the transaction made that is not over yet; which end with it. */
struct pins {
	uint8_t held, fresh, ends;
};

struct touched {
	char *name;
	bool reset; /* the last statement took its value back */
	bool fresh; /* no transaction that touched it is over yet: if it is rolled back nothing has changed */
};

struct session {
	struct touched *names;
	unsigned n, size;
	bool resets;
	bool all;	/* any parameter may have been set */
	bool reset_all; /* all were taken back ... */
	bool discards;	/* ... and who the session is, by DISCARD ALL */
	bool blind;	/* a text was sent that could not be read to its end: it may have changed anything */
	bool failed;	/* an error came since the last ReadyForQuery */
	bool undone;	/* the last tag was ROLLBACK */
	bool calls;	/* a procedure or block of code runs: it may commit, and fail then */
	bool kept;	/* a transaction is over that may have set what was not asked for yet */
	struct pins pins;
	int64_t pinned_us;
	char head[SESSION_HEAD];
};

static const bool transactional[PINS] = {
#define PIN(name, shown, transactional) [PIN_##name] = transactional,
#include "tbl/pins.h"
#undef PIN
};

/* ---- pins ---- */

static void pin_begin(struct pins *p, enum pin pin)
{
	uint8_t bit = (uint8_t)(1u << pin);

	if (!(p->held & bit)) {
		p->held |= bit;
		p->fresh |= bit;
	}
	p->ends &= (uint8_t)~bit;
}

static void pin_end(struct pins *p, unsigned bits)
{
	p->ends |= (uint8_t)(bits & p->held);
}

/* Those of the transaction that is over stay. */
static void pins_keep(struct pins *p)
{
	p->fresh = 0;
	p->held &= (uint8_t)~p->ends;
	p->ends = 0;
}

static void pins_undo(struct pins *p)
{
	for (unsigned i = 0; i < PINS; i++)
		if (transactional[i] && (p->fresh & (1u << i)))
			p->held &= (uint8_t) ~(1u << i);
	p->fresh = p->ends = 0;
}

static void pins_change(struct pins *p, enum sql_change what)
{
	switch (what) {
	case SQL_CHANGE_LISTEN: pin_begin(p, PIN_LISTEN); return;
	case SQL_CHANGE_TEMP: pin_begin(p, PIN_TEMP); return;
	case SQL_CHANGE_HOLD: pin_begin(p, PIN_HOLD); return;
	case SQL_CHANGE_LOCK: pin_begin(p, PIN_LOCK); return;
	case SQL_CHANGE_LOAD: pin_begin(p, PIN_LOAD); return;
	case SQL_CHANGE_UNLISTEN_ALL: pin_end(p, 1u << PIN_LISTEN); return;
	case SQL_CHANGE_DISCARD_TEMP: pin_end(p, 1u << PIN_TEMP); return;
	case SQL_CHANGE_CLOSE_ALL: pin_end(p, 1u << PIN_HOLD); return;
	case SQL_CHANGE_UNLOCK_ALL: pin_end(p, 1u << PIN_LOCK); return;
	case SQL_CHANGE_DISCARD_ALL: pin_end(p, PIN_ALL); return;
	case SQL_CHANGE_NONE:
	case SQL_CHANGE_PARAM:
	case SQL_CHANGE_RESET_ALL:
	case SQL_CHANGE_HIDDEN:
	case SQL_CHANGE_UNKNOWN: return;
	}
}

/* ---- texts ---- */

static void each_statement(const struct session_text *t, void (*fn)(const struct sql_stmt *st, void *arg), void *arg)
{
	struct sqlscan scan = sqlscan_init(t->p, t->n, t->whole, t->standard);
	struct sql_stmt st;
	enum sqlscan_result r;

	while ((r = sqlscan_next(&scan, &st)) != SQLSCAN_END) {
		if (st.class != STMT_PREPARE || t->executes)
			fn(&st, arg);
		if (r == SQLSCAN_UNKNOWN)
			return;
	}
}

bool session_may_change(const struct session_text *t)
{
	return sqlscan_may_change(t->p, t->n, t->whole);
}

static void count_change(void *arg, enum sql_change what, const char *param)
{
	(void)param;
	pins_change(arg, what);
}

static void count_statement(const struct sql_stmt *st, void *arg)
{
	sqlscan_changes(st, count_change, arg);
}

unsigned session_pins_added(const struct session *s, const struct session_text *t)
{
	struct pins now = {0}, then;

	if (s)
		now = s->pins;
	then = now;
	each_statement(t, count_statement, &then);
	return then.held & ~(unsigned)now.held;
}

static struct session *session_made(struct session **s)
{
	if (!*s)
		*s = xcalloc(MEM_SERVER, 1, sizeof(**s));
	return *s;
}

static void touch(struct session *s, const char *name, bool reset)
{
	if (var_kind(name) == VAR_FIXED)
		return;
	for (unsigned i = 0; i < s->n; i++)
		if (!strcmp(s->names[i].name, name)) {
			s->names[i].reset = reset;
			return;
		}
	if (!name[0] || s->n == SESSION_NAMES) {
		s->all = true;
		return;
	}
	if (s->n == s->size) {
		s->size = s->size ? 2 * s->size : 4;
		s->names = xrealloc(MEM_SERVER, s->names, s->size * sizeof(*s->names));
	}
	s->names[s->n++] = (struct touched){xstrdup(MEM_SERVER, name), reset, true};
}

struct noting {
	struct session **s;
	const struct sql_stmt *st;
};

/* Who the session is RESET ALL does not take back. */
static bool is_identity(const char *name)
{
	return !strcasecmp(name, "role") || !strcasecmp(name, "session_authorization");
}

static void note_change(void *arg, enum sql_change what, const char *param)
{
	const struct noting *n = arg;
	struct session *s;

	if (what == SQL_CHANGE_HIDDEN)
		return;
	s = session_made(n->s);
	pins_change(&s->pins, what);
	if (what == SQL_CHANGE_PARAM) {
		touch(s, param, n->st->class == STMT_RESET || n->st->to_default);
		if (n->st->class == STMT_SET_SESSION_AUTHORIZATION || !strcmp(param, "session_authorization"))
			touch(s, "role", true); /* which it takes back */
	} else if (what == SQL_CHANGE_RESET_ALL || what == SQL_CHANGE_DISCARD_ALL) {
		s->reset_all = true;
		s->discards = s->discards || what == SQL_CHANGE_DISCARD_ALL;
		for (unsigned i = 0; i < s->n; i++)
			if (what == SQL_CHANGE_DISCARD_ALL || !is_identity(s->names[i].name))
				s->names[i].reset = true;
	} else if (what == SQL_CHANGE_UNKNOWN) {
		s->blind = true;
	}
}

static void note_statement(const struct sql_stmt *st, void *arg)
{
	struct noting *n = arg;

	n->st = st;
	if (*n->s && sqlscan_calls(st))
		(*n->s)->calls = true;
	sqlscan_changes(st, note_change, n);
}

/* The first pin is what SHOW PINS tells of. */
static void note_head(struct session *s, bool pinned_before, const char *text, size_t n)
{
	size_t len = strnlen(text, n < SESSION_HEAD - 1 ? n : SESSION_HEAD - 1);

	if (pinned_before || !s->pins.held)
		return;
	s->pinned_us = clock_us();
	memcpy(s->head, text, len);
	s->head[len] = '\0';
}

void session_note(struct session **s, const struct session_text *t, bool resets)
{
	struct noting n = {.s = s};
	bool pinned = *s && (*s)->pins.held;

	each_statement(t, note_statement, &n);
	if (!*s)
		return;
	(*s)->resets = resets;
	note_head(*s, pinned, t->p, t->n);
}

void session_pin(struct session **s, enum pin pin, const char *head, size_t n)
{
	struct session *it = session_made(s);
	bool pinned = it->pins.held;

	pin_begin(&it->pins, pin);
	note_head(it, pinned, head, n);
}

void session_unpin(struct session *s, enum pin pin)
{
	if (s)
		pin_end(&s->pins, 1u << pin);
}

/* ---- answers ---- */

static void names_keep(struct session *s)
{
	for (unsigned i = 0; i < s->n; i++)
		s->names[i].fresh = false;
}

static void names_undo(struct session *s)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < s->n; i++)
		if (s->names[i].fresh)
			xfree(MEM_SERVER, s->names[i].name);
		else
			s->names[kept++] = s->names[i];
	s->n = kept;
}

void session_completed(struct session *s, const char *tag)
{
	if (!s)
		return;
	s->undone = !strcmp(tag, "ROLLBACK");
	if (s->undone) {
		s->pins.ends =
			0; /* also by ROLLBACK TO: whether what was to end them stood behind the savepoint is not known */
	} else if (!strcmp(tag, "COMMIT") || !strcmp(tag, "PREPARE TRANSACTION")) {
		pins_keep(&s->pins);
		names_keep(s);
		s->failed = false;
	} else if (s->blind && (!strcmp(tag, "SET") || !strcmp(tag, "RESET"))) {
		s->all = true;
	}
}

void session_failed(struct session *s)
{
	if (s)
		s->failed = true;
}

/* While there is more it is not known whose pins and names they are: then none goes. */
void session_ready(struct session *s, bool more)
{
	bool good = s && ((!s->failed && !s->undone) || s->calls);

	if (!s)
		return;
	if (good && more)
		s->pins.fresh = 0;
	else if (good)
		pins_keep(&s->pins);
	else if (!more)
		pins_undo(&s->pins);
	else
		s->pins.ends = 0;
	if (!good && !more)
		names_undo(s);
	else
		names_keep(s);
	s->failed = s->undone = s->calls = false;
	s->kept = session_must_read(s);
}

unsigned session_pins(const struct session *s)
{
	return !s ? 0 : s->resets ? s->pins.held & PIN_KEPT : s->pins.held;
}

const char *session_head(const struct session *s)
{
	return s->head;
}

int64_t session_pinned_us(const struct session *s)
{
	return s->pinned_us;
}

bool session_must_reset(const struct session *s)
{
	return s && (s->blind || (s->resets && ((s->pins.held & ~PIN_KEPT) || s->n || s->all || s->reset_all)));
}

bool session_must_read(const struct session *s)
{
	return s && !s->resets && (s->n || s->all || s->reset_all);
}

bool session_is_unread(const struct session *s)
{
	return s && s->kept;
}

bool session_has_unknown(const struct session *s)
{
	return s && s->all;
}

/* ---- the values ---- */

/* In PostgreSQL the functions and operators of pg_catalog are meant, whatever the client's search_path has. */
static void put_name_row(struct buf *sql, const char *name, bool reset)
{
	buf_puts(sql, buf_len(sql) ? " UNION ALL SELECT " : "SELECT ");
	vars_put_literal(sql, name);
	buf_puts(sql, "::pg_catalog.text, pg_catalog.current_setting(");
	vars_put_literal(sql, name);
	buf_puts(sql, ", true), ");
	if (!reset) {
		buf_puts(sql, "false");
		return;
	}
	buf_puts(sql, "(SELECT setting OPERATOR(pg_catalog.=) reset_val FROM pg_catalog.pg_settings"
		      " WHERE pg_catalog.lower(name) OPERATOR(pg_catalog.=) ");
	vars_put_literal(sql, name);
	buf_puts(sql, "::pg_catalog.text)");
}

static bool is_touched(const struct session *s, const char *name)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!strcasecmp(s->names[i].name, name))
			return true;
	return false;
}

/* Everybody may see them, and what is put in front of the others changes them. */
static const char timeout[] = "statement_timeout";

static bool is_read_first(const char *name)
{
	return !strcasecmp(name, "role") || !strcasecmp(name, timeout);
}

static void put_rows(const struct session *s, const struct vars *now, const struct vars *reported, struct buf *sql,
	bool first)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!vars_get(reported, s->names[i].name) && is_read_first(s->names[i].name) == first)
			put_name_row(sql, s->names[i].name, s->names[i].reset);
	/* Of what was taken back, and of what cannot be named, all that the server was known to have is asked for. */
	for (size_t i = 0; (s->reset_all || s->all) && i < vars_count(now); i++)
		if (!vars_get(reported, vars_name(now, i)) && !is_touched(s, vars_name(now, i)) &&
			is_read_first(vars_name(now, i)) == first)
			put_name_row(sql, vars_name(now, i), s->discards || !is_identity(vars_name(now, i)));
	if (s->all && first && !is_touched(s, timeout) && !vars_get(now, timeout))
		put_name_row(sql, timeout, true);
	if (s->all && !first)
		buf_printf(sql,
			"%s pg_catalog.lower(name), pg_catalog.current_setting(name, true), false"
			" FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'"
			" AND name OPERATOR(pg_catalog.<>) 'statement_timeout'",
			buf_len(sql) ? " UNION ALL SELECT" : "SELECT");
}

bool session_read_sql(const struct session *s, const struct vars *now, const struct vars *reported, struct buf *sql)
{
	struct buf rest = {0};

	put_rows(s, now, reported, sql, true);
	put_rows(s, now, reported, &rest, false);
	if (buf_len(&rest)) {
		if (buf_len(sql))
			buf_puts(sql, ";");
		/* Not every role may see all that a session has, and the time for a statement is the client's. */
		buf_puts(sql, "SET LOCAL statement_timeout = 0;SET LOCAL ROLE NONE;");
		buf_append(sql, buf_head(&rest), buf_len(&rest));
	}
	sql->failed = sql->failed || buf_failed(&rest);
	buf_free(&rest);
	return buf_len(sql) > 0;
}

/*
 * What is not in pg_settings: a custom parameter is an empty text after RESET, and the role is none.
 */
const char *session_value(const char *name, const char *value, const char *is_reset)
{
	if (!value || (is_reset && !strcmp(is_reset, "t")))
		return NULL;
	if (!is_reset && !strcmp(value, strcmp(name, "role") ? "" : "none"))
		return NULL;
	return value;
}

void session_free(struct session **s)
{
	if (!*s)
		return;
	for (unsigned i = 0; i < (*s)->n; i++)
		xfree(MEM_SERVER, (*s)->names[i].name);
	xfree(MEM_SERVER, (*s)->names);
	xfree(MEM_SERVER, *s);
	*s = NULL;
}
