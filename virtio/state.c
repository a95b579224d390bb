/*
 * Saving and loading the part that all virtio devices have, and the signals after a load.
 *
 * What is loaded is what a driver could have brought about by itself, or it is refused: status and
 * features by the rules of virtio/device.c, rings by pv_queue_enable. A driver may have written
 * nonsense that is only looked at later (features before FEATURES_OK, sizes and addresses of a
 * queue before it is enabled), so there nonsense is accepted too. Positions in the rings are taken
 * as they are: virtio/queue.c survives any. Loading translates addresses, but reads and writes no
 * guest memory, and looks at no address of a queue that is not enabled.
 *
 * Device models call save and load from theirs, the machine calls resume; under the loop lock, with
 * vCPUs stopped. virtio 1.2, sections 2.1, 2.2 and 2.7.
 */
#include "virtio/state.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "virtio/device.h"

#define STATUS_BITS                                                                   \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | \
	    VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED)

static void save_queue(const struct pv_queue *queue, struct pv_pack *pack)
{
	const struct pv_queue_state *state = &queue->state;
	pv_pack_map(pack, 11);
	pv_pack_str(pack, "size");
	pv_pack_uint(pack, state->size);
	pv_pack_str(pack, "ready");
	pv_pack_bool(pack, state->ready);
	pv_pack_str(pack, "desc");
	pv_pack_uint(pack, state->desc);
	pv_pack_str(pack, "avail");
	pv_pack_uint(pack, state->avail);
	pv_pack_str(pack, "used");
	pv_pack_uint(pack, state->used);
	pv_pack_str(pack, "next_avail");
	pv_pack_uint(pack, state->next_avail);
	pv_pack_str(pack, "next_used");
	pv_pack_uint(pack, state->next_used);
	pv_pack_str(pack, "signalled_used");
	pv_pack_uint(pack, state->signalled_used);
	pv_pack_str(pack, "signalled_valid");
	pv_pack_bool(pack, state->signalled_valid);
	pv_pack_str(pack, "quiet");
	pv_pack_bool(pack, queue->quiet);
	pv_pack_str(pack, "broken");
	pv_pack_bool(pack, queue->broken != NULL);
}

void pv_virtio_save(const struct pv_virtio *dev, struct pv_pack *pack)
{
	pv_pack_map(pack, 7);
	pv_pack_str(pack, "id");
	pv_pack_uint(pack, dev->id);
	pv_pack_str(pack, "accepted");
	pv_pack_uint(pack, dev->accepted);
	pv_pack_str(pack, "status");
	pv_pack_uint(pack, dev->status);
	pv_pack_str(pack, "generation");
	pv_pack_uint(pack, dev->config_generation);
	pv_pack_str(pack, "active");
	pv_pack_bool(pack, dev->active);
	pv_pack_str(pack, "fault");
	pv_pack_str(pack, dev->fault);
	pv_pack_str(pack, "queues");
	pv_pack_array(pack, dev->queue_count);
	for (unsigned i = 0; i < dev->queue_count; i++)
		save_queue(&dev->queues[i], pack);
}

/* A queue that is not ready has not moved since the reset. */
static bool has_moved(const struct pv_queue *queue)
{
	const struct pv_queue_state *state = &queue->state;
	return state->next_avail || state->next_used || state->signalled_used ||
	       state->signalled_valid || queue->quiet;
}

/* Reads a queue of `dev`, whose features and status are the loaded ones, into `queue`. */
static int load_queue(const struct pv_virtio *dev, unsigned index, const struct pv_val *val,
    struct pv_queue *queue, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "a queue", err);
	struct pv_queue_state *state = &queue->state;
	*queue = (struct pv_queue){0};
	state->size = pv_fields_uint(&fields, "size", UINT16_MAX);
	const bool ready = pv_fields_bool(&fields, "ready");
	state->desc = pv_fields_uint(&fields, "desc", UINT64_MAX);
	state->avail = pv_fields_uint(&fields, "avail", UINT64_MAX);
	state->used = pv_fields_uint(&fields, "used", UINT64_MAX);
	state->next_avail = pv_fields_uint(&fields, "next_avail", UINT16_MAX);
	state->next_used = pv_fields_uint(&fields, "next_used", UINT16_MAX);
	state->signalled_used = pv_fields_uint(&fields, "signalled_used", UINT16_MAX);
	state->signalled_valid = pv_fields_bool(&fields, "signalled_valid");
	const bool quiet = queue->quiet = pv_fields_bool(&fields, "quiet");
	const bool broken = pv_fields_bool(&fields, "broken");

	if (fields.status == 0 && ready) {
		if (!(dev->status & VIRTIO_STATUS_FEATURES_OK))
			pv_fields_fail(&fields, "it is ready before features were agreed on");
		else if (state->size > dev->queue_size[index])
			pv_fields_fail(&fields, "size %u exceeds the %u that the device offers",
			    state->size, dev->queue_size[index]);
		else if (pv_queue_enable(queue, dev->mem, pv_virtio_has(dev, VIRTIO_F_EVENT_IDX),
			     pv_virtio_has(dev, VIRTIO_F_INDIRECT_DESC)) < 0)
			pv_fields_fail(&fields, "%s", queue->broken);
		queue->quiet = quiet;
	} else if (has_moved(queue)) {
		pv_fields_fail(&fields, "it has moved without being ready");
	}
	if (broken)
		queue->broken = "the driver had broken the ring before the state was saved";
	return pv_fields_end(&fields);
}

