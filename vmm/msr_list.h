/*
 * Which MSRs a vCPU's state consists of.
 */
#ifndef PV_VMM_MSR_LIST_H
#define PV_VMM_MSR_LIST_H

#include <stdint.h>

struct pv_err;
struct pv_kvm;

#define PV_MSR_LIST_MAX 512

struct pv_msr_list {
	unsigned count;
	uint32_t indices[PV_MSR_LIST_MAX];
};

/*
 * Those that KVM lists and those that it forgets to list, as far as `vcpu_fd`, whose CPUID is set,
 * can read them; without time (vmm/guest_clock.h). Found out once per pv_kvm, which owns it.
 * Returns 0 or -errno. Any thread.
 */
int pv_msr_list_get(
    struct pv_kvm *kvm, int vcpu_fd, const struct pv_msr_list **out, struct pv_err *err);

#endif
