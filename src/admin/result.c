/*
 * result: writes the answers of console commands. Called by show and command;
 * console says where the bytes go and in which formats. It knows no command and
 * no table.
 */
#include "admin/result.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/timer.h"
#include "net/buf.h"
#include "proto/msgw.h"
#include "proto/wire.h"

static const struct {
	uint32_t oid;
	int16_t len;
} type_rows[] = {
	[COLUMN_TEXT] = {25, -1},
	[COLUMN_INT4] = {23, 4},
	[COLUMN_INT8] = {20, 8},
	[COLUMN_NUMERIC] = {1700, -1},
};

/* ---- cells ---- */

void cell_text(struct cell *c, const char *text)
{
	c->text = text;
}

void cell_copy(struct cell *c, const char *text)
{
	snprintf(c->scratch, sizeof c->scratch, "%s", text);
	c->text = c->scratch;
}

void cell_number(struct cell *c, int64_t n)
{
	c->number = n;
	c->is_number = true;
}

void cell_time(struct cell *c, int64_t us)
{
	time_t second = (time_t)((clock_wall_us() - clock_us() + us) / USEC);
	struct tm tm;

	localtime_r(&second, &tm);
	if (strftime(c->scratch, sizeof c->scratch, "%Y-%m-%d %H:%M:%S %Z", &tm) == 0)
		c->scratch[0] = '\0';
	c->text = c->scratch;
}

void cell_pointer(struct cell *c, const void *p)
{
	if (p == NULL)
		c->scratch[0] = '\0';
	else
		snprintf(c->scratch, sizeof c->scratch, "%p", p);
	c->text = c->scratch;
}

/* ---- values ---- */

static uint16_t format_of(const struct result *r, size_t column)
{
	if (r->n_formats == 0)
		return 0;
	return r->formats[r->n_formats == 1 ? 0 : column];
}

static void put_bytes(struct buf *b, const void *p, size_t n)
{
	msgw_u32(b, (uint32_t)n);
	buf_append(b, p, n);
}

/* A numeric in binary form: counts of digits in base 10000, weight of the first one, sign, digits behind the point, digits. */
static void put_numeric(struct buf *b, int64_t n)
{
	uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
	uint16_t digits[5];
	size_t used = 0, zeros = 0;

	for (; rest > 0; rest /= 10000)
		digits[used++] = (uint16_t)(rest % 10000);
	while (zeros < used && digits[zeros] == 0)
		zeros++;
	msgw_u32(b, (uint32_t)(8 + 2 * (used - zeros)));
	msgw_u16(b, (uint16_t)(used - zeros));
	msgw_u16(b, used > 0 ? (uint16_t)(used - 1) : 0);
	msgw_u16(b, n < 0 ? 0x4000 : 0);
	msgw_u16(b, 0);
	for (size_t i = used; i > zeros; i--)
		msgw_u16(b, digits[i - 1]);
}

/* False when the type cannot hold the number. */
static bool put_binary(struct buf *b, enum column_type type, int64_t n)
{
	switch (type) {
	case COLUMN_INT4:
		if (n < INT32_MIN || n > INT32_MAX)
			return false;
		msgw_u32(b, 4);
		msgw_u32(b, (uint32_t)n);
		break;
	case COLUMN_INT8:
		msgw_u32(b, 8);
		msgw_u32(b, (uint32_t)((uint64_t)n >> 32));
		msgw_u32(b, (uint32_t)n);
		break;
	case COLUMN_NUMERIC: put_numeric(b, n); break;
	case COLUMN_TEXT: assert(false);
	}
	return true;
}

static bool put_cell(const struct result *r, const struct column *column, const struct cell *c, uint16_t format)
{
	char text[24];

	if (!c->is_number) {
		/* The binary form of a text is the text. Other types hold no texts. */
		assert(c->text == NULL || column->type == COLUMN_TEXT);
		if (c->text != NULL)
			put_bytes(r->out, c->text, strlen(c->text));
		else
			msgw_u32(r->out, UINT32_MAX);
		return true;
	}
	if (format == 1 && column->type != COLUMN_TEXT)
		return put_binary(r->out, column->type, c->number);
	put_bytes(r->out, text, (size_t)snprintf(text, sizeof text, "%" PRId64, c->number));
	return true;
}

/* ---- messages ---- */

void result_describe(const struct result *r, const struct column *columns, size_t n)
{
	uint32_t mark = msgw_begin(r->out, MSG_ROW_DESCRIPTION);

	assert(n <= INT16_MAX);
	msgw_u16(r->out, (uint16_t)n);
	for (size_t i = 0; i < n; i++) {
		msgw_cstr(r->out, columns[i].name);
		msgw_u32(r->out, 0); /* no table */
		msgw_u16(r->out, 0);
		msgw_u32(r->out, type_rows[columns[i].type].oid);
		msgw_u16(r->out, (uint16_t)type_rows[columns[i].type].len);
		msgw_u32(r->out, UINT32_MAX); /* no modifier */
		msgw_u16(r->out, format_of(r, i));
	}
	msgw_end(r->out, mark);
}

void result_begin(struct result *r, const struct column *columns, size_t n)
{
	if (r->describe)
		result_describe(r, columns, n);
}

void result_row(struct result *r, const struct column *columns, size_t n, const void *row)
{
	uint32_t before = buf_len(r->out), mark;
	char text[128];

	if (r->failed)
		return;
	mark = msgw_begin(r->out, MSG_DATA_ROW);
	msgw_u16(r->out, (uint16_t)n);
	for (size_t i = 0; i < n; i++) {
		struct cell c = {.text = NULL};

		columns[i].get(&c, row, columns[i].arg);
		if (put_cell(r, &columns[i], &c, format_of(r, i)))
			continue;
		/* What was begun of the row goes; the error takes its place. */
		if (!buf_failed(r->out))
			r->out->end = r->out->pos + before;
		snprintf(text, sizeof text, "column %s is out of range for its type in binary form", columns[i].name);
		result_error(r, "22003", text, NULL);
		return;
	}
	msgw_end(r->out, mark);
	r->rows++;
}

void result_done(struct result *r, const char *tag)
{
	if (!r->failed)
		msgw_command_complete(r->out, tag);
}

void result_error(struct result *r, const char *code, const char *text, const char *detail)
{
	msgw_error(r->out, &(struct msgw_error){.severity = "ERROR", .code = code, .message = text, .detail = detail});
	snprintf(r->error, sizeof r->error, "%s", text);
	r->failed = true;
}

void result_notice(struct result *r, const char *text, const char *detail)
{
	msgw_notice(r->out,
		&(struct msgw_error){.severity = "NOTICE", .code = "00000", .message = text, .detail = detail});
}
