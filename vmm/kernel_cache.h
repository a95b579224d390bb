/*
 * The folder of unpacked kernels: `<hash of the packed file>` is the kernel, and `index-<hash of
 * who the file is>` remembers the hash of a file that was seen before, so that it need not be read
 * again. Trouble with the folder is no error: the caller then unpacks.
 */
#ifndef PV_VMM_KERNEL_CACHE_H
#define PV_VMM_KERNEL_CACHE_H

#include <stdbool.h>

#include "base/hash.h"

struct pv_kernel_image;
struct stat;

/* Finds the hash of the content of a file by its path, place, size and times. Returns false when it
 * is not known. */
bool pv_kernel_cache_recall(
    const char *dir, const char *path, const struct stat *file, char hash[PV_HASH_TEXT]);

/* Remembers it. A file that changed a moment ago is not remembered, because it could change again
 * without a trace in its times. */
void pv_kernel_cache_remember(
    const char *dir, const char *path, const struct stat *file, const char *hash);

/*
 * Maps the unpacked kernel of packed content `hash` and fills image, header and command line limit
 * of `image`, which owns the mapping. Returns false when there is none, or a damaged one.
 */
bool pv_kernel_cache_map(const char *dir, const char *hash, struct pv_kernel_image *image);

/*
 * Stores the unpacked kernel in the heap of `image`, whole or not at all, in place of what is
 * there. Uses the room before the image. Returns false when it could not.
 */
bool pv_kernel_cache_store(const char *dir, const char *hash, struct pv_kernel_image *image);

#endif
