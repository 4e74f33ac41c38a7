/*
 * auth: who gets in at psbouncer and with what, and with what psbouncer gets in
 * at the server. With TLS only where a method needs it: tls.c has the rest.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include "lib/e2e.h"

/* The server lets everybody in as app_trust: what is tested is how the client comes in. */
#define FORCED "app = host=127.0.0.1 port={pg} dbname=postgres user=app_trust\n"

static const char *secret_of(const char *user)
{
	return pg_value(pg_shared(), "select rolpassword from pg_authid where rolname = '%s'", user);
}

/* app_plain has its password in the file, app_md5 its hash, app_scram its SCRAM secret. */
static const char *secrets_of_all_kinds(void)
{
	return e2e_text("\"app_plain\" \"%s\"\n\"app_md5\" \"%s\"\n\"app_scram\" \"%s\"\n\"admin\" \"%s\"\n",
		e2e_password("app_plain"), secret_of("app_md5"), secret_of("app_scram"), e2e_password("admin"));
}

static struct bouncer *start_with(const char *settings)
{
	return bouncer_start(&(struct bouncer_options){
		.databases = FORCED, .settings = settings, .auth = secrets_of_all_kinds()});
}

static void comes_in(struct bouncer *b, const char *rest)
{
	PGconn *c = db_connect("%s dbname=app %s", bouncer_dsn(b), rest);

	assert_string_equal(db_value(c, "select current_user"), "app_trust");
	db_close(c);
}

static void is_refused(struct bouncer *b, const char *rest, const char *code, const char *text)
{
	assert_string_equal(db_refused("%s %s", bouncer_dsn(b), rest), code);
	assert_string_equal(db_error_text(NULL), text);
}

/* ---- clients ------------------------------------------------------------------------- */

static const struct {
	const char *auth_type, *user;
	bool ok;
} password_cases[] = {{"plain", "app_plain", true}, {"plain", "app_md5", true}, {"plain", "app_scram", true},
	{"md5", "app_plain", true}, {"md5", "app_md5", true}, {"md5", "app_scram", true},
	{"scram-sha-256", "app_plain", true}, {"scram-sha-256", "app_md5", false},
	{"scram-sha-256", "app_scram", true}};

/* What a refused client of this type is told: SCRAM wherever SCRAM was spoken. */
static const char *refusal(const char *auth_type, const char *user)
{
	bool scram = strcmp(auth_type, "scram-sha-256") == 0 ||
		     (strcmp(auth_type, "md5") == 0 && strcmp(user, "app_scram") == 0);

	return scram ? "SASL authentication failed" : "password authentication failed";
}

/* Each kind of secret with each kind of challenge; nobody without the password. */
static void passwords(const char *auth_type)
{
	struct bouncer *b = start_with(e2e_text("auth_type = %s", auth_type));

	for (size_t i = 0; i < sizeof(password_cases) / sizeof(*password_cases); i++) {
		const char *user = password_cases[i].user, *text = refusal(auth_type, user);

		if (strcmp(password_cases[i].auth_type, auth_type) != 0)
			continue;
		if (password_cases[i].ok) {
			comes_in(b, e2e_text("user=%s", user));
			comes_in(b, e2e_text("user=%s", user)); /* with what was kept of the first login */
		} else {
			is_refused(b, e2e_text("dbname=app user=%s", user), "28P01", text);
		}
		is_refused(b, e2e_text("dbname=app user=%s password=wrong", user), "28P01", text);
		is_refused(b, e2e_text("dbname=app user=%s password='%s'", user, secret_of(user)), "28P01", text);
		is_refused(b, e2e_text("dbname=nowhere user=%s password=wrong", user), "28P01", text);
		if (password_cases[i].ok)
			is_refused(b, e2e_text("dbname=nowhere user=%s", user), "3D000", "no such database: nowhere");
	}
	is_refused(b, "dbname=app user=nobody", "28P01", refusal(auth_type, "nobody"));
	is_refused(b, "dbname=nowhere user=nobody", "28P01", refusal(auth_type, "nobody"));
	bouncer_command(b, "disable app");
	is_refused(b, "dbname=app user=app_plain password=wrong", "28P01", refusal(auth_type, "app_plain"));
	is_refused(b, "dbname=app user=app_plain", "57P03", "database \"app\" is disabled");
}

