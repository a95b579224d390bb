/*
 * The event loop: timers and watches. No test measures time: order and wake-ups are observed
 * through what callbacks record, waits have a generous end that only a failure reaches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "tests/unit/loop_rig.h"

static void hush(int fd)
{
	uint64_t count;
	assert_int_equal(pv_fd_read_all(fd, &count, sizeof(count)), 0);
}

/* --- timers --- */

static void timers_fire_in_order_of_deadline_then_of_setting(void **state)
{
	static const int delays[] = {9, 3, 3, 7, 1, 0, 3, 5, 9, 2};
	enum { COUNT = sizeof(delays) / sizeof(delays[0]) };
	struct loop_rig_log log = {.loop = loop_rig_new()};
	struct loop_rig_timer timers[COUNT] = {0};
	int64_t start = pv_clock_now();
	pv_loop_lock(log.loop);
	for (int i = 0; i < COUNT; i++) {
		timers[i].log = &log;
		timers[i].mark = i;
		timers[i].quit_at = COUNT;
		assert_int_equal(pv_loop_timer_set(log.loop, &timers[i].timer,
				     start + delays[i] * LOOP_RIG_MS, loop_rig_note, &timers[i]),
		    0);
	}
	pv_loop_unlock(log.loop);
	pv_loop_run(log.loop);
	assert_true(pv_clock_now() >= start + 9 * LOOP_RIG_MS);
	static const int order[COUNT] = {5, 4, 9, 1, 2, 6, 7, 3, 0, 8};
	assert_memory_equal(log.entries, order, sizeof(order));
	pv_loop_destroy(log.loop);
}

static void cleared_and_moved_timers_obey(void **state)
{
	struct loop_rig_log log = {.loop = loop_rig_new()};
	struct loop_rig_timer timers[40] = {0};
	int64_t start = pv_clock_now();
	pv_loop_lock(log.loop);
	for (int i = 0; i < 40; i++) {
		timers[i] = (struct loop_rig_timer){.log = &log, .mark = i, .quit_at = 20};
		pv_loop_timer_set(log.loop, &timers[i].timer, start + (i * 17 % 40) * 1000,
		    loop_rig_note, &timers[i]);
	}
	/* Odd ones go, even ones get the reversed order. */
	for (int i = 0; i < 40; i++) {
		if (i % 2)
			pv_loop_timer_clear(&timers[i].timer);
		else
			pv_loop_timer_set(log.loop, &timers[i].timer, start + (40 - i) * 1000,
			    loop_rig_note, &timers[i]);
		assert_int_equal(timers[i].timer.heap_index != 0, i % 2 == 0);
	}
	pv_loop_timer_clear(&timers[1].timer);
	pv_loop_unlock(log.loop);
	pv_loop_run(log.loop);
	assert_int_equal(log.count, 20);
	for (int i = 0; i < 20; i++)
		assert_int_equal(log.entries[i], 38 - 2 * i);
	pv_loop_destroy(log.loop);
}

static void a_random_heap_stays_in_order(void **state)
{
	enum { COUNT = 500 };
	struct pv_loop *loop = loop_rig_new();
	struct pv_loop_timer *timers = calloc(COUNT, sizeof(*timers));
	unsigned seed = 12345;
	pv_loop_lock(loop);
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		struct pv_loop_timer *timer = &timers[(seed >> 8) % COUNT];
		if ((seed >> 20) % 3)
			pv_loop_timer_set(loop, timer, (int64_t)(seed >> 4), loop_rig_note, NULL);
		else
			pv_loop_timer_clear(timer);
	}
	/* heap_index is the position in the heap: no child is due before its parent. */
	int64_t deadlines[COUNT + 1] = {0};
	unsigned armed = 0;
	for (int i = 0; i < COUNT; i++) {
		if (timers[i].heap_index == 0)
			continue;
		assert_int_equal(deadlines[timers[i].heap_index], 0);
		deadlines[timers[i].heap_index] = timers[i].deadline_ns;
		armed++;
	}
	for (unsigned i = 2; i <= armed; i++)
		assert_true(deadlines[i] >= deadlines[i / 2]);
	for (int i = 0; i < COUNT; i++)
		pv_loop_timer_clear(&timers[i]);
	pv_loop_unlock(loop);
	free(timers);
	pv_loop_destroy(loop);
}

