/*
 * script_priv: what the files of script share: steps and their verbs.
 */
#ifndef TEST_DIALOG_SCRIPT_PRIV_H
#define TEST_DIALOG_SCRIPT_PRIV_H

#include "dialog/dialog.h"

struct verb;

struct step {
	int line;
	const struct verb *verb;
	char *end; /* name, of the verbs that have one */
	struct token *v;
	size_t n;
	struct phrase *phrases;
	size_t n_phrases;
	struct recipe recipe; /* reload: and what was made of it */
	struct config *config;
};

/* False: world_fail() said why, or the step makes no sense. */
typedef bool verb_run(struct step *s, struct world *w, struct end *e);

struct verb {
	const char *name;
	enum verb_end {
		VERB_PLAIN, /* no end */
		VERB_END,   /* one that is there */
		VERB_NEW    /* it makes one */
	} has;
	enum verb_takes { TAKES_WORDS, TAKES_MESSAGES, TAKES_BLOCK } takes;
	verb_run *run;
};

/* NULL: there is none. plain: one without an end. */
const struct verb *verb_find(const char *name, bool plain);
/* Are the messages of this step such as servers send? */
bool step_is_backend(const struct step *s);
/* Fails the world when e has received something that no step has asked about. */
bool end_has_all(struct world *w, struct end *e);
/* It sends these in one piece; it has received just these next. False: the world has failed. */
bool end_says(struct end *e, const struct phrase *v, size_t n);
bool end_hears(struct end *e, const struct phrase *v, size_t n);

/* steps_scram.c */
verb_run run_scram;

/* steps_death.c */
verb_run run_dies;

/* steps_world.c */
verb_run run_clock, run_server, run_pool, run_counters, run_stats, run_pause, run_disable, run_shutdown, run_reload,
	run_log;

#endif
