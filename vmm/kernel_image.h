/*
 * The owner behind a struct pv_kernel: the memory that its image lies in. Private to the kernel
 * loader.
 */
#ifndef PV_VMM_KERNEL_IMAGE_H
#define PV_VMM_KERNEL_IMAGE_H

#include <stddef.h>

#include "base/bytes.h"
#include "vmm/kernel.h"

struct pv_err;

/*
 * Room before the image, in memory as in the cache file, so that the latter is written in one piece
 * and the image begins on a page.
 */
#define PV_KERNEL_IMAGE_ROOM 4096u

/* The image is in the heap or in the mapping of a cache file, behind the room. */
struct pv_kernel_image {
	struct pv_kernel kernel; /* first: the two are cast into each other */
	struct pv_bytes heap;
	void *mapping;
	size_t mapping_size;
};

/* Why a file of this format, which begins with `data`, is no kernel for us. Fills `err` and returns
 * -ENOEXEC. */
int pv_kernel_reject(
    enum pv_kernel_format format, const void *data, size_t len, struct pv_err *err);

#endif
