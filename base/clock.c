/*
 * The two host clocks that we use: the monotonic one for deadlines, the wall clock for what people
 * read. Any thread.
 */
#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now); /* cannot fail: both clocks always exist */
	return (int64_t)now.tv_sec * PV_CLOCK_SECOND + now.tv_nsec;
}

int64_t pv_clock_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t pv_clock_wall(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t pv_clock_deadline(int64_t span_ns)
{
	int64_t deadline;
	if (span_ns < 0)
		span_ns = 0;
	if (__builtin_add_overflow(pv_clock_now(), span_ns, &deadline))
		return PV_CLOCK_NEVER;
	return deadline;
}
