/*
 * Why a vCPU cannot go on, in words: what a person needs who sees the guest die.
 */
#ifndef PV_VMM_EXPLAIN_H
#define PV_VMM_EXPLAIN_H

#include <stddef.h>

struct kvm_run;
struct pv_gmem;
struct pv_kvm_vm;

/*
 * Explains the exit in the kvm_run of `vcpu` (KVM_EXIT_SHUTDOWN, KVM_EXIT_INTERNAL_ERROR,
 * KVM_EXIT_FAIL_ENTRY, or any that the machine does not know), with registers and instruction
 * bytes. On the vCPU's own thread, or any while it is parked. `out` is always terminated.
 */
void pv_explain_exit(
    const struct pv_kvm_vm *vm, const struct pv_gmem *mem, unsigned vcpu, char *out, size_t size);

/* The same for KVM_RUN failing with errno `code`. */
void pv_explain_failure(const struct pv_kvm_vm *vm, const struct pv_gmem *mem, unsigned vcpu,
    int code, char *out, size_t size);

#endif
