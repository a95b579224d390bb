/*
 * What a fuzz target asserts: a trap, with the place, whatever the build says of assert().
 */
#ifndef PV_TESTS_FUZZ_REQUIRE_H
#define PV_TESTS_FUZZ_REQUIRE_H

#include <stdio.h>

#define REQUIRE(condition)                                                              \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			__builtin_trap();                                               \
		}                                                                       \
	} while (0)

#endif
