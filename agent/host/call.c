/*
 * Calls: begun on the script thread, fed by the loop thread, awaited with pv_loop_wait.
 *
 * Each call has exactly one last frame. A caller that gives up (it ran out of memory for the data)
 * leaves its call in the list, marked abandoned, and asks the agent to cancel; so a frame whose
 * number is in no list can only be a violation of the protocol, and "requests without final answer"
 * is simply the length of the list.
 *
 * Data towards the guest obeys two limits: the credit of the call, which the agent gives, and the
 * length of the queue to the link.
 */
#include "agent/host/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/client.h"
#include "base/clock.h"
#include "base/loop.h"

/* Uploads pause while more than this waits for the connection, or for the agent to acknowledge it:
 * more than fits into sockets on the way, and what an agent need not acknowledge. */
#define QUEUE_MAX (512u << 10)
#define KEPT_MAX  (2u << 20)
_Static_assert(KEPT_MAX > 2 * PV_LINK_ACK_EVERY && KEPT_MAX < PV_LINK_KEPT_MAX, "or uploads hang");

const char *pv_agent_call_clean(char *out, size_t size, struct pv_span text)
{
	const unsigned char *from = text.data;
	size_t len = text.len < size - 1 ? text.len : size - 1;
	for (size_t i = 0; i < len; i++)
		out[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
	out[len] = '\0';
	return out;
}

int pv_agent_call_no_link(const struct pv_agent *agent, struct pv_err *err)
{
	return pv_err_set(err, PV_ERR_GUEST, ENOTCONN, "the guest's agent cannot be reached: %s",
	    agent->ops ? "it has not said hello yet" : agent->reason);
}

struct pv_agent_call *pv_agent_call_create(enum pv_request_op op)
{
	struct pv_agent_call *call = calloc(1, sizeof(*call));
	if (call)
		call->op = op;
	return call;
}

static void unlink_call(struct pv_agent_call *call)
{
	struct pv_agent_call **at = &call->agent->first;
	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	call->agent->count--;
	call->agent = NULL;
}

/* Queues the request. Returns 0 or -errno. */
static int send_request(
    const struct pv_principal *by, struct pv_request *request, struct pv_err *err)
{
	struct pv_agent *agent = by->agent;
	/* What is asked of an agent that was interrupted waits with the rest. */
	if (!agent->ready && (!pv_agent_is_interrupted(agent) || agent->asleep[0]))
		return pv_agent_call_no_link(agent, err);
	if (by->boot != 0 && by->boot != agent->boot)
		return pv_err_set(err, PV_ERR_STATE, ESTALE, "the guest was rebooted since");
	if (agent->count >= PV_PROTOCOL_CALLS_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, EAGAIN,
		    "%u calls to the guest's agent are under way already", agent->count);
	request->id = agent->last_id + 1;
	return pv_request_encode(request, pv_agent_out(agent), err);
}

int pv_agent_call_begin(const struct pv_principal *by, struct pv_agent_call *call,
    struct pv_request *request, size_t inline_len, struct pv_err *err)
{
	struct pv_agent *agent = by->agent;
	request->worker = by->worker;
	int status = send_request(by, request, err);
	if (status < 0) {
		free(call);
		return status;
	}
	call->agent = agent;
	call->id = ++agent->last_id;
	call->window = PV_PROTOCOL_WINDOW - inline_len;
	call->unacked = inline_len;
	call->next = agent->first;
	agent->first = call;
	agent->count++;
	pv_agent_flush(agent);
	return 0;
}

/* The call has its last frame, or will never have it. */
static void complete(struct pv_agent *agent, struct pv_agent_call *call, int status)
{
	unlink_call(call);
	if (call->abandoned) {
		free(call);
		pv_loop_wake(agent->loop); /* for who waits until the client is quiescent */
		return;
	}
	/* A failure of our own that came first stands. */
	if (!call->done)
		call->status = status;
	call->done = true;
	pv_loop_wake(agent->loop);
}

void pv_agent_call_fail_all(struct pv_agent *agent, const char *reason)
{
	while (agent->first) {
		struct pv_agent_call *call = agent->first;
		int status = 0;
		if (!call->done)
			status = pv_err_set(&call->err, PV_ERR_GUEST, ECONNRESET, "%s", reason);
		complete(agent, call, status);
	}
	pv_loop_wake(agent->loop);
}

/* Queues a request that belongs to a call, without sending it. Returns 0 or -ENOMEM. */
static int follow_up(const struct pv_agent_call *call, enum pv_request_op op, struct pv_span data)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_request request = {.id = call->id, .op = op, .chunk = data};
	return pv_request_encode(&request, pv_agent_out(call->agent), &ignored);
}

