/*
 * load_wrecks: what the ill-behaved clients of the load do: vanish at every
 * stage of a session, and send what no client should.
 */
#include <string.h>
#include "lib/load_priv.h"

static enum load_next either(struct load_client *c)
{
	return load_random(c->load, 2) == 0 ? LOAD_VANISH : LOAD_RESET;
}

static void put_random(struct load_client *c, size_t n)
{
	for (; n > 0; n--) {
		char byte = (char)load_random(c->load, 256);

		load_put(&c->out, &byte, 1);
	}
}

/* ---- before and in a login ---- */

static enum load_next silent(struct load_client *c, unsigned step)
{
	(void)step;
	return either(c);
}

static enum load_next half_startup(struct load_client *c, unsigned step)
{
	(void)step;
	load_startup(c, c->user, c->database);
	c->out.n = 1 + load_random(c->load, c->out.n - 1);
	return either(c);
}

/* A length that cannot be: the rest is not waited for. */
static enum load_next garbage(struct load_client *c, unsigned step)
{
	(void)step;
	load_put(&c->out, "GET ", 4);
	put_random(c, load_random(c->load, 3000));
	return LOAD_LEAVE;
}

static enum load_next any_bytes(struct load_client *c, unsigned step)
{
	(void)step;
	put_random(c, 1 + load_random(c->load, 100));
	return either(c);
}

static void ask_for(struct load_client *c, uint32_t code)
{
	load_put32(&c->out, 8);
	load_put32(&c->out, code);
}

static enum load_next broken_tls(struct load_client *c, unsigned step)
{
	(void)step;
	ask_for(c, 80877103);
	put_random(c, 8 + load_random(c->load, 500));
	return LOAD_LEAVE;
}

static enum load_next gss_and_gone(struct load_client *c, unsigned step)
{
	(void)step;
	ask_for(c, 80877104);
	return either(c);
}

static enum load_next unknown_protocol(struct load_client *c, unsigned step)
{
	(void)step;
	load_put32(&c->out, 9);
	load_put32(&c->out, 0x20000);
	load_put(&c->out, "", 1);
	load_want_close(c, "0A000");
	return LOAD_LEAVE;
}

static enum load_next no_password(struct load_client *c, unsigned step)
{
	if (step == 0) {
		load_startup(c, c->user, c->database);
		load_want_any(c, "R");
		return LOAD_GO;
	}
	return either(c);
}

static enum load_next wrong_password(struct load_client *c, unsigned step)
{
	size_t at;

	if (step == 0) {
		load_startup(c, c->user, c->database);
		load_want_any(c, "R");
		return LOAD_GO;
	}
	at = load_begin(&c->out, 'p');
	load_put_text(&c->out, "md500000000000000000000000000000000");
	load_end(&c->out, at);
	load_want_close(c, "28P01");
	return LOAD_LEAVE;
}

static enum load_next unknown_user(struct load_client *c, unsigned step)
{
	if (step > 0)
		return wrong_password(c, step);
	load_startup(c, "nobody of this name", c->database);
	load_want_any(c, "R");
	return LOAD_GO;
}

static enum load_next wrong_key(struct load_client *c, unsigned step)
{
	const unsigned char *key = load_any_key(c->load);
	char packet[8] = {0};

	(void)step;
	if (key)
		memcpy(packet, key, 8);
	packet[3 + load_random(c->load, 3)] ^= (char)(1 + load_random(c->load, 255));
	load_put32(&c->out, 16);
	load_put32(&c->out, 80877102);
	load_put(&c->out, packet, 8);
	return LOAD_LEAVE;
}

static enum load_next half_key(struct load_client *c, unsigned step)
{
	(void)step;
	load_put32(&c->out, 16);
	load_put32(&c->out, 80877102);
	load_put(&c->out, c->key, load_random(c->load, 8));
	return either(c);
}

/* ---- in a session ---- */

static enum load_next idle_and_gone(struct load_client *c, unsigned step)
{
	(void)step;
	return either(c);
}

static enum load_next unknown_type(struct load_client *c, unsigned step)
{
	(void)step;
	load_query(c, "select 1");
	load_put(&c->out, "\x01", 1);
	load_put32(&c->out, 4);
	load_want_close(c, "08P01");
	return LOAD_LEAVE;
}

static enum load_next bad_length(struct load_client *c, unsigned step)
{
	(void)step;
	load_put(&c->out, "Q", 1);
	load_put32(&c->out, (uint32_t)load_random(c->load, 4));
	load_want_close(c, "08P01");
	return LOAD_LEAVE;
}

static enum load_next half_message(struct load_client *c, unsigned step)
{
	size_t whole;

	(void)step;
	load_query(c, "select '%s', repeat('x', 500)", load_tag(c));
	whole = c->out.n;
	load_batch(c, "select $1::text", 0, c->tag);
	c->out.n = load_random(c->load, 2) == 0 ? 1 + load_random(c->load, whole - 1)
						: whole + 1 + load_random(c->load, c->out.n - whole - 1);
	return either(c);
}

