/*
 * Threads for work that may block, made on demand, so that one blocked operation never holds up
 * another or the loop; and, in a worker process, the one thread whose identity (credentials,
 * processors, name spaces) all that it is asked to do has.
 */
#ifndef PV_AGENT_GUEST_POOL_H
#define PV_AGENT_GUEST_POOL_H

#include <pthread.h>
#include <stdbool.h>

struct pv_loop;

/* Threads at most; jobs beyond them wait for one that ends. */
#define PV_POOL_THREADS_MAX 512

struct pv_pool_job {
	struct pv_pool_job *next;
	/* May free the job. */
	void (*run)(struct pv_pool_job *job);
	int place; /* of the pool */
};

struct pv_pool_queue {
	struct pv_pool_job *first;
	struct pv_pool_job **last;
};

struct pv_pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct pv_pool_queue queue;
	unsigned queued;
	unsigned idle;
	unsigned threads;
	/* A worker's: */
	struct pv_loop *loop; /* NULL: there is no identity thread */
	struct pv_pool_queue own;
	pthread_cond_t own_more;
};

/* The pool lives as long as the process. */
void pv_pool_init(struct pv_pool *pool);

/* From now on there is an identity thread: the one that calls pv_pool_serve. */
void pv_pool_be_worker(struct pv_pool *pool, struct pv_loop *loop);
/* Never returns. */
void pv_pool_serve(struct pv_pool *pool) __attribute__((noreturn));

/*
 * Queues a job for a thread of its own, without the loop lock; in a worker the identity thread
 * makes it and so hands its identity on. Returns 0, or -errno when there is no thread and none can
 * be made; the job was then not queued. Any thread.
 */
int pv_pool_run(struct pv_pool *pool, struct pv_pool_job *job);

/* The same for a job that runs on the identity thread itself, one after another; where there is
 * none, as pv_pool_run. */
int pv_pool_run_in_order(struct pv_pool *pool, struct pv_pool_job *job);

/*
 * Runs a short job under the loop lock, which is held now: at once, or on the identity thread when
 * its turn comes.
 */
void pv_pool_do(struct pv_pool *pool, struct pv_pool_job *job);

/* Takes a job of pv_pool_do or pv_pool_run_in_order back. True when it will not run; false when it
 * runs, or is about to. */
bool pv_pool_take_back(struct pv_pool *pool, struct pv_pool_job *job);

#endif
