/*
 * The framing of every stream of ours: a four-byte big-endian length, then that many bytes of
 * msgpack. Written in place: pv_frame_begin leaves room for the length, the payload is packed
 * behind it, pv_frame_end fills the length in.
 *
 * The reader keeps what arrived in one buffer and gives out views into it. Memory follows the bytes
 * that really came, not the announced length, so a peer that announces much and sends nothing costs
 * nothing. Used bytes are dropped when they are at least as many as those behind them, which keeps
 * the moving linear in what was received. No locking: a reader belongs to its stream.
 */
#include "base/frame.h"

#include <errno.h>

#include "base/err.h"

/* A drained reader keeps at most this much memory; larger frames are rare. */
#define KEEP_CAPACITY (1u << 20)

int64_t pv_frame_begin(struct pv_bytes *out)
{
	static const uint8_t room[PV_FRAME_HEADER];
	size_t start = out->len;
	int status = pv_bytes_append(out, room, sizeof(room));
	return status < 0 ? status : (int64_t)start;
}

int pv_frame_end(struct pv_bytes *out, int64_t start)
{
	size_t len = out->len - (size_t)start - PV_FRAME_HEADER;
	if (len > PV_FRAME_MAX) {
		out->len = (size_t)start;
		return -EMSGSIZE;
	}
	pv_put_be32(out->data + start, (uint32_t)len);
	return 0;
}

static void drop_used(struct pv_frame_reader *reader)
{
	pv_bytes_consume(&reader->in, reader->used);
	reader->used = 0;
}

int pv_frame_feed(struct pv_frame_reader *reader, const void *data, size_t len)
{
	if (reader->used >= reader->in.len - reader->used)
		drop_used(reader);
	return pv_bytes_append(&reader->in, data, len);
}

int pv_frame_next(struct pv_frame_reader *reader, struct pv_span *payload, struct pv_err *err)
{
	size_t limit = reader->limit ? reader->limit : PV_FRAME_MAX;
	size_t have = reader->in.len - reader->used;
	if (have == 0) {
		drop_used(reader);
		if (reader->in.capacity > KEEP_CAPACITY)
			pv_bytes_finish(&reader->in);
		return 0;
	}
	if (have < PV_FRAME_HEADER)
		return 0;
	const uint8_t *at = reader->in.data + reader->used;
	uint32_t len = pv_be32(at);
	if (len > limit)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "stream: a frame of %u bytes is announced, the limit is %zu; "
		    "the other side does not speak this protocol",
		    len, limit);
	if (have - PV_FRAME_HEADER < len)
		return 0;
	payload->data = at + PV_FRAME_HEADER;
	payload->len = len;
	reader->used += PV_FRAME_HEADER + (size_t)len;
	return 1;
}

int pv_frame_at_boundary(const struct pv_frame_reader *reader)
{
	return reader->used == reader->in.len;
}

void pv_frame_reader_finish(struct pv_frame_reader *reader)
{
	if (!reader)
		return;
	pv_bytes_finish(&reader->in);
	reader->used = 0;
}
