/*
 * modes: what the tests that run in every pool mode share: psbouncer in that
 * mode, its clients, and the cases themselves.
 */
#ifndef PSBOUNCER_TEST_MODES_H
#define PSBOUNCER_TEST_MODES_H

#include "lib/e2e.h"

/* A case that runs once in each pool mode. */
#define IN_EACH_MODE(f)                           \
	static void f##_session(void **state)     \
	{                                         \
		(void)state;                      \
		f("session");                     \
	}                                         \
	static void f##_transaction(void **state) \
	{                                         \
		(void)state;                      \
		f("transaction");                 \
	}                                         \
	static void f##_statement(void **state)   \
	{                                         \
		(void)state;                      \
		f("statement");                   \
	}
#define in_each_mode(f) e2e_test(f##_session), e2e_test(f##_transaction), e2e_test(f##_statement)

static inline struct bouncer *start_and(const char *mode, unsigned pool_size, const char *more)
{
	return bouncer_start(&(struct bouncer_options){
		.settings = e2e_text("pool_mode = %s\nauth_type = trust\n"
				     "default_pool_size = %u\nmax_client_conn = 1000\n%s",
			mode, pool_size, more)});
}

static inline struct bouncer *start(const char *mode, unsigned pool_size)
{
	return start_and(mode, pool_size, "");
}

static inline PGconn *client(struct bouncer *b)
{
	return db_connect("%s dbname=app user=app_scram", bouncer_dsn(b));
}

static inline bool has_blocks(const char *mode)
{
	return strcmp(mode, "statement") != 0;
}

static inline void is_alive(PGconn *c)
{
	assert_string_equal(db_value(c, "select 'alive'"), "alive");
	assert_int_equal(PQtransactionStatus(c), PQTRANS_IDLE);
}

static inline const char *code_of(const PGresult *r)
{
	const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	return code ? code : "-";
}

#endif
