/*
 * Legacy LZ4: the magic 0x184c2102, then blocks: a little-endian length and that many compressed
 * bytes, each of which becomes at most 8 MiB. There is no end mark and no checksum; the end of the
 * data ends it. Linux's build appends the unpacked size (scripts/Makefile.lib, size_append), which
 * then is the only thing to check the whole by. A magic number in place of a length begins another
 * stream (concatenated files). Specification: lz4_Frame_format.md, "Legacy frame";
 * lib/decompress_unlz4.c.
 */
#include "vmm/unpack_lz4.h"

#include <errno.h>
#include <lz4.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define LEGACY_MAGIC 0x184c2102u
#define BLOCK_MAX    (8u << 20) /* unpacked */

/* Unpacks one block. Returns 0 or -errno. */
static int unpack_block(const uint8_t *block, size_t size, struct pv_bytes *out, struct pv_err *err)
{
	/* No byte of lz4 becomes more than 255. */
	const size_t most = size < BLOCK_MAX / 255 ? (size + 1) * 255 : BLOCK_MAX;
	if (pv_bytes_reserve(out, most) < 0)
		return pv_err_nomem(err, "unpacked data");
	int got = LZ4_decompress_safe(
	    (const char *)block, (char *)out->data + out->len, (int)size, (int)most);
	if (got < 0)
		return pv_err_set(
		    err, PV_ERR_INPUT, EBADMSG, "the lz4 data is damaged; get the file again");
	out->len += (size_t)got;
	return 0;
}

static int cut_short(struct pv_err *err)
{
	return pv_err_set(
	    err, PV_ERR_INPUT, EBADMSG, "the lz4 data is cut short; get the file again");
}

int pv_unpack_lz4_legacy(
    const void *data, size_t len, size_t limit, struct pv_bytes *out, struct pv_err *err)
{
	const uint8_t *at = data;
	const size_t start = out->len;
	if (len < 4)
		return cut_short(err);
	if (pv_le32(at) != LEGACY_MAGIC)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG, "this is not legacy lz4 data");
	at += 4;
	len -= 4;
	while (len > 0) {
		if (len < 4)
			return cut_short(err);
		const uint32_t size = pv_le32(at);
		at += 4;
		len -= 4;
		if (size == LEGACY_MAGIC)
			continue;
		if (len == 0 && size == (uint32_t)(out->len - start))
			break; /* the size that Linux's build appends */
		if (size > len)
			return cut_short(err);
		/* An incompressible block grows a little; more than that is no block. */
		if (size == 0 || size > (uint32_t)LZ4_COMPRESSBOUND(BLOCK_MAX))
			return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
			    "the lz4 data is damaged; get the file again");
		int status = unpack_block(at, size, out, err);
		if (status < 0)
			return status;
		if (out->len - start > limit)
			return pv_err_set(err, PV_ERR_LIMIT, EFBIG,
			    "it unpacks to more than the limit of %zu MiB", limit >> 20);
		at += size;
		len -= size;
	}
	return 0;
}
