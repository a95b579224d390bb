/*
 * The common configuration structure: where the driver negotiates features, sets the status and
 * describes its queues. A table gives each field its place and its two functions.
 *
 * Reads of any width and place are answered from the fields that they touch. Writes count only when
 * they cover one field exactly, or half or the whole of an address (4.1.3.1 asks drivers for that);
 * others are ignored. Which values are acceptable is for virtio/device.c to say.
 *
 * virtio 1.2, section 4.1.4.3.
 */
#include <stddef.h>
#include <string.h>

#include "virtio/pci_function.h"

/* The selected queue, or NULL: then its fields read as 0, "not available" (4.1.4.3.1). */
static struct pv_queue *selected(const struct pv_virtio_pci *pci)
{
	const uint16_t queue = pci->state.queue_select;
	return queue < pci->dev->queue_count ? &pci->dev->queues[queue] : NULL;
}

static uint64_t get_device_feature_select(const struct pv_virtio_pci *pci)
{
	return pci->state.device_feature_select;
}

static void set_device_feature_select(struct pv_virtio_pci *pci, uint64_t value)
{
	pci->state.device_feature_select = value;
}

static uint64_t get_device_feature(const struct pv_virtio_pci *pci)
{
	const uint32_t select = pci->state.device_feature_select;
	return select > 1 ? 0 : (uint32_t)(pci->dev->offered >> (32 * select));
}

static uint64_t get_driver_feature_select(const struct pv_virtio_pci *pci)
{
	return pci->state.driver_feature_select;
}

static void set_driver_feature_select(struct pv_virtio_pci *pci, uint64_t value)
{
	pci->state.driver_feature_select = value;
}

static uint64_t get_driver_feature(const struct pv_virtio_pci *pci)
{
	const uint32_t select = pci->state.driver_feature_select;
	return select > 1 ? 0 : (uint32_t)(pci->dev->accepted >> (32 * select));
}

static void set_driver_feature(struct pv_virtio_pci *pci, uint64_t value)
{
	pv_virtio_accept_features(pci->dev, pci->state.driver_feature_select, value);
}

/* A vector that the table does not have reads back as none (4.1.5.1.2.1). */
static uint16_t checked_vector(const struct pv_virtio_pci *pci, uint64_t vector)
{
	return vector < pv_pci_msix_count(pci) ? vector : VIRTIO_MSI_NO_VECTOR;
}

static uint64_t get_config_vector(const struct pv_virtio_pci *pci)
{
	return pci->state.config_vector;
}

static void set_config_vector(struct pv_virtio_pci *pci, uint64_t value)
{
	pci->state.config_vector = checked_vector(pci, value);
}

static uint64_t get_num_queues(const struct pv_virtio_pci *pci)
{
	return pci->dev->queue_count;
}

static uint64_t get_status(const struct pv_virtio_pci *pci)
{
	return pci->dev->status;
}

static void set_status(struct pv_virtio_pci *pci, uint64_t value)
{
	pv_virtio_pci_set_status(pci, value);
}

static uint64_t get_config_generation(const struct pv_virtio_pci *pci)
{
	return pci->dev->config_generation;
}

static uint64_t get_queue_select(const struct pv_virtio_pci *pci)
{
	return pci->state.queue_select;
}

static void set_queue_select(struct pv_virtio_pci *pci, uint64_t value)
{
	pci->state.queue_select = value;
}

static uint64_t get_queue_size(const struct pv_virtio_pci *pci)
{
	const struct pv_queue *queue = selected(pci);
	return queue ? queue->state.size : 0;
}

static void set_queue_size(struct pv_virtio_pci *pci, uint64_t value)
{
	pv_virtio_set_queue_size(pci->dev, pci->state.queue_select, value);
}

static uint64_t get_queue_vector(const struct pv_virtio_pci *pci)
{
	return selected(pci) ? pci->state.queue_vector[pci->state.queue_select]
			     : VIRTIO_MSI_NO_VECTOR;
}

static void set_queue_vector(struct pv_virtio_pci *pci, uint64_t value)
{
	if (selected(pci))
		pci->state.queue_vector[pci->state.queue_select] = checked_vector(pci, value);
}

static uint64_t get_queue_enable(const struct pv_virtio_pci *pci)
{
	const struct pv_queue *queue = selected(pci);
	return queue ? queue->state.ready : 0;
}

static void set_queue_enable(struct pv_virtio_pci *pci, uint64_t value)
{
	/* Nothing but a reset disables a queue; drivers must not write 0 (4.1.4.3.2). */
	if (value == 1)
		pv_virtio_enable_queue(pci->dev, pci->state.queue_select);
}

