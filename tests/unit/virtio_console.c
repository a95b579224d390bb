/* The console: what is printed, what is typed, and what happens when either side is slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ring_driver.h"
#include "virtio/console.h"

#define RING_SIZE 8
#define RECEIVE	  0
#define TRANSMIT  1
#define WRITE	  VIRTQ_DESC_F_WRITE
#define NEXT	  VIRTQ_DESC_F_NEXT

struct fixture {
	struct ram ram;
	struct ring rings[2];
	struct pv_console console;
	struct pv_bytes printed;
	unsigned interrupts[2];
};

static void print(void *ctx, const void *data, size_t len)
{
	struct fixture *fix = ctx;
	assert_int_equal(pv_bytes_append(&fix->printed, data, len), 0);
}

static void count_interrupt(struct pv_virtio *dev, unsigned queue)
{
	((struct fixture *)dev->transport_ctx)->interrupts[queue]++;
}

static void ignore_interrupt(struct pv_virtio *dev)
{
}

static const struct pv_virtio_transport transport = {
    .queue_interrupt = count_interrupt,
    .config_interrupt = ignore_interrupt,
};

static int set_up(void **state)
{
	struct fixture *fix = calloc(1, sizeof(*fix));
	assert_non_null(fix);
	ram_init(&fix->ram);
	pv_console_init(&fix->console, &fix->ram.mem, print, fix);
	fix->console.virtio.transport = &transport;
	fix->console.virtio.transport_ctx = fix;
	*state = fix;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fix = *state;
	pv_console_finish(&fix->console);
	pv_console_finish(NULL);
	pv_bytes_finish(&fix->printed);
	ram_finish(&fix->ram);
	free(fix);
	return 0;
}

static void start(struct fixture *fix, uint64_t features)
{
	driver_begin(&fix->console.virtio, features);
	for (unsigned i = 0; i < 2; i++) {
		ring_init(&fix->rings[i], &fix->ram, i, RING_SIZE);
		driver_attach(&fix->console.virtio, i, &fix->rings[i]);
	}
	driver_go(&fix->console.virtio);
	assert_true(fix->console.virtio.active);
}

static void kick(struct fixture *fix, unsigned queue)
{
	pv_virtio_kick(&fix->console.virtio, queue);
}

static void expect_printed(struct fixture *fix, const char *text)
{
	assert_int_equal(fix->printed.len, strlen(text));
	assert_memory_equal(fix->printed.data, text, fix->printed.len);
	pv_bytes_consume(&fix->printed, fix->printed.len);
}

/* Gives the device a receive buffer of `len` bytes at DATA_GPA + 256 * head. */
static void give_buffer(struct fixture *fix, uint16_t head, uint32_t len)
{
	ring_desc(&fix->rings[RECEIVE], head, DATA_GPA + 256 * head, len, WRITE, 0);
	ring_offer(&fix->rings[RECEIVE], head);
}

static void expect_received(struct fixture *fix, uint16_t head, const char *text)
{
	uint32_t id, len;
	assert_true(ring_take(&fix->rings[RECEIVE], &id, &len));
	assert_int_equal(id, head);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(ram_at(&fix->ram, DATA_GPA + 256 * head, len), text, len);
}

static void test_what_the_guest_prints_arrives_in_order(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	struct ring *ring = &fix->rings[TRANSMIT];
	memcpy(ram_at(&fix->ram, DATA_GPA, 12), "hello, world", 12);
	ring_desc(ring, 0, DATA_GPA, 7, NEXT, 1);
	ring_desc(ring, 1, DATA_GPA + 7, 5, 0, 0);
	ring_desc(ring, 2, DATA_GPA + 4, 1, 0, 0);
	ring_offer(ring, 0);
	ring_offer(ring, 2);
	kick(fix, TRANSMIT);
	expect_printed(fix, "hello, worldo");
	uint32_t id, len;
	assert_true(ring_take(ring, &id, &len));
	assert_int_equal(id, 0);
	assert_int_equal(len, 0);
	assert_true(ring_take(ring, &id, &len));
	assert_int_equal(id, 2);
	assert_int_equal(fix->interrupts[TRANSMIT], 1);
}

