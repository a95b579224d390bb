/*
 * A connection of the socket device (virtio 1.2, sections 5.10.6.3 to 5.10.6.5).
 *
 * Phases: the guest's REQUEST makes an OFFERED connection that the listener's answer opens or ends;
 * the host's connect makes a CONNECTING one that the guest's RESPONSE opens and its RST ends. An
 * OPEN connection ends by a RST of either side, or cleanly once no side has anything more to say:
 * the guest announced that it sends no more, and the host's SHUTDOWN has gone out or the guest
 * receives no more. The clean end is our RST too (5.10.6.5), for which the guest waits before it
 * uses the ports again.
 *
 * Credit towards us: the guest may have PV_VSOCK_WINDOW bytes out that the port has not digested.
 * Every packet tells it how far we are; when half of the window was digested since we told it last,
 * a CREDIT_UPDATE of its own goes out. More than the window resets the connection.
 *
 * Credit towards the guest: bytes in flight are tx_cnt - guest_fwd_cnt, and must stay within
 * guest_buf_alloc. The guest fills in these fields on several CPUs before it queues the packets, so
 * a packet with an older fwd_cnt than its predecessor's is legal: the older value is ignored. A
 * fwd_cnt ahead of what was sent is a lie. A buf_alloc below what is in flight means that bytes may
 * have been thrown away; as a stream with a hole is worse than none, both reset the connection.
 * Smaller changes of buf_alloc are the guest's right (SO_VM_SOCKETS_BUFFER_SIZE).
 *
 * All of it under the loop lock: guest packets on the loop thread or a vCPU thread, sends on
 * whatever thread the port's owner has.
 */
#include "virtio/vsock_conn.h"

#include <errno.h>
#include <sys/types.h>

#include "virtio/vsock.h"
#include "virtio/vsock_outbox.h"

/* Buffers larger than this are given back when they run empty. */
#define OUT_KEEP 65536u

static uint32_t in_flight(const struct pv_vsock_conn_state *state)
{
	return state->tx_cnt - state->guest_fwd_cnt;
}

