/* Figures of many runs: how they are told. */
#ifndef PV_TESTS_BENCH_FIGURES_H
#define PV_TESTS_BENCH_FIGURES_H

#include <stdint.h>

/* Sorts the nanoseconds of `count` runs, and prints median, minimum and 99th percentile in
 * microseconds. */
void figures_report(const char *what, int64_t *values, unsigned count);

#endif
