/*
 * control_priv.h: what control's files share.
 */
#ifndef PSBOUNCER_CONTROL_PRIV_H
#define PSBOUNCER_CONTROL_PRIV_H

#include "admin/control.h"

/* Who asked for that (control.notify) is told of an event. */
void control_tell(struct control *c, enum control_event what);
/* Databases that are not in the file any more (or all of them) go as soon as nobody uses them. */
void control_let_go(struct control *c, bool all);

#endif
