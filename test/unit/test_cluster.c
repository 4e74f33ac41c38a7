/*
 * cluster: the decision, by tables and over generated histories of a cluster
 * whose nodes crash, come back, are promoted, cut off, restored from elsewhere.
 */
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
		{"a- bw3@2#7", "b moved"},
		{"aw3@2#7 bw3@2#7", "b"},
		/* another server behind the primary's name, or the same that was promoted between two looks; then restarted */
		{"as@2#7 bw4@2#9", "b moved"},
		{"as@2#7 bw4@2#10", "b"},
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

static uint64_t seed;

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
	struct node *n = &w->node[chance(NODES)];

	w->now++;
	switch (chance(9)) {
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
	case 6: /* rewound to the highest timeline */
		n->writable = false;
		n->timeline = w->last_timeline;
		return;
	case 7: /* another cluster stands where it was */
		if (chance(10) == 0) {
			n->system_id = 1 + chance(3);
			n->timeline = 1 + chance(20);
		}
		return;
	default: /* split brain: two promoted at once get the same timeline */
		if (n->up && !n->writable && chance(4) == 0) {
			n->writable = true;
			n->timeline = w->last_timeline;
		}
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

static bool is_primary_of(const struct sight *s, const struct cluster_memory *m, uint32_t timeline)
{
	return s->answers && s->role == SIGHT_WRITABLE && s->system_id == m->system_id && s->timeline >= timeline;
}

static void check(struct world *w, const struct cluster_memory *before, struct cluster_decision d, bool complete,
	bool forced)
{
	const struct sight *p = d.say == CLUSTER_SERVE ? sight_of(w, d.primary) : NULL;
	const struct sight *old = sight_of(w, before->primary);
	struct cluster_memory again = w->m;

	if (d.say == CLUSTER_WAIT) {
		assert_true(before->primary == NULL && !complete);
		return;
	}
	if (d.say == CLUSTER_SERVE) {
		assert_true(p->answers && p->role == SIGHT_WRITABLE && p->timeline != 0);
		assert_true(forced || p->timeline >= before->timeline);
		assert_true(forced || before->system_id == 0 || p->system_id == before->system_id);
		assert_true(d.moved == (d.primary != before->primary || p->timeline != before->timeline));
		/* None that answers is above it in its own cluster. */
		for (int i = 0; i < NODES && !forced; i++)
			assert_false(cluster_sight_state(before, w->seen, NODES, (size_t)i) == SIGHT_UP &&
				     w->seen[i].role == SIGHT_WRITABLE && w->seen[i].system_id == p->system_id &&
				     w->seen[i].timeline > p->timeline);
		/* The same facts say the same again. */
		again.named = NULL;
		assert_ptr_equal(cluster_decide(&again, w->seen, NODES, complete).primary, d.primary);
		return;
	}
	/* A present primary that is seen as one, with none above it, is not left. */
	if (old == NULL || !is_primary_of(old, before, before->timeline) || before->named != NULL)
		return;
	for (int i = 0; i < NODES; i++)
		if (is_primary_of(&w->seen[i], before, before->timeline + 1))
			return;
	fail_msg("a hold although the primary is there");
}

static void history(void)
{
	struct world w;

	begin(&w);
	for (int step = 0; step < STEPS; step++) {
		struct cluster_memory before;
		struct cluster_decision d;
		bool complete = step > NODES, forced;

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
		forced = before.forced && d.say == CLUSTER_SERVE && d.primary == before.named;
		check(&w, &before, d, complete, forced);
	}
}

static void test_histories(void **state)
{
	const char *given = getenv("PSB_TEST_SEED");
	uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 1;

	(void)state;
	for (uint64_t i = first; i < first + HISTORIES; i++) {
		seed = i * 0x9e3779b97f4a7c15u;
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
