/*
 * notation: messages in the words of the scripts, made into phrases. It checks
 * nothing of what it is told to make: the scripts send nonsense on purpose.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog/dialog.h"

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
		{"welcome", PHRASE_WELCOME}, {"md5", PHRASE_MD5}, {"lost", PHRASE_MARK}, {"hidden", PHRASE_MARK},
		{"shown", PHRASE_MARK}};
	struct phrase *f = m->f;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!token_is(word, kinds[i].word))
			continue;
		f->kind = kinds[i].kind;
		f->type = (unsigned char)word->s[0];
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
