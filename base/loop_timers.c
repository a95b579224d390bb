/*
 * Timers of a loop: a binary heap by deadline, and one timerfd for the first of them.
 *
 * The timerfd is armed before a thread falls asleep, and at once when one sleeps already. It is
 * watched edge-triggered and never read: each expiry is one event, which wakes one thread, and that
 * one fires all that is due.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/loop_private.h"

static bool fires_before(const struct pv_loop_heap_entry *a, const struct pv_loop_heap_entry *b)
{
	if (a->timer->deadline_ns != b->timer->deadline_ns)
		return a->timer->deadline_ns < b->timer->deadline_ns;
	return a->order < b->order;
}

static void place(struct pv_loop *loop, unsigned index, struct pv_loop_heap_entry entry)
{
	loop->heap[index] = entry;
	entry.timer->heap_index = index;
}

/* Moves the entry at `index` to where it belongs, towards the root and then away from it. */
static void sift(struct pv_loop *loop, unsigned index)
{
	struct pv_loop_heap_entry entry = loop->heap[index];
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
void pv_loop_timers_arm(struct pv_loop *loop)
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
	struct pv_loop_heap_entry *heap = realloc(loop->heap, capacity * sizeof(*heap));
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
	loop->heap[timer->heap_index] = (struct pv_loop_heap_entry){.timer = timer, .order = loop->order++};
	sift(loop, timer->heap_index);
	/* Who falls asleep arms; for who sleeps already this is the alarm clock. */
	if (loop->asleep > 0)
		pv_loop_timers_arm(loop);
	return 0;
}

void pv_loop_timer_clear(struct pv_loop_timer *timer)
{
	unsigned index = timer->heap_index;
	if (index == 0)
		return;
	struct pv_loop *loop = timer->loop;
	struct pv_loop_heap_entry last = loop->heap[loop->timer_count--];
	timer->heap_index = 0;
	if (last.timer == timer)
		return;
	loop->heap[index] = last;
	sift(loop, index);
}


/*
 * One pass over as many timers as there were, so that a timer that re-arms itself at once cannot
 * shut out the rest.
 */
void pv_loop_timers_fire(struct pv_loop *loop, struct pv_loop_runner *self)
{
	if (loop->timer_count == 0)
		return;
	int64_t now = pv_clock_now();
	for (unsigned left = loop->timer_count; left > 0; left--) {
		if (loop->timer_count == 0 || pv_loop_is_over(loop, self))
			return;
		struct pv_loop_timer *timer = loop->heap[1].timer;
		if (timer->deadline_ns > now)
			return;
		pv_loop_timer_clear(timer);
		pv_loop_enter(loop);
		timer->fire(timer->ctx);
		pv_loop_leave(loop);
		pv_loop_give_way(loop);
	}
}