static void a_sleeping_loop_notices_an_earlier_timer(void **state)
{
	struct loop_rig_log log = {.loop = loop_rig_start()};
	struct loop_rig_timer far = {.log = &log, .mark = 1}, near = {.log = &log, .mark = 2};
	pv_loop_lock(log.loop);
	int64_t now = pv_clock_now();
	pv_loop_timer_set(log.loop, &far.timer, now + 3600 * PV_CLOCK_SECOND, loop_rig_note, &far);
	/*
	 * Gives the loop the time to fall asleep with the far one; the test holds in either case.
	 */
	assert_int_equal(pv_loop_wait(log.loop, now + 20 * LOOP_RIG_MS), -ETIMEDOUT);
	pv_loop_timer_set(
	    log.loop, &near.timer, pv_clock_now() + LOOP_RIG_MS, loop_rig_note, &near);
	loop_rig_wait(log.loop, &log.count, 1);
	assert_int_equal(log.entries[0], 2);
	/* A deadline in the past, before the beginning of the clock even, is now. */
	pv_loop_timer_set(log.loop, &near.timer, 0, loop_rig_note, &near);
	loop_rig_wait(log.loop, &log.count, 2);
	pv_loop_timer_set(log.loop, &near.timer, -5, loop_rig_note, &near);
	loop_rig_wait(log.loop, &log.count, 3);
	pv_loop_timer_clear(&far.timer);
	pv_loop_unlock(log.loop);
	pv_loop_destroy(log.loop);
}

struct greedy {
	struct pv_loop *loop;
	struct pv_loop_timer timer;
	struct pv_loop_watch watch;
	int fd;
	int fired;
	int heard;
};

static void rearm_at_once(void *ctx)
{
	struct greedy *greedy = ctx;
	greedy->fired++;
	pv_loop_timer_set(greedy->loop, &greedy->timer, 0, rearm_at_once, greedy);
}

static void hear(void *ctx, uint32_t events)
{
	struct greedy *greedy = ctx;
	greedy->heard++;
	hush(greedy->fd);
	pv_loop_wake(greedy->loop);
}

static void a_timer_that_rearms_itself_at_once_starves_nobody(void **state)
{
	struct greedy greedy = {.loop = loop_rig_start(), .fd = loop_rig_event(0)};
	pv_loop_lock(greedy.loop);
	loop_rig_watch(greedy.loop, &greedy.watch, greedy.fd, hear, &greedy);
	pv_loop_timer_set(greedy.loop, &greedy.timer, 0, rearm_at_once, &greedy);
	for (int i = 1; i <= 20; i++) {
		loop_rig_ring(greedy.fd);
		loop_rig_wait(greedy.loop, &greedy.heard, i);
	}
	assert_true(greedy.fired > 0);
	pv_loop_timer_clear(&greedy.timer);
	pv_loop_watch_remove(&greedy.watch);
	pv_loop_unlock(greedy.loop);
	pv_loop_destroy(greedy.loop);
	pv_fd_close(&greedy.fd);
}

/* --- watches --- */

static void a_watch_added_from_another_thread_is_heard(void **state)
{
	struct greedy greedy = {.loop = loop_rig_start(), .fd = loop_rig_event(0)};
	pv_loop_lock(greedy.loop);
	/* Let the loop fall asleep first. */
	assert_int_equal(pv_loop_wait(greedy.loop, pv_clock_now() + 20 * LOOP_RIG_MS), -ETIMEDOUT);
	loop_rig_watch(greedy.loop, &greedy.watch, greedy.fd, hear, &greedy);
	loop_rig_ring(greedy.fd);
	loop_rig_wait(greedy.loop, &greedy.heard, 1);
	pv_loop_watch_remove(&greedy.watch);
	pv_loop_watch_remove(&greedy.watch);
	assert_null(greedy.watch.loop);
	pv_loop_unlock(greedy.loop);
	pv_loop_destroy(greedy.loop);
	pv_fd_close(&greedy.fd);
}

/*
 * Many descriptors, all ready in one batch; the first callback that runs removes and frees all the
 * others.
 */
