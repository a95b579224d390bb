/*
 * Both ends of connections of the socket device, for its tests: `struct peer` is the guest's end
 * and keeps the credit rules, `struct port` is the host's and counts what it is told. Every packet
 * that the device sends is checked for what holds for all of them. Failures are cmocka's.
 */
#ifndef PV_TESTS_UNIT_VSOCK_PEER_H
#define PV_TESTS_UNIT_VSOCK_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "tests/unit/vsock_guest.h"

#define RX_SIZE	  4140u
#define HOST_PORT 500u

enum event {
	EVENT_NONE,
	EVENT_ACCEPT,
	EVENT_CONNECTED,
	EVENT_RECEIVE,
	EVENT_WRITABLE,
	EVENT_END,
	EVENT_CLOSED,
};

struct port {
	struct pv_vsock *vsock;
	struct pv_vsock_conn *conn;
	struct pv_bytes got;
	unsigned connected, writable, ended, closed;
	bool digest; /* give credit for everything at once */
	bool refuse;
	enum event hook_at;
	void (*hook)(struct port *port);
};

struct peer {
	uint32_t guest_port, host_port;
	uint32_t tx_cnt, fwd_cnt, rx_cnt, buf_alloc;
	uint32_t host_fwd_cnt, host_buf_alloc;
	struct pv_bytes got;
	unsigned heard[8];
};

struct fixture {
	struct vsock_guest guest;
	uint8_t payload[GUEST_PAYLOAD_MAX];
	struct virtio_vsock_hdr last;
	uint64_t random;
};

extern const struct pv_stream_port_ops port_ops;

/* Accepts for pv_vsock_listen; ctx is the struct port. */
bool port_accept(
    void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops, void **port_ctx);
/* A hook that closes the port's connection. */
void port_close(struct port *port);

/* cmocka set-up and tear-down: *state becomes a struct fixture with a running device, with event
 * indices or ring flags. */
int fixture_set_up(void **state);
int fixture_set_up_flags(void **state);
int fixture_tear_down(void **state);
/* Adds up to `count` rx buffers of RX_SIZE and kicks. */
void fixture_add_rx(struct fixture *f, unsigned count);
/* A pseudo-random number below `below`, the same in every run. */
uint32_t fixture_roll(struct fixture *f, uint32_t below);

struct peer peer_new(uint32_t guest_port, uint32_t host_port);
/* Frees what both ends received. */
void peer_finish(struct peer *peer, struct port *port);
/* Opens a connection that the guest begins. */
void peer_open(struct fixture *f, struct peer *peer, struct port *port);
/* Begins a connection of the host; the peer has received the REQUEST and not answered. */
void peer_connect(struct fixture *f, struct peer *peer, struct port *port);

/* The header of an honest packet, and ways to send one. */
struct virtio_vsock_hdr peer_header(const struct peer *peer, uint16_t op, uint32_t len);
void peer_say_header(
    struct fixture *f, struct virtio_vsock_hdr header, const void *payload, size_t len);
void peer_say(struct fixture *f, struct peer *peer, uint16_t op);
void peer_say_shutdown(struct fixture *f, struct peer *peer, uint32_t flags);
void peer_say_data(struct fixture *f, struct peer *peer, const void *data, size_t len);
/* Bytes that the peer may send. */
uint32_t peer_room(const struct peer *peer);

/* Takes a packet for whichever of the peers it is. Returns its op (header in f->last), 0 when there
 * is none. */
uint16_t peer_hear(struct fixture *f, struct peer *peers, size_t count);
void peer_expect(struct fixture *f, struct peer *peer, uint16_t op);
void peer_expect_nothing(struct fixture *f);

/* Table entries for the two kinds of kick suppression. */
#define VSOCK_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
#define VSOCK_TEST_FLAGS(name)                                                        \
	{                                                                             \
#name " (flags)", name, fixture_set_up_flags, fixture_tear_down, NULL \
	}

#endif
