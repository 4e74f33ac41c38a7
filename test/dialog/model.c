/*
 * model: see model.h. The rules are those of the PostgreSQL manual, 55.2, and
 * of what was seen of a real server.
 */
#include "dialog/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void put(struct model *m, char type, const void *p, size_t n)
{
	bytes_u8(&m->out, (unsigned char)type);
	bytes_u32(&m->out, (uint32_t)(4 + n));
	bytes_add(&m->out, p, n);
}

static struct model_statement *find(struct model *m, const char *name)
{
	for (unsigned i = 0; i < m->n_prepared; i++)
		if (strcmp(m->prepared[i].name, name) == 0)
			return &m->prepared[i];
	return NULL;
}

static void forget(struct model *m, const char *name)
{
	struct model_statement *s = find(m, name);

	if (s != NULL)
		*s = m->prepared[--m->n_prepared];
}

/* Those with a name, as DEALLOCATE ALL does. */
static void forget_all(struct model *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->n_prepared; i++)
		if (m->prepared[i].name[0] == '\0')
			m->prepared[n++] = m->prepared[i];
	m->n_prepared = n;
}

static void put_ready(struct model *m)
{
	put(m, 'Z', &m->status, 1);
}

static void put_tag(struct model *m, const char *tag)
{
	put(m, 'C', tag, strlen(tag) + 1);
}

static void put_parameter(struct model *m, const char *name, const char *value)
{
	struct bytes b = {0};

	bytes_str(&b, name);
	bytes_str(&b, value);
	put(m, 'S', b.p, b.n);
	bytes_free(&b);
}

static void put_row(struct model *m, const char *text)
{
	struct bytes b = {0};

	bytes_u16(&b, 1);
	bytes_u32(&b, (uint32_t)strlen(text));
	bytes_add(&b, text, strlen(text));
	put(m, 'D', b.p, b.n);
	bytes_free(&b);
}

static void put_columns(struct model *m)
{
	static const char row[] = "\0\1x\0\0\0\0\0\0\0\0\0\0\31\377\377\377\377\377\377\0";

	put(m, 'T', row, sizeof(row));
}

static void set_zone(struct model *m, const char *zone)
{
	char v[64];

	snprintf(v, sizeof(v), "%s", zone);
	if (strcmp(m->zone, v) == 0)
		return;
	memcpy(m->zone, v, sizeof(v));
	put_parameter(m, "TimeZone", v);
}

static void set_name(struct model *m, const char *name)
{
	if (strcmp(m->name, name) == 0)
		return;
	snprintf(m->name, sizeof(m->name), "%s", name);
	put_parameter(m, "application_name", name);
}

static void begin_implicit(struct model *m)
{
	if (m->status != 'I' || m->implicit)
		return;
	m->implicit = true;
	memcpy(m->zone_before, m->zone, sizeof(m->zone));
}

static void fail(struct model *m, const char *code, const char *text)
{
	struct bytes b = {0};

	bytes_add(&b, "SERROR", 7);
	bytes_add(&b, "VERROR", 7);
	bytes_u8(&b, 'C');
	bytes_str(&b, code);
	bytes_u8(&b, 'M');
	bytes_str(&b, text);
	bytes_u8(&b, 0);
	put(m, 'E', b.p, b.n);
	bytes_free(&b);
	if (m->status == 'T')
		m->status = 'E';
	if (m->implicit) {
		m->implicit = false;
		set_zone(m, m->zone_before);
	}
	m->copying = false;
}

static bool begins(const char *sql, const char *word)
{
	return strncasecmp(sql, word, strlen(word)) == 0;
}

static void ran(struct model *m, const char *sql)
{
	if (m->ran != NULL)
		m->ran(sql, m->arg);
}

/*
 * SET name = E'value'; ... in one query, as the pooler sends it, or SET LOCAL: of those the second takes the first one back
 * within the transaction.
 */
