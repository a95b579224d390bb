/*
 * Fuzzes the loaders of device states: the input is a byte that picks the device, one that picks
 * what is done with it afterwards, and a document. What is accepted must be in the device (saved
 * again and loaded elsewhere it is the same), and the device must then stand whatever the driver
 * and the host do, over small guest memory with rings that hold work for it.
 *
 * What the target asserts besides: a refused state leaves the device as it was, loading writes no
 * guest memory, and the machine's view of doorbells, vectors and the wire stays consistent.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/pack.h"
#include "tests/fuzz/pci_watch.h"
#include "tests/fuzz/require.h"
#include "virtio/console.h"
#include "virtio/rng.h"
#include "virtio/state.h"
#include "virtio/vsock.h"
#include "virtio/vsock_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_GPA	   UINT64_C(0x1000)
#define RAM_SIZE   UINT64_C(0x10000)
#define RING_SIZE  16
#define RING(i)	   (RAM_GPA + 0x1000 * (uint64_t)(i))
#define AVAIL	   0x800
#define USED	   0xa00
#define BUFFERS	   (RAM_GPA + 0x4000)
#define BUFFER	   0x100
#define WORK	   12 /* chains that each ring offers */
#define BAR0	   0xe0000000u
#define BAR1	   0xe0008000u
#define CID	   7
#define HOST_PORT  500
#define GUEST_PORT 1000

enum kind {
	KIND_RNG,
	KIND_CONSOLE,
	KIND_VSOCK,
	KIND_PCI,
	KINDS,
};

struct machine {
	struct pv_gmem mem;
	uint8_t *ram;
	struct pv_bus mmio;
	struct pv_rng rng;
	struct pv_console console;
	struct pv_vsock *vsock;
	struct pv_virtio_pci *pci; /* of the console */
	bool adopt;
	struct pci_watch watch;	    /* of it */
	struct pv_vsock_conn *conn; /* the last one that was adopted, while it lives */
};

/* --- what the machine sees --- */

static void print(void *ctx, const void *data, size_t len)
{
	REQUIRE(len > 0);
}

static void on_nothing(void *ctx)
{
}

static void on_receive(void *ctx, const void *data, size_t len)
{
	REQUIRE(len > 0);
}

static void on_closed(void *ctx)
{
	((struct machine *)ctx)->conn = NULL;
}

static const struct pv_stream_port_ops port_ops = {
    .connected = on_nothing,
    .receive = on_receive,
    .writable = on_nothing,
    .end_of_stream = on_nothing,
    .closed = on_closed,
};

/* The ports of all but the last adopted connection have nothing to keep. */
static const struct pv_stream_port_ops plain_ops = {
    .connected = on_nothing,
    .receive = on_receive,
    .writable = on_nothing,
    .end_of_stream = on_nothing,
    .closed = on_nothing,
};

static bool adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port,
    const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct machine *machine = ctx;
	if (!machine->adopt)
		return false;
	*ops = machine->conn ? &plain_ops : &port_ops;
	*port_ctx = machine;
	if (!machine->conn)
		machine->conn = conn;
	return true;
}

/* --- guest memory --- */

/* A packet for the device, of each operation in turn. */
static void put_packet(uint8_t *buffer, unsigned number)
{
	const struct virtio_vsock_hdr header = {
	    .src_cid = CID,
	    .dst_cid = PV_VSOCK_HOST_CID,
	    .src_port = GUEST_PORT + number % 3,
	    .dst_port = HOST_PORT,
	    .len = 40,
	    .type = VIRTIO_VSOCK_TYPE_STREAM,
	    .op = number == 0 ? VIRTIO_VSOCK_OP_RW : 3 + number % 5,
	    .flags = number & 3,
	    .buf_alloc = 4096,
	};
	memcpy(buffer, &header, sizeof(header));
}

/* Rings at RING(i) with WORK chains each. Queue 1 of sockets and consoles is what the device reads,
 * the others are written; of the last bytes of memory nothing is used. */
