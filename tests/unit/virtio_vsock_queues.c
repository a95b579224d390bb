/*
 * The socket device's queues and its many connections: starvation, back-pressure, turns, resets,
 * and ports that call back in.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vsock_peer.h"

/* --- queues --- */

static void starved_device_goes_on_after_refill(void **state)
{
	struct fixture *f = *state;
	struct port port = {0};
	struct peer peer = peer_new(7, HOST_PORT), nobody = peer_new(8, 9);

	fixture_add_rx(f, 2);
	peer_open(f, &peer, &port);
	pv_vsock_conn_send(port.conn, "1", 1);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	pv_vsock_conn_send(port.conn, "2", 1);
	pv_vsock_conn_send(port.conn, "3", 1);
	peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	peer_say(f, &nobody, VIRTIO_VSOCK_OP_RW);
	peer_expect_nothing(f);
	/* The RST first, then one packet with both bytes, which carries the credit too. */
	fixture_add_rx(f, 1);
	assert_int_equal(peer_hear(f, &nobody, 1), VIRTIO_VSOCK_OP_RST);
	peer_expect_nothing(f);
	fixture_add_rx(f, 1);
	peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->last.len, 2);
	assert_memory_equal(peer.got.data, "123", 3);
	fixture_add_rx(f, 4);
	peer_expect_nothing(f);
	/* Not starved: no kick was wanted for these buffers, and a send finds them. */
	unsigned kicks = f->guest.kicks[0];
	fixture_add_rx(f, 4);
	fixture_add_rx(f, 4);
	assert_true(f->guest.kicks[0] <= kicks + 1);
	unsigned interrupts = f->guest.interrupts[0];
	pv_vsock_conn_send(port.conn, f->payload, RX_SIZE * 3);
	assert_int_equal(f->guest.interrupts[0], interrupts + 1);
	for (unsigned i = 0; i < 4; i++)
		peer_expect(f, &peer, VIRTIO_VSOCK_OP_RW);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

static void back_pressure_stops_tx(void **state)
{
	struct fixture *f = *state;
	struct peer nobody = peer_new(0, 9);
	unsigned sent = 0, heard = 0;

	/* Without rx buffers the device answers from a bounded store, and then lets packets wait.
	 */
	for (;;) {
		nobody.guest_port = sent;
		struct virtio_vsock_hdr header = peer_header(&nobody, VIRTIO_VSOCK_OP_REQUEST, 0);
		if (!guest_add_tx(&f->guest, &header, NULL, 0, false))
			break;
		guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_TX);
		sent++;
		assert_true(sent < 2000);
	}
	assert_true(sent > 256);
	while (heard < sent) {
		fixture_add_rx(f, 7);
		nobody.guest_port = heard;
		while (heard < sent && peer_hear(f, &nobody, 1)) {
			assert_int_equal(f->last.op, VIRTIO_VSOCK_OP_RST);
			assert_int_equal(f->last.dst_port, heard);
			nobody.guest_port = ++heard;
		}
	}
	peer_expect_nothing(f);
	/* And all is as before. */
	nobody.guest_port = 1;
	fixture_add_rx(f, 8);
	peer_say(f, &nobody, VIRTIO_VSOCK_OP_RW);
	peer_expect(f, &nobody, VIRTIO_VSOCK_OP_RST);
}

static void turns_are_fair(void **state)
{
	struct fixture *f = *state;
	struct port ports[3] = {0};
	struct peer peers[3];
	static uint8_t bulk[100000];

	fixture_add_rx(f, 3);
	for (unsigned i = 0; i < 3; i++) {
		peers[i] = peer_new(10 + i, HOST_PORT);
		peers[i].buf_alloc = 1u << 20;
		peer_open(f, &peers[i], &ports[i]);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
		    pv_vsock_conn_send(ports[i].conn, bulk, sizeof(bulk)), sizeof(bulk));
	for (unsigned round = 0; round < 10; round++) {
		fixture_add_rx(f, 6);
		while (peer_hear(f, peers, 3))
			;
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(peers[i].heard[VIRTIO_VSOCK_OP_RW], 2 * (round + 1));
	}
	for (unsigned i = 0; i < 3; i++) {
		pv_vsock_conn_close(ports[i].conn);
		peer_finish(&peers[i], &ports[i]);
	}
	assert_int_equal(pv_vsock_queued_bytes(f->guest.vsock), 0);
}

