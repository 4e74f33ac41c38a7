/*
 * file: reads a file whole, within a limit. Called by config and authfile at
 * load and RELOAD, and for password_file before a server login. It knows
 * nothing of what is in the file.
 */
#include "conf/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* O_NONBLOCK: opening a pipe without a writer would wait. */
static int open_plain(const char *path, off_t *size, char *why, size_t why_size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(why, why_size, "%s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		snprintf(why, why_size, "%s", S_ISDIR(st.st_mode) ? "it is a directory" : "it is not a regular file");
		close(fd);
		return -1;
	}
	*size = S_ISREG(st.st_mode) ? st.st_size : 0;
	return fd;
}

/* Makes *text hold cap + 1 bytes. What is given back to the heap is wiped first: the content may be secret. */
static bool grow(char **text, size_t n, size_t cap)
{
	char *larger = try_realloc(MEM_CONFIG, NULL, cap + 1);

	if (larger == NULL)
		return false;
	if (*text != NULL)
		memcpy(larger, *text, n);
	file_release(text, n);
	*text = larger;
	return true;
}

static bool read_all(int fd, size_t cap, size_t max, char **text, size_t *n)
{
	for (;;) {
		ssize_t got;

		if (*text == NULL || *n == cap) {
			if (*text != NULL)
				cap *= 2;
			if (!grow(text, *n, cap)) {
				errno = ENOMEM;
				return false;
			}
		}
		got = read(fd, *text + *n, cap - *n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		if (got == 0)
			return true;
		*n += (size_t)got;
		if (*n > max) {
			errno = EFBIG;
			return false;
		}
	}
}

bool file_read(const char *path, size_t max, char **text, size_t *n, char *why, size_t why_size)
{
	off_t size;
	int fd = open_plain(path, &size, why, why_size);
	bool ok;

	*text = NULL;
	*n = 0;
	if (fd < 0)
		return false;
	ok = (uintmax_t)size <= max;
	errno = EFBIG;
	/* One byte more than it is long, so that its end is seen without growing. */
	ok = ok && read_all(fd, (size_t)size < 4095 ? 4096 : (size_t)size + 1, max, text, n);
	if (!ok) {
		if (errno == EFBIG)
			snprintf(why, why_size, "it is longer than %zu bytes", max);
		else
			snprintf(why, why_size, "%s", strerror(errno));
		file_release(text, *n);
	} else {
		(*text)[*n] = '\0';
	}
	close(fd);
	return ok;
}

void file_release(char **text, size_t n)
{
	mem_wipe(*text, n);
	xfree(MEM_CONFIG, *text);
	*text = NULL;
}

bool file_can_read(const char *path, char *why, size_t why_size)
{
	off_t size;
	int fd = open_plain(path, &size, why, why_size);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}
