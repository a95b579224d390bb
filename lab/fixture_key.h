/*
 * Where fixtures stand, and the key of one: a hash of all that its result depends on, so that a
 * cached result with the same key is the same result. No code is run for it.
 */
#ifndef PV_LAB_FIXTURE_KEY_H
#define PV_LAB_FIXTURE_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/hash.h"

struct pv_config;
struct pv_err;

/* The end of the names of fixture files. */
#define PV_FIXTURE_SUFFIX ".fixture.lua"

/* Longest source that is read. */
#define PV_FIXTURE_SOURCE_MAX (16u << 20)

/* Where fixtures are looked for, and what is the same for all of them. Constant once made. */
struct pv_fixture_place {
	const struct pv_config *config;
	char **roots; /* the first one wins */
	size_t root_count;
	char agent[PV_HASH_TEXT]; /* of the guest agent in this program */
};

/*
 * The roots are those of the configuration, then the folders among `paths` (a file stands for its
 * folder), then the current directory when that makes none. `config` must outlive the place.
 * Returns 0 or -ENOMEM; the caller finishes the place in both cases.
 */
int pv_fixture_place_init(struct pv_fixture_place *place, const struct pv_config *config,
    char *const *paths, size_t path_count, struct pv_err *err);
void pv_fixture_place_finish(struct pv_fixture_place *place);

/*
 * The source file of a fixture: `<root>/NAME.fixture.lua`, or of the older kind
 * `<root>/fixtures/NAME.lua` and `tests/fixtures/NAME.lua`. Names are relative and do not lead
 * upwards. Returns 0 and the path, which the caller frees, or -ENOENT or -EINVAL with a sentence.
 */
int pv_fixture_find(const struct pv_fixture_place *place, const char *name, bool legacy,
    char **path, struct pv_err *err);

/*
 * The key of the fixture whose source is at `path`. It covers this program (its version, its
 * agent), each profile with its kernel, its initrd and its command line, the source, and all that
 * the sources refer to literally (lab/fixture_scan.h), from file to file. Returns 0 or -errno.
 */
int pv_fixture_key(const struct pv_fixture_place *place, const char *path, char key[PV_HASH_TEXT],
    struct pv_err *err);

#endif
