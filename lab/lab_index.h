/*
 * What is saved in a lab's snapshot: the sub-labs, the VMs, and which file holds which guest; and
 * its form as a file, lab.json.
 */
#ifndef PV_LAB_LAB_INDEX_H
#define PV_LAB_LAB_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct pv_bytes;
struct pv_err;

#define PV_LAB_INDEX_VERSION 1
/* Longest lab.json. */
#define PV_LAB_INDEX_SIZE_MAX (4u << 20)
/* Longest name of a VM, lab or profile, and most VMs and labs, that can be saved. */
#define PV_LAB_INDEX_NAME_MAX 1024
#define PV_LAB_INDEX_VMS_MAX  1024
#define PV_LAB_INDEX_LABS_MAX 1024

/* A place of a sub-lab. What is a member of several labs has several places. */
struct pv_lab_index_lab {
	char *name;
	size_t parent; /* index of the lab that it is a member of */
	size_t first;  /* index of its first place, which may be this */
};

struct pv_lab_index_vm {
	char *name;
	size_t parent;
	size_t first;
	/* At its first place only: */
	char *profile;
	char *file; /* a name in the same directory */
	uint64_t memory;
	unsigned cpus;
};

/* Zero it. labs[0] is the saved lab itself; parents come before members, first places before
 * others. */
struct pv_lab_index {
	struct pv_lab_index_lab *labs;
	size_t lab_count;
	struct pv_lab_index_vm *vms;
	size_t vm_count;
};

void pv_lab_index_finish(struct pv_lab_index *index);

/* Append a place; `first` is the index of an earlier place of the same lab or VM, or SIZE_MAX. The
 * first lab is the saved one. Copied. Return 0 or -errno with a sentence: a name that is no UTF-8,
 * too long or used at that place already, too many. */
int pv_lab_index_add_lab(
    struct pv_lab_index *index, const char *name, size_t parent, size_t first, struct pv_err *err);
int pv_lab_index_add_vm(
    struct pv_lab_index *index, const char *name, size_t parent, size_t first, struct pv_err *err);

/* Sets what belongs to the guest at a first place, and gives it a file name that no other has. */
int pv_lab_index_set_guest(struct pv_lab_index *index, size_t vm, const char *profile,
    uint64_t memory, unsigned cpus, struct pv_err *err);

/* Appends "dc1/rack/name". Returns 0 or -ENOMEM. */
int pv_lab_index_vm_path(const struct pv_lab_index *index, size_t vm, struct pv_bytes *out);
int pv_lab_index_lab_path(const struct pv_lab_index *index, size_t lab, struct pv_bytes *out);

/* Appends lab.json. Returns 0 or -ENOMEM. */
int pv_lab_index_write(const struct pv_lab_index *index, struct pv_bytes *out);

/*
 * Reads lab.json, which is hostile: afterwards all that is said above holds. `index` is zeroed and
 * to be finished in any case. Returns 0, or -errno with a sentence that does not name the file.
 */
int pv_lab_index_read(struct pv_lab_index *index, const void *data, size_t len, struct pv_err *err);

#endif
