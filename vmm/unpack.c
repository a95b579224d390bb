/*
 * Decompression of whole buffers. Each format is a codec of three functions over its library's
 * stream; one loop feeds them, grows the output and keeps the limit, so that memory stays within
 * the limit and the buffer's doubling, whatever a header announces. The loop ends at the end of the
 * first stream: what follows (Linux appends the unpacked size) is not looked at.
 *
 * Input is hostile. The libraries' own memory is bounded too: 256 MiB for the dictionary of xz and
 * lzma, 128 MiB for the window of zstd, which is what Linux's build uses at most. Any thread;
 * nothing is shared.
 */
#include "vmm/unpack.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "vmm/unpack_lz4.h"

/* At least this much room is offered to a codec; the buffer's doubling gives more as it grows. */
#define ROOM_MIN 65536u

#define LZMA_MEMORY_MAX (UINT64_C(256) << 20)

/* Codecs with 32-bit counters get their input and room in pieces. */
#define PIECE_MAX (1u << 30)

struct flow {
	const uint8_t *in;
	size_t in_left;
	uint8_t *out;
	size_t out_left;
	union {
		z_stream zlib;
		lzma_stream lzma;
		bz_stream bzip2;
		ZSTD_DStream *zstd;
		LZ4F_dctx *lz4;
	} state;
};

enum { MORE = 0, DONE = 1 };

/* `step` consumes and produces by moving the flow's pointers; it returns MORE, DONE or -errno. */
struct codec {
	const char *name;
	int (*begin)(struct flow *flow);
	int (*step)(struct flow *flow);
	void (*end)(struct flow *flow);
};

static unsigned piece(size_t size)
{
	return size < PIECE_MAX ? (unsigned)size : PIECE_MAX;
}

static void advance(struct flow *flow, size_t consumed, size_t produced)
{
	flow->in += consumed;
	flow->in_left -= consumed;
	flow->out += produced;
	flow->out_left -= produced;
}

static int gzip_begin(struct flow *flow)
{
	flow->state.zlib = (z_stream){0};
	/* 16: a gzip header, and no other. */
	return inflateInit2(&flow->state.zlib, 15 + 16) == Z_OK ? 0 : -ENOMEM;
}

static int gzip_step(struct flow *flow)
{
	z_stream *zlib = &flow->state.zlib;
	const unsigned in = piece(flow->in_left), out = piece(flow->out_left);
	zlib->next_in = (Bytef *)(uintptr_t)flow->in;
	zlib->avail_in = in;
	zlib->next_out = flow->out;
	zlib->avail_out = out;
	int got = inflate(zlib, Z_NO_FLUSH);
	advance(flow, in - zlib->avail_in, out - zlib->avail_out);
	if (got == Z_STREAM_END)
		return DONE;
	if (got == Z_MEM_ERROR)
		return -ENOMEM;
	return got == Z_OK || got == Z_BUF_ERROR ? MORE : -EBADMSG;
}

static void gzip_end(struct flow *flow)
{
	inflateEnd(&flow->state.zlib);
}

static int lzma_result(lzma_ret got)
{
	switch (got) {
	case LZMA_OK:
	case LZMA_BUF_ERROR: return MORE;
	case LZMA_STREAM_END: return DONE;
	case LZMA_MEM_ERROR: return -ENOMEM;
	case LZMA_MEMLIMIT_ERROR: return -E2BIG;
	default: return -EBADMSG;
	}
}

static int xz_begin(struct flow *flow)
{
	flow->state.lzma = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_result(lzma_stream_decoder(&flow->state.lzma, LZMA_MEMORY_MAX, 0));
}

static int lzma_begin(struct flow *flow)
{
	flow->state.lzma = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_result(lzma_alone_decoder(&flow->state.lzma, LZMA_MEMORY_MAX));
}

static int lzma_step(struct flow *flow)
{
	lzma_stream *lzma = &flow->state.lzma;
	const size_t in = flow->in_left, out = flow->out_left;
	lzma->next_in = flow->in;
	lzma->avail_in = in;
	lzma->next_out = flow->out;
	lzma->avail_out = out;
	int got = lzma_result(lzma_code(lzma, LZMA_RUN));
	advance(flow, in - lzma->avail_in, out - lzma->avail_out);
	return got;
}

static void lzma_stop(struct flow *flow)
{
	lzma_end(&flow->state.lzma);
}

static int bzip2_begin(struct flow *flow)
{
	flow->state.bzip2 = (bz_stream){0};
	return BZ2_bzDecompressInit(&flow->state.bzip2, 0, 0) == BZ_OK ? 0 : -ENOMEM;
}

static int bzip2_step(struct flow *flow)
{
	bz_stream *bzip2 = &flow->state.bzip2;
	const unsigned in = piece(flow->in_left), out = piece(flow->out_left);
	bzip2->next_in = (char *)(uintptr_t)flow->in;
	bzip2->avail_in = in;
	bzip2->next_out = (char *)flow->out;
	bzip2->avail_out = out;
	int got = BZ2_bzDecompress(bzip2);
	advance(flow, in - bzip2->avail_in, out - bzip2->avail_out);
	if (got == BZ_STREAM_END)
		return DONE;
	if (got == BZ_MEM_ERROR)
		return -ENOMEM;
	return got == BZ_OK ? MORE : -EBADMSG;
}