static bool run_sets(struct model *m, const char *sql)
{
	while (*sql != '\0') {
		char name[64], value[64] = "";
		int n = 0;

		if (sscanf(sql, "SET LOCAL %63s = E'%63[^']'; %n", name, value, &n) != 2 &&
			sscanf(sql, "SET %63s = E'%63[^']'; %n", name, value, &n) != 2)
			sscanf(sql, "SET %63s = E''; %n", name, &n);
		if (n == 0)
			return false;
		if (strcmp(name, "TimeZone") == 0)
			set_zone(m, value);
		if (strcmp(name, "application_name") == 0)
			set_name(m, value);
		put_tag(m, "SET");
		sql += n;
	}
	return true;
}

static void end_transaction(struct model *m, bool commit)
{
	bool back = m->status == 'E' || !commit;

	put_tag(m, back && m->status != 'I' ? "ROLLBACK" : commit ? "COMMIT" : "ROLLBACK");
	if (back && m->status != 'I')
		set_zone(m, m->zone_before);
	m->status = 'I';
	m->implicit = false;
}

static void fail_about(struct model *m, const char *code, const char *name, const char *what)
{
	char text[300];

	snprintf(text, sizeof(text), "prepared statement \"%s\" %s", name, what);
	fail(m, code, text);
}

static bool add(struct model *m, const char *name, const char *sql)
{
	struct model_statement *s;

	if (m->n_prepared == MODEL_STATEMENTS) {
		m->broken = true;
		return false;
	}
	s = &m->prepared[m->n_prepared++];
	snprintf(s->name, sizeof(s->name), "%.63s", name);
	snprintf(s->sql, sizeof(s->sql), "%.127s", sql);
	m->most_prepared = m->n_prepared > m->most_prepared ? m->n_prepared : m->most_prepared;
	return true;
}

/* The statement that an EXECUTE of SQL's runs; NULL: it is none, or there is none. */
static struct model_statement *executed(struct model *m, const char *sql)
{
	char name[64];

	return strncasecmp(sql, "execute ", 8) == 0 && sscanf(sql + 8, "%63s", name) == 1 ? find(m, name) : NULL;
}

/* False: an error was put, or the statement goes on (m->work, m->copying). */
static bool run(struct model *m, const char *sql, bool query)
{
	char text[256];
	int n = 0;

	if (m->status == 'E' && !begins(sql, "commit") && !begins(sql, "rollback")) {
		fail(m, "25P02", "current transaction is aborted");
		return false;
	}
	begin_implicit(m);
	m->by_query = query;
	if (begins(sql, "sleep ") || begins(sql, "nap ")) {
		m->work = begins(sql, "nap ") ? MODEL_NAPS : MODEL_SLEEPS;
		snprintf(m->work_sql, sizeof(m->work_sql), "%s", sql);
		return false;
	}
	ran(m, sql);
	if (*sql == '\0') {
		put(m, 'I', "", 0);
	} else if (begins(sql, "select ")) {
		snprintf(text, sizeof(text), "%s in %s", sql + 7, m->zone);
		if (query)
			put_columns(m);
		put_row(m, text);
		put_tag(m, "SELECT 1");
	} else if (begins(sql, "fail ")) {
		fail(m, "22012", sql + 5);
		return false;
	} else if (begins(sql, "copyin ") || begins(sql, "copyhalf ")) {
		m->copying = true;
		m->copy_query = query;
		m->copy_half = begins(sql, "copyhalf ");
		m->copied = 0;
		put(m, 'G', "\0\0\0", 3);
		return false;
	} else if (begins(sql, "copyout ")) {
		put(m, 'H', "\0\0\0", 3);
		put(m, 'd', sql, strlen(sql));
		put(m, 'c', "", 0);
		put_tag(m, "COPY 1");
	} else if (begins(sql, "begin")) {
		m->status = 'T';
		m->implicit = false;
		put_tag(m, "BEGIN");
	} else if (begins(sql, "commit") || begins(sql, "rollback")) {
		end_transaction(m, begins(sql, "commit"));
	} else if (sscanf(sql, "set timezone to '%63[^']'", text) == 1) {
		set_zone(m, text);
		put_tag(m, "SET");
	} else if (begins(sql, "reset timezone") || begins(sql, "discard all")) {
		set_zone(m, m->zone_login);
		if (begins(sql, "discard")) {
			set_name(m, "");
			forget_all(m);
		}
		put_tag(m, begins(sql, "reset") ? "RESET" : "DISCARD ALL");
	} else if (begins(sql, "deallocate all")) {
		forget_all(m);
		put_tag(m, "DEALLOCATE ALL");
	} else if (begins(sql, "prepare ") && sscanf(sql + 8, "%63s as %n", text, &n) == 1 && n > 0) {
		if (find(m, text) != NULL) {
			fail_about(m, "42P05", text, "already exists");
			return false;
		}
		add(m, text, sql + 8 + n);
		put_tag(m, "PREPARE");
	} else if (begins(sql, "execute ") || begins(sql, "deallocate ")) {
		sscanf(sql + (begins(sql, "execute ") ? 8 : 11), "%63s", text);
		if (find(m, text) == NULL) {
			fail_about(m, "26000", text, "does not exist");
			return false;
		}
		if (begins(sql, "execute "))
			return run(m, find(m, text)->sql, query);
		forget(m, text);
		put_tag(m, "DEALLOCATE");
	} else if (!begins(sql, "SET ") || !run_sets(m, sql)) {
		m->broken = true;
		fail(m, "42601", sql);
		return false;
	}
	return true;
}

