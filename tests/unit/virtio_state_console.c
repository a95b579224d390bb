/*
 * Snapshots of the console, at every stage of its driver, and of devices with two queues: what was
 * saved goes on in another device as if nothing had been.
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
#include "virtio/console.h"

#define WRITE	 VIRTQ_DESC_F_WRITE
#define RECEIVE	 0
#define TRANSMIT 1

struct console_machine {
	struct pv_console console;
	struct side side;
	struct pv_bytes printed;
};

static void save_console(const void *ctx, struct pv_pack *pack)
{
	pv_console_save(&((const struct console_machine *)ctx)->console, pack);
}

static int load_console(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	return pv_console_load(&((struct console_machine *)ctx)->console, val, err);
}

static const struct state_kind console_kind = {save_console, load_console, false};

static void print(void *ctx, const void *data, size_t len)
{
	struct console_machine *machine = ctx;
	assert_int_equal(pv_bytes_append(&machine->printed, data, len), 0);
}

static struct console_machine *new_console(void)
{
	struct console_machine *machine = calloc(1, sizeof(*machine));
	assert_non_null(machine);
	ram_init(&machine->side.ram);
	pv_console_init(&machine->console, &machine->side.ram.mem, print, machine);
	side_connect(&machine->console.virtio, &machine->side);
	return machine;
}

static void free_console(struct console_machine *machine)
{
	pv_console_finish(&machine->console);
	pv_bytes_finish(&machine->printed);
	ram_finish(&machine->side.ram);
	free(machine);
}

/* A clone of a machine, in fresh memory and a fresh device. */
static struct console_machine *clone_console(const struct console_machine *from)
{
	struct console_machine *to = new_console();
	struct pv_bytes state = state_save(&console_kind, from);
	side_copy(&to->side, &from->side);
	state_restore(&console_kind, to, &state);
	state_expect(&console_kind, to, &state);
	pv_bytes_finish(&state);
	return to;
}

static void give_buffer(struct console_machine *machine, uint16_t head, uint32_t len)
{
	ring_desc(&machine->side.rings[RECEIVE], head, DATA_GPA + 256 * head, len, WRITE, 0);
	ring_offer(&machine->side.rings[RECEIVE], head);
}

static void offer_print(struct console_machine *machine, uint16_t head, const char *text)
{
	const uint64_t gpa = DATA_GPA + 0x8000 + 256 * (uint64_t)head;
	memcpy(ram_at(&machine->side.ram, gpa, 256), text, strlen(text));
	ring_desc(&machine->side.rings[TRANSMIT], head, gpa, strlen(text), 0, 0);
	ring_offer(&machine->side.rings[TRANSMIT], head);
}

static void kick_console(struct console_machine *machine, unsigned queue)
{
	pv_virtio_kick(&machine->console.virtio, queue);
}

/* What a guest and a test do after the point of saving. */
static void go_on(struct console_machine *machine)
{
	for (uint16_t round = 0; round < 30; round++) {
		give_buffer(machine, round % SIDE_RING_SIZE, 1 + round % 5);
		if (ring_must_kick(&machine->side.rings[RECEIVE], true))
			kick_console(machine, RECEIVE);
		pv_console_input(&machine->console, "echo", round % 3);
		offer_print(machine, round % SIDE_RING_SIZE, "line of output");
		if (ring_must_kick(&machine->side.rings[TRANSMIT], true))
			kick_console(machine, TRANSMIT);
	}
}

/* FC #4736: an interrupt on its way is lost, and nobody would look. */
static void test_resuming_interrupts_for_each_enabled_queue(void **state)
{
	struct console_machine *machine = new_console();
	side_bring_up(&machine->console.virtio, &machine->side, 0);
	struct console_machine *restored = clone_console(machine);
	/* Whether or not the driver seems to want it. */
	ring_set_avail_flags(&restored->side.rings[TRANSMIT], VIRTQ_AVAIL_F_NO_INTERRUPT);
	pv_virtio_resume(&restored->console.virtio);
	assert_int_equal(restored->side.interrupts[RECEIVE], 1);
	assert_int_equal(restored->side.interrupts[TRANSMIT], 1);
	assert_int_equal(restored->side.config_interrupts, 0);
	free_console(restored);

	/* A queue that was never enabled is left alone. */
	driver_begin(&machine->console.virtio, 0);
	driver_attach(&machine->console.virtio, TRANSMIT, &machine->side.rings[TRANSMIT]);
	driver_go(&machine->console.virtio);
	restored = clone_console(machine);
	pv_virtio_resume(&restored->console.virtio);
	assert_int_equal(restored->side.interrupts[RECEIVE], 0);
	assert_int_equal(restored->side.interrupts[TRANSMIT], 1);
	free_console(restored);
	free_console(machine);
}

static void test_a_console_goes_on_in_the_middle_of_a_line(void **state)
{
	struct console_machine *whole = new_console();
	side_bring_up(&whole->console.virtio, &whole->side, VIRTIO_F_EVENT_IDX);
	give_buffer(whole, 0, 3);
	kick_console(whole, RECEIVE);
	pv_console_input(&whole->console, "uname -r\n", 9);
	offer_print(whole, 0, "hello ");
	kick_console(whole, TRANSMIT);
	offer_print(whole, 1, "not kicked yet");
	assert_int_equal(whole->console.input.len, 6);

	struct console_machine *restored = clone_console(whole);
	assert_int_equal(restored->console.input.len, 6);
	for (unsigned i = 0; i < 2; i++)
		kick_console(whole, i);
	pv_virtio_resume(&restored->console.virtio);
	go_on(whole);
	go_on(restored);
	assert_true(side_same_memory(&whole->side, &restored->side));
	struct pv_bytes end = state_save(&console_kind, whole);
	state_expect(&console_kind, restored, &end);
	pv_bytes_finish(&end);
	/* What was printed before belongs to the first; the rest is the same. */
	assert_int_equal(whole->printed.len, restored->printed.len + 6);
	assert_memory_equal(whole->printed.data + 6, restored->printed.data, restored->printed.len);
	free_console(whole);
	free_console(restored);
}

