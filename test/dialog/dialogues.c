/*
 * dialogues: every dialogue in every way, one TAP case each.
 *
 *     dialogues [-v] [-k] [-c FOLDER] [FILE.dlg[:NAME]]...
 *
 * Without files: all of $top_srcdir/test/dialog (or test/dialog). -v traces what
 * the ends hear and what is logged; -k goes on with the other ways after one has
 * failed; -c writes each dialogue as an input of the fuzz target instead.
 */
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/config.h"
#include "dialog/dialog.h"

struct runner {
	struct dialogue *v;
	size_t n;
	bool trace, keep_going;
	const char *corpus, *only;
	char dir[64];
	unsigned long runs;
};

/* What is being run, for the words that a failed assertion leaves. */
static const char *volatile now_name = "", *volatile now_way = "", *volatile now_file = "";
static volatile int now_line;

static void on_abort(int sig)
{
	char text[600];
	int n = snprintf(text, sizeof(text), "# died in \"%s\", %s, at %s:%d\n", now_name, now_way, now_file, now_line);

	if (n > 0 && write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(1);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void print_failure(const struct world *w, const struct dialogue *d, const struct way *way)
{
	char *text = strdup(w->failure.p), *line, *rest = text;

	printf("# %s:%d: \"%s\", %s", d->file, now_line, d->name, way->name);
	if (way->cut >= 0)
		printf(" (message %d%+d)", way->cut, way->cut_off);
	if (way->lacks > 0)
		printf(" (%zu bytes before the end)", way->lacks);
	if (way->mumbles > 0)
		printf(" (%zu bytes of its last words are missing)", way->mumbles);
	if (way->at_once)
		printf(" (the end at once)");
	printf(":\n");
	while ((line = strsep(&rest, "\n")) != NULL)
		if (*line != '\0')
			printf("#    %s\n", line);
	free(text);
	fflush(stdout);
}

/* What the first run of a dialogue has found to be tried in others. */
struct found {
	struct boundary *bounds;
	struct place *places;
	size_t n_bounds, n_places;
};

/* One run. found is not NULL in the first one. */
static bool run_way(struct runner *r, struct dialogue *d, const struct way *way, struct found *found)
{
	struct world w;
	struct bytes record = {0};
	bool ok;

	now_name = d->name;
	now_way = way->name;
	now_file = d->file;
	now_line = d->line;
	world_begin(&w, d->config, way);
	w.trace = r->trace;
	if (r->corpus != NULL)
		w.record = &record;
	ok = dialogue_run(d, &w, &now_line);
	ok = world_end(&w) && ok;
	if (!ok)
		print_failure(&w, d, way);
	if (r->corpus != NULL && ok) {
		char path[600];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%.200s", r->corpus, d->name);
		for (char *p = path + strlen(r->corpus) + 1; *p != '\0'; p++)
			if (strchr(" /'\",:", *p) != NULL)
				*p = '-';
		f = fopen(path, "w");
		if (f != NULL) {
			fputc(d->config->set.pool_mode, f);
			fwrite(record.p, 1, record.n, f);
			fclose(f);
		}
	}
	bytes_free(&record);
	if (found != NULL) {
		*found = (struct found){w.boundaries, w.places, w.n_boundaries, w.n_places};
		w.boundaries = NULL;
		w.places = NULL;
	}
	world_free(&w);
	r->runs++;
	return ok;
}

static bool run_cuts(struct runner *r, struct dialogue *d, const struct boundary *b, size_t n)
{
	bool ok = true;

	for (size_t i = 0; i < n; i++)
		for (int off = -1; off <= 1; off++) {
			struct way way = {.name = "cut", .cut = (int)i, .cut_off = off};
			size_t at = b[i].at + (size_t)off;

			if (at == 0 || at >= b[i].len)
				continue;
			if (!run_way(r, d, &way, NULL)) {
				ok = false;
				if (!r->keep_going)
					return false;
			}
		}
	return ok;
}

/* The end of a server that says so comes at each byte of these words. */
static bool run_mumbles(struct runner *r, struct dialogue *d, struct way way)
{
	struct bytes words = {0};
	const char *name;
	bool ok = true;

	death_words(way.death, &words, &name);
	for (way.mumbles = 1; way.mumbles < words.n && (ok || r->keep_going); way.mumbles++)
		ok = run_way(r, d, &way, NULL) && ok;
	bytes_free(&words);
	return ok;
}

/* The connection of the step `dies` is cut at every place; what the server says of it comes between messages. */
static bool run_deaths(struct runner *r, struct dialogue *d, const struct place *p, size_t n)
{
	static const struct way ways[] = {
		{.name = "end of file", .cut = -1, .death = DEATH_EOF},
		{.name = "reset", .cut = -1, .death = DEATH_RESET},
		{.name = "FATAL", .cut = -1, .death = DEATH_FATAL},
		{.name = "WARNING", .cut = -1, .death = DEATH_WARNING},
		{.name = "WARNING of another's crash", .cut = -1, .death = DEATH_CRASH_ELSEWHERE},
	};
	bool ok = true;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
			struct way way = ways[k];

			if (way.death >= DEATH_FATAL && !p[i].boundary)
				continue;
			way.lacks = p[i].lacks;
			ok = run_way(r, d, &way, NULL) && ok;
			if (i == 0 && way.death == DEATH_FATAL && (ok || r->keep_going))
				ok = run_mumbles(r, d, way) && ok;
			way.at_once = true;
			if (way.death != DEATH_RESET && (ok || r->keep_going))
				ok = run_way(r, d, &way, NULL) && ok;
			if (!ok && !r->keep_going)
				return false;
		}
	return ok;
}

static bool run_dialogue(struct runner *r, struct dialogue *d)
{
	static const struct way ways[] = {
		{.name = "whole", .cut = -1},
		{.name = "reads of a byte", .read = 1, .cut = -1},
		{.name = "writes of a byte", .write = 1, .cut = -1},
		{.name = "writes of a byte that block", .write = 1, .blocks = true, .cut = -1},
		{.name = "reads and writes of a byte", .read = 1, .write = 1, .blocks = true, .cut = -1},
		{.name = "reads of 7, writes of 11", .read = 7, .write = 11, .blocks = true, .cut = -1},
	};
	struct found found = {0};
	bool ok = dialogue_configure(d, r->dir);

	if (!ok)
		printf("# the configuration of \"%s\" cannot be loaded\n", d->name);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (!ok && (i == 0 || !r->keep_going))
			break;
		ok = run_way(r, d, &ways[i], i == 0 ? &found : NULL) && ok;
		if (r->corpus != NULL)
			break;
	}
	if ((ok || r->keep_going) && r->corpus == NULL)
		ok = run_cuts(r, d, found.bounds, found.n_bounds) && ok;
	if ((ok || r->keep_going) && r->corpus == NULL)
		ok = run_deaths(r, d, found.places, found.n_places) && ok;
	free(found.bounds);
	free(found.places);
	return ok;
}

