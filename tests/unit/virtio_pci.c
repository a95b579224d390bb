/*
 * The PCI transport, reached as a guest reaches it: configuration space and memory accesses on a
 * bus, with counters in place of the machine's interrupts and doorbells. The device behind it is a
 * probe with device configuration and two queues.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/ring_driver.h"
#include "virtio/pci.h"

#define BAR0	 0xe0000000u
#define BAR1	 0xe0004000u
#define VECTORS	 3
#define NO_MSG	 0xffff
#define NOTIFY	 PV_VIRTIO_PCI_NOTIFY_OFFSET
#define MEMORY	 0x0002
#define INTX_OFF 0x0400
#define MSIX_ON	 0x8000
#define MASK_ALL 0x4000

/* Common configuration, by the names of the specification. */
#define DEVICE_FEATURE_SELECT 0x00
#define DEVICE_FEATURE	      0x04
#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE	      0x0c
#define CONFIG_MSIX_VECTOR    0x10
#define NUM_QUEUES	      0x12
#define DEVICE_STATUS	      0x14
#define CONFIG_GENERATION     0x15
#define QUEUE_SELECT	      0x16
#define QUEUE_SIZE	      0x18
#define QUEUE_MSIX_VECTOR     0x1a
#define QUEUE_ENABLE	      0x1c
#define QUEUE_NOTIFY_OFF      0x1e
#define QUEUE_DESC	      0x20
#define QUEUE_DRIVER	      0x28
#define QUEUE_DEVICE	      0x30

#define OWN_FEATURE (UINT64_C(1) << 40)

struct vector {
	uint64_t address;
	uint32_t data;
	bool masked;
	unsigned updates, fired;
};

struct fixture {
	struct pv_virtio virtio; /* first: the device */
	uint8_t config[8];
	unsigned kicks[2];
	struct ram ram;
	struct ring rings[2];
	struct pv_bus mmio;
	struct pv_virtio_pci *pci;
	bool line;
	unsigned line_changes;
	struct vector vectors[VECTORS];
	uint64_t doorbells[2];
	unsigned maps, unmaps;
	int map_result;
};

static void probe_config_read(struct pv_virtio *dev, unsigned offset, void *data, unsigned len)
{
	const struct fixture *fix = (struct fixture *)dev;
	for (unsigned i = 0; i < len; i++)
		((uint8_t *)data)[i] = offset + i < 8 ? fix->config[offset + i] : 0;
}

static void probe_config_write(
    struct pv_virtio *dev, unsigned offset, const void *data, unsigned len)
{
	struct fixture *fix = (struct fixture *)dev;
	for (unsigned i = 0; i < len && offset + i < 8; i++)
		fix->config[offset + i] = ((const uint8_t *)data)[i];
}

static void probe_kick(struct pv_virtio *dev, unsigned queue)
{
	((struct fixture *)dev)->kicks[queue]++;
}

static const struct pv_virtio_ops probe_ops = {
    .config_read = probe_config_read,
    .config_write = probe_config_write,
    .kick = probe_kick,
};

static void set_line(void *ctx, bool level)
{
	struct fixture *fix = ctx;
	assert_int_not_equal(fix->line, level);
	fix->line = level;
	fix->line_changes++;
}

static void msi_update(void *ctx, unsigned vector, uint64_t address, uint32_t data, bool masked)
{
	struct fixture *fix = ctx;
	assert_true(vector < VECTORS);
	struct vector *it = &fix->vectors[vector];
	assert_true(it->address != address || it->data != data || it->masked != masked);
	it->address = address;
	it->data = data;
	it->masked = masked;
	it->updates++;
}

static void msi_fire(void *ctx, unsigned vector)
{
	struct fixture *fix = ctx;
	assert_true(vector < VECTORS);
	assert_false(fix->vectors[vector].masked);
	fix->vectors[vector].fired++;
}

static int doorbell_map(void *ctx, unsigned queue, uint64_t gpa)
{
	struct fixture *fix = ctx;
	fix->maps++;
	if (fix->map_result < 0)
		return fix->map_result;
	assert_true(fix->doorbells[queue] == 0);
	fix->doorbells[queue] = gpa;
	return 0;
}

static void doorbell_unmap(void *ctx, unsigned queue, uint64_t gpa)
{
	struct fixture *fix = ctx;
	assert_true(fix->doorbells[queue] == gpa);
	fix->doorbells[queue] = 0;
	fix->unmaps++;
}

static const struct pv_irq_msi_ops msi_ops = {.update = msi_update, .fire = msi_fire};
static const struct pv_irq_doorbell_ops doorbell_ops = {doorbell_map, doorbell_unmap};

