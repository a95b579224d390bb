/*
 * What a socket device owes to its guest, and the rx queue that it goes into: connections that have
 * something to send, and RST packets that belong to no connection any more. Private to
 * virtio/vsock*.c. Under the loop lock.
 */
#ifndef PV_VIRTIO_VSOCK_OUTBOX_H
#define PV_VIRTIO_VSOCK_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "virtio/vsock.h"

struct pv_vsock_conn;

/* While so many RST packets wait, no packet of the guest may be taken. */
#define PV_VSOCK_RESETS_SOFT 256u
#define PV_VSOCK_RESETS_MAX  (PV_VSOCK_RESETS_SOFT + PV_VSOCK_CONNS_MAX + 1)

/* A RST that waits for a buffer. */
struct pv_vsock_reset {
	uint64_t host_cid; /* as the guest addressed us */
	uint32_t host_port;
	uint32_t guest_port;
	uint16_t type;
};

TAILQ_HEAD(pv_vsock_conn_queue, pv_vsock_conn);

struct pv_vsock_outbox {
	struct pv_virtio *dev;
	uint64_t guest_cid;
	bool open;     /* between activation and reset */
	bool starved;  /* the rx queue was empty, and the guest has been asked to kick */
	bool kicks;    /* the guest has been asked to kick */
	bool used;     /* chains were given back since the last interrupt */
	size_t queued; /* bytes that wait, over all connections */
	struct pv_vsock_conn_queue ready;
	unsigned reset_first;
	unsigned reset_count;
	struct pv_vsock_reset resets[PV_VSOCK_RESETS_MAX];
};

void pv_vsock_outbox_init(
    struct pv_vsock_outbox *outbox, struct pv_virtio *dev, uint64_t guest_cid);

/* The device was activated; or nothing can go out any more, and what waits outside of connections
 * is forgotten. */
void pv_vsock_outbox_open(struct pv_vsock_outbox *outbox);
void pv_vsock_outbox_shut(struct pv_vsock_outbox *outbox);

/* True while packets can go. */
bool pv_vsock_outbox_is_open(const struct pv_vsock_outbox *outbox);

/* Queues a RST. */
void pv_vsock_outbox_reset(struct pv_vsock_outbox *outbox, const struct pv_vsock_reset *reset);

/* Gives a connection a turn if it has something to send; takes its turn away. */
void pv_vsock_outbox_add(struct pv_vsock_outbox *outbox, struct pv_vsock_conn *conn);
void pv_vsock_outbox_remove(struct pv_vsock_outbox *outbox, struct pv_vsock_conn *conn);

/*
 * Sends what is due until nothing is or the guest has no buffers left. Connections may die in it.
 * The outermost level of the device calls this, nobody else.
 */
void pv_vsock_outbox_flush(struct pv_vsock_outbox *outbox);

/* Sends from `data` without queueing if nothing is in front of it; returns the bytes that went into
 * the guest's buffers. Calls no port. */
size_t pv_vsock_outbox_send_now(
    struct pv_vsock_outbox *outbox, struct pv_vsock_conn *conn, const void *data, size_t len);

/* Interrupts for what went since the last time. */
void pv_vsock_outbox_notify(struct pv_vsock_outbox *outbox);

#endif
