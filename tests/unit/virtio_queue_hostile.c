/*
 * The virtqueue: every way in which a driver can break the contract, committed against a running
 * entropy device. Each must end in DEVICE_NEEDS_RESET with the reason, one configuration interrupt,
 * nothing used, a device that is deaf to kicks, and full service after a reset.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/unit/ring_driver.h"
#include "virtio/rng.h"

#define RING_SIZE 16
#define NEXT	  VIRTQ_DESC_F_NEXT
#define WRITE	  VIRTQ_DESC_F_WRITE
#define INDIRECT  VIRTQ_DESC_F_INDIRECT

/* An indirect table of the tests. */
#define TABLE (DATA_GPA + 0x10000)

struct fixture {
	struct ram ram;
	struct ring ring;
	struct pv_rng rng;
	unsigned queue_interrupts;
	unsigned config_interrupts;
};

static void count_queue_interrupt(struct pv_virtio *dev, unsigned queue)
{
	((struct fixture *)dev->transport_ctx)->queue_interrupts++;
}

static void count_config_interrupt(struct pv_virtio *dev)
{
	((struct fixture *)dev->transport_ctx)->config_interrupts++;
}

static const struct pv_virtio_transport transport = {
    .queue_interrupt = count_queue_interrupt,
    .config_interrupt = count_config_interrupt,
};

static int set_up(void **state)
{
	struct fixture *fix = calloc(1, sizeof(*fix));
	assert_non_null(fix);
	ram_init(&fix->ram);
	const uint64_t seed = 1;
	pv_rng_init(&fix->rng, &fix->ram.mem, &seed);
	fix->rng.virtio.transport = &transport;
	fix->rng.virtio.transport_ctx = fix;
	*state = fix;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fix = *state;
	ram_finish(&fix->ram);
	free(fix);
	return 0;
}

/* Brings the device up with fresh rings. */
static void start(struct fixture *fix, uint64_t features)
{
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	driver_begin(&fix->rng.virtio, features);
	driver_attach(&fix->rng.virtio, 0, &fix->ring);
	driver_go(&fix->rng.virtio);
	assert_true(fix->rng.virtio.active);
}

/* A good request must be answered. */
static void expect_service(struct fixture *fix)
{
	struct ring *ring = &fix->ring;
	const unsigned before = fix->queue_interrupts;
	ring_desc(ring, 0, DATA_GPA, 32, WRITE, 0);
	ring_offer(ring, 0);
	pv_virtio_kick(&fix->rng.virtio, 0);
	uint32_t id, len;
	assert_true(ring_take(ring, &id, &len));
	assert_int_equal(id, 0);
	assert_int_equal(len, 32);
	assert_int_equal(fix->queue_interrupts, before + 1);
}

/* The device must be broken for the reason `why`, stay broken, and come back by a reset. */
static void expect_broken(struct fixture *fix, const char *why)
{
	struct pv_virtio *dev = &fix->rng.virtio;
	assert_true(dev->status & VIRTIO_STATUS_NEEDS_RESET);
	assert_false(dev->active);
	assert_non_null(dev->fault);
	assert_string_equal(dev->fault, why);
	assert_int_equal(fix->config_interrupts, dev->status & VIRTIO_STATUS_DRIVER_OK ? 1 : 0);

	const uint8_t status = dev->status;
	const unsigned interrupts = fix->queue_interrupts;
	const uint16_t used = ring_used_idx(&fix->ring);
	pv_virtio_kick(dev, 0);
	pv_virtio_notify(dev, 0);
	pv_virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				      VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	assert_int_equal(dev->status, status);
	assert_false(dev->active);
	struct pv_chain chain;
	assert_false(pv_virtio_pop(dev, 0, &chain));
	assert_int_equal(fix->queue_interrupts, interrupts);
	assert_int_equal(ring_used_idx(&fix->ring), used);

	start(fix, VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
	assert_null(dev->fault);
	expect_service(fix);
	start(fix, 0);
	expect_service(fix);
}

/* --- violations in the rings --- */

struct violation {
	const char *name;
	uint64_t features;
	void (*commit)(struct ring *ring);
	const char *why;
};

static void offer_index(struct ring *ring)
{
	ring_offer(ring, RING_SIZE);
}

static void offer_index_max(struct ring *ring)
{
	ring_offer(ring, 0xffff);
}

static void next_outside(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, RING_SIZE);
	ring_offer(ring, 0);
}

