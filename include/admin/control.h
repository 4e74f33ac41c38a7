/*
 * control: pause, kill, reload, shutdown of the running program, as one small
 * state machine. Commands of the console and signals end here. What cannot be
 * done at once is looked after in control_turn(), once a turn of the loop.
 */
#ifndef PSBOUNCER_ADMIN_CONTROL_H
#define PSBOUNCER_ADMIN_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/log.h"
#include "pool/stats.h"

struct config;
struct database;
struct endpoint;
struct errs;
struct pooler;

/* What the program as a process, and whoever started it (a service manager), may want to know. */
enum control_event {
	CONTROL_RELOADING, /* a reload begins */
	CONTROL_READY,	   /* it is over, well or not */
	CONTROL_CHANGED,   /* another configuration is in force */
	CONTROL_STOPPING   /* the program is going to end */
};

/* What a command waits for. */
enum control_goal {
	GOAL_PAUSED,   /* no server of it is at work */
	GOAL_SWITCHED, /* its switchover has a standby that may be promoted */
	GOAL_CLOSED,   /* no server of it has still to be replaced */
	GOAL_PROMOTED  /* the host has been looked at once more, and is the primary */
};

/* Texts of errors go here: the words that the console answers with. */
enum { CONTROL_WHY = 400 };

/* Embedded in whoever waits. */
struct control_wait {
	TAILQ_ENTRY(control_wait) link;
	enum control_goal goal;
	struct database *db; /* held; NULL: all */
	/* PROMOTE: who (a reference), by force, and since when. */
	struct endpoint *endpoint;
	bool force;
	int64_t since_us;
	bool waits; /* is in the list */
	/* It is over; out of the list by now. error: NULL, or why it did not come to it. */
	void (*over)(struct control_wait *w, const char *error);
	char notice[CONTROL_WHY]; /* what is to be told besides, "": nothing */
};

/* One a process, in struct app. */
struct control {
	struct pooler *pooler;
	const char *path;   /* the configuration file of the command line */
	bool quiet;	    /* -q */
	int verbose;	    /* -v, so many times */
	struct stats stats; /* of the console's own commands */
	unsigned consoles;  /* open console sessions */
	TAILQ_HEAD(, control_wait) waits;
	bool done;					    /* the loop is to end */
	void (*notify)(enum control_event what, void *ctx); /* may be NULL */
	void *notify_ctx;
};

/* path stays the caller's. */
void control_init(struct control *c, struct pooler *p, const char *path);
/* The end: the clients are told so, and it lets go of the databases that it holds. Before pooler_free(). */
void control_free(struct control *c);

/*
 * Each is one command; name NULL: all databases. false and a reason in why (CONTROL_WHY bytes) when it cannot be done,
 * nothing is changed then. A name that only "*" fits counts as known. PAUSE: its servers go, control_wait() tells when. KILL: clients and servers are closed, and it is paused. DISABLE and ENABLE want a name.
 */
bool control_pause(struct control *c, const char *name, char *why) __attribute__((warn_unused_result));
bool control_switchover(struct control *c, const char *name, char *why) __attribute__((warn_unused_result));
bool control_resume(struct control *c, const char *name, char *why) __attribute__((warn_unused_result));
bool control_kill(struct control *c, const char *name, char *why) __attribute__((warn_unused_result));
bool control_reconnect(struct control *c, const char *name, char *why) __attribute__((warn_unused_result));
bool control_disable(struct control *c, const char *name, bool disable, char *why) __attribute__((warn_unused_result));
/* By the id of SHOW CLIENTS. */
bool control_kill_client(struct control *c, uint64_t id, char *why) __attribute__((warn_unused_result));

enum control_answer { CONTROL_WAITS, CONTROL_REACHED, CONTROL_UNKNOWN };
/* Begins to wait, with over and goal set, if there is something to wait for. CONTROL_UNKNOWN: a reason in why. */
enum control_answer control_wait(struct control *c, struct control_wait *w, const char *name, char *why)
	__attribute__((warn_unused_result));
/*
 * host[:port] is to be the primary of its cluster: it is probed, and w->over is told whether it is taken (topology_promote())
 * or why not: it does not take writes, or not without force. CONTROL_UNKNOWN: no cluster has it, or nobody can look.
 */
enum control_answer control_promote(struct control *c, struct control_wait *w, const char *host, bool force, char *why)
	__attribute__((warn_unused_result));
/* For control_wait: has it been looked at? Then it is promoted, or there is the reason in *error. */
bool control_is_promoted(struct control_wait *w, const char **error);
/* It was cancelled: what it waited for is undone (a PAUSE resumes). */
void control_cancel(struct control *c, struct control_wait *w);
/* For commands with a goal of their own, whose state is set. */
void control_begin_wait(struct control *c, struct control_wait *w);
/* Not any more; does nothing when it does not wait. */
void control_unwait(struct control *c, struct control_wait *w);

/*
 * Reads the configuration file again. All of it comes into force, or nothing: false and entries in errs (which are in the
 * log by then). The log file is opened again in any case.
 */
bool control_reload(struct control *c, struct errs *errs) __attribute__((warn_unused_result));
/* Another value for one setting until the next reload; false and entries in errs when it cannot be. */
bool control_set(struct control *c, const char *name, const char *value, struct errs *errs)
	__attribute__((warn_unused_result));
/* Opens the log as the configuration and the command line have it; false: errno. */
bool control_open_log(const struct control *c, const struct config *conf) __attribute__((warn_unused_result));

/* Ends the program: at once; when the servers have done their work; when the clients are gone. False: it is ending that way
 * already. */
enum control_stop { STOP_NOW, STOP_WAIT_FOR_SERVERS, STOP_WAIT_FOR_CLIENTS };
bool control_stop(struct control *c, enum control_stop how);

/* What was counted over all databases and the console, with the periods that averages come from. */
struct stats control_stats(const struct control *c);

/* Clients that are not on the console and have logged in, or servers: is there one left? */
bool control_has_clients(const struct control *c);
bool control_has_servers(const struct control *c);

/* Once a turn, after pooler_turn(). */
void control_turn(struct control *c);
static inline bool control_done(const struct control *c)
{
	return c->done;
}

#endif
