/*
 * A client of the console that says anything. The first byte says who it is and
 * how its bytes come; the rest is a text for the parser alone, or the messages
 * of a session. Whatever comes, the answers are whole messages, each Query and
 * Sync has its ReadyForQuery, and nothing is left when the client has gone.
 */
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "admin/command.h"
#include "admin/control.h"
#include "conf/config.h"
#include "dialog/dialog.h"
#include "fuzz/fuzz.h"
#include "proto/wire.h"

/* Bits of the first byte. */
enum { TEXT_ONLY = 1, STATS_USER = 2, A_BYTE_AT_A_TIME = 4, BUSY_SERVER = 8 };

static struct config *config;

static void make_config(void)
{
	char dir[] = "/tmp/fuzz-console-XXXXXX";
	struct recipe r = {0};

	FUZZ_CHECK(mkdtemp(dir) != NULL);
	bytes_printf(&r.set, "admin_users = adm\nstats_users = v\nserver_connect_timeout = 0\n");
	config = recipe_load(&r, dir, "fuzz_console");
	FUZZ_CHECK(config != NULL);
	recipe_free(&r);
	rmdir(dir);
}

/* SET of a file's name would have us write and read where the fuzzer likes. */
static bool names_files(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i + 4 <= n; i++)
		if (strncasecmp((const char *)p + i, "file", 4) == 0 ||
			strncasecmp((const char *)p + i, "sysl", 4) == 0)
			return true;
	return false;
}

static void parse_text(const uint8_t *p, size_t n)
{
	char *text = malloc(n + 1), why[COMMAND_WHY];
	struct command c;
	size_t columns;

	FUZZ_CHECK(text != NULL);
	memcpy(text, p, n);
	text[n] = '\0';
	if (command_parse(text, &c, why))
		(void)command_columns(&c, &columns);
	else
		FUZZ_CHECK(strncmp(why, "invalid command '", 17) == 0 && strlen(why) < COMMAND_WHY);
	command_free(&c);
	free(text);
}

static struct end *log_in(struct world *w, const char *user, const char *database)
{
	struct end *e = world_connect(w, user, false);
	struct bytes b = {0};
	char text[100];
	int n = snprintf(text, sizeof(text), "user%c%s%cdatabase%c%s%c", 0, user, 0, 0, database, 0);

	bytes_u32(&b, (uint32_t)(8 + n + 1));
	bytes_u32(&b, 3 << 16);
	bytes_add(&b, text, (size_t)n);
	bytes_u8(&b, 0);
	world_send(e, b.p, b.n, NULL, 0);
	bytes_free(&b);
	return e;
}

/* Whole messages, and how many of them are ReadyForQuery. */
static size_t count_ready(const struct end *e)
{
	const char *p = e->rx.p;
	size_t n = e->rx.n, need, ready = 0;
	struct msg m;

	while (n > 0) {
		FUZZ_CHECK(wire_scan(WIRE_SERVER, p, n, &m, &need) == WIRE_OK && n >= (size_t)WIRE_HEADER + m.len);
		ready += m.type == MSG_READY_FOR_QUERY;
		p += WIRE_HEADER + m.len;
		n -= WIRE_HEADER + m.len;
	}
	return ready;
}

/* How many Query, FunctionCall and Sync messages there may be an answer to; the first packet has one too. */
static size_t count_asked(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data;
	size_t need, asked = 1;
	struct msg m;

	while (n > 0 && wire_scan(WIRE_CLIENT, p, n, &m, &need) == WIRE_OK) {
		asked += m.type == MSG_QUERY || m.type == MSG_SYNC || m.type == MSG_FUNCTION_CALL;
		if (n < (size_t)WIRE_HEADER + m.len)
			break; /* one that is too long is answered before its end */
		p += WIRE_HEADER + m.len;
		n -= WIRE_HEADER + m.len;
	}
	return asked;
}

static void talk(unsigned how, const uint8_t *data, size_t n)
{
	static const struct way whole = {.name = "fuzz", .cut = -1};
	struct way way = whole;
	struct world w;
	struct end *e, *other;
	bool ok;

	if ((how & A_BYTE_AT_A_TIME) != 0)
		way.read = 1;
	world_begin(&w, config, &way);
	e = log_in(&w, (how & STATS_USER) != 0 ? "v" : "adm", "pgbouncer");
	if ((how & BUSY_SERVER) != 0) {
		/* Something that PAUSE has to wait for. */
		other = log_in(&w, "u", "d");
		world_send(other, "Q\0\0\0\nbegin", 11, NULL, 0);
	}
	if (n > 0)
		world_send(e, (const char *)data, n, NULL, 0);
	if (e->stream != NULL && e->key_len > 0)
		world_cancel(&w, "k", e);
	FUZZ_CHECK(count_ready(e) <= count_asked(data, n));
	ok = world_end(&w);
	if (!ok)
		fprintf(stderr, "%s\n", w.failure.p);
	FUZZ_CHECK(ok);
	world_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (config == NULL)
		make_config();
	if (size == 0 || names_files(data, size))
		return 0;
	if ((data[0] & TEXT_ONLY) != 0)
		parse_text(data + 1, size - 1);
	else
		talk(data[0], data + 1, size - 1);
	return 0;
}
