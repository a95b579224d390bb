/*
 * The event loop with several threads that run callbacks: a waiter that runs them itself, a helper
 * with long work, and who is woken by what. No test measures time: waits have a generous end that
 * only a failure reaches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "tests/unit/loop_rig.h"

/* An eventfd that is emptied by its callback. */
struct bell {
	struct pv_loop *loop;
	struct pv_loop_watch watch;
	struct pv_loop_timer timer;
	int fd;
	int heard;
	int in_vain; /* there was nothing to read */
	bool here;
	pthread_t thread; /* that ran the callback last */
};

static void hear(void *ctx, uint32_t events)
{
	struct bell *bell = ctx;
	uint64_t count;
	bell->here = pv_loop_is_here(bell->loop);
	bell->thread = pthread_self();
	if (read(bell->fd, &count, sizeof(count)) == sizeof(count))
		bell->heard++;
	else
		bell->in_vain++;
	pv_loop_wake(bell->loop);
}

static void ring_from_timer(void *ctx)
{
	loop_rig_ring(((struct bell *)ctx)->fd);
}

static void hang(struct bell *bell, struct pv_loop *loop, uint32_t events)
{
	struct pv_err err = PV_ERR_INIT;
	*bell = (struct bell){.loop = loop, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (pv_loop_watch_add(loop, &bell->watch, bell->fd, events, hear, bell, &err) < 0)
		fail_msg("%s", err.text);
}

static void take_down(struct bell *bell)
{
	pv_loop_timer_clear(&bell->timer);
	pv_loop_watch_remove(&bell->watch);
	pv_fd_close(&bell->fd);
}

/* --- a waiter --- */

static void a_waiter_runs_callbacks_itself(void **state)
{
	/* Nobody else could. */
	struct pv_loop *loop = loop_rig_new();
	struct bell bell;
	pv_loop_adopt_waiter(loop);
	pv_loop_lock(loop);
	hang(&bell, loop, EPOLLIN | EPOLLET);
	pv_loop_timer_set(loop, &bell.timer, pv_clock_now() + LOOP_RIG_MS, ring_from_timer, &bell);
	loop_rig_wait(loop, &bell.heard, 1);
	assert_true(bell.here);
	assert_true(pthread_equal(bell.thread, pthread_self()));
	assert_false(pv_loop_is_here(loop));
	/* Without anything to do its waits end in time. */
	int64_t deadline = pv_clock_now() + 3 * LOOP_RIG_MS / 2;
	assert_int_equal(pv_loop_wait(loop, deadline), -ETIMEDOUT);
	assert_true(pv_clock_now() >= deadline);
	assert_int_equal(pv_loop_wait(loop, 0), -ETIMEDOUT);
	take_down(&bell);
	pv_loop_unlock(loop);
	pv_loop_destroy(loop);
}

static void while_the_waiter_is_away_the_loop_thread_is_there(void **state)
{
	struct pv_loop *loop = loop_rig_start();
	struct bell bell;
	pv_loop_adopt_waiter(loop);
	pv_loop_lock(loop);
	hang(&bell, loop, EPOLLIN | EPOLLET);
	/* The timer is due, the waiter does not wait. */
	pv_loop_timer_set(loop, &bell.timer, pv_clock_now(), ring_from_timer, &bell);
	int64_t deadline = pv_clock_deadline(LOOP_RIG_LONG_ENOUGH);
	while (bell.heard == 0 && pv_clock_now() < deadline) {
		pv_loop_unlock(loop);
		sched_yield();
		pv_loop_lock(loop);
	}
	assert_int_equal(bell.heard, 1);
	assert_false(pthread_equal(bell.thread, pthread_self()));
	take_down(&bell);
	pv_loop_unlock(loop);
	pv_loop_destroy(loop);
}

/* Two threads that wait for each other, of which one runs callbacks, and nothing else happens. */
struct game {
	struct pv_loop *loop;
	int ball;
};

enum { STROKES = 2000 };

static void *play(void *ctx)
{
	struct game *game = ctx;
	pv_loop_lock(game->loop);
	while (game->ball < STROKES) {
		if (game->ball % 2 == 1) {
			game->ball++;
			pv_loop_wake(game->loop);
		} else {
			pv_loop_wait(game->loop, PV_CLOCK_NEVER);
		}
	}
	pv_loop_unlock(game->loop);
	return NULL;
}

static void a_wake_reaches_the_waiter_among_sleepers(void **state)
{
	struct game game = {.loop = loop_rig_start()};
	pthread_t thread;
	pv_loop_adopt_waiter(game.loop);
	pthread_create(&thread, NULL, play, &game);
	pv_loop_lock(game.loop);
	pv_loop_start_helper(game.loop);
	int64_t deadline = pv_clock_deadline(LOOP_RIG_LONG_ENOUGH);
	while (game.ball < STROKES) {
		if (game.ball % 2 == 0) {
			game.ball++;
			pv_loop_wake(game.loop);
		} else if (pv_loop_wait(game.loop, deadline) < 0) {
			fail_msg("not woken at stroke %d", game.ball);
		}
	}
	pv_loop_unlock(game.loop);
	pthread_join(thread, NULL);
	pv_loop_destroy(game.loop);
}

static void *quit_and_ring(void *ctx)
{
	struct bell *bell = ctx;
	pv_loop_stop(bell->loop);
	/* The loop thread has ended, the waiter sleeps on. */
	loop_rig_ring(bell->fd);
	return NULL;
}

static void the_loop_thread_ends_while_a_waiter_sleeps(void **state)
{
	for (int i = 0; i < 50; i++) {
		struct pv_loop *loop = loop_rig_start();
		struct bell bell;
		pthread_t thread;
		pv_loop_adopt_waiter(loop);
		pv_loop_lock(loop);
		hang(&bell, loop, EPOLLIN | EPOLLET);
		pthread_create(&thread, NULL, quit_and_ring, &bell);
		loop_rig_wait(loop, &bell.heard, 1);
		pv_loop_unlock(loop);
		pthread_join(thread, NULL);
		pv_loop_lock(loop);
		take_down(&bell);
		pv_loop_unlock(loop);
		pv_loop_destroy(loop);
	}
}

/* --- a helper --- */

struct job {
	struct pv_loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool may_end;
	int begun;
	int done;
};

static void work(void *ctx)
{
	struct job *job = ctx;
	pv_loop_lock(job->loop);
	job->begun++;
	pv_loop_wake(job->loop);
	pv_loop_unlock(job->loop);
	pthread_mutex_lock(&job->lock);
	while (!job->may_end)
		pthread_cond_wait(&job->changed, &job->lock);
	pthread_mutex_unlock(&job->lock);
	pv_loop_lock(job->loop);
	job->done++;
	pv_loop_wake(job->loop);
	pv_loop_unlock(job->loop);
}

static void let_end(struct job *job)
{
	pthread_mutex_lock(&job->lock);
	job->may_end = true;
	pthread_cond_signal(&job->changed);
	pthread_mutex_unlock(&job->lock);
}

static void a_job_that_blocks_holds_up_no_callback(void **state)
{
	struct job job = {.loop = loop_rig_start(),
	    .lock = PTHREAD_MUTEX_INITIALIZER,
	    .changed = PTHREAD_COND_INITIALIZER};
	struct bell bell;
	pv_loop_lock(job.loop);
	hang(&bell, job.loop, EPOLLIN | EPOLLET);
	assert_false(pv_loop_hand_over(job.loop, work, &job));
	assert_int_equal(pv_loop_start_helper(job.loop), 0);
	assert_int_equal(pv_loop_start_helper(job.loop), 0);
	assert_true(pv_loop_hand_over(job.loop, work, &job));
	assert_false(pv_loop_hand_over(job.loop, work, &job));
	loop_rig_wait(job.loop, &job.begun, 1);
	for (int i = 1; i <= 100; i++) {
		pv_loop_unlock(job.loop);
		loop_rig_ring(bell.fd);
		pv_loop_lock(job.loop);
		loop_rig_wait(job.loop, &bell.heard, i);
	}
	assert_false(pv_loop_hand_over(job.loop, work, &job));
	assert_int_equal(job.done, 0);
	pv_loop_unlock(job.loop);
	let_end(&job);
	pv_loop_lock(job.loop);
	loop_rig_wait(job.loop, &job.done, 1);
	/* It may still be on its way back from there. */
	while (!pv_loop_hand_over(job.loop, work, &job)) {
		pv_loop_unlock(job.loop);
		sched_yield();
		pv_loop_lock(job.loop);
	}
	loop_rig_wait(job.loop, &job.done, 2);
	take_down(&bell);
	pv_loop_unlock(job.loop);
	pv_loop_destroy(job.loop);
}

struct errand {
	struct bell bell;
	pthread_t did;
	int done;
};

static void run_errand(void *ctx)
{
	struct errand *errand = ctx;
	pv_loop_lock(errand->bell.loop);
	errand->did = pthread_self();
	errand->done++;
	pv_loop_wake(errand->bell.loop);
	pv_loop_unlock(errand->bell.loop);
}

static void hear_and_send(void *ctx, uint32_t events)
{
	struct errand *errand = ctx;
	hear(&errand->bell, events);
	assert_true(pv_loop_hand_over(errand->bell.loop, run_errand, errand));
}

static void the_helper_does_what_its_own_callback_hands_over(void **state)
{
	/* Nobody else runs callbacks. */
	struct errand errand = {.bell = {.loop = loop_rig_new()}};
	struct pv_loop *loop = errand.bell.loop;
	struct pv_err err = PV_ERR_INIT;
	errand.bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pv_loop_lock(loop);
	assert_int_equal(pv_loop_start_helper(loop), 0);
	assert_int_equal(pv_loop_watch_add(loop, &errand.bell.watch, errand.bell.fd,
			     EPOLLIN | EPOLLET, hear_and_send, &errand, &err),
	    0);
	for (int i = 1; i <= 100; i++) {
		loop_rig_ring(errand.bell.fd);
		loop_rig_wait(loop, &errand.done, i);
		assert_true(pthread_equal(errand.did, errand.bell.thread));
		/* It has done it, and is about to say so to the loop. */
		pv_loop_unlock(loop);
		sched_yield();
		pv_loop_lock(loop);
	}
	take_down(&errand.bell);
	pv_loop_unlock(loop);
	pv_loop_destroy(loop);
}

/* --- events --- */

static void events_that_another_thread_has_served_are_dropped(void **state)
{
	enum { BELLS = 8, ROUNDS = 500 };
	struct pv_loop *loop = loop_rig_start();
	struct bell bells[BELLS];
	pv_loop_adopt_waiter(loop);
	pv_loop_lock(loop);
	pv_loop_start_helper(loop);
	/* Level-triggered: the kernel offers each to several threads. */
	for (int i = 0; i < BELLS; i++)
		hang(&bells[i], loop, EPOLLIN);
	for (int round = 1; round <= ROUNDS; round++) {
		pv_loop_unlock(loop);
		for (int i = 0; i < BELLS; i++)
			loop_rig_ring(bells[i].fd);
		pv_loop_lock(loop);
		for (int i = 0; i < BELLS; i++)
			loop_rig_wait(loop, &bells[i].heard, round);
	}
	for (int i = 0; i < BELLS; i++) {
		assert_int_equal(bells[i].heard, ROUNDS);
		assert_int_equal(bells[i].in_vain, 0);
		take_down(&bells[i]);
	}
	pv_loop_unlock(loop);
	pv_loop_destroy(loop);
}

static void hear_and_quit(void *ctx, uint32_t events)
{
	struct bell *bell = ctx;
	hear(bell, events);
	pv_loop_quit(bell->loop);
}

static void events_of_a_run_that_ends_come_in_the_next(void **state)
{
	struct pv_loop *loop = loop_rig_new();
	struct pv_err err = PV_ERR_INIT;
	struct bell bells[3];
	pv_loop_lock(loop);
	for (int i = 0; i < 3; i++) {
		hang(&bells[i], loop, EPOLLIN | EPOLLET);
		pv_loop_watch_remove(&bells[i].watch);
		pv_loop_watch_add(loop, &bells[i].watch, bells[i].fd, EPOLLIN | EPOLLET,
		    hear_and_quit, &bells[i], &err);
		loop_rig_ring(bells[i].fd);
	}
	pv_loop_unlock(loop);
	for (int run = 1; run <= 3; run++) {
		pv_loop_run(loop);
		assert_int_equal(bells[0].heard + bells[1].heard + bells[2].heard, run);
	}
	pv_loop_lock(loop);
	for (int i = 0; i < 3; i++)
		take_down(&bells[i]);
	pv_loop_unlock(loop);
	pv_loop_destroy(loop);
}

/* Threads that add, hand over and remove while three run callbacks: for the thread sanitizer. */
struct churn {
	struct pv_loop *loop;
	int fired;
	int jobs;
};

static void count(void *ctx)
{
	struct churn *churn = ctx;
	churn->fired++;
	pv_loop_wake(churn->loop);
}

static void count_job(void *ctx)
{
	struct churn *churn = ctx;
	pv_loop_lock(churn->loop);
	churn->jobs++;
	pv_loop_unlock(churn->loop);
}

static void count_event(void *ctx, uint32_t events)
{
	struct churn *churn = ctx;
	count(ctx);
	pv_loop_hand_over(churn->loop, count_job, churn);
}

static void *churn_about(void *ctx)
{
	struct churn *churn = ctx;
	struct pv_err err = PV_ERR_INIT;
	for (int i = 0; i < 300; i++) {
		struct pv_loop_watch *watch = calloc(1, sizeof(*watch));
		struct pv_loop_timer *timer = calloc(1, sizeof(*timer));
		int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		uint32_t how = i % 2 ? EPOLLIN : EPOLLIN | EPOLLET;
		pv_loop_lock(churn->loop);
		pv_loop_watch_add(churn->loop, watch, fd, how, count_event, churn, &err);
		pv_loop_timer_set(churn->loop, timer, pv_clock_now() + i * 1000, count, churn);
		pv_loop_wait(churn->loop, pv_clock_now() + 100000);
		pv_loop_timer_clear(timer);
		pv_loop_watch_remove(watch);
		pv_loop_unlock(churn->loop);
		pv_fd_close(&fd);
		free(watch);
		free(timer);
	}
	return NULL;
}

static void waiter_helper_and_others_may_churn(void **state)
{
	struct churn churn = {.loop = loop_rig_start()};
	pthread_t threads[2];
	pv_loop_adopt_waiter(churn.loop);
	pv_loop_lock(churn.loop);
	pv_loop_start_helper(churn.loop);
	pv_loop_unlock(churn.loop);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, churn_about, &churn);
	churn_about(&churn);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	/* On a busy machine all may have come too late. */
	struct pv_loop_timer last = {0};
	pv_loop_lock(churn.loop);
	int before = churn.fired;
	pv_loop_timer_set(churn.loop, &last, 0, count, &churn);
	loop_rig_wait(churn.loop, &churn.fired, before + 1);
	pv_loop_unlock(churn.loop);
	pv_loop_destroy(churn.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_waiter_runs_callbacks_itself),
	    cmocka_unit_test(while_the_waiter_is_away_the_loop_thread_is_there),
	    cmocka_unit_test(a_wake_reaches_the_waiter_among_sleepers),
	    cmocka_unit_test(the_loop_thread_ends_while_a_waiter_sleeps),
	    cmocka_unit_test(a_job_that_blocks_holds_up_no_callback),
	    cmocka_unit_test(the_helper_does_what_its_own_callback_hands_over),
	    cmocka_unit_test(events_that_another_thread_has_served_are_dropped),
	    cmocka_unit_test(events_of_a_run_that_ends_come_in_the_next),
	    cmocka_unit_test(waiter_helper_and_others_may_churn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
