/*
 * The packet that opens a connection, its parameters, and each of their values
 * as if it were `options`.
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "net/buf.h"
#include "proto/msgw.h"
#include "proto/wire.h"

static bool set_option(const char *name, const char *value, void *arg)
{
	const size_t *limit = arg;

	FUZZ_CHECK(*name != '\0' && strpbrk(name, "-=") == NULL);
	FUZZ_CHECK(strlen(name) + strlen(value) < *limit);
	return *value != 'x';
}

/* What was read is written as the same packet. */
static void write_again(const char *p, const struct startup *s)
{
	const char *name, *value;
	struct buf b = {0};
	uint32_t mark = msgw_startup_begin(&b, s->minor);
	size_t at = 0;

	while (startup_next(s, &at, &name, &value)) {
		msgw_cstr(&b, name);
		msgw_cstr(&b, value);
	}
	msgw_startup_end(&b, mark);
	FUZZ_CHECK(buf_len(&b) == s->size && memcmp(buf_head(&b), p, s->size) == 0);
	buf_free(&b);
}

static void read_params(const struct startup *s)
{
	const char *name, *value;
	size_t at = 0;

	while (startup_next(s, &at, &name, &value)) {
		size_t limit = strlen(value);
		const char *last = startup_get(s, name);

		FUZZ_CHECK(*name != '\0' && last != NULL && last >= value && last <= s->params + s->params_len);
		startup_options(value, set_option, &limit);
	}
	FUZZ_CHECK(at == s->params_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	size_t had = 0, need = 0;
	enum startup_kind kind;
	struct startup s;
	char *copy;

	for (;;) {
		copy = malloc(had > 0 ? had : 1);
		if (copy == NULL)
			abort();
		if (had > 0)
			memcpy(copy, p, had);
		kind = wire_startup(copy, had, &s, &need);
		if (kind != STARTUP_MORE)
			break;
		free(copy);
		FUZZ_CHECK(need > had && need <= STARTUP_MAX);
		if (need > size)
			return 0;
		had = need;
	}
	FUZZ_CHECK((kind == STARTUP_BAD) == (s.why != NULL && s.code != NULL));
	if (kind == STARTUP_CANCEL)
		FUZZ_CHECK(s.key_len >= 8 && s.key_len <= 260 && s.key + s.key_len == copy + had);
	if (kind == STARTUP_HELLO) {
		FUZZ_CHECK(s.size == had && s.major == 3);
		read_params(&s);
		write_again(copy, &s);
	}
	free(copy);
	return 0;
}