static int set_up(void **state)
{
	struct fixture *fix = calloc(1, sizeof(*fix));
	assert_non_null(fix);
	ram_init(&fix->ram);
	ring_init(&fix->rings[0], &fix->ram, 0, 16);
	ring_init(&fix->rings[1], &fix->ram, 1, 32);
	fix->virtio = (struct pv_virtio){
	    .ops = &probe_ops,
	    .id = VIRTIO_ID_BLOCK,
	    .queue_count = 2,
	    .queue_size = {16, 64},
	    .offered = OWN_FEATURE,
	    .mem = &fix->ram.mem,
	};
	pv_virtio_init(&fix->virtio);
	for (unsigned i = 0; i < VECTORS; i++)
		fix->vectors[i].masked = true;
	const struct pv_virtio_pci_wiring wiring = {
	    .mmio = &fix->mmio,
	    .intx = {.set = set_line, .ctx = fix},
	    .interrupt_pin = 1,
	    .interrupt_line = 11,
	    .msi = &msi_ops,
	    .doorbells = &doorbell_ops,
	    .ctx = fix,
	};
	assert_int_equal(pv_virtio_pci_create(&fix->pci, &fix->virtio, &wiring, BAR0, BAR1), 0);
	*state = fix;
	return 0;
}

/* Whatever a test left behind, nothing of the function may stay on the machine. */
static int tear_down(void **state)
{
	struct fixture *fix = *state;
	pv_virtio_pci_destroy(fix->pci);
	assert_int_equal(fix->mmio.count, 0);
	assert_true(fix->doorbells[0] == 0 && fix->doorbells[1] == 0);
	assert_false(fix->line);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_true(fix->vectors[i].masked);
	pv_virtio_pci_destroy(NULL);
	ram_finish(&fix->ram);
	free(fix);
	return 0;
}

/* --- accesses --- */

static uint32_t cfg_read(struct fixture *fix, unsigned offset, unsigned len)
{
	uint32_t value = 0;
	pv_virtio_pci_config_ops.read(fix->pci, offset, &value, len);
	return value;
}

static void cfg_write(struct fixture *fix, unsigned offset, unsigned len, uint32_t value)
{
	pv_virtio_pci_config_ops.write(fix->pci, offset, &value, len);
}

static uint64_t mem_read(struct fixture *fix, uint64_t address, unsigned len)
{
	uint64_t value = 0;
	assert_true(pv_bus_read(&fix->mmio, address, &value, len));
	return value;
}

static void mem_write(struct fixture *fix, uint64_t address, unsigned len, uint64_t value)
{
	assert_true(pv_bus_write(&fix->mmio, address, &value, len));
}

static uint32_t common_read(struct fixture *fix, unsigned offset, unsigned len)
{
	return mem_read(fix, BAR0 + offset, len);
}

static void common_write(struct fixture *fix, unsigned offset, unsigned len, uint64_t value)
{
	mem_write(fix, BAR0 + offset, len, value);
}

static void decode(struct fixture *fix)
{
	cfg_write(fix, 0x04, 2, MEMORY);
}

/* The configuration-space offset of the first capability with this id (and virtio type). */
static unsigned find_cap(struct fixture *fix, uint8_t id, uint8_t type)
{
	unsigned at = cfg_read(fix, 0x34, 1);
	for (unsigned hops = 0; at; hops++) {
		assert_true(hops < 16 && at >= 0x40 && at % 4 == 0);
		if (cfg_read(fix, at, 1) == id && (id != 9 || cfg_read(fix, at + 3, 1) == type))
			return at;
		at = cfg_read(fix, at + 1, 1);
	}
	return 0;
}

static void begin(struct fixture *fix)
{
	decode(fix);
	common_write(fix, DEVICE_STATUS, 1, 0);
	common_write(fix, DEVICE_STATUS, 1, 1);
	common_write(fix, DEVICE_STATUS, 1, 3);
	common_write(fix, DRIVER_FEATURE_SELECT, 4, 0);
	common_write(fix, DRIVER_FEATURE, 4, 0);
	common_write(fix, DRIVER_FEATURE_SELECT, 4, 1);
	common_write(fix, DRIVER_FEATURE, 4, VIRTIO_F_VERSION_1 >> 32);
	common_write(fix, DEVICE_STATUS, 1, 11);
	assert_int_equal(common_read(fix, DEVICE_STATUS, 1), 11);
}

static void attach(struct fixture *fix, unsigned queue, const struct ring *ring)
{
	common_write(fix, QUEUE_SELECT, 2, queue);
	common_write(fix, QUEUE_SIZE, 2, ring->size);
	common_write(fix, QUEUE_DESC, 4, ring->desc);
	common_write(fix, QUEUE_DESC + 4, 4, ring->desc >> 32);
	common_write(fix, QUEUE_DRIVER, 4, ring->avail);
	common_write(fix, QUEUE_DRIVER + 4, 4, ring->avail >> 32);
	common_write(fix, QUEUE_DEVICE, 4, ring->used);
	common_write(fix, QUEUE_DEVICE + 4, 4, ring->used >> 32);
	common_write(fix, QUEUE_ENABLE, 2, 1);
}

static void bring_up(struct fixture *fix)
{
	begin(fix);
	attach(fix, 0, &fix->rings[0]);
	attach(fix, 1, &fix->rings[1]);
	common_write(fix, DEVICE_STATUS, 1, 15);
	assert_true(fix->virtio.active);
}

