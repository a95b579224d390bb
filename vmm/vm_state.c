/*
 * Interrupt controllers, in and out of KVM. The local APICs are with their vCPUs, and the interval
 * timer is with guest time (vmm/guest_clock.c).
 *
 * All on the thread that saves or restores, while no vCPU runs. Linux:
 * Documentation/virt/kvm/api.rst, KVM_GET_IRQCHIP.
 */
#include "vmm/vm_state.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "vmm/kvm_vm.h"

static const char *const CHIP_KEYS[PV_VM_STATE_CHIPS] = {
    [KVM_IRQCHIP_PIC_MASTER] = "pic0",
    [KVM_IRQCHIP_PIC_SLAVE] = "pic1",
    [KVM_IRQCHIP_IOAPIC] = "ioapic",
};

int pv_vm_state_save(struct pv_vm_state *state, const struct pv_kvm_vm *vm, struct pv_err *err)
{
	memset(state, 0, sizeof(*state));
	for (uint32_t i = 0; i < PV_VM_STATE_CHIPS; i++) {
		state->chips[i].chip_id = i;
		if (vm->irqchip && ioctl(vm->fd, KVM_GET_IRQCHIP, &state->chips[i]) < 0)
			return pv_err_system(err, errno, "KVM_GET_IRQCHIP %s", CHIP_KEYS[i]);
	}
	return 0;
}

int pv_vm_state_load(
    const struct pv_vm_state *state, const struct pv_kvm_vm *vm, struct pv_err *err)
{
	if (!vm->irqchip)
		return 0;
	for (uint32_t i = 0; i < PV_VM_STATE_CHIPS; i++) {
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &state->chips[i]) < 0)
			return pv_err_system(err, errno, "KVM_SET_IRQCHIP %s", CHIP_KEYS[i]);
	}
	return 0;
}

void pv_vm_state_pack(const struct pv_vm_state *state, struct pv_pack *pack)
{
	pv_pack_map(pack, PV_VM_STATE_CHIPS);
	for (unsigned i = 0; i < PV_VM_STATE_CHIPS; i++) {
		pv_pack_str(pack, CHIP_KEYS[i]);
		pv_pack_bin(pack, &state->chips[i].chip, sizeof(state->chips[i].chip));
	}
}

static void take(struct pv_fields *fields, const char *key, void *out, size_t wanted)
{
	size_t size;
	const void *data = pv_fields_bytes(fields, key, wanted, &size);
	if (size != wanted)
		pv_fields_fail(
		    fields, "field `%s` has %zu bytes instead of %zu", key, size, wanted);
	if (fields->status == 0)
		memcpy(out, data, size);
}

int pv_vm_state_unpack(struct pv_vm_state *state, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "interrupt controllers", err);
	memset(state, 0, sizeof(*state));
	for (uint32_t i = 0; i < PV_VM_STATE_CHIPS; i++) {
		state->chips[i].chip_id = i;
		take(&fields, CHIP_KEYS[i], &state->chips[i].chip, sizeof(state->chips[i].chip));
	}
	return pv_fields_end(&fields);
}
