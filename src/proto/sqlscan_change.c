/*
 * sqlscan_change: what a statement changes in its session that outlives its
 * transaction. Called to know what must be asked for, restored, or kept on its
 * server. It reads names of parameters and never their values.
 */
#include "proto/sqlscan.h"

#include <string.h>

#include "sqlscan_priv.h"

struct tell {
	sql_change_fn *fn;
	void *arg;
};

static void tell(const struct tell *to, enum sql_change what)
{
	to->fn(to->arg, what, "");
}

static void tell_param(const struct tell *to, const char *param)
{
	to->fn(to->arg, SQL_CHANGE_PARAM, param);
}

static bool is_name(const struct token *t)
{
	return t->kind == TOK_WORD || t->kind == TOK_QUOTED;
}

static void lower(char *s)
{
	for (; *s != '\0'; s++)
		*s = sql_lower(*s);
}

/* ---- SET, RESET ---- */

/* What is created in pg_temp is temporary; where that comes behind other schemas nothing is. */
static void read_first_schema(struct sql_reader *r, const struct tell *to)
{
	static const char quoted[] = "'pg_temp'";
	char name[SQL_NAME];

	sqlscan_read(r); /* the sign, or TO */
	if ((is_name(&r->t) && sqlscan_fold(&r->t, name, sizeof(name)) && strcmp(name, "pg_temp") == 0) ||
		(r->t.kind == TOK_STRING && r->t.len == sizeof(quoted) - 1 &&
			strncasecmp(r->t.text, quoted, sizeof(quoted) - 1) == 0))
		tell(to, SQL_CHANGE_TEMP);
}

/* A parameter's name of one or more parts. Their names have no case, quoted or not. */
static void read_param(struct sql_reader *r, const struct tell *to)
{
	char param[SQL_PARAM];
	size_t len = 0;

	for (;;) {
		char part[SQL_NAME];

		if (!is_name(&r->t) || !sqlscan_fold(&r->t, part, sizeof(part)) || len + strlen(part) + 2 > SQL_PARAM) {
			tell_param(to, "");
			return;
		}
		memcpy(param + len, part, strlen(part) + 1);
		len += strlen(part);
		sqlscan_read(r);
		if (r->t.kind != TOK_DOT)
			break;
		param[len++] = '.';
		sqlscan_read(r);
	}
	lower(param);
	tell_param(to, r->t.kind == TOK_CUT ? "" : param);
	if (strcmp(param, "search_path") == 0)
		read_first_schema(r, to);
}

static void read_characteristics(struct sql_reader *r, const struct tell *to)
{
	while (r->t.kind == TOK_WORD || r->t.kind == TOK_COMMA) {
		if (ACCEPT(r, "ISOLATION"))
			tell_param(to, "default_transaction_isolation");
		else if (ACCEPT(r, "DEFERRABLE"))
			tell_param(to, "default_transaction_deferrable");
		else if (TOKEN_IS(&r->t, "ONLY") || TOKEN_IS(&r->t, "WRITE"))
			tell_param(to, "default_transaction_read_only");
		sqlscan_read(r);
	}
}

/* The words that stand for a parameter when a certain word, or anything but these, follows them. */
static void read_set(struct sql_reader *r, const struct tell *to)
{
	struct sql_reader name = *r;

	if (ACCEPT(r, "SESSION") && r->t.kind != TOK_DOT) {
		if (ACCEPT(r, "CHARACTERISTICS") && ACCEPT(r, "AS")) {
			read_characteristics(r, to);
			return;
		}
		name = *r;
	}
	if (ACCEPT(r, "TIME") && TOKEN_IS(&r->t, "ZONE"))
		tell_param(to, "timezone");
	else if (ACCEPT(r, "XML") && TOKEN_IS(&r->t, "OPTION"))
		tell_param(to, "xmloption");
	else if (ACCEPT(r, "NAMES") && (r->t.kind == TOK_STRING || r->t.kind == TOK_END || TOKEN_IS(&r->t, "DEFAULT")))
		tell_param(to, "client_encoding");
	else if (ACCEPT(r, "SCHEMA") && r->t.kind == TOK_STRING)
		tell_param(to, "search_path");
	else
		read_param(&name, to);
}

