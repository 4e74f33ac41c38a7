/*
 * saslprep: RFC 4013 as PostgreSQL applies it to passwords before SCRAM hashes
 * them (src/common/saslprep.c there): ASCII stays as it is, and what is not
 * UTF-8, or holds a prohibited character, is used raw.
 *
 * Known limit: of the normalisation (NFKC) the characters below U+0300 are
 * done in full; those from there on are taken as normalised already, which
 * text that was typed on a keyboard is. So a password with, say, full-width
 * letters or a combining accent can differ from what PostgreSQL hashed; a
 * SCRAM secret in auth_file then has the same limit and such a password must be
 * changed.
 */
#ifndef PSBOUNCER_AUTH_SASLPREP_H
#define PSBOUNCER_AUTH_SASLPREP_H

/* The prepared password (MEM_LOGIN; xfree_secret()), which may be a plain copy. */
char *saslprep(const char *password) __attribute__((warn_unused_result));

#endif
