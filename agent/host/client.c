/*
 * The link and the handshake: bytes from the owner of the stream become frames, frames become
 * answers of calls.
 *
 * When a connection comes up the client says hello; the agent answers with its protocol version,
 * and calls are possible when that is ours. A restored guest's agent has said hello already, so its
 * connection is adopted without one. An interrupted one leaves the session (proto/link.h): the next
 * hello names it, and the answer says whether the agent is still that one. What breaks the
 * protocol, be it a bad frame, an answer to no question or a frame over the limit, costs the link:
 * the reason is kept for later calls and the stream is closed. Memory is bounded by one frame plus
 * what callers have asked for.
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
	pv_link_init(&agent->link, PV_PROTOCOL_FRAME_MAX);
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

/* Forgets the connection. */
static void forget_connection(struct pv_agent *agent, const char *reason)
{
	agent->ops = NULL;
	agent->ready = false;
	agent->hello = 0;
	pv_link_cut(&agent->link);
	snprintf(agent->reason, sizeof(agent->reason), "%s", reason);
}

void pv_agent_drop(struct pv_agent *agent, const char *reason, bool close_link)
{
	const struct pv_agent_link_ops *ops = agent->ops;
	forget_connection(agent, reason);
	pv_link_finish(&agent->link);
	agent->ends++;
	agent->asleep[0] = '\0';
	pv_agent_call_fail_all(agent, agent->reason);
	if (ops && close_link)
		ops->close(agent->ctx);
}

void pv_agent_interrupt(struct pv_agent *agent, const char *reason)
{
	if (agent->link.session == 0) {
		pv_agent_drop(agent, reason, false);
		return;
	}
	forget_connection(agent, reason);
	pv_loop_wake(agent->loop);
}

bool pv_agent_is_interrupted(const struct pv_agent *agent)
{
	return agent->link.session != 0 && !agent->ready;
}

void pv_agent_sleep(struct pv_agent *agent, const char *reason)
{
	snprintf(agent->asleep, sizeof(agent->asleep), "%s", reason);
	pv_loop_wake(agent->loop);
}

void pv_agent_closed(struct pv_agent *agent)
{
	pv_agent_drop(agent, "the agent connection was lost", false);
}

void pv_agent_flush(struct pv_agent *agent)
{
	struct pv_span rest;
	if (agent->corked)
		return;
	while (agent->ops && (rest = pv_link_unsent(&agent->link)).len > 0) {
		const bool hails = pv_link_is_hailing(&agent->link);
		const unsigned ends = agent->ends;
		size_t taken = agent->ops->send(agent->ctx, rest.data, rest.len);
		if (!agent->ops) {
			/* The connection ended in there, and all of it may have arrived. */
			if (agent->ends == ends && !hails)
				pv_link_mark_sent(&agent->link, rest.len);
			return;
		}
		pv_link_mark_sent(&agent->link, taken < rest.len ? taken : rest.len);
		if (taken < rest.len)
			break;
	}
	if (agent->ops && pv_link_is_overdue(&agent->link))
		pv_agent_drop(agent,
		    "the guest's agent breaks the protocol: it acknowledges nothing of what it "
		    "gets",
		    true);
}

void pv_agent_writable(struct pv_agent *agent)
{
	pv_agent_flush(agent);
	pv_loop_wake(agent->loop); /* uploads wait for the queue to shrink */
}

/* A number that no session has, and 0 is none. From anywhere: a snapshot may bring one that another
 * process drew. */
static uint64_t draw_session(void)
{
	uint64_t number;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		number = (uint64_t)pv_clock_now();
	return number ? number : 1;
}

bool pv_agent_attach(struct pv_agent *agent, const struct pv_agent_link_ops *ops, void *ctx)
{
	if (agent->ops)
		return false;
	struct pv_err err = PV_ERR_INIT;
	const struct pv_request hello = {
	    .id = agent->last_id + 1,
	    .op = PV_REQUEST_HELLO,
	    .hello = {.version = PV_PROTOCOL_VERSION,
		      .host = "provium " PV_VERSION,
		      .session = draw_session(),
		      .resume = agent->link.session,
		      .received = agent->link.received},
	};
	if (pv_request_encode(&hello, pv_link_hail(&agent->link), &err) < 0)
		return false;
	agent->last_id++;
	agent->ops = ops;
	agent->ctx = ctx;
	agent->hello = hello.id;
	agent->fresh = hello.hello.session;
	agent->asleep[0] = '\0';
	pv_agent_flush(agent);
	return agent->ops != NULL;
}