static void read_reset(struct sql_reader *r, const struct tell *to)
{
	struct sql_reader name = *r;

	if (ACCEPT(r, "TIME") && TOKEN_IS(&r->t, "ZONE"))
		tell_param(to, "timezone");
	else if (ACCEPT(r, "SESSION") && TOKEN_IS(&r->t, "AUTHORIZATION"))
		tell_param(to, "session_authorization");
	else if (!(ACCEPT(r, "TRANSACTION") && TOKEN_IS(&r->t, "ISOLATION")))
		read_param(&name, to);
}

/* ---- the inside of a statement ---- */

enum { CONFIG_NONE, CONFIG_OPEN, CONFIG_NAME };

struct inside {
	const struct tell *to;
	struct token last, before; /* the two before this one */
	int config;		   /* where in "set_config('name'," */
	bool creates, updates, declares, temp;
};

static bool name_is(const struct token *t, const char *name)
{
	char folded[SQL_NAME];

	return is_name(t) && sqlscan_fold(t, folded, sizeof(folded)) && strcmp(folded, name) == 0;
}

static void found_temp(struct inside *in)
{
	if (!in->temp)
		tell(in->to, SQL_CHANGE_TEMP);
	in->temp = true;
}

/* Behind INTO, which is not INSERT's or MERGE's. */
static bool is_into(const struct inside *in)
{
	return TOKEN_IS(&in->last, "INTO") && !TOKEN_IS(&in->before, "INSERT") && !TOKEN_IS(&in->before, "MERGE");
}

/* Behind LOCAL or GLOBAL, which say nothing any more. */
static bool is_global(const struct inside *in)
{
	return (TOKEN_IS(&in->last, "LOCAL") || TOKEN_IS(&in->last, "GLOBAL")) &&
	       (TOKEN_IS(&in->before, "CREATE") || TOKEN_IS(&in->before, "INTO"));
}

static void call_step(struct inside *in)
{
	static const char *const locks[] = {
		"pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared"};

	if (!is_name(&in->last))
		return;
	if (in->last.kind == TOK_QUOTED && in->last.text[0] != '"')
		tell(in->to, SQL_CHANGE_UNKNOWN);
	if (name_is(&in->last, "set_config"))
		in->config = CONFIG_OPEN;
	if (name_is(&in->last, "pg_advisory_unlock_all"))
		tell(in->to, SQL_CHANGE_UNLOCK_ALL);
	for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
		if (name_is(&in->last, locks[i]))
			tell(in->to, SQL_CHANGE_LOCK);
}

/* A literal in plain quotes with nothing to undo is a name. */
static void tell_literal(struct inside *in, const struct token *t)
{
	char param[SQL_PARAM];

	param[0] = '\0';
	if (t->text[0] == '\'' && t->len > 2 && t->len - 2 < sizeof(param) && memchr(t->text, '\\', t->len) == NULL &&
		memchr(t->text + 1, '\'', t->len - 1) == t->text + t->len - 1) {
		memcpy(param, t->text + 1, t->len - 2);
		param[t->len - 2] = '\0';
		lower(param);
	}
	tell_param(in->to, param);
}

static void config_step(struct inside *in, const struct token *t)
{
	if (in->config == CONFIG_OPEN && t->kind == TOK_STRING) {
		in->config = CONFIG_NAME;
		return;
	}
	if (in->config == CONFIG_NAME && t->kind == TOK_COMMA)
		tell_literal(in, &in->last);
	else if (in->config != CONFIG_NONE)
		tell_param(in->to, "");
	in->config = CONFIG_NONE;
}

static void word_step(struct inside *in, const struct token *t)
{
	if (TOKEN_IS(t, "TEMP") || TOKEN_IS(t, "TEMPORARY")) {
		if (is_into(in) || TOKEN_IS(&in->last, "CREATE") || is_global(in))
			found_temp(in);
	} else if (TOKEN_IS(t, "CREATE")) {
		in->creates = true;
	} else if (TOKEN_IS(t, "UPDATE")) {
		in->updates = true;
	} else if (TOKEN_IS(t, "FOR")) {
		in->declares = false;
	} else if (in->declares && TOKEN_IS(t, "HOLD") && TOKEN_IS(&in->last, "WITH")) {
		tell(in->to, SQL_CHANGE_HOLD);
	}
}

static void inside_step(struct inside *in, const struct token *t)
{
	config_step(in, t);
	if (t->kind == TOK_OPEN)
		call_step(in);
	else if (t->kind == TOK_WORD)
		word_step(in, t);
	if (is_name(t)) {
		if (name_is(t, "pg_temp") && (in->creates || is_into(in)))
			found_temp(in);
		if (in->updates && name_is(t, "pg_settings"))
			tell_param(in->to, "");
	}
	in->before = in->last;
	in->last = *t;
}

