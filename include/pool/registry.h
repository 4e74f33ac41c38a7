/*
 * registry: what runs. Databases and users by name, the pools between them, the
 * limits, and the configuration in force. Objects outlive a reload and go when
 * nothing needs them.
 */
#ifndef PSBOUNCER_POOL_REGISTRY_H
#define PSBOUNCER_POOL_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "auth/scram.h"
#include "base/htab.h"
#include "conf/config.h"
#include "pool/endpoint.h"
#include "pool/stats.h"
#include "pool/topology.h"

struct vars;
struct timers;
struct vars_table;
struct stmt_table;
struct pool;
struct pool_ops;

TAILQ_HEAD(pool_list, pool);

enum target_attrs { TARGET_ANY, TARGET_PRIMARY, TARGET_STANDBY, TARGET_PREFER_STANDBY };

/*
 * What the last client of a database asked for, and what it was told: the next one is mostly alike. Follows from its
 * packet, the greeting and the configuration.
 */
struct usual {
	struct vars *greeting; /* held; NULL: nothing is known */
	char *params;	       /* as they stood in the startup packet */
	size_t params_len;
	bool tracks;	      /* a user may have a session_state of its own */
	struct vars *startup; /* held: what came of them */
	struct vars *told;    /* held; NULL: nothing is known */
	char *words;	      /* the messages that tell it */
	size_t words_len;
};

struct database {
	struct hnode by_name;
	struct registry *registry;
	char *name;
	struct config *config;		    /* keeps conf alive */
	const struct config_database *conf; /* NULL: gone from the file */
	struct endpoint **hosts;
	size_t n_hosts;
	unsigned turn; /* round robin over hosts */
	enum target_attrs target;
	int64_t max_lag;	 /* max_replica_lag */
	bool same_zone;		 /* prefer_same_zone, and there is a zone */
	struct cluster *cluster; /* of its hosts, where target counts; else NULL */
	bool held;		 /* none of them fits: asks wait */
	int64_t held_us;	 /* when that began, or ended */
	struct pool_list pools;
	struct vars *greeting;	 /* what its last server login reported; NULL: none yet */
	struct usual usual;	 /* for client_login; forgotten when the configuration changes */
	char server_version[32]; /* "" until a login */
	struct stats stats;
	unsigned servers, clients; /* connections that count */
	unsigned setup;		   /* of the servers those that log in */
	unsigned holds;		   /* clients and others that keep it alive */
	bool automatic;		   /* made by the entry "*" */
	bool starved;		   /* an ask waits at max_db_connections */
	bool is_loose;		   /* in registry.loose_databases */
	TAILQ_ENTRY(database) loose;
	struct user *forced; /* its user= (held), or NULL */
	/* Console: PAUSE, DISABLE, KILL. Who changes paused or killed calls database_mark(). */
	bool paused, disabled, killed;
};

struct user {
	struct hnode by_name;
	struct registry *registry;
	char *name;
	struct config *config;		/* keeps conf alive */
	const struct config_user *conf; /* NULL: not in [users] */
	const struct auth_entry *auth;	/* NULL: not in auth_file */
	unsigned servers, clients;	/* connections that count */
	unsigned holds;			/* clients and others that keep it alive */
	bool starved;			/* an ask waits at max_user_connections */
	bool is_loose;			/* in registry.loose_users */
	TAILQ_ENTRY(user) loose;
	struct pool_list pools;
	/* Keys of the password, so that PBKDF2 runs once: of us as a client of servers, and of verifiers we made. */
	struct scram_cache scram;
};

/* A pool and the number of the ask that it would serve next. */
struct pool_turn {
	uint64_t number;
	struct pool *pool;
};

