/*
 * load_requests: what the well-behaved clients of the load ask for. Each
 * request begins and ends outside a transaction, and the client's session is
 * the same after it as before, or changed as its fields say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/load_priv.h"

/* Nothing stays in it: the index keeps a lookup cheap whatever was rolled back. */
const char load_schema[] = "create table load_lines (line text, number int);"
			   "create index on load_lines (line);"
			   "grant all on load_lines to public";

/* A tag and the parameters of the session that it runs in. */
#define IDENTITY "current_setting('TimeZone'), current_setting('DateStyle'), current_setting('application_name')"

static void want_identity(struct load_client *c, const char *tag)
{
	load_want_any(c, "T");
	load_want_row(c, WANT_EXACT, tag, c->zone, c->style, c->name, NULL);
	load_want_text(c, 'C', "SELECT 1");
}

static enum load_next simple(struct load_client *c, unsigned step)
{
	if (step == 1)
		return LOAD_DONE;
	load_query(c, "select '%s', " IDENTITY, load_tag(c));
	want_identity(c, c->tag);
	load_want_ready(c, 'I');
	return LOAD_GO;
}

static enum load_next several(struct load_client *c, unsigned step)
{
	if (step == 1)
		return LOAD_DONE;
	load_tag(c);
	load_query(c, "select '%s-1'; select '%s', " IDENTITY "; ; select '%s-3'", c->tag, c->tag, c->tag);
	for (int i = 1; i <= 3; i++) {
		char part[64];

		snprintf(part, sizeof(part), "%s-%d", c->tag, i);
		if (i == 2)
			want_identity(c, c->tag);
		else
			load_want_value(c, part);
	}
	load_want_ready(c, 'I');
	return LOAD_GO;
}

static enum load_next empty(struct load_client *c, unsigned step)
{
	if (step == 1)
		return LOAD_DONE;
	load_query(c, "/* %s */ ;", load_tag(c));
	load_want_any(c, "I");
	load_want_ready(c, 'I');
	return LOAD_GO;
}

static enum load_next notice(struct load_client *c, unsigned step)
{
	if (step == 1)
		return LOAD_DONE;
	load_query(c, "do $$ begin raise notice '%s'; end $$", load_tag(c));
	load_want_any(c, "N");
	load_want_text(c, 'C', "DO");
	load_want_ready(c, 'I');
	return LOAD_GO;
}

static enum load_next extended(struct load_client *c, unsigned step)
{
	if (step == 1)
		return LOAD_DONE;
	load_batch(c, "select $1::text, " IDENTITY, 0, load_tag(c));
	load_bare(c, 'S');
	load_want_any(c, "12");
	want_identity(c, c->tag);
	load_want_ready(c, 'I');
	return LOAD_GO;
}

/* Several batches in one write, some of them failing in their middle. */
static enum load_next pipeline(struct load_client *c, unsigned step)
{
	unsigned batches = 2 + (unsigned)load_random(c->load, 7);

	if (step == 1)
		return LOAD_DONE;
	for (unsigned i = 0; i < batches; i++) {
		bool fails = load_random(c->load, 4) == 0;

		load_batch(c, "select $1::text", 0, load_tag(c));
		load_want_any(c, "12");
		load_want_value(c, c->tag);
		if (fails) {
			load_batch(c, "select $1::int", 0, load_tag(c));
			load_want_any(c, "1");
			load_want_error(c, "22P02", c->tag);
			load_batch(c, "select 'skipped'", 0, NULL);
		} else {
			load_batch(c, "select $1::text, " IDENTITY, 0, load_tag(c));
			load_want_any(c, "12");
			want_identity(c, c->tag);
		}
		load_bare(c, 'S');
		load_want_ready(c, 'I');
	}
	return LOAD_GO;
}

/* Queries of both kinds in one write, each a transaction of its own. */
static enum load_next mixture(struct load_client *c, unsigned step)
{
	if (step == 1)
		return LOAD_DONE;
	for (int i = 0; i < 6; i++) {
		if (load_random(c->load, 2) == 0) {
			load_query(c, "select '%s'", load_tag(c));
		} else {
			load_batch(c, "select $1::text", 0, load_tag(c));
			load_bare(c, 'S');
			load_want_any(c, "12");
		}
		load_want_value(c, c->tag);
		load_want_ready(c, 'I');
	}
	return LOAD_GO;
}

