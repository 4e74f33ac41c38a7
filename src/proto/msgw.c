/*
 * msgw: writes the messages of PostgreSQL manual, 55.7, as a server to clients
 * and as a client to servers. Called by the login units, the console and every
 * place that answers for itself. It sends nothing: the bytes stay in the buffer.
 */
#include "proto/msgw.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/buf.h"
#include "proto/wire.h"

enum { AUTH_OK = 0, AUTH_CLEARTEXT = 3, AUTH_MD5 = 5, AUTH_SASL = 10, AUTH_SASL_CONTINUE = 11, AUTH_SASL_FINAL = 12 };

enum { PROTOCOL_MAJOR = 3, CODE_CANCEL = 1234 << 16 | 5678, CODE_SSL = 1234 << 16 | 5679 };

static void put_u16(char *p, uint16_t v)
{
	p[0] = (char)(v >> 8);
	p[1] = (char)v;
}

static void put_u32(char *p, uint32_t v)
{
	put_u16(p, (uint16_t)(v >> 16));
	put_u16(p + 2, (uint16_t)v);
}

/* A message whose payload is n bytes long, for the caller to write. NULL on failure. */
static char *put_message(struct buf *b, uint8_t type, size_t n)
{
	char *p = buf_extend(b, WIRE_HEADER + n);

	if (p == NULL)
		return NULL;
	p[0] = (char)type;
	put_u32(p + 1, (uint32_t)n + WIRE_HEADER - 1);
	return p + WIRE_HEADER;
}

/* A message whose payload is these bytes. */
static void put_bytes(struct buf *b, uint8_t type, const void *data, size_t n)
{
	char *p = put_message(b, type, n);

	if (p != NULL && n > 0)
		memcpy(p, data, n);
}

uint32_t msgw_begin(struct buf *b, uint8_t type)
{
	/* Counted from pos: an append may move the content. */
	uint32_t mark = buf_len(b);

	msgw_empty(b, type);
	return mark;
}

void msgw_end(struct buf *b, uint32_t mark)
{
	if (buf_failed(b))
		return;
	assert(buf_len(b) >= mark + WIRE_HEADER);
	put_u32(buf_head(b) + mark + 1, buf_len(b) - mark - 1);
}

void msgw_head(struct buf *b, uint8_t type, uint32_t len)
{
	msgw_u8(b, type);
	msgw_u32(b, len + 4);
}

void msgw_u8(struct buf *b, uint8_t v)
{
	char *p = buf_extend(b, 1);

	if (p != NULL)
		*p = (char)v;
}

void msgw_u16(struct buf *b, uint16_t v)
{
	char *p = buf_extend(b, 2);

	if (p != NULL)
		put_u16(p, v);
}

void msgw_u32(struct buf *b, uint32_t v)
{
	char *p = buf_extend(b, 4);

	if (p != NULL)
		put_u32(p, v);
}

void msgw_cstr(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s) + 1);
}

/* A value with its length in front; NULL is a null. */
static void put_value(struct buf *b, const char *s)
{
	size_t n;

	if (s == NULL) {
		msgw_u32(b, UINT32_MAX);
		return;
	}
	n = strlen(s);
	assert(n <= INT32_MAX);
	msgw_u32(b, (uint32_t)n);
	buf_append(b, s, n);
}

static void put_count(struct buf *b, size_t n)
{
	assert(n <= UINT16_MAX);
	msgw_u16(b, (uint16_t)n);
}

/* ---- errors ---- */

static void put_field(struct buf *b, uint8_t field, const char *s)
{
	if (s == NULL)
		return;
	msgw_u8(b, field);
	msgw_cstr(b, s);
}

static void put_error(struct buf *b, uint8_t type, const struct msgw_error *e)
{
	uint32_t mark = msgw_begin(b, type);

	put_field(b, 'S', e->severity);
	put_field(b, 'V', e->severity);
	put_field(b, 'C', e->code);
	put_field(b, 'M', e->message);
	put_field(b, 'D', e->detail);
	put_field(b, 'H', e->hint);
	put_field(b, 'R', e->routine ? e->routine : "psbouncer");
	msgw_u8(b, 0);
	msgw_end(b, mark);
}

