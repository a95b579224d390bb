/*
 * The operations `worker_*`. Called on the script thread without the loop lock.
 */
#include "agent/host/worker.h"

#include <errno.h>
#include <inttypes.h>

#include "agent/host/call.h"
#include "agent/host/client.h"
#include "agent/host/process.h"
#include "base/clock.h"
#include "base/loop.h"

static int run(const struct pv_principal *by, struct pv_request *request,
    bool (*result)(void *ctx, const struct pv_reply *reply), void *ctx, struct pv_err *err)
{
	struct pv_agent_call *call = pv_agent_call_create(request->op);
	if (!call)
		return pv_err_nomem(err, "a call to the guest's agent");
	call->result = result;
	call->ctx = ctx;
	int status = pv_agent_call_begin(by, call, request, 0, err);
	if (status < 0)
		return status;
	bool closes = request->op == PV_REQUEST_WORKER_JOIN && request->of_worker.force;
	int64_t deadline = closes ? pv_clock_deadline(PV_AGENT_CLOSE_PATIENCE) : PV_CLOCK_NEVER;
	if (pv_agent_call_wait(call, by->agent->loop, deadline) == 0)
		return pv_agent_call_end(call, by->agent->loop, err);
	pv_agent_call_drop(call);
	return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT, "the guest does not answer");
}

static bool take_worker(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_worker *worker = ctx;
	int64_t number;
	if (!pv_reply_get_number(reply, "worker", &number) || number < 1 ||
	    !pv_reply_get_number(reply, "pid", &worker->pid))
		return false;
	worker->number = (uint64_t)number;
	return true;
}

int pv_agent_worker_start(
    const struct pv_principal *by, struct pv_agent_worker *out, struct pv_err *err)
{
	struct pv_request request = {.op = PV_REQUEST_WORKER_START};
	*out = (struct pv_agent_worker){0};
	pv_loop_lock(by->agent->loop);
	int status = run(by, &request, take_worker, out, err);
	out->boot = by->agent->boot;
	pv_loop_unlock(by->agent->loop);
	if (status < 0)
		pv_err_prefix(err, "a worker cannot start");
	return status;
}

static bool take_nothing(void *ctx, const struct pv_reply *reply)
{
	(void)ctx;
	(void)reply;
	return true;
}

/* The reason often names the worker already. */
static void name_worker(const struct pv_principal *by, int status, struct pv_err *err)
{
	if (status == -ESTALE)
		pv_err_prefix(err, "worker %" PRIu64, by->worker);
}

int pv_agent_worker_signal(const struct pv_principal *by, int signal, struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_WORKER_SIGNAL, .of_worker = {.signal = signal}};
	pv_loop_lock(by->agent->loop);
	int status = run(by, &request, take_nothing, NULL, err);
	pv_loop_unlock(by->agent->loop);
	name_worker(by, status, err);
	return status;
}

static bool take_worst(void *ctx, const struct pv_reply *reply)
{
	int64_t *worst = ctx;
	return pv_reply_get_number(reply, "worst", worst) && *worst >= 0 && *worst <= UINT8_MAX;
}

int pv_agent_worker_join(
    const struct pv_principal *by, bool force, int64_t *worst, struct pv_err *err)
{
	struct pv_request request = {.op = PV_REQUEST_WORKER_JOIN, .of_worker = {.force = force}};
	*worst = 0;
	pv_loop_lock(by->agent->loop);
	int status = run(by, &request, take_worst, worst, err);
	pv_loop_unlock(by->agent->loop);
	name_worker(by, status, err);
	return status;
}
