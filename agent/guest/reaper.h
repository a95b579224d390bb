/*
 * Ended children: the agent's own are reported, orphans that a PID 1 inherits are just taken away.
 * Under the loop lock.
 */
#ifndef PV_AGENT_GUEST_REAPER_H
#define PV_AGENT_GUEST_REAPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/loop.h"

struct pv_reaper_child {
	struct pv_reaper_child *next;
	pid_t pid;
	/* Once, with waitpid's status; the child is no longer watched then. */
	void (*exited)(struct pv_reaper_child *child, int status);
};

struct pv_reaper {
	int fd;
	struct pv_loop_watch watch;
	struct pv_reaper_child *first;
	void (*signalled)(void *ctx, int signal); /* signals other than SIGCHLD, or NULL */
	void *ctx;
};

/*
 * Takes SIGCHLD from the loop; blocks it and SIGPIPE in this thread, and so in those made later.
 * With `signalled` also the signals by which others speak to a PID 1. Returns 0 or -errno.
 */
int pv_reaper_init(struct pv_reaper *reaper, struct pv_loop *loop,
    void (*signalled)(void *ctx, int signal), void *ctx, struct pv_err *err);

/* Watches a child that was made on the loop thread in the same callback, so that its end cannot
 * have been seen yet. */
void pv_reaper_add(struct pv_reaper *reaper, struct pv_reaper_child *child);

/* Forgets a child; its end is then not reported. */
void pv_reaper_remove(struct pv_reaper *reaper, struct pv_reaper_child *child);

#endif
