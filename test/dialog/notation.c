/*
 * notation: messages in the words of the scripts. Builds the bytes of what is
 * sent, compares what came with what was to come, and prints messages so that
 * a person can read them. It checks nothing of what it is told to build: the
 * scripts send nonsense on purpose.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dialog/dialog.h"
#include "proto/wire.h"

/* ---- tokens ---- */

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c != '\0' ? strchr(digits, c | 0x20) : NULL;

	return at == NULL ? -1 : (int)(at - digits);
}

/* The text between quotes at *p (behind the first one); *p is then behind the last one. */
static const char *token_quoted(const char **p, struct bytes *out)
{
	const char *s = *p;

	for (; *s != '"'; s++) {
		char c = *s;

		if (c == '\0')
			return "a quote is not closed";
		if (c == '\\') {
			s++;
			if (*s == 'x' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
				c = (char)(hex_digit(s[1]) << 4 | hex_digit(s[2]));
				s += 2;
			} else if (*s == 'n' || *s == 't') {
				c = *s == 'n' ? '\n' : '\t';
			} else if (*s == '"' || *s == '\\') {
				c = *s;
			} else {
				return "an unknown escape";
			}
		}
		bytes_add(out, &c, 1);
	}
	*p = s + 1;
	return NULL;
}

/* One token at *p, which is not a blank. */
static const char *token_read(const char **p, struct token *t)
{
	struct bytes b = {0};
	const char *why = NULL;

	bytes_add(&b, "", 0);
	if (**p == '~' && (*p)[1] == '"') {
		t->contains = true;
		++*p;
	}
	t->quoted = **p == '"';
	if (**p == '|') {
		bytes_add(&b, *p, 1);
		++*p;
	} else {
		while (why == NULL && **p != '\0' && **p != ' ' && **p != '\t' && **p != '\n') {
			if (**p == '"') {
				++*p;
				why = token_quoted(p, &b);
			} else {
				bytes_add(&b, *p, 1);
				++*p;
			}
		}
	}
	t->s = b.p;
	t->n = b.n;
	return why;
}

bool tokens_split(const char *line, struct token **v, size_t *n, const char **why)
{
	*v = NULL;
	*n = 0;
	*why = NULL;
	for (;;) {
		line += strspn(line, " \t\n");
		if (*line == '\0' || *line == '#')
			return true;
		*v = realloc(*v, (*n + 1) * sizeof(**v));
		if (*v == NULL)
			abort();
		(*v)[*n] = (struct token){0};
		*why = token_read(&line, &(*v)[(*n)++]);
		if (*why != NULL)
			return false;
	}
}

void tokens_free(struct token *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].s);
	free(v);
}

static struct token token_copy(const struct token *t)
{
	struct token c = *t;
	struct bytes b = {0};

	bytes_add(&b, t->s, t->n);
	c.s = b.p;
	return c;
}

/* ---- building phrases ---- */

/* Walks the tokens of one phrase and fills its payload. */
struct maker {
	const struct token *v;
	size_t n, i;
	struct phrase *f;
	char *why;
	size_t why_size;
	bool failed;
};

static void maker_fail(struct maker *m, const char *what)
{
	if (!m->failed)
		snprintf(m->why, m->why_size, "%s", what);
	m->failed = true;
}

static const struct token *maker_next(struct maker *m, const char *what)
{
	static char empty[1];
	static const struct token none = {.s = empty};

	if (m->i < m->n)
		return &m->v[m->i++];
	maker_fail(m, what);
	return &none;
}

static bool maker_more(const struct maker *m)
{
	return m->i < m->n && !m->failed;
}

static bool token_is(const struct token *t, const char *s)
{
	return !t->quoted && !t->contains && strcmp(t->s, s) == 0;
}

static void put_cstr(struct maker *m, const char *what)
{
	const struct token *t = maker_next(m, what);
	struct phrase *f = m->f;

	if ((token_is(t, "?") || t->contains) && f->n_holes < sizeof(f->hole) / sizeof(f->hole[0])) {
		f->hole[f->n_holes].at = f->payload.n;
		f->hole[f->n_holes].contains = t->contains ? strdup(t->s) : NULL;
		f->n_holes++;
		return;
	}
	bytes_add(&f->payload, t->s, t->n);
	bytes_u8(&f->payload, 0);
}

