/*
 * A crew: whoever is free takes the next job. Theory: the jobs have numbers, and a counter says
 * which is next. The threads live as long as one batch; making one costs less than any of the jobs
 * that are worth it (writing a guest's memory, building a machine). Signals stay with the threads
 * that were there before.
 */
#include "lab/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define HANDS_MAX 16

struct batch {
	atomic_size_t next;
	size_t count;
	void (*job)(void *ctx, size_t index);
	void *ctx;
};

static void *work(void *ctx)
{
	struct batch *batch = ctx;
	for (;;) {
		size_t index = atomic_fetch_add(&batch->next, 1);
		if (index >= batch->count)
			return NULL;
		batch->job(batch->ctx, index);
	}
}

void pv_crew_run(size_t count, void (*job)(void *ctx, size_t index), void *ctx)
{
	struct batch batch = {.count = count, .job = job, .ctx = ctx};
	pthread_t hands[HANDS_MAX];
	size_t hired = 0;
	sigset_t all, before;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t wanted = processors > HANDS_MAX ? HANDS_MAX
			: processors > 1       ? (size_t)processors
					       : 1;
	atomic_init(&batch.next, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* The caller is one of them. */
	while (hired + 1 < wanted && hired + 1 < count &&
	       pthread_create(&hands[hired], NULL, work, &batch) == 0)
		hired++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	work(&batch);
	while (hired > 0)
		pthread_join(hands[--hired], NULL);
}
