/*
 * Whether a vCPU has anything to do.
 */
#ifndef PV_VMM_VCPU_IDLE_H
#define PV_VMM_VCPU_IDLE_H

struct pv_kvm_vm;

enum pv_vcpu_idle {
	PV_VCPU_IDLE,	 /* waits for an interrupt (or to be started), and none has come */
	PV_VCPU_BUSY,	 /* runs, or is about to */
	PV_VCPU_RUNG_AT, /* the interrupt of its timer has come, and it has not begun to serve it */
};

/* What vCPU `index` does, which is parked. Without interrupt controllers it is always busy. */
enum pv_vcpu_idle pv_vcpu_idle(const struct pv_kvm_vm *vm, unsigned index);

#endif
