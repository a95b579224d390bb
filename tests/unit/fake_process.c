/*
 * Programs in the background and workers of a fake guest, for tests of the layer above: what
 * agent/host/process.h and worker.h declare. A program is what vm:run of tests/unit/fake_lab.h
 * makes of it; what is done to it is added to its stderr, and `proc:wait` gives that. It runs until
 * it is waited for or gets a signal. The program "old" says that the guest was rebooted. Each fake
 * guest has the same numbers.
 */
#include "agent/host/process.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/host/client.h"
#include "agent/host/stream.h"
#include "agent/host/worker.h"
#include "base/clock.h"
#include "base/err.h"

#define PROCESSES_MAX 64

struct process {
	bool used;
	bool ended;
	bool old;
	uint64_t worker;
	struct pv_agent_exec_result result;
};

static struct process processes[PROCESSES_MAX];
static uint64_t last_worker;
static int64_t worst;

int pv_agent_process_start(const struct pv_principal *by, const struct pv_agent_exec *exec,
    struct pv_agent_process *out, struct pv_err *err)
{
	unsigned i = 0;
	while (i < PROCESSES_MAX - 1 && processes[i].used)
		i++;
	processes[i] = (struct process){
	    .used = true, .worker = by->worker, .old = strcmp(exec->argv[0], "old") == 0};
	*out = (struct pv_agent_process){.handle = i + 1, .pid = 100 + i, .boot = 5};
	int status = pv_agent_exec(by, exec, &processes[i].result, err);
	processes[i].used = status == 0;
	return status;
}

/* The one of a handle, when it is the same principal that started it. */
static int find(
    const struct pv_principal *by, uint64_t handle, struct process **out, struct pv_err *err)
{
	struct process *process = &processes[handle - 1];
	*out = process;
	if (process->old)
		return pv_err_set(err, PV_ERR_STATE, ESTALE,
		    "process %" PRIu64 ": the guest was rebooted since", handle);
	if (!process->used || process->worker != by->worker || by->boot != 5)
		return pv_err_set(err, PV_ERR_GUEST, ESRCH,
		    "process %" PRIu64 ": there is no such process any more", handle);
	return 0;
}

int pv_agent_process_wait(const struct pv_principal *by, uint64_t handle, int64_t timeout_ns,
    struct pv_agent_exec_result *result, struct pv_err *err)
{
	struct process *process;
	int status = find(by, handle, &process, err);
	if (status < 0)
		return status;
	if (timeout_ns != PV_CLOCK_NEVER)
		pv_bytes_printf(&process->result.err, " timeout_ns=%" PRId64, timeout_ns);
	*result = process->result;
	*process = (struct process){0};
	return 0;
}

int pv_agent_process_status(
    const struct pv_principal *by, uint64_t handle, bool *running, struct pv_err *err)
{
	struct process *process;
	int status = find(by, handle, &process, err);
	*running = !process->ended;
	return status;
}

int pv_agent_process_signal(
    const struct pv_principal *by, uint64_t handle, int signal, struct pv_err *err)
{
	struct process *process;
	int status = find(by, handle, &process, err);
	if (status < 0)
		return status;
	process->ended = true;
	return pv_bytes_printf(&process->result.err, " signal=%d", signal);
}

int pv_agent_process_write(const struct pv_principal *by, uint64_t handle, const void *data,
    size_t len, struct pv_err *err)
{
	struct process *process;
	int status = find(by, handle, &process, err);
	if (status < 0)
		return status;
	return pv_bytes_printf(&process->result.err, " write=%.*s", (int)len, (const char *)data);
}

int pv_agent_process_close_input(const struct pv_principal *by, uint64_t handle, struct pv_err *err)
{
	struct process *process;
	int status = find(by, handle, &process, err);
	return status < 0 ? status : pv_bytes_printf(&process->result.err, " close_input");
}

int pv_agent_process_stream(const struct pv_principal *by, uint64_t handle, bool from_err,
    struct pv_agent_stream **out, struct pv_err *err)
{
	struct process *process;
	int status = find(by, handle, &process, err);
	if (status < 0)
		return status;
	return pv_agent_stream_tail(
	    by, from_err ? "its err|EOF" : "its out|EOF", PV_AGENT_STREAM_FROM_START, 0, out, err);
}

int pv_agent_process_close(const struct pv_principal *by, uint64_t handle, struct pv_err *err)
{
	struct process *process;
	int status = find(by, handle, &process, err);
	pv_bytes_finish(&process->result.out);
	pv_bytes_finish(&process->result.err);
	*process = (struct process){0};
	return status;
}

int pv_agent_worker_start(
    const struct pv_principal *by, struct pv_agent_worker *out, struct pv_err *err)
{
	(void)by;
	(void)err;
	worst = 0;
	*out = (struct pv_agent_worker){.number = ++last_worker, .pid = 200, .boot = 5};
	return 0;
}

int pv_agent_worker_signal(const struct pv_principal *by, int signal, struct pv_err *err)
{
	(void)by;
	(void)err;
	worst = 128 + signal;
	return 0;
}

int pv_agent_worker_join(
    const struct pv_principal *by, bool force, int64_t *out, struct pv_err *err)
{
	(void)force;
	(void)err;
	*out = by->boot == 5 && by->worker <= last_worker ? worst : -1;
	return 0;
}