static void fill_memory(uint8_t *ram)
{
	memset(ram, 0x41, RAM_SIZE);
	memset(ram, 0, 0x3000);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t *ring = ram + RING(i) - RAM_GPA;
		for (unsigned j = 0; j < RING_SIZE; j++) {
			const uint64_t buffer = BUFFERS + BUFFER * (RING_SIZE * (uint64_t)i + j);
			pv_put_le64(ring + 16 * j, buffer);
			pv_put_le32(ring + 16 * j + 8, j % 4 == 3 ? 8 * BUFFER : BUFFER);
			pv_put_le16(ring + 16 * j + 12, i == 1 ? 0 : VIRTQ_DESC_F_WRITE);
			pv_put_le16(ring + AVAIL + 4 + 2 * j, j);
			if (i == 1)
				put_packet(ram + buffer - RAM_GPA, j);
		}
		pv_put_le16(ring + AVAIL + 2, WORK);
	}
}

/* --- the machine --- */

static struct machine *create(const uint8_t *ram, bool adopts)
{
	const uint64_t seed = 1;
	struct machine *machine = calloc(1, sizeof(*machine));
	if (!machine || !(machine->ram = aligned_alloc(4096, RAM_SIZE)))
		abort();
	machine->adopt = adopts;
	memcpy(machine->ram, ram, RAM_SIZE);
	pv_gmem_add(&machine->mem, RAM_GPA, RAM_SIZE, machine->ram);
	pv_rng_init(&machine->rng, &machine->mem, &seed);
	pv_console_init(&machine->console, &machine->mem, print, machine);
	machine->watch.dev = &machine->console.virtio;
	const struct pv_virtio_pci_wiring wiring =
	    pci_watch_wiring(&machine->watch, &machine->mmio);
	if (pv_vsock_create(&machine->vsock, &machine->mem, CID) < 0 ||
	    pv_virtio_pci_create(&machine->pci, &machine->console.virtio, &wiring, BAR0, BAR1) < 0)
		abort();
	return machine;
}

static void destroy(struct machine *machine)
{
	pv_virtio_pci_destroy(machine->pci);
	pci_watch_expect_nothing(&machine->watch);
	REQUIRE(machine->mmio.count == 0);
	pv_console_finish(&machine->console);
	pv_vsock_destroy(machine->vsock);
	REQUIRE(!machine->conn);
	free(machine->ram);
	free(machine);
}

static struct pv_bytes save(const struct machine *machine, enum kind kind)
{
	struct pv_bytes bytes = {0};
	struct pv_pack pack = {.out = &bytes};
	switch (kind) {
	case KIND_RNG: pv_rng_save(&machine->rng, &pack); break;
	case KIND_CONSOLE: pv_console_save(&machine->console, &pack); break;
	case KIND_VSOCK: pv_vsock_save(machine->vsock, &pack); break;
	default:
		pv_pack_map(&pack, 2);
		pv_pack_str(&pack, "device");
		pv_console_save(&machine->console, &pack);
		pv_pack_str(&pack, "transport");
		pv_virtio_pci_save(machine->pci, &pack);
		break;
	}
	REQUIRE(pack.status == 0);
	return bytes;
}

static int load_pci(struct machine *machine, const struct pv_val *val, struct pv_err *err)
{
	int status = pv_console_load(&machine->console, pv_val_get(val, "device"), err);
	if (status < 0)
		return status;
	/* A function whose device is loaded and that is refused itself stays a fresh function. */
	struct pv_bytes before = {0}, after = {0};
	struct pv_pack pack = {.out = &before};
	pv_virtio_pci_save(machine->pci, &pack);
	status = pv_virtio_pci_load(machine->pci, pv_val_get(val, "transport"), err);
	if (status < 0) {
		pack.out = &after;
		pv_virtio_pci_save(machine->pci, &pack);
		REQUIRE(before.len == after.len);
		REQUIRE(memcmp(before.data, after.data, after.len) == 0);
		REQUIRE(machine->mmio.count == 0);
	}
	pv_bytes_finish(&before);
	pv_bytes_finish(&after);
	return status;
}

static int load(struct machine *machine, enum kind kind, const uint8_t *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_doc *doc;
	int status = pv_doc_parse(&doc, data, len, &err);
	if (status < 0)
		return status;
	const struct pv_val *val = pv_doc_root(doc);
	switch (kind) {
	case KIND_RNG: status = pv_rng_load(&machine->rng, val, &err); break;
	case KIND_CONSOLE: status = pv_console_load(&machine->console, val, &err); break;
	case KIND_VSOCK: status = pv_vsock_load(machine->vsock, val, adopt, machine, &err); break;
	default: status = load_pci(machine, val, &err); break;
	}
	REQUIRE(status == 0 || err.text[0]);
	pv_doc_destroy(doc);
	return status;
}

