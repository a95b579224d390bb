/*
 * Fixtures as tests use them: a name becomes a guest that runs, or a lab of them, from the cache,
 * or built on the way. Who builds is not known here. Script thread only.
 */
#ifndef PV_LAB_FIXTURE_H
#define PV_LAB_FIXTURE_H

#include <stdbool.h>

#include "lab/fixture_cache.h"
#include "lab/fixture_key.h"

struct pv_bytes;
struct pv_err;
struct pv_lab;
struct pv_vm;

/* What somebody wants to have built. */
struct pv_fixture_request {
	const char *name;
	const char *path; /* of its source */
	const char *key;
	/* Of the older kind: it lives as long as the run and is never in the cache. Its key tells
	 * it from the others of the run. */
	bool legacy;
};

/* What a request came to when it was met. */
struct pv_fixture_answer {
	/* The saved guest, or the directory of the saved lab, when it could not be kept in the cache;
	 * the receiver closes it. -1: it is in the cache now. */
	int fd;
};

struct pv_fixtures {
	const struct pv_fixture_place *place; /* the cache is that of its configuration */
	/*
	 * Has a fixture built, and waits for that; ends early when the host is interrupted. Returns
	 * 0 and the answer, or -errno with a sentence in `err`, and in `why` the whole story, when
	 * it is longer.
	 */
	int (*build)(void *ctx, const struct pv_fixture_request *request,
	    struct pv_fixture_answer *answer, struct pv_bytes *why, struct pv_err *err);
	/* One was restored from the cache without a build. */
	void (*hit)(void *ctx, const char *name);
	void *ctx;
};

/*
 * Restores the fixture as a new VM of `lab` with the memory, CPUs and profile that were saved,
 * named `fixture:<name with / as _>`, and `#2` and up behind it when that is taken. Each call gives
 * another guest. Borrowed. Returns 0, or -errno as `build` above.
 */
int pv_fixture_vm(const struct pv_fixtures *fixtures, struct pv_lab *lab, const char *name,
    bool legacy, struct pv_vm **out, struct pv_bytes *why, struct pv_err *err);

/* The same for a fixture that is a whole lab: a new sub-lab of `lab`, named `<name>-<pid>`, and
 * `#2` and up behind it. Borrowed. */
int pv_fixture_lab(const struct pv_fixtures *fixtures, struct pv_lab *lab, const char *name,
    struct pv_lab **out, struct pv_bytes *why, struct pv_err *err);

#endif
