/*
 * resolve: owns the names that were looked up, the queries that wait for them,
 * and libevent's DNS client. Called by those who connect and those who listen.
 * It connects to nothing and chooses no address.
 */
#include "net/resolve.h"

#include <assert.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/htab.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/loop.h"

enum { RESOLVE_ERROR = 128 };

/* So long a lookup may take where something is known already: a third of what topology_check_timeout gives a login. */
static const int64_t patience_us = 3 * USEC / 10;
/* An address that nobody has asked for all that time is forgotten. */
static const int64_t kept_us = 24 * 3600 * USEC;

enum source { HOSTS, RESOLV_CONF, SOURCES };

/* So that the C library's words for them fit, which users know. */
static_assert(EVUTIL_EAI_NONAME == EAI_NONAME && EVUTIL_EAI_AGAIN == EAI_AGAIN, "libevent has codes of its own");

TAILQ_HEAD(query_list, resolve_query);

/* A name and what is known of it. */
struct name {
	struct hnode node;
	struct resolver *r;
	char *text;
	bool pending; /* a lookup is under way */
	bool known;   /* one has ended; what it found, or why not, is below */
	bool late;    /* the one that is under way takes longer than patience_us */
	struct timer patience;
	struct query_list waiting; /* for that lookup */
	unsigned users;		   /* queries that point here, waiting or answered */
	int64_t until_us;
	size_t n;
	struct addr addrs[RESOLVE_MAX_ADDRS];
	char error[RESOLVE_ERROR];
};

struct resolve_query {
	TAILQ_ENTRY(resolve_query) link; /* on name->waiting or on resolver->answered */
	struct resolver *r;
	struct name *name;   /* NULL: the address was numeric */
	struct addr numeric; /* then it is this one */
	bool answered;
	resolve_cb *cb;
	void *arg;
};

struct resolver {
	struct loop *loop;
	int64_t ttl_us;
	struct evdns_base *dns; /* made for the first name */
	resolve_source *source; /* in place of dns, or NULL */
	void *source_arg;
	const char *file[SOURCES];
	struct stat read_from[SOURCES]; /* as they were when dns was made */
	struct htab names;
	size_t pending;
	struct query_list answered; /* their callbacks come with deliver */
	struct timer deliver;
	bool asking; /* inside evdns_getaddrinfo(), which may answer at once */
	bool closing;
};

/* ---- libevent's DNS client ----------------------------------------------------- */

static void look_at_file(const char *file, struct stat *st)
{
	if (stat(file, st) != 0)
		*st = (struct stat){0};
}