static void look_inside(const struct sql_stmt *st, const struct tell *to)
{
	struct sql_reader r = {.s = sqlscan_of(st)};
	struct inside in = {.to = to, .declares = st->class == STMT_DECLARE, .temp = st->class == STMT_CREATE_TEMP};

	in.last.kind = in.before.kind = TOK_END;
	for (sqlscan_read(&r); r.t.kind != TOK_END; sqlscan_read(&r)) {
		if (r.t.kind == TOK_CUT || r.t.kind == TOK_VTAB) {
			tell(to, SQL_CHANGE_UNKNOWN);
			return;
		}
		inside_step(&in, &r.t);
	}
}

/* ---- a statement ---- */

static const enum sql_change by_class[STMT_CLASSES] = {
#define STATEMENT(name, words, ends, sets, change) [STMT_##name] = SQL_CHANGE_##change,
#define SPELLING(name, words)
#include "tbl/statements.h"
#undef SPELLING
#undef STATEMENT
};

/* CREATE TEMP TABLE ... ON COMMIT DROP: gone with its transaction. */
static bool is_dropped_at_commit(const struct sql_stmt *st)
{
	struct sql_reader r = {.s = sqlscan_of(st)};

	for (sqlscan_read(&r); r.t.kind != TOK_END && r.t.kind != TOK_CUT;)
		if (!ACCEPT(&r, "ON"))
			sqlscan_read(&r);
		else if (ACCEPT(&r, "COMMIT") && TOKEN_IS(&r.t, "DROP"))
			return true;
	return false;
}

/* What the class of the statement says, where that depends on more than its first words. */
static enum sql_change change_of(const struct sql_stmt *st)
{
	enum sql_change what = by_class[st->class];
	struct sql_reader r = {.s = sqlscan_of(st)};
	struct sql_name n;

	if (what == SQL_CHANGE_HIDDEN && (st->class == STMT_EXPLAIN || st->class == STMT_CREATE_TABLE))
		return sqlscan_prepared(st, &n) != SQL_PREPARED_NONE ? what : SQL_CHANGE_NONE;
	if (what == SQL_CHANGE_TEMP && is_dropped_at_commit(st))
		return SQL_CHANGE_NONE;
	if (what == SQL_CHANGE_UNLISTEN_ALL) {
		sqlscan_read(&r);
		sqlscan_read(&r);
		return r.t.kind == TOK_OTHER && r.t.text[0] == '*' ? what : SQL_CHANGE_NONE;
	}
	return what;
}

static void read_words(const struct sql_stmt *st, const struct tell *to)
{
	struct sql_reader r = {.s = sqlscan_of(st)};

	sqlscan_read(&r);
	if (st->class == STMT_SET_SESSION_AUTHORIZATION)
		tell_param(to, "session_authorization");
	else if (ACCEPT(&r, "SET"))
		read_set(&r, to);
	else if (ACCEPT(&r, "RESET"))
		read_reset(&r, to);
}

void sqlscan_changes(const struct sql_stmt *st, sql_change_fn *fn, void *arg)
{
	const struct tell to = {fn, arg};
	enum sql_change what = change_of(st);

	if (what == SQL_CHANGE_PARAM) {
		read_words(st, &to);
		/* Others may follow. */
		if (!st->whole)
			tell(&to, SQL_CHANGE_UNKNOWN);
		return;
	}
	if (what != SQL_CHANGE_NONE)
		tell(&to, what);
	if (st->class == STMT_DECLARE || !st->whole || sqlscan_look(st->text, st->text + st->len) != 0 ||
		(memchr(st->text, '\v', st->len) != NULL && !sqlscan_is_plain(st->text, st->len)))
		look_inside(st, &to);
}

bool sqlscan_calls(const struct sql_stmt *st)
{
	struct sql_reader r = {.s = sqlscan_of(st)};

	sqlscan_read(&r);
	return TOKEN_IS(&r.t, "CALL") || TOKEN_IS(&r.t, "DO");
}

bool sqlscan_may_change(const char *text, size_t n, bool whole)
{
	struct sqlscan s = sqlscan_init(text, n, whole, true);

	return !s.whole || !sqlscan_is_plain(s.p, (size_t)(s.end - s.p)) || sqlscan_look(s.p, s.end) != 0;
}
