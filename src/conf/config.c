/*
 * config: owns a configuration from its making to its last reference, and what
 * is looked up in it. Called by main at start, by control for RELOAD, by the
 * console for SET, and by all that ask for a database or a user. It runs
 * nothing: what a change means for what runs stands in pool/registry.
 */
#include "conf/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/authfile.h"

#include "config_priv.h"

/* Settings that a header [pgbouncer] and RELOAD leave alone: with PgBouncer their default is NULL. */
static const enum param_id sticky[] = {
	PARAM_auth_file,
	PARAM_client_tls13_ciphers,
	PARAM_server_tls13_ciphers,
	PARAM_conffile,
	PARAM_user,
	PARAM_verbose,
};

#define N_STICKY (sizeof(sticky) / sizeof(sticky[0]))

/* ---- origins ---- */

void config_origin_set(struct config *c, enum param_id id, const char *what, const char *file, int line)
{
	struct setting_origin *o = &c->origin[id];
	char *old = o->file;

	o->what = what;
	o->file = file == NULL ? NULL : xstrdup(MEM_CONFIG, file);
	o->line = line;
	xfree(MEM_CONFIG, old);
}

static void setting_take_over(struct config *to, const struct config *from, enum param_id id)
{
	const struct setting_origin *o = &from->origin[id];

	param_assign(&param_table[id], &to->set, &from->set);
	config_origin_set(to, id, o->what, o->file, o->line);
}

/* ---- entries ---- */

static bool database_has_name(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, const struct config_database, by_name)->name, key) == 0;
}

static bool user_has_name(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, const struct config_user, by_name)->name, key) == 0;
}

void config_database_free(struct config_database *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->n_hosts; i++) {
		xfree(MEM_CONFIG, d->hosts[i].host);
		xfree(MEM_CONFIG, d->hosts[i].zone);
	}
	xfree(MEM_CONFIG, d->hosts);
	xfree(MEM_CONFIG, d->name);
	xfree(MEM_CONFIG, d->dbname);
	xfree(MEM_CONFIG, d->user);
	xfree_secret(MEM_CONFIG, d->password);
	xfree(MEM_CONFIG, d->password_file);
	xfree(MEM_CONFIG, d->connect_query);
	xfree(MEM_CONFIG, d->client_encoding);
	xfree(MEM_CONFIG, d->datestyle);
	xfree(MEM_CONFIG, d->timezone);
	xfree(MEM_CONFIG, d->application_name);
	xfree(MEM_CONFIG, d->file);
	overrides_free(&d->over);
	xfree(MEM_CONFIG, d);
}

void config_user_free(struct config_user *u)
{
	if (u == NULL)
		return;
	xfree(MEM_CONFIG, u->name);
	xfree(MEM_CONFIG, u->file);
	overrides_free(&u->over);
	xfree(MEM_CONFIG, u);
}

static char *copy_text(const char *s)
{
	return s == NULL ? NULL : xstrdup(MEM_CONFIG, s);
}

static struct config_database *database_copy(const struct config_database *from)
{
	struct config_database *d = xcalloc(MEM_CONFIG, 1, sizeof(*d));

	d->name = copy_text(from->name);
	d->dbname = copy_text(from->dbname);
	d->n_hosts = from->n_hosts;
	d->hosts = xcalloc(MEM_CONFIG, from->n_hosts, sizeof(*d->hosts));
	for (size_t i = 0; i < from->n_hosts; i++) {
		d->hosts[i].host = copy_text(from->hosts[i].host);
		d->hosts[i].port = from->hosts[i].port;
		d->hosts[i].zone = copy_text(from->hosts[i].zone);
	}
	d->user = copy_text(from->user);
	d->password = copy_text(from->password);
	d->password_file = copy_text(from->password_file);
	d->connect_query = copy_text(from->connect_query);
	d->client_encoding = copy_text(from->client_encoding);
	d->datestyle = copy_text(from->datestyle);
	d->timezone = copy_text(from->timezone);
	d->application_name = copy_text(from->application_name);
	overrides_copy(&d->over, &from->over);
	d->file = copy_text(from->file);
	d->line = from->line;
	return d;
}

