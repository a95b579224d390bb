/*
 * The virtqueue: every way in which a driver can break the contract, committed in the rings of a
 * running entropy device. Each must end in DEVICE_NEEDS_RESET with the reason, one configuration
 * interrupt, nothing used, a device that is deaf to kicks, and full service after a reset.
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

#include "tests/unit/rng_rig.h"

#define NEXT	 VIRTQ_DESC_F_NEXT
#define WRITE	 VIRTQ_DESC_F_WRITE
#define INDIRECT VIRTQ_DESC_F_INDIRECT

/* An indirect table of the tests. */
#define TABLE (DATA_GPA + 0x10000)

/* --- violations in the rings --- */

struct violation {
	const char *name;
	uint64_t features;
	void (*commit)(struct ring *ring);
	const char *why;
};

static void offer_index(struct ring *ring)
{
	ring_offer(ring, RNG_RIG_SIZE);
}

static void offer_index_max(struct ring *ring)
{
	ring_offer(ring, 0xffff);
}

static void next_outside(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, RNG_RIG_SIZE);
	ring_offer(ring, 0);
}

static void loop_of_one(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, 0);
	ring_offer(ring, 0);
}

static void loop_of_all(struct ring *ring)
{
	for (unsigned i = 0; i < RNG_RIG_SIZE; i++)
		ring_desc(ring, i, DATA_GPA, 4, NEXT | WRITE, (i + 1) % RNG_RIG_SIZE);
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
	indirect_chain(ring, 0, RNG_RIG_SIZE + 1);
	ring_offer(ring, 0);
}

static void direct_and_indirect_too_long(struct ring *ring)
{
	ring_desc(ring, 0, DATA_GPA, 4, NEXT | WRITE, 1);
	indirect_chain(ring, 1, RNG_RIG_SIZE);
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
	ring_desc(ring, 0, ring->desc, 16 * RNG_RIG_SIZE, INDIRECT, 0);
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
	ring_set_avail_index(ring, RNG_RIG_SIZE + 1);
}

static void avail_jumps_half_way(struct ring *ring)
{
	ring_set_avail_index(ring, 0x8000);
}

static void avail_goes_back(struct ring *ring)
{
	ring_set_avail_index(ring, 0xffff);
}

#define WITHIN_TABLE  "descriptor index lies outside of its table"
#define TOO_LONG      "descriptor chain is longer than the queue"
#define LENGTH_16     "length of an indirect table is not a multiple of 16"
#define ORDER	      "device-readable buffer follows a device-writable one"
#define NOT_RAM	      "buffer lies outside of RAM"
#define TABLE_NOT_RAM "indirect table lies outside of RAM"
#define RUNS_AHEAD    "available index runs ahead of the queue"
#define NESTED	      "indirect descriptor inside an indirect table"

