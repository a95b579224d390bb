/* See figures.h. */
#include "tests/bench/figures.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	const int64_t *x = a;
	const int64_t *y = b;
	return *x < *y ? -1 : *x > *y;
}

void figures_report(const char *what, int64_t *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	printf("%-36s median %8.1f us  min %8.1f us  p99 %8.1f us\n", what,
	    (double)values[count / 2] / 1e3, (double)values[0] / 1e3,
	    (double)values[count * 99 / 100] / 1e3);
}
