/*
 * vars: owns the table of sets of session parameters, and the atoms (names and
 * values) they are made of. Clients and servers hold references to sets. It
 * sends nothing and does not know which parameters are tracked.
 *
 * A set is an array of pairs of atoms. Equal names are one atom and equal values
 * are one atom, so two sets are equal when their arrays are, and a value of many
 * sets is in memory once.
 */
#include "pool/vars.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/htab.h"
#include "base/mem.h"

struct atom {
	struct hnode node;
	uint32_t refs;
	char text[];
};

struct pair {
	struct atom *name, *value;
};

/*
 * refs counts the holders outside, pins the memories that name the set. A set
 * without holders stays while somebody's memory names it, but has no memory of
 * its own any more: so memories never form a ring that keeps itself alive.
 */
struct vars {
	struct hnode node;
	struct vars_table *table;
	uint32_t refs, pins;
	struct vars *base, *result; /* the last vars_overlay(base, this); NULL: none */
	uint32_t n;
	struct pair pair[];
};

struct vars_table {
	struct htab sets, names, values;
	struct vars *empty;
	struct pair *scratch; /* a set that may have to be made */
	size_t scratch_cap;
};

struct set_key {
	const struct pair *pair;
	size_t n;
};

/* ---- atoms ---- */

/* The server's spelling of the reported parameters that have capitals: clients write them in any way. */
static const char *const spelled[] = {"DateStyle", "IntervalStyle", "TimeZone"};

static uint64_t name_hash(const char *name)
{
	char low[64];
	uint64_t h = 0;
	size_t n = 0;

	for (;; name++) {
		if (*name == '\0' || n == sizeof low) {
			h = hash_mix(h, hash_bytes(low, n));
			n = 0;
		}
		if (*name == '\0')
			return h;
		low[n++] = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
	}
}

static bool name_eq(const struct hnode *n, const void *key)
{
	return strcasecmp(container_of(n, struct atom, node)->text, key) == 0;
}

static bool value_eq(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct atom, node)->text, key) == 0;
}

/* NULL: there is none. */
static struct atom *atom_find(struct htab *h, uint64_t hash, htab_eq *eq, const char *text)
{
	struct hnode *n = htab_find(h, hash, eq, text);
	struct atom *a;

	if (n == NULL)
		return NULL;
	a = container_of(n, struct atom, node);
	a->refs++;
	return a;
}

static struct atom *atom_make(struct htab *h, uint64_t hash, const char *text)
{
	size_t size = strlen(text) + 1;
	struct atom *a = xmalloc(MEM_VARS, sizeof *a + size);

	a->refs = 1;
	memcpy(a->text, text, size);
	htab_insert(h, &a->node, hash);
	return a;
}

static struct atom *name_get(struct vars_table *t, const char *name)
{
	uint64_t hash = name_hash(name);
	struct atom *a = atom_find(&t->names, hash, name_eq, name);

	if (a != NULL)
		return a;
	for (size_t i = 0; i < sizeof spelled / sizeof spelled[0]; i++)
		if (strcasecmp(name, spelled[i]) == 0)
			name = spelled[i];
	return atom_make(&t->names, hash, name);
}

static struct atom *value_get(struct vars_table *t, const char *value)
{
	uint64_t hash = hash_str(value);
	struct atom *a = atom_find(&t->values, hash, value_eq, value);

	return a != NULL ? a : atom_make(&t->values, hash, value);
}

static void atom_put(struct htab *h, struct atom *a)
{
	if (--a->refs > 0)
		return;
	htab_remove(h, &a->node);
	xfree(MEM_VARS, a);
}

static bool is_encoding(const char *name)
{
	return strcasecmp(name, "client_encoding") == 0;
}

/* The order of a set: client_encoding first, since other values are written in it, then by name. */
static int name_cmp(const char *a, const char *b)
{
	int cmp = strcasecmp(a, b);

	if (cmp < 0)
		return is_encoding(b) ? 1 : cmp;
	return cmp > 0 && is_encoding(a) ? -1 : cmp;
}

