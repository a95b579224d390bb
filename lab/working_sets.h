/*
 * Working sets of snapshots (vmm/working_set.h), kept in a folder of the user's by the identity of
 * the snapshot file. Any thread, in any number of processes.
 */
#ifndef PV_LAB_WORKING_SETS_H
#define PV_LAB_WORKING_SETS_H

struct pv_working_set;

/* That of a file, or NULL. The caller frees it. `folder` may be NULL. */
struct pv_working_set *pv_working_sets_load(const char *folder, const char *id);

/* Keeps one; failing that, the next one who restores the file finds none. `folder` may be NULL. */
void pv_working_sets_save(const char *folder, const char *id, const struct pv_working_set *set);

#endif