/* Makes the device use a chain of queue `queue` and notify. */
static void use_chain(struct fixture *fix, unsigned queue)
{
	struct pv_chain chain;
	struct ring *ring = &fix->rings[queue];
	ring_desc(ring, 0, DATA_GPA, 8, 0, 0);
	ring_offer(ring, 0);
	assert_true(pv_virtio_pop(&fix->virtio, queue, &chain));
	pv_queue_push(&fix->virtio.queues[queue], chain.head, 0);
	pv_virtio_notify(&fix->virtio, queue);
}

static void msix_control(struct fixture *fix, uint16_t value)
{
	cfg_write(fix, find_cap(fix, 0x11, 0) + 2, 2, value);
}

static void set_message(struct fixture *fix, unsigned vector, uint32_t control)
{
	const uint64_t entry = BAR1 + 16 * vector;
	mem_write(fix, entry, 4, 0xfee00000u + 0x1000 * vector);
	mem_write(fix, entry + 4, 4, 0);
	mem_write(fix, entry + 8, 4, 0x40 + vector);
	mem_write(fix, entry + 12, 4, control);
}

/* Device up with MSI-X: vector 0 for configuration, 1 and 2 for the queues, all unmasked. */
static void bring_up_msix(struct fixture *fix)
{
	begin(fix);
	msix_control(fix, MSIX_ON);
	for (unsigned i = 0; i < VECTORS; i++)
		set_message(fix, i, 0);
	common_write(fix, CONFIG_MSIX_VECTOR, 2, 0);
	for (unsigned i = 0; i < 2; i++) {
		attach(fix, i, &fix->rings[i]);
		common_write(fix, QUEUE_MSIX_VECTOR, 2, 1 + i);
		assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), 1 + i);
	}
	common_write(fix, DEVICE_STATUS, 1, 15);
	assert_true(fix->virtio.active);
}

/* --- configuration space --- */

static void test_identity(void **state)
{
	struct fixture *fix = *state;
	assert_int_equal(cfg_read(fix, 0x00, 2), 0x1af4);
	assert_int_equal(cfg_read(fix, 0x02, 2), 0x1042);
	assert_int_equal(cfg_read(fix, 0x08, 1), 1);
	assert_int_equal(cfg_read(fix, 0x08, 4) >> 8, 0x018000);
	assert_int_equal(cfg_read(fix, 0x0e, 1), 0);
	assert_int_equal(cfg_read(fix, 0x2c, 2), 0x1af4);
	assert_true(cfg_read(fix, 0x2e, 2) >= 0x40);
	assert_int_equal(cfg_read(fix, 0x3c, 1), 11);
	assert_int_equal(cfg_read(fix, 0x3d, 1), 1);
	assert_true(cfg_read(fix, 0x06, 2) & 0x10);
	assert_int_equal(cfg_read(fix, 0x04, 2), 0);
}

static void test_every_capability_is_there_and_lies_in_its_bar(void **state)
{
	struct fixture *fix = *state;
	for (uint8_t type = 1; type <= 4; type++) {
		const unsigned cap = find_cap(fix, 9, type);
		assert_int_not_equal(cap, 0);
		assert_int_equal(cfg_read(fix, cap + 2, 1), type == 2 ? 20 : 16);
		assert_int_equal(cfg_read(fix, cap + 4, 1), 0);
		const uint64_t offset = cfg_read(fix, cap + 8, 4), len = cfg_read(fix, cap + 12, 4);
		assert_true(len > 0 && offset + len <= PV_VIRTIO_PCI_BAR0_SIZE);
		assert_int_equal(offset % 4, 0);
	}
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 1) + 12, 4), 56);
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 2) + 8, 4), NOTIFY);
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 2) + 16, 4), 4);
	assert_int_not_equal(find_cap(fix, 9, 5), 0);
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 5) + 2, 1), 20);

	const unsigned msix = find_cap(fix, 0x11, 0);
	assert_int_not_equal(msix, 0);
	assert_int_equal(cfg_read(fix, msix + 2, 2), VECTORS - 1);
	assert_int_equal(cfg_read(fix, msix + 4, 4), 0x000 | 1);
	assert_int_equal(cfg_read(fix, msix + 8, 4), 0x800 | 1);
}

static void test_class_codes(void **state)
{
	struct fixture *fix = *state;
	const struct {
		uint16_t id;
		uint32_t class_code;
	} known[] = {
	    {VIRTIO_ID_NET,	    0x020000},
	       {VIRTIO_ID_CONSOLE, 0x078000},
	      {VIRTIO_ID_RNG,     0x00ff00},
	    {VIRTIO_ID_VSOCK,   0x028000}
	       };
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		fix->virtio.id = known[i].id;
		pv_virtio_pci_reset(fix->pci);
		assert_int_equal(cfg_read(fix, 0x02, 2), 0x1040 + known[i].id);
		assert_int_equal(cfg_read(fix, 0x08, 4) >> 8, known[i].class_code);
	}
}

