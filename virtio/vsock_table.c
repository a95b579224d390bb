/*
 * Connections of a socket device, in hash chains by the two ports; the CIDs are the same for all.
 * Listeners are few and stand in a list. The device calls this under the loop lock.
 *
 * Ports for connections of the host come from a counter that rolls on through resets and snapshots:
 * the guest may hold on to a pair of ports for seconds after the connection has ended here
 * (5.10.6.5), and a counter is back at the same port only after 2^32 connections.
 */
#include "virtio/vsock_table.h"

#include <stdlib.h>

#include "virtio/vsock.h"

/* VMADDR_PORT_ANY, the highest number, is no port. */
#define EPHEMERAL_FIRST ((1u << 20) + 1)
#define EPHEMERAL_LAST	(UINT32_MAX - 1)

static struct pv_vsock_conn_list *bucket_of(
    struct pv_vsock_table *table, uint32_t host_port, uint32_t guest_port)
{
	uint64_t key = (uint64_t)host_port << 32 | guest_port;
	key *= UINT64_C(0x9e3779b97f4a7c15);
	return &table->buckets[(key >> 32) % PV_VSOCK_TABLE_BUCKETS];
}

struct pv_vsock_conn *pv_vsock_table_find(
    struct pv_vsock_table *table, uint32_t host_port, uint32_t guest_port)
{
	struct pv_vsock_conn *conn = LIST_FIRST(bucket_of(table, host_port, guest_port));

	while (conn && (conn->state.host_port != host_port || conn->state.guest_port != guest_port))
		conn = LIST_NEXT(conn, link);
	return conn;
}

struct pv_vsock_conn *pv_vsock_table_any(struct pv_vsock_table *table)
{
	for (unsigned i = 0; table->count && i < PV_VSOCK_TABLE_BUCKETS; i++) {
		if (!LIST_EMPTY(&table->buckets[i]))
			return LIST_FIRST(&table->buckets[i]);
	}
	return NULL;
}

unsigned pv_vsock_table_list(const struct pv_vsock_table *table, const struct pv_vsock_conn **out)
{
	const struct pv_vsock_conn *conn;
	unsigned count = 0;

	for (unsigned i = 0; count < table->count && i < PV_VSOCK_TABLE_BUCKETS; i++)
		for (conn = LIST_FIRST(&table->buckets[i]); conn; conn = LIST_NEXT(conn, link))
			out[count++] = conn;
	return count;
}

struct pv_vsock_conn *pv_vsock_table_add(
    struct pv_vsock_table *table, uint32_t host_port, uint32_t guest_port)
{
	if (table->count >= PV_VSOCK_CONNS_MAX)
		return NULL;
	struct pv_vsock_conn *conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	conn->state.host_port = host_port;
	conn->state.guest_port = guest_port;
	LIST_INSERT_HEAD(bucket_of(table, host_port, guest_port), conn, link);
	table->count++;
	return conn;
}

void pv_vsock_table_bury(struct pv_vsock_table *table, struct pv_vsock_conn *conn)
{
	conn->dead = true;
	LIST_REMOVE(conn, link);
	LIST_INSERT_HEAD(&table->dead, conn, link);
	table->count--;
}

void pv_vsock_table_reap(struct pv_vsock_table *table)
{
	while (!LIST_EMPTY(&table->dead)) {
		struct pv_vsock_conn *conn = LIST_FIRST(&table->dead);
		LIST_REMOVE(conn, link);
		free(conn);
	}
}

uint32_t pv_vsock_table_next_port(struct pv_vsock_table *table, uint32_t guest_port)
{
	uint32_t port = table->last_port;

	do {
		port =
		    port >= EPHEMERAL_FIRST && port < EPHEMERAL_LAST ? port + 1 : EPHEMERAL_FIRST;
	} while (
	    pv_vsock_table_find(table, port, guest_port) || pv_vsock_table_listener(table, port));
	table->last_port = port;
	return port;
}

struct pv_vsock_listener *pv_vsock_table_listener(struct pv_vsock_table *table, uint32_t port)
{
	struct pv_vsock_listener *listener = LIST_FIRST(&table->listeners);

	while (listener && listener->port != port)
		listener = LIST_NEXT(listener, link);
	return listener;
}

struct pv_vsock_listener *pv_vsock_table_listen(struct pv_vsock_table *table, uint32_t port)
{
	struct pv_vsock_listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		return NULL;
	listener->port = port;
	LIST_INSERT_HEAD(&table->listeners, listener, link);
	return listener;
}

void pv_vsock_table_unlisten(struct pv_vsock_listener *listener)
{
	LIST_REMOVE(listener, link);
	free(listener);
}

void pv_vsock_table_finish(struct pv_vsock_table *table)
{
	pv_vsock_table_reap(table);
	while (!LIST_EMPTY(&table->listeners))
		pv_vsock_table_unlisten(LIST_FIRST(&table->listeners));
}
