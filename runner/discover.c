/*
 * Discovery of test files. Theory: fts walks each given path physically (symbolic links are
 * reported, not followed); what ends in `.test.lua` is kept with the part of its path below the
 * given one. Hidden folders are walked too, as nothing in the contract exempts them.
 */
#include "runner/discover.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "lab/config.h"

static const char suffix[] = ".test.lua";

static int is_test(const char *name)
{
	size_t len = strlen(name);
	return len > sizeof(suffix) - 1 && strcmp(name + len - (sizeof(suffix) - 1), suffix) == 0;
}

/* Takes a copy of the path; `skip` is where its relative part begins. */
static int keep(struct pv_discovery *discovery, const char *path, size_t skip, const char *filter,
    struct pv_err *err)
{
	while (path[skip] == '/')
		skip++;
	if (filter && !strstr(path + skip, filter))
		return 0;
	struct pv_test_file *grown =
	    reallocarray(discovery->files, discovery->count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "list of test files");
	discovery->files = grown;
	char *copy = strdup(path);
	if (!copy)
		return pv_err_nomem(err, "list of test files");
	grown[discovery->count++] = (struct pv_test_file){.path = copy, .relative = copy + skip};
	return 0;
}

static int walk_folder(
    struct pv_discovery *discovery, const char *path, const char *filter, struct pv_err *err)
{
	char *roots[] = {(char *)path, NULL};
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!walk)
		return pv_err_system(err, errno, "`%s`: cannot walk it", path);
	int status = 0;
	size_t skip = strcmp(path, ".") == 0 ? 2 : strlen(path);
	for (FTSENT *entry; !status && (entry = fts_read(walk));) {
		if (entry->fts_info == FTS_F && is_test(entry->fts_name))
			status = keep(discovery, entry->fts_path, skip, filter, err);
		else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR)
			status = pv_err_system(
			    err, entry->fts_errno, "`%s`: cannot read it", entry->fts_path);
	}
	fts_close(walk);
	return status;
}

static int walk_path(
    struct pv_discovery *discovery, const char *path, const char *filter, struct pv_err *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return pv_err_system(err, errno, "`%s`: cannot find tests there", path);
	if (S_ISDIR(st.st_mode))
		return walk_folder(discovery, path, filter, err);
	if (!is_test(path))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "`%s`: not a folder and not a *.test.lua file", path);
	const char *slash = strrchr(path, '/');
	return keep(discovery, path, slash ? (size_t)(slash + 1 - path) : 0, filter, err);
}

static int compare(const void *a, const void *b)
{
	return strcmp(
	    ((const struct pv_test_file *)a)->path, ((const struct pv_test_file *)b)->path);
}

/* A file below two of the given paths runs once. */
static void sort_unique(struct pv_discovery *discovery)
{
	if (!discovery->count)
		return;
	qsort(discovery->files, discovery->count, sizeof(discovery->files[0]), compare);
	size_t kept = 1;
	for (size_t i = 1; i < discovery->count; i++) {
		if (strcmp(discovery->files[i].path, discovery->files[kept - 1].path) == 0)
			free(discovery->files[i].path);
		else
			discovery->files[kept++] = discovery->files[i];
	}
	discovery->count = kept;
}

int pv_discovery_walk(struct pv_discovery *discovery, char *const *paths, size_t path_count,
    const struct pv_config *config, const char *filter, struct pv_err *err)
{
	static char here_text[] = ".";
	static char *const here[] = {here_text};
	*discovery = (struct pv_discovery){0};
	if (path_count == 0) {
		paths = config->root_count ? config->roots : here;
		path_count = config->root_count ? config->root_count : 1;
	}
	int status = 0;
	for (size_t i = 0; i < path_count && !status; i++)
		status = walk_path(discovery, paths[i], filter, err);
	sort_unique(discovery);
	if (status)
		pv_discovery_finish(discovery);
	return status;
}

void pv_discovery_finish(struct pv_discovery *discovery)
{
	for (size_t i = 0; i < discovery->count; i++)
		free(discovery->files[i].path);
	free(discovery->files);
	*discovery = (struct pv_discovery){0};
}
