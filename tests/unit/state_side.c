/* See state_side.h. */
#include "tests/unit/state_side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

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

void side_connect(struct pv_virtio *dev, struct side *side)
{
	dev->transport = &transport;
	dev->transport_ctx = side;
}

void side_copy(struct side *to, const struct side *from)
{
	memcpy(to->ram.low, from->ram.low, LOW_SIZE);
	memcpy(to->ram.high, from->ram.high, HIGH_SIZE);
	for (unsigned i = 0; i < 2; i++) {
		to->rings[i] = from->rings[i];
		to->rings[i].ram = &to->ram;
	}
}

bool side_same_memory(const struct side *a, const struct side *b)
{
	return !memcmp(a->ram.low, b->ram.low, LOW_SIZE) &&
	       !memcmp(a->ram.high, b->ram.high, HIGH_SIZE);
}

void side_bring_up(struct pv_virtio *dev, struct side *side, uint64_t features)
{
	driver_begin(dev, features);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		ring_init(&side->rings[i], &side->ram, i, SIDE_RING_SIZE);
		driver_attach(dev, i, &side->rings[i]);
	}
	driver_go(dev);
	assert_true(dev->active);
}
