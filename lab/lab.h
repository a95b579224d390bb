/*
 * A lab: names for VMs, nested in scopes. The file's root lab encloses the lab of the running test;
 * lookups walk outwards, creation is local, and closing a lab closes what was made in it (spec
 * sections 5 and 6). Script thread only.
 */
#ifndef PV_LAB_LAB_H
#define PV_LAB_LAB_H

#include <stddef.h>

struct pv_err;
struct pv_host;
struct pv_lab;
struct pv_options;
struct pv_vm;

/* `enclosing` is the scope outside, or NULL; it must outlive this lab. */
int pv_lab_create(struct pv_lab **out, struct pv_host *host, const char *name,
    struct pv_lab *enclosing, struct pv_err *err);
/* Shuts all VMs of the lab down, in creation order, and drops them; the lab is empty and usable
 * afterwards. */
void pv_lab_close(struct pv_lab *lab);
/* Closes and frees. NULL is fine. */
void pv_lab_destroy(struct pv_lab *lab);

const char *pv_lab_name(const struct pv_lab *lab);

/* The VM of that name here or in an enclosing scope, or NULL. Borrowed. */
struct pv_vm *pv_lab_find_vm(const struct pv_lab *lab, const char *name);

/* Creates a VM in this lab. Errors as in spec 5.2 and 6.1 (unknown profile, duplicate, declared in
 * an enclosing scope, reserved name). Borrowed. */
int pv_lab_add_vm(struct pv_lab *lab, const char *name, const char *profile,
    const struct pv_options *options, struct pv_vm **out, struct pv_err *err);

/*
 * Makes `count` running copies of a booted or paused VM in this lab, named `<name>#1` and up (names
 * that are taken are passed over). They are the last `count` VMs of the lab afterwards; on failure
 * there is none of them. The parent goes on as it was.
 */
int pv_lab_fork_vm(struct pv_lab *lab, struct pv_vm *parent, unsigned count, struct pv_err *err);

/* Direct children in creation order. */
size_t pv_lab_vm_count(const struct pv_lab *lab);
struct pv_vm *pv_lab_vm_at(const struct pv_lab *lab, size_t index);

/* Boots all VMs that are still created, in parallel; tries all, then fails with "batch `boot`
 * failed: {<vm>: <error>, ...}". */
int pv_lab_boot(struct pv_lab *lab, struct pv_err *err);

#endif
