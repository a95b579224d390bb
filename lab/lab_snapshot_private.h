/*
 * The inside of a saved lab, shared by lab/lab_snapshot*.c and lab/lab_restore.c only.
 */
#ifndef PV_LAB_LAB_SNAPSHOT_PRIVATE_H
#define PV_LAB_LAB_SNAPSHOT_PRIVATE_H

#include <stdbool.h>

#include "base/err.h"
#include "lab/lab_index.h"
#include "lab/lab_snapshot.h"

struct pv_template;
struct pv_vm_baseline;

/* What belongs to a VM of the index, at its first place only. */
struct pv_lab_guest {
	struct pv_template *template;	 /* NULL when deleted */
	struct pv_vm_baseline *baseline; /* of the VM that was saved; NULL: read from a file */
};

struct pv_lab_snapshot {
	struct pv_lab_index index;
	struct pv_lab_guest *guests; /* as many as the index has VMs */
	char *directory;	     /* NULL: in memory only */
	int filesystem;		     /* of our own, with the directory in it; or -1 */
	bool temporary;		     /* the directory goes with the snapshot */
	bool deleted;
};

/* How a job of a crew ended. */
struct pv_lab_outcome {
	int status;
	struct pv_err err;
};

/* An empty one, or NULL and a sentence. */
struct pv_lab_snapshot *pv_lab_snapshot_new(struct pv_err *err);
/* Makes room for the guests of the index. Returns 0 or -ENOMEM. */
int pv_lab_snapshot_make_room(struct pv_lab_snapshot *snapshot, struct pv_err *err);

/* Writes all files into an existing, empty directory. On failure some may be there. */
int pv_lab_snapshot_fill(const struct pv_lab_snapshot *snapshot, const char *directory,
    const char *layer_within, struct pv_err *err);
/* rm -r. Returns 0 or -errno; what is not there is fine. */
int pv_lab_snapshot_remove(const char *directory);

/* Of the first job that failed: sets `err` and returns its status, or 0. */
int pv_lab_outcome_first(const struct pv_lab_outcome *outcomes, size_t count, struct pv_err *err);

#endif
