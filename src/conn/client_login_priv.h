/*
 * client_login_priv.h: what the files of a client's login share: client_login.c
 * (TLS, the startup packet), client_auth.c (who it is) and client_admit.c (whether
 * it may come in, and its welcome).
 */
#ifndef PSBOUNCER_CLIENT_LOGIN_PRIV_H
#define PSBOUNCER_CLIENT_LOGIN_PRIV_H

#include "conn/client_priv.h"
#include "proto/wire.h"

struct scram_server;

enum method { METHOD_NONE, METHOD_PLAIN, METHOD_MD5, METHOD_SCRAM };

/* While a client logs in; its secrets are wiped with it. */
struct login {
	struct startup st;				    /* its params are packet */
	const char *user, *database, *replication, *option; /* the last value of each in it, or NULL */
	size_t options;					    /* how many of its names are options of the protocol */
	size_t params_at;				    /* where in it the session's parameters begin */
	enum method method;
	uint8_t salt[4];
	struct scram_server *scram;
	bool asked_tls, asked_gss;
	bool sasl_begun;  /* SASLInitialResponse has come */
	bool console;	  /* the virtual database */
	struct user *who; /* held; NULL: a name that nobody knows, which must not take up room before it is let in */
	char packet[];	  /* the startup packet's parameters */
};

/* client_login.c: where the value of a name goes that the login itself wants; NULL: it is a parameter of the session. */
const char **client_login_own(struct login *l, const char *name);

/* client_auth.c. The startup packet is read: its user is to show who it is, or is let in, or is closed. */
void client_auth_begin(struct client *cl);
/* The own uid on the unix socket is the administrator without a password. */
bool client_auth_is_owner(const struct client *cl);

/* client_admit.c. It is who it says. */
void client_admit(struct client *cl);
/* How long a cancel key it is told, in bytes. */
size_t client_key_length(const struct client *cl);

#endif