static void tiny_rx_buffer_breaks_the_device(void **state)
{
	struct fixture *f = *state;
	struct port port = {0}, late = {0};
	struct peer peer = peer_new(7, HOST_PORT);
	struct pv_vsock_conn *conn = NULL;

	fixture_add_rx(f, 1);
	peer_open(f, &peer, &port);
	assert_true(guest_add_rx(&f->guest, 44, false));
	/* The one who asks hears it as a result, the others as `closed`. */
	assert_int_equal(pv_vsock_connect(f->guest.vsock, 5, &port_ops, &late, &conn), -ENOTCONN);
	assert_int_equal(late.closed, 0);
	assert_int_equal(port.closed, 1);
	assert_true(f->guest.dev->status & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 0);
	guest_reset(&f->guest, true);
	fixture_add_rx(f, 4);
	peer_open(f, &peer, &port);
	pv_vsock_conn_close(port.conn);
}

static void reset_in_the_middle_closes_all(void **state)
{
	struct fixture *f = *state;
	struct port ports[2] = {0};
	struct peer a = peer_new(7, HOST_PORT), b = peer_new(8, 0);
	static uint8_t bulk[300000];

	fixture_add_rx(f, 8);
	peer_open(f, &a, &ports[0]);
	peer_connect(f, &b, &ports[1]);
	uint32_t first_port = b.host_port;
	pv_vsock_conn_send(ports[0].conn, bulk, sizeof(bulk));
	guest_reset(&f->guest, true);
	assert_int_equal(ports[0].closed, 1);
	assert_int_equal(ports[1].closed, 1);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 0);
	assert_int_equal(pv_vsock_queued_bytes(f->guest.vsock), 0);
	fixture_add_rx(f, 8);
	peer_expect_nothing(f);
	/* A port that the guest may remember is not used again at once. */
	peer_connect(f, &b, &ports[1]);
	assert_true(b.host_port > first_port);
	pv_vsock_conn_close(ports[1].conn);
}

/* --- turns of the guest --- */

/* A guest that adds a packet for each that is taken, while it is taken. */
static struct {
	struct fixture *f;
	struct peer *peer;
	uint32_t next, count;
} feed;

static void add_numbered(void)
{
	uint32_t number = feed.next++;
	struct virtio_vsock_hdr header = peer_header(feed.peer, VIRTIO_VSOCK_OP_RW, sizeof(number));
	feed.peer->tx_cnt += sizeof(number);
	assert_true(guest_add_tx(&feed.f->guest, &header, &number, sizeof(number), false));
}

static void feed_on(struct port *port)
{
	if (feed.next < feed.count)
		add_numbered();
}

static void a_guest_that_never_stops_gets_turns(void **state)
{
	struct fixture *f = *state;
	struct port port = {.digest = true, .hook_at = EVENT_RECEIVE, .hook = feed_on};
	struct peer peer = peer_new(7, HOST_PORT);
	unsigned turns = 0;

	fixture_add_rx(f, 60);
	peer_open(f, &peer, &port);
	feed.f = f;
	feed.peer = &peer;
	feed.next = 0;
	feed.count = 20000;
	for (unsigned i = 0; i < 10; i++)
		add_numbered();
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_TX);
	size_t before = 0;
	for (;;) {
		size_t taken = port.got.len / sizeof(uint32_t);
		assert_in_range(taken - before, 1, GUEST_RING_SIZE);
		before = taken;
		turns++;
		if (!f->guest.later[VIRTIO_VSOCK_QUEUE_TX])
			break;
		f->guest.later[VIRTIO_VSOCK_QUEUE_TX] = 0;
		pv_virtio_kick(f->guest.dev, VIRTIO_VSOCK_QUEUE_TX);
	}
	assert_int_equal(before, feed.count);
	assert_in_range(turns, feed.count / GUEST_RING_SIZE, feed.count / 2);
	for (uint32_t i = 0; i < feed.count; i++)
		assert_memory_equal(port.got.data + i * sizeof(i), &i, sizeof(i));
	/* And when it has stopped, it kicks for the next one. */
	unsigned kicks = f->guest.kicks[VIRTIO_VSOCK_QUEUE_TX];
	add_numbered();
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_TX);
	assert_int_equal(f->guest.kicks[VIRTIO_VSOCK_QUEUE_TX], kicks + 1);
	assert_int_equal(port.got.len, (feed.count + 1) * sizeof(uint32_t));
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

