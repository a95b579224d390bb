/*
 * Snapshots of what all devices have and of the entropy device: a device that was saved in the
 * middle of its work goes on in another as if nothing had been, and a state that no device can have
 * is refused.
 */
#include "virtio/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/state_doc.h"
#include "tests/unit/state_side.h"
#include "virtio/rng.h"

#define WRITE VIRTQ_DESC_F_WRITE

struct rng_machine {
	struct pv_rng rng;
	struct side side;
};

static void save_rng(const void *ctx, struct pv_pack *pack)
{
	pv_rng_save(&((const struct rng_machine *)ctx)->rng, pack);
}

static int load_rng(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	return pv_rng_load(&((struct rng_machine *)ctx)->rng, val, err);
}

static const struct state_kind rng_kind = {save_rng, load_rng, false};

static struct rng_machine *new_rng(const uint64_t *seed)
{
	struct rng_machine *machine = calloc(1, sizeof(*machine));
	assert_non_null(machine);
	ram_init(&machine->side.ram);
	pv_rng_init(&machine->rng, &machine->side.ram.mem, seed);
	side_connect(&machine->rng.virtio, &machine->side);
	return machine;
}

static void free_rng(struct rng_machine *machine)
{
	ram_finish(&machine->side.ram);
	free(machine);
}

/* A clone of a machine, in fresh memory and a fresh device. */
static struct rng_machine *clone_rng(const struct rng_machine *from)
{
	struct rng_machine *to = new_rng(NULL);
	struct pv_bytes state = state_save(&rng_kind, from);
	side_copy(&to->side, &from->side);
	state_restore(&rng_kind, to, &state);
	state_expect(&rng_kind, to, &state);
	pv_bytes_finish(&state);
	return to;
}

static void offer_request(struct rng_machine *machine, uint16_t head, uint32_t len)
{
	ring_desc(&machine->side.rings[0], head, DATA_GPA + 0x1000 * head, len, WRITE, 0);
	ring_offer(&machine->side.rings[0], head);
}

static void kick_rng(struct rng_machine *machine)
{
	pv_virtio_kick(&machine->rng.virtio, 0);
}

static struct rng_machine *running_rng(uint64_t features)
{
	const uint64_t seed = 42;
	struct rng_machine *machine = new_rng(&seed);
	side_bring_up(&machine->rng.virtio, &machine->side, features);
	for (uint16_t head = 0; head < 3; head++)
		offer_request(machine, head, 100 + head);
	kick_rng(machine);
	return machine;
}

static void test_a_seeded_stream_goes_on_where_it_was(void **state)
{
	struct rng_machine *whole = running_rng(VIRTIO_F_EVENT_IDX);
	struct rng_machine *restored = clone_rng(whole);
	/* The one difference that is allowed: a kick without need. */
	kick_rng(whole);
	pv_virtio_resume(&restored->rng.virtio);
	for (unsigned round = 0; round < 20; round++) {
		offer_request(whole, round % SIDE_RING_SIZE, 33 * round);
		offer_request(restored, round % SIDE_RING_SIZE, 33 * round);
		assert_int_equal(ring_must_kick(&whole->side.rings[0], true),
		    ring_must_kick(&restored->side.rings[0], true));
		kick_rng(whole);
		kick_rng(restored);
		assert_true(side_same_memory(&whole->side, &restored->side));
	}
	struct pv_bytes end = state_save(&rng_kind, whole);
	state_expect(&rng_kind, restored, &end);
	pv_bytes_finish(&end);
	free_rng(whole);
	free_rng(restored);
}

/* FC #5958: a chain whose kick was lost waits for ever, because the driver sees no need to kick
 * again. */
static void test_resuming_takes_what_was_never_kicked(void **state)
{
	struct rng_machine *machine = running_rng(0);
	offer_request(machine, 5, 64);
	struct rng_machine *restored = clone_rng(machine);
	assert_int_equal(ring_used_idx(&restored->side.rings[0]), 3);
	pv_virtio_resume(&restored->rng.virtio);
	assert_int_equal(ring_used_idx(&restored->side.rings[0]), 4);
	kick_rng(machine);
	assert_memory_equal(ram_at(&machine->side.ram, DATA_GPA + 0x5000, 64),
	    ram_at(&restored->side.ram, DATA_GPA + 0x5000, 64), 64);
	free_rng(machine);
	free_rng(restored);
}

