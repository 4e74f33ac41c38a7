/*
 * msgw: one function for each message that we ever build. Each appends to a
 * buffer, whose sticky failure is the only error.
 */
#ifndef PSBOUNCER_PROTO_MSGW_H
#define PSBOUNCER_PROTO_MSGW_H

#include <stddef.h>
#include <stdint.h>

struct buf;

/* Any message: begin, append the payload with buf_*() or msgw_u16/u32/cstr, end fills the length in. */
uint32_t msgw_begin(struct buf *b, uint8_t type); /* returns the mark that msgw_end() takes */
void msgw_end(struct buf *b, uint32_t mark);
/* The header of a message whose payload of len bytes is appended by others. */
void msgw_head(struct buf *b, uint8_t type, uint32_t len);
void msgw_u8(struct buf *b, uint8_t v);
void msgw_u16(struct buf *b, uint16_t v);
void msgw_u32(struct buf *b, uint32_t v);
void msgw_cstr(struct buf *b, const char *s);

/* An error or notice of our own: field R is psbouncer; hint and detail may be NULL. */
struct msgw_error {
	const char *severity; /* FATAL, ERROR, WARNING, NOTICE */
	const char *code;
	const char *message;
	const char *detail, *hint;
	const char *routine; /* NULL: "psbouncer" */
};
void msgw_error(struct buf *b, const struct msgw_error *e);  /* ErrorResponse */
void msgw_notice(struct buf *b, const struct msgw_error *e); /* NoticeResponse */
struct msg;
/* The ErrorResponse m, which is whole in memory, with `to` in place of `from` in its message, detail and hint. */
void msgw_error_renamed(struct buf *b, const struct msg *m, const char *from, const char *to);
/* A place where a text was changed: `to` stood there, `from` stands there; at: where in the new text, lengths; in characters. */
struct msgw_edit {
	const char *from, *to;
	uint32_t at, was, is;
};
/*
 * The ErrorResponse or NoticeResponse m about a text with these n edits, in their order, as if it were about the old text.
 * All `from` begin alike. In each of its fields a few names are put back.
 */
void msgw_error_edited(struct buf *b, const struct msg *m, const struct msgw_edit *v, size_t n);

/* As a server, to clients (55.7). */
void msgw_auth_ok(struct buf *b);
void msgw_auth_cleartext(struct buf *b);
void msgw_auth_md5(struct buf *b, const uint8_t salt[4]);
void msgw_auth_sasl(struct buf *b, const char *const *mechanisms, size_t n);
void msgw_auth_sasl_continue(struct buf *b, const void *data, size_t n);
void msgw_auth_sasl_final(struct buf *b, const void *data, size_t n);
void msgw_parameter_status(struct buf *b, const char *name, const char *value);
void msgw_backend_key(struct buf *b, const void *key, size_t n); /* pid and secret, as one */
void msgw_negotiate_version(struct buf *b, uint32_t minor, const char *const *unknown, size_t n);
void msgw_ready(struct buf *b, char status);
void msgw_command_complete(struct buf *b, const char *tag);
void msgw_empty(struct buf *b, uint8_t type); /* those without a payload: '1' '2' '3' 'n' 'I' 's' */
/* A column of a row description: text format; typlen as the type has it. */
struct msgw_column {
	const char *name;
	uint32_t oid;
	int16_t typlen;
};
void msgw_row_description(struct buf *b, const struct msgw_column *c, size_t n);
void msgw_parameter_description(struct buf *b, const uint32_t *oids, size_t n);
/* A row of texts; NULL is a null. */
void msgw_data_row(struct buf *b, const char *const *values, size_t n);

/* As a client, to servers. */
void msgw_ssl_request(struct buf *b);
/* StartupMessage: begin, append names and values with msgw_cstr(), end. */
uint32_t msgw_startup_begin(struct buf *b, uint16_t minor);
void msgw_startup_end(struct buf *b, uint32_t mark);
void msgw_cancel_request(struct buf *b, const void *key, size_t n);
void msgw_password(struct buf *b, const char *password);
void msgw_sasl_initial(struct buf *b, const char *mechanism, const void *data, size_t n);
void msgw_sasl_response(struct buf *b, const void *data, size_t n);
void msgw_query(struct buf *b, const char *sql);
void msgw_parse(struct buf *b, const char *name, const char *sql);
void msgw_bind_text(struct buf *b, const char *portal, const char *statement, const char *const *values, size_t n);
void msgw_describe(struct buf *b, char what, const char *name);
void msgw_close(struct buf *b, char what, const char *name);
void msgw_execute(struct buf *b, const char *portal);
void msgw_sync(struct buf *b);
void msgw_terminate(struct buf *b);

#endif
