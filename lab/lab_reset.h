/*
 * The baseline of a scope: what `reset_between_tests` goes back to after each test (spec 6.4).
 * Script thread only.
 */
#ifndef PV_LAB_LAB_RESET_H
#define PV_LAB_LAB_RESET_H

struct pv_err;
struct pv_lab;
struct pv_lab_reset;

/*
 * Takes down what the lab and its sub-labs are now: members, the states of all VMs, and the guests
 * of those that are booted or paused, which stand still together for the moment of it. `lab` is a
 * scope that stays open as long as the baseline. Refused with a sentence when a VM has open streams
 * or operations in flight. The caller destroys it. Returns 0 or -errno, and then all VMs are as
 * before.
 */
int pv_lab_reset_create(struct pv_lab_reset **out, struct pv_lab *lab, struct pv_err *err);

/* NULL is fine. */
void pv_lab_reset_destroy(struct pv_lab_reset *reset);

/*
 * Goes back, as often as wanted. VMs and labs stay the objects that they were; what was made in the
 * scope since is closed. All guests have gone back before the first goes on. Tries all VMs, then
 * fails with a sentence that names those which could not; these are dead, and the next attempt is
 * free to try them again.
 */
int pv_lab_reset_apply(struct pv_lab_reset *reset, struct pv_err *err);

#endif
