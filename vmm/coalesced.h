/*
 * Port writes that do not leave the guest. KVM collects writes to the PCI address register in a
 * ring, and they are carried out before anything else that the guest does reaches a device. Linux:
 * Documentation/virt/kvm/api.rst, 4.116.
 */
#ifndef PV_VMM_COALESCED_H
#define PV_VMM_COALESCED_H

#include <stdbool.h>

struct kvm_coalesced_mmio_ring;
struct pv_bus;
struct pv_kvm_vm;

/*
 * Begins to collect; a KVM that cannot leaves the ring NULL, and all writes exit as ever. Before
 * any vCPU runs. The ring lies in the area of vCPU 0 and lives as long.
 */
struct kvm_coalesced_mmio_ring *pv_coalesced_begin(const struct pv_kvm_vm *vm);

/* True when something was collected. Any thread; NULL is fine. */
bool pv_coalesced_is_pending(const struct kvm_coalesced_mmio_ring *ring);

/* Carries out what was collected. [locked] NULL is fine. */
void pv_coalesced_drain(struct kvm_coalesced_mmio_ring *ring, const struct pv_bus *pio);

/* Drops what was collected, while no vCPU runs. NULL is fine. */
void pv_coalesced_forget(struct kvm_coalesced_mmio_ring *ring);

#endif