struct crowd {
	struct pv_loop *loop;
	struct member {
		struct pv_loop_watch watch;
		struct crowd *crowd;
		int fd;
	} * members[16];
	struct pv_loop_timer end;
	int ran;
};

static void leave(void *ctx)
{
	struct crowd *crowd = ctx;
	pv_loop_quit(crowd->loop);
}

static void survive(void *ctx, uint32_t events)
{
	struct member *self = ctx;
	struct crowd *crowd = self->crowd;
	crowd->ran++;
	for (int i = 0; i < 16; i++) {
		struct member *member = crowd->members[i];
		if (member == self || !member)
			continue;
		crowd->members[i] = NULL;
		pv_loop_watch_remove(&member->watch);
		pv_fd_close(&member->fd);
		free(member);
	}
	hush(self->fd);
	/* Time for stale events to do harm, were they delivered. */
	pv_loop_timer_set(
	    crowd->loop, &crowd->end, pv_clock_now() + 20 * LOOP_RIG_MS, leave, crowd);
}

static void a_callback_may_remove_watches_whose_events_are_fetched(void **state)
{
	struct crowd crowd = {.loop = loop_rig_new()};
	pv_loop_lock(crowd.loop);
	for (int i = 0; i < 16; i++) {
		struct member *member = calloc(1, sizeof(*member));
		member->crowd = &crowd;
		member->fd = loop_rig_event(1);
		loop_rig_watch(crowd.loop, &member->watch, member->fd, survive, member);
		crowd.members[i] = member;
	}
	pv_loop_unlock(crowd.loop);
	pv_loop_run(crowd.loop);
	assert_int_equal(crowd.ran, 1);
	int left = 0;
	for (int i = 0; i < 16; i++) {
		struct member *member = crowd.members[i];
		if (!member)
			continue;
		left++;
		pv_loop_watch_remove(&member->watch);
		pv_fd_close(&member->fd);
		free(member);
	}
	assert_int_equal(left, 1);
	pv_loop_destroy(crowd.loop);
}

/*
 * Two ready descriptors; whoever runs first ends the other one's watch and reuses its number for
 * something silent.
 */
struct pair {
	struct pv_loop *loop;
	struct pv_loop_watch watches[2];
	int fds[2];
	struct pv_loop_watch silent_watch;
	int silent_fd;
	int ran;
	int wrong;
	struct pv_loop_timer end;
};

static void must_not_run(void *ctx, uint32_t events)
{
	struct pair *pair = ctx;
	pair->wrong++;
}

static void end_pair(void *ctx)
{
	struct pair *pair = ctx;
	pv_loop_quit(pair->loop);
}

static void replace_the_other(struct pair *pair, int other)
{
	pair->ran++;
	pv_loop_watch_remove(&pair->watches[other]);
	int silent = loop_rig_event(0);
	pair->silent_fd = dup2(silent, pair->fds[other]);
	pv_fd_close(&silent);
	loop_rig_watch(pair->loop, &pair->silent_watch, pair->silent_fd, must_not_run, pair);
	hush(pair->fds[!other]);
	pv_loop_timer_set(
	    pair->loop, &pair->end, pv_clock_now() + 20 * LOOP_RIG_MS, end_pair, pair);
}

static void first_ready(void *ctx, uint32_t events)
{
	replace_the_other(ctx, 1);
}

static void second_ready(void *ctx, uint32_t events)
{
	replace_the_other(ctx, 0);
}

static void a_stale_event_does_not_reach_the_new_owner_of_a_number(void **state)
{
	struct pair pair = {
	    .loop = loop_rig_new(), .fds = {loop_rig_event(1), loop_rig_event(1)}
	 };
	pv_loop_lock(pair.loop);
	loop_rig_watch(pair.loop, &pair.watches[0], pair.fds[0], first_ready, &pair);
	loop_rig_watch(pair.loop, &pair.watches[1], pair.fds[1], second_ready, &pair);
	pv_loop_unlock(pair.loop);
	pv_loop_run(pair.loop);
	assert_int_equal(pair.ran, 1);
	assert_int_equal(pair.wrong, 0);
	pv_loop_watch_remove(&pair.watches[0]);
	pv_loop_watch_remove(&pair.watches[1]);
	pv_loop_watch_remove(&pair.silent_watch);
	pv_loop_destroy(pair.loop);
	close(pair.fds[0]);
	close(pair.fds[1]);
}

