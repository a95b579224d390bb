/*
 * From created to booted. Theory: `begin` puts kernel, command line and initramfs together and
 * starts the machine; `wait` sleeps until the agent has shaken hands, or until it is certain that
 * it never will: the guest powered off, crashed, its kernel reported trouble (read from its
 * console), its agent speaks another protocol, the deadline passed, or the test ran out of time.
 * Every one of these is a sentence of its own, and the console log stays readable behind it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/units.h"
#include "lab/boot_kit.h"
#include "lab/host.h"
#include "lab/profile.h"
#include "lab/vm_private.h"

/* How often a slow boot is mentioned. */
#define NOTE_EVERY (5 * PV_CLOCK_SECOND)

/* --- what the machine reports, under the loop lock --- */

static void on_console(void *ctx, enum pv_machine_console console, const void *data, size_t len)
{
	struct pv_vm *vm = ctx;
	pv_console_log_append(&vm->log, data, len);
	pv_vm_verdict_hear(vm, console, data, len);
	pv_loop_wake(vm->host->loop);
}

static void on_rebooted(void *ctx)
{
	struct pv_vm *vm = ctx;
	/* Before the connection goes: a panic says more than the reboot that followed it. */
	pv_vm_verdict_restart(vm);
	pv_console_log_mark_boot(&vm->log);
	pv_agent_drop(vm->agent, "the guest rebooted", true);
	if (vm->state == PV_VM_DEAD) {
		vm->state = PV_VM_BOOTED;
		vm->death[0] = '\0';
	}
	pv_loop_wake(vm->host->loop);
}

static void on_stopped(void *ctx, const struct pv_machine_stop *stop)
{
	struct pv_vm *vm = ctx;
	pv_vm_verdict_gone(vm);
	const char *report = vm->reports.stands ? vm->reports.text : "";
	vm->stopped = true;
	vm->powered_off = stop->kind == PV_MACHINE_STOP_POWER_OFF;
	snprintf(vm->death, sizeof(vm->death), "%.*s%s%.600s", (int)strcspn(report, "\n"), report,
	    *report ? "; then " : "", vm->powered_off ? "the guest powered off" : stop->text);
	vm->state = PV_VM_DEAD;
	pv_agent_drop(vm->agent, vm->death, true);
	pv_loop_wake(vm->host->loop);
}

static void on_suspended(void *ctx)
{
	struct pv_vm *vm = ctx;
	pv_agent_sleep(vm->agent, "the guest is suspended; use wakeup() before you wait for this");
	pv_loop_wake(vm->host->loop);
}

static const struct pv_machine_events machine_events = {
    .console = on_console,
    .rebooted = on_rebooted,
    .suspended = on_suspended,
    .stopped = on_stopped,
};

/* --- begin --- */

/* On the thread that resets the machine. */
static int fetch(void *ctx, struct pv_machine_boot *boot, struct pv_err *err)
{
	return pv_boot_kit_get(ctx, boot, err);
}

struct pv_machine_config pv_vm_boot_config(struct pv_vm *vm, struct pv_boot_kit *kit)
{
	return (struct pv_machine_config){
	    .memory_bytes = vm->boot.has_memory ? vm->boot.memory : PV_OPTIONS_MEMORY_DEFAULT,
	    .cpus = vm->boot.has_cpus ? vm->boot.cpus : 1,
	    .vsock_cid = vm->cid,
	    .rng_seed = vm->boot.has_rng_seed ? &vm->boot.rng_seed : NULL,
	    .initial_time_ns = vm->boot.has_initial_time ? &vm->boot.initial_time_ns : NULL,
	    .fetch = kit ? fetch : NULL,
	    .fetch_ctx = kit,
	    .events = &machine_events,
	    .events_ctx = vm,
	};
}

static int build_machine(struct pv_vm *vm, struct pv_err *err)
{
	struct pv_kvm *kvm = NULL;
	struct pv_machine_boot boot = {0};
	int status = pv_boot_kit_create(&vm->kit, vm->host, vm->profile, &vm->boot, err);
	if (!status)
		status = pv_boot_kit_get(vm->kit, &boot, err);
	if (!status)
		status = pv_host_kvm(vm->host, &kvm, err);
	if (status)
		return status;
	struct pv_machine_config config = pv_vm_boot_config(vm, vm->kit);
	config.kernel = boot.kernel;
	config.cmdline = boot.cmdline;
	config.initrd = &boot.initrd;
	config.initrd_parts = 1;
	status = pv_machine_create(&vm->machine, kvm, vm->host->loop, &config, err);
	pv_boot_kit_cool(vm->kit);
	return status;
}

static int start_machine(struct pv_vm *vm, struct pv_err *err)
{
	pv_loop_lock(vm->host->loop);
	pv_vm_verdict_restart(vm);
	vm->reports.endings_before = vm->reports.endings;
	pv_console_log_mark_boot(&vm->log);
	int status = pv_vm_link_listen(vm);
	pv_loop_unlock(vm->host->loop);
	if (status)
		return pv_err_system(err, -status, "cannot listen for the agent");
	vm->started_ns = pv_clock_now();
	return pv_machine_start(vm->machine, err);
}

int64_t pv_vm_agent_timeout(const struct pv_vm *vm)
{
	if (vm->boot.has_agent_timeout)
		return vm->boot.agent_timeout_ns;
	return (int64_t)(vm->profile->agent_boot_timeout * (double)PV_CLOCK_SECOND);
}

