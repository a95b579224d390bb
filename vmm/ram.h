/*
 * Guest RAM: one memfd, mapped into this process and into the guest. A memfd, so that a frozen
 * machine can become a template whose pages its children share (docs/architecture.md, snapshots).
 */
#ifndef PV_VMM_RAM_H
#define PV_VMM_RAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/gmem.h"

struct pv_err;
struct pv_reap;

/*
 * `mem` has one region below 3 GiB and, for what does not fit, one from 4 GiB on (vmm/layout.h).
 * They follow each other in the memfd and in one mapping at `host`.
 */
struct pv_ram {
	int fd;
	uint8_t *host;
	uint64_t size;
	struct pv_gmem mem;
};

/* Allocates `size` bytes, a multiple of 4 KiB, all zero. Returns 0 or -errno. */
int pv_ram_init(struct pv_ram *ram, uint64_t size, struct pv_err *err);

/* Gives everything back through `reap`, or at once when that is NULL. NULL and zeroed are fine. */
void pv_ram_finish(struct pv_ram *ram, struct pv_reap *reap);

/* Tells a virtual machine about the RAM: memory slots 0 and, if there is one, 1. */
int pv_ram_plug(const struct pv_ram *ram, int vm_fd, struct pv_err *err);

/* Zeroes all RAM by giving its pages back. No vCPU may run. Returns 0 or -errno. */
int pv_ram_clear(struct pv_ram *ram, struct pv_err *err);

#endif
