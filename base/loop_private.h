/*
 * The inside of a loop, for base/loop*.c; others use base/loop.h. Everything but what says otherwise
 * is guarded by the loop lock.
 */
#ifndef PV_BASE_LOOP_PRIVATE_H
#define PV_BASE_LOOP_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

/* More are done at once. */
#define PV_LOOP_DEFERRED_MAX 4

struct epoll_event;

/* Who watches the descriptor that is the index of this slot. */
struct pv_loop_slot {
	struct pv_loop_watch *watch; /* NULL = nobody */
	uint32_t generation;
	uint64_t served; /* when its callback last began, by pv_loop.moment */
};

struct pv_loop_deferred {
	void (*fn)(void *ctx);
	void *ctx;
};

struct pv_loop_heap_entry {
	struct pv_loop_timer *timer;
	uint64_t order; /* timers of one deadline fire in the order in which they were set */
};

/* A thread that runs callbacks. */
struct pv_loop_runner {
	bool asleep;	/* in epoll_wait, on its way there or on its way back */
	bool called;	/* is to come back although there may be no event for it */
	uint64_t since; /* when it fell asleep, by pv_loop.moment */
	/* What it does next, when its turn is over. */
	void (*job)(void *ctx);
	void *job_ctx;
};

struct pv_loop {
	pthread_mutex_t next; /* held while waiting for `lock` */
	pthread_mutex_t lock;

	/* Waiters that run no callbacks. */
	pthread_mutex_t wait_lock;
	pthread_cond_t woken; /* CLOCK_MONOTONIC */
	uint64_t wakes;	      /* guarded by wait_lock */
	unsigned waiters;

	uint64_t wake_count; /* calls of pv_loop_wake */

	/* What is done when the lock is dropped. */
	struct pv_loop_deferred deferred[PV_LOOP_DEFERRED_MAX];
	unsigned deferred_count;
	bool wake_due;
	bool bell_due;

	int epoll_fd;
	int event_fd;
	int timer_fd;
	int64_t armed_ns; /* when timer_fd fires; may be earlier than needed */
	unsigned asleep;  /* threads that timer_fd could wake */
	uint64_t moment;  /* counts sleeps and callbacks */

	struct pv_loop_runner main;   /* of pv_loop_run, or the loop's thread */
	struct pv_loop_runner helper; /* of pv_loop_start_helper */
	struct pv_loop_runner waiter; /* of pv_loop_adopt_waiter */
	pthread_cond_t came_back;	/* one that was called; with `lock` */
	unsigned callers;		/* threads that wait for that */

	struct pv_loop_slot *slots; /* by descriptor */
	unsigned slot_count;
	uint32_t generation;

	/* Binary heap; entry 0 is unused, so that index 0 means "not armed". */
	struct pv_loop_heap_entry *heap;
	unsigned timer_count;
	unsigned heap_capacity;
	uint64_t order;

	atomic_bool quit;
	bool dismissed; /* the helper is to end */

	/* Start and stop are called by one thread. */
	bool has_thread;
	pthread_t thread;
	bool has_helper;
	pthread_t helper_thread;

	/* Without the lock: set once, before or by the thread itself. */
	atomic_bool has_waiter;
	_Atomic(pthread_t) waiter_thread;
	/* Whose callback runs, for pv_loop_is_here. */
	atomic_bool running;
	_Atomic(pthread_t) runner;
};

/* --- base/loop.c --- */

/* Lets one who waits for the lock have it. */
void pv_loop_give_way(struct pv_loop *loop);

/* Around each callback. */
void pv_loop_enter(struct pv_loop *loop);
void pv_loop_leave(struct pv_loop *loop);

/* Does now what waits for the lock to be dropped. */
void pv_loop_do_deferred(struct pv_loop *loop);

/* True when a run of the loop is to end, and `self` is who runs it. */
bool pv_loop_is_over(const struct pv_loop *loop, const struct pv_loop_runner *self);

/* --- base/loop_turn.c --- */

/* Sleeps until something happens or the deadline has passed, without the lock, and does it. */
void pv_loop_turn(struct pv_loop *loop, struct pv_loop_runner *self, int64_t deadline_ns);

/* Makes `who` come back from its sleep, if it is asleep. True: the caller rings the bell after it has
 * dropped the lock. */
bool pv_loop_call(struct pv_loop_runner *who);

/* Wakes one sleeper. Any thread, with or without the lock. */
void pv_loop_ring(struct pv_loop *loop);

/* --- base/loop_watch.c --- */

/* Puts one of the loop's own descriptors into the epoll set. Returns 0 or -errno. */
int pv_loop_watch_own(struct pv_loop *loop, int fd);

/* True for an event of one of these, with its descriptor. */
bool pv_loop_watch_is_own(const struct epoll_event *event, int *fd);

/* Runs the callback of an event that `self` fetched, if its watch still lives and still wants it. Returns
 * whether one ran. */
bool pv_loop_watch_deliver(
    struct pv_loop *loop, struct pv_loop_runner *self, const struct epoll_event *event);

/* Has an event that was fetched fetched again. */
void pv_loop_watch_put_back(struct pv_loop *loop, const struct epoll_event *event);

/* --- base/loop_timers.c --- */

/* Makes timer_fd fire for the first timer. */
void pv_loop_timers_arm(struct pv_loop *loop);

/* Fires what is due. */
void pv_loop_timers_fire(struct pv_loop *loop, struct pv_loop_runner *self);

#endif