static int pair_cmp(const struct pair *a, const struct pair *b)
{
	return a->name == b->name ? 0 : name_cmp(a->name->text, b->name->text);
}

/* ---- sets ---- */

static uint64_t set_hash(const struct pair *pair, size_t n)
{
	uint64_t h = n;

	for (size_t i = 0; i < n; i++)
		h = hash_mix(hash_mix(h, pair[i].name->node.hash), pair[i].value->node.hash);
	return h;
}

static bool set_eq(const struct hnode *n, const void *key)
{
	const struct vars *v = container_of(n, struct vars, node);
	const struct set_key *k = key;

	return v->n == k->n && (k->n == 0 || memcmp(v->pair, k->pair, k->n * sizeof(struct pair)) == 0);
}

static struct pair *scratch(struct vars_table *t, size_t n)
{
	if (n > t->scratch_cap) {
		t->scratch_cap = n * 2;
		t->scratch = xrealloc(MEM_VARS, t->scratch, t->scratch_cap * sizeof(struct pair));
	}
	return t->scratch;
}

/* The set of the n pairs in scratch, made if there is none; a reference of the caller's. */
static struct vars *set_get(struct vars_table *t, size_t n)
{
	struct set_key key = {t->scratch, n};
	uint64_t hash = set_hash(t->scratch, n);
	struct hnode *node = htab_find(&t->sets, hash, set_eq, &key);
	struct vars *v;

	if (node != NULL)
		return vars_ref(container_of(node, struct vars, node));
	v = xcalloc(MEM_VARS, 1, sizeof *v + n * sizeof(struct pair));
	v->table = t;
	v->refs = 1;
	v->n = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		v->pair[i] = t->scratch[i];
		v->pair[i].name->refs++;
		v->pair[i].value->refs++;
	}
	htab_insert(&t->sets, &v->node, hash);
	return v;
}

static void set_free_if_unused(struct vars *v)
{
	struct vars_table *t = v->table;

	if (v->refs > 0 || v->pins > 0)
		return;
	assert(v->base == NULL && v->result == NULL);
	htab_remove(&t->sets, &v->node);
	for (size_t i = 0; i < v->n; i++) {
		atom_put(&t->names, v->pair[i].name);
		atom_put(&t->values, v->pair[i].value);
	}
	xfree(MEM_VARS, v);
}

static void unpin(struct vars *v)
{
	assert(v->pins > 0);
	v->pins--;
	set_free_if_unused(v);
}

static void forget(struct vars *v)
{
	struct vars *base = v->base, *result = v->result;

	v->base = v->result = NULL;
	if (base == NULL)
		return;
	unpin(base);
	unpin(result);
}

static void remember(struct vars *over, struct vars *base, struct vars *result)
{
	base->pins++;
	result->pins++;
	forget(over);
	over->base = base;
	over->result = result;
}

struct vars *vars_ref(struct vars *v)
{
	v->refs++;
	return v;
}

void vars_unref(struct vars **vp)
{
	struct vars *v = *vp;

	if (v == NULL)
		return;
	*vp = NULL;
	assert(v->refs > 0);
	if (--v->refs > 0)
		return;
	/* Its memory may name itself: it must not go before forget() is done with it. */
	v->pins++;
	forget(v);
	unpin(v);
}

struct vars_table *vars_table_new(void)
{
	struct vars_table *t = xcalloc(MEM_VARS, 1, sizeof *t);

	t->empty = set_get(t, 0);
	return t;
}

void vars_table_free(struct vars_table *t)
{
	assert(t->sets.count == 1 && t->empty->refs == 1);
	vars_unref(&t->empty);
	assert(t->sets.count == 0 && t->names.count == 0 && t->values.count == 0);
	htab_free(&t->sets);
	htab_free(&t->names);
	htab_free(&t->values);
	xfree(MEM_VARS, t->scratch);
	xfree(MEM_VARS, t);
}

struct vars *vars_empty(struct vars_table *t)
{
	return vars_ref(t->empty);
}

