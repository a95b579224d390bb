/*
 * The walls of a worker process: it dies with its dispatcher and has a network of its own.
 */
#ifndef PV_RUNNER_ISOLATE_H
#define PV_RUNNER_ISOLATE_H

#include <sys/types.h>

struct pv_err;

/*
 * Called first in a new worker, while it has one thread. The process is killed when `parent` ends,
 * however that ends; then it gets its own network namespace with only `lo`, by a user namespace
 * when it is not privileged. Returns 0, or -errno when the host forbids namespaces (the worker is
 * usable then, without bridges).
 */
int pv_isolate_worker(pid_t parent, struct pv_err *err);

#endif
