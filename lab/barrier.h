/*
 * Barriers by name (spec 5.5). Script thread, without the loop lock.
 */
#ifndef PV_LAB_BARRIER_H
#define PV_LAB_BARRIER_H

#include <stddef.h>
#include <stdint.h>

struct pv_barrier;
struct pv_err;
struct pv_host;

/* Zero it. */
struct pv_barriers {
	struct pv_barrier *items;
	size_t count;
};

void pv_barriers_finish(struct pv_barriers *barriers);

enum pv_barrier_outcome {
	PV_BARRIER_MET,
	PV_BARRIER_LATE,     /* not all came in time; the arrival is taken back */
	PV_BARRIER_MISMATCH, /* the first arrival of all fixed another count */
};

/*
 * Arrives at the barrier `name` and waits until `count` have, at most `timeout_ns`. Then it is
 * empty again and can be used for another round. `*fixed` is the count of its first arrival.
 * Returns 0 with `outcome` set, or -errno: interrupted, out of memory.
 */
int pv_barrier_arrive(struct pv_barriers *barriers, struct pv_host *host, const char *name,
    int64_t count, int64_t timeout_ns, enum pv_barrier_outcome *outcome, int64_t *fixed,
    struct pv_err *err);

#endif
