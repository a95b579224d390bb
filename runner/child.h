/*
 * Processes of a run: workers and builders, each with a socket that carries event frames both ways.
 * They live on the dispatcher's loop, whose thread calls everything here, under its lock.
 */
#ifndef PV_RUNNER_CHILD_H
#define PV_RUNNER_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/frame.h"
#include "base/loop.h"

struct pv_child;
struct pv_err;
struct pv_event;

/* All that live now. */
struct pv_children {
	struct pv_loop *loop;
	struct pv_child *first;
	/* What a new process must not keep. */
	int signal_fd;
	sigset_t old_mask;
};

struct pv_child_ops {
	void (*frame)(void *ctx, const struct pv_event *event);
	/* It has said all, and was reaped; the memory of the child is its owner's again. */
	void (*ended)(void *ctx, int wait_status);
	/* The time of pv_child_limit is over; it was killed. May be NULL. */
	void (*late)(void *ctx);
};

/* In its owner's memory; zeroed = none runs. */
struct pv_child {
	struct pv_children *children;
	struct pv_child *next;
	pid_t pid;
	int fd;
	struct pv_loop_watch watch;
	struct pv_loop_timer limit;
	struct pv_frame_reader frames;
	int received; /* a descriptor that came with a frame, or -1 */
	const struct pv_child_ops *ops;
	void *ctx;
};

/*
 * Forks. The new process runs `main(arg, fd, parent)` and exits with what that returns; `fd` is its
 * end of the socket. Returns 0 or -errno, and then `ended` is not called.
 */
int pv_child_start(struct pv_children *children, struct pv_child *child,
    const struct pv_child_ops *ops, void *ctx, int (*main)(void *arg, int fd, pid_t parent),
    void *arg, struct pv_err *err);

/* Ends it soon, by SIGKILL; `ended` follows. Harmless when none runs. */
void pv_child_kill(struct pv_child *child);

/* Kills it when `span_ns` have passed. */
void pv_child_limit(struct pv_child *child, int64_t span_ns);

/*
 * Sends a whole frame, with a copy of descriptor `fd` unless that is -1. Never blocks: a child that
 * does not read what was sent before is killed, so keep it short (64 KiB).
 */
void pv_child_send(struct pv_child *child, const void *frame, size_t len, int fd);

/* What a death by that signal most likely means, to stand behind its name: "; ..." or "". */
const char *pv_child_signal_hint(int number);

/* Takes the descriptor that came last, or -1. The caller closes it. */
int pv_child_take_fd(struct pv_child *child);

#endif