/* --- what happens afterwards --- */

static struct pv_virtio *device(struct machine *machine, enum kind kind)
{
	switch (kind) {
	case KIND_RNG: return &machine->rng.virtio;
	case KIND_VSOCK: return pv_vsock_virtio(machine->vsock);
	default: return &machine->console.virtio;
	}
}

static void host_acts(struct machine *machine, enum kind kind)
{
	static const uint8_t bytes[5000];
	if (kind == KIND_CONSOLE || kind == KIND_PCI)
		pv_console_input(&machine->console, "typed", 5);
	if (kind != KIND_VSOCK)
		return;
	struct pv_vsock_conn *out;
	pv_vsock_connect(machine->vsock, GUEST_PORT, &plain_ops, machine, &out);
	if (machine->conn)
		pv_vsock_conn_send(machine->conn, bytes, sizeof(bytes));
	if (machine->conn)
		pv_vsock_conn_credit(machine->conn, 100);
	pv_vsock_is_quiescent(machine->vsock);
}

static void guest_acts(struct machine *machine, enum kind kind)
{
	uint8_t data[8] = {0};
	for (unsigned i = 0; i < 3; i++) {
		/* More work, as far as the ring reaches. */
		pv_put_le16(machine->ram + RING(i) - RAM_GPA + AVAIL + 2, WORK + 4);
		pv_virtio_kick(device(machine, kind), i);
	}
	if (kind != KIND_PCI)
		return;
	for (unsigned at = 0; at < 256; at += 4)
		pv_virtio_pci_config_ops.read(machine->pci, at, data, 4);
	pv_put_le16(data, 0x8000);
	pv_virtio_pci_config_ops.write(machine->pci, 0x9a, data, 2);
	pv_put_le16(data, 0x0002);
	pv_virtio_pci_config_ops.write(machine->pci, 0x04, data, 2);
	pv_put_le32(data, 0xd0000000u);
	pv_virtio_pci_config_ops.write(machine->pci, 0x10, data, 4);
	for (unsigned at = 0; at < 0x38; at++)
		pv_bus_read(&machine->mmio, 0xd0000000u + at, data, 1);
	pv_virtio_config_changed(&machine->console.virtio);
	pv_put_le16(data, 0);
	pv_virtio_pci_config_ops.write(machine->pci, 0x9a, data, 2);
}

static void drive(struct machine *machine, enum kind kind, uint8_t how)
{
	if (how & 1)
		host_acts(machine, kind);
	if (!(how & 2))
		pv_virtio_resume(device(machine, kind));
	if (how & 4)
		host_acts(machine, kind);
	if (how & 8)
		guest_acts(machine, kind);
	if (how & 16)
		host_acts(machine, kind);
	if ((how & 32) && machine->conn)
		pv_vsock_conn_shutdown(machine->conn);
	if (how & 64)
		pv_virtio_set_status(device(machine, kind), 0);
}

/* What was loaded is what is saved, there and in a third device. */
static void expect_same(const struct machine *machine, enum kind kind, const uint8_t *ram)
{
	struct pv_bytes first = save(machine, kind);
	struct machine *other = create(ram, true);
	REQUIRE(load(other, kind, first.data, first.len) == 0);
	struct pv_bytes second = save(other, kind);
	REQUIRE(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	pv_bytes_finish(&first);
	pv_bytes_finish(&second);
	destroy(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t ram[RAM_SIZE];
	if (size < 2 || size > 65536)
		return 0;
	if (!ram[RAM_SIZE - 1])
		fill_memory(ram);
	const enum kind kind = data[0] % KINDS;
	struct machine *machine = create(ram, !(data[1] & 128));
	struct pv_bytes before = save(machine, kind);
	const int status = load(machine, kind, data + 2, size - 2);
	REQUIRE(memcmp(ram, machine->ram, RAM_SIZE) == 0);
	if (status == 0) {
		expect_same(machine, kind, ram);
		drive(machine, kind, data[1]);
	} else if (kind != KIND_PCI) {
		struct pv_bytes after = save(machine, kind);
		REQUIRE(before.len == after.len);
		REQUIRE(memcmp(before.data, after.data, after.len) == 0);
		pv_bytes_finish(&after);
	}
	pv_bytes_finish(&before);
	destroy(machine);
	return 0;
}