struct registry {
	struct config *config;
	struct timers *timers; /* the loop's */
	struct vars_table *vars;
	struct vars *no_vars; /* the empty set */
	struct stmt_table *stmts;
	struct endpoints endpoints;
	struct cluster_list clusters;
	struct failovers failovers;
	struct htab databases, users;
	struct pool_list pools; /* all, by age */
	struct htab pool_index; /* the same, struct pool.by_key */
	struct pool_list dirty; /* to be looked at in pools_run() */
	const struct pool_ops *ops;
	void *ctx;	  /* handed to ops */
	uint64_t asked;	  /* numbers the asks: first come, first served */
	unsigned clients; /* that count towards max_client_conn */
	bool paused;	  /* PAUSE without a name, SHUTDOWN WAIT_FOR_SERVERS; then registry_mark() */
	bool configured;  /* the first configuration is in force, and none is being taken */
	unsigned busy;	  /* in code that walks pools: nothing is freed now */
	TAILQ_HEAD(, database) loose_databases; /* to be freed if nothing needs them */
	TAILQ_HEAD(, user) loose_users;
	struct pool_turn *order; /* scratch of pools_run() */
	size_t order_cap;
};

/* Takes a reference to c. */
void registry_init(struct registry *r, struct timers *t, struct config *c, const struct pool_ops *ops, void *ctx);
/* Every connection is closed by now and every hold dropped. */
void registry_free(struct registry *r);

/* Finds or makes the running database of a name that the configuration knows, itself or by "*"; else NULL. */
struct database *registry_database(struct registry *r, const char *name);
struct database *registry_database_find(struct registry *r, const char *name); /* running ones only */
struct user *registry_user(struct registry *r, const char *name);
struct user *registry_user_find(struct registry *r, const char *name); /* NULL: none runs */
/*
 * Keep an object alive; drop lets it go when nothing else needs it. Databases of the file and users of the file and of
 * auth_file stay while they stand there, others go with their last connection. With a database go users that nothing
 * but its pools needed, no other database; with a user goes no other user.
 */
void database_hold(struct database *d);
void database_drop(struct database *d);
void user_hold(struct user *u);
void user_drop(struct user *u);

/* PAUSE waits until nothing of the database is active any more, WAIT_CLOSE until nothing is retired. */
unsigned database_active(const struct database *d);
unsigned database_retiring(const struct database *d);
/* Its pools, or all, are looked at in the next pools_run(). */
void database_mark(struct database *d);
void registry_mark(struct registry *r);

/*
 * Swaps the configuration in (takes a reference): objects are matched by name,
 * the servers that were made for another host, user, ... or with other TLS
 * settings are retired, databases that are gone lose their clients
 * (ops->database_gone). All databases of the file exist from here on, "*" ones
 * when they are asked for.
 */
void registry_configure(struct registry *r, struct config *c);
/* For the pools: nothing may need these any more; the next registry_sweep() frees them if so. */
void registry_loosen(struct database *d, struct user *u);
/* At the end of pools_run(). */
void registry_sweep(struct registry *r);
/* A stats period ends. */
void registry_stats_tick(struct registry *r);

/*
 * Limits. Every one is asked here and nowhere else. take: false when it is
 * reached, nothing is changed then; each take that was granted has its give.
 * A LIMIT_* kind says which object the key is.
 */
enum limit_kind {
	LIMIT_CLIENTS,	    /* max_client_conn; key NULL */
	LIMIT_DB_CLIENTS,   /* max_db_client_connections; struct database */
	LIMIT_USER_CLIENTS, /* max_user_client_connections; struct user */
	LIMIT_DB_SERVERS,   /* max_db_connections; struct database */
	LIMIT_USER_SERVERS, /* max_user_connections; struct user */
	LIMIT_POOL	    /* pool_size; struct pool */
};
/* Would take be granted? Is more taken than the limit allows (it was lowered, or force was used)? */
bool pool_limit_room(const struct registry *r, enum limit_kind kind, const void *key);
bool pool_limit_over(const struct registry *r, enum limit_kind kind, const void *key);
bool pool_limit_take(struct registry *r, enum limit_kind kind, void *key) __attribute__((warn_unused_result));
/* Also for what was let in without a check (administrators): counts without asking. */
void pool_limit_force(struct registry *r, enum limit_kind kind, void *key);
void pool_limit_give(struct registry *r, enum limit_kind kind, void *key);
int64_t pool_limit_value(const struct registry *r, enum limit_kind kind, const void *key); /* 0: none */

#endif
