/*
 * Waking from S3, suspend to RAM.
 *
 * While it is suspended a machine has power for RAM and the clock alone. The guest has left an
 * address in the FACS, and firmware, which finds in the sleep registers that this is no cold start,
 * jumps there in real mode. Here that means: devices are reset, and the virtual machine is replaced
 * by a new one around the same RAM, as for a reset (machine_run.c), so there is no list of what
 * might be forgotten; but nothing is loaded, the boot vCPU begins at that address, and guest time
 * goes on. The guest then sets its devices up again and starts its other processors.
 *
 * With the loop lock, on whatever thread carries out the wish. ACPI 6.4, sections 5.2.10, 16.1
 * and 16.3.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/gmem.h"
#include "vmm/coalesced.h"
#include "vmm/layout.h"
#include "vmm/machine_private.h"

#define FACS_ALIGN  64u
#define FACS_LENGTH 4u
#define FACS_VECTOR 12u
#define FACS_SIZE   16u /* of the part that is looked at */

#define REAL_MODE_END 0x100000u

/* The guest may have written anything there, so the value is checked by the caller. */
static uint32_t waking_vector(const struct pv_gmem *mem)
{
	uint8_t facs[FACS_SIZE];
	for (uint64_t at = PV_LAYOUT_ACPI; at < PV_LAYOUT_ACPI_END; at += FACS_ALIGN) {
		if (pv_gmem_read(mem, at, facs, sizeof(facs)) == 0 &&
		    memcmp(facs, "FACS", 4) == 0 && pv_le32(facs + FACS_LENGTH) >= FACS_ALIGN)
			return pv_le32(facs + FACS_VECTOR);
	}
	return 0;
}

static int find_vector(const struct pv_machine *machine, uint32_t *vector, struct pv_err *err)
{
	*vector = waking_vector(&machine->ram.mem);
	if (*vector != 0 && *vector < REAL_MODE_END)
		return 0;
	return pv_err_set(err, PV_ERR_GUEST, EINVAL,
	    "the address that the guest left in the FACS to wake up at, 0x%x, is not in the first "
	    "MiB",
	    *vector);
}

/* Without the lock. A virtual machine around the present RAM, ready to wake up in. */
static int build(struct pv_machine *machine, struct pv_kvm_vm *fresh, struct pv_err *err)
{
	uint32_t vector;
	int code = find_vector(machine, &vector, err);
	if (code == 0)
		code = pv_kvm_vm_init(fresh, machine->kvm, &machine->ram, machine->cpus, true, err);
	if (code < 0)
		return code;
	fresh->coalesced = pv_coalesced_begin(fresh);
	code = pv_machine_set_waking(fresh, vector, err);
	if (code < 0)
		pv_kvm_vm_finish(fresh, NULL);
	return code;
}

void pv_machine_wake(struct pv_machine *machine)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kvm_vm fresh = {.fd = -1};
	machine->wish = PV_MACHINE_WISH_NONE;
	pv_machine_devices_reset(machine);
	pv_loop_unlock(machine->loop);
	int code = build(machine, &fresh, &err);
	pv_loop_lock(machine->loop);
	if (code == 0) {
		pv_guest_clock_freeze(&machine->clock);
		code = pv_guest_clock_move(&machine->clock, &fresh, &err);
		if (code < 0)
			pv_kvm_vm_finish(&fresh, NULL);
	}
	if (code < 0) {
		pv_err_prefix(&err, "the guest cannot be woken");
		pv_machine_wish_stop(machine, PV_MACHINE_STOP_CRASHED, err.text);
		return;
	}
	pv_machine_swap_vm(machine, &fresh);
	pv_guest_clock_thaw(&machine->clock);
	pv_pm_wake(&machine->pm);
	pv_machine_devices_wake(machine);
}
