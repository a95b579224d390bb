/*
 * What a machine has written into private RAM since it began as its image, and taking that back.
 * Nothing here knows of machines. On any thread, while no vCPU runs and no device touches memory.
 */
#ifndef PV_VMM_RAM_OWN_H
#define PV_VMM_RAM_OWN_H

#include <stdbool.h>
#include <stdint.h>

struct pv_ram;

/*
 * Adds the pages that private RAM has written, which no longer belong to its image, to an empty set
 * (vmm/ram_runs.h). False: the host does not tell.
 */
bool pv_ram_own_find(const struct pv_ram *ram, uint64_t *set);

/*
 * Private RAM holds again what its image (`host`, `size` and `image` are looked at) holds. What is
 * mapped stays mapped, in the guest's tables too, as far as it pays; `restored` is set when pages
 * stay the machine's own. Returns 0 or -errno, and then the content is undefined.
 */
int pv_ram_own_undo(struct pv_ram *ram);

#endif
