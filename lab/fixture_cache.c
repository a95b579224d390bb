/*
 * The fixture cache. Theory: an entry is a file or a folder whose name is its key, so looking one
 * up is opening it. Entries are written beside their place and renamed, by the one who holds the
 * key's lock (lab/fixture_lock.h); so readers need no lock, whoever finds an unfinished one while
 * nobody holds the lock may remove it, and a guest that runs on an entry keeps it when its name
 * goes.
 *
 * Files are mapped by all guests that go on from them, so their pages are in memory once, however
 * many processes use them; that is why nothing is packed here. The time of access is the time of
 * the last restore, set by hand, as mount options keep the kernel from doing it.
 */
#include "lab/fixture_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/fixture_cache_private.h"
#include "lab/lab_snapshot.h"
#include "lab/snapshot.h"
#include "vmm/template.h"

#define TEMPORARY ".tmp"

/* Entries one upon the other. */
#define CHAIN_MAX 256

static const char *const endings[] = {".snap", ".lab"};

const char *pv_fixture_kind_name(enum pv_fixture_kind kind)
{
	return kind == PV_FIXTURE_LAB ? "lab" : "vm";
}

/* --- names --- */

bool pv_fixture_cache_begins_with_key(const char *name)
{
	return strspn(name, "0123456789abcdef") == PV_FIXTURE_KEY_LEN &&
	       name[PV_FIXTURE_KEY_LEN] == '.';
}

static enum pv_fixture_part part_of(const char *name)
{
	if (!pv_fixture_cache_begins_with_key(name))
		return PV_FIXTURE_PART_FOREIGN;
	const char *rest = name + PV_FIXTURE_KEY_LEN;
	const size_t len = strlen(rest), mark = strlen(TEMPORARY);
	if (strcmp(rest, endings[PV_FIXTURE_VM]) == 0)
		return PV_FIXTURE_PART_VM;
	if (strcmp(rest, endings[PV_FIXTURE_LAB]) == 0)
		return PV_FIXTURE_PART_LAB;
	if (strcmp(rest, ".lock") == 0)
		return PV_FIXTURE_PART_LOCK;
	return len > mark && strcmp(rest + len - mark, TEMPORARY) == 0 ? PV_FIXTURE_PART_TEMPORARY
								       : PV_FIXTURE_PART_FOREIGN;
}

