/*
 * Device address spaces. Ranges are kept sorted by base and found by bisection; all comparisons use
 * the last byte of a range instead of its end, so that a range may reach the very top of the
 * address space. Dispatched by vCPU threads, changed when the guest moves a BAR: all of it under
 * the loop lock.
 */
#include "base/bus.h"

#include <errno.h>
#include <string.h>

/* The widest single access of a CPU that reaches a device. */
#define ACCESS_MAX 8

/* Index of the first range whose base is above `address`. */
static unsigned first_above(const struct pv_bus *bus, uint64_t address)
{
	unsigned low = 0, high = bus->count;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (bus->ranges[middle].base > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The range that holds all of [address, address + len), or NULL. */
static const struct pv_bus_range *find(const struct pv_bus *bus, uint64_t address, unsigned len)
{
	if (len == 0 || len > ACCESS_MAX)
		return NULL;
	unsigned above = first_above(bus, address);
	if (above == 0)
		return NULL;
	const struct pv_bus_range *range = &bus->ranges[above - 1];
	uint64_t offset = address - range->base;
	if (offset >= range->size || len > range->size - offset)
		return NULL;
	return range;
}

int pv_bus_add(
    struct pv_bus *bus, uint64_t base, uint64_t size, const struct pv_bus_ops *ops, void *ctx)
{
	uint64_t last;
	if (!ops || !ops->read || !ops->write)
		return -EINVAL;
	if (size == 0 || __builtin_add_overflow(base, size - 1, &last))
		return -EINVAL;
	unsigned at = first_above(bus, base);
	if (at > 0) {
		const struct pv_bus_range *below = &bus->ranges[at - 1];
		if (base - below->base < below->size)
			return -EEXIST;
	}
	if (at < bus->count && bus->ranges[at].base <= last)
		return -EEXIST;
	if (bus->count == PV_BUS_RANGES_MAX)
		return -ENOSPC;
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->count - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = (struct pv_bus_range){.base = base, .size = size, .ops = ops, .ctx = ctx};
	bus->count++;
	return 0;
}

int pv_bus_remove(struct pv_bus *bus, uint64_t base)
{
	unsigned above = first_above(bus, base);
	if (above == 0 || bus->ranges[above - 1].base != base)
		return -ENOENT;
	memmove(&bus->ranges[above - 1], &bus->ranges[above],
	    (bus->count - above) * sizeof(bus->ranges[0]));
	bus->count--;
	return 0;
}

bool pv_bus_read(const struct pv_bus *bus, uint64_t address, void *data, unsigned len)
{
	/* First the answer of an empty slot, so that no device can leave old host bytes in it. */
	memset(data, 0xff, len);
	const struct pv_bus_range *found = find(bus, address, len);
	if (!found)
		return false;
	/* A copy: the device may move its own range (a BAR write) while it runs. */
	const struct pv_bus_range range = *found;
	range.ops->read(range.ctx, address - range.base, data, len);
	return true;
}

bool pv_bus_write(const struct pv_bus *bus, uint64_t address, const void *data, unsigned len)
{
	const struct pv_bus_range *found = find(bus, address, len);
	if (!found)
		return false;
	const struct pv_bus_range range = *found;
	range.ops->write(range.ctx, address - range.base, data, len);
	return true;
}
