/*
 * The virtual machine's generation id: 16 bytes in guest memory that change whenever a guest goes
 * on from a snapshot, so that its kernel and its programs can tell that they may be one of several
 * copies ("Virtual Machine Generation ID", Microsoft, 2012). The ACPI device VGEN of
 * vmm/acpi_dsdt.c says where they are and announces changes.
 */
#ifndef PV_VMM_GENERATION_H
#define PV_VMM_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

struct pv_gmem;

#define PV_GENERATION_SIZE 16

/* Makes an id: one that nobody else has, or, with a seed, always the same one for that seed. */
void pv_generation_make(uint8_t id[PV_GENERATION_SIZE], const uint64_t *seed);

/* At boot: gives the guest its page at PV_LAYOUT_GENERATION. Returns 0 or -EFAULT. */
int pv_generation_place(const struct pv_gmem *mem, const uint8_t id[PV_GENERATION_SIZE]);

/* While no vCPU runs: another id for a guest that was given such a page. False, and nothing is
 * written, for one that was not. */
bool pv_generation_renew(const struct pv_gmem *mem, const uint8_t id[PV_GENERATION_SIZE]);

#endif
