/*
 * The driver's side of a device whose state is saved and loaded: memory of its own, rings in it,
 * and counted interrupts. Failures are cmocka's.
 */
#ifndef PV_TESTS_UNIT_STATE_SIDE_H
#define PV_TESTS_UNIT_STATE_SIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/ring_driver.h"

#define SIDE_RING_SIZE 8

struct side {
	struct ram ram;
	struct ring rings[2];
	unsigned interrupts[2];
	unsigned config_interrupts;
};

/* Makes it the one that gets the device's interrupts. */
void side_connect(struct pv_virtio *dev, struct side *side);
/* The driver's side of a clone: the same memory and positions. */
void side_copy(struct side *to, const struct side *from);
bool side_same_memory(const struct side *a, const struct side *b);
/* Takes the device to DRIVER_OK with fresh rings. */
void side_bring_up(struct pv_virtio *dev, struct side *side, uint64_t features);

#endif
