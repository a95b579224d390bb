/*
 * One connection of the socket device: its state machine, its credit, and the bytes that wait for
 * the guest. Private to virtio/vsock*.c; others use virtio/vsock.h. Under the loop lock.
 *
 * A connection dies at once for everybody who looks it up, but its memory stays until the outermost
 * call into the device returns, because a port may end any connection from any callback. So after
 * each callback `dead` is looked at before anything else is done.
 */
#ifndef PV_VIRTIO_VSOCK_CONN_H
#define PV_VIRTIO_VSOCK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/bytes.h"
#include "virtio/stream_port.h"
#include "virtio/vsock_packet.h"

struct pv_vsock;
struct pv_vsock_outbox;

enum pv_vsock_conn_phase {
	PV_VSOCK_CONN_OFFERED,	  /* the guest asked, the listener has not answered yet */
	PV_VSOCK_CONN_CONNECTING, /* the host asked, the guest has not answered yet */
	PV_VSOCK_CONN_OPEN,
};

/* Packets that are owed to the guest. One bit each, so that nothing the guest does makes this grow.
 */
#define PV_VSOCK_OWED_REQUEST  (1u << 0)
#define PV_VSOCK_OWED_RESPONSE (1u << 1)
#define PV_VSOCK_OWED_CREDIT   (1u << 2)
#define PV_VSOCK_OWED_SHUTDOWN (1u << 3)

/*
 * What both ends agree on. Plain data: with the bytes that wait this is also what a snapshot keeps
 * of a connection. All counters are free-running
 * modulo 2^32 (5.10.6.3).
 */
struct pv_vsock_conn_state {
	uint32_t host_port;
	uint32_t guest_port;
	uint8_t phase;		/* enum pv_vsock_conn_phase */
	uint8_t owed;		/* PV_VSOCK_OWED_* */
	uint8_t guest_shutdown; /* VIRTIO_VSOCK_SHUTDOWN_*: what the guest does no more */
	bool host_shutdown;	/* the port sends no more */
	bool credit_asked;	/* a CREDIT_REQUEST is out since the last byte was sent */

	uint32_t rx_cnt;   /* received from the guest */
	uint32_t fwd_cnt;  /* of these, digested by the port */
	uint32_t fwd_told; /* the `fwd_cnt` that the guest knows of */

	uint32_t tx_cnt; /* sent to the guest */
	uint32_t guest_fwd_cnt;
	uint32_t guest_buf_alloc;
};

struct pv_vsock_conn {
	struct pv_vsock_conn_state state;
	struct pv_vsock *vsock;
	struct pv_vsock_outbox *outbox;
	const struct pv_stream_port_ops *ops; /* NULL while no port is to be told anything */
	void *ctx;
	struct pv_bytes out; /* for the guest; the first `out_used` bytes have gone */
	size_t out_used;
	bool want_writable; /* a send was cut short */
	bool dead;
	bool ready; /* in the device's list of connections that have something to send */
	TAILQ_ENTRY(pv_vsock_conn) ready_link;
	/* One of the device's hash chains while alive, its list of the dead afterwards. */
	LIST_ENTRY(pv_vsock_conn) link;
};

/* --- virtio/vsock_conn.c, for the device --- */

/* Handles a packet of the guest for a live connection; `payload` is a private copy of header->len
 * bytes. `conn` may be dead afterwards. */
void pv_vsock_conn_input(
    struct pv_vsock_conn *conn, const struct virtio_vsock_hdr *header, const void *payload);

/* Takes the guest's credit fields from any packet. False when they break the rules: the connection
 * must be reset. */
bool pv_vsock_conn_take_credit(struct pv_vsock_conn *conn, const struct virtio_vsock_hdr *header);

/* Bytes that the guest has room for. */
uint32_t pv_vsock_conn_room(const struct pv_vsock_conn *conn);

/* Bytes that wait for the guest. */
size_t pv_vsock_conn_waiting(const struct pv_vsock_conn *conn);

/* True when neither side has anything more to say. */
bool pv_vsock_conn_is_over(const struct pv_vsock_conn *conn);

/* The operation to send next, VIRTIO_VSOCK_OP_INVALID when there is none. */
uint16_t pv_vsock_conn_next_op(const struct pv_vsock_conn *conn);

/* Writes the header of a packet with operation `op` and `len` bytes of payload. */
void pv_vsock_conn_fill(
    const struct pv_vsock_conn *conn, uint16_t op, uint32_t len, struct virtio_vsock_hdr *header);

/* That packet has gone to the guest. `len` does not take bytes from those that wait:
 * pv_vsock_conn_drop does. */
void pv_vsock_conn_sent(struct pv_vsock_conn *conn, uint16_t op, uint32_t len);

/* Forgets the first `len` of the waiting bytes. */
void pv_vsock_conn_drop(struct pv_vsock_conn *conn, size_t len);

/* What follows from packets having gone: the port may write again, or the connection is over.
 * `conn` may be dead afterwards. */
void pv_vsock_conn_advance(struct pv_vsock_conn *conn);

/* --- virtio/vsock.c, for the connection --- */

/*
 * Brackets around whatever a caller of the device does. The outermost leave sends what became due,
 * interrupts once per queue, and frees the dead.
 */
void pv_vsock_enter(struct pv_vsock *vsock);
void pv_vsock_leave(struct pv_vsock *vsock);

/* Ends a live connection: with a RST to the guest if `tell_guest` and it knows of the connection,
 * with `closed` if `tell_port`. */
void pv_vsock_end(struct pv_vsock_conn *conn, bool tell_guest, bool tell_port);

#endif
