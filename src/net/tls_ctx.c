/*
 * tls_ctx: TLS contexts. Turns settings and files into an SSL_CTX once, says
 * what is wrong with them in words, and keeps the sessions that connections to
 * servers resume. A context is never changed: a reload makes a new one, and
 * connections hold a reference to theirs. It knows nothing of streams (tls.c).
 */
#include "tls_priv.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"

static bool is_set(const char *s)
{
	return s && *s;
}

/* Why the last OpenSSL call failed; empties the queue. */
static const char *why(void)
{
	unsigned long code = ERR_peek_error();
	const char *text = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

	ERR_clear_error();
	return text ? text : "unknown OpenSSL error";
}

/* OpenSSL's own words for a file that is not there are poor: look first. */
static bool can_read(const char *where, const char *what, const char *file, struct errs *errs)
{
	FILE *f = fopen(file, "re");

	if (!f) {
		errs_add(errs, NULL, 0, "%s_%s: cannot open \"%s\": %s", where, what, file, strerror(errno));
		return false;
	}
	fclose(f);
	return true;
}

/* An encrypted key is refused: nobody could be asked for the passphrase, and OpenSSL would ask the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return 0;
}

static bool load_key(SSL_CTX *ssl, const struct tls_options *o, const char *where, struct errs *errs)
{
	bool loaded;

	if (!can_read(where, "cert_file", o->cert_file, errs) || !can_read(where, "key_file", o->key_file, errs))
		return false;
	SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ssl, o->cert_file) != 1) {
		errs_add(errs, NULL, 0, "%s_cert_file: no usable certificate in \"%s\": %s", where, o->cert_file,
			why());
		return false;
	}
	/* A key of another type than the certificate's is taken at first, and found out by the check. */
	loaded = SSL_CTX_use_PrivateKey_file(ssl, o->key_file, SSL_FILETYPE_PEM) == 1;
	if (loaded && SSL_CTX_check_private_key(ssl) == 1)
		return true;
	if (loaded || ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_X509)
		errs_add(errs, NULL, 0, "%s_key_file: the key in \"%s\" does not fit the certificate in \"%s\"", where,
			o->key_file, o->cert_file);
	else
		errs_add(errs, NULL, 0, "%s_key_file: no usable key in \"%s\" (it must not have a passphrase): %s",
			where, o->key_file, why());
	ERR_clear_error();
	return false;
}

static bool load_own(struct tls_ctx *c, const struct tls_options *o, const char *where, struct errs *errs)
{
	if (is_set(o->key_file) && is_set(o->cert_file))
		return load_key(c->ssl, o, where, errs);
	if (is_set(o->key_file) != is_set(o->cert_file)) {
		errs_add(errs, NULL, 0, "%s_key_file and %s_cert_file must be set together", where, where);
		return false;
	}
	if (c->accepting && o->mode != TLS_DISABLE) {
		errs_add(errs, NULL, 0, "%s_sslmode needs %s_key_file and %s_cert_file", where, where, where);
		return false;
	}
	return true;
}

/* A client's certificate that nobody insists on: it counts when it is good (tls_peer_verified), and if not does no harm. */
static int verify_leniently(int ok, X509_STORE_CTX *store)
{
	(void)ok, (void)store;
	return 1;
}

static bool load_ca(struct tls_ctx *c, const struct tls_options *o, const char *where, struct errs *errs)
{
	bool strict = o->mode >= TLS_VERIFY_CA;
	STACK_OF(X509_NAME) * names;

	if (!is_set(o->ca_file)) {
		if (!strict)
			return true;
		if (c->accepting) {
			errs_add(errs, NULL, 0, "%s_sslmode needs %s_ca_file to verify certificates", where, where);
			return false;
		}
		/* As PgBouncer: the system's authorities. */
		SSL_CTX_set_default_verify_paths(c->ssl);
		SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
		return true;
	}
	if (!can_read(where, "ca_file", o->ca_file, errs))
		return false;
	if (SSL_CTX_load_verify_file(c->ssl, o->ca_file) != 1) {
		errs_add(errs, NULL, 0, "%s_ca_file: no usable certificate in \"%s\": %s", where, o->ca_file, why());
		return false;
	}
	if (!c->accepting) {
		SSL_CTX_set_verify(c->ssl, strict ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
		return true;
	}
	/*
	 * A session brings the certificate that was good when it began, and each resumption may begin another one: who
	 * once had a good one would be let in for ever. PostgreSQL has no tickets at all.
	 */
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(c->ssl, 0);
	/* The names go to clients, so that they can choose a certificate. */
	names = SSL_load_client_CA_file(o->ca_file);
	if (names)
		SSL_CTX_set_client_CA_list(c->ssl, names);
	if (strict)
		SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	else
		SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, verify_leniently);
	return true;
}

