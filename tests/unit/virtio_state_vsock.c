/*
 * Snapshots of the socket device: streams that were saved half sent, in either direction, arrive
 * whole; the guest and those who adopt their connections notice nothing, the others hear a RST.
 *
 * Most tests compare two runs, byte for byte in guest memory: one goes on, the other goes on in a
 * fresh device over a copy of the memory.
 */
#include "virtio/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vsock_world.h"
#include "virtio/vsock_device.h"

/* --- streams --- */

/* Saves after `rounds` rounds and compares what follows with the run that was not interrupted. */
static void interrupt_after(unsigned rounds, bool event_idx)
{
	struct world *whole = world_new(event_idx);
	world_open(whole);
	for (unsigned round = 0; round < rounds; round++)
		world_round(whole, round);
	/* In flight at the worst moment: packets added, not kicked. */
	world_peer_sends(whole, 0, false);
	struct world *restored = world_restore(&world_kind, whole);
	world_kick_all(whole);
	pv_virtio_resume(restored->f.guest.dev);
	for (unsigned i = 0; i < 3; i++)
		assert_true(restored->f.guest.interrupts[i] > 0 || !restored->f.guest.dev->active);
	world_expect_same(whole, restored);
	for (unsigned round = rounds; round < rounds + 10; round++) {
		world_round(whole, round);
		world_round(restored, round);
	}
	world_expect_same(whole, restored);
	world_drain(whole);
	world_drain(restored);
	world_expect_same(whole, restored);
	world_expect_whole(restored);
	world_end(whole);
	world_end(restored);
}

static void test_streams_saved_half_sent_arrive_whole(void **state)
{
	for (unsigned rounds = 0; rounds < 30; rounds += 3)
		interrupt_after(rounds, true);
}

static void test_streams_saved_half_sent_arrive_whole_with_ring_flags(void **state)
{
	for (unsigned rounds = 0; rounds < 30; rounds += 5)
		interrupt_after(rounds, false);
}

/* A snapshot after every round, each taken of the one before. */
static void test_a_stream_survives_a_chain_of_snapshots(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	for (unsigned round = 0; round < 40; round++) {
		world_round(world, round);
		struct world *next = world_restore(&world_kind, world);
		world_end(world);
		world = next;
		pv_virtio_resume(world->f.guest.dev);
	}
	world_drain(world);
	world_expect_whole(world);
	world_end(world);
}

static void test_two_clones_go_different_ways(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	for (unsigned round = 0; round < 10; round++)
		world_round(world, round);
	struct world *one = world_restore(&world_kind, world),
		     *two = world_restore(&world_kind, world);
	pv_virtio_resume(one->f.guest.dev);
	pv_virtio_resume(two->f.guest.dev);
	struct pv_bytes before = state_save(&world_kind, two);
	/* One loses a connection and its driver; two goes on. */
	pv_vsock_conn_close(one->ports[0].conn);
	guest_reset(&one->f.guest, true);
	assert_int_equal(one->ports[1].closed, 1);
	state_expect(&world_kind, two, &before);
	world_drain(two);
	world_expect_whole(two);
	world_drain(world);
	world_expect_whole(world);
	pv_bytes_finish(&before);
	world_end(one);
	world_end(two);
	world_end(world);
}

/* In place: the same device, reset and loaded. */
static void test_a_device_can_be_rewound(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	for (unsigned round = 0; round < 10; round++)
		world_round(world, round);
	struct world *memory = world_fresh_copy(world);
	struct pv_bytes saved = state_save(&world_kind, world);
	world_drain(world);
	assert_int_equal(state_load(&world_kind, world, &saved), -EBUSY);
	assert_int_equal(world->ports[0].closed, 0);
	pv_virtio_set_status(world->f.guest.dev, 0);
	assert_int_equal(world->ports[0].closed, 1);

	/* Memory, driver and owners go back too. */
	struct vsock_guest *guest = &world->f.guest;
	memcpy(guest->ram, memory->f.guest.ram, GUEST_RAM);
	memcpy(guest->rings, memory->f.guest.rings, sizeof(guest->rings));
	for (unsigned i = 0; i < WORLD_CONNS; i++) {
		peer_finish(&world->peers[i], &world->ports[i]);
		world->peers[i] = memory->peers[i];
		world->ports[i] = memory->ports[i];
		world->port_sent[i] = memory->port_sent[i];
		world->peer_sent[i] = memory->peer_sent[i];
		memory->peers[i].got = memory->ports[i].got = (struct pv_bytes){0};
	}
	state_restore(&world_kind, world, &saved);
	state_expect(&world_kind, world, &saved);
	pv_virtio_resume(guest->dev);
	world_drain(world);
	world_expect_whole(world);
	pv_bytes_finish(&saved);
	world_end(memory);
	world_end(world);
}

