/*
 * stmt: owns the table of prepared statements, clients' names for them and the
 * lists of what servers have prepared. It makes no messages and does not read
 * SQL: what a body says and when a statement is prepared or closed is decided
 * above.
 */
#include "pool/stmt.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pool/vars.h"

/* ---- statements ---- */

struct stmt_table {
	struct htab shared; /* by body and settings */
	TAILQ_HEAD(, stmt) all;
	size_t count;
	uint64_t last_number;
};

struct stmt_key {
	const struct vars *settings;
	const void *body;
	size_t len;
};

static bool stmt_eq(const struct hnode *n, const void *key)
{
	const struct stmt *s = container_of(n, struct stmt, node);
	const struct stmt_key *k = key;

	return s->settings == k->settings && s->len == k->len && memcmp(s->body, k->body, k->len) == 0;
}

struct stmt_table *stmt_table_new(void)
{
	struct stmt_table *t = xcalloc(MEM_STMT, 1, sizeof *t);

	TAILQ_INIT(&t->all);
	return t;
}

void stmt_table_free(struct stmt_table *t)
{
	if (t == NULL)
		return;
	assert(t->count == 0 && t->shared.count == 0);
	htab_free(&t->shared);
	xfree(MEM_STMT, t);
}

size_t stmt_table_count(const struct stmt_table *t)
{
	return t->count;
}

static struct stmt *stmt_new(struct stmt_table *t, struct vars *settings, const void *body, size_t len)
{
	struct stmt *s = len <= SIZE_MAX - sizeof *s ? try_realloc(MEM_STMT, NULL, sizeof *s + len) : NULL;

	if (s == NULL)
		return NULL;
	*s = (struct stmt){
		.number = ++t->last_number,
		.settings = vars_ref(settings),
		.len = len,
		.refs = 1,
		.table = t,
	};
	snprintf(s->name, sizeof s->name, "psbouncer_%" PRIu64, s->number);
	if (len > 0)
		memcpy(s->body, body, len);
	TAILQ_INSERT_TAIL(&t->all, s, all);
	t->count++;
	return s;
}

struct stmt *stmt_get(struct stmt_table *t, struct vars *settings, const void *body, size_t len, bool shared)
{
	struct stmt_key key = {settings, body, len};
	struct hnode *n;
	struct stmt *s;
	uint64_t hash;

	if (!shared)
		return stmt_new(t, settings, body, len);
	hash = hash_mix(hash_bytes(body, len), (uintptr_t)settings);
	n = htab_find(&t->shared, hash, stmt_eq, &key);
	if (n != NULL)
		return stmt_ref(container_of(n, struct stmt, node));
	s = stmt_new(t, settings, body, len);
	if (s == NULL)
		return NULL;
	s->shared = true;
	htab_insert(&t->shared, &s->node, hash);
	return s;
}

struct stmt *stmt_ref(struct stmt *s)
{
	s->refs++;
	return s;
}

void stmt_unref(struct stmt **sp)
{
	struct stmt *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	assert(s->refs > 0);
	if (--s->refs > 0)
		return;
	assert(s->clients == 0 && s->servers == 0);
	if (s->shared && !s->stale)
		htab_remove(&s->table->shared, &s->node);
	TAILQ_REMOVE(&s->table->all, s, all);
	s->table->count--;
	vars_unref(&s->settings);
	stmt_edits_unref(&s->edits);
	xfree(MEM_STMT, s);
}

void stmt_retire(struct stmt *s)
{
	if (s->shared && !s->stale)
		htab_remove(&s->table->shared, &s->node);
	s->stale = true;
}

bool stmt_is_sql(const struct stmt *s)
{
	return memchr(s->body, '\0', s->len) == s->body + s->len - 1;
}

struct stmt *stmt_next(const struct stmt_table *t, const struct stmt *s)
{
	return s != NULL ? TAILQ_NEXT(s, all) : TAILQ_FIRST(&t->all);
}

/* ---- a client's names ---- */

/*
 * all: in the order of their serials, which is the order in which they were added. A name that was taken out stays in
 * it as long as it lives and could be restored: so what a clear must not let come back is found at the list's head.
 */
struct stmt_map {
	struct htab by_name; /* the present ones */
	TAILQ_HEAD(, stmt_name) all;
	uint64_t last_serial;
};

static size_t name_compared(const char *name)
{
	return strnlen(name, STMT_NAME_COMPARED);
}

static bool name_eq(const struct hnode *n, const void *key)
{
	return strncmp(container_of(n, struct stmt_name, node)->name, key, STMT_NAME_COMPARED) == 0;
}