static void bzip2_end(struct flow *flow)
{
	BZ2_bzDecompressEnd(&flow->state.bzip2);
}

static int zstd_begin(struct flow *flow)
{
	flow->state.zstd = ZSTD_createDStream();
	return flow->state.zstd ? 0 : -ENOMEM;
}

static int zstd_step(struct flow *flow)
{
	ZSTD_inBuffer in = {.src = flow->in, .size = flow->in_left};
	ZSTD_outBuffer out = {.dst = flow->out, .size = flow->out_left};
	size_t got = ZSTD_decompressStream(flow->state.zstd, &out, &in);
	if (ZSTD_isError(got))
		return -EBADMSG;
	advance(flow, in.pos, out.pos);
	return got == 0 ? DONE : MORE;
}

static void zstd_end(struct flow *flow)
{
	ZSTD_freeDStream(flow->state.zstd);
}

static int lz4_begin(struct flow *flow)
{
	flow->state.lz4 = NULL;
	size_t got = LZ4F_createDecompressionContext(&flow->state.lz4, LZ4F_VERSION);
	return LZ4F_isError(got) ? -ENOMEM : 0;
}

static int lz4_step(struct flow *flow)
{
	size_t in = flow->in_left, out = flow->out_left;
	size_t got = LZ4F_decompress(flow->state.lz4, flow->out, &out, flow->in, &in, NULL);
	if (LZ4F_isError(got))
		return -EBADMSG;
	advance(flow, in, out);
	return got == 0 ? DONE : MORE;
}

static void lz4_end(struct flow *flow)
{
	LZ4F_freeDecompressionContext(flow->state.lz4);
}

static const struct codec gzip_codec = {"gzip", gzip_begin, gzip_step, gzip_end};
static const struct codec xz_codec = {"xz", xz_begin, lzma_step, lzma_stop};
static const struct codec lzma_codec = {"lzma", lzma_begin, lzma_step, lzma_stop};
static const struct codec bzip2_codec = {"bzip2", bzip2_begin, bzip2_step, bzip2_end};
static const struct codec zstd_codec = {"zstd", zstd_begin, zstd_step, zstd_end};
static const struct codec lz4_codec = {"lz4", lz4_begin, lz4_step, lz4_end};

static const struct codec *codec_of(enum pv_kernel_format format)
{
	switch (format) {
	case PV_KERNEL_GZIP: return &gzip_codec;
	case PV_KERNEL_XZ: return &xz_codec;
	case PV_KERNEL_LZMA: return &lzma_codec;
	case PV_KERNEL_BZIP2: return &bzip2_codec;
	case PV_KERNEL_ZSTD: return &zstd_codec;
	case PV_KERNEL_LZ4_FRAME: return &lz4_codec;
	default: return NULL;
	}
}

static int explain(const struct codec *codec, int status, struct pv_err *err)
{
	if (status == -ENOMEM)
		return pv_err_nomem(err, "unpacked data");
	if (status == -E2BIG)
		return pv_err_set(err, PV_ERR_LIMIT, E2BIG,
		    "unpacking its %s data takes more than the limit of %u MiB of memory",
		    codec->name, (unsigned)(LZMA_MEMORY_MAX >> 20));
	return pv_err_set(
	    err, PV_ERR_INPUT, EBADMSG, "the %s data is damaged; get the file again", codec->name);
}

/* Runs a codec that was begun to the end of its stream. */
static int pump(const struct codec *codec, struct flow *flow, size_t limit, struct pv_bytes *out,
    struct pv_err *err)
{
	const size_t start = out->len;
	for (;;) {
		/* One byte over the limit is offered, to see whether somebody wants it. */
		const size_t allowed = limit - (out->len - start) + 1;
		if (pv_bytes_reserve(out, allowed < ROOM_MIN ? allowed : ROOM_MIN) < 0)
			return pv_err_nomem(err, "unpacked data");
		size_t room = out->capacity - out->len;
		if (room > allowed)
			room = allowed;
		const size_t in_before = flow->in_left;
		flow->out = out->data + out->len;
		flow->out_left = room;
		const int got = codec->step(flow);
		const size_t produced = room - flow->out_left;
		out->len += produced;
		if (out->len - start > limit)
			return pv_err_set(err, PV_ERR_LIMIT, EFBIG,
			    "it unpacks to more than the limit of %zu MiB", limit >> 20);
		if (got < 0)
			return explain(codec, got, err);
		if (got == DONE)
			return 0;
		if (produced == 0 && flow->in_left == in_before)
			return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
			    "the %s data is cut short; get the file again", codec->name);
	}
}

int pv_unpack(enum pv_kernel_format format, const void *data, size_t len, size_t limit,
    struct pv_bytes *out, struct pv_err *err)
{
	if (limit > PTRDIFF_MAX - 1)
		limit = PTRDIFF_MAX - 1;
	if (format == PV_KERNEL_LZ4_LEGACY)
		return pv_unpack_lz4_legacy(data, len, limit, out, err);
	const struct codec *codec = codec_of(format);
	if (!codec)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "this is no compressed data");
	struct flow flow = {.in = data, .in_left = len};
	int status = codec->begin(&flow);
	if (status < 0)
		return explain(codec, status, err);
	status = pump(codec, &flow, limit, out, err);
	codec->end(&flow);
	return status;
}
