/*
 * The device under any transport: status machine, negotiation, queue configuration, and that no
 * kick is lost between two threads.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/ring_driver.h"
#include "virtio/rng.h"

#define ACK	    VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER	    VIRTIO_STATUS_DRIVER
#define FEATURES_OK VIRTIO_STATUS_FEATURES_OK
#define DRIVER_OK   VIRTIO_STATUS_DRIVER_OK
#define NEEDS_RESET VIRTIO_STATUS_NEEDS_RESET
#define FAILED	    VIRTIO_STATUS_FAILED

#define OWN_FEATURE (UINT64_C(1) << 5)

/* A device with two queues that counts what it is told. */
struct probe {
	struct pv_virtio virtio;
	unsigned activations, resets, kicks[2];
	unsigned queue_interrupts, config_interrupts;
	int activate_result;
	struct ram ram;
	struct ring rings[2];
};

static int probe_activate(struct pv_virtio *dev)
{
	struct probe *probe = (struct probe *)dev;
	probe->activations++;
	return probe->activate_result;
}

static void probe_reset(struct pv_virtio *dev)
{
	((struct probe *)dev)->resets++;
}

static void probe_kick(struct pv_virtio *dev, unsigned queue)
{
	((struct probe *)dev)->kicks[queue]++;
}

static const struct pv_virtio_ops probe_ops = {
    .activate = probe_activate,
    .reset = probe_reset,
    .kick = probe_kick,
};

static void count_queue_interrupt(struct pv_virtio *dev, unsigned queue)
{
	((struct probe *)dev)->queue_interrupts++;
}

static void count_config_interrupt(struct pv_virtio *dev)
{
	((struct probe *)dev)->config_interrupts++;
}

static const struct pv_virtio_transport transport = {
    .queue_interrupt = count_queue_interrupt,
    .config_interrupt = count_config_interrupt,
};

static int set_up(void **state)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	assert_non_null(probe);
	ram_init(&probe->ram);
	probe->virtio = (struct pv_virtio){
	    .ops = &probe_ops,
	    .id = VIRTIO_ID_BLOCK,
	    .queue_count = 2,
	    .queue_size = {16, 32},
	    .offered = OWN_FEATURE,
	    .mem = &probe->ram.mem,
	    .transport = &transport,
	};
	pv_virtio_init(&probe->virtio);
	ring_init(&probe->rings[0], &probe->ram, 0, 16);
	ring_init(&probe->rings[1], &probe->ram, 1, 32);
	*state = probe;
	return 0;
}

static int tear_down(void **state)
{
	struct probe *probe = *state;
	ram_finish(&probe->ram);
	free(probe);
	return 0;
}

static void bring_up(struct probe *probe)
{
	driver_begin(&probe->virtio, OWN_FEATURE);
	driver_attach(&probe->virtio, 0, &probe->rings[0]);
	driver_attach(&probe->virtio, 1, &probe->rings[1]);
	driver_go(&probe->virtio);
	assert_true(probe->virtio.active);
}

static void accept(struct pv_virtio *dev, uint64_t features)
{
	pv_virtio_accept_features(dev, 0, features);
	pv_virtio_accept_features(dev, 1, features >> 32);
}

static void test_every_device_offers_the_ring_features(void **state)
{
	struct probe *probe = *state;
	assert_true(probe->virtio.offered == (OWN_FEATURE | VIRTIO_F_INDIRECT_DESC |
						 VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1));
	assert_int_equal(probe->virtio.queues[0].state.size, 16);
	assert_int_equal(probe->virtio.queues[1].state.size, 32);
}

