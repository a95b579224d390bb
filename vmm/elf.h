/*
 * A vmlinux (ELF64 for x86-64): which segments go where, and where it is entered.
 */
#ifndef PV_VMM_ELF_H
#define PV_VMM_ELF_H

#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_kernel;

/*
 * Reads the ELF file at kernel->image and fills segments, entries and memory_end. All of the image
 * is hostile. Returns 0 or -errno with a sentence that says what the file is and what to give
 * instead.
 */
int pv_elf_parse(struct pv_kernel *kernel, struct pv_err *err);

/*
 * How many bytes of an ELF file, from its first `len` ones, hold all that pv_elf_parse looks at;
 * debug information lies behind. `file_size` when that cannot be told. The result is between `len`
 * and `file_size`, or `file_size` when that is less.
 */
uint64_t pv_elf_extent(const void *data, size_t len, uint64_t file_size);

#endif
