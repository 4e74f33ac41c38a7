/*
 * above: the console and its control over a world, in programs that link the
 * admin floor. Its configuration file does not exist: RELOAD fails.
 */
#include <stdlib.h>

#include "admin/console.h"
#include "admin/control.h"
#include "conn/console_ops.h"
#include "dialog/dialog.h"

static void above_begin(struct world *w)
{
	struct control *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	control_init(c, &w->pooler, "/nonexistent/psbouncer.ini");
	w->above = c;
	w->pooler.console = &console_ops;
	w->pooler.console_ctx = c;
}

static void above_turn(struct world *w)
{
	control_turn(w->above);
}

static void above_end(struct world *w)
{
	control_free(w->above);
	free(w->above);
	w->above = NULL;
}

const struct world_above world_above = {above_begin, above_turn, above_end};
