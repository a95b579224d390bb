/*
 * One turn of a thread that runs callbacks: it sleeps in epoll_wait, and does what it is woken for
 * under the loop lock.
 *
 * Several threads may sleep at once, on the same epoll set. The kernel wakes one for each event, the
 * one that fell asleep last, and the others go on sleeping and cost nothing. That is what keeps a
 * conversation on one thread: who answers a request falls asleep behind it, and is the one whom the
 * next one wakes.
 *
 * Waking a particular thread, because its wait is over or its run is to end, is harder, as the bell
 * (event_fd) wakes the one that came last, too. Who hears a bell that is for somebody else rings it
 * again, and does not fall asleep before that one has come back: otherwise it might be woken by its
 * own bell, again and again.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop_private.h"

#define BATCH 64

bool pv_loop_call(struct pv_loop_runner *who)
{
	if (!who->asleep || who->called)
		return false;
	who->called = true;
	return true;
}

void pv_loop_ring(struct pv_loop *loop)
{
	uint64_t one = 1;
	/* Fails only when the counter is full, and then the bell has rung often enough. */
	while (write(loop->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

/* True while a thread sleeps that is to come back. */
static bool is_missed(struct pv_loop *loop)
{
	if (atomic_load(&loop->quit))
		pv_loop_call(&loop->main);
	if (loop->dismissed)
		pv_loop_call(&loop->helper);
	const struct pv_loop_runner *all[] = {&loop->main, &loop->helper, &loop->waiter};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i]->asleep && all[i]->called)
			return true;
	}
	return false;
}

/* The bell was heard by us: it may be for another one. */
static void pass_on_bell(struct pv_loop *loop)
{
	while (is_missed(loop)) {
		pv_loop_do_deferred(loop);
		pv_loop_ring(loop);
		loop->callers++;
		pthread_cond_wait(&loop->came_back, &loop->lock);
		loop->callers--;
	}
}

/* epoll_wait, which counts in milliseconds, or its newer sister. */
static int fetch(const struct pv_loop *loop, struct epoll_event *batch, int64_t deadline_ns)
{
	if (deadline_ns == PV_CLOCK_NEVER)
		return epoll_wait(loop->epoll_fd, batch, BATCH, -1);
	int64_t left = deadline_ns - pv_clock_now();
	if (left <= 0)
		return epoll_wait(loop->epoll_fd, batch, BATCH, 0);
	const struct timespec span = {
	    .tv_sec = left / PV_CLOCK_SECOND, .tv_nsec = left % PV_CLOCK_SECOND};
	int count = epoll_pwait2(loop->epoll_fd, batch, BATCH, &span, NULL);
	if (count >= 0 || errno != ENOSYS)
		return count;
	const int64_t ms = PV_CLOCK_SECOND / 1000, most = 1000000;
	left = (left + ms - 1) / ms;
	return epoll_wait(loop->epoll_fd, batch, BATCH, (int)(left < most ? left : most));
}

/* Returns the number of events in `batch`; negative when a signal came. */
static int sleep_for_events(struct pv_loop *loop, struct pv_loop_runner *self,
    struct epoll_event *batch, int64_t deadline_ns)
{
	pv_loop_timers_arm(loop);
	self->asleep = true;
	self->called = false;
	self->since = ++loop->moment;
	loop->asleep++;
	pv_loop_unlock(loop);
	int count = fetch(loop, batch, deadline_ns);
	pv_loop_lock(loop);
	loop->asleep--;
	self->asleep = false;
	if (loop->callers > 0)
		pthread_cond_broadcast(&loop->came_back);
	return count;
}

/* What it took over in a callback, without the lock and for as long as it takes. */
static void do_job(struct pv_loop *loop, struct pv_loop_runner *self)
{
	void (*job)(void *ctx) = self->job;
	if (!job)
		return;
	pv_loop_unlock(loop);
	job(self->job_ctx);
	pv_loop_lock(loop);
	self->job = NULL;
}

void pv_loop_turn(struct pv_loop *loop, struct pv_loop_runner *self, int64_t deadline_ns)
{
	struct epoll_event batch[BATCH];
	/* A helper that has just begun may have one. */
	do_job(loop, self);
	const int count = sleep_for_events(loop, self, batch, deadline_ns);
	bool heard_bell = false;
	for (int i = 0; i < count; i++) {
		int own;
		if (pv_loop_watch_is_own(&batch[i], &own)) {
			heard_bell |= own == loop->event_fd;
			if (own == loop->timer_fd)
				loop->armed_ns = PV_CLOCK_NEVER;
		} else if (pv_loop_is_over(loop, self)) {
			pv_loop_watch_put_back(loop, &batch[i]);
		} else if (pv_loop_watch_deliver(loop, self, &batch[i])) {
			pv_loop_give_way(loop);
		}
	}
	pv_loop_timers_fire(loop, self);
	if (heard_bell)
		pass_on_bell(loop);
	/* We may not sleep again for long, and then it is the others whom the timers wake. */
	if (loop->asleep > 0)
		pv_loop_timers_arm(loop);
	do_job(loop, self);
}
