/*
 * topology_fit.c: see pool/topology.h. Which hosts fit which entries, by what is known of them now.
 */
#include "pool/topology.h"

#include <string.h>

#include "base/timer.h"
#include "pool/endpoint.h"
#include "pool/registry.h"

#include "topology_priv.h"

const struct endpoint *topology_first_name(const struct endpoint *ep)
{
	const struct cluster *c = ep->state == SIGHT_TWIN ? ep->cluster : NULL;

	for (size_t i = 0; c != NULL && i < c->n; i++) {
		const struct endpoint *other = c->members[i];

		if (other->seen.answers && other->state != SIGHT_TWIN && sight_is_same_server(&ep->seen, &other->seen))
			return other;
	}
	return ep;
}

/* Of the names of a server that an entry has connections go to one: that by which it counts, else the first one. */
static bool is_second_name(const struct database *d, const struct endpoint *ep)
{
	bool before = true;

	for (size_t i = 0; ep->state == SIGHT_TWIN && i < d->n_hosts; i++) {
		const struct endpoint *other = d->hosts[i];

		before = before && other != ep;
		if (other != ep && sight_is_same_server(&other->seen, &ep->seen) &&
			(other->state == SIGHT_UP || (other->state == SIGHT_TWIN && before)))
			return true;
	}
	return false;
}

bool topology_is_standby(const struct endpoint *ep)
{
	if (ep->blind)
		return ep->witnessed == SIGHT_STANDBY;
	ep = topology_first_name(ep);
	return ep->state == SIGHT_UP && ep->seen.role == SIGHT_STANDBY;
}

bool topology_is_at_primary(const struct cluster *c, const struct endpoint *ep)
{
	const struct endpoint *primary = c->now.primary;

	return primary != NULL && (ep == primary || sight_is_same_server(&ep->seen, &primary->seen));
}

/* One that its monitor knows nothing of may be tried as long as none is known: its own connections say what it is. */
static bool is_primary(const struct cluster *c, const struct endpoint *ep)
{
	if (c->switching.step != SWITCH_NONE)
		return false;
	if (c->now.say == CLUSTER_SERVE)
		return c->now.primary == ep || (ep->state == SIGHT_TWIN && topology_is_at_primary(c, ep));
	return ep->blind && ep->witnessed != SIGHT_STANDBY;
}

bool topology_is_primary(const struct endpoint *ep)
{
	return ep->cluster != NULL && is_primary(ep->cluster, ep);
}

bool topology_lag(const struct endpoint *ep, int64_t *bytes, int64_t *age_us)
{
	const struct cluster *c = ep->cluster;
	uint64_t here, there;

	if (c == NULL || c->now.say != CLUSTER_SERVE || ep->seen.role != SIGHT_STANDBY || !endpoint_lsn(ep, &here) ||
		!endpoint_lsn(c->now.primary, &there))
		return false;
	*bytes = there > here ? (int64_t)(there - here) : 0;
	*age_us = 0;
	for (uint32_t i = 0; i < c->samples.n; i++)
		if (c->samples.v[i].lsn > here) {
			/* Where it is not asked all the time it is how far it was behind when it was. */
			*age_us = (c->wants_lag ? clock_us() : ep->lsn_us) - c->samples.v[i].at_us;
			break;
		}
	if (*age_us < 0)
		*age_us = 0;
	return true;
}

/* Where it is not known how far it is behind it is not left out. */
static bool is_lagging(const struct database *d, const struct endpoint *ep)
{
	int64_t bytes, age_us;

	if (d->max_lag == 0 || !topology_lag(ep, &bytes, &age_us))
		return false;
	return d->max_lag > 0 ? bytes > d->max_lag : age_us > -d->max_lag;
}

static bool is_replica(const struct database *d, size_t i)
{
	const struct endpoint *ep = d->hosts[i];

	return topology_is_standby(ep) && !is_second_name(d, ep) && !is_lagging(d, ep);
}

static bool is_near(const struct database *d, size_t i)
{
	const char *zone = d->conf != NULL && i < d->conf->n_hosts ? d->conf->hosts[i].zone : NULL;

	return zone != NULL && strcmp(zone, d->config->set.zone) == 0;
}

/* Is there one; near: in the own zone? */
static bool has_replica(const struct database *d, bool near)
{
	for (size_t i = 0; i < d->n_hosts; i++)
		if (is_replica(d, i) && (!near || is_near(d, i)))
			return true;
	return false;
}

static bool fits_as_replica(const struct database *d, const struct endpoint *ep)
{
	bool near = d->same_zone && has_replica(d, true);

	for (size_t i = 0; i < d->n_hosts; i++)
		if (d->hosts[i] == ep && is_replica(d, i) && (!near || is_near(d, i)))
			return true;
	return false;
}

static bool fits_as_primary(const struct database *d, const struct endpoint *ep)
{
	return is_primary(d->cluster, ep) && !is_second_name(d, ep);
}

bool topology_fits(const struct database *d, const struct endpoint *ep)
{
	if (d->cluster == NULL)
		return true;
	switch (d->target) {
	case TARGET_ANY: return true;
	case TARGET_PRIMARY: return fits_as_primary(d, ep);
	case TARGET_STANDBY: return fits_as_replica(d, ep);
	case TARGET_PREFER_STANDBY: return fits_as_replica(d, ep) || (!has_replica(d, false) && fits_as_primary(d, ep));
	}
	return true;
}

uint64_t topology_unfit(const struct database *d)
{
	uint64_t unfit = 0;

	if (d->cluster == NULL)
		return 0;
	for (size_t i = 0; i < d->n_hosts; i++)
		if (!topology_fits(d, d->hosts[i]))
			unfit |= UINT64_C(1) << i;
	return unfit;
}

bool topology_has_fit(const struct database *d)
{
	for (size_t i = 0; i < d->n_hosts; i++)
		if (topology_fits(d, d->hosts[i]))
			return true;
	return false;
}
