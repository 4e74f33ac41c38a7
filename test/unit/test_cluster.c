/*
 * cluster: the decision, by tables and over generated histories of a cluster
 * whose nodes crash, come back, are promoted, cut off, restored from elsewhere.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pool/cluster.h"

enum { HISTORIES = 100000, STEPS = 24, NODES = 4 };

/* ---- tables ---- */

static const char hosts[] = "abcd";

/*
 * Endpoints as words: name, then "-" does not answer, "s" standby, "w" writable with its timeline; then "@" the system
 * identifier (1 without), "#" the start time (its own without).
 */
static size_t parse(const char *text, struct sight *seen)
{
	char copy[200], *save = NULL;
	size_t n = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		struct sight *s = &seen[n++];
		const char *id = strchr(w, '@'), *start = strchr(w, '#');

		*s = (struct sight){.who = strchr(hosts, w[0]),
			.probed = true,
			.answers = w[1] != '-',
			.role = w[1] == 'w'   ? SIGHT_WRITABLE
				: w[1] == 's' ? SIGHT_STANDBY
					      : SIGHT_UNKNOWN,
			.system_id = id != NULL ? strtoul(id + 1, NULL, 10) : 1,
			.started_us = start != NULL ? strtol(start + 1, NULL, 10) : (long)(w[0] * 100)};
		if (w[1] == 'w')
			s->timeline = (uint32_t)strtoul(w + 2, NULL, 10);
	}
	return n;
}

static const char *words_of(struct cluster_decision d)
{
	static const char *const why[] = {"none", "two", "fenced"};
	static char text[20];

	if (d.say == CLUSTER_WAIT)
		return "wait";
	if (d.say == CLUSTER_HOLD)
		return why[d.why];
	snprintf(text, sizeof text, "%c%s", *(const char *)d.primary, d.moved ? " moved" : "");
	return text;
}

static void test_rows(void **state)
{
	/* "PROMOTE x" and "FORCE x" stand in front of what is seen next. */
	static const char *const rows[][2] = {
		/* the first decision */
		{"aw1 bs", "a moved"},
		{"aw1 bs", "a"},
		/* the primary does not answer; a standby does not become one by itself */
		{"a- bs", "none"},
		{"aw1 bs", "a"},
		{"a- bw2", "b moved"},
		/* it comes back writable on its old timeline, then as a standby */
		{"aw1 bw2", "b"},
		{"aw1 b-", "fenced"},
		{"as bw2", "b"},
		/* promoted beside a running primary */
		{"aw3 bw2", "a moved"},
		/* writable, but its timeline is not known yet */
		{"a- bw0", "none"},
		{"a- bw4", "b moved"},
		/* two on the highest timeline */
		{"aw5 b- cw5", "two"},
		{"aw5 bw4 cw5", "two"},
		{"PROMOTE c aw5 bw4 cw5", "c moved"},
		{"aw5 bw4 cw5", "c"},
		/* another cluster */
		{"aw9@2 bs cw5", "c"},
		{"aw9@2 bs c-", "fenced"},
		{"PROMOTE a aw9@2 bs c-", "fenced"},
		{"FORCE a aw9@2 bs c-", "a moved"},
		{"aw9@2 bs cw5", "a"},
		/* a restore to an earlier timeline */
		{"aw3@2 bs@2", "fenced"},
		{"FORCE a as@2 bs@2", "none"},
		{"aw3@2 bs@2", "a moved"}, /* now it is */
		/* and what was above it stays below */
		{"aw3@2 bw8@2", "b moved"},
		{"FORCE a aw3@2 bw8@2", "a moved"},
		{"aw3@2 bw8@2", "a"},
		{"a- bw8@2", "fenced"},
		{"aw3@2 bw9@2", "b moved"},
		{"FORCE a aw3@2 bs@2", "a moved"},
		/* one server under two addresses */
		{"aw3@2#7 bw3@2#7", "a"},
		{"a- bw3@2#7", "b"},
		{"aw3@2#7 bw3@2#7", "b"},
		/* it was promoted, which was seen under one of them first: what is between is not gone to */
		{"aw5@2#7 bw3@2#7 cw4@2", "a moved"},
		{"aw5@2#7 bw5@2#7 cw4@2", "a"},
		{"as@2#7 bw6@2#7 cs@2", "b moved"},
		{"aw6@2#7 bw6@2#7 cs@2", "b"},
		/* another server behind the primary's name, or the same that was promoted between two looks; then restarted */
		{"as@2#7 bw7@2#9", "b moved"},
		{"as@2#7 bw7@2#10", "b"},
		/* what is forced, and what is not to win it back, are servers, under whatever names */
		{"FORCE a aw5@2#1 bw7@2#9 cs@2", "a moved"},
		{"aw5@2#1 b- cw7@2#9", "a"},
		{"aw5@2#1 bw7@2#9 cw7@2#9", "a"},
		{"a- b- cw7@2#9", "fenced"},
		{"aw5@2#1 bw8@2#9 cw7@2#9", "b moved"},
		{"FORCE b aw5@2#1 bw5@2#1 c-", "b moved"},
		{"aw5@2#1 b- c-", "a"},
	};
	struct cluster_memory m = {0};
	struct sight seen[NODES];

	(void)state;
	assert_string_equal(words_of(cluster_decide(&m, seen, parse("a- bs", seen), false)), "wait");
	assert_string_equal(words_of(cluster_decide(&m, seen, parse("a- bs", seen), true)), "none");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *text = rows[i][0];
		const char *said;

		if (strncmp(text, "PROMOTE ", 8) == 0 || strncmp(text, "FORCE ", 6) == 0) {
			m.forced = text[0] == 'F';
			text = strchr(text, ' ') + 1;
			m.named = strchr(hosts, text[0]);
			text += 2;
		}
		said = words_of(cluster_decide(&m, seen, parse(text, seen), true));
		if (strcmp(said, rows[i][1]) != 0)
			fail_msg("row %zu, %s: %s", i, rows[i][0], said);
	}
}