static void test_resuming_a_device_that_does_not_run_does_nothing(void **state)
{
	struct rng_machine *machine = new_rng(NULL);
	driver_begin(&machine->rng.virtio, 0);
	ring_init(&machine->side.rings[0], &machine->side.ram, 0, SIDE_RING_SIZE);
	driver_attach(&machine->rng.virtio, 0, &machine->side.rings[0]);
	offer_request(machine, 0, 64);
	struct rng_machine *restored = clone_rng(machine);
	pv_virtio_resume(&restored->rng.virtio);
	assert_int_equal(restored->side.interrupts[0], 0);
	assert_true(side_same_memory(&machine->side, &restored->side));
	/* The driver goes on from there. */
	driver_go(&restored->rng.virtio);
	assert_int_equal(ring_used_idx(&restored->side.rings[0]), 1);
	free_rng(machine);
	free_rng(restored);
}

static void test_a_broken_device_stays_broken_and_says_so_again(void **state)
{
	struct rng_machine *machine = running_rng(0);
	ring_set_avail_index(&machine->side.rings[0], 1000);
	kick_rng(machine);
	assert_true(machine->rng.virtio.status & VIRTIO_STATUS_NEEDS_RESET);
	struct rng_machine *restored = clone_rng(machine);
	assert_string_equal(restored->rng.virtio.fault, machine->rng.virtio.fault);
	pv_virtio_resume(&restored->rng.virtio);
	assert_int_equal(restored->side.config_interrupts, 1);
	assert_int_equal(restored->side.interrupts[0], 0);
	/* A clone of the clone has the text too, and a reset is the way out. */
	struct rng_machine *again = clone_rng(restored);
	free_rng(restored);
	assert_string_equal(again->rng.virtio.fault, machine->rng.virtio.fault);
	side_bring_up(&again->rng.virtio, &again->side, 0);
	offer_request(again, 0, 64);
	kick_rng(again);
	assert_int_equal(ring_used_idx(&again->side.rings[0]), 1);
	free_rng(again);
	free_rng(machine);
}

static void test_two_clones_know_nothing_of_each_other(void **state)
{
	struct rng_machine *machine = running_rng(0);
	struct rng_machine *one = clone_rng(machine), *two = clone_rng(machine);
	pv_virtio_resume(&one->rng.virtio);
	pv_virtio_resume(&two->rng.virtio);
	struct pv_bytes before = state_save(&rng_kind, two);
	offer_request(one, 4, 500);
	kick_rng(one);
	pv_virtio_set_status(&one->rng.virtio, 0);
	state_expect(&rng_kind, two, &before);
	assert_int_equal(ring_used_idx(&two->side.rings[0]), 3);
	/* The same request gives the same bytes: with a seed, sameness is what is asked for. */
	offer_request(two, 4, 500);
	kick_rng(two);
	assert_memory_equal(ram_at(&one->side.ram, DATA_GPA + 0x4000, 500),
	    ram_at(&two->side.ram, DATA_GPA + 0x4000, 500), 500);
	pv_bytes_finish(&before);
	free_rng(one);
	free_rng(two);
	free_rng(machine);
}

static void test_clones_without_a_seed_diverge(void **state)
{
	struct rng_machine *machine = new_rng(NULL);
	side_bring_up(&machine->rng.virtio, &machine->side, 0);
	struct rng_machine *one = clone_rng(machine), *two = clone_rng(machine);
	offer_request(one, 0, 64);
	offer_request(two, 0, 64);
	kick_rng(one);
	kick_rng(two);
	assert_memory_not_equal(
	    ram_at(&one->side.ram, DATA_GPA, 64), ram_at(&two->side.ram, DATA_GPA, 64), 64);
	free_rng(one);
	free_rng(two);
	free_rng(machine);
}