/* A portal that is read in two parts with a Flush between them. */
static enum load_next portal(struct load_client *c, unsigned step)
{
	size_t at;

	switch (step) {
	case 0:
		load_batch(c, "select $1::text || n from generate_series(1, 3) n", 2, load_tag(c));
		load_bare(c, 'H');
		load_want_any(c, "12TDDs");
		return LOAD_GO;
	case 1: {
		char last[64];

		at = load_begin(&c->out, 'E');
		load_put_text(&c->out, "");
		load_put32(&c->out, 0);
		load_end(&c->out, at);
		load_bare(c, 'S');
		snprintf(last, sizeof(last), "%s3", c->tag);
		load_want_row(c, WANT_EXACT, last, NULL);
		load_want_text(c, 'C', "SELECT 1");
		load_want_ready(c, 'I');
		return LOAD_GO;
	}
	default: return LOAD_DONE;
	}
}

static enum load_next failure(struct load_client *c, unsigned step)
{
	if (step == 1)
		return LOAD_DONE;
	load_query(c, "select '%s-1'; select '%s'::int; select 'never'", load_tag(c), c->tag);
	load_want_any(c, "TDC");
	load_want_error(c, "22P02", c->tag);
	load_want_ready(c, 'I');
	return LOAD_GO;
}

/* All of it on one server. */
static enum load_next transaction(struct load_client *c, unsigned step)
{
	if (step == 0) {
		c->amount = 1 + (unsigned)load_random(c->load, 4);
		load_query(c, "begin");
		load_want_text(c, 'C', "BEGIN");
		load_want_ready(c, 'T');
	} else if (step <= c->amount) {
		load_query(c, "select '%s', " IDENTITY "; select pg_backend_pid()", load_tag(c));
		want_identity(c, c->tag);
		load_want_any(c, "T");
		load_want_how(c, 'D', step == 1 ? WANT_KEEP : WANT_KEPT);
		load_want_any(c, "C");
		load_want_ready(c, 'T');
	} else if (step == c->amount + 1) {
		load_query(c, c->amount % 2 ? "commit" : "rollback");
		load_want_text(c, 'C', c->amount % 2 ? "COMMIT" : "ROLLBACK");
		load_want_ready(c, 'I');
	} else {
		return LOAD_DONE;
	}
	return LOAD_GO;
}

static enum load_next failed_transaction(struct load_client *c, unsigned step)
{
	switch (step) {
	case 0:
		load_batch(c, "begin", 0, NULL);
		load_bare(c, 'S');
		load_want_any(c, "12n");
		load_want_text(c, 'C', "BEGIN");
		load_want_ready(c, 'T');
		return LOAD_GO;
	case 1:
		load_query(c, "select '%s'::int", load_tag(c));
		load_want_error(c, "22P02", c->tag);
		load_want_ready(c, 'E');
		return LOAD_GO;
	case 2:
		load_batch(c, "select 1", 0, NULL);
		load_bare(c, 'S');
		load_want_error(c, "25P02", "aborted");
		load_want_ready(c, 'E');
		return LOAD_GO;
	case 3:
		load_query(c, "commit");
		load_want_text(c, 'C', "ROLLBACK");
		load_want_ready(c, 'I');
		return LOAD_GO;
	default: return LOAD_DONE;
	}
}

/* ---- COPY ---- */

static void copy_line(struct load_client *c, const char *line, const char *number)
{
	size_t at = load_begin(&c->out, 'd');

	load_put(&c->out, line, strlen(line));
	load_put(&c->out, "\t", 1);
	load_put(&c->out, number, strlen(number));
	load_put(&c->out, "\n", 1);
	load_end(&c->out, at);
}

static void begin_copy(struct load_client *c)
{
	load_query(c, "begin; copy load_lines from stdin");
	load_want_text(c, 'C', "BEGIN");
	load_want_any(c, "G");
}

static enum load_next roll_back(struct load_client *c)
{
	load_query(c, "rollback");
	load_want_text(c, 'C', "ROLLBACK");
	load_want_ready(c, 'I');
	return LOAD_GO;
}