bool pv_vsock_conn_is_over(const struct pv_vsock_conn *conn)
{
	const struct pv_vsock_conn_state *state = &conn->state;
	bool shutdown_sent = state->host_shutdown && !(state->owed & PV_VSOCK_OWED_SHUTDOWN);
	return (state->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       (shutdown_sent || (state->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RECEIVE));
}

bool pv_vsock_conn_take_credit(struct pv_vsock_conn *conn, const struct virtio_vsock_hdr *header)
{
	struct pv_vsock_conn_state *state = &conn->state;
	uint32_t progress = header->fwd_cnt - state->guest_fwd_cnt;

	if (progress <= INT32_MAX) {
		if (progress > in_flight(state))
			return false;
		state->guest_fwd_cnt = header->fwd_cnt;
	}
	if (header->buf_alloc < in_flight(state))
		return false;
	state->guest_buf_alloc = header->buf_alloc;
	return true;
}

uint32_t pv_vsock_conn_room(const struct pv_vsock_conn *conn)
{
	/* The comparison in take_credit needs less than 2^31 bytes in flight. */
	uint32_t limit = conn->state.guest_buf_alloc;
	if (limit > INT32_MAX)
		limit = INT32_MAX;
	uint32_t used = in_flight(&conn->state);
	return used < limit ? limit - used : 0;
}

size_t pv_vsock_conn_waiting(const struct pv_vsock_conn *conn)
{
	return conn->out.len - conn->out_used;
}

uint16_t pv_vsock_conn_next_op(const struct pv_vsock_conn *conn)
{
	const struct pv_vsock_conn_state *state = &conn->state;

	if (state->phase == PV_VSOCK_CONN_CONNECTING)
		return state->owed & PV_VSOCK_OWED_REQUEST ? VIRTIO_VSOCK_OP_REQUEST
							   : VIRTIO_VSOCK_OP_INVALID;
	if (state->phase != PV_VSOCK_CONN_OPEN)
		return VIRTIO_VSOCK_OP_INVALID;
	if (state->owed & PV_VSOCK_OWED_RESPONSE)
		return VIRTIO_VSOCK_OP_RESPONSE;
	if (pv_vsock_conn_waiting(conn)) {
		if (pv_vsock_conn_room(conn))
			return VIRTIO_VSOCK_OP_RW;
		if (state->owed & PV_VSOCK_OWED_CREDIT)
			return VIRTIO_VSOCK_OP_CREDIT_UPDATE;
		/* Asking again before anything moved would only be answered the same way, for ever.
		 */
		return state->credit_asked ? VIRTIO_VSOCK_OP_INVALID
					   : VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	}
	if (state->owed & PV_VSOCK_OWED_CREDIT)
		return VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	if (state->owed & PV_VSOCK_OWED_SHUTDOWN)
		return VIRTIO_VSOCK_OP_SHUTDOWN;
	return VIRTIO_VSOCK_OP_INVALID;
}

void pv_vsock_conn_fill(
    const struct pv_vsock_conn *conn, uint16_t op, uint32_t len, struct virtio_vsock_hdr *header)
{
	header->src_port = conn->state.host_port;
	header->dst_port = conn->state.guest_port;
	header->len = len;
	header->type = VIRTIO_VSOCK_TYPE_STREAM;
	header->op = op;
	header->flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? VIRTIO_VSOCK_SHUTDOWN_SEND : 0;
	header->buf_alloc = PV_VSOCK_WINDOW;
	header->fwd_cnt = conn->state.fwd_cnt;
}

void pv_vsock_conn_sent(struct pv_vsock_conn *conn, uint16_t op, uint32_t len)
{
	struct pv_vsock_conn_state *state = &conn->state;

	state->fwd_told = state->fwd_cnt;
	state->owed &= (uint8_t)~PV_VSOCK_OWED_CREDIT;
	switch (op) {
	case VIRTIO_VSOCK_OP_REQUEST: state->owed &= (uint8_t)~PV_VSOCK_OWED_REQUEST; break;
	case VIRTIO_VSOCK_OP_RESPONSE: state->owed &= (uint8_t)~PV_VSOCK_OWED_RESPONSE; break;
	case VIRTIO_VSOCK_OP_SHUTDOWN: state->owed &= (uint8_t)~PV_VSOCK_OWED_SHUTDOWN; break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST: state->credit_asked = true; break;
	case VIRTIO_VSOCK_OP_RW:
		state->tx_cnt += len;
		state->credit_asked = false;
		break;
	default: break;
	}
}

void pv_vsock_conn_drop(struct pv_vsock_conn *conn, size_t len)
{
	conn->out_used += len;
	conn->outbox->queued -= len;
	if (conn->out_used < conn->out.len)
		return;
	conn->out_used = 0;
	conn->out.len = 0;
	if (conn->out.capacity > OUT_KEEP)
		pv_bytes_finish(&conn->out);
}

/* Adds as much of `data` to the waiting bytes as the limit allows; returns that, or -ENOMEM. */
static ssize_t out_append(struct pv_vsock_conn *conn, const void *data, size_t len)
{
	size_t room = PV_VSOCK_SEND_MAX - pv_vsock_conn_waiting(conn);
	if (len > room)
		len = room;
	if (len == 0)
		return 0;
	/* Moving only when at least half is gone keeps the cost of moving below that of copying in.
	 */
	if (conn->out_used >= OUT_KEEP && conn->out_used >= conn->out.len / 2) {
		pv_bytes_consume(&conn->out, conn->out_used);
		conn->out_used = 0;
	}
	if (pv_bytes_append(&conn->out, data, len) < 0)
		return -ENOMEM;
	conn->outbox->queued += len;
	return (ssize_t)len;
}

void pv_vsock_conn_advance(struct pv_vsock_conn *conn)
{
	if (pv_vsock_conn_is_over(conn)) {
		pv_vsock_end(conn, true, true);
		return;
	}
	if (conn->want_writable && pv_vsock_conn_waiting(conn) <= PV_VSOCK_SEND_MAX / 2) {
		conn->want_writable = false;
		conn->ops->writable(conn->ctx);
	}
}

static void input_shutdown(struct pv_vsock_conn *conn, uint32_t flags)
{
	uint8_t before = conn->state.guest_shutdown;

	conn->state.guest_shutdown |= flags & VIRTIO_VSOCK_SHUTDOWN_BOTH;
	/* Nobody will read what waits. */
	if (conn->state.guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RECEIVE)
		pv_vsock_conn_drop(conn, pv_vsock_conn_waiting(conn));
	if (conn->state.guest_shutdown & ~before & VIRTIO_VSOCK_SHUTDOWN_SEND) {
		conn->ops->end_of_stream(conn->ctx);
		if (conn->dead)
			return;
	}
	pv_vsock_conn_advance(conn);
}

/* Returns false when the guest sent what it must not. */
static bool input_data(struct pv_vsock_conn *conn, const void *payload, uint32_t len)
{
	struct pv_vsock_conn_state *state = &conn->state;

	if (state->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)
		return false;
	if (len > PV_VSOCK_WINDOW - (state->rx_cnt - state->fwd_cnt))
		return false;
	state->rx_cnt += len;
	if (len)
		conn->ops->receive(conn->ctx, payload, len);
	return true;
}

/* Handles what is legal in an open connection; false means that it must be reset. */
static bool input_open(
    struct pv_vsock_conn *conn, const struct virtio_vsock_hdr *header, const void *payload)
{
	switch (header->op) {
	case VIRTIO_VSOCK_OP_RW: return input_data(conn, payload, header->len);
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE: return true;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST: conn->state.owed |= PV_VSOCK_OWED_CREDIT; return true;
	case VIRTIO_VSOCK_OP_SHUTDOWN: input_shutdown(conn, header->flags); return true;
	default: return false;
	}
}

void pv_vsock_conn_input(
    struct pv_vsock_conn *conn, const struct virtio_vsock_hdr *header, const void *payload)
{
	bool fine = false;

	if (header->op == VIRTIO_VSOCK_OP_RST) {
		pv_vsock_end(conn, false, true);
		return;
	}
	if (pv_vsock_conn_take_credit(conn, header)) {
		if (conn->state.phase == PV_VSOCK_CONN_OPEN) {
			fine = input_open(conn, header, payload);
		} else if (header->op == VIRTIO_VSOCK_OP_RESPONSE) {
			fine = true;
			conn->state.phase = PV_VSOCK_CONN_OPEN;
			conn->ops->connected(conn->ctx);
		}
	}
	if (conn->dead)
		return;
	if (fine)
		pv_vsock_outbox_add(conn->outbox, conn);
	else
		pv_vsock_end(conn, true, true);
}

size_t pv_vsock_conn_send(struct pv_vsock_conn *conn, const void *data, size_t len)
{
	if (conn->dead || conn->state.host_shutdown)
		return 0;
	if (conn->state.guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RECEIVE)
		return len;
	struct pv_vsock *vsock = conn->vsock;
	pv_vsock_enter(vsock);
	size_t taken = pv_vsock_outbox_send_now(conn->outbox, conn, data, len);
	ssize_t added = out_append(conn, (const uint8_t *)data + taken, len - taken);
	if (added < 0) {
		/* With nothing queued no event would ever let the port go on. */
		pv_vsock_end(conn, true, true);
	} else {
		taken += (size_t)added;
		/* What could go out at once has gone, so that leaving does not call `writable` yet.
		 */
		conn->want_writable = taken < len;
		pv_vsock_outbox_add(conn->outbox, conn);
	}
	pv_vsock_leave(vsock);
	return taken;
}

void pv_vsock_conn_credit(struct pv_vsock_conn *conn, size_t len)
{
	if (conn->dead)
		return;
	struct pv_vsock_conn_state *state = &conn->state;
	uint32_t undigested = state->rx_cnt - state->fwd_cnt;
	state->fwd_cnt += len < undigested ? (uint32_t)len : undigested;
	if (state->fwd_cnt - state->fwd_told < PV_VSOCK_WINDOW / 2)
		return;
	if (state->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)
		return;
	struct pv_vsock *vsock = conn->vsock;
	pv_vsock_enter(vsock);
	state->owed |= PV_VSOCK_OWED_CREDIT;
	pv_vsock_outbox_add(conn->outbox, conn);
	pv_vsock_leave(vsock);
}

void pv_vsock_conn_shutdown(struct pv_vsock_conn *conn)
{
	if (conn->dead || conn->state.host_shutdown)
		return;
	struct pv_vsock *vsock = conn->vsock;
	pv_vsock_enter(vsock);
	conn->state.host_shutdown = true;
	conn->state.owed |= PV_VSOCK_OWED_SHUTDOWN;
	conn->want_writable = false;
	pv_vsock_outbox_add(conn->outbox, conn);
	pv_vsock_leave(vsock);
}

void pv_vsock_conn_close(struct pv_vsock_conn *conn)
{
	if (conn->dead)
		return;
	struct pv_vsock *vsock = conn->vsock;
	pv_vsock_enter(vsock);
	pv_vsock_end(conn, true, false);
	pv_vsock_leave(vsock);
}
