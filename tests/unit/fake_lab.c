/*
 * See fake_lab.h. Linked together with the real lab/lab.c, lab/options.c and lab/config.c, in place
 * of the host, the VMs and the agent client.
 */
#include "tests/unit/fake_lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lab/host.h"
#include "lab/vm.h"
#include "tests/unit/fake_guest.h"

unsigned fake_lab_vms;
char fake_lab_last_boot[4096];

/* --- host --- */

int pv_host_init(struct pv_host *host, const struct pv_config *config,
    const struct pv_host_events *events, void *ctx, struct pv_err *err)
{
	*host = (struct pv_host){
	    .config = config, .events = events, .events_ctx = ctx, .next_cid = 100};
	int status = pv_loop_create(&host->loop, err);
	return status ? status : pv_loop_start(host->loop, err);
}

void pv_host_finish(struct pv_host *host)
{
	pv_loop_destroy(host->loop);
	free(host->interrupt);
	pv_verdicts_finish(&host->verdicts);
}

void pv_host_interrupt_locked(struct pv_host *host, const char *reason)
{
	if (host->interrupt)
		return;
	host->interrupt = strdup(reason);
	atomic_store(&host->interrupted, true);
	pv_loop_wake(host->loop);
}

void pv_host_interrupt(struct pv_host *host, const char *reason)
{
	pv_loop_lock(host->loop);
	pv_host_interrupt_locked(host, reason);
	pv_loop_unlock(host->loop);
}

void pv_host_clear_interrupt(struct pv_host *host)
{
	pv_loop_lock(host->loop);
	free(host->interrupt);
	host->interrupt = NULL;
	atomic_store(&host->interrupted, false);
	pv_loop_unlock(host->loop);
}

/* --- VM --- */

int pv_vm_create(struct pv_vm **out, struct pv_host *host, const char *name,
    const struct pv_profile *profile, const struct pv_options *options, struct pv_err *err)
{
	struct fake_vm *fake = calloc(1, sizeof(*fake));
	fake->vm =
	    (struct pv_vm){.references = 1, .host = host, .name = strdup(name), .profile = profile};
	fake->agent.host = host;
	fake->agent.vm = fake->vm.name;
	if (host->vm_count < PV_HOST_VMS_MAX)
		host->vms[host->vm_count++] = &fake->vm;
	if (options != NULL && pv_options_merge(&fake->vm.created_with, options, err) < 0)
		return -ENOMEM;
	fake_lab_vms++;
	*out = &fake->vm;
	return 0;
}

struct pv_vm *pv_vm_ref(struct pv_vm *vm)
{
	vm->references++;
	return vm;
}

void pv_vm_unref(struct pv_vm *vm)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (vm == NULL || --vm->references > 0)
		return;
	pv_loop_lock(vm->host->loop);
	pv_loop_timer_clear(&fake->agent.timer);
	pv_loop_unlock(vm->host->loop);
	for (unsigned i = 0; i < vm->host->vm_count; i++) {
		if (vm->host->vms[i] == vm)
			vm->host->vms[i] = vm->host->vms[--vm->host->vm_count];
	}
	for (size_t i = 0; i < fake->agent.file_count; i++) {
		free(fake->agent.files[i].path);
		pv_bytes_finish(&fake->agent.files[i].content);
	}
	free(fake->agent.files);
	pv_bytes_finish(&fake->console);
	pv_options_finish(&vm->created_with);
	free(vm->name);
	free(fake);
	fake_lab_vms--;
}

static void describe_boot(const struct pv_options *options)
{
	struct pv_bytes text = {0};
	if (options->has_memory)
		pv_bytes_printf(&text, "memory=%llu ", (unsigned long long)options->memory);
	if (options->has_cpus)
		pv_bytes_printf(&text, "cpus=%u ", options->cpus);
	if (options->has_rng_seed)
		pv_bytes_printf(&text, "rng_seed=%llu ", (unsigned long long)options->rng_seed);
	if (options->has_initial_time)
		pv_bytes_printf(
		    &text, "initial_time_ns=%lld ", (long long)options->initial_time_ns);
	if (options->has_agent_timeout)
		pv_bytes_printf(
		    &text, "agent_timeout_ns=%lld ", (long long)options->agent_timeout_ns);
	if (options->kernel_cmdline != NULL)
		pv_bytes_printf(&text, "cmdline=%s ", options->kernel_cmdline);
	if (options->kernel_cmdline_append != NULL)
		pv_bytes_printf(&text, "append=%s ", options->kernel_cmdline_append);
	for (size_t i = 0; i < options->file_count; i++)
		pv_bytes_printf(&text, "file=%s:%o:%zu ", options->files[i].path,
		    options->files[i].mode, options->files[i].len);
	size_t len =
	    text.len < sizeof(fake_lab_last_boot) - 1 ? text.len : sizeof(fake_lab_last_boot) - 1;
	if (len > 0)
		memcpy(fake_lab_last_boot, text.data, len);
	fake_lab_last_boot[len] = '\0';
	pv_bytes_finish(&text);
}