void msgw_error(struct buf *b, const struct msgw_error *e)
{
	put_error(b, MSG_ERROR_RESPONSE, e);
}

void msgw_notice(struct buf *b, const struct msgw_error *e)
{
	put_error(b, MSG_NOTICE_RESPONSE, e);
}

/* So many places of a text are looked at: who makes PostgreSQL say more names than that reads those that are ours. */
enum { PLACES_MAX = 16 };

/* How all names begin that edits have put in: so many bytes of the first one. */
static size_t common_beginning(const struct msgw_edit *v, size_t n)
{
	size_t same = strlen(v[0].from);

	for (size_t i = 1; i < n; i++)
		while (strncmp(v[0].from, v[i].from, same) != 0)
			same--;
	return same;
}

static bool is_digit(char c)
{
	return isdigit((unsigned char)c);
}

/* The edit whose name stands at s, the longest one; NULL: none. */
static const struct msgw_edit *edit_at(const char *s, const struct msgw_edit *v, size_t n)
{
	const struct msgw_edit *which = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(v[i].from);

		/* Another number is another name. */
		if (len > longest && strncmp(s, v[i].from, len) == 0 && !(is_digit(s[len]) && is_digit(s[len - 1]))) {
			which = &v[i];
			longest = len;
		}
	}
	return which;
}

static void put_renamed(struct buf *b, const char *s, const struct msgw_edit *v, size_t n)
{
	size_t same = n > 0 ? common_beginning(v, n) : 0;
	const char *end = s + strlen(s), *at = s;

	for (int left = PLACES_MAX; left > 0 && same > 0; left--) {
		const struct msgw_edit *e;

		at = memmem(at, (size_t)(end - at), v[0].from, same);
		if (at == NULL)
			break;
		e = edit_at(at, v, n);
		if (e == NULL) {
			at++;
			continue;
		}
		buf_append(b, s, (size_t)(at - s));
		buf_puts(b, e->to);
		s = at += strlen(e->from);
	}
	msgw_cstr(b, s);
}

/* A position in the new text, from 1 on, is this one in the old text. */
static void put_moved_back(struct buf *b, const char *text, const struct msgw_edit *v, size_t n)
{
	long at = strtol(text, NULL, 10), moved = 0;
	char out[32];

	if (at < 1 || at > INT32_MAX) {
		msgw_cstr(b, text);
		return;
	}
	at--;
	for (size_t i = 0; i < n && at >= (long)v[i].at + (long)v[i].is; i++)
		moved += (long)v[i].was - (long)v[i].is;
	for (size_t i = 0; i < n; i++)
		if (at > (long)v[i].at && at < (long)v[i].at + (long)v[i].is)
			at = (long)v[i].at;
	snprintf(out, sizeof out, "%ld", at + moved + 1);
	msgw_cstr(b, out);
}

void msgw_error_renamed(struct buf *b, const struct msg *m, const char *from, const char *to)
{
	struct msgw_edit e = {.from = from, .to = to};

	msgw_error_edited(b, m, &e, 1);
}

void msgw_error_edited(struct buf *b, const struct msg *m, const struct msgw_edit *v, size_t n)
{
	uint32_t mark = msgw_begin(b, m->type);
	struct msgr r = msgr_of(m);
	uint8_t field;

	while ((field = msgr_u8(&r)) != 0) {
		const char *text = msgr_cstr(&r);

		msgw_u8(b, field);
		if (field == 'M' || field == 'D' || field == 'H')
			put_renamed(b, text, v, n);
		else if (field == 'P')
			put_moved_back(b, text, v, n);
		else
			msgw_cstr(b, text);
	}
	msgw_u8(b, 0);
	msgw_end(b, mark);
}

/* ---- as a server ---- */

