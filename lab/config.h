/*
 * provium.toml: roots, cache settings and profiles. An absent default file is an empty
 * configuration; a file that was named must exist.
 */
#ifndef PV_LAB_CONFIG_H
#define PV_LAB_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lab/profile.h"

struct pv_err;

struct pv_config {
	char *path; /* of the file read, or NULL */
	char **roots;
	size_t root_count;
	char *cache_dir; /* fixture cache, expanded; never NULL after loading */
	uint64_t cache_max_size;
	struct pv_profile *profiles; /* sorted by name */
	size_t profile_count;
	/* Things that are odd but no error (unknown keys), one sentence each, for the runner to
	 * show. */
	char **warnings;
	size_t warning_count;
};

/*
 * Reads `path`; with `required` false a missing file gives the empty configuration. Errors are
 * spelled "read `P`: ...", "parse `P`: line L, column C: ...", "invalid config in `P`: ...".
 * Returns 0 or -errno; the caller finishes the config.
 */
int pv_config_load(struct pv_config *config, const char *path, bool required, struct pv_err *err);

/* The same from memory; `dir` is where relative paths start, `name` stands for the path in errors.
 * For tests and fuzzing. */
int pv_config_parse(struct pv_config *config, const char *text, size_t len, const char *dir,
    const char *name, struct pv_err *err);

void pv_config_finish(struct pv_config *config);

/* The profile of that name, or NULL. */
const struct pv_profile *pv_config_profile(const struct pv_config *config, const char *name);

#endif
