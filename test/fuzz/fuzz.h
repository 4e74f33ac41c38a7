/*
 * What a fuzz target is: LLVMFuzzerTestOneInput() of fuzz_X.c takes any bytes
 * and ends the program when something is wrong. With ./configure --enable-fuzz
 * libFuzzer calls it, else driver.c does for the files in corpus/X.
 */
#ifndef PSBOUNCER_FUZZ_FUZZ_H
#define PSBOUNCER_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(truth)                                                           \
	do {                                                                        \
		if (!(truth)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth); \
			abort();                                                    \
		}                                                                   \
	} while (0)

#endif
