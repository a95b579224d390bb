/*
 * Why a thread: who splices into a pipe (sendfile(2), splice(2); `cat` of busybox does nothing
 * else) holds the pipe's lock while it waits for its source, and read(2), FIONREAD and the like
 * wait for that lock, uninterruptibly, whatever O_NONBLOCK says. A program that shows a trace as it
 * comes would hang the agent. poll(2) looks without the lock, so the loop may do that.
 *
 * The pipe is watched edge-triggered. What comes is read by the loop's helper, which more often
 * than not is the thread that heard of it, or by a thread of a pool that knows no identity. While
 * one reads, news are noted in `again`. An owner that goes away leaves the rest to the reading
 * thread.
 */
#include "agent/guest/outlet.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/guest/call.h"
#include "base/err.h"
#include "base/fd.h"

#define PIECE (64u << 10)

static void free_outlet(struct pv_outlet *outlet)
{
	pv_fd_close(&outlet->fd);
	free(outlet);
}

static void end(struct pv_outlet *outlet)
{
	pv_loop_watch_remove(&outlet->watch);
	pv_fd_close(&outlet->fd);
	outlet->ops->ended(outlet->ctx);
}

/* POLLIN, POLLHUP, or 0. */
static short look(const struct pv_outlet *outlet)
{
	struct pollfd wait = {.fd = outlet->fd, .events = POLLIN};
	return poll(&wait, 1, 0) > 0 ? wait.revents : 0;
}

static ssize_t read_piece(const struct pv_outlet *outlet, void *piece, size_t len)
{
	ssize_t got;
	/* Where there is nothing, not even the thread should wait for the lock. */
	if (!look(outlet))
		return -EAGAIN;
	do {
		got = read(outlet->fd, piece, len < PIECE ? len : PIECE);
	} while (got < 0 && errno == EINTR);
	/* Nothing else goes wrong with a pipe, and then there is no more. */
	return got < 0 ? (errno == EAGAIN ? -EAGAIN : 0) : got;
}

/* What is still to be read: all, or with a drain what was there when it began. */
struct limit {
	bool known;
	size_t left;
};

static void find_limit(const struct pv_outlet *outlet, struct limit *limit)
{
	int left = 0;
	if (ioctl(outlet->fd, FIONREAD, &left) < 0)
		left = 0;
	limit->known = true;
	limit->left = (size_t)left;
}

/* [locked] Hands on what was read. False: this thread is done with the outlet. */
static bool deliver(
    struct pv_outlet *outlet, const void *piece, ssize_t got, const struct limit *limit)
{
	int status = got > 0 ? outlet->ops->take(outlet->ctx, piece, (size_t)got) : 0;
	if (!outlet->ops)
		return false;
	const bool over = got == 0 || status < 0 || (limit->known && limit->left == 0);
	if (over || (got < 0 && outlet->draining && !outlet->again)) {
		end(outlet);
		return false;
	}
	if (got < 0 && !outlet->again)
		return false;
	outlet->again = false;
	outlet->paused =
	    !outlet->draining && outlet->ops->has_room && !outlet->ops->has_room(outlet->ctx);
	return !outlet->paused;
}

/* Without the loop lock, which only guards what others may change. */
static void read_on(struct pv_outlet *outlet)
{
	struct pv_loop *loop = outlet->calls->loop;
	struct limit limit = {.left = SIZE_MAX};
	bool draining, more;
	/* Stacks are small, and what takes the bytes has a piece of its own there. */
	void *piece = malloc(PIECE);
	pv_loop_lock(loop);
	if (!piece && outlet->ops)
		end(outlet);
	more = piece && outlet->ops;
	while (more) {
		draining = outlet->draining;
		pv_loop_unlock(loop);
		if (draining && !limit.known)
			find_limit(outlet, &limit);
		ssize_t got = limit.left > 0 ? read_piece(outlet, piece, limit.left) : -EAGAIN;
		if (limit.known && got > 0)
			limit.left -= (size_t)got;
		pv_loop_lock(loop);
		more = outlet->ops && deliver(outlet, piece, got, &limit);
	}
	outlet->reading = false;
	if (!outlet->ops)
		free_outlet(outlet);
	pv_loop_unlock(loop);
	free(piece);
}

static void run(struct pv_pool_job *job)
{
	read_on((struct pv_outlet *)((char *)job - offsetof(struct pv_outlet, job)));
}

static void run_here(void *ctx)
{
	read_on(ctx);
}

/* Finds a thread that reads. */
static void start(struct pv_outlet *outlet)
{
	struct pv_loop *loop = outlet->calls->loop;
	outlet->reading = true;
	outlet->again = outlet->paused = false;
	outlet->job.run = run;
	pv_loop_start_helper(loop);
	if (pv_loop_hand_over(loop, run_here, outlet) ||
	    pv_pool_run_soon(&outlet->calls->outlets, &outlet->job, loop) == 0)
		return;
	/* No thread is to be had. The next event, or the drain, tries again. */
	outlet->reading = false;
	outlet->paused = true;
}

static void stirs(void *ctx, uint32_t events)
{
	struct pv_outlet *outlet = ctx;
	(void)events;
	if (outlet->reading)
		outlet->again = true;
	else if (!outlet->ops->has_room || outlet->ops->has_room(outlet->ctx))
		start(outlet);
	else
		outlet->paused = true;
}

struct pv_outlet *pv_outlet_open(
    struct pv_calls *calls, int fd, const struct pv_outlet_ops *ops, void *ctx)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_outlet *outlet = calloc(1, sizeof(*outlet));
	if (!outlet) {
		close(fd);
		return NULL;
	}
	*outlet = (struct pv_outlet){.calls = calls, .ops = ops, .ctx = ctx, .fd = fd};
	if (pv_loop_watch_add(
		calls->loop, &outlet->watch, fd, EPOLLIN | EPOLLET, stirs, outlet, &err) == 0)
		return outlet;
	free_outlet(outlet);
	return NULL;
}

void pv_outlet_go_on(struct pv_outlet *outlet)
{
	if (outlet->paused && outlet->fd >= 0)
		start(outlet);
}

bool pv_outlet_drain(struct pv_outlet *outlet)
{
	if (outlet->fd < 0)
		return true;
	if (outlet->reading) {
		outlet->draining = outlet->again = true;
		return false;
	}
	if (look(outlet) & POLLIN) {
		outlet->draining = true;
		start(outlet);
		return false;
	}
	pv_loop_watch_remove(&outlet->watch);
	pv_fd_close(&outlet->fd);
	return true;
}

void pv_outlet_close(struct pv_outlet *outlet)
{
	if (!outlet)
		return;
	pv_loop_watch_remove(&outlet->watch);
	outlet->ops = NULL;
	if (!outlet->reading)
		free_outlet(outlet);
}
