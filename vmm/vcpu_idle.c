/*
 * Halted, and nothing that would end it.
 *
 * KVM halts a vCPU by itself and does not say so, but tells when it is asked. A vCPU that halted
 * with interrupts off was put away for good (a processor that Linux took offline); interrupts that
 * still wait in its local APIC are not for anybody. One that was never started, or stopped, waits
 * for the start-up interrupt.
 *
 * On any thread, while the vCPU is parked. Linux: Documentation/virt/kvm/api.rst, KVM_GET_MP_STATE;
 * Intel SDM volume 3A, 11.8.4.
 */
#include "vmm/vcpu_idle.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "vmm/kvm_vm.h"

#define APIC_LVTT 0x320u /* the timer's vector in the lowest byte */

/* The interrupt request register: eight words, 16 bytes apart. */
#define APIC_IRR       0x200u
#define APIC_IRR_WORDS 8
#define APIC_IRR_STEP  0x10u

#define RFLAGS_IF (UINT64_C(1) << 9)

static uint32_t requests(const struct kvm_lapic_state *lapic, unsigned word)
{
	return pv_le32(lapic->regs + APIC_IRR + word * APIC_IRR_STEP);
}

static bool has_request(const struct kvm_lapic_state *lapic)
{
	for (unsigned i = 0; i < APIC_IRR_WORDS; i++) {
		if (requests(lapic, i))
			return true;
	}
	return false;
}

static bool is_rung_at(const struct kvm_lapic_state *lapic)
{
	const unsigned vector = pv_le32(lapic->regs + APIC_LVTT) & 0xff;
	return requests(lapic, vector / 32) >> vector % 32 & 1;
}

enum pv_vcpu_idle pv_vcpu_idle(const struct pv_kvm_vm *vm, unsigned index)
{
	const int fd = vm->vcpus[index].fd;
	struct kvm_mp_state state;
	struct kvm_regs regs;
	struct kvm_lapic_state lapic;
	if (!vm->irqchip || ioctl(fd, KVM_GET_MP_STATE, &state) < 0 ||
	    ioctl(fd, KVM_GET_REGS, &regs) < 0 || ioctl(fd, KVM_GET_LAPIC, &lapic) < 0)
		return PV_VCPU_BUSY;
	if (state.mp_state != KVM_MP_STATE_RUNNABLE && state.mp_state != KVM_MP_STATE_HALTED)
		return PV_VCPU_IDLE;
	const bool halted = state.mp_state == KVM_MP_STATE_HALTED;
	if (halted && (!(regs.rflags & RFLAGS_IF) || !has_request(&lapic)))
		return PV_VCPU_IDLE;
	return is_rung_at(&lapic) ? PV_VCPU_RUNG_AT : PV_VCPU_BUSY;
}
