/*
 * The virtqueue: what the device promises to a driver that keeps the rules.
 * virtio_queue_hostile.c has the drivers that do not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ring_driver.h"

struct fixture {
	struct ram ram;
	struct ring ring;
	struct pv_queue queue;
	struct pv_chain chain;
};

static int set_up(void **state)
{
	struct fixture *fix = calloc(1, sizeof(*fix));
	assert_non_null(fix);
	ram_init(&fix->ram);
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

static void start(struct fixture *fix, uint16_t size, bool event_idx)
{
	ring_init(&fix->ring, &fix->ram, 0, size);
	pv_queue_reset(&fix->queue, size);
	fix->queue.state.desc = fix->ring.desc;
	fix->queue.state.avail = fix->ring.avail;
	fix->queue.state.used = fix->ring.used;
	assert_int_equal(pv_queue_enable(&fix->queue, &fix->ram.mem, event_idx, true), 0);
}

/* Offers `count` one-buffer chains, heads 0 to count - 1. */
static void offer(struct fixture *fix, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const unsigned head = fix->ring.avail_index % fix->ring.size;
		ring_desc(&fix->ring, head, DATA_GPA + 64 * head, 64, VIRTQ_DESC_F_WRITE, 0);
		ring_offer(&fix->ring, head);
	}
}

/* Pops and pushes `count` chains. */
static void serve(struct fixture *fix, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
		pv_queue_push(&fix->queue, fix->chain.head, 0);
	}
}

static void test_a_chain_is_given_as_readable_then_writable_parts(void **state)
{
	struct fixture *fix = *state;
	start(fix, 8, false);
	ring_desc(&fix->ring, 5, DATA_GPA, 16, VIRTQ_DESC_F_NEXT, 2);
	ring_desc(&fix->ring, 2, DATA_GPA + 100, 7, VIRTQ_DESC_F_NEXT, 7);
	ring_desc(&fix->ring, 7, HIGH_GPA, 512, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 0);
	ring_desc(&fix->ring, 0, HIGH_GPA + HIGH_SIZE - 1, 1, VIRTQ_DESC_F_WRITE, 9999);
	ring_offer(&fix->ring, 5);

	assert_int_equal(pv_queue_waiting(&fix->queue), 1);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	const struct pv_chain *chain = &fix->chain;
	assert_int_equal(chain->head, 5);
	assert_int_equal(chain->readable_count, 2);
	assert_int_equal(chain->writable_count, 2);
	assert_int_equal(chain->readable_bytes, 23);
	assert_int_equal(chain->writable_bytes, 513);
	assert_ptr_equal(chain->parts[0].iov_base, ram_at(&fix->ram, DATA_GPA, 16));
	assert_ptr_equal(chain->parts[1].iov_base, ram_at(&fix->ram, DATA_GPA + 100, 7));
	assert_ptr_equal(chain->parts[2].iov_base, fix->ram.high);
	assert_ptr_equal(chain->parts[3].iov_base, fix->ram.high + HIGH_SIZE - 1);
	assert_int_equal(pv_queue_waiting(&fix->queue), 0);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 0);

	pv_queue_push(&fix->queue, 5, 77);
	uint32_t id, len;
	assert_true(ring_take(&fix->ring, &id, &len));
	assert_int_equal(id, 5);
	assert_int_equal(len, 77);
	assert_false(ring_take(&fix->ring, &id, &len));
}

static void test_a_chain_may_be_as_long_as_the_queue(void **state)
{
	struct fixture *fix = *state;
	for (unsigned size = 1; size <= PV_QUEUE_SIZE_MAX; size *= 2) {
		start(fix, size, false);
		for (unsigned i = 0; i < size; i++)
			ring_desc(&fix->ring, i, DATA_GPA + i, 1,
			    i + 1 < size ? VIRTQ_DESC_F_NEXT : 0, i + 1);
		ring_offer(&fix->ring, 0);
		assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
		assert_int_equal(fix->chain.readable_count, size);
	}
}

static void test_an_indirect_table_may_be_as_long_as_the_queue(void **state)
{
	struct fixture *fix = *state;
	start(fix, 8, false);
	/* The table may be larger than what is used of it, and need not be aligned. */
	const uint64_t table = DATA_GPA + 0x1001;
	for (unsigned i = 0; i < 8; i++)
		ring_desc_at(&fix->ram, table, 2 * i, DATA_GPA + i, 1,
		    i < 7 ? VIRTQ_DESC_F_NEXT : 0, 2 * (i + 1));
	/* WRITE means nothing where an indirect table is referred to (2.7.5.3.2). */
	ring_desc(&fix->ring, 3, table, 16 * 64, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE, 0);
	ring_offer(&fix->ring, 3);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	assert_int_equal(fix->chain.head, 3);
	assert_int_equal(fix->chain.readable_count, 8);
	assert_int_equal(fix->chain.writable_count, 0);
}

