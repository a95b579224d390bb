/*
 * All that KVM knows about one vCPU, except time (vmm/guest_clock.h): taken out, put into another
 * one, and as msgpack. What KVM hands out as a struct is kept as its bytes.
 */
#ifndef PV_VMM_VCPU_STATE_H
#define PV_VMM_VCPU_STATE_H

#include <linux/kvm.h>
#include <stdint.h>

#include "vmm/msr_list.h"

struct pv_err;
struct pv_kvm;
struct pv_kvm_vm;
struct pv_pack;
struct pv_val;

/* KVM_GET_XSAVE2 with all that today's processors have is 11 KiB. */
#define PV_VCPU_STATE_XSAVE_MAX	 16384u
#define PV_VCPU_STATE_NESTED_MAX 16384u

struct pv_vcpu_state {
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic; /* its timer counts are with the guest clock and 0 here */
	uint32_t xsave_size;	      /* at least 4096 */
	uint32_t nested_size;	      /* 0: the vCPU has no nested state */
	uint32_t msr_count;
	uint8_t xsave[PV_VCPU_STATE_XSAVE_MAX] __attribute__((aligned(64)));
	uint8_t nested[PV_VCPU_STATE_NESTED_MAX] __attribute__((aligned(64)));
	struct kvm_msr_entry msrs[PV_MSR_LIST_MAX];
};

/* Takes the state of vCPU `index`, which does not run. Returns 0 or -errno. */
int pv_vcpu_state_save(struct pv_vcpu_state *state, struct pv_kvm *kvm, const struct pv_kvm_vm *vm,
    unsigned index, struct pv_err *err);

/*
 * Puts it into vCPU `index`, new or used, which does not run; interrupt controllers have their
 * state already. Returns 0 or -errno; then the vCPU must not run.
 */
int pv_vcpu_state_load(const struct pv_vcpu_state *state, const struct pv_kvm_vm *vm,
    unsigned index, struct pv_err *err);

/* One value. The failure is the packer's. */
void pv_vcpu_state_pack(const struct pv_vcpu_state *state, struct pv_pack *pack);

/* Checks sizes and counts; what is in them is checked by KVM at load. Returns 0 or -EBADMSG. */
int pv_vcpu_state_unpack(struct pv_vcpu_state *state, const struct pv_val *val, struct pv_err *err);

#endif
