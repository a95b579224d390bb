/*
 * The virtqueue: what a device refuses when a driver sets a queue up, what it takes, and rings that
 * are not where they should be all the same. virtio_queue_hostile.c has what is done to a queue
 * that runs.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/rng_rig.h"

/* Enables queue 0 with the ring as it is and expects it refused for `why`. */
static void expect_refused(struct rng_rig *rig, const struct ring *ring, const char *why)
{
	rig->config_interrupts = 0;
	driver_begin(&rig->rng.virtio, RNG_RIG_EVENTS);
	driver_attach(&rig->rng.virtio, 0, ring);
	assert_false(rig->rng.virtio.queues[0].state.ready);
	rng_rig_expect_broken(rig, why);
}

static void test_queue_sizes_that_are_no_power_of_two_are_refused(void **state)
{
	struct rng_rig *rig = *state;
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	const uint16_t sizes[] = {0, 3, 5, 15, 17, 63};
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ring ring = rig->ring;
		ring.size = sizes[i];
		expect_refused(rig, &ring, "queue size is not a power of two within the limit");
	}
}

static void test_queue_sizes_beyond_the_offer_are_refused(void **state)
{
	struct rng_rig *rig = *state;
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	const uint16_t sizes[] = {65, 128, 256, 512, 0x8000, 0xffff};
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ring ring = rig->ring;
		ring.size = sizes[i];
		expect_refused(rig, &ring, "queue size exceeds what the device offers");
	}
}

static void test_misaligned_rings_are_refused(void **state)
{
	struct rng_rig *rig = *state;
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	for (unsigned off = 1; off < 16; off++) {
		struct ring ring = rig->ring;
		ring.desc += off;
		expect_refused(rig, &ring, "descriptor table is not aligned to 16");
	}
	struct ring ring = rig->ring;
	ring.avail += 1;
	expect_refused(rig, &ring, "available ring is not aligned to 2");
	for (unsigned off = 1; off < 4; off++) {
		ring = rig->ring;
		ring.used += off;
		expect_refused(rig, &ring, "used ring is not aligned to 4");
	}
}

/* Each part at 0, across each edge of RAM, in the hole, and at the top of the address space. */
static void test_rings_outside_of_ram_are_refused(void **state)
{
	struct rng_rig *rig = *state;
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	const uint64_t places[] = {0, LOW_GPA - 16, LOW_GPA + LOW_SIZE - 16, LOW_GPA + LOW_SIZE,
	    HIGH_GPA - 16, HIGH_GPA + HIGH_SIZE - 16, HIGH_GPA + HIGH_SIZE, UINT64_MAX - 15};
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct ring ring = rig->ring;
		ring.desc = places[i];
		expect_refused(rig, &ring, "descriptor table lies outside of RAM");
		ring = rig->ring;
		ring.avail = places[i];
		expect_refused(rig, &ring, "available ring lies outside of RAM");
		ring = rig->ring;
		ring.used = places[i];
		expect_refused(rig, &ring, "used ring lies outside of RAM");
	}
}

static void test_rings_may_end_with_ram(void **state)
{
	struct rng_rig *rig = *state;
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	struct ring ring = rig->ring;
	ring.used = HIGH_GPA + HIGH_SIZE - ((6 + 8 * RNG_RIG_SIZE + 3) & ~3);
	driver_begin(&rig->rng.virtio, RNG_RIG_EVENTS);
	driver_attach(&rig->rng.virtio, 0, &ring);
	assert_true(rig->rng.virtio.queues[0].state.ready);
	ring.used += 4;
	driver_begin(&rig->rng.virtio, RNG_RIG_EVENTS);
	driver_attach(&rig->rng.virtio, 0, &ring);
	assert_false(rig->rng.virtio.queues[0].state.ready);
	/* The available ring ends with used_event, whether or not that is negotiated. */
	ring = rig->ring;
	ring.avail = HIGH_GPA + HIGH_SIZE - (6 + 2 * RNG_RIG_SIZE);
	driver_begin(&rig->rng.virtio, 0);
	driver_attach(&rig->rng.virtio, 0, &ring);
	assert_true(rig->rng.virtio.queues[0].state.ready);
	ring.avail += 2;
	driver_begin(&rig->rng.virtio, 0);
	driver_attach(&rig->rng.virtio, 0, &ring);
	assert_false(rig->rng.virtio.queues[0].state.ready);
}