static const struct {
	const char *word;
	unsigned versions; /* bit i: TLS 1.i */
} protocol_words[] = {
	{"secure", 1u << 2 | 1u << 3},
	{"all", 15},
	{"tlsv1.0", 1u << 0},
	{"tlsv1.1", 1u << 1},
	{"tlsv1.2", 1u << 2},
	{"tlsv1.3", 1u << 3},
};

/* The bits of a comma separated list; 0 after an error. */
static unsigned parse_protocols(const char *list, const char *where, struct errs *errs)
{
	unsigned versions = 0;

	while (*list) {
		size_t n = strcspn(list, ", \t"), i;

		for (i = 0; n && i < sizeof(protocol_words) / sizeof(protocol_words[0]); i++)
			if (strlen(protocol_words[i].word) == n && !strncasecmp(protocol_words[i].word, list, n))
				break;
		if (n && i == sizeof(protocol_words) / sizeof(protocol_words[0])) {
			errs_add(errs, NULL, 0,
				"%s_protocols: unknown protocol \"%.*s\" (known: secure, all, tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3)",
				where, (int)n, list);
			return 0;
		}
		if (n)
			versions |= protocol_words[i].versions;
		list += n + (list[n] != 0);
	}
	if (!versions)
		errs_add(errs, NULL, 0, "%s_protocols: the list is empty", where);
	return versions;
}

