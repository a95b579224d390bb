/*
 * The packet of the socket device (virtio 1.2, section 5.10.6): a header of 44 bytes, and payload
 * behind it for VIRTIO_VSOCK_OP_RW. All fields are little-endian; base/bytes.h refuses to compile
 * on other hosts.
 */
#ifndef PV_VIRTIO_VSOCK_PACKET_H
#define PV_VIRTIO_VSOCK_PACKET_H

#include <stdint.h>

/* Queues (5.10.2). */
#define VIRTIO_VSOCK_QUEUE_RX	 0
#define VIRTIO_VSOCK_QUEUE_TX	 1
#define VIRTIO_VSOCK_QUEUE_EVENT 2

/* Features (5.10.3). */
#define VIRTIO_VSOCK_F_STREAM (UINT64_C(1) << 0)

/* Socket types (5.10.6.2). */
#define VIRTIO_VSOCK_TYPE_STREAM    1
#define VIRTIO_VSOCK_TYPE_SEQPACKET 2

/* Operations (5.10.6). */
#define VIRTIO_VSOCK_OP_INVALID	       0
#define VIRTIO_VSOCK_OP_REQUEST	       1
#define VIRTIO_VSOCK_OP_RESPONSE       2
#define VIRTIO_VSOCK_OP_RST	       3
#define VIRTIO_VSOCK_OP_SHUTDOWN       4
#define VIRTIO_VSOCK_OP_RW	       5
#define VIRTIO_VSOCK_OP_CREDIT_UPDATE  6
#define VIRTIO_VSOCK_OP_CREDIT_REQUEST 7

/* Flags of VIRTIO_VSOCK_OP_SHUTDOWN (5.10.6.5); the specification gives bit numbers, these are the
 * masks. */
#define VIRTIO_VSOCK_SHUTDOWN_RECEIVE (1u << 0)
#define VIRTIO_VSOCK_SHUTDOWN_SEND    (1u << 1)
#define VIRTIO_VSOCK_SHUTDOWN_BOTH    (VIRTIO_VSOCK_SHUTDOWN_RECEIVE | VIRTIO_VSOCK_SHUTDOWN_SEND)

struct virtio_vsock_hdr {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len; /* bytes of payload */
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc; /* the sender's receive buffer for this connection, in bytes */
	uint32_t fwd_cnt;   /* bytes that the sender has consumed, free-running */
} __attribute__((packed));

_Static_assert(sizeof(struct virtio_vsock_hdr) == 44, "the header has no padding");

#endif