/* CVE-2026-5747: the configuration of a queue that is in use must not change. */
static void test_nothing_of_a_ready_queue_can_change(void **state)
{
	struct rng_rig *rig = *state;
	struct pv_virtio *dev = &rig->rng.virtio;
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	driver_begin(dev, RNG_RIG_EVENTS);
	driver_attach(dev, 0, &rig->ring);
	for (unsigned go = 0; go < 2; go++) {
		const struct pv_queue_state before = dev->queues[0].state;
		assert_false(pv_virtio_set_queue_size(dev, 0, 4));
		assert_false(pv_virtio_set_queue_size(dev, 0, 0));
		assert_false(pv_virtio_set_queue_ring(dev, 0, 0, 0, 0));
		pv_virtio_enable_queue(dev, 0);
		assert_memory_equal(&dev->queues[0].state, &before, sizeof(before));
		driver_go(dev);
	}
	assert_true(dev->active);
	rng_rig_expect_service(rig);
}

/* A guest may rewrite its rings under the device; overlapping parts are its own loss. */
static void test_overlapping_rings_do_no_harm(void **state)
{
	struct rng_rig *rig = *state;
	struct pv_virtio *dev = &rig->rng.virtio;
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	struct ring all = rig->ring;
	all.avail = all.used = all.desc;
	driver_begin(dev, RNG_RIG_EVENTS);
	driver_attach(dev, 0, &all);
	driver_go(dev);
	for (unsigned i = 0; i < 100; i++) {
		uint8_t *low = ram_at(&rig->ram, all.desc, 0x1000);
		for (unsigned j = 0; j < 0x1000; j++)
			low[j] = (uint8_t)(i * 31 + j * 7);
		pv_virtio_kick(dev, 0);
	}
	rng_rig_start(rig, RNG_RIG_EVENTS);
	rng_rig_expect_service(rig);
}

/* State that no enable has checked, as out of a damaged snapshot: each part in turn not in RAM. */
static void test_a_ready_queue_with_rings_outside_of_ram_does_no_harm(void **state)
{
	struct rng_rig *rig = *state;
	for (unsigned part = 0; part < 3; part++) {
		for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
			rng_rig_start(rig, event_idx ? RNG_RIG_EVENTS : 0);
			struct pv_queue *queue = &rig->rng.virtio.queues[0];
			ring_desc(&rig->ring, 0, DATA_GPA, 8, VIRTQ_DESC_F_WRITE, 0);
			ring_offer(&rig->ring, 0);
			uint64_t *const parts[] = {
			    &queue->state.desc, &queue->state.avail, &queue->state.used};
			*parts[part] = UINT64_C(0x10);
			pv_queue_batch(queue);
			pv_queue_want_kicks(queue, true);
			pv_queue_push(queue, 0, 0);
			pv_queue_should_interrupt(queue);
			pv_queue_waiting(queue);
			struct pv_chain chain;
			assert_int_equal(pv_queue_pop(queue, &chain), -EPROTO);
			assert_non_null(queue->broken);
		}
	}
	rng_rig_start(rig, RNG_RIG_EVENTS);
	rng_rig_expect_service(rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rng_rig_set_up, rng_rig_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_queue_sizes_that_are_no_power_of_two_are_refused),
	    TEST(test_queue_sizes_beyond_the_offer_are_refused),
	    TEST(test_misaligned_rings_are_refused),
	    TEST(test_rings_outside_of_ram_are_refused),
	    TEST(test_rings_may_end_with_ram),
	    TEST(test_nothing_of_a_ready_queue_can_change),
	    TEST(test_overlapping_rings_do_no_harm),
	    TEST(test_a_ready_queue_with_rings_outside_of_ram_does_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
