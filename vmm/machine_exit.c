/*
 * What happens when a vCPU leaves the guest. An exit is an access to a device, a request of the
 * guest, or the end of it.
 *
 * On vCPU threads. The loop lock is taken for the access itself and for nothing else. Linux:
 * Documentation/virt/kvm/api.rst, section 5.
 */
#include <linux/kvm.h>
#include <stdio.h>

#include "vmm/coalesced.h"
#include "vmm/explain.h"
#include "vmm/machine_private.h"

static void access_port(struct pv_machine *machine, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	const bool in = run->io.direction == KVM_EXIT_IO_IN;
	pv_loop_lock(machine->loop);
	/* String instructions come as several accesses to one port. */
	for (uint32_t i = 0; i < run->io.count; i++) {
		if (in)
			pv_bus_read(&machine->pio, run->io.port, data, run->io.size);
		else
			pv_bus_write(&machine->pio, run->io.port, data, run->io.size);
		data += run->io.size;
	}
	pv_loop_unlock(machine->loop);
}

static void access_memory(struct pv_machine *machine, struct kvm_run *run)
{
	const uint64_t address = run->mmio.phys_addr;
	pv_loop_lock(machine->loop);
	if (run->mmio.is_write)
		pv_bus_write(&machine->mmio, address, run->mmio.data, run->mmio.len);
	else
		pv_bus_read(&machine->mmio, address, run->mmio.data, run->mmio.len);
	pv_loop_unlock(machine->loop);
}

static void write_msr(struct pv_machine *machine, struct kvm_run *run)
{
	pv_loop_lock(machine->loop);
	bool known = pv_guest_clock_write_msr(
	    &machine->clock, &machine->ram.mem, run->msr.index, run->msr.data);
	pv_loop_unlock(machine->loop);
	run->msr.error = !known; /* a general protection fault in the guest */
}

static void stop(struct pv_machine *machine, enum pv_machine_stop_kind kind, const char *text)
{
	pv_loop_lock(machine->loop);
	pv_machine_wish_stop(machine, kind, text);
	pv_loop_unlock(machine->loop);
}

static void crash(struct pv_machine *machine, unsigned vcpu)
{
	char text[sizeof(machine->stop.text)];
	pv_explain_exit(&machine->vm, &machine->ram.mem, vcpu, text, sizeof(text));
	stop(machine, PV_MACHINE_STOP_CRASHED, text);
}

static void system_event(struct pv_machine *machine, unsigned vcpu, const struct kvm_run *run)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		stop(machine, PV_MACHINE_STOP_POWER_OFF, "the guest powered off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		pv_loop_lock(machine->loop);
		pv_machine_wish_reset(machine);
		pv_loop_unlock(machine->loop);
		break;
	default: crash(machine, vcpu); break;
	}
}

void pv_machine_exited(void *ctx, unsigned vcpu, struct kvm_run *run)
{
	struct pv_machine *machine = ctx;
	if (pv_coalesced_is_pending(machine->vm.coalesced)) {
		pv_loop_lock(machine->loop);
		pv_coalesced_drain(machine->vm.coalesced, &machine->pio);
		pv_loop_unlock(machine->loop);
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO: access_port(machine, run); break;
	case KVM_EXIT_MMIO: access_memory(machine, run); break;
	case KVM_EXIT_X86_WRMSR: write_msr(machine, run); break;
	case KVM_EXIT_X86_RDMSR: run->msr.error = 1; break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN: break;
	case KVM_EXIT_HLT:
		/* Only without interrupt controllers, when nothing can wake it again. */
		stop(machine, PV_MACHINE_STOP_POWER_OFF,
		    "a vCPU halted with no interrupt to wake it");
		break;
	case KVM_EXIT_SYSTEM_EVENT: system_event(machine, vcpu, run); break;
	default: crash(machine, vcpu); break;
	}
}

void pv_machine_failed(void *ctx, unsigned vcpu, int code)
{
	struct pv_machine *machine = ctx;
	char text[sizeof(machine->stop.text)];
	pv_explain_failure(&machine->vm, &machine->ram.mem, vcpu, code, text, sizeof(text));
	stop(machine, PV_MACHINE_STOP_CRASHED, text);
}