static void passwords_plain(void **state)
{
	(void)state;
	passwords("plain");
}

static void passwords_md5(void **state)
{
	(void)state;
	passwords("md5");
}

static void passwords_scram(void **state)
{
	(void)state;
	passwords("scram-sha-256");
}

static void trust(void **state)
{
	struct bouncer *b = start_with("auth_type = trust");

	(void)state;
	comes_in(b, "user=app_plain password=wrong");
	comes_in(b, "user=app_md5 password=wrong");
	comes_in(b, "user=app_scram password=wrong");
	is_refused(b, "dbname=app user=nobody", "28000", "no such user");
	is_refused(b, "dbname=nowhere user=nobody", "28000", "no such user");
	is_refused(b, "dbname=nowhere user=app_plain", "3D000", "no such database: nowhere");
	WAIT_UNTIL(bouncer_logged(b, "login attempt: db=app user=nobody tls=no"));
	WAIT_UNTIL(bouncer_logged(b, "closing because: no such user (age="));
}

static void any(void **state)
{
	struct bouncer *b = start_with("auth_type = any");
	PGconn *c;

	(void)state;
	comes_in(b, "user=app_plain");
	comes_in(b, "user=nobody");
	comes_in(b, "user='who ever'");
	is_refused(b, "dbname=nowhere user=nobody", "3D000", "no such database: nowhere");
	/* Whoever is in no list may look at the console. */
	c = db_connect("%s dbname=pgbouncer user=nobody", bouncer_dsn(b));
	db_value(c, "show pools");
	assert_string_equal(db_error(c, "pause"), "08P01");
}

static void no_user_name(void **state)
{
	struct bouncer *b = start_with("auth_type = trust");
	int fd = raw_connect(bouncer_port(b), NULL);
	char *payload;
	size_t n;

	(void)state;
	assert_true(raw_startup(fd, "database", "app", NULL));
	assert_int_equal(raw_read(fd, &payload, &n), 'E');
	assert_string_equal(raw_field(payload, n, 'S'), "FATAL");
	assert_string_equal(raw_field(payload, n, 'C'), "08P01");
	assert_string_equal(raw_field(payload, n, 'R'), "psbouncer");
	assert_true(raw_closed(fd, 0));
	/* Without a database the user's name is its name. */
	fd = raw_connect(bouncer_port(b), NULL);
	assert_true(raw_startup(fd, "user", "app_plain", NULL));
	assert_int_equal(raw_read(fd, &payload, &n), 'E');
	assert_string_equal(raw_field(payload, n, 'M'), "no such database: app_plain");
}

/* A password of 65,530 bytes and a query ten times that, read in bites of 75. */
static void long_password_and_small_reads(void **state)
{
	enum { LENGTH = 65530 };
	char *password = malloc(LENGTH + 1);
	const char *dsn, *types[] = {"plain", "md5", "scram-sha-256"};

	(void)state;
	assert_non_null(password);
	memset(password, 'p', LENGTH);
	password[LENGTH] = '\0';
	for (size_t i = 0; i < 3; i++) {
		struct bouncer *b = bouncer_start(&(struct bouncer_options){.databases = FORCED,
			.settings = e2e_text("pkt_buf = 75\nauth_type = %s", types[i]),
			.auth = e2e_text("\"long\" \"%s\"\n", password)});
		PGconn *c;

		dsn = e2e_text("%s dbname=app user=long", bouncer_dsn(b));
		c = db_connect("%s password=%s", dsn, password);
		assert_string_equal(db_value(c, "select length('%s%s%s%s%s%s%s%s%s%s')", password, password, password,
					    password, password, password, password, password, password, password),
			"655300");
		password[LENGTH - 1] = 'x';
		assert_string_equal(db_refused("%s password=%s", dsn, password), "28P01");
		password[LENGTH - 1] = 'p';
	}
	free(password);
}