static bool file_changed(const char *file, const struct stat *before)
{
	struct stat now;

	look_at_file(file, &now);
	return now.st_dev != before->st_dev || now.st_ino != before->st_ino || now.st_size != before->st_size ||
	       now.st_mtim.tv_sec != before->st_mtim.tv_sec || now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

/* libevent reads the files once; who edits them expects it to be seen. */
static void forget_old_files(struct resolver *r)
{
	if (r->dns == NULL || r->pending > 0)
		return;
	for (size_t i = 0; i < SOURCES; i++) {
		if (!file_changed(r->file[i], &r->read_from[i]))
			continue;
		evdns_base_free(r->dns, 0);
		r->dns = NULL;
		return;
	}
}

static bool have_dns(struct resolver *r)
{
	forget_old_files(r);
	if (r->dns != NULL)
		return true;
	if (r->loop->base == NULL)
		return false;
	for (size_t i = 0; i < SOURCES; i++)
		look_at_file(r->file[i], &r->read_from[i]);
	r->dns = evdns_base_new(r->loop->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (r->dns == NULL)
		return false;
	/* Without a file libevent knows localhost, and asks a name server on this machine. */
	(void)evdns_base_load_hosts(r->dns, r->file[HOSTS]);
	(void)evdns_base_resolv_conf_parse(r->dns, DNS_OPTIONS_ALL & ~DNS_OPTION_HOSTSFILE, r->file[RESOLV_CONF]);
	return true;
}

/* ---- answers ------------------------------------------------------------------- */

static void answer_later(struct resolver *r, struct resolve_query *q)
{
	q->answered = true;
	TAILQ_INSERT_TAIL(&r->answered, q, link);
	timer_no_later(&r->loop->timers, &r->deliver, clock_us());
}

static void take_addrs(struct name *name, const struct evutil_addrinfo *list)
{
	name->n = 0;
	for (const struct evutil_addrinfo *ai = list; ai != NULL && name->n < RESOLVE_MAX_ADDRS; ai = ai->ai_next) {
		struct addr a = addr_from_sockaddr(ai->ai_addr, ai->ai_addrlen);
		size_t i = 0;

		a.port = 0;
		while (i < name->n && !addr_equal(&name->addrs[i], &a))
			i++;
		if (i == name->n && (a.family == AF_INET || a.family == AF_INET6))
			name->addrs[name->n++] = a;
	}
}

static void answer_waiting(struct name *name)
{
	struct resolve_query *q;

	while ((q = TAILQ_FIRST(&name->waiting)) != NULL) {
		TAILQ_REMOVE(&name->waiting, q, link);
		answer_later(name->r, q);
	}
}

/* name->addrs are what was found. */
static void finish_lookup(struct name *name, const char *error)
{
	struct resolver *r = name->r;

	timer_cancel(&r->loop->timers, &name->patience);
	name->pending = name->late = false;
	name->known = true;
	r->pending--;
	name->until_us = clock_us() + r->ttl_us;
	snprintf(name->error, sizeof name->error, "%s", error);
	answer_waiting(name);
}

static void patience_ends(struct timer *t, void *ctx)
{
	struct name *name = container_of(t, struct name, patience);

	(void)ctx;
	name->late = true;
	answer_waiting(name);
}

/* The name servers are not there, or not well: that says nothing of the name. */
static bool is_silence(int result)
{
	return result == EVUTIL_EAI_FAIL || result == EVUTIL_EAI_AGAIN;
}

static const char *why_not(int result)
{
	switch (result) {
	case 0: return "the name has no address";
	case EVUTIL_EAI_FAIL: return "no name server answered"; /* libevent's word for that, too */
	default: return gai_strerror(result);
	}
}

static void on_addrs(int result, struct evutil_addrinfo *list, void *arg)
{
	struct name *name = arg;
	struct resolver *r = name->r;

	if (!r->asking && !r->closing)
		loop_callback(r->loop);
	if (!is_silence(result))
		take_addrs(name, list);
	finish_lookup(name, why_not(result));
	if (list != NULL)
		evutil_freeaddrinfo(list);
	if (r->closing)
		event_base_loopbreak(r->loop->base);
}

static void begin_lookup(struct name *name)
{
	struct resolver *r = name->r;
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct evdns_getaddrinfo_request *request;
	bool usable = r->source != NULL || have_dns(r);

	name->pending = true;
	r->pending++;
	if (r->source != NULL || !usable) {
		name->n = usable ? r->source(name->text, name->addrs, r->source_arg) : 0;
		finish_lookup(name, usable ? why_not(0) : "no resolver");
		return;
	}
	r->asking = true;
	request = evdns_getaddrinfo(r->dns, name->text, NULL, &hints, on_addrs, name);
	r->asking = false;
	if (!name->pending)
		return; /* from /etc/hosts */
	if (request == NULL) {
		finish_lookup(name, "out of memory");
	} else if (name->known) {
		timer_set(&r->loop->timers, &name->patience, clock_us() + patience_us);
	}
}

static void free_query(struct resolve_query *q)
{
	if (q->name != NULL)
		q->name->users--;
	xfree(MEM_MISC, q);
}

static void deliver(struct timer *t, void *ctx)
{
	struct resolver *r = container_of(t, struct resolver, deliver);
	struct resolve_query *q;
	size_t n = 0;

	(void)ctx;
	TAILQ_FOREACH (q, &r->answered, link)
		n++;
	for (; n > 0 && (q = TAILQ_FIRST(&r->answered)) != NULL; n--) {
		/* Copies: the callback may look the same name up again. */
		struct addr addrs[RESOLVE_MAX_ADDRS];
		char error[RESOLVE_ERROR] = "";
		size_t count = 1;
		resolve_cb *cb = q->cb;
		void *arg = q->arg;

		TAILQ_REMOVE(&r->answered, q, link);
		addrs[0] = q->numeric;
		if (q->name != NULL) {
			count = q->name->n;
			memcpy(addrs, q->name->addrs, count * sizeof addrs[0]);
			memcpy(error, q->name->error, sizeof error);
		}
		free_query(q);
		cb(addrs, count, count == 0 ? error : NULL, arg);
	}
	if (!TAILQ_EMPTY(&r->answered))
		timer_no_later(&r->loop->timers, &r->deliver, clock_us());
}

/* ---- names --------------------------------------------------------------------- */

static bool name_eq(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, const struct name, node)->text, key) == 0;
}

