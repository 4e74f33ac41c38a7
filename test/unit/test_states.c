/*
 * states: every way from one state to another that the tables do not have ends
 * the program before anything is done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/client.h"
#include "conn/server.h"

static void client_step(unsigned from, unsigned to)
{
	static struct client cl;

	cl.c.state = (uint8_t)from;
	client_goto(&cl, (enum client_state)to);
}

static void server_step(unsigned from, unsigned to)
{
	static struct server s;

	s.c.state = (uint8_t)from;
	server_goto(&s, (enum server_state)to);
}

static bool is_stopped(void (*step)(unsigned from, unsigned to), unsigned from, unsigned to)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		step(from, to);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* All may close. */
static void forbidden(const uint32_t *next, unsigned count, unsigned closed, void (*step)(unsigned from, unsigned to))
{
	unsigned n = 0;

	for (unsigned from = 0; from < count; from++)
		for (unsigned to = 0; to < count; to++)
			if (to != closed && !(next[from] >> to & 1)) {
				n++;
				if (!is_stopped(step, from, to))
					fail_msg("from state %u to %u", from, to);
			}
	assert_true(n > count);
}

static void test_client(void **state)
{
	(void)state;
	forbidden(client_state_next, CS_COUNT, CS_CLOSED, client_step);
}

static void test_server(void **state)
{
	(void)state;
	forbidden(server_state_next, SS_COUNT, SS_CLOSED, server_step);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
