/*
 * Snapshots of what all devices have, of the entropy device and of the console: a device that was
 * saved in the middle of its work goes on in another as if nothing had been, and a state that no
 * device can have is refused.
 */
#include "virtio/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ring_driver.h"
#include "tests/unit/state_doc.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#define RING_SIZE 8
#define WRITE	  VIRTQ_DESC_F_WRITE
#define RECEIVE	  0
#define TRANSMIT  1

/* --- a machine with one device of each kind, each with memory of its own --- */

struct side {
	struct ram ram;
	struct ring rings[2];
	unsigned interrupts[2];
	unsigned config_interrupts;
};

struct rng_machine {
	struct pv_rng rng;
	struct side side;
};

struct console_machine {
	struct pv_console console;
	struct side side;
	struct pv_bytes printed;
};

static void count_interrupt(struct pv_virtio *dev, unsigned queue)
{
	((struct side *)dev->transport_ctx)->interrupts[queue]++;
}

static void count_config_interrupt(struct pv_virtio *dev)
{
	((struct side *)dev->transport_ctx)->config_interrupts++;
}

static const struct pv_virtio_transport transport = {
    .queue_interrupt = count_interrupt,
    .config_interrupt = count_config_interrupt,
};

static void connect_side(struct pv_virtio *dev, struct side *side)
{
	dev->transport = &transport;
	dev->transport_ctx = side;
}

/* The driver's side of a clone: the same memory and positions. */
static void copy_side(struct side *to, const struct side *from)
{
	memcpy(to->ram.low, from->ram.low, LOW_SIZE);
	memcpy(to->ram.high, from->ram.high, HIGH_SIZE);
	for (unsigned i = 0; i < 2; i++) {
		to->rings[i] = from->rings[i];
		to->rings[i].ram = &to->ram;
	}
}

static bool same_memory(const struct side *a, const struct side *b)
{
	return !memcmp(a->ram.low, b->ram.low, LOW_SIZE) &&
	       !memcmp(a->ram.high, b->ram.high, HIGH_SIZE);
}

static void bring_up(struct pv_virtio *dev, struct side *side, uint64_t features)
{
	driver_begin(dev, features);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		ring_init(&side->rings[i], &side->ram, i, RING_SIZE);
		driver_attach(dev, i, &side->rings[i]);
	}
	driver_go(dev);
	assert_true(dev->active);
}

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
	connect_side(&machine->rng.virtio, &machine->side);
	return machine;
}

static void free_rng(struct rng_machine *machine)
{
	ram_finish(&machine->side.ram);
	free(machine);
}

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
	connect_side(&machine->console.virtio, &machine->side);
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
static struct rng_machine *clone_rng(const struct rng_machine *from)
{
	struct rng_machine *to = new_rng(NULL);
	struct pv_bytes state = state_save(&rng_kind, from);
	copy_side(&to->side, &from->side);
	state_restore(&rng_kind, to, &state);
	state_expect(&rng_kind, to, &state);
	pv_bytes_finish(&state);
	return to;
}

static struct console_machine *clone_console(const struct console_machine *from)
{
	struct console_machine *to = new_console();
	struct pv_bytes state = state_save(&console_kind, from);
	copy_side(&to->side, &from->side);
	state_restore(&console_kind, to, &state);
	state_expect(&console_kind, to, &state);
	pv_bytes_finish(&state);
	return to;
}

/* --- the entropy device --- */

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
	bring_up(&machine->rng.virtio, &machine->side, features);
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
		offer_request(whole, round % RING_SIZE, 33 * round);
		offer_request(restored, round % RING_SIZE, 33 * round);
		assert_int_equal(ring_must_kick(&whole->side.rings[0], true),
		    ring_must_kick(&restored->side.rings[0], true));
		kick_rng(whole);
		kick_rng(restored);
		assert_true(same_memory(&whole->side, &restored->side));
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

