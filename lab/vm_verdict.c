/*
 * A VM hears its consoles: the bytes go to a scan (lab/report_scan.h) as they come, and a report
 * that is whole goes to the host's list (lab/verdict.h) and ends what waits for this guest, with
 * its text: calls of the agent, and everything else that looks at `endings` when it wakes.
 *
 * A report has no length. It is whole at its end mark, or when the consoles have been silent for a
 * moment, or a little before a second has passed, so that an operation ends within one; a timer of
 * the loop is armed while one is being collected, and only then.
 *
 * After a panic the guest will never answer, so the connection to its agent is given up and the
 * report stands: operations fail with it at once, until the guest boots, is rewound, or its agent
 * connects anew after all (a text that looked like a panic). Any other report stands in this sense
 * only while the agent is not there, that is during a boot.
 *
 * Under the loop lock, on whatever thread the console's device runs.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "lab/host.h"
#include "lab/vm_private.h"

/* Between two lines of one report kernels pause less, even when the host is busy. */
#define SILENCE (PV_CLOCK_SECOND * 4 / 10)
/* From a report's first line until it is told. */
#define COLLECTING_MAX (PV_CLOCK_SECOND * 8 / 10)
/* How long the end of a line is waited for. */
#define LINE_MAX_WAIT (PV_CLOCK_SECOND / 5)

_Static_assert(PV_REPORT_SCAN_CONSOLES == PV_MACHINE_CONSOLE_VIRTIO + 1, "one scan a console");

/* --- a report is there --- */

static void end_waits(struct pv_vm *vm, const struct pv_kernel_report *report)
{
	struct pv_vm_reports *reports = &vm->reports;
	const bool panicked = report->kind == PV_KERNEL_REPORT_PANIC;
	pv_kernel_report_show(report, reports->text, sizeof(reports->text));
	reports->endings++;
	reports->stands = panicked || !pv_agent_is_ready(vm->agent);
	pv_vm_cancel(vm, reports->text);
	if (panicked)
		pv_agent_drop(vm->agent, reports->text, true);
}

static void on_told(void *ctx, const struct pv_kernel_report *report)
{
	struct pv_vm *vm = ctx;
	pv_verdict_add(vm->host, vm->name, report);
	if (!vm->host->reports_expected || report->kind == PV_KERNEL_REPORT_PANIC)
		end_waits(vm, report);
	pv_loop_wake(vm->host->loop);
}

/* --- the clock --- */

static void set_timer(struct pv_vm *vm);

static void on_timer(void *ctx)
{
	struct pv_vm *vm = ctx;
	const int64_t now = pv_clock_now();
	if (now >= vm->reports.heard_ns + SILENCE)
		pv_report_scan_silent(&vm->reports.scan);
	else if (now >= vm->reports.begun_ns + COLLECTING_MAX)
		pv_report_scan_hurry(&vm->reports.scan);
	set_timer(vm);
}

static void set_timer(struct pv_vm *vm)
{
	struct pv_vm_reports *reports = &vm->reports;
	const enum pv_report_scan_state state = pv_report_scan_state(&reports->scan);
	if (state == PV_REPORT_SCAN_QUIET)
		return;
	int64_t deadline = reports->heard_ns + SILENCE;
	if (state == PV_REPORT_SCAN_COLLECTING && deadline > reports->begun_ns + COLLECTING_MAX)
		deadline = reports->begun_ns + COLLECTING_MAX;
	if (pv_loop_timer_set(vm->host->loop, &reports->timer, deadline, on_timer, vm))
		pv_report_scan_silent(&reports->scan);
}

/* --- for the other files of the VM --- */

void pv_vm_verdict_init(struct pv_vm *vm)
{
	pv_report_scan_init(&vm->reports.scan, on_told, vm);
}

void pv_vm_verdict_hear(
    struct pv_vm *vm, enum pv_machine_console console, const void *data, size_t len)
{
	struct pv_vm_reports *reports = &vm->reports;
	const enum pv_report_scan_state before = pv_report_scan_state(&reports->scan);
	pv_report_scan_feed(&reports->scan, console, data, len);
	const enum pv_report_scan_state state = pv_report_scan_state(&reports->scan);
	if (state == PV_REPORT_SCAN_QUIET) {
		if (before != PV_REPORT_SCAN_QUIET)
			pv_loop_timer_clear(&reports->timer);
		return;
	}
	reports->heard_ns = pv_clock_now();
	if (state == PV_REPORT_SCAN_COLLECTING && before != PV_REPORT_SCAN_COLLECTING)
		reports->begun_ns = reports->heard_ns;
	/* Moving the timer for each byte is not worth it: it looks when it fires. */
	if (state != before)
		set_timer(vm);
}

void pv_vm_verdict_hurry(struct pv_vm *vm)
{
	pv_report_scan_hurry(&vm->reports.scan);
}

void pv_vm_verdict_gone(struct pv_vm *vm)
{
	pv_report_scan_restart(&vm->reports.scan);
	pv_loop_timer_clear(&vm->reports.timer);
}

void pv_vm_verdict_restart(struct pv_vm *vm)
{
	pv_vm_verdict_gone(vm);
	vm->reports.stands = false;
}

void pv_vm_verdict_finish(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	pv_loop_timer_clear(&vm->reports.timer);
	pv_loop_unlock(vm->host->loop);
	pv_report_scan_finish(&vm->reports.scan);
}

int pv_vm_verdict_since(
    const struct pv_vm *vm, unsigned endings, const char *what, struct pv_err *err)
{
	if (vm->reports.endings == endings)
		return 0;
	return pv_err_set(
	    err, PV_ERR_GUEST, EFAULT, "vm `%s`: %s: %s", vm->name, what, vm->reports.text);
}

unsigned pv_vm_endings(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	unsigned endings = vm->reports.endings;
	pv_loop_unlock(vm->host->loop);
	return endings;
}

int pv_vm_check_endings(struct pv_vm *vm, unsigned endings, const char *what, struct pv_err *err)
{
	pv_loop_lock(vm->host->loop);
	int status = pv_vm_verdict_since(vm, endings, what, err);
	pv_loop_unlock(vm->host->loop);
	return status;
}

/* --- for the test framework --- */

static bool is_collecting(const struct pv_host *host)
{
	for (unsigned i = 0; i < host->vm_count; i++) {
		if (pv_report_scan_state(&host->vms[i]->reports.scan) == PV_REPORT_SCAN_COLLECTING)
			return true;
	}
	return false;
}

static bool is_in_line(const struct pv_host *host)
{
	for (unsigned i = 0; i < host->vm_count; i++) {
		if (pv_report_scan_may_begin(&host->vms[i]->reports.scan))
			return true;
	}
	return false;
}

void pv_verdict_settle(struct pv_host *host)
{
	pv_loop_lock(host->loop);
	const int64_t line_end = pv_clock_deadline(LINE_MAX_WAIT);
	/* A guest that prints reports for ever must not hold the test. */
	const int64_t end = pv_clock_deadline(LINE_MAX_WAIT + COLLECTING_MAX);
	while (!host->interrupt) {
		const int64_t now = pv_clock_now();
		const int64_t deadline = is_collecting(host) ? end : line_end;
		if (now >= deadline || (deadline == line_end && !is_in_line(host)))
			break;
		pv_loop_wait(host->loop, deadline);
	}
	for (unsigned i = 0; i < host->vm_count; i++)
		pv_report_scan_hurry(&host->vms[i]->reports.scan);
	pv_loop_unlock(host->loop);
}
