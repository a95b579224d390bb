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

void pv_tail_path_init(struct pv_tail_path *path, struct pv_file_news *news, struct pv_loop *loop,
    void (*came)(void *ctx), void *ctx)
{
	*path =
	    (struct pv_tail_path){.news = news, .loop = loop, .came = came, .ctx = ctx, .next = -1};
}

void pv_tail_path_finish(struct pv_tail_path *path)
{
	pv_file_news_end(&path->file);
	pv_file_news_end(&path->next_file);
	pv_file_news_end(&path->folders[0]);
	pv_file_news_end(&path->folders[1]);
	pv_fd_close(&path->next);
}

/* Begins a watch in the place of what it watches now. */
static int watch_in_place(
    struct pv_tail_path *path, struct pv_file_news_watch *watch, int fd, uint32_t events)
{
	pv_loop_lock(path->loop);
	pv_file_news_end(watch);
	pv_loop_unlock(path->loop);
	return pv_file_news_begin(path->news, path->loop, watch, fd, events, path->came, path->ctx);
}

static int watch_folder_of(
    struct pv_tail_path *path, struct pv_file_news_watch *folder_watch, const char *name)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(name, '/');
	int len = slash ? (int)(slash - name) + 1 : 0;
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(folder, sizeof(folder), "%.*s", slash ? len : 1, slash ? name : ".");
	int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int status = watch_in_place(path, folder_watch, fd, FOLDER_NEWS);
	close(fd);
	return status;
}

/* Watches where a symbolic link leads to, if the name is one. */
static int watch_target(struct pv_tail_path *path, const char *name)
{
	char target[PATH_MAX];
	if (!realpath(name, target) || strcmp(name, target) == 0)
		return 0;
	return watch_folder_of(path, &path->folders[1], target);
}

int pv_tail_path_watch(struct pv_tail_path *path, const char *name, int fd)
{
	int status = watch_in_place(path, &path->file, fd, FILE_NEWS);
	if (status == 0 && name)
		status = watch_folder_of(path, &path->folders[0], name);
	if (status == 0 && name)
		status = watch_target(path, name);
	return status;
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
	watch_in_place(path, &path->next_file, path->next, FILE_NEWS);
	return true;
}

/* The next file is the file, and it is watched throughout. */
static void take_over_watch(struct pv_tail_path *path)
{
	pv_loop_lock(path->loop);
	pv_file_news_end(&path->file);
	pv_file_news_move(&path->file, &path->next_file);
	pv_loop_unlock(path->loop);
}

enum pv_tail_path_next pv_tail_path_next(struct pv_tail_path *path, const char *name, int *fd)
{
	if (path->ready) {
		pv_fd_close(fd);
		*fd = path->next;
		path->next = -1;
		path->ready = false;
		take_over_watch(path);
		/* The link may lead elsewhere by now. */
		watch_target(path, name);
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