static uint64_t get_queue_notify_off(const struct pv_virtio_pci *pci)
{
	return selected(pci) ? pci->state.queue_select : 0;
}

static uint64_t get_queue_desc(const struct pv_virtio_pci *pci)
{
	const struct pv_queue *queue = selected(pci);
	return queue ? queue->state.desc : 0;
}

static void set_queue_desc(struct pv_virtio_pci *pci, uint64_t value)
{
	const struct pv_queue *queue = selected(pci);
	if (queue)
		pv_virtio_set_queue_ring(pci->dev, pci->state.queue_select, value,
		    queue->state.avail, queue->state.used);
}

static uint64_t get_queue_driver(const struct pv_virtio_pci *pci)
{
	const struct pv_queue *queue = selected(pci);
	return queue ? queue->state.avail : 0;
}

static void set_queue_driver(struct pv_virtio_pci *pci, uint64_t value)
{
	const struct pv_queue *queue = selected(pci);
	if (queue)
		pv_virtio_set_queue_ring(
		    pci->dev, pci->state.queue_select, queue->state.desc, value, queue->state.used);
}

static uint64_t get_queue_device(const struct pv_virtio_pci *pci)
{
	const struct pv_queue *queue = selected(pci);
	return queue ? queue->state.used : 0;
}

static void set_queue_device(struct pv_virtio_pci *pci, uint64_t value)
{
	const struct pv_queue *queue = selected(pci);
	if (queue)
		pv_virtio_set_queue_ring(pci->dev, pci->state.queue_select, queue->state.desc,
		    queue->state.avail, value);
}

static const struct field {
	uint8_t offset;
	uint8_t size;
	uint64_t (*get)(const struct pv_virtio_pci *pci);
	void (*set)(struct pv_virtio_pci *pci, uint64_t value); /* NULL = read-only */
} fields[] = {
    {0x00, 4, get_device_feature_select, set_device_feature_select},
    {0x04, 4, get_device_feature,	  NULL		      },
    {0x08, 4, get_driver_feature_select, set_driver_feature_select},
    {0x0c, 4, get_driver_feature,	  set_driver_feature	    },
    {0x10, 2, get_config_vector,	 set_config_vector	  },
    {0x12, 2, get_num_queues,	      NULL			  },
    {0x14, 1, get_status,		  set_status		    },
    {0x15, 1, get_config_generation,     NULL			 },
    {0x16, 2, get_queue_select,		set_queue_select		},
    {0x18, 2, get_queue_size,	      set_queue_size	    },
    {0x1a, 2, get_queue_vector,		set_queue_vector		},
    {0x1c, 2, get_queue_enable,		set_queue_enable		},
    {0x1e, 2, get_queue_notify_off,	    NULL			},
    {0x20, 8, get_queue_desc,	      set_queue_desc	    },
    {0x28, 8, get_queue_driver,		set_queue_driver		},
    {0x30, 8, get_queue_device,		set_queue_device		},
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

void pv_pci_common_read(struct pv_virtio_pci *pci, uint64_t offset, void *data, unsigned len)
{
	uint8_t *out = data;
	memset(out, 0, len);
	for (unsigned i = 0; i < FIELDS; i++) {
		const struct field *field = &fields[i];
		if (field->offset >= offset + len || offset >= field->offset + field->size)
			continue;
		const uint64_t value = field->get(pci);
		for (unsigned byte = 0; byte < field->size; byte++) {
			const uint64_t at = field->offset + byte;
			if (at >= offset && at < offset + len)
				out[at - offset] = value >> (8 * byte);
		}
	}
}

/* Writes half of an 8-byte field, 32 bits at a time as Linux does it. */
static void set_half(
    struct pv_virtio_pci *pci, const struct field *field, bool high, uint32_t value)
{
	const uint64_t old = field->get(pci);
	field->set(pci, high ? (old & UINT32_MAX) | (uint64_t)value << 32
			     : (old & ~(uint64_t)UINT32_MAX) | value);
}

void pv_pci_common_write(struct pv_virtio_pci *pci, uint64_t offset, const void *data, unsigned len)
{
	uint64_t value = 0;
	memcpy(&value, data, len);
	for (unsigned i = 0; i < FIELDS; i++) {
		const struct field *field = &fields[i];
		if (!field->set)
			continue;
		if (field->size == 8 && len == 4 &&
		    (offset == field->offset || offset == field->offset + 4u))
			set_half(pci, field, offset != field->offset, value);
		else if (offset == field->offset && len == field->size)
			field->set(pci, value);
	}
}
