/*
 * Frames: a four-byte big-endian length and that many bytes of msgpack. The same framing carries events, agent messages and worker messages.
 */
#ifndef PV_BASE_FRAME_H
#define PV_BASE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_err;

#define PV_FRAME_MAX	(128u << 20)
#define PV_FRAME_HEADER 4

/* Starts a frame at the end of `out`; returns the offset to give to pv_frame_end, or -ENOMEM. */
int64_t pv_frame_begin(struct pv_bytes *out);

/* Fills in the length of the frame begun at `start`. Returns 0, or -EMSGSIZE over PV_FRAME_MAX (the frame is then removed). */
int pv_frame_end(struct pv_bytes *out, int64_t start);

/* Collects bytes of a stream and gives out whole frames. Zeroed = empty; `limit` 0 means PV_FRAME_MAX. */
struct pv_frame_reader {
	struct pv_bytes in;
	size_t used; /* bytes at the front of `in` already given out */
	size_t limit;
};

/* Adds received bytes. Returns 0 or -ENOMEM. */
int pv_frame_feed(struct pv_frame_reader *reader, const void *data, size_t len);

/*
 * Takes the next whole frame. Returns 1 and the payload (valid until the next feed or next), 0 when more bytes are needed, -EBADMSG when the
 * announced length exceeds the limit; the stream is then unusable.
 */
int pv_frame_next(struct pv_frame_reader *reader, struct pv_span *payload, struct pv_err *err);

/* True when the stream may end here: no partial frame is held. */
int pv_frame_at_boundary(const struct pv_frame_reader *reader);

void pv_frame_reader_finish(struct pv_frame_reader *reader);

#endif
