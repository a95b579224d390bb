/*
 * The guest's driver of the socket device, for tests: rings in plain memory, packets out and in. It
 * keeps the rules of rings, and kicks only when the device wants kicks, so that a device that
 * forgets to ask hangs the test; packets may be as wrong as the test likes.
 */
#ifndef PV_TESTS_UNIT_VSOCK_GUEST_H
#define PV_TESTS_UNIT_VSOCK_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gmem.h"
#include "virtio/vsock.h"
#include "virtio/vsock_packet.h"

#define GUEST_CID	  7
#define GUEST_RAM	  (16u << 20)
#define GUEST_RING_SIZE	  128
#define GUEST_PAYLOAD_MAX 65536u

struct guest_ring {
	uint64_t base;
	uint16_t avail_index;
	uint16_t kicked_index; /* avail_index at the last look whether a kick is wanted */
	uint16_t used_index;
	uint16_t free_heads[GUEST_RING_SIZE / 2];
	unsigned free_count;
};

struct vsock_guest {
	uint8_t *ram;
	struct pv_gmem mem;
	struct pv_vsock *vsock;
	struct pv_virtio *dev;
	bool event_idx;
	struct guest_ring rings[3];
	uint32_t rx_size[GUEST_RING_SIZE / 2]; /* of the buffer that is or was in the slot */
	unsigned interrupts[3];
	unsigned kicks[3];
	unsigned later[3]; /* kicks that the device has asked its loop for */
};

/* Creates a device in fresh memory and brings it up as a driver does. `ram` is GUEST_RAM bytes of
 * the caller's, zeroed or not. */
void guest_start(struct vsock_guest *guest, uint8_t *ram, bool event_idx);
/* Resets the device, and optionally brings it up again with new rings. */
void guest_reset(struct vsock_guest *guest, bool up_again);
void guest_finish(struct vsock_guest *guest);

/* Adds an rx buffer of `size` bytes as one descriptor, or as two with the header in the first.
 * False when the ring is full. No kick. */
bool guest_add_rx(struct vsock_guest *guest, uint32_t size, bool two);
/* Adds a tx packet, as one descriptor or two. `payload_len` need not match the header. False when
 * the ring is full. No kick. */
bool guest_add_tx(struct vsock_guest *guest, const struct virtio_vsock_hdr *header,
    const void *payload, size_t payload_len, bool two);
/* Gives the packet added last another length, header included, whatever the header says. */
void guest_resize_tx(struct vsock_guest *guest, uint32_t len);
/* Kicks if the device wants to be kicked. */
void guest_kick(struct vsock_guest *guest, unsigned queue);
/* Takes the next packet from the device. False when there is none. `payload` has room for
 * GUEST_PAYLOAD_MAX. */
bool guest_receive(struct vsock_guest *guest, struct virtio_vsock_hdr *header, uint8_t *payload);
/* Rx buffers that the device has. */
unsigned guest_rx_free(const struct vsock_guest *guest);

#endif
