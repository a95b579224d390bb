/*
 * The operations `worker_*`. Called on the script thread without the loop lock.
 */
#include "agent/host/worker.h"

#include <errno.h>
#include <inttypes.h>

#include "agent/host/client.h"
#include "agent/host/process.h"
#include "agent/host/transfer.h"

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
	struct pv_agent_transfer operation = {
	    .request = {.op = PV_REQUEST_WORKER_START},
	    .result = take_worker,
	    .ctx = out,
	};
	*out = (struct pv_agent_worker){0};
	int status = pv_agent_transfer_run(by, &operation, err);
	out->boot = operation.boot;
	if (status < 0)
		pv_err_prefix(err, "a worker cannot start");
	return status;
}

/* The reason often names the worker already. */
static void name_worker(const struct pv_principal *by, int status, struct pv_err *err)
{
	if (status == -ESTALE)
		pv_err_prefix(err, "worker %" PRIu64, by->worker);
}

int pv_agent_worker_signal(const struct pv_principal *by, int signal, struct pv_err *err)
{
	struct pv_agent_transfer operation = {
	    .request = {.op = PV_REQUEST_WORKER_SIGNAL, .of_worker = {.signal = signal}},
	};
	int status = pv_agent_transfer_run(by, &operation, err);
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
	struct pv_agent_transfer operation = {
	    .request = {.op = PV_REQUEST_WORKER_JOIN, .of_worker = {.force = force}},
	    .result = take_worst,
	    .ctx = worst,
	    .patience_ns = force ? PV_AGENT_CLOSE_PATIENCE : 0,
	};
	*worst = 0;
	int status = pv_agent_transfer_run(by, &operation, err);
	name_worker(by, status, err);
	return status;
}
