/*
 * Socket device (virtio 1.2, section 5.10), stream sockets only. Connections end inside the process: there is no host module, no host-wide
 * CID, and the host's end is a port object (virtio/stream_port.h). The credit rules of 5.10.6.3 are kept in both directions. Under the loop lock.
 *
 * Any pv_vsock_conn_* call may touch the rings and find that the driver broke them: all ports then get `closed` before the call returns, also the
 * one that called. Otherwise `closed` runs inside a call only as pv_vsock_conn_shutdown says.
 */
#ifndef PV_VIRTIO_VSOCK_H
#define PV_VIRTIO_VSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/device.h"
#include "virtio/stream_port.h"

#define PV_VSOCK_HOST_CID 2
/* Receive window that the host announces per connection, and the limit of bytes queued for the guest per connection. */
#define PV_VSOCK_WINDOW	   (256u << 10)
#define PV_VSOCK_SEND_MAX  (1u << 20)
#define PV_VSOCK_CONNS_MAX 1024

struct pv_vsock;
struct pv_vsock_conn;

/* Creates the device with the guest's CID (3 or above). Returns 0 or -ENOMEM. */
int pv_vsock_create(struct pv_vsock **out, const struct pv_gmem *mem, uint64_t guest_cid);
/* Closes all connections (ports get `closed`) and frees the device. NULL is fine. */
void pv_vsock_destroy(struct pv_vsock *vsock);
struct pv_virtio *pv_vsock_virtio(struct pv_vsock *vsock);

/*
 * Guest-initiated connections to `port` are offered to `accept`, which returns true and fills ops and ctx to take the connection, or false to
 * refuse it. NULL `accept` ends the listening. Returns 0, -EADDRINUSE or -ENOMEM. Connections to ports without listener are reset.
 */
int pv_vsock_listen(struct pv_vsock *vsock, uint32_t port,
    bool (*accept)(void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops, void **port_ctx), void *ctx);

/*
 * Host-initiated connection to the guest's `port`. `connected` or `closed` follows. Returns 0, -ENOTCONN when the driver is not up, -ENOSPC with
 * PV_VSOCK_CONNS_MAX open, -ENOMEM; after an error no callback runs.
 */
int pv_vsock_connect(struct pv_vsock *vsock, uint32_t port, const struct pv_stream_port_ops *ops, void *ctx,
    struct pv_vsock_conn **out);

/*
 * Queues bytes to the guest; returns how many were taken (0..len). After a short answer `writable` is called when there is room again. Works before
 * `connected`, and from `accept` on. When the guest has announced that it receives no more, bytes are taken and dropped; after
 * pv_vsock_conn_shutdown none are taken. Out of memory resets the connection (`closed` runs).
 */
size_t pv_vsock_conn_send(struct pv_vsock_conn *conn, const void *data, size_t len);

/* The port has digested `len` received bytes. */
void pv_vsock_conn_credit(struct pv_vsock_conn *conn, size_t len);

/* The host will send no more; what was queued is still delivered. If the guest sends no more either, `closed` may run before this returns. */
void pv_vsock_conn_shutdown(struct pv_vsock_conn *conn);

/* Resets the connection at once; `closed` is not called, and `conn` is gone. */
void pv_vsock_conn_close(struct pv_vsock_conn *conn);

/* Number of open connections, and of bytes queued for the guest, over all of them: both 0 means quiescent. */
unsigned pv_vsock_open_count(const struct pv_vsock *vsock);
size_t pv_vsock_queued_bytes(const struct pv_vsock *vsock);

/* True when no bytes are queued for the guest, and ports have digested all that they received. */
bool pv_vsock_is_quiescent(const struct pv_vsock *vsock);

#endif
