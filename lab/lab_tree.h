/*
 * Everything inside of a lab: its members, theirs, and so on, each with the way that leads there.
 */
#ifndef PV_LAB_LAB_TREE_H
#define PV_LAB_LAB_TREE_H

#include <stddef.h>

struct pv_bytes;
struct pv_err;
struct pv_lab;
struct pv_vm;

/* One place in the tree. What is a member of several labs has several places; what is inside of a
 * lab is listed at its first place only. */
struct pv_lab_tree_lab {
	struct pv_lab *lab;
	size_t parent; /* index of the lab that it is a member of */
	size_t first;  /* index of its first place, which may be this */
};

struct pv_lab_tree_vm {
	struct pv_vm *vm;
	size_t parent;
	size_t first;
};

/* Borrowed: valid while no lab changes. The lab itself is at 0; parents come before members. */
struct pv_lab_tree {
	struct pv_lab_tree_lab *labs;
	size_t lab_count;
	struct pv_lab_tree_vm *vms;
	size_t vm_count;
};

/* Returns 0 or -ENOMEM; finish it in both cases. */
int pv_lab_tree_init(struct pv_lab_tree *tree, struct pv_lab *lab, struct pv_err *err);
void pv_lab_tree_finish(struct pv_lab_tree *tree);

/* Appends the way to the VM at `index`: its name, or "dc1/rack2/name". Returns 0 or -ENOMEM. */
int pv_lab_tree_path(const struct pv_lab_tree *tree, size_t index, struct pv_bytes *out);

#endif
