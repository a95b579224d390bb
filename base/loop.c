/*
 * The event loop: one epoll set, one timerfd for the earliest of a heap of timers, one eventfd that
 * ends a sleep. This file has the lock, waiting, and the life of the loop; base/loop_turn.c what a
 * thread does that runs callbacks, base/loop_watch.c descriptors, base/loop_timers.c timers.
 *
 * Who runs where: callbacks run on the loop thread, on a helper and on a waiter that asked for it,
 * under the loop lock. Any thread that holds the lock may add and remove watches and timers; the
 * kernel lets a sleeping epoll_wait notice a new descriptor by itself, and an earlier timer re-arms
 * the timerfd at once. So nothing polls, and an idle loop sleeps for ever.
 *
 * Fairness: a plain mutex lets the loop thread drop the lock and take it again before a sleeper
 * that waits for it has woken up, for as long as there is work. So the lock is a turnstile of two:
 * whoever wants `lock` first takes `next` and keeps it while waiting. The loop thread too passes
 * `next` between callbacks, hence it stands behind the one who waits.
 *
 * Wake-ups: a thread that is woken while the lock is held preempts its waker as likely as not, runs
 * into the lock, and sleeps again. So wakes, and what else owners defer, happen when the lock has
 * been dropped. That halves the context switches of an operation in the guest, at both of its ends.
 *
 * pv_loop_wait sleeps on a mutex of its own, so that it comes back through the turnstile as well.
 * Order: next, lock, wait_lock. A waiter that runs callbacks takes turns instead until somebody has
 * woken it, which more often than not is one of these callbacks: no other thread is in between.
 */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop_private.h"

/* --- the lock --- */

void pv_loop_lock(struct pv_loop *loop)
{
	pthread_mutex_lock(&loop->next);
	pthread_mutex_lock(&loop->lock);
	pthread_mutex_unlock(&loop->next);
}

static void wake_waiters(struct pv_loop *loop)
{
	pthread_mutex_lock(&loop->wait_lock);
	loop->wakes++;
	pthread_mutex_unlock(&loop->wait_lock);
	pthread_cond_broadcast(&loop->woken);
}

static bool is_waiter(const struct pv_loop *loop)
{
	return atomic_load_explicit(&loop->has_waiter, memory_order_acquire) &&
	       pthread_equal(atomic_load(&loop->waiter_thread), pthread_self());
}

void pv_loop_unlock(struct pv_loop *loop)
{
	struct pv_loop_deferred deferred[PV_LOOP_DEFERRED_MAX];
	const unsigned count = loop->deferred_count;
	const bool wake = loop->wake_due && loop->waiters > 0;
	/* One that wakes others, and then falls asleep itself, is not among them. */
	const bool call = loop->wake_due && !is_waiter(loop) && pv_loop_call(&loop->waiter);
	const bool ring = call || loop->bell_due;
	memcpy(deferred, loop->deferred, count * sizeof(deferred[0]));
	loop->deferred_count = 0;
	loop->wake_due = loop->bell_due = false;
	pthread_mutex_unlock(&loop->lock);
	if (ring)
		pv_loop_ring(loop);
	if (wake)
		wake_waiters(loop);
	for (unsigned i = 0; i < count; i++)
		deferred[i].fn(deferred[i].ctx);
}

void pv_loop_defer(struct pv_loop *loop, void (*fn)(void *ctx), void *ctx)
{
	for (unsigned i = 0; i < loop->deferred_count; i++) {
		if (loop->deferred[i].fn == fn && loop->deferred[i].ctx == ctx)
			return;
	}
	if (loop->deferred_count == PV_LOOP_DEFERRED_MAX)
		fn(ctx);
	else
		loop->deferred[loop->deferred_count++] = (struct pv_loop_deferred){.fn = fn, .ctx = ctx};
}

void pv_loop_do_deferred(struct pv_loop *loop)
{
	while (loop->deferred_count > 0) {
		const struct pv_loop_deferred next = loop->deferred[--loop->deferred_count];
		next.fn(next.ctx);
	}
	if (loop->wake_due && loop->waiters > 0)
		wake_waiters(loop);
	if (loop->wake_due && !is_waiter(loop) && pv_loop_call(&loop->waiter))
		loop->bell_due = true;
	if (loop->bell_due)
		pv_loop_ring(loop);
	loop->wake_due = loop->bell_due = false;
}

