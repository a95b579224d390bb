/*
 * Worker processes: the agent again, as a second process with credentials, descriptors and a thread
 * of its own, which does what requests with its number ask. Everything here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_WORKER_H
#define PV_AGENT_GUEST_WORKER_H

#include <stdint.h>

#include "base/bytes.h"

struct pv_calls;
struct pv_request;
struct pv_worker;
struct pv_worker_join;

/* Those of this agent. Zeroed: none. */
struct pv_workers {
	struct pv_worker *first;
	uint64_t last;		     /* number */
	struct pv_worker_join *join; /* in the process of a worker: the call that ends it */
};

/* The operations `worker_*`; the last two in the process of the worker itself. */
void pv_worker_start(struct pv_calls *calls, struct pv_request *request);

/* A request for the worker that it names; `payload` is the whole of it. */
void pv_worker_pass(
    struct pv_calls *calls, const struct pv_request *request, struct pv_span payload);

/* The queue to the host has room again. */
void pv_workers_room(struct pv_calls *calls);

/* Forgets all of them; they notice, and end with what they run. */
void pv_workers_drop(struct pv_calls *calls);

/* --- in the process of a worker, agent/guest/worker_main.c --- */

/* Serves the connected socket until it ends; then the process does. Returns the exit code when it
 * cannot begin. The calling thread is the identity thread. */
int pv_worker_main(int fd);

/* `worker_signal` and `worker_join`. */
void pv_worker_request(struct pv_calls *calls, const struct pv_request *request);

#endif