/* --- quiescence --- */

static void test_quiescent_is_nothing_queued_and_nothing_half_digested(void **state)
{
	struct world *world = world_new(true);
	struct pv_vsock *vsock = world->f.guest.vsock;
	assert_true(pv_vsock_is_quiescent(vsock));
	world_open(world);
	assert_true(pv_vsock_is_quiescent(vsock));
	/* More than the guest has buffers for. */
	for (unsigned i = 0; i < 20; i++)
		world_port_sends(world, 0);
	assert_false(pv_vsock_is_quiescent(vsock));
	fixture_add_rx(&world->f, 60);
	world_hear(world, 64);
	assert_true(pv_vsock_is_quiescent(vsock));
	world->ports[1].digest = false;
	world_peer_sends(world, 1, true);
	assert_false(pv_vsock_is_quiescent(vsock));
	/* The same in a restored device. */
	struct world *restored = world_restore(&world_kind, world);
	assert_false(pv_vsock_is_quiescent(restored->f.guest.vsock));
	pv_vsock_conn_credit(restored->ports[1].conn, WORLD_CHUNK);
	assert_true(pv_vsock_is_quiescent(restored->f.guest.vsock));
	world_end(restored);
	world_end(world);
}

/* --- connections without owners, and those that are not open --- */

static void test_a_connection_that_nobody_adopts_is_reset(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	fixture_add_rx(&world->f, 8);
	/* With bytes on their way, which nobody will see. */
	for (unsigned i = 0; i < 40; i++)
		world_port_sends(world, 0);
	struct world *restored = world_restore(&world_orphans, world);
	struct pv_vsock *vsock = restored->f.guest.vsock;
	assert_int_equal(pv_vsock_open_count(vsock), 0);
	assert_int_equal(pv_vsock_queued_bytes(vsock), 0);
	fixture_add_rx(&restored->f, 30);
	pv_virtio_resume(restored->f.guest.dev);
	world_hear(restored, 64);
	for (unsigned i = 0; i < WORLD_CONNS; i++) {
		assert_int_equal(restored->peers[i].heard[VIRTIO_VSOCK_OP_RST], 1);
		assert_int_equal(restored->ports[i].closed, 0);
	}
	/* The ports are free again. */
	peer_finish(&restored->peers[0], &restored->ports[0]);
	restored->peers[0] = peer_new(1000, HOST_PORT);
	peer_open(&restored->f, &restored->peers[0], &restored->ports[0]);
	world_end(restored);
	world_end(world);
}

/* Only one of two is adopted; the RST is in front of what the other has to say. */
static bool adopt_second(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port,
    uint32_t guest_port, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	const struct world *world = ctx;
	return host_port == world->peers[1].host_port &&
	       world_adopt(ctx, conn, host_port, guest_port, ops, port_ctx);
}

static int load_second(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	struct world *world = ctx;
	return pv_vsock_load(world->f.guest.vsock, val, adopt_second, world, err);
}

static void test_each_connection_is_adopted_by_itself(void **state)
{
	const struct state_kind second = {world_save, load_second, true};
	struct world *world = world_new(true);
	world_open(world);
	struct world *restored = world_restore(&second, world);
	pv_virtio_resume(restored->f.guest.dev);
	assert_int_equal(pv_vsock_open_count(restored->f.guest.vsock), 1);
	world_port_sends(restored, 1);
	fixture_add_rx(&restored->f, 8);
	peer_expect(&restored->f, &restored->peers[0], VIRTIO_VSOCK_OP_RST);
	peer_expect(&restored->f, &restored->peers[1], VIRTIO_VSOCK_OP_RW);
	world_end(restored);
	world_end(world);
}

