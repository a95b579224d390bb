/*
 * The life of a VM after boot: states, pause, reset, power button, shutdown, and the agent for
 * operations. Theory: `state` changes on the script thread by the calls below, and on the loop or a
 * vCPU thread when the guest dies; both under the loop lock. A machine is freed on the script
 * thread only. lab/vm_boot.c has the way from created to booted, lab/vm_snapshot.c the other ways
 * there, lab/vm_console.c the console, lab/vm_link.c the wire to the agent.
 */
#include "lab/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "lab/boot_kit.h"
#include "lab/host.h"
#include "lab/profile.h"
#include "lab/vm_private.h"
#include "lab/working_sets.h"
#include "vmm/template.h"

int pv_vm_create(struct pv_vm **out, struct pv_host *host, const char *name,
    const struct pv_profile *profile, const struct pv_options *options, struct pv_err *err)
{
	if (host->vm_count == PV_HOST_VMS_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, ENOSPC,
		    "vm `%s`: one test file can have at most %d VMs at a time", name,
		    PV_HOST_VMS_MAX);
	struct pv_vm *vm = calloc(1, sizeof(*vm));
	if (!vm)
		return pv_err_nomem(err, "vm");
	*vm = (struct pv_vm){.references = 1,
	    .host = host,
	    .profile = profile,
	    .name = strdup(name),
	    .state = PV_VM_CREATED};
	pv_vm_verdict_init(vm);
	int status = vm->name ? pv_options_merge(&vm->created_with, options, err)
			      : pv_err_nomem(err, "vm name");
	if (!status)
		status = pv_agent_create(&vm->agent, host->loop, err);
	if (status) {
		pv_options_finish(&vm->created_with);
		free(vm->name);
		free(vm);
		return status;
	}
	pv_loop_lock(host->loop);
	host->vms[host->vm_count++] = vm;
	pv_loop_unlock(host->loop);
	*out = vm;
	return 0;
}

struct pv_vm *pv_vm_ref(struct pv_vm *vm)
{
	vm->references++;
	return vm;
}

static void forget(struct pv_host *host, const struct pv_vm *vm)
{
	pv_loop_lock(host->loop);
	for (unsigned i = 0; i < host->vm_count; i++) {
		if (host->vms[i] == vm) {
			host->vms[i] = host->vms[--host->vm_count];
			break;
		}
	}
	pv_loop_unlock(host->loop);
}

void pv_vm_unref(struct pv_vm *vm)
{
	if (!vm || --vm->references)
		return;
	pv_vm_shutdown(vm);
	forget(vm->host, vm);
	pv_vm_verdict_finish(vm);
	pv_agent_destroy(vm->agent);
	pv_options_finish(&vm->created_with);
	pv_console_log_finish(&vm->log);
	free(vm->name);
	free(vm);
}

/* For others who restore what this guest was restored from. */
static void keep_working_set(struct pv_vm *vm)
{
	char id[PV_TEMPLATE_ID];
	if (vm->working_set && pv_template_file_id(vm->wants_set, id)) {
		pv_working_sets_save(vm->host->working_sets, id, vm->working_set);
		pv_template_gather(vm->wants_set, vm->working_set);
	}
	free(vm->working_set);
	vm->working_set = NULL;
	pv_template_unref(vm->wants_set);
	vm->wants_set = NULL;
}

void pv_vm_stop_machine(struct pv_vm *vm, enum pv_vm_state state)
{
	struct pv_host *host = vm->host;
	pv_loop_lock(host->loop);
	vm->state = state;
	pv_vm_verdict_gone(vm);
	/* Before the machine goes, so that calls in flight end with a reason of ours and nothing is
	 * sent into a dying device. */
	pv_agent_drop(vm->agent,
	    state == PV_VM_SHUTDOWN ? "the VM was shut down" : "the guest is gone", true);
	pv_loop_timer_clear(&vm->return_timer);
	pv_loop_unlock(host->loop);
	pv_machine_destroy(vm->machine);
	vm->machine = NULL;
	keep_working_set(vm);
	pv_boot_kit_unref(vm->kit);
	vm->kit = NULL;
	pv_options_finish(&vm->boot);
	if (!vm->spawned)
		return;
	vm->spawned = false;
	if (host->events && host->events->vm_shutdown)
		host->events->vm_shutdown(host->events_ctx, vm, pv_clock_now() - vm->started_ns);
}

