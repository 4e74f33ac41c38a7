/*
 * listener: the sockets that clients come in by. Accepts, and stops for a
 * second when descriptors run out.
 */
#ifndef PSBOUNCER_CONN_LISTENER_H
#define PSBOUNCER_CONN_LISTENER_H

#include <stdbool.h>

struct errs;
struct pooler;

/*
 * Opens what listen_addr, listen_port and unix_socket_dir say (names are resolved here, before the loop runs), or takes the
 * descriptors that systemd hands over (n_inherited from descriptor 3 on). false and entries in errs when one cannot be opened.
 */
bool listener_open_all(struct pooler *p, int n_inherited, struct errs *errs) __attribute__((warn_unused_result));
/* The configuration has changed: the TCP settings of clients that come from now on. */
void listener_configure(struct pooler *p);
/* Closes the TCP ones (shutdown), or all (removing socket files). */
void listener_close_tcp(struct pooler *p);
void listener_close_all(struct pooler *p);
/* True when something answers on the unix socket of this configuration: another one runs. */
struct config;
bool listener_is_taken(const struct config *c);

#endif
