/*
 * options: reads the command line, and answers those that want an answer only.
 * Called by main, before anything else exists.
 */
#include "app/options.h"

#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "admin/command.h"
#include "admin/show.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "conf/config.h"
#include "conn/client.h"
#include "conn/server.h"
#include "net/buf.h"
#include "net/tls.h"

static const char usage[] =
	"psbouncer is a connection pooler for PostgreSQL.\n"
	"\n"
	"Usage: psbouncer [OPTION]... FILE\n"
	"       psbouncer --make-secret USER\n"
	"\n"
	"  -d, --daemon            run in the background (needs pidfile)\n"
	"  -q, --quiet             no messages to standard error\n"
	"  -u, --user=NAME         become this user, when started as root\n"
	"  -v, --verbose           more messages; may be given twice\n"
	"  -t, --test-config       check the configuration and exit; with -v tell where each value comes from\n"
	"  -x, --print=WHAT        print one of: sample, manual, commands, states\n"
	"      --make-secret=USER  read a password and print a line for auth_file with a SCRAM secret\n"
	"  -V, --version           print the version\n"
	"  -h, --help              print this\n"
	"\n"
	"FILE is a configuration file as PgBouncer has it; see psbouncer(5).\n";

static enum options_result failed(const char *text)
{
	fprintf(stderr, "psbouncer: %s\n", text);
	return OPTIONS_BAD;
}

/* The command line is to blame. */
static enum options_result bad(const char *text)
{
	failed(text);
	fputs("Try 'psbouncer --help'.\n", stderr);
	return OPTIONS_BAD;
}

static enum options_result print_version(void)
{
	printf("%s\nlibevent %s\nadns: evdns2\ntls: %s\nsystemd: yes\n", show_version_text(), event_get_version(),
		tls_library());
	return OPTIONS_DONE;
}

/* ---- tables ---- */

static void print_states(struct buf *out)
{
	static const char *const clients[] = {
#define CLIENT_STATE(name, text, reads, next) #name,
#include "tbl/client_states.h"
#undef CLIENT_STATE
	};
	static const char *const servers[] = {
#define SERVER_STATE(name, text, reads, next) #name,
#include "tbl/server_states.h"
#undef SERVER_STATE
	};

	buf_puts(out, "digraph client {\n");
	for (int i = 0; i < CS_COUNT; i++)
		for (int j = 0; j < CS_COUNT; j++)
			if ((client_state_next[i] >> j & 1) != 0)
				buf_printf(out, "\t%s -> %s;\n", clients[i], clients[j]);
	buf_puts(out, "}\ndigraph server {\n");
	for (int i = 0; i < SS_COUNT; i++)
		for (int j = 0; j < SS_COUNT; j++)
			if ((server_state_next[i] >> j & 1) != 0)
				buf_printf(out, "\t%s -> %s;\n", servers[i], servers[j]);
	buf_puts(out, "}\n");
}

static enum options_result print_table(const char *what)
{
	static const struct {
		const char *name;
		void (*print)(struct buf *out);
	} tables[] = {
		{"sample", config_print_sample},
		{"manual", config_print_manual},
		{"commands", command_print_manual},
		{"states", print_states},
	};
	struct buf out = {0};

	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		if (strcmp(tables[i].name, what) != 0)
			continue;
		tables[i].print(&out);
		fwrite(buf_head(&out), 1, buf_len(&out), stdout);
		buf_free(&out);
		return fflush(stdout) == 0 ? OPTIONS_DONE : failed("cannot write to standard output");
	}
	return bad("-x wants sample, manual, commands or states");
}

/* ---- secrets ---- */

enum { PASSWORD_MAX = 4096, USER_MAX = 128 };

static void on_signal(int number)
{
	(void)number;
}

/* A line without its end into text; false: end of file, an interruption, or too long. */
static bool read_line(char *text, size_t size)
{
	size_t n = 0;
	ssize_t got;

	for (;;) {
		got = read(STDIN_FILENO, text + n, 1);
		if (got < 0 || n + 1 == size)
			return false;
		if (got == 0 || text[n] == '\n')
			break;
		n++;
	}
	if (n > 0 && text[n - 1] == '\r')
		n--;
	text[n] = '\0';
	return got > 0 || n > 0;
}

