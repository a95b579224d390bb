/*
 * virtio over PCI, modern only (virtio 1.2, section 4.1): a type 0 function with one memory BAR that holds the common, ISR, device and
 * notification structures, and one that holds the MSI-X table. The owner puts the configuration space on its PCI bus and the BARs on its MMIO
 * bus. Everything runs under the loop lock.
 */
#ifndef PV_VIRTIO_PCI_H
#define PV_VIRTIO_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/irq.h"
#include "virtio/device.h"

/* Sizes and layout of the BARs; BAR 0 is 32-bit memory (structures), BAR 1 is 32-bit memory (MSI-X table and pending bits). */
#define PV_VIRTIO_PCI_BAR0_SIZE 0x4000u
#define PV_VIRTIO_PCI_BAR1_SIZE 0x1000u
#define PV_VIRTIO_PCI_NOTIFY_OFFSET 0x3000u /* in BAR 0; queue n rings at NOTIFY_OFFSET + 4 n */
#define PV_VIRTIO_PCI_VECTORS_MAX (PV_VIRTIO_QUEUES_MAX + 1)

struct pv_virtio_pci;

struct pv_virtio_pci_wiring {
	struct pv_bus *mmio;		    /* where the BARs appear when memory decoding is on */
	struct pv_irq_line intx;	    /* used while MSI-X is off */
	uint8_t interrupt_pin;		    /* 1 = INTA# */
	uint8_t interrupt_line;		    /* initial value of the register, the GSI for the curious */
	const struct pv_irq_msi_ops *msi;   /* vectors of this function */
	const struct pv_irq_doorbell_ops *doorbells;
	void *ctx; /* for msi and doorbells */
};

/*
 * Creates the transport of `dev` (not owned, must outlive it). `bar0` and `bar1` are the addresses assigned at start, so that a guest without
 * PCI allocation works; the guest may move them. Returns 0 or -ENOMEM.
 */
int pv_virtio_pci_create(struct pv_virtio_pci **out, struct pv_virtio *dev, const struct pv_virtio_pci_wiring *wiring,
    uint32_t bar0, uint32_t bar1);
void pv_virtio_pci_destroy(struct pv_virtio_pci *pci);

/* Configuration space access for the PCI host bridge; offset below 256, len 1, 2 or 4. */
extern const struct pv_bus_ops pv_virtio_pci_config_ops; /* ctx = struct pv_virtio_pci * */

/* Machine reset: device, configuration space, MSI-X and BARs go back to the state after create. */
void pv_virtio_pci_reset(struct pv_virtio_pci *pci);

/* A doorbell of `queue` rang through an eventfd. */
void pv_virtio_pci_kick(struct pv_virtio_pci *pci, unsigned queue);

#endif
