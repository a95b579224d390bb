/*
 * The hand-over to a Linux kernel in 64-bit mode (Documentation/arch/x86/boot.rst, 64-bit boot protocol): zero page with memory map, command
 * line, initrd and setup data; identity page tables; a GDT. Also says how the boot vCPU's registers must look. Pure memory work, no KVM.
 */
#ifndef PV_VMM_BOOT_H
#define PV_VMM_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_err;
struct pv_gmem;
struct pv_kernel;

struct pv_boot_config {
	const struct pv_kernel *kernel;
	const char *cmdline;
	const struct pv_span *initrd; /* parts, concatenated, each padded to 4 bytes */
	unsigned initrd_parts;
	uint64_t rsdp;
	const uint8_t *rng_seed; /* SETUP_RNG_SEED, or NULL */
	size_t rng_seed_size;
};

struct pv_boot_entry {
	uint64_t rip;
	uint64_t rsi; /* zero page */
	uint64_t rsp;
	uint64_t cr3;
	uint64_t gdt_base;
	uint16_t gdt_limit;
	uint16_t code_selector;
	uint16_t data_selector;
};

/*
 * Places kernel, initrd, command line, page tables and zero page. Guest memory is zero before. Errors say which thing does not fit, with both
 * sizes ("initrd of 300 MiB does not fit into 256 MiB of guest memory; raise `memory`"). Returns 0 or -errno.
 */
int pv_boot_write(const struct pv_gmem *mem, const struct pv_boot_config *config, struct pv_boot_entry *entry, struct pv_err *err);

#endif