static enum load_next copy_in(struct load_client *c, unsigned step)
{
	char text[32];

	switch (step) {
	case 0: begin_copy(c); return LOAD_GO;
	case 1:
		c->amount = 1 + (unsigned)load_random(c->load, 300);
		load_tag(c);
		for (unsigned i = 0; i < c->amount; i++)
			copy_line(c, c->tag, "7");
		load_bare(c, 'c');
		snprintf(text, sizeof(text), "COPY %u", c->amount);
		load_want_text(c, 'C', text);
		load_want_ready(c, 'T');
		return LOAD_GO;
	case 2:
		load_query(c, "select count(*) from load_lines where line = '%s'", c->tag);
		snprintf(text, sizeof(text), "%u", c->amount);
		load_want_value(c, text);
		load_want_ready(c, 'T');
		return LOAD_GO;
	case 3: return roll_back(c);
	default: return LOAD_DONE;
	}
}

static enum load_next copy_given_up(struct load_client *c, unsigned step)
{
	size_t at;

	switch (step) {
	case 0: begin_copy(c); return LOAD_GO;
	case 1:
		copy_line(c, load_tag(c), "7");
		at = load_begin(&c->out, 'f');
		load_put_text(&c->out, c->tag);
		load_end(&c->out, at);
		load_want_error(c, "57014", c->tag);
		load_want_ready(c, 'E');
		return LOAD_GO;
	case 2: return roll_back(c);
	default: return LOAD_DONE;
	}
}

/* The server stops in the middle, and drops the lines that still come. */
static enum load_next copy_refused(struct load_client *c, unsigned step)
{
	switch (step) {
	case 0:
		load_query(c, "copy load_lines from stdin");
		load_want_any(c, "G");
		return LOAD_GO;
	case 1:
		copy_line(c, "fine", "1");
		copy_line(c, "broken", load_tag(c));
		for (int i = 0; i < 100; i++)
			copy_line(c, "dropped", "2");
		load_bare(c, 'c');
		load_want_error(c, "22P02", c->tag);
		load_want_ready(c, 'I');
		return LOAD_GO;
	default: return LOAD_DONE;
	}
}

static enum load_next copy_out(struct load_client *c, unsigned step)
{
	unsigned rows = 1 + (unsigned)load_random(c->load, 60);
	char text[64];
	int n;

	if (step == 1)
		return LOAD_DONE;
	load_query(c, "copy (select '%s-' || n from generate_series(1, %u) n) to stdout", load_tag(c), rows);
	load_want_any(c, "H");
	for (unsigned i = 1; i <= rows; i++) {
		n = snprintf(text, sizeof(text), "%s-%u\n", c->tag, i);
		load_want(c, 'd', text, (size_t)n);
	}
	load_want_any(c, "c");
	snprintf(text, sizeof(text), "COPY %u", rows);
	load_want_text(c, 'C', text);
	load_want_ready(c, 'I');
	return LOAD_GO;
}

/* ---- large ones ---- */

static char *repeated(const char *tag, unsigned times)
{
	size_t n = strlen(tag);
	char *s = malloc(n * times + 1);

	if (!s)
		abort();
	for (unsigned i = 0; i < times; i++)
		memcpy(s + i * n, tag, n);
	s[n * times] = '\0';
	return s;
}

static enum load_next large_row(struct load_client *c, unsigned step)
{
	unsigned times = 1 + (unsigned)load_random(c->load, 8000);
	char *value;

	if (step == 1)
		return LOAD_DONE;
	load_query(c, "select repeat('%s', %u)", load_tag(c), times);
	value = repeated(c->tag, times);
	load_want_value(c, value);
	load_want_ready(c, 'I');
	free(value);
	return LOAD_GO;
}

static enum load_next large_parameter(struct load_client *c, unsigned step)
{
	char *value, text[32];
	unsigned times = 1 + (unsigned)load_random(c->load, 8000);

	if (step == 1)
		return LOAD_DONE;
	load_tag(c);
	value = repeated(c->tag, times);
	load_batch(c, "select length($1)", 0, value);
	load_bare(c, 'S');
	snprintf(text, sizeof(text), "%zu", strlen(c->tag) * times);
	load_want_any(c, "12");
	load_want_value(c, text);
	load_want_ready(c, 'I');
	free(value);
	return LOAD_GO;
}

