/*
 * Barriers. Theory: a barrier is a name, the count that its first arrival fixed for good, and how
 * many wait now. Whoever completes a round empties it and counts the round up, which is what the
 * others wait for. Arrivals come from the script thread only, and it sleeps while one waits: a
 * count above 1 is met by scripts that run beside it, when there are any; until then it ends with
 * the time limit. Waiting is under the loop lock, like all waiting, so an interrupt of the host
 * ends it.
 */
#include "lab/barrier.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "lab/host.h"

struct pv_barrier {
	char *name;
	int64_t count;
	int64_t waiting;
	uint64_t round;
};

void pv_barriers_finish(struct pv_barriers *barriers)
{
	for (size_t i = 0; i < barriers->count; i++)
		free(barriers->items[i].name);
	free(barriers->items);
	*barriers = (struct pv_barriers){0};
}

/* The index of the barrier of that name, made when there is none; or -ENOMEM. */
static ssize_t find(struct pv_barriers *barriers, const char *name, int64_t count)
{
	for (size_t i = 0; i < barriers->count; i++) {
		if (strcmp(barriers->items[i].name, name) == 0)
			return (ssize_t)i;
	}
	struct pv_barrier *grown =
	    reallocarray(barriers->items, barriers->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	barriers->items = grown;
	struct pv_barrier *barrier = &grown[barriers->count];
	*barrier = (struct pv_barrier){.name = strdup(name), .count = count};
	return barrier->name ? (ssize_t)barriers->count++ : -ENOMEM;
}

/* [locked] An index, because the array may move while we sleep. */
static int wait_for_round(struct pv_barriers *barriers, size_t index, struct pv_host *host,
    int64_t deadline_ns, enum pv_barrier_outcome *outcome, struct pv_err *err)
{
	const uint64_t round = barriers->items[index].round;
	int status = 0;
	while (barriers->items[index].round == round && !host->interrupt && !status)
		status = pv_loop_wait(host->loop, deadline_ns);
	struct pv_barrier *barrier = &barriers->items[index];
	if (barrier->round != round) {
		*outcome = PV_BARRIER_MET;
		return 0;
	}
	barrier->waiting--;
	*outcome = PV_BARRIER_LATE;
	if (host->interrupt)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "barrier `%s`: %s", barrier->name,
		    host->interrupt);
	return 0;
}

int pv_barrier_arrive(struct pv_barriers *barriers, struct pv_host *host, const char *name,
    int64_t count, int64_t timeout_ns, enum pv_barrier_outcome *outcome, int64_t *fixed,
    struct pv_err *err)
{
	const int64_t deadline = pv_clock_deadline(timeout_ns);
	int status = 0;
	pv_loop_lock(host->loop);
	ssize_t index = find(barriers, name, count);
	struct pv_barrier *barrier = index >= 0 ? &barriers->items[index] : NULL;
	if (!barrier) {
		status = pv_err_nomem(err, "barrier");
	} else if (barrier->count != count) {
		*outcome = PV_BARRIER_MISMATCH;
		*fixed = barrier->count;
	} else if (++barrier->waiting == count) {
		barrier->waiting = 0;
		barrier->round++;
		pv_loop_wake(host->loop);
		*outcome = PV_BARRIER_MET;
		*fixed = count;
	} else {
		*fixed = count;
		status = wait_for_round(barriers, (size_t)index, host, deadline, outcome, err);
	}
	pv_loop_unlock(host->loop);
	return status;
}
