/*
 * The dispatcher: starts a worker process per test file, in discovery order, as many side by side
 * as the host has processors, and collects what they report. It never runs a test itself.
 */
#ifndef PV_RUNNER_DISPATCHER_H
#define PV_RUNNER_DISPATCHER_H

#include <stdbool.h>

struct pv_build_end;
struct pv_discovery;
struct pv_err;
struct pv_fixture_place;
struct pv_fixture_request;
struct pv_report;
struct pv_runner_options;

/*
 * Runs all files and feeds the report. Returns 0 when every file was dealt with, -EINTR when a
 * signal ended the run early (the files that were running are reported as such), or another -errno
 * when provium itself could not work.
 */
int pv_dispatcher_run(const struct pv_discovery *discovery, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, struct pv_report *report, struct pv_err *err);

/*
 * Builds one fixture, and those that it needs, and nothing else; with `again` also when it is in
 * the cache. `told` hears how that ended (runner/fixture_builds.h), unless this fails. Returns as
 * pv_dispatcher_run.
 */
int pv_dispatcher_build(const struct pv_fixture_request *request, bool again,
    const struct pv_fixture_place *place, const struct pv_runner_options *options,
    void (*told)(void *ctx, const struct pv_build_end *end), void *ctx, struct pv_err *err);

#endif