void pv_loop_give_way(struct pv_loop *loop)
{
	pv_loop_unlock(loop);
	pv_loop_lock(loop);
}

/* Runs callbacks until somebody wakes us. */
static int run_until_woken(struct pv_loop *loop, int64_t deadline_ns)
{
	const uint64_t before = loop->wake_count;
	do {
		pv_loop_turn(loop, &loop->waiter, deadline_ns);
		if (loop->wake_count != before)
			return 0;
	} while (deadline_ns == PV_CLOCK_NEVER || pv_clock_now() < deadline_ns);
	return -ETIMEDOUT;
}

int pv_loop_wait(struct pv_loop *loop, int64_t deadline_ns)
{
	if (is_waiter(loop))
		return run_until_woken(loop, deadline_ns);
	struct timespec until = {
	    .tv_sec = deadline_ns > 0 ? deadline_ns / PV_CLOCK_SECOND : 0,
	    .tv_nsec = deadline_ns > 0 ? deadline_ns % PV_CLOCK_SECOND : 0,
	};
	pv_loop_do_deferred(loop);
	loop->waiters++;
	pthread_mutex_lock(&loop->wait_lock);
	uint64_t before = loop->wakes;
	/*
	 * What somebody may wait for changes under the lock, and the wake comes after that, so it
	 * counts here whenever the change was not seen by the caller.
	 */
	pthread_mutex_unlock(&loop->lock);
	int code = 0;
	while (loop->wakes == before && code == 0) {
		if (deadline_ns == PV_CLOCK_NEVER)
			code = pthread_cond_wait(&loop->woken, &loop->wait_lock);
		else
			code = pthread_cond_timedwait(&loop->woken, &loop->wait_lock, &until);
	}
	bool woken = loop->wakes != before;
	pthread_mutex_unlock(&loop->wait_lock);
	pv_loop_lock(loop);
	loop->waiters--;
	return woken ? 0 : -ETIMEDOUT;
}

/* A thread that is woken while we hold the lock would only run into it. */
void pv_loop_wake(struct pv_loop *loop)
{
	loop->wake_count++;
	loop->wake_due = true;
}

void pv_loop_adopt_waiter(struct pv_loop *loop)
{
	atomic_store(&loop->waiter_thread, pthread_self());
	atomic_store_explicit(&loop->has_waiter, true, memory_order_release);
}

/* --- running --- */

bool pv_loop_is_here(const struct pv_loop *loop)
{
	return atomic_load(&loop->running) &&
	       pthread_equal(atomic_load(&loop->runner), pthread_self());
}

void pv_loop_enter(struct pv_loop *loop)
{
	atomic_store(&loop->runner, pthread_self());
	atomic_store(&loop->running, true);
}

void pv_loop_leave(struct pv_loop *loop)
{
	atomic_store(&loop->running, false);
}

bool pv_loop_is_over(const struct pv_loop *loop, const struct pv_loop_runner *self)
{
	if (self == &loop->main)
		return atomic_load(&loop->quit);
	return self == &loop->helper && loop->dismissed;
}

void pv_loop_quit(struct pv_loop *loop)
{
	atomic_store(&loop->quit, true);
	pv_loop_ring(loop);
}

void pv_loop_run(struct pv_loop *loop)
{
	pv_loop_lock(loop);
	while (!pv_loop_is_over(loop, &loop->main))
		pv_loop_turn(loop, &loop->main, PV_CLOCK_NEVER);
	/* The wish is fulfilled; the loop may run again. */
	atomic_store(&loop->quit, false);
	pv_loop_unlock(loop);
}

static void *thread_main(void *ctx)
{
	pv_loop_run(ctx);
	return NULL;
}