void pv_vm_shutdown(struct pv_vm *vm)
{
	pv_vm_stop_machine(vm, PV_VM_SHUTDOWN);
}

int pv_vm_wrong_state(struct pv_vm *vm, const char *action, struct pv_err *err)
{
	static const char *const words[] = {
	    [PV_VM_CREATED] = "not booted",
	    [PV_VM_BOOTED] = "already booted",
	    [PV_VM_PAUSED] = "is paused; use resume()",
	    [PV_VM_SHUTDOWN] = "is shutdown; create a new one",
	    [PV_VM_DEAD] = "died; create a new one",
	};
	const char *why = vm->state == PV_VM_DEAD && vm->death[0] ? vm->death : NULL;
	return pv_err_set(err, PV_ERR_STATE, EBADFD, "vm `%s` %s (cannot %s)%s%s", vm->name,
	    words[vm->state], action, why ? ": " : "", why ? why : "");
}

/* Takes the loop lock and checks the state; on failure the lock is dropped again. */
static int enter(struct pv_vm *vm, enum pv_vm_state state, const char *action, struct pv_err *err)
{
	pv_loop_lock(vm->host->loop);
	if (vm->state == state)
		return 0;
	int status = pv_vm_wrong_state(vm, action, err);
	pv_loop_unlock(vm->host->loop);
	return status;
}

int pv_vm_pause(struct pv_vm *vm, struct pv_err *err)
{
	int status = enter(vm, PV_VM_BOOTED, "pause", err);
	if (status)
		return status;
	pv_loop_unlock(vm->host->loop);
	status = pv_machine_pause(vm->machine, err);
	pv_loop_lock(vm->host->loop);
	/* The guest may have died meanwhile; then the state says so. */
	if (!status && vm->state == PV_VM_BOOTED)
		vm->state = PV_VM_PAUSED;
	pv_loop_unlock(vm->host->loop);
	return status ? pv_err_prefix(err, "vm `%s`: cannot pause", vm->name) : 0;
}

int pv_vm_resume(struct pv_vm *vm, struct pv_err *err)
{
	int status = enter(vm, PV_VM_PAUSED, "resume", err);
	if (status)
		return status;
	vm->state = PV_VM_BOOTED;
	pv_loop_unlock(vm->host->loop);
	status = pv_machine_resume(vm->machine, err);
	if (status)
		return pv_err_prefix(err, "vm `%s`: cannot resume", vm->name);
	pv_loop_lock(vm->host->loop);
	pv_vm_link_tell_wall(vm);
	pv_loop_unlock(vm->host->loop);
	return 0;
}

int pv_vm_reset(struct pv_vm *vm, struct pv_err *err)
{
	int status = enter(vm, PV_VM_BOOTED, "reset", err);
	if (status)
		return status;
	pv_agent_drop(vm->agent, "the VM was reset", true);
	pv_loop_unlock(vm->host->loop);
	/* The machine reports the new boot by its `rebooted` event, which marks the log. */
	status = pv_machine_reset(vm->machine, err);
	if (status)
		return pv_err_prefix(err, "vm `%s`: cannot reset", vm->name);
	pv_boot_kit_cool(vm->kit);
	pv_loop_lock(vm->host->loop);
	status = pv_vm_wait_agent(vm, "reset", pv_clock_deadline(vm->agent_wait_ns), err);
	pv_loop_unlock(vm->host->loop);
	return status;
}

int pv_vm_wakeup(struct pv_vm *vm, struct pv_err *err)
{
	int status = enter(vm, PV_VM_BOOTED, "wakeup", err);
	if (status)
		return status;
	pv_loop_unlock(vm->host->loop);
	status = pv_machine_wakeup(vm->machine, err);
	if (status)
		return pv_err_prefix(err, "vm `%s`: cannot wake up", vm->name);
	pv_loop_lock(vm->host->loop);
	pv_vm_link_await_return(vm);
	status = pv_vm_wait_agent(vm, "wakeup", pv_clock_deadline(vm->agent_wait_ns), err);
	pv_loop_unlock(vm->host->loop);
	return status;
}

