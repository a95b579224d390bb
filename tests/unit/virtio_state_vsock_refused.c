/*
 * States of the socket device that cannot be: each is refused and leaves the device as it was, and
 * no change of any field does harm.
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

/* --- what is refused --- */

static struct world *saved_world;

static void expect_refused(const struct pv_bytes *saved, const char *key, uint64_t value)
{
	struct world *world = world_fresh_copy(saved_world);
	struct pv_bytes changed = state_with(saved, key, 0, value);
	struct pv_bytes before = state_save(&world_kind, world);
	assert_int_equal(state_load(&world_kind, world, &changed), -EBADMSG);
	state_expect(&world_kind, world, &before);
	pv_bytes_finish(&before);
	pv_bytes_finish(&changed);
	world_end(world);
}

static void test_impossible_states_are_refused(void **state)
{
	struct world *world = saved_world = world_new(true);
	world_open(world);
	struct pv_bytes saved = state_save(&world_kind, world);
	expect_refused(&saved, "cid", 2);
	expect_refused(&saved, "cid", UINT32_MAX);
	expect_refused(&saved, "cid", UINT64_C(1) << 32 | 7);
	/* Twice the same ports. */
	struct pv_bytes one = state_with(&saved, "host_port", 0, 9);
	struct pv_bytes both = state_with(&one, "host_port", 1, 9);
	struct pv_bytes twins = state_with(&both, "guest_port", 1, 9);
	expect_refused(&twins, "guest_port", 9);
	pv_bytes_finish(&one);
	pv_bytes_finish(&both);
	pv_bytes_finish(&twins);
	expect_refused(&saved, "phase", 3);
	expect_refused(&saved, "phase", 0);
	expect_refused(&saved, "owed", 1);
	expect_refused(&saved, "owed", 8);
	expect_refused(&saved, "owed", 16);
	expect_refused(&saved, "guest_shutdown", 4);
	expect_refused(&saved, "rx_cnt", PV_VSOCK_WINDOW + 1);
	expect_refused(&saved, "tx_cnt", 65537);
	expect_refused(&saved, "guest_fwd_cnt", 1);
	pv_bytes_finish(&saved);
	world_end(world);
}

/* Sets the byte behind a field's name. */
static void set_byte(const struct pv_bytes *state, const char *name, uint8_t value)
{
	uint8_t *at = memmem(state->data, state->len, name, strlen(name));
	assert_non_null(at);
	at[strlen(name)] = value;
}

static void test_a_device_that_does_not_run_has_no_connections(void **state)
{
	struct world *world = world_new(true);
	world_open(world);
	struct pv_bytes saved = state_save(&world_kind, world);
	set_byte(&saved, "status", 11);
	set_byte(&saved, "active", 0xc2);
	struct world *other = world_fresh_copy(world);
	assert_int_equal(state_load(&world_kind, other, &saved), -EBADMSG);
	assert_int_equal(pv_vsock_open_count(other->f.guest.vsock), 0);
	pv_bytes_finish(&saved);
	world_end(other);
	/* Broken by somebody else than its own queues: the connections are as good as gone. */
	pv_virtio_break(world->f.guest.dev, "tested");
	other = world_restore(&world_kind, world);
	assert_int_equal(pv_vsock_open_count(other->f.guest.vsock), 0);
	world_end(other);
	world_end(world);
}

/* There must always be room for a RST to each connection that the guest knows of. */
static void test_more_resets_than_there_can_be_are_refused(void **state)
{
	const struct pv_vsock_reset reset = {PV_VSOCK_HOST_CID, 1, 2, VIRTIO_VSOCK_TYPE_STREAM};
	struct world *world = world_new(true);
	world_open(world);
	struct pv_vsock_outbox *outbox = &world->f.guest.vsock->outbox;
	while (outbox->reset_count < PV_VSOCK_RESETS_MAX - WORLD_CONNS)
		pv_vsock_outbox_reset(outbox, &reset);
	world_end(world_restore(&world_kind, world));
	pv_vsock_outbox_reset(outbox, &reset);
	struct pv_bytes saved = state_save(&world_kind, world);
	struct world *other = world_fresh_copy(world);
	assert_int_equal(state_load(&world_kind, other, &saved), -EBADMSG);
	assert_int_equal(pv_vsock_open_count(other->f.guest.vsock), 0);
	pv_bytes_finish(&saved);
	world_end(other);
	world_end(world);
}

/* --- every change of every field --- */

static void *fresh_changed(void)
{
	return world_fresh_copy(saved_world);
}

/* The driver takes nothing back: a device with a wrong position in the rings says what it likes. */
static void done_changed(void *ctx, bool loaded)
{
	struct world *world = ctx;
	struct vsock_guest *guest = &world->f.guest;
	if (loaded) {
		pv_virtio_resume(guest->dev);
		for (unsigned i = 0; i < WORLD_CONNS; i++)
			if (world->ports[i].conn)
				world_port_sends(world, i);
		for (unsigned i = 0; i < 4; i++)
			guest_add_rx(guest, RX_SIZE, false);
		world_kick_all(world);
	}
	world_end(world);
}

static void test_no_change_of_a_socket_device_does_harm(void **state)
{
	struct world *world = saved_world = world_new(true);
	world_open(world);
	for (unsigned i = 0; i < 8; i++)
		world_port_sends(world, i % 2);
	world_say_to_nobody(world, 2);
	for (unsigned i = 0; i < 4; i++)
		world_peer_sends(world, i % 2, false);
	struct pv_bytes saved = state_save(&world_kind, world);
	state_change_everything(&world_kind, &saved, fresh_changed, done_changed);
	pv_bytes_finish(&saved);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_impossible_states_are_refused),
	    cmocka_unit_test(test_a_device_that_does_not_run_has_no_connections),
	    cmocka_unit_test(test_more_resets_than_there_can_be_are_refused),
	    cmocka_unit_test(test_no_change_of_a_socket_device_does_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