static void drop_name(struct resolver *r, struct name *name)
{
	htab_remove(&r->names, &name->node);
	xfree(MEM_MISC, name->text);
	xfree(MEM_MISC, name);
}

static void drop_old_names(struct resolver *r)
{
	struct hnode *next;

	for (struct hnode *n = htab_next(&r->names, NULL); n != NULL; n = next) {
		struct name *name = container_of(n, struct name, node);

		next = htab_next(&r->names, n);
		if (!name->pending && name->users == 0 && name->until_us + (name->n > 0 ? kept_us : 0) <= clock_us())
			drop_name(r, name);
	}
}

static struct name *get_name(struct resolver *r, const char *text)
{
	uint64_t hash = hash_str(text);
	struct hnode *n = htab_find(&r->names, hash, name_eq, text);
	struct name *name;

	if (n != NULL)
		return container_of(n, struct name, node);
	drop_old_names(r);
	name = xcalloc(MEM_MISC, 1, sizeof *name);
	name->r = r;
	name->text = xstrdup(MEM_MISC, text);
	name->patience.fire = patience_ends;
	TAILQ_INIT(&name->waiting);
	htab_insert(&r->names, &name->node, hash);
	return name;
}

/* ---- what callers see ---------------------------------------------------------- */

struct resolver *resolver_new(struct loop *l, int64_t ttl_us)
{
	struct resolver *r = xcalloc(MEM_MISC, 1, sizeof *r);

	r->loop = l;
	r->ttl_us = ttl_us;
	r->deliver.fire = deliver;
	resolver_set_files(r, "/etc/hosts", "/etc/resolv.conf");
	TAILQ_INIT(&r->answered);
	return r;
}

void resolver_set_files(struct resolver *r, const char *hosts, const char *resolv_conf)
{
	r->file[HOSTS] = hosts;
	r->file[RESOLV_CONF] = resolv_conf;
}

void resolver_set_source(struct resolver *r, resolve_source *source, void *arg)
{
	r->source = source;
	r->source_arg = arg;
}

/*
 * libevent tells of a request's end only from the loop, and frees it then. So
 * the loop runs until all have been told; each of them ends that run, and they
 * stand in front of whatever else is active.
 */
static void end_lookups(struct resolver *r)
{
	r->closing = true;
	evdns_base_free(r->dns, 1);
	while (r->pending > 0 && event_base_loop(r->loop->base, EVLOOP_NONBLOCK | EVLOOP_ONCE) == 0)
		;
}

void resolver_free(struct resolver *r)
{
	struct resolve_query *q;
	struct hnode *n;

	if (r->dns != NULL)
		end_lookups(r);
	while ((q = TAILQ_FIRST(&r->answered)) != NULL)
		resolve_cancel(q);
	timer_cancel(&r->loop->timers, &r->deliver);
	while ((n = htab_next(&r->names, NULL)) != NULL) {
		struct name *name = container_of(n, struct name, node);

		assert(TAILQ_EMPTY(&name->waiting));
		timer_cancel(&r->loop->timers, &name->patience);
		drop_name(r, name);
	}
	htab_free(&r->names);
	xfree(MEM_MISC, r);
}

struct resolve_query *resolve(struct resolver *r, const char *name, resolve_cb *cb, void *arg)
{
	struct resolve_query *q = xcalloc(MEM_MISC, 1, sizeof *q);

	q->r = r;
	q->cb = cb;
	q->arg = arg;
	if (addr_parse(name, 0, &q->numeric)) {
		answer_later(r, q);
		return q;
	}
	q->name = get_name(r, name);
	q->name->users++;
	if (q->name->pending ? q->name->late : q->name->until_us > clock_us()) {
		answer_later(r, q);
		return q;
	}
	TAILQ_INSERT_TAIL(&q->name->waiting, q, link);
	if (!q->name->pending)
		begin_lookup(q->name);
	return q;
}

void resolve_cancel(struct resolve_query *q)
{
	if (q->answered)
		TAILQ_REMOVE(&q->r->answered, q, link);
	else
		TAILQ_REMOVE(&q->name->waiting, q, link);
	free_query(q);
}

void resolver_count(const struct resolver *r, size_t *names, size_t *pending)
{
	*names = r->names.count - r->pending;
	*pending = r->pending;
}
