/*
 * Whole sessions: clients and servers that say anything, in any pieces and any
 * order, over the world of the dialogues. What an input means stands with enum
 * fuzz_op in dialog/dialog.h; the corpus was made of dialogues by
 * test/dialog/dialogues -c. Whatever comes, the pooler must come to rest, what it
 * writes must be whole messages, and nothing may be left when all have gone.
 */
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "conf/config.h"
#include "dialog/dialog.h"
#include "fuzz/fuzz.h"
#include "proto/wire.h"

enum { CONFIGS = 8, OPS_MAX = 2000, ENDS_MAX = 64 };

static struct config *configs[CONFIGS];

struct input {
	const uint8_t *p;
	size_t n;
};

static unsigned take(struct input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++;
}

/* The settings of one kind of world, by the low bits of an input's first byte. */
static void make_config(unsigned which, const char *dir)
{
	static const char *const modes[] = {"session", "transaction", "statement"};
	static const char *const auth[] = {"trust", "plain", "md5", "scram-sha-256"};
	struct recipe r = {0};

	bytes_printf(&r.set, "pool_mode = %s\n", modes[which % 3]);
	bytes_printf(&r.set, "auth_type = %s\n", which < 5 ? "trust" : auth[which - 4]);
	if (which >= 3)
		bytes_printf(&r.set, "default_pool_size = 1\nreserve_pool_size = 1\nserver_reset_query_always = 1\n"
				     "query_timeout = 10\nidle_transaction_timeout = 20\nclient_idle_timeout = 50\n"
				     "server_lifetime = 100\nquery_wait_timeout = 15\nmin_pool_size = 2\n");
	configs[which] = recipe_load(&r, dir, "fuzz");
	FUZZ_CHECK(configs[which] != NULL);
	recipe_free(&r);
}

static void make_configs(void)
{
	char dir[] = "/tmp/fuzz-session-XXXXXX";

	FUZZ_CHECK(mkdtemp(dir) != NULL);
	for (unsigned i = 0; i < CONFIGS; i++)
		make_config(i, dir);
	rmdir(dir);
}

static struct end *pick(struct world *w, bool client, unsigned which)
{
	struct end *e;

	TAILQ_FOREACH (e, &w->ends, all)
		if ((e->kind == END_CLIENT) == client && e->index == which)
			return e;
	return NULL;
}

static void do_switch(struct world *w, struct input *in, unsigned which)
{
	struct end *e;

	switch ((enum fuzz_switch)(which % 8)) {
	case FUZZ_AUTO: w->manual = false; break;
	case FUZZ_MANUAL: w->manual = true; break;
	case FUZZ_ACCEPT: w->policy = CONNECT_ACCEPT; break;
	case FUZZ_REFUSE: w->policy = CONNECT_REFUSE; break;
	case FUZZ_HANG: w->policy = CONNECT_HANG; break;
	case FUZZ_EXHAUSTED: w->policy = CONNECT_EXHAUSTED; break;
	case FUZZ_STALL:
	case FUZZ_TAKE:
		e = pick(w, true, take(in));
		if (e != NULL)
			e->stalled = which % 8 == FUZZ_STALL;
		break;
	case FUZZ_CANCEL:
		e = pick(w, true, take(in));
		if (e != NULL && e->key_len > 0)
			world_cancel(w, "k", e);
		break;
	}
	world_settle(w);
}

/* The key that a client was told, once its login is over. */
static void learn_keys(struct end *e)
{
	struct msg m;
	size_t need, at = 0;

	while (e->key_len == 0 && at < e->rx.n &&
		wire_scan(WIRE_SERVER, e->rx.p + at, e->rx.n - at, &m, &need) == WIRE_OK) {
		if (m.type == MSG_BACKEND_KEY_DATA && m.have == m.len && m.len <= sizeof(e->key)) {
			memcpy(e->key, m.payload, m.len);
			e->key_len = m.len;
		}
		at += (size_t)WIRE_HEADER + m.len;
	}
}

static void do_op(struct world *w, struct input *in)
{
	unsigned byte = take(in), which = byte >> 3;
	enum fuzz_op op = (enum fuzz_op)(byte & 7);
	bool client = op == FUZZ_CLIENT_SEND || op == FUZZ_CLIENT_GONE;
	struct end *e = pick(w, client, which);
	size_t n;

	switch (op) {
	case FUZZ_CONNECT:
		if (w->n_clients < ENDS_MAX)
			world_connect(w, "a", (which & 1) != 0);
		break;
	case FUZZ_CLIENT_SEND:
	case FUZZ_SERVER_SEND:
		n = take(in);
		n |= take(in) << 8;
		n = n < in->n ? n : in->n;
		if (e != NULL && !e->eof && !e->connecting)
			world_send(e, (const char *)in->p, n, NULL, 0);
		in->p += n;
		in->n -= n;
		if (e != NULL && e->kind == END_CLIENT)
			learn_keys(e);
		break;
	case FUZZ_CLIENT_GONE:
	case FUZZ_SERVER_GONE:
		if (e != NULL)
			world_eof(e);
		break;
	case FUZZ_CLOCK: world_clock(w, (int64_t)take(in) * which * which * 100000); break;
	case FUZZ_WAY:
		w->way.read = take(in);
		w->way.write = take(in);
		w->way.blocks = w->way.write != 0;
		break;
	case FUZZ_SWITCH: do_switch(w, in, which); break;
	}
}

/* What an end got must be messages, whole but for the last one. What is wrong inside a client's is the server's to judge. */
static void check_words(const struct end *e)
{
	const char *p = e->rx.p;
	size_t n = e->rx.n, need, left;
	enum wire_side from = e->kind == END_CLIENT ? WIRE_SERVER : WIRE_CLIENT;
	struct msg m;

	if (e->kind == END_CLIENT) {
		/* Answers to SSLRequest and GSSENCRequest: no notice begins so. */
		for (int i = 0; i < 2 && n > 0 && p[0] == 'N' && (n == 1 || p[1] != 0); i++)
			p++, n--;
	} else if (n >= 8) {
		left = (size_t)(unsigned char)p[2] << 8 | (unsigned char)p[3];
		FUZZ_CHECK(p[0] == 0 && p[1] == 0 && left >= 8);
		if (n < left || e->kind == END_CANCEL)
			return;
		p += left;
		n -= left;
	} else {
		return;
	}
	while (n > 0) {
		enum wire_result r = wire_scan(from, p, n, &m, &need);

		FUZZ_CHECK(r == WIRE_OK || r == WIRE_MORE || (from == WIRE_CLIENT && r != WIRE_BAD_TYPE));
		if (r == WIRE_MORE || n < (size_t)WIRE_HEADER + m.len)
			return;
		p += WIRE_HEADER + m.len;
		n -= WIRE_HEADER + m.len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct way whole = {.name = "fuzz", .cut = -1};
	struct input in = {data, size};
	struct end *e;
	struct world w;
	bool ok;

	if (configs[0] == NULL)
		make_configs();
	world_begin(&w, configs[take(&in) % CONFIGS], &whole);
	for (int i = 0; i < OPS_MAX && in.n > 0 && !w.failed; i++)
		do_op(&w, &in);
	TAILQ_FOREACH (e, &w.ends, all)
		check_words(e);
	ok = world_end(&w);
	if (!ok)
		fprintf(stderr, "%s\n", w.failure.p);
	FUZZ_CHECK(ok);
	world_free(&w);
	return 0;
}
