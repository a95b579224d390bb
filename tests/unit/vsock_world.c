/* See vsock_world.h. */
#include "tests/unit/vsock_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "virtio/state.h"

void world_save(const void *ctx, struct pv_pack *pack)
{
	pv_vsock_save(((const struct fixture *)ctx)->guest.vsock, pack);
}

static uint8_t stream_byte(unsigned conn, unsigned direction, size_t at)
{
	return (uint8_t)((at * 31 >> 3) + 77 * conn + 13 * direction);
}

static void fill_stream(uint8_t *data, unsigned conn, unsigned direction, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = stream_byte(conn, direction, at + i);
}

/* Adopts every connection that a port of the world has. */
bool world_adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port,
    const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct world *world = ctx;
	for (unsigned i = 0; i < WORLD_CONNS; i++) {
		if (world->peers[i].host_port != host_port ||
		    world->peers[i].guest_port != guest_port)
			continue;
		world->ports[i].conn = conn;
		*ops = &port_ops;
		*port_ctx = &world->ports[i];
		return true;
	}
	return false;
}

static int world_load(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	struct world *world = ctx;
	return pv_vsock_load(world->f.guest.vsock, val, world_adopt, world, err);
}

static int load_without_owners(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	return pv_vsock_load(((struct fixture *)ctx)->guest.vsock, val, NULL, NULL, err);
}

const struct state_kind world_kind = {world_save, world_load, true};
const struct state_kind world_orphans = {world_save, load_without_owners, true};

struct world *world_new(bool event_idx)
{
	struct world *world = calloc(1, sizeof(*world));
	uint8_t *ram = calloc(1, GUEST_RAM);
	assert_true(world && ram);
	guest_start(&world->f.guest, ram, event_idx);
	return world;
}

void world_end(struct world *world)
{
	uint8_t *ram = world->f.guest.ram;
	guest_finish(&world->f.guest);
	for (unsigned i = 0; i < WORLD_CONNS; i++)
		peer_finish(&world->peers[i], &world->ports[i]);
	free(ram);
	free(world);
}

static struct pv_bytes copy_bytes(const struct pv_bytes *from)
{
	struct pv_bytes to = {0};
	assert_int_equal(pv_bytes_append(&to, from->data, from->len), 0);
	return to;
}

/* Pages that were never written stay so: tests make many copies of a memory that is mostly empty.
 */
static void copy_memory(uint8_t *to, const uint8_t *from)
{
	static const uint8_t zeroes[4096];
	for (size_t at = 0; at < GUEST_RAM; at += sizeof(zeroes))
		if (memcmp(from + at, zeroes, sizeof(zeroes)) != 0)
			memcpy(to + at, from + at, sizeof(zeroes));
}

struct world *world_fresh_copy(const struct world *from)
{
	struct world *to = calloc(1, sizeof(*to));
	uint8_t *ram = calloc(1, GUEST_RAM);
	assert_true(to && ram);
	memcpy(to, from, sizeof(*to));
	copy_memory(ram, from->f.guest.ram);
	for (unsigned i = 0; i < WORLD_CONNS; i++) {
		to->ports[i].got = copy_bytes(&from->ports[i].got);
		to->ports[i].conn = NULL;
		to->peers[i].got = copy_bytes(&from->peers[i].got);
	}
	struct vsock_guest *guest = &to->f.guest;
	guest->ram = ram;
	guest->mem = (struct pv_gmem){0};
	assert_int_equal(pv_gmem_add(&guest->mem, 0, GUEST_RAM, ram), 0);
	assert_int_equal(pv_vsock_create(&guest->vsock, &guest->mem, GUEST_CID), 0);
	guest->dev = pv_vsock_virtio(guest->vsock);
	guest->dev->transport = from->f.guest.dev->transport;
	guest->dev->transport_ctx = guest;
	return to;
}

struct world *world_restore(const struct state_kind *how, const struct world *from)
{
	struct world *to = world_fresh_copy(from);
	struct pv_bytes state = state_save(&world_kind, from);
	state_restore(how, to, &state);
	if (how == &world_kind)
		state_expect(&world_kind, to, &state);
	/* Loading writes nothing to the guest. */
	assert_memory_equal(to->f.guest.ram, from->f.guest.ram, GUEST_RAM);
	pv_bytes_finish(&state);
	return to;
}

/* What resuming amounts to for a guest: a kick without need on every queue. */
void world_kick_all(struct world *world)
{
	for (unsigned i = 0; i < 3; i++)
		pv_virtio_kick(world->f.guest.dev, i);
}

