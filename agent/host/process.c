/*
 * The operations `process_*`: each a call that names a handle. Called on the script thread without
 * the loop lock.
 */
#include "agent/host/process.h"

#include <errno.h>
#include <inttypes.h>

#include "agent/host/call.h"
#include "agent/host/client.h"
#include "agent/host/stream.h"
#include "base/clock.h"
#include "base/loop.h"

/* One operation on a handle: begin, upload, end. */
struct operation {
	struct pv_request request;
	struct pv_span rest;		     /* of the data, behind what is in the request */
	struct pv_agent_exec_result *output; /* for data from the guest, or NULL */
	bool (*result)(void *ctx, const struct pv_reply *reply);
	void *ctx;
	int64_t patience_ns; /* 0: for ever */
};

static int run(const struct pv_principal *by, struct operation *operation, size_t inline_len,
    struct pv_err *err)
{
	struct pv_agent_call *call = pv_agent_call_create(operation->request.op);
	if (!call)
		return pv_err_nomem(err, "a call to the guest's agent");
	if (operation->output) {
		call->sinks[PV_PROTOCOL_CHANNEL_STDOUT] = &operation->output->out;
		call->sinks[PV_PROTOCOL_CHANNEL_STDERR] = &operation->output->err;
	}
	call->result = operation->result;
	call->ctx = operation->ctx;
	int status = pv_agent_call_begin(by, call, &operation->request, inline_len, err);
	if (status < 0)
		return status;
	if (operation->rest.len > 0)
		pv_agent_call_upload(call, operation->rest.data, operation->rest.len);
	if (operation->patience_ns > 0 && pv_agent_call_wait(call, by->agent->loop,
					      pv_clock_deadline(operation->patience_ns)) < 0) {
		pv_agent_call_drop(call);
		return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT, "the guest does not answer");
	}
	return pv_agent_call_end(call, by->agent->loop, err);
}

/* The same with the lock, and the handle before the error. */
static int run_on(const struct pv_principal *by, struct operation *operation, struct pv_err *err)
{
	pv_loop_lock(by->agent->loop);
	int status = run(by, operation, operation->request.process.data.len, err);
	pv_loop_unlock(by->agent->loop);
	if (status < 0)
		pv_err_prefix(err, "process %" PRId64, operation->request.process.handle);
	return status;
}

static bool take_nothing(void *ctx, const struct pv_reply *reply)
{
	(void)ctx;
	(void)reply;
	return true;
}

/* An operation with no arguments and no results of its own. */
static struct operation operation_on(uint64_t handle, enum pv_request_op op)
{
	return (struct operation){
	    .request = {.op = op, .process = {.handle = (int64_t)handle}},
	    .result = take_nothing,
	};
}

/* --- start --- */

static bool take_process(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_process *process = ctx;
	int64_t handle;
	if (!pv_reply_get_number(reply, "handle", &handle) || handle < 1 ||
	    !pv_reply_get_number(reply, "pid", &process->pid))
		return false;
	process->handle = (uint64_t)handle;
	return true;
}

int pv_agent_process_start(const struct pv_principal *by, const struct pv_agent_exec *exec,
    struct pv_agent_process *out, struct pv_err *err)
{
	size_t first = exec->input_len < PV_PROTOCOL_CHUNK ? exec->input_len : PV_PROTOCOL_CHUNK;
	struct operation operation = {
	    .request =
		{
			  .op = PV_REQUEST_PROCESS_START,
			  .exec =
			{
			    .argv = {exec->argv, exec->argc},
			    .env = {exec->env, exec->env_count},
			    .env_clear = exec->env_clear,
			    .cwd = exec->cwd,
			    .data = {.data = exec->input, .len = first},
			    .more = exec->input_len > first,
			}, },
	    .result = take_process,
	    .ctx = out,
	};
	*out = (struct pv_agent_process){0};
	if (exec->argc == 0 || exec->argc > PV_PROTOCOL_STRINGS_MAX ||
	    exec->env_count > PV_PROTOCOL_STRINGS_MAX)
		return pv_err_set(err, PV_ERR_INPUT, E2BIG,
		    "start: give 1 to %u arguments and up to as many variables",
		    PV_PROTOCOL_STRINGS_MAX);
	if (exec->input_len > first)
		operation.rest = (struct pv_span){
		    .data = (const char *)exec->input + first, .len = exec->input_len - first};
	pv_loop_lock(by->agent->loop);
	int status = run(by, &operation, first, err);
	out->boot = by->agent->boot;
	pv_loop_unlock(by->agent->loop);
	if (status < 0)
		pv_err_prefix(err, "start `%.200s`", exec->argv[0]);
	return status;
}

