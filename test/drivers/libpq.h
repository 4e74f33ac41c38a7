/*
 * libpq: its pipelines, single rows and COPY as a case of test/e2e/drivers.
 */
#ifndef PSBOUNCER_TEST_DRIVERS_LIBPQ_H
#define PSBOUNCER_TEST_DRIVERS_LIBPQ_H

/* dsn: of a pool with fewer servers than the clients that it makes. Fails the test unless all of it was right. */
void libpq_drive(const char *dsn);

#endif
