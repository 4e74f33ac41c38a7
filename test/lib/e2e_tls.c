/*
 * e2e_tls: certificates of the tests, made by the openssl program as the
 * unprivileged user. Two authorities: ours, and one that nobody trusts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/e2e_priv.h"

static char *folder;

static char *path_of(const char *name, const char *suffix)
{
	return e2e_text("%s/%s%s", folder, name, suffix);
}

static void make_key(const char *name)
{
	e2e_command((const char *[]){"openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-out", path_of(name, ".key"), NULL});
	if (chmod(path_of(name, ".key"), 0600) != 0)
		fail_msg("chmod of %s.key", name);
}

static void make_authority(const char *name, const char *cn)
{
	make_key(name);
	e2e_command((const char *[]){"openssl", "req", "-new", "-x509", "-days", "3", "-subj", e2e_text("/CN=%s", cn),
		"-key", path_of(name, ".key"), "-out", path_of(name, ".crt"), NULL});
}

const char *tls_issue(const char *name, const char *cn, const char *san, int days, bool other_ca)
{
	const char *ca = other_ca ? "other-ca" : "ca";
	char *ext;

	tls_dir();
	ext = path_of(name, ".ext");
	make_key(name);
	e2e_write(ext, 0644, san ? e2e_text("subjectAltName=%s\n", san) : "basicConstraints=CA:FALSE\n");
	e2e_command((const char *[]){"openssl", "req", "-new", "-subj", e2e_text("/CN=%s", cn), "-key",
		path_of(name, ".key"), "-out", path_of(name, ".csr"), NULL});
	e2e_command((const char *[]){"openssl", "x509", "-req", "-in", path_of(name, ".csr"), "-CA",
		path_of(ca, ".crt"), "-CAkey", path_of(ca, ".key"), "-CAcreateserial", "-days", e2e_text("%d", days),
		"-extfile", ext, "-out", path_of(name, ".crt"), NULL});
	return path_of(name, ".crt");
}

const char *tls_dir(void)
{
	if (folder)
		return folder;
	folder = e2e_make_folder("tls", 0755);
	make_authority("ca", "psbouncer test CA");
	make_authority("other-ca", "another CA");
	tls_issue("server", "localhost", "DNS:localhost,IP:127.0.0.1", 3, false);
	return folder;
}