/* --- the others --- */

static bool take_exit(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_exec_result *result = ctx;
	enum pv_reply_exit exit;
	if (!pv_reply_get_exit(reply, &exit, &result->code))
		return false;
	result->kind = (enum pv_agent_exit_kind)exit;
	return true;
}

int pv_agent_process_wait(const struct pv_principal *by, uint64_t handle, int64_t timeout_ns,
    struct pv_agent_exec_result *result, struct pv_err *err)
{
	struct operation operation = operation_on(handle, PV_REQUEST_PROCESS_WAIT);
	operation.request.process.timeout_ns = timeout_ns;
	operation.output = result;
	operation.result = take_exit;
	operation.ctx = result;
	*result = (struct pv_agent_exec_result){0};
	int status = run_on(by, &operation, err);
	if (status < 0) {
		pv_bytes_finish(&result->out);
		pv_bytes_finish(&result->err);
	}
	return status;
}

static bool take_running(void *ctx, const struct pv_reply *reply)
{
	int64_t running;
	if (!pv_reply_get_number(reply, "running", &running))
		return false;
	*(bool *)ctx = running != 0;
	return true;
}

int pv_agent_process_status(
    const struct pv_principal *by, uint64_t handle, bool *running, struct pv_err *err)
{
	struct operation operation = operation_on(handle, PV_REQUEST_PROCESS_STATUS);
	operation.result = take_running;
	operation.ctx = running;
	return run_on(by, &operation, err);
}

int pv_agent_process_signal(
    const struct pv_principal *by, uint64_t handle, int signal, struct pv_err *err)
{
	struct operation operation = operation_on(handle, PV_REQUEST_PROCESS_SIGNAL);
	operation.request.process.signal = signal;
	return run_on(by, &operation, err);
}

static bool take_size(void *ctx, const struct pv_reply *reply)
{
	return pv_reply_get_size(reply, ctx);
}

int pv_agent_process_write(const struct pv_principal *by, uint64_t handle, const void *data,
    size_t len, struct pv_err *err)
{
	uint64_t size = 0;
	size_t first = len < PV_PROTOCOL_CHUNK ? len : PV_PROTOCOL_CHUNK;
	struct operation operation = operation_on(handle, PV_REQUEST_PROCESS_WRITE);
	operation.request.process.data = (struct pv_span){.data = data, .len = first};
	operation.request.process.more = len > first;
	if (len > first)
		operation.rest =
		    (struct pv_span){.data = (const char *)data + first, .len = len - first};
	operation.result = take_size;
	operation.ctx = &size;
	int status = run_on(by, &operation, err);
	if (status == 0 && size != len)
		status = pv_err_set(err, PV_ERR_GUEST, EPROTO,
		    "process %" PRIu64 ": %zu bytes were sent, the agent wrote %" PRIu64, handle,
		    len, size);
	return status;
}

int pv_agent_process_close_input(const struct pv_principal *by, uint64_t handle, struct pv_err *err)
{
	struct operation operation = operation_on(handle, PV_REQUEST_PROCESS_CLOSE_INPUT);
	return run_on(by, &operation, err);
}

int pv_agent_process_stream(const struct pv_principal *by, uint64_t handle, bool from_err,
    struct pv_agent_stream **out, struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_PROCESS_STREAM,
	    .process = {.handle = (int64_t)handle, .from_err = from_err},
	};
	int status = pv_agent_stream_begin(by, &request, out, err);
	if (status < 0)
		pv_err_prefix(err, "process %" PRIu64, handle);
	return status;
}

int pv_agent_process_close(const struct pv_principal *by, uint64_t handle, struct pv_err *err)
{
	struct operation operation = operation_on(handle, PV_REQUEST_PROCESS_CLOSE);
	operation.patience_ns = PV_AGENT_CLOSE_PATIENCE;
	return run_on(by, &operation, err);
}