/* A user list that is changed: who is new comes in, who is gone does not, who is in stays. */
static void the_user_list_is_read_again(void **state)
{
	const struct bouncer_options fresh = {.databases = FORCED,
		.auth = e2e_text("\"app_plain\" \"another\"\n\"new \"\"one\"\"\" \"secret\"\n\"admin\" \"%s\"\n",
			e2e_password("admin"))};
	struct bouncer *b = start_with("");
	PGconn *c = db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));

	(void)state;
	bouncer_rewrite(b, &fresh);
	comes_in(b, "user=app_plain");
	bouncer_command(b, "reload");
	is_refused(b, "dbname=app user=app_plain", "28P01", "SASL authentication failed");
	comes_in(b, "user=app_plain password=another");
	comes_in(b, "user='new \"one\"' password=secret");
	is_refused(b, "dbname=app user=app_scram", "28P01", "SASL authentication failed");
	assert_string_equal(db_value(c, "select 1"), "1");
}

/* Malformed messages of a login: a word about each, no more. */
static void malformed_logins(void **state)
{
	static const struct {
		const char *auth_type, *bytes;
		size_t n;
		char type;
		const char *code;
	} cases[] = {{"plain", "no end", 6, 'p', "08P01"}, {"plain", "two\0words", 10, 'p', "08P01"},
		{"plain", "select 1", 9, 'Q', "08P01"}, {"scram-sha-256", "SCRAM-SHA-256", 14, 'p', "08P01"},
		{"scram-sha-256", "SCRAM-SHA-256\0\0\0\0\377n,,", 21, 'p', "08P01"},
		{"scram-sha-256", "SCRAM-SHA-256\0\0\0\0\5n,,n=", 23, 'p', "08P01"},
		{"scram-sha-256", "GSSAPI\0\0\0\0\5hello", 16, 'p', "08P01"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct bouncer *b = start_with(e2e_text("auth_type = %s", cases[i].auth_type));
		int fd = raw_connect(bouncer_port(b), NULL);
		char *payload;
		size_t n;

		assert_true(raw_startup(fd, "user", "app_plain", "database", "app", NULL));
		assert_int_equal(raw_read(fd, &payload, &n), 'R');
		assert_true(raw_message(fd, cases[i].type, cases[i].bytes, cases[i].n));
		assert_int_equal(raw_read(fd, &payload, &n), 'E');
		if (strcmp(raw_field(payload, n, 'C'), cases[i].code) != 0)
			fail_msg("case %zu: %s %s", i, raw_field(payload, n, 'C'), raw_field(payload, n, 'M'));
		assert_true(raw_closed(fd, 0));
		bouncer_stop(b);
	}
}

/* ---- at the server ------------------------------------------------------------------------- */

static struct bouncer *start_to(const char *database, const char *auth_type, const char *auth)
{
	return bouncer_start(&(struct bouncer_options){.databases = database,
		.settings = e2e_text("auth_type = %s\nserver_login_retry = 0\nserver_tls_sslmode = disable", auth_type),
		.auth = auth});
}

static void works_as(struct bouncer *b, const char *rest, const char *user)
{
	PGconn *c = db_connect("%s dbname=app %s", bouncer_dsn(b), rest);

	assert_string_equal(db_value(c, "select current_user"), user);
	db_close(c);
}

/* At the login or, where another user's server has logged in before, at the first request. */
static void fails_with(struct bouncer *b, const char *rest, const char *code, const char *part)
{
	PGconn *c = db_try("%s dbname=app %s", bouncer_dsn(b), rest);

	if (PQstatus(c) == CONNECTION_OK)
		assert_string_equal(db_error(c, "select 1"), code);
	else
		assert_string_equal(db_refused("%s dbname=app %s", bouncer_dsn(b), rest), code);
	if (!strstr(db_error_text(c), part))
		fail_msg("no \"%s\" in: %s", part, db_error_text(c));
}

/* The pause after a failed login is short, but it is there. */
static bool works_again(struct bouncer *b, const char *rest)
{
	return PQstatus(db_try("%s dbname=app %s", bouncer_dsn(b), rest)) == CONNECTION_OK;
}

/* A plain secret does all that a server may ask for. */
static void servers_by_plain_secret(void **state)
{
	static const char *const users[] = {"app_trust", "app_plain", "app_md5", "app_scram"};
	struct bouncer *b = start_to(NULL, "trust", NULL);

	(void)state;
	for (size_t i = 0; i < 4; i++)
		works_as(b, e2e_text("user=%s", users[i]), users[i]);
	bouncer_stop(b);
	b = start_to(NULL, "trust", "\"app_plain\" \"no\"\n\"app_md5\" \"no\"\n\"app_scram\" \"no\"\n");
	for (size_t i = 1; i < 4; i++)
		fails_with(b, e2e_text("user=%s", users[i]), "28P01",
			e2e_text("server login has been failing, cached error: password authentication failed for user "
				 "\"%s\" (server_login_retry)",
				users[i]));
}

static void servers_by_md5_secret(void **state)
{
	struct bouncer *b = start_to(NULL, "trust",
		e2e_text("\"app_md5\" \"%s\"\n\"app_scram\" \"%s\"\n\"app_plain\" \"%s\"\n", secret_of("app_md5"),
			secret_of("app_md5"), secret_of("app_md5")));

	(void)state;
	works_as(b, "user=app_md5", "app_md5");
	fails_with(b, "user=app_scram", "28P01", "the server asks for SCRAM authentication");
	fails_with(b, "user=app_plain", "28P01", "the server asks for password authentication");
}

/* With no more than the SCRAM secret it takes the keys of a client that has proved itself. */
static void servers_by_scram_keys(void **state)
{
	const char *auth = e2e_text("\"app_scram\" \"%s\"\n", secret_of("app_scram"));
	struct bouncer *b = start_to(NULL, "scram-sha-256", auth);

	(void)state;
	works_as(b, "user=app_scram", "app_scram");
	works_as(b, "user=app_scram", "app_scram");
	bouncer_stop(b);
	b = start_to(NULL, "md5", auth); /* asks such users for SCRAM too */
	works_as(b, "user=app_scram", "app_scram");
	bouncer_stop(b);
	b = start_to(NULL, "trust", auth);
	fails_with(b, "user=app_scram", "28P01", "the server asks for SCRAM authentication");
	bouncer_stop(b);
	/* A secret of the same password that was made elsewhere, with another salt, is of no use at this server. */
	pg_add_user(pg_shared(), "elsewhere", "scram-sha-256");
	auth = e2e_text("\"elsewhere\" \"%s\"\n", secret_of("elsewhere"));
	pg_value(pg_shared(), "alter role elsewhere password '%s'", e2e_password("elsewhere"));
	b = start_to(NULL, "scram-sha-256", auth);
	fails_with(b, "user=elsewhere", "28P01", "server holds another SCRAM secret for the user than auth_file does");
}

static void servers_by_forced_user(void **state)
{
	const char *at = "app = host=127.0.0.1 port={pg} dbname=postgres";
	struct bouncer *b = start_to(e2e_text("%s user=app_scram password='%s'", at, e2e_password("app_scram")),
		"scram-sha-256", "\"one\" \"pw of one!\"\n\"two\" \"pw of two!\"\n\"app_scram\" \"wrong\"\n");
	const char *pid;
	PGconn *c;

	(void)state;
	/* One pool for all. */
	c = db_connect("%s dbname=app user=one", bouncer_dsn(b));
	pid = db_value(c, "select pg_backend_pid()");
	assert_string_equal(db_value(c, "select current_user"), "app_scram");
	c = db_connect("%s dbname=app user=two", bouncer_dsn(b));
	assert_string_equal(db_value(c, "select pg_backend_pid()"), pid);
	bouncer_stop(b);
	b = start_to(e2e_text("%s user=app_scram password=wrong", at), "trust", NULL);
	fails_with(b, "user=app_plain", "28P01", "password authentication failed for user \"app_scram\"");
	bouncer_stop(b);
	/* Without one in the entry its secret is that of the user list. */
	b = start_to(e2e_text("%s user=app_scram", at), "trust", NULL);
	works_as(b, "user=app_plain", "app_scram");
	bouncer_stop(b);
	b = start_to(e2e_text("%s user=app_scram", at), "trust", "\"app_plain\" \"x\"\n");
	fails_with(b, "user=app_plain", "28P01", "there is no secret that can do it");
}

/* A secret that is rotated under it is read at the next login, without a RELOAD. */
static void servers_by_password_file(void **state)
{
	const char *file = e2e_file("rotated", 0600, "first secret\nnothing of this line\n");
	struct bouncer *b;
	PGconn *c;

	(void)state;
	pg_value(pg_shared(), "create role rotated login password 'first secret'");
	b = start_to(e2e_text("app = host=127.0.0.1 port={pg} dbname=postgres user=rotated password_file=%s", file),
		"scram-sha-256", NULL);
	c = db_connect("%s dbname=app user=app_plain", bouncer_dsn(b));
	assert_string_equal(db_value(c, "select current_user"), "rotated");
	pg_value(pg_shared(), "alter role rotated password 'second secret'");
	e2e_file("rotated", 0600, "second secret");
	assert_string_equal(db_value(c, "select current_user"), "rotated");
	bouncer_command(b, "reconnect");
	assert_string_equal(db_value(c, "select current_user"), "rotated");
	/* One that cannot be read fails that login and tells why. */
	assert_int_equal(remove(file), 0);
	bouncer_command(b, "reconnect");
	assert_string_equal(db_error(c, "select 1"), "28P01");
	WAIT_UNTIL(bouncer_logged(b, "cannot read password_file"));
	e2e_file("rotated", 0600, "second secret\r\n");
	c = db_connect("%s dbname=app user=app_plain", bouncer_dsn(b));
	WAIT_UNTIL(PQresultStatus(db_keep(PQexec(c, "select 1"))) == PGRES_TUPLES_OK || (PQreset(c), false));
	works_as(b, "user=app_plain", "rotated");
}

static void servers_over_unix_sockets(void **state)
{
	struct bouncer *b = start_to("app = host={pgdir} port={pg} dbname=postgres", "trust", NULL);

	(void)state;
	works_as(b, "user=app_scram", "app_scram");
	assert_string_equal(bouncer_value(b, "DATABASES", "name", "app", "host"), pg_socket_dir(pg_shared()));
}

/* What the server says of a database, a role or a login is told to the client as it is. */
static void errors_of_the_server(void **state)
{
	struct bouncer *b = start_to("app = host=127.0.0.1 port={pg} dbname=postgres\n"
				     "gone = host=127.0.0.1 port={pg} dbname=no_such_database",
		"trust", NULL);

	(void)state;
	pg_value(pg_shared(), "alter role app_plain nologin");
	fails_with(b, "user=app_plain", "28000", "role \"app_plain\" is not permitted to log in");
	pg_value(pg_shared(), "alter role app_plain login");
	WAIT_UNTIL(works_again(b, "user=app_plain"));
	works_as(b, "user=app_plain", "app_plain");
	fails_with(b, "dbname=gone user=app_plain", "3D000", "database \"no_such_database\" does not exist");
}

/* ---- what is logged --------------------------------------------------------------------------- */

/* Not at the noisiest level: no password, no secret, no text of a query. */
static void nothing_secret_is_logged(void **state)
{
	static const char *const types[] = {"plain", "md5", "scram-sha-256"};
	static const char *const users[] = {"app_plain", "app_md5", "app_scram"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct bouncer *b =
			bouncer_start(&(struct bouncer_options){.settings = e2e_text("auth_type = %s", types[i]),
				.args = (const char *const[]){"-v", "-v", "-v", NULL}});
		const char *log;
		PGconn *c;

		for (size_t k = 0; k < 3; k++) {
			c = db_connect("%s dbname=app user=%s", bouncer_dsn(b), users[k]);
			db_value(c, "select 'private text'");
			db_value_ext(c, "select 'private text'");
			db_error(c, "select 'private text' +");
			db_refused("%s dbname=app user=%s password='private text'", bouncer_dsn(b), users[k]);
		}
		log = bouncer_log(b);
		assert_non_null(strstr(log, " NOISE "));
		for (size_t k = 0; k < 3; k++) {
			assert_null(strstr(log, e2e_password(users[k])));
			assert_null(strstr(log, secret_of(users[k])));
		}
		assert_null(strstr(log, "private text"));
		assert_null(strstr(log, "SCRAM-SHA-256$"));
		bouncer_stop(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		e2e_test(passwords_plain),
		e2e_test(passwords_md5),
		e2e_test(passwords_scram),
		e2e_test(trust),
		e2e_test(any),
		e2e_test(no_user_name),
		e2e_test(long_password_and_small_reads),
		e2e_test(the_user_list_is_read_again),
		e2e_test(malformed_logins),
		e2e_test(servers_by_plain_secret),
		e2e_test(servers_by_md5_secret),
		e2e_test(servers_by_scram_keys),
		e2e_test(servers_by_forced_user),
		e2e_test(servers_by_password_file),
		e2e_test(servers_over_unix_sockets),
		e2e_test(errors_of_the_server),
		e2e_test(nothing_secret_is_logged),
	};

	e2e_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
