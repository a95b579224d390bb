/*
 * What a lab does to all its VMs at once (spec 5.3). Theory: a batch walks all VMs of the tree once
 * each and goes on after a failure; the failures are collected into one report. Booting begins all
 * and then waits for all, so that the guests come up side by side. Pausing, resuming and shutting
 * down take well below a millisecond each and are done one after another.
 *
 * A VM that is where the batch leads already is left alone; for one that cannot get there, the
 * error says what is in the way. Script thread.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/lab.h"
#include "lab/lab_tree.h"
#include "lab/vm.h"
#include "lab/vm_private.h"

struct batch {
	const char *action;
	struct pv_lab_tree tree;
	struct pv_bytes *report;
	unsigned failures;
};

static int begin(struct batch *batch, const char *action, struct pv_lab *lab,
    struct pv_bytes *report, struct pv_err *err)
{
	*batch = (struct batch){.action = action, .report = report};
	return pv_lab_tree_init(&batch->tree, lab, err);
}

/* Adds "<vm>: <error>". Out of memory shortens the report, the failure itself is not lost. */
static void add_failure(struct batch *batch, size_t index, const struct pv_err *failure)
{
	struct pv_bytes *out = batch->report;
	if (batch->failures++)
		(void)pv_bytes_printf(out, ", ");
	else
		(void)pv_bytes_printf(out, "batch `%s` failed: {", batch->action);
	(void)pv_lab_tree_path(&batch->tree, index, out);
	(void)pv_bytes_printf(out, ": %s", failure->text);
}

/* `status` is what the beginning said. */
static int end(struct batch *batch, int status, struct pv_err *err)
{
	pv_lab_tree_finish(&batch->tree);
	if (status || !batch->failures)
		return status;
	(void)pv_bytes_printf(batch->report, "}");
	const char *text = pv_bytes_text(batch->report);
	return pv_err_set(err, PV_ERR_GUEST, EIO, "%s", text ? text : "not enough memory");
}

int pv_lab_boot(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err)
{
	struct batch batch;
	int status = begin(&batch, "boot", lab, report, err);
	const struct pv_lab_tree *tree = &batch.tree;
	bool *begun = status ? NULL : calloc(tree->vm_count + 1, sizeof(*begun));
	if (!status && !begun)
		status = pv_err_nomem(err, "batch boot");
	for (size_t i = 0; begun && i < tree->vm_count; i++) {
		struct pv_err failure = PV_ERR_INIT;
		if (tree->vms[i].first != i || pv_vm_state(tree->vms[i].vm) != PV_VM_CREATED)
			continue;
		begun[i] = pv_vm_boot_begin(tree->vms[i].vm, NULL, &failure) == 0;
		if (!begun[i])
			add_failure(&batch, i, &failure);
	}
	for (size_t i = 0; begun && i < tree->vm_count; i++) {
		struct pv_err failure = PV_ERR_INIT;
		if (begun[i] && pv_vm_boot_wait(tree->vms[i].vm, &failure))
			add_failure(&batch, i, &failure);
	}
	free(begun);
	return end(&batch, status, err);
}

static int each(struct pv_lab *lab, const char *action, enum pv_vm_state goal,
    int (*act)(struct pv_vm *vm, struct pv_err *err), struct pv_bytes *report, struct pv_err *err)
{
	struct batch batch;
	int status = begin(&batch, action, lab, report, err);
	const struct pv_lab_tree *tree = &batch.tree;
	for (size_t i = 0; i < tree->vm_count && !status; i++) {
		struct pv_err failure = PV_ERR_INIT;
		struct pv_vm *vm = tree->vms[i].vm;
		if (tree->vms[i].first == i && pv_vm_state(vm) != goal && act(vm, &failure))
			add_failure(&batch, i, &failure);
	}
	return end(&batch, status, err);
}

int pv_lab_pause(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err)
{
	return each(lab, "pause", PV_VM_PAUSED, pv_vm_pause, report, err);
}

int pv_lab_resume(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err)
{
	return each(lab, "resume", PV_VM_BOOTED, pv_vm_resume, report, err);
}

static int shut_down(struct pv_vm *vm, struct pv_err *err)
{
	(void)err;
	pv_vm_shutdown(vm);
	return 0;
}

int pv_lab_shutdown(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err)
{
	return each(lab, "shutdown", PV_VM_SHUTDOWN, shut_down, report, err);
}
