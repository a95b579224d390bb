/*
 * Making room in the fixture cache. Theory: entries go in the order of their last use, but one that
 * others build on (vmm/template.h, layers) only after these, as they would be worth nothing without
 * it. Each is removed under its key's lock, which is only tried: what somebody builds right now is
 * left alone. In the same way what dead builders left is told from what living ones are writing.
 */
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lab/fixture_cache.h"
#include "lab/fixture_cache_private.h"
#include "lab/fixture_lock.h"
#include "vmm/template.h"

/* --- which one builds on which --- */

struct link {
	size_t entry;		 /* that builds ... */
	char base[PV_HASH_TEXT]; /* ... on this one */
};

struct links {
	struct link *items;
	size_t count;
};

/* The key in a path into the cache: of the last part that has one. */
static bool key_in_path(const char *path, char key[PV_HASH_TEXT])
{
	bool found = false;
	while (path) {
		if (pv_fixture_cache_begins_with_key(path)) {
			memcpy(key, path, PV_FIXTURE_KEY_LEN);
			key[PV_FIXTURE_KEY_LEN] = '\0';
			found = true;
		}
		path = strchr(path, '/');
		path += path != NULL;
	}
	return found;
}

/* The base of one snapshot file. A file that cannot be read has none. */
static int link_file(struct links *links, size_t entry, const char *path)
{
	struct pv_template_info info = {0};
	struct pv_err ignored = PV_ERR_INIT;
	struct link link = {.entry = entry};
	int code = 0;
	if (pv_template_inspect(&info, path, &ignored) == 0 && info.base &&
	    key_in_path(info.base, link.base)) {
		struct link *grown = reallocarray(links->items, links->count + 1, sizeof(*grown));
		if (grown) {
			links->items = grown;
			grown[links->count++] = link;
		}
		code = grown ? 0 : -ENOMEM;
	}
	pv_template_info_finish(&info);
	return code;
}

/* A guest's file, or all files of a lab. */
static int link_entry(struct links *links, size_t number, const struct pv_fixture_entry *entry)
{
	char *roots[] = {entry->path, NULL};
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int code = walk ? 0 : -ENOMEM;
	for (FTSENT *file; walk && !code && (file = fts_read(walk));) {
		if (file->fts_info == FTS_F)
			code = link_file(links, number, file->fts_path);
	}
	if (walk)
		fts_close(walk);
	return code;
}

static bool is_needed(const struct links *links, const struct pv_fixture_entries *entries,
    const bool *gone, size_t number)
{
	const char *key = entries->items[number].key;
	for (size_t i = 0; i < links->count; i++) {
		const size_t entry = links->items[i].entry;
		if (!gone[entry] && entry != number && strcmp(links->items[i].base, key) == 0)
			return true;
	}
	return false;
}

/* --- all entries --- */

/* Evicts the entry unless somebody builds it. Returns true when it is gone. */
static bool evict_idle(const char *dir, const char *key)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_fixture_lock lock = PV_FIXTURE_LOCK_INIT;
	if (pv_fixture_lock_take(&lock, dir, key, false, &ignored))
		return false;
	const bool done = pv_fixture_cache_evict(dir, key, &ignored) == 0;
	pv_fixture_lock_release(&lock);
	return done;
}

static int sweep_name(void *ctx, const char *name, enum pv_fixture_part part)
{
	const char *dir = ctx;
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_fixture_lock lock = PV_FIXTURE_LOCK_INIT;
	char key[PV_HASH_TEXT];
	if (part != PV_FIXTURE_PART_TEMPORARY && part != PV_FIXTURE_PART_LOCK)
		return 0;
	memcpy(key, name, PV_FIXTURE_KEY_LEN);
	key[PV_FIXTURE_KEY_LEN] = '\0';
	if (pv_fixture_lock_take(&lock, dir, key, false, &ignored))
		return 0;
	(void)pv_fixture_cache_remove(dir, key, false, &ignored);
	pv_fixture_lock_release(&lock);
	return 0;
}

static int evict_until(struct pv_fixture_entries *entries, const char *dir,
    const struct links *links, uint64_t limit, unsigned *evicted)
{
	bool *gone = calloc(entries->count, sizeof(*gone));
	bool *held = calloc(entries->count, sizeof(*held));
	const int code = gone && held ? 0 : -ENOMEM;
	for (size_t i = 0; !code && entries->bytes > limit && i < entries->count; i++) {
		struct pv_fixture_entry *entry = &entries->items[i];
		if (gone[i] || held[i] || is_needed(links, entries, gone, i))
			continue;
		gone[i] = evict_idle(dir, entry->key);
		held[i] = !gone[i];
		if (held[i])
			continue;
		entries->bytes -= entry->bytes;
		(*evicted)++;
		i = (size_t)-1; /* an older one may be free now */
	}
	free(held);
	free(gone);
	return code;
}

int pv_fixture_cache_trim(const char *dir, uint64_t limit, unsigned *evicted, struct pv_err *err)
{
	struct pv_fixture_entries entries = {0};
	struct links links = {0};
	*evicted = 0;
	int status = pv_fixture_cache_walk(dir, sweep_name, (void *)dir, err);
	if (!status)
		status = pv_fixture_cache_list(&entries, dir, err);
	if (!status && entries.bytes > limit) {
		for (size_t i = 0; i < entries.count && !status; i++)
			status = link_entry(&links, i, &entries.items[i]);
		if (!status)
			status = evict_until(&entries, dir, &links, limit, evicted);
		if (status)
			pv_err_nomem(err, "the list of fixtures");
	}
	free(links.items);
	pv_fixture_entries_finish(&entries);
	return status;
}

int pv_fixture_cache_clean(const char *dir, unsigned *removed, uint64_t *bytes, struct pv_err *err)
{
	struct pv_fixture_entries entries;
	*removed = 0;
	*bytes = 0;
	int status = pv_fixture_cache_list(&entries, dir, err);
	for (size_t i = 0; i < entries.count && !status; i++) {
		if (!evict_idle(dir, entries.items[i].key))
			continue;
		(*removed)++;
		*bytes += entries.items[i].bytes;
	}
	if (!status)
		status = pv_fixture_cache_walk(dir, sweep_name, (void *)dir, err);
	pv_fixture_entries_finish(&entries);
	return status;
}