/* A watch that asks for nothing any more in the middle of a batch. */
static void mute_the_other(void *ctx, uint32_t events)
{
	struct pair *pair = ctx;
	pair->ran++;
	pv_loop_watch_set(&pair->watches[0], 0);
	pv_loop_watch_set(&pair->watches[1], 0);
	pv_loop_timer_set(
	    pair->loop, &pair->end, pv_clock_now() + 20 * LOOP_RIG_MS, end_pair, pair);
}

static void a_muted_watch_is_silent_at_once_and_hears_again_later(void **state)
{
	struct pair pair = {
	    .loop = loop_rig_new(), .fds = {loop_rig_event(1), loop_rig_event(1)}
	 };
	pv_loop_lock(pair.loop);
	loop_rig_watch(pair.loop, &pair.watches[0], pair.fds[0], mute_the_other, &pair);
	loop_rig_watch(pair.loop, &pair.watches[1], pair.fds[1], mute_the_other, &pair);
	pv_loop_unlock(pair.loop);
	pv_loop_run(pair.loop);
	assert_int_equal(pair.ran, 1);
	pv_loop_lock(pair.loop);
	pv_loop_watch_set(&pair.watches[1], EPOLLIN);
	pv_loop_unlock(pair.loop);
	pv_loop_run(pair.loop);
	assert_int_equal(pair.ran, 2);
	pv_loop_watch_remove(&pair.watches[0]);
	pv_loop_watch_remove(&pair.watches[1]);
	pv_loop_destroy(pair.loop);
	close(pair.fds[0]);
	close(pair.fds[1]);
}

static void remove_self(void *ctx, uint32_t events)
{
	struct pair *pair = ctx;
	pair->ran++;
	pv_loop_watch_remove(&pair->watches[0]);
	pv_loop_timer_clear(&pair->end);
	pv_loop_timer_set(
	    pair->loop, &pair->end, pv_clock_now() + 10 * LOOP_RIG_MS, end_pair, pair);
}

static void a_callback_may_remove_its_own_watch(void **state)
{
	struct pair pair = {
	    .loop = loop_rig_new(), .fds = {loop_rig_event(1), -1}
	  };
	pv_loop_lock(pair.loop);
	loop_rig_watch(pair.loop, &pair.watches[0], pair.fds[0], remove_self, &pair);
	pv_loop_timer_set(
	    pair.loop, &pair.end, pv_clock_deadline(LOOP_RIG_LONG_ENOUGH), end_pair, &pair);
	pv_loop_unlock(pair.loop);
	pv_loop_run(pair.loop);
	assert_int_equal(pair.ran, 1);
	pv_loop_destroy(pair.loop);
	close(pair.fds[0]);
}

static void a_timer_may_clear_another_that_is_due(void **state)
{
	struct loop_rig_log log = {.loop = loop_rig_new()};
	struct loop_rig_timer timers[3] = {0};
	pv_loop_lock(log.loop);
	for (int i = 0; i < 3; i++)
		timers[i] = (struct loop_rig_timer){.log = &log, .mark = i, .quit_at = 2};
	/* The first one's callback is pv_loop_timer_clear of the second itself. */
	struct pv_loop_timer killer = {0};
	pv_loop_timer_set(log.loop, &timers[0].timer, 1, loop_rig_note, &timers[0]);
	pv_loop_timer_set(
	    log.loop, &killer, 2, (void (*)(void *))pv_loop_timer_clear, &timers[1].timer);
	pv_loop_timer_set(log.loop, &timers[1].timer, 3, loop_rig_note, &timers[1]);
	pv_loop_timer_set(log.loop, &timers[2].timer, 4, loop_rig_note, &timers[2]);
	pv_loop_unlock(log.loop);
	pv_loop_run(log.loop);
	assert_int_equal(log.count, 2);
	assert_int_equal(log.entries[0], 0);
	assert_int_equal(log.entries[1], 2);
	pv_loop_destroy(log.loop);
}

