/*
 * virtio over PCI: creation and reset of the function, its BARs and doorbells on the machine's
 * buses, and the way of an interrupt.
 *
 * The guest reaches the function by configuration space (pci_config.c) and by two BARs that appear
 * on the MMIO bus while memory decoding is on. What is mapped is derived: after anything that may
 * change it, pv_virtio_pci_sync_mappings compares what should be on the bus with what is. A BAR
 * that the guest puts where another device sits, or at 0, is not decoded. Doorbells are mapped for
 * the ready queues of a device that has seen DRIVER_OK; a write to the notification page that
 * arrives on the bus in spite of that kicks as well.
 *
 * Interrupts: by MSI-X when the guest enabled it, else by the wire, which follows the ISR register.
 * Everything runs under the loop lock. virtio 1.2, section 4.1.
 */
#include "virtio/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/pci_function.h"

static const uint64_t bar_size[PV_PCI_BARS] = {PV_VIRTIO_PCI_BAR0_SIZE, PV_VIRTIO_PCI_BAR1_SIZE};

/* --- accesses to the BARs --- */

/* Reading the ISR register clears it and lowers the wire (4.1.4.5). */
static void isr_read(struct pv_virtio_pci *pci, uint64_t offset, void *data, unsigned len)
{
	memset(data, 0, len);
	if (offset != 0)
		return;
	memcpy(data, &pci->state.isr, 1);
	pci->state.isr = 0;
	pv_virtio_pci_sync_line(pci);
}

static void structures_read(struct pv_virtio_pci *pci, uint64_t offset, void *data, unsigned len)
{
	struct pv_virtio *dev = pci->dev;
	const uint64_t within = offset % PV_PCI_PAGE;
	memset(data, 0, len);
	switch (offset - within) {
	case PV_PCI_COMMON_OFFSET: pv_pci_common_read(pci, within, data, len); break;
	case PV_PCI_ISR_OFFSET: isr_read(pci, within, data, len); break;
	case PV_PCI_DEVICE_OFFSET:
		if (dev->ops->config_read)
			dev->ops->config_read(dev, within, data, len);
		break;
	default: break; /* the notification page reads as 0 */
	}
}

static void structures_write(
    struct pv_virtio_pci *pci, uint64_t offset, const void *data, unsigned len)
{
	struct pv_virtio *dev = pci->dev;
	const uint64_t within = offset % PV_PCI_PAGE;
	switch (offset - within) {
	case PV_PCI_COMMON_OFFSET: pv_pci_common_write(pci, within, data, len); break;
	case PV_PCI_DEVICE_OFFSET:
		if (dev->ops->config_write)
			dev->ops->config_write(dev, within, data, len);
		break;
	case PV_VIRTIO_PCI_NOTIFY_OFFSET: pv_virtio_kick(dev, within / PV_PCI_NOTIFY_STEP); break;
	default: break;
	}
}

void pv_virtio_pci_bar_read(
    struct pv_virtio_pci *pci, unsigned bar, uint64_t offset, void *data, unsigned len)
{
	if (bar == 0)
		structures_read(pci, offset, data, len);
	else
		pv_pci_msix_read(pci, offset, data, len);
}

void pv_virtio_pci_bar_write(
    struct pv_virtio_pci *pci, unsigned bar, uint64_t offset, const void *data, unsigned len)
{
	if (bar == 0)
		structures_write(pci, offset, data, len);
	else
		pv_pci_msix_write(pci, offset, data, len);
}

static void bar0_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	structures_read(ctx, offset, data, len);
}

static void bar0_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	structures_write(ctx, offset, data, len);
}

static void bar1_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	pv_pci_msix_read(ctx, offset, data, len);
}

static void bar1_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	pv_pci_msix_write(ctx, offset, data, len);
}

static const struct pv_bus_ops bar_ops[PV_PCI_BARS] = {
    {.read = bar0_read, .write = bar0_write},
    {.read = bar1_read, .write = bar1_write},
};

/* --- what is mapped --- */

/* Where `queue` should ring, or 0. */
static uint64_t doorbell_wanted(const struct pv_virtio_pci *pci, unsigned queue)
{
	const struct pv_virtio *dev = pci->dev;
	if (!pci->bar_mapped[0] || !(dev->status & VIRTIO_STATUS_DRIVER_OK) ||
	    !dev->queues[queue].state.ready)
		return 0;
	return pci->bar_base[0] + PV_VIRTIO_PCI_NOTIFY_OFFSET + PV_PCI_NOTIFY_STEP * queue;
}

void pv_virtio_pci_sync_doorbells(struct pv_virtio_pci *pci)
{
	const struct pv_irq_doorbell_ops *ops = pci->wiring.doorbells;
	for (unsigned i = 0; ops && i < pci->dev->queue_count; i++) {
		const uint64_t wanted = doorbell_wanted(pci, i);
		if (wanted == pci->doorbell[i])
			continue;
		if (pci->doorbell[i])
			ops->unmap(pci->wiring.ctx, i, pci->doorbell[i]);
		pci->doorbell[i] = 0;
		if (wanted && ops->map(pci->wiring.ctx, i, wanted) == 0)
			pci->doorbell[i] = wanted;
	}
}

void pv_virtio_pci_unmap_bar(struct pv_virtio_pci *pci, unsigned bar)
{
	if (!pci->bar_mapped[bar])
		return;
	pv_bus_remove(pci->wiring.mmio, pci->bar_base[bar]);
	pci->bar_mapped[bar] = false;
}

