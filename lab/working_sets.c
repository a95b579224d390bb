/*
 * The folder of working sets.
 *
 * A set is a hint of some kilobytes: whoever restores a snapshot file that has none leaves one, and
 * all later restores are faster by it. It does not lie in the snapshot, which nobody changes once
 * it is written, and not beside it, where the user may not want it. A file is named by the identity
 * of the snapshot, which another one never has, so sets are never wrong, only useless when the
 * snapshot is gone: the oldest go when there are many.
 */
#include "lab/working_sets.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "vmm/template.h"
#include "vmm/working_set.h"

/* Sets that are kept; twice as many are there before somebody tidies up. */
#define KEPT_MAX 256u

/* More than any set has. */
#define SIZE_MAX_SET (64u << 10)

#define ID_DIGITS (PV_TEMPLATE_ID - 1)

static char *path_of(const char *folder, const char *id)
{
	char *path = NULL;
	if (!folder || asprintf(&path, "%s/%s", folder, id) < 0)
		return NULL;
	return path;
}

struct pv_working_set *pv_working_sets_load(const char *folder, const char *id)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_working_set *set = NULL;
	struct pv_bytes data = {0};
	char *path = path_of(folder, id);
	if (path && pv_fd_slurp("working set", path, SIZE_MAX_SET, &data, &ignored) == 0)
		(void)pv_working_set_read(&set, data.data, data.len);
	pv_bytes_finish(&data);
	free(path);
	return set;
}

/* --- tidying up --- */

struct entry {
	char id[PV_TEMPLATE_ID];
	struct timespec time;
};

static int by_time(const void *a, const void *b)
{
	const struct entry *one = a, *other = b;
	if (one->time.tv_sec != other->time.tv_sec)
		return one->time.tv_sec < other->time.tv_sec ? -1 : 1;
	return one->time.tv_nsec < other->time.tv_nsec ? -1
						       : one->time.tv_nsec > other->time.tv_nsec;
}

static bool is_id(const char *name)
{
	return strlen(name) == ID_DIGITS && strspn(name, "0123456789abcdef") == ID_DIGITS;
}

/* Removes the oldest when there are too many. Names that are not ours stay. */
static void tidy_up(const char *folder)
{
	struct entry entries[2 * KEPT_MAX];
	unsigned count = 0;
	DIR *dir = opendir(folder);
	if (!dir)
		return;
	for (struct dirent *found; count < 2 * KEPT_MAX && (found = readdir(dir));) {
		struct stat status;
		if (!is_id(found->d_name) ||
		    fstatat(dirfd(dir), found->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		memcpy(entries[count].id, found->d_name, PV_TEMPLATE_ID);
		entries[count++].time = status.st_mtim;
	}
	if (count == 2 * KEPT_MAX) {
		qsort(entries, count, sizeof(entries[0]), by_time);
		for (unsigned i = 0; i < KEPT_MAX; i++)
			unlinkat(dirfd(dir), entries[i].id, 0);
	}
	closedir(dir);
}

void pv_working_sets_save(const char *folder, const char *id, const struct pv_working_set *set)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_bytes data = {0};
	char *path = path_of(folder, id);
	if (path && pv_working_set_write(set, &data) == 0 &&
	    pv_fd_replace_file(path, data.data, data.len, 0644, &ignored) == 0)
		tidy_up(folder);
	pv_bytes_finish(&data);
	free(path);
}
