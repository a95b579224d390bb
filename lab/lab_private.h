/*
 * The inside of a lab, shared by the files lab/lab*.c only.
 */
#ifndef PV_LAB_LAB_PRIVATE_H
#define PV_LAB_LAB_PRIVATE_H

#include "lab/barrier.h"
#include "lab/lab.h"

struct pv_lab_vms {
	struct pv_vm **items; /* with a reference each */
	size_t count;
};

struct pv_lab_subs {
	struct pv_lab **items; /* with a reference each */
	size_t count;
};

struct pv_lab {
	unsigned references;
	struct pv_host *host;
	struct pv_lab *enclosing; /* of a scope */
	struct pv_lab *scope;	  /* whose end closes this; itself, NULL when closed */
	char *name;
	unsigned next_number; /* of sub-labs without a name */
	/* The members. */
	struct pv_lab_vms vms;
	struct pv_lab_subs subs;
	/* Of a scope: what was made in it and its sub-labs. */
	struct pv_lab_vms made_vms;
	struct pv_lab_subs made_subs;
	struct pv_barriers barriers;
};

/* Append another reference. Return 0 or -ENOMEM. */
int pv_lab_vms_add(struct pv_lab_vms *vms, struct pv_vm *vm);
int pv_lab_subs_add(struct pv_lab_subs *subs, struct pv_lab *lab);
/* Take one out and give its reference back, if it is there. */
bool pv_lab_vms_drop(struct pv_lab_vms *vms, const struct pv_vm *vm);
bool pv_lab_subs_drop(struct pv_lab_subs *subs, const struct pv_lab *lab);

/* Give all references back; the list is empty afterwards. */
void pv_lab_vms_finish(struct pv_lab_vms *vms);
void pv_lab_subs_finish(struct pv_lab_subs *subs);

/* Takes all members out of a lab and closes it; its VMs go on. */
void pv_lab_empty(struct pv_lab *lab);

/* A lab that is no scope and belongs to none yet, with one reference. Returns 0 or -ENOMEM. */
int pv_lab_create_plain(
    struct pv_lab **out, struct pv_host *host, const char *name, struct pv_err *err);

/* Makes a VM that exists a member, and has its end be that of the lab's scope. Returns 0 or
 * -ENOMEM, and then nothing changed. */
int pv_lab_adopt_vm(struct pv_lab *lab, struct pv_vm *vm, struct pv_err *err);

/* Takes a VM out of the lab and of its scope, as if it had never been made, and shuts it down. */
void pv_lab_disown_vm(struct pv_lab *lab, struct pv_vm *vm);
/* The same for a sub-lab, which is closed. */
void pv_lab_disown_sub(struct pv_lab *lab, struct pv_lab *sub);

/* The direct member of that name, or NULL. */
struct pv_vm *pv_lab_vm_here(const struct pv_lab *lab, const char *name);
struct pv_lab *pv_lab_sub_here(const struct pv_lab *lab, const char *name);

/* Sets a sentence unless a VM or sub-lab of that name may be made here. Returns 0 or -errno. */
int pv_lab_check_vm_name(const struct pv_lab *lab, const char *name, struct pv_err *err);
int pv_lab_check_sub_name(const struct pv_lab *lab, const char *name, struct pv_err *err);

/* The profile of that name, or NULL and a sentence. */
const struct pv_profile *pv_lab_profile(
    const struct pv_lab *lab, const char *name, struct pv_err *err);

#endif
