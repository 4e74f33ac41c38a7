/*
 * config_print: what psbouncer prints of its settings: the sample file, the
 * settings' part of psbouncer(5), and where each value came from. All of it
 * comes from the rows of tbl/params.h, so it cannot part from what is read.
 */
#include <stdio.h>
#include <string.h>

#include "net/buf.h"

#include "config_priv.h"

#define WIDTH 78

/* ---- text ---- */

/* man(7): what may be typed keeps its hyphen-minus. */
static void put_roff(struct buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '-')
			buf_puts(out, "\\-");
		else if (s[i] == '\\')
			buf_puts(out, "\\e");
		else
			buf_append(out, &s[i], 1);
	}
}

/* Fills lines with the words of text, each line with prefix in front. */
static void put_filled(struct buf *out, const char *prefix, const char *text, bool roff)
{
	size_t column = 0;

	while (*text != '\0') {
		size_t n = strcspn(text, " ");

		if (column > 0 && column + 1 + n > WIDTH) {
			buf_puts(out, "\n");
			column = 0;
		}
		buf_puts(out, column == 0 ? prefix : " ");
		column += (column == 0 ? strlen(prefix) : 1) + n;
		if (roff)
			put_roff(out, text, n);
		else
			buf_append(out, text, n);
		text += n;
		text += strspn(text, " ");
	}
	buf_puts(out, "\n");
}

/* ---- the sample ---- */

/* Values of the sample that are not the default. Those that are not set stand there as an example. */
static const struct example {
	enum param_id id;
	const char *value;
	bool set;
} examples[] = {
	{PARAM_listen_addr, "localhost", true},
	{PARAM_pool_mode, "transaction", true},
	{PARAM_auth_type, "scram-sha-256", true},
	{PARAM_client_tls_sslmode, "prefer", true},
	{PARAM_auth_file, "/etc/psbouncer/userlist.txt", false},
	{PARAM_client_tls_key_file, "/etc/psbouncer/server.key", false},
	{PARAM_client_tls_cert_file, "/etc/psbouncer/server.crt", false},
	{PARAM_client_tls_ca_file, "/etc/psbouncer/clients.crt", false},
	{PARAM_server_tls_ca_file, "/etc/psbouncer/servers.crt", false},
	{PARAM_logfile, "/var/log/psbouncer/psbouncer.log", false},
	{PARAM_pidfile, "/run/psbouncer/psbouncer.pid", false},
	{PARAM_user, "postgres", false},
	{PARAM_admin_users, "postgres", false},
	{PARAM_stats_users, "monitor, grafana", false},
};

static const struct example *find_example(enum param_id id)
{
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
		if (examples[i].id == id)
			return &examples[i];
	return NULL;
}

static const char sample_head[] = ";; Sample configuration of psbouncer. psbouncer(5) has all of it.\n"
				  ";;\n"
				  ";; A line that begins with ';' or '#' is a comment. Settings that stand behind\n"
				  ";; a single ';' show their default, or an example where the text says so.\n"
				  "\n"
				  ";; Databases that clients can connect to: NAME = key=value ...\n"
				  ";; Keys: host port dbname user password password_file connect_query\n"
				  ";; client_encoding datestyle timezone application_name, and the settings that\n"
				  ";; can be set for a database alone. '*' is for names that are not listed.\n"
				  "[databases]\n"
				  "postgres = host=127.0.0.1 port=5432 dbname=postgres\n"
				  "\n"
				  ";; a forced user, and a limit of its own\n"
				  ";app = host=db1.example.net user=app password='it''s secret' pool_size=50\n"
				  "\n"
				  ";; the hosts of a list are used in turn; one that is dead is passed over\n"
				  ";reports = host=db2.example.net,db3.example.net dbname=app pool_mode=session\n"
				  "\n"
				  ";; a name with other characters than letters, digits and _ . - *\n"
				  ";\"my db\" = host=/var/run/postgresql\n"
				  "\n"
				  ";* = host=127.0.0.1\n"
				  "\n"
				  ";; Settings of a user: NAME = key=value ...\n"
				  "[users]\n"
				  ";batch = pool_mode=session max_user_connections=10 query_timeout=1h\n"
				  "\n"
				  ";; The section [psbouncer] may also be called [pgbouncer].\n"
				  "[psbouncer]\n";