/* Whatever an owner does while it adopts waits for the resume. */
static bool adopt_busily(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port,
    uint32_t guest_port, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct world *world = ctx;
	if (!world_adopt(ctx, conn, host_port, guest_port, ops, port_ctx))
		return false;
	if (host_port == HOST_PORT)
		pv_vsock_conn_send(conn, "at once", 7);
	else
		pv_vsock_conn_close(conn);
	assert_memory_equal(
	    world->f.guest.ram, ((struct world *)world->f.random)->f.guest.ram, GUEST_RAM);
	return true;
}

static int load_busily(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	struct world *world = ctx;
	return pv_vsock_load(world->f.guest.vsock, val, adopt_busily, world, err);
}

static void test_what_an_owner_does_while_it_adopts_waits(void **state)
{
	const struct state_kind busily = {world_save, load_busily, true};
	struct world *world = world_new(true);
	world_open(world);
	world->f.random = (uintptr_t)world;
	struct world *restored = world_restore(&busily, world);
	assert_int_equal(pv_vsock_open_count(restored->f.guest.vsock), 1);
	pv_virtio_resume(restored->f.guest.dev);
	fixture_add_rx(&restored->f, 8);
	peer_expect(&restored->f, &restored->peers[1], VIRTIO_VSOCK_OP_RST);
	peer_expect(&restored->f, &restored->peers[0], VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(restored->f.payload, "at once", 7);
	peer_expect_nothing(&restored->f);
	assert_int_equal(restored->ports[1].closed, 0);
	world_end(restored);
	world_end(world);
}

static void test_a_connection_that_is_being_made_is_made(void **state)
{
	struct world *world = world_new(true);
	struct port *port = &world->ports[0];
	world->peers[0] = peer_new(1000, 0);
	port->vsock = world->f.guest.vsock;
	/* No buffers: the REQUEST waits, and with it the first bytes. */
	assert_int_equal(pv_vsock_connect(port->vsock, 1000, &port_ops, port, &port->conn), 0);
	assert_int_equal(pv_vsock_conn_send(port->conn, "hello", 5), 5);
	world->peers[0].host_port = (1u << 20) + 1;
	struct world *restored = world_restore(&world_kind, world);
	struct world *orphaned = world_restore(&world_orphans, world);

	/* The guest has never heard of it, so it hears of its end neither. */
	fixture_add_rx(&orphaned->f, 4);
	pv_virtio_resume(orphaned->f.guest.dev);
	peer_expect_nothing(&orphaned->f);

	pv_virtio_resume(restored->f.guest.dev);
	fixture_add_rx(&restored->f, 4);
	peer_expect(&restored->f, &restored->peers[0], VIRTIO_VSOCK_OP_REQUEST);
	struct world *again = world_restore(&world_kind, restored);
	pv_virtio_resume(again->f.guest.dev);
	peer_say(&again->f, &again->peers[0], VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(again->ports[0].connected, 1);
	peer_expect(&again->f, &again->peers[0], VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(again->f.payload, "hello", 5);
	world_end(again);
	world_end(restored);
	world_end(orphaned);
	world_end(world);
}

/* FC #5688: ports that the guest still remembers are not used again. */
static void test_ports_of_the_host_roll_on(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	pv_vsock_conn_close(world->ports[1].conn);
	struct world *restored = world_restore(&world_kind, world);
	struct port *port = &restored->ports[1];
	struct pv_vsock *vsock = restored->f.guest.vsock;
	pv_virtio_resume(restored->f.guest.dev);
	world_hear(restored, 64);
	fixture_add_rx(&restored->f, 8);
	assert_int_equal(pv_vsock_connect(vsock, 2000, &port_ops, port, &port->conn), 0);
	assert_int_equal(peer_hear(&restored->f, NULL, 0), VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(restored->f.last.src_port, world->peers[1].host_port + 1);
	world_end(restored);
	world_end(world);
}

static void test_a_half_closed_connection_stays_half_closed(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	peer_say_shutdown(&world->f, &world->peers[0], VIRTIO_VSOCK_SHUTDOWN_SEND);
	pv_vsock_conn_shutdown(world->ports[1].conn);
	struct world *restored = world_restore(&world_kind, world);
	pv_virtio_resume(restored->f.guest.dev);
	world_hear(restored, 64);
	/* What the guest does no more is still a reason for a reset. */
	world_port_sends(restored, 0);
	peer_expect(&restored->f, &restored->peers[0], VIRTIO_VSOCK_OP_RW);
	assert_int_equal(restored->ports[0].ended, 1);
	pv_vsock_conn_shutdown(restored->ports[0].conn);
	assert_int_equal(restored->ports[0].closed, 1);
	world_peer_sends(restored, 1, true);
	assert_int_equal(restored->ports[1].got.len, WORLD_CHUNK);
	assert_int_equal(pv_vsock_conn_send(restored->ports[1].conn, "no", 2), 0);
	world_end(restored);
	world_end(world);
}

/* A port that was told to wait is told to go on, though by another device. */
static void test_a_port_that_waits_to_send_is_called(void **state)
{
	struct world *world = world_new(true);
	uint8_t *data = calloc(1, PV_VSOCK_SEND_MAX + 65536);
	world_open(world);
	assert_true(pv_vsock_conn_send(world->ports[0].conn, data, PV_VSOCK_SEND_MAX + 65536) <
		    PV_VSOCK_SEND_MAX + 65536);
	struct world *restored = world_restore(&world_kind, world);
	pv_virtio_resume(restored->f.guest.dev);
	for (unsigned round = 0; round < 300; round++) {
		fixture_add_rx(&restored->f, 16);
		world_hear(restored, 64);
		peer_say(&restored->f, &restored->peers[0], VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	}
	assert_int_equal(restored->ports[0].writable, 1);
	assert_int_equal(world->ports[0].writable, 0);
	free(data);
	world_end(restored);
	world_end(world);
}

/* --- RSTs that wait --- */

static void resets_after(unsigned count)
{
	struct world *whole = world_new(true);
	world_say_to_nobody(whole, count);
	struct world *restored = world_restore(&world_kind, whole);
	world_kick_all(whole);
	pv_virtio_resume(restored->f.guest.dev);
	unsigned heard = 0;
	for (unsigned round = 0; round < 20; round++) {
		fixture_add_rx(&whole->f, 31);
		fixture_add_rx(&restored->f, 31);
		while (peer_hear(&whole->f, NULL, 0)) {
			assert_int_equal(peer_hear(&restored->f, NULL, 0), VIRTIO_VSOCK_OP_RST);
			assert_int_equal(restored->f.last.dst_port, 5000 + heard++);
		}
	}
	assert_true(heard >= count || heard > 256);
	world_expect_same(whole, restored);
	world_end(whole);
	world_end(restored);
}

static void test_resets_that_wait_are_sent_in_their_order(void **state)
{
	resets_after(1);
	resets_after(40);
	/* So many that the device takes no packets: the back-pressure goes on too. */
	resets_after(300);
}

/* --- the device itself --- */

static void test_a_device_without_a_driver_keeps_cid_and_port(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	const uint32_t port = world->peers[1].host_port;
	guest_reset(&world->f.guest, false);
	struct world *restored = world_restore(&world_kind, world);
	uint64_t cid;
	pv_virtio_resume(restored->f.guest.dev);
	restored->f.guest.dev->ops->config_read(restored->f.guest.dev, 0, &cid, 8);
	assert_int_equal(cid, GUEST_CID);
	guest_reset(&restored->f.guest, true);
	restored->ports[1] = (struct port){0};
	fixture_add_rx(&restored->f, 8);
	struct peer *peer = &restored->peers[1];
	*peer = peer_new(3000, 0);
	peer_connect(&restored->f, peer, &restored->ports[1]);
	assert_int_equal(peer->host_port, port + 1);
	world_end(restored);
	world_end(world);
}

/* A guest knows itself by the CID that it has read long ago. */
static void test_the_cid_comes_with_the_state(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	struct world *other = world_fresh_copy(world);
	pv_vsock_destroy(other->f.guest.vsock);
	assert_int_equal(pv_vsock_create(&other->f.guest.vsock, &other->f.guest.mem, 99), 0);
	other->f.guest.dev = pv_vsock_virtio(other->f.guest.vsock);
	other->f.guest.dev->transport = world->f.guest.dev->transport;
	other->f.guest.dev->transport_ctx = &other->f.guest;
	struct pv_bytes saved = state_save(&world_kind, world);
	state_restore(&world_kind, other, &saved);
	pv_virtio_resume(other->f.guest.dev);
	world_drain(other);
	world_expect_whole(other);
	pv_bytes_finish(&saved);
	world_end(other);
	world_end(world);
}

/* --- all that there can be --- */

static bool adopt_any(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port,
    uint32_t guest_port, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	*ops = &port_ops;
	*port_ctx = &((struct world *)ctx)->ports[0];
	return true;
}

static int load_any(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	struct world *world = ctx;
	return pv_vsock_load(world->f.guest.vsock, val, adopt_any, world, err);
}

/* As many as there can be, so that they share places in the table; not all have something to say.
 */
static void test_a_full_table_is_the_same_after_a_load(void **state)
{
	const struct state_kind any = {world_save, load_any, true};
	struct world *world = world_new(true);
	struct pv_vsock *vsock = world->f.guest.vsock;
	struct pv_vsock_conn *conn;
	for (unsigned i = 0; i < PV_VSOCK_CONNS_MAX; i++) {
		fixture_add_rx(&world->f, i % 2);
		assert_int_equal(
		    pv_vsock_connect(vsock, i * 7, &port_ops, &world->ports[0], &conn), 0);
		world_hear(world, 1);
	}
	struct pv_bytes saved = state_save(&world_kind, world);
	struct world *other = world_fresh_copy(world);
	state_restore(&any, other, &saved);
	state_expect(&any, other, &saved);
	assert_int_equal(pv_vsock_open_count(other->f.guest.vsock), PV_VSOCK_CONNS_MAX);
	/* REQUESTs go out in the order in which they were asked for. */
	pv_virtio_resume(other->f.guest.dev);
	for (unsigned i = PV_VSOCK_CONNS_MAX / 2; i < PV_VSOCK_CONNS_MAX; i++) {
		fixture_add_rx(&other->f, 1);
		assert_int_equal(peer_hear(&other->f, NULL, 0), VIRTIO_VSOCK_OP_REQUEST);
		assert_int_equal(other->f.last.dst_port, i * 7);
	}
	pv_bytes_finish(&saved);
	world_end(other);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_streams_saved_half_sent_arrive_whole),
	    cmocka_unit_test(test_streams_saved_half_sent_arrive_whole_with_ring_flags),
	    cmocka_unit_test(test_a_stream_survives_a_chain_of_snapshots),
	    cmocka_unit_test(test_two_clones_go_different_ways),
	    cmocka_unit_test(test_a_device_can_be_rewound),
	    cmocka_unit_test(test_quiescent_is_nothing_queued_and_nothing_half_digested),
	    cmocka_unit_test(test_a_connection_that_nobody_adopts_is_reset),
	    cmocka_unit_test(test_each_connection_is_adopted_by_itself),
	    cmocka_unit_test(test_what_an_owner_does_while_it_adopts_waits),
	    cmocka_unit_test(test_a_connection_that_is_being_made_is_made),
	    cmocka_unit_test(test_ports_of_the_host_roll_on),
	    cmocka_unit_test(test_a_half_closed_connection_stays_half_closed),
	    cmocka_unit_test(test_a_port_that_waits_to_send_is_called),
	    cmocka_unit_test(test_resets_that_wait_are_sent_in_their_order),
	    cmocka_unit_test(test_a_device_without_a_driver_keeps_cid_and_port),
	    cmocka_unit_test(test_the_cid_comes_with_the_state),
	    cmocka_unit_test(test_a_full_table_is_the_same_after_a_load),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
