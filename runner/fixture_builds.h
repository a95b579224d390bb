/*
 * The fixtures that are built in a run: who wants which, one builder process for each, and what
 * came of it. On the dispatcher's loop, under its lock.
 */
#ifndef PV_RUNNER_FIXTURE_BUILDS_H
#define PV_RUNNER_FIXTURE_BUILDS_H

#include <stdbool.h>
#include <stdint.h>

struct pv_builds;
struct pv_child;
struct pv_children;
struct pv_err;
struct pv_event;
struct pv_fixture_place;
struct pv_fixture_request;
struct pv_runner_options;

/* How an order ended: what the command line shows. */
struct pv_build_end {
	bool cached;	      /* it was there already */
	uint64_t bytes;	      /* stored */
	uint64_t duration_ns; /* of the build */
	const char *failure;  /* or NULL: it is there */
};

/*
 * `idle` is called each time when the last builder has ended. What is passed must outlive the
 * builds. Returns 0 or -ENOMEM.
 */
int pv_builds_create(struct pv_builds **out, struct pv_children *children,
    const struct pv_fixture_place *place, const struct pv_runner_options *options,
    void (*idle)(void *ctx), void *ctx, struct pv_err *err);
/* No builder may run. NULL is fine. */
void pv_builds_destroy(struct pv_builds *builds);

/*
 * A worker asks (its event `worker_fixture_wanted`); it is answered through its child, now or
 * later. `file` is for texts.
 */
void pv_builds_request(struct pv_builds *builds, struct pv_child *from, const char *file,
    const struct pv_event *event);

/* A worker is gone: nobody is there to be answered. A build that nobody waits for goes on. */
void pv_builds_forget(struct pv_builds *builds, const struct pv_child *child);

/* The command line wants one; with `again` what is in the cache is removed first. `told` is called
 * once, at the end. */
void pv_builds_order(struct pv_builds *builds, const struct pv_fixture_request *request, bool again,
    void (*told)(void *ctx, const struct pv_build_end *end), void *ctx);

/* Builders that run. */
unsigned pv_builds_running(const struct pv_builds *builds);

/* Ends all builders soon. */
void pv_builds_kill(struct pv_builds *builds);

#endif
