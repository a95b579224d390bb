/*
 * The legacy LZ4 format of kernel images (`lz4 -l`): a magic number, then blocks with a length in
 * front. It has no library function.
 */
#ifndef PV_VMM_UNPACK_LZ4_H
#define PV_VMM_UNPACK_LZ4_H

#include <stddef.h>

struct pv_bytes;
struct pv_err;

/*
 * Appends the decompressed content of `data` to `out`, at most `limit` bytes (more is -EFBIG). Four
 * bytes behind the last block must be the size of the content, as Linux's build appends it. Returns
 * 0 or -errno with a sentence.
 */
int pv_unpack_lz4_legacy(
    const void *data, size_t len, size_t limit, struct pv_bytes *out, struct pv_err *err);

#endif
