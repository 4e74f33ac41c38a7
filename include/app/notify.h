/*
 * notify: what a service manager wants to know, and what it hands over
 * (sd_notify(3), sd_listen_fds(3)), without its library.
 */
#ifndef PSBOUNCER_APP_NOTIFY_H
#define PSBOUNCER_APP_NOTIFY_H

/* Sends lines of NAME=value to $NOTIFY_SOCKET; does nothing when it is not set. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* How many listening descriptors there are for this process, from 3 on. Once, before any fork. */
int notify_inherited(void);

#endif
