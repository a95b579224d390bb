/*
 * Host time in nanoseconds. Deadlines are monotonic; PV_CLOCK_NEVER waits for ever.
 */
#ifndef PV_BASE_CLOCK_H
#define PV_BASE_CLOCK_H

#include <stdint.h>

#define PV_CLOCK_NEVER	INT64_MAX
#define PV_CLOCK_SECOND INT64_C(1000000000)

/* CLOCK_MONOTONIC. */
int64_t pv_clock_now(void);

/* CLOCK_REALTIME, nanoseconds since 1970. */
int64_t pv_clock_wall(void);

/* now + span, saturating at PV_CLOCK_NEVER; a negative span is 0. */
int64_t pv_clock_deadline(int64_t span_ns);

#endif
