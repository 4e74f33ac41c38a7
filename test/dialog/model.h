/*
 * model: a PostgreSQL session as far as chaos.c needs one: transactions, the
 * simple and the extended protocol, COPY, one parameter. It is used twice: for
 * the servers behind the pooler, and once for each client to say what a session
 * of its own would have answered. The two must agree.
 *
 * Statements: select X | fail X | sleep X (until it is cancelled) | nap X (until
 * model_wake()) | copyin X | copyhalf X (fails at its first data) | copyout X |
 * begin | commit | rollback | set timezone to 'X' | reset timezone | discard all |
 * deallocate all | prepare X as select X | execute X | deallocate X | SET name = E'value'; ... | nothing
 */
#ifndef TEST_DIALOG_MODEL_H
#define TEST_DIALOG_MODEL_H

#include "dialog/dialog.h"

enum { MODEL_STATEMENTS = 64 };

struct model_statement {
	char name[64], sql[128];
};

enum model_work { MODEL_READY, MODEL_SLEEPS, MODEL_NAPS };

/* Zero-initialise, then model_init(). */
struct model {
	struct bytes in;  /* not looked at yet */
	struct bytes out; /* its answers */
	enum model_work work;
	char work_sql[128];
	char status;
	bool by_query; /* what runs, or ran last, came by a Query */
	bool skipping; /* to the next Sync */
	bool implicit; /* a transaction that the next Sync or the end of the Query ends */
	bool copying, copy_query, copy_half;
	unsigned copied;
	bool refuses_names; /* a Parse with a name is answered as psbouncer does without max_prepared_statements */
	char zone[64], zone_before[64], zone_login[64];
	char name[64]; /* application_name */
	struct model_statement prepared[MODEL_STATEMENTS];
	unsigned n_prepared, most_prepared;
	char portal[128];
	bool has_portal;
	bool broken; /* it was sent what it does not know */
	bool dead;   /* it was sent something else in the middle of a COPY, and has ended */
	/* A statement has run to its end, or its error; may be NULL. */
	void (*ran)(const char *sql, void *arg);
	void *arg;
};

void model_init(struct model *m, const char *zone);
void model_free(struct model *m);
void model_feed(struct model *m, const char *p, size_t n);
/* What sleeps or naps ends: by a cancel, or well. A cancel without anything to hit does nothing. */
void model_wake(struct model *m, bool cancelled);

#endif