static void loop_of_one(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, 0);
	ring_offer(ring, 0);
}

static void loop_of_all(struct ring *ring)
{
	for (unsigned i = 0; i < RING_SIZE; i++)
		ring_desc(ring, i, DATA_GPA, 4, NEXT | WRITE, (i + 1) % RING_SIZE);
	ring_offer(ring, 3);
}

static void loop_of_empty_buffers(struct ring *ring)
{
	ring_desc(ring, 0, 0, 0, NEXT, 1);
	ring_desc(ring, 1, 0, 0, NEXT, 0);
	ring_offer(ring, 0);
}

/* Fills an indirect table with a chain of `count` buffers and refers to it from descriptor `at`. */
static void indirect_chain(struct ring *ring, unsigned at, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ring_desc_at(
		    ring->ram, TABLE, i, DATA_GPA, 4, WRITE | (i + 1 < count ? NEXT : 0), i + 1);
	ring_desc(ring, at, TABLE, 16 * count, INDIRECT, 0);
}

static void indirect_too_long(struct ring *ring)
{
	indirect_chain(ring, 0, RING_SIZE + 1);
	ring_offer(ring, 0);
}

static void direct_and_indirect_too_long(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, 1);
	indirect_chain(ring, 1, RING_SIZE);
	ring_offer(ring, 0);
}

static void indirect_loop(struct ring *ring)
{
	indirect_chain(ring, 0, 2);
	ring_desc_at(ring->ram, TABLE, 1, DATA_GPA, 4, NEXT | WRITE, 0);
	ring_offer(ring, 0);
}

