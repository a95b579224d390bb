/*
 * Running, pausing, resetting and stopping: the states of a machine and who may change them.
 *
 * All state is guarded by the loop lock, but getting the vCPUs out of the guest cannot be waited
 * for under it, because a vCPU may need it to finish its exit. So an operation sets `busy`, drops
 * the lock, waits until the vCPUs are parked, and takes the lock again; other operations wait while
 * a machine is busy.
 *
 * The guest changes states as well. A device that is told to reset or power off (or a vCPU that
 * cannot go on) leaves a wish and calls the vCPUs in. The one who comes to the gate last carries it
 * out: unless the machine is busy, in which case the operation that is under way finds the wish
 * once all are parked. Either way it is done by exactly one thread, with all vCPUs parked.
 *
 *   created --start--> running <--pause, resume--> paused (freeze, rewind)
 *   restored: begins in paused
 *      all of them --stop, or the guest's wish--> stopped, for good
 *
 * A guest that suspends itself stays in its state, running or paused, and its vCPUs at the gate:
 * pv_machine_let_go does not open it until the guest is woken (machine_wake.c) or reset.
 */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "vmm/coalesced.h"
#include "vmm/kvm.h"
#include "vmm/machine_private.h"
#include "vmm/reap.h"

static const char *const STATE_NAMES[] = {
    [PV_MACHINE_CREATED] = "not started yet",
    [PV_MACHINE_RUNNING] = "running",
    [PV_MACHINE_PAUSED] = "paused",
    [PV_MACHINE_STOPPED] = "stopped",
};

/* Takes the loop lock and the machine, when no other operation has it. */
static void begin(struct pv_machine *machine)
{
	pv_loop_lock(machine->loop);
	while (machine->busy)
		pv_loop_wait(machine->loop, PV_CLOCK_NEVER);
	machine->busy = true;
}

void pv_machine_end(struct pv_machine *machine)
{
	machine->busy = false;
	pv_loop_wake(machine->loop);
	pv_loop_unlock(machine->loop);
}

int pv_machine_refuse(const struct pv_machine *machine, const char *what, struct pv_err *err)
{
	if (machine->state == PV_MACHINE_STOPPED)
		return pv_err_set(err, PV_ERR_STATE, EINVAL,
		    "cannot %s a machine that is stopped: %s", what, machine->stop.text);
	return pv_err_set(err, PV_ERR_STATE, EINVAL, "cannot %s a machine that is %s", what,
	    STATE_NAMES[machine->state]);
}

static int begin_in(
    struct pv_machine *machine, enum pv_machine_state state, const char *what, struct pv_err *err)
{
	begin(machine);
	if (machine->state == state)
		return 0;
	int code = pv_machine_refuse(machine, what, err);
	pv_machine_end(machine);
	return code;
}

int pv_machine_begin_paused(struct pv_machine *machine, const char *what, struct pv_err *err)
{
	return begin_in(machine, PV_MACHINE_PAUSED, what, err);
}

int pv_machine_begin_running(struct pv_machine *machine, const char *what, struct pv_err *err)
{
	return begin_in(machine, PV_MACHINE_RUNNING, what, err);
}

void pv_machine_park(struct pv_machine *machine)
{
	pv_loop_unlock(machine->loop);
	pv_crew_call_in(&machine->crew);
	pv_crew_wait_parked(&machine->crew);
	pv_loop_lock(machine->loop);
	pv_coalesced_drain(machine->vm.coalesced, &machine->pio);
}

/* [locked] The machine is stopped for the reason in `stop`; its threads end by themselves. */
static void enter_stopped(struct pv_machine *machine)
{
	machine->wish = PV_MACHINE_WISH_NONE;
	machine->state = PV_MACHINE_STOPPED;
	if (!machine->no_devices)
		pv_machine_devices_quiesce(machine);
	pv_crew_dismiss(&machine->crew);
	if (machine->events.stopped)
		machine->events.stopped(machine->events_ctx, &machine->stop);
}

/* [busy] Clears memory, loads what is booted and builds a new virtual machine in `fresh`. */
static int rebuild(struct pv_machine *machine, struct pv_kvm_vm *fresh, struct pv_err *err)
{
	int code = pv_machine_fetch_boot(machine, err);
	if (code < 0)
		return code;
	code = pv_ram_clear(&machine->ram, err);
	if (code < 0)
		return code;
	code = pv_machine_load(machine, err);
	if (code < 0)
		return code;
	code = pv_kvm_vm_init(
	    fresh, machine->kvm, &machine->ram, machine->cpus, !machine->no_devices, err);
	if (code < 0)
		return code;
	if (!machine->no_devices)
		fresh->coalesced = pv_coalesced_begin(fresh);
	code = pv_machine_set_entry(machine, fresh, err);
	if (code < 0)
		pv_kvm_vm_finish(fresh, NULL);
	return code;
}

