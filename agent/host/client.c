/*
 * The link and the handshake: bytes from the owner of the stream become frames, frames become
 * answers of calls.
 *
 * When a link comes up the client says hello; the agent answers with its protocol version, and
 * calls are possible when that is ours. A restored guest's agent has said hello already, so its
 * link is adopted without one. What breaks the protocol, be it a bad frame, an answer to
 * no question or a frame over the limit, costs the link: the reason is kept for later calls and the
 * stream is closed. Memory is bounded by one frame plus what callers have asked for.
 *
 * The owner calls under the loop lock, mostly on the loop thread; calls come from the script
 * thread. The link's close may be called while the client digests bytes of that same link, so after
 * each frame the client looks whether the link is still there.
 */
#include "agent/host/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/host/call.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"

/* Restored numbers come from files; this leaves room for all calls to come. */
#define ID_MAX (UINT64_C(1) << 62)

_Static_assert(PV_AGENT_PORT == PV_PROTOCOL_PORT, "one port, two headers");
_Static_assert(PV_AGENT_ENTROPY_MAX == PV_PROTOCOL_ENTROPY_MAX, "one limit, two headers");

int pv_agent_create(struct pv_agent **out, struct pv_loop *loop, struct pv_err *err)
{
	struct pv_agent *agent = calloc(1, sizeof(*agent));
	*out = agent;
	if (!agent)
		return pv_err_nomem(err, "the guest agent's client");
	agent->loop = loop;
	agent->reader.limit = PV_PROTOCOL_FRAME_MAX;
	snprintf(agent->reason, sizeof(agent->reason), "it has not connected yet");
	return 0;
}

void pv_agent_destroy(struct pv_agent *agent)
{
	if (!agent)
		return;
	pv_loop_lock(agent->loop);
	pv_agent_drop(agent, "the client is gone", true);
	pv_loop_unlock(agent->loop);
	free(agent);
}

/* Forgets the stream and what was on its way. */
static void forget_link(struct pv_agent *agent)
{
	agent->ops = NULL;
	agent->ready = false;
	agent->hello = 0;
	pv_frame_reader_finish(&agent->reader);
	pv_bytes_finish(&agent->out);
	agent->sent = 0;
}

void pv_agent_drop(struct pv_agent *agent, const char *reason, bool close_link)
{
	const struct pv_agent_link_ops *ops = agent->ops;
	snprintf(agent->reason, sizeof(agent->reason), "%s", reason);
	forget_link(agent);
	pv_agent_call_fail_all(agent, agent->reason);
	if (ops && close_link)
		ops->close(agent->ctx);
}

void pv_agent_closed(struct pv_agent *agent)
{
	pv_agent_drop(agent, "the agent connection was lost", false);
}

void pv_agent_flush(struct pv_agent *agent)
{
	if (agent->corked)
		return;
	while (agent->ops && agent->sent < agent->out.len) {
		size_t left = agent->out.len - agent->sent;
		size_t taken = agent->ops->send(agent->ctx, agent->out.data + agent->sent, left);
		if (!agent->ops)
			return; /* the stream ended in there */
		agent->sent += taken < left ? taken : left;
		if (taken < left)
			break;
	}
	/* Move the rest to the front only when that moves little. */
	if (agent->sent >= agent->out.len - agent->sent) {
		pv_bytes_consume(&agent->out, agent->sent);
		agent->sent = 0;
	}
}

void pv_agent_writable(struct pv_agent *agent)
{
	pv_agent_flush(agent);
	pv_loop_wake(agent->loop); /* uploads wait for the queue to shrink */
}

bool pv_agent_attach(struct pv_agent *agent, const struct pv_agent_link_ops *ops, void *ctx)
{
	if (agent->ops)
		return false;
	struct pv_err err = PV_ERR_INIT;
	struct pv_request hello = {
	    .id = ++agent->last_id,
	    .op = PV_REQUEST_HELLO,
	    .hello = {.version = PV_PROTOCOL_VERSION, .host = "provium " PV_VERSION},
	};
	if (pv_request_encode(&hello, &agent->out, &err) < 0)
		return false;
	agent->ops = ops;
	agent->ctx = ctx;
	agent->hello = hello.id;
	pv_agent_flush(agent);
	return agent->ops != NULL;
}

bool pv_agent_adopt(struct pv_agent *agent, const struct pv_agent_link_ops *ops, void *ctx,
    uint64_t next_id, uint64_t boot)
{
	if (agent->ops || next_id == 0 || next_id > ID_MAX)
		return false;
	agent->ops = ops;
	agent->ctx = ctx;
	agent->last_id = next_id - 1;
	agent->boot = boot;
	agent->ready = true;
	agent->refused = false;
	pv_loop_wake(agent->loop);
	return true;
}

