/*
 * crash: owns the handlers of the signals that mean a fault. Called once by
 * main. It allocates nothing after that.
 */
#include "app/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config.h"

#if defined(__SANITIZE_ADDRESS__)
#define CRASH_REPORTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CRASH_REPORTED 1
#endif
#endif
#ifndef CRASH_REPORTED
#define CRASH_REPORTED 0
#endif

enum { CRASH_FRAMES = 64, CRASH_STACK = 65536 };

static const struct {
	int number;
	const char *name;
} fatal_signals[] = {
	{SIGSEGV, "SIGSEGV"},
	{SIGBUS, "SIGBUS"},
	{SIGABRT, "SIGABRT"},
	{SIGFPE, "SIGFPE"},
	{SIGILL, "SIGILL"},
};

static void put(int fd, const char *text)
{
	ssize_t ignored = write(fd, text, strlen(text));

	(void)ignored;
}

static void put_hex(int fd, uintptr_t n)
{
	char text[2 + 2 * sizeof n + 1];
	char *p = text + sizeof text - 1;

	*p = '\0';
	do {
		*--p = "0123456789abcdef"[n & 15];
		n >>= 4;
	} while (n > 0);
	*--p = 'x';
	*--p = '0';
	put(fd, p);
}

static const char *name_of(int number)
{
	for (size_t i = 0; i < sizeof fatal_signals / sizeof fatal_signals[0]; i++)
		if (fatal_signals[i].number == number)
			return fatal_signals[i].name;
	return "a signal";
}

/* The disposition is the default one again by now (SA_RESETHAND). */
static void on_fault(int number, siginfo_t *info, void *context)
{
	void *frames[CRASH_FRAMES];
	int fd = log_crash_fd();

	(void)context;
	put(fd, "psbouncer " PACKAGE_VERSION " crashed: ");
	put(fd, name_of(number));
	if (number != SIGABRT) {
		put(fd, " at ");
		put_hex(fd, (uintptr_t)info->si_addr);
	}
	put(fd, "\n");
	backtrace_symbols_fd(frames, backtrace(frames, CRASH_FRAMES), fd);
	/* Blocked until we return, and then it ends the program. */
	raise(number);
}

void crash_install(void)
{
	static char stack[CRASH_STACK];
	const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};
	void *frame;

	if (CRASH_REPORTED)
		return;
	/* The first call loads a library, which must not happen in a handler. */
	(void)backtrace(&frame, 1);
	sigemptyset(&a.sa_mask);
	if (sigaltstack(&alternate, NULL) != 0)
		a.sa_flags &= ~SA_ONSTACK;
	for (size_t i = 0; i < sizeof fatal_signals / sizeof fatal_signals[0]; i++)
		sigaction(fatal_signals[i].number, &a, NULL);
}
