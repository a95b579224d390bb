/*
 * The driver's side of a virtqueue, for tests: plain guest memory, rings in it, and functions that
 * write any field of them, right or wrong. Nothing here checks anything; what the specification
 * forbids is as easy to say as what it demands.
 *
 * Guest memory has a hole on purpose: [LOW_GPA, LOW_GPA + LOW_SIZE) and [HIGH_GPA, HIGH_GPA +
 * HIGH_SIZE) are RAM, everything else is not, address 0 included.
 */
#ifndef PV_TESTS_UNIT_RING_DRIVER_H
#define PV_TESTS_UNIT_RING_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gmem.h"
#include "virtio/device.h"

#define LOW_GPA	  UINT64_C(0x100000)
#define LOW_SIZE  UINT64_C(0x100000)
#define HIGH_GPA  UINT64_C(0x100000000)
#define HIGH_SIZE UINT64_C(0x10000)

/* Where tests put their data: behind the rings. */
#define DATA_GPA (LOW_GPA + 0x40000)

struct ram {
	struct pv_gmem mem;
	uint8_t *low;
	uint8_t *high;
};

/* Zeroed memory, allocated exactly, so that the address sanitizer sees its ends. */
void ram_init(struct ram *ram);
void ram_finish(struct ram *ram);
/* Host address of guest memory; ends the test when it is not RAM. */
void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len);

struct ring {
	struct ram *ram;
	uint16_t size;
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
	uint16_t avail_index; /* what ring_offer publishes next is one more */
	uint16_t used_index;  /* entries of the used ring that the driver has seen */
	uint16_t kick_index;  /* avail_index at the last look whether to kick */
};

/* Rings of `size` in the `slot`-th 32 KiB of low memory, zeroed. */
void ring_init(struct ring *ring, struct ram *ram, unsigned slot, uint16_t size);

/* A descriptor in the ring's table, or in a table anywhere. */
void ring_desc(
    struct ring *ring, unsigned index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
void ring_desc_at(struct ram *ram, uint64_t table, unsigned index, uint64_t addr, uint32_t len,
    uint16_t flags, uint16_t next);

/* Makes the chain at `head` available: entry, then index. */
void ring_offer(struct ring *ring, uint16_t head);
/* Only the index. */
void ring_set_avail_index(struct ring *ring, uint16_t index);
void ring_set_avail_flags(struct ring *ring, uint16_t flags);
void ring_set_used_event(struct ring *ring, uint16_t event);

uint16_t ring_avail_event(const struct ring *ring);
uint16_t ring_used_flags(const struct ring *ring);
uint16_t ring_used_idx(const struct ring *ring);

/* Takes the next entry of the used ring; false when there is none. */
bool ring_take(struct ring *ring, uint32_t *id, uint32_t *len);

/*
 * True when a driver that keeps the rules has to kick for what it offered since the last call
 * (2.7.7.2, 2.7.10.1).
 */
bool ring_must_kick(struct ring *ring, bool event_idx);

/* --- the driver's part of bringing a device up (3.1.1) --- */

/* Reset to FEATURES_OK with `features` and VERSION_1. */
void driver_begin(struct pv_virtio *dev, uint64_t features);
/* Describes the ring to the device and enables the queue. */
void driver_attach(struct pv_virtio *dev, unsigned queue, const struct ring *ring);
/* DRIVER_OK. */
void driver_go(struct pv_virtio *dev);

#endif