/* FC #4736: an interrupt on its way is lost, and nobody would look. */
static void test_resuming_interrupts_for_each_enabled_queue(void **state)
{
	struct console_machine *machine = new_console();
	bring_up(&machine->console.virtio, &machine->side, 0);
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

static void test_resuming_a_device_that_does_not_run_does_nothing(void **state)
{
	struct rng_machine *machine = new_rng(NULL);
	driver_begin(&machine->rng.virtio, 0);
	ring_init(&machine->side.rings[0], &machine->side.ram, 0, RING_SIZE);
	driver_attach(&machine->rng.virtio, 0, &machine->side.rings[0]);
	offer_request(machine, 0, 64);
	struct rng_machine *restored = clone_rng(machine);
	pv_virtio_resume(&restored->rng.virtio);
	assert_int_equal(restored->side.interrupts[0], 0);
	assert_true(same_memory(&machine->side, &restored->side));
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
	bring_up(&again->rng.virtio, &again->side, 0);
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
	bring_up(&machine->rng.virtio, &machine->side, 0);
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

/* --- the console --- */

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
		give_buffer(machine, round % RING_SIZE, 1 + round % 5);
		if (ring_must_kick(&machine->side.rings[RECEIVE], true))
			kick_console(machine, RECEIVE);
		pv_console_input(&machine->console, "echo", round % 3);
		offer_print(machine, round % RING_SIZE, "line of output");
		if (ring_must_kick(&machine->side.rings[TRANSMIT], true))
			kick_console(machine, TRANSMIT);
	}
}

static void test_a_console_goes_on_in_the_middle_of_a_line(void **state)
{
	struct console_machine *whole = new_console();
	bring_up(&whole->console.virtio, &whole->side, VIRTIO_F_EVENT_IDX);
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
	assert_true(same_memory(&whole->side, &restored->side));
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
	ring_init(&side->rings[0], &side->ram, 0, RING_SIZE);
	driver_attach(dev, 0, &side->rings[0]);
	pv_virtio_config_changed(dev);
	expect_same_after_load(machine);
	/* The second queue cannot be enabled. */
	side->rings[1] = side->rings[0];
	side->rings[1].used = 4;
	driver_attach(dev, 1, &side->rings[1]);
	assert_true(dev->status & VIRTIO_STATUS_NEEDS_RESET);
	expect_same_after_load(machine);
	bring_up(dev, side, VIRTIO_F_INDIRECT_DESC);
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
	ring_init(&machine->side.rings[TRANSMIT], &machine->side.ram, 1, RING_SIZE);
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
			copy_side(&other->side, &machine->side);
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
	copy_side(&machine->side, saved_side);
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

static void *fresh_console(void)
{
	struct console_machine *machine = new_console();
	copy_side(&machine->side, saved_side);
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

static void test_no_change_of_a_console_does_harm(void **state)
{
	struct console_machine *machine = new_console();
	bring_up(&machine->console.virtio, &machine->side, 0);
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
	    cmocka_unit_test(test_a_seeded_stream_goes_on_where_it_was),
	    cmocka_unit_test(test_resuming_takes_what_was_never_kicked),
	    cmocka_unit_test(test_resuming_interrupts_for_each_enabled_queue),
	    cmocka_unit_test(test_resuming_a_device_that_does_not_run_does_nothing),
	    cmocka_unit_test(test_a_broken_device_stays_broken_and_says_so_again),
	    cmocka_unit_test(test_two_clones_know_nothing_of_each_other),
	    cmocka_unit_test(test_clones_without_a_seed_diverge),
	    cmocka_unit_test(test_a_console_goes_on_in_the_middle_of_a_line),
	    cmocka_unit_test(test_input_in_the_state_replaces_what_was_typed_since),
	    cmocka_unit_test(test_every_stage_is_the_same_after_a_load),
	    cmocka_unit_test(test_addresses_of_a_queue_that_is_not_enabled_are_not_looked_at),
	    cmocka_unit_test(test_event_indices_go_on),
	    cmocka_unit_test(test_impossible_states_are_refused),
	    cmocka_unit_test(test_a_queue_that_is_not_ready_has_not_moved),
	    cmocka_unit_test(test_a_generator_of_zeroes_is_refused),
	    cmocka_unit_test(test_any_position_in_the_rings_is_harmless),
	    cmocka_unit_test(test_a_device_in_use_takes_no_state),
	    cmocka_unit_test(test_a_fault_is_short_plain_text),
	    cmocka_unit_test(test_no_change_of_an_entropy_device_does_harm),
	    cmocka_unit_test(test_no_change_of_a_console_does_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