static struct config_user *user_copy(const struct config_user *from)
{
	struct config_user *u = xcalloc(MEM_CONFIG, 1, sizeof(*u));

	u->name = copy_text(from->name);
	overrides_copy(&u->over, &from->over);
	u->file = copy_text(from->file);
	u->line = from->line;
	return u;
}

struct config_database *config_database_put(struct config *c, struct config_database *d)
{
	struct config_database *old = NULL;
	uint64_t hash = hash_str(d->name);
	struct hnode *n;

	if (strcmp(d->name, "*") == 0) {
		old = c->fallback;
		c->fallback = d;
		return old;
	}
	n = htab_find(&c->databases, hash, database_has_name, d->name);
	if (n != NULL) {
		htab_remove(&c->databases, n);
		old = container_of(n, struct config_database, by_name);
	}
	htab_insert(&c->databases, &d->by_name, hash);
	return old;
}

struct config_user *config_user_put(struct config *c, struct config_user *u)
{
	struct config_user *old = NULL;
	uint64_t hash = hash_str(u->name);
	struct hnode *n = htab_find(&c->users, hash, user_has_name, u->name);

	if (n != NULL) {
		htab_remove(&c->users, n);
		old = container_of(n, struct config_user, by_name);
	}
	htab_insert(&c->users, &u->by_name, hash);
	return old;
}

static void peer_wipe(struct config_peer *p)
{
	xfree(MEM_CONFIG, p->host.host);
	xfree(MEM_CONFIG, p->file);
}

void config_peer_put(struct config *c, struct config_peer *p)
{
	size_t i = 0;

	while (i < c->n_peers && c->peers[i].id < p->id)
		i++;
	if (i < c->n_peers && c->peers[i].id == p->id) {
		log_msg(LL_WARNING, "%s:%d: peer %u stood in %s:%d before; this entry counts", p->file, p->line, p->id,
			c->peers[i].file, c->peers[i].line);
		peer_wipe(&c->peers[i]);
	} else {
		c->peers = xrealloc(MEM_CONFIG, c->peers, (c->n_peers + 1) * sizeof(*c->peers));
		memmove(c->peers + i + 1, c->peers + i, (c->n_peers - i) * sizeof(*c->peers));
		c->n_peers++;
	}
	c->peers[i] = *p;
}

static void peers_copy(struct config *to, const struct config *from)
{
	for (size_t i = 0; i < from->n_peers; i++) {
		struct config_peer p = from->peers[i];

		p.host.host = xstrdup(MEM_CONFIG, p.host.host);
		p.file = xstrdup(MEM_CONFIG, p.file);
		config_peer_put(to, &p);
	}
}

/* ---- making and freeing ---- */

static struct config *config_new(const char *path)
{
	struct config *c = xcalloc(MEM_CONFIG, 1, sizeof(*c));

	c->refs = 1;
	c->path = xstrdup(MEM_CONFIG, path);
	c->origin = xcalloc(MEM_CONFIG, PARAM_COUNT, sizeof(*c->origin));
	settings_init(&c->set);
	for (size_t i = 0; i < PARAM_COUNT; i++)
		c->origin[i].what = "default";
	return c;
}

static void config_free(struct config *c)
{
	struct hnode *n, *next;

	for (n = htab_next(&c->databases, NULL); n != NULL; n = next) {
		next = htab_next(&c->databases, n);
		config_database_free(container_of(n, struct config_database, by_name));
	}
	for (n = htab_next(&c->users, NULL); n != NULL; n = next) {
		next = htab_next(&c->users, n);
		config_user_free(container_of(n, struct config_user, by_name));
	}
	htab_free(&c->databases);
	htab_free(&c->users);
	config_database_free(c->fallback);
	for (size_t i = 0; i < c->n_peers; i++)
		peer_wipe(&c->peers[i]);
	xfree(MEM_CONFIG, c->peers);
	auth_file_free(c->auth);
	settings_free(&c->set);
	for (size_t i = 0; i < PARAM_COUNT; i++)
		xfree(MEM_CONFIG, c->origin[i].file);
	xfree(MEM_CONFIG, c->origin);
	xfree(MEM_CONFIG, c->path);
	xfree(MEM_CONFIG, c);
}

