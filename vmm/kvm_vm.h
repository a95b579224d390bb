/*
 * The part of a machine that lives in the kernel: the virtual machine, its interrupt controllers
 * and its vCPUs, fresh from the factory. A machine reset throws it away and builds another one, so
 * there is no list of things that a reset might forget.
 */
#ifndef PV_VMM_KVM_VM_H
#define PV_VMM_KVM_VM_H

#include <stdbool.h>
#include <stdint.h>

struct kvm_coalesced_mmio_ring;
struct kvm_run;
struct pv_err;
struct pv_kvm;
struct pv_ram;
struct pv_reap;

struct pv_kvm_vcpu {
	int fd;
	struct kvm_run *run; /* shared with the kernel */
};

struct pv_kvm_vm {
	const struct pv_kvm *kvm;
	int fd;
	bool irqchip;	    /* PIC, IOAPIC, local APICs and PIT are in the kernel */
	bool catches_clock; /* writes to the wall clock MSRs exit to user space */
	/* Of KVM_VCPUEVENT_VALID_PAYLOAD and _TRIPLE_FAULT, those that its vCPUs' events have. */
	uint32_t event_flags;
	unsigned cpus;
	struct pv_kvm_vcpu *vcpus;
	struct kvm_coalesced_mmio_ring *coalesced; /* vmm/coalesced.h, or NULL */
};

/*
 * Builds a virtual machine with that RAM and number of vCPUs, CPUID and MSRs set, registers as
 * after power-on. Returns 0 or -errno; the caller finishes it.
 */
int pv_kvm_vm_init(struct pv_kvm_vm *vm, const struct pv_kvm *kvm, const struct pv_ram *ram,
    unsigned cpus, bool irqchip, struct pv_err *err);

/* Gives it back through `reap`, or at once when that is NULL. NULL and zeroed are fine. */
void pv_kvm_vm_finish(struct pv_kvm_vm *vm, struct pv_reap *reap);

/* Descriptors and mappings that pv_kvm_vm_finish puts on a list, per machine with `cpus` vCPUs. */
#define PV_KVM_VM_REAP_FDS(cpus)      ((cpus) + 1)
#define PV_KVM_VM_REAP_MAPPINGS(cpus) (cpus)

#endif