static long put_number(struct maker *m, int size, const char *what)
{
	const struct token *t = maker_next(m, what);
	char *end;
	long v = strtol(t->s, &end, 0);

	if (*end != '\0' || t->n == 0)
		maker_fail(m, what);
	if (size == 1)
		bytes_u8(&m->f->payload, (unsigned)v);
	else if (size == 2)
		bytes_u16(&m->f->payload, (unsigned)v);
	else if (size == 4)
		bytes_u32(&m->f->payload, (uint32_t)v);
	return v;
}

/* Bytes without a NUL: "text", or fill N. */
static void get_bytes(struct maker *m, struct bytes *out, const char *what)
{
	const struct token *t = maker_next(m, what);

	if (token_is(t, "fill")) {
		long n = put_number(m, 0, "fill needs a number");

		for (long i = 0; i < n; i++)
			bytes_u8(out, 'a' + (unsigned)(i % 23));
		return;
	}
	bytes_add(out, t->s, t->n);
}

/* Values with their lengths, as Bind and DataRow have them; the count stands in front. */
static void put_values(struct maker *m, bool counted)
{
	struct bytes b = {0};
	unsigned n = 0;

	while (maker_more(m)) {
		n++;
		if (token_is(&m->v[m->i], "null")) {
			m->i++;
			bytes_u32(&b, UINT32_MAX);
		} else {
			struct bytes v = {0};

			get_bytes(m, &v, "a value");
			bytes_u32(&b, (uint32_t)v.n);
			bytes_add(&b, v.p, v.n);
			bytes_free(&v);
		}
	}
	if (counted)
		bytes_u16(&m->f->payload, n);
	bytes_add(&m->f->payload, b.p, b.n);
	bytes_free(&b);
}

static void put_oids(struct maker *m)
{
	bytes_u16(&m->f->payload, (unsigned)(m->n - m->i));
	while (maker_more(m))
		put_number(m, 4, "the number of a type");
}

static void put_hex(struct maker *m, struct bytes *out)
{
	while (maker_more(m)) {
		const struct token *t = &m->v[m->i++];

		for (size_t i = 0; i + 1 < t->n || i < t->n; i += 2) {
			int a = hex_digit(t->s[i]), b = i + 1 < t->n ? hex_digit(t->s[i + 1]) : -1;

			if (a < 0 || b < 0) {
				maker_fail(m, "hex digits are wanted, two a byte");
				return;
			}
			bytes_u8(out, (unsigned)(a << 4 | b));
		}
	}
}

static void put_columns(struct maker *m)
{
	struct bytes *p = &m->f->payload;

	bytes_u16(p, (unsigned)(m->n - m->i));
	while (maker_more(m)) {
		put_cstr(m, "a column");
		bytes_u32(p, 0);
		bytes_u16(p, 0);
		bytes_u32(p, 25);
		bytes_u16(p, 0xffff);
		bytes_u32(p, UINT32_MAX);
		bytes_u16(p, 0);
	}
}

/* SEVERITY CODE "message" and pairs of a field's letter and its text. */
static void put_error(struct maker *m)
{
	struct bytes *p = &m->f->payload;
	const struct token *severity = maker_next(m, "a severity");

	bytes_u8(p, 'S');
	bytes_str(p, severity->s);
	bytes_u8(p, 'V');
	bytes_str(p, severity->s);
	bytes_u8(p, 'C');
	bytes_str(p, maker_next(m, "an SQLSTATE")->s);
	bytes_u8(p, 'M');
	put_cstr(m, "a message");
	while (maker_more(m)) {
		bytes_u8(p, (unsigned char)maker_next(m, "")->s[0]);
		put_cstr(m, "the text of a field");
	}
	bytes_u8(p, 0);
}