/* Suppressed interrupts stay suppressed: the index of the last one is part of the state. */
static void test_event_indices_go_on(void **state)
{
	struct rng_machine *machine = running_rng(VIRTIO_F_EVENT_IDX);
	ring_set_used_event(&machine->side.rings[0], 5);
	struct rng_machine *restored = clone_rng(machine);
	for (uint16_t head = 3; head < 5; head++) {
		offer_request(restored, head, 8);
		kick_rng(restored);
		assert_int_equal(restored->side.interrupts[0], 0);
	}
	offer_request(restored, 5, 8);
	kick_rng(restored);
	assert_int_equal(restored->side.interrupts[0], 1);
	free_rng(machine);
	free_rng(restored);
}

/* --- what is refused --- */

static void expect_refused(const struct pv_bytes *saved, const char *key, uint64_t value)
{
	struct rng_machine *machine = new_rng(NULL);
	struct pv_bytes changed = state_with(saved, key, 0, value);
	assert_int_equal(state_load(&rng_kind, machine, &changed), -EBADMSG);
	pv_bytes_finish(&changed);
	free_rng(machine);
}

static void test_impossible_states_are_refused(void **state)
{
	struct rng_machine *machine = running_rng(0);
	struct pv_bytes saved = state_save(&rng_kind, machine);
	expect_refused(&saved, "id", VIRTIO_ID_CONSOLE);
	/* Features that are not offered, and none at all. */
	expect_refused(&saved, "accepted", VIRTIO_F_VERSION_1 | 1);
	expect_refused(&saved, "accepted", 0);
	/* DRIVER_OK without what comes before, bits that do not exist, broken without a reason,
	 * active before DRIVER_OK. */
	const uint8_t statuses[] = {0, 3, 4, 7, 11, 12, 13, 14, 15 | 16, 15 | 32, 15 | 64};
	for (unsigned i = 0; i < sizeof(statuses); i++)
		expect_refused(&saved, "status", statuses[i]);
	const uint16_t sizes[] = {0, 3, 65, 128, 256, 512, 32768, 65535};
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		expect_refused(&saved, "size", sizes[i]);
	const uint64_t places[] = {0, LOW_GPA + 1, LOW_GPA - 16, LOW_GPA + LOW_SIZE,
	    LOW_GPA + LOW_SIZE - 16, HIGH_GPA + HIGH_SIZE, UINT64_MAX - 15, UINT64_MAX};
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		expect_refused(&saved, "desc", places[i]);
		expect_refused(&saved, "avail",
		    places[i] == LOW_GPA + LOW_SIZE - 16 ? LOW_GPA + LOW_SIZE - 2 : places[i]);
		expect_refused(&saved, "used", places[i]);
	}
	pv_bytes_finish(&saved);
	free_rng(machine);
}

/* What is only there to mislead the driver that enables the queue later. */
static void test_a_queue_that_is_not_ready_has_not_moved(void **state)
{
	struct rng_machine *machine = new_rng(NULL);
	struct pv_bytes saved = state_save(&rng_kind, machine);
	expect_refused(&saved, "next_avail", 1);
	expect_refused(&saved, "next_used", 1);
	expect_refused(&saved, "signalled_used", 1);
	pv_bytes_finish(&saved);
	free_rng(machine);
}

static void test_a_generator_of_zeroes_is_refused(void **state)
{
	struct rng_machine *machine = running_rng(0);
	for (unsigned i = 0; i < 4; i++)
		machine->rng.state[i] = 0;
	struct pv_bytes saved = state_save(&rng_kind, machine);
	struct rng_machine *other = new_rng(NULL);
	assert_int_equal(state_load(&rng_kind, other, &saved), -EBADMSG);
	pv_bytes_finish(&saved);
	free_rng(other);
	free_rng(machine);
}

static void test_any_position_in_the_rings_is_harmless(void **state)
{
	struct rng_machine *machine = running_rng(VIRTIO_F_EVENT_IDX);
	struct pv_bytes saved = state_save(&rng_kind, machine);
	const char *const keys[] = {"next_avail", "next_used", "signalled_used"};
	for (unsigned i = 0; i < 3; i++) {
		for (uint32_t value = 0; value <= UINT16_MAX; value += 257) {
			struct rng_machine *other = new_rng(NULL);
			struct pv_bytes changed = state_with(&saved, keys[i], 0, value);
			side_copy(&other->side, &machine->side);
			state_restore(&rng_kind, other, &changed);
			pv_virtio_resume(&other->rng.virtio);
			pv_bytes_finish(&changed);
			free_rng(other);
		}
	}
	pv_bytes_finish(&saved);
	free_rng(machine);
}