static void end_query(struct model *m)
{
	m->implicit = false;
	put_ready(m);
}

static void on_query(struct model *m, const char *sql)
{
	forget(m, "");
	m->has_portal = false;
	if (run(m, sql, true) || (m->work == MODEL_READY && !m->copying))
		end_query(m);
}

void model_wake(struct model *m, bool cancelled)
{
	if (m->work == MODEL_READY)
		return;
	m->work = MODEL_READY;
	ran(m, m->work_sql);
	if (cancelled) {
		fail(m, "57014", "canceling statement due to user request");
		m->skipping = !m->by_query;
	} else {
		put_tag(m, "SELECT 1");
	}
	if (m->by_query)
		end_query(m);
	model_feed(m, "", 0);
}

/* ---- the extended protocol ---- */

static void fail_batch(struct model *m, const char *code, const char *text)
{
	fail(m, code, text);
	m->skipping = true;
}

/* An error about the statement of that name. */
static void fail_name(struct model *m, const char *code, const char *name, const char *what)
{
	char text[300];

	if (*name == '\0')
		snprintf(text, sizeof(text), "unnamed prepared statement %s", what);
	else
		snprintf(text, sizeof(text), "prepared statement \"%s\" %s", name, what);
	fail_batch(m, code, text);
}

static bool may_run(const struct model *m, const char *sql)
{
	return m->status != 'E' || begins(sql, "commit") || begins(sql, "rollback");
}

static void on_parse(struct model *m, const char *name)
{
	const char *sql = name + strlen(name) + 1;

	begin_implicit(m);
	if (*name == '\0')
		forget(m, "");
	if (*name != '\0' && m->refuses_names) {
		fail_batch(m, "0A000", "named");
	} else if (!may_run(m, sql)) {
		fail_batch(m, "25P02", "current transaction is aborted");
	} else if (find(m, name) != NULL) {
		fail_name(m, "42P05", name, "already exists");
	} else if (add(m, name, sql)) {
		put(m, '1', "", 0);
	}
}

static void on_bind(struct model *m, const char *p)
{
	const char *name = p + strlen(p) + 1;
	struct model_statement *s = find(m, name);

	begin_implicit(m);
	if (s == NULL) {
		fail_name(m, "26000", name, "does not exist");
	} else if (!may_run(m, s->sql)) {
		fail_batch(m, "25P02", "current transaction is aborted");
	} else {
		memcpy(m->portal, s->sql, sizeof(m->portal));
		m->has_portal = true;
		put(m, '2', "", 0);
	}
}

static bool has_rows(struct model *m, const char *sql)
{
	struct model_statement *s = executed(m, sql);

	return begins(s != NULL ? s->sql : sql, "select ");
}

