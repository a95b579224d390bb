/*
 * Walking through labs. Theory: breadth first, without recursion, because scripts decide how deep
 * it goes: the list of labs that were found is at once the list of those to look into. Labs form no
 * circles (lab/lab.c sees to that), but there may be several ways to one member; whoever does
 * something to every VM does it where `first` is the VM's own index.
 *
 * Script thread.
 */
#include "lab/lab_tree.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/lab.h"
#include "lab/vm.h"

static int add_lab(struct pv_lab_tree *tree, struct pv_lab *lab, size_t parent)
{
	struct pv_lab_tree_lab *grown =
	    reallocarray(tree->labs, tree->lab_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	tree->labs = grown;
	size_t first = 0;
	while (first < tree->lab_count && grown[first].lab != lab)
		first++;
	grown[tree->lab_count++] =
	    (struct pv_lab_tree_lab){.lab = lab, .parent = parent, .first = first};
	return 0;
}

static int add_vm(struct pv_lab_tree *tree, struct pv_vm *vm, size_t parent)
{
	struct pv_lab_tree_vm *grown = reallocarray(tree->vms, tree->vm_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	tree->vms = grown;
	size_t first = 0;
	while (first < tree->vm_count && grown[first].vm != vm)
		first++;
	grown[tree->vm_count++] =
	    (struct pv_lab_tree_vm){.vm = vm, .parent = parent, .first = first};
	return 0;
}

int pv_lab_tree_init(struct pv_lab_tree *tree, struct pv_lab *lab, struct pv_err *err)
{
	*tree = (struct pv_lab_tree){0};
	int status = add_lab(tree, lab, 0);
	for (size_t at = 0; at < tree->lab_count && !status; at++) {
		const struct pv_lab *here = tree->labs[at].lab;
		if (tree->labs[at].first != at)
			continue;
		for (size_t i = 0; i < pv_lab_vm_count(here) && !status; i++)
			status = add_vm(tree, pv_lab_vm_at(here, i), at);
		for (size_t i = 0; i < pv_lab_sub_count(here) && !status; i++)
			status = add_lab(tree, pv_lab_sub_at(here, i), at);
	}
	return status ? pv_err_nomem(err, "lab") : 0;
}

void pv_lab_tree_finish(struct pv_lab_tree *tree)
{
	free(tree->labs);
	free(tree->vms);
	*tree = (struct pv_lab_tree){0};
}

int pv_lab_tree_path(const struct pv_lab_tree *tree, size_t index, struct pv_bytes *out)
{
	const struct pv_lab_tree_vm *place = &tree->vms[index];
	/* From the inside out: the labs on the way, then written in reverse. */
	size_t depth = 0;
	for (size_t at = place->parent; at != 0; at = tree->labs[at].parent)
		depth++;
	int status = 0;
	for (; depth > 0 && !status; depth--) {
		size_t at = place->parent;
		for (size_t up = 1; up < depth; up++)
			at = tree->labs[at].parent;
		status = pv_bytes_printf(out, "%s/", pv_lab_name(tree->labs[at].lab));
	}
	return status ? status : pv_bytes_printf(out, "%s", pv_vm_name(place->vm));
}
