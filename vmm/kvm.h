/*
 * /dev/kvm: opened once per process, checked for what we need, and explained when it is missing or
 * cannot run guests.
 */
#ifndef PV_VMM_KVM_H
#define PV_VMM_KVM_H

#include <stdbool.h>

struct kvm_cpuid2;
struct pv_err;
struct pv_msr_list;
struct pv_reaper;
struct pv_spare_pool;

enum pv_kvm_backend {
	PV_KVM_HARDWARE, /* kvm_intel or kvm_amd */
	PV_KVM_EMULATED, /* no hardware virtualization: kernels do not run, tiny payloads do */
	PV_KVM_UNSURE,
};

struct pv_kvm {
	int fd;
	int vcpu_mmap_size;
	unsigned max_vcpus;
	bool has_immediate_exit;
	bool has_user_msr;	 /* KVM_CAP_X86_USER_SPACE_MSR and MSR filter */
	unsigned coalesced_page; /* of the area of a vCPU: the ring of port writes; 0: none */
	unsigned xsave_size;	 /* of KVM_GET_XSAVE2; 0: only the 4096 bytes of KVM_GET_XSAVE */
	unsigned nested_size;	 /* of KVM_GET_NESTED_STATE; 0: guests cannot be hypervisors */
	enum pv_kvm_backend backend;
	struct kvm_cpuid2
	    *cpuid;   /* what KVM_GET_SUPPORTED_CPUID says; asked once, it costs 0.3 ms */
	int ram_pool; /* see vmm/ram.h; -1: small pages only */
	struct pv_reaper *reaper;     /* closes what is slow to close in the background */
	struct pv_spare_pool *spares; /* vmm/spare.h */
	struct pv_msr_list *msrs;     /* vmm/msr_list.h, NULL until somebody asks */
};

/*
 * Opens and checks. Errors are one sentence with the fix: absent ("/dev/kvm: not there; load
 * kvm_intel or kvm_amd, ..."), not permitted ("add yourself to the group kvm"), too old, or lacking
 * a named capability. A KVM without hardware virtualization is no error here.
 */
int pv_kvm_open(struct pv_kvm *kvm, struct pv_err *err);
/* Waits for what destroyed machines left to be closed in the background. NULL and zeroed are fine.
 */
void pv_kvm_close(struct pv_kvm *kvm);

/* Fails with one sentence when guests' kernels cannot run here (PV_KVM_EMULATED). */
int pv_kvm_require_hardware(const struct pv_kvm *kvm, struct pv_err *err);

#endif
