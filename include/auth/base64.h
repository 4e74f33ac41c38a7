/*
 * base64: RFC 4648 section 4, strictly: full groups, padding where it belongs,
 * no spaces, and no spare bits that are not zero. SCRAM messages and secrets
 * hold it.
 */
#ifndef PSBOUNCER_AUTH_BASE64_H
#define PSBOUNCER_AUTH_BASE64_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Characters that n bytes become, without a NUL. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_LEN(n) characters and a NUL. */
void base64_encode(const uint8_t *in, size_t n, char *out);
/* The number of bytes, or -1: not base64, or more than max bytes. */
ssize_t base64_decode(const char *in, size_t n, uint8_t *out, size_t max);

#endif