/* Sends a request that has no answer. */
static void tell(struct pv_agent *agent, struct pv_request *request)
{
	struct pv_err ignored = PV_ERR_INIT;
	request->id = agent->last_id + 1;
	if (!agent->ready || pv_request_encode(request, &agent->out, &ignored) < 0)
		return;
	agent->last_id++;
	pv_agent_flush(agent);
}

void pv_agent_reseed(struct pv_agent *agent, const void *data, size_t len)
{
	struct pv_request request = {
	    .op = PV_REQUEST_RESEED, .entropy = {.data = data, .len = len}
	  };
	if (len <= PV_PROTOCOL_ENTROPY_MAX)
		tell(agent, &request);
}

void pv_agent_set_wall(struct pv_agent *agent, int64_t wall_ns)
{
	struct pv_request request = {.op = PV_REQUEST_SET_WALL, .wall_ns = wall_ns};
	tell(agent, &request);
}

bool pv_agent_is_ready(const struct pv_agent *agent)
{
	return agent->ready;
}

const char *pv_agent_refusal(const struct pv_agent *agent)
{
	return agent->refused ? agent->refusal : NULL;
}

unsigned pv_agent_in_flight(const struct pv_agent *agent)
{
	return agent->count + (agent->hello != 0);
}

uint64_t pv_agent_next_id(const struct pv_agent *agent)
{
	return agent->last_id + 1;
}

uint64_t pv_agent_boot(const struct pv_agent *agent)
{
	return agent->boot;
}

bool pv_agent_is_quiescent(const struct pv_agent *agent)
{
	return agent->ready && pv_agent_in_flight(agent) == 0 && agent->sent == agent->out.len &&
	       pv_frame_at_boundary(&agent->reader);
}

/* The agent cannot be used; says so to who waits for it. */
static int refuse(struct pv_agent *agent, struct pv_err *err)
{
	agent->refused = true;
	snprintf(agent->refusal, sizeof(agent->refusal), "%.250s", err->text);
	return -err->code;
}

/* Before the handshake is done only its answer may come. */
static int take_hello(struct pv_agent *agent, const struct pv_reply *reply, struct pv_err *err)
{
	struct pv_reply_hello hello;
	char text[200];
	if (reply->id != agent->hello)
		return pv_err_set(err, PV_ERR_GUEST, EBADMSG, "answer before the handshake");
	if (reply->kind == PV_REPLY_ERROR || reply->kind == PV_REPLY_REFUSED) {
		pv_err_set(err, PV_ERR_GUEST, EPROTO, "agent refused the handshake: %s",
		    pv_agent_call_clean(text, sizeof(text), reply->message));
		return refuse(agent, err);
	}
	if (reply->kind != PV_REPLY_RESULT || !pv_reply_get_hello(reply, &hello))
		return pv_err_set(err, PV_ERR_GUEST, EBADMSG, "handshake with wrong fields");
	if (hello.version != PV_PROTOCOL_VERSION) {
		pv_err_set(err, PV_ERR_GUEST, EPROTO,
		    "agent speaks protocol %" PRIu64 ", this provium speaks %d", hello.version,
		    PV_PROTOCOL_VERSION);
		return refuse(agent, err);
	}
	/* From anywhere: a snapshot may bring one that another process drew. */
	if (getrandom(&agent->boot, sizeof(agent->boot), 0) != sizeof(agent->boot))
		agent->boot = (uint64_t)pv_clock_now();
	agent->hello = 0;
	agent->ready = true;
	agent->refused = false;
	pv_loop_wake(agent->loop);
	return 0;
}

static int take_frame(struct pv_agent *agent, struct pv_span payload, struct pv_err *err)
{
	struct pv_reply reply;
	int status = pv_reply_decode(&reply, payload.data, payload.len, err);
	if (status == 0)
		status = agent->ready ? pv_agent_call_take(agent, &reply, err)
				      : take_hello(agent, &reply, err);
	pv_reply_finish(&reply);
	return status;
}

void pv_agent_receive(struct pv_agent *agent, const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	if (!agent->ops)
		return;
	int status = pv_frame_feed(&agent->reader, data, len);
	if (status < 0)
		pv_err_nomem(&err, "frames from the guest's agent");
	while (status == 0) {
		status = pv_frame_next(&agent->reader, &payload, &err);
		if (status <= 0)
			break;
		status = take_frame(agent, payload, &err);
		if (!agent->ops)
			return; /* the link was closed under us, by a send that failed */
	}
	if (status < 0) {
		char reason[256];
		snprintf(reason, sizeof(reason), "%s%.200s",
		    agent->refused ? "" : "the guest's agent breaks the protocol: ", err.text);
		pv_agent_drop(agent, reason, true);
		return;
	}
	agent->ops->digested(agent->ctx, len);
}
