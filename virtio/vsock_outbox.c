/*
 * From the socket device to the guest.
 *
 * A connection that has something to send stands in the ready list and takes its turn there, one
 * packet a turn. What it has is a handful of owed bits and its waiting bytes (virtio/vsock_conn.c).
 * Only a RST outlives its connection, or never had one; these wait in a ring and go first. While
 * the ring holds PV_VSOCK_RESETS_SOFT of them the device takes no packet of the guest: the
 * back-pressure of 5.10.6.1. The ring cannot overflow: beyond that come only RSTs of connections
 * that the guest knows of, at most PV_VSOCK_CONNS_MAX, and it gets to know a new one only by a
 * packet of its own (not taken then) or by a REQUEST of ours (not sent before the ring is empty).
 *
 * Between two calls from outside, either nothing is due, or the rx queue is empty and the guest has
 * been asked to kick (`starved`). So a send from the script thread can go straight into the guest's
 * buffers, and rx kicks are off most of the time.
 *
 * Under the loop lock, on any thread. virtio 1.2, section 5.10.6.
 */
#include "virtio/vsock_outbox.h"

#include "virtio/vsock_conn.h"

void pv_vsock_outbox_init(struct pv_vsock_outbox *outbox, struct pv_virtio *dev, uint64_t guest_cid)
{
	outbox->dev = dev;
	outbox->guest_cid = guest_cid;
	TAILQ_INIT(&outbox->ready);
}

void pv_vsock_outbox_open(struct pv_vsock_outbox *outbox)
{
	outbox->open = true;
	/* Rings begin with kicks on (2.7.10). */
	outbox->kicks = true;
}

void pv_vsock_outbox_shut(struct pv_vsock_outbox *outbox)
{
	outbox->open = false;
	outbox->starved = false;
	outbox->kicks = false;
	outbox->used = false;
	outbox->reset_count = 0;
}

bool pv_vsock_outbox_is_open(const struct pv_vsock_outbox *outbox)
{
	return outbox->open && outbox->dev->active;
}

void pv_vsock_outbox_reset(struct pv_vsock_outbox *outbox, const struct pv_vsock_reset *reset)
{
	if (outbox->reset_count == PV_VSOCK_RESETS_MAX)
		return;
	outbox->resets[(outbox->reset_first + outbox->reset_count++) % PV_VSOCK_RESETS_MAX] =
	    *reset;
}

void pv_vsock_outbox_add(struct pv_vsock_outbox *outbox, struct pv_vsock_conn *conn)
{
	if (conn->ready || conn->dead || pv_vsock_conn_next_op(conn) == VIRTIO_VSOCK_OP_INVALID)
		return;
	TAILQ_INSERT_TAIL(&outbox->ready, conn, ready_link);
	conn->ready = true;
}

void pv_vsock_outbox_remove(struct pv_vsock_outbox *outbox, struct pv_vsock_conn *conn)
{
	if (!conn->ready)
		return;
	TAILQ_REMOVE(&outbox->ready, conn, ready_link);
	conn->ready = false;
}

static struct pv_queue *rx_queue(struct pv_vsock_outbox *outbox)
{
	return &outbox->dev->queues[VIRTIO_VSOCK_QUEUE_RX];
}

/* Takes an rx chain with room for a header and at least a byte. False sets `starved`, or broke the
 * device. */
static bool take_chain(struct pv_vsock_outbox *outbox, struct pv_chain *chain)
{
	if (!pv_virtio_pop(outbox->dev, VIRTIO_VSOCK_QUEUE_RX, chain)) {
		if (!outbox->dev->active)
			return false;
		pv_queue_want_kicks(rx_queue(outbox), true);
		outbox->kicks = true;
		if (!pv_virtio_pop(outbox->dev, VIRTIO_VSOCK_QUEUE_RX, chain)) {
			outbox->starved = true;
			return false;
		}
	}
	if (chain->writable_bytes <= sizeof(struct virtio_vsock_hdr)) {
		pv_virtio_break(outbox->dev, "vsock: an rx buffer is too small for a packet");
		return false;
	}
	return true;
}

static void put_packet(struct pv_vsock_outbox *outbox, const struct pv_chain *chain,
    struct virtio_vsock_hdr *header, const void *payload)
{
	header->dst_cid = outbox->guest_cid;
	pv_chain_write(chain, 0, header, sizeof(*header));
	if (header->len)
		pv_chain_write(chain, sizeof(*header), payload, header->len);
	pv_queue_push(rx_queue(outbox), chain->head, (uint32_t)sizeof(*header) + header->len);
	outbox->used = true;
}

