/*
 * The guest's driver of the socket device, for tests. Slot n of a ring is descriptors 2n and 2n + 1
 * and a piece of memory of its own.
 */
#include "tests/unit/vsock_guest.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define SLOTS	    (GUEST_RING_SIZE / 2)
#define RING_STRIDE 0x10000u
#define AVAIL	    0x4000u
#define USED	    0x8000u
#define RX_AREA	    0x100000u
#define RX_STRIDE   0x11000u
#define TX_AREA	    0x800000u
#define TX_STRIDE   0x11000u

_Static_assert(RX_AREA + SLOTS * RX_STRIDE <= TX_AREA, "areas do not overlap");
_Static_assert(TX_AREA + SLOTS * TX_STRIDE <= GUEST_RAM, "areas lie in RAM");
_Static_assert(
    GUEST_PAYLOAD_MAX + sizeof(struct virtio_vsock_hdr) <= TX_STRIDE, "a packet fits its slot");

static void queue_interrupt(struct pv_virtio *dev, unsigned queue)
{
	struct vsock_guest *guest = dev->transport_ctx;
	guest->interrupts[queue]++;
}

static void config_interrupt(struct pv_virtio *dev)
{
}

static void kick_later(struct pv_virtio *dev, unsigned queue)
{
	struct vsock_guest *guest = dev->transport_ctx;
	guest->later[queue]++;
}

static const struct pv_virtio_transport transport = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .kick_later = kick_later,
};

static uint16_t *word(struct vsock_guest *guest, unsigned queue, unsigned offset)
{
	return (uint16_t *)(void *)(guest->ram + guest->rings[queue].base + offset);
}

static void bring_up(struct vsock_guest *guest)
{
	struct pv_virtio *dev = guest->dev;
	uint8_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;

	pv_virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE);
	pv_virtio_set_status(dev, status);
	pv_virtio_accept_features(dev, 0, guest->event_idx ? (uint32_t)VIRTIO_F_EVENT_IDX : 0);
	pv_virtio_accept_features(dev, 1, (uint32_t)(VIRTIO_F_VERSION_1 >> 32));
	status |= VIRTIO_STATUS_FEATURES_OK;
	pv_virtio_set_status(dev, status);
	for (unsigned i = 0; i < 3; i++) {
		struct guest_ring *ring = &guest->rings[i];
		*ring = (struct guest_ring){.base = i * RING_STRIDE, .free_count = SLOTS};
		memset(guest->ram + ring->base, 0, RING_STRIDE);
		for (unsigned slot = 0; slot < SLOTS; slot++)
			ring->free_heads[slot] = (uint16_t)(SLOTS - 1 - slot);
		pv_virtio_set_queue_size(
		    dev, i, i == VIRTIO_VSOCK_QUEUE_EVENT ? 16 : GUEST_RING_SIZE);
		pv_virtio_set_queue_ring(dev, i, ring->base, ring->base + AVAIL, ring->base + USED);
		pv_virtio_enable_queue(dev, i);
	}
	pv_virtio_set_status(dev, status | VIRTIO_STATUS_DRIVER_OK);
}

void guest_start(struct vsock_guest *guest, uint8_t *ram, bool event_idx)
{
	*guest = (struct vsock_guest){.ram = ram, .event_idx = event_idx};
	if (pv_gmem_add(&guest->mem, 0, GUEST_RAM, ram) < 0 ||
	    pv_vsock_create(&guest->vsock, &guest->mem, GUEST_CID) < 0)
		abort();
	guest->dev = pv_vsock_virtio(guest->vsock);
	guest->dev->transport = &transport;
	guest->dev->transport_ctx = guest;
	bring_up(guest);
}

void guest_reset(struct vsock_guest *guest, bool up_again)
{
	pv_virtio_set_status(guest->dev, 0);
	if (up_again)
		bring_up(guest);
}

void guest_finish(struct vsock_guest *guest)
{
	pv_vsock_destroy(guest->vsock);
	guest->vsock = NULL;
}

static void set_desc(struct vsock_guest *guest, unsigned queue, unsigned index, uint64_t addr,
    uint32_t len, uint16_t flags)
{
	uint8_t *desc = guest->ram + guest->rings[queue].base + 16 * index;
	pv_put_le64(desc, addr);
	pv_put_le32(desc + 8, len);
	pv_put_le16(desc + 12, flags);
	pv_put_le16(desc + 14, (uint16_t)(index + 1));
}

/* Publishes the buffer of a slot; the first `first_len` bytes are a descriptor of their own when
 * `two`. */
static void publish(struct vsock_guest *guest, unsigned queue, uint64_t addr, uint32_t len,
    uint16_t flags, bool two)
{
	struct guest_ring *ring = &guest->rings[queue];
	uint16_t slot = ring->free_heads[--ring->free_count];
	const uint32_t header = sizeof(struct virtio_vsock_hdr);

	if (two && len > header) {
		set_desc(guest, queue, 2u * slot, addr, header, flags | VIRTQ_DESC_F_NEXT);
		set_desc(guest, queue, 2u * slot + 1, addr + header, len - header, flags);
	} else {
		set_desc(guest, queue, 2u * slot, addr, len, flags);
	}
	*word(guest, queue, AVAIL + 4 + 2 * (ring->avail_index % GUEST_RING_SIZE)) =
	    (uint16_t)(2 * slot);
	ring->avail_index++;
	__atomic_store_n(word(guest, queue, AVAIL + 2), ring->avail_index, __ATOMIC_RELEASE);
}

