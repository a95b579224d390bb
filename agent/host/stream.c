/*
 * A stream is a call without a natural end. Its data waits in a buffer; what the reader takes is
 * granted anew in halves of the window, so that a long stream costs a small frame now and then. An
 * agent that sends more than it was granted breaks the protocol.
 *
 * An empty piece on the notice channel says that the source is followed from now on; one byte there
 * says that something happened at this place of the stream.
 */
#include "agent/host/stream.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/host/call.h"
#include "base/clock.h"
#include "base/loop.h"

/* A guest that replaces its file for ever must not eat the host. */
#define ROTATIONS_MAX 1024

struct pv_agent_stream {
	struct pv_agent_call *call;
	struct pv_loop *loop;
	struct pv_bytes queue; /* the first `taken` bytes are gone */
	size_t taken;
	uint64_t granted; /* that the agent may still send */
	uint64_t owed;	  /* taken, and not granted anew */
	uint64_t came;	  /* bytes altogether */
	bool begun;
	bool truncated;
	uint64_t *rotations;
	size_t rotation_count;
};

/* --- on the loop thread --- */

static int take_notice(struct pv_agent_stream *stream, struct pv_span data)
{
	if (data.len == 0) {
		stream->begun = true;
		return 0;
	}
	if (data.len != 1 || *(const uint8_t *)data.data != PV_PROTOCOL_NOTICE_ROTATED)
		return -EBADMSG;
	if (stream->rotation_count == ROTATIONS_MAX)
		return 0;
	uint64_t *rotations =
	    reallocarray(stream->rotations, stream->rotation_count + 1, sizeof(*stream->rotations));
	if (!rotations)
		return -ENOMEM;
	stream->rotations = rotations;
	stream->rotations[stream->rotation_count++] = stream->came;
	return 0;
}

static int take_data(void *ctx, enum pv_protocol_channel channel, struct pv_span data)
{
	struct pv_agent_stream *stream = ctx;
	int status = 0;
	if (channel == PV_PROTOCOL_CHANNEL_NOTICE)
		status = take_notice(stream, data);
	else if (data.len > stream->granted)
		status = -EBADMSG;
	else
		status = pv_bytes_append(&stream->queue, data.data, data.len);
	if (status == 0 && channel != PV_PROTOCOL_CHANNEL_NOTICE) {
		stream->granted -= data.len;
		stream->came += data.len;
	}
	pv_loop_wake(stream->loop);
	return status;
}

static bool take_end(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_stream *stream = ctx;
	int64_t truncated;
	stream->truncated = pv_reply_get_number(reply, "truncated", &truncated) && truncated != 0;
	return true;
}

/* --- on the script thread --- */

static void destroy(struct pv_agent_stream *stream)
{
	pv_bytes_finish(&stream->queue);
	free(stream->rotations);
	free(stream);
}

static void grant(struct pv_agent_stream *stream, uint64_t bytes)
{
	stream->granted += bytes;
	pv_agent_call_grant(stream->call, bytes);
}

/* [locked] The call is the stream's, or gone. */
static int begin(struct pv_agent_stream *stream, const struct pv_principal *by,
    struct pv_request *request, bool lasts, struct pv_err *err)
{
	struct pv_agent_call *call = pv_agent_call_create(request->op);
	if (!call)
		return pv_err_nomem(err, "a call to the guest's agent");
	call->data = take_data;
	call->result = take_end;
	call->ctx = stream;
	int status = pv_agent_call_begin(by, call, request, 0, err);
	if (status < 0)
		return status;
	stream->call = call;
	grant(stream, PV_AGENT_STREAM_WINDOW);
	while (!stream->begun && !call->done)
		pv_loop_wait(stream->loop, PV_CLOCK_NEVER);
	if (!stream->begun && call->status < 0) {
		*err = call->err;
		status = call->status;
	}
	call->lasts = lasts;
	return status;
}

static int begin_any(const struct pv_principal *by, struct pv_request *request, bool lasts,
    struct pv_agent_stream **out, struct pv_err *err)
{
	struct pv_agent_stream *stream = calloc(1, sizeof(*stream));
	*out = stream;
	if (!stream)
		return pv_err_nomem(err, "a stream from the guest");
	stream->loop = by->agent->loop;
	pv_loop_lock(stream->loop);
	int status = begin(stream, by, request, lasts, err);
	pv_loop_unlock(stream->loop);
	if (status < 0) {
		pv_agent_stream_close(stream);
		*out = NULL;
	}
	return status;
}

int pv_agent_stream_begin(const struct pv_principal *by, struct pv_request *request,
    struct pv_agent_stream **out, struct pv_err *err)
{
	return begin_any(by, request, true, out, err);
}

int pv_agent_stream_fetch(const struct pv_principal *by, struct pv_request *request,
    struct pv_agent_stream **out, struct pv_err *err)
{
	return begin_any(by, request, false, out, err);
}

int pv_agent_stream_tail(const struct pv_principal *by, const char *path,
    enum pv_agent_stream_from from, int64_t offset, struct pv_agent_stream **out,
    struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_TAIL,
	    .tail = {.path = path, .from = from, .offset = offset},
	};
	int status = pv_agent_stream_begin(by, &request, out, err);
	return status < 0 ? pv_err_prefix(err, "tail `%.400s`", path) : 0;
}

int pv_agent_stream_handle(
    const struct pv_principal *by, int64_t handle, struct pv_agent_stream **out, struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_TAIL_HANDLE,
	    .tail = {.handle = handle},
	};
	return pv_agent_stream_begin(by, &request, out, err);
}

static size_t waiting(const struct pv_agent_stream *stream)
{
	return stream->queue.len - stream->taken;
}

/* Moves the rest to the front only when that moves little. */
static void tidy(struct pv_agent_stream *stream)
{
	if (stream->taken < waiting(stream))
		return;
	pv_bytes_consume(&stream->queue, stream->taken);
	stream->taken = 0;
}

int pv_agent_stream_take(
    struct pv_agent_stream *stream, struct pv_bytes *out, size_t max, struct pv_err *err)
{
	size_t len = waiting(stream) < max ? waiting(stream) : max;
	if (len > 0) {
		if (pv_bytes_append(out, stream->queue.data + stream->taken, len) < 0)
			return pv_err_nomem(err, "data of a stream");
		stream->taken += len;
		stream->owed += len;
		tidy(stream);
		if (stream->owed >= PV_AGENT_STREAM_WINDOW / 2) {
			grant(stream, stream->owed);
			stream->owed = 0;
		}
		return (int)len;
	}
	if (!stream->call->done)
		return -EAGAIN;
	if (stream->call->status < 0)
		*err = stream->call->err;
	return stream->call->status;
}

bool pv_agent_stream_is_over(const struct pv_agent_stream *stream)
{
	return stream->call->done && waiting(stream) == 0;
}

bool pv_agent_stream_is_truncated(const struct pv_agent_stream *stream)
{
	return stream->truncated;
}

bool pv_agent_stream_rotation(const struct pv_agent_stream *stream, size_t index, uint64_t *offset)
{
	if (index >= stream->rotation_count)
		return false;
	*offset = stream->rotations[index];
	return true;
}

void pv_agent_stream_close(struct pv_agent_stream *stream)
{
	if (!stream)
		return;
	pv_loop_lock(stream->loop);
	pv_agent_call_drop(stream->call);
	pv_loop_unlock(stream->loop);
	destroy(stream);
}
