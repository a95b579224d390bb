/*
 * The event loop: one epoll set, one timerfd for the earliest of a heap of timers, one eventfd that
 * ends a sleep.
 *
 * Who runs where: callbacks run on the loop thread under the loop lock. Any thread that holds the
 * lock may add and remove watches and timers; the kernel lets a sleeping epoll_wait notice a new
 * descriptor by itself, and an earlier timer re-arms the timerfd at once. So nothing polls, and an
 * idle loop sleeps for ever.
 *
 * Stale events: epoll_wait fills its batch without the lock, so a watch may be removed (and its
 * memory freed) when its event is already fetched. Events therefore carry no pointers: they carry
 * the descriptor and the generation of the watch, and `slots` says under the lock whether that
 * generation still lives. A descriptor closed and reused gets a new generation.
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
 * Order: next, lock, wait_lock.
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

#define BATCH 64

/* More are done at once. */
#define DEFERRED_MAX 4

/* The generation of our own two descriptors; watches count from 1. */
#define OWN_GENERATION 0

/* Who watches the descriptor that is the index of this slot. */
struct slot {
	struct pv_loop_watch *watch; /* NULL = nobody */
	uint32_t generation;
};

struct deferred {
	void (*fn)(void *ctx);
	void *ctx;
};

struct heap_entry {
	struct pv_loop_timer *timer;
	uint64_t order; /* timers of one deadline fire in the order in which they were set */
};

struct pv_loop {
	pthread_mutex_t next; /* held while waiting for `lock` */
	pthread_mutex_t lock;

	pthread_mutex_t wait_lock;
	pthread_cond_t woken; /* CLOCK_MONOTONIC */
	uint64_t wakes;	      /* guarded by wait_lock */

	/* What is done when the lock is dropped; guarded by it. */
	struct deferred deferred[DEFERRED_MAX];
	unsigned deferred_count;
	bool wake_due;

	int epoll_fd;
	int event_fd;
	int timer_fd;
	int64_t armed_ns; /* when timer_fd fires; may be earlier than needed */
	bool asleep;	  /* in epoll_wait, timer_fd is what wakes it */

	struct slot *slots; /* by descriptor */
	unsigned slot_count;
	uint32_t generation;

	/* Binary heap; entry 0 is unused, so that index 0 means "not armed". */
	struct heap_entry *heap;
	unsigned timer_count;
	unsigned heap_capacity;
	uint64_t order;

	atomic_bool quit;
	bool has_thread; /* start and stop are called by one thread */
	pthread_t thread;
	atomic_bool running;
	_Atomic(pthread_t) runner; /* valid while `running` */
};

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

void pv_loop_unlock(struct pv_loop *loop)
{
	struct deferred deferred[DEFERRED_MAX];
	const unsigned count = loop->deferred_count;
	const bool wake = loop->wake_due;
	memcpy(deferred, loop->deferred, count * sizeof(deferred[0]));
	loop->deferred_count = 0;
	loop->wake_due = false;
	pthread_mutex_unlock(&loop->lock);
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
	if (loop->deferred_count == DEFERRED_MAX)
		fn(ctx);
	else
		loop->deferred[loop->deferred_count++] = (struct deferred){.fn = fn, .ctx = ctx};
}

/* Does now what waits for the lock to be dropped. */
static void do_deferred(struct pv_loop *loop)
{
	while (loop->deferred_count > 0) {
		const struct deferred next = loop->deferred[--loop->deferred_count];
		next.fn(next.ctx);
	}
	if (loop->wake_due)
		wake_waiters(loop);
	loop->wake_due = false;
}

/* Lets one who waits for the lock have it. */
static void give_way(struct pv_loop *loop)
{
	pv_loop_unlock(loop);
	pv_loop_lock(loop);
}

int pv_loop_wait(struct pv_loop *loop, int64_t deadline_ns)
{
	struct timespec until = {
	    .tv_sec = deadline_ns > 0 ? deadline_ns / PV_CLOCK_SECOND : 0,
	    .tv_nsec = deadline_ns > 0 ? deadline_ns % PV_CLOCK_SECOND : 0,
	};
	do_deferred(loop);
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
	return woken ? 0 : -ETIMEDOUT;
}

/* A thread that is woken while we hold the lock would only run into it. */
void pv_loop_wake(struct pv_loop *loop)
{
	loop->wake_due = true;
}

/* --- watches --- */

static uint64_t event_key(int fd, uint32_t generation)
{
	return (uint64_t)generation << 32 | (uint32_t)fd;
}

static int grow_slots(struct pv_loop *loop, int fd)
{
	unsigned count = loop->slot_count ? loop->slot_count : 64;
	while (count <= (unsigned)fd)
		count *= 2;
	if (count == loop->slot_count)
		return 0;
	struct slot *slots = realloc(loop->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + loop->slot_count, 0, (count - loop->slot_count) * sizeof(*slots));
	loop->slots = slots;
	loop->slot_count = count;
	return 0;
}