struct config *config_ref(struct config *c)
{
	c->refs++;
	return c;
}

void config_unref(struct config **c)
{
	if (*c == NULL)
		return;
	assert((*c)->refs > 0);
	if (--(*c)->refs == 0)
		config_free(*c);
	*c = NULL;
}

static struct config *config_copy(const struct config *from)
{
	struct config *c = config_new(from->path);
	struct hnode *n;

	for (size_t i = 0; i < PARAM_COUNT; i++)
		setting_take_over(c, from, (enum param_id)i);
	for (n = htab_next(&from->databases, NULL); n != NULL; n = htab_next(&from->databases, n))
		config_database_put(c, database_copy(container_of(n, struct config_database, by_name)));
	if (from->fallback != NULL)
		c->fallback = database_copy(from->fallback);
	for (n = htab_next(&from->users, NULL); n != NULL; n = htab_next(&from->users, n))
		config_user_put(c, user_copy(container_of(n, struct config_user, by_name)));
	peers_copy(c, from);
	c->auth = auth_file_copy(from->auth);
	return c;
}

/* conffile names the file of the next RELOAD; without it, it is the one that was read. */
static void settle_conffile(struct config *c)
{
	char *old = c->path;

	if (c->set.conffile[0] == '\0') {
		xfree(MEM_CONFIG, c->set.conffile);
		c->set.conffile = xstrdup(MEM_CONFIG, c->path);
		return;
	}
	c->path = xstrdup(MEM_CONFIG, c->set.conffile);
	xfree(MEM_CONFIG, old);
}

/* text, n: in place of what is in path, or NULL. old: what the sticky settings begin with, or NULL. */
static struct config *load(const char *path, const char *text, size_t n, const struct config *old, struct errs *errs)
{
	struct config *c = config_new(path);
	struct loader l = {.c = c, .errs = errs, .take = config_take};
	size_t before = errs->total;

	for (size_t i = 0; old != NULL && i < N_STICKY; i++)
		setting_take_over(c, old, sticky[i]);
	config_read(&l, path, text, n);
	c->auth = auth_file_load(c->set.auth_file, errs);
	config_check(c, errs);
	if (errs->total != before) {
		config_unref(&c);
		return NULL;
	}
	settle_conffile(c);
	config_warn(c);
	return c;
}

struct config *config_load(const char *path, struct errs *errs)
{
	return load(path, NULL, 0, NULL, errs);
}

struct config *config_parse(const char *name, const char *text, size_t n, struct errs *errs)
{
	return load(name, text, n, NULL, errs);
}

struct config *config_reload(const struct config *old, struct errs *errs)
{
	struct config *c = load(old->path, NULL, 0, old, errs);

	if (c != NULL)
		config_keep_fixed(old, c);
	return c;
}

void config_settings_begin(struct loader *l)
{
	struct settings defaults;
	bool lost = false;

	settings_init(&defaults);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		bool keeps = false;

		for (size_t k = 0; k < N_STICKY; k++)
			keeps = keeps || sticky[k] == i;
		if (keeps || l->c->origin[i].file == NULL)
			continue;
		param_assign(&param_table[i], &l->c->set, &defaults);
		config_origin_set(l->c, (enum param_id)i, "default", NULL, 0);
		lost = true;
	}
	settings_free(&defaults);
	if (lost)
		log_msg(LL_WARNING,
			"%s:%d: the section of the settings again: those read before go back to their defaults",
			l->file, l->line);
}

/* ---- SET and RELOAD ---- */