/* Takes the next used slot. False when there is none. */
static bool reclaim(struct vsock_guest *guest, unsigned queue, uint16_t *slot, uint32_t *written)
{
	struct guest_ring *ring = &guest->rings[queue];

	if (ring->used_index == __atomic_load_n(word(guest, queue, USED + 2), __ATOMIC_ACQUIRE))
		return false;
	const uint8_t *entry =
	    guest->ram + ring->base + USED + 4 + 8 * (ring->used_index % GUEST_RING_SIZE);
	*slot = (uint16_t)(pv_le32(entry) / 2);
	*written = pv_le32(entry + 4);
	ring->used_index++;
	ring->free_heads[ring->free_count++] = *slot;
	/* used_event: every used buffer is to interrupt. */
	*word(guest, queue, AVAIL + 4 + 2 * GUEST_RING_SIZE) = ring->used_index;
	return true;
}

bool guest_add_rx(struct vsock_guest *guest, uint32_t size, bool two)
{
	struct guest_ring *ring = &guest->rings[VIRTIO_VSOCK_QUEUE_RX];

	if (ring->free_count == 0 || size > RX_STRIDE)
		return false;
	uint16_t slot = ring->free_heads[ring->free_count - 1];
	guest->rx_size[slot] = size;
	publish(guest, VIRTIO_VSOCK_QUEUE_RX, RX_AREA + (uint64_t)slot * RX_STRIDE, size,
	    VIRTQ_DESC_F_WRITE, two);
	return true;
}

bool guest_add_tx(struct vsock_guest *guest, const struct virtio_vsock_hdr *header,
    const void *payload, size_t payload_len, bool two)
{
	struct guest_ring *ring = &guest->rings[VIRTIO_VSOCK_QUEUE_TX];
	uint16_t slot;
	uint32_t written;

	while (reclaim(guest, VIRTIO_VSOCK_QUEUE_TX, &slot, &written))
		;
	if (ring->free_count == 0 || payload_len > GUEST_PAYLOAD_MAX)
		return false;
	slot = ring->free_heads[ring->free_count - 1];
	uint64_t addr = TX_AREA + (uint64_t)slot * TX_STRIDE;
	memcpy(guest->ram + addr, header, sizeof(*header));
	if (payload_len)
		memcpy(guest->ram + addr + sizeof(*header), payload, payload_len);
	publish(
	    guest, VIRTIO_VSOCK_QUEUE_TX, addr, (uint32_t)(sizeof(*header) + payload_len), 0, two);
	return true;
}

void guest_resize_tx(struct vsock_guest *guest, uint32_t len)
{
	const struct guest_ring *ring = &guest->rings[VIRTIO_VSOCK_QUEUE_TX];
	uint16_t slot = ring->free_heads[ring->free_count];
	pv_put_le32(guest->ram + ring->base + 16 * 2 * slot + 8, len);
}

void guest_kick(struct vsock_guest *guest, unsigned queue)
{
	struct guest_ring *ring = &guest->rings[queue];
	uint16_t before = ring->kicked_index;
	bool wanted;

	__sync_synchronize(); /* the thread sanitizer compiles no __atomic_thread_fence */
	ring->kicked_index = ring->avail_index;
	if (guest->event_idx) {
		unsigned size = queue == VIRTIO_VSOCK_QUEUE_EVENT ? 16 : GUEST_RING_SIZE;
		uint16_t event = *word(guest, queue, USED + 4 + 8 * size);
		wanted = (uint16_t)(ring->avail_index - event - 1) <
			 (uint16_t)(ring->avail_index - before);
	} else {
		wanted = ring->avail_index != before &&
			 !(*word(guest, queue, USED) & VIRTQ_USED_F_NO_NOTIFY);
	}
	if (!wanted)
		return;
	guest->kicks[queue]++;
	pv_virtio_kick(guest->dev, queue);
}

bool guest_receive(struct vsock_guest *guest, struct virtio_vsock_hdr *header, uint8_t *payload)
{
	uint16_t slot;
	uint32_t written;

	if (!reclaim(guest, VIRTIO_VSOCK_QUEUE_RX, &slot, &written))
		return false;
	const uint8_t *buffer = guest->ram + RX_AREA + (uint64_t)slot * RX_STRIDE;
	/* A device that claims more than the buffer has, or less than a header, breaks every
	 * driver. */
	if (written < sizeof(*header) || written > guest->rx_size[slot])
		abort();
	memcpy(header, buffer, sizeof(*header));
	if (header->len != written - sizeof(*header))
		abort();
	memcpy(payload, buffer + sizeof(*header), header->len);
	return true;
}

unsigned guest_rx_free(const struct vsock_guest *guest)
{
	return SLOTS - guest->rings[VIRTIO_VSOCK_QUEUE_RX].free_count;
}
