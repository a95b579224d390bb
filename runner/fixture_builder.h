/*
 * A builder: the process that builds one fixture.
 */
#ifndef PV_RUNNER_FIXTURE_BUILDER_H
#define PV_RUNNER_FIXTURE_BUILDER_H

#include <stdbool.h>
#include <sys/types.h>

struct pv_fixture_place;
struct pv_fixture_request;
struct pv_runner_options;

/*
 * Builds what is requested in this process, which was just forked from `parent` and has one thread;
 * with `again` also when it is in the cache. Frames go to `fd`; the last one says what came of it.
 * Returns the exit status: 0 when it was said.
 */
int pv_fixture_builder_main(const struct pv_fixture_request *request, bool again,
    const struct pv_fixture_place *place, const struct pv_runner_options *options, int fd,
    pid_t parent);

#endif
