/* See pci_guest.h. */
#include "tests/unit/pci_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
	assert_false(fix->line);
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

static void doorbell_ring(void *ctx, unsigned queue)
{
	struct fixture *fix = ctx;
	fix->rings_by_host[queue]++;
}

static const struct pv_irq_msi_ops msi_ops = {.update = msi_update, .fire = msi_fire};
static const struct pv_irq_doorbell_ops doorbell_ops = {
    .map = doorbell_map,
    .unmap = doorbell_unmap,
    .ring = doorbell_ring,
};

static int set_up_with(void **state, uint16_t vectors)
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
	    .vectors = vectors,
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

int set_up(void **state)
{
	return set_up_with(state, 0);
}

int set_up_sharing(void **state)
{
	return set_up_with(state, 2);
}

/* Whatever a test left behind, nothing of the function may stay on the machine. */
int tear_down(void **state)
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

uint32_t cfg_read(struct fixture *fix, unsigned offset, unsigned len)
{
	uint32_t value = 0;
	pv_virtio_pci_config_ops.read(fix->pci, offset, &value, len);
	return value;
}

void cfg_write(struct fixture *fix, unsigned offset, unsigned len, uint32_t value)
{
	pv_virtio_pci_config_ops.write(fix->pci, offset, &value, len);
}

uint64_t mem_read(struct fixture *fix, uint64_t address, unsigned len)
{
	uint64_t value = 0;
	assert_true(pv_bus_read(&fix->mmio, address, &value, len));
	return value;
}

void mem_write(struct fixture *fix, uint64_t address, unsigned len, uint64_t value)
{
	assert_true(pv_bus_write(&fix->mmio, address, &value, len));
}

uint32_t common_read(struct fixture *fix, unsigned offset, unsigned len)
{
	return mem_read(fix, BAR0 + offset, len);
}

void common_write(struct fixture *fix, unsigned offset, unsigned len, uint64_t value)
{
	mem_write(fix, BAR0 + offset, len, value);
}

void decode(struct fixture *fix)
{
	cfg_write(fix, 0x04, 2, MEMORY);
}

unsigned find_cap(struct fixture *fix, uint8_t id, uint8_t type)
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

void begin(struct fixture *fix)
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

void attach(struct fixture *fix, unsigned queue, const struct ring *ring)
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

void bring_up(struct fixture *fix)
{
	begin(fix);
	attach(fix, 0, &fix->rings[0]);
	attach(fix, 1, &fix->rings[1]);
	common_write(fix, DEVICE_STATUS, 1, 15);
	assert_true(fix->virtio.active);
}

void use_chain(struct fixture *fix, unsigned queue)
{
	struct pv_chain chain;
	struct ring *ring = &fix->rings[queue];
	ring_desc(ring, 0, DATA_GPA, 8, 0, 0);
	ring_offer(ring, 0);
	assert_true(pv_virtio_pop(&fix->virtio, queue, &chain));
	pv_queue_push(&fix->virtio.queues[queue], chain.head, 0);
	pv_virtio_notify(&fix->virtio, queue);
}

void msix_control(struct fixture *fix, uint16_t value)
{
	cfg_write(fix, find_cap(fix, 0x11, 0) + 2, 2, value);
}

void set_message(struct fixture *fix, unsigned vector, uint32_t control)
{
	const uint64_t entry = BAR1 + 16 * vector;
	mem_write(fix, entry, 4, 0xfee00000u + 0x1000 * vector);
	mem_write(fix, entry + 4, 4, 0);
	mem_write(fix, entry + 8, 4, 0x40 + vector);
	mem_write(fix, entry + 12, 4, control);
}

void bring_up_msix(struct fixture *fix)
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