static const struct violation violations[] = {
    {"available entry just outside of the table",		  RNG_RIG_EVENTS,	  offer_index,		       WITHIN_TABLE },
    {"available entry 65535",			       0,			 offer_index_max,		  WITHIN_TABLE },
    {"next index outside of the table",			RNG_RIG_EVENTS,	next_outside,		      WITHIN_TABLE },
    {"descriptor that continues with itself",		      RNG_RIG_EVENTS,     loop_of_one,		   TOO_LONG	   },
    {"loop through all descriptors",			     0,			loop_of_all,		     TOO_LONG     },
    {"loop of buffers without bytes",			      RNG_RIG_EVENTS,     loop_of_empty_buffers,	     TOO_LONG     },
    {"indirect chain longer than the queue",		     RNG_RIG_EVENTS,     indirect_too_long,		TOO_LONG	},
    {"direct and indirect together too long",		      RNG_RIG_EVENTS,     direct_and_indirect_too_long,
	TOO_LONG													      },
    {"loop in an indirect table",				  RNG_RIG_EVENTS,	  indirect_loop,		 TOO_LONG	 },
    {"indirect descriptor in an indirect table",		 RNG_RIG_EVENTS,	 indirect_nested,		  NESTED	},
    {"indirect descriptor that refers to itself",		  RNG_RIG_EVENTS,	  indirect_to_itself,	      NESTED	    },
    {"next index outside of an indirect table",		RNG_RIG_EVENTS,	indirect_next_outside,
	WITHIN_TABLE													  },
    {"indirect table without entries",		       RNG_RIG_EVENTS,     indirect_length_zero,	     LENGTH_16    },
    {"indirect table with half an entry",			  RNG_RIG_EVENTS,	  indirect_length_odd,	       LENGTH_16	},
    {"INDIRECT together with NEXT",			    RNG_RIG_EVENTS,	    indirect_with_next,
	"indirect descriptor has a next one"										  },
    {"indirect table outside of RAM",			      RNG_RIG_EVENTS,     indirect_outside_ram,	    TABLE_NOT_RAM},
    {"indirect table across the end of RAM",		     RNG_RIG_EVENTS,     indirect_across_the_end,
	TABLE_NOT_RAM													 },
    {"indirect table across the end of the address space",  RNG_RIG_EVENTS,	   indirect_wraps,
	TABLE_NOT_RAM													 },
    {"indirect descriptor that was not negotiated",	    VIRTIO_F_EVENT_IDX, indirect_valid,
	"indirect descriptor without VIRTIO_F_INDIRECT_DESC"								  },
    {"writable buffer before a readable one",		      RNG_RIG_EVENTS,     writable_first,		      ORDER	   },
    {"writable buffer without bytes before a readable one", 0,		       writable_first_and_empty,	 ORDER	      },
    {"writable buffer before a readable indirect one",      RNG_RIG_EVENTS,
	writable_direct_readable_indirect,								       ORDER	},
    {"buffer at address 0",				 RNG_RIG_EVENTS,	    buffer_at_zero,		    NOT_RAM	   },
    {"buffer that begins below RAM",			     RNG_RIG_EVENTS,     buffer_below,		   NOT_RAM	  },
    {"buffer just behind RAM",			       RNG_RIG_EVENTS,     buffer_behind,		      NOT_RAM	     },
    {"buffer across the end of RAM",			     RNG_RIG_EVENTS,     buffer_across_the_end,	    NOT_RAM	   },
    {"buffer across the hole in RAM",			      0,			 buffer_across_the_hole,	 NOT_RAM	},
    {"buffer at the last address",			   RNG_RIG_EVENTS,	   buffer_at_the_top,	      NOT_RAM	     },
    {"buffer across the end of the address space",	   RNG_RIG_EVENTS,	   buffer_wraps,		 NOT_RAM	},
    {"available index one beyond the queue",		     RNG_RIG_EVENTS,     avail_jumps,		  RUNS_AHEAD   },
    {"available index half way round",		       0,		  avail_jumps_half_way,		RUNS_AHEAD	  },
    {"available index going back",			   RNG_RIG_EVENTS,	   avail_goes_back,		    RUNS_AHEAD   },
};

#define VIOLATIONS (sizeof(violations) / sizeof(violations[0]))

/* The initial state of these tests is the violation; the set-up puts it beside the fixture. */
struct violation_case {
	struct rng_rig *rig;
	const struct violation *violation;
};

static int set_up_violation(void **state)
{
	struct violation_case *it = calloc(1, sizeof(*it));
	assert_non_null(it);
	it->violation = *state;
	void *rig;
	rng_rig_set_up(&rig);
	it->rig = rig;
	*state = it;
	return 0;
}

static int tear_down_violation(void **state)
{
	struct violation_case *it = *state;
	void *rig = it->rig;
	rng_rig_tear_down(&rig);
	free(it);
	return 0;
}

static const struct violation *violation_of(void **state, struct rng_rig **rig)
{
	struct violation_case *it = *state;
	*rig = it->rig;
	return it->violation;
}

