/*
 * Processes of a run. Theory: a child is over when its socket has ended and it was reaped, in this
 * order, so nothing that it said is missed. It dies with us (runner/isolate.h), and whatever it
 * does otherwise, its socket ends when it does: children close the ends of all others, and programs
 * that they start inherit none.
 */
#include "runner/child.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "runner/passing.h"

static void unlink_child(struct pv_child *child)
{
	struct pv_child **at = &child->children->first;
	while (*at && *at != child)
		at = &(*at)->next;
	if (*at)
		*at = child->next;
}

static void finish(struct pv_child *child)
{
	int wait_status = 0;
	const struct pv_child_ops *ops = child->ops;
	void *ctx = child->ctx;
	pv_loop_watch_remove(&child->watch);
	pv_loop_timer_clear(&child->limit);
	while (waitpid(child->pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	unlink_child(child);
	pv_frame_reader_finish(&child->frames);
	pv_fd_close(&child->fd);
	pv_fd_close(&child->received);
	*child = (struct pv_child){.fd = -1, .received = -1};
	ops->ended(ctx, wait_status);
}

static void on_socket(void *ctx, uint32_t events)
{
	struct pv_child *child = ctx;
	if (pv_passing_receive_events(
		child->fd, &child->frames, &child->received, child->ops->frame, child->ctx))
		return;
	/* Whatever it still does, nobody can hear it. One that has ended is not hurt by that. */
	kill(child->pid, SIGKILL);
	finish(child);
}

static void on_limit(void *ctx)
{
	struct pv_child *child = ctx;
	pv_child_kill(child);
	if (child->ops->late)
		child->ops->late(child->ctx);
}

/* In the new process. */
static void forget_others(struct pv_children *children)
{
	/* Ends of other children's sockets must not live on here, or their end would not be
	 * seen. */
	for (struct pv_child *other = children->first; other; other = other->next) {
		pv_fd_close(&other->fd);
		pv_fd_close(&other->received);
	}
	pv_fd_close(&children->signal_fd);
	sigprocmask(SIG_SETMASK, &children->old_mask, NULL);
}

int pv_child_start(struct pv_children *children, struct pv_child *child,
    const struct pv_child_ops *ops, void *ctx, int (*main)(void *arg, int fd, pid_t parent),
    void *arg, struct pv_err *err)
{
	int pair[2];
	*child = (struct pv_child){.fd = -1, .received = -1};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return pv_err_system(err, errno, "cannot make a socket pair for a worker");
	const pid_t self = getpid();
	fflush(NULL);
	const pid_t pid = fork();
	if (pid < 0) {
		const int code = errno;
		close(pair[0]);
		close(pair[1]);
		return pv_err_system(err, code, "cannot start a worker process");
	}
	if (pid == 0) {
		close(pair[0]);
		forget_others(children);
		_exit(main(arg, pair[1], self));
	}
	close(pair[1]);
	*child = (struct pv_child){.children = children,
	    .next = children->first,
	    .pid = pid,
	    .fd = pair[0],
	    .received = -1,
	    .ops = ops,
	    .ctx = ctx};
	children->first = child;
	const int status = pv_loop_watch_add(
	    children->loop, &child->watch, child->fd, EPOLLIN, on_socket, child, err);
	if (status) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		unlink_child(child);
		pv_fd_close(&child->fd);
		*child = (struct pv_child){.fd = -1, .received = -1};
	}
	return status;
}

void pv_child_kill(struct pv_child *child)
{
	if (child->pid > 0)
		kill(child->pid, SIGKILL);
}

void pv_child_limit(struct pv_child *child, int64_t span_ns)
{
	/* Without memory for a timer the child's own limit must do. */
	if (child->pid > 0)
		(void)pv_loop_timer_set(child->children->loop, &child->limit,
		    pv_clock_deadline(span_ns), on_limit, child);
}

void pv_child_send(struct pv_child *child, const void *frame, size_t len, int fd)
{
	if (child->pid > 0 && pv_passing_send(child->fd, frame, len, fd, MSG_DONTWAIT))
		pv_child_kill(child);
}

const char *pv_child_signal_hint(int number)
{
	switch (number) {
	case SIGBUS:
		return "; a file that holds guests' memory was cut short, or its disk cannot be "
		       "read: leave snapshots alone while guests run on them";
	case SIGKILL:
		return "; when nobody killed it, the kernel was out of memory: run fewer guests at "
		       "a time, or smaller ones";
	default: return "";
	}
}

int pv_child_take_fd(struct pv_child *child)
{
	const int fd = child->received;
	child->received = -1;
	return fd;
}
