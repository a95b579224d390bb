/*
 * What follows something in the guest (a file that grows, the output of a process) until that ends
 * or nobody wants it any more. The agent sends as much as it was granted, so at most
 * PV_AGENT_STREAM_WINDOW bytes wait here, and a stream that nobody reads stops its source and
 * nobody else.
 */
#ifndef PV_AGENT_HOST_STREAM_H
#define PV_AGENT_HOST_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/host/client.h"

struct pv_agent_stream;
struct pv_request;

/* Bytes that wait for their reader, at most. */
#define PV_AGENT_STREAM_WINDOW (256u << 10)

/*
 * Sends the request of any operation that follows something, and waits until the agent says that it
 * follows from now on. `request` needs its operation and arguments only. The caller closes the
 * stream. Returns 0 or -errno; the error has no word about the operation yet. Script thread,
 * without the loop lock.
 */
int pv_agent_stream_begin(const struct pv_principal *by, struct pv_request *request,
    struct pv_agent_stream **out, struct pv_err *err);

/* The same for one that ends by itself: what cancels operations ends it, too. */
int pv_agent_stream_fetch(const struct pv_principal *by, struct pv_request *request,
    struct pv_agent_stream **out, struct pv_err *err);

enum pv_agent_stream_from {
	PV_AGENT_STREAM_FROM_START, /* plus the offset */
	PV_AGENT_STREAM_FROM_END,   /* minus: an offset from 0 down */
};

/* Follows the file at `path`, also through its replacement by a new one (rotation). */
int pv_agent_stream_tail(const struct pv_principal *by, const char *path,
    enum pv_agent_stream_from from, int64_t offset, struct pv_agent_stream **out,
    struct pv_err *err);

/* Follows an open file from its present position, which does not move. `by` says which life of the
 * agent gave the number. */
int pv_agent_stream_handle(const struct pv_principal *by, int64_t handle,
    struct pv_agent_stream **out, struct pv_err *err);

/*
 * [locked] Moves at most `max` bytes to the end of `out`, without waiting. Returns their number, 0
 * at the end of the stream, -EAGAIN when there are none now (pv_loop_wait is woken when that
 * changes), or another -errno with the reason: -ECONNRESET when the guest or its agent has gone.
 */
int pv_agent_stream_take(
    struct pv_agent_stream *stream, struct pv_bytes *out, size_t max, struct pv_err *err);

/* [locked] True when it has ended, well or not, and everything was taken. */
bool pv_agent_stream_is_over(const struct pv_agent_stream *stream);
/* [locked] True when it ended because its file became shorter. */
bool pv_agent_stream_is_truncated(const struct pv_agent_stream *stream);

/* [locked] The place of the `index`-th (from 0) replacement of the file: how many bytes of the
 * stream came before it. False when there were fewer. */
bool pv_agent_stream_rotation(const struct pv_agent_stream *stream, size_t index, uint64_t *offset);

/* Ends it; what waits is dropped. NULL is fine. Without the loop lock. */
void pv_agent_stream_close(struct pv_agent_stream *stream);

#endif
