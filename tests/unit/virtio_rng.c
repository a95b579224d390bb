/* The entropy device: which bytes come, how many, and how many at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/ring_driver.h"
#include "virtio/rng.h"

#define RING_SIZE 8
#define WRITE	  VIRTQ_DESC_F_WRITE
#define NEXT	  VIRTQ_DESC_F_NEXT

struct fixture {
	struct ram ram;
	struct ring ring;
	struct pv_rng rng;
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

static void start(struct fixture *fix)
{
	ring_init(&fix->ring, &fix->ram, 0, RING_SIZE);
	driver_begin(&fix->rng.virtio, VIRTIO_F_INDIRECT_DESC);
	driver_attach(&fix->rng.virtio, 0, &fix->ring);
	driver_go(&fix->rng.virtio);
	assert_true(fix->rng.virtio.active);
}

static void start_seeded(struct fixture *fix, uint64_t seed)
{
	pv_rng_init(&fix->rng, &fix->ram.mem, &seed);
	start(fix);
}

/* Kicks for the chain at `head`; returns how much the device says it wrote. */
static uint32_t request(struct fixture *fix, uint16_t head)
{
	uint32_t id, len;
	ring_offer(&fix->ring, head);
	pv_virtio_kick(&fix->rng.virtio, 0);
	assert_true(ring_take(&fix->ring, &id, &len));
	assert_int_equal(id, head);
	return len;
}

static void ask(struct fixture *fix, uint8_t *out, uint32_t len)
{
	ring_desc(&fix->ring, 0, DATA_GPA, len, WRITE, 0);
	assert_int_equal(request(fix, 0), len);
	memcpy(out, ram_at(&fix->ram, DATA_GPA, len), len);
}

/* First outputs for this seed as published with the algorithm's reference code. */
static void test_the_seed_is_spread_by_splitmix64(void **state)
{
	struct fixture *fix = *state;
	start_seeded(fix, 1234567);
	assert_true(fix->rng.state[0] == UINT64_C(6457827717110365317));
	assert_true(fix->rng.state[1] == UINT64_C(3203168211198807973));
	assert_true(fix->rng.state[2] == UINT64_C(9817491932198370423));
	assert_true(fix->rng.state[3] == UINT64_C(4593380528125082431));
}

static void test_the_stream_is_xoshiro256starstar(void **state)
{
	struct fixture *fix = *state;
	start_seeded(fix, 0);
	for (unsigned i = 0; i < 4; i++)
		fix->rng.state[i] = i + 1;
	uint8_t bytes[80];
	ask(fix, bytes, sizeof(bytes));
	/* The vector that other implementations test with: state 1, 2, 3, 4. */
	const uint64_t expected[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240),
	    UINT64_C(1216172134540287360), UINT64_C(607988272756665600),
	    UINT64_C(16172922978634559625), UINT64_C(8476171486693032832),
	    UINT64_C(10595114339597558777), UINT64_C(2904607092377533576)};
	for (unsigned i = 0; i < 10; i++)
		assert_true(pv_le64(bytes + 8 * i) == expected[i]);
}

static void test_a_reset_starts_the_stream_afresh(void **state)
{
	struct fixture *fix = *state;
	uint8_t first[100], second[100], again[100];
	start_seeded(fix, 42);
	ask(fix, first, sizeof(first));
	ask(fix, second, sizeof(second));
	assert_memory_not_equal(first, second, sizeof(first));
	start(fix);
	ask(fix, again, sizeof(again));
	assert_memory_equal(first, again, sizeof(first));
	start_seeded(fix, 43);
	ask(fix, again, sizeof(again));
	assert_memory_not_equal(first, again, sizeof(first));
}