/* From a terminal, which shows nothing meanwhile. A signal that ends programs ends the reading first. */
static bool read_hidden(const char *prompt, char *text, size_t size)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	enum { N = sizeof numbers / sizeof numbers[0] };
	const struct sigaction a = {.sa_handler = on_signal};
	struct sigaction before[N];
	struct termios shown, hidden;
	bool ok;

	if (tcgetattr(STDIN_FILENO, &shown) != 0)
		return read_line(text, size);
	for (int i = 0; i < N; i++)
		sigaction(numbers[i], &a, &before[i]);
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	fputs(prompt, stderr);
	ok = read_line(text, size);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	fputc('\n', stderr);
	for (int i = 0; i < N; i++)
		sigaction(numbers[i], &before[i], NULL);
	return ok;
}

/* NULL, or what is wrong. */
static const char *read_password(const char *user, char *text, size_t size)
{
	char prompt[USER_MAX + 32], again[PASSWORD_MAX];
	bool same;

	if (!isatty(STDIN_FILENO))
		return read_line(text, size) ? NULL : "no password on standard input";
	snprintf(prompt, sizeof prompt, "Password for %s: ", user);
	if (!read_hidden(prompt, text, size) || !read_hidden("Again: ", again, sizeof again))
		return "no password was entered";
	same = strcmp(text, again) == 0;
	mem_wipe(again, sizeof again);
	return same ? NULL : "the passwords differ";
}

static void print_user(const char *user)
{
	putchar('"');
	for (const char *p = user; *p != '\0'; p++) {
		if (*p == '"')
			putchar('"');
		putchar(*p);
	}
	putchar('"');
}

static enum options_result make_secret(const char *user)
{
	char password[PASSWORD_MAX], secret[SECRET_SCRAM_MAX];
	const char *why;
	bool ok;

	if (user[0] == '\0' || strlen(user) >= USER_MAX || strpbrk(user, "\r\n") != NULL)
		return failed("a user name has 1 to 127 bytes in one line");
	why = read_password(user, password, sizeof password);
	if (why == NULL && password[0] == '\0')
		why = "an empty password cannot log in";
	ok = why == NULL && secret_make_scram(password, SCRAM_ITERATIONS, secret);
	mem_wipe(password, sizeof password);
	if (!ok)
		return failed(why != NULL ? why : "OpenSSL cannot make a SCRAM secret");
	print_user(user);
	printf(" \"%s\"\n", secret);
	return fflush(stdout) == 0 ? OPTIONS_DONE : failed("cannot write to standard output");
}

/* ---- the command line ---- */

enum { OPTION_MAKE_SECRET = 256 };

static const struct option long_options[] = {
	{"daemon", no_argument, NULL, 'd'},
	{"quiet", no_argument, NULL, 'q'},
	{"reboot", no_argument, NULL, 'R'},
	{"user", required_argument, NULL, 'u'},
	{"verbose", no_argument, NULL, 'v'},
	{"test-config", no_argument, NULL, 't'},
	{"print", required_argument, NULL, 'x'},
	{"make-secret", required_argument, NULL, OPTION_MAKE_SECRET},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* OPTIONS_RUN: goes on with the next one. */
static enum options_result take(int letter, struct options *o)
{
	switch (letter) {
	case 'd': o->daemon = true; return OPTIONS_RUN;
	case 'q': o->quiet = true; return OPTIONS_RUN;
	case 't': o->test = true; return OPTIONS_RUN;
	case 'u': o->user = optarg; return OPTIONS_RUN;
	case 'v': o->verbose++; return OPTIONS_RUN;
	case 'R': return bad("this version has no online restart (-R): stop the running one first");
	case 'x': return print_table(optarg);
	case OPTION_MAKE_SECRET: return make_secret(optarg);
	case 'V': return print_version();
	case 'h': fputs(usage, stdout); return OPTIONS_DONE;
	default: fputs("Try 'psbouncer --help'.\n", stderr); return OPTIONS_BAD;
	}
}

enum options_result options_parse(int argc, char **argv, struct options *o)
{
	enum options_result r;
	int letter;

	*o = (struct options){.path = NULL};
	while ((letter = getopt_long(argc, argv, "dqRu:vtx:Vh", long_options, NULL)) != -1) {
		r = take(letter, o);
		if (r != OPTIONS_RUN)
			return r;
	}
	if (optind == argc)
		return bad("a configuration file is wanted");
	if (optind + 1 < argc)
		return bad("more than one configuration file");
	o->path = argv[optind];
	return OPTIONS_RUN;
}
