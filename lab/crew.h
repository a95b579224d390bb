/*
 * Several threads for a batch of jobs that do not depend on each other.
 */
#ifndef PV_LAB_CREW_H
#define PV_LAB_CREW_H

#include <stddef.h>

/*
 * Calls job(ctx, 0) to job(ctx, count - 1), some at the same time, each on the calling thread or
 * one of a few more; returns when all are done. More threads than processors are not made, and
 * where none can be made the calling thread does it all. Without the loop lock.
 */
void pv_crew_run(size_t count, void (*job)(void *ctx, size_t index), void *ctx);

#endif
