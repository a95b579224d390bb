/*
 * An entropy device that runs and counts its interrupts, for tests of what drivers do to it.
 * Failures are cmocka's.
 */
#ifndef PV_TESTS_UNIT_RNG_RIG_H
#define PV_TESTS_UNIT_RNG_RIG_H

#include "tests/unit/ring_driver.h"
#include "virtio/rng.h"

/* Of the ring. */
#define RNG_RIG_SIZE 16

#define RNG_RIG_EVENTS (VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

struct rng_rig {
	struct ram ram;
	struct ring ring;
	struct pv_rng rng;
	unsigned queue_interrupts;
	unsigned config_interrupts;
};

/* cmocka set-up and tear-down for a test with a struct rng_rig as its state. */
int rng_rig_set_up(void **state);
int rng_rig_tear_down(void **state);

/* Brings the device up with fresh rings. */
void rng_rig_start(struct rng_rig *rig, uint64_t features);

/* A good request must be answered. */
void rng_rig_expect_service(struct rng_rig *rig);

/* The device must be broken for the reason `why`, stay broken, and come back by a reset. */
void rng_rig_expect_broken(struct rng_rig *rig, const char *why);

#endif