static void a_turn_ends_after_a_mebibyte(void **state)
{
	enum { PACKETS = 60, SIZE = 60000 };
	struct fixture *f = *state;
	struct port port = {.digest = true};
	struct peer peer = peer_new(7, HOST_PORT);
	static uint8_t data[SIZE];

	fixture_add_rx(f, 60);
	peer_open(f, &peer, &port);
	for (unsigned i = 0; i < PACKETS; i++) {
		struct virtio_vsock_hdr header = peer_header(&peer, VIRTIO_VSOCK_OP_RW, SIZE);
		memset(data, (int)i, sizeof(data));
		peer.tx_cnt += SIZE;
		assert_true(guest_add_tx(&f->guest, &header, data, SIZE, true));
	}
	guest_kick(&f->guest, VIRTIO_VSOCK_QUEUE_TX);
	assert_in_range(port.got.len, 1 << 20, (1 << 20) + 2 * SIZE);
	while (f->guest.later[VIRTIO_VSOCK_QUEUE_TX]) {
		f->guest.later[VIRTIO_VSOCK_QUEUE_TX] = 0;
		pv_virtio_kick(f->guest.dev, VIRTIO_VSOCK_QUEUE_TX);
	}
	assert_int_equal(port.got.len, PACKETS * SIZE);
	for (unsigned i = 0; i < PACKETS; i++)
		assert_int_equal(port.got.data[(size_t)i * SIZE + i], i);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

/* --- many --- */

static void a_thousand_connections(void **state)
{
	struct fixture *f = *state;
	static struct port ports[PV_VSOCK_CONNS_MAX];
	static struct peer peers[PV_VSOCK_CONNS_MAX];
	struct port extra = {0};
	struct peer late = peer_new(9999, HOST_PORT);
	struct pv_vsock_conn *conn;

	fixture_add_rx(f, 60);
	for (unsigned i = 0; i < PV_VSOCK_CONNS_MAX; i++) {
		if (i % 2) {
			peers[i] = peer_new(22, 0);
			peer_connect(f, &peers[i], &ports[i]);
			peer_say(f, &peers[i], VIRTIO_VSOCK_OP_RESPONSE);
		} else {
			peers[i] = peer_new(2000 + i, HOST_PORT);
			peer_open(f, &peers[i], &ports[i]);
		}
		fixture_add_rx(f, 1);
	}
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), PV_VSOCK_CONNS_MAX);
	assert_int_equal(pv_vsock_connect(f->guest.vsock, 22, &port_ops, &extra, &conn), -ENOSPC);
	assert_int_equal(pv_vsock_listen(f->guest.vsock, HOST_PORT, port_accept, &extra), 0);
	peer_say(f, &late, VIRTIO_VSOCK_OP_REQUEST);
	peer_expect(f, &late, VIRTIO_VSOCK_OP_RST);
	assert_null(extra.conn);
	for (unsigned i = 0; i < PV_VSOCK_CONNS_MAX; i++) {
		pv_vsock_conn_send(ports[i].conn, &i, sizeof(i));
		peer_expect(f, &peers[i], VIRTIO_VSOCK_OP_RW);
		assert_memory_equal(peers[i].got.data, &i, sizeof(i));
		peer_say_data(f, &peers[i], &i, sizeof(i));
		assert_memory_equal(ports[i].got.data, &i, sizeof(i));
		fixture_add_rx(f, 1);
	}
	/* All closed without an rx buffer: every RST must arrive in the end. */
	while (guest_rx_free(&f->guest)) {
		pv_vsock_conn_send(ports[0].conn, "x", 1);
		peer_hear(f, &peers[0], 1);
	}
	for (unsigned i = 0; i < PV_VSOCK_CONNS_MAX; i++)
		pv_vsock_conn_close(ports[i].conn);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 0);
	unsigned resets = 0;
	do {
		while (peer_hear(f, NULL, 0))
			resets += f->last.op == VIRTIO_VSOCK_OP_RST;
		fixture_add_rx(f, 16);
	} while (resets < PV_VSOCK_CONNS_MAX && guest_rx_free(&f->guest) < 60);
	assert_int_equal(resets, PV_VSOCK_CONNS_MAX);
	for (unsigned i = 0; i < PV_VSOCK_CONNS_MAX; i++)
		peer_finish(&peers[i], &ports[i]);
}

