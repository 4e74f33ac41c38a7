/*
 * steps_scram: whole SCRAM exchanges from the side of an end, client or server,
 * by the auth floor.
 */
#include <stdio.h>
#include <string.h>

#include "auth/scram.h"
#include "dialog/script_priv.h"

/* The next message that e has, of this type, with this many bytes of payload in front of the data; NULL: there is none. */
static const char *scram_message(struct world *w, struct end *e, char type, size_t skip, size_t *n)
{
	const unsigned char *p = (const unsigned char *)e->rx.p + e->rx_pos;
	size_t have = e->rx.n - e->rx_pos, size;

	if (have < 5 || p[0] != type) {
		world_fail(w, "%s was to receive a SASL message %c", e->name, type);
		return NULL;
	}
	size = 1 + ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]);
	if (have < size || size < 5 + skip) {
		world_fail(w, "%s was to receive a whole SASL message %c", e->name, type);
		return NULL;
	}
	e->rx_pos += size;
	*n = size - 5 - skip;
	return (const char *)p + 5 + skip;
}

static void scram_send(struct end *e, char type, const void *head, size_t head_len, const char *data, size_t n)
{
	struct bytes b = {0};

	bytes_u8(&b, (unsigned char)type);
	bytes_u32(&b, (uint32_t)(4 + head_len + n));
	bytes_add(&b, head, head_len);
	bytes_add(&b, data, n);
	world_send(e, b.p, b.n, &b.n, 1);
	bytes_free(&b);
}

static bool scram_as_client(struct step *s, struct world *w, struct end *e, struct scram_client *c)
{
	bool wrong = s->n > 1 && strcmp(s->v[1].s, "wrong") == 0;
	const char *in, *mechanism, *out;
	struct bytes head = {0};
	size_t n, k;

	in = scram_message(w, e, 'R', 4, &n);
	if (in == NULL || scram_client_start(c, in, n, &mechanism, &out, &k) != SCRAM_OK)
		return false;
	bytes_str(&head, mechanism);
	bytes_u32(&head, (uint32_t)k);
	scram_send(e, 'p', head.p, head.n, out, k);
	bytes_free(&head);
	in = scram_message(w, e, 'R', 4, &n);
	if (in == NULL || scram_client_next(c, in, n, &out, &k) != SCRAM_OK)
		return false;
	if (wrong) {
		/* Another proof of the same length. */
		char proof[4096];

		if (k >= sizeof(proof) || k < 8)
			return false;
		memcpy(proof, out, k);
		proof[k - 5] = proof[k - 5] == 'A' ? 'B' : 'A';
		scram_send(e, 'p', "", 0, proof, k);
		return true;
	}
	scram_send(e, 'p', "", 0, out, k);
	in = scram_message(w, e, 'R', 4, &n);
	return in != NULL && scram_client_final(c, in, n) == SCRAM_OK && scram_client_is_done(c);
}

static bool scram_as_server(struct world *w, struct end *e, struct scram_server *c)
{
	static const char list[] = "\0\0\0\12SCRAM-SHA-256\0";
	const char *in, *out;
	size_t n, k;

	scram_send(e, 'R', list, sizeof(list), "", 0);
	in = scram_message(w, e, 'p', sizeof(SCRAM_NAME) + 4, &n);
	if (in == NULL || scram_server_start(c, SCRAM_NAME, in, n, &out, &k) != SCRAM_OK)
		return false;
	scram_send(e, 'R', "\0\0\0\13", 4, out, k);
	in = scram_message(w, e, 'p', 0, &n);
	if (in == NULL || scram_server_next(c, in, n, &out, &k) != SCRAM_OK || !scram_server_is_done(c))
		return false;
	scram_send(e, 'R', "\0\0\0\14", 4, out, k);
	return true;
}

/* scram SECRET [wrong]: a whole exchange from this end */
bool run_scram(struct step *s, struct world *w, struct end *e)
{
	static const struct scram_binding none;
	struct scram_verifier v;
	bool ok = false;

	if (s->n > 0 && e->kind == END_CLIENT) {
		struct scram_client *c = scram_client_new(s->v[0].s, NULL, &none);

		ok = c != NULL && scram_as_client(s, w, e, c);
		if (!ok && c != NULL)
			world_fail(w, "%s: %s", e->name, scram_client_error(c));
		scram_client_free(&c);
	} else if (s->n > 0 && scram_verifier_of(s->v[0].s, NULL, &v)) {
		struct scram_server *c = scram_server_new(&v, &none);

		ok = scram_as_server(w, e, c);
		if (!ok)
			world_fail(w, "%s: %s", e->name, scram_server_error(c));
		scram_server_free(&c);
	}
	return ok;
}
