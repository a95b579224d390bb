/*
 * A VM goes back to what it was. Theory: a baseline holds what cannot be read from the template:
 * whose it is, its state, where the conversation with its agent stood, and what it boots from at a
 * reset. As long as the machine is the one that was frozen, it is rewound in place
 * (vmm/template.h): the guest may have crashed inside, rebooted or lost its agent. One that has
 * stopped for good, was shut down, or was frozen again, so that a rewind would lead there, is
 * replaced by a new machine on the same template, which then is rewound as well: that is how it
 * gets the connections. Either way it is the same struct pv_vm, so whoever holds it notices nothing
 * but the time that is gone.
 *
 * So that several go back or none, this is done in two steps. Preparing does what may fail and can
 * be undone: the guest stands still, the template is looked at, the new machine is built beside the
 * old one. What is left after that is the rewind.
 *
 * The agent's client forgets the connection before the devices are reset and adopts it again as it
 * stood; what was in flight has failed then, and its answers cannot arrive.
 *
 * Script thread.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "lab/boot_kit.h"
#include "lab/host.h"
#include "lab/vm_private.h"
#include "vmm/template.h"

#define GIVEN_UP "the VM went back to what it was before the test"

/* A machine that takes the place of the VM's. */
struct successor {
	struct pv_machine *machine; /* NULL: there is none */
	struct pv_options boot;
};

struct pv_vm_baseline {
	struct pv_vm *vm;
	enum pv_vm_state state;
	const struct pv_profile *profile;
	uint32_t cid;
	char death[PV_ERR_TEXT_MAX];
	/* Of a booted or paused VM; `template` is NULL for others. */
	struct pv_template *template;
	struct pv_agent_mark mark;
	int64_t agent_wait_ns;
	struct pv_options boot;
	struct pv_boot_kit *kit; /* a reference, since the VM lets go of it when it is shut down */
	/* Between preparing and going back: what is done so far. */
	bool prepared;
	bool paused; /* a guest that ran */
	struct successor next;
};

int pv_vm_baseline_create(
    struct pv_vm_baseline **out, struct pv_vm *vm, struct pv_template *template, struct pv_err *err)
{
	struct pv_vm_baseline *baseline = calloc(1, sizeof(*baseline));
	*out = NULL;
	if (!baseline)
		return pv_err_nomem(err, "baseline");
	baseline->vm = pv_vm_ref(vm);
	baseline->profile = vm->profile;
	baseline->cid = vm->cid;
	baseline->agent_wait_ns = vm->agent_wait_ns;
	pv_loop_lock(vm->host->loop);
	baseline->state = vm->state;
	baseline->mark = pv_agent_mark(vm->agent);
	snprintf(baseline->death, sizeof(baseline->death), "%s", vm->death);
	pv_loop_unlock(vm->host->loop);
	int status = 0;
	if (template) {
		baseline->template = pv_template_ref(template);
		baseline->kit = pv_boot_kit_ref(vm->kit);
		status = pv_options_merge(&baseline->boot, &vm->boot, err);
	}
	if (status)
		pv_vm_baseline_destroy(baseline);
	else
		*out = baseline;
	return status;
}

void pv_vm_baseline_destroy(struct pv_vm_baseline *baseline)
{
	if (!baseline)
		return;
	pv_vm_baseline_stay(baseline);
	pv_template_unref(baseline->template);
	pv_options_finish(&baseline->boot);
	pv_boot_kit_unref(baseline->kit);
	pv_vm_unref(baseline->vm);
	free(baseline);
}

struct pv_vm *pv_vm_baseline_vm(const struct pv_vm_baseline *baseline)
{
	return baseline->vm;
}

/* --- preparing --- */

/* True when a rewind of the machine leads to the baseline; it stands still then. */
static bool stands_still(struct pv_vm_baseline *baseline)
{
	struct pv_vm *vm = baseline->vm;
	struct pv_err ignored = PV_ERR_INIT;
	if (!vm->machine || pv_machine_template(vm->machine) != baseline->template)
		return false;
	pv_loop_lock(vm->host->loop);
	const enum pv_machine_state state = pv_machine_state(vm->machine);
	pv_loop_unlock(vm->host->loop);
	if (state == PV_MACHINE_RUNNING)
		baseline->paused = pv_machine_pause(vm->machine, &ignored) == 0;
	return baseline->paused || state == PV_MACHINE_PAUSED;
}

static void give_up_next(struct successor *next)
{
	pv_machine_destroy(next->machine);
	pv_options_finish(&next->boot);
	*next = (struct successor){0};
}

/* Its connections are offered to the VM later, when it has taken its place. */
static int build_next(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	struct pv_vm *vm = baseline->vm;
	struct successor *next = &baseline->next;
	struct pv_kvm *kvm = NULL;
	int status = pv_host_kvm(vm->host, &kvm, err);
	if (!status)
		status = pv_options_merge(&next->boot, &baseline->boot, err);
	if (status)
		return status;
	const struct pv_machine_config config = pv_vm_boot_config(vm, baseline->kit);
	const struct pv_machine_restore restore = {.boot = &config};
	return pv_machine_restore(
	    &next->machine, kvm, vm->host->loop, baseline->template, &restore, err);
}