static void test_input_in_the_state_replaces_what_was_typed_since(void **state)
{
	struct console_machine *machine = new_console();
	pv_console_input(&machine->console, "saved", 5);
	struct pv_bytes saved = state_save(&console_kind, machine);
	/* Rewinding the same console. */
	pv_console_input(&machine->console, " and more", 9);
	state_restore(&console_kind, machine, &saved);
	state_expect(&console_kind, machine, &saved);
	pv_bytes_finish(&saved);
	free_console(machine);
}

/* --- every stage of a driver, saved and loaded and saved --- */

static void expect_same_after_load(const struct console_machine *machine)
{
	free_console(clone_console(machine));
}

static void test_every_stage_is_the_same_after_a_load(void **state)
{
	struct console_machine *machine = new_console();
	struct pv_virtio *dev = &machine->console.virtio;
	struct side *side = &machine->side;
	expect_same_after_load(machine);
	/* Nonsense that nobody has looked at yet. */
	pv_virtio_set_status(dev, VIRTIO_STATUS_DRIVER);
	pv_virtio_accept_features(dev, 0, 0xffffffff);
	pv_virtio_set_queue_size(dev, 0, 3);
	pv_virtio_set_queue_ring(dev, 0, 2, UINT64_MAX, 7);
	expect_same_after_load(machine);
	pv_virtio_set_status(dev, VIRTIO_STATUS_FAILED);
	expect_same_after_load(machine);
	driver_begin(dev, VIRTIO_F_EVENT_IDX);
	expect_same_after_load(machine);
	ring_init(&side->rings[0], &side->ram, 0, SIDE_RING_SIZE);
	driver_attach(dev, 0, &side->rings[0]);
	pv_virtio_config_changed(dev);
	expect_same_after_load(machine);
	/* The second queue cannot be enabled. */
	side->rings[1] = side->rings[0];
	side->rings[1].used = 4;
	driver_attach(dev, 1, &side->rings[1]);
	assert_true(dev->status & VIRTIO_STATUS_NEEDS_RESET);
	expect_same_after_load(machine);
	side_bring_up(dev, side, VIRTIO_F_INDIRECT_DESC);
	expect_same_after_load(machine);
	/* A queue that is found broken while the device runs on. */
	ring_set_avail_index(&side->rings[0], 100);
	assert_int_equal(pv_queue_waiting(&dev->queues[0]), 0);
	assert_true(dev->active && dev->queues[0].broken);
	expect_same_after_load(machine);
	free_console(machine);
}

/* CH #8693: an unused queue's ring at address 2. */
static void test_addresses_of_a_queue_that_is_not_enabled_are_not_looked_at(void **state)
{
	struct console_machine *machine = new_console();
	struct pv_virtio *dev = &machine->console.virtio;
	driver_begin(dev, 0);
	ring_init(&machine->side.rings[TRANSMIT], &machine->side.ram, 1, SIDE_RING_SIZE);
	driver_attach(dev, TRANSMIT, &machine->side.rings[TRANSMIT]);
	pv_virtio_set_queue_ring(dev, RECEIVE, 2, 2, 2);
	driver_go(dev);
	struct console_machine *restored = clone_console(machine);
	pv_virtio_resume(&restored->console.virtio);
	pv_console_input(&restored->console, "x", 1);
	assert_int_equal(restored->console.input.len, 1);
	assert_null(restored->console.virtio.fault);
	free_console(restored);
	free_console(machine);
}

/* --- every change of every field --- */

/* Memory of the machine that was saved, for those that load. */
static const struct side *saved_side;

static void *fresh_console(void)
{
	struct console_machine *machine = new_console();
	side_copy(&machine->side, saved_side);
	return machine;
}

static void done_console(void *ctx, bool loaded)
{
	struct console_machine *machine = ctx;
	if (loaded) {
		pv_virtio_resume(&machine->console.virtio);
		go_on(machine);
		pv_virtio_set_status(&machine->console.virtio, 0);
	}
	free_console(machine);
}

static void test_no_change_of_a_console_does_harm(void **state)
{
	struct console_machine *machine = new_console();
	side_bring_up(&machine->console.virtio, &machine->side, 0);
	give_buffer(machine, 0, 3);
	pv_console_input(&machine->console, "typed", 5);
	offer_print(machine, 0, "printed");
	saved_side = &machine->side;
	struct pv_bytes saved = state_save(&console_kind, machine);
	state_change_everything(&console_kind, &saved, fresh_console, done_console);
	pv_bytes_finish(&saved);
	pv_virtio_break(&machine->console.virtio, "tested");
	saved = state_save(&console_kind, machine);
	state_change_everything(&console_kind, &saved, fresh_console, done_console);
	pv_bytes_finish(&saved);
	free_console(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_resuming_interrupts_for_each_enabled_queue),
	    cmocka_unit_test(test_a_console_goes_on_in_the_middle_of_a_line),
	    cmocka_unit_test(test_input_in_the_state_replaces_what_was_typed_since),
	    cmocka_unit_test(test_every_stage_is_the_same_after_a_load),
	    cmocka_unit_test(test_addresses_of_a_queue_that_is_not_enabled_are_not_looked_at),
	    cmocka_unit_test(test_no_change_of_a_console_does_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
