/*
 * The console of a VM: its log, waiting for text in it, and typing. Theory: the log grows under the
 * loop lock as the machine reports output, and every report wakes waiters; so an expectation costs
 * nothing while the guest is silent. Typing waits in the same manner for the guest to take what it
 * was given, and ends with the boot that it was for.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "lab/host.h"
#include "lab/vm_private.h"

int pv_vm_console_log(struct pv_vm *vm, struct pv_bytes *out)
{
	return pv_vm_console_tail(vm, SIZE_MAX, out);
}

int pv_vm_console_tail(struct pv_vm *vm, size_t limit, struct pv_bytes *out)
{
	pv_loop_lock(vm->host->loop);
	const struct pv_bytes *text = &vm->log.text;
	size_t len = text->len < limit ? text->len : limit;
	int status = len ? pv_bytes_append(out, text->data + (text->len - len), len) : 0;
	pv_loop_unlock(vm->host->loop);
	return status;
}

int pv_vm_console_expect(
    struct pv_vm *vm, const void *pattern, size_t len, int64_t deadline_ns, struct pv_err *err)
{
	uint64_t from = 0;
	int status = 0;
	pv_loop_lock(vm->host->loop);
	const unsigned endings = vm->reports.endings;
	while (!status && !pv_console_log_find(&vm->log, pattern, len, &from)) {
		if (vm->host->interrupt)
			status = pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED,
			    "vm `%s`: console:expect: %s", vm->name, vm->host->interrupt);
		else if (vm->reports.endings != endings)
			status = pv_vm_verdict_since(vm, endings, "console:expect", err);
		else if (vm->state != PV_VM_BOOTED && vm->state != PV_VM_PAUSED)
			/* Nothing more will be printed: say so now rather than at the deadline. */
			status = pv_err_set(err, PV_ERR_GUEST, ESHUTDOWN,
			    "console:expect: vm `%s` is %s and never printed `%.*s`%s%s", vm->name,
			    pv_vm_state_name(vm->state), (int)(len < 200 ? len : 200),
			    (const char *)pattern, vm->state == PV_VM_DEAD ? ": " : "",
			    vm->state == PV_VM_DEAD ? vm->death : "");
		else if (vm->state == PV_VM_PAUSED)
			/* Only who waits here could let it go on. */
			status = pv_vm_wrong_state(vm, "console:expect", err);
		else if (pv_loop_wait(vm->host->loop, deadline_ns))
			status = pv_console_log_find(&vm->log, pattern, len, &from)
				     ? 0
				     : pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT,
					   "console:expect timed out waiting for `%.*s`",
					   (int)(len < 200 ? len : 200), (const char *)pattern);
		else
			continue;
		break;
	}
	pv_loop_unlock(vm->host->loop);
	return status;
}

int pv_vm_console_write(
    struct pv_vm *vm, const void *data, size_t len, int64_t deadline_ns, struct pv_err *err)
{
	const char *rest = data;
	int status = 0;
	pv_loop_lock(vm->host->loop);
	const unsigned endings = vm->reports.endings;
	const uint64_t boot = vm->log.boot_start;
	while (len && !status) {
		if (vm->host->interrupt) {
			status = pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED,
			    "vm `%s`: console:write: %s", vm->name, vm->host->interrupt);
		} else if (vm->reports.endings != endings) {
			status = pv_vm_verdict_since(vm, endings, "console:write", err);
		} else if (vm->state != PV_VM_BOOTED || !vm->machine) {
			status = pv_vm_wrong_state(vm, "console:write", err);
		} else if (vm->log.boot_start != boot) {
			status = pv_err_set(err, PV_ERR_GUEST, ECONNRESET,
			    "vm `%s`: console:write: the guest was rebooted, %zu bytes were not "
			    "taken",
			    vm->name, len);
		} else {
			size_t taken = pv_machine_console_input(vm->machine, rest, len);
			rest += taken;
			len -= taken;
			int64_t now = pv_clock_now();
			if (!len)
				break;
			if (now >= deadline_ns)
				status = pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT,
				    "console:write timed out with %zu bytes not taken", len);
			else if (!taken)
				pv_loop_wait(vm->host->loop, deadline_ns);
		}
	}
	pv_loop_unlock(vm->host->loop);
	return status;
}