static struct stmt_name *find(const struct stmt_map *m, const char *name, uint64_t hash)
{
	struct hnode *n = htab_find(&m->by_name, hash, name_eq, name);

	return n != NULL ? container_of(n, struct stmt_name, node) : NULL;
}

static uint64_t name_hash(const char *name)
{
	return hash_bytes(name, name_compared(name));
}

struct stmt_name *stmt_map_find(const struct stmt_map *m, const char *name)
{
	return m != NULL && m->by_name.count > 0 ? find(m, name, name_hash(name)) : NULL;
}

static void put_in(struct stmt_name *n, uint64_t hash)
{
	htab_insert(&n->map->by_name, &n->node, hash);
	n->present = true;
	n->refs++;
	n->stmt->clients++;
}

void stmt_name_renew(struct stmt_name *n, struct stmt *s)
{
	if (n->present) {
		n->stmt->clients--;
		s->clients++;
	}
	stmt_unref(&n->stmt);
	n->stmt = s;
}

/* n may be freed. */
static void take_out(struct stmt_name *n)
{
	htab_remove(&n->map->by_name, &n->node);
	n->present = false;
	assert(n->stmt->clients > 0);
	n->stmt->clients--;
	stmt_name_unref(&n);
}

/* Out, if it is in, and it cannot be restored any more; n may be freed. */
static void gone(struct stmt_name *n)
{
	struct stmt_name *hold = stmt_name_ref(n);

	if (n->present)
		take_out(n);
	if (n->map != NULL)
		TAILQ_REMOVE(&n->map->all, n, all);
	n->map = NULL;
	stmt_name_unref(&hold);
}

static struct stmt_map *map_new(void)
{
	struct stmt_map *m = xcalloc(MEM_STMT, 1, sizeof *m);

	TAILQ_INIT(&m->all);
	return m;
}

struct stmt_name *stmt_map_add(struct stmt_map **mp, const char *name, struct stmt *s)
{
	size_t len = strlen(name);
	uint64_t hash = name_hash(name);
	struct stmt_name *n;

	n = try_realloc(MEM_STMT, NULL, sizeof *n + len + 1);
	if (n == NULL)
		return NULL;
	if (*mp == NULL)
		*mp = map_new();
	assert(find(*mp, name, hash) == NULL);
	*n = (struct stmt_name){.stmt = stmt_ref(s), .map = *mp, .serial = ++(*mp)->last_serial};
	memcpy(n->name, name, len + 1);
	TAILQ_INSERT_TAIL(&n->map->all, n, all);
	put_in(n, hash);
	return n;
}

void stmt_map_remove(struct stmt_name *n)
{
	assert(n->present);
	take_out(n);
}

void stmt_map_fail(struct stmt_name *n)
{
	gone(n);
}

void stmt_map_restore(struct stmt_name *n)
{
	struct stmt_name *now;

	if (n->map == NULL || n->present)
		return;
	now = find(n->map, n->name, name_hash(n->name));
	if (now != NULL)
		take_out(now);
	put_in(n, name_hash(n->name));
}

uint64_t stmt_map_mark(const struct stmt_map *m)
{
	return m != NULL ? m->last_serial : 0;
}

void stmt_map_clear(struct stmt_map *m, uint64_t mark)
{
	struct stmt_name *n;

	if (m == NULL)
		return;
	while ((n = TAILQ_FIRST(&m->all)) != NULL && n->serial <= mark)
		gone(n);
}

void stmt_map_free(struct stmt_map **mp)
{
	struct stmt_map *m = *mp;

	if (m == NULL)
		return;
	*mp = NULL;
	stmt_map_clear(m, UINT64_MAX);
	assert(m->by_name.count == 0);
	htab_free(&m->by_name);
	xfree(MEM_STMT, m);
}

size_t stmt_map_count(const struct stmt_map *m)
{
	return m != NULL ? m->by_name.count : 0;
}

struct stmt_name *stmt_map_next(const struct stmt_map *m, const struct stmt_name *n)
{
	struct hnode *node = m != NULL ? htab_next(&m->by_name, n != NULL ? &n->node : NULL) : NULL;

	return node != NULL ? container_of(node, struct stmt_name, node) : NULL;
}

struct stmt_name *stmt_name_unknown(const char *name)
{
	size_t len = strlen(name);
	struct stmt_name *n = try_realloc(MEM_STMT, NULL, sizeof *n + len + 1);

	if (n == NULL)
		return NULL;
	*n = (struct stmt_name){.refs = 1};
	memcpy(n->name, name, len + 1);
	return n;
}

struct stmt_name *stmt_name_pending(const char *name, struct stmt *s)
{
	struct stmt_name *n = stmt_name_unknown(name);

