/*
 * The identity of a worker process: the one thread whose credentials, processors and name spaces
 * all that the worker does in its own name has, whatever a test has made of them. An agent has none
 * and does the same with its own.
 */
#ifndef PV_AGENT_GUEST_IDENTITY_H
#define PV_AGENT_GUEST_IDENTITY_H

#include <pthread.h>
#include <stdbool.h>

#include "agent/guest/pool.h"

struct pv_loop;

struct pv_identity {
	struct pv_loop *loop; /* NULL: there is no such thread */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct pv_pool_job *first;
	struct pv_pool_job **last;
};

/* A zeroed one has no thread. This one has: the one that calls pv_identity_serve. */
void pv_identity_init(struct pv_identity *identity, struct pv_loop *loop);

/* Does what is queued; never returns. Without the loop lock. */
void pv_identity_serve(struct pv_identity *identity) __attribute__((noreturn));

/* Queues a job that runs without the loop lock: on the identity thread itself, or on one that it
 * makes and that has its identity of that moment. Any thread. */
void pv_identity_run(struct pv_identity *identity, struct pv_pool_job *job, bool itself);

/* Runs a short job under the loop lock, which is held now: on the identity thread when its turn
 * comes; without such a thread at once. */
void pv_identity_do(struct pv_identity *identity, struct pv_pool_job *job);

/* Takes a job back. True when it will not run; false when it has run, runs, or is about to. */
bool pv_identity_take_back(struct pv_identity *identity, const struct pv_pool_job *job);

#endif