static void put_authentication(struct maker *m)
{
	struct bytes *p = &m->f->payload;
	const struct token *t = maker_next(m, "a kind of authentication");

	if (token_is(t, "ok")) {
		bytes_u32(p, 0);
	} else if (token_is(t, "clear")) {
		bytes_u32(p, 3);
	} else if (token_is(t, "md5") && m->i < m->n && token_is(&m->v[m->i], "?")) {
		m->i++;
		m->f->kind = PHRASE_CHALLENGE;
	} else if (token_is(t, "md5")) {
		bytes_u32(p, 5);
		put_hex(m, p);
	} else if (token_is(t, "sasl")) {
		bytes_u32(p, 10);
		while (maker_more(m))
			put_cstr(m, "a mechanism");
		bytes_u8(p, 0);
	} else if (token_is(t, "continue") || token_is(t, "final")) {
		bytes_u32(p, token_is(t, "continue") ? 11 : 12);
		get_bytes(m, p, "the data");
	} else {
		m->i--;
		put_number(m, 4, "ok, clear, md5, sasl, continue, final or a number");
	}
}

static void make_backend(struct maker *m, char type)
{
	struct bytes *p = &m->f->payload;

	switch (type) {
	case 'R': put_authentication(m); break;
	case 'S':
		put_cstr(m, "a name");
		put_cstr(m, "a value");
		break;
	case 'K':
		put_number(m, 4, "a process id");
		put_hex(m, p);
		break;
	case 'Z':
	case 'C':
		if (type == 'C')
			put_cstr(m, "a tag");
		else
			get_bytes(m, p, "a status");
		break;
	case 'T': put_columns(m); break;
	case 'D': put_values(m, true); break;
	case 't': put_oids(m); break;
	case 'E':
	case 'N': put_error(m); break;
	case 'A':
		put_number(m, 4, "a process id");
		put_cstr(m, "a channel");
		put_cstr(m, "a payload");
		break;
	case 'G':
	case 'H':
	case 'W':
		bytes_u8(p, 0);
		bytes_u16(p, 0);
		break;
	case 'd': get_bytes(m, p, "data"); break;
	case 'V': put_values(m, false); break;
	case 'v': {
		size_t at;

		bytes_u32(p, 3 << 16 | (uint32_t)put_number(m, 0, "a minor version"));
		at = p->n;
		bytes_u32(p, 0);
		while (maker_more(m)) {
			put_cstr(m, "a name");
			p->p[at + 3]++;
		}
		break;
	}
	case '1':
	case '2':
	case '3':
	case 'n':
	case 's':
	case 'I':
	case 'c': break;
	default: maker_fail(m, "servers send no such message (use: msg X \"payload\")");
	}
}

static void make_frontend(struct maker *m, char type)
{
	struct bytes *p = &m->f->payload;

	switch (type) {
	case 'Q':
	case 'f':
	case 'p': {
		if (m->i < m->n && token_is(&m->v[m->i], "fill")) {
			get_bytes(m, p, "");
			bytes_u8(p, 0);
		} else {
			put_cstr(m, "a text");
		}
		break;
	}
	case 'P':
		put_cstr(m, "a name");
		put_cstr(m, "a query");
		put_oids(m);
		break;
	case 'B':
		put_cstr(m, "a portal");
		put_cstr(m, "a statement");
		bytes_u16(p, 0);
		put_values(m, true);
		bytes_u16(p, 0);
		break;
	case 'D':
	case 'C':
		get_bytes(m, p, "S or P");
		put_cstr(m, "a name");
		break;
	case 'E':
		put_cstr(m, "a portal");
		if (maker_more(m))
			put_number(m, 4, "a number of rows");
		else
			bytes_u32(p, 0);
		break;
	case 'F':
		put_number(m, 4, "the number of a function");
		bytes_u16(p, 0);
		put_values(m, true);
		bytes_u16(p, 0);
		break;
	case 'd': get_bytes(m, p, "data"); break;
	case 'S':
	case 'H':
	case 'c':
	case 'X': break;
	default: maker_fail(m, "clients send no such message (use: msg X \"payload\")");
	}
}

