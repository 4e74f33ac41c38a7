/*
 * config_entry: what NAME = value means in each section. Called by config_read
 * with l->file and l->line set. It sees one line at a time; what must fit
 * together stands in config_check.c. No value of a [databases] line stands in an
 * error text: it may be a password.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/connstr.h"

#include "config_priv.h"

/* The longest unix socket folder: what sockaddr_un holds less the socket's name and a NUL. */
#define SOCKET_DIR_LIMIT (108 - sizeof("/.s.PGSQL.65535"))
#define HOST_LIMIT 255

/* ---- [pgbouncer] ---- */

static void take_setting(struct loader *l, const char *name, const char *value)
{
	const struct param *p = param_find(name);
	char why[256];

	if (p == NULL) {
		const char *near = param_nearest(name, PS_GLOBAL);

		errs_add(l->errs, l->file, l->line, "unknown setting \"%s\"%s%s%s", name,
			near == NULL ? "" : "; the nearest known one is \"", near == NULL ? "" : near,
			near == NULL ? "" : "\"");
	} else if (!param_parse(p, value, &l->c->set, why, sizeof(why))) {
		errs_add(l->errs, l->file, l->line, "%s %s", p->name, why);
	} else {
		config_origin_set(l->c, (enum param_id)(p - param_table), "file", l->file, l->line);
	}
}

/* ---- [databases] and [users] ---- */

/* An entry that is being made. */
struct entry {
	struct loader *l;
	const char *what; /* "database" or "user" */
	const char *name;
	struct overrides *over;
	struct config_database *db;	   /* or NULL */
	const char *hosts, *ports, *zones; /* as the entry has them, or NULL */
	bool bad;
};

static void entry_error(struct entry *e, const char *a, const char *b, const char *c)
{
	errs_add(e->l->errs, e->l->file, e->l->line, "%s \"%s\": %s%s%s", e->what, e->name, a, b, c);
	e->bad = true;
}

/* Keys of a database that are no settings, and the field that each fills. */
static const struct db_key {
	const char *name;
	size_t offset; /* 0: what is of each host, which is read when the line is whole */
} db_keys[] = {
	{"host", 0},
	{"port", 0},
	{"host_zones", 0},
	{"dbname", offsetof(struct config_database, dbname)},
	{"user", offsetof(struct config_database, user)},
	{"password", offsetof(struct config_database, password)},
	{"password_file", offsetof(struct config_database, password_file)},
	{"connect_query", offsetof(struct config_database, connect_query)},
	{"client_encoding", offsetof(struct config_database, client_encoding)},
	{"datestyle", offsetof(struct config_database, datestyle)},
	{"timezone", offsetof(struct config_database, timezone)},
	{"application_name", offsetof(struct config_database, application_name)},
};

#define N_DB_KEYS (sizeof(db_keys) / sizeof(db_keys[0]))

static bool db_key_set(struct entry *e, const char *key, const char *value)
{
	for (size_t i = 0; i < N_DB_KEYS; i++) {
		char **to;

		if (strcasecmp(db_keys[i].name, key) != 0)
			continue;
		if (strcmp(db_keys[i].name, "host") == 0)
			e->hosts = value;
		else if (strcmp(db_keys[i].name, "port") == 0)
			e->ports = value;
		else if (strcmp(db_keys[i].name, "host_zones") == 0)
			e->zones = value;
		else {
			to = (char **)(void *)((char *)e->db + db_keys[i].offset);
			xfree_secret(MEM_CONFIG, *to);
			*to = xstrdup(MEM_CONFIG, value);
		}
		return true;
	}
	return false;
}

/* Behind a password the "key" may be the rest of a password that needed quotes: then it is not named. */
static void unknown_key(struct entry *e, const char *key, const char *before)
{
	const char *words[N_DB_KEYS], *near;
	unsigned scope = e->db != NULL ? PS_DATABASE : PS_USER;

	if (before != NULL && strcasecmp(before, "password") == 0) {
		entry_error(e, "unknown key behind password (a password with spaces needs single quotes)", "", "");
		return;
	}
	for (size_t i = 0; i < N_DB_KEYS; i++)
		words[i] = db_keys[i].name;
	near = param_nearest_with(key, scope, words, e->db != NULL ? N_DB_KEYS : 0);
	if (near == NULL) {
		entry_error(e, "unknown key \"", key, "\"");
	} else {
		char *text = xasprintf(MEM_CONFIG, "unknown key \"%s\"; the nearest known one is \"%s\"", key, near);

		entry_error(e, text, "", "");
		xfree(MEM_CONFIG, text);
	}
}

