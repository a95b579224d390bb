/*
 * Checksums of blocks of guest RAM: fast, against accidents and not against intent. Pure.
 */
#ifndef PV_VMM_RAM_SUM_H
#define PV_VMM_RAM_SUM_H

#include <stddef.h>
#include <stdint.h>

#define PV_RAM_SUM_BLOCK (64u << 10)

/* The sum of `len` bytes, a multiple of 32, aligned to 8. A block of zeroes has the sum 0. */
uint64_t pv_ram_sum(const void *data, size_t len);

#endif
