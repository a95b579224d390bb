/*
 * PCI host bridge with one bus of 32 single-function slots, reached by configuration mechanism #1
 * (PCI Local Bus 3.0, section 3.2.2.3.2). Under the loop lock.
 */
#ifndef PV_VMM_PCI_HOST_H
#define PV_VMM_PCI_HOST_H

#include <stdint.h>

#include "base/bus.h"

#define PV_PCI_HOST_SLOTS 32
#define PV_PCI_HOST_PORTS 8

/* A function's configuration space: offsets below 256, len 1, 2 or 4. */
struct pv_pci_host_slot {
	const struct pv_bus_ops *ops; /* NULL: empty */
	void *ctx;
};

/* Slot 0 is the bridge itself. Zeroed = no other function. */
struct pv_pci_host {
	uint32_t address;
	struct pv_pci_host_slot slots[PV_PCI_HOST_SLOTS];
};

/* Ports 0xcf8 to 0xcff; ctx = struct pv_pci_host *. */
extern const struct pv_bus_ops pv_pci_host_ops;

#endif