static void test_bars_are_sized_and_moved(void **state)
{
	struct fixture *fix = *state;
	assert_int_equal(cfg_read(fix, 0x10, 4), BAR0);
	assert_int_equal(cfg_read(fix, 0x14, 4), BAR1);
	assert_int_equal(fix->mmio.count, 0);
	for (unsigned bar = 0; bar < 6; bar++)
		cfg_write(fix, 0x10 + 4 * bar, 4, UINT32_MAX);
	assert_int_equal(cfg_read(fix, 0x10, 4), -PV_VIRTIO_PCI_BAR0_SIZE);
	assert_int_equal(cfg_read(fix, 0x14, 4), -PV_VIRTIO_PCI_BAR1_SIZE);
	for (unsigned bar = 2; bar < 6; bar++)
		assert_int_equal(cfg_read(fix, 0x10 + 4 * bar, 4), 0);
	cfg_write(fix, 0x30, 4, UINT32_MAX);
	assert_int_equal(cfg_read(fix, 0x30, 4), 0);

	/* By bytes, as odd firmware does it. */
	cfg_write(fix, 0x10, 4, 0);
	cfg_write(fix, 0x13, 1, 0xd0);
	cfg_write(fix, 0x14, 4, 0xd0010000);
	decode(fix);
	assert_int_equal(mem_read(fix, 0xd0000000 + NUM_QUEUES, 2), 2);
	cfg_write(fix, 0x10, 4, 0xd0020000);
	assert_int_equal(mem_read(fix, 0xd0020000 + NUM_QUEUES, 2), 2);
	uint16_t value;
	assert_false(pv_bus_read(&fix->mmio, 0xd0000000 + NUM_QUEUES, &value, 2));
	cfg_write(fix, 0x04, 2, 0);
	assert_int_equal(fix->mmio.count, 0);
}

static void test_a_bar_on_top_of_another_device_is_not_decoded(void **state)
{
	struct fixture *fix = *state;
	const struct pv_bus_ops ops = pv_virtio_pci_config_ops;
	assert_int_equal(pv_bus_add(&fix->mmio, 0xc0002000, 0x1000, &ops, fix->pci), 0);
	cfg_write(fix, 0x10, 4, 0xc0000000);
	decode(fix);
	assert_int_equal(fix->mmio.count, 2);
	uint8_t byte;
	assert_false(pv_bus_read(&fix->mmio, 0xc0000000, &byte, 1));
	cfg_write(fix, 0x10, 4, BAR0);
	assert_int_equal(mem_read(fix, BAR0 + NUM_QUEUES, 2), 2);
	/* An address of 0 is no address. */
	cfg_write(fix, 0x10, 4, 0);
	assert_false(pv_bus_read(&fix->mmio, 0, &byte, 1));
	assert_int_equal(pv_bus_remove(&fix->mmio, 0xc0002000), 0);
}

static void test_read_only_registers_stay(void **state)
{
	struct fixture *fix = *state;
	uint8_t before[256], after[256];
	for (unsigned i = 0; i < 256; i++)
		before[i] = cfg_read(fix, i, 1);
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < 256; i++)
			cfg_write(fix, i, 1, pass ? 0 : 0xff);
	for (unsigned i = 0; i < 256; i++)
		after[i] = cfg_read(fix, i, 1);
	/* Writable: BARs, cache line size, interrupt line; zeroes everywhere else were zeroes. */
	before[0x0c] = before[0x3c] = 0;
	memset(before + 0x10, 0, 8);
	assert_memory_equal(before, after, 256);
	assert_int_equal(cfg_read(fix, 0x04, 2), 0);
}

static void test_the_window_reaches_the_bars_without_decoding(void **state)
{
	struct fixture *fix = *state;
	const unsigned cap = find_cap(fix, 9, 5);
	fix->config[2] = 0x5a;
	cfg_write(fix, cap + 4, 1, 0);
	cfg_write(fix, cap + 8, 4, 0x2002);
	cfg_write(fix, cap + 12, 4, 1);
	assert_int_equal(cfg_read(fix, cap + 16, 1), 0x5a);
	cfg_write(fix, cap + 16, 1, 0xa5);
	assert_int_equal(fix->config[2], 0xa5);
	/* The status, by the window. */
	cfg_write(fix, cap + 8, 4, DEVICE_STATUS);
	cfg_write(fix, cap + 16, 1, 1);
	assert_int_equal(fix->virtio.status, 1);
	/* The MSI-X table. */
	cfg_write(fix, cap + 4, 1, 1);
	cfg_write(fix, cap + 8, 4, 8);
	cfg_write(fix, cap + 12, 4, 4);
	cfg_write(fix, cap + 16, 4, 0x1234);
	assert_int_equal(fix->vectors[0].data, 0x1234);
	/* Nowhere: other BARs, odd lengths, misaligned, behind the end. */
	const uint32_t wrong[][3] = {
	    {2,	0,	   4	    },
	       {255, 0,		4	 },
	    {0,	0,	   0	    },
	       {0,   0,	      3	       },
		  {0,   0,		 8	  },
	     {0,	 0,	    UINT32_MAX},
		 {0,   2,		4	 },
	    {0,	0x4000,	4	 },
	    {0,	0xfffffffc, 4	     },
		{1,   0x1000,	    1	     }
	      };
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cfg_write(fix, cap + 4, 1, wrong[i][0]);
		cfg_write(fix, cap + 8, 4, wrong[i][1]);
		cfg_write(fix, cap + 12, 4, wrong[i][2]);
		cfg_write(fix, cap + 16, 4, 0xdeadbeef);
		assert_int_equal(cfg_read(fix, cap + 16, 4), 0xdeadbeef);
	}
	assert_int_equal(fix->virtio.status, 1);
}