/* ---- parameters ---- */

static const char *another_zone(struct load_client *c)
{
	static const char *const zones[] = {"Africa/Cairo", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Auckland"};

	return zones[load_random(c->load, sizeof(zones) / sizeof(*zones))];
}

/* What was SET holds for the rest of the session, on whatever server. */
static enum load_next set(struct load_client *c, unsigned step)
{
	switch (step) {
	case 0:
		c->next_zone = another_zone(c);
		load_query(c, "set TimeZone = '%s'", c->next_zone);
		load_want_text(c, 'C', "SET");
		load_want_ready(c, 'I');
		return LOAD_GO;
	case 1:
		c->zone = c->next_zone;
		snprintf(c->next_name, sizeof(c->next_name), "load %u's %u", c->id, c->serial);
		load_query(c, "set application_name = 'load %u''s %u'", c->id, c->serial);
		load_want_text(c, 'C', "SET");
		load_want_ready(c, 'I');
		return LOAD_GO;
	case 2: memcpy(c->name, c->next_name, sizeof(c->name)); return simple(c, 0);
	default: return LOAD_DONE;
	}
}

static enum load_next set_rolled_back(struct load_client *c, unsigned step)
{
	const char *zone = c->zone;

	switch (step) {
	case 0:
		c->next_zone = another_zone(c);
		load_query(c, "begin; set TimeZone = '%s'", c->next_zone);
		load_want_text(c, 'C', "BEGIN");
		load_want_text(c, 'C', "SET");
		load_want_ready(c, 'T');
		return LOAD_GO;
	case 1:
		c->zone = c->next_zone;
		load_query(c, "select '%s', " IDENTITY, load_tag(c));
		want_identity(c, c->tag);
		c->zone = zone;
		load_want_ready(c, 'T');
		return LOAD_GO;
	case 2: return roll_back(c);
	case 3: return simple(c, 0);
	default: return LOAD_DONE;
	}
}

/* ---- cancel ---- */

/* The request comes before, while or after the query runs: then it must hit nobody. */
static enum load_next cancelled(struct load_client *c, unsigned step)
{
	unsigned lasts = 1 + (unsigned)load_random(c->load, 20);

	switch (step) {
	case 0:
		load_query(c, "select '%s', pg_sleep(%u * 0.001)", load_tag(c), lasts);
		load_want_how(c, 'T', WANT_MAYBE);
		load_want_row(c, WANT_MAYBE, c->tag, "", NULL);
		load_want_how(c, 'C', WANT_MAYBE);
		load_want_ready(c, 'I');
		load_cancel(c, c->key, (unsigned)load_random(c->load, 25));
		return LOAD_GO;
	case 1:
	case 2: return simple(c, 0);
	default: return LOAD_DONE;
	}
}

const struct load_kind load_requests[] = {
	{"simple", simple, LOAD_INSIDE},
	{"several", several, LOAD_INSIDE},
	{"empty", empty, LOAD_INSIDE},
	{"notice", notice, LOAD_INSIDE},
	{"extended", extended, LOAD_INSIDE},
	{"pipeline", pipeline, LOAD_INSIDE},
	{"mixture", mixture, LOAD_INSIDE},
	{"portal", portal, LOAD_INSIDE},
	{"failure", failure, LOAD_INSIDE},
	{"transaction", transaction, LOAD_INSIDE},
	{"failed_transaction", failed_transaction, LOAD_INSIDE},
	{"copy_in", copy_in, LOAD_INSIDE},
	{"copy_given_up", copy_given_up, LOAD_INSIDE},
	{"copy_refused", copy_refused, LOAD_INSIDE},
	{"copy_out", copy_out, LOAD_INSIDE},
	{"large_row", large_row, LOAD_INSIDE},
	{"large_parameter", large_parameter, LOAD_INSIDE},
	{"set", set, LOAD_INSIDE},
	{"set_rolled_back", set_rolled_back, LOAD_INSIDE},
	{"cancelled", cancelled, LOAD_INSIDE},
};
const size_t load_n_requests = sizeof(load_requests) / sizeof(*load_requests);