static void test_direct_descriptors_may_end_in_an_indirect_table(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	ring_desc_at(&fix->ram, DATA_GPA, 0, DATA_GPA + 0x100, 10, VIRTQ_DESC_F_NEXT, 1);
	ring_desc_at(&fix->ram, DATA_GPA, 1, DATA_GPA + 0x200, 20, VIRTQ_DESC_F_WRITE, 0);
	ring_desc(&fix->ring, 0, DATA_GPA + 0x300, 30, VIRTQ_DESC_F_NEXT, 1);
	ring_desc(&fix->ring, 1, DATA_GPA, 32, VIRTQ_DESC_F_INDIRECT, 0);
	ring_offer(&fix->ring, 0);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	assert_int_equal(fix->chain.readable_bytes, 40);
	assert_int_equal(fix->chain.writable_bytes, 20);
}

static void test_empty_buffers_make_no_part_wherever_they_point(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	ring_desc(&fix->ring, 0, 0, 0, VIRTQ_DESC_F_NEXT, 1);
	ring_desc(&fix->ring, 1, DATA_GPA, 4, VIRTQ_DESC_F_NEXT, 2);
	ring_desc(&fix->ring, 2, UINT64_MAX, 0, VIRTQ_DESC_F_WRITE, 0);
	ring_offer(&fix->ring, 0);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	assert_int_equal(fix->chain.readable_count, 1);
	assert_int_equal(fix->chain.writable_count, 0);
	assert_int_equal(fix->chain.readable_bytes, 4);
}

static void test_chain_copies_reach_across_parts(void **state)
{
	struct fixture *fix = *state;
	start(fix, 8, false);
	memcpy(ram_at(&fix->ram, DATA_GPA, 3), "abc", 3);
	memcpy(ram_at(&fix->ram, DATA_GPA + 50, 4), "defg", 4);
	ring_desc(&fix->ring, 0, DATA_GPA, 3, VIRTQ_DESC_F_NEXT, 1);
	ring_desc(&fix->ring, 1, DATA_GPA + 50, 4, VIRTQ_DESC_F_NEXT, 2);
	ring_desc(&fix->ring, 2, DATA_GPA + 100, 2, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 3);
	ring_desc(&fix->ring, 3, DATA_GPA + 200, 5, VIRTQ_DESC_F_WRITE, 0);
	ring_offer(&fix->ring, 0);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);

	char text[16] = {0};
	assert_int_equal(pv_chain_read(&fix->chain, 2, text, 3), 3);
	assert_string_equal(text, "cde");
	assert_int_equal(pv_chain_read(&fix->chain, 0, text, sizeof(text)), 7);
	assert_string_equal(text, "abcdefg");
	assert_int_equal(pv_chain_read(&fix->chain, 7, text, 1), 0);
	assert_int_equal(pv_chain_read(&fix->chain, SIZE_MAX, text, 1), 0);

	assert_int_equal(pv_chain_write(&fix->chain, 1, "12345678", 8), 6);
	assert_memory_equal(ram_at(&fix->ram, DATA_GPA + 100, 3), "\0001\0", 3);
	assert_memory_equal(ram_at(&fix->ram, DATA_GPA + 200, 6), "23456\0", 6);
	assert_int_equal(pv_chain_write(&fix->chain, 7, "x", 1), 0);
	/* The readable part is untouched. */
	assert_memory_equal(ram_at(&fix->ram, DATA_GPA, 4), "abc\0", 4);
}

static void test_unpop_gives_the_same_chain_again(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	offer(fix, 2);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	pv_queue_unpop(&fix->queue);
	assert_int_equal(pv_queue_waiting(&fix->queue), 2);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	assert_int_equal(fix->chain.head, 0);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	assert_int_equal(fix->chain.head, 1);
	pv_queue_unpop(&fix->queue);
	assert_int_equal(pv_queue_waiting(&fix->queue), 1);
	assert_int_equal(ring_used_idx(&fix->ring), 0);
}

static void test_unpop_works_across_the_wrap_of_the_index(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	fix->queue.state.next_avail = 0xffff;
	ring_set_avail_index(&fix->ring, 0xffff);
	offer(fix, 1);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	assert_int_equal(fix->queue.state.next_avail, 0);
	pv_queue_unpop(&fix->queue);
	assert_int_equal(fix->queue.state.next_avail, 0xffff);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
}