/* --- common configuration --- */

static void test_features_are_negotiated_by_registers(void **state)
{
	struct fixture *fix = *state;
	decode(fix);
	uint64_t offered = 0;
	for (unsigned word = 0; word < 2; word++) {
		common_write(fix, DEVICE_FEATURE_SELECT, 4, word);
		offered |= (uint64_t)common_read(fix, DEVICE_FEATURE, 4) << (32 * word);
	}
	assert_true(offered == fix->virtio.offered);
	for (uint64_t word = 2; word <= UINT32_MAX; word = word * 3 + 1) {
		common_write(fix, DEVICE_FEATURE_SELECT, 4, word);
		common_write(fix, DRIVER_FEATURE_SELECT, 4, word);
		common_write(fix, DRIVER_FEATURE, 4, UINT32_MAX);
		assert_int_equal(common_read(fix, DEVICE_FEATURE, 4), 0);
		assert_int_equal(common_read(fix, DRIVER_FEATURE, 4), 0);
	}
	begin(fix);
	common_write(fix, DRIVER_FEATURE_SELECT, 4, 1);
	assert_int_equal(common_read(fix, DRIVER_FEATURE, 4), 1);
	common_write(fix, DRIVER_FEATURE, 4, 0);
	assert_int_equal(common_read(fix, DRIVER_FEATURE, 4), 1);
}

static void test_queues_show_what_they_have(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	assert_int_equal(common_read(fix, NUM_QUEUES, 2), 2);
	common_write(fix, QUEUE_SELECT, 2, 1);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 64);
	assert_int_equal(common_read(fix, QUEUE_NOTIFY_OFF, 2), 1);
	assert_int_equal(common_read(fix, QUEUE_ENABLE, 2), 0);
	assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), NO_MSG);
	attach(fix, 1, &fix->rings[1]);
	assert_int_equal(common_read(fix, QUEUE_ENABLE, 2), 1);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 32);
	assert_true(mem_read(fix, BAR0 + QUEUE_DEVICE, 8) == fix->rings[1].used);
	/* Not there: size 0 says so, and writes go nowhere. */
	common_write(fix, QUEUE_SELECT, 2, 2);
	attach(fix, 2, &fix->rings[0]);
	for (unsigned at = QUEUE_SIZE; at < 0x38; at += 2)
		assert_int_equal(common_read(fix, at, 2), at == QUEUE_MSIX_VECTOR ? NO_MSG : 0);
	common_write(fix, QUEUE_SELECT, 2, 0xffff);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 0);
}

static void test_ring_addresses_take_halves_and_wholes(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	common_write(fix, QUEUE_DESC, 4, 0x11111111);
	common_write(fix, QUEUE_DESC + 4, 4, 0x22222222);
	assert_true(mem_read(fix, BAR0 + QUEUE_DESC, 8) == UINT64_C(0x2222222211111111));
	common_write(fix, QUEUE_DRIVER, 8, UINT64_C(0x4444444433333333));
	assert_int_equal(common_read(fix, QUEUE_DRIVER, 4), 0x33333333);
	assert_int_equal(common_read(fix, QUEUE_DRIVER + 4, 4), 0x44444444);
	/* Other widths are no way to write a field (4.1.3.1). */
	common_write(fix, QUEUE_DESC + 2, 4, 0);
	common_write(fix, QUEUE_DESC, 2, 0);
	common_write(fix, QUEUE_DESC, 1, 0);
	assert_true(mem_read(fix, BAR0 + QUEUE_DESC, 8) == UINT64_C(0x2222222211111111));
}

static void test_an_enabled_queue_refuses_configuration(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	attach(fix, 0, &fix->rings[0]);
	for (unsigned go = 0; go < 2; go++) {
		const struct pv_queue_state before = fix->virtio.queues[0].state;
		common_write(fix, QUEUE_SELECT, 2, 0);
		common_write(fix, QUEUE_SIZE, 2, 4);
		common_write(fix, QUEUE_DESC, 8, 0);
		common_write(fix, QUEUE_DRIVER, 4, 0);
		common_write(fix, QUEUE_DEVICE + 4, 4, 1);
		common_write(fix, QUEUE_ENABLE, 2, 0);
		assert_memory_equal(&before, &fix->virtio.queues[0].state, sizeof(before));
		common_write(fix, DEVICE_STATUS, 1, 15);
	}
	assert_true(fix->virtio.active);
	/* Once the device runs, the queue that was left out is closed too. */
	attach(fix, 1, &fix->rings[1]);
	assert_int_equal(common_read(fix, QUEUE_ENABLE, 2), 0);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 64);
}