bool pv_vm_is_suspended(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	const bool is_suspended = vm->machine && pv_machine_is_suspended(vm->machine);
	pv_loop_unlock(vm->host->loop);
	return is_suspended;
}

int pv_vm_power_button(struct pv_vm *vm, struct pv_err *err)
{
	int status = enter(vm, PV_VM_BOOTED, "power_button", err);
	if (status)
		return status;
	if (pv_machine_is_suspended(vm->machine)) {
		pv_loop_unlock(vm->host->loop);
		return pv_err_set(err, PV_ERR_STATE, EBADFD,
		    "vm `%s` is suspended; use wakeup() (cannot power_button)", vm->name);
	}
	status = pv_machine_power_button(vm->machine);
	int64_t deadline = pv_clock_deadline(vm->agent_wait_ns);
	const unsigned endings = vm->reports.endings;
	/* The agent ends before the machine does, so its loss is no verdict here. */
	while (!status && !vm->stopped && !vm->host->interrupt && vm->reports.endings == endings)
		status = pv_loop_wait(vm->host->loop, deadline);
	if (vm->host->interrupt)
		status = pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: power_button: %s",
		    vm->name, vm->host->interrupt);
	else if (pv_vm_verdict_since(vm, endings, "power_button", err))
		status = -EFAULT;
	else if (vm->powered_off)
		status = 0;
	else if (vm->stopped)
		status = pv_vm_wrong_state(vm, "power_button", err);
	else
		status = pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT,
		    "vm `%s`: the guest did not power off within %.3g s of the power button; its "
		    "kernel needs ACPI button support (module "
		    "`button`) and an init that reacts to it",
		    vm->name, (double)vm->agent_wait_ns / (double)PV_CLOCK_SECOND);
	pv_loop_unlock(vm->host->loop);
	if (!status)
		pv_vm_shutdown(vm);
	return status;
}

const char *pv_vm_name(const struct pv_vm *vm)
{
	return vm->name;
}

const char *pv_vm_profile(const struct pv_vm *vm)
{
	return vm->profile->name;
}

enum pv_vm_state pv_vm_state(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	enum pv_vm_state state = vm->state;
	pv_loop_unlock(vm->host->loop);
	return state;
}

const char *pv_vm_state_name(enum pv_vm_state state)
{
	static const char *const names[] = {
	    [PV_VM_CREATED] = "created",
	    [PV_VM_BOOTED] = "booted",
	    [PV_VM_PAUSED] = "paused",
	    [PV_VM_SHUTDOWN] = "shutdown",
	    [PV_VM_DEAD] = "dead",
	};
	return names[state];
}

uint32_t pv_vm_cid(const struct pv_vm *vm)
{
	return vm->cid;
}

uint64_t pv_vm_memory(const struct pv_vm *vm)
{
	const struct pv_options *options = vm->machine ? &vm->boot : &vm->created_with;
	return options->has_memory ? options->memory : PV_OPTIONS_MEMORY_DEFAULT;
}

unsigned pv_vm_cpus(const struct pv_vm *vm)
{
	const struct pv_options *options = vm->machine ? &vm->boot : &vm->created_with;
	return options->has_cpus ? options->cpus : 1;
}

unsigned pv_vm_in_flight(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	unsigned count = pv_agent_in_flight(vm->agent);
	pv_loop_unlock(vm->host->loop);
	return count;
}

unsigned pv_vm_open_streams(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	unsigned count = vm->open_streams;
	pv_loop_unlock(vm->host->loop);
	return count;
}

int pv_vm_agent(struct pv_vm *vm, const char *action, struct pv_agent **out, struct pv_err *err)
{
	int status = enter(vm, PV_VM_BOOTED, action, err);
	if (status)
		return status;
	/* A guest that reboots on its own is booted all the while; its agent comes back. */
	if (!pv_agent_is_ready(vm->agent) || vm->host->interrupt ||
	    (vm->machine && pv_machine_is_suspended(vm->machine)))
		status = pv_vm_wait_agent(vm, action, pv_clock_deadline(vm->agent_wait_ns), err);
	pv_loop_unlock(vm->host->loop);
	*out = vm->agent;
	return status;
}