/* Words that stand for more or less than a message. */
static bool make_other(struct maker *m, const struct token *word)
{
	static const struct {
		const char *word;
		enum phrase_kind kind;
	} kinds[] = {{"startup", PHRASE_STARTUP}, {"cancel", PHRASE_CANCEL}, {"psb", PHRASE_OURS},
		{"welcome", PHRASE_WELCOME}, {"md5", PHRASE_MD5}};
	struct phrase *f = m->f;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!token_is(word, kinds[i].word))
			continue;
		f->kind = kinds[i].kind;
		f->arg = calloc(m->n - m->i + 1, sizeof(*f->arg));
		while (m->i < m->n)
			f->arg[f->n_args++] = token_copy(&m->v[m->i++]);
		return true;
	}
	f->kind = PHRASE_RAW;
	if (token_is(word, "hex")) {
		put_hex(m, &f->payload);
	} else if (token_is(word, "raw") || token_is(word, "fill")) {
		m->i -= token_is(word, "fill");
		get_bytes(m, &f->payload, "bytes");
	} else if (token_is(word, "ssl") || token_is(word, "gss")) {
		bytes_u32(&f->payload, 8);
		bytes_u32(&f->payload, token_is(word, "ssl") ? 80877103 : 80877104);
	} else if (token_is(word, "head")) {
		get_bytes(m, &f->payload, "a type");
		put_number(m, 4, "a length");
	} else if (token_is(word, "msg")) {
		f->kind = PHRASE_MESSAGE;
		f->type = (unsigned char)maker_next(m, "a type")->s[0];
		get_bytes(m, &f->payload, "a payload");
	} else {
		return false;
	}
	return true;
}

static void make_phrase(struct maker *m, bool backend)
{
	const struct token *word = maker_next(m, "a message");
	struct phrase *f = m->f;

	bytes_add(&f->payload, "", 0);
	if (!make_other(m, word)) {
		f->kind = PHRASE_MESSAGE;
		f->type = (unsigned char)word->s[0];
		if (word->n != 1) {
			maker_fail(m, "an unknown word in place of a message");
			return;
		}
		if (m->n - m->i == 1 && token_is(&m->v[m->i], "*")) {
			m->i++;
			f->any = true;
		} else if (backend) {
			make_backend(m, word->s[0]);
		} else {
			make_frontend(m, word->s[0]);
		}
	}
	if (m->i < m->n)
		maker_fail(m, "words that do not belong to the message");
}

bool phrases_parse(const struct token *v, size_t n, bool backend, struct phrase **out, size_t *n_out, char *why,
	size_t why_size)
{
	size_t from = 0, to;

	*out = NULL;
	*n_out = 0;
	do {
		struct maker m = {.v = v + from, .why = why, .why_size = why_size};

		for (to = from; to < n && !token_is(&v[to], "|"); to++)
			;
		m.n = to - from;
		*out = realloc(*out, (*n_out + 1) * sizeof(**out));
		if (*out == NULL)
			abort();
		m.f = &(*out)[(*n_out)++];
		*m.f = (struct phrase){0};
		make_phrase(&m, backend);
		if (m.failed)
			return false;
		from = to + 1;
	} while (to < n);
	return true;
}

void phrases_free(struct phrase *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bytes_free(&v[i].payload);
		for (size_t k = 0; k < v[i].n_holes; k++)
			free(v[i].hole[k].contains);
		tokens_free(v[i].arg, v[i].n_args);
	}
	free(v);
}

/* ---- sending ---- */

static void md5_hex(const char *a, size_t n, const char *b, size_t k, char out[33])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	EVP_DigestInit_ex(c, EVP_md5(), NULL);
	EVP_DigestUpdate(c, a, n);
	EVP_DigestUpdate(c, b, k);
	EVP_DigestFinal_ex(c, sum, NULL);
	EVP_MD_CTX_free(c);
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

/* The PasswordMessage that answers a challenge with e's salt. */
static void md5_message(const struct phrase *f, const struct end *e, struct bytes *out)
{
	const char *user = f->n_args > 0 ? f->arg[0].s : "", *password = f->n_args > 1 ? f->arg[1].s : "";
	char inner[33], outer[33];

	md5_hex(password, strlen(password), user, strlen(user), inner);
	md5_hex(inner, 32, e->salt, 4, outer);
	bytes_u8(out, 'p');
	bytes_u32(out, 4 + 3 + 32 + 1);
	bytes_add(out, "md5", 3);
	bytes_str(out, outer);
}

