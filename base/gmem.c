/*
 * The guest-physical memory map. A handful of regions, looked at in order: RAM below the PCI hole
 * and RAM above 4 GiB are nearly always all there is. The check works on offsets and remaining
 * sizes, never on end addresses, so that no address or length that a guest can make up wraps
 * around. Constant once vCPUs run, hence no lock.
 */
#include "base/gmem.h"

#include <errno.h>
#include <string.h>

int pv_gmem_add(struct pv_gmem *mem, uint64_t gpa, uint64_t size, void *host)
{
	uint64_t end;
	if (!host || size == 0 || __builtin_add_overflow(gpa, size, &end))
		return -EINVAL;
	if (mem->count > 0) {
		const struct pv_gmem_region *last = &mem->regions[mem->count - 1];
		if (gpa < last->gpa + last->size)
			return -EINVAL;
	}
	if (mem->count == PV_GMEM_REGIONS_MAX)
		return -ENOSPC;
	mem->regions[mem->count++] =
	    (struct pv_gmem_region){.gpa = gpa, .size = size, .host = host};
	return 0;
}

void *pv_gmem_at(const struct pv_gmem *mem, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < mem->count; i++) {
		const struct pv_gmem_region *region = &mem->regions[i];
		if (gpa < region->gpa)
			return NULL; /* regions ascend */
		uint64_t offset = gpa - region->gpa;
		if (offset >= region->size)
			continue;
		return len <= region->size - offset ? region->host + offset : NULL;
	}
	return NULL;
}

int pv_gmem_read(const struct pv_gmem *mem, uint64_t gpa, void *data, size_t len)
{
	const void *from = pv_gmem_at(mem, gpa, len);
	if (!from)
		return -EFAULT;
	if (len > 0)
		memcpy(data, from, len);
	return 0;
}

int pv_gmem_write(const struct pv_gmem *mem, uint64_t gpa, const void *data, size_t len)
{
	void *to = pv_gmem_at(mem, gpa, len);
	if (!to)
		return -EFAULT;
	if (len > 0)
		memcpy(to, data, len);
	return 0;
}

int pv_gmem_zero(const struct pv_gmem *mem, uint64_t gpa, uint64_t len)
{
	void *at = pv_gmem_at(mem, gpa, len);
	if (!at)
		return -EFAULT;
	memset(at, 0, len);
	return 0;
}

uint64_t pv_gmem_size(const struct pv_gmem *mem)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < mem->count; i++)
		sum += mem->regions[i].size;
	return sum;
}