/* --- callbacks that turn round --- */

static void close_in_each_callback(void **state)
{
	struct fixture *f = *state;

	for (enum event event = EVENT_ACCEPT; event <= EVENT_CLOSED; event++) {
		struct port port = {.hook_at = event, .hook = port_close};
		struct peer peer = peer_new(7, HOST_PORT);
		static uint8_t bulk[PV_VSOCK_SEND_MAX * 2];

		guest_reset(&f->guest, true);
		fixture_add_rx(f, 30);
		if (event == EVENT_CONNECTED) {
			peer_connect(f, &peer, &port);
			peer_say(f, &peer, VIRTIO_VSOCK_OP_RESPONSE);
		} else {
			port.vsock = f->guest.vsock;
			assert_int_equal(
			    pv_vsock_listen(port.vsock, HOST_PORT, port_accept, &port), 0);
			peer_say(f, &peer, VIRTIO_VSOCK_OP_REQUEST);
			pv_vsock_listen(port.vsock, HOST_PORT, NULL, NULL);
			if (event != EVENT_ACCEPT) {
				peer_expect(f, &peer, VIRTIO_VSOCK_OP_RESPONSE);
				pv_vsock_conn_send(
				    port.conn, bulk, event == EVENT_WRITABLE ? sizeof(bulk) : 10);
				peer_say_data(f, &peer, "x", 1);
			}
			if (event == EVENT_WRITABLE) {
				peer_say_shutdown(f, &peer, VIRTIO_VSOCK_SHUTDOWN_RECEIVE);
				assert_int_equal(port.writable, 1);
			}
			if (event == EVENT_END)
				peer_say_shutdown(f, &peer, VIRTIO_VSOCK_SHUTDOWN_BOTH);
			if (event == EVENT_CLOSED)
				peer_say(f, &peer, VIRTIO_VSOCK_OP_RST);
		}
		assert_int_equal(pv_vsock_open_count(f->guest.vsock), 0);
		assert_int_equal(port.closed, event == EVENT_CLOSED);
		unsigned resets = 0;
		while (peer_hear(f, &peer, 1))
			resets += f->last.op == VIRTIO_VSOCK_OP_RST;
		assert_int_equal(resets, event != EVENT_CLOSED);
		peer_finish(&peer, &port);
	}
}

static void echo(struct port *port)
{
	size_t sent = pv_vsock_conn_send(port->conn, port->got.data, port->got.len);
	pv_vsock_conn_credit(port->conn, sent);
	pv_bytes_consume(&port->got, sent);
}

