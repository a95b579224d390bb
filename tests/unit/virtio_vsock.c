/*
 * The socket device, one connection at a time: how it begins and ends, what arrives, and credit.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vsock_peer.h"

/* --- connecting --- */

static void configuration_tells_the_cid(void **state)
{
	struct fixture *f = *state;
	uint64_t cid = 0;
	uint8_t bytes[16];

	f->guest.dev->ops->config_read(f->guest.dev, 0, &cid, 8);
	assert_int_equal(cid, GUEST_CID);
	memset(bytes, 0xff, sizeof(bytes));
	f->guest.dev->ops->config_read(f->guest.dev, 4, bytes, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(bytes[i], 0);
	assert_int_equal(bytes[8], 0xff);
	f->guest.dev->ops->config_read(f->guest.dev, UINT32_MAX, bytes, 4);
	assert_int_equal(bytes[0], 0);
}

static void guest_connects(void **state)
{
	struct fixture *f = *state;
	struct port port = {.digest = true};
	struct peer peer = peer_new(1025, HOST_PORT);

	fixture_add_rx(f, 8);
	peer_open(f, &peer, &port);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 1);
	assert_int_equal(port.connected, 0);
	peer_say_data(f, &peer, "hello", 5);
	assert_int_equal(port.got.len, 5);
	assert_memory_equal(port.got.data, "hello", 5);
	assert_int_equal(pv_vsock_conn_send(port.conn, "world!", 6), 6);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(peer.got.data, "world!", 6);
	assert_int_equal(f->last.fwd_cnt, 5);
	peer_expect_nothing(f);
	peer_say(f, &peer, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(port.closed, 1);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 0);
	peer_expect_nothing(f);
	peer_finish(&peer, &port);
}

