/*
 * A lab: names for VMs and for other labs (spec sections 5 and 6). Two kinds:
 *
 * A *scope* is the lab of the file or of the running test. The file's encloses the test's; lookups
 * walk outwards, creation is local, and the end of a scope closes all that was made in it.
 *
 * A *sub-lab* is made in another lab and has no enclosing scope: lookups in it end there. What is
 * made in it belongs to the scope that it was made in itself.
 *
 * Membership is only a graph of names: a VM or lab may be a member of several labs, or of none, and
 * is closed with its scope all the same. There are no circles.
 *
 * Labs are counted, so that who holds one may find it closed, never gone. Script thread only.
 */
#ifndef PV_LAB_LAB_H
#define PV_LAB_LAB_H

#include <stdbool.h>
#include <stddef.h>

struct pv_barriers;
struct pv_bytes;
struct pv_err;
struct pv_host;
struct pv_lab;
struct pv_options;
struct pv_vm;

/* Sub-labs that one scope may have. */
#define PV_LAB_SUBS_MAX 1024

/* A new scope with one reference. `enclosing` is the scope outside, or NULL; it must be closed
 * after this one. */
int pv_lab_create(struct pv_lab **out, struct pv_host *host, const char *name,
    struct pv_lab *enclosing, struct pv_err *err);
struct pv_lab *pv_lab_ref(struct pv_lab *lab);
/* The last reference frees. NULL is fine. */
void pv_lab_unref(struct pv_lab *lab);
/* Ends a scope: shuts down all VMs that were made in it and its sub-labs, in the order of creation,
 * and leaves these labs closed and empty. Labs of enclosing scopes forget what was of it. */
void pv_lab_close(struct pv_lab *lab);
/* Closes, and gives the creator's reference back. NULL is fine. */
void pv_lab_destroy(struct pv_lab *lab);

const char *pv_lab_name(const struct pv_lab *lab);
struct pv_host *pv_lab_host(const struct pv_lab *lab);
/* Its scope is over; only the name is left. */
bool pv_lab_is_closed(const struct pv_lab *lab);

/* The member of that name here or in an enclosing scope, or NULL. Borrowed. */
struct pv_vm *pv_lab_find_vm(const struct pv_lab *lab, const char *name);
struct pv_lab *pv_lab_find_lab(const struct pv_lab *lab, const char *name);

/* Direct members in the order in which they came. Borrowed. */
size_t pv_lab_vm_count(const struct pv_lab *lab);
struct pv_vm *pv_lab_vm_at(const struct pv_lab *lab, size_t index);
size_t pv_lab_sub_count(const struct pv_lab *lab);
struct pv_lab *pv_lab_sub_at(const struct pv_lab *lab, size_t index);

/* All VMs that were made in a scope and its sub-labs, in the order of creation. Borrowed. */
size_t pv_lab_made_count(const struct pv_lab *lab);
struct pv_vm *pv_lab_made_at(const struct pv_lab *lab, size_t index);

/* --- membership: errors as in spec 5.2 and 6.1 (duplicate, declared in an enclosing scope,
 *     reserved name) --- */

/* Creates a VM in this lab; an unknown profile is an error, too. Borrowed. */
int pv_lab_add_vm(struct pv_lab *lab, const char *name, const char *profile,
    const struct pv_options *options, struct pv_vm **out, struct pv_err *err);

/* The sub-lab of that name of this lab, made when there is none; NULL: a new one with a name that
 * is free. Borrowed. */
int pv_lab_sub(struct pv_lab *lab, const char *name, struct pv_lab **out, struct pv_err *err);

/* Makes an existing VM or lab a member. A lab that leads back to this one is refused. */
int pv_lab_include_vm(struct pv_lab *lab, struct pv_vm *vm, struct pv_err *err);
int pv_lab_include_lab(struct pv_lab *lab, struct pv_lab *other, struct pv_err *err);

/* Forgets a direct member; nothing is shut down. False: it is none. */
bool pv_lab_remove_vm(struct pv_lab *lab, const struct pv_vm *vm);
bool pv_lab_remove_lab(struct pv_lab *lab, const struct pv_lab *other);

/*
 * Makes `count` running copies of a booted or paused VM in this lab, named `<name>#1` and up (names
 * that are taken are passed over). They are the last `count` VMs of the lab afterwards; on failure
 * there is none of them. The parent goes on as it was.
 */
int pv_lab_fork_vm(struct pv_lab *lab, struct pv_vm *parent, unsigned count, struct pv_err *err);

/* --- batch lifecycle: of all VMs of the lab and its sub-labs (lab/lab_batch.c) --- */

/*
 * Each tries all VMs and then fails with "batch `<action>` failed: {<vm>: <error>, ...}", where
 * <vm> is the way to it from this lab ("dc1/web"); `report` gets that text in full length, `err`
 * what fits into it.
 *
 * boot starts those that are still created, all at once; pause and resume leave alone those that
 * are paused or booted already; shutdown cannot fail.
 */
int pv_lab_boot(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err);
int pv_lab_pause(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err);
int pv_lab_resume(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err);
int pv_lab_shutdown(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err);

/* Where threads of control wait for each other (lab/barrier.h). */
struct pv_barriers *pv_lab_barriers(struct pv_lab *lab);

#endif