/* Where name is in v, or where it would be. */
static size_t place(const struct vars *v, const char *name, bool *found)
{
	size_t low = 0, high = v->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int cmp = name_cmp(v->pair[mid].name->text, name);

		if (cmp == 0) {
			*found = true;
			return mid;
		}
		if (cmp < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*found = false;
	return low;
}

static void copy_pairs(struct pair *to, const struct pair *from, size_t n)
{
	if (n > 0)
		memcpy(to, from, n * sizeof *to);
}

/* v without its pair i. */
static struct vars *without(struct vars *v, size_t i)
{
	struct pair *s = scratch(v->table, v->n);

	copy_pairs(s, v->pair, i);
	copy_pairs(s + i, v->pair + i + 1, v->n - i - 1);
	return set_get(v->table, v->n - 1);
}

/* v with name = value at place i, where name is already or not. */
static struct vars *with(struct vars *v, size_t i, bool found, const char *name, const char *value)
{
	struct vars_table *t = v->table;
	struct pair *s = scratch(t, v->n + 1);
	struct pair made = {name_get(t, name), value_get(t, value)};
	struct vars *r;

	copy_pairs(s, v->pair, i);
	s[i] = made;
	copy_pairs(s + i + 1, v->pair + i + found, v->n - i - found);
	r = set_get(t, v->n + 1 - found);
	atom_put(&t->names, made.name);
	atom_put(&t->values, made.value);
	return r;
}

void vars_put(struct vars **vp, const char *name, const char *value)
{
	struct vars *v = *vp;
	bool found;
	size_t i = place(v, name, &found);

	if (value == NULL) {
		if (!found)
			return;
		*vp = without(v, i);
	} else {
		if (found && strcmp(v->pair[i].value->text, value) == 0)
			return;
		*vp = with(v, i, found, name, value);
	}
	vars_unref(&v);
}

struct vars *vars_overlay(struct vars *base, struct vars *over)
{
	struct pair *s;
	struct vars *r;
	size_t i = 0, j = 0, n = 0;

	assert(base->table == over->table);
	if (over->n == 0 || base == over)
		return vars_ref(base);
	if (base->n == 0)
		return vars_ref(over);
	if (over->base == base)
		return vars_ref(over->result);
	s = scratch(base->table, base->n + over->n);
	while (i < base->n || j < over->n) {
		int cmp = i == base->n ? 1 : j == over->n ? -1 : pair_cmp(&base->pair[i], &over->pair[j]);

		s[n++] = cmp < 0 ? base->pair[i] : over->pair[j];
		i += cmp <= 0;
		j += cmp >= 0;
	}
	r = set_get(base->table, n);
	remember(over, base, r);
	return r;
}

const char *vars_get(const struct vars *v, const char *name)
{
	bool found;
	size_t i = place(v, name, &found);

	return found ? v->pair[i].value->text : NULL;
}

size_t vars_count(const struct vars *v)
{
	return v->n;
}

const char *vars_name(const struct vars *v, size_t i)
{
	assert(i < v->n);
	return v->pair[i].name->text;
}

const char *vars_value(const struct vars *v, size_t i)
{
	assert(i < v->n);
	return v->pair[i].value->text;
}

bool vars_diff(const struct vars *a, const struct vars *b, size_t *i, size_t *j, const char **name,
	const char **a_value, const char **b_value)
{
	while (*i < a->n || *j < b->n) {
		const struct pair *pa = *i < a->n ? &a->pair[*i] : NULL;
		const struct pair *pb = *j < b->n ? &b->pair[*j] : NULL;
		int cmp = pa == NULL ? 1 : pb == NULL ? -1 : pair_cmp(pa, pb);

		*i += cmp <= 0;
		*j += cmp >= 0;
		if (cmp == 0 && pa->value == pb->value)
			continue;
		*name = cmp <= 0 ? pa->name->text : pb->name->text;
		*a_value = cmp <= 0 ? pa->value->text : NULL;
		*b_value = cmp >= 0 ? pb->value->text : NULL;
		return true;
	}
	return false;
}
