/*
 * wire: finds messages in a buffer by tbl/messages.h, reads fields with bounds,
 * and takes apart the packets that open a connection. Called by relay for every
 * message of every connection, and by the login units. It knows nothing of what
 * a message means and never changes what it looks at.
 */
#include "proto/wire.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"

enum need { NEED_EMPTY, NEED_NONE, NEED_FIRST, NEED_CSTR, NEED_TAGGED, NEED_ALL };

enum { SIDE_F = WIRE_CLIENT, SIDE_B = WIRE_SERVER };

#define SIDE_MAX(side) ((int)SIDE_##side == (int)SIDE_F ? WIRE_MAX_CLIENT : WIRE_MAX_SERVER)
#define ROW_MAX(side, need, max) (NEED_##need == NEED_EMPTY ? 0 : (max) == 0 ? SIDE_MAX(side) : (max))

/* By sender and type. */
const struct wire_row wire_rows[2][256] = {
#define MESSAGE(side, type, name, need, n, min, max, text)                                                             \
	[SIDE_##side][type] = {NEED_##need, NEED_##need == NEED_CSTR || NEED_##need == NEED_TAGGED ? (uint8_t)(n) : 0, \
		(n), (min), ROW_MAX(side, need, max) - (min) + 1},
#include "tbl/messages.h"
#undef MESSAGE
};

static const char *const names[2][256] = {
#define MESSAGE(side, type, name, need, n, min, max, text) [SIDE_##side][type] = (text),
#include "tbl/messages.h"
#undef MESSAGE
};

