/*
 * The inside of the fixture cache, shared by fixture_cache.c and fixture_trim.c.
 */
#ifndef PV_LAB_FIXTURE_CACHE_PRIVATE_H
#define PV_LAB_FIXTURE_CACHE_PRIVATE_H

#include <stdbool.h>

#include "base/hash.h"

struct pv_err;

/* Characters of a key, at the begin of each name in the folder. */
#define PV_FIXTURE_KEY_LEN (PV_HASH_TEXT - 1)

/* What a name in the folder is. */
enum pv_fixture_part {
	PV_FIXTURE_PART_VM,
	PV_FIXTURE_PART_LAB,
	PV_FIXTURE_PART_LOCK,
	PV_FIXTURE_PART_TEMPORARY, /* unfinished */
	PV_FIXTURE_PART_FOREIGN,   /* not of the cache */
};

/* True for a key with a dot behind it. */
bool pv_fixture_cache_begins_with_key(const char *name);

/* Calls `visit` with each name of the cache's. A missing folder has none. Returns 0, -errno, or
 * what `visit` returned. */
int pv_fixture_cache_walk(const char *dir,
    int (*visit)(void *ctx, const char *name, enum pv_fixture_part part), void *ctx,
    struct pv_err *err);

/* Removes what is unfinished of the key, and with `entries` what is finished too. Under the key's
 * lock. Returns 0 or -errno. */
int pv_fixture_cache_remove(const char *dir, const char *key, bool entries, struct pv_err *err);

#endif