static void put_auth(struct buf *b, uint32_t kind, const void *data, size_t n)
{
	char *p = put_message(b, MSG_AUTHENTICATION, 4 + n);

	if (p == NULL)
		return;
	put_u32(p, kind);
	if (n > 0)
		memcpy(p + 4, data, n);
}

void msgw_auth_ok(struct buf *b)
{
	put_auth(b, AUTH_OK, "", 0);
}

void msgw_auth_cleartext(struct buf *b)
{
	put_auth(b, AUTH_CLEARTEXT, "", 0);
}

void msgw_auth_md5(struct buf *b, const uint8_t salt[4])
{
	put_auth(b, AUTH_MD5, salt, 4);
}

void msgw_auth_sasl(struct buf *b, const char *const *mechanisms, size_t n)
{
	uint32_t mark = msgw_begin(b, MSG_AUTHENTICATION);

	msgw_u32(b, AUTH_SASL);
	for (size_t i = 0; i < n; i++)
		msgw_cstr(b, mechanisms[i]);
	msgw_u8(b, 0);
	msgw_end(b, mark);
}

void msgw_auth_sasl_continue(struct buf *b, const void *data, size_t n)
{
	put_auth(b, AUTH_SASL_CONTINUE, data, n);
}

void msgw_auth_sasl_final(struct buf *b, const void *data, size_t n)
{
	put_auth(b, AUTH_SASL_FINAL, data, n);
}

void msgw_parameter_status(struct buf *b, const char *name, const char *value)
{
	size_t n = strlen(name) + 1, n_value = strlen(value) + 1;
	char *p = put_message(b, MSG_PARAMETER_STATUS, n + n_value);

	if (p == NULL)
		return;
	memcpy(p, name, n);
	memcpy(p + n, value, n_value);
}

void msgw_backend_key(struct buf *b, const void *key, size_t n)
{
	put_bytes(b, MSG_BACKEND_KEY_DATA, key, n);
}

void msgw_negotiate_version(struct buf *b, uint32_t minor, const char *const *unknown, size_t n)
{
	uint32_t mark = msgw_begin(b, MSG_NEGOTIATE_PROTOCOL_VERSION);

	/* The manual says "minor version"; servers send, and libpq wants, the whole number. */
	msgw_u32(b, (uint32_t)PROTOCOL_MAJOR << 16 | minor);
	msgw_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		msgw_cstr(b, unknown[i]);
	msgw_end(b, mark);
}

void msgw_ready(struct buf *b, char status)
{
	put_bytes(b, MSG_READY_FOR_QUERY, &status, 1);
}

void msgw_command_complete(struct buf *b, const char *tag)
{
	put_bytes(b, MSG_COMMAND_COMPLETE, tag, strlen(tag) + 1);
}

void msgw_empty(struct buf *b, uint8_t type)
{
	put_bytes(b, type, NULL, 0);
}

void msgw_row_description(struct buf *b, const struct msgw_column *c, size_t n)
{
	uint32_t mark = msgw_begin(b, MSG_ROW_DESCRIPTION);

	put_count(b, n);
	for (; n > 0; n--, c++) {
		msgw_cstr(b, c->name);
		msgw_u32(b, 0); /* of no table */
		msgw_u16(b, 0); /* and no column of one */
		msgw_u32(b, c->oid);
		msgw_u16(b, (uint16_t)c->typlen);
		msgw_u32(b, UINT32_MAX); /* no type modifier */
		msgw_u16(b, 0);		 /* text */
	}
	msgw_end(b, mark);
}

void msgw_parameter_description(struct buf *b, const uint32_t *oids, size_t n)
{
	uint32_t mark = msgw_begin(b, MSG_PARAMETER_DESCRIPTION);

	put_count(b, n);
	for (size_t i = 0; i < n; i++)
		msgw_u32(b, oids[i]);
	msgw_end(b, mark);
}