static void test_two_clusters_at_the_start(void **state)
{
	struct cluster_memory m = {0};
	struct sight seen[NODES];

	(void)state;
	assert_string_equal(words_of(cluster_decide(&m, seen, parse("aw1@1 bw7@2", seen), true)), "two");
	assert_string_equal(words_of(cluster_decide(&m, seen, parse("bw7@2 aw1@1", seen), true)), "two");
	m.named = strchr(hosts, 'a');
	assert_string_equal(words_of(cluster_decide(&m, seen, parse("bw7@2 aw1@1", seen), true)), "a moved");
	assert_int_equal(cluster_sight_state(&m, seen, 2, 0), SIGHT_FOREIGN);
	assert_int_equal(cluster_sight_state(&m, seen, 2, 1), SIGHT_UP);
}

/* ---- histories ---- */

static uint64_t seed, number; /* number: PSB_TEST_SEED begins with it */
static int step;

#define must(what)                                                                                       \
	do {                                                                                             \
		if (!(what))                                                                             \
			fail_msg("PSB_TEST_SEED=%" PRIu64 ", step %d: not so: %s", number, step, #what); \
	} while (0)

static unsigned chance(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % n);
}

/* The truth; what is seen of it lags behind. */
struct node {
	bool up, reachable, writable;
	uint32_t timeline;
	uint64_t system_id;
	int64_t started_us;
};

struct world {
	struct node node[NODES];
	struct sight seen[NODES];
	struct cluster_memory m;
	uint32_t last_timeline;
	int64_t now;
};

static void begin(struct world *w)
{
	*w = (struct world){.last_timeline = 1};
	for (int i = 0; i < NODES; i++) {
		w->node[i] = (struct node){true, true, i == 0, 1, 1, ++w->now};
		w->seen[i].who = &hosts[i];
	}
}

static void happens(struct world *w)
{
	struct node *n = &w->node[chance(NODES)], *other = &w->node[chance(NODES)];

	w->now++;
	switch (chance(11)) {
	case 0: n->up = false; return;
	case 1: /* comes back, as what it was */
	case 2:
		if (!n->up)
			n->started_us = w->now;
		n->up = true;
		return;
	case 3: n->reachable = !n->reachable; return;
	case 4: /* promoted, whatever else there is */
	case 5:
		if (n->up && !n->writable) {
			n->writable = true;
			n->timeline = ++w->last_timeline;
		}
		return;
	case 6: /* rewound to the highest timeline, and started */
		n->started_us = w->now;
		n->writable = false;
		n->timeline = w->last_timeline;
		return;
	case 7: /* another cluster stands where it was */
		if (chance(10) == 0) {
			n->started_us = w->now;
			n->system_id = 1 + chance(3);
			n->timeline = 1 + chance(20);
		}
		return;
	case 8: /* split brain: promoted to a timeline that there is already */
		if (n->up && !n->writable && chance(4) == 0) {
			n->writable = true;
			n->timeline = w->last_timeline;
		}
		return;
	case 9: /* two are promoted at once, which gives both the same one */
		if (n->up && other->up && !n->writable && !other->writable) {
			n->writable = other->writable = true;
			n->timeline = other->timeline = ++w->last_timeline;
		}
		return;
	default: /* the name leads to another node from now on */
		if (chance(5) == 0)
			*n = *other;
		return;
	}
}

