/*
 * show_priv: what the files of show share. Each table is defined in one of them.
 */
#ifndef PSBOUNCER_ADMIN_SHOW_PRIV_H
#define PSBOUNCER_ADMIN_SHOW_PRIV_H

#include <stdbool.h>

#include "admin/show.h"

struct client;
struct control;
struct database;
struct slot;

#define SHOW(ident, name, help) extern const struct show_table show_##ident;
#define COMMAND(ident, word, rights, args, syntax, help)
#include "tbl/commands.h"
#undef COMMAND
#undef SHOW

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* row is what the table's getters take. */
void show_row(const struct show *s, const void *row);

/* The console counts as a database, which is NULL here. */
const char *show_database_name(const struct database *d);
/* Every database by name, the console among them; *n of them, to be freed with xfree(MEM_MISC, ...). */
const struct database **show_sorted_databases(const struct control *c, size_t *n);
/* load_balance_hosts as it is shown: NULL for a single host. */
const char *show_balance(const struct database *d);
/* The console's among them. */
size_t show_count_pools(const struct control *c);
/* Has an idle server stood for so long that it is checked before it is used? */
bool show_slot_is_used(const struct slot *s);
/* Those that have not are among the sockets only. */
bool show_is_logged_in(const struct client *cl);

#endif