/* Parses value into c and loads what it names. False and entries in errs when it cannot be. */
static bool setting_apply(struct config *c, const struct param *p, const char *value, struct errs *errs)
{
	size_t before = errs->total;
	char why[256];

	if (!param_parse(p, value, &c->set, why, sizeof(why))) {
		errs_add(errs, NULL, 0, "%s %s", p->name, why);
		return false;
	}
	config_origin_set(c, (enum param_id)(p - param_table), "console", NULL, 0);
	if (p == &param_table[PARAM_conffile])
		settle_conffile(c);
	if (p == &param_table[PARAM_auth_file]) {
		auth_file_free(c->auth);
		c->auth = auth_file_load(c->set.auth_file, errs);
	}
	config_check(c, errs);
	return errs->total == before;
}

struct config *config_with(const struct config *old, const char *name, const char *value, struct errs *errs)
{
	const struct param *p = param_find(name);
	struct config *c;

	if (p == NULL) {
		const char *near = param_nearest(name, PS_GLOBAL);

		errs_add(errs, NULL, 0, "unknown setting \"%s\"%s%s%s", name,
			near == NULL ? "" : "; the nearest known one is \"", near == NULL ? "" : near,
			near == NULL ? "" : "\"");
		return NULL;
	}
	if (p->restart) {
		errs_add(errs, NULL, 0, "%s cannot change without a restart", p->name);
		return NULL;
	}
	c = config_copy(old);
	if (!setting_apply(c, p, value, errs))
		config_unref(&c);
	return c;
}

void config_keep_fixed(const struct config *old, struct config *fresh)
{
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		const struct param *p = &param_table[i];
		char buf[PARAM_TEXT];

		if (!p->restart || param_equal(p, &old->set, &fresh->set))
			continue;
		log_msg(LL_WARNING, "%s cannot change without a restart: it stays \"%s\"", p->name,
			param_print(p, &old->set, buf, sizeof(buf)));
		setting_take_over(fresh, old, (enum param_id)i);
	}
}

/* ---- look-ups ---- */

bool config_is_set(const struct config *c, enum param_id id)
{
	return strcmp(c->origin[id].what, "default") != 0;
}

const struct config_database *config_database_find(const struct config *c, const char *name)
{
	struct hnode *n;

	if (strcmp(name, "pgbouncer") == 0 || strcmp(name, "psbouncer") == 0)
		return NULL;
	n = htab_find(&c->databases, hash_str(name), database_has_name, name);
	return n == NULL ? c->fallback : container_of(n, struct config_database, by_name);
}

const struct config_user *config_user_find(const struct config *c, const char *name)
{
	struct hnode *n = htab_find(&c->users, hash_str(name), user_has_name, name);

	return n == NULL ? NULL : container_of(n, struct config_user, by_name);
}

const struct auth_entry *config_auth_find(const struct config *c, const char *user)
{
	return auth_file_find(c->auth, user);
}

static bool list_has(const char *list, const char *name, int (*compare)(const char *, const char *, size_t))
{
	static const char space[] = " \t\r\n\f\v";
	size_t len = strlen(name);

	for (;;) {
		size_t n;

		list += strspn(list, space);
		n = strcspn(list, ",");
		while (n > 0 && strchr(space, list[n - 1]) != NULL)
			n--;
		if (n > 0 && n == len && compare(list, name, n) == 0)
			return true;
		list += strcspn(list, ",");
		if (*list == '\0')
			return false;
		list++;
	}
}

bool config_list_has(const char *list, const char *name)
{
	return list_has(list, name, strncmp);
}

bool config_list_has_parameter(const char *list, const char *name)
{
	return list_has(list, name, strncasecmp);
}

static bool text_differs(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

bool config_database_differs(const struct config_database *a, const struct config_database *b)
{
	if (a->n_hosts != b->n_hosts)
		return true;
	for (size_t i = 0; i < a->n_hosts; i++)
		if (strcmp(a->hosts[i].host, b->hosts[i].host) != 0 || a->hosts[i].port != b->hosts[i].port)
			return true;
	return text_differs(a->dbname, b->dbname) || text_differs(a->user, b->user) ||
	       text_differs(a->connect_query, b->connect_query) ||
	       text_differs(a->client_encoding, b->client_encoding) || text_differs(a->datestyle, b->datestyle) ||
	       text_differs(a->timezone, b->timezone) || text_differs(a->application_name, b->application_name);
}
