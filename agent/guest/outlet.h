/*
 * The end of a pipe into which a program writes: read by a thread that may wait, because read(2) of
 * a pipe is not always quick, O_NONBLOCK or not. Everything here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_OUTLET_H
#define PV_AGENT_GUEST_OUTLET_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/guest/pool.h"
#include "base/loop.h"

struct pv_calls;

/* What the owner is told; all of it may close outlets, this one too. */
struct pv_outlet_ops {
	/* False: read no more before pv_outlet_go_on. NULL: there is always room. */
	bool (*has_room)(void *ctx);
	/* Bytes came. Negative: they found no place, and the outlet ends. */
	int (*take)(void *ctx, const void *data, size_t len);
	/* Nothing more comes. */
	void (*ended)(void *ctx);
};

struct pv_outlet {
	struct pv_calls *calls;
	const struct pv_outlet_ops *ops; /* NULL: nobody owns it any more */
	void *ctx;
	int fd; /* -1 after its end */
	struct pv_loop_watch watch;
	struct pv_pool_job job;
	bool reading; /* a thread has it */
	bool again;   /* more came meanwhile */
	bool paused;  /* the owner had no room */
	bool draining;
};

/* Takes `fd`, which does not block, over and begins to read. NULL when out of memory; `fd` is
 * closed then. */
struct pv_outlet *pv_outlet_open(
    struct pv_calls *calls, int fd, const struct pv_outlet_ops *ops, void *ctx);

/* The owner has room again. */
void pv_outlet_go_on(struct pv_outlet *outlet);

/*
 * Reads what the pipe holds now, room or not, and no more: somebody else may write on for ever.
 * True when the outlet has ended by that; else `ended` says so later, or never, when somebody who
 * holds the pipe up goes on doing so. Once or more often.
 */
bool pv_outlet_drain(struct pv_outlet *outlet);

/* Ends it without a word and frees it. NULL is fine. */
void pv_outlet_close(struct pv_outlet *outlet);

#endif
