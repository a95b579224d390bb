/*
 * Finding test files: every *.test.lua under the given paths, sorted; symbolic links are not
 * followed.
 */
#ifndef PV_RUNNER_DISCOVER_H
#define PV_RUNNER_DISCOVER_H

#include <stddef.h>

struct pv_config;
struct pv_err;

struct pv_test_file {
	char *path;	      /* as opened, from the current directory */
	const char *relative; /* to the path that was given; points into `path` */
};

struct pv_discovery {
	struct pv_test_file *files; /* sorted by path, each once */
	size_t count;
};

/*
 * Walks `paths` (files or folders; none: the configuration's roots, or the current directory) and
 * keeps files whose relative path contains `filter` (NULL: all). A path that does not exist is an
 * error. Returns 0 or -errno; the caller finishes the discovery.
 */
int pv_discovery_walk(struct pv_discovery *discovery, char *const *paths, size_t path_count,
    const struct pv_config *config, const char *filter, struct pv_err *err);
void pv_discovery_finish(struct pv_discovery *discovery);

#endif
