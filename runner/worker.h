/*
 * A worker: the process that runs one test file and reports by event frames.
 */
#ifndef PV_RUNNER_WORKER_H
#define PV_RUNNER_WORKER_H

#include <sys/types.h>

struct pv_fixture_place;
struct pv_runner_options;
struct pv_test_file;

/*
 * Runs `file` in this process, which was just forked from `parent` and has one thread; frames go to
 * `fd`. Configuration and fixtures are those of `place`. Returns the exit status: 0 when the report
 * is complete, whatever the tests did.
 */
int pv_worker_main(const struct pv_test_file *file, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, int fd, pid_t parent);

#endif
