/*
 * The part of a virtio device that is the same for all of them: feature negotiation, the status
 * state machine, queue configuration, and what happens when the driver breaks the contract.
 *
 * The transport calls in from a vCPU thread that dispatches an exit, or from the loop thread that
 * answers a doorbell; both hold the loop lock. Whatever a driver writes, the rules are kept here
 * and not in the transports: features are final at FEATURES_OK, rings at queue_enable, and nothing
 * but a reset leads back (CVE-2026-5747 was a queue size that could change after activation).
 *
 * virtio 1.2, sections 2.1 to 2.5 and 3.1.
 */
#include "virtio/device.h"

#include <stddef.h>

/* Status bits that a driver may set. */
#define DRIVER_BITS                                                                   \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | \
	    VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

static void reset_queues(struct pv_virtio *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		pv_queue_reset(&dev->queues[i], dev->queue_size[i]);
}

void pv_virtio_init(struct pv_virtio *dev)
{
	if (dev->queue_count > PV_VIRTIO_QUEUES_MAX)
		dev->queue_count = PV_VIRTIO_QUEUES_MAX;
	dev->offered |= VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;
	reset_queues(dev);
}

/* Back to the state after pv_virtio_init. */
static void reset(struct pv_virtio *dev)
{
	/* First of all the device becomes deaf: its `reset` cannot reach the driver's memory. */
	dev->active = false;
	reset_queues(dev);
	dev->status = 0;
	dev->accepted = 0;
	dev->config_generation = 0;
	dev->fault = NULL;
	if (dev->ops->reset)
		dev->ops->reset(dev);
}

/* 2.2.2 and 6.3: the driver may accept what was offered, and must accept VERSION_1. */
static bool features_fit(const struct pv_virtio *dev)
{
	return !(dev->accepted & ~dev->offered) && (dev->accepted & VIRTIO_F_VERSION_1);
}

static void activate(struct pv_virtio *dev)
{
	dev->active = true;
	if (dev->ops->activate && dev->ops->activate(dev) < 0) {
		pv_virtio_break(dev, "the device cannot be activated");
		return;
	}
	/*
	 * Drivers exist that add buffers and kick before DRIVER_OK. The early kick was dropped, as
	 * it must be; without another look the device would wait for one that never comes.
	 */
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (pv_queue_waiting(&dev->queues[i]))
			pv_virtio_kick(dev, i);
}

void pv_virtio_set_status(struct pv_virtio *dev, uint8_t status)
{
	if (status == 0) {
		reset(dev);
		return;
	}
	/* Bits stay until the reset (2.1.1); those that the driver may not set are ignored. */
	const uint8_t added = status & DRIVER_BITS & ~dev->status;
	const uint8_t begun = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
	dev->status |= added & (begun | VIRTIO_STATUS_FAILED);
	if ((added & VIRTIO_STATUS_FEATURES_OK) && (dev->status & begun) == begun &&
	    features_fit(dev))
		dev->status |= VIRTIO_STATUS_FEATURES_OK;
	if ((added & VIRTIO_STATUS_DRIVER_OK) && (dev->status & VIRTIO_STATUS_FEATURES_OK) &&
	    !(dev->status & VIRTIO_STATUS_NEEDS_RESET)) {
		dev->status |= VIRTIO_STATUS_DRIVER_OK;
		activate(dev);
	}
}

void pv_virtio_accept_features(struct pv_virtio *dev, unsigned index, uint32_t value)
{
	if (index > 1 || (dev->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	const unsigned shift = 32 * index;
	dev->accepted &= ~((uint64_t)UINT32_MAX << shift);
	dev->accepted |= (uint64_t)value << shift;
}

/* True while the driver may still configure `queue`. */
static bool is_open(const struct pv_virtio *dev, unsigned queue)
{
	return queue < dev->queue_count && !dev->queues[queue].state.ready &&
	       !(dev->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET));
}

bool pv_virtio_set_queue_size(struct pv_virtio *dev, unsigned queue, uint16_t size)
{
	if (!is_open(dev, queue))
		return false;
	/* A wrong size is found when the queue is enabled: quietly keeping the old one would make
	 * driver and device disagree about where the rings end. */
	dev->queues[queue].state.size = size;
	return true;
}

bool pv_virtio_set_queue_ring(
    struct pv_virtio *dev, unsigned queue, uint64_t desc, uint64_t avail, uint64_t used)
{
	if (!is_open(dev, queue))
		return false;
	struct pv_queue_state *state = &dev->queues[queue].state;
	state->desc = desc;
	state->avail = avail;
	state->used = used;
	return true;
}

void pv_virtio_enable_queue(struct pv_virtio *dev, unsigned queue)
{
	/* Before FEATURES_OK it is not known which ring format was agreed on. */
	if (!is_open(dev, queue) || !(dev->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	struct pv_queue *it = &dev->queues[queue];
	if (it->state.size > dev->queue_size[queue]) {
		pv_virtio_break(dev, "queue size exceeds what the device offers");
		return;
	}
	if (pv_queue_enable(it, dev->mem, pv_virtio_has(dev, VIRTIO_F_EVENT_IDX),
		pv_virtio_has(dev, VIRTIO_F_INDIRECT_DESC)) < 0)
		pv_virtio_break(dev, it->broken);
}

void pv_virtio_kick(struct pv_virtio *dev, unsigned queue)
{
	if (!dev->active || queue >= dev->queue_count)
		return;
	struct pv_queue *it = &dev->queues[queue];
	if (!it->state.ready || it->broken)
		return;
	pv_queue_batch(it);
	dev->ops->kick(dev, queue);
}

bool pv_virtio_has(const struct pv_virtio *dev, uint64_t feature)
{
	return (dev->accepted & feature) == feature;
}

void pv_virtio_notify(struct pv_virtio *dev, unsigned queue)
{
	if (!dev->active || queue >= dev->queue_count)
		return;
	if (pv_queue_should_interrupt(&dev->queues[queue]) && dev->transport)
		dev->transport->queue_interrupt(dev, queue);
}

void pv_virtio_kick_later(struct pv_virtio *dev, unsigned queue)
{
	if (dev->active && dev->transport && dev->transport->kick_later)
		dev->transport->kick_later(dev, queue);
}

void pv_virtio_config_changed(struct pv_virtio *dev)
{
	dev->config_generation++;
	if (dev->active && dev->transport)
		dev->transport->config_interrupt(dev);
}

void pv_virtio_break(struct pv_virtio *dev, const char *why)
{
	if (dev->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	dev->status |= VIRTIO_STATUS_NEEDS_RESET;
	dev->fault = why;
	dev->active = false;
	/* 2.1.2: told to a driver that has said DRIVER_OK; others look at the status themselves. */
	if ((dev->status & VIRTIO_STATUS_DRIVER_OK) && dev->transport)
		dev->transport->config_interrupt(dev);
}

bool pv_virtio_pop(struct pv_virtio *dev, unsigned queue, struct pv_chain *chain)
{
	if (!dev->active || queue >= dev->queue_count)
		return false;
	const int result = pv_queue_pop(&dev->queues[queue], chain);
	if (result < 0)
		pv_virtio_break(dev, dev->queues[queue].broken);
	return result > 0;
}