static void take_pair(struct entry *e, const struct connstr_pair *pair, const char *before)
{
	const struct param *p = param_find_in(pair->key, e->db != NULL ? PS_DATABASE : PS_USER);
	char why[256];

	if (p != NULL) {
		if (!override_parse(e->over, p, pair->value, why, sizeof(why)))
			entry_error(e, pair->key, " ", why);
	} else if (e->db == NULL || !db_key_set(e, pair->key, pair->value)) {
		unknown_key(e, pair->key, before);
	}
}

static bool take_pairs(struct entry *e, const char *text, struct connstr *pairs)
{
	size_t at;
	const char *error = connstr_parse(text, pairs, &at);

	if (error != NULL) {
		char where[48];

		snprintf(where, sizeof(where), " (at character %zu of its value)", at + 1);
		entry_error(e, error, where, "");
		return false;
	}
	for (size_t i = 0; i < pairs->n; i++)
		take_pair(e, &pairs->v[i], i == 0 ? NULL : pairs->v[i - 1].key);
	return !e->bad;
}

/* ---- host lists ---- */

/* The next of a comma-separated list, trimmed, in *word (not NUL-terminated); *list goes past it, to NULL at the end. */
static size_t next_word(const char **list, const char **word)
{
	const char *s = *list;
	size_t n, len;

	s += strspn(s, " \t");
	len = n = strcspn(s, ",");
	*word = s;
	*list = s[n] == ',' ? s + n + 1 : NULL;
	while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
		len--;
	return len;
}

static size_t count_words(const char *list)
{
	size_t n = 1;

	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

static void take_hosts(struct entry *e)
{
	struct config_database *d = e->db;
	const char *list = e->hosts == NULL ? "" : e->hosts;

	d->n_hosts = count_words(list);
	if (d->n_hosts > CONFIG_HOSTS)
		entry_error(e, "more than 64 hosts", "", "");
	d->hosts = xcalloc(MEM_CONFIG, d->n_hosts, sizeof(*d->hosts));
	for (size_t i = 0; i < d->n_hosts; i++) {
		const char *word;
		size_t len = next_word(&list, &word);
		bool is_dir = len > 0 && (word[0] == '/' || word[0] == '@');

		d->hosts[i].host = xstrndup(MEM_CONFIG, word, len);
		if (len == 0 && e->hosts != NULL)
			entry_error(e, "an empty name in host", "", "");
		if (len > (is_dir ? SOCKET_DIR_LIMIT : HOST_LIMIT))
			entry_error(e, "a name in host is too long", "", "");
	}
}

static uint16_t read_port(const char *s, size_t len)
{
	unsigned v = 0;

	if (len == 0 || len > 5)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return 0;
		v = v * 10 + (unsigned)(s[i] - '0');
	}
	return v > 65535 ? 0 : (uint16_t)v;
}

static void take_ports(struct entry *e)
{
	struct config_database *d = e->db;
	const char *list = e->ports == NULL ? "5432" : e->ports;
	size_t n = count_words(list);
	uint16_t port = 0;

	if (n != 1 && n != d->n_hosts) {
		entry_error(e, "port must be one number or as many as there are hosts", "", "");
		return;
	}
	for (size_t i = 0; i < d->n_hosts; i++) {
		if (list != NULL) {
			const char *word;
			size_t len = next_word(&list, &word);

			port = read_port(word, len);
			if (port == 0)
				entry_error(e, "port must be a number from 1 to 65535", "", "");
		}
		d->hosts[i].port = port;
	}
}

static void take_zones(struct entry *e)
{
	struct config_database *d = e->db;
	const char *list = e->zones;

	if (list == NULL)
		return;
	if (count_words(list) != d->n_hosts) {
		entry_error(e, "host_zones must be as many as there are hosts", "", "");
		return;
	}
	for (size_t i = 0; i < d->n_hosts; i++) {
		const char *word;
		size_t len = next_word(&list, &word);

		d->hosts[i].zone = xstrndup(MEM_CONFIG, word, len);
	}
}

/* ---- entries ---- */

