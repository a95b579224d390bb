/*
 * The socket device, one connection at a time: what a guest must not do resets the connection, or
 * is dropped, and what is merely odd is not.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vsock_peer.h"

static void wrong_packets_are_answered_or_dropped(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(7, HOST_PORT), stranger = peer_new(8, HOST_PORT);

	fixture_add_rx(f, 16);
	peer_open(f, &peer, &port);
	for (uint16_t op = 0; op < 10; op++) {
		if (op == VIRTIO_VSOCK_OP_REQUEST)
			continue;
		peer_say(f, &stranger, op);
		if (op == VIRTIO_VSOCK_OP_RST)
			peer_expect_nothing(f);
		else
			peer_expect(f, &stranger, VIRTIO_VSOCK_OP_RST);
	}
	/* Another type on the same ports is another flow. */
	struct virtio_vsock_hdr header = peer_header(&peer, VIRTIO_VSOCK_OP_REQUEST, 0);
	header.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	peer_say_header(f, header, NULL, 0);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->last.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	/* Another destination is refused in its name, another source is not answered. */
	header = peer_header(&stranger, VIRTIO_VSOCK_OP_REQUEST, 0);
	header.dst_cid = 99;
	peer_say_header(f, header, NULL, 0);
	peer_expect(f, &stranger, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->last.src_cid, 99);
	header = peer_header(&peer, VIRTIO_VSOCK_OP_RST, 0);
	header.src_cid = GUEST_CID + 1;
	peer_say_header(f, header, NULL, 0);
	/* Nor is half a header. */
	struct virtio_vsock_hdr rest = peer_header(&peer, VIRTIO_VSOCK_OP_RST, 0);
	assert_true(guest_add_tx(&f->guest, &rest, NULL, 0, false));
	guest_resize_tx(&f->guest, 43);
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_TX);
	peer_expect_nothing(f);
	assert_int_equal(port.closed, 0);
	pv_vsock_conn_close(port.conn);
}

/* Each of these resets an open connection. */
static void violation(struct fixture *f, void (*violate)(struct fixture *f, struct peer *peer))
{
	struct port port = {0};
	struct peer peer = peer_new(7, HOST_PORT);

	peer_open(f, &peer, &port);
	pv_vsock_conn_send(port.conn, "12345678", 8);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	violate(f, &peer);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RST);
	peer_expect_nothing(f);
	assert_int_equal(port.closed, 1);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 0);
	peer_finish(&peer, &port);
}

static void unknown_op(struct fixture *f, struct peer *peer)
{
	peer_say(f, peer, 8);
}

static void second_request(struct fixture *f, struct peer *peer)
{
	peer_say(f, peer, VIRTIO_VSOCK_OP_REQUEST);
}

static void stray_response(struct fixture *f, struct peer *peer)
{
	peer_say(f, peer, VIRTIO_VSOCK_OP_RESPONSE);
}

static void longer_than_its_chain(struct fixture *f, struct peer *peer)
{
	peer_say_header(f, peer_header(peer, VIRTIO_VSOCK_OP_RW, 5), "1234", 4);
}

static void longer_than_any(struct fixture *f, struct peer *peer)
{
	peer_say_header(f, peer_header(peer, VIRTIO_VSOCK_OP_RW, UINT32_MAX), "1234", 4);
}

static void overrun(struct fixture *f, struct peer *peer)
{
	for (unsigned i = 0; i < PV_VSOCK_WINDOW / 65536; i++)
		peer_say_data(f, peer, f->payload, 65536);
	peer_say_data(f, peer, "x", 1);
}

static void larger_than_the_window(struct fixture *f, struct peer *peer)
{
	const uint32_t len = PV_VSOCK_WINDOW + 1;
	struct virtio_vsock_hdr header = peer_header(peer, VIRTIO_VSOCK_OP_RW, len);

	assert_true(guest_add_tx(&f->guest, &header, NULL, 0, false));
	guest_resize_tx(&f->guest, (uint32_t)sizeof(header) + len);
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_TX);
}

static void data_after_shutdown(struct fixture *f, struct peer *peer)
{
	peer_say_shutdown(f, peer, VIRTIO_VSOCK_SHUTDOWN_SEND);
	peer_say_data(f, peer, "x", 1);
}

static void credit_for_unsent(struct fixture *f, struct peer *peer)
{
	peer->fwd_cnt = 9;
	peer->buf_alloc = UINT32_MAX;
	peer_say(f, peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

static void shrunk_under_flight(struct fixture *f, struct peer *peer)
{
	peer->buf_alloc = 7;
	peer_say(f, peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

static void violations_reset_the_connection(void **state)
{
	struct fixture *f = *state;

	fixture_add_rx(f, 60);
	violation(f, unknown_op);
	violation(f, second_request);
	violation(f, stray_response);
	violation(f, longer_than_its_chain);
	violation(f, longer_than_any);
	violation(f, overrun);
	violation(f, larger_than_the_window);
	violation(f, data_after_shutdown);
	violation(f, credit_for_unsent);
	violation(f, shrunk_under_flight);
}

static void legal_oddities_are_tolerated(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(7, HOST_PORT);

	fixture_add_rx(f, 16);
	peer_open(f, &peer, &port);
	pv_vsock_conn_send(port.conn, "12345678", 8);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	peer.fwd_cnt = 8;
	peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	/* Two CPUs of the guest overtook each other. */
	peer.fwd_cnt = 4;
	peer_say_data(f, &peer, "a", 1);
	/* A smaller buffer that still holds what is in flight, and then none at all. */
	peer.fwd_cnt = 8;
	peer.buf_alloc = 3;
	peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	pv_vsock_conn_send(port.conn, "abcdef", 6);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->last.len, 3);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	peer.fwd_cnt = 11;
	peer.buf_alloc = 0;
	peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	peer_expect_nothing(f);
	peer.buf_alloc = UINT32_MAX;
	peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(peer.got.data, "12345678abcdef", 14);
	/* Empty data, a payload with a tail, a control packet with a payload. */
	peer_say_data(f, &peer, NULL, 0);
	peer_say_header(f, peer_header(&peer, VIRTIO_VSOCK_OP_RW, 2), "bcd", 3);
	peer_say_header(f, peer_header(&peer, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 100), "x", 1);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(port.got.len, 3);
	assert_memory_equal(port.got.data, "abc", 3);
	assert_int_equal(port.closed, 0);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VSOCK_TEST(wrong_packets_are_answered_or_dropped),
	    VSOCK_TEST(violations_reset_the_connection),
	    VSOCK_TEST(legal_oddities_are_tolerated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
