/*
 * Pushing walks the host's tree on the script thread and uploads the bytes as credit comes in;
 * pulling takes a granted stream piece by piece and builds. The loop lock is held while waiting and
 * never while the disk is touched.
 */
#include "agent/host/tree.h"

#include <errno.h>
#include <string.h>

#include "agent/host/call.h"
#include "agent/host/stream.h"
#include "agent/proto/tree.h"
#include "base/clock.h"
#include "base/loop.h"

/* Taken from a stream at once. */
#define PIECE (128u << 10)

/* What a guest may set of a file's permissions here. */
#define MODE_MASK 0777

static int fault(
    struct pv_err *err, const char *action, const char *root, const char *where, int status)
{
	return pv_err_set(err, PV_ERR_INPUT, -status, "%s `%.400s%s%.255s` failed: %s", action,
	    root, where[0] != '\0' ? "/" : "", where, strerror(-status));
}

/* --- push --- */

struct push {
	struct pv_agent_call *call;
	struct pv_loop *loop;
	struct pv_bytes piece; /* small records make one frame */
};

/* Returns -EPIPE when the call has ended. */
static int flush(struct push *push)
{
	pv_loop_lock(push->loop);
	if (!push->call->done)
		pv_agent_call_upload_piece(push->call, push->piece.data, push->piece.len);
	int status = push->call->done ? -EPIPE : 0;
	pv_loop_unlock(push->loop);
	push->piece.len = 0;
	return status;
}

static int push_bytes(void *ctx, const void *data, size_t len)
{
	struct push *push = ctx;
	if (pv_bytes_append(&push->piece, data, len) < 0)
		return -ENOMEM;
	return push->piece.len >= PIECE ? flush(push) : 0;
}

static bool take_nothing(void *ctx, const struct pv_reply *reply)
{
	return true;
}

static int begin_push(const struct pv_principal *by, struct push *push, const char *guest,
    bool is_directory, struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_PUT_TREE,
	    .file = {.path = guest, .directory = is_directory, .more = true},
	};
	struct pv_agent_call *call = pv_agent_call_create(request.op);
	if (!call)
		return pv_err_nomem(err, "a call to the guest's agent");
	call->result = take_nothing;
	pv_loop_lock(push->loop);
	int status = pv_agent_call_begin(by, call, &request, 0, err);
	pv_loop_unlock(push->loop);
	push->call = status < 0 ? NULL : call;
	return status;
}

int pv_agent_push(const struct pv_principal *by, const char *host, const char *guest,
    bool is_directory, struct pv_err *err)
{
	struct push push = {.loop = by->agent->loop};
	struct pv_tree_send send = {
	    .root = host,
	    .is_directory = is_directory,
	    .write = push_bytes,
	    .ctx = &push,
	};
	int status = begin_push(by, &push, guest, is_directory, err);
	if (status < 0)
		return pv_err_prefix(err, "push `%.400s`", guest);
	status = pv_tree_send(&send);
	if (status == 0)
		status = flush(&push);
	pv_bytes_finish(&push.piece);
	pv_loop_lock(push.loop);
	if (status < 0 && status != -EPIPE) {
		/* The guest's part must not look whole. */
		pv_agent_call_drop(push.call);
		fault(err, "read", host, send.where, status);
	} else {
		const bool is_whole = status == 0;
		pv_agent_call_upload_end(push.call);
		status = pv_agent_call_end(push.call, push.loop, err);
		if (status == 0 && !is_whole)
			status = pv_err_set(err, PV_ERR_GUEST, EPROTO,
			    "the guest's agent ended it before it had everything");
		if (status < 0)
			pv_err_prefix(err, "push `%.400s`", guest);
	}
	pv_loop_unlock(push.loop);
	return status;
}

/* --- pull --- */

/* Waits for a piece. Returns its length, 0 at the end, or -errno. */
static int take_piece(struct pv_agent_stream *stream, struct pv_loop *loop, struct pv_bytes *piece,
    struct pv_err *err)
{
	int count;
	piece->len = 0;
	pv_loop_lock(loop);
	while ((count = pv_agent_stream_take(stream, piece, PIECE, err)) == -EAGAIN)
		pv_loop_wait(loop, PV_CLOCK_NEVER);
	pv_loop_unlock(loop);
	return count;
}

static int build_from(struct pv_agent_stream *stream, struct pv_loop *loop,
    struct pv_tree_build *build, const char *guest, const char *host, struct pv_err *err)
{
	struct pv_bytes piece = {0};
	int count, status = 0;
	while (status == 0 && (count = take_piece(stream, loop, &piece, err)) != 0) {
		status = count < 0 ? count : pv_tree_build_take(build, piece.data, piece.len);
		if (count < 0)
			pv_err_prefix(err, "pull `%.400s`", guest);
		else if (status < 0 && status != -EBADMSG)
			fault(err, "write", host, pv_tree_build_where(build), status);
		if (count < 0 || (status < 0 && status != -EBADMSG))
			break;
	}
	pv_bytes_finish(&piece);
	if (status == 0)
		status = pv_tree_build_end(build);
	if (status == -EBADMSG)
		pv_err_set(err, PV_ERR_GUEST, EBADMSG,
		    "pull `%.400s`: the guest's agent sent no tree of files", guest);
	return status;
}

int pv_agent_pull(const struct pv_principal *by, const char *guest, const char *host,
    bool is_directory, struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_GET_TREE,
	    .file = {.path = guest, .directory = is_directory},
	};
	struct pv_agent_stream *stream = NULL;
	struct pv_tree_build *build = pv_tree_build_create(host, is_directory, MODE_MASK);
	int status = build ? pv_agent_stream_fetch(by, &request, &stream, err)
			   : pv_err_nomem(err, "a tree of files");
	if (status < 0)
		pv_err_prefix(err, "pull `%.400s`", guest);
	else
		status = build_from(stream, by->agent->loop, build, guest, host, err);
	pv_agent_stream_close(stream);
	pv_tree_build_destroy(build);
	return status;
}
