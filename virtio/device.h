/*
 * A virtio device without its transport (virtio 1.2, sections 2 and 4): identity, feature negotiation, status, configuration space and queues.
 * A device model embeds `struct pv_virtio` as its first member and fills in `ops`; a transport (virtio/pci.h) drives it by the pv_virtio_*
 * functions and implements the way back (`struct pv_virtio_transport`). Everything runs under the loop lock.
 */
#ifndef PV_VIRTIO_DEVICE_H
#define PV_VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/queue.h"

struct pv_virtio;

#define PV_VIRTIO_QUEUES_MAX 8
/* Longest text of a fault in a snapshot, with its NUL; the constants in the code are shorter. */
#define PV_VIRTIO_FAULT_MAX 128

/* Device status bits (2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER	  2
#define VIRTIO_STATUS_DRIVER_OK	  4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED	  128

/* Feature bits of every device (6). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

/* Device ids (5). */
#define VIRTIO_ID_NET	  1
#define VIRTIO_ID_BLOCK	  2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG	  4
#define VIRTIO_ID_VSOCK	  19

struct pv_virtio_ops {
	/* Reads device configuration; bytes behind the end read as 0. */
	void (*config_read)(struct pv_virtio *dev, unsigned offset, void *data, unsigned len);
	/* Writes device configuration; NULL when nothing is writable. */
	void (*config_write)(struct pv_virtio *dev, unsigned offset, const void *data, unsigned len);
	/* DRIVER_OK was set: features are final, ready queues are enabled. Returns 0, or -errno for NEEDS_RESET. */
	int (*activate)(struct pv_virtio *dev);
	/* The driver reset the device: forget all its state. Buffers of the driver are no longer valid when this returns. */
	void (*reset)(struct pv_virtio *dev);
	/* The driver added buffers to `queue` (which is ready and the device is active). */
	void (*kick)(struct pv_virtio *dev, unsigned queue);
};

struct pv_virtio_transport {
	/* Delivers the interrupt of a queue. */
	void (*queue_interrupt)(struct pv_virtio *dev, unsigned queue);
	/* Delivers a configuration-change interrupt. */
	void (*config_interrupt)(struct pv_virtio *dev);
	/* Has the loop call pv_virtio_kick soon. NULL: there is no loop. */
	void (*kick_later)(struct pv_virtio *dev, unsigned queue);
};

struct pv_virtio {
	const struct pv_virtio_ops *ops;
	uint16_t id;
	unsigned queue_count;
	uint16_t queue_size[PV_VIRTIO_QUEUES_MAX]; /* largest size offered, a power of two */
	/* MSI-X vectors that a PCI function has; 0 = one for each queue and one for changes of the configuration. With fewer, drivers
	 * share them (4.1.5.1.2.1), and interrupts of several queues become one. */
	uint16_t vectors;
	uint64_t offered; /* features; INDIRECT_DESC, EVENT_IDX and VERSION_1 are added by pv_virtio_init */
	const struct pv_gmem *mem;

	uint64_t accepted;
	uint8_t status;
	uint8_t config_generation;
	bool active; /* DRIVER_OK was reached and nothing went wrong since */
	struct pv_queue queues[PV_VIRTIO_QUEUES_MAX];

	const struct pv_virtio_transport *transport; /* set by the transport */
	void *transport_ctx;
	const char *fault; /* why NEEDS_RESET is set, or NULL */
	char fault_text[PV_VIRTIO_FAULT_MAX]; /* what `fault` points to after a load */
};

/* Completes a device whose id, ops, queue_count, queue_size, offered and mem are set. */
void pv_virtio_init(struct pv_virtio *dev);

/* --- what the transport calls --- */

/* A write to the status register, with all rules of 2.1 and 3.1.1; 0 resets. */
void pv_virtio_set_status(struct pv_virtio *dev, uint8_t status);

/* The driver's feature word `index` (0 or 1). Ignored after FEATURES_OK. */
void pv_virtio_accept_features(struct pv_virtio *dev, unsigned index, uint32_t value);

/* Changes of queue configuration are refused (false) once the queue is ready or the device is active. */
bool pv_virtio_set_queue_size(struct pv_virtio *dev, unsigned queue, uint16_t size);
bool pv_virtio_set_queue_ring(struct pv_virtio *dev, unsigned queue, uint64_t desc, uint64_t avail, uint64_t used);

/* queue_enable = 1. A queue that cannot be enabled sets NEEDS_RESET. */
void pv_virtio_enable_queue(struct pv_virtio *dev, unsigned queue);

/* A doorbell rang; safe for any queue number and any state. */
void pv_virtio_kick(struct pv_virtio *dev, unsigned queue);

/* --- what the device model calls --- */

/* True when `feature` was negotiated. */
bool pv_virtio_has(const struct pv_virtio *dev, uint64_t feature);

/* Interrupts for `queue` if the driver wants it. Call once after a batch of pushes. */
void pv_virtio_notify(struct pv_virtio *dev, unsigned queue);

/*
 * Has `queue` kicked again from the loop, after others had their turn: for a device that leaves chains which it will not be told of
 * again.
 */
void pv_virtio_kick_later(struct pv_virtio *dev, unsigned queue);

/* The device configuration changed: bumps the generation and interrupts. */
void pv_virtio_config_changed(struct pv_virtio *dev);

/* The driver broke the contract: stops the device until it is reset (2.1.2). `why` is constant text. */
void pv_virtio_break(struct pv_virtio *dev, const char *why);

/* As pv_queue_pop on queue `queue`, breaking the device when the driver broke the ring. Returns true with a chain. */
bool pv_virtio_pop(struct pv_virtio *dev, unsigned queue, struct pv_chain *chain);

#endif
