/*
 * What the files of the unit config share: config.c (life and look-ups),
 * config_read.c (the file, line by line), config_entry.c (what a line of each
 * section means), config_check.c (what must fit together).
 */
#ifndef PSBOUNCER_CONF_CONFIG_PRIV_H
#define PSBOUNCER_CONF_CONFIG_PRIV_H

#include "conf/config.h"

enum config_section {
	SECTION_NONE,
	SECTION_UNKNOWN,
	SECTION_SETTINGS,
	SECTION_DATABASES,
	SECTION_USERS,
	SECTION_PEERS
};

/* A config while it is read. */
struct loader {
	struct config *c;
	struct errs *errs;
	enum config_section section;
	const char *file; /* place of the line that is handled */
	int line;
	/* What to do with NAME = value of the section. */
	void (*take)(struct loader *l, const char *name, const char *value);
};

#define CONFIG_FILE_LIMIT ((size_t)64 << 20)
#define CONFIG_NAME_LIMIT 127

/* config.c */
void config_origin_set(struct config *c, enum param_id id, const char *what, const char *file, int line);
void config_database_free(struct config_database *d);
void config_user_free(struct config_user *u);
/* Put it in and return the one of that name that was there before, else NULL. */
struct config_database *config_database_put(struct config *c, struct config_database *d);
struct config_user *config_user_put(struct config *c, struct config_user *u);
/* Takes what it owns. */
void config_peer_put(struct config *c, struct config_peer *p);

/* config_read.c: reads path, or n bytes of text in its place, and its includes, and hands each line to l->take. */
void config_read(struct loader *l, const char *path, const char *text, size_t n);

/* config_entry.c: one line of a section; a header [pgbouncer]. */
void config_take(struct loader *l, const char *name, const char *value);
void config_settings_begin(struct loader *l);

/* config_check.c: faults that need more than one line to be seen; what is odd but works goes to the log. */
void config_check(const struct config *c, struct errs *errs);
void config_warn(const struct config *c);

#endif
