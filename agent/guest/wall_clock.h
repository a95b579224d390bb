/*
 * The wall clock of a guest that goes on from a snapshot, where time stood still.
 */
#ifndef PV_AGENT_GUEST_WALL_CLOCK_H
#define PV_AGENT_GUEST_WALL_CLOCK_H

#include <stdint.h>

/* Sets CLOCK_REALTIME to nanoseconds since 1970; clocks that count from the boot go on as they did.
 * A kernel that refuses is complained about on standard error. Loop thread; does not block. */
void pv_wall_clock_set(int64_t wall_ns);

#endif
