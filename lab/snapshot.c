/*
 * Snapshots as tests hold them. Theory: one with a path of the user's is that file and nothing
 * else, so it is gone when somebody removes the file. One without is a template in this process:
 * taking it copies nothing and restoring it reads nothing. Only when a script wants to see a file
 * one is written, unnamed ($TMPDIR, or memory where its file system cannot do that), and its path
 * leads through /proc: no crash can leave anything behind.
 */
#include "lab/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/template.h"

struct pv_snapshot {
	struct pv_template *template; /* NULL: a file of the user's, or deleted */
	char *path;		      /* NULL until there is one */
	int fd;			      /* of the unnamed file, or -1 */
	bool deleted;
};

static struct pv_snapshot *create(struct pv_err *err)
{
	struct pv_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	if (snapshot)
		snapshot->fd = -1;
	else
		pv_err_nomem(err, "snapshot");
	return snapshot;
}

int pv_snapshot_create_file(struct pv_snapshot **out, const struct pv_template *template,
    const char *path, struct pv_err *err)
{
	struct pv_snapshot *snapshot = create(err);
	*out = NULL;
	if (!snapshot)
		return -ENOMEM;
	snapshot->path = strdup(path);
	int status = snapshot->path ? pv_template_write(template, path, NULL, err)
				    : pv_err_nomem(err, "snapshot");
	if (status) {
		pv_snapshot_destroy(snapshot);
		return status;
	}
	*out = snapshot;
	return 0;
}

int pv_snapshot_create_memory(
    struct pv_snapshot **out, struct pv_template *template, struct pv_err *err)
{
	*out = create(err);
	if (!*out)
		return -ENOMEM;
	(*out)->template = pv_template_ref(template);
	return 0;
}

int pv_snapshot_write_layer(
    struct pv_snapshot *snapshot, const char *path, const char *tree, struct pv_err *err)
{
	const struct pv_template_write options = {.layer_within = tree};
	if (!snapshot->template)
		return pv_err_set(err, PV_ERR_STATE, EINVAL,
		    "snapshot%s%s%s: it is not in memory; take one without a path",
		    snapshot->path ? " `" : "", snapshot->path ? snapshot->path : "",
		    snapshot->path ? "`" : "");
	return pv_template_write(snapshot->template, path, &options, err);
}

void pv_snapshot_destroy(struct pv_snapshot *snapshot)
{
	if (!snapshot)
		return;
	pv_template_unref(snapshot->template);
	pv_fd_close(&snapshot->fd);
	free(snapshot->path);
	free(snapshot);
}

static int open_unnamed(void)
{
	const char *folder = getenv("TMPDIR");
	int fd = open(folder && *folder ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("provium-snapshot", MFD_CLOEXEC);
}

/* Gives a snapshot in memory its file. */
static int spill(struct pv_snapshot *snapshot, struct pv_err *err)
{
	int fd = open_unnamed();
	if (fd < 0)
		return pv_err_system(err, errno, "snapshot: cannot make a temporary file");
	int status = pv_template_write_fd(snapshot->template, fd, "(temporary)", err);
	char *path = NULL;
	if (!status && asprintf(&path, "/proc/%d/fd/%d", getpid(), fd) < 0)
		status = pv_err_nomem(err, "snapshot");
	if (status) {
		pv_fd_close(&fd);
		return status;
	}
	snapshot->path = path;
	snapshot->fd = fd;
	return 0;
}

int pv_snapshot_path(struct pv_snapshot *snapshot, const char **path, struct pv_err *err)
{
	int status = 0;
	if (!snapshot->path && snapshot->deleted)
		status = pv_err_set(err, PV_ERR_STATE, ENOENT,
		    "snapshot: it was deleted before it had a path; take a new one");
	else if (!snapshot->path)
		status = spill(snapshot, err);
	*path = snapshot->path;
	return status;
}

int pv_snapshot_size(struct pv_snapshot *snapshot, uint64_t *size, struct pv_err *err)
{
	const char *path;
	struct stat info;
	*size = 0;
	if (snapshot->deleted)
		return 0;
	int status = pv_snapshot_path(snapshot, &path, err);
	if (status)
		return status;
	if ((snapshot->fd >= 0 ? fstat(snapshot->fd, &info) : stat(path, &info)) == 0)
		*size = (uint64_t)info.st_size;
	return 0;
}

int pv_snapshot_delete(struct pv_snapshot *snapshot, struct pv_err *err)
{
	if (snapshot->deleted)
		return 0;
	if (!snapshot->template && unlink(snapshot->path) < 0 && errno != ENOENT)
		return pv_err_system(
		    err, errno, "snapshot `%s`: cannot be deleted", snapshot->path);
	snapshot->deleted = true;
	pv_template_unref(snapshot->template);
	snapshot->template = NULL;
	pv_fd_close(&snapshot->fd);
	return 0;
}

int pv_snapshot_open(struct pv_snapshot *snapshot, struct pv_template **out, struct pv_err *err)
{
	*out = NULL;
	if (snapshot->deleted)
		return pv_err_set(err, PV_ERR_STATE, ENOENT,
		    "snapshot%s%s%s: it was deleted; take a new one", snapshot->path ? " `" : "",
		    snapshot->path ? snapshot->path : "", snapshot->path ? "`" : "");
	if (!snapshot->template)
		return pv_template_open(out, snapshot->path, false, err);
	*out = pv_template_ref(snapshot->template);
	return 0;
}