/* FILE.dlg or FILE.dlg:NAME */
static bool read_argument(struct runner *r, char *arg)
{
	char *name = strstr(arg, ".dlg:");

	if (name != NULL) {
		name[4] = '\0';
		r->only = name + 5;
	}
	return script_read(arg, &r->v, &r->n);
}

static bool read_all(struct runner *r)
{
	const char *top = getenv("top_srcdir");
	char pattern[4096];
	bool ok = true;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s/test/dialog/*.dlg", top != NULL ? top : ".");
	if (glob(pattern, 0, NULL, &g) != 0) {
		printf("Bail out! no dialogues are at %s\n", pattern);
		return false;
	}
	for (size_t i = 0; i < g.gl_pathc; i++)
		ok = script_read(g.gl_pathv[i], &r->v, &r->n) && ok;
	globfree(&g);
	return ok;
}

int main(int argc, char **argv)
{
	struct runner r = {.dir = "/tmp/dialog-XXXXXX"};
	unsigned failed = 0, n = 0;
	struct timespec begin, end;
	bool ok = true;
	int c;

	while ((c = getopt(argc, argv, "vkc:")) != -1) {
		if (c == '?')
			return 2;
		r.trace = r.trace || c == 'v';
		r.keep_going = r.keep_going || c == 'k';
		if (c == 'c')
			r.corpus = optarg;
	}
	signal(SIGABRT, on_abort);
	signal(SIGPIPE, SIG_IGN);
	for (int i = optind; i < argc; i++)
		ok = read_argument(&r, argv[i]) && ok;
	if (optind == argc)
		ok = read_all(&r);
	if (!ok || mkdtemp(r.dir) == NULL)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (size_t i = 0; i < r.n; i++) {
		if (r.only != NULL && strcmp(r.only, r.v[i].name) != 0)
			continue;
		ok = run_dialogue(&r, &r.v[i]);
		failed += !ok;
		printf("%sok %u - %s\n", ok ? "" : "not ", ++n, r.v[i].name);
		fflush(stdout);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("# %lu runs of %u dialogues, %.0f a second\n", r.runs, n,
		(double)r.runs / ((double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9));
	printf("1..%u\n", n);
	for (size_t i = 0; i < r.n; i++)
		dialogue_free(&r.v[i]);
	free(r.v);
	rmdir(r.dir);
	return failed > 0;
}
