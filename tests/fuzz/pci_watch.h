/*
 * What a machine would keep of a PCI function, for fuzz targets: it is told of interrupts and
 * doorbells and requires that all it is told is consistent.
 */
#ifndef PV_TESTS_FUZZ_PCI_WATCH_H
#define PV_TESTS_FUZZ_PCI_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/pci.h"

struct pci_watch {
	const struct pv_virtio *dev;
	bool refuses; /* doorbells at an eighth of all addresses */
	bool line;
	bool unmasked[PV_VIRTIO_PCI_VECTORS_MAX];
	uint64_t doorbells[PV_VIRTIO_QUEUES_MAX];
};

/* The function of `watch`, as pv_virtio_pci_create wants it. */
struct pv_virtio_pci_wiring pci_watch_wiring(struct pci_watch *watch, struct pv_bus *mmio);

/* After the function's end: nothing is left behind. */
void pci_watch_expect_nothing(const struct pci_watch *watch);

#endif
