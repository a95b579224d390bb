/*
 * The saved guests of a lab and its sub-labs: in memory of this process, or in a directory that can
 * be moved (spec sections 5.6, 19). Script thread only; what takes long is done by several threads
 * inside.
 */
#ifndef PV_LAB_LAB_SNAPSHOT_H
#define PV_LAB_LAB_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_lab;
struct pv_lab_snapshot;

/* The file that tells what is in the directory. */
#define PV_LAB_SNAPSHOT_INDEX "lab.json"

/*
 * Saves all VMs of the lab and its sub-labs, which must be booted or paused and have nothing in
 * flight: all stand still before the first is saved, and go on as they were. Nothing is copied or
 * written. The caller destroys it. Returns 0 or -errno, and then all VMs are as before.
 */
int pv_lab_snapshot_take(struct pv_lab_snapshot **out, struct pv_lab *lab, struct pv_err *err);

/*
 * Opens the directory of one. All of it is hostile and checked; guests' memory, which is read only
 * when they touch it, when `verify_ram` asks for it. The caller destroys it. Returns 0 or -errno
 * with a sentence that names the file.
 */
int pv_lab_snapshot_open(
    struct pv_lab_snapshot **out, const char *directory, bool verify_ram, struct pv_err *err);

/* Frees it, with the directory that pv_lab_snapshot_path made, if any. NULL is fine. */
void pv_lab_snapshot_destroy(struct pv_lab_snapshot *snapshot);

/*
 * Writes PV_LAB_SNAPSHOT_INDEX and a file per VM into a temporary directory beside `directory`,
 * which is then renamed. An empty directory or another snapshot of a lab is replaced, anything
 * else that is there refused. Missing parents are not made. Returns 0 or -errno, and then nothing
 * is left behind. `layer_within` as in struct pv_template_write, NULL for files that stand alone.
 */
int pv_lab_snapshot_write(const struct pv_lab_snapshot *snapshot, const char *directory,
    const char *layer_within, struct pv_err *err);

/*
 * Restores all of it into the lab: makes the sub-labs and VMs that are missing, and lets all guests
 * go on together. What the snapshot does not mention stays as it is. A VM that is the very one that
 * was saved is restored in place, so that handles of it stay valid; a name that belongs to another
 * VM is refused, and for an opened directory every VM is another one. `clock_now` as in
 * pv_vm_restore.
 *
 * Returns 0 or -errno with a sentence that names the VM. Then the lab is as before, as long as
 * machines could not be built or memory is not there: all that can is done before the first VM is
 * touched. What fails later kills the VM that it concerns; others that were saved are back
 * nevertheless, nothing was made, and the sentence says so.
 */
int pv_lab_snapshot_restore(
    struct pv_lab_snapshot *snapshot, struct pv_lab *lab, bool clock_now, struct pv_err *err);

/* How many guests are saved in it. */
size_t pv_lab_snapshot_vm_count(const struct pv_lab_snapshot *snapshot);

/*
 * The directory, as good for other processes; valid as long as the snapshot. One in memory gets a
 * directory that is gone with the snapshot, and with the process however that ends (but where the
 * kernel grants no file system of our own, a process that is killed leaves it in $TMPDIR).
 */
int pv_lab_snapshot_path(struct pv_lab_snapshot *snapshot, const char **path, struct pv_err *err);

/*
 * The directory of one in memory as a descriptor for the caller, which keeps it there as long as
 * somebody has that; /proc/self/fd leads to it. Returns 0 or -errno; -ENOTSUP where the kernel
 * grants no file system of our own.
 */
int pv_lab_snapshot_descriptor(struct pv_lab_snapshot *snapshot, int *fd, struct pv_err *err);

/* Bytes of all files in it as `ls` shows them; 0 when it is gone. Makes the directory. */
int pv_lab_snapshot_size(struct pv_lab_snapshot *snapshot, uint64_t *size, struct pv_err *err);

/* Removes the directory and forgets the guests. Idempotent; guests that run on it go on. */
int pv_lab_snapshot_delete(struct pv_lab_snapshot *snapshot, struct pv_err *err);

#endif
