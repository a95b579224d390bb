/*
 * A queue of jobs and threads that take them. A job that finds no idle thread gets a new one; a
 * thread that finds no job stays when few are idle and ends otherwise. So the first file operation
 * makes the first thread, and a hundred operations on a hung file system make a hundred. Stacks are
 * small: jobs keep their buffers on the heap. The pool's own lock is never held together with the
 * loop lock by a thread that wants the latter.
 *
 * In a worker there is a second queue, in which everything waits for the identity thread: what it
 * does itself, and what it makes a thread for. A thread inherits the identity that its maker has
 * at that moment (clone(2)), so it does one job and ends; none is kept for later.
 */
#include "agent/guest/pool.h"

#include <errno.h>

#include "base/loop.h"

#define IDLE_MAX   4
#define STACK_SIZE (128u << 10)

/* Where a job runs. */
enum place {
	PLACE_THREAD,
	PLACE_IDENTITY,
	PLACE_IDENTITY_LOCKED,
};

static void put(struct pv_pool_queue *queue, struct pv_pool_job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

/* The first job; there is one. */
static struct pv_pool_job *take_first(struct pv_pool_queue *queue)
{
	struct pv_pool_job *job = queue->first;
	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

void pv_pool_init(struct pv_pool *pool)
{
	*pool = (struct pv_pool){0};
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	pthread_cond_init(&pool->own_more, NULL);
	pool->queue.last = &pool->queue.first;
	pool->own.last = &pool->own.first;
}

/* Takes the next job, waiting for it; NULL when the thread should end. Pool lock held. */
static struct pv_pool_job *take(struct pv_pool *pool)
{
	if (!pool->queue.first) {
		if (pool->idle >= IDLE_MAX)
			return NULL;
		pool->idle++;
		while (!pool->queue.first)
			pthread_cond_wait(&pool->more, &pool->lock);
		pool->idle--;
	}
	pool->queued--;
	return take_first(&pool->queue);
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

static int start_thread(void *(*entry)(void *ctx), void *ctx)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_t thread;
	int code = pthread_create(&thread, &attr, entry, ctx);
	pthread_attr_destroy(&attr);
	return -code;
}

/* Queues for the identity thread. */
static void queue_own(struct pv_pool *pool, struct pv_pool_job *job, enum place place)
{
	pthread_mutex_lock(&pool->lock);
	job->place = place;
	put(&pool->own, job);
	pthread_cond_signal(&pool->own_more);
	pthread_mutex_unlock(&pool->lock);
}

int pv_pool_run(struct pv_pool *pool, struct pv_pool_job *job)
{
	if (pool->loop) {
		queue_own(pool, job, PLACE_THREAD);
		return 0;
	}
	pthread_mutex_lock(&pool->lock);
	int status = 0;
	if (pool->queued >= pool->idle && pool->threads < PV_POOL_THREADS_MAX) {
		status = start_thread(thread_main, pool);
		pool->threads += status == 0;
	}
	/* With a thread there the job is done some time; without one it would wait for ever. */
	if (status < 0 && pool->threads > 0)
		status = 0;
	if (status == 0) {
		put(&pool->queue, job);
		pool->queued++;
		pthread_cond_signal(&pool->more);
	}
	pthread_mutex_unlock(&pool->lock);
	return status;
}

int pv_pool_run_in_order(struct pv_pool *pool, struct pv_pool_job *job)
{
	if (!pool->loop)
		return pv_pool_run(pool, job);
	queue_own(pool, job, PLACE_IDENTITY);
	return 0;
}

void pv_pool_do(struct pv_pool *pool, struct pv_pool_job *job)
{
	if (pool->loop)
		queue_own(pool, job, PLACE_IDENTITY_LOCKED);
	else
		job->run(job);
}

bool pv_pool_take_back(struct pv_pool *pool, struct pv_pool_job *job)
{
	pthread_mutex_lock(&pool->lock);
	struct pv_pool_job **at = &pool->own.first;
	while (*at && *at != job)
		at = &(*at)->next;
	bool found = *at != NULL;
	if (found)
		*at = job->next;
	if (found && !*at)
		pool->own.last = at;
	pthread_mutex_unlock(&pool->lock);
	return found;
}

/* --- a worker --- */

void pv_pool_be_worker(struct pv_pool *pool, struct pv_loop *loop)
{
	pool->loop = loop;
}

static void *one_job_main(void *ctx)
{
	struct pv_pool_job *job = ctx;
	job->run(job);
	return NULL;
}

/* On the identity thread. */
static void run_own(struct pv_pool *pool, struct pv_pool_job *job)
{
	switch ((enum place)job->place) {
	case PLACE_THREAD:
		/* Where no thread can be made (the identity may have run into a limit, or forbidden
		 * itself to) the work is done here: later rather than never. */
		if (start_thread(one_job_main, job) < 0)
			job->run(job);
		return;
	case PLACE_IDENTITY: job->run(job); return;
	case PLACE_IDENTITY_LOCKED:
		pv_loop_lock(pool->loop);
		job->run(job);
		pv_loop_unlock(pool->loop);
		return;
	}
}

void pv_pool_serve(struct pv_pool *pool)
{
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		while (!pool->own.first)
			pthread_cond_wait(&pool->own_more, &pool->lock);
		struct pv_pool_job *job = take_first(&pool->own);
		pthread_mutex_unlock(&pool->lock);
		run_own(pool, job);
	}
}