int pv_vm_boot_begin(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err)
{
	pv_loop_lock(vm->host->loop);
	int status = vm->state == PV_VM_CREATED ? 0 : pv_vm_wrong_state(vm, "boot", err);
	pv_loop_unlock(vm->host->loop);
	if (status)
		return status;
	status = pv_options_merge(&vm->boot, &vm->created_with, err);
	if (!status)
		status = pv_options_merge(&vm->boot, options, err);
	vm->agent_wait_ns = pv_vm_agent_timeout(vm);
	vm->stopped = vm->powered_off = false;
	vm->cid = vm->host->next_cid++;
	if (!status)
		status = build_machine(vm, err);
	if (!status)
		status = start_machine(vm, err);
	if (!status)
		return 0;
	/* Nothing ran yet: the VM is as before, and a corrected call may try again. */
	pv_vm_stop_machine(vm, PV_VM_CREATED);
	vm->cid = 0;
	return pv_err_prefix(err, "vm `%s`: cannot boot", vm->name);
}

/* --- wait --- */

/* Why the agent will not come, if that is certain already, or need not be waited for. `endings`:
 * reports before the wait. Returns 0 when it still may. */
static int find_verdict(struct pv_vm *vm, const char *what, unsigned endings, struct pv_err *err)
{
	if (vm->host->interrupt)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: %s: %s", vm->name, what,
		    vm->host->interrupt);
	/* Before what became of the guest then. */
	if (vm->reports.stands)
		endings = vm->reports.endings - 1;
	if (pv_vm_verdict_since(vm, endings, what, err))
		return -EFAULT;
	if (vm->powered_off)
		return pv_err_set(err, PV_ERR_GUEST, ESHUTDOWN,
		    "vm `%s`: %s: the guest powered off before its agent answered", vm->name, what);
	if (vm->state == PV_VM_DEAD || vm->state == PV_VM_SHUTDOWN)
		return pv_err_set(err, PV_ERR_GUEST, ESHUTDOWN,
		    "vm `%s`: %s: the guest died before its agent answered: %s", vm->name, what,
		    vm->death[0] ? vm->death : "it was shut down");
	if (vm->machine && pv_machine_is_suspended(vm->machine))
		return pv_err_set(err, PV_ERR_STATE, EBADFD,
		    "vm `%s` is suspended; use wakeup() (cannot %s)", vm->name, what);
	if (pv_agent_refusal(vm->agent))
		return pv_err_set(err, PV_ERR_GUEST, EPROTO, "vm `%s`: %s: %s", vm->name, what,
		    pv_agent_refusal(vm->agent));
	return 0;
}

static void tell_waiting(struct pv_vm *vm, const char *what, int64_t since_ns)
{
	const struct pv_host *host = vm->host;
	if (!host->events || !host->events->note)
		return;
	char text[256];
	snprintf(text, sizeof(text), "vm %s: %s: still waiting for the agent after %lld s",
	    vm->name, what, (long long)((pv_clock_now() - since_ns) / PV_CLOCK_SECOND));
	/* The listener writes to stderr; devices must not stand still meanwhile. */
	pv_loop_unlock(host->loop);
	host->events->note(host->events_ctx, text);
	pv_loop_lock(host->loop);
}

static int wait_agent(
    struct pv_vm *vm, const char *what, unsigned endings, int64_t deadline_ns, struct pv_err *err)
{
	int64_t since = pv_clock_now();
	int64_t next_note = since + NOTE_EVERY;
	for (;;) {
		int status = find_verdict(vm, what, endings, err);
		if (status || pv_agent_is_ready(vm->agent))
			return status;
		int64_t now = pv_clock_now();
		if (now >= deadline_ns) {
			char span[32];
			return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT,
			    "vm `%s`: %s: agent did not come up within %s", vm->name, what,
			    pv_units_show_duration(vm->agent_wait_ns, span, sizeof(span)));
		}
		if (now >= next_note) {
			tell_waiting(vm, what, since);
			next_note += NOTE_EVERY;
			continue;
		}
		pv_loop_wait(vm->host->loop, next_note < deadline_ns ? next_note : deadline_ns);
	}
}

int pv_vm_wait_agent(struct pv_vm *vm, const char *what, int64_t deadline_ns, struct pv_err *err)
{
	return wait_agent(vm, what, vm->reports.endings, deadline_ns, err);
}

void pv_vm_tell_spawned(struct pv_vm *vm)
{
	const struct pv_host *host = vm->host;
	vm->spawned = true;
	if (host->events && host->events->vm_spawned)
		host->events->vm_spawned(host->events_ctx, vm);
}

int pv_vm_boot_wait(struct pv_vm *vm, struct pv_err *err)
{
	const struct pv_host *host = vm->host;
	pv_loop_lock(host->loop);
	/* Since its start: others may have been waited for first. */
	int status = wait_agent(
	    vm, "boot", vm->reports.endings_before, vm->started_ns + vm->agent_wait_ns, err);
	if (!status)
		vm->state = PV_VM_BOOTED;
	pv_loop_unlock(host->loop);
	if (status) {
		pv_vm_stop_machine(vm, PV_VM_DEAD);
		return status;
	}
	pv_vm_tell_spawned(vm);
	return 0;
}

int pv_vm_boot(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err)
{
	int status = pv_vm_boot_begin(vm, options, err);
	return status ? status : pv_vm_boot_wait(vm, err);
}
