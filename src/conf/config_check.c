/*
 * config_check: what must fit together in a whole configuration. Called by
 * config after reading, and for each SET. What is in certificates and keys is
 * looked at by net/tls; here they must only be there and readable.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/file.h"

#include "config_priv.h"

/* In the order of the words of client_tls_sslmode and server_tls_sslmode. */
enum { MODE_DISABLE, MODE_ALLOW, MODE_PREFER, MODE_REQUIRE, MODE_VERIFY_CA, MODE_VERIFY_FULL };

static const char *text_of(const struct config *c, enum param_id id)
{
	return *(char *const *)(const void *)((const char *)&c->set + param_table[id].offset);
}

/* An error at the line where id was set. */
static void fault(const struct config *c, struct errs *errs, enum param_id id, const char *text)
{
	const struct setting_origin *o = &c->origin[id];

	errs_add(errs, o->file, o->line, "%s %s", param_table[id].name, text);
}

static void check_readable(const struct config *c, struct errs *errs, enum param_id id)
{
	char why[256], text[300];

	if (text_of(c, id)[0] == '\0' || file_can_read(text_of(c, id), why, sizeof(why)))
		return;
	snprintf(text, sizeof(text), "cannot be read: %s", why);
	fault(c, errs, id, text);
}

static void check_client_tls(const struct config *c, struct errs *errs)
{
	const struct settings *s = &c->set;
	bool key = s->client_tls_key_file[0] != '\0', cert = s->client_tls_cert_file[0] != '\0';

	if (s->auth_type == AUTH_CERT && s->client_tls_sslmode < MODE_VERIFY_CA)
		fault(c, errs, PARAM_auth_type, "cert needs client_tls_sslmode verify-ca or verify-full");
	if (s->client_tls_sslmode == MODE_DISABLE)
		return;
	if (key != cert)
		fault(c, errs, key ? PARAM_client_tls_key_file : PARAM_client_tls_cert_file,
			key ? "needs client_tls_cert_file too" : "needs client_tls_key_file too");
	else if (!key && s->client_tls_sslmode >= MODE_REQUIRE)
		fault(c, errs, PARAM_client_tls_sslmode, "needs client_tls_key_file and client_tls_cert_file");
	if (s->client_tls_sslmode >= MODE_VERIFY_CA && s->client_tls_ca_file[0] == '\0')
		fault(c, errs, PARAM_client_tls_sslmode, "needs client_tls_ca_file");
	check_readable(c, errs, PARAM_client_tls_key_file);
	check_readable(c, errs, PARAM_client_tls_cert_file);
	check_readable(c, errs, PARAM_client_tls_ca_file);
}

static void check_server_tls(const struct config *c, struct errs *errs)
{
	const struct settings *s = &c->set;
	bool key = s->server_tls_key_file[0] != '\0', cert = s->server_tls_cert_file[0] != '\0';

	if (s->server_tls_sslnegotiation == SSLNEG_DIRECT && s->server_tls_sslmode < MODE_REQUIRE)
		fault(c, errs, PARAM_server_tls_sslnegotiation, "direct needs server_tls_sslmode require or stronger");
	if (s->server_tls_sslmode == MODE_DISABLE)
		return;
	if (key != cert)
		fault(c, errs, key ? PARAM_server_tls_key_file : PARAM_server_tls_cert_file,
			key ? "needs server_tls_cert_file too" : "needs server_tls_key_file too");
	check_readable(c, errs, PARAM_server_tls_key_file);
	check_readable(c, errs, PARAM_server_tls_cert_file);
	check_readable(c, errs, PARAM_server_tls_ca_file);
}

static void check_database(const struct config *c, struct errs *errs, const struct config_database *d)
{
	char why[256];

	if (c->set.auth_type == AUTH_ANY && d->user == NULL)
		errs_add(errs, d->file, d->line, "database \"%s\": auth_type any needs user in every database",
			d->name);
	if (override_has(&d->over, PARAM_server_tls_sslnegotiation) &&
		d->over.set->server_tls_sslnegotiation == SSLNEG_DIRECT && c->set.server_tls_sslmode < MODE_REQUIRE)
		errs_add(errs, d->file, d->line,
			"database \"%s\": server_tls_sslnegotiation direct needs server_tls_sslmode require or stronger",
			d->name);
	if (d->password_file != NULL && !file_can_read(d->password_file, why, sizeof(why)))
		errs_add(errs, d->file, d->line, "database \"%s\": password_file cannot be read: %s", d->name, why);
}

static int by_place(const void *a, const void *b)
{
	const struct config_database *const *x = a, *const *y = b;
	int files = strcmp((*x)->file, (*y)->file);

	return files != 0 ? files : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

/* All databases in the order of their lines, so that errors are in it too. *n of them; free with xfree(). */
static const struct config_database **all_databases(const struct config *c, size_t *n)
{
	const struct config_database **all = xcalloc(MEM_CONFIG, c->databases.count + 1, sizeof(*all));

	*n = 0;
	for (struct hnode *h = htab_next(&c->databases, NULL); h != NULL; h = htab_next(&c->databases, h))
		all[(*n)++] = container_of(h, struct config_database, by_name);
	if (c->fallback != NULL)
		all[(*n)++] = c->fallback;
	qsort(all, *n, sizeof(*all), by_place);
	return all;
}

void config_check(const struct config *c, struct errs *errs)
{
	size_t n;
	const struct config_database **all = all_databases(c, &n);

	if (!log_can_open(c->set.logfile)) {
		char text[300];

		snprintf(text, sizeof(text), "cannot be written: %s", strerror(errno));
		fault(c, errs, PARAM_logfile, text);
	}
	check_client_tls(c, errs);
	check_server_tls(c, errs);
	for (size_t i = 0; i < n; i++)
		check_database(c, errs, all[i]);
	xfree(MEM_CONFIG, all);
}

void config_locate(const struct config *c, struct errs *errs, size_t from)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	char name[64];

	for (size_t i = from; i < errs->n; i++) {
		struct err *one = &errs->v[i];
		const struct param *p;
		const struct setting_origin *o;

		snprintf(name, sizeof(name), "%.*s", (int)strspn(one->text, letters), one->text);
		p = param_find(name);
		o = p != NULL ? &c->origin[p - param_table] : NULL;
		if (one->file != NULL || o == NULL || o->file == NULL)
			continue;
		one->file = xstrdup(MEM_CONFIG, o->file);
		one->line = o->line;
	}
}

/* ---- what is odd but works ---- */

static void warn_database(const struct config *c, const struct config_database *d)
{
	if (d->password != NULL && d->user == NULL)
		log_msg(LL_WARNING, "%s:%d: database \"%s\": password without user is not used", d->file, d->line,
			d->name);
	if (d->hosts[0].host[0] == '\0' && c->set.unix_socket_dir[0] == '\0')
		log_msg(LL_WARNING, "%s:%d: database \"%s\" has no host, and unix_socket_dir is empty", d->file,
			d->line, d->name);
}

void config_warn(const struct config *c)
{
	size_t n;
	const struct config_database **all = all_databases(c, &n);

	for (size_t i = 0; i < n; i++)
		warn_database(c, all[i]);
	xfree(MEM_CONFIG, all);
}
