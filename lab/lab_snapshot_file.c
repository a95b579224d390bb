/*
 * Saved labs as directories: lab.json and a file per guest. Theory: the files are written by
 * several threads into a directory beside, which is then put into place by one rename, so whoever
 * looks sees the old one or all of the new one. Paths in it are relative, so the directory can be
 * moved. Memory of guests is not read when a directory is opened; headers and state are, by several
 * threads, too.
 *
 * A directory is removed or replaced only when all in it is of a saved lab. Without the loop lock.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "lab/crew.h"
#include "lab/lab_snapshot_private.h"
#include "vmm/template.h"

/* --- writing --- */

struct filling {
	const struct pv_lab_snapshot *snapshot;
	const char *directory;
	struct pv_template_write options;
	struct pv_lab_outcome *outcomes;
};

/* Any thread. */
static void write_one(void *ctx, size_t index)
{
	struct filling *filling = ctx;
	const struct pv_lab_index_vm *place = &filling->snapshot->index.vms[index];
	struct pv_lab_outcome *outcome = &filling->outcomes[index];
	char *path;
	if (place->first != index)
		return;
	if (asprintf(&path, "%s/%s", filling->directory, place->file) < 0) {
		outcome->status = pv_err_nomem(&outcome->err, "snapshot of a lab");
		return;
	}
	outcome->status = pv_template_write(
	    filling->snapshot->guests[index].template, path, &filling->options, &outcome->err);
	free(path);
}

static int write_index(const struct pv_lab_index *index, const char *directory, struct pv_err *err)
{
	struct pv_bytes text = {0}, path = {0};
	int status = pv_lab_index_write(index, &text);
	if (!status)
		status = pv_bytes_printf(&path, "%s/%s", directory, PV_LAB_SNAPSHOT_INDEX);
	if (status || !pv_bytes_text(&path))
		status = pv_err_nomem(err, "snapshot of a lab");
	else if (text.len > PV_LAB_INDEX_SIZE_MAX)
		status = pv_err_set(
		    err, PV_ERR_LIMIT, EFBIG, "its labs are nested too deep to be saved");
	else
		status = pv_fd_replace_file(pv_bytes_text(&path), text.data, text.len, 0600, err);
	pv_bytes_finish(&text);
	pv_bytes_finish(&path);
	return status;
}

int pv_lab_snapshot_fill(const struct pv_lab_snapshot *snapshot, const char *directory,
    const char *layer_within, struct pv_err *err)
{
	const size_t count = snapshot->index.vm_count;
	struct filling filling = {.snapshot = snapshot,
	    .directory = directory,
	    .options = {.layer_within = layer_within},
	    .outcomes = calloc(count + 1, sizeof(*filling.outcomes))};
	if (!filling.outcomes)
		return pv_err_nomem(err, "snapshot of a lab");
	pv_crew_run(count, write_one, &filling);
	int status = pv_lab_outcome_first(filling.outcomes, count, err);
	free(filling.outcomes);
	return status ? status : write_index(&snapshot->index, directory, err);
}

/* --- into place --- */

enum target {
	TARGET_NEW, /* nothing is there, or an empty directory */
	TARGET_OLD, /* another saved lab */
};

static bool is_ours(const char *name)
{
	const char *dot = strrchr(name, '.');
	return strcmp(name, PV_LAB_SNAPSHOT_INDEX) == 0 || (dot && strcmp(dot, ".snap") == 0);
}

/* Returns what is there, or -errno when that must not be replaced. */
static int look_at_target(const char *directory, struct pv_err *err)
{
	bool has_index = false, has_others = false, is_empty = true;
	DIR *dir = opendir(directory);
	if (!dir && errno == ENOENT)
		return TARGET_NEW;
	if (!dir)
		return pv_err_system(err, errno, "directory `%s`", directory);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		is_empty = false;
		has_index = has_index || strcmp(entry->d_name, PV_LAB_SNAPSHOT_INDEX) == 0;
		has_others = has_others || !is_ours(entry->d_name);
	}
	closedir(dir);
	if (is_empty)
		return TARGET_NEW;
	if (!has_index || has_others)
		return pv_err_set(err, PV_ERR_INPUT, ENOTEMPTY,
		    "directory `%s` holds other things than a snapshot of a lab; give one that is "
		    "new or empty",
		    directory);
	return TARGET_OLD;
}

/* Two directories change places; in two steps where the file system cannot do it in one. Returns 0
 * or -errno. */