static char *join(const char *dir, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

char *pv_fixture_cache_path(const char *dir, const char *key, enum pv_fixture_kind kind)
{
	char *path;
	return asprintf(&path, "%s/%s%s", dir, key, endings[kind]) < 0 ? NULL : path;
}

bool pv_fixture_cache_has(const char *dir, const char *key, enum pv_fixture_kind kind)
{
	char *path = pv_fixture_cache_path(dir, key, kind);
	const bool there = path && access(path, F_OK) == 0;
	free(path);
	return there;
}

/* --- trees --- */

/* Removes a file, or a folder with what is in it. Returns 0 or -errno; what is not there is fine.
 */
static int remove_tree(const char *path)
{
	char *roots[] = {(char *)path, NULL};
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
	int code = walk ? 0 : -errno;
	for (FTSENT *entry; walk && (entry = fts_read(walk));) {
		int done = 0;
		if (entry->fts_info == FTS_DP)
			done = rmdir(entry->fts_accpath);
		else if (entry->fts_info != FTS_D)
			done = unlink(entry->fts_accpath);
		if (done < 0 && errno != ENOENT && !code)
			code = -errno;
	}
	if (walk)
		fts_close(walk);
	return code;
}

/* Bytes on the disk, holes not counted. */
static uint64_t size_of_tree(const char *path)
{
	char *roots[] = {(char *)path, NULL};
	uint64_t bytes = 0;
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	for (FTSENT *entry; walk && (entry = fts_read(walk));) {
		if (entry->fts_info == FTS_F)
			bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
	}
	if (walk)
		fts_close(walk);
	return bytes;
}

/* --- the list --- */

static int add_entry(struct pv_fixture_entries *entries, const char *dir, const char *name,
    enum pv_fixture_kind kind)
{
	struct stat info;
	char *path = join(dir, name);
	if (!path)
		return -ENOMEM;
	if (stat(path, &info) < 0) {
		free(path);
		return 0; /* gone meanwhile */
	}
	struct pv_fixture_entry *grown =
	    reallocarray(entries->items, entries->count + 1, sizeof(*grown));
	if (!grown) {
		free(path);
		return -ENOMEM;
	}
	entries->items = grown;
	struct pv_fixture_entry *entry = &grown[entries->count++];
	/* Who lists a directory accesses it, without any use of the entry. */
	const struct timespec used = S_ISDIR(info.st_mode) ? info.st_mtim : info.st_atim;
	*entry = (struct pv_fixture_entry){.kind = kind,
	    .path = path,
	    .bytes = size_of_tree(path),
	    .used_ns = used.tv_sec * PV_CLOCK_SECOND + used.tv_nsec};
	memcpy(entry->key, name, PV_FIXTURE_KEY_LEN);
	entries->bytes += entry->bytes;
	return 0;
}

static int compare_use(const void *a, const void *b)
{
	const struct pv_fixture_entry *one = a, *other = b;
	if (one->used_ns != other->used_ns)
		return one->used_ns < other->used_ns ? -1 : 1;
	return strcmp(one->key, other->key);
}

int pv_fixture_cache_walk(const char *dir,
    int (*visit)(void *ctx, const char *name, enum pv_fixture_part part), void *ctx,
    struct pv_err *err)
{
	DIR *folder = opendir(dir);
	if (!folder && errno == ENOENT)
		return 0;
	if (!folder)
		return pv_err_system(err, errno, "fixture cache `%s`: cannot read it", dir);
	int status = 0;
	for (struct dirent *entry; !status && (entry = readdir(folder));) {
		const enum pv_fixture_part part = part_of(entry->d_name);
		if (part != PV_FIXTURE_PART_FOREIGN)
			status = visit(ctx, entry->d_name, part);
	}
	closedir(folder);
	return status == -ENOMEM ? pv_err_nomem(err, "the list of fixtures") : status;
}

struct listing {
	struct pv_fixture_entries *entries;
	const char *dir;
};

static int list_name(void *ctx, const char *name, enum pv_fixture_part part)
{
	const struct listing *listing = ctx;
	if (part != PV_FIXTURE_PART_VM && part != PV_FIXTURE_PART_LAB)
		return 0;
	return add_entry(listing->entries, listing->dir, name,
	    part == PV_FIXTURE_PART_LAB ? PV_FIXTURE_LAB : PV_FIXTURE_VM);
}

int pv_fixture_cache_list(struct pv_fixture_entries *entries, const char *dir, struct pv_err *err)
{
	struct listing listing = {.entries = entries, .dir = dir};
	*entries = (struct pv_fixture_entries){0};
	const int status = pv_fixture_cache_walk(dir, list_name, &listing, err);
	if (entries->count)
		qsort(entries->items, entries->count, sizeof(entries->items[0]), compare_use);
	return status;
}

void pv_fixture_entries_finish(struct pv_fixture_entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		free(entries->items[i].path);
	free(entries->items);
	*entries = (struct pv_fixture_entries){0};
}

/* --- one entry --- */

int pv_fixture_cache_prepare(const char *dir, struct pv_err *err)
{
	if (access(dir, W_OK | X_OK) == 0)
		return 0;
	if (errno != ENOENT)
		return pv_err_system(err, errno, "fixture cache `%s`: cannot be written", dir);
	const int status = pv_fd_make_dirs(dir, err);
	return status ? pv_err_prefix(err, "fixture cache `%s`: cannot be made", dir) : 0;
}

struct removal {
	const char *dir;
	const char *key;
	bool entries; /* unfinished ones only when false */
	int code;
};

static int remove_name(void *ctx, const char *name, enum pv_fixture_part part)
{
	struct removal *removal = ctx;
	if (strncmp(name, removal->key, PV_FIXTURE_KEY_LEN) != 0 || part == PV_FIXTURE_PART_LOCK ||
	    (part != PV_FIXTURE_PART_TEMPORARY && !removal->entries))
		return 0;
	char *path = join(removal->dir, name);
	const int code = path ? remove_tree(path) : -ENOMEM;
	if (code && !removal->code)
		removal->code = code;
	free(path);
	return 0;
}

int pv_fixture_cache_remove(const char *dir, const char *key, bool entries, struct pv_err *err)
{
	struct removal removal = {.dir = dir, .key = key, .entries = entries};
	const int status = pv_fixture_cache_walk(dir, remove_name, &removal, err);
	if (!status && removal.code)
		return pv_err_system(
		    err, -removal.code, "fixture cache `%s`: cannot remove an entry", dir);
	return status;
}

int pv_fixture_cache_evict(const char *dir, const char *key, struct pv_err *err)
{
	return pv_fixture_cache_remove(dir, key, true, err);
}

int pv_fixture_cache_install(const char *dir, const char *key, struct pv_snapshot *snapshot,
    uint64_t *bytes, struct pv_err *err)
{
	const struct pv_template_write options = {.layer_within = dir};
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_template *template = NULL;
	char *path = pv_fixture_cache_path(dir, key, PV_FIXTURE_VM);
	int status = path ? 0 : pv_err_nomem(err, "the path of a fixture");
	if (!status) {
		(void)pv_fixture_cache_remove(dir, key, false, &ignored);
		status = pv_snapshot_open(snapshot, &template, err);
	}
	if (!status)
		status = pv_template_write(template, path, &options, err);
	*bytes = status ? 0 : size_of_tree(path);
	pv_template_unref(template);
	free(path);
	return status;
}

int pv_fixture_cache_install_lab(const char *dir, const char *key,
    const struct pv_lab_snapshot *snapshot, uint64_t *bytes, struct pv_err *err)
{
	struct pv_err ignored = PV_ERR_INIT;
	char *path = pv_fixture_cache_path(dir, key, PV_FIXTURE_LAB);
	if (!path)
		return pv_err_nomem(err, "the path of a fixture");
	(void)pv_fixture_cache_remove(dir, key, false, &ignored);
	const int status = pv_lab_snapshot_write(snapshot, path, dir, err);
	*bytes = status ? 0 : size_of_tree(path);
	free(path);
	return status;
}

static void touch_file(const char *path)
{
	(void)utimensat(AT_FDCWD, path, NULL, 0); /* both times are now */
}

void pv_fixture_cache_touch(const char *dir, const char *key, enum pv_fixture_kind kind)
{
	struct pv_err ignored = PV_ERR_INIT;
	char *path = pv_fixture_cache_path(dir, key, kind);
	for (unsigned i = 0; path && i < CHAIN_MAX; i++) {
		struct pv_template_info info = {0};
		touch_file(path);
		if (kind == PV_FIXTURE_VM)
			(void)pv_template_inspect(&info, path, &ignored);
		free(path);
		path = info.base ? strdup(info.base) : NULL;
		pv_template_info_finish(&info);
	}
	free(path);
}

int pv_fixture_cache_verify(const struct pv_fixture_entry *entry, struct pv_err *err)
{
	struct pv_template *template = NULL;
	struct pv_lab_snapshot *lab = NULL;
	const int status = entry->kind == PV_FIXTURE_LAB
			       ? pv_lab_snapshot_open(&lab, entry->path, true, err)
			       : pv_template_open(&template, entry->path, true, err);
	pv_lab_snapshot_destroy(lab);
	pv_template_unref(template);
	return status;
}
