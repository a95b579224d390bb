/*
 * The operations `process_*`: each a call that names a handle. Called on the script thread without
 * the loop lock.
 */
#include "agent/host/process.h"

#include <errno.h>
#include <inttypes.h>

#include "agent/host/client.h"
#include "agent/host/stream.h"
#include "agent/host/transfer.h"

/* Runs an operation on a handle, which comes before its error. */
static int run_on(
    const struct pv_principal *by, struct pv_agent_transfer *operation, struct pv_err *err)
{
	operation->first = operation->request.process.data;
	int status = pv_agent_transfer_run(by, operation, err);
	if (status < 0)
		pv_err_prefix(err, "process %" PRId64, operation->request.process.handle);
	return status;
}

/* An operation with no arguments and no results of its own. */
static struct pv_agent_transfer operation_on(uint64_t handle, enum pv_request_op op)
{
	return (struct pv_agent_transfer){
	    .request = {.op = op, .process = {.handle = (int64_t)handle}},
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
	struct pv_agent_transfer operation = {
	    .request = pv_agent_exec_request(exec, PV_REQUEST_PROCESS_START),
	    .result = take_process,
	    .ctx = out,
	};
	*out = (struct pv_agent_process){0};
	int status = pv_agent_exec_transfer(by, exec, "start", &operation, err);
	out->boot = operation.boot;
	return status;
}

/* --- the others --- */

int pv_agent_process_wait(const struct pv_principal *by, uint64_t handle, int64_t timeout_ns,
    struct pv_agent_exec_result *result, struct pv_err *err)
{
	struct pv_agent_transfer operation = operation_on(handle, PV_REQUEST_PROCESS_WAIT);
	operation.request.process.timeout_ns = timeout_ns;
	operation.output = result;
	operation.result = pv_agent_exec_take;
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
	struct pv_agent_transfer operation = operation_on(handle, PV_REQUEST_PROCESS_STATUS);
	operation.result = take_running;
	operation.ctx = running;
	return run_on(by, &operation, err);
}

int pv_agent_process_signal(
    const struct pv_principal *by, uint64_t handle, int signal, struct pv_err *err)
{
	struct pv_agent_transfer operation = operation_on(handle, PV_REQUEST_PROCESS_SIGNAL);
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
	size_t first = pv_agent_transfer_first(len);
	struct pv_agent_transfer operation = operation_on(handle, PV_REQUEST_PROCESS_WRITE);
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
	struct pv_agent_transfer operation = operation_on(handle, PV_REQUEST_PROCESS_CLOSE_INPUT);
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
	struct pv_agent_transfer operation = operation_on(handle, PV_REQUEST_PROCESS_CLOSE);
	operation.patience_ns = PV_AGENT_CLOSE_PATIENCE;
	return run_on(by, &operation, err);
}
