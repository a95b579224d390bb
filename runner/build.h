/*
 * The `build` commands of profiles: they make the kernels and initrds that guests boot from.
 */
#ifndef PV_RUNNER_BUILD_H
#define PV_RUNNER_BUILD_H

struct pv_config;
struct pv_err;

/*
 * Runs the command of every profile that has one, in the order of names, or that of the profile
 * `only` when that is not NULL; what they print goes to stderr. The first one that fails ends it.
 * Returns 0, or -errno with a sentence that names the profile and how its command ended. Before
 * there are threads.
 */
int pv_build_run(const struct pv_config *config, const char *only, struct pv_err *err);

#endif
