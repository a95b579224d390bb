/*
 * Both ends of connections of the socket device, for its tests.
 */
#include "tests/unit/vsock_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- the host's end --- */

static void run_hook(struct port *port, enum event event)
{
	if (port->hook_at == event && port->hook)
		port->hook(port);
}

static void on_connected(void *ctx)
{
	struct port *port = ctx;
	port->connected++;
	run_hook(port, EVENT_CONNECTED);
}

static void on_receive(void *ctx, const void *data, size_t len)
{
	struct port *port = ctx;
	assert_int_equal(pv_bytes_append(&port->got, data, len), 0);
	if (port->digest)
		pv_vsock_conn_credit(port->conn, len);
	run_hook(port, EVENT_RECEIVE);
}

static void on_writable(void *ctx)
{
	struct port *port = ctx;
	port->writable++;
	run_hook(port, EVENT_WRITABLE);
}

static void on_end(void *ctx)
{
	struct port *port = ctx;
	port->ended++;
	run_hook(port, EVENT_END);
}

static void on_closed(void *ctx)
{
	struct port *port = ctx;
	port->closed++;
	run_hook(port, EVENT_CLOSED);
	port->conn = NULL;
}

const struct pv_stream_port_ops port_ops = {
    .connected = on_connected,
    .receive = on_receive,
    .writable = on_writable,
    .end_of_stream = on_end,
    .closed = on_closed,
};

bool port_accept(
    void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct port *port = ctx;
	port->conn = conn;
	*ops = &port_ops;
	*port_ctx = port;
	run_hook(port, EVENT_ACCEPT);
	return !port->refuse;
}

void port_close(struct port *port)
{
	pv_vsock_conn_close(port->conn);
}

/* --- the guest's end --- */

void fixture_add_rx(struct fixture *f, unsigned count)
{
	while (count-- && guest_add_rx(&f->guest, RX_SIZE, count & 1))
		;
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_RX);
}

struct virtio_vsock_hdr peer_header(const struct peer *peer, uint16_t op, uint32_t len)
{
	return (struct virtio_vsock_hdr){
	    .src_cid = GUEST_CID,
	    .dst_cid = PV_VSOCK_HOST_CID,
	    .src_port = peer->guest_port,
	    .dst_port = peer->host_port,
	    .len = len,
	    .type = VIRTIO_VSOCK_TYPE_STREAM,
	    .op = op,
	    .buf_alloc = peer->buf_alloc,
	    .fwd_cnt = peer->fwd_cnt,
	};
}

void peer_say_header(
    struct fixture *f, struct virtio_vsock_hdr header, const void *payload, size_t len)
{
	assert_true(guest_add_tx(&f->guest, &header, payload, len, f->random++ & 1));
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_TX);
}

void peer_say(struct fixture *f, struct peer *peer, uint16_t op)
{
	peer_say_header(f, peer_header(peer, op, 0), NULL, 0);
}

void peer_say_shutdown(struct fixture *f, struct peer *peer, uint32_t flags)
{
	struct virtio_vsock_hdr header = peer_header(peer, VIRTIO_VSOCK_OP_SHUTDOWN, 0);
	header.flags = flags;
	peer_say_header(f, header, NULL, 0);
}

void peer_say_data(struct fixture *f, struct peer *peer, const void *data, size_t len)
{
	peer_say_header(f, peer_header(peer, VIRTIO_VSOCK_OP_RW, (uint32_t)len), data, len);
	peer->tx_cnt += (uint32_t)len;
}

uint32_t peer_room(const struct peer *peer)
{
	return peer->host_buf_alloc - (peer->tx_cnt - peer->host_fwd_cnt);
}

/* Takes a packet, checks what holds for every packet, and gives it to the one peer that it is for.
 * Returns its op, 0 when there is none. */
uint16_t peer_hear(struct fixture *f, struct peer *peers, size_t count)
{
	struct virtio_vsock_hdr *header = &f->last;

	if (!guest_receive(&f->guest, header, f->payload))
		return 0;
	assert_int_equal(header->dst_cid, GUEST_CID);
	for (struct peer *peer = peers; peer < peers + count; peer++) {
		if (header->dst_port != peer->guest_port || header->src_port != peer->host_port)
			continue;
		assert_true(header->op < 8);
		peer->heard[header->op]++;
		if (header->op == VIRTIO_VSOCK_OP_RST)
			return header->op;
		assert_int_equal(header->src_cid, PV_VSOCK_HOST_CID);
		peer->host_fwd_cnt = header->fwd_cnt;
		peer->host_buf_alloc = header->buf_alloc;
		peer->rx_cnt += header->len;
		/* 5.10.6.3: never more than fits. */
		assert_true(peer->rx_cnt - peer->fwd_cnt <= peer->buf_alloc);
		assert_int_equal(pv_bytes_append(&peer->got, f->payload, header->len), 0);
		return header->op;
	}
	return header->op;
}

void peer_expect(struct fixture *f, struct peer *peer, uint16_t op)
{
	assert_int_equal(peer_hear(f, peer, 1), op);
	assert_int_equal(f->last.src_port, peer->host_port);
	assert_int_equal(f->last.dst_port, peer->guest_port);
}

void peer_expect_nothing(struct fixture *f)
{
	assert_int_equal(peer_hear(f, NULL, 0), 0);
}

struct peer peer_new(uint32_t guest_port, uint32_t host_port)
{
	return (struct peer){.guest_port = guest_port, .host_port = host_port, .buf_alloc = 65536};
}

void peer_finish(struct peer *peer, struct port *port)
{
	pv_bytes_finish(&peer->got);
	pv_bytes_finish(&port->got);
}

/* An open connection that the guest began. */
void peer_open(struct fixture *f, struct peer *peer, struct port *port)
{
	port->vsock = f->guest.vsock;
	assert_int_equal(pv_vsock_listen(f->guest.vsock, peer->host_port, port_accept, port), 0);
	peer_say(f, peer, VIRTIO_VSOCK_OP_REQUEST);
	peer_expect(f, peer, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(f->last.buf_alloc, PV_VSOCK_WINDOW);
	pv_vsock_listen(f->guest.vsock, peer->host_port, NULL, NULL);
}

/* A connection that the host began, up to the REQUEST. */
void peer_connect(struct fixture *f, struct peer *peer, struct port *port)
{
	port->vsock = f->guest.vsock;
	assert_int_equal(
	    pv_vsock_connect(f->guest.vsock, peer->guest_port, &port_ops, port, &port->conn), 0);
	assert_int_equal(peer_hear(f, NULL, 0), VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(f->last.dst_port, peer->guest_port);
	assert_true(f->last.src_port > 1u << 20);
	peer->host_port = f->last.src_port;
	peer->host_buf_alloc = f->last.buf_alloc;
}

uint32_t fixture_roll(struct fixture *f, uint32_t below)
{
	f->random = f->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(f->random >> 33) % below;
}

int fixture_set_up(void **state)
{
	static uint8_t *ram;
	if (!ram)
		ram = calloc(1, GUEST_RAM);
	struct fixture *f = calloc(1, sizeof(*f));
	if (!f || !ram)
		return -1;
	guest_start(&f->guest, ram, true);
	*state = f;
	return 0;
}

int fixture_set_up_flags(void **state)
{
	if (fixture_set_up(state))
		return -1;
	struct fixture *f = *state;
	f->guest.event_idx = false;
	guest_reset(&f->guest, true);
	return 0;
}

int fixture_tear_down(void **state)
{
	struct fixture *f = *state;
	guest_finish(&f->guest);
	free(f);
	return 0;
}