/* name=value of a token into two strings; the token is not changed. */
static void split_pair(const struct token *t, char *name, size_t size, const char **value)
{
	const char *eq = memchr(t->s, '=', t->n);
	size_t n = eq != NULL ? (size_t)(eq - t->s) : t->n;

	snprintf(name, size, "%.*s", (int)n, t->s);
	*value = eq != NULL ? eq + 1 : "";
}

/* A StartupMessage: [VERSION] name=value ... */
static void build_startup(const struct phrase *f, struct bytes *out)
{
	unsigned major = 3, minor = 0;
	struct bytes b = {0};
	char name[256];
	const char *value;

	for (size_t i = 0; i < f->n_args; i++) {
		if (i == 0 && sscanf(f->arg[0].s, "%u.%u", &major, &minor) == 2)
			continue;
		split_pair(&f->arg[i], name, sizeof(name), &value);
		bytes_str(&b, name);
		bytes_str(&b, value);
	}
	bytes_u32(out, (uint32_t)(4 + 4 + b.n + 1));
	bytes_u16(out, major);
	bytes_u16(out, minor);
	bytes_add(out, b.p, b.n);
	bytes_u8(out, 0);
	bytes_free(&b);
}

static bool build_cancel(const struct phrase *f, struct end *e, struct bytes *out)
{
	struct end *of = f->n_args == 1 ? world_end_by_name(e->w, f->arg[0].s) : NULL;

	if (of == NULL || of->key_len == 0) {
		world_fail(e->w, "cancel: no end %s that has a key", f->n_args > 0 ? f->arg[0].s : "");
		return false;
	}
	bytes_u32(out, (uint32_t)(8 + of->key_len));
	bytes_u32(out, 80877102);
	bytes_add(out, of->key, of->key_len);
	return true;
}

bool phrase_build(const struct phrase *f, struct end *e, struct bytes *out)
{
	switch (f->kind) {
	case PHRASE_MESSAGE:
		if (f->n_holes > 0 || f->any) {
			world_fail(e->w, "a pattern cannot be sent");
			return false;
		}
		bytes_u8(out, f->type);
		bytes_u32(out, (uint32_t)(4 + f->payload.n));
		bytes_add(out, f->payload.p, f->payload.n);
		return true;
	case PHRASE_RAW: bytes_add(out, f->payload.p, f->payload.n); return true;
	case PHRASE_STARTUP: build_startup(f, out); return true;
	case PHRASE_CANCEL: return build_cancel(f, e, out);
	case PHRASE_MD5: md5_message(f, e, out); return true;
	case PHRASE_OURS:
	case PHRASE_WELCOME:
	case PHRASE_CHALLENGE: break;
	}
	world_fail(e->w, "a pattern cannot be sent");
	return false;
}

/* ---- comparing ---- */

static uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* A whole message at p? */
static enum match message_at(const char *p, size_t n, size_t *size)
{
	if (n < 5)
		return MATCH_MORE;
	*size = 1 + (size_t)get_u32(p + 1);
	if (*size < 5)
		return MATCH_NO;
	return n < *size ? MATCH_MORE : MATCH_YES;
}

static bool match_payload(const struct phrase *f, const char *p, size_t n)
{
	size_t at = 0, from = 0;

	if (f->any)
		return true;
	for (size_t i = 0; i < f->n_holes; i++) {
		size_t k = f->hole[i].at - from;
		const char *end;

		if (n - at < k || memcmp(p + at, f->payload.p + from, k) != 0)
			return false;
		at += k;
		from += k;
		end = memchr(p + at, '\0', n - at);
		if (end == NULL || (f->hole[i].contains != NULL && strstr(p + at, f->hole[i].contains) == NULL))
			return false;
		at = (size_t)(end + 1 - p);
	}
	return n - at == f->payload.n - from && (n == at || memcmp(p + at, f->payload.p + from, n - at) == 0);
}

static enum match match_bytes(const char *want, size_t k, const char *p, size_t n, size_t *used)
{
	size_t both = k < n ? k : n;

	if (both > 0 && memcmp(want, p, both) != 0)
		return MATCH_NO;
	*used = k;
	return n < k ? MATCH_MORE : MATCH_YES;
}

static bool text_matches(const struct token *t, const char *s)
{
	return t->contains ? strstr(s, t->s) != NULL : token_is(t, "?") || strcmp(s, t->s) == 0;
}