static void probe(struct world *w, int i)
{
	const struct node *n = &w->node[i];
	struct sight *s = &w->seen[i];

	s->probed = true;
	s->answers = n->up && n->reachable;
	if (!s->answers)
		return;
	s->role = n->writable ? SIGHT_WRITABLE : SIGHT_STANDBY;
	s->timeline = n->writable && chance(8) != 0 ? n->timeline : 0;
	s->system_id = n->system_id;
	s->started_us = n->started_us;
}

static const struct sight *sight_of(const struct world *w, const void *who)
{
	for (int i = 0; i < NODES; i++)
		if (w->seen[i].who == who)
			return &w->seen[i];
	return NULL;
}

/* ---- what must hold of each decision; said anew here, in other words than the function has ---- */

static bool is_one_server(const struct sight *a, const struct sight *b)
{
	return a->system_id == b->system_id && a->started_us == b->started_us;
}

/* Of one server under several names the one that was seen on the highest timeline counts, then the primary's, then the first. */
static bool has_twin(const struct world *w, int i, const void *primary)
{
	int best = i;

	for (int j = 0; j < NODES; j++) {
		const struct sight *s = &w->seen[j], *b = &w->seen[best];
		uint32_t its = s->role == SIGHT_WRITABLE ? s->timeline : 0;
		uint32_t least = b->role == SIGHT_WRITABLE ? b->timeline : 0;

		if (!s->answers || !is_one_server(s, b) || its < least)
			continue;
		if (its > least || s->who == primary || (b->who != primary && j < best))
			best = j;
	}
	return best != i;
}

static bool is_any_twin(const struct world *w)
{
	for (int i = 0; i < NODES; i++)
		for (int j = 0; j < i; j++)
			if (is_one_server(&w->seen[i], &w->seen[j]))
				return true;
	return false;
}

static bool takes_writes(const struct world *w, int i, const void *primary)
{
	const struct sight *s = &w->seen[i];

	return s->answers && s->role == SIGHT_WRITABLE && s->timeline != 0 && !has_twin(w, i, primary);
}

static bool was_disowned(const struct cluster_memory *m, const struct sight *s)
{
	for (unsigned i = 0; i < m->n_disowned; i++)
		if ((m->disowned[i].who == s->who || is_one_server(&m->disowned[i], s)) &&
			m->disowned[i].timeline == s->timeline)
			return true;
	return false;
}

/* May it be the primary, by what was known before and by itself? */
static bool is_fit(const struct world *w, int i, const struct cluster_memory *m)
{
	const struct sight *s = &w->seen[i];

	return takes_writes(w, i, m->primary) && s->timeline >= m->timeline && !was_disowned(m, s) &&
	       (m->system_id == 0 || s->system_id == m->system_id);
}

static bool is_highest(const struct world *w, int i, const struct cluster_memory *m)
{
	for (int j = 0; j < NODES; j++)
		if (is_fit(w, j, m) && w->seen[j].system_id == w->seen[i].system_id &&
			w->seen[j].timeline > w->seen[i].timeline)
			return false;
	return true;
}

/* The primary that the facts say: NULL for none, with how many there are that could be. */
static const void *told_by_facts(const struct world *w, const struct cluster_memory *m, int *several)
{
	const void *preferred = m->named != NULL ? m->named : m->primary, *found = NULL;

	*several = 0;
	for (int i = 0; i < NODES; i++)
		if (m->forced && w->seen[i].who == m->named && takes_writes(w, i, m->primary))
			return m->named;
	for (int i = 0; i < NODES; i++) {
		if (!is_fit(w, i, m) || !is_highest(w, i, m))
			continue;
		++*several;
		if (found == NULL || w->seen[i].who == preferred)
			found = w->seen[i].who;
	}
	return *several == 1 || found == preferred ? found : NULL;
}

static struct cluster_decision decide_again(const struct world *w, struct cluster_memory m, const struct sight *seen)
{
	(void)w;
	return cluster_decide(&m, seen, NODES, true);
}