static void test_a_device_in_use_takes_no_state(void **state)
{
	struct rng_machine *machine = running_rng(0);
	struct pv_bytes saved = state_save(&rng_kind, machine);
	assert_int_equal(state_load(&rng_kind, machine, &saved), -EBUSY);
	state_expect(&rng_kind, machine, &saved);
	pv_virtio_set_status(&machine->rng.virtio, 0);
	state_restore(&rng_kind, machine, &saved);
	state_expect(&rng_kind, machine, &saved);
	pv_bytes_finish(&saved);
	free_rng(machine);
}

static void test_a_fault_is_short_plain_text(void **state)
{
	struct rng_machine *machine = running_rng(0);
	char text[PV_VIRTIO_FAULT_MAX + 1] = {0};
	memset(text, 'f', sizeof(text) - 2);
	pv_virtio_break(&machine->rng.virtio, text);
	struct pv_bytes good = state_save(&rng_kind, machine);
	text[sizeof(text) - 2] = 'f';
	struct pv_bytes lengthy = state_save(&rng_kind, machine);
	memcpy(text, "\033[2J", 5);
	struct pv_bytes dirty = state_save(&rng_kind, machine);
	text[0] = 0;
	struct pv_bytes empty = state_save(&rng_kind, machine);
	struct rng_machine *other = new_rng(NULL);
	assert_int_equal(state_load(&rng_kind, other, &lengthy), -EBADMSG);
	assert_int_equal(state_load(&rng_kind, other, &dirty), -EBADMSG);
	assert_int_equal(state_load(&rng_kind, other, &empty), -EBADMSG);
	assert_int_equal(state_load(&rng_kind, other, &good), 0);
	pv_bytes_finish(&good);
	pv_bytes_finish(&lengthy);
	pv_bytes_finish(&dirty);
	pv_bytes_finish(&empty);
	free_rng(other);
	free_rng(machine);
}

/* --- every change of every field --- */

/* Memory of the machine that was saved, for those that load. */
static const struct side *saved_side;

static void *fresh_rng(void)
{
	struct rng_machine *machine = new_rng(NULL);
	side_copy(&machine->side, saved_side);
	return machine;
}

static void done_rng(void *ctx, bool loaded)
{
	struct rng_machine *machine = ctx;
	if (loaded) {
		pv_virtio_resume(&machine->rng.virtio);
		offer_request(machine, 6, 64);
		kick_rng(machine);
		pv_virtio_set_status(&machine->rng.virtio, 0);
	}
	free_rng(machine);
}

static void test_no_change_of_an_entropy_device_does_harm(void **state)
{
	struct rng_machine *machine = running_rng(VIRTIO_F_EVENT_IDX);
	offer_request(machine, 4, 64);
	saved_side = &machine->side;
	struct pv_bytes saved = state_save(&rng_kind, machine);
	state_change_everything(&rng_kind, &saved, fresh_rng, done_rng);
	pv_bytes_finish(&saved);
	free_rng(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_seeded_stream_goes_on_where_it_was),
	    cmocka_unit_test(test_resuming_takes_what_was_never_kicked),
	    cmocka_unit_test(test_resuming_a_device_that_does_not_run_does_nothing),
	    cmocka_unit_test(test_a_broken_device_stays_broken_and_says_so_again),
	    cmocka_unit_test(test_two_clones_know_nothing_of_each_other),
	    cmocka_unit_test(test_clones_without_a_seed_diverge),
	    cmocka_unit_test(test_event_indices_go_on),
	    cmocka_unit_test(test_impossible_states_are_refused),
	    cmocka_unit_test(test_a_queue_that_is_not_ready_has_not_moved),
	    cmocka_unit_test(test_a_generator_of_zeroes_is_refused),
	    cmocka_unit_test(test_any_position_in_the_rings_is_harmless),
	    cmocka_unit_test(test_a_device_in_use_takes_no_state),
	    cmocka_unit_test(test_a_fault_is_short_plain_text),
	    cmocka_unit_test(test_no_change_of_an_entropy_device_does_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
