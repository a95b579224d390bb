/*
 * `exec`: runs a program in the guest and collects what it writes; and what other ways to start one
 * share with it. Called on the script thread without the loop lock.
 */
#include <errno.h>

#include "agent/host/client.h"
#include "agent/host/transfer.h"

_Static_assert((int)PV_AGENT_EXITED == PV_REPLY_EXITED &&
		   (int)PV_AGENT_SIGNALLED == PV_REPLY_SIGNALLED &&
		   (int)PV_AGENT_TIMED_OUT == PV_REPLY_TIMED_OUT,
    "the client's and the protocol's names are the same numbers");

bool pv_agent_exec_take(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_exec_result *result = ctx;
	enum pv_reply_exit exit;
	if (!pv_reply_get_exit(reply, &exit, &result->code))
		return false;
	result->kind = (enum pv_agent_exit_kind)exit;
	return true;
}

struct pv_request pv_agent_exec_request(const struct pv_agent_exec *exec, enum pv_request_op op)
{
	const size_t first = pv_agent_transfer_first(exec->input_len);
	return (struct pv_request){
	    .op = op,
	    .exec =
		{
		       .argv = {exec->argv, exec->argc},
		       .env = {exec->env, exec->env_count},
		       .env_clear = exec->env_clear,
		       .cwd = exec->cwd,
		       .timeout_ns = exec->timeout_ns,
		       .data = {.data = exec->input, .len = first},
		       .more = exec->input_len > first,
		       },
	};
}

int pv_agent_exec_transfer(const struct pv_principal *by, const struct pv_agent_exec *exec,
    const char *word, struct pv_agent_transfer *transfer, struct pv_err *err)
{
	if (exec->argc == 0 || exec->argc > PV_PROTOCOL_STRINGS_MAX ||
	    exec->env_count > PV_PROTOCOL_STRINGS_MAX)
		return pv_err_set(err, PV_ERR_INPUT, E2BIG,
		    "%s: give 1 to %u arguments and up to as many variables", word,
		    PV_PROTOCOL_STRINGS_MAX);
	transfer->first = transfer->request.exec.data;
	if (transfer->request.exec.more)
		transfer->rest = (struct pv_span){
		    .data = (const char *)exec->input + transfer->first.len,
		    .len = exec->input_len - transfer->first.len,
		};
	int status = pv_agent_transfer_run(by, transfer, err);
	return status < 0 ? pv_err_prefix(err, "%s `%.200s`", word, exec->argv[0]) : 0;
}

int pv_agent_exec(const struct pv_principal *by, const struct pv_agent_exec *exec,
    struct pv_agent_exec_result *result, struct pv_err *err)
{
	struct pv_agent_transfer transfer = {
	    .request = pv_agent_exec_request(exec, PV_REQUEST_EXEC),
	    .output = result,
	    .result = pv_agent_exec_take,
	    .ctx = result,
	};
	*result = (struct pv_agent_exec_result){0};
	int status = pv_agent_exec_transfer(by, exec, "exec", &transfer, err);
	if (status < 0) {
		pv_bytes_finish(&result->out);
		pv_bytes_finish(&result->err);
	}
	return status;
}