int pv_loop_start(struct pv_loop *loop, struct pv_err *err)
{
	if (loop->has_thread)
		return pv_err_set(err, PV_ERR_STATE, EBUSY, "the event loop runs already");
	/*
	 * The new thread inherits the mask. Faults stay open: a blocked SIGSEGV kills without the
	 * report of the handler.
	 */
	sigset_t blocked, before;
	sigfillset(&blocked);
	sigdelset(&blocked, SIGSEGV);
	sigdelset(&blocked, SIGBUS);
	sigdelset(&blocked, SIGFPE);
	sigdelset(&blocked, SIGILL);
	sigdelset(&blocked, SIGTRAP);
	sigdelset(&blocked, SIGABRT);
	sigdelset(&blocked, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	int code = pthread_create(&loop->thread, NULL, thread_main, loop);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code != 0)
		return pv_err_system(err, code, "cannot start the event loop's thread");
	pthread_setname_np(loop->thread, "pv-loop");
	loop->has_thread = true;
	return 0;
}

void pv_loop_stop(struct pv_loop *loop)
{
	if (!loop->has_thread)
		return;
	pv_loop_quit(loop);
	pthread_join(loop->thread, NULL);
	loop->has_thread = false;
	/* The thread may have ended earlier by itself and left our wish for the next run. */
	atomic_store(&loop->quit, false);
}

/* --- the helper --- */

static void *help(void *ctx)
{
	struct pv_loop *loop = ctx;
	pv_loop_lock(loop);
	while (!pv_loop_is_over(loop, &loop->helper))
		pv_loop_turn(loop, &loop->helper, PV_CLOCK_NEVER);
	pv_loop_unlock(loop);
	return NULL;
}

int pv_loop_start_helper(struct pv_loop *loop)
{
	if (loop->has_helper)
		return 0;
	int code = pthread_create(&loop->helper_thread, NULL, help, loop);
	loop->has_helper = code == 0;
	return -code;
}

static void dismiss_helper(struct pv_loop *loop)
{
	if (!loop->has_helper)
		return;
	pv_loop_lock(loop);
	loop->dismissed = true;
	pv_loop_unlock(loop);
	pv_loop_ring(loop);
	pthread_join(loop->helper_thread, NULL);
	loop->has_helper = false;
}

bool pv_loop_hand_over(struct pv_loop *loop, void (*job)(void *ctx), void *ctx)
{
	struct pv_loop_runner *helper = &loop->helper;
	if (!loop->has_helper || helper->job)
		return false;
	helper->job = job;
	helper->job_ctx = ctx;
	/* Where it is not the one that has asked, it is woken, and by that the last to fall asleep
	 * again: it gets the next event itself. */
	if (pv_loop_call(helper))
		loop->bell_due = true;
	return true;
}

/* --- birth and death --- */

static void init_locks(struct pv_loop *loop)
{
	/* None of these can fail on Linux with these attributes. */
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&loop->woken, &attributes);
	pthread_cond_init(&loop->came_back, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&loop->next, NULL);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_mutex_init(&loop->wait_lock, NULL);
}

int pv_loop_create(struct pv_loop **out, struct pv_err *err)
{
	*out = NULL;
	struct pv_loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		return pv_err_nomem(err, "event loop");
	init_locks(loop);
	loop->armed_ns = PV_CLOCK_NEVER;
	loop->event_fd = loop->timer_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		goto fail;
	loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->event_fd < 0 || pv_loop_watch_own(loop, loop->event_fd) < 0)
		goto fail;
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timer_fd < 0 || pv_loop_watch_own(loop, loop->timer_fd) < 0)
		goto fail;
	*out = loop;
	return 0;
fail:;
	int status = pv_err_system(err, errno, "cannot make an event loop");
	pv_loop_destroy(loop);
	return status;
}

void pv_loop_destroy(struct pv_loop *loop)
{
	if (!loop)
		return;
	dismiss_helper(loop);
	pv_loop_stop(loop);
	pv_fd_close(&loop->timer_fd);
	pv_fd_close(&loop->event_fd);
	pv_fd_close(&loop->epoll_fd);
	pthread_cond_destroy(&loop->came_back);
	pthread_cond_destroy(&loop->woken);
	pthread_mutex_destroy(&loop->wait_lock);
	pthread_mutex_destroy(&loop->lock);
	pthread_mutex_destroy(&loop->next);
	free(loop->heap);
	free(loop->slots);
	free(loop);
}
