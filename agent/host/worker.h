/*
 * Worker processes in the guest: each does what is asked in its name (struct pv_principal) with
 * credentials, descriptors and a thread of its own. Functions are called on the script thread
 * without the loop lock and block until the answer.
 */
#ifndef PV_AGENT_HOST_WORKER_H
#define PV_AGENT_HOST_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_principal;

struct pv_agent_worker {
	uint64_t number;
	int64_t pid;
	uint64_t boot; /* for `boot` of the principal in all that follows */
};

/* Starts a worker; `by` is the agent. */
int pv_agent_worker_start(
    const struct pv_principal *by, struct pv_agent_worker *out, struct pv_err *err);

/* Signals, 0 to 64, each program that goes on in the background of the worker `by`. */
int pv_agent_worker_signal(const struct pv_principal *by, int signal, struct pv_err *err);

/*
 * Ends the worker `by` and gives the largest exit status of the programs that it had in the
 * background; 128 and the signal for those that a signal ended, 0 when there were none. Waits up to
 * two seconds for those that were told to end; what runs on is the init's. `force`: ends all of
 * them first, and does not wait for a guest that hangs (PV_AGENT_CLOSE_PATIENCE).
 */
int pv_agent_worker_join(
    const struct pv_principal *by, bool force, int64_t *worst, struct pv_err *err);

#endif