/* psb SEVERITY CODE "message" [field "text"]... : an error or notice with field R of psbouncer. */
static enum match match_ours(const struct phrase *f, const char *p, size_t n, size_t *used)
{
	const char *at, *field[256] = {NULL};
	enum match r = message_at(p, n, used);
	bool notice;

	if (f->n_args < 3)
		return MATCH_NO;
	notice = strcmp(f->arg[0].s, "NOTICE") == 0 || strcmp(f->arg[0].s, "WARNING") == 0;
	if (n > 0 && p[0] != (notice ? 'N' : 'E'))
		return MATCH_NO;
	if (r != MATCH_YES)
		return r;
	for (at = p + 5; at < p + *used && *at != '\0'; at += strlen(at) + 1)
		field[(unsigned char)*at] = at + 1;
	if (at + 1 != p + *used)
		return MATCH_NO;
	for (const char *must = "SVCMR"; *must != '\0'; must++)
		if (field[(unsigned char)*must] == NULL)
			return MATCH_NO;
	if (strcmp(field['R'], "psbouncer") != 0 || strcmp(field['S'], f->arg[0].s) != 0 ||
		strcmp(field['V'], f->arg[0].s) != 0 || !text_matches(&f->arg[1], field['C']) ||
		!text_matches(&f->arg[2], field['M']))
		return MATCH_NO;
	for (size_t i = 3; i + 1 < f->n_args; i += 2) {
		const char *text = field[(unsigned char)f->arg[i].s[0]];

		if (text == NULL || !text_matches(&f->arg[i + 1], text))
			return MATCH_NO;
	}
	return MATCH_YES;
}

/* welcome [name=value]... : AuthenticationOk, ParameterStatus (these among them), BackendKeyData, ReadyForQuery idle. */
static enum match match_welcome(const struct phrase *f, struct end *e, const char *p, size_t n, size_t *used)
{
	static const char ok[] = "R\0\0\0\10\0\0\0\0", ready[] = "Z\0\0\0\5I";
	size_t size, at, found = 0;
	enum match r = match_bytes(ok, 9, p, n, &at);

	while (r == MATCH_YES && (r = message_at(p + at, n - at, &size)) == MATCH_YES && p[at] == 'S') {
		for (size_t i = 0; i < f->n_args; i++) {
			char name[256];
			const char *value;

			split_pair(&f->arg[i], name, sizeof(name), &value);
			if (strcmp(name, p + at + 5) == 0 && strcmp(value, p + at + 5 + strlen(name) + 1) == 0)
				found++;
		}
		at += size;
	}
	if (r != MATCH_YES)
		return r;
	if (p[at] != 'K' || size < 13 || size - 5 > sizeof(e->key))
		return MATCH_NO;
	e->key_len = size - 5;
	memcpy(e->key, p + at + 5, e->key_len);
	at += size;
	r = match_bytes(ready, 6, p + at, n - at, &size);
	*used = at + 6;
	return r == MATCH_YES && found != f->n_args ? MATCH_NO : r;
}

/* startup [name=value]... : a StartupMessage that has these parameters, whatever else. */
static enum match match_startup(const struct phrase *f, struct end *e, const char *p, size_t n, size_t *used)
{
	size_t found = 0;

	if (n < 8)
		return MATCH_MORE;
	*used = get_u32(p);
	if (get_u32(p + 4) >> 16 != 3 || *used < 9)
		return MATCH_NO;
	if (n < *used)
		return MATCH_MORE;
	for (size_t i = 0; i < f->n_args; i++) {
		char name[256];
		const char *value, *at = p + 8;

		split_pair(&f->arg[i], name, sizeof(name), &value);
		while (at < p + *used && *at != '\0') {
			const char *v = at + strlen(at) + 1;

			if (strcmp(at, name) == 0 && strcmp(v, value) == 0)
				found++;
			at = v + strlen(v) + 1;
		}
	}
	bytes_free(&e->startup);
	bytes_add(&e->startup, p + 8, *used - 8);
	return found == f->n_args ? MATCH_YES : MATCH_NO;
}

static enum match match_challenge(struct end *e, const char *p, size_t n, size_t *used)
{
	static const char head[] = "R\0\0\0\14\0\0\0\5";
	enum match r = match_bytes(head, 9, p, n, used);