int pv_vm_boot(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (vm->host->interrupt != NULL)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: boot: %s", vm->name,
		    vm->host->interrupt);
	if (vm->state != PV_VM_CREATED)
		return pv_err_set(
		    err, PV_ERR_STATE, EBADFD, "vm `%s`: already booted (cannot boot)", vm->name);
	if (options != NULL && pv_options_merge(&vm->created_with, options, err) < 0)
		return -ENOMEM;
	describe_boot(&vm->created_with);
	const char *append =
	    vm->created_with.kernel_cmdline_append ? vm->created_with.kernel_cmdline_append : "";
	if (strcmp(append, "refuse") == 0) {
		vm->state = PV_VM_DEAD;
		return pv_err_set(
		    err, PV_ERR_INPUT, ENOENT, "vm `%s`: kernel `/nowhere`: not there", vm->name);
	}
	vm->cid = vm->host->next_cid++;
	if (strcmp(append, "hang") == 0) {
		for (int i = 0; i < 100; i++)
			pv_bytes_printf(
			    &fake->console, "line %d of a console with some text in it\r\n", i);
		pv_bytes_printf(&fake->console, "last words");
		vm->state = PV_VM_DEAD;
		return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT,
		    "vm `%s`: agent did not come up within 12s", vm->name);
	}
	if (strcmp(append, "binary") == 0)
		pv_bytes_append(&fake->console, "a\0b\xff\xfe\r\n", 7);
	else
		pv_bytes_printf(&fake->console, "boot of %s\r\n%s", vm->name, append);
	vm->state = PV_VM_BOOTED;
	return 0;
}

int pv_vm_boot_begin(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err)
{
	return pv_vm_boot(vm, options, err);
}

int pv_vm_boot_wait(struct pv_vm *vm, struct pv_err *err)
{
	return 0;
}

static int change(struct pv_vm *vm, enum pv_vm_state from, enum pv_vm_state to, const char *action,
    struct pv_err *err)
{
	if (vm->state != from)
		return pv_err_set(err, PV_ERR_STATE, EBADFD, "vm `%s`: state is %s (cannot %s)",
		    vm->name, pv_vm_state_name(vm->state), action);
	vm->state = to;
	return 0;
}

int pv_vm_pause(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_BOOTED, PV_VM_PAUSED, "pause", err);
}

int pv_vm_resume(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_PAUSED, PV_VM_BOOTED, "resume", err);
}

int pv_vm_reset(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_BOOTED, PV_VM_BOOTED, "reset", err);
}

int pv_vm_advance(struct pv_vm *vm, int64_t ns, struct pv_err *err)
{
	if (ns < 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "monotonic time cannot go back");
	return change(vm, PV_VM_BOOTED, PV_VM_BOOTED, "advance", err);
}

int pv_vm_wakeup(struct pv_vm *vm, struct pv_err *err)
{
	int status = change(vm, PV_VM_BOOTED, PV_VM_BOOTED, "wakeup", err);
	return status ? status
		      : pv_err_set(err, PV_ERR_STATE, EINVAL, "the guest is not suspended");
}

bool pv_vm_is_suspended(struct pv_vm *vm)
{
	return false; /* fake guests never sleep */
}

int pv_vm_power_button(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_BOOTED, PV_VM_SHUTDOWN, "power_button", err);
}

void pv_vm_shutdown(struct pv_vm *vm)
{
	vm->state = PV_VM_SHUTDOWN;
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
	return vm->state;
}

const char *pv_vm_state_name(enum pv_vm_state state)
{
	static const char *const names[] = {"created", "booted", "paused", "shutdown", "dead"};
	return names[state];
}

uint32_t pv_vm_cid(const struct pv_vm *vm)
{
	return vm->cid;
}

unsigned pv_vm_endings(struct pv_vm *vm)
{
	return 0;
}

int pv_vm_check_endings(struct pv_vm *vm, unsigned endings, const char *what, struct pv_err *err)
{
	return 0;
}

unsigned pv_vm_in_flight(struct pv_vm *vm)
{
	return 0;
}

int pv_vm_agent(struct pv_vm *vm, const char *action, struct pv_agent **out, struct pv_err *err)
{
	if (vm->state != PV_VM_BOOTED)
		return pv_err_set(
		    err, PV_ERR_STATE, EBADFD, "vm `%s`: not booted (cannot %s)", vm->name, action);
	*out = &((struct fake_vm *)vm)->agent;
	return 0;
}

/* --- console --- */

int pv_vm_console_log(struct pv_vm *vm, struct pv_bytes *out)
{
	const struct pv_bytes *console = &((struct fake_vm *)vm)->console;
	return pv_bytes_append(out, console->data, console->len);
}

int pv_vm_console_tail(struct pv_vm *vm, size_t limit, struct pv_bytes *out)
{
	const struct pv_bytes *console = &((struct fake_vm *)vm)->console;
	size_t len = console->len < limit ? console->len : limit;
	return len > 0 ? pv_bytes_append(out, console->data + console->len - len, len) : 0;
}

int pv_vm_console_expect(
    struct pv_vm *vm, const void *pattern, size_t len, int64_t deadline_ns, struct pv_err *err)
{
	const struct pv_bytes *console = &((struct fake_vm *)vm)->console;
	struct pv_host *host = vm->host;
	if (console->len > 0 && memmem(console->data, console->len, pattern, len) != NULL)
		return 0;
	pv_loop_lock(host->loop);
	while (host->interrupt == NULL && pv_loop_wait(host->loop, deadline_ns) == 0)
		;
	int status = host->interrupt != NULL ? pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED,
						   "vm `%s`: expect: %s", vm->name, host->interrupt)
					     : pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT, "late");
	pv_loop_unlock(host->loop);
	return status;
}

int pv_vm_console_write(
    struct pv_vm *vm, const void *data, size_t len, int64_t deadline_ns, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (len == 5 && memcmp(data, "stuck", 5) == 0)
		return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT, "late");
	return pv_bytes_append(&fake->console, data, len);
}
