/*
 * The host's end of a stream connection of the socket device: what the device calls. The other direction is the pv_vsock_conn_* functions of
 * virtio/vsock.h. Under the loop lock; a callback may call back into the device for the same connection.
 */
#ifndef PV_VIRTIO_STREAM_PORT_H
#define PV_VIRTIO_STREAM_PORT_H

#include <stdbool.h>
#include <stddef.h>

struct pv_vsock_conn;

struct pv_stream_port_ops {
	/* Host-initiated connection: the guest accepted. */
	void (*connected)(void *ctx);
	/*
	 * Bytes from the guest. The port takes all of them. To slow the guest down it tells the device later what it has digested
	 * (pv_vsock_conn_credit); until then at most the receive window is in flight.
	 */
	void (*receive)(void *ctx, const void *data, size_t len);
	/* A send that was cut short can go on. */
	void (*writable)(void *ctx);
	/* The guest will send no more. */
	void (*end_of_stream)(void *ctx);
	/* The connection is over: reset, refused, or both sides have shut down. The connection is gone when this returns. */
	void (*closed)(void *ctx);
};

#endif
