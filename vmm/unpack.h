/*
 * Decompression of whole buffers: the formats in which kernels, modules and archives come.
 */
#ifndef PV_VMM_UNPACK_H
#define PV_VMM_UNPACK_H

#include <stddef.h>

#include "vmm/kernel.h"

struct pv_bytes;
struct pv_err;

/*
 * Appends the decompressed content of `data` to `out`, at most `limit` bytes of it (more is -EFBIG). `format` is one of the compressed formats of
 * enum pv_kernel_format. Trailing bytes behind the compressed stream are ignored, as kernels have them. Returns 0 or -errno.
 */
int pv_unpack(enum pv_kernel_format format, const void *data, size_t len, size_t limit, struct pv_bytes *out, struct pv_err *err);

#endif