void msgw_data_row(struct buf *b, const char *const *values, size_t n)
{
	uint32_t mark = msgw_begin(b, MSG_DATA_ROW);

	put_count(b, n);
	for (size_t i = 0; i < n; i++)
		put_value(b, values[i]);
	msgw_end(b, mark);
}

/* ---- as a client ---- */

/* The packets without a type: length and code, then what the caller appends. */
static uint32_t packet_begin(struct buf *b, uint32_t code)
{
	uint32_t mark = buf_len(b);

	msgw_u32(b, 0);
	msgw_u32(b, code);
	return mark;
}

static void packet_end(struct buf *b, uint32_t mark)
{
	if (!buf_failed(b))
		put_u32(buf_head(b) + mark, buf_len(b) - mark);
}

void msgw_ssl_request(struct buf *b)
{
	packet_end(b, packet_begin(b, CODE_SSL));
}

uint32_t msgw_startup_begin(struct buf *b, uint16_t minor)
{
	return packet_begin(b, (uint32_t)PROTOCOL_MAJOR << 16 | minor);
}

void msgw_startup_end(struct buf *b, uint32_t mark)
{
	msgw_u8(b, 0);
	packet_end(b, mark);
}

void msgw_cancel_request(struct buf *b, const void *key, size_t n)
{
	uint32_t mark = packet_begin(b, CODE_CANCEL);

	buf_append(b, key, n);
	packet_end(b, mark);
}

void msgw_password(struct buf *b, const char *password)
{
	put_bytes(b, MSG_PASSWORD, password, strlen(password) + 1);
}

void msgw_sasl_initial(struct buf *b, const char *mechanism, const void *data, size_t n)
{
	uint32_t mark = msgw_begin(b, MSG_PASSWORD);

	assert(n <= INT32_MAX);
	msgw_cstr(b, mechanism);
	msgw_u32(b, (uint32_t)n);
	buf_append(b, data, n);
	msgw_end(b, mark);
}

void msgw_sasl_response(struct buf *b, const void *data, size_t n)
{
	put_bytes(b, MSG_PASSWORD, data, n);
}

void msgw_query(struct buf *b, const char *sql)
{
	put_bytes(b, MSG_QUERY, sql, strlen(sql) + 1);
}

void msgw_parse(struct buf *b, const char *name, const char *sql)
{
	uint32_t mark = msgw_begin(b, MSG_PARSE);

	msgw_cstr(b, name);
	msgw_cstr(b, sql);
	msgw_u16(b, 0); /* no types of parameters */
	msgw_end(b, mark);
}

void msgw_bind_text(struct buf *b, const char *portal, const char *statement, const char *const *values, size_t n)
{
	uint32_t mark = msgw_begin(b, MSG_BIND);

	msgw_cstr(b, portal);
	msgw_cstr(b, statement);
	msgw_u16(b, 0); /* all parameters are text */
	put_count(b, n);
	for (size_t i = 0; i < n; i++)
		put_value(b, values[i]);
	msgw_u16(b, 0); /* all columns are text */
	msgw_end(b, mark);
}

static void put_about(struct buf *b, uint8_t type, char what, const char *name)
{
	uint32_t mark = msgw_begin(b, type);

	msgw_u8(b, (uint8_t)what);
	msgw_cstr(b, name);
	msgw_end(b, mark);
}

void msgw_describe(struct buf *b, char what, const char *name)
{
	put_about(b, MSG_DESCRIBE, what, name);
}

void msgw_close(struct buf *b, char what, const char *name)
{
	put_about(b, MSG_CLOSE, what, name);
}

void msgw_execute(struct buf *b, const char *portal)
{
	uint32_t mark = msgw_begin(b, MSG_EXECUTE);

	msgw_cstr(b, portal);
	msgw_u32(b, 0); /* all rows */
	msgw_end(b, mark);
}

void msgw_sync(struct buf *b)
{
	msgw_empty(b, MSG_SYNC);
}

void msgw_terminate(struct buf *b)
{
	msgw_empty(b, MSG_TERMINATE);
}