static void indirect_nested(struct ring *ring)
{
	indirect_chain(ring, 0, 2);
	ring_desc_at(ring->ram, TABLE, 1, TABLE, 32, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void indirect_to_itself(struct ring *ring)
{
	/* The descriptor refers to the table that it stands in. */
	ring_desc(ring, 0, ring->desc, 16 * RING_SIZE, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void indirect_next_outside(struct ring *ring)
{
	indirect_chain(ring, 0, 2);
	/* Within the ring's table, but not within the indirect one. */
	ring_desc_at(ring->ram, TABLE, 1, DATA_GPA, 4, NEXT | WRITE, 2);
	ring_offer(ring, 0);
}

static void indirect_length_zero(struct ring *ring)
{
	ring_desc(ring, 0, TABLE, 0, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void indirect_length_odd(struct ring *ring)
{
	indirect_chain(ring, 0, 2);
	ring_desc(ring, 0, TABLE, 33, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void indirect_with_next(struct ring *ring)
{
	indirect_chain(ring, 0, 1);
	ring_desc(ring, 0, TABLE, 16, INDIRECT | NEXT, 1);
	ring_desc(ring, 1, DATA_GPA, 4, WRITE, 0);
	ring_offer(ring, 0);
}

static void indirect_outside_ram(struct ring *ring)
{
	ring_desc(ring, 0, LOW_GPA + LOW_SIZE, 16, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void indirect_across_the_end(struct ring *ring)
{
	const uint64_t table = LOW_GPA + LOW_SIZE - 16;
	/* The first entry, which would do, is inside. */
	ring_desc_at(ring->ram, table, 0, DATA_GPA, 4, WRITE, 0);
	ring_desc(ring, 0, table, 32, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void indirect_wraps(struct ring *ring)
{
	ring_desc(ring, 0, UINT64_MAX - 15, 32, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void indirect_valid(struct ring *ring)
{
	indirect_chain(ring, 0, 1);
	ring_offer(ring, 0);
}

static void writable_first(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, 1);
	ring_desc(ring, 1, DATA_GPA, 4, 0, 0);
	ring_offer(ring, 0);
}

static void writable_first_and_empty(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 0, NEXT | WRITE, 1);
	ring_desc(ring, 1, DATA_GPA, 4, 0, 0);
	ring_offer(ring, 0);
}

static void writable_direct_readable_indirect(struct ring *ring)
{
	ring_desc_at(ring->ram, TABLE, 0, DATA_GPA, 4, 0, 0);
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, 1);
	ring_desc(ring, 1, TABLE, 16, INDIRECT, 0);
	ring_offer(ring, 0);
}

static void one_buffer(struct ring *ring, uint64_t addr, uint32_t len)
{
	ring_desc(ring, 0, DATA_GPA, 8, NEXT | WRITE, 1);
	ring_desc(ring, 1, addr, len, WRITE, 0);
	ring_offer(ring, 0);
}

static void buffer_at_zero(struct ring *ring)
{
	one_buffer(ring, 0, 1);
}

static void buffer_below(struct ring *ring)
{
	one_buffer(ring, LOW_GPA - 1, 2);
}

static void buffer_behind(struct ring *ring)
{
	one_buffer(ring, LOW_GPA + LOW_SIZE, 1);
}

static void buffer_across_the_end(struct ring *ring)
{
	one_buffer(ring, LOW_GPA + LOW_SIZE - 1, 2);
}

static void buffer_across_the_hole(struct ring *ring)
{
	one_buffer(ring, LOW_GPA, HIGH_GPA - LOW_GPA + 16);
}

static void buffer_at_the_top(struct ring *ring)
{
	one_buffer(ring, UINT64_MAX, 1);
}

static void buffer_wraps(struct ring *ring)
{
	one_buffer(ring, UINT64_MAX - 15, 32);
}

static void avail_jumps(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, WRITE, 0);
	ring_set_avail_index(ring, RING_SIZE + 1);
}

static void avail_jumps_half_way(struct ring *ring)
{
	ring_set_avail_index(ring, 0x8000);
}

static void avail_goes_back(struct ring *ring)
{
	ring_set_avail_index(ring, 0xffff);
}

#define EVENTS	      (VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define WITHIN_TABLE  "descriptor index lies outside of its table"
#define TOO_LONG      "descriptor chain is longer than the queue"
#define LENGTH_16     "length of an indirect table is not a multiple of 16"
#define ORDER	      "device-readable buffer follows a device-writable one"
#define NOT_RAM	      "buffer lies outside of RAM"
#define TABLE_NOT_RAM "indirect table lies outside of RAM"
#define RUNS_AHEAD    "available index runs ahead of the queue"
#define NESTED	      "indirect descriptor inside an indirect table"

static const struct violation violations[] = {
    {"available entry just outside of the table",		  EVENTS,		  offer_index,		       WITHIN_TABLE },
    {"available entry 65535",			       0,			 offer_index_max,			  WITHIN_TABLE },
    {"next index outside of the table",			EVENTS,		next_outside,		      WITHIN_TABLE },
    {"descriptor that continues with itself",		      EVENTS,	      loop_of_one,			   TOO_LONG	   },
    {"loop through all descriptors",			     0,			loop_of_all,			     TOO_LONG     },
    {"loop of buffers without bytes",			      EVENTS,	      loop_of_empty_buffers,	     TOO_LONG     },
    {"indirect chain longer than the queue",		     EVENTS,	     indirect_too_long,			TOO_LONG	},
    {"direct and indirect together too long",		      EVENTS,	      direct_and_indirect_too_long,	    TOO_LONG	    },
    {"loop in an indirect table",				  EVENTS,		  indirect_loop,			 TOO_LONG	 },
    {"indirect descriptor in an indirect table",		 EVENTS,		 indirect_nested,			  NESTED	},
    {"indirect descriptor that refers to itself",		  EVENTS,		  indirect_to_itself,		      NESTED	    },
    {"next index outside of an indirect table",		EVENTS,		indirect_next_outside,	       WITHIN_TABLE },
    {"indirect table without entries",		       EVENTS,	       indirect_length_zero,		     LENGTH_16    },
    {"indirect table with half an entry",			  EVENTS,		  indirect_length_odd,	       LENGTH_16	},
    {"INDIRECT together with NEXT",			    EVENTS,		    indirect_with_next,
	"indirect descriptor has a next one"										       },
    {"indirect table outside of RAM",			      EVENTS,	      indirect_outside_ram,		    TABLE_NOT_RAM},
    {"indirect table across the end of RAM",		     EVENTS,	     indirect_across_the_end,	      TABLE_NOT_RAM},
    {"indirect table across the end of the address space",  EVENTS,		   indirect_wraps,			   TABLE_NOT_RAM},
    {"indirect descriptor that was not negotiated",	    VIRTIO_F_EVENT_IDX, indirect_valid,
	"indirect descriptor without VIRTIO_F_INDIRECT_DESC"								       },
    {"writable buffer before a readable one",		      EVENTS,	      writable_first,		      ORDER	   },
    {"writable buffer without bytes before a readable one", 0,		       writable_first_and_empty,		 ORDER	      },
    {"writable buffer before a readable indirect one",      EVENTS,	       writable_direct_readable_indirect,
	ORDER														      },
    {"buffer at address 0",				 EVENTS,		    buffer_at_zero,		    NOT_RAM	   },
    {"buffer that begins below RAM",			     EVENTS,	     buffer_below,			   NOT_RAM	  },
    {"buffer just behind RAM",			       EVENTS,	       buffer_behind,		      NOT_RAM	     },
    {"buffer across the end of RAM",			     EVENTS,	     buffer_across_the_end,		    NOT_RAM	   },
    {"buffer across the hole in RAM",			      0,			 buffer_across_the_hole,		 NOT_RAM	},
    {"buffer at the last address",			   EVENTS,		   buffer_at_the_top,		      NOT_RAM	     },
    {"buffer across the end of the address space",	   EVENTS,		   buffer_wraps,			 NOT_RAM	},
    {"available index one beyond the queue",		     EVENTS,	     avail_jumps,			  RUNS_AHEAD   },
    {"available index half way round",		       0,		  avail_jumps_half_way,		RUNS_AHEAD	  },
    {"available index going back",			   EVENTS,		   avail_goes_back,		    RUNS_AHEAD   },
};

#define VIOLATIONS (sizeof(violations) / sizeof(violations[0]))

/* The initial state of these tests is the violation; the set-up puts it beside the fixture. */
struct violation_case {
	struct fixture *fix;
	const struct violation *violation;
};

static int set_up_violation(void **state)
{
	struct violation_case *it = calloc(1, sizeof(*it));
	assert_non_null(it);
	it->violation = *state;
	void *fix;
	set_up(&fix);
	it->fix = fix;
	*state = it;
	return 0;
}

static int tear_down_violation(void **state)
{
	struct violation_case *it = *state;
	void *fix = it->fix;
	tear_down(&fix);
	free(it);
	return 0;
}

static const struct violation *violation_of(void **state, struct fixture **fix)
{
	struct violation_case *it = *state;
	*fix = it->fix;
	return it->violation;
}

static void test_violation(void **state)
{
	struct fixture *fix;
	const struct violation *violation = violation_of(state, &fix);
	start(fix, violation->features);
	violation->commit(&fix->ring);
	pv_virtio_kick(&fix->rng.virtio, 0);
	assert_int_equal(ring_used_idx(&fix->ring), 0);
	assert_int_equal(fix->queue_interrupts, 0);
	expect_broken(fix, violation->why);
}

/* The same behind good chains: those are served and their buffers are given back. */
static void test_violation_behind_good_chains(void **state)
{
	struct fixture *fix;
	const struct violation *violation = violation_of(state, &fix);
	if (!strcmp(violation->why, RUNS_AHEAD))
		return; /* an index that is wrong is wrong for all chains */
	start(fix, violation->features);
	struct ring *ring = &fix->ring;
	for (unsigned i = 0; i < 2; i++) {
		ring_desc(ring, RING_SIZE - 1 - i, HIGH_GPA, 16, WRITE, 0);
		ring_offer(ring, RING_SIZE - 1 - i);
	}
	pv_virtio_kick(&fix->rng.virtio, 0);
	assert_int_equal(ring_used_idx(ring), 2);
	fix->queue_interrupts = 0;
	violation->commit(ring);
	pv_virtio_kick(&fix->rng.virtio, 0);
	assert_int_equal(ring_used_idx(ring), 2);
	expect_broken(fix, violation->why);
}

/* --- violations that need more than a ring --- */

static void test_available_index_going_back_after_service(void **state)
{
	struct fixture *fix = *state;
	start(fix, EVENTS);
	expect_service(fix);
	ring_set_avail_index(&fix->ring, 0);
	pv_virtio_kick(&fix->rng.virtio, 0);
	expect_broken(fix, RUNS_AHEAD);
}

static void test_waiting_does_not_count_an_impossible_index(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	ring_set_avail_index(&fix->ring, RING_SIZE + 1);
	assert_int_equal(pv_queue_waiting(&fix->rng.virtio.queues[0]), 0);
	struct pv_chain chain;
	assert_int_equal(pv_queue_pop(&fix->rng.virtio.queues[0], &chain), -EPROTO);
	assert_int_equal(pv_queue_pop(&fix->rng.virtio.queues[0], &chain), -EPROTO);
}

/* 256 buffers of 16 MiB are 2^32 bytes, which is just allowed (2.7.5.1). */
static void test_a_chain_beyond_4_gib_is_refused(void **state)
{
	struct fixture *fix = *state;
	const size_t big = (16u << 20) + 4096;
	void *host = mmap(
	    NULL, big, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(host, MAP_FAILED);
	const uint64_t gpa = UINT64_C(0x200000000);
	assert_int_equal(pv_gmem_add(&fix->ram.mem, gpa, big, host), 0);

	struct ring ring;
	struct pv_queue queue;
	struct pv_chain chain;
	for (unsigned extra = 0; extra < 2; extra++) {
		ring_init(&ring, &fix->ram, 0, 256);
		pv_queue_reset(&queue, 256);
		queue.state.desc = ring.desc;
		queue.state.avail = ring.avail;
		queue.state.used = ring.used;
		assert_int_equal(pv_queue_enable(&queue, &fix->ram.mem, false, false), 0);
		for (unsigned i = 0; i < 256; i++)
			ring_desc(&ring, i, gpa, (16u << 20) + (i == 255 ? extra : 0),
			    WRITE | (i < 255 ? NEXT : 0), i + 1);
		ring_offer(&ring, 0);
		assert_int_equal(pv_queue_pop(&queue, &chain), extra ? -EPROTO : 1);
		if (!extra)
			assert_true(chain.writable_bytes == UINT64_C(1) << 32);
		else
			assert_string_equal(
			    queue.broken, "descriptor chain is longer than 2^32 bytes");
	}
	munmap(host, big);
}

/* --- violations when a queue is set up --- */

/* Enables queue 0 with the ring as it is and expects it refused for `why`. */
static void expect_refused(struct fixture *fix, const struct ring *ring, const char *why)
{
	fix->config_interrupts = 0;
	driver_begin(&fix->rng.virtio, EVENTS);
	driver_attach(&fix->rng.virtio, 0, ring);
	assert_false(fix->rng.virtio.queues[0].state.ready);
	expect_broken(fix, why);
}

static void test_queue_sizes_that_are_no_power_of_two_are_refused(void **state)
{
	struct fixture *fix = *state;
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	const uint16_t sizes[] = {0, 3, 5, 15, 17, 63};
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ring ring = fix->ring;
		ring.size = sizes[i];
		expect_refused(fix, &ring, "queue size is not a power of two within the limit");
	}
}

static void test_queue_sizes_beyond_the_offer_are_refused(void **state)
{
	struct fixture *fix = *state;
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	const uint16_t sizes[] = {65, 128, 256, 512, 0x8000, 0xffff};
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ring ring = fix->ring;
		ring.size = sizes[i];
		expect_refused(fix, &ring, "queue size exceeds what the device offers");
	}
}

static void test_misaligned_rings_are_refused(void **state)
{
	struct fixture *fix = *state;
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	for (unsigned off = 1; off < 16; off++) {
		struct ring ring = fix->ring;
		ring.desc += off;
		expect_refused(fix, &ring, "descriptor table is not aligned to 16");
	}
	struct ring ring = fix->ring;
	ring.avail += 1;
	expect_refused(fix, &ring, "available ring is not aligned to 2");
	for (unsigned off = 1; off < 4; off++) {
		ring = fix->ring;
		ring.used += off;
		expect_refused(fix, &ring, "used ring is not aligned to 4");
	}
}

/* Each part at 0, across each edge of RAM, in the hole, and at the top of the address space. */
static void test_rings_outside_of_ram_are_refused(void **state)
{
	struct fixture *fix = *state;
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	const uint64_t places[] = {0, LOW_GPA - 16, LOW_GPA + LOW_SIZE - 16, LOW_GPA + LOW_SIZE,
	    HIGH_GPA - 16, HIGH_GPA + HIGH_SIZE - 16, HIGH_GPA + HIGH_SIZE, UINT64_MAX - 15};
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct ring ring = fix->ring;
		ring.desc = places[i];
		expect_refused(fix, &ring, "descriptor table lies outside of RAM");
		ring = fix->ring;
		ring.avail = places[i];
		expect_refused(fix, &ring, "available ring lies outside of RAM");
		ring = fix->ring;
		ring.used = places[i];
		expect_refused(fix, &ring, "used ring lies outside of RAM");
	}
}

static void test_rings_may_end_with_ram(void **state)
{
	struct fixture *fix = *state;
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	struct ring ring = fix->ring;
	ring.used = HIGH_GPA + HIGH_SIZE - ((6 + 8 * RING_SIZE + 3) & ~3);
	driver_begin(&fix->rng.virtio, EVENTS);
	driver_attach(&fix->rng.virtio, 0, &ring);
	assert_true(fix->rng.virtio.queues[0].state.ready);
	ring.used += 4;
	driver_begin(&fix->rng.virtio, EVENTS);
	driver_attach(&fix->rng.virtio, 0, &ring);
	assert_false(fix->rng.virtio.queues[0].state.ready);
	/* The available ring ends with used_event, whether or not that is negotiated. */
	ring = fix->ring;
	ring.avail = HIGH_GPA + HIGH_SIZE - (6 + 2 * RING_SIZE);
	driver_begin(&fix->rng.virtio, 0);
	driver_attach(&fix->rng.virtio, 0, &ring);
	assert_true(fix->rng.virtio.queues[0].state.ready);
	ring.avail += 2;
	driver_begin(&fix->rng.virtio, 0);
	driver_attach(&fix->rng.virtio, 0, &ring);
	assert_false(fix->rng.virtio.queues[0].state.ready);
}

/* CVE-2026-5747: the configuration of a queue that is in use must not change. */
static void test_nothing_of_a_ready_queue_can_change(void **state)
{
	struct fixture *fix = *state;
	struct pv_virtio *dev = &fix->rng.virtio;
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	driver_begin(dev, EVENTS);
	driver_attach(dev, 0, &fix->ring);
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
	expect_service(fix);
}

/* A guest may rewrite its rings under the device; overlapping parts are its own loss. */
static void test_overlapping_rings_do_no_harm(void **state)
{
	struct fixture *fix = *state;
	struct pv_virtio *dev = &fix->rng.virtio;
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	struct ring all = fix->ring;
	all.avail = all.used = all.desc;
	driver_begin(dev, EVENTS);
	driver_attach(dev, 0, &all);
	driver_go(dev);
	for (unsigned i = 0; i < 100; i++) {
		uint8_t *low = ram_at(&fix->ram, all.desc, 0x1000);
		for (unsigned j = 0; j < 0x1000; j++)
			low[j] = (uint8_t)(i * 31 + j * 7);
		pv_virtio_kick(dev, 0);
	}
	start(fix, EVENTS);
	expect_service(fix);
}

/* State that no enable has checked, as out of a damaged snapshot: each part in turn not in RAM. */
static void test_a_ready_queue_with_rings_outside_of_ram_does_no_harm(void **state)
{
	struct fixture *fix = *state;
	for (unsigned part = 0; part < 3; part++) {
		for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
			start(fix, event_idx ? EVENTS : 0);
			struct pv_queue *queue = &fix->rng.virtio.queues[0];
			ring_desc(&fix->ring, 0, DATA_GPA, 8, WRITE, 0);
			ring_offer(&fix->ring, 0);
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
	start(fix, EVENTS);
	expect_service(fix);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	struct CMUnitTest tests[2 * VIOLATIONS];
	static char names[2 * VIOLATIONS][128];
	for (unsigned i = 0; i < 2 * VIOLATIONS; i++) {
		const struct violation *violation = &violations[i % VIOLATIONS];
		const bool behind = i >= VIOLATIONS;
		snprintf(names[i], sizeof(names[i]), "%s%s", violation->name,
		    behind ? ", behind good chains" : "");
		tests[i] = (struct CMUnitTest){
		    .name = names[i],
		    .test_func = behind ? test_violation_behind_good_chains : test_violation,
		    .setup_func = set_up_violation,
		    .teardown_func = tear_down_violation,
		    .initial_state = (void *)violation,
		};
	}
	const struct CMUnitTest others[] = {
	    TEST(test_available_index_going_back_after_service),
	    TEST(test_waiting_does_not_count_an_impossible_index),
	    TEST(test_a_chain_beyond_4_gib_is_refused),
	    TEST(test_queue_sizes_that_are_no_power_of_two_are_refused),
	    TEST(test_queue_sizes_beyond_the_offer_are_refused),
	    TEST(test_misaligned_rings_are_refused),
	    TEST(test_rings_outside_of_ram_are_refused),
	    TEST(test_rings_may_end_with_ram),
	    TEST(test_nothing_of_a_ready_queue_can_change),
	    TEST(test_overlapping_rings_do_no_harm),
	    TEST(test_a_ready_queue_with_rings_outside_of_ram_does_no_harm),
	};
	const int failed = cmocka_run_group_tests_name("violations", tests, NULL, NULL);
	return failed + cmocka_run_group_tests_name("set-up", others, NULL, NULL);
}
