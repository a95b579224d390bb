/*
 * Setting the wall clock (clock_settime(2)). It is done in here because only the guest's kernel
 * knows its wall time: as a difference to its monotonic clock, which no other can change from
 * outside without making that one jump as well, and all timers with it.
 */
#include "agent/guest/wall_clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

void pv_wall_clock_set(int64_t wall_ns)
{
	const struct timespec now = {
	    .tv_sec = (time_t)(wall_ns / PV_CLOCK_SECOND),
	    .tv_nsec = (long)(wall_ns % PV_CLOCK_SECOND),
	};
	if (clock_settime(CLOCK_REALTIME, &now) < 0)
		fprintf(stderr, "provium-agent: the clock cannot be set after a restore: %s\n",
		    strerror(errno));
}
