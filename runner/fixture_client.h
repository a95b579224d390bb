/*
 * The end of a worker at which fixtures are had: it asks the dispatcher for those that must be
 * built, and waits.
 */
#ifndef PV_RUNNER_FIXTURE_CLIENT_H
#define PV_RUNNER_FIXTURE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/loop.h"
#include "lab/fixture.h"

struct pv_err;
struct pv_worker_process;

struct pv_fixture_client {
	struct pv_worker_process *process;
	struct pv_fixtures fixtures; /* for the script thread */
	uint64_t request;	     /* number of the latest one; script thread */
	/* [loop lock] */
	struct pv_loop_watch watch;
	struct pv_frame_reader frames;
	int received; /* a descriptor that came, or -1 */
	uint64_t awaited;
	bool answered;
	bool gone; /* nobody will answer any more */
	bool held; /* the answer is the descriptor */
	char *failure;
};

/* `place` must outlive the client. Returns 0 or -errno; the caller finishes it after 0. */
int pv_fixture_client_init(struct pv_fixture_client *client, struct pv_worker_process *process,
    const struct pv_fixture_place *place, struct pv_err *err);
void pv_fixture_client_finish(struct pv_fixture_client *client);

#endif