static bool is_same(struct cluster_decision a, struct cluster_decision b)
{
	return a.say == b.say && (a.say != CLUSTER_SERVE || a.primary == b.primary) &&
	       (a.say != CLUSTER_HOLD || a.why == b.why);
}

/* Nothing but facts counts: not how often they are told, not the order of the hosts, not what was true of who is silent. */
static void check_facts_alone(const struct world *w, const struct cluster_memory *before, struct cluster_decision d)
{
	struct sight other[NODES];
	struct cluster_decision again = decide_again(w, w->m, w->seen);

	must(is_same(again, d));
	must(!again.moved);
	for (int i = 0; i < NODES; i++) {
		other[i] = w->seen[i];
		if (other[i].answers)
			continue;
		other[i].role = (enum sight_role)chance(3);
		other[i].timeline = chance(50);
		other[i].system_id = chance(4);
	}
	if (w->m.n_disowned == 0 && before->n_disowned == 0 && !before->forced)
		must(is_same(decide_again(w, *before, other), d));
	if (is_any_twin(w))
		return;
	for (int i = 0; i < NODES; i++)
		other[i] = w->seen[NODES - 1 - i];
	must(is_same(decide_again(w, *before, other), d));
}

/* A node that is back with an older timeline, or of another cluster, is fenced as long as it takes writes. */
static void check_outcasts(const struct world *w)
{
	for (int i = 0; i < NODES; i++) {
		const struct sight *s = &w->seen[i];
		enum sight_state state = cluster_sight_state(&w->m, w->seen, NODES, (size_t)i);
		bool counts = takes_writes(w, i, w->m.primary) && !(w->m.forced && w->m.named == s->who);

		if (counts && w->m.system_id != 0 && s->system_id != w->m.system_id)
			must(state == SIGHT_FOREIGN);
		else if (counts && s->timeline < w->m.timeline)
			must(state == SIGHT_FENCED);
	}
}

static void check_serve(const struct world *w, const struct cluster_memory *before, struct cluster_decision d)
{
	const struct sight *p = sight_of(w, d.primary);
	bool forced = before->forced && d.primary == before->named;
	bool renamed = p->system_id == before->system_id && p->started_us == before->started_us;

	must(p->answers && p->role == SIGHT_WRITABLE && p->timeline != 0);
	must(forced || p->timeline >= before->timeline);
	must(forced || before->system_id == 0 || p->system_id == before->system_id);
	must(d.moved == (p->timeline != before->timeline || (d.primary != before->primary && !renamed)));
	must(w->m.started_us == p->started_us);
	must(w->m.primary == d.primary && w->m.timeline == p->timeline && w->m.system_id == p->system_id);
	must(w->m.named == NULL && !w->m.forced);
}

static void check(const struct world *w, const struct cluster_memory *before, struct cluster_decision d, bool complete)
{
	int several;
	const void *primary = told_by_facts(w, before, &several);

	if (before->primary == NULL && !complete) {
		must(d.say == CLUSTER_WAIT);
		return;
	}
	must(d.say ==
		(primary != NULL ? CLUSTER_SERVE : CLUSTER_HOLD)); /* neither a hold nor a primary without a reason */
	if (primary == NULL) {
		must((d.why == HOLD_TWO_WRITABLE) == (several > 1));
		must(w->m.primary == before->primary && w->m.timeline == before->timeline &&
			w->m.system_id == before->system_id);
	} else {
		must(d.primary == primary);
		check_serve(w, before, d);
	}
	check_facts_alone(w, before, d);
	check_outcasts(w);
}

static void history(void)
{
	struct world w;

	begin(&w);
	for (step = 0; step < STEPS; step++) {
		struct cluster_memory before;
		struct cluster_decision d;
		bool complete = step > NODES && chance(8) != 0; /* counts before the first one alone */

		if (chance(2) == 0)
			happens(&w);
		if (chance(30) == 0) {
			w.m.named = &hosts[chance(NODES)];
			w.m.forced = chance(2) == 0;
		}
		if (step < NODES)
			probe(&w, step);
		else
			probe(&w, (int)chance(NODES));
		before = w.m;
		d = cluster_decide(&w.m, w.seen, NODES, complete);
		check(&w, &before, d, complete);
	}
}

static void test_histories(void **state)
{
	const char *given = getenv("PSB_TEST_SEED");
	uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 1;

	(void)state;
	for (number = first; number < first + HISTORIES; number++) {
		seed = number * 0x9e3779b97f4a7c15u;
		history();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_two_clusters_at_the_start),
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