int pv_vm_baseline_prepare(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	if (!baseline->template || baseline->prepared)
		return 0;
	int status = stands_still(baseline) ? pv_machine_check_rewind(baseline->vm->machine, err)
					    : build_next(baseline, err);
	baseline->prepared = true;
	if (!status)
		return 0;
	pv_vm_baseline_stay(baseline);
	return pv_err_prefix(err, "vm `%s`: cannot go back to its baseline", baseline->vm->name);
}

void pv_vm_baseline_stay(struct pv_vm_baseline *baseline)
{
	struct pv_err ignored = PV_ERR_INIT;
	/* It ran a moment ago, so what could fail now are its threads, which are there. */
	if (baseline->paused)
		(void)pv_machine_resume(baseline->vm->machine, &ignored);
	give_up_next(&baseline->next);
	baseline->paused = baseline->prepared = false;
}

/* --- going back --- */

static int rewind_in_place(struct pv_vm_baseline *baseline, bool clock_now, struct pv_err *err)
{
	struct pv_vm *vm = baseline->vm;
	pv_loop_lock(vm->host->loop);
	pv_agent_drop(vm->agent, GIVEN_UP, true);
	pv_vm_verdict_restart(vm);
	pv_console_log_mark_boot(&vm->log);
	/* A machine that was booted, or is new, has not been told yet. */
	pv_machine_set_adopt(vm->machine, pv_vm_link_adopt, vm);
	pv_machine_announce_late(vm->machine);
	vm->adopt = baseline->mark;
	vm->entropy_due = !pv_template_is_seeded(baseline->template);
	vm->wall_due = clock_now;
	vm->state = PV_VM_PAUSED;
	vm->death[0] = '\0';
	pv_loop_unlock(vm->host->loop);
	int status = pv_machine_rewind(vm->machine, err);
	return status || !clock_now ? status
				    : pv_machine_set_date(vm->machine, pv_clock_wall(), err);
}

/* The machine that was built takes the place of the old one. */
static int change_machines(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	struct pv_vm *vm = baseline->vm;
	struct successor *next = &baseline->next;
	pv_vm_stop_machine(vm, PV_VM_PAUSED);
	vm->machine = next->machine;
	vm->boot = next->boot;
	vm->kit = pv_boot_kit_ref(baseline->kit);
	*next = (struct successor){0};
	vm->cid = baseline->cid;
	vm->agent_wait_ns = baseline->agent_wait_ns;
	vm->profile = baseline->profile;
	pv_loop_lock(vm->host->loop);
	vm->stopped = vm->powered_off = false;
	int status = pv_vm_link_listen(vm);
	pv_loop_unlock(vm->host->loop);
	return status ? pv_err_system(err, -status, "cannot listen for the agent") : 0;
}

/* A VM without a guest at the baseline has none afterwards either. */
static void lie_down(struct pv_vm_baseline *baseline)
{
	struct pv_vm *vm = baseline->vm;
	if (pv_vm_state(vm) == baseline->state)
		return;
	pv_vm_stop_machine(vm, baseline->state);
	vm->profile = baseline->profile;
	vm->cid = baseline->cid;
	pv_loop_lock(vm->host->loop);
	snprintf(vm->death, sizeof(vm->death), "%s", baseline->death);
	pv_loop_unlock(vm->host->loop);
}

int pv_vm_baseline_return(struct pv_vm_baseline *baseline, bool clock_now, struct pv_err *err)
{
	struct pv_vm *vm = baseline->vm;
	if (!baseline->template) {
		lie_down(baseline);
		return 0;
	}
	int status = pv_vm_baseline_prepare(baseline, err);
	const bool prepared = !status;
	if (!status && baseline->next.machine)
		status = change_machines(baseline, err);
	if (!status)
		status = rewind_in_place(baseline, clock_now, err);
	baseline->paused = baseline->prepared = false;
	if (!status)
		return 0;
	if (prepared)
		pv_err_prefix(err, "vm `%s`: cannot go back to its baseline", vm->name);
	pv_vm_stop_machine(vm, PV_VM_DEAD);
	pv_loop_lock(vm->host->loop);
	snprintf(vm->death, sizeof(vm->death), "%s", err->text);
	pv_loop_unlock(vm->host->loop);
	return status;
}

int pv_vm_baseline_go(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	struct pv_vm *vm = baseline->vm;
	if (!baseline->template)
		return 0;
	if (baseline->state == PV_VM_BOOTED)
		return pv_vm_restore_go(vm, "go back to its baseline", err);
	/* Paused: its state says so already. */
	if (!vm->spawned) {
		vm->started_ns = pv_clock_now();
		pv_vm_tell_spawned(vm);
	}
	return 0;
}
