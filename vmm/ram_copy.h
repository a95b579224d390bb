/*
 * What of guest RAM is worth copying: pages that hold something. For images and snapshot files;
 * nothing here knows of machines. Any thread.
 */
#ifndef PV_VMM_RAM_COPY_H
#define PV_VMM_RAM_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_ram;
struct pv_ram_image;

#define PV_RAM_PAGE 4096u

/* True when all of `len` bytes (a multiple of 32, aligned to 8) are zero. */
bool pv_ram_is_zero(const void *data, size_t len);

/*
 * Copies private RAM that begins as `base` to the start of an empty file, whose holes stand for
 * zeroes: what it has changed, and of the rest what is data in the file of `base`. Pages that were
 * never touched stay so. Returns 0 or -errno.
 */
int pv_ram_copy(
    const struct pv_ram *ram, const struct pv_ram_image *base, int fd, struct pv_err *err);

/* The next range of `image` that is not a hole of its file, at or behind `from` (offsets in the
 * image). False: there is none. Without such knowledge all of it is data. */
bool pv_ram_next_data(
    const struct pv_ram_image *image, uint64_t from, uint64_t *start, uint64_t *end);

#endif
