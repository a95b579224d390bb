/*
 * A saved guest: in a file that the user named, or in memory of this process. Script thread, or any
 * other one at a time.
 */
#ifndef PV_LAB_SNAPSHOT_H
#define PV_LAB_SNAPSHOT_H

#include <stdint.h>

struct pv_err;
struct pv_snapshot;
struct pv_template;

/* Writes the template to `path`. The caller destroys the snapshot; the file stays. */
int pv_snapshot_create_file(struct pv_snapshot **out, const struct pv_template *template,
    const char *path, struct pv_err *err);

/*
 * Keeps the template (another reference of it). Nothing is written until somebody asks for the path
 * or the size, and then to a file without a name: whatever happens, it is gone with the process.
 */
int pv_snapshot_create_memory(
    struct pv_snapshot **out, struct pv_template *template, struct pv_err *err);

/*
 * Writes a snapshot that is in memory to `path` too, for a cache: only what differs from the file
 * that the guest was restored from, when that lies beneath the directory `tree` as well; otherwise
 * it is as the file of a user. Both may be moved with the tree, and both are needed from then on:
 * pv_template_inspect (vmm/template.h) tells which one a file builds on. Returns 0 or -errno;
 * -EINVAL when the snapshot is not in memory.
 */
int pv_snapshot_write_layer(
    struct pv_snapshot *snapshot, const char *path, const char *tree, struct pv_err *err);

/* NULL is fine. */
void pv_snapshot_destroy(struct pv_snapshot *snapshot);

/* The file's path, as good for other processes; valid as long as the snapshot. */
int pv_snapshot_path(struct pv_snapshot *snapshot, const char **path, struct pv_err *err);

/* Bytes of the file as `ls` shows them (RAM is sparse in it); 0 when it is gone. */
int pv_snapshot_size(struct pv_snapshot *snapshot, uint64_t *size, struct pv_err *err);

/* Removes the file. Idempotent; a file that is gone is fine. Guests that run on it go on. */
int pv_snapshot_delete(struct pv_snapshot *snapshot, struct pv_err *err);

/* What to restore. The caller gives the reference back. */
int pv_snapshot_open(struct pv_snapshot *snapshot, struct pv_template **out, struct pv_err *err);

#endif
