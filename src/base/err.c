/*
 * err: owns the memory of a list of errors. Filled by the readers of files and
 * of console commands, printed by -t and RELOAD. It decides nothing.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

enum { ERRS_KEPT = 100 };

void errs_add(struct errs *e, const char *file, int line, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	struct err *one;

	e->total++;
	if (e->n >= ERRS_KEPT)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);

	e->v = xrealloc(MEM_CONFIG, e->v, (e->n + 1) * sizeof *e->v);
	one = &e->v[e->n++];
	one->file = file != NULL ? xstrdup(MEM_CONFIG, file) : NULL;
	one->line = line;
	one->text = xstrdup(MEM_CONFIG, text);
}

const char *errs_format(const struct errs *e, size_t i, char *buf, size_t size)
{
	const struct err *one = &e->v[i];

	if (one->file == NULL)
		snprintf(buf, size, "%s", one->text);
	else if (one->line == 0)
		snprintf(buf, size, "%s: %s", one->file, one->text);
	else
		snprintf(buf, size, "%s:%d: %s", one->file, one->line, one->text);
	return buf;
}

void errs_free(struct errs *e)
{
	for (size_t i = 0; i < e->n; i++) {
		xfree(MEM_CONFIG, e->v[i].file);
		xfree(MEM_CONFIG, e->v[i].text);
	}
	xfree(MEM_CONFIG, e->v);
	*e = (struct errs){0};
}
