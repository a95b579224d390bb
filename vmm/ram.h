/*
 * Guest RAM: one file without a name, mapped into this process and into the guest. A file, so that
 * a frozen machine can become a template whose pages its children share (docs/architecture.md,
 * snapshots).
 */
#ifndef PV_VMM_RAM_H
#define PV_VMM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gmem.h"

struct pv_err;
struct pv_ram_image;
struct pv_reap;
struct pv_working_set;

/*
 * `mem` has one region below 3 GiB and, for what does not fit, one from 4 GiB on (vmm/layout.h).
 * They follow each other in the file and in one mapping at `host`.
 */
struct pv_ram {
	int fd; /* of shared RAM; -1 while it is private */
	uint8_t *host;
	uint64_t size;
	struct pv_gmem mem;
	int pool; /* where a new file comes from; not owned */
	/* What private RAM began as, and the image that is mapped for it, the same or a flat one;
	 * references. NULL while it is shared. */
	struct pv_ram_image *image;
	struct pv_ram_image *mapped;
	bool fresh;    /* nothing of it was mapped before its guest went on */
	bool restored; /* pages of the machine's own may be as they are in the image */
	bool mixed;    /* was mapped anew in part only: what is the machine's own cannot be told */
};

/*
 * A place for files of huge pages: a tmpfs that is mounted nowhere. Returns its descriptor, or -1
 * where the host does not allow it (it takes root, or a user namespace with a mount namespace of
 * its own); RAM is made of small pages then and guests boot more slowly.
 */
int pv_ram_open_pool(void);

/*
 * Allocates `size` bytes, a multiple of 4 KiB, all zero, in `pool` or, when that is -1, in a memfd.
 * Returns 0 or -errno.
 */
int pv_ram_init(struct pv_ram *ram, int pool, uint64_t size, struct pv_err *err);

/* Gives everything back through `reap`, or at once when that is NULL. NULL and zeroed are fine. */
void pv_ram_finish(struct pv_ram *ram, struct pv_reap *reap);

/* Gives everything back but `host`, memory of `size` whose content does not count any more. */
void pv_ram_leave(struct pv_ram *ram);

/* True when it began as an image and knows what it has changed since. */
static inline bool pv_ram_is_private(const struct pv_ram *ram)
{
	return ram->fd < 0 && ram->image && !ram->mixed;
}

/* Tells a virtual machine about the RAM: memory slots 0 and, if there is one, 1. */
int pv_ram_plug(const struct pv_ram *ram, int vm_fd, struct pv_err *err);

/*
 * Zeroes all RAM by giving its pages back; private RAM becomes a shared file again, at the same
 * place. No vCPU may run. Returns 0 or -errno.
 */
int pv_ram_clear(struct pv_ram *ram, struct pv_err *err);

/* --- images (vmm/ram_image.h); no vCPU may run, no device may touch memory --- */

/*
 * RAM that begins as `image` (another reference is kept) and keeps its own changes: pages are
 * shared with all others that do so until they are written. `old` is RAM of that size whose place
 * it takes, which is zeroed, also on failure: one that was left, or private one as it began; when
 * that was as the same image it is taken over with all that is mapped. NULL: anywhere. `set` is
 * what its guest will touch, as far as that is known, or NULL. Returns 0 or -errno.
 */
int pv_ram_init_private(struct pv_ram *ram, int pool, struct pv_ram_image *image,
    struct pv_ram *old, const struct pv_working_set *set, struct pv_err *err);

/*
 * Makes an image of RAM as it is, one reference of which is the caller's. The file of shared RAM
 * becomes the image and the RAM becomes private, with nothing copied. Of private RAM the pages that
 * were written are copied into a layer on what it began as, and it begins as that from then on; if
 * nothing was written, the image is what it began as. 0 or -errno, and then RAM is as it was.
 */
int pv_ram_freeze(struct pv_ram *ram, struct pv_ram_image **out, struct pv_err *err);

/* RAM becomes private and `image` again, at the same place, whatever it is. 0 or -errno, and then
 * its content is undefined. */
int pv_ram_rewind(struct pv_ram *ram, struct pv_ram_image *image, struct pv_err *err);

#endif