/* The reader of an ALL message counts on its limit, and its holder on a limit at all. */
#define MESSAGE(side, type, name, need, n, min, max, text)                                      \
	_Static_assert(NEED_##need != NEED_ALL || ((max) == (n) && (n) > 0), "limit of " text); \
	_Static_assert((NEED_##need != NEED_EMPTY && NEED_##need != NEED_NONE) || (n) == 0, "n of " text);
#include "tbl/messages.h"
#undef MESSAGE

static inline uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* The n-th NUL from byte `from` of the payload on must be in memory, within the message and its first WIRE_HEAD_MAX bytes. */
static enum wire_result scan_head(const struct msg *m, uint32_t from, uint32_t n, size_t *need)
{
	uint32_t limit = m->len < WIRE_HEAD_MAX ? m->len : WIRE_HEAD_MAX;
	uint32_t have = m->have < limit ? m->have : limit;

	for (; from < have; n--) {
		const char *nul = memchr(m->payload + from, 0, have - from);

		if (nul == NULL)
			break;
		if (n == 1)
			return WIRE_OK;
		from = (uint32_t)(nul + 1 - m->payload);
	}
	if (have == limit)
		return WIRE_BAD_HEAD;
	*need = (size_t)WIRE_HEADER + have + 1;
	return WIRE_MORE;
}

enum wire_result wire_scan(enum wire_side side, const char *p, size_t n, struct msg *m, size_t *need)
{
	const struct wire_row *row;
	uint32_t len, want;

	if (n == 0) {
		*need = WIRE_HEADER;
		return WIRE_MORE;
	}
	m->type = (uint8_t)p[0];
	m->len = m->have = 0;
	m->payload = p;
	row = &wire_rows[side][m->type];
	if (row->span == 0)
		return WIRE_BAD_TYPE;
	if (n < WIRE_HEADER) {
		*need = WIRE_HEADER;
		return WIRE_MORE;
	}
	len = get_u32(p + 1) - 4; /* less than 4 is more than any span */
	if (len - row->min >= row->span) {
		m->len = len + 4 < 4 ? 0 : len;
		return WIRE_BAD_LENGTH;
	}
	m->len = len;
	m->payload = p + WIRE_HEADER;
	m->have = n - WIRE_HEADER < len ? (uint32_t)(n - WIRE_HEADER) : len;
	if (row->need == NEED_CSTR || row->need == NEED_TAGGED)
		return scan_head(m, row->need == NEED_TAGGED, row->n, need);
	want = row->n < len ? row->n : len;
	if (m->have >= want)
		return WIRE_OK;
	*need = (size_t)WIRE_HEADER + want;
	return WIRE_MORE;
}

const char *wire_name(enum wire_side side, uint8_t type)
{
	return names[side][type] != NULL ? names[side][type] : "?";
}

struct msgr msgr_init(const void *p, size_t n)
{
	struct msgr r = {.p = p, .end = n > 0 ? (const char *)p + n : p, .failed = false};

	return r;
}

struct msgr msgr_of(const struct msg *m)
{
	return msgr_init(m->payload, m->have);
}

size_t msgr_left(const struct msgr *r)
{
	return (size_t)(r->end - r->p);
}

const char *msgr_bytes(struct msgr *r, size_t n)
{
	const char *p = r->p;

	if (r->failed || msgr_left(r) < n) {
		r->failed = true;
		r->p = r->end;
		return NULL;
	}
	if (n > 0)
		r->p += n;
	return p;
}

uint8_t msgr_u8(struct msgr *r)
{
	const char *p = msgr_bytes(r, 1);

	return p != NULL ? (uint8_t)*p : 0;
}

uint16_t msgr_u16(struct msgr *r)
{
	const char *p = msgr_bytes(r, 2);

	return p != NULL ? (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]) : 0;
}

uint32_t msgr_u32(struct msgr *r)
{
	const char *p = msgr_bytes(r, 4);

	return p != NULL ? get_u32(p) : 0;
}

const char *msgr_cstr(struct msgr *r)
{
	size_t left = msgr_left(r);
	const char *nul = left > 0 ? memchr(r->p, 0, left) : NULL;
	const char *s;

	s = msgr_bytes(r, nul != NULL ? (size_t)(nul + 1 - r->p) : left + 1);
	return s != NULL ? s : "";
}

bool msgr_end(const struct msgr *r)
{
	return !r->failed && r->p == r->end;
}

/* ---- the packets that open a connection (55.2.1, 55.2.10, 55.2.11, 55.7) ---- */

enum {
	STARTUP_MIN = 8, /* length and code */
	CODE_MAJOR = 1234,
	CODE_CANCEL = 5678,
	CODE_SSL = 5679,
	CODE_GSS = 5680,
	CANCEL_MIN = 16, /* process id and a secret of 4 bytes ... */
	CANCEL_MAX = 268 /* ... to 256 */
};

static enum startup_kind startup_bad(struct startup *out, const char *why, const char *code)
{
	out->why = why;
	out->code = code;
	return STARTUP_BAD;
}

static enum startup_kind startup_malformed(struct startup *out, const char *why)
{
	return startup_bad(out, why, "08P01");
}

static enum startup_kind startup_unsupported(struct startup *out)
{
	const char *why = "unsupported frontend protocol: server supports 3.0 to 3.2";

	if (out->major == 2 && out->minor == 0)
		why = "unsupported frontend protocol 2.0: server supports 3.0 to 3.2";
	else if (out->major == 1 && out->minor == 0)
		why = "unsupported frontend protocol 1.0: server supports 3.0 to 3.2";
	return startup_bad(out, why, "0A000");
}

/* Name and value pairs, then one NUL as the last byte of the packet. */
static enum startup_kind startup_params(const char *p, struct startup *out)
{
	const char *at = p + STARTUP_MIN, *last = p + out->size - 1;

	if (last < at || *last != '\0')
		return startup_malformed(out, "invalid startup packet layout: expected terminator as last byte");
	out->params = at;
	out->params_len = (size_t)(last - at);
	while (at < last && *at != '\0') {
		at += strlen(at) + 1;
		if (at > last)
			return startup_malformed(out, "invalid startup packet layout: parameter without a value");
		at += strlen(at) + 1;
	}
	if (at < last)
		return startup_malformed(out, "invalid startup packet layout: bytes after the terminator");
	/* The last value's own NUL was the packet's last byte. */
	if (at > last)
		return startup_malformed(out, "invalid startup packet layout: expected terminator as last byte");
	return STARTUP_HELLO;
}

static enum startup_kind startup_request(const char *p, size_t n, struct startup *out, size_t *need)
{
	switch (out->minor) {
	case CODE_SSL:
		if (out->size != STARTUP_MIN)
			return startup_malformed(out, "invalid length of SSLRequest packet");
		return STARTUP_SSL;
	case CODE_GSS:
		if (out->size != STARTUP_MIN)
			return startup_malformed(out, "invalid length of GSSENCRequest packet");
		return STARTUP_GSS;
	case CODE_CANCEL:
		if (out->size < CANCEL_MIN || out->size > CANCEL_MAX)
			return startup_malformed(out, "invalid length of cancel request packet");
		if (n < out->size) {
			*need = out->size;
			return STARTUP_MORE;
		}
		out->key = p + STARTUP_MIN;
		out->key_len = out->size - STARTUP_MIN;
		return STARTUP_CANCEL;
	default: return startup_unsupported(out);
	}
}

enum startup_kind wire_startup(const char *p, size_t n, struct startup *out, size_t *need)
{
	uint32_t code;

	memset(out, 0, sizeof(*out));
	if (n >= 4) {
		out->size = get_u32(p);
		/* Said before the rest is waited for: what speaks another protocol would keep us waiting. */
		if (out->size < STARTUP_MIN || out->size > STARTUP_MAX)
			return startup_malformed(out, "invalid length of startup packet");
	}
	if (n < STARTUP_MIN) {
		*need = STARTUP_MIN;
		return STARTUP_MORE;
	}
	code = get_u32(p + 4);
	out->major = (uint16_t)(code >> 16);
	out->minor = (uint16_t)code;
	if (out->major == CODE_MAJOR)
		return startup_request(p, n, out, need);
	if (out->major != 3)
		return startup_unsupported(out);
	if (n < out->size) {
		*need = out->size;
		return STARTUP_MORE;
	}
	return startup_params(p, out);
}

bool startup_next(const struct startup *s, size_t *at, const char **name, const char **value)
{
	if (*at >= s->params_len)
		return false;
	*name = s->params + *at;
	*at += strlen(*name) + 1;
	*value = s->params + *at;
	*at += strlen(*value) + 1;
	return true;
}

const char *startup_get(const struct startup *s, const char *name)
{
	const char *found = NULL, *n, *v;
	size_t at = 0;

	while (startup_next(s, &at, &n, &v))
		if (strcmp(n, name) == 0)
			found = v;
	return found;
}

/* ---- the startup parameter `options` ---- */

static bool is_blank(char c)
{
	return isspace((unsigned char)c) != 0;
}

static const char *skip_blanks(const char *p)
{
	while (is_blank(*p))
		p++;
	return p;
}

/* The next word of *in without its backslashes, at out with a NUL; NULL at the end. Moves *in to the one after. */
static char *split_word(const char **in, char *out)
{
	const char *p = skip_blanks(*in);
	char *w = out;
	bool escaped = false;

	if (*p == '\0')
		return NULL;
	for (; *p != '\0' && (escaped || !is_blank(*p)); p++) {
		if (!escaped && *p == '\\') {
			escaped = true;
			continue;
		}
		escaped = false;
		*w++ = *p;
	}
	*w = '\0';
	*in = skip_blanks(p);
	return out;
}

/* The "name=value" of the next option, at out; NULL when it is another option or none. Moves *in behind it. */
static char *split_option(const char **in, char *out)
{
	char *word = split_word(in, out);

	if (word == NULL)
		return NULL;
	if (strcmp(word, "-c") == 0)
		return split_word(in, out);
	return strncmp(word, "-c", 2) == 0 || strncmp(word, "--", 2) == 0 ? word + 2 : NULL;
}

const char *startup_options(const char *options, bool (*set)(const char *name, const char *value, void *arg), void *arg)
{
	const char *fault = NULL;
	char *copy;

	copy = try_realloc(MEM_LOGIN, NULL, strlen(options) + 1);
	if (copy == NULL)
		return "out of memory";
	options = skip_blanks(options);
	while (fault == NULL && *options != '\0') {
		char *pair = split_option(&options, copy);
		char *eq = pair != NULL ? strchr(pair, '=') : NULL;

		if (eq == NULL || eq == pair) {
			fault = "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed";
			break;
		}
		*eq = '\0';
		for (char *c = pair; *c != '\0'; c++)
			if (*c == '-')
				*c = '_';
		if (!set(pair, eq + 1, arg))
			fault = "unsupported startup parameter in options";
	}
	xfree(MEM_LOGIN, copy);
	return fault;
}

/* ---- errors and notices (55.8) ---- */

void wire_error_fields(const struct msg *m, struct error_fields *f)
{
	struct msgr r = msgr_of(m);

	*f = (struct error_fields){"", true, "", "", "", "", ""};
	for (;;) {
		char field = (char)msgr_u8(&r);
		const char *text;

		/* A field that is cut by the end of memory counts as missing. */
		if (field == '\0' || memchr(r.p, 0, msgr_left(&r)) == NULL)
			return;
		text = msgr_cstr(&r);
		switch (field) {
		case 'V':
			f->severity = text;
			f->translated = false;
			break;
		case 'S':
			if (f->translated)
				f->severity = text;
			break;
		case 'C':
			if (strlen(text) == 5)
				f->code = text;
			break;
		case 'M': f->message = text; break;
		case 'D': f->detail = text; break;
		case 'R': f->routine = text; break;
		case 'W': f->context = text; break;
		default: break;
		}
	}
}