static void on_describe(struct model *m, const char *p)
{
	struct model_statement *s = *p == 'S' ? find(m, p + 1) : NULL;
	const char *sql = s != NULL ? s->sql : m->portal;

	begin_implicit(m);
	if (*p == 'P' && !m->has_portal) {
		fail_batch(m, "34000", "portal does not exist");
		return;
	}
	if (*p == 'S' && s == NULL) {
		fail_name(m, "26000", p + 1, "does not exist");
		return;
	}
	if (m->status == 'E' && has_rows(m, sql)) {
		fail_batch(m, "25P02", "current transaction is aborted");
		return;
	}
	if (*p == 'S')
		put(m, 't', "\0\0", 2);
	if (has_rows(m, sql))
		put_columns(m);
	else
		put(m, 'n', "", 0);
}

static void on_execute(struct model *m)
{
	char sql[128];

	begin_implicit(m);
	if (!m->has_portal) {
		fail_batch(m, "34000", "portal does not exist");
		return;
	}
	memcpy(sql, m->portal, sizeof(sql));
	if (!run(m, sql, false) && m->work == MODEL_READY && !m->copying)
		m->skipping = true;
}

static void on_close(struct model *m, const char *p)
{
	if (*p == 'S')
		forget(m, p + 1);
	else if (p[1] == '\0')
		m->has_portal = false;
	put(m, '3', "", 0);
}

static void on_sync(struct model *m)
{
	m->skipping = m->implicit = false;
	if (m->status == 'I')
		m->has_portal = false;
	put_ready(m);
}

/* ---- COPY ---- */

static void end_copy(struct model *m, const char *code, const char *why)
{
	char tag[32];

	m->copying = false;
	if (code != NULL) {
		fail(m, code, why);
		m->skipping = !m->copy_query;
	} else {
		snprintf(tag, sizeof(tag), "COPY %u", m->copied);
		put_tag(m, tag);
	}
	if (m->copy_query)
		end_query(m);
}

static void on_copying(struct model *m, char type)
{
	switch (type) {
	case 'd':
		m->copied++;
		if (m->copy_half)
			end_copy(m, "22P02", "half");
		break;
	case 'c': end_copy(m, NULL, NULL); break;
	case 'f': end_copy(m, "57014", "COPY from stdin failed"); break;
	case 'S':
	case 'H': break;
	default: m->dead = true;
	}
}

/* ---- messages ---- */

static void on_message(struct model *m, char type, const char *p)
{
	if (m->copying) {
		on_copying(m, type);
		return;
	}
	if (m->skipping && type != 'S' && type != 'X')
		return;
	switch (type) {
	case 'Q': on_query(m, p); break;
	case 'P': on_parse(m, p); break;
	case 'B': on_bind(m, p); break;
	case 'D': on_describe(m, p); break;
	case 'E': on_execute(m); break;
	case 'C': on_close(m, p); break;
	case 'S': on_sync(m); break;
	case 'H':
	case 'd':
	case 'c':
	case 'f':
	case 'X': break;
	default: m->broken = true;
	}
}

void model_feed(struct model *m, const char *p, size_t n)
{
	size_t at = 0;

	bytes_add(&m->in, p, n);
	while (m->work == MODEL_READY && !m->dead && m->in.n - at >= 5) {
		const unsigned char *u = (const unsigned char *)m->in.p + at;
		size_t size = 1 + ((size_t)u[1] << 24 | (size_t)u[2] << 16 | (size_t)u[3] << 8 | u[4]);
		char *text;

		if (m->in.n - at < size)
			break;
		/* With a NUL behind it, and not in the way of what is appended meanwhile. */
		text = calloc(1, size);
		if (text == NULL)
			abort();
		memcpy(text, u + 5, size - 5);
		at += size;
		on_message(m, (char)u[0], text);
		free(text);
	}
	if (at > 0) {
		memmove(m->in.p, m->in.p + at, m->in.n - at);
		m->in.n -= at;
	}
}

void model_init(struct model *m, const char *zone)
{
	*m = (struct model){.status = 'I'};
	bytes_add(&m->out, "", 0);
	snprintf(m->zone, sizeof(m->zone), "%s", zone);
	memcpy(m->zone_login, m->zone, sizeof(m->zone));
	memcpy(m->zone_before, m->zone, sizeof(m->zone));
}

void model_free(struct model *m)
{
	bytes_free(&m->in);
	bytes_free(&m->out);
}
