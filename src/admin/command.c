/*
 * command: parses and runs the commands of the console. The rows stand in
 * tbl/commands.h, what they do to the program in control, the tables in show.
 * It knows nothing of the protocol and of who sent the text.
 */
#include "admin/command.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/control.h"
#include "admin/result.h"
#include "admin/show.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/buf.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum rights { RIGHTS_STATS, RIGHTS_ADMIN };
enum args { ARGS_NONE, ARGS_DB, ARGS_MAYBE_DB, ARGS_ID, ARGS_MAYBE_WORD, ARGS_TABLE, ARGS_ASSIGN, ARGS_HOST };

struct command_row {
	const char *word;
	enum rights rights;
	enum args args;
	const char *syntax, *help;
	enum command_outcome (*run)(const struct command *c, const struct command_call *call);
};

#define SHOW(ident, name, help)
#define COMMAND(ident, word, rights, args, syntax, help) \
	static enum command_outcome run_##ident(const struct command *c, const struct command_call *call);
#include "tbl/commands.h"
#undef COMMAND

static const struct command_row command_rows[] = {
#define COMMAND(ident, word, rights, args, syntax, help) \
	{word, RIGHTS_##rights, ARGS_##args, syntax, help, run_##ident},
#include "tbl/commands.h"
#undef COMMAND
#undef SHOW
};

/* ---- what only drivers ask for ---- */

static void get_parameter(struct cell *c, const void *row, unsigned arg)
{
	static const char *const values[] = {"UTF-8", "read committed", "on", "ISO", "GMT", "1", ""};

	(void)row;
	assert(arg < LENGTH(values));
	cell_text(c, values[arg]);
}

/* Each is a table of one column and one row; SET changes nothing. */
static const struct column parameter_columns[] = {
	{"client_encoding", COLUMN_TEXT, get_parameter, 0},
	{"default_transaction_isolation", COLUMN_TEXT, get_parameter, 1},
	{"standard_conforming_strings", COLUMN_TEXT, get_parameter, 2},
	{"datestyle", COLUMN_TEXT, get_parameter, 3},
	{"timezone", COLUMN_TEXT, get_parameter, 4},
	{"extra_float_digits", COLUMN_TEXT, get_parameter, 5},
	{"application_name", COLUMN_TEXT, get_parameter, 6},
};

static const struct column *find_parameter(const char *name)
{
	for (size_t i = 0; i < LENGTH(parameter_columns); i++)
		if (strcasecmp(parameter_columns[i].name, name) == 0)
			return &parameter_columns[i];
	return NULL;
}

/* ---- words of a text ---- */

static const char blanks[] = " \t\n\r\f\v";

static const char *skip_comment(const char *p)
{
	int depth = 0;

	do {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (p[0] == '*' && p[1] == '/') {
			depth--;
			p += 2;
		} else {
			p++;
		}
	} while (depth > 0 && *p != '\0');
	return p;
}

static const char *skip_blanks(const char *p)
{
	for (;;) {
		p += strspn(p, blanks);
		if (p[0] == '-' && p[1] == '-')
			p += strcspn(p, "\n");
		else if (p[0] == '/' && p[1] == '*')
			p = skip_comment(p);
		else
			return p;
	}
}

/* In quotes that are doubled inside. NULL when the closing one is missing. */
static char *take_quoted(const char **p)
{
	const char quote = **p, *from = *p + 1;
	char *word = xmalloc(MEM_MISC, strlen(from) + 1), *to = word;

	for (;; from++) {
		if (*from == '\0') {
			xfree(MEM_MISC, word);
			return NULL;
		}
		if (*from == quote && *++from != quote)
			break;
		*to++ = *from;
	}
	*to = '\0';
	*p = from;
	return word;
}

/*
 * The next word, up to one of the characters of stop, or whatever stands between quotes of this kind; NULL when there is
 * none. Comments begin only where a word could, so that no name needs quotes that needs none with PgBouncer.
 */
static char *take_word(const char **p, const char *stop, char quote)
{
	const char *from = skip_blanks(*p);
	size_t n;
	char *word;

	*p = from;
	if (*from != '\0' && *from == quote)
		return take_quoted(p);
	n = strcspn(from, stop);
	if (n == 0)
		return NULL;
	word = xstrndup(MEM_MISC, from, n);
	*p = from + n;
	return word;
}

static bool is_over(const char *p)
{
	p = skip_blanks(p);
	while (*p == ';')
		p = skip_blanks(p + 1);
	return *p == '\0';
}

static const char name_stop[] = " \t\n\r\f\v;='\"";
static const char value_stop[] = " \t\n\r\f\v;'\"";

/* ---- parsing ---- */

static const struct command_row *find_row(const char *word)
{
	if (strcasecmp(word, "SELECT") == 0)
		word = "SHOW";
	for (size_t i = 0; i < LENGTH(command_rows); i++)
		if (strcasecmp(command_rows[i].word, word) == 0)
			return &command_rows[i];
	return NULL;
}

static bool parse_table(struct command *c, const char **p)
{
	c->arg = take_word(p, name_stop, '\0');
	if (c->arg == NULL)
		return false;
	c->table = show_find(c->arg);
	if (c->table == NULL)
		c->parameter = find_parameter(c->arg);
	return c->table != NULL || c->parameter != NULL;
}

/* name = value, name TO 'value' */
static bool parse_assign(struct command *c, const char **p)
{
	char *to;
	bool is_to;

	c->arg = take_word(p, name_stop, '\0');
	if (c->arg == NULL)
		return false;
	*p = skip_blanks(*p);
	if (**p == '=') {
		(*p)++;
	} else {
		to = take_word(p, name_stop, '\0');
		is_to = to != NULL && strcasecmp(to, "TO") == 0;
		xfree(MEM_MISC, to);
		if (!is_to)
			return false;
	}
	c->value = take_word(p, value_stop, '\'');
	c->parameter = find_parameter(c->arg);
	return c->value != NULL;
}

static bool parse_args(struct command *c, const char **p)
{
	switch (c->row->args) {
	case ARGS_NONE: return true;
	case ARGS_TABLE: return parse_table(c, p);
	case ARGS_ASSIGN: return parse_assign(c, p);
	case ARGS_HOST:
		c->arg = take_word(p, value_stop, '"');
		c->value = take_word(p, name_stop, '\0');
		return true;
	case ARGS_DB:
	case ARGS_MAYBE_DB:
	case ARGS_ID:
	case ARGS_MAYBE_WORD: c->arg = take_word(p, name_stop, '"'); return true;
	}
	return false;
}

static bool parse(const char *p, struct command *c)
{
	char *word;

	if (is_over(p))
		return true;
	word = take_word(&p, name_stop, '\0');
	if (word == NULL)
		return false;
	c->row = find_row(word);
	xfree(MEM_MISC, word);
	return c->row != NULL && parse_args(c, &p) && is_over(p);
}

bool command_parse(const char *text, struct command *c, char *why)
{
	int shown = (int)strnlen(text, COMMAND_WHY - 60);

	*c = (struct command){.row = NULL};
	if (parse(text, c))
		return true;
	command_free(c);
	/* Not inside a character. */
	while (shown > 0 && text[shown] != '\0' && ((unsigned char)text[shown] & 0xc0) == 0x80)
		shown--;
	snprintf(why, COMMAND_WHY, "invalid command '%.*s', use SHOW HELP;", shown, text);
	return false;
}

void command_free(struct command *c)
{
	xfree(MEM_MISC, c->arg);
	xfree(MEM_MISC, c->value);
	*c = (struct command){.row = NULL};
}

bool command_is_empty(const struct command *c)
{
	return c->row == NULL;
}

const struct column *command_columns(const struct command *c, size_t *n)
{
	*n = 0;
	if (c->row == NULL || c->row->args != ARGS_TABLE)
		return NULL;
	if (c->parameter != NULL) {
		*n = 1;
		return c->parameter;
	}
	*n = c->table->n;
	return c->table->n > 0 ? c->table->columns : NULL;
}

const char *command_tag(const struct command *c)
{
	return c->row->word;
}

/* ---- running ---- */

static enum command_outcome failed(const struct command_call *call, const char *why)
{
	result_error(call->result, "08P01", why, NULL);
	return COMMAND_OVER;
}

static enum command_outcome done(const struct command *c, const struct command_call *call)
{
	result_done(call->result, c->row->word);
	return COMMAND_OVER;
}

/* Answers for a control_*() that gave ok and why. */
static enum command_outcome answer(const struct command *c, const struct command_call *call, bool ok, const char *why)
{
	return ok ? done(c, call) : failed(call, why);
}

static enum command_outcome run_show(const struct command *c, const struct command_call *call)
{
	if (c->table != NULL) {
		show_run(c->table, call->control, call->result);
	} else {
		result_begin(call->result, c->parameter, 1);
		result_row(call->result, c->parameter, 1, NULL);
	}
	return done(c, call);
}

static enum command_outcome run_set(const struct command *c, const struct command_call *call)
{
	struct errs errs = {0};
	struct buf tag = {0};
	char detail[512];

	if (!control_set(call->control, c->arg, c->value, &errs)) {
		result_error(call->result, "08P01", "SET failed",
			errs.n > 0 ? errs_format(&errs, 0, detail, sizeof detail) : NULL);
	} else {
		buf_printf(&tag, "SET %s=%s", c->arg, c->value);
		result_done(call->result, buf_text(&tag));
		buf_free(&tag);
	}
	errs_free(&errs);
	return COMMAND_OVER;
}

enum { RELOAD_DETAILS = 20 };

static enum command_outcome run_reload(const struct command *c, const struct command_call *call)
{
	struct errs errs = {0};
	struct buf detail = {0};
	char line[512];

	if (control_reload(call->control, &errs)) {
		errs_free(&errs);
		return done(c, call);
	}
	for (size_t i = 0; i < errs.n && i < RELOAD_DETAILS; i++)
		buf_printf(&detail, "%s%s", i > 0 ? "\n" : "", errs_format(&errs, i, line, sizeof line));
	result_error(call->result, "F0000", "RELOAD failed, see logs for additional details", buf_text(&detail));
	buf_free(&detail);
	errs_free(&errs);
	return COMMAND_OVER;
}

static enum command_outcome wait_or_end(const struct command *c, const struct command_call *call, enum control_answer a,
	const char *why)
{
	switch (a) {
	case CONTROL_WAITS: return COMMAND_WAITS;
	case CONTROL_REACHED: return done(c, call);
	case CONTROL_UNKNOWN: break;
	}
	return failed(call, why);
}

static enum command_outcome wait_for(const struct command *c, const struct command_call *call, enum control_goal goal)
{
	char why[CONTROL_WHY];

	call->wait->goal = goal;
	return wait_or_end(c, call, control_wait(call->control, call->wait, c->arg, why), why);
}

static enum command_outcome run_pause(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	if (!control_pause(call->control, c->arg, why))
		return failed(call, why);
	return wait_for(c, call, GOAL_PAUSED);
}

static enum command_outcome run_wait_close(const struct command *c, const struct command_call *call)
{
	return wait_for(c, call, GOAL_CLOSED);
}

static enum command_outcome run_switchover(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	if (!control_switchover(call->control, c->arg, why))
		return failed(call, why);
	return wait_for(c, call, GOAL_SWITCHED);
}

static enum command_outcome run_resume(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	return answer(c, call, control_resume(call->control, c->arg, why), why);
}

static enum command_outcome run_disable(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	return answer(c, call, control_disable(call->control, c->arg, true, why), why);
}

static enum command_outcome run_enable(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	return answer(c, call, control_disable(call->control, c->arg, false, why), why);
}

static enum command_outcome run_reconnect(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	return answer(c, call, control_reconnect(call->control, c->arg, why), why);
}

static enum command_outcome run_kill(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	return answer(c, call, control_kill(call->control, c->arg, why), why);
}

static enum command_outcome run_kill_client(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];
	char *end;
	uint64_t id;

	if (c->arg == NULL)
		return failed(call, "a client id is required");
	errno = 0;
	id = strtoull(c->arg, &end, 10);
	if (c->arg[0] < '0' || c->arg[0] > '9' || *end != '\0' || errno != 0)
		return failed(call, "invalid client pointer supplied");
	return answer(c, call, control_kill_client(call->control, id, why), why);
}

