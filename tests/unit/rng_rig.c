/* See rng_rig.h. */
#include "tests/unit/rng_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void count_queue_interrupt(struct pv_virtio *dev, unsigned queue)
{
	((struct rng_rig *)dev->transport_ctx)->queue_interrupts++;
}

static void count_config_interrupt(struct pv_virtio *dev)
{
	((struct rng_rig *)dev->transport_ctx)->config_interrupts++;
}

static const struct pv_virtio_transport transport = {
    .queue_interrupt = count_queue_interrupt,
    .config_interrupt = count_config_interrupt,
};

int rng_rig_set_up(void **state)
{
	struct rng_rig *rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	ram_init(&rig->ram);
	const uint64_t seed = 1;
	pv_rng_init(&rig->rng, &rig->ram.mem, &seed);
	rig->rng.virtio.transport = &transport;
	rig->rng.virtio.transport_ctx = rig;
	*state = rig;
	return 0;
}

int rng_rig_tear_down(void **state)
{
	struct rng_rig *rig = *state;
	ram_finish(&rig->ram);
	free(rig);
	return 0;
}

void rng_rig_start(struct rng_rig *rig, uint64_t features)
{
	ring_init(&rig->ring, &rig->ram, 0, RNG_RIG_SIZE);
	driver_begin(&rig->rng.virtio, features);
	driver_attach(&rig->rng.virtio, 0, &rig->ring);
	driver_go(&rig->rng.virtio);
	assert_true(rig->rng.virtio.active);
}

void rng_rig_expect_service(struct rng_rig *rig)
{
	struct ring *ring = &rig->ring;
	const unsigned before = rig->queue_interrupts;
	ring_desc(ring, 0, DATA_GPA, 32, VIRTQ_DESC_F_WRITE, 0);
	ring_offer(ring, 0);
	pv_virtio_kick(&rig->rng.virtio, 0);
	uint32_t id, len;
	assert_true(ring_take(ring, &id, &len));
	assert_int_equal(id, 0);
	assert_int_equal(len, 32);
	assert_int_equal(rig->queue_interrupts, before + 1);
}

void rng_rig_expect_broken(struct rng_rig *rig, const char *why)
{
	struct pv_virtio *dev = &rig->rng.virtio;
	assert_true(dev->status & VIRTIO_STATUS_NEEDS_RESET);
	assert_false(dev->active);
	assert_non_null(dev->fault);
	assert_string_equal(dev->fault, why);
	assert_int_equal(rig->config_interrupts, dev->status & VIRTIO_STATUS_DRIVER_OK ? 1 : 0);

	const uint8_t status = dev->status;
	const unsigned interrupts = rig->queue_interrupts;
	const uint16_t used = ring_used_idx(&rig->ring);
	pv_virtio_kick(dev, 0);
	pv_virtio_notify(dev, 0);
	pv_virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				      VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	assert_int_equal(dev->status, status);
	assert_false(dev->active);
	struct pv_chain chain;
	assert_false(pv_virtio_pop(dev, 0, &chain));
	assert_int_equal(rig->queue_interrupts, interrupts);
	assert_int_equal(ring_used_idx(&rig->ring), used);

	rng_rig_start(rig, VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
	assert_null(dev->fault);
	rng_rig_expect_service(rig);
	rng_rig_start(rig, 0);
	rng_rig_expect_service(rig);
}