static void sample_row(struct buf *out, enum param_id id)
{
	const struct param *p = &param_table[id];
	const struct example *e = find_example(id);
	const char *value;

	buf_puts(out, "\n");
	put_filled(out, ";; ", p->help, false);
	if (p->words != NULL) {
		buf_puts(out, ";; One of:");
		for (const char *w = p->words; *w != '\0'; w += strlen(w) + 1)
			buf_printf(out, " %s", w);
		buf_puts(out, "\n");
	}
	if (e != NULL && e->set)
		buf_printf(out, ";; Default: %s\n", p->def[0] == '\0' ? "empty" : p->def);
	else if (e != NULL)
		buf_puts(out, ";; Default: empty. An example:\n");
	value = e != NULL ? e->value : p->def;
	buf_printf(out, "%s%s =%s%s\n", e != NULL && e->set ? "" : ";", p->name, value[0] == '\0' ? "" : " ", value);
}

void config_print_sample(struct buf *out)
{
	const char *group = "";

	buf_puts(out, sample_head);
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		if (strcmp(group, param_table[i].group) != 0) {
			group = param_table[i].group;
			buf_printf(out, "\n;;;\n;;; %s\n;;;\n", group);
		}
		sample_row(out, (enum param_id)i);
	}
}

/* ---- the manual ---- */

static const char *kind(const struct param *p)
{
	switch (p->type) {
	case PT_BOOL: return "0 or 1";
	case PT_INT: return "number";
	case PT_TIME: return "time";
	case PT_MSEC: return "milliseconds";
	case PT_SIZE: return "size";
	case PT_LAG: return "size or time";
	case PT_MODE: return "file mode";
	case PT_STR: return "text";
	case PT_ENUM: break;
	}
	return "";
}

static void manual_head(struct buf *out, const struct param *p)
{
	buf_printf(out, ".TP\n\\fB%s\\fP = ", p->name);
	if (p->words == NULL)
		buf_printf(out, "\\fI%s\\fP", kind(p));
	for (const char *w = p->words; w != NULL && *w != '\0'; w += strlen(w) + 1) {
		buf_puts(out, w == p->words ? "" : " | ");
		put_roff(out, w, strlen(w));
	}
	buf_puts(out, "\n");
}

static void manual_row(struct buf *out, const struct param *p)
{
	unsigned in = p->scope & (PS_DATABASE | PS_USER);
	char text[256];

	manual_head(out, p);
	put_filled(out, "", p->help, true);
	snprintf(text, sizeof(text), "Default: %s.%s", p->def[0] == '\0' ? "empty" : p->def,
		p->restart ? " Only a restart changes it." : "");
	buf_puts(out, ".br\n");
	put_filled(out, "", text, true);
	if (in == 0)
		return;
	snprintf(text, sizeof(text), "Also in entries of %s%s%s%s%s.", in & PS_DATABASE ? "[databases]" : "",
		in == (PS_DATABASE | PS_USER) ? " and " : "", in & PS_USER ? "[users]" : "",
		strcmp(param_name_in(p, in), p->name) != 0 ? ", as " : "",
		strcmp(param_name_in(p, in), p->name) != 0 ? param_name_in(p, in) : "");
	put_filled(out, "", text, true);
}

void config_print_manual(struct buf *out)
{
	const char *group = "";

	for (size_t i = 0; i < PARAM_COUNT; i++) {
		if (strcmp(group, param_table[i].group) != 0) {
			group = param_table[i].group;
			buf_printf(out, ".SS %s\n", group);
		}
		manual_row(out, &param_table[i]);
	}
}

/* ---- origins ---- */

void config_print_origins(const struct config *c, struct buf *out)
{
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		const struct setting_origin *o = &c->origin[i];
		char buf[PARAM_TEXT];

		buf_printf(out, "%s = %s  ; ", param_table[i].name,
			param_print(&param_table[i], &c->set, buf, sizeof(buf)));
		if (o->file != NULL)
			buf_printf(out, "%s:%d\n", o->file, o->line);
		else
			buf_printf(out, "%s\n", o->what);
	}
}
