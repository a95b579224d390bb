/*
 * One queue in which everything waits that needs the identity of the worker: system calls and the
 * start of programs, which the identity thread does itself, and work that may block, for which it
 * makes a thread. A thread inherits the identity that its maker has at that moment (clone(2)), so
 * it does one job and ends; none is kept for later.
 *
 * A system call that blocks holds up what is behind it, and nothing else of the process: the loop
 * has a thread of its own. The queue's lock is never held together with the loop lock by a thread
 * that wants the latter.
 */
#include "agent/guest/identity.h"

#include "base/loop.h"

#define STACK_SIZE (128u << 10)

/* Where a job runs. */
enum place {
	PLACE_ITSELF,
	PLACE_ITSELF_LOCKED,
	PLACE_THREAD,
};

void pv_identity_init(struct pv_identity *identity, struct pv_loop *loop)
{
	*identity = (struct pv_identity){.loop = loop};
	pthread_mutex_init(&identity->lock, NULL);
	pthread_cond_init(&identity->more, NULL);
	identity->last = &identity->first;
}

static void queue(struct pv_identity *identity, struct pv_pool_job *job, enum place place)
{
	job->place = place;
	job->next = NULL;
	pthread_mutex_lock(&identity->lock);
	*identity->last = job;
	identity->last = &job->next;
	pthread_cond_signal(&identity->more);
	pthread_mutex_unlock(&identity->lock);
}

void pv_identity_run(struct pv_identity *identity, struct pv_pool_job *job, bool itself)
{
	queue(identity, job, itself ? PLACE_ITSELF : PLACE_THREAD);
}

void pv_identity_do(struct pv_identity *identity, struct pv_pool_job *job)
{
	if (identity->loop)
		queue(identity, job, PLACE_ITSELF_LOCKED);
	else
		job->run(job);
}

bool pv_identity_take_back(struct pv_identity *identity, const struct pv_pool_job *job)
{
	if (!identity->loop)
		return false;
	pthread_mutex_lock(&identity->lock);
	struct pv_pool_job **at = &identity->first;
	while (*at && *at != job)
		at = &(*at)->next;
	bool found = *at != NULL;
	if (found)
		*at = job->next;
	if (found && !*at)
		identity->last = at;
	pthread_mutex_unlock(&identity->lock);
	return found;
}

/* --- on the identity thread --- */

static void *thread_main(void *ctx)
{
	struct pv_pool_job *job = ctx;
	job->run(job);
	return NULL;
}

static int start_thread(struct pv_pool_job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int code = pthread_create(&thread, &attr, thread_main, job);
	pthread_attr_destroy(&attr);
	return -code;
}

static void run(struct pv_identity *identity, struct pv_pool_job *job)
{
	switch ((enum place)job->place) {
	case PLACE_THREAD:
		/* Where no thread can be made (the identity may have run into a limit, or forbidden
		 * itself to) the work is done here: later rather than never. */
		if (start_thread(job) < 0)
			job->run(job);
		return;
	case PLACE_ITSELF: job->run(job); return;
	case PLACE_ITSELF_LOCKED:
		pv_loop_lock(identity->loop);
		job->run(job);
		pv_loop_unlock(identity->loop);
		return;
	}
}

void pv_identity_serve(struct pv_identity *identity)
{
	for (;;) {
		pthread_mutex_lock(&identity->lock);
		while (!identity->first)
			pthread_cond_wait(&identity->more, &identity->lock);
		struct pv_pool_job *job = identity->first;
		identity->first = job->next;
		if (!identity->first)
			identity->last = &identity->first;
		pthread_mutex_unlock(&identity->lock);
		run(identity, job);
	}
}