bool pv_virtio_pci_map_bar(struct pv_virtio_pci *pci, unsigned bar)
{
	pci->bar_base[bar] = pv_pci_config_bar(pci, bar);
	pci->bar_mapped[bar] = pv_bus_add(pci->wiring.mmio, pci->bar_base[bar], bar_size[bar],
				   &bar_ops[bar], pci) == 0;
	return pci->bar_mapped[bar];
}

void pv_virtio_pci_sync_mappings(struct pv_virtio_pci *pci)
{
	const bool decoding = pv_pci_config_command(pci) & PCI_COMMAND_MEMORY;
	for (unsigned i = 0; i < PV_PCI_BARS; i++) {
		const uint64_t base = decoding ? pv_pci_config_bar(pci, i) : 0;
		if (pci->bar_mapped[i] && base == pci->bar_base[i])
			continue;
		pv_virtio_pci_unmap_bar(pci, i);
		if (base)
			pv_virtio_pci_map_bar(pci, i);
	}
	pv_virtio_pci_sync_doorbells(pci);
}

/* --- interrupts --- */

void pv_virtio_pci_sync_line(struct pv_virtio_pci *pci)
{
	const bool level = pci->state.isr && !pv_pci_config_msix_enabled(pci) &&
			   !(pv_pci_config_command(pci) & PCI_COMMAND_INTX_DISABLE);
	if (level == pci->line)
		return;
	pci->line = level;
	if (pci->wiring.intx.set)
		pci->wiring.intx.set(pci->wiring.intx.ctx, level);
}

static void queue_interrupt(struct pv_virtio *dev, unsigned queue)
{
	struct pv_virtio_pci *pci = dev->transport_ctx;
	if (pv_pci_config_msix_enabled(pci)) {
		pv_pci_msix_fire(pci, pci->state.queue_vector[queue]);
		return;
	}
	pci->state.isr |= PV_PCI_ISR_QUEUE;
	pv_virtio_pci_sync_line(pci);
}

/* The ISR bit is set with MSI-X too (4.1.4.5.1), which the bit for queues is not. */
static void config_interrupt(struct pv_virtio *dev)
{
	struct pv_virtio_pci *pci = dev->transport_ctx;
	pci->state.isr |= PV_PCI_ISR_CONFIG;
	if (pv_pci_config_msix_enabled(pci))
		pv_pci_msix_fire(pci, pci->state.config_vector);
	else
		pv_virtio_pci_sync_line(pci);
}

static void kick_later(struct pv_virtio *dev, unsigned queue)
{
	const struct pv_virtio_pci *pci = dev->transport_ctx;
	if (pci->wiring.doorbells && pci->wiring.doorbells->ring)
		pci->wiring.doorbells->ring(pci->wiring.ctx, queue);
}

static const struct pv_virtio_transport transport = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .kick_later = kick_later,
};

/* --- life --- */

/* The transport's part of a device reset; masks and messages of MSI-X belong to PCI and stay. */
static void forget_driver(struct pv_virtio_pci *pci)
{
	struct pv_virtio_pci_state *state = &pci->state;
	state->device_feature_select = 0;
	state->driver_feature_select = 0;
	state->queue_select = 0;
	state->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (unsigned i = 0; i < PV_VIRTIO_QUEUES_MAX; i++)
		state->queue_vector[i] = VIRTIO_MSI_NO_VECTOR;
	state->isr = 0;
	state->pending = 0;
}

void pv_virtio_pci_set_status(struct pv_virtio_pci *pci, uint8_t status)
{
	pv_virtio_set_status(pci->dev, status);
	if (status == 0)
		forget_driver(pci);
	pv_virtio_pci_sync_line(pci);
	pv_virtio_pci_sync_mappings(pci);
}

int pv_virtio_pci_create(struct pv_virtio_pci **out, struct pv_virtio *dev,
    const struct pv_virtio_pci_wiring *wiring, uint32_t bar0, uint32_t bar1)
{
	struct pv_virtio_pci *pci = calloc(1, sizeof(*pci));
	if (!pci)
		return -ENOMEM;
	pci->dev = dev;
	pci->wiring = *wiring;
	pci->first_bar[0] = bar0 & ~(PV_VIRTIO_PCI_BAR0_SIZE - 1);
	pci->first_bar[1] = bar1 & ~(PV_VIRTIO_PCI_BAR1_SIZE - 1);
	for (unsigned i = 0; i < PV_VIRTIO_PCI_VECTORS_MAX; i++)
		pci->told[i].masked = true;
	dev->transport = &transport;
	dev->transport_ctx = pci;
	forget_driver(pci);
	pv_pci_config_reset(pci);
	pv_pci_msix_reset(pci);
	*out = pci;
	return 0;
}

void pv_virtio_pci_reset(struct pv_virtio_pci *pci)
{
	pv_pci_config_reset(pci);
	pv_virtio_pci_set_status(pci, 0);
	pv_pci_msix_reset(pci);
}

void pv_virtio_pci_destroy(struct pv_virtio_pci *pci)
{
	if (!pci)
		return;
	/* A reset leaves nothing on the bus, no doorbell mapped, and the line low. */
	pv_virtio_pci_reset(pci);
	pci->dev->transport = NULL;
	pci->dev->transport_ctx = NULL;
	free(pci);
}

void pv_virtio_pci_kick(struct pv_virtio_pci *pci, unsigned queue)
{
	pv_virtio_kick(pci->dev, queue);
}
