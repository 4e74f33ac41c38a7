/*
 * file: reading a small file whole: the configuration, the user list, a
 * password_file. Regular files, and devices such as /dev/null, never a pipe or
 * a socket: that could make the loop wait.
 */
#ifndef PSBOUNCER_CONF_FILE_H
#define PSBOUNCER_CONF_FILE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The content of path in *text, with a NUL behind it that *n does not count.
 * false, and the reason in why, when it cannot be read or is longer than max.
 * Ends with file_release(), which wipes it.
 */
bool file_read(const char *path, size_t max, char **text, size_t *n, char *why, size_t why_size)
	__attribute__((warn_unused_result));
void file_release(char **text, size_t n); /* NULL inside is fine */

/* Could file_read() read it? false and the reason in why. */
bool file_can_read(const char *path, char *why, size_t why_size) __attribute__((warn_unused_result));

#endif