static void test_vectors_that_do_not_exist_read_back_as_none(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	const uint16_t wrong[] = {VECTORS, VECTORS + 1, 0x7fff, 0xfffe, 0xffff};
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		common_write(fix, CONFIG_MSIX_VECTOR, 2, VECTORS - 1);
		assert_int_equal(common_read(fix, CONFIG_MSIX_VECTOR, 2), VECTORS - 1);
		common_write(fix, CONFIG_MSIX_VECTOR, 2, wrong[i]);
		assert_int_equal(common_read(fix, CONFIG_MSIX_VECTOR, 2), NO_MSG);
		common_write(fix, QUEUE_MSIX_VECTOR, 2, 1);
		assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), 1);
		common_write(fix, QUEUE_MSIX_VECTOR, 2, wrong[i]);
		assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), NO_MSG);
	}
}

static void test_a_bad_ring_shows_in_the_status(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	struct ring bad = fix->rings[0];
	bad.desc = 0x1000;
	attach(fix, 0, &bad);
	assert_int_equal(common_read(fix, DEVICE_STATUS, 1), 11 | VIRTIO_STATUS_NEEDS_RESET);
	common_write(fix, DEVICE_STATUS, 1, 15);
	assert_int_equal(common_read(fix, DEVICE_STATUS, 1), 11 | VIRTIO_STATUS_NEEDS_RESET);
	bring_up(fix);
}

static void test_device_configuration_is_read_and_written(void **state)
{
	struct fixture *fix = *state;
	decode(fix);
	memcpy(fix->config, "abcdefgh", 8);
	assert_true(mem_read(fix, BAR0 + 0x2000, 8) == pv_le64("abcdefgh"));
	assert_int_equal(mem_read(fix, BAR0 + 0x2007, 2), 'h');
	assert_int_equal(mem_read(fix, BAR0 + 0x2ffc, 4), 0);
	mem_write(fix, BAR0 + 0x2001, 1, 'X');
	assert_int_equal(fix->config[1], 'X');
	const uint8_t generation = common_read(fix, CONFIG_GENERATION, 1);
	pv_virtio_config_changed(&fix->virtio);
	assert_int_not_equal(common_read(fix, CONFIG_GENERATION, 1), generation);
}

/* Every offset, every width, both directions, idle and running: nothing falls over. */
static void test_all_registers_survive_all_accesses(void **state)
{
	struct fixture *fix = *state;
	const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_C(0x0f0b0301ff7f8000)};
	decode(fix);
	for (unsigned run = 0; run < 2; run++) {
		for (unsigned len = 1; len <= 8; len++) {
			for (unsigned at = 0; at + len <= PV_VIRTIO_PCI_BAR0_SIZE; at++) {
				const unsigned within = at % 0x1000;
				if (within > 0x80 && within < 0xff0)
					continue;
				for (unsigned i = 0; i < 4; i++) {
					uint64_t value;
					if (run && i == 0 && at < 0x40)
						bring_up_msix(fix);
					mem_write(fix, BAR0 + at, len, values[i]);
					mem_read(fix, BAR0 + at, len);
					value = mem_read(fix, BAR0 + at, len);
					assert_true(len == 8 || value >> (8 * len) == 0);
				}
			}
			for (unsigned at = 0; at + len <= PV_VIRTIO_PCI_BAR1_SIZE; at++) {
				mem_write(fix, BAR1 + at, len, values[at % 4]);
				mem_read(fix, BAR1 + at, len);
			}
		}
		for (unsigned len = 1; len <= 4; len *= 2)
			for (unsigned at = 0; at <= 256; at++)
				for (unsigned i = 0; i < 4; i++) {
					cfg_write(fix, at, len, values[i]);
					cfg_read(fix, at, len);
					decode(fix);
					cfg_write(fix, 0x10, 4, BAR0);
					cfg_write(fix, 0x14, 4, BAR1);
				}
		pv_virtio_pci_reset(fix->pci);
		bring_up_msix(fix);
	}
}

/* --- interrupts --- */

static void test_the_wire_follows_the_isr_register(void **state)
{
	struct fixture *fix = *state;
	bring_up(fix);
	use_chain(fix, 0);
	use_chain(fix, 1);
	assert_true(fix->line);
	assert_int_equal(fix->line_changes, 1);
	assert_true(cfg_read(fix, 0x06, 2) & 0x08);
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 1);
	assert_false(fix->line);
	assert_false(cfg_read(fix, 0x06, 2) & 0x08);
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 0);
	pv_virtio_config_changed(&fix->virtio);
	assert_true(fix->line);
	use_chain(fix, 0);
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 3);
	assert_false(fix->line);
	/* Beside the register there is nothing to read or clear. */
	use_chain(fix, 0);
	assert_int_equal(mem_read(fix, BAR0 + 0x1001, 4), 0);
	assert_int_equal(mem_read(fix, BAR0 + 0x0fff, 4), 0);
	assert_true(fix->line);
}

static void test_the_wire_can_be_disabled(void **state)
{
	struct fixture *fix = *state;
	bring_up(fix);
	cfg_write(fix, 0x04, 2, MEMORY | INTX_OFF);
	use_chain(fix, 0);
	assert_false(fix->line);
	assert_true(cfg_read(fix, 0x06, 2) & 0x08);
	cfg_write(fix, 0x04, 2, MEMORY);
	assert_true(fix->line);
	cfg_write(fix, 0x04, 2, MEMORY | INTX_OFF);
	assert_false(fix->line);
	cfg_write(fix, 0x04, 2, MEMORY);
	common_write(fix, DEVICE_STATUS, 1, 0);
	assert_false(fix->line);
}