static enum command_outcome run_shutdown(const struct command *c, const struct command_call *call)
{
	enum control_stop how;

	if (c->arg == NULL)
		how = STOP_NOW;
	else if (strcasecmp(c->arg, "WAIT_FOR_SERVERS") == 0)
		how = STOP_WAIT_FOR_SERVERS;
	else if (strcasecmp(c->arg, "WAIT_FOR_CLIENTS") == 0)
		how = STOP_WAIT_FOR_CLIENTS;
	else
		return failed(call, "invalid argument of SHUTDOWN, use WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS");
	if (!control_stop(call->control, how))
		return failed(call, "already shutting down");
	return how == STOP_NOW ? COMMAND_EXIT : done(c, call);
}

static enum command_outcome run_promote(const struct command *c, const struct command_call *call)
{
	char why[CONTROL_WHY];

	if (c->arg == NULL)
		return failed(call, "a host is required");
	if (c->value != NULL && strcasecmp(c->value, "FORCE") != 0)
		return failed(call, "invalid argument of PROMOTE, use FORCE");
	return wait_or_end(c, call, control_promote(call->control, call->wait, c->arg, c->value != NULL, why), why);
}

static void log_command(const struct command *c)
{
	if (c->row->args == ARGS_ASSIGN || c->arg == NULL)
		log_msg(LL_LOG, "%s%s%s command issued", c->row->word, c->arg != NULL ? " " : "",
			c->arg != NULL ? c->arg : "");
	else
		log_msg(LL_LOG, "%s '%s' command issued", c->row->word, c->arg);
}