static void test_without_a_seed_no_two_streams_are_the_same(void **state)
{
	struct fixture *fix = *state;
	uint8_t first[600], second[600];
	const uint8_t zeroes[600] = {0};
	pv_rng_init(&fix->rng, &fix->ram.mem, NULL);
	start(fix);
	ask(fix, first, sizeof(first));
	start(fix);
	ask(fix, second, sizeof(second));
	assert_memory_not_equal(first, second, sizeof(first));
	assert_memory_not_equal(first + 500, zeroes, 100);
}

static void test_every_length_is_filled_exactly(void **state)
{
	struct fixture *fix = *state;
	start_seeded(fix, 7);
	uint8_t *data = ram_at(&fix->ram, DATA_GPA, 2048);
	for (uint32_t len = 1; len < 600; len++) {
		memset(data, 0xa5, 2048);
		ring_desc(&fix->ring, 0, DATA_GPA + 1, len, WRITE, 0);
		assert_int_equal(request(fix, 0), len);
		assert_int_equal(data[0], 0xa5);
		assert_int_equal(data[1 + len], 0xa5);
	}
}

static void test_all_parts_of_a_chain_are_filled(void **state)
{
	struct fixture *fix = *state;
	start_seeded(fix, 9);
	uint8_t whole[1000];
	ask(fix, whole, sizeof(whole));
	start(fix);
	ring_desc(&fix->ring, 1, DATA_GPA, 3, WRITE | NEXT, 2);
	ring_desc(&fix->ring, 2, HIGH_GPA, 700, WRITE | NEXT, 3);
	ring_desc(&fix->ring, 3, DATA_GPA + 3, 297, WRITE, 0);
	assert_int_equal(request(fix, 1), 1000);
	assert_memory_equal(ram_at(&fix->ram, DATA_GPA, 3), whole, 3);
	assert_memory_equal(fix->ram.high, whole + 3, 700);
	assert_memory_equal(ram_at(&fix->ram, DATA_GPA + 3, 297), whole + 703, 297);
}

static void test_a_request_gets_at_most_64_kib(void **state)
{
	struct fixture *fix = *state;
	start_seeded(fix, 11);
	uint8_t *data = ram_at(&fix->ram, DATA_GPA, 65536 + 64);
	memset(data, 0xa5, 65536 + 64);
	ring_desc(&fix->ring, 0, DATA_GPA, 65536 + 32, WRITE, 0);
	assert_int_equal(request(fix, 0), 65536);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(data[65536 + i], 0xa5);
	ring_desc(&fix->ring, 0, DATA_GPA, 65536, WRITE, 0);
	assert_int_equal(request(fix, 0), 65536);
}

static void test_readable_and_empty_buffers_are_given_back(void **state)
{
	struct fixture *fix = *state;
	start_seeded(fix, 13);
	memset(ram_at(&fix->ram, DATA_GPA, 64), 0xa5, 64);
	ring_desc(&fix->ring, 0, DATA_GPA, 64, 0, 0);
	assert_int_equal(request(fix, 0), 0);
	assert_int_equal(*(uint8_t *)ram_at(&fix->ram, DATA_GPA, 1), 0xa5);
	ring_desc(&fix->ring, 0, DATA_GPA, 64, NEXT, 1);
	ring_desc(&fix->ring, 1, DATA_GPA + 64, 8, WRITE, 0);
	assert_int_equal(request(fix, 0), 8);
	ring_desc(&fix->ring, 0, 0, 0, WRITE, 0);
	assert_int_equal(request(fix, 0), 0);
	assert_null(fix->rng.virtio.fault);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_the_seed_is_spread_by_splitmix64),
	    TEST(test_the_stream_is_xoshiro256starstar),
	    TEST(test_a_reset_starts_the_stream_afresh),
	    TEST(test_without_a_seed_no_two_streams_are_the_same),
	    TEST(test_every_length_is_filled_exactly),
	    TEST(test_all_parts_of_a_chain_are_filled),
	    TEST(test_a_request_gets_at_most_64_kib),
	    TEST(test_readable_and_empty_buffers_are_given_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