void pv_machine_swap_vm(struct pv_machine *machine, const struct pv_kvm_vm *fresh)
{
	struct pv_reap *reap = pv_reap_create(machine->kvm->reaper,
	    PV_KVM_VM_REAP_FDS(machine->cpus), PV_KVM_VM_REAP_MAPPINGS(machine->cpus));
	pv_kvm_vm_finish(&machine->vm, reap);
	machine->vm = *fresh;
	pv_reap_start(reap);
}

void pv_machine_let_go(struct pv_machine *machine)
{
	if (!machine->pm.suspended)
		pv_crew_go(&machine->crew);
}

/*
 * [locked, busy, all parked] Back to the first instruction; the lock is dropped for the long part,
 * during which devices are in reset and touch no memory. On failure the machine wishes to stop.
 */
static void do_reset(struct pv_machine *machine)
{
	machine->wish = PV_MACHINE_WISH_NONE;
	if (!pv_machine_can_boot(machine)) {
		pv_machine_wish_stop(machine, PV_MACHINE_STOP_CRASHED,
		    "the guest wants to reboot, but the machine was restored without a kernel to "
		    "boot");
		return;
	}
	pv_machine_devices_reset(machine);
	pv_guest_clock_carry(&machine->clock);
	pv_loop_unlock(machine->loop);

	struct pv_err err = PV_ERR_INIT;
	struct pv_kvm_vm fresh = {.fd = -1};
	int code = rebuild(machine, &fresh, &err);

	pv_loop_lock(machine->loop);
	if (code < 0) {
		pv_err_prefix(&err, "the machine cannot be reset");
		pv_machine_wish_stop(machine, PV_MACHINE_STOP_CRASHED, err.text);
		return;
	}
	pv_machine_swap_vm(machine, &fresh);
	pv_guest_clock_start(&machine->clock);
	if (!machine->no_devices)
		pv_machine_devices_wake(machine);
	if (machine->events.rebooted)
		machine->events.rebooted(machine->events_ctx);
}

/* May end in the stopped state. */
void pv_machine_settle(struct pv_machine *machine)
{
	while (machine->wish != PV_MACHINE_WISH_NONE) {
		if (machine->wish == PV_MACHINE_WISH_STOP)
			enter_stopped(machine);
		else if (machine->wish == PV_MACHINE_WISH_WAKE)
			pv_machine_wake(machine);
		else
			do_reset(machine);
	}
}

bool pv_machine_is_suspended(const struct pv_machine *machine)
{
	return machine->pm.suspended;
}

bool pv_machine_is_idle(const struct pv_machine *machine)
{
	return pv_pm_is_idle(&machine->pm);
}

void pv_machine_wish_reset(struct pv_machine *machine)
{
	if (machine->wish < PV_MACHINE_WISH_RESET)
		machine->wish = PV_MACHINE_WISH_RESET;
	pv_crew_call_in(&machine->crew);
}

void pv_machine_wish_stop(
    struct pv_machine *machine, enum pv_machine_stop_kind kind, const char *text)
{
	/* The first reason is the one that counts; what follows it is debris. */
	if (machine->wish < PV_MACHINE_WISH_STOP) {
		machine->wish = PV_MACHINE_WISH_STOP;
		machine->stop.kind = kind;
		snprintf(machine->stop.text, sizeof(machine->stop.text), "%s", text);
	}
	pv_crew_call_in(&machine->crew);
}

void pv_machine_all_parked(void *ctx)
{
	struct pv_machine *machine = ctx;
	pv_loop_lock(machine->loop);
	if (machine->busy || machine->wish == PV_MACHINE_WISH_NONE ||
	    !pv_crew_is_parked(&machine->crew)) {
		pv_loop_unlock(machine->loop);
		return;
	}
	machine->busy = true;
	pv_machine_settle(machine);
	if (machine->state == PV_MACHINE_RUNNING)
		pv_machine_let_go(machine);
	pv_machine_end(machine);
}