/* The reason of a NEEDS_RESET: text that may be shown to a person, or nil for none. */
static void load_fault(struct pv_fields *fields, struct pv_virtio *dev)
{
	const struct pv_val *val = pv_fields_value(fields, "fault");
	const char *text;
	size_t len;
	if (!val || pv_val_type(val) == PV_VAL_NIL)
		return;
	if (!pv_val_str(val, &text, &len) || len == 0 || len >= sizeof(dev->fault_text)) {
		pv_fields_fail(fields, "field `fault` is not a short text");
		return;
	}
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			pv_fields_fail(fields, "field `fault` is not plain text");
	memcpy(dev->fault_text, text, len);
	dev->fault_text[len] = 0;
	dev->fault = dev->fault_text;
}

/* The combinations that virtio/device.c can get into. */
static const char *check_status(const struct pv_virtio *dev)
{
	const uint8_t status = dev->status;
	const uint8_t begun = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
	const bool needs_reset = status & VIRTIO_STATUS_NEEDS_RESET;
	if (status & ~STATUS_BITS)
		return "the status has bits that do not exist";
	if ((status & VIRTIO_STATUS_FEATURES_OK) && (status & begun) != begun)
		return "features are agreed on without a driver";
	if ((status & VIRTIO_STATUS_FEATURES_OK) && (dev->accepted & ~dev->offered))
		return "the driver accepted features that this device does not offer";
	if ((status & VIRTIO_STATUS_FEATURES_OK) && !(dev->accepted & VIRTIO_F_VERSION_1))
		return "the driver did not accept VIRTIO_F_VERSION_1";
	if ((status & VIRTIO_STATUS_DRIVER_OK) && !(status & VIRTIO_STATUS_FEATURES_OK))
		return "the driver runs without having agreed on features";
	if (dev->active != ((status & VIRTIO_STATUS_DRIVER_OK) && !needs_reset))
		return "it is active when its status says no, or the other way round";
	if (needs_reset != (dev->fault != NULL))
		return "a reason for NEEDS_RESET is there without it, or the other way round";
	return NULL;
}

int pv_virtio_load(struct pv_virtio *dev, const struct pv_val *val, struct pv_err *err)
{
	if (dev->status)
		return pv_err_set(err, PV_ERR_STATE, EBUSY,
		    "virtio device %u is in use; reset it before its state is loaded", dev->id);
	struct pv_virtio next = *dev;
	struct pv_fields fields = pv_fields_begin(val, "a virtio device", err);
	const uint64_t id = pv_fields_uint(&fields, "id", UINT16_MAX);
	if (id != dev->id)
		pv_fields_fail(
		    &fields, "it has the id %u, and this device %u", (unsigned)id, dev->id);
	next.accepted = pv_fields_uint(&fields, "accepted", UINT64_MAX);
	next.status = pv_fields_uint(&fields, "status", UINT8_MAX);
	next.config_generation = pv_fields_uint(&fields, "generation", UINT8_MAX);
	next.active = pv_fields_bool(&fields, "active");
	next.fault = NULL;
	load_fault(&fields, &next);
	const struct pv_val *queues =
	    pv_fields_array(&fields, "queues", dev->queue_count, dev->queue_count);
	const char *why = check_status(&next);
	if (why)
		pv_fields_fail(&fields, "%s", why);
	int status = pv_fields_end(&fields);
	for (unsigned i = 0; status == 0 && i < dev->queue_count; i++) {
		status = load_queue(&next, i, pv_val_at(queues, i), &next.queues[i], err);
		if (status < 0)
			pv_err_prefix(err, "virtio device %u, queue %u", dev->id, i);
	}
	if (status < 0)
		return status;
	*dev = next;
	if (next.fault)
		dev->fault = dev->fault_text;
	return 0;
}

void pv_virtio_resume(struct pv_virtio *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		pv_virtio_kick(dev, i);
	/* Not by pv_virtio_notify: the driver may have asked for the interrupt that was lost. */
	for (unsigned i = 0; dev->active && dev->transport && i < dev->queue_count; i++)
		if (dev->queues[i].state.ready)
			dev->transport->queue_interrupt(dev, i);
	if ((dev->status & VIRTIO_STATUS_NEEDS_RESET) && (dev->status & VIRTIO_STATUS_DRIVER_OK) &&
	    dev->transport)
		dev->transport->config_interrupt(dev);
}
