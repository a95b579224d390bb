/* See loop_rig.h. */
#include "tests/unit/loop_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"

struct pv_loop *loop_rig_new(void)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_loop *loop = NULL;
	if (pv_loop_create(&loop, &err) < 0)
		fail_msg("%s", err.text);
	return loop;
}

struct pv_loop *loop_rig_start(void)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_loop *loop = loop_rig_new();
	if (pv_loop_start(loop, &err) < 0)
		fail_msg("%s", err.text);
	return loop;
}

int loop_rig_event(unsigned count)
{
	int fd = eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

void loop_rig_ring(int fd)
{
	uint64_t one = 1;
	assert_int_equal(pv_fd_write_all(fd, &one, sizeof(one)), 0);
}

void loop_rig_wait(struct pv_loop *loop, const int *value, int want)
{
	int64_t deadline = pv_clock_deadline(LOOP_RIG_LONG_ENOUGH);
	while (*value < want) {
		if (pv_loop_wait(loop, deadline) < 0)
			fail_msg("waited in vain: %d of %d", *value, want);
	}
}

void loop_rig_watch(struct pv_loop *loop, struct pv_loop_watch *at, int fd,
    void (*ready)(void *, uint32_t), void *ctx)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_loop_watch_add(loop, at, fd, EPOLLIN, ready, ctx, &err) < 0)
		fail_msg("%s", err.text);
}

void loop_rig_note(void *ctx)
{
	struct loop_rig_timer *timer = ctx;
	struct loop_rig_log *log = timer->log;
	log->entries[log->count++] = timer->mark;
	if (log->count == timer->quit_at)
		pv_loop_quit(log->loop);
	pv_loop_wake(log->loop);
}
