/*
 * MSI-X of a virtio PCI function: the table of messages and the pending bits, both in BAR 1.
 *
 * A vector is masked while MSI-X is off, while the function's mask is set, or while its own mask
 * bit is. The owner of the interrupts hears of a vector only when its message or that sum of masks
 * has changed, because what it does about it (a new routing table in the kernel) is slow. An
 * interrupt of a masked vector waits in the pending bits and is sent when the mask goes.
 *
 * PCI Local Bus 3.0, section 6.8.2.
 */
#include <string.h>

#include "virtio/pci_function.h"

#define ENTRY_SIZE     16u
#define CONTROL_MASKED 1u

unsigned pv_pci_msix_count(const struct pv_virtio_pci *pci)
{
	return pci->dev->vectors ? pci->dev->vectors : pci->dev->queue_count + 1;
}

static bool is_masked(const struct pv_virtio_pci *pci, unsigned vector)
{
	return !pv_pci_config_msix_enabled(pci) || pv_pci_config_msix_masked(pci) ||
	       (pci->state.table[vector].control & CONTROL_MASKED);
}

void pv_pci_msix_sync(struct pv_virtio_pci *pci)
{
	const struct pv_irq_msi_ops *ops = pci->wiring.msi;
	for (unsigned i = 0; i < pv_pci_msix_count(pci); i++) {
		const struct pv_pci_msix_entry *entry = &pci->state.table[i];
		struct pv_pci_msix_told *told = &pci->told[i];
		const bool masked = is_masked(pci, i);
		if (told->masked != masked || told->address != entry->address ||
		    told->data != entry->data) {
			*told = (struct pv_pci_msix_told){entry->address, entry->data, masked};
			if (ops)
				ops->update(
				    pci->wiring.ctx, i, entry->address, entry->data, masked);
		}
		if (!masked && (pci->state.pending & UINT64_C(1) << i))
			pv_pci_msix_fire(pci, i);
	}
}

void pv_pci_msix_reset(struct pv_virtio_pci *pci)
{
	for (unsigned i = 0; i < PV_VIRTIO_PCI_VECTORS_MAX; i++)
		pci->state.table[i] = (struct pv_pci_msix_entry){.control = CONTROL_MASKED};
	pci->state.pending = 0;
	pv_pci_msix_sync(pci);
}

void pv_pci_msix_fire(struct pv_virtio_pci *pci, unsigned vector)
{
	if (vector >= pv_pci_msix_count(pci))
		return;
	const uint64_t bit = UINT64_C(1) << vector;
	if (is_masked(pci, vector)) {
		pci->state.pending |= bit;
		return;
	}
	pci->state.pending &= ~bit;
	if (pci->wiring.msi)
		pci->wiring.msi->fire(pci->wiring.ctx, vector);
}

/* The double word at `offset` of an entry. */
static uint32_t entry_get(const struct pv_pci_msix_entry *entry, unsigned offset)
{
	switch (offset) {
	case 0: return entry->address;
	case 4: return entry->address >> 32;
	case 8: return entry->data;
	default: return entry->control;
	}
}

static void entry_set(struct pv_pci_msix_entry *entry, unsigned offset, uint32_t value)
{
	switch (offset) {
	case 0: entry->address = (entry->address & ~(uint64_t)UINT32_MAX) | (value & ~3u); break;
	case 4: entry->address = (entry->address & UINT32_MAX) | (uint64_t)value << 32; break;
	case 8: entry->data = value; break;
	default: entry->control = value & CONTROL_MASKED; break;
	}
}

/* The byte at `offset` of BAR 1. */
static uint8_t byte_at(const struct pv_virtio_pci *pci, uint64_t offset)
{
	if (offset < pv_pci_msix_count(pci) * ENTRY_SIZE) {
		const struct pv_pci_msix_entry *entry = &pci->state.table[offset / ENTRY_SIZE];
		return entry_get(entry, offset % ENTRY_SIZE & ~3u) >> (8 * (offset % 4));
	}
	const uint64_t within = offset - PV_PCI_MSIX_PENDING_OFFSET;
	if (offset >= PV_PCI_MSIX_PENDING_OFFSET && within < sizeof(pci->state.pending))
		return pci->state.pending >> (8 * within);
	return 0;
}

void pv_pci_msix_read(struct pv_virtio_pci *pci, uint64_t offset, void *data, unsigned len)
{
	uint8_t *out = data;
	for (unsigned i = 0; i < len; i++)
		out[i] = byte_at(pci, offset + i);
}

/* Software writes aligned double or quad words (6.8.2); others, and pending bits, are ignored. */
void pv_pci_msix_write(struct pv_virtio_pci *pci, uint64_t offset, const void *data, unsigned len)
{
	if ((len != 4 && len != 8) || offset % len ||
	    offset + len > pv_pci_msix_count(pci) * ENTRY_SIZE)
		return;
	for (unsigned done = 0; done < len; done += 4) {
		const uint64_t at = offset + done;
		uint32_t value;
		memcpy(&value, (const uint8_t *)data + done, sizeof(value));
		entry_set(&pci->state.table[at / ENTRY_SIZE], at % ENTRY_SIZE, value);
	}
	pv_pci_msix_sync(pci);
}
