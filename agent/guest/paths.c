/*
 * What is done to names: `stat`, `list`, `mkdir`, `unlink`, `rename`, each as work on a pool
 * thread. A list goes to the host as it is read, so that a directory of any size costs one chunk of
 * memory here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/work.h"
#include "base/clock.h"

/* --- stat --- */

static enum pv_reply_entry entry_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return PV_REPLY_FILE;
	case S_IFDIR: return PV_REPLY_DIRECTORY;
	case S_IFLNK: return PV_REPLY_SYMLINK;
	case S_IFIFO: return PV_REPLY_FIFO;
	case S_IFSOCK: return PV_REPLY_SOCKET;
	case S_IFBLK: return PV_REPLY_BLOCK_DEVICE;
	case S_IFCHR: return PV_REPLY_CHAR_DEVICE;
	default: return PV_REPLY_OTHER;
	}
}

static int stat_path(struct pv_work *work)
{
	struct stat info;
	int flags = work->request.file.follow ? 0 : AT_SYMLINK_NOFOLLOW;
	if (fstatat(AT_FDCWD, work->request.file.path, &info, flags) < 0)
		return -errno;
	int64_t mtime;
	if (__builtin_mul_overflow((int64_t)info.st_mtim.tv_sec, PV_CLOCK_SECOND, &mtime) ||
	    __builtin_add_overflow(mtime, (int64_t)info.st_mtim.tv_nsec, &mtime))
		mtime = info.st_mtim.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	work->stat = (struct pv_reply_stat){
	    .size = (uint64_t)info.st_size,
	    .mtime_ns = mtime,
	    .perm = info.st_mode & 07777,
	    .entry = entry_of(info.st_mode),
	};
	work->is_stat = true;
	return 0;
}

/* --- list --- */

static enum pv_reply_entry entry_type(DIR *folder, const struct dirent *entry)
{
	struct stat info;
	if (entry->d_type != DT_UNKNOWN)
		return entry_of(DTTOIF(entry->d_type));
	/* A file system that does not tell; the entry may be gone by now. */
	if (fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return PV_REPLY_OTHER;
	return entry_of(info.st_mode);
}

/* Sends whole entries, about a chunk at a time. */
static int send_entries(struct pv_work *work, DIR *folder, char *chunk)
{
	size_t len = 0;
	int status = 0;
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(folder);
		if (!entry && errno != 0)
			return -errno;
		if (!entry || len + NAME_MAX + 2 > PV_PROTOCOL_CHUNK) {
			status = len > 0 ? pv_work_send(work, chunk, len) : 0;
			len = 0;
		}
		if (!entry || status < 0)
			return status;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		chunk[len++] = (char)entry_type(folder, entry);
		size_t name = strnlen(entry->d_name, NAME_MAX);
		memcpy(chunk + len, entry->d_name, name);
		len += name;
		chunk[len++] = '\0';
	}
}

static int list_directory(struct pv_work *work)
{
	char *chunk = malloc(PV_PROTOCOL_CHUNK);
	if (!chunk)
		return -ENOMEM;
	DIR *folder = opendir(work->request.file.path);
	int status = folder ? send_entries(work, folder, chunk) : -errno;
	if (folder)
		closedir(folder);
	free(chunk);
	return status;
}

/* --- mkdir --- */

/* The permissions are exactly those asked for, whatever the umask. */
static int make_directory(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0)
		return -errno;
	return chmod(path, mode) < 0 ? -errno : 0;
}

static bool is_directory(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Makes what is missing above the last component. */
static int make_parents(const char *path)
{
	char *copy = strdup(path);
	int status = copy ? 0 : -ENOMEM;
	for (char *at = copy; status == 0 && at && (at = strchr(at + 1, '/'));) {
		*at = '\0';
		status = make_directory(copy, 0755);
		if (status < 0 && is_directory(copy))
			status = 0;
		*at = '/';
	}
	free(copy);
	return status;
}

static int make(struct pv_work *work)
{
	const struct pv_request_file *file = &work->request.file;
	int status = file->parents ? make_parents(file->path) : 0;
	if (status == 0)
		status = make_directory(file->path, (mode_t)file->mode);
	/* As mkdir -p: what is there already is as good. */
	return status == -EEXIST && file->parents && is_directory(file->path) ? 0 : status;
}

/* --- unlink, rename --- */

static int remove_path(struct pv_work *work)
{
	/* Tries unlink(2), and rmdir(2) for a directory. */
	return remove(work->request.file.path) < 0 ? -errno : 0;
}

static int rename_path(struct pv_work *work)
{
	return rename(work->request.file.path, work->request.file.to) < 0 ? -errno : 0;
}

void pv_paths_start(struct pv_calls *calls, struct pv_request *request)
{
	static int (*const works[PV_REQUEST_OP_COUNT])(struct pv_work * work) = {
	    [PV_REQUEST_STAT] = stat_path,
	    [PV_REQUEST_LIST] = list_directory,
	    [PV_REQUEST_MKDIR] = make,
	    [PV_REQUEST_UNLINK] = remove_path,
	    [PV_REQUEST_RENAME] = rename_path,
	};
	pv_work_start(calls, request, &(struct pv_work_task){.run = works[request->op]});
}
