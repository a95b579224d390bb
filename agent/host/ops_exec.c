/*
 * `exec`: runs a program in the guest and collects what it writes. Called on the script thread
 * without the loop lock.
 */
#include <errno.h>
#include <string.h>

#include "agent/host/call.h"
#include "agent/host/client.h"
#include "base/loop.h"

_Static_assert((int)PV_AGENT_EXITED == PV_REPLY_EXITED &&
		   (int)PV_AGENT_SIGNALLED == PV_REPLY_SIGNALLED &&
		   (int)PV_AGENT_TIMED_OUT == PV_REPLY_TIMED_OUT,
    "the client's and the protocol's names are the same numbers");

static bool take_result(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_exec_result *result = ctx;
	enum pv_reply_exit exit;
	if (!pv_reply_get_exit(reply, &exit, &result->code))
		return false;
	result->kind = (enum pv_agent_exit_kind)exit;
	return true;
}

static int run(const struct pv_principal *by, const struct pv_agent_exec *exec,
    struct pv_agent_exec_result *result, struct pv_err *err)
{
	size_t first = exec->input_len < PV_PROTOCOL_CHUNK ? exec->input_len : PV_PROTOCOL_CHUNK;
	bool more = exec->input_len > first;
	struct pv_agent_call *call = pv_agent_call_create(PV_REQUEST_EXEC);
	if (!call)
		return pv_err_nomem(err, "a call to the guest's agent");
	call->sinks[PV_PROTOCOL_CHANNEL_STDOUT] = &result->out;
	call->sinks[PV_PROTOCOL_CHANNEL_STDERR] = &result->err;
	call->result = take_result;
	call->ctx = result;
	struct pv_request request = {
	    .op = PV_REQUEST_EXEC,
	    .exec =
		{
		       .argv = {exec->argv, exec->argc},
		       .env = {exec->env, exec->env_count},
		       .env_clear = exec->env_clear,
		       .cwd = exec->cwd,
		       .timeout_ns = exec->timeout_ns,
		       .data = {.data = exec->input, .len = first},
		       .more = more,
		       },
	};
	int status = pv_agent_call_begin(by, call, &request, first, err);
	if (status < 0)
		return status;
	if (more)
		pv_agent_call_upload(
		    call, (const char *)exec->input + first, exec->input_len - first);
	return pv_agent_call_end(call, by->agent->loop, err);
}

int pv_agent_exec(const struct pv_principal *by, const struct pv_agent_exec *exec,
    struct pv_agent_exec_result *result, struct pv_err *err)
{
	*result = (struct pv_agent_exec_result){0};
	if (exec->argc == 0 || exec->argc > PV_PROTOCOL_STRINGS_MAX ||
	    exec->env_count > PV_PROTOCOL_STRINGS_MAX)
		return pv_err_set(err, PV_ERR_INPUT, E2BIG,
		    "exec: give 1 to %u arguments and up to as many variables",
		    PV_PROTOCOL_STRINGS_MAX);
	pv_loop_lock(by->agent->loop);
	int status = run(by, exec, result, err);
	pv_loop_unlock(by->agent->loop);
	if (status < 0) {
		pv_bytes_finish(&result->out);
		pv_bytes_finish(&result->err);
		pv_err_prefix(err, "exec `%.200s`", exec->argv[0]);
	}
	return status;
}
