/*
 * wire: the bytes of the frontend/backend protocol, version 3 (PostgreSQL
 * manual, chapter 55): finding messages in a buffer, reading their fields with
 * bounds, and the packets that come before messages have types.
 */
#ifndef PSBOUNCER_PROTO_WIRE_H
#define PSBOUNCER_PROTO_WIRE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Names of the message types: MSG_QUERY = 'Q', MSG_READY_FOR_QUERY = 'Z', ... */
enum msg_type {
#define MESSAGE(side, type, name, need, n, min, max, text) MSG_##name = type,
#include "tbl/messages.h"
#undef MESSAGE
};

/* Who sends. */
enum wire_side { WIRE_CLIENT, WIRE_SERVER };

enum { WIRE_HEADER = 5, WIRE_HEAD_MAX = 10000 };

/* A message of a server's of this length is forwarded in one piece; with its header it fits a block of 4 KB. */
enum { WIRE_WHOLE = 4096 - WIRE_HEADER };

/* Payloads are no longer than this, as PostgreSQL has it: it takes length words up to 0x3ffffffe, and could send longer ones. */
enum { WIRE_MAX_CLIENT = 0x3ffffffa, WIRE_MAX_SERVER = 0x3fffffff };

/* A message as far as it is in memory. Pointers lead into the caller's buffer. */
struct msg {
	uint8_t type;
	uint32_t len; /* of the payload: the length word less 4 */
	const char *payload;
	uint32_t have; /* payload bytes in memory, at most len */
};

enum wire_result {
	WIRE_OK,	 /* *m is filled, and what its row in tbl/messages.h asks for is in memory */
	WIRE_MORE,	 /* *need bytes from p on must be in memory first (more than n) */
	WIRE_BAD_TYPE,	 /* no such message from this side */
	WIRE_BAD_LENGTH, /* outside the row's bounds; m->len is the length all the same, 0 for a length word under 4 */
	WIRE_BAD_HEAD	 /* a name or tag without its NUL within the message or WIRE_HEAD_MAX bytes */
};

/* What tbl/messages.h says, by sender and type. Payloads are min to min + span - 1 bytes long: no such message where span is 0. */
struct wire_row {
	uint8_t need; /* wire.c's */
	uint8_t nuls; /* how many of them must be there when it is whole: 0, 1, 2 */
	uint32_t n, min, span;
};
extern const struct wire_row wire_rows[2][256];

/*
 * The common case of wire_scan(), without a call: is the message that begins at p (n > 0) whole, and as it is to be? Then
 * *m is filled. False says nothing.
 */
static inline bool wire_is_whole(enum wire_side side, const char *p, size_t n, struct msg *m)
{
	const struct wire_row *row = &wire_rows[side][(uint8_t)*p];
	uint32_t len;

	if (n < WIRE_HEADER)
		return false;
	memcpy(&len, p + 1, sizeof(len));
	len = be32toh(len) - 4;
	if (len - row->min >= row->span || n - WIRE_HEADER < len)
		return false;
	/* One is there if the last byte is one; two of them (Bind) if both names are empty, as they often are. */
	if (row->nuls && (len < 2 || len > WIRE_HEAD_MAX ||
				 (row->nuls == 1 ? p[WIRE_HEADER + len - 1] : p[WIRE_HEADER] | p[WIRE_HEADER + 1])))
		return false;
	*m = (struct msg){.type = (uint8_t)*p, .len = len, .payload = p + WIRE_HEADER, .have = len};
	return true;
}

/* Looks at the message that begins at p, of which n bytes are there. m->type is set for every result once n > 0. */
enum wire_result wire_scan(enum wire_side side, const char *p, size_t n, struct msg *m, size_t *need)
	__attribute__((warn_unused_result));
/* "Query", "ReadyForQuery" ..., "?" for an unknown one. */
const char *wire_name(enum wire_side side, uint8_t type);

/* A bounded reader. After a failure everything reads as zero or "", and msgr_end() is false. */
struct msgr {
	const char *p, *end;
	bool failed;
};

struct msgr msgr_init(const void *p, size_t n);
struct msgr msgr_of(const struct msg *m); /* what is in memory of it */
uint8_t msgr_u8(struct msgr *r);
uint16_t msgr_u16(struct msgr *r);
uint32_t msgr_u32(struct msgr *r);
const char *msgr_cstr(struct msgr *r);		  /* up to its NUL; "" on failure */
const char *msgr_bytes(struct msgr *r, size_t n); /* NULL on failure */
size_t msgr_left(const struct msgr *r);
/* True when nothing failed and everything was consumed. */
bool msgr_end(const struct msgr *r) __attribute__((warn_unused_result));

/* The packet that opens a connection (55.2.1): no type, a length, a code. */
enum startup_kind {
	STARTUP_MORE,	/* *need bytes must be in memory first */
	STARTUP_BAD,	/* *why says what is wrong */
	STARTUP_SSL,	/* SSLRequest */
	STARTUP_GSS,	/* GSSENCRequest */
	STARTUP_CANCEL, /* CancelRequest: key and key_len */
	STARTUP_HELLO	/* StartupMessage: major, minor, params */
};

struct startup {
	uint32_t size; /* of the whole packet */
	uint16_t major, minor;
	const char *params; /* name NUL value NUL ..., without the last NUL */
	size_t params_len;
	const char *key; /* of a cancel: process id and secret as they came, 8 to 260 bytes */
	size_t key_len;
	const char *why;  /* STARTUP_BAD: static text ... */
	const char *code; /* ... and SQLSTATE */
};

/*
 * STARTUP_MAX: PostgreSQL's MAX_STARTUP_PACKET_LENGTH, which does not count the length word. WIRE_MINOR: the newest minor
 * version of protocol 3 that we speak. 3.1 was never used: it is 3.0 by another name.
 */
enum { STARTUP_MAX = 10004, WIRE_MINOR = 2 };

enum startup_kind wire_startup(const char *p, size_t n, struct startup *out, size_t *need)
	__attribute__((warn_unused_result));
/* Walks params: start with *at = 0. false at the end. wire_startup() has checked the form. */
bool startup_next(const struct startup *s, size_t *at, const char **name, const char **value);
/* The last value of a name, or NULL. */
const char *startup_get(const struct startup *s, const char *name);

/*
 * Splits the value of the startup parameter `options` ("-c a=b --c=d\ e") at blanks, backslash quoting as the
 * server's pg_split_opts: calls set(name, value, arg) for each. NULL, or the static text of the first fault. name's
 * dashes become underscores. A set() that returns false ends the walk; it keeps its own, better text.
 */
const char *startup_options(const char *options, bool (*set)(const char *name, const char *value, void *arg),
	void *arg);

/* Fields of an ErrorResponse or NoticeResponse as far as they are in memory; "" where one is missing. */
struct error_fields {
	const char *severity; /* V where there is one, else S */
	bool translated;      /* it is S, in the language of the server */
	const char *code;     /* C, "" or five characters */
	const char *message;  /* M */
	const char *detail;   /* D */
	const char *routine;  /* R */
	const char *context;  /* W */
};
void wire_error_fields(const struct msg *m, struct error_fields *f);

#endif