struct pv_agent_mark pv_agent_mark(const struct pv_agent *agent)
{
	return (struct pv_agent_mark){
	    .next_id = agent->last_id + 1,
	    .boot = agent->boot,
	    .session = agent->link.session,
	    .sent = pv_link_sent(&agent->link),
	    .received = agent->link.received,
	};
}

bool pv_agent_adopt(struct pv_agent *agent, const struct pv_agent_link_ops *ops, void *ctx,
    const struct pv_agent_mark *mark)
{
	if (agent->ops || mark->next_id == 0 || mark->next_id > ID_MAX ||
	    mark->sent > PV_LINK_COUNT_MAX || mark->received > PV_LINK_COUNT_MAX)
		return false;
	if (pv_agent_is_interrupted(agent))
		pv_agent_drop(agent, "another guest goes on in its place", false);
	agent->ops = ops;
	agent->ctx = ctx;
	agent->last_id = mark->next_id - 1;
	agent->boot = mark->boot;
	agent->ready = true;
	agent->refused = false;
	agent->asleep[0] = '\0';
	pv_link_adopt(&agent->link, mark->session, mark->sent, mark->received);
	pv_loop_wake(agent->loop);
	return true;
}

/* Sends a request that has no answer. */
static void tell(struct pv_agent *agent, struct pv_request *request)
{
	struct pv_err ignored = PV_ERR_INIT;
	request->id = agent->last_id + 1;
	if (!agent->ready || pv_request_encode(request, pv_agent_out(agent), &ignored) < 0)
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
	return agent->ready && pv_agent_in_flight(agent) == 0 && pv_link_is_idle(&agent->link);
}

/* The agent cannot be used; says so to who waits for it. */
static int refuse(struct pv_agent *agent, struct pv_err *err)
{
	agent->refused = true;
	snprintf(agent->refusal, sizeof(agent->refusal), "%.250s", err->text);
	return -err->code;
}

/* The agent has said which session it is in: ours, or another one, and then nothing of ours is
 * left. */
static int enter_session(
    struct pv_agent *agent, const struct pv_reply_hello *hello, struct pv_err *err)
{
	const bool goes_on = hello->session != 0 && hello->session == agent->link.session;
	int status = 0;
	if (goes_on) {
		status = pv_link_resume(&agent->link, hello->received, err);
	} else if (hello->received != 0 ||
		   (hello->session != 0 && hello->session != agent->fresh)) {
		status = pv_err_set(
		    err, PV_ERR_GUEST, EBADMSG, "it goes on with a session that it is not in");
	} else {
		agent->ends++;
		pv_agent_call_fail_all(agent, agent->reason);
		pv_link_begin(&agent->link, hello->session);
		agent->boot = agent->fresh;
	}
	if (status == 0)
		status = pv_link_open(&agent->link, err);
	if (status < 0)
		return status;
	agent->hello = 0;
	agent->ready = true;
	agent->refused = false;
	pv_loop_wake(agent->loop);
	return 0;
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
	return enter_session(agent, &hello, err);
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

/* Hands out the frames that have come. Returns 0, or negative with the reason to give the agent up.
 * When the connection is lost meanwhile the rest waits for the next. */
static int take_frames(struct pv_agent *agent, struct pv_err *err)
{
	struct pv_span payload;
	unsigned ends = agent->ends;
	int status;
	while ((status = pv_link_next(&agent->link, &payload, err)) > 0) {
		const bool greeted = agent->ready;
		status = take_frame(agent, payload, err);
		if (status < 0)
			return status;
		if (!greeted)
			ends = agent->ends;
		if (agent->ends != ends)
			return 0; /* the session ended in there, and the rest with it */
	}
	return status;
}

void pv_agent_receive(struct pv_agent *agent, const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	if (!agent->ops)
		return;
	const uint64_t acknowledged = agent->link.acknowledged;
	int status = pv_link_feed(&agent->link, data, len, &err);
	if (status == 0)
		status = take_frames(agent, &err);
	if (status < 0) {
		char reason[256];
		snprintf(reason, sizeof(reason), "%s%.200s",
		    agent->refused ? "" : "the guest's agent breaks the protocol: ", err.text);
		pv_agent_drop(agent, reason, true);
		return;
	}
	if (agent->ops)
		agent->ops->digested(agent->ctx, len);
	/* An acknowledgement may be due, or what the agent did not get over its last connection. */
	pv_agent_flush(agent);
	if (agent->link.acknowledged != acknowledged)
		pv_loop_wake(agent->loop); /* uploads wait for that */
}
