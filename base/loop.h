/*
 * The event loop: threads that wait on descriptors and timers, and the lock that guards everything that its callbacks touch.
 *
 * Callbacks run one at a time, under the loop lock, which is dropped while nobody has anything to do. Usually they run on the loop thread;
 * two more threads may run them as well, to spare a change of thread where one waits for what the other does: a waiter, while it is in
 * pv_loop_wait, and a helper, which may also do long work. "From a callback" means on whichever thread runs it.
 *
 * vCPU threads take the lock to dispatch an exit, the script thread takes it to start an operation, and waits under it for results.
 * Functions marked [locked] need the lock held.
 */
#ifndef PV_BASE_LOOP_H
#define PV_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_loop;

/* A watched descriptor. Lives in its owner's memory; zeroed = not watched. The fields belong to the loop. */
struct pv_loop_watch {
	struct pv_loop *loop;
	int fd;
	uint32_t events;
	void (*ready)(void *ctx, uint32_t events);
	void *ctx;
};

/* A one-shot timer. Lives in its owner's memory; zeroed = not armed. The fields belong to the loop. */
struct pv_loop_timer {
	struct pv_loop *loop;
	int64_t deadline_ns;
	unsigned heap_index; /* 1-based; 0 = not armed */
	void (*fire)(void *ctx);
	void *ctx;
};

/* Creates a loop without starting its thread. Returns 0 or -errno; the caller destroys it. */
int pv_loop_create(struct pv_loop **out, struct pv_err *err);

/* Ends helper and thread if they run, and frees the loop. Watches and timers must be gone. NULL is fine. Not from a callback or job. */
void pv_loop_destroy(struct pv_loop *loop);

/* Starts the loop thread. Signals are blocked in it, except those of faults (SIGSEGV and the like). Returns 0 or -errno. */
int pv_loop_start(struct pv_loop *loop, struct pv_err *err);

/* Asks the thread to end and joins it. Idempotent. Not from a callback, lock not held. */
void pv_loop_stop(struct pv_loop *loop);

/* Runs callbacks on the calling thread until pv_loop_quit; for programs with no second thread. Lock not held. */
void pv_loop_run(struct pv_loop *loop);

/*
 * Makes pv_loop_run, or the thread, return after the current callback. Any thread. Not lost when the loop does not run yet, and used up by the
 * return.
 */
void pv_loop_quit(struct pv_loop *loop);

void pv_loop_lock(struct pv_loop *loop);
void pv_loop_unlock(struct pv_loop *loop);

/*
 * [locked] Watches `fd` (not owned) for EPOLLIN, EPOLLOUT (0 = errors only). `ready` runs under the lock. Level-triggered, so EPOLLERR and
 * EPOLLHUP come unasked and again and again, and an owner that sees them must read, or remove the watch. With EPOLLET an event comes once,
 * and `ready` must use up all that is there, or call pv_loop_watch_set with other events and back later, and must bear to find nothing. Do
 * that where each event counts: a level-triggered one wakes another sleeping thread of the loop in vain. Remove the watch before closing
 * the descriptor. One watch per descriptor. Returns 0 or -errno (-EPERM: a regular file, which is always ready).
 */
int pv_loop_watch_add(struct pv_loop *loop, struct pv_loop_watch *watch, int fd, uint32_t events,
    void (*ready)(void *ctx, uint32_t events), void *ctx, struct pv_err *err);

/* [locked] Changes the events of a live watch. */
void pv_loop_watch_set(struct pv_loop_watch *watch, uint32_t events);

/* [locked] Ends a watch; `ready` does not run after this returns. A zeroed or ended watch is fine. Callable from any callback. */
void pv_loop_watch_remove(struct pv_loop_watch *watch);

/*
 * [locked] Arms or re-arms a timer at a monotonic deadline (pv_clock_now's scale); one in the past fires at once, from the loop. Timers of the
 * same deadline fire in the order in which they were set. Returns 0 or -ENOMEM, which cannot happen when the timer is armed already.
 */
int pv_loop_timer_set(struct pv_loop *loop, struct pv_loop_timer *timer, int64_t deadline_ns,
    void (*fire)(void *ctx), void *ctx);

/* [locked] Disarms; harmless when not armed. `fire` does not run after this returns. */
void pv_loop_timer_clear(struct pv_loop_timer *timer);

/*
 * [locked] Sleeps until some callback called pv_loop_wake, dropping the lock meanwhile. The caller re-checks its condition in a loop.
 * Returns 0, or -ETIMEDOUT when `deadline_ns` passed. Never from a callback.
 */
int pv_loop_wait(struct pv_loop *loop, int64_t deadline_ns);

/*
 * From now on the calling thread runs callbacks itself while it is in pv_loop_wait; so what it waits for needs no other thread. The loop thread
 * goes on to do what comes while it does not wait. For one thread of the process, once, lock not held. Callbacks must then bear to be run with
 * that thread's signal mask.
 */
void pv_loop_adopt_waiter(struct pv_loop *loop);

/*
 * [locked] Starts a second thread for callbacks, unless there is one. It has the caller's signal mask and lives until pv_loop_destroy, also while
 * nobody is in pv_loop_run. Returns 0 or -errno.
 */
int pv_loop_start_helper(struct pv_loop *loop);

/*
 * [locked] Has the helper call `job` without the lock, as soon as it is through with its callbacks: when this is one of these, there is no
 * change of thread. The job may take for ever, as the loop thread is there meanwhile. False: there is no helper, or it has a job already.
 */
bool pv_loop_hand_over(struct pv_loop *loop, void (*job)(void *ctx), void *ctx);

/* [locked] Wakes all threads in pv_loop_wait, as soon as the lock is dropped. Call it after changing anything that somebody may wait for. */
void pv_loop_wake(struct pv_loop *loop);

/*
 * [locked] Calls `fn` on this thread as soon as it has dropped the lock, or waits; without the lock, and once however often it was asked for
 * with this `ctx`. For waking threads which would only run into the lock. `ctx` must last. May call it at once.
 */
void pv_loop_defer(struct pv_loop *loop, void (*fn)(void *ctx), void *ctx);

/* True in a callback. */
bool pv_loop_is_here(const struct pv_loop *loop);

#endif
