/*
 * The state of a virtual machine's interrupt controllers.
 */
#ifndef PV_VMM_VM_STATE_H
#define PV_VMM_VM_STATE_H

#include <linux/kvm.h>

struct pv_err;
struct pv_kvm_vm;
struct pv_pack;
struct pv_val;

#define PV_VM_STATE_CHIPS 3u /* two PICs and the IOAPIC */

struct pv_vm_state {
	struct kvm_irqchip chips[PV_VM_STATE_CHIPS];
};

/* While no vCPU runs; all zero for a machine without interrupt controllers. Returns 0 or -errno. */
int pv_vm_state_save(struct pv_vm_state *state, const struct pv_kvm_vm *vm, struct pv_err *err);

/* Before vCPUs are loaded, after the levels of all wires were set. Returns 0 or -errno. */
int pv_vm_state_load(
    const struct pv_vm_state *state, const struct pv_kvm_vm *vm, struct pv_err *err);

/* One value. The failure is the packer's. */
void pv_vm_state_pack(const struct pv_vm_state *state, struct pv_pack *pack);
/* Returns 0 or -EBADMSG. */
int pv_vm_state_unpack(struct pv_vm_state *state, const struct pv_val *val, struct pv_err *err);

#endif
