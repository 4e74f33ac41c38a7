/*
 * certs: see certs.h. A failure here is one of the machine, so it ends the test.
 */
#include "lib/certs.h"

#include <assert.h>
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *certs_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	char *folder = NULL;

	assert(asprintf(&folder, "%s/psbouncer-certs-XXXXXX", tmp != NULL ? tmp : "/tmp") > 0);
	assert(mkdtemp(folder) != NULL);
	return folder;
}

const char *certs_path(const char *folder, const char *name, const char *suffix)
{
	static char buf[8][512];
	static unsigned turn;
	char *p = buf[turn++ % 8];

	snprintf(p, sizeof buf[0], "%s/%s.%s", folder, name, suffix);
	return p;
}

void certs_remove(char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;

	assert(d != NULL);
	while ((e = readdir(d)) != NULL)
		(void)unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	(void)rmdir(folder);
	free(folder);
}

static EVP_PKEY *make_key(const char *kind)
{
	EVP_PKEY *key;

	if (kind == NULL)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	else if (strcmp(kind, "RSA") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	else
		key = EVP_PKEY_Q_keygen(NULL, NULL, kind);
	assert(key != NULL);
	return key;
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert(e != NULL);
	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
}

static void write_pem(const char *folder, const char *name, EVP_PKEY *key, X509 *cert)
{
	FILE *f = fopen(certs_path(folder, name, "key"), "w");

	assert(f != NULL && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
	fclose(f);
	f = fopen(certs_path(folder, name, "crt"), "w");
	assert(f != NULL && PEM_write_X509(f, cert) == 1);
	fclose(f);
}

void certs_make(const char *folder, const struct cert *c)
{
	EVP_PKEY *key = make_key(c->key), *signer = key;
	X509 *cert = X509_new(), *issuer = cert;
	X509_NAME *subject;
	const EVP_MD *md = c->digest != NULL && *c->digest == '\0'
				   ? NULL
				   : EVP_get_digestbyname(c->digest != NULL ? c->digest : "SHA256");
	static long serial;
	FILE *f;

	if (c->issuer != NULL) {
		f = fopen(certs_path(folder, c->issuer, "key"), "r");
		signer = PEM_read_PrivateKey(f, NULL, NULL, NULL);
		fclose(f);
		f = fopen(certs_path(folder, c->issuer, "crt"), "r");
		issuer = PEM_read_X509(f, NULL, NULL, NULL);
		fclose(f);
		assert(signer != NULL && issuer != NULL);
	}
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), c->expired ? -60 : 86400);
	subject = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)c->name, -1, -1, 0);
	if (c->cn != NULL)
		X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)c->cn,
			(int)(c->cn_len != 0 ? c->cn_len : strlen(c->cn)), -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(issuer));
	X509_set_pubkey(cert, key);
	extend(cert, issuer, NID_basic_constraints, c->issuer != NULL ? "CA:FALSE" : "critical,CA:TRUE");
	if (c->san != NULL)
		extend(cert, issuer, NID_subject_alt_name, c->san);
	assert(X509_sign(cert, signer, md) > 0);
	write_pem(folder, c->name, key, cert);
	if (issuer != cert) {
		X509_free(issuer);
		EVP_PKEY_free(signer);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
}
