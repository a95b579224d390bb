/*
 * See ring_driver.h. Indices are published and read with the ordering that a driver uses, so that a
 * test may run this side on a thread of its own.
 */
#include "tests/unit/ring_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

void ram_init(struct ram *ram)
{
	*ram = (struct ram){0};
	ram->low = aligned_alloc(4096, LOW_SIZE);
	ram->high = aligned_alloc(4096, HIGH_SIZE);
	assert_non_null(ram->low);
	assert_non_null(ram->high);
	memset(ram->low, 0, LOW_SIZE);
	memset(ram->high, 0, HIGH_SIZE);
	assert_int_equal(pv_gmem_add(&ram->mem, LOW_GPA, LOW_SIZE, ram->low), 0);
	assert_int_equal(pv_gmem_add(&ram->mem, HIGH_GPA, HIGH_SIZE, ram->high), 0);
}

void ram_finish(struct ram *ram)
{
	free(ram->low);
	free(ram->high);
}

void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	void *host = pv_gmem_at(&ram->mem, gpa, len);
	assert_non_null(host);
	return host;
}

static uint16_t *word(const struct ring *ring, uint64_t gpa)
{
	return ram_at(ring->ram, gpa, 2);
}

void ring_init(struct ring *ring, struct ram *ram, unsigned slot, uint16_t size)
{
	const uint64_t base = LOW_GPA + 0x8000 * (uint64_t)slot;
	*ring = (struct ring){
	    .ram = ram,
	    .size = size,
	    .desc = base,
	    .avail = base + 0x2000,
	    .used = base + 0x4000,
	};
	memset(ram_at(ram, base, 0x8000), 0, 0x8000);
}

void ring_desc_at(struct ram *ram, uint64_t table, unsigned index, uint64_t addr, uint32_t len,
    uint16_t flags, uint16_t next)
{
	uint8_t *at = ram_at(ram, table + 16 * (uint64_t)index, 16);
	pv_put_le64(at, addr);
	pv_put_le32(at + 8, len);
	pv_put_le16(at + 12, flags);
	pv_put_le16(at + 14, next);
}

void ring_desc(
    struct ring *ring, unsigned index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	ring_desc_at(ring->ram, ring->desc, index, addr, len, flags, next);
}

void ring_set_avail_index(struct ring *ring, uint16_t index)
{
	ring->avail_index = index;
	__atomic_store_n(word(ring, ring->avail + 2), index, __ATOMIC_RELEASE);
}

void ring_offer(struct ring *ring, uint16_t head)
{
	uint16_t *entry = word(ring, ring->avail + 4 + 2 * (ring->avail_index % ring->size));
	__atomic_store_n(entry, head, __ATOMIC_RELAXED);
	ring_set_avail_index(ring, ring->avail_index + 1);
}

void ring_set_avail_flags(struct ring *ring, uint16_t flags)
{
	__atomic_store_n(word(ring, ring->avail), flags, __ATOMIC_SEQ_CST);
}

void ring_set_used_event(struct ring *ring, uint16_t event)
{
	uint16_t *at = word(ring, ring->avail + 4 + 2 * (uint64_t)ring->size);
	__atomic_store_n(at, event, __ATOMIC_SEQ_CST);
	__sync_synchronize();
}

uint16_t ring_avail_event(const struct ring *ring)
{
	return __atomic_load_n(
	    word(ring, ring->used + 4 + 8 * (uint64_t)ring->size), __ATOMIC_SEQ_CST);
}

uint16_t ring_used_flags(const struct ring *ring)
{
	return __atomic_load_n(word(ring, ring->used), __ATOMIC_SEQ_CST);
}

uint16_t ring_used_idx(const struct ring *ring)
{
	return __atomic_load_n(word(ring, ring->used + 2), __ATOMIC_ACQUIRE);
}

bool ring_take(struct ring *ring, uint32_t *id, uint32_t *len)
{
	if (ring_used_idx(ring) == ring->used_index)
		return false;
	const uint64_t slot = ring->used_index % ring->size;
	const uint8_t *entry = ram_at(ring->ram, ring->used + 4 + 8 * slot, 8);
	*id = pv_le32(entry);
	*len = pv_le32(entry + 4);
	ring->used_index++;
	return true;
}

bool ring_must_kick(struct ring *ring, bool event_idx)
{
	__sync_synchronize();
	const uint16_t before = ring->kick_index, now = ring->avail_index;
	ring->kick_index = now;
	if (!event_idx)
		return !(ring_used_flags(ring) & VIRTQ_USED_F_NO_NOTIFY);
	/* Written out instead of taken over from the device: one by one. */
	const uint16_t event = ring_avail_event(ring);
	for (uint16_t i = before; i != now; i++)
		if (i == event)
			return true;
	return false;
}

void driver_begin(struct pv_virtio *dev, uint64_t features)
{
	features |= VIRTIO_F_VERSION_1;
	pv_virtio_set_status(dev, 0);
	pv_virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE);
	pv_virtio_set_status(dev, dev->status | VIRTIO_STATUS_DRIVER);
	pv_virtio_accept_features(dev, 0, features);
	pv_virtio_accept_features(dev, 1, features >> 32);
	pv_virtio_set_status(dev, dev->status | VIRTIO_STATUS_FEATURES_OK);
	assert_true(dev->status & VIRTIO_STATUS_FEATURES_OK);
}

void driver_attach(struct pv_virtio *dev, unsigned queue, const struct ring *ring)
{
	pv_virtio_set_queue_size(dev, queue, ring->size);
	pv_virtio_set_queue_ring(dev, queue, ring->desc, ring->avail, ring->used);
	pv_virtio_enable_queue(dev, queue);
}

void driver_go(struct pv_virtio *dev)
{
	pv_virtio_set_status(dev, dev->status | VIRTIO_STATUS_DRIVER_OK);
}