static void test_violation(void **state)
{
	struct rng_rig *rig;
	const struct violation *violation = violation_of(state, &rig);
	rng_rig_start(rig, violation->features);
	violation->commit(&rig->ring);
	pv_virtio_kick(&rig->rng.virtio, 0);
	assert_int_equal(ring_used_idx(&rig->ring), 0);
	assert_int_equal(rig->queue_interrupts, 0);
	rng_rig_expect_broken(rig, violation->why);
}

/* The same behind good chains: those are served and their buffers are given back. */
static void test_violation_behind_good_chains(void **state)
{
	struct rng_rig *rig;
	const struct violation *violation = violation_of(state, &rig);
	if (!strcmp(violation->why, RUNS_AHEAD))
		return; /* an index that is wrong is wrong for all chains */
	rng_rig_start(rig, violation->features);
	struct ring *ring = &rig->ring;
	for (unsigned i = 0; i < 2; i++) {
		ring_desc(ring, RNG_RIG_SIZE - 1 - i, HIGH_GPA, 16, WRITE, 0);
		ring_offer(ring, RNG_RIG_SIZE - 1 - i);
	}
	pv_virtio_kick(&rig->rng.virtio, 0);
	assert_int_equal(ring_used_idx(ring), 2);
	rig->queue_interrupts = 0;
	violation->commit(ring);
	pv_virtio_kick(&rig->rng.virtio, 0);
	assert_int_equal(ring_used_idx(ring), 2);
	rng_rig_expect_broken(rig, violation->why);
}

/* --- violations that need more than a ring --- */

static void test_available_index_going_back_after_service(void **state)
{
	struct rng_rig *rig = *state;
	rng_rig_start(rig, RNG_RIG_EVENTS);
	rng_rig_expect_service(rig);
	ring_set_avail_index(&rig->ring, 0);
	pv_virtio_kick(&rig->rng.virtio, 0);
	rng_rig_expect_broken(rig, RUNS_AHEAD);
}

static void test_waiting_does_not_count_an_impossible_index(void **state)
{
	struct rng_rig *rig = *state;
	rng_rig_start(rig, 0);
	ring_set_avail_index(&rig->ring, RNG_RIG_SIZE + 1);
	assert_int_equal(pv_queue_waiting(&rig->rng.virtio.queues[0]), 0);
	struct pv_chain chain;
	assert_int_equal(pv_queue_pop(&rig->rng.virtio.queues[0], &chain), -EPROTO);
	assert_int_equal(pv_queue_pop(&rig->rng.virtio.queues[0], &chain), -EPROTO);
}

/* 256 buffers of 16 MiB are 2^32 bytes, which is just allowed (2.7.5.1). */
static void test_a_chain_beyond_4_gib_is_refused(void **state)
{
	struct rng_rig *rig = *state;
	const size_t big = (16u << 20) + 4096;
	void *host = mmap(
	    NULL, big, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(host, MAP_FAILED);
	const uint64_t gpa = UINT64_C(0x200000000);
	assert_int_equal(pv_gmem_add(&rig->ram.mem, gpa, big, host), 0);

	struct ring ring;
	struct pv_queue queue;
	struct pv_chain chain;
	for (unsigned extra = 0; extra < 2; extra++) {
		ring_init(&ring, &rig->ram, 0, 256);
		pv_queue_reset(&queue, 256);
		queue.state.desc = ring.desc;
		queue.state.avail = ring.avail;
		queue.state.used = ring.used;
		assert_int_equal(pv_queue_enable(&queue, &rig->ram.mem, false, false), 0);
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rng_rig_set_up, rng_rig_tear_down)
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
	};
	const int failed = cmocka_run_group_tests_name("violations", tests, NULL, NULL);
	return failed + cmocka_run_group_tests_name("others", others, NULL, NULL);
}
