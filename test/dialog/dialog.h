/*
 * dialog: whole sessions in one process. A world is a pooler over memory in
 * place of sockets, with a clock that stands; its ends are the far sides of
 * the pooler's connections: fake clients and fake servers. A script (script.c
 * has the language, README the words of it) says what each end sends and what
 * it must have received.
 *
 * world.c     the ends, what a read returns and a write takes, one turn after
 *             another until nothing moves; above.c puts the console on top
 * accounts.c  what must be left when all ends have gone
 * notation.c  messages in the words of the scripts
 * phrase.c    their bytes, and what came compared with what was to come
 * script.c    reads scripts and runs one dialogue in one way; steps*.c its verbs
 * dialogues.c runs each dialogue in every way and prints TAP
 * chaos*.c    random sessions, checked against model.c, which is a session of PostgreSQL's
 */
#ifndef TEST_DIALOG_H
#define TEST_DIALOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/mem.h"
#include "conn/conn.h"
#include "net/addr.h"

struct config;

/* Bytes that grow; not the pooler's own buffers, whose accounts are looked at. Zero-initialise. */
struct bytes {
	char *p;
	size_t n, cap;
};
void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_u8(struct bytes *b, unsigned v);
void bytes_u16(struct bytes *b, unsigned v);
void bytes_u32(struct bytes *b, uint32_t v);
void bytes_str(struct bytes *b, const char *s); /* with its NUL */
void bytes_free(struct bytes *b);
/* Printable form of n bytes, cut at about 400 characters, in quotes. */
void bytes_print(struct bytes *out, const char *p, size_t n);
void bytes_printf(struct bytes *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- world ---- */

enum end_kind {
	END_CLIENT,
	END_SERVER,
	END_CANCEL,
	END_UNKNOWN /* a connection of the pooler's that has not spoken */
};

/* The far side of one connection of the pooler. */
struct end {
	struct world *w;
	char name[32];
	enum end_kind kind;
	struct stream *stream; /* the pooler's; NULL once the pooler has closed it */
	stream_cb *cb;	       /* the pooler's, while it connects */
	void *arg;
	char addr[ADDR_TEXT]; /* of the pooler's own connections: where to; "unix" */
	bool connecting, hangs, refused;
	struct bytes tx; /* for the pooler to read; pos and avail are where it stands and how far it may go */
	size_t tx_pos, tx_avail;
	struct bytes rx; /* what the pooler has written; looked at up to rx_pos */
	size_t rx_pos;
	bool eof, reset;	/* this end has gone */
	bool unseen;		/* and no event tells of it */
	bool stalled;		/* takes no bytes */
	bool full;		/* took less than it was given, in this turn */
	bool spoke;		/* a login has been answered for it */
	struct bytes startup;	/* server: the parameters of its startup packet */
	unsigned char key[264]; /* client: the key it was told; server: the key it told */
	size_t key_len;
	char salt[4];	/* of the last md5 challenge */
	unsigned index; /* among the clients, or among the pooler's own connections */
	TAILQ_ENTRY(end) all;
};

/* How a server goes in a step `dies`, and what it says of it. */
enum death { DEATH_EOF, DEATH_RESET, DEATH_FATAL, DEATH_WARNING, DEATH_CRASH_ELSEWHERE };

/* How bytes go: 0 is no limit. */
struct way {
	const char *name;
	size_t read, write;
	bool blocks; /* after a short write nothing more is taken in this turn */
	int cut;     /* this boundary of what the ends send is where a delivery is cut ... */
	int cut_off; /* ... this many bytes away from it; cut < 0: none */
	/* Of a step `dies`: all of these are nothing where the answer comes whole, and then an end of file. */
	size_t lacks; /* so many bytes of the answer do not come any more, ... */
	enum death death;
	size_t mumbles; /* ... nor so many of what it says of its end */
	bool at_once;	/* its end is there together with its last bytes */
};

/* A place in the answer of a step `dies` where the connection can be cut: so many bytes before its end. */
struct place {
	size_t lacks;
	bool boundary; /* of a message */
};

/* A boundary of a message inside or at the end of one delivery. */
struct boundary {
	size_t at, len;
};

enum connect_policy { CONNECT_ACCEPT, CONNECT_REFUSE, CONNECT_HANG, CONNECT_EXHAUSTED };

struct world {
	struct pooler pooler;
	TAILQ_HEAD(end_list, end) ends;
	struct way way;
	unsigned n_servers, n_cancels; /* that have spoken */
	unsigned n_clients, n_hosts;   /* connections of either side */
	bool manual;		       /* servers do not answer logins by themselves */
	enum connect_policy policy;
	char policy_host[64]; /* or an address; "": for all */
	struct bytes names;   /* name NUL addresses NUL ...: what names are; those that are not here 192.0.2.1 */
	struct bytes params;  /* name NUL value NUL ...: what servers report at login besides the usual */
	struct boundary *boundaries;
	size_t n_boundaries, cap_boundaries;
	struct place *places; /* of the step `dies` */
	size_t n_places;
	bool over;	      /* that step has looked at all: those behind it are not for this run */
	uint64_t moved;	      /* bytes and events so far */
	struct bytes *record; /* not NULL: what the ends do, as fuzz_session.c reads it */
	bool trace;
	bool failed;
	struct bytes failure;
	struct bytes log;				   /* the lines logged, each with its newline */
	struct mem_usage before[MEM_TAGS], idle[MEM_TAGS]; /* without a pooler, and when it was new */
	void *above;					   /* world_above's own */
};

/*
 * The floor above the connections, in programs that link one (above.c): when a world has begun, after each turn, before the
 * pooler is freed. Without it there is no console.
 */
struct world_above {
	void (*begin)(struct world *w);
	void (*turn)(struct world *w);
	void (*end)(struct world *w);
};
extern const struct world_above world_above __attribute__((weak));

/* The clock stands at 1000 s when a world begins. c is shared by many worlds. */
void world_begin(struct world *w, struct config *c, const struct way *way);
/* Closes the ends that are left, checks that nothing is left of any session, frees the world. False: w->failure says why. */
bool world_end(struct world *w);
void world_free(struct world *w); /* the rest, after world_end() */
void world_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Every connection of the pooler as it stands. */
void world_describe(struct world *w, struct bytes *out);
/* Fails the world when something is left of a session although all ends have gone. */
void world_check_accounts(struct world *w);

/* A client's connection. local: over a unix socket. */
struct end *world_connect(struct world *w, const char *name, bool local);
/* A connection that asks for the query of a client to be cancelled. False: that has no key. */
bool world_cancel(struct world *w, const char *name, struct end *of);
struct end *world_end_by_name(struct world *w, const char *name); /* the newest of that name, NULL: none */
/* Gives n bytes to the pooler to read, cut as the way says, and lets everything come to rest. bounds: where messages end. */
void world_send(struct end *e, const char *p, size_t n, const size_t *bounds, size_t n_bounds);
void world_eof(struct end *e);
/* The same, and no event has told of it yet. */
void world_eof_unseen(struct end *e);
void world_reset(struct end *e);
/* Turns until nothing moves. */
void world_settle(struct world *w);
void world_clock(struct world *w, int64_t us);
/*
 * A record of what the ends do is the input of the fuzz target: one byte for the configuration, then operations. The low
 * three bits are what, the others which end.
 */
enum fuzz_op {
	FUZZ_CONNECT,	  /* a client */
	FUZZ_CLIENT_SEND, /* two bytes of length, little end first, and as many bytes */
	FUZZ_SERVER_SEND, /* the same */
	FUZZ_CLIENT_GONE,
	FUZZ_SERVER_GONE,
	FUZZ_CLOCK, /* one byte: tenths of a second, times the square of which */
	FUZZ_WAY,   /* two bytes: what a read returns and a write takes at most, 0: no limit */
	FUZZ_SWITCH /* which: enum fuzz_switch */
};
enum fuzz_switch {
	FUZZ_AUTO,
	FUZZ_MANUAL,
	FUZZ_ACCEPT,
	FUZZ_REFUSE,
	FUZZ_HANG,
	FUZZ_STALL,  /* one byte: which client */
	FUZZ_TAKE,   /* the same */
	FUZZ_CANCEL, /* one byte: of which client; a connection that asks for it */
	FUZZ_EXHAUSTED
};
void world_record(struct world *w, enum fuzz_op op, unsigned which, const char *p, size_t n);

/* The reply of a server to a right login: AuthenticationOk (when auth), ParameterStatus, BackendKeyData, ReadyForQuery. */
void world_login_reply(struct end *e, bool auth, struct bytes *out);

/* ---- notation ---- */

struct token {
	char *s; /* NUL after n bytes; may hold NULs itself */
	size_t n;
	bool quoted;   /* began with a quote */
	bool contains; /* ~"text" */
};

/* Splits a line. False: why is set. The tokens are the caller's: tokens_free(). */
bool tokens_split(const char *line, struct token **v, size_t *n, const char **why);
void tokens_free(struct token *v, size_t n);

/* One message of a script: what is sent, or a pattern of what must come. */
struct phrase {
	enum phrase_kind {
		PHRASE_MESSAGE,	  /* type and payload; holes are places where any text may stand */
		PHRASE_RAW,	  /* bytes without a form */
		PHRASE_STARTUP,	  /* a StartupMessage; as a pattern it must hold the parameters named */
		PHRASE_CANCEL,	  /* CancelRequest with the key of the end named */
		PHRASE_OURS,	  /* an error or notice of the pooler's own */
		PHRASE_WELCOME,	  /* all from AuthenticationOk to ReadyForQuery */
		PHRASE_MD5,	  /* PasswordMessage that answers the last md5 challenge */
		PHRASE_CHALLENGE, /* AuthenticationMD5Password with any salt */
		PHRASE_MARK	  /* between the messages of a step `dies`: lost, hidden, shown */
	} kind;
	unsigned char type;
	bool any; /* whatever the payload */
	struct bytes payload;
	struct hole {
		size_t at;
		char *contains; /* NULL: any text */
	} hole[8];
	size_t n_holes;
	struct token *arg; /* of the other kinds */
	size_t n_args;
};

/* Makes phrases of the tokens, parted by '|'. backend: as servers send them. False: why is set. */
bool phrases_parse(const struct token *v, size_t n, bool backend, struct phrase **out, size_t *n_out, char *why,
	size_t why_size);
void phrases_free(struct phrase *v, size_t n);
/* Appends the bytes that are to be sent by e. */
bool phrase_build(const struct phrase *f, struct end *e, struct bytes *out);
enum match { MATCH_YES, MATCH_NO, MATCH_MORE /* what is there may be the beginning of it */ };
/* Compares with what stands at p; *used is what it took. */
enum match phrase_match(const struct phrase *f, struct end *e, const char *p, size_t n, size_t *used);
void phrase_print(struct bytes *out, const struct phrase *f);
/* Prints what n bytes are, message for message; the first packet of a connection when first. */
void messages_print(struct bytes *out, const char *p, size_t n, bool backend, bool first);

/* What a server says of its end, "" when nothing; *name is how an error's DETAIL has it. */
void death_words(enum death how, struct bytes *out, const char **name);

/* ---- script ---- */

/* What a configuration is made of: lines of [pgbouncer], [databases], [users] and of the user list; all may be empty. */
struct recipe {
	struct bytes set, databases, users, userlist;
};
/* dir is a folder for temporary files, what stands in front of errors; NULL after an error. */
struct config *recipe_load(const struct recipe *r, const char *dir, const char *what);
void recipe_free(struct recipe *r);

struct dialogue {
	char *file, *name;
	int line;
	struct step *steps;
	size_t n_steps;
	struct recipe recipe;
	struct config *config;
};

/* Appends the dialogues of a file. False: errors were printed. */
bool script_read(const char *file, struct dialogue **v, size_t *n);
/* Loads the configurations; dir is a folder for temporary files. */
bool dialogue_configure(struct dialogue *d, const char *dir);
/* Runs it once in a world that has begun, without world_end(). *line is where it stands. */
bool dialogue_run(struct dialogue *d, struct world *w, volatile int *line);
void dialogue_free(struct dialogue *d);

#endif
