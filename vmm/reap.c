/*
 * The background closer.
 *
 * A list of descriptors and mappings belongs to one detached thread, which ends by itself; the
 * reaper counts those threads and can wait for them. The owner puts things on the list when no vCPU
 * runs any more.
 *
 * The waiting matters to leak checkers: they stop all threads with ptrace, also the kernel's own
 * helper thread of a virtual machine, for which a thread that is closing one waits uninterruptibly.
 */
#include "vmm/reap.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_SIZE (64u << 10)

struct mapping {
	void *at;
	size_t size;
};

struct pv_reaper {
	pthread_mutex_t lock;
	pthread_cond_t done;
	unsigned under_way;
};

struct pv_reap {
	struct pv_reaper *reaper;
	unsigned fd_count;
	unsigned fd_capacity;
	unsigned mapping_count;
	unsigned mapping_capacity;
	int *fds;
	struct mapping *mappings;
};

struct pv_reaper *pv_reaper_create(void)
{
	struct pv_reaper *reaper = calloc(1, sizeof(*reaper));
	if (!reaper)
		return NULL;
	pthread_mutex_init(&reaper->lock, NULL);
	pthread_cond_init(&reaper->done, NULL);
	return reaper;
}

void pv_reaper_destroy(struct pv_reaper *reaper)
{
	if (!reaper)
		return;
	pthread_mutex_lock(&reaper->lock);
	while (reaper->under_way > 0)
		pthread_cond_wait(&reaper->done, &reaper->lock);
	pthread_mutex_unlock(&reaper->lock);
	pthread_cond_destroy(&reaper->done);
	pthread_mutex_destroy(&reaper->lock);
	free(reaper);
}

struct pv_reap *pv_reap_create(struct pv_reaper *reaper, unsigned fds, unsigned mappings)
{
	struct pv_reap *reap = calloc(1, sizeof(*reap));
	if (!reap)
		return NULL;
	reap->fds = calloc(fds ? fds : 1, sizeof(reap->fds[0]));
	reap->mappings = calloc(mappings ? mappings : 1, sizeof(reap->mappings[0]));
	if (!reap->fds || !reap->mappings) {
		free(reap->fds);
		free(reap->mappings);
		free(reap);
		return NULL;
	}
	reap->reaper = reaper;
	reap->fd_capacity = fds;
	reap->mapping_capacity = mappings;
	return reap;
}

void pv_reap_fd(struct pv_reap *reap, int fd)
{
	if (fd < 0)
		return;
	if (reap && reap->fd_count < reap->fd_capacity)
		reap->fds[reap->fd_count++] = fd;
	else
		close(fd);
}

void pv_reap_mapping(struct pv_reap *reap, void *at, size_t size)
{
	if (!at)
		return;
	if (reap && reap->mapping_count < reap->mapping_capacity)
		reap->mappings[reap->mapping_count++] = (struct mapping){.at = at, .size = size};
	else
		munmap(at, size);
}

static void *reap_all(void *arg)
{
	struct pv_reap *reap = arg;
	struct pv_reaper *reaper = reap->reaper;
	for (unsigned i = 0; i < reap->mapping_count; i++)
		munmap(reap->mappings[i].at, reap->mappings[i].size);
	for (unsigned i = 0; i < reap->fd_count; i++)
		close(reap->fds[i]);
	free(reap->fds);
	free(reap->mappings);
	free(reap);
	pthread_mutex_lock(&reaper->lock);
	reaper->under_way--;
	pthread_cond_broadcast(&reaper->done);
	pthread_mutex_unlock(&reaper->lock);
	return NULL;
}

void pv_reap_start(struct pv_reap *reap)
{
	if (!reap)
		return;
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_attr_t attr;
	pthread_t thread;
	pthread_mutex_lock(&reap->reaper->lock);
	reap->reaper->under_way++;
	pthread_mutex_unlock(&reap->reaper->lock);
	if (pthread_attr_init(&attr) != 0) {
		reap_all(reap);
		return;
	}
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Sanitizers need more than this for themselves; then the default stays. */
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&thread, &attr, reap_all, reap);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (code != 0)
		reap_all(reap);
}
