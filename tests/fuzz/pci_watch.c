/* See pci_watch.h. */
#include "tests/fuzz/pci_watch.h"

#include <errno.h>

#include "tests/fuzz/require.h"

static void set_line(void *ctx, bool level)
{
	struct pci_watch *watch = ctx;
	REQUIRE(watch->line != level);
	watch->line = level;
}

static void msi_update(void *ctx, unsigned vector, uint64_t address, uint32_t data, bool masked)
{
	struct pci_watch *watch = ctx;
	REQUIRE(vector <= watch->dev->queue_count);
	watch->unmasked[vector] = !masked;
}

static void msi_fire(void *ctx, unsigned vector)
{
	const struct pci_watch *watch = ctx;
	REQUIRE(vector <= watch->dev->queue_count && watch->unmasked[vector]);
	REQUIRE(!watch->line);
}

static int doorbell_map(void *ctx, unsigned queue, uint64_t gpa)
{
	struct pci_watch *watch = ctx;
	REQUIRE(queue < watch->dev->queue_count);
	REQUIRE(gpa && !watch->doorbells[queue]);
	if (watch->refuses && (gpa >> 16) % 8 == 7)
		return -ENOSPC;
	watch->doorbells[queue] = gpa;
	return 0;
}

static void doorbell_unmap(void *ctx, unsigned queue, uint64_t gpa)
{
	struct pci_watch *watch = ctx;
	REQUIRE(watch->doorbells[queue] == gpa);
	watch->doorbells[queue] = 0;
}

static const struct pv_irq_msi_ops msi_ops = {.update = msi_update, .fire = msi_fire};
static const struct pv_irq_doorbell_ops doorbell_ops = {
    .map = doorbell_map, .unmap = doorbell_unmap};

struct pv_virtio_pci_wiring pci_watch_wiring(struct pci_watch *watch, struct pv_bus *mmio)
{
	return (struct pv_virtio_pci_wiring){
	    .mmio = mmio,
	    .intx = {.set = set_line, .ctx = watch},
	    .interrupt_pin = 1,
	    .msi = &msi_ops,
	    .doorbells = &doorbell_ops,
	    .ctx = watch,
	};
}

void pci_watch_expect_nothing(const struct pci_watch *watch)
{
	REQUIRE(!watch->line);
	for (unsigned i = 0; i < PV_VIRTIO_QUEUES_MAX; i++)
		REQUIRE(!watch->doorbells[i]);
	for (unsigned i = 0; i < PV_VIRTIO_PCI_VECTORS_MAX; i++)
		REQUIRE(!watch->unmasked[i]);
}