static void host_connects(void **state)
{
	struct fixture *f = *state;
	struct port port = {0}, second = {0};
	struct peer peer = peer_new(22, 0), other = peer_new(22, 0);

	fixture_add_rx(f, 8);
	peer_connect(f, &peer, &port);
	peer_connect(f, &other, &second);
	assert_int_not_equal(peer.host_port, other.host_port);
	/* What is sent early waits for the answer. */
	assert_int_equal(pv_vsock_conn_send(port.conn, "early", 5), 5);
	peer_expect_nothing(f);
	assert_int_equal(pv_vsock_queued_bytes(f->guest.vsock), 5);
	peer_say(f, &peer, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(port.connected, 1);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(peer.got.data, "early", 5);
	assert_int_equal(pv_vsock_queued_bytes(f->guest.vsock), 0);
	/* The other one is refused. */
	peer_say(f, &other, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(second.closed, 1);
	assert_int_equal(second.connected, 0);
	pv_vsock_conn_close(port.conn);
	assert_int_equal(port.closed, 0);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RST);
	peer_expect_nothing(f);
	peer_finish(&peer, &port);
}

static void greet(struct port *port)
{
	assert_int_equal(pv_vsock_conn_send(port->conn, "hi", 2), 2);
}

static void the_answer_comes_before_the_data(void **state)
{
	struct fixture *f = *state;

	/* The port sends from `accept`, or from a packet that came in the same kick as the REQUEST.
	 */
	for (enum event event = EVENT_ACCEPT; event <= EVENT_RECEIVE; event++) {
		struct port port = {.hook_at = event, .hook = greet, .digest = true};
		struct peer peer = peer_new(7, HOST_PORT);
		struct virtio_vsock_hdr request = peer_header(&peer, VIRTIO_VSOCK_OP_REQUEST, 0);

		if (event == EVENT_CONNECTED)
			continue;
		guest_reset(&f->guest, true);
		fixture_add_rx(f, 8);
		assert_int_equal(pv_vsock_listen(f->guest.vsock, HOST_PORT, port_accept, &port), 0);
		assert_true(guest_add_tx(&f->guest, &request, NULL, 0, false));
		peer_say_data(f, &peer, "x", 1);
		peer_expect(f, &peer, VIRTIO_VSOCK_OP_RESPONSE);
		peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
		assert_int_equal(f->last.fwd_cnt, 1);
		peer_expect_nothing(f);
		pv_vsock_listen(f->guest.vsock, HOST_PORT, NULL, NULL);
		pv_vsock_conn_close(port.conn);
		peer_finish(&peer, &port);
	}
}

static void host_ports_avoid_listeners(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(22, 0);

	fixture_add_rx(f, 8);
	assert_int_equal(pv_vsock_listen(f->guest.vsock, (1u << 20) + 1, port_accept, &port), 0);
	peer_connect(f, &peer, &port);
	assert_int_equal(peer.host_port, (1u << 20) + 2);
	pv_vsock_conn_close(port.conn);
}

static void refusals_are_reset(void **state)
{
	struct fixture *f = *state;
	struct port port = {.refuse = true};
	struct peer nobody = peer_new(1, 9), refused = peer_new(2, HOST_PORT);
	struct pv_vsock_conn *conn;

	fixture_add_rx(f, 8);
	peer_say(f, &nobody, VIRTIO_VSOCK_OP_REQUEST);
	peer_expect(f, &nobody, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(pv_vsock_listen(f->guest.vsock, HOST_PORT, port_accept, &port), 0);
	assert_int_equal(
	    pv_vsock_listen(f->guest.vsock, HOST_PORT, port_accept, &port), -EADDRINUSE);
	peer_say(f, &refused, VIRTIO_VSOCK_OP_REQUEST);
	peer_expect(f, &refused, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(port.closed, 0);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 0);
	guest_reset(&f->guest, false);
	assert_int_equal(pv_vsock_connect(f->guest.vsock, 1, &port_ops, &port, &conn), -ENOTCONN);
}

static void close_before_the_request_has_gone_is_silent(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(5, 0);

	assert_int_equal(pv_vsock_connect(f->guest.vsock, 5, &port_ops, &port, &port.conn), 0);
	/* A guess of the guest at the port cannot touch the connection. */
	peer.host_port = (1u << 20) + 1;
	peer_say(f, &peer, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(port.connected, 0);
	pv_vsock_conn_close(port.conn);
	fixture_add_rx(f, 4);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RST); /* for the guess */
	peer_expect_nothing(f);
}

/* --- credit --- */

static void guest_stops_at_the_window_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(7, HOST_PORT);

	fixture_add_rx(f, 16);
	peer_open(f, &peer, &port);
	while (peer_room(&peer))
		peer_say_data(f, &peer, f->payload, 32768);
	assert_int_equal(port.got.len, PV_VSOCK_WINDOW);
	peer_expect_nothing(f);
	pv_vsock_conn_credit(port.conn, PV_VSOCK_WINDOW / 2 - 1);
	peer_expect_nothing(f);
	pv_vsock_conn_credit(port.conn, 1);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(peer_room(&peer), PV_VSOCK_WINDOW / 2);
	/* More digested than was eaten counts as all of it. */
	pv_vsock_conn_credit(port.conn, SIZE_MAX);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(peer_room(&peer), PV_VSOCK_WINDOW);
	peer_expect_nothing(f);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

static void host_stops_at_the_guests_buffer_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(7, HOST_PORT);
	static uint8_t bulk[PV_VSOCK_SEND_MAX + 65536 + 1000];

	fixture_add_rx(f, 60);
	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 7 >> 3);
	peer_open(f, &peer, &port);
	/* All that fits the guest's buffer goes at once, the limit of the queue is taken, the rest
	 * is refused. */
	size_t taken = pv_vsock_conn_send(port.conn, bulk, sizeof(bulk));
	assert_int_equal(taken, PV_VSOCK_SEND_MAX + 65536);
	assert_int_equal(pv_vsock_queued_bytes(f->guest.vsock), PV_VSOCK_SEND_MAX);
	while (peer_hear(f, &peer, 1))
		;
	assert_int_equal(peer.got.len, 65536);
	assert_int_equal(peer.heard[VIRTIO_VSOCK_OP_CREDIT_REQUEST], 1);
	/* An answer without room is not asked again. */
	peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	peer_expect_nothing(f);
	while (peer.got.len < sizeof(bulk)) {
		fixture_add_rx(f, 60);
		peer.fwd_cnt = peer.rx_cnt;
		peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		unsigned heard = 0;
		while (peer_hear(f, &peer, 1))
			heard++;
		assert_true(heard > 0);
		if (port.writable && taken < sizeof(bulk))
			taken += pv_vsock_conn_send(port.conn, bulk + taken, sizeof(bulk) - taken);
	}
	assert_int_equal(port.writable, 1);
	assert_int_equal(taken, sizeof(bulk));
	assert_memory_equal(peer.got.data, bulk, sizeof(bulk));
	assert_int_equal(pv_vsock_queued_bytes(f->guest.vsock), 0);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

/* Random sizes everywhere, the counters pass 2^32, and both streams arrive as they were sent. */
struct stream {
	struct pv_bytes sent;
	size_t digested;
};

static void host_step(struct fixture *f, struct port *port, struct stream *stream, size_t total)
{
	uint32_t len = 1 + fixture_roll(f, fixture_roll(f, 8) ? 3000 : 200000);
	static uint8_t data[200000];

	if (len > total - stream->sent.len)
		len = (uint32_t)(total - stream->sent.len);
	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(f->random >> i % 37);
	size_t taken = len ? pv_vsock_conn_send(port->conn, data, len) : 0;
	assert_int_equal(pv_bytes_append(&stream->sent, data, taken), 0);
	size_t undigested = port->got.len - stream->digested;
	uint32_t digest = fixture_roll(f, (uint32_t)undigested + 1);
	if (stream->sent.len == total)
		digest = (uint32_t)undigested;
	stream->digested += digest;
	pv_vsock_conn_credit(port->conn, digest);
}

static void guest_step(struct fixture *f, struct peer *peer, struct stream *stream, size_t total)
{
	for (unsigned count = fixture_roll(f, 20); count; count--)
		guest_add_rx(&f->guest, 45 + fixture_roll(f, 5000), fixture_roll(f, 2));
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_RX);
	for (unsigned count = fixture_roll(f, 30); count && peer_hear(f, peer, 1); count--)
		;
	peer->fwd_cnt += fixture_roll(f, peer->rx_cnt - peer->fwd_cnt + 1);
	uint32_t len = 1 + fixture_roll(f, fixture_roll(f, 4) ? 5000 : 65536);
	if (len > peer_room(peer))
		len = peer_room(peer);
	if (len > total - stream->sent.len)
		len = (uint32_t)(total - stream->sent.len);
	for (uint32_t i = 0; i < len; i++)
		f->payload[i] = (uint8_t)(f->random >> i % 41);
	if (len == 0 && fixture_roll(f, 4)) {
		peer_say(f, peer,
		    fixture_roll(f, 2) ? VIRTIO_VSOCK_OP_CREDIT_UPDATE
				       : VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		return;
	}
	assert_int_equal(pv_bytes_append(&stream->sent, f->payload, len), 0);
	peer_say_data(f, peer, f->payload, len);
}

static void streams_arrive_whole(void **state)
{
	struct fixture *f = *state;
	const size_t total = 12u << 20;
	struct port port = {0};
	struct peer peer = peer_new(7, 0);
	struct stream down = {0}, up = {0};

	peer.buf_alloc = 50000;
	fixture_add_rx(f, 8);
	peer_connect(f, &peer, &port);
	peer_say(f, &peer, VIRTIO_VSOCK_OP_RESPONSE);
	for (unsigned step = 0; step < 200000 && (peer.got.len < total || port.got.len < total);
	     step++) {
		host_step(f, &port, &down, total);
		guest_step(f, &peer, &up, total);
	}
	assert_int_equal(peer.got.len, total);
	assert_int_equal(port.got.len, total);
	assert_memory_equal(peer.got.data, down.sent.data, total);
	assert_memory_equal(port.got.data, up.sent.data, total);
	assert_int_equal(port.closed, 0);
	pv_bytes_finish(&down.sent);
	pv_bytes_finish(&up.sent);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

static void counters_wrap(void **state)
{
	struct fixture *f = *state;
	struct port port = {.digest = true};
	struct peer peer = peer_new(7, HOST_PORT);

	fixture_add_rx(f, 16);
	peer_open(f, &peer, &port);
	/* 2^32 bytes and a few more. */
	for (unsigned i = 0; i < (1u << 16) + 8; i++) {
		peer_say_data(f, &peer, f->payload, 65536);
		port.got.len = 0;
		while (peer_hear(f, &peer, 1))
			fixture_add_rx(f, 1);
		assert_int_equal(port.closed, 0);
	}
	assert_true(peer.tx_cnt < 65536 * 9);
	assert_true(peer_room(&peer) > PV_VSOCK_WINDOW / 2);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

/* --- the end --- */

static void half_close_both_orders(void **state)
{
	struct fixture *f = *state;
	struct port first = {0}, second = {0};
	struct peer a = peer_new(7, HOST_PORT), b = peer_new(8, HOST_PORT);

	fixture_add_rx(f, 32);
	/* The guest ends its side first; the host goes on sending. */
	peer_open(f, &a, &first);
	peer_say_shutdown(f, &a, VIRTIO_VSOCK_SHUTDOWN_SEND);
	peer_say_shutdown(f, &a, 0);
	assert_int_equal(first.ended, 1);
	pv_vsock_conn_send(first.conn, "tail", 4);
	pv_vsock_conn_shutdown(first.conn);
	assert_int_equal(first.closed, 1);
	peer_expect(f, &a, VIRTIO_VSOCK_OP_RW);
	peer_expect(f, &a, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(f->last.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	peer_expect(f, &a, VIRTIO_VSOCK_OP_RST);
	/* The host ends its side first, with bytes that find no credit yet. */
	b.buf_alloc = 2;
	peer_open(f, &b, &second);
	pv_vsock_conn_send(second.conn, "tail", 4);
	pv_vsock_conn_shutdown(second.conn);
	assert_int_equal(pv_vsock_conn_send(second.conn, "more", 4), 0);
	peer_expect(f, &b, VIRTIO_VSOCK_OP_RW);
	peer_expect(f, &b, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	peer_expect_nothing(f);
	b.fwd_cnt = 2;
	peer_say_data(f, &b, "late", 4);
	peer_expect(f, &b, VIRTIO_VSOCK_OP_RW);
	peer_expect(f, &b, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_memory_equal(b.got.data, "tail", 4);
	b.fwd_cnt = 4;
	peer_say_data(f, &b, "r", 1);
	assert_int_equal(second.got.len, 5);
	peer_say_shutdown(f, &b, VIRTIO_VSOCK_SHUTDOWN_SEND);
	assert_int_equal(second.ended, 1);
	assert_int_equal(second.closed, 1);
	peer_expect(f, &b, VIRTIO_VSOCK_OP_RST);
	peer_expect_nothing(f);
	peer_finish(&a, &first);
	peer_finish(&b, &second);
}

static void guest_closes_with_bytes_waiting(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(7, HOST_PORT);
	static uint8_t bulk[PV_VSOCK_SEND_MAX * 2];

	fixture_add_rx(f, 60);
	peer.buf_alloc = 0;
	peer_open(f, &peer, &port);
	assert_int_equal(pv_vsock_conn_send(port.conn, bulk, sizeof(bulk)), PV_VSOCK_SEND_MAX);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	/* It reads no more: what waits is dropped, the port may go on into the void. */
	peer_say_shutdown(f, &peer, VIRTIO_VSOCK_SHUTDOWN_RECEIVE);
	assert_int_equal(port.writable, 1);
	assert_int_equal(port.ended, 0);
	assert_int_equal(pv_vsock_queued_bytes(f->guest.vsock), 0);
	assert_int_equal(pv_vsock_conn_send(port.conn, bulk, sizeof(bulk)), sizeof(bulk));
	peer_say_data(f, &peer, "still", 5);
	assert_int_equal(port.got.len, 5);
	peer_say_shutdown(f, &peer, VIRTIO_VSOCK_SHUTDOWN_SEND);
	assert_int_equal(port.ended, 1);
	assert_int_equal(port.closed, 1);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RST);
	peer_expect_nothing(f);
	peer_finish(&peer, &port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VSOCK_TEST(configuration_tells_the_cid),
	    VSOCK_TEST(guest_connects),
	    VSOCK_TEST(host_connects),
	    VSOCK_TEST(the_answer_comes_before_the_data),
	    VSOCK_TEST(host_ports_avoid_listeners),
	    VSOCK_TEST(refusals_are_reset),
	    VSOCK_TEST(close_before_the_request_has_gone_is_silent),
	    VSOCK_TEST(guest_stops_at_the_window_and_goes_on),
	    VSOCK_TEST(host_stops_at_the_guests_buffer_and_goes_on),
	    VSOCK_TEST(streams_arrive_whole),
	    VSOCK_TEST_FLAGS(streams_arrive_whole),
	    VSOCK_TEST(counters_wrap),
	    VSOCK_TEST(half_close_both_orders),
	    VSOCK_TEST(guest_closes_with_bytes_waiting),
	};
	return cmocka_run_group_tests_name("virtio vsock", tests, NULL, NULL);
}
