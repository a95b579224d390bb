/*
 * Guest memory: which guest-physical ranges are RAM, and the one checked translation to host memory. Nothing else in the tree turns a guest
 * address into a pointer. The memory can change under the reader at any time: copy a header once, check the copy, use the copy.
 */
#ifndef PV_BASE_GMEM_H
#define PV_BASE_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_GMEM_REGIONS_MAX 8

struct pv_gmem_region {
	uint64_t gpa;
	uint64_t size;
	uint8_t *host;
};

/* Regions ascend and do not overlap. Filled before any vCPU runs; constant afterwards, so every thread may read it. */
struct pv_gmem {
	struct pv_gmem_region regions[PV_GMEM_REGIONS_MAX];
	unsigned count;
};

/* Adds a region above those there. Returns 0, -ENOSPC, or -EINVAL when it is empty, wraps, or does not ascend. `host` is not owned. */
int pv_gmem_add(struct pv_gmem *mem, uint64_t gpa, uint64_t size, void *host);

/* The host address of [gpa, gpa + len), or NULL when any of it is not RAM of one region. len 0 needs a valid gpa. */
void *pv_gmem_at(const struct pv_gmem *mem, uint64_t gpa, uint64_t len);

/* Copies out of or into guest memory. Returns 0 or -EFAULT, and then nothing was copied. */
int pv_gmem_read(const struct pv_gmem *mem, uint64_t gpa, void *data, size_t len);
int pv_gmem_write(const struct pv_gmem *mem, uint64_t gpa, const void *data, size_t len);

/* Zeroes a range. Returns 0 or -EFAULT. */
int pv_gmem_zero(const struct pv_gmem *mem, uint64_t gpa, uint64_t len);

/* Sum of the regions' sizes. */
uint64_t pv_gmem_size(const struct pv_gmem *mem);

#endif