static void test_a_chain_longer_than_a_piece_is_printed_whole(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	const uint32_t size = 20000;
	uint8_t *data = ram_at(&fix->ram, DATA_GPA, size);
	for (uint32_t i = 0; i < size; i++)
		data[i] = i * 7 >> 3;
	ring_desc(&fix->rings[TRANSMIT], 0, DATA_GPA, 5000, NEXT, 1);
	ring_desc(&fix->rings[TRANSMIT], 1, DATA_GPA + 5000, size - 5000, 0, 0);
	ring_offer(&fix->rings[TRANSMIT], 0);
	kick(fix, TRANSMIT);
	assert_int_equal(fix->printed.len, size);
	assert_memory_equal(fix->printed.data, data, size);
}

/* A hostile guest may name all its memory once per descriptor; what is done for it is bounded. */
static void test_output_of_one_chain_is_capped(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	for (unsigned i = 0; i < RING_SIZE; i++)
		ring_desc(&fix->rings[TRANSMIT], i, LOW_GPA, LOW_SIZE, i + 1 < RING_SIZE ? NEXT : 0,
		    i + 1);
	ring_offer(&fix->rings[TRANSMIT], 0);
	kick(fix, TRANSMIT);
	assert_int_equal(fix->printed.len, 256u << 10);
}

static void test_writable_and_empty_buffers_print_nothing(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	ring_desc(&fix->rings[TRANSMIT], 0, DATA_GPA, 64, WRITE, 0);
	ring_desc(&fix->rings[TRANSMIT], 1, 0, 0, 0, 0);
	ring_offer(&fix->rings[TRANSMIT], 0);
	ring_offer(&fix->rings[TRANSMIT], 1);
	kick(fix, TRANSMIT);
	assert_int_equal(fix->printed.len, 0);
	assert_int_equal(ring_used_idx(&fix->rings[TRANSMIT]), 2);
}

static void test_what_is_typed_fills_the_buffers_that_are_there(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	give_buffer(fix, 0, 4);
	give_buffer(fix, 1, 100);
	kick(fix, RECEIVE);
	assert_int_equal(pv_console_input(&fix->console, "uname\n", 6), 6);
	expect_received(fix, 0, "unam");
	expect_received(fix, 1, "e\n");
	assert_int_equal(fix->interrupts[RECEIVE], 1);
	assert_int_equal(fix->console.input.len, 0);
}

static void test_what_is_typed_waits_for_buffers(void **state)
{
	struct fixture *fix = *state;
	start(fix, VIRTIO_F_EVENT_IDX);
	struct ring *ring = &fix->rings[RECEIVE];
	assert_int_equal(pv_console_input(&fix->console, "abcdef", 6), 6);
	for (unsigned i = 0; i < 3; i++) {
		/* Each time the device must have asked to be kicked. */
		give_buffer(fix, i, 2);
		assert_true(ring_must_kick(ring, true));
		kick(fix, RECEIVE);
	}
	expect_received(fix, 0, "ab");
	expect_received(fix, 1, "cd");
	expect_received(fix, 2, "ef");
}

/* All of the ring is used up in one go, and the rest must not be forgotten. */
static void test_typing_more_than_a_ring_of_buffers_goes_on_with_the_next_kick(void **state)
{
	struct fixture *fix = *state;
	start(fix, VIRTIO_F_EVENT_IDX);
	struct ring *ring = &fix->rings[RECEIVE];
	for (unsigned i = 0; i < RING_SIZE; i++)
		give_buffer(fix, i, 1);
	if (ring_must_kick(ring, true))
		kick(fix, RECEIVE);
	char text[3 * RING_SIZE + 1];
	memset(text, 'x', sizeof(text));
	assert_int_equal(pv_console_input(&fix->console, text, sizeof(text)), sizeof(text));
	unsigned got = 0;
	for (uint32_t id, len; ring_take(ring, &id, &len);) {
		got += len;
		give_buffer(fix, id, 1);
		if (ring_must_kick(ring, true))
			kick(fix, RECEIVE);
	}
	assert_int_equal(got, sizeof(text));
}