static void take_database(struct loader *l, const char *name, const char *value)
{
	struct config_database *d = xcalloc(MEM_CONFIG, 1, sizeof(*d)), *old;
	struct entry e = {.l = l, .what = "database", .name = name, .over = &d->over, .db = d};
	struct connstr pairs;

	d->name = xstrdup(MEM_CONFIG, name);
	d->file = xstrdup(MEM_CONFIG, l->file);
	d->line = l->line;
	if (strcasecmp(name, "pgbouncer") == 0 || strcasecmp(name, "psbouncer") == 0)
		entry_error(&e, "this name is the console's", "", "");
	if (take_pairs(&e, value, &pairs)) {
		take_hosts(&e);
		take_ports(&e);
		take_zones(&e);
	}
	connstr_free(&pairs);
	if (d->password != NULL && d->password_file != NULL)
		entry_error(&e, "password and password_file cannot both be set", "", "");
	if (d->password_file != NULL && d->user == NULL)
		entry_error(&e, "password_file needs user", "", "");
	if (e.bad) {
		config_database_free(d);
		return;
	}
	old = config_database_put(l->c, d);
	if (old != NULL)
		log_msg(LL_WARNING, "%s:%d: database \"%s\" stood in %s:%d before; this entry counts", d->file, d->line,
			name, old->file, old->line);
	config_database_free(old);
}

static void take_user(struct loader *l, const char *name, const char *value)
{
	struct config_user *u = xcalloc(MEM_CONFIG, 1, sizeof(*u)), *old;
	struct entry e = {.l = l, .what = "user", .name = name, .over = &u->over};
	struct connstr pairs;
	bool ok;

	u->name = xstrdup(MEM_CONFIG, name);
	u->file = xstrdup(MEM_CONFIG, l->file);
	u->line = l->line;
	ok = take_pairs(&e, value, &pairs);
	connstr_free(&pairs);
	if (!ok) {
		config_user_free(u);
		return;
	}
	old = config_user_put(l->c, u);
	if (old != NULL)
		log_msg(LL_WARNING, "%s:%d: user \"%s\" stood in %s:%d before; this entry counts", u->file, u->line,
			name, old->file, old->line);
	config_user_free(old);
}

/* ---- [peers] ---- */

static void take_peer_pair(struct entry *e, struct config_peer *p, const struct connstr_pair *pair)
{
	const struct param *size = &param_table[PARAM_default_pool_size];
	char why[256];
	struct settings set;

	if (strcasecmp(pair->key, "host") == 0) {
		xfree(MEM_CONFIG, p->host.host);
		p->host.host = xstrdup(MEM_CONFIG, pair->value);
		if (strchr(pair->value, ',') != NULL)
			entry_error(e, "host is one name or address", "", "");
		if (strlen(pair->value) > HOST_LIMIT)
			entry_error(e, "a name in host is too long", "", "");
	} else if (strcasecmp(pair->key, "port") == 0) {
		p->host.port = read_port(pair->value, strlen(pair->value));
		if (p->host.port == 0)
			entry_error(e, "port must be a number from 1 to 65535", "", "");
	} else if (strcasecmp(pair->key, "pool_size") == 0) {
		settings_init(&set);
		if (!param_parse(size, pair->value, &set, why, sizeof(why)))
			entry_error(e, "pool_size ", why, "");
		p->pool_size = set.default_pool_size;
		settings_free(&set);
	} else {
		entry_error(e, "unknown key \"", pair->key, "\"; there are host, port and pool_size");
	}
}

static unsigned read_peer_id(const char *s)
{
	unsigned v = read_port(s, strlen(s));

	return v > CONFIG_PEER_MAX ? 0 : v;
}

static void take_peer(struct loader *l, const char *name, const char *value)
{
	struct config_peer p = {.id = read_peer_id(name), .host.port = 6432, .line = l->line};
	struct entry e = {.l = l, .what = "peer", .name = name};
	struct connstr pairs;
	size_t at;
	const char *error = connstr_parse(value, &pairs, &at);

	if (p.id == 0)
		entry_error(&e, "the name of a peer is its peer_id, a number from 1 to 16383", "", "");
	if (error != NULL)
		entry_error(&e, error, "", "");
	for (size_t i = 0; error == NULL && i < pairs.n; i++)
		take_peer_pair(&e, &p, &pairs.v[i]);
	connstr_free(&pairs);
	if (!e.bad && p.host.host == NULL)
		entry_error(&e, "host is missing", "", "");
	if (e.bad) {
		xfree(MEM_CONFIG, p.host.host);
		return;
	}
	p.file = xstrdup(MEM_CONFIG, l->file);
	config_peer_put(l->c, &p);
}

void config_take(struct loader *l, const char *name, const char *value)
{
	switch (l->section) {
	case SECTION_SETTINGS: take_setting(l, name, value); return;
	case SECTION_DATABASES: take_database(l, name, value); return;
	case SECTION_USERS: take_user(l, name, value); return;
	case SECTION_PEERS: take_peer(l, name, value); return;
	case SECTION_NONE:
	case SECTION_UNKNOWN: return;
	}
}
