/*
 * The container in which distributions ship x86 kernels: real-mode setup code with a header, then a
 * compressed vmlinux.
 */
#ifndef PV_VMM_BZIMAGE_H
#define PV_VMM_BZIMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_err;
struct pv_kernel;

/* Where the compressed vmlinux is, and how long it is unpacked (modulo 2^32). The view points into
 * the file's bytes. */
struct pv_bzimage_payload {
	struct pv_span packed;
	uint32_t unpacked_size;
};

/*
 * Finds the payload of a bzImage and keeps its setup header and command line limit in `kernel`. All
 * of `data` is hostile. Returns 0 or -errno with a sentence.
 */
int pv_bzimage_read(struct pv_kernel *kernel, const void *data, size_t len,
    struct pv_bzimage_payload *payload, struct pv_err *err);

#endif