enum command_outcome command_run(const struct command *c, const struct command_call *call)
{
	assert(c->row != NULL);
	if (c->row->args == ARGS_ASSIGN && c->parameter != NULL) {
		result_notice(call->result, "SET ignored", NULL);
		return done(c, call);
	}
	if (c->row->rights == RIGHTS_ADMIN) {
		if (!call->is_admin)
			return failed(call, "admin access needed");
		log_command(c);
	}
	return c->row->run(c, call);
}

/* ---- the manual ---- */

enum { MANUAL_WIDTH = 78 };

/* A sentence begins a line, as roff wants it, and no line is longer than fits. */
static void manual_text(struct buf *out, const char *text)
{
	size_t column = 0, n;
	bool ended = false;

	for (; *text != '\0'; text += n + strspn(text + n, " ")) {
		n = strcspn(text, " ");
		if (column > 0 && (ended || column + 1 + n > MANUAL_WIDTH)) {
			buf_puts(out, "\n");
			column = 0;
		} else if (column > 0) {
			buf_puts(out, " ");
			column++;
		}
		buf_append(out, text, n);
		column += n;
		ended = text[n - 1] == '.';
	}
	buf_puts(out, "\n");
}

static void manual_item(struct buf *out, const char *word, const char *rest, const char *help)
{
	buf_printf(out, ".TP\n.B %s", word);
	if (rest[0] != '\0')
		buf_printf(out, " %s", rest);
	buf_puts(out, "\n");
	manual_text(out, help);
}

void command_print_manual(struct buf *out)
{
	buf_puts(out, ".SS Commands of admin_users\n");
	for (size_t i = 0; i < LENGTH(command_rows); i++)
		if (command_rows[i].rights == RIGHTS_ADMIN)
			manual_item(out, command_rows[i].word, command_rows[i].syntax, command_rows[i].help);
	buf_puts(out, ".SS Commands of admin_users and stats_users\n");
	for (size_t i = 0; i < show_count; i++)
		manual_item(out, "SHOW", show_names[i].name, show_names[i].help);
}
