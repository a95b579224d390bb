/*
 * Fuzzes the PCI transport with an entropy device and a console behind it: the input is a sequence
 * of guest accesses (configuration space and BARs, any offset and width), changes of guest memory,
 * and what the host does meanwhile. Whole steps, such as bringing a device up with good rings, are
 * one operation, so that the fuzzer need not find them bit by bit.
 *
 * What the target asserts: interrupts and doorbells are told consistently, no vector is fired while
 * masked, and nothing is left behind on the machine.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/gmem.h"
#include "tests/fuzz/pci_watch.h"
#include "tests/fuzz/require.h"
#include "virtio/console.h"
#include "virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_GPA	 UINT64_C(0x1000)
#define RAM_SIZE UINT64_C(0x4000)
#define STEPS	 256
#define BAR(i)	 (0xe0000000u + 0x10000u * (i))

struct function {
	struct pv_virtio_pci *pci;
	struct pv_virtio *dev;
	struct pci_watch watch;
};

struct machine {
	struct pv_gmem mem;
	uint8_t *ram;
	struct pv_bus mmio;
	struct pv_rng rng;
	struct pv_console console;
	struct function functions[2];
	size_t printed;
};

static void print(void *ctx, const void *data, size_t len)
{
	struct machine *machine = ctx;
	REQUIRE(len > 0);
	machine->printed += len;
}

static void config_write(struct function *function, unsigned offset, unsigned len, uint32_t value)
{
	pv_virtio_pci_config_ops.write(function->pci, offset, &value, len);
}

/* What a driver does from reset to DRIVER_OK; `how` picks features and MSI-X. */
static void bring_up(struct machine *machine, struct function *function, uint8_t how)
{
	struct pv_virtio *dev = function->dev;
	config_write(function, 0x04, 2, 2);
	config_write(function, 0x98 + 2, 2, how & 4 ? 0x8000 : 0);
	pv_virtio_set_status(dev, 0);
	pv_virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	pv_virtio_accept_features(
	    dev, 0, (how & 1 ? VIRTIO_F_EVENT_IDX : 0) | (how & 2 ? VIRTIO_F_INDIRECT_DESC : 0));
	pv_virtio_accept_features(dev, 1, VIRTIO_F_VERSION_1 >> 32);
	pv_virtio_set_status(dev, dev->status | VIRTIO_STATUS_FEATURES_OK);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		const uint64_t base = RAM_GPA + 0x400 * (uint64_t)i;
		pv_virtio_set_queue_size(dev, i, 8);
		pv_virtio_set_queue_ring(dev, i, base, base + 0x100, base + 0x200);
		pv_virtio_enable_queue(dev, i);
	}
	/* The last step by register, so that the transport sees it. */
	const uint8_t status = dev->status | VIRTIO_STATUS_DRIVER_OK;
	const uint64_t bar0 = BAR(function == &machine->functions[1] ? 1 : 0);
	pv_bus_write(&machine->mmio, bar0 + 0x14, &status, 1);
}

/* Offers chain `head` of `queue` to the device with a descriptor from the input. */
static void offer(struct machine *machine, unsigned queue, const uint8_t *arg)
{
	uint8_t *ring = machine->ram + 0x400 * (queue & 1);
	const unsigned head = arg[0] % 8;
	const uint16_t index = pv_le16(ring + 0x102);
	pv_put_le64(ring + 16 * head, RAM_GPA + 0x800 + 16 * (uint64_t)arg[1]);
	pv_put_le32(ring + 16 * head + 8, pv_le16(arg + 2));
	pv_put_le16(ring + 16 * head + 12, arg[4] & 7);
	pv_put_le16(ring + 16 * head + 14, arg[5] & 15);
	pv_put_le16(ring + 0x104 + 2 * (index % 8), head);
	pv_put_le16(ring + 0x102, index + 1);
}