static enum load_next while_it_runs(struct load_client *c, unsigned step)
{
	(void)step;
	load_query(c, "select '%s', pg_sleep(0.05)", load_tag(c));
	return either(c);
}

static enum load_next no_reader(struct load_client *c, unsigned step)
{
	if (step > 0)
		return either(c);
	load_query(c, "select '%s', repeat('x', 10000) from generate_series(1, 300)", load_tag(c));
	load_want_any(c, "TDD");
	return LOAD_GO;
}

static enum load_next in_transaction(struct load_client *c, unsigned step)
{
	if (step > 0)
		return either(c);
	load_query(c, "begin; insert into load_lines values ('%s', 0)", load_tag(c));
	load_want_any(c, "CC");
	load_want_ready(c, 'T');
	return LOAD_GO;
}

static enum load_next in_failed_transaction(struct load_client *c, unsigned step)
{
	if (step > 0)
		return either(c);
	load_query(c, "begin; select '%s'::int", load_tag(c));
	load_want_any(c, "C");
	load_want_error(c, "22P02", c->tag);
	load_want_ready(c, 'E');
	return LOAD_GO;
}

static enum load_next in_copy(struct load_client *c, unsigned step)
{
	size_t at;

	if (step == 0) {
		load_query(c, "copy load_lines from stdin");
		load_want_any(c, "G");
		return LOAD_GO;
	}
	at = load_begin(&c->out, 'd');
	load_put(&c->out, "wreck\t1\n", 8);
	load_end(&c->out, at);
	if (load_random(c->load, 2) == 0)
		c->out.n -= 3;
	return either(c);
}

static enum load_next before_sync(struct load_client *c, unsigned step)
{
	if (step > 0)
		return either(c);
	load_batch(c, "select $1::text from generate_series(1, 5)", 2, load_tag(c));
	load_bare(c, 'H');
	load_want_any(c, "12TDDs");
	return LOAD_GO;
}

/* Terminate right behind a query, without waiting for its reply. */
static enum load_next hasty_goodbye(struct load_client *c, unsigned step)
{
	(void)step;
	load_query(c, "select '%s', pg_sleep(0.01)", load_tag(c));
	load_bare(c, 'X');
	return LOAD_VANISH;
}

/* A cancel request, and the client that it is for goes with it. */
static enum load_next cancel_and_gone(struct load_client *c, unsigned step)
{
	if (step > 0)
		return either(c);
	load_query(c, "select '%s', pg_sleep(0.02)", load_tag(c));
	load_want_how(c, 'T', WANT_MAYBE);
	load_cancel(c, c->key, (unsigned)load_random(c->load, 20));
	return LOAD_GO;
}

/* Most of the time such clients wait for a server when they go. */
static enum load_next crowd(struct load_client *c, unsigned step)
{
	(void)step;
	load_query(c, "select pg_sleep(0.02)");
	for (int i = 0; i < 20; i++)
		load_query(c, "select '%s'", load_tag(c));
	return either(c);
}

const struct load_kind load_wrecks[] = {
	{"silent", silent, LOAD_RAW},
	{"half_startup", half_startup, LOAD_RAW},
	{"garbage", garbage, LOAD_RAW},
	{"any_bytes", any_bytes, LOAD_RAW},
	{"broken_tls", broken_tls, LOAD_RAW},
	{"gss_and_gone", gss_and_gone, LOAD_RAW},
	{"unknown_protocol", unknown_protocol, LOAD_RAW},
	{"no_password", no_password, LOAD_RAW},
	{"wrong_password", wrong_password, LOAD_RAW},
	{"unknown_user", unknown_user, LOAD_RAW},
	{"wrong_key", wrong_key, LOAD_RAW},
	{"half_key", half_key, LOAD_RAW},
	{"idle_and_gone", idle_and_gone, LOAD_INSIDE},
	{"unknown_type", unknown_type, LOAD_INSIDE},
	{"bad_length", bad_length, LOAD_INSIDE},
	{"half_message", half_message, LOAD_INSIDE},
	{"while_it_runs", while_it_runs, LOAD_INSIDE},
	{"no_reader", no_reader, LOAD_INSIDE},
	{"in_transaction", in_transaction, LOAD_INSIDE},
	{"in_failed_transaction", in_failed_transaction, LOAD_INSIDE},
	{"in_copy", in_copy, LOAD_INSIDE},
	{"before_sync", before_sync, LOAD_INSIDE},
	{"hasty_goodbye", hasty_goodbye, LOAD_INSIDE},
	{"cancel_and_gone", cancel_and_gone, LOAD_INSIDE},
	{"crowd", crowd, LOAD_INSIDE},
};
const size_t load_n_wrecks = sizeof(load_wrecks) / sizeof(*load_wrecks);