void world_expect_same(const struct world *a, const struct world *b)
{
	assert_memory_equal(a->f.guest.ram, b->f.guest.ram, GUEST_RAM);
	for (unsigned i = 0; i < WORLD_CONNS; i++) {
		assert_int_equal(a->peers[i].got.len, b->peers[i].got.len);
		assert_int_equal(a->ports[i].got.len, b->ports[i].got.len);
	}
	struct pv_bytes state = state_save(&world_kind, a);
	state_expect(&world_kind, b, &state);
	pv_bytes_finish(&state);
}

/* Connection 0 of the guest's, 1 of the host's; both open. */
void world_open(struct world *world)
{
	world->peers[0] = peer_new(1000, HOST_PORT);
	world->peers[1] = peer_new(2000, 0);
	fixture_add_rx(&world->f, 8);
	peer_open(&world->f, &world->peers[0], &world->ports[0]);
	peer_connect(&world->f, &world->peers[1], &world->ports[1]);
	peer_say(&world->f, &world->peers[1], VIRTIO_VSOCK_OP_RESPONSE);
	for (unsigned i = 0; i < WORLD_CONNS; i++)
		world->ports[i].digest = true;
	world->peers[0].host_buf_alloc = PV_VSOCK_WINDOW;
}

void world_port_sends(struct world *world, unsigned conn)
{
	uint8_t data[WORLD_CHUNK];
	size_t len = WORLD_STREAM_SIZE - world->port_sent[conn];
	if (len > WORLD_CHUNK)
		len = WORLD_CHUNK;
	fill_stream(data, conn, 0, world->port_sent[conn], len);
	if (len)
		world->port_sent[conn] += pv_vsock_conn_send(world->ports[conn].conn, data, len);
}

void world_peer_sends(struct world *world, unsigned conn, bool kick)
{
	uint8_t data[WORLD_CHUNK];
	size_t len = WORLD_STREAM_SIZE - world->peer_sent[conn];
	if (len > WORLD_CHUNK)
		len = WORLD_CHUNK;
	if (len > peer_room(&world->peers[conn]))
		len = peer_room(&world->peers[conn]);
	fill_stream(data, conn, 1, world->peer_sent[conn], len);
	if (len == 0)
		return;
	const struct virtio_vsock_hdr header =
	    peer_header(&world->peers[conn], VIRTIO_VSOCK_OP_RW, (uint32_t)len);
	if (!guest_add_tx(&world->f.guest, &header, data, len, conn))
		return;
	world->peers[conn].tx_cnt += (uint32_t)len;
	world->peer_sent[conn] += len;
	if (kick)
		guest_kick(&world->f.guest, VIRTIO_VSOCK_QUEUE_TX);
}

void world_hear(struct world *world, unsigned packets)
{
	while (packets-- && peer_hear(&world->f, world->peers, WORLD_CONNS))
		;
	for (unsigned i = 0; i < WORLD_CONNS; i++)
		world->peers[i].fwd_cnt = world->peers[i].rx_cnt;
}

/* A round of traffic in all directions; the guest is short of buffers in most of them. */
void world_round(struct world *world, unsigned round)
{
	for (unsigned i = 0; i < WORLD_CONNS; i++) {
		world_port_sends(world, i);
		world_peer_sends(world, i, round % 3 != 1);
	}
	if (round % 2)
		fixture_add_rx(&world->f, round % 7);
	world_hear(world, round % 5);
	if (round % 8 == 5)
		peer_say(&world->f, &world->peers[round / 8 % 2], VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

void world_drain(struct world *world)
{
	for (unsigned round = 0; round < 400; round++) {
		for (unsigned i = 0; i < WORLD_CONNS; i++) {
			world_port_sends(world, i);
			world_peer_sends(world, i, true);
		}
		fixture_add_rx(&world->f, 16);
		world_hear(world, 64);
		for (unsigned i = 0; i < WORLD_CONNS; i++)
			peer_say(&world->f, &world->peers[i], VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	}
}

void world_expect_whole(const struct world *world)
{
	for (unsigned i = 0; i < WORLD_CONNS; i++) {
		assert_int_equal(world->peers[i].got.len, WORLD_STREAM_SIZE);
		assert_int_equal(world->ports[i].got.len, WORLD_STREAM_SIZE);
		for (size_t at = 0; at < WORLD_STREAM_SIZE; at++) {
			assert_int_equal(world->peers[i].got.data[at], stream_byte(i, 0, at));
			assert_int_equal(world->ports[i].got.data[at], stream_byte(i, 1, at));
		}
		assert_int_equal(world->ports[i].closed, 0);
	}
}

void world_say_to_nobody(struct world *world, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct peer stranger = peer_new(5000 + i, 6000);
		const struct virtio_vsock_hdr header =
		    peer_header(&stranger, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
		if (!guest_add_tx(&world->f.guest, &header, NULL, 0, false))
			break;
		guest_kick(&world->f.guest, VIRTIO_VSOCK_QUEUE_TX);
	}
}