static void test_chains_can_be_used_out_of_order(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	offer(fix, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 1);
	const uint16_t order[] = {2, 0, 1};
	for (unsigned i = 0; i < 3; i++)
		pv_queue_push(&fix->queue, order[i], 10 + i);
	for (unsigned i = 0; i < 3; i++) {
		uint32_t id, len;
		assert_true(ring_take(&fix->ring, &id, &len));
		assert_int_equal(id, order[i]);
		assert_int_equal(len, 10 + i);
	}
}

static void wrap_indices(struct fixture *fix, uint16_t size, bool event_idx)
{
	start(fix, size, event_idx);
	uint32_t seen = 0, sequence = 0;
	while (seen < 3 * 65536) {
		/* Ring fill levels 1 to size, all of them against the wrap sooner or later. */
		const unsigned count = 1 + sequence++ % size;
		offer(fix, count);
		assert_int_equal(pv_queue_waiting(&fix->queue), count);
		serve(fix, count);
		assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 0);
		for (unsigned i = 0; i < count; i++) {
			uint32_t id, len;
			assert_true(ring_take(&fix->ring, &id, &len));
			assert_int_equal(id, seen++ % size);
		}
	}
}

static void test_indices_wrap_after_65536_chains(void **state)
{
	wrap_indices(*state, 8, false);
	wrap_indices(*state, PV_QUEUE_SIZE_MAX, false);
	wrap_indices(*state, 1, false);
}

static void test_indices_wrap_with_event_index(void **state)
{
	wrap_indices(*state, 8, true);
}

static void test_no_interrupt_flag_is_honoured(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	assert_false(pv_queue_should_interrupt(&fix->queue)); /* nothing was pushed */
	offer(fix, 3);
	serve(fix, 1);
	assert_true(pv_queue_should_interrupt(&fix->queue));
	assert_false(pv_queue_should_interrupt(&fix->queue));
	ring_set_avail_flags(&fix->ring, VIRTQ_AVAIL_F_NO_INTERRUPT);
	serve(fix, 1);
	assert_false(pv_queue_should_interrupt(&fix->queue));
	ring_set_avail_flags(&fix->ring, 0);
	serve(fix, 1);
	assert_true(pv_queue_should_interrupt(&fix->queue));
}

/* With EVENT_IDX the flag must be ignored (2.7.7.2). */
static void test_no_interrupt_flag_means_nothing_with_event_index(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, true);
	ring_set_avail_flags(&fix->ring, VIRTQ_AVAIL_F_NO_INTERRUPT);
	offer(fix, 2);
	serve(fix, 1);
	assert_true(pv_queue_should_interrupt(&fix->queue));
	ring_set_used_event(&fix->ring, 1);
	serve(fix, 1);
	assert_true(pv_queue_should_interrupt(&fix->queue));
}

static void test_event_index_interrupts_once_when_the_index_passes(void **state)
{
	struct fixture *fix = *state;
	start(fix, 8, true);
	offer(fix, 1);
	serve(fix, 1);
	assert_true(pv_queue_should_interrupt(&fix->queue)); /* the first is always told */
	ring_set_used_event(&fix->ring, 4);
	offer(fix, 7);
	serve(fix, 3); /* used index 4: entry 4 is not yet there */
	assert_false(pv_queue_should_interrupt(&fix->queue));
	serve(fix, 1);
	assert_true(pv_queue_should_interrupt(&fix->queue));
	serve(fix, 3);
	assert_false(pv_queue_should_interrupt(&fix->queue));
}

/* Every batch size against every event around the wrap, with the rule written out as its oracle. */
static void test_event_index_rule_holds_around_the_wrap(void **state)
{
	struct fixture *fix = *state;
	start(fix, 16, true);
	for (unsigned batch = 1; batch <= 16; batch++) {
		for (int delta = -20; delta <= 20; delta++) {
			const uint16_t before = (uint16_t)(65536 - 8);
			const uint16_t event = before + delta;
			fix->queue.state.next_used = before + batch;
			fix->queue.state.signalled_used = before;
			fix->queue.state.signalled_valid = true;
			ring_set_used_event(&fix->ring, event);
			const bool passed = delta >= 0 && delta < (int)batch;
			assert_int_equal(pv_queue_should_interrupt(&fix->queue), passed);
			assert_int_equal(
			    fix->queue.state.signalled_used, (uint16_t)(before + batch));
		}
	}
}

