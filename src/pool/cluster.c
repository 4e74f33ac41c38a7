/*
 * cluster.c: see pool/cluster.h. Called with each new fact about an endpoint.
 */
#include "pool/cluster.h"

static bool is_forced(const struct cluster_memory *m, const struct sight *s)
{
	return m->forced && m->named == s->who;
}

bool sight_is_same_server(const struct sight *a, const struct sight *b)
{
	return a->system_id != 0 && a->started_us != 0 && a->system_id == b->system_id &&
	       a->started_us == b->started_us;
}

static uint32_t written_timeline(const struct sight *s)
{
	return s->role == SIGHT_WRITABLE ? s->timeline : 0;
}

/*
 * Of a server under several addresses the one counts that was seen on the highest timeline: the others were looked at before
 * it was promoted. Of several such ones the present primary's, else the first one.
 */
static bool is_twin(const struct cluster_memory *m, const struct sight *seen, size_t n, size_t i)
{
	uint32_t mine = written_timeline(&seen[i]);

	for (size_t j = 0; j < n; j++) {
		uint32_t its = written_timeline(&seen[j]);

		if (j == i || !seen[j].answers || !sight_is_same_server(&seen[i], &seen[j]))
			continue;
		if (its > mine || (its == mine && seen[i].who != m->primary && (j < i || seen[j].who == m->primary)))
			return true;
	}
	return false;
}

static bool is_disowned(const struct cluster_memory *m, const struct sight *s)
{
	for (unsigned i = 0; i < m->n_disowned; i++)
		if (m->disowned[i].timeline == s->timeline &&
			(m->disowned[i].who == s->who || sight_is_same_server(&m->disowned[i], s)))
			return true;
	return false;
}

enum sight_state cluster_sight_state(const struct cluster_memory *m, const struct sight *seen, size_t n, size_t i)
{
	const struct sight *s = &seen[i];

	if (!s->answers)
		return SIGHT_DOWN;
	if (is_twin(m, seen, n, i))
		return SIGHT_TWIN;
	if (is_forced(m, s))
		return SIGHT_UP;
	if (m->system_id != 0 && s->system_id != 0 && s->system_id != m->system_id)
		return SIGHT_FOREIGN;
	if (s->role == SIGHT_WRITABLE && s->timeline != 0 && (s->timeline < m->timeline || is_disowned(m, s)))
		return SIGHT_FENCED;
	return SIGHT_UP;
}

static bool has_moved(const struct cluster_memory *m, const struct sight *s)
{
	struct sight last = {.system_id = m->system_id, .started_us = m->started_us};

	return m->timeline != s->timeline || (m->primary != s->who && !sight_is_same_server(&last, s));
}

static struct cluster_decision serve(struct cluster_memory *m, const struct sight *s)
{
	struct cluster_decision d = {.say = CLUSTER_SERVE, .primary = s->who, .moved = has_moved(m, s)};

	m->primary = s->who;
	m->timeline = s->timeline;
	m->started_us = s->started_us;
	if (s->system_id != 0)
		m->system_id = s->system_id;
	m->named = NULL;
	m->forced = false;
	return d;
}

/* What stands above the one that an operator wants is not to win it back. */
static struct cluster_decision serve_forced(struct cluster_memory *m, const struct sight *seen, size_t n, size_t i)
{
	m->n_disowned = 0;
	for (size_t j = 0; j < n && m->n_disowned < CLUSTER_DISOWNED; j++) {
		if (j == i || seen[j].role != SIGHT_WRITABLE || seen[j].timeline < seen[i].timeline ||
			sight_is_same_server(&seen[j], &seen[i]))
			continue;
		m->disowned[m->n_disowned++] = seen[j];
	}
	return serve(m, &seen[i]);
}

static bool is_writable(const struct cluster_memory *m, const struct sight *seen, size_t n, size_t i)
{
	return seen[i].role == SIGHT_WRITABLE && seen[i].timeline != 0 &&
	       cluster_sight_state(m, seen, n, i) == SIGHT_UP;
}

/* Is another one on a higher timeline? Those of different clusters cannot be compared. */
static bool is_surpassed(const struct cluster_memory *m, const struct sight *seen, size_t n, size_t i)
{
	for (size_t j = 0; j < n; j++)
		if (seen[j].timeline > seen[i].timeline && seen[j].system_id == seen[i].system_id &&
			is_writable(m, seen, n, j))
			return true;
	return false;
}

static bool has_outcasts(const struct cluster_memory *m, const struct sight *seen, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum sight_state state = cluster_sight_state(m, seen, n, i);

		if (seen[i].role == SIGHT_WRITABLE && (state == SIGHT_FENCED || state == SIGHT_FOREIGN))
			return true;
	}
	return false;
}

static struct cluster_decision hold(enum cluster_hold why)
{
	return (struct cluster_decision){.say = CLUSTER_HOLD, .why = why};
}

struct cluster_decision cluster_decide(struct cluster_memory *m, const struct sight *seen, size_t n, bool complete)
{
	const void *preferred = m->named != NULL ? m->named : m->primary;
	const struct sight *only = NULL;
	size_t found = 0;

	if (m->primary == NULL && !complete)
		return (struct cluster_decision){.say = CLUSTER_WAIT};
	for (size_t i = 0; i < n; i++) {
		if (!is_writable(m, seen, n, i))
			continue;
		if (is_forced(m, &seen[i]))
			return serve_forced(m, seen, n, i);
		if (is_surpassed(m, seen, n, i))
			continue;
		found++;
		if (only == NULL || seen[i].who == preferred)
			only = &seen[i];
	}
	if (found == 1 || (found > 1 && only->who == preferred))
		return serve(m, only);
	if (found > 1)
		return hold(HOLD_TWO_WRITABLE);
	return hold(has_outcasts(m, seen, n) ? HOLD_FENCED : HOLD_NONE_WRITABLE);
}