static int exchange(const char *fresh, const char *directory)
{
	char *aside;
	if (renameat2(AT_FDCWD, fresh, AT_FDCWD, directory, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (asprintf(&aside, "%s.old", fresh) < 0)
		return -ENOMEM;
	int status = rename(directory, aside) < 0 ? -errno : 0;
	if (!status && rename(fresh, directory) < 0) {
		status = -errno;
		(void)rename(aside, directory);
	} else if (!status && rename(aside, fresh) < 0) {
		status = -errno;
	}
	free(aside);
	return status;
}

/* Puts `fresh` into the place of `directory`. What was there is removed. */
static int install(const char *fresh, const char *directory, enum target target, struct pv_err *err)
{
	int status = target == TARGET_OLD	    ? exchange(fresh, directory)
		     : rename(fresh, directory) < 0 ? -errno
						    : 0;
	if (status)
		return pv_err_system(
		    err, -status, "directory `%s`: cannot be put into place", directory);
	if (target == TARGET_OLD)
		(void)pv_lab_snapshot_remove(fresh); /* that is the old one now */
	return 0;
}

/* The path without slashes at its end; of what is there already, without links. */
static char *tidy(const char *directory)
{
	char *path = realpath(directory, NULL);
	if (path)
		return path;
	path = strdup(directory);
	for (size_t len = path ? strlen(path) : 0; len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
	return path;
}

int pv_lab_snapshot_write(const struct pv_lab_snapshot *snapshot, const char *directory,
    const char *layer_within, struct pv_err *err)
{
	char *path = tidy(directory), *fresh = NULL;
	int status = snapshot->deleted ? pv_err_set(err, PV_ERR_STATE, ENOENT,
					     "snapshot: it was deleted; take a new one")
				       : 0;
	if (!status && (!path || asprintf(&fresh, "%s.tmp.XXXXXX", path) < 0)) {
		fresh = NULL;
		status = pv_err_nomem(err, "snapshot of a lab");
	}
	int target = status ? status : look_at_target(path, err);
	if (target >= 0 && !mkdtemp(fresh)) {
		target = pv_err_system(err, errno, "directory `%s`: cannot be made", directory);
	} else if (target >= 0) {
		status = pv_lab_snapshot_fill(snapshot, fresh, layer_within, err);
		if (!status)
			status = install(fresh, path, (enum target)target, err);
		if (status)
			(void)pv_lab_snapshot_remove(fresh);
	}
	free(path);
	free(fresh);
	return target < 0 ? target : status;
}

/* --- opening --- */

struct opening {
	struct pv_lab_snapshot *snapshot;
	bool verify_ram;
	struct pv_lab_outcome *outcomes;
};

static int open_guest(struct opening *opening, size_t index, const char *path, struct pv_err *err)
{
	const struct pv_lab_index_vm *place = &opening->snapshot->index.vms[index];
	struct pv_template **template = &opening->snapshot->guests[index].template;
	struct stat info;
	/* A link would lead out of the directory. */
	if (lstat(path, &info) < 0)
		return pv_err_system(err, errno, "snapshot `%s`: cannot be opened", path);
	if (!S_ISREG(info.st_mode))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "snapshot `%s`: not a regular file; make the lab's snapshot anew", path);
	int status = pv_template_open(template, path, opening->verify_ram, err);
	if (status)
		return status;
	if (pv_template_memory(*template) != place->memory ||
	    pv_template_cpus(*template) != place->cpus)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "snapshot `%s`: its guest has other memory or cpus than %s says; make the "
		    "lab's snapshot anew",
		    path, PV_LAB_SNAPSHOT_INDEX);
	return 0;
}

/* Any thread. */
static void open_one(void *ctx, size_t index)
{
	struct opening *opening = ctx;
	const struct pv_lab_index_vm *place = &opening->snapshot->index.vms[index];
	struct pv_lab_outcome *outcome = &opening->outcomes[index];
	char *path;
	if (place->first != index)
		return;
	if (asprintf(&path, "%s/%s", opening->snapshot->directory, place->file) < 0) {
		outcome->status = pv_err_nomem(&outcome->err, "snapshot of a lab");
		return;
	}
	outcome->status = open_guest(opening, index, path, &outcome->err);
	free(path);
}

static int read_index(struct pv_lab_snapshot *snapshot, struct pv_err *err)
{
	struct pv_bytes text = {0};
	char *path;
	if (asprintf(&path, "%s/%s", snapshot->directory, PV_LAB_SNAPSHOT_INDEX) < 0)
		return pv_err_nomem(err, "snapshot of a lab");
	int status = pv_fd_slurp("snapshot of a lab", path, PV_LAB_INDEX_SIZE_MAX, &text, err);
	if (!status) {
		status = pv_lab_index_read(&snapshot->index, text.data, text.len, err);
		if (status)
			pv_err_prefix(err, "snapshot of a lab `%s`", path);
	}
	pv_bytes_finish(&text);
	free(path);
	return status;
}

int pv_lab_snapshot_open(
    struct pv_lab_snapshot **out, const char *directory, bool verify_ram, struct pv_err *err)
{
	struct opening opening = {.snapshot = pv_lab_snapshot_new(err), .verify_ram = verify_ram};
	struct pv_lab_snapshot *snapshot = opening.snapshot;
	*out = NULL;
	if (!snapshot)
		return -ENOMEM;
	snapshot->directory = strdup(directory);
	int status = snapshot->directory ? read_index(snapshot, err) : pv_err_nomem(err, "lab");
	if (!status)
		status = pv_lab_snapshot_make_room(snapshot, err);
	if (!status) {
		opening.outcomes = calloc(snapshot->index.vm_count + 1, sizeof(*opening.outcomes));
		if (opening.outcomes)
			pv_crew_run(snapshot->index.vm_count, open_one, &opening);
		status = opening.outcomes
			     ? pv_lab_outcome_first(opening.outcomes, snapshot->index.vm_count, err)
			     : pv_err_nomem(err, "lab");
	}
	free(opening.outcomes);
	if (status)
		pv_lab_snapshot_destroy(snapshot);
	else
		*out = snapshot;
	return status;
}