/* Sends the oldest RST. False when there was no buffer. */
static bool send_reset(struct pv_vsock_outbox *outbox)
{
	struct pv_chain chain;

	if (!take_chain(outbox, &chain))
		return false;
	const struct pv_vsock_reset *reset = &outbox->resets[outbox->reset_first];
	struct virtio_vsock_hdr header = {
	    .src_cid = reset->host_cid,
	    .src_port = reset->host_port,
	    .dst_port = reset->guest_port,
	    .type = reset->type,
	    .op = VIRTIO_VSOCK_OP_RST,
	};
	put_packet(outbox, &chain, &header, NULL);
	outbox->reset_first = (outbox->reset_first + 1) % PV_VSOCK_RESETS_MAX;
	outbox->reset_count--;
	return true;
}

/* Sends one packet; of `data` as much as chain and credit allow. Returns the bytes of data that
 * went, or -1 when no packet went. */
static int64_t send_packet(struct pv_vsock_outbox *outbox, struct pv_vsock_conn *conn, uint16_t op,
    const void *data, size_t len)
{
	struct pv_chain chain;
	struct virtio_vsock_hdr header = {.src_cid = PV_VSOCK_HOST_CID};

	if (!take_chain(outbox, &chain))
		return -1;
	if (len > pv_vsock_conn_room(conn))
		len = pv_vsock_conn_room(conn);
	if (len > chain.writable_bytes - sizeof(header))
		len = chain.writable_bytes - sizeof(header);
	pv_vsock_conn_fill(conn, op, (uint32_t)len, &header);
	put_packet(outbox, &chain, &header, data);
	pv_vsock_conn_sent(conn, op, (uint32_t)len);
	return (int64_t)len;
}

/* Gives the first connection its turn. False when there was no buffer. */
static bool send_turn(struct pv_vsock_outbox *outbox)
{
	struct pv_vsock_conn *conn = TAILQ_FIRST(&outbox->ready);
	uint16_t op = pv_vsock_conn_next_op(conn);
	const uint8_t *data = NULL;
	size_t len = 0;

	if (op == VIRTIO_VSOCK_OP_INVALID) {
		pv_vsock_outbox_remove(outbox, conn);
		return true;
	}
	if (op == VIRTIO_VSOCK_OP_RW) {
		data = conn->out.data + conn->out_used;
		len = pv_vsock_conn_waiting(conn);
	}
	int64_t sent = send_packet(outbox, conn, op, data, len);
	if (sent < 0)
		return false;
	if (op == VIRTIO_VSOCK_OP_RW)
		pv_vsock_conn_drop(conn, (size_t)sent);
	pv_vsock_outbox_remove(outbox, conn);
	pv_vsock_outbox_add(outbox, conn);
	pv_vsock_conn_advance(conn);
	return true;
}

void pv_vsock_outbox_flush(struct pv_vsock_outbox *outbox)
{
	bool sent = true;

	while (sent && !outbox->starved && pv_vsock_outbox_is_open(outbox)) {
		if (outbox->reset_count)
			sent = send_reset(outbox);
		else if (!TAILQ_EMPTY(&outbox->ready))
			sent = send_turn(outbox);
		else
			break;
	}
	if (outbox->kicks && !outbox->starved && pv_vsock_outbox_is_open(outbox)) {
		pv_queue_want_kicks(rx_queue(outbox), false);
		outbox->kicks = false;
	}
}

size_t pv_vsock_outbox_send_now(
    struct pv_vsock_outbox *outbox, struct pv_vsock_conn *conn, const void *data, size_t len)
{
	const struct pv_vsock_conn *first = TAILQ_FIRST(&outbox->ready);
	bool others = first && (first != conn || TAILQ_NEXT(first, ready_link));
	size_t taken = 0;

	if (outbox->starved || outbox->reset_count || others)
		return 0;
	if (conn->state.phase != PV_VSOCK_CONN_OPEN ||
	    (conn->state.owed & PV_VSOCK_OWED_RESPONSE) || pv_vsock_conn_waiting(conn))
		return 0;
	while (taken < len && pv_vsock_conn_room(conn) && pv_vsock_outbox_is_open(outbox)) {
		int64_t sent = send_packet(
		    outbox, conn, VIRTIO_VSOCK_OP_RW, (const uint8_t *)data + taken, len - taken);
		if (sent < 0)
			break;
		taken += (size_t)sent;
	}
	return taken;
}

void pv_vsock_outbox_notify(struct pv_vsock_outbox *outbox)
{
	if (outbox->used)
		pv_virtio_notify(outbox->dev, VIRTIO_VSOCK_QUEUE_RX);
	outbox->used = false;
}