static void test_a_driver_brings_the_device_up(void **state)
{
	struct probe *probe = *state;
	bring_up(probe);
	assert_int_equal(probe->virtio.status, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	assert_int_equal(probe->activations, 1);
	assert_true(pv_virtio_has(&probe->virtio, OWN_FEATURE));
	assert_false(pv_virtio_has(&probe->virtio, VIRTIO_F_EVENT_IDX));
	assert_true(probe->virtio.queues[0].state.ready);
	assert_true(probe->virtio.queues[1].state.ready);
	assert_false(probe->virtio.queues[1].event_idx);
}

static void test_status_bits_cannot_be_cleared(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	bring_up(probe);
	const uint8_t full = dev->status;
	for (unsigned value = 1; value < FAILED; value++) {
		pv_virtio_set_status(dev, value);
		assert_int_equal(dev->status, full);
	}
	pv_virtio_set_status(dev, FAILED);
	assert_int_equal(dev->status, full | FAILED);
	assert_int_equal(probe->activations, 1);
	assert_int_equal(probe->resets, 1); /* the one of driver_begin */
}

static void test_reserved_bits_and_needs_reset_cannot_be_set(void **state)
{
	struct probe *probe = *state;
	pv_virtio_set_status(&probe->virtio, 0x10 | 0x20 | NEEDS_RESET | ACK);
	assert_int_equal(probe->virtio.status, ACK);
}

static void test_features_ok_needs_version_1(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	pv_virtio_set_status(dev, ACK | DRIVER);
	accept(dev, OWN_FEATURE);
	pv_virtio_set_status(dev, ACK | DRIVER | FEATURES_OK);
	assert_int_equal(dev->status, ACK | DRIVER);
	/* The driver may think again. */
	accept(dev, VIRTIO_F_VERSION_1);
	pv_virtio_set_status(dev, ACK | DRIVER | FEATURES_OK);
	assert_int_equal(dev->status, ACK | DRIVER | FEATURES_OK);
}

static void test_features_ok_is_refused_for_each_bit_not_offered(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	for (unsigned bit = 0; bit < 64; bit++) {
		const uint64_t feature = UINT64_C(1) << bit;
		pv_virtio_set_status(dev, 0);
		pv_virtio_set_status(dev, ACK | DRIVER);
		accept(dev, VIRTIO_F_VERSION_1 | feature);
		pv_virtio_set_status(dev, ACK | DRIVER | FEATURES_OK);
		assert_int_equal(!!(dev->status & FEATURES_OK), !!(dev->offered & feature));
	}
}

static void test_features_ok_needs_a_driver(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	accept(dev, VIRTIO_F_VERSION_1);
	pv_virtio_set_status(dev, FEATURES_OK);
	assert_int_equal(dev->status, 0);
	pv_virtio_set_status(dev, ACK | FEATURES_OK);
	assert_int_equal(dev->status, ACK);
	/* All at once is as good as step by step. */
	pv_virtio_set_status(dev, ACK | DRIVER | FEATURES_OK);
	assert_int_equal(dev->status, ACK | DRIVER | FEATURES_OK);
}

static void test_features_are_final_after_features_ok(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	driver_begin(dev, OWN_FEATURE);
	accept(dev, UINT64_MAX);
	accept(dev, 0);
	assert_true(dev->accepted == (OWN_FEATURE | VIRTIO_F_VERSION_1));
	pv_virtio_accept_features(dev, 2, UINT32_MAX);
	pv_virtio_accept_features(dev, UINT32_MAX, UINT32_MAX);
	assert_true(dev->accepted == (OWN_FEATURE | VIRTIO_F_VERSION_1));
}

static void test_feature_words_beyond_the_second_are_ignored(void **state)
{
	struct probe *probe = *state;
	pv_virtio_accept_features(&probe->virtio, 2, 1);
	pv_virtio_accept_features(&probe->virtio, 0x80000000u, 1);
	assert_true(probe->virtio.accepted == 0);
}

static void test_driver_ok_without_features_ok_is_ignored(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	pv_virtio_set_status(dev, ACK | DRIVER);
	pv_virtio_set_status(dev, ACK | DRIVER | DRIVER_OK);
	assert_int_equal(dev->status, ACK | DRIVER);
	assert_int_equal(probe->activations, 0);
	assert_false(dev->active);
}

static void test_a_queue_cannot_be_enabled_before_features_ok(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	pv_virtio_set_status(dev, ACK | DRIVER);
	driver_attach(dev, 0, &probe->rings[0]);
	assert_false(dev->queues[0].state.ready);
	assert_int_equal(dev->status, ACK | DRIVER);
}

static void test_queues_that_do_not_exist_are_refused(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	driver_begin(dev, 0);
	const unsigned queues[] = {2, 7, PV_VIRTIO_QUEUES_MAX, 65535, UINT32_MAX};
	for (unsigned i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		struct pv_chain chain;
		assert_false(pv_virtio_set_queue_size(dev, queues[i], 8));
		assert_false(pv_virtio_set_queue_ring(dev, queues[i], 0, 0, 0));
		pv_virtio_enable_queue(dev, queues[i]);
		pv_virtio_kick(dev, queues[i]);
		pv_virtio_notify(dev, queues[i]);
		assert_false(pv_virtio_pop(dev, queues[i], &chain));
	}
	bring_up(probe);
	pv_virtio_kick(dev, 2);
	pv_virtio_kick(dev, UINT32_MAX);
	assert_int_equal(probe->kicks[0] + probe->kicks[1], 0);
	assert_int_equal(dev->status & NEEDS_RESET, 0);
}

static void test_a_queue_left_out_stays_closed_when_the_device_runs(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	driver_begin(dev, 0);
	driver_attach(dev, 0, &probe->rings[0]);
	driver_go(dev);
	assert_true(dev->active);
	driver_attach(dev, 1, &probe->rings[1]);
	assert_false(dev->queues[1].state.ready);
	pv_virtio_kick(dev, 1);
	assert_int_equal(probe->kicks[1], 0);
	pv_virtio_kick(dev, 0);
	assert_int_equal(probe->kicks[0], 1);
}

static void test_kicks_before_driver_ok_are_made_up_for(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	driver_begin(dev, 0);
	driver_attach(dev, 0, &probe->rings[0]);
	driver_attach(dev, 1, &probe->rings[1]);
	ring_desc(&probe->rings[1], 0, DATA_GPA, 4, 0, 0);
	ring_offer(&probe->rings[1], 0);
	pv_virtio_kick(dev, 1);
	assert_int_equal(probe->kicks[1], 0);
	driver_go(dev);
	assert_int_equal(probe->kicks[0], 0);
	assert_int_equal(probe->kicks[1], 1);
}

static void test_a_device_that_cannot_activate_needs_reset(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	probe->activate_result = -EIO;
	driver_begin(dev, 0);
	driver_attach(dev, 0, &probe->rings[0]);
	driver_go(dev);
	assert_int_equal(dev->status, ACK | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET);
	assert_false(dev->active);
	assert_non_null(dev->fault);
	assert_int_equal(probe->config_interrupts, 1);
	probe->activate_result = 0;
	bring_up(probe);
}

static void test_reset_forgets_everything(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	bring_up(probe);
	pv_virtio_config_changed(dev);
	pv_virtio_break(dev, "test");
	pv_virtio_set_status(dev, 0);
	assert_int_equal(dev->status, 0);
	assert_true(dev->accepted == 0);
	assert_null(dev->fault);
	assert_int_equal(probe->resets, 2);
	const struct pv_queue_state empty = {.size = 16};
	assert_memory_equal(&dev->queues[0].state, &empty, sizeof(empty));
	assert_int_equal(dev->queues[1].state.size, 32);
}

static void test_breaking_is_told_once_and_only_to_a_running_driver(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	driver_begin(dev, 0);
	pv_virtio_break(dev, "early");
	assert_int_equal(probe->config_interrupts, 0);
	bring_up(probe);
	pv_virtio_break(dev, "first");
	pv_virtio_break(dev, "second");
	assert_int_equal(probe->config_interrupts, 1);
	assert_string_equal(dev->fault, "first");
	pv_virtio_config_changed(dev);
	assert_int_equal(probe->config_interrupts, 1);
}

static void test_a_changed_configuration_has_a_new_generation(void **state)
{
	struct probe *probe = *state;
	struct pv_virtio *dev = &probe->virtio;
	const uint8_t before = dev->config_generation;
	pv_virtio_config_changed(dev);
	assert_int_not_equal(dev->config_generation, before);
	assert_int_equal(probe->config_interrupts, 0);
	bring_up(probe);
	pv_virtio_config_changed(dev);
	assert_int_equal(probe->config_interrupts, 1);
}

/* --- two threads --- */

/*
 * A driver on its own thread that keeps the rules to the letter: it kicks only when the device
 * asked, sleeps until it is interrupted, and asks for interrupts only while it sleeps. A wake-up
 * that gets lost on either side leaves both asleep, which the deadline of the wait finds out.
 */
struct race {
	struct probe *probe;
	struct pv_rng rng;
	bool event_idx;
	sem_t kicked, interrupted;
	bool stop;
};

#define RACE_REQUESTS 100000u
#define RACE_SIZE     8u

static void race_interrupt(struct pv_virtio *dev, unsigned queue)
{
	struct race *race = dev->transport_ctx;
	sem_post(&race->interrupted);
}

static const struct pv_virtio_transport race_transport = {
    .queue_interrupt = race_interrupt,
    .config_interrupt = count_config_interrupt,
};

static bool wait_for(sem_t *sem)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	int result;
	do
		result = sem_timedwait(sem, &until);
	while (result < 0 && errno == EINTR);
	return result == 0;
}

