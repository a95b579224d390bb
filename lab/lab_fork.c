/*
 * Running copies of VMs. Theory: a fork is a snapshot in memory that nobody else sees and that is
 * restored once per copy; copies are VMs of the lab like all others, with names made of the
 * parent's. Script thread.
 */
#include <errno.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/lab_private.h"
#include "lab/snapshot.h"
#include "lab/vm.h"

/* Sets the first free name of a copy, from number `*next` on. */
static int name_copy(const struct pv_lab *lab, const struct pv_vm *parent, unsigned *next,
    struct pv_bytes *name, struct pv_err *err)
{
	do {
		pv_bytes_finish(name);
		if (pv_bytes_printf(name, "%s#%u", pv_vm_name(parent), (*next)++) ||
		    !pv_bytes_text(name))
			return pv_err_nomem(err, "vm name");
	} while (pv_lab_find_vm(lab, pv_bytes_text(name)));
	return 0;
}

static int add_copy(struct pv_lab *lab, const struct pv_vm *parent, struct pv_snapshot *snapshot,
    unsigned *next, struct pv_err *err)
{
	struct pv_bytes name = {0};
	struct pv_vm *vm = NULL;
	int status = name_copy(lab, parent, next, &name, err);
	if (!status)
		status = pv_vm_create_like(&vm, pv_bytes_text(&name), parent, err);
	pv_bytes_finish(&name);
	if (status)
		return status;
	status = pv_vm_restore_like(vm, parent, snapshot, err);
	if (!status)
		status = pv_lab_adopt_vm(lab, vm, err);
	pv_vm_unref(vm);
	return status;
}

int pv_lab_fork_vm(struct pv_lab *lab, struct pv_vm *parent, unsigned count, struct pv_err *err)
{
	struct pv_snapshot *snapshot = NULL;
	const size_t before = pv_lab_vm_count(lab);
	unsigned next = 1;
	int status = pv_vm_snapshot(parent, NULL, &snapshot, err);
	for (unsigned i = 0; i < count && !status; i++)
		status = add_copy(lab, parent, snapshot, &next, err);
	while (status && pv_lab_vm_count(lab) > before)
		pv_lab_disown_vm(lab, pv_lab_vm_at(lab, pv_lab_vm_count(lab) - 1));
	pv_snapshot_destroy(snapshot);
	return status;
}
