/*
 * phrase: the bytes of a phrase that is sent, whether what came is what was to
 * come, and messages in a form that a person can read.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog/dialog.h"
#include "proto/wire.h"

/* Is this word, without quotes? */
static bool token_is(const struct token *t, const char *s)
{
	return !t->quoted && !t->contains && strcmp(t->s, s) == 0;
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

/* cancel END [BYTES]: with so many bytes of its key, zeros behind them. */
static bool build_cancel(const struct phrase *f, struct end *e, struct bytes *out)
{
	struct end *of = f->n_args > 0 ? world_end_by_name(e->w, f->arg[0].s) : NULL;
	size_t n = f->n_args > 1 ? (size_t)atoi(f->arg[1].s) : 0;

	if (of == NULL || of->key_len == 0) {
		world_fail(e->w, "cancel: no end %s that has a key", f->n_args > 0 ? f->arg[0].s : "");
		return false;
	}
	n = n > 0 ? n : of->key_len;
	bytes_u32(out, (uint32_t)(8 + n));
	bytes_u32(out, 80877102);
	bytes_add(out, of->key, n < of->key_len ? n : of->key_len);
	for (size_t i = of->key_len; i < n; i++)
		bytes_u8(out, 0);
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
	case PHRASE_CHALLENGE:
	case PHRASE_MARK: break;
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

/*
 * welcome [VERSION] [name=value]... : AuthenticationOk, ParameterStatus (these among them), BackendKeyData (as long as this
 * version has it), ReadyForQuery idle.
 */
static enum match match_welcome(const struct phrase *f, struct end *e, const char *p, size_t n, size_t *used)
{
	static const char ok[] = "R\0\0\0\10\0\0\0\0", ready[] = "Z\0\0\0\5I";
	size_t size, at, first = f->n_args > 0 && token_is(&f->arg[0], "3.2"), found = first;
	enum match r = match_bytes(ok, 9, p, n, &at);

	while (r == MATCH_YES && (r = message_at(p + at, n - at, &size)) == MATCH_YES && p[at] == 'S') {
		for (size_t i = first; i < f->n_args; i++) {
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
	if (p[at] != 'K' || size - 5 != (first ? 36 : 8))
		return MATCH_NO;
	e->key_len = size - 5;
	memcpy(e->key, p + at + 5, e->key_len);
	at += size;
	r = match_bytes(ready, 6, p + at, n - at, &size);
	*used = at + 6;
	return r == MATCH_YES && found != f->n_args ? MATCH_NO : r;
}

/* startup [VERSION] [name=value]... [!name]... : a StartupMessage (of this version) that has these parameters, whatever else. */
static enum match match_startup(const struct phrase *f, struct end *e, const char *p, size_t n, size_t *used)
{
	size_t found = 0, want = 0;
	unsigned major, minor;

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

		if (i == 0 && sscanf(f->arg[0].s, "%u.%u", &major, &minor) == 2) {
			if (get_u32(p + 4) != (major << 16 | minor))
				return MATCH_NO;
			continue;
		}
		split_pair(&f->arg[i], name, sizeof(name), &value);
		want += name[0] != '!';
		while (at < p + *used && *at != '\0') {
			const char *v = at + strlen(at) + 1;

			if (name[0] == '!' && strcmp(at, name + 1) == 0)
				return MATCH_NO;
			if (strcmp(at, name) == 0 && strcmp(v, value) == 0)
				found++;
			at = v + strlen(v) + 1;
		}
	}
	bytes_free(&e->startup);
	bytes_add(&e->startup, p + 8, *used - 8);
	return found == want ? MATCH_YES : MATCH_NO;
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
	case PHRASE_MD5:
	case PHRASE_MARK: break;
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
	static const char *const names[] = {"", "", "startup", "cancel", "psb", "welcome", "md5", "R md5 ?", "mark"};
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
