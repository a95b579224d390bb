/*
 * A queue of jobs and threads that take them. A job that finds no idle thread gets a new one; a
 * thread that finds no job stays when few are idle and ends otherwise. So the first file operation
 * makes the first thread, and a hundred operations on a hung file system make a hundred. Stacks are
 * small: jobs keep their buffers on the heap. The pool's own lock is never held together with the
 * loop lock by a thread that wants the latter.
 */
#include "agent/guest/pool.h"

#include <errno.h>

#include "agent/guest/identity.h"
#include "base/loop.h"

#define IDLE_MAX   4
#define STACK_SIZE (128u << 10)

void pv_pool_init(struct pv_pool *pool, unsigned limit)
{
	*pool = (struct pv_pool){.limit = limit};
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	pool->last = &pool->first;
}

/* Takes the next job, waiting for it; NULL when the thread should end. Pool lock held. */
static struct pv_pool_job *take(struct pv_pool *pool)
{
	if (!pool->first) {
		if (pool->idle >= IDLE_MAX)
			return NULL;
		pool->idle++;
		while (!pool->first)
			pthread_cond_wait(&pool->more, &pool->lock);
		pool->idle--;
	}
	struct pv_pool_job *job = pool->first;
	pool->first = job->next;
	if (!pool->first)
		pool->last = &pool->first;
	pool->queued--;
	return job;
}

static void *thread_main(void *ctx)
{
	struct pv_pool *pool = ctx;
	struct pv_pool_job *job;
	pthread_mutex_lock(&pool->lock);
	while ((job = take(pool))) {
		pthread_mutex_unlock(&pool->lock);
		job->run(job);
		pthread_mutex_lock(&pool->lock);
	}
	pool->threads--;
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static int start_thread(struct pv_pool *pool)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_t thread;
	int code = pthread_create(&thread, &attr, thread_main, pool);
	pthread_attr_destroy(&attr);
	if (code == 0)
		pool->threads++;
	return -code;
}

void pv_pool_adopt_identity(struct pv_pool *pool, struct pv_identity *identity, bool in_order)
{
	pool->identity = identity;
	pool->in_order = in_order;
}

/* Returns 0 or -errno, and whether a thread waits for it. */
static int put(struct pv_pool *pool, struct pv_pool_job *job, bool *waits)
{
	int status = 0;
	*waits = false;
	pthread_mutex_lock(&pool->lock);
	if (pool->queued >= pool->idle && pool->threads < pool->limit)
		status = start_thread(pool);
	/* With a thread there the job is done some time; without one it would wait for ever. */
	if (status < 0 && pool->threads > 0)
		status = 0;
	if (status == 0) {
		job->next = NULL;
		*pool->last = job;
		pool->last = &job->next;
		pool->queued++;
		*waits = pool->idle > 0;
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

int pv_pool_run(struct pv_pool *pool, struct pv_pool_job *job)
{
	bool waits;
	if (pool->identity) {
		pv_identity_run(pool->identity, job, pool->in_order);
		return 0;
	}
	int status = put(pool, job, &waits);
	if (status == 0 && waits)
		pthread_cond_signal(&pool->more);
	return status;
}

/* Deferred: wakes who waits for what has been queued meanwhile. */
static void wake(void *ctx)
{
	struct pv_pool *pool = ctx;
	pthread_mutex_lock(&pool->lock);
	const unsigned queued = pool->queued;
	pthread_mutex_unlock(&pool->lock);
	if (queued == 1)
		pthread_cond_signal(&pool->more);
	else if (queued > 1)
		pthread_cond_broadcast(&pool->more);
}

int pv_pool_run_soon(struct pv_pool *pool, struct pv_pool_job *job, struct pv_loop *loop)
{
	bool waits;
	if (pool->identity)
		return pv_pool_run(pool, job);
	int status = put(pool, job, &waits);
	if (status == 0 && waits)
		pv_loop_defer(loop, wake, pool);
	return status;
}
