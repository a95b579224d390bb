/*
 * Kernel files for tests: a tiny ELF vmlinux, the same compressed in every format, and a bzImage
 * around it.
 */
#ifndef PV_TESTS_KERNEL_FILES_H
#define PV_TESTS_KERNEL_FILES_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "vmm/kernel.h"

/* The tiny kernel: code at 16 MiB, data with zeroed memory behind it at 18 MiB, a note with the PVH
 * entry. */
#define TINY_CODE_GPA	 UINT64_C(0x1000000)
#define TINY_DATA_GPA	 UINT64_C(0x1200000)
#define TINY_CODE_SIZE	 3000u
#define TINY_DATA_SIZE	 100u
#define TINY_DATA_MEMORY 0x5000u
#define TINY_PVH_ENTRY	 (TINY_CODE_GPA + 0x10)
#define TINY_SEGMENTS	 3u /* code, data, note */

/* Every compression, in the order of enum pv_kernel_format. */
extern const enum pv_kernel_format kernel_compressions[];
extern const unsigned kernel_compression_count;
const char *kernel_format_name(enum pv_kernel_format format);

/* The tiny kernel. All functions append to a buffer that the caller finishes, and abort when out of
 * memory. */
void make_tiny_elf(struct pv_bytes *out);

/* Headers of a file that make_tiny_elf made, to be changed in place. */
Elf64_Ehdr *elf_header(struct pv_bytes *file);
Elf64_Phdr *elf_segment(struct pv_bytes *file, unsigned index);

/* Compresses; checksums are on where the format has them. */
void make_packed(enum pv_kernel_format format, const void *data, size_t len, struct pv_bytes *out);

/* As Linux's build does it for xz on x86: the filter for jumps before LZMA2. */
void compress_xz_like_linux(const void *data, size_t len, struct pv_bytes *out);

/* A bzImage with one sector of code, protocol 2.15. `unpacked_size` goes behind the payload, unless
 * that is gzip, which has it. */
void make_bzimage(const void *payload, size_t len, uint32_t unpacked_size, struct pv_bytes *out);

/* The tiny kernel, compressed, in a bzImage. */
void make_tiny_bzimage(enum pv_kernel_format format, struct pv_bytes *out);

#endif