static void echo_from_the_callback(void **state)
{
	struct fixture *f = *state;
	struct port port = {.hook_at = EVENT_RECEIVE, .hook = echo};
	struct peer peer = peer_new(7, HOST_PORT);
	struct pv_bytes sent = {0};

	fixture_add_rx(f, 4);
	peer_open(f, &peer, &port);
	for (unsigned i = 0; i < 3000; i++) {
		uint32_t len = 1 + fixture_roll(f, 9000);
		if (len > peer_room(&peer))
			len = peer_room(&peer);
		memset(f->payload, (int)i, len);
		assert_int_equal(pv_bytes_append(&sent, f->payload, len), 0);
		unsigned interrupts = f->guest.interrupts[0];
		peer_say_data(f, &peer, f->payload, len);
		assert_true(f->guest.interrupts[0] <= interrupts + 1);
		do {
			peer.fwd_cnt = peer.rx_cnt;
			fixture_add_rx(f, 4);
		} while (peer_hear(f, &peer, 1) || peer.got.len + PV_VSOCK_WINDOW < sent.len);
	}
	peer.fwd_cnt = peer.rx_cnt;
	peer_say(f, &peer, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	while (peer_hear(f, &peer, 1)) {
		peer.fwd_cnt = peer.rx_cnt;
		fixture_add_rx(f, 4);
	}
	assert_int_equal(peer.got.len, sent.len);
	assert_memory_equal(peer.got.data, sent.data, sent.len);
	pv_bytes_finish(&sent);
	pv_vsock_conn_close(port.conn);
	peer_finish(&peer, &port);
}

static struct port *victim;

static void close_victim(struct port *port)
{
	if (victim->conn)
		pv_vsock_conn_close(victim->conn);
	victim->conn = NULL;
}

static void connect_again(struct port *port)
{
	port->hook_at = EVENT_NONE;
	pv_vsock_connect(port->vsock, 33, &port_ops, victim, &victim->conn);
}

static void callbacks_reach_other_connections(void **state)
{
	struct fixture *f = *state;
	struct port other = {0}, port = {.hook_at = EVENT_RECEIVE, .hook = close_victim},
		    last = {0};
	struct peer a = peer_new(7, HOST_PORT), b = peer_new(8, HOST_PORT);

	victim = &other;
	fixture_add_rx(f, 3);
	peer_open(f, &a, &other);
	peer_open(f, &b, &port);
	pv_vsock_conn_send(other.conn, "1", 1);
	pv_vsock_conn_send(other.conn, "2", 1);
	/* The victim waits for its turn when it is closed. */
	peer_say_data(f, &b, "x", 1);
	assert_int_equal(pv_vsock_open_count(f->guest.vsock), 1);
	fixture_add_rx(f, 8);
	peer_expect(f, &a, VIRTIO_VSOCK_OP_RW);
	peer_expect(f, &a, VIRTIO_VSOCK_OP_RST);
	/* A connection that ends begins another. */
	victim = &last;
	port.hook_at = EVENT_CLOSED;
	port.hook = connect_again;
	peer_say(f, &b, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(port.closed, 1);
	assert_int_equal(peer_hear(f, NULL, 0), VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(f->last.dst_port, 33);
	pv_vsock_conn_close(last.conn);
	peer_finish(&a, &other);
	peer_finish(&b, &port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VSOCK_TEST(starved_device_goes_on_after_refill),
	    VSOCK_TEST_FLAGS(starved_device_goes_on_after_refill),
	    VSOCK_TEST(back_pressure_stops_tx),
	    VSOCK_TEST_FLAGS(back_pressure_stops_tx),
	    VSOCK_TEST(turns_are_fair),
	    VSOCK_TEST(tiny_rx_buffer_breaks_the_device),
	    VSOCK_TEST(reset_in_the_middle_closes_all),
	    VSOCK_TEST(a_guest_that_never_stops_gets_turns),
	    VSOCK_TEST_FLAGS(a_guest_that_never_stops_gets_turns),
	    VSOCK_TEST(a_turn_ends_after_a_mebibyte),
	    VSOCK_TEST_FLAGS(a_turn_ends_after_a_mebibyte),
	    VSOCK_TEST(a_thousand_connections),
	    VSOCK_TEST(close_in_each_callback),
	    VSOCK_TEST(echo_from_the_callback),
	    VSOCK_TEST_FLAGS(echo_from_the_callback),
	    VSOCK_TEST(callbacks_reach_other_connections),
	};
	return cmocka_run_group_tests_name("virtio vsock queues", tests, NULL, NULL);
}
