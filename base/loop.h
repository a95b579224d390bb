/*
 * The event loop: one thread that waits on descriptors and timers, and the lock that guards everything that its callbacks touch.
 *
 * The loop lock is held by the loop thread while a callback runs and dropped while it sleeps. vCPU threads take it to dispatch an exit,
 * the script thread takes it to start an operation, and waits under it for results. Functions marked [locked] need the lock held.
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

/* Stops the thread if it runs, and frees the loop. Watches and timers must be gone. NULL is fine. Not from a callback. */
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
 * [locked] Watches `fd` (not owned) for EPOLLIN, EPOLLOUT (level-triggered; 0 = errors only). `ready` runs on the loop thread under the lock.
 * EPOLLERR and EPOLLHUP come unasked and again and again, so an owner that sees them must read, or remove the watch. Remove the watch before
 * closing the descriptor. One watch per descriptor. Returns 0 or -errno (-EPERM: a regular file, which is always ready).
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
 * Returns 0, or -ETIMEDOUT when `deadline_ns` passed. Never from the loop thread.
 */
int pv_loop_wait(struct pv_loop *loop, int64_t deadline_ns);

/* [locked] Wakes all threads in pv_loop_wait, as soon as the lock is dropped. Call it after changing anything that somebody may wait for. */
void pv_loop_wake(struct pv_loop *loop);

/*
 * [locked] Calls `fn` on this thread as soon as it has dropped the lock, or waits; without the lock, and once however often it was asked for
 * with this `ctx`. For waking threads which would only run into the lock. `ctx` must last. May call it at once.
 */
void pv_loop_defer(struct pv_loop *loop, void (*fn)(void *ctx), void *ctx);

/* True on the loop's own thread. */
bool pv_loop_is_here(const struct pv_loop *loop);

#endif
