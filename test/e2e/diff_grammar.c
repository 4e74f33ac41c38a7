#include "e2e/differential.h"
void grammar_write(struct bytes *out, uint64_t seed)
{
	bytes_printf(out, "sequence \"seed %llu\"\na > S\n", (unsigned long long)seed);
}