	if (n != NULL)
		n->stmt = stmt_ref(s);
	return n;
}

struct stmt_name *stmt_name_ref(struct stmt_name *n)
{
	n->refs++;
	return n;
}

void stmt_name_unref(struct stmt_name **np)
{
	struct stmt_name *n = *np;

	if (n == NULL)
		return;
	*np = NULL;
	assert(n->refs > 0);
	if (--n->refs > 0)
		return;
	assert(!n->present);
	if (n->map != NULL)
		TAILQ_REMOVE(&n->map->all, n, all);
	stmt_unref(&n->stmt);
	xfree(MEM_STMT, n);
}

/* ---- names in a text of SQL's ---- */

/* It grows at the powers of two. */
struct stmt_edit *stmt_edits_add(struct stmt_edits **ep)
{
	uint32_t n = *ep != NULL ? (*ep)->n : 0;
	struct stmt_edits *e = *ep;

	if ((n & (n - 1)) == 0) {
		e = try_realloc(MEM_STMT, e, sizeof *e + (n != 0 ? (size_t)n * 2 : 1) * sizeof *e->v);
		if (e == NULL)
			return NULL;
		*ep = e;
	}
	e->refs = 1;
	e->n = n + 1;
	e->v[n] = (struct stmt_edit){.name = NULL};
	return &e->v[n];
}

struct stmt_edits *stmt_edits_ref(struct stmt_edits *e)
{
	e->refs++;
	return e;
}

void stmt_edits_unref(struct stmt_edits **ep)
{
	struct stmt_edits *e = *ep;

	*ep = NULL;
	if (e == NULL || --e->refs > 0)
		return;
	for (uint32_t i = 0; i < e->n; i++)
		stmt_name_unref(&e->v[i].name);
	xfree(MEM_STMT, e);
}

/* ---- what a server has ---- */

struct stmt_cached {
	struct hnode node;
	TAILQ_ENTRY(stmt_cached) order;
	struct stmt *stmt;
};

static bool cached_eq(const struct hnode *n, const void *key)
{
	return container_of(n, struct stmt_cached, node)->stmt == key;
}

static uint64_t cached_hash(const struct stmt *s)
{
	return hash_mix(s->number, 0);
}

static struct stmt_cached *cached_find(const struct stmt_cache *c, const struct stmt *s)
{
	struct hnode *n = htab_find(&c->by_stmt, cached_hash(s), cached_eq, s);

	return n != NULL ? container_of(n, struct stmt_cached, node) : NULL;
}

static void cached_free(struct stmt_cache *c, struct stmt_cached *e)
{
	htab_remove(&c->by_stmt, &e->node);
	TAILQ_REMOVE(&c->order, e, order);
	assert(e->stmt->servers > 0);
	e->stmt->servers--;
	stmt_unref(&e->stmt);
	xfree(MEM_STMT, e);
}

void stmt_cache_init(struct stmt_cache *c)
{
	c->by_stmt = (struct htab){0};
	TAILQ_INIT(&c->order);
}

bool stmt_cache_use(struct stmt_cache *c, const struct stmt *s)
{
	struct stmt_cached *e = cached_find(c, s);

	if (e == NULL)
		return false;
	TAILQ_REMOVE(&c->order, e, order);
	TAILQ_INSERT_TAIL(&c->order, e, order);
	return true;
}

void stmt_cache_add(struct stmt_cache *c, struct stmt *s)
{
	struct stmt_cached *e;

	assert(cached_find(c, s) == NULL);
	e = xcalloc(MEM_STMT, 1, sizeof *e);
	e->stmt = stmt_ref(s);
	s->servers++;
	htab_insert(&c->by_stmt, &e->node, cached_hash(s));
	TAILQ_INSERT_TAIL(&c->order, e, order);
}

bool stmt_cache_remove(struct stmt_cache *c, struct stmt *s)
{
	struct stmt_cached *e = cached_find(c, s);

	if (e == NULL)
		return false;
	cached_free(c, e);
	return true;
}

struct stmt *stmt_cache_oldest(const struct stmt_cache *c, size_t limit)
{
	return c->by_stmt.count > limit ? TAILQ_FIRST(&c->order)->stmt : NULL;
}

void stmt_cache_clear(struct stmt_cache *c)
{
	struct stmt_cached *e;

	while ((e = TAILQ_FIRST(&c->order)) != NULL)
		cached_free(c, e);
	htab_free(&c->by_stmt);
}

size_t stmt_cache_count(const struct stmt_cache *c)
{
	return c->by_stmt.count;
}
