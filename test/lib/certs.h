/*
 * certs: keys and certificates for unit tests, made through OpenSSL into a
 * folder of the test's own. (The end-to-end tests use the openssl program.)
 */
#ifndef PSBOUNCER_TEST_CERTS_H
#define PSBOUNCER_TEST_CERTS_H

#include <stdbool.h>
#include <stddef.h>

struct cert {
	const char *name;   /* NAME.key and NAME.crt in the folder */
	const char *cn;	    /* NULL: no common name */
	size_t cn_len;	    /* 0: strlen(cn) */
	const char *san;    /* as in "DNS:a.example,IP:127.0.0.1"; NULL: none */
	const char *issuer; /* name of another; NULL: signs itself and is an authority */
	const char *key;    /* NULL: EC P-256; RSA, ED25519 */
	const char *digest; /* NULL: SHA256; "": none, for ED25519 */
	bool expired;
};

/* A new folder under TMPDIR or /tmp. */
char *certs_folder(void);
void certs_make(const char *folder, const struct cert *c);
/* "FOLDER/NAME.SUFFIX" in one of a few static buffers. */
const char *certs_path(const char *folder, const char *name, const char *suffix);
/* Removes the folder with all that is in it, and frees the name. */
void certs_remove(char *folder);

#endif
