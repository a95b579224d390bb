/*
 * Guest time that passes at once, for a VM. The machine does it (vmm/machine_advance.c); an hour at
 * a time, so that a run which is interrupted or out of time does not wait for years of it.
 *
 * Script thread.
 */
#include <errno.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "lab/host.h"
#include "lab/vm_private.h"

#define PIECE_NS (3600 * PV_CLOCK_SECOND)

/* [loop lock] */
static int check(struct pv_vm *vm, struct pv_err *err)
{
	if (vm->state != PV_VM_BOOTED)
		return pv_vm_wrong_state(vm, "advance", err);
	if (vm->host->interrupt)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: advance: %s", vm->name,
		    vm->host->interrupt);
	return 0;
}

int pv_vm_advance(struct pv_vm *vm, int64_t ns, struct pv_err *err)
{
	if (ns < 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "vm `%s`: advance: monotonic time cannot go back", vm->name);
	if (ns > PV_VM_ADVANCE_MAX)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "vm `%s`: advance: monotonic time goes on by 10 years at most", vm->name);
	int status;
	do {
		const int64_t piece = ns < PIECE_NS ? ns : PIECE_NS;
		pv_loop_lock(vm->host->loop);
		status = check(vm, err);
		pv_loop_unlock(vm->host->loop);
		if (status)
			return status;
		status = pv_machine_advance(vm->machine, (uint64_t)piece, err);
		ns -= piece;
	} while (status == 0 && ns > 0);
	return status ? pv_err_prefix(err, "vm `%s`: advance", vm->name) : 0;
}
