/*
 * The main() of a fuzz target without libFuzzer: runs it over every file of
 * the folders given as arguments. Without arguments the program fuzz_X takes
 * $top_srcdir/test/fuzz/corpus/X, which is how make check runs it. Prints TAP,
 * one case a folder; a folder without files is a failure. An input that ends
 * the program is the last one named.
 */
#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20 };

/* False when it cannot be read or is too large. */
static bool run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *all, *data;
	size_t n = 0;
	bool whole;

	if (f == NULL)
		return false;
	all = malloc(INPUT_MAX + 1);
	if (all == NULL)
		abort();
	n = fread(all, 1, INPUT_MAX + 1, f);
	whole = n <= INPUT_MAX && !ferror(f);
	fclose(f);
	/* A block of just its size, so that the sanitizers see what reads too far. */
	data = malloc(n > 0 ? n : 1);
	if (data == NULL)
		abort();
	memcpy(data, all, n);
	free(all);
	if (whole)
		LLVMFuzzerTestOneInput(data, n);
	free(data);
	return whole;
}

/* How many files were run; 0 with a line about it when one cannot be. */
static size_t run_folder(const char *folder)
{
	struct dirent **names;
	int n = scandir(folder, &names, NULL, alphasort);
	size_t done = 0;
	bool good = n >= 0;

	for (int i = 0; i < n; i++) {
		char path[4096];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && good && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			printf("# %s\n", names[i]->d_name);
			fflush(stdout);
			good = run_file(path);
			done++;
			if (!good)
				printf("# cannot read %s\n", path);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return good ? done : 0;
}

int main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir"), *name = strrchr(argv[0], '/');
	char corpus[4096], *own[] = {argv[0], corpus, NULL};
	int failed = 0;

	name = name != NULL ? name + 1 : argv[0];
	if (argc < 2) {
		snprintf(corpus, sizeof(corpus), "%s/test/fuzz/corpus/%s", top != NULL ? top : ".",
			strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
		argv = own;
		argc = 2;
	}
	printf("1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++) {
		size_t done = run_folder(argv[i]);

		printf("%s %d - %s: %zu inputs\n", done > 0 ? "ok" : "not ok", i, name, done);
		failed += done == 0;
	}
	return failed > 0 ? 1 : 0;
}