/* The loop is free when it runs, and it runs once. */
static void count_deferred(void *ctx)
{
	struct deferred {
		struct pv_loop *loop;
		unsigned count;
	} *deferred = ctx;
	pv_loop_lock(deferred->loop);
	deferred->count++;
	pv_loop_unlock(deferred->loop);
}

static void what_is_deferred_is_done_once_when_the_lock_is_dropped(void **state)
{
	struct {
		struct pv_loop *loop;
		unsigned count;
	} deferred = {.loop = loop_rig_new()};
	pv_loop_lock(deferred.loop);
	pv_loop_defer(deferred.loop, count_deferred, &deferred);
	pv_loop_defer(deferred.loop, count_deferred, &deferred);
	assert_int_equal(deferred.count, 0);
	pv_loop_unlock(deferred.loop);
	assert_int_equal(deferred.count, 1);
	pv_loop_lock(deferred.loop);
	pv_loop_unlock(deferred.loop);
	assert_int_equal(deferred.count, 1);
	pv_loop_destroy(deferred.loop);
}

static void count_plainly(void *ctx)
{
	++*(unsigned *)ctx;
}

static void waiting_does_what_is_deferred_and_more_than_there_is_room_for_is_done_at_once(
    void **state)
{
	struct pv_loop *loop = loop_rig_new();
	unsigned counts[9] = {0};
	pv_loop_lock(loop);
	for (int i = 0; i < 9; i++)
		pv_loop_defer(loop, count_plainly, &counts[i]);
	/* Our own wake is no reason to come back. */
	pv_loop_wake(loop);
	assert_int_equal(pv_loop_wait(loop, pv_clock_now()), -ETIMEDOUT);
	for (int i = 0; i < 9; i++)
		assert_int_equal(counts[i], 1);
	pv_loop_unlock(loop);
	pv_loop_destroy(loop);
}

static void what_cannot_be_watched_is_refused_in_words(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_loop *loop = loop_rig_new();
	struct pv_loop_watch a = {0}, b = {0};
	int fd = loop_rig_event(0);
	pv_loop_lock(loop);
	assert_int_equal(pv_loop_watch_add(loop, &a, -1, EPOLLIN, hear, NULL, &err), -EBADF);
	assert_int_equal(pv_loop_watch_add(loop, &a, 1000000, EPOLLIN, hear, NULL, &err), -EBADF);
	assert_null(a.loop);
	loop_rig_watch(loop, &a, fd, hear, NULL);
	assert_int_equal(pv_loop_watch_add(loop, &b, fd, EPOLLIN, hear, NULL, &err), -EEXIST);
	assert_int_equal(pv_loop_watch_add(loop, &a, fd, EPOLLIN, hear, NULL, &err), -EEXIST);
	assert_true(err.text[0] != '\0');
	pv_loop_watch_remove(&a);
	pv_loop_watch_remove(&b);
	pv_loop_unlock(loop);
	pv_loop_destroy(loop);
	pv_fd_close(&fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(timers_fire_in_order_of_deadline_then_of_setting),
	    cmocka_unit_test(cleared_and_moved_timers_obey),
	    cmocka_unit_test(a_random_heap_stays_in_order),
	    cmocka_unit_test(a_sleeping_loop_notices_an_earlier_timer),
	    cmocka_unit_test(a_timer_that_rearms_itself_at_once_starves_nobody),
	    cmocka_unit_test(a_watch_added_from_another_thread_is_heard),
	    cmocka_unit_test(a_callback_may_remove_watches_whose_events_are_fetched),
	    cmocka_unit_test(a_stale_event_does_not_reach_the_new_owner_of_a_number),
	    cmocka_unit_test(a_muted_watch_is_silent_at_once_and_hears_again_later),
	    cmocka_unit_test(a_callback_may_remove_its_own_watch),
	    cmocka_unit_test(a_timer_may_clear_another_that_is_due),
	    cmocka_unit_test(what_is_deferred_is_done_once_when_the_lock_is_dropped),
	    cmocka_unit_test(
		waiting_does_what_is_deferred_and_more_than_there_is_room_for_is_done_at_once),
	    cmocka_unit_test(what_cannot_be_watched_is_refused_in_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
