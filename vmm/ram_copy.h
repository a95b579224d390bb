/*
 * Copying private guest RAM: what holds something. Nothing here knows
 * of machines. On the thread that freezes one, while no vCPU runs.
 */
#ifndef PV_VMM_RAM_COPY_H
#define PV_VMM_RAM_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_ram;
struct pv_ram_run;

/* True when all of `len` bytes (a multiple of 32, aligned to 8) are zero. */
bool pv_ram_is_zero(const void *data, size_t len);

/*
 * Copies runs of private RAM, one behind the other, to the start of an empty file, whose holes
 * stand for zeroes: what it has written (the set; NULL: not known), and of the rest what is data in
 * its image. Pages that were never touched stay so. Returns 0 or -errno.
 */
int pv_ram_copy(const struct pv_ram *ram, const uint64_t *own, const struct pv_ram_run *runs,
    unsigned count, int fd, struct pv_err *err);

#endif
