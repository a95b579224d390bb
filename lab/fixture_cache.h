/*
 * The fixture cache: a folder of saved guests, shared by all runs and processes of a user.
 * `<key>.snap` is a guest, `<key>.lab` a folder with a whole lab, `<key>.lock` says that somebody
 * builds it. An entry may store only what differs from another one, its base; then it is worth
 * nothing without it. Functions are called on any thread, in any number of processes at once.
 */
#ifndef PV_LAB_FIXTURE_CACHE_H
#define PV_LAB_FIXTURE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

struct pv_err;
struct pv_lab_snapshot;
struct pv_snapshot;

enum pv_fixture_kind {
	PV_FIXTURE_VM,
	PV_FIXTURE_LAB,
};

/* "vm", "lab". */
const char *pv_fixture_kind_name(enum pv_fixture_kind kind);

struct pv_fixture_entry {
	char key[PV_HASH_TEXT];
	enum pv_fixture_kind kind;
	char *path;
	uint64_t bytes;	 /* that it takes on the disk */
	int64_t used_ns; /* of the last restore, since 1970 */
};

/* Sorted by use, the one that was not used for the longest time first. */
struct pv_fixture_entries {
	struct pv_fixture_entry *items;
	size_t count;
	uint64_t bytes;
};

/* The path of an entry, whether it is there or not; NULL without memory. The caller frees it. */
char *pv_fixture_cache_path(const char *dir, const char *key, enum pv_fixture_kind kind);

/* True when there is an entry of that key and kind; whether it is sound shows when it is opened. */
bool pv_fixture_cache_has(const char *dir, const char *key, enum pv_fixture_kind kind);

/* What is there; a folder that is missing is empty. The caller finishes `entries` in both cases. */
int pv_fixture_cache_list(struct pv_fixture_entries *entries, const char *dir, struct pv_err *err);
void pv_fixture_entries_finish(struct pv_fixture_entries *entries);

/* Makes the folder when it is missing. Returns 0 or -errno. */
int pv_fixture_cache_prepare(const char *dir, struct pv_err *err);

/*
 * Removes what dead builders of this key left and writes the snapshot as the VM entry of `key`,
 * whole or not at all: on failure what was there is untouched. Only what differs from its base is
 * written when it goes on from another entry. Under the key's lock. Returns 0 or -errno; `*bytes`
 * is what it takes on the disk.
 */
int pv_fixture_cache_install(const char *dir, const char *key, struct pv_snapshot *snapshot,
    uint64_t *bytes, struct pv_err *err);

/* The same for the lab entry of `key`. */
int pv_fixture_cache_install_lab(const char *dir, const char *key,
    const struct pv_lab_snapshot *snapshot, uint64_t *bytes, struct pv_err *err);

/* Says that the entry was used now, and with it those that it builds on. Failure is harmless. */
void pv_fixture_cache_touch(const char *dir, const char *key, enum pv_fixture_kind kind);

/* Removes an entry of any kind and what is left of its builders. Guests that run on it go on. Under
 * the key's lock. Returns 0, also when there is none, or -errno. */
int pv_fixture_cache_evict(const char *dir, const char *key, struct pv_err *err);

/*
 * For the start of a run: removes what dead builders left, then entries, the oldest first and none
 * on which another one builds, until they take at most `limit` bytes. What is being built is left
 * alone. Returns 0 or -errno; `*evicted` counts.
 */
int pv_fixture_cache_trim(const char *dir, uint64_t limit, unsigned *evicted, struct pv_err *err);

/* Removes all entries, and nothing that is not of the cache. What is being built is left alone. */
int pv_fixture_cache_clean(const char *dir, unsigned *removed, uint64_t *bytes, struct pv_err *err);

/* Reads all of an entry and checks it. Returns 0, or -errno with a sentence. */
int pv_fixture_cache_verify(const struct pv_fixture_entry *entry, struct pv_err *err);

#endif
