/*
 * A guest kernel, ready to be placed into guest memory: an ELF vmlinux, given as such or unpacked on the host out of a bzImage. Unpacking is
 * done once per content: the result is kept in a cache folder under the hash of the packed file.
 */
#ifndef PV_VMM_KERNEL_H
#define PV_VMM_KERNEL_H

#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_gmem;

#define PV_KERNEL_SEGMENTS_MAX 16
#define PV_KERNEL_FILE_MAX     (UINT64_C(1) << 30)
#define PV_KERNEL_HEADER_MAX   128 /* bytes of the bzImage's setup header kept for the zero page, from offset 0x1f1 */

struct pv_kernel_segment {
	uint64_t gpa;
	uint64_t file_offset;
	uint64_t file_size;
	uint64_t memory_size;
};

/* The image is a read-only private mapping of the cached vmlinux, or in memory where there is no cache; segments were checked against it. */
struct pv_kernel {
	const uint8_t *image;
	size_t image_size;
	struct pv_kernel_segment segments[PV_KERNEL_SEGMENTS_MAX];
	unsigned segment_count;
	uint64_t entry64;    /* physical address of the 64-bit entry (e_entry) */
	uint32_t entry_pvh;  /* of the PVH note, or 0 */
	uint64_t memory_end; /* first byte behind all segments */
	uint8_t header[PV_KERNEL_HEADER_MAX]; /* setup header of the bzImage, or zero */
	size_t header_size;  /* 0 for a plain vmlinux */
	uint32_t cmdline_max; /* without the NUL; 2047 when unknown */
};

enum pv_kernel_format {
	PV_KERNEL_UNKNOWN,
	PV_KERNEL_BZIMAGE,
	PV_KERNEL_ELF,
	PV_KERNEL_GZIP, /* a compressed vmlinux or Image */
	PV_KERNEL_XZ,
	PV_KERNEL_ZSTD,
	PV_KERNEL_LZ4_LEGACY,
	PV_KERNEL_LZ4_FRAME,
	PV_KERNEL_BZIP2,
	PV_KERNEL_LZMA,
	PV_KERNEL_ARM64_IMAGE,
	PV_KERNEL_PE,
	PV_KERNEL_SCRIPT, /* begins like text */
};

/* Tells what the first bytes of a file are. Never fails. */
enum pv_kernel_format pv_kernel_sniff(const void *data, size_t len);

/*
 * Opens, unpacks and checks a kernel file: bzImage (payload gzip, xz, zstd, lz4 legacy and frame, bzip2, lzma), a compressed vmlinux, or an ELF vmlinux.
 * `cache_dir` is where unpacked kernels are kept (created on demand; NULL or an unwritable folder: no caching). Errors begin "kernel `<path>`: " and
 * say what the file is instead and what to give. Returns 0 or -errno; the caller destroys the kernel. Thread- and process-safe.
 */
int pv_kernel_open(struct pv_kernel **out, const char *path, const char *cache_dir, struct pv_err *err);
/* The same for a file that was opened for reading (not owned; its offset stays as it is) and was called `path` then. */
int pv_kernel_open_fd(struct pv_kernel **out, int fd, const char *path, const char *cache_dir, struct pv_err *err);
void pv_kernel_destroy(struct pv_kernel *kernel);

/* The same from memory, without cache, for fuzzing and tests; `data` is copied as needed. */
int pv_kernel_parse(struct pv_kernel **out, const void *data, size_t len, const char *name, struct pv_err *err);

/* Copies the segments into guest memory (which is zero before). Returns 0, or -ENOSPC with a sentence that names both sizes. */
int pv_kernel_load(const struct pv_kernel *kernel, const struct pv_gmem *mem, struct pv_err *err);

#endif
