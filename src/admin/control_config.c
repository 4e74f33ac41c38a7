/*
 * control_config.c: the configuration of the running program: RELOAD, SET, and
 * where it logs to. All or nothing.
 */
#include "admin/control.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "conf/config.h"
#include "conn/pooler.h"
#include "pool/registry.h"

#include "control_priv.h"

bool control_open_log(const struct control *c, const struct config *conf)
{
	const struct settings *s = &conf->set;
	bool said = strcmp(conf->origin[PARAM_verbose].what, "default") != 0;
	const struct log_options o = {
		.file = s->logfile,
		.quiet = c->quiet,
		.syslog = s->syslog,
		.syslog_ident = s->syslog_ident,
		.syslog_facility = param_word(PARAM_syslog_facility, s->syslog_facility),
		/* -v is for those whose file says nothing. */
		.verbose = said ? (int)s->verbose : c->verbose,
	};

	return log_setup(&o);
}

static bool apply(struct control *c, struct config *fresh, struct errs *errs)
{
	if (!log_can_open(fresh->set.logfile)) {
		errs_add(errs, NULL, 0, "logfile %s: %s", fresh->set.logfile, strerror(errno));
		return false;
	}
	if (!pooler_configure(c->pooler, fresh, errs))
		return false;
	control_tell(c, CONTROL_CHANGED);
	return true;
}

static void log_errors(const struct errs *errs)
{
	char line[1024];

	for (size_t i = 0; i < errs->n; i++)
		log_msg(LL_ERROR, "%s", errs_format(errs, i, line, sizeof line));
}

static void open_log_again(struct control *c)
{
	const struct config *conf = c->pooler->registry.config;

	if (!control_open_log(c, conf))
		log_msg(LL_ERROR, "logfile %s: %s", conf->set.logfile, strerror(errno));
}

bool control_reload(struct control *c, struct errs *errs)
{
	struct config *old = c->pooler->registry.config, *fresh;
	bool ok = false;

	control_tell(c, CONTROL_RELOADING);
	fresh = config_reload(old, errs);
	if (fresh != NULL) {
		ok = apply(c, fresh, errs);
		config_unref(&fresh);
	}
	open_log_again(c);
	if (ok) {
		control_let_go(c, false);
		log_msg(LL_LOG, "configuration reloaded");
	} else {
		log_errors(errs);
		log_msg(LL_ERROR, "RELOAD failed, the old configuration stays");
	}
	control_tell(c, CONTROL_READY);
	return ok;
}

bool control_set(struct control *c, const char *name, const char *value, struct errs *errs)
{
	const struct param *p = param_find(name);
	struct config *fresh;
	bool ok;

	if (p != NULL && p->restart) {
		errs_add(errs, NULL, 0, "%s: cannot be changed without a restart", p->name);
		return false;
	}
	fresh = config_with(c->pooler->registry.config, name, value, errs);
	if (fresh == NULL)
		return false;
	ok = apply(c, fresh, errs);
	config_unref(&fresh);
	if (ok)
		open_log_again(c);
	return ok;
}