int pv_loop_watch_add(struct pv_loop *loop, struct pv_loop_watch *watch, int fd, uint32_t events,
    void (*ready)(void *ctx, uint32_t events), void *ctx, struct pv_err *err)
{
	if (fd < 0)
		return pv_err_set(err, PV_ERR_INTERNAL, EBADF, "cannot watch descriptor %d", fd);
	if (grow_slots(loop, fd) < 0)
		return pv_err_nomem(err, "event loop");
	struct slot *slot = &loop->slots[fd];
	if (watch->loop || slot->watch)
		return pv_err_set(err, PV_ERR_INTERNAL, EEXIST,
		    "cannot watch descriptor %d: it is watched already", fd);
	if (++loop->generation == OWN_GENERATION)
		loop->generation++;
	struct epoll_event event = {.events = events, .data.u64 = event_key(fd, loop->generation)};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return pv_err_system(err, errno, "cannot watch descriptor %d", fd);
	*slot = (struct slot){.watch = watch, .generation = loop->generation};
	*watch = (struct pv_loop_watch){
	    .loop = loop, .fd = fd, .events = events, .ready = ready, .ctx = ctx};
	return 0;
}

void pv_loop_watch_set(struct pv_loop_watch *watch, uint32_t events)
{
	struct pv_loop *loop = watch->loop;
	if (!loop || watch->events == events)
		return;
	watch->events = events;
	struct epoll_event event = {
	    .events = events, .data.u64 = event_key(watch->fd, loop->slots[watch->fd].generation)};
	/*
	 * Fails only when the descriptor was closed under us; then there is nothing to hear from
	 * it.
	 */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void pv_loop_watch_remove(struct pv_loop_watch *watch)
{
	struct pv_loop *loop = watch->loop;
	if (!loop)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	loop->slots[watch->fd].watch = NULL;
	*watch = (struct pv_loop_watch){.fd = -1};
}

/* --- timers --- */

static bool fires_before(const struct heap_entry *a, const struct heap_entry *b)
{
	if (a->timer->deadline_ns != b->timer->deadline_ns)
		return a->timer->deadline_ns < b->timer->deadline_ns;
	return a->order < b->order;
}

static void place(struct pv_loop *loop, unsigned index, struct heap_entry entry)
{
	loop->heap[index] = entry;
	entry.timer->heap_index = index;
}

/* Moves the entry at `index` to where it belongs, towards the root and then away from it. */
static void sift(struct pv_loop *loop, unsigned index)
{
	struct heap_entry entry = loop->heap[index];
	while (index > 1 && fires_before(&entry, &loop->heap[index / 2])) {
		place(loop, index, loop->heap[index / 2]);
		index /= 2;
	}
	for (;;) {
		unsigned child = 2 * index;
		if (child > loop->timer_count)
			break;
		if (child < loop->timer_count &&
		    fires_before(&loop->heap[child + 1], &loop->heap[child]))
			child++;
		if (!fires_before(&loop->heap[child], &entry))
			break;
		place(loop, index, loop->heap[child]);
		index = child;
	}
	place(loop, index, entry);
}

/*
 * Makes timer_fd fire for the first timer. Firing too early only costs one more turn, so a deadline
 * that moved away is left.
 */
static void arm(struct pv_loop *loop)
{
	if (loop->timer_count == 0)
		return;
	int64_t first = loop->heap[1].timer->deadline_ns;
	if (first >= loop->armed_ns)
		return;
	loop->armed_ns = first;
	/*
	 * A zero time would disarm the clock: what is due already fires at 1 ns after boot, that is
	 * now.
	 */
	int64_t at = first > 0 ? first : 1;
	struct itimerspec when = {0};
	when.it_value.tv_sec = at / PV_CLOCK_SECOND;
	when.it_value.tv_nsec = at % PV_CLOCK_SECOND;
	timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static int grow_heap(struct pv_loop *loop)
{
	if (loop->timer_count + 1 < loop->heap_capacity)
		return 0;
	unsigned capacity = loop->heap_capacity ? loop->heap_capacity * 2 : 32;
	struct heap_entry *heap = realloc(loop->heap, capacity * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	loop->heap = heap;
	loop->heap_capacity = capacity;
	return 0;
}

int pv_loop_timer_set(struct pv_loop *loop, struct pv_loop_timer *timer, int64_t deadline_ns,
    void (*fire)(void *ctx), void *ctx)
{
	if (timer->heap_index == 0) {
		if (grow_heap(loop) < 0)
			return -ENOMEM;
		loop->timer_count++;
		timer->heap_index = loop->timer_count;
	}
	timer->loop = loop;
	timer->deadline_ns = deadline_ns;
	timer->fire = fire;
	timer->ctx = ctx;
	loop->heap[timer->heap_index] = (struct heap_entry){.timer = timer, .order = loop->order++};
	sift(loop, timer->heap_index);
	/*
	 * The loop thread arms before it sleeps; when it sleeps already, this is the alarm clock.
	 */
	if (loop->asleep)
		arm(loop);
	return 0;
}

void pv_loop_timer_clear(struct pv_loop_timer *timer)
{
	unsigned index = timer->heap_index;
	if (index == 0)
		return;
	struct pv_loop *loop = timer->loop;
	struct heap_entry last = loop->heap[loop->timer_count--];
	timer->heap_index = 0;
	if (last.timer == timer)
		return;
	loop->heap[index] = last;
	sift(loop, index);
}

/* --- running --- */

bool pv_loop_is_here(const struct pv_loop *loop)
{
	return atomic_load(&loop->running) &&
	       pthread_equal(atomic_load(&loop->runner), pthread_self());
}

void pv_loop_quit(struct pv_loop *loop)
{
	atomic_store(&loop->quit, true);
	uint64_t one = 1;
	/* Fails only when the counter is full, and then the loop wakes anyway. */
	while (write(loop->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

/* Empties the counter of an eventfd or timerfd. */
static void drain(int fd)
{
	uint64_t count;
	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		continue;
}

/*
 * Delivers one fetched event, if its watch still lives and still wants it. Returns whether a
 * callback ran.
 */
static bool deliver(struct pv_loop *loop, const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;
	uint32_t generation = (uint32_t)(event->data.u64 >> 32);
	if (generation == OWN_GENERATION) {
		drain(fd);
		if (fd == loop->timer_fd)
			loop->armed_ns = PV_CLOCK_NEVER;
		return false;
	}
	const struct slot *slot = &loop->slots[fd];
	if (!slot->watch || slot->generation != generation)
		return false;
	uint32_t events = event->events & (slot->watch->events | EPOLLERR | EPOLLHUP);
	if (events == 0)
		return false;
	slot->watch->ready(slot->watch->ctx, events);
	return true;
}

/*
 * Fires what is due. One pass over as many timers as there were, so that a timer that re-arms
 * itself at once cannot shut out the rest.
 */
static void fire_timers(struct pv_loop *loop)
{
	int64_t now = pv_clock_now();
	for (unsigned left = loop->timer_count; left > 0; left--) {
		if (loop->timer_count == 0 || atomic_load(&loop->quit))
			return;
		struct pv_loop_timer *timer = loop->heap[1].timer;
		if (timer->deadline_ns > now)
			return;
		pv_loop_timer_clear(timer);
		timer->fire(timer->ctx);
		give_way(loop);
	}
}

/*
 * Sleeps until something happens. Returns the number of events in `batch`. The lock is dropped
 * meanwhile.
 */
static int sleep_for_events(struct pv_loop *loop, struct epoll_event *batch)
{
	arm(loop);
	loop->asleep = true;
	pv_loop_unlock(loop);
	int count = epoll_wait(loop->epoll_fd, batch, BATCH, -1);
	pv_loop_lock(loop);
	loop->asleep = false;
	return count;
}

static void run(struct pv_loop *loop)
{
	struct epoll_event batch[BATCH];
	atomic_store(&loop->runner, pthread_self());
	atomic_store(&loop->running, true);
	pv_loop_lock(loop);
	while (!atomic_load(&loop->quit)) {
		int count = sleep_for_events(loop, batch);
		for (int i = 0; i < count && !atomic_load(&loop->quit); i++) {
			if (deliver(loop, &batch[i]))
				give_way(loop);
		}
		fire_timers(loop);
	}
	/* The wish is fulfilled; the loop may run again. */
	atomic_store(&loop->quit, false);
	pv_loop_unlock(loop);
	atomic_store(&loop->running, false);
}

void pv_loop_run(struct pv_loop *loop)
{
	run(loop);
}

static void *thread_main(void *ctx)
{
	run(ctx);
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

/* --- birth and death --- */

/* Puts one of our own descriptors into the epoll set. Returns 0 or -errno. */
static int add_own(struct pv_loop *loop, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = event_key(fd, OWN_GENERATION)};
	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void init_locks(struct pv_loop *loop)
{
	/* None of these can fail on Linux with these attributes. */
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&loop->woken, &attributes);
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
	if (loop->event_fd < 0 || add_own(loop, loop->event_fd) < 0)
		goto fail;
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timer_fd < 0 || add_own(loop, loop->timer_fd) < 0)
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
	pv_loop_stop(loop);
	pv_fd_close(&loop->timer_fd);
	pv_fd_close(&loop->event_fd);
	pv_fd_close(&loop->epoll_fd);
	pthread_cond_destroy(&loop->woken);
	pthread_mutex_destroy(&loop->wait_lock);
	pthread_mutex_destroy(&loop->lock);
	pthread_mutex_destroy(&loop->next);
	free(loop->heap);
	free(loop->slots);
	free(loop);
}