static void test_msix_sends_each_source_to_its_vector(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	assert_true(fix->vectors[2].address == 0xfee02000u);
	assert_int_equal(fix->vectors[2].data, 0x42);
	use_chain(fix, 1);
	assert_int_equal(fix->vectors[2].fired, 1);
	use_chain(fix, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
	pv_virtio_config_changed(&fix->virtio);
	assert_int_equal(fix->vectors[0].fired, 1);
	assert_int_equal(fix->line_changes, 0);
	/* Only the configuration shows in the ISR register (4.1.4.5.1). */
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 2);
}

static void test_queues_may_share_a_vector_or_have_none(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	common_write(fix, QUEUE_SELECT, 2, 1);
	common_write(fix, QUEUE_MSIX_VECTOR, 2, 1);
	use_chain(fix, 0);
	use_chain(fix, 1);
	assert_int_equal(fix->vectors[1].fired, 2);
	common_write(fix, QUEUE_MSIX_VECTOR, 2, NO_MSG);
	use_chain(fix, 1);
	assert_int_equal(fix->vectors[1].fired, 2);
	assert_int_equal(fix->vectors[2].fired, 0);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 0);
}

static void test_a_masked_vector_waits(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	mem_write(fix, BAR1 + 16 + 12, 4, 1);
	assert_true(fix->vectors[1].masked);
	use_chain(fix, 0);
	use_chain(fix, 0);
	assert_int_equal(fix->vectors[1].fired, 0);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 2);
	/* The message may change meanwhile; pending bits are not for writing. */
	mem_write(fix, BAR1 + 16 + 8, 4, 0x99);
	mem_write(fix, BAR1 + 0x800, 8, 0);
	mem_write(fix, BAR1 + 16 + 12, 4, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
	assert_int_equal(fix->vectors[1].data, 0x99);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 0);
}

static void test_the_function_mask_holds_all_vectors(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	msix_control(fix, MSIX_ON | MASK_ALL);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_true(fix->vectors[i].masked);
	use_chain(fix, 0);
	use_chain(fix, 1);
	mem_write(fix, BAR1 + 16 + 12, 4, 1);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 6);
	msix_control(fix, MSIX_ON);
	assert_int_equal(fix->vectors[1].fired, 0); /* still masked by itself */
	assert_int_equal(fix->vectors[2].fired, 1);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 2);
	mem_write(fix, BAR1 + 16 + 12, 4, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
}

/* msi_update itself refuses calls without a change. */
static void test_updates_come_only_with_changes(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	const unsigned before = fix->vectors[0].updates;
	for (unsigned i = 0; i < VECTORS; i++)
		set_message(fix, i, 0);
	msix_control(fix, MSIX_ON);
	assert_int_equal(fix->vectors[0].updates, before);
	/* 64-bit writes set two words at once. */
	mem_write(fix, BAR1, 8, UINT64_C(0x12fee00003));
	assert_true(fix->vectors[0].address == UINT64_C(0x12fee00000));
	assert_int_equal(fix->vectors[0].updates, before + 1);
	mem_write(fix, BAR1 + 8, 8, UINT64_C(0x100000077));
	assert_int_equal(fix->vectors[0].data, 0x77);
	assert_true(fix->vectors[0].masked);
	assert_int_equal(fix->vectors[0].updates, before + 2);
	assert_true(mem_read(fix, BAR1 + 8, 8) == UINT64_C(0x100000077));
}

static void test_without_msix_the_vectors_are_masked(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	msix_control(fix, 0);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_true(fix->vectors[i].masked);
	use_chain(fix, 0);
	assert_true(fix->line);
	assert_int_equal(fix->vectors[1].fired, 0);
	msix_control(fix, MSIX_ON);
	assert_false(fix->line);
	assert_int_equal(fix->vectors[1].fired, 0);
}

static void test_a_device_reset_forgets_vectors_and_pending(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	msix_control(fix, MSIX_ON | MASK_ALL);
	use_chain(fix, 0);
	common_write(fix, DEVICE_STATUS, 1, 0);
	assert_int_equal(common_read(fix, DEVICE_STATUS, 1), 0);
	assert_int_equal(common_read(fix, CONFIG_MSIX_VECTOR, 2), NO_MSG);
	assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), NO_MSG);
	msix_control(fix, MSIX_ON);
	assert_int_equal(fix->vectors[1].fired, 0);
	/* The table is PCI's, not virtio's. */
	assert_int_equal(mem_read(fix, BAR1 + 16 + 8, 4), 0x41);
}

/* --- doorbells --- */

static void expect_doorbells(struct fixture *fix, uint64_t bar)
{
	for (unsigned i = 0; i < 2; i++)
		assert_true(fix->doorbells[i] == (bar ? bar + NOTIFY + 4 * i : 0));
}