	*used = 13;
	if (r != MATCH_YES || n < 13)
		return r == MATCH_NO ? r : MATCH_MORE;
	memcpy(e->salt, p + 9, 4);
	return MATCH_YES;
}

enum match phrase_match(const struct phrase *f, struct end *e, const char *p, size_t n, size_t *used)
{
	struct bytes b = {0};
	enum match r;

	switch (f->kind) {
	case PHRASE_MESSAGE:
		if (n > 0 && (unsigned char)p[0] != f->type)
			return MATCH_NO;
		r = message_at(p, n, used);
		return r != MATCH_YES ? r : match_payload(f, p + 5, *used - 5) ? MATCH_YES : MATCH_NO;
	case PHRASE_RAW: return match_bytes(f->payload.p, f->payload.n, p, n, used);
	case PHRASE_OURS: return match_ours(f, p, n, used);
	case PHRASE_WELCOME: return match_welcome(f, e, p, n, used);
	case PHRASE_STARTUP: return match_startup(f, e, p, n, used);
	case PHRASE_CHALLENGE: return match_challenge(e, p, n, used);
	case PHRASE_CANCEL:
	case PHRASE_MD5: break;
	}
	if (!phrase_build(f, e, &b))
		return MATCH_NO;
	r = match_bytes(b.p, b.n, p, n, used);
	bytes_free(&b);
	return r;
}

/* ---- printing ---- */

void phrase_print(struct bytes *out, const struct phrase *f)
{
	static const char *const names[] = {"", "", "startup", "cancel", "psb", "welcome", "md5", "R md5 ?"};
	size_t from = 0;

	if (f->kind == PHRASE_RAW) {
		bytes_printf(out, "bytes ");
		bytes_print(out, f->payload.p, f->payload.n);
		return;
	}
	if (f->kind != PHRASE_MESSAGE) {
		bytes_printf(out, "%s", names[f->kind]);
		for (size_t i = 0; i < f->n_args; i++)
			bytes_printf(out, f->arg[i].quoted ? " \"%s\"" : " %s", f->arg[i].s);
		return;
	}
	bytes_printf(out, "%c ", f->type);
	if (f->any) {
		bytes_printf(out, "*");
		return;
	}
	for (size_t i = 0; i < f->n_holes; i++) {
		bytes_print(out, f->payload.p + from, f->hole[i].at - from);
		from = f->hole[i].at;
		if (f->hole[i].contains != NULL)
			bytes_printf(out, " ~\"%s\" ", f->hole[i].contains);
		else
			bytes_printf(out, " ? ");
	}
	bytes_print(out, f->payload.p + from, f->payload.n - from);
}

static void error_print(struct bytes *out, const char *p, const char *end)
{
	bytes_printf(out, " {");
	while (p < end && *p != '\0') {
		const char *nul = memchr(p, '\0', (size_t)(end - p));

		if (nul == NULL)
			break;
		bytes_printf(out, " %c=", *p);
		bytes_print(out, p + 1, (size_t)(nul - p - 1));
		p = nul + 1;
	}
	bytes_printf(out, " }");
}

void messages_print(struct bytes *out, const char *p, size_t n, bool backend, bool first)
{
	size_t size, i = 0;

	if (n == 0)
		bytes_printf(out, "        nothing\n");
	while (n > 0) {
		enum match r = first ? MATCH_NO : message_at(p, n, &size);
		const char *name = wire_name(backend ? WIRE_SERVER : WIRE_CLIENT, (uint8_t)p[0]);

		if (r != MATCH_YES || strcmp(name, "?") == 0) {
			bytes_printf(out, "        bytes ");
			bytes_print(out, p, n);
			bytes_printf(out, "\n");
			return;
		}
		bytes_printf(out, "        %c %s ", p[0], name);
		if (backend && (p[0] == 'E' || p[0] == 'N'))
			error_print(out, p + 5, p + size);
		else
			bytes_print(out, p + 5, size - 5);
		bytes_printf(out, "\n");
		p += size;
		n -= size;
		if (++i == 40 && n > 0) {
			bytes_printf(out, "        ... %zu bytes more\n", n);
			return;
		}
	}
}