static bool set_protocols(SSL_CTX *ssl, const struct tls_options *o, const char *where, struct errs *errs)
{
	static const int number[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
	static const uint64_t off[] = {SSL_OP_NO_TLSv1, SSL_OP_NO_TLSv1_1, SSL_OP_NO_TLSv1_2, SSL_OP_NO_TLSv1_3};
	unsigned versions = parse_protocols(is_set(o->protocols) ? o->protocols : "secure", where, errs);
	int lowest = -1, highest = -1;

	if (!versions)
		return false;
	for (int i = 0; i < 4; i++) {
		if (!(versions & 1u << i)) {
			SSL_CTX_set_options(ssl, off[i]);
			continue;
		}
		lowest = lowest < 0 ? i : lowest;
		highest = i;
	}
	/* The bounds as well: the system's openssl.cnf may have set narrower ones. */
	SSL_CTX_set_min_proto_version(ssl, number[lowest]);
	SSL_CTX_set_max_proto_version(ssl, number[highest]);
	return true;
}

static bool is_word(const char *s, const char *word)
{
	return !strcasecmp(s, word);
}

static bool set_ciphers(SSL_CTX *ssl, const struct tls_options *o, const char *where, struct errs *errs)
{
	const char *given = is_set(o->ciphers) ? o->ciphers : "default";
	bool no_ecdhe = is_set(o->ecdhcurve) && is_word(o->ecdhcurve, "none");
	bool ok = true;

	if (is_word(given, "default") || is_word(given, "secure") || is_word(given, "fast") || is_word(given, "normal"))
		given = no_ecdhe ? OSSL_default_cipher_list() : NULL; /* NULL: what OpenSSL and its openssl.cnf have */
	else if (is_word(given, "all"))
		given = "ALL";
	if (given) {
		/* TLS 1.3 knows no key exchange without a group; older versions can do without. */
		char *list = xasprintf(MEM_TLS, "%s%s", given, no_ecdhe ? ":!kECDHE" : "");

		ok = SSL_CTX_set_cipher_list(ssl, list) == 1;
		if (!ok)
			errs_add(errs, NULL, 0, "%s_ciphers: no usable cipher in \"%s\": %s", where, o->ciphers, why());
		xfree(MEM_TLS, list);
	}
	if (is_set(o->ciphers13) && SSL_CTX_set_ciphersuites(ssl, o->ciphers13) != 1) {
		errs_add(errs, NULL, 0, "%s13_ciphers: no usable cipher in \"%s\": %s", where, o->ciphers13, why());
		ok = false;
	}
	return ok;
}

static bool set_key_exchange(SSL_CTX *ssl, const struct tls_options *o, const char *where, struct errs *errs)
{
	const char *curve = is_set(o->ecdhcurve) ? o->ecdhcurve : "auto";
	const char *dhe = is_set(o->dheparams) ? o->dheparams : "auto";
	bool ok = true;

	if (!is_word(curve, "auto") && !is_word(curve, "none") && SSL_CTX_set1_groups_list(ssl, curve) != 1) {
		errs_add(errs, NULL, 0, "%s_ecdhcurve: unknown curve \"%s\" (auto, none or a curve's name)", where,
			curve);
		ERR_clear_error();
		ok = false;
	}
	if (is_word(dhe, "auto")) {
		SSL_CTX_set_dh_auto(ssl, 1);
	} else if (!is_word(dhe, "none")) {
		errs_add(errs, NULL, 0, "%s_dheparams: unknown word \"%s\" (known: auto, none)", where, dhe);
		ok = false;
	}
	return ok;
}

static void set_constants(struct tls_ctx *c)
{
	static const unsigned char id[] = "psbouncer";

	SSL_CTX_set_mode(c->ssl,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* One read() a record, not two (its five bytes of head, then the rest). */
	SSL_CTX_set_read_ahead(c->ssl, 1);
	if (!c->accepting) {
		SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_set_alpn_protos(c->ssl, (const unsigned char *)TLS_ALPN, TLS_ALPN_LEN);
		return;
	}
	/*
	 * Sessions live in tickets at the client and nowhere else. The key of the
	 * tickets is this context's: after a reload the old ones are not taken.
	 * One ticket a connection is enough: each resumption brings the next. Where
	 * clients show certificates there are none: load_ca().
	 */
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(c->ssl, id, sizeof(id) - 1);
	SSL_CTX_set_num_tickets(c->ssl, 1);
	SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
}

struct tls_ctx *tls_ctx_new(const struct tls_options *o, bool accepting, const char *where, struct errs *errs)
{
	struct tls_ctx *c = xcalloc(MEM_TLS, 1, sizeof(*c));
	bool ok;

	c->refs = 1;
	c->accepting = accepting;
	c->mode = o->mode;
	ERR_clear_error();
	c->ssl = SSL_CTX_new(accepting ? TLS_server_method() : TLS_client_method());
	c->bio = tls_bio_new();
	if (!c->ssl || !c->bio) {
		errs_add(errs, NULL, 0, "%s: OpenSSL gives no context: %s", where, why());
		tls_ctx_unref(&c);
		return NULL;
	}
	if (!accepting)
		c->sessions = xcalloc(MEM_TLS, TLS_SESSIONS, sizeof(*c->sessions));
	set_constants(c);
	tls_install_callbacks(c);
	/* All of them, so that all that is wrong is said at once. */
	ok = set_protocols(c->ssl, o, where, errs);
	ok &= set_ciphers(c->ssl, o, where, errs);
	ok &= set_key_exchange(c->ssl, o, where, errs);
	ok &= load_own(c, o, where, errs);
	ok &= load_ca(c, o, where, errs);
	ERR_clear_error();
	if (!ok)
		tls_ctx_unref(&c);
	return c;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
	if (c) {
		assert(c->refs);
		c->refs++;
	}
	return c;
}

void tls_ctx_unref(struct tls_ctx **cp)
{
	struct tls_ctx *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	assert(c->refs);
	if (--c->refs)
		return;
	for (size_t i = 0; c->sessions && i < TLS_SESSIONS; i++) {
		SSL_SESSION_free(c->sessions[i].session);
		xfree(MEM_TLS, c->sessions[i].key);
	}
	xfree(MEM_TLS, c->sessions);
	SSL_CTX_free(c->ssl);
	BIO_meth_free(c->bio);
	xfree(MEM_TLS, c);
}

bool tls_key_file_is_open(const char *file)
{
	struct stat st;

	return is_set(file) && stat(file, &st) == 0 && (st.st_mode & S_IROTH);
}

const char *tls_library(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

static struct tls_session *find_slot(struct tls_ctx *c, const char *key)
{
	for (size_t i = 0; i < TLS_SESSIONS; i++)
		if (c->sessions[i].key && !strcmp(c->sessions[i].key, key))
			return &c->sessions[i];
	return NULL;
}

/* What was verified then is not now. */
static bool has_expired(SSL_SESSION *session)
{
	const X509 *peer = SSL_SESSION_get0_peer(session);

	return peer && X509_cmp_current_time(X509_get0_notAfter(peer)) < 0;
}

SSL_SESSION *tls_session_find(struct tls_ctx *c, const char *key)
{
	struct tls_session *s = find_slot(c, key);

	if (!s)
		return NULL;
	if (has_expired(s->session)) {
		tls_session_drop(c, key);
		return NULL;
	}
	s->used = ++c->session_clock;
	return s->session;
}

void tls_session_keep(struct tls_ctx *c, const char *key, SSL_SESSION *session)
{
	struct tls_session *s = find_slot(c, key);

	if (!s) {
		/* An empty slot was never used, so it is the least used as well. */
		s = &c->sessions[0];
		for (size_t i = 1; i < TLS_SESSIONS; i++)
			if (c->sessions[i].used < s->used)
				s = &c->sessions[i];
		xfree(MEM_TLS, s->key);
		s->key = xstrdup(MEM_TLS, key);
	}
	SSL_SESSION_free(s->session);
	s->session = session;
	s->used = ++c->session_clock;
}

void tls_session_drop(struct tls_ctx *c, const char *key)
{
	struct tls_session *s = find_slot(c, key);

	if (!s)
		return;
	SSL_SESSION_free(s->session);
	xfree(MEM_TLS, s->key);
	*s = (struct tls_session){0};
}
