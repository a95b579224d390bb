/*
 * Which connections and listeners a socket device has: lookup by ports, ports for connections that
 * the host begins, and memory of connections that have ended. Private to virtio/vsock*.c. Under the
 * loop lock.
 */
#ifndef PV_VIRTIO_VSOCK_TABLE_H
#define PV_VIRTIO_VSOCK_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "virtio/vsock_conn.h"

#define PV_VSOCK_TABLE_BUCKETS 1024u /* a power of two */

struct pv_vsock_listener {
	uint32_t port;
	bool (*accept)(void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops,
	    void **port_ctx);
	void *ctx;
	LIST_ENTRY(pv_vsock_listener) link;
};

LIST_HEAD(pv_vsock_conn_list, pv_vsock_conn);

/* Zeroed = empty. */
struct pv_vsock_table {
	struct pv_vsock_conn_list buckets[PV_VSOCK_TABLE_BUCKETS];
	struct pv_vsock_conn_list dead;
	LIST_HEAD(, pv_vsock_listener) listeners;
	unsigned count;	    /* connections alive */
	uint32_t last_port; /* rolls on through resets: the guest may still remember recent ports */
};

/* The live connection of these ports, or NULL. */
struct pv_vsock_conn *pv_vsock_table_find(
    struct pv_vsock_table *table, uint32_t host_port, uint32_t guest_port);

/* Any live connection, or NULL. */
struct pv_vsock_conn *pv_vsock_table_any(struct pv_vsock_table *table);

/* Fills in the live connections, in no order; `out` has room for PV_VSOCK_CONNS_MAX. Returns how many
 * there are. */
unsigned pv_vsock_table_list(const struct pv_vsock_table *table, const struct pv_vsock_conn **out);

/* Adds a zeroed connection with these ports, which must be free. NULL with PV_VSOCK_CONNS_MAX alive
 * or out of memory. */
struct pv_vsock_conn *pv_vsock_table_add(
    struct pv_vsock_table *table, uint32_t host_port, uint32_t guest_port);

/* Marks a live connection dead: it is found no more, its memory stays. */
void pv_vsock_table_bury(struct pv_vsock_table *table, struct pv_vsock_conn *conn);

/* Frees the dead. */
void pv_vsock_table_reap(struct pv_vsock_table *table);

/* A host port above 2^20 that nobody listens on and that has no connection with `guest_port`. */
uint32_t pv_vsock_table_next_port(struct pv_vsock_table *table, uint32_t guest_port);

/* The listener on `port`, or NULL. */
struct pv_vsock_listener *pv_vsock_table_listener(struct pv_vsock_table *table, uint32_t port);

/* Adds a listener for the caller to fill in, or returns NULL when out of memory. */
struct pv_vsock_listener *pv_vsock_table_listen(struct pv_vsock_table *table, uint32_t port);

/* Removes and frees a listener of the table. */
void pv_vsock_table_unlisten(struct pv_vsock_listener *listener);

/* Frees the dead and the listeners; no connection may be alive. */
void pv_vsock_table_finish(struct pv_vsock_table *table);

#endif
