/*
 * Rotation. A log is rotated by renaming it and making a new file of its name, before or after its
 * writer is told; until the writer has opened the new one it goes on in the old one. So the old
 * file is followed until there is the first byte in the new one: then it is read to its end once
 * more, because what was written there came before, and then the new one begins.
 *
 * inotify(7) tells of writes to an inode, and of names that appear in the directory, in that of the
 * path as given and in that of what a symbolic link leads to. News are only a reason to look; what
 * counts is what stat(2) says then, so that lost, late and needless news do no harm.
 */
#include "agent/guest/tail_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define FILE_NEWS   (IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)
#define FOLDER_NEWS (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)

void pv_tail_path_init(struct pv_tail_path *path)
{
	*path = (struct pv_tail_path){.inotify = -1, .next = -1};
}

void pv_tail_path_finish(struct pv_tail_path *path)
{
	pv_fd_close(&path->inotify);
	pv_fd_close(&path->next);
}

static int watch_file(const struct pv_tail_path *path, int fd)
{
	char name[32];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return inotify_add_watch(path->inotify, name, FILE_NEWS) < 0 ? -errno : 0;
}

static int watch_folder_of(const struct pv_tail_path *path, const char *name)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(name, '/');
	int len = slash ? (int)(slash - name) + 1 : 0;
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(folder, sizeof(folder), "%.*s", slash ? len : 1, slash ? name : ".");
	return inotify_add_watch(path->inotify, folder, FOLDER_NEWS) < 0 ? -errno : 0;
}

int pv_tail_path_watch(struct pv_tail_path *path, const char *name, int fd)
{
	char target[PATH_MAX];
	path->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (path->inotify < 0)
		return -errno;
	int status = watch_file(path, fd);
	if (status == 0 && name)
		status = watch_folder_of(path, name);
	if (status == 0 && name && realpath(name, target) && strcmp(name, target) != 0)
		status = watch_folder_of(path, target);
	return status;
}

void pv_tail_path_digest(const struct pv_tail_path *path)
{
	char news[4096];
	while (read(path->inotify, news, sizeof(news)) > 0)
		;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool has_content(int fd)
{
	struct stat info;
	return fd >= 0 && fstat(fd, &info) == 0 && info.st_size > 0;
}

/* Finds the file that has the name now. Returns true when it is another one than before. */
static bool find_next(struct pv_tail_path *path, const char *name, int fd)
{
	struct stat named, known;
	/* One with content has its turn even when it lost the name by now. */
	if (has_content(path->next) || stat(name, &named) < 0 || !S_ISREG(named.st_mode))
		return false;
	if (fstat(path->next >= 0 ? path->next : fd, &known) < 0 || is_same(&named, &known))
		return false;
	pv_fd_close(&path->next);
	/* The old one came back? */
	if (fstat(fd, &known) < 0 || is_same(&named, &known))
		return false;
	path->next = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (path->next < 0)
		return false;
	watch_file(path, path->next);
	return true;
}

enum pv_tail_path_next pv_tail_path_next(struct pv_tail_path *path, const char *name, int *fd)
{
	if (path->ready) {
		pv_fd_close(fd);
		*fd = path->next;
		path->next = -1;
		path->ready = false;
		return PV_TAIL_PATH_SWITCHED;
	}
	/* Looked at again once it is watched. */
	while (find_next(path, name, *fd))
		;
	if (!has_content(path->next))
		return PV_TAIL_PATH_SAME;
	path->ready = true;
	return PV_TAIL_PATH_LOOK;
}