/* Ends the caller's wait with `status` and call->err, which are set; the agent is asked to stop. */
static void give_up(struct pv_agent_call *call, int status)
{
	call->status = status;
	call->done = true;
	memset(call->sinks, 0, sizeof(call->sinks));
	call->data = NULL;
	follow_up(call, PV_REQUEST_CANCEL, (struct pv_span){0});
	pv_loop_wake(call->agent->loop);
}

void pv_agent_cancel(struct pv_agent *agent, const char *reason)
{
	/* Sending can end the stream, and that changes the list: not before all are told. */
	for (struct pv_agent_call *call = agent->first; call; call = call->next) {
		if (!call->done && !call->lasts)
			give_up(
			    call, pv_err_set(&call->err, PV_ERR_STATE, ECANCELED, "%s", reason));
	}
	pv_agent_flush(agent);
}

/* Whoever waits for a guest that sleeps would wait for ever, because he is the one who could wake
 * it. */
static bool sleeps(struct pv_agent_call *call)
{
	if (call->done || !call->agent->asleep[0])
		return false;
	give_up(call, pv_err_set(&call->err, PV_ERR_STATE, EBADFD, "%s", call->agent->asleep));
	return true;
}

/* Bulk data may go out. */
static bool has_room(const struct pv_agent_call *call)
{
	const struct pv_link *link = &call->agent->link;
	return call->window > 0 && pv_link_unsent(link).len <= QUEUE_MAX &&
	       pv_link_kept(link) <= KEPT_MAX;
}

void pv_agent_call_upload_piece(struct pv_agent_call *call, const void *data, size_t len)
{
	struct pv_agent *agent = call->agent;
	const char *at = data;
	while (len > 0) {
		while (!call->done && !has_room(call) && !sleeps(call))
			pv_loop_wait(agent->loop, PV_CLOCK_NEVER);
		if (call->done)
			return;
		size_t piece = len < PV_PROTOCOL_CHUNK ? len : PV_PROTOCOL_CHUNK;
		if (piece > call->window)
			piece = (size_t)call->window;
		if (follow_up(call, PV_REQUEST_CHUNK, (struct pv_span){.data = at, .len = piece}) <
		    0) {
			give_up(call, pv_err_nomem(&call->err, "data for the guest"));
			return;
		}
		pv_agent_flush(agent);
		call->window -= piece;
		call->unacked += piece;
		at += piece;
		len -= piece;
	}
}

void pv_agent_call_upload_end(struct pv_agent_call *call)
{
	struct pv_agent *agent = call->agent;
	if (call->done)
		return; /* and then there is perhaps no agent */
	if (follow_up(call, PV_REQUEST_FINISH, (struct pv_span){0}) < 0)
		give_up(call, pv_err_nomem(&call->err, "data for the guest"));
	pv_agent_flush(agent);
}

void pv_agent_call_upload(struct pv_agent_call *call, const void *data, size_t len)
{
	pv_agent_call_upload_piece(call, data, len);
	pv_agent_call_upload_end(call);
}

/* The caller is done with it; the agent may not be. */
static void release(struct pv_agent_call *call)
{
	if (call->agent)
		call->abandoned = true;
	else
		free(call);
}

int pv_agent_call_wait(struct pv_agent_call *call, struct pv_loop *loop, int64_t deadline_ns)
{
	while (!call->done && !sleeps(call)) {
		if (pv_loop_wait(loop, deadline_ns) < 0 && !call->done)
			return -ETIMEDOUT;
	}
	return 0;
}

