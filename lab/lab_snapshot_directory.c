/*
 * The directory of a saved lab. One that was read or written has its own. Only when a script asks
 * for the path of one in memory it is written, into a file system of our own that nobody else has
 * mounted; its path leads through /proc, and with this process it is gone. Where the kernel does
 * not grant that, it is a directory in $TMPDIR. Script thread.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "lab/lab_snapshot_private.h"

/* A file system that goes with its descriptor. Returns that or -1. */
static int open_filesystem(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd = -1;
	if (context < 0)
		return -1;
	/* No limit of its own, as of files in memory. */
	if (fsconfig(context, FSCONFIG_SET_STRING, "mode", "0700", 0) == 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "size", "0", 0) == 0 &&
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(context, FSMOUNT_CLOEXEC,
		    MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
	close(context);
	return fd;
}

static int make_temporary(struct pv_lab_snapshot *snapshot, struct pv_err *err)
{
	const char *folder = getenv("TMPDIR");
	char *path = NULL;
	int fd = open_filesystem();
	int printed =
	    fd >= 0 ? asprintf(&path, "/proc/%d/fd/%d", getpid(), fd)
		    : asprintf(&path, "%s/provium-lab-XXXXXX", folder && *folder ? folder : "/tmp");
	if (printed < 0) {
		pv_fd_close(&fd);
		return pv_err_nomem(err, "snapshot of a lab");
	}
	if (fd < 0 && !mkdtemp(path)) {
		int status = pv_err_system(err, errno, "directory `%s`: cannot be made", path);
		free(path);
		return status;
	}
	snapshot->directory = path;
	snapshot->filesystem = fd;
	snapshot->temporary = fd < 0;
	return 0;
}

static void drop_temporary(struct pv_lab_snapshot *snapshot)
{
	if (snapshot->temporary)
		(void)pv_lab_snapshot_remove(snapshot->directory);
	pv_fd_close(&snapshot->filesystem);
	free(snapshot->directory);
	snapshot->directory = NULL;
	snapshot->temporary = false;
}

int pv_lab_snapshot_path(struct pv_lab_snapshot *snapshot, const char **path, struct pv_err *err)
{
	int status = 0;
	*path = NULL;
	if (!snapshot->directory && snapshot->deleted)
		return pv_err_set(err, PV_ERR_STATE, ENOENT,
		    "snapshot: it was deleted before it had a path; take a new one");
	if (!snapshot->directory) {
		status = make_temporary(snapshot, err);
		if (status)
			return status;
		status = pv_lab_snapshot_fill(snapshot, snapshot->directory, NULL, err);
		if (status)
			drop_temporary(snapshot);
	}
	*path = snapshot->directory;
	return status;
}

int pv_lab_snapshot_descriptor(struct pv_lab_snapshot *snapshot, int *fd, struct pv_err *err)
{
	const char *path;
	int status = pv_lab_snapshot_path(snapshot, &path, err);
	*fd = -1;
	if (status)
		return status;
	if (snapshot->filesystem < 0)
		return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
		    "the kernel grants no file system in memory to keep it in");
	*fd = fcntl(snapshot->filesystem, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? pv_err_system(err, errno, "snapshot of a lab: no descriptor is left") : 0;
}

int pv_lab_snapshot_size(struct pv_lab_snapshot *snapshot, uint64_t *size, struct pv_err *err)
{
	const char *path;
	*size = 0;
	if (snapshot->deleted)
		return 0;
	int status = pv_lab_snapshot_path(snapshot, &path, err);
	if (status)
		return status;
	DIR *dir = opendir(path);
	if (!dir)
		return errno == ENOENT
			   ? 0
			   : pv_err_system(err, errno, "directory `%s`: cannot be read", path);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct stat info;
		if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(info.st_mode))
			*size += (uint64_t)info.st_size;
	}
	closedir(dir);
	return 0;
}
