/*
 * The socket device itself. Private to virtio/vsock*.c; others use virtio/vsock.h. Under the loop
 * lock.
 */
#ifndef PV_VIRTIO_VSOCK_DEVICE_H
#define PV_VIRTIO_VSOCK_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/vsock.h"
#include "virtio/vsock_conn.h"
#include "virtio/vsock_outbox.h"
#include "virtio/vsock_table.h"

struct pv_vsock {
	struct pv_virtio virtio;
	uint64_t guest_cid;
	bool tx_blocked; /* tx chains wait until the outbox drains */
	bool tx_used;	 /* chains were given back since the last interrupt */
	unsigned depth;	 /* of the enter brackets */
	struct pv_vsock_table table;
	struct pv_vsock_outbox outbox;
	uint8_t payload[PV_VSOCK_WINDOW]; /* of the packet being handled */
};

#endif
