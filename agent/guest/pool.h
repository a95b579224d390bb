/*
 * Threads for work that may block, made on demand, so that one blocked operation never holds up
 * another or the loop.
 */
#ifndef PV_AGENT_GUEST_POOL_H
#define PV_AGENT_GUEST_POOL_H

#include <pthread.h>
#include <stdbool.h>

struct pv_identity;
struct pv_loop;

/* Threads at most, where nothing else is said. */
#define PV_POOL_THREADS_MAX 512

struct pv_pool_job {
	struct pv_pool_job *next;
	void (*run)(struct pv_pool_job
		*job); /* on a pool thread, without the loop lock; may free the job */
	int place;     /* of agent/guest/identity.c */
};

struct pv_pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct pv_pool_job *first;
	struct pv_pool_job **last;
	unsigned queued;
	unsigned idle;
	unsigned threads;
	unsigned limit;
	struct pv_identity *identity; /* whose threads these are, or NULL */
	bool in_order;
};

/* At most `limit` threads; jobs beyond them wait for one that ends. With a limit of 1 all jobs run
 * on the same thread, in order. The pool lives as long as the process. */
void pv_pool_init(struct pv_pool *pool, unsigned limit);

/* From now on jobs have an identity: with `in_order` its own thread does them one after another,
 * else it makes a thread for each. */
void pv_pool_adopt_identity(struct pv_pool *pool, struct pv_identity *identity, bool in_order);

/* Queues a job. Returns 0, or -errno when there is no thread and none can be made; the job was then
 * not queued. Any thread. */
int pv_pool_run(struct pv_pool *pool, struct pv_pool_job *job);

/* The same under the loop lock, for jobs that will want it: they are not begun before it is
 * dropped, where that can be helped. */
int pv_pool_run_soon(struct pv_pool *pool, struct pv_pool_job *job, struct pv_loop *loop);

#endif