static void test_doorbells_follow_the_bar(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	attach(fix, 0, &fix->rings[0]);
	attach(fix, 1, &fix->rings[1]);
	expect_doorbells(fix, 0);
	common_write(fix, DEVICE_STATUS, 1, 15);
	expect_doorbells(fix, BAR0);
	cfg_write(fix, 0x10, 4, 0xd0000000);
	expect_doorbells(fix, 0xd0000000);
	cfg_write(fix, 0x14, 4, 0xd0010000);
	assert_int_equal(fix->maps, 4);
	cfg_write(fix, 0x04, 2, 0);
	expect_doorbells(fix, 0);
	cfg_write(fix, 0x10, 4, BAR0);
	expect_doorbells(fix, 0);
	cfg_write(fix, 0x04, 2, MEMORY);
	expect_doorbells(fix, BAR0);
	common_write(fix, DEVICE_STATUS, 1, 0);
	expect_doorbells(fix, 0);
	assert_int_equal(fix->maps, fix->unmaps);
}

static void test_only_ready_queues_get_doorbells(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	attach(fix, 1, &fix->rings[1]);
	common_write(fix, DEVICE_STATUS, 1, 15);
	assert_true(fix->doorbells[0] == 0);
	assert_true(fix->doorbells[1] == BAR0 + NOTIFY + 4);
}

static void test_writes_to_the_notify_page_kick(void **state)
{
	struct fixture *fix = *state;
	fix->map_result = -28;
	bring_up(fix);
	expect_doorbells(fix, 0);
	mem_write(fix, BAR0 + NOTIFY, 2, 0);
	mem_write(fix, BAR0 + NOTIFY + 4, 2, 1);
	mem_write(fix, BAR0 + NOTIFY + 4, 4, 1);
	assert_int_equal(fix->kicks[0], 1);
	assert_int_equal(fix->kicks[1], 2);
	mem_write(fix, BAR0 + NOTIFY + 8, 2, 2); /* no such queue */
	mem_write(fix, BAR0 + NOTIFY + 0xffc, 4, 1023);
	pv_virtio_pci_kick(fix->pci, 0);
	pv_virtio_pci_kick(fix->pci, 77);
	assert_int_equal(fix->kicks[0], 2);
	common_write(fix, DEVICE_STATUS, 1, 0);
	mem_write(fix, BAR0 + NOTIFY, 2, 0);
	pv_virtio_pci_kick(fix->pci, 0);
	assert_int_equal(fix->kicks[0], 2);
}

static void test_a_machine_reset_goes_back_to_the_beginning(void **state)
{
	struct fixture *fix = *state;
	uint8_t before[256], after[256];
	for (unsigned i = 0; i < 256; i++)
		before[i] = cfg_read(fix, i, 1);
	bring_up_msix(fix);
	cfg_write(fix, 0x10, 4, 0xd0000000);
	cfg_write(fix, 0x3c, 1, 5);
	msix_control(fix, MSIX_ON | MASK_ALL);
	use_chain(fix, 0);
	pv_virtio_config_changed(&fix->virtio);
	pv_virtio_pci_reset(fix->pci);
	for (unsigned i = 0; i < 256; i++)
		after[i] = cfg_read(fix, i, 1);
	assert_memory_equal(before, after, 256);
	assert_int_equal(fix->mmio.count, 0);
	expect_doorbells(fix, 0);
	assert_int_equal(fix->virtio.status, 0);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_true(fix->vectors[i].masked && fix->vectors[i].data == 0);
	bring_up_msix(fix);
	assert_int_equal(fix->vectors[1].fired, 0);
	use_chain(fix, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_identity),
	    TEST(test_every_capability_is_there_and_lies_in_its_bar),
	    TEST(test_class_codes),
	    TEST(test_bars_are_sized_and_moved),
	    TEST(test_a_bar_on_top_of_another_device_is_not_decoded),
	    TEST(test_read_only_registers_stay),
	    TEST(test_the_window_reaches_the_bars_without_decoding),
	    TEST(test_features_are_negotiated_by_registers),
	    TEST(test_queues_show_what_they_have),
	    TEST(test_ring_addresses_take_halves_and_wholes),
	    TEST(test_an_enabled_queue_refuses_configuration),
	    TEST(test_vectors_that_do_not_exist_read_back_as_none),
	    TEST(test_a_bad_ring_shows_in_the_status),
	    TEST(test_device_configuration_is_read_and_written),
	    TEST(test_all_registers_survive_all_accesses),
	    TEST(test_the_wire_follows_the_isr_register),
	    TEST(test_the_wire_can_be_disabled),
	    TEST(test_msix_sends_each_source_to_its_vector),
	    TEST(test_queues_may_share_a_vector_or_have_none),
	    TEST(test_a_masked_vector_waits),
	    TEST(test_the_function_mask_holds_all_vectors),
	    TEST(test_updates_come_only_with_changes),
	    TEST(test_without_msix_the_vectors_are_masked),
	    TEST(test_a_device_reset_forgets_vectors_and_pending),
	    TEST(test_doorbells_follow_the_bar),
	    TEST(test_only_ready_queues_get_doorbells),
	    TEST(test_writes_to_the_notify_page_kick),
	    TEST(test_a_machine_reset_goes_back_to_the_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