static void test_want_kicks_sets_the_flag_or_the_event(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	pv_queue_want_kicks(&fix->queue, false);
	assert_int_equal(ring_used_flags(&fix->ring), VIRTQ_USED_F_NO_NOTIFY);
	offer(fix, 1);
	assert_false(ring_must_kick(&fix->ring, false));
	pv_queue_want_kicks(&fix->queue, true);
	assert_int_equal(ring_used_flags(&fix->ring), 0);

	start(fix, 4, true);
	offer(fix, 3);
	serve(fix, 3);
	pv_queue_want_kicks(&fix->queue, false);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 0);
	assert_int_equal(ring_avail_event(&fix->ring), 0); /* stale: no kick before a whole wrap */
	pv_queue_want_kicks(&fix->queue, true);
	assert_int_equal(ring_avail_event(&fix->ring), 3);
	assert_int_equal(ring_used_flags(&fix->ring), 0);
}

static void test_an_empty_pop_asks_for_the_next_kick(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, true);
	offer(fix, 3);
	assert_true(ring_must_kick(&fix->ring, true));
	serve(fix, 3);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 0);
	assert_int_equal(ring_avail_event(&fix->ring), 3);
	offer(fix, 1);
	assert_true(ring_must_kick(&fix->ring, true));
}

static void test_a_batch_asks_for_a_kick_behind_itself(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, true);
	offer(fix, 4);
	pv_queue_batch(&fix->queue);
	ring_must_kick(&fix->ring, true);
	serve(fix, 2);
	/* While the batch runs, the driver recycles what it got back. */
	offer(fix, 1);
	assert_true(ring_must_kick(&fix->ring, true));
	offer(fix, 1);
	assert_false(ring_must_kick(&fix->ring, true));
	serve(fix, 2);
	/* The device stops here, with two chains left and a kick on its way. */
	assert_int_equal(pv_queue_waiting(&fix->queue), 2);
}

static void test_a_queue_that_is_not_ready_does_nothing(void **state)
{
	struct fixture *fix = *state;
	start(fix, 4, false);
	offer(fix, 1);
	pv_queue_reset(&fix->queue, 4);
	assert_int_equal(pv_queue_pop(&fix->queue, &fix->chain), 0);
	assert_int_equal(pv_queue_waiting(&fix->queue), 0);
	pv_queue_push(&fix->queue, 0, 0);
	pv_queue_want_kicks(&fix->queue, true);
	pv_queue_batch(&fix->queue);
	assert_false(pv_queue_should_interrupt(&fix->queue));
	assert_int_equal(ring_used_idx(&fix->ring), 0);
	assert_int_equal(fix->queue.state.size, 4);
}

/* What a snapshot does: the state is all there is to a queue. */
static void test_a_queue_goes_on_from_its_saved_state(void **state)
{
	struct fixture *fix = *state;
	start(fix, 8, true);
	offer(fix, 5);
	serve(fix, 3);
	assert_true(pv_queue_should_interrupt(&fix->queue));
	const struct pv_queue_state saved = fix->queue.state;

	memset(&fix->queue, 0xa5, sizeof(fix->queue));
	fix->queue.state = saved;
	assert_int_equal(pv_queue_enable(&fix->queue, &fix->ram.mem, true, true), 0);
	assert_int_equal(pv_queue_waiting(&fix->queue), 2);
	serve(fix, 2);
	for (unsigned i = 0; i < 5; i++) {
		uint32_t id, len;
		assert_true(ring_take(&fix->ring, &id, &len));
		assert_int_equal(id, i);
	}
	assert_false(pv_queue_should_interrupt(&fix->queue)); /* used_event is still 0 */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_a_chain_is_given_as_readable_then_writable_parts),
	    TEST(test_a_chain_may_be_as_long_as_the_queue),
	    TEST(test_an_indirect_table_may_be_as_long_as_the_queue),
	    TEST(test_direct_descriptors_may_end_in_an_indirect_table),
	    TEST(test_empty_buffers_make_no_part_wherever_they_point),
	    TEST(test_chain_copies_reach_across_parts),
	    TEST(test_unpop_gives_the_same_chain_again),
	    TEST(test_unpop_works_across_the_wrap_of_the_index),
	    TEST(test_chains_can_be_used_out_of_order),
	    TEST(test_indices_wrap_after_65536_chains),
	    TEST(test_indices_wrap_with_event_index),
	    TEST(test_no_interrupt_flag_is_honoured),
	    TEST(test_no_interrupt_flag_means_nothing_with_event_index),
	    TEST(test_event_index_interrupts_once_when_the_index_passes),
	    TEST(test_event_index_rule_holds_around_the_wrap),
	    TEST(test_want_kicks_sets_the_flag_or_the_event),
	    TEST(test_an_empty_pop_asks_for_the_next_kick),
	    TEST(test_a_batch_asks_for_a_kick_behind_itself),
	    TEST(test_a_queue_that_is_not_ready_does_nothing),
	    TEST(test_a_queue_goes_on_from_its_saved_state),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
