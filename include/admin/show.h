/*
 * show: the tables of the console. A table is an array of columns (name, type,
 * getter) and one iterator over its rows.
 */
#ifndef PSBOUNCER_ADMIN_SHOW_H
#define PSBOUNCER_ADMIN_SHOW_H

#include <stddef.h>

#include "admin/result.h"

struct control;
struct show;

struct show_table {
	const struct column *columns; /* n of them; 0: the table answers in another way (SHOW HELP) */
	size_t n;
	/* Calls show_row() for each. */
	void (*rows)(const struct show *s);
};

/* A table that is being shown. */
struct show {
	const struct show_table *table;
	struct control *control;
	struct result *result;
};

struct show_name {
	const char *name, *help;
	const struct show_table *table;
};
/* In the order of tbl/commands.h. */
extern const struct show_name show_names[];
extern const size_t show_count;

/* By its name in any case, NULL: none. */
const struct show_table *show_find(const char *name);
/* Writes all rows, without the tag. */
void show_run(const struct show_table *t, struct control *c, struct result *r);

/* "PgBouncer 1.25.2 compatible (psbouncer 0.1.0)", and what the console gives as server_version. */
const char *show_version_text(void);
const char *show_server_version(void);

#endif
