/*
 * An address space of devices (port I/O, MMIO, or the inside of a BAR): finds the device of an address and gives it the offset.
 */
#ifndef PV_BASE_BUS_H
#define PV_BASE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;

#define PV_BUS_RANGES_MAX 128

/*
 * What a device on a bus offers. `len` is 1 to 8; the access lies within the device's range, and need not be aligned. Called with the loop
 * lock held. A read must fill all `len` bytes.
 */
struct pv_bus_ops {
	void (*read)(void *ctx, uint64_t offset, void *data, unsigned len);
	void (*write)(void *ctx, uint64_t offset, const void *data, unsigned len);
};

struct pv_bus_range {
	uint64_t base;
	uint64_t size;
	const struct pv_bus_ops *ops;
	void *ctx;
};

/* Zeroed = empty. Ranges are kept sorted. Changed and used under the loop lock. */
struct pv_bus {
	struct pv_bus_range ranges[PV_BUS_RANGES_MAX];
	unsigned count;
};

/* Claims [base, base + size). Returns 0, -ENOSPC, -EEXIST when it overlaps a range, -EINVAL when it is empty, wraps, or `ops` lacks a function. */
int pv_bus_add(struct pv_bus *bus, uint64_t base, uint64_t size, const struct pv_bus_ops *ops, void *ctx);

/* Gives up the range that begins at `base`. Returns 0 or -ENOENT. */
int pv_bus_remove(struct pv_bus *bus, uint64_t base);

/* Dispatches. An access that no device claims whole reads as all ones and ignores writes; the result is then false. */
bool pv_bus_read(const struct pv_bus *bus, uint64_t address, void *data, unsigned len);
bool pv_bus_write(const struct pv_bus *bus, uint64_t address, const void *data, unsigned len);

#endif
