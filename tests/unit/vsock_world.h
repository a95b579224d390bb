/*
 * A machine with a socket device, two connections and both ends of them, for tests that go on in
 * another device: a world can be copied, and the copy's device loaded from the first one's state.
 * Failures are cmocka's.
 */
#ifndef PV_TESTS_UNIT_VSOCK_WORLD_H
#define PV_TESTS_UNIT_VSOCK_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/state_doc.h"
#include "tests/unit/vsock_peer.h"

#define WORLD_CONNS	  2
#define WORLD_CHUNK	  3000u
#define WORLD_STREAM_SIZE 200000u

struct world {
	struct fixture f; /* first */
	struct port ports[WORLD_CONNS];
	struct peer peers[WORLD_CONNS];
	size_t port_sent[WORLD_CONNS], peer_sent[WORLD_CONNS];
};

/* The device of a world as a kind of state: with owners that adopt every connection, or none. */
extern const struct state_kind world_kind;
extern const struct state_kind world_orphans;

/* For kinds of the test's own. */
void world_save(const void *ctx, struct pv_pack *pack);
bool world_adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port,
    const struct pv_stream_port_ops **ops, void **port_ctx);

/* A device that runs, without connections. */
struct world *world_new(bool event_idx);
void world_end(struct world *world);

/* The same memory, driver and ends with a device that nobody has touched. */
struct world *world_fresh_copy(const struct world *from);
/* That, with the state loaded; checks that it is the same state and that loading wrote nothing. */
struct world *world_restore(const struct state_kind *how, const struct world *from);
/* Memory, ends and states must be the same. */
void world_expect_same(const struct world *a, const struct world *b);

/* Opens connection 0 from the guest and 1 from the host. */
void world_open(struct world *world);
/* A piece of the stream of a connection, as far as there is room. */
void world_port_sends(struct world *world, unsigned conn);
void world_peer_sends(struct world *world, unsigned conn, bool kick);
/* Takes packets in the guest. */
void world_hear(struct world *world, unsigned packets);
/* That many packets for connections that nobody knows: each is answered by a RST, from port 5000
 * on. */
void world_say_to_nobody(struct world *world, unsigned count);
/* What resuming amounts to for a guest: a kick without need on every queue. */
void world_kick_all(struct world *world);
/* A round of traffic in all directions; the guest is short of buffers in most of them. */
void world_round(struct world *world, unsigned round);
/* Sends what is left of all streams, which must then have arrived whole at both ends. */
void world_drain(struct world *world);
void world_expect_whole(const struct world *world);

#endif
