/*
 * The buffers of one system call: memory of their own in this process, each 16-byte aligned, with
 * pages behind it that nobody may touch, so that a kernel which writes too far gets a fault where
 * it does and the agent keeps its heap.
 */
#ifndef PV_AGENT_GUEST_BUFFERS_H
#define PV_AGENT_GUEST_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/proto/request.h"
#include "base/bytes.h"

#define PV_BUFFERS_SPARE_MAX 4

/* Mappings for calls with few small buffers, kept for the next ones. Zeroed: none. */
struct pv_buffers_spares {
	uint8_t *maps[PV_BUFFERS_SPARE_MAX];
	unsigned count;
};

/* Zeroed: no buffers. */
struct pv_buffers {
	const int64_t *lens;
	size_t count;
	uint8_t **at;	/* NULL without buffers */
	uint64_t total; /* bytes of all */
	uint8_t *map;
	size_t map_len; /* 0: a spare */
	/* Where the next byte of content goes. */
	size_t fill_index;
	size_t fill_offset;
	uint64_t filled;
};

/*
 * Makes room for buffers of these lengths, which stay the caller's and must last as long. Returns
 * 0, -EINVAL for a negative length, -E2BIG over PV_PROTOCOL_MEMORY_MAX, -ENOMEM. Finish it in every
 * case.
 */
int pv_buffers_init(struct pv_buffers *buffers, const struct pv_request_numbers *lens,
    struct pv_buffers_spares *spares);

/* Adds content where the last addition ended. False when there is no room for all of it. */
bool pv_buffers_fill(struct pv_buffers *buffers, struct pv_span data);

/* What is to become of the memory after a call. */
enum pv_buffers_end {
	PV_BUFFERS_REUSE, /* it is as it was */
	PV_BUFFERS_UNMAP, /* it may have other rights, or other properties */
	PV_BUFFERS_LEAVE, /* it may be gone, and belong to others by now: hands off, for ever */
};

void pv_buffers_finish(
    struct pv_buffers *buffers, struct pv_buffers_spares *spares, enum pv_buffers_end end);

#endif
