/*
 * The usual course of an operation: ask, send bulk data, collect data, wait for the answer; private
 * to agent/host.
 */
#ifndef PV_AGENT_HOST_TRANSFER_H
#define PV_AGENT_HOST_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/host/call.h"

struct pv_agent_exec;
struct pv_agent_exec_result;

struct pv_agent_transfer {
	struct pv_request request;
	struct pv_bytes *sink;		     /* for data from the guest, or NULL */
	struct pv_agent_exec_result *output; /* for what a program writes, or NULL */
	struct pv_span first;		     /* data for the guest that is in the request */
	struct pv_span rest; /* and what follows it; the request must say that there is more */
	bool (*result)(void *ctx, const struct pv_reply *reply); /* NULL: without fields */
	void *ctx;
	int64_t patience_ns; /* how long the answer may take; 0: for ever */
	uint64_t boot;	     /* set by the run: which life of the agent was asked, pv_agent_boot */
};

/* How much of `len` bytes fits into the request. */
size_t pv_agent_transfer_first(size_t len);

/* Returns 0 or -errno; the error has no word about the operation yet. Script thread, without the
 * loop lock. */
int pv_agent_transfer_run(
    const struct pv_principal *by, struct pv_agent_transfer *transfer, struct pv_err *err);

/* --- programs, in ops_exec.c --- */

/* The request that starts a program, with as much of its input as fits. */
struct pv_request pv_agent_exec_request(const struct pv_agent_exec *exec, enum pv_request_op op);

/* Runs a transfer of such a request, the rest of the input behind it. The error begins with `word`
 * and the program. Returns 0 or -errno. */
int pv_agent_exec_transfer(const struct pv_principal *by, const struct pv_agent_exec *exec,
    const char *word, struct pv_agent_transfer *transfer, struct pv_err *err);

/* How a program ended; `ctx` is a struct pv_agent_exec_result. */
bool pv_agent_exec_take(void *ctx, const struct pv_reply *reply);

/* --- files, in ops_file.c --- */

/* What a file is; `ctx` is a struct pv_agent_stat. */
bool pv_agent_stat_take(void *ctx, const struct pv_reply *reply);

#endif
