/*
 * Walking a tree. Directories are opened one in another by their names, so a tree that changes
 * meanwhile cannot lead out of itself; a link below the root is a link and never followed. Holes
 * are found by SEEK_DATA. A file that claims to be empty is read all the same, because those of
 * /proc do. Any thread; a level takes little of its stack.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/proto/tree.h"
#include "base/bytes.h"
#include "base/fd.h"

#define PIECE (128u << 10)

struct walk {
	struct pv_tree_send *send;
	uint8_t *piece;
	char target[PATH_MAX];
};

/* Puts a name before what `where` says already; the front is cut. */
static void add_where(struct pv_tree_send *send, const char *name)
{
	char below[PV_TREE_WHERE_MAX];
	size_t len = strlen(name), rest = strlen(send->where);
	memcpy(below, send->where, rest + 1);
	if (len + 1 + rest + 1 > sizeof(below))
		return;
	memcpy(send->where, name, len);
	send->where[len] = rest > 0 ? '/' : '\0';
	memcpy(send->where + len + (rest > 0), below, rest + 1);
}

static int put(const struct walk *walk, const void *data, size_t len)
{
	int status = walk->send->write(walk->send->ctx, data, len);
	if (status < 0)
		walk->send->wrote_badly = true;
	return status;
}

/* A record of a kind, a mode when `mode` >= 0, a size when `size` >= 0, and a name. */
static int put_head(
    const struct walk *walk, char kind, int64_t mode, int64_t size, const char *name)
{
	uint8_t head[16];
	size_t at = 0, len = strlen(name);
	head[at++] = (uint8_t)kind;
	if (mode >= 0) {
		pv_put_le32(head + at, (uint32_t)mode & 07777);
		at += 4;
	}
	if (size >= 0) {
		pv_put_le64(head + at, (uint64_t)size);
		at += 8;
	}
	pv_put_le16(head + at, (uint16_t)len);
	int status = put(walk, head, at + 2);
	return status < 0 ? status : put(walk, name, len);
}

static int put_mark(const struct walk *walk, char kind)
{
	return put(walk, &kind, 1);
}

/* --- files --- */

static int put_part(const struct walk *walk, uint64_t offset, size_t len)
{
	uint8_t head[13] = {'x'};
	pv_put_le64(head + 1, offset);
	pv_put_le32(head + 9, (uint32_t)len);
	int status = put(walk, head, sizeof(head));
	return status < 0 ? status : put(walk, walk->piece, len);
}

/* Sends from `at` to `end`, or to the end of the file. */
static int send_part(const struct walk *walk, int fd, off_t at, off_t end)
{
	while (at < end) {
		size_t len = end - at < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t got = pread(fd, walk->piece, len, at);
		if (got < 0 && errno == ESPIPE)
			got = read(fd, walk->piece, len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		int status = put_part(walk, (uint64_t)at, (size_t)got);
		if (status < 0)
			return status;
		at += got;
	}
	return 0;
}

static int send_content(const struct walk *walk, int fd, off_t size)
{
	if (size == 0)
		return send_part(walk, fd, 0, INT64_MAX);
	for (off_t at = 0; at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0; /* a hole to the end */
		off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (data < 0 || hole <= data)
			return send_part(walk, fd, at, size);
		int status = send_part(walk, fd, data, hole < size ? hole : size);
		if (status < 0)
			return status;
		at = hole;
	}
	return 0;
}

static int send_file(const struct walk *walk, int fd, const struct stat *info, const char *name)
{
	off_t size = S_ISREG(info->st_mode) ? info->st_size : 0;
	int status = put_head(walk, 'f', info->st_mode, size, name);
	if (status == 0)
		status = send_content(walk, fd, size);
	return status == 0 ? put_mark(walk, 'e') : status;
}

/* --- directories --- */

static int send_directory(
    struct walk *walk, int fd, const struct stat *info, const char *name, int depth);

static int send_link(struct walk *walk, int folder, const char *name)
{
	uint8_t length[2];
	ssize_t len = readlinkat(folder, name, walk->target, sizeof(walk->target));
	if (len < 0 || len == sizeof(walk->target))
		return len < 0 ? -errno : -ENAMETOOLONG;
	pv_put_le16(length, (uint16_t)len);
	int status = put_head(walk, 'l', -1, -1, name);
	if (status == 0)
		status = put(walk, length, sizeof(length));
	return status == 0 ? put(walk, walk->target, (size_t)len) : status;
}

/* Opens an entry and sends it as what it is then. */
static int send_opened(struct walk *walk, int folder, const char *name, int depth)
{
	struct stat info;
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	int status = fstat(fd, &info) < 0 ? -errno : 0;
	if (status == 0 && S_ISDIR(info.st_mode))
		return send_directory(walk, fd, &info, name, depth);
	if (status == 0 && S_ISREG(info.st_mode))
		status = send_file(walk, fd, &info, name);
	close(fd);
	return status;
}

static int send_entry(struct walk *walk, int folder, const char *name, int depth)
{
	struct stat info;
	if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	switch (info.st_mode & S_IFMT) {
	case S_IFDIR:
	case S_IFREG: {
		int status = send_opened(walk, folder, name, depth);
		/* It went between the two looks. */
		return status == -ENOENT && !walk->send->wrote_badly ? 0 : status;
	}
	case S_IFLNK: return send_link(walk, folder, name);
	case S_IFIFO: return put_head(walk, 'p', info.st_mode, -1, name);
	default: return 0;
	}
}

static int send_entries(struct walk *walk, DIR *folder, int depth)
{
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(folder);
		if (!entry)
			return -errno;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		int status = send_entry(walk, dirfd(folder), entry->d_name, depth + 1);
		if (status < 0) {
			if (!walk->send->wrote_badly)
				add_where(walk->send, entry->d_name);
			return status;
		}
	}
}

/* Takes `fd` over. */
static int send_directory(
    struct walk *walk, int fd, const struct stat *info, const char *name, int depth)
{
	if (depth > PV_TREE_DEPTH_MAX) {
		close(fd);
		return -ELOOP;
	}
	DIR *folder = fdopendir(fd);
	if (!folder) {
		int status = -errno;
		close(fd);
		return status;
	}
	int status = put_head(walk, 'd', info->st_mode, -1, name);
	if (status == 0)
		status = send_entries(walk, folder, depth);
	closedir(folder);
	return status == 0 ? put_mark(walk, 'u') : status;
}

static int send_root(struct walk *walk)
{
	struct stat info;
	int fd = open(walk->send->root, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	int status = fstat(fd, &info) < 0 ? -errno : 0;
	if (status == 0 && walk->send->is_directory != S_ISDIR(info.st_mode))
		status = walk->send->is_directory ? -ENOTDIR : -EISDIR;
	if (status == 0 && S_ISDIR(info.st_mode))
		return send_directory(walk, fd, &info, "", 0);
	if (status == 0)
		status = send_file(walk, fd, &info, "");
	close(fd);
	return status;
}

int pv_tree_send(struct pv_tree_send *send)
{
	struct walk *walk = malloc(sizeof(*walk));
	uint8_t *piece = malloc(PIECE);
	int status = -ENOMEM;
	send->where[0] = '\0';
	send->wrote_badly = false;
	if (walk && piece) {
		walk->send = send;
		walk->piece = piece;
		status = send_root(walk);
	}
	free(piece);
	free(walk);
	return status;
}