static void test_what_is_typed_before_the_driver_is_up_is_kept(void **state)
{
	struct fixture *fix = *state;
	assert_int_equal(pv_console_input(&fix->console, "early", 5), 5);
	start(fix, 0);
	give_buffer(fix, 0, 64);
	kick(fix, RECEIVE);
	expect_received(fix, 0, "early");
}

static void test_too_much_typing_is_refused(void **state)
{
	struct fixture *fix = *state;
	uint8_t *text = calloc(1, PV_CONSOLE_INPUT_MAX + 10);
	assert_non_null(text);
	assert_int_equal(pv_console_input(&fix->console, text, 10), 10);
	assert_int_equal(
	    pv_console_input(&fix->console, text, PV_CONSOLE_INPUT_MAX), PV_CONSOLE_INPUT_MAX - 10);
	assert_int_equal(pv_console_input(&fix->console, text, 1), 0);
	assert_int_equal(pv_console_input(&fix->console, text, 0), 0);
	free(text);
	/* Room comes back with the buffers. */
	start(fix, 0);
	give_buffer(fix, 0, 100);
	kick(fix, RECEIVE);
	assert_int_equal(pv_console_input(&fix->console, "0123456789", 10), 10);
}

static void count_call(void *ctx)
{
	++*(unsigned *)ctx;
}

static void test_room_after_a_refusal_is_told_once(void **state)
{
	struct fixture *fix = *state;
	static const uint8_t text[PV_CONSOLE_INPUT_MAX + 1];
	unsigned told = 0, kicks = 0;
	uint32_t id, len;
	fix->console.room = count_call;
	fix->console.room_ctx = &told;
	start(fix, 0);
	assert_int_equal(pv_console_input(&fix->console, text, sizeof(text)), PV_CONSOLE_INPUT_MAX);
	for (; fix->console.input.len > 0; kicks++) {
		give_buffer(fix, (uint16_t)(kicks % 4), 256);
		kick(fix, RECEIVE);
		assert_true(ring_take(&fix->rings[RECEIVE], &id, &len));
		assert_int_equal(told, fix->console.input.len <= PV_CONSOLE_INPUT_MAX / 2);
	}
	assert_int_equal(kicks, PV_CONSOLE_INPUT_MAX / 256);
}

/* Buffers without room must be given back, not looked at for ever. */
static void test_receive_buffers_without_room_are_given_back(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	ring_desc(&fix->rings[RECEIVE], 0, DATA_GPA, 16, 0, 0);
	ring_offer(&fix->rings[RECEIVE], 0);
	give_buffer(fix, 1, 16);
	pv_console_input(&fix->console, "x", 1);
	expect_received(fix, 0, "");
	expect_received(fix, 1, "x");
}

static void test_a_broken_ring_stops_only_the_device(void **state)
{
	struct fixture *fix = *state;
	start(fix, 0);
	pv_console_input(&fix->console, "kept", 4);
	ring_set_avail_index(&fix->rings[TRANSMIT], 100);
	kick(fix, TRANSMIT);
	assert_true(fix->console.virtio.status & VIRTIO_STATUS_NEEDS_RESET);
	give_buffer(fix, 0, 16);
	kick(fix, RECEIVE);
	assert_int_equal(ring_used_idx(&fix->rings[RECEIVE]), 0);
	assert_int_equal(pv_console_input(&fix->console, "!", 1), 1);
	start(fix, 0);
	give_buffer(fix, 0, 16);
	kick(fix, RECEIVE);
	expect_received(fix, 0, "kept!");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_what_the_guest_prints_arrives_in_order),
	    TEST(test_a_chain_longer_than_a_piece_is_printed_whole),
	    TEST(test_output_of_one_chain_is_capped),
	    TEST(test_writable_and_empty_buffers_print_nothing),
	    TEST(test_what_is_typed_fills_the_buffers_that_are_there),
	    TEST(test_what_is_typed_waits_for_buffers),
	    TEST(test_typing_more_than_a_ring_of_buffers_goes_on_with_the_next_kick),
	    TEST(test_what_is_typed_before_the_driver_is_up_is_kept),
	    TEST(test_too_much_typing_is_refused),
	    TEST(test_room_after_a_refusal_is_told_once),
	    TEST(test_receive_buffers_without_room_are_given_back),
	    TEST(test_a_broken_ring_stops_only_the_device),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
