/*
 * notify: the two small protocols of systemd that the program speaks. Called by
 * main; failures are nobody's business but the service manager's, so they are
 * silent.
 */
#include "app/notify.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_INHERITED = 3, INHERITED_MAX = 64 };

void notify_send(const char *fmt, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char text[1024];
	size_t n = path != NULL ? strlen(path) : 0;
	int len, fd;
	va_list ap;

	if (n < 2 || n >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= sizeof text)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (const struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

static long number_of(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long n;

	if (text == NULL)
		return -1;
	n = strtol(text, &end, 10);
	return end != text && *end == '\0' ? n : -1;
}

int notify_inherited(void)
{
	long n = number_of("LISTEN_FDS");

	if (number_of("LISTEN_PID") != (long)getpid() || n <= 0 || n > INHERITED_MAX)
		n = 0;
	for (int fd = FIRST_INHERITED; fd < FIRST_INHERITED + (int)n; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return (int)n;
}