int pv_agent_call_end(struct pv_agent_call *call, struct pv_loop *loop, struct pv_err *err)
{
	pv_agent_call_wait(call, loop, PV_CLOCK_NEVER);
	int status = call->status;
	if (status < 0)
		*err = call->err;
	release(call);
	return status;
}

void pv_agent_call_drop(struct pv_agent_call *call)
{
	if (!call)
		return;
	struct pv_agent *agent = call->agent;
	if (!call->done)
		give_up(call, -ECANCELED);
	release(call);
	if (agent)
		pv_agent_flush(agent);
}

void pv_agent_call_grant(struct pv_agent_call *call, uint64_t bytes)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_request request = {
	    .id = call->id, .op = PV_REQUEST_GRANT, .grant = (int64_t)bytes};
	if (!call->agent || call->done)
		return;
	if (pv_request_encode(&request, pv_agent_out(call->agent), &ignored) < 0)
		give_up(call, pv_err_nomem(&call->err, "credit for the guest"));
	pv_agent_flush(call->agent);
}

/* --- frames from the agent --- */

static int violation(struct pv_err *err, const struct pv_agent_call *call, const char *what)
{
	return pv_err_set(err, PV_ERR_GUEST, EBADMSG, "%s: %s", pv_request_name(call->op), what);
}

static int take_data(struct pv_agent *agent, struct pv_agent_call *call,
    const struct pv_reply *reply, struct pv_err *err)
{
	if (call->done)
		return 0;
	struct pv_bytes *sink = call->sinks[reply->channel];
	if (!call->data && !sink)
		return violation(err, call, "data that nobody asked for");
	int status = call->data ? call->data(call->ctx, reply->channel, reply->data)
				: pv_bytes_append(sink, reply->data.data, reply->data.len);
	if (status == -EBADMSG)
		return violation(err, call, "data that it may not send");
	if (status < 0) {
		give_up(call, pv_err_nomem(&call->err, "data from the guest"));
		pv_agent_flush(agent);
	}
	return 0;
}

static int take_credit(struct pv_agent *agent, struct pv_agent_call *call,
    const struct pv_reply *reply, struct pv_err *err)
{
	if (reply->credit > call->unacked)
		return violation(err, call, "credit for more than was sent");
	call->unacked -= reply->credit;
	call->window += reply->credit;
	pv_loop_wake(agent->loop);
	return 0;
}

static int take_error(struct pv_agent_call *call, const struct pv_reply *reply)
{
	char text[256];
	pv_agent_call_clean(text, sizeof(text), reply->message);
	if (call->done)
		return 0;
	if (reply->kind == PV_REPLY_ERROR)
		return pv_err_set(&call->err, PV_ERR_GUEST, reply->code, "%s", text);
	int code = reply->reason == PV_REPLY_UNSUPPORTED ? ENOSYS : EPROTO;
	return pv_err_set(&call->err, PV_ERR_GUEST, code, "the guest's agent refused (%s): %s",
	    pv_reply_reason_name(reply->reason), text);
}

int pv_agent_call_take(struct pv_agent *agent, const struct pv_reply *reply, struct pv_err *err)
{
	struct pv_agent_call *call = agent->first;
	while (call && call->id != reply->id)
		call = call->next;
	if (!call)
		return pv_err_set(err, PV_ERR_GUEST, EBADMSG, "answer to a call that is not open");
	switch (reply->kind) {
	case PV_REPLY_DATA: return take_data(agent, call, reply, err);
	case PV_REPLY_CREDIT: return take_credit(agent, call, reply, err);
	case PV_REPLY_RESULT:
		/* The caller's memory is only there while it waits. */
		if (!call->done && !call->result(call->ctx, reply))
			return violation(err, call, "a result with wrong fields");
		complete(agent, call, 0);
		return 0;
	default: complete(agent, call, take_error(call, reply)); return 0;
	}
}