/* [locked, busy] */
static int start_first(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_crew_start(&machine->crew, err);
	if (code < 0) {
		machine->state = PV_MACHINE_STOPPED;
		machine->stop.kind = PV_MACHINE_STOP_CRASHED;
		snprintf(machine->stop.text, sizeof(machine->stop.text), "%.1000s", err->text);
		return code;
	}
	if (!machine->has_initial_time)
		pv_guest_clock_set_wall(&machine->clock, pv_clock_wall());
	pv_guest_clock_start(&machine->clock);
	machine->state = PV_MACHINE_RUNNING;
	pv_machine_let_go(machine);
	return 0;
}

/* [locked, busy] A restored machine has no threads before it first goes on. */
static int go_on(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_crew_is_started(&machine->crew) ? 0 : pv_crew_start(&machine->crew, err);
	if (code < 0)
		return code;
	machine->state = PV_MACHINE_RUNNING;
	pv_guest_clock_thaw(&machine->clock);
	if (!machine->no_devices) {
		pv_machine_devices_wake(machine);
		if (machine->restored)
			pv_machine_devices_resume(machine);
	}
	machine->restored = false;
	pv_machine_let_go(machine);
	return 0;
}

int pv_machine_start(struct pv_machine *machine, struct pv_err *err)
{
	int code = 0;
	begin(machine);
	if (machine->state == PV_MACHINE_CREATED)
		code = start_first(machine, err);
	else if (machine->state == PV_MACHINE_PAUSED)
		code = go_on(machine, err);
	else
		code = pv_machine_refuse(machine, "start", err);
	pv_machine_end(machine);
	return code;
}

int pv_machine_resume(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_machine_begin_paused(machine, "resume", err);
	if (code < 0)
		return code;
	code = go_on(machine, err);
	pv_machine_end(machine);
	return code;
}

int pv_machine_pause(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_machine_begin_running(machine, "pause", err);
	if (code < 0)
		return code;
	pv_machine_park(machine);
	pv_machine_settle(machine);
	if (machine->state != PV_MACHINE_RUNNING) {
		code = pv_machine_refuse(machine, "pause", err);
		goto out;
	}
	machine->state = PV_MACHINE_PAUSED;
	pv_guest_clock_freeze(&machine->clock);
	if (!machine->no_devices)
		pv_machine_devices_quiesce(machine);
out:
	pv_machine_end(machine);
	return code;
}

int pv_machine_reset(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_machine_begin_running(machine, "reset", err);
	if (code < 0)
		return code;
	pv_machine_park(machine);
	/* A guest that has just died or powered off stays so. */
	if (machine->wish != PV_MACHINE_WISH_STOP)
		machine->wish = PV_MACHINE_WISH_RESET;
	pv_machine_settle(machine);
	if (machine->state == PV_MACHINE_RUNNING)
		pv_machine_let_go(machine);
	else
		code = pv_machine_refuse(machine, "reset", err);
	pv_machine_end(machine);
	return code;
}

int pv_machine_wakeup(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_machine_begin_running(machine, "wake", err);
	if (code < 0)
		return code;
	if (pv_pm_is_idle(&machine->pm)) {
		pv_pm_power_button(&machine->pm);
		pv_machine_end(machine);
		return 0;
	}
	pv_machine_park(machine);
	if (machine->pm.suspended && machine->wish == PV_MACHINE_WISH_NONE)
		machine->wish = PV_MACHINE_WISH_WAKE;
	else
		code = pv_err_set(err, PV_ERR_STATE, EINVAL, "the guest is not suspended");
	pv_machine_settle(machine);
	if (machine->state == PV_MACHINE_RUNNING)
		pv_machine_let_go(machine);
	else
		code = pv_machine_refuse(machine, "wake", err);
	pv_machine_end(machine);
	return code;
}

void pv_machine_stop(struct pv_machine *machine)
{
	begin(machine);
	if (machine->state == PV_MACHINE_STOPPED) {
		pv_machine_end(machine);
		return;
	}
	pv_loop_unlock(machine->loop);
	pv_crew_dismiss(&machine->crew);
	pv_crew_join(&machine->crew);
	pv_loop_lock(machine->loop);
	if (machine->wish != PV_MACHINE_WISH_STOP) {
		machine->stop.kind = PV_MACHINE_STOP_ASKED;
		snprintf(machine->stop.text, sizeof(machine->stop.text), "stopped as asked");
	}
	machine->wish = PV_MACHINE_WISH_NONE;
	machine->state = PV_MACHINE_STOPPED;
	if (!machine->no_devices)
		pv_machine_devices_quiesce(machine);
	pv_machine_end(machine);
}