static void *race_device(void *arg)
{
	struct race *race = arg;
	for (;;) {
		sem_wait(&race->kicked);
		if (__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE))
			return NULL;
		pv_virtio_kick(&race->rng.virtio, 0);
	}
}

/* Says what it wants to hear of; true when there is something already. */
static bool ask_for_interrupt(struct race *race, struct ring *ring)
{
	if (race->event_idx)
		ring_set_used_event(ring, ring->used_index);
	else
		ring_set_avail_flags(ring, 0);
	__sync_synchronize();
	return ring_used_idx(ring) != ring->used_index;
}

static void run_race(struct probe *probe, bool event_idx)
{
	struct race race = {.probe = probe, .event_idx = event_idx};
	const uint64_t seed = 3;
	pv_rng_init(&race.rng, &probe->ram.mem, &seed);
	race.rng.virtio.transport = &race_transport;
	race.rng.virtio.transport_ctx = &race;
	struct ring *ring = &probe->rings[0];
	ring_init(ring, &probe->ram, 0, RACE_SIZE);
	sem_init(&race.kicked, 0, 0);
	sem_init(&race.interrupted, 0, 0);
	driver_begin(&race.rng.virtio, event_idx ? VIRTIO_F_EVENT_IDX : 0);
	driver_attach(&race.rng.virtio, 0, ring);
	driver_go(&race.rng.virtio);
	pthread_t device;
	assert_int_equal(pthread_create(&device, NULL, race_device, &race), 0);

	for (unsigned i = 0; i < RACE_SIZE; i++)
		ring_desc(ring, i, DATA_GPA + 64 * i, 8, VIRTQ_DESC_F_WRITE, 0);
	unsigned offered = 0, done = 0, outstanding = 0;
	uint16_t free_heads[RACE_SIZE];
	for (unsigned i = 0; i < RACE_SIZE; i++)
		free_heads[i] = i;
	bool alive = true;
	while (alive && done < RACE_REQUESTS) {
		/* Batches of changing size, so that every fill level meets every moment. */
		unsigned batch = 1 + offered % RACE_SIZE;
		while (batch-- && outstanding < RACE_SIZE && offered < RACE_REQUESTS) {
			ring_offer(ring, free_heads[RACE_SIZE - 1 - outstanding]);
			outstanding++;
			offered++;
		}
		if (ring_must_kick(ring, event_idx))
			sem_post(&race.kicked);
		uint32_t id, len;
		while (ring_take(ring, &id, &len)) {
			assert_true(id < RACE_SIZE && len == 8);
			outstanding--;
			free_heads[RACE_SIZE - 1 - outstanding] = id;
			done++;
		}
		if (outstanding == RACE_SIZE || (offered == RACE_REQUESTS && outstanding)) {
			while (alive && !ask_for_interrupt(&race, ring))
				alive = wait_for(&race.interrupted);
			if (!event_idx)
				ring_set_avail_flags(ring, VIRTQ_AVAIL_F_NO_INTERRUPT);
		}
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	sem_post(&race.kicked);
	pthread_join(device, NULL);
	sem_destroy(&race.kicked);
	sem_destroy(&race.interrupted);
	assert_int_equal(done, RACE_REQUESTS);
	assert_null(race.rng.virtio.fault);
}

static void test_no_wake_up_is_lost_between_driver_and_device(void **state)
{
	run_race(*state, false);
}

static void test_no_wake_up_is_lost_with_event_index(void **state)
{
	run_race(*state, true);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_every_device_offers_the_ring_features),
	    TEST(test_a_driver_brings_the_device_up),
	    TEST(test_status_bits_cannot_be_cleared),
	    TEST(test_reserved_bits_and_needs_reset_cannot_be_set),
	    TEST(test_features_ok_needs_version_1),
	    TEST(test_features_ok_is_refused_for_each_bit_not_offered),
	    TEST(test_features_ok_needs_a_driver),
	    TEST(test_features_are_final_after_features_ok),
	    TEST(test_feature_words_beyond_the_second_are_ignored),
	    TEST(test_driver_ok_without_features_ok_is_ignored),
	    TEST(test_a_queue_cannot_be_enabled_before_features_ok),
	    TEST(test_queues_that_do_not_exist_are_refused),
	    TEST(test_a_queue_left_out_stays_closed_when_the_device_runs),
	    TEST(test_kicks_before_driver_ok_are_made_up_for),
	    TEST(test_a_device_that_cannot_activate_needs_reset),
	    TEST(test_reset_forgets_everything),
	    TEST(test_breaking_is_told_once_and_only_to_a_running_driver),
	    TEST(test_a_changed_configuration_has_a_new_generation),
	    TEST(test_no_wake_up_is_lost_between_driver_and_device),
	    TEST(test_no_wake_up_is_lost_with_event_index),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
