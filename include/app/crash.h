/*
 * crash: the last words of a program that dies of a fault: version, signal and
 * addresses, by calls that are safe in a signal handler. It then dies of the
 * same signal.
 */
#ifndef PSBOUNCER_APP_CRASH_H
#define PSBOUNCER_APP_CRASH_H

/* Once, at the start. Does nothing under AddressSanitizer, which has a report of its own. */
void crash_install(void);

#endif