/* One operation: a byte for what, then seven of arguments. */
static void step(struct machine *machine, const uint8_t *op)
{
	struct function *function = &machine->functions[op[0] >> 7];
	const uint8_t *arg = op + 1;
	const unsigned len = 1 + arg[0] % 8;
	uint8_t data[8] = {0};
	const uint32_t bars[2] = {BAR(op[0] >> 7), BAR(op[0] >> 7) + 0x8000};
	const uint64_t at = bars[arg[0] >> 7] + pv_le16(arg + 1) % 0x4000;
	memcpy(data, arg + 3, 4);
	switch (op[0] & 15) {
	case 0: pv_virtio_pci_config_ops.read(function->pci, arg[1], data, 1 << arg[0] % 3); break;
	case 1: config_write(function, arg[1], 1 << arg[0] % 3, pv_le32(arg + 3)); break;
	case 2: pv_bus_read(&machine->mmio, at, data, len); break;
	case 3: pv_bus_write(&machine->mmio, at, data, len); break;
	case 4: bring_up(machine, function, arg[0]); break;
	case 5: offer(machine, op[0] >> 4, arg); break;
	case 6: pv_virtio_pci_kick(function->pci, arg[0]); break;
	case 7: pv_console_input(&machine->console, arg, 7); break;
	case 8: pv_virtio_pci_reset(function->pci); break;
	case 9: pv_virtio_config_changed(function->dev); break;
	case 10: pv_gmem_write(&machine->mem, RAM_GPA + pv_le16(arg) % RAM_SIZE, arg + 2, 5); break;
	case 11: /* common configuration, where single bits matter */
		pv_bus_write(&machine->mmio, bars[0] + arg[1] % 0x40, data, 1 << arg[0] % 4);
		break;
	case 12: /* the MSI-X table, in its own grain */
		pv_bus_write(&machine->mmio, bars[1] + 4 * (arg[1] % 16), data, 4);
		break;
	case 13: pv_bus_write(&machine->mmio, bars[0] + 0x3000 + 4 * (arg[1] % 4), data, 2); break;
	case 14: /* wild memory accesses, wherever a BAR was moved to */
		pv_bus_write(&machine->mmio, pv_le32(arg + 3), data, len);
		break;
	default: pv_virtio_break(function->dev, "fuzzed"); break;
	}
}

static void create(struct machine *machine)
{
	const uint64_t seed = 1;
	machine->ram = aligned_alloc(4096, RAM_SIZE);
	if (!machine->ram)
		abort();
	memset(machine->ram, 0, RAM_SIZE);
	pv_gmem_add(&machine->mem, RAM_GPA, RAM_SIZE, machine->ram);
	pv_rng_init(&machine->rng, &machine->mem, &seed);
	pv_console_init(&machine->console, &machine->mem, print, machine);
	machine->functions[0].dev = &machine->rng.virtio;
	machine->functions[1].dev = &machine->console.virtio;
	for (unsigned i = 0; i < 2; i++) {
		struct function *function = &machine->functions[i];
		function->watch = (struct pci_watch){.dev = function->dev, .refuses = true};
		const struct pv_virtio_pci_wiring wiring =
		    pci_watch_wiring(&function->watch, &machine->mmio);
		if (pv_virtio_pci_create(
			&function->pci, function->dev, &wiring, BAR(i), BAR(i) + 0x8000) < 0)
			abort();
	}
}

static void destroy(struct machine *machine)
{
	for (unsigned i = 0; i < 2; i++) {
		struct function *function = &machine->functions[i];
		pv_virtio_pci_destroy(function->pci);
		pci_watch_expect_nothing(&function->watch);
	}
	REQUIRE(machine->mmio.count == 0);
	pv_console_finish(&machine->console);
	free(machine->ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	if (!machine)
		abort();
	create(machine);
	for (unsigned i = 0; i < STEPS && size >= 8; i++, data += 8, size -= 8) {
		step(machine, data);
		for (unsigned j = 0; j < 2; j++) {
			const struct pv_virtio *dev = machine->functions[j].dev;
			REQUIRE(!dev->active || (dev->status & VIRTIO_STATUS_DRIVER_OK));
			REQUIRE(!dev->active || !(dev->status & VIRTIO_STATUS_NEEDS_RESET));
			REQUIRE(!(dev->status & VIRTIO_STATUS_DRIVER_OK) ||
				(dev->accepted & VIRTIO_F_VERSION_1));
			REQUIRE(!(dev->accepted & ~dev->offered) ||
				!(dev->status & VIRTIO_STATUS_FEATURES_OK));
		}
	}
	destroy(machine);
	free(machine);
	return 0;
}
