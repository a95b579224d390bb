/*
 * One call from its begin to its end, on the script thread, under the loop lock that waiting drops.
 */
#include "agent/host/transfer.h"

#include <errno.h>

#include "agent/host/client.h"
#include "base/clock.h"
#include "base/loop.h"

static bool take_nothing(void *ctx, const struct pv_reply *reply)
{
	return true;
}

size_t pv_agent_transfer_first(size_t len)
{
	return len < PV_PROTOCOL_CHUNK ? len : PV_PROTOCOL_CHUNK;
}

static int run(
    const struct pv_principal *by, struct pv_agent_transfer *transfer, struct pv_err *err)
{
	struct pv_agent_call *call = pv_agent_call_create(transfer->request.op);
	if (!call)
		return pv_err_nomem(err, "a call to the guest's agent");
	call->sinks[PV_PROTOCOL_CHANNEL_FILE] = transfer->sink;
	if (transfer->output) {
		call->sinks[PV_PROTOCOL_CHANNEL_STDOUT] = &transfer->output->out;
		call->sinks[PV_PROTOCOL_CHANNEL_STDERR] = &transfer->output->err;
	}
	call->result = transfer->result ? transfer->result : take_nothing;
	call->ctx = transfer->ctx;
	int status = pv_agent_call_begin(by, call, &transfer->request, transfer->first.len, err);
	if (status < 0)
		return status;
	transfer->boot = by->agent->boot;
	if (transfer->rest.len > 0)
		pv_agent_call_upload(call, transfer->rest.data, transfer->rest.len);
	int64_t deadline =
	    transfer->patience_ns > 0 ? pv_clock_deadline(transfer->patience_ns) : PV_CLOCK_NEVER;
	if (pv_agent_call_wait(call, by->agent->loop, deadline) < 0) {
		pv_agent_call_drop(call);
		return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT, "the guest does not answer");
	}
	return pv_agent_call_end(call, by->agent->loop, err);
}

int pv_agent_transfer_run(
    const struct pv_principal *by, struct pv_agent_transfer *transfer, struct pv_err *err)
{
	pv_loop_lock(by->agent->loop);
	int status = run(by, transfer, err);
	pv_loop_unlock(by->agent->loop);
	return status;
}
